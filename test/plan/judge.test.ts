/*
 * The judgement on one path, mode by mode, from real values: what counts as changed, what is read before anything is
 * decided, what is spared. Which verb stands in which cell is table.test.ts's.
 */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { Content, Decide, Verdict } from '../../src/plan/action.js';
import type { LocalFile, RemoteFile } from '../../src/plan/entry.js';
import { judge, type Met, type Policy, remoteFingerprint } from '../../src/plan/judge.js';
import { baselineOf, localFile, metOf, policyOf, remoteFile, SETTINGS, skipOf } from './sample.js';

const here = localFile('f');
const there = remoteFile('f');
const baseline = baselineOf('f');

const editedHere: LocalFile = { ...here, mtimeMs: 1_500 };
const grownHere: LocalFile = { ...here, sizeBytes: 11 };
const touchedHere: LocalFile = { ...here, ctimeMs: 9_999 };
const editedThere: RemoteFile = { ...there, modifiedMs: 7_000 };
const grownThere: RemoteFile = { ...there, sizeBytes: 12 };
/** Of the second in which the local one was modified. */
const alikeThere: RemoteFile = { ...there, modifiedMs: 1_000 };

type Shown = Parameters<typeof metOf>[1];
type Row = readonly [name: string, shown: Shown, verdict: Partial<Record<string, unknown>>];

function verdictOf(shown: Shown, policy: Partial<Policy> = {}, content?: Content): Verdict {
  return judge(metOf('f', shown), policyOf(policy), content);
}

/** What a verdict that asks for reading would have decided. */
function decideOf(verdict: Verdict): Decide {
  if (verdict.kind !== 'examine' && verdict.kind !== 'meet') throw new Error(`${verdict.kind} reads nothing`);
  return verdict.decide;
}

const content = (local: Content['local'], remote: Content['remote']): Content => ({ local, remote });

function judges(policy: Partial<Policy>, rows: readonly Row[]): void {
  test.each(rows)('%s', (_name, shown, verdict) => {
    expect(verdictOf(shown, policy)).toMatchObject({ path: 'f', ...verdict });
  });
}

describe('copy, push, by the ledger', () => {
  judges({ mode: 'copy', direction: 'push' }, [
    [
      'new',
      { local: here, remote: 'unasked' },
      { kind: 'upload', reason: 'new', file: here, baseline: undefined },
    ],
    ['the same', { local: here, remote: 'unasked', baseline }, { kind: 'unchanged', learnt: undefined }],
    [
      'size other',
      { local: grownHere, remote: 'unasked', baseline },
      { kind: 'upload', reason: 'changed', baseline },
    ],
    ['time other', { local: editedHere, remote: 'unasked', baseline }, { kind: 'upload', reason: 'changed' }],
    ['time earlier', { local: { ...here, mtimeMs: 1 }, remote: 'unasked', baseline }, { kind: 'upload' }],
    [
      'a fraction of its time other',
      { local: { ...here, mtimeMs: 1_000.5 }, remote: 'unasked', baseline },
      { kind: 'upload' },
    ],
    [
      'touched',
      { local: touchedHere, remote: 'unasked', baseline },
      { kind: 'examine', file: touchedHere, remote: undefined },
    ],
    [
      'another inode',
      { local: { ...here, inode: 8 }, remote: 'unasked', baseline },
      { kind: 'examine', baseline },
    ],
    ['gone', { remote: 'unasked', baseline }, { kind: 'kept' }],
    ['gone, and refused before', { remote: 'unasked', skip: skipOf('f') }, { kind: 'kept' }],
    [
      'in a place that cannot be read',
      { local: 'unreadable', remote: 'unasked', baseline },
      { kind: 'kept' },
    ],
  ]);
});

describe('copy, push, with a listing', () => {
  judges({ mode: 'copy', direction: 'push' }, [
    ['new', { local: here }, { kind: 'upload', reason: 'new' }],
    ['the same', { local: here, remote: there, baseline }, { kind: 'unchanged', learnt: undefined }],
    ['lost there', { local: here, baseline }, { kind: 'upload', reason: 'missing' }],
    ['touched and lost there', { local: touchedHere, baseline }, { kind: 'upload', reason: 'missing' }],
    ['changed and lost there', { local: grownHere, baseline }, { kind: 'upload', reason: 'changed' }],
    ['changed there', { local: here, remote: grownThere, baseline }, { kind: 'upload', reason: 'differs' }],
    [
      'changed on both sides',
      { local: grownHere, remote: editedThere, baseline },
      { kind: 'upload', reason: 'differs' },
    ],
    ['gone', { remote: there, baseline }, { kind: 'kept' }],
    ['gone on both sides', { baseline }, { kind: 'forget' }],
    ['there alone', { remote: there }, { kind: 'kept' }],
    [
      'where the listing failed: new',
      { local: here, remote: 'unreadable' },
      { kind: 'blocked', why: 'unreadable', side: 'remote' },
    ],
    [
      'where the listing failed: changed',
      { local: grownHere, remote: 'unreadable', baseline },
      { kind: 'blocked', why: 'unreadable', side: 'remote' },
    ],
    [
      'where the listing failed: the same',
      { local: here, remote: 'unreadable', baseline },
      { kind: 'unchanged' },
    ],
    [
      'where no file stands: changed',
      { local: grownHere, remote: 'foreign', baseline },
      { kind: 'blocked', why: 'foreign', side: 'remote' },
    ],
    ['left out there', { local: here, remote: 'left-out' }, { kind: 'left-out' }],
    [
      'where the listing may be cut: new',
      { local: here, remote: 'unproven' },
      { kind: 'upload', reason: 'new' },
    ],
    [
      'where the listing may be cut: changed',
      { local: grownHere, remote: 'unproven', baseline },
      { kind: 'upload', reason: 'changed' },
    ],
    [
      'where the listing may be cut: the same',
      { local: here, remote: 'unproven', baseline },
      { kind: 'unchanged' },
    ],
    ['where the listing may be cut: gone', { remote: 'unproven', baseline }, { kind: 'kept' }],
  ]);
});

