/*
 * What the FTP remote does beyond the contract: what it asks the server for and what it spares, what it finds out and
 * remembers, and what becomes of a delivery when the server misbehaves in the middle of it.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FtpError } from '../../src/ftp/errors.js';
import { serverIdentity, settingsIdentity } from '../../src/remote/account.js';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { FtpBerth, serverSettings } from './berth.js';
import { deliveryOf, filesBelow, someTimeMs, sourceOf } from './contract.js';

/** What the policy makes of the failure of some work. */
async function judged(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof FtpError)) throw error;
  return judge(error);
}

/** The commands of a berth since a moment. */
function since(berth: FtpBerth): () => string[] {
  const from = berth.server.journal.commands.length;
  return () => berth.server.journal.verbs().slice(from);
}

describe('what is asked', () => {
  test('a delivery costs one data connection, three packets, and no listing; the port is known by then', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.deliver(deliveryOf('first', sourceOf('x')));
    const verbs = since(berth);
    const data = berth.server.journal.dataConnections;
    await berth.remote.deliver(deliveryOf('second', sourceOf('x')));
    expect(verbs()).toEqual(['STOR', 'EPSV', 'SIZE', 'MFMT', 'RNFR', 'RNTO']);
    expect(berth.server.journal.dataConnections).toBe(data + 1);
    expect(berth.server.journal.listings).toBe(0);
  });

  test('the rename is only sent when the size is proven', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.deliver(deliveryOf('file', sourceOf('x')));
    const [size] = berth.server.journal.of('SIZE');
    const [rename] = berth.server.journal.of('RNFR');
    expect(size?.packet).toBeLessThan(rename?.packet ?? 0);
  });

  test('a session opens with FEAT, CLNT, OPTS UTF8, TYPE I and PWD', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.remove('x');
    expect(berth.server.journal.verbs().slice(0, 7)).toEqual([
      'USER',
      'PASS',
      'FEAT',
      'CLNT',
      'OPTS',
      'TYPE',
      'PWD',
    ]);
  });

  test('directories are made when a STOR misses them, and each only once', async () => {
    await using berth = await FtpBerth.open({ account: { connections: 1 } });
    for (const name of ['one', 'two', 'three'])
      await berth.remote.deliver(deliveryOf(`a/b/${name}`, sourceOf(name)));
    const made = berth.server.journal.of('MKD').filter(({ replies }) => replies[0]?.startsWith('257'));
    expect(made.map(({ argument }) => argument)).toEqual(['/home/ferry/dumps/a', '/home/ferry/dumps/a/b']);
    expect(berth.server.journal.of('STOR')).toHaveLength(4);
  });

  test('a directory that somebody removed is made again', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.deliver(deliveryOf('sub/one', sourceOf('1')));
    await rm(join(berth.disk, 'sub'), { recursive: true });
    await berth.remote.deliver(deliveryOf('sub/two', sourceOf('2')));
    expect(await filesBelow(berth.disk)).toEqual(['sub/two']);
  });

  test('where a file is refused although the directory is there, nothing is made', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.deliver(deliveryOf('sub/one', sourceOf('1')));
    berth.server.script({
      on: 'STOR',
      nth: 'every',
      do: { kind: 'reply', text: '553 Could not create file.' },
    });
    const verbs = since(berth);
    expect(await judged(berth.remote.deliver(deliveryOf('sub/two', sourceOf('2'))))).toMatchObject({
      decision: 'skip',
      code: '553',
    });
    expect(verbs()).toEqual(['STOR', 'EPSV', 'CWD']);
  });

  test('a full disk makes no directories', async () => {
    await using berth = await FtpBerth.open();
    berth.server.script({ on: 'STOR', do: { kind: 'reply', text: '552 Quota exceeded.' } });
    expect((await judged(berth.remote.deliver(deliveryOf('sub/file', sourceOf('x'))))).decision).toBe('hold');
    expect(berth.server.journal.verbs()).not.toContain('MKD');
  });
});

