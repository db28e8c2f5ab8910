/*
 * A directory of the local tree as a place to work in: opened without following a link, proven to stand where its
 * path says, and held open meanwhile. Names are then resolved from the open directory (openat(2), which Node has not,
 * by way of /proc), so that no swap of a directory for a link leads the work elsewhere. Where there is no /proc, the
 * real path is compared right before the work, which leaves a moment.
 */
import { constants, type Stats } from 'node:fs';
import type { RelativePath } from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import type { Disk, OpenFile } from './disk.js';
import { codeOf, LocalError } from './error.js';
import { diskOf } from './mounts.js';

/** A directory that is held open. */
export interface Place {
  /** Path of the directory, to which `/name` is added. Good only while the work goes on. */
  readonly at: string;
  /** Flushes what became of its names: without it a power cut may forget a rename. */
  sync(): Promise<void>;
}

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Directories below a root are for everybody to read, as far as the umask lets them be. */
const DIRECTORY_MODE = 0o755;

/**
 * Works in a directory.
 *
 * @param root the real path of the root
 * @param directory below the root, without a slash at its end; `''` is the root itself
 * @throws {LocalError} OUTSIDE where it is reached through a link, else the system's error and whatever `work` throws
 */
export async function within<T>(
  root: string,
  directory: RelativePath,
  work: (place: Place) => T | Promise<T>,
): Promise<T> {
  const disk = diskOf(root);
  const path = pathOf(root, directory);
  const open = await openDirectory(disk, path, directory);
  try {
    const descriptor = `/proc/self/fd/${open.fd}`;
    let at = descriptor;
    let real: string;
    try {
      real = await disk.readlink(descriptor);
    } catch {
      real = await disk.realpath(path);
      at = path;
    }
    if (real !== path) {
      // Deleted since it was opened: nobody led us astray.
      if ((await open.stat()).nlink === 0) throw systemError('ENOENT', path);
      throw foldOf(real) === foldOf(path) ? spelt(directory) : outside(directory);
    }
    return await work({ at, sync: () => open.sync() });
  } finally {
    await open.close();
  }
}

/**
 * Makes a directory and those above it. One that is there is fine, and a link is none.
 *
 * @throws {LocalError} OUTSIDE at a link, EISDIR where a file stands in the way; else the system's error
 */
export async function makeDirectories(root: string, directory: RelativePath): Promise<void> {
  try {
    // Nearly always it is there, and one look proves the whole way.
    await within(root, directory, () => {});
    return;
  } catch (error) {
    const mayBeMade = directory !== '' && ['ENOENT', 'ENOTDIR'].includes(codeOf(error));
    if (error instanceof LocalError || !mayBeMade) throw error;
  }
  for (let end = directory.indexOf('/'); end >= 0; end = directory.indexOf('/', end + 1)) {
    await makeOne(root, directory.slice(0, end));
  }
  await makeOne(root, directory);
}

async function makeOne(root: string, directory: RelativePath): Promise<void> {
  const disk = diskOf(root);
  const { above, name } = split(directory);
  await within(root, above, async ({ at, sync }) => {
    const path = `${at}/${name}`;
    // Looked at first: some file servers refuse to make what is there for want of a right, not because it is there.
    if ((await standing(disk, path)) === undefined) {
      try {
        await disk.mkdir(path, DIRECTORY_MODE);
        // Or a power cut may take it back, with all that was flushed in it since.
        await sync();
        return;
      } catch (error) {
        // Another download made it in the meantime.
        if (codeOf(error) !== 'EEXIST') throw error;
      }
    }
    const stats = await standing(disk, path);
    if (stats?.isSymbolicLink() === true) throw outside(directory);
    if (stats?.isDirectory() === false) {
      throw new LocalError('EISDIR', `${directory} is a file here, where a directory has to be.`);
    }
  });
}

async function standing(disk: Disk, path: string): Promise<Stats | undefined> {
  try {
    return await disk.lstat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * A path's directory (`''`: the root) and its last name; a slash at its end does not count.
 *
 * @throws {LocalError} OUTSIDE where that is no name: nobody works on the root itself, nor on what lies above
 */
export function split(path: RelativePath): { readonly above: RelativePath; readonly name: string } {
  const bare = path.endsWith('/') ? path.slice(0, -1) : path;
  const slash = bare.lastIndexOf('/');
  const name = bare.slice(slash + 1);
  if (name === '' || name === '.' || name === '..') {
    throw new LocalError('OUTSIDE', `${path === '' ? 'The root itself' : path} is left as it is.`);
  }
  return { above: bare.slice(0, Math.max(0, slash)), name };
}

async function openDirectory(disk: Disk, path: string, directory: RelativePath): Promise<OpenFile> {
  try {
    return await disk.open(path, FLAGS);
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
    // Linux says ENOTDIR of a link here, as it does of a file.
    throw (await isLink(disk, path)) ? outside(directory) : error;
  }
}

async function isLink(disk: Disk, path: string): Promise<boolean> {
  try {
    return (await disk.lstat(path)).isSymbolicLink();
  } catch {
    return false;
  }
}

function pathOf(root: string, directory: RelativePath): string {
  if (directory === '') return root === '' ? '/' : root;
  return `${root}/${directory}`;
}

function outside(directory: RelativePath): LocalError {
  return new LocalError(
    'OUTSIDE',
    `${directory === '' ? 'The root' : directory} is a link here, or is reached through one: nothing is written or taken away behind it.`,
  );
}

/** On disks that do not tell upper and lower case apart. */
function spelt(directory: RelativePath): LocalError {
  return new LocalError(
    'OUTSIDE',
    `${directory} is spelt otherwise on this disk, which does not tell upper and lower case or the forms of letters apart: nothing is written or taken away there.`,
  );
}

function systemError(code: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