describe('copy, pull', () => {
  const policy = { mode: 'copy', direction: 'pull' } as const;

  judges(policy, [
    [
      'new',
      { remote: there },
      { kind: 'download', reason: 'new', file: there, over: 'seen', seen: undefined },
    ],
    [
      'new, and nobody looked here',
      { remote: there, local: 'unasked' },
      { kind: 'download', over: 'ours', seen: undefined },
    ],
    [
      'changed, and nobody looked here',
      { remote: grownThere, local: 'unasked', baseline },
      { kind: 'download', reason: 'changed', over: 'ours' },
    ],
    [
      'the same, and nobody looked here',
      { remote: there, local: 'unasked', baseline },
      { kind: 'unchanged' },
    ],
    ['the same', { remote: there, local: here, baseline }, { kind: 'unchanged' }],
    [
      'size other',
      { remote: grownThere, local: here, baseline },
      { kind: 'download', reason: 'changed', over: 'seen', seen: here },
    ],
    [
      'time other',
      { remote: editedThere, local: here, baseline },
      { kind: 'download', reason: 'changed', baseline },
    ],
    ['time earlier', { remote: { ...there, modifiedMs: 1 }, local: here, baseline }, { kind: 'download' }],
    [
      'lost here',
      { remote: there, baseline },
      { kind: 'download', reason: 'missing', over: 'seen', seen: undefined },
    ],
    ['gone', { local: here, baseline }, { kind: 'kept' }],
    ['gone on both sides', { baseline }, { kind: 'forget' }],
    ['gone, and nobody looked here', { local: 'unasked', baseline }, { kind: 'kept' }],
    ['here alone', { local: here }, { kind: 'kept' }],
    [
      'a pipe in its place',
      { remote: there, local: 'foreign' },
      { kind: 'blocked', why: 'foreign', side: 'local' },
    ],
    [
      'an unreadable place',
      { remote: grownThere, local: 'unreadable', baseline },
      { kind: 'blocked', why: 'unreadable', side: 'local' },
    ],
    ['where the listing may be cut', { remote: 'unproven', local: here, baseline }, { kind: 'kept' }],
    [
      'never a word of its time',
      {
        remote: { ...there, modifiedMs: undefined },
        local: 'unasked',
        baseline: { ...baseline, remoteModifiedMs: undefined },
      },
      { kind: 'unchanged', learnt: undefined },
    ],
    [
      'a time where there was none',
      { remote: there, local: 'unasked', baseline: { ...baseline, remoteModifiedMs: undefined } },
      { kind: 'download', reason: 'changed' },
    ],
    [
      'no time where there was one',
      { remote: { ...there, modifiedMs: undefined }, local: 'unasked', baseline },
      { kind: 'download', reason: 'changed' },
    ],
  ]);

  it.each([
    ['another size, never agreed', { local: here, remote: grownThere }],
    ['another time, never agreed', { local: here, remote: there }],
    ['changed here', { local: grownHere, remote: there, baseline }],
    ['changed here, of the same size', { local: editedHere, remote: there, baseline }],
    ['changed on both sides', { local: grownHere, remote: grownThere, baseline }],
  ] as const)('does not overwrite what a person has put here: %s', (_name, shown) => {
    expect(verdictOf(shown, policy)).toEqual({ kind: 'blocked', path: 'f', why: 'differs', side: 'local' });
  });

  it('reads what was touched here before anything newer is put over it', () => {
    const verdict = verdictOf({ local: touchedHere, remote: grownThere, baseline }, policy);
    expect(verdict).toMatchObject({ kind: 'examine', file: touchedHere, remote: undefined });
    const decide = decideOf(verdict);
    expect(decide(content('same', 'same'))).toMatchObject({
      kind: 'download',
      reason: 'changed',
      seen: touchedHere,
    });
    expect(decide(content('changed', 'same'))).toMatchObject({ kind: 'blocked', why: 'differs' });
  });

  it('finds out whether both sides have come to the same, as they have where a run ended before its last step', () => {
    const fetched = { ...here, mtimeMs: 7_000 };
    const verdict = verdictOf({ local: fetched, remote: editedThere, baseline }, policy);
    expect(verdict).toMatchObject({ kind: 'meet', proof: 'compared', local: fetched, remote: editedThere });
    const decide = decideOf(verdict);
    expect(decide(content('changed', 'changed'))).toMatchObject({ kind: 'blocked', why: 'differs' });
    expect(decide(content('same', 'changed'))).toMatchObject({ kind: 'download', reason: 'changed' });
  });

  it('finds that out by reading where the server tells no times', () => {
    const untold = { ...there, modifiedMs: undefined };
    const first = verdictOf({ local: here, remote: untold }, policy);
    expect(first).toMatchObject({ kind: 'meet', proof: 'compared' });
    expect(decideOf(first)(content('changed', 'changed'))).toMatchObject({ kind: 'blocked', why: 'differs' });
  });

  it('does not read what differs in time, or what only a person here has changed, again and again', () => {
    const differs = { kind: 'blocked', why: 'differs' };
    expect(verdictOf({ local: here, remote: there }, policy)).toMatchObject(differs);
    expect(verdictOf({ local: editedHere, remote: editedThere, baseline }, policy)).toMatchObject(differs);
    const untold = { ...there, modifiedMs: undefined };
    const untoldBaseline = baselineOf('f', { remoteModifiedMs: undefined });
    expect(verdictOf({ local: editedHere, remote: untold, baseline: untoldBaseline }, policy)).toMatchObject(
      differs,
    );
  });
});

