/* A damaged ledger: put aside, never written to, and a new one in its place that knows what costs nothing to know. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openOrReplace } from '../../src/ledger/damage.js';
import { openDatabase } from '../../src/ledger/database.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { begin, delivered, digestOf, problemOf, temporaryDirectory } from './sample.js';

const NOW = Date.UTC(2026, 10, 23, 11, 2, 31);

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
let opened: Ledger[];
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory.path, 'ledger.db');
  opened = [];
});
afterEach(() => {
  for (const ledger of opened) ledger.close();
  directory.remove();
});

function open(path = file, nowMs = NOW): ReturnType<typeof openOrReplace> {
  const result = openOrReplace(path, { nowMs });
  opened.push(result.ledger);
  return result;
}

/** With many baselines, behind all that is small; then pages of those are overwritten. */
function damage(path = file): void {
  const ledger = openLedger(path);
  const at = begin(ledger);
  ledger.setCoveredUntil('nightly', 'cron 0 0 * * *', NOW - 5);
  ledger.setCoveredUntil('nightly', 'from the future', NOW + 10 * 86_400_000);
  ledger.saveProfile('nas', '{"a":1}');
  const state = { job: 'nightly', topic: 'run', state: 'failed', sinceMs: NOW - 9, message: 'm' } as const;
  const outbox = [{ channel: 'c', body: '{}' }];
  ledger.notices.changeNotice(state.job, state.topic, () => ({ state, outbox }), NOW - 8);
  for (let i = 0; i < 3_000; i += 1) ledger.record(delivered(at, `directory/file-${i}`));
  ledger.close();
  const bytes = readFileSync(path);
  for (let page = 40; page < 60; page += 1) bytes.fill(0xee, page * 4096, page * 4096 + 2000);
  writeFileSync(path, bytes);
}

const aside = (): string[] =>
  readdirSync(directory.path)
    .filter((name) => name.includes('.damaged-'))
    .sort();

describe('a damaged ledger', () => {
  it('is put aside as it is, and a new one knows of schedules, servers and notices, and of no file', () => {
    damage();
    const before = digestOf(file);
    const { ledger, damage: told } = open();
    expect(aside()).toEqual(['ledger.db.damaged-20261123T110231Z']);
    const movedTo = join(directory.path, 'ledger.db.damaged-20261123T110231Z');
    expect(digestOf(movedTo)).toBe(before);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(told).toMatchObject({ atMs: NOW, movedTo });
    expect(told?.message).toContain(`It was put aside as ${movedTo}, and a new one begun.`);
    expect(told?.message).toContain('schedules, servers and notices was taken over');
    expect(ledger.lastDamage()).toMatchObject({ atMs: NOW, movedTo });
    expect(ledger.bindingsOf('nightly')).toEqual([]);
    expect(ledger.lastRuns(undefined, 9)).toEqual([]);
    expect(ledger.coveredUntil('nightly', 'cron 0 0 * * *')).toBe(NOW - 5);
    // A time that cannot be would keep the schedule from ever being made good.
    expect(ledger.coveredUntil('nightly', 'from the future')).toBeUndefined();
    expect(ledger.profile('nas')).toBe('{"a":1}');
    expect(ledger.notices.noticeState('nightly', 'run')).toMatchObject({ state: 'failed', sinceMs: NOW - 9 });
    expect(ledger.notices.waitingNotices(9)).toMatchObject([{ channel: 'c', atMs: NOW - 8 }]);
    ledger.close();
    expect(open().damage).toBeUndefined();
  });

  it('of which nothing can be read is replaced all the same', () => {
    damage();
    const size = statSync(file).size;
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.fill(0, 0, 4096));
    mkdirSync(lockDirectory(file));
    const { ledger, damage: told } = open();
    expect(told?.message).not.toContain('taken over');
    expect(ledger.coveredUntil('nightly', 'cron 0 0 * * *')).toBeUndefined();
    expect(statSync(join(directory.path, aside()[0] ?? '')).size).toBe(size);
  });

  it('is one that lost its first page, and not a file that was never ours', () => {
    writeFileSync(file, 'This is my diary.\n'.repeat(1_000));
    const before = digestOf(file);
    expect(problemOf(() => openOrReplace(file)).kind).toBe('not-a-ledger');
    expect(digestOf(file)).toBe(before);
    expect(aside()).toEqual([]);
    // Our locks beside it tell that it was a ledger.
    mkdirSync(lockDirectory(file));
    expect(open().damage).toBeDefined();
    expect(aside()).toHaveLength(1);
  });

  it.each(['newer-schema', 'not-a-ledger'] as const)(
    'is not one that is refused for another reason: %s',
    (kind) => {
      openLedger(file).close();
      const database = new Database(file);
      database.pragma(kind === 'newer-schema' ? 'user_version = 9999' : 'application_id = 7');
      database.close();
      mkdirSync(lockDirectory(file), { recursive: true });
      expect(problemOf(() => openOrReplace(file)).kind).toBe(kind);
      expect(aside()).toEqual([]);
    },
  );

  it.each(['daemon', 'job-nightly'])('stays where it is while %s works with it', (name) => {
    damage();
    const before = digestOf(file);
    const lock = acquireLock(lockDirectory(file), name, `work of ${name}`);
    if (lock.kind === 'held') throw new Error('somebody else has it');
    const problem = problemOf(() => openOrReplace(file));
    expect(problem.kind).toBe('corrupt');
    expect(problem.message).toContain(`Process ${process.pid} works with it (work of ${name}).`);
    expect(digestOf(file)).toBe(before);
    lock.release();
    expect(open().damage).toBeDefined();
  });

  it('is put aside where it lies, with its log, also through a link', () => {
    mkdirSync(join(directory.path, 'disk'));
    const real = join(directory.path, 'disk', 'l.db');
    damage(real);
    writeFileSync(`${real}-wal`, 'the log');
    symlinkSync(real, file);
    const { ledger, damage: told } = open(file);
    expect(told?.movedTo).toBe(`${real}.damaged-20261123T110231Z`);
    expect(readFileSync(`${told?.movedTo}-wal`, 'utf8')).toBe('the log');
    ledger.setCoveredUntil('a', 'b', 1);
    ledger.close();
    expect(open(file).ledger.coveredUntil('a', 'b')).toBe(1);
    expect(statSync(real).size).toBeGreaterThan(0);
  });

  it('is kept beside others, and only the newest few are', () => {
    for (let i = 0; i < 7; i += 1) {
      damage();
      const name = basename(open(file, NOW + Math.floor(i / 2) * 1_000).damage?.movedTo ?? '');
      expect(aside()).toContain(name);
      opened.pop()?.close();
    }
    expect(aside()).toEqual([
      'ledger.db.damaged-20261123T110232Z',
      'ledger.db.damaged-20261123T110232Z-2',
      'ledger.db.damaged-20261123T110233Z',
      'ledger.db.damaged-20261123T110233Z-2',
      'ledger.db.damaged-20261123T110234Z',
    ]);
  });
});

