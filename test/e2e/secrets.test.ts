/*
 * A password is read when a run wants it, from each of the four places, and is then found nowhere: not in the ledger,
 * not in a log at any level, not in what is printed, not among the arguments of a process. So are passphrases, URLs of
 * webhooks and pings, and what notices are signed and mailed with.
 */
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { chmod, lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { describe, expect, test } from 'vitest';
import { certificates } from '../support/certificates.js';
import type { FtpServer } from '../support/ftp-server.js';
import { PASSWORD, pathsBelow, Stage, type Written } from './stage.js';

/** A secret, and the forms in which it might be hiding. */
function formsOf(secret: string): string[] {
  return [
    secret,
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
    Buffer.from(secret).toString('hex'),
    encodeURIComponent(secret),
  ];
}

const SOURCES: readonly [string, Written, Record<string, string>][] = [
  ['an environment variable', { env: 'SECRET_HERE' }, { SECRET_HERE: PASSWORD }],
  ['a file', { file: 'nas.password' }, {}],
  ['a program', { command: ['./tell', 'nas'] }, {}],
  ['a credential', { credential: 'nas' }, { CREDENTIALS_DIRECTORY: 'credentials' }],
];

async function prepare(stage: Stage, server: FtpServer, password: Written): Promise<void> {
  await stage.writeNas(server, { password });
  await stage.writePush('nightly', { triggers: [{ watch: { settle: '50ms' } }] });
  await stage.write('source/a.txt', 'content');
  await writeFile(stage.at('jobs/nas.password'), `${PASSWORD}\n`, { mode: 0o600 });
  await writeFile(
    stage.at('jobs/tell'),
    `#!/bin/sh\nprintf '%s' '${PASSWORD}'\necho 'hush ${PASSWORD}' >&2\n`,
  );
  await chmod(stage.at('jobs/tell'), 0o700);
  await mkdir(stage.at('credentials'));
  await writeFile(stage.at('credentials/nas'), PASSWORD, { mode: 0o400 });
}

/** Bytes of the ledger and of all that lies beside it: WAL, locks, notes. */
async function ledgerBytes(stage: Stage): Promise<string> {
  const names = (await readdir(stage.directory.path, { recursive: true })).filter((name) =>
    name.startsWith('ledger.db'),
  );
  expect(names).toContain('ledger.db');
  const texts = names.map((name) => readFile(stage.at(name), 'latin1').catch(() => ''));
  return (await Promise.all(texts)).join('\n');
}

function expectNoSecret(text: string, secrets: readonly string[] = [PASSWORD]): void {
  const lower = text.toLowerCase();
  for (const form of secrets.flatMap(formsOf)) expect(lower).not.toContain(form.toLowerCase());
}

describe.each(SOURCES)('a password from %s', (_name, password, environment) => {
  const env = (stage: Stage): Record<string, string> => ({
    NAS_PASSWORD: '',
    ...environment,
    ...(environment.CREDENTIALS_DIRECTORY === undefined
      ? {}
      : { CREDENTIALS_DIRECTORY: stage.at('credentials') }),
  });

  test('opens the server, and appears nowhere, also at the level debug', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await prepare(stage, server, password);
    const run = stage.start(['--json', '--log-level', 'debug', 'run', 'nightly'], { env: env(stage) });
    const { code, stdout, stderr, log } = await run.inTime();
    expect(code).toBe(0);
    expect(await stage.differences('remote/in', { 'a.txt': 'content' })).toEqual([]);
    // The wire is shown, the secret on it is not.
    expect(log.filter(({ event }) => event === 'wire').map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/> PASS (?!correct)/),
    );
    expectNoSecret(stdout);
    expectNoSecret(stderr);
    expectNoSecret(await ledgerBytes(stage));
    for (const args of [['status'], ['history'], ['--json', 'status'], ['check'], ['plan', 'nightly']]) {
      const said = await stage.start(args, { env: env(stage) }).inTime();
      expectNoSecret(said.stdout + said.stderr);
    }
  });
});

test('a server that sends the password back in its words does not get it into log, ledger or status', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await prepare(stage, server, { env: 'SECRET_HERE' });
  server.script({ on: 'PASS', do: { kind: 'reply', text: `530 ferry/${PASSWORD} is not right.` } });
  const run = stage.start(['--json', '--log-level', 'debug', 'run', 'nightly'], {
    env: { SECRET_HERE: PASSWORD },
  });
  const { code, stdout, stderr } = await run.inTime();
  expect(code).toBe(5);
  expectNoSecret(stdout);
  expectNoSecret(stderr);
  expectNoSecret(await ledgerBytes(stage));
  const said = await stage.ferryd('status');
  expect(said.stdout).toContain('530');
  expectNoSecret(said.stdout);
});

test('the daemon keeps it in memory alone', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await prepare(stage, server, { file: 'nas.password' });
  const daemon = stage.start(['--log-level', 'debug', 'daemon']);
  await daemon.until('run.ended');
  expectNoSecret(await readFile(`/proc/${daemon.pid}/cmdline`, 'latin1').catch(() => ''));
  const { code, stderr, stdout } = await daemon.end('SIGTERM');
  expect(code).toBe(0);
  expectNoSecret(stdout + stderr);
  expectNoSecret(await ledgerBytes(stage));
});

