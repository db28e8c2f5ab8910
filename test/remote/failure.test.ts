/*
 * The policy as a table: what happens, and what becomes of it. The rows are those of the failure table that this
 * transport can meet; beneath them the rules that hold for every code there is.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FtpError, type FtpErrorKind, type Phase } from '../../src/ftp/errors.js';
import type { FailureKind } from '../../src/plan/outcome.js';
import type { Decision } from '../../src/remote/decision.js';
import { isTooMany, judge, SKIPS_IN_A_ROW } from '../../src/remote/failure.js';
import { AsideTaken, MoveRefused } from '../../src/remote/remote.js';

function replied(phase: Phase, verb: string, ...lines: string[]): FtpError {
  const code = Number(lines[0]?.slice(0, 3));
  return new FtpError('reply', `nas:21 answered ${verb} with ${lines.join(' ')}`, {
    phase,
    verb,
    reply: { code, lines },
  });
}

function broke(kind: FtpErrorKind, phase: Phase, code?: string): FtpError {
  return new FtpError(kind, `nas:21 ${kind}.`, { phase, code });
}

function local(code: string): Error {
  return Object.assign(new Error(`${code} on a file`), { code });
}

type Row = readonly [what: string, error: unknown, decision: Decision, kind: FailureKind];

const before: readonly Row[] = [
  ['connect: refused', broke('network', 'connect', 'ECONNREFUSED'), 'reconnect', 'unreachable'],
  ['connect: unreachable', broke('network', 'connect', 'EHOSTUNREACH'), 'reconnect', 'unreachable'],
  ['connect: name server away', broke('network', 'connect', 'EAI_AGAIN'), 'reconnect', 'unreachable'],
  ['connect: reset', broke('network', 'connect', 'ECONNRESET'), 'reconnect', 'unreachable'],
  ['connect: timed out', broke('timeout', 'connect', 'ETIMEDOUT'), 'reconnect', 'unreachable'],
  ['connect: no such name', broke('network', 'connect', 'ENOTFOUND'), 'hold', 'unreachable'],
  ['greeting: 421', replied('greeting', 'the greeting', '421 Bye.'), 'hold', 'unreachable'],
  ['greeting: too many', replied('greeting', 'the greeting', '530 Too many users.'), 'hold', 'unreachable'],
  ['greeting: maximum', replied('greeting', 'the greeting', '500 Maximum reached.'), 'hold', 'unreachable'],
  ['greeting: try later', replied('greeting', 'the greeting', '550 Try again later'), 'hold', 'unreachable'],
  ['greeting: other 4yz', replied('greeting', 'the greeting', '450 Not ready.'), 'reconnect', 'unreachable'],
  ['greeting: other 5yz', replied('greeting', 'the greeting', '554 Go away.'), 'abort', 'unreachable'],
  ['greeting: no FTP', broke('malformed', 'greeting'), 'abort', 'unreachable'],
  ['greeting: silence', broke('timeout', 'greeting'), 'reconnect', 'unreachable'],
  ['greeting: hung up', broke('lost', 'greeting'), 'reconnect', 'unreachable'],
  ['tls: AUTH 500', replied('tls', 'AUTH TLS', '500 What?'), 'abort', 'trust'],
  ['tls: AUTH 502', replied('tls', 'AUTH TLS', '502 No.'), 'abort', 'trust'],
  ['tls: AUTH 504', replied('tls', 'AUTH TLS', '504 No.'), 'abort', 'trust'],
  ['tls: AUTH 431', replied('tls', 'AUTH TLS', '431 No certificate.'), 'abort', 'trust'],
  ['tls: AUTH 334', replied('tls', 'AUTH TLS', '334 ADAT'), 'abort', 'trust'],
  ['tls: PBSZ refused', replied('tls', 'PBSZ', '503 No.'), 'abort', 'trust'],
  ['tls: PROT P refused', replied('tls', 'PROT P', '536 No.'), 'abort', 'trust'],
  ['tls: 421', replied('tls', 'AUTH TLS', '421 Bye.'), 'reconnect', 'unreachable'],
  ['tls: injected bytes', broke('injected', 'tls'), 'abort', 'trust'],
  ['tls: expired', broke('certificate', 'tls', 'CERT_HAS_EXPIRED'), 'abort', 'trust'],
  ['tls: wrong pin', broke('certificate', 'tls', 'PIN'), 'abort', 'trust'],
  ['tls: handshake reset', broke('handshake', 'tls', 'ECONNRESET'), 'reconnect', 'trust'],
  ['tls: handshake timed out', broke('timeout', 'tls'), 'reconnect', 'unreachable'],
  ['login: 530', replied('login', 'the login', '530 Login incorrect.'), 'abort', 'trust'],
  ['login: 430', replied('login', 'the login', '430 Invalid user.'), 'abort', 'trust'],
  ['login: 532', replied('login', 'the login', '532 Need account.'), 'abort', 'trust'],
  ['login: 332', replied('login', 'the login', '332 Account?'), 'abort', 'trust'],
  ['login: another 5yz', replied('login', 'the login', '500 OOPS: chroot'), 'abort', 'trust'],
  ['login: 530 too many', replied('login', 'the login', '530 Too many connections.'), 'hold', 'unreachable'],
  [
    'login: 530 temporarily',
    replied('login', 'the login', '530 Temporarily blocked.'),
    'hold',
    'unreachable',
  ],
  ['login: 530 try later', replied('login', 'the login', '530 Please try later.'), 'hold', 'unreachable'],
  ['login: 421', replied('login', 'the login', '421 Bye.'), 'hold', 'unreachable'],
  ['login: 451', replied('login', 'the login', '451 Directory service is down.'), 'reconnect', 'unreachable'],
  ['login: 450 busy', replied('login', 'the login', '450 Server busy.'), 'hold', 'unreachable'],
  ['login: silence', broke('timeout', 'login'), 'reconnect', 'unreachable'],
  ['login: hung up', broke('lost', 'login'), 'reconnect', 'unreachable'],
  ['opening: FEAT 450', replied('features', 'FEAT', '450 Later.'), 'retry', 'failed'],
  ['opening: TYPE I refused', replied('command', 'TYPE I', '504 ASCII only.'), 'abort', 'unreachable'],
  ['opening: TYPE I later', replied('command', 'TYPE I', '450 Later.'), 'retry', 'failed'],
  [
    'opening: PWD hangs',
    new FtpError('timeout', 'x', { phase: 'command', verb: 'PWD' }),
    'reconnect',
    'unreachable',
  ],
];

const during: readonly Row[] = [
  ['any time: 421', replied('command', 'SIZE', '421 Bye.'), 'reconnect', 'unreachable'],
  ['any time: 421 in a transfer', replied('transfer', 'STOR', '421 Bye.'), 'reconnect', 'unreachable'],
  ['any time: 530', replied('command', 'CWD', '530 Not logged in.'), 'reconnect', 'trust'],
  ['any time: lost', broke('lost', 'command'), 'reconnect', 'unreachable'],
  ['any time: silence', broke('timeout', 'command'), 'reconnect', 'unreachable'],
  ['any time: malformed', broke('malformed', 'command'), 'reconnect', 'unreachable'],
  ['any time: out of step', broke('malformed', 'transfer'), 'reconnect', 'unreachable'],
  ...[202, 500, 501, 502, 504].flatMap((code) =>
    ['FEAT', 'OPTS UTF8', 'SIZE', 'MDTM', 'MFMT', 'SITE UTIME'].map(
      (verb): Row => [
        `features: ${verb} ${code}`,
        replied('features', verb, `${code} x`),
        'fallback',
        'failed',
      ],
    ),
  ),
  ['features: MFMT 550', replied('features', 'MFMT', '550 No.'), 'fallback', 'failed'],
  ['features: SIZE 450', replied('features', 'SIZE', '450 Later.'), 'retry', 'failed'],
  ['set-up: EPSV 500', replied('data-setup', 'EPSV', '500 What?'), 'fallback', 'unreachable'],
  ['set-up: EPSV 522', replied('data-setup', 'EPSV', '522 Other protocol.'), 'fallback', 'unreachable'],
  ['set-up: EPSV unreadable', replied('data-setup', 'EPSV', '229 somewhere'), 'fallback', 'unreachable'],
  ['set-up: EPSV 425', replied('data-setup', 'EPSV', '425 No port.'), 'retry', 'unreachable'],
  ['set-up: EPSV 421', replied('data-setup', 'EPSV', '421 Bye.'), 'reconnect', 'unreachable'],
  ['set-up: PASV 502', replied('data-setup', 'PASV', '502 No.'), 'fallback', 'unreachable'],
  ['set-up: PASV unreadable', replied('data-setup', 'PASV', '227 (1,2,3)'), 'fallback', 'unreachable'],
  ['set-up: PASV 425', replied('data-setup', 'PASV', '425 No port.'), 'retry', 'unreachable'],
  ['set-up: EPRT 500', replied('data-setup', 'EPRT', '500 What?'), 'fallback', 'unreachable'],
  ['set-up: all refused', broke('unwilling', 'data-setup'), 'abort', 'unreachable'],
  ['set-up: 534', replied('data-setup', 'EPSV', '534 Policy.'), 'abort', 'trust'],
  ['set-up: port refused', broke('data', 'data-setup', 'ECONNREFUSED'), 'reconnect', 'unreachable'],
  ['set-up: timed out', broke('timeout', 'data-setup'), 'reconnect', 'unreachable'],
  ['set-up: handshake', broke('handshake', 'data-setup'), 'reconnect', 'trust'],
  ['set-up: certificate', broke('certificate', 'data-setup', 'PIN'), 'abort', 'trust'],
  ['transfer: 425 reuse', replied('transfer', 'STOR', '425 TLS session not resumed.'), 'reconnect', 'trust'],
  ['transfer: 522 reuse', replied('transfer', 'STOR', '522 session reuse required'), 'reconnect', 'trust'],
  ['transfer: 450 TLS', replied('transfer', 'STOR', '450 TLS failed'), 'reconnect', 'trust'],
  ['transfer: 522 policy', replied('transfer', 'STOR', '522 Must be encrypted.'), 'abort', 'trust'],
  ['transfer: 425', replied('transfer', 'STOR', '425 No data connection.'), 'retry', 'failed'],
  ...[533, 534, 536].map(
    (code): Row => [`transfer: ${code}`, replied('transfer', 'STOR', `${code} Policy.`), 'abort', 'trust'],
  ),
  ['transfer: 426', replied('transfer', 'STOR', '426 Broken.'), 'retry', 'failed'],
  ['transfer: 451', replied('transfer', 'STOR', '451 Local error.'), 'retry', 'failed'],
  ['transfer: 450', replied('transfer', 'STOR', '450 Link lost.'), 'retry', 'failed'],
  ['transfer: 450 on RETR', replied('transfer', 'RETR', '450 Busy file.'), 'retry', 'failed'],
  ['transfer: 452', replied('transfer', 'STOR', '452 No space.'), 'hold', 'failed'],
  ['transfer: 552', replied('transfer', 'STOR', '552 Over.'), 'hold', 'failed'],
  ['transfer: 550 quota', replied('transfer', 'STOR', '550 Quota exceeded.'), 'hold', 'failed'],
  ['transfer: 553 space', replied('transfer', 'STOR', '553 No space left on device'), 'hold', 'failed'],
  ['transfer: 451 full', replied('transfer', 'STOR', '451 Disk full.'), 'hold', 'failed'],
  ['command: MKD 552', replied('command', 'MKD', '552 Over quota.'), 'hold', 'failed'],
  ['command: MKD 550 space', replied('command', 'MKD', '550 Not enough free space.'), 'hold', 'failed'],
  ['transfer: 550', replied('transfer', 'STOR', '550 Permission denied.'), 'skip', 'failed'],
  ['transfer: 553', replied('transfer', 'STOR', '553 Could not create file.'), 'skip', 'failed'],
  ['transfer: 550 on RETR', replied('transfer', 'RETR', '550 Not found.'), 'skip', 'failed'],
  ['transfer: 550 in use', replied('transfer', 'STOR', '550 The file is in use.'), 'retry', 'failed'],
  [
    'transfer: 550 used by a process',
    replied('transfer', 'STOR', '550 It is being used by another process.'),
    'retry',
    'failed',
  ],
  ['transfer: 553 locked', replied('transfer', 'STOR', '553 File locked.'), 'retry', 'failed'],
  ['transfer: 550 timed out', replied('transfer', 'STOR', '550 Operation timed out.'), 'retry', 'failed'],
  ['transfer: 550 too many', replied('transfer', 'STOR', '550 Too many open files.'), 'retry', 'failed'],
  ['command: RNTO 550', replied('command', 'RNTO', '550 It exists.'), 'fallback', 'failed'],
  ['command: RNTO 553', replied('command', 'RNTO', '553 It exists.'), 'fallback', 'failed'],
  ['command: RNTO 550 in use', replied('command', 'RNTO', '550 In use.'), 'retry', 'failed'],
  ['command: DELE 450', replied('command', 'DELE', '450 Later.'), 'retry', 'failed'],
  ['command: DELE 550', replied('command', 'DELE', '550 No.'), 'skip', 'failed'],
  ['transfer: a final 3yz', replied('transfer', 'STOR', '350 Go on.'), 'reconnect', 'failed'],
  ['transfer: unconfirmed', broke('unconfirmed', 'transfer'), 'reconnect', 'unreachable'],
  ['transfer: data broke', broke('data', 'transfer', 'ECONNRESET'), 'reconnect', 'unreachable'],
  ['transfer: stalled', broke('stalled', 'transfer'), 'reconnect', 'unreachable'],
  ['transfer: another size', broke('mismatch', 'transfer'), 'retry', 'verification'],
  ['transfer: aborted by us', broke('aborted', 'transfer'), 'abort', 'failed'],
  ['a name that cannot be sent', broke('argument', 'transfer'), 'skip', 'failed'],
  // What a file is called is not what the server says about it.
  [
    'a path called full',
    replied('transfer', 'STOR', '550 /srv/full quota space.gz: Permission denied'),
    'skip',
    'failed',
  ],
  ['a path called locked', replied('transfer', 'STOR', '553 "/srv/in use locked" refused'), 'skip', 'failed'],
  [
    'a path called session',
    replied('transfer', 'RETR', '450 /srv/tls session.log: later'),
    'retry',
    'failed',
  ],
  ['a word within a word', replied('transfer', 'STOR', '550 Blocked fullname spacecraft'), 'skip', 'failed'],
];

const here: readonly Row[] = [
  ['local: gone', local('ENOENT'), 'gone', 'failed'],
  ['local: a directory is gone', local('ENOTDIR'), 'gone', 'failed'],
  ['local: changed', local('CHANGED'), 'retry', 'failed'],
  ['a move that the server refuses', new MoveRefused('No.'), 'skip', 'failed'],
  ['a place in the trash that is taken', new AsideTaken('Taken.'), 'pass', 'failed'],
  ['local: not readable', local('EACCES'), 'pass', 'failed'],
  ['local: not permitted', local('EPERM'), 'pass', 'failed'],
  ['local: disk error', local('EIO'), 'pass', 'failed'],
  ['local: a link now', local('ELOOP'), 'pass', 'failed'],
  ['local: led outside', local('OUTSIDE'), 'pass', 'failed'],
  ['local: full', local('ENOSPC'), 'abort', 'failed'],
  ['local: read-only', local('EROFS'), 'abort', 'failed'],
  ['local: quota', local('EDQUOT'), 'abort', 'failed'],
  ['a mistake of ours', new TypeError('x is not a function'), 'abort', 'failed'],
];

describe.each([
  ['before there is a session', before, true],
  ['in a session', during, false],
  ['on this side', here, false],
] as const)('%s', (_when, rows, beforeSession) => {
  test.each(rows.map((row) => [...row]))('%s', (what, error, decision, kind) => {
    const failure = judge(error);
    expect({ decision: failure.decision, kind: failure.kind }).toEqual({ decision, kind });
    // FEAT and OPTS are asked while a session is opened, and never later.
    expect(failure.beforeSession).toBe(beforeSession || /FEAT|OPTS/.test(String(what)));
    expect(failure.message).not.toBe('');
    expect(failure.code).not.toBe('');
  });
});

describe('what a person reads', () => {
  test('the server’s words, then what to do', () => {
    const { message, code } = judge(replied('login', 'the login', '530 Login incorrect.'));
    expect(message).toBe(
      'nas:21 answered the login with 530 Login incorrect. Check user and password of this server.',
    );
    expect(code).toBe('530');
  });

  test('a login refused for another reason is not put down to the password', () => {
    expect(judge(replied('login', 'the login', '500 OOPS: chroot')).message).not.toContain('password');
  });

  test('the code is the system’s where no server spoke, else the kind', () => {
    expect(judge(broke('network', 'connect', 'ECONNREFUSED')).code).toBe('ECONNREFUSED');
    expect(judge(broke('stalled', 'transfer')).code).toBe('stalled');
    expect(judge(local('EACCES')).code).toBe('EACCES');
    expect(judge('just a string')).toMatchObject({ code: 'unexpected', message: 'just a string' });
  });
});

test.each([
  [replied('transfer', 'STOR', '550 No.'), true],
  [replied('transfer', 'STOR', '450 Later.'), true],
  [replied('transfer', 'STOR', '421 Bye.'), false],
  [broke('unconfirmed', 'transfer'), false],
  [broke('mismatch', 'transfer'), false],
  [local('EACCES'), false],
])('%# is an answer, and the session goes on: %s', (error, expected) => {
  expect(judge(error).answered).toBe(expected);
});

describe('too many connections', () => {
  test.each([
    [replied('greeting', 'the greeting', '421 Too many.'), true],
    [replied('login', 'the login', '530 Too many connections.'), true],
    [broke('network', 'connect', 'ENOTFOUND'), false],
    [broke('network', 'connect', 'ECONNREFUSED'), false],
    [replied('login', 'the login', '530 Login incorrect.'), false],
    [replied('transfer', 'STOR', '452 Full.'), false],
  ])('%# is %s', (error, expected) => {
    expect(isTooMany(judge(error))).toBe(expected);
  });

  test('and too many skips in a row', () => {
    expect(SKIPS_IN_A_ROW).toBe(20);
  });
});

describe('rules that hold for every code', () => {
  const phases: readonly Phase[] = [
    'connect',
    'greeting',
    'tls',
    'login',
    'features',
    'command',
    'data-setup',
    'transfer',
  ];
  const phase = fc.constantFrom(...phases);
  const verb = fc.constantFrom(
    'STOR',
    'RETR',
    'MLSD',
    'LIST',
    'RNFR',
    'RNTO',
    'DELE',
    'MKD',
    'RMD',
    'CWD',
    'SIZE',
    'EPSV',
    'PASV',
  );
  const words = fc.oneof(
    fc.string(),
    fc.constantFrom('quota', 'full', 'in use', 'locked', 'TLS session', 'too many', '/a/quota/full', 'busy'),
  );

  test('4yz is never a skip and never a fallback', () => {
    fc.assert(
      fc.property(phase, verb, fc.integer({ min: 400, max: 499 }), words, (at, name, code, text) => {
        expect(['skip', 'fallback', 'pass', 'gone']).not.toContain(
          judge(replied(at, name, `${code} ${text}`)).decision,
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('5yz is never tried again on the same connection but where the file is in use', () => {
    fc.assert(
      fc.property(phase, verb, fc.integer({ min: 500, max: 599 }), words, (at, name, code, text) => {
        if (judge(replied(at, name, `${code} ${text}`)).decision !== 'retry') return;
        expect([550, 553]).toContain(code);
        expect(text).toMatch(/in use|being used|lock|timed? ?out|too many|busy/i);
      }),
      { numRuns: 2000 },
    );
  });

  test('what happens before there is a session never touches a file', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<Phase>('greeting', 'tls', 'login'),
        fc.integer({ min: 100, max: 599 }),
        words,
        (at, code, text) => {
          const failure = judge(replied(at, 'x', `${code} ${text}`));
          expect(['reconnect', 'hold', 'abort']).toContain(failure.decision);
          expect(failure.beforeSession).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('TLS that was refused is never a fallback to anything', () => {
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), words, (code, text) => {
        const { decision } = judge(replied('tls', 'AUTH TLS', `${code} ${text}`));
        expect(decision).toBe(code === 421 ? 'reconnect' : 'abort');
      }),
    );
  });

  test('never throws, whatever it is given, and always has something to say', () => {
    const kinds: readonly FtpErrorKind[] = [
      'reply',
      'network',
      'lost',
      'timeout',
      'malformed',
      'injected',
      'certificate',
      'handshake',
      'data',
      'stalled',
      'unconfirmed',
      'mismatch',
      'argument',
      'aborted',
    ];
    const ftp = fc
      .tuple(
        fc.constantFrom(...kinds),
        phase,
        fc.option(verb, { nil: undefined }),
        fc.option(fc.string(), { nil: undefined }),
      )
      .map(([kind, at, name, code]) => new FtpError(kind, 'x', { phase: at, verb: name, code }));
    const odd = fc.oneof(
      fc.anything(),
      ftp,
      fc.string().map((code) => Object.assign(new Error('x'), { code })),
      fc.constantFrom(Object.create(null), { code: 'ENOENT' }, Symbol('x'), () => {}),
    );
    fc.assert(
      fc.property(odd, (value) => {
        const failure = judge(value);
        expect(typeof failure.message).toBe('string');
        expect(failure.code.length).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
});
