/*
 * One pool a server account: the connections that all jobs of this account share. It opens them as they are wanted, up
 * to its limit; it shrinks when the server says that there are too many, and grows again by one a minute. A connection
 * is lent to one user at a time, or to as many as can share it, of whom some may take more of it than others; another
 * one is opened only when all that stand are full. One that is no longer usable is lent to nobody and dropped when its last user is done, one that is idle for
 * long is closed in good order before the server does it. An opening that its users gave up goes on for the others.
 *
 * Retries nothing: a connection that cannot be opened is the caller's failure to judge.
 */
import { setMaxListeners } from 'node:events';

/** What the pool needs to know of a connection. */
export interface Pooled {
  /** False once the connection is broken, lost, or not to be trusted any more. */
  readonly usable: boolean;
  /** Ends it in good order. Never throws. */
  close(): Promise<void>;
  /** Ends it at once. */
  reset(): void;
}

export interface PoolOptions<C extends Pooled> {
  /** The signal aborts when the pool is closed: the opening must then end at once. */
  readonly open: (signal: AbortSignal) => Promise<C>;
  /** The most connections at once, at least 1. */
  readonly limit: number;
  /** How many of them the server was known to let in, from 1 to the limit; the limit unless told. */
  readonly ceiling?: number;
  /** How many users one connection has at once, if each takes one place of it; at least 1, and 1 unless told. */
  readonly share?: number;
  /** True where an error of `open` means that the server has too many connections. */
  readonly isTooMany: (error: unknown) => boolean;
  /** True where an error of `open` means that as well, as long as other connections stand. */
  readonly isTurnedAway?: (error: unknown) => boolean;
  /** Hears how many connections the server is believed to let in, whenever that changes. */
  readonly onCeiling?: (connections: number) => void;
}

const IDLE_LIMIT_MS = 30_000;
const GROW_AFTER_MS = 60_000;

/**
 * A server needs a moment to notice that a connection of ours was reset, and counts it until then: for so long
 * "too many" is asked again, at this pace, before it is believed.
 */
const NOTICE_MS = 3_000;
const NOTICE_PACE_MS = 300;

/** A connection that stands. */
interface Standing<C> {
  readonly connection: C;
  /** How many of its places are taken. */
  taken: number;
  /** Runs while none is. */
  idle: NodeJS.Timeout | undefined;
}

/** Somebody who wants a connection. The first word counts. */
interface Waiter<C> {
  /** How many places of a connection it takes. */
  readonly places: number;
  readonly lend: (standing: Standing<C>) => void;
  readonly refuse: (error: unknown) => void;
}

/** A connection that is being opened, and who is to have it: they hear together what comes of it. */
interface Opening<C> {
  readonly controller: AbortController;
  waiters: Waiter<C>[];
}

