/*
 * Ways into real SSH servers: keys of each type and form, an agent, a question that a password answers, two factors,
 * host keys as known_hosts has them, and a jump host. What is refused ends the run, says why, and is tried once.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import { describeReal, describeWhere, findProgram, unpackedEnvironment } from '../support/real-server.js';
import { startModSftp } from '../support/servers/mod-sftp.js';
import { noAccounts, type RealSshServer, type SshdOptions, startSshd } from '../support/servers/openssh.js';
import { startSshAgent } from '../support/ssh-agent.js';
import {
  fingerprintOf,
  hostKeyOf,
  newSshKey,
  type SshKey,
  type SshKeyOptions,
  type SshKeyType,
  sshKey,
} from '../support/ssh-keys.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { deliveryOf, fetched, sha256, sourceOf } from './contract.js';
import {
  loginAt,
  RealSftpBerth,
  type SftpAccountChanges,
  sftpCredentials,
  sftpSettings,
} from './real-sftp-berth.js';

/** One file there and back. */
async function proves(berth: RealSftpBerth): Promise<void> {
  await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
  expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('content');
  expect(String(await fetched(berth.remote, 'file'))).toBe('content');
}

async function refusalOf(berth: RealSftpBerth): Promise<Failure> {
  const error: unknown = await berth.remote.deliver(deliveryOf('file', sourceOf('content'))).then(
    () => new Error('it was let in'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

function count(text: string, what: RegExp): number {
  return [...text.matchAll(what)].length;
}

const phrase = 'open sesame';
const keyForms: readonly (readonly [string, SshKeyType, SshKeyOptions])[] = [
  ['ed25519', 'ed25519', {}],
  ['ed25519, encrypted', 'ed25519', { passphrase: phrase }],
  ['ecdsa', 'ecdsa', {}],
  ['ecdsa, encrypted', 'ecdsa', { passphrase: phrase }],
  ['ecdsa, PEM', 'ecdsa', { form: 'PEM' }],
  ['ecdsa, PKCS#8, encrypted', 'ecdsa', { form: 'PKCS8', passphrase: phrase }],
  ['rsa', 'rsa', {}],
  ['rsa, encrypted', 'rsa', { passphrase: phrase }],
  ['rsa, PEM, encrypted', 'rsa', { form: 'PEM', passphrase: phrase }],
  ['rsa, PKCS#8', 'rsa', { form: 'PKCS8' }],
];

for (const [name, start] of [
  ['openssh', startSshd],
  ['mod-sftp', startModSftp],
] as const) {
  describeReal(name, `${name}: keys`, () => {
    let server: RealSshServer | undefined;
    let keys: readonly SshKey[] = [];
    beforeAll(async () => {
      keys = await Promise.all(keyForms.map(([, type, options]) => newSshKey(type, options)));
      server = await start({ clientKeys: keys });
    });
    afterAll(() => server?.stop());
    const open = (changes: SftpAccountChanges): Promise<RealSftpBerth> => {
      if (server === undefined) throw new Error(`${name} does not run`);
      return RealSftpBerth.beside(server, { login: 'nothing', ...changes });
    };

    test.each(keyForms.map(([title], place) => [title, place] as const))('%s', async (_, place) => {
      const { privateKey } = keys[place] ?? { privateKey: '' };
      const passphrase = keyForms[place]?.[2].passphrase;
      await using berth = await open({ credentials: { privateKey, passphrase } });
      await proves(berth);
    });

    test('one that the server does not know is refused, tried once', async () => {
      const { privateKey, fingerprint } = await newSshKey('ed25519');
      await using berth = await open({ credentials: { privateKey } });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toContain(fingerprint);
      expect(failure.message).not.toContain('PRIVATE KEY');
    });

    test('a passphrase that does not open the key is said, and no server is asked', async () => {
      const { privateKey } = keys[1] ?? { privateKey: '' };
      await using berth = await open({ credentials: { privateKey, passphrase: 'close sesame' } });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toMatch(/passphrase/);
      expect(failure.message).not.toContain('sesame');
    });

    test('those of an agent: the right one is found among others', async () => {
      const right = keys[2];
      if (right === undefined) throw new Error('The keys are not there');
      const others = await Promise.all([newSshKey('ed25519'), newSshKey('ecdsa')]);
      await using agent = await startSshAgent([...others, right]);
      await using berth = await open({ credentials: { agentSocket: agent.socket } });
      await proves(berth);
    });

    test('an RSA key of an agent', async () => {
      const right = keys[6];
      if (right === undefined) throw new Error('The keys are not there');
      await using agent = await startSshAgent([right]);
      await using berth = await open({ credentials: { agentSocket: agent.socket } });
      await proves(berth);
    });

    test('an agent with more keys than a server looks at: that is said', async () => {
      const others = await Promise.all(Array.from({ length: 7 }, () => newSshKey('ed25519')));
      await using agent = await startSshAgent(others);
      await using berth = await open({ credentials: { agentSocket: agent.socket } });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toContain(others[0]?.fingerprint);
      expect(failure.message).toMatch(/2 more keys were not shown/);
    });

    test('an agent that has ended is said', async () => {
      const agent = await startSshAgent([]);
      await using _gone = agent;
      await agent.stop();
      await using berth = await open({ credentials: { agentSocket: agent.socket } });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toMatch(/agent/);
    });
  });
}

describeReal('mod-sftp', 'mod-sftp: passwords', () => {
  test('a wrong one is refused, tried once', async () => {
    await using berth = await RealSftpBerth.open(() => startModSftp(), {
      login: 'nothing',
      credentials: { password: 'wrong' },
    });
    const failure = await refusalOf(berth);
    expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
    expect(failure.message).not.toContain('wrong');
    expect(count(await berth.server.log(), /password authentication for user 'ferry' failed/g)).toBe(1);
  });
});

describeReal('openssh', 'sshd: passwords', () => {
  describeWhere('sshd with passwords', noAccounts, 'and what is asked besides', () => {
    const open = (options: SshdOptions, credentials: SftpAccountChanges['credentials']) =>
      RealSftpBerth.open(() => startSshd(options), { login: 'nothing', credentials: { ...credentials } });

    test('a wrong one is refused, tried once, though many files wait', async () => {
      await using berth = await open({ logins: ['password'] }, { password: 'wrong' });
      const failures = await Promise.all(Array.from({ length: 10 }, () => refusalOf(berth)));
      for (const failure of failures) expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failures[0]?.message).not.toContain('wrong');
      expect(count(await berth.server.log(), /Failed password/g)).toBe(1);
    });

    test('it has its turn behind the many keys of an agent', async () => {
      const others = await Promise.all(Array.from({ length: 7 }, () => newSshKey('ed25519')));
      await using agent = await startSshAgent(others);
      await using berth = await open({}, { agentSocket: agent.socket, password: 'secret' });
      await proves(berth);
      expect(await berth.server.log()).toContain('Accepted password');
    });

    test('where keyboard-interactive is all that is offered, the password answers it', async () => {
      await using berth = await open({ logins: ['keyboard-interactive'] }, { password: 'secret' });
      await proves(berth);
      expect(await berth.server.log()).toContain('Accepted keyboard-interactive/pam');
    });

    test('a wrong one is no better there, and is tried once', async () => {
      await using berth = await open({ logins: ['keyboard-interactive'] }, { password: 'wrong' });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(count(await berth.server.log(), /PAM: Authentication failure/g)).toBe(1);
    });

    test('a key and then the password, where both are wanted', async () => {
      const { privateKey } = await sshKey('ed25519');
      const settings = ['AuthenticationMethods publickey,password'];
      await using berth = await open({ settings }, { privateKey, password: 'secret' });
      await proves(berth);
      expect(await berth.server.log()).toMatch(/Partial publickey .*Accepted password/s);
    });

    test('a key alone is not enough there, and the message says what is missing', async () => {
      const { privateKey } = await sshKey('ed25519');
      const settings = ['AuthenticationMethods publickey,password'];
      await using berth = await open({ settings }, { privateKey });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toMatch(/not enough.*password/s);
    });

    test('a key, and the password as the answer to a question', async () => {
      const { privateKey } = await sshKey('ed25519');
      await using berth = await open(
        {
          logins: ['key', 'keyboard-interactive'],
          settings: ['AuthenticationMethods publickey,keyboard-interactive'],
        },
        { privateKey, password: 'secret' },
      );
      await proves(berth);
    });
  });
});

describeReal('openssh', 'sshd: host keys', () => {
  let server: RealSshServer | undefined;
  let directory: TemporaryDirectory | undefined;
  beforeAll(async () => {
    server = await startSshd();
    directory = await temporaryDirectory('known-hosts');
  });
  afterAll(async () => {
    await server?.stop();
    await directory?.remove();
  });
  let files = 0;

  /** The server with these lines as known_hosts. */
  async function open(
    lines: (server: RealSshServer) => readonly string[] | Promise<readonly string[]>,
  ): Promise<RealSftpBerth> {
    if (server === undefined || directory === undefined) throw new Error('No server runs');
    files += 1;
    const file = directory.join(`known_hosts-${files}`);
    await writeFile(file, (await lines(server)).map((line) => `${line}\n`).join(''));
    return RealSftpBerth.beside(server, { hostKeys: [], knownHosts: [file] });
  }

  const addressOf = ({ host, port }: RealSshServer): string => `[${host}]:${port}`;

  test('the line of one key is enough: the server shows that one', async () => {
    await using berth = await open(({ knownHostsLine }) => [knownHostsLine]);
    await proves(berth);
  });

  test.each(['ecdsa', 'rsa'] as const)('also where that is its %s key', async (type) => {
    const { publicLine } = await hostKeyOf(type);
    await using berth = await open((own) => [`${addressOf(own)} ${publicLine}`]);
    await proves(berth);
  });

  test("names may be hashed, as ssh-keygen's -H does it", async () => {
    await using berth = await open(async ({ knownHostsLine }) => {
      await using scratch = await temporaryDirectory('hashed');
      const file = scratch.join('known_hosts');
      await writeFile(file, `${knownHostsLine}\n`);
      await promisify(execFile)(findProgram('ssh-keygen') ?? '', ['-H', '-f', file], {
        env: unpackedEnvironment(),
      });
      const hashed = (await readFile(file, 'utf8')).trim();
      expect(hashed).toMatch(/^\|1\|/);
      return [hashed];
    });
    await proves(berth);
  });

  test('a key that nobody knows: exit 5 with its fingerprint and what to do, and no login is tried', async () => {
    await using berth = await open(() => []);
    const failure = await refusalOf(berth);
    expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
    expect(berth.server.hostKeys.some((fingerprint) => failure.message.includes(fingerprint))).toBe(true);
    expect(failure.message).toContain('ferryd trust nas');
  });

  test('another key than the one that is known', async () => {
    const other = await newSshKey('ed25519');
    await using berth = await open((own) => [`${addressOf(own)} ${other.publicLine}`]);
    const failure = await refusalOf(berth);
    expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
    expect(failure.message).toContain(berth.server.hostKeyFingerprint);
  });

  test('a key that is revoked, though it is known as well', async () => {
    await using berth = await open(({ knownHostsLine }) => {
      const [, type, key] = knownHostsLine.split(' ');
      return [knownHostsLine, `@revoked * ${type} ${key}`];
    });
    const failure = await refusalOf(berth);
    expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
    expect(failure.message).toMatch(/revoke/);
  });

  test('hostKey alone: the right fingerprint is enough, another one is not', async () => {
    if (server === undefined) throw new Error('No server runs');
    const { hostKeyFingerprint } = server;
    await using right = await RealSftpBerth.beside(server, { hostKeys: [hostKeyFingerprint] });
    await proves(right);
    const { publicLine } = await newSshKey('rsa');
    await using wrong = await RealSftpBerth.beside(server, { hostKeys: [fingerprintOf(publicLine)] });
    expect(await refusalOf(wrong)).toMatchObject({ decision: 'abort', kind: 'trust' });
  });
});

describeReal('openssh', 'sshd: through another one', () => {
  /** A berth behind a gate. */
  async function behind(gate: RealSshServer, changes: SftpAccountChanges = {}): Promise<RealSftpBerth> {
    return RealSftpBerth.open(() => startSshd(), {
      via: sftpSettings(gate, { name: 'gate' }),
      ...changes,
      credentials: { via: sftpCredentials(loginAt(gate)), ...changes.credentials },
    });
  }

  test('files go through the gate', async () => {
    await using gate = await startSshd({ settings: ['LogLevel DEBUG1'] });
    await using berth = await behind(gate);
    await proves(berth);
    expect(await gate.log()).toContain(`target ${berth.server.host} port ${berth.server.port}`);
    expect(berth.opened[0]).toContain('through');
  });

  test('large and small ones side by side, through two gates', async () => {
    await using outer = await startSshd();
    await using inner = await startSshd();
    const gates = sftpSettings(inner, { name: 'inner', via: sftpSettings(outer, { name: 'outer' }) });
    const keys = sftpCredentials({ ...loginAt(inner), via: sftpCredentials(loginAt(outer)) });
    await using berth = await RealSftpBerth.open(() => startSshd(), {
      via: gates,
      credentials: { via: keys },
      connections: 1,
    });
    const files = new Map(
      Array.from({ length: 40 }, (_, place) => [
        `file-${place}`,
        randomBytes(place % 20 === 0 ? 3_000_000 : 100 * place),
      ]),
    );
    await Promise.all(
      [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
    );
    await Promise.all(
      [...files].map(async ([path, content]) => {
        expect(sha256(await readFile(join(berth.disk, path))), path).toBe(sha256(content));
        expect(sha256(await fetched(berth.remote, path)), path).toBe(sha256(content));
      }),
    );
    for (const gate of [outer, inner]) expect(await gate.connections()).toBe(1);
  });

  test('a gate that is cut takes the connection along, and a new one goes through it again', async () => {
    await using gate = await startSshd();
    await using berth = await behind(gate, { connections: 1 });
    await proves(berth);
    await gate.cut();
    await expect.poll(() => berth.wire.some((line) => line.includes('ended:'))).toBe(true);
    await proves(berth);
    expect(berth.opened).toHaveLength(2);
  });

  describe('what is refused is told of the one that refuses', () => {
    test('the gate forwards nothing', async () => {
      await using gate = await startSshd({ settings: ['AllowTcpForwarding no'] });
      await using berth = await behind(gate);
      const failure = await refusalOf(berth);
      expect(failure.decision).toBe('abort');
      expect(failure.message).toMatch(/forward/i);
      expect(failure.message).toContain(`${gate.host}:${gate.port}`);
    });

    test('the gate does not know the key', async () => {
      await using gate = await startSshd();
      const { privateKey } = await newSshKey('ed25519');
      await using berth = await behind(gate, { credentials: { via: sftpCredentials({ privateKey }) } });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toContain(`${gate.host}:${gate.port}`);
      expect(await berth.server.log()).not.toContain('Connection from');
    });

    test("the gate's host key is another one", async () => {
      await using gate = await startSshd();
      const { fingerprint } = await newSshKey('ed25519');
      await using berth = await behind(gate, {
        via: sftpSettings(gate, { name: 'gate', hostKeys: [fingerprint] }),
      });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ decision: 'abort', kind: 'trust' });
      expect(failure.message).toContain('gate');
      expect(await berth.server.log()).not.toContain('Connection from');
    });

    test('nobody listens behind the gate', async () => {
      await using gate = await startSshd();
      await using berth = await behind(gate, { port: 1 });
      const failure = await refusalOf(berth);
      expect(failure).toMatchObject({ kind: 'unreachable', beforeSession: true });
      expect(failure.message).toContain(':1');
    });
  });
});
