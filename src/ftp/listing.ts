/*
 * Listings of a directory: MLSD (RFC 3659 section 7), and LIST in its Unix, DOS, EPLF and VMS forms, which no RFC
 * defines; the readers of the forms are in listing/. Pure: bytes in, entries out. A listing is of one form, so that
 * a name cannot pass for a line of another. What cannot be read is counted and what cannot be used is kept apart,
 * never guessed, so that a caller can tell an incomplete listing from a complete one.
 */
import { type Charset, UTF_8 } from './charset.js';
import { readDosLine } from './listing/dos.js';
import { readEplfLine } from './listing/eplf.js';
import type { EntryType, ListedTime, Reading, Sighting } from './listing/line.js';
import { readFacts, readMachineLine } from './listing/machine.js';
import { readUnixLine } from './listing/unix.js';
import { readVmsLines } from './listing/vms.js';

export type { EntryType, ListedTime } from './listing/line.js';

/** One entry of a directory with a name that can be used. */
export interface ListedEntry {
  /** One component of a path; `charset.encode(name)` gives `bytes` back. */
  readonly name: string;
  /** The name as the server sent it. */
  readonly bytes: Buffer;
  readonly type: EntryType;
  /** Undefined where the listing does not tell. */
  readonly sizeBytes: number | undefined;
  /** UTC, milliseconds since 1970; only from MLSD and EPLF. */
  readonly modifiedMs: number | undefined;
  /** LIST's own time: a wall clock in a zone that nobody knows. */
  readonly listed: ListedTime | undefined;
  /** Unix mode bits, at most 0o7777. */
  readonly permissions: number | undefined;
  /** Where a link leads, as the server shows it: for people, never to be followed. */
  readonly linkTarget: string | undefined;
}

/** Something in the directory with a name that nobody can use. */
export interface UnusableEntry {
  readonly bytes: Buffer;
  readonly type: EntryType;
}

/** What the body of one listing says, and how much of it could be read. */
export interface Listing {
  /** Each name once; `.` and `..` are left out. */
  readonly entries: readonly ListedEntry[];
  /**
   * Names that no component of a path can be (`/`, `\`, control characters), that the charset cannot decode, or in
   * which the server itself put U+FFFD for what it could not.
   */
  readonly unusable: readonly UnusableEntry[];
  /** Lines that could not be read, a last line that was cut, and names that had been listed before. */
  readonly unreadable: number;
  /** `empty`: nothing was listed, not even `.`. `unknown`: lines came, and none could be read. */
  readonly form: 'MLSD' | 'unix' | 'dos' | 'eplf' | 'vms' | 'empty' | 'unknown';
}

/** What the reader of a listing cannot know from the listing. */
export interface ListingOptions {
  /** Milliseconds since 1970 UTC: the dates of LIST leave out a year that is near. Without it they are no times. */
  readonly nowMs: number;
}

/** What MLST tells about one path. */
export interface MachineEntry {
  /** As the server wrote it: what was asked for, or the whole path. */
  readonly name: string;
  readonly type: EntryType;
  readonly sizeBytes: number | undefined;
  /** UTC, milliseconds since 1970. */
  readonly modifiedMs: number | undefined;
  /** Unix mode bits, at most 0o7777. */
  readonly permissions: number | undefined;
}

/** Reads the body of an MLSD transfer. */
export function parseMachineListing(body: Buffer, charset: Charset = UTF_8): Listing {
  const lines = linesOf(body);
  return collect(lines, judged('MLSD', lines.whole.map(readMachineLine)), charset);
}

/**
 * Reads the one line of facts in the body of the reply to MLST; the space before it may be missing.
 *
 * @returns undefined where it is no such line
 */
export function parseMachineEntry(line: string): MachineEntry | undefined {
  const read = readFacts(line.replace(/^ +/, '').replace(/\r$/, ''));
  if (read === undefined) return undefined;
  const { name, type, sizeBytes, modifiedMs, permissions } = read.entry;
  return { name, type, sizeBytes, modifiedMs, permissions };
}

