/* What `status` shows of a job: each line where it belongs, and none where there is nothing to say. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type JobStatus, readable, toJson } from '../../src/cli/status-text.js';
import type { JobStanding } from '../../src/daemon/standing.js';
import { emptyTally } from '../../src/plan/outcome.js';

const NOW = Date.UTC(2026, 10, 23, 12);
const HOUR_MS = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: NOW });
});

afterEach(() => {
  vi.useRealTimers();
});

const GOOD: JobStatus['lastRun'] = {
  id: 7,
  job: 'nightly',
  bindingId: 1,
  trigger: 'cron 30 2 * * *',
  pid: 1,
  startedAtMs: NOW - 2 * HOUR_MS,
  state: 'ended',
  endedAtMs: NOW - 2 * HOUR_MS + 1_000,
  outcome: 'ok',
  tally: { ...emptyTally(), uploaded: 3 },
  failure: undefined,
};

function status(more: Partial<JobStatus> = {}): JobStatus {
  return {
    job: 'nightly',
    description: 'Dumps',
    lastRun: GOOD,
    provenAtMs: NOW - 2 * HOUR_MS + 1_000,
    knownSinceMs: NOW - 100 * HOUR_MS,
    freshnessMs: 26 * HOUR_MS,
    nextRuns: [],
    watched: false,
    loaded: true,
    daemon: undefined,
    held: undefined,
    skips: [],
    skipCount: 0,
    leftBehind: [],
    ...more,
  };
}

const standing = (more: Partial<JobStanding> = {}): JobStanding => ({
  doing: { kind: 'idle' },
  nextRunMs: undefined,
  coverage: undefined,
  stale: undefined,
  ...more,
});

const lines = (more: Partial<JobStatus> = {}): string[] =>
  readable(status(more), more.daemon !== undefined).split('\n');

test('a job that is well needs few lines', () => {
  expect(lines({ daemon: standing() })).toEqual([
    'nightly: Dumps',
    expect.stringMatching(/^ {2}last run {2}2026-11-23 .* \(2 hours ago\), cron 30 2 \* \* \*$/),
    '            ok, 3 uploaded, in 1.0 s.',
    '  next run  by hand only: the job has no trigger',
    '',
    '',
  ]);
});

test('when the last run was no good one, the last good one stands beside it', () => {
  const failed: JobStatus['lastRun'] = {
    ...GOOD,
    outcome: 'failed',
    failure: { kind: 'unreachable', code: 'ECONNREFUSED', message: 'nas refuses connections.' },
  };
  expect(lines({ lastRun: failed, provenAtMs: NOW - 20 * HOUR_MS }).join('\n')).toMatch(
    /last good run +2026-11-22 .* \(20 hours ago\)/,
  );
  expect(lines({ lastRun: failed, provenAtMs: undefined }).join('\n')).toMatch(/last good run +never/);
});

describe('overdue', () => {
  test.each([
    ['a good run in time', { provenAtMs: NOW - 25 * HOUR_MS }, false],
    ['none for too long', { provenAtMs: NOW - 27 * HOUR_MS }, true],
    ['none ever, known for long', { provenAtMs: undefined }, true],
    ['none ever, known for a moment', { provenAtMs: undefined, knownSinceMs: NOW - 1 }, false],
    ['none ever, not known at all', { provenAtMs: undefined, knownSinceMs: undefined }, false],
    ['nothing is expected', { provenAtMs: NOW - 1_000 * HOUR_MS, freshnessMs: undefined }, false],
  ])('%s', (_, more, expected) => {
    expect(lines(more).some((line) => line.startsWith('  OVERDUE'))).toBe(expected);
    expect(toJson(status(more), undefined)).toMatchObject({ overdue: expected });
  });
});

describe('what the daemon does with it', () => {
  test.each<[JobStanding | 'not taken', RegExp]>([
    ['not taken', /daemon +has not taken this job; see its log/],
    [
      standing({ doing: { kind: 'running', trigger: 'watch', sinceMs: NOW, more: true } }),
      /now +running since 2026-.* \(watch\); once more after that/,
    ],
    [
      standing({ doing: { kind: 'queued', trigger: 'watch', sinceMs: NOW } }),
      /now +waits for other jobs since 2026-.*runsAtOnce/,
    ],
    [
      standing({ doing: { kind: 'waiting', message: 'The server is out of reach.', untilMs: NOW } }),
      /waits +The server is out of reach\./,
    ],
    [
      standing({
        coverage: { root: '/a', how: 'events', sinceMs: NOW, everyMs: undefined, message: undefined },
      }),
      /watched +every change is noticed at once \(since 2026-.*\); last proven complete: 2 hours ago/,
    ],
    [
      standing({
        coverage: { root: '/a', how: 'polling', sinceMs: NOW, everyMs: 30_000, message: 'It is NFS.' },
      }),
      /watched +by a look every 30 s \(since 2026-.*\)\. It is NFS; last proven complete/,
    ],
    [
      standing({ stale: 'a.yaml:1:1: error: one\na.yaml:2:1: error: two', nextRunMs: NOW }),
      /MISTAKE +.*goes on as it was before:\n +a\.yaml:1:1: error: one\n +a\.yaml:2:1: error: two\n/,
    ],
  ])('%j', (daemon, expected) => {
    expect(lines({ daemon }).join('\n')).toMatch(expected);
  });

  test('a job whose file is broken still shows when it runs next', () => {
    const text = lines({ loaded: false, daemon: standing({ stale: 'x', nextRunMs: NOW }) }).join('\n');
    expect(text).toMatch(/next run +2026-11-23/);
    expect(lines({ loaded: false }).join('\n')).toMatch(/next run +none: its job file is gone/);
  });

  test('programs get moments as text', () => {
    const daemon = standing({
      doing: { kind: 'running', trigger: 'watch', sinceMs: NOW, more: false },
      coverage: { root: '/a', how: 'events', sinceMs: NOW, everyMs: undefined, message: undefined },
    });
    expect(toJson(status({ daemon }), 5)).toMatchObject({
      daemon: 5,
      doing: { kind: 'running', since: '2026-11-23T12:00:00.000Z' },
      coverage: { how: 'events', since: '2026-11-23T12:00:00.000Z' },
      lastGoodRun: '2026-11-23T10:00:01.000Z',
    });
  });

  test('jitter is told', () => {
    const nextRuns = [
      {
        trigger: 'cron 30 2 * * *',
        timezone: undefined,
        momentMs: NOW,
        atMs: NOW + 60_000,
        missedMs: undefined,
      },
    ];
    expect(lines({ nextRuns }).join('\n')).toMatch(/next run +\S+ \S+ \(put off from \S+ \S+\)/);
  });
});

test('nothing from a ledger or a daemon reaches the terminal raw', () => {
  const daemon = standing({
    stale: 'bad \u001b[31m',
    doing: { kind: 'waiting', message: '\u001b[2J', untilMs: NOW },
  });
  expect(lines({ description: '\u001b[1m', daemon }).join('\n')).not.toContain('\u001b');
});
