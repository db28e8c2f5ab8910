/*
 * Which files of a source belong to a job: by their names (patterns, hidden ones; never a `.ferryignore`, nor what is
 * ferryd's own: the trash and temporary names), and by size and age. One filter for the walk, the remote listing and the watcher; what
 * a `.ferryignore` says comes on top in the walk and the listing (local/ignore.ts), and the watcher does not ask it.
 */
import picomatch from 'picomatch';
import type { Job } from '../job/job.js';
import { IGNORE_FILE } from '../local/ignore.js';
import { isTemporary } from '../plan/temporary.js';
import { isTrash } from '../plan/trash.js';
import { isMarker } from './ready.js';

/**
 * True for what the job wants. A path that ends with `/` is a directory: it is wanted unless it is excluded
 * itself, and excluding it leaves out all below.
 */
export type Filter = (path: string) => boolean;

export function filterOf(job: Pick<Job, 'include' | 'exclude' | 'hidden'>): Filter {
  // `s`: a name with a line break is matched like any other, and then told; else it would stay behind in silence.
  const options = { dot: true, nonegate: true, flags: 's' };
  // As most jobs have it: nothing is asked then.
  const included = job.include.includes('**') ? () => true : picomatch([...job.include], options);
  const excluded = job.exclude.length === 0 ? () => false : picomatch([...job.exclude], options);
  const shows = job.hidden === 'include' ? () => true : (path: string) => !/(^|\/)\./.test(path);
  return (path) => {
    const isDirectory = path.endsWith('/');
    const bare = isDirectory ? path.slice(0, -1) : path;
    if (isOwn(bare) || !shows(path) || excluded(bare)) return false;
    return isDirectory || included(path);
  };
}

/** What no job ever wants. All of these names have ferry in them, which few others have. */
function isOwn(path: string): boolean {
  return path.includes('ferry') && (nameOf(path) === IGNORE_FILE || isTrash(path) || isTemporary(path));
}

/**
 * True for paths whose changes do not matter to a job: what it excludes, whether that is a file or a directory. A
 * `.ferryignore` never goes across, and changes much; and so does a ready marker.
 */
export function unwatchedOf(
  job: Pick<Job, 'include' | 'exclude' | 'hidden'> & Partial<Pick<Job, 'ready'>>,
): Filter {
  const wants = filterOf(job);
  const { ready } = job;
  return (path) =>
    !wants(`${path}/`) && nameOf(path) !== IGNORE_FILE && (ready === undefined || !isMarker(path, ready));
}

function nameOf(path: string): string {
  const end = path.endsWith('/') ? path.length - 1 : path.length;
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end);
}

/** What size and age say of a file; `unknown` where its age matters and nobody knows its time. */
export type Fit = 'fits' | 'left-out' | 'unknown';

/** Size and modification time of a file, the time in milliseconds since 1970. */
export interface Measures {
  readonly sizeBytes: number;
  readonly modifiedMs: number | undefined;
}

/** @param nowMs from when ages count: the run's start */
export function weighOf(job: Pick<Job, 'size' | 'age'>, nowMs: number): (file: Measures) => Fit {
  const { minBytes = 0, maxBytes = Number.POSITIVE_INFINITY } = job.size;
  const { minMs, maxMs } = job.age;
  const aged = minMs !== undefined || maxMs !== undefined;
  return ({ sizeBytes, modifiedMs }) => {
    if (sizeBytes < minBytes || sizeBytes > maxBytes) return 'left-out';
    if (!aged) return 'fits';
    if (modifiedMs === undefined) return 'unknown';
    const ageMs = nowMs - modifiedMs;
    const within = ageMs >= (minMs ?? Number.NEGATIVE_INFINITY) && ageMs <= (maxMs ?? ageMs);
    return within ? 'fits' : 'left-out';
  };
}
