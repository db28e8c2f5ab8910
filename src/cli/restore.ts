/*
 * `ferryd restore JOB [PATH] [--at TIME] [--to DIR]`: takes files back out of a job's trash, one line a file.
 */
import { resolve } from 'node:path';
import type { Job } from '../job/job.js';
import { parseDuration } from '../job/units.js';
import type { RelativePath } from '../plan/entry.js';
import { isTrash, stampMs, TRASH } from '../plan/trash.js';
import { printable } from '../report/printable.js';
import { formatBytes, formatDuration } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { resolveJob } from '../run/resolve.js';
import { type Restored, type RestoreReport, restorableSides, restoreJob } from '../run/restore.js';
import type { TrashProblem } from '../run/trash.js';
import { CommandFailed, type ExitCode, exitCodeOfFailure } from './exit.js';
import { stopSignals } from './stop-signal.js';
import {
  type GlobalOptions,
  jobsNamed,
  ledgerFile,
  load,
  openForReading,
  openLog,
  wireOf,
} from './surroundings.js';
import { moment } from './table.js';

export interface RestoreOptions extends GlobalOptions {
  readonly at?: string | undefined;
  readonly to?: string | undefined;
}

/** More dates than these are not told one by one. */
const DATES_TOLD = 20;

/** One line a file, then a sentence. With `--json` one object a line, and no sentence. */
export async function restore(
  name: string,
  path: string | undefined,
  options: RestoreOptions,
): Promise<ExitCode> {
  const nowMs = Date.now();
  const atMs = options.at === undefined ? undefined : parseMoment(options.at, nowMs);
  const to = options.to === undefined ? undefined : resolve(options.to);
  if (options.to === '') throw new CommandFailed(2, '--to wants a directory.');
  const configuration = await load(options);
  const [job] = jobsNamed(configuration, [name]);
  if (job === undefined) throw new CommandFailed(2, `There is no job ${name}.`);
  const { local } = resolveJob(job, atMs ?? nowMs).job;
  const wish = { path: path === undefined ? undefined : relativeOf(path, local), atMs, to };
  const log = openLog(options, configuration.agent);
  const signals = stopSignals(configuration.agent.stop.withinMs);
  try {
    const ledger = openForReading(options);
    const accounts = new Accounts(log.listener, {
      wire: wireOf(options, configuration.agent),
      profiles: ledger,
    });
    signals.cut.addEventListener('abort', () => void accounts.close(), { once: true });
    try {
      const shown = new Shown({ ...job, local }, options);
      shown.begin();
      const report = await restoreJob(job, wish, {
        ledgerFile: ledgerFile(options),
        accounts,
        listener: log.listener,
        nowMs,
        onRestored: (restored) => shown.restored(restored, to),
        onLeft: (left) => shown.left(left),
        stop: signals.stop,
        cut: signals.cut,
      });
      return conclude(report, { job, wish, shown });
    } finally {
      await accounts.close();
      ledger?.close();
    }
  } finally {
    signals.dispose();
    await log.close();
  }
}

class Shown {
  readonly #job: Job;
  readonly #json: boolean;

  constructor(job: Job, options: GlobalOptions) {
    this.#job = job;
    this.#json = options.json === true;
  }

