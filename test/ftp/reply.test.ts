/*
 * Replies from bytes (RFC 959 section 4.2): tables of what servers send, and properties over where the bytes are cut.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MalformedReply,
  printable,
  type Reply,
  ReplyParser,
  replyClass,
  replyText,
} from '../../src/ftp/reply.js';

interface Read {
  readonly replies: Reply[];
  readonly error: string | undefined;
  readonly holdsBytes: boolean;
}

/** Feeds the chunks one by one; stops at the first error, as a connection does. */
function read(...chunks: readonly (string | Buffer)[]): Read {
  const parser = new ReplyParser();
  const replies: Reply[] = [];
  try {
    for (const chunk of chunks) {
      for (const reply of parser.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)) {
        replies.push(reply);
      }
    }
  } catch (error) {
    if (!(error instanceof MalformedReply)) throw error;
    return { replies, error: error.message, holdsBytes: parser.holdsBytes };
  }
  return { replies, error: undefined, holdsBytes: parser.holdsBytes };
}

const codes = (result: Read): number[] => result.replies.map((reply) => reply.code);

describe('whole replies', () => {
  test.each<[string, string, Reply[]]>([
    ['one line', '220 Ready.\r\n', [{ code: 220, lines: ['220 Ready.'] }]],
    ['LF alone', '220 Ready.\n', [{ code: 220, lines: ['220 Ready.'] }]],
    ['a code alone', '226\r\n', [{ code: 226, lines: ['226'] }]],
    ['a code and a space', '226 \r\n', [{ code: 226, lines: ['226 '] }]],
    ['several lines', '211-A\r\n B\r\n211 C\r\n', [{ code: 211, lines: ['211-A', ' B', '211 C'] }]],
    [
      'other codes inside',
      '230-Hello\r\n220 not the end\r\n530 nor this\r\n230 End\r\n',
      [{ code: 230, lines: ['230-Hello', '220 not the end', '530 nor this', '230 End'] }],
    ],
    [
      'the code repeated with a dash',
      '211-A\r\n211-MLST\r\n211-B\r\n211 End\r\n',
      [{ code: 211, lines: ['211-A', '211-MLST', '211-B', '211 End'] }],
    ],
    [
      'digits that only begin like the code',
      '211-A\r\n2110 more\r\n211x\r\n211 End\r\n',
      [{ code: 211, lines: ['211-A', '2110 more', '211x', '211 End'] }],
    ],
    ['an end without words', '211-A\r\n211\r\n', [{ code: 211, lines: ['211-A', '211'] }]],
    ['empty lines inside', '211-A\r\n\r\n211 C\r\n', [{ code: 211, lines: ['211-A', '', '211 C'] }]],
    [
      'empty lines between',
      '220 A\r\n\r\n\n331 B\r\n',
      [
        { code: 220, lines: ['220 A'] },
        { code: 331, lines: ['331 B'] },
      ],
    ],
    [
      'several in one packet',
      '150 A\r\n226-B\r\n226 C\r\n250 D\n',
      [
        { code: 150, lines: ['150 A'] },
        { code: 226, lines: ['226-B', '226 C'] },
        { code: 250, lines: ['250 D'] },
      ],
    ],
    ['UTF-8', '257 "/Füße/日本"\r\n', [{ code: 257, lines: ['257 "/Füße/日本"'] }]],
    ['the lowest code', '100 A\r\n', [{ code: 100, lines: ['100 A'] }]],
    ['the highest code', '599 A\r\n', [{ code: 599, lines: ['599 A'] }]],
  ])('%s', (_name, bytes, replies) => {
    expect(read(bytes)).toEqual({ replies, error: undefined, holdsBytes: false });
  });

  test('an unterminated line is not a line', () => {
    expect(read('226 Transfer complete.')).toEqual({ replies: [], error: undefined, holdsBytes: true });
    expect(read('226 Transfer complete.\r')).toEqual({ replies: [], error: undefined, holdsBytes: true });
  });

  test('a reply without its last line is not a reply', () => {
    expect(read('226-Transfer\r\n226-complete\r\n')).toEqual({
      replies: [],
      error: undefined,
      holdsBytes: true,
    });
  });

  test('UTF-8 torn between two packets is whole again', () => {
    const bytes = Buffer.from('257 "/ü"\r\n');
    const cut = bytes.indexOf(0xc3) + 1;
    expect(read(bytes.subarray(0, cut), bytes.subarray(cut)).replies).toEqual([
      { code: 257, lines: ['257 "/ü"'] },
    ]);
  });
});

