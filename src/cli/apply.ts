/*
 * `ferryd apply FILE`: carries out a plan that `ferryd plan -o` wrote, or refuses where the world has moved since. It
 * plans anew and compares action by action; only where both are the same is anything done, and what moves between that
 * and its turn is left as it is.
 */
import { resolve } from 'node:path';
import type { Job } from '../job/job.js';
import { withoutSecrets } from '../job/secret-names.js';
import type { Ledger } from '../ledger/ledger.js';
import { lockDirectory, whoHolds } from '../ledger/lock.js';
import type { Verdict } from '../plan/action.js';
import { printable } from '../report/printable.js';
import { formatBytes, runLine, summaryLine } from '../report/summary.js';
import { Accounts } from '../run/accounts.js';
import { planJob } from '../run/plan.js';
import { type Difference, headerOf, PlanFile, type PlanHeader, type PlannedAction } from '../run/planfile.js';
import { runJob } from '../run/run.js';
import { CommandFailed, type ExitCode, exitCodeOf } from './exit.js';
import { commandFailed } from './plan.js';
import { stopSignals } from './stop-signal.js';
import {
  type GlobalOptions,
  jobsNamed,
  ledgerFile,
  load,
  openForWriting,
  openLog,
  wireOf,
} from './surroundings.js';
import { moment } from './table.js';

/** How many differences are told; the rest is counted. */
const SHOWN = 10;

/** One line, as `run` prints it. */
export async function apply(text: string, options: GlobalOptions): Promise<ExitCode> {
  if (text === '') throw new CommandFailed(2, 'Which plan is to be carried out? Name its file.');
  const file = resolve(text);
  const planned = await PlanFile.read(file).catch((error: unknown) => {
    throw commandFailed(error);
  });
  const configuration = await load(options);
  const { job: name } = planned.header;
  const [job] = jobsNamed(configuration, [name]);
  if (job === undefined) throw new CommandFailed(2, `There is no job ${name}.`);
  const otherwise = settingsChanged(planned.header, headerOf(job, Date.now()));
  if (otherwise.length > 0) throw refused(file, planned.header, otherwise, otherwise.length);
  const busy = whoHolds(lockDirectory(ledgerFile(options)), `job-${name}`);
  if (busy !== undefined) {
    throw new CommandFailed(
      7,
      `A run of job ${name} is under way (process ${busy.pid}), and may change what the plan is about. Apply it when that has ended.`,
    );
  }
  const log = openLog(options, configuration.agent);
  const signals = stopSignals(configuration.agent.stop.withinMs);
  try {
    const ledger = openForWriting(options, log.listener);
    const accounts = new Accounts(log.listener, {
      wire: wireOf(options, configuration.agent),
      profiles: ledger,
    });
    signals.cut.addEventListener('abort', () => void accounts.close(), { once: true });
    try {
      await holdAgainst(planned, { file, job, ledger, accounts, stop: signals.stop });
      const report = await runJob(job, {
        ledger,
        accounts,
        listener: log.listener,
        trigger: 'by hand, as planned',
        environment: withoutSecrets(process.env, [configuration.agent, ...configuration.jobs]),
        stop: signals.stop,
        cut: signals.cut,
        only: planned,
      });
      process.stdout.write(`${options.json === true ? runLine(report) : summaryLine(report)}\n`);
      return signals.stop.aborted ? 130 : exitCodeOf(report);
    } catch (error) {
      if (signals.stop.aborted) return 130;
      throw commandFailed(error);
    } finally {
      await accounts.close();
      ledger.close();
    }
  } finally {
    signals.dispose();
    await log.close();
  }
}

/** @throws {CommandFailed} code 6 where a new plan is another one */
async function holdAgainst(
  planned: PlanFile,
  parts: {
    readonly file: string;
    readonly job: Job;
    readonly ledger: Ledger;
    readonly accounts: Accounts;
    readonly stop: AbortSignal;
  },
): Promise<void> {
  const { file, job, ledger, accounts, stop } = parts;
  const told: string[] = [];
  let differences = 0;
  const verdicts = planJob(job, { ledger, accounts, onFinding: () => {} });
  for await (const difference of planned.compare(until(stop, verdicts))) {
    differences += 1;
    if (told.length < SHOWN) told.push(differenceWords(difference));
  }
  if (differences > 0) throw refused(file, planned.header, told, differences);
}

async function* until(stop: AbortSignal, verdicts: AsyncIterable<Verdict>): AsyncGenerator<Verdict> {
  for await (const verdict of verdicts) {
    if (stop.aborted) throw new CommandFailed(130, 'Interrupted: nothing was done.');
    yield verdict;
  }
}

function refused(
  file: string,
  { job, madeAt }: PlanHeader,
  told: readonly string[],
  differences: number,
): CommandFailed {
  const more = differences - told.length;
  const lines = [
    `${file} is a plan of job ${job}, made ${moment(Date.parse(madeAt))}, and does not fit any more. Nothing was done.`,
    ...told.map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    `Make a new one with "ferryd plan ${job} -o ${file}".`,
  ];
  return new CommandFailed(6, lines.join('\n'));
}

