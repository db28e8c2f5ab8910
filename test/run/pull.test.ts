import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type FtpServerOptions, serverLike } from '../support/ftp-server/settings.js';
import { makeTree, readTree, treeDifferences } from '../support/tree.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open({ ...options, job: { direction: 'pull', ...options.job } });
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

const SERVERS: readonly (readonly [string, 'plain' | 'explicit', Partial<FtpServerOptions>])[] = [
  ['plain FTP', 'plain', {}],
  ['explicit TLS', 'explicit', {}],
  ['explicit TLS from one like vsftpd, without MLSD', 'explicit', serverLike('vsftpd')],
  ['plain FTP from one like IIS', 'plain', serverLike('iis')],
  ['plain FTP from one with times to the millisecond', 'plain', { fractionalTimes: true }],
];

describe.each(SERVERS)('a pull over %s', (_name, security, like) => {
  it('brings every file here byte for byte, with its time, and a second run fetches nothing', async () => {
    await open({ server: { ...like, security } });
    const tree = await makeTree(world.remote(''), { files: 40, maxBytes: 200_000 });
    const first = await world.run();
    expect(first).toMatchObject({ outcome: 'ok', failure: undefined });
    expect(first.tally).toMatchObject({ downloaded: tree.size, uploaded: 0, skipped: 0 });
    expect(treeDifferences(tree, await readTree(world.local('')), { times: 'seconds' })).toEqual([]);
    expect(world.intents()).toEqual([]);
    const fetched = world.count('RETR');
    const second = await world.run();
    expect(second).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, unchanged: tree.size, bytes: 0 } });
    expect(world.count('RETR')).toBe(fetched);
  });

  it('takes what is here already for what it is', async () => {
    await open({ server: { ...like, security } });
    await world.putRemote('d/same', 'content');
    await world.put('d/same', 'content');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, unchanged: 1 } });
    expect(world.count('RETR')).toBe(0);
    expect(world.known()).toHaveLength(1);
    expect(world.intents()).toEqual([]);
    await world.putRemote('d/same', 'newer content', EARLIER + 10_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(world.here()).toEqual({ 'd/same': 'newer content' });
  });
});

describe('what changed', () => {
  it('is fetched, and what is gone on the server stays here', async () => {
    await open();
    for (const path of ['a', 'b', 'c']) await world.putRemote(path);
    await world.run();
    await world.putRemote('a', 'A', EARLIER + 2_000);
    await world.putRemote('new/one');
    await rm(world.remote('c'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2, unchanged: 1 } });
    expect(world.here()).toEqual({ a: 'A', b: 'b', c: 'c', 'new/one': 'new/one' });
  });

  it('a file that a person took away here is not fetched again until it changes there', async () => {
    await open();
    await world.putRemote('a');
    await world.run();
    await rm(world.local('a'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0 } });
    expect(world.here()).toEqual({});
    await world.putRemote('a', 'newer', EARLIER + 2_000);
    expect(await world.run()).toMatchObject({ tally: { downloaded: 1 } });
    expect(world.here()).toEqual({ a: 'newer' });
  });
});

describe("a person's work here", () => {
  it.each<[string, () => Promise<unknown>]>([
    ['another content', () => world.put('f', 'mine')],
    ['the same size at another time', () => world.put('f', 'FROM SERVER', EARLIER + 60_000)],
    ['a link', () => symlink('/etc/hostname', world.local('f'))],
    ['a directory', () => mkdir(world.local('f'))],
  ])('is not overwritten: %s', async (_what, mine) => {
    await open();
    await world.putRemote('f', 'from server');
    await world.putRemote('g');
    await mine();
    const before = world.here();
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { downloaded: 1, skipped: 1 } });
    expect(world.told('file.skipped')).toMatchObject([
      { path: 'f', code: 'local-differs', remembered: false },
    ]);
    expect(world.told('file.skipped')[0]?.message).toContain('Move it away');
    expect(world.here()).toEqual({ ...before, g: 'g' });
    expect(world.of('RETR')).toEqual(['/dumps/g']);
    expect(world.intents()).toEqual([]);
    await rm(world.local('f'), { recursive: true });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(world.here()).toEqual({ f: 'from server', g: 'g' });
  });

  it('is not overwritten when it was fetched, then changed here, then changed there', async () => {
    await open();
    await world.putRemote('f', 'first');
    await world.run();
    await world.put('f', 'edited here', Date.now());
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
    await world.putRemote('f', 'edited there', EARLIER + 9_000);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(world.here()).toEqual({ f: 'edited here' });
  });

  it('is not overwritten when it comes while the file is fetched', async () => {
    await open();
    await world.putRemote('f', 'from server');
    const { writeFileSync } = await import('node:fs');
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) writeFileSync(world.local('f'), 'mine');
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 1 } });
    expect(world.here()).toEqual({ f: 'mine' });
    expect(world.intents()).toEqual([]);
  });
});

