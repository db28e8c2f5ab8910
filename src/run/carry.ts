/*
 * Carrying out: hands each task to whoever does that kind of work, and sees to what becomes of it when it fails.
 * Failures are judged in remote/failure.ts; here the verdict is obeyed and attempts are counted.
 */

import type { PlannedDeletion } from '../ledger/deletion.js';
import { discardFile, makeDirectory, moveFile } from '../local/tree.js';
import { lookAt } from '../local/walk.js';
import type { Action, Removal, Verdict } from '../plan/action.js';
import { contentless, isLink, type RelativePath, type RemotePiece } from '../plan/entry.js';
import { fingerprintOf, leadsToOf } from '../plan/judge.js';
import { conflictName } from '../plan/names.js';
import type { Failure } from '../remote/decision.js';
import { judge } from '../remote/failure.js';
import { fullStop } from '../report/summary.js';
import { backoffMs } from './backoff.js';
import { Comparer } from './content.js';
import type { Voyage } from './context.js';
import type { Result } from './crew.js';
import { Desk } from './desk.js';
import { Downloader } from './download.js';
import { RunEnded } from './end.js';
import type { Endings } from './endings.js';
import { Finisher } from './finish.js';
import { Intents, intentsAtOnce } from './intents.js';
import { LinkCarrier } from './link.js';
import { linkThere } from './link-there.js';
import type { Outage } from './outage.js';
import { clearTrial, emptyingOf, isDownload, isTrial } from './recover.js';
import { Remover } from './removal.js';
import {
  isTransfer,
  type LinkTask,
  type PlainTask,
  type RecoverTask,
  type Task,
  type Transfer,
  type UploadTask,
} from './task.js';
import { Uploader } from './upload.js';

/** Tries to find a free name for the loser of a conflict, or for what is replaced in the trash. */
const NAMES = 10;

export class Carrier {
  readonly #voyage: Voyage;
  readonly #outage: Outage;
  readonly #endings: Endings;
  readonly #desk: Desk;
  readonly #intents: Intents;
  readonly #uploader: Uploader;
  readonly #downloader: Downloader;
  readonly #links: LinkCarrier;
  readonly #comparer: Comparer;
  readonly #finisher: Finisher;
  readonly #remover: Remover;
  /** What came that may not come often in a row, since the last delivery. */
  readonly #troubles = new Set<string>();
  /** Losers of conflicts that have another name now. */
  #setAside = 0;
  /** What ended the run for all workers. */
  #ended: RunEnded | undefined;

