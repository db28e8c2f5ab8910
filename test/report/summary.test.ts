import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { emptyTally } from '../../src/plan/outcome.js';
import {
  formatBytes,
  formatDuration,
  type RunSummary,
  runLine,
  summaryLine,
} from '../../src/report/summary.js';

const good: RunSummary = {
  job: 'nightly-backup',
  run: 7,
  outcome: 'ok',
  tally: { ...emptyTally(), uploaded: 3, unchanged: 997, bytes: 4_404_019 },
  durationMs: 12_345.6,
  failure: undefined,
};

const bad: RunSummary = {
  job: 'nightly-backup',
  run: undefined,
  outcome: 'failed',
  tally: emptyTally(),
  durationMs: 850,
  failure: { kind: 'trust', code: '530', message: 'nas refused the password: "530 No\x1b[2J way"' },
};

describe('runLine', () => {
  it('is one JSON object with exactly these keys in this order', () => {
    expect(runLine(good)).toBe(
      '{"job":"nightly-backup","run":7,"outcome":"ok","uploaded":3,"downloaded":0,"deleted":0,"renamed":0,"skipped":0,"unchanged":997,"bytes":4404019,"durationMs":12346,"failure":null}',
    );
  });

  it('carries kind, code and message of a failure, printable', () => {
    expect(JSON.parse(runLine(bad)).failure).toEqual({
      kind: 'trust',
      code: '530',
      message: 'nas refused the password: "530 No\\x1b[2J way"',
    });
    expect(Object.keys(JSON.parse(runLine(bad)).failure)).toEqual(['kind', 'code', 'message']);
  });

  it('takes nothing over that it was not asked for', () => {
    const more = { ...good, password: 'secret', tally: { ...good.tally, inner: 1 } };
    expect(runLine(more)).toBe(runLine(good));
  });
});

describe('summaryLine', () => {
  it.each([
    [good, 'nightly-backup: ok, 3 uploaded, 997 unchanged, 4.2 MiB, in 12 s.'],
    [bad, 'nightly-backup: failed, no files, in 850 ms. nas refused the password: "530 No\\x1b[2J way".'],
    [
      { ...good, outcome: 'held' as const, tally: emptyTally(), durationMs: 2000 },
      'nightly-backup: held by the guard, no files, in 2.0 s.',
    ],
    [
      {
        ...good,
        outcome: 'partial' as const,
        tally: { ...emptyTally(), uploaded: 1, skipped: 2, bytes: 10 },
      },
      'nightly-backup: partial, 1 uploaded, 2 skipped, 10 B, in 12 s.',
    ],
  ])('tells %#', (run, line) => {
    expect(summaryLine(run)).toBe(line);
  });
});

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [10_188, '9.9 KiB'],
    [10_200, '10 KiB'],
    [120 * 1024 ** 2, '120 MiB'],
    [1024 ** 2 - 1, '1.0 MiB'],
    [4.5 * 1024 ** 3, '4.5 GiB'],
    [3 * 1024 ** 4, '3.0 TiB'],
    [Number.MAX_SAFE_INTEGER, '8.0 PiB'],
    [5000 * 1024 ** 5, '5000 PiB'],
  ])('%d is %s', (bytes, shown) => {
    expect(formatBytes(bytes)).toBe(shown);
  });
});

describe('formatDuration', () => {
  it.each([
    [0, '0 ms'],
    [0.4, '0 ms'],
    [850, '850 ms'],
    [999.6, '1.0 s'],
    [1249, '1.2 s'],
    [9_949, '9.9 s'],
    [9_960, '10 s'],
    [59_499, '59 s'],
    [59_600, '1 min'],
    [185_000, '3 min 5 s'],
    [3_599_600, '1 h'],
    [7_800_000, '2 h 10 min'],
    [86_399_000, '1 d'],
    [273_600_000, '3 d 4 h'],
  ])('%d ms is %s', (ms, shown) => {
    expect(formatDuration(ms)).toBe(shown);
  });

  it('never shows a full unit as the rest', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000_000 }), (ms) => {
        expect(formatDuration(ms)).not.toMatch(/\b60 (s|min)|\b24 h|\b1000 ms/);
      }),
      { seed: 9, numRuns: 5000 },
    );
  });
});
