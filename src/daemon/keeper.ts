/*
 * One job in the daemon: its triggers and its queue. It takes a job that was edited as soon as the run under way is
 * over, triggers and all, and lets go of one that was removed at the next file's boundary.
 * When something is run, and on how many slots, is the daemon's business.
 */
import type { Job } from '../job/job.js';
import { notBegun, type RunReport } from '../run/context.js';
import type { Cause, Coverage, Fire, Trigger } from '../trigger/trigger.js';
import { type Doing, JobQueue, type OnScan } from './queue.js';
import type { Reach } from './reach.js';

export interface KeeperOptions {
  readonly job: Job;
  /** Makes the triggers of a job; not started yet. */
  readonly triggersOf: (job: Job, fire: Fire) => readonly Trigger[];
  /** Runs the job once. Must not reject. `stop`: end at the next file. `cut`: reset what is in flight. */
  readonly run: (job: Job, cause: Cause, signals: RunSignals) => Promise<RunReport>;
  /** Of a job's server. */
  readonly reachOf: (job: Job) => Reach;
  readonly onFired: (cause: Cause) => void;
  readonly onWaiting: (message: string) => void;
  /** Hears why the triggers of an edited job did not start. */
  readonly onProblem: (message: string) => void;
  /** Hears that something that `status` shows has changed. */
  readonly onChange: () => void;
  /** Hears that other triggers have taken over, and when they will fire. */
  readonly onStarted: (job: Job, nextRun: Date | undefined) => void;
}

export interface RunSignals {
  readonly stop: AbortSignal;
  readonly cut: AbortSignal;
  readonly onScan: OnScan;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #queue: JobQueue;
  readonly #stop = new AbortController();
  readonly #cut = new AbortController();
  #job: Job;
  /** What the job is to be once the run under way is over. */
  #next: Job | undefined;
  #triggers: readonly Trigger[] = [];
  /** Triggers that were stopped and may still be closing. */
  readonly #closing = new Set<Promise<void>>();

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#job = options.job;
    this.#queue = new JobQueue({
      run: (cause, onScan) => this.#run(cause, onScan),
      onWaiting: options.onWaiting,
      onChange: options.onChange,
      reach: () => options.reachOf(this.#job),
      firstWaitMs: () => this.#job.retries.maxDelayMs,
    });
  }

  /** Starts the triggers. Resolves when they see what happens; what they find to do may be under way by then. */
  async start(): Promise<void> {
    const { triggersOf, onFired, onStarted } = this.#options;
    const job = this.#job;
    const triggers = triggersOf(job, (cause) => {
      // What is on its way when a trigger is stopped is the next one's to find.
      if (this.#triggers !== triggers) return;
      onFired(cause);
      this.#queue.ask(cause);
    });
    this.#triggers = triggers;
    await Promise.all(triggers.map((trigger) => trigger.start()));
    if (this.#triggers === triggers) onStarted(job, this.nextRun);
  }

  /** From the next run on the job is this one. */
  replace(job: Job): void {
    this.#next = job;
    if (this.#queue.doing.kind === 'running') return;
    this.#takeNext();
    // What it waited for may be mended by the edit.
    this.#queue.hurry();
  }

  /** Fires no more and begins no run; resolves when the one under way has come to a file's boundary and ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#closeTriggers();
    await Promise.all([...this.#closing, this.#queue.stop()]);
  }

  /** Resets what is in flight. */
  cut(): void {
    this.#cut.abort();
  }

  get doing(): Doing {
    return this.#queue.doing;
  }

  /** How the job's tree is watched; undefined where it is not. */
  get coverage(): Coverage | undefined {
    return this.#triggers.map((trigger) => trigger.coverage()).find((coverage) => coverage !== undefined);
  }

  /** When a trigger will fire next; undefined where nothing is set. */
  get nextRun(): Date | undefined {
    const moments = this.#triggers.flatMap((trigger) => trigger.nextRun()?.getTime() ?? []);
    return moments.length === 0 ? undefined : new Date(Math.min(...moments));
  }

  async #run(cause: Cause, onScan: OnScan): Promise<RunReport> {
    const { run } = this.#options;
    const job = this.#job;
    if (this.#stop.signal.aborted) return notBegun(job);
    const report = await run(job, cause, {
      stop: this.#stop.signal,
      cut: this.#cut.signal,
      onScan,
    });
    this.#takeNext();
    return report;
  }

  /** The other triggers start behind the run: what they find to make good has to know what that run covered. */
  #takeNext(): void {
    if (this.#next === undefined || this.#stop.signal.aborted) return;
    this.#job = this.#next;
    this.#next = undefined;
    this.#closeTriggers();
    this.start().catch((error: unknown) =>
      this.#options.onProblem(error instanceof Error ? error.message : String(error)),
    );
  }

  #closeTriggers(): void {
    for (const trigger of this.#triggers) {
      const closed = trigger.stop();
      this.#closing.add(closed);
      void closed.finally(() => this.#closing.delete(closed));
    }
    this.#triggers = [];
  }
}
