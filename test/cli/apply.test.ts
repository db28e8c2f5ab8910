/*
 * What has moved since a plan was made, in words; and how a held job is told.
 */
import { describe, expect, test } from 'vitest';
import { differenceWords } from '../../src/cli/apply.js';
import { deletionsOf, heldJson, heldSentence } from '../../src/cli/held.js';
import type { HeldPlan } from '../../src/ledger/deletion.js';
import type { Difference, PlannedAction } from '../../src/run/planfile.js';

const LOCAL = { sizeBytes: 10, mtimeMs: 1_000, ctimeMs: 2_000, inode: 7 };
const REMOTE = { sizeBytes: 10, modifiedMs: 1_000 };
const UPLOAD: PlannedAction = {
  kind: 'upload',
  path: 'a\n',
  here: 'a',
  there: 'a',
  reason: 'new',
  local: LOCAL,
  baseline: null,
};
const REMOVE: PlannedAction = {
  kind: 'remove',
  path: 'a\n',
  side: 'remote',
  at: 'a',
  known: 'ours',
  ...REMOTE,
};
const MEET: PlannedAction = { ...UPLOAD, kind: 'meet', remote: REMOTE };

function other(planned: PlannedAction, more: Partial<PlannedAction>): Difference {
  return { kind: 'other', planned, found: { ...planned, ...more } };
}

const LINK = { leadsTo: 'x' };

test.each<[string, Difference]>([
  ['the plan is to upload it, but it has become a link here.', other(UPLOAD, { local: LINK })],
  [
    'the plan is to upload it, but it is no link here any more.',
    other({ ...UPLOAD, local: LINK }, { local: LOCAL }),
  ],
  [
    'the plan is to upload it, but it leads elsewhere here now.',
    other({ ...UPLOAD, local: LINK }, { local: { leadsTo: 'y' } }),
  ],
  [
    'the plan is to delete it on the server, but it leads elsewhere on the server now.',
    other({ ...REMOVE, sizeBytes: 0, modifiedMs: null, leadsTo: 'x' }, { leadsTo: 'y' }),
  ],
  [
    'the plan is to upload it, and there is nothing to do about it now.',
    { kind: 'missing', planned: UPLOAD },
  ],
  ['not in the plan, and a run would delete it on the server now.', { kind: 'additional', found: REMOVE }],
  [
    'not in the plan, and a run would delete it here now.',
    { kind: 'additional', found: { ...REMOVE, side: 'local' } },
  ],
  ['the plan is to upload it; a run would delete it on the server now.', other(UPLOAD, REMOVE)],
  [
    'the plan is to upload it, but it had 10 B here, and has 11 B now.',
    other(UPLOAD, { local: { ...LOCAL, sizeBytes: 11 } }),
  ],
  [
    'the plan is to upload it, but it was modified here since.',
    other(UPLOAD, { local: { ...LOCAL, mtimeMs: 1_001 } }),
  ],
  [
    'the plan is to upload it, but it was touched or replaced here since.',
    other(UPLOAD, { local: { ...LOCAL, inode: 8 } }),
  ],
  [
    'the plan is to upload it, but it was touched or replaced here since.',
    other(UPLOAD, { local: { ...LOCAL, ctimeMs: 3_000 } }),
  ],
  ['the plan is to upload it, but it is gone here.', other(UPLOAD, { local: null })],
  ['the plan is to upload it, but it would be for another reason now.', other(UPLOAD, { reason: 'changed' })],
  ['the plan is to upload it, but it stands in another place now.', other(UPLOAD, { there: 'b' })],
  [
    'the plan is to upload it, but the ledger has learnt more about it since.',
    other(UPLOAD, { baseline: {} }),
  ],
  [
    'the plan is to compare both sides of it, but it was modified on the server since.',
    other(MEET, { remote: { ...REMOTE, modifiedMs: null } }),
  ],
  [
    'the plan is to compare both sides of it, but it has come to stand on the server.',
    { kind: 'other', planned: { ...MEET, remote: null }, found: MEET },
  ],
  [
    'the plan is to delete it on the server, but it had 10 B on the server, and has 9 B now.',
    other(REMOVE, { sizeBytes: 9 }),
  ],
  [
    'the plan is to delete it on the server, but it was modified on the server since.',
    other(REMOVE, { modifiedMs: 7 }),
  ],
])('%s', (expected, difference) => {
  expect(differenceWords(difference)).toBe(`a\\n: ${expected}`);
});

describe('a held job', () => {
  const AT = new Date(2026, 10, 23, 2, 30).getTime();
  const PLAN: HeldPlan = {
    bindingId: 1,
    runId: 12,
    code: 'deletions',
    message: 'Too many.',
    atMs: AT,
    approvedAtMs: undefined,
    files: 3,
    directories: 1,
  };
  const NOW = AT + 300_000;

  test('waits, is released, or holds nothing that could be', () => {
    expect(heldSentence('nightly', PLAN, NOW)).toBe(
      'held since 2026-11-23 02:30:00 (5 minutes ago), run 12; the deletion of 3 files and 1 directory waits for you: "ferryd plan nightly" shows what a run would do, "ferryd approve nightly" releases it',
    );
    expect(heldSentence('nightly', { ...PLAN, runId: undefined, approvedAtMs: AT + 60_000 }, NOW)).toBe(
      'held since 2026-11-23 02:30:00 (5 minutes ago); the deletion of 3 files and 1 directory was released 2026-11-23 02:31:00 (4 minutes ago), and the next run carries it out',
    );
    expect(heldSentence('nightly', { ...PLAN, files: 0, directories: 0 }, NOW)).toBe(
      'held since 2026-11-23 02:30:00 (5 minutes ago), run 12: Too many',
    );
  });

  test.each([
    ['nothing', 0, 0],
    ['1 file', 1, 0],
    ['2 directories', 0, 2],
    ['2 files and 1 directory', 2, 1],
  ] as const)('%s', (words, files, directories) => {
    expect(deletionsOf({ files, directories })).toBe(words);
  });

  test('for a program', () => {
    expect(heldJson(undefined)).toBeNull();
    expect(heldJson({ ...PLAN, approvedAtMs: AT })).toEqual({
      run: 12,
      code: 'deletions',
      message: 'Too many.',
      since: new Date(AT).toISOString(),
      files: 3,
      directories: 1,
      releasedAt: new Date(AT).toISOString(),
    });
  });
});
