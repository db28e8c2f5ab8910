/*
 * The ledger's care: old history goes, freed pages are given back to the disk, and the write-ahead log is cut short.
 * All of it in small steps, each a transaction of its own that is over in milliseconds, with room for others between
 * them; only the one VACUUM that a ledger from before incremental vacuum needs takes longer, and waits for a moment
 * without runs. What is forgotten can cost a comparison or a second sending, and never a deletion.
 */
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { BUSY_TIMEOUT_MS } from './database.js';

/** Rows that go in one transaction. */
const ROWS_AT_ONCE = 1_000;

/** Pages that are given back in one transaction, and how many are not worth one. */
const PAGES_AT_ONCE = 512;

/** Free space that is worth giving back, and above which the one VACUUM of an older ledger is worth its writes. */
const FREE_BYTES = 1024 * 1024;
const FREE_BYTES_FOR_VACUUM = 8 * 1024 * 1024;

/** What a VACUUM may copy: it cannot be interrupted, and nothing else goes on meanwhile. */
const VACUUM_LIMIT_BYTES = 512 * 1024 * 1024;

export interface PruneOptions {
  /** Runs that ended before this moment go, in milliseconds since 1970. */
  readonly beforeMs: number;
  /** How long it may take; what is left is for the next time. */
  readonly maxMs: number;
  /** Aborted: no further step is begun. */
  readonly stop?: AbortSignal | undefined;
}

/** What has gone. */
export interface Pruned {
  readonly runs: number;
  readonly transfers: number;
  /** Pairs of places that a job had before, with all that was remembered of them. */
  readonly bindings: number;
  readonly baselines: number;
  /** `late`: there was not time for all of it. */
  readonly end: 'all' | 'late';
}

/** What was given back. */
export interface GivenBack {
  readonly bytes: number;
  /**
   * - `steps`: page by page
   * - `rewritten`: by one VACUUM, after which pages can go one by one
   * - `nothing`: it is not worth it
   * - `no-room`: it would be worth it, and the disk has no room for the copy that it takes
   */
  readonly way: 'steps' | 'rewritten' | 'nothing' | 'no-room';
}

type Work = <Result>(work: () => Result) => Result;

/** What care needs of its ledger. */
export interface CareParts {
  readonly attempt: Work;
  /** Does it as one transaction. */
  readonly write: Work;
  /** Commits what is queued. */
  readonly flush: () => void;
}

const SQL = {
  // The last run of a job, its last one at known places, and its last good one are what people ask for.
  keep: `
    WITH RECURSIVE job (name) AS (
      SELECT min(job) FROM run
      UNION ALL SELECT (SELECT min(run.job) FROM run WHERE run.job > job.name) FROM job WHERE job.name IS NOT NULL)
    SELECT (SELECT max(id) FROM run WHERE run.job = job.name) AS last,
      (SELECT id FROM run WHERE run.job = job.name AND binding_id IS NOT NULL ORDER BY id DESC LIMIT 1) AS placed,
      (SELECT id FROM run WHERE run.job = job.name AND outcome = 'ok' ORDER BY id DESC LIMIT 1) AS good
    FROM job WHERE job.name IS NOT NULL`,
  oldRuns: `
    SELECT id FROM run WHERE ended_at_ms < @beforeMs AND id NOT IN (SELECT value FROM json_each(@keep))
    ORDER BY id LIMIT 100`,
  dropTransfers: `
    DELETE FROM transfer WHERE id IN (SELECT id FROM transfer WHERE run_id = ? ORDER BY id LIMIT ${ROWS_AT_ONCE})`,
  dropRun: 'DELETE FROM run WHERE id = ? AND ended_at_ms IS NOT NULL',
  // Not where the kept runs were, nor the newest two that know any file: by those a source that is suddenly empty is
  // noticed. Open intents name what may still lie on a server, and a hold waits for a person.
  oldBindings: `
    SELECT id FROM binding old
    WHERE coalesce(max(coalesce(made_at_ms, 0), coalesce(settled_at_ms, 0), coalesce(proven_at_ms, 0)), 0) < @beforeMs
      AND NOT EXISTS (SELECT 1 FROM run WHERE run.binding_id = old.id
        AND (ended_at_ms IS NULL OR ended_at_ms >= @beforeMs OR id IN (SELECT value FROM json_each(@keep))))
      AND (proven_at_ms IS NULL OR EXISTS (SELECT 1 FROM binding other
        WHERE other.job = old.job AND other.proven_at_ms > old.proven_at_ms))
      AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.binding_id = old.id)
      AND NOT EXISTS (SELECT 1 FROM hold WHERE hold.binding_id = old.id)
      AND (SELECT count(*) FROM (SELECT 1 FROM binding newer WHERE newer.job = old.job AND newer.id > old.id
        AND EXISTS (SELECT 1 FROM baseline WHERE baseline.binding_id = newer.id) LIMIT 2)) = 2
    ORDER BY id LIMIT 100`,
  // While its baselines go it must not pass for one that is wholly known.
  unsettle: 'UPDATE binding SET settled_at_ms = NULL WHERE id = ? AND settled_at_ms IS NOT NULL',
  dropBaselines: `
    DELETE FROM baseline WHERE binding_id = @id AND path IN (
      SELECT path FROM baseline WHERE binding_id = @id ORDER BY path LIMIT ${ROWS_AT_ONCE})`,
  dropSkips: `
    DELETE FROM skip WHERE binding_id = @id AND path IN (
      SELECT path FROM skip WHERE binding_id = @id ORDER BY path LIMIT ${ROWS_AT_ONCE})`,
  dropBinding: 'DELETE FROM binding WHERE id = ?',
  openRun: 'SELECT 1 FROM run WHERE ended_at_ms IS NULL LIMIT 1',
  doneAt: 'SELECT done_at_ms FROM care WHERE task = ?',
  done: `
    INSERT INTO care (task, done_at_ms) VALUES (?, ?)
    ON CONFLICT (task) DO UPDATE SET done_at_ms = excluded.done_at_ms`,
} as const;

