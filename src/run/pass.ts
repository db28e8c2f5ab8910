/*
 * One pass over both sides: the scan's verdicts become tasks for the crew, deletions are collected in the ledger, and
 * after the guard has seen the whole number they are carried out. A second pass is for what had to wait; it counts and
 * tells only what it does.
 */
import type { PlannedDeletion } from '../ledger/deletion.js';
import type { Verdict } from '../plan/action.js';
import type { RelativePath } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import { type Carrier, doomedBy } from './carry.js';
import type { Voyage } from './context.js';
import { Crew } from './crew.js';
import { RunEnded } from './end.js';
import { intentsAtOnce } from './intents.js';
import type { Lister } from './lister.js';
import { lookAround } from './narrow.js';
import { type Scan, scanJob } from './scan.js';
import type { Scope } from './scope.js';
import { type Finding, hidesFiles } from './sights.js';
import { isTransfer, type Task } from './task.js';

/**
 * How many files may be planned ahead of the workers, for each whose intents are written at once: while one lot is
 * collected, the workers have half a lot to do.
 */
const AHEAD = 1.5;

/** How many deletions are written in one transaction at the most. */
const AT_ONCE = 64;

export class Pass {
  readonly #voyage: Voyage;
  readonly #carrier: Carrier;
  readonly #lister: Lister;
  readonly #isFirst: boolean;
  readonly #seen = { local: 0, remote: 0 };
  /** Deletions that are not written yet. */
  #doomed: PlannedDeletion[] = [];
  #forgotten = 0;
  /** What could not come because something has to go first; the first few by name. */
  #waiting: { count: number; first: RelativePath | undefined } = { count: 0, first: undefined };
  /** Deletions that a person has released with the plan that is carried out, and those that are not in it. */
  readonly #released = { total: 0, directories: 0, unplanned: 0 };

  /** @param parts.number counted from 1 */
  constructor(
    voyage: Voyage,
    parts: { readonly carrier: Carrier; readonly lister: Lister; readonly number: number },
  ) {
    this.#voyage = voyage;
    this.#carrier = parts.carrier;
    this.#lister = parts.lister;
    this.#isFirst = parts.number === 1;
  }

  /** How many files each side has shown. */
  get seen(): { readonly local: number; readonly remote: number } {
    return this.#seen;
  }

  /** How much of what is gone is released by the plan that is carried out, and how much is not in it. */
  get released(): { readonly total: number; readonly directories: number; readonly unplanned: number } {
    return this.#released;
  }

  /** How much the ledger knew that is gone on both sides, and is in nobody's way any more. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** How many things wait until something else is deleted. */
  get waiting(): number {
    return this.#waiting.count;
  }

