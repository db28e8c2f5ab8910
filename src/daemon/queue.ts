/*
 * One job's runs in the daemon, one at a time, what is asked for in the meantime coalesced into one more.
 *
 * | state | in | out |
 * | --- | --- | --- |
 * | idle | a run ended and nothing was asked | asked -> running |
 * | running | asked while idle; the wait is over | run ends -> idle, or -> waiting |
 * | running, pending | asked while running | run ends -> running |
 * | waiting | the server was out of reach, or another process runs the job | time, or a schedule -> running |
 * | stopped | stop() | never |
 *
 * The state changes in `#become` only.
 */
import type { RunReport } from '../run/context.js';
import type { Cause } from '../trigger/trigger.js';
import { timerDelayMs } from '../trigger/trigger.js';

export interface QueueOptions {
  /** Runs the job once. Must not reject. */
  readonly run: (cause: Cause) => Promise<RunReport>;
  /** Hears that a further run is put off, in a sentence. */
  readonly onWaiting: (message: string) => void;
  /** Longest pause of the job's retries: the first wait after a run that did not reach its server. */
  readonly firstWaitMs: number;
}

/** While another process runs the job, look again so often. */
const LOCKED_WAIT_MS = 10_000;

/** The longest wait for a server that is out of reach. */
const LONGEST_WAIT_MS = 60 * 60 * 1000;

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running'; readonly cause: Cause; readonly pending: Cause | undefined }
  | { readonly kind: 'waiting'; readonly cause: Cause; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'stopped' };

export class JobQueue {
  readonly #options: QueueOptions;
  #state: State = { kind: 'idle' };
  #running: Promise<void> = Promise.resolve();
  /** Runs in a row that did not reach the server. */
  #outages = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Asks for a run. It starts now, or after the one under way, or with the one that is waited for. */
  ask(cause: Cause): void {
    const state = this.#state;
    switch (state.kind) {
      case 'idle':
        this.#start(cause);
        return;
      case 'running':
        this.#become({ ...state, pending: merge(state.pending, cause) });
        return;
      case 'waiting':
        // A schedule is worth a try at once; a hint that files changed is not: that run will see them.
        if (cause.scheduledAtMs !== undefined) this.#start(merge(state.cause, cause));
        return;
      case 'stopped':
        return;
    }
  }

  /** No further run; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#become({ kind: 'stopped' });
    await this.#running;
  }

  #start(cause: Cause): void {
    this.#become({ kind: 'running', cause, pending: undefined });
    this.#running = this.#run(cause);
  }

  async #run(cause: Cause): Promise<void> {
    const report = await this.#options.run(cause);
    const state = this.#state;
    if (state.kind !== 'running') return;
    const kind = report.failure?.kind;
    if (kind === 'locked') {
      this.#wait(merge(cause, state.pending), LOCKED_WAIT_MS, 'Another process runs this job');
      return;
    }
    if (kind === 'unreachable') {
      this.#outages += 1;
      const waitMs = Math.min(
        LONGEST_WAIT_MS,
        this.#options.firstWaitMs * 2 ** Math.min(this.#outages - 1, 20),
      );
      this.#wait(merge(cause, state.pending), waitMs, 'The server is out of reach');
      return;
    }
    this.#outages = 0;
    if (state.pending !== undefined) this.#start(state.pending);
    else this.#become({ kind: 'idle' });
  }

  #wait(cause: Cause, waitMs: number, why: string): void {
    const again = new Date(Date.now() + waitMs).toISOString();
    this.#options.onWaiting(`${why}: the next try is at ${again}.`);
    const timer = setTimeout(() => this.#start(cause), timerDelayMs(waitMs));
    this.#become({ kind: 'waiting', cause, timer });
  }

  #become(next: State): void {
    if (this.#state.kind === 'stopped') return;
    if (this.#state.kind === 'waiting') clearTimeout(this.#state.timer);
    this.#state = next;
  }
}

/** Two requests in one: a schedule is the stronger reason, since it is what has to be covered. */
function merge(first: Cause | undefined, second: Cause): Cause;
function merge(first: Cause, second: Cause | undefined): Cause;
function merge(first: Cause | undefined, second: Cause | undefined): Cause | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return second.scheduledAtMs !== undefined ? second : first;
}
