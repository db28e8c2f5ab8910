import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { RunEnded } from '../../src/run/end.js';
import { Outage } from '../../src/run/outage.js';

const REFUSED: Failure = {
  decision: 'reconnect',
  kind: 'unreachable',
  code: 'ECONNREFUSED',
  message: 'nas:21 refuses connections.',
  beforeSession: true,
  answered: false,
  inARow: undefined,
};

let events: FerrydEvent[];
beforeEach(() => {
  events = [];
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function outage(attempts = 4): Outage {
  return new Outage({
    retries: { attempts, firstDelayMs: 1_000, maxDelayMs: 3_000 },
    server: 'nas',
    where: { job: 'nightly', run: 7 },
    listener: (event) => events.push(event),
    random: () => 1,
  });
}

it('waits longer each time, up to the limit, and tells each wait once', () => {
  const one = outage(5);
  const waits: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    const delayMs = one.failed(REFUSED, new Error('refused'));
    waits.push(delayMs);
    vi.advanceTimersByTime(delayMs);
  }
  expect(waits).toEqual([1_000, 2_000, 3_000, 3_000]);
  expect(events.map((event) => event.event === 'connection.retry' && event.attempt)).toEqual([1, 2, 3, 4]);
  expect(events[0]).toEqual({
    event: 'connection.retry',
    job: 'nightly',
    run: 7,
    server: 'nas',
    attempt: 1,
    delayMs: 1_000,
    code: 'ECONNREFUSED',
    message: 'nas:21 refuses connections.',
  });
});

it('is one wait for all workers, however many fail', () => {
  const one = outage(2);
  expect(one.failed(REFUSED, new Error('refused'))).toBe(1_000);
  vi.advanceTimersByTime(400);
  for (let i = 0; i < 10; i += 1) expect(one.failed(REFUSED, new Error('refused'))).toBe(600);
  expect(events).toHaveLength(1);
});

it('ends the run after the last attempt, with the reason and what was tried', () => {
  const one = outage(3);
  for (let i = 0; i < 2; i += 1) vi.advanceTimersByTime(one.failed(REFUSED, new Error('refused')));
  const error = caught(() => one.failed(REFUSED, new Error('refused')));
  expect(error.failure).toMatchObject({ kind: 'unreachable', code: 'ECONNREFUSED' });
  expect(error.failure.message).toMatch(/^nas:21 refuses connections\. .*Tried 3 times/);
});

it('says how long nobody should knock, and no longer than until something works', () => {
  const one = outage();
  expect(one.remainingMs).toBe(0);
  one.failed(REFUSED, new Error('refused'));
  expect(one.remainingMs).toBe(1_000);
  vi.advanceTimersByTime(300);
  expect(one.remainingMs).toBe(700);
  one.over();
  expect(one.remainingMs).toBe(0);
  one.failed(REFUSED, new Error('refused'));
  vi.advanceTimersByTime(5_000);
  expect(one.remainingMs).toBe(0);
});

it('with one attempt ends at once', () => {
  expect(caught(() => outage(1).failed(REFUSED, new Error('refused'))).message).toContain('Tried once');
  expect(events).toEqual([]);
});

it('counts anew once something worked', () => {
  const one = outage(3);
  for (let round = 0; round < 5; round += 1) {
    for (const delayMs of [1_000, 2_000]) {
      expect(one.failed(REFUSED, new Error('refused'))).toBe(delayMs);
      vi.advanceTimersByTime(delayMs);
    }
    one.over();
  }
});

function caught(work: () => unknown): RunEnded {
  try {
    work();
  } catch (error) {
    if (error instanceof RunEnded) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

it('one failure that several workers have waited for counts once', async () => {
  const one = outage();
  const error = new Error('refused');
  const delayMs = one.failed(REFUSED, error);
  vi.advanceTimersByTime(delayMs);
  expect(one.failed(REFUSED, error)).toBe(0);
  expect(events).toHaveLength(1);
});
