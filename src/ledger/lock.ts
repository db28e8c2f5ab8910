/*
 * One run of a job at a time, and one daemon for a ledger, also across processes. A lock is an empty SQLite file
 * held with BEGIN EXCLUSIVE: the operating system lets go of it when the process ends, however it ends, so there is
 * no stale lock and no process number to guess at. Lock files stay where they are: deleting one that somebody is
 * about to take would give it two holders. They are never opened with `fs`, as closing a descriptor would drop the
 * lock. Who holds one stands in a file beside it, which serves messages only.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { judge, LedgerError } from './error.js';

/** Two that come in the same instant would both back off; this is how long SQLite lets one of them try again. */
const CONTEST_MS = 100;

export interface Holder {
  readonly pid: number;
  readonly sinceMs: number;
  /** What it holds the lock for: `run of job nightly`, `daemon`. */
  readonly purpose: string;
}

/** A lock that this process holds until it releases it or ends. */
export interface Lock {
  readonly kind: 'lock';
  /** May be called again. */
  release(): void;
}

/** The lock is somebody else's. */
export interface Held {
  readonly kind: 'held';
  /** Undefined where the holder has not said yet who it is. */
  readonly holder: Holder | undefined;
  /** Who holds it, as a sentence. */
  readonly message: string;
}

/** A lock lives as long as its connection, so the connection must outlive a caller that forgets the Lock. */
const connections = new Set<Database.Database>();

/** The directory for the locks of a ledger; the same one by whatever link the ledger was named. */
export function lockDirectory(ledgerFile: string): string {
  const path = resolve(ledgerFile);
  return `${real(path) ?? join(real(dirname(path)) ?? dirname(path), basename(path))}.locks`;
}

/**
 * Takes the lock `name` below `directory` (made where it does not exist, 0700), or tells who has it. Two
 * acquisitions within one process exclude each other like those of two processes.
 *
 * @param purpose what it is taken for; others are told. No secrets
 * @throws LedgerError where the lock's file cannot be made or opened
 * @throws RangeError where the name is not made of letters, digits, `.`, `_` and `-`
 */
export function acquireLock(directory: string, name: string, purpose: string): Lock | Held {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(name)) {
    throw new RangeError(
      `"${name}" cannot name a lock: letters, digits, ".", "_" and "-" only, 200 at most.`,
    );
  }
  const file = join(directory, `${name}.lock`);
  const note = join(directory, `${name}.holder`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    createEmpty(file);
    const database = take(file);
    if (database === undefined) return heldBy(readNote(note));
    connections.add(database);
    writeNote(note, { pid: process.pid, sinceMs: Date.now(), purpose });
    return {
      kind: 'lock',
      release: () => {
        if (!connections.delete(database)) return;
        // Before the lock goes, or it could be the next holder's note.
        rmSync(note, { force: true });
        database.close();
      },
    };
  } catch (error) {
    throw lockError(error, file);
  }
}

/**
 * Who holds a lock now, without taking it; undefined where it is free. Only a moment's truth.
 *
 * @throws LedgerError where the lock's file cannot be read
 */
export function whoHolds(directory: string, name: string): Holder | undefined {
  const file = join(directory, `${name}.lock`);
  if (!existsSync(file)) return undefined;
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { fileMustExist: true, readonly: true, timeout: 0 });
    // Any read needs the lock that an exclusive holder denies.
    database.prepare('SELECT count(*) FROM sqlite_master').get();
    return undefined;
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      return readNote(join(directory, `${name}.holder`));
    }
    throw lockError(error, file);
  } finally {
    database?.close();
  }
}

/** SQLite would make the file 0644. */
function createEmpty(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

function take(file: string): Database.Database | undefined {
  const database = new Database(file, {
    fileMustExist: true,
    timeout: CONTEST_MS,
  });
  try {
    // Nothing is ever written, so there is nothing to roll back and no journal to leave behind.
    database.pragma('journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return undefined;
    throw error;
  }
}

function heldBy(holder: Holder | undefined): Held {
  if (holder === undefined) return { kind: 'held', holder, message: 'Another process holds it.' };
  const since = new Date(holder.sinceMs).toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    kind: 'held',
    holder,
    message: `Process ${holder.pid} holds it since ${since} (${holder.purpose}).`,
  };
}

/** Whole or not at all, and never a reason to give up a lock: it serves messages only. */
function writeNote(note: string, holder: Holder): void {
  const draft = `${note}.new`;
  try {
    rmSync(note, { force: true });
    rmSync(draft, { force: true });
    writeFileSync(draft, JSON.stringify(holder), { mode: 0o600, flag: 'wx' });
    renameSync(draft, note);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}

function readNote(note: string): Holder | undefined {
  try {
    const read: unknown = JSON.parse(readFileSync(note, 'utf8'));
    return isHolder(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

function isHolder(value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value && 'sinceMs' in value && 'purpose' in value)) return false;
  const { pid, sinceMs, purpose } = value;
  // The largest time that a Date can show, in milliseconds.
  const shown = typeof sinceMs === 'number' && Math.abs(sinceMs) <= 8.64e15;
  return Number.isSafeInteger(pid) && shown && typeof purpose === 'string';
}

function lockError(error: unknown, file: string): unknown {
  const judged = judge(error, file);
  if (!(judged instanceof LedgerError)) return judged;
  const next =
    judged.kind === 'not-a-ledger' || judged.kind === 'corrupt'
      ? 'The file is not one of ours. Move it aside and run again.'
      : 'Check the disk and the permissions of the directory, and run ferryd as the user who owns the ledger.';
  return new LedgerError(judged.kind, `The lock ${file} cannot be taken (${judged.code}). ${next}`, {
    code: judged.code,
    cause: error,
  });
}

function real(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
