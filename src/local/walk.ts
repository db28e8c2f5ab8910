/*
 * The walk of the local tree: every regular file below a root, in the order of comparePaths, one directory in
 * memory at a time. Special files are not opened but reported, and so are links, unless they are told as what they are
 * (link.ts), or followed: then never out of the root, nor round in a circle (links.ts). Heeds `.ferryignore` files and reads no other
 * content, and never enters the trash. A directory that cannot be read is reported, and what lies under it is
 * unknown, not gone.
 */
import { type Dirent, promises as fs, type Stats } from 'node:fs';
import { isLink, type LinkEntry, type LocalFile, type RelativePath } from '../plan/entry.js';
import { type Met, meet, type Wanting } from './entries.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { IGNORE_FILE, IGNORE_FILE_CODE, IgnoreRules, readIgnoreFile } from './ignore.js';
import { textAt } from './link.js';
import { identityOf, Links } from './links.js';
import { type Sight, type Twin, unreadable } from './sight.js';

export type { Sight } from './sight.js';

export interface WalkOptions {
  /** False for what the job leaves out. A directory's path ends with `/`; leaving it out leaves out all below. */
  readonly wants: (path: string) => boolean;
  /** What becomes of links; `skip` unless told. */
  readonly links?: 'skip' | 'follow' | 'preserve';
  /** Whether directories are sights of their own; `silent` unless told. */
  readonly directories?: 'told' | 'silent';
  /** Whether files and directories whose names are twins carry that; `silent` unless told. */
  readonly twins?: 'told' | 'silent';
  /** Whether a name with a line break can go across; `unfit` unless told. */
  readonly lineBreaks?: 'fit' | 'unfit';
  /**
   * False for what is not to be looked at this time, in the form of `wants`: it is no sight, and still somebody's twin.
   * Left out: everything is looked at.
   */
  readonly heeds?: (path: string) => boolean;
  /** Hears of each directory that has a `.ferryignore` (its path ends with `/`, `''` is the root), before its sights. */
  readonly onRules?: (directory: string, rules: IgnoreRules) => void;
}

/** How many files are looked at (lstat) at the same time. */
const LOOKS_AT_ONCE = 32;

/**
 * Makes sure that the root is a directory that can be read.
 *
 * @returns its real path, links on the way to the root resolved
 * @throws {LocalError} with a sentence
 */
export async function openRoot(root: string): Promise<string> {
  try {
    const real = await fs.realpath(root);
    const stats = await fs.stat(real);
    if (!stats.isDirectory()) throw new LocalError('ENOTDIR', `${root} is not a directory.`);
    await fs.access(real, fs.constants.R_OK | fs.constants.X_OK);
    // `/` would double the slash in every path below it.
    return real === '/' ? '' : real;
  } catch (error) {
    if (error instanceof LocalError) throw error;
    throw new LocalError(codeOf(error), localSentence(codeOf(error), root), error);
  }
}

/** Which directory stands at a root, of which disk; undefined where that cannot be seen. */
export async function whichRoot(root: string): Promise<string | undefined> {
  try {
    return identityOf(await fs.stat(`${root}/`));
  } catch {
    return undefined;
  }
}

/**
 * What stands at one place: a regular file, nothing, or something else (a link, a directory, a pipe).
 *
 * @throws {LocalError} where that cannot be seen
 */
export async function standsAt(root: string, path: RelativePath): Promise<LocalFile | 'nothing' | 'other'> {
  const there = await liesAt(root, path);
  return typeof there !== 'string' && isLink(there) ? 'other' : there;
}

/** As `standsAt`, and a link is told as what it is. */
export async function liesAt(
  root: string,
  path: RelativePath,
): Promise<LocalFile | LinkEntry | 'nothing' | 'other'> {
  try {
    const stats = await fs.lstat(`${root}/${path}`);
    if (stats.isFile()) return { path, ...fingerprintOf(stats), device: stats.dev };
    const leadsTo = stats.isSymbolicLink() ? await textAt(`${root}/${path}`) : undefined;
    return leadsTo === undefined ? 'other' : { path, leadsTo };
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'nothing';
    throw new LocalError(code, localSentence(code, path), error);
  }
}

/**
 * Looks at one file again.
 *
 * @param links `follow`: a link, or a link on the way, leads to the file, as long as that lies below the root
 * @returns undefined where it is gone or no regular file any more
 */
export async function lookAt(
  root: string,
  path: RelativePath,
  links: 'skip' | 'follow' | 'preserve' = 'skip',
): Promise<LocalFile | undefined> {
  const at = links === 'follow' ? await new Links(root).placeOf(path) : path;
  const there = at === undefined ? 'nothing' : await standsAt(root, at);
  if (there === 'nothing' || there === 'other') return undefined;
  return at === path || at === undefined ? there : { ...there, path, at };
}

/** Walks the tree below `root` (a real path, from `openRoot`). Never throws for what lies in the tree. */
export async function* walk(root: string, options: WalkOptions): AsyncGenerator<Sight> {
  const { wants, links, directories, twins, lineBreaks, heeds, onRules } = options;
  const wanting: Wanting = {
    wants,
    links: links === 'follow' ? new Links(root) : (links ?? 'skip'),
    twins: twins ?? 'silent',
    heeds,
    lineBreaks: lineBreaks ?? 'unfit',
  };
  yield* walkDirectory(
    { root, wanting, directories: directories ?? 'silent', onRules: onRules ?? (() => {}) },
    { path: '', at: '', rules: IgnoreRules.NONE, above: [], twin: undefined },
  );
}

