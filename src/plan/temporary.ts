/*
 * Temporary names: in the same directory as the final name (a rename must not cross a file system), short
 * whatever the final name's length, never the same twice, and known as ours wherever they turn up. Pure.
 */
import type { RelativePath } from './entry.js';

const PREFIX = '.ferryd-';
const SUFFIX = '.part';

/** @param token unique letters and digits for this one file of this one run */
export function temporaryName(path: RelativePath, token: string): RelativePath {
  return `${path.slice(0, path.lastIndexOf('/') + 1)}${PREFIX}${token}${SUFFIX}`;
}

/** True for a path whose last component is a temporary name of ferryd, of whatever run. */
export function isTemporary(path: RelativePath): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return name.startsWith(PREFIX) && name.endsWith(SUFFIX);
}