describe('mirror, push', () => {
  const policy = { mode: 'mirror', direction: 'push' } as const;
  const ours = { kind: 'remove', side: 'remote', at: 'f', known: 'ours', baseline };

  judges(policy, [
    ['gone', { remote: there, baseline }, { ...ours, sizeBytes: 10, modifiedMs: 5_000 }],
    ['gone, by the ledger', { remote: 'unasked', baseline }, { ...ours, sizeBytes: 10, modifiedMs: 5_000 }],
    [
      'gone, the time not told any more',
      { remote: { ...there, modifiedMs: undefined }, baseline },
      { ...ours, modifiedMs: undefined },
    ],
    [
      'gone, the time in a fraction',
      { remote: { ...there, modifiedMs: 5_000.7 }, baseline },
      { ...ours, modifiedMs: 5_000.7 },
    ],
    ['gone, and grown there', { remote: grownThere, baseline }, { kind: 'spared', side: 'remote' }],
    ['gone, and changed there', { remote: editedThere, baseline }, { kind: 'spared', side: 'remote' }],
    ['gone on both sides', { baseline }, { kind: 'forget' }],
    ['there alone', { remote: there }, { kind: 'kept' }],
    ['not to be read', { local: 'unreadable', remote: there, baseline }, { kind: 'kept' }],
    ['not to be read, by the ledger', { local: 'unreadable', remote: 'unasked', baseline }, { kind: 'kept' }],
    ['no file any more', { local: 'foreign', remote: there, baseline }, { kind: 'kept' }],
    ['left out', { local: 'left-out', remote: there, baseline }, { kind: 'kept' }],
    ['gone, where the listing failed', { remote: 'unreadable', baseline }, { kind: 'kept' }],
    ['gone, where the listing may be cut', { remote: 'unproven', baseline }, { kind: 'kept' }],
    ['changed there', { local: here, remote: grownThere, baseline }, { kind: 'upload', reason: 'differs' }],
  ]);

  describe('that deletes what it does not know', () => {
    const extraneous = { kind: 'remove', side: 'remote', at: 'f', known: 'extraneous' };
    judges({ ...policy, extraneous: 'deleted' }, [
      [
        'there alone',
        { remote: there },
        { ...extraneous, sizeBytes: 10, modifiedMs: 5_000, baseline: undefined },
      ],
      ['gone, and grown there', { remote: grownThere, baseline }, { ...extraneous, sizeBytes: 12, baseline }],
      ['gone', { remote: there, baseline }, ours],
      ['not to be read', { local: 'unreadable', remote: there }, { kind: 'kept' }],
      [
        'not to be read, and changed there',
        { local: 'unreadable', remote: grownThere, baseline },
        { kind: 'kept' },
      ],
      ['where the listing may be cut', { local: 'unproven', remote: there }, { kind: 'kept' }],
      ['no look at the source', { local: 'unasked', remote: there }, { kind: 'kept' }],
    ]);
  });
});

describe('mirror, pull', () => {
  const policy = { mode: 'mirror', direction: 'pull' } as const;
  const ours = { kind: 'remove', side: 'local', at: 'f', known: 'ours', baseline };

  judges(policy, [
    ['gone', { local: here, baseline }, { ...ours, sizeBytes: 10, modifiedMs: 1_000.25 }],
    ['gone, by the ledger', { local: 'unasked', baseline }, { ...ours, sizeBytes: 10, modifiedMs: 1_000.25 }],
    ['gone, and changed here', { local: editedHere, baseline }, { kind: 'spared', side: 'local' }],
    ['gone, the listing cut', { local: here, remote: 'unproven', baseline }, { kind: 'kept' }],
    ['gone, the listing failed', { local: here, remote: 'unreadable', baseline }, { kind: 'kept' }],
    ['here alone', { local: here }, { kind: 'kept' }],
    [
      'changed here',
      { local: grownHere, remote: there, baseline },
      { kind: 'download', reason: 'differs', over: 'seen', seen: grownHere },
    ],
    ['differs at first', { local: here, remote: there }, { kind: 'download', reason: 'differs', seen: here }],
  ]);

  it('reads what was touched here before it is deleted: it may have been rewritten within one tick', () => {
    const verdict = verdictOf({ local: touchedHere, baseline }, policy);
    expect(verdict).toMatchObject({ kind: 'examine', file: touchedHere });
    expect(decideOf(verdict)(content('same', 'same'))).toMatchObject({ kind: 'remove', known: 'ours' });
    expect(decideOf(verdict)(content('changed', 'same'))).toMatchObject({ kind: 'spared', side: 'local' });
  });

  it.each([
    ['never agreed', { local: here }],
    ['agreed once', { local: grownHere, baseline }],
  ] as const)(
    'deletes nothing by a listing that may be cut, not even what it does not know: %s',
    (_name, shown) => {
      const asked = { ...policy, extraneous: 'deleted' } as const;
      expect(verdictOf({ ...shown, remote: 'unproven' }, asked)).toEqual({ kind: 'kept', path: 'f' });
      expect(verdictOf(shown, asked)).toMatchObject({ kind: 'remove', side: 'local', known: 'extraneous' });
    },
  );
});

describe('move', () => {
  describe('push', () => {
    const policy = { mode: 'move', direction: 'push' } as const;
    judges(policy, [
      ['new', { local: here, remote: 'unasked' }, { kind: 'upload', reason: 'new' }],
      [
        'delivered',
        { local: here, remote: there, baseline },
        { kind: 'finish', side: 'local', baseline, local: here, remote: there },
      ],
      [
        'delivered, by the ledger',
        { local: here, remote: 'unasked', baseline },
        { kind: 'finish', side: 'local', remote: undefined },
      ],
      [
        'delivered, then changed',
        { local: grownHere, remote: there, baseline },
        { kind: 'upload', reason: 'changed' },
      ],
      [
        'delivered, then changed there',
        { local: here, remote: grownThere, baseline },
        { kind: 'upload', reason: 'differs' },
      ],
      ['delivered, then lost there', { local: here, baseline }, { kind: 'upload', reason: 'missing' }],
      [
        'delivered, the target not to be seen',
        { local: here, remote: 'unreadable', baseline },
        { kind: 'left-out' },
      ],
      ['delivered, the listing cut', { local: here, remote: 'unproven', baseline }, { kind: 'left-out' }],
      ['gone', { remote: there, baseline }, { kind: 'forget' }],
      ['gone, by the ledger', { remote: 'unasked', baseline }, { kind: 'forget' }],
      ['not to be read', { local: 'unreadable', remote: 'unasked', baseline }, { kind: 'kept' }],
      ['there alone', { remote: there }, { kind: 'kept' }],
      ['there already, and alike', { local: here, remote: alikeThere }, { kind: 'meet', proof: 'compared' }],
      ['there already, not alike', { local: here, remote: there }, { kind: 'upload', reason: 'differs' }],
    ]);

    it('reads what was touched before it is taken for delivered', () => {
      const verdict = verdictOf({ local: touchedHere, remote: there, baseline }, policy);
      expect(verdict).toMatchObject({ kind: 'examine', file: touchedHere });
      expect(decideOf(verdict)(content('same', 'same'))).toMatchObject({
        kind: 'finish',
        side: 'local',
        local: touchedHere,
      });
      expect(decideOf(verdict)(content('changed', 'same'))).toMatchObject({
        kind: 'upload',
        reason: 'changed',
      });
    });
  });

  describe('pull', () => {
    judges({ mode: 'move', direction: 'pull' }, [
      ['new', { remote: there }, { kind: 'download', reason: 'new' }],
      [
        'delivered',
        { local: here, remote: there, baseline },
        { kind: 'finish', side: 'remote', local: here, remote: there },
      ],
      [
        'delivered, by the ledger',
        { local: 'unasked', remote: there, baseline },
        { kind: 'finish', side: 'remote', local: undefined },
      ],
      [
        'delivered, then changed',
        { local: here, remote: editedThere, baseline },
        { kind: 'download', reason: 'changed' },
      ],
      [
        'delivered, then changed here',
        { local: grownHere, remote: there, baseline },
        { kind: 'download', reason: 'differs' },
      ],
      ['delivered, touched here', { local: touchedHere, remote: there, baseline }, { kind: 'examine' }],
      ['gone', { local: here, baseline }, { kind: 'forget' }],
      ['perhaps gone', { local: here, remote: 'unproven', baseline }, { kind: 'kept' }],
      ['perhaps gone, changed here', { local: grownHere, remote: 'unproven', baseline }, { kind: 'kept' }],
    ]);
  });
});

