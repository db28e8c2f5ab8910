/*
 * The daemon: starts the triggers of all jobs, runs what they ask for, and stops in good order. One a ledger.
 * What was scheduled while it was away is made good once, where the job wants that.
 */
import type { AgentSettings, Job, TriggerSpec } from '../job/job.js';
import type { Ledger } from '../ledger/ledger.js';
import { acquireLock, type Lock, lockDirectory } from '../ledger/lock.js';
import type { Listener } from '../report/event.js';
import { Accounts } from '../run/accounts.js';
import { notBegun, type RunReport } from '../run/context.js';
import { unwatchedOf } from '../run/filter.js';
import { resolveJob } from '../run/resolve.js';
import { runJob } from '../run/run.js';
import { cronTrigger, previousRun } from '../trigger/cron.js';
import type { Cause, Trigger } from '../trigger/trigger.js';
import { watchTrigger } from '../trigger/watch.js';
import { JobQueue } from './queue.js';
import { Slots } from './slots.js';

export interface DaemonOptions {
  readonly jobs: readonly Job[];
  readonly agent: AgentSettings;
  readonly ledger: Ledger;
  readonly listener: Listener;
  /** `traced` tells every line of the control connections to the listener. */
  readonly wire: 'traced' | 'silent';
}

/** Another daemon works on this ledger. The message names its process. */
export class DaemonLocked extends Error {
  override readonly name = 'DaemonLocked';
}

