/*
 * Carrying out: what a worker does with one task, and what becomes of it when that fails. The upload is the
 * state machine of the README: intent, temporary name, proof, rename, commit; its first and last step are the
 * ledger's, the others the remote's. Failures are judged in remote/failure.ts; here the verdict is obeyed and
 * attempts are counted.
 */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { Change } from '../ledger/record.js';
import { permissionsOf } from '../local/permissions.js';
import { LocalSink } from '../local/sink.js';
import { LocalSource } from '../local/source.js';
import { lookAt, standsAt } from '../local/walk.js';
import {
  type Baseline,
  type Fingerprint,
  type LocalFile,
  type RelativePath,
  sameFingerprint,
} from '../plan/entry.js';
import { remoteFingerprint } from '../plan/judge.js';
import { temporaryName } from '../plan/temporary.js';
import { type Failure, judge } from '../remote/failure.js';
import { type Delivery, wholeSeconds } from '../remote/remote.js';
import { fullStop } from '../report/summary.js';
import { backoffMs } from './backoff.js';
import { settleMsOf, type Voyage } from './context.js';
import type { Result } from './crew.js';
import { RunEnded } from './end.js';
import type { Endings } from './endings.js';
import type { Outage } from './outage.js';
import { Parts } from './parts.js';
import { waitsFor } from './ready.js';
import { hashOf, recoverUpload } from './recover.js';
import type { DownloadTask, ExamineTask, RecoverTask, Task, UploadTask } from './task.js';

export class Carrier {
  readonly #voyage: Voyage;
  readonly #outage: Outage;
  readonly #endings: Endings;
  readonly #settleMs: number;
  /** Settles when all files that were begun so far are open, or could not be opened. */
  #openings: Promise<void> = Promise.resolve();
  /** What came that may not come often in a row, since the last delivery. */
  readonly #troubles = new Set<string>();
  readonly #parts: Parts;
  /** What ended the run for all workers. */
  #ended: RunEnded | undefined;

  /** @param parts.outage what all who talk to the server share */
  constructor(voyage: Voyage, parts: { readonly outage: Outage; readonly endings: Endings }) {
    this.#voyage = voyage;
    this.#outage = parts.outage;
    this.#endings = parts.endings;
    this.#settleMs = settleMsOf(voyage.job);
    this.#parts = new Parts(voyage);
  }

  /** A temporary name that no other file and no other run uses. */
  temporaryFor(path: RelativePath): RelativePath {
    return temporaryName(path, randomBytes(8).toString('hex'), this.#voyage.remote.temporaryForm);
  }

  /** The task that sends a file: from the beginning, or on with what an earlier run has left of it. */
  uploadOf(path: RelativePath, file: LocalFile): UploadTask {
    const upload = { kind: 'upload', path, file, attempt: 1 } as const;
    const part = this.#parts.take(path, file);
    return part === undefined
      ? { ...upload, temporary: this.temporaryFor(path), sent: 'nothing' }
      : { ...upload, temporary: part, sent: 'something' };
  }

  /** All files were seen: what earlier runs left of others is cleared away. */
  clearParts(): Promise<void> {
    return this.#parts.clear();
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
      return await this.#carryOut(task, beganMs).catch((error: unknown) =>
        this.#failed(task, error, beganMs),
      );
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

  async #carryOut(task: Task, beganMs: number): Promise<Result<Task>> {
    switch (task.kind) {
      case 'upload':
        return this.#upload(task, beganMs);
      case 'examine':
        return this.#examine(task);
      case 'download':
        return this.#download(task, beganMs);
      case 'recover':
        return this.#recover(task);
    }
  }

  async #upload(task: UploadTask, beganMs: number): Promise<Result<Task>> {
    const { remote, context, job, run } = this.#voyage;
    const settling = this.#settlesInMs(task.file);
    if (settling > 0) return { again: task, inMs: settling };

