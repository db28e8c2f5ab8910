/* Whole runs of a job that keeps permissions, in both directions, and of one that leaves them. */
import { chmodSync } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { serverLike } from '../support/ftp-server/settings.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

const MODES: Readonly<Record<string, number>> = {
  private: 0o600,
  'sub/script': 0o755,
  'sub/read-only': 0o444,
  shared: 0o664,
  'set-uid': 0o4750,
};

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open({ ...options, job: { permissions: 'keep', ...options.job } });
  return world;
}

const bits = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777;

describe.each(['plain', 'explicit'] as const)('a push over %s', (security) => {
  it('sets what the source has, never setuid, before the file has its name', async () => {
    await open({ server: { security } });
    for (const [path, mode] of Object.entries(MODES)) {
      await world.put(path);
      await chmod(world.local(path), mode);
    }
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 5, skipped: 0 } });
    for (const [path, mode] of Object.entries(MODES))
      expect([path, await bits(world.remote(path))]).toEqual([path, mode & 0o777]);
    world.expectConverged();
    for (const argument of world.of('SITE'))
      expect(argument).toMatch(/^CHMOD [0-7]{3} \S*\.ferryd-\S+\.part$/);
    expect(world.told('server.learned')).toEqual([]);
  });

  it('sends a change of rights with the next change of content, and not by itself', async () => {
    await open({ server: { security } });
    await world.put('a');
    await chmod(world.local('a'), 0o600);
    await world.run();
    await chmod(world.local('a'), 0o640);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 1 } });
    expect(await bits(world.remote('a'))).toBe(0o600);
    await world.put('a', 'newer', EARLIER + 5_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(await bits(world.remote('a'))).toBe(0o640);
  });

  it('goes on without where the server refuses, says so once, and remembers it', async () => {
    await open({ server: { security, features: { 'SITE-CHMOD': false } } });
    for (const path of Object.keys(MODES)) await world.put(path);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 5, skipped: 0 } });
    world.expectConverged();
    const learned = world.told('server.learned').filter(({ message }) => message.includes('SITE CHMOD'));
    expect(learned).toHaveLength(1);
    const asked = world.count('SITE');
    await world.put('more');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.count('SITE')).toBe(asked);
  });
});

describe('a push', () => {
  it('that leaves permissions asks for none', async () => {
    await open({ job: { permissions: 'leave' } });
    await world.put('a');
    await chmod(world.local('a'), 0o600);
    await world.run();
    expect(world.held()).toEqual({ a: 'a' });
    expect(world.count('SITE')).toBe(0);
  });

  it('a file whose rights are changed while it is sent is sent again with the new ones', async () => {
    await open();
    await world.put('a');
    await chmod(world.local('a'), 0o600);
    await mkdir(world.remote(''));
    let changed = 0;
    world.server.on('command', (verb) => {
      if (verb === 'STOR' && changed === 0) chmodSync(world.local('a'), 0o644);
      changed += verb === 'STOR' ? 1 : 0;
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.told('file.retry').map(({ code }) => code)).toEqual(['CHANGED']);
    expect(world.stores).toBe(2);
    expect(await bits(world.remote('a'))).toBe(0o644);
    world.expectConverged();
  });
});

describe('a pull', () => {
  async function fill(): Promise<void> {
    for (const [path, mode] of Object.entries(MODES)) {
      await world.putRemote(path);
      await chmod(world.remote(path), mode);
    }
  }

  it.each([
    ['MLSD', {}],
    ['LIST in the form of ls -l', serverLike('vsftpd')],
  ])('over %s sets what the listing shows, never setuid', async (_, like) => {
    await open({ server: like, job: { direction: 'pull' } });
    await fill();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 5, skipped: 0 } });
    for (const [path, mode] of Object.entries(MODES))
      expect([path, await bits(world.local(path))]).toEqual([path, mode & 0o777]);
    world.expectConverged();
    // A newer version over one that nobody may write.
    await chmod(world.remote('sub/read-only'), 0o600);
    await world.putRemote('sub/read-only', 'newer', EARLIER + 5_000);
    await chmod(world.remote('sub/read-only'), 0o440);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1, unchanged: 4 } });
    expect(await bits(world.local('sub/read-only'))).toBe(0o440);
  });

  it('gives those of a new file where the listing shows none, or nobody wants them', async () => {
    await open({ server: serverLike('iis'), job: { direction: 'pull' } });
    await fill();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 5 } });
    const own = 0o644 & ~process.umask();
    for (const path of Object.keys(MODES)) expect(await bits(world.local(path))).toBe(own);
    await world.putRemote('later');
    await chmod(world.remote('later'), 0o600);
    world.change({ job: { permissions: 'leave' } });
    await world.run();
    expect(await bits(world.local('later'))).toBe(own);
  });

  it('leaves them where the job does, though the listing shows them', async () => {
    await open({ job: { direction: 'pull', permissions: 'leave' } });
    await fill();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 5 } });
    for (const path of Object.keys(MODES))
      expect(await bits(world.local(path))).toBe(0o644 & ~process.umask());
  });
});