/** After the cut, what may still take a moment: sockets closing, the ledger's last commit. */
const AFTER_CUT_MS = 3_000;

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #lock: Lock;
  readonly #accounts: Accounts;
  readonly #slots: Slots;
  readonly #queues: JobQueue[] = [];
  readonly #triggers: Trigger[] = [];
  readonly #stop = new AbortController();
  readonly #cut = new AbortController();

  private constructor(options: DaemonOptions, lock: Lock) {
    this.#options = options;
    this.#lock = lock;
    this.#accounts = new Accounts(options.listener, { wire: options.wire, profiles: options.ledger });
    this.#slots = new Slots(options.agent.runsAtOnce);
  }

  /**
   * Starts everything.
   *
   * @throws {DaemonLocked} where another daemon works on the same ledger
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const lock = acquireLock(lockDirectory(options.ledger.file), 'daemon', 'daemon');
    if (lock.kind === 'held') {
      throw new DaemonLocked(
        `A daemon works on the ledger ${options.ledger.file} already. ${lock.message} Stop that one, or give this one a ledger of its own with --ledger.`,
      );
    }
    const daemon = new Daemon(options, lock);
    options.listener({ event: 'daemon.started', jobs: options.jobs.length, ledger: options.ledger.file });
    try {
      await Promise.all(options.jobs.map((job) => daemon.#take(job)));
    } catch (error) {
      // Half a daemon would go on by the triggers that did start.
      await daemon.stop('a failed start');
      throw error;
    }
    return daemon;
  }

  /**
   * Stops: no further run, files in hand are finished; what is not done within the agent's time is reset.
   * Resolves when nothing is left running. The ledger stays open.
   */
  async stop(signal: string): Promise<void> {
    const { listener, agent } = this.#options;
    listener({ event: 'daemon.stopping', signal });
    this.#stop.abort();
    const ended = Promise.all([
      ...this.#triggers.map((trigger) => trigger.stop()),
      ...this.#queues.map((queue) => queue.stop()),
    ]);
    if ((await within(agent.stop.withinMs, ended)) === 'late') {
      this.#cut.abort();
      await this.#accounts.close();
      await within(AFTER_CUT_MS, ended);
    }
    await this.#accounts.close();
    this.#lock.release();
    listener({ event: 'daemon.stopped' });
  }

  async #take(job: Job): Promise<void> {
    const { listener } = this.#options;
    const queue = new JobQueue({
      run: (cause) => this.#slots.use(() => this.#run(job, cause)),
      onWaiting: (message) => listener({ event: 'run.waiting', job: job.name, message }),
      firstWaitMs: job.retries.maxDelayMs,
    });
    this.#queues.push(queue);
    const fire = (cause: Cause): void => {
      listener({ event: 'trigger.fired', job: job.name, trigger: cause.trigger });
      queue.ask(cause);
    };
    const triggers = job.triggers.map((spec) => this.#trigger(job, spec, fire));
    this.#triggers.push(...triggers);
    const started = triggers.map((trigger) => trigger.start());
    // Behind the start: a moment between the two would be nobody's.
    this.#makeGood(job, fire);
    await Promise.all(started);
    const next = triggers
      .map((trigger) => trigger.nextRun()?.getTime())
      .filter((ms) => ms !== undefined)
      .sort((a, b) => a - b)[0];
    listener({
      event: 'job.loaded',
      job: job.name,
      nextRun: next === undefined ? undefined : new Date(next).toISOString(),
    });
  }

  #trigger(job: Job, spec: TriggerSpec, fire: (cause: Cause) => void): Trigger {
    const onProblem = (message: string): void =>
      this.#options.listener({ event: 'trigger.problem', job: job.name, message });
    if (spec.kind === 'cron') return cronTrigger(spec, fire, onProblem);
    return watchTrigger(
      {
        root: resolveJob(job, Date.now()).job.local,
        settleMs: spec.settleMs,
        rescanMs: spec.rescanMs,
        // The watcher does not say what a path is; what is excluded is excluded as a file and as a directory.
        ignored: unwatchedOf(job),
      },
      fire,
      onProblem,
    );
  }

  /**
   * Schedules that passed while no daemon was there: one run for all of them. The first time a job is seen, nothing
   * was missed.
   */
  #makeGood(job: Job, fire: (cause: Cause) => void): void {
    const { ledger } = this.#options;
    const now = Date.now();
    let latest: { readonly trigger: string; readonly scheduledAtMs: number } | undefined;
    for (const spec of job.triggers) {
      if (spec.kind !== 'cron') continue;
      const covered = ledger.coveredUntil(job.name, scheduleKey(spec));
      const missed =
        covered === undefined ? undefined : previousRun(spec.expression, spec.timezone, covered, now);
      if (missed === undefined || spec.missed === 'skip') {
        ledger.setCoveredUntil(job.name, scheduleKey(spec), now);
      } else if (latest === undefined || missed > latest.scheduledAtMs) {
        latest = { trigger: `missed cron ${spec.expression}`, scheduledAtMs: missed };
      }
    }
    if (latest !== undefined) fire(latest);
  }

  async #run(job: Job, cause: Cause): Promise<RunReport> {
    const { ledger, listener } = this.#options;
    // It waited for its slot when the daemon was stopped.
    if (this.#stop.signal.aborted) return notBegun(job);
    const report = await runJob(job, {
      ledger,
      accounts: this.#accounts,
      listener,
      trigger: cause.trigger,
      stop: this.#stop.signal,
      cut: this.#cut.signal,
    });
    // An interrupted run, and one that never reached the server, leaves its schedule open: it is made good later.
    const kind = report.failure?.kind;
    const dealtWith = report.outcome !== 'interrupted' && kind !== 'locked' && kind !== 'unreachable';
    if (cause.scheduledAtMs !== undefined && dealtWith) this.#cover(job, cause.scheduledAtMs);
    return report;
  }

  #cover(job: Job, untilMs: number): void {
    const { ledger, listener } = this.#options;
    try {
      for (const spec of job.triggers) {
        if (spec.kind !== 'cron') continue;
        // A run covers what every schedule of the job asked for until then, and takes nothing back.
        const covered = ledger.coveredUntil(job.name, scheduleKey(spec)) ?? 0;
        if (covered < untilMs) ledger.setCoveredUntil(job.name, scheduleKey(spec), untilMs);
      }
    } catch (error) {
      // The ledger's trouble is told by the run itself; here it must not end the daemon.
      listener({
        event: 'trigger.problem',
        job: job.name,
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

function scheduleKey(spec: Extract<TriggerSpec, { kind: 'cron' }>): string {
  return `cron ${spec.expression} ${spec.timezone ?? ''}`.trim();
}

async function within(ms: number, done: Promise<unknown>): Promise<'done' | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  const first = await Promise.race([done.then(() => 'done' as const), late]);
  clearTimeout(timer);
  return first;
}
