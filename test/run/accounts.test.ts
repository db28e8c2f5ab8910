/* What accounts read before anything is connected: secrets, authorities, the certificate of this side and its key. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SecretSource, ServerTls } from '../../src/job/job.js';
import { Accounts } from '../../src/run/accounts.js';
import { certificates } from '../support/certificates.js';
import { World } from './support/voyage.js';

let world: World;
let accounts: Accounts;
/** The server's settings without a certificate. */
let plain: ServerTls;

beforeEach(async () => {
  world = await World.open({ server: { security: 'explicit' } });
  plain = world.job.server.tls;
  accounts = new Accounts(() => {}, { wire: 'silent', profiles: undefined });
  const { client } = await certificates();
  await writeFile(at('us.pem'), client.cert);
  await writeFile(at('us.key'), client.key, { mode: 0o600 });
  await writeFile(at('us.pass'), 'hunter2\n', { mode: 0o600 });
});

afterEach(async () => {
  await accounts.close();
  await world[Symbol.asyncDispose]();
});

const at = (name: string): string => world.directory.join(name);
const secret = (name: string): SecretSource => ({ kind: 'file', path: at(name) });

/** The server's settings with a certificate and what a test makes different. */
function change(tls: Partial<ServerTls>): void {
  world.change({
    settings: {
      tls: { ...plain, certificateFile: at('us.pem'), key: secret('us.key'), ...tls },
    },
  });
}

/** A run that ends before it connects; its failure. */
async function refusal(tls: Partial<ServerTls>): Promise<{ code: string; message: string }> {
  change(tls);
  await world.put('f');
  const report = await world.run();
  expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'configuration' } });
  expect(world.server.journal.connections).toBe(0);
  const { code = '', message = '' } = report.failure ?? {};
  expect(message).not.toContain('hunter2');
  expect(message).not.toContain('PRIVATE KEY-----\n');
  return { code, message };
}

describe('a certificate, its key and its passphrase', () => {
  it('are read, and a changed one makes a new account', async () => {
    change({ passphrase: secret('us.pass') });
    const first = await accounts.of(world.job.server);
    expect(await accounts.of(world.job.server)).toBe(first);
    const changes: (() => Promise<void>)[] = [
      async () => writeFile(at('us.pem'), (await certificates()).good.cert),
      async () => writeFile(at('us.key'), (await certificates()).good.key),
      () => writeFile(at('us.pass'), 'hunter3'),
      async () => writeFile(at('ca.pem'), (await certificates()).selfSigned.cert),
      () => writeFile(at('password'), 'another'),
    ];
    let former = first;
    for (const makeChange of changes) {
      await makeChange();
      const now = await accounts.of(world.job.server);
      expect(now).not.toBe(former);
      expect(await accounts.of(world.job.server)).toBe(now);
      former = now;
    }
  });

  it.each(['pkcs1', 'pkcs8', 'sec1'] as const)('a key in the form %s', async (type) => {
    const { privateKey } =
      type === 'pkcs1'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type, format: 'pem' }).toString();
    await writeFile(at('us.key'), pem.replaceAll('\n', '\r\n'));
    change({});
    await expect(accounts.of(world.job.server)).resolves.toBeDefined();
  });

  it.each(['pkcs8', 'sec1'] as const)('an encrypted key (%s) needs its passphrase', async (type) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' });
    await writeFile(at('us.key'), pem);
    expect(await refusal({})).toEqual({
      code: 'key',
      message:
        'What tls.key of the server nas names is an encrypted private key. Say where its passphrase comes from with tls.passphrase.',
    });
    change({ passphrase: secret('us.pass') });
    await expect(accounts.of(world.job.server)).resolves.toBeDefined();
  });
});

describe('what cannot be used ends the run before it connects', () => {
  it('a file of certificates that is not there, is none, or is no file', async () => {
    expect(await refusal({ certificateFile: at('missing.pem') })).toEqual({
      code: 'certificate',
      message: `The file ${at('missing.pem')} that tls.certificate of the server nas names cannot be read (ENOENT). See that it is there, and that the user of ferryd may read it.`,
    });
    expect(await refusal({ certificateFile: at('us.key') })).toEqual({
      code: 'certificate',
      message: `The file ${at('us.key')} that tls.certificate of the server nas names holds no PEM certificate. One begins with -----BEGIN CERTIFICATE-----.`,
    });
    await mkdir(at('us.d'));
    expect(await refusal({ caFile: at('us.d') })).toEqual({
      code: 'ca',
      message: `The file ${at('us.d')} that tls.ca of the server nas names is not a regular file. Name the PEM file itself.`,
    });
    await promisify(execFile)('mkfifo', [at('fifo')]);
    expect((await refusal({ certificateFile: at('fifo') })).message).toContain('is not a regular file');
    await writeFile(at('big.pem'), Buffer.alloc(4 * 1024 * 1024 + 1));
    expect((await refusal({ certificateFile: at('big.pem') })).message).toContain('is larger than 4 MiB');
  });

  it('a key that is not there, is none, or is for something else', async () => {
    const missing = await refusal({ key: secret('missing.key') });
    expect(missing.code).toBe('secret');
    expect(missing.message).toContain('Cannot read the private key of the server nas: there is no file ');
    expect(await refusal({ key: secret('us.pass') })).toEqual({
      code: 'key',
      message:
        'What tls.key of the server nas names holds no PEM private key. It begins with -----BEGIN PRIVATE KEY-----.',
    });
    await writeFile(
      at('us.key'),
      '-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n',
    );
    const ssh = await refusal({});
    expect(ssh.code).toBe('key');
    expect(ssh.message).toContain('is a key for SSH, which TLS cannot use.');
  });

  it('a passphrase that is not there, or is of two lines', async () => {
    const missing = await refusal({ passphrase: secret('missing.pass') });
    expect(missing.code).toBe('secret');
    expect(missing.message).toContain('Cannot read the passphrase of the server nas: there is no file ');
    await writeFile(at('us.pass'), 'hunter2\nx\n');
    expect((await refusal({ passphrase: secret('us.pass') })).message).toContain('it holds a line break');
  });
});
