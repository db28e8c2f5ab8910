import { expect, it } from 'vitest';
import { MANY_PLACES, Places } from '../../src/trigger/places.js';

const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `d/${i}`);

it('places unite, and are handed over once', () => {
  const places = new Places();
  places.add(['a', 'b/c']);
  places.add(new Set(['b/c', 'd']));
  expect(places.take()).toEqual(new Set(['a', 'b/c', 'd']));
  places.add(['e']);
  expect(places.take()).toEqual(new Set(['e']));
});

it('one that nobody can name makes it everything, whatever comes before and behind it', () => {
  const places = new Places();
  places.add(['a']);
  places.add(undefined);
  places.add(['b']);
  expect(places.take()).toBeUndefined();
  places.add(['c']);
  expect(places.take()).toEqual(new Set(['c']));
});

it('nothing named is everything', () => {
  expect(new Places().take()).toBeUndefined();
});

it('too many are everything', () => {
  const places = new Places();
  places.add(many(MANY_PLACES));
  expect(places.take()?.size).toBe(MANY_PLACES);
  places.add(many(MANY_PLACES));
  places.add(['one more']);
  expect(places.take()).toBeUndefined();
});
