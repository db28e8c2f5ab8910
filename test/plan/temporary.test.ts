import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isTemporary, temporaryName } from '../../src/plan/temporary.js';

it('stands beside the final name, is short, and is known as ours', () => {
  const component = fc.stringMatching(/^[^/\0]{1,40}$/);
  const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const form = fc.constantFrom('hidden' as const, 'plain' as const);
  fc.assert(
    fc.property(path, fc.stringMatching(/^[0-9a-f]{16}$/), form, (final, token, form) => {
      const temporary = temporaryName(final, token, form);
      const directory = final.slice(0, final.lastIndexOf('/') + 1);
      expect(temporary.startsWith(directory)).toBe(true);
      expect(temporary.slice(directory.length)).not.toContain('/');
      expect(Buffer.byteLength(temporary) - Buffer.byteLength(directory)).toBeLessThan(100);
      expect(temporary).toContain(token);
      expect(isTemporary(temporary)).toBe(true);
    }),
  );
});

it.each([
  ['.ferryd-0011.part', true],
  ['a/b/.ferryd-0011.part', true],
  ['.ferryd-0011.part/a', false],
  ['ferryd-0011.part', false],
  ['.ferryd-0011.part.gz', false],
  ['a.ferryd-0011.part', false],
  ['a/ferryd-00112233445566aa.part.jpg', true],
  ['ferryd-00112233445566aa.part', true],
  ['ferryd-00112233445566aa.part.a.b', false],
  ['ferryd-00112233445566aa.parts', false],
  ['ferryd-00112233445566a.part', false],
  ['xferryd-00112233445566aa.part', false],
  ['.ferryd-0011', false],
  ['.ferryd', false],
  ['', false],
])('%j is one of ours: %s', (path, ours) => {
  expect(isTemporary(path)).toBe(ours);
});

it.each([
  ['a/photo.jpg', 'a/ferryd-00112233445566aa.part.jpg'],
  ['.profile', 'ferryd-00112233445566aa.part'],
  ['a.b/file', 'a.b/ferryd-00112233445566aa.part'],
  [`x.${'y'.repeat(200)}`, 'ferryd-00112233445566aa.part'],
])('in the plain form %j has no dot before it and ends as it did', (path, temporary) => {
  expect(temporaryName(path, '00112233445566aa', 'plain')).toBe(temporary);
});
