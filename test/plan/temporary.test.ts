import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isTemporary, temporaryName } from '../../src/plan/temporary.js';

it('stands beside the final name, is short, and is known as ours', () => {
  const component = fc.stringMatching(/^[^/\0]{1,40}$/);
  const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(path, fc.stringMatching(/^[0-9a-f]{16}$/), (final, token) => {
      const temporary = temporaryName(final, token);
      const directory = final.slice(0, final.lastIndexOf('/') + 1);
      expect(temporary.startsWith(directory)).toBe(true);
      expect(temporary.slice(directory.length)).not.toContain('/');
      expect(Buffer.byteLength(temporary) - Buffer.byteLength(directory)).toBeLessThan(40);
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
  ['.ferryd-0011', false],
  ['.ferryd', false],
  ['', false],
])('%j is one of ours: %s', (path, ours) => {
  expect(isTemporary(path)).toBe(ours);
});
