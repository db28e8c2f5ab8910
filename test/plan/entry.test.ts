import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparePaths, sameFingerprint } from '../../src/plan/entry.js';
import { localFile } from './sample.js';

/** Characters around the places where UTF-16 and UTF-8 order differently, and around `/`. */
const character = fc.oneof(
  fc.constantFrom('a', 'b', '-', '.', '/', '0', ' ', '\u007f', '\u0080', '\u07ff', '\u0800', '\ud7ff'),
  fc.constantFrom('\ue000', '\uf8ff', '\ufffd', '\uffff', '\u{10000}', '\u{1f600}', '\u{10ffff}'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
);
const path = fc.array(character, { maxLength: 8 }).map((parts) => parts.join(''));

describe('comparePaths', () => {
  it('orders as the bytes of UTF-8 do', () => {
    fc.assert(
      fc.property(path, path, path, (head, a, b) => {
        const [x, y] = [head + a, head + b];
        expect(Math.sign(comparePaths(x, y))).toBe(Buffer.compare(Buffer.from(x), Buffer.from(y)));
      }),
      { numRuns: 5_000 },
    );
  });

  it('sorts a whole list as the bytes do', () => {
    fc.assert(
      fc.property(fc.array(path, { maxLength: 40 }), (paths) => {
        const byBytes = [...paths].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect([...paths].sort(comparePaths)).toEqual(byBytes);
      }),
    );
  });

  it.each([
    ['a', 'a', 0],
    ['a', 'a/b', -1],
    ['a.b', 'a/b', -1],
    ['a0', 'a/b', 1],
    ['\uffff', '\u{10000}', -1],
    ['\ue000', '\u{1f600}', -1],
    ['\u{10000}', '\u{10001}', -1],
    ['\u{10ffff}', '\ud7ff', 1],
  ] as const)('%j against %j is %i', (a, b, sign) => {
    expect(Math.sign(comparePaths(a, b))).toBe(sign);
    expect(Math.sign(comparePaths(b, a))).toBe(sign === 0 ? 0 : -sign);
  });
});

describe('sameFingerprint', () => {
  const file = localFile('a');

  it('takes two sights of one file for the same', () => {
    expect(sameFingerprint(file, { ...file, path: 'elsewhere', device: 9 } as typeof file)).toBe(true);
  });

  it.each(['sizeBytes', 'mtimeMs', 'ctimeMs', 'inode'] as const)('sees another %s', (field) => {
    expect(sameFingerprint(file, { ...file, [field]: file[field] + 0.25 })).toBe(false);
    expect(sameFingerprint({ ...file, [field]: file[field] - 1 }, file)).toBe(false);
  });
});
