/*
 * What all who carry out a task share: the run's voyage, the book of endings, and the rules that hold for every file:
 * ask before the server is asked, write down before something is begun, name what goes to the trash.
 */
import type { Change } from '../ledger/record.js';
import type { Verdict } from '../plan/action.js';
import type { Fingerprint, RelativePath } from '../plan/entry.js';
import { fingerprintOf, leadsToOf } from '../plan/judge.js';
import { temporaryName } from '../plan/temporary.js';
import { inTrash, stampOf } from '../plan/trash.js';
import { settleMsOf, type Voyage } from './context.js';
import type { Result } from './crew.js';
import type { Endings } from './endings.js';
import type { Task, Transfer } from './task.js';
import { Tokens } from './tokens.js';

/** What a carrier offers to those who do its work. */
export interface Hands {
  /** Throws where another worker has ended the run meanwhile. */
  readonly goOn: () => void;
  /** A file has arrived, or a session has worked. */
  readonly fared: () => void;
  /** What becomes of a task after an error. */
  readonly failed: (task: Task, error: unknown, beganMs: number) => Promise<Result<Task>>;
  /** A verdict that was come to while another one was carried out. */
  readonly turnTo: (verdict: Verdict, task: Task) => Result<Task>;
  /** Takes a transfer's temporary name away; the name where it is surely gone. */
  readonly clear: (task: Transfer) => Promise<string | undefined>;
}

export class Desk {
  readonly voyage: Voyage;
  readonly endings: Endings;
  readonly hands: Hands;
  readonly #settleMs: number;
  readonly #tokens = new Tokens();

  constructor(voyage: Voyage, endings: Endings, hands: Hands) {
    this.voyage = voyage;
    this.endings = endings;
    this.hands = hands;
    this.#settleMs = settleMsOf(voyage.job);
  }

  /** A temporary name that no other file and no other run uses. */
  temporaryFor(target: RelativePath, side: 'local' | 'remote'): RelativePath {
    const form = side === 'remote' ? this.voyage.remote.temporaryForm : 'hidden';
    return temporaryName(target, this.#tokens.next(), form);
  }

  /**
   * Where something goes that is deleted or overwritten; undefined where the job keeps no trash.
   *
   * @param attempt counted from 1: each attempt has a place of its own, for the one before may have used its own
   */
  trashOf(path: RelativePath, attempt: number): RelativePath | undefined {
    const { job, startedAtMs } = this.voyage;
    if (job.deletes.policy === 'delete') return undefined;
    return inTrash(path, stampOf(startedAtMs + (attempt - 1) * 1000));
  }

  /** Writes down what is about to happen; durable on return. */
  intend(tasks: readonly Transfer[]): void {
    const { context, binding, run } = this.voyage;
    context.ledger.intend(
      binding,
      run,
      tasks.map((task) => ({
        path: task.path,
        temporary: task.temporary,
        local: task.kind === 'upload' ? task.file : fingerprintOf(task.action.file),
        leadsTo: leadsToOf(task.action.file),
      })),
    );
  }

  /** How long this file has to be left alone yet; never longer than settle, whatever its clock says. */
  settlesInMs(file: Fingerprint): number {
    if (this.#settleMs === 0) return 0;
    return Math.min(this.#settleMs, file.ctimeMs + this.#settleMs - Date.now());
  }

  get settleMs(): number {
    return this.#settleMs;
  }

  /** What the local file looked like when both sides agreed last. */
  before(path: RelativePath): Fingerprint | undefined {
    const { context, binding } = this.voyage;
    return context.ledger.baselineLocal(binding, path);
  }

  record(change: Change): void {
    this.voyage.context.ledger.record(change);
  }
}
