/*
 * What a configuration that was loaded anew means for a daemon that runs: which jobs come, change, go, or stay as they
 * are. What is broken keeps its last good version, and a directory that is empty or cannot be read takes nothing away:
 * it is rather a disk that is not mounted than a wish. Pure; the daemon carries it out.
 */
import { basename } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { AgentSettings, Job } from '../job/job.js';
import type { Configuration } from '../job/load.js';
import { formatProblem, type Problem } from '../job/problem.js';

/** What the daemon works by. */
export interface InForce {
  readonly agent: AgentSettings;
  /** By name. */
  readonly jobs: ReadonlyMap<string, Job>;
}

export interface Change {
  /** What holds from now on. */
  readonly inForce: InForce;
  readonly added: readonly Job[];
  readonly changed: readonly Job[];
  /** Names. */
  readonly removed: readonly string[];
  /** Names of jobs that go on by their last good version, with what is wrong with their files. */
  readonly stale: ReadonlyMap<string, string>;
  /** All sentences about what is wrong with the configuration; `''` is what belongs to no job. */
  readonly broken: ReadonlyMap<string, string>;
}

/** @param now what the daemon works by; nothing at its start */
export function changeBy(loaded: Configuration, now: InForce | undefined): Change {
  const errors = loaded.problems.filter(({ severity }) => severity === 'error');
  const broken = new Map<string, string>();
  for (const problem of errors) {
    const job = problem.job ?? '';
    const known = broken.get(job);
    broken.set(job, known === undefined ? formatProblem(problem) : `${known}\n${formatProblem(problem)}`);
  }
  const whole = errors.every(({ file }) => file !== loaded.directory);
  const agent = now !== undefined && (!whole || errors.some(isAgent)) ? now.agent : loaded.agent;
  const before = now?.jobs ?? new Map<string, Job>();
  const jobs = new Map<string, Job>();
  const stale = new Map<string, string>();
  for (const [name, job] of before) {
    const reason = broken.get(name) ?? (whole ? undefined : broken.get(''));
    if (reason === undefined) continue;
    jobs.set(name, job);
    stale.set(name, reason);
  }
  for (const job of loaded.jobs) {
    const known = before.get(job.name);
    jobs.set(job.name, known !== undefined && isDeepStrictEqual(known, job) ? known : job);
  }
  return {
    inForce: { agent, jobs },
    added: [...jobs.values()].filter(({ name }) => !before.has(name)),
    changed: [...jobs.values()].filter((job) => before.has(job.name) && before.get(job.name) !== job),
    removed: [...before.keys()].filter((name) => !jobs.has(name)),
    stale,
    broken,
  };
}

function isAgent({ file }: Problem): boolean {
  return /^agent\.ya?ml$/i.test(basename(file));
}
