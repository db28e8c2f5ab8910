/*
 * A ledger that is damaged: it is put aside under another name, never written to and never deleted by us while it is
 * one of the newest few, and a new one takes its place. What else costs a little and can be read goes along: which
 * schedules were dealt with, what was learned about servers, what was told. Baselines do not: half of them would look
 * like all of them, so the next run of each job looks at both sides instead (README, "A lost ledger").
 * A ledger that another process has in use is left where it is, and a file that was never ours too.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { LedgerError } from './error.js';
import { type Ledger, type LedgerOptions, openLedger } from './ledger.js';
import { acquireLock, lockDirectory, whoHolds } from './lock.js';
import type { Damage, Salvage } from './salvage.js';
import { salvage } from './salvage.js';

/** How many damaged ledgers stay beside the one in use; of more, the oldest go, or a failing disk would fill up. */
const KEPT = 5;

/** The files that make up a ledger, by what they add to its name; the first one first. */
const PARTS = ['', '-wal', '-shm', '-journal'] as const;

/** A ledger that is open for writing, and what had to be done for that. */
export interface Opened {
  readonly ledger: Ledger;
  /** Undefined where the ledger was whole, or was not there. */
  readonly damage: (Damage & { readonly message: string }) | undefined;
}

/**
 * Opens the ledger for writing; one that is damaged is put aside first, and a new one opened in its place.
 *
 * @param options.nowMs milliseconds since 1970, for the name under which a damaged one is put aside
 * @throws LedgerError as `openLedger` does; where the ledger is damaged and cannot be put aside, because another
 *   process works with it or the directory cannot be written
 */
export function openOrReplace(
  file: string,
  options: LedgerOptions & { readonly nowMs?: number | undefined } = {},
): Opened {
  try {
    return { ledger: openLedger(file, options), damage: undefined };
  } catch (error) {
    if (!(error instanceof LedgerError) || !isDamage(error, file)) throw error;
    // Where it really lies, or a link would be put aside in its place.
    return replace(realpathSync(file), error, options);
  }
}

/**
 * A file that is no database at all was one if our locks lie beside it: its first page is what was spoilt. Without
 * them it is somebody else's.
 */
function isDamage(error: LedgerError, file: string): boolean {
  if (error.kind === 'corrupt') return true;
  return error.code === 'SQLITE_NOTADB' && existsSync(lockDirectory(file));
}

function replace(
  path: string,
  found: LedgerError,
  options: LedgerOptions & { readonly nowMs?: number | undefined },
): Opened {
  const locks = lockDirectory(path);
  const lock = acquireLock(locks, 'replacing', 'putting a damaged ledger aside');
  if (lock.kind === 'held') throw inUse(found, lock.message);
  try {
    // Whoever held the lock before may have done it.
    const other = openedMeanwhile(path, options);
    if (other !== undefined) return { ledger: other, damage: undefined };
    const user = userOf(locks);
    if (user !== undefined) throw inUse(found, user);
    const nowMs = options.nowMs ?? Date.now();
    const saved = salvage(path, nowMs);
    const movedTo = putAside(path, nowMs);
    const finding = found.cause instanceof Error ? found.cause.message : found.code;
    const damage: Damage = { atMs: nowMs, movedTo, finding };
    const ledger = openLedger(path, options);
    try {
      ledger.takeOver(saved, damage);
    } catch (error) {
      ledger.close();
      throw error;
    }
    dropOldest(path);
    return { ledger, damage: { ...damage, message: sentence(path, damage, saved) } };
  } finally {
    lock.release();
  }
}

function openedMeanwhile(path: string, options: LedgerOptions): Ledger | undefined {
  try {
    return openLedger(path, options);
  } catch (error) {
    if (error instanceof LedgerError && isDamage(error, path)) return undefined;
    throw error;
  }
}

/** Who works with the ledger now, as a sentence: a daemon, or a run of some job. */
function userOf(locks: string): string | undefined {
  for (const entry of readdirSync(locks)) {
    const name = /^(daemon|job-.*)\.lock$/.exec(entry)?.[1];
    const holder = name === undefined ? undefined : whoHolds(locks, name);
    if (holder !== undefined) return `Process ${holder.pid} works with it (${holder.purpose}).`;
  }
  return undefined;
}

/** @returns where it is now */
function putAside(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  let aside = `${path}.damaged-${stamp}`;
  for (let number = 2; PARTS.some((part) => existsSync(aside + part)); number += 1) {
    aside = `${path}.damaged-${stamp}-${number}`;
  }
  // The ledger first: a log without its ledger is dropped by SQLite, a ledger without its log would be an older one.
  for (const part of PARTS) {
    const stats = statSync(path + part, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    // The index of the log is made anew by whoever opens it, and an empty log says nothing.
    if (part === '-shm' || (part === '-wal' && stats.size === 0)) rmSync(path + part, { force: true });
    else renameSync(path + part, aside + part);
  }
  const descriptor = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return aside;
}

/** Their names carry their dates, so the oldest come first. */
function dropOldest(path: string): void {
  const name = `${basename(path)}.damaged-`;
  const aside = readdirSync(dirname(path))
    .filter((entry) => entry.startsWith(name) && !/-(wal|shm|journal)$/.test(entry))
    .sort();
  for (const old of aside.slice(0, -KEPT)) {
    for (const part of PARTS) rmSync(join(dirname(path), old + part), { force: true });
  }
}

function inUse(found: LedgerError, who: string): LedgerError {
  return new LedgerError(
    'corrupt',
    `${found.message} ${who} It cannot be put aside before that has ended: stop it, then run again.`,
    { code: found.code, cause: found },
  );
}

function sentence(path: string, { movedTo, finding }: Damage, saved: Salvage): string {
  const { schedules, profiles, states, notices } = saved;
  const read = schedules.length + profiles.length + states.length + notices.length;
  const took = read === 0 ? '' : ' What it knew of schedules, servers and notices was taken over.';
  return (
    `The ledger ${path} was damaged (${finding}). It was put aside as ${movedTo}, and a new one begun.${took} ` +
    'The next run of each job looks at what is there on both sides; what is the same is not sent again, and ' +
    'nothing is deleted that you have not approved. Check the disk.'
  );
}