  /** Scans, delivers, and collects what is to be deleted. */
  carry(): Promise<void> {
    return this.#carry(
      this.#scan((finding) => {
        if (hidesFiles(finding)) this.#seen.local += 1;
        if (this.#isFirst) this.#tell(finding);
      }),
    );
  }

  /** Scans a part of the tree, and delivers where that is enough to go by; else it has done nothing. */
  async carryPart(scope: Scope): Promise<'carried' | 'not enough'> {
    const found = await lookAround((onFinding) => this.#scan(onFinding, scope)).catch((error: unknown) => {
      throw asEnd(error);
    });
    if (found === undefined) return 'not enough';
    for (const finding of found.findings) this.#tell(finding);
    await this.#carry([found.verdicts]);
    return 'carried';
  }

  async #carry(verdicts: AsyncIterable<readonly Verdict[]> | Iterable<readonly Verdict[]>): Promise<void> {
    const crew = this.#crew(this.#workers());
    if (crew.ended) return crew.finish();
    try {
      for await (const some of verdicts) {
        for (const verdict of some) {
          if (crew.ended) break;
          const task = this.#taskOf(verdict);
          if (task === undefined) continue;
          if (isTransfer(task)) this.#carrier.intend(task);
          await crew.add([task]);
        }
        if (crew.ended) break;
      }
    } catch (error) {
      await crew.abandon();
      throw asEnd(error);
    }
    await crew.finish();
    this.#write();
    await this.#carrier.settle();
  }

  /** Carries out the deletions that are planned; first files, then the directories that held them. */
  async remove(): Promise<void> {
    const { context, binding, job } = this.#voyage;
    this.#carrier.foresee();
    for (const kind of ['file', 'directory'] as const) {
      // A directory goes after those below it.
      const crew = this.#crew(kind === 'file' ? job.server.connections : 1);
      try {
        for (const deletion of context.ledger.planned(binding)) {
          if (crew.ended) break;
          if (deletion.kind !== kind) continue;
          await crew.add([{ kind: 'remove', path: deletion.path, deletion, attempt: 1 }]);
        }
      } catch (error) {
        await crew.abandon();
        throw asEnd(error);
      }
      await crew.finish();
    }
    await this.#carrier.tidy();
  }

  /** What still waits at the end of the run is told. */
  tellWaiting(): void {
    const { count, first } = this.#waiting;
    if (first === undefined) return;
    const others = count === 1 ? '' : `, and ${count - 1} more,`;
    this.#tell({
      kind: 'unfit',
      path: first,
      code: 'in-the-way',
      message: `${first}${others} cannot come before something in its place is deleted, and that was not.`,
    });
  }

  #crew(workers: number): Crew<Task> {
    const { job, context } = this.#voyage;
    return new Crew<Task>({
      workers,
      capacity: AHEAD * intentsAtOnce(job.server.connections),
      work: (task) => this.#carrier.work(task),
      stop: context.stop,
    });
  }

  /** Several uploads share a connection, one behind the other; a download may have one for itself. */
  #workers(): number {
    const { job, remote } = this.#voyage;
    const uploads = job.direction === 'push' || job.mode === 'two-way';
    return uploads ? remote.appetite : (remote.fetches ?? job.server.connections);
  }

  #scan(onFinding: Scan['onFinding'], scope?: Scope): AsyncGenerator<readonly Verdict[]> {
    const { job, context, binding, policy, memory, placement, root, weigh } = this.#voyage;
    return scanJob({
      job,
      root,
      remote: async () => this.#lister,
      ledger: context.ledger,
      binding,
      policy,
      memory,
      placement,
      weigh,
      scope,
      seen: this.#seen,
      onFinding,
    });
  }

  #taskOf(verdict: Verdict): Task | undefined {
    const { tally, context, binding } = this.#voyage;
    if (context.only?.takes(verdict) === false) {
      if (verdict.kind === 'remove') this.#released.unplanned += 1;
      this.#tellNotPlanned(verdict);
      return undefined;
    }
    switch (verdict.kind) {
      case 'remove':
        if (context.only !== undefined) {
          this.#released.total += 1;
          this.#released.directories += verdict.path.endsWith('/') ? 1 : 0;
        }
        this.#doomed.push(doomedBy(verdict));
        if (this.#doomed.length >= AT_ONCE) this.#write();
        return undefined;
      case 'forget':
        this.#forgotten += 1;
        context.ledger.record({ kind: 'forgotten', bindingId: binding, path: verdict.path });
        return undefined;
      case 'unchanged':
        if (verdict.learnt !== undefined) {
          context.ledger.record({
            kind: 'adopted',
            bindingId: binding,
            baseline: verdict.learnt,
            temporary: undefined,
          });
        }
        if (this.#isFirst && !verdict.path.endsWith('/')) tally.unchanged += 1;
        return undefined;
      case 'remembered':
        if (this.#isFirst) tally.skipped += 1;
        return undefined;
      case 'left-out':
      case 'kept':
      case 'spared':
      case 'blocked':
        return undefined;
      case 'upload':
      case 'download':
      case 'make-directory':
        if (verdict.after === 'deletions') {
          this.#waiting.count += 1;
          this.#waiting.first ??= verdict.path;
          return undefined;
        }
        return this.#carrier.taskOf(verdict);
      default:
        return this.#carrier.taskOf(verdict);
    }
  }

  #tellNotPlanned({ kind, path }: Verdict): void {
    // What is gone on both sides loses nothing by being forgotten later.
    if (kind === 'forget' || !this.#isFirst) return;
    this.#tell({
      kind: 'unfit',
      path,
      code: 'not-planned',
      message: `${path} is not in the plan that is carried out, or has changed since: it is left as it is. Make a new plan, or run the job.`,
    });
  }

  #write(): void {
    const { context, binding } = this.#voyage;
    context.ledger.doom(binding, this.#doomed);
    this.#doomed = [];
  }

  /** What the scan left out is told, and what was meant to go along stands in the history too. */
  #tell(finding: Finding): void {
    const { job, context, run, binding, tally } = this.#voyage;
    const { message } = finding;
    const path = finding.path.replace(/\/$/, '');
    const where = { job: job.name, run, path, message };
    if (finding.kind === 'ignored' || finding.kind === 'waiting') {
      context.listener({ event: finding.kind === 'ignored' ? 'file.ignored' : 'file.waiting', ...where });
      return;
    }
    const { kind, code } = finding;
    tally.skipped += 1;
    if (kind === 'unreadable') context.listener({ event: 'scan.problem', ...where, code });
    else context.listener({ event: 'file.skipped', ...where, code, remembered: false });
    context.ledger.record({
      kind: 'skipped',
      bindingId: binding,
      runId: run,
      path: path === '' ? '.' : path,
      attempt: 1,
      durationMs: 0,
      atMs: Date.now(),
      code,
      text: message,
      remember: undefined,
      temporary: undefined,
    });
  }
}

/** A scan that fails (a listing, the ledger) ends the run with the same judgement as a transfer. */
function asEnd(error: unknown): unknown {
  if (error instanceof RunEnded) return error;
  const { kind, code, message } = judge(error);
  return new RunEnded(kind, code, message);
}
