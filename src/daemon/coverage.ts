/*
 * What the schedules of each job have covered: the only reader and writer of the ledger's memory of it. It says what
 * was missed, at a start, after a suspend and after the clock was set, and sees to it that no moment is lost or
 * doubled. The rules for clocks that cannot be trusted stand at `Reckoning`. It does not wait (trigger/timetable.ts),
 * does not run, and knows nothing of watched trees, whose coverage is another thing.
 */
import type { Job, TriggerSpec } from '../job/job.js';
import { cronName, openSchedule, scheduleKey } from '../trigger/cron.js';
import type { Whose } from '../trigger/jitter.js';
import {
  dueMoment,
  type NextMoment,
  nextMoment,
  type Progress,
  SMALL_STEP_MS,
  timetableTrigger,
} from '../trigger/timetable.js';
import type { Cause, Fire, OnProblem, Trigger } from '../trigger/trigger.js';

/** What is needed of the ledger. */
export interface ScheduleMemory {
  coveredUntil(job: string, key: string): number | undefined;
  setCoveredUntil(job: string, key: string, untilMs: number): void;
  /** The keys under which the ledger remembers something of a job. */
  scheduleKeys(job: string): readonly string[];
  dropSchedule(job: string, key: string): void;
}

export interface CoverageOptions {
  readonly ledger: ScheduleMemory;
  /** What makes this machine another than the next one (`machineSeed`); jitter depends on it. */
  readonly seed: string;
  /** Hears a sentence about a job's schedules, for a person. */
  readonly onProblem: (job: string, message: string) => void;
}

/** What a schedule of a job will do next. */
export interface NextRun extends NextMoment {
  /** As runs name it: `cron 30 2 * * *`. */
  readonly trigger: string;
  /** IANA name; undefined stands for the zone of this machine. */
  readonly timezone: string | undefined;
  /** The latest moment that nobody has dealt with: a daemon that starts now makes it good at once. */
  readonly missedMs: number | undefined;
}

type CronTriggerSpec = Extract<TriggerSpec, { readonly kind: 'cron' }>;

/** No clock that shows an earlier time is right; ferryd is younger. Nothing of it goes into the ledger. */
const RIGHT_FROM_MS = Date.UTC(2026, 0, 1);

/** One for a daemon, for as long as it runs: it outlives the triggers, which a reload makes anew. */
export class ScheduleCoverage {
  readonly #options: CoverageOptions;
  readonly #jobs = new Map<string, Map<string, Reckoning>>();
  /** When a job's last trigger was stopped; what a new schedule in its place has to begin with. */
  readonly #leftMs = new Map<string, number>();

  constructor(options: CoverageOptions) {
    this.#options = options;
  }

