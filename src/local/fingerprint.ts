/*
 * The measures by which a file is told apart from its earlier self, and when they may be trusted. File systems count
 * time in ticks of some milliseconds, old ones of two seconds; a file that is written twice within one has the same
 * measures before and after. Git knows such files as racy (racy-git.txt) and reads them again; so do we.
 */
import type { Stats } from 'node:fs';
import type { Fingerprint } from '../plan/entry.js';

/** No file system that is in use has coarser ticks. */
const SETTLED_MS = 2_000;

/** Size, times and inode of a file, as the planner compares them. */
export function fingerprintOf(stats: Stats): Fingerprint {
  return {
    sizeBytes: stats.size,
    mtimeMs: stats.mtimeMs,
    ctimeMs: stats.ctimeMs,
    inode: stats.ino,
  };
}

/**
 * A fingerprint as a baseline may hold it. Where the file was changed so shortly before it was looked at that a
 * further change could show the same times, or by a clock that is ahead, the ctime is 0: no file shows that, so the
 * next run examines the content, and records the ctime then.
 *
 * @param seenAtMs when the file was looked at, before its content was read; milliseconds since 1970
 */
export function settledFingerprint(file: Fingerprint, seenAtMs: number): Fingerprint {
  const { sizeBytes, mtimeMs, inode } = file;
  const ctimeMs = seenAtMs - file.ctimeMs >= SETTLED_MS ? file.ctimeMs : 0;
  return { sizeBytes, mtimeMs, ctimeMs, inode };
}
