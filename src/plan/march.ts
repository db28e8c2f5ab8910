/*
 * The march: the local tree, the remote's and the ledger's rows side by side in the order of comparePaths, like a
 * merge join, so that memory stays flat however many paths there are. A side tells where it is blind before it comes
 * to what lies there; absence below such a place is no news. Pure: it reads what it is given and knows no source.
 */
import { comparePaths, type Known, type RelativePath } from './entry.js';

/** What one side tells as it goes along, each path at most once, in order. */
export type Told<Item> =
  | { readonly kind: 'there'; readonly path: RelativePath; readonly item: Item }
  /** Nobody could look at this path nor at what is below it; `''` is the whole side. */
  | { readonly kind: 'blind'; readonly path: RelativePath | ''; readonly why: Blindness };

/**
 * `unreadable`: the scan was kept from looking. `unproven`: it looked, and nothing shows that it was told all. `foreign`:
 * something stands there that is neither a file nor a directory. `left-out`: the job does not want it.
 */
export type Blindness = 'unreadable' | 'unproven' | 'foreign' | 'left-out';

/** One side's sight of one path. */
export type Sight<Item> =
  | { readonly kind: 'there'; readonly item: Item }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unseen'; readonly why: Blindness }
  /** The side is not looked at in this run. */
  | { readonly kind: 'unasked' };

/** One path, as both sides and the ledger show it; at least one of them knows it. */
export interface Meeting<Local, Remote> {
  readonly path: RelativePath;
  readonly local: Sight<Local>;
  readonly remote: Sight<Remote>;
  readonly known: Known | undefined;
}

/** The sides that are looked at, each telling several things at a time; a side that is not is left out. */
export interface Sides<Local, Remote> {
  readonly local?: AsyncIterable<readonly Told<Local>[]> | undefined;
  readonly remote?: AsyncIterable<readonly Told<Remote>[]> | undefined;
}

/** How many paths are brought together at a time. */
const AT_ONCE = 256;

const ABSENT = { kind: 'absent' } as const;
const UNASKED = { kind: 'unasked' } as const;

/**
 * Brings together what belongs to one path. All that is given must come in order. Meetings come as many at a time as
 * can be had without waiting for a side: a promise for each path would cost more than the path.
 */
export async function* march<Local, Remote>(
  sides: Sides<Local, Remote>,
  ledger: Iterator<Known>,
): AsyncGenerator<readonly Meeting<Local, Remote>[]> {
  const local = new Side(sides.local);
  const remote = new Side(sides.remote);
  try {
    await Promise.all([local.refill(), remote.refill()]);
    let known = ledger.next();
    let isMet = false;
    for (;;) {
      const meetings: Meeting<Local, Remote>[] = [];
      while (meetings.length < AT_ONCE && !local.isEmpty && !remote.isEmpty) {
        // Only when it is needed, so that the ledger is read as late as can be.
        if (isMet) known = ledger.next();
        const path = least(local.path, remote.path, known.done === true ? undefined : known.value.path);
        isMet = false;
        if (path === undefined) break;
        const row = known.done !== true && known.value.path === path ? known.value : undefined;
        isMet = row !== undefined;
        meetings.push({ path, local: local.at(path), remote: remote.at(path), known: row });
        if (local.path === path) local.advance();
        if (remote.path === path) remote.advance();
      }
      if (meetings.length > 0) yield meetings;
      else if (!local.isEmpty && !remote.isEmpty) return;
      await Promise.all([local.refill(), remote.refill()]);
    }
  } finally {
    ledger.return?.();
    // Side by side, so that one that fails to end does not keep the other open.
    await Promise.all([local.end(), remote.end()]);
  }
}

/** As few places as are not worth going through. */
const FEW_PLACES = 64;

