/*
 * One download: to a temporary name beside the final one, proven, given its time, and renamed. What a person has put
 * in its place here is never overwritten unseen; a fetch takes its time, so that is looked at before and after.
 */
import { LocalError } from '../local/error.js';
import { settledFingerprint } from '../local/fingerprint.js';
import { LocalSink } from '../local/sink.js';
import { discardFile } from '../local/tree.js';
import { liesAt } from '../local/walk.js';
import type { Verdict } from '../plan/action.js';
import { type Baseline, isLink } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import { wholeSeconds } from '../remote/remote.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import type { Finisher } from './finish.js';
import { hashOf } from './recover.js';
import { isExpected, leaveStanding, type Standing, sameSight } from './standing.js';
import type { DownloadTask, RecoverTask, Task } from './task.js';

/** A part of this size is worth keeping for the next attempt. */
const PART_BYTES = 1024 * 1024;

export class Downloader {
  readonly #desk: Desk;
  readonly #finisher: Finisher;

  constructor(desk: Desk, finisher: Finisher) {
    this.#desk = desk;
    this.#finisher = finisher;
  }

  async download(task: DownloadTask, beganMs: number): Promise<Result<Task>> {
    const { voyage, hands, endings } = this.#desk;
    const { root, remote, context, job, placement } = voyage;
    const { path, action, attempt } = task;
    const { file, here, there } = action;
    const place = await liesAt(root, here);
    const free = await this.#isFree(task, place);
    if (free === 'adopted') return 'done';
    if (free === 'taken') return leaveStanding(this.#desk, task, beganMs);
    if (typeof free !== 'string') {
      await hands.clear(task);
      return hands.turnTo(free, task);
    }
    const sink = await this.#sinkFor(task).catch((error: unknown) => this.#notBegun(task, error));
    const fromByte = sink.bytes;
    let baseline: Baseline;
    try {
      hands.goOn();
      await remote.fetch(there, (chunk) => sink.write(chunk), {
        signal: context.cut,
        fromByte,
        holds: (digest) => sink.holds(digest),
        listedBytes: file.sizeBytes,
      });
      if (!sameSight(place, await liesAt(root, here))) {
        await sink.discard();
        return leaveStanding(this.#desk, task, beganMs);
      }
      const permissions = job.permissions === 'keep' ? file.permissions : undefined;
      const aside = this.#desk.trashOf(here, attempt);
      const published = await sink.publish(file.modifiedMs, permissions, aside);
      if (published.setAside && aside !== undefined) endings.setAside(task, aside);
      const { local, seenAtMs, sha256 } = published;
      baseline = {
        path,
        local: settledFingerprint(local, seenAtMs),
        sha256,
        remoteModifiedMs: file.modifiedMs,
        target: placement.targetOf(path, action),
      };
      hands.fared();
      endings.delivered(task, beganMs, { baseline, bytes: local.sizeBytes, fromByte });
    } catch (error) {
      if (!isCutOff(error) || sink.bytes < PART_BYTES) {
        await sink.discard();
        return await hands.failed({ ...task, part: undefined }, error, beganMs);
      }
      return await hands.failed({ ...task, part: await sink.suspend() }, error, beganMs);
    }
    // Outside, since what goes wrong here is about files that have all arrived.
    return this.#finisher.delivered(action, { side: 'remote', baseline, local: undefined, remote: file });
  }

  /** What an earlier run left open: its part is of no use, since nobody knows of what it is one. */
  async recover({ path, intent }: RecoverTask): Promise<Result<Task>> {
    const { root, binding } = this.#desk.voyage;
    const { temporary } = intent;
    await discardFile(root, temporary);
    this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
    return 'done';
  }

  /** Whether the file may come to its place: nothing is there, or what may be replaced. */
  async #isFree(
    { path, action, temporary }: DownloadTask,
    place: Standing,
  ): Promise<'free' | 'taken' | 'adopted' | Verdict> {
    if (place === 'nothing') return 'free';
    if (place === 'other') return 'taken';
    const { file } = action;
    if (isExpected(place, action)) return 'free';
    if (action.over === 'seen') return 'taken';
    // Not what we put there: either it is the same file by another way, or it is a person's.
    const { root, binding, tally, placement, job } = this.#desk.voyage;
    // A move keeps no account of what it has delivered; what goes into the trash is not lost.
    const replaced = job.mode === 'move' && job.deletes.policy === 'trash';
    if (isLink(place)) return replaced ? 'free' : 'taken';
    const sameTime =
      file.modifiedMs !== undefined && wholeSeconds(place.mtimeMs) === wholeSeconds(file.modifiedMs);
    const mayBeSame = sameTime || file.modifiedMs === undefined;
    if (place.sizeBytes !== file.sizeBytes || !mayBeSame) return replaced ? 'free' : 'taken';
    if (job.mode === 'move' || !sameTime) {
      // Where its source goes afterwards, or nobody knows its time, only the content says that it is the same.
      const other: Verdict = replaced
        ? { ...action, over: 'seen', seen: place }
        : { kind: 'blocked', path, why: 'differs', side: 'local' };
      return { ...action, kind: 'meet', local: place, remote: file, proof: 'compared', decide: () => other };
    }
    const seenAtMs = Date.now();
    const adopted: Baseline = {
      path,
      local: settledFingerprint(place, seenAtMs),
      sha256: await hashOf(root, place),
      remoteModifiedMs: file.modifiedMs,
      target: placement.targetOf(path, action),
    };
    this.#desk.record({ kind: 'adopted', bindingId: binding, baseline: adopted, temporary });
    tally.unchanged += 1;
    return 'adopted';
  }

  /** What could not be begun because a link is on the way has left nothing under its temporary name. */
  #notBegun({ path, temporary, attempt }: DownloadTask, error: unknown): never {
    if (attempt === 1 && error instanceof LocalError && error.code === 'OUTSIDE') {
      const bindingId = this.#desk.voyage.binding;
      this.#desk.record({ kind: 'intent-dropped', bindingId, path, temporary });
    }
    throw error;
  }

  /** Where the bytes go: on with the part where it still is one of this very file, else from the beginning. */
  async #sinkFor({ action, temporary, part }: DownloadTask): Promise<LocalSink> {
    const { root, remote } = this.#desk.voyage;
    const { file, here, there } = action;
    const place = { root, path: here, temporary, sizeBytes: file.sizeBytes };
    if (part !== undefined) {
      const now = await remote.stat(there);
      const same =
        now !== undefined &&
        file.modifiedMs !== undefined &&
        now.sizeBytes === file.sizeBytes &&
        now.modifiedMs === wholeSeconds(file.modifiedMs);
      const sink = same ? await LocalSink.resume(place, part) : undefined;
      if (sink !== undefined) return sink;
      await discardFile(root, temporary);
    }
    return LocalSink.open(place);
  }
}

/** The connection is to blame, and not what came over it. */
function isCutOff(error: unknown): boolean {
  if (error instanceof LocalError) return false;
  const { decision, kind } = judge(error);
  return (decision === 'retry' || decision === 'reconnect') && kind !== 'verification';
}
