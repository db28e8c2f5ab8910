import { writeFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SftpError } from '../../../src/sftp/errors.js';
import { SshConnection, type SshOptions } from '../../../src/sftp/ssh/connection.js';
import { type SshKey, sshKey } from '../../support/sftp-server/keys.js';
import { type SshHost, type SshHostOptions, startSshHost, startTalker } from '../../support/ssh-host.js';
import { temporaryDirectory } from '../../support/temporary.js';

const ed25519 = sshKey('host');
const ecdsa = sshKey('host', { type: 'ecdsa' });
const rsa = sshKey('host', { type: 'rsa' });
const mine = sshKey('mine');

const password: SshOptions['login'] = {
  password: 'secret',
  privateKey: undefined,
  passphrase: undefined,
  agentSocket: undefined,
};

/** Lets in who shows the password. */
const wantsPassword: SshHostOptions['login'] = (context) => {
  if (context.method === 'password' && context.password === 'secret') context.accept();
  else context.reject(['password']);
};

function optionsFor(port: number, more: Partial<SshOptions> = {}): SshOptions {
  return {
    name: 'nas',
    host: '127.0.0.1',
    port,
    user: 'backup',
    login: password,
    trust: { hostKeys: [ed25519.fingerprint], knownHosts: [] },
    via: undefined,
    connectTimeoutMs: 5_000,
    replyTimeoutMs: 5_000,
    ...more,
  };
}

const opened: SshConnection[] = [];

async function open(options: SshOptions): Promise<SshConnection> {
  const connection = await SshConnection.open(options);
  opened.push(connection);
  return connection;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((connection) => connection.close()));
});

async function refusal(opening: Promise<unknown>): Promise<SftpError> {
  try {
    await opening;
  } catch (error) {
    if (error instanceof SftpError) return error;
    throw error;
  }
  throw new Error('It was to be refused, and was not');
}

async function said(channel: Duplex, words: string): Promise<void> {
  channel.write(words);
  let heard = '';
  for await (const chunk of channel.iterator({ destroyOnReturn: false })) {
    heard += String(chunk);
    if (heard.length >= words.length) break;
  }
  expect(heard).toBe(words);
}

function host(more: Partial<SshHostOptions> = {}): Promise<SshHost> {
  return startSshHost({ hostKeys: [ed25519], ...more });
}

