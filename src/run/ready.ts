/*
 * Ready markers: whoever writes files for a job says of each that it is whole by putting a second file, its marker,
 * beside it. A file without its marker waits, which is no failure; a marker itself is never sent. Markers are only
 * looked at: they are not read, and not held against `include` and `exclude`. A move takes one of
 * {name} away with its file.
 */
import type { ReadyMarker } from '../job/job.js';
import { standsAt } from '../local/walk.js';
import type { RelativePath } from '../plan/entry.js';

/** The path of the marker of a file, in the same directory. */
export function markerOf(path: RelativePath, { before, part, behind }: ReadyMarker): RelativePath {
  const slash = path.lastIndexOf('/') + 1;
  const name = path.slice(slash);
  return `${path.slice(0, slash)}${before}${part === 'name' ? name : stemOf(name)}${behind}`;
}

/**
 * True for every path that could be a marker, whether or not its file is there: a marker that came first, or was left
 * behind, is not sent either.
 */
export function isMarker(path: RelativePath, { before, behind }: ReadyMarker): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const long = name.length > before.length + behind.length;
  return long && name.startsWith(before) && name.endsWith(behind);
}

/**
 * What keeps a file back: the sentence about a marker that is not there, or undefined where it is. Only a regular file
 * is a marker, an empty one too.
 *
 * @param root real path of the source
 * @throws {LocalError} where the place of the marker cannot be looked at
 */
export async function waitsFor(
  root: string,
  path: RelativePath,
  ready: ReadyMarker | undefined,
): Promise<string | undefined> {
  if (ready === undefined) return undefined;
  const marker = markerOf(path, ready);
  if (typeof (await standsAt(root, marker)) !== 'string') return undefined;
  return `${path} waits until its marker ${marker} stands beside it.`;
}

/** A dot at the beginning begins no ending: it hides the file. */
function stemOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(0, dot) : name;
}
