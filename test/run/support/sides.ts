/*
 * A world's two sides by their part in a job, so that one test can be read for both directions: what stands where it is
 * meant to, what lies in the trash, and what a person does there.
 */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { Job } from '../../../src/job/job.js';
import { inPlace, inTrashOf } from './hostile.js';
import { EARLIER, type VoyageOptions, World } from './voyage.js';

/** Later than all that was there at first. */
export const LATER = EARLIER + 86_400_000;

export interface Side {
  /** Writes files: path to content. */
  put(files: Readonly<Record<string, string>>, modifiedMs?: number): Promise<void>;
  /** Takes files or directories away. */
  drop(...paths: string[]): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  /** Files that are not in the trash, and not on their way. */
  files(): Record<string, string>;
  /** What is in the trash, by the paths that it had. */
  trash(): Record<string, string>;
  /** Directories, but for the trash. */
  directories(): string[];
}

export interface Sides {
  readonly world: World;
  readonly local: Side;
  readonly remote: Side;
  readonly source: Side;
  readonly target: Side;
}

const TRASH: Job['deletes'] = {
  policy: 'trash',
  keepMs: 30 * 86_400_000,
  extraneous: false,
  limit: { percent: 10, files: 100 },
};

/** A world with an empty directory on each side. Its job has a trash unless told otherwise. */
export async function openSides(
  job: Partial<Omit<Job, 'server'>>,
  options: Omit<VoyageOptions, 'job'> = {},
): Promise<Sides> {
  const world = await World.open({ ...options, job: { deletes: TRASH, ...job } });
  await mkdir(world.remote(''), { recursive: true });
  const local = sideOf((path) => world.local(path), {
    put: (path, content, modifiedMs) => world.put(path, content, modifiedMs),
    held: () => world.here(),
  });
  const remote = sideOf((path) => world.remote(path), {
    put: (path, content, modifiedMs) => world.putRemote(path, content, modifiedMs),
    held: () => world.held(),
  });
  const isPush = world.job.direction === 'push';
  return { world, local, remote, source: isPush ? local : remote, target: isPush ? remote : local };
}

/** What a person changes about deletions. */
export function deleting(other: Partial<Job['deletes']>): { readonly deletes: Job['deletes'] } {
  return { deletes: { ...TRASH, ...other } };
}

/** The codes of what was skipped or could not be looked at, by path. */
export function skipped(world: World): Record<string, string> {
  const events = [...world.told('file.skipped'), ...world.told('scan.problem')];
  return Object.fromEntries(events.map(({ path, code }) => [path, code]));
}

function sideOf(
  at: (path: string) => string,
  ways: {
    readonly put: (path: string, content: string, modifiedMs: number) => Promise<void>;
    readonly held: () => Record<string, string>;
  },
): Side {
  return {
    put: async (files, modifiedMs = EARLIER) => {
      for (const [path, content] of Object.entries(files)) await ways.put(path, content, modifiedMs);
    },
    drop: async (...paths) => {
      for (const path of paths) await rm(at(path), { recursive: true });
    },
    makeDirectory: async (path) => void (await mkdir(at(path), { recursive: true })),
    files: () => inPlace(ways.held()),
    trash: () => inTrashOf(ways.held()),
    directories: () => {
      if (!existsSync(at(''))) return [];
      const entries = readdirSync(at(''), { recursive: true, encoding: 'utf8', withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${entry.parentPath}/${entry.name}`.slice(at('').replace(/\/+$/, '').length + 1))
        .filter((path) => !path.startsWith('.ferryd-trash'))
        .sort();
    },
  };
}
