/*
 * Whether an error is a server's own word: asked of errors by whoever has another way. What a word means for a file or
 * a run is failure.ts's to say, and what single verbs and requests mean by it their protocol's.
 */
import { FtpError } from '../ftp/errors.js';
import { SftpError } from '../sftp/errors.js';

/*
 * Status codes that are about the session, and not about what was asked: NO_CONNECTION, CONNECTION_LOST. Not BAD_MESSAGE:
 * OpenSSH says it of a name that is too long, and of whatever else its system calls an invalid argument.
 */
const OF_THE_SESSION: readonly number[] = [6, 7];

/** The server answered and said no, for good. SFTP has no "for now". */
export function isRefusal(error: unknown): boolean {
  if (error instanceof FtpError) return error.reply !== undefined && error.reply.code >= 500;
  return isAnswer(error);
}

/** The server answered and said no, for good or for now; the session goes on. Pure-FTPd says 451 to every RNTO that fails. */
export function isAnswer(error: unknown): boolean {
  if (error instanceof FtpError) return error.kind === 'reply' && error.reply?.code !== 421;
  if (!(error instanceof SftpError)) return false;
  return error.status !== undefined && !OF_THE_SESSION.includes(error.status.code);
}
