/*
 * How a run ends when it does not simply come to its end: locks, guards, a full disk under the ledger, a stop, a cut.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/ledger/database.js';
import { Ledger } from '../../src/ledger/ledger.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

describe('one run of a job at a time', () => {
  it('a second one is refused, and says who is at work', async () => {
    await open();
    await world.put('f', 'x'.repeat(100_000));
    world.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 10 } });
    const first = world.run();
    await world.server.until((journal) => journal.receivedBytes > 0);
    const second = await world.run();
    expect(second).toMatchObject({ outcome: 'failed', run: undefined, failure: { kind: 'locked' } });
    expect(second.failure?.message).toMatch(new RegExp(`Process ${process.pid} holds it .*nightly`));
    expect(world.ledger.lastRuns('nightly', 10)).toHaveLength(1);

    world.change({ job: { name: 'another' } });
    const { uploaded } = (await world.run()).tally;
    expect(uploaded).toBe(1);

    world.server.drop('reset');
    expect(await first).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    world.change({ job: { name: 'nightly' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
  });
});

describe('the source', () => {
  it('is empty, and was not before: held, and nothing is touched', async () => {
    await open();
    await world.put('a');
    await world.put('d/b');
    await world.run();
    const before = world.server.journal.connections;
    await rm(world.local(''), { recursive: true });
    await mkdir(world.local(''));
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'held', failure: { kind: 'held', code: 'source-empty' } });
    expect(report.failure?.message).toMatch(/no file for this job, and 2 were delivered .*mounted/);
    expect(world.held()).toEqual({ a: 'a', 'd/b': 'd/b' });
    expect(world.server.journal.connections).toBe(before);
    expect(world.known()).toHaveLength(2);
    expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([{ outcome: 'held' }]);
    await world.put('a');
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
  });

  it('has nothing that the patterns want any more: held', async () => {
    await open();
    await world.put('a.gz');
    await world.run();
    world.change({ job: { include: ['**/*.zip'] } });
    expect(await world.run()).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
  });

  it('is empty and always was: fine', async () => {
    await open();
    expect(await world.run()).toMatchObject({ outcome: 'ok', failure: undefined, tally: { uploaded: 0 } });
    expect(world.server.journal.connections).toBe(0);
  });

  it.each(['missing', 'file'])(
    'is %s: failed, with a sentence, and the server is not asked',
    async (what) => {
      await open();
      await world.put('a');
      await world.run();
      const before = world.server.journal.connections;
      await rm(world.local(''), { recursive: true });
      if (what === 'file') await writeFile(world.local('').replace(/\/$/, ''), '');
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'failed' } });
      expect(report.failure?.message).toMatch(
        /^The source of job nightly cannot be used: .*Is its disk mounted/,
      );
      expect(report.failure?.code).toBe(what === 'file' ? 'ENOTDIR' : 'ENOENT');
      expect(world.held()).toEqual({ a: 'a' });
      expect(world.server.journal.connections).toBe(before);
      expect(world.known()).toHaveLength(1);
    },
  );
});

/** More than one group of commits, and more than fits into the pages that are left. */
const FILES = 600;

describe('a full disk under the ledger', () => {
  it.each([0, 1, 2, 4, 8, 16])(
    'with %i pages left: failed, and nothing is lost or sent in part',
    async (left) => {
      await open();
      const contents: Record<string, string[]> = {};
      for (let i = 0; i < FILES; i += 1) {
        const path = `${'a long name '.repeat(16)}${i}`;
        contents[path] = [path];
        await world.put(path);
      }
      world.ledger.bind({ job: 'other', direction: 'push', server: 's', remoteRoot: '', localRoot: '' });
      world.closeLedger();
      const database = openDatabase(world.ledgerFile, 'read-write');
      const pages = Number(database.pragma('page_count', { simple: true }));
      database.pragma(`max_page_count = ${pages + left}`);
      world.useLedger(new Ledger(database));
      const watch = world.watchFinals(Object.fromEntries(Object.entries(contents).slice(0, 10)));

      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'failed', code: 'SQLITE_FULL' } });
      expect(report.failure?.message).toMatch(/The disk under the ledger .* is full.*Free some space/);
      const stored = world.server.journal.stored;
      expect(stored).toBeLessThan(FILES);
      const delivered = Object.keys(world.held()).filter((path) => path in contents);
      expect(() => world.closeLedger()).toThrow(/full/);

      // With room again, what had arrived is not sent again.
      world.closeLedger();
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
      expect(world.server.journal.stored).toBe(stored + FILES - delivered.length);
      world.expectConverged();
      watch.expectWhole();
    },
  );
});

