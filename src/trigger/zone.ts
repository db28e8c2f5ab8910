/*
 * A time zone's distance from UTC, asked of Intl (the IANA database inside Node), or for the zone of this machine of
 * Date, which knows that one alone and answers in no time.
 * "Wall" milliseconds are what a clock on the wall shows, written as if it hung in UTC: plain arithmetic,
 * no daylight saving. wall = instant + offset.
 */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

export interface Zone {
  /** Milliseconds that the wall clock is ahead of UTC at this instant. */
  offsetMs(atMs: number): number;
}

const MACHINE_ZONE: Zone = {
  offsetMs: (atMs) => -new Date(atMs).getTimezoneOffset() * MINUTE_MS,
};

/**
 * @param timezone an IANA name; undefined stands for the zone of this machine
 * @throws RangeError where Node does not know the name
 */
export function openZone(timezone: string | undefined): Zone {
  if (timezone === undefined) return MACHINE_ZONE;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return {
    offsetMs(atMs) {
      const shown = new Map<string, number>();
      for (const part of format.formatToParts(atMs)) shown.set(part.type, Number(part.value));
      const wallMs = Date.UTC(
        shown.get('year') ?? 0,
        (shown.get('month') ?? 1) - 1,
        shown.get('day'),
        shown.get('hour'),
        shown.get('minute'),
        shown.get('second'),
      );
      return wallMs - Math.floor(atMs / SECOND_MS) * SECOND_MS;
    },
  };
}

/**
 * The first instant in (fromMs, toMs] from which the offset differs from that at `fromMs`, to the second;
 * `toMs` itself where the offset is the same at both ends. Zones do not change twice within a day, so
 * callers ask in stretches of a day.
 */
export function offsetChange(zone: Zone, fromMs: number, toMs: number): number {
  const before = zone.offsetMs(fromMs);
  if (zone.offsetMs(toMs) === before) return toMs;
  let same = Math.floor(fromMs / SECOND_MS);
  let other = Math.ceil(toMs / SECOND_MS);
  while (other - same > 1) {
    const middle = Math.floor((same + other) / 2);
    if (zone.offsetMs(middle * SECOND_MS) === before) same = middle;
    else other = middle;
  }
  return Math.min(toMs, other * SECOND_MS);
}
