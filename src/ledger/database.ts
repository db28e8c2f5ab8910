/*
 * Opens the ledger's SQLite file: whose file it is, whether it is whole, its modes, its pragmas, its schema
 * (protocol.md, "Ledger"). A file that is not ours, is damaged or comes from a newer ferryd is looked at through a
 * read-only connection and never opened for writing.
 * The file is never opened with `fs` once it exists: closing any descriptor of it would drop the POSIX locks that
 * SQLite holds on it elsewhere in this process.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { damaged, judge, LedgerError } from './error.js';
import { lockDirectory } from './lock.js';
import { APPLICATION_ID, migrate, SCHEMA_VERSION } from './migrations.js';

export type Access = 'read-write' | 'read-only';

/** What the check for damage is about to read. */
export interface CheckAhead {
  readonly file: string;
  readonly sizeBytes: number;
  /** How long that takes on a slow disk, in milliseconds; mostly it is a hundredth of that. */
  readonly withinMs: number;
}

/** What a worn SD card reads in a second. */
const SLOW_BYTES_PER_SECOND = 5_000_000;

/** How long one SQLite call waits for another process's lock. */
export const BUSY_TIMEOUT_MS = 5_000;

/** How many pages are kept in memory: better-sqlite3 would fill 16 MiB with what is read once from end to end. */
const CACHE_KIB = 2_048;

/** What a WAL that grew in a large run is cut back to. */
const WAL_LIMIT_BYTES = 64 * 1024 * 1024;

/**
 * Opens the ledger's database. For writing it is made where it does not exist (directory 0700, file 0600), checked
 * and brought to the newest schema; for reading nothing is made and nothing is migrated.
 *
 * @throws LedgerError
 */
export function openDatabase(
  file: string,
  access: Access,
  onCheck?: (check: CheckAhead) => void,
): Database.Database {
  const path = databasePath(file);
  try {
    return access === 'read-only' ? openForReading(path) : openForWriting(path, onCheck);
  } catch (error) {
    throw judge(error, path);
  }
}

/**
 * True where there is a file that could be the ledger; it may still be refused when it is opened.
 *
 * @throws LedgerError where the path cannot be looked at, or is a directory, a FIFO or another special file
 */
export function ledgerExists(file: string): boolean {
  const path = databasePath(file);
  try {
    return sizeOf(path) !== undefined;
  } catch (error) {
    throw judge(error, path);
  }
}

function databasePath(file: string): string {
  const path = resolve(file);
  // better-sqlite3 trims its argument: it would open the neighbour without the space.
  if (path !== path.trim()) {
    throw new LedgerError(
      'unreadable',
      `The ledger's path ${JSON.stringify(path)} ends in white space. Name another file with --ledger.`,
    );
  }
  return path;
}

