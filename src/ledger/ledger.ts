/*
 * The ledger: the one SQLite file in which ferryd remembers baselines, intents, skips, runs, transfers, schedules
 * and servers (protocol.md, "Ledger"). Reading is in reader.ts, opening in database.ts, locks in lock.ts.
 * Intents are durable before `intend` returns; results of transfers are committed in groups, off the transfer's
 * path. It stores what it is told: when something counts as delivered is decided by the run.
 */
import type Database from 'better-sqlite3';
import { emptyTally, type Tally } from '../plan/outcome.js';
import { Care } from './care.js';
import { ChangeWriter, checkChange, checkDeletions, checkIntents, type Queued, queued } from './change.js';
import { GroupCommit } from './commit.js';
import { type CheckAhead, openDatabase, suspect } from './database.js';
import { type Approval, approvedOf, type Hold, type PlannedDeletion, plannedOf } from './deletion.js';
import { judge, LedgerError } from './error.js';
import { Notices } from './notices.js';
import { LedgerReader } from './reader.js';
import {
  type Altered,
  type BindingKey,
  type Change,
  type PlannedIntent,
  type RunEnd,
  type RunRecord,
  type RunRow,
  type RunStart,
  runFrom,
  type TransferRecord,
} from './record.js';
import type { Damage, Salvage } from './salvage.js';

/**
 * Changes that share one commit at most, and how long the first of them waits. What is about to happen commits all that
 * waits with it, so on a slow link the delivery of one file and the intent of the next are one write to the disk; and
 * what a power cut takes is found out again by its intent.
 */
export const COMMIT_LIMIT = 512;
export const COMMIT_DELAY_MS = 1_000;

/** Tries of a transaction that finds another process writing; each waits BUSY_TIMEOUT_MS inside SQLite. */
const BUSY_ATTEMPTS = 3;

