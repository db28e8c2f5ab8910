/*
 * Whether a job's delivery was proven lately enough, and whether the clock is to be believed about it. Pure, except
 * that `Grace` remembers what it was shown. A clock behind what the ledger has seen judges nothing. One that has
 * jumped ahead (a machine that was off or suspended, or has no clock of its own and was told the time) may well be
 * right, but the runs that the jump itself asks for come first.
 */

/** When a job was last known to be fine; milliseconds since 1970, undefined where that never was. */
export interface Proof {
  readonly provenAtMs: number | undefined;
  /** When the ledger first heard of the job. */
  readonly knownSinceMs: number | undefined;
  /** When freshness was first asked about, or was found again. */
  readonly freshSinceMs: number | undefined;
}

export type Freshness =
  | { readonly kind: 'fresh'; readonly dueMs: number }
  /** Since `dueMs`. */
  | { readonly kind: 'overdue'; readonly dueMs: number; readonly lastMs: number }
  /** The clock is behind. */
  | { readonly kind: 'unknown' };

export function judgeFreshness(freshnessMs: number, proof: Proof, nowMs: number): Freshness {
  const { provenAtMs, knownSinceMs, freshSinceMs } = proof;
  const lastMs = Math.max(provenAtMs ?? -Infinity, knownSinceMs ?? -Infinity, freshSinceMs ?? -Infinity);
  if (lastMs === -Infinity) return { kind: 'fresh', dueMs: nowMs + freshnessMs };
  if (nowMs < lastMs) return { kind: 'unknown' };
  const dueMs = lastMs + freshnessMs;
  return nowMs > dueMs ? { kind: 'overdue', dueMs, lastMs } : { kind: 'fresh', dueMs };
}

/**
 * What start or a jump of the clock grants to every job: the catch-up run waits for its jitter and its slot, and most
 * are through by then.
 */
export const GRACE_MS = 15 * 60_000;

/** What it grants to one whose run has begun since: a night's backup takes a while, and one that hangs is told. */
export const RUN_GRACE_MS = 2 * 3_600_000;

/** How much more the wall clock may have moved on than the steady one; what NTP does all day is far less. */
const JUMP_MS = 60_000;

interface Moment {
  readonly wallMs: number;
  readonly steadyMs: number;
}

export class Grace {
  #seen: Moment;
  /** By the steady clock. */
  #grantedMs: number;
  readonly #running = new Map<string, number>();

  /** Begins with one, because this process may be what was away. */
  constructor(now: Moment) {
    this.#seen = now;
    this.#grantedMs = now.steadyMs;
  }

  /** To be called whenever something is judged, and at least every few minutes. */
  look(now: Moment): void {
    const aheadMs = now.wallMs - this.#seen.wallMs - (now.steadyMs - this.#seen.steadyMs);
    if (aheadMs > JUMP_MS) this.#grantedMs = now.steadyMs;
    this.#seen = now;
  }

  began(job: string): void {
    this.#running.set(job, this.#seen.steadyMs);
  }

  /** True where the run that has ended was begun since the grace was granted: the job has had its chance. */
  ended(job: string): 'had-its-chance' | 'not-yet' {
    const beganMs = this.#running.get(job);
    this.#running.delete(job);
    return beganMs !== undefined && beganMs >= this.#grantedMs ? 'had-its-chance' : 'not-yet';
  }

  /** True while nothing bad is to be said of the job's freshness. */
  covers(job: string): boolean {
    const sinceMs = this.#seen.steadyMs - this.#grantedMs;
    const beganMs = this.#running.get(job);
    const runs = beganMs !== undefined && beganMs >= this.#grantedMs;
    return sinceMs < GRACE_MS || (runs && sinceMs < RUN_GRACE_MS);
  }
}
