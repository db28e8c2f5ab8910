/*
 * What FTP says, judged: the replies first, then all else that its engine reports. Read the tables from the top; the
 * first row that fits decides. The rule beneath them: 4yz is tried again, 5yz is skipped, and what is not a file's
 * fault is never blamed on a file.
 */
import type { FtpError, FtpErrorKind, Phase } from '../ftp/errors.js';
import type { FailureKind } from '../plan/outcome.js';
import type { Decision, Failure } from './decision.js';
import { isAnswer } from './refusal.js';
import { FULL, IN_USE, sayingOf, TOO_MANY } from './wording.js';

interface ReplyRow {
  readonly phase: readonly Phase[] | 'any';
  readonly codes: readonly number[] | '4yz' | '5yz' | 'any';
  readonly verbs?: readonly string[];
  readonly words?: RegExp;
  readonly decision: Decision;
  readonly kind?: FailureKind;
  /** What a person should do, added to the server's words. */
  readonly advice?: string;
}

const TLS_REUSE = /\b(tls|ssl|session|reuse)\b/i;

/* Replies: what the server said. */
const REPLIES: readonly ReplyRow[] = [
  // Greeting: the server is there, and does not want us now, or is no FTP server.
  { phase: ['greeting'], codes: [421], decision: 'hold', kind: 'unreachable' },
  {
    phase: ['greeting'],
    codes: 'any',
    words: TOO_MANY,
    decision: 'hold',
    kind: 'unreachable',
  },
  { phase: ['greeting'], codes: '4yz', decision: 'reconnect', kind: 'unreachable' },
  {
    phase: ['greeting'],
    codes: 'any',
    decision: 'abort',
    kind: 'unreachable',
    advice: 'Is this the right host and port?',
  },
  // TLS: refusal never turns into plaintext.
  { phase: ['tls'], codes: [421], decision: 'reconnect', kind: 'unreachable' },
  {
    phase: ['tls'],
    codes: 'any',
    decision: 'abort',
    kind: 'trust',
    advice:
      'The server offers no TLS. Switch it on there; only if the network is trusted, write ftp:// for plain FTP.',
  },
  // Login: a wrong password stops the job. Trying it again would lock the account.
  { phase: ['login'], codes: [421], decision: 'hold', kind: 'unreachable' },
  {
    phase: ['login'],
    codes: [430, 530, 532],
    words: TOO_MANY,
    decision: 'hold',
    kind: 'unreachable',
  },
  {
    phase: ['login'],
    codes: '4yz',
    words: TOO_MANY,
    decision: 'hold',
    kind: 'unreachable',
  },
  {
    phase: ['login'],
    codes: [332],
    decision: 'abort',
    kind: 'trust',
    advice: 'The server asks for an account: set `account` for it.',
  },
  {
    phase: ['login'],
    codes: [430, 530, 532],
    decision: 'abort',
    kind: 'trust',
    advice: 'Check user and password of this server.',
  },
  { phase: ['login'], codes: '4yz', decision: 'reconnect', kind: 'unreachable' },
  { phase: ['login'], codes: 'any', decision: 'abort', kind: 'trust' },
  // Any time: the server hangs up.
  { phase: 'any', codes: [421], decision: 'reconnect', kind: 'unreachable' },
  {
    phase: 'any',
    codes: [530],
    decision: 'reconnect',
    kind: 'trust',
    advice: 'The session is no longer logged in.',
  },
  // Without binary transfers nothing can be sent; no file is to blame.
  {
    phase: ['command'],
    codes: '5yz',
    verbs: ['TYPE'],
    decision: 'abort',
    kind: 'unreachable',
    advice: 'The server has no binary transfers.',
  },
  // Features: not knowing one is never a file's fault.
  {
    phase: ['features'],
    codes: [202, 500, 501, 502, 503, 504, 550],
    decision: 'fallback',
  },
  { phase: ['features'], codes: '5yz', decision: 'fallback' },
  // Data set-up.
  {
    phase: ['data-setup'],
    codes: [533, 534, 536],
    decision: 'abort',
    kind: 'trust',
    advice: "The server's policy forbids this protection of the data connection.",
  },
  {
    phase: ['data-setup'],
    codes: '4yz',
    decision: 'retry',
    kind: 'unreachable',
  },
  // Refused for good, or unreadable: another way to agree on a data connection. That all were refused is `unwilling`.
  {
    phase: ['data-setup'],
    codes: 'any',
    decision: 'fallback',
    kind: 'unreachable',
  },
  {
    phase: ['transfer'],
    codes: [425, 450, 522],
    words: TLS_REUSE,
    decision: 'reconnect',
    kind: 'trust',
    advice: 'The server did not take the TLS session of the data connection.',
  },
  {
    phase: ['transfer'],
    codes: [533, 534, 536],
    decision: 'abort',
    kind: 'trust',
    advice: "The server's policy forbids this protection of the data connection.",
  },
  {
    phase: ['transfer'],
    codes: [522],
    decision: 'abort',
    kind: 'trust',
    advice: 'The server demands another protection of the data connection.',
  },
  // Transfer: full disks and quotas hold the run, they are not about one file.
  {
    phase: ['transfer', 'command'],
    codes: [452, 552],
    decision: 'hold',
    advice: 'The disk or the quota on the server is full: make room there.',
  },
  {
    phase: ['transfer', 'command'],
    codes: [450, 451, 550, 553],
    words: FULL,
    decision: 'hold',
    advice: 'The disk or the quota on the server is full: make room there.',
  },
  {
    phase: ['transfer', 'command'],
    codes: [550, 553],
    words: IN_USE,
    decision: 'retry',
  },
  // RNTO onto a file that exists: some servers (IIS) refuse it.
  {
    phase: ['command'],
    codes: [550, 553],
    verbs: ['RNTO'],
    decision: 'fallback',
  },
  // The rule.
  { phase: 'any', codes: '4yz', decision: 'retry' },
  { phase: 'any', codes: '5yz', decision: 'skip' },
  // A final 1yz, 2yz or 3yz where another was due: out of step.
  { phase: 'any', codes: 'any', decision: 'reconnect' },
];

