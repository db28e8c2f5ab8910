/*
 * Runs that are told where something has changed: they look there and nowhere else, and wherever that is not enough to
 * judge by they are runs over everything, as if nobody had told them. A random tree with random changes holds them
 * against the run over everything that follows, which must find nothing left to do.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import type { Harbour, RunReport } from '../../src/run/context.js';
import { MemoryRemote, MemoryTree } from '../support/memory-remote.js';
import { deleting, LATER, skipped } from './support/sides.js';
import { EARLIER, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

/** A world whose source has been delivered by a good run over everything. */
async function delivered(
  files: Readonly<Record<string, string>>,
  job: Partial<Omit<Job, 'server'>> = {},
  options: Omit<Parameters<typeof World.open>[0] & object, 'job'> = {},
): Promise<void> {
  world = await World.open({ ...options, job });
  for (const [path, content] of Object.entries(files)) await world.put(path, content);
  // The second of them finds a server that it knows, and a settled ledger.
  expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: Object.keys(files).length } });
}

const told = (...places: string[]): Promise<RunReport> => world.run({ onScan: () => new Set(places) });

/** A server in memory. */
function inMemory(): Harbour {
  const tree = new MemoryTree();
  return { of: async () => ({ remote: () => new MemoryRemote({ tree }) }) };
}

const MIRROR = { mode: 'mirror' } as const;
const TREE = { a: 'a', b: 'b', 'd/a': 'da', 'd/b': 'db', 'e/f/a': 'efa' };

describe('a run that is told where to look', () => {
  it('sends what has changed there, and looks at nothing else', async () => {
    await delivered(TREE);
    await world.put('d/a', 'changed', LATER);
    await world.put('d/b', 'changed as well', LATER);
    await world.put('d/new', 'new', LATER);
    expect(await told('d/a')).toMatchObject({
      outcome: 'ok',
      places: 1,
      tally: { uploaded: 1, unchanged: 0, skipped: 0 },
    });
    expect(world.held()).toEqual({ ...TREE, 'd/a': 'changed' });
    expect(await world.run()).toMatchObject({ places: undefined, tally: { uploaded: 2, unchanged: 4 } });
    world.expectConverged();
  });

  it('looks at no more in a tree of hundreds of files than in one of ten', async () => {
    const entries = async (files: number): Promise<object> => {
      await delivered(
        Object.fromEntries(Array.from({ length: files }, (_, i) => [`${i % 10}/${i}`, `${i}`])),
        MIRROR,
      );
      await world.put('3/3', 'changed', LATER);
      const { tally, places } = await told('3/3');
      return { tally, places };
    };
    const small = await entries(10);
    await world[Symbol.asyncDispose]();
    expect(await entries(300)).toEqual(small);
  });

  it('goes through a directory that is new, and keeps empty ones where the job does', async () => {
    await delivered(TREE, { emptyDirectories: 'keep' });
    await world.put('n/o/p', 'deep', LATER);
    await mkdir(world.local('n/empty'));
    await mkdir(world.local('e/unseen'));
    expect(await told('n')).toMatchObject({ outcome: 'ok', places: 1, tally: { uploaded: 1 } });
    expect(world.held()).toEqual({ ...TREE, 'n/o/p': 'deep' });
    expect(existsSync(world.remote('n/empty'))).toBe(true);
    expect(existsSync(world.remote('e/unseen'))).toBe(false);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 6 } });
    expect(existsSync(world.remote('e/unseen'))).toBe(true);
  });

  it('asks the server nothing where nothing has changed', async () => {
    await delivered(TREE);
    const connections = world.count('USER');
    expect(await told('d/a', 'nowhere', 'd/nothing')).toMatchObject({
      outcome: 'ok',
      places: 3,
      tally: { uploaded: 0, unchanged: 1 },
    });
    expect(world.count('USER')).toBe(connections);
  });

  it('reads a file that was only touched, and does not send it', async () => {
    await delivered(TREE);
    await rm(world.local('a'));
    await world.put('a', 'a', EARLIER);
    const stores = world.stores;
    expect(await told('a')).toMatchObject({ outcome: 'ok', places: 1, tally: { uploaded: 0 } });
    expect(world.stores).toBe(stores);
  });

  it('stands in the history with what it looked at, and proves nothing', async () => {
    await delivered(TREE);
    const proven = world.ledger.provenAtMs('nightly');
    await world.put('a', 'changed', LATER);
    await told('a');
    expect(world.ledger.lastRuns('nightly', 2)).toMatchObject([
      { outcome: 'ok', places: 1, tally: { uploaded: 1 } },
      { outcome: 'ok', places: undefined, tally: { uploaded: 5 } },
    ]);
    expect(world.told('run.ended').map(({ places }) => places)).toEqual([undefined, 1]);
    expect(world.ledger.provenAtMs('nightly')).toBe(proven);
  });

  it('heeds the .ferryignore of the directories on the way, and what the job leaves out', async () => {
    await delivered({ a: 'a' }, { exclude: ['**/*.tmp'] });
    await world.put('d/.ferryignore', '*.log\nsecret/\n');
    await world.run();
    for (const path of ['d/x.log', 'd/secret/y', 'd/z.tmp', 'd/w']) await world.put(path);
    expect(await told('d/x.log', 'd/secret', 'd/z.tmp', 'd/w')).toMatchObject({ outcome: 'ok', places: 4 });
    expect(Object.keys(world.held())).toEqual(['a', 'd/w']);
  });

  it('takes a link along as one', async () => {
    world = await World.open({ job: { links: 'preserve' } });
    const accounts = inMemory();
    await world.put('d/a');
    await world.run({ accounts });
    await symlink('a', world.local('d/link'));
    const report = await world.run({ accounts, onScan: () => new Set(['d/link']) });
    expect(report).toMatchObject({ outcome: 'ok', places: 1, tally: { uploaded: 1 } });
    expect(await world.run({ accounts })).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
  });

  it('sees a twin beside what it looks at', async () => {
    await delivered({ 'Foo/a': 'a', z: 'z' }, MIRROR, { server: { names: 'caseless' } });
    await world.put('foo/b', 'b', LATER);
    expect(await told('foo')).toMatchObject({ outcome: 'partial', places: undefined });
    expect(skipped(world)).toEqual({ 'foo/b': 'twin' });
    expect(Object.keys(world.held())).toEqual(['Foo/a', 'z']);
  });
});

