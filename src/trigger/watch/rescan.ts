/*
 * The clock of the regular rescan: every interval, ten per cent more or less, so that many jobs do not come together.
 * It counts monotonic time, so a clock that is set does not matter, and sleeps in pieces that a timer can count.
 */
import { timerDelayMs } from '../trigger.js';

const JITTER = 0.1;

export class Rescan {
  readonly #everyMs: number;
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | undefined;
  #dueMs: number | undefined;

  /** @param everyMs the interval in milliseconds */
  constructor(everyMs: number, onDue: () => void) {
    this.#everyMs = everyMs;
    this.#onDue = onDue;
  }

  start(): void {
    const jitter = 1 - JITTER + 2 * JITTER * Math.random();
    this.#dueMs = performance.now() + this.#everyMs * jitter;
    this.#sleep(this.#dueMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueMs = undefined;
  }

  /** When it is due by the clock on the wall; undefined where it is stopped. */
  next(): Date | undefined {
    if (this.#dueMs === undefined) return undefined;
    return new Date(Date.now() + Math.max(0, this.#dueMs - performance.now()));
  }

  #sleep(dueMs: number): void {
    this.#timer = setTimeout(() => this.#wake(dueMs), timerDelayMs(dueMs - performance.now()));
  }

  #wake(dueMs: number): void {
    if (performance.now() < dueMs) {
      this.#sleep(dueMs);
      return;
    }
    this.start();
    this.#onDue();
  }
}