describe('a delivery that the server spoils', () => {
  const content = Buffer.alloc(2_000_000, 'content ');
  const cases: Readonly<
    Record<string, readonly [on: string, fault: Fault, decision: string, kind?: string]>
  > = {
    'a short file behind a 226': ['STOR', { kind: 'storeShort', sizeBytes: 7 }, 'retry', 'verification'],
    'a longer file than was sent': ['SIZE', { kind: 'wrongSize', addBytes: 1 }, 'retry', 'verification'],
    'nothing there after the 226': [
      'SIZE',
      { kind: 'reply', text: '550 No such file.' },
      'retry',
      'verification',
    ],
    'the data reset at the first byte': ['STOR', { kind: 'dataReset', atByte: 0 }, 'retry'],
    'the data reset in the middle': ['STOR', { kind: 'dataReset', atByte: 1_000_000 }, 'retry'],
    'no final reply': ['STOR', { kind: 'reset', at: 'final' }, 'reconnect'],
    'the disk full in the middle': [
      'STOR',
      { kind: 'dataReset', atByte: 1_000_000, reply: '452 No space left.' },
      'hold',
    ],
    'a connection lost at SIZE': ['SIZE', { kind: 'reset' }, 'reconnect'],
    'a connection lost at RNFR': ['RNFR', { kind: 'reset' }, 'reconnect'],
    'a connection lost at RNTO': ['RNTO', { kind: 'reset' }, 'reconnect'],
    'a time that cannot be set now': ['MFMT', { kind: 'reply', text: '450 Not now.' }, 'retry'],
    'RNFR refused': ['RNFR', { kind: 'reply', text: '550 No.' }, 'skip'],
    'RNTO refused for good': ['RNTO', { kind: 'reply', text: '501 No.' }, 'skip'],
    'a reply out of step': ['SIZE', { kind: 'prepend', bytes: '226 Once more.\r\n' }, 'reconnect'],
  };

  test.each(Object.keys(cases))(
    '%s: the old file stands, and the next attempt goes through',
    async (name) => {
      const [on, fault, decision, kind] = cases[name] ?? ['', { kind: 'hang' }, ''];
      await using berth = await FtpBerth.open();
      await writeFile(join(berth.disk, 'file'), 'the old content');
      berth.server.script({ on, do: fault, times: on === 'MFMT' ? 2 : 1 });
      const failure = await judged(berth.remote.deliver(deliveryOf('file', sourceOf(content))));
      expect(failure.decision).toBe(decision);
      if (kind !== undefined) expect(failure.kind).toBe(kind);
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('the old content');
      await berth.remote.deliver(deliveryOf('file', sourceOf(content)));
      expect((await readFile(join(berth.disk, 'file'))).equals(content)).toBe(true);
      // A refusal of one moment taught nothing about the server.
      expect(berth.learned).toEqual([]);
    },
  );

  test('a reply of RNTO that is lost leaves the whole file under its final name or the temporary one', async () => {
    await using berth = await FtpBerth.open();
    berth.server.script({ on: 'RNTO', do: { kind: 'reset', at: 'final' } });
    expect((await judged(berth.remote.deliver(deliveryOf('file', sourceOf(content))))).decision).toBe(
      'reconnect',
    );
    expect(await berth.remote.stat('file')).toMatchObject({
      sizeBytes: content.length,
      modifiedMs: someTimeMs,
    });
  });

  test('a download of another size than the server told is refused', async () => {
    await using berth = await FtpBerth.open();
    await writeFile(join(berth.disk, 'file'), content);
    berth.server.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 1_000 } });
    const failure = await judged(berth.remote.fetch('file', async () => {}));
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(failure.message).toContain('1000 bytes');
    expect(await berth.remote.fetch('file', async () => {})).toBe(content.length);
  });
});

