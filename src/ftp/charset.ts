/*
 * Charsets of names on the wire: UTF-8 (RFC 2640), and the code pages of servers that never heard of it, as far as
 * `TextDecoder` knows them (WHATWG labels). It only decodes, so the encoder is its inversion. Strict in both
 * directions: a name is decoded only if encoding gives the same bytes back, because a name that comes back as other
 * bytes is another file. Does not guess a charset, and knows none that is stateful or does not contain ASCII.
 */
import { isUtf8 } from 'node:buffer';
import { TextDecoder } from 'node:util';

/** How names are written in bytes on one server. */
export interface Charset {
  /** WHATWG name of the encoding in lower case. */
  readonly label: string;
  /** The bytes of a text, or undefined where the charset lacks one of its characters. */
  encode(text: string): Buffer | undefined;
  /** The text, or undefined where it does not encode back to exactly these bytes. */
  decode(bytes: Buffer): string | undefined;
  /** For people: what can be decoded, with the rest and all that is not visible written out (`\xff`). Bounded. */
  show(bytes: Buffer): string;
}

/** No byte order mark is taken off, nothing overlong and no half of a surrogate pair passes. */
export const UTF_8: Charset = {
  label: 'utf-8',
  encode: (text) => (/\p{Cs}/u.test(text) ? undefined : Buffer.from(text, 'utf8')),
  decode: (bytes) => (isUtf8(bytes) ? bytes.toString('utf8') : undefined),
  show: (bytes) => show(bytes, UTF_8.decode),
};

/** What people and servers call code pages that WHATWG has under another name. */
const OTHER_LABELS: ReadonlyMap<string, string> = new Map([
  ['cp874', 'windows-874'],
  ['cp932', 'shift_jis'],
  ['cp936', 'gbk'],
  ['cp949', 'euc-kr'],
  ['cp950', 'big5'],
]);

const STATEFUL: readonly string[] = ['iso-2022-jp', 'iso-2022-kr', 'iso-2022-cn', 'hz-gb-2312', 'utf-7'];

/* WHATWG takes them for windows-1252, which is not what they say. */
const ONLY_ASCII: readonly string[] = ['ascii', 'us-ascii', 'ansi_x3.4-1968', 'iso646-us', 'iso-ir-6'];

/* One for each encoding, since an encoder of two bytes takes tens of milliseconds to build. */
const known = new Map<string, Charset>([[UTF_8.label, UTF_8]]);

/**
 * The charset with a WHATWG label such as `windows-1252`, `koi8-r` or `shift_jis`, in any case.
 *
 * @throws RangeError with a sentence for people where there is no such charset, or FTP cannot carry it
 */
export function charsetOf(label: string): Charset {
  const wanted = label.trim().toLowerCase();
  const shown = JSON.stringify(label.length > 40 ? `${label.slice(0, 40)}...` : label);
  const instead = "take utf-8, or the server's code page, such as windows-1252, shift_jis or gbk";
  if (ONLY_ASCII.includes(wanted)) {
    throw new RangeError(`The charset ${shown} has no letters beyond ASCII: ${instead}.`);
  }
  if (STATEFUL.includes(wanted)) {
    throw new RangeError(
      `The charset ${shown} shifts between states, which names in FTP cannot: ${instead}.`,
    );
  }
  const decoder = decoderOf(OTHER_LABELS.get(wanted) ?? wanted);
  if (decoder === undefined) throw new RangeError(`There is no charset called ${shown} here: ${instead}.`);
  const found = known.get(decoder.encoding);
  if (found !== undefined) return found;
  if (decoder.encoding === 'iso-2022-jp' || !containsAscii(decoder)) {
    throw new RangeError(
      `The charset ${shown} does not contain ASCII as it is, which FTP needs: ${instead}.`,
    );
  }
  const charset = new CodePage(decoder.encoding);
  known.set(decoder.encoding, charset);
  return charset;
}

function decoderOf(label: string): TextDecoder | undefined {
  try {
    return new TextDecoder(label, { ignoreBOM: true });
  } catch {
    return undefined;
  }
}

function containsAscii(decoder: TextDecoder): boolean {
  const printable = Uint8Array.from({ length: 0x7f - 0x20 }, (_, place) => 0x20 + place);
  return decoder.decode(printable) === Buffer.from(printable).toString('latin1');
}

/** A charset of one to four bytes a character. */
class CodePage implements Charset {
  readonly label: string;
  readonly #decoder: TextDecoder;
  #table: ReadonlyMap<number, number> | undefined;

  constructor(label: string) {
    this.label = label;
    this.#decoder = new TextDecoder(label, { ignoreBOM: true });
  }

  encode(text: string): Buffer | undefined {
    this.#table ??= encoderTable(this.label);
    const bytes: number[] = [];
    for (const character of text) {
      const codePoint = character.codePointAt(0) ?? 0;
      const packed =
        this.#table.get(codePoint) ?? (this.label === 'gb18030' ? beyondBmp(codePoint) : undefined);
      if (packed === undefined) return undefined;
      // Packed with the last byte lowest; no sequence of several bytes begins with a zero.
      if (packed > 0xffffff) bytes.push((packed >>> 24) & 0xff);
      if (packed > 0xffff) bytes.push((packed >>> 16) & 0xff);
      if (packed > 0xff) bytes.push((packed >>> 8) & 0xff);
      bytes.push(packed & 0xff);
    }
    return Buffer.from(bytes);
  }

