/*
 * The hooks of a job: `before`, ahead of everything that looks at the source, and `after`, behind everything. Each is
 * a program with a time limit, whose output goes to the log line by line. Here is decided what a hook's end means for
 * its run; how a program is run and ended is program.ts's.
 */
import { dirname } from 'node:path';
import type { AfterHook, Hook, Job } from '../job/job.js';
import { withoutSecrets } from '../job/secret-names.js';
import type { Outcome, RunFailure, Tally } from '../plan/outcome.js';
import { endWords, type OutputStream, type ProgramEnd, runProgram } from '../program/program.js';
import { printable } from '../report/printable.js';
import { formatBytes, formatDuration, fullStop } from '../report/summary.js';
import type { RunContext } from './context.js';

/** How much of a hook's output is logged. */
const LOGGED_BYTES = 262_144;

/** How long an `after` hook may still take once what is in flight is cut off: to unmount, to start a database again. */
const AFTER_CUT_MS = 5_000;

/** A hook's own words in the failure of its run: enough to see what is wrong. */
const LONGEST_WORDS = 300;

/** What systemd has given to ferryd alone. What ferryd is told by it, a hook would take as told to itself. */
const SUPERVISION = {
  JOURNAL_STREAM: undefined,
  LISTEN_FDNAMES: undefined,
  LISTEN_FDS: undefined,
  LISTEN_PID: undefined,
  NOTIFY_SOCKET: undefined,
  WATCHDOG_PID: undefined,
  WATCHDOG_USEC: undefined,
};

/** How far a run has come when `after` hears of it. */
export interface Ended {
  readonly outcome: Outcome;
  readonly failure: RunFailure | undefined;
  readonly tally: Readonly<Tally>;
}

type Name = 'before' | 'after';

/** The hooks of one run. */
export class Hooks {
  /** With paths of this run. */
  readonly #job: Job;
  readonly #context: RunContext;
  readonly #run: number;
  /** False where the stop came first: there is nothing that `after` could undo. */
  #begun = false;

  constructor(job: Job, { context, run }: { readonly context: RunContext; readonly run: number }) {
    this.#job = job;
    this.#context = context;
    this.#run = run;
  }

