/*
 * From a pattern of days and times of day to instants: which moment comes next, which came last.
 * The search goes along stretches of one UTC offset, so both changes of daylight saving time are decided here:
 * - A pattern that names hours means times on the wall, each once. A time that the spring change jumps over
 *   (02:30 in Berlin) comes at the instant of the change (03:00); in autumn the first of the two 02:30 counts.
 * - A pattern that takes every hour means a beat in real time: it just goes on through both changes.
 * It does not parse (cron.ts) and does not wait.
 */
import { offsetChange, type Zone } from './zone.js';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A 29 February can be eight years away, a fifth Monday in February twenty-eight (forty around 2100). */
const HORIZON_MS = 45 * 366 * DAY_MS;

/** Hours, minutes and seconds ascending; never empty. */
export interface Schedule {
  readonly hours: readonly number[];
  readonly minutes: readonly number[];
  readonly seconds: readonly number[];
  readonly zone: Zone;
  /** True where the pattern takes this day; the argument is the day's midnight in wall milliseconds. */
  takesDay(wallMs: number): boolean;
}

/**
 * The first scheduled moment after `afterMs` and not after `untilMs`, in milliseconds since 1970.
 *
 * @param untilMs left out: 45 years on
 */
export function momentAfter(
  schedule: Schedule,
  afterMs: number,
  untilMs: number = afterMs + HORIZON_MS,
): number | undefined {
  const fromMs = (Math.floor(afterMs / SECOND_MS) + 1) * SECOND_MS;
  const onTheWall = new Set(schedule.hours).size < 24;
  // A day early, to know what the wall clock has shown already when the search begins.
  let startMs = fromMs - DAY_MS;
  let offsetMs = schedule.zone.offsetMs(startMs);
  let shownWallMs = Number.NEGATIVE_INFINITY;
  while (startMs <= untilMs) {
    const endMs = offsetChange(schedule.zone, startMs, startMs + DAY_MS);
    const freshWallMs = onTheWall ? shownWallMs : Number.NEGATIVE_INFINITY;
    const wallMs = wallBetween(
      schedule,
      Math.max(Math.max(startMs, fromMs) + offsetMs, freshWallMs),
      endMs + offsetMs,
    );
    if (wallMs !== undefined) return within(wallMs - offsetMs, untilMs);
    const nextOffsetMs = schedule.zone.offsetMs(endMs);
    shownWallMs = Math.max(shownWallMs, endMs + offsetMs);
    const jumpedOver =
      onTheWall &&
      endMs >= fromMs &&
      nextOffsetMs > offsetMs &&
      wallBetween(schedule, shownWallMs, endMs + nextOffsetMs) !== undefined;
    if (jumpedOver) return within(endMs, untilMs);
    startMs = endMs;
    offsetMs = nextOffsetMs;
  }
  return undefined;
}

/** The last scheduled moment in (afterMs, untilMs], in milliseconds since 1970. */
export function lastMoment(schedule: Schedule, afterMs: number, untilMs: number): number | undefined {
  let found = momentAfter(schedule, afterMs, untilMs);
  if (found === undefined) return undefined;
  let endMs = untilMs;
  // At this point `found` is a moment and none lies in (endMs, untilMs]; halve what is between.
  while (endMs - found >= SECOND_MS) {
    const middleMs = found + Math.floor((endMs - found) / 2);
    const later = momentAfter(schedule, middleMs, endMs);
    if (later === undefined) endMs = middleMs;
    else found = later;
  }
  return found;
}

/** The first matching wall time in [fromWallMs, toWallMs). */
function wallBetween(schedule: Schedule, fromWallMs: number, toWallMs: number): number | undefined {
  for (let dayMs = Math.floor(fromWallMs / DAY_MS) * DAY_MS; dayMs < toWallMs; dayMs += DAY_MS) {
    if (!schedule.takesDay(dayMs)) continue;
    const timeMs = timeOfDay(schedule, fromWallMs - dayMs);
    if (timeMs !== undefined) return dayMs + timeMs < toWallMs ? dayMs + timeMs : undefined;
  }
  return undefined;
}

/** The first matching time of day not before `fromMs`, in milliseconds since midnight. */
function timeOfDay(schedule: Schedule, fromMs: number): number | undefined {
  for (const hour of schedule.hours) {
    const hourMs = hour * HOUR_MS;
    if (hourMs + HOUR_MS <= fromMs) continue;
    for (const minute of schedule.minutes) {
      const minuteMs = hourMs + minute * MINUTE_MS;
      if (minuteMs + MINUTE_MS <= fromMs) continue;
      for (const second of schedule.seconds) {
        const timeMs = minuteMs + second * SECOND_MS;
        if (timeMs >= fromMs) return timeMs;
      }
    }
  }
  return undefined;
}

function within(momentMs: number, untilMs: number): number | undefined {
  return momentMs <= untilMs ? momentMs : undefined;
}
