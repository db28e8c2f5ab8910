/*
 * A local disk that fills while files come in: a small file system of its own over the local side. Nothing half written
 * stands under a final name, nothing temporary stays, what a person has is not touched, nothing is deleted on the other
 * side for want of room here, and the run ends with a sentence. The next run with room completes.
 */
import { readdirSync, statSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterEach, expect, it } from 'vitest';
import { describeMounted, mounted } from '../local/mounted.js';
import { inPlace, inTrashOf, type Mode, openHostile, settle } from './support/hostile.js';
import { EARLIER, type World } from './support/voyage.js';

const MIB = 1024 * 1024;

let world: World;
let disk: Disposable | undefined;
afterEach(async () => {
  disk?.[Symbol.dispose]();
  disk = undefined;
  await world[Symbol.asyncDispose]();
});

/** A world whose local side has room for so many bytes. The ballast is no part of the job. */
async function openSmall(mode: Mode, direction: 'push' | 'pull', ballastBytes: number): Promise<void> {
  world = await openHostile(mode, direction, { job: { exclude: ['ballast'] } });
  disk = mounted('tmpfs', world.local(''), 4 * MIB);
  await writeFile(world.local('ballast'), Buffer.alloc(ballastBytes));
}

const makeRoom = (): Promise<void> => rm(world.local('ballast'));

const content = (letter: string, bytes = MIB): string => letter.repeat(bytes);

/** Under final names here there is nothing but what is whole. */
function expectWhole(): void {
  for (const [path, found] of Object.entries(inPlace(world.here()))) {
    if (path === 'ballast') continue;
    expect([path, found.length]).toEqual([path, statSync(world.remote(path)).size]);
  }
  expect(world.temporaries()).toEqual([]);
}

describeMounted('a local disk that fills', () => {
  it.each<[Mode, 'push' | 'pull']>([
    ['copy', 'pull'],
    ['mirror', 'pull'],
    ['move', 'pull'],
    ['two-way', 'push'],
    ['two-way', 'pull'],
  ])(
    'while files come in, %s %s: the run ends and says so, the next one completes',
    async (mode, direction) => {
      await openSmall(mode, direction, 1.5 * MIB);
      for (const name of ['a', 'b', 'c']) await world.putRemote(`d/${name}`, content(name));
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', failure: { code: 'ENOSPC' } });
      expect(report.failure?.message).toMatch(/full|no space|room/i);
      expect(report.failure?.message).toMatch(/d\/[abc]/);
      if (mode === 'move') expect(world.temporaries()).toEqual([]);
      else expectWhole();
      expect(world.told('file.deleted').filter(({ why }) => why !== 'moved')).toEqual([]);
      const delivered = Object.keys(inPlace(world.here())).filter((path) => path !== 'ballast');
      expect(delivered.length).toBeLessThan(3);
      // What is not here is there still.
      const everywhere = { ...inPlace(world.held()), ...inPlace(world.here()) };
      for (const name of ['a', 'b', 'c']) expect(everywhere[`d/${name}`]).toBe(content(name));
      // Nothing has changed: the next one fares no better, and does no harm.
      expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { code: 'ENOSPC' } });
      expect(world.temporaries()).toEqual([]);
      await makeRoom();
      await settle(world);
      for (const name of ['a', 'b', 'c'])
        expect(await readFile(world.local(`d/${name}`), 'utf8')).toBe(content(name));
      expect(Object.keys(inPlace(world.held())).sort()).toEqual(mode === 'move' ? [] : ['d/a', 'd/b', 'd/c']);
      expect(world.intents()).toEqual([]);
    },
  );

  it.each<[Mode, 'push' | 'pull']>([
    ['copy', 'pull'],
    ['mirror', 'pull'],
    ['two-way', 'push'],
  ])('while a larger version comes in, %s %s: the old one stays whole', async (mode, direction) => {
    await openSmall(mode, direction, 0);
    await world.putRemote('f', content('1'));
    await world.run();
    await writeFile(world.local('ballast'), Buffer.alloc(2 * MIB));
    await world.putRemote('f', content('2', 2 * MIB), EARLIER + 60_000);
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { code: 'ENOSPC' } });
    expect(world.here().f).toBe(content('1'));
    expect(inPlace(world.held()).f).toBe(content('2', 2 * MIB));
    expect(world.temporaries()).toEqual([]);
    expect(inTrashOf(world.here())).toEqual({});
    await makeRoom();
    await settle(world);
    expect(world.here().f).toBe(content('2', 2 * MIB));
    expect(inTrashOf(world.here())).toEqual(mode === 'copy' ? {} : { f: content('1') });
  });

  it('two-way: what could not be fetched is not deleted on the server, and deletions wait for a run that ends well', async () => {
    await openSmall('two-way', 'push', 0);
    for (const name of ['keep', 'gone']) await world.put(name);
    await world.run();
    await writeFile(world.local('ballast'), Buffer.alloc(3.5 * MIB));
    await rm(world.local('gone'));
    await world.putRemote('large', content('l', 2 * MIB));
    await world.put('mine', 'small');
    expect(await world.run()).toMatchObject({ outcome: 'failed', tally: { deleted: 0, downloaded: 0 } });
    const held = inPlace(world.held());
    expect(held.large).toBe(content('l', 2 * MIB));
    expect(held.gone).toBe('gone');
    expect(world.here().mine).toBe('small');
    await makeRoom();
    await settle(world);
    expect(Object.keys(inPlace(world.held())).sort()).toEqual(['keep', 'large', 'mine']);
    expect(inPlace(world.here())).toEqual(inPlace(world.held()));
    expect(inTrashOf(world.held())).toEqual({ gone: 'gone' });
  });

  it('in the middle of a directory that it has just made: no file of it is half there', async () => {
    await openSmall('mirror', 'pull', 3 * MIB);
    for (let number = 0; number < 40; number += 1) {
      await world.putRemote(`many/${number}`, content(String(number % 10), 64 * 1024));
    }
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { code: 'ENOSPC' } });
    expectWhole();
    expect(readdirSync(world.local('many')).length).toBeGreaterThan(0);
    await makeRoom();
    await settle(world);
    expect(inPlace(world.here())).toEqual(inPlace(world.held()));
  });
});
