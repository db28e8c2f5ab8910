/*
 * Clocks that are wrong or jump: this machine's, the server's, and the zone in which a server's LIST tells its times.
 * None of it makes a run send or fetch a file again that has not changed, or delete one.
 */
import { readdirSync, utimesSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { isTemporary } from '../../src/plan/temporary.js';
import { type FtpServerOptions, serverLike } from '../support/ftp-server/settings.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import { inPlace, inTrashOf, type Mode, openHostile, settle, TRASH } from './support/hostile.js';
import { EARLIER, PASSWORD, type World } from './support/voyage.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;

let world: World;
let second: FtpServer | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await second?.close();
  second = undefined;
  await world[Symbol.asyncDispose]();
});

/** From now on this process's clock is so far from the true one; files keep the times of the system's. */
function jump(byMs: number): void {
  vi.restoreAllMocks();
  const now = Date.now.bind(Date);
  vi.spyOn(Date, 'now').mockImplementation(() => now() + byMs);
}

/** All that keeps both sides as they are. */
const KEEPING: readonly (readonly [Mode, 'push' | 'pull'])[] = [
  ['copy', 'push'],
  ['copy', 'pull'],
  ['mirror', 'push'],
  ['mirror', 'pull'],
  ['two-way', 'push'],
  ['two-way', 'pull'],
];

/** Nothing was moved, and nothing deleted, in the runs since. */
async function expectQuiet(transfers: number): Promise<void> {
  for (let run = 0; run < 2; run += 1) {
    const { outcome, tally } = await world.run();
    expect({ outcome, ...tally }).toMatchObject({
      outcome: 'ok',
      uploaded: 0,
      downloaded: 0,
      deleted: 0,
      renamed: 0,
      skipped: 0,
    });
  }
  expect(world.count('STOR') + world.count('RETR')).toBe(transfers);
}

async function delivered(
  mode: Mode,
  direction: 'push' | 'pull',
  server: Partial<FtpServerOptions> = {},
): Promise<number> {
  world = await openHostile(mode, direction, { server });
  const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
  for (const path of ['a', 'd/b', 'd/e/c']) await put(path);
  await put('recent', 'recent', Date.now());
  await settle(world);
  return world.count('STOR') + world.count('RETR');
}

describe.each(KEEPING)('the clock here, %s %s', (mode, direction) => {
  it.each([
    ['a year back', -YEAR_MS],
    ['a year ahead', YEAR_MS],
    ['an hour back', -HOUR_MS],
    ['an hour ahead', HOUR_MS],
  ])('jumps %s, and is put right again', async (_how, byMs) => {
    const transfers = await delivered(mode, direction);
    jump(byMs);
    await expectQuiet(transfers);
    vi.restoreAllMocks();
    await expectQuiet(transfers);
  });

  it('was a year ahead at the first delivery', async () => {
    jump(YEAR_MS);
    const transfers = await delivered(mode, direction);
    vi.restoreAllMocks();
    await expectQuiet(transfers);
  });
});

describe.each(KEEPING)("the server's clock, %s %s", (mode, direction) => {
  it.each([5, -7])('is %i hours off, and it takes no times', async (hours) => {
    world = await openHostile(mode, direction, {
      server: { features: { MFMT: false, 'MDTM-SET': false, 'SITE-UTIME': false } },
    });
    // What it stores has the time that it believes it is.
    world.server.on('reply', (text, verb) => {
      if (verb !== 'STOR' || !text.startsWith('226')) return;
      const seconds = Date.now() / 1000 + hours * 3600;
      for (const name of readdirSync(world.remote('')))
        if (isTemporary(name)) utimesSync(world.remote(name), seconds, seconds);
    });
    const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
    for (const path of ['a', 'b', 'c']) await put(path, path, Date.now() - HOUR_MS);
    await settle(world);
    await expectQuiet(world.count('STOR') + world.count('RETR'));
    await put('a', 'newer than before', Date.now());
    const { tally } = await world.run();
    expect(tally).toMatchObject({
      [direction === 'push' ? 'uploaded' : 'downloaded']: 1,
      deleted: 0,
      renamed: 0,
    });
  });
});

