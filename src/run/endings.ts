/*
 * How the journeys of a run's files end: each end is counted, written into the ledger and told. Skips are held back
 * until it is clear that they are about their files (skips.ts).
 */
import type { Change, Remembered } from '../ledger/record.js';
import type { Baseline, RelativePath } from '../plan/entry.js';
import type { RunFailure } from '../plan/outcome.js';
import { fullStop } from '../report/summary.js';
import type { Voyage } from './context.js';
import { Skips } from './skips.js';
import type { RemoveTask, Task, Transfer } from './task.js';

/** Why a file stays behind. */
export interface Skip {
  readonly code: string;
  readonly message: string;
  readonly remember: Remembered | undefined;
  /** The temporary name that is surely gone. */
  readonly temporary: string | undefined;
}

export class Endings {
  readonly #voyage: Voyage;
  readonly #skips: Skips;
  /** Files whose bytes never agreed with what the other side holds, and the last that was said of one. */
  #mismatched = { files: 0, message: '' };

  #trashed = false;

  constructor(voyage: Voyage) {
    this.#voyage = voyage;
    this.#skips = new Skips((change) => voyage.context.ledger.record(change));
  }

  /** True where something went into the trash. */
  get trashed(): boolean {
    return this.#trashed;
  }

  /** A file has arrived. */
  delivered(
    task: Transfer,
    beganMs: number,
    done: { readonly baseline: Baseline; readonly bytes: number; readonly fromByte: number },
  ): void {
    const { job, context, run, binding, tally } = this.#voyage;
    const { path, attempt, temporary } = task;
    const durationMs = Math.round(performance.now() - beganMs);
    const { baseline, bytes, fromByte } = done;
    const { kind } = task.action;
    if (kind === 'upload') tally.uploaded += 1;
    else tally.downloaded += 1;
    tally.bytes += bytes;
    context.ledger.record({
      kind: 'delivered',
      way: kind === 'upload' ? 'up' : 'down',
      bindingId: binding,
      runId: run,
      baseline,
      bytes,
      attempt,
      durationMs,
      atMs: Date.now(),
      temporary,
    });
    this.#skips.delivered();
    const event = kind === 'upload' ? 'file.uploaded' : 'file.downloaded';
    const part = fromByte > 0 ? { fromByte } : {};
    context.listener({ event, job: job.name, run, path, bytes, ...part, durationMs, attempt });
  }

  /** Something was deleted. @param to where it lies in the trash */
  deleted(task: RemoveTask, beganMs: number, to: RelativePath | undefined): void {
    const { job, context, run, binding, tally } = this.#voyage;
    const { path, attempt, deletion } = task;
    const { side, kind, known } = deletion;
    if (kind === 'file') tally.deleted += 1;
    if (to !== undefined) this.#trashed = true;
    context.ledger.record({
      kind: 'deleted',
      bindingId: binding,
      runId: run,
      path,
      attempt,
      durationMs: Math.round(performance.now() - beganMs),
      atMs: Date.now(),
      bytes: 0,
      side,
      text: to ?? '',
    });
    const why = known === 'ours' ? 'gone' : 'extraneous';
    context.listener({ event: 'file.deleted', job: job.name, run, path, side, to, why });
  }

  /** What a file has replaced is in the trash now. */
  setAside(task: Task, to: RelativePath): void {
    this.#trashed = true;
    this.#renamed(task, to);
  }

  #renamed(task: Task, to: RelativePath): void {
    const { context, run, binding } = this.#voyage;
    const { path, attempt } = task;
    const when = { attempt, durationMs: 0, atMs: Date.now() };
    context.ledger.record({ kind: 'set-aside', bindingId: binding, runId: run, path, to, ...when });
  }

  /** The loser of a conflict has another name on its own side now. */
  inConflict(task: Task, side: 'local' | 'remote', to: RelativePath): void {
    const { context, job, run, tally } = this.#voyage;
    const { path } = task;
    this.#renamed(task, to);
    tally.renamed += 1;
    context.listener({ event: 'file.conflict', job: job.name, run, path, side, to });
  }

  /** A file stays behind. Without `remember` the next run asks again. */
  skipped(task: Pick<Task, 'path' | 'attempt'>, beganMs: number, skip: Skip): void {
    const change = this.#skipped(task, beganMs, skip);
    if (skip.remember === undefined) this.#voyage.context.ledger.record(change);
    else this.#skips.add(change, skip.message);
  }

  /** As `skipped`, for a reason that was found here: however many there are in a row, the server has refused nothing. */
  refused(task: Pick<Task, 'path' | 'attempt'>, beganMs: number, skip: Skip): void {
    this.#voyage.context.ledger.record(this.#skipped(task, beganMs, skip));
  }

  #skipped(
    task: Pick<Task, 'path' | 'attempt'>,
    beganMs: number,
    skip: Skip,
  ): Extract<Change, { kind: 'skipped' }> {
    const { job, context, run, binding, tally } = this.#voyage;
    const { code, message, remember, temporary } = skip;
    const { path, attempt } = task;
    tally.skipped += 1;
    context.listener({
      event: 'file.skipped',
      job: job.name,
      run,
      path,
      code,
      message,
      remembered: remember !== undefined,
    });
    return {
      kind: 'skipped',
      bindingId: binding,
      runId: run,
      path,
      attempt,
      durationMs: Math.round(performance.now() - beganMs),
      atMs: Date.now(),
      code,
      text: message,
      remember,
      temporary,
    };
  }

  /** A file did not arrive whole although the other side said so, and was given up for this run. */
  mismatched(message: string): void {
    this.#mismatched = { files: this.#mismatched.files + 1, message };
  }

  /**
   * The run has come to its end: what was held back is recorded.
   *
   * @returns what a person must know although nothing stopped the run: a server that confirms what it does not hold
   */
  finish(): RunFailure | undefined {
    this.#skips.finish();
    const { files, message } = this.#mismatched;
    if (files === 0) return undefined;
    const what = files === 1 ? '1 file' : `${files} files`;
    return {
      kind: 'verification',
      code: 'mismatch',
      message: `${what} did not arrive whole although the other side said so: ${fullStop(message)} The next run tries again.`,
    };
  }

  /** The run ended before its time. */
  abandon(): void {
    this.#skips.abandon();
  }
}
