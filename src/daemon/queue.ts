/*
 * One job's runs in the daemon, one at a time, what is asked for in the meantime coalesced into one more.
 *
 * | state | in | out |
 * | --- | --- | --- |
 * | idle | a run ended and nothing was asked | asked -> running, or -> waiting where the server is out of reach |
 * | running | asked while idle; the wait is over | run ends -> idle, or -> waiting |
 * | running, pending | asked while running, and not covered | run ends -> running; its scan begins -> running, unless a schedule asked |
 * | waiting | the server is out of reach, or another process runs the job | time, a schedule, or another job that reaches the server -> running |
 * | stopped | stop() | never |
 *
 * The state changes in `#become` only. What is to be looked at is gathered apart from why a run is asked for, and handed
 * over when its scan begins: places where there is nothing else, and everything as soon as one cause names none, or
 * after a run that did not end well.
 */
import type { RunReport } from '../run/context.js';
import { Places } from '../trigger/places.js';
import type { Cause } from '../trigger/trigger.js';
import { timerDelayMs } from '../trigger/trigger.js';
import type { Reach } from './reach.js';

export interface QueueOptions {
  /** Runs the job once. Must not reject. */
  readonly run: (cause: Cause, onScan: OnScan) => Promise<RunReport>;
  /** Hears that a further run is put off, in a sentence. */
  readonly onWaiting: (message: string) => void;
  /** Hears of each change of state. */
  readonly onChange: () => void;
  /** Of the job's server, as it is now. */
  readonly reach: () => Reach;
  /** Longest pause of the job's retries: the first wait after a run that did not reach its server. */
  readonly firstWaitMs: () => number;
}

/**
 * To be told when the run begins to look at both sides, and whether places are enough for it: it finds all that has
 * changed until then in those that are returned. Undefined is everything.
 */
export type OnScan = (least: 'everything' | 'places') => ReadonlySet<string> | undefined;

/** What the queue is doing, for people. */
export type Doing =
  | { readonly kind: 'idle' | 'stopped' }
  | { readonly kind: 'running'; readonly trigger: string; readonly sinceMs: number; readonly more: boolean }
  | { readonly kind: 'waiting'; readonly message: string; readonly untilMs: number };

/** While another process runs the job, look again so often. */
const LOCKED_WAIT_MS = 10_000;

type State =
  | { readonly kind: 'idle' }
  | {
      readonly kind: 'running';
      readonly cause: Cause;
      readonly pending: Cause | undefined;
      readonly sinceMs: number;
      /** Its scan, once that has begun: when, on the monotonic clock, and of what. */
      readonly scan: { readonly atMs: number; readonly of: 'everything' | 'places' } | undefined;
    }
  | {
      readonly kind: 'waiting';
      readonly cause: Cause;
      readonly message: string;
      readonly untilMs: number;
      readonly timer: NodeJS.Timeout;
      /** Takes back what was asked of the server's reach. */
      readonly forget: () => void;
    }
  | { readonly kind: 'stopped' };

export class JobQueue {
  readonly #options: QueueOptions;
  #state: State = { kind: 'idle' };
  #running: Promise<void> = Promise.resolve();
  /** What no scan has begun to look at since it was asked for. */
  readonly #due = new Places();

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Asks for a run. It starts now, or after the one under way, or with the one that is waited for. */
  ask(cause: Cause): void {
    const state = this.#state;
    if (state.kind === 'running' && isCovered(cause, state.scan)) return;
    this.#due.add(cause.places);
    switch (state.kind) {
      case 'idle': {
        const remainingMs = this.#options.reach().remainingMs;
        // A schedule is worth a try at once; a hint that files changed is not: that run will see them.
        if (remainingMs > 0 && !isScheduled(cause)) this.#wait(cause, remainingMs, 'out-of-reach');
        else this.#start(cause);
        return;
      }
      case 'running':
        this.#become({ ...state, pending: merge(state.pending, cause) });
        return;
      case 'waiting': {
        const merged = merge(state.cause, cause);
        if (isScheduled(cause)) this.#start(merged);
        return;
      }
      case 'stopped':
        return;
    }
  }