describe.each(KEEPING)('the zone of LIST, %s %s', (mode, direction) => {
  it.each<[string, Partial<FtpServerOptions>]>([
    ['vsftpd', serverLike('vsftpd')],
    ['IIS', serverLike('iis')],
    ['one that has nothing but LIST', serverLike('windows-ce')],
  ])('changes, as in spring, on one like %s', async (_name, like) => {
    const transfers = await delivered(mode, direction, like);
    await world.server.close();
    second = await startFtpServer({
      root: world.server.root,
      port: world.server.port,
      users: { ferry: PASSWORD },
      ...like,
      listingOffsetMinutes: 60,
    });
    for (let run = 0; run < 2; run += 1) {
      const { outcome, tally } = await world.run();
      expect({ outcome, ...tally }).toMatchObject({
        outcome: 'ok',
        uploaded: 0,
        downloaded: 0,
        deleted: 0,
        renamed: 0,
      });
    }
    expect(transfers).toBeGreaterThan(0);
    expect(second.journal.of('STOR').length + second.journal.of('RETR').length).toBe(0);
  });
});

describe('the trash and the clock', () => {
  /** A file in the trash since some days, and a run that has looked at the trash since. */
  async function trashed(direction: 'push' | 'pull'): Promise<void> {
    world = await openHostile('mirror', direction, { job: { deletes: { ...TRASH, keepMs: 30 * DAY_MS } } });
    const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
    for (const path of ['a', 'b']) await put(path);
    await world.run();
    await rm(direction === 'push' ? world.local('b') : world.remote('b'));
    expect((await world.run()).tally).toMatchObject({ deleted: 1 });
  }

  const trash = (direction: 'push' | 'pull'): Record<string, string> =>
    inTrashOf(direction === 'push' ? world.held() : world.here());

  it.each(['push', 'pull'] as const)(
    '%s: a clock that jumps a year ahead does not empty it',
    async (direction) => {
      await trashed(direction);
      jump(YEAR_MS);
      await world.run();
      await world.run();
      expect(trash(direction)).toEqual({ b: 'b' });
      vi.restoreAllMocks();
      await world.run();
      jump(2 * DAY_MS);
      await world.run();
      expect(trash(direction)).toEqual({ b: 'b' });
    },
  );

  it('a machine that was off for so long empties it a day later', async () => {
    await trashed('push');
    jump(YEAR_MS);
    await world.run();
    jump(YEAR_MS + DAY_MS / 2);
    await world.run();
    expect(trash('push')).toEqual({ b: 'b' });
    jump(YEAR_MS + DAY_MS + HOUR_MS);
    await world.run();
    expect(trash('push')).toEqual({});
    expect(inPlace(world.held())).toEqual({ a: 'a' });
    expect(world.told('trash.pruned')).toHaveLength(1);
  });

  it('day after day it is emptied of what is too old', async () => {
    await trashed('push');
    for (let day = 1; day <= 29; day += 7) {
      jump(day * DAY_MS);
      await world.run();
    }
    expect(trash('push')).toEqual({ b: 'b' });
    jump(36 * DAY_MS);
    await world.run();
    expect(trash('push')).toEqual({});
  });

  it('a clock that was ahead when it was looked at does not keep it from being looked at', async () => {
    jump(YEAR_MS);
    await trashed('push');
    await world.put('a', 'newer', EARLIER + 60_000);
    await world.run();
    vi.restoreAllMocks();
    await world.run();
    jump(DAY_MS + HOUR_MS);
    await world.run();
    expect(world.ledger.coveredUntil('nightly', 'trash')).toBeLessThan(Date.now() + DAY_MS + HOUR_MS);
    expect(trash('push')).toEqual({ a: 'a', b: 'b' });
  });
});
