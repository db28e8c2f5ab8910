/*
 * The walk of the local tree: every regular file below a root, in the order of comparePaths, one directory in
 * memory at a time. Special files are not opened but reported, and so are links, unless they are to be followed;
 * then never out of the root, nor round in a circle (links.ts). Heeds `.ferryignore` files and reads no other
 * content. A directory that cannot be read is reported, and what lies under it is unknown, not gone.
 */
import { type Dirent, promises as fs, type Stats } from 'node:fs';
import { comparePaths, type LocalFile, type RelativePath } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { IGNORE_FILE, IGNORE_FILE_CODE, IgnoreRules, readIgnoreFile, Turns } from './ignore.js';
import { identityOf, Links, type Target } from './links.js';

/** What the walk came upon. */
export type Sight =
  | { readonly kind: 'file'; readonly file: LocalFile }
  /** Known, and left out: a link or a special file. */
  | {
      readonly kind: 'ignored';
      readonly path: RelativePath;
      readonly message: string;
    }
  /** Not a file that can be sent: its name or its kind. */
  | {
      readonly kind: 'unfit';
      readonly path: RelativePath;
      readonly code: string;
      readonly message: string;
    }
  /** Not readable: the scan is incomplete here. */
  | {
      readonly kind: 'unreadable';
      readonly path: RelativePath;
      readonly code: string;
      readonly message: string;
    };