describe('what is found out', () => {
  test('EPSV is tried once, PASV is used from then on, and it is said once', async () => {
    await using berth = await FtpBerth.open({ server: { features: { EPSV: false } } });
    for (const name of ['a', 'b', 'c']) await berth.remote.deliver(deliveryOf(name, sourceOf(name)));
    expect(berth.server.journal.of('EPSV')).toHaveLength(1);
    expect(berth.server.journal.of('PASV')).toHaveLength(3);
    expect(berth.learned).toHaveLength(1);
    expect(berth.learned[0]).toContain('PASV is used');
  });

  test('an EPSV that cannot be read is as good as none', async () => {
    await using berth = await FtpBerth.open({ server: { replies: { epsv: () => '229 Somewhere' } } });
    await berth.remote.deliver(deliveryOf('a', sourceOf('a')));
    expect(berth.server.journal.verbs()).toContain('PASV');
  });

  test('a port that EPSV tells and nobody listens at: PASV is tried next', async () => {
    await using berth = await FtpBerth.open({
      server: { replies: { epsv: () => '229 Ok (|||1|)' } },
      account: { timeouts: { connectMs: 2_000, replyMs: 200, stallMs: 2_000, transferMs: 60_000 } },
    });
    expect((await judged(berth.remote.deliver(deliveryOf('a', sourceOf('a'))))).decision).toBe('reconnect');
    await berth.remote.deliver(deliveryOf('a', sourceOf('a')));
    expect(berth.server.journal.of('PASV')).toHaveLength(1);
  });

  test('without MFMT the next form is found once, and without any it is not asked again', async () => {
    await using berth = await FtpBerth.open({
      server: { features: { FEAT: false, MFMT: false, 'MDTM-SET': false, 'SITE-UTIME': false } },
    });
    for (const name of ['a', 'b', 'c']) {
      expect((await berth.remote.deliver(deliveryOf(name, sourceOf(name)))).modifiedMs).toBeUndefined();
    }
    expect(berth.server.journal.of('MFMT')).toHaveLength(1);
    expect(berth.server.journal.of('SITE')).toHaveLength(1);
    expect(
      berth.learned.filter((sentence) => sentence.includes('cannot set modification times')),
    ).toHaveLength(1);
  });

  test('a rename onto a file that exists: asked once, then the old file is removed first', async () => {
    await using berth = await FtpBerth.open({ server: { renameOverwrites: false } });
    for (const content of ['one', 'two', 'three']) {
      await berth.remote.deliver(deliveryOf('file', sourceOf(content)));
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe(content);
    }
    const refused = berth.server.journal.of('RNTO').filter(({ replies }) => replies[0]?.startsWith('550'));
    expect(refused).toHaveLength(1);
    expect(berth.server.journal.of('DELE')).toHaveLength(2);
  });

  test('a refused rename where nothing stands at the target removes nothing', async () => {
    await using berth = await FtpBerth.open();
    berth.server.script({ on: 'RNTO', do: { kind: 'reply', text: '550 No.' } });
    const delivery = deliveryOf('file', sourceOf('x'));
    await judged(berth.remote.deliver(delivery));
    expect(await filesBelow(berth.disk)).toEqual([delivery.temporary]);
    expect(berth.server.journal.verbs()).not.toContain('DELE');
    expect(berth.learned).toEqual([]);
  });

  test('a truncated listing is incomplete', async () => {
    await using berth = await FtpBerth.open({ server: { listingLimit: 2 } });
    for (const name of ['a', 'b', 'c']) await writeFile(join(berth.disk, name), name);
    const { files, complete } = await berth.remote.list('');
    expect([files.length, complete]).toEqual([2, false]);
  });

  test('a listing with a name that leads elsewhere is incomplete, and does not show it', async () => {
    await using berth = await FtpBerth.open();
    const bytes = 'type=file;size=1; ok\r\ntype=file;size=1; ../evil\r\ntype=file; sizeless\r\n';
    berth.server.script({ on: 'MLSD', do: { kind: 'content', bytes } });
    const { files, complete } = await berth.remote.list('');
    expect(files.map(({ path }) => path)).toEqual(['ok']);
    expect(complete).toBe(false);
  });
});

