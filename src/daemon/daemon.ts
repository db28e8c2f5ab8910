/*
 * The daemon: keeps all jobs by their triggers, takes a configuration that has changed, and stops in good order. One a
 * ledger. What happens to a single job is in keeper.ts; what was missed while nobody was there is in coverage.ts.
 */
import type { Job } from '../job/job.js';
import type { Configuration } from '../job/load.js';
import { formatProblem } from '../job/problem.js';
import { withoutSecrets } from '../job/secret-names.js';
import type { Ledger } from '../ledger/ledger.js';
import { acquireLock, type Lock, lockDirectory } from '../ledger/lock.js';
import type { FerrydEvent, Listener } from '../report/event.js';
import { fullStop } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { bindingKey, notBegun, type RunReport } from '../run/context.js';
import { unwatchedOf } from '../run/filter.js';
import { resolveJob } from '../run/resolve.js';
import { runJob } from '../run/run.js';
import { machineSeed } from '../trigger/jitter.js';
import type { Cause, Fire, Trigger } from '../trigger/trigger.js';
import { watchTrigger } from '../trigger/watch.js';
import { ScheduleCoverage } from './coverage.js';
import { Keeper, type RunSignals } from './keeper.js';
import { Reaches } from './reach.js';
import { type Change, changeBy, type InForce } from './reload.js';
import { type Slot, Slots } from './slots.js';
import { type JobStanding, type Standing, StandingFile } from './standing.js';
import { Tending } from './tending.js';

export interface DaemonOptions {
  /** What was loaded; at least one job can run. */
  readonly configuration: Configuration;
  readonly ledger: Ledger;
  readonly listener: Listener;
  /** `traced` tells every line of the control connections to the listener. */
  readonly wire: 'traced' | 'silent';
  /** Hears of every configuration that is taken, the first one too. */
  readonly onChange?: ((change: Change) => void) | undefined;
  /** Hears in one line what the daemon is doing, whenever that changes. */
  readonly onStanding?: ((line: string) => void) | undefined;
  /** Hears how each run ended, also one that could not begin. */
  readonly onReport?: ((report: RunReport) => void) | undefined;
}

/** Another daemon works on this ledger. The message names its process. */
export class DaemonLocked extends Error {
  override readonly name = 'DaemonLocked';
}

/**
 * After the cut, what may still take a moment: sockets closing, the ledger's last commit, and hooks, which are asked to
 * end before they are killed (hooks.ts: 15 seconds for both, at the most).
 */
const AFTER_CUT_MS = 18_000;

