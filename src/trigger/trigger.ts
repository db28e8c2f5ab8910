/*
 * What starts a run by itself: the contract that cron and watch both fulfil.
 * A trigger only says "now"; whether a run really starts, waits or is merged with another is the
 * daemon's business. Triggers print nothing: what a person has to hear goes through `OnProblem`.
 */

/** Why a run is asked for. */
export interface Cause {
  /** For the log and the ledger: `cron 30 2 * * *`, `watch`, `start-up scan`, `rescan`. */
  readonly trigger: string;
  /** The moment that the schedule names, milliseconds since 1970; left out where there is no schedule. */
  readonly scheduledAtMs?: number;
}

/** Asks for a run. May be called at any time between `start()` and `stop()`, never after. */
export type Fire = (cause: Cause) => void;

/** Hears one or two sentences for a person: what happened, where, what to do next. */
export type OnProblem = (message: string) => void;

export interface Trigger {
  /** For people: `cron 30 2 * * *`, `watch`. */
  readonly name: string;
  /** Starts once; a trigger that was stopped stays stopped. Never rejects: problems are told. */
  start(): void | Promise<void>;
  /** Ends all timers and watchers. No fire follows. May be called twice. */
  stop(): Promise<void>;
  /** When it will fire next by the clock; undefined where it is not running or no such moment is known. */
  nextRun(): Date | undefined;
}

/** The longest sleep that `setTimeout` can count (2^31 - 1 ms, 24.8 days); beyond it Node fires at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

/**
 * The delay to hand to `setTimeout` for a wait of `waitMs`: whole, at least 1 ms, never so long that it overflows.
 * Who wakes early looks at the clock and waits again.
 */
export function timerDelayMs(waitMs: number): number {
  return Math.min(LONGEST_TIMER_MS, Math.max(1, Math.ceil(waitMs)));
}
