/*
 * A ledger that was lost, and places that it does not know yet: what is there already is found and not sent again,
 * nothing is deleted that nobody vouches for, and a first push into an empty place costs one listing.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { openOrReplace } from '../../src/ledger/damage.js';
import { Ledger } from '../../src/ledger/ledger.js';
import type { RemoteDirectory } from '../../src/remote/remote.js';
import { Accounts } from '../../src/run/accounts.js';
import type { Refusal } from '../../src/run/guard.js';
import { planJob } from '../../src/run/plan.js';
import { serverLike } from '../support/ftp-server/settings.js';
import { MemoryRemote } from '../support/memory-remote.js';
import { inPlace } from './support/hostile.js';
import { deleting, LATER, openSides, type Sides, skipped } from './support/sides.js';
import type { VoyageOptions } from './support/voyage.js';

let sides: Sides;
afterEach(() => sides.world[Symbol.asyncDispose]());

async function open(
  job: Partial<Omit<Job, 'server'>>,
  options: Omit<VoyageOptions, 'job'> = {},
): Promise<Sides> {
  sides = await openSides(job, options);
  return sides;
}

/** The disk has lost it. */
function loseLedger({ world }: Sides): void {
  world.closeLedger();
  rmSync(dirname(world.ledgerFile), { recursive: true });
}

/** Its listings have no times. */
class Timeless extends MemoryRemote {
  override async list(...asked: Parameters<MemoryRemote['list']>): Promise<RemoteDirectory> {
    const listed = await super.list(...asked);
    return { ...listed, files: listed.files.map((file) => ({ ...file, modifiedMs: undefined })) };
  }
}

const listings = ({ world }: Sides): number => world.server.journal.listings;

/** What the next runs cost the server. */
function costs(
  from: Sides,
): () => { readonly stores: number; readonly fetches: number; readonly listings: number } {
  const before = { stores: from.world.stores, fetches: from.world.count('RETR'), listings: listings(from) };
  return () => ({
    stores: from.world.stores - before.stores,
    fetches: from.world.count('RETR') - before.fetches,
    listings: listings(from) - before.listings,
  });
}

const MODES = [
  ['copy', 'push'],
  ['copy', 'pull'],
  ['mirror', 'push'],
  ['mirror', 'pull'],
  ['two-way', 'push'],
  ['two-way', 'pull'],
] as const;

const FILES = { a: 'a', 'd/b': 'b', 'd/e/c': 'c' };

describe.each(MODES)('a ledger that was lost, %s %s', (mode, direction) => {
  it('is made anew by looking: nothing that is the same goes across again, and the next run is as cheap as ever', async () => {
    const { world, source, target } = await open({ mode, direction });
    await source.put(FILES);
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    loseLedger(sides);
    const cost = costs(sides);
    expect(await world.run()).toMatchObject({
      outcome: 'ok',
      tally: { uploaded: 0, downloaded: 0, deleted: 0, unchanged: 3, bytes: 0 },
    });
    expect(cost()).toMatchObject({ stores: 0, fetches: 0 });
    expect(world.known().map(({ path }) => path)).toEqual(Object.keys(FILES));
    expect(target.files()).toEqual(FILES);
    expect(target.trash()).toEqual({});
    const later = costs(sides);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 3 } });
    expect(later()).toMatchObject({ stores: 0, fetches: 0 });
    if (mode !== 'two-way' && direction === 'push') expect(later().listings).toBe(0);
  });

  it('brings back nothing by deleting: what was gone on one side and not on the other stays or returns', async () => {
    const { world, source, target } = await open({ mode, direction });
    await source.put(FILES);
    await world.run();
    loseLedger(sides);
    await source.drop('a');
    await source.put({ new: 'new' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expect(target.files()).toEqual({ ...FILES, new: 'new' });
    expect(source.files()).toMatchObject(mode === 'two-way' ? FILES : {});
    // From now on it is known again.
    await source.drop('new');
    await world.run();
    expect('new' in target.files()).toBe(mode === 'copy');
  });
});

describe('a push that finds another version than the ledger it lost had', () => {
  it.each(['copy', 'mirror'] as const)(
    '%s: sends the source, and keeps what it replaces where the job says so',
    async (mode) => {
      const { world, source, target } = await open({ mode, ...deleting({}) });
      await source.put({ same: 'same', larger: 'larger', equal: 'equal' });
      await world.run();
      loseLedger(sides);
      await target.put({ larger: 'larger by a person', equal: 'EQUAL' }, LATER);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, unchanged: 1 } });
      expect(target.files()).toEqual({ same: 'same', larger: 'larger', equal: 'equal' });
      expect(target.trash()).toEqual({ larger: 'larger by a person', equal: 'EQUAL' });
    },
  );
});

