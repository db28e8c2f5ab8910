/*
 * Going on with what was cut off: whole runs against the scripted server, which cuts at a byte that the test names.
 * What counts: each byte travels once where the part is proven, and a part that is not what it was is never used.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync, truncateSync, utimesSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { isTemporary } from '../../src/plan/temporary.js';
import type { RunReport } from '../../src/run/context.js';
import { EARLIER, overwrite, type VoyageOptions, World } from '../run/support/voyage.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { type Feature, serverLike } from '../support/ftp-server/settings.js';

const MIB = 1024 * 1024;
const SIZE_BYTES = 5 * MIB + 12_345;
const CUT = 2 * MIB + 111;
const content = randomBytes(SIZE_BYTES);

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open({
    ...options,
    server: { ...options.server },
    settings: { connections: 1, ...options.settings },
  });
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

async function pull(options: VoyageOptions = {}): Promise<World> {
  return open({ ...options, job: { direction: 'pull', ...options.job } });
}

/** What the runs learned about the server. */
const learned = (): string[] => world.told('server.learned').map(({ message }) => message);

/** Where transfers were to begin; `REST 0` only takes an earlier REST back. */
const rests = (): string[] => world.of('REST').filter((offset) => offset !== '0');

/** The bytes that the server took in, or gave. */
const moved = (): number => world.server.journal.receivedBytes + world.server.journal.sentBytes;

function expectWhole(): void {
  expect(Buffer.from(world.held().f ?? '', 'latin1').equals(content)).toBe(true);
  world.expectConverged();
}

/** The path of the one temporary file in a directory. */
function partIn(directory: string): string | undefined {
  const name = readdirSync(directory).find(isTemporary);
  return name === undefined ? undefined : join(directory, name);
}

/** Calls `spoil` once with the part of the first attempt, when the second begins to ask for sizes. */
function betweenAttempts(directory: string, cutAt: number, spoil: (part: string) => void): () => number {
  let spoiled = 0;
  world.server.on('command', (verb) => {
    const part = verb === 'SIZE' && spoiled === 0 ? partIn(directory) : undefined;
    if (part === undefined || statSync(part).size !== cutAt) return;
    spoiled += 1;
    spoil(part);
  });
  return () => spoiled;
}

/** Puts another file in the place of one on the server, between two commands. */
function replaced(path: string, now: Buffer, mtimeMs: number): 1 {
  overwrite(world.remote(path), now);
  utimesSync(world.remote(path), mtimeMs / 1000, mtimeMs / 1000);
  return 1;
}

function withByte(offset: number): Buffer {
  const copy = Buffer.from(content);
  copy[offset] = (copy[offset] ?? 0) ^ 0xff;
  return copy;
}

