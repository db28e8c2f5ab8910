/*
 * What the planner looks at: one path as the local tree, the ledger and the remote each know it.
 * Plain values only; nothing here reads a disk, a clock or a socket.
 */

/**
 * A path below a root: components joined by `/`, no leading slash, never empty, no `.` or `..`; a trailing slash only
 * where a directory is an entry of its own. Exactly the characters of the name on disk; nothing is normalised.
 */
export type RelativePath = string;

/**
 * How a local file is told apart from its own earlier self without reading it.
 * Times are milliseconds since 1970 with the fraction that `fs.Stats` gives.
 */
export interface Fingerprint {
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly inode: number;
}

/** A regular file of the local tree, as the walk saw it. */
export interface LocalFile extends Fingerprint {
  readonly path: RelativePath;
  readonly device: number;
  /** Where it really lies, where a link leads to it; else there is none. */
  readonly at?: RelativePath;
}

/** A regular file of the remote, as a listing showed it. */
export interface RemoteFile {
  readonly path: RelativePath;
  readonly sizeBytes: number;
  /** Milliseconds since 1970 UTC, or undefined where the server does not tell a time that can be compared. */
  readonly modifiedMs: number | undefined;
  /** Unix mode bits, where a listing told them. Nothing is judged by them. */
  readonly permissions?: number | undefined;
}

/** A symbolic link as an entry of its own, where a job preserves links. */
export interface LinkEntry {
  readonly path: RelativePath;
  /** Its text, as it was written: a path of wherever it is looked at. Nobody looks what is there. */
  readonly leadsTo: string;
}

/** A directory as an entry of its own, where a job keeps empty ones. Its path ends with `/`. */
export interface DirectoryEntry {
  readonly path: RelativePath;
  readonly directory: true;
}

/** What goes across by itself. */
export type LocalPiece = LocalFile | LinkEntry;
export type RemotePiece = RemoteFile | LinkEntry;

export type LocalEntry = LocalPiece | DirectoryEntry;
export type RemoteEntry = RemotePiece | DirectoryEntry;

export function isDirectory<Entry extends { readonly path: RelativePath }>(
  entry: Entry | DirectoryEntry,
): entry is DirectoryEntry {
  return 'directory' in entry;
}

export function isLink<Entry extends { readonly path: RelativePath }>(
  entry: Entry | LinkEntry,
): entry is LinkEntry {
  return 'leadsTo' in entry;
}

/** The fingerprint of what has no content: a directory, or a link. */
export const NO_CONTENT: Fingerprint = { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 };

/** What both sides agreed on when the ledger last committed this path. */
export interface Baseline {
  readonly path: RelativePath;
  /** `NO_CONTENT` of a directory and of a link. */
  readonly local: Fingerprint;
  /** SHA-256 of the content, 64 lower-case hex digits; zeros where there is none. */
  readonly sha256: string;
  /** Modification time that the remote holds, in milliseconds since 1970; undefined where it is not known. */
  readonly remoteModifiedMs: number | undefined;
  /** Where it stands on the other side, where that is another path than its own. */
  readonly target?: RelativePath | undefined;
  /** The text of a link; undefined of all else. */
  readonly leadsTo?: string | undefined;
}

/** A file that the server refused for good: left alone until the file or the server's settings change. */
export interface RememberedSkip {
  readonly path: RelativePath;
  readonly local: Fingerprint;
  /** The text of a link; undefined of all else. */
  readonly leadsTo?: string | undefined;
  /** Reply code as text (`553`), or a word of ours where no server spoke (`name`). */
  readonly code: string;
  /** The server's own words, made safe to print. */
  readonly text: string;
  /** Identity of the server's settings when the skip was recorded; another one lifts the skip. */
  readonly settings: string;
  readonly atMs: number;
}

/** What the ledger holds for one path. */
export interface Known {
  readonly path: RelativePath;
  readonly baseline: Baseline | undefined;
  readonly skip: RememberedSkip | undefined;
}

/** What the ledger remembers of an entry without content, once both sides agree on it. */
export function contentless(
  path: RelativePath,
  { target, leadsTo }: Pick<Baseline, 'target' | 'leadsTo'>,
): Baseline {
  return { path, local: NO_CONTENT, sha256: '0'.repeat(64), remoteModifiedMs: undefined, target, leadsTo };
}

/** True where two sights of a local file show the same size, times and inode. */
export function sameFingerprint(a: Fingerprint, b: Fingerprint): boolean {
  return (
    a.sizeBytes === b.sizeBytes && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs && a.inode === b.inode
  );
}

/**
 * Whether two times are one. Servers keep whole seconds, or a fraction of their own.
 *
 * @param unknown `lenient`: a time that one side does not tell is no difference
 */
export function sameTime(
  a: number | undefined,
  b: number | undefined,
  unknown: 'strict' | 'lenient',
): boolean {
  if (a === undefined || b === undefined) return a === b || unknown === 'lenient';
  const whole = Math.floor(a / 1000) === Math.floor(b / 1000);
  return a === b || (whole && (a % 1000 === 0 || b % 1000 === 0));
}

/**
 * Orders paths by the bytes of their UTF-8 form, which is how SQLite's BINARY collation orders them.
 * A walk that sorts directories as `name/` yields its files in exactly this order.
 *
 * @param alike so many of the first characters are known to be the same
 * @returns negative, zero or positive, as `Array.prototype.sort` wants it
 */
export function comparePaths(a: string, b: string, alike = 0): number {
  const length = Math.min(a.length, b.length);
  for (let i = alike; i < length; i += 1) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

/** UTF-16 puts surrogates (which stand for U+10000 and up) below U+E000..U+FFFF; UTF-8 has them above. */
function utf8Rank(codeUnit: number): number {
  return codeUnit >= 0xd800 && codeUnit <= 0xdfff ? codeUnit + 0x10000 : codeUnit;
}
