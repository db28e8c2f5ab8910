/*
 * What real SFTP servers bound: connections, sessions on one connection, bytes under one key. Fewer connections than
 * are wanted carry all files, a hundred files go over a single one, and new keys in the middle change no byte.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { isTooMany, judge } from '../../src/remote/failure.js';
import { describeReal, type SshServerName } from '../support/real-server.js';
import { startModSftp } from '../support/servers/mod-sftp.js';
import { type RealSshServer, startSshd } from '../support/servers/openssh.js';
import { deliveryOf, fetched, filesBelow, hundredFiles, sha256, sourceOf } from './contract.js';
import { RealSftpBerth } from './real-sftp-berth.js';

const MIB = 1024 * 1024;

/** Files enough that one connection seems too few. */
function manyFiles(label: string): ReadonlyMap<string, Buffer> {
  return new Map(
    Array.from({ length: 200 }, (_, place) => {
      const path = `${label}/file-${String(place).padStart(3, '0')}`;
      return [path, randomBytes(place === 50 ? 2 * MIB : 10 * place)] as const;
    }),
  );
}

async function deliverAll(berth: RealSftpBerth, files: ReadonlyMap<string, Buffer>): Promise<void> {
  await Promise.all(
    [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
  );
  for (const [path, content] of files)
    expect(sha256(await readFile(join(berth.disk, path))), path).toBe(sha256(content));
}

async function fetchAll(berth: RealSftpBerth, files: ReadonlyMap<string, Buffer>): Promise<void> {
  await Promise.all(
    [...files].map(async ([path, content]) =>
      expect(sha256(await fetched(berth.remote, path)), path).toBe(sha256(content)),
    ),
  );
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

function count(text: string, what: RegExp): number {
  return [...text.matchAll(what)].length;
}

interface Limit {
  readonly name: SshServerName;
  /** The server's own words for it. */
  readonly setting: string;
  /** What it logs of whoever is one too many; undefined where nobody is. */
  readonly refuses: RegExp | undefined;
  start(): Promise<RealSshServer>;
}

const limits: readonly Limit[] = [
  ...['MaxStartups 1', 'PerSourceMaxStartups 1'].map(
    (setting): Limit => ({
      name: 'openssh',
      setting,
      refuses: /drop connection .*MaxStartups/i,
      start: () => startSshd({ settings: [setting] }),
    }),
  ),
  // One on each connection is all that is asked for.
  {
    name: 'openssh',
    setting: 'MaxSessions 1',
    refuses: undefined,
    start: () => startSshd({ settings: ['MaxSessions 1'] }),
  },
  ...['MaxClients 1', 'MaxClientsPerUser 2', 'MaxConnectionsPerHost 1', 'MaxInstances 2'].map(
    (setting): Limit => ({
      name: 'mod-sftp',
      setting,
      refuses: /Connection refused \(Max|MaxInstances \(2\) reached/,
      start: () => startModSftp({ settings: [setting] }),
    }),
  ),
];

for (const { name, setting, refuses, start } of limits) {
  describeReal(name, `${name}, ${setting}`, () => {
    test('four connections are wanted: every file arrives, there and back', async () => {
      await using berth = await RealSftpBerth.open(start, { connections: 4 });
      const files = manyFiles('files');
      await deliverAll(berth, files);
      await fetchAll(berth, files);
      expect(await filesBelow(berth.disk)).toEqual([...files.keys()]);
      if (refuses === undefined) expect(berth.opened).toHaveLength(4);
      else expect(await berth.server.log()).toMatch(refuses);
    });
  });
}

describeReal('mod-sftp', 'mod-sftp, whose only connection somebody else has', () => {
  test('a hold, and over when that one has gone', async () => {
    await using berth = await RealSftpBerth.open(() => startModSftp({ maxClients: 1 }));
    const other = await RealSftpBerth.beside(berth.server);
    try {
      expect((await other.remote.list('')).files).toEqual([]);
      const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
      expect(isTooMany(failure), failure.message).toBe(true);
      expect(await filesBelow(berth.disk)).toEqual([]);
    } finally {
      await other[Symbol.asyncDispose]();
    }
    const again = berth.account.remote({ path: 'dumps', absolute: false });
    // The server needs a moment to notice.
    await expect
      .poll(() => again.stat('file').catch((error: unknown) => String(error)), { timeout: 5_000 })
      .toBeUndefined();
    await again.deliver(deliveryOf('file', sourceOf('content')));
    expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('content');
  });
});

describeReal('openssh', 'sshd, MaxSessions 0', () => {
  test('no session is opened: the run ends, and it is said what the server does', async () => {
    await using berth = await RealSftpBerth.open(() => startSshd({ settings: ['MaxSessions 0'] }));
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ kind: 'unreachable', beforeSession: true });
    expect(['hold', 'abort']).toContain(failure.decision);
    expect(failure.message).toContain(`${berth.server.host}:${berth.server.port}`);
  });
});

for (const [name, start] of [
  ['openssh', () => startSshd()],
  ['mod-sftp', () => startModSftp()],
] as const) {
  describeReal(name, `${name}: one connection`, () => {
    test('a hundred files there and back', async () => {
      await using berth = await RealSftpBerth.open(start, { connections: 1 });
      const files = hundredFiles();
      await deliverAll(berth, files);
      expect(await filesBelow(berth.disk)).toEqual([...files.keys()]);
      await fetchAll(berth, files);
      expect(berth.opened).toHaveLength(1);
    });
  });
}

describeReal('openssh', 'sshd, RekeyLimit 512K', () => {
  test('keys change under load in both directions at once, and no byte does', async () => {
    const settings = ['RekeyLimit 512K', 'LogLevel DEBUG1'];
    await using berth = await RealSftpBerth.open(() => startSshd({ settings }), { connections: 1 });
    const large = new Map([
      ['one', randomBytes(4 * MIB + 1)],
      ['two', randomBytes(2 * MIB + 2)],
    ]);
    await deliverAll(berth, large);
    const small = manyFiles('small');
    await Promise.all([deliverAll(berth, small), fetchAll(berth, large)]);
    expect(berth.opened).toHaveLength(1);
    // Some 14 MiB there and back, and new keys at each half of one, as far as both sides are done with those before.
    expect(count(await berth.server.log(), /SSH2_MSG_NEWKEYS received/g)).toBeGreaterThan(10);
  });
});

describeReal('mod-sftp', 'mod-sftp, SFTPRekey each MB', () => {
  test('keys change under load in both directions at once, and no byte does', async () => {
    const settings = ['SFTPRekey required 3600 1 300'];
    // It answers a sign of life with a packet that has no place among new keys; so none is asked for here.
    const timeouts = { connectMs: 5_000, replyMs: 60_000, stallMs: 5_000, transferMs: 60_000 };
    await using berth = await RealSftpBerth.open(() => startModSftp({ settings }), {
      connections: 1,
      timeouts,
    });
    const large = new Map([
      ['one', randomBytes(10 * MIB + 1)],
      ['two', randomBytes(2 * MIB + 2)],
    ]);
    await deliverAll(berth, large);
    const small = manyFiles('small');
    await Promise.all([deliverAll(berth, small), fetchAll(berth, large)]);
    expect(berth.opened).toHaveLength(1);
    // Some 26 MiB there and back, and one each MB at the most: while one is under way more than that may go by.
    expect(count(await berth.server.log(), /Session key exchange/g)).toBeGreaterThan(10);
  });
});

describeReal('openssh', 'sshd with old algorithms alone', () => {
  test.each([
    ['aes256-ctr, hmac-sha2-256', ['Ciphers aes256-ctr', 'MACs hmac-sha2-256']],
    ['aes128-ctr, hmac-sha1', ['Ciphers aes128-ctr', 'MACs hmac-sha1']],
    ['chacha20-poly1305', ['Ciphers chacha20-poly1305@openssh.com']],
    ['diffie-hellman-group14-sha256', ['KexAlgorithms diffie-hellman-group14-sha256']],
    ['compression', ['Compression yes']],
  ])('%s', async (_, settings) => {
    await using berth = await RealSftpBerth.open(() => startSshd({ settings }));
    const files = new Map([['file', randomBytes(MIB + 5)]]);
    await deliverAll(berth, files);
    await fetchAll(berth, files);
  });

  test('none in common: a matter of trust, and said so', async () => {
    const settings = ['Ciphers aes128-cbc'];
    await using berth = await RealSftpBerth.open(() => startSshd({ settings }));
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'abort', kind: 'trust', beforeSession: true });
    expect(failure.message).toMatch(/cipher|algorithm/i);
  });
});