export interface WalkOptions {
  /** False for what the job leaves out. A directory's path ends with `/`; leaving it out leaves out all below. */
  readonly wants: (path: string) => boolean;
  /** What becomes of links; `skip` unless told. */
  readonly links?: 'skip' | 'follow';
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

/**
 * What stands at one place: a regular file, nothing, or something else (a link, a directory, a pipe).
 *
 * @throws {LocalError} where that cannot be seen
 */
export async function standsAt(root: string, path: RelativePath): Promise<LocalFile | 'nothing' | 'other'> {
  try {
    const stats = await fs.lstat(`${root}/${path}`);
    return stats.isFile() ? { path, ...fingerprintOf(stats), device: stats.dev } : 'other';
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
  links: 'skip' | 'follow' = 'skip',
): Promise<LocalFile | undefined> {
  const at = links === 'skip' ? path : await new Links(root).placeOf(path);
  const there = at === undefined ? 'nothing' : await standsAt(root, at);
  if (there === 'nothing' || there === 'other') return undefined;
  return at === path || at === undefined ? there : { ...there, path, at };
}

/** Walks the tree below `root` (a real path, from `openRoot`). Never throws for what lies in the tree. */
export async function* walk(root: string, options: WalkOptions): AsyncGenerator<Sight> {
  const links = options.links === 'follow' ? new Links(root) : undefined;
  yield* walkDirectory(
    { root, links, wants: options.wants },
    { path: '', at: '', rules: IgnoreRules.NONE, above: [] },
  );
}

/** What the whole walk shares. */
interface Walk {
  readonly root: string;
  /** Undefined where links are not followed. */
  readonly links: Links | undefined;
  readonly wants: (path: string) => boolean;
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
}

/** An entry of a directory, its link followed. */
interface Met {
  readonly name: string;
  /** A directory's ends with `/`. */
  readonly path: string;
  readonly at: string;
  readonly what: Dirent | Stats;
  /** What to tell in its place: a link that is not followed. */
  readonly instead: Sight | undefined;
}

async function* walkDirectory(walk: Walk, directory: Directory): AsyncGenerator<Sight> {
  const { root, links } = walk;
  const shown = directory.path.slice(0, -1);
  let entries: Dirent[];
  let { above, rules } = directory;
  try {
    entries = await fs.readdir(`${root}/${directory.at}`, { withFileTypes: true });
    if (links !== undefined) above = [...above, identityOf(await fs.stat(`${root}/${directory.at}`))];
  } catch (error) {
    const code = codeOf(error);
    // Deleted since its parent was read: as if it had never been seen. The root itself must be there.
    if (directory.path === '' || (code !== 'ENOENT' && code !== 'ENOTDIR')) yield unreadable(shown, error);
    return;
  }
  if (entries.some(({ name }) => name === IGNORE_FILE)) {
    try {
      rules = await rulesIn(walk, directory);
    } catch (error) {
      yield { kind: 'unreadable', path: shown, code: IGNORE_FILE_CODE, message: messageOf(error) };
      return;
    }
  }
  if (directory.at !== directory.path) links?.entered();
  const wants = (path: string): boolean => walk.wants(path) && !rules.ignores(path);
  const met = await meet(entries, { ...directory, above }, links, wants);

  let looked = new Map<string, Stats | { error: unknown }>();
  for (const [place, { name, path, at, what, instead }] of met.entries()) {
    if (place % LOOKS_AT_ONCE === 0) {
      looked = await look(root, met.slice(place, place + LOOKS_AT_ONCE));
    }
    const unfit = unfitName(name, path);
    if (unfit !== undefined) yield unfit;
    else if (instead !== undefined) yield instead;
    else if (what.isDirectory()) yield* walkDirectory(walk, { path, at: `${at}/`, rules, above });
    else if (!what.isFile()) {
      yield {
        kind: 'unfit',
        path,
        code: 'special-file',
        message: `${path} is a ${kindOf(what)}, which has no content to send. Exclude it to be rid of this message.`,
      };
    } else {
      const stats = looked.get(path);
      if (stats === undefined || 'error' in stats) {
        // Deleted between readdir and lstat: as if it had never been seen.
        if (stats !== undefined && codeOf(stats.error) !== 'ENOENT') yield unreadable(path, stats.error);
      } else if (stats.isFile()) {
        const file = { path, ...fingerprintOf(stats), device: stats.dev };
        yield { kind: 'file', file: at === path ? file : { ...file, at } };
      }
    }
  }
}

async function rulesIn({ root }: Walk, { path, at, rules }: Directory): Promise<IgnoreRules> {
  const shown = path.slice(0, -1);
  const lines = await readIgnoreFile(`${root}/${at}`, shown);
  // Editors take a file away for a moment when they save it: what it said must not be forgotten meanwhile.
  if (lines === undefined) {
    throw new LocalError(
      IGNORE_FILE_CODE,
      `${path}${IGNORE_FILE} was taken away while it was looked for: this time nothing beside it was looked at.`,
    );
  }
  return rules.with(path, lines);
}

/** The entries that the job wants. Directories sort as `name/`, so that files come out in the order of whole paths. */
async function meet(
  entries: readonly Dirent[],
  directory: Directory,
  links: Links | undefined,
  wants: (path: string) => boolean,
): Promise<Met[]> {
  const met: Met[] = [];
  const turns = new Turns();
  for (const entry of entries) {
    await turns.take();
    const { name } = entry;
    const path = `${directory.path}${name}`;
    const plain = { name, path, at: `${directory.at}${name}`, what: entry, instead: undefined };
    if (!entry.isSymbolicLink()) {
      const own = entry.isDirectory() ? { ...plain, path: `${path}/` } : plain;
      if (wants(own.path)) met.push(own);
    } else if (links === undefined) {
      const message = `${path} is a link: links are not followed.`;
      if (wants(path)) met.push({ ...plain, instead: { kind: 'ignored', path, message } });
    } else if (wants(path) || wants(`${path}/`)) {
      const followed = behind(plain, await links.follow({ ...plain, above: directory.above }));
      if (followed !== undefined && wants(followed.path)) met.push(followed);
    }
  }
  return met.sort((a, b) => comparePaths(a.path, b.path));
}

function behind(link: Met, target: Target): Met | undefined {
  switch (target.kind) {
    case 'gone':
      return undefined;
    case 'target': {
      const { at, stats } = target;
      return { ...link, path: stats.isDirectory() ? `${link.path}/` : link.path, at, what: stats };
    }
    case 'refused': {
      const { as, code, message } = target;
      const { path } = link;
      const instead: Sight =
        as === 'ignored' ? { kind: as, path, message } : { kind: as, path, code, message };
      return { ...link, path: target.leadsTo === 'directory' ? `${path}/` : path, instead };
    }
  }
}

async function look(root: string, some: readonly Met[]): Promise<Map<string, Stats | { error: unknown }>> {
  const looks = some
    .filter(({ what }) => what.isFile())
    .map(async ({ path, at }) => {
      try {
        return [path, await fs.lstat(`${root}/${at}`)] as const;
      } catch (error) {
        return [path, { error }] as const;
      }
    });
  return new Map<string, Stats | { error: unknown }>(await Promise.all(looks));
}

/** Size, times and inode of a file, as the planner compares them. */
export function fingerprintOf(stats: Stats): {
  sizeBytes: number;
  mtimeMs: number;
  ctimeMs: number;
  inode: number;
} {
  return {
    sizeBytes: stats.size,
    mtimeMs: stats.mtimeMs,
    ctimeMs: stats.ctimeMs,
    inode: stats.ino,
  };
}

/** Names that cannot travel in a command, or that Node could not read as they are. */
function unfitName(name: string, path: string): Sight | undefined {
  if (/[\r\n]/.test(name)) {
    const shown = path.replace(/\r/g, '\\r').replace(/\n/g, '\\n');
    return {
      kind: 'unfit',
      path,
      code: 'name',
      message: `${shown} has a line break in its name, which FTP cannot carry. Rename it or exclude it.`,
    };
  }
  if (name.includes('\ufffd')) {
    return {
      kind: 'unfit',
      path,
      code: 'name',
      message: `${path} has a name that is not valid UTF-8. Rename it or exclude it.`,
    };
  }
  return undefined;
}

function kindOf(entry: Dirent | Stats): string {
  if (entry.isFIFO()) return 'named pipe';
  if (entry.isSocket()) return 'socket';
  if (entry.isBlockDevice() || entry.isCharacterDevice()) return 'device';
  return 'special file';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function unreadable(path: string, error: unknown): Sight {
  const code = codeOf(error);
  return {
    kind: 'unreadable',
    path,
    code,
    message: localSentence(code, path === '' ? 'the directory' : path),
  };
}