export interface LedgerOptions {
  /**
   * Hears, before a ledger that exists is checked for damage, how large it is and about how long that may take. The
   * check blocks: whoever watches this process should be told before.
   */
  readonly onCheck?: ((check: CheckAhead) => void) | undefined;
  /**
   * Hears of a group commit that failed in the background (a LedgerError, unless it is a bug of ours). The same
   * error is thrown by the next call that writes. Must not throw.
   */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

/**
 * Opens the ledger, for writing unless told otherwise. For writing it is made where it does not exist, checked for
 * damage and brought to the newest schema. Opened for reading, it may be in use by another process.
 *
 * @throws LedgerError; its `kind` tells what to do, its message tells a person
 */
export function openLedger(
  file: string,
  options?: LedgerOptions & { readonly access?: 'read-write' },
): Ledger;
export function openLedger(file: string, options: { readonly access: 'read-only' }): LedgerReader;
export function openLedger(
  file: string,
  options: LedgerOptions & {
    readonly access?: 'read-write' | 'read-only';
  } = {},
): LedgerReader {
  const database = openDatabase(file, options.access ?? 'read-write', options.onCheck);
  try {
    return options.access === 'read-only' ? new LedgerReader(database) : new Ledger(database, options);
  } catch (error) {
    database.close();
    throw error;
  }
}

const SQL = {
  findBinding: `
    SELECT id FROM binding WHERE job = @job AND direction = @direction AND server = @server
      AND remote_root = @remoteRoot AND local_root = @localRoot`,
  addBinding: `
    INSERT INTO binding (job, direction, server, remote_root, local_root, made_at_ms)
    VALUES (@job, @direction, @server, @remoteRoot, @localRoot, @madeAtMs)`,
  dropSkips: 'DELETE FROM skip WHERE binding_id = ?',
  startRun: `
    INSERT INTO run (job, binding_id, "trigger", pid, started_at_ms)
    VALUES (@job, @bindingId, @trigger, @pid, @startedAtMs)`,
  endRun: `
    UPDATE run SET ended_at_ms = @endedAtMs, outcome = @outcome, uploaded = @uploaded, downloaded = @downloaded,
      deleted = @deleted, renamed = @renamed, skipped = @skipped, unchanged = @unchanged, bytes = @bytes,
      places = @places,
      failure_kind = @failureKind, failure_message = @failureMessage, failure_code = @failureCode
    WHERE id = @id AND ended_at_ms IS NULL`,
  // A clock that jumps back takes nothing back.
  settle: `
    UPDATE binding SET settled_at_ms = coalesce(settled_at_ms, @atMs),
      proven_at_ms = CASE WHEN @proven THEN max(coalesce(proven_at_ms, @atMs), @atMs) ELSE proven_at_ms END
    WHERE id = (SELECT binding_id FROM run WHERE id = @id)`,
  openRuns: 'SELECT * FROM run WHERE job = ? AND ended_at_ms IS NULL ORDER BY id',
  run: 'SELECT * FROM run WHERE id = ?',
  // What a run did that could not say so itself: files, not attempts.
  recorded: `
    SELECT result, count(DISTINCT path) AS files, sum(bytes) AS bytes
    FROM transfer WHERE run_id = ? AND path NOT GLOB '*/' GROUP BY result`,
  hasPlan: `SELECT EXISTS (SELECT 1 FROM deletion WHERE binding_id = ? AND stage = 'planned')`,
  hasAny: `
    SELECT EXISTS (SELECT 1 FROM deletion WHERE binding_id = @bindingId)
      OR EXISTS (SELECT 1 FROM hold WHERE binding_id = @bindingId)`,
  dropPlanned: `DELETE FROM deletion WHERE binding_id = ? AND stage = 'planned'`,
  dropHeld: `DELETE FROM deletion WHERE binding_id = ? AND stage = 'held'`,
  // What a person released and this run does not plan is no longer what that person saw.
  dropStaleApproved: `
    DELETE FROM deletion AS a WHERE binding_id = ? AND stage = 'approved' AND NOT ${plannedOf('a')}`,
  holdPlanned: `
    UPDATE deletion AS p SET stage = 'held' WHERE binding_id = ? AND stage = 'planned' AND NOT ${approvedOf('p')}`,
  // Where a person released all of it between the guard's look and now, it stays released.
  putHold: `
    INSERT INTO hold (binding_id, run_id, code, message, at_ms)
    VALUES (@bindingId, @runId, @code, @message, @atMs)
    ON CONFLICT (binding_id) DO UPDATE SET run_id = excluded.run_id, code = excluded.code,
      message = excluded.message, at_ms = excluded.at_ms,
      approved_at_ms = CASE WHEN EXISTS (
          SELECT 1 FROM deletion d WHERE d.binding_id = excluded.binding_id AND d.stage = 'approved')
        AND NOT EXISTS (
          SELECT 1 FROM deletion d WHERE d.binding_id = excluded.binding_id AND d.stage = 'held')
        THEN approved_at_ms END`,
  approveHeld: `UPDATE deletion SET stage = 'approved' WHERE binding_id = ? AND stage = 'held'`,
  approveHold: 'UPDATE hold SET approved_at_ms = @atMs WHERE binding_id = @bindingId',
  dropDeletions: 'DELETE FROM deletion WHERE binding_id = ?',
  dropHold: 'DELETE FROM hold WHERE binding_id = ?',
  putCoveredUntil: `
    INSERT INTO schedule (job, key, covered_until_ms) VALUES (?, ?, ?)
    ON CONFLICT (job, key) DO UPDATE SET covered_until_ms = excluded.covered_until_ms`,
  dropSchedule: 'DELETE FROM schedule WHERE job = ? AND key = ?',
  putDamage: 'INSERT INTO damage (at_ms, moved_to, finding) VALUES (@atMs, @movedTo, @finding)',
  putProfile: `
    INSERT INTO server_profile (server, json) VALUES (?, ?)
    ON CONFLICT (server) DO UPDATE SET json = excluded.json`,
} as const;

interface RecordedRow {
  readonly result: TransferRecord['result'];
  readonly files: number;
  readonly bytes: number;
}

type RunEndRow = { id: number; outcome: string; endedAtMs: number; places: number | null } & Tally & {
    failureKind: string | null;
    failureMessage: string | null;
    failureCode: string | null;
  };

function prepareAll(database: Database.Database) {
  return {
    findBinding: database.prepare<[BindingKey], number>(SQL.findBinding).pluck(),
    addBinding: database.prepare<[BindingKey & { madeAtMs: number }]>(SQL.addBinding),
    settle: database.prepare<[{ id: number; atMs: number; proven: 0 | 1 }]>(SQL.settle),
    dropSkips: database.prepare<[number]>(SQL.dropSkips),
    startRun: database.prepare<[Omit<RunStart, 'bindingId'> & { bindingId: number | null }]>(SQL.startRun),
    endRun: database.prepare<[RunEndRow]>(SQL.endRun),
    openRuns: database.prepare<[string], RunRow>(SQL.openRuns),
    run: database.prepare<[number], RunRow>(SQL.run),
    recorded: database.prepare<[number], RecordedRow>(SQL.recorded),
    hasPlan: database.prepare<[number], 0 | 1>(SQL.hasPlan).pluck(),
    hasAny: database.prepare<[{ bindingId: number }], 0 | 1>(SQL.hasAny).pluck(),
    dropPlanned: database.prepare<[number]>(SQL.dropPlanned),
    dropHeld: database.prepare<[number]>(SQL.dropHeld),
    dropStaleApproved: database.prepare<[number]>(SQL.dropStaleApproved),
    holdPlanned: database.prepare<[number]>(SQL.holdPlanned),
    putHold: database.prepare<[Hold & { bindingId: number }]>(SQL.putHold),
    approveHeld: database.prepare<[number]>(SQL.approveHeld),
    approveHold: database.prepare<[{ bindingId: number; atMs: number }]>(SQL.approveHold),
    dropDeletions: database.prepare<[number]>(SQL.dropDeletions),
    dropHold: database.prepare<[number]>(SQL.dropHold),
    putCoveredUntil: database.prepare<[string, string, number]>(SQL.putCoveredUntil),
    dropSchedule: database.prepare<[string, string]>(SQL.dropSchedule),
    putDamage: database.prepare<[Damage]>(SQL.putDamage),
    putProfile: database.prepare<[string, string]>(SQL.putProfile),
  };
}

/**
 * The ledger, open for writing. Every method throws LedgerError where the file cannot be read or written. Writing
 * methods are durable when they return, except `record`, which is durable after the next `flush`.
 */
export class Ledger extends LedgerReader {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #queue: GroupCommit<Queued>;
  /** Retention, free pages, the write-ahead log. */
  readonly care: Care;
  #isDamaged = false;

