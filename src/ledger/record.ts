/*
 * The ledger's rows as values: what is written down, and what `status` and `history` read back. Types and the
 * translation between them and SQLite's columns; no statement is run here.
 */
import type { Baseline, Fingerprint, RelativePath, RememberedSkip } from '../plan/entry.js';
import type { FailureKind, Outcome, RunFailure, Tally } from '../plan/outcome.js';
import type { Side } from './deletion.js';

/** Which two places a job ties together. A job that is pointed elsewhere gets another binding and starts afresh. */
export interface BindingKey {
  readonly job: string;
  readonly direction: 'push' | 'pull';
  /** Identity of the server and its account, without secrets. */
  readonly server: string;
  readonly remoteRoot: string;
  readonly localRoot: string;
}

export interface Binding extends BindingKey {
  readonly id: number;
}

/** What is about to happen to one path, written down before it happens. */
export interface PlannedIntent {
  readonly path: RelativePath;
  /** The temporary name on the receiving side, relative to its root. */
  readonly temporary: string;
  /** The local file the intent was made for. */
  readonly local: Fingerprint;
  /** The text of the link that the intent was made for; undefined where it is none. */
  readonly leadsTo?: string | undefined;
}

export interface Intent extends PlannedIntent {
  /** The run that wrote it down; undefined where that run is no longer in the ledger. */
  readonly runId: number | undefined;
}

/** One attempt at one file within a run. */
interface Attempt {
  readonly bindingId: number;
  readonly runId: number;
  /** Counts from 1 for each file of a run. */
  readonly attempt: number;
  readonly durationMs: number;
  /** When the attempt ended, in milliseconds since 1970. */
  readonly atMs: number;
}

/**
 * The temporary name that surely no longer exists on the receiving side (renamed, removed or never made): its intent
 * is deleted. Undefined where it may still be there; the next run looks.
 */
interface Cleared {
  readonly temporary: string | undefined;
}

/** Why a file was not delivered: reply code or a word of ours, and the words of whoever refused. */
interface Refusal {
  readonly path: RelativePath;
  readonly code: string;
  readonly text: string;
}

/** What has to stay as it is for a refusal to hold. */
export type Remembered = Pick<RememberedSkip, 'local' | 'leadsTo' | 'settings'>;

/**
 * What a run found out about one path.
 * - `delivered`: sent (`up`) or fetched (`down`) and verified; baseline set, remembered skip lifted, in the history
 * - `deleted`: taken away from one side; baseline, remembered skip and planned deletion dropped, in the history
 * - `set-aside`: moved elsewhere on its side to make room, by way of the trash; in the history, nothing else
 * - `skipped`: left alone; with `remember`, later runs do not ask again until that changes; in the history
 * - `failed`: an attempt that failed for now; in the history, nothing else
 * - `adopted`: both sides proved to agree without a transfer; baseline set, remembered skip lifted
 * - `refreshed`: same content under a new fingerprint; changes an existing baseline only
 * - `forgotten`: the path is gone on both sides, or went from one to the other for good; baseline, remembered skip
 *   and planned deletions dropped
 * - `intent-dropped`: the temporary name is gone and nothing else happened
 */
export type Change =
  | (Attempt &
      Cleared & {
        readonly kind: 'delivered';
        /** `up` to the remote, `down` to this machine. */
        readonly way: 'up' | 'down';
        readonly baseline: Baseline;
        readonly bytes: number;
      })
  | (Attempt & {
      readonly kind: 'deleted';
      readonly path: RelativePath;
      readonly bytes: 0;
      readonly side: Side;
      /** Where it went, for a person; empty where it is gone for good. */
      readonly text: string;
    })
  | (Attempt & {
      readonly kind: 'set-aside';
      readonly path: RelativePath;
      /** Where it stands now, on its own side. */
      readonly to: RelativePath;
    })
  | (Attempt &
      Cleared &
      Refusal & {
        readonly kind: 'skipped';
        readonly remember: Remembered | undefined;
      })
  | (Attempt & Cleared & Refusal & { readonly kind: 'failed' })
  | (Cleared & {
      readonly kind: 'adopted';
      readonly bindingId: number;
      readonly baseline: Baseline;
    })
  | {
      readonly kind: 'refreshed';
      readonly bindingId: number;
      readonly path: RelativePath;
      readonly local: Fingerprint;
    }
  | {
      readonly kind: 'forgotten';
      readonly bindingId: number;
      readonly path: RelativePath;
    }
  | {
      readonly kind: 'intent-dropped';
      readonly bindingId: number;
      readonly path: RelativePath;
      readonly temporary: string;
    };

/** A path whose baseline a queued change sets or drops. */
export interface Altered {
  readonly path: RelativePath;
  readonly fold: string;
}

export interface RunStart {
  readonly job: string;
  /** Undefined where the run failed before it was known which two places it ties together. */
  readonly bindingId: number | undefined;
  /** What started it, for a person: `cron 30 2 * * *`, `by hand`. */
  readonly trigger: string;
  readonly pid: number;
  readonly startedAtMs: number;
}

