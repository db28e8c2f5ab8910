/*
 * A password is read when a run wants it, from each of the four places, and is then found nowhere: not in the ledger,
 * not in a log at any level, not in what is printed, not among the arguments of a process.
 */
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { FtpServer } from '../support/ftp-server.js';
import { PASSWORD, Stage, type Written } from './stage.js';

/** The password, and the forms in which it might be hiding. */
const FORMS = [
  PASSWORD,
  Buffer.from(PASSWORD).toString('base64').replace(/=+$/, ''),
  Buffer.from(PASSWORD).toString('hex'),
  encodeURIComponent(PASSWORD),
];

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

function expectNoSecret(text: string): void {
  for (const form of FORMS) expect(text.toLowerCase()).not.toContain(form.toLowerCase());
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
