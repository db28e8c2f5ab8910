/*
 * What can be wrong with a file of the local tree, in codes that remote/failure.ts has rows for:
 * system codes as they are, CHANGED, OUTSIDE and HASH as words of ours.
 */

export class LocalError extends Error {
  override readonly name = 'LocalError';
  /** `ENOENT`, `EACCES`, ...; `CHANGED`: not the same file any more; `OUTSIDE`: it leads out of the root; `HASH`: its hash was lost. */
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The system's code of an error, or `unknown`. */
export function codeOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  return 'unknown';
}

/** A sentence for the codes that a person can do something about. */
export function localSentence(code: string, path: string): string {
  switch (code) {
    case 'ENOENT':
      return `${path} does not exist.`;
    case 'EACCES':
    case 'EPERM':
      return `${path} may not be read by the account that runs ferryd: give it the right, or exclude the file.`;
    case 'EIO':
      return `${path} cannot be read: the disk reports an input/output error. Check the disk.`;
    case 'ENOTDIR':
      return `${path} is not a directory.`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `There is no room left on the disk for ${path}. Make some there; the next run goes on.`;
    case 'EROFS':
      return `${path} lies on a read-only file system.`;
    case 'ENAMETOOLONG':
      return `${path} is longer than this system takes. Shorten the names above it, or exclude it.`;
    default:
      return `${path} cannot be opened (${code}).`;
  }
}

/** What was to become of a file or a directory. */
export type Deed = 'taken away' | 'moved' | 'made';

/** As `localSentence`, where the tree is changed and not read. */
export function deedSentence(code: string, path: string, deed: Deed): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return `${path} may not be ${deed} by the account that runs ferryd: give it the right to write to the directory.`;
    case 'EIO':
      return `${path} could not be ${deed}: the disk reports an input/output error. Check the disk.`;
    case 'EBUSY':
      return `${path} could not be ${deed}: it is in use, or a disk is mounted there.`;
    case 'ENAMETOOLONG':
      return `${path} could not be ${deed}: the name is too long for this disk.`;
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EROFS':
      return localSentence(code, path);
    default:
      return `${path} could not be ${deed} (${code}).`;
  }
}