interface KindRow {
  readonly kinds: readonly FtpErrorKind[];
  readonly phase?: readonly Phase[];
  readonly codes?: readonly string[];
  readonly decision: Decision;
  readonly kind: FailureKind;
  /** Ends the run where it comes so often in a row. */
  readonly inARow?: number;
}

/* Everything else that the engine reports. */
const KINDS: readonly KindRow[] = [
  // A name that DNS does not know will not appear within a run's retries.
  {
    kinds: ['network'],
    codes: ['ENOTFOUND'],
    decision: 'hold',
    kind: 'unreachable',
  },
  { kinds: ['network'], decision: 'reconnect', kind: 'unreachable' },
  { kinds: ['certificate', 'injected'], decision: 'abort', kind: 'trust' },
  { kinds: ['unwilling'], decision: 'abort', kind: 'unreachable' },
  {
    kinds: ['handshake'],
    phase: ['tls', 'data-setup'],
    decision: 'reconnect',
    kind: 'trust',
    inARow: 3,
  },
  {
    kinds: ['timeout'],
    phase: ['connect', 'greeting', 'tls', 'login'],
    decision: 'reconnect',
    kind: 'unreachable',
  },
  {
    kinds: ['lost'],
    phase: ['connect', 'greeting', 'tls', 'login'],
    decision: 'reconnect',
    kind: 'unreachable',
  },
  {
    kinds: ['lost', 'timeout', 'data', 'stalled', 'unconfirmed'],
    decision: 'reconnect',
    kind: 'unreachable',
  },
  // Something else than an FTP server answers there, and will the next time.
  { kinds: ['malformed'], phase: ['greeting'], decision: 'abort', kind: 'unreachable' },
  { kinds: ['malformed'], decision: 'reconnect', kind: 'unreachable', inARow: 2 },
  // 226 came, but the size differs: the transfer was cut, and nobody noticed but us.
  { kinds: ['mismatch'], decision: 'retry', kind: 'verification' },
  { kinds: ['argument'], decision: 'skip', kind: 'failed' },
  { kinds: ['aborted'], decision: 'abort', kind: 'failed' },
];

/** What an error of FTP means. */
export function judgeFtp(error: FtpError): Failure {
  return error.kind === 'reply' ? judgeReply(error) : judgeKind(error);
}

const BEFORE_SESSION: readonly Phase[] = ['connect', 'greeting', 'tls', 'login'];

/** What is only asked while a session is opened. */
const OPENING_VERBS: readonly string[] = ['CLNT', 'FEAT', 'OPTS', 'TYPE', 'PWD'];

function isBeforeSession(error: FtpError): boolean {
  return BEFORE_SESSION.includes(error.phase) || OPENING_VERBS.includes(firstWord(error.verb));
}

function firstWord(verb: string | undefined): string {
  return verb?.split(' ')[0] ?? '';
}

function judgeReply(error: FtpError): Failure {
  const { reply, phase } = error;
  const row = REPLIES.find(
    (candidate) =>
      (candidate.phase === 'any' || candidate.phase.includes(phase)) &&
      reply !== undefined &&
      codeFits(candidate.codes, reply.code) &&
      (candidate.verbs === undefined || candidate.verbs.includes(firstWord(error.verb))) &&
      (candidate.words === undefined || candidate.words.test(sayingOf(reply.lines))),
  );
  return {
    decision: row?.decision ?? 'abort',
    kind: row?.kind ?? 'failed',
    code: String(reply?.code ?? error.kind),
    message:
      row?.advice === undefined ? error.message : `${error.message.replace(/[.]$/, '')}. ${row.advice}`,
    beforeSession: isBeforeSession(error),
    answered: isAnswer(error),
    inARow: undefined,
  };
}

function judgeKind(error: FtpError): Failure {
  const row = KINDS.find(
    (candidate) =>
      candidate.kinds.includes(error.kind) &&
      (candidate.phase === undefined || candidate.phase.includes(error.phase)) &&
      (candidate.codes === undefined || candidate.codes.includes(error.code ?? '')),
  );
  return {
    decision: row?.decision ?? 'abort',
    kind: row?.kind ?? 'failed',
    code: error.code ?? error.kind,
    message: error.message,
    beforeSession: isBeforeSession(error),
    answered: isAnswer(error),
    inARow: row?.inARow,
  };
}

function codeFits(codes: ReplyRow['codes'], code: number): boolean {
  if (codes === 'any') return true;
  if (codes === '4yz') return code >= 400 && code < 500;
  if (codes === '5yz') return code >= 500 && code < 600;
  return codes.includes(code);
}

/** A connection ended before the server said a word on it: ProFTPD's MaxInstances just hangs up, and vsftpd says its 421 in the clear where TLS is due. */
export function isFtpTurnedAway({ kind, phase }: FtpError): boolean {
  return (kind === 'lost' && phase === 'greeting') || (kind === 'handshake' && phase === 'tls');
}
