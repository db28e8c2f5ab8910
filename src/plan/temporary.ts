/*
 * Temporary names: in the same directory as the final name (a rename must not cross a file system), short
 * whatever the final name's length, never the same twice, and known as ours wherever they turn up. Pure.
 */
import type { RelativePath } from './entry.js';

/**
 * `hidden` begins with a dot, so that nobody who looks into the directory takes it for a file. `plain` does not, and
 * ends like the final name, for servers that refuse the first. `none` is the final name itself, for servers that
 * cannot rename: what is not whole yet can be seen there.
 */
export type TemporaryForm = 'hidden' | 'plain' | 'none';

const HIDDEN = /^\.ferryd-.*\.part$/s;
const PLAIN = /^ferryd-[0-9a-f]{16}\.part(\.[^.]*)?$/s;

/** Longer than any ending that says what a file is. */
const LONGEST_ENDING = 16;

/** @param token unique letters and digits for this one file of this one run; 16 hex digits for the plain form */
export function temporaryName(path: RelativePath, token: string, form: TemporaryForm): RelativePath {
  if (form === 'none') return path;
  const slash = path.lastIndexOf('/') + 1;
  const directory = path.slice(0, slash);
  if (form === 'hidden') return `${directory}.ferryd-${token}.part`;
  const dot = path.lastIndexOf('.');
  const ending = dot > slash && path.length - dot <= LONGEST_ENDING ? path.slice(dot) : '';
  return `${directory}ferryd-${token}.part${ending}`;
}

/** True for a path whose last component is a temporary name of ferryd, of whatever run. */
export function isTemporary(path: RelativePath): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return HIDDEN.test(name) || PLAIN.test(name);
}
