/*
 * How a held job is told: what waits, since when, and what to do about it. Words for `plan`, `approve` and `status`;
 * prints nothing.
 */
import type { HeldPlan } from '../ledger/deletion.js';
import { ago, moment } from './table.js';

/** `3 files and 1 directory`; `nothing` where the job is held for another reason. */
export function deletionsOf({ files, directories }: Pick<HeldPlan, 'files' | 'directories'>): string {
  const parts = [
    ...(files > 0 ? [`${files} ${files === 1 ? 'file' : 'files'}`] : []),
    ...(directories > 0 ? [`${directories} ${directories === 1 ? 'directory' : 'directories'}`] : []),
  ];
  return parts.length === 0 ? 'nothing' : parts.join(' and ');
}

/** True where there is something that a person could release, or has released. */
export function hasDeletions({ files, directories }: Pick<HeldPlan, 'files' | 'directories'>): boolean {
  return files + directories > 0;
}

/** `since 2026-11-23 02:30:00 (5 minutes ago), run 12`. */
export function heldSince({ atMs, runId }: HeldPlan, nowMs: number): string {
  const run = runId === undefined ? '' : `, run ${runId}`;
  return `since ${moment(atMs)} (${ago(atMs, nowMs)})${run}`;
}

/** One sentence about what is held, without a full stop. */
export function heldSentence(job: string, plan: HeldPlan, nowMs: number): string {
  const { approvedAtMs, message } = plan;
  if (!hasDeletions(plan)) return `held ${heldSince(plan, nowMs)}: ${message.replace(/\.$/, '')}`;
  if (approvedAtMs !== undefined) {
    return `held ${heldSince(plan, nowMs)}; the deletion of ${deletionsOf(plan)} was released ${moment(approvedAtMs)} (${ago(approvedAtMs, nowMs)}), and the next run carries it out`;
  }
  return `held ${heldSince(plan, nowMs)}; the deletion of ${deletionsOf(plan)} waits for you: "ferryd plan ${job}" shows what a run would do, "ferryd approve ${job}" releases it`;
}

/** The same for a program. */
export function heldJson(plan: HeldPlan | undefined): object | null {
  if (plan === undefined) return null;
  const { runId, code, message, atMs, approvedAtMs, files, directories } = plan;
  const releasedAt = approvedAtMs === undefined ? null : new Date(approvedAtMs).toISOString();
  return {
    run: runId ?? null,
    code,
    message,
    since: new Date(atMs).toISOString(),
    files,
    directories,
    releasedAt,
  };
}
