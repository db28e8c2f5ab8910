/*
 * Columns, moments and ages as `status` and `history` show them.
 */
import { expect, test } from 'vitest';
import { ago, columns, moment } from '../../src/cli/table.js';

test('columns are as wide as their widest cell, and no line ends in spaces', () => {
  const rows = [
    ['run 1', '2026', 'a long last cell that is not padded'],
    ['run 12', '', ''],
    ['x', '20261', 'end'],
  ];
  expect(columns(rows)).toBe(
    ['run 1   2026   a long last cell that is not padded', 'run 12', 'x       20261  end', ''].join('\n'),
  );
});

test('rows may differ in length, and no rows are no text', () => {
  expect(columns([['a'], ['bb', 'c']])).toBe('a\nbb  c\n');
  expect(columns([])).toBe('');
});

test('a moment is shown in local time, and none is a dash', () => {
  const date = new Date(2026, 0, 2, 3, 4, 5);
  expect(moment(date.getTime())).toBe('2026-01-02 03:04:05');
  expect(moment(undefined)).toBe('-');
});

test.each([
  [0, '0 seconds ago'],
  [1_000, '1 second ago'],
  [1_499, '1 second ago'],
  [89_000, '89 seconds ago'],
  [90_000, '2 minutes ago'],
  [89 * 60_000, '89 minutes ago'],
  [90 * 60_000, '2 hours ago'],
  [35 * 3_600_000, '35 hours ago'],
  [36 * 3_600_000, '2 days ago'],
  [400 * 86_400_000, '400 days ago'],
  // A clock that was set back makes no future.
  [-5_000, '0 seconds ago'],
])('%i ms are %s', (ms, text) => {
  expect(ago(1_000_000, 1_000_000 + ms)).toBe(text);
});
