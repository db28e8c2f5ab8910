/*
 * Odd names: what a server would store under another name is refused with a sentence, and everything else arrives as
 * it is written, in the server's charset. Found out by trials that leave nothing behind.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { isTemporary } from '../../src/plan/temporary.js';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import { World } from '../run/support/voyage.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { FtpBerth } from './berth.js';
import { deliveryOf, fetched, filesBelow, sourceOf } from './contract.js';

function open(
  server: Omit<FtpServerOptions, 'root'> = {},
  account: Partial<Settings> = {},
): Promise<FtpBerth> {
  return FtpBerth.open({ server, account: { connections: 1, ...account } });
}

const deliver = (berth: FtpBerth, path: string) => berth.remote.deliver(deliveryOf(path, sourceOf(path)));

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

/** Delivers, and once more where the first attempt only taught how names have to be sent. */
async function deliverInTheEnd(berth: FtpBerth, path: string): Promise<void> {
  await deliver(berth, path).catch(async (error: unknown) => {
    expect(judge(error)).toMatchObject({ decision: 'reconnect' });
    await deliver(berth, path);
  });
}

/** The names on the server's disk as their bytes, in hex. */
async function namesOn(disk: string): Promise<string[]> {
  return (await readdir(disk, { encoding: 'buffer' })).map((name) => name.toString('hex')).sort();
}

const bytes = (...parts: readonly (string | number)[]): string =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from([part]))),
  ).toString('hex');

/** Directories that were made for trials, and removed. */
const trials = ({ server }: FtpBerth): number =>
  server.journal.of('MKD').filter(({ argument }) => isTemporary(argument)).length;

