/*
 * The words of a plan: one line for each kind of action and finding, and the sums in a sentence.
 */
import { describe, expect, test } from 'vitest';
import { lineText, styleOf } from '../../src/cli/plan.js';
import { lineOf, lineOfFinding, Sums, type Terms } from '../../src/cli/planned.js';
import type { Verdict } from '../../src/plan/action.js';
import type { Baseline, LocalFile, RemoteFile } from '../../src/plan/entry.js';

const PUSH: Terms = { mode: 'copy', direction: 'push', deletes: { policy: 'delete' } };
const MIRROR: Terms = { mode: 'mirror', direction: 'push', deletes: { policy: 'trash' } };
const BOTH: Terms = { mode: 'two-way', direction: 'push', deletes: { policy: 'trash' } };

const HERE: LocalFile = { path: 'a', sizeBytes: 2_048, mtimeMs: 1, ctimeMs: 2, inode: 3, device: 4 };
const THERE: RemoteFile = { path: 'a', sizeBytes: 10, modifiedMs: 5 };
const BASELINE: Baseline = { path: 'a', local: HERE, sha256: '0'.repeat(64), remoteModifiedMs: 5 };
const AT = { path: 'a', here: 'a', there: 'a', baseline: undefined } as const;

const decide = (): Verdict => ({ kind: 'unchanged', path: 'a' });

function upload(more: Partial<Extract<Verdict, { kind: 'upload' }>> = {}): Verdict {
  return { kind: 'upload', ...AT, file: HERE, reason: 'new', ...more };
}

function download(more: Partial<Extract<Verdict, { kind: 'download' }>> = {}): Verdict {
  return { kind: 'download', ...AT, file: THERE, reason: 'new', over: 'ours', seen: undefined, ...more };
}

function removal(more: Partial<Extract<Verdict, { kind: 'remove' }>> = {}): Verdict {
  const sized = { sizeBytes: 10, modifiedMs: 5, baseline: BASELINE };
  return { kind: 'remove', path: 'a', side: 'remote', at: 'a', known: 'ours', ...sized, ...more };
}

const LINK = { path: 'a', leadsTo: '../x' };
const SKIP = { path: 'a', local: HERE, code: '553', text: 'Permission denied', settings: '', atMs: 0 };