describe('an upload that is cut', () => {
  const servers: readonly (readonly [string, VoyageOptions['server']])[] = [
    ['plain, hashes by HASH', { features: { HASH: true } }],
    ['plain, hashes by XCRC', { features: { XCRC: true } }],
    ['plain, no hashes', {}],
    ['explicit TLS, hashes by XSHA1', { security: 'explicit', features: { XSHA1: true } }],
    ['explicit TLS, no hashes', { security: 'explicit' }],
  ];

  test.each(servers)('%s: twice; each byte is sent once', async (_name, server) => {
    await open({ server: server ?? {} });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.script({ on: 'STOR', nth: 2, do: { kind: 'dataReset', atByte: MIB } });
    const watch = world.watchFinals({ f: [content] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, bytes: SIZE_BYTES } });
    const { journal } = world.server;
    expect(rests()).toEqual([String(CUT), String(CUT + MIB)]);
    expect(journal.receivedBytes).toBe(SIZE_BYTES);
    expect(new Set(world.of('STOR')).size).toBe(1);
    const hashes = Object.keys(server?.features ?? {});
    if (hashes.length === 0) {
      // The part is read back, each time as far as it goes.
      expect(world.count('RETR')).toBe(2);
      expect(journal.sentBytes).toBe(2 * CUT + MIB);
    } else {
      expect(world.count('RETR')).toBe(0);
      expect(hashes.map((verb) => world.count(verb))).toEqual([3]);
    }
    expectWhole();
    watch.expectWhole();
    expect(learned()).toEqual([]);
  });

  test.each<[string, Fault]>([
    ['the control connection is reset midway', { kind: 'controlEnd', atByte: CUT, how: 'reset' }],
    ['the control connection is closed midway', { kind: 'controlEnd', atByte: CUT, how: 'close' }],
    ['the server gives up', { kind: 'dataReset', atByte: CUT, reply: '426 Failure reading.' }],
    ['nothing moves any more', { kind: 'dataStall', atByte: CUT }],
  ])('%s: goes on from there', async (_name, fault) => {
    await open({
      server: { features: { HASH: true } },
      settings: { timeouts: { connectMs: 5_000, replyMs: 500, stallMs: 500, transferMs: 60_000 } },
    });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: fault });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests()).toEqual([String(CUT)]);
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expectWhole();
  });

  test('small files before and behind it arrive too, and are sent once', async () => {
    await open();
    for (const name of ['a', 'b', 'g', 'h', 'i']) await world.put(name, name.repeat(1_000));
    await world.put('f', content);
    world.server.script({ on: 'STOR', nth: 3, do: { kind: 'dataReset', atByte: CUT } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 6 } });
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES + 5_000);
    expect(rests()).toEqual([String(CUT)]);
    expectWhole();
  });

  test('in active mode it goes on as well', async () => {
    await open({ settings: { dataConnection: 'active' } });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests()).toEqual([String(CUT)]);
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expectWhole();
  });

  test('all of it had arrived when the connection was lost: nothing is sent again', async () => {
    await open();
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'reset', at: 'final' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect([world.stores, world.count('RETR')]).toEqual([1, 1]);
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expectWhole();
  });

  test('a short part is not worth the proof: sent anew under the same name', async () => {
    await open();
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: MIB - 1 } });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(rests().length + world.count('RETR') + world.count('APPE')).toBe(0);
    expect(new Set(world.of('STOR')).size).toBe(1);
    expect(moved()).toBe(MIB - 1 + SIZE_BYTES);
    expectWhole();
  });
});

describe('a server that cannot go on where it is told to', () => {
  const off = (...features: Feature[]): VoyageOptions['server'] => ({
    features: { HASH: true, ...Object.fromEntries(features.map((name) => [name, false])) },
  });

  test.each<[string, VoyageOptions['server'], Parameters<World['server']['script']>[0] | undefined]>([
    ['451 at STOR', off('REST-STOR'), undefined],
    ['500 at REST', off('REST'), undefined],
    ['501 at REST', off(), { on: 'REST', nth: 'every', do: { kind: 'reply', text: '501 No.' } }],
    ['502 at REST', off(), { on: 'REST', nth: 'every', do: { kind: 'reply', text: '502 No.' } }],
    ['504 at REST', off(), { on: 'REST', nth: 'every', do: { kind: 'reply', text: '504 No.' } }],
    ['554 at REST', off(), { on: 'REST', nth: 'every', do: { kind: 'reply', text: '554 No.' } }],
  ])('%s: APPE is used, and remembered', async (_name, server, rule) => {
    await open({ server: server ?? {} });
    if (rule !== undefined) world.server.script(rule);
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.script({ on: 'APPE', do: { kind: 'dataReset', atByte: MIB } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests().length).toBe(1);
    expect(world.count('APPE')).toBe(2);
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expect(learned()).toEqual([expect.stringContaining('APPE is used')]);
    expectWhole();
  });

  test.each<[string, VoyageOptions['server']]>([
    ['no REST before STOR', off('REST-STOR', 'APPE')],
    ['no REST at all', off('REST', 'APPE')],
  ])('%s, and no APPE: sent from the beginning, and not tried again', async (_name, server) => {
    await open({ server: server ?? {} });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.script({ on: 'STOR', path: '**/.ferryd-*', nth: 3, do: { kind: 'dataReset', atByte: CUT } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect([rests().length, world.count('APPE')]).toEqual([1, 1]);
    expect(learned()).toEqual([
      expect.stringContaining('APPE is used'),
      expect.stringContaining('sent from the beginning'),
    ]);
    expectWhole();
  });

  test('REST is answered well and ignored: the mismatch is found, and the file arrives whole all the same', async () => {
    await open();
    await world.put('f', content);
    world.server.script({ on: 'REST', nth: 'every', do: { kind: 'reply', text: '350 Noted.' } });
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    const watch = world.watchFinals({ f: [content] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 }, failure: undefined });
    expect(learned()).toEqual([expect.stringContaining('sent from the beginning')]);
    expect(world.told('file.retry').map(({ code }) => code)).toContain('mismatch');
    expect(moved()).toBe(CUT + CUT + (SIZE_BYTES - CUT) + SIZE_BYTES);
    // What did not become the file is not trusted any more, not even its name.
    expect(new Set(world.of('STOR')).size).toBe(2);
    expectWhole();
    watch.expectWhole();
  });

  test('APPE that begins anew: the mismatch is found, and the file arrives whole all the same', async () => {
    await open({ server: off('REST-STOR') ?? {} });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.on('command', (verb) => {
      const part = verb === 'APPE' ? partIn(world.remote('')) : undefined;
      if (part !== undefined) truncateSync(part, 0);
    });
    const watch = world.watchFinals({ f: [content] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 }, failure: undefined });
    expect(world.count('APPE')).toBe(1);
    expect(learned().at(-1)).toContain('sent from the beginning');
    expectWhole();
    watch.expectWhole();
  });

  test('`verify: size`: the part is proven all the same, by reading it back', async () => {
    await open({ server: { features: { HASH: true } }, settings: { verify: 'size' } });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect([world.count('HASH'), world.count('RETR')]).toEqual([0, 1]);
    expect(rests()).toEqual([String(CUT)]);
    expectWhole();
  });

  test('what was learned holds for the next run', async () => {
    await open({ server: off('REST-STOR') ?? {} });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    await world.run();
    await world.put('f', Buffer.concat([content, content]), EARLIER + 60_000);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    const before = rests().length;
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests()).toHaveLength(before);
    expect(world.count('APPE')).toBe(2);
    world.expectConverged();
  });
});

