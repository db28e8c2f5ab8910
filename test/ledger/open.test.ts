import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ledgerExists, openDatabase } from '../../src/ledger/database.js';
import { openLedger } from '../../src/ledger/ledger.js';
import { APPLICATION_ID, MIGRATIONS, migrate, SCHEMA_VERSION } from '../../src/ledger/migrations.js';
import { asOrdinaryUser } from '../support/ordinary-user.js';
import { compileLedger, startChild } from './child.js';
import {
  BINDING,
  baseline,
  begin,
  delivered,
  digestOf,
  modesOf,
  problemOf,
  sha256,
  skipped,
  temporaryDirectory,
} from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory.path, 'ledger.db');
});
afterEach(() => directory.remove());

describe('making a ledger', () => {
  it('makes missing directories 0700 and every file 0600, whatever the umask', () => {
    const before = process.umask(0);
    try {
      const ledger = openLedger(join(directory.path, 'state', 'ferryd', 'ledger.db'));
      begin(ledger);
      expect(modesOf(directory.path)).toEqual({ state: '700' });
      expect(modesOf(join(directory.path, 'state'))).toEqual({ ferryd: '700' });
      expect(modesOf(join(directory.path, 'state', 'ferryd'))).toEqual({
        'ledger.db': '600',
        'ledger.db-shm': '600',
        'ledger.db-wal': '600',
      });
      ledger.close();
    } finally {
      process.umask(before);
    }
  });

  it('sets what protocol.md asks for', () => {
    const database = openDatabase(file, 'read-write');
    const pragma = (name: string) => database.pragma(name, { simple: true });
    expect(pragma('journal_mode')).toBe('wal');
    expect(pragma('synchronous')).toBe(2);
    expect(pragma('busy_timeout')).toBe(5000);
    expect(pragma('foreign_keys')).toBe(1);
    expect(pragma('application_id')).toBe(APPLICATION_ID);
    expect(pragma('user_version')).toBe(SCHEMA_VERSION);
    const loose = database.prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict");
    expect(loose.pluck().all()).toEqual(['sqlite_sequence', 'sqlite_schema']);
    database.close();
  });

  it('leaves one file behind when it is closed, and closes twice', () => {
    const ledger = openLedger(file);
    begin(ledger);
    ledger.close();
    ledger.close();
    expect(readdirSync(directory.path)).toEqual(['ledger.db']);
  });

  it('takes an empty file for a new ledger', () => {
    writeFileSync(file, '');
    openLedger(file).close();
    expect(ledgerExists(file)).toBe(true);
    openLedger(file, { access: 'read-only' }).close();
  });

  it('is made once by several processes at once', async () => {
    compileLedger(directory.path);
    const script = `
      import { openLedger } from './src/ledger/ledger.js';
      process.stdin.once('data', () => {
        const ledger = openLedger(process.argv[2]);
        console.log(ledger.bind(${JSON.stringify(BINDING)}));
        ledger.close();
        process.stdin.destroy();
      });
      console.log('ready');`;
    const children = [1, 2, 3, 4].map(() => startChild(directory.path, script, [file]));
    for (const child of children) expect(await child.line()).toBe('ready');
    for (const child of children) child.write('go');
    expect(await Promise.all(children.map((child) => child.line()))).toEqual(['1', '1', '1', '1']);
    expect(await Promise.all(children.map((child) => child.ended()))).toEqual([0, 0, 0, 0]);
  });
});

it('waits for a process that is making the same file at this moment', async () => {
  compileLedger(directory.path);
  const script = `
    import Database from 'better-sqlite3';
    const database = new Database(process.argv[2]);
    database.exec('BEGIN IMMEDIATE');
    console.log('held');
    // By the clock, because whoever waits for us does so without turning its event loop.
    setTimeout(() => database.exec('ROLLBACK'), 300);`;
  writeFileSync(file, '');
  const child = startChild(directory.path, script, [file]);
  expect(await child.line()).toBe('held');
  openLedger(file).close();
  expect(await child.ended()).toBe(0);
});

