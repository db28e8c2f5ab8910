/*
 * What an interrupted delivery left behind. The intent says which temporary name was used for which file; the
 * remote says what is there now. Out of the two:
 *
 * | temporary | file | final | then |
 * | --- | --- | --- | --- |
 * | something | unchanged | - | a part, or all of it: the delivery goes on with what is proven |
 * | something | other | - | of no use: removed |
 * | none | unchanged | size and time of the file | it was published: committed |
 * | none | any | anything else | nothing is there: the file is sent, if it still is to be |
 *
 * The third proof needs the time: an earlier version of the same size must not pass for the new one.
 */
import type { PlannedIntent } from '../ledger/record.js';
import { LocalSource } from '../local/source.js';
import { type Fingerprint, type LocalFile, type RelativePath, sameFingerprint } from '../plan/entry.js';
import { wholeSeconds } from '../remote/remote.js';
import type { Voyage } from './context.js';

/** What recovery found for one intent. */
export type Recovery =
  /** The file is whole under its final name. */
  | { readonly kind: 'delivered'; readonly sha256: string; readonly modifiedMs: number | undefined }
  /** Something of this very content lies under the temporary name. */
  | { readonly kind: 'part'; readonly sizeBytes: number }
  /** The temporary name is gone, and the file has to be sent. */
  | { readonly kind: 'cleared' };

/** An upload that did not come to its end. */
export interface CutOff {
  readonly intent: PlannedIntent;
  /** Where it was to stand. */
  readonly there: RelativePath;
  /** The local file as it is now; undefined where it is gone. */
  readonly file: LocalFile | undefined;
  /** What the ledger held for this path before the intent, since a file like that proves nothing. */
  readonly before: Fingerprint | undefined;
}

/** A download's intent was made for a remote file, which has no inode. */
export function isDownload({ local }: PlannedIntent): boolean {
  return local.inode === 0 && local.ctimeMs === 0;
}

/** Brings one upload that was cut off to a known state. */
export async function recoverUpload(
  voyage: Pick<Voyage, 'remote' | 'root'>,
  { intent, there, file, before }: CutOff,
): Promise<Recovery> {
  const { remote } = voyage;
  const unchanged = file !== undefined && sameFingerprint(file, intent.local) ? file : undefined;
  const part = await remote.stat(intent.temporary);
  if (part !== undefined) {
    if (unchanged !== undefined) return { kind: 'part', sizeBytes: part.sizeBytes };
    // Where the server cannot rename, it may be the version before, whole.
    if (intent.temporary !== there) await remote.remove(intent.temporary);
    return { kind: 'cleared' };
  }
  if (unchanged === undefined) return { kind: 'cleared' };
  const looksLikeBefore =
    before !== undefined &&
    before.sizeBytes === unchanged.sizeBytes &&
    wholeSeconds(before.mtimeMs) === wholeSeconds(unchanged.mtimeMs);
  const final = looksLikeBefore ? undefined : await remote.stat(there);
  const published =
    final !== undefined &&
    final.sizeBytes === unchanged.sizeBytes &&
    final.modifiedMs === wholeSeconds(unchanged.mtimeMs);
  if (!published) return { kind: 'cleared' };
  return { kind: 'delivered', sha256: await hashOf(voyage.root, unchanged), modifiedMs: final.modifiedMs };
}

/** SHA-256 of a local file's content, read as carefully as for an upload. */
export async function hashOf(root: string, file: LocalFile): Promise<string> {
  const source = await LocalSource.open(root, file);
  try {
    for await (const _ of source.chunks());
    return (await source.confirm()).sha256;
  } finally {
    await source.close();
  }
}
