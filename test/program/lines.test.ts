/* Whatever a program writes, in whatever pieces it comes: the same lines, within bounds, and every byte accounted for. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/program/lines.js';

function split(pieces: readonly Uint8Array[], maxBytes = 1_000_000) {
  const lines: string[] = [];
  const splitter = new LineSplitter(maxBytes, (line) => lines.push(line));
  for (const piece of pieces) splitter.take(piece, 'output');
  return { lines, dropped: splitter.end() };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('lines', () => {
  test.each([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\n\nb', ['a', '', 'b']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['1 %\r2 %\r3 %\n', ['3 %']],
    ['1 %\r2 %\r', ['2 %']],
    ['grün €\n', ['grün €']],
    ['\ufeffa\n', ['a']],
  ])('of %j', (text, lines) => {
    expect(split([bytes(text)])).toEqual({ lines, dropped: 0 });
  });

  test('of what is no UTF-8 have a replacement character', () => {
    expect(split([Buffer.from([0x61, 0xff, 0x62, 0x0a, 0xc3])]).lines).toEqual(['a\ufffdb', '\ufffd']);
  });

  test('too long are cut, and the next one is whole again', () => {
    const { lines, dropped } = split([bytes(`${'x'.repeat(10_000)}\nnext\n`)]);
    expect(lines).toEqual(['x'.repeat(8_192), 'next']);
    expect(dropped).toBe(10_000 - 8_192);
  });

  test('cut within a character end before it', () => {
    expect(split([bytes(`${'x'.repeat(8_191)}€\n`)]).lines).toEqual(['x'.repeat(8_191)]);
  });

  test('of two streams do not mix', () => {
    const heard: string[] = [];
    const splitter = new LineSplitter(1_000, (line, stream) => heard.push(`${stream} ${line}`));
    splitter.take(bytes('a'), 'output');
    splitter.take(bytes('b\n'), 'error');
    splitter.take(bytes('c\n'), 'output');
    splitter.end();
    expect(heard).toEqual(['error b', 'output ac']);
  });

  test('do not hang on how the bytes came', () => {
    const text = fc
      .array(fc.constantFrom('a', 'ü', '€', '😀', '\n', '\r\n', 'word '))
      .map((all) => all.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 9 }), { maxLength: 40 }), (written, cuts) => {
        const all = Buffer.from(written);
        const pieces: Uint8Array[] = [];
        let from = 0;
        for (const cut of cuts) {
          pieces.push(all.subarray(from, from + cut));
          from += cut;
        }
        pieces.push(all.subarray(from));
        expect(split(pieces)).toEqual(split([all]));
      }),
    );
  });

  test('and what was dropped make up all that was written', () => {
    const piece = fc.uint8Array({ maxLength: 300 }).map((one) => one.map((byte) => byte & 0x7f));
    fc.assert(
      fc.property(fc.array(piece), fc.nat({ max: 2_000 }), (pieces, maxBytes) => {
        // Without line ends and carriage returns a byte is a character.
        const plain = pieces.map((one) => one.map((byte) => (byte < 0x20 ? 0x20 : byte)));
        const { lines, dropped } = split(plain, maxBytes);
        const written = plain.reduce((sum, { length }) => sum + length, 0);
        expect(lines.join('').length + dropped).toBe(written);
        expect(lines.join('').length).toBeLessThanOrEqual(maxBytes);
      }),
    );
  });
});
