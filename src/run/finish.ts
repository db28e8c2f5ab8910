/*
 * The last step of a move: the source's file goes, once its delivery is verified and durable in the ledger. Several
 * deliveries share one commit. What was delivered by an earlier run is looked at once more before its source goes; a
 * source that has changed since stays, and the next run sends it again.
 */
import { removeFile } from '../local/tree.js';
import { liesAt, standsAt } from '../local/walk.js';
import type { Action, Places } from '../plan/action.js';
import { isLink, type RemotePiece, sameTime } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import { fullStop } from '../report/summary.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import { RunEnded } from './end.js';
import { linkThere } from './link-there.js';
import { markerOf } from './ready.js';
import { sameSight } from './standing.js';
import type { PlainTask, Task } from './task.js';

type Finish = Extract<Action, { kind: 'finish' }>;

/** A delivery whose source may go. */
export type Departure = Omit<Finish, 'kind'>;

/** How many deliveries wait for one commit at the most. */
const AT_ONCE = 64;

export class Finisher {
  readonly #desk: Desk;
  #waiting: Departure[] = [];

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /** A file has been delivered in this run, from and to these places. */
  async delivered(
    { path, here, there }: Places & Pick<Departure, 'path'>,
    source: Omit<Departure, 'path' | keyof Places>,
  ): Promise<Result<Task>> {
    if (this.#desk.voyage.job.mode !== 'move') return 'done';
    this.#waiting.push({ path, here, there, ...source });
    if (this.#waiting.length >= AT_ONCE) await this.finish();
    return 'done';
  }

  /** Takes away the sources of what was delivered since. */
  async finish(): Promise<void> {
    const departures = this.#waiting.splice(0);
    if (departures.length === 0) return;
    this.#desk.voyage.context.ledger.flush();
    for (const departure of departures) await this.#takeAway(departure);
  }

  /** What an earlier run delivered, and its source is still there. */
  async carryOut(task: PlainTask<'finish'>): Promise<Result<Task>> {
    const { hands } = this.#desk;
    const { action } = task;
    hands.goOn();
    if (await this.#targetHolds(action)) {
      hands.fared();
      // That both agree may have been found out just now.
      this.#desk.voyage.context.ledger.flush();
      await this.#takeAway(action);
      return 'done';
    }
    const { path, here, there, baseline, local, remote } = action;
    const again = { path, here, there, baseline, reason: 'missing' } as const;
    if (local !== undefined) return hands.turnTo({ ...again, kind: 'upload', file: local }, task);
    if (remote === undefined) return 'done';
    return hands.turnTo({ ...again, kind: 'download', file: remote, over: 'ours', seen: undefined }, task);
  }

  async #targetHolds({ side, here, there, baseline }: Finish): Promise<boolean> {
    const { root, remote, context } = this.#desk.voyage;
    const { leadsTo } = baseline;
    if (leadsTo !== undefined) {
      const link = side === 'remote' ? await liesAt(root, here) : await linkThere(remote, there, context.cut);
      return typeof link === 'object' && isLink(link) && link.leadsTo === leadsTo;
    }
    const { sizeBytes, mtimeMs } = baseline.local;
    if (side === 'remote') {
      const file = await standsAt(root, here);
      return typeof file !== 'string' && file.sizeBytes === sizeBytes && file.mtimeMs === mtimeMs;
    }
    const file = await remote.stat(there, { signal: context.cut });
    const held = { path: there, sizeBytes, modifiedMs: baseline.remoteModifiedMs };
    return file !== undefined && isSame(file, held);
  }

  /** A source that cannot be taken away is told, and stays delivered: the next run tries again. */
  async #takeAway(departure: Departure): Promise<void> {
    const { context, binding, job, run } = this.#desk.voyage;
    const { path, side } = departure;
    const beganMs = performance.now();
    try {
      const gone = side === 'local' ? await this.#removeHere(departure) : await this.#removeThere(departure);
      if (gone === 'changed') return;
      this.#desk.record({ kind: 'forgotten', bindingId: binding, path });
      if (gone === 'missing') return;
      context.listener({ event: 'file.deleted', job: job.name, run, path, side, why: 'moved' });
    } catch (error) {
      const { decision, kind, code, message } = judge(error);
      // The run ends, or the link is cut: the next one begins with it.
      if (context.cut?.aborted === true) return;
      if (decision === 'abort' || decision === 'hold') throw new RunEnded(kind, code, message);
      this.#desk.endings.skipped({ path, attempt: 1 }, beganMs, {
        code,
        message: `${path} was delivered, and cannot be taken away from its source: ${fullStop(message)} The next run tries again.`,
        remember: undefined,
        temporary: undefined,
      });
    }
  }

  /** With its marker, which would vouch for the next file of its name; that one goes first. */
  async #removeHere({ here, local }: Departure): Promise<'removed' | 'missing' | 'changed'> {
    const { root, job } = this.#desk.voyage;
    if (local === undefined) return 'changed';
    // One of {stem} may stand for several files.
    if (job.ready?.part === 'name') {
      const now = await liesAt(root, here);
      if (now === 'nothing') return 'missing';
      if (!sameSight(now, local)) return 'changed';
      const marker = markerOf(here, job.ready);
      const stands = await standsAt(root, marker);
      if (typeof stands !== 'string') await removeFile(root, marker, stands);
    }
    return removeFile(root, here, local);
  }

  async #removeThere({ there, remote: file }: Departure): Promise<'removed' | 'missing' | 'changed'> {
    const { remote, context } = this.#desk.voyage;
    const isLinked = file !== undefined && isLink(file);
    const now = isLinked
      ? await linkThere(remote, there, context.cut)
      : await remote.stat(there, { signal: context.cut });
    if (now === undefined) return 'missing';
    if (file === undefined || !isSame(now, file)) return 'changed';
    await remote.remove(there, { signal: context.cut });
    return 'removed';
  }
}

/** A time that one of them does not tell is no difference. */
function isSame(a: RemotePiece, b: RemotePiece): boolean {
  if (isLink(a) || isLink(b)) return isLink(a) && isLink(b) && a.leadsTo === b.leadsTo;
  return a.sizeBytes === b.sizeBytes && sameTime(a.modifiedMs, b.modifiedMs, 'lenient');
}
