/*
 * `ferryd check`: reads all job files and says what is wrong with them. Connects to nothing, reads no secret.
 */
import { formatProblem } from '../job/problem.js';
import type { ExitCode } from './exit.js';
import { type GlobalOptions, load } from './surroundings.js';

/** Prints one line a problem and a last line with the count. 0 where nothing keeps a job from running, else 2. */
export async function check(options: GlobalOptions): Promise<ExitCode> {
  const { jobs, problems, directory } = await load(options);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (options.json === true) {
    for (const problem of problems) process.stdout.write(`${JSON.stringify(problem)}\n`);
    return errors === 0 ? 0 : 2;
  }
  for (const problem of problems) process.stdout.write(`${formatProblem(problem)}\n`);
  const warnings = problems.length - errors;
  const counts = [
    `${count(jobs.length, 'job')} ready to run in ${directory}`,
    count(errors, 'mistake'),
    count(warnings, 'warning'),
  ];
  process.stdout.write(`${counts.join(', ')}.\n`);
  return errors === 0 ? 0 : 2;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