    let part: Delivery['part'] = 'none';
    if (task.sent === 'something') {
      const intent = { path: task.path, temporary: task.temporary, local: task.file };
      const recovery = await recoverUpload(this.#voyage, intent, task.file, this.#before(task.path));
      if (recovery.kind === 'delivered') {
        this.#arrived(task, beganMs, {
          baseline: baselineOf(task, recovery),
          bytes: task.file.sizeBytes,
          fromByte: task.file.sizeBytes,
        });
        return 'done';
      }
      if (recovery.kind === 'part') part = 'possible';
    }
    const opened = await this.#openInTurn(this.#open(task.file));
    if (opened.kind === 'waiting') {
      const { path } = task;
      await this.#clear(task);
      context.listener({ event: 'file.waiting', job: job.name, run, path, message: opened.message });
      return 'done';
    }
    const { source, permissions } = opened;
    try {
      const { path, temporary } = task;
      this.#goOn();
      const { cut, stop } = context;
      const delivery = { path, temporary, source, part, permissions };
      const delivered = await remote.deliver(delivery, { signal: cut, stop });
      const { bytes, fromByte } = delivered;
      this.#arrived(task, beganMs, { baseline: baselineOf(task, delivered), bytes, fromByte });
      return 'done';
    } catch (error) {
      return await this.#failed({ ...task, sent: 'something' }, error, beganMs);
    } finally {
      await source.close();
    }
  }

  /** Its marker may have gone since the scan: then the file is not opened. */
  async #open(file: LocalFile): Promise<Opened> {
    const { root, job } = this.#voyage;
    const message = await waitsFor(root, file.path, job.ready);
    if (message !== undefined) return { kind: 'waiting', message };
    const source = await LocalSource.open(root, file);
    try {
      const permissions = job.permissions === 'keep' ? await permissionsOf(root, file) : undefined;
      return { kind: 'source', source, permissions };
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** Files are opened at the same time, and handed on in the order in which their tasks were begun. */
  async #openInTurn(opening: Promise<Opened>): Promise<Opened> {
    const earlier = this.#openings;
    // Without the result, which would hold on to every file before it.
    this.#openings = Promise.allSettled([earlier, opening]).then(() => {});
    await earlier;
    return opening;
  }

  async #examine(task: ExamineTask): Promise<Result<Task>> {
    const { root, tally, binding } = this.#voyage;
    const { path, file } = task;
    const settling = this.#settlesInMs(file);
    if (settling > 0) return { again: task, inMs: settling };
    if ((await hashOf(root, file)) === task.baseline.sha256) {
      this.#record({ kind: 'refreshed', bindingId: binding, path, local: file });
      tally.unchanged += 1;
      return 'done';
    }
    const upload: UploadTask = {
      kind: 'upload',
      path,
      file,
      attempt: task.attempt,
      temporary: this.temporaryFor(path),
      sent: 'nothing',
    };
    this.intend([upload]);
    return { again: upload, inMs: 0 };
  }

  async #download(task: DownloadTask, beganMs: number): Promise<Result<Task>> {
    const { root, remote, context, tally, binding, job } = this.#voyage;
    const { path, file, temporary } = task;
    const differs = (): Result<Task> => {
      this.#endings.skipped(task, beganMs, {
        code: 'local-differs',
        message: `${path} exists here and is not what was fetched last: it is not overwritten. Move it away, and the next run fetches it.`,
        remember: undefined,
        temporary,
      });
      return 'done';
    };
    const here = await standsAt(root, path);
    if (here === 'other') return differs();
    const ours =
      here === 'nothing' || (task.baseline !== undefined && sameFingerprint(here, task.baseline.local));
    if (!ours) {
      // Not what we put there: either it is the same file by another way, or it is a person's.
      const sameTime =
        file.modifiedMs !== undefined && wholeSeconds(here.mtimeMs) === wholeSeconds(file.modifiedMs);
      if (here.sizeBytes === file.sizeBytes && sameTime) {
        const baseline: Baseline = {
          path,
          local: here,
          sha256: await hashOf(root, here),
          remoteModifiedMs: file.modifiedMs,
        };
        this.#record({ kind: 'adopted', bindingId: binding, baseline, temporary });
        tally.unchanged += 1;
        return 'done';
      }
      return differs();
    }
    const sink = await this.#sinkFor(task);
    const fromByte = sink.bytes;
    try {
      this.#goOn();
      await remote.fetch(path, (chunk) => sink.write(chunk), {
        signal: context.cut,
        fromByte,
        holds: (digest) => sink.holds(digest),
        listedBytes: file.sizeBytes,
      });
      // A fetch takes its time: what a person put there since is not overwritten either.
      if (!sameSight(here, await standsAt(root, path))) {
        await sink.discard();
        return differs();
      }
      const permissions = job.permissions === 'keep' ? file.permissions : undefined;
      const { local, sha256 } = await sink.publish(file.modifiedMs, permissions);
      this.#arrived(task, beganMs, {
        baseline: { path, local, sha256, remoteModifiedMs: file.modifiedMs },
        bytes: local.sizeBytes,
        fromByte,
      });
      return 'done';
    } catch (error) {
      if (!isCutOff(error) || sink.bytes < PART_BYTES) {
        await sink.discard();
        return await this.#failed({ ...task, part: undefined }, error, beganMs);
      }
      return await this.#failed({ ...task, part: await sink.suspend() }, error, beganMs);
    }
  }

  /** Where the bytes go: on with the part where it still is one of this very file, else from the beginning. */
  async #sinkFor(task: DownloadTask): Promise<LocalSink> {
    const { root, remote } = this.#voyage;
    const { path, temporary, part, file } = task;
    const place = { root, path, temporary };
    if (part !== undefined) {
      const now = await remote.stat(path);
      const same =
        now !== undefined &&
        file.modifiedMs !== undefined &&
        now.sizeBytes === file.sizeBytes &&
        now.modifiedMs === wholeSeconds(file.modifiedMs);
      const sink = same ? await LocalSink.resume(place, part) : undefined;
      if (sink !== undefined) return sink;
      await rm(`${root}/${temporary}`, { force: true });
    }
    return LocalSink.open(place);
  }

  /** What an earlier run left open. */
  async #recover(task: RecoverTask): Promise<Result<Task>> {
    const { root, job, binding, context, run } = this.#voyage;
    const { intent, path } = task;
    if (job.direction === 'pull') {
      await rm(`${root}/${intent.temporary}`, { force: true });
      this.#record({ kind: 'intent-dropped', bindingId: binding, path, temporary: intent.temporary });
      return 'done';
    }
    const file = await lookAt(root, path, job.links);
    this.#goOn();
    const recovery = await recoverUpload(this.#voyage, intent, file, this.#before(path));
    this.#outage.over();
    const where = { job: job.name, run, path };
    if (recovery.kind === 'part') {
      await this.#parts.keep({ ...intent, sizeBytes: recovery.sizeBytes });
      context.listener({
        event: 'run.recovered',
        ...where,
        message: 'was cut off: what had arrived is gone on with, if it proves to be right',
      });
    } else if (recovery.kind === 'cleared') {
      this.#record({ kind: 'intent-dropped', bindingId: binding, path, temporary: intent.temporary });
      context.listener({
        event: 'run.recovered',
        ...where,
        message: 'was cut off: what had arrived is cleared away',
      });
    } else {
      const { sha256, modifiedMs } = recovery;
      const baseline = { path, local: intent.local, sha256, remoteModifiedMs: modifiedMs };
      this.#record({ kind: 'adopted', bindingId: binding, baseline, temporary: intent.temporary });
      context.listener({
        event: 'run.recovered',
        ...where,
        message: 'had arrived whole: it is not sent again',
      });
    }
    return 'done';
  }

  /** Writes down what is about to happen; durable on return. */
  intend(tasks: readonly (UploadTask | DownloadTask)[]): void {
    const { context, binding, run } = this.#voyage;
    context.ledger.intend(
      binding,
      run,
      tasks.map((task) => ({
        path: task.path,
        temporary: task.temporary,
        local: task.kind === 'upload' ? task.file : remoteFingerprint(task.file),
      })),
    );
  }

  #before(path: RelativePath): Fingerprint | undefined {
    const { context, binding } = this.#voyage;
    return context.ledger.baselineLocal(binding, path);
  }

  /** How long this file has to be left alone yet; never longer than settle, whatever its clock says. */
  #settlesInMs(file: Fingerprint): number {
    if (this.#settleMs === 0) return 0;
    return Math.min(this.#settleMs, file.ctimeMs + this.#settleMs - Date.now());
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

    switch (failure.decision) {
      case 'gone':
        await this.#clear(task);
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
          failure.code === 'CHANGED' ? this.#settleMs : 0,
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
    if (task.kind === 'download' || task.kind === 'recover') return { ...task, attempt };
    if (failure.code === 'TEMPORARY' || failure.kind === 'verification') return this.#anew(task, attempt);
    if (failure.code !== 'CHANGED') {
      return task.kind === 'upload' ? { ...task, attempt, sent: 'something' } : { ...task, attempt };
    }
    const { root, job, weigh, context, run } = this.#voyage;
    const file = await lookAt(root, task.path, job.links);
    // What was sent may be as large as the new content and must never pass for it: it goes, and so does its name.
    await this.#clear(task);
    if (file === undefined) return undefined;
    if (weigh({ sizeBytes: file.sizeBytes, modifiedMs: file.mtimeMs }) !== 'fits') {
      const message = `${task.path} was changed while it was read, and is not of the size and age any more that the job wants: the next run looks at it again.`;
      context.listener({ event: 'file.ignored', job: job.name, run, path: task.path, message });
      return undefined;
    }
    if (task.kind === 'examine') return { ...task, attempt, file };
    const temporary = this.temporaryFor(task.path);
    const changed: UploadTask = { ...task, attempt, file, temporary, sent: 'nothing' };
    this.intend([changed]);
    return changed;
  }

  /** The same file under another temporary name: what lies under the first one is not to be trusted. */
  async #anew(task: UploadTask | ExamineTask, attempt: number): Promise<Task> {
    if (task.kind === 'examine') return { ...task, attempt };
    await this.#clear(task);
    const next: UploadTask = {
      ...task,
      attempt,
      temporary: this.temporaryFor(task.path),
      sent: 'nothing',
    };
    this.intend([next]);
    return next;
  }

  /** Ends a file's journey in this run without a delivery. */
  async #giveUp(task: Task, failure: Failure, beganMs: number): Promise<void> {
    const cleared = await this.#clear(task);
    const final = failure.decision === 'skip' || failure.decision === 'fallback';
    const remembered = final && task.kind !== 'recover' && task.kind !== 'examine';
    const local =
      task.kind === 'download'
        ? remoteFingerprint(task.file)
        : task.kind === 'upload'
          ? task.file
          : undefined;
    if (failure.kind === 'verification') {
      this.#endings.mismatched(failure.message);
    }
    this.#endings.skipped(task, beganMs, {
      code: failure.code,
      message:
        final || failure.decision === 'pass'
          ? failure.message
          : `${fullStop(failure.message)} Tried ${task.attempt === 1 ? 'once' : `${task.attempt} times`}; the next run tries again.`,
      remember: remembered && local !== undefined ? { local, settings: this.#voyage.settings } : undefined,
      temporary: cleared,
    });
  }

  /**
   * Takes the temporary name away.
   *
   * @returns the name where it is surely gone; undefined leaves the intent open for the next run
   */
  async #clear(task: Task): Promise<string | undefined> {
    const { remote, binding, root } = this.#voyage;
    if (task.kind === 'examine' || task.kind === 'recover') return undefined;
    // Under its final name, where the server cannot rename, a part is left to the next run rather than removed.
    if (task.kind === 'upload' && task.temporary === task.path && task.sent === 'something') return undefined;
    try {
      if (task.kind === 'download') await rm(`${root}/${task.temporary}`, { force: true });
      else if (task.sent === 'something') await remote.remove(task.temporary);
      this.#record({
        kind: 'intent-dropped',
        bindingId: binding,
        path: task.path,
        temporary: task.temporary,
      });
      return task.temporary;
    } catch {
      // The intent stays in the ledger: the next run begins with it.
      return undefined;
    }
  }

  #arrived(...[task, beganMs, done]: Parameters<Endings['delivered']>): void {
    this.#outage.over();
    this.#troubles.clear();
    this.#endings.delivered(task, beganMs, done);
  }

  #record(change: Change): void {
    this.#voyage.context.ledger.record(change);
  }
}

/** A file that is about to be sent, or the sentence about what it waits for. */
type Opened =
  | {
      readonly kind: 'source';
      readonly source: LocalSource;
      /** Where they are to be kept. */
      readonly permissions: number | undefined;
    }
  | { readonly kind: 'waiting'; readonly message: string };

/** A part of this size is worth keeping for the next attempt. */
const PART_BYTES = 1024 * 1024;

/** The connection is to blame, and not what came over it. */
function isCutOff(error: unknown): boolean {
  const { decision, kind, code } = judge(error);
  const cut = decision === 'retry' || decision === 'reconnect';
  return cut && kind !== 'verification' && code !== 'CHANGED';
}

type Place = Awaited<ReturnType<typeof standsAt>>;

/** Two looks at one place: nothing has happened in between. */
function sameSight(a: Place, b: Place): boolean {
  return typeof a === 'string' || typeof b === 'string' ? a === b : sameFingerprint(a, b);
}

function baselineOf(
  task: UploadTask,
  held: { readonly sha256: string; readonly modifiedMs: number | undefined },
): Baseline {
  return { path: task.path, local: task.file, sha256: held.sha256, remoteModifiedMs: held.modifiedMs };
}
