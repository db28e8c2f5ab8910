/*
 * `ferryd status [JOB]`: how each job stands, read from the ledger and the job files while the daemon runs or
 * not. Asks no server.
 */
import type { Job } from '../job/job.js';
import type { HeldPlan } from '../ledger/deletion.js';
import { lockDirectory, whoHolds } from '../ledger/lock.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { RunRecord, TransferRecord } from '../ledger/record.js';
import type { RememberedSkip } from '../plan/entry.js';
import { printable } from '../report/printable.js';
import { runSentence } from '../report/summary.js';
import { nextRun } from '../trigger/cron.js';
import { CommandFailed, type ExitCode } from './exit.js';
import { heldJson, heldSentence } from './held.js';
import { type GlobalOptions, ledgerFile, load, openForReading, showProblems } from './surroundings.js';
import { ago, columns, moment } from './table.js';

/** How many skipped files are shown of each job; the rest is counted. */
const SKIPS_SHOWN = 20;

/** How far back into the last run's transfers `status` looks. */
const TRANSFERS_READ = 10_000;

type LeftBehind = Extract<TransferRecord, { readonly result: 'skipped' | 'failed' }>;

interface JobStatus {
  readonly job: string;
  readonly description: string;
  readonly lastRun: RunRecord | undefined;
  readonly nextRunMs: number | undefined;
  readonly watched: boolean;
  readonly loaded: boolean;
  /** What the guard refused, and waits for a person or for the next run. */
  readonly held: HeldPlan | undefined;
  readonly skips: readonly RememberedSkip[];
  readonly skipCount: number;
  /** What the last run left behind besides: it is tried again by each run. */
  readonly leftBehind: readonly LeftBehind[];
}

/** Always 0, unless the named job is unknown: that a run failed is told, not signalled. */
export async function status(name: string | undefined, options: GlobalOptions): Promise<ExitCode> {
  const configuration = await load(options);
  showProblems(configuration.problems);
  const ledger = openForReading(options);
  try {
    const all = jobStatuses(configuration.jobs, ledger);
    const shown = name === undefined ? all : all.filter(({ job }) => job === name);
    if (name !== undefined && shown.length === 0) {
      throw new CommandFailed(2, `There is no job ${name} in ${configuration.directory}, and none ever ran.`);
    }
    const daemon = whoHolds(lockDirectory(ledgerFile(options)), 'daemon');
    if (options.json === true) {
      for (const job of shown) process.stdout.write(`${JSON.stringify(toJson(job, daemon?.pid))}\n`);
      return 0;
    }
    process.stdout.write(
      daemon === undefined
        ? 'No daemon is running: nothing starts by itself.\n\n'
        : `The daemon is running (process ${daemon.pid}, started ${ago(daemon.sinceMs, Date.now())}).\n\n`,
    );
    for (const job of shown) process.stdout.write(readable(job, daemon !== undefined));
    return 0;
  } finally {
    ledger?.close();
  }
}

function jobStatuses(jobs: readonly Job[], ledger: LedgerReader | undefined): JobStatus[] {
  const last = new Map((ledger?.lastRunPerJob() ?? []).map((run) => [run.job, run]));
  const statuses = jobs.map((job) => statusOf(job.name, job, last.get(job.name), ledger));
  // Jobs that ran once and have no file any more must not vanish without a word.
  for (const [name, run] of last) {
    if (!jobs.some((job) => job.name === name)) statuses.push(statusOf(name, undefined, run, ledger));
  }
  return statuses;
}

