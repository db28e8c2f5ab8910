/*
 * What is done to the local tree besides reading and writing files: taking away, moving, and directories. Every step
 * stays below the root with no link on the way (place.ts), and what is taken away or moved is looked at right before,
 * in the same turn. Never replaces anything, and never removes a directory that holds something. Deliberately does
 * not move directories: what lies in them was not looked at.
 */
import { promises as fs, type Stats, unlinkSync } from 'node:fs';
import { type Fingerprint, type LinkEntry, type RelativePath, sameFingerprint } from '../plan/entry.js';
import { isTrash } from '../plan/trash.js';
import { codeOf, type Deed, deedSentence, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { leadsThere } from './link.js';
import { copyAcross, relocate, standing } from './moving.js';
import { makeDirectories, type Place, split, within } from './place.js';

/** What was seen of a file, or of a link. */
type Seen = Fingerprint | Pick<LinkEntry, 'leadsTo'>;

/**
 * Removes a regular file, as long as it is the one that was seen: the same size, time and inode, and the same ctime
 * where that is known (0 where not). Or a link, as long as it has the same text.
 *
 * @param root the real path of the root
 * @throws {LocalError} OUTSIDE where a directory on the way is a link, else the system's code
 */
export async function removeFile(
  root: string,
  path: RelativePath,
  expected: Seen,
): Promise<'removed' | 'missing' | 'changed'> {
  const { above, name } = split(path);
  return told(path, 'taken away', 'missing', () =>
    within(root, above, ({ at }) => {
      const stats = standing(`${at}/${name}`);
      if (stats === undefined) return 'missing';
      if (!isExpected(stats, expected, `${at}/${name}`)) return 'changed';
      unlinkSync(`${at}/${name}`);
      return 'removed';
    }),
  );
}

/**
 * Takes a file of our own away, whatever it holds; one that is not there is no failure.
 *
 * @throws {LocalError} as `removeFile`
 */
export async function discardFile(root: string, path: RelativePath): Promise<void> {
  const { above, name } = split(path);
  await told(path, 'taken away', 'gone', () =>
    within(root, above, ({ at }) => {
      if (standing(`${at}/${name}`)?.isFile() === true) unlinkSync(`${at}/${name}`);
      return 'gone';
    }),
  );
}

/**
 * Moves a regular file within the root, or the link that was seen; it keeps its content and its times. The directories of `to`
 * are made. Never replaces what stands at `to`, be it a link or a directory.
 *
 * @param expected what was seen at `from`, compared as `removeFile` does; undefined: any regular file is moved
 * @returns `changed` also where `from` is neither
 * @throws {LocalError} OUTSIDE where a directory on the way is a link, EISDIR where a file stands in the place of
 *   a directory of `to`, else the system's code
 */
export async function moveFile(
  root: string,
  from: RelativePath,
  to: RelativePath,
  expected: Seen | undefined,
): Promise<'moved' | 'missing' | 'changed' | 'occupied'> {
  const source = split(from);
  const target = split(to);
  return told(from, 'moved', 'missing', () =>
    within(root, source.above, async (here) => {
      const path = `${here.at}/${source.name}`;
      // A first look, so that no directories are made for nothing.
      const first = standing(path);
      if (first === undefined) return 'missing';
      if (!isExpected(first, expected, path)) return 'changed';
      return told(to, 'made', undefined, async () => {
        await makeDirectories(root, target.above);
        return within(root, target.above, async (there) => {
          const stats = standing(path);
          if (stats === undefined) return 'missing';
          if (!isExpected(stats, expected, path)) return 'changed';
          const moved = relocate(path, `${there.at}/${target.name}`, isTrash(from) ? 'to' : 'from');
          return moved === 'elsewhere' ? moveAcross(root, { from, stats, path }, there, target.name) : moved;
        });
      });
    }),
  );
}

/** Another disk is mounted on the way: the file goes only once its copy is whole and it is the same still. */
async function moveAcross(
  root: string,
  { from, stats, path }: { readonly from: RelativePath; readonly stats: Stats; readonly path: string },
  there: Place,
  name: string,
): Promise<'moved' | 'missing' | 'changed' | 'occupied'> {
  try {
    if ((await copyAcross(root, { path: from, stats }, there, name)) === 'occupied') return 'occupied';
  } catch (error) {
    if (error instanceof LocalError && error.code === 'CHANGED') return 'changed';
    throw error;
  }
  const now = standing(path);
  if (now !== undefined && sameFingerprint(fingerprintOf(now), fingerprintOf(stats))) {
    unlinkSync(path);
    return 'moved';
  }
  unlinkSync(`${there.at}/${name}`);
  return now === undefined ? 'missing' : 'changed';
}

/**
 * Makes a directory and those above it, readable for all as far as the umask allows. There already: fine.
 *
 * @throws {LocalError} OUTSIDE where one of them is a link, EISDIR where one is a file, else the system's code
 */
export async function makeDirectory(root: string, path: RelativePath): Promise<void> {
  const bare = bareOf(path);
  await told(bare, 'made', undefined, () => makeDirectories(root, bare));
}

/**
 * Removes an empty directory; a missing one counts as removed.
 *
 * @throws {LocalError} OUTSIDE where it is a link or is reached through one, ENOTDIR where it is a file, else the
 *   system's code
 */
export async function removeDirectory(root: string, path: RelativePath): Promise<'removed' | 'not-empty'> {
  const bare = bareOf(path);
  const { above, name } = split(bare);
  return told(bare, 'taken away', 'removed', () =>
    within(root, above, async ({ at }) => {
      const stats = standing(`${at}/${name}`);
      if (stats === undefined) return 'removed';
      if (!stats.isDirectory()) {
        throw stats.isSymbolicLink()
          ? new LocalError('OUTSIDE', `${bare} is a link here, and no directory: it is not taken away.`)
          : new LocalError('ENOTDIR', localSentence('ENOTDIR', bare));
      }
      try {
        await fs.rmdir(`${at}/${name}`);
        return 'removed';
      } catch (error) {
        const code = codeOf(error);
        if (code === 'ENOTEMPTY' || code === 'EEXIST') return 'not-empty';
        throw error;
      }
    }),
  );
}

/** @param at where `stats` was found */
function isExpected(stats: Stats, expected: Seen | undefined, at: string): boolean {
  if (expected !== undefined && 'leadsTo' in expected) return leadsThere(at, expected.leadsTo);
  if (!stats.isFile()) return false;
  if (expected === undefined) return true;
  const seen = fingerprintOf(stats);
  // A ctime of 0 was not known when the fingerprint was written down.
  return sameFingerprint(expected.ctimeMs === 0 ? { ...seen, ctimeMs: 0 } : seen, expected);
}

function bareOf(path: RelativePath): RelativePath {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Turns the system's errors into sentences; a directory that is gone on the way is what `absent` says. */
async function told<T>(
  path: RelativePath,
  deed: Deed,
  absent: T | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LocalError) throw error;
    const code = codeOf(error);
    if (absent !== undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return absent;
    throw new LocalError(code, deedSentence(code, path, deed), error);
  }
}
