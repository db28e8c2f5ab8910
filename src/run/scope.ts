/*
 * A part of the tree: some places, each a path with all that may lie below it. A scan of these looks into the
 * directories on the way to them, for what is left out and for names that are taken for one, and judges nothing there.
 * Pure; what may be looked at in this way is narrow.ts's business.
 */
import type { LedgerReader } from '../ledger/reader.js';
import { comparePaths, type Known, type RelativePath } from '../plan/entry.js';

export class Scope {
  /** None of them below another. */
  readonly #places: ReadonlySet<RelativePath>;
  /** The directories on the way to them; each ends with `/`. */
  readonly #above = new Set<RelativePath>();

  /** @param places paths below the root, without a slash at their end */
  constructor(places: ReadonlySet<RelativePath>) {
    const outermost = new Set<RelativePath>();
    for (const place of places) {
      const above = [...slashes(place)].map((end) => place.slice(0, end));
      if (above.some((directory) => places.has(directory))) continue;
      outermost.add(place);
      for (const directory of above) this.#above.add(`${directory}/`);
    }
    this.#places = outermost;
  }

  /** How many places there are. */
  get size(): number {
    return this.#places.size;
  }

  /** True for a place, and for what lies below one. @param path a directory's ends with `/` */
  has(path: RelativePath): boolean {
    if (this.#places.has(path)) return true;
    for (const end of slashes(path)) if (this.#places.has(path.slice(0, end))) return true;
    return false;
  }

  /** True also for the directories on the way. @param path a directory's ends with `/` */
  leadsTo(path: RelativePath): boolean {
    return this.#above.has(path) || this.has(path);
  }

  /** What the ledger knows of the places, in the order of `comparePaths`. */
  *known(ledger: Pick<LedgerReader, 'knownBetween'>, binding: number): Generator<Known, void, undefined> {
    // `a-b` lies between `a` and `a/b`, so a place and what is below it are two stretches.
    const stretches = [...this.#places].flatMap((place) => [
      { from: place, to: `${place}\0` },
      // `0` is the character behind `/`.
      { from: `${place}/`, to: `${place}0` },
    ]);
    stretches.sort((a, b) => comparePaths(a.from, b.from));
    for (const stretch of stretches) yield* ledger.knownBetween(binding, stretch);
  }
}

function* slashes(path: RelativePath): Generator<number> {
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) yield end;
}
