/*
 * Logging in over SFTP as a person lives it: what has to be written, what is told where it is wrong and with which exit
 * code, and that keys, passphrases and passwords are then found nowhere: not in the ledger, not in a log at any level,
 * not among the arguments of a process, also where a server repeats them.
 */
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { describe, expect, test } from 'vitest';
import type { SftpServerOptions } from '../support/sftp-server/settings.js';
import { type SftpServer, startSftpServer } from '../support/sftp-server.js';
import { PASSWORD, Stage, type Written } from './stage.js';

const PASSPHRASE = 'opens-the-vault-key-7f3a';

interface Pair {
  readonly private: string;
  readonly public: string;
}

function keyPair(passphrase?: string): Pair {
  return passphrase === undefined
    ? ssh2.utils.generateKeyPairSync('ed25519')
    : ssh2.utils.generateKeyPairSync('ed25519', { passphrase, cipher: 'aes256-ctr', rounds: 1 });
}

/** The lines of a key's file that hold something of the key. */
function linesOf(key: Pair): string[] {
  return key.private.split('\n').filter((line) => line.length > 20 && !line.startsWith('-----'));
}

/** The scripted server with its files below `remote/`; whoever logs in comes there. */
function startServer(stage: Stage, options: Partial<SftpServerOptions>): Promise<SftpServer> {
  return startSftpServer({ root: stage.at('remote'), home: '/', ...options });
}

/** Writes `jobs/servers.yaml`, trusts these servers, and lays out a job that pushes one file to `vault:in`. */
async function prepare(
  stage: Stage,
  servers: Readonly<Record<string, Written>>,
  trusted: readonly SftpServer[] = [],
): Promise<void> {
  await stage.write('jobs/servers.yaml', JSON.stringify(servers, undefined, 2));
  if (trusted.length > 0) {
    await stage.write('jobs/known_hosts', trusted.map(({ knownHosts }) => knownHosts).join(''));
  }
  await stage.writePush('nightly', { to: 'vault:in' });
  await stage.write('source/a.txt', 'content');
}

async function writeSecret(stage: Stage, path: string, text: string): Promise<void> {
  await stage.write(path, text);
  await chmod(stage.at(path), 0o600);
}

/** Bytes of the ledger and of all that lies beside it. */
async function ledgerBytes(stage: Stage): Promise<string> {
  const names = (await readdir(stage.directory.path)).filter((name) => name.startsWith('ledger.db'));
  expect(names).toContain('ledger.db');
  const texts = names.map((name) => readFile(stage.at(name), 'latin1').catch(() => ''));
  return (await Promise.all(texts)).join('\n');
}

/** Whatever form it might be hiding in. */
function expectNone(text: string, secrets: readonly string[]): void {
  const lower = text.toLowerCase();
  for (const secret of secrets) {
    const bytes = Buffer.from(secret);
    for (const form of [secret, bytes.toString('base64').replace(/=+$/, ''), bytes.toString('hex')]) {
      expect(lower).not.toContain(form.toLowerCase());
    }
  }
}

test('with a key and its passphrase, a password besides, through another server: none of them is found anywhere', async () => {
  await using stage = await Stage.open();
  const own = keyPair(PASSPHRASE);
  const hop = keyPair();
  await mkdir(stage.at('nowhere'));
  await using vault = await startServer(stage, {
    users: { ferry: { password: PASSWORD, keys: [own.public] } },
    authentication: [['publickey', 'password']],
  });
  await using gate = await startSftpServer({
    root: stage.at('nowhere'),
    users: { hop: { keys: [hop.public] } },
    forwarding: 'allowed',
  });
  await prepare(
    stage,
    {
      vault: {
        url: vault.url,
        user: 'ferry',
        password: { command: ['./tell'] },
        privateKey: { file: 'vault.key' },
        passphrase: { credential: 'vault' },
        via: 'gate',
      },
      gate: { url: gate.url, user: 'hop', privateKey: { env: 'GATE_KEY' } },
    },
    [vault, gate],
  );
  await writeSecret(stage, 'jobs/vault.key', own.private);
  await stage.write('credentials/vault', PASSPHRASE);
  await stage.write('jobs/tell', `#!/bin/sh\nprintf '%s' '${PASSWORD}'\n`);
  await chmod(stage.at('jobs/tell'), 0o700);
  // A hook that shows its environment, as scripts do that are in trouble.
  await stage.writePush('nightly', { to: 'vault:in', before: 'env' });
  const env = { NAS_PASSWORD: '', GATE_KEY: hop.private, CREDENTIALS_DIRECTORY: stage.at('credentials') };

  const run = stage.start(['--json', '--log-level', 'debug', 'run', 'nightly'], { env });
  const cmdline = await readFile(`/proc/${run.pid}/cmdline`, 'latin1').catch(() => '');
  const { code, stdout, stderr, log } = await run.inTime();
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(await stage.differences('remote/in', { 'a.txt': 'content' })).toEqual([]);
  expect(vault.journal.attempts.filter(({ outcome }) => outcome !== 'refused')).toMatchObject([
    { method: 'publickey', outcome: 'partial' },
    { method: 'password', outcome: 'accepted' },
  ]);
  expect(gate.journal.forwards).toBeGreaterThan(0);
  expect(log.filter(({ event }) => event === 'wire').length).toBeGreaterThan(5);
  expect(log.some(({ event, message }) => event === 'hook.output' && message.includes('HOME='))).toBe(true);

  const secrets = [PASSWORD, PASSPHRASE, ...linesOf(own), ...linesOf(hop)];
  for (const text of [stdout, stderr, cmdline, await ledgerBytes(stage)]) expectNone(text, secrets);
  for (const args of [['--json', 'status'], ['history'], ['plan', 'nightly']]) {
    const said = await stage.start(args, { env }).inTime();
    expectNone(said.stdout + said.stderr, secrets);
  }
});

