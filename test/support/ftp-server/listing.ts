/*
 * How a directory looks on the wire: MLSD facts (RFC 3659 section 7), `ls -l` lines, DOS lines, and the time forms of
 * RFC 3659 section 2.3. Pure; text is bytes (see disk.ts), without line ends.
 */
import type { ByteString, DiskEntry } from './disk.js';

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const halfYearMs = 182 * 24 * 3600 * 1000;

/** The facts that FEAT offers, in the order they are sent. */
export const allFacts: readonly string[] = ['type', 'size', 'modify', 'perm', 'UNIX.mode'];

/** An entry, or the listed directory itself, or its parent. */
export type FactEntry = Omit<DiskEntry, 'kind'> & { readonly kind: DiskEntry['kind'] | 'cdir' | 'pdir' };

/** One MLSD or MLST line: facts, one space, the name. */
export function factsLine(
  entry: FactEntry,
  facts: readonly string[],
  options: { readonly fractionalTimes: boolean },
): ByteString {
  return `${factsOf(entry, facts, options)} ${entry.name}`;
}

function factsOf(
  entry: FactEntry,
  facts: readonly string[],
  options: { readonly fractionalTimes: boolean },
): string {
  const values: Record<string, string | undefined> = {
    type: typeOf(entry.kind),
    size: entry.kind === 'file' ? String(entry.sizeBytes) : undefined,
    modify: timeValue(entry.modifiedMs, options),
    perm: entry.kind === 'file' ? 'adfrw' : 'cdeflmp',
    'UNIX.mode': `0${entry.mode.toString(8).padStart(3, '0')}`,
  };
  return facts.map((fact) => (values[fact] === undefined ? '' : `${fact}=${values[fact]};`)).join('');
}

function typeOf(kind: DiskEntry['kind'] | 'cdir' | 'pdir'): string {
  if (kind === 'directory') return 'dir';
  if (kind === 'link') return 'OS.unix=symlink';
  if (kind === 'other') return 'OS.unix=special';
  return kind;
}

/** One LIST line. Times carry minutes only within half a year of now, as `ls` does. */
export function listLine(
  entry: DiskEntry,
  style: 'unix' | 'dos' | 'dos4',
  clock: { readonly nowMs: number; readonly offsetMinutes: number },
): ByteString {
  const time = new Date(entry.modifiedMs + clock.offsetMinutes * 60_000);
  return style === 'unix' ? unixLine(entry, time, clock) : dosLine(entry, time, style);
}

function unixLine(entry: DiskEntry, time: Date, clock: { readonly nowMs: number }): ByteString {
  const kind = { file: '-', directory: 'd', link: 'l', other: 'p' }[entry.kind];
  const bits = [...entry.mode.toString(8).padStart(3, '0').slice(-3)]
    .map((digit) => ['---', '--x', '-w-', '-wx', 'r--', 'r-x', 'rw-', 'rwx'][Number(digit)])
    .join('');
  const day = `${months[time.getUTCMonth()]} ${String(time.getUTCDate()).padStart(2)}`;
  const recent = entry.modifiedMs <= clock.nowMs && entry.modifiedMs > clock.nowMs - halfYearMs;
  const hour = recent
    ? `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`
    : ` ${time.getUTCFullYear()}`;
  return `${kind}${bits}    1 1000     1000     ${String(entry.sizeBytes).padStart(8)} ${day} ${hour} ${entry.name}`;
}

function dosLine(entry: DiskEntry, time: Date, style: 'dos' | 'dos4'): ByteString {
  const year = style === 'dos' ? two(time.getUTCFullYear() % 100) : String(time.getUTCFullYear());
  const hours = time.getUTCHours();
  const clock = `${two(hours % 12 === 0 ? 12 : hours % 12)}:${two(time.getUTCMinutes())}${hours < 12 ? 'AM' : 'PM'}`;
  const size = entry.kind === 'directory' ? '       <DIR>         ' : String(entry.sizeBytes).padStart(21);
  return `${two(time.getUTCMonth() + 1)}-${two(time.getUTCDate())}-${year}  ${clock}${size} ${entry.name}`;
}

/** `YYYYMMDDHHMMSS` in UTC, with `.sss` where asked for. */
export function timeValue(ms: number, options: { readonly fractionalTimes: boolean }): string {
  const digits = new Date(ms).toISOString().replace(/[-T:Z]/g, '');
  return options.fractionalTimes ? digits : digits.slice(0, 14);
}

/** Milliseconds since 1970 of a time value, or undefined where it is none. */
export function parseTime(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0));
  const ms = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  const fraction = Number(`0.${match[7] ?? '0'}`);
  return Number.isNaN(ms) ? undefined : ms + Math.floor(fraction * 1000);
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
