import fc from 'fast-check';
import { expect, it } from 'vitest';
import { backoffMs } from '../../src/run/backoff.js';

const RETRIES = { attempts: 5, firstDelayMs: 1_000, maxDelayMs: 300_000 };

it.each([
  [1, 0, 500],
  [1, 1, 1_000],
  [2, 0, 1_000],
  [2, 1, 2_000],
  [3, 0.5, 3_000],
  [9, 1, 256_000],
  [10, 1, 300_000],
  [10, 0, 150_000],
  [1_000_000, 1, 300_000],
])('after attempt %i with chance %d it is %i ms', (attempt, random, delayMs) => {
  expect(backoffMs(attempt, RETRIES, random)).toBe(delayMs);
});

it('lies between half the full delay and all of it, whatever is configured', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.integer({ min: 0, max: 10_000_000 }),
      fc.integer({ min: 0, max: 100_000_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (attempt, firstDelayMs, maxDelayMs, random) => {
        const delayMs = backoffMs(attempt, { attempts: 3, firstDelayMs, maxDelayMs }, random);
        const full = Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1));
        expect(Number.isSafeInteger(delayMs)).toBe(true);
        expect(delayMs).toBeLessThanOrEqual(maxDelayMs);
        if (Number.isFinite(full) && attempt <= 31) {
          expect(delayMs).toBeGreaterThanOrEqual(Math.floor(full / 2));
          expect(delayMs).toBeLessThanOrEqual(Math.ceil(full));
        }
      },
    ),
  );
});