/** A trigger looks at the clock each minute; one that lets a moment go by for so long does not look any more. */
const SCHEDULE_STUCK_MS = 3 * 60_000;

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #lock: Lock;
  readonly #accounts: Accounts;
  readonly #slots: Slots;
  readonly #reaches = new Reaches();
  readonly #coverage: ScheduleCoverage;
  readonly #standing: StandingFile;
  readonly #tending: Tending;
  readonly #keepers = new Map<string, Keeper>();
  /** Keepers of jobs that were removed, while their last run ends. */
  readonly #leaving = new Map<Keeper, Promise<void>>();
  /** Slots of runs under way, by job: whoever waits for a server lends his. */
  readonly #held = new Map<string, { readonly job: Job; readonly slot: Slot }>();
  /** Moments that have come and did not lead to a run yet, by job, and since when that is seen. */
  readonly #late = new Map<string, { readonly moment: string; readonly seenMs: number }>();
  #inForce: InForce;
  #stale: ReadonlyMap<string, string> = new Map();
  #problems: readonly string[] = [];
  /** Job files with an error in them; what belongs to no job counts as one. */
  #broken = 0;
  #stopping = false;

  private constructor(options: DaemonOptions, lock: Lock, inForce: InForce) {
    const { ledger, configuration } = options;
    this.#options = options;
    this.#lock = lock;
    this.#inForce = inForce;
    this.#accounts = new Accounts(this.#tell, { wire: options.wire, profiles: ledger });
    this.#slots = new Slots(configuration.agent.runsAtOnce);
    this.#coverage = new ScheduleCoverage({
      ledger,
      seed: machineSeed(),
      onProblem: (job, message) => this.#tell({ event: 'trigger.problem', job, message }),
    });
    this.#tending = new Tending({
      ledger,
      listener: this.#tell,
      keepMs: () => this.#inForce.agent.history.keepMs,
    });
    this.#standing = new StandingFile(lockDirectory(ledger.file), () => this.#stand());
  }

  /**
   * Starts everything.
   *
   * @throws {DaemonLocked} where another daemon works on the same ledger
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { ledger, listener, configuration } = options;
    const lock = acquireLock(lockDirectory(ledger.file), 'daemon', 'daemon');
    if (lock.kind === 'held') {
      throw new DaemonLocked(
        `A daemon works on the ledger ${ledger.file} already. ${lock.message} Stop that one, or give this one a ledger of its own with --ledger.`,
      );
    }
    const change = changeBy(configuration, undefined);
    const daemon = new Daemon(options, lock, change.inForce);
    daemon.#tellProblems(configuration);
    listener({ event: 'daemon.started', jobs: change.added.length, ledger: ledger.file });
    try {
      await daemon.#take(change, configuration);
      daemon.#tending.start();
    } catch (error) {
      // Half a daemon would go on by the triggers that did start.
      await daemon.stop('a failed start');
      throw error;
    }
    return daemon;
  }

  /** Takes a configuration that was loaded anew. Resolves when the triggers of jobs that are new see what happens. */
  async reload(configuration: Configuration): Promise<void> {
    if (this.#stopping) return;
    await this.#take(changeBy(configuration, this.#inForce), configuration);
  }

  /**
   * Stops: no further run, files in hand are finished; what is not done within the agent's time is reset.
   * Resolves when nothing is left running. The ledger stays open.
   */
  async stop(signal: string): Promise<void> {
    this.#stopping = true;
    this.#tell({ event: 'daemon.stopping', signal });
    const keepers = [...this.#keepers.values(), ...this.#leaving.keys()];
    const ended = Promise.all([
      this.#tending.stop(),
      ...keepers.map((keeper) => keeper.stop()),
      ...this.#leaving.values(),
    ]);
    if ((await within(this.#inForce.agent.stop.withinMs, ended)) === 'late') {
      for (const keeper of keepers) keeper.cut();
      await this.#accounts.close();
      await within(AFTER_CUT_MS, ended);
    }
    await this.#accounts.close();
    this.#standing.close();
    this.#lock.release();
    this.#tell({ event: 'daemon.stopped' });
  }

  /** What is stuck, in a sentence; undefined while scheduler and ledger go on. */
  progress(): string | undefined {
    for (const [name, keeper] of this.#keepers) {
      const { nextRun } = keeper;
      if (nextRun === undefined || nextRun.getTime() > Date.now()) {
        this.#late.delete(name);
        continue;
      }
      // By the monotonic clock: behind a suspend, or a clock that was set, each moment looks late for a while.
      const moment = nextRun.toISOString();
      const known = this.#late.get(name);
      if (known?.moment !== moment) this.#late.set(name, { moment, seenMs: performance.now() });
      else if (performance.now() - known.seenMs > SCHEDULE_STUCK_MS) {
        return `The scheduler of job ${name} let the run of ${moment} go by.`;
      }
    }
    return this.#options.ledger.stuck();
  }

  /** One line for people: how many jobs there are, and what they are doing. */
  describe(): string {
    const doing = [...this.#keepers.values()].map((keeper) => keeper.doing.kind);
    const count = (kind: string): number => doing.filter((one) => one === kind).length;
    const parts = [
      doing.length === 1 ? '1 job' : `${doing.length} jobs`,
      `${count('running')} running`,
      ...(count('waiting') > 0 ? [`${count('waiting')} waiting for a server`] : []),
      ...(this.#broken > 0 ? ['the configuration has mistakes (ferryd check)'] : []),
    ];
    return parts.join(', ');
  }

  /** Hears what happens in runs, and passes it on. */
  readonly #tell: Listener = (event) => {
    this.#reaches.hear(event);
    this.#lend(event);
    this.#options.listener(event);
  };

  async #take(change: Change, configuration: Configuration): Promise<void> {
    const { onChange } = this.#options;
    this.#inForce = change.inForce;
    this.#stale = change.stale;
    this.#broken = change.broken.size;
    this.#slots.resize(change.inForce.agent.runsAtOnce);
    this.#tellProblems(configuration);
    onChange?.(change);
    const { added, changed, removed } = change;
    for (const name of removed) this.#letGo(name);
    for (const job of changed) this.#keepers.get(job.name)?.replace(job);
    await Promise.all(added.map((job) => this.#keep(job)));
    for (const name of removed) this.#tell({ event: 'job.removed', job: name });
    this.#standing.touch();
  }

  /** Each mistake once, for as long as it stands. */
  #tellProblems({ problems }: Configuration): void {
    const told = new Set(this.#problems);
    for (const problem of problems) {
      const message = formatProblem(problem);
      if (told.has(message)) continue;
      const stays =
        problem.job !== undefined && this.#stale.has(problem.job)
          ? ' The job goes on as it was before this edit.'
          : '';
      this.#tell({
        event: 'configuration.problem',
        level: problem.severity === 'error' ? 'error' : 'warn',
        message: `${fullStop(message)}${stays}`,
        ...(problem.job === undefined ? {} : { job: problem.job }),
      });
    }
    this.#problems = problems.map(formatProblem);
  }

  async #keep(job: Job): Promise<void> {
    const { name } = job;
    const keeper = new Keeper({
      job,
      triggersOf: (version, fire) => this.#triggers(version, fire),
      run: (version, cause, signals) =>
        this.#slots.use((slot) => this.#run(version, cause, { signals, slot })),
      reachOf: (version) => this.#reaches.of(accountOf(version)),
      onFired: ({ trigger }) => this.#tell({ event: 'trigger.fired', job: name, trigger }),
      onWaiting: (message) => this.#tell({ event: 'run.waiting', job: name, message }),
      onProblem: (message) => this.#tell({ event: 'trigger.problem', job: name, message }),
      onChange: () => this.#standing.touch(),
      onStarted: (_, nextRun) => {
        this.#tell({ event: 'job.loaded', job: name, nextRun: nextRun?.toISOString() });
        this.#standing.touch();
      },
    });
    this.#keepers.set(name, keeper);
    await keeper.start();
  }

  #letGo(name: string): void {
    const keeper = this.#keepers.get(name);
    if (keeper === undefined) return;
    this.#keepers.delete(name);
    this.#coverage.forget(name);
    this.#leaving.set(
      keeper,
      keeper.stop().finally(() => this.#leaving.delete(keeper)),
    );
  }

  #triggers(job: Job, fire: Fire): readonly Trigger[] {
    const onProblem = (message: string): void =>
      this.#tell({ event: 'trigger.problem', job: job.name, message });
    const schedules = this.#coverage.trigger(job, fire, onProblem);
    const watches = job.triggers.flatMap((spec) =>
      spec.kind !== 'watch'
        ? []
        : watchTrigger(
            {
              root: resolveJob(job, Date.now()).job.local,
              settleMs: spec.settleMs,
              rescanMs: spec.rescanMs,
              events: spec.events,
              pollMs: spec.pollMs,
              // The watcher does not say what a path is; what is excluded is excluded as a file and as a directory.
              ignored: unwatchedOf(job),
            },
            fire,
            onProblem,
            () => this.#standing.touch(),
          ),
    );
    return schedules === undefined ? watches : [schedules, ...watches];
  }

  async #run(
    job: Job,
    cause: Cause,
    { signals, slot }: { readonly signals: RunSignals; readonly slot: Slot },
  ): Promise<RunReport> {
    // It waited for its slot when it was stopped.
    if (signals.stop.aborted) return notBegun(job);
    this.#held.set(job.name, { job, slot });
    this.#standing.touch();
    const report = await runJob(job, {
      ledger: this.#options.ledger,
      accounts: this.#accounts,
      listener: this.#tell,
      trigger: cause.trigger,
      environment: withoutSecrets(process.env, [this.#inForce.agent, ...this.#inForce.jobs.values()]),
      ...signals,
    });
    this.#held.delete(job.name);
    this.#options.onReport?.(report);
    // An interrupted run, and one that never reached the server, leaves its schedule open: it is made good later.
    const kind = report.failure?.kind;
    const dealtWith = report.outcome !== 'interrupted' && kind !== 'locked' && kind !== 'unreachable';
    if (dealtWith) this.#coverage.cover(job, cause);
    return report;
  }

  /** A run that waits for its server takes no slot meanwhile. */
  #lend(event: FerrydEvent): void {
    if (event.event === 'connection.retry' && event.job !== undefined) this.#held.get(event.job)?.slot.lend();
    if (event.event !== 'connection.opened') return;
    for (const { job, slot } of this.#held.values()) if (accountOf(job) === event.account) slot.reclaim();
  }

  #stand(): Standing {
    this.#options.onStanding?.(this.describe());
    const jobs: Record<string, JobStanding> = {};
    for (const [name, keeper] of this.#keepers) {
      const { doing } = keeper;
      jobs[name] = {
        // It waits for other jobs to end.
        doing: doing.kind === 'running' && !this.#held.has(name) ? { ...doing, kind: 'queued' } : doing,
        nextRunMs: keeper.nextRun?.getTime(),
        coverage: keeper.coverage,
        stale: this.#stale.get(name),
      };
    }
    return {
      pid: process.pid,
      atMs: Date.now(),
      directory: this.#options.configuration.directory,
      problems: this.#problems,
      jobs,
    };
  }
}

/** As events name it. */
function accountOf(job: Job): string {
  return bindingKey(job).server;
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