interface KeepRow {
  readonly last: number | null;
  readonly placed: number | null;
  readonly good: number | null;
}

function prepareAll(database: Database.Database) {
  return {
    keep: database.prepare<[], KeepRow>(SQL.keep),
    oldRuns: database.prepare<[{ beforeMs: number; keep: string }], number>(SQL.oldRuns).pluck(),
    dropTransfers: database.prepare<[number]>(SQL.dropTransfers),
    dropRun: database.prepare<[number]>(SQL.dropRun),
    oldBindings: database.prepare<[{ beforeMs: number; keep: string }], number>(SQL.oldBindings).pluck(),
    unsettle: database.prepare<[number]>(SQL.unsettle),
    dropBaselines: database.prepare<[{ id: number }]>(SQL.dropBaselines),
    dropSkips: database.prepare<[{ id: number }]>(SQL.dropSkips),
    dropBinding: database.prepare<[number]>(SQL.dropBinding),
    openRun: database.prepare<[], number>(SQL.openRun).pluck(),
    doneAt: database.prepare<[string], number>(SQL.doneAt).pluck(),
    done: database.prepare<[string, number]>(SQL.done),
  };
}

/** Every method throws LedgerError where the file cannot be read or written. */
export class Care {
  readonly #database: Database.Database;
  readonly #parts: CareParts;
  readonly #statements: ReturnType<typeof prepareAll>;

  /** For the ledger. */
  constructor(database: Database.Database, parts: CareParts) {
    this.#database = database;
    this.#parts = parts;
    this.#statements = prepareAll(database);
  }

  /** When a piece of care was done last, in milliseconds since 1970; undefined where it never was. */
  doneAtMs(task: string): number | undefined {
    return this.#parts.attempt(() => this.#statements.doneAt.get(task));
  }

  /** Remembers that a piece of care is done. */
  done(task: string, atMs: number): void {
    this.#parts.write(() => this.#statements.done.run(task, atMs));
  }

