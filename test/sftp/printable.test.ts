/* Words of servers, made harmless: what is invisible, what is too long, and what must not be repeated. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printable } from '../../src/sftp/printable.js';

test.each<[string, readonly string[], string]>([
  ['plain words', [], 'plain words'],
  ['two\r\nlines\n\n', [], 'two / lines'],
  ['red\u001b[31m and \u202ereversed\u0000', [], 'red?[31m and ?reversed?'],
  ['x'.repeat(400), [], `${'x'.repeat(300)}...`],
  ['ferry/hunter2 is not hunter2', ['hunter2'], 'ferry/**** is not ****'],
  ['an empty secret is none', [''], 'an empty secret is none'],
  [`${'x'.repeat(296)}hunter2`, ['hunter2'], `${'x'.repeat(296)}****`],
  [`${'\n'.repeat(1_198)}hunter2`, ['hunter2'], '**'],
  ['a.c and abc', ['a.c'], '**** and abc'],
])('%j without %j', (text, secrets, shown) => {
  expect(printable(text, secrets)).toBe(shown);
});

test('no text brings a secret through, and none is longer than a line', () => {
  const unit = fc.constantFrom('s', 'e', 'c', '\n', ' ', '\u200b', '*');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 2_000 }), (text) => {
      const shown = printable(text, ['sec']);
      return !/[\n\u200b]/.test(shown) && shown.length <= 303 && !shown.includes('sec');
    }),
  );
});