describe.each(['push', 'pull'] as const)('two-way, %s', (direction) => {
  const policy = { mode: 'two-way', direction } as const;
  const [source, target] =
    direction === 'push' ? (['local', 'remote'] as const) : (['remote', 'local'] as const);
  const onlyHere = direction === 'push' ? 'left-out' : 'kept';

  judges(policy, [
    ['here alone', { local: here }, { kind: 'upload', reason: 'new' }],
    ['there alone', { remote: there }, { kind: 'download', reason: 'new', over: 'seen', seen: undefined }],
    ['the same', { local: here, remote: there, baseline }, { kind: 'unchanged' }],
    ['changed here', { local: editedHere, remote: there, baseline }, { kind: 'upload', reason: 'changed' }],
    [
      'changed there',
      { local: here, remote: editedThere, baseline },
      { kind: 'download', reason: 'changed', seen: here },
    ],
    [
      'gone here',
      { remote: there, baseline },
      { kind: 'remove', side: 'remote', known: 'ours', modifiedMs: 5_000 },
    ],
    [
      'gone there',
      { local: here, baseline },
      { kind: 'remove', side: 'local', known: 'ours', modifiedMs: 1_000.25 },
    ],
    ['gone here, changed there', { remote: editedThere, baseline }, { kind: 'download', reason: 'changed' }],
    ['gone there, changed here', { local: editedHere, baseline }, { kind: 'upload', reason: 'changed' }],
    ['gone on both sides', { baseline }, { kind: 'forget' }],
    [
      'not to be read here',
      { local: 'unreadable', remote: there, baseline },
      { kind: direction === 'push' ? 'kept' : 'left-out' },
    ],
    ['not to be read there', { local: here, remote: 'unreadable', baseline }, { kind: onlyHere }],
    ['not to be read there, gone here', { remote: 'unreadable', baseline }, { kind: 'kept' }],
    [
      'not to be read there, changed here',
      { local: editedHere, remote: 'unreadable', baseline },
      { kind: 'blocked', why: 'unreadable', side: 'remote' },
    ],
    [
      'foreign here, new there',
      { local: 'foreign', remote: there },
      { kind: 'blocked', why: 'foreign', side: 'local' },
    ],
    [
      'left out here, changed there',
      { local: 'left-out', remote: editedThere, baseline },
      { kind: 'left-out' },
    ],
    ['not in a listing that may be cut', { local: here, remote: 'unproven', baseline }, { kind: onlyHere }],
    [
      'not in a listing that may be cut, changed here',
      { local: editedHere, remote: 'unproven', baseline },
      { kind: 'upload' },
    ],
    ['not in a listing that may be cut, gone here', { remote: 'unproven', baseline }, { kind: 'kept' }],
    [
      'not in a listing that may be cut, new here',
      { local: here, remote: 'unproven' },
      { kind: 'upload', reason: 'new' },
    ],
    ['alike at first', { local: here, remote: alikeThere }, { kind: 'meet', proof: 'trusted' }],
    ['of one size at first', { local: here, remote: there }, { kind: 'meet', proof: 'compared' }],
    [
      'changed on both sides, of one size',
      { local: editedHere, remote: editedThere, baseline },
      { kind: 'meet', proof: 'compared' },
    ],
    [
      'changed on both sides',
      { local: editedHere, remote: grownThere, baseline },
      { kind: 'set-aside', side: 'local', local: editedHere, remote: grownThere },
    ],
    ['of two sizes at first', { local: here, remote: grownThere }, { kind: 'set-aside', side: 'local' }],
  ]);

  it('takes one that has only another time for what it is, once both were read', () => {
    const decide = decideOf(verdictOf({ local: editedHere, remote: editedThere, baseline }, policy));
    expect(decide(content('same', 'same'))).toMatchObject({ kind: 'unchanged' });
    expect(decide(content('changed', 'same'))).toMatchObject({ kind: 'upload', reason: 'changed' });
    expect(decide(content('same', 'changed'))).toMatchObject({ kind: 'download', reason: 'changed' });
    expect(decide(content('changed', 'changed'))).toMatchObject({ kind: 'set-aside' });
  });

  it.each([
    ['the other side is the same', { remote: there }, 'upload', 'unchanged'],
    ['the other side is gone', {}, 'upload', 'remove'],
    ['the other side has another time', { remote: editedThere }, 'meet', 'download'],
    ['the other side has grown', { remote: grownThere }, 'set-aside', 'download'],
  ] as const)('reads what was touched here: %s', (_name, shown, changed, same) => {
    const verdict = verdictOf({ local: touchedHere, baseline, ...shown }, policy);
    expect(verdict).toMatchObject({ kind: 'examine', file: touchedHere, remote: undefined });
    // Of a remote file that nobody read nothing is said; what its size and time have shown still holds.
    for (const remote of ['same', 'changed'] as const) {
      expect(decideOf(verdict)(content('changed', remote)).kind).toBe(changed);
      expect(decideOf(verdict)(content('same', remote)).kind).toBe(same);
    }
  });

  it('takes a new time there for a new version, where it was read only that there is another one here', () => {
    const shown = { local: touchedHere, remote: editedThere, baseline };
    const examined = verdictOf(shown, { ...policy, proof: 'content' });
    expect(examined).toMatchObject({ kind: 'examine', remote: editedThere });
    const decide = decideOf(examined);
    expect(decide(content('changed', 'same'))).toMatchObject({ kind: 'meet', proof: 'compared' });
    expect(decide(content('same', 'same'))).toMatchObject({ kind: 'unchanged' });
    expect(decide(content('same', 'changed'))).toMatchObject({ kind: 'download' });
  });

  it('does not read what could not be sent', () => {
    const shown = { local: touchedHere, baseline };
    for (const remote of ['unreadable', 'foreign', 'left-out'] as const) {
      expect(verdictOf({ ...shown, remote }, policy).kind).toBe(onlyHere);
    }
    const decide = decideOf(verdictOf({ ...shown, remote: 'unproven' }, policy));
    expect(decide(content('same', 'same')).kind).toBe(onlyHere);
    expect(decide(content('changed', 'same'))).toMatchObject({ kind: 'upload', reason: 'changed' });
  });

  it('compares two new versions with one another, where each was only held against the old one', () => {
    const byContent = { ...policy, proof: 'content' } as const;
    const examined = verdictOf({ local: touchedHere, remote: there, baseline }, byContent);
    expect(examined).toMatchObject({ kind: 'examine', remote: there });
    const met = decideOf(examined)(content('changed', 'changed'));
    expect(met).toMatchObject({
      kind: 'meet',
      proof: 'compared',
      local: touchedHere,
      remote: there,
      baseline,
    });
    expect(decideOf(met)(content('changed', 'changed')).kind).toBe('set-aside');
  });

  describe('a conflict', () => {
    const older = { ...here, mtimeMs: 3_000 };
    const newer = { ...here, mtimeMs: 9_000 };
    const sameSecond = { ...here, mtimeMs: 7_000.9 };
    const at7 = { ...grownThere, modifiedMs: 7_000 };
    const conflict = (local: LocalFile, conflicts: Policy['conflicts'], remote: RemoteFile = at7): Verdict =>
      verdictOf({ local, remote, baseline }, { ...policy, conflicts });

    it('goes to the newer one', () => {
      expect(conflict(newer, 'newer')).toMatchObject({ kind: 'upload', reason: 'conflict', file: newer });
      expect(conflict(older, 'newer')).toMatchObject({
        kind: 'download',
        reason: 'conflict',
        file: at7,
        over: 'seen',
        seen: older,
      });
      expect(conflict(older, 'newer', { ...at7, modifiedMs: undefined })).toMatchObject({ kind: 'upload' });
    });

    it('goes to the larger of one second, and to the source where that says nothing', () => {
      expect(conflict(sameSecond, 'newer')).toMatchObject({ kind: 'download' });
      expect(conflict({ ...sameSecond, sizeBytes: 13 }, 'newer')).toMatchObject({ kind: 'upload' });
      const decide = decideOf(
        verdictOf(
          { local: { ...sameSecond }, remote: { ...at7, sizeBytes: 10 } },
          { ...policy, conflicts: 'newer', proof: 'content' },
        ),
      );
      expect(decide(content('changed', 'changed'))).toMatchObject({
        kind: source === 'local' ? 'upload' : 'download',
      });
    });

    it.each(['from', 'to'] as const)('goes where the job says: %s', (conflicts) => {
      const winner = conflicts === 'from' ? source : target;
      for (const local of [older, newer]) {
        expect(conflict(local, conflicts)).toMatchObject({
          kind: winner === 'local' ? 'upload' : 'download',
          reason: 'conflict',
        });
      }
    });

    it('keeps both, the older under another name on its own side', () => {
      expect(conflict(newer, 'keep-both')).toMatchObject({
        kind: 'set-aside',
        side: 'remote',
        here: 'f',
        there: 'f',
      });
      expect(conflict(older, 'keep-both')).toMatchObject({
        kind: 'set-aside',
        side: 'local',
        local: older,
        remote: at7,
      });
    });
  });
});

