/* The trash's names: what is below it, and since when. */
import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import {
  fromNote,
  fromTrash,
  inTrash,
  isTrash,
  noteOf,
  stampMs,
  stampOf,
  TRASH,
} from '../../src/plan/trash.js';

test.each([
  ['.ferryd-trash', true],
  ['.ferryd-trash/', true],
  ['.ferryd-trash/20261123T023015Z/a', true],
  ['.ferryd-trash.old/a', false],
  ['.ferryd-trashy', false],
  ['a/.ferryd-trash', false],
  ['a', false],
])('%j belongs to the trash: %s', (path, trash) => {
  expect(isTrash(path)).toBe(trash);
});

it('dates in UTC, to the second', () => {
  expect(stampOf(Date.UTC(2026, 10, 23, 2, 30, 15, 999))).toBe('20261123T023015Z');
  expect(stampMs('20261123T023015Z')).toBe(Date.UTC(2026, 10, 23, 2, 30, 15));
});

test.each([
  '',
  '20261123T023015',
  '2026-11-23T02:30:15Z',
  '20260230T023015Z',
  '20261123T243015Z',
  '20261123T026015Z',
  '20261323T023015Z',
  '00001123T023015Z ',
  'x20261123T023015Z',
])('%j is no stamp', (text) => {
  expect(stampMs(text)).toBeUndefined();
});

it('sorts by time, and finds back what it was given', () => {
  const time = fc.integer({ min: Date.UTC(1970, 0, 1), max: Date.UTC(9999, 11, 31) });
  const path = fc
    .array(fc.stringMatching(/^[^/\0]{1,20}$/), { minLength: 1, maxLength: 4 })
    .map((components) => components.join('/'));
  fc.assert(
    fc.property(time, time, path, (aMs, bMs, original) => {
      const [a, b] = [stampOf(aMs), stampOf(bMs)];
      expect(stampMs(a)).toBe(Math.floor(aMs / 1000) * 1000);
      if (a < b) expect(aMs).toBeLessThan(bMs);
      if (a > b) expect(aMs).toBeGreaterThan(bMs);
      const trashed = inTrash(original, a);
      expect(isTrash(trashed)).toBe(true);
      expect(fromTrash(trashed)).toEqual({ stamp: a, path: original });
      const note = noteOf(trashed, b);
      expect(note.slice(0, note.lastIndexOf('/'))).toBe(trashed.slice(0, trashed.lastIndexOf('/')));
      expect(fromNote(note)).toEqual({ trashed, stamp: b });
      expect(fromNote(trashed)).toBeUndefined();
    }),
  );
});

test.each([
  TRASH,
  `${TRASH}/20261123T023015Z`,
  `${TRASH}/20261123T023015Z/`,
  `${TRASH}/notes/a`,
  `${TRASH}/20260230T023015Z/a`,
  `a/20261123T023015Z/a`,
  `a/${TRASH}/20261123T023015Z/a`,
])('%j was put there by no run', (path) => {
  expect(fromTrash(path)).toBeUndefined();
});

test.each([
  `a.ferryd-restored-20261123T023015Z`,
  `${TRASH}/20261123T023015Z.ferryd-restored-20261123T023015Z`,
  `${TRASH}/20261123T023015Z/.ferryd-restored-20261123T023015Z`,
  `${TRASH}/20261123T023015Z/a/.ferryd-restored-20261123T023015Z`,
  `${TRASH}/20261123T023015Z/a.ferryd-restored-20260230T023015Z`,
  `${TRASH}/20261123T023015Z/a.ferryd-restored-20261123T023015Z/b`,
])('%j notes nothing', (path) => {
  expect(fromNote(path)).toBeUndefined();
});