describe('a part that is not what it was', () => {
  const spoils: Readonly<Record<string, (part: string) => void>> = {
    'has one other byte': (part) => overwrite(part, withByte(CUT - 1).subarray(0, CUT)),
    'has other bytes at its beginning': (part) => overwrite(part, withByte(0).subarray(0, CUT)),
    grew: (part) => overwrite(part, Buffer.concat([content.subarray(0, CUT), Buffer.alloc(77)])),
    'is larger than the file': (part) => overwrite(part, Buffer.concat([content, Buffer.from('x')])),
    'shrank below what is worth it': (part) => truncateSync(part, 1_000),
    'is empty': (part) => truncateSync(part, 0),
  };

  test.each(
    Object.keys(spoils).flatMap((what) => [
      [what, 'hashes', { HASH: true }] as const,
      [what, 'no hashes', {}] as const,
    ]),
  )('%s (%s): is never gone on with', async (what, _hashes, features) => {
    await open({ server: { features } });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    const spoiled = betweenAttempts(world.remote(''), CUT, (part) => spoils[what]?.(part));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(spoiled()).toBe(1);
    expect([rests().length, world.count('APPE')]).toEqual([0, 0]);
    expect(world.server.journal.receivedBytes).toBe(CUT + SIZE_BYTES);
    expectWhole();
  });

  test.each([
    ['its hash tells', { HASH: true }],
    ['reading it back tells', {}],
  ])('is as large as the file, and another: %s, and it is sent anew at once', async (_how, features) => {
    await open({ server: { features } });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    betweenAttempts(world.remote(''), CUT, (part) => overwrite(part, withByte(SIZE_BYTES - 1)));
    const watch = world.watchFinals({ f: [content] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 }, failure: undefined });
    expect(world.told('file.retry').map(({ code }) => code)).toEqual(['426']);
    expect(world.of('STOR')).toHaveLength(2);
    expectWhole();
    watch.expectWhole();
  });

  test.each([
    ['a part', CUT],
    ['all of it', SIZE_BYTES],
  ])(
    '%s, on a server where uploads may not be read: it is sent again, and nobody blames the file',
    async (_what, cutAt) => {
      await open();
      await world.put('f', content);
      world.server.script({ on: 'RETR', nth: 'every', do: { kind: 'reply', text: '550 Uploads only.' } });
      world.server.script(
        cutAt === SIZE_BYTES
          ? { on: 'STOR', do: { kind: 'reset', at: 'final' } }
          : { on: 'STOR', do: { kind: 'dataReset', atByte: cutAt } },
      );
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
      expect(world.of('STOR')).toHaveLength(2);
      expect(world.of('RETR')).toHaveLength(1);
      expectWhole();
    },
  );

  test('shrank, but is still worth it: goes on from where it ends now', async () => {
    await open({ server: { features: { HASH: true } } });
    await world.put('f', content);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    betweenAttempts(world.remote(''), CUT, (part) => truncateSync(part, MIB + 5));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests()).toEqual([String(MIB + 5)]);
    expectWhole();
  });

  test('is of a file that was changed since: that one is sent under another name, and the part goes', async () => {
    await open({ server: { features: { HASH: true } } });
    await world.put('f', content);
    const changed = Buffer.from(content).reverse();
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    betweenAttempts(world.remote(''), CUT, () => overwrite(world.local('f'), changed));
    const watch = world.watchFinals({ f: [changed] });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    const [first, second, ...more] = world.of('STOR');
    expect(more).toEqual([]);
    expect(second).not.toBe(first);
    expect(world.of('DELE')).toEqual([first]);
    expect(rests().length).toBe(0);
    expect(Buffer.from(world.held().f ?? '', 'latin1').equals(changed)).toBe(true);
    world.expectConverged();
    watch.expectWhole();
  });
});