/** In what the job file says something else than when the plan was made. */
function settingsChanged(planned: PlanHeader, now: PlanHeader): string[] {
  const places = [
    ['direction', 'direction'],
    ['server', 'server'],
    ['remoteRoot', 'place on the server'],
    ['localRoot', 'place here'],
  ] as const;
  const words: string[] = [];
  for (const [key, name] of places) {
    const [before, after] = [planned.binding[key], now.binding[key]];
    if (before !== after) words.push(`The job's ${name} was ${shown(before)}, and is ${shown(after)} now.`);
  }
  for (const key of new Set([...Object.keys(planned.settings), ...Object.keys(now.settings)])) {
    const [before, after] = [planned.settings[key] ?? '', now.settings[key] ?? ''];
    if (before !== after) words.push(`${key} of the job was ${shown(before)}, and is ${shown(after)} now.`);
  }
  return words;
}

function shown(value: string): string {
  return value === '' ? 'not set' : printable(value);
}

/** What has moved about one path. */
export function differenceWords(difference: Difference): string {
  switch (difference.kind) {
    case 'missing': {
      const { planned } = difference;
      return `${printable(planned.path)}: the plan is to ${actionWords(planned)}, and there is nothing to do about it now.`;
    }
    case 'additional': {
      const { found } = difference;
      return `${printable(found.path)}: not in the plan, and a run would ${actionWords(found)} now.`;
    }
    case 'other': {
      const { planned, found } = difference;
      const path = printable(planned.path);
      const [was, is] = [actionWords(planned), actionWords(found)];
      return was === is
        ? `${path}: the plan is to ${was}, but ${changeWords(planned, found)}.`
        : `${path}: the plan is to ${was}; a run would ${is} now.`;
    }
  }
}

function actionWords({ kind, side }: PlannedAction): string {
  const where = side === 'local' ? 'here' : 'on the server';
  switch (kind) {
    case 'upload':
      return 'upload it';
    case 'download':
      return 'download it';
    case 'examine':
      return 'look into it';
    case 'meet':
      return 'compare both sides of it';
    case 'finish':
      return `remove its source ${where}`;
    case 'remove':
      return `delete it ${where}`;
    case 'set-aside':
      return 'keep both versions of it';
    case 'make-directory':
      return `make the directory ${where}`;
    case 'forget':
      return 'forget it';
  }
}

/** The first thing in which two looks at the same action differ. */
function changeWords(planned: PlannedAction, found: PlannedAction): string {
  for (const [side, where] of [
    ['local', 'here'],
    ['remote', 'on the server'],
  ] as const) {
    const words = measureWords(planned[side], found[side], where);
    if (words !== undefined) return words;
  }
  const where = planned.side === 'local' ? 'here' : 'on the server';
  const words = measureWords(planned, found, where);
  if (words !== undefined) return words;
  if (planned.reason !== found.reason) return 'it would be for another reason now';
  const places = (['at', 'here', 'there'] as const).some((key) => planned[key] !== found[key]);
  if (places) return 'it stands in another place now';
  return 'the ledger has learnt more about it since';
}

type Measured = PlannedAction | PlannedAction['local'];

function measureWords(before: Measured, now: Measured, where: string): string | undefined {
  if (before === undefined || now === undefined) return undefined;
  if (before === null || now === null) {
    if (before === now) return undefined;
    return before === null ? `it has come to stand ${where}` : `it is gone ${where}`;
  }
  const led = leadsToOf(before);
  const leads = leadsToOf(now);
  if (led !== leads) {
    if (led === undefined) return `it has become a link ${where}`;
    return leads === undefined ? `it is no link ${where} any more` : `it leads elsewhere ${where} now`;
  }
  const had = sizeOf(before);
  const has = sizeOf(now);
  if (had !== has && had !== undefined && has !== undefined) {
    return `it had ${formatBytes(had)} ${where}, and has ${formatBytes(has)} now`;
  }
  if (timeOf(before) !== timeOf(now)) return `it was modified ${where} since`;
  const touched =
    'inode' in before && 'inode' in now && (before.inode !== now.inode || before.ctimeMs !== now.ctimeMs);
  return touched ? `it was touched or replaced ${where} since` : undefined;
}

function leadsToOf(measures: NonNullable<Measured>): string | undefined {
  return 'leadsTo' in measures ? measures.leadsTo : undefined;
}

function sizeOf(measures: NonNullable<Measured>): number | undefined {
  return 'sizeBytes' in measures ? measures.sizeBytes : undefined;
}

function timeOf(measures: NonNullable<Measured>): number | null | undefined {
  return 'mtimeMs' in measures
    ? measures.mtimeMs
    : 'modifiedMs' in measures
      ? measures.modifiedMs
      : undefined;
}