describe('names that a hostile server sends', () => {
  const line = (name: string, type = 'file'): string =>
    `type=${type};size=4;modify=20220101000000; ${name}\r\n`;

  it.each([
    '../evil',
    '/etc/evil',
    '..',
    'a/../../evil',
    'sub/evil',
    'back\\slash',
    'nul\0byte',
    'esc\u001b[2J',
    '',
  ])('%j leads nowhere, and the others are fetched', async (name) => {
    await open();
    await world.putRemote('good', 'good');
    world.server.script({
      on: 'MLSD',
      do: { kind: 'content', bytes: `${line(name)}${line(name, 'dir')}${line('good')}` },
    });
    const outside = readdirSync(world.directory.path).sort();
    const report = await world.run();
    expect(report.tally).toMatchObject({ downloaded: 1 });
    expect(world.here()).toEqual({ good: 'good' });
    expect(readdirSync(world.directory.path).sort()).toEqual([...outside, 'ledger'].sort());
    expect(world.of('RETR')).toEqual(['/dumps/good']);
    if (name !== '..') {
      expect(report.outcome).toBe('partial');
      expect(world.told('scan.problem')).toMatchObject([{ code: 'listing' }]);
    }
    for (const event of world.events) expect(JSON.stringify(event)).not.toContain('\u001b');
  });

  it('one name twice is one file', async () => {
    await open();
    await world.putRemote('good', 'good');
    world.server.script({ on: 'MLSD', do: { kind: 'content', bytes: line('good').repeat(3) } });
    // A listing that says a thing twice may have left another one out.
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 1 } });
    expect(world.count('RETR')).toBe(1);
  });

  it('links and temporary names of ours on the server stay there', async () => {
    await open();
    await world.putRemote('good');
    await world.putRemote('.ferryd-0011.part', 'half');
    await symlink('good', world.remote('link'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(world.here()).toEqual({ good: 'good' });
    expect(world.told('file.ignored').map(({ path }) => path)).toEqual(['link']);
  });
});

it('nothing is written behind a link here', async () => {
  await open();
  await world.putRemote('d/e/f');
  await world.putRemote('g');
  await mkdir(world.directory.join('elsewhere'));
  await symlink(world.directory.join('elsewhere'), world.local('d'));
  expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 1, skipped: 1 } });
  expect(readdirSync(world.directory.join('elsewhere'))).toEqual([]);
  expect(world.told('file.skipped')).toMatchObject([{ path: 'd/e/f', code: 'OUTSIDE', remembered: false }]);
});

it('patterns count for both files and directories, and what is excluded is not listed', async () => {
  await open({ job: { include: ['**/*.gz'], exclude: ['old/**'] } });
  for (const path of ['a.gz', 'b.txt', 'new/c.gz', 'old/d.gz']) await world.putRemote(path);
  expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
  expect(Object.keys(world.here())).toEqual(['a.gz', 'new/c.gz']);
  expect(world.of('MLSD')).toEqual(['/dumps', '/dumps/new']);
});

describe('a fetch that goes wrong', () => {
  it.each([
    ['is reset in the middle', { kind: 'dataReset', atByte: 50_000 }],
    ['is cut short and confirmed', { kind: 'dataClose', atByte: 50_000 }],
    ['loses its connection', { kind: 'reset', at: 'mark' }],
    ['is refused for now', { kind: 'reply', text: '450 Busy.' }],
    ['stalls', { kind: 'dataStall', atByte: 50_000 }],
  ] as const)('%s: again, and never half a file under the final name', async (_how, fault) => {
    await open({
      settings: { timeouts: { connectMs: 5_000, replyMs: 300, stallMs: 300, transferMs: 60_000 } },
    });
    const content = 'z'.repeat(100_000);
    await world.putRemote('f', content);
    const seen = new Set<number | undefined>();
    const look = (): void => void seen.add(statSync(world.local('f'), { throwIfNoEntry: false })?.size);
    world.server.on('command', look);
    world.server.on('reply', look);
    world.server.script({ on: 'RETR', do: fault });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1, bytes: 100_000 } });
    expect(world.told('file.retry')).toHaveLength(1);
    expect(readFileSync(world.local('f'), 'utf8')).toBe(content);
    expect([...seen].every((size) => size === undefined || size === content.length)).toBe(true);
    expect(seen.has(undefined)).toBe(true);
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });

  it('is refused for good: skipped, remembered, asked for again when the file changes there', async () => {
    await open();
    await world.putRemote('bad');
    await world.putRemote('good');
    world.server.script({
      on: 'RETR',
      path: '/dumps/bad',
      nth: 'every',
      do: { kind: 'reply', text: '550 Permission denied.' },
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 1, skipped: 1 } });
    expect(world.skips()).toMatchObject([{ path: 'bad', code: '550' }]);
    const asked = world.count('RETR');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(world.count('RETR')).toBe(asked);
    await world.putRemote('bad', 'larger than before');
    await world.run();
    expect(world.count('RETR')).toBe(asked + 1);
    world.server.behave();
    expect(await world.run({ skipped: 'again' })).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(world.skips()).toEqual([]);
    expect(world.temporaries()).toEqual([]);
  });

  it('a cut leaves nothing under the final name, and the next run begins anew', async () => {
    await open();
    await world.putRemote('f', 'w'.repeat(400_000));
    world.server.script({ on: 'RETR', do: { kind: 'dataStall', atByte: 200_000 } });
    const cut = new AbortController();
    const running = world.run({ cut: cut.signal });
    await world.server.until((journal) => journal.sentBytes >= 200_000);
    cut.abort();
    expect(await running).toMatchObject({ outcome: 'interrupted' });
    expect(world.here()).toEqual({});
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(world.here()).toEqual({ f: 'w'.repeat(400_000) });
    expect(world.intents()).toEqual([]);
  });
});