describe('a run that ended in the middle of a large file', () => {
  /** A run that is cut off hard while the first file is on its way. */
  async function cutOff(): Promise<void> {
    const cut = new AbortController();
    const rule = world.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: CUT } });
    const running = world.run({ cut: cut.signal });
    await world.server.until((journal) => journal.receivedBytes >= CUT);
    cut.abort();
    expect(await running).toMatchObject({ outcome: 'interrupted' });
    rule.remove();
    await world.server.until((journal) => journal.open === 0);
    expect(world.intents()).toHaveLength(1);
    expect(world.temporaries()).toHaveLength(1);
  }

  test.each([
    ['hashes', { HASH: true }],
    ['no hashes', {}],
  ])('%s: the next run goes on with it', async (_name, features) => {
    await open({ server: { features } });
    await world.put('f', content);
    await cutOff();
    world.closeLedger();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
    expect(world.told('run.recovered')).toMatchObject([
      { path: 'f', message: expect.stringContaining('gone on with') },
    ]);
    expect(rests()).toEqual([String(CUT)]);
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expectWhole();
    expect((await world.run()).tally).toMatchObject({ uploaded: 0, unchanged: 1 });
  });

  test('the file is not of the job any more: what had arrived is removed at the end', async () => {
    await open();
    await world.put('f', content);
    await cutOff();
    await world.put('other');
    world.change({ job: { exclude: ['f'] } });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(Object.keys(world.held())).toEqual(['other']);
    expect(world.intents()).toEqual([]);
    expect(rests().length).toBe(0);
  });

  test('the file is another by now: what had arrived is removed, and the new one sent', async () => {
    await open();
    await world.put('f', content);
    await cutOff();
    await world.put('f', 'short now', EARLIER + 60_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.held()).toEqual({ f: 'short now' });
    expect(rests().length).toBe(0);
    world.expectConverged();
  });

  test('the file is gone: what had arrived is removed', async () => {
    await open();
    await world.put('f', content);
    await cutOff();
    await world.put('other');
    await rm(world.local('f'));
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(Object.keys(world.held())).toEqual(['other']);
    expect(world.intents()).toEqual([]);
  });

  test('three runs in a row are cut off: the fourth sends what is left', async () => {
    await open({ server: { features: { HASH: true } } });
    await world.put('f', content);
    for (const atByte of [CUT, MIB, MIB / 2]) {
      const cut = new AbortController();
      const rule = world.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte } });
      const before = world.server.journal.receivedBytes;
      const running = world.run({ cut: cut.signal });
      await world.server.until((journal) => journal.receivedBytes >= before + atByte);
      cut.abort();
      await running;
      rule.remove();
      await world.server.until((journal) => journal.open === 0);
    }
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(rests()).toEqual([CUT, CUT + MIB, CUT + MIB + MIB / 2].map(String));
    expect(world.server.journal.receivedBytes).toBe(SIZE_BYTES);
    expectWhole();
  });
});

