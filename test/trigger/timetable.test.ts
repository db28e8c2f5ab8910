/*
 * The cron trigger by an injected clock: when it fires, what it says, what it knows of the next run, how moments are
 * put off, and what it does when the clock jumps while it runs. What the ledger has to do with it is in
 * test/daemon/coverage.test.ts.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type CronSpec, openSchedule, scheduleKey } from '../../src/trigger/cron.js';
import { machineSeed, putOffMs } from '../../src/trigger/jitter.js';
import { momentAfter } from '../../src/trigger/schedule.js';
import { dueMoment, nextMoment, type Progress, timetableTrigger } from '../../src/trigger/timetable.js';
import type { Cause, Trigger } from '../../src/trigger/trigger.js';

const BERLIN = 'Europe/Berlin';
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const WHOSE = { seed: 'box 1', job: 'nightly' };

const at = (iso: string): number => Date.parse(iso);
const iso = (moment: Date | number | undefined): string =>
  moment === undefined ? 'never' : new Date(moment).toISOString().replace('.000', '');

/** A schedule that begins when it is first looked at, and deals with a moment as soon as it is handed on. */
class Memory implements Progress {
  readonly key: string;
  readonly leftOut: number[] = [];
  readonly resumed: string[] = [];
  untilMs = Number.NEGATIVE_INFINITY;
  handedMs: number | undefined;

  constructor(spec: CronSpec) {
    this.key = scheduleKey(spec);
  }

  resume(nowMs: number, why: 'start' | 'clock'): 'clear' {
    this.resumed.push(`${why} ${iso(nowMs)}`);
    if (why === 'start') this.untilMs = Math.max(this.untilMs, nowMs);
    return 'clear';
  }

  handOn(momentMs: number): void {
    this.handedMs = momentMs;
  }

  leaveOut(momentMs: number): void {
    this.leftOut.push(momentMs);
    this.untilMs = momentMs;
  }
}

const causes: { cause: Cause; atMs: number }[] = [];
const problems: string[] = [];
const fire = (cause: Cause): void => void causes.push({ cause, atMs: Date.now() });
const tell = (message: string): void => void problems.push(message);
const running: Trigger[] = [];