  /**
   * Runs `before`, where there is one. A stop lets it come to its end, the cut ends it.
   *
   * @returns why the run must not go on; undefined where it may
   */
  async before(): Promise<RunFailure | undefined> {
    const hook = this.#job.before;
    this.#begun = !this.#isStopped();
    if (hook === undefined) return undefined;
    if (!this.#begun) return INTERRUPTED;
    const failure = await this.#carryOut('before', hook, { environment: {}, signal: this.#context.cut });
    // What the hook was to make ready is not looked at any more.
    return this.#isStopped() ? INTERRUPTED : failure;
  }

  /**
   * Runs `after`, where there is one for such an end. It is run in a stop too, as it may have to undo what `before` has
   * done; the cut leaves it a last moment.
   *
   * @returns why the run has failed after all
   */
  async after(ended: Ended): Promise<RunFailure | undefined> {
    const hook = this.#job.after;
    if (hook === undefined || !this.#begun || !isFor(hook, ended.outcome)) return undefined;
    const { cut } = this.#context;
    const last = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onCut = (): void => {
      timer = setTimeout(() => last.abort(), AFTER_CUT_MS);
    };
    if (cut?.aborted === true) onCut();
    else cut?.addEventListener('abort', onCut, { once: true });
    try {
      return await this.#carryOut('after', hook, { environment: told(ended), signal: last.signal });
    } finally {
      clearTimeout(timer);
      cut?.removeEventListener('abort', onCut);
    }
  }

  #isStopped(): boolean {
    return this.#context.stop?.aborted === true;
  }

  async #carryOut(
    name: Name,
    hook: Hook,
    what: { readonly environment: Record<string, string>; readonly signal: AbortSignal | undefined },
  ): Promise<RunFailure | undefined> {
    const { listener } = this.#context;
    const where = { job: this.#job.name, run: this.#run, hook: name };
    listener({ event: 'hook.started', ...where, timeLimitMs: hook.timeLimitMs });
    const beganMs = performance.now();
    const words = new LastWords();
    const end = await runProgram({
      argv: hook.argv,
      environment: { ...this.#environment(name), ...what.environment },
      directory: dirname(this.#job.file),
      timeLimitMs: hook.timeLimitMs,
      signal: what.signal,
      maxOutputBytes: LOGGED_BYTES,
      orphan: 'ended',
      onLine: (line, stream) => {
        if (line.trim() === '') return;
        words.take(line, stream);
        listener({ event: 'hook.output', ...where, stream, message: line });
      },
    });
    const durationMs = Math.round(performance.now() - beganMs);
    const unlogged =
      end.droppedBytes === 0 ? '' : ` ${formatBytes(end.droppedBytes)} of what it wrote are not in the log.`;
    if (end.kind === 'ended' && end.code === 0) {
      const message = `The ${name} hook ended well, in ${formatDuration(durationMs)}.${unlogged}`;
      listener({ event: 'hook.ended', ...where, level: 'info', code: 'ok', message, durationMs });
      return undefined;
    }
    const said = `The ${name} hook ${endWords(end, hook)}.${words.quoted}${unlogged}`;
    const code = codeOf(end);
    const ignored = hook.onFailure === 'ignore';
    const message = ignored ? `${said} The job says to ignore that.` : said;
    const level = ignored || end.kind === 'stopped' ? 'warn' : 'error';
    listener({ event: 'hook.ended', ...where, level, code, message, durationMs });
    if (ignored) return undefined;
    return { kind: 'failed', code: `${name}-failed`, message: `${said} ${this.#advice(name, end)}` };
  }

  #advice(name: Name, end: ProgramEnd): string {
    const by =
      end.kind === 'timed-out'
        ? 'Run it by hand to see what it waits for, or give it more time.'
        : end.kind === 'not-started'
          ? 'Write its absolute path, and see that the user of ferryd may run it.'
          : `Run it by hand, as the user of ferryd and in ${dirname(this.#job.file)}, to see why.`;
    return name === 'before' ? `Nothing was transferred or deleted. ${by}` : by;
  }

  #environment(name: Name): Record<string, string | undefined> {
    const { environment = process.env, trigger } = this.#context;
    return {
      ...withoutSecrets(environment, [this.#job]),
      ...SUPERVISION,
      FERRYD_HOOK: name,
      FERRYD_JOB: this.#job.name,
      FERRYD_RUN: String(this.#run),
      FERRYD_TRIGGER: trigger,
      FERRYD_LOCAL: this.#job.local,
    };
  }
}

const INTERRUPTED: RunFailure = { kind: 'failed', code: 'interrupted', message: 'The run was interrupted.' };

/** A run that was interrupted is neither a success nor a failure. */
function isFor({ when }: AfterHook, outcome: Outcome): boolean {
  switch (when) {
    case 'always':
      return true;
    case 'success':
      return outcome === 'ok';
    case 'failure':
      return outcome !== 'ok' && outcome !== 'interrupted';
  }
}

/** All of them are always there, so that a script may rely on them (`set -u`). */
function told({ outcome, failure, tally }: Ended): Record<string, string> {
  const kept = outcome === 'interrupted' ? undefined : failure;
  return {
    FERRYD_OUTCOME: outcome,
    FERRYD_FAILURE: printable(kept?.code ?? ''),
    FERRYD_MESSAGE: printable(kept?.message ?? ''),
    FERRYD_UPLOADED: String(tally.uploaded),
    FERRYD_DOWNLOADED: String(tally.downloaded),
    FERRYD_DELETED: String(tally.deleted),
    FERRYD_SKIPPED: String(tally.skipped),
    FERRYD_BYTES: String(tally.bytes),
  };
}

function codeOf(end: ProgramEnd): string {
  switch (end.kind) {
    case 'ended':
      return `exit-${end.code}`;
    case 'killed':
      return end.signal;
    case 'not-started':
      return end.code;
    default:
      return end.kind;
  }
}

/** The last line that the hook wrote, on standard error if it wrote there: mostly it says what is wrong. */
class LastWords {
  readonly #last: Partial<Record<OutputStream, string>> = {};

  take(line: string, stream: OutputStream): void {
    this.#last[stream] = line;
  }

  /** A sentence, with a space before it; empty where there was no word. */
  get quoted(): string {
    const line = (this.#last.error ?? this.#last.output)?.trim();
    if (line === undefined) return '';
    const shown = printable(line);
    return ` It said: ${fullStop(shown.length > LONGEST_WORDS ? `${shown.slice(0, LONGEST_WORDS)}...` : shown)}`;
  }
}
