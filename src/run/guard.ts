/*
 * The guard: refuses what would destroy too much. A source without its marker holds the run before anything is looked
 * at; one that was full and is empty now is a disk that is not mounted; and more deletions than the job allows wait for
 * a person. What a person has released is not counted, and nothing else is released with it.
 */
import type { Job } from '../job/job.js';
import type { Doomed } from '../ledger/deletion.js';
import { standsAt } from '../local/walk.js';
import type { Memory } from './context.js';
import { RunEnded } from './end.js';
import { looksAt } from './scan.js';

/** The whole of what a run has seen and would delete. */
export interface Whole {
  /** What the ledger knew of the two places when the run began. */
  readonly memory: Memory;
  /** How many files the scan has seen on each side. */
  readonly seen: { readonly local: number; readonly remote: number };
  readonly doomed: Doomed;
  /** How much is gone, and stays because it is not in the plan that is carried out. */
  readonly unplanned: number;
  /** How many files the run has deleted before, when it went over both sides for the first time, on nobody's word. */
  readonly deleted: number;
  /** How many the ledger remembers: of these two places, and of the same source with another target. */
  readonly remembered: { readonly here: number; readonly elsewhere: number };
}

/** Why a run is held: a word of ours, and the sentences for a person. */
export interface Refusal {
  readonly code: string;
  /** What was found; true of a run that was held and of one that would be. */
  readonly found: string;
  /** That, what it meant for the run, and what to do next. */
  readonly message: string;
}

/**
 * Makes sure that the source is the one that the job means.
 *
 * @param stat asks the remote for a file
 * @throws {RunEnded} held, where its marker does not stand there
 */
export async function checkMarker(
  { job, root }: { readonly job: Job; readonly root: string },
  stat: (marker: string) => Promise<unknown>,
): Promise<void> {
  const { marker } = job;
  if (marker === undefined) return;
  const isRemote = job.direction === 'pull' && job.mode !== 'two-way';
  const stands = isRemote
    ? (await stat(marker)) !== undefined
    : typeof (await standsAt(root, marker)) !== 'string';
  if (stands) return;
  throw new RunEnded(
    'held',
    'marker-missing',
    `The marker ${marker} of job ${job.name} does not stand in ${isRemote ? remoteOf(job) : job.local}. Is its disk mounted? Put the marker there if this is the right place. Nothing was changed on either side.`,
  );
}

/** @returns why a run is held; undefined where all that is planned may be carried out */
export function judgeWhole(job: Job, whole: Whole): Refusal | undefined {
  return emptied(job, whole) ?? strange(job, whole) ?? tooMany(job, whole);
}

/** A run that has no memory of its two places deletes nothing of which it does not know whose it is. */
function strange(job: Job, { memory, doomed }: Whole): Refusal | undefined {
  if (memory === 'settled' || doomed.foreign === 0) return undefined;
  const what = doomed.foreign === 1 ? '1 thing' : `${doomed.foreign} things`;
  const found = `This is the first run that the ledger knows of between ${job.local} and ${remoteOf(job)}, and job ${job.name} would delete ${what} there that it did not put there as far as the ledger knows.`;
  return {
    code: 'first-run',
    found,
    message: `${found} None of it was deleted.${howToApprove(job, doomed)}`,
  };
}

/** A side that had files of this job and has none now. What a person has released in full may be deleted all the same. */
function emptied(job: Job, { seen, doomed, unplanned, remembered }: Whole): Refusal | undefined {
  // A move empties its source.
  if (job.mode === 'move') return undefined;
  const looks = looksAt(job);
  const isSource = {
    local: job.direction === 'push' || job.mode === 'two-way',
    // What others take from a server is no reason for a copy to stop.
    remote: (job.direction === 'pull' && job.mode === 'mirror') || job.mode === 'two-way',
  };
  const side = (['local', 'remote'] as const).find((one) => isSource[one] && looks[one] && seen[one] === 0);
  if (side === undefined) return undefined;
  // A target with a date in it begins a new account each day.
  const known = remembered.here > 0 ? remembered.here : remembered.elsewhere;
  const released = doomed.total > 0 && doomed.approved === doomed.total && unplanned === 0;
  if (known === 0 || released) return undefined;
  const place = side === 'local' ? `The source ${job.local}` : `The server's side ${remoteOf(job)}`;
  const found = `${place} of job ${job.name} has no file for this job, and ${known} ${known === 1 ? 'was' : 'were'} delivered from it before. Is its disk mounted, and do the patterns still fit?`;
  return {
    code: side === 'local' ? 'source-empty' : 'remote-empty',
    found,
    message: `${found} Nothing was deleted on the other side.${howToApprove(job, doomed)}`,
  };
}

function tooMany(job: Job, { doomed, deleted, remembered }: Whole): Refusal | undefined {
  const { percent, files } = job.deletes.limit;
  const limit = Math.max(files, Math.floor((remembered.here * percent) / 100));
  const waiting = unreleased(doomed);
  if (waiting === 0 || deleted + waiting <= limit) return undefined;
  const some = `${waiting} ${deleted === 0 ? '' : 'more '}${waiting === 1 ? 'file' : 'files'}`;
  const found = `Job ${job.name} would delete ${some} (${remembered.here} are remembered), and may delete ${limit} in a run without being asked.`;
  const so =
    deleted === 0 ? 'None of them was deleted.' : `None of them was deleted; ${deleted} went before.`;
  return { code: 'deletions', found, message: `${found} ${so}${howToApprove(job, doomed)}` };
}

/** How many files would go without a person's word. */
export function unreleased({ total, directories, approved, approvedDirectories }: Doomed): number {
  return total - directories - (approved - approvedDirectories);
}

function howToApprove({ name }: Job, { total }: Doomed): string {
  return total === 0 ? '' : adviceOf(name);
}

function adviceOf(name: string): string {
  return ` See what it is about with "ferryd plan ${name}"; if it is meant so, release exactly that with "ferryd approve ${name}".`;
}

/** The message of a refusal as it is told to a person who has just followed its advice. */
export function withoutAdvice(name: string, message: string): string {
  const advice = adviceOf(name);
  return message.endsWith(advice) ? message.slice(0, -advice.length) : message;
}

function remoteOf({ server, remotePath }: Job): string {
  return `${server.name}:${remotePath.path}`;
}
