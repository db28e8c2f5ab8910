import { describe, expect, it } from 'vitest';
import { filterOf } from '../../src/run/filter.js';

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
