/*
 * Connections to a real sshd: what is agreed on, how one logs in, keys that change under load, limits, hops, agents.
 */
import { writeFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { SftpError } from '../../../src/sftp/errors.js';
import { SshConnection, type SshOptions } from '../../../src/sftp/ssh/connection.js';
import { describeReal, describeWhere } from '../../support/real-server.js';
import { type Sshd, type SshdOptions, startSshd } from '../../support/servers/openssh.js';
import { startSshAgent } from '../../support/ssh-agent.js';
import { newSshKey, sshKey } from '../../support/ssh-keys.js';
import { temporaryDirectory } from '../../support/temporary.js';

const nothing: SshOptions['login'] = {
  password: undefined,
  privateKey: undefined,
  passphrase: undefined,
  agentSocket: undefined,
};

function optionsFor(server: Sshd, more: Partial<SshOptions> = {}): SshOptions {
  return {
    name: 'nas',
    host: server.host,
    port: server.port,
    user: server.user,
    login: { ...nothing, privateKey: server.privateKey },
    trust: { hostKeys: [server.hostKeyFingerprint], knownHosts: [] },
    via: undefined,
    connectTimeoutMs: 10_000,
    replyTimeoutMs: 10_000,
    ...more,
  };
}

/** Closes with the test. */
async function open(options: SshOptions): Promise<SshConnection & AsyncDisposable> {
  const connection = await SshConnection.open(options);
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

async function refusal(opening: Promise<unknown>): Promise<SftpError> {
  const error = await opening.then(
    () => new Error('It was to be refused, and was not'),
    (refused: unknown) => refused,
  );
  if (error instanceof SftpError) return error;
  throw error;
}

/** The server's VERSION: length 4 and more, type 2, number 3. */
async function greeted(channel: Duplex): Promise<void> {
  channel.write(Buffer.from([0, 0, 0, 5, 1, 0, 0, 0, 3]));
  const chunk: unknown = await new Promise((resolve, reject) => {
    channel.once('data', resolve).once('error', reject);
  });
  expect(Buffer.isBuffer(chunk) && chunk[4]).toBe(2);
}

async function connections(server: Sshd, count: number): Promise<void> {
  while ((await server.connections()) !== count) await new Promise((resolve) => setTimeout(resolve, 10));
}

describeReal('openssh', 'a connection to a real sshd', () => {
  test.each(['ed25519', 'ecdsa', 'rsa'] as const)('with a key of the type %s', async (type) => {
    const key = await sshKey(type);
    await using server = await startSshd({ clientKeys: [key] });
    const lines: string[] = [];
    await using connection = await open(optionsFor(server, { onWire: (line) => lines.push(line) }));
    expect(connection.software).toMatch(/^OpenSSH_/);
    expect(lines.join('\n')).toContain('aes128-gcm@openssh.com');
    await greeted(await connection.openSftp());
    await connection.close();
    await connections(server, 0);
  });

  test('every key of the server can be pinned, and all are read', async () => {
    await using server = await startSshd();
    for (const pin of server.hostKeys) {
      await using connection = await open(optionsFor(server, { trust: { hostKeys: [pin], knownHosts: [] } }));
      expect(connection.usable).toBe(true);
    }
    const { keys } = await SshConnection.hostKeys(optionsFor(server));
    expect(keys).toHaveLength(server.hostKeys.length);
  });

  test('known_hosts, with the line that a person would write', async () => {
    await using directory = await temporaryDirectory('known');
    await using server = await startSshd();
    const file = directory.join('known_hosts');
    const options = optionsFor(server, { trust: { hostKeys: [], knownHosts: [file] } });
    expect(await refusal(open(options))).toMatchObject({ kind: 'host-key', code: 'KEY-UNKNOWN' });
    await writeFile(file, `${server.knownHostsLine}\n`);
    await using connection = await open(options);
    expect(connection.usable).toBe(true);
  });

  test('keys are exchanged again and again while bytes move, by the server’s limit', async () => {
    await using server = await startSshd({ settings: ['RekeyLimit 512K'] });
    let exchanges = 0;
    const onWire = (line: string): void => {
      if (line.includes('algorithms: ')) exchanges += 1;
    };
    await using connection = await open(optionsFor(server, { onWire }));
    const channel = await connection.openSftp();
    await greeted(channel);
    // REALPATH of 32 KiB of "./" and its answer: it is a refusal, and each is counted.
    const request = Buffer.alloc(9 + 4 + 30_000, './');
    request.writeUInt32BE(request.length - 4, 0);
    request[4] = 16;
    request.writeUInt32BE(7, 5);
    request.writeUInt32BE(30_000, 9);
    const wanted = 300;
    let answers = 0;
    let pending = Buffer.alloc(0);
    const answered = new Promise<void>((resolve, reject) => {
      channel.once('error', reject);
      channel.on('data', (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
          pending = pending.subarray(4 + pending.readUInt32BE(0));
          answers += 1;
        }
        if (answers === wanted) resolve();
      });
    });
    for (let sent = 0; sent < wanted; sent++)
      if (!channel.write(request)) await new Promise((resolve) => channel.once('drain', resolve));
    await answered;
    expect(exchanges).toBeGreaterThan(2);
    expect(connection.usable).toBe(true);
  });

  test('a session too many is refused, and the others go on', async () => {
    await using server = await startSshd({ settings: ['MaxSessions 1'] });
    await using connection = await open(optionsFor(server));
    const first = await connection.openSftp();
    const error = await refusal(connection.openSftp());
    expect(error).toMatchObject({ kind: 'channel', code: 'CHANNEL' });
    await greeted(first);
  });

  test('a server with too many that are not logged in turns away', async () => {
    await using server = await startSshd({ settings: ['MaxStartups 1:100:1'] });
    const { connect } = await import('node:net');
    const idle = connect(server.port, server.host);
    await new Promise((resolve) => idle.once('data', resolve));
    // Its sentence is overtaken, now and then, by the reset that follows because it has not read ours.
    await vi.waitFor(async () => {
      const error = await refusal(open(optionsFor(server)));
      expect(error).toMatchObject({ kind: 'lost', phase: 'handshake', code: 'TURNED-AWAY' });
    });
    idle.destroy();
  });

  test('a server without SFTP', async () => {
    await using server = await startSshd({ settings: ['Subsystem other /bin/true'] });
    await using connection = await open(optionsFor(server));
    expect(await refusal(connection.openSftp())).toMatchObject({ kind: 'channel', code: 'SUBSYSTEM' });
  });

  test('an SFTP program that is not there says so', async () => {
    await using server = await startSshd({ settings: ['Subsystem sftp /nonexistent/sftp-server'] });
    await using connection = await open(optionsFor(server));
    const error = await connection.openSftp().then(
      (channel) => new Promise((resolve) => channel.once('error', resolve).resume()),
      (refused: unknown) => refused,
    );
    expect(error).toMatchObject({ kind: 'channel', code: 'SUBSYSTEM' });
    // sshd keeps to itself what the shell says of it.
    expect(String(error)).toContain('ends it at once (code 127). Is SFTP set up');
  });

  test('sessions that are frozen are noticed, and cut ones at once', async () => {
    await using server = await startSshd();
    await using frozen = await open(optionsFor(server, { replyTimeoutMs: 500 }));
    await frozen.openSftp();
    await server.freeze();
    expect(await frozen.ended).toMatchObject({ kind: 'lost', code: 'ETIMEDOUT' });
    await server.thaw();
    await using cut = await open(optionsFor(server));
    await cut.openSftp();
    await server.cut();
    expect(await cut.ended).toMatchObject({ kind: 'lost' });
  });

  test('through another sshd, and not through one that passes nothing on', async () => {
    await using gate = await startSshd({ hostKeys: ['rsa'] });
    await using target = await startSshd();
    const via = optionsFor(gate, { name: 'gate' });
    await using connection = await open(optionsFor(target, { via }));
    await greeted(await connection.openSftp());
    await connection.close();
    await connections(gate, 0);
    await using closed = await startSshd({ settings: ['AllowTcpForwarding no'] });
    const refused = optionsFor(target, { via: optionsFor(closed, { name: 'gate' }) });
    expect(await refusal(open(refused))).toMatchObject({ kind: 'channel', code: 'FORWARD' });
    const nobody = { ...optionsFor(target, { via }), port: 1 };
    const error = await refusal(open(nobody));
    expect(error).toMatchObject({ kind: 'network', code: 'UNREACHABLE' });
    expect(error.message).toContain('Connection refused');
    await connections(gate, 0);
  });

  test('an agent with the right key behind a wrong one', async () => {
    const right = await newSshKey('rsa');
    await using agent = await startSshAgent([await newSshKey('ed25519'), right]);
    await using server = await startSshd({ clientKeys: [right] });
    const login = { ...nothing, agentSocket: agent.socket };
    await using connection = await open(optionsFor(server, { login }));
    await greeted(await connection.openSftp());
  });

  test('an agent with many wrong keys does not lock anybody out', async () => {
    const keys = await Promise.all(Array.from({ length: 7 }, () => newSshKey('ed25519')));
    await using agent = await startSshAgent(keys);
    await using server = await startSshd();
    const login = { ...nothing, agentSocket: agent.socket };
    const error = await refusal(open(optionsFor(server, { login })));
    expect(error).toMatchObject({ kind: 'authentication' });
    expect(error.message).toContain('2 more keys were not shown');
    expect(error.message).toContain(keys[0]?.fingerprint);
    expect(await server.log()).not.toMatch(/maximum authentication attempts/i);
  });

  test('a server that hangs up at the first refusal is not asked again', async () => {
    await using server = await startSshd({ settings: ['MaxAuthTries 1'] });
    const login = { ...nothing, privateKey: (await newSshKey('ed25519')).privateKey };
    const error = await refusal(open(optionsFor(server, { login })));
    expect(error).toMatchObject({ kind: 'authentication', phase: 'login' });
    expect(error.message).toContain('Too many authentication failures');
  });

  test('a key that is not let in', async () => {
    await using server = await startSshd();
    const login = { ...nothing, privateKey: (await newSshKey('ed25519')).privateKey };
    const error = await refusal(open(optionsFor(server, { login })));
    expect(error).toMatchObject({ kind: 'authentication', phase: 'login' });
    expect(error.message).toContain('authorized_keys');
  });

  const asRoot = process.getuid?.() === 0 ? undefined : 'sshd lets in with a password only as root';
  describeWhere('an sshd with passwords', asRoot, 'passwords', () => {
    const withPassword = (options: SshdOptions = {}): Promise<Sshd> =>
      startSshd({ logins: ['password', 'key'], ...options });

    test('right, wrong, asked for as a question', async () => {
      await using server = await withPassword();
      const { password } = server;
      await using connection = await open(optionsFor(server, { login: { ...nothing, password } }));
      expect(connection.usable).toBe(true);
      const wrong = { ...nothing, password: 'wrong' };
      const error = await refusal(open(optionsFor(server, { login: wrong })));
      expect(error).toMatchObject({ kind: 'authentication', phase: 'login' });
      expect(error.message).toContain('tried: the password. It offers: publickey, password.');
      await using asking = await startSshd({ logins: ['keyboard-interactive'] });
      await using asked = await open(optionsFor(asking, { login: { ...nothing, password } }));
      expect(asked.usable).toBe(true);
      const again = await refusal(open(optionsFor(asking, { login: wrong })));
      expect(again).toMatchObject({ kind: 'authentication' });
    });

    test('key and password where both are wanted, the key in a file or with an agent', async () => {
      const key = await sshKey('ed25519');
      await using agent = await startSshAgent([key]);
      await using server = await withPassword({ settings: ['AuthenticationMethods publickey,password'] });
      const { password, privateKey } = server;
      for (const login of [
        { ...nothing, password, privateKey },
        { ...nothing, password, agentSocket: agent.socket },
      ]) {
        await using connection = await open(optionsFor(server, { login }));
        await greeted(await connection.openSftp());
      }
      const half = await refusal(open(optionsFor(server)));
      expect(half.message).toContain('(right, but not enough)');
      expect(half.message).toContain('It offers: password.');
    });
  });
});
