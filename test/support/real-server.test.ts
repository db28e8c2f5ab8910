/*
 * The harnesses around the real servers do what the suites build on: a login that can fail, every command ferryd
 * needs, TLS in each form the server has, a limit of sessions, IPv6, and nothing left behind.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { certificates } from './certificates.js';
import { loopback6 } from './place.js';
import { RawClient } from './raw-client.js';
import {
  describeReal,
  findServer,
  type RealServer,
  type ServerName,
  type ServerOptions,
} from './real-server.js';
import { startProftpd } from './servers/proftpd.js';
import { startPureFtpd } from './servers/pure-ftpd.js';
import { startPyftpdlib } from './servers/pyftpdlib.js';
import { startVsftpd } from './servers/vsftpd.js';
import { temporaryDirectory } from './temporary.js';

type Security = 'plain' | 'explicit' | 'implicit';

interface Harness {
  readonly name: ServerName;
  /** Pure-FTPd's own options are narrower: it is never asked for `implicit`. */
  start(options?: ServerOptions & { readonly requireSessionReuse?: boolean }): Promise<RealServer>;
  startWrong(): Promise<RealServer>;
  readonly securities: readonly Security[];
  readonly setTime: 'MFMT' | 'MDTM';
  /** What a data connection with a session of its own hears where reuse is required; undefined where it cannot be. */
  readonly reuseRefused: RegExp | undefined;
  /** What a plain login hears where TLS is required. */
  readonly plainRefused: RegExp;
  /** What one session too many hears, and where. */
  readonly tooMany: { readonly at: 'greeting' | 'login'; readonly says: RegExp };
  /** A line about the renamed or stored file. */
  readonly logs: string;
  readonly complains: RegExp;
}

const harnesses: readonly Harness[] = [
  {
    name: 'vsftpd',
    start: startVsftpd,
    startWrong: () => startVsftpd({ settings: { no_such_setting: 'YES' } }),
    securities: ['plain', 'explicit', 'implicit'],
    setTime: 'MDTM',
    reuseRefused: /^522 /,
    plainRefused: /^530 |over/,
    tooMany: { at: 'greeting', says: /^421 / },
    logs: 'RNTO',
    complains: /no_such_setting/,
  },
  {
    name: 'proftpd',
    start: startProftpd,
    startWrong: () => startProftpd({ settings: ['NoSuchDirective on'] }),
    securities: ['plain', 'explicit', 'implicit'],
    setTime: 'MFMT',
    reuseRefused: /^425 /,
    plainRefused: /^550 SSL\/TLS required/,
    tooMany: { at: 'login', says: /^530 .*maximum/ },
    logs: 'RNTO',
    complains: /NoSuchDirective/,
  },
  {
    name: 'pure-ftpd',
    start: ({ security, ...options } = {}) =>
      startPureFtpd({ ...options, ...(security === 'explicit' ? { security } : {}) }),
    startWrong: () => startPureFtpd({ settings: ['--no-such-option'] }),
    securities: ['plain', 'explicit'],
    setTime: 'MFMT',
    reuseRefused: undefined,
    plainRefused: /^421-.*cleartext/,
    tooMany: { at: 'greeting', says: /^421 / },
    logs: 'a.tmp',
    complains: /no-such-option/,
  },
  {
    name: 'pyftpdlib',
    start: startPyftpdlib,
    startWrong: () => startPyftpdlib({ settings: { no_such_attribute: 1 } }),
    securities: ['plain', 'explicit', 'implicit'],
    setTime: 'MFMT',
    reuseRefused: undefined,
    plainRefused: /^550 SSL\/TLS required/,
    tooMany: { at: 'greeting', says: /^421 Too many/ },
    logs: 'RNTO',
    complains: /no_such_attribute/,
  },
];

