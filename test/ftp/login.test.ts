/*
 * Every way into a server (RFC 959 section 5.4): which of USER, PASS and ACCT goes out after which reply, what the error
 * keeps of the server's words so that others can tell a wrong password from a full house, and the directory that PWD
 * tells afterwards. connect.test.ts has what comes before, and secrets that are echoed.
 */
import { describe, expect, test } from 'vitest';
import type { Login } from '../../src/ftp/client.js';
import { failure, Stage } from './stage.js';

const login: Login = { user: 'ferry', password: 'secret', account: undefined };
const withAccount: Login = { ...login, account: 'books' };

interface Conversation {
  readonly login?: Login;
  /** What the server answers to each, in place of its own words. */
  readonly user?: string;
  readonly pass?: string;
  readonly acct?: string;
  /** The verbs that go out. */
  readonly sent: readonly string[];
  /** The code that it fails with, and the verb that was refused; undefined where the login is done. */
  readonly fails?: readonly [code: number, verb: string];
  /** The session is over as well. */
  readonly ended?: true;
}

const conversations: Readonly<Record<string, Conversation>> = {
  '230 to USER': { user: '230 Come in.', sent: ['USER'] },
  '232 to USER': { user: '232 Authorised by TLS.', sent: ['USER'] },
  '331, 230': { user: '331 Password?', pass: '230 In.', sent: ['USER', 'PASS'] },
  '331, 202': { user: '331 Password?', pass: '202 Superfluous.', sent: ['USER', 'PASS'] },
  '331, 230 in many lines': {
    pass: '230-Welcome.\n 530 people are here.\n530 of them shout.\n230 In.',
    sent: ['USER', 'PASS'],
  },
  '331, 332, 230': {
    login: withAccount,
    pass: '332 Account?',
    acct: '230 In.',
    sent: ['USER', 'PASS', 'ACCT'],
  },
  '331, 332, 202': {
    login: withAccount,
    pass: '332 Account?',
    acct: '202 Superfluous.',
    sent: ['USER', 'PASS', 'ACCT'],
  },
  '332, 230: no password is asked for': {
    login: withAccount,
    user: '332 Account?',
    acct: '230 In.',
    sent: ['USER', 'ACCT'],
  },
  'an account that is not asked for stays here': {
    login: withAccount,
    pass: '230 In.',
    sent: ['USER', 'PASS'],
  },
  '332, and there is no account': { user: '332 Account?', sent: ['USER'], fails: [332, 'USER'] },
  '331, 332, and there is no account': {
    pass: '332 Account?',
    sent: ['USER', 'PASS'],
    fails: [332, 'PASS'],
  },
  '331, 332, 530': {
    login: withAccount,
    pass: '332 Account?',
    acct: '530 Not that one.',
    sent: ['USER', 'PASS', 'ACCT'],
    fails: [530, 'ACCT'],
  },
  '331, 332, 332: an account is told once': {
    login: withAccount,
    pass: '332 Account?',
    acct: '332 Account?',
    sent: ['USER', 'PASS', 'ACCT'],
    fails: [332, 'ACCT'],
  },
  '331, 331: a password is told once': {
    pass: '331 Password?',
    sent: ['USER', 'PASS'],
    fails: [331, 'PASS'],
  },
  '336: a challenge that nobody can answer': {
    user: '336 Challenge: 4711',
    sent: ['USER'],
    fails: [336, 'USER'],
  },
  '530 to USER': { user: '530 TLS first.', sent: ['USER'], fails: [530, 'USER'] },
  '331, 530': { pass: '530 Login incorrect.', sent: ['USER', 'PASS'], fails: [530, 'PASS'] },
  '331, 430': { pass: '430 Invalid.', sent: ['USER', 'PASS'], fails: [430, 'PASS'] },
  '331, 503': { pass: '503 Login with USER first.', sent: ['USER', 'PASS'], fails: [503, 'PASS'] },
  '331, 421': { pass: '421 Too many.', sent: ['USER', 'PASS'], fails: [421, 'PASS'], ended: true },
  '421 to USER': { user: '421 Going down.', sent: ['USER'], fails: [421, 'USER'], ended: true },
};

