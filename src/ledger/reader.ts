/*
 * The reading half of the ledger: what the planner, `status` and `history` ask. It may be open while another process
 * writes. Long answers come in pages that continue behind the last key: between two pages nothing is held, so
 * anybody may write, and memory stays flat however many files there are.
 */
import type Database from 'better-sqlite3';
import type { Baseline, Fingerprint, Known, RelativePath, RememberedSkip } from '../plan/entry.js';
import { judge } from './error.js';
import {
  type Binding,
  type FingerprintRow,
  fingerprintFrom,
  type Intent,
  type IntentRow,
  intentFrom,
  type RunRecord,
  type RunRow,
  runFrom,
  type SkipRow,
  skipFrom,
  type TransferRecord,
  type TransferRow,
  transferFrom,
} from './record.js';

/** Rows that one page of a long answer holds. */
export const PAGE_ROWS = 1_000;

/** A baseline and a skip side by side; either half is all null where there is none. */
type KnownRow = { readonly path: string } & (
  | ({
      readonly sha256: Buffer;
      readonly remote_modified_ms: number | null;
    } & FingerprintRow)
  | { readonly sha256: null }
) &
  SkipHalf;

interface SkipHalf {
  readonly skip_code: string | null;
  readonly skip_text: string;
  readonly skip_settings: string;
  readonly skip_at_ms: number;
  readonly skip_size_bytes: number;
  readonly skip_mtime_ms: number;
  readonly skip_ctime_ms: number;
  readonly skip_inode: number;
}

interface BindingRow {
  readonly id: number;
  readonly job: string;
  readonly direction: 'push' | 'pull';
  readonly server: string;
  readonly remote_root: string;
  readonly local_root: string;
}

const SKIP_HALF = `
  s.code AS skip_code, s.text AS skip_text, s.settings AS skip_settings, s.at_ms AS skip_at_ms,
  s.size_bytes AS skip_size_bytes, s.mtime_ms AS skip_mtime_ms, s.ctime_ms AS skip_ctime_ms,
  s.inode AS skip_inode`;

/** A job that was pointed elsewhere has skips of its old binding too; people ask about the present one. */
const PRESENT_BINDING = `
  (SELECT r.binding_id FROM run r WHERE r.job = ? AND r.binding_id IS NOT NULL ORDER BY r.id DESC LIMIT 1)`;

/** Statements that are prepared once; a test holds that none of them sorts or walks a whole table. Both halves of `known` walk their primary key and are merged. */
export const READING = {
  known: `
    SELECT b.path AS path, b.size_bytes, b.mtime_ms, b.ctime_ms, b.inode, b.sha256, b.remote_modified_ms,
      ${SKIP_HALF}
    FROM baseline b LEFT JOIN skip s ON s.binding_id = b.binding_id AND s.path = b.path
    WHERE b.binding_id = @bindingId AND b.path > @after
    UNION ALL
    SELECT s.path, NULL, NULL, NULL, NULL, NULL, NULL, ${SKIP_HALF}
    FROM skip s
    WHERE s.binding_id = @bindingId AND s.path > @after
      AND NOT EXISTS (SELECT 1 FROM baseline b WHERE b.binding_id = s.binding_id AND b.path = s.path)
    ORDER BY path LIMIT @limit`,
  baselineLocal: `
    SELECT size_bytes, mtime_ms, ctime_ms, inode FROM baseline WHERE binding_id = ? AND path = ?`,
  countKnown: 'SELECT count(*) FROM baseline WHERE binding_id = ?',
  bindings: 'SELECT * FROM binding WHERE job = ? ORDER BY id',
  intents: `
    SELECT path, temporary, size_bytes, mtime_ms, ctime_ms, inode, run_id FROM intent
    WHERE binding_id = @bindingId AND (path, temporary) > (@path, @temporary)
    ORDER BY path, temporary LIMIT @limit`,
  skips: `SELECT * FROM skip WHERE binding_id = ${PRESENT_BINDING} ORDER BY path LIMIT ?`,
  countSkips: `SELECT count(*) FROM skip WHERE binding_id = ${PRESENT_BINDING}`,
  runs: 'SELECT * FROM run ORDER BY id DESC LIMIT ?',
  runsOfJob: 'SELECT * FROM run WHERE job = ? ORDER BY id DESC LIMIT ?',
  lastRunPerJob: 'SELECT * FROM run WHERE id IN (SELECT max(id) FROM run GROUP BY job) ORDER BY job',
  transfersOfRun: 'SELECT * FROM transfer WHERE run_id = ? ORDER BY id DESC LIMIT ?',
  transfersOfJob: `
    SELECT t.* FROM run r JOIN transfer t ON t.run_id = r.id
    WHERE r.job = ? ORDER BY r.id DESC, t.id DESC LIMIT ?`,
  coveredUntil: 'SELECT covered_until_ms FROM schedule WHERE job = ? AND key = ?',
  profile: 'SELECT json FROM server_profile WHERE server = ?',
} as const;

