/*
 * What a run has to look at, gathered from hints: places, each a path below the root with all that may lie below it;
 * or everything, as soon as one hint cannot say where, or there are too many to be worth telling apart. Pure.
 */

/** More are everything: they are looked for one by one, and nobody writes to so many places in one settle time. */
export const MANY_PLACES = 1_000;

export class Places {
  #gathered: Set<string> | 'everything' = new Set();

  /** @param places paths below the root; undefined is everything */
  add(places: Iterable<string> | undefined): void {
    if (places === undefined) this.#gathered = 'everything';
    if (this.#gathered === 'everything' || places === undefined) return;
    for (const place of places) this.#gathered.add(place);
    if (this.#gathered.size > MANY_PLACES) this.#gathered = 'everything';
  }

  /**
   * Hands over what was gathered, and begins anew with nothing.
   *
   * @returns undefined for everything, which is also what nobody has named any place of
   */
  take(): ReadonlySet<string> | undefined {
    const gathered = this.#gathered;
    this.#gathered = new Set();
    return gathered === 'everything' || gathered.size === 0 ? undefined : gathered;
  }
}
