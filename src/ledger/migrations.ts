/*
 * The ledger's schema as numbered steps. Each step is one transaction that also writes `user_version`, so that a
 * kill leaves either the step before or the step after; a step that has been released is never edited.
 * Tables are STRICT; those that are looked up by their natural key are WITHOUT ROWID. Times, inodes and other
 * numbers of `fs.Stats` are REAL, because a JavaScript number is one: nothing is rounded on its way through.
 */
import type Database from 'better-sqlite3';
import { foldOf } from '../plan/names.js';

/** "fryd": marks a SQLite file as ours, so that another program's database is refused and not migrated. */
export const APPLICATION_ID = 0x66727964;

/** Step n brings a ledger from schema n to schema n + 1. `ferryd_fold(path)` is `foldOf` of plan/names.ts. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE binding (
    id          INTEGER PRIMARY KEY,
    job         TEXT NOT NULL,
    direction   TEXT NOT NULL,
    server      TEXT NOT NULL,
    remote_root TEXT NOT NULL,
    local_root  TEXT NOT NULL,
    UNIQUE (job, direction, server, remote_root, local_root)
  ) STRICT;

  CREATE TABLE baseline (
    binding_id         INTEGER NOT NULL REFERENCES binding (id) ON DELETE CASCADE,
    path               TEXT NOT NULL CHECK (path <> ''),
    size_bytes         INTEGER NOT NULL,
    mtime_ms           REAL NOT NULL,
    ctime_ms           REAL NOT NULL,
    inode              REAL NOT NULL,
    sha256             BLOB NOT NULL CHECK (length(sha256) = 32),
    remote_modified_ms REAL,
    PRIMARY KEY (binding_id, path)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE skip (
    binding_id INTEGER NOT NULL REFERENCES binding (id) ON DELETE CASCADE,
    path       TEXT NOT NULL CHECK (path <> ''),
    size_bytes INTEGER NOT NULL,
    mtime_ms   REAL NOT NULL,
    ctime_ms   REAL NOT NULL,
    inode      REAL NOT NULL,
    code       TEXT NOT NULL,
    text       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    at_ms      REAL NOT NULL,
    PRIMARY KEY (binding_id, path)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE run (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job             TEXT NOT NULL,
    binding_id      INTEGER REFERENCES binding (id) ON DELETE SET NULL,
    "trigger"       TEXT NOT NULL,
    pid             INTEGER NOT NULL,
    started_at_ms   REAL NOT NULL,
    ended_at_ms     REAL,
    outcome         TEXT,
    uploaded        INTEGER NOT NULL DEFAULT 0,
    downloaded      INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    renamed         INTEGER NOT NULL DEFAULT 0,
    skipped         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    failure_kind    TEXT,
    failure_message TEXT,
    failure_code    TEXT,
    CHECK ((ended_at_ms IS NULL) = (outcome IS NULL)),
    CHECK ((failure_kind IS NULL) = (failure_message IS NULL)
       AND (failure_kind IS NULL) = (failure_code IS NULL))
  ) STRICT;
  CREATE INDEX run_by_job ON run (job);
  CREATE INDEX run_by_binding ON run (binding_id);
  CREATE INDEX run_open ON run (job) WHERE ended_at_ms IS NULL;

  CREATE TABLE intent (
    binding_id INTEGER NOT NULL REFERENCES binding (id) ON DELETE CASCADE,
    path       TEXT NOT NULL CHECK (path <> ''),
    temporary  TEXT NOT NULL CHECK (temporary <> ''),
    size_bytes INTEGER NOT NULL,
    mtime_ms   REAL NOT NULL,
    ctime_ms   REAL NOT NULL,
    inode      REAL NOT NULL,
    run_id     INTEGER REFERENCES run (id) ON DELETE SET NULL,
    PRIMARY KEY (binding_id, path, temporary)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX intent_by_run ON intent (run_id);

  CREATE TABLE transfer (
    id          INTEGER PRIMARY KEY,
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    path        TEXT NOT NULL,
    result      TEXT NOT NULL CHECK (result IN ('delivered', 'skipped', 'failed')),
    bytes       INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    attempt     INTEGER NOT NULL,
    code        TEXT NOT NULL,
    text        TEXT NOT NULL,
    at_ms       REAL NOT NULL
  ) STRICT;
  CREATE INDEX transfer_by_run ON transfer (run_id);

  CREATE TABLE schedule (
    job              TEXT NOT NULL,
    key              TEXT NOT NULL,
    covered_until_ms REAL NOT NULL,
    PRIMARY KEY (job, key)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE server_profile (
    server TEXT NOT NULL PRIMARY KEY,
    json   TEXT NOT NULL CHECK (json_valid(json))
  ) STRICT, WITHOUT ROWID;
  `,
  // Deletions, and names that differ only in case or Unicode form. What `ferryd_fold` does is stored: another fold
  // wants a step of its own. Which way an old transfer went is told by the binding of its run.
  `
  ALTER TABLE baseline ADD COLUMN target TEXT CHECK (target <> '');
  ALTER TABLE baseline ADD COLUMN fold TEXT CHECK (fold <> path);
  UPDATE baseline SET fold = ferryd_fold(path) WHERE ferryd_fold(path) <> path;
  CREATE INDEX baseline_by_fold ON baseline (binding_id, fold) WHERE fold IS NOT NULL;

  CREATE TABLE transfer_2 (
    id          INTEGER PRIMARY KEY,
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    path        TEXT NOT NULL,
    result      TEXT NOT NULL
      CHECK (result IN ('uploaded', 'downloaded', 'deleted', 'set-aside', 'skipped', 'failed')),
    bytes       INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    attempt     INTEGER NOT NULL,
    code        TEXT NOT NULL,
    text        TEXT NOT NULL,
    at_ms       REAL NOT NULL
  ) STRICT;
  INSERT INTO transfer_2
    SELECT t.id, t.run_id, t.path,
      CASE WHEN t.result <> 'delivered' THEN t.result
        WHEN b.direction = 'pull' THEN 'downloaded' ELSE 'uploaded' END,
      t.bytes, t.duration_ms, t.attempt, t.code, t.text, t.at_ms
    FROM transfer t JOIN run r ON r.id = t.run_id LEFT JOIN binding b ON b.id = r.binding_id
    ORDER BY t.id;
  DROP TABLE transfer;
  ALTER TABLE transfer_2 RENAME TO transfer;
  CREATE INDEX transfer_by_run ON transfer (run_id);

  CREATE TABLE deletion (
    binding_id  INTEGER NOT NULL REFERENCES binding (id) ON DELETE CASCADE,
    stage       TEXT NOT NULL CHECK (stage IN ('planned', 'held', 'approved')),
    path        TEXT NOT NULL CHECK (path <> ''),
    side        TEXT NOT NULL CHECK (side IN ('local', 'remote')),
    at          TEXT NOT NULL CHECK (at <> ''),
    kind        TEXT NOT NULL CHECK (kind IN ('file', 'directory')),
    size_bytes  INTEGER NOT NULL,
    modified_ms REAL,
    sha256      BLOB CHECK (length(sha256) = 32),
    known       TEXT NOT NULL CHECK (known IN ('ours', 'extraneous')),
    PRIMARY KEY (binding_id, stage, path, side)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE hold (
    binding_id     INTEGER PRIMARY KEY REFERENCES binding (id) ON DELETE CASCADE,
    run_id         INTEGER REFERENCES run (id) ON DELETE SET NULL,
    code           TEXT NOT NULL,
    message        TEXT NOT NULL,
    at_ms          REAL NOT NULL,
    approved_at_ms REAL
  ) STRICT;
  CREATE INDEX hold_by_run ON hold (run_id);
  `,
  // When a binding was made, when a run first came to its end there, and when one last proved all of it; notices; and
  // the ledger's own care: what was done when, and the damaged ledgers in whose place this one stands.
  // What the runs that are still there do not tell stays NULL: such a binding is looked at like a new one.
  `
  ALTER TABLE binding ADD COLUMN made_at_ms REAL;
  ALTER TABLE binding ADD COLUMN settled_at_ms REAL;
  ALTER TABLE binding ADD COLUMN proven_at_ms REAL;
  UPDATE binding SET
    made_at_ms = (SELECT min(started_at_ms) FROM run WHERE run.binding_id = binding.id),
    settled_at_ms = (SELECT min(ended_at_ms) FROM run
      WHERE run.binding_id = binding.id AND outcome IN ('ok', 'partial')),
    proven_at_ms = (SELECT max(ended_at_ms) FROM run WHERE run.binding_id = binding.id AND outcome = 'ok');

  CREATE TABLE notice_state (
    job      TEXT NOT NULL,
    topic    TEXT NOT NULL CHECK (topic IN ('run', 'freshness', 'configuration')),
    state    TEXT NOT NULL,
    since_ms REAL NOT NULL,
    message  TEXT NOT NULL,
    PRIMARY KEY (job, topic)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE notice_outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    job      TEXT NOT NULL,
    channel  TEXT NOT NULL,
    body     TEXT NOT NULL CHECK (json_valid(body)),
    at_ms    REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_ms  REAL NOT NULL
  ) STRICT;

  -- Intents are few, and written twice for each file.
  DROP INDEX intent_by_run;

  CREATE TABLE care (
    task       TEXT NOT NULL PRIMARY KEY,
    done_at_ms REAL NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE damage (
    id       INTEGER PRIMARY KEY,
    at_ms    REAL NOT NULL,
    moved_to TEXT NOT NULL,
    finding  TEXT NOT NULL
  ) STRICT;
  `,
  // Symbolic links as entries of their own: where one leads, as its text. NULL for all that is none.
  `
  ALTER TABLE baseline ADD COLUMN leads_to TEXT CHECK (leads_to <> '');
  ALTER TABLE skip ADD COLUMN leads_to TEXT CHECK (leads_to <> '');
  ALTER TABLE intent ADD COLUMN leads_to TEXT CHECK (leads_to <> '');
  ALTER TABLE deletion ADD COLUMN leads_to TEXT CHECK (leads_to <> '');
  `,
  // How many places of the tree a run looked at; NULL where it was everything.
  `
  ALTER TABLE run ADD COLUMN places INTEGER;
  `,
];

/** The schema that this ferryd reads and writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings an open database up to the newest of `steps`. Safe against a second process that does the same: the
 * version is read again inside each transaction.
 *
 * @throws SqliteError where a step fails; the steps before it stay done
 */
export function migrate(database: Database.Database, steps: readonly string[] = MIGRATIONS): void {
  const next = database.transaction((): 'done' | 'more' => {
    const version = Number(database.pragma('user_version', { simple: true }));
    const step = steps[version];
    if (step === undefined) return 'done';
    database.exec(step);
    database.pragma(`application_id = ${APPLICATION_ID}`);
    database.pragma(`user_version = ${version + 1}`);
    return 'more';
  });
  const behind = () => Number(database.pragma('user_version', { simple: true })) < steps.length;
  if (behind()) database.function('ferryd_fold', (path) => foldOf(String(path)));
  while (behind()) {
    if (next.immediate() === 'done') return;
  }
}
