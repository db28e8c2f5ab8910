/*
 * The daemon of the soak as a process of its own, again and again: started, killed, stopped and looked at from outside
 * (memory, descriptors, children). Its log goes to a file and is counted line by line; what is no log line is kept, for
 * a daemon has nothing else to say.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, type WriteStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';

export interface DaemonOptions {
  /** Program and arguments before `daemon`. */
  readonly program: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly counts: Counts;
}

/** What no kill and no cut may lead to. */
const NEVER: ReadonlySet<string> = new Set([
  'ledger.problem',
  'ledger.replaced',
  'daemon.stuck',
  'log.dropped',
]);

/** What a job has carried. */
export interface Carried {
  uploaded: number;
  downloaded: number;
  deleted: number;
  bytes: number;
}

/** What all daemons of a soak have told. */
export class Counts {
  readonly outcomes: Record<string, number> = {};
  readonly failures: Record<string, number> = {};
  readonly events: Record<string, number> = {};
  runs = 0;
  /** By the job's name. */
  readonly carried = new Map<string, Carried>();
  /** When the last good run of a job began, by the job's name. */
  readonly #lastOk = new Map<string, number>();
  /** When the runs began that are under way, or were when their daemon was killed. */
  readonly #begun = new Map<unknown, number>();
  /** Lines that are no log, events that may never come, and a daemon that ended by itself. */
  readonly oddities: string[] = [];

  /** Takes one line of a daemon's standard error. */
  hear(text: string): void {
    const line = parsed(text);
    if (line === undefined) {
      this.odd(text);
      return;
    }
    this.events[line.event] = (this.events[line.event] ?? 0) + 1;
    if (NEVER.has(line.event)) this.odd(text);
    this.#carry(line);
    if (line.event === 'run.started') this.#begun.set(line.run, Date.parse(String(line.time)));
    if (line.event !== 'run.ended') return;
    this.#end(line);
    this.runs += 1;
    const outcome = String(line.outcome);
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
    if (line.failure === undefined) return;
    const failure = `${String(line.failure)} ${String(line.code)}`;
    this.failures[failure] = (this.failures[failure] ?? 0) + 1;
  }

  /** True where a run of this job began after a moment, as Date.now() tells it, and ended well. */
  ranWellAfter(job: string, momentMs: number): boolean {
    return (this.#lastOk.get(job) ?? 0) > momentMs;
  }

  #end({ job, run, outcome }: Line): void {
    const begunMs = this.#begun.get(run);
    this.#begun.delete(run);
    if (begunMs !== undefined && outcome === 'ok') this.#lastOk.set(String(job), begunMs);
  }

  #carry({ event, job, bytes }: Line): void {
    const name = String(job);
    const carried = this.carried.get(name) ?? { uploaded: 0, downloaded: 0, deleted: 0, bytes: 0 };
    if (event === 'file.uploaded') carried.uploaded += 1;
    else if (event === 'file.downloaded') carried.downloaded += 1;
    else if (event === 'file.deleted') carried.deleted += 1;
    else return;
    if (event !== 'file.deleted') carried.bytes += Number(bytes ?? 0);
    this.carried.set(name, carried);
  }

  /** Keeps something that should not have happened; a hundred of them are enough. */
  odd(what: string): void {
    if (this.oddities.length < 100) this.oddities.push(what);
  }
}

interface Line {
  readonly event: string;
  readonly time?: unknown;
  readonly job?: unknown;
  readonly run?: unknown;
  readonly bytes?: unknown;
  readonly outcome?: unknown;
  readonly failure?: unknown;
  readonly code?: unknown;
}

function parsed(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'event' in value ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}

/** What a process looks like from outside. */
export interface Sample {
  /** How long the process had run. */
  readonly ageMs: number;
  readonly rssKib: number;
  readonly descriptors: number;
}

/** How long a daemon that was asked to stop may take: its own 25 s and what comes after them. */
const STOP_WITHIN_MS = 35_000;

/** Ends the daemon when the soak itself is killed. */
const TIED_TO_US = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];

export class DaemonProcess {
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #counts: Counts;
  readonly #startedMs = performance.now();
  readonly #ended: Promise<number | string>;
  #expected = false;
  #killed = false;
  #over = false;
  #started = false;

  constructor(options: DaemonOptions) {
    const [program = process.execPath, ...args] = [...TIED_TO_US, ...options.program, 'daemon'];
    this.#counts = options.counts;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
    this.#child = spawn(program, args, {
      cwd: options.cwd,
      env: { PATH: process.env.PATH ?? '', ...options.environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const stderr = this.#child.stderr;
    if (stderr === null) throw new Error('The daemon has no standard error to read');
    createInterface({ input: stderr }).on('line', (text) => {
      this.#log.write(`${text}\n`);
      // A kill tears the line that is being written.
      if (!this.#killed || text.endsWith('}')) this.#counts.hear(text);
      this.#started ||= text.includes('"daemon.started"');
    });
    this.#ended = new Promise((done) => {
      this.#child.once('error', (error) => done(error.message));
      this.#child.once('close', (code, signal) => done(signal ?? code ?? 'no code'));
    });
    void this.#ended.then((how) => {
      this.#over = true;
      if (!this.#expected) this.#counts.odd(`The daemon ended by itself: ${how}`);
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Kills it where it stands. */
  async kill(): Promise<void> {
    this.#expected = true;
    this.#killed = true;
    this.#child.kill('SIGKILL');
    await this.#gone();
  }

  /** Asks it to stop; what it does other than ending with 0 in time is kept as an oddity. */
  async stop(): Promise<void> {
    this.#expected = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((done) => {
      timer = setTimeout(done, STOP_WITHIN_MS, `not within ${STOP_WITHIN_MS} ms`);
    });
    this.#child.kill('SIGTERM');
    const how = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    // Before it has said a word nobody in it hears a signal.
    const unborn = how === 'SIGTERM' && !this.#started;
    if (how !== 0 && !unborn) this.#counts.odd(`A daemon that was asked to stop ended otherwise: ${how}`);
    if (!this.#over) this.#child.kill('SIGKILL');
    await this.#gone();
  }

  /** How it looks now; undefined where it has just ended. Zombies among its children are kept as oddities. */
  async look(): Promise<Sample | undefined> {
    const { pid } = this.#child;
    if (pid === undefined || this.#over) return undefined;
    try {
      const status = await readFile(`/proc/${pid}/status`, 'latin1');
      const rssKib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
      const descriptors = (await readdir(`/proc/${pid}/fd`)).length;
      await this.#lookForZombies(pid);
      const ageMs = performance.now() - this.#startedMs;
      return Number.isNaN(rssKib) ? undefined : { ageMs, rssKib, descriptors };
    } catch {
      return undefined;
    }
  }

  async #lookForZombies(pid: number): Promise<void> {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '');
    for (const child of children.split(' ').filter((word) => word !== '')) {
      const dead = async (): Promise<boolean> =>
        / Z /.test(await readFile(`/proc/${child}/stat`, 'latin1').catch(() => ''));
      // One that has ended this very moment is nobody's fault.
      if (!(await dead())) continue;
      await new Promise((done) => setTimeout(done, 500));
      if (await dead()) this.#counts.odd(`The daemon left its child ${child} unburied`);
    }
  }

  async #gone(): Promise<void> {
    await this.#ended;
    this.#log.end();
    await finished(this.#log).catch(() => undefined);
  }
}
