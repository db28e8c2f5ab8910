/*
 * What the tests of bad input share: worlds of every mode, a place outside of both roots that nothing may touch, and
 * hooks that change a tree at the very moment at which a run looks at it.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { expect } from 'vitest';
import type { Job } from '../../../src/job/job.js';
import { readTree, type Tree } from '../../support/tree.js';
import { type VoyageOptions, World } from './voyage.js';

export type Mode = Job['mode'];

/** A trash, and no limit that a handful of files could come to. */
export const TRASH: Job['deletes'] = {
  policy: 'trash',
  keepMs: 30 * 86_400_000,
  extraneous: false,
  limit: { percent: 10, files: 100 },
};

/** What must never be read, sent, written over or taken away. */
const SECRET = 'a secret from outside the root';

/** A world of a mode, and beside its two roots a directory that is no part of them. */
export async function openHostile(
  mode: Mode,
  direction: Job['direction'],
  { job, ...options }: VoyageOptions = {},
): Promise<World> {
  const deletes = mode === 'copy' ? { ...TRASH, policy: 'delete' as const } : TRASH;
  const world = await World.open({ ...options, job: { mode, direction, deletes, ...job } });
  await mkdir(world.remote(''), { recursive: true });
  await mkdir(outside(world));
  for (const name of ['f', 'g']) await writeFile(`${outside(world)}/${name}`, SECRET);
  return world;
}

/** The directory that is no part of either root. It holds `f` and `g`, names that the trees have too. */
export function outside(world: World): string {
  return world.directory.join('outside');
}

/** Nothing was added to the place outside, taken from it or changed in it, and none of it came over. */
export async function expectOutsideUntouched(world: World): Promise<void> {
  const tree: Tree = await readTree(outside(world));
  expect([...tree.keys()]).toEqual(['f', 'g']);
  for (const { sizeBytes } of tree.values()) expect(sizeBytes).toBe(SECRET.length);
  for (const content of [...Object.values(world.held()), ...Object.values(world.here())])
    expect(content).not.toContain(SECRET);
}

/** Puts a link to the place outside where a directory of the local side stands. What was in it is kept beside the roots. */
export function swapForLink(world: World, directory: string): void {
  mkdirSync(world.directory.join('swapped'), { recursive: true });
  renameSync(world.local(directory), world.directory.join('swapped', directory.replaceAll('/', '-')));
  symlinkSync(outside(world), world.local(directory));
}

/** Takes the link away again and puts the directory back. */
export function swapBack(world: World, directory: string): void {
  rmSync(world.local(directory));
  renameSync(world.directory.join('swapped', directory.replaceAll('/', '-')), world.local(directory));
}

/** Does something the first time that it is called, and never again. */
export function once<Words extends readonly unknown[]>(work: () => void): (...words: Words) => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}

/** Runs until a run has nothing left to do, at most three times; the last report. */
export async function settle(world: World): Promise<Awaited<ReturnType<World['run']>>> {
  for (let number = 1; ; number += 1) {
    const report = await world.run();
    const { uploaded, downloaded, deleted, renamed } = report.tally;
    if (uploaded + downloaded + deleted + renamed === 0) return report;
    expect(number, JSON.stringify(report)).toBeLessThan(4);
  }
}

/** What lies in the trash of one side, by the path that it had. */
export function inTrashOf(files: Readonly<Record<string, string>>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [path, content] of Object.entries(files)) {
    const [, original] = /^\.ferryd-trash\/\d{8}T\d{6}Z\/(.*)$/s.exec(path) ?? [];
    if (original !== undefined) found[original] = content;
  }
  return found;
}

/** The files of one side that are not in its trash. */
export function inPlace(files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).filter(([path]) => !path.startsWith('.ferryd-trash/')));
}

/** All sentences that the runs said, one a line. */
export function sentences(world: World): string {
  return world.events.map((event) => ('message' in event ? event.message : '')).join('\n');
}
