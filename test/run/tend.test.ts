/* The ledger's daily care: once a day whoever asks, in the order that keeps it small, and told only where it did something. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { emptyTally } from '../../src/plan/outcome.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { TEND_EVERY_MS, tendDueMs, tendWhenDue } from '../../src/run/tend.js';
import { temporaryDirectory } from '../ledger/sample.js';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 23);

let directory: ReturnType<typeof temporaryDirectory>;
let ledger: Ledger;
let events: FerrydEvent[];
beforeEach(() => {
  directory = temporaryDirectory();
  ledger = openLedger(join(directory.path, 'ledger.db'));
  events = [];
});
afterEach(() => {
  ledger.close();
  directory.remove();
});

const tend = (nowMs: number, maxMs = 10_000): ReturnType<typeof tendWhenDue> =>
  tendWhenDue({ ledger, listener: (event) => events.push(event), keepMs: 90 * DAY, maxMs, nowMs });

function ran(endedAtMs: number): void {
  const run = { job: 'nightly', bindingId: undefined, trigger: 'cron', pid: 1, startedAtMs: endedAtMs };
  const end = { outcome: 'ok', tally: emptyTally(), failure: undefined, endedAtMs } as const;
  ledger.endRun(ledger.startRun(run), end);
}

describe('care', () => {
  it('lets history go after its time, and says so', async () => {
    for (const days of [200, 150, 100, 80, 1]) ran(NOW - days * DAY);
    expect(await tend(NOW)).toBe('tended');
    expect(ledger.lastRuns(undefined, 99)).toHaveLength(2);
    expect(events).toEqual([{ event: 'ledger.tended', message: '3 old runs left the history.' }]);
  });

  it('is due once a day, for all processes together, and not put off by a clock that jumps', async () => {
    expect(tendDueMs(ledger, NOW)).toBe(NOW);
    expect(await tend(NOW)).toBe('tended');
    expect(await tend(NOW + TEND_EVERY_MS - 1)).toBe('not-due');
    const other = openLedger(ledger.file);
    expect(tendDueMs(other, NOW)).toBe(NOW + TEND_EVERY_MS);
    other.close();
    expect(await tend(NOW + TEND_EVERY_MS)).toBe('tended');
    // It was done in the future, as far as this clock knows.
    expect(tendDueMs(ledger, NOW - 400 * DAY)).toBe(NOW - 399 * DAY);
    expect(events).toEqual([]);
  });

  it('that had not enough time is due again at once', async () => {
    for (const days of [200, 150, 100, 1]) ran(NOW - days * DAY);
    expect(await tend(NOW, 0)).toBe('tended');
    expect(ledger.lastRuns(undefined, 99)).toHaveLength(4);
    expect(tendDueMs(ledger, NOW)).toBe(NOW);
    expect(await tend(NOW)).toBe('tended');
    expect(ledger.lastRuns(undefined, 99)).toHaveLength(1);
  });
});