describe('a server that does not keep times', () => {
  it('is asked for the content, and is sent what differs alone', async () => {
    const { world, source, target } = await open({}, { server: serverLike('iis') });
    await source.put({ a: 'aaa', b: 'bbb', c: 'ccc' });
    await world.run();
    loseLedger(sides);
    await world.putRemote('b', 'BBB', LATER);
    const cost = costs(sides);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 2 } });
    expect(cost().stores).toBe(1);
    expect(target.files()).toEqual({ a: 'aaa', b: 'bbb', c: 'ccc' });
    expect(target.trash()).toEqual({ b: 'BBB' });
  });

  it('nor lets anything be read: all is sent, as if nobody had looked', async () => {
    const { world, source } = await open({}, { server: serverLike('iis') });
    await source.put({ a: 'aaa', b: 'bbb' });
    await world.run();
    loseLedger(sides);
    world.server.script({ on: 'RETR', times: 99, do: { kind: 'reply', text: '550 Permission denied.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, skipped: 0 } });
  });

  it('nor tells any is fetched from by content: what is the same is not fetched again, what differs is left', async () => {
    const { world, local } = await open({ direction: 'pull' });
    const remote = new Timeless();
    for (const name of ['a', 'b']) remote.tree.write(name, name.repeat(3), LATER);
    const accounts = { of: async () => ({ remote: () => remote }) };
    expect(await world.run({ accounts })).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
    loseLedger(sides);
    await local.put({ b: 'BBB' }, LATER);
    expect(await world.run({ accounts })).toMatchObject({
      outcome: 'partial',
      tally: { downloaded: 0, unchanged: 1, skipped: 1 },
    });
    expect(local.files()).toEqual({ a: 'aaa', b: 'BBB' });
    expect(skipped(world)).toEqual({ b: 'local-differs' });
  });
});

describe('the first push', () => {
  it('into an empty place costs one listing, however many directories it makes', async () => {
    const { world, source } = await open({});
    for (const name of ['a', 'b/c', 'd/e/f', 'd/g/h', 'i/j/k/l']) await source.put({ [name]: name });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 5 } });
    expect(listings(sides)).toBe(1);
    await source.put({ 'm/n': 'n' });
    await world.run();
    expect(listings(sides)).toBe(1);
    world.expectConverged();
  });

  it.each(['550', '450', 'empty'] as const)(
    'into a place that is not there yet, on a server that says so with %s',
    async (missingListing) => {
      const { world, source } = await open({}, { server: { missingListing } });
      rmSync(world.remote(''), { recursive: true });
      await source.put({ a: 'a', 'd/b': 'b' });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, skipped: 0 } });
      world.expectConverged();
    },
  );

  it('into a place that may not be listed sends all the same', async () => {
    const { world, source } = await open({});
    world.server.script({ on: 'MLSD', times: 99, do: { kind: 'reply', text: '550 Permission denied.' } });
    world.server.script({ on: 'LIST', times: 99, do: { kind: 'reply', text: '550 Permission denied.' } });
    await source.put({ a: 'a', 'd/b': 'b' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, skipped: 0 } });
    world.expectConverged();
  });

  it('looks into no directory of others', async () => {
    const { world, source, target } = await open({});
    await target.put({ 'theirs/1/x': 'x', 'theirs/2/y': 'y', 'mine/z': 'z' });
    await source.put({ 'mine/a': 'a', 'mine/z': 'z' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 1 } });
    // The root, and the one directory that something goes to.
    expect(listings(sides)).toBe(2);
  });

  it('that was cut off looks again in the next run, and no more once one came to its end', async () => {
    const { world, source } = await open({});
    await source.put(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, `f${i}`])));
    const stop = new AbortController();
    let stores = 0;
    world.server.on('command', (verb) => {
      stores += verb === 'STOR' ? 1 : 0;
      if (stores === 5) stop.abort();
    });
    expect(await world.run({ stop: stop.signal })).toMatchObject({ outcome: 'interrupted' });
    expect(listings(sides)).toBe(1);
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(listings(sides)).toBe(2);
    await source.put({ new: 'new' });
    await world.run();
    expect(listings(sides)).toBe(2);
    world.expectConverged();
  });

  it('with {mtime} in its target finds what lies where it would go', async () => {
    const { world, source } = await open({ remotePath: { path: 'in/{mtime:yyyy}', absolute: false } });
    await source.put({ a: 'a', b: 'b' });
    await world.run();
    const held = world.server.journal.of('STOR').length;
    loseLedger(sides);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 2 } });
    expect(world.server.journal.of('STOR').length).toBe(held);
  });
});

