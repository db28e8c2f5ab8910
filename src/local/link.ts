/*
 * Symbolic links as what they are, where a job preserves them: reading their text, putting one in its place, and taking
 * one away. Nobody looks what a link leads to, and nothing is done behind one (place.ts). Like a file, a link stands
 * under a temporary name before it takes its place in one step (aside.ts).
 */
import { readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';
import type { RelativePath } from '../plan/entry.js';
import { replaceAndKeep } from './aside.js';
import type { Disk } from './disk.js';
import { codeOf, deedSentence, LocalError } from './error.js';
import { standing } from './moving.js';
import { makeDirectories, split, within } from './place.js';

/** One link that is to stand under a path. */
export interface LinkPlacing {
  /** Real path of the root. */
  readonly root: string;
  readonly path: RelativePath;
  /** In the same directory as `path`. */
  readonly temporary: RelativePath;
  readonly leadsTo: string;
  /** What stands under `path` goes there first, directories made; undefined: it is overwritten. */
  readonly aside: RelativePath | undefined;
}

/** What file systems say that have no links. */
const NO_LINKS = ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'];

/** The text of the link at a path, or undefined where there is none. What is no UTF-8 has U+FFFD in it. */
export async function textAt(disk: Disk, at: string): Promise<string | undefined> {
  try {
    return await disk.readlink(at);
  } catch (error) {
    // EINVAL: it is something else by now.
    if (['EINVAL', 'ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined;
    throw error;
  }
}

/** True where a link with this text stands at a path. */
export function leadsThere(at: string, leadsTo: string): boolean {
  return standing(at)?.isSymbolicLink() === true && readlinkSync(at) === leadsTo;
}

/**
 * Puts a link in its place, over a file or another link. A directory is not replaced.
 *
 * @returns whether something was set aside
 * @throws {LocalError} ASIDE where something else stands there already, OUTSIDE where a directory on the way is a link,
 *   else the system's code; what stood under the path stands there still
 */
export async function placeLink(placing: LinkPlacing): Promise<boolean> {
  const { root, path, temporary, leadsTo, aside } = placing;
  const { above, name } = split(path);
  const fresh = split(temporary).name;
  return told(path, async () => {
    await makeDirectories(root, above);
    return within(root, above, async (here) => {
      const at = `${here.at}/${fresh}`;
      symlinkSync(leadsTo, at);
      try {
        let setAside = false;
        if (aside === undefined) renameSync(at, `${here.at}/${name}`);
        else setAside = await replaceAndKeep({ root, path, aside, here, temporary: fresh });
        await here.sync();
        return setAside;
      } finally {
        if (leadsThere(at, leadsTo)) unlinkSync(at);
      }
    });
  });
}

/** Takes away a link that stands under a temporary name. One that is not there is no failure. */
export async function discardLink(root: string, temporary: RelativePath): Promise<void> {
  const { above, name } = split(temporary);
  try {
    await within(root, above, ({ at }) => {
      if (standing(`${at}/${name}`)?.isSymbolicLink() === true) unlinkSync(`${at}/${name}`);
    });
  } catch (error) {
    // Its directory is gone, or something else stands in its place: there is nothing of ours any more.
    if (!['ENOENT', 'ENOTDIR', 'OUTSIDE'].includes(codeOf(error))) throw error;
  }
}

async function told<T>(path: RelativePath, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LocalError) throw error;
    const code = codeOf(error);
    if (NO_LINKS.includes(code)) {
      const message = `${path} is a link, and could not be made here: its disk has no links, or the account that runs ferryd may not write to the directory.`;
      throw new LocalError('EPERM', message, error);
    }
    throw new LocalError(code, deedSentence(code, path, 'made'), error);
  }
}
