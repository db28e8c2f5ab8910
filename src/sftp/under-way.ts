/*
 * The requests that are under way, found by their ids: a ring of places, of which the last bits of an id tell its own.
 * It is no Map, because there much comes and goes: V8 leaves a trail of a Map's outgrown tables, each of which knows
 * the next one and all that stood in it, and once the first of them is old, none is freed before the next full
 * collection.
 */

/** A power of two. */
const FEWEST_PLACES = 64;

export class UnderWay<T extends { readonly id: number }> {
  #places: (T | undefined)[] = new Array<undefined>(FEWEST_PLACES).fill(undefined);
  #size = 0;
  #lastId = 0;
  /** Nothing older than this one is under way. */
  #firstId = 1;

  get size(): number {
    return this.#size;
  }

  /** An id for the next request; those that are under way keep theirs, however long that takes. */
  freeId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#places[this.#placeOf(this.#lastId)] !== undefined);
    return this.#lastId;
  }

  /** @param one with the id that was the last free one */
  add(one: T): void {
    this.#places[this.#placeOf(one.id)] = one;
    this.#size += 1;
    if (this.#size > this.#places.length / 2) this.#grow();
  }

  get(id: number): T | undefined {
    const found = this.#places[this.#placeOf(id)];
    return found?.id === id ? found : undefined;
  }

  delete({ id }: T): void {
    this.#places[this.#placeOf(id)] = undefined;
    this.#size -= 1;
  }

  oldest(): T | undefined {
    if (this.#size === 0) return undefined;
    for (;;) {
      const found = this.get(this.#firstId);
      if (found !== undefined) return found;
      this.#firstId = (this.#firstId + 1) >>> 0;
    }
  }

  /** All of them, the oldest first. */
  all(): T[] {
    const age = ({ id }: T): number => (this.#lastId - id) >>> 0;
    return this.#places.filter((one) => one !== undefined).sort((a, b) => age(b) - age(a));
  }

  #placeOf(id: number): number {
    return id & (this.#places.length - 1);
  }

  /** What had different places has different ones still. */
  #grow(): void {
    const all = this.all();
    this.#places = new Array<undefined>(this.#places.length * 2).fill(undefined);
    for (const one of all) this.#places[this.#placeOf(one.id)] = one;
  }
}