describe('a run that is told where to look looks at everything', () => {
  it('where something is gone that a mirror has to delete', async () => {
    await delivered(TREE, MIRROR);
    await rm(world.local('d'), { recursive: true });
    await world.put('a', 'changed', LATER);
    expect(await told('a', 'd')).toMatchObject({
      outcome: 'ok',
      places: undefined,
      tally: { uploaded: 1, deleted: 2, unchanged: 2, skipped: 0 },
    });
    world.expectConverged();
  });

  it('where a directory has another name', async () => {
    await delivered(TREE, MIRROR);
    await rename(world.local('d'), world.local('g'));
    expect(await told('d', 'g')).toMatchObject({ places: undefined, tally: { uploaded: 2, deleted: 2 } });
    world.expectConverged();
  });

  it.each(['mirror', 'copy'] as const)(
    'where a file stands in a directory’s place, mode %s',
    async (mode) => {
      await delivered(TREE, { mode });
      await rm(world.local('d'), { recursive: true });
      await world.put('d', 'a file now', LATER);
      const report = await told('d');
      if (mode === 'mirror') {
        expect(report).toMatchObject({
          outcome: 'ok',
          places: undefined,
          tally: { uploaded: 1, deleted: 2 },
        });
        world.expectConverged();
      } else expect(report.tally).toMatchObject({ uploaded: 0, deleted: 0, skipped: 1 });
    },
  );

  it('where the guard has to count: nothing goes that a run over everything would hold', async () => {
    await delivered(TREE, { ...MIRROR, ...deleting({ limit: { percent: 0, files: 1 }, policy: 'delete' }) });
    await rm(world.local('d'), { recursive: true });
    expect(await told('d/a')).toMatchObject({ outcome: 'held', failure: { code: 'deletions' } });
    expect(world.held()).toEqual(TREE);
    await world.put('d/a', 'da');
    await world.put('d/b', 'db');
    await world.put('a', 'changed', LATER);
    await world.put('b', 'changed', LATER);
    // What is held waits for a look at everything.
    expect(await told('a')).toMatchObject({ outcome: 'ok', places: undefined, tally: { uploaded: 2 } });
    world.expectConverged();
  });

  it('where the source is empty that was full, or not there at all', async () => {
    await delivered(TREE, MIRROR);
    await rm(world.local(''), { recursive: true });
    expect(await told('a')).toMatchObject({ outcome: 'failed', tally: { deleted: 0 } });
    await mkdir(world.local(''));
    await world.put('a', 'a');
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    await rm(world.local('a'));
    expect(await told('a')).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
  });

  it('where something is gone that a copy keeps: the disk may be', async () => {
    await delivered({ a: 'a', b: 'b' });
    for (const path of ['a', 'b']) await rm(world.local(path));
    expect(await told('a', 'b')).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
    expect(world.held()).toEqual({ a: 'a', b: 'b' });
  });

  it('where that is needed to be fresh in time', async () => {
    const hourMs = 3_600_000;
    await delivered(TREE, { expect: { freshnessMs: 2 * hourMs } });
    const proven = world.ledger.provenAtMs('nightly') ?? 0;
    const later = (ms: number): Promise<RunReport> =>
      world.run({ onScan: () => new Set(['a']), now: () => proven + ms });
    expect(await later(0.9 * hourMs)).toMatchObject({ outcome: 'ok', places: 1 });
    expect(await later(1.1 * hourMs)).toMatchObject({ outcome: 'ok', places: undefined });
  });

  it('where the marker is missing, and then it does nothing', async () => {
    await delivered({ ...TREE, '.mounted': '' }, { ...MIRROR, marker: '.mounted' });
    await rm(world.local('.mounted'));
    await world.put('a', 'changed', LATER);
    expect(await told('a')).toMatchObject({ outcome: 'held', failure: { code: 'marker-missing' } });
    expect(world.held()).toEqual({ ...TREE, '.mounted': '' });
  });

  it('where a .ferryignore has changed', async () => {
    await delivered(TREE);
    await world.put('e/.ferryignore', 'nothing\n');
    await world.put('d/a', 'changed', LATER);
    expect(await told('e/.ferryignore')).toMatchObject({ places: undefined, tally: { uploaded: 1 } });
  });

  it('where there is more to look at than a few', async () => {
    world = await World.open();
    const accounts = inMemory();
    await world.put('a');
    await world.run({ accounts });
    await mkdir(world.local('e'));
    for (let i = 0; i < 1_001; i += 1) await writeFile(world.local(`e/${i}`), '');
    const report = await world.run({ accounts, onScan: () => new Set(['e']) });
    expect(report).toMatchObject({ places: undefined, tally: { uploaded: 1_001, unchanged: 1 } });
  });

  it('where something cannot be sent, until a run over everything has ended well', async () => {
    await delivered(TREE);
    await world.put('line\nbreak', 'x');
    expect(await told('line\nbreak')).toMatchObject({ outcome: 'partial', places: undefined });
    expect(world.told('file.skipped')).toHaveLength(1);
    await world.put('a', 'changed', LATER);
    expect(await told('a')).toMatchObject({ outcome: 'partial', places: undefined });
    await rm(world.local('line\nbreak'));
    expect(await told('a')).toMatchObject({ outcome: 'ok', places: undefined });
    expect(await told('a')).toMatchObject({ outcome: 'ok', places: 1 });
  });

  it('where an earlier run did not come to its end', async () => {
    await delivered(TREE);
    const bindingId = world.binding;
    const start = { job: 'nightly', bindingId, trigger: 'watch', pid: 1, startedAtMs: Date.now() };
    world.ledger.startRun(start);
    expect(await told('a')).toMatchObject({ places: undefined });
    const local = { sizeBytes: 1, mtimeMs: 1, ctimeMs: 1, inode: 1 };
    const run = world.ledger.lastRuns('nightly', 1)[0]?.id ?? 0;
    world.ledger.intend(bindingId, run, [{ path: 'a', temporary: '.ferryd-a.part', local }]);
    expect(await told('a')).toMatchObject({ outcome: 'ok', places: undefined });
    expect(await told('a')).toMatchObject({ places: 1 });
  });

  it('where the ledger does not know these two places yet', async () => {
    world = await World.open();
    await world.put('a');
    await world.put('b');
    expect(await told('a')).toMatchObject({ places: undefined, tally: { uploaded: 2 } });
    world.change({ job: { remotePath: { path: 'elsewhere', absolute: false } } });
    expect(await told('a')).toMatchObject({ places: undefined, tally: { uploaded: 2 } });
  });

  const ODD: Readonly<Record<string, Partial<Omit<Job, 'server'>>>> = {
    pull: { direction: 'pull' },
    'a mirror of the server': { direction: 'pull', mode: 'mirror' },
    'two-way': { mode: 'two-way' },
    move: { mode: 'move' },
    'compare: checksum': { compare: 'checksum' },
    'deletes.extraneous': { mode: 'mirror', ...deleting({ extraneous: true, policy: 'delete' }) },
    'links: follow': { links: 'follow' },
    'ready markers': { ready: { before: '', part: 'name', behind: '.ok' } },
    'a hook before it': { before: { argv: ['true'], timeLimitMs: 10_000, onFailure: 'fail' } },
    ages: { age: { minMs: undefined, maxMs: 1_000_000_000_000 } },
  };

  it.each(Object.entries(ODD))('for a job with %s', async (_, job) => {
    await delivered({});
    world.change({ job });
    await world.put('b');
    await mkdir(world.remote(''), { recursive: true });
    await world.run();
    const second = await told('a');
    expect(second).toMatchObject({ outcome: 'ok' });
    expect(second.places).toBeUndefined();
  });
});

