/*
 * How each change of the ledger becomes rows. One method with one case a kind; transactions and their grouping are
 * the callers' business. Malformed changes are refused before they are queued, because a constraint that is broken
 * later takes the whole group down with it.
 */
import type Database from 'better-sqlite3';
import type { Baseline, Fingerprint, RelativePath } from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import type { PlannedDeletion } from './deletion.js';
import type { Altered, Change, PlannedIntent } from './record.js';

/** What is written in groups: what callers record, and what is written down ahead, so that all keep their order. */
type Entry =
  | Change
  | {
      readonly kind: 'intended';
      readonly bindingId: number;
      readonly runId: number;
      readonly intents: readonly PlannedIntent[];
    }
  | {
      readonly kind: 'doomed';
      readonly bindingId: number;
      readonly deletions: readonly PlannedDeletion[];
    };

/** What waits for the next commit. */
export interface Queued {
  readonly entry: Entry;
  /** Undefined where it touches no baseline that answers about other paths are given by. */
  readonly alters: Altered | undefined;
}

export function queued(entry: Entry): Queued {
  const path = alteredPath(entry);
  return { entry, alters: path === undefined ? undefined : { path, fold: foldOf(path) } };
}

function alteredPath(entry: Entry): RelativePath | undefined {
  switch (entry.kind) {
    case 'delivered':
    case 'adopted':
      return entry.baseline.path;
    case 'deleted':
    case 'forgotten':
      return entry.path;
    default:
      return undefined;
  }
}

const FINGERPRINT_COLUMNS = 'size_bytes, mtime_ms, ctime_ms, inode';
const FINGERPRINT_VALUES = '@sizeBytes, @mtimeMs, @ctimeMs, @inode';
const FINGERPRINT_UPDATE = `size_bytes = excluded.size_bytes, mtime_ms = excluded.mtime_ms,
  ctime_ms = excluded.ctime_ms, inode = excluded.inode`;

const SQL = {
  putIntent: `
    INSERT INTO intent (binding_id, path, temporary, ${FINGERPRINT_COLUMNS}, leads_to, run_id)
    VALUES (@bindingId, @path, @temporary, ${FINGERPRINT_VALUES}, @leadsTo, @runId)
    ON CONFLICT (binding_id, path, temporary) DO UPDATE SET ${FINGERPRINT_UPDATE},
      leads_to = excluded.leads_to, run_id = excluded.run_id`,
  dropIntent: 'DELETE FROM intent WHERE binding_id = ? AND path = ? AND temporary = ?',
  putBaseline: `
    INSERT INTO baseline
      (binding_id, path, ${FINGERPRINT_COLUMNS}, sha256, remote_modified_ms, target, fold, leads_to)
    VALUES (@bindingId, @path, ${FINGERPRINT_VALUES}, @sha256, @remoteModifiedMs, @target, @fold, @leadsTo)
    ON CONFLICT (binding_id, path) DO UPDATE SET ${FINGERPRINT_UPDATE},
      sha256 = excluded.sha256, remote_modified_ms = excluded.remote_modified_ms, target = excluded.target,
      fold = excluded.fold, leads_to = excluded.leads_to`,
  refreshBaseline: `
    UPDATE baseline SET size_bytes = @sizeBytes, mtime_ms = @mtimeMs, ctime_ms = @ctimeMs, inode = @inode
    WHERE binding_id = @bindingId AND path = @path`,
  dropBaseline: 'DELETE FROM baseline WHERE binding_id = ? AND path = ?',
  putSkip: `
    INSERT INTO skip (binding_id, path, ${FINGERPRINT_COLUMNS}, leads_to, code, text, settings, at_ms)
    VALUES (@bindingId, @path, ${FINGERPRINT_VALUES}, @leadsTo, @code, @text, @settings, @atMs)
    ON CONFLICT (binding_id, path) DO UPDATE SET ${FINGERPRINT_UPDATE}, leads_to = excluded.leads_to,
      code = excluded.code, text = excluded.text, settings = excluded.settings, at_ms = excluded.at_ms`,
  dropSkip: 'DELETE FROM skip WHERE binding_id = ? AND path = ?',
  putDeletion: `
    INSERT INTO deletion
      (binding_id, stage, path, side, at, kind, size_bytes, modified_ms, sha256, leads_to, known)
    VALUES (@bindingId, 'planned', @path, @side, @at, @kind, @sizeBytes, @modifiedMs, @sha256, @leadsTo, @known)
    ON CONFLICT (binding_id, stage, path, side) DO UPDATE SET at = excluded.at, kind = excluded.kind,
      size_bytes = excluded.size_bytes, modified_ms = excluded.modified_ms, sha256 = excluded.sha256,
      leads_to = excluded.leads_to, known = excluded.known`,
  dropDeletion: `
    DELETE FROM deletion
    WHERE binding_id = ? AND stage IN ('planned', 'held', 'approved') AND path = ? AND side = ?`,
  dropDeletions: `
    DELETE FROM deletion WHERE binding_id = ? AND stage IN ('planned', 'held', 'approved') AND path = ?`,
  addTransfer: `
    INSERT INTO transfer (run_id, path, result, bytes, duration_ms, attempt, code, text, at_ms)
    VALUES (@runId, @path, @result, @bytes, @durationMs, @attempt, @code, @text, @atMs)`,
} as const;

