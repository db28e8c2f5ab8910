/*
 * A ledger that does not know the present: put back from an old backup, or of a job that points elsewhere now. What it
 * remembers is proven before it counts, so that no content is lost on either side and nothing is deleted by mistake;
 * and after a few runs both sides are as they should be again.
 */
import { cpSync, rmSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import {
  inPlace,
  inTrashOf,
  type Mode,
  once,
  openHostile,
  sentences,
  settle,
  TRASH,
} from './support/hostile.js';
import { EARLIER, PASSWORD, type World } from './support/voyage.js';

let world: World;
let second: FtpServer | undefined;
afterEach(async () => {
  await second?.close();
  second = undefined;
  await world[Symbol.asyncDispose]();
});

/** Copies the ledger away. */
function backUp(): void {
  world.closeLedger();
  cpSync(dirname(world.ledgerFile), world.directory.join('backup'), { recursive: true });
}

/** Puts the copy back in the place of the present one. */
function restore(): void {
  world.closeLedger();
  rmSync(dirname(world.ledgerFile), { recursive: true });
  cpSync(world.directory.join('backup'), dirname(world.ledgerFile), { recursive: true });
}

/** The source and the target of a job, as a test writes and reads them. */
function sides(direction: 'push' | 'pull') {
  const local = {
    put: world.put.bind(world),
    remove: (path: string) => rm(world.local(path)),
    files: () => world.here(),
  };
  const remote = {
    put: world.putRemote.bind(world),
    remove: (path: string) => rm(world.remote(path)),
    files: () => world.held(),
  };
  return direction === 'push' ? { source: local, target: remote } : { source: remote, target: local };
}

let clock = 0;
/** A time of its own for each version of a file. */
const later = (): number => {
  clock += 10_000;
  return EARLIER + clock;
};

/** All contents of both sides, those in the trash too. */
const contents = (): Set<string> => new Set([...Object.values(world.here()), ...Object.values(world.held())]);

type Case = readonly [Mode, 'push' | 'pull', Job['conflicts']];

const CASES: readonly Case[] = [
  ['copy', 'push', 'keep-both'],
  ['copy', 'pull', 'keep-both'],
  ['mirror', 'push', 'keep-both'],
  ['mirror', 'pull', 'keep-both'],
  ['two-way', 'push', 'keep-both'],
  ['two-way', 'pull', 'newer'],
  ['two-way', 'push', 'from'],
  ['two-way', 'pull', 'to'],
];

/** A history that the backup knows nothing of. */
async function goOn(mode: Mode, direction: 'push' | 'pull'): Promise<void> {
  const { source, target } = sides(direction);
  await source.put('changed', 'changed 2', later());
  await source.put('twice', 'twice 2', later());
  await source.remove('gone');
  await source.put('new', 'new', later());
  await settle(world);
  await source.put('twice', 'twice 3 is longer', later());
  await source.remove('d/again');
  await settle(world);
  await source.put('d/again', 'again 2', later());
  await source.put('same size', 'SAME SIZE', later());
  if (mode === 'two-way') {
    await target.put('there', 'there 2', later());
    await target.put('new there', 'new there', later());
    await target.remove('gone there');
  }
  await settle(world);
}

describe.each(CASES)('a ledger from an old backup, %s %s, conflicts %s', (mode, direction, conflicts) => {
  async function lived(): Promise<void> {
    world = await openHostile(mode, direction, { job: { conflicts } });
    const { source } = sides(direction);
    for (const path of ['changed', 'twice', 'gone', 'd/again', 'same size', 'kept', 'there', 'gone there']) {
      await source.put(path, path, later());
    }
    await settle(world);
    backUp();
    await goOn(mode, direction);
    restore();
  }

  it('nothing else has happened: both sides stay as they are, and then there is nothing to do', async () => {
    await lived();
    const [here, held] = [inPlace(world.here()), inPlace(world.held())];
    const report = await world.run();
    expect(report.tally).toMatchObject({ deleted: 0, renamed: 0 });
    await settle(world);
    expect(inPlace(world.here())).toEqual(here);
    expect(inPlace(world.held())).toEqual(held);
    const { outcome, tally } = await world.run();
    expect({ outcome, ...tally }).toMatchObject({
      outcome: 'ok',
      uploaded: 0,
      downloaded: 0,
      deleted: 0,
      skipped: 0,
    });
    expect(world.temporaries()).toEqual([]);
  });

  it('and files were changed and deleted before anybody noticed: no content is lost', async () => {
    await lived();
    const { source, target } = sides(direction);
    const edits: readonly (readonly [string, string])[] = [
      ['changed', 'changed 3'],
      ['new', 'new 2'],
    ];
    // Of a copy, a person has only what the source holds, and at most one older version.
    const precious = mode === 'copy' ? new Set(Object.values(source.files())) : contents();
    for (const [path, content] of edits) {
      precious.delete(source.files()[path] ?? '');
      await source.put(path, content, later());
      precious.add(content);
    }
    for (const path of ['twice', 'kept', 'd/again']) await source.remove(path);
    if (mode === 'copy') for (const path of ['twice 3 is longer', 'kept', 'again 2']) precious.add(path);
    await settle(world);
    const found = contents();
    for (const content of precious) expect(found).toContain(content);
    for (const [path, content] of edits) {
      // For this ledger it is a conflict, and this side loses it; into the trash.
      if (conflicts === 'to') continue;
      expect(source.files()[path]).toBe(content);
      if (mode !== 'copy' || direction === 'push') expect(target.files()[path]).toBe(content);
    }
    // What the ledger knows as it is may go; what it knows otherwise may not, whatever else becomes of it.
    for (const path of ['twice', 'd/again']) expect(target.files()[path]).toBeDefined();
    if (mode !== 'copy') expect(target.files().kept).toBeUndefined();
    if (mode === 'two-way') expect(inPlace(world.here())).toEqual(inPlace(world.held()));
    if (mode === 'mirror') expect(sentences(world)).toContain('twice is gone at the source, and was changed');
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });

  it('of a time at which a run was cut off: what it had begun is neither sent twice nor left behind', async () => {
    world = await openHostile(mode, direction, { job: { conflicts } });
    const { source, target } = sides(direction);
    await source.put('large', 'x'.repeat(400_000), later());
    await source.put('small', 'small', later());
    const verb = direction === 'push' ? 'STOR' : 'RETR';
    world.server.script({ on: verb, path: '**large**', do: { kind: 'dataStall', atByte: 200_000 } });
    world.server.script({ on: verb, path: '**.part', do: { kind: 'dataStall', atByte: 200_000 } });
    const cut = new AbortController();
    const cutOff = once(() => setImmediate(() => cut.abort()));
    const running = world.run({ cut: cut.signal });
    await world.server.until(
      ({ receivedBytes, sentBytes }) => receivedBytes >= 200_000 || sentBytes >= 200_000,
    );
    cutOff();
    expect((await running).outcome).toBe('interrupted');
    backUp();
    world.server.behave();
    await settle(world);
    await source.put('large', 'y'.repeat(300_000), later());
    await settle(world);
    restore();
    await settle(world);
    expect(inPlace(target.files())).toEqual({ large: 'y'.repeat(300_000), small: 'small' });
    expect(inPlace(source.files())).toEqual({ large: 'y'.repeat(300_000), small: 'small' });
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });
});

describe.each(['push', 'pull'] as const)('a ledger from an old backup, move %s', (direction) => {
  it('whose sources were not taken away yet: what came since under their names arrives, and none is lost', async () => {
    world = await openHostile('move', direction);
    const { source, target } = sides(direction);
    for (const path of ['a', 'b', 'c']) await source.put(path, `${path} 1`, later());
    // Delivered, and the last step does not come about: so the ledger remembers them.
    await world.run({ job: { ...world.job, mode: 'copy' } });
    backUp();
    await settle(world);
    expect(inPlace(source.files())).toEqual({});
    await source.put('a', 'a 2 is longer', later());
    await settle(world);
    await source.put('a', 'a 3', later());
    await source.put('b', 'b 2', later());
    await target.remove('c');
    restore();
    await settle(world);
    expect(inPlace(source.files())).toEqual({});
    expect(inPlace(target.files())).toEqual({ a: 'a 3', b: 'b 2' });
    expect([...contents()].sort()).toEqual(['a 1', 'a 2 is longer', 'a 3', 'b 1', 'b 2']);
    expect(world.known()).toEqual([]);
  });

  it('and the target has lost what it says was delivered: it is delivered again before the source goes', async () => {
    world = await openHostile('move', direction);
    const { source, target } = sides(direction);
    for (const path of ['a', 'b']) await source.put(path, path, later());
    await world.run({ job: { ...world.job, mode: 'copy' } });
    await target.remove('a');
    await settle(world);
    expect(inPlace(source.files())).toEqual({});
    expect(inPlace(target.files())).toEqual({ a: 'a', b: 'b' });
  });
});

describe.each<[Mode, 'push' | 'pull']>([
  ['copy', 'push'],
  ['mirror', 'push'],
  ['move', 'push'],
  ['two-way', 'push'],
  ['copy', 'pull'],
  ['mirror', 'pull'],
  ['move', 'pull'],
  ['two-way', 'pull'],
])('a job pointed elsewhere, %s %s', (mode, direction) => {
  async function delivered(): Promise<void> {
    world = await openHostile(mode, direction);
    const { source } = sides(direction);
    for (const path of ['a', 'b', 'd/c']) await source.put(path);
    await settle(world);
  }

  /** What both places hold is there afterwards, whatever else has come. */
  function expectNothingLost(before: { here: Record<string, string>; held: Record<string, string> }): void {
    if (mode === 'move') {
      // The source has gone along.
      const all = contents();
      for (const content of [...Object.values(before.here), ...Object.values(before.held)])
        expect(all).toContain(content);
    } else {
      expect(world.here()).toMatchObject(before.here);
      expect(world.held()).toMatchObject(before.held);
    }
    expect(world.told('file.deleted').filter(({ why }) => why !== 'moved')).toEqual([]);
    expect(inTrashOf(world.held())).toEqual({});
    expect(inTrashOf(world.here())).toEqual({});
  }

  it('at another directory on the server, with files of somebody else in it', async () => {
    await delivered();
    world.change({ job: { remotePath: { path: 'elsewhere', absolute: false } } });
    for (const path of ['theirs', 'd/theirs']) await world.putRemote(path);
    const before = { here: world.here(), held: world.held() };
    expect(await settle(world)).toMatchObject({ outcome: 'ok' });
    expectNothingLost(before);
  });

  it('at another server', async () => {
    await delivered();
    const root = world.directory.join('second');
    await mkdir(root);
    second = await startFtpServer({ root, users: { ferry: PASSWORD } });
    world.change({
      settings: { port: second.port },
      job: { remotePath: { path: '../second', absolute: false } },
    });
    await world.putRemote('theirs');
    const before = { here: world.here(), held: world.held() };
    world.change({ job: { remotePath: { path: '/', absolute: true } } });
    const report = await settle(world);
    expect(report.outcome).toBe('ok');
    world.change({ job: { remotePath: { path: '../second', absolute: false } } });
    expectNothingLost(before);
  });

  it('at another directory here that is empty, and back again', async () => {
    await delivered();
    const first = world.job.local;
    const before = { here: world.here(), held: world.held() };
    await mkdir(world.directory.join('empty'));
    world.change({ job: { local: world.directory.join('empty') } });
    const report = await settle(world);
    expect(['ok', 'held']).toContain(report.outcome);
    world.change({ job: { local: first } });
    expectNothingLost(before);
    expect(await settle(world)).toMatchObject({ tally: { deleted: 0 } });
    expectNothingLost(before);
  });
});

describe.each(['push', 'pull'] as const)(
  'a job with extraneous deletions pointed elsewhere, %s',
  (direction) => {
    it('is held before anything is deleted', async () => {
      world = await openHostile('mirror', direction);
      const { source } = sides(direction);
      for (const path of ['a', 'b', 'd/c']) await source.put(path);
      await settle(world);
      world.change({
        job: {
          remotePath: { path: 'elsewhere', absolute: false },
          deletes: { ...TRASH, extraneous: true, limit: { percent: 10, files: 1 } },
        },
      });
      const put = direction === 'push' ? world.putRemote.bind(world) : world.put.bind(world);
      for (const path of ['theirs', 'd/theirs', 'more/theirs']) await put(path);
      if (direction === 'pull') await world.putRemote('a');
      const before = { here: world.here(), held: world.held() };
      expect(await world.run()).toMatchObject({
        outcome: 'held',
        tally: { deleted: 0 },
        failure: { code: 'first-run' },
      });
      expect(world.here()).toMatchObject(before.here);
      expect(world.held()).toMatchObject(before.held);
    });
  },
);
