/*
 * The harness around real vsftpd does what the suites build on: a login that can fail, every command ferryd needs,
 * TLS with session reuse required, and nothing left behind.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { certificates } from './certificates.js';
import { RawClient, type RawOptions } from './raw-client.js';
import { describeReal, findServer, type RealServer } from './real-server.js';
import { startVsftpd } from './servers/vsftpd.js';
import { temporaryDirectory } from './temporary.js';

async function loggedIn(server: RealServer, options: RawOptions = {}): Promise<RawClient> {
  const client = await RawClient.open(server.port, options);
  expect(await client.login(server.user, server.password, { auth: options.implicit !== true })).toMatch(
    /^230 /,
  );
  return client;
}

/** True while any process of the group is there. */
function groupAlive(pid: number): boolean {
  try {
    process.kill(-pid, 0);
    return true;
  } catch {
    return false;
  }
}

describeReal('vsftpd', 'the vsftpd harness', () => {
  test('a login, a wrong password, and every command ferryd needs', async () => {
    await using server = await startVsftpd();
    const wrong = await RawClient.open(server.port);
    expect(await wrong.login(server.user, 'wrong')).toMatch(/^530 /);
    wrong.close();
    await using c = await loggedIn(server);
    expect(await c.command('PWD')).toBe(`257 "${server.root}" is the current directory`);
    expect(await c.command('MKD dir')).toMatch(/^257 /);
    expect(await c.upload('dir/a.tmp', 'content')).toEqual([
      '150 Ok to send data.',
      '226 Transfer complete.',
    ]);
    expect(await c.command('SIZE dir/a.tmp')).toBe('213 7');
    expect(await c.command('MDTM 20200913122640 dir/a.tmp')).toMatch(/^213 /);
    expect(await c.command('MDTM dir/a.tmp')).toBe('213 20200913122640');
    await c.upload('dir/a', 'old');
    await c.command('RNFR dir/a.tmp');
    expect(await c.command('RNTO dir/a')).toMatch(/^250 /);
    expect(await readFile(`${server.root}/dir/a`, 'utf8')).toBe('content');
    expect((await stat(`${server.root}/dir/a`)).mtimeMs).toBe(1_600_000_000_000);
    expect((await c.download('RETR dir/a')).content.toString()).toBe('content');
    expect((await c.download('LIST dir')).content.toString()).toMatch(/ 7 Sep 13 {2}2020 a\r\n$/);
    expect(await c.command('DELE dir/a')).toMatch(/^250 /);
    expect(await c.command('RMD dir')).toMatch(/^250 /);
    expect(await server.log()).toContain('"RNTO dir/a"');
  });

  for (const security of ['explicit', 'implicit'] as const) {
    test(`${security} TLS, with the control connection's session only`, async () => {
      await using server = await startVsftpd({ security, requireTls: true, requireSessionReuse: true });
      const { ca } = await certificates();
      await using c = await loggedIn(server, { tls: { ca: ca.cert }, implicit: security === 'implicit' });
      for (let i = 0; i < 3; i += 1) expect((await c.upload('a', `content ${i}`))[1]).toMatch(/^226 /);
      expect(await readFile(`${server.root}/a`, 'utf8')).toBe('content 2');
      expect((await c.upload('a', 'x', { session: 'fresh' }))[1]).toMatch(/^522 .*reuse/);
      expect(await c.over()).toBe('end');
    });
  }

  test('without TLS nobody gets in where it is required', async () => {
    await using server = await startVsftpd({ security: 'explicit', requireTls: true });
    await using c = await RawClient.open(server.port);
    expect(await c.login(server.user, server.password).catch(String)).toMatch(/530|over/);
  });

  test('a session too many is 421', async () => {
    await using server = await startVsftpd({ maxClients: 1 });
    await using first = await loggedIn(server);
    const second = await RawClient.open(server.port);
    expect(await second.reply()).toMatch(/^421 /);
    second.close();
    expect(await first.command('NOOP')).toMatch(/^200 /);
  });

  test('a root of the test stays, everything of the server goes, also with a session open', async () => {
    await using directory = await temporaryDirectory('root');
    await mkdir(directory.join('files'));
    const server = await startVsftpd({ root: directory.join('files') });
    const log = await server.log();
    await using c = await loggedIn(server);
    await c.upload('kept', 'kept');
    expect(groupAlive(server.pid)).toBe(true);
    await server.stop();
    await server.stop();
    expect(await c.over()).toMatch(/end|error/);
    await expect.poll(() => groupAlive(server.pid), { timeout: 2000 }).toBe(false);
    expect(await readFile(directory.join('files/kept'), 'utf8')).toBe('kept');
    expect(log).not.toContain('OOPS');
  });

  test('its own directory goes with it', async () => {
    const server = await startVsftpd();
    expect(existsSync(server.root)).toBe(true);
    await server.stop();
    expect(existsSync(dirname(server.root))).toBe(false);
  });

  test('a server that does not start says why', async () => {
    await expect(startVsftpd({ settings: { no_such_setting: 'YES' } })).rejects.toThrow(
      /no_such_setting|unrecognised/,
    );
  });
});

test('a missing server is undefined, not an error', () => {
  const { PATH, FERRYD_SERVERS } = process.env;
  try {
    process.env.PATH = '/nonexistent';
    process.env.FERRYD_SERVERS = '/nonexistent';
    const found = findServer('vsftpd');
    expect(found === undefined || /^\/usr\/(?:local\/)?sbin\//.test(found)).toBe(true);
  } finally {
    process.env.PATH = PATH;
    if (FERRYD_SERVERS === undefined) delete process.env.FERRYD_SERVERS;
    else process.env.FERRYD_SERVERS = FERRYD_SERVERS;
  }
});
