/*
 * The entries of one directory that take part in a walk, links followed where they are to be, in the order in which
 * their sights come. Says of each what is to be told in its place where it is no file or directory to go across, and
 * which ones are twins: a place that does not tell case or Unicode forms apart would take them for one.
 */
import type { Dirent, Stats } from 'node:fs';
import { comparePaths } from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import { isTrash, TRASH } from '../plan/trash.js';
import type { IgnoreRules } from './ignore.js';
import type { Links, Target } from './links.js';
import type { Remark, Sight, Twin } from './sight.js';
import type { Turns } from './turns.js';

/** So many entries are dealt with before it is asked whether it is others' turn: with rules, some milliseconds. */
const BETWEEN_TURNS = 64;

/** What a whole walk is after. */
export interface Wanting {
  readonly wants: (path: string) => boolean;
  /** Who follows links, where they are followed. */
  readonly links: Links | 'skip' | 'preserve';
  readonly twins: 'told' | 'silent';
  /** False for what is not to be looked at this time, and may still be a twin; undefined: all is. */
  readonly heeds: ((path: string) => boolean) | undefined;
  readonly lineBreaks: 'fit' | 'unfit';
}

/** The directory whose entries they are; paths end with `/`, or are `''` for the root. */
export interface Above {
  readonly path: string;
  /** Where it really lies. */
  readonly at: string;
  /** What leaves out its entries. */
  readonly rules: IgnoreRules;
  /** Identities of the directories from the root down to it; empty where links are not followed. */
  readonly above: readonly string[];
  readonly twin: Twin | undefined;
}

/** An entry of a directory, its link followed where links are. */
export interface Met {
  readonly name: string;
  /** A directory's ends with `/`. */
  readonly path: string;
  readonly at: string;
  readonly what: Dirent | Stats;
  /** What to tell in its place; undefined for a regular file, a directory, and a link that stays one. */
  readonly instead: Sight | undefined;
  readonly twin: Twin | undefined;
}

/** The entries that the job wants. Directories sort as `name/`, so that sights come out in the order of whole paths. */
export async function meet(
  entries: readonly Dirent[],
  directory: Above,
  wanting: Wanting,
  turns: Turns,
): Promise<readonly Met[]> {
  const met: Met[] = [];
  for (const [place, entry] of entries.entries()) {
    if (place % BETWEEN_TURNS === 0) await turns.take();
    if (directory.path === '' && entry.name === TRASH) continue;
    const one = entry.isSymbolicLink()
      ? await followed(entry, directory, wanting)
      : plain(entry, directory, entry.isDirectory() ? '/' : '');
    if (one === undefined || !wanting.wants(one.path)) continue;
    if (!directory.rules.ignores(one.path)) met.push(remarked(one, wanting));
  }
  const { length } = directory.path;
  met.sort((a, b) => comparePaths(a.path, b.path, length));
  const all = wanting.twins === 'told' ? withTwins(met) : met;
  const { heeds } = wanting;
  return heeds === undefined ? all : all.filter(({ path }) => heeds(path));
}

function plain(entry: Dirent, directory: Above, end: '/' | ''): Met {
  const { name } = entry;
  const path = `${directory.path}${name}${end}`;
  return {
    name,
    path,
    at: end === '' && directory.at === directory.path ? path : `${directory.at}${name}`,
    what: entry,
    instead: undefined,
    twin: directory.twin,
  };
}

/** Undefined where it is gone, or nobody wants it whatever it leads to. */
async function followed(entry: Dirent, directory: Above, wanting: Wanting): Promise<Met | undefined> {
  const link = plain(entry, directory, '');
  const { path } = link;
  const { links, wants } = wanting;
  if (links === 'preserve') return link;
  if (links === 'skip') {
    return {
      ...link,
      instead: { kind: 'ignored', path, message: `${path} is a link: links are not followed.` },
    };
  }
  const may = (as: string): boolean => wants(as) && !directory.rules.ignores(as);
  if (!may(path) && !may(`${path}/`)) return undefined;
  return behind(link, await links.follow({ ...link, above: directory.above }));
}

