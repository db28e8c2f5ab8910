/*
 * `ferryd plan JOB [-o FILE]`: what a run would do and why, one line a path, and nothing done. With -o the plan is
 * written to a file too, which `ferryd apply` carries out.
 */
import { resolve } from 'node:path';
import { styleText } from 'node:util';
import type { Job } from '../job/job.js';
import type { HeldPlan } from '../ledger/deletion.js';
import { judge } from '../remote/failure.js';
import { printable } from '../report/printable.js';
import { Accounts } from '../run/accounts.js';
import { RunEnded } from '../run/end.js';
import type { Refusal } from '../run/guard.js';
import { heldNow, planJob } from '../run/plan.js';
import { checkPlace, headerOf, PlanFileError, PlanWriter } from '../run/planfile.js';
import { CommandFailed, type ExitCode, exitCodeOfFailure } from './exit.js';
import { hasDeletions, heldJson, heldSentence } from './held.js';
import { lineOf, lineOfFinding, type PlannedLine, Sums, type Word } from './planned.js';
import { stopSignals } from './stop-signal.js';
import { type GlobalOptions, jobsNamed, load, openForReading, openLog, wireOf } from './surroundings.js';

export interface PlanOptions extends GlobalOptions {
  /** Where the plan is written to. */
  readonly output?: string | undefined;
}

/** One line a path that is not simply unchanged, then the sums. With `--json` one object a line, the sums as the last. */
export async function plan(name: string, options: PlanOptions): Promise<ExitCode> {
  const nowMs = Date.now();
  const configuration = await load(options);
  const [job] = jobsNamed(configuration, [name]);
  if (job === undefined) throw new CommandFailed(2, `There is no job ${name}.`);
  const file = options.output === undefined ? undefined : outputOf(options.output);
  if (file !== undefined) await orFailed(() => checkPlace(file));
  const log = openLog(options, configuration.agent);
  const signals = stopSignals(configuration.agent.stop.withinMs);
  const ledger = openForReading(options);
  const accounts = new Accounts(log.listener, {
    wire: wireOf(options, configuration.agent),
    profiles: ledger,
  });
  // Nothing is in hand that would be worth waiting for.
  signals.stop.addEventListener('abort', () => void accounts.close(), { once: true });
  const shown = new Shown(job, options);
  let writer: PlanWriter | undefined;
  let refusal: Refusal | undefined;
  try {
    writer = file === undefined ? undefined : await PlanWriter.create(file, headerOf(job, nowMs));
    const verdicts = planJob(job, {
      ledger,
      accounts,
      nowMs,
      onFinding: (finding) => shown.line(lineOfFinding(finding)),
      onRefusal: (refused) => {
        refusal = refused;
      },
    });
    for await (const verdict of verdicts) {
      if (signals.stop.aborted) return 130;
      const line = lineOf(verdict, job);
      shown.sums.count(verdict);
      if (line !== undefined) shown.line(line);
      await writer?.add(verdict);
    }
    const actions = await writer?.end();
    const held = heldNow(job, ledger, nowMs);
    const written = file === undefined || actions === undefined ? undefined : { file, actions };
    shown.end({ refusal, held, written, nowMs });
    if (refusal !== undefined)
      throw new CommandFailed(6, refusalSentence(refusal, { job, shown, held, file }));
    return 0;
  } catch (error) {
    if (signals.stop.aborted) return 130;
    throw commandFailed(error);
  } finally {
    await writer?.abandon();
    await accounts.close();
    ledger?.close();
    signals.dispose();
    await log.close();
  }
}

function outputOf(text: string): string {
  if (text === '') throw new CommandFailed(2, '-o wants the name of a file.');
  return resolve(text);
}

interface Conclusion {
  readonly refusal: Refusal | undefined;
  readonly held: HeldPlan | undefined;
  readonly written: { readonly file: string; readonly actions: number } | undefined;
  readonly nowMs: number;
}

class Shown {
  readonly sums: Sums;
  readonly #job: Job;
  readonly #json: boolean;
  readonly #style: Style;
  readonly #width: number;

  constructor(job: Job, options: GlobalOptions) {
    this.sums = new Sums(job);
    this.#job = job;
    this.#json = options.json === true;
    this.#style = styleOf(process.stdout, process.env);
    // The longest word is one of two-way alone.
    this.#width = job.mode === 'two-way' ? 'keep-both'.length : 'download'.length;
  }

