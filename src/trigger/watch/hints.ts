/*
 * Hints that something changed, gathered until the tree is quiet. Events do not say more than "look there", so however
 * many come, they are one. A tree that is never quiet is ripe after ten settle times, and not before one second.
 * It knows nothing of watchers; while these are blind (closed, opening, or between two looks that differ), quiet means
 * nothing, and only the patience counts.
 */
import { Places } from '../places.js';
import { timerDelayMs } from '../trigger.js';

const PATIENCE_SETTLES = 10;
const PATIENCE_LEAST_MS = 1_000;

/** So many directories gone at once that nobody asks about each. */
export const MANY_VANISHED = 64;

export interface HintsOptions {
  /** How long the tree has to be quiet. */
  readonly settleMs: number;
  /** True while it cannot be told whether the tree is quiet. */
  readonly isBlind: () => boolean;
  /** The tree is quiet, or the patience is over. */
  readonly onRipe: (ripe: Ripe) => void;
}

/** That something changed; neither of the two where nobody can tell where. */
export interface Hint {
  /** Where: a path below the root. */
  readonly place?: string | undefined;
  /** A watched directory that itself went away: what happened around it may have gone unseen. */
  readonly vanished?: string;
}

/** What was gathered. */
export interface Ripe {
  /** When the last hint came, on the monotonic clock. */
  readonly noticedMs: number;
  /** Watched directories that went away, at most MANY_VANISHED. */
  readonly vanished: ReadonlySet<string>;
  /** Where something changed; undefined where that may be anywhere. */
  readonly places: ReadonlySet<string> | undefined;
}

interface Pending {
  readonly firstMs: number;
  lastMs: number;
  readonly vanished: Set<string>;
  readonly places: Places;
  timer: NodeJS.Timeout | undefined;
}

export class Hints {
  readonly #options: HintsOptions;
  #pending: Pending | undefined;

  constructor(options: HintsOptions) {
    this.#options = options;
  }

  add({ place, vanished }: Hint = {}): void {
    const nowMs = performance.now();
    if (this.#pending === undefined) {
      this.#pending = {
        firstMs: nowMs,
        lastMs: nowMs,
        vanished: new Set(),
        places: new Places(),
        timer: undefined,
      };
      this.#await(this.#pending);
    }
    const pending = this.#pending;
    pending.lastMs = nowMs;
    pending.places.add(place === undefined ? undefined : [place]);
    if (vanished !== undefined && pending.vanished.size < MANY_VANISHED) pending.vanished.add(vanished);
  }

  /** Has to be called when `isBlind` turned. */
  reconsider(): void {
    if (this.#pending !== undefined) this.#await(this.#pending);
  }

  /** A new watcher does not know the directories that went away, and nobody knows what happened before it stands. */
  renewed(): void {
    this.#pending?.vanished.clear();
    this.#pending?.places.add(undefined);
  }

  /**
   * Forgets all hints: a scan that begins now covers them.
   *
   * @returns them; undefined where there are none
   */
  clear(): Ripe | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    clearTimeout(pending.timer);
    this.#pending = undefined;
    return ripeOf(pending);
  }

  #await(pending: Pending): void {
    clearTimeout(pending.timer);
    const waitMs = this.#ripeAtMs(pending) - performance.now();
    pending.timer = setTimeout(() => this.#settle(pending), timerDelayMs(waitMs));
  }

  #ripeAtMs({ firstMs, lastMs }: Pending): number {
    const { settleMs, isBlind } = this.#options;
    const latestMs = firstMs + Math.max(PATIENCE_SETTLES * settleMs, PATIENCE_LEAST_MS);
    return isBlind() ? latestMs : Math.min(lastMs + settleMs, latestMs);
  }

  #settle(pending: Pending): void {
    if (performance.now() < this.#ripeAtMs(pending)) {
      this.#await(pending);
      return;
    }
    this.#pending = undefined;
    this.#options.onRipe(ripeOf(pending));
  }
}

function ripeOf({ lastMs, vanished, places }: Pending): Ripe {
  return { noticedMs: lastMs, vanished, places: places.take() };
}
