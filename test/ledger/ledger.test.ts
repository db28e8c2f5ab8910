import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openDatabase } from '../../src/ledger/database.js';
import { COMMIT_LIMIT, Ledger, openLedger } from '../../src/ledger/ledger.js';
import { PAGE_ROWS, READING } from '../../src/ledger/reader.js';
import type { Change } from '../../src/ledger/record.js';
import { comparePaths } from '../../src/plan/entry.js';
import { foldOf } from '../../src/plan/names.js';
import { emptyTally } from '../../src/plan/outcome.js';
import {
  BINDING,
  baseline,
  begin,
  delivered,
  LOCAL,
  problemOf,
  sha256,
  skipped,
  temporaryDirectory,
} from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
let file: string;
let ledger: Ledger;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory.path, 'ledger.db');
  ledger = openLedger(file);
});
afterEach(() => {
  ledger.close();
  directory.remove();
});

/** Closes and opens again, so that only what reached the disk is seen. */
function reopen(): Ledger {
  ledger.close();
  ledger = openLedger(file);
  return ledger;
}

const paths = (bindingId: number) => [...ledger.known(bindingId)].map((known) => known.path);

describe('bindings', () => {
  it('are the same for the same five parts and another one for each part that differs', () => {
    const first = ledger.bind(BINDING);
    expect(ledger.bind({ ...BINDING })).toBe(first);
    const others = [
      { ...BINDING, job: 'weekly' },
      { ...BINDING, direction: 'pull' as const },
      { ...BINDING, server: 'ftp://backup@other.example.net:21' },
      { ...BINDING, remoteRoot: 'elsewhere' },
      { ...BINDING, localRoot: '/srv' },
    ].map((key) => ledger.bind(key));
    expect(new Set([first, ...others]).size).toBe(6);
    expect(reopen().bindingsOf('weekly')).toEqual([{ ...BINDING, job: 'weekly', id: others[0] }]);
    expect(ledger.bindingsOf('nightly')).toHaveLength(5);
    expect(ledger.bindingsOf('unheard-of')).toEqual([]);
  });

  it('keep their rows apart: a job pointed elsewhere starts afresh and the old rows stay', () => {
    const old = begin(ledger);
    ledger.record(delivered(old, 'a'));
    const fresh = begin(ledger, { ...BINDING, remoteRoot: 'new' });
    expect(paths(fresh.bindingId)).toEqual([]);
    expect(paths(old.bindingId)).toEqual(['a']);
    expect(ledger.countKnown(fresh.bindingId)).toBe(0);
    expect(ledger.countKnown(old.bindingId)).toBe(1);
  });
});