  /** What it waits for may have changed: tries now. */
  hurry(): void {
    if (this.#state.kind === 'waiting') this.#start(this.#state.cause);
  }

  /** What it is doing now. */
  get doing(): Doing {
    return doingOf(this.#state);
  }

  /** No further run; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#become({ kind: 'stopped' });
    await this.#running;
  }

  #start(cause: Cause): void {
    this.#become({ kind: 'running', cause, pending: undefined, sinceMs: Date.now(), scan: undefined });
    this.#running = this.#run(cause);
  }

  async #run(cause: Cause): Promise<void> {
    const beganMs = performance.now();
    const report = await this.#options.run(cause, (least) => this.#scans(least));
    const state = this.#state;
    if (state.kind !== 'running') return;
    // What it was to look at, and did not or not with success, is not known any more.
    if (report.outcome !== 'ok') this.#due.add(undefined);
    const kind = report.failure?.kind;
    if (kind === 'locked') {
      this.#wait(merge(cause, state.pending), LOCKED_WAIT_MS, 'locked');
      return;
    }
    if (kind === 'unreachable') {
      const { reach, firstWaitMs } = this.#options;
      const waitMs = reach().failed(beganMs, firstWaitMs());
      this.#wait(merge(cause, state.pending), waitMs, 'out-of-reach');
      return;
    }
    if (state.pending !== undefined) this.#start(state.pending);
    else this.#become({ kind: 'idle' });
  }

  /** What was asked for so far, while the run waited for its slot or its hook, is in its scan; schedules count runs. */
  #scans(least: 'everything' | 'places'): ReadonlySet<string> | undefined {
    const state = this.#state;
    if (state.kind !== 'running' || state.scan !== undefined) return undefined;
    const { pending } = state;
    const counts = pending !== undefined && (isScheduled(pending) || pending.covers !== undefined);
    const kept = counts ? pending : undefined;
    const places = this.#due.take();
    const of = places === undefined ? 'everything' : least;
    this.#become({ ...state, pending: kept, scan: { atMs: performance.now(), of } });
    return of === 'everything' ? undefined : places;
  }

  #wait(cause: Cause, waitMs: number, why: 'locked' | 'out-of-reach'): void {
    const untilMs = Date.now() + waitMs;
    const what = why === 'locked' ? 'Another process runs this job' : 'The server is out of reach';
    const message = `${what}: the next try is at ${new Date(untilMs).toISOString()}.`;
    const start = (): void => this.hurry();
    this.#become({
      kind: 'waiting',
      cause,
      message,
      untilMs,
      timer: setTimeout(start, timerDelayMs(waitMs)),
      forget: why === 'locked' ? () => undefined : this.#options.reach().whenOver(start),
    });
    this.#options.onWaiting(message);
  }

  #become(next: State): void {
    if (this.#state.kind === 'stopped') return;
    if (this.#state.kind === 'waiting') {
      clearTimeout(this.#state.timer);
      this.#state.forget();
    }
    this.#state = next;
    this.#options.onChange();
  }
}

function doingOf(state: State): Doing {
  switch (state.kind) {
    case 'idle':
    case 'stopped':
      return { kind: state.kind };
    case 'running': {
      const { cause, sinceMs, pending } = state;
      return { kind: 'running', trigger: cause.trigger, sinceMs, more: pending !== undefined };
    }
    case 'waiting':
      return { kind: 'waiting', message: state.message, untilMs: state.untilMs };
  }
}

function isScheduled(cause: Cause): boolean {
  return cause.scheduledAtMs !== undefined;
}

/** A change that was noticed before a scan of everything began is in it, also where it is asked for only afterwards. */
function isCovered(
  cause: Cause,
  scan: { readonly atMs: number; readonly of: 'everything' | 'places' } | undefined,
): boolean {
  if (isScheduled(cause) || cause.noticedMs === undefined || scan?.of !== 'everything') return false;
  return cause.noticedMs < scan.atMs;
}

/** Two requests in one: a schedule is the stronger reason, since it is what has to be covered. */
function merge(first: Cause | undefined, second: Cause): Cause;
function merge(first: Cause, second: Cause | undefined): Cause;
function merge(first: Cause | undefined, second: Cause | undefined): Cause | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  const stronger = isScheduled(second) ? second : first;
  const covers = [...(first.covers ?? []), ...(second.covers ?? [])];
  return covers.length === 0 ? stronger : { ...stronger, covers };
}