async function loggedIn(server: RealServer, security: Security = 'plain'): Promise<RawClient> {
  const { ca } = await certificates();
  const client = await RawClient.open(server.port, {
    host: server.host,
    ...(security === 'plain' ? {} : { tls: { ca: ca.cert } }),
    implicit: security === 'implicit',
  });
  const reply = await client.login(server.user, server.password, { auth: security === 'explicit' });
  expect(reply).toMatch(/^230[ -]/);
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

for (const harness of harnesses) {
  describeReal(harness.name, `the ${harness.name} harness`, () => {
    test('a login, a wrong password, and every command ferryd needs', async () => {
      await using server = await harness.start();
      const wrong = await RawClient.open(server.port);
      expect(await wrong.login(server.user, 'wrong')).toMatch(/^530 /);
      wrong.close();
      await using c = await loggedIn(server);
      expect((await c.command('PWD')).split('"')[1]).toBe(server.home);
      expect(await c.command('MKD dir')).toMatch(/^257 /);
      await c.upload('dir/a', 'old');
      const stored = await c.upload('dir/a.tmp', 'content');
      expect(stored.map((reply) => reply.slice(0, 3))).toEqual(['150', '226']);
      expect(await c.command('SIZE dir/a.tmp')).toBe('213 7');
      expect(await c.command(`${harness.setTime} 20200913122640 dir/a.tmp`)).toMatch(/^213 /);
      expect(await c.command('MDTM dir/a.tmp')).toBe('213 20200913122640');
      expect(await c.command('RNFR dir/a.tmp')).toMatch(/^350 /);
      expect(await c.command('RNTO dir/a')).toMatch(/^250 /);
      expect(await readFile(`${server.root}/dir/a`, 'utf8')).toBe('content');
      expect((await stat(`${server.root}/dir/a`)).mtimeMs).toBe(1_600_000_000_000);
      expect((await c.download('RETR dir/a')).content.toString()).toBe('content');
      expect((await c.download('LIST dir')).content.toString()).toMatch(/ 7 Sep 13 {2}2020 a\r\n$/);
      if (harness.setTime === 'MFMT') {
        const listed = (await c.download('MLSD dir')).content.toString();
        expect(listed).toMatch(/^(?=.*size=7;)(?=.*modify=20200913122640;).* a\r$/m);
      }
      expect(await c.command('DELE dir/a')).toMatch(/^250 /);
      expect(await c.command('RMD dir')).toMatch(/^250 /);
      expect(await readdir(server.root)).toEqual([]);
      expect(await server.log()).toContain(harness.logs);
    });

    test('files that a test put there are files like all others', async () => {
      await using directory = await temporaryDirectory('root');
      await mkdir(directory.join('deep/er'), { recursive: true });
      await writeFile(directory.join('deep/er/a'), 'old');
      await using server = await harness.start({ root: directory.path });
      await using c = await loggedIn(server);
      expect((await c.upload('deep/er/a', 'new'))[1]).toMatch(/^226/);
      await mkdir(directory.join('later'));
      const noText = Buffer.concat([Buffer.from(directory.join('later/')), Buffer.from([0xe4])]);
      await writeFile(noText, 'old');
      await server.adopt();
      expect((await c.upload('later/b', 'new'))[1]).toMatch(/^226/);
      expect(await readFile(directory.join('deep/er/a'), 'utf8')).toBe('new');
      expect((await stat(noText)).uid).toBe((await stat(directory.path)).uid);
    });

    for (const security of harness.securities) {
      test(`${security} on ::1, three uploads with one session`, async () => {
        await using server = await harness.start({ at: loopback6, security, requireTls: true });
        expect(server.host).toBe('::1');
        await using c = await loggedIn(server, security);
        for (let i = 0; i < 3; i += 1) expect((await c.upload('a', `content ${i}`))[1]).toMatch(/^226/);
        expect(await readFile(`${server.root}/a`, 'utf8')).toBe('content 2');
      });
    }

    test('TLS 1.3 unless it is told not to', async () => {
      const { ca } = await certificates();
      const tls = { ca: ca.cert, minVersion: 'TLSv1.3' } as const;
      await using server = await harness.start({ security: 'explicit', maxTls: 'TLSv1.3' });
      await using c = await RawClient.open(server.port, { tls });
      expect(await c.login(server.user, server.password)).toMatch(/^230[ -]/);
      await using older = await harness.start({ security: 'explicit', maxTls: 'TLSv1.2' });
      await using refused = await RawClient.open(older.port, { tls });
      await expect(refused.login(older.user, older.password)).rejects.toThrow(/version|alert|handshake/i);
      await using taken = await loggedIn(older, 'explicit');
      expect((await taken.upload('a', 'x'))[1]).toMatch(/^226/);
    });

    test('a TLS session of the data connection alone is refused where reuse is required', async () => {
      await using server = await harness.start({ security: 'explicit', requireSessionReuse: true });
      await using c = await loggedIn(server, 'explicit');
      expect((await c.upload('a', 'x', { session: 'resumed' }))[1]).toMatch(/^226/);
      expect((await c.upload('a', 'x', { session: 'fresh' }))[1]).toMatch(harness.reuseRefused ?? /^226/);
    });

    test('and taken where it is not', async () => {
      await using server = await harness.start({ security: 'explicit', requireSessionReuse: false });
      await using c = await loggedIn(server, 'explicit');
      expect((await c.upload('a', 'x', { session: 'fresh' }))[1]).toMatch(/^226/);
    });

    test('without TLS nobody gets in where it is required', async () => {
      await using server = await harness.start({ security: 'explicit', requireTls: true });
      await using c = await RawClient.open(server.port);
      await c.reply();
      const answers: string[] = [];
      for (const line of [`USER ${server.user}`, `PASS ${server.password}`])
        answers.push(await c.command(line).catch(String));
      expect(answers.join('\n')).not.toMatch(/^230/m);
      expect(answers.find((answer) => !answer.startsWith('331'))).toMatch(harness.plainRefused);
    });

    test('a session too many is told so, and only that one', async () => {
      await using server = await harness.start({ maxClients: 2 });
      await using first = await loggedIn(server);
      await using second = await loggedIn(server);
      await using third = await RawClient.open(server.port);
      const said =
        harness.tooMany.at === 'greeting'
          ? await third.reply()
          : await third.login(server.user, server.password);
      expect(said).toMatch(harness.tooMany.says);
      for (const c of [first, second]) expect(await c.command('NOOP')).toMatch(/^200 /);
    });

    test('its own directory goes with it, a root of the test stays, also with a session open', async () => {
      await using directory = await temporaryDirectory('root');
      const server = await harness.start({ root: directory.path });
      await using c = await loggedIn(server);
      await c.upload('kept', 'kept');
      expect(groupAlive(server.pid)).toBe(true);
      await server.stop();
      await server.stop();
      expect(await c.over()).toMatch(/end|error/);
      await expect.poll(() => groupAlive(server.pid), { timeout: 2000 }).toBe(false);
      expect(await readFile(directory.join('kept'), 'utf8')).toBe('kept');

      const another = await harness.start();
      expect(existsSync(another.root)).toBe(true);
      await another.stop();
      expect(existsSync(dirname(another.root))).toBe(false);
    });

    test('a server that does not start says why', async () => {
      await expect(harness.startWrong()).rejects.toThrow(harness.complains);
    });

    test('a password with a space, a quote and a letter beyond ASCII', async () => {
      const password = 'a "b\' $c é';
      await using server = await harness.start({ password });
      await using c = await RawClient.open(server.port);
      const bytes = Buffer.from(password).toString('latin1');
      expect(await c.login(server.user, bytes)).toMatch(/^230[ -]/);
    });
  });
}

describeReal('vsftpd', 'what is particular to the vsftpd harness', () => {
  test('a refused TLS session of a data connection costs the control connection', async () => {
    await using server = await startVsftpd({ security: 'implicit', requireSessionReuse: true });
    await using c = await loggedIn(server, 'implicit');
    expect((await c.upload('a', 'x', { session: 'fresh' }))[1]).toMatch(/^522 .*reuse/);
    expect(await c.over()).toBe('end');
  });

  test('a setting goes before ours', async () => {
    await using server = await startVsftpd({ settings: { ftpd_banner: 'hello' } });
    await using c = await RawClient.open(server.port);
    expect(await c.reply()).toBe('220 hello');
  });
});

describeReal('proftpd', 'what is particular to the ProFTPD harness', () => {
  test('HASH, the X sums and SITE UTIME are there', async () => {
    await using server = await startProftpd();
    await using c = await loggedIn(server);
    await c.upload('a', 'content');
    expect(await c.command('OPTS HASH SHA-256')).toMatch(/^200 /);
    const sum = 'ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73';
    expect(await c.command('HASH a')).toContain(`\n213 SHA-256 0-7 ${sum} a`);
    expect((await c.command('XSHA256 a')).toLowerCase()).toContain(sum);
    expect(await c.command('SITE UTIME 202009131226 a')).toMatch(/^200 /);
  });

  test('a setting takes the place of ours', async () => {
    await using server = await startProftpd({ settings: ['AllowStoreRestart off'] });
    await using c = await loggedIn(server);
    await c.upload('a', 'content');
    await c.command('REST 3');
    expect((await c.upload('a', 'x')).at(-1)).toMatch(/^451 /);
  });
});

describeReal('pure-ftpd', 'what is particular to the Pure-FTPd harness', () => {
  test('nothing of its sessions stays in the place it keeps them', async () => {
    const server = await startPureFtpd();
    await using c = await loggedIn(server);
    // Another test may be running one just now, so only our own sessions count.
    const ours = (await readFile(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8'))
      .trim()
      .split(' ');
    const sessions = async () => {
      const names = await readdir('/run/pure-ftpd').catch(() => []);
      return names.filter((name) => ours.includes(String(Number(name.replace('client-', '')))));
    };
    expect(await sessions()).toHaveLength(1);
    await server.stop();
    await c.over();
    expect(await sessions()).toEqual([]);
  });
});

describeReal('pyftpdlib', 'what is particular to the pyftpdlib harness', () => {
  for (const security of ['plain', 'explicit', 'implicit'] as const) {
    test(`a socket too many, be it for data, is told so: ${security}`, async () => {
      // Its own, and one for each session.
      await using server = await startPyftpdlib({ security, maxSockets: 3 });
      await using first = await loggedIn(server, security);
      await using second = await loggedIn(server, security);
      const { ca } = await certificates();
      await using third = await RawClient.open(server.port, {
        ...(security === 'plain' ? {} : { tls: { ca: ca.cert } }),
        implicit: security === 'implicit',
      });
      expect(await third.reply()).toMatch(/^421 Too many/);
      await third.over();
      expect(await first.command('EPSV')).toMatch(/^229 /);
      expect(await second.command('EPSV')).toMatch(/^425 Too many/);
    });
  }
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
