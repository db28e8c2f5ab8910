/*
 * How a run ended, and what it moved: the words that the ledger stores, the events carry and the
 * command line prints. Pure.
 */

/** What a run did, counted in files (`bytes` in bytes of file content). */
export interface Tally {
  uploaded: number;
  downloaded: number;
  deleted: number;
  renamed: number;
  skipped: number;
  unchanged: number;
  bytes: number;
}

/**
 * - `ok`: all that the job asked for holds on the other side
 * - `partial`: some files were skipped, the rest holds
 * - `failed`: the run stopped before its end; what was delivered stays delivered
 * - `held`: the guard refused to go on, or to delete; what was delivered before stays delivered
 * - `interrupted`: a person or a signal ended it
 */
export type Outcome = 'ok' | 'partial' | 'failed' | 'held' | 'interrupted';

/** Why a run failed, in the terms of the exit codes that the README lists. */
export type FailureKind =
  | 'failed'
  | 'configuration'
  | 'unreachable'
  | 'trust'
  | 'held'
  | 'locked'
  | 'verification';

/** The reason a run did not end well, for a person. */
export interface RunFailure {
  readonly kind: FailureKind;
  /** One or two sentences: what happened, where, what to do next. No secrets, no control characters. */
  readonly message: string;
  /** Reply code, system error code or a word of ours (`530`, `ECONNREFUSED`, `source-empty`). */
  readonly code: string;
}

export function emptyTally(): Tally {
  return {
    uploaded: 0,
    downloaded: 0,
    deleted: 0,
    renamed: 0,
    skipped: 0,
    unchanged: 0,
    bytes: 0,
  };
}