describe('migrations', () => {
  it('start from nothing and are not done again', () => {
    const first = openLedger(file);
    const id = first.bind(BINDING);
    first.close();
    const second = openLedger(file);
    expect(second.bindingsOf('nightly')).toEqual([{ id, ...BINDING }]);
    second.close();
  });

  it('are one transaction each: a step that fails leaves the one before it', () => {
    const database = new Database(file);
    const steps = [
      'CREATE TABLE one (a TEXT) STRICT',
      'CREATE TABLE two (a TEXT) STRICT; CREATE TABLE one (a TEXT) STRICT',
    ];
    expect(() => migrate(database, steps)).toThrow('already exists');
    expect(database.pragma('user_version', { simple: true })).toBe(1);
    const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck();
    expect(tables.all()).toEqual(['one']);

    migrate(database, ['', 'CREATE TABLE two (a TEXT) STRICT', 'CREATE TABLE three (a TEXT) STRICT']);
    expect(tables.all()).toEqual(['one', 'two', 'three']);
    expect(database.pragma('user_version', { simple: true })).toBe(3);
    database.close();
  });

  it('refuse a newer schema with a sentence, for writing and for reading, and leave the file alone', () => {
    openLedger(file).close();
    const database = new Database(file);
    database.pragma(`user_version = ${SCHEMA_VERSION + 6}`);
    database.close();
    const before = digestOf(file);
    for (const access of ['read-write', 'read-only'] as const) {
      const error = problemOf(() => openDatabase(file, access));
      expect(error.kind).toBe('newer-schema');
      expect(error.message).toBe(
        `The ledger ${file} was written by a newer ferryd (schema ${SCHEMA_VERSION + 6}, this one knows ` +
          `${SCHEMA_VERSION}). It was left untouched. Install that version again, or name another file with --ledger.`,
      );
    }
    expect(digestOf(file)).toBe(before);
  });

  describe('from schema 1', () => {
    /** What the first ferryd wrote: both directions, runs without a binding, all results, names with twins. */
    function firstLedger(): void {
      const database = new Database(file);
      migrate(database, MIGRATIONS.slice(0, 1));
      database.exec(`
        INSERT INTO binding VALUES (1, 'nightly', 'push', 'ftp://nas', 'dumps', '/var'),
          (2, 'nightly', 'pull', 'ftp://nas', 'dumps', '/var');
        INSERT INTO run (id, job, binding_id, "trigger", pid, started_at_ms, ended_at_ms, outcome) VALUES
          (7, 'nightly', 1, 'by hand', 1, 10, 20, 'ok'), (8, 'nightly', 2, 'by hand', 1, 30, 40, 'ok'),
          (9, 'nightly', NULL, 'by hand', 1, 50, NULL, NULL);
        INSERT INTO transfer VALUES (11, 7, 'a', 'delivered', 5, 1, 1, '', '', 15),
          (12, 7, 'b', 'skipped', 0, 1, 1, '553', 'No.', 16), (20, 8, 'a', 'delivered', 6, 1, 1, '', '', 35),
          (21, 8, 'b', 'failed', 0, 1, 2, '451', 'Oops.', 36), (30, 9, 'c', 'delivered', 7, 1, 1, '', '', 55);
        INSERT INTO intent VALUES (1, 'i', '.tmp', 1, 2.5, 3, 4, 9);
        INSERT INTO skip VALUES (1, 'b', 1, 2.5, 3, 4, '553', 'No.', 's', 16);`);
      const insert = database.prepare('INSERT INTO baseline VALUES (1, ?, 1, 2.5, 3, 4, ?, ?)');
      for (const path of OLD_PATHS) insert.run(path, Buffer.from(sha256(path), 'hex'), null);
      database.close();
    }
    const OLD_PATHS = ['Cafe\u0301', 'IMG_1.JPG', 'plain', '\u{10400}'];

    it('bring everything along and learn what is new', () => {
      firstLedger();
      const ledger = openLedger(file);
      const local = { sizeBytes: 1, mtimeMs: 2.5, ctimeMs: 3, inode: 4 };
      expect([...ledger.known(1)].map((known) => known.baseline)).toEqual([
        ...OLD_PATHS.slice(0, 2).map((path) => baseline(path, { local })),
        undefined,
        ...OLD_PATHS.slice(2).map((path) => baseline(path, { local })),
      ]);
      expect(ledger.skips('nightly', 10)).toEqual([]);
      expect([...ledger.openIntents(1)]).toEqual([{ path: 'i', temporary: '.tmp', local, runId: 9 }]);
      const asked = ['caf\u00e9', 'img_1.jpg', 'Plain', '\u{10428}'];
      expect(asked.map((path) => ledger.twinOf(1, path))).toEqual(OLD_PATHS);
      expect(ledger.twinOf(1, 'plain')).toBeUndefined();
      const results = [7, 8, 9].map((runId) => ledger.transfers({ runId }, 9).map(({ result }) => result));
      expect(results).toEqual([['skipped', 'uploaded'], ['failed', 'downloaded'], ['uploaded']]);
      expect(ledger.transfers({ runId: 8 }, 1)).toEqual([
        {
          runId: 8,
          path: 'b',
          result: 'failed',
          attempt: 2,
          durationMs: 1,
          atMs: 36,
          code: '451',
          text: 'Oops.',
        },
      ]);
      expect(ledger.closeAbandonedRuns('nightly', 99)).toMatchObject([{ tally: { uploaded: 1, bytes: 7 } }]);
      expect(ledger.doomed(1).total).toBe(0);
      expect(ledger.heldPlan('nightly')).toBeUndefined();
      const at = begin(ledger);
      ledger.record(delivered(at, 'new'));
      expect(ledger.transfers({ runId: at.runId }, 9)).toHaveLength(1);
      ledger.close();

      const database = openDatabase(file, 'read-write');
      expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
      expect(database.pragma('foreign_key_check')).toEqual([]);
      const folds = database
        .prepare('SELECT path, fold FROM baseline WHERE binding_id = 1 ORDER BY path')
        .raw();
      expect(folds.all()).toEqual([
        ['Cafe\u0301', 'caf\u00e9'],
        ['IMG_1.JPG', 'img_1.jpg'],
        ['plain', null],
        ['\u{10400}', '\u{10428}'],
      ]);
      database.prepare('DELETE FROM run WHERE id = 7').run();
      expect(database.prepare('SELECT count(*) FROM transfer WHERE run_id = 7').pluck().get()).toBe(0);
      database.close();
    });

    it('have the tables that a new ledger has', () => {
      firstLedger();
      openLedger(file).close();
      const fresh = join(directory.path, 'fresh.db');
      openLedger(fresh).close();
      const [old, made] = [file, fresh].map((path) => {
        const database = new Database(path, { readonly: true });
        const schema = database
          .prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY type, name')
          .all();
        database.close();
        return schema;
      });
      expect(old).toEqual(made);
    });

    it('leave a ledger as it was where the step fails', () => {
      firstLedger();
      const database = new Database(file);
      database.exec('DELETE FROM transfer; CREATE TABLE hold (a TEXT) STRICT');
      database.close();
      expect(() => openLedger(file)).toThrow('already exists');
      const after = new Database(file);
      expect(after.pragma('user_version', { simple: true })).toBe(1);
      expect(after.prepare('SELECT count(*) FROM baseline').pluck().get()).toBe(OLD_PATHS.length);
      expect(() => after.prepare('SELECT fold FROM baseline')).toThrow('no such column');
      after.close();
    });

    it.each([
      ['before the tables are rebuilt', 'DROP TABLE transfer;'],
      ['before the end', 'CREATE INDEX hold_by_run'],
    ])('begin again where a process was killed %s', async (_, place) => {
      firstLedger();
      compileLedger(directory.path);
      const step = MIGRATIONS[1] ?? '';
      expect(step).toContain(place);
      const script = `
        import Database from 'better-sqlite3';
        import { migrate, MIGRATIONS } from './src/ledger/migrations.js';
        const database = new Database(process.argv[2]);
        database.pragma('journal_mode = WAL');
        database.function('die', () => process.kill(process.pid, 'SIGKILL'));
        migrate(database, [MIGRATIONS[0], MIGRATIONS[1].replace(process.argv[3], 'SELECT die(); ' + process.argv[3])]);
        console.log('survived');`;
      const child = startChild(directory.path, script, [file, place]);
      await expect(child.line()).rejects.toThrow('the child ended (null)');
      const before = new Database(file, { readonly: true });
      expect(before.pragma('user_version', { simple: true })).toBe(1);
      before.close();
      const ledger = openLedger(file);
      expect(ledger.twinOf(1, 'img_1.jpg')).toBe('IMG_1.JPG');
      expect(ledger.countKnown(1)).toBe(OLD_PATHS.length);
      ledger.close();
    });

    it('were never edited once they were released', () => {
      expect(MIGRATIONS.slice(0, 1).map(sha256)).toEqual([
        '4c91ba043fc38e6bcf3f3ae06aa64a07858069a5bd9a773e9e92b6bf7e590e2d',
      ]);
    });
  });

  it('are left to a writer when the ledger is opened for reading', () => {
    const database = new Database(file);
    database.exec('CREATE TABLE early (a TEXT) STRICT');
    database.pragma(`application_id = ${APPLICATION_ID}`);
    database.close();
    const before = digestOf(file);
    expect(problemOf(() => openLedger(file, { access: 'read-only' })).kind).toBe('older-schema');
    expect(digestOf(file)).toBe(before);
  });
});

