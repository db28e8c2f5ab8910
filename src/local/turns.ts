/*
 * Turns: work that never waits for anything would keep the rest of the process from its own, timers and connections.
 * Whoever does such work asks now and then whether it is others' turn.
 */
import { setImmediate as turn } from 'node:timers/promises';

/** For how long nobody else has had a turn before somebody should. */
const TURN_MS = 10;

export class Turns {
  #sinceMs = performance.now();

  get isDue(): boolean {
    return performance.now() - this.#sinceMs >= TURN_MS;
  }

  /** Lets others have their turn, where it is due. */
  async take(): Promise<void> {
    if (!this.isDue) return;
    await turn();
    this.#sinceMs = performance.now();
  }
}
