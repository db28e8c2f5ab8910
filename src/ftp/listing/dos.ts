/*
 * LIST in the form of MS-DOS, as IIS sends it: date, time, `<DIR>` or size, name. Years have two or four digits,
 * hours count to twelve or to twenty-four. Links (`<JUNCTION>`) have no known form for their names and are not read.
 */
import { listedTime } from './date.js';
import { type Reading, sighting, wholeNumber } from './line.js';

const MOMENT =
  /^(?:(?<month>\d{1,2})-(?<day>\d{1,2})-(?<year>\d{4}|\d{2})|(?<iso>\d{4}-\d{2}-\d{2})|\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})) +(?<hour>\d{1,2}):(?<minute>\d{2})(?: ?(?<half>[AP])M)?(?= )/i;

/* IIS puts both kinds into one column of twenty; what lies behind it belongs to the name, spaces included. */
const IIS_DIRECTORY = / {7}<DIR> {10}(?=.)/sy;
const DIRECTORY = / +<DIR> +/iy;
const SIZE = / +(\d+|\d{1,3}(?:(?:[,.']|\xc2?\xa0)\d{3})+) /y;

/** Reads one line of a listing in DOS form. */
export function readDosLine(line: string): Reading {
  const moment = MOMENT.exec(line);
  if (moment === null) return 'unreadable';
  const { iso, ...written } = moment.groups ?? {};
  const [year, month, day] = iso?.split('-') ?? [];
  const listed = listedTime(iso === undefined ? written : { ...written, year, month, day }, undefined);
  const offset = moment[0].length;
  const directory = matchAt(IIS_DIRECTORY, line, offset) ?? matchAt(DIRECTORY, line, offset);
  const size = directory === undefined ? matchAt(SIZE, line, offset) : undefined;
  const column = directory ?? size;
  if (column === undefined) return 'unreadable';
  const name = line.slice(offset + column[0].length);
  if (name === '') return 'unreadable';
  return directory === undefined
    ? sighting(name, 'file', { listed, sizeBytes: wholeNumber(size?.[1]?.replace(/[^\d]/g, '')) })
    : sighting(name, 'directory', { listed });
}

function matchAt(pattern: RegExp, line: string, offset: number): RegExpExecArray | undefined {
  pattern.lastIndex = offset;
  return pattern.exec(line) ?? undefined;
}
