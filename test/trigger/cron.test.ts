import fc from 'fast-check';
import { getTasks } from 'node-cron';
import { describe, expect, it } from 'vitest';
import { checkCron, cronName, openSchedule, scheduleKey } from '../../src/trigger/cron.js';
import { momentAfter } from '../../src/trigger/schedule.js';

/** The first moment of a schedule after another (left out: now). */
function nextRun(expression: string, timezone: string | undefined, after = new Date()): Date | undefined {
  const moment = momentAfter(openSchedule(expression, timezone), after.getTime());
  return moment === undefined ? undefined : new Date(moment);
}

const BERLIN = 'Europe/Berlin';
const DAY_MS = 86_400_000;

function at(iso: string): number {
  return Date.parse(iso);
}

function iso(moment: Date | number | undefined): string {
  return moment === undefined ? 'never' : new Date(moment).toISOString().replace('.000', '');
}

/** The moments after `from`, up to and with `to`. */
function moments(expression: string, timezone: string, from: string, to: string): string[] {
  const found: string[] = [];
  let after = at(from);
  for (;;) {
    const next = nextRun(expression, timezone, new Date(after));
    if (next === undefined || next.getTime() > at(to)) return found;
    found.push(iso(next));
    after = next.getTime();
  }
}

describe('checkCron', () => {
  it.each([
    '30 2 * * *',
    '0 30 2 * * *',
    '  30   2 *\t* * ',
    '*/5 * * * *',
    '*/60 * * * *',
    '0 9-17/2 * * MON-FRI',
    '0 0 1,15 jan-mar ?',
    '0 0 L * *',
    '0 0 L-3 * *',
    '0 0 15W * *',
    '0 0 * * 5L',
    '0 0 * * friL',
    '0 0 * * 1#2',
    '0 0 29 2 *',
    '0 0 * * 7',
    '@daily',
    '@Hourly',
  ])('takes %j', (expression) => {
    expect(checkCron(expression, BERLIN)).toBeUndefined();
    expect(checkCron(expression, undefined)).toBeUndefined();
  });

  it.each([
    ['', /has 0 fields; write five/],
    ['30 2 * *', /has 4 fields; write five/],
    ['nightly', /has 1 field; write five/],
    ['0 30 2 * * * 2030', /has 7 fields/],
    ['61 2 * * *', /"61" is no minute, which is 0-59/],
    ['30 24 * * *', /"24" is no hour, which is 0-23/],
    ['99 30 2 * * *', /"99" is no second/],
    ['30 2 0 * *', /"0" is no day of the month/],
    ['30 2 * 13 *', /"13" is no month/],
    ['30 2 * * 8', /"8" is no day of the week/],
    ['61 24 * * *', /"61" is no minute.*; "24" is no hour/],
    ['*/0 * * * *', /"\*\/0" is no minute/],
    ['*/90 * * * *', /step in "\*\/90" is longer than the minutes there are \(60\)/],
    ['5/15 * * * *', /"5\/15" is no minute/],
    ['-5 * * * *', /"-5" is no minute/],
    ['1,,2 * * * *', /"1,,2" is no minute/],
    ['30 2 * janfeb *', /"janfeb" is no month/],
    ['30 2 * * sunmon', /"sunmon" is no day of the week/],
    ['30 2 * * fry', /"fry" is no day of the week/],
    ['0-99999999999 * * * *', /"0-99999999999" is no minute/],
    ['30 2 30 2 *', /names a day that never comes/],
    ['30 2 L-30 2 *', /names a day that never comes/],
    ['@reboot', /"@reboot" is not known; write five fields, or @hourly/],
  ])('explains what is wrong with %j', (expression, sentence) => {
    expect(checkCron(expression, BERLIN)).toMatch(sentence);
    expect(() => nextRun(expression, BERLIN)).toThrow(RangeError);
  });

  it('refuses what is too long to read', () => {
    expect(checkCron(`${'1,'.repeat(600)}1 * * * *`, BERLIN)).toMatch(/1209 characters long; at most 1000/);
  });

  it('explains an unknown time zone', () => {
    expect(checkCron('30 2 * * *', 'Europe/Berlinn')).toBe(
      'The time zone "Europe/Berlinn" is not known; write an IANA name such as Europe/Berlin or UTC.',
    );
  });

  it('never throws and never hangs, whatever is written', () => {
    const character = fc.constantFrom(...'0123456789*/-,#?LWlwjanmo @é\n\\[('.split(''));
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 40 }), (expression) => {
        const problem = checkCron(expression, 'UTC');
        if (problem === undefined) expect(nextRun(expression, 'UTC')).toBeInstanceOf(Date);
        else expect(() => nextRun(expression, 'UTC')).toThrow(problem);
      }),
      { seed: 7, numRuns: 2000 },
    );
  });
});

