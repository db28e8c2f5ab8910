/*
 * Runs somebody's program, the one way in the house: secrets, hooks and notices start theirs here. No shell unless
 * argv names one, a process group of its own that is ended as a whole, a time limit, and output that is bounded.
 * Never rejects: whatever becomes of the program is its end. It decides nothing about what an end means, and makes
 * no line fit for a log: that is `printable`'s, at the caller's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { LineSplitter } from './lines.js';

export interface ProgramOptions {
  /** The program, then its arguments; nothing in them is expanded. */
  readonly argv: readonly string[];
  /** All of the program's environment; nothing is added. Its `PATH` is where the program is looked for. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Working directory; left out: ferryd's own. */
  readonly directory?: string | undefined;
  readonly timeLimitMs: number;
  /** Aborted: the program is ended. Aborted already: it is not begun. */
  readonly signal?: AbortSignal | undefined;
  /** What it reads on standard input, which is empty where this is left out. */
  readonly input?: string | Uint8Array | undefined;
  /** Hears each line of both outputs, at most 8 KiB of it, without its end. Left out: standard error goes nowhere. */
  readonly onLine?: ((line: string, stream: OutputStream) => void) | undefined;
  /** Hears standard output as it comes, all of it: whoever listens bounds what is kept. */
  readonly onBytes?: ((bytes: Uint8Array) => void) | undefined;
  /** How much of both outputs together becomes lines; 1 MiB by default. The rest is read, and counted. */
  readonly maxOutputBytes?: number | undefined;
  /** What passes between SIGTERM and SIGKILL; 5 seconds by default. 0: SIGKILL at once. */
  readonly graceMs?: number | undefined;
  /**
   * `ended`: should ferryd itself be killed, a small shell that waits for that ends the program. `left`, the
   * default: it goes on. (Node has no PR_SET_PDEATHSIG; in the instant before that shell stands nobody minds.)
   */
  readonly orphan?: 'ended' | 'left' | undefined;
}

export type OutputStream = 'output' | 'error';

/** What became of a program. */
export type ProgramEnd = {
  /** What it wrote beyond `maxOutputBytes`, and beyond 8 KiB a line. */
  readonly droppedBytes: number;
} & (
  | { readonly kind: 'ended'; readonly code: number }
  /** By a signal that did not come from here. */
  | { readonly kind: 'killed'; readonly signal: string }
  | { readonly kind: 'timed-out' }
  /** `code` as the system has it (`ENOENT`); `message` is half a sentence: `was not found`. */
  | { readonly kind: 'not-started'; readonly code: string; readonly message: string }
  /** Because `signal` was aborted. */
  | { readonly kind: 'stopped' }
);

const MAX_OUTPUT_BYTES = 1_048_576;
const GRACE_MS = 5_000;

/** How long the outputs may stay open after the program has ended: something it left behind holds them. */
const DRAIN_MS = 1_000;

/** How often it is asked whether anything of an ended group is left. */
const LOOK_EVERY_MS = 25;

/** The longest time that a timer of Node takes; longer ones would fire at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** Runs the program to its end. What it leaves running in the background, on purpose, is left alone. */
export function runProgram(options: ProgramOptions): Promise<ProgramEnd> {
  if (options.signal?.aborted === true) return Promise.resolve({ kind: 'stopped', droppedBytes: 0 });
  let child: ChildProcess;
  try {
    child = start(options);
  } catch (error) {
    return Promise.resolve(notStarted(error, options, 0));
  }
  return new Promise((resolve) => {
    new Running(child, options, resolve);
  });
}

/** The end in words that follow the program's name: `ended with exit code 1`. Of one that ended well too. */
export function endWords(end: ProgramEnd, options: Pick<ProgramOptions, 'timeLimitMs'>): string {
  switch (end.kind) {
    case 'ended':
      return `ended with exit code ${end.code}`;
    case 'killed':
      return `was ended by ${end.signal}`;
    case 'timed-out':
      return `did not finish within ${options.timeLimitMs / 1000} s and was ended`;
    case 'not-started':
      return end.message;
    case 'stopped':
      return 'was ended, because ferryd was told to stop';
  }
}

function start(options: ProgramOptions): ChildProcess {
  const [program = '', ...parameters] = options.argv;
  const output = options.onLine !== undefined || options.onBytes !== undefined;
  return spawn(program, parameters, {
    env: { ...options.environment },
    cwd: options.directory,
    shell: false,
    detached: true,
    stdio: [
      options.input === undefined ? 'ignore' : 'pipe',
      output ? 'pipe' : 'ignore',
      options.onLine === undefined ? 'ignore' : 'pipe',
    ],
  });
}

/** Why the program is no longer wanted. */
type Reason = 'timed-out' | 'stopped';

/*
 * running -> (exit) draining -> settled
 * running -> (time is up, or signal) ending -> (nothing of the group is left) settled
 */
class Running {
  readonly #child: ChildProcess;
  readonly #options: ProgramOptions;
  readonly #resolve: (end: ProgramEnd) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #lines: LineSplitter;
  readonly #minder: ChildProcess | undefined;
  readonly #onAbort = (): void => this.#end('stopped');
  #reason: Reason | undefined;
  #drain: NodeJS.Timeout | undefined;
  #settled = false;

