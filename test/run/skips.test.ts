import { beforeEach, expect, it } from 'vitest';
import type { Change } from '../../src/ledger/record.js';
import { SKIPS_IN_A_ROW } from '../../src/remote/failure.js';
import { RunEnded } from '../../src/run/end.js';
import { Skips } from '../../src/run/skips.js';

type Skip = Extract<Change, { kind: 'skipped' }>;

let recorded: Skip[];
let skips: Skips;
beforeEach(() => {
  recorded = [];
  skips = new Skips((skip) => recorded.push(skip));
});

function skip(path: string): Skip {
  const local = { sizeBytes: 1, mtimeMs: 2, ctimeMs: 3, inode: 4 };
  return {
    kind: 'skipped',
    bindingId: 1,
    runId: 1,
    path,
    attempt: 1,
    durationMs: 1,
    atMs: 1,
    code: '550',
    text: 'Permission denied.',
    remember: { local, settings: 's' },
    temporary: `.ferryd-${path}.part`,
  };
}

function addMany(count: number, from = 0): void {
  for (let i = from; i < from + count; i += 1) skips.add(skip(`f${i}`), `f${i} was refused`);
}

it('nineteen are remembered as soon as a delivery shows that others fare better', () => {
  addMany(SKIPS_IN_A_ROW - 1);
  expect(recorded).toEqual([]);
  skips.delivered();
  expect(recorded.map(({ path, remember }) => [path, remember?.settings])).toEqual(
    Array.from({ length: 19 }, (_, i) => [`f${i}`, 's']),
  );
  skips.delivered();
  expect(recorded).toHaveLength(19);
});

it('nineteen, and nineteen more after a delivery, do not end a run', () => {
  addMany(19);
  skips.delivered();
  addMany(19, 19);
  skips.finish();
  expect(recorded).toHaveLength(38);
  expect(recorded.every(({ remember }) => remember !== undefined)).toBe(true);
});

it('twenty in a row end the run, and none of them is remembered', () => {
  addMany(19);
  let ended: unknown;
  try {
    addMany(1, 19);
  } catch (error) {
    ended = error;
  }
  if (!(ended instanceof RunEnded)) throw new Error('the run goes on');
  expect(ended.failure).toMatchObject({ kind: 'failed', code: '550' });
  expect(ended.failure.message).toMatch(/^The server refused 20 files in a row, .*f19 was refused/);
  expect(ended.failure.message).toContain('None of them was marked');
  expect(recorded).toHaveLength(20);
  expect(recorded.every(({ remember }) => remember === undefined)).toBe(true);
  // Their temporary names are gone all the same.
  expect(recorded.every(({ temporary }) => temporary !== undefined)).toBe(true);
});

it('the end of a run remembers what is held back; an early end only keeps it in the history', () => {
  addMany(3);
  skips.finish();
  expect(recorded.map(({ remember }) => remember !== undefined)).toEqual([true, true, true]);
  recorded.length = 0;
  addMany(2);
  skips.abandon();
  expect(recorded.map(({ path, remember }) => [path, remember])).toEqual([
    ['f0', undefined],
    ['f1', undefined],
  ]);
  skips.finish();
  expect(recorded).toHaveLength(2);
});