  /**
   * The one trigger for all cron schedules of a job; undefined where it has none. What was missed, while no daemon was
   * there or while a reload replaced the job, fires within its `start()`. It may be made while the job's last one
   * still works, and is to be started once the run under way has ended and `cover` was told of it.
   *
   * @throws RangeError where an expression or a time zone is wrong; loaded jobs have none such
   */
  trigger(job: Job, fire: Fire, onProblem: OnProblem): Trigger | undefined {
    const specs = job.triggers.filter(isCron);
    if (specs.length === 0) {
      this.forget(job.name);
      this.#dropOthers(job.name, new Map());
      return undefined;
    }
    const before = this.#jobs.get(job.name);
    const reckonings = new Map(
      specs.map((spec) => {
        const key = scheduleKey(spec);
        return [key, before?.get(key) ?? this.#reckoning(job.name, key)];
      }),
    );
    const entries = specs.flatMap((spec) => {
      const progress = reckonings.get(scheduleKey(spec));
      return progress === undefined ? [] : [{ spec, progress }];
    });
    const trigger = timetableTrigger(entries, { seed: this.#options.seed, job: job.name }, fire, onProblem);
    return {
      ...trigger,
      start: () => {
        this.#jobs.set(job.name, reckonings);
        this.#dropOthers(job.name, reckonings);
        return trigger.start();
      },
      stop: () => {
        // Unless another one has taken over, or the job was removed.
        if (this.#jobs.get(job.name) === reckonings) this.#leftMs.set(job.name, Date.now());
        return trigger.stop();
      },
    };
  }

  /** The run that this cause asked for is dealt with: whatever became of it, its moments are not to come again. */
  cover({ name }: Pick<Job, 'name'>, cause: Cause): void {
    const known = this.#jobs.get(name);
    const nowMs = Date.now();
    for (const { key, untilMs } of cause.covers ?? []) {
      // Of a job that was removed meanwhile the ledger is told all the same: it may come back.
      const reckoning = known === undefined ? this.#reckoning(name, key) : known.get(key);
      reckoning?.cover(untilMs, nowMs);
    }
  }

  /** The job was removed. Comes it back, its new schedules begin then; what its old ones missed is made good. */
  forget(job: string): void {
    this.#jobs.delete(job);
    this.#leftMs.delete(job);
  }

  #reckoning(job: string, key: string): Reckoning {
    const { ledger, onProblem } = this.#options;
    return new Reckoning({
      key,
      memory: memoryOf(ledger, job),
      leftMs: () => this.#leftMs.get(job),
      tell: (message) => onProblem(job, message),
    });
  }

  /** What the job does not have any more is forgotten: were it written again in a year, that year was not missed. */
  #dropOthers(job: string, kept: ReadonlyMap<string, Reckoning>): void {
    const { ledger, onProblem } = this.#options;
    const wanted = new Set([...kept.keys()].flatMap((key) => MARKS.map((n) => markKey(key, n))));
    try {
      for (const key of ledger.scheduleKeys(job)) {
        if (key.startsWith(SCHEDULE_KEY) && !wanted.has(key)) ledger.dropSchedule(job, key);
      }
    } catch (error) {
      onProblem(job, `The ledger could not forget the schedules that ${job} had before: ${reason(error)}`);
    }
  }
}

/**
 * What each schedule of a job does next, the first of them first, also where no daemon runs. Exactly what a daemon on
 * this machine will do: jitter is computed, not drawn.
 *
 * @param ledger undefined where there is none yet
 * @throws {LedgerError} where the ledger cannot be read
 */
export function nextRuns(
  job: Job,
  ledger: Pick<ScheduleMemory, 'coveredUntil'> | undefined,
  options: { readonly seed: string; readonly nowMs: number },
): readonly NextRun[] {
  const { seed, nowMs } = options;
  const whose: Whose = { seed, job: job.name };
  return job.triggers
    .filter(isCron)
    .flatMap((spec) => {
      const key = scheduleKey(spec);
      const reckoning = new Reckoning({
        key,
        memory: { get: (wanted) => ledger?.coveredUntil(job.name, wanted), put: () => undefined },
        leftMs: () => undefined,
        tell: () => undefined,
      });
      reckoning.resume(nowMs, 'start');
      const schedule = openSchedule(spec.expression, spec.timezone);
      const next = nextMoment(schedule, spec.jitterMs, whose, nowMs, reckoning.untilMs);
      if (next === undefined) return [];
      const missedMs = dueMoment(schedule, spec.jitterMs, whose, nowMs, reckoning.untilMs)?.momentMs;
      return [{ ...next, trigger: cronName(spec), timezone: spec.timezone, missedMs }];
    })
    .sort((a, b) => a.atMs - b.atMs);
}

/** What the ledger holds of one job's schedules; throws where it cannot be read or written. */
interface Memory {
  get(key: string): number | undefined;
  put(key: string, untilMs: number): void;
}

interface ReckoningOptions {
  readonly key: string;
  readonly memory: Memory;
  /** When the trigger that this one replaces was stopped. */
  readonly leftMs: () => number | undefined;
  readonly tell: (message: string) => void;
}

/**
 * How far one schedule is dealt with: marks, each the latest moment dealt with by one clock. A clock may be wrong, and
 * nobody can tell at once which one was, so none is forgotten too early:
 *
 * - There is one mark as a rule, and it counts.
 * - A mark more than an hour ahead of the clock is kept, but does not count: the schedule goes on with a further mark
 *   beside it, by the clock as it is, from when that was seen. So a clock that was years ahead once does not silence
 *   the schedule for years.
 * - As soon as the clock jumps past an earlier mark (NTP on a box without a clock of its own), or a daemon starts
 *   behind it, that one counts again, and those beside it are given up. What was dealt with before the box lost its
 *   time does not run again; what was missed since then does, once.
 * - A clock that reaches an earlier mark minute by minute did not jump: each moment fires, whatever that other clock
 *   had dealt with.
 *
 * An hour, because a clock set back by so little (daylight saving time set by hand, a box that wakes up with the time
 * of its last hourly note) shall not double a run, and an hour's silence does no harm; that of a day would.
 *
 * A clock before ferryd's own first year is surely wrong: the schedule goes by it as it is, but the ledger hears
 * nothing of it, and a schedule that began under it begins again under the right one, having missed nothing.
 */
class Reckoning implements Progress {
  readonly key: string;
  readonly #options: ReckoningOptions;
  #isRead = false;
  /** Descending; the last one counts. */
  #marks: readonly number[] = [];
  /** As the ledger has them. */
  #written: readonly number[] = [];
  /** Nothing was dealt with yet: the mark is only when the schedule was seen first. */
  #begun = false;
  #handedMs: number | undefined;

  constructor(options: ReckoningOptions) {
    this.#options = options;
    this.key = options.key;
  }

  get untilMs(): number {
    return this.#marks.at(-1) ?? Number.NEGATIVE_INFINITY;
  }

  get handedMs(): number | undefined {
    return this.#handedMs;
  }

  resume(nowMs: number, why: 'start' | 'clock'): 'owed' | 'clear' {
    this.#read();
    this.#place(nowMs, why);
    const handedMs = this.#handedMs;
    const owed = why === 'start' && handedMs !== undefined && handedMs > this.untilMs;
    if (why === 'start' || (handedMs !== undefined && handedMs - nowMs > SMALL_STEP_MS)) {
      this.#handedMs = undefined;
    }
    return owed ? 'owed' : 'clear';
  }

  handOn(momentMs: number): void {
    this.#handedMs = momentMs;
  }

  leaveOut(momentMs: number): void {
    this.cover(momentMs, Date.now());
  }

  /** All moments up to this one are dealt with. Takes nothing back. */
  cover(momentMs: number, nowMs: number): void {
    this.#read();
    const ahead = this.#marks.filter((mark) => mark > momentMs);
    if (momentMs - nowMs > SMALL_STEP_MS) {
      // The clock was set back while the run was under way: the schedule goes on from where it stood.
      this.#mark([...ahead, momentMs, Math.min(nowMs, this.#marks.at(-1) ?? nowMs)]);
      this.#tellAhead(momentMs, nowMs);
    } else if (momentMs > this.untilMs) {
      this.#mark([...ahead, momentMs]);
    }
    this.#begun = this.#begun && !isRight(momentMs);
  }

  /** Finds out what counts now; see above. */
  #place(nowMs: number, why: 'start' | 'clock'): void {
    const [highestMs] = this.#marks;
    if (highestMs === undefined || (this.#begun && (nowMs < highestMs || !isRight(highestMs)))) {
      const leftMs = why === 'start' ? this.#options.leftMs() : undefined;
      this.#begun = true;
      this.#mark([Math.min(nowMs, leftMs ?? nowMs)]);
      return;
    }
    const past = this.#marks.findIndex((mark) => mark <= nowMs);
    if (past >= 0) this.#mark(this.#marks.slice(0, past + 1));
    else if (this.untilMs - nowMs > SMALL_STEP_MS) {
      this.#tellAhead(this.untilMs, nowMs);
      this.#mark([...this.#marks, nowMs]);
    }
  }

  #tellAhead(untilMs: number, nowMs: number): void {
    this.#options.tell(
      `${this.key} is dealt with until ${isoSecond(untilMs)}, says the ledger, but the clock shows ${isoSecond(nowMs)}: it was ahead then, or it is behind now. The schedule goes on by the clock as it is, and nothing is forgotten. Look whether this machine has the right time (timedatectl).`,
    );
  }

