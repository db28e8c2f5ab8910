/*
 * What can go wrong between this engine and a server, as one error class with a kind and a phase.
 * The engine reports; whether to retry, skip or stop is never decided here (remote/failure.ts does that).
 */
import type { Reply } from './reply.js';

/** Where in a session something happened. */
export type Phase =
  | 'connect'
  | 'greeting'
  | 'tls'
  | 'login'
  | 'features'
  | 'command'
  | 'data-setup'
  | 'transfer';

/**
 * - `reply`: the server answered, with a code that is not the one asked for (`reply` holds it)
 * - `network`: the TCP connection could not be made, or broke (`code` holds the system's word)
 * - `lost`: the control connection ended without a word
 * - `timeout`: no connection, handshake or reply in time
 * - `malformed`: what came is not FTP, is out of step, or is over a limit
 * - `injected`: bytes came behind the 234 that nobody encrypted
 * - `certificate`: certificate, name or pin is not the trusted one
 * - `handshake`: TLS failed for another reason
 * - `data`: the data connection could not be made, or broke
 * - `stalled`: no byte moved on the data connection for the stall limit
 * - `unconfirmed`: all data went out, and no final reply came: nobody knows whether the file is whole
 * - `mismatch`: the server confirmed, but another number of bytes
 * - `unwilling`: every way of doing what is needed was refused
 * - `argument`: a name that cannot travel in a command
 * - `aborted`: our side ended it
 */
export type FtpErrorKind =
  | 'reply'
  | 'network'
  | 'lost'
  | 'timeout'
  | 'malformed'
  | 'injected'
  | 'certificate'
  | 'handshake'
  | 'data'
  | 'stalled'
  | 'unconfirmed'
  | 'mismatch'
  | 'unwilling'
  | 'argument'
  | 'aborted';

/** What an error says besides its kind and its sentence. */
export interface FtpErrorDetails {
  readonly phase: Phase;
  /** The verb under way, never its argument. */
  readonly verb?: string | undefined;
  readonly reply?: Reply | undefined;
  /** System or TLS error code, such as `ECONNREFUSED` or `CERT_HAS_EXPIRED`. */
  readonly code?: string | undefined;
  readonly cause?: unknown;
  /**
   * True where a transfer's command was not answered in any way, though the connections stand: the server waits for
   * something itself, such as a lock that another of its sessions holds.
   */
  readonly unanswered?: boolean | undefined;
}

/** Everything the engine throws. The message is one sentence, safe to print. */
export class FtpError extends Error {
  override readonly name = 'FtpError';
  readonly kind: FtpErrorKind;
  readonly phase: Phase;
  readonly verb: string | undefined;
  readonly reply: Reply | undefined;
  readonly code: string | undefined;
  readonly unanswered: boolean;

  constructor(kind: FtpErrorKind, message: string, details: FtpErrorDetails) {
    super(message, { cause: details.cause });
    this.kind = kind;
    this.phase = details.phase;
    this.verb = details.verb;
    this.reply = details.reply;
    this.code = details.code;
    this.unanswered = details.unanswered ?? false;
  }
}

/** The system's code of an error (`ECONNRESET`), where it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
