/*
 * Signals of a command in the foreground: the first stops, the second or the end of the time cuts, and afterwards
 * nobody listens any more.
 */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type StopSignals, stopSignals } from '../../src/cli/stop-signal.js';

let listeners = 0;
let signals: StopSignals | undefined;

const count = (): number => process.listenerCount('SIGINT') + process.listenerCount('SIGTERM');

beforeEach(() => {
  vi.useFakeTimers();
  listeners = count();
  signals = stopSignals(10_000);
});

afterEach(() => {
  signals?.dispose();
  expect(count()).toBe(listeners);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const send = (name: 'SIGINT' | 'SIGTERM'): void => void process.emit(name, name);
const state = (): unknown => [signals?.stop.aborted, signals?.cut.aborted];

test.each(['SIGINT', 'SIGTERM'] as const)('%s stops, and cuts when its time is over', (name) => {
  expect(state()).toEqual([false, false]);
  send(name);
  expect(state()).toEqual([true, false]);
  vi.advanceTimersByTime(9_999);
  expect(state()).toEqual([true, false]);
  vi.advanceTimersByTime(1);
  expect(state()).toEqual([true, true]);
});

test('a second signal cuts at once, whichever it is', () => {
  send('SIGINT');
  send('SIGTERM');
  expect(state()).toEqual([true, true]);
});

test('what was disposed of hears nothing, and cuts nothing later', () => {
  send('SIGTERM');
  signals?.dispose();
  vi.advanceTimersByTime(20_000);
  expect(state()).toEqual([true, false]);
});
