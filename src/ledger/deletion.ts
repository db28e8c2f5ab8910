/*
 * Deletions as the ledger keeps them. A deletion of a binding is in one of three stages:
 *   planned   found by the run that is under way              -> approved by comparison, held (hold), gone
 *   held      the guard refused it                            -> approved (a person), gone (another hold, the plan's end)
 *   approved  a person released it; a later run that plans the same may carry it out   -> gone
 * Two deletions are the same where path, side, place, kind, size, time and a link's text agree: what a person released never
 * covers a file that has changed since. Types, the translation of rows and what SQL compares; runs no statement.
 */
import type { RelativePath } from '../plan/entry.js';

/** The side on which something is taken away. */
export type Side = 'local' | 'remote';

/** One thing that a run would take away from one side. */
export interface PlannedDeletion {
  readonly path: RelativePath;
  readonly side: Side;
  /** Where it stands on that side. */
  readonly at: RelativePath;
  readonly kind: 'file' | 'directory';
  readonly sizeBytes: number;
  /** Modification time on that side, in milliseconds since 1970; undefined where it is not known. */
  readonly modifiedMs: number | undefined;
  /** SHA-256 of the content, 64 lower-case hex digits; undefined where it is not known. */
  readonly sha256: string | undefined;
  /** The text of a link, which counts as a file; undefined of all else. */
  readonly leadsTo?: string | undefined;
  /** Whether ferryd put it there, or only found it. */
  readonly known: 'ours' | 'extraneous';
}

/** How much the plan of a run would take away. */
export interface Doomed {
  /** Files and directories. */
  readonly total: number;
  /** Those of `total` that a person released. */
  readonly approved: number;
  /** Those of `total` that are directories. */
  readonly directories: number;
  /** Those of `approved` that are directories. */
  readonly approvedDirectories: number;
  /** Those of `total` that ferryd only found, and that nobody released. */
  readonly foreign: number;
}

/** Why a run was held. */
export interface Hold {
  readonly runId: number;
  /** A word of ours (`deletions`, `source-empty`). */
  readonly code: string;
  /** For a person: what was held, where, what to do next. */
  readonly message: string;
  readonly atMs: number;
}

/** What the guard refused, until a person releases it or a run ends without being held. */
export interface HeldPlan extends Omit<Hold, 'runId'> {
  readonly bindingId: number;
  /** Undefined where that run is no longer in the ledger. */
  readonly runId: number | undefined;
  /** When a person released it, in milliseconds since 1970. */
  readonly approvedAtMs: number | undefined;
  /** Deletions of files that it holds; 0 where the run was held for another reason (an empty source). */
  readonly files: number;
  /** Deletions of directories that it holds. */
  readonly directories: number;
}

/**
 * What became of a person's approval.
 * - `approved`: the plan is released, now or by an earlier approval (`approvedAtMs` tells)
 * - `nothing-to-approve`: the job is held, but not over deletions: there is nothing that could be released
 * - `nothing-held`
 */
export type Approval =
  | { readonly kind: 'approved'; readonly plan: HeldPlan }
  | { readonly kind: 'nothing-to-approve'; readonly plan: HeldPlan }
  | { readonly kind: 'nothing-held' };

export interface DeletionRow {
  readonly path: string;
  readonly side: Side;
  readonly at: string;
  readonly kind: PlannedDeletion['kind'];
  readonly size_bytes: number;
  readonly modified_ms: number | null;
  readonly sha256: Buffer | null;
  readonly leads_to: string | null;
  readonly known: PlannedDeletion['known'];
}

export interface HeldRow {
  readonly binding_id: number;
  readonly run_id: number | null;
  readonly code: string;
  readonly message: string;
  readonly at_ms: number;
  readonly approved_at_ms: number | null;
  readonly files: number;
  readonly directories: number;
}

/** SQL: what makes the rows `a` and `b` the same deletion, whatever their stages. */
function same(a: string, b: string): string {
  const equal = ['binding_id', 'path', 'side', 'at', 'kind', 'size_bytes'].map(
    (column) => `${a}.${column} = ${b}.${column}`,
  );
  const alike = ['modified_ms', 'leads_to'].map((column) => `${a}.${column} IS ${b}.${column}`);
  return [...equal, ...alike].join(' AND ');
}

/** SQL: a person released the deletion in the row `planned`. */
export function approvedOf(planned: string): string {
  return `EXISTS (SELECT 1 FROM deletion released WHERE released.stage = 'approved' AND ${same('released', planned)})`;
}

/** SQL: the present plan has the deletion in the row `released` too. */
export function plannedOf(released: string): string {
  return `EXISTS (SELECT 1 FROM deletion planned WHERE planned.stage = 'planned' AND ${same('planned', released)})`;
}

export function deletionFrom(row: DeletionRow): PlannedDeletion {
  return {
    path: row.path,
    side: row.side,
    at: row.at,
    kind: row.kind,
    sizeBytes: row.size_bytes,
    modifiedMs: row.modified_ms ?? undefined,
    sha256: row.sha256?.toString('hex'),
    leadsTo: row.leads_to ?? undefined,
    known: row.known,
  };
}

export function heldFrom(row: HeldRow): HeldPlan {
  return {
    bindingId: row.binding_id,
    runId: row.run_id ?? undefined,
    code: row.code,
    message: row.message,
    atMs: row.at_ms,
    approvedAtMs: row.approved_at_ms ?? undefined,
    files: row.files,
    directories: row.directories,
  };
}