describe('opening sessions', () => {
  const wish = (berth: FtpBerth): Promise<Failure> => judged(berth.remote.remove('x'));

  test('a wrong password is tried once, and not once by every connection', async () => {
    await using berth = await FtpBerth.open({ password: 'wrong' });
    const failures = await Promise.all(Array.from({ length: 4 }, () => wish(berth)));
    for (const failure of failures)
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust', code: '530' });
    expect(berth.server.journal.of('PASS')).toHaveLength(1);
  });

  test('a login that worked and is refused now is tried once more', async () => {
    await using berth = await FtpBerth.open();
    await berth.remote.remove('x');
    berth.server.drop('reset');
    await berth.server.until((journal) => journal.open === 0);
    berth.server.script({ on: 'PASS', do: { kind: 'reply', text: '530 Login incorrect.' } });
    // The first use may still meet the old connection.
    await berth.remote.remove('x').catch(() => {});
    await berth.remote.remove('x');
    berth.server.drop('reset');
    await berth.server.until((journal) => journal.open === 0);
    berth.server.script({ on: 'PASS', nth: 'every', do: { kind: 'reply', text: '530 Login incorrect.' } });
    await berth.remote.remove('x').catch(() => {});
    const asked = berth.server.journal.of('PASS').length;
    expect(await wish(berth)).toMatchObject({ decision: 'abort', kind: 'trust' });
    expect(berth.server.journal.of('PASS').length - asked).toBe(2);
  });

  test.each([
    ['greeting', '421 Too many.', 'hold'],
    ['greeting', '554 Go away.', 'abort'],
    ['USER', '530 No.', 'abort'],
    ['PASS', '430 No.', 'abort'],
    ['PASS', '530 Too many connections.', 'hold'],
    ['PASS', '421 Bye.', 'hold'],
    ['TYPE', '504 ASCII only.', 'abort'],
    ['FEAT', '421 Bye.', 'reconnect'],
    ['PWD', '450 Later.', 'retry'],
  ])('%s answered with %j: %s, and no file is blamed', async (on, text, decision) => {
    await using berth = await FtpBerth.open({
      prepare: (server) => void server.script({ on, nth: 'every', do: { kind: 'reply', text } }),
    });
    expect(await wish(berth)).toMatchObject({ decision, beforeSession: true });
    await berth.server.until((journal) => journal.open === 0);
  });

  test('a server that takes fewer connections than configured does all the work over those', async () => {
    await using berth = await FtpBerth.open({ server: { maxConnections: 2 } });
    const paths = Array.from({ length: 20 }, (_, place) => `file-${String(place).padStart(2, '0')}`);
    await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path)))));
    expect(await filesBelow(berth.disk)).toEqual(paths);
    expect(berth.server.journal.logins).toBe(2);
    expect(berth.learned.at(-1)).toContain('2 are used');
  });

  test('closing an account in the middle of everything leaves nothing', async () => {
    await using berth = await FtpBerth.open({ server: { security: 'explicit' } });
    berth.server.script({ on: 'STOR', nth: 'every', do: { kind: 'dataStall', atByte: 10 } });
    const work = Promise.allSettled(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((name) =>
        berth.remote.deliver(deliveryOf(name, sourceOf('0123456789ab'))),
      ),
    );
    await berth.server.until((journal) => journal.receivedBytes >= 10);
    await berth.account.close();
    expect((await work).map(({ status }) => status)).toEqual(Array(6).fill('rejected'));
    expect(
      await filesBelow(berth.disk).then((files) => files.filter((file) => !file.endsWith('.part'))),
    ).toEqual([]);
  });

  test('closing an account while the server keeps it waiting does not wait for the server', async () => {
    await using berth = await FtpBerth.open({
      prepare: (server) => void server.script({ on: 'greeting', nth: 'every', do: { kind: 'hang' } }),
      account: { timeouts: { connectMs: 60_000, replyMs: 60_000, stallMs: 60_000, transferMs: 60_000 } },
    });
    const outcome = judged(berth.remote.remove('x'));
    await berth.server.until((journal) => journal.connections === 1);
    await berth.account.close();
    expect((await outcome).code).toBe('aborted');
  });
});

describe('identities', () => {
  test('an account is its user and its server; its settings change with every setting', async () => {
    await using berth = await FtpBerth.open();
    const settings = serverSettings(berth.server, 'plain');
    expect(serverIdentity({ ...settings, host: 'NAS.example.net', port: 21 })).toBe(
      'ftp://ferry@nas.example.net:21',
    );
    expect(settingsIdentity(settings)).toBe(settingsIdentity({ ...settings }));
    expect(settingsIdentity(settings)).not.toBe(settingsIdentity({ ...settings, connections: 2 }));
    expect(settingsIdentity(settings)).toMatch(/^[0-9a-f]{16}$/);
  });

  test('a remote is named by its server and its path', async () => {
    await using berth = await FtpBerth.open();
    expect(berth.remote.label).toBe('nas:dumps');
    expect(berth.account.remote({ path: '/srv/x', absolute: true }).label).toBe('nas:/srv/x');
  });
});
