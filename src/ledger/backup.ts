/*
 * A copy of the ledger while it is in use: taken in one piece through SQLite's own backup, checked, made durable, and
 * only then given its name; so an earlier copy stands until the new one is known to be good. What is overwritten is an
 * earlier copy or an empty file, and nothing else.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { judge, LedgerError } from './error.js';
import { lockDirectory } from './lock.js';
import { APPLICATION_ID } from './migrations.js';
import type { LedgerReader } from './reader.js';

/** A copy that was made. */
export interface Backup {
  /** Absolute path of the copy. */
  readonly file: string;
  readonly sizeBytes: number;
}

/** The copy was not made because of what the caller asked for. The message is for a person. */
export class BackupRefused extends Error {
  override readonly name = 'BackupRefused';
}

/**
 * Copies the ledger to a file, which only this user can read.
 *
 * @throws {BackupRefused} where something else stands in the copy's place, or there is no directory for it
 * @throws LedgerError where the ledger is damaged or the disk fails; an earlier copy stands as it was
 */
export async function backupLedger(ledger: LedgerReader, to: string): Promise<Backup> {
  const file = resolve(to);
  refuse(ledger.file, file);
  const draft = `${file}.${process.pid}.new`;
  try {
    rmSync(draft, { force: true });
    closeSync(openSync(draft, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    await ledger.copyTo(draft);
    check(draft, ledger.file);
    synchronise(draft);
    renameSync(draft, file);
    synchronise(dirname(file));
    return { file, sizeBytes: statSync(file).size };
  } catch (error) {
    throw failed(error, { draft, ledger: ledger.file });
  } finally {
    for (const part of ['', '-journal', '-wal', '-shm']) rmSync(draft + part, { force: true });
  }
}

function refuse(ledger: string, file: string): void {
  if (file !== file.trim()) {
    throw new BackupRefused(`The name ${JSON.stringify(file)} ends in white space. Name another file.`);
  }
  if (!statOf(dirname(file))?.isDirectory()) {
    throw new BackupRefused(`There is no directory ${dirname(file)} for the copy. Is its disk mounted?`);
  }
  const there = statOf(file);
  if (there === undefined) return;
  const own = statOf(ledger);
  // Looked at before it is opened: closing any descriptor of a ledger would drop SQLite's locks on it.
  if (own !== undefined && own.dev === there.dev && own.ino === there.ino) {
    throw new BackupRefused(`${file} is the ledger itself. Name another file for its copy.`);
  }
  if (existsSync(lockDirectory(file))) {
    throw new BackupRefused(`${file} is a ledger that a ferryd works with. Name another file for the copy.`);
  }
  if (!there.isFile() || (there.size > 0 && !isLedger(file))) {
    throw new BackupRefused(
      `${file} exists and is no copy of a ledger: it is not overwritten. Name another file, or move it away.`,
    );
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw judge(error, path);
  }
}

/** By the first bytes that every SQLite database has (sqlite.org/fileformat.html, 1.3). */
function isLedger(file: string): boolean {
  const header = Buffer.alloc(100);
  let descriptor: number;
  try {
    descriptor = openSync(file, constants.O_RDONLY);
  } catch (error) {
    throw judge(error, file);
  }
  try {
    if (readSync(descriptor, header, 0, header.length, 0) < header.length) return false;
  } finally {
    closeSync(descriptor);
  }
  return (
    header.toString('latin1', 0, 16) === 'SQLite format 3\0' && header.readUInt32BE(68) === APPLICATION_ID
  );
}

/** Makes one file of it, and reads it all. */
function check(draft: string, ledger: string): void {
  const database = new Database(draft, { fileMustExist: true });
  try {
    database.pragma('journal_mode = DELETE');
    const finding = String(database.pragma('integrity_check(1)', { simple: true }));
    if (finding === 'ok') return;
    throw new LedgerError(
      'corrupt',
      `The copy of the ledger ${ledger} is damaged (${finding.split('\n')[0]}), and so probably is the ledger. The ` +
        'copy was thrown away; an earlier one stands as it was. The next run, or the daemon when it starts, looks at ' +
        'the ledger itself.',
    );
  } finally {
    database.close();
  }
}

function synchronise(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The copy's file is the person's, and not the ledger that the usual sentences are about. */
function failed(
  error: unknown,
  { draft, ledger }: { readonly draft: string; readonly ledger: string },
): unknown {
  const judged = judge(error, draft);
  if (!(judged instanceof LedgerError) || judged === error) return judged;
  const message = `The ledger ${ledger} cannot be copied into ${dirname(draft)} (${judged.code}). Check the disk there and its permissions. An earlier copy stands as it was.`;
  return new LedgerError(judged.kind, message, { code: judged.code, cause: error });
}
