/*
 * Listings and attributes of a server that lies: names that lead elsewhere or harm a terminal, names twice and without
 * end, types and sizes that cannot be, listings that break off. What is not shown in full is never called complete:
 * deletions go by that.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Failure } from '../../../src/remote/decision.js';
import { judge } from '../../../src/remote/failure.js';
import type { RemoteDirectory } from '../../../src/remote/remote.js';
import type { FalseName, Lie, Rule } from '../../support/sftp-server/fault.js';
import { fetched } from '../contract.js';
import { SftpBerth } from '../sftp-berth.js';

const HOSTILE: readonly (string | Buffer)[] = [
  '..',
  '.',
  '',
  '/',
  '../up',
  '../../etc/passwd',
  '/etc/passwd',
  'a/b',
  'a/',
  'nul\0byte',
  'x'.repeat(5_000),
  'x'.repeat(65_536),
  Buffer.from('caf\xe9', 'latin1'),
  Buffer.from([0xff, 0xfe, 0x2f]),
];

/** Odd, and yet names. */
const STRANGE: readonly string[] = [
  '...',
  ' ',
  '-rf',
  '\u001b[31mred',
  'new\nline',
  'back\\slash',
  '\u202egnp.exe',
  '~',
  'C:',
];

async function withFile(): Promise<SftpBerth> {
  const berth = await SftpBerth.open();
  await writeFile(join(berth.disk, 'true'), 'true');
  return berth;
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  return judge(
    await work.then(
      (value) => new Error(`It did not fail, and gave ${JSON.stringify(value)?.slice(0, 300)}`),
      (error: unknown) => error,
    ),
  );
}

async function listed(rule: Rule): Promise<RemoteDirectory> {
  await using berth = await withFile();
  berth.server.script(rule);
  const directory = await berth.remote.list('');
  berth.server.behave();
  // Whatever was told there, it goes on.
  expect((await berth.remote.list('')).files.map(({ path }) => path)).toEqual(['true']);
  return directory;
}

const adding = (...entries: FalseName[]): Rule => ({ on: 'READDIR', do: { kind: 'names', entries } });

describe('names', () => {
  test('that lead elsewhere, or are none, are nowhere among the paths, and the listing is not complete', async () => {
    for (const name of HOSTILE) {
      const shown = JSON.stringify(name.toString('latin1').slice(0, 40));
      const told = await listed(adding({ name }));
      const paths = [...told.files.map(({ path }) => path), ...told.directories, ...told.others];
      expect(paths, shown).toEqual(['true']);
      // `.` and `..` every server tells.
      expect(told.complete, shown).toBe(name === '.' || name === '..');
    }
  });

  test('that are odd, and yet names, are told as they are, or not called complete', async () => {
    for (const name of STRANGE) {
      const told = await listed(adding({ name }));
      const paths = told.files.map(({ path }) => path).sort();
      const wanted = told.complete ? ['true', name].sort() : ['true'];
      expect(paths, JSON.stringify(name)).toEqual(wanted);
    }
  });

  test('that come twice come once, and the listing is not complete', async () => {
    const directory = { sizeBytes: 0, mode: 0o040755 };
    for (const entries of [
      [{ name: 'true' }],
      [{ name: 'twice' }, { name: 'twice', attributes: directory }],
      [
        { name: 'sub', attributes: directory },
        { name: 'sub', attributes: directory },
      ],
    ]) {
      const told = await listed(adding(...entries));
      const paths = [...told.files.map(({ path }) => path), ...told.directories];
      expect(new Set(paths).size).toBe(paths.length);
      expect(told.complete).toBe(false);
    }
  });
});

