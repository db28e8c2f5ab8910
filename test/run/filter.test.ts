import { describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { filterOf as filterOfJob, unwatchedOf, weighOf } from '../../src/run/filter.js';

const filterOf = (names: Pick<Job, 'include' | 'exclude'>): ((path: string) => boolean) =>
  filterOfJob({ hidden: 'include', ...names });

const ALL = ['**'];

describe('the default', () => {
  const wants = filterOf({ include: ALL, exclude: [] });

  it.each([
    'a',
    'a/b/c.gz',
    '.hidden',
    '.git/config',
    'a/.env',
    ' ',
    '-rf',
    'a\nb',
    'x\n/y\u2028z',
    '[brackets]',
    '{braces}',
    'a/..b',
    '...',
    'ünïcode/\u{1f600}',
    'ferryd-1.part',
  ])('wants %j', (path) => {
    expect(wants(path)).toBe(true);
    expect(wants(`${path}/`)).toBe(true);
  });

  it.each(['.ferryd-00ff.part', 'a/b/.ferryd-00ff.part'])('never wants our own %j', (path) => {
    expect(wants(path)).toBe(false);
  });
});

it.each([
  // include, exclude, path, wanted
  [['**/*.gz'], [], 'a.gz', true],
  [['**/*.gz'], [], 'x/y/a.gz', true],
  [['**/*.gz'], [], 'x/.y/.a.gz', true],
  [['**/*.gz'], [], 'a.tar', false],
  [['**/*.gz'], [], 'A.GZ', false],
  [['*.gz'], [], 'x/a.gz', false],
  [['*.gz', 'x/*.tar'], [], 'x/a.tar', true],
  [['a/**'], [], 'a/b/c', true],
  [['a/**'], [], 'ab/c', false],
  [ALL, ['**/*.tmp'], 'x/a.tmp', false],
  [ALL, ['**/*.tmp'], 'x/a.tmpx', true],
  [['**/*.gz'], ['**/old-*'], 'old-1.gz', false],
  [['!(a)'], [], 'b', true],
  [ALL, ['[ab].txt'], 'a.txt', false],
  [ALL, ['file?'], 'file1', false],
  [ALL, ['{x,y}/**'], 'y/1', false],
  // No pattern at all: nothing is wanted, and nothing is left out.
  [[], [], 'a', false],
])('include %j, exclude %j: %j is %s', (include, exclude, path, wanted) => {
  expect(filterOf({ include, exclude })(path)).toBe(wanted);
});

describe('directories', () => {
  it('are looked into whatever is included, because what is wanted may lie below', () => {
    const wants = filterOf({ include: ['a/b/*.gz'], exclude: [] });
    expect([wants('a/'), wants('a/b/'), wants('other/')]).toEqual([true, true, true]);
  });

  it.each([
    ['node_modules/**', 'node_modules/', false],
    ['**/node_modules/**', 'a/node_modules/', false],
    ['**/node_modules/**', 'node_modules/', false],
    ['node_modules', 'node_modules/', false],
    ['**/.git', 'a/.git/', false],
    ['a/*', 'a/', true],
    ['a/*', 'a/b/', false],
    ['**/*.tmp', 'a/', true],
  ])('excluded by %j: %j is looked into: %s', (pattern, directory, lookedInto) => {
    expect(filterOf({ include: ALL, exclude: [pattern] })(directory)).toBe(lookedInto);
  });
});

describe('a .ferryignore', () => {
  const wants = filterOf({ include: ALL, exclude: [] });

  it.each(['.ferryignore', 'a/.ferryignore', '.ferryignore/', 'a/.ferryignore/'])(
    'never goes along: %j',
    (path) => {
      expect(wants(path)).toBe(false);
    },
  );

  it.each(['a.ferryignore', '.ferryignore.bak', '.ferryignore/x'])('others do: %j', (path) => {
    expect(wants(path)).toBe(true);
  });

  it('is watched, because it changes much', () => {
    const unwatched = unwatchedOf({ include: ['*.gz'], exclude: ['**/.*'], hidden: 'skip' });
    expect(['.ferryignore', 'a/.ferryignore', 'a.gz', 'a.txt', 'a'].map(unwatched)).toEqual(
      Array(5).fill(false),
    );
    expect(['.git', 'a/.env', '.ferryignore.swp'].map(unwatched)).toEqual([true, true, true]);
  });
});

describe('hidden names', () => {
  const wants = filterOfJob({ include: ['**', '.env'], exclude: [], hidden: 'skip' });

  it.each(['.env', 'a/.env', '.git/', '.git/config', 'a/.b/', 'a/.b/c', '...', '..a'])(
    'stay behind: %j',
    (path) => {
      expect(wants(path)).toBe(false);
    },
  );

  it.each(['a', 'a.b', 'a./', 'a./b', 'a/b.c', '-.', ' .a'])('others do not: %j', (path) => {
    expect(wants(path)).toBe(true);
  });
});

describe('size and age', () => {
  const NOW = 1_000_000_000_000;
  const NONE = { minBytes: undefined, maxBytes: undefined };
  const ANY = { minMs: undefined, maxMs: undefined };

  it('without limits everything fits, whatever its time', () => {
    const weigh = weighOf({ size: NONE, age: ANY }, NOW);
    expect(weigh({ sizeBytes: 0, modifiedMs: undefined })).toBe('fits');
    expect(weigh({ sizeBytes: Number.MAX_SAFE_INTEGER, modifiedMs: NOW + 1 })).toBe('fits');
  });

  it.each([
    [{ minBytes: 10, maxBytes: undefined }, 9, 'left-out'],
    [{ minBytes: 10, maxBytes: undefined }, 10, 'fits'],
    [{ minBytes: undefined, maxBytes: 10 }, 10, 'fits'],
    [{ minBytes: undefined, maxBytes: 10 }, 11, 'left-out'],
    [{ minBytes: undefined, maxBytes: 0 }, 0, 'fits'],
    [{ minBytes: 5, maxBytes: 5 }, 5, 'fits'],
  ] as const)('size %j: %d bytes %s', (size, sizeBytes, fit) => {
    expect(weighOf({ size, age: ANY }, NOW)({ sizeBytes, modifiedMs: undefined })).toBe(fit);
  });

  it.each([
    [{ minMs: 1_000, maxMs: undefined }, NOW - 999, 'left-out'],
    [{ minMs: 1_000, maxMs: undefined }, NOW - 1_000, 'fits'],
    [{ minMs: 1_000, maxMs: undefined }, NOW + 5_000, 'left-out'],
    [{ minMs: undefined, maxMs: 1_000 }, NOW - 1_000, 'fits'],
    [{ minMs: undefined, maxMs: 1_000 }, NOW - 1_000.5, 'left-out'],
    // A clock that is ahead makes nothing too old.
    [{ minMs: undefined, maxMs: 1_000 }, NOW + 5_000, 'fits'],
    [{ minMs: 1_000, maxMs: 2_000 }, NOW - 1_500, 'fits'],
    [{ minMs: 1_000, maxMs: undefined }, undefined, 'unknown'],
    [{ minMs: undefined, maxMs: 1_000 }, undefined, 'unknown'],
  ] as const)('age %j: modified at %s: %s', (age, modifiedMs, fit) => {
    expect(weighOf({ size: NONE, age }, NOW)({ sizeBytes: 1, modifiedMs })).toBe(fit);
  });

  it('what its size leaves out already needs no time', () => {
    const weigh = weighOf(
      { size: { minBytes: 1, maxBytes: undefined }, age: { minMs: 1, maxMs: undefined } },
      NOW,
    );
    expect(weigh({ sizeBytes: 0, modifiedMs: undefined })).toBe('left-out');
  });
});
