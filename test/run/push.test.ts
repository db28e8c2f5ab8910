import { statSync } from 'node:fs';
import { appendFile, chmod, mkdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type FtpServerOptions, serverLike } from '../support/ftp-server/settings.js';
import { makeTree, readTree, treeDifferences } from '../support/tree.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  return world;
}

const SERVERS: readonly (readonly [string, 'plain' | 'explicit' | 'implicit', Partial<FtpServerOptions>])[] =
  [
    ['plain FTP', 'plain', {}],
    ['explicit TLS', 'explicit', {}],
    ['implicit TLS', 'implicit', {}],
    ['plain FTP to one like vsftpd', 'plain', serverLike('vsftpd')],
    ['explicit TLS to one like vsftpd', 'explicit', serverLike('vsftpd')],
    ['explicit TLS to one like ProFTPD', 'explicit', serverLike('proftpd')],
    ['plain FTP to one like IIS', 'plain', serverLike('iis')],
    ['plain FTP to one without EPSV', 'plain', { features: { EPSV: false } }],
    ['plain FTP to one without SIZE', 'plain', { features: { SIZE: false } }],
    ['plain FTP over IPv6', 'plain', { host: '::1' }],
  ];

describe.each(SERVERS)('a push over %s', (_name, security, like) => {
  it('brings every file over byte for byte, with its time, and a second run sends nothing', async () => {
    await open({ server: { ...like, security } });
    const tree = await makeTree(world.local(''), { files: 60, maxBytes: 300_000 });
    expect([...tree.values()].some(({ sizeBytes }) => sizeBytes === 0)).toBe(true);
    const first = await world.run();
    expect(first).toMatchObject({ outcome: 'ok', failure: undefined });
    expect(first.tally).toMatchObject({ uploaded: tree.size, unchanged: 0, skipped: 0 });
    const sizes = [...tree.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(first.tally.bytes).toBe(sizes);
    // IIS knows no way to set a time.
    const times = like === serverLike('iis') ? 'ignored' : 'seconds';
    expect(treeDifferences(tree, await readTree(world.remote('')), { times })).toEqual([]);
    expect(world.known()).toHaveLength(tree.size);
    expect(world.intents()).toEqual([]);

    const before = { ...world.server.journal };
    const second = await world.run();
    expect(second).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: tree.size, bytes: 0 } });
    // Not even a connection: the ledger knows.
    expect(world.server.journal.connections).toBe(before.connections);
    expect(world.server.journal.dataConnections).toBe(before.dataConnections);
    expect(world.server.journal.listings).toBe(before.listings);
  });
});

describe('what changed', () => {
  it('one file in a hundred: one file is sent', async () => {
    await open();
    for (let i = 0; i < 100; i += 1) await world.put(`d${i % 7}/f${i}`);
    await world.run();
    await world.put('d3/f3', 'another content', EARLIER + 5_000);
    const before = world.stores;
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 99, bytes: 15 } });
    expect(world.stores).toBe(before + 1);
    expect(world.server.journal.listings).toBe(0);
    world.expectConverged();
    expect(Math.floor(statSync(world.remote('d3/f3')).mtimeMs)).toBe(EARLIER + 5_000);
  });

  it('a new file, a larger one, and one that is gone: a copy deletes nothing', async () => {
    await open();
    for (const path of ['stays', 'grows', 'goes']) await world.put(path);
    await world.run();
    await world.put('new/one');
    await appendFile(world.local('grows'), ' and grows');
    await rm(world.local('goes'));
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, unchanged: 1 } });
    expect(world.held()).toEqual({
      goes: 'goes',
      grows: 'grows and grows',
      'new/one': 'new/one',
      stays: 'stays',
    });
  });

  it('a file that was only touched is examined, not sent, and not examined again', async () => {
    await open();
    await world.put('a');
    await world.put('b');
    await world.run();
    const before = world.server.journal.connections;
    await chmod(world.local('a'), 0o600);
    await rename(world.local('b'), world.local('x'));
    await world.put('b');
    await rm(world.local('x'));
    // Seen so soon after the change, its ctime would not show another one.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5_000 });
    const report = await world.run().finally(() => vi.useRealTimers());
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 2 } });
    expect(world.server.journal.connections).toBe(before);
    const { ctimeMs, ino } = statSync(world.local('b'));
    expect(world.known().map(({ baseline }) => baseline?.local)[1]).toMatchObject({ ctimeMs, inode: ino });
  });

  it('a file of the same size and time, but another content, is found out and sent', async () => {
    await open();
    await world.put('a', 'one content');
    await world.run();
    await world.put('a', 'new content');
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 0 } });
    expect(world.held()).toEqual({ a: 'new content' });
    expect((await world.run()).tally).toMatchObject({ uploaded: 0, unchanged: 1 });
  });

  it('a job that is pointed elsewhere starts afresh', async () => {
    await open();
    await world.put('a');
    await world.run();
    world.change({ job: { remotePath: { path: 'other', absolute: false } } });
    expect((await world.run()).tally).toMatchObject({ uploaded: 1 });
    expect(world.held()).toEqual({ a: 'a' });
  });
});

