/*
 * The notice board: a listener that finds out from events and from the clock how each job stands, and has every
 * change of that told once through the job's channels. What a change is, states.ts and freshness.ts say; it is
 * remembered together with what is to be told in the ledger, and sent by outbox.ts; pings go their own way (pings.ts).
 * A channel that fails is an event for the log, never a notice.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Channel, Ping } from '../job/job.js';
import type { FerrydEvent, Listener } from '../report/event.js';
import { keyed, tell } from './channel.js';
import { type Clock, machineClock } from './clock.js';
import { Grace, judgeFreshness } from './freshness.js';
import { NoticeMemory } from './memory.js';
import { Outbox } from './outbox.js';
import { Pings } from './pings.js';
import { type Finding, readStanding, turn, writeStanding } from './states.js';
import type { Aspect, Change, NoticeStore } from './store.js';
import { bodyOf, type EndedRun, limited, overdueWords, stateOfRun, type Tale, troubleOf } from './telling.js';

export interface NoticeBoardOptions {
  readonly store: NoticeStore;
  /** Hears what becomes of notices: the log. */
  readonly listener: Listener;
  /** A job's channels, be they its own or the agent's; the agent's for a job that is not loaded, and for `''`. */
  readonly channelsOf: (job: string) => readonly Channel[];
  readonly pingOf: (job: string) => Ping | undefined;
  /** The jobs that are loaded now. */
  readonly jobs: () => Iterable<{
    readonly name: string;
    readonly expect: { readonly freshnessMs: number | undefined };
  }>;
  /** Name of this machine; its host name by default. */
  readonly host?: string | undefined;
  /** Where secrets may be; the process's own by default. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** What commands get besides the notice; `environment` by default. */
  readonly environmentOfCommands?: (() => Readonly<Record<string, string | undefined>>) | undefined;
  readonly clock?: Clock | undefined;
  /** 0 to 1, for jitter; tests give their own. */
  readonly random?: (() => number) | undefined;
}

/** Freshness is judged at least so often, and whenever a job falls due. */
const JUDGE_EVERY_MS = 60_000;
const JUDGE_AFTER_LEAST_MS = 1_000;

/** How far back the runs are looked through for why nothing was proven. */
const RUNS_TOLD = 20;

export class NoticeBoard {
  /** Hears the events of runs. Never throws, and waits for nothing. */
  readonly listener: Listener = (event) => this.#hear(event);

  readonly #options: NoticeBoardOptions;
  readonly #clock: Clock;
  readonly #memory: NoticeMemory;
  readonly #outbox: Outbox;
  readonly #pings: Pings;
  readonly #grace: Grace;
  #takeBackTimer: (() => void) | undefined;
  #state: 'made' | 'started' | 'stopped' = 'made';