  line(line: PlannedLine): void {
    this.sums.add(line);
    if (this.#json) this.#write({ ...line });
    else process.stdout.write(`${lineText(line, this.#width, this.#style)}\n`);
  }

  end({ refusal, held, written, nowMs }: Conclusion): void {
    const { name } = this.#job;
    if (this.#json) {
      const would = refusal === undefined ? null : { code: refusal.code, message: refusal.found };
      const files = written === undefined ? {} : { written: written.file };
      const hooks = hooksOf(this.#job);
      const skipped = hooks.length === 0 ? {} : { hooksNotRun: hooks };
      this.#write({ summary: this.sums.json, refusal: would, held: heldJson(held), ...files, ...skipped });
      return;
    }
    process.stdout.write(`${this.sums.sentence}\n`);
    const unrun = hookSentence(this.#job);
    if (unrun !== undefined) process.stdout.write(`${unrun}\n`);
    if (held !== undefined) process.stdout.write(`The job is ${heldSentence(name, held, nowMs)}.\n`);
    if (written === undefined) return;
    const { file, actions } = written;
    const what = `${actions} ${actions === 1 ? 'action' : 'actions'}`;
    process.stdout.write(
      `The plan is in ${file} (${what}); "ferryd apply ${file}" does exactly that, or nothing.\n`,
    );
  }

  #write(fields: object): void {
    process.stdout.write(`${JSON.stringify({ job: this.#job.name, ...fields })}\n`);
  }
}

function hooksOf(job: Job): string[] {
  return (['before', 'after'] as const).filter((name) => job[name] !== undefined);
}

/** What a `before` hook writes would be in a run, and is not in the plan. */
function hookSentence(job: Job): string | undefined {
  if (job.before !== undefined) {
    return 'A plan runs no hooks: a run begins with the before hook, and what that changes here does not show in the plan.';
  }
  return job.after === undefined
    ? undefined
    : 'A plan runs no hooks: the after hook, which ends a run, is not run.';
}

type Style = 'plain' | 'coloured';

/** Colours on a terminal alone, and never where NO_COLOR is set (no-color.org). */
export function styleOf(
  stream: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): Style {
  const wanted = (environment.NO_COLOR ?? '') === '' && environment.TERM !== 'dumb';
  return stream.isTTY === true && wanted ? 'coloured' : 'plain';
}

const COLOURS: Readonly<Record<Word, Parameters<typeof styleText>[0]>> = {
  upload: 'green',
  download: 'green',
  mkdir: 'green',
  delete: 'red',
  trash: 'red',
  move: 'red',
  'keep-both': 'magenta',
  examine: 'cyan',
  compare: 'cyan',
  wait: 'yellow',
  skip: 'yellow',
  blocked: 'yellow',
  unread: 'yellow',
  ignore: 'dim',
  forget: 'dim',
};

/** One line as a person reads it, without its end. */
export function lineText({ action, path, why }: PlannedLine, width: number, style: Style): string {
  const word = action.padEnd(width);
  const reason = `(${printable(why)})`;
  if (style === 'plain') return `${word} ${printable(path)}  ${reason}`;
  const validateStream = false;
  const colour = styleText(COLOURS[action], word, { validateStream });
  return `${colour} ${printable(path)}  ${styleText('dim', reason, { validateStream })}`;
}

function refusalSentence(
  { found }: Refusal,
  parts: {
    readonly job: Job;
    readonly shown: Shown;
    readonly held: HeldPlan | undefined;
    readonly file: string | undefined;
  },
): string {
  const { job, shown, held, file } = parts;
  const would = `A run would be held: ${found}`;
  if (!shown.sums.deletes) return would;
  const waits = held !== undefined && held.approvedAtMs === undefined && hasDeletions(held);
  const approve = `"ferryd approve ${job.name}" releases what is held${waits ? ' already' : ''}`;
  const release = waits ? approve : `start "ferryd run ${job.name}", then ${approve}`;
  const apply = file === undefined ? '' : `, or "ferryd apply ${file}" carries out exactly this plan`;
  return `${would} Nothing is deleted before you have said so: ${release}${apply}.`;
}

/** Whatever ended a command about a plan, as a sentence and an exit code. */
export function commandFailed(error: unknown): CommandFailed {
  if (error instanceof CommandFailed) return error;
  if (error instanceof PlanFileError)
    return new CommandFailed(error.kind === 'damaged' ? 6 : 2, error.message);
  const { kind, message } = error instanceof RunEnded ? error.failure : judge(error);
  return new CommandFailed(exitCodeOfFailure(kind), message);
}

async function orFailed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw commandFailed(error);
  }
}
