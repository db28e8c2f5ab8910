/*
 * Intents, written ahead: no transfer begins before its own is durable, and many of them share one commit. Those that
 * the scan is ahead of the workers with are written many at once; where the workers are as fast as the scan, what has
 * come up in one turn of the event loop goes together.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Transfer } from './task.js';

const AT_ONCE_PER_CONNECTION = 64;
const AT_ONCE_AT_MOST = 256;

/**
 * Intents that share one commit, for so many connections: the more, the fewer waits for the disk; and the fewer, the
 * sooner the next run is done with those that a kill leaves open, each of which it asks the server about.
 */
export function intentsAtOnce(connections: number): number {
  return Math.min(AT_ONCE_AT_MOST, connections * AT_ONCE_PER_CONNECTION);
}

export interface IntentsOptions {
  /** Durable on return, or throws and has written none. */
  readonly write: (transfers: readonly Transfer[]) => void;
  /** How many are written without waiting for a worker. */
  readonly atOnce: number;
}

export class Intents {
  readonly #options: IntentsOptions;
  /** Another set for each lot: one that is emptied would refer to all that it ever held until it is collected itself. */
  #unwritten = new Set<Transfer>();
  #writing: Promise<void> | undefined;

  constructor(options: IntentsOptions) {
    this.#options = options;
  }

  /** Takes down what is about to happen; it is written before `written` resolves for it. @throws what `write` throws */
  add(transfer: Transfer): void {
    this.#unwritten.add(transfer);
    if (this.#unwritten.size >= this.#options.atOnce) this.#write();
  }

  /** To be awaited before anything of a transfer begins: its intent is durable then. @throws what `write` throws */
  async written(transfer: Transfer): Promise<void> {
    if (!this.#unwritten.has(transfer)) return;
    this.#writing ??= turn().then(() => {
      this.#writing = undefined;
      this.#write();
    });
    await this.#writing;
  }

  /** What could not be written stays unwritten, so that nothing begins without it. */
  #write(): void {
    if (this.#unwritten.size === 0) return;
    this.#options.write([...this.#unwritten]);
    this.#unwritten = new Set();
  }
}
