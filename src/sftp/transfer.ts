/*
 * What uploads, downloads and listings have in common: an end that comes from outside. Each is given up by its signal,
 * by the connection's end, by its deadline, or because none of its bytes moved for the stall limit while the server
 * was the one to move them. Knows nothing of requests.
 */
import { SftpError } from './errors.js';
import { hear } from './hearing.js';

export interface TransferLimits {
  readonly stallTimeoutMs: number;
  readonly transferTimeoutMs: number;
}

/** setTimeout ends at once for more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One transfer's life, from `begin` to `end`. */
export class Transfer {
  /** `upload to nas:22`, for messages. */
  readonly #name: string;
  readonly #request: string;
  readonly #limits: TransferLimits;
  readonly #signal: AbortSignal | undefined;
  /** When bytes moved last that are not of this transfer alone. */
  readonly #movedElsewhereMs: () => number;
  readonly #beganMs = performance.now();
  /** Hears of the signal no more. */
  #unhear: (() => void) | undefined;
  #movedMs = this.#beganMs;
  /** Requests that the server has not answered. */
  #owed = 0;
  #timer: NodeJS.Timeout | undefined;
  #failure: { readonly reason: unknown } | undefined;
  #interrupt: ((reason: unknown) => void) | undefined;

  constructor(options: {
    readonly name: string;
    readonly request: string;
    readonly limits: TransferLimits;
    readonly signal: AbortSignal | undefined;
    readonly movedElsewhereMs?: () => number;
  }) {
    this.#name = options.name;
    this.#request = options.request;
    this.#limits = options.limits;
    this.#signal = options.signal;
    this.#movedElsewhereMs = options.movedElsewhereMs ?? (() => 0);
    if (this.#signal?.aborted === true) {
      this.#unwanted();
      return;
    }
    if (this.#signal !== undefined) this.#unhear = hear(this.#signal, () => this.#unwanted());
    this.#arm(Math.min(this.#limits.stallTimeoutMs, this.#limits.transferTimeoutMs));
  }

  /** @throws what it failed with, where it failed */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  /** Bytes of this transfer moved. */
  moved(): void {
    this.#movedMs = performance.now();
  }

  /** The server owes an answer: from now on it is the one that has to move. */
  asked(): void {
    if (this.#owed === 0) this.moved();
    this.#owed += 1;
  }

  /** It came. */
  answered(): void {
    this.#owed -= 1;
    this.moved();
  }

  /** Gives the transfer up; the first reason counts. Whatever `until` waits for is rejected with it. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { reason };
    this.end();
    this.#interrupt?.(reason);
  }

  /** Waits for something, or for the failure of the transfer. One thing at a time. */
  async until<T>(awaited: Promise<T>): Promise<T> {
    this.check();
    try {
      const value = await new Promise<T>((resolve, reject) => {
        this.#interrupt = reject;
        awaited.then(resolve, reject);
      });
      // It may have failed in the same moment.
      this.check();
      return value;
    } finally {
      this.#interrupt = undefined;
    }
  }

  /** Its clock stands still from now on. */
  end(): void {
    clearTimeout(this.#timer);
    this.#unhear?.();
    this.#unhear = undefined;
  }

  #unwanted(): void {
    this.fail(
      new SftpError('aborted', `The ${this.#name} was not wanted any more.`, {
        phase: 'transfer',
        request: this.#request,
        cause: this.#signal?.reason,
      }),
    );
  }

  #arm(inMs: number): void {
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(inMs, 1), LONGEST_TIMER_MS));
  }

  #look(): void {
    const { stallTimeoutMs, transferTimeoutMs } = this.#limits;
    const nowMs = performance.now();
    const leftMs = this.#beganMs + transferTimeoutMs - nowMs;
    if (leftMs <= 0) {
      this.#stalled(
        `took longer than ${duration(transferTimeoutMs)}, which is what timeouts.transfer allows`,
      );
      return;
    }
    // What the source or the sink takes its time for is no stall.
    const movedMs = this.#owed === 0 ? nowMs : Math.max(this.#movedMs, this.#movedElsewhereMs());
    const quietMs = nowMs - movedMs;
    if (quietMs >= stallTimeoutMs) this.#stalled(`moved no byte for ${duration(stallTimeoutMs)}`);
    else this.#arm(Math.min(leftMs, stallTimeoutMs - quietMs));
  }

  #stalled(what: string): void {
    this.fail(
      new SftpError('stalled', `The ${this.#name} ${what}.`, { phase: 'transfer', request: this.#request }),
    );
  }
}

/** For messages: `90 s`, `2 min`. */
export function duration(ms: number): string {
  const units: readonly (readonly [number, string])[] = [
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ];
  const [length, unit] = units.find(([unitMs]) => ms >= unitMs && ms % unitMs === 0) ?? [1, 'ms'];
  return `${ms / length} ${unit}`;
}