describe('a listing that goes wrong', () => {
  it('of one directory is told, and the others are fetched', async () => {
    await open();
    for (const path of ['a/1', 'locked/2', 'z/3']) await world.putRemote(path);
    world.server.script({
      on: 'MLSD',
      path: '/dumps/locked',
      nth: 'every',
      do: { kind: 'reply', text: '550 Permission denied.' },
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 2, skipped: 1 } });
    expect(world.told('scan.problem')).toMatchObject([{ path: 'locked', code: '550' }]);
    expect(world.here()).toEqual({ 'a/1': 'a/1', 'z/3': 'z/3' });
  });

  it('of all of it ends the run, and changes nothing', async () => {
    await open();
    await world.putRemote('a');
    world.change({ job: { remotePath: { path: 'missing', absolute: false } } });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'failed', code: '550' } });
    expect(report.failure?.message).toMatch(/550/);
    expect(world.here()).toEqual({});
  });

  it('that is cut short by the server is told; what it shows is fetched', async () => {
    await open({ server: { listingLimit: 3 } });
    for (const path of ['a', 'b', 'c', 'd']) await world.putRemote(path);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 3, skipped: 1 } });
    expect(world.told('scan.problem')).toMatchObject([{ code: 'listing' }]);
  });

  it.each([
    ['a connection that is lost', { kind: 'reset' }],
    ['a server that is busy', { kind: 'reply', text: '450 Busy.' }],
    ['a data connection that breaks', { kind: 'dataReset', atByte: 5 }],
  ] as const)('for now is tried again: %s', async (_how, fault) => {
    await open();
    for (const path of ['a/1', 'b/2']) await world.putRemote(path);
    world.server.script({ on: 'MLSD', nth: 2, do: fault });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
    expect(world.here()).toEqual({ 'a/1': 'a/1', 'b/2': 'b/2' });
    expect(world.told('file.retry')).toMatchObject([{ path: 'a', attempt: 1, delayMs: 3 }]);
  });

  it('again and again is told, and the others are fetched', async () => {
    await open();
    for (const path of ['a/1', 'b/2', 'c/3']) await world.putRemote(path);
    world.server.script({ on: 'MLSD', path: '/dumps/b', nth: 'every', do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 2, skipped: 1 } });
    expect(world.of('MLSD').filter((path) => path === '/dumps/b')).toHaveLength(4);
    expect(world.told('scan.problem')).toMatchObject([{ path: 'b' }]);
    expect(world.here()).toEqual({ 'a/1': 'a/1', 'c/3': 'c/3' });
  });

  it('because the server is away: it is waited for, and given up as for files', async () => {
    await open();
    for (const path of ['a/1', 'b/2']) await world.putRemote(path);
    const away = world.server.script({ on: 'connect', nth: 'every', do: { kind: 'reset' } });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'unreachable' } });
    expect(report.failure?.message).toContain('Tried 4 times');
    expect(world.server.journal.connections).toBe(4);
    away.remove();
    world.server.script({ on: 'connect', times: 2, do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
  });

  it('is not waited for once the run is to stop', async () => {
    await open({ job: { retries: { attempts: 5, firstDelayMs: 3_600_000, maxDelayMs: 3_600_000 } } });
    await world.putRemote('a/1');
    world.server.script({ on: 'MLSD', nth: 'every', do: { kind: 'reply', text: '450 Busy.' } });
    const stop = new AbortController();
    const report = await world.run({
      stop: stop.signal,
      listener: (event) => {
        if (event.event === 'file.retry') queueMicrotask(() => stop.abort());
      },
    });
    expect(report).toMatchObject({ outcome: 'interrupted', tally: { skipped: 0 } });
  });
});

it('the target directory that is missing is a failure, not a new directory in the wrong place', async () => {
  await open();
  await world.putRemote('a');
  await rm(world.local(''), { recursive: true });
  const report = await world.run();
  expect(report).toMatchObject({ outcome: 'failed', failure: { code: 'ENOENT' } });
  expect(report.failure?.message).toMatch(/^The target directory of job nightly cannot be used/);
  await writeFile(world.directory.join('local'), 'a file');
  expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { code: 'ENOTDIR' } });
  expect(world.server.journal.connections).toBe(0);
});