test('a server that repeats the password in a refusal does not get it into log, ledger or status', async () => {
  await using stage = await Stage.open();
  await using vault = await startServer(stage, {
    users: { ferry: PASSWORD },
    banner: `Welcome, ferry/${PASSWORD}.`,
  });
  await prepare(stage, { vault: { url: vault.url, user: 'ferry', password: { env: 'NAS_PASSWORD' } } }, [
    vault,
  ]);
  vault.script({ on: 'OPEN', do: { kind: 'status', code: 3, words: `ferry/${PASSWORD} may not write` } });
  const { code, stdout, stderr } = await stage
    .start(['--json', '--log-level', 'debug', 'run', 'nightly'])
    .inTime();
  expect(code).toBe(3);
  expect(stderr).toContain('Welcome, ferry/****.');
  const said = await stage.ferryd('status', 'nightly');
  expect(said.stdout).toContain('may not write');
  for (const text of [stdout, stderr, said.stdout, await ledgerBytes(stage)]) expectNone(text, [PASSWORD]);
});

describe('exit code 2, and nobody is asked for anything', () => {
  const vault = { url: 'sftp://127.0.0.1:1', user: 'ferry' };

  test('keys that contradict each other are all told by check', async () => {
    await using stage = await Stage.open();
    await prepare(stage, { vault: { url: 'sftp://127.0.0.1', tls: {}, via: 'vault' } });
    const { code, stdout } = await stage.ferryd('check');
    expect(code).toBe(2);
    for (const words of [
      'SFTP needs a user',
      'nothing to log in with',
      'SFTP has no TLS',
      'through itself',
    ]) {
      expect(stdout).toContain(words);
    }
    expect(stdout).toContain('the server "vault" has a mistake in servers.yaml');
  });

  test.each<[string, Written, (stage: Stage) => Promise<void>, string]>([
    [
      'the public key in place of the private one',
      { privateKey: { file: 'vault.key' } },
      (stage) => writeSecret(stage, 'jobs/vault.key', keyPair().public),
      'That is the public key.',
    ],
    ['no agent', { agent: true }, async () => {}, 'agent: true of the server vault means'],
  ])('%s', async (_what, keys, write, words) => {
    await using stage = await Stage.open();
    await prepare(stage, { vault: { ...vault, ...keys } });
    await write(stage);
    const { code, result, stderr } = await stage.run('nightly');
    expect(code).toBe(2);
    expect(result.failure).toMatchObject({ kind: 'configuration' });
    expect(result.failure?.message).toContain(words);
    expectNone(stderr + result.failure?.message, [PASSPHRASE, PASSWORD]);
  });
});

test('check tells which servers nobody has trusted, those on the way too, and each once', async () => {
  await using stage = await Stage.open();
  const key = keyPair().public.split(' ').slice(0, 2).join(' ');
  const login = { user: 'ferry', password: { env: 'NAS_PASSWORD' } };
  await prepare(stage, {
    vault: { url: 'sftp://vault.example:2222', ...login, via: 'gate' },
    gate: { url: 'sftp://gate.example', ...login },
    pinned: { url: 'sftp://pin.example', ...login, hostKey: `SHA256:${'A'.repeat(43)}` },
    known: { url: 'sftp://known.example:2222', ...login },
  });
  await stage.write('jobs/known_hosts', `[known.example]:2222 ${key}\n[vault.example]:2223 ${key}\n`);
  await stage.writePush('second', { to: 'vault:in' });
  await stage.writePush('third', { to: 'pinned:in' });
  await stage.writePush('fourth', { to: 'known:in' });
  const { code, stdout } = await stage.ferryd('check');
  const line = (name: string): string =>
    `jobs/nightly.yaml:1:1: warning: the host key of ${name} is not known, so a run would end before anything is sent; look at it and trust it with: ferryd trust ${name}`;
  expect(stdout.split('\n')).toEqual([
    line('gate'),
    line('vault'),
    `4 jobs ready to run in ${stage.at('jobs')}, 0 mistakes, 2 warnings.`,
    '',
  ]);
  expect(code).toBe(0);
});

describe('exit code 5, and nothing was sent', () => {
  test('a host key that nobody has trusted, told with its fingerprint and the way to trust it', async () => {
    await using stage = await Stage.open();
    await using vault = await startServer(stage, { users: { ferry: PASSWORD } });
    await prepare(stage, { vault: { url: vault.url, user: 'ferry', password: { env: 'NAS_PASSWORD' } } });
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(5);
    expect(result.failure?.message).toContain(vault.fingerprints[0]);
    expect(result.failure?.message).toContain('ferryd trust vault');
    expect(vault.journal.attempts).toEqual([]);
    expect(vault.journal.connections).toBe(1);

    const pinned = { hostKey: vault.fingerprints[0], password: { env: 'NAS_PASSWORD' } };
    await prepare(stage, { vault: { url: vault.url, user: 'ferry', ...pinned } });
    expect((await stage.run('nightly')).code).toBe(0);
    expect(await stage.differences('remote/in', { 'a.txt': 'content' })).toEqual([]);
  });

  test('a key that the server does not know', async () => {
    await using stage = await Stage.open();
    await using vault = await startServer(stage, { users: { ferry: { keys: [keyPair().public] } } });
    await prepare(stage, { vault: { url: vault.url, user: 'ferry', privateKey: { file: 'k' } } }, [vault]);
    await writeSecret(stage, 'jobs/k', keyPair().private);
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(5);
    expect(result.failure?.message).toContain('ferry');
    // Once: a second try could lock the account.
    expect(vault.journal.connections).toBe(1);
  });
});
