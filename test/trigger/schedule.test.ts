/*
 * Schedules against an independent oracle: a walk along the clock, minute by minute, in any zone that Intl knows, where
 * its clocks change and where they do not. No moment is lost, none doubled.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSchedule } from '../../src/trigger/cron.js';
import { lastMoment, momentAfter } from '../../src/trigger/schedule.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const at = (iso: string): number => Date.parse(iso);
const iso = (ms: number | undefined): string => (ms === undefined ? 'never' : new Date(ms).toISOString());

/** Tells what a clock on the wall shows at an instant, to the minute, as milliseconds of a clock that hangs in UTC. */
function wallClock(zone: string): (atMs: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  return (atMs) => Date.parse(`${format.format(atMs).replace(' ', 'T')}Z`);
}

/** The next day, counted from an instant, at whose end the clock on the wall has gone another way; or that instant. */
function dayOfChange(zone: string, fromMs: number): number {
  const shown = wallClock(zone);
  const ahead = (ms: number): number => shown(ms) - ms;
  for (let dayMs = fromMs; dayMs < fromMs + 370 * DAY_MS; dayMs += DAY_MS) {
    if (ahead(dayMs) !== ahead(dayMs + DAY_MS)) return dayMs;
  }
  return fromMs;
}

interface Pattern {
  readonly minutes: readonly number[];
  readonly hours: readonly number[] | 'every';
  /** 0 is Sunday. */
  readonly weekdays: readonly number[] | 'every';
}

function written({ minutes, hours, weekdays }: Pattern): string {
  const list = (values: readonly number[] | 'every'): string => (values === 'every' ? '*' : values.join(','));
  return `${minutes.join(',')} ${list(hours)} * * ${list(weekdays)}`;
}

interface Look {
  readonly atMs: number;
  readonly wallMs: number;
}

const SPAN_MS = 30 * HOUR_MS;

/** What the wall shows each minute of the day and a quarter behind `fromMs`, and of the time right before. */
function looksAt(zone: string, fromMs: number): readonly Look[] {
  const shown = wallClock(zone);
  const looks: Look[] = [];
  // Early enough to know what the wall has shown before: no zone has set its clocks back by more than three hours.
  for (let atMs = fromMs - 6 * HOUR_MS; atMs <= fromMs + SPAN_MS; atMs += MINUTE_MS) {
    looks.push({ atMs, wallMs: shown(atMs) });
  }
  return looks;
}

/** All moments behind `fromMs`, found by looking at the wall. */
function walked(pattern: Pattern, looks: readonly Look[], fromMs: number): number[] {
  const takes = (wallMs: number): boolean => {
    const wall = new Date(wallMs);
    return (
      pattern.minutes.includes(wall.getUTCMinutes()) &&
      (pattern.hours === 'every' || pattern.hours.includes(wall.getUTCHours())) &&
      (pattern.weekdays === 'every' || pattern.weekdays.includes(wall.getUTCDay()))
    );
  };
  const found: number[] = [];
  let latestMs = looks[0]?.wallMs ?? 0;
  for (const { atMs, wallMs } of looks.slice(1)) {
    let due = false;
    if (pattern.hours === 'every') due = takes(wallMs);
    // The first time that the wall shows it, or more: so what it never shows comes when it is passed over.
    else for (let w = latestMs + MINUTE_MS; w <= wallMs; w += MINUTE_MS) due ||= takes(w);
    latestMs = Math.max(latestMs, wallMs);
    if (due && atMs > fromMs) found.push(atMs);
  }
  return found;
}

const pattern = fc.record({
  minutes: fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { minLength: 1, maxLength: 3 }),
  hours: fc.oneof(
    { weight: 4, arbitrary: fc.uniqueArray(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 }) },
    {
      weight: 2,
      arbitrary: fc.uniqueArray(fc.integer({ min: 0, max: 23 }), { minLength: 1, maxLength: 23 }),
    },
    { weight: 1, arbitrary: fc.constant('every' as const) },
  ),
  weekdays: fc.oneof(
    { weight: 3, arbitrary: fc.constant('every' as const) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1 }) },
  ),
});

