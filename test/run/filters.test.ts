/* What a job leaves behind, in whole runs: .ferryignore, size, age, hidden names and links, for push and pull. */
import { chmodSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Accounts } from '../../src/run/accounts.js';
import { planJob } from '../../src/run/plan.js';
import type { Finding } from '../../src/run/sights.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World | undefined;
afterEach(async () => {
  await world?.[Symbol.asyncDispose]();
  world = undefined;
});

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  return world;
}

const MINUTE = 60_000;
const ANY_SIZE = { minBytes: undefined, maxBytes: undefined };
const ANY_AGE = { minMs: undefined, maxMs: undefined };

/** What `ferryd plan` would print: one line a verdict that is not silent, and one a finding. */
async function planned(at: World): Promise<string[]> {
  const lines: string[] = [];
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: at.ledger });
  try {
    const onFinding = ({ kind, path }: Finding): void => void lines.push(`${kind} ${path}`);
    for await (const { kind, path } of planJob(at.job, { ledger: at.ledger, accounts, onFinding })) {
      lines.push(`${kind} ${path}`);
    }
  } finally {
    await accounts.close();
  }
  return lines.sort();
}

describe('.ferryignore in a push', () => {
  it('leaves files behind at every depth, is never sent itself, and plan says the same', async () => {
    const at = await open();
    await at.put('.ferryignore', '*.tmp\n/cache/\nlogs/*\n!logs/keep.log\n');
    await at.put('src/.ferryignore', '!wanted.tmp\n/local\n');
    for (const path of ['a', 'a.tmp', 'cache/x', 'sub/cache/x', 'logs/a.log', 'logs/keep.log'])
      await at.put(path);
    for (const path of ['src/wanted.tmp', 'src/other.tmp', 'src/local', 'src/deep/local']) await at.put(path);
    const expected = ['a', 'logs/keep.log', 'src/deep/local', 'src/wanted.tmp', 'sub/cache/x'];
    expect(await planned(at)).toEqual(expected.map((path) => `upload ${path}`));
    const report = await at.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 5, skipped: 0 } });
    expect(Object.keys(at.held())).toEqual(expected);
    expect((await at.run()).tally).toMatchObject({ uploaded: 0, unchanged: 5 });
  });

  it('a change counts from the next run on, and what was sent before remains', async () => {
    const at = await open();
    for (const path of ['a', 'b', 'd/c']) await at.put(path);
    await at.run();
    await at.put('.ferryignore', 'b\nd/\n');
    for (const path of ['a', 'b', 'd/c', 'd/new']) await at.put(path, `${path} anew`, EARLIER + MINUTE);
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, deleted: 0 } });
    expect(at.held()).toEqual({ a: 'a anew', b: 'b', 'd/c': 'd/c' });
    await rm(at.local('.ferryignore'));
    expect((await at.run()).tally).toMatchObject({ uploaded: 3, unchanged: 1 });
    at.expectConverged();
  });

  it('one that cannot be used: nothing beside or below it is sent, the others are, and it is told', async () => {
    const at = await open();
    await at.put('a');
    await at.put('private/.ferryignore', `secret\n${'#'.repeat(65_536)}`);
    for (const path of ['private/secret', 'private/plain', 'private/deep/secret', 'z']) await at.put(path);
    const report = await at.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 2, skipped: 1 } });
    expect(Object.keys(at.held())).toEqual(['a', 'z']);
    expect(at.told('scan.problem')).toMatchObject([
      {
        path: 'private',
        code: 'ignore-file',
        message:
          'private/.ferryignore is larger than 64 KiB: make it shorter. So long nothing in private is looked at, because what it leaves out must not go across.',
      },
    ]);
    await at.put('private/.ferryignore', 'secret\n');
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(Object.keys(at.held())).toEqual(['a', 'private/plain', 'z']);
  });

  it('the same at the root is no empty source: nothing is sent, and the reason is told', async () => {
    const at = await open();
    await at.put('a');
    await at.run();
    await at.put('b');
    await mkdir(at.local('.ferryignore'));
    const report = await at.run();
    expect(report).toMatchObject({
      outcome: 'partial',
      failure: undefined,
      tally: { uploaded: 0, skipped: 1 },
    });
    expect(at.told('scan.problem')).toMatchObject([{ path: '', code: 'ignore-file' }]);
    expect(await planned(at)).toEqual(['kept a', 'unreadable ']);
    expect(at.held()).toEqual({ a: 'a' });
  });

  it('a source of which it leaves nothing is held, like any other without a file', async () => {
    const at = await open();
    await at.put('a');
    await at.run();
    await at.put('.ferryignore', '*');
    expect(await at.run()).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
  });
});

