/*
 * Values for the planner's tests: files and rows that are right unless a test says what should differ.
 */
import type { Baseline, LocalFile, RememberedSkip, RemoteFile } from '../../src/plan/entry.js';

export const SETTINGS = 'settings-now';

export function localFile(path: string, other: Partial<LocalFile> = {}): LocalFile {
  return { path, sizeBytes: 10, mtimeMs: 1_000.25, ctimeMs: 2_000.5, inode: 7, device: 1, ...other };
}

export function remoteFile(path: string, other: Partial<RemoteFile> = {}): RemoteFile {
  return { path, sizeBytes: 10, modifiedMs: 5_000, ...other };
}

export function baselineOf(path: string, other: Partial<Baseline> = {}): Baseline {
  const { sizeBytes, mtimeMs, ctimeMs, inode } = localFile(path);
  return {
    path,
    local: { sizeBytes, mtimeMs, ctimeMs, inode },
    sha256: 'ab'.repeat(32),
    remoteModifiedMs: 5_000,
    ...other,
  };
}

export function skipOf(path: string, other: Partial<RememberedSkip> = {}): RememberedSkip {
  const { sizeBytes, mtimeMs, ctimeMs, inode } = localFile(path);
  return {
    path,
    local: { sizeBytes, mtimeMs, ctimeMs, inode },
    code: '553',
    text: 'No.',
    settings: SETTINGS,
    atMs: 9,
    ...other,
  };
}