test.each([
  [
    'a file that everybody may read',
    async (stage: Stage) => chmod(stage.at('jobs/nas.password'), 0o644),
    'chmod 600',
  ],
  ['an empty file', async (stage: Stage) => writeFile(stage.at('jobs/nas.password'), ''), 'empty'],
] as const)('%s stops the run with a sentence, exit code 2', async (_what, spoil, word) => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await prepare(stage, server, { file: 'nas.password' });
  await spoil(stage);
  const { code, result } = await stage.run('nightly');
  expect(code).toBe(2);
  expect(result.failure?.message).toContain(word);
  expect(server.journal.connections).toBe(0);
});

test('a password in a URL is refused with what to write, and is not repeated', async () => {
  await using stage = await Stage.open();
  await stage.write('jobs/servers.yaml', `nas:\n  url: ftpes://ferry:${PASSWORD}@nas.example\n`);
  await stage.writePush('nightly');
  const { code, stdout, stderr } = await stage.ferryd('check');
  expect(code).toBe(2);
  expect(stdout).toMatch(/servers\.yaml:2:\d+: error: .*password/);
  expectNoSecret(stdout + stderr);
});

/** Remembers what it was asked; refuses everything, and repeats the secret of the URL in doing so. */
async function refusing(): Promise<AsyncDisposable & { readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(500, `no ${request.url}`, { 'content-type': 'text/plain' });
    request.resume().once('end', () => response.end(`No ${request.url} here.`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('all that a whole configuration has of them stays out of every log, file and answer, also where everything fails', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await using web = await refusing();
  const secret = {
    NAS_PASSWORD: PASSWORD,
    KEY_PASSPHRASE: 'opens-the-key-7f3a',
    HOOK_URL: `${web.url}/hook/knows-the-hook-91bc`,
    HOOK_KEY: 'signs-the-notice-5d20',
    PING_URL: `${web.url}/ping/knows-the-ping-44e1`,
    MAIL_PASSWORD: 'sends-the-mail-c08d',
  };
  const { client } = await certificates();
  const key = createPrivateKey(client.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: secret.KEY_PASSPHRASE,
  });
  await stage.write('jobs/client.pem', client.cert);
  await writeFile(stage.at('jobs/client.key'), key, { mode: 0o600 });
  await stage.writeNas(server, {
    tls: {
      ca: 'ca.pem',
      certificate: 'client.pem',
      key: { file: 'client.key' },
      passphrase: { env: 'KEY_PASSPHRASE' },
    },
  });
  const agent = {
    log: { file: { path: '../log/ferryd.log' } },
    notify: [
      { webhook: { env: 'HOOK_URL' }, key: { env: 'HOOK_KEY' } },
      {
        mail: 'ops@example.net',
        from: 'ferryd@example.net',
        server: 'smtp://127.0.0.1:1',
        user: 'ferryd',
        password: { env: 'MAIL_PASSWORD' },
      },
    ],
  };
  await stage.write('jobs/agent.yaml', JSON.stringify(agent));
  await stage.write('source/a.txt', 'content');
  const triggers = [{ cron: '* * * * * *' }];
  await stage.writePush('good', { triggers, ping: { env: 'PING_URL' } });
  // A script that fails and shows its environment, as scripts do.
  await stage.writePush('bad', { to: 'nas:bad', triggers, before: 'env; env >&2; exit 1', after: 'env' });

  const daemon = stage.start(['--log-level', 'debug', 'daemon'], { env: secret });
  await daemon.until('run.ended', ({ outcome }) => outcome === 'ok');
  const failed = new Set<unknown>();
  for (const channel of ['webhook', 'mail']) {
    const line = await daemon.until('notice.failed', (one) => String(one.channel).includes(channel));
    failed.add(line.channel);
  }
  expect(failed.size).toBe(2);
  await daemon.when(() => web.asked.some((path) => path.startsWith('/ping/')), 'a ping');
  expect(web.asked).toContain('/hook/knows-the-hook-91bc');
  const answers = await Promise.all(
    [['status'], ['--json', 'status'], ['history'], ['check'], ['plan', 'good']].map((args) =>
      stage.start(args, { env: secret }).inTime(),
    ),
  );
  const { code, stdout, stderr, log } = await daemon.end('SIGTERM');
  expect(code).toBe(0);
  expect(log.filter(({ event }) => event === 'hook.output').length).toBeGreaterThan(4);
  expect(log.some(({ event, message }) => event === 'wire' && message.includes('> PASS'))).toBe(true);

  const secrets = Object.values({
    ...secret,
    // What is secret in a URL is not its host.
    HOOK_URL: 'knows-the-hook-91bc',
    PING_URL: 'knows-the-ping-44e1',
  });
  const files = await Promise.all(
    (await pathsBelow(stage.directory.path)).map(async (path) =>
      (await lstat(stage.at(path))).isFile() ? `${path}\n${await readFile(stage.at(path), 'latin1')}` : path,
    ),
  );
  expect(files.some((text) => text.startsWith('log/ferryd.log\n{"time"'))).toBe(true);
  for (const text of [stdout, stderr, ...files, ...answers.map((one) => one.stdout + one.stderr)]) {
    expectNoSecret(text, secrets);
  }
});
