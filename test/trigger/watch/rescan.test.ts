/* The clock of the rescan, with a fake one: jitter, and intervals that no timer can count. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Rescan } from '../../../src/trigger/watch/rescan.js';

const DAY_MS = 86_400_000;

let due = 0;
let rescan: Rescan | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  due = 0;
});
afterEach(() => {
  rescan?.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function start(everyMs: number): Rescan {
  rescan = new Rescan(everyMs, () => {
    due += 1;
  });
  rescan.start();
  return rescan;
}

it('comes also where the interval is longer than a timer can count', () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const clock = start(30 * DAY_MS);
  vi.advanceTimersByTime(30 * DAY_MS - 1);
  expect(due).toBe(0);
  expect(clock.next()?.getTime()).toBe(Date.now() + 1);
  vi.advanceTimersByTime(1);
  expect(due).toBe(1);
  vi.advanceTimersByTime(60 * DAY_MS);
  expect(due).toBe(3);
});

it('comes ten per cent earlier or later, each time anew', () => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(0);
  start(1000);
  vi.advanceTimersByTime(899);
  expect(due).toBe(0);
  random.mockReturnValue(1);
  vi.advanceTimersByTime(1);
  expect(due).toBe(1);
  vi.advanceTimersByTime(1099);
  expect(due).toBe(1);
  vi.advanceTimersByTime(1);
  expect(due).toBe(2);
});

it('knows no moment before the start and after the stop', () => {
  const clock = new Rescan(1000, () => undefined);
  expect(clock.next()).toBeUndefined();
  clock.start();
  expect(clock.next()).toBeInstanceOf(Date);
  clock.stop();
  expect(clock.next()).toBeUndefined();
});