type Place = { bindingId: number; path: string } & Fingerprint;

interface Link {
  leadsTo: string | null;
}

interface BaselineValues extends Link {
  sha256: Buffer;
  remoteModifiedMs: number | null;
  target: string | null;
  fold: string | null;
}

interface DeletionValues extends Link {
  bindingId: number;
  path: string;
  side: string;
  at: string;
  kind: string;
  sizeBytes: number;
  modifiedMs: number | null;
  sha256: Buffer | null;
  known: string;
}

interface TransferValues {
  runId: number;
  path: string;
  result: string;
  bytes: number;
  durationMs: number;
  attempt: number;
  code: string;
  text: string;
  atMs: number;
}

function prepareAll(database: Database.Database) {
  return {
    putIntent: database.prepare<[Place & Link & { temporary: string; runId: number }]>(SQL.putIntent),
    dropIntent: database.prepare<[number, string, string]>(SQL.dropIntent),
    putBaseline: database.prepare<[Place & BaselineValues]>(SQL.putBaseline),
    refreshBaseline: database.prepare<[Place]>(SQL.refreshBaseline),
    dropBaseline: database.prepare<[number, string]>(SQL.dropBaseline),
    putSkip: database.prepare<
      [Place & Link & { code: string; text: string; settings: string; atMs: number }]
    >(SQL.putSkip),
    dropSkip: database.prepare<[number, string]>(SQL.dropSkip),
    putDeletion: database.prepare<[DeletionValues]>(SQL.putDeletion),
    dropDeletion: database.prepare<[number, string, string]>(SQL.dropDeletion),
    dropDeletions: database.prepare<[number, string]>(SQL.dropDeletions),
    addTransfer: database.prepare<[TransferValues]>(SQL.addTransfer),
  };
}

/** Holds the statements that changes need, prepared once. */
export class ChangeWriter {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(database: Database.Database) {
    this.#statements = prepareAll(database);
  }

  /** Writes one change. Call it within a transaction. */
  apply({ entry: change }: Queued): void {
    const statements = this.#statements;
    const { bindingId } = change;
    switch (change.kind) {
      case 'intended':
        for (const { path, temporary, local, leadsTo = null } of change.intents) {
          statements.putIntent.run({
            ...local,
            bindingId,
            path,
            temporary,
            leadsTo,
            runId: change.runId,
          });
        }
        return;
      case 'doomed':
        for (const { modifiedMs, sha256, leadsTo = null, ...deletion } of change.deletions) {
          statements.putDeletion.run({
            ...deletion,
            bindingId,
            leadsTo,
            modifiedMs: modifiedMs ?? null,
            sha256: sha256 === undefined ? null : Buffer.from(sha256, 'hex'),
          });
        }
        return;
      case 'delivered':
        this.#agree(bindingId, change.baseline, change.temporary);
        statements.addTransfer.run({
          ...attemptOf(change),
          path: change.baseline.path,
          result: change.way === 'up' ? 'uploaded' : 'downloaded',
          bytes: change.bytes,
          code: '',
          text: '',
        });
        return;
      case 'deleted': {
        const { path, side, text, bytes } = change;
        statements.dropBaseline.run(bindingId, path);
        statements.dropSkip.run(bindingId, path);
        statements.dropDeletion.run(bindingId, path, side);
        statements.addTransfer.run({
          ...attemptOf(change),
          path,
          result: 'deleted',
          bytes,
          code: side,
          text,
        });
        return;
      }
      case 'set-aside': {
        const { path, to } = change;
        statements.addTransfer.run({
          ...attemptOf(change),
          path,
          result: 'set-aside',
          bytes: 0,
          code: '',
          text: to,
        });
        return;
      }
      case 'adopted':
        this.#agree(bindingId, change.baseline, change.temporary);
        return;
      case 'skipped':
        this.#refuse(change);
        if (change.remember !== undefined) {
          const { path, code, text, atMs } = change;
          const { local, leadsTo = null, settings } = change.remember;
          statements.putSkip.run({
            ...local,
            bindingId,
            path,
            leadsTo,
            code,
            text,
            settings,
            atMs,
          });
        }
        return;
      case 'failed':
        this.#refuse(change);
        return;
      case 'refreshed':
        statements.refreshBaseline.run({
          ...change.local,
          bindingId,
          path: change.path,
        });
        return;
      case 'forgotten':
        statements.dropBaseline.run(bindingId, change.path);
        statements.dropSkip.run(bindingId, change.path);
        statements.dropDeletions.run(bindingId, change.path);
        return;
      case 'intent-dropped':
        this.#clear(bindingId, change.path, change.temporary);
        return;
    }
  }