describe('momentAfter and lastMoment', () => {
  // Half of the zones leave their clocks alone, so some that do not are asked for by name.
  const zone = fc.oneof(
    fc.constantFrom(...Intl.supportedValuesOf('timeZone')),
    fc.constantFrom(
      'Europe/Berlin',
      'America/Santiago',
      'Australia/Lord_Howe',
      'Asia/Beirut',
      'America/Havana',
    ),
  );
  const start = fc
    .integer({ min: at('1980-01-01T00:00:00Z') / MINUTE_MS, max: at('2037-01-01T00:00:00Z') / MINUTE_MS })
    .map((minutes) => minutes * MINUTE_MS);

  /** Holds a pattern against the walk. */
  function compare(one: Pattern, zone: string, fromMs: number, looks: readonly Look[]): void {
    const toMs = fromMs + SPAN_MS;
    const expected = walked(one, looks, fromMs);
    const schedule = openSchedule(written(one), zone);
    const found: number[] = [];
    for (let ms: number | undefined = fromMs; ms !== undefined; ) {
      ms = momentAfter(schedule, ms, toMs);
      if (ms !== undefined) found.push(ms);
    }
    const context = `${written(one)} in ${zone} from ${iso(fromMs)}`;
    expect(found.map(iso), context).toEqual(expected.map(iso));
    expect(iso(lastMoment(schedule, fromMs, toMs)), context).toBe(iso(expected.at(-1)));
    // Whoever asks at any other time is told the same.
    for (let ms = fromMs; ms < toMs; ms += 67 * MINUTE_MS) {
      const next = expected.find((moment) => moment > ms);
      expect(iso(momentAfter(schedule, ms, toMs)), `${context}, asked at ${iso(ms)}`).toBe(iso(next));
    }
  }

  it('agree with a walk along the clock where it changes, in any zone', () => {
    let changes = 0;
    fc.assert(
      fc.property(
        zone,
        start,
        fc.integer({ min: 0, max: 24 * 60 }),
        fc.array(pattern, { minLength: 3, maxLength: 3 }),
        (name, startMs, earlier, patterns) => {
          const dayMs = dayOfChange(name, startMs);
          if (dayMs !== startMs) changes += 1;
          const fromMs = dayMs - earlier * MINUTE_MS;
          const looks = looksAt(name, fromMs);
          for (const one of patterns) compare(one, name, fromMs, looks);
        },
      ),
      { seed: 5, numRuns: 40 },
    );
    expect(changes).toBeGreaterThan(15);
  });

  it.each([
    ['Pacific/Apia', '2011-12-30T00:00:00Z'],
    ['Pacific/Kwajalein', '1993-08-20T20:00:00Z'],
    ['Antarctica/Casey', '2010-03-04T05:00:00Z'],
    ['Antarctica/Troll', '2026-03-28T23:00:00Z'],
    ['Australia/Lord_Howe', '2026-04-04T08:00:00Z'],
    ['Asia/Gaza', '2012-03-29T20:00:00Z'],
    ['America/St_Johns', '2010-11-06T22:00:00Z'],
    ['Asia/Pyongyang', '2018-05-04T12:00:00Z'],
    ['Africa/Casablanca', '2026-02-14T20:00:00Z'],
    ['America/Havana', '2026-11-01T00:00:00Z'],
  ])('agree with it where odd things happened: %s, %s', (name, from) => {
    const looks = looksAt(name, at(from));
    fc.assert(
      fc.property(pattern, (one) => compare(one, name, at(from), looks)),
      { seed: 6, numRuns: 6 },
    );
  });

  it('find the latest of millions quickly', () => {
    const schedule = openSchedule('* * * * * *', 'Europe/Berlin');
    const now = at('2026-05-05T12:00:00.500Z');
    expect(iso(lastMoment(schedule, at('2016-01-01T00:00:00Z'), now))).toBe('2026-05-05T12:00:00.000Z');
    expect(lastMoment(schedule, now, now)).toBeUndefined();
    expect(lastMoment(schedule, now + DAY_MS, now)).toBeUndefined();
  });

  it('leave out the moment they start from, and keep the one they end with', () => {
    const schedule = openSchedule('30 2 * * *', 'UTC');
    const moment = at('2026-05-05T02:30:00Z');
    expect(lastMoment(schedule, moment - 1, moment)).toBe(moment);
    expect(lastMoment(schedule, moment, moment + DAY_MS - 1)).toBeUndefined();
    expect(momentAfter(schedule, moment)).toBe(moment + DAY_MS);
    expect(momentAfter(schedule, moment - 1, moment)).toBe(moment);
  });
});