describe('times', () => {
  const copy = (localMs: number, remoteMs: number | undefined): Verdict =>
    verdictOf({
      local: localFile('f', { mtimeMs: localMs }),
      remote: remoteFile('f', { modifiedMs: remoteMs }),
    });

  it.each([
    ['whole seconds on one side', 1_700.25, 1_000, 'meet'],
    ['whole seconds on the other', 1_000, 1_700.25, 'meet'],
    ['to the microsecond', 1_700.25, 1_700.25, 'meet'],
    ['two fractions of one second', 1_700.25, 1_700, 'upload'],
    ['the next second', 1_999, 2_000, 'upload'],
    ['before 1970', -300, -1_000, 'meet'],
    ['the second before 1970', -300, 0, 'upload'],
    ['none there', 1_000, undefined, 'upload'],
  ] as const)('at first: %s', (_name, localMs, remoteMs, kind) => {
    expect(copy(localMs, remoteMs).kind).toBe(kind);
  });

  it.each([
    ['cut to whole seconds since', 5_700, 5_000, 'unchanged', 'unchanged'],
    ['told in full since', 5_000, 5_700, 'unchanged', 'unchanged'],
    ['another fraction', 5_700, 5_600, 'upload', 'download'],
    ['told since', undefined, 5_000, 'unchanged', 'download'],
    ['not told any more', 5_000, undefined, 'unchanged', 'download'],
    ['never told', undefined, undefined, 'unchanged', 'unchanged'],
    ['a summer time away', 5_000, 3_605_000, 'upload', 'download'],
  ] as const)('once agreed: %s', (_name, before, now, push, pull) => {
    const shown = {
      local: here,
      remote: remoteFile('f', { modifiedMs: now }),
      baseline: baselineOf('f', { remoteModifiedMs: before }),
    };
    expect(verdictOf(shown, { direction: 'push' }).kind).toBe(push);
    expect(verdictOf(shown, { direction: 'pull' }).kind).toBe(pull);
    // In two-way a time that is told on one occasion only is no change of either side.
    const twoWay = pull === 'download' && push === 'unchanged' ? 'unchanged' : pull;
    for (const direction of ['push', 'pull'] as const) {
      expect(verdictOf(shown, { mode: 'two-way', direction }).kind).toBe(twoWay);
    }
  });

  it('are learnt where the ledger had none', () => {
    const untold = baselineOf('f', { remoteModifiedMs: undefined });
    const verdict = verdictOf({ local: here, remote: there, baseline: untold });
    expect(verdict).toEqual({ kind: 'unchanged', path: 'f', learnt: { ...untold, remoteModifiedMs: 5_000 } });
    expect(verdictOf({ local: here, remote: there, baseline })).toMatchObject({ learnt: undefined });
  });
});