  constructor(options: NoticeBoardOptions) {
    this.#options = options;
    const { listener, channelsOf, pingOf, environment = process.env, random = Math.random } = options;
    const { environmentOfCommands = () => environment } = options;
    const clock = options.clock ?? machineClock;
    this.#clock = clock;
    this.#memory = new NoticeMemory(options.store.notices, (error) => this.#tellTrouble(error));
    this.#outbox = new Outbox({
      memory: this.#memory,
      channelsOf,
      send: (channel, notice, signal) =>
        tell(channel, notice, {
          environment,
          environmentOfCommands,
          signal,
          wallMs: () => clock.wallMs(),
        }),
      listener,
      clock,
      random,
    });
    this.#pings = new Pings({ pingOf, listener, environment, clock });
    this.#grace = new Grace(this.#now());
  }

  /** Starts the clock: from now on freshness is judged and what waits in the outbox is sent, until `stop`. */
  start(): void {
    if (this.#state !== 'made') return;
    this.#state = 'started';
    this.#judgeAll();
    this.#outbox.look();
  }

  /**
   * Which configuration files are broken now: job names with their sentences, `''` for files that belong to no job.
   * To be called after each load; a job that is not named is well.
   */
  configuration(broken: ReadonlyMap<string, string>): void {
    const atMs = this.#clock.wallMs();
    const well = this.#memory.jobsWith('configuration').filter((job) => !broken.has(job));
    for (const job of well)
      this.#find({ job, aspect: 'configuration', finding: { state: 'good', message: '', atMs } });
    for (const [job, message] of broken) {
      const finding = { state: 'broken', message: limited(message), atMs } as const;
      this.#find({ job, aspect: 'configuration', finding });
    }
  }

  /** A run that could not even begin, so that it has no number and no event: its report is told here. */
  notBegun(report: EndedRun & { readonly job: string }): void {
    if (report.run === undefined) this.#ended(report.job, report);
  }

  /**
   * Sends what is due, and waits for that and for pings, at most so long. For a process that is about to end; what
   * is not taken by then stays for the next one.
   */
  async settle(withinMs: number): Promise<void> {
    if (this.#state === 'stopped') return;
    let takeBack: (() => void) | undefined;
    const late = new Promise<void>((resolve) => {
      takeBack = this.#clock.after(withinMs, resolve);
    });
    await Promise.race([late, Promise.all([this.#outbox.idle(), this.#pings.settle()])]);
    takeBack?.();
  }

  /** Stops at once; nothing is left running. What was not taken stays in the ledger, which may be closed then. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#takeBackTimer?.();
    await Promise.all([this.#outbox.stop(), this.#pings.stop()]);
  }

  #hear(event: FerrydEvent): void {
    if (this.#state === 'stopped') return;
    if (event.event === 'run.started') {
      this.#grace.look(this.#now());
      this.#grace.began(event.job);
      this.#pings.send(event.job, 'start');
    } else if (event.event === 'run.ended') this.#ended(event.job, event);
  }

  #ended(job: string, run: EndedRun): void {
    if (this.#state === 'stopped') return;
    this.#grace.look(this.#now());
    const chance = this.#grace.ended(job);
    const state = stateOfRun(run);
    if (state === undefined) return;
    this.#pings.send(job, state === 'ok' ? 'success' : 'failure');
    const atMs = this.#clock.wallMs();
    this.#find({ job, aspect: 'run', finding: { state, message: troubleOf(job, run), atMs }, run });
    for (const { name, expect } of this.#options.jobs()) {
      if (name === job)
        this.#judge(name, expect.freshnessMs, { grace: chance === 'not-yet' ? 'granted' : 'none', run });
    }
  }

  #judgeAll(): void {
    if (this.#state !== 'started') return;
    this.#grace.look(this.#now());
    const nowMs = this.#clock.wallMs();
    let nextMs = nowMs + JUDGE_EVERY_MS;
    for (const { name, expect } of this.#options.jobs()) {
      const dueMs = this.#judge(name, expect.freshnessMs, { grace: 'granted' });
      if (dueMs !== undefined && dueMs > nowMs) nextMs = Math.min(nextMs, dueMs + 1);
    }
    this.#takeBackTimer?.();
    const delayMs = Math.max(JUDGE_AFTER_LEAST_MS, nextMs - nowMs);
    this.#takeBackTimer = this.#clock.after(delayMs, () => this.#judgeAll(), 'free');
  }

  /** @returns when the job falls due, in milliseconds since 1970 */
  #judge(
    job: string,
    freshnessMs: number | undefined,
    { grace, run }: { readonly grace: 'granted' | 'none'; readonly run?: EndedRun },
  ): number | undefined {
    if (freshnessMs === undefined) return undefined;
    const { store } = this.#options;
    try {
      const known = readStanding(this.#memory.state(job, 'freshness'));
      const provenAtMs = store.provenAtMs(job);
      const proof = {
        provenAtMs,
        knownSinceMs: store.knownSinceMs(job),
        freshSinceMs: known?.state === 'fresh' ? known.sinceMs : undefined,
      };
      const nowMs = this.#clock.wallMs();
      const judged = judgeFreshness(freshnessMs, proof, nowMs);
      if (judged.kind === 'unknown') return undefined;
      const found = {
        job,
        aspect: 'freshness',
        freshness: { expectedMs: freshnessMs, provenAtMs },
        run,
      } as const;
      if (judged.kind === 'fresh') {
        this.#find({ ...found, finding: { state: 'fresh', message: '', atMs: nowMs } });
        return judged.dueMs;
      }
      const told = known?.state === 'overdue';
      if (!told && grace === 'granted' && this.#grace.covers(job)) return undefined;
      const { dueMs, lastMs } = judged;
      const words = (): string =>
        overdueWords({ freshnessMs, lastMs, provenAtMs, nowMs }, store.lastRuns(job, RUNS_TOLD));
      // A channel that is told later is told how it stands then.
      this.#find({ ...found, finding: { state: 'overdue', message: words(), atMs: dueMs } });
      return undefined;
    } catch (error) {
      this.#tellTrouble(error);
      return undefined;
    }
  }

  /** Writes down what was found, with what is to be told of it, where that is anything new. */
  #find(found: {
    readonly job: string;
    readonly aspect: Aspect;
    readonly finding: Finding;
    readonly run?: EndedRun | undefined;
    readonly freshness?: Tale['freshness'];
  }): void {
    const { job, aspect, finding, run, freshness } = found;
    const hearers = keyed(this.#options.channelsOf(job)).map(({ key, channel }) => ({ key, on: channel.on }));
    const nowMs = this.#clock.wallMs();
    const id = randomUUID();
    let queued = 0;
    const decide = (stored: Parameters<typeof readStanding>[0]): Change | undefined => {
      const turned = turn(readStanding(stored), finding, hearers);
      queued = turned?.to.length ?? 0;
      if (turned === undefined) return undefined;
      const host = this.#options.host ?? hostname();
      const body = JSON.stringify(
        bodyOf({ id, job, host, nowMs, aspect, finding, turn: turned, run, freshness }),
      );
      return {
        state: writeStanding(turned.standing),
        outbox: turned.to.map((channel) => ({ channel, body })),
      };
    };
    this.#memory.change(job, aspect, decide, nowMs);
    if (queued > 0) this.#outbox.look();
  }

  #tellTrouble(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.listener({
      event: 'notice.failed',
      notice: 'state',
      channel: 'ledger',
      attempt: 1,
      message: `What is to be told cannot be kept, and is sent from memory until it can be. ${message}`,
    });
  }

  #now(): { readonly wallMs: number; readonly steadyMs: number } {
    return { wallMs: this.#clock.wallMs(), steadyMs: this.#clock.steadyMs() };
  }
}
