/*
 * One file on its way from the server: looked at and opened in one flight, read in pipelined requests to the end that
 * the server tells, and looked at again, so that a file that changed meanwhile never passes for a whole one. Links are
 * not followed.
 */
import type { RelativePath } from '../../plan/entry.js';
import type { Attributes, Handle } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import { isAnswer } from '../refusal.js';
import { type FetchOptions, Gone } from '../remote.js';
import type { Errand } from './errand.js';
import { isMissing, isUnsupported, mayBeTaken } from './refusal.js';

/** @returns the number of bytes that the sink was given; what is thrown is the contract's `fetch`'s */
export async function fetchFile(
  errand: Errand,
  path: RelativePath,
  sink: (chunk: Buffer) => Promise<void>,
  { fromByte = 0, holds, listedBytes }: Omit<FetchOptions, 'signal'>,
): Promise<number> {
  const room = await errand.session.room(listedBytes ?? 0, errand.signal);
  const bytes = await read(errand, path, sink, { fromByte, listedBytes }).finally(room);
  if (holds !== undefined) await proveFetched(errand, path, { sizeBytes: fromByte + bytes, holds });
  return bytes;
}

async function read(
  errand: Errand,
  path: RelativePath,
  sink: (chunk: Buffer) => Promise<void>,
  { fromByte, listedBytes }: Pick<FetchOptions, 'listedBytes'> & { readonly fromByte: number },
): Promise<number> {
  const { signal } = errand;
  const { handle, before } = await opened(errand, path);
  let bytes: number;
  let after: Attributes;
  try {
    const sizeBytes = before?.sizeBytes ?? listedBytes;
    bytes = await handle.download(sink, { signal, fromByte, sizeBytes });
    const looking = handle.stat({ signal }).catch(async (error: unknown) => {
      // A server may tell of files by their names alone.
      const found =
        isAnswer(error) || isUnsupported(error) ? await errand.tree.file(errand.on(path)) : undefined;
      if (found === undefined) throw error;
      return found;
    });
    // Nothing of it is wanted any more, and its failure takes nothing back.
    const closing = handle.close().catch(() => {});
    after = await looking;
    await errand.heed(closing);
  } catch (error) {
    await errand.closeAfter(handle);
    throw error;
  }
  const expected = after.sizeBytes ?? before?.sizeBytes ?? listedBytes;
  if (expected !== undefined && expected !== fromByte + bytes)
    throw mismatch(`${errand.where} sent ${fromByte + bytes} bytes of ${path}, which has ${expected}.`);
  if (before !== undefined && isChanged(before, after))
    throw mismatch(`${path} was changed on ${errand.where} while it was read.`);
  return bytes;
}

/** A file that is open, and what was said of it in the same moment, where anything was. */
async function opened(
  errand: Errand,
  path: RelativePath,
): Promise<{ readonly handle: Handle; readonly before: Attributes | undefined }> {
  const { client } = errand.session;
  const { signal } = errand;
  const file = errand.on(path);
  const [looked, open] = await Promise.allSettled([
    errand.tree.look(file),
    client.open(file, { access: 'read', signal }),
  ]);
  const before = looked.status === 'fulfilled' ? looked.value : undefined;
  const type = before === undefined ? 'unknown' : before.type;
  if (open.status === 'rejected') {
    if (isAnswer(open.reason) && type !== 'file' && type !== 'unknown')
      throw noFile(errand, path, open.reason);
    throw await refusalOf(open.reason, errand, file);
  }
  if (looked.status === 'rejected' && !isAnswer(looked.reason)) {
    await errand.closeAfter(open.value);
    throw looked.reason;
  }
  if (type !== 'file' && type !== 'unknown') {
    await errand.closeAfter(open.value);
    throw noFile(errand, path, undefined);
  }
  return { handle: open.value, before };
}

/** A refused download may mean that the file was deleted since it was listed; only another listing can tell. */
async function refusalOf(error: unknown, errand: Errand, file: string): Promise<unknown> {
  if (!(isMissing(error) || mayBeTaken(error)) || !(error instanceof SftpError)) return error;
  if (await errand.tree.lists(file)) return error;
  return new Gone(`${file} was deleted on the server since it was listed (No such file). ${error.message}`, {
    cause: error,
  });
}

/**
 * Compares what came over with what the server holds: by its hash, and where that does not agree or is not to be had
 * and has to be, by reading the file once more.
 */
async function proveFetched(
  errand: Errand,
  path: RelativePath,
  { sizeBytes, holds }: Required<Pick<FetchOptions, 'holds'>> & { readonly sizeBytes: number },
): Promise<void> {
  const { proofs, where } = errand;
  const told = await proofs.hash(errand.on(path), sizeBytes);
  if (told === undefined ? !proofs.wantsHash || sizeBytes === 0 : await holds(told)) return;
  const again = await proofs.readBack(errand.on(path));
  if (again === 'refused' || !(await holds(again.digest)))
    throw mismatch(`${where} holds other bytes of ${path} than it sent.`);
  if (told !== undefined) proofs.distrustHashes();
}

function isChanged(before: Attributes, after: Attributes): boolean {
  const differs = (a: number | undefined, b: number | undefined): boolean =>
    a !== undefined && b !== undefined && a !== b;
  return differs(before.sizeBytes, after.sizeBytes) || differs(before.modifiedS, after.modifiedS);
}

function noFile(errand: Errand, path: RelativePath, cause: unknown): SftpError {
  return new SftpError(
    'argument',
    `${path} on ${errand.where} is no regular file, and is not read. Exclude it, or put a file in its place.`,
    { phase: 'request', request: 'OPEN', cause },
  );
}

function mismatch(message: string): SftpError {
  return new SftpError('mismatch', message, { phase: 'transfer', request: 'READ' });
}
