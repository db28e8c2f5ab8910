/* Ready markers: what is one, what waits for it, and whole runs of a job that has them. */
import { rmSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { ReadyMarker } from '../../src/job/job.js';
import { Accounts } from '../../src/run/accounts.js';
import { planJob } from '../../src/run/plan.js';
import { isMarker, markerOf } from '../../src/run/ready.js';
import type { Finding } from '../../src/run/sights.js';
import { EARLIER, World } from './support/voyage.js';

const DONE: ReadyMarker = { before: '', part: 'name', behind: '.done' };
const STEM: ReadyMarker = { before: '', part: 'stem', behind: '.ok' };
const FRONT: ReadyMarker = { before: 'ready-', part: 'name', behind: '' };

describe('the name of a marker', () => {
  it.each<[ReadyMarker, string, string]>([
    [DONE, 'a.csv', 'a.csv.done'],
    [DONE, 'sub/dir/a.csv', 'sub/dir/a.csv.done'],
    [DONE, 'no-ending', 'no-ending.done'],
    [STEM, 'a.csv', 'a.ok'],
    [STEM, 'sub.dir/a.tar.gz', 'sub.dir/a.tar.ok'],
    [STEM, 'sub.dir/a', 'sub.dir/a.ok'],
    [STEM, '.hidden', '.hidden.ok'],
    [STEM, 'ends.', 'ends.ok'],
    [FRONT, 'sub/a.csv', 'sub/ready-a.csv'],
  ])('%j: %s has %s', (ready, path, marker) => {
    expect(markerOf(path, ready)).toBe(marker);
    expect(isMarker(marker, ready)).toBe(true);
    expect(isMarker(path, ready)).toBe(false);
  });

  it.each<[ReadyMarker, string]>([
    [DONE, '.done'],
    [DONE, 'a.done/b'],
    [FRONT, 'ready-'],
    [{ before: 'ab', part: 'name', behind: 'bc' }, 'abc'],
    [{ before: 'ab', part: 'name', behind: 'bc' }, 'abbc'],
  ])('%j: %s is none', (ready, path) => {
    expect(isMarker(path, ready)).toBe(false);
  });

  it('is always known as one, and is never the name of a file that is sent', () => {
    const word = fc.stringMatching(/^[a-c.{]{0,3}$/);
    const ready = fc
      .record({ before: word, part: fc.constantFrom('name' as const, 'stem' as const), behind: word })
      .filter(({ before, behind }) => before + behind !== '');
    const name = fc.stringMatching(/^[a-c.]{1,6}$/).filter((text) => text !== '.' && text !== '..');
    fc.assert(
      fc.property(ready, fc.array(name, { minLength: 1, maxLength: 3 }), (marker, names) => {
        const path = names.join('/');
        expect(isMarker(markerOf(path, marker), marker)).toBe(true);
        if (!isMarker(path, marker)) expect(markerOf(path, marker)).not.toBe(path);
      }),
    );
  });
});

describe('with a server', () => {
  let world: World;
  afterEach(async () => {
    await world[Symbol.asyncDispose]();
  });

  async function open(ready: ReadyMarker | undefined = DONE): Promise<World> {
    world = await World.open({ job: { ready } });
    return world;
  }

  const waiting = (): string[] => world.told('file.waiting').map(({ path }) => path);

  describe('a run', () => {
    it('sends what has its marker, lets the rest wait, and sends no marker', async () => {
      await open();
      for (const path of ['a', 'a.done', 'b', 'sub/c', 'sub/c.done', 'sub/d', 'lonely.done']) {
        await world.put(path);
      }
      expect(await world.run()).toMatchObject({
        outcome: 'ok',
        failure: undefined,
        tally: { uploaded: 2, skipped: 0, unchanged: 0 },
      });
      expect(world.held()).toEqual({ a: 'a', 'sub/c': 'sub/c' });
      expect(waiting()).toEqual(['b', 'sub/d']);
      expect(world.told('file.waiting')[0]?.message).toBe(
        'b waits until its marker b.done stands beside it.',
      );
      expect(world.told('file.skipped')).toEqual([]);
      expect(world.intents()).toEqual([]);
      // Markers stay, whatever they have done.
      expect(Object.keys(world.here())).toHaveLength(7);
    });

    it('sends a file once its marker has come, and not again', async () => {
      await open();
      await world.put('a');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
      expect(world.server.journal.connections).toBe(0);
      await world.put('a.done', '');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 1 } });
      // What is there already needs its marker no more.
      await rm(world.local('a.done'));
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 1 } });
      expect(waiting()).toEqual(['a']);
    });

    it.each([
      ['{name}', DONE, []],
      ['{stem}, which may stand for others', { before: '', part: 'stem', behind: '.done' }, ['a.done']],
    ] as const)('a move takes the file away, and its marker: %s', async (_what, ready, left) => {
      world = await World.open({ job: { ready, mode: 'move' } });
      await world.put('a');
      await world.put('b');
      await world.put('a.done', '');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(world.held()).toEqual({ a: 'a' });
      expect(Object.keys(world.here())).toEqual([...left, 'b'].sort());
      // The next one of that name waits for a marker of its own.
      await world.put('a', 'again');
      expect((await world.run()).tally.uploaded).toBe(left.length);
    });

    it('a file that changes waits for its marker again', async () => {
      await open();
      await world.put('a');
      await world.put('a.done');
      await world.run();
      await rm(world.local('a.done'));
      await world.put('a', 'newer', EARLIER + 5_000);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
      expect(world.held()).toEqual({ a: 'a' });
      await world.put('a.done');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(world.held()).toEqual({ a: 'newer' });
    });

    it('only a regular file is a marker', async () => {
      await open();
      for (const path of ['a', 'b', 'c']) await world.put(path);
      await mkdir(world.local('a.done'));
      await symlink('c', world.local('b.done'));
      await writeFile(world.local('c.done'), '');
      expect(await world.run()).toMatchObject({ tally: { uploaded: 1 } });
      expect(world.held()).toEqual({ c: 'c' });
    });

    it('a marker counts though the patterns leave it out', async () => {
      await open();
      world.change({ job: { include: ['**/*.csv'], exclude: ['**/*.done'] } });
      for (const path of ['a.csv', 'a.csv.done', 'b.csv']) await world.put(path);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(world.held()).toEqual({ 'a.csv': 'a.csv' });
    });

    it('one marker for several files of one stem', async () => {
      await open(STEM);
      for (const path of ['night.csv', 'night.xml', 'night.ok', 'day.csv']) await world.put(path);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2 } });
      expect(Object.keys(world.held()).sort()).toEqual(['night.csv', 'night.xml']);
    });

    it('a source in which all wait is not an empty one', async () => {
      await open();
      await world.put('a');
      await world.put('a.done');
      await world.run();
      await rm(world.local('a'));
      await world.put('b');
      expect(await world.run()).toMatchObject({ outcome: 'ok', failure: undefined });
      await rm(world.local('b'));
      expect(await world.run()).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
    });

    it('without the key nothing waits, and what looks like a marker is a file', async () => {
      world = await World.open();
      await world.put('a');
      await world.put('b.done');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2 } });
    });
  });

  describe('a marker that goes while the run is under way', () => {
    it('keeps its file back: it is looked for again before the file is opened', async () => {
      await open();
      world.change({ settings: { connections: 1 } });
      const many = Array.from({ length: 12 }, (_, i) => `f${String(i).padStart(2, '0')}`);
      for (const path of many) {
        await world.put(path);
        await world.put(`${path}.done`);
      }
      // By the first delivery the last file cannot have been opened: three are under way at a time.
      const report = await world.run({
        listener: ({ event }) => {
          if (event === 'file.uploaded') rmSync(world.local('f11.done'), { force: true });
        },
      });
      expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 11, skipped: 0 } });
      expect(waiting()).toEqual(['f11']);
      expect(Object.keys(world.held()).sort()).toEqual(many.slice(0, -1));
      expect(world.temporaries()).toEqual([]);
      expect(world.intents()).toEqual([]);
    });

    it('a file whose first try failed waits as well, and nothing of it is left', async () => {
      await open();
      await mkdir(world.remote(''));
      await world.put('a', 'x'.repeat(50_000));
      await world.put('a.done');
      world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 20_000 } });
      const report = await world.run({
        listener: ({ event }) => {
          if (event === 'file.retry') rmSync(world.local('a.done'));
        },
      });
      expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, skipped: 0 } });
      expect(waiting()).toEqual(['a']);
      expect(world.held()).toEqual({});
      expect(world.intents()).toEqual([]);
      await world.put('a.done');
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(world.held()).toEqual({ a: 'x'.repeat(50_000) });
    });
  });

  describe('a plan', () => {
    it('says what waits, and plans the rest', async () => {
      await open();
      for (const path of ['a', 'a.done', 'b']) await world.put(path);
      const findings: Finding[] = [];
      const accounts = new Accounts(() => {}, { wire: 'silent', profiles: undefined });
      const planned: string[] = [];
      const context = {
        ledger: undefined,
        accounts,
        onFinding: (finding: Finding) => findings.push(finding),
      };
      for await (const { kind, path } of planJob(world.job, context)) planned.push(`${kind} ${path}`);
      await accounts.close();
      expect(planned).toEqual(['upload a', 'left-out b']);
      expect(findings).toEqual([
        { kind: 'waiting', path: 'b', message: 'b waits until its marker b.done stands beside it.' },
      ]);
    });
  });
});
