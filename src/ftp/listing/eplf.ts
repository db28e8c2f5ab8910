/*
 * LIST as EPLF, the Easily Parsed LIST Format (cr.yp.to/ftp/list/eplf.html): a plus sign, facts parted by commas, a
 * tab, the name. Its times are UTC. Facts that are not known are passed over, as the format asks.
 */
import { modeBits, type Reading, sighting, wholeNumber } from './line.js';

/** Reads one line of a listing in EPLF. */
export function readEplfLine(line: string): Reading {
  const tab = line.indexOf('\t');
  const name = line.slice(tab + 1);
  if (!line.startsWith('+') || tab < 0 || name === '') return 'unreadable';
  const facts = line.slice(1, tab).split(',');
  const told = (key: string): string | undefined =>
    facts.find((fact) => fact.startsWith(key) && fact.length > key.length)?.slice(key.length);
  const seconds = wholeNumber(told('m'));
  const modifiedMs = seconds === undefined ? undefined : seconds * 1000;
  const type = facts.includes('/') ? 'directory' : facts.includes('r') ? 'file' : 'other';
  return sighting(name, type, {
    sizeBytes: wholeNumber(told('s')),
    modifiedMs: Number.isSafeInteger(modifiedMs) ? modifiedMs : undefined,
    permissions: modeBits(told('up')),
  });
}