const name = fc.constantFrom('a', 'b', 'a-', 'A', 'c.d');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const change = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), path }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), path }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rename' as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('make' as const), path }) },
);
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never;

/** Makes a change, and names the places that a watch would name; nothing where it cannot be made. */
async function make(one: Change, content: string): Promise<string[]> {
  const at = world.local(one.path);
  const added = (of: string): string[] => {
    const parts = of.split('/');
    const above = parts.map((_, i) => parts.slice(0, i + 1).join('/'));
    return above.filter((each) => !existsSync(world.local(each)));
  };
  try {
    switch (one.kind) {
      case 'write': {
        const places = [...added(one.path), one.path];
        await mkdir(dirname(at), { recursive: true });
        await writeFile(at, content);
        return places;
      }
      case 'make': {
        const places = added(one.path);
        await mkdir(at, { recursive: true });
        return places;
      }
      case 'remove':
        await rm(at, { recursive: true });
        return [one.path];
      case 'rename': {
        const places = [one.path, ...added(one.to), one.to];
        await mkdir(dirname(world.local(one.to)), { recursive: true });
        await rename(at, world.local(one.to));
        return places;
      }
    }
  } catch {
    // A file stands where a directory would have to be, or nothing stands there. What was made on the way may stay.
    return [one.path, ...('to' in one ? [one.to] : [])].flatMap((each) => {
      const parts = each.split('/');
      return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
    });
  }
}