  decode(bytes: Buffer): string | undefined {
    const text = this.label === 'windows-1252' ? windows1252(bytes) : this.#decoder.decode(bytes);
    return this.encode(text)?.equals(bytes) ? text : undefined;
  }

  show(bytes: Buffer): string {
    return show(bytes, (part) => this.decode(part));
  }
}

/*
 * Some lines of Node (22 and 23) decode windows-1252 as ISO 8859-1, which differs in these 32. A byte that stands
 * for nothing is the control character of its number, as WHATWG has it.
 */
const WINDOWS_1252_80_9F = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

function windows1252(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  return text.replace(/[\x80-\x9f]/g, (byte) => WINDOWS_1252_80_9F[byte.charCodeAt(0) - 0x80] ?? byte);
}

/**
 * Code point to its bytes, packed into one number. Where a character has several, the one that Windows and WHATWG
 * write counts; names with the others are not decoded, since they would not come back.
 */
function encoderTable(label: string): ReadonlyMap<number, number> {
  const decoder = new TextDecoder(label, { ignoreBOM: true });
  const table = new Map<number, number>();
  const learn = (bytes: readonly number[]): void => {
    const sequence = Uint8Array.from(bytes);
    const text = label === 'windows-1252' ? windows1252(sequence) : decoder.decode(sequence);
    const codePoint = text.codePointAt(0);
    if (codePoint === undefined || text.length !== (codePoint > 0xffff ? 2 : 1)) return;
    // What cannot be decoded comes as U+FFFD; gb18030 alone has that character itself.
    if (codePoint === 0xfffd && bytes.length < 4) return;
    const packed = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    const last = label === 'big5' && BIG5_LAST.includes(codePoint);
    if (last || !table.has(codePoint)) table.set(codePoint, packed);
  };
  // The one byte beyond ASCII that Node takes for gb18030, a euro sign, is not in the standard.
  const singles = label === 'gb18030' ? 0x80 : 0x100;
  for (let byte = 0; byte < singles; byte += 1) learn([byte]);
  if (!SEVERAL_BYTES.includes(label)) return table;
  for (const lead of leadsOf(label)) {
    for (let trail = 0x30; trail <= 0xff; trail += 1) learn([lead, trail]);
  }
  if (label === 'euc-jp') {
    // JIS X 0212.
    for (let lead = 0xa1; lead < 0xff; lead += 1) {
      for (let trail = 0xa1; trail < 0xff; trail += 1) learn([0x8f, lead, trail]);
    }
  }
  if (label === 'gb18030') {
    for (let place = 0; place < GB18030_BMP; place += 1) learn(fourBytes(place));
  }
  return table;
}

const SEVERAL_BYTES: readonly string[] = ['gbk', 'gb18030', 'big5', 'euc-jp', 'euc-kr', 'shift_jis'];

/* WHATWG, "index Big5 pointer": of these the last one counts. */
const BIG5_LAST: readonly number[] = [0x2550, 0x255e, 0x2561, 0x256a, 0x5341, 0x5345];

/** First bytes of two, the ones that repeat what others have at the end. */
function leadsOf(label: string): readonly number[] {
  const all = Array.from({ length: 0x80 }, (_, place) => 0x80 + place);
  // NEC's selection of IBM's extensions, and what Hong Kong put in front of Big5.
  const repeats = (lead: number): boolean =>
    label === 'shift_jis' ? lead === 0xed || lead === 0xee : label === 'big5' && lead < 0xa1;
  return [...all.filter((lead) => !repeats(lead)), ...all.filter(repeats)];
}

/** How many sequences of four bytes gb18030 has for what lies below U+10000. */
const GB18030_BMP = 39_420;

/** Where those for U+10000 and up begin. */
const GB18030_BEYOND = 189_000;

function fourBytes(place: number): readonly number[] {
  return [
    0x81 + Math.floor(place / 12_600),
    0x30 + (Math.floor(place / 1_260) % 10),
    0x81 + (Math.floor(place / 10) % 126),
    0x30 + (place % 10),
  ];
}

function beyondBmp(codePoint: number): number | undefined {
  if (codePoint < 0x10000) return undefined;
  return fourBytes(GB18030_BEYOND + codePoint - 0x10000).reduce((sum, byte) => sum * 256 + byte, 0);
}

const SHOWN_BYTES = 1_024;

/** Controls (with them ANSI), format characters (bidi marks), line separators, halves of surrogate pairs. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

function show(bytes: Buffer, decode: (part: Buffer) => string | undefined): string {
  const part = bytes.subarray(0, SHOWN_BYTES);
  const text = (decode(part) ?? piecemeal(part, decode)).replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code <= 0xff ? hex(code) : `\\u{${code.toString(16)}}`;
  });
  const left = bytes.length - part.length;
  return left > 0 ? `${text}... (${left} more bytes)` : text;
}

/** Decodes one character after another, and writes out the bytes between them. */
function piecemeal(bytes: Buffer, decode: (part: Buffer) => string | undefined): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const lengths = [1, 2, 3, 4].filter((length) => at + length <= bytes.length);
    const length = lengths.find((tried) => decode(bytes.subarray(at, at + tried)) !== undefined);
    text += length === undefined ? hex(bytes[at] ?? 0) : (decode(bytes.subarray(at, at + length)) ?? '');
    at += length ?? 1;
  }
  return text;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
