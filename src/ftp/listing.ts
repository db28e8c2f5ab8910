/*
 * Listings of a directory: MLSD (RFC 3659 section 7) and the Unix and DOS forms of LIST, which no RFC
 * defines. Pure: bytes in, entries out. A line that cannot be read is counted, never guessed, so that a
 * caller can tell an incomplete listing from a complete one. LIST's times are local to the server and
 * coarse, so they are left out.
 */
import { parseTime } from './features.js';

export interface ListedEntry {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'link' | 'other';
  /** Undefined where the listing does not tell. */
  readonly sizeBytes: number | undefined;
  /** UTC, milliseconds since 1970; only from MLSD. */
  readonly modifiedMs: number | undefined;
}

export interface Listing {
  readonly entries: readonly ListedEntry[];
  /** Lines that could not be read, and names that no component of a path can be. */
  readonly unreadable: number;
}

/** Reads the body of an MLSD transfer. The entries for the directory itself and its parent are left out. */
export function parseMachineListing(body: Buffer): Listing {
  return collect(body, (line) => {
    // Exactly one space parts the facts from the name; further spaces belong to the name.
    const space = line.indexOf(' ');
    if (space < 0) return 'unreadable';
    const facts = new Map<string, string>();
    for (const fact of line.slice(0, space).split(';')) {
      const equals = fact.indexOf('=');
      if (equals > 0) facts.set(fact.slice(0, equals).toLowerCase(), fact.slice(equals + 1));
    }
    const type = facts.get('type')?.toLowerCase();
    if (type === undefined) return 'unreadable';
    if (type === 'cdir' || type === 'pdir') return 'left-out';
    const modify = facts.get('modify');
    return {
      name: line.slice(space + 1),
      type:
        type === 'file'
          ? 'file'
          : type === 'dir'
            ? 'directory'
            : /slink|symlink/.test(type)
              ? 'link'
              : 'other',
      sizeBytes: wholeNumber(facts.get('size')),
      modifiedMs: modify === undefined ? undefined : parseTime(modify),
    };
  });
}

const UNIX_LINE =
  /^([-dlbcpsD])[-rwxsStTlL]{9}[+.@]?\s+\d+\s+(?:\S+\s+){1,2}(\d+)\s+(?:[A-Za-z]{3}\s+\d{1,2}|\d{1,2}\s+[A-Za-z]{3}|\d{4}-\d{2}-\d{2})\s+(?:\d{1,2}:\d{2}|\d{4})\s(.+)$/s;
/* IIS pads `<DIR>` with nine spaces, and keeps spaces that a name begins with. */
const DOS_LINE = /^\d{2}-\d{2}-(?:\d{2}|\d{4})\s+\d{2}:\d{2}(?:[AP]M)?\s+(?:(<DIR>)\s{1,10}|(\d+)\s)(.+)$/s;

/** Reads the body of a LIST transfer in its Unix or DOS form. `.` and `..` are left out. */
export function parseListing(body: Buffer): Listing {
  return collect(body, (line) => {
    if (/^total \d+$/.test(line)) return 'left-out';
    const unix = UNIX_LINE.exec(line);
    if (unix?.[1] !== undefined && unix[3] !== undefined) {
      const kind = unix[1];
      const name = kind === 'l' ? (unix[3].split(' -> ')[0] ?? unix[3]) : unix[3];
      return {
        name,
        type: kind === '-' ? 'file' : kind === 'd' ? 'directory' : kind === 'l' ? 'link' : 'other',
        sizeBytes: wholeNumber(unix[2]),
        modifiedMs: undefined,
      };
    }
    const dos = DOS_LINE.exec(line);
    if (dos?.[3] === undefined) return 'unreadable';
    return {
      name: dos[3],
      type: dos[1] === undefined ? 'file' : 'directory',
      sizeBytes: wholeNumber(dos[2]),
      modifiedMs: undefined,
    };
  });
}

/** True where a Unix listing shows the directory itself, which proves that `LIST -a` was understood. */
export function showsItself(body: Buffer): boolean {
  return /^d\S+\s.*\s\.\r?$/m.test(body.toString('latin1'));
}

function collect(body: Buffer, read: (line: string) => ListedEntry | 'unreadable' | 'left-out'): Listing {
  const entries: ListedEntry[] = [];
  let unreadable = 0;
  for (const line of body.toString('utf8').split('\n')) {
    const text = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (text === '') continue;
    const entry = read(text);
    if (entry === 'left-out') continue;
    if (entry === 'unreadable') {
      unreadable += 1;
    } else if (entry.name !== '.' && entry.name !== '..') {
      if (isComponent(entry.name)) entries.push(entry);
      else unreadable += 1;
    }
  }
  return { entries, unreadable };
}

/** A name a server may give us: one component, decodable, nothing that could lead elsewhere. */
function isComponent(name: string): boolean {
  return name !== '' && !/[/\\\p{Cc}\ufffd]/u.test(name);
}

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
