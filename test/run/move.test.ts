/*
 * Mode move by example, in both directions: a source goes once its delivery is proven and written down, and what has
 * changed meanwhile, or was never delivered, stays.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { deleting, LATER, openSides, type Sides, skipped } from './support/sides.js';
import { overwrite } from './support/voyage.js';

let sides: Sides;
afterEach(() => sides.world[Symbol.asyncDispose]());

describe.each(['push', 'pull'] as const)('a move, %s', (direction) => {
  const open = async (job: Partial<Omit<Job, 'server'>> = {}): Promise<Sides> => {
    sides = await openSides({ mode: 'move', direction, ...job });
    return sides;
  };

  it('delivers, takes the sources away, and has nothing left to do', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a', 'd/b': 'b' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expect(source.files()).toEqual({});
    expect(target.files()).toEqual({ a: 'a', 'd/b': 'b' });
    // Neither side keeps a second copy.
    expect({ ...source.trash(), ...target.trash() }).toEqual({});
    const moved = world.told('file.deleted').map(({ path, why }) => `${path} ${why}`);
    expect(moved.sort()).toEqual(['a moved', 'd/b moved']);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, downloaded: 0 } });
    expect(target.files()).toEqual({ a: 'a', 'd/b': 'b' });
  });

  it('brings a file of the same name again, and keeps the one before in the trash', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'one' });
    await world.run();
    await source.put({ a: 'another' }, LATER);
    await world.run();
    expect(source.files()).toEqual({});
    expect(target.files()).toEqual({ a: 'another' });
    expect(target.trash()).toEqual({ a: 'one' });
  });

  it('does not take away what could not be delivered', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a', b: 'b' });
    // Somebody has a directory where the file should go.
    await target.put({ 'a/theirs': 'theirs' });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(source.files()).toEqual({ a: 'a' });
    expect(target.files()).toEqual({ 'a/theirs': 'theirs', b: 'b' });
    await target.drop('a');
    expect(await world.run({ skipped: 'again' })).toMatchObject({ outcome: 'ok' });
    expect(source.files()).toEqual({});
    expect(target.files()).toEqual({ a: 'a', b: 'b' });
  });

  it('makes the same directories where empty ones are kept; those of the source stay', async () => {
    const { world, source, target } = await open({ emptyDirectories: 'keep' });
    await source.put({ 'd/a': 'a' });
    await source.makeDirectory('d/empty');
    await world.run();
    expect(target.directories()).toEqual(['d', 'd/empty']);
    expect(source.directories()).toEqual(['d', 'd/empty']);
    expect(source.files()).toEqual({});
  });

  it('sorts files by their times', async () => {
    const { world, source, target } = await open({ timezone: 'UTC' });
    await source.put({ a: 'march' }, Date.UTC(2022, 2, 4));
    await source.put({ b: 'may' }, Date.UTC(2023, 4, 6));
    const { local } = world.job;
    const job: Job =
      direction === 'pull'
        ? { ...world.job, local: `${local}/{mtime:yyyy/MM}` }
        : { ...world.job, remotePath: { path: 'dumps/{mtime:yyyy/MM}', absolute: false } };
    expect(await world.run({ job })).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    expect(target.files()).toEqual({ '2022/03/a': 'march', '2023/05/b': 'may' });
    expect(source.files()).toEqual({});
  });
});

describe('a move to a server', () => {
  it('leaves a file that was written again while it was on its way, and sends it again', async () => {
    sides = await openSides({ mode: 'move' });
    const { world, source, target } = sides;
    await source.put({ a: 'one' });
    let isWritten = false;
    world.server.on('command', (verb) => {
      if (verb !== 'RNTO' || isWritten) return;
      isWritten = true;
      overwrite(world.local('a'), 'another, and longer');
    });
    await world.run();
    expect(source.files()).toEqual({ a: 'another, and longer' });
    await world.run();
    expect(source.files()).toEqual({});
    expect(target.files()).toEqual({ a: 'another, and longer' });
  });

  it('that ended before its last step goes on with that, and sends nothing twice', async () => {
    sides = await openSides({ mode: 'copy' });
    const { world, source, target } = sides;
    await source.put({ a: 'a', b: 'b' });
    await world.run();
    world.change({ job: { mode: 'move' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
    expect(source.files()).toEqual({});
    expect(target.files()).toEqual({ a: 'a', b: 'b' });
    expect(world.stores).toBe(2);
  });
});

describe('a move from a server', () => {
  it('without a trash does not overwrite what a person has put here', async () => {
    sides = await openSides({ mode: 'move', direction: 'pull', ...deleting({ policy: 'delete' }) });
    const { world, source, target } = sides;
    await source.put({ a: 'theirs', b: 'b' });
    await target.put({ a: "a person's own" }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 1, skipped: 1 } });
    expect(source.files()).toEqual({ a: 'theirs' });
    expect(target.files()).toEqual({ a: "a person's own", b: 'b' });
    expect(skipped(world)).toEqual({ a: 'local-differs' });
  });
});
