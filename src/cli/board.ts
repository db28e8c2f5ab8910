/*
 * The notice board of a command that runs jobs, and the one listener that the log and the board are together.
 */
import type { AgentSettings, Job } from '../job/job.js';
import type { Configuration } from '../job/load.js';
import { withoutSecrets } from '../job/secret-names.js';
import type { Ledger } from '../ledger/ledger.js';
import { NoticeBoard } from '../notice/board.js';
import type { Listener } from '../report/event.js';
import type { Log } from '../report/log.js';

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
