/* What grows is seen, and what only swings is not. */
import { expect, test } from 'vitest';
import { flatness } from './flat.js';

const BOUND = { factor: 1.1, plus: 5 } as const;
const series = (length: number, value: (at: number) => number): number[] =>
  Array.from({ length }, (_, at) => value(at));

test.each([
  ['stands still', series(90, () => 100), 'flat'],
  ['swings', series(90, (at) => 100 + (at % 7) * 5), 'flat'],
  ['has peaks', series(90, (at) => (at % 10 === 9 ? 900 : 100)), 'flat'],
  ['shrinks', series(90, (at) => 200 - at), 'flat'],
  ['grows slowly', series(90, (at) => 100 + at / 2), 'grew'],
  ['makes one step', series(90, (at) => (at < 50 ? 100 : 130)), 'grew'],
  ['is hardly known', series(20, (at) => at * 100), 'unjudged'],
] as const)('%s', (_, samples, verdict) => {
  expect(flatness(samples, BOUND).verdict).toBe(verdict);
});

test('medians of the first and the last third are compared', () => {
  const samples = series(30, (at) => at);
  expect(flatness(samples, BOUND)).toEqual({ samples: 30, first: 5, last: 25, limit: 10.5, verdict: 'grew' });
});