  /** For `openLedger`, and for tests that prepare the database themselves. */
  constructor(database: Database.Database, options: LedgerOptions = {}) {
    super(database);
    this.#statements = this.attempt(() => prepareAll(database));
    const writer = this.attempt(() => new ChangeWriter(database));
    this.#queue = new GroupCommit<Queued>({
      commit: (changes, besides) =>
        this.#write(() => {
          for (const change of changes) writer.apply(change);
          besides?.();
        }),
      limit: COMMIT_LIMIT,
      delayMs: COMMIT_DELAY_MS,
      onFailure: options.onFailure,
    });
    this.care = this.attempt(
      () =>
        new Care(database, {
          attempt: (work) => this.attempt(work),
          write: (work) => this.#write(work),
          flush: () => this.#queue.flush(),
        }),
    );
  }

  /**
   * True once SQLite has met damage while the ledger was open. It is put aside when it is opened next (damage.ts), so
   * whoever keeps it open should end.
   */
  get isDamaged(): boolean {
    return this.#isDamaged;
  }

  /** The writing half of `notices`. */
  declare readonly notices: Notices;

  protected override openNotices(): Notices {
    return new Notices(this.database, {
      attempt: (work) => this.attempt(work),
      write: (work) => this.#write(work),
    });
  }

  /**
   * The id of the binding with these five parts; made on first use.
   *
   * @param atMs when that is, in milliseconds since 1970
   */
  bind(key: BindingKey, atMs: number = Date.now()): number {
    const found = this.attempt(() => this.#statements.findBinding.get(key));
    if (found !== undefined) return found;
    return this.#write(() => {
      // Another process may have been first.
      const other = this.#statements.findBinding.get(key);
      return other ?? Number(this.#statements.addBinding.run({ ...key, madeAtMs: atMs }).lastInsertRowid);
    });
  }

  /**
   * Writes down what a run is about to do, in one transaction. The same path and temporary name again is the same
   * intent; another temporary name for the path is a further one, because the earlier name may still exist.
   */
  intend(bindingId: number, runId: number, intents: readonly PlannedIntent[]): void {
    if (intents.length === 0) return;
    checkIntents(intents);
    this.#queue.add(queued({ kind: 'intended', bindingId, runId, intents }));
    this.#queue.flush();
  }

  /**
   * Queues a change. It is committed together with others after COMMIT_DELAY_MS, or as soon as there are
   * COMMIT_LIMIT, or by `flush`; answers that it alters count it in at once.
   *
   * @throws LedgerError (kept from an earlier commit) where a group could not be committed: this change is then not
   * queued, those queued before are tried again by the next `flush`
   * @throws RangeError where the change is malformed (a bug of the caller), before it can spoil a group
   */
  record(change: Change): void {
    checkChange(change);
    this.#queue.add(queued(change));
  }

  /** Commits what is queued. @throws LedgerError; the changes stay queued and the next flush tries again */
  flush(): void {
    this.#queue.flush();
  }

  /** Begins the plan of a run: what an earlier run planned and neither held nor carried out is dropped. */
  beginPlan(bindingId: number): void {
    this.#queue.flush();
    if (this.attempt(() => this.#statements.hasPlan.get(bindingId)) !== 1) return;
    this.#write(() => this.#statements.dropPlanned.run(bindingId));
  }

  /**
   * Adds deletions to the plan of a run; the same path and side again replaces the earlier one. Durable after the
   * next `flush`; answers count them in at once.
   *
   * @throws LedgerError, RangeError as `record` does
   */
  doom(bindingId: number, deletions: readonly PlannedDeletion[]): void {
    if (deletions.length === 0) return;
    checkDeletions(deletions);
    this.#queue.add(queued({ kind: 'doomed', bindingId, deletions }));
    if (deletions.length >= COMMIT_LIMIT) this.#queue.flush();
  }

  /**
   * The guard refuses: in one transaction what is planned and was not released by a person becomes the held plan, in
   * place of an earlier one. What was released and is planned still stays released; what was released and is not
   * planned any more is void.
   */
  hold(bindingId: number, hold: Hold): void {
    const { runId, code, message, atMs } = hold;
    this.#queue.flush();
    this.#write(() => {
      const statements = this.#statements;
      statements.dropStaleApproved.run(bindingId);
      statements.dropHeld.run(bindingId);
      statements.holdPlanned.run(bindingId);
      statements.putHold.run({ bindingId, runId, code, message, atMs });
    });
  }

  /**
   * A person releases what is held for the job's present binding: the next run that plans the same may carry it out.
   * A plan that is released already stays as it was.
   */
  approve(job: string, atMs: number): Approval {
    this.#queue.flush();
    return this.#write((): Approval => {
      const plan = this.heldPlan(job);
      if (plan === undefined) return { kind: 'nothing-held' };
      if (plan.approvedAtMs !== undefined) return { kind: 'approved', plan };
      if (plan.files + plan.directories === 0) return { kind: 'nothing-to-approve', plan };
      this.#statements.approveHeld.run(plan.bindingId);
      this.#statements.approveHold.run({ bindingId: plan.bindingId, atMs });
      return { kind: 'approved', plan: { ...plan, approvedAtMs: atMs } };
    });
  }

  /**
   * Ends the plan of a run that was not held: it was carried out, or is void. What is planned, held and released is
   * dropped. A run that broke off before it could carry out what a person released should leave that alone.
   */
  endPlan(bindingId: number): void {
    this.#queue.flush();
    if (this.attempt(() => this.#statements.hasAny.get({ bindingId })) !== 1) return;
    this.#write(() => {
      this.#statements.dropDeletions.run(bindingId);
      this.#statements.dropHold.run(bindingId);
    });
  }

  /**
   * What keeps anybody from writing to the ledger, in a sentence; undefined where a transaction can begin and end now.
   * Nothing is written for that.
   */
  stuck(): string | undefined {
    try {
      this.#write(() => undefined);
      return undefined;
    } catch (error) {
      if (error instanceof LedgerError) return error.message;
      throw error;
    }
  }

  /** Lets the next run ask for all skipped files of a binding again. Returns how many there were. */
  liftSkips(bindingId: number): number {
    this.#queue.flush();
    return this.#write(() => this.#statements.dropSkips.run(bindingId).changes);
  }

  /** Opens a run and returns its id, which is never used again. */
  startRun(run: RunStart): number {
    this.#queue.flush();
    return this.#write(() => {
      const row = { ...run, bindingId: run.bindingId ?? null };
      return Number(this.#statements.startRun.run(row).lastInsertRowid);
    });
  }

  /**
   * Closes a run, in one transaction with what is queued. One that looked at everything and went through to its end
   * (`ok`, `partial`) settles its binding; one that ended `ok` has proven it.
   *
   * @throws Error where the run is not open (a bug of the caller)
   */
  endRun(id: number, end: RunEnd): void {
    this.#queue.flush(() => {
      this.#close(id, end);
      const { outcome, endedAtMs, places } = end;
      if (places !== undefined || (outcome !== 'ok' && outcome !== 'partial')) return;
      this.#statements.settle.run({ id, atMs: endedAtMs, proven: outcome === 'ok' ? 1 : 0 });
    });
  }

  /**
   * Closes as interrupted what killed processes left open; call it while holding the job's lock, when no run of the
   * job can be alive. The tally is what the transfers tell. Returns the runs as they now stand.
   */
  closeAbandonedRuns(job: string, atMs: number): RunRecord[] {
    this.#queue.flush();
    return this.#write(() => {
      const closed: RunRecord[] = [];
      for (const run of this.#statements.openRuns.all(job)) {
        this.#close(run.id, {
          outcome: 'interrupted',
          tally: this.#recordedTally(run.id),
          failure: {
            kind: 'failed',
            message:
              `Process ${run.pid} ended in the middle of run ${run.id} of job ${job}: it was killed or the machine ` +
              'went down. The next run finishes or cleans up what was under way.',
            code: 'process-ended',
          },
          endedAtMs: atMs,
        });
        const row = this.#statements.run.get(run.id);
        if (row !== undefined) closed.push(runFrom(row));
      }
      return closed;
    });
  }

  /** Remembers up to when (milliseconds since 1970) a job's schedule `key` has been dealt with. */
  setCoveredUntil(job: string, key: string, untilMs: number): void {
    this.#write(() => this.#statements.putCoveredUntil.run(job, key, untilMs));
  }

  /** Forgets a schedule that the job does not have any more. */
  dropSchedule(job: string, key: string): void {
    this.#write(() => this.#statements.dropSchedule.run(job, key));
  }

  /**
   * Takes over what could be read of a damaged ledger in whose place this one stands, in one transaction, and remembers
   * that it does.
   */
  takeOver(saved: Salvage, damage: Damage): void {
    this.#write(() => {
      for (const { job, key, coveredUntilMs } of saved.schedules) {
        this.#statements.putCoveredUntil.run(job, key, coveredUntilMs);
      }
      for (const { server, json } of saved.profiles) this.#statements.putProfile.run(server, json);
      this.notices.takeOver(saved);
      this.#statements.putDamage.run(damage);
    });
  }

  /** Remembers what was learned about a server. `json` must be JSON text without secrets. */
  saveProfile(server: string, json: string): void {
    this.#write(() => this.#statements.putProfile.run(server, json));
  }

  /**
   * Commits what is queued and closes the file, also where the commit fails. May be called again.
   *
   * @throws LedgerError where queued results could not be written; the file is closed all the same
   */
  override close(): void {
    if (!this.database.open) return;
    try {
      this.#queue.flush();
    } catch (error) {
      throw this.#lostAtClose(error);
    } finally {
      this.#queue.discard();
      this.#shut();
    }
  }

  protected override attempt<Result>(work: () => Result): Result {
    try {
      return super.attempt(work);
    } catch (error) {
      if (error instanceof LedgerError && error.kind === 'corrupt') {
        suspect(this.file);
        this.#isDamaged = true;
      }
      throw error;
    }
  }

  protected override settle(): void {
    this.#queue.flush();
  }

  protected override settleWhere(bindingId: number, alters: (baseline: Altered) => boolean): void {
    const concerned = this.#queue.some(
      ({ entry, alters: baseline }) =>
        baseline !== undefined && entry.bindingId === bindingId && alters(baseline),
    );
    if (concerned) this.#queue.flush();
  }

  /** Leaves a small WAL behind. Where that fails nothing is lost: the next one to open reads the WAL. */
  #shut(): void {
    try {
      this.database.pragma('wal_checkpoint(PASSIVE)');
    } catch (error) {
      if (!(judge(error, this.file) instanceof LedgerError)) throw error;
    } finally {
      this.database.close();
    }
  }

  #lostAtClose(error: unknown): unknown {
    if (!(error instanceof LedgerError)) return error;
    const lost = `Not recorded: the last ${this.#queue.pending} results; the next run looks again.`;
    return new LedgerError(error.kind, `${error.message} ${lost}`, {
      code: error.code,
      cause: error,
    });
  }

  /** One transaction. Takes the write lock first, so that it cannot fail half way for want of it. */
  #write<Result>(work: () => Result): Result {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return this.attempt(() => this.database.transaction(work).immediate());
      } catch (error) {
        const busy = error instanceof LedgerError && error.kind === 'busy';
        if (!busy || attempt === BUSY_ATTEMPTS) throw error;
      }
    }
  }

  #close(id: number, end: RunEnd): void {
    const { changes } = this.#statements.endRun.run({
      id,
      outcome: end.outcome,
      endedAtMs: end.endedAtMs,
      places: end.places ?? null,
      ...end.tally,
      failureKind: end.failure?.kind ?? null,
      failureMessage: end.failure?.message ?? null,
      failureCode: end.failure?.code ?? null,
    });
    if (changes !== 1)
      throw new Error(`Run ${id} is not open in the ledger ${this.file}, so it cannot be ended.`);
  }

  #recordedTally(runId: number): Tally {
    const tally = emptyTally();
    for (const row of this.#statements.recorded.all(runId)) {
      tally.bytes += row.bytes;
      switch (row.result) {
        case 'uploaded':
          tally.uploaded = row.files;
          break;
        case 'downloaded':
          tally.downloaded = row.files;
          break;
        case 'deleted':
          tally.deleted = row.files;
          break;
        case 'skipped':
          tally.skipped = row.files;
          break;
        case 'set-aside':
        case 'failed':
      }
    }
    return tally;
  }
}
