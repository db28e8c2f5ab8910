/*
 * The cron trigger of a job: one clock for all its schedules, so that moments which fall together, or were missed
 * together, are one run. The clock is ours: node-cron 4.6's own timer drops a time that the spring change jumps over,
 * falls silent for the doubled hour in autumn, and gives up a moment that it notices more than a second late.
 * What was dealt with is not kept here: each schedule's `Progress` knows, at the start, while it runs, and after the
 * clock was set (daemon/coverage.ts). A suspend, a daemon that was away and a clock set forward are one case.
 */
import { type CronSpec, cronName, openSchedule } from './cron.js';
import { putOffMs, type Whose } from './jitter.js';
import { lastMoment, momentAfter, type Schedule } from './schedule.js';
import { type Cause, type Fire, type OnProblem, type Trigger, timerDelayMs } from './trigger.js';

/** No sleep is longer, so that a suspend or a clock that was set is noticed within a minute. */
const LONGEST_SLEEP_MS = 60_000;

/** From here on a moment counts as missed, and `missed` decides; below it is only late. */
const MISSED_AFTER_MS = 5 * 60_000;

/** The clock went forward by this much more than we slept: it was set, or the machine was away. */
export const SMALL_STEP_MS = 60 * 60_000;

/** What is dealt with of one schedule. */
export interface Progress {
  /** Names the schedule among those of its job. */
  readonly key: string;
  /** Nothing up to here is due, in milliseconds since 1970. */
  readonly untilMs: number;
  /** The latest moment that was handed on and not left out; undefined where there is none. */
  readonly handedMs: number | undefined;
  /**
   * Finds out where the schedule stands by this clock: at the start, and whenever the clock went back or jumped.
   *
   * @returns `owed` where a moment was handed on before the start and its run never came about
   */
  resume(nowMs: number, why: 'start' | 'clock'): 'owed' | 'clear';
  /** A run was asked for; the daemon says when it is done (`Cause.covers`). */
  handOn(momentMs: number): void;
  /** The moment was missed and the job leaves missed ones out. */
  leaveOut(momentMs: number): void;
}

/** One schedule of a job, and what is dealt with of it. */
export interface Entry {
  readonly spec: CronSpec;
  readonly progress: Progress;
}

/** What a schedule will do next. */
export interface NextMoment {
  /** The schedule's own moment, milliseconds since 1970. */
  readonly momentMs: number;
  /** When its run starts: the moment, put off by the schedule's jitter. */
  readonly atMs: number;
}

/** A moment whose time has come. */
interface Due {
  readonly entry: Timed;
  readonly momentMs: number;
  /** `missed`: nobody was there when it was due. `late`: a little late, as any start is. */
  readonly kind: 'late' | 'missed';
  /** True where the job leaves such a moment out. */
  readonly leftOut: boolean;
}

interface Timed extends Entry {
  readonly schedule: Schedule;
  readonly name: string;
}

type State =
  | { readonly kind: 'idle' | 'stopped' }
  | {
      readonly kind: 'waiting';
      readonly timer: NodeJS.Timeout;
      /** When the next run starts; undefined where none comes. */
      readonly dueMs: number | undefined;
      /** What the clock showed when it was last looked at. */
      readonly seenMs: number;
    };

/**
 * The next run that a schedule asks for.
 *
 * @param untilMs nothing up to here is due; what was put off beyond `nowMs` and lies after it is still to come
 * @returns undefined where none comes within 45 years
 */
export function nextMoment(
  schedule: Schedule,
  jitterMs: number,
  whose: Whose,
  nowMs: number,
  untilMs: number,
): NextMoment | undefined {
  const at = (momentMs: number): NextMoment => ({
    momentMs,
    atMs: putOffMs(schedule, momentMs, jitterMs, whose),
  });
  const latestMs =
    jitterMs > 0 ? lastMoment(schedule, Math.max(untilMs, nowMs - jitterMs), nowMs) : undefined;
  const putOff = latestMs === undefined ? undefined : at(latestMs);
  if (putOff !== undefined && putOff.atMs > nowMs) return putOff;
  const nextMs = momentAfter(schedule, Math.max(nowMs, untilMs));
  return nextMs === undefined ? undefined : at(nextMs);
}

/**
 * The latest moment after `untilMs` whose run should have started by now; undefined where there is none. However many
 * moments went by, one run makes them good.
 */
export function dueMoment(
  schedule: Schedule,
  jitterMs: number,
  whose: Whose,
  nowMs: number,
  untilMs: number,
): NextMoment | undefined {
  const latestMs = lastMoment(schedule, untilMs, nowMs);
  if (latestMs === undefined) return undefined;
  const atMs = putOffMs(schedule, latestMs, jitterMs, whose);
  if (atMs <= nowMs) return { momentMs: latestMs, atMs };
  // The one before was put off to before this one, so it is due.
  const beforeMs = lastMoment(schedule, untilMs, latestMs - 1);
  return beforeMs === undefined
    ? undefined
    : { momentMs: beforeMs, atMs: putOffMs(schedule, beforeMs, jitterMs, whose) };
}