describe('a file that was refused before', () => {
  const skip = skipOf('f');
  const remoteSkip = skipOf('f', { local: remoteFingerprint(there) });

  judges({}, [
    ['is left alone', { local: here, remote: 'unasked', skip }, { kind: 'remembered', skip }],
    ['is left alone, the other side looked at', { local: here, skip }, { kind: 'remembered', skip }],
    [
      'is tried again with another size',
      { local: grownHere, remote: 'unasked', skip },
      { kind: 'upload', reason: 'tried-again' },
    ],
    [
      'is tried again with another time',
      { local: editedHere, remote: 'unasked', skip },
      { kind: 'upload', reason: 'tried-again' },
    ],
    [
      'is tried again when touched',
      { local: touchedHere, remote: 'unasked', skip },
      { kind: 'upload', reason: 'tried-again' },
    ],
    [
      'is tried again as another file',
      { local: { ...here, inode: 8 }, remote: 'unasked', skip },
      { kind: 'upload', reason: 'tried-again' },
    ],
    [
      'is tried again with other settings',
      { local: here, remote: 'unasked', skip: { ...skip, settings: 'before' } },
      { kind: 'upload', reason: 'tried-again' },
    ],
    [
      'is left alone in its new version',
      { local: grownHere, remote: 'unasked', baseline, skip: { ...skip, local: grownHere } },
      { kind: 'remembered' },
    ],
    [
      'rests when it is the old one again',
      { local: here, remote: 'unasked', baseline, skip: { ...skip, local: grownHere } },
      { kind: 'unchanged' },
    ],
  ]);

  describe('by a pull', () => {
    judges({ direction: 'pull' }, [
      ['is left alone', { local: 'unasked', remote: there, skip: remoteSkip }, { kind: 'remembered' }],
      [
        'is tried again with another size',
        { local: 'unasked', remote: grownThere, baseline, skip: remoteSkip },
        { kind: 'download', reason: 'tried-again', baseline },
      ],
      [
        'is tried again with another time',
        { local: 'unasked', remote: editedThere, skip: remoteSkip },
        { kind: 'download', reason: 'tried-again' },
      ],
      [
        'is tried again with other settings',
        { local: 'unasked', remote: there, skip: { ...remoteSkip, settings: 'before' } },
        { kind: 'download' },
      ],
    ]);
  });

  it('loses no conflict by that', () => {
    const shown = { local: { ...grownHere, mtimeMs: 9_000 }, remote: grownThere, baseline };
    const policy = { mode: 'two-way', conflicts: 'newer' } as const;
    expect(verdictOf({ ...shown, skip: skipOf('f', { local: shown.local }) }, policy).kind).toBe(
      'remembered',
    );
  });
});

describe('proof by content', () => {
  const policy = { proof: 'content' } as const;

  it.each(['push', 'pull'] as const)(
    'reads both sides of what is the same by size and time: %s',
    (direction) => {
      const verdict = verdictOf({ local: here, remote: there, baseline }, { ...policy, direction });
      expect(verdict).toMatchObject({ kind: 'examine', file: here, remote: there, baseline });
      const decide = decideOf(verdict);
      expect(decide(content('same', 'same'))).toMatchObject({ kind: 'unchanged' });
      const [changed, differs] =
        direction === 'push'
          ? [content('changed', 'same'), content('same', 'changed')]
          : [content('same', 'changed'), content('changed', 'same')];
      expect(decide(changed)).toMatchObject({
        kind: direction === 'push' ? 'upload' : 'download',
        reason: 'changed',
      });
      expect(decide(differs)).toMatchObject(
        direction === 'push' ? { kind: 'upload', reason: 'differs' } : { kind: 'blocked', why: 'differs' },
      );
    },
  );

  it('compares what meets for the first time, whatever the times say', () => {
    for (const remote of [there, alikeThere]) {
      const verdict = verdictOf({ local: here, remote }, policy);
      expect(verdict).toMatchObject({ kind: 'meet', proof: 'compared', baseline: undefined });
      expect(decideOf(verdict)(content('changed', 'changed'))).toMatchObject({
        kind: 'upload',
        reason: 'differs',
      });
    }
    expect(verdictOf({ local: here, remote: grownThere }, policy)).toMatchObject({
      kind: 'upload',
      reason: 'differs',
    });
  });

  it('reads nothing where there is only one side to read', () => {
    expect(verdictOf({ local: here, remote: 'unasked', baseline }, policy).kind).toBe('unchanged');
    expect(verdictOf({ local: here, remote: 'unreadable', baseline }, policy).kind).toBe('unchanged');
    expect(verdictOf({ local: here, baseline }, policy).kind).toBe('upload');
  });
});

