/* Retention, free pages and the write-ahead log: what goes, what stays, and that others are not kept waiting. */
import { copyFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/ledger/database.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { emptyTally, type Outcome } from '../../src/plan/outcome.js';
import { BINDING, baseline, delivered, skipped, temporaryDirectory } from './sample.js';

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

const AMPLE = { maxMs: 60_000 };

/** A run that ended at a moment, having delivered these files. */
function ran(
  endedAtMs: number,
  {
    job = 'nightly',
    outcome = 'ok',
    remoteRoot = 'dumps',
    files = [],
  }: {
    readonly job?: string;
    readonly outcome?: Outcome;
    readonly remoteRoot?: string;
    readonly files?: readonly string[];
  } = {},
): { readonly bindingId: number; readonly runId: number } {
  const bindingId = ledger.bind({ ...BINDING, job, remoteRoot }, endedAtMs);
  const runId = ledger.startRun({ job, bindingId, trigger: 'cron', pid: 1, startedAtMs: endedAtMs });
  for (const path of files) ledger.record(delivered({ bindingId, runId }, path));
  const failure = outcome === 'failed' ? ({ kind: 'failed', code: 'x', message: 'x' } as const) : undefined;
  ledger.endRun(runId, { outcome, tally: emptyTally(), failure, endedAtMs });
  return { bindingId, runId };
}

const runIds = (job?: string): number[] =>
  ledger
    .lastRuns(job, 10_000)
    .map(({ id }) => id)
    .reverse();

const paths = (bindingId: number): string[] => [...ledger.known(bindingId)].map(({ path }) => path);

describe('history', () => {
  it('goes after its time, with its transfers; the last run of a job, its last good one and open ones stay', async () => {
    const old = ran(100, { files: ['a', 'b'] });
    const good = ran(200, { files: ['c'] });
    ran(300, { outcome: 'failed' });
    const last = ran(400, { outcome: 'failed' });
    const young = ran(5_000, { job: 'other' });
    const opened = ledger.startRun({
      job: 'third',
      bindingId: undefined,
      trigger: 'cron',
      pid: 1,
      startedAtMs: 1,
    });
    expect(await ledger.care.prune({ beforeMs: 1_000, ...AMPLE })).toEqual({
      runs: 2,
      transfers: 2,
      bindings: 0,
      baselines: 0,
      end: 'all',
    });
    expect(runIds()).toEqual([good.runId, last.runId, young.runId, opened]);
    expect(ledger.transfers({ runId: old.runId }, 10)).toEqual([]);
    expect(ledger.transfers({ runId: good.runId }, 10)).toHaveLength(1);
    // What was delivered is remembered all the same, and so is what was proven.
    expect(paths(old.bindingId)).toEqual(['a', 'b', 'c']);
    expect(ledger.provenAtMs('nightly')).toBe(200);
    expect(ledger.settledAtMs(old.bindingId)).toBe(100);
    expect(await ledger.care.prune({ beforeMs: 1_000, ...AMPLE })).toMatchObject({ runs: 0, end: 'all' });
  });

  it('goes in steps between which others write, and not on after its time or a stop', async () => {
    const many = Array.from({ length: 2_500 }, (_, i) => `f${i}`);
    ran(100, { files: many });
    const last = ran(200);
    expect(await ledger.care.prune({ beforeMs: 1_000, maxMs: 0 })).toMatchObject({ runs: 0, end: 'late' });
    const stop = AbortSignal.abort();
    expect(await ledger.care.prune({ beforeMs: 1_000, ...AMPLE, stop })).toMatchObject({ end: 'late' });
    const pruning = ledger.care.prune({ beforeMs: 1_000, ...AMPLE });
    const other = openLedger(file);
    let writes = 0;
    let isOver = false;
    void pruning.then(() => {
      isOver = true;
    });
    while (!isOver) {
      other.setCoveredUntil('other', 'key', writes);
      writes += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    other.close();
    expect(await pruning).toMatchObject({ runs: 1, transfers: 2_500, end: 'all' });
    expect(writes).toBeGreaterThan(2);
    expect(runIds()).toEqual([last.runId]);
  });

  it('never leaves a job without its last run, its last good one, and where it ferries, whatever there was', async () => {
    let jobs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            at: fc.integer({ min: 1, max: 2_000 }),
            outcome: fc.constantFrom<Outcome>('ok', 'partial', 'failed', 'interrupted'),
            remoteRoot: fc.constantFrom('a', 'b', 'c', 'd'),
            files: fc.constantFrom<readonly string[]>([], ['x']),
          }),
          { minLength: 1, maxLength: 14 },
        ),
        async (runs) => {
          jobs += 1;
          const job = `job-${jobs}`;
          const made = runs.map(({ at, ...how }) => ({ ...how, at, ...ran(at, { job, ...how }) }));
          const before = { proven: ledger.provenAtMs(job), present: ledger.skips(job, 1) };
          await ledger.care.prune({ beforeMs: 1_000, ...AMPLE });
          const left = new Set(runIds(job));
          for (const { runId, at } of made) if (at >= 1_000) expect(left).toContain(runId);
          expect(left).toContain(made.at(-1)?.runId);
          const good = made.findLast(({ outcome }) => outcome === 'ok');
          if (good !== undefined) expect(left).toContain(good.runId);
          expect(left.size).toBeLessThanOrEqual(made.filter(({ at }) => at >= 1_000).length + 2);
          expect(ledger.provenAtMs(job)).toBe(before.proven);
          const bindings = new Set(ledger.bindingsOf(job).map(({ id }) => id));
          expect(bindings).toContain(made.at(-1)?.bindingId);
          // By what the newest two know, a source that is suddenly empty is noticed.
          const knowing = made.filter(({ bindingId }) =>
            made.some((one) => one.bindingId === bindingId && one.files.length > 0),
          );
          const newest = [...new Set(knowing.map(({ bindingId }) => bindingId))].sort((a, b) => b - a);
          for (const id of newest.slice(0, 2)) expect(paths(id)).toEqual(['x']);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('former places of a job', () => {
  const days = (count: number, first = 100): number[] =>
    Array.from(
      { length: count },
      (_, day) => ran(first + day, { remoteRoot: `day-${day}`, files: ['f'] }).bindingId,
    );

  it('are forgotten once there are two newer ones that know files', async () => {
    const [first = 0, second = 0, third = 0, fourth = 0] = days(4);
    ledger.record(skipped({ bindingId: first, runId: 1 }, 's'));
    expect(await ledger.care.prune({ beforeMs: 1_000, ...AMPLE })).toMatchObject({
      bindings: 2,
      baselines: 2,
      end: 'all',
    });
    expect(ledger.bindingsOf('nightly').map(({ id }) => id)).toEqual([third, fourth]);
    expect([first, second].map(paths)).toEqual([[], []]);
    // Pointed there again, the job begins as between new places.
    const again = ledger.bind({ ...BINDING, remoteRoot: 'day-0' });
    expect(ledger.settledAtMs(again)).toBeUndefined();
  });

  it.each<[string, (id: number, runId: number) => void]>([
    [
      'a run is open there',
      (bindingId) => {
        ledger.startRun({ job: 'nightly', bindingId, trigger: 'cron', pid: 1, startedAtMs: 1 });
      },
    ],
    [
      'something may lie on the server',
      (bindingId, runId) =>
        ledger.intend(bindingId, runId, [{ path: 'f', temporary: 't', local: baseline('f').local }]),
    ],
    [
      'a person is asked for an answer',
      (bindingId, runId) => ledger.hold(bindingId, { runId, code: 'deletions', message: 'm', atMs: 1 }),
    ],
    [
      'it was used lately',
      (bindingId) => {
        const runId = ledger.startRun({ job: 'nightly', bindingId, trigger: 'cron', pid: 1, startedAtMs: 1 });
        ledger.endRun(runId, {
          outcome: 'partial',
          tally: emptyTally(),
          failure: undefined,
          endedAtMs: 2_000,
        });
      },
    ],
  ])('stay where %s', async (_, change) => {
    const [first = 0] = days(4);
    change(first, 1);
    await ledger.care.prune({ beforeMs: 1_000, ...AMPLE });
    expect(paths(first)).toEqual(['f']);
  });

  it('that are forgotten in part are not taken for wholly known', async () => {
    const [first = 0] = days(4);
    const run = ledger.startRun({ job: 'x', bindingId: undefined, trigger: 'x', pid: 1, startedAtMs: 1 });
    for (let i = 0; i < 3_000; i += 1) {
      ledger.record({
        kind: 'adopted',
        bindingId: first,
        baseline: baseline(`g${i}`),
        temporary: undefined,
      });
    }
    ledger.flush();
    const stop = new AbortController();
    const pruning = ledger.care.prune({ beforeMs: 1_000, ...AMPLE, stop: stop.signal });
    // Its first steps are taken by now.
    while (ledger.countKnown(first) === 3_001) await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    expect(await pruning).toMatchObject({ bindings: 0, end: 'late' });
    expect(ledger.countKnown(first)).toBeGreaterThan(0);
    expect(ledger.settledAtMs(first)).toBeUndefined();
    expect(run).toBeGreaterThan(0);
  });
});

describe('free pages', () => {
  /** Rows of some MiB that go again. */
  function fillAndFree(): void {
    const at = ran(100);
    for (let i = 0; i < 12_000; i += 1) {
      ledger.record({
        kind: 'adopted',
        bindingId: at.bindingId,
        baseline: baseline(`${'d'.repeat(800)}/${i}`),
        temporary: undefined,
      });
    }
    ledger.flush();
    for (const path of paths(at.bindingId)) {
      ledger.record({ kind: 'forgotten', bindingId: at.bindingId, path });
    }
    ledger.flush();
    ledger.care.checkpoint();
  }

  it('go back to the disk in steps, and a whole ledger is left', async () => {
    fillAndFree();
    const before = statSync(file).size;
    expect(before).toBeGreaterThan(8 * 1024 * 1024);
    const back = await ledger.care.giveBack(AMPLE);
    expect(back.way).toBe('steps');
    expect(back.bytes).toBeGreaterThan(8 * 1024 * 1024);
    expect(ledger.care.checkpoint()).toBe('done');
    expect(statSync(file).size).toBe(before - back.bytes);
    expect(await ledger.care.giveBack(AMPLE)).toEqual({ bytes: 0, way: 'nothing' });
    ledger.close();
    const database = openDatabase(file, 'read-write');
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
    database.close();
  });

  it('of a ledger from before go by one VACUUM, after which they go in steps', async () => {
    ledger.close();
    const plain = new Database(join(directory.path, 'plain.db'));
    plain.pragma('auto_vacuum = NONE');
    plain.exec('VACUUM');
    plain.close();
    copyFileSync(join(directory.path, 'plain.db'), file);
    ledger = openLedger(file);
    fillAndFree();
    const open = ledger.startRun({
      job: 'other',
      bindingId: undefined,
      trigger: 'cron',
      pid: 1,
      startedAtMs: 1,
    });
    expect(await ledger.care.giveBack(AMPLE)).toEqual({ bytes: 0, way: 'nothing' });
    ledger.endRun(open, { outcome: 'ok', tally: emptyTally(), failure: undefined, endedAtMs: 2 });
    const back = await ledger.care.giveBack(AMPLE);
    expect(back.way).toBe('rewritten');
    expect(back.bytes).toBeGreaterThan(8 * 1024 * 1024);
    expect(statSync(file).size).toBeLessThan(1024 * 1024);
    fillAndFree();
    expect((await ledger.care.giveBack(AMPLE)).way).toBe('steps');
  });
});

describe('the write-ahead log', () => {
  it('is cut to nothing in a quiet moment, and left where somebody reads', () => {
    ran(100, { files: ['a', 'b'] });
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(0);
    const reader = new Database(file, { readonly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM run').get();
    ran(200);
    reader.pragma('busy_timeout = 0');
    expect(ledger.care.checkpoint()).toBe('busy');
    reader.close();
    expect(ledger.care.checkpoint()).toBe('done');
    expect(existsSync(`${file}-wal`) ? statSync(`${file}-wal`).size : 0).toBe(0);
    expect(runIds()).toHaveLength(2);
  });
});

it('what was done when is remembered', () => {
  expect(ledger.care.doneAtMs('tend')).toBeUndefined();
  ledger.care.done('tend', 7);
  ledger.care.done('tend', 9);
  ledger.close();
  ledger = openLedger(file);
  expect(ledger.care.doneAtMs('tend')).toBe(9);
});
