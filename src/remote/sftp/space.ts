/*
 * Whether a server has the room for a file, as statvfs@openssh.com tells it: asked before a large file is sent, and
 * where a server refuses to take bytes and does not say why. A file system that tells no sizes is not believed to be
 * full, and quotas are not seen.
 */
import type { RelativePath } from '../../plan/entry.js';
import type { Space } from '../../sftp/client.js';
import { SftpError, type SftpStatus } from '../../sftp/errors.js';
import { isAnswer } from '../refusal.js';
import type { Errand } from './errand.js';
import { isFailure, isUnsupported } from './refusal.js';

/** Less than this is kept by some file systems for themselves. */
const FULL_BYTES = 64 * 1024;

/** What the file system of a directory has, or undefined where the server does not tell. */
export async function spaceOf(errand: Errand, directory: string): Promise<Space | undefined> {
  const { client } = errand.session;
  if (!client.has('statvfs@openssh.com')) return undefined;
  try {
    const space = await client.statvfs(directory, { signal: errand.signal });
    return space.totalBytes > 0 ? space : undefined;
  } catch (error) {
    if (isAnswer(error) || isUnsupported(error)) return undefined;
    throw error;
  }
}

/** The error where a file is larger than the room that is left for it. */
export function tooLarge(
  space: Space | undefined,
  file: { readonly path: RelativePath; readonly bytes: number },
  where: string,
): SftpError | undefined {
  if (space === undefined || space.availableBytes >= file.bytes) return undefined;
  return full(
    `${where} has ${space.availableBytes} bytes free, and ${file.path} needs ${file.bytes}`,
    undefined,
  );
}

/**
 * What a refusal means by the state of the file system: FAILURE is all that OpenSSH says of a full disk.
 *
 * @returns an error that says it, or the refusal itself
 */
export async function refusedFor(
  error: unknown,
  file: { readonly path: RelativePath; readonly directory: string },
  errand: Errand,
): Promise<unknown> {
  if (!isFailure(error) || !(error instanceof SftpError)) return error;
  const space = await spaceOf(errand, file.directory);
  if (space === undefined) return error;
  const { path } = file;
  if (space.isReadOnly)
    return new SftpError(
      'status',
      `${errand.where} did not take ${path}: its file system is mounted read-only. Have that changed on the server.`,
      { phase: 'transfer', request: error.request, status: error.status, code: 'READ-ONLY', cause: error },
    );
  if (space.availableBytes < FULL_BYTES)
    return full(`${errand.where} did not take all of ${path}: its disk is full`, error);
  if (space.totalFiles > 0 && space.availableFiles === 0)
    return full(`${errand.where} did not take ${path}: its file system holds no more files`, error);
  return error;
}

function full(what: string, cause: SftpError | undefined): SftpError {
  const status: SftpStatus | undefined = cause?.status;
  return new SftpError('status', `${what}. Make room there.`, {
    phase: 'transfer',
    request: cause?.request ?? 'WRITE',
    status,
    code: 'FULL',
    cause,
  });
}
