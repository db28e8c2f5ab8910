/*
 * The trash: `.ferryd-trash/<stamp>/<path>` below the root of the side where something was deleted or overwritten.
 * The stamp is the start of the run that did it, in UTC. What stands there was current until then. Where it was taken
 * out again and others remain, an empty directory notes that, `<path>.ferryd-restored-<stamp>`: without it, whoever
 * asks for that time again would be given the next version. Pure: only names.
 */
import type { RelativePath } from './entry.js';

/** The directory below a root that takes no part in any scan. */
export const TRASH = '.ferryd-trash';

/** True for the trash itself, and for all that stands in it. */
export function isTrash(path: RelativePath): boolean {
  return path === TRASH || path.startsWith(`${TRASH}/`);
}

const STAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/**
 * `20261123T023015Z`. Its order as text is its order in time.
 *
 * @param ms milliseconds since 1970; of a year of four digits
 */
export function stampOf(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]|\.\d+/g, '');
}

/** The time of a stamp in milliseconds since 1970, or undefined where it is none. */
export function stampMs(stamp: string): number | undefined {
  const match = STAMP.exec(stamp);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  // The thirtieth of February is no date, and no run began on it.
  return stampOf(ms) === stamp ? ms : undefined;
}

/** Where a path goes to when the run that has this stamp takes it away. */
export function inTrash(path: RelativePath, stamp: string): RelativePath {
  return `${TRASH}/${stamp}/${path}`;
}

/** What stands at a path of the trash, and since when; undefined for what no run put there. */
export function fromTrash(
  path: RelativePath,
): { readonly stamp: string; readonly path: RelativePath } | undefined {
  const [first, stamp = '', ...rest] = path.split('/');
  const original = rest.join('/');
  return first === TRASH && stampMs(stamp) !== undefined && original !== ''
    ? { stamp, path: original }
    : undefined;
}

const NOTE = /^(.*[^/])\.ferryd-restored-(\d{8}T\d{6}Z)$/s;

/**
 * The directory that notes that a file of the trash was put back.
 *
 * @param trashed the file's path in the trash
 * @param stamp when it was put back
 */
export function noteOf(trashed: RelativePath, stamp: string): RelativePath {
  return `${trashed}.ferryd-restored-${stamp}`;
}

/** What a directory of the trash notes; undefined for one that is no note. */
export function fromNote(
  directory: RelativePath,
): { readonly trashed: RelativePath; readonly stamp: string } | undefined {
  const [, trashed = '', stamp = ''] = NOTE.exec(directory) ?? [];
  return fromTrash(trashed) !== undefined && stampMs(stamp) !== undefined ? { trashed, stamp } : undefined;
}
