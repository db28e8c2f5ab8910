/*
 * How many jobs run at the same time in this daemon. First come, first served, so that no job is starved.
 */

export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a slot, keeps it during `work`, gives it back. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // The slot is handed on, not freed: nobody can come in between.
      if (next !== undefined) next();
      else this.#free += 1;
    }
  }
}
