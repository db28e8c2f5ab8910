/*
 * One operation tried again while that helps: what fails for now, or with its connection, gets further attempts after
 * growing pauses. For work beside the crew's, such as emptying a trash; what fails for good is thrown as it came, and
 * what it means is the caller's to say. Does not count for all who wait at the same server (outage.ts does).
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Retries } from '../job/job.js';
import type { Failure } from '../remote/decision.js';
import { judge } from '../remote/failure.js';
import { backoffMs } from './backoff.js';

export interface Patience {
  readonly retries: Retries;
  /** Aborted: no further attempt. */
  readonly signal: AbortSignal | undefined;
  /** 0 to 1, for jitter. */
  readonly random: () => number;
  /** Hears of each attempt that failed and is followed by another one. */
  readonly onRetry: (failure: Failure, attempt: number, delayMs: number) => void;
}

/** @throws what `work` threw last */
export async function patiently<T>(work: () => Promise<T>, patience: Patience): Promise<T> {
  const { retries, signal, random, onRetry } = patience;
  const unwanted = (): boolean => signal?.aborted === true;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const failure = judge(error);
      const attempts = Math.min(retries.attempts, failure.inARow ?? retries.attempts);
      const again = failure.decision === 'retry' || failure.decision === 'reconnect';
      if (!again || attempt >= attempts || unwanted()) throw error;
      const delayMs = backoffMs(attempt, retries, random());
      onRetry(failure, attempt, delayMs);
      await pause(delayMs, undefined, { signal }).catch(() => {});
      if (unwanted()) throw error;
    }
  }
}