describe('a download that is cut', () => {
  /** How a download ends once all the bytes up to the cut are here. */
  type Cut =
    | 'the server gives up'
    | 'both connections are reset'
    | 'both are closed'
    | 'nothing moves any more';

  /** Cuts the nth download when so many bytes of it have been written here. */
  function cutDownload(nth: number, atByte: number, how: Cut, hereBefore = 0): Promise<void> {
    const { server } = world;
    server.script({ on: 'RETR', nth, do: { kind: 'dataStall', atByte } });
    return vi.waitFor(
      async () => {
        const part = partIn(world.local(''));
        expect(part === undefined ? 0 : statSync(part).size).toBe(hereBefore + atByte);
        if (how === 'the server gives up') await server.push('426 Failure writing.');
        if (how !== 'nothing moves any more')
          server.drop(how === 'both connections are reset' ? 'reset' : 'close');
      },
      { timeout: 10_000, interval: 5 },
    );
  }

  async function runWithCut(...cut: Parameters<typeof cutDownload>): Promise<RunReport> {
    const cutting = cutDownload(...cut);
    const [report] = await Promise.all([world.run(), cutting]);
    return report;
  }

  test.each<[Cut, 'plain' | 'explicit']>([
    ['the server gives up', 'plain'],
    ['the server gives up', 'explicit'],
    ['both connections are reset', 'plain'],
    ['both connections are reset', 'explicit'],
    ['both are closed', 'plain'],
    ['both are closed', 'explicit'],
    ['nothing moves any more', 'plain'],
    ['nothing moves any more', 'explicit'],
  ])('%s (%s): only the rest is fetched', async (how, security) => {
    const stallMs = how === 'nothing moves any more' ? 500 : 5_000;
    await pull({
      server: { security },
      settings: { timeouts: { connectMs: 5_000, replyMs: 5_000, stallMs, transferMs: 60_000 } },
    });
    await world.putRemote('f', content);
    expect(await runWithCut(1, CUT, how)).toMatchObject({
      outcome: 'ok',
      tally: { downloaded: 1, bytes: SIZE_BYTES },
    });
    expect(rests()).toEqual([String(CUT)]);
    expect(world.count('RETR')).toBe(2);
    expect(world.server.journal.sentBytes).toBe(SIZE_BYTES);
    expectWhole();
    expect((await world.run()).tally).toMatchObject({ downloaded: 0, unchanged: 1 });
  });

  test('twice, and in active mode', async () => {
    await pull({ settings: { dataConnection: 'active' } });
    await world.putRemote('f', content);
    const cutting = cutDownload(1, CUT, 'the server gives up').then(() =>
      cutDownload(1, MIB, 'both connections are reset', CUT),
    );
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    await cutting;
    expect(rests()).toEqual([String(CUT), String(CUT + MIB)]);
    expect(world.server.journal.sentBytes).toBe(SIZE_BYTES);
    expectWhole();
  });

  test.each<[string, (part: string) => void]>([
    ['has one other byte', (part) => overwrite(part, withByte(CUT - 1).subarray(0, CUT))],
    ['grew', (part) => overwrite(part, content.subarray(0, CUT + 1))],
    ['shrank', (part) => truncateSync(part, CUT - 1)],
  ])('what is here already %s: begun anew', async (_what, spoil) => {
    await pull();
    await world.putRemote('f', content);
    const spoiled = betweenAttempts(world.local(''), CUT, spoil);
    expect(await runWithCut(1, CUT, 'the server gives up')).toMatchObject({
      outcome: 'ok',
      tally: { downloaded: 1 },
    });
    expect(spoiled()).toBe(1);
    expect(rests().length).toBe(0);
    expect(world.server.journal.sentBytes).toBe(CUT + SIZE_BYTES);
    expectWhole();
  });

  test('a short part is not kept', async () => {
    await pull();
    await world.putRemote('f', content);
    expect(await runWithCut(1, MIB - 1, 'the server gives up')).toMatchObject({
      outcome: 'ok',
      tally: { downloaded: 1 },
    });
    expect(rests().length).toBe(0);
    expect(world.server.journal.sentBytes).toBe(MIB - 1 + SIZE_BYTES);
    expectWhole();
  });

  const other = Buffer.from(content).reverse();

  test.each<[string, Buffer, number]>([
    ['another size', Buffer.concat([other, other]), EARLIER],
    ['another time', other, EARLIER + 60_000],
    ['a smaller size than what is here', other.subarray(0, MIB), EARLIER],
  ])('the file has %s by now: begun anew, and never mixed', async (_what, now, mtimeMs) => {
    await pull();
    await world.putRemote('f', content);
    const cutting = cutDownload(1, CUT, 'the server gives up');
    let changed = 0;
    const seen: string[] = [];
    const run = world.run({
      listener: ({ event }) => {
        if (event === 'file.retry') changed = replaced('f', now, mtimeMs);
        const here = world.here().f;
        if (here !== undefined) seen.push(here);
      },
    });
    expect(await run).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    await cutting;
    expect(changed).toBe(1);
    expect(rests().length).toBe(0);
    for (const here of seen) expect(here === now.toString('latin1')).toBe(true);
    expect(world.here().f === now.toString('latin1')).toBe(true);
    await world.run();
    world.expectConverged();
    expect((await world.run()).tally).toMatchObject({ downloaded: 0, unchanged: 1 });
  });

  test('the file has other bytes behind the same size and time: the hash tells, and it is begun anew', async () => {
    await pull({ server: { features: { HASH: true } } });
    await world.putRemote('f', content);
    const cutting = cutDownload(1, CUT, 'the server gives up');
    let changed = 0;
    const report = await world.run({
      listener: ({ event }) => {
        if (event === 'file.retry' && changed === 0) changed = replaced('f', other, EARLIER);
      },
    });
    await cutting;
    expect(changed).toBe(1);
    expect(report).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 }, failure: undefined });
    expect(world.told('file.retry').map(({ code }) => code)).toEqual(['426', 'mismatch']);
    expect(world.here().f === other.toString('latin1')).toBe(true);
    world.expectConverged();
    expect(learned()).toEqual([]);
  });

  test('a server without REST sends all of it; what is here is passed over', async () => {
    await pull({ server: { features: { REST: false } } });
    await world.putRemote('f', content);
    expect(await runWithCut(1, CUT, 'the server gives up')).toMatchObject({
      outcome: 'ok',
      tally: { downloaded: 1, bytes: SIZE_BYTES },
    });
    expect(rests().length).toBe(1);
    expect(world.server.journal.sentBytes).toBe(CUT + SIZE_BYTES);
    expect(learned()).toEqual([expect.stringContaining('begins anew')]);
    expectWhole();
  });

  test('REST is answered well and ignored: the mismatch is found, and the file arrives whole all the same', async () => {
    await pull();
    await world.putRemote('f', content);
    world.server.script({ on: 'REST', nth: 'every', do: { kind: 'reply', text: '350 Noted.' } });
    expect(await runWithCut(1, CUT, 'the server gives up')).toMatchObject({
      outcome: 'ok',
      tally: { downloaded: 1 },
      failure: undefined,
    });
    expect(world.told('file.retry').map(({ code }) => code)).toEqual(['426', 'mismatch']);
    expect(learned()).toEqual([expect.stringContaining('begins anew')]);
    expectWhole();
  });

  test('and then the run ends: nothing of it stays here', async () => {
    await pull({ job: { retries: { attempts: 2, firstDelayMs: 4, maxDelayMs: 16 } } });
    await world.putRemote('f', content);
    world.server.script({
      on: 'RETR',
      nth: 'every',
      do: { kind: 'dataClose', atByte: CUT, reply: '426 Cut.' },
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 1 } });
    expect(world.here()).toEqual({});
    expect(world.intents()).toEqual([]);
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expectWhole();
  });
});

