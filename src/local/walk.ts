/*
 * The walk of the local tree: every regular file below a root, in the order of comparePaths, one directory in
 * memory at a time. Links are not followed and special files are not opened; both are reported. Reads no
 * content. A directory that cannot be read is reported, and what lies under it is unknown, not gone.
 */
import { type Dirent, promises as fs, type Stats } from 'node:fs';
import { comparePaths, type LocalFile, type RelativePath } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';

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
 * @returns undefined where it is gone or no regular file any more
 */
export async function lookAt(root: string, path: RelativePath): Promise<LocalFile | undefined> {
  const there = await standsAt(root, path);
  return there === 'nothing' || there === 'other' ? undefined : there;
}

/** Walks the tree below `root` (a real path, from `openRoot`). Never throws for what lies in the tree. */
export async function* walk(root: string, options: WalkOptions): AsyncGenerator<Sight> {
  yield* walkDirectory(root, '', options);
}

async function* walkDirectory(root: string, prefix: string, options: WalkOptions): AsyncGenerator<Sight> {
  let entries: Dirent[];
  try {
    entries = await fs.readdir(`${root}/${prefix}`, { withFileTypes: true });
  } catch (error) {
    const code = codeOf(error);
    // Deleted since its parent was read: as if it had never been seen. The root itself must be there.
    if (prefix === '' || (code !== 'ENOENT' && code !== 'ENOTDIR'))
      yield unreadable(prefix.slice(0, -1), error);
    return;
  }
  // Directories sort as `name/`, so that the files come out in the order of their whole paths.
  const keyed = entries
    .map((entry) => ({
      entry,
      path: `${prefix}${entry.name}${entry.isDirectory() ? '/' : ''}`,
    }))
    .filter(({ path }) => options.wants(path))
    .sort((a, b) => comparePaths(a.path, b.path));

  let looked = new Map<string, Stats | { error: unknown }>();
  for (const [place, { entry, path }] of keyed.entries()) {
    if (place % LOOKS_AT_ONCE === 0) {
      looked = await look(root, keyed.slice(place, place + LOOKS_AT_ONCE));
    }
    const unfit = unfitName(entry.name, path);
    if (unfit !== undefined) yield unfit;
    else if (entry.isDirectory()) yield* walkDirectory(root, path, options);
    else if (entry.isSymbolicLink())
      yield {
        kind: 'ignored',
        path,
        message: `${path} is a link: links are not followed.`,
      };
    else if (!entry.isFile()) {
      yield {
        kind: 'unfit',
        path,
        code: 'special-file',
        message: `${path} is a ${kindOf(entry)}, which has no content to send. Exclude it to be rid of this message.`,
      };
    } else {
      const stats = looked.get(path);
      if (stats === undefined || 'error' in stats) {
        // Deleted between readdir and lstat: as if it had never been seen.
        if (stats !== undefined && codeOf(stats.error) !== 'ENOENT') yield unreadable(path, stats.error);
      } else if (stats.isFile()) {
        yield {
          kind: 'file',
          file: { path, ...fingerprintOf(stats), device: stats.dev },
        };
      }
    }
  }
}

async function look(
  root: string,
  some: readonly { readonly entry: Dirent; readonly path: string }[],
): Promise<Map<string, Stats | { error: unknown }>> {
  const looks = some
    .filter(({ entry }) => entry.isFile())
    .map(async ({ path }) => {
      try {
        return [path, await fs.lstat(`${root}/${path}`)] as const;
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

function kindOf(entry: Dirent): string {
  if (entry.isFIFO()) return 'named pipe';
  if (entry.isSocket()) return 'socket';
  if (entry.isBlockDevice() || entry.isCharacterDevice()) return 'device';
  return 'special file';
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
