/*
 * Signals that many hear of: one listener of Node's for all of them. Hundreds of requests and transfers hang on one
 * signal, and come and go; Node's own list is walked through for each that leaves, and those that have left still know
 * those that came behind them, so that neither is freed before the next full collection.
 */

/** Those who hear of one signal. */
class Hearers {
  readonly #places: ((() => void) | undefined)[] = [];
  readonly #free: number[] = [];

  get isEmpty(): boolean {
    return this.#free.length === this.#places.length;
  }

  readonly tell = (): void => {
    for (const hearer of this.#places) hearer?.();
  };

  add(hearer: () => void): number {
    const place = this.#free.pop() ?? this.#places.length;
    this.#places[place] = hearer;
    return place;
  }

  remove(place: number): void {
    this.#places[place] = undefined;
    this.#free.push(place);
  }
}

const known = new WeakMap<AbortSignal, Hearers>();

/**
 * Calls back when the signal is aborted, which it must not be yet.
 *
 * @returns takes that back; to be called once, also after the abort
 */
export function hear(signal: AbortSignal, hearer: () => void): () => void {
  const hearers = known.get(signal) ?? begin(signal);
  const place = hearers.add(hearer);
  return () => {
    hearers.remove(place);
    if (!hearers.isEmpty) return;
    signal.removeEventListener('abort', hearers.tell);
    known.delete(signal);
  };
}

function begin(signal: AbortSignal): Hearers {
  const hearers = new Hearers();
  signal.addEventListener('abort', hearers.tell, { once: true });
  known.set(signal, hearers);
  return hearers;
}