/** What the whole walk shares. */
interface Walk {
  readonly root: string;
  readonly wanting: Wanting;
  readonly directories: 'told' | 'silent';
  readonly onRules: (directory: string, rules: IgnoreRules) => void;
}

/** A directory on the way; its paths end with `/`, or are `''` for the root. */
interface Directory {
  readonly path: string;
  /** Where it really lies: other than `path` below a link that was followed. */
  readonly at: string;
  /** Of the `.ferryignore` files above it. */
  readonly rules: IgnoreRules;
  /** Identities of the directories above it; empty where links are not followed. */
  readonly above: readonly string[];
  readonly twin: Twin | undefined;
}

async function* walkDirectory(walk: Walk, directory: Directory): AsyncGenerator<Sight> {
  const { root, wanting } = walk;
  const links = typeof wanting.links === 'string' ? undefined : wanting.links;
  const { path: own, twin } = directory;
  let entries: Dirent[];
  let { above, rules } = directory;
  try {
    entries = await fs.readdir(`${root}/${directory.at}`, { withFileTypes: true });
    if (links !== undefined) above = [...above, identityOf(await fs.stat(`${root}/${directory.at}`))];
    await proveUnmoved(root, directory);
    if (entries.some(({ name }) => name === IGNORE_FILE)) {
      rules = await rulesIn(walk, directory);
      walk.onRules(own, rules);
    }
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof LocalError) yield { kind: 'unreadable', path: own, code, message: error.message };
    // Deleted since its parent was read: as if it had never been seen. The root itself must be there.
    else if (own === '' || (code !== 'ENOENT' && code !== 'ENOTDIR')) yield unreadable(own, error);
    return;
  }
  if (walk.directories === 'told' && own !== '')
    yield { kind: 'directory', path: own, ...(twin === undefined ? {} : { twin }) };
  if (directory.at !== own) links?.entered();
  const met = await meet(entries, { ...directory, above, rules }, wanting);

  let looked = new Map<string, Stats | { error: unknown }>();
  for (const [place, entry] of met.entries()) {
    if (place % LOOKS_AT_ONCE === 0) {
      looked = await look(root, met.slice(place, place + LOOKS_AT_ONCE));
    }
    const { path, at, what, instead } = entry;
    if (instead !== undefined) yield instead;
    else if (what.isSymbolicLink()) yield* linkSight(root, entry);
    else if (what.isDirectory())
      yield* walkDirectory(walk, { path, at: `${at}/`, rules, above, twin: entry.twin });
    else {
      const stats = looked.get(path);
      if (stats === undefined || 'error' in stats) {
        // Deleted between readdir and lstat: as if it had never been seen.
        if (stats !== undefined && codeOf(stats.error) !== 'ENOENT') yield unreadable(path, stats.error);
      } else if (stats.isFile()) {
        const seen = { path, ...fingerprintOf(stats), device: stats.dev };
        const file = at === path ? seen : { ...seen, at };
        yield { kind: 'file', file, ...(entry.twin === undefined ? {} : { twin: entry.twin }) };
      }
    }
  }
}

async function* linkSight(root: string, { path, at, twin }: Met): AsyncGenerator<Sight> {
  try {
    const leadsTo = await textAt(`${root}/${at}`);
    if (leadsTo === undefined) return;
    if (!leadsTo.includes('\ufffd')) {
      yield { kind: 'link', link: { path, leadsTo }, ...(twin === undefined ? {} : { twin }) };
      return;
    }
    const message = `${path} is a link, and the name that it leads to is not valid UTF-8: it is not sent. Make it anew, or exclude it.`;
    yield { kind: 'unfit', path, code: 'link-text', message };
  } catch (error) {
    yield unreadable(path, error);
  }
}

/** A directory may have been swapped for a link since its parent was read: then what was read lies elsewhere. */
async function proveUnmoved(root: string, { path, at }: Directory): Promise<void> {
  const directory = `${root}/${at}`;
  const real = await fs.realpath(directory);
  if (real === '/' || `${real}/` === directory) return;
  const shown = path === '' ? 'The directory' : path.slice(0, -1);
  throw new LocalError(
    'OUTSIDE',
    `${shown} was swapped for a link while it was looked at: what lies behind it is left alone.`,
  );
}

async function rulesIn({ root }: Walk, { path, at, rules }: Directory): Promise<IgnoreRules> {
  const lines = await readIgnoreFile(`${root}/${at}`, path.slice(0, -1));
  // Editors take a file away for a moment when they save it: what it said must not be forgotten meanwhile.
  if (lines === undefined) {
    throw new LocalError(
      IGNORE_FILE_CODE,
      `${path}${IGNORE_FILE} was taken away while it was looked for: this time nothing beside it was looked at.`,
    );
  }
  return rules.with(path, lines);
}

async function look(root: string, some: readonly Met[]): Promise<Map<string, Stats | { error: unknown }>> {
  const looks = some
    .filter(({ what, instead }) => instead === undefined && what.isFile())
    .map(async ({ path, at }) => {
      try {
        return [path, await fs.lstat(`${root}/${at}`)] as const;
      } catch (error) {
        return [path, { error }] as const;
      }
    });
  return new Map<string, Stats | { error: unknown }>(await Promise.all(looks));
}
