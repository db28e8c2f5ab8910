/* Charsets of names: what decodes encodes back to the same bytes, and what does not is never made into a name. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { charsetOf, UTF_8 } from '../../src/ftp/charset.js';

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Every encoding of the WHATWG list that Node has and FTP can carry. */
const LABELS = [
  'utf-8',
  'ibm866',
  ...[2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15].map((part) => `iso-8859-${part}`),
  'iso-8859-8-i',
  'koi8-r',
  'koi8-u',
  'macintosh',
  'windows-874',
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8].map((part) => `windows-125${part}`),
  'x-mac-cyrillic',
  'gbk',
  'gb18030',
  'big5',
  'euc-jp',
  'euc-kr',
  'shift_jis',
];

describe('UTF-8', () => {
  test.each<[string, Buffer]>([
    ['an overlong slash', bytes(0xc0, 0xaf)],
    ['an overlong slash of three bytes', bytes(0xe0, 0x80, 0xaf)],
    ['half of a surrogate pair', bytes(0xed, 0xa0, 0x80)],
    ['a surrogate pair as CESU-8', bytes(0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80)],
    ['beyond U+10FFFF', bytes(0xf4, 0x90, 0x80, 0x80)],
    ['a byte of Latin-1', bytes(0x61, 0xff)],
    ['an end in the middle of a character', bytes(0x61, 0xe2, 0x82)],
    ['a byte that goes on with nothing', bytes(0x80)],
  ])('%s is not decoded', (_what, raw) => {
    expect(UTF_8.decode(raw)).toBeUndefined();
  });

  test('a byte order mark and U+FFFD are characters like all others', () => {
    expect(UTF_8.decode(bytes(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa');
    expect(UTF_8.decode(bytes(0xef, 0xbf, 0xbd))).toBe('\ufffd');
  });

  test('half of a surrogate pair is not encoded', () => {
    expect(UTF_8.encode('a\ud800')).toBeUndefined();
    expect(UTF_8.encode('\udc00\ud800')).toBeUndefined();
    expect(UTF_8.encode('a😀')).toEqual(Buffer.from('a😀'));
  });
});

describe('code pages', () => {
  test.each<[label: string, text: string, raw: Buffer]>([
    ['windows-1252', 'Füße – 5 €', latin1('F\xfc\xdfe \x96 5 \x80')],
    ['windows-1250', 'Łódź', latin1('\xa3\xf3d\x9f')],
    ['windows-1251', 'Файл', latin1('\xd4\xe0\xe9\xeb')],
    ['koi8-r', 'Файл', latin1('\xe6\xc1\xca\xcc')],
    ['ibm866', 'Файл', latin1('\x94\xa0\xa9\xab')],
    ['iso-8859-15', '5 €', latin1('5 \xa4')],
    ['iso-8859-7', 'αρχείο', latin1('\xe1\xf1\xf7\xe5\xdf\xef')],
    // The second byte of each is a backslash or a bar, which is no separator.
    ['shift_jis', '表示.txt', latin1('\x95\x5c\x8e\xa6.txt')],
    ['shift_jis', 'ポ', latin1('\x83\x7c')],
    ['shift_jis', 'ｱ~\\', latin1('\xb1~\\')],
    ['euc-jp', '日本', latin1('\xc6\xfc\xcb\xdc')],
    ['euc-jp', 'ｱ', latin1('\x8e\xb1')],
    ['euc-jp', '丂', latin1('\x8f\xb0\xa1')],
    ['gbk', '文件', latin1('\xce\xc4\xbc\xfe')],
    ['gbk', '€', latin1('\x80')],
    ['gb18030', '文件', latin1('\xce\xc4\xbc\xfe')],
    ['gb18030', 'ü€', latin1('\xa8\xb9\xa2\xe3')],
    ['gb18030', 'ÿ😀', latin1('\x81\x30\x8b\x37\x94\x39\xfc\x36')],
    ['big5', '檔案', latin1('\xc0\xc9\xae\xd7')],
    ['big5', '功', latin1('\xa5\x5c')],
    ['big5', '十', latin1('\xa4\x51')],
    ['euc-kr', '파일', latin1('\xc6\xc4\xc0\xcf')],
  ])('%s: %s', (label, text, raw) => {
    const charset = charsetOf(label);
    expect(charset.encode(text)).toEqual(raw);
    expect(charset.decode(raw)).toBe(text);
  });

  test.each<[label: string, text: string]>([
    ['windows-1252', 'Файл'],
    ['windows-1252', 'a\u0100'],
    ['koi8-r', 'ü'],
    ['shift_jis', '한'],
    ['big5', '😀'],
    ['gb18030', 'a\ud800'],
    ['windows-1252', 'a\ufffd'],
  ])('%s has not all of %j', (label, text) => {
    expect(charsetOf(label).encode(text)).toBeUndefined();
  });

  test.each<[label: string, what: string, raw: Buffer]>([
    ['windows-1253', 'a byte that stands for nothing', bytes(0x61, 0xd2)],
    ['shift_jis', 'half of a character', bytes(0x61, 0x95)],
    ['shift_jis', 'a second way to write one', bytes(0xed, 0x40)],
    ['shift_jis', 'a first byte before a line feed', bytes(0x95, 0x0a)],
    ['big5', 'a second way to write one', bytes(0xa2, 0xcc)],
    ['gb18030', 'a euro sign that is not in the standard', bytes(0x80)],
    ['euc-kr', 'half of a character', bytes(0xc6)],
  ])('%s: %s is not decoded', (label, _what, raw) => {
    expect(charsetOf(label).decode(raw)).toBeUndefined();
  });

  test('ASCII is ASCII in all of them', () => {
    const ascii = Buffer.from(Array.from({ length: 0x7f - 0x20 }, (_, place) => 0x20 + place));
    for (const label of LABELS) {
      expect(charsetOf(label).decode(ascii), label).toBe(ascii.toString('latin1'));
      expect(charsetOf(label).encode(ascii.toString('latin1')), label).toEqual(ascii);
    }
  });

  test.each(LABELS)('%s: what decodes encodes back to the same bytes', (label) => {
    const charset = charsetOf(label);
    const raw = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.array(fc.oneof(fc.integer({ min: 0x80, max: 0xff }), fc.constantFrom(0x30, 0x41, 0x5c, 0x8f)), {
        maxLength: 8,
      }),
    );
    fc.assert(
      fc.property(raw, (values) => {
        const given = Buffer.from(values);
        const text = charset.decode(given);
        if (text !== undefined) expect(charset.encode(text)).toEqual(given);
      }),
      { numRuns: 400 },
    );
  });

  test.each(LABELS)('%s: what can be encoded comes back as it was', (label) => {
    const charset = charsetOf(label);
    let encoded = 0;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3 }), (text) => {
        const raw = charset.encode(text);
        if (raw === undefined) return;
        encoded += 1;
        expect(charset.decode(raw)).toBe(text);
      }),
      { numRuns: 400 },
    );
    expect(encoded).toBeGreaterThan(0);
  });

  test.each(LABELS.filter((label) => /^(?:iso|windows|koi8|ibm|mac|x-mac)/.test(label)))(
    '%s: every byte that the decoder knows comes back',
    (label) => {
      const decoder = new TextDecoder(label);
      for (let byte = 0; byte <= 0xff; byte += 1) {
        const known = decoder.decode(bytes(byte)) !== '\ufffd';
        expect(charsetOf(label).decode(bytes(byte)) !== undefined, `byte ${byte}`).toBe(known);
      }
    },
  );
});

