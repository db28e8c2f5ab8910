/*
 * Where a command works: jobs directory, ledger, output. Options come first, then the environment, then the
 * places that exist by default.
 */
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { AgentSettings, Job } from '../job/job.js';
import { type Configuration, loadConfiguration } from '../job/load.js';
import { formatProblem, type Problem } from '../job/problem.js';
import { openOrReplace } from '../ledger/damage.js';
import { ledgerExists } from '../ledger/database.js';
import { LedgerError } from '../ledger/error.js';
import { type Ledger, type LedgerOptions, openLedger } from '../ledger/ledger.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { Level, Listener } from '../report/event.js';
import type { OpenFileLog } from '../report/file-log.js';
import { isJournal } from '../report/journal.js';
import { createLog, type Log, type LogSettings } from '../report/log.js';
import { checkCron } from '../trigger/cron.js';
import { complain } from './complaint.js';
import { CommandFailed, exitCodeOfLedger } from './exit.js';

/** The options that every command takes. */
export interface GlobalOptions {
  readonly jobs?: string | undefined;
  readonly ledger?: string | undefined;
  readonly json?: boolean | undefined;
  readonly logLevel?: Level | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where systemd/ferryd.service has the jobs of the machine, and the ledger. */
const MACHINE_JOBS = '/etc/ferryd/jobs';
const SERVICE_LEDGER = '/var/lib/ferryd/ledger.db';

/** `--jobs`, else `$FERRYD_JOBS`, else `./jobs` where there is one, else `/etc/ferryd/jobs`. */
export function jobsDirectory(options: GlobalOptions, environment: Environment = process.env): string {
  const named = options.jobs ?? given(environment.FERRYD_JOBS);
  if (named !== undefined) return resolve(named);
  return existsSync('jobs') ? resolve('jobs') : MACHINE_JOBS;
}

/** What may not be looked at may be there: then its own sentence is better than an empty ledger. */
function mayBeThere(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/**
 * `--ledger`, else `$FERRYD_LEDGER`, else `$STATE_DIRECTORY/ledger.db`; for the machine's own jobs that of the service,
 * where there is one; else below the XDG state directory.
 */
export function ledgerFile(options: GlobalOptions, environment: Environment = process.env): string {
  const named = options.ledger ?? given(environment.FERRYD_LEDGER);
  if (named !== undefined) return resolve(named);
  // systemd lists several directories with colons between; the first is ours.
  const state = given(environment.STATE_DIRECTORY)?.split(':')[0];
  if (state !== undefined) return join(state, 'ledger.db');
  if (jobsDirectory(options, environment) === MACHINE_JOBS && mayBeThere(SERVICE_LEDGER))
    return SERVICE_LEDGER;
  const home = given(environment.XDG_STATE_HOME) ?? join(homedir(), '.local', 'state');
  return join(home, 'ferryd', 'ledger.db');
}

/** Loads the jobs directory. */
export async function load(options: GlobalOptions): Promise<Configuration> {
  return loadConfiguration(jobsDirectory(options), { cron: checkCron });
}

/**
 * The jobs of these names, ready to run.
 *
 * @throws {CommandFailed} code 2, with all problems that stand in the way of one of them
 */
export function jobsNamed(configuration: Configuration, names: readonly string[]): Job[] {
  const jobs: Job[] = [];
  const wrong: string[] = [];
  for (const name of new Set(names)) {
    const job = configuration.jobs.find((candidate) => candidate.name === name);
    if (job !== undefined) {
      jobs.push(job);
      continue;
    }
    const problems = configuration.problems.filter(
      ({ job: of, severity }) => of === name && severity === 'error',
    );
    wrong.push(...problems.map(formatProblem));
    const known = configuration.jobs.map((candidate) => candidate.name).join(', ');
    wrong.push(
      problems.length > 0
        ? `The job ${name} cannot run before that is mended.`
        : `There is no job ${name} in ${configuration.directory}${known === '' ? '' : `; there are: ${known}`}.`,
    );
  }
  if (wrong.length > 0) throw new CommandFailed(2, wrong.join('\n'));
  return jobs;
}

/** Shows problems of the configuration on standard error, one line each. */
export function showProblems(problems: readonly Problem[]): void {
  for (const problem of problems) {
    complain(formatProblem(problem), problem.severity === 'error' ? 'error' : 'warn');
  }
}

/**
 * Opens the ledger for writing. A damaged one is put aside, and a new one opened in its place.
 *
 * @param onCheck hears how long the check for damage may take, which blocks
 * @throws {CommandFailed} with the ledger's own sentence
 */
export function openForWriting(
  options: GlobalOptions,
  listener: Listener,
  onCheck?: LedgerOptions['onCheck'],
): Ledger {
  const { ledger, damage } = orFail(() =>
    openOrReplace(ledgerFile(options), {
      onCheck,
      onFailure: (error) =>
        listener({
          event: 'configuration.problem',
          level: 'error',
          message: error instanceof Error ? error.message : String(error),
        }),
    }),
  );
  if (damage !== undefined) listener({ event: 'ledger.replaced', message: damage.message });
  return ledger;
}

/** Opens the ledger for reading, beside a running daemon; undefined where there is none yet. */
export function openForReading(options: GlobalOptions): LedgerReader | undefined {
  return orFail(() => {
    const file = ledgerFile(options);
    return ledgerExists(file) ? openLedger(file, { access: 'read-only' }) : undefined;
  });
}

/** What the log is to show, and in which file. */
export function logSettings(options: GlobalOptions, { log }: AgentSettings): LogSettings {
  return { level: options.logLevel ?? log.level, files: log.files, file: log.file };
}

/**
 * The log on standard error: readable on a terminal, with priorities in the journal, JSON lines in a pipe.
 *
 * @param openFile given by the daemon alone: a command by hand, as another user perhaps, would make a log file that the
 *   daemon may not write
 */
export function openLog(options: GlobalOptions, agent: AgentSettings, openFile?: OpenFileLog): Log {
  const terminal = process.stderr.isTTY === true;
  return createLog({
    ...logSettings(options, agent),
    openFile,
    format: terminal ? 'readable' : isJournal(process.stderr.fd, process.env) ? 'journal' : 'json',
    stream: process.stderr,
  });
}

/** True where the log shows what goes over the wire. */
export function wireOf(options: GlobalOptions, agent: AgentSettings): 'traced' | 'silent' {
  return (options.logLevel ?? agent.log.level) === 'debug' ? 'traced' : 'silent';
}

function orFail<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof LedgerError) throw new CommandFailed(exitCodeOfLedger(error), error.message);
    throw error;
  }
}

function given(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}