test.each<[string, Verdict, Terms]>([
  ['upload: new, 2.0 KiB', upload(), PUSH],
  ['upload: changed, 2.0 KiB', upload({ reason: 'changed' }), PUSH],
  ['upload: the server holds something else, 2.0 KiB', upload({ reason: 'differs' }), PUSH],
  ['upload: missing on the server, 2.0 KiB', upload({ reason: 'missing' }), PUSH],
  ['upload: refused before, tried again, 2.0 KiB', upload({ reason: 'tried-again' }), PUSH],
  ['upload: changed on both sides; the one here wins, 2.0 KiB', upload({ reason: 'conflict' }), BOTH],
  ['upload: new, 2.0 KiB, as 2026/a', upload({ there: '2026/a' }), PUSH],
  ['upload: new, 2.0 KiB; first what is in its place is deleted', upload({ after: 'deletions' }), MIRROR],
  ['upload: new, a link to ../x', upload({ file: LINK }), PUSH],
  ['download: new, a link to ../x', download({ file: LINK }), PUSH],
  [
    'trash: on the server: gone at the source, a link to ../x, into .ferryd-trash',
    removal({ sizeBytes: 0, modifiedMs: undefined, leadsTo: '../x' }),
    MIRROR,
  ],
  [
    'compare: both have this link; it is only remembered',
    { kind: 'meet', ...AT, proof: 'trusted', local: LINK, remote: LINK, decide },
    PUSH,
  ],
  [
    'keep-both: changed on both sides; the one here is kept as a.conflict-<date>-<time>, 10 B both',
    { kind: 'set-aside', path: 'a', here: 'a', there: 'a', side: 'local', local: LINK, remote: THERE },
    BOTH,
  ],
  ['download: new, 10 B', download(), PUSH],
  ['download: something else stands here, 10 B', download({ reason: 'differs' }), PUSH],
  ['download: missing here, 10 B', download({ reason: 'missing' }), PUSH],
  [
    'download: changed on both sides; the one on the server wins, 10 B',
    download({ reason: 'conflict' }),
    BOTH,
  ],
  ['download: new, 10 B, as 2026/a', download({ here: '2026/a' }), PUSH],
  ['trash: on the server: gone at the source, 10 B, into .ferryd-trash', removal(), MIRROR],
  [
    'trash: on the server: gone at the source, 10 B, 2026/a, into .ferryd-trash',
    removal({ at: '2026/a' }),
    MIRROR,
  ],
  [
    'delete: on the server: gone at the source, 10 B',
    removal(),
    { ...MIRROR, deletes: { policy: 'delete' } },
  ],
  [
    'delete: here: gone at the source',
    removal({ path: 'a/', at: 'a/', side: 'local', sizeBytes: 0 }),
    MIRROR,
  ],
  ['trash: on the server: gone here, 10 B, into .ferryd-trash', removal(), BOTH],
  ['trash: here: gone on the server, 10 B, into .ferryd-trash', removal({ side: 'local' }), BOTH],
  [
    'trash: on the server: not in the source, 10 B, into .ferryd-trash',
    removal({ known: 'extraneous', baseline: undefined }),
    MIRROR,
  ],
  [
    'trash: on the server: gone at the source, and changed since, 10 B, into .ferryd-trash',
    removal({ known: 'extraneous' }),
    MIRROR,
  ],
  [
    'keep-both: changed on both sides; the one here is kept as a.conflict-<date>-<time>, 2.0 KiB both',
    { kind: 'set-aside', path: 'a', here: 'a', there: 'a', side: 'local', local: HERE, remote: THERE },
    BOTH,
  ],
  [
    'move: delivered before; the source goes, here',
    { kind: 'finish', ...AT, side: 'local', baseline: BASELINE, local: HERE, remote: undefined },
    { ...PUSH, mode: 'move' },
  ],
  [
    'mkdir: on the server',
    { kind: 'make-directory', path: 'a/', here: 'a/', there: 'a/', side: 'remote' },
    PUSH,
  ],
  [
    'examine: touched; its content decides',
    { kind: 'examine', ...AT, file: HERE, baseline: BASELINE, remote: undefined, decide },
    PUSH,
  ],
  [
    'examine: written just before it was looked at last; its content decides',
    {
      kind: 'examine',
      ...AT,
      file: HERE,
      baseline: { ...BASELINE, local: { ...HERE, ctimeMs: 0 } },
      remote: undefined,
      decide,
    },
    PUSH,
  ],
  [
    'examine: both have it; their content decides',
    { kind: 'examine', ...AT, file: HERE, baseline: BASELINE, remote: THERE, decide },
    PUSH,
  ],
  [
    'compare: both have it; their content decides',
    { kind: 'meet', ...AT, local: HERE, remote: THERE, proof: 'compared', decide },
    PUSH,
  ],
  [
    'compare: both have it, of the same size and time; it is only remembered',
    { kind: 'meet', ...AT, local: HERE, remote: THERE, proof: 'trusted', decide },
    PUSH,
  ],
  [
    'skip: refused before (553: Permission denied), and neither it nor the settings have changed',
    { kind: 'remembered', path: 'a', skip: SKIP },
    PUSH,
  ],
  ['forget: gone on both sides', { kind: 'forget', path: 'a' }, PUSH],
  [
    'blocked: what stands in its place on the server cannot be seen',
    { kind: 'blocked', path: 'a', why: 'unreadable', side: 'remote' },
    PUSH,
  ],
])('%s', (expected, verdict, terms) => {
  const line = lineOf(verdict, terms);
  expect(`${line?.action}: ${line?.why}`).toBe(expected);
});

test.each<Verdict>([
  { kind: 'unchanged', path: 'a' },
  { kind: 'left-out', path: 'a' },
  { kind: 'kept', path: 'a' },
  // Their findings tell, with what to do about them.
  { kind: 'spared', path: 'a', side: 'remote' },
  { kind: 'blocked', path: 'a', why: 'differs', side: 'local' },
  { kind: 'blocked', path: 'a', why: 'foreign', side: 'remote' },
])('no line for $kind', (verdict) => {
  expect(lineOf(verdict, MIRROR)).toBeUndefined();
});

test.each([
  ['ignore', { kind: 'ignored', path: 'a', message: 'a link' }],
  ['wait', { kind: 'waiting', path: 'a', message: 'its marker' }],
  ['unread', { kind: 'unreadable', path: 'a', code: 'EACCES', message: 'no right' }],
  ['skip', { kind: 'unfit', path: 'a', code: 'name', message: 'too long' }],
  ['skip', { kind: 'unfit', path: 'a', code: 'changed-there', message: 'not deleted' }],
  ['blocked', { kind: 'unfit', path: 'a', code: 'local-differs', message: 'not overwritten' }],
  ['blocked', { kind: 'unfit', path: 'a', code: 'special-file', message: 'a device' }],
] as const)('a finding is told as %s', (action, finding) => {
  expect(lineOfFinding(finding)).toEqual({ action, path: 'a', why: finding.message });
});