function openForReading(path: string): Database.Database {
  const size = sizeOf(path);
  if (size === undefined || size === 0) throw missing(path);
  const database = connect(path, 'read-only');
  try {
    const identity = identify(database, path);
    if (identity.kind === 'empty') throw missing(path);
    boundCache(database);
    if (identity.version < SCHEMA_VERSION) {
      throw new LedgerError(
        'older-schema',
        `The ledger ${path} was written by an earlier ferryd (schema ${identity.version}, this one reads ` +
          `${SCHEMA_VERSION}). The next run or the daemon brings it up to date; start one, then ask again.`,
      );
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function openForWriting(path: string, onCheck?: (check: CheckAhead) => void): Database.Database {
  const size = sizeOf(path);
  if (size === undefined) create(path);
  const fresh = size === undefined || size === 0;
  if (!fresh) {
    const withinMs = Math.ceil((size / SLOW_BYTES_PER_SECOND) * 1_000);
    onCheck?.({ file: path, sizeBytes: size, withinMs });
  }
  const checked = fresh || inspect(path) === 'whole';
  const database = connect(path, 'read-write');
  try {
    if (checked) identify(database, path);
    else examine(database, path);
    prepare(database, path);
    migrate(database);
    // Another process, perhaps a newer ferryd, may have come in between.
    identify(database, path);
    rmSync(suspicionOf(path), { force: true });
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Size in bytes, or undefined where nothing is there. Looks, but does not open. */
function sizeOf(path: string): number | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) {
    const what = stats.isDirectory() ? 'a directory' : 'a special file';
    throw new LedgerError(
      'not-a-ledger',
      `The path ${path} is ${what}, not a ferryd ledger. Name another file with --ledger.`,
    );
  }
  return stats.size;
}

/**
 * Remembers, beside the ledger, that SQLite has met damage in it while it was in use: the quick check does not look at
 * everything, so the next opening looks at all of it.
 */
export function suspect(file: string): void {
  try {
    writeFileSync(suspicionOf(file), '', { mode: 0o600 });
  } catch (error) {
    // Nothing is lost by it: who met the damage is told of that anyway.
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

function suspicionOf(path: string): string {
  return join(lockDirectory(path), 'suspect');
}

/** Makes an empty file before SQLite does, because SQLite would make it 0644; -wal and -shm inherit its mode. */
function create(path: string): void {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
  const descriptor = openSync(directory, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function connect(path: string, access: Access): Database.Database {
  return new Database(path, {
    readonly: access === 'read-only',
    fileMustExist: true,
    timeout: BUSY_TIMEOUT_MS,
  });
}

/**
 * Judges an existing file without being able to write to it. Where a process was killed while it made the file, a
 * rollback journal may lie beside it that only a writer can play back: then the check has to wait for the writer.
 */
function inspect(path: string): 'whole' | 'needs-writer' {
  const database = connect(path, 'read-only');
  try {
    examine(database, path);
    return 'whole';
  } catch (error) {
    if (error instanceof Database.SqliteError && error.code === 'SQLITE_READONLY_ROLLBACK')
      return 'needs-writer';
    throw error;
  } finally {
    database.close();
  }
}

function examine(database: Database.Database, path: string): void {
  identify(database, path);
  boundCache(database);
  const check = existsSync(suspicionOf(path)) ? 'integrity_check' : 'quick_check';
  const finding = String(database.pragma(`${check}(1)`, { simple: true }));
  // The first line only names the database.
  const first = finding.split('\n').find((line) => !line.startsWith('***'));
  if (finding !== 'ok') throw damaged(path, first ?? finding);
}

type Identity = { readonly kind: 'empty' } | { readonly kind: 'ledger'; readonly version: number };

/** Reads whose database it is in one snapshot, and refuses what is not ours or newer than we are. */
function identify(database: Database.Database, path: string): Identity {
  const read = database.transaction(() => ({
    application: Number(database.pragma('application_id', { simple: true })),
    version: Number(database.pragma('user_version', { simple: true })),
    objects: Number(database.prepare('SELECT count(*) FROM sqlite_schema').pluck().get()),
  }));
  const { application, version, objects } = read.deferred();
  if (application === 0 && version === 0 && objects === 0) return { kind: 'empty' };
  if (application !== APPLICATION_ID) {
    throw new LedgerError(
      'not-a-ledger',
      `The file ${path} is not a ferryd ledger: it is another program's SQLite database. It was left untouched. ` +
        'Name another file with --ledger, or move this one aside.',
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new LedgerError(
      'newer-schema',
      `The ledger ${path} was written by a newer ferryd (schema ${version}, this one knows ${SCHEMA_VERSION}). ` +
        'It was left untouched. Install that version again, or name another file with --ledger.',
    );
  }
  return { kind: 'ledger', version };
}

function prepare(database: Database.Database, path: string): void {
  // Only an empty database takes it; free pages of an older one go otherwise (care.ts).
  database.pragma('auto_vacuum = INCREMENTAL');
  const mode = switchToWal(database);
  if (mode !== 'wal') {
    throw new LedgerError(
      'disk',
      `The file system under the ledger ${path} cannot hold it safely: SQLite's write-ahead log does not work ` +
        'there. Name a file on a local disk with --ledger.',
    );
  }
  // better-sqlite3 is built with NORMAL for WAL; an intent has to outlive a power cut.
  database.pragma('synchronous = FULL');
  database.pragma('foreign_keys = ON');
  boundCache(database);
  database.pragma('trusted_schema = OFF');
  database.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`);
}

function boundCache(database: Database.Database): void {
  database.pragma(`cache_size = -${CACHE_KIB}`);
}

/** Where another connection is about to write, SQLite refuses this switch at once and does not wait as elsewhere. */
function switchToWal(database: Database.Database): string {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const deadline = performance.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      return String(database.pragma('journal_mode = WAL', { simple: true }));
    } catch (error) {
      const busy = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
      if (!busy || performance.now() > deadline) throw error;
      Atomics.wait(pause, 0, 0, 10);
    }
  }
}

function missing(path: string): LedgerError {
  return new LedgerError(
    'missing',
    `There is no ledger at ${path} yet. It is made by the first run or by the daemon; where one exists already, ` +
      'name it with --ledger.',
  );
}