describe('names and places', () => {
  it('odd ones arrive as they are', async () => {
    await open();
    const names = [
      ' leading',
      'trailing ',
      '-dash',
      '~',
      '~user',
      '*?[x]{y}',
      `quote's "double"`,
      'back\\slash',
      '%20#',
      'ünïcödé/日本語/\u{1f600}',
      'nfd-u\u0308',
      'nfc-\u00fc',
      'x'.repeat(255),
      '.hidden/.file',
      'line\u2028separator',
      'tab\tand\u0001control',
    ];
    for (const name of names) await world.put(name, `<${name}>`);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: names.length } });
    world.expectConverged();
  });

  it('names that FTP cannot carry are told, and nothing of them is sent', async () => {
    await open();
    await world.put('good');
    await world.put('line\nbreak', 'x');
    await world.put('carriage\rreturn\nDELE good', 'x');
    await writeFile(Buffer.from(`${world.local('')}/caf\xe9`, 'latin1'), 'x');
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 3 } });
    expect(world.held()).toEqual({ good: 'good' });
    expect(world.told('file.skipped').map(({ code, remembered }) => [code, remembered])).toEqual([
      ['name', false],
      ['name', false],
      ['name', false],
    ]);
    expect(world.count('DELE')).toBe(0);
  });

  it('links, pipes and what is excluded stay behind, each told as it is', async () => {
    const { execFileSync } = await import('node:child_process');
    const { symlink } = await import('node:fs/promises');
    await open({ job: { include: ['**/*.gz'], exclude: ['old/**'] } });
    for (const path of ['a.gz', 'sub/b.gz', 'c.txt', 'old/d.gz']) await world.put(path);
    await symlink('a.gz', world.local('link.gz'));
    execFileSync('mkfifo', [world.local('pipe.gz'), world.local('unwanted')]);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 2, skipped: 1 } });
    expect(Object.keys(world.held())).toEqual(['a.gz', 'sub/b.gz']);
    expect(world.told('file.ignored').map(({ path }) => path)).toEqual(['link.gz']);
    expect(world.told('file.skipped').map(({ path, code }) => [path, code])).toEqual([
      ['pipe.gz', 'special-file'],
    ]);
  });

  it('our own temporary names in the source are never sent', async () => {
    await open();
    await world.put('.ferryd-0011223344556677.part', 'left by somebody');
    await world.put('a');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.held()).toEqual({ a: 'a' });
  });

  it.each([
    ['below the login directory', { path: 'x/y', absolute: false }, 'home/backup/x/y'],
    ['the login directory itself', { path: '', absolute: false }, 'home/backup'],
    ['absolute', { path: '/srv/x', absolute: true }, 'srv/x'],
    ['the root of the server', { path: '/', absolute: true }, ''],
  ])('the target may be %s', async (_where, remotePath, onDisk) => {
    await open({ server: { home: '/home/backup' }, job: { remotePath } });
    await mkdir(world.directory.join('remote/srv'));
    await world.put('a/b', 'content');
    await world.put('c', 'content');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2 } });
    for (const path of ['a/b', 'c']) {
      expect(statSync(world.directory.join('remote', onDisk, path)).size).toBe(7);
    }
  });
});

