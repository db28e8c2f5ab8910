/*
 * Links in the ledger: their text goes in and comes back wherever something is remembered of one, counts in what a
 * person released, and a ledger that knew none yet is brought up to date with all it has.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { MIGRATIONS, migrate, SCHEMA_VERSION } from '../../src/ledger/migrations.js';
import { contentless, NO_CONTENT } from '../../src/plan/entry.js';
import { begin, deletion, delivered, sha256, skipped, temporaryDirectory } from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
let ledger: Ledger;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory.path, 'ledger.db');
});
afterEach(() => {
  ledger.close();
  directory.remove();
});

const ODD = '../with a\nline break/\u{1f600}/\u202e';
const link = (path: string, leadsTo: string) => contentless(path, { target: undefined, leadsTo });

describe('a link', () => {
  beforeEach(() => {
    ledger = openLedger(file);
  });
  const reopen = (): Ledger => {
    ledger.close();
    ledger = openLedger(file);
    return ledger;
  };

  it('is remembered with its text, and without once a file has taken its place', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'l', { baseline: link('l', ODD) }));
    ledger.record(delivered(at, 'f'));
    expect([...reopen().known(at.bindingId)].map(({ baseline }) => baseline)).toEqual([
      expect.objectContaining({ path: 'f', leadsTo: undefined }),
      link('l', ODD),
    ]);
    ledger.record(delivered(at, 'l'));
    ledger.record(delivered(at, 'f', { baseline: link('f', 'x') }));
    expect([...ledger.known(at.bindingId)].map(({ baseline }) => baseline?.leadsTo)).toEqual([
      'x',
      undefined,
    ]);
  });

  it('is in skips and in intents', () => {
    const at = begin(ledger);
    const remember = { local: NO_CONTENT, leadsTo: ODD, settings: 's' };
    ledger.record(skipped(at, 'l', { remember }));
    ledger.intend(at.bindingId, at.runId, [
      { path: 'l', temporary: 't', local: NO_CONTENT, leadsTo: ODD },
      { path: 'm', temporary: 't', local: NO_CONTENT },
    ]);
    reopen();
    expect(ledger.skips('nightly', 9)).toMatchObject([{ path: 'l', leadsTo: ODD }]);
    expect([...ledger.known(at.bindingId)]).toMatchObject([{ path: 'l', skip: { leadsTo: ODD } }]);
    expect([...ledger.openIntents(at.bindingId)].map(({ leadsTo }) => leadsTo)).toEqual([ODD, undefined]);
    ledger.record(skipped(at, 'l'));
    expect(ledger.skips('nightly', 9)[0]?.leadsTo).toBeUndefined();
  });

  it('that is to be deleted is released with the text that it has', () => {
    const at = begin(ledger);
    const doomed = deletion('l', { sizeBytes: 0, modifiedMs: undefined, sha256: undefined, leadsTo: 'x' });
    ledger.doom(at.bindingId, [doomed]);
    ledger.hold(at.bindingId, { runId: at.runId, code: 'deletions', message: 'Too many.', atMs: 5 });
    expect([...ledger.heldDeletions(at.bindingId)]).toEqual([doomed]);
    expect(ledger.heldPlan('nightly')).toMatchObject({ files: 1, directories: 0 });
    ledger.approve('nightly', 6);
    for (const [leadsTo, approved] of [
      ['x', 1],
      ['y', 0],
      [undefined, 0],
    ] as const) {
      ledger.beginPlan(at.bindingId);
      ledger.doom(at.bindingId, [{ ...doomed, leadsTo }]);
      expect(ledger.doomed(at.bindingId)).toMatchObject({ total: 1, approved });
      expect([...ledger.planned(at.bindingId)]).toEqual([{ ...doomed, leadsTo, approved: approved === 1 }]);
    }
  });

  it('is found above a path, at any height, also before it is committed', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'd/l', { baseline: link('d/l', 'x') }));
    ledger.record(delivered(at, 'f'));
    for (const open of [() => ledger, reopen]) {
      const above = (path: string) => open().linkAbove(at.bindingId, path);
      expect(['d/l/a', 'd/l/a/b', 'd/l/'].map(above)).toEqual(['d/l', 'd/l', 'd/l']);
      expect(['d/l', 'd/la', 'd/x', 'f/x', 'l/x'].map(above)).toEqual(Array(5).fill(undefined));
      expect(ledger.linkAbove(at.bindingId + 1, 'd/l/a')).toBeUndefined();
    }
    ledger.record(delivered(at, 'd/l'));
    expect(ledger.linkAbove(at.bindingId, 'd/l/a')).toBeUndefined();
  });

  it('that leads nowhere is none', () => {
    const at = begin(ledger);
    const empty = link('l', '');
    const remember = { local: NO_CONTENT, leadsTo: '', settings: 's' };
    expect(() => ledger.record(delivered(at, 'l', { baseline: empty }))).toThrow(RangeError);
    expect(() => ledger.record(skipped(at, 'l', { remember }))).toThrow(RangeError);
    expect(() => ledger.doom(at.bindingId, [deletion('l', { leadsTo: '' })])).toThrow(RangeError);
    const intent = { path: 'l', temporary: 't', local: NO_CONTENT, leadsTo: '' };
    expect(() => ledger.intend(at.bindingId, at.runId, [intent])).toThrow(RangeError);
  });
});

describe('a ledger of schema 3', () => {
  it('is brought up to date with all it has, none of which is a link', () => {
    const database = new Database(file);
    migrate(database, MIGRATIONS.slice(0, 3));
    database.exec(`
      INSERT INTO binding (id, job, direction, server, remote_root, local_root)
        VALUES (1, 'nightly', 'push', 'ftp://nas', 'dumps', '/var');
      INSERT INTO run (id, job, binding_id, "trigger", pid, started_at_ms) VALUES (7, 'nightly', 1, 'x', 1, 10);
      INSERT INTO intent VALUES (1, 'i', '.tmp', 1, 2.5, 3, 4, 7);
      INSERT INTO skip VALUES (1, 's', 1, 2.5, 3, 4, '553', 'No.', 's', 16);
      INSERT INTO deletion VALUES (1, 'planned', 'd', 'remote', 'd', 'file', 3, 4.5, NULL, 'ours');`);
    database
      .prepare("INSERT INTO baseline VALUES (1, 'b', 1, 2.5, 3, 4, ?, 5, NULL, NULL)")
      .run(Buffer.from(sha256('b'), 'hex'));
    database.close();
    ledger = openLedger(file);
    const local = { sizeBytes: 1, mtimeMs: 2.5, ctimeMs: 3, inode: 4 };
    expect([...ledger.known(1)]).toMatchObject([
      { path: 'b', baseline: { local, sha256: sha256('b'), remoteModifiedMs: 5, leadsTo: undefined } },
      { path: 's', skip: { local, code: '553', leadsTo: undefined } },
    ]);
    expect([...ledger.openIntents(1)]).toMatchObject([{ path: 'i', local, leadsTo: undefined, runId: 7 }]);
    expect([...ledger.planned(1)]).toMatchObject([{ path: 'd', sizeBytes: 3, leadsTo: undefined }]);
    const made = new Database(file, { readonly: true });
    expect(made.pragma('user_version', { simple: true })).toBe(SCHEMA_VERSION);
    expect(made.pragma('integrity_check', { simple: true })).toBe('ok');
    made.close();
  });
});