describe('a file that is not a ledger', () => {
  const garbage: [string, string | Buffer][] = [
    ['a short text', 'hello'],
    ['a long text', 'once upon a time '.repeat(2000)],
    ['zeros', Buffer.alloc(8192)],
    ['a SQLite header and nothing that follows from it', `SQLite format 3\0${'x'.repeat(5000)}`],
  ];
  it.each(garbage)('is refused and left byte for byte: %s', (_, content) => {
    writeFileSync(file, content, { mode: 0o644 });
    const before = digestOf(file);
    for (const access of ['read-write', 'read-only'] as const) {
      const error = problemOf(() => openDatabase(file, access));
      expect(error.kind).toBe('not-a-ledger');
      expect(error.message).toContain(file);
      expect(error.message).toContain('--ledger');
    }
    expect(digestOf(file)).toBe(before);
    expect(readdirSync(directory.path)).toEqual(['ledger.db']);
  });

  it("is another program's database, also one with a WAL that waits", () => {
    const theirs = new Database(file);
    theirs.pragma('journal_mode = WAL');
    theirs.exec('CREATE TABLE bookmarks (url TEXT)');
    theirs.pragma('user_version = 1');
    const copy = join(directory.path, 'copy.db');
    for (const end of ['', '-wal']) copyFileSync(file + end, copy + end);
    theirs.close();
    for (const each of [file, copy]) {
      const before = digestOf(each);
      for (const access of ['read-write', 'read-only'] as const) {
        const error = problemOf(() => openDatabase(each, access));
        expect(error.kind).toBe('not-a-ledger');
        expect(error.message).toContain("another program's SQLite database");
      }
      expect(digestOf(each)).toBe(before);
    }
    const again = new Database(copy);
    expect(again.prepare('SELECT count(*) FROM bookmarks').pluck().get()).toBe(0);
    again.close();
  });

  it('is a directory or a FIFO, which is not even opened', () => {
    mkdirSync(file);
    expect(problemOf(() => openLedger(file)).message).toContain('is a directory');
    const fifo = join(directory.path, 'fifo');
    execFileSync('mkfifo', [fifo]);
    expect(problemOf(() => openLedger(fifo)).message).toContain('is a special file');
    expect(problemOf(() => ledgerExists(fifo)).kind).toBe('not-a-ledger');
  });

  it('stands where a directory should be', () => {
    writeFileSync(file, '');
    const error = problemOf(() => openLedger(join(file, 'ledger.db')));
    expect(error.kind).toBe('unreadable');
    expect(error.message).toContain(join(file, 'ledger.db'));
  });
});

