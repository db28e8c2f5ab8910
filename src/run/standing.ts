/*
 * What stands here where something is to come from the server: it is replaced only where it is what was put there, or
 * what the planner has seen and weighed. Anything else is a person's, and stays.
 */
import type { Download } from '../plan/action.js';
import { isLink, type LinkEntry, type LocalFile, type LocalPiece, sameFingerprint } from '../plan/entry.js';
import type { Desk } from './desk.js';
import type { DownloadTask, LinkTask } from './task.js';

/** One look at a place, as `liesAt` tells it. */
export type Standing = LocalFile | LinkEntry | 'nothing' | 'other';

/** Two looks at one place: nothing has happened in between. */
export function sameSight(a: Standing, b: Standing): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  if (isLink(a) || isLink(b)) return isLink(a) && isLink(b) && a.leadsTo === b.leadsTo;
  return sameFingerprint(a, b);
}

/** True where it is what was put there last, or what the planner saw. */
export function isExpected(
  there: LocalPiece,
  { over, seen, baseline }: Pick<Download, 'over' | 'seen' | 'baseline'>,
): boolean {
  if (over === 'seen') return seen !== undefined && sameSight(there, seen);
  if (baseline === undefined) return false;
  if (isLink(there) || baseline.leadsTo !== undefined)
    return isLink(there) && there.leadsTo === baseline.leadsTo;
  const known = baseline.local;
  return (
    there.sizeBytes === known.sizeBytes &&
    there.mtimeMs === known.mtimeMs &&
    there.inode === known.inode &&
    // Not known of a file that was looked at right after it came.
    (there.ctimeMs === known.ctimeMs || known.ctimeMs === 0)
  );
}

/** What came stays behind, because something else stands in its place. */
export async function leaveStanding(
  desk: Desk,
  task: DownloadTask | LinkTask,
  beganMs: number,
): Promise<'done'> {
  const { path, action } = task;
  const wasSeen = action.kind === 'download' && action.over === 'seen';
  const message = wasSeen
    ? `${path} was changed here since the scan: it is not overwritten, and the next run looks again.`
    : `${path} exists here and is not what was fetched last: it is not overwritten. Move it away, and the next run fetches it.`;
  const temporary = await desk.hands.clear(task);
  desk.endings.skipped(task, beganMs, { code: 'local-differs', message, remember: undefined, temporary });
  return 'done';
}
