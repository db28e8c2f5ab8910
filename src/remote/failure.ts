/*
 * The one policy: the only place where an error turns into a decision. What the two protocols say has a table each, in
 * failure-ftp.ts and failure-sftp.ts; here is what happens on this side. The rule beneath them all: what may be better
 * the next time is tried again, what the server refuses for good is skipped, and what is not a file's fault is never
 * blamed on a file.
 *
 * Judges errors of the engines and of the local side; carries nothing out. The caller counts attempts.
 */
import { FtpError, systemCode } from '../ftp/errors.js';
import { SftpError } from '../sftp/errors.js';
import type { Decision, Failure } from './decision.js';
import { isFtpTurnedAway, judgeFtp } from './failure-ftp.js';
import { isSftpTurnedAway, judgeSftp } from './failure-sftp.js';

/* The local side, by system code (and our own words: CHANGED, HASH, and those that remote.ts throws). */
const LOCAL: Readonly<Record<string, Decision>> = {
  ENOENT: 'gone', // deleted since the scan: nothing to do
  ENOTDIR: 'gone',
  CHANGED: 'retry', // changed while it was read: what was sent is thrown away
  HASH: 'retry', // the thread that computed it has ended: the next attempt has another one
  TEMPORARY: 'retry', // the server refuses this temporary name: the next one has another form
  HELD: 'retry', // the server does not open the part of an earlier attempt: the next one begins anew
  argument: 'skip', // the server would keep the file under another name
  MOVE: 'skip', // the server refuses to rename between these two places: the next run would fare no better
  LINK: 'skip', // the server makes no links, or not with this text
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
  if (error instanceof FtpError) return judgeFtp(error);
  if (error instanceof SftpError) return judgeSftp(error);
  const code = systemCode(error) ?? 'unexpected';
  return {
    decision: LOCAL[code] ?? 'abort',
    kind: 'failed',
    code,
    message: error instanceof Error ? error.message : worded(error),
    beforeSession: false,
    answered: false,
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

/** True where an error says that the server has too many connections of ours. */
export function isTooMany(failure: Failure): boolean {
  return failure.decision === 'hold' && failure.beforeSession && failure.code !== 'ENOTFOUND';
}

/** True where an error says so as long as other connections stand: the server let them in, and hung up on this one. */
export function isTurnedAway(error: unknown): boolean {
  if (error instanceof FtpError) return isFtpTurnedAway(error);
  return error instanceof SftpError && isSftpTurnedAway(error);
}

/** Consecutive skips after which it is not the files: a read-only account, a missing right, a full policy. */
export const SKIPS_IN_A_ROW = 20;
