/*
 * What the schedules of a job have covered, by an injected clock and a ledger in memory (and once the real one): a box
 * without a clock of its own, clocks set back and forth, suspends, daemons that come and go, jobs that are edited.
 * No moment is lost, none doubled, and no clock that was wrong once keeps a schedule silent.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextRuns, ScheduleCoverage, type ScheduleMemory } from '../../src/daemon/coverage.js';
import type { Job, TriggerSpec } from '../../src/job/job.js';
import { openLedger } from '../../src/ledger/ledger.js';
import type { Cause, Trigger } from '../../src/trigger/trigger.js';
import { temporaryDirectory } from '../support/temporary.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const SEED = 'box 1';

type Cron = Extract<TriggerSpec, { kind: 'cron' }>;

const NIGHTLY: Cron = {
  kind: 'cron',
  expression: '30 2 * * *',
  timezone: 'UTC',
  missed: 'run-once',
  jitterMs: 0,
};
const HOURLY: Cron = { ...NIGHTLY, expression: '0 * * * *' };
const SKIPPING: Cron = { ...NIGHTLY, missed: 'skip' };

const at = (text: string): number => Date.parse(text);
const iso = (ms: number | undefined): string =>
  ms === undefined ? 'never' : new Date(ms).toISOString().replace(/:00\.000Z$/, 'Z');

/** A ledger's memory of schedules, as `Ledger` keeps it. */
class MemoryLedger implements ScheduleMemory {
  readonly rows = new Map<string, number>();
  broken = false;

  coveredUntil(job: string, key: string): number | undefined {
    this.#fail();
    return this.rows.get(`${job}/${key}`);
  }

  setCoveredUntil(job: string, key: string, untilMs: number): void {
    this.#fail();
    this.rows.set(`${job}/${key}`, untilMs);
  }

  scheduleKeys(job: string): string[] {
    this.#fail();
    return [...this.rows.keys()]
      .filter((row) => row.startsWith(`${job}/`))
      .map((row) => row.split('/')[1] ?? '');
  }

  dropSchedule(job: string, key: string): void {
    this.#fail();
    this.rows.delete(`${job}/${key}`);
  }

  #fail(): void {
    if (this.broken) throw new Error('The disk is full.');
  }
}

/** Nothing but name and triggers matters here. */
function jobOf(...triggers: TriggerSpec[]): Job {
  const job: Pick<Job, 'name' | 'triggers'> = { name: 'nightly', triggers };
  return job as Job;
}

interface Run {
  readonly trigger: string;
  /** The schedule's moment. */
  readonly moment: string;
  readonly cause: Cause;
  readonly atMs: number;
}

/** A box with a ledger, on which daemons live; each run is over at once, unless it is left under way. */
class Box {
  readonly ledger: MemoryLedger;
  readonly runs: Run[] = [];
  readonly problems: string[] = [];
  outcome: 'dealt with' | 'left open' = 'dealt with';
  #coverage: ScheduleCoverage | undefined;
  #trigger: Trigger | undefined;

  constructor(ledger = new MemoryLedger()) {
    this.ledger = ledger;
  }

  /** Starts a daemon with this job. */
  boot(job: Job, clock?: string): void {
    if (clock !== undefined) vi.setSystemTime(at(clock));
    this.#coverage = new ScheduleCoverage({
      ledger: this.ledger,
      seed: SEED,
      onProblem: (_, message) => this.problems.push(message),
    });
    this.#begin(job);
  }

  /** The job in its place from now on, in the same daemon. */
  async edit(job: Job, pause: () => void = () => undefined): Promise<void> {
    const stopped = this.#trigger?.stop();
    pause();
    await stopped;
    this.#begin(job);
  }

  async halt(): Promise<void> {
    await this.#trigger?.stop();
    this.#trigger = undefined;
  }

  async restart(job: Job, clock?: string): Promise<void> {
    await this.halt();
    this.boot(job, clock);
  }

  get nextRun(): string {
    return iso(this.#trigger?.nextRun()?.getTime());
  }

  /** What ran since this was last asked: `trigger @ moment`. */
  told(): string[] {
    return this.runs.splice(0).map(({ trigger, moment }) => `${trigger} @ ${moment}`);
  }

  cover(job: Job, cause: Cause): void {
    this.#coverage?.cover(job, cause);
  }

  removed(job: Job): void {
    this.#coverage?.forget(job.name);
  }

  #begin(job: Job): void {
    const tell = (message: string): void => void this.problems.push(message);
    const fire = (cause: Cause): void => {
      this.runs.push({
        trigger: cause.trigger,
        moment: iso(cause.scheduledAtMs),
        cause,
        atMs: Date.now(),
      });
      if (this.outcome === 'dealt with') this.cover(job, cause);
    };
    this.#trigger = this.#coverage?.trigger(job, fire, tell);
    void this.#trigger?.start();
  }
}

