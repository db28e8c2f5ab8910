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
  /** What is dealt with once the run is: each schedule of the job, and up to which of its moments. */
  readonly covers?: readonly { readonly key: string; readonly untilMs: number }[];
  /**
   * When the newest change that led to this was noticed, on the monotonic clock (`performance.now()`): a scan that
   * began later has found it, so no further run is needed for it. Left out where the moment of asking is meant.
   */
  readonly noticedMs?: number;
  /**
   * Where something changed: paths below the root of the job's local side, each with all that may lie below it. Left
   * out where it may be anywhere, and so everything has to be looked at.
   */
  readonly places?: ReadonlySet<string>;
}

/** Asks for a run. May be called at any time between `start()` and `stop()`, never after. */
export type Fire = (cause: Cause) => void;

/** Hears one or two sentences for a person: what happened, where, what to do next. */
export type OnProblem = (message: string) => void;

/**
 * How a watched tree is covered:
 *
 * | how | what it means |
 * | --- | --- |
 * | starting | it is being opened; a scan follows as soon as it is |
 * | events | the system reports every change |
 * | partly | the system reports some changes; the rest is looked at every `everyMs`, or left to the rescan |
 * | polling | the system reports none that could be trusted; all is looked at every `everyMs` |
 * | pausing | a storm of changes: nothing is watched for a moment, and a scan follows |
 * | absent | the root is missing, cannot be read or does not answer; it is looked for all the time |
 */
export type Covered = 'starting' | 'events' | 'partly' | 'polling' | 'pausing' | 'absent';

/** What a watch knows of its tree at this moment. The regular rescan comes besides, whatever it says. */
export interface Coverage {
  /** The directory, as the job names it. */
  readonly root: string;
  readonly how: Covered;
  /** Since when it has been so, milliseconds since 1970. */
  readonly sinceMs: number;
  /** How often what no event tells is looked at, in milliseconds; undefined where nothing is polled. */
  readonly everyMs: number | undefined;
  /** Why it is not covered by events, and what a person can do about it; undefined where there is nothing to say. */
  readonly message: string | undefined;
}

/** Hears how a tree is covered from now on; once for each state, not once for each event. */
export type OnCoverage = (coverage: Coverage) => void;

export interface Trigger {
  /** For people: `cron 30 2 * * *`, `watch`. */
  readonly name: string;
  /** Starts once; a trigger that was stopped stays stopped. Never rejects: problems are told. */
  start(): void | Promise<void>;
  /** Ends all timers and watchers. No fire follows. May be called twice. */
  stop(): Promise<void>;
  /** When it will fire next by the clock; undefined where it is not running or no such moment is known. */
  nextRun(): Date | undefined;
  /** How its tree is covered now; undefined where it watches none, or does not run. */
  coverage(): Coverage | undefined;
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