  /** Once, as soon as the ledger can be read; nothing is written before. */
  #read(): void {
    if (this.#isRead) return;
    this.#attempt('read', (memory) => {
      const marks = MARKS.map((n) => memory.get(markKey(this.key, n)) ?? NONE_MS).filter(
        (ms) => ms !== NONE_MS,
      );
      this.#isRead = true;
      this.#written = marks;
      if (marks.length === 0) return;
      this.#begun = false;
      this.#marks = marks;
    });
  }

  /** Too many wrong clocks: the last one takes the place of the one before. */
  #mark(marks: readonly number[]): void {
    const last = marks.at(-1);
    this.#marks =
      marks.length <= MARKS.length || last === undefined
        ? marks
        : [...marks.slice(0, MARKS.length - 1), last];
    if (!this.#isRead) return;
    const kept = this.#marks.filter(isRight);
    this.#attempt('keep', (memory) => {
      for (const n of MARKS) {
        const ms = kept[n] ?? NONE_MS;
        if (ms !== (this.#written[n] ?? NONE_MS)) memory.put(markKey(this.key, n), ms);
      }
      this.#written = kept;
    });
  }

  #attempt(what: 'read' | 'keep', act: (memory: Memory) => void): void {
    try {
      act(this.#options.memory);
    } catch (error) {
      // A ledger in trouble must not end the schedule: it goes on by what is in memory.
      this.#options.tell(`The ledger could not ${what} how far ${this.key} is dealt with: ${reason(error)}`);
    }
  }
}

const SCHEDULE_KEY = 'cron ';

/** In the ledger, for no mark. */
const NONE_MS = 0;

/** So many clocks can be wrong, one behind the other, until one is forgotten. */
const MARKS = [0, 1, 2, 3] as const;

function markKey(key: string, n: (typeof MARKS)[number]): string {
  return n === 0 ? key : `${key} (${n} beside)`;
}

function memoryOf(ledger: ScheduleMemory, job: string): Memory {
  return {
    get: (key) => ledger.coveredUntil(job, key),
    put: (key, untilMs) => ledger.setCoveredUntil(job, key, untilMs),
  };
}

function isCron(spec: TriggerSpec): spec is CronTriggerSpec {
  return spec.kind === 'cron';
}

function isRight(clockMs: number): boolean {
  return clockMs >= RIGHT_FROM_MS;
}

function isoSecond(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
