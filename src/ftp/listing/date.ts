/*
 * The dates of LIST, which no RFC defines: day, time and year as the forms give them, made into the server's wall
 * clock. Knows only the English month names, as every server measured sends. A date that does not exist (a
 * device without a clock says `Jan 00`) is no time; it does not make the line unreadable.
 */
import type { ListedTime } from './line.js';

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** For use in a pattern, with the flag `i`. */
export const MONTH_NAMES = MONTHS.join('|');

/** How far ahead of ours a server's wall clock may be: zones reach 14 hours, and clocks are wrong. */
const AHEAD_MS = 86_400_000;

/** From one 29 February to the next there may be eight years. */
const YEARS_BACK = 8;

/** The parts of a date as they were written: months as number or English name, the year of two or four digits. */
export interface WrittenDate {
  readonly year?: string | undefined;
  readonly month?: string | undefined;
  readonly day?: string | undefined;
  readonly hour?: string | undefined;
  readonly minute?: string | undefined;
  readonly second?: string | undefined;
  /** `A` or `P` where the hour counts to twelve. */
  readonly half?: string | undefined;
}

/**
 * Reads a date. Where the year was left out, it is the latest one that does not lie more than a day after `nowMs`.
 *
 * @param nowMs milliseconds since 1970 UTC; without it a date without a year is no time
 * @returns undefined where there is no such date
 */
export function listedTime(written: WrittenDate, nowMs: number | undefined): ListedTime | undefined {
  const { year, minute, second } = written;
  const month = monthOf(written.month);
  const day = Number(written.day);
  const hour = hourOf(written);
  if (month === undefined || hour === undefined || !Number.isInteger(day)) return undefined;
  const onDate = (fullYear: number): number | undefined => {
    const date = new Date(0);
    date.setUTCFullYear(fullYear, month, day);
    date.setUTCHours(hour, Number(minute ?? 0), Number(second ?? 0));
    const exists =
      date.getUTCFullYear() === fullYear &&
      date.getUTCMonth() === month &&
      date.getUTCDate() === day &&
      date.getUTCHours() === hour &&
      date.getUTCMinutes() === Number(minute ?? 0);
    return exists ? date.getTime() : undefined;
  };
  const localMs = year === undefined ? latest(onDate, nowMs) : onDate(fullYearOf(year));
  if (localMs === undefined) return undefined;
  const precision = second !== undefined ? 'second' : minute !== undefined ? 'minute' : 'day';
  return { localMs, precision };
}

function latest(
  onDate: (fullYear: number) => number | undefined,
  nowMs: number | undefined,
): number | undefined {
  if (nowMs === undefined) return undefined;
  const thisYear = new Date(nowMs).getUTCFullYear();
  for (let year = thisYear + 1; year >= thisYear - YEARS_BACK; year -= 1) {
    const time = onDate(year);
    if (time !== undefined && time <= nowMs + AHEAD_MS) return time;
  }
  return undefined;
}

/** Counted from zero. */
function monthOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const month = /^\d+$/.test(text) ? Number(text) - 1 : MONTHS.indexOf(text.toLowerCase());
  return month >= 0 && month < 12 ? month : undefined;
}

function hourOf({ hour, half }: WrittenDate): number | undefined {
  const written = Number(hour ?? 0);
  if (half === undefined) return written < 24 ? written : undefined;
  if (written < 1 || written > 12) return undefined;
  return (written % 12) + (half.toUpperCase() === 'P' ? 12 : 0);
}

/** Two digits: POSIX reads 69 to 99 as the last century. */
function fullYearOf(year: string): number {
  const value = Number(year);
  if (year.length > 2) return value;
  return value >= 69 ? 1900 + value : 2000 + value;
}
