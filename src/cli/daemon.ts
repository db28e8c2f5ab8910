/*
 * `ferryd daemon`: runs until it is told to stop. What it consists of is put together here: log, ledger, notices,
 * jobs, the watch on the jobs directory, and systemd.
 */
import { once } from 'node:events';
import { Daemon, DaemonLocked } from '../daemon/daemon.js';
import { Refresh } from '../daemon/refresh.js';
import { type Supervisor, superviseBySystemd } from '../daemon/systemd.js';
import { formatProblem } from '../job/problem.js';
import { LedgerError } from '../ledger/error.js';
import type { Ledger } from '../ledger/ledger.js';
import { openFileLog } from '../report/file-log.js';
import type { Log } from '../report/log.js';
import { bothOf, type Holding, holdingOf, openBoard, tellBroken } from './board.js';
import { complain } from './complaint.js';
import { CommandFailed, type ExitCode, exitCodeOfLedger } from './exit.js';
import { type GlobalOptions, load, logSettings, openForWriting, openLog, wireOf } from './surroundings.js';

/** Resolves after SIGTERM or SIGINT, when all is stopped. A job that cannot be loaded does not keep the others. */
export async function daemon(options: GlobalOptions): Promise<ExitCode> {
  const hangUp = onHangUp();
  const configuration = await load(options);
  const log = openLog(options, configuration.agent, openFileLog);
  const supervisor = superviseBySystemd(process.env, { listener: log.listener });
  try {
    if (configuration.jobs.length === 0) {
      for (const problem of configuration.problems) {
        log.listener({
          event: 'configuration.problem',
          level: problem.severity === 'error' ? 'error' : 'warn',
          message: formatProblem(problem),
          ...(problem.job === undefined ? {} : { job: problem.job }),
        });
      }
      await tellBroken(configuration, options);
      throw new CommandFailed(
        2,
        `No job in ${configuration.directory} can run, so there is nothing to do. See ferryd check.`,
      );
    }
    const ledger = openForWriting(options, log.listener, ({ withinMs }) => supervisor.starting(withinMs));
    try {
      await serve({ options, configuration, log, ledger, supervisor, hangUp });
      return 0;
    } catch (error) {
      if (error instanceof DaemonLocked) throw new CommandFailed(7, error.message);
      if (error instanceof LedgerError) throw new CommandFailed(exitCodeOfLedger(error), error.message);
      throw error;
    } finally {
      closeQuietly(ledger);
    }
  } finally {
    hangUp.ignore();
    await supervisor.stop();
    await log.close();
  }
}

interface Parts {
  readonly options: GlobalOptions;
  readonly configuration: Awaited<ReturnType<typeof load>>;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly supervisor: Supervisor;
  readonly hangUp: HangUp;
}

/** From the start of the first trigger to the end of the last run. */
async function serve({ options, configuration, log, ledger, supervisor, hangUp }: Parts): Promise<void> {
  const signalled = firstSignal();
  const damage = new Damage(ledger);
  let inForce: Holding = holdingOf(configuration);
  const board = openBoard(ledger, log, () => inForce);
  const listener = bothOf(log, board);
  const running = await Daemon.start({
    configuration,
    ledger,
    listener,
    wire: wireOf(options, configuration.agent),
    onChange: (change) => {
      inForce = change.inForce;
      log.configure(logSettings(options, inForce.agent));
      board.configuration(change.broken);
    },
    onStanding: (line) => supervisor.status(line),
    onReport: (report) => {
      board.notBegun(report);
      damage.look();
    },
  });
  const refresh = new Refresh({
    directory: configuration.directory,
    load: () => load(options),
    take: (loaded) => running.reload(loaded),
    onProblem: (message) => listener({ event: 'configuration.problem', level: 'error', message }),
  });
  const ready = (): void => {
    // Together, so that `systemctl status` right after a reload shows what came of it.
    supervisor.status(running.describe());
    supervisor.ready();
  };
  try {
    board.start();
    await refresh.start();
    ready();
    supervisor.watch(() => running.progress());
    hangUp.call(() => {
      supervisor.reloading();
      void refresh.ask().then(ready);
    });
    const signal = await Promise.race([signalled, damage.met]);
    supervisor.stopping(inForce.agent.stop.withinMs);
    await refresh.stop();
    await running.stop(signal);
    if (ledger.isDamaged) throw new CommandFailed(1, damage.sentence);
  } finally {
    hangUp.ignore();
    await refresh.stop();
    await board.settle(NOTICES_WITHIN_MS);
    await board.stop();
  }
}

/** What the stop itself gave rise to may still be told. */
const NOTICES_WITHIN_MS = 2_000;

/** A ledger that fails at the end has told so in its runs; the exit code is then theirs. */
function closeQuietly(ledger: { close(): void }): void {
  try {
    ledger.close();
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    complain(error.message);
  }
}

/** A ledger that turns out to be damaged is put aside when it is opened next, so the daemon ends and is started again. */
class Damage {
  /** Resolves with the reason for the stop. */
  readonly met: Promise<string>;
  readonly #ledger: Ledger;
  #tell: (reason: string) => void = () => undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    this.met = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  look(): void {
    if (this.#ledger.isDamaged) this.#tell('damage to the ledger');
  }

  get sentence(): string {
    return `The ledger ${this.#ledger.file} is damaged. The daemon has ended; at its next start the ledger is put aside and a new one is begun. Look at the disk.`;
  }
}

interface HangUp {
  /** Does this at each SIGHUP from now on, and at once where one came before. */
  call(act: () => void): void;
  /** Does nothing any more; a SIGHUP still ends nothing. */
  ignore(): void;
}

/** Node ends the process at a SIGHUP that nobody listens to, also while it starts or stops. */
function onHangUp(): HangUp {
  let act: (() => void) | undefined;
  let early = false;
  process.on('SIGHUP', () => {
    if (act === undefined) early = true;
    else act();
  });
  return {
    call(wanted) {
      act = wanted;
      if (early) wanted();
    },
    ignore() {
      act = () => undefined;
    },
  };
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
