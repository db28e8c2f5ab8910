/*
 * Which paths of a source belong to a job: its include and exclude patterns, and never a temporary name of
 * ferryd's own. One filter for the walk, the remote listing and the watcher.
 */
import picomatch from 'picomatch';
import type { Job } from '../job/job.js';
import { isTemporary } from '../plan/temporary.js';

/**
 * True for what the job wants. A path that ends with `/` is a directory: it is wanted unless it is excluded
 * itself, and excluding it leaves out all below.
 */
export type Filter = (path: string) => boolean;

export function filterOf(job: Pick<Job, 'include' | 'exclude'>): Filter {
  // `s`: a name with a line break is matched like any other, and then told; else it would stay behind in silence.
  const options = { dot: true, nonegate: true, flags: 's' };
  const included = picomatch([...job.include], options);
  const excluded = picomatch([...job.exclude], options);
  return (path) => {
    if (path.endsWith('/')) return !excluded(path.slice(0, -1));
    return !isTemporary(path) && included(path) && !excluded(path);
  };
}