describe('a trial', () => {
  test.each([
    ['a leading space', ' x', 'd/ y'],
    ['a trailing space', 'x ', 'y /d'],
    ['a trailing dot', 'x.', 'y./d'],
    ['a control character', 'x\ty', '\u007f'],
    ['a backslash', 'a\\b', 'c\\/d'],
    ['one of : * ? " < > |', 'a:b', 'what?'],
    ['a character outside ASCII', 'ü', '日本語/x'],
  ])('of %s is made once, and leaves nothing behind', async (_oddity, first, second) => {
    await using berth = await open();
    await deliver(berth, first);
    expect(trials(berth)).toBe(1);
    const { journal } = berth.server;
    const listings = journal.listings;
    await deliver(berth, second);
    await deliver(berth, first);
    expect(trials(berth)).toBe(1);
    expect(journal.listings).toBe(listings);
    expect(journal.of('RMD')).toHaveLength(1);
    expect((await filesBelow(berth.disk)).sort()).toEqual([first, second].sort());
    expect((await readdir(berth.disk)).filter(isTemporary)).toEqual([]);
    expect(berth.learned).toEqual([]);
  });

  test('is not made for names that every server keeps', async () => {
    await using berth = await open();
    for (const path of ['a b/c d', '.hidden', "it's (1) [2] {3} #4, 5+5=10 & ~x^y`z@!$%;-_.tar.gz"])
      await deliver(berth, path);
    expect(trials(berth)).toBe(0);
    expect(berth.server.journal.listings).toBe(0);
  });

  test('is made once however many connections want it, one for each oddity', async () => {
    await using berth = await open({}, { connections: 4 });
    const paths = Array.from({ length: 40 }, (_, place) => (place % 2 === 0 ? `ü${place}` : `${place}: x`));
    await Promise.all(paths.map((path) => deliver(berth, path)));
    expect((await filesBelow(berth.disk)).sort()).toEqual([...paths].sort());
    expect(trials(berth)).toBe(2);
  });

  test('in a name with several oddities each is tried', async () => {
    await using berth = await open();
    await deliver(berth, ' ü? \\.');
    expect(trials(berth)).toBe(5);
    expect(await filesBelow(berth.disk)).toEqual([' ü? \\.']);
    expect((await readdir(berth.disk)).filter(isTemporary)).toEqual([]);
  });

  test.each(['MKD', 'STOR', 'MLSD', 'DELE', 'RMD'])(
    'that breaks off at %s is made again, and nothing is left of either',
    async (verb) => {
      await using berth = await open();
      berth.server.script({ on: verb, do: { kind: 'reset', at: 'final' } });
      const first = await failing(deliver(berth, 'ü'));
      if (first.message !== 'It did not fail') expect(first.decision).toBe('reconnect');
      await deliver(berth, 'ü').catch(() => deliver(berth, 'ü'));
      await deliver(berth, 'ä');
      expect((await filesBelow(berth.disk)).filter((path) => !isTemporary(path))).toEqual(['ä', 'ü']);
      expect(
        (await readdir(berth.disk, { withFileTypes: true })).filter((entry) => entry.isDirectory()),
      ).toEqual([]);
    },
  );

  test('the account may make no directory: names are taken as they come, and nobody asks again', async () => {
    await using berth = await open();
    berth.server.script({ on: 'MKD', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
    for (const path of ['ü', ' x', 'a:b', 'ü2']) await deliver(berth, path);
    expect((await filesBelow(berth.disk)).sort()).toEqual([' x', 'a:b', 'ü', 'ü2']);
    expect(new Set(berth.server.journal.of('MKD').map(({ argument }) => argument)).size).toBe(1);
  });

  test('works through LIST where there is no MLSD', async () => {
    await using berth = await open({ features: { MLSD: false, MLST: false } });
    for (const path of ['ü', 'x.', ' y', 'z ']) await deliver(berth, path);
    expect((await filesBelow(berth.disk)).sort()).toEqual([' y', 'x.', 'z ', 'ü']);
  });
});

describe('a server that stores names in its own way', () => {
  test('spaces at the ends and control characters (as Pure-FTPd): refused, and nothing stands under another name', async () => {
    await using berth = await open({ names: 'pure-ftpd' });
    for (const [path, what] of [
      [' x', 'a leading space'],
      ['x ', 'a trailing space'],
      ['d /x', 'a trailing space'],
      ['x\ty', 'a control character'],
      [' x', 'a leading space'],
    ] as const) {
      const failure = await failing(deliver(berth, path));
      expect(failure.decision).toBe('skip');
      expect(failure.message).toContain(`does not keep ${what} in a name: ${path} would come to stand`);
      expect(failure.message).toContain('Rename it, or exclude it');
    }
    for (const path of ['ü', 'a b', 'x.', 'a:b', 'a\\b']) await deliver(berth, path);
    expect((await filesBelow(berth.disk)).sort()).toEqual(['a b', 'a:b', 'a\\b', 'x.', 'ü'].sort());
    expect(trials(berth)).toBe(3 + 4);
    expect(await readdir(berth.disk)).toHaveLength(5);
  });

  test('a run sends what can be sent, tells of the rest, and does not ask again', async () => {
    await using world = await World.open({ server: { names: 'pure-ftpd' } });
    const odd = [' first', 'd/last '];
    for (const path of [...odd, 'a', 'd/b', 'ü']) await world.put(path);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 3, skipped: 2 } });
    expect(Object.keys(world.held()).sort()).toEqual(
      ['a', 'd/b', 'ü'.normalize()].map((path) => path).sort(),
    );
    expect(
      world
        .skips()
        .map(({ path }) => path)
        .sort(),
    ).toEqual(odd);
    expect(world.intents()).toEqual([]);
    const connections = world.server.journal.connections;
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 0, skipped: 2 } });
    expect(world.server.journal.connections).toBe(connections);
    world.change({ job: { name: 'other', exclude: ['** ', ' *'] } });
  });

  test('names that are no UTF-8 (as pyftpdlib): refused, not mangled', async () => {
    await using berth = await open({ names: 'pyftpdlib' }, { charset: 'windows-1251' });
    expect(await failing(deliver(berth, 'привет'))).toMatchObject({ decision: 'skip', code: 'argument' });
    await deliver(berth, 'plain');
    expect(await filesBelow(berth.disk)).toEqual(['plain']);
  });
});

