/*
 * When the trash is emptied of what is too old: once a day at the end of a run, for as long as there is something in
 * it. A job that has put nothing there asks nobody about a trash.
 */
import { formatBytes } from '../report/summary.js';
import type { Voyage } from './context.js';
import type { Lister } from './lister.js';
import { localPlace, pruneTrash, type TrashPlace } from './trash.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** The name under which the ledger keeps when it is next looked at. */
const SCHEDULE = 'trash';

/** In place of a time: there is nothing to look at. */
const NOTHING = 0;

/** And the name under which it keeps until when the clock is not believed. */
const DOUBT = 'trash clock';

/** @param used whether this run has put something there, or may have gone on from one that has */
export async function pruneWhenDue(voyage: Voyage, lister: Lister, used: 'used' | 'unused'): Promise<void> {
  const { job, context, run, root } = voyage;
  const { ledger, listener } = context;
  if (job.deletes.policy === 'delete' || context.stop?.aborted === true) return;
  const nowMs = Date.now();
  const kept = ledger.coveredUntil(job.name, SCHEDULE);
  const due = kept === NOTHING ? undefined : kept;
  // Never looked at yet; or the clock was ahead when that was done, and has been put right.
  if (due === undefined || due > nowMs + DAY_MS) {
    if (due !== undefined || used === 'used') ledger.setCoveredUntil(job.name, SCHEDULE, nowMs + DAY_MS);
    return;
  }
  if (due > nowMs || isInDoubt(voyage, { dueMs: due, nowMs })) return;
  const places: TrashPlace[] = [];
  if (job.direction === 'push' || job.mode === 'two-way') places.push(lister);
  if (job.direction === 'pull' || job.mode === 'two-way') places.push(localPlace(root));
  let whole = true;
  let next = NOTHING;
  for (const place of places) {
    const { keepMs } = job.deletes;
    const pruned = await pruneTrash(place, { keepMs, nowMs, signal: context.cut });
    whole = whole && pruned.ended === 'whole';
    if (pruned.oldestMs !== undefined || pruned.problemsInAll > 0) next = nowMs + DAY_MS;
    for (const { path, code, message } of pruned.problems) {
      listener({ event: 'scan.problem', job: job.name, run, path, code, message });
    }
    const { files, bytes } = pruned;
    if (files === 0) continue;
    const what = `${files} ${files === 1 ? 'file' : 'files'} (${formatBytes(bytes)})`;
    const message = `${what} had been in the trash of ${place.label} for longer than the job keeps them, and are gone for good.`;
    listener({ event: 'trash.pruned', job: job.name, run, path: '.ferryd-trash', message });
  }
  if (whole) ledger.setCoveredUntil(job.name, SCHEDULE, next);
}

/**
 * Nobody has looked for so long that all of the trash would go at once: it may be the clock that has jumped. Then it
 * has a day to be put right.
 */
function isInDoubt(
  { job, context }: Voyage,
  { dueMs, nowMs }: { readonly dueMs: number; readonly nowMs: number },
): boolean {
  const { ledger } = context;
  if (nowMs - dueMs <= job.deletes.keepMs) return false;
  const untilMs = ledger.coveredUntil(job.name, DOUBT);
  // An old doubt was settled by a look since; one of a clock that was further ahead is none.
  const isPresent = untilMs !== undefined && untilMs > dueMs && untilMs <= nowMs + DAY_MS;
  if (isPresent) return untilMs > nowMs;
  ledger.setCoveredUntil(job.name, DOUBT, nowMs + DAY_MS);
  return true;
}
