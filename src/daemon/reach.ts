/*
 * Whether a server is within reach, as all its jobs in this daemon see it: one wait for all of them, longer each time,
 * up to a cap. Whoever gets through first ends it for the others too. Waits are counted on the monotonic clock; a
 * suspended machine waits on where it stopped, a cron schedule tries all the same.
 */
import type { FerrydEvent } from '../report/event.js';

/** The longest wait for a server that is out of reach. */
const LONGEST_WAIT_MS = 60 * 60 * 1000;

export class Reach {
  /** Rounds of attempts in a row that did not get through. */
  #rounds = 0;
  #untilMs = 0;
  /** When the last round was counted. */
  #countedMs = Number.NEGATIVE_INFINITY;
  readonly #waiting = new Set<() => void>();

  /**
   * A run did not get through. Runs that were under way at the same time are one round.
   *
   * @param beganMs when the run began, by performance.now()
   * @param firstWaitMs what to wait after the first round; it doubles with each further one
   * @returns how long to wait, in milliseconds
   */
  failed(beganMs: number, firstWaitMs: number): number {
    const nowMs = performance.now();
    if (beganMs > this.#countedMs) {
      this.#rounds += 1;
      this.#countedMs = nowMs;
      const waitMs = Math.min(LONGEST_WAIT_MS, firstWaitMs * 2 ** Math.min(this.#rounds - 1, 20));
      this.#untilMs = nowMs + waitMs;
    }
    return Math.max(0, this.#untilMs - nowMs);
  }

  /** How long nobody needs to try, in milliseconds; 0 where nothing is known against it. */
  get remainingMs(): number {
    return Math.max(0, this.#untilMs - performance.now());
  }

  /** Somebody got through: those that wait start now, in the order in which they began to wait. */
  over(): void {
    this.#rounds = 0;
    this.#untilMs = 0;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const start of waiting) start();
  }

  /** Calls once when somebody got through. @returns takes the call back */
  whenOver(start: () => void): () => void {
    this.#waiting.add(start);
    return () => void this.#waiting.delete(start);
  }
}

/** The accounts on servers that this daemon uses, by the names that events give them. */
export class Reaches {
  readonly #byAccount = new Map<string, Reach>();

  of(account: string): Reach {
    const known = this.#byAccount.get(account);
    if (known !== undefined) return known;
    const made = new Reach();
    this.#byAccount.set(account, made);
    return made;
  }

  /** A listener: a connection that opened is the proof. */
  hear(event: FerrydEvent): void {
    if (event.event === 'connection.opened') this.#byAccount.get(event.account)?.over();
  }
}