describe('nextRun', () => {
  it.each([
    ['30 2 * * *', 'UTC', '2026-05-05T02:29:59Z', '2026-05-05T02:30:00Z'],
    ['30 2 * * *', 'UTC', '2026-05-05T02:30:00Z', '2026-05-06T02:30:00Z'],
    ['30 2 * * *', BERLIN, '2026-07-01T00:00:00Z', '2026-07-01T00:30:00Z'],
    ['30 2 * * *', BERLIN, '2026-12-01T00:00:00Z', '2026-12-01T01:30:00Z'],
    ['15 30 2 * * *', 'UTC', '2026-05-05T00:00:00Z', '2026-05-05T02:30:15Z'],
    ['0 0 29 2 *', 'UTC', '2097-01-01T00:00:00Z', '2104-02-29T00:00:00Z'],
    ['0 0 L * *', 'UTC', '2026-02-02T00:00:00Z', '2026-02-28T00:00:00Z'],
    ['0 0 * * 5L', 'UTC', '2026-05-01T00:00:00Z', '2026-05-29T00:00:00Z'],
    ['0 0 * * 7', 'UTC', '2026-05-05T00:00:00Z', '2026-05-10T00:00:00Z'],
    ['@monthly', 'UTC', '2026-05-05T00:00:00Z', '2026-06-01T00:00:00Z'],
    ['0 0 * * *', 'Asia/Kathmandu', '2026-05-05T00:00:00Z', '2026-05-05T18:15:00Z'],
  ])('%s in %s after %s is %s', (expression, timezone, after, expected) => {
    expect(iso(nextRun(expression, timezone, new Date(after)))).toBe(expected);
  });

  it('takes a day on either day field where both are named, as crontab does', () => {
    // The 1st of June 2026 is a Monday; the 8th and 15th are Mondays, the 10th is a Wednesday.
    expect(moments('0 4 1,10 * MON', 'UTC', '2026-06-01T00:00:00Z', '2026-06-16T00:00:00Z')).toEqual([
      '2026-06-01T04:00:00Z',
      '2026-06-08T04:00:00Z',
      '2026-06-10T04:00:00Z',
      '2026-06-15T04:00:00Z',
    ]);
  });

  it('counts from now where no time is given', () => {
    const next = nextRun('* * * * * *', undefined);
    expect(next?.getTime()).toBeGreaterThan(Date.now() - 1000);
    expect(next?.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
  });
});

describe('daylight saving time', () => {
  // Berlin 2026: 29 March 02:00 CET becomes 03:00 CEST (01:00Z), 25 October 03:00 CEST becomes 02:00 CET (01:00Z).
  it('does not lose a time that the spring change jumps over', () => {
    expect(moments('30 2 * * *', BERLIN, '2026-03-27T12:00:00Z', '2026-03-30T12:00:00Z')).toEqual([
      '2026-03-28T01:30:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-30T00:30:00Z',
    ]);
  });

  it('makes one moment of several times that the spring change jumps over', () => {
    expect(moments('0,20,40 1-3 * * *', BERLIN, '2026-03-29T00:30:00Z', '2026-03-29T02:00:00Z')).toEqual([
      '2026-03-29T00:40:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T01:20:00Z',
      '2026-03-29T01:40:00Z',
    ]);
  });

  it('does not double a time that comes twice in autumn', () => {
    expect(moments('30 2 * * *', BERLIN, '2026-10-24T12:00:00Z', '2026-10-26T12:00:00Z')).toEqual([
      '2026-10-25T00:30:00Z',
      '2026-10-26T01:30:00Z',
    ]);
    // Also for one who asks between the two.
    expect(iso(nextRun('30 2 * * *', BERLIN, new Date('2026-10-25T00:45:00Z')))).toBe('2026-10-26T01:30:00Z');
  });

  it('keeps the beat of a pattern that takes every hour, through both changes', () => {
    expect(moments('*/30 * * * *', BERLIN, '2026-03-29T00:00:00Z', '2026-03-29T02:00:00Z')).toEqual([
      '2026-03-29T00:30:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T01:30:00Z',
      '2026-03-29T02:00:00Z',
    ]);
    expect(moments('*/30 * * * *', BERLIN, '2026-10-25T00:00:00Z', '2026-10-25T02:00:00Z')).toEqual([
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:00:00Z',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02:00:00Z',
    ]);
  });

  it('holds where midnight is jumped over, where half an hour changes, and where a day is missing', () => {
    // Beirut, 29 March 2026: 00:00 becomes 01:00.
    expect(moments('0 0 * * *', 'Asia/Beirut', '2026-03-28T12:00:00Z', '2026-03-29T23:00:00Z')).toEqual([
      '2026-03-28T22:00:00Z',
      '2026-03-29T21:00:00Z',
    ]);
    // Lord Howe, 4 October 2026: 02:00 (+10:30) becomes 02:30 (+11).
    expect(
      moments('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T12:00:00Z', '2026-10-04T12:00:00Z'),
    ).toEqual(['2026-10-03T15:30:00Z']);
    // Apia left out 30 December 2011.
    expect(moments('0 12 30 12 *', 'Pacific/Apia', '2011-12-01T00:00:00Z', '2012-01-02T00:00:00Z')).toEqual([
      '2011-12-30T10:00:00Z',
    ]);
  });

  it('has exactly one moment each day, early in the morning, in any of these zones', () => {
    const zones = [
      BERLIN,
      'America/New_York',
      'Australia/Lord_Howe',
      'Asia/Beirut',
      'Africa/Casablanca',
      'UTC',
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 0, max: 59 }),
        fc.integer({ min: at('2020-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z') }),
        (zone, hour, minute, start) => {
          const day = new Intl.DateTimeFormat('en-CA', { timeZone: zone });
          let after = start;
          let last = '';
          for (let i = 0; i < 200; i += 1) {
            const next = nextRun(`${minute} ${hour} * * *`, zone, new Date(after));
            expect(next).toBeDefined();
            if (next === undefined) return;
            const shown = day.format(next);
            if (last !== '') expect(at(shown) - at(last)).toBe(DAY_MS);
            last = shown;
            after = next.getTime();
          }
        },
      ),
      { seed: 11, numRuns: 6 },
    );
  });
});

describe('names', () => {
  it('are tidy for people, and tell schedules apart for the ledger', () => {
    expect(cronName({ expression: ' 30  2 * * * ', timezone: BERLIN })).toBe('cron 30 2 * * *');
    const nightly = { expression: '30 2 * * *', timezone: BERLIN };
    expect(scheduleKey(nightly)).toBe('cron 30 2 * * * Europe/Berlin');
    expect(scheduleKey({ ...nightly, timezone: undefined })).toBe('cron 30 2 * * *');
    // Jitter, and what becomes of missed moments, can be changed without the schedule becoming another one.
    expect(scheduleKey({ ...nightly, jitterMs: 5_000, missed: 'skip' })).toBe(scheduleKey(nightly));
  });

  it('leave nothing behind in node-cron', () => {
    openSchedule('* * * * *', BERLIN);
    expect(getTasks().size).toBe(0);
  });
});
