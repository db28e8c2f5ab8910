/*
 * Sizes and durations as people write them. Every number carries its unit, so that nobody has to guess
 * whether 30 means seconds or minutes. Sizes count in powers of 1024; `MB`, which some read as 1000 × 1000 and
 * others as 1024 × 1024, is refused. Deliberately no locale, no spaces, no signs.
 */
import { type Reading, read, wrong } from './reading.js';

const DURATION_UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
]);

const SIZE_UNITS_BYTES: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['K', 1024],
  ['M', 1024 ** 2],
  ['G', 1024 ** 3],
  ['T', 1024 ** 4],
]);

/** Ten years: what is longer is a mistake, and sums with the clock stay exact. */
const MAX_DURATION_MS = 3_650 * 86_400_000;
const MAX_TEXT_LENGTH = 40;
const DURATION_EXAMPLES = '500ms, 5s, 10m, 26h, 1h30m or 30d';
const SIZE_EXAMPLES = '500B, 64K, 10M or 2G';

/**
 * Reads a duration such as `500ms`, `5s`, `1h30m`, `1.5h` or `30d`: numbers with the units
 * w, d, h, m, s and ms, the largest first, each at most once.
 *
 * @returns whole milliseconds, at most ten years
 */
export function parseDuration(text: string): Reading<number> {
  const plain = text.trim();
  if (/^\d+(\.\d+)?$/.test(plain) && plain.length <= MAX_TEXT_LENGTH) {
    return wrong(`a duration needs a unit: write ${plain}s, ${plain}m or ${plain}h`);
  }
  if (plain.length > MAX_TEXT_LENGTH || !/^(\d+(\.\d+)?[a-z]+)+$/.test(plain)) {
    return wrong(`a duration is a number with a unit (w, d, h, m, s, ms), such as ${DURATION_EXAMPLES}`);
  }
  let totalMs = 0;
  let lastUnitMs = Number.POSITIVE_INFINITY;
  for (const [, digits = '', unit = ''] of plain.matchAll(/(\d+(?:\.\d+)?)([a-z]+)/g)) {
    const unitMs = DURATION_UNITS_MS.get(unit);
    if (unitMs === undefined) {
      return wrong(`"${unit}" is no unit of time; use w, d, h, m, s or ms, as in ${DURATION_EXAMPLES}`);
    }
    if (unitMs >= lastUnitMs) {
      return wrong('a duration names its largest unit first and each unit once, such as 1h30m');
    }
    lastUnitMs = unitMs;
    totalMs += Number(digits) * unitMs;
  }
  if (totalMs > MAX_DURATION_MS) return wrong('a duration is at most 3650d');
  const wholeMs = Math.round(totalMs);
  if (Math.abs(wholeMs - totalMs) > 1e-6)
    return wrong('a duration is at least a millisecond fine, not finer');
  return read(wholeMs);
}

/**
 * Reads a size such as `500B`, `64K`, `10M`, `1.5G` or `2T`. K, M, G and T (also `KiB` and so on) are powers of 1024.
 *
 * @returns whole bytes
 */
export function parseSize(text: string): Reading<number> {
  const plain = text.trim();
  if (/^\d+$/.test(plain) && plain.length <= MAX_TEXT_LENGTH) {
    return wrong(`a size needs a unit: write ${plain}B for bytes, or ${plain}K, ${plain}M, ${plain}G`);
  }
  const match = plain.length > MAX_TEXT_LENGTH ? null : /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(plain);
  if (match === null)
    return wrong(`a size is a number with a unit (B, K, M, G, T), such as ${SIZE_EXAMPLES}`);
  const [, digits = '', unit = ''] = match;
  if (/^[KMGT]B$/i.test(unit)) {
    return wrong(
      `${unit} means 1000 to some and 1024 to others; write ${digits}${unit[0]?.toUpperCase()}, which counts in 1024`,
    );
  }
  const unitBytes = SIZE_UNITS_BYTES.get(/^[KMGT]iB$/.test(unit) ? unit.slice(0, 1) : unit);
  if (unitBytes === undefined) {
    return wrong(`"${unit}" is no unit of size; use B, K, M, G or T in capitals, as in ${SIZE_EXAMPLES}`);
  }
  const bytes = Number(digits) * unitBytes;
  if (bytes > Number.MAX_SAFE_INTEGER) return wrong('a size is at most 8191T');
  if (!Number.isInteger(bytes)) return wrong('a size is a whole number of bytes');
  return read(bytes);
}

/** Milliseconds of a duration that a schema has let through. */
export function durationMs(text: string): number {
  const reading = parseDuration(text);
  if (!reading.ok) throw new Error(`a duration that the schema let through cannot be read: ${reading.wrong}`);
  return reading.value;
}

/** A size that the schema has let through, in bytes. */
export function sizeBytes(text: string): number {
  const reading = parseSize(text);
  if (!reading.ok) throw new Error(`a size that the schema let through cannot be read: ${reading.wrong}`);
  return reading.value;
}