export interface RunEnd {
  readonly outcome: Outcome;
  readonly tally: Tally;
  /** How many places of the tree it looked at; undefined where it was everything. */
  readonly places?: number | undefined;
  readonly failure: RunFailure | undefined;
  readonly endedAtMs: number;
}

/** A run in the ledger. One that reads `running` may have been killed: only the job's lock tells. */
export type RunRecord = RunStart & { readonly id: number } & (
    | { readonly state: 'running' }
    | (RunEnd & { readonly state: 'ended' })
  );

/** One attempt at one file, as the history shows it. */
export type TransferRecord = {
  readonly runId: number;
  readonly path: RelativePath;
  readonly attempt: number;
  readonly durationMs: number;
  readonly atMs: number;
} & (
  | { readonly result: 'uploaded' | 'downloaded'; readonly bytes: number }
  | {
      readonly result: 'deleted';
      readonly side: Side;
      /** Where it went, for a person; empty where it is gone for good. */
      readonly text: string;
    }
  | { readonly result: 'set-aside'; readonly to: RelativePath }
  | {
      readonly result: 'skipped' | 'failed';
      readonly code: string;
      readonly text: string;
    }
);

export interface FingerprintRow {
  readonly size_bytes: number;
  readonly mtime_ms: number;
  readonly ctime_ms: number;
  readonly inode: number;
}

export interface SkipRow extends FingerprintRow {
  readonly path: string;
  readonly leads_to: string | null;
  readonly code: string;
  readonly text: string;
  readonly settings: string;
  readonly at_ms: number;
}

export interface IntentRow extends FingerprintRow {
  readonly path: string;
  readonly temporary: string;
  readonly leads_to: string | null;
  readonly run_id: number | null;
}

export interface RunRow extends Tally {
  readonly id: number;
  readonly job: string;
  readonly binding_id: number | null;
  readonly trigger: string;
  readonly pid: number;
  readonly started_at_ms: number;
  readonly ended_at_ms: number | null;
  readonly outcome: Outcome | null;
  readonly places: number | null;
  readonly failure_kind: FailureKind | null;
  readonly failure_message: string | null;
  readonly failure_code: string | null;
}

export interface TransferRow {
  readonly run_id: number;
  readonly path: string;
  readonly result: TransferRecord['result'];
  readonly bytes: number;
  readonly duration_ms: number;
  readonly attempt: number;
  readonly code: string;
  readonly text: string;
  readonly at_ms: number;
}

export function fingerprintFrom(row: FingerprintRow): Fingerprint {
  return {
    sizeBytes: row.size_bytes,
    mtimeMs: row.mtime_ms,
    ctimeMs: row.ctime_ms,
    inode: row.inode,
  };
}

export function skipFrom(row: SkipRow): RememberedSkip {
  return {
    path: row.path,
    local: fingerprintFrom(row),
    leadsTo: row.leads_to ?? undefined,
    code: row.code,
    text: row.text,
    settings: row.settings,
    atMs: row.at_ms,
  };
}

export function intentFrom(row: IntentRow): Intent {
  return {
    path: row.path,
    temporary: row.temporary,
    local: fingerprintFrom(row),
    leadsTo: row.leads_to ?? undefined,
    runId: row.run_id ?? undefined,
  };
}

export function runFrom(row: RunRow): RunRecord {
  const start = {
    id: row.id,
    job: row.job,
    bindingId: row.binding_id ?? undefined,
    trigger: row.trigger,
    pid: row.pid,
    startedAtMs: row.started_at_ms,
  };
  if (row.ended_at_ms === null || row.outcome === null) return { ...start, state: 'running' };
  return {
    ...start,
    state: 'ended',
    endedAtMs: row.ended_at_ms,
    outcome: row.outcome,
    tally: {
      uploaded: row.uploaded,
      downloaded: row.downloaded,
      deleted: row.deleted,
      renamed: row.renamed,
      skipped: row.skipped,
      unchanged: row.unchanged,
      bytes: row.bytes,
    },
    places: row.places ?? undefined,
    failure: failureFrom(row),
  };
}

function failureFrom(row: RunRow): RunFailure | undefined {
  if (row.failure_kind === null || row.failure_message === null || row.failure_code === null)
    return undefined;
  return {
    kind: row.failure_kind,
    message: row.failure_message,
    code: row.failure_code,
  };
}

export function transferFrom(row: TransferRow): TransferRecord {
  const common = {
    runId: row.run_id,
    path: row.path,
    attempt: row.attempt,
    durationMs: row.duration_ms,
    atMs: row.at_ms,
  };
  switch (row.result) {
    case 'uploaded':
    case 'downloaded':
      return { ...common, result: row.result, bytes: row.bytes };
    case 'deleted':
      return {
        ...common,
        result: row.result,
        side: row.code === 'local' ? 'local' : 'remote',
        text: row.text,
      };
    case 'set-aside':
      return { ...common, result: row.result, to: row.text };
    case 'skipped':
    case 'failed':
      return { ...common, result: row.result, code: row.code, text: row.text };
  }
}