  /** @param parts.outage what all who talk to the server share */
  constructor(voyage: Voyage, parts: { readonly outage: Outage; readonly endings: Endings }) {
    this.#voyage = voyage;
    this.#outage = parts.outage;
    this.#endings = parts.endings;
    this.#desk = new Desk(voyage, parts.endings, {
      goOn: () => this.#goOn(),
      fared: () => this.#fared(),
      failed: (task, error, beganMs) => this.#failed(task, error, beganMs),
      turnTo: (verdict, task) => this.#turnTo(verdict, task),
      clear: (task) => this.#clear(task),
    });
    this.#intents = new Intents({
      write: (transfers) => this.#desk.intend(transfers),
      atOnce: intentsAtOnce(voyage.job.server.connections),
    });
    this.#finisher = new Finisher(this.#desk);
    this.#uploader = new Uploader(this.#desk, this.#finisher);
    this.#downloader = new Downloader(this.#desk, this.#finisher);
    this.#links = new LinkCarrier(this.#desk, this.#finisher);
    this.#comparer = new Comparer(this.#desk);
    this.#remover = new Remover(this.#desk);
  }

  /** How many losers of conflicts have got another name, and are new files under it. */
  get setAside(): number {
    return this.#setAside;
  }

  /** How much was deleted, or was found to be gone when it was to be deleted. */
  get cleared(): number {
    return this.#remover.cleared;
  }

  /** The task that carries an action out. */
  taskOf(action: Exclude<Action, Removal>): Exclude<Task, { kind: 'recover' | 'remove' }> {
    const { path } = action;
    switch (action.kind) {
      case 'upload': {
        const { file } = action;
        return isLink(file)
          ? this.#links.taskOf({ ...action, file })
          : this.#uploader.taskOf({ ...action, file });
      }
      case 'download': {
        const { file } = action;
        if (isLink(file)) return this.#links.taskOf({ ...action, file });
        return {
          kind: 'download',
          path,
          action: { ...action, file },
          attempt: 1,
          temporary: this.#desk.temporaryFor(action.here, 'local'),
          part: undefined,
        };
      }
      // One by one, so that the kind of the task goes with that of its action.
      case 'examine':
        return { kind: action.kind, path, action, attempt: 1 };
      case 'meet':
        return { kind: action.kind, path, action, attempt: 1 };
      case 'finish':
        return { kind: action.kind, path, action, attempt: 1 };
      case 'set-aside':
        return { kind: action.kind, path, action, attempt: 1 };
      case 'make-directory':
        return { kind: action.kind, path, action, attempt: 1 };
    }
  }

  /** Takes down what is about to happen; durable before the transfer begins. */
  intend(transfer: Transfer): void {
    this.#intents.add(transfer);
  }

  /** All files were seen and dealt with: what earlier runs left of others is cleared away, moved sources go. */
  async settle(): Promise<void> {
    await this.#finisher.finish();
    await this.#uploader.clearParts();
    this.#links.tellOutside();
  }

  /** Writes down which directories deletions may leave empty; durable on return. */
  foresee(): void {
    this.#remover.foresee();
  }

  /** Removes directories that deletions have emptied. */
  tidy(): Promise<void> {
    return this.#remover.tidy();
  }

  /**
   * Works on a task once.
   *
   * @throws {RunEnded} where no other file would fare better
   */
  async work(task: Task): Promise<Result<Task>> {
    const beganMs = performance.now();
    const { remainingMs } = this.#outage;
    // Else the whole queue would knock at the door of a server that is away.
    if (remainingMs > 0) return { again: task, inMs: remainingMs };
    try {
      try {
        if (isTransfer(task)) await this.#intents.written(task);
        return await this.#carryOut(task, beganMs);
      } catch (error) {
        return await this.#failed(task, error, beganMs);
      }
    } catch (error) {
      if (error instanceof RunEnded) this.#ended ??= error;
      throw error;
    }
  }

  /**
   * To be asked right before the server is: another worker may have ended the run while this one looked at its disk.
   * Else each of them would try the wrong password once more.
   */
  #goOn(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  #fared(): void {
    this.#outage.over();
    this.#troubles.clear();
  }

  #carryOut(task: Task, beganMs: number): Promise<Result<Task>> {
    switch (task.kind) {
      case 'upload':
        return this.#uploader.upload(task, beganMs);
      case 'download':
        return this.#downloader.download(task, beganMs);
      case 'link':
        return this.#links.carry(task, beganMs);
      case 'recover':
        if (emptyingOf(task.intent) !== undefined) return this.#remover.recover(task);
        if (isTrial(task.intent)) return this.#clearTrial(task);
        if (task.intent.leadsTo !== undefined) return this.#links.recover(task);
        return isDownload(task.intent) ? this.#downloader.recover(task) : this.#uploader.recover(task);
      case 'remove':
        return this.#remover.remove(task, beganMs);
      case 'examine':
        return this.#comparer.examine(task);
      case 'meet':
        return this.#comparer.meet(task);
      case 'finish':
        return this.#finisher.carryOut(task);
      case 'set-aside':
        return this.#rename(task);
      case 'make-directory':
        return this.#makeDirectory(task);
    }
  }

  /** The loser of a conflict gets another name on its own side. What has changed since is left to the next run. */
  async #rename(task: PlainTask<'set-aside'>): Promise<Result<Task>> {
    const { root, remote, context, placement, startedAtMs } = this.#voyage;
    const { action, attempt } = task;
    const { side, here, there, local, remote: file } = action;
    const to = conflictName(side === 'local' ? here : there, startedAtMs + (attempt - 1) * 1000);
    this.#goOn();
    let went: Awaited<ReturnType<typeof moveFile>>;
    if (side === 'local') {
      went = await moveFile(root, here, to, local);
    } else {
      const same = await this.#isThere(there, file);
      went = same ? await remote.move(there, to, { signal: context.cut }) : 'changed';
      this.#fared();
    }
    if (went === 'occupied' && attempt < NAMES) return { again: { ...task, attempt: attempt + 1 }, inMs: 0 };
    if (went === 'moved') {
      this.#setAside += 1;
      // The winner goes across in the next pass, and the loser under its new name.
      context.only?.follow(task.path);
      context.only?.follow(side === 'remote' ? placement.pathOf(to) : to);
      this.#endings.inConflict(task, side, to);
    }
    return 'done';
  }

  /** Whether the remote has a file of this size still, or this link. */
  async #isThere(there: RelativePath, file: RemotePiece): Promise<boolean> {
    const { remote, context } = this.#voyage;
    if (isLink(file)) return (await linkThere(remote, there, context.cut))?.leadsTo === file.leadsTo;
    return (await remote.stat(there, { signal: context.cut }))?.sizeBytes === file.sizeBytes;
  }

  async #makeDirectory({ action, path }: PlainTask<'make-directory'>): Promise<Result<Task>> {
    const { root, remote, context, binding, placement } = this.#voyage;
    const { side, here, there } = action;
    this.#goOn();
    if (side === 'local') await makeDirectory(root, here.slice(0, -1));
    else {
      await remote.makeDirectory(there.slice(0, -1), { signal: context.cut });
      this.#fared();
    }
    const target = placement.targetOf(path, action);
    const baseline = contentless(path, { target, leadsTo: undefined });
    context.ledger.record({ kind: 'adopted', bindingId: binding, baseline, temporary: undefined });
    return 'done';
  }

  /** What an earlier run was trying out on the remote when it was killed. */
  async #clearTrial({ path, intent }: RecoverTask): Promise<Result<Task>> {
    const { remote, binding } = this.#voyage;
    this.#goOn();
    await clearTrial(remote, path);
    this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary: intent.temporary });
    return 'done';
  }

  /** What reading a file has shown may ask for something else than the plan said. */
  #turnTo(verdict: Verdict, task: Task): Result<Task> {
    const { context, binding } = this.#voyage;
    switch (verdict.kind) {
      case 'remove':
        context.ledger.doom(binding, [doomedBy(verdict)]);
        return 'done';
      case 'forget':
        context.ledger.record({ kind: 'forgotten', bindingId: binding, path: verdict.path });
        return 'done';
      case 'blocked':
        this.#endings.skipped(task, performance.now(), {
          code: 'local-differs',
          message: `${verdict.path} exists here and is not what was fetched last: it is not overwritten. Move it away, and the next run fetches it.`,
          remember: undefined,
          temporary: undefined,
        });
        return 'done';
      case 'unchanged':
      case 'remembered':
      case 'left-out':
      case 'kept':
      case 'spared':
        return 'done';
      default: {
        const next = { ...this.taskOf(verdict), attempt: task.attempt };
        if (isTransfer(next)) this.intend(next);
        return { again: next, inMs: 0 };
      }
    }
  }

  async #failed(task: Task, error: unknown, beganMs: number): Promise<Result<Task>> {
    if (error instanceof RunEnded) throw error;
    const { job, context, random, run } = this.#voyage;
    const { retries } = job;
    const notBegun = context.stop?.aborted === true && error === context.stop.reason;
    if (context.cut?.aborted === true || notBegun)
      throw new RunEnded('failed', 'interrupted', 'The run was interrupted.');
    const failure = judge(error);
    const ends = failure.decision === 'abort' || failure.decision === 'hold';
    if (ends) throw new RunEnded(failure.kind, failure.code, failure.message);
    if (failure.beforeSession) return { again: task, inMs: this.#outage.failed(failure, error) };
    this.#unlessInARow(task, failure);
    // Two runs began in one second: what the trash of this one has already is kept, and the next place is tried.
    if (failure.code === 'ASIDE' && task.attempt < NAMES) {
      const next = await this.#again(task, failure);
      return next === undefined ? 'done' : { again: next, inMs: 0 };
    }

    switch (failure.decision) {
      case 'gone':
        await this.#clear(task, 'unheard');
        return 'done';
      // No other way was left to fall back to.
      case 'fallback':
      case 'skip':
      case 'pass':
        await this.#giveUp(task, failure, beganMs);
        return 'done';
      case 'retry':
      case 'reconnect': {
        const { path, attempt } = task;
        if (attempt >= retries.attempts) {
          await this.#giveUp(task, failure, beganMs);
          return 'done';
        }
        const delayMs = Math.max(
          failure.code === 'CHANGED' ? this.#desk.settleMs : 0,
          backoffMs(attempt, retries, random()),
        );
        const { code, message } = failure;
        context.listener({ event: 'file.retry', job: job.name, run, path, attempt, delayMs, code, message });
        const next = await this.#again(task, failure);
        return next === undefined ? 'done' : { again: next, inMs: delayMs };
      }
    }
  }

  /**
   * Several workers may meet one trouble at once; it counts as coming again where a file has met it before and no other
   * file has fared better since.
   */
  #unlessInARow({ attempt }: Task, { inARow, code, kind, message }: Failure): void {
    if (inARow === undefined) return;
    if (attempt >= inARow && this.#troubles.has(code)) {
      throw new RunEnded(
        kind,
        code,
        `${fullStop(message)} It came again on a new connection, so the run was ended.`,
      );
    }
    this.#troubles.add(code);
  }

  /** The task for the next attempt; undefined where there is nothing left to do. */
  async #again(task: Task, failure: Failure): Promise<Task | undefined> {
    const attempt = task.attempt + 1;
    if (task.kind === 'link' && failure.code === 'TEMPORARY') return this.#linkAnew(task, attempt);
    if (task.kind !== 'upload' && task.kind !== 'examine') return { ...task, attempt };
    const useless = failure.code === 'TEMPORARY' || failure.code === 'HELD';
    if (useless || failure.kind === 'verification') return this.#anew(task, attempt);
    if (failure.code !== 'CHANGED') {
      return task.kind === 'upload' ? { ...task, attempt, sent: 'something' } : { ...task, attempt };
    }
    const { root, job, weigh, context, run } = this.#voyage;
    const file = await lookAt(root, task.path, job.links);
    // What was sent may be as large as the new content and must never pass for it: it goes, and so does its name.
    await this.#clear(task, 'unheard');
    if (file === undefined) return undefined;
    if (weigh({ sizeBytes: file.sizeBytes, modifiedMs: file.mtimeMs }) !== 'fits') {
      const message = `${task.path} was changed while it was read, and is not of the size and age any more that the job wants: the next run looks at it again.`;
      context.listener({ event: 'file.ignored', job: job.name, run, path: task.path, message });
      return undefined;
    }
    if (task.kind === 'examine') return { ...task, attempt, action: { ...task.action, file } };
    const changed = this.#elsewhere({ ...task, attempt, file, action: this.#placed(task, file.mtimeMs) });
    this.#desk.intend([changed]);
    return changed;
  }

  /** With {mtime} in the target, another time is another place. */
  #placed({ action, path }: UploadTask, modifiedMs: number): UploadTask['action'] {
    const { placement } = this.#voyage;
    if (!placement.needsTimes) return action;
    const { baseline } = action;
    return { ...action, ...placement.place(path, { baseline, modifiedMs, there: undefined }) };
  }

  /** The same file under another temporary name: what lies under the first one is not to be trusted. */
  async #anew(task: UploadTask | PlainTask<'examine'>, attempt: number): Promise<Task> {
    if (task.kind === 'examine') return { ...task, attempt };
    await this.#clear(task);
    const next = this.#elsewhere({ ...task, attempt });
    this.#desk.intend([next]);
    return next;
  }

  async #linkAnew(task: LinkTask, attempt: number): Promise<Task> {
    await this.#clear(task);
    const next = { ...this.#links.taskOf(task.action), attempt };
    this.#desk.intend([next]);
    return next;
  }

  #elsewhere(task: UploadTask): UploadTask {
    return { ...task, temporary: this.#desk.temporaryFor(task.action.there, 'remote'), sent: 'nothing' };
  }

  /** Ends a file's journey in this run without a delivery. */
  async #giveUp(task: Task, failure: Failure, beganMs: number): Promise<void> {
    const final = failure.decision === 'skip' || failure.decision === 'fallback';
    // The old file may be in the trash already: the new one stays for the next run, which goes on with it.
    const mayBeNeeded =
      task.kind === 'upload' &&
      !final &&
      this.#voyage.job.deletes.policy === 'trash' &&
      task.sent === 'something';
    const isAnswered = final || failure.answered;
    const cleared = mayBeNeeded ? undefined : await this.#clear(task, isAnswered ? 'heard' : 'unheard');
    const piece = task.kind === 'upload' ? task.file : isTransfer(task) ? task.action.file : undefined;
    if (failure.kind === 'verification') this.#endings.mismatched(failure.message);
    const { policy } = this.#voyage;
    this.#endings.skipped(task, beganMs, {
      code: failure.code,
      message:
        final || failure.decision === 'pass'
          ? failure.message
          : `${fullStop(failure.message)} Tried ${task.attempt === 1 ? 'once' : `${task.attempt} times`}; the next run tries again.`,
      remember:
        final && piece !== undefined
          ? { local: fingerprintOf(piece), leadsTo: leadsToOf(piece), settings: policy.settings }
          : undefined,
      temporary: cleared,
    });
  }

  /**
   * Takes the temporary name away.
   *
   * @param end whether the server has said how the sending ended, if there was one. Where not, it may still have the
   *   command before it: a name that is missing now may be made yet
   * @returns the name where it is surely gone; undefined leaves the intent open for the next run
   */
  async #clear(task: Task, end: 'heard' | 'unheard' = 'heard'): Promise<string | undefined> {
    const { remote, binding, root } = this.#voyage;
    if (!isTransfer(task)) return undefined;
    const { path, temporary } = task;
    // Under its final name, where the server cannot rename, a part is left to the next run rather than removed.
    if (task.kind === 'upload' && temporary === task.action.there && task.sent === 'something')
      return undefined;
    try {
      if (task.kind === 'download') {
        await discardFile(root, temporary);
      } else if (task.kind === 'link') {
        if (!(await this.#links.clear(task, end))) return undefined;
      } else if (task.sent === 'something') {
        if (end === 'unheard' && (await remote.stat(temporary)) === undefined) return undefined;
        await remote.remove(temporary);
      }
      this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
      return temporary;
    } catch {
      // The intent stays in the ledger: the next run begins with it.
      return undefined;
    }
  }
}

/** A removal as the ledger keeps it until the guard has seen the whole number. */
export function doomedBy(removal: Removal): PlannedDeletion {
  const { path, side, at, known, sizeBytes, modifiedMs, leadsTo, baseline } = removal;
  const kind = path.endsWith('/') ? 'directory' : 'file';
  return { path, side, at, kind, sizeBytes, modifiedMs, sha256: baseline?.sha256, leadsTo, known };
}