  begin(): void {
    if (restorableSides(this.#job).length < 2) return;
    this.say(
      `Job ${this.#job.name} is two-way: what is in the trash of the server is looked at first, then that of ${this.#job.local}.`,
    );
  }

  restored({ path, side, untilMs, sizeBytes, setAside }: Restored, to: string | undefined): void {
    const action = to === undefined ? 'restored' : 'copied';
    if (this.#json) {
      const until = new Date(untilMs).toISOString();
      this.#line({
        action,
        path,
        side,
        until,
        bytes: sizeBytes,
        ...(to === undefined ? { setAside } : { to }),
      });
      return;
    }
    const where = side === 'remote' ? 'server' : 'local';
    const both = restorableSides(this.#job).length > 1 ? `, ${where}` : '';
    const aside = setAside ? '; what stood there is in the trash now' : '';
    const why = `current until ${moment(untilMs)}, ${formatBytes(sizeBytes)}${both}${aside}`;
    process.stdout.write(`${action.padEnd(8)} ${printable(path)}  (${why})\n`);
  }

  left({ path, code, message }: TrashProblem): void {
    if (this.#json) this.#line({ action: 'left', path, code, why: message });
    else process.stdout.write(`${'left'.padEnd(8)} ${printable(path)}  (${printable(message)})\n`);
  }

  /** For people only. */
  say(sentence: string): void {
    if (!this.#json) process.stdout.write(`${printable(sentence)}\n`);
  }

  #line(fields: object): void {
    process.stdout.write(`${JSON.stringify({ job: this.#job.name, ...fields })}\n`);
  }
}

interface Asked {
  readonly job: Job;
  readonly wish: {
    readonly path: RelativePath | undefined;
    readonly atMs: number | undefined;
    readonly to: string | undefined;
  };
  readonly shown: Shown;
}

function conclude(report: RestoreReport, { job, wish, shown }: Asked): ExitCode {
  switch (report.end) {
    case 'nothing':
      throw new CommandFailed(1, `${nothingFound(job, wish)} ${datesOf(report)}`);
    case 'out-of-reach':
      throw new CommandFailed(
        1,
        `The trash of job ${job.name} keeps things for ${formatDuration(job.deletes.keepMs)}, and has nothing older than ${moment(wish.atMs)}: what was current then may have gone since. Nothing was restored. ${datesOf(report)}`,
      );
    case 'done':
    case 'interrupted':
    case 'failed':
      break;
  }
  const { restored, bytes, left, mismatched, failure } = report;
  if (restored + left > 0) {
    const verb = wish.to === undefined ? 'Restored' : 'Copied';
    const files = `${restored} ${restored === 1 ? 'file' : 'files'} (${formatBytes(bytes)})`;
    const where = wish.to === undefined ? '' : ` to ${wish.to}`;
    shown.say(`${verb} ${files} of job ${job.name}${where}; ${left} left.`);
  }
  if (restored > 0 && wish.to === undefined) {
    const note = noteOn(job);
    if (note !== undefined) shown.say(note);
  }
  if (failure !== undefined)
    throw new CommandFailed(exitCodeOfFailure(failure.kind), printable(failure.message));
  if (report.end === 'interrupted') return 130;
  if (mismatched > 0) return 8;
  if (left === 0) return 0;
  return restored > 0 ? 3 : 1;
}

/** What the next run will make of what is back. */
function noteOn(job: Job): string | undefined {
  if (job.mode === 'two-way') return 'The next run takes what is back to the other side.';
  if (job.deletes.extraneous)
    return 'The next run deletes again what its source does not have (deletes: { extraneous: true }).';
  if (job.compare !== 'ledger')
    return `The next run brings the source's version again where it differs (compare: ${job.compare}).`;
  return undefined;
}

function nothingFound(job: Job, { path, atMs }: Asked['wish']): string {
  const what = path === undefined ? '' : ` for ${printable(path)}`;
  if (atMs !== undefined) {
    return `The trash of job ${job.name} has nothing${what} that was deleted or overwritten since ${moment(atMs)}.`;
  }
  return path === undefined
    ? `Nothing is missing that the trash of job ${job.name} has.`
    : `The trash of job ${job.name} has nothing${what} that is missing now. A path is written as it stands in the target.`;
}

function datesOf({ trashes }: RestoreReport): string {
  const told = trashes.map(({ label, stamps }) => {
    if (stamps.length === 0) return `There is no trash at ${label}.`;
    const newest = stamps.slice(-DATES_TOLD).map((stamp) => moment(stampMs(stamp)));
    const earlier = stamps.length - newest.length;
    const rest = earlier > 0 ? `, and ${earlier} earlier` : '';
    return `Things were deleted or overwritten at ${label} on ${newest.reverse().join(', ')}${rest}; --at TIME takes back what was current at a time before.`;
  });
  return printable(told.join(' '));
}

const EXAMPLES =
  'a date (2026-11-20), a time (2026-11-20T14:30, or with Z or +01:00 behind it) or how long ago (2d, 26h)';

/**
 * A moment in the past, as a person writes it. Without a zone it is that of this machine; a date alone is its first
 * moment.
 *
 * @returns milliseconds since 1970
 * @throws {CommandFailed} code 2 where it is none, or lies ahead
 */
export function parseMoment(text: string, nowMs: number): number {
  const atMs = readDate(text) ?? readAgo(text, nowMs);
  if (atMs === undefined) throw new CommandFailed(2, `--at wants ${EXAMPLES}, not "${printable(text)}".`);
  if (atMs > nowMs)
    throw new CommandFailed(2, `--at ${text} lies in the future: nothing was current then yet.`);
  return atMs;
}

function readAgo(text: string, nowMs: number): number | undefined {
  const ago = parseDuration(text.replace(/ ago$/, ''));
  return ago.ok ? nowMs - ago.value : undefined;
}

function readDate(text: string): number | undefined {
  const match =
    /^(\d{4}-\d\d-\d\d)(?:[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?)?$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [, date = '', hour = '00', minute = '00', second = '00', zone = ''] = match;
  const day = new Date(`${date}T00:00:00Z`);
  // The thirtieth of February would be taken for the second of March.
  if (Number.isNaN(day.getTime()) || !day.toISOString().startsWith(date)) return undefined;
  const offset = zone.replace(/^([+-]\d\d)(\d\d)$/, '$1:$2');
  return new Date(`${date}T${hour}:${minute}:${second}${offset}`).getTime();
}

/**
 * A path below the job's root, however it was typed.
 *
 * @param local absolute path of the job's local directory: what lies below it may be written in full
 * @returns undefined for the root itself
 * @throws {CommandFailed} code 2 for what lies elsewhere
 */
export function relativeOf(text: string, local: string): RelativePath | undefined {
  const root = local === '/' ? '' : local;
  let path = text;
  if (path === local || path.startsWith(`${root}/`)) path = path.slice(root.length + 1);
  else if (path.startsWith('/')) {
    throw new CommandFailed(
      2,
      `${printable(text)} does not lie below ${local}. Write the path as it stands below the root of the job, such as docs/report.pdf.`,
    );
  }
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw new CommandFailed(2, `A path to restore holds no "..": ${printable(text)}`);
  const relative = names.join('/');
  if (isTrash(relative)) {
    throw new CommandFailed(
      2,
      `Write the path as it was, without ${TRASH} and the date: ferryd looks for it in the trash by itself.`,
    );
  }
  return relative === '' ? undefined : relative;
}