describe('charsets', () => {
  test.each<[string, string, string]>([
    ['windows-1251', 'привет.txt', bytes(0xef, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2, '.txt')],
    ['iso-8859-1', 'Füße.txt', bytes('F', 0xfc, 0xdf, 'e.txt')],
    ['koi8-r', 'да', bytes(0xc4, 0xc1)],
    ['shift_jis', '日本', bytes(0x93, 0xfa, 0x96, 0x7b)],
    ['utf-8', 'ü', bytes(0xc3, 0xbc)],
  ])('%s: %s arrives as those bytes, and comes back', async (charset, name, wanted) => {
    await using berth = await open({}, { charset });
    await deliver(berth, name);
    await deliver(berth, `plain`);
    expect(await namesOn(berth.disk)).toEqual([wanted, bytes('plain')].sort());
    const { files, complete } = await berth.remote.list('');
    expect(files.map(({ path }) => path).sort()).toEqual([name, 'plain'].sort());
    expect(complete).toBe(true);
    expect((await fetched(berth.remote, name)).toString()).toBe(name);
    expect(await berth.remote.stat(name)).toMatchObject({ sizeBytes: Buffer.byteLength(name) });
    await berth.remote.remove(name);
    expect(await namesOn(berth.disk)).toEqual([bytes('plain')]);
    const options = berth.server.journal.of('OPTS').map(({ argument }) => argument);
    expect(options).toContain(charset === 'utf-8' ? 'UTF8 ON' : 'UTF8 OFF');
  });

  test('a character that the charset lacks: a skip with a sentence, before anything is sent', async () => {
    await using berth = await open({}, { charset: 'iso-8859-1' });
    await deliver(berth, 'a');
    const stores = berth.server.journal.of('STOR').length;
    const failure = await failing(deliver(berth, 'привет'));
    expect(failure).toMatchObject({ decision: 'skip', code: 'argument' });
    // What WHATWG makes of ISO 8859-1.
    expect(failure.message).toContain('characters that its charset (windows-1252) does not have');
    expect(berth.server.journal.of('STOR')).toHaveLength(stores);
    expect(await namesOn(berth.disk)).toEqual([bytes('a')]);
  });

  test('a run with one such file sends the others', async () => {
    await using world = await World.open({ settings: { charset: 'koi8-r' } });
    for (const path of ['да', '日本', 'plain']) await world.put(path);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 2, skipped: 1 } });
    expect(world.skips()).toMatchObject([{ path: '日本' }]);
    expect(await namesOn(world.remote(''))).toEqual([bytes('plain'), bytes(0xc4, 0xc1)].sort());
  });

  test('a name on the server that is none in the charset makes the listing incomplete, and is not guessed', async () => {
    await using berth = await open({}, { charset: 'utf-8' });
    await writeFile(Buffer.concat([Buffer.from(`${berth.disk}/`), Buffer.from([0xff, 0xfe])]), 'x');
    await writeFile(join(berth.disk, 'plain'), 'x');
    const { files, complete } = await berth.remote.list('');
    expect(files.map(({ path }) => path)).toEqual(['plain']);
    expect(complete).toBe(false);
  });
});

describe('the byte 0xFF, which is a command in Telnet', () => {
  const names = ['пояс', 'яя', 'пять', 'яю.txt', 'd/я'];
  const encoded: Readonly<Record<string, number>> = {
    п: 0xef,
    о: 0xee,
    я: 0xff,
    с: 0xf1,
    т: 0xf2,
    ь: 0xfc,
    ю: 0xfe,
  };
  const wanted = ['пояс', 'яя', 'пять']
    .map((name) => bytes(...[...name].map((letter) => encoded[letter] ?? letter)))
    .concat(bytes(0xff, 0xfe, '.txt'), bytes('d'))
    .sort();

  test.each([
    ['interpreted', 1],
    ['interpreted', 4],
    ['ignored', 1],
    ['ignored', 4],
  ] as const)('%s, %i connections: every file has its right name', async (telnet, connections) => {
    await using berth = await open({ telnet }, { charset: 'windows-1251', connections });
    // Connections that stand already were opened without knowing.
    await Promise.all(['p', 'q', 'r', 's'].map((path) => deliver(berth, path)));
    for (const path of ['p', 'q', 'r', 's']) await berth.remote.remove(path);
    await Promise.all(names.map((path) => deliverInTheEnd(berth, path)));
    expect(await namesOn(berth.disk)).toEqual(wanted);
    expect(await namesOn(join(berth.disk, 'd'))).toEqual([bytes(0xff)]);
    expect(berth.learned).toEqual(
      telnet === 'ignored' ? [] : [expect.stringContaining('the byte 0xFF is sent twice')],
    );
  });

  test('a connection that was opened before that was known is not used for anything any more', async () => {
    await using berth = await open({ telnet: 'interpreted' }, { charset: 'windows-1251', connections: 4 });
    const slow = berth.server.script({ on: 'STOR', nth: 'every', do: { kind: 'delay', ms: 40 } });
    await Promise.all(['p', 'q', 'r', 's', 't', 'u', 'v', 'w'].map((path) => deliver(berth, path)));
    expect(berth.server.journal.open).toBe(4);
    slow.remove();
    await deliverInTheEnd(berth, 'яя');
    const seen = await Promise.all(Array.from({ length: 8 }, () => berth.remote.stat('яя')));
    expect(seen.map((file) => file?.sizeBytes)).toEqual(Array.from({ length: 8 }, () => 4));
    expect((await fetched(berth.remote, 'яя')).toString()).toBe('яя');
  });

  test('a whole run, and a second one that finds nothing to do', async () => {
    await using world = await World.open({
      server: { telnet: 'interpreted' },
      settings: { charset: 'windows-1251' },
    });
    for (const path of [...names, 'a', 'b', 'c']) await world.put(path);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 8, skipped: 0 } });
    expect(await namesOn(world.remote(''))).toEqual([...wanted, bytes('a'), bytes('b'), bytes('c')].sort());
    expect(world.intents()).toEqual([]);
    await world.put('яяя');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 8 } });
    expect(await namesOn(world.remote(''))).toContain(bytes(0xff, 0xff, 0xff));
    const sentences = world.told('server.learned').filter(({ message }) => message.includes('0xFF'));
    expect(sentences).toHaveLength(1);
  });

  test('a pull finds it out by the file that is listed and refused', async () => {
    await using world = await World.open({
      server: { telnet: 'interpreted' },
      settings: { charset: 'windows-1251' },
      job: { direction: 'pull' },
    });
    await world.putRemote('a', 'a');
    await writeFile(Buffer.concat([Buffer.from(`${world.remote('')}/`), Buffer.from([0xff, 0xff])]), 'odd');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 2 } });
    expect(world.here()).toEqual({ a: 'a', яя: 'odd' });
  });

  test.each(['ignored', 'interpreted'] as const)(
    'one file that nobody may read does not spoil the others (Telnet %s)',
    async (telnet) => {
      await using world = await World.open({
        server: { telnet },
        settings: { charset: 'windows-1251', connections: 1 },
        job: { direction: 'pull' },
      });
      const odd = (name: string) =>
        Buffer.concat([Buffer.from(`${world.remote('')}/${name}`), Buffer.from([0xff, 0xff])]);
      await world.putRemote('x');
      for (const name of ['a', 'b']) await writeFile(odd(name), name);
      const denied = { path: /\/a/, nth: 'every', do: { kind: 'reply', text: '550 Denied.' } } as const;
      world.server.script({ on: 'RETR', ...denied });
      world.server.script({ on: 'SIZE', ...denied });
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 2, skipped: 1 } });
      expect(Object.keys(world.here()).sort()).toEqual(['bяя', 'x']);
    },
  );

  test('a charset in which no name has that byte is never tried for it', async () => {
    await using berth = await open({ telnet: 'interpreted' });
    await deliver(berth, 'я');
    expect(trials(berth)).toBe(1);
    expect(berth.learned).toEqual([]);
  });
});