/** Reads the body of a LIST transfer, in whichever form it is. */
export function parseListing(body: Buffer, charset: Charset = UTF_8, options?: ListingOptions): Listing {
  const lines = linesOf(body);
  const filled = lines.whole.filter((line) => /[^ \t]/.test(line));
  return collect(lines, readForm(filled, options?.nowMs), charset);
}

/** True where a Unix listing shows the directory itself, which proves that `LIST -a` was understood. */
export function showsItself(body: Buffer): boolean {
  return linesOf(body).whole.some((line) => {
    if (!line.endsWith(' .')) return false;
    const reading = readUnixLine(line, undefined);
    return typeof reading === 'object' && reading.name === '.' && reading.type === 'directory';
  });
}

interface Lines {
  /** One character for each byte, without line ends; empty lines are left out. */
  readonly whole: readonly string[];
  /** True where bytes stood behind the last line end: the listing was cut, perhaps in the middle of a name. */
  readonly cut: boolean;
}

/**
 * Lines end as most of them do. So a line feed inside a name stays inside the name where lines end with CR LF, and
 * a carriage return that ends a name stays where they end with LF; neither makes another name of it.
 */
function linesOf(body: Buffer): Lines {
  const end = body.lastIndexOf('\n') + 1;
  const text = body.toString('latin1', 0, end);
  let long = 0;
  let short = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
    if (text[at - 1] === '\r') long += 1;
    else short += 1;
  }
  const lineEnd = long >= short ? '\r\n' : '\n';
  return { whole: text.split(lineEnd).filter((line) => line !== ''), cut: end < body.length };
}

interface Judged {
  readonly form: Listing['form'];
  readonly readings: Iterable<Reading>;
}

/** The first line that some reader can read decides on the form; no line can be read in two. */
function readForm(lines: readonly string[], nowMs: number | undefined): Judged {
  const forms = [
    { form: 'unix', read: (line: string) => readUnixLine(line, nowMs) },
    { form: 'dos', read: readDosLine },
    { form: 'eplf', read: readEplfLine },
  ] as const;
  for (const line of lines) {
    const found = forms.find(({ read }) => typeof read(line) === 'object');
    if (found !== undefined) return { form: found.form, readings: lines.map(found.read) };
  }
  const vms = judged('vms', [...readVmsLines(lines)]);
  if (vms.form !== 'unknown') return vms;
  const total = lines.map((line) => readUnixLine(line, nowMs));
  return total.every((reading) => reading === 'left-out') ? { form: 'empty', readings: [] } : vms;
}

function judged(form: Listing['form'], readings: readonly Reading[]): Judged {
  if (readings.length === 0) return { form: 'empty', readings };
  return { form: readings.every((reading) => reading === 'unreadable') ? 'unknown' : form, readings };
}

function collect({ cut }: Lines, { form, readings }: Judged, charset: Charset): Listing {
  const entries = new Map<string, ListedEntry>();
  const unusable: UnusableEntry[] = [];
  let unreadable = cut ? 1 : 0;
  for (const reading of readings) {
    if (reading === 'unreadable') unreadable += 1;
    if (typeof reading !== 'object' || reading.name === '.' || reading.name === '..') continue;
    const bytes = Buffer.from(reading.name, 'latin1');
    const name = charset.decode(bytes);
    if (name === undefined || !isComponent(name)) unusable.push({ bytes, type: reading.type });
    else if (entries.has(name)) unreadable += 1;
    else entries.set(name, entryOf(reading, name, bytes, charset));
  }
  return {
    entries: [...entries.values()],
    unusable,
    unreadable,
    form: cut && form === 'empty' ? 'unknown' : form,
  };
}

function entryOf(reading: Sighting, name: string, bytes: Buffer, charset: Charset): ListedEntry {
  const target = reading.linkTarget;
  const linkTarget = target === undefined ? undefined : charset.decode(Buffer.from(target, 'latin1'));
  return { ...reading, name, bytes, linkTarget };
}

/** A name a server may give us: one component, nothing that could lead elsewhere, nothing the server put a mark for. */
function isComponent(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\\\p{Cc}\ufffd]/u.test(name);
}
