/*
 * Values for the planner's tests: files, rows and policies that are right unless a test says what should differ. A local
 * file and a remote one of these agree in size, and each with the baseline; they do not agree in time with one another.
 */
import type {
  Baseline,
  LocalEntry,
  LocalFile,
  RememberedSkip,
  RemoteEntry,
  RemoteFile,
} from '../../src/plan/entry.js';
import type { Met, Policy } from '../../src/plan/judge.js';
import type { Blindness, Sight } from '../../src/plan/march.js';

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

/** A push that copies and believes times, unless told otherwise. */
export function policyOf(other: Partial<Policy> = {}): Policy {
  return {
    mode: 'copy',
    direction: 'push',
    conflicts: 'keep-both',
    extraneous: 'kept',
    proof: 'times',
    unproven: 'replaced',
    settings: SETTINGS,
    place: (path) => ({ here: path, there: path }),
    ...other,
  };
}

/** What a side shows of a path: an entry, or in words why there is none. */
export type Shown<Entry> = Entry | 'absent' | 'unasked' | Blindness;

export function sightOf<Entry extends object>(shown: Shown<Entry>): Sight<Entry> {
  if (typeof shown === 'object') return { kind: 'there', item: shown };
  return shown === 'absent' || shown === 'unasked' ? { kind: shown } : { kind: 'unseen', why: shown };
}

/** One path in front of the judge; both sides lack it unless told. */
export function metOf(
  path: string,
  shown: {
    readonly local?: Shown<LocalEntry>;
    readonly remote?: Shown<RemoteEntry>;
    readonly baseline?: Baseline | undefined;
    readonly skip?: RememberedSkip | undefined;
  },
): Met {
  const { local = 'absent', remote = 'absent', baseline, skip } = shown;
  const known = baseline === undefined && skip === undefined ? undefined : { path, baseline, skip };
  return { path, local: sightOf(local), remote: sightOf(remote), known };
}
