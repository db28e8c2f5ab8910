/*
 * One pool a server account: the connections that all jobs of this account share. It opens them as they are
 * wanted, up to its limit; it shrinks when the server says that there are too many, and grows again by one
 * a minute. An opening that its user gave up goes on for the others. A connection that is no longer usable is dropped, one that is idle for long is closed in good
 * order before the server does it.
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

interface Waiter {
  readonly wake: () => void;
}

export class Pool<C extends Pooled> {
  readonly #options: PoolOptions<C>;
  readonly #idle: { readonly connection: C; readonly timer: NodeJS.Timeout }[] = [];
  readonly #busy = new Set<C>();
  readonly #opening = new Set<AbortController>();
  /** Openings and endings under way; none of them rejects. */
  readonly #pending = new Set<Promise<unknown>>();
  readonly #waiters: Waiter[] = [];
  /** Ends each pause that is being made. */
  readonly #pauses = new Set<() => void>();
  /** Connections that stand or are being opened. */
  #count = 0;
  #ceiling: number;
  #shrunkAtMs = 0;
  #droppedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: PoolOptions<C>) {
    this.#options = options;
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
    return this.#waiters.length > 0;
  }

  /**
   * Lends a connection to `work` and takes it back when that is done. The signal resets the connection, whatever
   * `work` waits for.
   *
   * @throws what `work` or the opening of the connection throws, or the signal's reason
   */
  async use<T>(signal: AbortSignal | undefined, work: (connection: C) => Promise<T>): Promise<T> {
    // All who wait and all who work may hang on one and the same signal.
    if (signal !== undefined) setMaxListeners(0, signal);
    const connection = await this.#take(signal);
    const cut = (): void => connection.reset();
    signal?.addEventListener('abort', cut, { once: true });
    try {
      if (signal?.aborted === true) cut();
      return await work(connection);
    } finally {
      signal?.removeEventListener('abort', cut);
      this.#giveBack(connection);
    }
  }

  /** Closes what is idle, resets what is busy or being opened, and lends nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) waiter.wake();
    for (const end of [...this.#pauses]) end();
    for (const connection of this.#busy) connection.reset();
    for (const opening of this.#opening) opening.abort();
    for (const { connection, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      this.#leave(connection);
    }
    await Promise.all(this.#pending);
  }

  async #take(signal: AbortSignal | undefined): Promise<C> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#closed) throw new Error('the connection pool is closed');
      const idle = this.#idle.pop();
      if (idle !== undefined) {
        clearTimeout(idle.timer);
        if (idle.connection.usable) {
          this.#busy.add(idle.connection);
          return idle.connection;
        }
        this.#drop(idle.connection);
      } else if (this.#count < this.#room()) {
        const connection = await this.#open(signal);
        if (connection !== undefined) return connection;
      } else {
        await this.#wait(signal);
        // A waiter that was woken and gives up in the same moment passes the call on.
        if (signal?.aborted === true) this.#waiters.shift()?.wake();
      }
    }
  }

  /** @returns undefined where the server has too many connections, and it is worth waiting and asking again */
  async #open(signal: AbortSignal | undefined): Promise<C | undefined> {
    this.#count += 1;
    const controller = new AbortController();
    this.#opening.add(controller);
    const opening = this.#options.open(controller.signal).finally(() => this.#opening.delete(controller));
    this.#follow(opening);
    try {
      const connection = await unlessAborted(opening, signal);
      if (this.#closed) {
        connection.reset();
        throw new Error('the connection pool is closed');
      }
      this.#busy.add(connection);
      return connection;
    } catch (error) {
      if (error instanceof GivenUp) {
        this.#follow(opening.then((connection) => this.#giveBack(connection)).catch(() => this.#gone()));
        throw signal?.reason;
      }
      this.#gone();
      const stand = this.#busy.size + this.#idle.length;
      const turnedAway = stand > 0 && this.#options.isTurnedAway?.(error) === true;
      if (this.#closed || !(turnedAway || this.#options.isTooMany(error))) throw error;
      if (this.#count === 0) {
        if (performance.now() - this.#droppedAtMs > NOTICE_MS) throw error;
        await this.#pause(signal, NOTICE_PACE_MS);
        return undefined;
      }
      this.#ceiling = Math.max(1, this.#count);
      this.#shrunkAtMs = performance.now();
      this.#options.onCeiling?.(this.#ceiling);
      return undefined;
    }
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

  /** Not among the waiters: whoever fails next must not call this one before its time. */
  async #pause(signal: AbortSignal | undefined, delayMs: number): Promise<void> {
    if (signal?.aborted === true) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, delayMs);
      this.#pauses.add(end);
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const waiter: Waiter = {
        wake: () => {
          signal?.removeEventListener('abort', waiter.wake);
          const place = this.#waiters.indexOf(waiter);
          if (place >= 0) this.#waiters.splice(place, 1);
          resolve();
        },
      };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', waiter.wake, { once: true });
    });
  }

  #giveBack(connection: C): void {
    this.#busy.delete(connection);
    if (this.#closed || !connection.usable) {
      if (connection.usable) connection.reset();
      this.#drop(connection);
    } else {
      const timer = setTimeout(() => {
        const place = this.#idle.findIndex((idle) => idle.connection === connection);
        if (place < 0) return;
        this.#idle.splice(place, 1);
        this.#leave(connection);
      }, IDLE_LIMIT_MS);
      timer.unref();
      this.#idle.push({ connection, timer });
    }
    this.#waiters.shift()?.wake();
  }

  #drop(connection: C): void {
    this.#droppedAtMs = performance.now();
    this.#count -= 1;
    connection.reset();
  }

  /** Ends a connection in good order; the server counts it until it is gone, and so does the pool. */
  #leave(connection: C): void {
    this.#follow(connection.close().finally(() => this.#gone()));
  }

  /** One connection less: there is room for another. */
  #gone(): void {
    this.#count -= 1;
    this.#waiters.shift()?.wake();
  }

  #follow(work: Promise<unknown>): void {
    const settled: Promise<unknown> = work.catch(() => {}).finally(() => this.#pending.delete(settled));
    this.#pending.add(settled);
  }
}

/** The caller's signal came before the connection did. */
class GivenUp extends Error {}

async function unlessAborted<T>(opening: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return opening;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new GivenUp());
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([opening, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
