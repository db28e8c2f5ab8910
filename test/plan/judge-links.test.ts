/*
 * The judge on links: only their text is compared, whatever the mode; a link and a file are never the same; and which of
 * two links is the newer one is nobody's to say.
 */
import { describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/plan/action.js';
import { contentless, type LinkEntry } from '../../src/plan/entry.js';
import { judge, type Policy } from '../../src/plan/judge.js';
import { localFile, metOf, policyOf, remoteFile, SETTINGS } from './sample.js';

const link = (leadsTo: string): LinkEntry => ({ path: 'f', leadsTo });
const agreed = (leadsTo: string) => contentless('f', { target: undefined, leadsTo });
const file = localFile('f');
const theirs = remoteFile('f');

type Shown = Parameters<typeof metOf>[1];

const verdictOf = (shown: Shown, policy: Partial<Policy>): Verdict =>
  judge(metOf('f', shown), policyOf(policy));

type Row = readonly [name: string, policy: Partial<Policy>, shown: Shown, verdict: object];

const push = { direction: 'push' } as const;
const pull = { direction: 'pull' } as const;
const both = { mode: 'two-way' } as const;

const ROWS: readonly Row[] = [
  ['new', push, { local: link('x'), remote: 'unasked' }, { kind: 'upload', reason: 'new', file: link('x') }],
  ['the same', push, { local: link('x'), remote: 'unasked', baseline: agreed('x') }, { kind: 'unchanged' }],
  [
    'another text',
    push,
    { local: link('y'), remote: 'unasked', baseline: agreed('x') },
    { kind: 'upload', reason: 'changed', file: link('y') },
  ],
  [
    'a file that has become a link',
    push,
    { local: link('x'), remote: 'unasked', baseline: { ...agreed('x'), leadsTo: undefined } },
    { kind: 'upload', reason: 'changed' },
  ],
  [
    'a link that has become a file',
    push,
    { local: file, remote: 'unasked', baseline: agreed('x') },
    { kind: 'upload', reason: 'changed', file },
  ],
  [
    'a link that has become an empty file',
    push,
    {
      local: localFile('f', { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 }),
      remote: 'unasked',
      baseline: agreed('x'),
    },
    { kind: 'upload', reason: 'changed' },
  ],
  [
    'fetched',
    pull,
    { local: 'unasked', remote: link('x') },
    { kind: 'download', over: 'ours', file: link('x') },
  ],
  ['both have it', push, { local: link('x'), remote: link('x') }, { kind: 'meet', proof: 'trusted' }],
  [
    'both have it, by content',
    { proof: 'content' },
    { local: link('x'), remote: link('x'), baseline: agreed('x') },
    { kind: 'unchanged' },
  ],
  [
    'both have others, push',
    push,
    { local: link('x'), remote: link('y') },
    { kind: 'upload', reason: 'differs' },
  ],
  [
    'both have others, pull',
    pull,
    { local: link('x'), remote: link('y') },
    { kind: 'blocked', why: 'differs' },
  ],
  ['a file here, pull', pull, { local: file, remote: link('y') }, { kind: 'blocked', why: 'differs' }],
  ['a file there, push', push, { local: link('x'), remote: theirs }, { kind: 'upload', reason: 'differs' }],
  [
    'gone, mirror',
    { mode: 'mirror' },
    { local: 'absent', remote: 'unasked', baseline: agreed('x') },
    { kind: 'remove', leadsTo: 'x', known: 'ours', sizeBytes: 0, modifiedMs: undefined },
  ],
  [
    'gone, mirror, changed there',
    { mode: 'mirror' },
    { local: 'absent', remote: link('y'), baseline: agreed('x') },
    { kind: 'spared' },
  ],
  [
    'gone, and a file there, mirror',
    { mode: 'mirror', extraneous: 'deleted' },
    { local: 'absent', remote: theirs, baseline: agreed('x') },
    { kind: 'remove', known: 'extraneous', sizeBytes: theirs.sizeBytes },
  ],
  [
    'delivered before, move',
    { mode: 'move' },
    { local: link('x'), remote: 'unasked', baseline: agreed('x') },
    { kind: 'finish', side: 'local', local: link('x') },
  ],
  ['both have it, move', { mode: 'move' }, { local: link('x'), remote: link('x') }, { kind: 'meet' }],
  ...(['keep-both', 'newer'] as const).map(
    (conflicts): Row => [
      `clash, ${conflicts}`,
      { ...both, conflicts },
      { local: link('x'), remote: link('y'), baseline: agreed('z') },
      { kind: 'set-aside', local: link('x'), remote: link('y') },
    ],
  ),
  [
    'a link against a newer file, newer',
    { ...both, conflicts: 'newer' },
    { local: link('x'), remote: theirs },
    { kind: 'set-aside' },
  ],
  [
    'clash, from',
    { ...both, conflicts: 'from' },
    { local: link('x'), remote: link('y') },
    { kind: 'upload', reason: 'conflict', file: link('x') },
  ],
  [
    'both changed it to the same',
    both,
    { local: link('y'), remote: link('y'), baseline: agreed('x') },
    { kind: 'meet', proof: 'trusted' },
  ],
  [
    'changed there',
    both,
    { local: link('x'), remote: link('y'), baseline: agreed('x') },
    { kind: 'download', over: 'seen', seen: link('x') },
  ],
];

describe('a link', () => {
  test.each(ROWS)('%s', (_name, policy, shown, verdict) => {
    expect(verdictOf(shown, policy)).toMatchObject({ path: 'f', ...verdict });
  });

  test('that was refused stays so until it leads elsewhere', () => {
    const skip = {
      path: 'f',
      local: agreed('x').local,
      leadsTo: 'x',
      code: 'link-outside',
      text: '',
      settings: SETTINGS,
      atMs: 1,
    };
    const judged = (leadsTo: string): string =>
      verdictOf({ local: 'absent', remote: link(leadsTo), skip }, pull).kind;
    expect(judged('x')).toBe('remembered');
    expect(judged('y')).toBe('download');
    const ofFile = { ...skip, leadsTo: undefined, local: { sizeBytes: 0, mtimeMs: 0, ctimeMs: 0, inode: 0 } };
    expect(verdictOf({ local: 'absent', remote: link('x'), skip: ofFile }, pull).kind).toBe('download');
  });
});