function prepareAll(database: Database.Database) {
  return {
    known: database.prepare<[{ bindingId: number; after: string; limit: number }], KnownRow>(READING.known),
    baselineLocal: database.prepare<[number, string], FingerprintRow>(READING.baselineLocal),
    countKnown: database.prepare<[number], number>(READING.countKnown).pluck(),
    bindings: database.prepare<[string], BindingRow>(READING.bindings),
    intents: database.prepare<
      [{ bindingId: number; path: string; temporary: string; limit: number }],
      IntentRow
    >(READING.intents),
    skips: database.prepare<[string, number], SkipRow>(READING.skips),
    countSkips: database.prepare<[string], number>(READING.countSkips).pluck(),
    runs: database.prepare<[number], RunRow>(READING.runs),
    runsOfJob: database.prepare<[string, number], RunRow>(READING.runsOfJob),
    lastRunPerJob: database.prepare<[], RunRow>(READING.lastRunPerJob),
    transfersOfRun: database.prepare<[number, number], TransferRow>(READING.transfersOfRun),
    transfersOfJob: database.prepare<[string, number], TransferRow>(READING.transfersOfJob),
    coveredUntil: database.prepare<[string, string], number>(READING.coveredUntil).pluck(),
    profile: database.prepare<[string], string>(READING.profile).pluck(),
  };
}

/** Every method throws LedgerError where the ledger cannot be read. */
export class LedgerReader {
  /** Absolute path of the ledger. */
  readonly file: string;
  protected readonly database: Database.Database;
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(database: Database.Database) {
    this.database = database;
    this.file = database.name;
    this.#statements = this.attempt(() => prepareAll(database));
  }