/**
 * Fires at each scheduled moment, once; where several went by unseen, once for the latest of them. What is due at the
 * start fires within `start()`.
 *
 * @param entries at least one
 * @throws RangeError with checkCron's sentence where an expression or a time zone is wrong
 */
export function timetableTrigger(
  entries: readonly Entry[],
  whose: Whose,
  fire: Fire,
  onProblem: OnProblem,
): Trigger {
  const timed = entries.map((entry) => ({
    ...entry,
    schedule: openSchedule(entry.spec.expression, entry.spec.timezone),
    name: cronName(entry.spec),
  }));
  let state: State = { kind: 'idle' };

  function wait(nowMs: number): void {
    const next = timed
      .map(({ schedule, spec, progress }) =>
        nextMoment(schedule, spec.jitterMs ?? 0, whose, nowMs, handledMs(progress)),
      )
      .reduce((least, one) => Math.min(least, one?.atMs ?? least), Number.POSITIVE_INFINITY);
    sleep(Number.isFinite(next) ? next : undefined, nowMs);
  }

  function sleep(dueMs: number | undefined, nowMs: number): void {
    const waitMs = Math.min(LONGEST_SLEEP_MS, (dueMs ?? Number.POSITIVE_INFINITY) - nowMs);
    state = { kind: 'waiting', timer: setTimeout(look, timerDelayMs(waitMs)), dueMs, seenMs: nowMs };
  }

  function look(): void {
    if (state.kind !== 'waiting') return;
    const nowMs = Date.now();
    const aheadMs = nowMs - state.seenMs - LONGEST_SLEEP_MS;
    if (nowMs < state.seenMs || aheadMs > SMALL_STEP_MS) {
      for (const { progress } of timed) progress.resume(nowMs, 'clock');
    } else if (state.dueMs === undefined || nowMs < state.dueMs) {
      sleep(state.dueMs, nowMs);
      return;
    }
    handOn(
      timed.flatMap((entry) => dueOf(entry, nowMs, 'clear')),
      nowMs,
    );
  }

  function dueOf(entry: Timed, nowMs: number, owed: 'owed' | 'clear'): Due[] {
    const { schedule, spec, progress } = entry;
    const due = dueMoment(schedule, spec.jitterMs ?? 0, whose, nowMs, handledMs(progress));
    if (due === undefined) return [];
    const missed = nowMs - due.atMs > MISSED_AFTER_MS;
    return [
      {
        entry,
        momentMs: due.momentMs,
        kind: missed ? 'missed' : 'late',
        leftOut: missed && spec.missed === 'skip' && owed === 'clear',
      },
    ];
  }

  function handOn(due: readonly Due[], nowMs: number): void {
    const latest = due
      .filter(({ leftOut }) => !leftOut)
      .reduce<Due | undefined>((best, one) => (one.momentMs > (best?.momentMs ?? 0) ? one : best), undefined);
    for (const { entry, momentMs } of due) {
      // A run that starts now is worth as much to the schedules that would have left theirs out.
      if (latest === undefined) entry.progress.leaveOut(momentMs);
      else entry.progress.handOn(momentMs);
    }
    // The next wait stands before anyone else's code runs, so that nothing can end the schedule.
    wait(nowMs);
    if (latest !== undefined) {
      ask({
        trigger: latest.kind === 'missed' ? `missed ${latest.entry.name}` : latest.entry.name,
        scheduledAtMs: latest.momentMs,
        covers: timed.flatMap(({ progress: { key, handedMs } }) =>
          handedMs === undefined ? [] : [{ key, untilMs: handedMs }],
        ),
      });
      return;
    }
    for (const { entry, momentMs } of due) {
      tell(
        `The run that ${entry.name} had scheduled for ${isoSecond(momentMs)} did not take place: the machine slept, its clock was set, or ferryd was not running. It is left out because the job says "missed: skip".`,
      );
    }
  }

  function ask(cause: Cause): void {
    try {
      fire(cause);
    } catch (error) {
      tell(`The run that ${cause.trigger} asked for could not be started: ${reason(error)}.`);
    }
  }

  function tell(message: string): void {
    try {
      onProblem(message);
    } catch {
      // A listener that throws must not end the schedule; there is nobody left to tell.
    }
  }

  return {
    name: timed.map(({ name }) => name).join(', '),
    start() {
      if (state.kind !== 'idle') return;
      const nowMs = Date.now();
      const due = timed.flatMap((entry) => dueOf(entry, nowMs, entry.progress.resume(nowMs, 'start')));
      handOn(due, nowMs);
    },
    async stop() {
      if (state.kind === 'waiting') clearTimeout(state.timer);
      state = { kind: 'stopped' };
    },
    nextRun() {
      return state.kind === 'waiting' && state.dueMs !== undefined ? new Date(state.dueMs) : undefined;
    },
    coverage() {
      return undefined;
    },
  };
}

function handledMs({ untilMs, handedMs }: Progress): number {
  return Math.max(untilMs, handedMs ?? Number.NEGATIVE_INFINITY);
}

function isoSecond(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
