/*
 * The remote's listings, asked for with the same patience as files are carried: what fails for now is asked for
 * again after a pause, and a server that is away is waited for together with the workers. What fails for good is
 * thrown as it came; the scan says what that means.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { RelativePath } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import type { RemoteDirectory } from '../remote/remote.js';
import { backoffMs } from './backoff.js';
import type { Voyage } from './context.js';
import { RunEnded } from './end.js';
import type { Outage } from './outage.js';
import type { Lists } from './scan.js';

export class Lister implements Lists {
  readonly label: string;
  readonly #voyage: Voyage;
  readonly #outage: Outage;

  constructor(voyage: Voyage, outage: Outage) {
    this.label = voyage.remote.label;
    this.#voyage = voyage;
    this.#outage = outage;
  }

  /**
   * @throws {RunEnded} where the server stays away, or the run is to end
   * @throws what the remote throws, where asking again would not help or has not helped
   */
  async list(directory: RelativePath | ''): Promise<RemoteDirectory> {
    const { remote, job, run, context, random } = this.#voyage;
    const { retries } = job;
    for (let attempt = 1; ; ) {
      await this.#wait(this.#outage.remainingMs);
      try {
        const listing = await remote.list(directory);
        this.#outage.over();
        return listing;
      } catch (error) {
        this.#endWithTheRun();
        const failure = judge(error);
        const { code, message, decision } = failure;
        if (decision !== 'retry' && decision !== 'reconnect') throw error;
        if (failure.beforeSession) {
          await this.#wait(this.#outage.failed(failure, error));
          continue;
        }
        if (attempt >= Math.min(retries.attempts, failure.inARow ?? retries.attempts)) throw error;
        const delayMs = backoffMs(attempt, retries, random());
        const path = directory === '' ? '.' : directory;
        context.listener({ event: 'file.retry', job: job.name, run, path, attempt, delayMs, code, message });
        await this.#wait(delayMs);
        attempt += 1;
      }
    }
  }

  async #wait(ms: number): Promise<void> {
    if (ms <= 0) return;
    const { stop, cut } = this.#voyage.context;
    const signals = [stop, cut].filter((signal) => signal !== undefined);
    await pause(ms, undefined, { signal: AbortSignal.any(signals) }).catch(() => {});
    this.#endWithTheRun();
  }

  #endWithTheRun(): void {
    const { stop, cut } = this.#voyage.context;
    if (stop?.aborted === true || cut?.aborted === true) {
      throw new RunEnded('failed', 'interrupted', 'The run was interrupted.');
    }
  }
}