it('a ledger whose making was cut off with a rollback journal beside it is played back, not refused', () => {
  const made = join(directory.path, 'made.db');
  const database = new Database(made);
  migrate(database);
  database.pragma('cache_size = 1');
  database.exec('BEGIN');
  const insert = database.prepare('INSERT INTO schedule VALUES (?, ?, 1)');
  for (let i = 0; i < 2000; i += 1) insert.run(`job-${i}`, 'x'.repeat(100));
  for (const end of ['', '-journal']) copyFileSync(made + end, file + end);
  database.exec('ROLLBACK');
  database.close();

  const before = digestOf(file);
  expect(problemOf(() => openLedger(file, { access: 'read-only' })).kind).toBe('unreadable');
  expect(digestOf(file)).toBe(before);
  const ledger = openLedger(file);
  expect(ledger.coveredUntil('job-1', 'x'.repeat(100))).toBeUndefined();
  begin(ledger);
  ledger.close();
  const whole = openDatabase(file, 'read-write');
  expect(whole.pragma('integrity_check', { simple: true })).toBe('ok');
  whole.close();
});

describe('a damaged ledger', () => {
  function damage(): void {
    const ledger = openLedger(file);
    const at = begin(ledger);
    for (let i = 0; i < 3000; i += 1) ledger.record(delivered(at, `directory/file-${i}`));
    ledger.close();
    const bytes = readFileSync(file);
    for (let page = 30; page < 60; page += 1) bytes.fill(0xee, page * 4096, page * 4096 + 2000);
    writeFileSync(file, bytes);
  }

  it('is found when it is opened for writing, left as it is, and said what to do with', () => {
    damage();
    const before = digestOf(file);
    const error = problemOf(() => openLedger(file));
    expect(error.kind).toBe('corrupt');
    expect(error.message).toMatch(/^The ledger .*ledger\.db is damaged \(.+\)\. It was left as it is\./);
    expect(error.message).toContain('puts it aside under another name and begins a new one');
    expect(digestOf(file)).toBe(before);
  });

  it('is a LedgerError also where reading meets the damage', () => {
    damage();
    const reader = openLedger(file, { access: 'read-only' });
    expect(problemOf(() => [...reader.known(1)]).kind).toBe('corrupt');
    reader.close();
  });
});

