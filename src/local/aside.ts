/*
 * The last step of a file on its way in where what it replaces is to be kept: the old one gets a second name, and then
 * the new one takes the first in one step, so that at every moment something whole stands there. Where the file system
 * has no second names, the old one is moved, and for a moment nothing stands there. What is kept is on the disk before
 * its place is taken. If the new one cannot take it, the old one is put back.
 */
import { readdirSync, renameSync, type Stats, unlinkSync } from 'node:fs';
import { type RelativePath, sameFingerprint } from '../plan/entry.js';
import { fromTrash, stampMs, TRASH } from '../plan/trash.js';
import { LocalError } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { copyAcross, linkTo, relocate, standing } from './moving.js';
import { makeDirectories, type Place, split, within } from './place.js';

export interface Replacing {
  /** Real path of the root. */
  readonly root: string;
  readonly path: RelativePath;
  /** Where what stands at `path` is to be kept. */
  readonly aside: RelativePath;
  /** The directory of `path`, held open. */
  readonly here: Place;
  /** Under which name in it the new file stands. */
  readonly temporary: string;
}

/**
 * Puts a file in the place of another, and keeps that one. A directory is not replaced.
 *
 * @returns whether something was set aside
 * @throws {LocalError} ASIDE where something else stands under `aside`, OUTSIDE where that is reached through a
 *   link; else the system's error
 */
export async function replaceAndKeep(replacing: Replacing): Promise<boolean> {
  const { root, path, aside, here, temporary } = replacing;
  const final = `${here.at}/${split(path).name}`;
  const fresh = `${here.at}/${temporary}`;
  if (!isKept(standing(final))) {
    renameSync(fresh, final);
    return false;
  }
  const { above, name } = split(aside);
  await makeDirectories(root, above);
  return within(root, above, async (there) => {
    const kept = `${there.at}/${name}`;
    const stats = standing(final);
    if (stats === undefined || !isKept(stats)) {
      renameSync(fresh, final);
      return false;
    }
    if (stats.nlink > 1 && (await wasKept(replacing, stats))) {
      unlessChanged(path, final, stats);
      renameSync(fresh, final);
      return true;
    }
    const undo = await keep(replacing, stats, { final, kept, there });
    try {
      await there.sync();
      unlessChanged(path, final, undo.emptied === 'emptied' ? undefined : stats);
      renameSync(fresh, final);
    } catch (error) {
      undo.undo();
      throw error;
    }
    return true;
  });
}

/** A run that was killed right then may have given it its second name, under its own date. */
async function wasKept({ root, aside }: Replacing, { ino, dev }: Stats): Promise<boolean> {
  const original = fromTrash(aside)?.path;
  if (original === undefined) return false;
  const { above, name } = split(original);
  const stamps = await within(root, TRASH, ({ at }) => readdirSync(at)).catch(() => []);
  for (const stamp of stamps.filter((one) => stampMs(one) !== undefined)) {
    const directory = above === '' ? `${TRASH}/${stamp}` : `${TRASH}/${stamp}/${above}`;
    const found = await within(root, directory, ({ at }) => standing(`${at}/${name}`)).catch(() => undefined);
    if (found?.ino === ino && found.dev === dev) return true;
  }
  return false;
}

/**
 * Looked at in the turn in which it is replaced; its ctime changes with its second name.
 *
 * @throws {LocalError} CHANGED where something else stands there than what is kept
 */
function unlessChanged(path: RelativePath, final: string, kept: Stats | undefined): void {
  const now = standing(final);
  const same =
    now?.ino === kept?.ino &&
    now?.dev === kept?.dev &&
    now?.size === kept?.size &&
    now?.mtimeMs === kept?.mtimeMs;
  if (!same) throw new LocalError('CHANGED', `${path} was changed while it was to be replaced.`);
}

interface Kept {
  /** Whether its own name is free now. */
  readonly emptied: 'emptied' | 'stands';
  /** Takes it back. */
  readonly undo: () => void;
}

async function keep(
  replacing: Replacing,
  stats: Stats,
  { final, kept, there }: { readonly final: string; readonly kept: string; readonly there: Place },
): Promise<Kept> {
  const { path, aside } = replacing;
  const linked = linkTo(final, kept);
  switch (linked) {
    case 'linked':
      return { emptied: 'stands', undo: () => unlinkSync(kept) };
    case 'occupied': {
      const before = standing(kept);
      if (before?.ino !== stats.ino || before.dev !== stats.dev) throw occupied(path, aside);
      // An attempt before this one came that far.
      return { emptied: 'stands', undo: () => {} };
    }
    case 'no-links': {
      const moved = relocate(final, kept, 'from');
      if (moved === 'occupied') throw occupied(path, aside);
      if (moved !== 'elsewhere') return { emptied: 'emptied', undo: () => void relocate(kept, final, 'to') };
      break;
    }
    case 'elsewhere':
      break;
  }
  await copyAside(replacing, stats, there);
  const now = standing(final);
  if (now === undefined || !sameFingerprint(fingerprintOf(now), fingerprintOf(stats))) {
    // A copy takes its time: what was written meanwhile is not kept, so it is not replaced.
    unlinkSync(kept);
    throw new LocalError('CHANGED', `${path} was changed while it was to be replaced.`);
  }
  return { emptied: 'stands', undo: () => unlinkSync(kept) };
}

/** Nothing there is nothing to keep; and onto a directory the rename fails, as it should. */
function isKept(stats: Stats | undefined): boolean {
  return stats !== undefined && !stats.isDirectory();
}

async function copyAside({ root, path, aside }: Replacing, stats: Stats, there: Place): Promise<void> {
  if (!stats.isFile() && !stats.isSymbolicLink()) {
    const message = `${path} is neither a file nor a link and cannot be kept on another disk: it is not replaced. Move it away.`;
    throw new LocalError('EXDEV', message);
  }
  const copied = await copyAcross(root, { path, stats }, there, split(aside).name);
  if (copied === 'occupied') throw occupied(path, aside);
}

function occupied(path: RelativePath, aside: RelativePath): LocalError {
  return new LocalError(
    'ASIDE',
    `${path} is not replaced, because something stands where it would be kept: ${aside}. The next run keeps it elsewhere.`,
  );
}
