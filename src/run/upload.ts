/*
 * One upload: the state machine of the README. Intent, temporary name, proof, rename, commit; the first and the last
 * step are the ledger's, the others the remote's. Files are opened at the same time, and handed on in order.
 */

import { settledFingerprint } from '../local/fingerprint.js';
import { permissionsOf } from '../local/permissions.js';
import { LocalSource } from '../local/source.js';
import { lookAt } from '../local/walk.js';
import type { Upload } from '../plan/action.js';
import type { Baseline, LocalFile } from '../plan/entry.js';
import type { Delivery } from '../remote/remote.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import type { Finisher } from './finish.js';
import { Parts } from './parts.js';
import { waitsFor } from './ready.js';
import { recoverUpload } from './recover.js';
import type { RecoverTask, Task, UploadTask } from './task.js';

export class Uploader {
  readonly #desk: Desk;
  readonly #finisher: Finisher;
  readonly #parts: Parts;
  /** Settles when all files that were begun so far are open, or could not be opened. */
  #openings: Promise<void> = Promise.resolve();

  constructor(desk: Desk, finisher: Finisher) {
    this.#desk = desk;
    this.#finisher = finisher;
    this.#parts = new Parts(desk.voyage);
  }

  /** The task that sends a file: from the beginning, or on with what an earlier run has left of it. */
  taskOf(action: Upload<LocalFile>): UploadTask {
    const { path, file } = action;
    const upload = { kind: 'upload', path, action, file, attempt: 1 } as const;
    const part = this.#parts.take(path, file);
    return part === undefined
      ? { ...upload, temporary: this.#desk.temporaryFor(action.there, 'remote'), sent: 'nothing' }
      : { ...upload, temporary: part, sent: 'something' };
  }

  /** All files were seen: what earlier runs left of others is cleared away. */
  clearParts(): Promise<void> {
    return this.#parts.clear();
  }

  async upload(task: UploadTask, beganMs: number): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { remote, context, job, run } = voyage;
    const { path, action, file, temporary } = task;
    const { there } = action;
    const settling = this.#desk.settlesInMs(file);
    if (settling > 0) return { again: task, inMs: settling };

    let part: Delivery['part'] = 'none';
    if (task.sent === 'something') {
      const seenAtMs = Date.now();
      const intent = { path, temporary, local: file };
      const recovery = await recoverUpload(voyage, { intent, there, file, before: this.#desk.before(path) });
      if (recovery.kind === 'delivered') {
        const held = { ...recovery, seenAtMs };
        return this.#arrived(task, beganMs, held, { bytes: file.sizeBytes, fromByte: file.sizeBytes });
      }
      if (recovery.kind === 'part') part = 'possible';
    }
    const opened = await this.#openInTurn(this.#open(file));
    if (opened.kind === 'waiting') {
      await hands.clear(task);
      context.listener({ event: 'file.waiting', job: job.name, run, path, message: opened.message });
      return 'done';
    }
    const { source, permissions } = opened;
    try {
      hands.goOn();
      const { cut, stop } = context;
      const aside = this.#desk.trashOf(there, task.attempt);
      const delivery = { path: there, temporary, source, part, permissions, aside };
      const delivered = await remote.deliver(delivery, { signal: cut, stop });
      if (delivered.setAside && aside !== undefined) this.#desk.endings.setAside(task, aside);
      return this.#arrived(task, beganMs, { ...delivered, seenAtMs: source.seenAtMs }, delivered);
    } catch (error) {
      return await hands.failed({ ...task, sent: 'something' }, error, beganMs);
    } finally {
      await source.close();
    }
  }

  /** What an earlier run left open. */
  async recover(task: RecoverTask): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { root, job, binding, context, run, placement } = voyage;
    const { intent, path } = task;
    const file = await lookAt(root, path, job.links);
    hands.goOn();
    const seenAtMs = Date.now();
    const { mtimeMs } = intent.local;
    const places = placement.place(path, { baseline: undefined, modifiedMs: mtimeMs, there: undefined });
    const { there } = places;
    const recovery = await recoverUpload(voyage, { intent, there, file, before: this.#desk.before(path) });
    hands.fared();
    const tell = (message: string): void => {
      context.listener({ event: 'run.recovered', job: job.name, run, path, message });
    };
    if (recovery.kind === 'part') {
      await this.#parts.keep({ ...intent, there, sizeBytes: recovery.sizeBytes });
      tell('was cut off: what had arrived is gone on with, if it proves to be right');
    } else if (recovery.kind === 'cleared') {
      this.#desk.record({ kind: 'intent-dropped', bindingId: binding, path, temporary: intent.temporary });
      tell('was cut off: what had arrived is cleared away');
    } else {
      const local = settledFingerprint(intent.local, seenAtMs);
      const target = placement.targetOf(path, places);
      const { sha256, modifiedMs } = recovery;
      const baseline: Baseline = { path, local, sha256, remoteModifiedMs: modifiedMs, target };
      this.#desk.record({ kind: 'adopted', bindingId: binding, baseline, temporary: intent.temporary });
      tell('had arrived whole: it is not sent again');
    }
    return 'done';
  }

  #arrived(
    task: UploadTask,
    beganMs: number,
    held: { readonly sha256: string; readonly modifiedMs: number | undefined; readonly seenAtMs: number },
    moved: { readonly bytes: number; readonly fromByte: number },
  ): Promise<Result<Task>> {
    const { path, file, action } = task;
    const baseline: Baseline = {
      path,
      local: settledFingerprint(file, held.seenAtMs),
      sha256: held.sha256,
      remoteModifiedMs: held.modifiedMs,
      target: this.#desk.voyage.placement.targetOf(path, action),
    };
    this.#desk.hands.fared();
    this.#desk.endings.delivered(task, beganMs, { baseline, ...moved });
    return this.#finisher.delivered(action, { side: 'local', baseline, local: file, remote: undefined });
  }

  /** Its marker may have gone since the scan: then the file is not opened. */
  async #open(file: LocalFile): Promise<Opened> {
    const { root, job } = this.#desk.voyage;
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
