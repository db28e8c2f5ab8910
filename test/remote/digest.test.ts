/* The digest of what a server holds: its own word where it has one, else the file read back, and never half of it. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { judge } from '../../src/remote/failure.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { FtpBerth } from './berth.js';

const CONTENT = 'content '.repeat(10_000);
const SHA_256 = { algorithm: 'SHA-256', hex: createHash('sha256').update(CONTENT).digest('hex') };

async function open(
  server: Omit<FtpServerOptions, 'root'> = {},
  account: Partial<Settings> = {},
): Promise<FtpBerth> {
  const berth = await FtpBerth.open({ server, account: { connections: 1, ...account } });
  await mkdir(join(berth.disk, 'sub'));
  await writeFile(join(berth.disk, 'sub/file'), CONTENT);
  return berth;
}

const digestOf = (berth: FtpBerth, path = 'sub/file') =>
  berth.remote.digest(path, { sizeBytes: CONTENT.length });

test('a server with a command for it is asked, and nothing is fetched', async () => {
  await using berth = await open({ features: { HASH: true } });
  expect(await digestOf(berth)).toEqual(SHA_256);
  expect(berth.server.journal.sentBytes).toBe(0);
});

test.each<[string, Omit<FtpServerOptions, 'root'>, Partial<Settings>]>([
  ['has none', {}, {}],
  ['is not to be asked', { features: { HASH: true } }, { verify: 'size' }],
])('of a server that %s the file is read back', async (_what, server, account) => {
  await using berth = await open(server, account);
  expect(await digestOf(berth)).toEqual(SHA_256);
  expect(berth.server.journal.sentBytes).toBe(CONTENT.length);
  expect(berth.server.journal.of('HASH')).toEqual([]);
});

test('a file that came over in part has no digest: that is an error, and the next try tells', async () => {
  await using berth = await open();
  berth.server.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 70_000 } });
  const error: unknown = await digestOf(berth).catch((reason: unknown) => reason);
  expect(judge(error)).toMatchObject({ decision: 'retry', code: 'mismatch' });
  expect(await digestOf(berth)).toEqual(SHA_256);
});

test('a file that nobody may read is an error, and no missing one', async () => {
  await using berth = await open();
  berth.server.script({ on: 'RETR', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
  const error: unknown = await digestOf(berth).catch((reason: unknown) => reason);
  expect(judge(error)).toMatchObject({ decision: 'skip', code: '550' });
});

test('a file that goes while it is asked for is missing', async () => {
  await using berth = await open();
  berth.server.script({ on: 'RETR', do: { kind: 'reply', text: '550 No such file.' } });
  berth.server.script({ on: 'MLSD', do: { kind: 'content', bytes: '' } });
  expect(await digestOf(berth)).toBeUndefined();
});

test.each<[string, Omit<FtpServerOptions, 'root'>]>([
  ['everything', { features: { HASH: true } }],
  ['no SIZE and no MLST', { features: { SIZE: false, MLSD: false, MLST: false } }],
])('what is missing, at any depth, on a server with %s', async (_what, server) => {
  await using berth = await open(server);
  for (const path of ['missing', 'sub', 'sub/missing', 'no/such/file'])
    expect(await digestOf(berth, path), path).toBeUndefined();
});
