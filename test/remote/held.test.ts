/*
 * Parts of uploads that a server does not give out of its hands: the session that wrote them is gone, and the server
 * does not know it yet. vsftpd keeps them locked for minutes, lets whoever asks for them wait without a word, and
 * empties them for whoever waited. So what is of no use is removed before the file is sent again, and a part that the
 * server does not open is not waited for.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type VoyageOptions, World } from '../run/support/voyage.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { RawClient } from '../support/raw-client.js';
import { describeReal } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { deliveryOf, sourceOf } from './contract.js';
import { RealBerth } from './real-berth.js';

const MIB = 1024 * 1024;
const content = randomBytes(3 * MIB + 77);
const CUT = 2 * MIB + 5;
const TIMEOUTS = { connectMs: 400, replyMs: 400, stallMs: 400, transferMs: 60_000 } as const;

let world: World | undefined;
afterEach(async () => {
  await world?.[Symbol.asyncDispose]();
  world = undefined;
});

/** A run that pushes one file. */
async function open(server: VoyageOptions['server'] = {}): Promise<World> {
  world = await World.open({ server: { ...server }, settings: { connections: 1, timeouts: TIMEOUTS } });
  await mkdir(world.remote(''), { recursive: true });
  await world.put('f', content);
  return world;
}

/** Codes of the attempts that failed. */
const failed = (world: World): string[] => world.told('file.retry').map(({ code }) => code);

function expectDelivered(world: World): void {
  expect(Buffer.from(world.held().f ?? '', 'latin1').equals(content)).toBe(true);
  world.expectConverged();
}

describe('a part that the server does not open', () => {
  test.each<[string, NonNullable<VoyageOptions['server']>, 'RETR' | 'STOR', number]>([
    ['read back, plain', {}, 'RETR', 1],
    ['read back, TLS', { security: 'explicit' }, 'RETR', 1],
    ['gone on with, plain', { features: { HASH: true } }, 'STOR', 2],
    ['gone on with, TLS', { security: 'explicit', features: { HASH: true } }, 'STOR', 2],
  ])('%s: the file is sent anew under another name', async (_, server, on, nth) => {
    const world = await open(server);
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.script({ on, nth, do: { kind: 'delay', ms: 3_000 } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(failed(world)).toHaveLength(2);
    expect(failed(world)[1]).toBe('HELD');
    const names = new Set(world.of('STOR'));
    expect(names.size).toBe(2);
    expect(world.of('DELE')).toEqual([[...names][0]]);
    expectDelivered(world);
  });

  test.each<[string, Fault]>([
    ['answered and then silent', { kind: 'dataStall', atByte: 0 }],
    ['on a connection that is cut', { kind: 'reset' }],
  ])('%s is another trouble: the part stays, and is gone on with', async (_, fault) => {
    const world = await open({ features: { HASH: true } });
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: CUT } });
    world.server.script({ on: 'STOR', nth: 2, do: fault });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(failed(world)).not.toContain('HELD');
    expect(new Set(world.of('STOR')).size).toBe(1);
    expect(world.of('REST').filter((offset) => offset !== '0')).toContain(String(CUT));
    expect(world.count('DELE')).toBe(0);
    expectDelivered(world);
  });
});

describe('a part that is of no use', () => {
  test('is removed before the file is sent again', async () => {
    const world = await open();
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 1_000 } });
    const order: string[] = [];
    world.server.on('command', (verb) => {
      if (verb === 'STOR' || verb === 'DELE') order.push(verb);
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(order).toEqual(['STOR', 'DELE', 'STOR']);
    expect(new Set([...world.of('STOR'), ...world.of('DELE')]).size).toBe(1);
    expectDelivered(world);
  });

  test('is written over where nothing may be deleted', async () => {
    const world = await open();
    world.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 1_000 } });
    world.server.script({ on: 'DELE', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.count('STOR')).toBe(2);
    expectDelivered(world);
  });
});

describeReal('vsftpd', 'vsftpd', () => {
  test('what a session that was given up waits to empty is not what was delivered', async () => {
    await using berth = await RealBerth.open(() => startVsftpd({}), 'plain');
    const { server, remote, disk } = berth;
    const delivery = { ...deliveryOf('f', sourceOf(content)), part: 'possible' } as const;
    const store = `STOR dumps/${delivery.temporary}\r\n`;
    const session = async (): Promise<{ readonly client: RawClient; readonly port: number }> => {
      const client = await RawClient.open(server.port);
      await client.login(server.user, server.password);
      return { client, port: await client.passive() };
    };
    // Cut off before its data connection came: its server waits for that, with the file locked.
    const first = await session();
    await using holder = first.client;
    holder.send(store);
    // The second attempt: waits for the lock, to empty the file then.
    const second = await session();
    await using waiter = second.client;
    const data = await waiter.connectData(second.port);
    await locked(join(disk, delivery.temporary), 1);
    waiter.send(store);
    await locked(join(disk, delivery.temporary), 2);

    await remote.deliver(delivery);
    expect((await readFile(join(disk, 'f'))).equals(content)).toBe(true);
    // Now the first one ends, and the second one's turn has come.
    (await holder.connectData(first.port)).destroy();
    expect(await waiter.reply()).toMatch(/^150 /);
    expect((await readFile(join(disk, 'f'))).equals(content)).toBe(true);
    data.destroy();
  });
});

/** Waits until so many sessions hold the lock of a file, or wait for it. */
async function locked(path: string, count: number): Promise<void> {
  await vi.waitFor(
    async () => {
      const { ino } = await stat(path);
      const lines = (await readFile('/proc/locks', 'latin1')).split('\n');
      expect(lines.filter((line) => line.includes(`:${ino} `))).toHaveLength(count);
    },
    { timeout: 10_000, interval: 10 },
  );
}
