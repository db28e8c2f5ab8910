/*
 * `ferryd run JOB...`: runs jobs now, one after the other, and says how each ended.
 */

import { changeBy } from '../daemon/reload.js';
import type { Job } from '../job/job.js';
import type { Configuration } from '../job/load.js';
import { withoutSecrets } from '../job/secret-names.js';
import { runLine, summaryLine } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { runJob } from '../run/run.js';
import { tendWhenDue } from '../run/tend.js';
import { bothOf, holdingOf, NOTICES_WITHIN_MS, openBoard, tellBroken } from './board.js';
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

/** The rest is done by the next one, or by the daemon. */
const TEND_AT_MOST_MS = 5_000;

/** One line a job on standard output: JSON with `--json`, else a sentence. The code is the gravest of all. */
export async function run(names: readonly string[], options: RunOptions): Promise<ExitCode> {
  const configuration = await load(options);
  const { agent } = configuration;
  const jobs = await readyOf(names, configuration, options);
  showProblems(configuration.problems.filter(({ job }) => job === undefined || names.includes(job)));

  const log = openLog(options, agent);
  const signals = stopSignals(agent.stop.withinMs);
  try {
    const ledger = openForWriting(options, log.listener);
    const board = openBoard(ledger, log, () => holdingOf(configuration));
    board.configuration(changeBy(configuration, undefined).broken);
    const listener = bothOf(log, board);
    const accounts = new Accounts(listener, { wire: wireOf(options, agent), profiles: ledger });
    signals.cut.addEventListener('abort', () => void accounts.close(), { once: true });
    const codes: ExitCode[] = [];
    try {
      for (const job of jobs) {
        if (signals.stop.aborted) break;
        const report = await runJob(job, {
          ledger,
          accounts,
          listener,
          trigger: 'by hand',
          environment: withoutSecrets(process.env, [agent, ...configuration.jobs]),
          stop: signals.stop,
          cut: signals.cut,
          skipped: options.retrySkipped === true ? 'again' : undefined,
        });
        board.notBegun(report);
        codes.push(exitCodeOf(report));
        process.stdout.write(`${options.json === true ? runLine(report) : summaryLine(report)}\n`);
      }
    } finally {
      await accounts.close();
      await tendWhenDue({
        ledger,
        listener,
        keepMs: agent.history.keepMs,
        maxMs: TEND_AT_MOST_MS,
        nowMs: Date.now(),
        stop: signals.stop,
      });
      await board.settle(NOTICES_WITHIN_MS);
      await board.stop();
      ledger.close();
    }
    return signals.stop.aborted ? 130 : gravest(codes);
  } finally {
    signals.dispose();
    await log.close();
  }
}

/** The jobs of these names. Where a broken file keeps one from running, somebody is told, as by the daemon. */
async function readyOf(
  names: readonly string[],
  configuration: Configuration,
  options: RunOptions,
): Promise<readonly Job[]> {
  try {
    return jobsNamed(configuration, names);
  } catch (error) {
    const { broken } = changeBy(configuration, undefined);
    if (names.some((name) => broken.has(name))) await tellBroken(configuration, options);
    throw error;
  }
}
