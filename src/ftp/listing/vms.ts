/*
 * LIST as OpenVMS servers send it: a heading, then `NAME.EXT;VERSION`, blocks, date and time, owner, protection; a
 * long name stands on a line of its own. Names are given without their version, since RETR and STOR without one
 * mean the newest, and only the newest is shown: RMS lists it first. Blocks do not tell the size in bytes.
 */
import { listedTime } from './date.js';
import { type Reading, sighting } from './line.js';

const ENTRY =
  /^(?<name>[^ \t]+);\d+[ \t]+(?:\d+(?:\/\d+)?(?:[KMG]?B)?[ \t]+)?(?<day>\d{1,2})-(?<month>[A-Z]{3})-(?<year>\d{4})(?:[ \t]+(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2})(?:\.\d+)?)?)?(?:[ \t].*)?$/is;
const NAME_ALONE = /^[^ \t]+;\d+[ \t]*$/;
const HEADING =
  /^(?:Directory [^ ]*[\]>:] *|(?:Grand )?Total of \d+ (?:file|director)[^\r\n]*|%DIRECT-W-NOFILES,.*)$/i;

/** Reads all lines of a listing in VMS form. */
export function* readVmsLines(lines: readonly string[]): Generator<Reading> {
  const shown = new Set<string>();
  for (let place = 0; place < lines.length; place += 1) {
    const line = lines[place] ?? '';
    if (HEADING.test(line)) {
      yield 'left-out';
      continue;
    }
    const next = lines[place + 1];
    const wrapped = next !== undefined && NAME_ALONE.test(line) ? readEntry(`${line} ${next}`) : undefined;
    if (wrapped !== undefined) place += 1;
    const entry = wrapped ?? readEntry(line);
    if (entry === undefined) {
      yield 'unreadable';
    } else if (shown.has(entry.file)) {
      yield 'left-out';
    } else {
      shown.add(entry.file);
      yield entry.reading;
    }
  }
}

function readEntry(line: string): { readonly file: string; readonly reading: Reading } | undefined {
  const groups = ENTRY.exec(line)?.groups;
  const file = groups?.name;
  if (groups === undefined || file === undefined) return undefined;
  const listed = listedTime(groups, undefined);
  const directory = /^(.+)\.DIR$/is.exec(file)?.[1];
  const reading =
    directory === undefined
      ? sighting(file, 'file', { listed })
      : sighting(directory, 'directory', { listed });
  return { file, reading };
}