beforeEach(() => {
  causes.length = 0;
  problems.length = 0;
  vi.useFakeTimers();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((trigger) => trigger.stop()));
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function started(start: string, ...specs: Partial<CronSpec>[]) {
  vi.setSystemTime(at(start));
  const entries = specs.map((one) => {
    const spec = { expression: '30 2 * * *', timezone: BERLIN, ...one };
    return { spec, progress: new Memory(spec) };
  });
  const trigger = timetableTrigger(entries, WHOSE, fire, tell);
  void trigger.start();
  running.push(trigger);
  return { trigger, progress: entries.map(({ progress }) => progress) };
}

const firedAt = (): string[] => causes.map(({ atMs }) => iso(atMs));
const triggers = (): string[] => causes.map(({ cause }) => cause.trigger);

describe('one schedule', () => {
  it('fires at its moments, says why and what that covers, and knows the next', async () => {
    const { trigger } = started('2026-05-05T12:00:00.250Z', {});
    expect(trigger.name).toBe('cron 30 2 * * *');
    expect(iso(trigger.nextRun())).toBe('2026-05-06T00:30:00Z');
    vi.advanceTimersByTime(2 * DAY_MS);
    expect(causes).toEqual(
      ['2026-05-06T00:30:00Z', '2026-05-07T00:30:00Z'].map((moment) => ({
        cause: {
          trigger: 'cron 30 2 * * *',
          scheduledAtMs: at(moment),
          covers: [{ key: 'cron 30 2 * * * Europe/Berlin', untilMs: at(moment) }],
        },
        atMs: at(moment),
      })),
    );
    expect(iso(trigger.nextRun())).toBe('2026-05-08T00:30:00Z');
    await trigger.stop();
    expect(trigger.nextRun()).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(2 * DAY_MS);
    expect(causes).toHaveLength(2);
    expect(problems).toEqual([]);
  });

  it('fires once in the night of the spring change and once in the night of the autumn change', async () => {
    const spring = started('2026-03-28T12:00:00Z', {});
    vi.advanceTimersByTime(DAY_MS);
    await spring.trigger.stop();
    expect(firedAt()).toEqual(['2026-03-29T01:00:00Z']);
    causes.length = 0;
    started('2026-10-24T12:00:00Z', {});
    vi.advanceTimersByTime(DAY_MS);
    expect(firedAt()).toEqual(['2026-10-25T00:30:00Z']);
  });

  it('waits longer than a timer can count', () => {
    const { trigger } = started('2026-01-02T00:00:00Z', { expression: '0 0 1 1 *' });
    vi.advanceTimersByTime(60 * DAY_MS);
    expect(causes).toEqual([]);
    expect(iso(trigger.nextRun())).toBe('2026-12-31T23:00:00Z');
  });

  it('fires each second of a six-field pattern exactly once', () => {
    started('2026-05-06T00:00:00.900Z', { expression: '*/2 * * * * *' });
    vi.advanceTimersByTime(10 * SECOND_MS);
    expect(causes.map(({ cause }) => (cause.scheduledAtMs ?? 0) % MINUTE_MS)).toEqual([
      2000, 4000, 6000, 8000, 10_000,
    ]);
  });

  it('stays stopped, and may be stopped and started twice', async () => {
    const { trigger } = started('2026-05-06T00:00:00Z', { expression: '* * * * *' });
    void trigger.start();
    expect(vi.getTimerCount()).toBe(1);
    await trigger.stop();
    await trigger.stop();
    void trigger.start();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('goes on where the one who is asked throws, and where the one who is told throws too', () => {
    vi.setSystemTime(at('2026-05-06T00:00:00Z'));
    const spec = { expression: '30 * * * *', timezone: 'UTC' };
    let asked = 0;
    const trigger = timetableTrigger(
      [{ spec, progress: new Memory(spec) }],
      WHOSE,
      () => {
        asked += 1;
        throw new Error('the queue is closed');
      },
      (message) => {
        problems.push(message);
        throw new Error('nobody listens');
      },
    );
    running.push(trigger);
    void trigger.start();
    vi.advanceTimersByTime(2 * HOUR_MS);
    expect(asked).toBe(2);
    expect(problems[0]).toBe(
      'The run that cron 30 * * * * asked for could not be started: the queue is closed.',
    );
  });

  it('refuses what cannot be read', () => {
    const spec = { expression: '61 * * * *', timezone: undefined };
    expect(() => timetableTrigger([{ spec, progress: new Memory(spec) }], WHOSE, fire, tell)).toThrow(
      /"61" is no minute/,
    );
  });

  it('prints nothing', () => {
    const printed = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation(() => undefined),
    );
    started('2026-05-06T00:00:00Z', { expression: '* * * * *' });
    vi.setSystemTime(at('2026-05-08T00:00:00Z'));
    vi.advanceTimersByTime(HOUR_MS);
    for (const spy of printed) expect(spy).not.toHaveBeenCalled();
  });
});

describe('a clock that jumps while it runs', () => {
  it('a suspend is noticed within a minute, and all that was missed is one run', () => {
    const { trigger } = started('2026-05-05T22:00:00Z', { expression: '*/10 2 * * *' });
    vi.setSystemTime(at('2026-05-06T06:00:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(triggers()).toEqual(['missed cron */10 2 * * *']);
    expect(iso(causes[0]?.cause.scheduledAtMs)).toBe('2026-05-06T00:50:00Z');
    expect(iso(trigger.nextRun())).toBe('2026-05-07T00:00:00Z');
    expect(problems).toEqual([]);
  });

  it('a job that leaves out what was missed says so, and goes on', () => {
    const { progress } = started('2026-05-05T22:00:00Z', { missed: 'skip' });
    vi.setSystemTime(at('2026-05-06T06:00:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(causes).toEqual([]);
    expect(progress[0]?.leftOut.map(iso)).toEqual(['2026-05-06T00:30:00Z']);
    expect(problems).toEqual([
      'The run that cron 30 2 * * * had scheduled for 2026-05-06T00:30:00Z did not take place: the machine slept, its clock was set, or ferryd was not running. It is left out because the job says "missed: skip".',
    ]);
    vi.advanceTimersByTime(DAY_MS);
    expect(firedAt()).toEqual(['2026-05-07T00:30:00Z']);
  });

  it('a moment that is only late runs, also where missed ones are left out', () => {
    started('2026-05-06T00:29:30Z', { missed: 'skip' });
    vi.setSystemTime(at('2026-05-06T00:33:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(triggers()).toEqual(['cron 30 2 * * *']);
    expect(problems).toEqual([]);
  });

  it('asks where the schedule stands after each step back and each jump, and not for a late timer', () => {
    const { progress } = started('2026-05-06T00:00:00Z', {});
    vi.setSystemTime(at('2026-05-06T00:10:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    vi.setSystemTime(at('2026-05-06T00:05:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    vi.setSystemTime(at('2026-05-06T02:00:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(progress[0]?.resumed).toEqual([
      'start 2026-05-06T00:00:00Z',
      'clock 2026-05-06T00:06:00Z',
      'clock 2026-05-06T02:01:00Z',
    ]);
    expect(triggers()).toEqual(['missed cron 30 2 * * *']);
  });
});

describe('several schedules of one job', () => {
  it('have one trigger, which is named after all of them and knows which comes next', () => {
    const { trigger } = started('2026-05-05T12:00:00Z', {}, { expression: '0 9 * * *' });
    expect(trigger.name).toBe('cron 30 2 * * *, cron 0 9 * * *');
    vi.advanceTimersByTime(DAY_MS);
    expect(triggers()).toEqual(['cron 30 2 * * *', 'cron 0 9 * * *']);
    expect(firedAt()).toEqual(['2026-05-06T00:30:00Z', '2026-05-06T07:00:00Z']);
    expect(iso(trigger.nextRun())).toBe('2026-05-07T00:30:00Z');
  });

  it('that fall together are one run, in whatever zone they are written', () => {
    started(
      '2026-05-06T06:59:00Z',
      { expression: '0 9 * * *' },
      { expression: '0 7 * * *', timezone: 'UTC' },
    );
    vi.advanceTimersByTime(2 * MINUTE_MS);
    expect(triggers()).toEqual(['cron 0 9 * * *']);
    expect(causes[0]?.cause.covers).toEqual(
      ['cron 0 9 * * * Europe/Berlin', 'cron 0 7 * * * UTC'].map((key) => ({
        key,
        untilMs: at('2026-05-06T07:00:00Z'),
      })),
    );
  });

  it('that were missed together are one run, which covers each up to its own moment', () => {
    started('2026-05-05T12:00:00Z', {}, { expression: '0 9 * * *' }, { expression: '0 12 1 * *' });
    vi.setSystemTime(at('2026-05-08T12:00:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(triggers()).toEqual(['missed cron 0 9 * * *']);
    expect(causes[0]?.cause.covers).toEqual([
      { key: 'cron 30 2 * * * Europe/Berlin', untilMs: at('2026-05-08T00:30:00Z') },
      { key: 'cron 0 9 * * * Europe/Berlin', untilMs: at('2026-05-08T07:00:00Z') },
    ]);
    vi.advanceTimersByTime(HOUR_MS);
    expect(causes).toHaveLength(1);
  });

  it('a run that takes place anyway is not reported as left out', () => {
    const { progress } = started('2026-05-05T12:00:00Z', { missed: 'skip' }, { expression: '0 9 * * *' });
    vi.setSystemTime(at('2026-05-06T12:00:00Z'));
    vi.advanceTimersByTime(MINUTE_MS);
    expect(triggers()).toEqual(['missed cron 0 9 * * *']);
    expect(progress[0]?.leftOut).toEqual([]);
    expect(problems).toEqual([]);
  });

  it('the same schedule twice is one run', () => {
    vi.setSystemTime(at('2026-05-06T00:00:00Z'));
    const spec = { expression: '30 2 * * *', timezone: BERLIN };
    const progress = new Memory(spec);
    const later = { ...spec, jitterMs: 20 * MINUTE_MS };
    const trigger = timetableTrigger(
      [
        { spec, progress },
        { spec: later, progress },
      ],
      WHOSE,
      fire,
      tell,
    );
    running.push(trigger);
    void trigger.start();
    vi.advanceTimersByTime(2 * HOUR_MS);
    expect(firedAt()).toEqual(['2026-05-06T00:30:00Z']);
  });
});

describe('jitter', () => {
  const HALF_HOUR_MS = 30 * MINUTE_MS;
  const nightly = openSchedule('30 2 * * *', BERLIN);
  const moment = at('2026-05-06T00:30:00Z');
  const atMs = putOffMs(nightly, moment, HALF_HOUR_MS, WHOSE);

  it('stays within what the job allows and before the next moment, on a whole second', () => {
    const expression = fc.constantFrom(
      '*/5 * * * *',
      '*/7 1-3 * * *',
      '30 2 * * *',
      '*/20 * * * * *',
      '0 0 * * 0',
    );
    fc.assert(
      fc.property(
        expression,
        fc.constantFrom(BERLIN, 'UTC', 'Australia/Lord_Howe'),
        fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2028-01-01T00:00:00Z') }),
        fc.integer({ min: 0, max: 48 * 3600 }),
        fc.record({ seed: fc.string(), job: fc.string() }),
        (written, zone, fromMs, jitterS, whose) => {
          const schedule = openSchedule(written, zone);
          const momentMs = momentAfter(schedule, fromMs) ?? 0;
          const nextMs = momentAfter(schedule, momentMs) ?? 0;
          const put = putOffMs(schedule, momentMs, jitterS * SECOND_MS, whose);
          expect(put).toBeGreaterThanOrEqual(momentMs);
          expect(put).toBeLessThanOrEqual(momentMs + jitterS * SECOND_MS);
          expect(put).toBeLessThan(nextMs);
          expect((put - momentMs) % SECOND_MS).toBe(0);
          expect(putOffMs(schedule, momentMs, jitterS * SECOND_MS, { ...whose })).toBe(put);
        },
      ),
      { seed: 12, numRuns: 200 },
    );
  });

  it('spreads boxes, jobs and nights over the whole of it', () => {
    const tenths = (puts: readonly number[]): number[] => {
      const counts = Array.from({ length: 10 }, () => 0);
      for (const put of puts) {
        const tenth = Math.floor(put / (HALF_HOUR_MS / 10 + 1));
        counts[tenth] = (counts[tenth] ?? 0) + 1;
      }
      return counts;
    };
    const all = Array.from({ length: 1000 }, (_, i) => i);
    const spreads = [
      all.map((i) => putOffMs(nightly, moment, HALF_HOUR_MS, { seed: `box ${i}`, job: 'a' }) - moment),
      all.map((i) => putOffMs(nightly, moment, HALF_HOUR_MS, { seed: 'box', job: `job ${i}` }) - moment),
      all.map((i) => {
        const night = moment + i * 7 * DAY_MS;
        return putOffMs(nightly, night, HALF_HOUR_MS, WHOSE) - night;
      }),
    ];
    for (const spread of spreads) {
      expect(Math.min(...tenths(spread))).toBeGreaterThan(60);
      expect(Math.max(...tenths(spread))).toBeLessThan(145);
    }
  });

  it('puts off the start and not the moment, and says the time beforehand', () => {
    const { trigger } = started('2026-05-05T12:00:00Z', { jitterMs: HALF_HOUR_MS });
    expect(atMs).toBeGreaterThan(moment);
    expect(trigger.nextRun()?.getTime()).toBe(atMs);
    vi.advanceTimersByTime(atMs - at('2026-05-05T12:00:00Z') - SECOND_MS);
    expect(causes).toEqual([]);
    vi.advanceTimersByTime(SECOND_MS);
    expect(causes).toHaveLength(1);
    expect(causes[0]).toMatchObject({
      atMs,
      cause: { trigger: 'cron 30 2 * * *', scheduledAtMs: moment, covers: [{ untilMs: moment }] },
    });
    expect(trigger.nextRun()?.getTime()).toBe(putOffMs(nightly, moment + DAY_MS, HALF_HOUR_MS, WHOSE));
  });

  it('no moment is lost or doubled by it, however much it is', () => {
    started('2026-05-05T12:00:00Z', { expression: '*/10 * * * *', jitterMs: 3 * HOUR_MS });
    vi.advanceTimersByTime(6 * HOUR_MS);
    const scheduled = causes.map(({ cause }) => (cause.scheduledAtMs ?? 0) - at('2026-05-05T12:00:00Z'));
    // The last moment's time may be still to come.
    expect(scheduled.slice(0, 35)).toEqual(Array.from({ length: 35 }, (_, i) => (i + 1) * 10 * MINUTE_MS));
    for (const { cause, atMs: startedMs } of causes) {
      const lateMs = startedMs - (cause.scheduledAtMs ?? 0);
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(10 * MINUTE_MS);
    }
  });

  it('of what was missed, what is put off to a later time is not', () => {
    const nowMs = atMs - SECOND_MS;
    const before = moment - DAY_MS;
    expect(dueMoment(nightly, HALF_HOUR_MS, WHOSE, nowMs, before)).toBeUndefined();
    expect(nextMoment(nightly, HALF_HOUR_MS, WHOSE, nowMs, before)).toEqual({ momentMs: moment, atMs });
    // The night before is, and that is one run; tonight's comes at its time.
    expect(dueMoment(nightly, HALF_HOUR_MS, WHOSE, nowMs, before - 1)?.momentMs).toBe(before);
    expect(dueMoment(nightly, HALF_HOUR_MS, WHOSE, atMs, before)).toEqual({ momentMs: moment, atMs });
    expect(nextMoment(nightly, HALF_HOUR_MS, WHOSE, atMs, moment)?.momentMs).toBe(moment + DAY_MS);
    // What is dealt with is not put off, but over.
    expect(nextMoment(nightly, HALF_HOUR_MS, WHOSE, nowMs, moment)?.momentMs).toBe(moment + DAY_MS);
  });

  it('is the same for this machine each time', () => {
    expect(machineSeed()).toBe(machineSeed());
    expect(machineSeed()).not.toBe('');
  });
});
