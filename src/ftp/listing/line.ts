/*
 * What a reader of one form makes of one line of a listing, before anybody asks whether the name can be used.
 * Readers work on text in which each character stands for one byte (latin1), so that no byte of a name is lost
 * or changed on the way; `../listing.ts` turns names into bytes and decodes them.
 */

/** `other` is what is none of the rest: devices, sockets, and what a server has no word for. */
export type EntryType = 'file' | 'directory' | 'link' | 'other';

/**
 * A time as LIST shows it: the server's wall clock. The zone is unknown, and what is finer than `precision` was
 * not told, so it is never the only sign that something changed.
 */
export interface ListedTime {
  /** The wall clock read as if it were UTC, milliseconds since 1970. */
  readonly localMs: number;
  readonly precision: 'second' | 'minute' | 'day';
}

/** One thing in a directory, as its line shows it. */
export interface Sighting {
  /** One character for each byte; never empty, else unchecked. */
  readonly name: string;
  readonly type: EntryType;
  readonly sizeBytes: number | undefined;
  readonly modifiedMs: number | undefined;
  readonly listed: ListedTime | undefined;
  readonly permissions: number | undefined;
  /** One character for each byte. */
  readonly linkTarget: string | undefined;
}

/** `left-out`: read, and stands for nothing in the directory (headings, totals). */
export type Reading = Sighting | 'left-out' | 'unreadable';

/** A sighting of which only name and type are known, and what else is told. */
export function sighting(name: string, type: EntryType, told: Partial<Sighting>): Sighting {
  return {
    sizeBytes: undefined,
    modifiedMs: undefined,
    listed: undefined,
    permissions: undefined,
    linkTarget: undefined,
    ...told,
    name,
    type,
  };
}

/** A size in decimal digits, or undefined where it is none or too large to be exact. */
export function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Unix mode bits in octal digits, or undefined where they are none. */
export function modeBits(text: string | undefined): number | undefined {
  return text !== undefined && /^0{0,3}[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}
