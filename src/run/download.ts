/*
 * One download: to a temporary name beside the final one, proven, given its time, and renamed. What a person has put
 * in its place here is never overwritten unseen; a fetch takes its time, so that is looked at before and after.
 */
import { settledFingerprint } from '../local/fingerprint.js';
import { LocalSink } from '../local/sink.js';
import { discardFile } from '../local/tree.js';
import { standsAt } from '../local/walk.js';
import type { Verdict } from '../plan/action.js';
import { type Baseline, sameFingerprint } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import { wholeSeconds } from '../remote/remote.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import type { Finisher } from './finish.js';
import { hashOf } from './recover.js';
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
    const place = await standsAt(root, here);
    const free = await this.#isFree(task, place);
    if (free === 'adopted') return 'done';
    if (free === 'taken') return this.#leave(task, beganMs);
    if (typeof free !== 'string') {
      await hands.clear(task);
      return hands.turnTo(free, task);
    }
    const sink = await this.#sinkFor(task);
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
      if (!sameSight(place, await standsAt(root, here))) {
        await sink.discard();
        return this.#leave(task, beganMs);
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
    return this.#finisher.delivered({ ...action, side: 'remote', baseline, local: undefined, remote: file });
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
    place: Place,
  ): Promise<'free' | 'taken' | 'adopted' | Verdict> {
    if (place === 'nothing') return 'free';
    if (place === 'other') return 'taken';
    const { file, baseline, over, seen } = action;
    if (over === 'seen') return seen !== undefined && sameFingerprint(place, seen) ? 'free' : 'taken';
    const known = baseline?.local;
    const untouched =
      known !== undefined &&
      place.sizeBytes === known.sizeBytes &&
      place.mtimeMs === known.mtimeMs &&
      place.inode === known.inode &&
      // Not known of a file that was looked at right after it came.
      (place.ctimeMs === known.ctimeMs || known.ctimeMs === 0);
    if (untouched) return 'free';
    // Not what we put there: either it is the same file by another way, or it is a person's.
    const sameTime =
      file.modifiedMs !== undefined && wholeSeconds(place.mtimeMs) === wholeSeconds(file.modifiedMs);
    const { root, binding, tally, placement, job } = this.#desk.voyage;
    // A move keeps no account of what it has delivered; what goes into the trash is not lost.
    const replaced = job.mode === 'move' && job.deletes.policy === 'trash';
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

  async #leave(task: DownloadTask, beganMs: number): Promise<Result<Task>> {
    const { path, action } = task;
    const message =
      action.over === 'seen'
        ? `${path} was changed here since the scan: it is not overwritten, and the next run looks again.`
        : `${path} exists here and is not what was fetched last: it is not overwritten. Move it away, and the next run fetches it.`;
    const temporary = await this.#desk.hands.clear(task);
    this.#desk.endings.skipped(task, beganMs, {
      code: 'local-differs',
      message,
      remember: undefined,
      temporary,
    });
    return 'done';
  }

  /** Where the bytes go: on with the part where it still is one of this very file, else from the beginning. */
  async #sinkFor({ action, temporary, part }: DownloadTask): Promise<LocalSink> {
    const { root, remote } = this.#desk.voyage;
    const { file, here, there } = action;
    const place = { root, path: here, temporary };
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

type Place = Awaited<ReturnType<typeof standsAt>>;

/** Two looks at one place: nothing has happened in between. */
function sameSight(a: Place, b: Place): boolean {
  return typeof a === 'string' || typeof b === 'string' ? a === b : sameFingerprint(a, b);
}

/** The connection is to blame, and not what came over it. */
function isCutOff(error: unknown): boolean {
  const { decision, kind, code } = judge(error);
  const cut = decision === 'retry' || decision === 'reconnect';
  return cut && kind !== 'verification' && code !== 'CHANGED';
}