  constructor(child: ChildProcess, options: ProgramOptions, resolve: (end: ProgramEnd) => void) {
    this.#child = child;
    this.#options = options;
    this.#resolve = resolve;
    const { onLine, onBytes, signal, input } = options;
    this.#lines = new LineSplitter(options.maxOutputBytes ?? MAX_OUTPUT_BYTES, onLine ?? (() => undefined));
    child.stdout?.on('data', (bytes: Buffer) => {
      onBytes?.(bytes);
      if (onLine !== undefined) this.#lines.take(bytes, 'output');
    });
    child.stderr?.on('data', (bytes: Buffer) => this.#lines.take(bytes, 'error'));
    // A program that does not read its input, or is ended before it has, is no error of ours.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.on('error', () => undefined);
    child.stdin?.end(input);
    child.on('error', (error) => {
      if (child.pid === undefined) this.#settle(notStarted(error, options, 0));
    });
    child.on('exit', () => this.#exited());
    child.on('close', () => this.#closed());
    this.#timer = setTimeout(
      () => this.#end('timed-out'),
      Math.min(Math.max(0, options.timeLimitMs), LONGEST_TIMER_MS),
    );
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#minder = options.orphan === 'ended' && child.pid !== undefined ? mind(child.pid) : undefined;
  }

  /** What it left in the background may hold the outputs open; what is in them by now has a moment to be read. */
  #exited(): void {
    if (this.#reason !== undefined) return;
    this.#drain = setTimeout(() => this.#closed(), DRAIN_MS);
  }

  #closed(): void {
    const { exitCode, signalCode } = this.#child;
    if (this.#reason !== undefined || (exitCode === null && signalCode === null)) return;
    const droppedBytes = this.#finishLines();
    this.#settle(
      exitCode === null
        ? { kind: 'killed', signal: signalCode ?? 'a signal', droppedBytes }
        : { kind: 'ended', code: exitCode, droppedBytes },
    );
  }

  #end(reason: Reason): void {
    const { pid, exitCode, signalCode } = this.#child;
    // Ended already: only its outputs are still open, and the drain sees to those.
    if (this.#settled || this.#reason !== undefined || pid === undefined) return;
    if (exitCode !== null || signalCode !== null) return;
    this.#reason = reason;
    clearTimeout(this.#timer);
    const graceMs = this.#options.graceMs ?? GRACE_MS;
    void endGroup(pid, graceMs).then(() => {
      this.#settle({ kind: reason, droppedBytes: this.#finishLines() });
    });
  }

  #finishLines(): number {
    return this.#lines.end();
  }

  #settle(end: ProgramEnd): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#drain);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) stream?.destroy();
    this.#minder?.kill('SIGKILL');
    this.#resolve(end);
  }
}

/** SIGTERM to the whole group, SIGKILL to what is left of it after the grace; back when nothing is left. */
async function endGroup(pid: number, graceMs: number): Promise<void> {
  if (graceMs > 0) {
    signalGroup(pid, 'SIGTERM');
    // Stopped processes take no SIGTERM before they go on.
    signalGroup(pid, 'SIGCONT');
    if (await gone(pid, graceMs)) return;
  }
  signalGroup(pid, 'SIGKILL');
  // A process that the kernel holds (a dead network disk) outlives even that; it is not waited for.
  await gone(pid, DRAIN_MS);
}

/** True as soon as the group has no member; false where it still has one when the time is up. */
async function gone(pid: number, withinMs: number): Promise<boolean> {
  const untilMs = performance.now() + withinMs;
  while (signalGroup(pid, 0)) {
    if (performance.now() >= untilMs) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return true;
}

/** False where there is no such group any more. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    // A member that has changed its user cannot be signalled, and is there all the same.
    return codeOf(error) === 'EPERM';
  }
}

/**
 * Waits for the end of its standard input, which is ferryd's end, however that came, and ends the group then. It looks
 * before each step: a group that is gone may have a namesake soon. Where there is no shell the program goes unminded.
 */
const MINDER = [
  'read -r _',
  'kill -TERM "-$1" || exit 0',
  'for _ in 1 2 3 4 5; do sleep 1; kill -0 "-$1" || exit 0; done',
  'kill -KILL "-$1"',
].join('\n');

function mind(pid: number): ChildProcess | undefined {
  try {
    const minder = spawn('/bin/sh', ['-c', MINDER, 'ferryd-minder', String(pid)], {
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    minder.on('error', () => undefined);
    minder.stdin.on('error', () => undefined);
    return minder;
  } catch {
    return undefined;
  }
}

function notStarted(
  error: unknown,
  { directory }: ProgramOptions,
  droppedBytes: number,
): Extract<ProgramEnd, { kind: 'not-started' }> {
  const code = codeOf(error);
  return { kind: 'not-started', code, message: reasonOf(code, directory), droppedBytes };
}

function reasonOf(code: string, directory: string | undefined): string {
  // The system says the same of a working directory that is missing as of a missing program.
  if (code === 'ENOENT' && directory !== undefined && !isDirectory(directory)) {
    return `cannot be started: there is no directory ${directory} to start it in`;
  }
  switch (code) {
    case 'ENOENT':
      return 'was not found';
    case 'EACCES':
      return 'may not be run';
    case 'E2BIG':
      return 'cannot be started: its arguments and environment are too long';
    case 'EAGAIN':
    case 'ENOMEM':
    case 'EMFILE':
    case 'ENFILE':
      return `cannot be started now: this machine is short of processes, memory or files (${code})`;
    default:
      return `cannot be started (${code})`;
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
