/*
 * Plans of deletions, held and released: each step alone, then any order of steps against a simple model.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/ledger/database.js';
import type { PlannedDeletion } from '../../src/ledger/deletion.js';
import { COMMIT_LIMIT, Ledger, openLedger } from '../../src/ledger/ledger.js';
import { PAGE_ROWS } from '../../src/ledger/reader.js';
import type { Change } from '../../src/ledger/record.js';
import { comparePaths } from '../../src/plan/entry.js';
import {
  BINDING,
  begin,
  deletion,
  delivered,
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

function reopen(): Ledger {
  ledger.close();
  ledger = openLedger(file);
  return ledger;
}

const holdOf = (runId: number, atMs = 5) => ({ runId, code: 'deletions', message: 'Too many.', atMs });
const held = (bindingId: number) => [...ledger.heldDeletions(bindingId)];
const planned = (bindingId: number) => [...ledger.planned(bindingId)];
const deleted = (
  at: { bindingId: number; runId: number },
  path: string,
  side: 'local' | 'remote',
): Change => ({
  kind: 'deleted',
  ...at,
  attempt: 1,
  durationMs: 1,
  atMs: 2,
  path,
  bytes: 0,
  side,
  text: 'to the trash',
});

describe('a plan', () => {
  it('gives back every deletion exactly, what lies in a directory before the directory', () => {
    const { bindingId } = begin(ledger);
    const all: PlannedDeletion[] = [
      deletion('a/', { kind: 'directory', sizeBytes: 0, modifiedMs: undefined, sha256: undefined }),
      deletion('a/b', { side: 'local', at: 'A/%62', modifiedMs: 1.5 }),
      deletion('a/b', { side: 'remote', known: 'extraneous', sizeBytes: 2 ** 52 }),
      deletion('a/b/c'),
    ];
    ledger.beginPlan(bindingId);
    ledger.doom(bindingId, all.slice(2));
    ledger.doom(bindingId, all.slice(0, 2));
    ledger.doom(bindingId, []);
    ledger.flush();
    reopen();
    expect(planned(bindingId)).toEqual(all.toReversed().map((one) => ({ ...one, approved: false })));
    expect(ledger.doomed(bindingId)).toEqual({
      total: 4,
      approved: 0,
      directories: 1,
      approvedDirectories: 0,
      foreign: 1,
    });
    expect(ledger.doomed(bindingId + 1)).toEqual({
      total: 0,
      approved: 0,
      directories: 0,
      approvedDirectories: 0,
      foreign: 0,
    });
    expect(planned(bindingId + 1)).toEqual([]);
  });

  it('takes the later word on the same path and side', () => {
    const { bindingId } = begin(ledger);
    ledger.doom(bindingId, [deletion('a', { sizeBytes: 1 }), deletion('b')]);
    ledger.doom(bindingId, [deletion('a', { sizeBytes: 2, at: 'elsewhere' })]);
    expect(planned(bindingId)).toMatchObject([{ path: 'b' }, { path: 'a', sizeBytes: 2, at: 'elsewhere' }]);
  });

  it('is durable with the next flush, and a large batch at once', () => {
    const { bindingId } = begin(ledger);
    const other = openLedger(file, { access: 'read-only' });
    ledger.doom(bindingId, [deletion('a')]);
    expect(other.doomed(bindingId).total).toBe(0);
    ledger.flush();
    expect(other.doomed(bindingId).total).toBe(1);
    ledger.doom(
      bindingId,
      Array.from({ length: COMMIT_LIMIT }, (_, i) => deletion(`f${i}`)),
    );
    expect(other.doomed(bindingId).total).toBe(COMMIT_LIMIT + 1);
    other.close();
  });

  it('begins without what an earlier run left unfinished, and leaves what is held', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('held')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.doom(at.bindingId, [deletion('left over')]);
    ledger.beginPlan(at.bindingId);
    expect(ledger.doomed(at.bindingId).total).toBe(0);
    expect(held(at.bindingId)).toEqual([deletion('held')]);
  });

  it('pages backwards while its rows are dropped, by us and by others', () => {
    const at = begin(ledger);
    const name = (i: number) => `file-${String(i).padStart(6, '0')}`;
    const total = PAGE_ROWS * 2 + 300;
    for (let i = 0; i < total; i += 100) {
      const batch = Array.from({ length: 100 }, (_, k) => deletion(name(i + k)));
      ledger.doom(at.bindingId, batch);
    }
    const other = openLedger(file);
    const seen: string[] = [];
    for (const { path, side } of ledger.planned(at.bindingId)) {
      seen.push(path);
      ledger.record(deleted(at, path, side));
      if (path === name(total - 5)) {
        // Ahead, on a later page: not seen.
        other.record({ kind: 'forgotten', bindingId: at.bindingId, path: name(3) });
        other.flush();
      }
    }
    other.close();
    const expected = Array.from({ length: total }, (_, i) => name(i)).filter((path) => path !== name(3));
    expect(seen).toEqual(expected.toReversed());
    expect(ledger.doomed(at.bindingId).total).toBe(0);
  });

  it('pages through full pages where a path stands on both sides', () => {
    const { bindingId } = begin(ledger);
    for (let i = 0; i < PAGE_ROWS; i += 1) {
      ledger.doom(bindingId, [deletion(`f${i}`, { side: 'local' }), deletion(`f${i}`, { side: 'remote' })]);
    }
    // One more, so that a page ends between the two sides of a path.
    ledger.doom(bindingId, [deletion('z')]);
    const keys = planned(bindingId).map(({ path, side }) => `${path} ${side}`);
    expect(new Set(keys).size).toBe(PAGE_ROWS * 2 + 1);
    expect(keys).toHaveLength(PAGE_ROWS * 2 + 1);
  });

  it('that is malformed is refused at the door and spoils nothing', () => {
    const { bindingId } = begin(ledger);
    const bad: Partial<PlannedDeletion>[] = [
      { path: '' },
      { at: '' },
      { sizeBytes: -1 },
      { sizeBytes: 0.5 },
      { modifiedMs: Number.NaN },
      { sha256: 'ABC' },
    ];
    for (const part of bad) {
      expect(() => ledger.doom(bindingId, [deletion('good'), deletion('a', part)])).toThrow(RangeError);
    }
    expect(ledger.doomed(bindingId).total).toBe(0);
  });

  it('of a run that deletes nothing writes nothing, and waits for nobody who does', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'a'));
    ledger.flush();
    const watcher = new Database(file);
    const version = () => Number(watcher.pragma('data_version', { simple: true }));
    const before = version();
    watcher.exec('BEGIN IMMEDIATE');
    ledger.beginPlan(at.bindingId);
    ledger.doom(at.bindingId, []);
    expect(ledger.doomed(at.bindingId).total).toBe(0);
    expect(planned(at.bindingId)).toEqual([]);
    ledger.endPlan(at.bindingId);
    watcher.exec('ROLLBACK');
    expect(version()).toBe(before);
    watcher.close();
  });
});

describe('a held plan', () => {
  it('is what was planned, with the reason, of the binding that the job has now', () => {
    const at = begin(ledger);
    expect(ledger.heldPlan('nightly')).toBeUndefined();
    ledger.doom(at.bindingId, [deletion('b'), deletion('a'), deletion('d/', { kind: 'directory' })]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    reopen();
    const plan = {
      bindingId: at.bindingId,
      runId: at.runId,
      code: 'deletions',
      message: 'Too many.',
      atMs: 5,
      approvedAtMs: undefined,
      files: 2,
      directories: 1,
    };
    expect(ledger.heldPlan('nightly')).toEqual(plan);
    expect(held(at.bindingId).map(({ path }) => path)).toEqual(['a', 'b', 'd/']);
    expect(ledger.doomed(at.bindingId).total).toBe(0);
    const reader = openLedger(file, { access: 'read-only' });
    expect(reader.heldPlan('nightly')).toEqual(plan);
    expect([...reader.heldDeletions(at.bindingId)]).toEqual(held(at.bindingId));
    reader.close();

    expect(ledger.heldPlan('weekly')).toBeUndefined();
    begin(ledger, { ...BINDING, remoteRoot: 'new' });
    expect(ledger.heldPlan('nightly')).toBeUndefined();
  });

  it('is replaced by the next one', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a'), deletion('b')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    const next = begin(ledger);
    ledger.beginPlan(at.bindingId);
    ledger.doom(at.bindingId, [deletion('b'), deletion('c')]);
    ledger.hold(at.bindingId, { ...holdOf(next.runId, 9), message: 'Again.' });
    expect(held(at.bindingId).map(({ path }) => path)).toEqual(['b', 'c']);
    expect(ledger.heldPlan('nightly')).toMatchObject({ runId: next.runId, message: 'Again.', atMs: 9 });
  });

  it('keeps its reason when its run has left the ledger', () => {
    const at = begin(ledger);
    ledger.hold(at.bindingId, holdOf(at.runId));
    const later = begin(ledger);
    ledger.close();
    const database = openDatabase(file, 'read-write');
    database.prepare('DELETE FROM run WHERE id = ?').run(at.runId);
    database.close();
    ledger = openLedger(file);
    expect(later.bindingId).toBe(at.bindingId);
    expect(ledger.heldPlan('nightly')).toMatchObject({ runId: undefined, message: 'Too many.' });
  });

  it('pages', () => {
    const at = begin(ledger);
    const total = PAGE_ROWS + 7;
    const batch = Array.from({ length: total }, (_, i) =>
      deletion(`f${i >> 1}`, { side: i % 2 === 0 ? 'local' : 'remote' }),
    );
    ledger.doom(at.bindingId, batch);
    ledger.hold(at.bindingId, holdOf(at.runId));
    expect(new Set(held(at.bindingId).map(({ path, side }) => `${path} ${side}`)).size).toBe(total);
    expect(held(at.bindingId)).toHaveLength(total);
  });

  it('loses what went away by itself or was deleted meanwhile', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [
      deletion('a'),
      deletion('b'),
      deletion('c', { side: 'local' }),
      deletion('c'),
    ]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.record({ kind: 'forgotten', bindingId: at.bindingId, path: 'a' });
    ledger.record(deleted(at, 'c', 'local'));
    expect(held(at.bindingId)).toEqual([deletion('b'), deletion('c')]);
    expect(ledger.heldPlan('nightly')?.files).toBe(2);
  });

  it('ends with a run that is not held', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    const other = begin(ledger, { ...BINDING, job: 'weekly' });
    ledger.hold(other.bindingId, holdOf(other.runId));
    ledger.doom(at.bindingId, [deletion('b')]);
    ledger.endPlan(at.bindingId);
    expect(ledger.heldPlan('nightly')).toBeUndefined();
    expect(held(at.bindingId)).toEqual([]);
    expect(ledger.doomed(at.bindingId).total).toBe(0);
    expect(ledger.heldPlan('weekly')).toBeDefined();
  });
});

describe('a release', () => {
  it('is of exactly the plan that is held, and stays the first one', () => {
    const at = begin(ledger);
    const all = [deletion('a'), deletion('b')];
    ledger.doom(at.bindingId, all);
    ledger.hold(at.bindingId, holdOf(at.runId));
    const plan = ledger.heldPlan('nightly');
    expect(ledger.approve('nightly', 100)).toEqual({
      kind: 'approved',
      plan: { ...plan, approvedAtMs: 100 },
    });
    expect(ledger.approve('nightly', 200)).toMatchObject({ kind: 'approved', plan: { approvedAtMs: 100 } });
    reopen();
    expect(ledger.heldPlan('nightly')).toEqual({ ...plan, approvedAtMs: 100 });
    expect(held(at.bindingId)).toEqual(all);
  });

  it('has nothing to release where nothing is held, or something else than deletions', () => {
    expect(ledger.approve('nightly', 1)).toEqual({ kind: 'nothing-held' });
    const at = begin(ledger);
    expect(ledger.approve('nightly', 1)).toEqual({ kind: 'nothing-held' });
    ledger.hold(at.bindingId, { ...holdOf(at.runId), code: 'source-empty' });
    expect(ledger.approve('nightly', 1)).toEqual({
      kind: 'nothing-to-approve',
      plan: { bindingId: at.bindingId, ...holdOf(at.runId), code: 'source-empty', files: 0, directories: 0 },
    });
    expect(ledger.heldPlan('nightly')?.approvedAtMs).toBeUndefined();
  });

  it.each<[string, Partial<PlannedDeletion>]>([
    ['another size', { sizeBytes: 4 }],
    ['another time', { modifiedMs: 2 }],
    ['no time', { modifiedMs: undefined }],
    ['another place', { at: 'elsewhere' }],
    ['another kind', { kind: 'directory' }],
    ['another side', { side: 'local' }],
    ['another path', { path: 'b' }],
  ])('does not cover what has %s', (_, other) => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.approve('nightly', 1);
    ledger.doom(at.bindingId, [deletion('a', { at: 'a', ...other })]);
    expect(planned(at.bindingId)).toMatchObject([{ approved: false }]);
    ledger.doom(at.bindingId, [deletion('a')]);
    expect(planned(at.bindingId)).toContainEqual({ ...deletion('a'), approved: true });
  });

  it('covers what has no time, as long as it has none', () => {
    const at = begin(ledger);
    const timeless = deletion('a', { modifiedMs: undefined });
    ledger.doom(at.bindingId, [timeless]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.approve('nightly', 1);
    ledger.doom(at.bindingId, [timeless, deletion('d/', { kind: 'directory' })]);
    expect(planned(at.bindingId)).toEqual([
      { ...deletion('d/', { kind: 'directory' }), approved: false },
      { ...timeless, approved: true },
    ]);
    expect(ledger.doomed(at.bindingId)).toEqual({
      total: 2,
      approved: 1,
      directories: 1,
      approvedDirectories: 0,
      foreign: 0,
    });
  });

  it('stays where a run is held again over more, and is void where it is not planned any more', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a'), deletion('came back')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.approve('nightly', 1);

    const second = begin(ledger);
    ledger.beginPlan(at.bindingId);
    ledger.doom(at.bindingId, [deletion('a'), deletion('b')]);
    ledger.hold(at.bindingId, holdOf(second.runId, 9));
    expect(ledger.heldPlan('nightly')).toMatchObject({ approvedAtMs: undefined, files: 1 });
    expect(held(at.bindingId)).toEqual([deletion('b')]);
    expect(planned(at.bindingId)).toEqual([{ ...deletion('a'), approved: true }]);

    ledger.beginPlan(at.bindingId);
    ledger.doom(at.bindingId, [deletion('a'), deletion('b'), deletion('came back')]);
    expect(planned(at.bindingId).map(({ path, approved }) => [path, approved])).toEqual([
      ['came back', false],
      ['b', false],
      ['a', true],
    ]);
    ledger.approve('nightly', 2);
    expect(ledger.doomed(at.bindingId).approved).toBe(2);
    expect(ledger.heldPlan('nightly')).toMatchObject({ approvedAtMs: 2, files: 2 });
  });

  it('that comes between the look of the guard and the hold is not lost', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    const second = begin(ledger);
    ledger.beginPlan(at.bindingId);
    ledger.doom(at.bindingId, [deletion('a')]);
    expect(ledger.doomed(at.bindingId).approved).toBe(0);
    const person = openLedger(file);
    expect(person.approve('nightly', 7).kind).toBe('approved');
    person.close();
    ledger.hold(at.bindingId, holdOf(second.runId, 9));
    expect(ledger.heldPlan('nightly')).toMatchObject({ runId: second.runId, approvedAtMs: 7, files: 1 });
    expect(ledger.approve('nightly', 8)).toMatchObject({ kind: 'approved', plan: { approvedAtMs: 7 } });
  });

  it('is void where a run is held for a reason that has nothing to do with it', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('a')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.approve('nightly', 1);
    ledger.beginPlan(at.bindingId);
    ledger.hold(at.bindingId, { ...holdOf(at.runId), code: 'marker-missing' });
    expect(ledger.heldPlan('nightly')).toMatchObject({
      code: 'marker-missing',
      approvedAtMs: undefined,
      files: 0,
    });
    ledger.doom(at.bindingId, [deletion('a')]);
    expect(ledger.doomed(at.bindingId).approved).toBe(0);
  });
});

describe('a deletion that was carried out', () => {
  it('drops baseline, skip and plan of that side, and enters the history', () => {
    const at = begin(ledger);
    ledger.record(delivered(at, 'a'));
    ledger.record(skipped(at, 'a'));
    ledger.record(delivered(at, 'b'));
    ledger.doom(at.bindingId, [deletion('a'), deletion('a', { side: 'local' }), deletion('b')]);
    ledger.record(deleted(at, 'a', 'remote'));
    reopen();
    expect([...ledger.known(at.bindingId)].map(({ path }) => path)).toEqual(['b']);
    expect(planned(at.bindingId).map(({ path, side }) => [path, side])).toEqual([
      ['b', 'remote'],
      ['a', 'local'],
    ]);
    expect(ledger.transfers({ runId: at.runId }, 1)).toEqual([
      {
        runId: at.runId,
        path: 'a',
        result: 'deleted',
        side: 'remote',
        text: 'to the trash',
        attempt: 1,
        durationMs: 1,
        atMs: 2,
      },
    ]);
    ledger.record({ kind: 'forgotten', bindingId: at.bindingId, path: 'a' });
    expect(planned(at.bindingId).map(({ path }) => path)).toEqual(['b']);
  });

  it('and a file that was set aside are counted for a run that was killed, directories are not', () => {
    const at = begin(ledger);
    for (const path of ['a', 'b', 'd/']) ledger.record(deleted(at, path, 'local'));
    ledger.record(deleted(at, 'a', 'local'));
    ledger.record(delivered(at, 'up', { bytes: 3 }));
    ledger.record(delivered(at, 'down', { way: 'down', bytes: 4 }));
    const to = '.ferryd-trash/20261123T020000Z/up';
    ledger.record({ kind: 'set-aside', ...at, attempt: 1, durationMs: 1, atMs: 1, path: 'up', to });
    expect(ledger.transfers({ runId: at.runId }, 1)).toEqual([
      { runId: at.runId, path: 'up', result: 'set-aside', to, attempt: 1, durationMs: 1, atMs: 1 },
    ]);
    expect([...ledger.known(at.bindingId)].map(({ path }) => path)).toEqual(['down', 'up']);
    expect(ledger.closeAbandonedRuns('nightly', 9)).toMatchObject([
      { tally: { deleted: 2, uploaded: 1, downloaded: 1, skipped: 0, bytes: 7 } },
    ]);
  });
});

describe('a full disk', () => {
  it('fails a hold as a whole', () => {
    const at = begin(ledger);
    ledger.doom(at.bindingId, [deletion('earlier')]);
    ledger.hold(at.bindingId, holdOf(at.runId));
    ledger.close();
    const database = openDatabase(file, 'read-write');
    ledger = new Ledger(database);
    const long = 'x'.repeat(2_000);
    for (let i = 0; i < 500; i += 1) ledger.doom(at.bindingId, [deletion(`${long}${i}`)]);
    ledger.flush();
    database.pragma(`max_page_count = ${Number(database.pragma('page_count', { simple: true }))}`);
    const reason = { ...holdOf(at.runId), message: 'y'.repeat(100_000) };
    expect(problemOf(() => ledger.hold(at.bindingId, reason)).kind).toBe('disk');
    expect(ledger.doomed(at.bindingId).total).toBe(500);
    expect(held(at.bindingId)).toEqual([deletion('earlier')]);
    database.pragma('max_page_count = 1000000');
    ledger.hold(at.bindingId, reason);
    expect(ledger.heldPlan('nightly')).toMatchObject({ files: 500, message: reason.message });
  });
});

describe('any order of steps', () => {
  interface Model {
    planned: Map<string, PlannedDeletion>;
    held: Map<string, PlannedDeletion>;
    released: Map<string, PlannedDeletion>;
    hold: { approvedAtMs: number | undefined } | undefined;
  }

  const key = ({ path, side }: PlannedDeletion) => `${path} ${side}`;
  const identity = ({ path, side, at, kind, sizeBytes, modifiedMs }: PlannedDeletion) =>
    JSON.stringify([path, side, at, kind, sizeBytes, modifiedMs ?? null]);
  const released = (model: Model, one: PlannedDeletion) => {
    const other = model.released.get(key(one));
    return other !== undefined && identity(other) === identity(one);
  };

  const one: fc.Arbitrary<PlannedDeletion> = fc
    .record({
      path: fc.constantFrom('a', 'a/', 'a/b', 'b', 'é', '\uffff', '😀'),
      side: fc.constantFrom('local' as const, 'remote' as const),
      at: fc.constantFrom('x', 'y'),
      sizeBytes: fc.nat(1),
      modifiedMs: fc.constantFrom(undefined, 1),
      sha256: fc.constantFrom(undefined, sha256('a')),
      known: fc.constantFrom('ours' as const, 'extraneous' as const),
    })
    .map((parts) => ({ ...parts, kind: parts.path.endsWith('/') ? 'directory' : 'file' }));

  type Step =
    | { readonly do: 'begin' | 'hold' | 'approve' | 'end' | 'reopen' }
    | { readonly do: 'doom'; readonly deletions: PlannedDeletion[] }
    | { readonly do: 'delete' | 'forget'; readonly deletion: PlannedDeletion };

  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('doom' as const), deletions: fc.array(one) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constantFrom('begin' as const, 'hold' as const, 'approve' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('end' as const, 'reopen' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom('delete' as const, 'forget' as const),
        deletion: one,
      }),
    },
  );

  function take(model: Model, taken: Step, atMs: number): void {
    switch (taken.do) {
      case 'begin':
        model.planned.clear();
        return;
      case 'doom':
        for (const each of taken.deletions) model.planned.set(key(each), each);
        return;
      case 'hold': {
        const open = [...model.planned.values()].filter((each) => !released(model, each));
        const still = [...model.planned.values()].filter((each) => released(model, each));
        const approvedAtMs = open.length === 0 && still.length > 0 ? model.hold?.approvedAtMs : undefined;
        model.held = new Map(open.map((each) => [key(each), each]));
        // What a person released is the row that person saw, whatever else is known of it now.
        model.released = new Map(still.map((each) => [key(each), model.released.get(key(each)) ?? each]));
        for (const each of open) model.planned.delete(key(each));
        model.hold = { approvedAtMs };
        return;
      }
      case 'approve':
        if (model.hold === undefined || model.hold.approvedAtMs !== undefined || model.held.size === 0)
          return;
        for (const [name, each] of model.held) model.released.set(name, each);
        model.held.clear();
        model.hold = { approvedAtMs: atMs };
        return;
      case 'end':
        for (const stage of [model.planned, model.held, model.released]) stage.clear();
        model.hold = undefined;
        return;
      case 'delete':
        for (const stage of [model.planned, model.held, model.released]) stage.delete(key(taken.deletion));
        return;
      case 'forget':
        for (const side of ['local', 'remote'] as const) {
          const name = key({ ...taken.deletion, side });
          for (const stage of [model.planned, model.held, model.released]) stage.delete(name);
        }
        return;
      case 'reopen':
        return;
    }
  }

  function carryOut(at: { bindingId: number; runId: number; job: string }, taken: Step, atMs: number): void {
    const { bindingId } = at;
    switch (taken.do) {
      case 'begin':
        ledger.beginPlan(bindingId);
        return;
      case 'doom':
        ledger.doom(bindingId, taken.deletions);
        return;
      case 'hold':
        ledger.hold(bindingId, holdOf(at.runId, atMs));
        return;
      case 'approve':
        ledger.approve(at.job, atMs);
        return;
      case 'end':
        ledger.endPlan(bindingId);
        return;
      case 'delete':
        ledger.record(deleted(at, taken.deletion.path, taken.deletion.side));
        return;
      case 'forget':
        ledger.record({ kind: 'forgotten', bindingId, path: taken.deletion.path });
        return;
      case 'reopen':
        reopen();
        return;
    }
  }

  let jobs = 0;
  const order = (a: PlannedDeletion, b: PlannedDeletion) =>
    comparePaths(a.path, b.path) || comparePaths(a.side, b.side);

  it('leaves planned, held and released as a simple model has them: released is exactly what was held', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        jobs += 1;
        const job = `job-${jobs}`;
        const at = { ...begin(ledger, { ...BINDING, job }), job };
        const model: Model = {
          planned: new Map(),
          held: new Map(),
          released: new Map(),
          hold: undefined,
        };
        steps.forEach((taken, i) => {
          const shown = taken.do === 'approve' ? held(at.bindingId) : undefined;
          const wasOpen = model.hold !== undefined && model.hold.approvedAtMs === undefined;
          take(model, taken, i);
          carryOut(at, taken, i);
          if (shown !== undefined && wasOpen && shown.length > 0) {
            const now = new Set(held(at.bindingId).map(identity));
            for (const each of shown) expect(now).toContain(identity(each));
          }
          const plan = ledger.heldPlan(job);
          expect(plan?.approvedAtMs).toBe(model.hold?.approvedAtMs);
          expect(plan === undefined).toBe(model.hold === undefined);
          const stage = model.hold?.approvedAtMs === undefined ? model.held : model.released;
          const expected = model.hold === undefined ? [] : [...stage.values()].sort(order);
          expect(held(at.bindingId)).toEqual(expected);
          expect((plan?.files ?? 0) + (plan?.directories ?? 0)).toBe(expected.length);
          const wanted = [...model.planned.values()]
            .sort(order)
            .reverse()
            .map((each) => ({ ...each, approved: released(model, each) }));
          expect(planned(at.bindingId)).toEqual(wanted);
          expect(ledger.doomed(at.bindingId)).toEqual({
            total: wanted.length,
            approved: wanted.filter(({ approved }) => approved).length,
            directories: wanted.filter(({ kind }) => kind === 'directory').length,
            approvedDirectories: wanted.filter(({ kind, approved }) => kind === 'directory' && approved)
              .length,
            foreign: wanted.filter(({ known, approved }) => known === 'extraneous' && !approved).length,
          });
        });
      }),
      { numRuns: 150 },
    );
  });
});