describe('a connection', () => {
  test('is opened, carries bytes both ways, and is closed in good order', async () => {
    await using server = await host({ login: wantsPassword });
    const lines: string[] = [];
    const connection = await open(optionsFor(server.port, { onWire: (line) => lines.push(line) }));
    expect(connection.where).toBe(`127.0.0.1:${server.port}`);
    expect(connection.software).toBe('TestHost_1.0');
    expect(connection.usable).toBe(true);
    await said(await connection.openSftp(), 'hello');
    await connection.close();
    await server.empty();
    expect(connection.usable).toBe(false);
    expect(await connection.ended).toMatchObject({ kind: 'aborted' });
    expect(server.attempts).toEqual(['none', 'password']);
    expect(lines.join('\n')).toContain(ed25519.fingerprint);
    expect(lines.join('\n')).toMatch(/algorithms: curve25519-sha256, ssh-ed25519, aes128-gcm@openssh\.com/);
    expect(lines.join('\n')).not.toContain('secret');
    expect(await refusal(connection.openSftp())).toMatchObject({ kind: 'aborted' });
  });

  test('carries more than a window in both directions', async () => {
    await using server = await host();
    const connection = await open(optionsFor(server.port));
    const channel = await connection.openSftp();
    const sizeBytes = 12 * 1024 * 1024;
    const piece = Buffer.alloc(96 * 1024, 'ferry');
    let sent = 0;
    const send = (): void => {
      while (sent < sizeBytes) {
        sent += piece.length;
        if (!channel.write(piece)) break;
      }
      if (sent < sizeBytes) channel.once('drain', send);
      else channel.end();
    };
    send();
    let received = 0;
    for await (const chunk of channel) received += (chunk as Buffer).length;
    expect(received).toBe(sent);
  });

  test('goes on while keys are exchanged again under load', async () => {
    await using server = await host();
    const connection = await open(optionsFor(server.port));
    const channel = await connection.openSftp();
    const pieces = 200;
    const write = async (): Promise<void> => {
      for (let index = 0; index < pieces; index++) {
        if (index % 50 === 10) server.rekey();
        if (!channel.write(Buffer.alloc(32_000, index)))
          await new Promise((resolve) => channel.once('drain', resolve));
      }
      channel.end();
    };
    const written = write();
    let received = 0;
    for await (const chunk of channel) {
      for (const byte of chunk as Buffer) {
        if (byte !== Math.floor(received / 32_000) % 256) throw new Error(`Byte ${received} is wrong`);
        received += 1;
      }
    }
    await written;
    expect(received).toBe(pieces * 32_000);
  });

  test('says when the server is gone, and so do its channels', async () => {
    await using server = await host();
    const connection = await open(optionsFor(server.port));
    const channel = await connection.openSftp();
    const broken = new Promise((resolve) => channel.once('error', resolve));
    server.drop();
    expect(await connection.ended).toMatchObject({ kind: 'lost', phase: 'session' });
    expect(await broken).toMatchObject({ kind: 'lost' });
    expect(connection.usable).toBe(false);
    await connection.close();
  });

  test('notices a peer that has fallen silent, and not one that is only idle', async () => {
    await using server = await host();
    const connection = await open(optionsFor(server.port, { replyTimeoutMs: 400 }));
    const channel = await connection.openSftp();
    const idle = new Promise((resolve) => setTimeout(resolve, 1_000, 'idle'));
    expect(await Promise.race([connection.ended, idle])).toBe('idle');
    await said(channel, 'still there');
    server.freeze();
    const started = performance.now();
    expect(await connection.ended).toMatchObject({ kind: 'lost', code: 'ETIMEDOUT' });
    expect(performance.now() - started).toBeLessThan(800);
  });

  test('tries every address of a name', async () => {
    // Which has ::1 too on most machines, where nobody listens.
    await using server = await host();
    const connection = await open(optionsFor(server.port, { host: 'localhost' }));
    expect(connection.where).toBe(`localhost:${server.port}`);
  });

  test('has names with IPv6 addresses', async () => {
    await using server = await host({ host: '::1' });
    const connection = await open(optionsFor(server.port, { host: '::1' }));
    expect(connection.where).toBe(`[::1]:${server.port}`);
  });
});

