/*
 * A camera: a device that knows eight verbs besides USER and PASS, and neither renames nor tells times. Fetching from
 * it has to work; sending to it has to come as near to safety as it can.
 */
import { rm } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { FtpServer } from '../support/ftp-server.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

const KNOWN = ['USER', 'PASS', 'TYPE', 'PASV', 'LIST', 'RETR', 'STOR', 'DELE', 'MKD', 'QUIT'];

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

/** Whatever else is said to it, it does not understand. */
function knowsLittle(server: FtpServer): void {
  server.script({
    on: new RegExp(`^(?!(${KNOWN.join('|')})\\b)[A-Z]+`),
    nth: 'every',
    do: { kind: 'reply', text: '502 Command not implemented.' },
  });
}

async function open(options: VoyageOptions = {}): Promise<void> {
  world = await World.open({ server: { maxConnections: 1, home: '/' }, ...options });
  knowsLittle(world.server);
}

describe('a camera', () => {
  it('gives its pictures', async () => {
    await open({ job: { direction: 'pull' } });
    await world.putRemote('DCIM/100/IMG_0001.JPG', 'picture one');
    await world.putRemote('DCIM/101/IMG_0002.JPG', 'picture two');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
    expect(world.here()).toEqual({
      'DCIM/100/IMG_0001.JPG': 'picture one',
      'DCIM/101/IMG_0002.JPG': 'picture two',
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, unchanged: 2 } });
  });

  it('takes files under their final names, and the run says so', async () => {
    await open();
    for (const name of ['a', 'b', 'sub/c']) await world.put(name, `content of ${name}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 3 } });
    world.expectConverged();
    expect(world.told('server.learned').map(({ message }) => message)).toContainEqual(
      expect.stringContaining('cannot rename'),
    );
    await world.put('a', 'another content', EARLIER + 5_000);
    const before = world.count('RNFR');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 2 } });
    world.expectConverged();
    expect(world.count('RNFR')).toBe(before);
  });

  it('what is cut off there is sent again, and an older version is not taken for the new one', async () => {
    await open();
    await world.put('a', 'old content');
    await world.run();
    await world.put('a', 'NEW CONTENT', EARLIER + 5_000);
    world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'reset' } });
    expect((await world.run()).outcome).not.toBe('ok');
    world.server.behave();
    knowsLittle(world.server);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    world.expectConverged();
  });

  it('what stands there is not removed where the file is gone here', async () => {
    await open();
    await world.put('a', 'kept');
    await world.put('b');
    await world.run();
    await world.put('a', 'changed', EARLIER + 5_000);
    world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'reset' } });
    await world.run();
    world.server.behave();
    knowsLittle(world.server);
    await rm(world.local('a'));
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.held()).toMatchObject({ a: 'kept' });
    expect(world.intents()).toEqual([]);
  });
});
