/*
 * The policy's table for SFTP, row by row, and what holds for every status and every error.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Decision } from '../../src/remote/decision.js';
import { isTooMany, isTurnedAway, judge } from '../../src/remote/failure.js';
import { isAnswer, isRefusal } from '../../src/remote/refusal.js';
import { NameNotKept } from '../../src/remote/remote.js';
import { SftpError, type SftpErrorKind, type SftpPhase } from '../../src/sftp/errors.js';

function answered(
  code: number,
  words = 'Failure',
  { phase = 'request', finding }: { readonly phase?: SftpPhase; readonly finding?: string } = {},
): SftpError {
  return new SftpError('status', `nas:22 did not open a file (it answered OPEN with ${code} ${words}).`, {
    phase,
    request: 'OPEN',
    status: { code, words },
    code: finding,
  });
}

function broke(kind: SftpErrorKind, phase: SftpPhase, code?: string): SftpError {
  return new SftpError(kind, `nas:22: ${kind}.`, { phase, code });
}

type Row = readonly [what: string, error: unknown, decision: Decision, kind: string];

const statuses: readonly Row[] = [
  ['OK where it is none', answered(0, 'Success'), 'reconnect', 'unreachable'],
  ['EOF where it is none', answered(1, 'End of file'), 'reconnect', 'unreachable'],
  ['NO_SUCH_FILE', answered(2, 'No such file'), 'skip', 'failed'],
  ['PERMISSION_DENIED', answered(3, 'Permission denied'), 'skip', 'failed'],
  ['FAILURE', answered(4), 'skip', 'failed'],
  ['FAILURE without a word', answered(4, ''), 'skip', 'failed'],
  ['FAILURE: no space', answered(4, 'No space left on device'), 'hold', 'failed'],
  ['FAILURE: quota', answered(4, 'Disk quota exceeded'), 'hold', 'failed'],
  ['FAILURE: busy', answered(4, 'Device or resource busy'), 'retry', 'failed'],
  ['FAILURE: too many files', answered(4, 'Too many open files'), 'retry', 'failed'],
  ['FAILURE: locked', answered(4, 'The file is locked by another process'), 'retry', 'failed'],
  ['FAILURE of a path called quota', answered(4, "'/srv/quota full': Failure"), 'skip', 'failed'],
  ['FAILURE, and the disk is full', answered(4, 'Failure', { finding: 'FULL' }), 'hold', 'failed'],
  ['FAILURE, and it is read-only', answered(4, 'Failure', { finding: 'READ-ONLY' }), 'hold', 'failed'],
  ['BAD_MESSAGE, as of a name too long', answered(5, 'Bad message'), 'skip', 'failed'],
  ['NO_CONNECTION', answered(6), 'reconnect', 'unreachable'],
  ['CONNECTION_LOST', answered(7), 'reconnect', 'unreachable'],
  ['OP_UNSUPPORTED', answered(8), 'fallback', 'failed'],
  ['INVALID_HANDLE', answered(9), 'retry', 'failed'],
  ['NO_SUCH_PATH', answered(10), 'skip', 'failed'],
  ['FILE_ALREADY_EXISTS', answered(11), 'skip', 'failed'],
  ['WRITE_PROTECT', answered(12), 'skip', 'failed'],
  ['NO_MEDIA', answered(13), 'hold', 'failed'],
  ['NO_SPACE_ON_FILESYSTEM', answered(14, ''), 'hold', 'failed'],
  ['QUOTA_EXCEEDED', answered(15, ''), 'hold', 'failed'],
  ['LOCK_CONFLICT', answered(17, ''), 'retry', 'failed'],
  ['NOT_A_DIRECTORY', answered(19, ''), 'skip', 'failed'],
  ['FILE_CORRUPT', answered(28, ''), 'skip', 'failed'],
  ['a status that nobody knows', answered(4711, ''), 'skip', 'failed'],
];

const during: readonly Row[] = [
  ['full, before a byte was sent', broke('status', 'transfer', 'FULL'), 'hold', 'failed'],
  ['lost', broke('lost', 'request'), 'reconnect', 'unreachable'],
  ['lost in a transfer', broke('lost', 'transfer', 'ECONNRESET'), 'reconnect', 'unreachable'],
  ['no answer', broke('timeout', 'request'), 'reconnect', 'unreachable'],
  ['stalled', broke('stalled', 'transfer'), 'reconnect', 'unreachable'],
  ['malformed', broke('malformed', 'request'), 'reconnect', 'unreachable'],
  ['another size', broke('mismatch', 'transfer'), 'retry', 'verification'],
  ['not there', broke('unsupported', 'request'), 'fallback', 'failed'],
  ['a name that cannot travel', broke('argument', 'request'), 'skip', 'failed'],
  ['a name that is not kept', new NameNotKept('No.'), 'skip', 'failed'],
  ['aborted by us', broke('aborted', 'transfer'), 'abort', 'failed'],
  ['another host key while the session goes on', broke('host-key', 'request', 'CHANGED'), 'abort', 'trust'],
];

const before: readonly Row[] = [
  ['no such host', broke('network', 'connect', 'ENOTFOUND'), 'hold', 'unreachable'],
  ['refused', broke('network', 'connect', 'ECONNREFUSED'), 'reconnect', 'unreachable'],
  ['the gate does not reach it', broke('network', 'connect', 'UNREACHABLE'), 'reconnect', 'unreachable'],
  ['no connection in time', broke('timeout', 'connect'), 'reconnect', 'unreachable'],
  ['something else than SSH', broke('handshake', 'handshake', 'NOT-SSH'), 'abort', 'unreachable'],
  ['no algorithm in common', broke('handshake', 'handshake', 'ALGORITHMS'), 'abort', 'trust'],
  ['a handshake that breaks', broke('handshake', 'handshake'), 'reconnect', 'trust'],
  ['an unknown host key', broke('host-key', 'handshake', 'KEY-UNKNOWN'), 'abort', 'trust'],
  ['hung up on without a word', broke('lost', 'handshake', 'TURNED-AWAY'), 'hold', 'unreachable'],
  ['turned away at the login', broke('lost', 'login', 'TURNED-AWAY'), 'hold', 'unreachable'],
  ['lost in the handshake', broke('lost', 'handshake'), 'reconnect', 'unreachable'],
  ['a password that is wrong', broke('authentication', 'login'), 'abort', 'trust'],
  ['no login in time', broke('timeout', 'login'), 'reconnect', 'unreachable'],
  ['no session on top', broke('channel', 'session', 'CHANNEL'), 'hold', 'unreachable'],
  ['no SFTP', broke('channel', 'session', 'SUBSYSTEM'), 'abort', 'unreachable'],
  ['no way through the gate', broke('channel', 'connect', 'FORWARD'), 'abort', 'unreachable'],
  ['a shell that prints', broke('malformed', 'session', 'NOISE'), 'abort', 'unreachable'],
  ['lost while it begins', broke('lost', 'session'), 'reconnect', 'unreachable'],
  ['no login directory', answered(3, 'Permission denied', { phase: 'session' }), 'abort', 'unreachable'],
];

describe.each([
  ['a status', statuses, false],
  ['in a session', during, false],
  ['before there is a session', before, true],
] as const)('%s', (_when, rows, beforeSession) => {
  test.each(rows.map((row) => [...row]))('%s', (_what, error, decision, kind) => {
    const failure = judge(error);
    expect({ decision: failure.decision, kind: failure.kind }).toEqual({ decision, kind });
    expect(failure.beforeSession).toBe(beforeSession);
    expect(failure.message).not.toBe('');
    expect(failure.code).not.toBe('');
  });
});

describe('what a person reads', () => {
  test.each([
    [answered(3, 'Permission denied'), 'PERMISSION_DENIED'],
    [answered(4711, ''), 'STATUS_4711'],
    [answered(4, 'Failure', { finding: 'FULL' }), 'FULL'],
    [broke('network', 'connect', 'ECONNREFUSED'), 'ECONNREFUSED'],
    [broke('stalled', 'transfer'), 'stalled'],
  ])('%# has the code %s', (error, code) => {
    expect(judge(error).code).toBe(code);
  });

  test('the server’s words, then what to do', () => {
    expect(judge(answered(4, 'No space left on device')).message).toBe(
      'nas:22 did not open a file (it answered OPEN with 4 No space left on device). The disk or the quota on the server is full: make room there.',
    );
  });
});

test.each([
  [broke('lost', 'handshake', 'TURNED-AWAY'), true, true],
  [broke('channel', 'session', 'CHANNEL'), true, false],
  [broke('channel', 'session', 'SUBSYSTEM'), false, false],
  [broke('network', 'connect', 'ENOTFOUND'), false, false],
  [broke('network', 'connect', 'ECONNREFUSED'), false, false],
  [broke('authentication', 'login'), false, false],
  // Without a word: it means that only as long as other connections stand.
  [broke('lost', 'handshake', 'ECONNRESET'), false, true],
  [broke('lost', 'login', 'ECONNRESET'), false, false],
  [broke('lost', 'transfer'), false, false],
  [answered(14, ''), false, false],
])('%# says too many connections: %s', (error, expected, besideOthers) => {
  expect(isTooMany(judge(error))).toBe(expected);
  expect(isTurnedAway(error)).toBe(besideOthers);
});

describe('rules that hold for everything', () => {
  const phases: readonly SftpPhase[] = ['connect', 'handshake', 'login', 'session', 'request', 'transfer'];
  const kinds: readonly SftpErrorKind[] = [
    'status',
    'network',
    'lost',
    'timeout',
    'stalled',
    'handshake',
    'host-key',
    'authentication',
    'channel',
    'malformed',
    'unsupported',
    'mismatch',
    'argument',
    'aborted',
  ];
  const code = fc.option(
    fc.oneof(
      fc.string(),
      fc.constantFrom('TURNED-AWAY', 'CHANNEL', 'FULL', 'READ-ONLY', 'ENOTFOUND', 'CHANGED'),
    ),
    { nil: undefined },
  );
  const status = fc.record({
    code: fc.oneof(fc.nat(40), fc.nat()),
    words: fc.oneof(fc.string(), fc.constantFrom('quota', 'full', 'in use', 'Failure', '/a/quota full: no')),
  });

  test('what a server answered is never the end of all files, unless nothing fits on it or it has not begun', () => {
    fc.assert(
      fc.property(status, fc.constantFrom<SftpPhase>('request', 'transfer'), (said, phase) => {
        const { decision } = judge(answered(said.code, said.words, { phase }));
        expect(decision).not.toBe('abort');
        if (decision !== 'hold') return;
        expect([3, 4, 13, 14, 15]).toContain(said.code);
      }),
      { numRuns: 1000 },
    );
  });

  test('host keys and refused logins are never tried again', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<SftpErrorKind>('host-key', 'authentication'),
        fc.constantFrom(...phases),
        code,
        (kind, phase, word) => {
          expect(judge(broke(kind, phase, word))).toMatchObject({ decision: 'abort', kind: 'trust' });
        },
      ),
    );
  });

  test('what happens before there is a session never touches a file', () => {
    const opening: readonly SftpErrorKind[] = kinds.filter(
      (kind) => !['status', 'mismatch', 'argument', 'aborted', 'unsupported'].includes(kind),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...opening),
        fc.constantFrom(...phases.slice(0, 4)),
        code,
        (kind, phase, word) => {
          const failure = judge(broke(kind, phase, word));
          expect(['reconnect', 'hold', 'abort']).toContain(failure.decision);
          expect(failure.beforeSession).toBe(true);
        },
      ),
    );
  });

  test('a refusal is an answer, and an answer leaves the session as it was', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.constantFrom(...phases),
        code,
        status,
        fc.boolean(),
        (...drawn) => {
          const [kind, phase, word, said, has] = drawn;
          const error = new SftpError(kind, 'x', { phase, code: word, status: has ? said : undefined });
          const failure = judge(error);
          expect(failure.answered).toBe(isAnswer(error));
          expect(isRefusal(error)).toBe(isAnswer(error));
          if (isAnswer(error)) expect(has).toBe(true);
          expect(failure.message).not.toBe('');
        },
      ),
      { numRuns: 1000 },
    );
  });
});
