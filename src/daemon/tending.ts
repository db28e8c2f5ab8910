/*
 * The ledger's care in a daemon that runs for months: once a day, in the background, in small steps (run/tend.ts).
 * Looks every hour whether it is due, because a clock may be set and a machine may sleep.
 */
import type { Ledger } from '../ledger/ledger.js';
import type { Listener } from '../report/event.js';
import { tendWhenDue } from '../run/tend.js';

const LOOK_MS = 60 * 60_000;

/** What is not done by then is done an hour later. */
const AT_MOST_MS = 60_000;

export interface TendingOptions {
  readonly ledger: Ledger;
  readonly listener: Listener;
  /** How long runs stay in the history, as it is now. */
  readonly keepMs: () => number;
}

export class Tending {
  readonly #options: TendingOptions;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: TendingOptions) {
    this.#options = options;
  }

  /** Begins with a first look. */
  start(): void {
    this.#look();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#work;
  }

  #look(): void {
    const { ledger, listener, keepMs } = this.#options;
    this.#work = tendWhenDue({
      ledger,
      listener,
      keepMs: keepMs(),
      maxMs: AT_MOST_MS,
      nowMs: Date.now(),
      stop: this.#stop.signal,
    }).finally(() => {
      if (this.#stop.signal.aborted) return;
      this.#timer = setTimeout(() => this.#look(), LOOK_MS);
    });
  }
}
