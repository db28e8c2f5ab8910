/*
 * `ferryd check`: reads all job files and says what is wrong with them, and which SFTP servers nobody has trusted yet.
 * Connects to nothing, reads no secret.
 */
import type { Job, Server, SftpServer } from '../job/job.js';
import { formatProblem, type Problem } from '../job/problem.js';
import { readKnownHosts } from '../sftp/ssh/host-key.js';
import { knownKeyTypes } from '../sftp/ssh/known-hosts.js';
import type { ExitCode } from './exit.js';
import { type GlobalOptions, load } from './surroundings.js';

/** Prints one line a problem and a last line with the count. 0 where nothing keeps a job from running, else 2. */
export async function check(options: GlobalOptions): Promise<ExitCode> {
  const { jobs, problems: mistaken, directory } = await load(options);
  const problems = [...mistaken, ...(await strangers(jobs))];
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

/** A warning for each SFTP server without a known host key, at the first job that uses it: its runs would end at that. */
async function strangers(jobs: readonly Job[]): Promise<Problem[]> {
  const asked = new Set<string>();
  const problems: Problem[] = [];
  for (const job of jobs) {
    for (const server of onTheWay(job.server)) {
      const { name, host, port, hostKeys, knownHosts } = server;
      const key = JSON.stringify([name, host, port, knownHosts]);
      if (hostKeys.length > 0 || asked.has(key)) continue;
      asked.add(key);
      const { files } = await readKnownHosts(knownHosts);
      if (knownKeyTypes({ host, port }, files).size > 0) continue;
      const message = `the host key of ${name} is not known, so a run would end before anything is sent; look at it and trust it with: ferryd trust ${name}`;
      problems.push({
        severity: 'warning',
        file: job.file,
        line: 1,
        column: 1,
        key: '',
        message,
        job: job.name,
      });
    }
  }
  return problems;
}

/** The SFTP servers that a connection to this one logs in to, the nearest first. */
function onTheWay(server: Server): SftpServer[] {
  const way: SftpServer[] = [];
  for (let next = server.protocol === 'sftp' ? server : undefined; next !== undefined; next = next.via) {
    way.unshift(next);
  }
  return way;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}
