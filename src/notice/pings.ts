/*
 * Pings for dead-man services: a GET when a run starts, and one when it ends. They delay no run, fail none, and are
 * not kept: one that arrives late would lie, and one that does not arrive is what such a service listens for.
 * A run that was interrupted or left files behind is no success.
 */
import type { Ping } from '../job/job.js';
import type { Listener } from '../report/event.js';
import type { Clock } from './clock.js';
import { ask } from './http.js';
import { readUrl } from './url.js';

export type PingKind = 'start' | 'success' | 'failure';

export interface PingsOptions {
  readonly pingOf: (job: string) => Ping | undefined;
  readonly listener: Listener;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** For one attempt; there are two. */
const TIME_LIMIT_MS = 5_000;
const ATTEMPTS = 2;
const RETRY_AFTER_MS = 1_000;

export class Pings {
  readonly #options: PingsOptions;
  readonly #stop = new AbortController();
  /** What each job has still to tell, in order, while a ping of it is under way. */
  readonly #queues = new Map<string, PingKind[]>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: PingsOptions) {
    this.#options = options;
  }

  /** Sends it as soon as the job's earlier ones are through. Never throws, and does not wait. */
  send(job: string, kind: PingKind): void {
    if (this.#stop.signal.aborted || sourceOf(this.#options.pingOf(job), kind) === undefined) return;
    const waiting = this.#queues.get(job);
    if (waiting === undefined) {
      this.#queues.set(job, [kind]);
      const done = this.#work(job).finally(() => this.#underWay.delete(done));
      this.#underWay.add(done);
      return;
    }
    // A start that something newer has overtaken says nothing any more, and of two ends only the last counts.
    const kept = waiting.filter((other) => other !== 'start' && kind === 'start');
    this.#queues.set(job, [...kept, kind]);
  }

  /** Resolves when none is under way. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** Calls off what is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.settle();
  }

  async #work(job: string): Promise<void> {
    for (;;) {
      const kind = this.#queues.get(job)?.shift();
      if (kind === undefined || this.#stop.signal.aborted) {
        this.#queues.delete(job);
        return;
      }
      const wrong = await this.#ping(job, kind);
      if (wrong !== undefined) {
        this.#options.listener({
          event: 'notice.failed',
          job,
          notice: 'ping',
          channel: `ping ${kind}`,
          attempt: ATTEMPTS,
          message: wrong,
        });
      }
    }
  }

  /** @returns why nobody heard it, as a sentence */
  async #ping(job: string, kind: PingKind): Promise<string | undefined> {
    const { pingOf, environment } = this.#options;
    const ping = pingOf(job);
    const source = sourceOf(ping, kind);
    if (ping === undefined || source === undefined) return undefined;
    const reading = await readUrl(source, `the URL of the ping (${kind})`, environment);
    if (reading.kind === 'none') return reading.message;
    const url = ping.suffixed === 'yes' ? suffixed(reading.url, kind) : reading.url;
    const { signal } = this.#stop;
    let wrong: string | undefined;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      if (attempt > 1) await this.#pause(RETRY_AFTER_MS);
      const end = await ask({
        url,
        method: 'GET',
        headers: { 'user-agent': 'ferryd' },
        timeLimitMs: TIME_LIMIT_MS,
        signal,
      });
      if (end.kind === 'stopped') return undefined;
      if (end.kind === 'answered' && end.status >= 200 && end.status < 300) return undefined;
      const what = end.kind === 'answered' ? `answered ${end.status}` : end.message;
      wrong = `The ping that a run ${WORDS[kind]} did not get through: ${url.host} ${what}.`;
    }
    return wrong;
  }

  #pause(delayMs: number): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const done = (): void => {
        takeBack();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const takeBack = this.#options.clock.after(delayMs, done);
      if (signal.aborted) done();
      else signal.addEventListener('abort', done, { once: true });
    });
  }
}

const WORDS: Readonly<Record<PingKind, string>> = {
  start: 'has started',
  success: 'has ended ok',
  failure: 'has not ended ok',
};

function sourceOf(ping: Ping | undefined, kind: PingKind) {
  return ping?.[kind];
}

/** As the services that take one URL have it: `/start` and `/fail` behind its path. */
function suffixed(url: URL, kind: PingKind): URL {
  const suffix = { start: '/start', success: '', failure: '/fail' }[kind];
  if (suffix === '') return url;
  const changed = new URL(url);
  changed.pathname = `${url.pathname.replace(/\/+$/, '')}${suffix}`;
  return changed;
}
