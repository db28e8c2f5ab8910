/*
 * Questions to the remote that no file's journey asks: listings above all. Asked with the same patience as files are
 * carried: what fails for now is asked again after a pause, and a server that is away is waited for together with the
 * workers. What fails for good is thrown as it came; who asked says what that means.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { RelativePath, RemoteFile } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import type {
  Difference,
  ListOptions,
  OperationOptions,
  Remote,
  RemoteDirectory,
  RemoteLinks,
} from '../remote/remote.js';
import { backoffMs } from './backoff.js';
import type { Voyage } from './context.js';
import { RunEnded } from './end.js';
import type { Outage } from './outage.js';
import type { Lists } from './sights.js';

type Asked = Pick<Voyage, 'remote' | 'job' | 'run' | 'context' | 'random'>;

/**
 * Every method throws RunEnded where the server stays away, or the run is to end; and what the remote throws, where
 * asking again would not help or has not helped.
 */
export class Lister implements Lists {
  readonly label: string;
  readonly #voyage: Asked;
  readonly #outage: Outage;

  constructor(voyage: Asked, outage: Outage) {
    this.label = voyage.remote.label;
    this.#voyage = voyage;
    this.#outage = outage;
  }

  list(directory: RelativePath | '', asked: Pick<ListOptions, 'links'> = {}): Promise<RemoteDirectory> {
    const { links } = asked;
    return this.#patiently(directory, (remote, options) =>
      remote.list(directory, links === undefined ? options : { ...options, links }),
    );
  }

  /** As the remote's, where it has any. */
  get links(): Pick<RemoteLinks, 'read'> | undefined {
    if (this.#voyage.remote.links === undefined) return undefined;
    return {
      read: (path) => this.#patiently(path, async ({ links }, options) => links?.read(path, options)),
    };
  }

  stat(path: RelativePath): Promise<RemoteFile | undefined> {
    return this.#patiently(path, (remote, options) => remote.stat(path, options));
  }

  move(from: RelativePath, to: RelativePath): Promise<'moved' | 'missing' | 'occupied'> {
    return this.#patiently(from, (remote, options) => remote.move(from, to, options));
  }

  remove(path: RelativePath): Promise<void> {
    return this.#patiently(path, (remote, options) => remote.remove(path, options));
  }

  makeDirectory(path: RelativePath | ''): Promise<void> {
    return this.#patiently(path, (remote, options) => remote.makeDirectory(path, options));
  }

  removeDirectory(path: RelativePath): Promise<'removed' | 'not-empty'> {
    return this.#patiently(path, (remote, options) => remote.removeDirectory(path, options));
  }

  keepsApart(difference: Difference): Promise<boolean> {
    return this.#patiently('', (remote) => remote.keepsApart(difference));
  }

  makeRoot(): Promise<void> {
    return this.makeDirectory('');
  }

  async #patiently<T>(
    asked: RelativePath | '',
    ask: (remote: Remote, options: OperationOptions) => Promise<T>,
  ): Promise<T> {
    const { remote, job, run, context, random } = this.#voyage;
    const { retries } = job;
    for (let attempt = 1; ; ) {
      await this.#wait(this.#outage.remainingMs);
      try {
        const answer = await ask(remote, { signal: context.cut });
        this.#outage.over();
        return answer;
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
        const path = asked === '' ? '.' : asked;
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
