/*
 * Exit codes: the one table that scripts and systemd units may rely on. The README shows the same table, and a
 * test holds the two together.
 */
import type { LedgerError } from '../ledger/error.js';
import type { FailureKind, Outcome, RunFailure } from '../plan/outcome.js';

/** Code to meaning, in the order of the README. */
export const EXIT_CODES = {
  0: 'ok',
  1: 'failed',
  2: 'usage or configuration',
  3: 'partial: something was skipped',
  4: 'server unreachable',
  5: 'login or trust refused',
  6: 'held by the guard',
  7: 'locked by another run',
  8: 'verification mismatch',
  130: 'interrupted',
} as const;

export type ExitCode = keyof typeof EXIT_CODES;

const BY_FAILURE: Readonly<Record<FailureKind, ExitCode>> = {
  failed: 1,
  configuration: 2,
  unreachable: 4,
  trust: 5,
  held: 6,
  locked: 7,
  verification: 8,
};

/** From the one that a person must know of first to the one that matters least. */
const GRAVEST_FIRST: readonly ExitCode[] = [130, 2, 5, 8, 1, 4, 6, 7, 3, 0];

/** The code of one run. */
export function exitCodeOf(run: {
  readonly outcome: Outcome;
  readonly failure: RunFailure | undefined;
}): ExitCode {
  if (run.outcome === 'interrupted') return 130;
  if (run.failure !== undefined) return BY_FAILURE[run.failure.kind];
  return run.outcome === 'ok' ? 0 : run.outcome === 'partial' ? 3 : 1;
}

/** The code of a failure, whichever command met it. */
export function exitCodeOfFailure(kind: FailureKind): ExitCode {
  return BY_FAILURE[kind];
}

/** The code of several runs: that of the gravest. */
export function gravest(codes: readonly ExitCode[]): ExitCode {
  return GRAVEST_FIRST.find((code) => codes.includes(code)) ?? 0;
}

/** Ends a command: the sentence goes to standard error, the code to the system. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The code for a ledger that cannot be opened: a wrong path or version is the configuration's fault. */
export function exitCodeOfLedger(error: LedgerError): ExitCode {
  const { kind } = error;
  const configuration =
    kind === 'not-a-ledger' ||
    kind === 'newer-schema' ||
    kind === 'older-schema' ||
    kind === 'missing' ||
    kind === 'unreadable';
  return configuration ? 2 : 1;
}
