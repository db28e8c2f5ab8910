import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createHasher } from '../../src/local/hasher.js';
import type { HashAlgorithm } from '../../src/plan/digest.js';

/* Of the nine ASCII digits, as RFC 1321, RFC 3174, FIPS 180-4 and the CRC catalogues have them. */
const CHECKS: Readonly<Record<HashAlgorithm, readonly [empty: string, digits: string]>> = {
  CRC32: ['00000000', 'cbf43926'],
  MD5: ['d41d8cd98f00b204e9800998ecf8427e', '25f9e794323b453885f5181f1b624d0b'],
  'SHA-1': ['da39a3ee5e6b4b0d3255bfef95601890afd80709', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
  'SHA-256': [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
  ],
};
const ALGORITHMS = Object.keys(CHECKS) as HashAlgorithm[];

/** Bit by bit, after the definition: reflected, polynomial 0xEDB88320. */
function crcByDefinition(bytes: Uint8Array): string {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}

describe.each(ALGORITHMS)('%s', (algorithm) => {
  test('of nothing and of nine digits', () => {
    const hasher = createHasher(algorithm);
    expect(hasher.digest()).toBe(CHECKS[algorithm][0]);
    hasher.update(Buffer.from('123456789'));
    expect(hasher.digest()).toBe(CHECKS[algorithm][1]);
  });

  test('does not depend on how the content is cut, and may be asked for on the way', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (pieces) => {
        const hasher = createHasher(algorithm);
        let sofar = Buffer.alloc(0);
        for (const piece of pieces) {
          hasher.update(Buffer.from(piece));
          sofar = Buffer.concat([sofar, piece]);
          const whole = createHasher(algorithm);
          whole.update(sofar);
          expect(hasher.digest()).toBe(whole.digest());
        }
        expect(hasher.digest()).toBe(hasher.digest());
        const reference =
          algorithm === 'CRC32'
            ? crcByDefinition(sofar)
            : createHash(algorithm.replace('-', '').toLowerCase()).update(sofar).digest('hex');
        expect(hasher.digest()).toBe(reference);
      }),
    );
  });

  test('does not hold on to what it was given', () => {
    const hasher = createHasher(algorithm);
    const piece = Buffer.from('123456789');
    hasher.update(piece);
    piece.fill(0);
    expect(hasher.digest()).toBe(CHECKS[algorithm][1]);
  });
});

test('a CRC keeps its leading zeros', () => {
  let text = 0;
  const crcOf = (content: string): string => {
    const hasher = createHasher('CRC32');
    hasher.update(Buffer.from(content));
    return hasher.digest();
  };
  while (!crcByDefinition(Buffer.from(`${text}`)).startsWith('00')) text += 1;
  expect(crcOf(`${text}`)).toMatch(/^00[0-9a-f]{6}$/);
});
