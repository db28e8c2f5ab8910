/*
 * What becomes of names that the other side cannot hold or cannot tell apart: they are compared folded, written with
 * percent signs (RFC 3986 section 2.1: the bytes of their UTF-8 form), or dated where both sides changed a file.
 * Pure: which of it a side needs is found out elsewhere, and nothing here is done behind anybody's back.
 */
import type { RelativePath } from './entry.js';

/** What file systems and servers take for one component, in bytes of UTF-8. */
const LONGEST_NAME_BYTES = 255;

const PLAIN = /^[\0-\x7f]*$/;

/**
 * A path as those see it who do not tell upper from lower case, nor composed from decomposed characters: two paths
 * with one fold may be one file there. Never for showing or opening.
 */
export function foldOf(path: string): string {
  // Most names: of those letters no two forms are one.
  if (PLAIN.test(path)) return path.toLowerCase();
  // Composed again at the end: J with a caron is two characters, its lower case is one.
  const lower = path.normalize('NFC').toLowerCase().normalize('NFC');
  // Lower case depends on the place for this letter alone; upper case does not.
  return lower.replaceAll('ς', 'σ');
}

/** Control characters, what Windows forbids, and the sign itself. */
const RISKY = /[\p{Cc}%\\:*?"<>|]/u;

/** Names that Windows takes for devices, whatever ending they have. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)/i;

/**
 * A name with everything percent-encoded that some system forbids or changes: control characters, `\ : * ? " < > |`,
 * a leading space, a trailing dot or space, the first letter of a device name such as `NUL`; and `%`, so that it can
 * be decoded. May be longer than a name can be.
 */
export function encodeName(name: string): string {
  const characters = [...name];
  return characters
    .map((character, i) => (isRisky(character, i, characters, name) ? percent(character) : character))
    .join('');
}

/**
 * What `encodeName` or `apartName` was given. A name that neither of them can have made is returned as it is: `50%`
 * for one, and whatever would decode to several components, to `..` or to a name of ferryd's own.
 */
export function decodeName(name: string): string {
  if (!name.includes('%')) return name;
  let decoded: string;
  try {
    decoded = name.replace(/(%[0-9A-F]{2})+|%/g, (bytes) => decodeURIComponent(bytes));
  } catch {
    return name;
  }
  if (/^\.{0,2}$|[/\0]/.test(decoded)) return name;
  return encodeName(decoded) === name || apartName(decoded) === name ? decoded : name;
}

/** `encodeName` for each component. */
export function encodePath(path: RelativePath): RelativePath {
  return path.split('/').map(encodeName).join('/');
}

/** `decodeName` for each component. */
export function decodePath(path: RelativePath): RelativePath {
  return path.split('/').map(decodeName).join('/');
}

/**
 * `encodeName`, and besides it encodes what makes a name another one's twin: upper-case letters, and characters that
 * are not composed. Two names that differ get names that differ folded, too.
 */
export function apartName(name: string): string {
  const characters = [...name];
  let apart = '';
  // What stands since the last encoded character; its last digit, too, could be composed with what follows.
  let tail = '';
  for (const [i, character] of characters.entries()) {
    const longer = tail + character;
    if (!isRisky(character, i, characters, name) && foldOf(longer) === longer) {
      apart += character;
      tail = longer;
    } else {
      const encoded = percent(character);
      apart += encoded;
      tail = encoded.slice(-1).toLowerCase();
    }
  }
  return apart;
}

/** True for what can be the name of a file or a directory: not `.` or `..`, at most 255 bytes in UTF-8. */
export function fitsAName(name: string): boolean {
  return !/^\.{0,2}$|[/\0]/.test(name) && Buffer.byteLength(name) <= LONGEST_NAME_BYTES;
}

const CONFLICT = /\.conflict-\d{8}-\d{6}(\.[^./]+)?$/;

/** Longer than any ending that says what a file is. */
const LONGEST_ENDING = 16;

/**
 * The name beside a file under which the other version of it is kept: `report.conflict-20261123-023015.pdf`, in UTC.
 * Long names are cut to 255 bytes.
 *
 * @param atMs milliseconds since 1970
 */
export function conflictName(path: RelativePath, atMs: number): RelativePath {
  const slash = path.lastIndexOf('/') + 1;
  const name = path.slice(slash);
  const dot = name.lastIndexOf('.');
  const hasEnding = dot > 0 && dot < name.length - 1 && name.length - dot <= LONGEST_ENDING;
  const ending = hasEnding ? name.slice(dot) : '';
  const digits = new Date(atMs).toISOString().replace(/\D/g, '');
  const mark = `.conflict-${digits.slice(0, 8)}-${digits.slice(8, 14)}`;
  const room = LONGEST_NAME_BYTES - Buffer.byteLength(mark + ending);
  const stem = cutTo(name.slice(0, name.length - ending.length), room);
  return path.slice(0, slash) + stem + mark + ending;
}

/** True for a path whose name `conflictName` made. */
export function isConflictName(path: RelativePath): boolean {
  return CONFLICT.test(path);
}

function cutTo(text: string, maxBytes: number): string {
  let cut = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    cut += character;
  }
  return cut;
}

function isRisky(character: string, i: number, characters: readonly string[], name: string): boolean {
  if (RISKY.test(character)) return true;
  if (character === ' ') return i === 0 || i === characters.length - 1;
  if (character === '.') return i === characters.length - 1;
  return i === 0 && DEVICE.test(name);
}

function percent(character: string): string {
  let encoded = '';
  for (const byte of Buffer.from(character)) {
    encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