describe('listings', () => {
  test.each<[string, Rule]>([
    ['refused in the middle', { on: 'READDIR', nth: 2, do: { kind: 'status', code: 4 } }],
    ['without the right to go on', { on: 'READDIR', nth: 2, do: { kind: 'status', code: 3 } }],
    ['gone in the middle', { on: 'READDIR', nth: 2, do: { kind: 'status', code: 2 } }],
    ['"ok" in the middle', { on: 'READDIR', nth: 2, do: { kind: 'status', code: 0 } }],
    ['cut with the channel', { on: 'READDIR', nth: 2, do: { kind: 'end', how: 'channel' } }],
    ['cut with the connection', { on: 'READDIR', nth: 2, do: { kind: 'cut', atByte: 30, how: 'reset' } }],
    ['data in the middle', { on: 'READDIR', nth: 2, do: { kind: 'packet', type: 103 } }],
  ])('%s: no listing at all', async (_what, rule) => {
    await using berth = await SftpBerth.open({ server: { entriesPerAnswer: 2 } });
    for (let count = 0; count < 9; count += 1) await writeFile(join(berth.disk, `file-${count}`), 'x');
    await berth.remote.list('');
    berth.server.script(rule);
    const failure = await failureOf(berth.remote.list(''));
    expect(failure.message).not.toContain('did not fail');
    expect(['reconnect', 'skip']).toContain(failure.decision);
    expect((await berth.remote.list('')).files).toHaveLength(9);
  });

  test('answers without an entry, now and then, are no end', async () => {
    await using berth = await SftpBerth.open({ server: { entriesPerAnswer: 2 } });
    for (let count = 0; count < 9; count += 1) await writeFile(join(berth.disk, `file-${count}`), 'x');
    for (const nth of [1, 2, 4])
      berth.server.script({ on: 'READDIR', nth, do: { kind: 'packet', type: 104, body: new Uint8Array(4) } });
    const told = await berth.remote.list('');
    expect(told.files).toHaveLength(9);
  });

  test('nothing but such answers comes to an end', async () => {
    await using berth = await withFile();
    berth.server.script({
      on: 'READDIR',
      nth: 'every',
      do: { kind: 'packet', type: 104, body: new Uint8Array(4) },
    });
    expect(await failureOf(berth.remote.list(''))).toMatchObject({
      decision: 'reconnect',
      code: 'malformed',
    });
    berth.server.behave();
    expect((await berth.remote.list('')).files).toHaveLength(1);
  });

  test('without an end comes to one', async () => {
    await using berth = await SftpBerth.open({
      account: { timeouts: { connectMs: 5_000, replyMs: 2_000, stallMs: 2_000, transferMs: 300 } },
    });
    berth.server.script({ on: 'OPENDIR', do: { kind: 'endlessListing', entries: 20 } });
    const failure = await failureOf(berth.remote.list(''));
    expect(failure.decision, failure.message).toBe('reconnect');
    expect((await berth.remote.list('')).files).toHaveLength(0);
  });
});

describe('attributes', () => {
  const lies: Readonly<Record<string, Lie>> = {
    'no size': { sizeBytes: 'none' },
    'a size of 2^64-1': { sizeBytes: 2n ** 64n - 1n },
    'a size of 2^53': { sizeBytes: 2n ** 53n },
    'no type': { mode: 'none' },
    'a type of nothing': { mode: 0 },
    'all bits': { mode: 0xffff_ffff },
    'a directory': { mode: 0o040755 },
    'a link': { mode: 0o120777 },
    'a pipe': { mode: 0o010644 },
    'no times': { accessedS: 'none', modifiedS: 'none' },
    'a time of 0': { modifiedS: 0 },
    'the last second': { modifiedS: 0xffff_ffff },
    nothing: {
      sizeBytes: 'none',
      mode: 'none',
      uid: 'none',
      gid: 'none',
      accessedS: 'none',
      modifiedS: 'none',
    },
  };

  test.each(Object.entries(lies))('in a listing: %s', async (_what, changes) => {
    const told = await listed({ on: 'READDIR', do: { kind: 'attributes', name: 'true', changes } });
    const where = [
      ...told.files.map(({ path }) => path),
      ...told.directories,
      ...told.others,
      ...(told.complete ? [] : ['true']),
    ];
    expect(where).toContain('true');
    for (const { sizeBytes, modifiedMs } of told.files) {
      expect(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0).toBe(true);
      expect(modifiedMs === undefined || Number.isSafeInteger(modifiedMs)).toBe(true);
    }
  });

  test.each(Object.entries(lies))('everywhere, for good: %s', async (_what, changes) => {
    await using berth = await withFile();
    for (const on of ['STAT', 'LSTAT', 'FSTAT', 'READDIR'])
      berth.server.script({ on, nth: 'every', do: { kind: 'attributes', changes } });
    const { remote } = berth;
    const attempts = [
      remote.stat('true'),
      remote.list(''),
      fetched(remote, 'true').then((content) => expect(content.toString()).toBe('true')),
      remote.move('true', 'moved'),
      remote.makeDirectory('sub/sub'),
      remote.removeDirectory('none'),
      remote.remove('none'),
    ];
    for (const each of await Promise.allSettled(attempts)) {
      if (each.status === 'fulfilled') continue;
      const failure = judge(each.reason);
      expect(failure.code, failure.message).not.toBe('unexpected');
      expect(failure.message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
    berth.server.behave();
    const names = (await remote.list('')).files.map(({ path }) => path);
    expect(names.filter((name) => name === 'true' || name === 'moved')).toHaveLength(1);
  });
});
