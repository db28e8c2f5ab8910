/*
 * From the TCP connection to the login: greetings, TLS of both kinds, and who is trusted. The journal tells what the
 * server has seen; above all that no user name goes out where TLS was asked for and did not come about.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { TlsTrust } from '../../src/ftp/client.js';
import { FtpClient } from '../../src/ftp/client.js';
import { type Certificates, certificates } from '../support/certificates.js';
import { failure, Stage } from './stage.js';

const login = { user: 'ferry', password: 'secret', account: undefined };

describe('connect', () => {
  test('a port where nobody listens', async () => {
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    listener.close();
    await once(listener, 'close');
    await using stage = await Stage.open();
    const error = await failure(stage.connect({ port }));
    expect(error).toMatchObject({ kind: 'network', phase: 'connect', code: 'ECONNREFUSED' });
    expect(error.message).toContain(`127.0.0.1:${port} refuses connections`);
  });

  test('over IPv6, the address stands in brackets', async () => {
    await using stage = await Stage.open({ host: '::1' });
    const client = await stage.login();
    expect(client.isIpv6).toBe(true);
    expect(client.where).toBe(`[::1]:${stage.server.port}`);
    expect(await client.workingDirectory()).toBe('/');
  });

  test('an abort before, while and after connecting', async () => {
    await using stage = await Stage.open();
    const early = AbortSignal.abort();
    expect(await failure(stage.connect({ signal: early }))).toMatchObject({
      kind: 'aborted',
      phase: 'connect',
    });
    expect(stage.server.journal.connections).toBe(0);

    const inTime = new AbortController();
    const connecting = stage.connect({ signal: inTime.signal });
    inTime.abort();
    expect(await failure(connecting)).toMatchObject({ kind: 'aborted', phase: 'connect' });

    stage.server.script({ on: 'greeting', do: { kind: 'hang' }, nth: 'every' });
    const atGreeting = new AbortController();
    const { connections } = stage.server.journal;
    const greeted = stage.connect({ signal: atGreeting.signal });
    await stage.server.until((journal) => journal.connections > connections);
    atGreeting.abort();
    expect(await failure(greeted)).toMatchObject({ kind: 'aborted' });
  });
});

describe('greeting', () => {
  test.each(['220 Ready.', '220-Hello\n220-there\n220 Ready.', '230 Logged in already.'])(
    '%j is fine',
    async (greeting) => {
      await using stage = await Stage.open({ replies: { greeting } });
      const client = await stage.login();
      expect(client.ended).toBe(false);
    },
  );

  test('120 means wait: the 220 follows', async () => {
    await using stage = await Stage.open();
    stage.server.script({
      on: 'greeting',
      do: { kind: 'bytes', pieces: ['120 In a moment\r\n', { pauseMs: 30 }, '220 Ready\r\n'] },
    });
    await stage.login();
    expect(stage.wire.slice(0, 2)).toEqual(['< 120 In a moment', '< 220 Ready']);
  });

  test('120 and then nothing is a timeout', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'greeting', do: { kind: 'bytes', pieces: '120 In a moment\r\n' } });
    const error = await failure(stage.connect({ replyTimeoutMs: 150 }));
    expect(error).toMatchObject({ kind: 'timeout', phase: 'greeting' });
  });

  test.each([421, 500, 530, 450])('%i refuses', async (code) => {
    await using stage = await Stage.open({ replies: { greeting: `${code} Not for you.` } });
    const error = await failure(stage.connect());
    expect(error).toMatchObject({ kind: 'reply', phase: 'greeting', reply: { code } });
    expect(error.message).toContain(`${code} Not for you.`);
  });

  test.each([
    ['HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n', 'a web server (HTTP) answers there'],
    ['SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n', 'an SSH server answers there'],
    ['* OK IMAP4rev1 ready\r\n', 'a line without a reply code'],
    ['+OK POP3\r\n', 'a line without a reply code'],
    ['700 Strange\r\n', 'the reply code 700'],
    ['\0\0\0\0', 'a NUL byte'],
    [`220 ${'x'.repeat(9000)}`, 'a line of over 8192 bytes'],
  ])('a banner that is no FTP: %#', async (banner, words) => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'greeting', do: { kind: 'bytes', pieces: banner } });
    const error = await failure(stage.connect());
    expect(error).toMatchObject({ kind: 'malformed', phase: 'greeting' });
    expect(error.message).toContain(words);
    expect(stage.server.journal.commands).toEqual([]);
  });

  test('a TLS alert in its place points to ftps://', async () => {
    await using stage = await Stage.open();
    const alert = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46, 0x0a]);
    stage.server.script({ on: 'greeting', do: { kind: 'bytes', pieces: alert } });
    expect((await failure(stage.connect())).message).toContain('ftps://');
  });

  test('a reset may come before this side knows that it is connected', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'greeting', do: { kind: 'reset' } });
    const { kind, phase } = await failure(stage.connect());
    expect(['network connect', 'lost greeting']).toContain(`${kind} ${phase}`);
  });

  test.each([
    ['hang', 'timeout'],
    ['close', 'lost'],
  ] as const)('%s', async (kind, expected) => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'greeting', do: { kind } });
    expect(await failure(stage.connect({ replyTimeoutMs: 150 }))).toMatchObject({
      kind: expected,
      phase: 'greeting',
    });
  });
});

describe('TLS', () => {
  test('explicit: AUTH TLS, PBSZ 0, PROT P, and only then USER', async () => {
    await using stage = await Stage.open({ security: 'explicit', requireTls: true });
    await stage.login();
    const said = stage.server.journal.commands.map(({ verb, argument }) => `${verb} ${argument}`.trim());
    expect(said).toEqual(['AUTH TLS', 'PBSZ 0', 'PROT P', 'USER ferry', 'PASS', 'TYPE I']);
  });

  test('implicit: from the first byte', async () => {
    await using stage = await Stage.open({ security: 'implicit', requireTls: true });
    await stage.login();
    expect(stage.server.journal.verbs()).toEqual(['PBSZ', 'PROT', 'USER', 'PASS', 'TYPE']);
  });

  test.each(['explicit', 'implicit'] as const)('TLS 1.2 is taken, %s', async (security) => {
    await using stage = await Stage.open({ security, tlsVersions: { max: 'TLSv1.2' } });
    await stage.login();
  });

  test('a greeting of 230 does not spare AUTH', async () => {
    await using stage = await Stage.open({ security: 'explicit', replies: { greeting: '230 Welcome.' } });
    await stage.connect();
    expect(stage.server.journal.verbs()[0]).toBe('AUTH');
  });

  test.each([
    '500 Unknown command.',
    '502 Not implemented.',
    '504 Unknown AUTH type.',
    '530 Please log in.',
    '431 No certificate.',
    '334 ADAT wanted.',
    '421 Going down.',
  ])('AUTH refused with %j: USER is never sent', async (text) => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({ on: 'AUTH', do: { kind: 'reply', text } });
    const error = await failure(stage.connect());
    expect(error).toMatchObject({ kind: 'reply', phase: 'tls', reply: { code: Number(text.slice(0, 3)) } });
    expect(stage.server.journal.verbs()).toEqual(['AUTH']);
  });

  test.each(['PBSZ', 'PROT'])('%s refused: USER is never sent', async (verb) => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({ on: verb, do: { kind: 'reply', text: '534 Not here.' } });
    expect(await failure(stage.connect())).toMatchObject({
      kind: 'reply',
      phase: 'tls',
      reply: { code: 534 },
    });
    expect(stage.server.journal.verbs()).toEqual(['AUTH', 'PBSZ', 'PROT']);
  });

  test.each([
    ['a login', '230 Logged in.\r\n'],
    ['a question', '331 Your password?\r\n'],
    ['a refusal', '530 No.\r\n'],
    ['half a reply', '230-Hel'],
    ['a preliminary reply', '150 Here it comes\r\n'],
    ['nonsense', 'xxxxxxxxx\r\n'],
    ['one byte', 'x'],
    ['a line end', '\r\n'],
    ['a NUL', '\0'],
    ['many replies', '200 x\r\n'.repeat(500)],
  ])('%s injected behind the 234 ends it before the handshake', async (_name, bytes) => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({ on: 'AUTH', do: { kind: 'inject', bytes } });
    const error = await failure(stage.connect());
    expect(error).toMatchObject({ kind: 'injected', phase: 'tls' });
    expect(error.message).toContain('somebody may be in between');
    expect(stage.server.journal.verbs()).toEqual(['AUTH']);
  });

  test('injected bytes in a packet of their own are no reply either', async () => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({
      on: 'AUTH',
      do: { kind: 'bytes', pieces: ['234 Proceed.\r\n', '230 Logged in.\r\n331 x\r\n'] },
    });
    const error = await failure(stage.connect({ connectTimeoutMs: 500 }));
    expect(['injected', 'handshake']).toContain(error.kind);
    expect(error.phase).toBe('tls');
    expect(stage.server.journal.verbs()).not.toContain('USER');
    expect(stage.wire).not.toContain('< 230 Logged in.');
  });

  test.each(['explicit', 'implicit'] as const)('a handshake that stalls, %s', async (security) => {
    await using stage = await Stage.open({ security });
    stage.server.script({ on: 'tls', do: { kind: 'hang' } });
    const error = await failure(stage.connect({ connectTimeoutMs: 200 }));
    expect(error).toMatchObject({ kind: 'timeout', phase: 'tls' });
    expect(error.message).toContain('200 ms');
    expect(stage.server.journal.verbs()).not.toContain('USER');
  });

  test.each([
    ['reset', { kind: 'reset' }],
    ['closed', { kind: 'close' }],
    ['answered with nonsense', { kind: 'bytes', pieces: 'this is no TLS at all\r\n' }],
  ] as const)('a handshake that is %s', async (_name, fault) => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({ on: 'tls', do: fault });
    expect(await failure(stage.connect())).toMatchObject({ kind: 'handshake', phase: 'tls' });
    expect(stage.server.journal.verbs()).toEqual(['AUTH']);
  });

  test('implicit TLS against a plain server says what is wrong', async () => {
    await using stage = await Stage.open();
    const error = await failure(stage.connect({ security: 'implicit' }));
    expect(error).toMatchObject({ kind: 'handshake', phase: 'tls' });
    expect(error.message).toMatch(/Does the server speak TLS on this port\?|ftpes:\/\//);
  });
});

describe('trust', () => {
  interface Case {
    readonly server: keyof Omit<Certificates, 'ca' | 'client'>;
    readonly trust: (all: Certificates) => Partial<TlsTrust>;
    /** The code it is refused with; undefined where it is trusted. */
    readonly code: string | RegExp | undefined;
  }
  const cases: Record<string, Case> = {
    'the right authority': { server: 'good', trust: () => ({}), code: undefined },
    'an unknown authority': {
      server: 'good',
      trust: () => ({ ca: undefined }),
      code: /UNABLE_TO_|SELF_SIGNED_/,
    },
    'another authority': {
      server: 'good',
      trust: (all) => ({ ca: all.selfSigned.cert }),
      code: /UNABLE_TO_|SELF_SIGNED_/,
    },
    'an expired certificate': { server: 'expired', trust: () => ({}), code: 'CERT_HAS_EXPIRED' },
    'a certificate for another host': {
      server: 'wrongHost',
      trust: () => ({}),
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    },
    'another host, expected by serverName': {
      server: 'wrongHost',
      trust: () => ({ serverName: 'elsewhere.test' }),
      code: undefined,
    },
    'the right host, and another expected by serverName': {
      server: 'good',
      trust: () => ({ serverName: 'elsewhere.test' }),
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    },
    'a self-signed certificate': {
      server: 'selfSigned',
      trust: () => ({}),
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    },
    'a self-signed certificate that is its own authority': {
      server: 'selfSigned',
      trust: (all) => ({ ca: all.selfSigned.cert }),
      code: undefined,
    },
    'the right pin': {
      server: 'good',
      trust: (all) => ({ ca: undefined, pin: all.good.pin }),
      code: undefined,
    },
    'the right pin of a self-signed one': {
      server: 'selfSigned',
      trust: (all) => ({ ca: undefined, pin: all.selfSigned.pin }),
      code: undefined,
    },
    'the right pin of an expired one': {
      server: 'expired',
      trust: (all) => ({ pin: all.expired.pin }),
      code: undefined,
    },
    'the wrong pin': { server: 'good', trust: (all) => ({ pin: all.selfSigned.pin }), code: 'PIN' },
    'the wrong pin, and verification off': {
      server: 'good',
      trust: (all) => ({ pin: all.selfSigned.pin, verify: false }),
      code: 'PIN',
    },
    'verification off': {
      server: 'expired',
      trust: () => ({ ca: undefined, verify: false }),
      code: undefined,
    },
    'verification off, another host': {
      server: 'wrongHost',
      trust: () => ({ verify: false }),
      code: undefined,
    },
  };

  describe.each(['explicit', 'implicit'] as const)('%s', (security) => {
    test.each(Object.entries(cases))('%s', async (_name, { server, trust, code }) => {
      const all = await certificates();
      await using stage = await Stage.open({ security, certificate: all[server] });
      const options = stage.options();
      const asked = stage.connect({ trust: { ...options.trust, ...trust(all) } });
      if (code === undefined) {
        await (await asked).login(login);
        expect(stage.server.journal.logins).toBe(1);
        return;
      }
      const error = await failure(asked);
      expect(error).toMatchObject({ kind: 'certificate', phase: 'tls' });
      expect(error.code).toMatch(code);
      expect(stage.server.journal.verbs()).not.toContain('USER');
    });
  });

  test('the wrong pin names both keys', async () => {
    const all = await certificates();
    await using stage = await Stage.open({ security: 'explicit' });
    const trust = { ...stage.options().trust, pin: all.selfSigned.pin };
    const { message } = await failure(stage.connect({ trust }));
    expect(message).toContain(all.good.pin);
    expect(message).toContain(all.selfSigned.pin);
  });
});