describe('opening for reading', () => {
  it('makes nothing where there is nothing, and says so', () => {
    expect(ledgerExists(file)).toBe(false);
    const error = problemOf(() => openLedger(file, { access: 'read-only' }));
    expect(error.kind).toBe('missing');
    expect(error.message).toContain(file);
    expect(existsSync(file)).toBe(false);
    expect(
      problemOf(() => openLedger(join(directory.path, 'no', 'l.db'), { access: 'read-only' })).kind,
    ).toBe('missing');
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('takes an empty file for no ledger yet', () => {
    writeFileSync(file, '');
    expect(problemOf(() => openLedger(file, { access: 'read-only' })).kind).toBe('missing');
    expect(statSync(file).size).toBe(0);
  });

  it('sees what a writer commits meanwhile, and does not hinder it', () => {
    const writer = openLedger(file);
    const at = begin(writer);
    const reader = openLedger(file, { access: 'read-only' });
    writer.record(delivered(at, 'a'));
    expect(reader.transfers({ job: 'nightly' }, 10)).toEqual([]);
    writer.flush();
    expect(reader.transfers({ job: 'nightly' }, 10)).toHaveLength(1);
    writer.record(skipped(at, 'b'));
    writer.close();
    expect(reader.skips('nightly', 10)).toHaveLength(1);
    reader.close();
  });

  it('works on a ledger that lies still, also where the files beside it are gone', () => {
    const writer = openLedger(file);
    begin(writer);
    writer.close();
    const reader = openLedger(file, { access: 'read-only' });
    expect(reader.lastRuns(undefined, 10)).toHaveLength(1);
    reader.close();
    expect(Object.values(modesOf(directory.path)).every((mode) => mode === '600')).toBe(true);
  });

  it('cannot write', () => {
    openLedger(file).close();
    const database = openDatabase(file, 'read-only');
    expect(() => database.exec('DELETE FROM run')).toThrow('readonly');
    database.close();
  });

  it('tells a user who may not read it', () => {
    openLedger(file).close();
    chmodSync(file, 0);
    // Of the directory the user is the owner, and not of the file.
    asOrdinaryUser([directory.path], () => {
      expect(problemOf(() => openLedger(file, { access: 'read-only' })).kind).toBe('unreadable');
      expect(problemOf(() => openLedger(file)).kind).toBe('unreadable');
    });
  });
});

it('tells a user who may not write to its directory', () => {
  const locked = join(directory.path, 'locked');
  mkdirSync(locked, { mode: 0o500 });
  asOrdinaryUser([directory.path, locked], () => {
    const problem = problemOf(() => openLedger(join(locked, 'ledger.db')));
    expect(problem.kind).toBe('unreadable');
    expect(problem.message).toContain(locked);
  });
});

it('refuses a path that ends in a space instead of opening its neighbour', () => {
  expect(problemOf(() => openLedger(`${file} `)).kind).toBe('unreadable');
  expect(readdirSync(directory.path)).toEqual([]);
});
