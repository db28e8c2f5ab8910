import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable } from '../../src/report/printable.js';

describe('printable', () => {
  it.each([
    ['plain text, äöü, 日本語, 🚢', 'plain text, äöü, 日本語, 🚢'],
    ['', ''],
    ['two\r\nlines\tand a tab', 'two\\r\\nlines\\tand a tab'],
    ['\x1b[31mred\x1b[0m', '\\x1b[31mred\\x1b[0m'],
    ['\x1b]0;title\x07', '\\x1b]0;title\\x07'],
    ['bell\x07 nul\0 del\x7f csi\x9b31m', 'bell\\x07 nul\\x00 del\\x7f csi\\x9b31m'],
    ['invoice\u202efdp.exe', 'invoice\\u202efdp.exe'],
    ['a\u200bb\u2066c\ufeffd\u2028e', 'a\\u200bb\\u2066c\\ufeffd\\u2028e'],
    ['tag \u{e0041}', 'tag \\u{e0041}'],
    ['half \ud83d of a pair', 'half \\ud83d of a pair'],
  ])('shows %j as %j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('cuts what is too long, and says how much', () => {
    const shown = printable('x'.repeat(5000));
    expect(shown).toBe(`${'x'.repeat(4096)}... (904 more characters)`);
  });

  it('lets nothing invisible through and changes nothing that is visible', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const shown = printable(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(printable(shown)).toBe(shown);
        if (!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text)) expect(shown).toBe(text);
      }),
      { seed: 5, numRuns: 1000 },
    );
  });
});