describe('conversations', () => {
  test.each(Object.entries(conversations))('%s', async (_name, conversation) => {
    const { user = '331 Password?', pass = '230 In.', acct = '230 In.', sent, fails } = conversation;
    await using stage = await Stage.open();
    for (const [on, text] of Object.entries({ USER: user, PASS: pass, ACCT: acct }))
      stage.server.script({ on, nth: 'every', do: { kind: 'reply', text } });
    const client = await stage.connect();
    const asked = client.login(conversation.login ?? login);
    if (fails === undefined) await asked;
    else {
      const [code, verb] = fails;
      const error = await failure(asked);
      expect(error).toMatchObject({ kind: 'reply', phase: 'login', verb, reply: { code } });
      expect(error.message).toContain(`answered the login with ${code} `);
    }
    expect(stage.server.journal.verbs()).toEqual(sent);
    expect(client.ended).toBe(conversation.ended === true);
  });

  test.each([
    '530 Sorry, the maximum number of clients (10) from your host are already connected.',
    '530-Too many users\n530 try again later.',
    '421 There are too many connected users, please try later.',
  ])('a full house is told in its own words: %j', async (text) => {
    await using stage = await Stage.open({ replies: { loginWrong: text } });
    const client = await stage.connect();
    const error = await failure(client.login({ ...login, password: 'wrong' }));
    expect(error).toMatchObject({ kind: 'reply', phase: 'login' });
    expect(error.reply?.lines).toEqual(text.split('\n'));
    expect(error.message).toMatch(/maximum number|too many/i);
  });

  test.each(['greeting', 'login'] as const)('one session too many, at the %s', async (tooManyAt) => {
    await using stage = await Stage.open({ maxConnections: 1, tooManyAt });
    const first = await stage.login();
    const error = await failure(stage.login());
    expect(error).toMatchObject({ kind: 'reply', phase: tooManyAt });
    expect(error.reply?.code).toBe(tooManyAt === 'greeting' ? 421 : 530);
    expect(error.message).toContain('too many');
    expect(await first.workingDirectory()).toBe('/');
  });

  test('anonymous, with an address for a password', async () => {
    await using stage = await Stage.open({ anonymous: true });
    const client = await stage.connect();
    await client.login({ user: 'anonymous', password: 'ferry@example.net', account: undefined });
    expect(stage.server.journal.of('USER')[0]?.argument).toBe('anonymous');
    expect(stage.wire).toContain('> PASS ****');
    expect(stage.wire.join('\n')).not.toContain('ferry@example.net');
    expect(await client.workingDirectory()).toBe('/');
  });

  test('anonymous where nobody is', async () => {
    await using stage = await Stage.open();
    const client = await stage.connect();
    const guest = { user: 'anonymous', password: 'ferry@example.net', account: undefined };
    expect(await failure(client.login(guest))).toMatchObject({ kind: 'reply', reply: { code: 530 } });
  });

  test.each(['', ' ', ' led ', 'with spaces', 'ü日本', '%00', '"quoted"', '\\', '-'])(
    'the password %j goes out as it is',
    async (password) => {
      await using stage = await Stage.open({ users: { ferry: password } });
      await (await stage.connect()).login({ ...login, password });
      expect(stage.server.journal.logins).toBe(1);
    },
  );

  test('a second login in the same session, as after a 530 in its middle', async () => {
    await using stage = await Stage.open();
    const client = await stage.connect();
    await failure(client.login({ ...login, password: 'wrong' }));
    await client.login(login);
    expect(await client.workingDirectory()).toBe('/');
  });
});

describe('what cannot travel', () => {
  const hostile = ['a\r\nDELE /file', 'a\nb', 'a\rb', 'a\0b'];

  test.each<[string, (text: string) => Login, string, readonly string[]]>([
    ['a user', (user) => ({ ...login, user }), 'USER', []],
    ['a password', (password) => ({ ...login, password }), 'PASS', ['USER']],
    ['an account', (account) => ({ ...login, account }), 'ACCT', ['USER', 'PASS']],
  ])('%s with a line end or NUL is not sent, and not shown', async (_what, loginOf, verb, before) => {
    for (const text of hostile) {
      await using stage = await Stage.open({ account: 'books' });
      const client = await stage.connect();
      const error = await failure(client.login(loginOf(text)));
      expect(error).toMatchObject({ kind: 'argument', phase: 'login', verb });
      expect([error.message, ...stage.wire].join()).not.toContain('DELE');
      expect(stage.server.journal.verbs()).toEqual(before);
      expect(client.ended).toBe(false);
    }
  });

  test('no user at all', async () => {
    await using stage = await Stage.open();
    const client = await stage.connect();
    expect(await failure(client.login({ ...login, user: '' }))).toMatchObject({
      kind: 'argument',
      verb: 'USER',
    });
    expect(stage.server.journal.verbs()).toEqual([]);
  });
});

describe('HOST comes before the login', () => {
  test('the server hears of it first', async () => {
    await using stage = await Stage.open({ features: { HOST: true } });
    const client = await stage.connect();
    await client.host('nas.example.net');
    await client.login(login);
    expect(stage.server.journal.verbs()).toEqual(['HOST', 'USER', 'PASS']);
  });

  test.each(['500 Unknown command.', '502 Not implemented.', '504 No such host here.', '530 Log in first.'])(
    'one that answers %j can be logged in to all the same',
    async (text) => {
      await using stage = await Stage.open();
      stage.server.script({ on: 'HOST', do: { kind: 'reply', text } });
      const client = await stage.connect();
      expect(await failure(client.host('nas.example.net'))).toMatchObject({
        kind: 'reply',
        phase: 'features',
        verb: 'HOST',
      });
      await client.login(login);
      expect(stage.server.journal.logins).toBe(1);
    },
  );
});

describe('the directory after the login', () => {
  test.each<[text: string, path: string | undefined]>([
    ['257 "/" is the current directory', '/'],
    ['257 "/home/ferry"', '/home/ferry'],
    ['257 Current directory is "/home/ferry".', '/home/ferry'],
    ['257 "/with ""quotes"" in it" is the current directory', '/with "quotes" in it'],
    ['257 """/quoted""" is the current directory', '"/quoted"'],
    ['257 "/a b" is where you are, said "the server"', '/a b'],
    ['257 "C:/Users/ferry"', 'C:/Users/ferry'],
    ['257 "/Füße/日本"', '/Füße/日本'],
    ['250 "/home"', '/home'],
    ['257 "/never closed', undefined],
    ['257 "/ends in a doubled quote""', undefined],
    ['257 /without/quotes', undefined],
    ['257 ""', undefined],
    ['257', undefined],
  ])('%s', async (text, path) => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'PWD', do: { kind: 'reply', text } });
    const client = await stage.login();
    expect(await client.workingDirectory()).toBe(path);
    expect(client.ended).toBe(false);
  });

  test('a real directory with a quote in it', async () => {
    await using stage = await Stage.open({ home: '/a "b"/c""' });
    const client = await stage.login();
    expect(await client.workingDirectory()).toBe('/a "b"/c""');
  });
});
