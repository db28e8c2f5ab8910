/*
 * The words of the one policy: what can be decided about an error, and an error with its decision. failure.ts decides.
 */
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
  /** Reply code, name of a status, system code, or the error's kind: `553`, `PERMISSION_DENIED`, `ECONNREFUSED`, `stalled`. */
  readonly code: string;
  /** One or two sentences for a person. */
  readonly message: string;
  /** True where it happened before there was a session: files are not to be counted against. */
  readonly beforeSession: boolean;
  /** True where the server has answered, and the session goes on: nothing that was asked is still under way there. */
  readonly answered: boolean;
  /** How often in a row, with no success between, it may come before it ends the run; undefined where only attempts count. */
  readonly inARow: number | undefined;
}
