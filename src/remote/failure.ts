/*
 * The one policy: the only place where a code turns into a decision. Read the tables from the top; the
 * first row that fits decides. The rule beneath them all: 4yz is tried again, 5yz is skipped, and what is
 * not a file's fault is never blamed on a file.
 *
 * Judges errors of the engine and of the local side; carries nothing out. The caller counts attempts.
 */
import { FtpError, type FtpErrorKind, type Phase, systemCode } from '../ftp/errors.js';
import type { FailureKind } from '../plan/outcome.js';

/**
 * - `retry`: this file again, after a pause
 * - `reconnect`: the connection is gone or not to be trusted; a new one, then again
 * - `skip`: leave this file, remember why
 * - `pass`: leave this file for this run, remember nothing
 * - `gone`: the file is no longer there; nothing to do
 * - `fallback`: the server lacks a feature; take the next way and remember it for the server
 * - `hold`: the server wants no more for now (too many, full); end the run, try at a later one
 * - `abort`: no file would fare better; end the run and tell a person
 */
export type Decision = 'retry' | 'reconnect' | 'skip' | 'pass' | 'gone' | 'fallback' | 'hold' | 'abort';

/** An error, judged. */
export interface Failure {
  readonly decision: Decision;
  /** What it means for the exit code where it ends the run. */
  readonly kind: FailureKind;
  /** Reply code, system code, or the error's kind: `553`, `ECONNREFUSED`, `stalled`. */
  readonly code: string;
  /** One or two sentences for a person. */
  readonly message: string;
  /** True where it happened before there was a session: files are not to be counted against. */
  readonly beforeSession: boolean;
  /** How often in a row, with no success between, it may come before it ends the run; undefined where only attempts count. */
  readonly inARow: number | undefined;
}

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

/* Whole words: "blocked" is not "locked", and the paths in a reply are taken out before these are tried. */
const TOO_MANY = /\btoo many\b|\bmaximum\b|\blimit\b|\btemporar|\btry (again )?later\b|\bbusy\b/i;
const TLS_REUSE = /\b(tls|ssl|session|reuse)\b/i;
const FULL = /\bquota\b|\b(no|not enough|insufficient|out of) .*space\b|\bfull\b|\bexceed(s|ed)?\b/i;
const IN_USE = /\b(in use|being used|(file|is) lock(ed)?|locked|timed? ?out|too many|busy)\b/i;

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

/* The local side, by system code (and our own words: CHANGED, and those that remote.ts throws). */
const LOCAL: Readonly<Record<string, Decision>> = {
  ENOENT: 'gone', // deleted since the scan: nothing to do
  ENOTDIR: 'gone',
  CHANGED: 'retry', // changed while it was read: what was sent is thrown away
  TEMPORARY: 'retry', // the server refuses this temporary name: the next one has another form
  HELD: 'retry', // the server does not open the part of an earlier attempt: the next one begins anew
  MOVE: 'skip', // the server refuses to rename between these two places: the next run would fare no better
  ASIDE: 'pass', // the trash of this run has a file of this name; the next run has another one
  EACCES: 'pass',
  EPERM: 'pass',
  EIO: 'pass',
  EBUSY: 'pass',
  ESTALE: 'pass', // replaced on the file server that it lies on
  ELOOP: 'pass', // swapped for a link since the scan
  OUTSIDE: 'pass',
  EISDIR: 'pass', // a directory stands where the file should go
  ENAMETOOLONG: 'pass',
  ENOSPC: 'abort',
  EROFS: 'abort',
  EDQUOT: 'abort',
};

/** Turns any error into a decision. Never throws. */
export function judge(error: unknown): Failure {
  if (error instanceof FtpError) return error.kind === 'reply' ? judgeReply(error) : judgeKind(error);
  const code = systemCode(error) ?? 'unexpected';
  return {
    decision: LOCAL[code] ?? 'abort',
    kind: 'failed',
    code,
    message: error instanceof Error ? error.message : worded(error),
    beforeSession: false,
    inARow: undefined,
  };
}

/** Anything can be thrown, also what cannot be turned into text. */
function worded(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return 'Something unexpected was thrown.';
  }
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

/** What the server says, without the paths and quotations in it: a file may be called `quota full`. */
function sayingOf(lines: readonly string[]): string {
  return lines
    .map((line) => line.replace(/(?<=\s)\/[^:]*:(?=\s)/g, ' '))
    .join(' ')
    .replace(/"[^"]*"|'[^']*'|\S*[/\\]\S*/g, ' ');
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
    inARow: row?.inARow,
  };
}

function codeFits(codes: ReplyRow['codes'], code: number): boolean {
  if (codes === 'any') return true;
  if (codes === '4yz') return code >= 400 && code < 500;
  if (codes === '5yz') return code >= 500 && code < 600;
  return codes.includes(code);
}

/** True where an error says that the server has too many connections of ours. */
export function isTooMany(failure: Failure): boolean {
  return failure.decision === 'hold' && failure.beforeSession && failure.code !== 'ENOTFOUND';
}

/**
 * True where a connection ended before the server said a word on it. While others stand, that says "too many", too:
 * ProFTPD's MaxInstances just hangs up, and vsftpd says its 421 in the clear where TLS is due.
 */
export function isTurnedAway(error: unknown): boolean {
  if (!(error instanceof FtpError)) return false;
  const { kind, phase } = error;
  return (kind === 'lost' && phase === 'greeting') || (kind === 'handshake' && phase === 'tls');
}

/** Consecutive skips after which it is not the files: a read-only account, a missing right, a full policy. */
export const SKIPS_IN_A_ROW = 20;