describe('.ferryignore in a pull', () => {
  const pull = { job: { direction: 'pull' } } as const;

  it('the one here counts for all that would be fetched; those on the server neither count nor come over', async () => {
    const at = await open(pull);
    for (const path of ['a', 'a.tmp', 'd/b', 'd/b.tmp', 'cache/x', 'e/cache/x']) await at.putRemote(path);
    await at.putRemote('.ferryignore', 'a\n');
    await at.putRemote('d/.ferryignore', '*');
    await at.put('.ferryignore', '*.tmp\n/cache/\n');
    await at.put('d/.ferryignore', '*');
    const before = at.server.journal.listings;
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 3, skipped: 0 } });
    expect(at.here()).toEqual({
      '.ferryignore': '*.tmp\n/cache/\n',
      a: 'a',
      'd/.ferryignore': '*',
      'd/b': 'd/b',
      'e/cache/x': 'e/cache/x',
    });
    // The root, d, e and e/cache: a directory that is left out is not asked for.
    expect(at.server.journal.listings - before).toBe(4);
  });

  it('one that cannot be used: nothing is fetched, the server is not even asked, and it is told', async () => {
    const at = await open(pull);
    await at.putRemote('a');
    await symlink('elsewhere', at.local('.ferryignore'));
    const report = await at.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 1 } });
    expect(at.told('scan.problem')[0]?.message).toContain('.ferryignore is a link, which is not followed');
    expect(at.server.journal.listings).toBe(0);
  });
});

describe.each(['push', 'pull'] as const)('limits in a %s', (direction) => {
  const moved = direction === 'push' ? 'uploaded' : 'downloaded';
  const place = (at: World, path: string, content: string, mtimeMs?: number): Promise<void> =>
    direction === 'push' ? at.put(path, content, mtimeMs) : at.putRemote(path, content, mtimeMs);
  const arrived = (at: World): string[] => Object.keys(direction === 'push' ? at.held() : at.here());

  it('size: both ends belong to it', async () => {
    const at = await open({ job: { direction, size: { minBytes: 2, maxBytes: 4 } } });
    for (const length of [0, 1, 2, 3, 4, 5]) await place(at, `f${length}`, 'x'.repeat(length));
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { [moved]: 3, skipped: 0 } });
    expect(arrived(at)).toEqual(['f2', 'f3', 'f4']);
  });

  it('age: too young and too old stay behind, and come when they are as old as wanted', async () => {
    const age = { minMs: 10 * MINUTE, maxMs: 60 * MINUTE };
    const at = await open({ job: { direction, age } });
    const ago = (minutes: number): number => Math.floor(Date.now() / 1000) * 1000 - minutes * MINUTE;
    await place(at, 'young', 'y', ago(5));
    await place(at, 'right', 'r', ago(30));
    await place(at, 'old', 'o', ago(90));
    await place(at, 'from-tomorrow', 't', ago(-24 * 60));
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { [moved]: 1, skipped: 0 } });
    expect(arrived(at)).toEqual(['right']);
    await place(at, 'young', 'y', ago(15));
    expect((await at.run()).tally).toMatchObject({ [moved]: 1, unchanged: 1 });
    expect(arrived(at)).toEqual(['right', 'young']);
  });

  it('hidden names stay behind, with all that lies in them', async () => {
    const at = await open({ job: { direction, hidden: 'skip' } });
    for (const path of ['a', '.env', '.git/config', 'd/.x/y', 'd/b']) await place(at, path, path);
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { [moved]: 2 } });
    expect(arrived(at)).toEqual(['a', 'd/b']);
    at.change({ job: { hidden: 'include' } });
    expect((await at.run()).tally).toMatchObject({ [moved]: 3, unchanged: 2 });
  });
});

