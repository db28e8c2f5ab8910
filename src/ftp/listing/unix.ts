/*
 * LIST in the form of `ls -l`, which no RFC defines: permissions, then columns that differ between servers (links,
 * owner, group, any of them missing or with spaces in it), the size, a date in one of many forms, one space, the
 * name. NetWare's permissions in brackets too. The name begins behind the first thing that is a date; where a line
 * can be cut into columns in two ways, it is unreadable, not guessed.
 */
import { listedTime, MONTH_NAMES } from './date.js';
import { type EntryType, type ListedTime, modeBits, type Reading, sighting, wholeNumber } from './line.js';

const HEAD = /^([-dlbcpsDCMnPw?|])([-rwxsStTlL?]{9})[+.@*]? +/;
const NETWARE_HEAD = /^([-d]) ?\[[-A-Za-z]{7,9}\] +/;

/** Columns before the date: beyond this no real server goes. */
const COLUMNS_LIMIT = 16;

/** Where the date stands behind the permissions in what `ls -l` prints: links, owner, group, size, date. */
const USUAL_DATE_COLUMN = 4;

const MONTH = `(?<month>${MONTH_NAMES})`;
const TIME = '(?<hour>\\d{1,2}):(?<minute>\\d{2})';
/* Each is followed by the space before the name. */
const DATES: readonly RegExp[] = [
  `${MONTH} +(?<day>\\d{1,2}),? +${TIME}`,
  `${MONTH} +(?<day>\\d{1,2}) +(?<year>\\d{4})`,
  `(?<day>\\d{1,2}) +${MONTH} +${TIME}`,
  `(?<day>\\d{1,2}) +${MONTH} +(?<year>\\d{4})`,
  // BSD's `ls -T`, and VShell.
  `${MONTH} +(?<day>\\d{1,2}) +${TIME}:(?<second>\\d{2}) +(?<year>\\d{4})`,
  `${MONTH} +(?<day>\\d{1,2}), +(?<year>\\d{4}) +${TIME}`,
  // GNU's long-iso and full-iso; the zone comes only behind a fraction.
  `(?<year>\\d{4})[-/](?<month>\\d{1,2})[-/](?<day>\\d{1,2}) +${TIME}(?::(?<second>\\d{2})(?:\\.\\d+(?: [+-]\\d{4})?)?)?`,
  `(?<month>\\d{1,2})-(?<day>\\d{1,2}) +${TIME}`,
  `(?<month>\\d{1,2})-(?<day>\\d{1,2}) +(?<year>\\d{4})`,
  // Day first or month first: nobody knows, so it is no time.
  '\\d{1,2}[-./]\\d{1,2}[-./]\\d{4} +\\d{1,2}:\\d{2}',
].map((pattern) => new RegExp(`${pattern}(?= )`, 'iy'));

/** Reads one line of a listing in Unix form. */
export function readUnixLine(line: string, nowMs: number | undefined): Reading {
  if (/^total:? +[\d.,]+[KMGTP]?i?B?$/i.test(line)) return 'left-out';
  const netware = NETWARE_HEAD.exec(line);
  const head = netware ?? HEAD.exec(line);
  if (head?.[1] === undefined) return 'unreadable';
  const columns = columnsFrom(line, head[0].length);
  const date = dateIn(line, columns, nowMs);
  if (date === undefined) return 'unreadable';
  const type = typeOf(head[1]);
  // NetWare pads the name with three spaces more.
  const nameStart = netware !== null && line.startsWith('   ', date.end + 1) ? date.end + 4 : date.end + 1;
  const shown = line.slice(nameStart);
  const link = type === 'link' ? linkIn(shown, date.size) : { name: shown, target: undefined };
  if (link === undefined || link.name === '') return 'unreadable';
  return sighting(link.name, type, {
    // Devices have two numbers in its place.
    sizeBytes: head[1] === 'b' || head[1] === 'c' ? undefined : wholeNumber(date.size),
    listed: date.listed,
    permissions: netware === null ? permissionsOf(head[2]) : undefined,
    linkTarget: link.target,
  });
}

interface Column {
  readonly start: number;
  readonly text: string;
}

function columnsFrom(line: string, offset: number): readonly Column[] {
  const columns: Column[] = [];
  const column = /[^ ]+/g;
  column.lastIndex = offset;
  while (columns.length < COLUMNS_LIMIT) {
    const match = column.exec(line);
    if (match === null) break;
    columns.push({ start: match.index, text: match[0] });
  }
  return columns;
}

interface FoundDate {
  /** Offset of the space behind it. */
  readonly end: number;
  readonly listed: ListedTime | undefined;
  /** The column before it: the size, unless it is missing, in units (`34.5k`) or grown into the one before. */
  readonly size: string;
}

/** The first date: what looks like another one behind it belongs to the name. */
function dateIn(line: string, columns: readonly Column[], nowMs: number | undefined): FoundDate | undefined {
  const at = (place: number): FoundDate | undefined => {
    const column = columns[place];
    return column && dateAt(line, column.start, columns[place - 1]?.text ?? '', nowMs);
  };
  for (let place = 0; place < columns.length; place += 1) {
    const date = at(place);
    if (date === undefined) continue;
    // `1 jan 12 2020 Sep 13 12:26 x`: an owner called jan, or a name that begins with a date?
    const usual = [0, USUAL_DATE_COLUMN - 1].every((number) => /^\d+$/.test(columns[number]?.text ?? ''));
    return place < USUAL_DATE_COLUMN && usual && at(USUAL_DATE_COLUMN) !== undefined ? undefined : date;
  }
  return undefined;
}

function dateAt(
  line: string,
  offset: number,
  size: string,
  nowMs: number | undefined,
): FoundDate | undefined {
  for (const pattern of DATES) {
    pattern.lastIndex = offset;
    const match = pattern.exec(line);
    if (match === null) continue;
    const listed = match.groups === undefined ? undefined : listedTime(match.groups, nowMs);
    return { end: offset + match[0].length, listed, size };
  }
  return undefined;
}

/** Parts `name -> target`; with several arrows the target's length, which is a link's size, decides. */
function linkIn(
  shown: string,
  size: string,
): { readonly name: string; readonly target: string | undefined } | undefined {
  const arrows: number[] = [];
  for (let at = shown.indexOf(' -> '); at >= 0; at = shown.indexOf(' -> ', at + 1)) arrows.push(at);
  const several = arrows.length > 1;
  const arrow = several ? arrows.find((at) => String(shown.length - at - 4) === size) : arrows[0];
  if (arrow === undefined) return several ? undefined : { name: shown, target: undefined };
  const target = shown.slice(arrow + 4);
  return { name: shown.slice(0, arrow), target: target === '' ? undefined : target };
}

function typeOf(letter: string): EntryType {
  switch (letter) {
    case '-':
      return 'file';
    case 'd':
      return 'directory';
    case 'l':
      return 'link';
    default:
      return 'other';
  }
}

function permissionsOf(letters: string | undefined): number | undefined {
  if (letters === undefined || letters.includes('?')) return undefined;
  let bits = 0;
  for (let who = 0; who < 3; who += 1) {
    const [read, write, execute = '-'] = letters.slice(who * 3, who * 3 + 3);
    const shift = 6 - who * 3;
    if (read === 'r') bits |= 4 << shift;
    if (write === 'w') bits |= 2 << shift;
    if ('xst'.includes(execute)) bits |= 1 << shift;
    // Set-user, set-group (`l` is set-group without the right to execute) and sticky.
    if ('sStTlL'.includes(execute)) bits |= 0o4000 >> who;
  }
  return modeBits(bits.toString(8));
}