describe('known servers, as far as the scripted one can be like them', () => {
  const likes = ['vsftpd', 'proftpd', 'pure-ftpd', 'pyftpdlib', 'iis', 'printer'] as const;

  test.each(likes.flatMap((like) => [[like, 'plain'] as const, [like, 'explicit'] as const]))(
    '%s (%s): a push that is cut twice arrives, as does a pull',
    async (like, security) => {
      await open({
        server: { security, ...serverLike(like) },
        job: { retries: { attempts: 6, firstDelayMs: 2, maxDelayMs: 8 } },
        settings: { timeouts: { connectMs: 2_000, replyMs: 2_000, stallMs: 2_000, transferMs: 60_000 } },
      });
      await world.put('f', content);
      for (const name of ['a', 'b', 'y', 'z']) await world.put(name);
      world.server.script({ on: 'STOR', path: '**/*', nth: 4, do: { kind: 'dataReset', atByte: CUT } });
      world.server.script({ on: /^(STOR|APPE)/, nth: 6, do: { kind: 'dataReset', atByte: MIB } });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 5, skipped: 0 } });
      world.expectConverged();
      const back = world.directory.join('back');
      await mkdir(back);
      world.change({ job: { name: 'back', direction: 'pull', local: back } });
      world.server.script({
        on: 'RETR',
        path: '**/f',
        nth: 1,
        do: { kind: 'controlEnd', atByte: CUT, how: 'close' },
      });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 5, skipped: 0 } });
      expect((await readFile(join(back, 'f'))).equals(content)).toBe(true);
      expect(readdirSync(back).sort()).toEqual(['a', 'b', 'f', 'y', 'z']);
      expect(world.intents()).toEqual([]);
    },
  );
});
