/*
 * What a run is given, and what it gives back.
 */
import type { Job, RemotePath, Server } from '../job/job.js';
import type { Ledger } from '../ledger/ledger.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { BindingKey } from '../ledger/record.js';
import type { Verdict } from '../plan/action.js';
import type { RelativePath } from '../plan/entry.js';
import type { Policy } from '../plan/judge.js';
import { emptyTally, type Outcome, type RunFailure, type Tally } from '../plan/outcome.js';
import { serverIdentity } from '../remote/account.js';
import type { Remote, Trials } from '../remote/remote.js';
import type { Listener } from '../report/event.js';
import type { Fit, Measures } from './filter.js';
import type { Placement } from './placement.js';

/** Where runs get their remotes from: the accounts in use, or what a test has in their place. */
export interface Harbour {
  /** @throws {RunEnded} kind `configuration` where a secret or a file of certificates cannot be read */
  of(server: Server): Promise<{ remote(path: RemotePath, trials?: Trials): Remote }>;
}

/** What a person has seen planned, and has said yes to: nothing else is carried out, and its deletions are released. */
export interface Only {
  /** True where this is in the plan, or is nothing to carry out. */
  takes(verdict: Verdict): boolean;
  /** What stands there now follows from what the plan says: it may be delivered although the plan does not name it. */
  follow(path: RelativePath): void;
}

/** What a run works with. */
export interface RunContext {
  readonly ledger: Ledger;
  readonly accounts: Harbour;
  readonly listener: Listener;
  /** What started the run, for a person: `cron 30 2 * * *`, `by hand`. */
  readonly trigger: string;
  /** Aborted: begin no further file, bring those in hand to their end. */
  readonly stop?: AbortSignal | undefined;
  /** Aborted: reset what is in flight. */
  readonly cut?: AbortSignal | undefined;
  /**
   * Told once the `before` hook is over, when the run begins to look at both sides; `places` where it is enough for it
   * to look at those where something has changed. Returns them, paths below the local root; undefined where something
   * may have changed anywhere, as it is without this.
   */
  readonly onScan?: ((least: 'everything' | 'places') => ReadonlySet<string> | undefined) | undefined;
  /** `again`: ask once more for the files that the server refused before. */
  readonly skipped?: 'again' | undefined;
  /** Undefined: whatever the scan finds is carried out. */
  readonly only?: Only | undefined;
  /** What the hooks are started with, but for secrets of their job; left out: the process's own. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** 0 to 1, for jitter; tests give their own. */
  readonly random?: (() => number) | undefined;
  /** When the run starts, in milliseconds since 1970; tests give their own. */
  readonly now?: (() => number) | undefined;
}

/** How a run ended. */
export interface RunReport {
  readonly job: string;
  /** The run's number in the ledger; undefined where it never began (locked). */
  readonly run: number | undefined;
  readonly outcome: Outcome;
  readonly tally: Tally;
  /** How many places of the tree it looked at; undefined where it was everything. */
  readonly places?: number | undefined;
  readonly durationMs: number;
  readonly failure: RunFailure | undefined;
}

/** The report of a run that was called off before it began. */
export function notBegun(job: Job): RunReport {
  return {
    job: job.name,
    run: undefined,
    outcome: 'interrupted',
    tally: emptyTally(),
    durationMs: 0,
    failure: undefined,
  };
}

/**
 * What the ledger knows of the two places of a job. `unsettled`: no run has gone through to its end between them as
 * far as it knows, because they are new or because an earlier ledger was lost; so what it does not remember may be
 * there all the same.
 */
export type Memory = 'settled' | 'unsettled';

/** What the ledger knows of a binding. */
export function memoryOf(
  ledger: Pick<LedgerReader, 'settledAtMs'> | undefined,
  binding: number | undefined,
): Memory {
  if (ledger === undefined || binding === undefined) return 'unsettled';
  return ledger.settledAtMs(binding) === undefined ? 'unsettled' : 'settled';
}

/** A run under way: what its parts share. */
export interface Voyage {
  /** With paths of this run. */
  readonly job: Job;
  readonly context: RunContext;
  readonly run: number;
  readonly binding: number;
  /** Real path of the local root. */
  readonly root: string;
  readonly remote: Remote;
  readonly tally: Tally;
  readonly policy: Policy;
  /** As it was when the run began. */
  readonly memory: Memory;
  readonly placement: Placement;
  /** Milliseconds since 1970: the date of what the run puts into the trash, and of conflicts. */
  readonly startedAtMs: number;
  readonly random: () => number;
  /** What size and age say of a file, ages counted from where the run begins to look, behind its `before` hook. */
  readonly weigh: (file: Measures) => Fit;
}

/** Which two places a job ties together, as the ledger knows them. */
export function bindingKey(job: Job): BindingKey {
  const { remotePath } = job;
  return {
    job: job.name,
    direction: job.direction,
    server: serverIdentity(job.server),
    remoteRoot: remotePath.absolute ? `/${remotePath.path.replace(/^\/+/, '')}` : remotePath.path,
    localRoot: job.local,
  };
}

/** What the planner has to know of a job. */
export function policyOf(
  job: Job,
  parts: { readonly settings: string; readonly placement: Placement; readonly memory: Memory },
): Policy {
  const { settings, placement, memory } = parts;
  return {
    mode: job.mode,
    direction: job.direction,
    conflicts: job.conflicts,
    extraneous: job.deletes.extraneous ? 'deleted' : 'kept',
    proof: job.compare === 'checksum' ? 'content' : 'times',
    unproven: memory === 'unsettled' ? 'compared' : 'replaced',
    // What was skipped for want of a trash is tried again once the job does without one.
    settings: job.deletes.policy === 'trash' ? `${settings} trash` : settings,
    place: placement.place,
  };
}

/** How long a file must be left alone before it is sent: the longest settle of the job's watch triggers. */
export function settleMsOf(job: Job): number {
  return Math.max(0, ...job.triggers.map((trigger) => (trigger.kind === 'watch' ? trigger.settleMs : 0)));
}