export class Pool<C extends Pooled> {
  readonly #options: PoolOptions<C>;
  readonly #share: number;
  /** Those that became idle last stand behind. */
  #standing: Standing<C>[] = [];
  readonly #openings = new Set<Opening<C>>();
  /** Openings and endings under way; none of them rejects. */
  readonly #pending = new Set<Promise<unknown>>();
  /** Who found neither room nor an opening, in the order in which they came. */
  #queue: Waiter<C>[] = [];
  /** Until it ends nothing is opened. */
  #pause: NodeJS.Timeout | undefined;
  /** Connections that stand, are being opened, or are being ended. */
  #count = 0;
  #ceiling: number;
  #shrunkAtMs = 0;
  #droppedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: PoolOptions<C>) {
    this.#options = options;
    this.#share = Math.max(1, options.share ?? 1);
    this.#ceiling = Math.min(options.limit, Math.max(1, options.ceiling ?? options.limit));
    this.#shrunkAtMs = performance.now();
  }

  /** The most connections that there may ever be. */
  get limit(): number {
    return this.#options.limit;
  }

  /** How many stand, are being opened, or are being ended. */
  get connections(): number {
    return this.#count;
  }

  /** The most that the server is known to let in now. */
  get ceiling(): number {
    return this.#room();
  }

  /** True while somebody waits for a connection. */
  get wanted(): boolean {
    return this.#queue.length > 0;
  }

  /**
   * Lends a connection to `work` and takes it back when that is done. Where a connection has one user at a time, the
   * signal resets it, whatever `work` waits for; a shared one goes on for the others, and `work` itself has to heed
   * the signal.
   *
   * @param places how much of a connection it takes: 1 unless told, and never more than its share
   * @throws what `work` or the opening of the connection throws, or the signal's reason
   */
  async use<T>(signal: AbortSignal | undefined, work: (connection: C) => Promise<T>, places = 1): Promise<T> {
    // All who wait and all who work may hang on one and the same signal.
    if (signal !== undefined) setMaxListeners(0, signal);
    const taken = Math.min(places, this.#share);
    const standing = await this.#take(signal, taken);
    const cut = this.#share === 1 ? (): void => standing.connection.reset() : undefined;
    if (cut !== undefined) signal?.addEventListener('abort', cut, { once: true });
    try {
      signal?.throwIfAborted();
      return await work(standing.connection);
    } finally {
      if (cut !== undefined) signal?.removeEventListener('abort', cut);
      this.#giveBack(standing, taken);
    }
  }

  /** Closes what is idle, resets what is busy or being opened, and lends nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pause);
    for (const waiter of this.#queue.splice(0)) waiter.refuse(closedError());
    for (const { controller } of this.#openings) controller.abort();
    for (const standing of [...this.#standing]) {
      if (standing.taken > 0) standing.connection.reset();
      else this.#leave(standing);
    }
    await Promise.all(this.#pending);
  }

  async #take(signal: AbortSignal | undefined, places: number): Promise<Standing<C>> {
    signal?.throwIfAborted();
    if (this.#closed) throw closedError();
    // Nobody waits, and there is room: one that takes its place at once has nothing to give up.
    const room = this.#queue.length === 0 ? this.#leastUsed(places) : undefined;
    if (room !== undefined) {
      this.#occupy(room, places);
      return room;
    }
    let onAbort = (): void => {};
    try {
      return await new Promise<Standing<C>>((resolve, reject) => {
        const waiter: Waiter<C> = { places, lend: resolve, refuse: reject };
        onAbort = () => {
          this.#forget(waiter);
          reject(signal?.reason);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        this.#queue.push(waiter);
        this.#serve();
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Gives those who wait what there is, from the first on. Called whenever there may be more than before. */
  #serve(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const standing = this.#leastUsed(next.places);
      const opening = standing === undefined ? this.#openingWithRoom(next.places) : undefined;
      const mayOpen = this.#pause === undefined && this.#count < this.#room();
      if (standing === undefined && opening === undefined && !mayOpen) return;
      this.#queue.shift();
      if (standing !== undefined) this.#lend(standing, next);
      else if (opening !== undefined) opening.waiters.push(next);
      else this.#open(next);
    }
  }

  /** Of those with room the one with the most of it, and the one that was used last where several are idle. */
  #leastUsed(places: number): Standing<C> | undefined {
    let least: Standing<C> | undefined;
    for (const standing of [...this.#standing]) {
      if (!standing.connection.usable) {
        if (standing.taken === 0) this.#drop(standing);
      } else if (
        standing.taken + places <= this.#share &&
        standing.taken <= (least?.taken ?? standing.taken)
      ) {
        least = standing;
      }
    }
    return least;
  }

  /** One that was given up is nobody's to wait for: it was begun for another reason. */
  #openingWithRoom(places: number): Opening<C> | undefined {
    for (const opening of this.#openings) {
      const wanted = opening.waiters.reduce((sum, waiter) => sum + waiter.places, 0);
      if (wanted > 0 && wanted + places <= this.#share) return opening;
    }
    return undefined;
  }

  #lend(standing: Standing<C>, waiter: Waiter<C>): void {
    this.#occupy(standing, waiter.places);
    waiter.lend(standing);
  }

  #occupy(standing: Standing<C>, places: number): void {
    clearTimeout(standing.idle);
    standing.idle = undefined;
    standing.taken += places;
  }

  #open(waiter: Waiter<C>): void {
    this.#count += 1;
    const opening: Opening<C> = { controller: new AbortController(), waiters: [waiter] };
    this.#openings.add(opening);
    this.#follow(
      this.#options.open(opening.controller.signal).then(
        (connection) => this.#opened(opening, connection),
        (error: unknown) => this.#failed(opening, error),
      ),
    );
  }

  #opened(opening: Opening<C>, connection: C): void {
    this.#openings.delete(opening);
    if (this.#closed) {
      connection.reset();
      this.#count -= 1;
      for (const waiter of opening.waiters) waiter.refuse(closedError());
      return;
    }
    const standing: Standing<C> = { connection, taken: 0, idle: undefined };
    this.#standing.push(standing);
    for (const waiter of opening.waiters) this.#lend(standing, waiter);
    if (standing.taken === 0) this.#rest(standing);
    this.#serve();
  }

  #failed(opening: Opening<C>, error: unknown): void {
    this.#openings.delete(opening);
    this.#count -= 1;
    const { isTooMany, isTurnedAway } = this.#options;
    const turnedAway = this.#standing.length > 0 && isTurnedAway?.(error) === true;
    const tooMany = !this.#closed && (turnedAway || isTooMany(error));
    const { waiters } = opening;
    if (tooMany && waiters.length > 0 && this.#goesOn()) this.#queue.unshift(...waiters);
    else for (const waiter of waiters) waiter.refuse(error);
    this.#serve();
  }

  /**
   * The server has too many connections of ours.
   *
   * @returns true where it is worth waiting: for another connection, or for the server to notice what is gone
   */
  #goesOn(): boolean {
    if (this.#count > 0) {
      this.#ceiling = this.#count;
      this.#shrunkAtMs = performance.now();
      this.#options.onCeiling?.(this.#ceiling);
      return true;
    }
    if (performance.now() - this.#droppedAtMs > NOTICE_MS) return false;
    this.#pause ??= setTimeout(() => {
      this.#pause = undefined;
      this.#serve();
    }, NOTICE_PACE_MS);
    return true;
  }

  /** How many connections may stand now; one more for each minute since the server complained. */
  #room(): number {
    const now = performance.now();
    if (this.#ceiling < this.#options.limit && now - this.#shrunkAtMs > GROW_AFTER_MS) {
      this.#ceiling += 1;
      this.#shrunkAtMs = now;
      this.#options.onCeiling?.(this.#ceiling);
    }
    return this.#ceiling;
  }

  /** A waiter that has gone: its turn is the next one's, and an opening that was begun for it goes on. */
  #forget(waiter: Waiter<C>): void {
    const others = (waiters: Waiter<C>[]): Waiter<C>[] => waiters.filter((other) => other !== waiter);
    this.#queue = others(this.#queue);
    for (const opening of this.#openings) opening.waiters = others(opening.waiters);
    this.#serve();
  }

  #giveBack(standing: Standing<C>, places: number): void {
    standing.taken -= places;
    const { connection, taken } = standing;
    if (taken === 0) {
      if (this.#closed || !connection.usable) this.#drop(standing);
      else this.#rest(standing);
    }
    this.#serve();
  }

  /** It has no users now. */
  #rest(standing: Standing<C>): void {
    this.#standing = [...this.#standing.filter((other) => other !== standing), standing];
    standing.idle = setTimeout(() => this.#leave(standing), IDLE_LIMIT_MS);
    standing.idle.unref();
  }

  #drop(standing: Standing<C>): void {
    this.#part(standing);
    this.#droppedAtMs = performance.now();
    this.#count -= 1;
    standing.connection.reset();
  }

  /** Ends a connection in good order; the server counts it until it is gone, and so does the pool. */
  #leave(standing: Standing<C>): void {
    this.#part(standing);
    this.#follow(
      standing.connection.close().finally(() => {
        this.#count -= 1;
        this.#serve();
      }),
    );
  }

  #part(standing: Standing<C>): void {
    clearTimeout(standing.idle);
    this.#standing = this.#standing.filter((other) => other !== standing);
  }

  #follow(work: Promise<unknown>): void {
    const settled: Promise<unknown> = work.catch(() => {}).finally(() => this.#pending.delete(settled));
    this.#pending.add(settled);
  }
}

function closedError(): Error {
  return new Error('the connection pool is closed');
}
