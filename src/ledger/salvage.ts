/*
 * What is taken over from a damaged ledger: small things that cost nothing if they are a little old. Read through a
 * connection that cannot write, a bounded number of rows, and each table by itself: one that cannot be read is left.
 * Rows are believed only where they are what their columns promise.
 */
import Database from 'better-sqlite3';
import type { NoticeTopic, TakenOver } from './notices.js';

/** A ledger that was damaged and put aside. */
export interface Damage {
  /** When it was put aside, in milliseconds since 1970. */
  readonly atMs: number;
  /** Where it is now. */
  readonly movedTo: string;
  /** What SQLite said of it. */
  readonly finding: string;
}

/** What could be read. */
export interface Salvage extends TakenOver {
  readonly schedules: readonly {
    readonly job: string;
    readonly key: string;
    readonly coveredUntilMs: number;
  }[];
  readonly profiles: readonly { readonly server: string; readonly json: string }[];
}

/** Rows that are read of each table at the most. */
const ROWS = 2_000;

type Row = Readonly<Record<string, unknown>>;

/**
 * Reads what can be read of a damaged ledger. Never throws for its damage.
 *
 * @param nowMs milliseconds since 1970: times far behind it are not believed
 */
export function salvage(path: string, nowMs: number): Salvage {
  const rows = readAll(path);
  const latestMs = nowMs + 24 * 3_600_000;
  const isTime = (value: unknown): value is number =>
    typeof value === 'number' && value > 0 && value <= latestMs;
  return {
    schedules: rows('schedule').flatMap(({ job, key, covered_until_ms: coveredUntilMs }) =>
      isText(job) && isText(key) && isTime(coveredUntilMs) ? [{ job, key, coveredUntilMs }] : [],
    ),
    profiles: rows('server_profile').flatMap(({ server, json }) =>
      isText(server) && isJson(json) ? [{ server, json }] : [],
    ),
    states: rows('notice_state').flatMap(({ job, topic, state, since_ms: sinceMs, message }) =>
      isText(job) && isTopic(topic) && isText(state) && isTime(sinceMs) && typeof message === 'string'
        ? [{ job, topic, state, sinceMs, message }]
        : [],
    ),
    notices: rows('notice_outbox').flatMap(
      ({ job, channel, body, at_ms: atMs, attempts, next_ms: nextMs }) =>
        isText(job) && isText(channel) && isJson(body) && isTime(atMs) && isCount(attempts) && isTime(nextMs)
          ? [{ job, channel, body, atMs, attempts, nextMs }]
          : [],
    ),
  };
}

function readAll(path: string): (table: string) => readonly Row[] {
  const read = new Map<string, readonly Row[]>();
  try {
    const database = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 });
    try {
      for (const table of ['schedule', 'server_profile', 'notice_state', 'notice_outbox']) {
        read.set(table, readTable(database, table));
      }
    } finally {
      database.close();
    }
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
  }
  return (table) => read.get(table) ?? [];
}

function readTable(database: Database.Database, table: string): Row[] {
  const rows: Row[] = [];
  try {
    for (const row of database.prepare<[], Row>(`SELECT * FROM ${table} LIMIT ${ROWS}`).iterate()) {
      rows.push(row);
    }
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
  }
  return rows;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isTopic(value: unknown): value is NoticeTopic {
  return value === 'run' || value === 'freshness' || value === 'configuration';
}

function isJson(value: unknown): value is string {
  if (!isText(value)) return false;
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
