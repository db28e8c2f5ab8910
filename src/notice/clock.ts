/*
 * The three ways in which notices know time: the wall clock, which people read and anybody may set; one that only
 * runs on; and a timer. Tests give their own.
 */

/** A source of time. */
export interface Clock {
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Milliseconds since some moment; never set, and standing still while the machine is suspended. */
  steadyMs(): number;
  /**
   * @param hold whether the process lives on for this; it does unless told
   * @returns takes the timer back
   */
  after(delayMs: number, work: () => void, hold?: 'alive' | 'free'): () => void;
}

/** The machine's own. */
export const machineClock: Clock = {
  wallMs: () => Date.now(),
  steadyMs: () => performance.now(),
  after(delayMs, work, hold = 'alive') {
    const timer = setTimeout(work, delayMs);
    if (hold === 'free') timer.unref();
    return () => clearTimeout(timer);
  },
};
