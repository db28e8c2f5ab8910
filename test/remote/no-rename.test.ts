/*
 * Servers that store and do not rename, and say 550 to it as they say it of one file: Pure-FTPd where it is told so,
 * vsftpd for anonymous users by default, which then deletes nothing either. Each is found out at its first file, and
 * gets all of them under their final names; a refusal that is about one file, or about one moment, says nothing of it.
 */
import { unlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import type { Delivery, Remote } from '../../src/remote/remote.js';
import { serverLike } from '../support/ftp-server/settings.js';
import type { FtpServer } from '../support/ftp-server.js';
import { describeReal } from '../support/real-server.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';
import { RealBerth } from './real-berth.js';

const FORBIDDEN = '550 Permission denied.';
const contentOf = (path: string): string => `content of ${path}`;
const whole = (path: string): Delivery => deliveryOf(path, sourceOf(contentOf(path)));

const refuses =
  (...verbs: string[]) =>
  (server: FtpServer): void => {
    for (const on of verbs) server.script({ on, nth: 'every', do: { kind: 'reply', text: FORBIDDEN } });
  };

/** What is found out outlives a session on it. */
function shelf(): ProfileStore {
  let stored: string | undefined;
  return {
    load: () => stored,
    save: (json) => {
      stored = json;
    },
  };
}

async function open(options: FtpBerthOptions): Promise<FtpBerth> {
  return FtpBerth.open({ ...options, account: { connections: 1, ...options.account } });
}

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

/** Delivers as a run does: where the temporary name was refused, under one of the form that is wanted since. */
async function deliverInTheEnd(remote: Remote, path: string): Promise<void> {
  const failure = await failing(remote.deliver(whole(path)));
  expect(failure).toMatchObject({ decision: 'retry', code: 'TEMPORARY' });
  expect(failure.message).toContain('cannot rename');
  expect(remote.temporaryForm).toBe('none');
  await remote.deliver({ ...whole(path), temporary: path });
}

const PATHS = ['a', 'b', 'sub/c', 'sub/d', 'e'];

describe.each([
  ['vsftpd', serverLike('vsftpd')],
  ['Pure-FTPd', serverLike('pure-ftpd')],
  ['a server without SIZE', { features: { SIZE: false } }],
  ['a server that reads one command at a time', { features: { FEAT: false } }],
] as const)('the ways of %s, and 550 to RNFR', (_name, server) => {
  test('every file arrives under its final name, and nothing is left of the others', async () => {
    await using berth = await open({ server, prepare: refuses('RNFR') });
    await Promise.all(PATHS.map((path) => deliverInTheEnd(berth.remote, path)));
    expect(await filesBelow(berth.disk)).toEqual([...PATHS].sort());
    for (const path of PATHS) expect(await readFile(join(berth.disk, path), 'utf8')).toBe(contentOf(path));
    const said = berth.learned.filter((sentence) => sentence.includes('cannot rename'));
    expect(said).toEqual([
      expect.stringMatching(/written under their final names, where a part can be seen until all of it is/),
    ]);
  });

  test('where it does not delete either, one sentence says what is left', async () => {
    await using berth = await open({ server, prepare: refuses('RNFR', 'DELE') });
    for (const path of PATHS) await deliverInTheEnd(berth.remote, path);
    const held = await filesBelow(berth.disk);
    const parts = held.filter((path) => path.endsWith('.part'));
    // Only of the first: what was named before it was known is not stored in vain.
    expect(parts).toHaveLength(1);
    expect(held).toEqual([...parts, ...PATHS].sort());
    const said = berth.learned.filter((sentence) => sentence.includes('cannot rename'));
    expect(said).toEqual([
      expect.stringContaining(`Nor does it delete: /home/ferry/dumps/${parts[0]} is left there`),
    ]);
  });
});

test('what waits in the lane behind the first is told, too, and none of it stays', async () => {
  await using berth = await open({ prepare: refuses('RNFR'), account: { connections: 2 } });
  const paths = Array.from({ length: 20 }, (_, place) => `file-${place}`);
  await Promise.all(paths.map((path) => deliverInTheEnd(berth.remote, path)));
  expect(await filesBelow(berth.disk)).toEqual([...paths].sort());
});

describe('what is known is kept', () => {
  test('the next session asks no more', async () => {
    const profile = shelf();
    {
      await using berth = await open({ prepare: refuses('RNFR'), profile });
      await deliverInTheEnd(berth.remote, 'a');
    }
    await using berth = await open({ profile });
    expect(berth.remote.temporaryForm).toBe('none');
    await berth.remote.deliver({ ...whole('a'), temporary: 'a' });
    expect(berth.server.journal.of('RNFR')).toEqual([]);
    expect(await filesBelow(berth.disk)).toEqual(['a']);
  });

  test('a file that was named by an earlier run is refused before a byte of it is sent', async () => {
    await using berth = await open({ prepare: refuses('RNFR') });
    await deliverInTheEnd(berth.remote, 'a');
    const { stored } = berth.server.journal;
    expect(await failing(berth.remote.deliver({ ...whole('b'), part: 'possible' }))).toMatchObject({
      decision: 'retry',
      code: 'TEMPORARY',
    });
    expect(berth.server.journal.stored).toBe(stored);
  });
});

describe('with a trash', () => {
  const aside = (path: string): string => `.ferryd-trash/20260101T020304Z/${path}`;

  test('found out at the file that was to be moved aside: it is left, and so is nothing else', async () => {
    await using berth = await open({ prepare: refuses('RNFR') });
    await writeFile(join(berth.disk, 'a'), 'old');
    const first = await failing(berth.remote.deliver({ ...whole('a'), aside: aside('a') }));
    expect(first).toMatchObject({ decision: 'retry', code: 'TEMPORARY' });
    const second = await failing(berth.remote.deliver({ ...whole('a'), temporary: 'a', aside: aside('a') }));
    expect(second).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(second.message).toMatch(/cannot rename.*policy: delete/);
    expect(await filesBelow(berth.disk)).toEqual(['a']);
    expect(await readFile(join(berth.disk, 'a'), 'utf8')).toBe('old');
  });

  test('only the old file may not be renamed: that is about this file', async () => {
    await using berth = await open({});
    berth.server.script({ on: 'RNFR', path: '**/a', nth: 'every', do: { kind: 'reply', text: FORBIDDEN } });
    await writeFile(join(berth.disk, 'a'), 'old');
    const failure = await failing(berth.remote.deliver({ ...whole('a'), aside: aside('a') }));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(await readFile(join(berth.disk, 'a'), 'utf8')).toBe('old');
    await berth.remote.deliver({ ...whole('b'), aside: aside('b') });
    expect(berth.remote.temporaryForm).toBe('hidden');
  });

  test('nothing stands there yet: it is found out at the new file', async () => {
    await using berth = await open({ prepare: refuses('RNFR') });
    const failure = await failing(
      berth.remote.deliver({ ...whole('a'), part: 'possible', aside: aside('a') }),
    );
    expect(failure).toMatchObject({ decision: 'retry', code: 'TEMPORARY' });
    expect(await filesBelow(berth.disk)).toEqual([]);
  });
});

describe('a 550 that says nothing of the server', () => {
  test('once: another file is renamed, and that one is skipped as it was', async () => {
    await using berth = await open({});
    berth.server.script({ on: 'RNFR', do: { kind: 'reply', text: FORBIDDEN } });
    expect(await failing(berth.remote.deliver(whole('a')))).toMatchObject({ decision: 'skip', code: '550' });
    await berth.remote.deliver(whole('b'));
    expect(berth.remote.temporaryForm).toBe('hidden');
    expect(berth.learned).toEqual([]);
  });

  test('after another file was renamed', async () => {
    await using berth = await open({});
    await berth.remote.deliver(whole('a'));
    refuses('RNFR')(berth.server);
    expect(await failing(berth.remote.deliver(whole('b')))).toMatchObject({ decision: 'skip', code: '550' });
    expect(berth.remote.temporaryForm).toBe('hidden');
  });

  test('the file is in use', async () => {
    await using berth = await open({});
    const text = '550 The process cannot access the file because it is being used by another process.';
    berth.server.script({ on: 'RNFR', nth: 'every', do: { kind: 'reply', text } });
    expect(await failing(berth.remote.deliver(whole('a')))).toMatchObject({ decision: 'retry', code: '550' });
    expect(berth.remote.temporaryForm).toBe('hidden');
  });

  test('the temporary file has vanished: it is sent again', async () => {
    await using berth = await open({});
    const delivery = whole('a');
    const off = berth.server.on('command', (verb) => {
      if (verb !== 'RNFR') return;
      off();
      unlinkSync(join(berth.disk, delivery.temporary));
    });
    expect(await failing(berth.remote.deliver(delivery))).toMatchObject({
      decision: 'reconnect',
      code: 'unconfirmed',
    });
    await berth.remote.deliver(whole('a'));
    expect(await filesBelow(berth.disk)).toEqual(['a']);
    expect(berth.remote.temporaryForm).toBe('hidden');
  });

  test('it has renamed onto a free name for years, and does so no more: the old file is not lost', async () => {
    const profile = shelf();
    {
      await using berth = await open({ server: { renameOverwrites: false }, profile });
      for (const content of ['one', 'two']) await berth.remote.deliver(deliveryOf('a', sourceOf(content)));
    }
    await using berth = await open({
      server: { renameOverwrites: false },
      prepare: refuses('RNFR'),
      profile,
    });
    await deliverInTheEnd(berth.remote, 'a');
    expect(await filesBelow(berth.disk)).toEqual(['a']);
    expect(await readFile(join(berth.disk, 'a'), 'utf8')).toBe(contentOf('a'));
  });
});

describeReal('pure-ftpd', 'real Pure-FTPd', () => {
  test.each([
    ['--norename', []],
    ['--norename --keepallfiles', ['--keepallfiles']],
  ] as const)('%s', async (_name, more) => {
    const settings = ['--norename', ...more];
    await using berth = await RealBerth.open(() => startPureFtpd({ settings }), 'plain', { connections: 1 });
    await allArrive(berth, more.length === 0 ? 'deletes' : 'keeps');
  });
});

describeReal('vsftpd', 'real vsftpd', () => {
  test('anonymous users may store and nothing else', async () => {
    const settings = { anon_other_write_enable: 'NO' };
    await using berth = await RealBerth.open(() => startVsftpd({ settings }), 'plain', { connections: 1 });
    await allArrive(berth, 'keeps');
    // What stands there already it does not let anybody overwrite: that is said of the file.
    const again = { ...deliveryOf('a', sourceOf('other words')), temporary: 'a' };
    expect(await failing(berth.remote.deliver(again))).toMatchObject({ decision: 'skip', code: '553' });
    expect(await readFile(join(berth.disk, 'a'), 'utf8')).toBe(contentOf('a'));
  });
});

async function allArrive(berth: RealBerth, parts: 'deletes' | 'keeps'): Promise<void> {
  for (const path of PATHS) await deliverInTheEnd(berth.remote, path);
  const held = await filesBelow(berth.disk);
  const left = held.filter((path) => path.endsWith('.part'));
  expect(left).toHaveLength(parts === 'keeps' ? 1 : 0);
  expect(held).toEqual([...left, ...PATHS].sort());
  for (const path of PATHS) expect(await readFile(join(berth.disk, path), 'utf8')).toBe(contentOf(path));
  const [said] = berth.learned.filter((sentence) => sentence.includes('cannot rename'));
  if (parts === 'keeps') expect(said).toContain(`/dumps/${left[0]} is left there`);
  else expect(said).not.toContain('left');
}