/** One side, read one item ahead; the places where it is blind are kept for as long as paths may lie in them. */
class Side<Item> {
  readonly #telling: AsyncIterator<readonly Told<Item>[]> | undefined;
  /** What was told last, and how much of it was heard. */
  #told: readonly Told<Item>[] = [];
  #heard = 0;
  #isOver: boolean;
  #next: Extract<Told<Item>, { kind: 'there' }> | undefined;
  /** Found by name: a path lies in few places, however many there are and in whatever order they were told. */
  readonly #blind = new Map<string, Blindness>();
  #manyPlaces = FEW_PLACES;
  #last: RelativePath | undefined;

  constructor(told: AsyncIterable<readonly Told<Item>[]> | undefined) {
    this.#telling = told?.[Symbol.asyncIterator]();
    this.#isOver = this.#telling === undefined;
  }

  /** The path of the next item; undefined at the end, and where the side is empty. */
  get path(): RelativePath | undefined {
    return this.#next?.path;
  }

  /** True where nobody knows what comes next before `refill`. */
  get isEmpty(): boolean {
    return this.#next === undefined && !this.#isOver;
  }

  /** Makes sure that the side is not empty. */
  async refill(): Promise<void> {
    while (this.isEmpty) {
      const told = await this.#telling?.next();
      if (told === undefined || told.done === true) {
        this.#isOver = true;
        return;
      }
      this.#told = told.value;
      this.#heard = 0;
      this.advance();
    }
  }

  /** Goes on to the next item of those that were told. */
  advance(): void {
    this.#next = undefined;
    while (this.#heard < this.#told.length) {
      const one = this.#told[this.#heard];
      this.#heard += 1;
      if (one?.kind === 'there') {
        // Out of order it would look as if what was skipped were not there.
        if (this.#last !== undefined && comparePaths(one.path, this.#last) <= 0) {
          throw new Error(
            `The scan came to ${one.path} behind ${this.#last}: nothing can be planned by that.`,
          );
        }
        this.#last = one.path;
        this.#next = one;
        return;
      }
      if (one !== undefined)
        this.#blind.set(one.path.endsWith('/') ? one.path.slice(0, -1) : one.path, one.why);
    }
  }

  at(path: RelativePath): Sight<Item> {
    if (this.#telling === undefined) return UNASKED;
    if (this.#next?.path === path) return this.#next;
    if (this.#blind.size === 0) return ABSENT;
    this.#leaveBehind(path);
    const why = this.#whyBlindAt(path);
    return why === undefined ? ABSENT : { kind: 'unseen', why };
  }

  /** The outermost place tells. */
  #whyBlindAt(path: RelativePath): Blindness | undefined {
    let why = this.#blind.get('');
    for (let end = path.indexOf('/'); why === undefined && end !== -1; end = path.indexOf('/', end + 1)) {
      why = this.#blind.get(path.slice(0, end));
    }
    return why ?? this.#blind.get(path);
  }

  /** Forgets the places in which no further path can lie; all are gone through only when they have doubled. */
  #leaveBehind(path: RelativePath): void {
    if (this.#blind.size < this.#manyPlaces) return;
    for (const place of this.#blind.keys()) {
      if (place !== '' && isBehind(path, place)) this.#blind.delete(place);
    }
    this.#manyPlaces = Math.max(FEW_PLACES, 2 * this.#blind.size);
  }

  async end(): Promise<void> {
    await this.#telling?.return?.();
  }
}

/** True where no path from this one on lies in the place: `0` is the character behind the slash. */
function isBehind(path: RelativePath, place: string): boolean {
  return comparePaths(path, `${place}0`) >= 0;
}

function least(
  local: RelativePath | undefined,
  remote: RelativePath | undefined,
  known: RelativePath | undefined,
): RelativePath | undefined {
  return lesser(lesser(local, remote), known);
}

function lesser(a: RelativePath | undefined, b: RelativePath | undefined): RelativePath | undefined {
  // Nearly always they are the same, which is told apart sooner than which of them comes first.
  if (a === undefined || a === b) return b;
  return b === undefined || comparePaths(a, b) < 0 ? a : b;
}