describe.each(['push', 'pull'] as const)('deletes.extraneous in a first run, %s', (direction) => {
  const strange = deleting({ extraneous: true, limit: { percent: 100, files: 1_000 } });

  it('waits for a person, whatever the limit; the rest is delivered', async () => {
    const { world, source, target } = await open({ mode: 'mirror', direction, ...strange });
    await source.put(FILES);
    await world.run();
    loseLedger(sides);
    await target.put({ theirs: 'theirs', 'd/theirs': 'too' });
    await source.put({ new: 'new' });
    const all = { ...FILES, new: 'new', theirs: 'theirs', 'd/theirs': 'too' };
    for (const time of ['once', 'again']) {
      const report = await world.run();
      expect([time, report]).toMatchObject([time, { outcome: 'held', failure: { code: 'first-run' } }]);
      expect(report.failure?.message).toMatch(
        /^This is the first run that the ledger knows of between .* would delete 2 things/,
      );
      expect(report.failure?.message).toContain('ferryd approve nightly');
      expect(target.files()).toEqual(all);
    }
    world.ledger.approve('nightly', Date.now());
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expect(target.files()).toEqual({ ...FILES, new: 'new' });
    // It knows the places now, and asks no more than the limit wants.
    await target.put({ more: 'more' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
  });

  it('is planned with the same word', async () => {
    const { world, source, target } = await open({ mode: 'mirror', direction, ...strange });
    await source.put({ a: 'a' });
    await target.put({ theirs: 'theirs' });
    const accounts = new Accounts(() => {}, { wire: 'silent', profiles: world.ledger });
    const refusals: Refusal[] = [];
    const kinds: string[] = [];
    try {
      const context = { ledger: world.ledger, accounts, onFinding: () => {} };
      const verdicts = planJob(world.job, { ...context, onRefusal: (refusal) => refusals.push(refusal) });
      for await (const { kind, path } of verdicts) kinds.push(`${kind} ${path}`);
    } finally {
      await accounts.close();
    }
    expect(kinds).toContain('remove theirs');
    expect(refusals).toMatchObject([{ code: 'first-run' }]);
    expect(target.files()).toEqual({ theirs: 'theirs' });
  });
});

describe('a ledger that is found damaged', () => {
  it.each(['push', 'pull'] as const)(
    'in the middle of a run, %s: the run fails, and deletes nothing on either side',
    async (direction) => {
      const { world, source, target } = await open({ mode: 'mirror', direction });
      const many = Object.fromEntries(
        Array.from({ length: 400 }, (_, i) => [`d/${'n'.repeat(150)}${i}`, `${i}`]),
      );
      await source.put(many);
      await world.run();
      await source.drop(...Object.keys(many).slice(0, 20));
      world.closeLedger();
      const bytes = readFileSync(world.ledgerFile);
      for (let page = 45; page < 50; page += 1) bytes.fill(0xee, page * 4096, page * 4096 + 2_000);
      writeFileSync(world.ledgerFile, bytes);
      // Opened before the disk spoilt it, as by a daemon.
      world.useLedger(new Ledger(new Database(world.ledgerFile)));
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', tally: { deleted: 0 } });
      expect(report.failure?.code).toMatch(/^SQLITE_CORRUPT/);
      expect(world.ledger.isDamaged).toBe(true);
      expect(target.files()).toEqual(many);
      expect(Object.keys(source.files())).toHaveLength(380);
      // The next opening replaces it.
      world.closeLedger();
      const { ledger, damage } = openOrReplace(world.ledgerFile);
      expect(damage).toBeDefined();
      world.useLedger(ledger);
      expect(await world.run()).toMatchObject({
        outcome: 'ok',
        tally: { uploaded: 0, downloaded: 0, deleted: 0 },
      });
      expect(target.files()).toEqual(many);
    },
  );

  it('is replaced, and the next run sends nothing again and deletes nothing', async () => {
    const { world, source, target } = await open({ mode: 'mirror', ...deleting({ extraneous: true }) });
    world.settle();
    const many = Object.fromEntries(
      Array.from({ length: 400 }, (_, i) => [`d/${'n'.repeat(150)}${i}`, `${i}`]),
    );
    await source.put(many);
    await world.run();
    await target.put({ theirs: 'theirs' });
    world.closeLedger();
    const bytes = readFileSync(world.ledgerFile);
    for (let page = 35; page < 50; page += 1) bytes.fill(0xee, page * 4096, page * 4096 + 2_000);
    writeFileSync(world.ledgerFile, bytes);
    const { ledger, damage } = openOrReplace(world.ledgerFile);
    expect(damage?.message).toContain('nothing is deleted that you have not approved');
    world.useLedger(ledger);
    const cost = costs(sides);
    expect(await world.run()).toMatchObject({
      outcome: 'held',
      failure: { code: 'first-run' },
      tally: { uploaded: 0, deleted: 0, unchanged: 400 },
    });
    expect(cost()).toMatchObject({ stores: 0, fetches: 0 });
    expect(inPlace(world.held())).toEqual({ ...many, theirs: 'theirs' });
    expect(readdirSync(dirname(world.ledgerFile)).filter((name) => name.includes('.damaged-'))).toHaveLength(
      1,
    );
  });
});

describe('a move with a ledger that was lost', () => {
  it.each(['push', 'pull'] as const)(
    '%s: takes away what the target proves to hold, and sends the rest',
    async (direction) => {
      const { world, source, target } = await open({ mode: 'move', direction });
      await target.put({ a: 'aaa', b: 'BBB' });
      await source.put({ a: 'aaa', b: 'bbb', c: 'ccc' });
      await world.run();
      expect(source.files()).toEqual({});
      expect(target.files()).toEqual({ a: 'aaa', b: 'bbb', c: 'ccc' });
      expect(target.trash()).toEqual({ b: 'BBB' });
    },
  );
});
