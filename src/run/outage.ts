/*
 * An outage of a server, as one run lives through it: connections that cannot be made are nobody's file's
 * fault, so all workers wait together, longer each time, and after the job's attempts the run ends. One
 * session that opens makes the count start anew.
 */
import type { Retries } from '../job/job.js';
import type { Failure } from '../remote/decision.js';
import type { Listener } from '../report/event.js';
import { backoffMs } from './backoff.js';
import { RunEnded } from './end.js';

export interface OutageOptions {
  readonly retries: Retries;
  readonly server: string;
  readonly where: { readonly job: string; readonly run: number };
  readonly listener: Listener;
  readonly random: () => number;
}

export class Outage {
  readonly #options: OutageOptions;
  #failures = 0;
  #untilMs = 0;
  /** The failure that was counted last. */
  #counted: unknown;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** A session worked. */
  over(): void {
    this.#failures = 0;
    this.#untilMs = 0;
  }

  /** How long nobody should try to connect, in milliseconds; 0 where there is no outage. */
  get remainingMs(): number {
    return Math.max(0, this.#untilMs - performance.now());
  }

  /**
   * A session could not be made. Workers that fail while the others are waiting already join that wait.
   *
   * @param error what was thrown: several workers may have waited for one and the same opening
   * @returns how long to wait, in milliseconds
   * @throws {RunEnded} after the last attempt
   */
  failed(failure: Failure, error: unknown): number {
    const { retries, listener, server, where, random } = this.#options;
    const now = performance.now();
    if (now < this.#untilMs) return this.#untilMs - now;
    if (error === this.#counted) return 0;
    this.#counted = error;
    this.#failures += 1;
    if (this.#failures >= Math.min(retries.attempts, failure.inARow ?? retries.attempts)) {
      const times = this.#failures === 1 ? 'once' : `${this.#failures} times`;
      throw new RunEnded(
        failure.kind,
        failure.code,
        `${failure.message} Tried ${times}; the next run tries again.`,
      );
    }
    const delayMs = backoffMs(this.#failures, retries, random());
    this.#untilMs = now + delayMs;
    listener({
      event: 'connection.retry',
      ...where,
      server,
      attempt: this.#failures,
      delayMs,
      code: failure.code,
      message: failure.message,
    });
    return delayMs;
  }
}
