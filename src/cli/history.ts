/*
 * `ferryd history [JOB]`: the runs that were, newest first; with `--run` the files of one of them.
 */
import type { LedgerReader } from '../ledger/reader.js';
import type { RunRecord, TransferRecord } from '../ledger/record.js';
import { printable } from '../report/printable.js';
import { formatBytes, formatDuration, runSentence } from '../report/summary.js';
import { CommandFailed, type ExitCode } from './exit.js';
import { type GlobalOptions, openForReading } from './surroundings.js';
import { columns, moment } from './table.js';

export interface HistoryOptions extends GlobalOptions {
  readonly limit: string;
  readonly run?: string | undefined;
}

/** How many files of one run are shown at the most. */
const FILES_SHOWN = 10_000;

export async function history(job: string | undefined, options: HistoryOptions): Promise<ExitCode> {
  const limit = wholeNumber(options.limit, '--limit');
  const runId = options.run === undefined ? undefined : wholeNumber(options.run, '--run');
  const ledger = openForReading(options);
  try {
    if (ledger === undefined) {
      if (options.json !== true) process.stdout.write('There is no ledger yet: no job has run.\n');
      return 0;
    }
    if (runId === undefined) showRuns(ledger.lastRuns(job, limit), options);
    else showFiles(ledger, runId, options);
    return 0;
  } finally {
    ledger?.close();
  }
}

function showRuns(runs: readonly RunRecord[], options: HistoryOptions): void {
  if (options.json === true) {
    for (const run of runs) process.stdout.write(`${JSON.stringify(runJson(run))}\n`);
    return;
  }
  if (runs.length === 0) process.stdout.write('No run yet.\n');
  const rows = runs.map((run) => [
    `run ${run.id}`,
    moment(run.startedAtMs),
    run.job,
    run.trigger,
    run.state === 'running'
      ? 'under way, or its process was killed'
      : runSentence({ ...run, durationMs: run.endedAtMs - run.startedAtMs }),
  ]);
  process.stdout.write(columns(rows));
}

function showFiles(ledger: LedgerReader, runId: number, options: HistoryOptions): void {
  const files = ledger.transfers({ runId }, FILES_SHOWN).reverse();
  if (options.json === true) {
    for (const file of files) process.stdout.write(`${JSON.stringify(fileJson(file))}\n`);
    return;
  }
  if (files.length === 0) process.stdout.write(`Run ${runId} moved no file, or there was no such run.\n`);
  const rows = files.map((file) => [moment(file.atMs), file.result, printable(file.path), detailOf(file)]);
  process.stdout.write(columns(rows));
}

function detailOf(file: TransferRecord): string {
  switch (file.result) {
    case 'uploaded':
    case 'downloaded':
      return `${formatBytes(file.bytes)} in ${formatDuration(file.durationMs)}`;
    case 'set-aside':
      return `to ${printable(file.to)}`;
    case 'deleted': {
      const where = file.side === 'local' ? 'here' : 'on the server';
      return file.text === '' ? where : `${where}: ${printable(file.text)}`;
    }
    case 'skipped':
    case 'failed':
      return printable(file.text);
  }
}

function runJson(run: RunRecord): object {
  const began = {
    run: run.id,
    job: run.job,
    trigger: run.trigger,
    startedAt: new Date(run.startedAtMs).toISOString(),
  };
  if (run.state === 'running') return { ...began, outcome: 'running' };
  return {
    ...began,
    endedAt: new Date(run.endedAtMs).toISOString(),
    outcome: run.outcome,
    ...run.tally,
    places: run.places ?? null,
    failure: run.failure ?? null,
  };
}

function fileJson(file: TransferRecord): object {
  const { runId, atMs, ...rest } = file;
  return { run: runId, at: new Date(atMs).toISOString(), ...rest };
}

function wholeNumber(text: string, option: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new CommandFailed(2, `${option} wants a whole number over 0, not "${text}".`);
  return Number(text);
}