describe('known paths', () => {
  it('give every number back exactly, and join baseline and skip', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'both', { baseline: baseline('both', { remoteModifiedMs: 1.5 }) }));
    ledger.record(skipped(at, 'both'));
    ledger.record(skipped(at, 'skip only', { remember: { local: LOCAL, settings: 's' } }));
    ledger.record(delivered(at, 'baseline only'));
    const skip = {
      path: 'both',
      local: LOCAL,
      code: '553',
      text: 'Could not create file.',
      settings: 'settings-1',
      atMs: 1_700_000_002_000,
    };
    reopen();
    expect([...ledger.known(at.bindingId)]).toEqual([
      { path: 'baseline only', baseline: baseline('baseline only'), skip: undefined },
      { path: 'both', baseline: baseline('both', { remoteModifiedMs: 1.5 }), skip },
      { path: 'skip only', baseline: undefined, skip: { ...skip, path: 'skip only', settings: 's' } },
    ]);
    expect(ledger.countKnown(at.bindingId)).toBe(2);
  });

  it('come in the order of comparePaths, whatever the names', () => {
    const component = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }),
      fc
        .array(
          fc.constantFrom('a', 'b', '.', '-', '/', '\u007f', 'é', '\ud7ff', '\ue000', '\uffff', '😀', '𐀀'),
          {
            minLength: 1,
            maxLength: 6,
          },
        )
        .map((parts) => parts.join('')),
    );
    let round = 0;
    fc.assert(
      fc.property(fc.uniqueArray(component, { maxLength: 40 }), fc.array(fc.boolean()), (names, asSkip) => {
        round += 1;
        const at = begin(ledger, { ...BINDING, remoteRoot: `round-${round}` });
        names.forEach((name, i) => {
          ledger.record(asSkip[i] === true ? skipped(at, name) : delivered(at, name));
        });
        expect(paths(at.bindingId)).toEqual([...names].sort(comparePaths));
      }),
      { numRuns: 150 },
    );
  });

  it('continue behind the last page while others write and while we do', () => {
    const at = begin(ledger);
    const name = (i: number) => `file-${String(i).padStart(6, '0')}`;
    const total = PAGE_ROWS * 2 + 300;
    for (let i = 0; i < total; i += 1)
      ledger.record(i % 7 === 0 ? skipped(at, name(i)) : delivered(at, name(i)));
    const other = openLedger(file);
    const seen: string[] = [];
    for (const { path } of ledger.known(at.bindingId)) {
      seen.push(path);
      if (path === name(10)) {
        // Behind and within the page that is being read: not seen any more.
        other.record({ kind: 'forgotten', bindingId: at.bindingId, path: name(5) });
        other.record(delivered(at, `${name(3)}-late`));
        // Ahead: seen.
        other.record({ kind: 'forgotten', bindingId: at.bindingId, path: name(total - 1) });
        other.flush();
        ledger.record(delivered(at, `${name(total - 2)}-new`));
      }
    }
    other.close();
    const expected = Array.from({ length: total - 1 }, (_, i) => name(i));
    expect(seen).toEqual([...expected, `${name(total - 2)}-new`]);
  });

  it('page through exactly full pages and through none', () => {
    const at = begin(ledger);
    expect(paths(at.bindingId)).toEqual([]);
    for (let i = 0; i < PAGE_ROWS * 2; i += 1) ledger.record(delivered(at, `f${i}`));
    expect(new Set(paths(at.bindingId)).size).toBe(PAGE_ROWS * 2);
  });

  it.each([
    'baselines',
    'skipsBehind',
    'twin',
    'isKnown',
    'isKnownBelow',
    'newestElsewhere',
    'doomed',
    'planned',
    'lastPlanned',
    'held',
    'heldDeletions',
    'intents',
    'skips',
    'runs',
    'runsOfJob',
    'transfersOfRun',
    'transfersOfJob',
    'binding',
    'leadsTo',
    'proven',
  ] as const)('and all else that may be many are found through keys, without a sort: %s', (name) => {
    const database = new Database(file);
    const statement = database.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${READING[name]}`);
    const named = {
      bindingId: 1,
      after: '',
      path: '',
      side: '',
      fold: '',
      temporary: '',
      limit: 10,
      job: '',
    };
    const places = Array.from({ length: READING[name].split('?').length - 1 }, () => 1);
    const plan = statement.all(...(places.length > 0 ? places : [named])).map((row) => row.detail);
    expect(plan.length).toBeGreaterThan(0);
    // All runs, newest first, is a walk along the key.
    if (name === 'runs') expect(plan).toEqual(['SCAN run']);
    else expect(plan.join('\n')).not.toMatch(/SCAN (?!CONSTANT)/);
    expect(plan.join('\n')).not.toContain('TEMP B-TREE');
    database.close();
  });
});

describe('names', () => {
  const forgotten = (bindingId: number, path: string): Change => ({ kind: 'forgotten', bindingId, path });

  it('come back with where they stand on the other side, also when that changes', () => {
    const at = begin(ledger);
    const encoded = baseline('a:b', { target: 'a%3Ab' });
    ledger.record(delivered(at, 'a:b', { baseline: encoded }));
    ledger.record(delivered(at, 'c'));
    expect([...reopen().known(at.bindingId)].map((known) => known.baseline)).toEqual([
      encoded,
      baseline('c'),
    ]);
    ledger.record({
      kind: 'adopted',
      bindingId: at.bindingId,
      baseline: baseline('a:b'),
      temporary: undefined,
    });
    expect([...ledger.known(at.bindingId)][0]?.baseline).toEqual(baseline('a:b'));
    const nowhere = baseline('d', { target: '' });
    expect(() => ledger.record(delivered(at, 'd', { baseline: nowhere }))).toThrow(RangeError);
  });

  it.each([
    ['Report.PDF', 'report.pdf'],
    ['report.pdf', 'Report.PDF'],
    ['REPORT.pdf', 'report.PDF'],
    ['caf\u00e9', 'cafe\u0301'],
    ['cafe\u0301', 'CAF\u00c9'],
    ['Photos/a', 'photos/A'],
    ['A/', 'a/'],
  ])('have their twins: %s and %s', (known, asked) => {
    const at = begin(ledger);
    // The second time it is there already.
    for (const path of [known, 'unlike', known]) ledger.record(delivered(at, path));
    ledger.record(skipped(at, `${asked}x`));
    const elsewhere = begin(ledger, { ...BINDING, remoteRoot: 'elsewhere' });
    for (const open of [() => ledger, reopen]) {
      expect(open().twinOf(at.bindingId, asked)).toBe(known);
      expect(ledger.twinOf(at.bindingId, known)).toBeUndefined();
      expect(ledger.twinOf(at.bindingId, 'other')).toBeUndefined();
      expect(ledger.twinOf(elsewhere.bindingId, asked)).toBeUndefined();
    }
    ledger.record(forgotten(at.bindingId, known));
    expect(ledger.twinOf(at.bindingId, asked)).toBeUndefined();
  });

  it('stand in the way as a file above and as something below, and not as neighbours', () => {
    const at = begin(ledger);
    for (const path of ['file', 'a/b/c', 'empty/', 'x-y/z', 'x/', 'x/y']) ledger.record(delivered(at, path));
    for (const open of [() => ledger, reopen]) {
      const inTheWay = (path: string) => open().standsInTheWay(at.bindingId, path);
      const taken = ['file/a', 'file/a/b/c', 'a', 'a/b', 'empty', 'a/b/c/', 'x', 'x-y'];
      expect(taken.filter((path) => !inTheWay(path))).toEqual([]);
      const free = ['file', 'file2/a', 'fil', 'a/b/d', 'a/c', 'a/b/', 'empty/a', 'x/y', 'x-', 'b', 'A'];
      expect(free.filter(inTheWay)).toEqual([]);
      expect(ledger.standsInTheWay(at.bindingId + 1, 'a')).toBe(false);
    }
  });

  it('are asked for without a commit, unless what waits would alter the answer', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'done'));
    ledger.flush();
    const watcher = new Database(file, { readonly: true });
    const version = () => Number(watcher.pragma('data_version', { simple: true }));
    let last = version();
    const commits = (ask: () => unknown): boolean => {
      ask();
      const before = last;
      last = version();
      return last !== before;
    };
    const { bindingId } = at;
    ledger.record(delivered(at, 'dir/New'));
    expect(commits(() => ledger.twinOf(bindingId, 'dir/other'))).toBe(false);
    expect(commits(() => ledger.standsInTheWay(bindingId, 'dir/other'))).toBe(false);
    expect(commits(() => ledger.twinOf(bindingId + 1, 'dir/new'))).toBe(false);
    expect(commits(() => expect(ledger.twinOf(bindingId, 'dir/new')).toBe('dir/New'))).toBe(true);
    ledger.record(delivered(at, 'deep/new'));
    expect(commits(() => expect(ledger.standsInTheWay(bindingId, 'deep')).toBe(true))).toBe(true);
    ledger.record(forgotten(bindingId, 'done'));
    expect(commits(() => expect(ledger.standsInTheWay(bindingId, 'done/a')).toBe(false))).toBe(true);
    watcher.close();
  });

  it('answer as looking at each known path would', () => {
    const component = fc.constantFrom('a', 'A', 'b', 'a-', 'a0', '\u00e9', 'e\u0301', '\uffff', '😀');
    const path = fc
      .array(component, { minLength: 1, maxLength: 3 })
      .chain((parts) => fc.constantFrom(parts.join('/'), `${parts.join('/')}/`));
    let round = 0;
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 12 }), fc.array(path), (known, asked) => {
        round += 1;
        const at = begin(ledger, { ...BINDING, remoteRoot: `names-${round}` });
        for (const each of known) ledger.record(delivered(at, each));
        for (const each of asked) {
          const twins = known.filter((other) => other !== each && foldOf(other) === foldOf(each));
          const twin = ledger.twinOf(at.bindingId, each);
          if (twins.length === 0) expect(twin).toBeUndefined();
          else expect(twins).toContain(twin);
          const inTheWay = known.some(
            (other) => each.startsWith(`${other}/`) || other.startsWith(`${each}/`),
          );
          expect(ledger.standsInTheWay(at.bindingId, each)).toBe(inTheWay);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('what the job remembers elsewhere', () => {
  it('is that of the newest other target of the same source that has anything', () => {
    const of = (remoteRoot: string, files: number, other: Partial<typeof BINDING> = {}) => {
      const at = begin(ledger, { ...BINDING, remoteRoot, ...other });
      for (let i = 0; i < files; i += 1) ledger.record(delivered(at, `f${i}`));
      return at.bindingId;
    };
    of('2026-11-20', 5);
    of('2026-11-21', 3);
    of('2026-11-22', 0);
    of('of another job', 7, { job: 'weekly' });
    of('of another source', 7, { localRoot: '/srv' });
    of('of another server', 7, { server: 'ftp://other.example.net:21' });
    of('of another direction', 7, { direction: 'pull' });
    const today = of('2026-11-23', 0);
    expect(ledger.rememberedElsewhere(today)).toBe(3);
    expect(ledger.rememberedElsewhere(999)).toBe(0);
    expect(ledger.rememberedElsewhere(of('x', 9, { job: 'alone' }))).toBe(0);
  });

  it('is of the same remote source for a pull, whose target is here', () => {
    const pull = { ...BINDING, direction: 'pull' as const };
    const yesterday = begin(ledger, { ...pull, localRoot: '/in/22' });
    ledger.record(delivered(yesterday, 'a', { way: 'down' }));
    ledger.record(delivered(begin(ledger, { ...pull, remoteRoot: 'other', localRoot: '/in/23' }), 'b'));
    expect(ledger.rememberedElsewhere(ledger.bind({ ...pull, localRoot: '/in/23' }))).toBe(1);
  });
});

describe('intents', () => {
  const intent = (path: string, temporary = `.tmp-${path}`) => ({ path, temporary, local: LOCAL });

  it('are on the disk when intend returns', () => {
    const { bindingId, runId } = begin(ledger);
    ledger.intend(bindingId, runId, [intent('b'), intent('a')]);
    const other = openLedger(file, { access: 'read-only' });
    expect([...other.openIntents(bindingId)]).toEqual([
      { ...intent('a'), runId },
      { ...intent('b'), runId },
    ]);
    other.close();
  });

  it('keep each temporary name until that very name is gone', () => {
    const at = begin(ledger);
    ledger.intend(at.bindingId, at.runId, [intent('a', 't1'), intent('a', 't2'), intent('b', 't3')]);
    ledger.intend(at.bindingId, at.runId, [intent('a', 't2')]);
    ledger.record(delivered(at, 'a', { temporary: 't2' }));
    ledger.record(delivered(at, 'b', { temporary: undefined }));
    expect([...ledger.openIntents(at.bindingId)].map((i) => i.temporary)).toEqual(['t1', 't3']);
    ledger.record({ kind: 'intent-dropped', bindingId: at.bindingId, path: 'a', temporary: 't1' });
    expect([...ledger.openIntents(at.bindingId)].map((i) => i.temporary)).toEqual(['t3']);
  });

  it('keep their order with changes: a name that was cleared and is used again stays written down', () => {
    const at = begin(ledger);
    ledger.intend(at.bindingId, at.runId, [intent('a', 't')]);
    const { path, code, text } = { path: 'a', code: '426', text: 'Connection closed.' };
    ledger.record({
      kind: 'failed',
      ...at,
      attempt: 1,
      durationMs: 1,
      atMs: 1,
      path,
      code,
      text,
      temporary: 't',
    });
    ledger.intend(at.bindingId, at.runId, [intent('a', 't')]);
    ledger.flush();
    expect([...ledger.openIntents(at.bindingId)]).toHaveLength(1);
  });

  it('page, whatever shares a path', () => {
    const { bindingId, runId } = begin(ledger);
    const many = Array.from({ length: PAGE_ROWS + 5 }, (_, i) => intent(i < 10 ? 'x' : `p${i}`, `t${i}`));
    ledger.intend(bindingId, runId, many);
    expect(new Set([...ledger.openIntents(bindingId)].map((i) => i.temporary)).size).toBe(PAGE_ROWS + 5);
  });

  it('of nothing are nothing', () => {
    const { bindingId, runId } = begin(ledger);
    ledger.intend(bindingId, runId, []);
    expect([...ledger.openIntents(bindingId)]).toEqual([]);
  });
});

describe('changes', () => {
  it('delivered: sets the baseline, lifts the skip, drops the intent and enters the history', () => {
    const at = begin(ledger);
    ledger.record(skipped(at, 'a'));
    ledger.intend(at.bindingId, at.runId, [{ path: 'a', temporary: 't', local: LOCAL }]);
    ledger.record(delivered(at, 'a', { temporary: 't', bytes: 77, attempt: 2 }));
    reopen();
    expect([...ledger.known(at.bindingId)]).toEqual([
      { path: 'a', baseline: baseline('a'), skip: undefined },
    ]);
    expect([...ledger.openIntents(at.bindingId)]).toEqual([]);
    expect(ledger.transfers({ runId: at.runId }, 1)).toEqual([
      {
        runId: at.runId,
        path: 'a',
        result: 'uploaded',
        bytes: 77,
        attempt: 2,
        durationMs: 12.5,
        atMs: 1_700_000_001_000,
      },
    ]);
  });

  it('skipped: remembers only where asked to, and keeps the baseline', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'a'));
    ledger.record(skipped(at, 'a'));
    ledger.record(skipped(at, 'b', { remember: undefined, code: 'EACCES', text: 'Permission denied' }));
    const known = [...ledger.known(at.bindingId)];
    expect(known.map((k) => [k.path, k.baseline !== undefined, k.skip?.code])).toEqual([['a', true, '553']]);
    expect(ledger.transfers({ runId: at.runId }, 10).map((t) => [t.path, t.result])).toEqual([
      ['b', 'skipped'],
      ['a', 'skipped'],
      ['a', 'uploaded'],
    ]);
  });

  it('failed: enters the history and keeps the intent unless the name is gone', () => {
    const at = begin(ledger);
    ledger.intend(at.bindingId, at.runId, [
      { path: 'a', temporary: 't1', local: LOCAL },
      { path: 'b', temporary: 't2', local: LOCAL },
    ]);
    const failed = {
      kind: 'failed',
      ...at,
      attempt: 3,
      durationMs: 9,
      atMs: 5,
      code: '451',
      text: 'Oops',
    } as const;
    ledger.record({ ...failed, path: 'a', temporary: undefined });
    ledger.record({ ...failed, path: 'b', temporary: 't2' });
    expect([...ledger.openIntents(at.bindingId)].map((i) => i.path)).toEqual(['a']);
    expect(ledger.transfers({ runId: at.runId }, 1)).toEqual([
      {
        runId: at.runId,
        path: 'b',
        result: 'failed',
        attempt: 3,
        durationMs: 9,
        atMs: 5,
        code: '451',
        text: 'Oops',
      },
    ]);
    expect(paths(at.bindingId)).toEqual([]);
  });

  it('adopted, refreshed, forgotten: leave no trace in the history', () => {
    const at = begin(ledger);
    const { bindingId } = at;
    const moved = { ...LOCAL, inode: 7, mtimeMs: 1.25 };
    ledger.intend(bindingId, at.runId, [{ path: 'a', temporary: 't', local: LOCAL }]);
    ledger.record({ kind: 'adopted', bindingId, baseline: baseline('a'), temporary: 't' });
    ledger.record({ kind: 'refreshed', bindingId, path: 'a', local: moved });
    ledger.record({ kind: 'refreshed', bindingId, path: 'never heard of', local: moved });
    ledger.record({ kind: 'adopted', bindingId, baseline: baseline('gone'), temporary: undefined });
    ledger.record({ kind: 'forgotten', bindingId, path: 'gone' });
    expect([...ledger.known(bindingId)]).toEqual([
      { path: 'a', baseline: baseline('a', { local: moved }), skip: undefined },
    ]);
    expect([...ledger.openIntents(bindingId)]).toEqual([]);
    expect(ledger.transfers({ runId: at.runId }, 10)).toEqual([]);

    ledger.record(skipped(at, 'gone'));
    ledger.record({ kind: 'forgotten', bindingId, path: 'gone' });
    expect(ledger.countSkips('nightly')).toBe(0);
    expect(ledger.countKnown(bindingId)).toBe(1);
  });

  it('that are malformed are refused at the door and spoil nothing', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'good'));
    const bad: Change[] = [
      delivered(at, ''),
      delivered(at, 'a', { baseline: baseline('a', { sha256: 'ABC' }) }),
      delivered(at, 'a', { baseline: baseline('a', { local: { ...LOCAL, mtimeMs: Number.NaN } }) }),
      delivered(at, 'a', { bytes: 1.5 }),
      skipped(at, 'a', { durationMs: Number.NaN }),
      {
        ...at,
        kind: 'failed',
        path: 'a',
        code: '',
        text: '',
        attempt: 1,
        durationMs: 1,
        atMs: Number.NaN,
        temporary: undefined,
      },
      skipped(at, 'a', { remember: { local: { ...LOCAL, sizeBytes: -1 }, settings: '' } }),
      { kind: 'refreshed', bindingId: at.bindingId, path: 'a', local: { ...LOCAL, inode: Number.NaN } },
    ];
    for (const change of bad) expect(() => ledger.record(change)).toThrow(RangeError);
    const noName = { path: 'a', temporary: '', local: LOCAL };
    expect(() => ledger.intend(at.bindingId, at.runId, [noName])).toThrow(RangeError);
    expect(paths(at.bindingId)).toEqual(['good']);
  });

  it('share commits: one for each COMMIT_LIMIT, and one for the rest', () => {
    const at = begin(ledger);
    const watcher = new Database(file, { readonly: true });
    const version = () => Number(watcher.pragma('data_version', { simple: true }));
    const commitsAfter: number[] = [];
    let last = version();
    for (let i = 1; i <= COMMIT_LIMIT * 2 + 30; i += 1) {
      ledger.record(delivered(at, `f${i}`));
      if (version() !== last) commitsAfter.push(i);
      last = version();
    }
    expect(commitsAfter).toEqual([COMMIT_LIMIT, COMMIT_LIMIT * 2]);
    ledger.flush();
    expect(version()).not.toBe(last);
    watcher.close();
  });

  it('are committed by the timer when nobody asks', async () => {
    const at = begin(ledger);
    const other = openLedger(file, { access: 'read-only' });
    ledger.record(delivered(at, 'a'));
    expect(other.countKnown(at.bindingId)).toBe(0);
    await vi.waitFor(() => expect(other.countKnown(at.bindingId)).toBe(1), { timeout: 5_000, interval: 10 });
    other.close();
  });
});

describe('skips', () => {
  it('are told with the words of the server, for the binding that the job has now', () => {
    const old = begin(ledger, { ...BINDING, remoteRoot: 'old' });
    ledger.record(skipped(old, 'old'));
    const now = begin(ledger);
    for (const path of ['c', 'a', 'b']) ledger.record(skipped(now, path, { text: `no ${path}` }));
    expect(ledger.skips('nightly', 2).map((s) => [s.path, s.text])).toEqual([
      ['a', 'no a'],
      ['b', 'no b'],
    ]);
    expect(ledger.countSkips('nightly')).toBe(3);
    expect(ledger.countSkips('weekly')).toBe(0);
  });

  it('are lifted together, of one binding', () => {
    const one = begin(ledger);
    const two = begin(ledger, { ...BINDING, job: 'weekly' });
    for (const path of ['a', 'b']) ledger.record(skipped(one, path));
    ledger.record(skipped(two, 'a'));
    expect(ledger.liftSkips(one.bindingId)).toBe(2);
    expect(ledger.liftSkips(one.bindingId)).toBe(0);
    expect([ledger.countSkips('nightly'), ledger.countSkips('weekly')]).toEqual([0, 1]);
  });
});

describe('runs', () => {
  const start = {
    job: 'nightly',
    bindingId: undefined,
    trigger: 'cron 30 2 * * *',
    pid: 99,
    startedAtMs: 1000.5,
  };

  it('are told while they run and when they have ended', () => {
    const id = ledger.startRun(start);
    expect(ledger.lastRuns('nightly', 5)).toEqual([{ id, ...start, state: 'running' }]);
    const tally = {
      uploaded: 1,
      downloaded: 2,
      deleted: 3,
      renamed: 4,
      skipped: 5,
      unchanged: 6,
      bytes: 2 ** 45,
    };
    const failure = { kind: 'unreachable', message: 'No answer.', code: 'ETIMEDOUT' } as const;
    ledger.endRun(id, { outcome: 'failed', tally, failure, endedAtMs: 2000 });
    expect(reopen().lastRuns(undefined, 5)).toEqual([
      { id, ...start, state: 'ended', outcome: 'failed', tally, failure, endedAtMs: 2000 },
    ]);
  });

  it('are ended once', () => {
    const id = ledger.startRun(start);
    const end = { outcome: 'ok', tally: emptyTally(), failure: undefined, endedAtMs: 2000 } as const;
    ledger.endRun(id, end);
    expect(() => ledger.endRun(id, { ...end, outcome: 'failed' })).toThrow('is not open');
    expect(ledger.lastRuns('nightly', 1)).toMatchObject([{ outcome: 'ok', failure: undefined }]);
  });

  it('are listed newest first, by job, and one for each job', () => {
    const ids = ['a', 'b', 'a', 'c', 'b'].map((job) => ledger.startRun({ ...start, job }));
    expect(ledger.lastRuns(undefined, 3).map((r) => r.id)).toEqual(ids.slice(2).reverse());
    expect(ledger.lastRuns('a', 9).map((r) => r.id)).toEqual([ids[2], ids[0]]);
    expect(ledger.lastRunPerJob().map((r) => [r.job, r.id])).toEqual([
      ['a', ids[2]],
      ['b', ids[4]],
      ['c', ids[3]],
    ]);
  });

  it('end after what was recorded in them', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'a'));
    ledger.endRun(at.runId, { outcome: 'ok', tally: emptyTally(), failure: undefined, endedAtMs: 1 });
    const other = openLedger(file, { access: 'read-only' });
    expect(other.countKnown(at.bindingId)).toBe(1);
    other.close();
  });

  it('that a killed process left open are closed as interrupted, with what they did', () => {
    const push = begin(ledger);
    for (const path of ['a', 'b']) ledger.record(delivered(push, path, { bytes: 100 }));
    ledger.record(skipped(push, 'c'));
    ledger.record(skipped(push, 'c'));
    const pull = begin(ledger, { ...BINDING, direction: 'pull' });
    ledger.record(delivered(pull, 'x', { way: 'down', bytes: 5 }));
    const foreign = begin(ledger, { ...BINDING, job: 'weekly' });

    const closed = ledger.closeAbandonedRuns('nightly', 9_000);
    expect(closed).toEqual([...ledger.lastRuns('nightly', 5)].reverse());
    expect(closed).toMatchObject([
      {
        id: push.runId,
        state: 'ended',
        outcome: 'interrupted',
        endedAtMs: 9_000,
        tally: { ...emptyTally(), uploaded: 2, skipped: 1, bytes: 200 },
        failure: { kind: 'failed', code: 'process-ended' },
      },
      { id: pull.runId, tally: { ...emptyTally(), downloaded: 1, bytes: 5 } },
    ]);
    expect(closed[0]).toHaveProperty(
      'failure.message',
      `Process 4711 ended in the middle of run ${push.runId} of job nightly: it was killed or the machine went ` +
        'down. The next run finishes or cleans up what was under way.',
    );
    expect(ledger.closeAbandonedRuns('nightly', 9_001)).toEqual([]);
    expect(ledger.lastRuns('weekly', 1)).toMatchObject([{ id: foreign.runId, state: 'running' }]);
  });

  it('have the transfers of a job newest first over all its runs', () => {
    const first = begin(ledger);
    ledger.record(delivered(first, 'a'));
    ledger.record(delivered(first, 'b'));
    const second = begin(ledger);
    ledger.record(delivered(second, 'c'));
    ledger.record(delivered(begin(ledger, { ...BINDING, job: 'weekly' }), 'd'));
    expect(ledger.transfers({ job: 'nightly' }, 2).map((t) => t.path)).toEqual(['c', 'b']);
    expect(ledger.transfers({ runId: first.runId }, 9).map((t) => t.path)).toEqual(['b', 'a']);
  });
});

describe('schedules and servers', () => {
  it('remember how far a schedule is covered', () => {
    expect(ledger.coveredUntil('nightly', 'cron 1')).toBeUndefined();
    ledger.setCoveredUntil('nightly', 'cron 1', 5);
    ledger.setCoveredUntil('nightly', 'cron 1', 7);
    ledger.setCoveredUntil('nightly', 'cron 2', 1);
    expect(reopen().coveredUntil('nightly', 'cron 1')).toBe(7);
    expect(ledger.coveredUntil('weekly', 'cron 1')).toBeUndefined();
  });

  it('remember what was learned about a server', () => {
    expect(ledger.profile('nas')).toBeUndefined();
    ledger.saveProfile('nas', '{"mlsd":true}');
    ledger.saveProfile('nas', '{"mlsd":false}');
    expect(reopen().profile('nas')).toBe('{"mlsd":false}');
    expect(() => ledger.saveProfile('nas', 'not JSON')).toThrow('CHECK');
  });
});

describe('trouble', () => {
  /** A ledger whose disk has room for a few more pages, as a full disk would have. */
  function nearlyFull() {
    ledger.close();
    const database = openDatabase(file, 'read-write');
    const heard: unknown[] = [];
    ledger = new Ledger(database, { onFailure: (error) => heard.push(error) });
    const at = begin(ledger);
    const pages = Number(database.pragma('page_count', { simple: true }));
    database.pragma(`max_page_count = ${pages + 10}`);
    const freeSpace = () => database.pragma('max_page_count = 1000000');
    return { at, heard, freeSpace };
  }

  it('a full disk is told at the next change, and what was accepted is committed once there is room', () => {
    const { at, heard, freeSpace } = nearlyFull();
    let accepted = 0;
    const error = problemOf(() => {
      for (; accepted < 100_000; accepted += 1) ledger.record(delivered(at, `file-${accepted}`));
    });
    expect(error.kind).toBe('disk');
    expect(error.code).toBe('SQLITE_FULL');
    expect(error.message).toContain(`The disk under the ledger ${file} is full`);
    expect(heard).toEqual([error]);
    expect(problemOf(() => ledger.flush()).kind).toBe('disk');
    const intent = { path: 'a', temporary: 't', local: LOCAL };
    expect(problemOf(() => ledger.intend(at.bindingId, at.runId, [intent])).kind).toBe('disk');

    freeSpace();
    ledger.flush();
    ledger.record(delivered(at, 'after'));
    reopen();
    expect(ledger.countKnown(at.bindingId)).toBe(accepted + 1);
    expect(ledger.transfers({ runId: at.runId }, 100_000)).toHaveLength(accepted + 1);
    expect([...ledger.openIntents(at.bindingId)]).toEqual([]);
  });

  it('a full disk fails intend as a whole', () => {
    const { at, freeSpace } = nearlyFull();
    const many = Array.from({ length: 2_000 }, (_, i) => ({
      path: `p${i}`,
      temporary: `t${i}`,
      local: LOCAL,
    }));
    expect(problemOf(() => ledger.intend(at.bindingId, at.runId, many)).kind).toBe('disk');
    const other = openLedger(file, { access: 'read-only' });
    expect([...other.openIntents(at.bindingId)]).toEqual([]);
    other.close();
    freeSpace();
  });

  it('close says what it could not write, and closes all the same', () => {
    const { at } = nearlyFull();
    const long = 'x'.repeat(3_000);
    for (let i = 0; i < 100; i += 1) ledger.record(delivered(at, `${long}${i}`));
    const error = problemOf(() => ledger.close());
    expect(error.kind).toBe('disk');
    expect(error.message).toContain('the last 100 results');
    ledger.close();
    expect(reopen().countKnown(at.bindingId)).toBe(0);
  });

  it('a ledger that another process keeps locked is busy, and works again afterwards', () => {
    ledger.close();
    const database = openDatabase(file, 'read-write');
    database.pragma('busy_timeout = 5');
    ledger = new Ledger(database);
    const at = begin(ledger);
    const other = new Database(file);
    other.exec('BEGIN IMMEDIATE');
    ledger.record(delivered(at, 'a'));
    const error = problemOf(() => ledger.flush());
    expect(error.kind).toBe('busy');
    expect(error.message).toContain(file);
    expect(problemOf(() => ledger.setCoveredUntil('j', 'k', 1)).kind).toBe('busy');
    other.exec('COMMIT');
    other.close();
    ledger.flush();
    expect(paths(at.bindingId)).toEqual(['a']);
  });

  it('stored hashes are those that were given', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'a', { baseline: baseline('a', { sha256: sha256('other') }) }));
    expect([...reopen().known(at.bindingId)][0]?.baseline?.sha256).toBe(sha256('other'));
  });
});