  /** All bindings a job ever had, oldest first. */
  bindingsOf(job: string): Binding[] {
    const rows = this.attempt(() => this.#statements.bindings.all(job));
    return rows.map((row) => ({
      id: row.id,
      job: row.job,
      direction: row.direction,
      server: row.server,
      remoteRoot: row.remote_root,
      localRoot: row.local_root,
    }));
  }

  /**
   * Everything the ledger knows of a binding's paths, in the order of `comparePaths`. Writes may happen while it is
   * iterated: those ahead of it are seen, those behind it are not.
   */
  *known(bindingId: number): Generator<Known, void, undefined> {
    const page = (after: string) => {
      this.settle();
      return this.attempt(() => this.#statements.known.all({ bindingId, after, limit: PAGE_ROWS }));
    };
    for (let rows = page(''); ; ) {
      for (const row of rows) yield knownFrom(row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      rows = page(last.path);
    }
  }

  /** What the local file of one path looked like when both sides agreed last; undefined where they never did. */
  baselineLocal(bindingId: number, path: RelativePath): Fingerprint | undefined {
    this.settle();
    const row = this.attempt(() => this.#statements.baselineLocal.get(bindingId, path));
    return row === undefined ? undefined : fingerprintFrom(row);
  }

  /** Number of baselines of a binding. */
  countKnown(bindingId: number): number {
    this.settle();
    return this.attempt(() => this.#statements.countKnown.get(bindingId)) ?? 0;
  }

  /** Intents that were neither delivered nor dropped, by path, then temporary name. Writes may happen in between. */
  *openIntents(bindingId: number): Generator<Intent, void, undefined> {
    const page = (path: string, temporary: string) => {
      this.settle();
      return this.attempt(() =>
        this.#statements.intents.all({ bindingId, path, temporary, limit: PAGE_ROWS }),
      );
    };
    for (let rows = page('', ''); ; ) {
      for (const row of rows) yield intentFrom(row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      rows = page(last.path, last.temporary);
    }
  }

  /** Remembered skips of the job's present binding (that of its last run), by path, at most `limit`. */
  skips(job: string, limit: number): RememberedSkip[] {
    this.settle();
    return this.attempt(() => this.#statements.skips.all(job, limit)).map(skipFrom);
  }

  /** How many skips the job's present binding has in all. */
  countSkips(job: string): number {
    this.settle();
    return this.attempt(() => this.#statements.countSkips.get(job)) ?? 0;
  }

  /** The newest runs, of one job or of all, newest first, running ones included. */
  lastRuns(job: string | undefined, limit: number): RunRecord[] {
    const { runs, runsOfJob } = this.#statements;
    return this.attempt(() => (job === undefined ? runs.all(limit) : runsOfJob.all(job, limit))).map(runFrom);
  }

  /** The newest run of each job that ever ran, by job. */
  lastRunPerJob(): RunRecord[] {
    return this.attempt(() => this.#statements.lastRunPerJob.all()).map(runFrom);
  }

  /** The newest transfers of a run or of all runs of a job, newest first. */
  transfers(of: { readonly runId: number } | { readonly job: string }, limit: number): TransferRecord[] {
    this.settle();
    const { transfersOfRun, transfersOfJob } = this.#statements;
    const rows = this.attempt(() =>
      'runId' in of ? transfersOfRun.all(of.runId, limit) : transfersOfJob.all(of.job, limit),
    );
    return rows.map(transferFrom);
  }

  /** Up to when (milliseconds since 1970) a job's schedule `key` has been dealt with; undefined if never. */
  coveredUntil(job: string, key: string): number | undefined {
    return this.attempt(() => this.#statements.coveredUntil.get(job, key));
  }

  /** What was learned about a server, as the JSON text that was saved. */
  profile(server: string): string | undefined {
    return this.attempt(() => this.#statements.profile.get(server));
  }

  /** Closes the file. May be called again. */
  close(): void {
    this.database.close();
  }

  /** Called before an answer that queued changes would alter; a mere reader has none. */
  protected settle(): void {}

  /** Runs one piece of database work and gives its errors the ledger's words. */
  protected attempt<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw judge(error, this.file);
    }
  }
}

function knownFrom(row: KnownRow): Known {
  return {
    path: row.path,
    baseline: baselineFrom(row),
    skip: skipHalfFrom(row),
  };
}

function baselineFrom(row: KnownRow): Baseline | undefined {
  if (row.sha256 === null) return undefined;
  return {
    path: row.path,
    local: fingerprintFrom(row),
    sha256: row.sha256.toString('hex'),
    remoteModifiedMs: row.remote_modified_ms ?? undefined,
  };
}

function skipHalfFrom(row: KnownRow): RememberedSkip | undefined {
  if (row.skip_code === null) return undefined;
  return {
    path: row.path,
    local: {
      sizeBytes: row.skip_size_bytes,
      mtimeMs: row.skip_mtime_ms,
      ctimeMs: row.skip_ctime_ms,
      inode: row.skip_inode,
    },
    code: row.skip_code,
    text: row.skip_text,
    settings: row.skip_settings,
    atMs: row.skip_at_ms,
  };
}