test('the root is called by a name', () => {
  const finding = { kind: 'unreadable', path: '', code: 'EACCES', message: 'no right' } as const;
  expect(lineOfFinding(finding).path).toBe('.');
});

describe('sums', () => {
  function sumsOf(verdicts: readonly Verdict[], terms: Terms): Sums {
    const sums = new Sums(terms);
    for (const verdict of verdicts) {
      sums.count(verdict);
      const line = lineOf(verdict, terms);
      if (line !== undefined) sums.add(line);
    }
    return sums;
  }
  const unchanged: Verdict = { kind: 'unchanged', path: 'b' };

  test('of nothing to do', () => {
    expect(sumsOf([unchanged], PUSH).sentence).toBe('A run would upload 0 files (0 B); 1 unchanged.');
    expect(sumsOf([unchanged], BOTH).sentence).toBe('A run would change nothing; 1 unchanged.');
    const pull: Terms = { ...PUSH, direction: 'pull' };
    expect(sumsOf([], pull).sentence).toBe('A run would download 0 files (0 B); 0 unchanged.');
    expect(sumsOf([], MIRROR).deletes).toBe(false);
  });

  test('by kind and side, with bytes, and what is left', () => {
    const verdicts: Verdict[] = [
      upload(),
      upload({ reason: 'changed', baseline: BASELINE }),
      download(),
      removal(),
      removal({ side: 'local' }),
      removal({ path: 'd/', at: 'd/', sizeBytes: 0 }),
      { kind: 'remembered', path: 'a', skip: SKIP },
      { kind: 'kept', path: 'k' },
      { kind: 'unchanged', path: 'directory/' },
      unchanged,
    ];
    const sums = sumsOf(verdicts, BOTH);
    expect(sums.sentence).toBe(
      'A run would upload 2 files (4.0 KiB), download 1 file (10 B), move 1 file on the server into the trash (10 B), move 1 file here into the trash (10 B), delete 1 directory; 1 unchanged, 1 skipped, 1 only at the target. What is replaced goes into .ferryd-trash.',
    );
    expect(sums.deletes).toBe(true);
    expect(sums.json).toEqual({
      upload: { files: 2, bytes: 4_096 },
      download: { files: 1, bytes: 10 },
      trash: { files: 2, bytes: 20 },
      delete: { files: 1, bytes: 0 },
      skip: { files: 1, bytes: 0 },
      unchanged: 1,
      kept: 1,
    });
  });

  test('a move says that sources go', () => {
    expect(sumsOf([upload()], { ...PUSH, mode: 'move' }).sentence).toBe(
      'A run would upload 1 file (2.0 KiB); 0 unchanged. Each source goes once its file has arrived.',
    );
  });
});

describe('the line', () => {
  const line = { action: 'upload', path: 'a\x1b[2J\nb', why: 'new\r' } as const;

  test('without colours has none, and nothing of a name gets to the terminal as it is', () => {
    expect(lineText(line, 8, 'plain')).toBe('upload   a\\x1b[2J\\nb  (new\\r)');
    expect(lineText({ ...line, action: 'keep-both', path: 'b', why: 'w' }, 9, 'plain')).toBe(
      'keep-both b  (w)',
    );
  });

  test('with colours says the same', () => {
    const coloured = lineText(line, 8, 'coloured');
    expect(coloured).toContain('\x1b[32mupload  \x1b[39m ');
    expect(coloured.replaceAll(/\x1b\[\d+m/g, '')).toBe(lineText(line, 8, 'plain'));
    expect(lineText({ action: 'trash', path: 'a', why: 'w' }, 8, 'coloured')).toContain('\x1b[31mtrash');
    expect(lineText({ action: 'wait', path: 'a', why: 'w' }, 8, 'coloured')).toContain('\x1b[33mwait');
  });

  test.each([
    ['coloured', { isTTY: true }, {}],
    ['plain', {}, {}],
    ['plain', { isTTY: true }, { NO_COLOR: '1' }],
    ['coloured', { isTTY: true }, { NO_COLOR: '' }],
    ['plain', { isTTY: true }, { TERM: 'dumb' }],
  ] as const)('is %s on %j with %j', (style, stream, environment) => {
    expect(styleOf(stream, environment)).toBe(style);
  });
});
