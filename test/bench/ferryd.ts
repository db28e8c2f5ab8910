/*
 * Ferryd as a contestant: the whole process as people start it (`ferryd run`), with a job file and, but for a second
 * run, a fresh ledger; delivery as it always is: a temporary name, the size looked at, times set, renamed. And the
 * yardstick: node's own sockets on the same bytes, with the same server.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Contestant, DIRECTORY, type Harbour, ONE_FILE, type Task } from './contestant.js';
import type { Invocation } from './measure.js';

const JOB = 'bench';

export const FERRYD: Contestant = {
  name: 'ferryd',
  role: 'ferryd',
  can: () => true,
  prepare: (task) => {
    writeJob(task);
    return ferryd(task, ['run', JOB]);
  },
};

/** What a job needs beside its two sides, and the server's address. */
export interface JobSettings {
  readonly triggers?: readonly object[];
}

/** Writes the job and its server into `jobs` of the scratch directory. @returns that directory */
export function writeJob(task: Task, settings: JobSettings = {}): string {
  const jobs = join(task.scratch, 'jobs');
  mkdirSync(jobs, { recursive: true });
  writeFileSync(join(jobs, 'secret'), task.harbour.password, { mode: 0o600 });
  writeFileSync(join(jobs, 'key'), task.harbour.privateKey, { mode: 0o600 });
  const server = { ...serverOf(task.harbour), connections: task.connections };
  writeFileSync(join(jobs, 'servers.yaml'), JSON.stringify({ server }));
  const sides = [join(task.local, DIRECTORY), `server:${DIRECTORY}`];
  const [from, to] = task.work === 'pull-one' ? sides.reverse() : sides;
  writeFileSync(join(jobs, `${JOB}.yaml`), JSON.stringify({ from, to, ...settings }));
  return jobs;
}

/** The ledger of a task; made by its first run. */
export function ledgerOf({ scratch }: Task): string {
  return join(scratch, 'ledger.db');
}

/** A command of ferryd with the task's job and ledger: `['run', 'bench']`, `['status']`. */
export function ferryd(task: Task, words: readonly string[]): Invocation {
  const main = resolve(import.meta.dirname, '../../ferryd/bin/main.js');
  const where = ['--jobs', join(task.scratch, 'jobs'), '--ledger', ledgerOf(task)];
  return started(task, [process.execPath, ...profiler(), main, ...where, ...words]);
}

export const YARDSTICK: Contestant = {
  name: 'node sockets',
  role: 'yardstick',
  can: ({ work, protocol, connections }) =>
    work !== 'unchanged' && protocol !== 'sftp' && connections === undefined,
  prepare: (task) => {
    const { host, port, user, password, protocol } = task.harbour;
    const program = resolve(import.meta.dirname, 'sockets.js');
    const below = task.work === 'push-small' ? [] : [ONE_FILE];
    const sides = [join(task.local, DIRECTORY, ...below), [DIRECTORY, ...below].join('/')];
    const words = [task.work, protocol, host, String(port), user, password, ...sides];
    return started(task, [process.execPath, program, ...words]);
  },
};

/** `FERRYD_BENCH_NODE=--cpu-prof --cpu-prof-dir=DIR`: options of node for ferryd alone. */
function profiler(): string[] {
  return (process.env.FERRYD_BENCH_NODE ?? '').split(' ').filter((word) => word !== '');
}

function started(task: Task, command: Invocation['command']): Invocation {
  return {
    command,
    env: { PATH: process.env.PATH, HOME: task.scratch, TMPDIR: process.env.TMPDIR },
    directory: task.scratch,
  };
}

function serverOf({ protocol, host, port, user, pin, hostKey }: Harbour): Readonly<Record<string, unknown>> {
  if (protocol === 'sftp')
    return { url: `sftp://${user}@${host}:${port}`, privateKey: { file: 'key' }, hostKey };
  const login = { user, password: { file: 'secret' } };
  return protocol === 'tls'
    ? { url: `ftpes://${host}:${port}`, ...login, tls: { pin } }
    : { url: `ftp://${host}:${port}`, ...login };
}