  /**
   * Drops runs that ended before a moment, with their transfers: never the last run of a job, its last good one, nor
   * one that is open. And what was remembered of two places between which a job has not ferried since then, where it
   * has newer ones (a target with a date in it): never the newest two of a job.
   */
  async prune({ beforeMs, maxMs, stop }: PruneOptions): Promise<Pruned> {
    const clock = new Clock(maxMs, stop);
    const gone = { runs: 0, transfers: 0, bindings: 0, baselines: 0 };
    this.#parts.flush();
    const keep = JSON.stringify(this.#kept());
    for (;;) {
      const runs = this.#parts.attempt(() => this.#statements.oldRuns.all({ beforeMs, keep }));
      if (runs.length === 0) break;
      if (!(await this.#dropRuns(runs, clock, gone))) return { ...gone, end: 'late' };
    }
    for (;;) {
      const bindings = this.#parts.attempt(() => this.#statements.oldBindings.all({ beforeMs, keep }));
      if (bindings.length === 0) return { ...gone, end: 'all' };
      for (const id of bindings) {
        if (!(await this.#dropBinding(id, clock, gone))) return { ...gone, end: 'late' };
      }
    }
  }

  /**
   * Gives free pages back to the disk, as far as there is time, where there are enough of them to be worth it.
   *
   * @param options.maxMs as for `prune`; one VACUUM of an older ledger may take longer
   */
  async giveBack(options: Pick<PruneOptions, 'maxMs' | 'stop'>): Promise<GivenBack> {
    const clock = new Clock(options.maxMs, options.stop);
    this.#parts.flush();
    const before = this.#pages();
    const freeBytes = before.free * before.size;
    if (freeBytes < FREE_BYTES || before.free * 4 < before.all) return { bytes: 0, way: 'nothing' };
    if (before.vacuum !== INCREMENTAL) return this.#rewrite(before);
    for (let free = before.free; free > 0 && clock.goesOn(); ) {
      this.#parts.attempt(() => this.#database.pragma(`incremental_vacuum(${PAGES_AT_ONCE})`));
      const now = this.#pages().free;
      if (now >= free) break;
      free = now;
      await turn();
    }
    return { bytes: (before.all - this.#pages().all) * before.size, way: 'steps' };
  }

  /**
   * Brings all that is in the write-ahead log into the ledger and cuts the log to nothing. For a quiet moment.
   *
   * @returns `busy` where somebody else is reading or writing: the log stays as it is, which hurts nobody
   */
  checkpoint(): 'done' | 'busy' {
    this.#parts.flush();
    return this.#parts.attempt(() => {
      // Nobody is kept waiting for this: neither who reads now, nor this process.
      this.#database.pragma('busy_timeout = 0');
      try {
        const [row] = this.#database.pragma('wal_checkpoint(TRUNCATE)') as { readonly busy: number }[];
        return row?.busy === 0 ? 'done' : 'busy';
      } finally {
        this.#database.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
      }
    });
  }

  #kept(): number[] {
    const rows = this.#parts.attempt(() => this.#statements.keep.all());
    return rows.flatMap(({ last, placed, good }) => [last, placed, good].filter((id) => id !== null));
  }

  /** @returns false where there was not time for all of them */
  async #dropRuns(
    runs: readonly number[],
    clock: Clock,
    gone: { runs: number; transfers: number },
  ): Promise<boolean> {
    const { dropTransfers, dropRun } = this.#statements;
    for (let next = 0; next < runs.length; ) {
      if (!clock.goesOn()) return false;
      next = this.#parts.write(() => {
        let rows = 0;
        let at = next;
        // Many runs with few files share a transaction; one with many files has several.
        for (; at < runs.length && rows < ROWS_AT_ONCE; at += 1) {
          const id = runs[at] ?? 0;
          const { changes } = dropTransfers.run(id);
          rows += changes + 1;
          gone.transfers += changes;
          if (changes === ROWS_AT_ONCE) break;
          gone.runs += dropRun.run(id).changes;
        }
        return at;
      });
      await turn();
    }
    return true;
  }

  /** @returns false where there was not time for all of it; the rest of it goes the next time */
  async #dropBinding(
    id: number,
    clock: Clock,
    gone: { bindings: number; baselines: number },
  ): Promise<boolean> {
    const { unsettle, dropBaselines, dropSkips, dropBinding } = this.#statements;
    for (;;) {
      if (!clock.goesOn()) return false;
      const went = this.#parts.write(() => {
        unsettle.run(id);
        const baselines = dropBaselines.run({ id }).changes;
        gone.baselines += baselines;
        const rows = baselines === 0 ? dropSkips.run({ id }).changes : baselines;
        if (rows > 0) return 'some';
        gone.bindings += dropBinding.run(id).changes;
        return 'all';
      });
      await turn();
      if (went === 'all') return true;
    }
  }

  /** A ledger that was made before pages could go one by one is copied once into one where they can. */
  #rewrite(before: Pages): GivenBack {
    const live = (before.all - before.free) * before.size;
    if (before.free * before.size < FREE_BYTES_FOR_VACUUM || live > VACUUM_LIMIT_BYTES) {
      return { bytes: 0, way: 'nothing' };
    }
    if (this.#parts.attempt(() => this.#statements.openRun.get()) !== undefined) {
      return { bytes: 0, way: 'nothing' };
    }
    // A copy in a temporary file, and all of it once more in the write-ahead log.
    if (roomBytes(this.#database.name) < 3 * live + FREE_BYTES) return { bytes: 0, way: 'no-room' };
    this.#parts.attempt(() => {
      this.#database.pragma(`auto_vacuum = ${INCREMENTAL}`);
      this.#database.exec('VACUUM');
    });
    this.checkpoint();
    return { bytes: (before.all - this.#pages().all) * before.size, way: 'rewritten' };
  }

  #pages(): Pages {
    const read = (name: string) => Number(this.#database.pragma(name, { simple: true }));
    return this.#parts.attempt(() => ({
      all: read('page_count'),
      free: read('freelist_count'),
      size: read('page_size'),
      vacuum: read('auto_vacuum'),
    }));
  }
}

/** SQLite's number for a database whose free pages go when they are asked to. */
const INCREMENTAL = 2;

interface Pages {
  readonly all: number;
  readonly free: number;
  readonly size: number;
  readonly vacuum: number;
}

/** Time that runs out. */
class Clock {
  readonly #endMs: number;
  readonly #stop: AbortSignal | undefined;

  constructor(maxMs: number, stop: AbortSignal | undefined) {
    this.#endMs = performance.now() + maxMs;
    this.#stop = stop;
  }

  goesOn(): boolean {
    return this.#stop?.aborted !== true && performance.now() < this.#endMs;
  }
}

/** What is free for this user on the file system of a file. */
function roomBytes(file: string): number {
  try {
    const { bavail, bsize } = statfsSync(dirname(file));
    return bavail * bsize;
  } catch {
    return 0;
  }
}
