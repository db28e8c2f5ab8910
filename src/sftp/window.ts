/*
 * How many bytes of file content may be under way on one connection, shared by all transfers of a direction: whoever
 * waits longest is served first, and each transfer waits with one piece at a time, so that they get equal parts.
 *
 * The window follows the link. It grows while it is full and answers come without much delay, and halves where they
 * come seconds late: what is queued on a slow link delays every other request behind it, and is sent in vain when a
 * transfer is given up.
 */

/** Two pieces of the smallest size: one is worked on while the other travels. */
const LEAST_BYTES = 64 * 1024;
const FIRST_BYTES = 256 * 1024;
/** 160 ms at 50 MB/s, or 80 ms at 100 MB/s, which is what one core encrypts. Bounds the memory of a direction too. */
const MOST_BYTES = 8 * 1024 * 1024;
/** The reads and writes that every server takes (draft-ietf-secsh-filexfer-02 section 3). */
const SMALLEST_PIECE_BYTES = 32 * 1024;
/** Delay beyond the link's own, above which the window halves, and below which it grows. */
const LATE_MS = 2_000;
const PROMPT_MS = 1_000;
interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/** A claim on the window. */
export interface Claim {
  /** Resolves once there is room; undefined where there is at once. */
  readonly granted: Promise<void> | undefined;
  /** Nothing will come of it: gives the room back, or the place in the queue. */
  readonly withdraw: () => void;
}

/** The window of one direction of one connection. */
export class Window {
  #limitBytes = FIRST_BYTES;
  #usedBytes = 0;
  #ownDelayMs = Number.POSITIVE_INFINITY;
  #wasFull: 'yes' | 'no' = 'no';
  readonly #waiting = new Set<Waiter>();

  get limitBytes(): number {
    return this.#limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How large a piece should be: small ones on a slow link, so that it is heard from often. */
  pieceBytes(mostBytes: number): number {
    return Math.min(mostBytes, Math.max(SMALLEST_PIECE_BYTES, Math.floor(this.#limitBytes / 8)));
  }

  /** Asks for room. Whoever gets it gives it back with `release`, once. */
  claim(bytes: number): Claim {
    const give = (): void => this.release(bytes);
    if (this.#waiting.size === 0 && this.#fits(bytes)) {
      this.#usedBytes += bytes;
      return { granted: undefined, withdraw: give };
    }
    this.#wasFull = 'yes';
    let state: 'waiting' | 'granted' = 'waiting';
    let waiter: Waiter | undefined;
    const granted = new Promise<void>((resolve) => {
      waiter = {
        bytes,
        grant: () => {
          state = 'granted';
          resolve();
        },
      };
      this.#waiting.add(waiter);
    });
    const withdraw = (): void => {
      if (state === 'granted') give();
      else if (waiter !== undefined) {
        this.#waiting.delete(waiter);
        this.#serve();
      }
    };
    return { granted, withdraw };
  }

  /** Gives room back. */
  release(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#serve();
  }

  /** An answer to a piece came so long after it was sent. */
  heard(bytes: number, delayMs: number): void {
    // The least ever seen is the link's own. It is never forgotten: what is queued would be taken for a longer way.
    this.#ownDelayMs = Math.min(this.#ownDelayMs, delayMs);
    const late = delayMs - this.#ownDelayMs;
    if (late > LATE_MS) this.#limitBytes = Math.max(LEAST_BYTES, this.#limitBytes - bytes / 2);
    else if (late < PROMPT_MS && this.#wasFull === 'yes')
      this.#limitBytes = Math.min(MOST_BYTES, this.#limitBytes + bytes);
    if (this.#waiting.size === 0) this.#wasFull = 'no';
    this.#serve();
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#limitBytes;
  }

  #serve(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.bytes)) return;
      this.#waiting.delete(waiter);
      this.#usedBytes += waiter.bytes;
      waiter.grant();
    }
  }
}
