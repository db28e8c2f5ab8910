/*
 * `ferryd status [JOB]`: how each job stands, read from the ledger and the job files while the daemon runs or
 * not. Asks no server.
 */
import { nextRuns } from '../daemon/coverage.js';
import { readStanding, type Standing } from '../daemon/standing.js';
import type { Job } from '../job/job.js';
import { type Holder, lockDirectory, whoHolds } from '../ledger/lock.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { RunRecord } from '../ledger/record.js';
import { printable } from '../report/printable.js';
import { machineSeed } from '../trigger/jitter.js';
import { CommandFailed, type ExitCode } from './exit.js';
import { type JobStatus, type LeftBehind, readable, toJson } from './status-text.js';
import { type GlobalOptions, ledgerFile, load, openForReading, showProblems } from './surroundings.js';
import { ago } from './table.js';

/** How many skipped files are shown of each job; the rest is counted. */
const SKIPS_SHOWN = 20;

/** How long a damage is worth a line. */
const DAMAGE_SHOWN_MS = 30 * 86_400_000;

/** How far back into the last run's transfers `status` looks. */
const TRANSFERS_READ = 10_000;

/** Always 0, unless the named job is unknown: that a run failed is told, not signalled. */
export async function status(name: string | undefined, options: GlobalOptions): Promise<ExitCode> {
  const configuration = await load(options);
  showProblems(configuration.problems);
  const ledger = openForReading(options);
  try {
    const locks = lockDirectory(ledgerFile(options));
    const daemon = whoHolds(locks, 'daemon');
    const standing = daemon === undefined ? undefined : readStanding(locks, daemon.pid);
    const all = jobStatuses(configuration.jobs, { ledger, standing });
    const shown = name === undefined ? all : all.filter(({ job }) => job === name);
    if (name !== undefined && shown.length === 0) {
      throw new CommandFailed(2, `There is no job ${name} in ${configuration.directory}, and none ever ran.`);
    }
    if (options.json === true) {
      for (const job of shown) process.stdout.write(`${JSON.stringify(toJson(job, daemon?.pid))}\n`);
      return 0;
    }
    process.stdout.write(headText({ daemon, standing, ledger, directory: configuration.directory }));
    for (const job of shown) process.stdout.write(readable(job, daemon !== undefined));
    return 0;
  } finally {
    ledger?.close();
  }
}

interface Head extends Sources {
  readonly daemon: Holder | undefined;
  readonly directory: string;
}

/** What concerns all jobs. */
function headText({ daemon, standing, ledger, directory }: Head): string {
  const nowMs = Date.now();
  const damage = ledger?.lastDamage();
  const waiting = ledger?.notices.countNotices() ?? 0;
  const lines = [
    daemon === undefined
      ? 'No daemon is running: nothing starts by itself.'
      : `The daemon is running (process ${daemon.pid}, started ${ago(daemon.sinceMs, nowMs)}).`,
    ...(damage === undefined || nowMs - damage.atMs > DAMAGE_SHOWN_MS
      ? []
      : [
          `The ledger was damaged and began anew ${ago(damage.atMs, nowMs)}; the former one is ${printable(damage.movedTo)}. Look at the disk.`,
        ]),
    ...(waiting === 0
      ? []
      : [`${waiting === 1 ? '1 notice waits' : `${waiting} notices wait`} to be sent; the log says why.`]),
    ...(standing === undefined || standing.directory === directory
      ? []
      : [`It reads its jobs from ${printable(standing.directory)}, which is not the directory shown here.`]),
  ];
  return `${lines.join('\n')}\n\n`;
}

/** What is known of jobs besides their files. */
interface Sources {
  readonly ledger: LedgerReader | undefined;
  readonly standing: Standing | undefined;
}

function jobStatuses(jobs: readonly Job[], sources: Sources): JobStatus[] {
  const last = new Map((sources.ledger?.lastRunPerJob() ?? []).map((run) => [run.job, run]));
  const statuses = jobs.map((job) => statusOf(job.name, job, last.get(job.name), sources));
  // Jobs that ran once, or still do, and have no file any more must not vanish without a word.
  const others = new Set([...last.keys(), ...Object.keys(sources.standing?.jobs ?? {})]);
  for (const job of jobs) others.delete(job.name);
  for (const name of others) statuses.push(statusOf(name, undefined, last.get(name), sources));
  return statuses;
}

function statusOf(
  name: string,
  job: Job | undefined,
  lastRun: RunRecord | undefined,
  { ledger, standing }: Sources,
): JobStatus {
  const next = job === undefined ? [] : nextRuns(job, ledger, { seed: machineSeed(), nowMs: Date.now() });
  return {
    job: name,
    description: job?.description ?? '',
    lastRun,
    provenAtMs: ledger?.provenAtMs(name),
    knownSinceMs: ledger?.knownSinceMs(name),
    freshnessMs: job?.expect.freshnessMs,
    nextRuns: next,
    watched: job?.triggers.some((trigger) => trigger.kind === 'watch') ?? false,
    loaded: job !== undefined,
    daemon: standing === undefined ? undefined : (standing.jobs[name] ?? 'not taken'),
    held: ledger?.heldPlan(name),
    skips: ledger?.skips(name, SKIPS_SHOWN) ?? [],
    skipCount: ledger?.countSkips(name) ?? 0,
    leftBehind: leftBehind(name, lastRun, ledger),
  };
}

function leftBehind(
  job: string,
  lastRun: RunRecord | undefined,
  ledger: LedgerReader | undefined,
): LeftBehind[] {
  if (lastRun === undefined || ledger === undefined) return [];
  const remembered = new Set(ledger.skips(job, TRANSFERS_READ).map(({ path }) => path));
  const transfers = ledger.transfers({ runId: lastRun.id }, TRANSFERS_READ);
  return transfers
    .flatMap((file) => (file.result === 'skipped' && !remembered.has(file.path) ? [file] : []))
    .reverse();
}