let box: Box;

beforeEach(() => {
  vi.useFakeTimers();
  box = new Box();
});
afterEach(async () => {
  await box.halt();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** Time goes by, and the clock with it. */
const pass = (ms: number): void => void vi.advanceTimersByTime(ms);

/** The clock shows this from now on, and the daemon has had the time to notice. */
function set(clock: string): void {
  vi.setSystemTime(at(clock));
  pass(MINUTE_MS);
}

/** A box that has run last night, and was switched off at noon. */
async function ranLastNight(spec: Cron = NIGHTLY): Promise<void> {
  box.boot(jobOf(spec), '2026-11-20T12:00:00Z');
  pass(DAY_MS);
  expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-21T02:30Z']);
  await box.halt();
}

describe('while nobody was there', () => {
  it('nothing was missed by a schedule that is seen for the first time', () => {
    box.boot(jobOf(NIGHTLY), '2026-11-21T12:00:00Z');
    expect(box.told()).toEqual([]);
    expect(box.nextRun).toBe('2026-11-22T02:30Z');
  });

  it('all that went by is one run, once', async () => {
    await ranLastNight();
    box.boot(jobOf(NIGHTLY), '2026-11-25T12:00:00Z');
    expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-25T02:30Z']);
    await box.restart(jobOf(NIGHTLY));
    await box.restart(jobOf(NIGHTLY), '2026-11-25T18:00:00Z');
    expect(box.told()).toEqual([]);
  });

  it('a run that was not dealt with is asked for again by the next daemon', async () => {
    await ranLastNight();
    box.outcome = 'left open';
    box.boot(jobOf(NIGHTLY), '2026-11-22T12:00:00Z');
    await box.restart(jobOf(NIGHTLY));
    box.outcome = 'dealt with';
    await box.restart(jobOf(NIGHTLY));
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual(Array(3).fill('missed cron 30 2 * * * @ 2026-11-22T02:30Z'));
  });

  it('a job that leaves out what was missed says so, once, also if it changes its mind later', async () => {
    await ranLastNight(SKIPPING);
    box.boot(jobOf(SKIPPING), '2026-11-25T12:00:00Z');
    expect(box.told()).toEqual([]);
    expect(box.problems).toEqual([
      'The run that cron 30 2 * * * had scheduled for 2026-11-25T02:30:00Z did not take place: the machine slept, its clock was set, or ferryd was not running. It is left out because the job says "missed: skip".',
    ]);
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual([]);
    expect(box.problems).toHaveLength(1);
  });

  it('a start a moment late is only late, and no miss', async () => {
    await ranLastNight(SKIPPING);
    box.boot(jobOf(SKIPPING), '2026-11-22T02:30:04Z');
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-22T02:30Z']);
  });

  it('several schedules are one run, and each keeps what it has covered', async () => {
    const job = jobOf(
      NIGHTLY,
      { ...NIGHTLY, expression: '0 11 * * *' },
      { ...NIGHTLY, expression: '0 8 1 * *' },
    );
    box.boot(job, '2026-11-20T12:00:00Z');
    await box.restart(job, '2026-11-23T09:00:00Z');
    expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-23T02:30Z']);
    expect(Object.fromEntries([...box.ledger.rows].map(([key, ms]) => [key, iso(ms)]))).toEqual({
      'nightly/cron 30 2 * * * UTC': '2026-11-23T02:30Z',
      'nightly/cron 0 11 * * * UTC': '2026-11-22T11:00Z',
      'nightly/cron 0 8 1 * * UTC': '2026-11-20T12:00Z',
    });
    pass(3 * HOUR_MS);
    expect(box.told()).toEqual(['cron 0 11 * * * @ 2026-11-23T11:00Z']);
  });

  it('a moment that is put off is not missed before its time, and runs once, at its time', async () => {
    const job = jobOf({ ...NIGHTLY, missed: 'skip', jitterMs: 2 * HOUR_MS });
    box.boot(job, '2026-11-22T02:29:00Z');
    const planned = box.nextRun;
    expect(at(planned)).toBeGreaterThan(at('2026-11-22T02:36:00Z'));
    await box.restart(job, '2026-11-22T02:35:59Z');
    expect(box.nextRun).toBe(planned);
    await box.restart(job);
    pass(2 * HOUR_MS);
    expect(box.runs.map(({ atMs }) => iso(atMs))).toEqual([planned]);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-22T02:30Z']);
    await box.restart(job);
    expect(box.told()).toEqual([]);
    expect(box.problems).toEqual([]);
  });
});

describe('a box without a clock of its own', () => {
  it.each(['1970-01-01T00:00:20Z', '2020-02-02T02:02:02Z', '2026-03-01T00:00:20Z'])(
    'boots in %s: what was covered does not run again when the time comes, what was missed does, once',
    async (wrong) => {
      await ranLastNight();
      box.boot(jobOf(NIGHTLY), wrong);
      pass(2 * MINUTE_MS);
      set('2026-11-21T12:05:00Z');
      expect(box.told()).toEqual([]);
      expect(box.nextRun).toBe('2026-11-22T02:30Z');
      expect(box.problems).toHaveLength(1);
      expect(box.problems[0]).toMatch(
        /^cron 30 2 \* \* \* UTC is dealt with until 2026-11-21T02:30:00Z, says the ledger, but the clock shows 20|19/,
      );

      await box.restart(jobOf(NIGHTLY), wrong);
      set('2026-11-24T12:00:00Z');
      expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-24T02:30Z']);
      await box.restart(jobOf(NIGHTLY));
      expect(box.told()).toEqual([]);
    },
  );

  it('boots in 2020, and the job leaves out what was missed: that is told when the time comes', async () => {
    await ranLastNight(SKIPPING);
    box.boot(jobOf(SKIPPING), '2020-02-02T00:00:00Z');
    set('2026-11-22T12:00:00Z');
    expect(box.told()).toEqual([]);
    expect(box.problems.at(-1)).toContain('scheduled for 2026-11-22T02:30:00Z did not take place');
  });

  it.each(['1970-01-01T02:29:00Z', '2026-03-01T02:29:00Z'])(
    'goes by the clock it has, from %s, and what ran then changes nothing of what it knows',
    async (wrong) => {
      await ranLastNight();
      box.boot(jobOf(NIGHTLY), wrong);
      pass(2 * DAY_MS);
      expect(box.told().map((text) => text.slice(-6))).toEqual(['02:30Z', '02:30Z']);
      // Off and on again, still without the time: no moment of those days is doubled.
      await box.restart(jobOf(NIGHTLY));
      expect(box.told()).toEqual([]);
      set('2026-11-21T13:00:00Z');
      expect(box.told()).toEqual([]);
      pass(DAY_MS);
      expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-22T02:30Z']);
    },
  );

  it('a daemon that starts behind the jump believes the ledger as well', async () => {
    await ranLastNight();
    box.boot(jobOf(NIGHTLY), '2026-03-01T02:29:00Z');
    pass(2 * MINUTE_MS);
    box.told();
    await box.restart(jobOf(NIGHTLY), '2026-11-21T13:00:00Z');
    expect(box.told()).toEqual([]);
  });

  it('whose first job is seen in 1970 has missed nothing when the time comes', async () => {
    box.boot(jobOf(NIGHTLY), '1970-01-01T02:29:00Z');
    pass(2 * MINUTE_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 1970-01-01T02:30Z']);
    expect(box.ledger.rows.size).toBe(0);
    set('2026-11-21T12:00:00Z');
    expect(box.told()).toEqual([]);
    await box.restart(jobOf(NIGHTLY), '2026-11-22T12:00:00Z');
    expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-22T02:30Z']);
  });

  it('wakes up with the time of an hour ago: nothing runs again, nothing is told', async () => {
    await ranLastNight();
    box.boot(jobOf(NIGHTLY), '2026-11-21T02:10:00Z');
    pass(HOUR_MS);
    expect(box.told()).toEqual([]);
    expect(box.problems).toEqual([]);
  });
});

describe('a clock that is set while the daemon runs', () => {
  it.each([
    ['an hour', '2026-11-21T11:00:00Z', []],
    ['less than an hour before what ran', '2026-11-21T02:00:00Z', []],
    ['a day', '2026-11-20T12:00:00Z', ['cron 30 2 * * * @ 2026-11-21T02:30Z']],
    ['most of a year', '2026-01-21T12:00:00Z', ['cron 30 2 * * * @ 2026-01-22T02:30Z']],
  ])('back by %s: a small step doubles nothing, a large one silences nothing', async (_, clock, then) => {
    box.boot(jobOf(NIGHTLY), '2026-11-20T12:00:00Z');
    pass(DAY_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-21T02:30Z']);
    set(clock);
    pass(15 * HOUR_MS);
    expect(box.told()).toEqual(then);
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual([]);
    expect(box.problems).toHaveLength(then.length);
  });

  it('back by a few minutes, right behind a moment and right before it', () => {
    box.boot(jobOf(NIGHTLY), '2026-11-21T02:00:00Z');
    pass(31 * MINUTE_MS);
    expect(box.told()).toHaveLength(1);
    set('2026-11-21T02:20:00Z');
    pass(HOUR_MS);
    expect(box.told()).toEqual([]);
    expect(box.nextRun).toBe('2026-11-22T02:30Z');
  });

  it('back, where it was ahead when the schedule began: nothing was covered then', async () => {
    box.boot(jobOf(NIGHTLY), '2026-11-21T02:40:00Z');
    set('2026-11-21T02:20:00Z');
    pass(15 * MINUTE_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-21T02:30Z']);
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual([]);
  });

  it('back by two hours, on a schedule of every five minutes: no silence, then or when that time comes again', () => {
    const often: Cron = { ...NIGHTLY, expression: '*/5 * * * *' };
    box.boot(jobOf(often), '2026-11-21T10:01:00Z');
    pass(2 * HOUR_MS);
    expect(box.told()).toHaveLength(24);
    set('2026-11-21T10:01:00Z');
    pass(3 * HOUR_MS);
    expect(box.told()).toEqual(
      Array.from({ length: 36 }, (_, i) => {
        const moment = iso(at('2026-11-21T10:05:00Z') + i * 5 * MINUTE_MS);
        return `cron */5 * * * * @ ${moment}`;
      }),
    );
    expect(box.problems).toHaveLength(1);
  });

  it('forward over moments: one run; and what was covered is not asked for again', async () => {
    box.boot(jobOf(HOURLY), '2026-11-21T10:01:00Z');
    set('2026-11-21T15:10:00Z');
    expect(box.told()).toEqual(['missed cron 0 * * * * @ 2026-11-21T15:00Z']);
    set('2026-11-21T14:30:00Z');
    set('2026-11-21T15:20:00Z');
    expect(box.told()).toEqual([]);
    await box.restart(jobOf(HOURLY));
    expect(box.told()).toEqual([]);
    pass(HOUR_MS);
    expect(box.told()).toEqual(['cron 0 * * * * @ 2026-11-21T16:00Z']);
  });

  it('years ahead and right again: it is told, nothing falls silent, and what is missed from then on is noticed', async () => {
    await ranLastNight();
    box.boot(jobOf(NIGHTLY), '2040-05-06T12:00:00Z');
    pass(DAY_MS);
    expect(box.told()).toEqual([
      'missed cron 30 2 * * * @ 2040-05-06T02:30Z',
      'cron 30 2 * * * @ 2040-05-07T02:30Z',
    ]);
    set('2026-11-21T12:00:00Z');
    expect(box.problems).toEqual([
      'cron 30 2 * * * UTC is dealt with until 2040-05-07T02:30:00Z, says the ledger, but the clock shows 2026-11-21T12:01:00Z: it was ahead then, or it is behind now. The schedule goes on by the clock as it is, and nothing is forgotten. Look whether this machine has the right time (timedatectl).',
    ]);
    pass(DAY_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-22T02:30Z']);
    await box.restart(jobOf(NIGHTLY), '2026-11-25T12:00:00Z');
    expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-25T02:30Z']);
    await box.restart(jobOf(NIGHTLY));
    pass(DAY_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-26T02:30Z']);
    // Told once, not at each start.
    expect(box.problems).toHaveLength(1);
  });

  it('years ahead, with a run under way when it is put right', () => {
    box.outcome = 'left open';
    box.boot(jobOf(NIGHTLY), '2040-05-06T02:29:00Z');
    pass(2 * MINUTE_MS);
    const [wrong] = box.runs;
    set('2026-11-21T12:00:00Z');
    if (wrong !== undefined) box.cover(jobOf(NIGHTLY), wrong.cause);
    box.outcome = 'dealt with';
    pass(2 * DAY_MS);
    expect(box.told()).toEqual([
      'cron 30 2 * * * @ 2040-05-06T02:30Z',
      'cron 30 2 * * * @ 2026-11-22T02:30Z',
      'cron 30 2 * * * @ 2026-11-23T02:30Z',
    ]);
  });

  it('a suspend of three days is one run for all schedules of the job', async () => {
    const job = jobOf(NIGHTLY, { ...HOURLY, missed: 'skip' }, { ...NIGHTLY, expression: '15 4 * * *' });
    box.boot(job, '2026-11-20T12:00:30Z');
    set('2026-11-23T12:40:00Z');
    expect(box.told()).toEqual(['missed cron 15 4 * * * @ 2026-11-23T04:15Z']);
    expect(box.problems).toEqual([]);
    await box.restart(job);
    expect(box.told()).toEqual([]);
    pass(30 * MINUTE_MS);
    expect(box.told()).toEqual(['cron 0 * * * * @ 2026-11-23T13:00Z']);
  });
});

describe('a job that is edited', () => {
  const NOON: Cron = { ...NIGHTLY, expression: '0 12 * * *' };
  /** The same moments, written in another way: another schedule for the ledger. */
  const ALSO_NOON: Cron = { ...NIGHTLY, expression: '0 0 12 * * *' };

  it('another cron line has missed nothing, whatever the old one did', async () => {
    await ranLastNight();
    box.boot(jobOf(NOON), '2026-11-25T15:00:00Z');
    expect(box.told()).toEqual([]);
    await box.edit(jobOf(HOURLY, NOON));
    expect(box.told()).toEqual([]);
  });

  it('a line that is written again later has not missed the time in between', async () => {
    box.boot(jobOf(NIGHTLY), '2026-11-20T12:00:00Z');
    pass(DAY_MS);
    await box.edit(jobOf(NOON));
    pass(7 * DAY_MS);
    box.told();
    await box.edit(jobOf(NIGHTLY));
    expect(box.told()).toEqual([]);
    expect([...box.ledger.rows.keys()]).toEqual(['nightly/cron 30 2 * * * UTC']);
    await box.edit(jobOf());
    expect(box.ledger.rows.size).toBe(0);
    await box.restart(jobOf(NIGHTLY), '2026-12-05T12:00:00Z');
    expect(box.told()).toEqual([]);
  });

  it('what else the ledger keeps under the name of the job stays', async () => {
    box.ledger.setCoveredUntil('nightly', 'trash', 5);
    box.ledger.setCoveredUntil('other', 'cron 30 2 * * * UTC', 5);
    box.boot(jobOf(NIGHTLY), '2026-11-20T12:00:00Z');
    await box.edit(jobOf());
    expect([...box.ledger.rows]).toEqual([
      ['nightly/trash', 5],
      ['other/cron 30 2 * * * UTC', 5],
    ]);
  });

  it.each([
    ['the same', NOON],
    ['another', ALSO_NOON],
    ['one that leaves out what was missed', { ...NOON, missed: 'skip' as const }],
  ])(
    'a moment that falls between the old triggers and the new ones is not lost; the line is %s',
    async (_, line) => {
      box.boot(jobOf(NOON), '2026-11-21T11:59:59Z');
      await box.edit(jobOf(line), () => pass(2_000));
      expect(box.told()).toEqual([`cron ${line.expression} @ 2026-11-21T12:00Z`]);
      pass(HOUR_MS);
      await box.edit(jobOf(NOON));
      expect(box.told()).toEqual([]);
    },
  );

  it.each([
    ['the same', NOON],
    ['another', ALSO_NOON],
  ])('a moment that came right before is not doubled; the line is %s', async (_, line) => {
    box.boot(jobOf(NOON), '2026-11-21T11:59:59Z');
    pass(2_000);
    expect(box.told()).toEqual(['cron 0 12 * * * @ 2026-11-21T12:00Z']);
    await box.edit(jobOf(line));
    pass(HOUR_MS);
    expect(box.told()).toEqual([]);
  });

  it('a run that was waited for when the job was replaced is asked for again, also where missed ones are left out', async () => {
    const job = jobOf({ ...NOON, missed: 'skip' });
    box.boot(job, '2026-11-21T11:59:00Z');
    box.outcome = 'left open';
    pass(2 * MINUTE_MS);
    expect(box.told()).toEqual(['cron 0 12 * * * @ 2026-11-21T12:00Z']);
    pass(HOUR_MS);
    box.outcome = 'dealt with';
    await box.edit(job);
    expect(box.told()).toEqual(['missed cron 0 12 * * * @ 2026-11-21T12:00Z']);
    await box.edit(job);
    expect(box.told()).toEqual([]);
    expect(box.problems).toEqual([]);
  });

  it('another jitter is the same schedule', async () => {
    box.boot(jobOf(NOON), '2026-11-21T11:59:00Z');
    pass(2 * MINUTE_MS);
    box.told();
    await box.edit(jobOf({ ...NOON, jitterMs: 3 * HOUR_MS }));
    pass(4 * HOUR_MS);
    expect(box.told()).toEqual([]);
  });

  it('that was removed while its run was under way keeps what that run covered', async () => {
    box.boot(jobOf(NOON), '2026-11-21T11:59:00Z');
    box.outcome = 'left open';
    pass(2 * MINUTE_MS);
    const [run] = box.runs;
    box.removed(jobOf(NOON));
    await box.halt();
    if (run !== undefined) box.cover(jobOf(NOON), run.cause);
    box.told();
    pass(HOUR_MS);
    // Back again, with a new line, which begins now, and the old one, which has missed nothing.
    await box.edit(jobOf(NOON, { ...NOON, expression: '30 12 * * *' }));
    expect(box.told()).toEqual([]);
  });
});

describe('a ledger in trouble', () => {
  it('is told, and the schedule goes on by what is in memory; what is written can be read again later', async () => {
    await ranLastNight();
    box.ledger.broken = true;
    box.boot(jobOf(NIGHTLY), '2026-11-21T12:00:00Z');
    expect(box.problems).toContain(
      'The ledger could not read how far cron 30 2 * * * UTC is dealt with: The disk is full.',
    );
    pass(DAY_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-22T02:30Z']);
    box.ledger.broken = false;
    pass(DAY_MS);
    expect(box.told()).toEqual(['cron 30 2 * * * @ 2026-11-23T02:30Z']);
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual([]);
  });

  it('does not lose what it knew, where it could not be read for a while', async () => {
    await ranLastNight();
    box.ledger.broken = true;
    box.boot(jobOf(NIGHTLY), '2026-11-23T12:00:00Z');
    box.ledger.broken = false;
    await box.restart(jobOf(NIGHTLY));
    expect(box.told()).toEqual(['missed cron 30 2 * * * @ 2026-11-23T02:30Z']);
  });

  it('the real one keeps it all', async () => {
    vi.useRealTimers();
    const directory = await temporaryDirectory('coverage');
    const ledger = openLedger(directory.join('ledger.db'));
    try {
      ledger.setCoveredUntil('nightly', 'cron 30 2 * * * UTC', 5);
      ledger.setCoveredUntil('nightly', 'trash', 7);
      ledger.setCoveredUntil('other', 'cron 1', 9);
      expect(ledger.scheduleKeys('nightly')).toEqual(['cron 30 2 * * * UTC', 'trash']);
      ledger.dropSchedule('nightly', 'cron 30 2 * * * UTC');
      expect(ledger.scheduleKeys('nightly')).toEqual(['trash']);
      expect(ledger.coveredUntil('other', 'cron 1')).toBe(9);
    } finally {
      ledger.close();
      await directory.remove();
      vi.useFakeTimers();
    }
  });
});

describe('nextRuns', () => {
  const options = (): { seed: string; nowMs: number } => ({ seed: SEED, nowMs: Date.now() });

  it('tells each schedule of a job, the first run first, and what a daemon would make good', async () => {
    const job = jobOf(
      { ...NIGHTLY, timezone: 'Europe/Berlin' },
      { kind: 'watch', settleMs: 1, rescanMs: 1, pollMs: 1, events: 'auto' },
      HOURLY,
    );
    box.boot(job, '2026-11-20T12:10:00Z');
    await box.halt();
    vi.setSystemTime(at('2026-11-23T12:10:00Z'));
    const rows = new Map(box.ledger.rows);
    expect(nextRuns(job, box.ledger, options())).toEqual([
      {
        trigger: 'cron 0 * * * *',
        timezone: 'UTC',
        momentMs: at('2026-11-23T13:00:00Z'),
        atMs: at('2026-11-23T13:00:00Z'),
        missedMs: at('2026-11-23T12:00:00Z'),
      },
      {
        trigger: 'cron 30 2 * * *',
        timezone: 'Europe/Berlin',
        momentMs: at('2026-11-24T01:30:00Z'),
        atMs: at('2026-11-24T01:30:00Z'),
        missedMs: at('2026-11-23T01:30:00Z'),
      },
    ]);
    expect(box.ledger.rows).toEqual(rows);
    expect(nextRuns(job, undefined, options()).map(({ missedMs }) => missedMs)).toEqual([
      undefined,
      undefined,
    ]);
    expect(nextRuns(jobOf(), box.ledger, options())).toEqual([]);
  });

  it('is what the daemon will do, jitter, zones and both changes of the clocks included', async () => {
    const cron = fc.record({
      expression: fc.constantFrom('30 2 * * *', '*/20 1-3 * * *', '0 * * * *', '15 0 * * 0', '0 30 1 L * *'),
      timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/Havana', 'Australia/Lord_Howe', undefined),
      jitterMs: fc.constantFrom(0, 10 * MINUTE_MS, 5 * HOUR_MS),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(cron, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2027-12-01T00:00:00Z') }),
        fc.integer({ min: 0, max: 12 * HOUR_MS }),
        async (specs, startMs, laterMs) => {
          const job = jobOf(...specs.map((spec) => ({ ...NIGHTLY, ...spec })));
          const one = new Box();
          vi.setSystemTime(startMs);
          one.boot(job);
          pass(laterMs);
          const [next] = nextRuns(job, one.ledger, options());
          expect(one.nextRun).toBe(iso(next?.atMs));
          await one.restart(job);
          expect(one.nextRun).toBe(iso(next?.atMs));
          await one.halt();
        },
      ),
      { seed: 21, numRuns: 25 },
    );
  });
});

describe('whatever happens', () => {
  /** `away`: the daemon was stopped meanwhile; `sleep`: the machine; `edit`: so long between old and new triggers. */
  interface Step {
    readonly kind: 'pass' | 'away' | 'sleep' | 'edit';
    readonly ms: number;
  }
  /** For a while the clock is off by so much, in either direction. */
  interface WrongClock {
    readonly kind: 'wrong';
    readonly ms: number;
    readonly offMs: number;
    /** Whether a daemon sees the clock go wrong, and come right. */
    readonly restarts: readonly [boolean, boolean];
  }
  const step = (kind: Step['kind'], max: number): fc.Arbitrary<Step> =>
    fc.record({ kind: fc.constant(kind), ms: fc.integer({ min: 0, max }) });
  const steps = [
    { weight: 4, arbitrary: step('pass', 9 * HOUR_MS) },
    { weight: 2, arbitrary: step('away', 50 * HOUR_MS) },
    { weight: 2, arbitrary: step('sleep', 50 * HOUR_MS) },
    { weight: 1, arbitrary: step('edit', 5_000) },
  ];
  const wrongClock: fc.Arbitrary<WrongClock> = fc.record({
    kind: fc.constant('wrong' as const),
    ms: fc.integer({ min: 0, max: 30 * HOUR_MS }),
    offMs: fc.oneof(
      fc.integer({ min: -HOUR_MS, max: HOUR_MS }),
      fc.integer({ min: -40 * HOUR_MS, max: 40 * HOUR_MS }),
      fc.constantFrom(-20 * 365 * DAY_MS, -300 * DAY_MS, 300 * DAY_MS, 20 * 365 * DAY_MS),
    ),
    restarts: fc.tuple(fc.boolean(), fc.boolean()),
  });
  const JOB = jobOf(NIGHTLY, { ...HOURLY, expression: '20 */4 * * *', jitterMs: 15 * MINUTE_MS });

  async function go(one: Box, { kind, ms }: Step): Promise<void> {
    if (kind === 'pass') passAwake(one, ms);
    else if (kind === 'edit') await one.edit(JOB, () => pass(ms));
    else {
      if (kind === 'away') await one.halt();
      vi.setSystemTime(Date.now() + ms);
      if (kind === 'away') one.boot(JOB);
      pass(MINUTE_MS);
    }
  }

  /** A daemon that is there fires each moment when it comes. */
  function passAwake(one: Box, ms: number): void {
    const fromMs = Date.now();
    pass(ms);
    const nights: string[] = [];
    for (let day = Math.floor(fromMs / DAY_MS) * DAY_MS; day <= Date.now(); day += DAY_MS) {
      const momentMs = day + 2.5 * HOUR_MS;
      if (momentMs > fromMs && momentMs <= Date.now()) nights.push(iso(momentMs));
    }
    const fired = one.runs.filter(
      ({ trigger, atMs }) => trigger === 'cron 30 2 * * *' && atMs > fromMs && atMs <= Date.now(),
    );
    expect(fired.map(({ moment, atMs }) => [moment, iso(atMs)])).toEqual(
      nights.map((night) => [night, night]),
    );
  }

  const missed = (one: Box): string[] =>
    nextRuns(JOB, one.ledger, { seed: SEED, nowMs: Date.now() }).map(({ missedMs }) => iso(missedMs));

  it('on a right clock, each moment is dealt with once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...steps), { minLength: 3, maxLength: 12 }), async (taken) => {
        const one = new Box();
        vi.setSystemTime(at('2026-03-27T12:00:00Z'));
        one.boot(JOB);
        for (const next of taken) {
          await go(one, next);
          // Whatever it was, nothing is open behind it.
          expect(missed(one)).toEqual(['never', 'never']);
        }
        await one.halt();
        const moments = one.runs.map(({ moment }) => moment);
        expect(new Set(moments).size).toBe(moments.length);
        expect(one.problems).toEqual([]);
      }),
      { seed: 31, numRuns: 40 },
    );
  });

  it('once the clock is right again, nothing is silent, and what ran by the right clock does not run again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...steps, { weight: 4, arbitrary: wrongClock }), { minLength: 3, maxLength: 9 }),
        async (taken) => {
          const one = new Box();
          vi.setSystemTime(at('2026-11-20T12:00:00Z'));
          one.boot(JOB);
          const right: Run[] = [];
          for (const next of taken) {
            const fromMs = Date.now();
            const before = one.runs.length;
            if (next.kind !== 'wrong') {
              await go(one, next);
              right.push(...one.runs.slice(before));
              continue;
            }
            if (next.restarts[0]) await one.halt();
            vi.setSystemTime(fromMs + next.offMs);
            if (next.restarts[0]) one.boot(JOB);
            pass(next.ms);
            if (next.restarts[1]) await one.halt();
            vi.setSystemTime(fromMs + next.ms);
            if (next.restarts[1]) one.boot(JOB);
            const since = one.runs.length;
            // The hour that a clock may have been ahead without anything being doubled.
            pass(HOUR_MS + 2 * MINUTE_MS);
            right.push(...one.runs.slice(since));
          }
          await one.halt();
          const moments = right.map(({ moment }) => moment);
          expect(moments.filter((moment, i) => moments.indexOf(moment) !== i)).toEqual([]);
        },
      ),
      { seed: 32, numRuns: 60 },
    );
  });
});
