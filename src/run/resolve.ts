/*
 * A job as one run has it: the variables of its paths filled in with this machine's name and the run's date. What
 * hangs on each file, {mtime}, stays as a prefix. Paths of jobs without variables come out as they are.
 */
import { hostname } from 'node:os';
import type { Job } from '../job/job.js';
import { type Expanded, expandRun, type FilePrefix, parseTemplate, type RunFacts } from '../job/template.js';
import { makeDirectory } from '../local/tree.js';
import { openRoot } from '../local/walk.js';
import { failureOf, RunEnded } from './end.js';

export interface Resolved {
  /** With paths of this run. */
  readonly job: Job;
  /** Where in the target a file goes, by its time; undefined where that is its own path. */
  readonly prefix: FilePrefix | undefined;
  /** The part of the local path that has to be there already: all of it, or what stands before the first variable. */
  readonly standing: string;
}

/** @param nowMs the run's start, in milliseconds since 1970 */
export function resolveJob(job: Job, nowMs: number): Resolved {
  const facts: RunFacts = { host: hostname(), job: job.name, nowMs, timezone: job.timezone };
  const both = job.mode === 'two-way';
  const plain = (path: string): Expanded => ({ root: path, prefix: undefined });
  const local = both || job.direction === 'pull' ? expand(job.local, facts) : plain(job.local);
  const path =
    both || job.direction === 'push' ? expand(job.remotePath.path, facts) : plain(job.remotePath.path);
  return {
    job: { ...job, local: local.root, remotePath: { ...job.remotePath, path: path.root } },
    prefix: local.prefix ?? path.prefix,
    standing: local.root === job.local ? job.local : beforeVariables(job.local),
  };
}

function expand(text: string, facts: RunFacts): Expanded {
  const template = parseTemplate(text);
  // Loading has seen to that; a job that was made by other means gets the same sentence.
  if ('problem' in template)
    throw new RunEnded('configuration', 'template', `The path ${text} ${template.problem}.`);
  return expandRun(template, facts);
}

function beforeVariables(path: string): string {
  const slash = path.lastIndexOf('/', path.indexOf('{'));
  return slash <= 0 ? '/' : path.slice(0, slash);
}

/**
 * Opens the local side. What stands before the first variable of its path has to be there; the rest is made.
 *
 * @returns its real path
 * @throws {RunEnded} where it cannot be used
 */
export async function openLocal({ job, standing }: Resolved): Promise<string> {
  return orEnd(job, async () => {
    if (standing !== job.local) {
      const root = await openRoot(standing);
      await makeDirectory(root, job.local.slice(standing === '/' ? 1 : standing.length + 1));
    }
    return openRoot(job.local);
  });
}

/**
 * As `openLocal`, and makes nothing: where the directory of this run is not there yet, an empty one is as good.
 *
 * @returns its real path, which may not be there
 */
export async function findLocal({ job, standing }: Resolved): Promise<string> {
  return orEnd(job, async () => {
    const root = await openRoot(standing);
    if (standing === job.local) return root;
    return openRoot(job.local).catch(
      () => `${root}${job.local.slice(standing === '/' ? 0 : standing.length)}`,
    );
  });
}

async function orEnd<T>(job: Job, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const { code, message } = failureOf(error);
    const what = job.direction === 'push' ? 'The source' : 'The target directory';
    throw new RunEnded(
      'failed',
      code,
      `${what} of job ${job.name} cannot be used: ${message} Is its disk mounted? Nothing was changed on either side.`,
    );
  }
}