describe('a stop', () => {
  it.each(['STOR', 'SIZE', 'RNTO'])(
    '(at %s) lets the files in hand arrive, and begins no other',
    async (verb) => {
      await open({ settings: { connections: 2 } });
      for (let i = 0; i < 100; i += 1) await world.put(`f${String(i).padStart(2, '0')}`);
      const stop = new AbortController();
      world.server.on('command', (heard) => {
        if (heard === verb && world.count(verb) >= 5) stop.abort();
      });
      const report = await world.run({ stop: stop.signal });
      expect(report).toMatchObject({ outcome: 'interrupted', failure: undefined });
      expect(report.tally.uploaded).toBeGreaterThanOrEqual(4);
      // Those that were begun: one is sent, one proven and one published on each of the two connections.
      expect(report.tally.uploaded).toBeLessThanOrEqual(5 + 2 * 3);
      expect(world.temporaries()).toEqual([]);
      expect(Object.keys(world.held())).toHaveLength(report.tally.uploaded);
      expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([
        {
          state: 'ended',
          outcome: 'interrupted',
          tally: { uploaded: report.tally.uploaded },
          failure: undefined,
        },
      ]);
      const stores = world.stores;
      expect(stores).toBe(report.tally.uploaded);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 100 - stores } });
      expect(world.stores).toBe(100);
      world.expectConverged();
    },
  );

  it('before the run begins nothing', async () => {
    await open();
    await world.put('f');
    expect(await world.run({ stop: AbortSignal.abort() })).toMatchObject({ outcome: 'interrupted' });
    expect(world.server.journal.connections).toBe(0);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
  });

  it('does not wait for what would be tried again later', async () => {
    await open({ job: { retries: { attempts: 5, firstDelayMs: 3_600_000, maxDelayMs: 3_600_000 } } });
    await world.put('f');
    world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'reply', text: '451 Later.' } });
    const stop = new AbortController();
    const report = await world.run({
      stop: stop.signal,
      listener: (event) => {
        if (event.event === 'file.retry') stop.abort();
      },
    });
    expect(report).toMatchObject({ outcome: 'interrupted' });
    expect(report.durationMs).toBeLessThan(10_000);
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    world.expectConverged();
  });

  it('nor for a server that is away', async () => {
    await open({ job: { retries: { attempts: 5, firstDelayMs: 3_600_000, maxDelayMs: 3_600_000 } } });
    await world.put('f');
    world.server.script({ on: 'connect', nth: 'every', do: { kind: 'reset' } });
    const stop = new AbortController();
    const report = await world.run({
      stop: stop.signal,
      listener: (event) => {
        if (event.event === 'connection.retry') stop.abort();
      },
    });
    expect(report).toMatchObject({ outcome: 'interrupted' });
  });
});

describe('a cut', () => {
  it('resets what is in flight: no server takes the part for the whole, and the next run converges', async () => {
    const content = 'y'.repeat(500_000);
    await open();
    for (const path of ['a', 'b', 'c']) await world.put(path, content);
    const stall = world.server.script({ on: 'STOR', times: 3, do: { kind: 'dataStall', atByte: 200_000 } });
    const cut = new AbortController();
    const watch = world.watchFinals({ a: [content], b: [content], c: [content] });
    const running = world.run({ cut: cut.signal });
    await world.server.until((journal) => stall.fired === 3 && journal.receivedBytes >= 600_000);
    const cutMs = performance.now();
    cut.abort();
    const report = await running;
    expect(performance.now() - cutMs).toBeLessThan(2_000);
    expect(report).toMatchObject({
      outcome: 'interrupted',
      failure: undefined,
      tally: { uploaded: 0, skipped: 0 },
    });
    expect(Object.keys(world.held()).some((path) => ['a', 'b', 'c'].includes(path))).toBe(false);
    expect(world.intents()).toHaveLength(3);
    await world.server.until((journal) => journal.open === 0);

    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 3 } });
    world.expectConverged();
    watch.expectWhole();
  });

  it('also while a reply is waited for, together with the end of the connections', async () => {
    await open();
    await world.put('f');
    world.server.script({ on: 'SIZE', do: { kind: 'hang' } });
    const { Accounts } = await import('../../src/run/accounts.js');
    const accounts = new Accounts(() => undefined, { wire: 'silent', profiles: undefined });
    const cut = new AbortController();
    const running = world.run({ cut: cut.signal, accounts });
    await world.server.waitFor('SIZE');
    cut.abort();
    await accounts.close();
    expect(await running).toMatchObject({ outcome: 'interrupted' });
    // It had arrived whole: published, not sent again.
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 0 } });
    expect(world.stores).toBe(1);
    world.expectConverged();
  });
});