describe('login', () => {
  test('USER and PASS', async () => {
    await using stage = await Stage.open();
    const client = await stage.connect();
    await client.login(login);
    expect(stage.server.journal.logins).toBe(1);
    expect(stage.wire).toContain('> PASS ****');
  });

  test('a server that needs no password is sent none', async () => {
    await using stage = await Stage.open({ replies: { needPassword: '230 Come in.' } });
    await (await stage.connect()).login(login);
    expect(stage.server.journal.verbs()).toEqual(['USER']);
  });

  test('ACCT where the server asks for it', async () => {
    await using stage = await Stage.open({ account: 'books' });
    await (await stage.connect()).login({ ...login, account: 'books' });
    expect(stage.server.journal.verbs()).toEqual(['USER', 'PASS', 'ACCT']);
    expect(stage.wire).toContain('> ACCT ****');
    expect(stage.server.journal.logins).toBe(1);
  });

  test('an account that is asked for and not known', async () => {
    await using stage = await Stage.open({ account: 'books' });
    const error = await failure((await stage.connect()).login(login));
    expect(error).toMatchObject({ kind: 'reply', phase: 'login', reply: { code: 332 } });
    expect(stage.server.journal.verbs()).toEqual(['USER', 'PASS']);
  });

  test('a wrong password is tried once', async () => {
    await using stage = await Stage.open();
    const error = await failure((await stage.connect()).login({ ...login, password: 'wrong' }));
    expect(error).toMatchObject({ kind: 'reply', phase: 'login', reply: { code: 530 } });
    expect(stage.server.journal.verbs()).toEqual(['USER', 'PASS']);
  });
});

