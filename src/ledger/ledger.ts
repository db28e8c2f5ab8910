/*
 * The ledger: the one SQLite file in which ferryd remembers baselines, intents, skips, runs, transfers, schedules
 * and servers (protocol.md, "Ledger"). Reading is in reader.ts, opening in database.ts, locks in lock.ts.
 * Intents are durable before `intend` returns; results of transfers are committed in groups, off the transfer's
 * path. It stores what it is told: when something counts as delivered is decided by the run.
 */
import type Database from 'better-sqlite3';
import { emptyTally, type Tally } from '../plan/outcome.js';
import { ChangeWriter, checkChange, checkIntents, type Queued } from './change.js';
import { GroupCommit } from './commit.js';
import { openDatabase } from './database.js';
import { judge, LedgerError } from './error.js';
import { LedgerReader } from './reader.js';
import {
  type BindingKey,
  type Change,
  type PlannedIntent,
  type RunEnd,
  type RunRecord,
  type RunRow,
  type RunStart,
  runFrom,
} from './record.js';

/** Changes that share one commit at most, and how long the first of them waits. */
export const COMMIT_LIMIT = 256;
export const COMMIT_DELAY_MS = 50;

/** Tries of a transaction that finds another process writing; each waits BUSY_TIMEOUT_MS inside SQLite. */
const BUSY_ATTEMPTS = 3;

export interface LedgerOptions {
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
  const database = openDatabase(file, options.access ?? 'read-write');
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
    INSERT INTO binding (job, direction, server, remote_root, local_root)
    VALUES (@job, @direction, @server, @remoteRoot, @localRoot)`,
  dropSkips: 'DELETE FROM skip WHERE binding_id = ?',
  startRun: `
    INSERT INTO run (job, binding_id, "trigger", pid, started_at_ms)
    VALUES (@job, @bindingId, @trigger, @pid, @startedAtMs)`,
  endRun: `
    UPDATE run SET ended_at_ms = @endedAtMs, outcome = @outcome, uploaded = @uploaded, downloaded = @downloaded,
      deleted = @deleted, renamed = @renamed, skipped = @skipped, unchanged = @unchanged, bytes = @bytes,
      failure_kind = @failureKind, failure_message = @failureMessage, failure_code = @failureCode
    WHERE id = @id AND ended_at_ms IS NULL`,
  openRuns: 'SELECT * FROM run WHERE job = ? AND ended_at_ms IS NULL ORDER BY id',
  run: 'SELECT * FROM run WHERE id = ?',
  // What a run did that could not say so itself: files, not attempts.
  recorded: `
    SELECT t.result AS result, b.direction AS direction, count(DISTINCT t.path) AS files, sum(t.bytes) AS bytes
    FROM transfer t JOIN run r ON r.id = t.run_id LEFT JOIN binding b ON b.id = r.binding_id
    WHERE t.run_id = ? GROUP BY t.result, b.direction`,
  putCoveredUntil: `
    INSERT INTO schedule (job, key, covered_until_ms) VALUES (?, ?, ?)
    ON CONFLICT (job, key) DO UPDATE SET covered_until_ms = excluded.covered_until_ms`,
  putProfile: `
    INSERT INTO server_profile (server, json) VALUES (?, ?)
    ON CONFLICT (server) DO UPDATE SET json = excluded.json`,
} as const;

interface RecordedRow {
  readonly result: 'delivered' | 'skipped' | 'failed';
  readonly direction: 'push' | 'pull' | null;
  readonly files: number;
  readonly bytes: number;
}

type RunEndRow = { id: number; outcome: string; endedAtMs: number } & Tally & {
    failureKind: string | null;
    failureMessage: string | null;
    failureCode: string | null;
  };

function prepareAll(database: Database.Database) {
  return {
    findBinding: database.prepare<[BindingKey], number>(SQL.findBinding).pluck(),
    addBinding: database.prepare<[BindingKey]>(SQL.addBinding),
    dropSkips: database.prepare<[number]>(SQL.dropSkips),
    startRun: database.prepare<[Omit<RunStart, 'bindingId'> & { bindingId: number | null }]>(SQL.startRun),
    endRun: database.prepare<[RunEndRow]>(SQL.endRun),
    openRuns: database.prepare<[string], RunRow>(SQL.openRuns),
    run: database.prepare<[number], RunRow>(SQL.run),
    recorded: database.prepare<[number], RecordedRow>(SQL.recorded),
    putCoveredUntil: database.prepare<[string, string, number]>(SQL.putCoveredUntil),
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

  /** For `openLedger`, and for tests that prepare the database themselves. */
  constructor(database: Database.Database, options: LedgerOptions = {}) {
    super(database);
    this.#statements = this.attempt(() => prepareAll(database));
    const writer = this.attempt(() => new ChangeWriter(database));
    this.#queue = new GroupCommit<Queued>({
      commit: (changes) =>
        this.#write(() => {
          for (const change of changes) writer.apply(change);
        }),
      limit: COMMIT_LIMIT,
      delayMs: COMMIT_DELAY_MS,
      onFailure: options.onFailure,
    });
  }

  /** The id of the binding with these five parts; made on first use. */
  bind(key: BindingKey): number {
    const found = this.attempt(() => this.#statements.findBinding.get(key));
    if (found !== undefined) return found;
    return this.#write(() => {
      // Another process may have been first.
      const other = this.#statements.findBinding.get(key);
      return other ?? Number(this.#statements.addBinding.run(key).lastInsertRowid);
    });
  }

  /**
   * Writes down what a run is about to do, in one transaction. The same path and temporary name again is the same
   * intent; another temporary name for the path is a further one, because the earlier name may still exist.
   */
  intend(bindingId: number, runId: number, intents: readonly PlannedIntent[]): void {
    if (intents.length === 0) return;
    checkIntents(intents);
    this.#queue.add({ kind: 'intended', bindingId, runId, intents });
    this.#queue.flush();
  }

  /** Deletes one intent, whose temporary name is surely gone. */
  dropIntent(bindingId: number, intent: Pick<PlannedIntent, 'path' | 'temporary'>): void {
    const { path, temporary } = intent;
    this.#queue.add({ kind: 'intent-dropped', bindingId, path, temporary });
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
    this.#queue.add(change);
  }

  /** Commits what is queued. @throws LedgerError; the changes stay queued and the next flush tries again */
  flush(): void {
    this.#queue.flush();
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
   * Closes a run after committing what is queued.
   *
   * @throws Error where the run is not open (a bug of the caller)
   */
  endRun(id: number, end: RunEnd): void {
    this.#queue.flush();
    this.#write(() => this.#close(id, end));
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

  protected override settle(): void {
    this.#queue.flush();
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
      if (row.result === 'skipped') tally.skipped += row.files;
      if (row.result !== 'delivered') continue;
      if (row.direction === 'pull') tally.downloaded += row.files;
      else tally.uploaded += row.files;
      tally.bytes += row.bytes;
    }
    return tally;
  }
}
