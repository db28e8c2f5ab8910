/*
 * The planner's judgement on one path: what the source shows, against what the ledger remembers. Pure, total,
 * and without a look at the other side: where the ledger knows, nobody has to be asked.
 */
import type { Verdict } from './action.js';
import {
  type Fingerprint,
  type Known,
  type LocalFile,
  type RelativePath,
  type RememberedSkip,
  type RemoteFile,
  sameFingerprint,
} from './entry.js';

/**
 * Copy from the local side to the remote.
 *
 * | source | ledger | verdict |
 * | --- | --- | --- |
 * | gone | anything | kept |
 * | there | skipped as it is, settings the same | remembered |
 * | there | skipped, file or settings other | upload, tried again |
 * | there | nothing | upload, new |
 * | there | baseline, all the same | unchanged |
 * | there | baseline, size or mtime other | upload, changed |
 * | there | baseline, only ctime or inode other | examine |
 *
 * @param settings identity of the server's settings now; a remembered skip holds only under its own
 */
export function judgePush(
  path: RelativePath,
  file: LocalFile | undefined,
  known: Known | undefined,
  settings: string,
): Verdict {
  if (file === undefined) return { kind: 'kept', path };
  if (known?.skip !== undefined) {
    return holds(known.skip, file, settings)
      ? { kind: 'remembered', path, skip: known.skip }
      : { kind: 'upload', path, file, reason: 'tried-again' };
  }
  const baseline = known?.baseline;
  if (baseline === undefined) return { kind: 'upload', path, file, reason: 'new' };
  if (sameFingerprint(file, baseline.local)) return { kind: 'unchanged', path };
  if (file.sizeBytes !== baseline.local.sizeBytes || file.mtimeMs !== baseline.local.mtimeMs) {
    return { kind: 'upload', path, file, reason: 'changed' };
  }
  return { kind: 'examine', path, file, baseline };
}

/**
 * Copy from the remote to the local side: the same table, with the listing in the place of the local walk.
 * A file that a person has taken away here after it was fetched is not fetched again.
 */
export function judgePull(
  path: RelativePath,
  file: RemoteFile | undefined,
  known: Known | undefined,
  settings: string,
): Verdict {
  if (file === undefined) return { kind: 'kept', path };
  const baseline = known?.baseline;
  if (known?.skip !== undefined) {
    return holds(known.skip, remoteFingerprint(file), settings)
      ? { kind: 'remembered', path, skip: known.skip }
      : { kind: 'download', path, file, reason: 'tried-again', baseline };
  }
  if (baseline === undefined) return { kind: 'download', path, file, reason: 'new', baseline };
  const same = file.sizeBytes === baseline.local.sizeBytes && file.modifiedMs === baseline.remoteModifiedMs;
  return same ? { kind: 'unchanged', path } : { kind: 'download', path, file, reason: 'changed', baseline };
}

/** What can be compared of a remote file, in the form in which skips are remembered. */
export function remoteFingerprint(file: RemoteFile): Fingerprint {
  return { sizeBytes: file.sizeBytes, mtimeMs: file.modifiedMs ?? 0, ctimeMs: 0, inode: 0 };
}

function holds(skip: RememberedSkip, file: Fingerprint, settings: string): boolean {
  return skip.settings === settings && sameFingerprint(skip.local, file);
}
