/*
 * The walk of the local tree: every regular file below a root, in the order of comparePaths, the directories on the way
 * to where it is in memory. Special files are not opened but reported, and so are links, unless they are told as what they are
 * (link.ts), or followed: then never out of the root, nor round in a circle (links.ts). Heeds `.ferryignore` files and reads no other
 * content, and never enters the trash. A directory that cannot be read is reported, and what lies under it is
 * unknown, not gone.
 */
import { constants, type Dirent } from 'node:fs';
import { isLink, type LinkEntry, type LocalFile, type RelativePath } from '../plan/entry.js';
import type { Disk, Looked } from './disk.js';
import { type Met, meet, type Wanting } from './entries.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { IGNORE_FILE, IGNORE_FILE_CODE, IgnoreRules, readIgnoreFile } from './ignore.js';
import { textAt } from './link.js';
import { identityOf, Links } from './links.js';
import { diskOf } from './mounts.js';
import { POOLED } from './pooled.js';
import { type Remark, type Sight, type Twin, unreadable } from './sight.js';
import { Turns } from './turns.js';

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

/**
 * Makes sure that the root is a directory that can be read.
 *
 * @returns its real path, links on the way to the root resolved
 * @throws {LocalError} with a sentence
 */
export async function openRoot(root: string): Promise<string> {
  try {
    const real = await POOLED.realpath(root);
    const stats = await POOLED.stat(real);
    if (!stats.isDirectory()) throw new LocalError('ENOTDIR', `${root} is not a directory.`);
    await POOLED.access(real, constants.R_OK | constants.X_OK);
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
    return identityOf(await diskOf(root).stat(`${root}/`));
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
    const disk = diskOf(root);
    const stats = await disk.lstat(`${root}/${path}`);
    if (stats.isFile()) return { path, ...fingerprintOf(stats), device: stats.dev };
    const leadsTo = stats.isSymbolicLink() ? await textAt(disk, `${root}/${path}`) : undefined;
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

/**
 * Walks the tree below `root` (a real path, from `openRoot`). Sights come several at a time, and others have their turn
 * in between. Never throws for what lies in the tree.
 */
export async function* walk(root: string, options: WalkOptions): AsyncGenerator<readonly Sight[]> {
  const { wants, links, directories, twins, lineBreaks, heeds, onRules } = options;
  const walker = new Walker({
    root,
    disk: diskOf(root),
    wanting: {
      wants,
      links: links === 'follow' ? new Links(root) : (links ?? 'skip'),
      twins: twins ?? 'silent',
      heeds,
      lineBreaks: lineBreaks ?? 'unfit',
    },
    directories: directories ?? 'silent',
    onRules: onRules ?? (() => {}),
  });
  await walker.begin();
  while (!walker.isOver) {
    const sights = await walker.next();
    if (sights.length > 0) yield sights;
    await walker.turns.take();
  }
}

/** How many files are looked at (lstat) at a time, and how many sights are told at a time at the most. */
const AT_ONCE = 256;

/** What the whole walk shares. */
interface Walk {
  readonly root: string;
  readonly disk: Disk;
  readonly wanting: Wanting;
  readonly directories: 'told' | 'silent';
  readonly onRules: (directory: string, rules: IgnoreRules) => void;
}

/** A directory on the way; its paths end with `/`, or are `''` for the root. */
interface Directory {
  readonly path: string;
  /** Where it really lies: other than `path` below a link that was followed. */
  readonly at: string;
  /** Of the `.ferryignore` files above it; its own included once it was entered. */
  readonly rules: IgnoreRules;
  /** Identities of the directories above it, itself included once it was entered; empty where links are not followed. */
  readonly above: readonly string[];
  readonly twin: Twin | undefined;
}

/** A directory that was entered: its entries, and how far the walk has come. */
interface Entered {
  readonly directory: Directory;
  readonly met: readonly Met[];
  next: number;
  /** What looking at the files from `next` on has shown, the last of them first. */
  looked: Looked[];
}

class Walker {
  readonly turns = new Turns();
  readonly #walk: Walk;
  /** From the root down to where the walk is. */
  readonly #entered: Entered[] = [];
  #sights: Sight[] = [];

  constructor(walk: Walk) {
    this.#walk = walk;
  }

  get isOver(): boolean {
    return this.#entered.length === 0 && this.#sights.length === 0;
  }

  async begin(): Promise<void> {
    await this.#enter({ path: '', at: '', rules: IgnoreRules.NONE, above: [], twin: undefined });
  }

  /** The next sights; fewer where others are to have their turn first. */
  async next(): Promise<readonly Sight[]> {
    for (let here = this.#entered.at(-1); here !== undefined; here = this.#entered.at(-1)) {
      const entry = here.met[here.next];
      if (entry === undefined) this.#entered.pop();
      else if (entry.instead === undefined && entry.what.isFile()) {
        if (here.looked.length === 0) await this.#look(here);
        here.next += 1;
        this.#tellFile(entry, here.looked.pop());
      } else {
        here.next += 1;
        await this.#tellOther(entry, here.directory);
      }
      if (this.#sights.length >= AT_ONCE || this.turns.isDue) break;
    }
    const sights = this.#sights;
    this.#sights = [];
    return sights;
  }

  async #tellOther(entry: Met, { rules, above }: Directory): Promise<void> {
    const { path, at, what, instead, twin } = entry;
    if (instead !== undefined) this.#sights.push(instead);
    else if (what.isSymbolicLink()) await this.#tellLink(entry);
    else await this.#enter({ path, at: `${at}/`, rules, above, twin });
  }

  async #enter(directory: Directory): Promise<void> {
    const { root, disk, wanting, directories, onRules } = this.#walk;
    const links = typeof wanting.links === 'string' ? undefined : wanting.links;
    const { path, at, twin } = directory;
    let entries: readonly Dirent[];
    let { above, rules } = directory;
    try {
      entries = await disk.readdir(`${root}/${at}`);
      if (links !== undefined) above = [...above, identityOf(await disk.stat(`${root}/${at}`))];
      await proveUnmoved(this.#walk, directory);
      if (entries.some(({ name }) => name === IGNORE_FILE)) {
        rules = await rulesIn(this.#walk, directory);
        onRules(path, rules);
      }
    } catch (error) {
      const code = codeOf(error);
      if (error instanceof LocalError) {
        this.#sights.push({ kind: 'unreadable', path, code, message: error.message });
      }
      // Deleted since its parent was read: as if it had never been seen. The root itself must be there.
      else if (path === '' || (code !== 'ENOENT' && code !== 'ENOTDIR')) {
        this.#sights.push(unreadable(path, error));
      }
      return;
    }
    if (directories === 'told' && path !== '') this.#sights.push(withTwin({ kind: 'directory', path }, twin));
    if (at !== path) links?.entered();
    const entered = { ...directory, above, rules };
    const met = await meet(entries, entered, wanting, this.turns);
    this.#entered.push({ directory: entered, met, next: 0, looked: [] });
  }

  /** Looks at the next files of the directory, up to the first entry that is none. */
  async #look(here: Entered): Promise<void> {
    const { root, disk } = this.#walk;
    const paths: string[] = [];
    for (let place = here.next; place < here.met.length && paths.length < AT_ONCE; place += 1) {
      const entry = here.met[place];
      if (entry === undefined || entry.instead !== undefined || !entry.what.isFile()) break;
      paths.push(`${root}/${entry.at}`);
    }
    here.looked = [...(await disk.lstatAll(paths))].reverse();
  }

  #tellFile({ path, at, twin }: Met, looked: Looked | undefined): void {
    if (looked === undefined) return;
    if ('error' in looked) {
      // Deleted between readdir and lstat: as if it had never been seen.
      if (codeOf(looked.error) !== 'ENOENT') this.#sights.push(unreadable(path, looked.error));
    } else if (looked.isFile()) {
      const { size, mtimeMs, ctimeMs, ino, dev } = looked;
      const seen = { path, sizeBytes: size, mtimeMs, ctimeMs, inode: ino, device: dev };
      this.#sights.push(withTwin({ kind: 'file', file: at === path ? seen : { ...seen, at } }, twin));
    }
  }

  async #tellLink({ path, at, twin }: Met): Promise<void> {
    const { root, disk } = this.#walk;
    try {
      const leadsTo = await textAt(disk, `${root}/${at}`);
      if (leadsTo === undefined) return;
      if (!leadsTo.includes('\ufffd')) {
        this.#sights.push(withTwin({ kind: 'link', link: { path, leadsTo } }, twin));
        return;
      }
      const message = `${path} is a link, and the name that it leads to is not valid UTF-8: it is not sent. Make it anew, or exclude it.`;
      this.#sights.push({ kind: 'unfit', path, code: 'link-text', message });
    } catch (error) {
      this.#sights.push(unreadable(path, error));
    }
  }
}

function withTwin(sight: Exclude<Sight, Remark>, twin: Twin | undefined): Sight {
  return twin === undefined ? sight : { ...sight, twin };
}

/** A directory may have been swapped for a link since its parent was read: then what was read lies elsewhere. */
async function proveUnmoved({ root, disk }: Walk, { path, at }: Directory): Promise<void> {
  const directory = `${root}/${at}`;
  const real = await disk.realpath(directory);
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