describe('labels', () => {
  test.each<[string, string]>([
    ['UTF8', 'utf-8'],
    [' Latin1 ', 'windows-1252'],
    ['iso-8859-1', 'windows-1252'],
    ['cp1252', 'windows-1252'],
    ['cp932', 'shift_jis'],
    ['sjis', 'shift_jis'],
    ['cp936', 'gbk'],
    ['gb2312', 'gbk'],
    ['cp949', 'euc-kr'],
    ['cp950', 'big5'],
  ])('%j is %s', (label, expected) => {
    expect(charsetOf(label).label).toBe(expected);
    expect(charsetOf(label)).toBe(charsetOf(expected));
  });

  test.each<[string, RegExp]>([
    ['utf-16', /"utf-16" does not contain ASCII as it is/],
    ['utf-16be', /does not contain ASCII as it is/],
    ['iso-2022-jp', /shifts between states/],
    ['csiso2022jp', /does not contain ASCII as it is/],
    ['hz-gb-2312', /shifts between states/],
    ['us-ascii', /no letters beyond ASCII/],
    ['x-user-defined', /no charset called "x-user-defined" here: take utf-8/],
    ['replacement', /no charset called/],
    ['klingon', /no charset called "klingon"/],
    ['', /no charset called ""/],
    ['a\x1b[31m', /no charset called "a\\u001b\[31m"/],
    ['x'.repeat(1000), /no charset called "x{40}\.\.\."/],
  ])('%j is refused with a sentence', (label, sentence) => {
    expect(() => charsetOf(label)).toThrow(RangeError);
    expect(() => charsetOf(label)).toThrow(sentence);
  });
});

describe('shown to people', () => {
  test.each<[label: string, raw: Buffer, shown: string]>([
    ['utf-8', Buffer.from('Füße 日本 😀'), 'Füße 日本 😀'],
    ['utf-8', latin1('F\xc3\xbc\xdfe'), 'Fü\\xdfe'],
    ['utf-8', latin1('a\x1b[31m\r\n\x00'), 'a\\x1b[31m\\x0d\\x0a\\x00'],
    ['utf-8', Buffer.from('a\u202eb\u2028'), 'a\\u{202e}b\\u{2028}'],
    ['utf-8', latin1('\xe2\x82'), '\\xe2\\x82'],
    ['shift_jis', latin1('\x95\x5c\x95'), '表\\x95'],
    ['shift_jis', latin1('\x95'), '\\x95'],
  ])('%s: %j', (label, raw, shown) => {
    expect(charsetOf(label).show(raw)).toBe(shown);
  });

  test('any bytes are shown, bounded, and with nothing invisible', () => {
    for (const label of ['utf-8', 'windows-1252', 'shift_jis', 'gb18030']) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (values) => {
          expect(charsetOf(label).show(Buffer.from(values))).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        }),
        { numRuns: 200 },
      );
    }
    expect(UTF_8.show(Buffer.alloc(100_000, 0x61))).toBe(`${'a'.repeat(1024)}... (98976 more bytes)`);
  });
});