function statusOf(
  name: string,
  job: Job | undefined,
  lastRun: RunRecord | undefined,
  ledger: LedgerReader | undefined,
): JobStatus {
  const next = (job?.triggers ?? [])
    .map((trigger) =>
      trigger.kind === 'cron' ? nextRun(trigger.expression, trigger.timezone)?.getTime() : undefined,
    )
    .filter((ms) => ms !== undefined)
    .sort((a, b) => a - b)[0];
  return {
    job: name,
    description: job?.description ?? '',
    lastRun,
    nextRunMs: next,
    watched: job?.triggers.some((trigger) => trigger.kind === 'watch') ?? false,
    loaded: job !== undefined,
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

function readable(status: JobStatus, daemonRuns: boolean): string {
  const { lastRun, skips, skipCount } = status;
  const rows: string[][] = [['  last run', lastRunText(lastRun)]];
  if (lastRun?.state === 'ended')
    rows.push(['', runSentence({ ...lastRun, durationMs: lastRun.endedAtMs - lastRun.startedAtMs })]);
  rows.push(['  next run', nextRunText(status, daemonRuns)]);
  if (status.held !== undefined) {
    rows.push([
      '  held',
      printable(`${heldSentence(status.job, status.held, Date.now()).replace(/^held /, '')}.`),
    ]);
  }
  let text = `${status.job}${status.description === '' ? '' : `: ${printable(status.description)}`}\n${columns(rows)}`;
  if (skipCount > 0) {
    text += `  skipped until they change, the settings change, or ferryd run ${status.job} --retry-skipped: ${skipCount}\n`;
    for (const skip of skips) text += `    ${printable(skip.path)}: ${printable(skip.text)}\n`;
    if (skipCount > skips.length) text += `    and ${skipCount - skips.length} more\n`;
  }
  const { leftBehind } = status;
  if (leftBehind.length > 0) {
    text += `  left behind by the last run, and looked at again by the next one: ${leftBehind.length}\n`;
    for (const file of leftBehind.slice(0, SKIPS_SHOWN)) {
      text += `    ${printable(file.path)}: ${printable(file.text)}\n`;
    }
    if (leftBehind.length > SKIPS_SHOWN) text += `    and ${leftBehind.length - SKIPS_SHOWN} more\n`;
  }
  return `${text}\n`;
}

function lastRunText(run: RunRecord | undefined): string {
  if (run === undefined) return 'never';
  const began = `${moment(run.startedAtMs)} (${ago(run.startedAtMs, Date.now())}), ${run.trigger}`;
  return run.state === 'running' ? `${began}: under way, or its process was killed` : began;
}

function nextRunText(status: JobStatus, daemonRuns: boolean): string {
  if (!status.loaded) return 'none: its job file is gone or cannot be loaded';
  const when = [
    ...(status.nextRunMs === undefined ? [] : [moment(status.nextRunMs)]),
    ...(status.watched ? ['when files change'] : []),
  ].join(', and ');
  if (when === '') return 'by hand only: the job has no trigger';
  return daemonRuns ? when : `${when}, once the daemon is started`;
}

function toJson(status: JobStatus, daemonPid: number | undefined): object {
  const { lastRun } = status;
  const iso = (ms: number | undefined): string | null =>
    ms === undefined ? null : new Date(ms).toISOString();
  return {
    job: status.job,
    loaded: status.loaded,
    daemon: daemonPid ?? null,
    lastRun:
      lastRun === undefined
        ? null
        : {
            run: lastRun.id,
            trigger: lastRun.trigger,
            startedAt: iso(lastRun.startedAtMs),
            ...(lastRun.state === 'running'
              ? { outcome: 'running' }
              : {
                  endedAt: iso(lastRun.endedAtMs),
                  outcome: lastRun.outcome,
                  ...lastRun.tally,
                  failure: lastRun.failure ?? null,
                }),
          },
    nextRun: iso(status.nextRunMs),
    watched: status.watched,
    held: heldJson(status.held),
    skippedFiles: status.skipCount,
    leftBehind: status.leftBehind.map((file) => ({
      path: file.path,
      code: file.code,
      text: file.text,
    })),
    skips: status.skips.map(({ path, code, text, atMs }) => ({ path, code, text, at: iso(atMs) })),
  };
}
