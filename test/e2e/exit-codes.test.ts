/*
 * Every exit code, reached by a real situation; and every kind of bad input of the issue gets its sentence, its own
 * code, and loses nothing.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { certificates } from '../support/certificates.js';
import { atFirst, PASSWORD, pathsBelow, Stage } from './stage.js';

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  await new Promise((done) => probe.close(done));
  if (address === null || typeof address === 'string') throw new Error('The system gave no port');
  return address.port;
}

describe('0 and 1', () => {
  test('0: an empty source that was never full', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(0);
    expect(result).toMatchObject({ outcome: 'ok', uploaded: 0, unchanged: 0 });
    expect(server.journal.connections).toBe(0);
  });

  test('1: a source that is not there, and the server is not even asked', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { from: '../not-mounted' });
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(1);
    expect(result).toMatchObject({ outcome: 'failed', failure: { kind: 'failed', code: 'ENOENT' } });
    expect(result.failure?.message).toContain(stage.at('not-mounted'));
    expect(result.failure?.message).toContain('Is its disk mounted?');
    expect(server.journal.connections).toBe(0);
  });

  test('1: a source that is a file', async () => {
    await using stage = await Stage.open();
    await stage.writeNas({ url: 'ftpes://127.0.0.1' });
    await stage.write('thing', 'x');
    await stage.writePush('nightly', { from: '../thing' });
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(1);
    expect(result.failure?.message).toContain('is not a directory');
  });
});

describe('2: usage and configuration', () => {
  test.each([
    ['no command', []],
    ['an unknown command', ['rn']],
    ['an unknown option', ['--josb', 'x', 'check']],
    ['a log level that there is not', ['--log-level', 'loud', 'check']],
    ['a run without a job', ['run']],
    ['an unknown job', ['run', 'nope']],
    ['an unknown job to plan', ['plan', 'nope']],
    ['a jobs directory that is not there', ['--jobs', '/nonexistent/jobs', 'check']],
    ['a limit that is no number', ['history', '--limit', '0']],
  ])('%s', async (_what, args) => {
    await using stage = await Stage.open();
    const { code, stdout, stderr } = await stage.ferryd(...args);
    expect(code).toBe(2);
    expect(`${stdout}${stderr}`).not.toBe('');
    expect(`${stdout}${stderr}`).not.toMatch(/^ {4}at /m);
  });

  test('help and version are no mistakes', async () => {
    await using stage = await Stage.open();
    for (const args of [['--help'], ['run', '--help'], ['--version']]) {
      expect(await stage.ferryd(...args)).toMatchObject({ code: 0, stderr: '' });
    }
  });

  test('an unknown server, told with the names that there are', async () => {
    await using stage = await Stage.open();
    await stage.writeNas({ url: 'ftpes://127.0.0.1' });
    await stage.writePush('nightly', { to: 'naas:in' });
    const { code, stderr, stdout } = await stage.ferryd('run', 'nightly');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/jobs\/nightly\.yaml:\d+:\d+: error: .*naas.*did you mean "nas"/);
  });

  test('a broken job file stops that job and no other', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('good');
    await stage.write('jobs/bad.yaml', 'from: [\n');
    await stage.write('source/a.txt', 'x');
    expect((await stage.ferryd('run', 'bad')).code).toBe(2);
    const good = await stage.ferryd('run', 'good');
    expect(good.code).toBe(0);
    expect(good.stderr).not.toContain('bad.yaml');
  });

  test('a secret that is not there, and nobody is asked for anything', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server, { password: { env: 'NOT_SET' } });
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(2);
    expect(result.failure).toMatchObject({ kind: 'configuration' });
    expect(result.failure?.message).toContain('NOT_SET');
    expect(server.journal.connections).toBe(0);
  });

  test('a daemon without a single job that can run', async () => {
    await using stage = await Stage.open();
    await stage.write('jobs/bad.yaml', 'from: [\n');
    const { code, log, words } = await stage.ferryd('daemon');
    expect(code).toBe(2);
    expect(log.map(({ event }) => event)).toEqual(['configuration.problem']);
    expect(words.join('\n')).toContain('See ferryd check');
  });
});

describe('3: something was skipped', () => {
  test('a file that the server refuses for good: remembered with its words, not asked again', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await mkdir(stage.at('remote/in'));
    for (const name of ['a.txt', 'b.txt', 'c.txt']) await stage.write(`source/${name}`, name);
    server.script({
      on: 'RNTO',
      path: '/in/b.txt',
      nth: 'every',
      do: { kind: 'reply', text: '553 Virus found, go away.' },
    });
    const first = await stage.run('nightly');
    expect(first.code).toBe(3);
    expect(first.result).toMatchObject({ outcome: 'partial', uploaded: 2, skipped: 1, failure: null });
    expect(first.log.find(({ event }) => event === 'file.skipped')).toMatchObject({
      path: 'b.txt',
      code: '553',
      remembered: true,
      message: expect.stringContaining('Virus found, go away'),
    });
    expect(await pathsBelow(stage.at('remote'))).toEqual(['in/a.txt', 'in/c.txt']);

    const { connections } = server.journal;
    const second = await stage.run('nightly');
    expect(second.code).toBe(3);
    expect(second.result).toMatchObject({ uploaded: 0, skipped: 1, unchanged: 2 });
    expect(server.journal.connections).toBe(connections);

    server.behave();
    await stage.write('source/b.txt', 'mended');
    const third = await stage.run('nightly');
    expect(third.code).toBe(0);
    expect(await readFile(stage.at('remote/in/b.txt'), 'utf8')).toBe('mended');
  });

  test('what is no file: a pipe, a socket, and names that FTP cannot carry', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    execFileSync('mkfifo', [stage.at('source/pipe')]);
    const socket = createServer().listen(stage.at('source/socket'));
    await once(socket, 'listening');
    for (const name of ['DELE a.txt\r\nDELE b.txt', 'new\nline', 'return\r']) {
      await writeFile(stage.at('source', name.replaceAll('/', '')), 'evil');
    }
    const ended = await stage.run('nightly');
    await new Promise((done) => socket.close(done));
    expect(ended.code).toBe(3);
    expect(ended.result).toMatchObject({ outcome: 'partial', uploaded: 1, skipped: 5 });
    expect(await pathsBelow(stage.at('remote'))).toEqual(['in/a.txt']);
    expect(server.journal.of('DELE')).toHaveLength(0);
    const said = ended.log.filter(({ event }) => event === 'file.skipped').map(({ message }) => message);
    expect(said).toHaveLength(5);
    expect(said).toContainEqual(expect.stringContaining('named pipe'));
    expect(said).toContainEqual(expect.stringContaining('socket'));
    expect(said.filter((message) => message.includes('line break'))).toHaveLength(3);
  });
});

describe('4: the server cannot be reached', () => {
  test('a port where nobody listens: tried as often as the job says, no file is blamed', async () => {
    await using stage = await Stage.open();
    await stage.writeNas({ url: `ftpes://127.0.0.1:${await closedPort()}` });
    await stage.writePush('nightly', { retries: { attempts: 3, firstDelay: '1ms', maxDelay: '2ms' } });
    await stage.write('source/a.txt', 'x');
    const { code, result, log } = await stage.run('nightly');
    expect(code).toBe(4);
    expect(result).toMatchObject({
      outcome: 'failed',
      skipped: 0,
      failure: { kind: 'unreachable', code: 'ECONNREFUSED' },
    });
    expect(log.filter(({ event }) => event === 'connection.retry')).toHaveLength(2);
    const status = JSON.parse((await stage.ferryd('--json', 'status', 'nightly')).stdout);
    expect(status).toMatchObject({ skippedFiles: 0, lastRun: { outcome: 'failed' } });
  });

  test('a server with too many users', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server({ maxConnections: 0 });
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    const { code, result } = await stage.run('nightly');
    expect(code).toBe(4);
    expect(result.failure?.message).toContain('too many connected users');
  });

  test('a pull cannot be planned without its server', async () => {
    await using stage = await Stage.open();
    await mkdir(stage.at('target'));
    await stage.writeNas({ url: `ftpes://127.0.0.1:${await closedPort()}` });
    await stage.writeJob('fetch', { from: 'nas:out', to: '../target' });
    const { code, stdout, words } = await stage.ferryd('plan', 'fetch');
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(words.join('\n')).toContain('127.0.0.1');
  });
});

describe('5: login and trust', () => {
  test('a wrong password: one login, no file marked, nothing sent', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    for (let i = 0; i < 30; i += 1) await stage.write(`source/${i}.txt`, 'x');
    const command = stage.start(['--json', 'run', 'nightly'], { env: { NAS_PASSWORD: 'not-the-one' } });
    const { code, stdout } = await command.inTime();
    expect(code).toBe(5);
    expect(JSON.parse(stdout)).toMatchObject({
      outcome: 'failed',
      skipped: 0,
      uploaded: 0,
      failure: { kind: 'trust', code: '530' },
    });
    expect(server.journal.of('PASS')).toHaveLength(1);
    expect(server.journal.of('STOR')).toHaveLength(0);
    const right = await stage.run('nightly');
    expect(right.result).toMatchObject({ outcome: 'ok', uploaded: 30 });
  });

  test.each(['expired', 'wrongHost', 'selfSigned'] as const)(
    'a certificate that is %s: no user name is told, nothing is tried again',
    async (which) => {
      await using stage = await Stage.open();
      const all = await certificates();
      await using server = await stage.server({ certificate: all[which] });
      await stage.writeNas(server);
      await stage.writePush('nightly');
      await stage.write('source/a.txt', 'x');
      const { code, result } = await stage.run('nightly');
      expect(code).toBe(5);
      expect(result.failure?.kind).toBe('trust');
      expect(server.journal.verbs()).toEqual(['AUTH']);
      expect(server.journal.connections).toBe(1);
    },
  );

  test('a pin that does not fit, and one that does', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    const { good, client } = await certificates();
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    await stage.writeNas(server, { tls: { pin: client.pin } });
    expect((await stage.run('nightly')).code).toBe(5);
    expect(server.journal.of('USER')).toHaveLength(0);
    await stage.writeNas(server, { tls: { pin: good.pin } });
    expect((await stage.run('nightly')).code).toBe(0);
  });

  test('a server without TLS where TLS is asked for', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server({ security: 'plain' });
    await stage.writeNas({ url: server.url.replace('ftp:', 'ftpes:') });
    await stage.writePush('nightly');
    await stage.write('source/a.txt', 'x');
    const { code } = await stage.run('nightly');
    expect(code).toBe(5);
    expect(server.journal.of('USER')).toHaveLength(0);
  });
});

test('6: a source that was full and is empty now', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly');
  await stage.write('source/a.txt', 'x');
  expect((await stage.run('nightly')).code).toBe(0);
  await rm(stage.at('source/a.txt'));
  const { code, result } = await stage.run('nightly');
  expect(code).toBe(6);
  expect(result).toMatchObject({ outcome: 'held', failure: { kind: 'held', code: 'source-empty' } });
  expect((await stage.ferryd('plan', 'nightly')).code).toBe(6);
  expect(await pathsBelow(stage.at('remote'))).toEqual(['in/a.txt']);
});

describe('7: locked', () => {
  test('a second run of a job while one is under way, and afterwards none is refused', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await stage.writePush('other', { to: 'nas:other' });
    await mkdir(stage.at('remote/in'));
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', path: '/in/*', do: { kind: 'dataStall', atByte: 3 } });
    const first = stage.start(['run', 'nightly']);
    await server.waitFor('STOR');

    const second = await stage.run('nightly');
    expect(second.code).toBe(7);
    expect(second.result).toMatchObject({ run: null, outcome: 'failed', failure: { kind: 'locked' } });
    expect(second.result.failure?.message).toContain(`Process ${first.pid} holds it`);
    expect(server.journal.of('STOR')).toHaveLength(1);
    expect((await stage.run('other')).code).toBe(0);

    first.signal('SIGINT');
    first.signal('SIGTERM');
    expect((await first.inTime()).code).toBe(130);
    expect((await stage.run('nightly')).code).toBe(0);
  });

  test('a second daemon on the same ledger; another ledger is another matter', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { triggers: [{ cron: '0 0 1 1 *' }] });
    const first = await stage.daemon();
    const second = await stage.ferryd('daemon');
    expect(second.code).toBe(7);
    expect(second.words.join('\n')).toMatch(
      new RegExp(`${stage.ledger} already\\. Process ${first.pid} holds it since .* --ledger`),
    );
    const other = stage.start(['--ledger', stage.at('other.db'), 'daemon']);
    await other.until('job.loaded');
    expect((await other.end('SIGTERM')).code).toBe(0);
    expect((await first.end('SIGTERM')).code).toBe(0);
  });
});

test('8: a server that confirms files and does not hold them whole', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly');
  await mkdir(stage.at('remote/in'));
  await stage.write('source/a.txt', 'arrives');
  await stage.write('source/b.txt', 'is cut off by a server that says 226');
  server.script({
    on: /^SIZE .*$/,
    nth: 'every',
    do: { kind: 'wrongSize', addBytes: -4 },
  });
  const { code, result, log } = await stage.run('nightly');
  expect(code).toBe(8);
  expect(result).toMatchObject({
    outcome: 'partial',
    uploaded: 0,
    skipped: 2,
    failure: { kind: 'verification', code: 'mismatch' },
  });
  expect(result.failure?.message).toMatch(/^2 files did not arrive whole/);
  expect(log.filter(({ event }) => event === 'file.retry').map((line) => line.code)).toContain('mismatch');
  // Nothing that was not proven stands under its name, and the next run tries again.
  expect(await pathsBelow(stage.at('remote'))).toEqual([]);
  server.behave();
  expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'ok', uploaded: 2 });
});

describe('130: interrupted', () => {
  test('SIGINT finishes the file in hand and begins no other', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server, { connections: 1 });
    await stage.writePush('nightly');
    await mkdir(stage.at('remote/in'));
    for (const name of ['a.txt', 'b.txt', 'c.txt']) await stage.write(`source/${name}`, `content of ${name}`);
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3, ms: 500 } });
    const run = stage.start(['--json', 'run', 'nightly']);
    await atFirst(server, 'STOR', () => run.signal('SIGINT'));
    const { code, stdout } = await run.inTime();
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'interrupted', uploaded: 1, failure: null });
    // Whichever of them was opened first.
    const [first = '', ...others] = await pathsBelow(stage.at('remote/in'));
    expect(others).toEqual([]);
    expect(await stage.differences('remote/in', { [first]: `content of ${first}` })).toEqual([]);
    expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'ok', uploaded: 2, unchanged: 1 });
    expect(server.journal.stored).toBe(3);
  });

  test('a second signal cuts off what is in flight, and the next run converges', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly');
    await mkdir(stage.at('remote/in'));
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    const run = stage.start(['run', 'nightly']);
    await server.waitFor('STOR');
    run.signal('SIGINT');
    run.signal('SIGTERM');
    expect((await run.inTime(5_000)).code).toBe(130);
    expect((await stage.run('nightly')).code).toBe(0);
    expect(await stage.differences('remote/in', { 'a.txt': 'content' })).toEqual([]);
  });

  test('of several jobs the rest is not begun', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('one');
    await stage.writePush('two', { to: 'nas:two' });
    await mkdir(stage.at('remote/in'));
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3, ms: 300 } });
    const run = stage.start(['run', 'one', 'two']);
    await atFirst(server, 'STOR', () => run.signal('SIGINT'));
    const { code, stdout } = await run.inTime();
    expect(code).toBe(130);
    expect(stdout).toMatch(/^one: interrupted, 1 uploaded/);
    expect(stdout).not.toContain('two');
    expect(await pathsBelow(stage.at('remote'))).toEqual(['in/a.txt']);
  });
});

test('no sentence on the way shows a stack or the password', async () => {
  await using stage = await Stage.open();
  await stage.writeNas({ url: `ftpes://127.0.0.1:${await closedPort()}` });
  await stage.writePush('nightly');
  await stage.write('source/a.txt', 'x');
  for (const args of [
    ['run', 'nightly'],
    ['run', 'nope'],
    ['plan', 'nope'],
    ['--json', 'run', 'nightly'],
  ]) {
    const { stdout, stderr } = await stage.ferryd(...args);
    expect(`${stdout}${stderr}`).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
    expect(`${stdout}${stderr}`).not.toContain(PASSWORD);
  }
});