describe('two that meet at first', () => {
  it.each([
    ['copy', 'trusted'],
    ['mirror', 'trusted'],
    ['move', 'compared'],
    ['two-way', 'trusted'],
  ] as const)('by %s are %s where size and time agree', (mode, proof) => {
    for (const direction of ['push', 'pull'] as const) {
      expect(verdictOf({ local: here, remote: alikeThere }, { mode, direction })).toMatchObject({
        kind: 'meet',
        proof,
      });
    }
  });

  it('are the same where reading has shown it', () => {
    const decide = decideOf(verdictOf({ local: here, remote: there }, { mode: 'two-way' }));
    expect(decide(content('same', 'same'))).toMatchObject({ kind: 'unchanged' });
  });

  it('are known to differ where reading has shown it, on whichever side that is told', () => {
    const decide = decideOf(verdictOf({ local: here, remote: alikeThere }));
    for (const shown of [
      content('changed', 'same'),
      content('same', 'changed'),
      content('changed', 'changed'),
    ]) {
      expect(decide(shown)).toMatchObject({ kind: 'upload', reason: 'differs' });
    }
  });
});

describe('a directory', () => {
  const directory = { path: 'a/', directory: true } as const;
  const row = baselineOf('a/', {
    local: { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 },
    remoteModifiedMs: 0,
    sha256: '0'.repeat(64),
  });
  const local = directory;
  const remote = directory;
  const rowsOf = (shown: Shown, policy: Partial<Policy>): Verdict =>
    judge(metOf('a/', shown), policyOf(policy));
  const made = (side: string) => ({ kind: 'make-directory', side, here: 'a/', there: 'a/' });
  const removed = (side: string, known: string) => ({ kind: 'remove', side, at: 'a/', known, sizeBytes: 0 });

  it.each([
    ['push, new', { mode: 'copy' }, { local }, made('remote')],
    ['push, new, by the ledger', { mode: 'copy' }, { local, remote: 'unasked' }, made('remote')],
    ['pull, new', { mode: 'copy', direction: 'pull' }, { remote }, made('local')],
    ['on both sides at first', { mode: 'copy' }, { local, remote }, made('remote')],
    ['known', { mode: 'copy' }, { local, remote, baseline: row }, { kind: 'unchanged' }],
    [
      'known, to be proven by content',
      { mode: 'copy', proof: 'content' },
      { local, remote, baseline: row },
      { kind: 'unchanged' },
    ],
    ['lost at the target', { mode: 'copy' }, { local, baseline: row }, made('remote')],
    ['gone', { mode: 'copy' }, { remote, baseline: row }, { kind: 'kept' }],
    ['gone on both sides', { mode: 'copy' }, { baseline: row }, { kind: 'forget' }],
    ['gone, mirror', { mode: 'mirror' }, { remote, baseline: row }, removed('remote', 'ours')],
    [
      'gone, mirror by the ledger',
      { mode: 'mirror' },
      { remote: 'unasked', baseline: row },
      removed('remote', 'ours'),
    ],
    [
      'gone, mirror by pull',
      { mode: 'mirror', direction: 'pull' },
      { local, baseline: row },
      removed('local', 'ours'),
    ],
    ['at the target alone', { mode: 'mirror' }, { remote }, { kind: 'kept' }],
    [
      'at the target alone, to be deleted',
      { mode: 'mirror', extraneous: 'deleted' },
      { remote },
      removed('remote', 'extraneous'),
    ],
    ['not to be read', { mode: 'mirror' }, { local: 'unreadable', remote, baseline: row }, { kind: 'kept' }],
    ['move', { mode: 'move' }, { local }, made('remote')],
    ['move, made', { mode: 'move' }, { local, remote, baseline: row }, { kind: 'unchanged' }],
    ['move, gone', { mode: 'move' }, { remote, baseline: row }, { kind: 'forget' }],
    ['two-way, here alone', { mode: 'two-way' }, { local }, made('remote')],
    ['two-way, there alone', { mode: 'two-way' }, { remote }, made('local')],
    ['two-way, gone there', { mode: 'two-way' }, { local, baseline: row }, removed('local', 'ours')],
    ['two-way, gone here', { mode: 'two-way' }, { remote, baseline: row }, removed('remote', 'ours')],
    [
      'two-way, a file there',
      { mode: 'two-way' },
      { local, remote: 'foreign' },
      { kind: 'blocked', why: 'foreign', side: 'remote' },
    ],
  ] as const satisfies readonly (readonly [string, Partial<Policy>, Shown, object])[])(
    '%s',
    (_name, policy, shown, verdict) => {
      expect(rowsOf(shown, policy)).toMatchObject({ path: 'a/', ...verdict });
    },
  );
});

describe('places', () => {
  const place: Policy['place'] = (path, { baseline, modifiedMs, there }) => ({
    here: `here/${path}`,
    there: there ?? baseline?.target ?? `${modifiedMs}/${path}`,
  });
  const moved = baselineOf('f', { target: 'old/f' });

  it('hang on the source’s time where nothing was delivered yet', () => {
    expect(verdictOf({ local: here, remote: 'unasked' }, { place })).toMatchObject({
      kind: 'upload',
      here: 'here/f',
      there: '1000.25/f',
    });
    expect(
      verdictOf({ remote: { ...there, path: 'F%' }, local: 'unasked' }, { place, direction: 'pull' }),
    ).toMatchObject({
      kind: 'download',
      here: 'here/f',
      there: 'F%',
    });
  });

  it('are where the file was put, in every action', () => {
    const shown = { remote: 'unasked', baseline: moved } as const;
    const atOld = { here: 'here/f', there: 'old/f', baseline: moved };
    expect(verdictOf({ ...shown, local: grownHere }, { place })).toMatchObject({ kind: 'upload', ...atOld });
    expect(verdictOf({ ...shown, local: touchedHere }, { place })).toMatchObject({
      kind: 'examine',
      ...atOld,
    });
    expect(verdictOf({ ...shown, local: here }, { place, mode: 'move' })).toMatchObject({
      kind: 'finish',
      ...atOld,
    });
    expect(verdictOf({ ...shown, local: 'absent' }, { place, mode: 'mirror' })).toMatchObject({
      kind: 'remove',
      side: 'remote',
      at: 'old/f',
    });
    expect(
      verdictOf({ local: here, baseline: moved }, { place, mode: 'mirror', direction: 'pull' }),
    ).toMatchObject({ kind: 'remove', side: 'local', at: 'here/f' });
  });

  it('are told where both sides show themselves', () => {
    const shown = {
      local: { ...grownHere, mtimeMs: 9_000 },
      remote: { ...grownThere, path: 'there/f' },
      baseline: moved,
    };
    expect(verdictOf(shown, { place, mode: 'two-way' })).toMatchObject({
      kind: 'set-aside',
      here: 'here/f',
      there: 'there/f',
    });
    expect(verdictOf({ local: here, remote: { ...alikeThere, path: 'there/f' } }, { place })).toMatchObject({
      kind: 'meet',
      here: 'here/f',
      there: 'there/f',
    });
  });
});