  #agree(bindingId: number, baseline: Baseline, temporary: string | undefined): void {
    const fold = foldOf(baseline.path);
    this.#statements.putBaseline.run({
      ...baseline.local,
      bindingId,
      path: baseline.path,
      sha256: Buffer.from(baseline.sha256, 'hex'),
      remoteModifiedMs: baseline.remoteModifiedMs ?? null,
      target: baseline.target ?? null,
      fold: fold === baseline.path ? null : fold,
      leadsTo: baseline.leadsTo ?? null,
    });
    this.#statements.dropSkip.run(bindingId, baseline.path);
    this.#clear(bindingId, baseline.path, temporary);
  }

  #refuse(change: Extract<Change, { kind: 'skipped' | 'failed' }>): void {
    const { path, code, text } = change;
    this.#statements.addTransfer.run({
      ...attemptOf(change),
      path,
      result: change.kind,
      bytes: 0,
      code,
      text,
    });
    this.#clear(change.bindingId, path, change.temporary);
  }

  #clear(bindingId: number, path: RelativePath, temporary: string | undefined): void {
    if (temporary !== undefined) this.#statements.dropIntent.run(bindingId, path, temporary);
  }
}

function attemptOf(change: Extract<Change, { runId: number }>) {
  const { runId, attempt, durationMs, atMs } = change;
  return { runId, attempt, durationMs, atMs };
}

/** @throws RangeError where a constraint would refuse the change later */
export function checkChange(change: Change): void {
  switch (change.kind) {
    case 'delivered':
    case 'adopted':
      checkPath(change.baseline.path);
      checkNumbers(change.baseline.path, change.baseline.local);
      if (change.kind === 'delivered') checkAttempt(change.baseline.path, change, change.bytes);
      if (change.baseline.target !== undefined) checkPath(change.baseline.target);
      checkSha256(change.baseline.path, change.baseline.sha256);
      checkLink(change.baseline.path, change.baseline.leadsTo);
      return;
    case 'deleted':
    case 'set-aside':
      checkPath(change.path);
      checkAttempt(change.path, change, 0);
      return;
    case 'skipped':
      checkPath(change.path);
      checkAttempt(change.path, change, 0);
      if (change.remember !== undefined) {
        checkNumbers(change.path, change.remember.local);
        checkLink(change.path, change.remember.leadsTo);
      }
      return;
    case 'refreshed':
      checkNumbers(change.path, change.local);
      return;
    case 'failed':
      checkAttempt(change.path, change, 0);
      return;
    case 'forgotten':
    case 'intent-dropped':
      return;
  }
}

/** @throws RangeError as `checkChange` does */
export function checkIntents(intents: readonly PlannedIntent[]): void {
  for (const { path, temporary, local, leadsTo } of intents) {
    checkPath(path);
    checkPath(temporary);
    checkLink(path, leadsTo);
    checkNumbers(path, local);
  }
}

/** @throws RangeError as `checkChange` does */
export function checkDeletions(deletions: readonly PlannedDeletion[]): void {
  for (const { path, at, sizeBytes, modifiedMs, sha256, leadsTo } of deletions) {
    checkPath(path);
    checkPath(at);
    checkLink(path, leadsTo);
    const whole = Number.isSafeInteger(sizeBytes) && sizeBytes >= 0;
    if (!whole || (modifiedMs !== undefined && !Number.isFinite(modifiedMs))) {
      throw new RangeError(
        `${path}: size and time of a deletion are not numbers: ${JSON.stringify({ sizeBytes, modifiedMs })}.`,
      );
    }
    if (sha256 !== undefined) checkSha256(path, sha256);
  }
}

function checkLink(path: RelativePath, leadsTo: string | undefined): void {
  if (leadsTo === '') throw new RangeError(`${path}: a link that leads nowhere is none.`);
}

function checkSha256(path: RelativePath, sha256: string): void {
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    throw new RangeError(`${path}: "${sha256}" is not a SHA-256 in hex digits.`);
  }
}

function checkAttempt(path: RelativePath, change: Extract<Change, { runId: number }>, bytes: number): void {
  const { attempt, durationMs, atMs } = change;
  if (![attempt, bytes].every(Number.isSafeInteger) || ![durationMs, atMs].every(Number.isFinite)) {
    throw new RangeError(
      `${path}: the attempt is not made of numbers: ${JSON.stringify({ attempt, bytes, durationMs, atMs })}.`,
    );
  }
}

function checkPath(path: RelativePath): void {
  if (path === '') throw new RangeError('A change, an intent or a deletion names an empty path.');
}

function checkNumbers(path: RelativePath, local: Fingerprint): void {
  const { sizeBytes, mtimeMs, ctimeMs, inode } = local;
  const whole = Number.isSafeInteger(sizeBytes) && sizeBytes >= 0;
  if (!whole || ![mtimeMs, ctimeMs, inode].every(Number.isFinite)) {
    throw new RangeError(
      `${path}: the fingerprint of the local file is not made of numbers: ${JSON.stringify(local)}.`,
    );
  }
}
