/*
 * `ferryd run JOB...`: runs jobs now, one after the other, and says how each ended.
 */
import { runLine, summaryLine } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { runJob } from '../run/run.js';
import { type ExitCode, exitCodeOf, gravest } from './exit.js';
import { stopSignals } from './stop-signal.js';
import {
  type GlobalOptions,
  jobsNamed,
  load,
  openForWriting,
  openLog,
  showProblems,
  wireOf,
} from './surroundings.js';

export interface RunOptions extends GlobalOptions {
  /** Ask once more for files that the server refused before. */
  readonly retrySkipped?: boolean | undefined;
}

/** One line a job on standard output: JSON with `--json`, else a sentence. The code is the gravest of all. */
export async function run(names: readonly string[], options: RunOptions): Promise<ExitCode> {
  const configuration = await load(options);
  const jobs = jobsNamed(configuration, names);
  const { agent } = configuration;
  showProblems(configuration.problems.filter(({ job }) => job === undefined || names.includes(job)));

  const log = openLog(options, agent);
  const signals = stopSignals(agent.stop.withinMs);
  try {
    const ledger = openForWriting(options, log.listener);
    const accounts = new Accounts(log.listener, { wire: wireOf(options, agent), profiles: ledger });
    signals.cut.addEventListener('abort', () => void accounts.close(), { once: true });
    const codes: ExitCode[] = [];
    try {
      for (const job of jobs) {
        if (signals.stop.aborted) break;
        const report = await runJob(job, {
          ledger,
          accounts,
          listener: log.listener,
          trigger: 'by hand',
          stop: signals.stop,
          cut: signals.cut,
          skipped: options.retrySkipped === true ? 'again' : undefined,
        });
        codes.push(exitCodeOf(report));
        process.stdout.write(`${options.json === true ? runLine(report) : summaryLine(report)}\n`);
      }
    } finally {
      await accounts.close();
      ledger.close();
    }
    return signals.stop.aborted ? 130 : gravest(codes);
  } finally {
    signals.dispose();
    await log.close();
  }
}
