/*
 * What SFTP says, judged: the statuses first (draft-ietf-secsh-filexfer-02 section 7; the later codes, which servers
 * send all the same), then all else that its engine reports. Read the tables from the top; the first row that fits
 * decides. The rule beneath them: version 3 has one code for most of what goes wrong and none for "later", so a status
 * skips the file unless it says what else it is; and what is not a file's fault is never blamed on a file.
 */
import type { FailureKind } from '../plan/outcome.js';
import type { SftpError, SftpErrorKind, SftpPhase, SftpStatus } from '../sftp/errors.js';
import type { Decision, Failure } from './decision.js';
import { isAnswer } from './refusal.js';
import { FULL, IN_USE, sayingOf } from './wording.js';

/** The statuses by their numbers. */
const STATUSES = [
  'OK',
  'EOF',
  'NO_SUCH_FILE',
  'PERMISSION_DENIED',
  'FAILURE',
  'BAD_MESSAGE',
  'NO_CONNECTION',
  'CONNECTION_LOST',
  'OP_UNSUPPORTED',
  'INVALID_HANDLE',
  'NO_SUCH_PATH',
  'FILE_ALREADY_EXISTS',
  'WRITE_PROTECT',
  'NO_MEDIA',
  'NO_SPACE_ON_FILESYSTEM',
  'QUOTA_EXCEEDED',
  'UNKNOWN_PRINCIPAL',
  'LOCK_CONFLICT',
  'DIR_NOT_EMPTY',
  'NOT_A_DIRECTORY',
  'INVALID_FILENAME',
  'LINK_LOOP',
  'CANNOT_DELETE',
  'INVALID_PARAMETER',
  'FILE_IS_A_DIRECTORY',
  'BYTE_RANGE_LOCK_CONFLICT',
  'BYTE_RANGE_LOCK_REFUSED',
  'DELETE_PENDING',
  'FILE_CORRUPT',
  'OWNER_INVALID',
  'GROUP_INVALID',
  'NO_MATCHING_BYTE_RANGE_LOCK',
] as const;

type StatusName = (typeof STATUSES)[number];

interface StatusRow {
  readonly phase?: readonly SftpPhase[];
  readonly statuses: readonly StatusName[] | 'any';
  readonly words?: RegExp;
  readonly decision: Decision;
  readonly kind?: FailureKind;
  /** What a person should do, added to the server's words. */
  readonly advice?: string;
}

const BEFORE_SESSION: readonly SftpPhase[] = ['connect', 'handshake', 'login', 'session'];

const MAKE_ROOM = 'The disk or the quota on the server is full: make room there.';

/* Statuses: what the server said. */
const ANSWERS: readonly StatusRow[] = [
  // What lies behind the server is gone, or the answer is out of step.
  { statuses: ['NO_CONNECTION', 'CONNECTION_LOST'], decision: 'reconnect', kind: 'unreachable' },
  { statuses: ['OK', 'EOF'], decision: 'reconnect', kind: 'unreachable' },
  // While the session begins, no file is to blame.
  { phase: BEFORE_SESSION, statuses: 'any', decision: 'abort', kind: 'unreachable' },
  // Full disks and quotas hold the run, they are not about one file; nor is a drive with nothing in it.
  {
    statuses: ['NO_SPACE_ON_FILESYSTEM', 'QUOTA_EXCEEDED'],
    decision: 'hold',
    advice: MAKE_ROOM,
  },
  { statuses: ['FAILURE', 'PERMISSION_DENIED'], words: FULL, decision: 'hold', advice: MAKE_ROOM },
  { statuses: ['NO_MEDIA'], decision: 'hold', advice: 'See to the drive of the server.' },
  // Somebody has the file for now; a handle that is not known any more was the server's to keep.
  {
    statuses: [
      'LOCK_CONFLICT',
      'BYTE_RANGE_LOCK_CONFLICT',
      'BYTE_RANGE_LOCK_REFUSED',
      'DELETE_PENDING',
      'INVALID_HANDLE',
    ],
    decision: 'retry',
  },
  { statuses: ['FAILURE', 'PERMISSION_DENIED'], words: IN_USE, decision: 'retry' },
  // Not knowing a request is never a file's fault.
  { statuses: ['OP_UNSUPPORTED'], decision: 'fallback' },
  // The rule: NO_SUCH_FILE, PERMISSION_DENIED, WRITE_PROTECT and FAILURE are FTP's 550. BAD_MESSAGE is how OpenSSH says
  // that a name is too long or a value is not to be had.
  { statuses: 'any', decision: 'skip' },
];

interface KindRow {
  readonly kinds: readonly SftpErrorKind[];
  readonly phase?: readonly SftpPhase[];
  readonly codes?: readonly string[];
  readonly decision: Decision;
  readonly kind: FailureKind;
  /** Ends the run where it comes so often in a row. */
  readonly inARow?: number;
}

