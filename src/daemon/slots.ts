/*
 * How many jobs run at the same time in this daemon. First come, first served, so that no job is starved. A run that
 * only waits for its server lends its slot to others, so that a server that is down does not hold up jobs for other
 * servers; when it goes on, it counts again, at worst as one too many for a while.
 */

/** The slot of one run. */
export interface Slot {
  /** The run does nothing but wait. May be called again. */
  lend(): void;
  /** The run goes on. May be called again. */
  reclaim(): void;
}

export class Slots {
  /** Below zero while runs go on whose slots were lent. */
  #free: number;
  #count: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
    this.#count = count;
  }

  /** Waits for a slot, keeps it during `work`, gives it back. */
  async use<T>(work: (slot: Slot) => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    // A slot is handed on, not freed: nobody can come in between.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let held: 'held' | 'lent' | 'over' = 'held';
    const slot: Slot = {
      lend: () => {
        if (held !== 'held') return;
        held = 'lent';
        this.#giveBack();
      },
      reclaim: () => {
        if (held !== 'lent') return;
        held = 'held';
        this.#free -= 1;
      },
    };
    try {
      return await work(slot);
    } finally {
      if (held === 'held') this.#giveBack();
      held = 'over';
    }
  }

  /** From now on so many at once; runs under way go on. */
  resize(count: number): void {
    this.#free += count - this.#count;
    this.#count = count;
    this.#handOn();
  }

  #giveBack(): void {
    this.#free += 1;
    this.#handOn();
  }

  #handOn(): void {
    while (this.#free > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#free -= 1;
      next();
    }
  }
}
