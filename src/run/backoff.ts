/*
 * How long to wait before the next attempt: twice as long each time up to a limit, with jitter, so that many
 * clients that failed together do not come back together.
 */
import type { Retries } from '../job/job.js';

/**
 * @param attempt the attempt that has just failed, counted from 1
 * @param random a number from 0 to 1
 * @returns milliseconds; between half of the full delay and all of it
 */
export function backoffMs(attempt: number, retries: Retries, random: number): number {
  const full = Math.min(retries.maxDelayMs, retries.firstDelayMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(full * (0.5 + random / 2));
}