describe('who is there', () => {
  test('nobody at the port', async () => {
    const { port } = await (async () => {
      await using gone = await startTalker(() => {});
      return gone;
    })();
    const error = await refusal(open(optionsFor(port)));
    expect(error).toMatchObject({ kind: 'network', code: 'ECONNREFUSED', phase: 'connect' });
    expect(error.message).toContain('refuses connections');
  });

  test('a name that is nobody’s', async () => {
    const error = await refusal(open(optionsFor(22, { host: 'nobody.invalid' })));
    expect(error.kind).toBe('network');
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
  });

  test.each([
    [
      'an FTP server',
      '220 ProFTPD Server ready\r\n',
      /first words are "220 ProFTPD Server ready", as an FTP/,
    ],
    ['a web server', 'HTTP/1.1 400 Bad Request\r\n\r\n', /a web server \(HTTP\)/],
    ['TLS', '\x15\x03\x01\x00\x02\x02\x28', /it speaks TLS/],
    ['a mailbox', '* OK IMAP4rev1 \u001b[31m\r\n', /first words are "\* OK IMAP4rev1 \?\[31m"/],
  ])('%s', async (_, words, sentence) => {
    await using talker = await startTalker((socket) => socket.write(Buffer.from(words, 'latin1')));
    const error = await refusal(open(optionsFor(talker.port)));
    expect(error).toMatchObject({ kind: 'handshake', phase: 'handshake' });
    expect(error.message).toMatch(sentence);
  });

  test.each([
    ['without a word', '', /without a word/],
    ['with a word', 'Exceeded MaxStartups\r\n', /and said: Exceeded MaxStartups/],
    ['with a word and no line', 'Not allowed at this time', /and said: Not allowed at this time/],
  ])('a server that turns away %s', async (_, words, sentence) => {
    await using talker = await startTalker((socket) => socket.end(words));
    const error = await refusal(open(optionsFor(talker.port)));
    expect(error).toMatchObject({ kind: 'lost', phase: 'handshake', code: 'TURNED-AWAY' });
    expect(error.message).toMatch(sentence);
  });

  test.each([
    ['nothing', '', 'handshake'],
    ['an identification and nothing more', 'SSH-2.0-Tarpit\r\n', 'handshake'],
    ['lines for ever', 'x', 'handshake'],
  ])('a server that sends %s in time', async (_, words, phase) => {
    await using talker = await startTalker((socket) => socket.write(words));
    const error = await refusal(open(optionsFor(talker.port, { connectTimeoutMs: 150 })));
    expect(error).toMatchObject({ kind: 'timeout', phase, code: 'ETIMEDOUT' });
    expect(error.message).toContain('did not finish the SSH handshake in 150 ms');
  });

  test('a server that is proud without end', async () => {
    await using talker = await startTalker((socket) => {
      for (let line = 0; line < 2_000; line++) socket.write('welcome welcome welcome welcome\r\n');
    });
    expect(await refusal(open(optionsFor(talker.port)))).toMatchObject({ kind: 'handshake' });
  });

  test('an identification in crumbs, behind a notice', async () => {
    await using server = await host();
    const { connect } = await import('node:net');
    await using slow = await startTalker((socket) => {
      const there = connect(server.port, '127.0.0.1');
      socket.on('data', (chunk) => there.write(chunk));
      socket.on('close', () => there.destroy());
      let first = true;
      there.on('data', async (chunk: Buffer) => {
        if (!first) {
          socket.write(chunk);
          return;
        }
        first = false;
        there.pause();
        socket.setNoDelay(true);
        for (const part of ['Be we', 'lcome\r\n', ...chunk.toString('latin1').split(/(?<=[-_H])/)]) {
          socket.write(Buffer.from(part, 'latin1'));
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
        there.resume();
      });
      there.on('error', () => {});
    });
    const connection = await open(optionsFor(slow.port));
    expect(connection.software).toBe('TestHost_1.0');
  });

  test.each([
    [
      'kex',
      { kex: ['diffie-hellman-group1-sha1'] },
      /share no key exchange algorithm\. It has only diffie-hellman-group1-sha1/,
    ],
    ['cipher', { cipher: ['aes128-cbc'] }, /share no cipher algorithm\. It has only aes128-cbc/],
    ['MAC', { cipher: ['aes128-ctr'], hmac: ['hmac-md5'] }, /share no MAC algorithm\. It has only hmac-md5/],
  ] as const)('a server of yesterday: %s', async (_, algorithms, sentence) => {
    const lists = Object.fromEntries(Object.entries(algorithms).map(([name, list]) => [name, [...list]]));
    await using server = await host({ algorithms: lists });
    const error = await refusal(open(optionsFor(server.port)));
    expect(error).toMatchObject({ kind: 'handshake', code: 'ALGORITHMS' });
    expect(error.message).toMatch(sentence);
  });

  test('a server with RSA and SHA-1 alone', async () => {
    await using server = await host({ hostKeys: [rsa], algorithms: { serverHostKey: ['ssh-rsa'] } });
    const error = await refusal(open(optionsFor(server.port)));
    expect(error.message).toMatch(/share no host key algorithm\. It has only ssh-rsa,/);
  });
});

describe('host keys', () => {
  test('a pinned key is found, whichever of the server’s keys it is, and once only', async () => {
    await using server = await host({ hostKeys: [ed25519, ecdsa, rsa] });
    const trust = { hostKeys: [`${rsa.fingerprint}=`], knownHosts: [] };
    await open(optionsFor(server.port, { trust }));
    expect(server.connections.made).toBe(3);
    await open(optionsFor(server.port, { trust }));
    expect(server.connections.made).toBe(4);
  });

  test('another key than the pinned one is refused, and nothing is sent', async () => {
    await using server = await host({ hostKeys: [ed25519, rsa] });
    const trust = { hostKeys: [sshKey('other').fingerprint], knownHosts: [] };
    const error = await refusal(open(optionsFor(server.port, { trust })));
    expect(error).toMatchObject({ kind: 'host-key', code: 'KEY-CHANGED', phase: 'handshake' });
    expect(error.message).toContain(ed25519.fingerprint);
    expect(error.message).toContain(sshKey('other').fingerprint);
    expect(server.attempts).toEqual([]);
    await server.empty();
  });

  test('known_hosts: unknown, known, changed, revoked', async () => {
    await using directory = await temporaryDirectory('known');
    await using server = await host({ hostKeys: [ed25519, rsa] });
    const file = directory.join('known_hosts');
    const trust = { hostKeys: [], knownHosts: [file, directory.join('other')] };
    const options = optionsFor(server.port, { trust });
    const name = `[127.0.0.1]:${server.port}`;
    const unknown = await refusal(open(options));
    expect(unknown).toMatchObject({ kind: 'host-key', code: 'KEY-UNKNOWN' });
    expect(unknown.message).toContain(`ED25519 key ${ed25519.fingerprint}`);
    expect(unknown.message).toContain(`none of ${file}, ${directory.join('other')} has it`);
    expect(unknown.message).toContain('ferryd trust nas');
    // The server would show its Ed25519 key, but the other is the one that is known.
    await writeFile(file, `${name} ${rsa.publicKey}\n`);
    await open(options);
    await writeFile(file, `# a comment\n${name} ${sshKey('other').publicKey}\n`);
    const changed = await refusal(open(options));
    expect(changed).toMatchObject({ kind: 'host-key', code: 'KEY-CHANGED' });
    expect(changed.message).toContain(`${file}:2 has the ED25519 key ${sshKey('other').fingerprint}`);
    expect(changed.message).toContain('somebody is in between');
    await writeFile(file, `${name} ${ed25519.publicKey}\n@revoked * ${ed25519.publicKey}\n`);
    const revoked = await refusal(open(options));
    expect(revoked).toMatchObject({ kind: 'host-key', code: 'KEY-REVOKED' });
    expect(revoked.message).toContain(`${file}:2 revokes`);
    expect(server.attempts).toEqual(['none']);
  });

  test('all keys of a server are read without logging in', async () => {
    await using server = await host({ hostKeys: [rsa, ecdsa, ed25519] });
    const { keys, software } = await SshConnection.hostKeys(optionsFor(server.port));
    expect(software).toBe('TestHost_1.0');
    expect(keys.map((key) => key.toString('base64'))).toEqual(
      [ed25519, ecdsa, rsa].map(({ publicKey }) => publicKey.split(' ')[1]),
    );
    expect(server.attempts).toEqual([]);
    await server.empty();
  });
});

describe('logging in', () => {
  test('a key before a password; what is refused is shown once', async () => {
    await using server = await host({
      login: (context) => context.reject(['publickey', 'password', 'keyboard-interactive']),
    });
    const login = { ...password, privateKey: mine.privateKey };
    const error = await refusal(open(optionsFor(server.port, { login })));
    expect(error).toMatchObject({ kind: 'authentication', phase: 'login' });
    expect(server.attempts).toEqual(['none', 'publickey', 'password']);
    expect(error.message).toContain('does not let backup in');
    expect(error.message).toContain(`the private key (ED25519 ${mine.fingerprint}), the password`);
    expect(error.message).toContain('It offers: publickey, password, keyboard-interactive.');
    expect(error.message).not.toContain('secret');
    await server.empty();
  });

  test('a server that asks for nothing', async () => {
    await using server = await host();
    await open(optionsFor(server.port));
    expect(server.attempts).toEqual(['none']);
  });

  test.each(['ed25519', 'ecdsa', 'rsa'] as const)('a key of the type %s', async (type) => {
    const key = sshKey('mine', { type });
    await using server = await host({
      login: (context) => {
        if (context.method === 'none') return context.reject(['publickey']);
        if (context.method !== 'publickey') return context.reject();
        if (context.signature === undefined) return context.accept();
        const parsed = key.publicKey.split(' ')[1];
        if (context.key.data.toString('base64') === parsed) context.accept();
        else context.reject();
      },
    });
    await open(optionsFor(server.port, { login: { ...password, privateKey: key.privateKey } }));
    expect(server.attempts).toEqual(['none', 'publickey', 'publickey+signature']);
  });

  test('key and password where both are wanted', async () => {
    await using server = await host({
      login: (context) => {
        if (context.method === 'publickey') {
          if (context.signature === undefined) context.accept();
          else context.reject(['password'], true);
        } else if (context.method === 'password') context.accept();
        else context.reject(['publickey']);
      },
    });
    await open(optionsFor(server.port, { login: { ...password, privateKey: mine.privateKey } }));
    expect(server.attempts).toEqual(['none', 'publickey', 'publickey+signature', 'password']);
  });

  test('half of two is not enough', async () => {
    await using server = await host({
      login: (context) => {
        if (context.method === 'password') context.reject(['keyboard-interactive'], true);
        else if (context.method === 'keyboard-interactive')
          context.prompt([{ prompt: 'Code: ', echo: false }], () => context.reject());
        else context.reject(['password']);
      },
    });
    const error = await refusal(open(optionsFor(server.port)));
    expect(error).toMatchObject({ kind: 'authentication', code: 'QUESTION' });
    expect(error.message).toContain('asks backup for "Code:"');
  });

  describe('questions', () => {
    const asking = (prompts: { prompt: string; echo: boolean }[][]): SshHostOptions['login'] => {
      return (context) => {
        if (context.method !== 'keyboard-interactive') return context.reject(['keyboard-interactive']);
        const ask = (round: number): void => {
          const asked = prompts[round];
          if (asked === undefined) {
            context.accept();
            return;
          }
          context.prompt(asked, (answers) => {
            if (asked.length === 0 || answers?.[0] === 'secret') ask(round + 1);
            else context.reject();
          });
        };
        ask(0);
      };
    };

    test('the password is asked for, and nothing is asked behind it', async () => {
      await using server = await host({ login: asking([[{ prompt: 'Password: ', echo: false }], []]) });
      await open(optionsFor(server.port));
      expect(server.attempts).toEqual(['none', 'keyboard-interactive']);
    });

    test.each([
      ['a code in place of it', [[{ prompt: 'Verification code: ', echo: false }]], '"Verification code:"'],
      ['something that may be seen', [[{ prompt: 'Favourite colour?', echo: true }]], '"Favourite colour?"'],
      [
        'two things',
        [
          [
            { prompt: 'Password: ', echo: false },
            { prompt: 'OTP\u001b[2J', echo: false },
          ],
        ],
        '"Password:" and "OTP?[2J"',
      ],
      [
        'something behind it',
        [[{ prompt: 'Password: ', echo: false }], [{ prompt: 'Token: ', echo: false }]],
        '"Token:"',
      ],
      [
        'the same again',
        [[{ prompt: 'Password: ', echo: false }], [{ prompt: 'Password: ', echo: false }]],
        'It may be that the password is wrong',
      ],
    ])('%s is not answered', async (_, prompts, sentence) => {
      await using server = await host({ login: asking(prompts) });
      const error = await refusal(open(optionsFor(server.port)));
      expect(error).toMatchObject({ kind: 'authentication', phase: 'login' });
      expect(error.message).toContain(sentence);
      expect(server.attempts).toEqual(['none', 'keyboard-interactive']);
      await server.empty();
    });

    test('a wrong password is not shown a second time as an answer', async () => {
      await using server = await host({
        login: (context) => context.reject(['password', 'keyboard-interactive']),
      });
      await refusal(open(optionsFor(server.port)));
      expect(server.attempts).toEqual(['none', 'password']);
    });
  });

  test('nothing is signed with SHA-1, whatever the server would take', async () => {
    const key = sshKey('mine', { type: 'rsa' });
    await using server = await host({
      signatures: 'untold',
      login: (context) => (context.method === 'publickey' ? context.accept() : context.reject(['publickey'])),
    });
    const login = { ...password, password: undefined, privateKey: key.privateKey };
    const error = await refusal(open(optionsFor(server.port, { login })));
    expect(error).toMatchObject({ kind: 'authentication' });
    expect(error.message).toContain('RSA keys with SHA-1 alone');
    expect(server.attempts).toEqual(['none', 'publickey']);
    await server.empty();
  });

  test('a key that cannot be used is told before anything is connected', async () => {
    await using server = await host();
    const login = { ...password, privateKey: mine.publicKey };
    const error = await refusal(open(optionsFor(server.port, { login })));
    expect(error).toMatchObject({ kind: 'authentication', code: 'KEY' });
    expect(error.message).toContain('That is the public key');
    expect(server.connections.made).toBe(0);
  });

  test.each([
    ['nobody says which', '', 'SSH_AUTH_SOCK is not set'],
    ['it is not there', '/nonexistent/agent', 'The SSH agent at /nonexistent/agent is not there'],
  ])('an agent where %s', async (_, agentSocket, sentence) => {
    await using server = await host({ login: wantsPassword });
    const login = { ...password, password: undefined, agentSocket };
    const error = await refusal(open(optionsFor(server.port, { login })));
    expect(error).toMatchObject({ kind: 'authentication', code: 'AGENT' });
    expect(error.message).toContain(sentence);
    expect(server.connections.made).toBe(0);
    // With something else to try it is only told where that fails too.
    await open(optionsFor(server.port, { login: { ...password, agentSocket } }));
    const wrong = { ...password, password: 'wrong', agentSocket };
    const both = await refusal(open(optionsFor(server.port, { login: wrong })));
    expect(both.message).toContain(sentence);
  });

  test('a server that says the password back does not bring it into a message', async () => {
    await using server = await host({
      banner: 'We know that it is secret',
      login: (context) => {
        if (context.method === 'keyboard-interactive')
          context.prompt([{ prompt: 'secret again?', echo: true }], () => context.reject());
        else context.reject(['keyboard-interactive']);
      },
    });
    const error = await refusal(open(optionsFor(server.port)));
    expect(error.message).toContain('"**** again?"');
    expect(error.message).not.toContain('secret');
  });

  test('what the server says beforehand is shown with a refusal', async () => {
    await using server = await host({
      banner: 'Accounts are closed\u0007 on Sundays',
      login: (context) => context.reject(['password']),
    });
    const error = await refusal(open(optionsFor(server.port)));
    expect(error.message).toContain('The server says: Accounts are closed? on Sundays');
  });
});

describe('channels', () => {
  test.each([
    ['full', 'CHANNEL', /opens no more sessions/],
    ['refuse', 'SUBSYSTEM', /has no SFTP for backup/],
  ] as const)('a server that is to %s', async (sftp, code, sentence) => {
    await using server = await host({ sftp });
    const connection = await open(optionsFor(server.port));
    const error = await refusal(connection.openSftp());
    expect(error).toMatchObject({ kind: 'channel', phase: 'session', code });
    expect(error.message).toMatch(sentence);
    expect(connection.usable).toBe(true);
  });

  test('a program that ends at once says why', async () => {
    await using server = await host({ sftp: 'die' });
    const connection = await open(optionsFor(server.port));
    // Before the channel is handed over, or behind that.
    const error = await connection.openSftp().then(
      (channel) => new Promise((resolve) => channel.once('error', resolve).resume()),
      (refused: unknown) => refused,
    );
    expect(error).toMatchObject({ kind: 'channel', code: 'SUBSYSTEM' });
    expect(String(error)).toContain('ends it at once (code 127): /usr/lib/sftp-server: not found');
  });

  test('a server that does not answer in time', async () => {
    await using server = await host({ sftp: 'silent' });
    const connection = await open(optionsFor(server.port, { replyTimeoutMs: 300 }));
    const error = await refusal(connection.openSftp());
    expect(error).toMatchObject({ kind: 'timeout', phase: 'session' });
    expect(connection.usable).toBe(false);
  });

  test.each(['no room', 'flood'] as const)('a server that breaks the rules of channels: %s', async (sftp) => {
    await using server = await host({ sftp });
    const connection = await open(optionsFor(server.port));
    // Nothing is read of it.
    await connection.openSftp().catch(() => {});
    expect(await connection.ended).toMatchObject({ kind: 'malformed' });
    await server.empty();
  });

  test('closing while one is opened, and resetting with one open', async () => {
    await using server = await host({ sftp: 'silent' });
    const connection = await open(optionsFor(server.port));
    const opening = refusal(connection.openSftp());
    await connection.close();
    expect(await opening).toMatchObject({ kind: 'aborted' });
    await using other = await host();
    const second = await open(optionsFor(other.port));
    const channel = await second.openSftp();
    const closed = new Promise((resolve) => channel.once('close', resolve));
    second.reset();
    await closed;
    await other.empty();
    expect(await second.ended).toMatchObject({ kind: 'aborted' });
  });
});

describe('through another server', () => {
  function through(gate: SshHost, target: SshHost, more: Partial<SshOptions> = {}): SshOptions {
    const via = optionsFor(gate.port, { name: 'gate', user: 'guard' });
    return optionsFor(target.port, { via, ...more });
  }

  test('each with its own login; they end together', async () => {
    await using gate = await host({ login: wantsPassword });
    await using target = await host({ login: wantsPassword, hostKeys: [ecdsa] });
    const connection = await open(
      through(gate, target, { trust: { hostKeys: [ecdsa.fingerprint], knownHosts: [] } }),
    );
    expect(connection.where).toBe(`127.0.0.1:${target.port} through 127.0.0.1:${gate.port}`);
    await said(await connection.openSftp(), 'from afar');
    await connection.close();
    await Promise.all([gate.empty(), target.empty()]);
  });

  test('through two', async () => {
    await using first = await host({ login: wantsPassword });
    await using second = await host({ login: wantsPassword });
    await using target = await host();
    const outer = optionsFor(first.port, { name: 'first' });
    const via = optionsFor(second.port, { name: 'second', via: outer });
    const connection = await open(optionsFor(target.port, { via }));
    expect(connection.where).toBe(
      `127.0.0.1:${target.port} through 127.0.0.1:${second.port} through 127.0.0.1:${first.port}`,
    );
    await said(await connection.openSftp(), 'from far away');
    first.drop();
    expect((await connection.ended).message).toMatch(
      /goes through second\. The way to .* goes through first/,
    );
    await Promise.all([first.empty(), second.empty(), target.empty()]);
  });

  test('the gate goes first, and is named', async () => {
    await using gate = await host();
    await using target = await host();
    const connection = await open(through(gate, target));
    gate.drop();
    const error = await connection.ended;
    expect(error).toMatchObject({ kind: 'lost' });
    expect(error.message).toContain('goes through gate');
    await target.empty();
  });

  test('the target goes first, and the gate is let go', async () => {
    await using gate = await host();
    await using target = await host();
    const connection = await open(through(gate, target));
    target.drop();
    expect(await connection.ended).toMatchObject({ kind: 'lost' });
    await gate.empty();
  });

  test('a gate that falls silent is what is told', async () => {
    await using gate = await host();
    await using target = await host();
    const connection = await open(through(gate, target, { replyTimeoutMs: 400 }));
    gate.freeze();
    const error = await connection.ended;
    expect(error).toMatchObject({ kind: 'lost' });
    expect(error.message).toContain('goes through gate');
    expect(error.message).toContain('has not been heard of');
  });

  test('a gate that passes nothing on, and one that reaches nobody', async () => {
    await using closed = await host({ forwards: 'refuse' });
    await using gate = await host();
    await using target = await host();
    const error = await refusal(open(through(closed, target)));
    expect(error).toMatchObject({ kind: 'channel', code: 'FORWARD' });
    expect(error.message).toContain(`127.0.0.1:${closed.port} does not pass connections on`);
    await closed.empty();
    const unknown = await refusal(
      open({ ...through(gate, target), trust: { hostKeys: [ecdsa.fingerprint], knownHosts: [] } }),
    );
    expect(unknown).toMatchObject({ kind: 'host-key' });
    await Promise.all([gate.empty(), target.empty()]);
  });

  test('a gate whose key is not trusted is never logged in to', async () => {
    await using gate = await host({ hostKeys: [rsa] });
    await using target = await host();
    const error = await refusal(open(through(gate, target)));
    expect(error).toMatchObject({ kind: 'host-key' });
    expect(error.message).toMatch(/goes through gate\. .*shows the RSA key/);
    expect([gate.attempts, target.connections.made]).toEqual([[], 0]);
  });

  test('pinned by a key that is not the first, the target is asked again through the same gate', async () => {
    await using gate = await host();
    await using target = await host({ hostKeys: [ed25519, rsa] });
    await open(through(gate, target, { trust: { hostKeys: [rsa.fingerprint], knownHosts: [] } }));
    expect([gate.connections.made, target.connections.made]).toEqual([1, 2]);
  });
});

describe('given up', () => {
  test('before it begins', async () => {
    await using server = await host();
    const error = await refusal(open(optionsFor(server.port, { signal: AbortSignal.abort() })));
    expect(error).toMatchObject({ kind: 'aborted' });
    expect(server.connections.made).toBe(0);
  });

  test('at every stage: nothing is left', async () => {
    await using gate = await host({ login: wantsPassword });
    await using target = await host({ login: wantsPassword, banner: 'Welcome' });
    const key: SshKey = mine;
    const login = { ...password, privateKey: key.privateKey };
    const attempt = async (steps: number): Promise<'aborted' | 'open'> => {
      const stop = new AbortController();
      let left = steps;
      const onWire = (): void => {
        if (left-- === 0) stop.abort();
      };
      const via = optionsFor(gate.port, { name: 'gate', login });
      try {
        const connection = await SshConnection.open(
          optionsFor(target.port, { via, login, onWire, signal: stop.signal }),
        );
        await connection.close();
        return 'open';
      } catch (error) {
        expect(error).toMatchObject({ kind: 'aborted' });
        return 'aborted';
      }
    };
    const outcomes: string[] = [];
    for (let steps = 0; outcomes.at(-1) !== 'open'; steps++) {
      outcomes.push(await attempt(steps));
      await Promise.all([gate.empty(), target.empty()]);
    }
    // Two connections with greeting, key, algorithms, three or more steps of a login each.
    expect(outcomes.length).toBeGreaterThan(12);
  });

  test('at any moment: nothing is left', async () => {
    await using gate = await host({ login: wantsPassword });
    await using target = await host({ login: wantsPassword });
    const via = optionsFor(gate.port, { name: 'gate' });
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    for (let afterMs = 0; afterMs < 40; afterMs += 1) {
      const signal = AbortSignal.timeout(afterMs);
      const opening = SshConnection.open(optionsFor(target.port, { via, signal }));
      await opening.then(
        (connection) => connection.reset(),
        (error: unknown) => expect(error).toMatchObject({ kind: 'aborted' }),
      );
      await Promise.all([gate.empty(), target.empty()]);
    }
    // Those that made the signals go by themselves.
    await vi.waitFor(() => expect(timers()).toBeLessThanOrEqual(before));
  });

  test('afterwards the signal means nothing', async () => {
    await using server = await host();
    const stop = new AbortController();
    const connection = await open(optionsFor(server.port, { signal: stop.signal }));
    stop.abort();
    await said(await connection.openSftp(), 'still here');
  });
});
