/*
 * What can be wrong with a file of the local tree, in codes that remote/failure.ts has rows for:
 * system codes as they are, CHANGED and OUTSIDE as words of ours.
 */

export class LocalError extends Error {
  override readonly name = 'LocalError';
  /** `ENOENT`, `EACCES`, ...; `CHANGED`: not the same file any more; `OUTSIDE`: it leads out of the root. */
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
      return `There is no room left on the disk for ${path}.`;
    case 'EROFS':
      return `${path} lies on a read-only file system.`;
    default:
      return `${path} cannot be opened (${code}).`;
  }
}
