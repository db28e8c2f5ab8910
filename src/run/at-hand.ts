/*
 * What was looked up last, directory by directory, as long as it is not too much. Several who want the same wait for
 * one look; a look that failed is not kept.
 */
import type { RelativePath } from '../plan/entry.js';

/** How many names of directories are kept at hand. */
const NAMES_AT_HAND = 200_000;

/** What was found, and how many names it holds. */
export interface Found<Value> {
  readonly value: Value;
  readonly size: number;
}

export class AtHand<Value> {
  readonly #kept = new Map<RelativePath, Promise<Found<Value>>>();
  #size = 0;

  /** @param look how to look where nothing is at hand; what it throws is thrown on */
  async get(directory: RelativePath, look: () => Promise<Found<Value>>): Promise<Value> {
    const kept = this.#kept.get(directory);
    if (kept !== undefined) return (await kept).value;
    const looking = look();
    this.#kept.set(directory, looking);
    try {
      const { value, size } = await looking;
      this.#size += size;
      for (const [oldest, entry] of this.#kept) {
        if (this.#size <= NAMES_AT_HAND || oldest === directory) break;
        this.#kept.delete(oldest);
        this.#size -= (await entry).size;
      }
      return value;
    } catch (error) {
      this.#kept.delete(directory);
      throw error;
    }
  }
}
