/*
 * Where a symbolic link leads, as far as its text tells: nothing is looked at, for the text is the same wherever it is
 * kept, and what it leads to is not. Pure.
 */
import { comparePaths, type RelativePath } from './entry.js';

/**
 * - `inside`: whatever stands there, it leads to something below the root, or to the root itself
 * - `outside`: it leads out of the root, or is absolute
 * - `unsure`: it goes up again behind a name; where that name is a link itself, it leads elsewhere than the text says
 */
export type Lead = 'inside' | 'outside' | 'unsure';

/**
 * @param path of the link, below the root
 * @param leadsTo its text
 */
export function leadOf(path: RelativePath, leadsTo: string): Lead {
  if (leadsTo.startsWith('/')) return 'outside';
  let depth = path.split('/').length - 1;
  let named = false;
  let goesBack = false;
  for (const name of leadsTo.split('/')) {
    if (name === '' || name === '.') continue;
    goesBack ||= named && name === '..';
    named = name !== '..';
    depth += named ? 1 : -1;
    if (depth < 0) return 'outside';
  }
  return goesBack ? 'unsure' : 'inside';
}

/** Links that were come by in the order of the paths, kept for as long as further paths may lie behind one of them. */
export class LinksPassed {
  /** Each lies in the range of names that the one before it begins. */
  readonly #links: RelativePath[] = [];

  note(link: RelativePath): void {
    this.#leaveBehind(link);
    this.#links.push(link);
  }

  /** The link in whose place a directory above `path` would have to be; paths are asked for in their order. */
  above(path: RelativePath): RelativePath | undefined {
    this.#leaveBehind(path);
    return this.#links.find((link) => path.startsWith(`${link}/`));
  }

  /** `0` is the character behind the slash. */
  #leaveBehind(path: RelativePath): void {
    for (let last = this.#links.at(-1); last !== undefined; last = this.#links.at(-1)) {
      if (comparePaths(path, `${last}0`) < 0) return;
      this.#links.pop();
    }
  }
}
