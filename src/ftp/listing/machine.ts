/*
 * One line of MLSD, or of the reply to MLST (RFC 3659 section 7): facts, one space, the name. Facts and their
 * values are compared without regard to case. Does not decide what a name may be.
 */
import { parseTime } from '../features.js';
import { type EntryType, modeBits, type Reading, type Sighting, sighting, wholeNumber } from './line.js';

/** Reads one line of MLSD. The entries for the directory itself and its parent are left out. */
export function readMachineLine(line: string): Reading {
  const read = readFacts(line);
  if (read === undefined) return 'unreadable';
  return read.whose === 'entry' ? read.entry : 'left-out';
}

/**
 * Reads facts and name.
 *
 * @returns whether it stands for an entry, or for the listed directory or its parent; undefined where it is no
 *   such line
 */
export function readFacts(
  line: string,
): { readonly whose: 'entry' | 'self' | 'parent'; readonly entry: Sighting } | undefined {
  // Exactly one space parts the facts from the name; further spaces belong to the name.
  const space = line.indexOf(' ');
  const name = line.slice(space + 1);
  if (space < 0 || name === '') return undefined;
  const facts = new Map<string, string>();
  for (const fact of line.slice(0, space).split(';')) {
    const equals = fact.indexOf('=');
    if (equals <= 0) continue;
    const key = fact.slice(0, equals).toLowerCase();
    // The first counts: what follows a link's target may be a part of it that was not escaped.
    if (!facts.has(key)) facts.set(key, fact.slice(equals + 1));
  }
  const type = facts.get('type');
  if (type === undefined) return undefined;
  const link = /^os\.[^=]*=(?:slink|symlink)(?::(.*))?$/is.exec(type);
  // A target with a space or a semicolon in it moves the place where the name begins, and nothing tells.
  if (link?.[1] !== undefined && (line[space - 1] !== ';' || name.includes('; '))) return undefined;
  const modify = facts.get('modify');
  const entry = sighting(name, link === null ? typeOf(type.toLowerCase()) : 'link', {
    sizeBytes: wholeNumber(facts.get('size')),
    modifiedMs: modify === undefined ? undefined : parseTime(modify),
    permissions: modeBits(facts.get('unix.mode')),
    linkTarget: link?.[1] === '' ? undefined : link?.[1],
  });
  return { whose: whoseOf(type.toLowerCase()), entry };
}

function typeOf(type: string): EntryType {
  if (type === 'file') return 'file';
  return type === 'dir' || type === 'cdir' || type === 'pdir' ? 'directory' : 'other';
}

function whoseOf(type: string): 'entry' | 'self' | 'parent' {
  return type === 'cdir' ? 'self' : type === 'pdir' ? 'parent' : 'entry';
}