function behind(link: Met, target: Target): Met | undefined {
  const { path } = link;
  switch (target.kind) {
    case 'gone':
      return undefined;
    case 'target': {
      const { at, stats } = target;
      const own = stats.isDirectory() ? `${path}/` : path;
      const message = `${path} is a link into the trash, which is never sent: it is not followed.`;
      const instead: Remark | undefined = isTrash(at) ? { kind: 'ignored', path: own, message } : undefined;
      return { ...link, path: own, at, what: stats, instead };
    }
    case 'refused': {
      const { as, code, message } = target;
      const own = target.leadsTo === 'directory' ? `${path}/` : path;
      const instead: Remark =
        as === 'ignored' ? { kind: as, path: own, message } : { kind: as, path: own, code, message };
      return { ...link, path: own, instead };
    }
  }
}

/** What keeps an entry that is wanted from going across. A name that cannot travel is told first. */
function remarked(one: Met, { lineBreaks }: Wanting): Met {
  const unfit = unfitName(one, lineBreaks) ?? one.instead ?? unfitKind(one);
  return unfit === one.instead ? one : { ...one, instead: unfit };
}

/** Names that cannot travel in a command, or that Node could not read as they are. */
function unfitName({ name, path }: Met, lineBreaks: 'fit' | 'unfit'): Remark | undefined {
  if (lineBreaks === 'unfit' && (name.includes('\n') || name.includes('\r'))) {
    const shown = path.replace(/\r/g, '\\r').replace(/\n/g, '\\n');
    return {
      kind: 'unfit',
      path,
      code: 'name',
      message: `${shown} has a line break in its name, which is never carried as it is. Rename it, exclude it, or write names: encode.`,
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

function unfitKind({ path, what }: Met): Remark | undefined {
  // A link is left only where links stay what they are.
  if (what.isDirectory() || what.isFile() || what.isSymbolicLink()) return undefined;
  return {
    kind: 'unfit',
    path,
    code: 'special-file',
    message: `${path} is a ${kindOf(what)}, which has no content to send. Exclude it to be rid of this message.`,
  };
}

function kindOf(entry: Dirent | Stats): string {
  if (entry.isFIFO()) return 'named pipe';
  if (entry.isSocket()) return 'socket';
  if (entry.isBlockDevice() || entry.isCharacterDevice()) return 'device';
  return 'special file';
}

/** Says of files and directories with the same folded name that they are twins. */
function withTwins(met: readonly Met[]): readonly Met[] {
  // Of twins at most one is written as it folds: names that are need no look unless such a one is there.
  const folds = new Set<string>();
  for (const { name, instead } of met) {
    const fold = foldOf(name);
    if (instead === undefined && fold !== name) folds.add(fold);
  }
  if (folds.size === 0) return met;
  const groups = new Map<string, string[]>();
  for (const { name, instead } of met) {
    const fold = foldOf(name);
    if (instead !== undefined || !folds.has(fold)) continue;
    const group = groups.get(fold);
    if (group === undefined) groups.set(fold, [name]);
    else group.push(name);
  }
  return met.map((one) => {
    const group = one.instead === undefined ? groups.get(foldOf(one.name)) : undefined;
    return group === undefined || group.length < 2
      ? one
      : { ...one, twin: both(one.twin, differenceOf(group)) };
  });
}

/** In what names differ that fold to the same. */
function differenceOf(names: readonly string[]): Twin {
  if (new Set(names.map((name) => name.normalize('NFC'))).size === 1) return 'form';
  return new Set(names.map((name) => name.toLowerCase())).size === 1 ? 'case' : 'both';
}

function both(above: Twin | undefined, own: Twin): Twin {
  return above === undefined || above === own ? own : 'both';
}