describe('a server that refuses temporary names', () => {
  const refuse = {
    on: 'STOR',
    path: /\/\.[^/]*$/,
    nth: 'every',
    do: { kind: 'reply', text: '553 Prohibited file name.' },
  } as const;
  const refuseEnding = {
    on: 'STOR',
    path: /\.part$/,
    nth: 'every',
    do: { kind: 'reply', text: '550 Forbidden.' },
  } as const;

  test.each([
    ['that begin with a dot', refuse, 1, 'there'],
    ['that begin with a dot', refuse, 4, 'there'],
    ['that begin with a dot', refuse, 1, 'missing'],
    ['that begin with a dot', refuse, 4, 'missing'],
    ['that end with .part', refuseEnding, 4, 'missing'],
  ] as const)(
    '%s: the plain form is learned (%o, %i connections, directory %s)',
    async (_what, rule, connections, there) => {
      await using world = await World.open({ settings: { connections } });
      if (there === 'there') await mkdir(world.remote('d'), { recursive: true });
      for (let i = 0; i < 40; i += 1) await world.put(`${i % 2 === 0 ? 'd/' : ''}f${i}.txt`);
      world.server.script(rule);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 40, skipped: 0 } });
      world.expectConverged();
      const learned = world
        .told('server.learned')
        .filter(({ message }) => message.includes('temporary files'));
      expect(learned).toHaveLength(1);
      await world.put('again.txt');
      const refused = (): number =>
        world.server.journal.of('STOR').filter(({ replies }) => replies[0]?.startsWith('55')).length;
      const before = refused();
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 40 } });
      expect(refused()).toBe(before);
      world.expectConverged();
    },
  );

  test('and every other one: the files are skipped, and nothing is learned', async () => {
    await using world = await World.open({ settings: { connections: 2 } });
    for (let i = 0; i < 5; i += 1) await world.put(`f${i}`);
    world.server.script({
      on: 'STOR',
      nth: 'every',
      do: { kind: 'reply', text: '553 Prohibited file name.' },
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 0, skipped: 5 } });
    expect(world.told('server.learned')).toEqual([]);
    expect(world.temporaries()).toEqual([]);
  });

  test('one file that is refused for its own sake teaches nothing', async () => {
    await using world = await World.open({ settings: { connections: 1 } });
    for (const path of ['a', 'b', 'c', 'd']) await world.put(path);
    await mkdir(world.remote(''));
    world.server.script({ on: 'STOR', nth: 1, times: 2, do: { kind: 'reply', text: '553 Not this one.' } });
    expect((await world.run()).tally.uploaded).toBeGreaterThanOrEqual(3);
    expect(world.told('server.learned')).toEqual([]);
    expect(world.temporaries()).toEqual([]);
  });
});