/* What our side has found out about a status. */
const FINDINGS: readonly KindRow[] = [
  { kinds: ['status'], codes: ['FULL'], decision: 'hold', kind: 'failed' },
  // Mounted read-only, as file systems are that have found themselves damaged: the files are as good as before.
  { kinds: ['status'], codes: ['READ-ONLY'], decision: 'hold', kind: 'failed' },
];

/* Everything else that the engine reports. */
const KINDS: readonly KindRow[] = [
  // A name that DNS does not know will not appear within a run's retries.
  { kinds: ['network'], codes: ['ENOTFOUND'], decision: 'hold', kind: 'unreachable' },
  { kinds: ['network'], decision: 'reconnect', kind: 'unreachable' },
  // What is not known is not trusted, and what was refused is not shown again: that would lock the account.
  { kinds: ['host-key', 'authentication'], decision: 'abort', kind: 'trust' },
  // Something else than SSH answers there, and will the next time.
  { kinds: ['handshake'], codes: ['NOT-SSH'], decision: 'abort', kind: 'unreachable' },
  // No algorithm in common: to take an older one is for a person to decide.
  { kinds: ['handshake'], codes: ['ALGORITHMS'], decision: 'abort', kind: 'trust' },
  { kinds: ['handshake'], decision: 'reconnect', kind: 'trust', inARow: 3 },
  // Too many connections (MaxStartups, MaxSessions), said without a word or with a refused channel.
  { kinds: ['lost'], phase: BEFORE_SESSION, codes: ['TURNED-AWAY'], decision: 'hold', kind: 'unreachable' },
  { kinds: ['channel'], codes: ['CHANNEL'], decision: 'hold', kind: 'unreachable' },
  // No SFTP for this account, or no way through the server in between.
  { kinds: ['channel'], decision: 'abort', kind: 'unreachable' },
  // A login shell that prints something ahead of SFTP will do so the next time.
  { kinds: ['malformed', 'unsupported'], phase: ['session'], decision: 'abort', kind: 'unreachable' },
  { kinds: ['lost', 'timeout', 'stalled'], decision: 'reconnect', kind: 'unreachable' },
  { kinds: ['malformed'], decision: 'reconnect', kind: 'unreachable', inARow: 2 },
  { kinds: ['unsupported'], decision: 'fallback', kind: 'failed' },
  // All was confirmed, but the size or the content differs.
  { kinds: ['mismatch'], decision: 'retry', kind: 'verification' },
  { kinds: ['argument'], decision: 'skip', kind: 'failed' },
  { kinds: ['aborted'], decision: 'abort', kind: 'failed' },
];

/** What an error of SFTP means. */
export function judgeSftp(error: SftpError): Failure {
  const { status } = error;
  const finding = FINDINGS.find((row) => fits(row, error));
  if (finding !== undefined || status === undefined)
    return judged(error, finding ?? KINDS.find((row) => fits(row, error)));
  return judgeStatus(error, status);
}

function fits({ kinds, phase, codes }: KindRow, error: SftpError): boolean {
  return (
    kinds.includes(error.kind) &&
    (phase === undefined || phase.includes(error.phase)) &&
    (codes === undefined || codes.includes(error.code ?? ''))
  );
}

function judged(error: SftpError, row: KindRow | undefined): Failure {
  return {
    decision: row?.decision ?? 'abort',
    kind: row?.kind ?? 'failed',
    code: error.code ?? error.kind,
    message: error.message,
    beforeSession: BEFORE_SESSION.includes(error.phase),
    answered: isAnswer(error),
    inARow: row?.inARow,
  };
}

function judgeStatus(error: SftpError, { code, words }: SftpStatus): Failure {
  const name = STATUSES[code];
  const row = ANSWERS.find(
    (candidate) =>
      (candidate.phase === undefined || candidate.phase.includes(error.phase)) &&
      (candidate.statuses === 'any' || (name !== undefined && candidate.statuses.includes(name))) &&
      (candidate.words === undefined || candidate.words.test(sayingOf([words]))),
  );
  return {
    decision: row?.decision ?? 'abort',
    kind: row?.kind ?? 'failed',
    code: error.code ?? name ?? `STATUS_${code}`,
    message:
      row?.advice === undefined ? error.message : `${error.message.replace(/[.]$/, '')}. ${row.advice}`,
    beforeSession: BEFORE_SESSION.includes(error.phase),
    answered: isAnswer(error),
    inARow: undefined,
  };
}

/** A connection ended before anybody was asked to log in: mod_sftp's MaxInstances just hangs up. */
export function isSftpTurnedAway({ kind, phase }: SftpError): boolean {
  return kind === 'lost' && (phase === 'connect' || phase === 'handshake');
}
