/* Which charsets a person may name: those that Node decodes and the engine can write names in. */
import { expect, test } from 'vitest';
import { charsetOf } from '../../src/ftp/charset.js';
import { CHARSETS, checkCharset } from '../../src/job/charset.js';

test.each(CHARSETS)('%s is one, in upper case too, and the engine has it', (label) => {
  expect(checkCharset(label)).toBeUndefined();
  expect(checkCharset(label.toUpperCase())).toBeUndefined();
  const charset = charsetOf(label);
  const bytes = charset.encode('a name.txt');
  expect(bytes?.toString('latin1')).toBe('a name.txt');
  expect(bytes && charset.decode(bytes)).toBe('a name.txt');
});

test.each([
  ['utf8', 'utf-8'],
  ['UTF_8', 'utf-8'],
  ['latin1', 'iso-8859-1'],
  ['ISO-8859-16', 'iso-8859-1'],
  ['iso8859-15', 'iso-8859-15'],
  ['cp1252', 'windows-1252'],
  ['CP-1251', 'windows-1251'],
  ['Shift-JIS', 'shift_jis'],
  ['gb18030', 'gbk'],
  ['cp866', 'ibm866'],
])('%s is none, and %s is meant', (text, meant) => {
  expect(checkCharset(text)).toMatch(new RegExp(`; did you mean "${meant}"\\?$`));
});

test.each(['utf-16le', 'iso-2022-jp', 'x-user-defined', 'replacement', '', 'constructor', 'x'.repeat(1_000)])(
  '%s is none',
  (text) => {
    expect(checkCharset(text)).toMatch(/^is no charset that ferryd can write names in; known are /);
  },
);