describe('a ledger that is gone', () => {
  it('is a new one, in silence', () => {
    expect(open().damage).toBeUndefined();
    opened.pop()?.close();
    truncateSync(file);
    const { ledger, damage: told } = open();
    expect(told).toBeUndefined();
    expect(ledger.lastDamage()).toBeUndefined();
  });
});

/** One statement over a connection of its own, the schema included. */
function raw(sql: string, values: Record<string, unknown> = {}): Record<string, unknown> | undefined {
  const database = new Database(file);
  try {
    database.unsafeMode();
    database.pragma('writable_schema = ON');
    const statement = database.prepare<[Record<string, unknown>], Record<string, unknown>>(sql);
    if (statement.reader) return statement.get(values);
    statement.run(values);
    return undefined;
  } finally {
    database.close();
  }
}

describe('damage that is met in the middle', () => {
  it('is an error there, and has all of the ledger looked at when it is opened next', () => {
    const ledger = openLedger(file);
    const at = begin(ledger);
    for (let i = 0; i < 50; i += 1) ledger.record(delivered(at, `F${i}`));
    ledger.close();
    mkdirSync(lockDirectory(file), { recursive: true });
    // An index that lacks a row: the quick check does not look at that, and deleting the row fails.
    const index = raw("SELECT * FROM sqlite_schema WHERE name = 'baseline_by_fold'");
    raw("DELETE FROM sqlite_schema WHERE name = 'baseline_by_fold'");
    raw("UPDATE baseline SET fold = 'another' WHERE path = 'F7'");
    raw('INSERT INTO sqlite_schema VALUES (@type, @name, @tbl_name, @rootpage, @sql)', index);

    const harmed = open();
    expect(harmed.damage).toBeUndefined();
    harmed.ledger.record({ kind: 'forgotten', bindingId: at.bindingId, path: 'F7' });
    expect(harmed.ledger.isDamaged).toBe(false);
    expect(problemOf(() => harmed.ledger.flush()).kind).toBe('corrupt');
    expect(harmed.ledger.isDamaged).toBe(true);
    expect(() => harmed.ledger.close()).toThrow(/damaged/);
    opened.pop();
    const { damage: told } = open();
    expect(told).toBeDefined();
    opened.pop()?.close();
    // Once only: a whole ledger is not suspected for ever.
    expect(existsSync(join(lockDirectory(file), 'suspect'))).toBe(false);
    const whole = openDatabase(file, 'read-write');
    expect(whole.pragma('integrity_check', { simple: true })).toBe('ok');
    whole.close();
  });
});

it('the check of a large ledger is told before it blocks', () => {
  const told: number[] = [];
  const onCheck = ({ sizeBytes, withinMs }: { sizeBytes: number; withinMs: number }): void => {
    told.push(sizeBytes);
    expect(withinMs).toBeGreaterThanOrEqual(sizeBytes / 50_000);
  };
  openLedger(file, { onCheck }).close();
  expect(told).toEqual([]);
  openLedger(file, { onCheck }).close();
  expect(told).toEqual([statSync(file).size]);
});
