/* How hashes are asked for and read: what FEAT says becomes forms, and the replies that servers are known to give. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestIn, type HashAlgorithm, hashArgument, hashForms } from '../../src/ftp/hash.js';
import type { Reply } from '../../src/ftp/reply.js';

const SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const SHA1 = 'da39a3ee5e6b4b0d3255bfef95601890afd80709';
const MD5 = 'd41d8cd98f00b204e9800998ecf8427e';

const reply = (...lines: string[]): Reply => ({ code: Number(lines.at(-1)?.slice(0, 3)), lines });

const formsOf = (...features: readonly (readonly [string, string])[]): string[] =>
  hashForms(new Map(features)).map(({ verb, algorithm }) => `${verb} ${algorithm}`);

describe('the forms that a server lists', () => {
  test.each([
    ['SHA-256*;SHA-512;SHA-1;MD5;CRC32', ['HASH SHA-256', 'HASH SHA-1', 'HASH MD5', 'HASH CRC32']],
    ['sha-256;md5*', ['HASH SHA-256', 'HASH MD5']],
    ['SHA-1,MD5*', ['HASH SHA-1', 'HASH MD5']],
    ['SHA-1 MD5', ['HASH SHA-1', 'HASH MD5']],
    ['SHA-1*;', ['HASH SHA-1']],
    ['SHA-512*;SHA-384', []],
    ['', []],
    ['SHA-2567', []],
  ])('HASH %s', (words, wanted) => {
    expect(formsOf(['HASH', words])).toEqual(wanted);
  });

  test('the strongest first, and of equals HASH', () => {
    expect(
      formsOf(['XCRC', ''], ['XMD5', ''], ['XSHA1', ''], ['XSHA256', ''], ['HASH', 'MD5;SHA-256*']),
    ).toEqual(['HASH SHA-256', 'XSHA256 SHA-256', 'XSHA1 SHA-1', 'HASH MD5', 'XMD5 MD5', 'XCRC CRC32']);
  });

  test('an X command with words behind it is one all the same, and others are none', () => {
    expect(formsOf(['XCRC', 'filename;start;end'], ['XSHA512', ''], ['MD5', ''])).toEqual(['XCRC CRC32']);
    expect(formsOf()).toEqual([]);
  });
});

test('the X commands want quotes around spaces, HASH wants none', () => {
  expect(hashArgument({ verb: 'XCRC', algorithm: 'CRC32' }, '/a b')).toBe('"/a b"');
  expect(hashArgument({ verb: 'XCRC', algorithm: 'CRC32' }, '/ab')).toBe('/ab');
  expect(hashArgument({ verb: 'HASH', algorithm: 'SHA-1' }, '/a b')).toBe('/a b');
});

describe('the digest in a reply', () => {
  test.each<[HashAlgorithm, string[], string]>([
    ['SHA-256', [`213 SHA-256 0-49 ${SHA256} filename.ext`], SHA256],
    ['SHA-256', [`213 SHA-256 0-0 ${SHA256.toUpperCase()} a name with spaces`], SHA256],
    ['SHA-1', [`213 SHA-1 0-49 ${SHA1} ${SHA256}`], SHA1],
    ['MD5', [`250 ${MD5}`], MD5],
    ['MD5', [`250 ${MD5.toUpperCase()}`], MD5],
    ['MD5', [`251 /path/file.bin ${MD5}`], MD5],
    ['MD5', [`250 XMD5 ${MD5}.`], MD5],
    ['SHA-1', ['250-Computing SHA1 digest', `250 ${SHA1}`], SHA1],
    ['SHA-1', ['213-Hash:', ` ${SHA1}`, '213 End'], SHA1],
    ['MD5', [`213 MD5=${MD5};`], MD5],
    ['SHA-256', [`213 SHA-256 0-49 ${SHA256} ${SHA256}`], SHA256],
    ['CRC32', ['250 CBF43926'], 'cbf43926'],
    ['CRC32', ['250 0xCBF43926'], 'cbf43926'],
    ['CRC32', ['250 3926'], '00003926'],
    ['CRC32', ['250 0'], '00000000'],
    ['CRC32', ['213 CRC32 0-9 cbf43926 file'], 'cbf43926'],
    ['CRC32', ['213 CRC-32 0-9 cbf43926 deadbeef'], 'cbf43926'],
    ['CRC32', ['250-Computing CRC32', '250 CBF43926'], 'cbf43926'],
  ])('%s in %j', (algorithm, lines, wanted) => {
    expect(digestIn(reply(...lines), algorithm)).toBe(wanted);
  });

  test.each<[HashAlgorithm, string[]]>([
    ['SHA-256', ['213 Done.']],
    ['SHA-256', [`213 SHA-1 0-49 ${SHA1} file`]],
    ['SHA-256', [`213 ${SHA256}0`]],
    ['SHA-256', [`213 ${SHA256.slice(1)}`]],
    ['SHA-256', [`213 ${SHA256} ${SHA256.replace('e', 'f')}`]],
    ['MD5', [`250 ${MD5.replace('d', 'g')}`]],
    ['CRC32', ['250 123456789']],
    ['CRC32', ['250 File checked.']],
    ['CRC32', ['250 ']],
  ])('none for %s in %j', (algorithm, lines) => {
    expect(digestIn(reply(...lines), algorithm)).toBeUndefined();
  });

  test('whatever a server says, there is a digest of the right length or none', () => {
    const digits = { 'SHA-256': 64, 'SHA-1': 40, MD5: 32, CRC32: 8 } as const;
    const word = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom(SHA256, SHA1, MD5, 'CRC32', '0-9', 'cbf43926', '-', '=', ';', '\u0000', 'é'),
    );
    fc.assert(
      fc.property(
        fc.array(fc.array(word, { maxLength: 6 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom<HashAlgorithm>('SHA-256', 'SHA-1', 'MD5', 'CRC32'),
        (lines, algorithm) => {
          const found = digestIn(reply(...lines.map((words) => `213 ${words.join(' ')}`)), algorithm);
          if (found !== undefined) expect(found).toMatch(new RegExp(`^[0-9a-f]{${digits[algorithm]}}$`));
        },
      ),
    );
  });
});