describe('limits and what else happens', () => {
  it('a source in which all files are too old is not an empty one', async () => {
    const at = await open();
    await at.put('a');
    await at.run();
    at.change({ job: { age: { minMs: undefined, maxMs: MINUTE } } });
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 0 } });
    expect(await planned(at)).toEqual(['left-out a']);
    await rm(at.local('a'));
    expect(await at.run()).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
  });

  it('a file that grows past the limit while it is sent is left to the next run, and nothing of it stays', async () => {
    const at = await open({ job: { size: { ...ANY_SIZE, maxBytes: 200_000 } } });
    await at.put('grows', 'x'.repeat(150_000));
    await at.put('z');
    let grown = false;
    at.server.on('command', (verb) => {
      if (verb !== 'STOR' || grown) return;
      grown = true;
      void writeFile(at.local('grows'), 'y'.repeat(250_000));
    });
    const report = await at.run();
    expect(grown).toBe(true);
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(at.held()).toEqual({ z: 'z' });
    expect(at.temporaries()).toEqual([]);
    expect(at.told('file.ignored')).toMatchObject([
      { path: 'grows', message: expect.stringContaining('is not of the size and age any more') },
    ]);
    // The server has not said how the sending ended: the next run looks once more whether anything has come of it.
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
    expect(at.temporaries()).toEqual([]);
    expect(at.intents()).toEqual([]);
  });

  it('a pull tells the files whose time nobody knows, and fetches them where age does not matter', async () => {
    // Without MLSD and MDTM there are only the times of LIST, which are of no known zone.
    const at = await open({
      server: { features: { MLSD: false, MDTM: false } },
      job: { direction: 'pull', age: { ...ANY_AGE, minMs: MINUTE } },
    });
    await at.putRemote('a');
    expect(await at.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 1 } });
    expect(at.told('file.skipped')).toMatchObject([{ path: 'a', code: 'age', remembered: false }]);
    at.change({ job: { age: ANY_AGE } });
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
  });
});

describe('links in a push', () => {
  it('stay behind unless they are followed; what they lead to then has the bytes and the time of its own', async () => {
    const at = await open();
    await at.put('real/a', 'content');
    await symlink('real', at.local('way'));
    await symlink('real/a', at.local('b'));
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(at.told('file.ignored').map(({ path }) => path)).toEqual(['b', 'way']);
    at.change({ job: { links: 'follow' } });
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, unchanged: 1, skipped: 0 } });
    expect(at.held()).toEqual({ b: 'content', 'real/a': 'content', 'way/a': 'content' });
    expect((await at.run()).tally).toMatchObject({ uploaded: 0, unchanged: 3 });

    await at.put('real/a', 'another content', EARLIER + MINUTE);
    expect((await at.run()).tally).toMatchObject({ uploaded: 3 });
    expect(at.held()['way/a']).toBe('another content');
    await rm(at.local('b'));
    await at.put('other', 'other content');
    await symlink('other', at.local('b'));
    await at.run();
    expect(at.held().b).toBe('other content');
  });

  it('a touched file behind a link is examined, not sent', async () => {
    const at = await open({ job: { links: 'follow' } });
    await at.put('real/a');
    await symlink('real', at.local('way'));
    await at.run();
    chmodSync(at.local('real/a'), 0o600);
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 2 } });
  });

  it('no byte from outside the root, and each way out is told', async () => {
    const at = await open({ job: { links: 'follow' } });
    await at.put('a');
    await symlink(at.directory.join('password'), at.local('password'));
    await symlink('..', at.local('up'));
    const report = await at.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 2 } });
    expect(Object.keys(at.held())).toEqual(['a']);
    expect(at.told('file.skipped').map(({ path, code }) => [path, code])).toEqual([
      ['password', 'link-outside'],
      ['up', 'link-outside'],
    ]);
  });

  it('a file behind a link that changes while it is sent is sent again, whole', async () => {
    const at = await open({ job: { links: 'follow' } });
    await at.put('data/big', 'x'.repeat(300_000));
    await symlink('data/big', at.local('link'));
    at.change({ job: { exclude: ['data/**'] } });
    let changed = false;
    at.server.on('command', (verb) => {
      if (verb !== 'STOR' || changed) return;
      changed = true;
      void writeFile(at.local('data/big'), 'y'.repeat(200_000));
    });
    expect(await at.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(changed).toBe(true);
    expect(at.held()).toEqual({ link: 'y'.repeat(200_000) });
    expect(at.temporaries()).toEqual([]);
  });
});
