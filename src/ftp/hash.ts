/*
 * How a server is asked for the hash of a file: HASH (draft-bryan-ftpext-hash, which some servers have in a form of
 * their own) and the older XSHA256, XSHA1, XMD5 and XCRC, which no RFC describes. Pure: what FEAT says becomes
 * forms, a reply becomes a digest. Whether a server's hashes can be believed is not decided here.
 */
import type { Features } from './features.js';
import type { Reply } from './reply.js';

/** What a digest was computed with; written as RFC 5843 and the HASH draft name them. */
export type HashAlgorithm = 'SHA-256' | 'SHA-1' | 'MD5' | 'CRC32';

/** One way to ask. */
export interface HashForm {
  readonly verb: 'HASH' | 'XSHA256' | 'XSHA1' | 'XMD5' | 'XCRC';
  readonly algorithm: HashAlgorithm;
}

const DIGITS: Readonly<Record<HashAlgorithm, number>> = { 'SHA-256': 64, 'SHA-1': 40, MD5: 32, CRC32: 8 };

/** The strongest first; of equals HASH, because its path needs no quotes. */
const FORMS: readonly HashForm[] = [
  { verb: 'HASH', algorithm: 'SHA-256' },
  { verb: 'XSHA256', algorithm: 'SHA-256' },
  { verb: 'HASH', algorithm: 'SHA-1' },
  { verb: 'XSHA1', algorithm: 'SHA-1' },
  { verb: 'HASH', algorithm: 'MD5' },
  { verb: 'XMD5', algorithm: 'MD5' },
  { verb: 'HASH', algorithm: 'CRC32' },
  { verb: 'XCRC', algorithm: 'CRC32' },
];

/** The forms that a server lists, the best first. FEAT may say `HASH SHA-256*;SHA-1;MD5`: the star marks the one in use. */
export function hashForms(features: Features): HashForm[] {
  const algorithms = (features.get('HASH') ?? '').toUpperCase().split(/[;,\s]+/);
  const offered = new Set(algorithms.map((name) => name.replace(/\*$/, '')));
  return FORMS.filter(({ verb, algorithm }) =>
    verb === 'HASH' ? offered.has(algorithm) : features.has(verb),
  );
}

/** The argument of a form: the X commands take quotes around a path with spaces. */
export function hashArgument(form: HashForm, path: string): string {
  return form.verb !== 'HASH' && path.includes(' ') ? `"${path}"` : path;
}

/**
 * The digest in a reply, wherever it stands in it: `213 SHA-256 0-49 <hex> file`, `250 <hex>`, or on a line of its own.
 *
 * @returns hex digits in lower case, or undefined where there is none, or more than one
 */
export function digestIn(reply: Reply, algorithm: HashAlgorithm): string | undefined {
  const digits = DIGITS[algorithm];
  // A CRC comes without its leading zeros from some servers; its word must stand alone, or be all of the answer.
  const form = algorithm === 'CRC32' ? /^(?:0x)?[0-9a-f]{1,8}$/i : new RegExp(`^[0-9a-f]{${digits}}$`, 'i');
  const found = new Set<string>();
  for (const line of reply.lines) {
    const words = line
      .replace(/^\d{3}[ -]?/, '')
      .trim()
      .split(/[\s;=]+/);
    for (const word of algorithm === 'CRC32' ? words.slice(crcPlace(words)).slice(0, 1) : words) {
      const text = word.replace(/[.,]$/, '');
      if (form.test(text)) found.add(text.replace(/^0x/i, '').toLowerCase().padStart(digits, '0'));
    }
  }
  const [only] = found;
  return found.size === 1 ? only : undefined;
}

/** Behind `CRC32` and a range `0-49`, where they stand; else the first word. */
function crcPlace(words: readonly string[]): number {
  const named = words.findIndex((word) => /^crc-?32$/i.test(word));
  const ranged = words.findIndex((word) => /^\d+-\d+$/.test(word));
  return Math.max(named, ranged) + 1;
}