describe.each(['copy', 'mirror'] as const)('random changes, mode %s', (mode) => {
  it.each(['keep', 'skip'] as const)(
    'leave nothing to a run over everything, emptyDirectories: %s',
    async (emptyDirectories) => {
      let narrow = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), { maxLength: 6 }),
          async (rounds) => {
            await world?.[Symbol.asyncDispose]();
            const limit = deleting({ policy: 'delete', limit: { percent: 100, files: 1_000 } });
            world = await World.open({ job: { mode, emptyDirectories, ...limit } });
            const accounts = inMemory();
            await world.put('stays');
            await world.run({ accounts });
            let content = 0;
            for (const round of rounds) {
              const places = new Set<string>();
              for (const one of round) {
                content += 1;
                for (const place of await make(one, `content ${content}`)) places.add(place);
              }
              const report = await world.run({ accounts, onScan: () => places });
              if (report.places !== undefined && report.tally.uploaded > 0) narrow += 1;
              const after = await world.run({ accounts });
              // In a copy a file may be in the way of what is gone here, which each run says anew.
              if (mode === 'mirror') expect(report.outcome).toBe('ok');
              expect(after.tally).toMatchObject({ uploaded: 0, deleted: 0, renamed: 0 });
              expect(after.outcome).toBe(report.outcome);
            }
          },
        ),
        { numRuns: 40 },
      );
      expect(narrow).toBeGreaterThan(10);
    },
    120_000,
  );
});
