/*
 * The notice board of a command that runs jobs, and the one listener that the log and the board are together.
 */
import { changeBy } from '../daemon/reload.js';
import type { AgentSettings, Job } from '../job/job.js';
import type { Configuration } from '../job/load.js';
import { withoutSecrets } from '../job/secret-names.js';
import type { Ledger } from '../ledger/ledger.js';
import { NoticeBoard } from '../notice/board.js';
import type { Listener } from '../report/event.js';
import type { Log } from '../report/log.js';
import { type GlobalOptions, openForWriting, openLog } from './surroundings.js';

/** The settings and jobs that hold now. */
export interface Holding {
  readonly agent: AgentSettings;
  /** By name. */
  readonly jobs: ReadonlyMap<string, Job>;
}

export function holdingOf({ agent, jobs }: Pick<Configuration, 'agent' | 'jobs'>): Holding {
  return { agent, jobs: new Map(jobs.map((job) => [job.name, job])) };
}

/** What jobs have to be told of goes through their own channels, or the agent's. */
export function openBoard(ledger: Ledger, log: Log, holding: () => Holding): NoticeBoard {
  return new NoticeBoard({
    store: ledger,
    listener: log.listener,
    channelsOf: (name) => holding().jobs.get(name)?.notify ?? holding().agent.notify,
    pingOf: (name) => holding().jobs.get(name)?.ping,
    jobs: () => holding().jobs.values(),
    environmentOfCommands: () => withoutSecrets(process.env, [holding().agent, ...holding().jobs.values()]),
  });
}

/** Tells both. */
export function bothOf(log: Log, board: NoticeBoard): Listener {
  return (event) => {
    log.listener(event);
    board.listener(event);
  };
}

/** How long a command waits until somebody has been told; what is left is sent by the next one, or by the daemon. */
export const NOTICES_WITHIN_MS = 10_000;

/** Tells what is wrong with the configuration, where it keeps a command from running anything at all. */
export async function tellBroken(configuration: Configuration, options: GlobalOptions): Promise<void> {
  // Jobs that cannot be loaded have no channels of their own.
  if (configuration.agent.notify.length === 0) return;
  const log = openLog(options, configuration.agent);
  const ledger = openForWriting(options, log.listener);
  const board = openBoard(ledger, log, () => holdingOf(configuration));
  try {
    board.configuration(changeBy(configuration, undefined).broken);
    await board.settle(NOTICES_WITHIN_MS);
  } finally {
    await board.stop();
    ledger.close();
    await log.close();
  }
}