describe('what an earlier run left open', () => {
  /** A run that ended the hard way: its intents are there, its process is not. */
  async function leave(
    intents: readonly { path: string; temporary: string; like?: string }[],
  ): Promise<void> {
    const { lookAt } = await import('../../src/local/walk.js');
    const { serverIdentity } = await import('../../src/remote/account.js');
    const binding = world.ledger.bind({
      job: 'nightly',
      direction: 'push',
      server: serverIdentity(world.job.server),
      remoteRoot: 'dumps',
      localRoot: world.job.local,
    });
    const run = world.ledger.startRun({
      job: 'nightly',
      bindingId: binding,
      trigger: 'by hand',
      pid: 1,
      startedAtMs: 1,
    });
    for (const { path, temporary, like = path } of intents) {
      const local = await lookAt(world.local(''), like);
      if (local === undefined) throw new Error(`${like} is not there`);
      world.ledger.intend(binding, run, [{ path, temporary, local }]);
    }
  }

  const PART = '.ferryd-0123456789abcdef.part';

  it.each<[string, () => Promise<void>, { stores: number; uploaded: number }]>([
    ['nothing arrived', async () => undefined, { stores: 1, uploaded: 1 }],
    ['a part arrived', () => world.putRemote(PART, 'cont'), { stores: 1, uploaded: 1 }],
    ['more arrived than there is', () => world.putRemote(PART, 'contents'), { stores: 1, uploaded: 1 }],
    ['all of it arrived', () => world.putRemote(PART, 'content'), { stores: 0, uploaded: 1 }],
    ['it was published', () => world.putRemote('f', 'content'), { stores: 0, uploaded: 0 }],
    [
      'an older one of another size stands there',
      () => world.putRemote('f', 'an older content'),
      { stores: 1, uploaded: 1 },
    ],
    [
      'an older one of the same size stands there',
      () => world.putRemote('f', 'CONTENT', EARLIER - 60_000),
      { stores: 1, uploaded: 1 },
    ],
  ])('%s', async (_what, remote, { stores, uploaded }) => {
    await open();
    await world.put('f', 'content');
    await leave([{ path: 'f', temporary: PART }]);
    await remote();
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded, unchanged: 1 - uploaded } });
    expect(world.told('run.recovered')).toMatchObject([{ path: 'f' }]);
    expect(world.stores).toBe(stores);
    world.expectConverged();
    const [ended] = world.ledger.lastRuns('nightly', 2).slice(1);
    expect(ended).toMatchObject({
      state: 'ended',
      outcome: 'interrupted',
      failure: { code: 'process-ended' },
    });
    expect((await world.run()).tally).toMatchObject({ uploaded: 0, unchanged: 1 });
  });

  it('all of it arrived, but the file is another by now: it is cleared away, and the new one sent', async () => {
    await open();
    await world.put('f', 'content');
    await leave([{ path: 'f', temporary: PART }]);
    await world.putRemote(PART, 'content');
    await world.put('f', 'CHANGED', EARLIER + 5_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    world.expectConverged();
  });

  it('the file is gone: what had arrived is cleared away', async () => {
    await open();
    await world.put('f', 'content');
    await world.put('other');
    await leave([{ path: 'f', temporary: PART }]);
    await world.putRemote(PART, 'content');
    await rm(world.local('f'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    world.expectConverged();
  });

  it('two names for one file: both are dealt with', async () => {
    await open();
    await world.put('f', 'content');
    const second = PART.replace('0123', 'ffff');
    await leave([
      { path: 'f', temporary: PART },
      { path: 'f', temporary: second },
    ]);
    await world.putRemote(PART, 'cont');
    await world.putRemote(second, 'content');
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.stores).toBe(0);
    world.expectConverged();
  });

  it('is kept for the next run where the server is away', async () => {
    await open();
    await world.put('f', 'content');
    await leave([{ path: 'f', temporary: PART }]);
    await world.putRemote(PART, 'content');
    const away = world.server.script({ on: 'connect', nth: 'every', do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { kind: 'unreachable' } });
    expect(world.intents()).toMatchObject([{ path: 'f', temporary: PART }]);
    away.remove();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 0 } });
    expect(world.stores).toBe(0);
    world.expectConverged();
  });
});
