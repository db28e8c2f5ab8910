/*
 * A file from one name to another, never onto something that stands there: within one disk by the file system, from
 * one disk to another by a copy that is proven before the original may go. The names are those of places that are held
 * open (place.ts); who calls has looked at what stands there.
 */
import { randomBytes } from 'node:crypto';
import {
  constants,
  linkSync,
  lstatSync,
  readlinkSync,
  renameSync,
  type Stats,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import type { RelativePath } from '../plan/entry.js';
import { temporaryName } from '../plan/temporary.js';
import type { OpenFile } from './disk.js';
import { codeOf } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { diskOf } from './mounts.js';
import { PERMISSION_BITS } from './permissions.js';
import { type Place, split, within } from './place.js';
import { LocalSource } from './source.js';

/** What stands at a path, links not followed; undefined where nothing does. */
export function standing(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** What file systems without hard links say, and the system of files that one does not own. */
const NO_LINKS = ['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EINVAL'];

/** Gives a file a second name. `no-links` where that cannot be had here, `elsewhere` where the disk is another one. */
export function linkTo(from: string, to: string): 'linked' | 'occupied' | 'no-links' | 'elsewhere' {
  try {
    linkSync(from, to);
    return 'linked';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') return 'occupied';
    if (code === 'EXDEV') return 'elsewhere';
    if (NO_LINKS.includes(code)) return 'no-links';
    throw error;
  }
}

/**
 * Moves a file within one disk. Node has no rename that refuses to replace, and each of the two ways around that
 * leaves one end open for a moment: a rename after a look loses what comes up at `to` in between, a second name and
 * an unlink loses what is put at `from` in between. So the end decides that others write to.
 *
 * @param contested where others than ferryd may write: at a person's file, not in the trash
 * @returns `elsewhere`: it is another disk, and nothing was done
 */
export function relocate(
  from: string,
  to: string,
  contested: 'from' | 'to',
): 'moved' | 'missing' | 'occupied' | 'elsewhere' {
  try {
    const there = standing(to);
    if (there !== undefined) {
      const here = standing(from);
      // Both names of one file: whoever moved it was killed before the first one went.
      if (contested !== 'to' || here?.ino !== there.ino || here.dev !== there.dev) return 'occupied';
      unlinkSync(from);
      return 'moved';
    }
    if (contested === 'to') {
      const linked = linkTo(from, to);
      if (linked === 'linked') unlinkSync(from);
      if (linked !== 'no-links') return linked === 'linked' ? 'moved' : linked;
    }
    renameSync(from, to);
    return 'moved';
  } catch (error) {
    if (codeOf(error) === 'EXDEV') return 'elsewhere';
    if (codeOf(error) === 'ENOENT' && standing(from) === undefined) return 'missing';
    throw error;
  }
}

/**
 * Copies a regular file to a place on another disk, with its times and permissions, and its owner where that may be
 * set; or a link, which has nothing but its text. What stands at the name afterwards is whole and on the disk.
 *
 * @param root the real path of the root
 * @param file `stats`: what was seen at `path`
 * @throws {LocalError} CHANGED where it is not that file, or is written while it is read; the system's error where it
 *   cannot be written
 */
export async function copyAcross(
  root: string,
  file: { readonly path: RelativePath; readonly stats: Stats },
  place: Place,
  name: string,
): Promise<'copied' | 'occupied'> {
  const { path, stats } = file;
  if (stats.isSymbolicLink()) return copyLink(root, path, place, name);
  const disk = diskOf(root);
  const source = await LocalSource.open(root, { path, ...fingerprintOf(stats), device: stats.dev });
  const temporary = `${place.at}/${temporaryName(name, randomBytes(8).toString('hex'), 'hidden')}`;
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const copy = await disk.open(temporary, flags, 0o600);
    try {
      await writeAll(copy, source);
      await copy.utimes(stats.atimeMs, stats.mtimeMs);
      await giveTo(copy, stats);
      await copy.chmod(stats.mode & PERMISSION_BITS);
      await copy.sync();
    } finally {
      await copy.close();
    }
    // Flushing takes its time too.
    await source.confirm();
    const moved = relocate(temporary, `${place.at}/${name}`, 'to');
    await place.sync();
    return moved === 'moved' ? 'copied' : 'occupied';
  } finally {
    await disk.unlink(temporary);
    await source.close();
  }
}

/** Only root may give a file away; for anybody else it is his own already, or stays so. */
async function giveTo(copy: OpenFile, { uid, gid }: Stats): Promise<void> {
  try {
    await copy.chown(uid, gid);
  } catch {
    // Then it is the account's that runs ferryd.
  }
}

async function copyLink(
  root: string,
  path: RelativePath,
  place: Place,
  name: string,
): Promise<'copied' | 'occupied'> {
  const from = split(path);
  try {
    await within(root, from.above, ({ at }) =>
      symlinkSync(readlinkSync(`${at}/${from.name}`), `${place.at}/${name}`),
    );
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return 'occupied';
    throw error;
  }
  await place.sync();
  return 'copied';
}

async function writeAll(copy: OpenFile, source: LocalSource): Promise<void> {
  let position = 0;
  for await (const chunk of source.chunks()) {
    for (let rest = chunk; rest.length > 0; ) {
      const written = await copy.writeBeside(rest, position);
      rest = rest.subarray(written);
      position += written;
    }
  }
}