describe('secrets', () => {
  const password = 'hunter2 $& "x"\t';
  const account = 'books.1';

  test.each<[string, (said: string) => string]>([
    ['as it is', (said) => `530 Wrong password ${said} for ferry.`],
    ['at the end', (said) => `530 ${said}`],
    ['in several lines', (said) => `530-${said}\n${said} and\n530 ${said}`],
    ['where the text is cut', (said) => `530 ${'x'.repeat(295)}${said}`],
  ])('a password that the server echoes, %s, is shown nowhere', async (_name, text) => {
    await using stage = await Stage.open({ replies: { loginWrong: text(password) } });
    const client = await stage.connect();
    const error = await failure(client.login({ user: 'ferry', password, account: undefined }));
    const shown = [inspect(error, { depth: 9, showHidden: true }), error.message, ...stage.wire].join('\n');
    expect(shown).toContain('530');
    // Not even the beginning of it.
    expect(shown).not.toContain('hunter');
  });

  test('nor later, nor the account, whatever fails', async () => {
    await using stage = await Stage.open({ users: { ferry: password }, account });
    const client = await stage.connect();
    await client.login({ user: 'ferry', password, account });
    const echo = `${password} ${account}`;
    stage.server.script({ on: 'MKD', do: { kind: 'reply', text: `550 ${echo}` } });
    stage.server.script({ on: 'EPSV', do: { kind: 'reply', text: `229 ${echo}` } });
    stage.server.script({ on: 'RNFR', do: { kind: 'reply', text: `250 ${echo}` } });
    const errors = [
      await failure(client.makeDirectory(`/${echo.trim()}`)),
      await failure(client.machineListing('/', { mode: 'EPSV' })),
      await failure(client.rename('/a', '/b')),
      await failure(client.size('/a')),
    ];
    expect(errors.map(({ kind }) => kind)).toEqual(['reply', 'reply', 'malformed', 'lost']);
    const shown = [...errors.map((error) => inspect(error, { depth: 9 })), ...stage.wire].join('\n');
    expect(shown).toContain('MKD');
    expect(shown).not.toContain('hunter');
    expect(shown).not.toContain(account);
  });

  test('a 421 out of nowhere is censored too', async () => {
    await using stage = await Stage.open({ users: { ferry: password } });
    const client = await stage.connect();
    await client.login({ user: 'ferry', password, account: undefined });
    stage.server.script({ on: 'PWD', do: { kind: 'reply', text: `421 Bye ${password}` } });
    await failure(client.workingDirectory());
    const error = await failure(client.workingDirectory());
    expect(error).toMatchObject({ kind: 'lost' });
    expect(inspect([error, stage.wire], { depth: 9 })).not.toContain('hunter');
  });

  test('a path that holds the password is still the path', async () => {
    await using stage = await Stage.open({ home: '/home/secret' });
    const client = await stage.login();
    expect(await client.workingDirectory()).toBe('/home/secret');
    expect(stage.wire.join('\n')).not.toContain('secret');
  });
});

test('quit says goodbye and leaves nothing', async () => {
  await using stage = await Stage.open({ security: 'explicit' });
  const client = await stage.login();
  await client.quit();
  expect(client.ended).toBe(true);
  expect(stage.server.journal.verbs().at(-1)).toBe('QUIT');
  await client.quit();
  expect(await failure(client.size('/a'))).toMatchObject({ kind: 'aborted' });
});

test('a failed opening leaves no connection', async () => {
  await using stage = await Stage.open({ security: 'explicit' });
  stage.server.script({ on: 'PROT', do: { kind: 'reply', text: '536 No.' } });
  await failure(FtpClient.connect(stage.options()));
  await stage.server.until((journal) => journal.connections === 1 && journal.open === 0);
});
