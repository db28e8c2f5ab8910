/*
 * How each change of the ledger becomes rows. One method with one case a kind; transactions and their grouping are
 * the callers' business. Malformed changes are refused before they are queued, because a constraint that is broken
 * later takes the whole group down with it.
 */
import type Database from 'better-sqlite3';
import type { Baseline, Fingerprint, RelativePath } from '../plan/entry.js';
import { foldOf } from '../plan/names.js';
import type { PlannedDeletion } from './deletion.js';
import type { Altered, Change, PlannedIntent, Remembered, TransferRecord } from './record.js';

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
const FINGERPRINT_UPDATE = `size_bytes = excluded.size_bytes, mtime_ms = excluded.mtime_ms,
  ctime_ms = excluded.ctime_ms, inode = excluded.inode`;

/** Values are bound by their place: by name each row costs three times as much. */
const SQL = {
  putIntent: `
    INSERT INTO intent (binding_id, path, temporary, ${FINGERPRINT_COLUMNS}, leads_to, run_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (binding_id, path, temporary) DO UPDATE SET ${FINGERPRINT_UPDATE},
      leads_to = excluded.leads_to, run_id = excluded.run_id`,
  dropIntent: 'DELETE FROM intent WHERE binding_id = ? AND path = ? AND temporary = ?',
  putBaseline: `
    INSERT INTO baseline
      (binding_id, path, ${FINGERPRINT_COLUMNS}, sha256, remote_modified_ms, target, fold, leads_to)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (binding_id, path) DO UPDATE SET ${FINGERPRINT_UPDATE},
      sha256 = excluded.sha256, remote_modified_ms = excluded.remote_modified_ms, target = excluded.target,
      fold = excluded.fold, leads_to = excluded.leads_to`,
  refreshBaseline: `
    UPDATE baseline SET size_bytes = ?, mtime_ms = ?, ctime_ms = ?, inode = ? WHERE binding_id = ? AND path = ?`,
  dropBaseline: 'DELETE FROM baseline WHERE binding_id = ? AND path = ?',
  putSkip: `
    INSERT INTO skip (binding_id, path, ${FINGERPRINT_COLUMNS}, leads_to, code, text, settings, at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (binding_id, path) DO UPDATE SET ${FINGERPRINT_UPDATE}, leads_to = excluded.leads_to,
      code = excluded.code, text = excluded.text, settings = excluded.settings, at_ms = excluded.at_ms`,
  dropSkip: 'DELETE FROM skip WHERE binding_id = ? AND path = ?',
  putDeletion: `
    INSERT INTO deletion
      (binding_id, stage, path, side, at, kind, size_bytes, modified_ms, sha256, leads_to, known)
    VALUES (?, 'planned', ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (binding_id, stage, path, side) DO UPDATE SET at = excluded.at, kind = excluded.kind,
      size_bytes = excluded.size_bytes, modified_ms = excluded.modified_ms, sha256 = excluded.sha256,
      leads_to = excluded.leads_to, known = excluded.known`,
  dropDeletion: `
    DELETE FROM deletion
    WHERE binding_id = ? AND stage IN ('planned', 'held', 'approved') AND path = ? AND side = ?`,
  dropDeletions: `
    DELETE FROM deletion WHERE binding_id = ? AND stage IN ('planned', 'held', 'approved') AND path = ?`,
  addTransfer: `
    INSERT INTO transfer (run_id, attempt, duration_ms, at_ms, path, result, bytes, code, text)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
} as const;

type Place = [bindingId: number, path: string];
type Measures = [sizeBytes: number, mtimeMs: number, ctimeMs: number, inode: number];
type Attempted = [runId: number, attempt: number, durationMs: number, atMs: number];

function prepareAll(database: Database.Database) {
  return {
    putIntent: database.prepare<
      [...Place, temporary: string, ...Measures, leadsTo: string | null, runId: number]
    >(SQL.putIntent),
    dropIntent: database.prepare<[...Place, temporary: string]>(SQL.dropIntent),
    putBaseline: database.prepare<
      [
        ...Place,
        ...Measures,
        sha256: Buffer,
        remoteModifiedMs: number | null,
        target: string | null,
        fold: string | null,
        leadsTo: string | null,
      ]
    >(SQL.putBaseline),
    refreshBaseline: database.prepare<[...Measures, ...Place]>(SQL.refreshBaseline),
    dropBaseline: database.prepare<Place>(SQL.dropBaseline),
    putSkip: database.prepare<
      [
        ...Place,
        ...Measures,
        leadsTo: string | null,
        code: string,
        text: string,
        settings: string,
        atMs: number,
      ]
    >(SQL.putSkip),
    dropSkip: database.prepare<Place>(SQL.dropSkip),
    putDeletion: database.prepare<
      [
        ...Place,
        side: string,
        at: string,
        kind: string,
        sizeBytes: number,
        modifiedMs: number | null,
        sha256: Buffer | null,
        leadsTo: string | null,
        known: string,
      ]
    >(SQL.putDeletion),
    dropDeletion: database.prepare<[...Place, side: string]>(SQL.dropDeletion),
    dropDeletions: database.prepare<Place>(SQL.dropDeletions),
    addTransfer: database.prepare<
      [...Attempted, path: string, result: string, bytes: number, code: string, text: string]
    >(SQL.addTransfer),
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
        for (const intent of change.intents) this.#intend(bindingId, change.runId, intent);
        return;
      case 'doomed':
        for (const deletion of change.deletions) this.#doom(bindingId, deletion);
        return;
      case 'delivered': {
        const { baseline, bytes } = change;
        this.#agree(bindingId, baseline, change.temporary);
        this.#tell(change, baseline.path, {
          result: change.way === 'up' ? 'uploaded' : 'downloaded',
          bytes,
        });
        return;
      }
      case 'deleted': {
        const { path, side, text, bytes } = change;
        statements.dropBaseline.run(bindingId, path);
        statements.dropSkip.run(bindingId, path);
        statements.dropDeletion.run(bindingId, path, side);
        this.#tell(change, path, { result: 'deleted', bytes, code: side, text });
        return;
      }
      case 'set-aside':
        this.#tell(change, change.path, { result: 'set-aside', bytes: 0, text: change.to });
        return;
      case 'adopted':
        this.#agree(bindingId, change.baseline, change.temporary);
        return;
      case 'skipped':
        this.#refuse(change);
        if (change.remember !== undefined) this.#remember(change, change.remember);
        return;
      case 'failed':
        this.#refuse(change);
        return;
      case 'refreshed': {
        const { sizeBytes, mtimeMs, ctimeMs, inode } = change.local;
        statements.refreshBaseline.run(sizeBytes, mtimeMs, ctimeMs, inode, bindingId, change.path);
        return;
      }
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

  #intend(bindingId: number, runId: number, intent: PlannedIntent): void {
    const { path, temporary, local, leadsTo = null } = intent;
    const { sizeBytes, mtimeMs, ctimeMs, inode } = local;
    this.#statements.putIntent.run(
      bindingId,
      path,
      temporary,
      sizeBytes,
      mtimeMs,
      ctimeMs,
      inode,
      leadsTo,
      runId,
    );
  }

  #doom(bindingId: number, deletion: PlannedDeletion): void {
    const { path, side, at, kind, sizeBytes, modifiedMs = null, sha256, leadsTo = null, known } = deletion;
    this.#statements.putDeletion.run(
      bindingId,
      path,
      side,
      at,
      kind,
      sizeBytes,
      modifiedMs,
      sha256 === undefined ? null : Buffer.from(sha256, 'hex'),
      leadsTo,
      known,
    );
  }

  #agree(bindingId: number, baseline: Baseline, temporary: string | undefined): void {
    const { path, local, sha256, remoteModifiedMs = null, target = null, leadsTo = null } = baseline;
    const { sizeBytes, mtimeMs, ctimeMs, inode } = local;
    const fold = foldOf(path);
    this.#statements.putBaseline.run(
      bindingId,
      path,
      sizeBytes,
      mtimeMs,
      ctimeMs,
      inode,
      Buffer.from(sha256, 'hex'),
      remoteModifiedMs,
      target,
      fold === path ? null : fold,
      leadsTo,
    );
    this.#statements.dropSkip.run(bindingId, path);
    this.#clear(bindingId, path, temporary);
  }

  #refuse(change: Extract<Change, { kind: 'skipped' | 'failed' }>): void {
    const { kind, path, code, text } = change;
    this.#tell(change, path, { result: kind, bytes: 0, code, text });
    this.#clear(change.bindingId, path, change.temporary);
  }

  #remember({ bindingId, path, code, text, atMs }: Skipped, remembered: Remembered): void {
    const { local, leadsTo = null, settings } = remembered;
    const { sizeBytes, mtimeMs, ctimeMs, inode } = local;
    this.#statements.putSkip.run(
      bindingId,
      path,
      sizeBytes,
      mtimeMs,
      ctimeMs,
      inode,
      leadsTo,
      code,
      text,
      settings,
      atMs,
    );
  }

  /** The history has a row for each attempt. */
  #tell({ runId, attempt, durationMs, atMs }: Tried, path: RelativePath, end: End): void {
    const { result, bytes, code = '', text = '' } = end;
    this.#statements.addTransfer.run(runId, attempt, durationMs, atMs, path, result, bytes, code, text);
  }

  #clear(bindingId: number, path: RelativePath, temporary: string | undefined): void {
    if (temporary !== undefined) this.#statements.dropIntent.run(bindingId, path, temporary);
  }
}

type Tried = Extract<Change, { runId: number }>;
type Skipped = Extract<Change, { kind: 'skipped' }>;

/** How an attempt ended, as the history has it. */
interface End {
  readonly result: TransferRecord['result'];
  readonly bytes: number;
  readonly code?: string;
  readonly text?: string;
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

function checkAttempt(path: RelativePath, change: Tried, bytes: number): void {
  const { attempt, durationMs, atMs } = change;
  const whole = Number.isSafeInteger(attempt) && Number.isSafeInteger(bytes);
  if (!whole || !Number.isFinite(durationMs) || !Number.isFinite(atMs)) {
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
  if (!whole || !Number.isFinite(mtimeMs) || !Number.isFinite(ctimeMs) || !Number.isFinite(inode)) {
    throw new RangeError(
      `${path}: the fingerprint of the local file is not made of numbers: ${JSON.stringify(local)}.`,
    );
  }
}
