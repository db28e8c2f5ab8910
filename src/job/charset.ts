/*
 * The charsets that names on a server can be written in, as a person names them: the labels of the WHATWG Encoding
 * Standard that Node can decode, and that have one byte sequence for a name. Left out are charsets with a state
 * (iso-2022-jp), UTF-16, whose bytes hold NUL and CR, and gb18030, of which gbk is the part that servers use.
 * Only labels; the engine has the tables.
 */
import { closest, didYouMean } from './suggest.js';

/** Lower case, sorted as they are told. */
export const CHARSETS: readonly string[] = [
  'utf-8',
  ...numbered('iso-8859-', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15]),
  ...numbered('windows-', [874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258]),
  'koi8-r',
  'koi8-u',
  'macintosh',
  'x-mac-cyrillic',
  'ibm866',
  'shift_jis',
  'euc-jp',
  'euc-kr',
  'gbk',
  'big5',
];

/** What other programs call them; only ever a hint. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['unicode', 'utf-8'],
  ['ascii', 'utf-8'],
  ['usascii', 'utf-8'],
  ...['latin1', 'iso88591', 'l1'].map((name): [string, string] => [name, 'iso-8859-1']),
  ['latin2', 'iso-8859-2'],
  ['latin9', 'iso-8859-15'],
  ['ansi', 'windows-1252'],
  ...[874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258].flatMap((page): [string, string][] =>
    ['cp', 'win', 'ms'].map((prefix) => [`${prefix}${page}`, `windows-${page}`]),
  ),
  ['cp866', 'ibm866'],
  ['mac', 'macintosh'],
  ['macroman', 'macintosh'],
  ...['sjis', 'cp932', 'windows31j', 'ms932'].map((name): [string, string] => [name, 'shift_jis']),
  ...['cp949', 'uhc'].map((name): [string, string] => [name, 'euc-kr']),
  ...['gb2312', 'gb18030', 'cp936', 'ms936'].map((name): [string, string] => [name, 'gbk']),
  ...['cp950', 'big5hkscs'].map((name): [string, string] => [name, 'big5']),
]);

/** Says what is wrong with a charset's name, or undefined where it is one; upper and lower case are the same. */
export function checkCharset(text: string): string | undefined {
  const label = text.toLowerCase();
  if (CHARSETS.includes(label)) return undefined;
  const suggestion = closest(label, CHARSETS, OTHER_NAMES);
  return `is no charset that ferryd can write names in; known are utf-8, iso-8859-1 to iso-8859-15, windows-1250 to windows-1258 and others of the job reference${didYouMean(suggestion)}`;
}

function numbered(prefix: string, numbers: readonly number[]): string[] {
  return numbers.map((number) => `${prefix}${number}`);
}