describe('what is no FTP', () => {
  test.each<[string, string]>([
    ['an SSH banner', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n'],
    ['no code', 'Hello\r\n'],
    ['two digits', '22 Hello\r\n'],
    ['four digits', '2200 Hello\r\n'],
    ['a space in front', ' 220 Hello\r\n'],
    ['a tab behind the code', '220\tHello\r\n'],
    ['code 099', '099 Hello\r\n'],
    ['code 600', '600 Hello\r\n'],
    ['code 000', '000\r\n'],
    ['NUL in a line', '220 He\0llo\r\n'],
    ['NUL in a line inside', '220-He\r\n\0\r\n220 x\r\n'],
    ['NUL without a line end', '\0'],
    ['a 600 behind a good one', '220 A\r\n600 B\r\n'],
  ])('%s', (_name, bytes) => {
    const result = read(bytes);
    expect(result.error).toBeDefined();
    expect(codes(result).every((code) => code === 220)).toBe(true);
  });

  test('messages never quote what came', () => {
    expect(read('\x1b[31mevil\r\n').error).toBe('a line without a reply code');
  });
});

describe('limits', () => {
  const line = (bytes: number): string => `220 ${'x'.repeat(bytes - 4)}`;

  test('a line may have 8 KiB, and no byte more', () => {
    expect(codes(read(`${line(8191)}\r\n`))).toEqual([220]);
    expect(codes(read(`${line(8192)}\n`))).toEqual([220]);
    expect(read(`${line(8193)}\n`).error).toContain('8192');
    expect(read(line(8193)).error).toContain('8192');
    expect(read(line(8192)).error).toBeUndefined();
  });

  test('a reply may have 64 KiB, and no byte more', () => {
    const inner = `${'y'.repeat(1023)}\n`;
    const most = `211-\n${inner.repeat(63)}${'z'.repeat(1010)}\n`;
    const rest = 64 * 1024 - most.length;
    expect(codes(read(`${most}211 ${'e'.repeat(rest - 5)}\n`))).toEqual([211]);
    expect(read(`${most}211 ${'e'.repeat(rest - 4)}\n`).error).toContain('65536');
  });

  test('each reply has its own 64 KiB', () => {
    const reply = `211-\n${`${'y'.repeat(1023)}\n`.repeat(60)}211 End\n`;
    expect(codes(read(reply, reply, reply))).toEqual([211, 211, 211]);
  });

  test('a server that only sends empty lines is not heard for ever', () => {
    expect(read('\n'.repeat(64 * 1024)).error).toBeUndefined();
    expect(read('\n'.repeat(64 * 1024 + 1)).error).toContain('65536');
  });

  test('never holds more than one reply and one line, whatever comes', () => {
    // The parser's memory is what it has not yet thrown at: endless input must end in an error within its limits.
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('x', '\n', '211-\n', '211-a', 'y'.repeat(700)), {
          minLength: 1,
          maxLength: 8,
        }),
        (pattern) => {
          const parser = new ReplyParser();
          let unanswered = 0;
          const chunk = Buffer.from(pattern.join(''));
          try {
            for (let round = 0; round < 200_000 && unanswered <= 80 * 1024; round += 1) {
              unanswered += chunk.length;
              for (const _ of parser.push(chunk)) unanswered = 0;
            }
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedReply);
          }
          expect(unanswered).toBeLessThanOrEqual(64 * 1024 + 8 * 1024 + chunk.length);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('properties', () => {
  const code = fc.integer({ min: 100, max: 599 }).map(String);
  const words = fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => text.replace(/[\r\n\0]/g, '.'));
  const ending = fc.constantFrom('\r\n', '\n');
  const reply = fc
    .tuple(
      code,
      words,
      fc.array(fc.tuple(fc.oneof(words, fc.constantFrom('226 x', '150-y', '')), ending)),
      ending,
    )
    .map(([number, last, inner, end]) => {
      // A line inside must not be the end by accident.
      const lines = inner.map(([text, eol]) => `${text.startsWith(number) ? `.${text}` : text}${eol}`);
      return lines.length === 0
        ? `${number} ${last}${end}`
        : `${number}-\n${lines.join('')}${number} ${last}${end}`;
    });
  const stream = fc
    .array(reply, { minLength: 1, maxLength: 4 })
    .map((replies) => Buffer.from(replies.join('')));

  test('cut in two at every offset, the replies are the same', () => {
    fc.assert(
      fc.property(stream, (bytes) => {
        const whole = read(bytes);
        expect(whole.error).toBeUndefined();
        expect(whole.replies.length).toBeGreaterThan(0);
        for (let offset = 0; offset <= bytes.length; offset += 1) {
          expect(read(bytes.subarray(0, offset), bytes.subarray(offset))).toEqual(whole);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('byte by byte, the replies are the same', () => {
    fc.assert(
      fc.property(stream, (bytes) => {
        expect(read(...[...bytes].map((byte) => Buffer.from([byte])))).toEqual(read(bytes));
      }),
      { numRuns: 60 },
    );
  });

  test('any bytes at all, cut anywhere: the same replies, or a MalformedReply', () => {
    const some = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.constantFrom('220 ', '220-', '\r\n', '\n', '\0', '226 done\r\n').map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(some, { maxLength: 12 }), fc.nat(200), (parts, at) => {
        const bytes = Buffer.concat(parts);
        const whole = read(bytes);
        const cut = read(bytes.subarray(0, at), bytes.subarray(at));
        expect(cut.replies).toEqual(whole.replies);
        expect(cut.error === undefined).toBe(whole.error === undefined);
      }),
      { numRuns: 500 },
    );
  });

  test('what is fit to print has no control or invisible characters and is short', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
        const shown = printable(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(shown.length).toBeLessThanOrEqual(303);
      }),
    );
  });
});

describe('fuzz', () => {
  /** What servers really send, to be spoilt. */
  const seeds = [
    '220-Welcome\r\n220-to\r\n220 here\r\n331 Password\r\n230 In\r\n',
    '211-Features:\r\n MDTM\r\n MLST type*;size*;\r\n UTF8\r\n211 End\r\n',
    '150 Here\r\n226-Options: -l\r\n226 Output truncated to 10000 matches\r\n',
    '257 "/Füße/""日本"" 🚢" is current\r\n229 (|||65535|)\r\n227 (127,0,0,1,4,1)\r\n',
    '213 12345\r\n213 20200102030405.678\r\n350 Ready\r\n250 Done\r\n',
  ].map((text) => Buffer.from(text));
  const spoiled = fc.record({
    seed: fc.constantFrom(...seeds),
    edits: fc.array(
      fc.record({
        at: fc.nat(200),
        cut: fc.nat(6),
        put: fc.oneof(
          fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
          fc
            .constantFrom(
              '\r',
              '\n',
              '\r\n',
              '\0',
              '-',
              ' ',
              '226',
              '226 ',
              '421 ',
              '\xff\xf4',
              'x'.repeat(8200),
            )
            .map((text) => Buffer.from(text, 'latin1')),
        ),
      }),
      { maxLength: 5 },
    ),
    cuts: fc.array(fc.nat(400), { maxLength: 5 }),
  });

  function spoil(seed: Buffer, edits: readonly { at: number; cut: number; put: Buffer }[]): Buffer {
    let bytes = seed;
    for (const { at, cut, put } of edits) {
      const from = at % (bytes.length + 1);
      bytes = Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(from + cut)]);
    }
    return bytes;
  }

  test('good replies, spoilt: a MalformedReply or replies, the same however they are cut, and all within limits', () => {
    let malformed = 0;
    let good = 0;
    fc.assert(
      fc.property(spoiled, ({ seed, edits, cuts }) => {
        const bytes = spoil(seed, edits);
        const whole = read(bytes);
        const ends = [...new Set([...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort(
          (a, b) => a - b,
        );
        const torn = read(...ends.map((end, place) => bytes.subarray(ends[place - 1] ?? 0, end)));
        expect(torn.replies).toEqual(whole.replies);
        expect(torn.error === undefined).toBe(whole.error === undefined);
        for (const { code, lines } of whole.replies) {
          expect(Number.isInteger(code) && code >= 100 && code <= 599).toBe(true);
          expect(lines[0]?.startsWith(String(code))).toBe(true);
          expect(lines.at(-1)?.startsWith(String(code))).toBe(true);
          expect(lines.every((line) => !/[\n\0]/.test(line) && line.length <= 8192)).toBe(true);
          expect(replyText({ code, lines })).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        }
        if (whole.error === undefined) good += 1;
        else malformed += 1;
      }),
      { numRuns: 3_000, seed: 20_260 },
    );
    expect(Math.min(good, malformed)).toBeGreaterThan(300);
  });

  test('a line inside never ends a reply, and nothing behind the last line is lost', () => {
    const inner = fc.constantFrom(
      '226',
      '226-x',
      '226x',
      '2260 x',
      ' 226 x',
      '150 x',
      '',
      '-',
      '22',
      '421 x',
    );
    fc.assert(
      fc.property(fc.array(inner, { maxLength: 8 }), (lines) => {
        const text = ['226-first', ...lines, '226 last', '331 next', ''].join('\r\n');
        const { replies, error } = read(text);
        const early = lines.indexOf('226');
        if (early < 0) {
          expect(error).toBeUndefined();
          expect(replies.map(({ code }) => code)).toEqual([226, 331]);
          expect(replies[0]?.lines).toHaveLength(lines.length + 2);
        } else expect(replies[0]?.lines).toHaveLength(early + 2);
      }),
      { numRuns: 500 },
    );
  });
});

describe('words', () => {
  test.each<[Reply, string]>([
    [{ code: 553, lines: ['553 No.'] }, 'No.'],
    [{ code: 230, lines: ['230-Hello', '230- there', '', '230 End'] }, 'Hello / there / End'],
    [{ code: 226, lines: ['226'] }, ''],
    [{ code: 550, lines: ['550 \x1b[31mred\u202e'] }, '?[31mred?'],
    [{ code: 550, lines: ['550 5500 files'] }, '5500 files'],
  ])('%j', (reply, text) => {
    expect(replyText(reply)).toBe(text);
  });

  test('are cut at 300 characters', () => {
    expect(replyText({ code: 550, lines: [`550 ${'x'.repeat(400)}`] })).toBe(`${'x'.repeat(300)}...`);
  });

  test.each([
    [150, 1],
    [226, 2],
    [331, 3],
    [450, 4],
    [599, 5],
  ])('%i is of class %i', (code, expected) => {
    expect(replyClass({ code, lines: [] })).toBe(expected);
  });
});
