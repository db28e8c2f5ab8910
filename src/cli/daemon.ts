/*
 * `ferryd daemon`: runs until it is told to stop. Everything else is in daemon/.
 */
import { once } from 'node:events';
import { Daemon, DaemonLocked } from '../daemon/daemon.js';
import { formatProblem } from '../job/problem.js';
import { LedgerError } from '../ledger/error.js';
import { CommandFailed, type ExitCode, exitCodeOfLedger } from './exit.js';
import { type GlobalOptions, load, openForWriting, openLog, wireOf } from './surroundings.js';

/** Resolves after SIGTERM or SIGINT, when all is stopped. A job that cannot be loaded does not keep the others. */
export async function daemon(options: GlobalOptions): Promise<ExitCode> {
  const configuration = await load(options);
  const { agent, jobs, problems, directory } = configuration;
  const log = openLog(options, agent);
  try {
    for (const problem of problems) {
      log.listener({
        event: 'configuration.problem',
        level: problem.severity === 'error' ? 'error' : 'warn',
        message: formatProblem(problem),
        ...(problem.job === undefined ? {} : { job: problem.job }),
      });
    }
    if (jobs.length === 0) {
      throw new CommandFailed(
        2,
        `No job in ${directory} can run, so there is nothing to do. See ferryd check.`,
      );
    }
    const ledger = openForWriting(options, log.listener);
    try {
      const signalled = firstSignal();
      const running = await Daemon.start({
        jobs,
        agent,
        ledger,
        listener: log.listener,
        wire: wireOf(options, agent),
      });
      await running.stop(await signalled);
      return 0;
    } catch (error) {
      if (error instanceof DaemonLocked) throw new CommandFailed(7, error.message);
      if (error instanceof LedgerError) throw new CommandFailed(exitCodeOfLedger(error), error.message);
      throw error;
    } finally {
      closeQuietly(ledger);
    }
  } finally {
    await log.close();
  }
}

/** A ledger that fails at the end has told so in its runs; the exit code is then theirs. */
function closeQuietly(ledger: { close(): void }): void {
  try {
    ledger.close();
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    process.stderr.write(`${error.message}\n`);
  }
}

async function firstSignal(): Promise<string> {
  // A second signal changes nothing: the stop has its own deadline.
  const signals = (['SIGTERM', 'SIGINT'] as const).map(async (name) => {
    await once(process, name);
    process.on(name, () => {});
    return name;
  });
  return Promise.race(signals);
}