describe('several connections', () => {
  it('are used at once, and no more than the settings allow', async () => {
    await open({ settings: { connections: 3 } });
    for (let i = 0; i < 12; i += 1) await world.put(`f${i}`);
    // Nobody's first file is finished before three are under way.
    const stall = world.server.script({ on: 'STOR', times: 3, do: { kind: 'dataStall', atByte: 1 } });
    const running = world.run({ cut: AbortSignal.timeout(60_000) });
    await world.server.until(() => stall.fired === 3);
    expect(world.server.journal).toMatchObject({ open: 3, peakOpen: 3 });
    world.server.behave();
    world.server.drop('reset');
    const report = await running;
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 12 } });
    world.expectConverged();
  });

  it('make a directory that all of them want once', async () => {
    await open();
    for (let i = 0; i < 16; i += 1) await world.put(`new/deep/f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 16 } });
    expect(
      world.server.journal.of('MKD').filter(({ replies }) => replies[0]?.startsWith('257')),
    ).toHaveLength(3);
    world.expectConverged();
  });

  it('a server that allows two ends well with four wanted', async () => {
    await open({ server: { maxConnections: 2 } });
    for (let i = 0; i < 20; i += 1) await world.put(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 20 } });
    world.expectConverged();
    expect(world.told('server.learned').map(({ message }) => message)).toContainEqual(
      expect.stringContaining('takes no more connections'),
    );
  });

  it('so does one that says so at the login', async () => {
    await open({ server: { maxConnections: 1, tooManyAt: 'login' } });
    for (let i = 0; i < 10; i += 1) await world.put(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 10 } });
    world.expectConverged();
  });
});

describe('flat memory', () => {
  it('files are planned only so far ahead of the workers', async () => {
    await open({ settings: { connections: 2 } });
    for (let i = 0; i < 400; i += 1) await world.put(`f${String(i).padStart(3, '0')}`, '');
    await world.put('a-first', 'some bytes');
    await world.put('a-second', 'some bytes');
    const stall = world.server.script({ on: 'STOR', times: 2, do: { kind: 'dataStall', atByte: 1 } });
    const cut = new AbortController();
    const running = world.run({ cut: cut.signal });
    await world.server.until(() => stall.fired === 2);
    // For each connection three in hand and one and a half commits of 64 queued, and one that waits for room.
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(world.intents().length).toBeLessThanOrEqual(2 * 3 + 2 * 96 + 1);
    expect(world.intents().length).toBeGreaterThan(2);
    cut.abort();
    expect(await running).toMatchObject({ outcome: 'interrupted' });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    world.expectConverged();
  });
});

it('the time of a file that lies before 1970, in the future, or between two seconds', async () => {
  await open();
  await world.put('past', 'x', Date.UTC(1975, 0, 1));
  await world.put('future', 'x', Date.UTC(2090, 0, 1));
  await world.put('between', 'x');
  await utimes(world.local('between'), EARLIER / 1000 + 0.75, EARLIER / 1000 + 0.75);
  expect(await world.run()).toMatchObject({ outcome: 'ok' });
  expect(statSync(world.remote('past')).mtimeMs).toBe(Date.UTC(1975, 0, 1));
  expect(statSync(world.remote('future')).mtimeMs).toBe(Date.UTC(2090, 0, 1));
  expect(statSync(world.remote('between')).mtimeMs).toBe(EARLIER);
  expect((await world.run()).tally).toMatchObject({ uploaded: 0, unchanged: 3 });
});
