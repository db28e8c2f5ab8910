/*
 * Text of strangers (server replies, file names) made harmless for a log and a terminal: protocol.md, "Replies".
 * Whatever is not visible is written out, so that nothing can move the cursor, recolour, ring, reorder or hide a
 * line, and two names that look alike do not. It is no escaping that could be read back.
 */

/** Longer texts are cut; a reply may be 64 KiB long, a log line should not. */
const LONGEST_TEXT = 4_096;

/**
 * Controls (C0, DEL, C1: with them ANSI), format characters (bidi marks, zero-width, BOM), line and paragraph
 * separators, halves of surrogate pairs.
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const SHORT: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
]);

/** Most texts are these characters alone, and looking for them is far quicker. */
const PLAIN = /^[ -~]*$/;

/** The same text with each invisible character written out (`\n`, `\x1b`, `\u202e`), cut at 4,096 characters. */
export function printable(text: string): string {
  if (text.length <= LONGEST_TEXT && PLAIN.test(text)) return text;
  const cut = text.length > LONGEST_TEXT ? text.slice(0, LONGEST_TEXT) : text;
  const shown = cut.replace(INVISIBLE, writtenOut);
  const left = text.length - cut.length;
  return left > 0 ? `${shown}... (${left} more characters)` : shown;
}

function writtenOut(character: string): string {
  const short = SHORT.get(character);
  if (short !== undefined) return short;
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
}
