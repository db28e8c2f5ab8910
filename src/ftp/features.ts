/*
 * What a server says of itself in answer to FEAT (RFC 2389), and the names and times in other replies
 * (RFC 959 PWD, RFC 3659 times). A feature that is listed may still fail, and one that is not may work:
 * callers treat this as a hint.
 */
import type { Reply } from './reply.js';

/** Feature name in upper case to its parameters, as the server wrote them. */
export type Features = ReadonlyMap<string, string>;

/** Reads the body of a 211 reply; accepts `211-MLST` without the leading space. */
export function parseFeatures(reply: Reply): Features {
  const features = new Map<string, string>();
  for (const line of reply.lines.slice(1, -1)) {
    const match = /^(?:211-)?\s*([A-Za-z0-9-]+)(?:\s+(.*))?$/.exec(line.trimEnd());
    if (match?.[1] !== undefined) features.set(match[1].toUpperCase(), match[2] ?? '');
  }
  return features;
}

/**
 * The directory in a 257 reply: between quotes, doubled quotes inside stand for one (RFC 959 appendix II);
 * text may stand before it.
 *
 * @returns undefined where there is no quoted path, or its quote is not closed
 */
export function quotedPath(reply: Reply): string | undefined {
  const match = /"((?:[^"]|"")*)"(?!")/.exec(reply.lines[0]?.slice(4) ?? '');
  return match?.[1] === undefined || match[1] === '' ? undefined : match[1].replaceAll('""', '"');
}

/**
 * A time of MDTM or MLSD (RFC 3659 section 2.3): `YYYYMMDDHHMMSS[.fraction]`, always UTC. Also reads
 * `19103...`, the year 2003 as a famous old server wrote it.
 *
 * @returns milliseconds since 1970, or undefined where it is no such time
 */
export function parseTime(text: string): number | undefined {
  const match = /^(\d{4}|19\d{3})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:\.(\d+))?$/.exec(text.trim());
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const fullYear = year >= 19_000 ? 1900 + (year - 19_000) : year;
  const ms = Math.floor(Number(`0.${match[7] ?? '0'}`) * 1000);
  const time = Date.UTC(fullYear, month - 1, day, hour, minute, Math.min(second, 59), ms);
  const date = new Date(time);
  // A leap second is read as the second before it.
  // `Date.UTC` takes the years 0 to 99 for 1900 to 1999.
  const real = hour < 24 && minute < 60 && second <= 60 && date.getUTCFullYear() === fullYear;
  return real && date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? time : undefined;
}

const FIRST_TIME_MS = -62_135_596_800_000;
const LAST_TIME_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/**
 * A time as MFMT and the setting form of MDTM want it: `YYYYMMDDHHMMSS` in UTC. One that lies outside the years 1 to
 * 9999, which have four digits, becomes the nearest that can be told.
 */
export function formatTime(ms: number): string {
  const told = Math.min(Math.max(ms, FIRST_TIME_MS), LAST_TIME_MS);
  return new Date(told).toISOString().replace(/[-:T]/g, '').slice(0, 14);
}