describe('every judgement', () => {
  /** Few values, so that equal ones meet often. */
  const few = fc.constantFrom(0, 1_000, 1_500);
  const size = fc.constantFrom(1, 2);
  const print = fc.record({ sizeBytes: size, mtimeMs: few, ctimeMs: few, inode: fc.constantFrom(1, 2) });
  const maybe = <Value>(of: fc.Arbitrary<Value>) => fc.option(of, { nil: undefined });
  const notThere = fc.constantFrom('absent', 'unasked', 'unreadable', 'unproven', 'foreign', 'left-out');
  const anyLocal = fc.oneof(
    notThere,
    print.map((values) => localFile('f', values)),
  );
  const anyRemote = fc.oneof(
    notThere,
    fc.record({ sizeBytes: size, modifiedMs: maybe(few) }).map((values) => remoteFile('f', values)),
  );
  const anyBaseline = maybe(
    fc.record({ local: print, remoteModifiedMs: maybe(few) }).map((values) => baselineOf('f', values)),
  );
  const anySkip = maybe(
    fc
      .record({ local: print, settings: fc.constantFrom(SETTINGS, 'before') })
      .map((values) => skipOf('f', values)),
  );
  const anyMet: fc.Arbitrary<Met> = fc
    .record({ local: anyLocal, remote: anyRemote, baseline: anyBaseline, skip: anySkip })
    .map((shown) => metOf('f', shown));
  const anyPolicy = fc
    .record({
      mode: fc.constantFrom('copy', 'mirror', 'move', 'two-way'),
      direction: fc.constantFrom('push', 'pull'),
      conflicts: fc.constantFrom('newer', 'from', 'to', 'keep-both'),
      extraneous: fc.constantFrom('deleted', 'kept'),
      proof: fc.constantFrom('times', 'content'),
    })
    .map(policyOf);
  const state = fc.constantFrom('same', 'changed');
  const anyContent = fc.record({ local: state, remote: state });

  function* chainOf(met: Met, policy: Policy, contents: readonly Content[]): Generator<Verdict> {
    let verdict = judge(met, policy);
    yield verdict;
    for (const shown of contents) {
      if (verdict.kind !== 'examine' && verdict.kind !== 'meet') return;
      verdict = verdict.decide(shown);
      yield verdict;
    }
  }

  it('comes to an end after two readings, whatever they show', () => {
    fc.assert(
      fc.property(
        anyMet,
        anyPolicy,
        fc.array(anyContent, { minLength: 2, maxLength: 2 }),
        (met, policy, contents) => {
          const verdicts = [...chainOf(met, policy, contents)];
          expect(['examine', 'meet']).not.toContain(verdicts.at(-1)?.kind);
          for (const { path } of verdicts) expect(path).toBe('f');
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('touches no side that it has not seen, and deletes nothing that is not proven', () => {
    fc.assert(
      fc.property(
        anyMet,
        anyPolicy,
        fc.array(anyContent, { minLength: 2, maxLength: 2 }),
        (met, policy, contents) => {
          const { local, remote, known } = met;
          for (const verdict of chainOf(met, policy, contents)) {
            if (verdict.kind === 'upload') expect(local).toEqual({ kind: 'there', item: verdict.file });
            if (verdict.kind === 'download') expect(remote).toEqual({ kind: 'there', item: verdict.file });
            const written = { upload: remote, download: local }[verdict.kind as string];
            if (written?.kind === 'unseen') expect(written.why).toBe('unproven');
            if (verdict.kind === 'download' && local.kind === 'unasked') expect(verdict.over).toBe('ours');
            if (verdict.kind === 'remove') {
              const [at, other] = verdict.side === 'local' ? [local, remote] : [remote, local];
              expect(other.kind).toBe('absent');
              expect(['there', 'unasked']).toContain(at.kind);
              if (at.kind === 'unasked') expect(verdict.known).toBe('ours');
              expect(policy.mode === 'mirror' || policy.mode === 'two-way').toBe(true);
              if (verdict.known === 'extraneous') expect(policy.extraneous).toBe('deleted');
              else expect(verdict.sizeBytes).toBe(known?.baseline?.local.sizeBytes);
            }
            if (verdict.kind === 'finish') {
              const source = verdict.side === 'local' ? local : remote;
              expect([policy.mode, source.kind]).toEqual(['move', 'there']);
              expect(known?.baseline).toBe(verdict.baseline);
            }
            if (verdict.kind === 'set-aside') {
              expect([policy.mode, policy.conflicts, local.kind, remote.kind]).toEqual([
                'two-way',
                'keep-both',
                'there',
                'there',
              ]);
            }
            if (verdict.kind === 'forget') expect(known?.baseline).toBeDefined();
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('puts no copy over what a pull found here and did not put there', () => {
    fc.assert(
      fc.property(
        anyMet,
        anyPolicy,
        fc.array(anyContent, { minLength: 2, maxLength: 2 }),
        (met, any, contents) => {
          const policy = { ...any, mode: 'copy', direction: 'pull' } as const;
          fc.pre(met.local.kind === 'there');
          const last = [...chainOf(met, policy, contents)].at(-1);
          if (last?.kind !== 'download') return;
          const file = last.seen;
          expect(file).toMatchObject({ sizeBytes: last.baseline?.local.sizeBytes });
          const read = contents.some(({ local }) => local === 'same');
          if (!read) expect(file).toMatchObject({ ...last.baseline?.local });
        },
      ),
      { numRuns: 5_000 },
    );
  });
});
