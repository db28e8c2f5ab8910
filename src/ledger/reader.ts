/*
 * The reading half of the ledger: what the planner, `status` and `history` ask. It may be open while another process
 * writes. Long answers come in pages that continue behind the last key: between two pages nothing is held, so
 * anybody may write, and memory stays flat however many files there are.
 */
import type Database from 'better-sqlite3';
import {
  type Baseline,
  comparePaths,
  type Fingerprint,
  type Known,
  type RelativePath,
  type RememberedSkip,
} from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import {
  approvedOf,
  type DeletionRow,
  type Doomed,
  deletionFrom,
  type HeldPlan,
  type HeldRow,
  heldFrom,
  type PlannedDeletion,
} from './deletion.js';
import { judge } from './error.js';
import { NoticeReader } from './notices.js';
import {
  type Altered,
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
import type { Damage } from './salvage.js';

/** Rows that one page of a long answer holds. */
export const PAGE_ROWS = 1_000;

/** More pages than any ledger has. */
const ALL_PAGES = 2 ** 31 - 1;

/** Columns of a baseline in the order of its statement: as arrays they cost half of what they cost by name. */
type BaselineRow = readonly [
  path: string,
  sizeBytes: number,
  mtimeMs: number,
  ctimeMs: number,
  inode: number,
  sha256: string,
  remoteModifiedMs: number | null,
  target: string | null,
  leadsTo: string | null,
];

/** A page that goes on behind a path. */
interface Behind {
  readonly bindingId: number;
  readonly after: string;
  readonly limit: number;
}

interface BindingRow {
  readonly id: number;
  readonly job: string;
  readonly direction: 'push' | 'pull';
  readonly server: string;
  readonly remote_root: string;
  readonly local_root: string;
  readonly settled_at_ms: number | null;
}

interface DamageRow {
  readonly at_ms: number;
  readonly moved_to: string;
  readonly finding: string;
}

interface PlannedRow extends DeletionRow {
  readonly approved: 0 | 1;
}

/** Which part of what is known of a binding is asked for. */
interface Stretch {
  readonly bindingId: number;
  readonly from: string;
  readonly to: string;
  readonly limit: number;
}

/** Which part of a binding's deletions is asked for. */
interface DeletionPage {
  readonly bindingId: number;
  readonly path: string;
  readonly side: string;
  readonly limit: number;
}

/** A job that was pointed elsewhere has skips of its old binding too; people ask about the present one. */
const PRESENT_BINDING = `
  (SELECT r.binding_id FROM run r WHERE r.job = ? AND r.binding_id IS NOT NULL ORDER BY r.id DESC LIMIT 1)`;

const IS_APPROVED = approvedOf('p');

/** The stage in which the deletions of a hold `h` are. */
const STAGE_OF_HOLD = `CASE WHEN h.approved_at_ms IS NULL THEN 'held' ELSE 'approved' END`;

const countHeld = (kind: PlannedDeletion['kind']) => `
  (SELECT count(*) FROM deletion d
    WHERE d.binding_id = h.binding_id AND d.stage = ${STAGE_OF_HOLD} AND d.kind = '${kind}')`;

const BASELINE =
  'path, size_bytes, mtime_ms, ctime_ms, inode, lower(hex(sha256)), remote_modified_ms, target, leads_to';

/** Statements that are prepared once; a test holds that none of them sorts or walks a whole table. */
export const READING = {
  baselines: `
    SELECT ${BASELINE} FROM baseline WHERE binding_id = @bindingId AND path > @after ORDER BY path LIMIT @limit`,
  skipsBehind: `
    SELECT * FROM skip WHERE binding_id = @bindingId AND path > @after ORDER BY path LIMIT @limit`,
  baselinesBetween: `
    SELECT ${BASELINE} FROM baseline WHERE binding_id = @bindingId AND path >= @from AND path < @to
    ORDER BY path LIMIT @limit`,
  skipsBetween: `
    SELECT * FROM skip WHERE binding_id = @bindingId AND path >= @from AND path < @to
    ORDER BY path LIMIT @limit`,
  baselineLocal: `
    SELECT size_bytes, mtime_ms, ctime_ms, inode FROM baseline WHERE binding_id = ? AND path = ?`,
  countKnown: 'SELECT count(*) FROM baseline WHERE binding_id = ?',
  // A path that equals its own fold has none stored: it is the first half that finds it.
  twin: `
    SELECT path FROM baseline WHERE binding_id = @bindingId AND path = @fold AND path <> @path
    UNION ALL
    SELECT path FROM baseline WHERE binding_id = @bindingId AND fold = @fold AND path <> @path
    LIMIT 1`,
  leadsTo: 'SELECT leads_to FROM baseline WHERE binding_id = ? AND path = ?',
  isKnown: 'SELECT 1 FROM baseline WHERE binding_id = ? AND path = ?',
  isKnownBelow: 'SELECT 1 FROM baseline WHERE binding_id = ? AND path >= ? AND path < ? LIMIT 1',
  newestElsewhere: `
    SELECT max(b.id) FROM binding here JOIN binding b
      ON b.job = here.job AND b.direction = here.direction AND b.server = here.server
    WHERE here.id = ? AND b.id <> here.id
      AND CASE here.direction WHEN 'pull' THEN b.remote_root = here.remote_root
        ELSE b.local_root = here.local_root END
      AND EXISTS (SELECT 1 FROM baseline WHERE baseline.binding_id = b.id)`,
  doomed: `
    SELECT count(*) AS total, total(kind = 'directory') AS directories, total(approved) AS approved,
      total(approved AND kind = 'directory') AS approvedDirectories,
      total(known = 'extraneous' AND NOT approved) AS "foreign"
    FROM (SELECT p.kind AS kind, p.known AS known, ${IS_APPROVED} AS approved FROM deletion p
      WHERE p.binding_id = ? AND p.stage = 'planned')`,
  planned: `
    SELECT path, side, at, kind, size_bytes, modified_ms, sha256, leads_to, known, ${IS_APPROVED} AS approved
    FROM deletion p
    WHERE binding_id = @bindingId AND stage = 'planned' AND (path, side) < (@path, @side)
    ORDER BY path DESC, side DESC LIMIT @limit`,
  lastPlanned: `
    SELECT path, side, at, kind, size_bytes, modified_ms, sha256, leads_to, known, ${IS_APPROVED} AS approved
    FROM deletion p
    WHERE binding_id = @bindingId AND stage = 'planned'
    ORDER BY path DESC, side DESC LIMIT @limit`,
  held: `
    SELECT h.*, ${countHeld('file')} AS files, ${countHeld('directory')} AS directories
    FROM hold h WHERE h.binding_id = ${PRESENT_BINDING}`,
  heldDeletions: `
    SELECT d.path, d.side, d.at, d.kind, d.size_bytes, d.modified_ms, d.sha256, d.leads_to, d.known
    FROM hold h JOIN deletion d ON d.binding_id = h.binding_id AND d.stage = ${STAGE_OF_HOLD}
    WHERE h.binding_id = @bindingId AND (d.path, d.side) > (@path, @side)
    ORDER BY d.path, d.side LIMIT @limit`,
  bindings: 'SELECT * FROM binding WHERE job = ? ORDER BY id',
  binding: 'SELECT * FROM binding WHERE id = ?',
  proven: 'SELECT max(proven_at_ms) FROM binding WHERE job = ?',
  knownSince: `
    SELECT min(at) FROM (SELECT min(made_at_ms) AS at FROM binding WHERE job = @job
      UNION ALL SELECT * FROM (SELECT started_at_ms FROM run WHERE job = @job ORDER BY id LIMIT 1))`,
  intents: `
    SELECT path, temporary, size_bytes, mtime_ms, ctime_ms, inode, leads_to, run_id FROM intent
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
  scheduleKeys: 'SELECT key FROM schedule WHERE job = ? ORDER BY key',
  damage: 'SELECT at_ms, moved_to, finding FROM damage ORDER BY id DESC LIMIT 1',
  profile: 'SELECT json FROM server_profile WHERE server = ?',
} as const;

function prepareAll(database: Database.Database) {
  return {
    baselines: database.prepare<[Behind], BaselineRow>(READING.baselines).raw(),
    skipsBehind: database.prepare<[Behind], SkipRow>(READING.skipsBehind),
    baselinesBetween: database.prepare<[Stretch], BaselineRow>(READING.baselinesBetween).raw(),
    skipsBetween: database.prepare<[Stretch], SkipRow>(READING.skipsBetween),
    baselineLocal: database.prepare<[number, string], FingerprintRow>(READING.baselineLocal),
    countKnown: database.prepare<[number], number>(READING.countKnown).pluck(),
    twin: database.prepare<[{ bindingId: number; path: string; fold: string }], string>(READING.twin).pluck(),
    leadsTo: database.prepare<[number, string], string | null>(READING.leadsTo).pluck(),
    isKnown: database.prepare<[number, string], number>(READING.isKnown).pluck(),
    isKnownBelow: database.prepare<[number, string, string], number>(READING.isKnownBelow).pluck(),
    newestElsewhere: database.prepare<[number], number | null>(READING.newestElsewhere).pluck(),
    doomed: database.prepare<[number], Doomed>(READING.doomed),
    planned: database.prepare<[DeletionPage], PlannedRow>(READING.planned),
    lastPlanned: database.prepare<[Omit<DeletionPage, 'path' | 'side'>], PlannedRow>(READING.lastPlanned),
    held: database.prepare<[string], HeldRow>(READING.held),
    heldDeletions: database.prepare<[DeletionPage], DeletionRow>(READING.heldDeletions),
    bindings: database.prepare<[string], BindingRow>(READING.bindings),
    binding: database.prepare<[number], BindingRow>(READING.binding),
    proven: database.prepare<[string], number | null>(READING.proven).pluck(),
    knownSince: database.prepare<[{ job: string }], number | null>(READING.knownSince).pluck(),
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
    scheduleKeys: database.prepare<[string], string>(READING.scheduleKeys).pluck(),
    damage: database.prepare<[], DamageRow>(READING.damage),
    profile: database.prepare<[string], string>(READING.profile).pluck(),
  };
}

/** Every method throws LedgerError where the ledger cannot be read. */
export class LedgerReader {
  /** Absolute path of the ledger. */
  readonly file: string;
  /** What is to be told, and was told. */
  readonly notices: NoticeReader;
  protected readonly database: Database.Database;
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(database: Database.Database) {
    this.database = database;
    this.file = database.name;
    this.#statements = this.attempt(() => prepareAll(database));
    this.notices = this.attempt(() => this.openNotices());
  }

  protected openNotices(): NoticeReader {
    return new NoticeReader(this.database, (work) => this.attempt(work));
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
   * When a run first went through to its end at these two places, in milliseconds since 1970. Undefined: none did as
   * far as the ledger knows, so that what it does not remember may be there all the same.
   */
  settledAtMs(bindingId: number): number | undefined {
    return this.attempt(() => this.#statements.binding.get(bindingId))?.settled_at_ms ?? undefined;
  }

  /** When a run of the job last ended ok, in milliseconds since 1970; undefined where none ever did. */
  provenAtMs(job: string): number | undefined {
    return this.attempt(() => this.#statements.proven.get(job)) ?? undefined;
  }

  /** When the ledger first heard of the job, in milliseconds since 1970; undefined where it never ran. */
  knownSinceMs(job: string): number | undefined {
    return this.attempt(() => this.#statements.knownSince.get({ job })) ?? undefined;
  }

  /**
   * Everything the ledger knows of a binding's paths, in the order of `comparePaths`. Writes may happen while it is
   * iterated: those ahead of it are seen, those behind it are not.
   */
  *known(bindingId: number): Generator<Known, void, undefined> {
    const { baselines, skipsBehind } = this.#statements;
    yield* this.#known((after) => {
      const page: Behind = { bindingId, after: after ?? '', limit: PAGE_ROWS };
      return [baselines.all(page), skipsBehind.all(page)];
    });
  }

  /** As `known`, for the paths from `from` on that stand before `to`. */
  *knownBetween(
    bindingId: number,
    { from, to }: { readonly from: string; readonly to: string },
  ): Generator<Known, void, undefined> {
    const { baselinesBetween, skipsBetween } = this.#statements;
    yield* this.#known((after) => {
      // Behind a path stands the next string that there can be.
      const first = after === undefined ? from : `${after}\0`;
      const page: Stretch = { bindingId, from: first, to, limit: PAGE_ROWS };
      return [baselinesBetween.all(page), skipsBetween.all(page)];
    });
  }

  /** @param pageBehind reads a page of both behind a path; undefined: the first */
  *#known(
    pageBehind: (after: string | undefined) => readonly [readonly BaselineRow[], readonly SkipRow[]],
  ): Generator<Known, void, undefined> {
    let after: string | undefined;
    do {
      this.settle();
      // In one transaction: what another process moves from one to the other must not be missing in both.
      const read = this.database.transaction(pageBehind);
      const [agreed, skipped] = this.attempt(() => read.deferred(after));
      // Behind the end of a full page there may be more, and its neighbour's rows have to wait for them.
      const ends = [lastOf(agreed, ([path]) => path), lastOf(skipped, ({ path }) => path)];
      after = ends.filter((path) => path !== undefined).sort(comparePaths)[0];
      yield* sideBySide(agreed, skipped, after);
    } while (after !== undefined);
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

  /**
   * Another path with a baseline whose name differs in case or Unicode form only, so that some servers and disks
   * take the two for one file.
   */
  twinOf(bindingId: number, path: RelativePath): RelativePath | undefined {
    const fold = foldOf(path);
    this.settleWhere(bindingId, (queued) => queued.fold === fold);
    return this.attempt(() => this.#statements.twin.get({ bindingId, path, fold }));
  }

  /**
   * True where the ledger knows a file in the place of a directory above `path`, or something below `path` as if it
   * were a directory: one of the two has to go before the other can come.
   */
  standsInTheWay(bindingId: number, path: RelativePath): boolean {
    const { isKnown, isKnownBelow } = this.#statements;
    this.settleWhere(bindingId, (queued) => liesBelow(path, queued.path) || liesBelow(queued.path, path));
    return this.attempt(() => {
      for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
        if (isKnown.get(bindingId, path.slice(0, end)) !== undefined) return true;
      }
      // `0` is the character behind `/`.
      return isKnownBelow.get(bindingId, `${path}/`, `${path}0`) !== undefined;
    });
  }

  /** The link above `path` that both sides have, as far as the ledger knows: what lies at `path` lies where it leads. */
  linkAbove(bindingId: number, path: RelativePath): RelativePath | undefined {
    const { leadsTo } = this.#statements;
    this.settleWhere(bindingId, (queued) => liesBelow(path, queued.path));
    return this.attempt(() => {
      for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
        const above = path.slice(0, end);
        if (typeof leadsTo.get(bindingId, above) === 'string') return above;
      }
      return undefined;
    });
  }

  /**
   * How many baselines the newest other binding has that has any and shares this one's job, direction, server and
   * source: what the job remembered before its target was called otherwise (a target with a date in it).
   */
  rememberedElsewhere(bindingId: number): number {
    this.settle();
    const other = this.attempt(() => this.#statements.newestElsewhere.get(bindingId));
    return typeof other === 'number' ? this.countKnown(other) : 0;
  }

  /** How much the present plan of a binding would take away. */
  doomed(bindingId: number): Doomed {
    this.settle();
    const none = { total: 0, approved: 0, directories: 0, approvedDirectories: 0, foreign: 0 };
    return this.attempt(() => this.#statements.doomed.get(bindingId)) ?? none;
  }

  /**
   * The deletions of the present plan, in the REVERSE order of `comparePaths`: what lies in a directory before the
   * directory. Rows may be dropped while it is iterated.
   */
  *planned(bindingId: number): Generator<PlannedDeletion & { readonly approved: boolean }, void, undefined> {
    const page = (last: PlannedRow | undefined) => {
      this.settle();
      const { planned, lastPlanned } = this.#statements;
      return this.attempt(() =>
        last === undefined
          ? lastPlanned.all({ bindingId, limit: PAGE_ROWS })
          : planned.all({ bindingId, path: last.path, side: last.side, limit: PAGE_ROWS }),
      );
    };
    for (let rows = page(undefined); ; ) {
      for (const row of rows) yield { ...deletionFrom(row), approved: row.approved === 1 };
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      rows = page(last);
    }
  }

  /** What the guard refused at the last run of the job's present binding, released meanwhile or not. */
  heldPlan(job: string): HeldPlan | undefined {
    this.settle();
    const row = this.attempt(() => this.#statements.held.get(job));
    return row === undefined ? undefined : heldFrom(row);
  }

  /** The deletions of a binding's held plan, in the order of `comparePaths`. Writes may happen in between. */
  *heldDeletions(bindingId: number): Generator<PlannedDeletion, void, undefined> {
    const page = (path: string, side: string) => {
      this.settle();
      return this.attempt(() =>
        this.#statements.heldDeletions.all({ bindingId, path, side, limit: PAGE_ROWS }),
      );
    };
    for (let rows = page('', ''); ; ) {
      for (const row of rows) yield deletionFrom(row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      rows = page(last.path, last.side);
    }
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

  /** The keys that `coveredUntil` knows of a job. */
  scheduleKeys(job: string): string[] {
    return this.attempt(() => this.#statements.scheduleKeys.all(job));
  }

  /** The damaged ledger in whose place this one stands, the last one where there were several. */
  lastDamage(): Damage | undefined {
    const row = this.attempt(() => this.#statements.damage.get());
    return row === undefined ? undefined : { atMs: row.at_ms, movedTo: row.moved_to, finding: row.finding };
  }

  /** What was learned about a server, as the JSON text that was saved. */
  profile(server: string): string | undefined {
    return this.attempt(() => this.#statements.profile.get(server));
  }

  /**
   * Writes all that is committed into another file, which is replaced. Others may write meanwhile.
   *
   * @throws SqliteError where that file cannot be written: it is not the ledger's
   */
  async copyTo(file: string): Promise<void> {
    this.settle();
    // In one step: between two, whoever writes would make it begin anew.
    await this.database.backup(file, { progress: () => ALL_PAGES });
  }

  /** Closes the file. May be called again. */
  close(): void {
    this.database.close();
  }

  /** Called before an answer that queued changes would alter; a mere reader has none. */
  protected settle(): void {}

  /** As `settle`, where only queued changes of the baselines of certain paths would alter the answer. */
  protected settleWhere(_bindingId: number, _alters: (baseline: Altered) => boolean): void {}

  /** Runs one piece of database work and gives its errors the ledger's words. */
  protected attempt<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw judge(error, this.file);
    }
  }
}

/** True where `path` would have to lie in a directory called `file`. */
function liesBelow(path: RelativePath, file: RelativePath): boolean {
  return path.length > file.length && path[file.length] === '/' && path.startsWith(file);
}

/** The path at which a full page ends; undefined where nothing can lie behind it. */
function lastOf<Row>(page: readonly Row[], pathOf: (row: Row) => string): string | undefined {
  const last = page.length < PAGE_ROWS ? undefined : page.at(-1);
  return last === undefined ? undefined : pathOf(last);
}

/** Brings two pages together, in order, up to a path; undefined: all of them. */
function* sideBySide(
  agreed: readonly BaselineRow[],
  skipped: readonly SkipRow[],
  upTo: string | undefined,
): Generator<Known, void, undefined> {
  let next = 0;
  for (const row of agreed) {
    const [path] = row;
    if (upTo !== undefined && comparePaths(path, upTo) > 0) break;
    let skip = skipped[next];
    for (; skip !== undefined && comparePaths(skip.path, path) < 0; skip = skipped[next]) {
      yield { path: skip.path, baseline: undefined, skip: skipFrom(skip) };
      next += 1;
    }
    if (skip?.path === path) next += 1;
    yield { path, baseline: baselineFrom(row), skip: skip?.path === path ? skipFrom(skip) : undefined };
  }
  for (let skip = skipped[next]; skip !== undefined; skip = skipped[next]) {
    if (upTo !== undefined && comparePaths(skip.path, upTo) > 0) return;
    yield { path: skip.path, baseline: undefined, skip: skipFrom(skip) };
    next += 1;
  }
}

function baselineFrom(row: BaselineRow): Baseline {
  const [path, sizeBytes, mtimeMs, ctimeMs, inode, sha256, remoteModifiedMs, target, leadsTo] = row;
  return {
    path,
    local: { sizeBytes, mtimeMs, ctimeMs, inode },
    sha256,
    remoteModifiedMs: remoteModifiedMs ?? undefined,
    target: target ?? undefined,
    leadsTo: leadsTo ?? undefined,
  };
}
