/*
 * What can go wrong between this engine and a server that speaks SFTP over SSH, as one error class with a kind and a
 * phase. The engine reports; whether to retry, skip or stop is never decided here (remote/failure.ts does that).
 */

/** Where in a session something happened. `session`: while the SFTP channel is opened and the versions are agreed on. */
export type SftpPhase = 'connect' | 'handshake' | 'login' | 'session' | 'request' | 'transfer';

/**
 * - `status`: the server answered with a status that is not the one asked for (`status` holds it)
 * - `network`: the TCP connection could not be made (`code` holds the system's word)
 * - `lost`: the connection or its channel ended without a word, or broke
 * - `timeout`: no connection, handshake, login or answer in time
 * - `stalled`: no byte of a transfer moved for the stall limit
 * - `handshake`: what answers speaks no SSH, or shares no algorithm with us
 * - `host-key`: the server's key is unknown, another one than is trusted, or revoked
 * - `authentication`: the server refused what we had to show
 * - `channel`: the server opens no channel, or has no SFTP subsystem (`code` tells which: `CHANNEL`, `SUBSYSTEM`)
 * - `malformed`: what came is not SFTP, is out of step, or is over a limit
 * - `unsupported`: the server does not have what is asked for, and said so at the start
 * - `mismatch`: the server confirmed, but another number of bytes, or other bytes
 * - `argument`: a name that cannot travel, or that means something else there
 * - `aborted`: our side ended it
 */
export type SftpErrorKind =
  | 'status'
  | 'network'
  | 'lost'
  | 'timeout'
  | 'stalled'
  | 'handshake'
  | 'host-key'
  | 'authentication'
  | 'channel'
  | 'malformed'
  | 'unsupported'
  | 'mismatch'
  | 'argument'
  | 'aborted';

/** The server's answer where it was not the wanted one (draft-ietf-secsh-filexfer-02 section 7; later codes too). */
export interface SftpStatus {
  readonly code: number;
  /** The server's own words, cleaned of what no terminal should see; may be empty. */
  readonly words: string;
}

/** What an error says besides its kind and its sentence. */
export interface SftpErrorDetails {
  readonly phase: SftpPhase;
  /** The request under way (`OPEN`, `WRITE`, `posix-rename@openssh.com`), never its arguments. */
  readonly request?: string | undefined;
  readonly status?: SftpStatus | undefined;
  /** System code, such as `ECONNREFUSED`, or a word of ours. */
  readonly code?: string | undefined;
  readonly cause?: unknown;
}

/** Everything the engine throws. The message is one sentence or two, safe to print. */
export class SftpError extends Error {
  override readonly name = 'SftpError';
  readonly kind: SftpErrorKind;
  readonly phase: SftpPhase;
  readonly request: string | undefined;
  readonly status: SftpStatus | undefined;
  readonly code: string | undefined;

  constructor(kind: SftpErrorKind, message: string, details: SftpErrorDetails) {
    super(message, { cause: details.cause });
    this.kind = kind;
    this.phase = details.phase;
    this.request = details.request;
    this.status = details.status;
    this.code = details.code;
  }
}
