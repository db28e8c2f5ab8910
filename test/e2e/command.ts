/*
 * The compiled command line in its own process, as a person or systemd would start it: with an environment of its
 * own, so that nothing of this machine gets in. What it prints is collected, its log can be waited for, and a
 * process that outlives its test is ended by its own id and makes that test fail. `npm test` compiles first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** What `bin` of package.json points to. */
export const FERRYD = resolve(import.meta.dirname, '../../build/ferryd/bin/main.js');

/** Ends the command when whoever runs the tests is killed and cannot sweep; where it is missing, that is left to a person. */
const TIED_TO_US = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];

/** Nothing here takes longer, unless something is wrong. */
const PATIENCE_MS = 20_000;

export interface CommandOptions {
  readonly cwd: string;
  /** The whole environment, but for PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Program in place of `node build/ferryd/bin/main.js`. */
  readonly program?: readonly string[];
}

/** One line of the log. */
export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly message: string;
  readonly [key: string]: unknown;
}

/** How a command ended. */
export interface Ended {
  /** Exit code; null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly log: readonly LogLine[];
  /** Lines of standard error that are no log. */
  readonly words: readonly string[];
}

/** A command that was started. */
export class Command {
  readonly args: readonly string[];
  readonly log: LogLine[] = [];
  readonly words: string[] = [];
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #atExit: () => void;
  readonly #waiting = new Set<() => void>();
  #stdout = '';
  #stderr = '';
  #readTo = 0;
  #over = false;

  constructor(args: readonly string[], options: CommandOptions) {
    const [program = process.execPath, ...first] = [
      ...TIED_TO_US,
      ...(options.program ?? [process.execPath, FERRYD]),
    ];
    this.args = args;
    // Its own process group: whatever it started and left is found by the group's id.
    this.#child = spawn(program, [...first, ...args], {
      cwd: options.cwd,
      env: { PATH: process.env.PATH ?? '', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#changed();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#readLines();
      this.#changed();
    });
    this.#atExit = () => this.#signalGroup('SIGKILL');
    process.once('exit', this.#atExit);
    this.ended = new Promise((done, failed) => {
      this.#child.once('error', failed);
      this.#child.once('close', (code, signal) => {
        this.#over = true;
        process.off('exit', this.#atExit);
        const { log, words } = this;
        done({ code, signal, stdout: this.#stdout, stderr: this.#stderr, log, words });
        this.#changed();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** The log lines so far with this event. */
  lines(event: string): LogLine[] {
    return this.log.filter((line) => line.event === event);
  }

  /** Resolves with the first log line that fits, seen already or still to come. */
  async until(event: string, fits: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    const find = (): LogLine | undefined => this.lines(event).find(fits);
    await this.when(() => find() !== undefined, `the event ${event}`);
    return find() as LogLine;
  }

  /** Resolves as soon as the condition on its output holds; fails where the command ends first. */
  async when(holds: () => boolean, what: string): Promise<void> {
    await new Promise<void>((done, failed) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const fail = (why: string): void => {
        finish();
        failed(new Error(`ferryd ${this.args.join(' ')}: ${what} did not come; ${why}. ${this.#soFar()}`));
      };
      const look = (): void => {
        if (holds()) {
          finish();
          done();
        } else if (this.#over) fail('it has ended');
      };
      const timer = setTimeout(() => fail(`${PATIENCE_MS} ms went by`), PATIENCE_MS);
      this.#waiting.add(look);
      look();
    });
  }

  /** Sends a signal to this process alone. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<Ended> {
    this.signal(signal);
    return this.inTime();
  }

  /** Waits for the end, but not for ever. */
  async inTime(withinMs = PATIENCE_MS): Promise<Ended> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, failed) => {
      timer = setTimeout(
        () =>
          failed(
            new Error(`ferryd ${this.args.join(' ')} did not end within ${withinMs} ms. ${this.#soFar()}`),
          ),
        withinMs,
      );
    });
    try {
      return await Promise.race([this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends what is left of it. @returns what a test forgot, or undefined where nothing was left */
  async sweep(): Promise<string | undefined> {
    if (!this.#over) {
      this.#signalGroup('SIGKILL');
      await this.ended;
      return `ferryd ${this.args.join(' ')} was left running (process ${this.pid}). ${this.#soFar()}`;
    }
    return this.#signalGroup('SIGKILL')
      ? `ferryd ${this.args.join(' ')} left a process of its group ${this.pid} behind.`
      : undefined;
  }

  /** @returns false where nobody is there any more */
  #signalGroup(signal: NodeJS.Signals): boolean {
    if (this.#child.pid === undefined) return false;
    try {
      return process.kill(-this.#child.pid, signal);
    } catch {
      return false;
    }
  }

  #readLines(): void {
    for (;;) {
      const end = this.#stderr.indexOf('\n', this.#readTo);
      if (end < 0) return;
      const text = this.#stderr.slice(this.#readTo, end);
      this.#readTo = end + 1;
      if (text.startsWith('{')) this.log.push(JSON.parse(text) as LogLine);
      else this.words.push(text);
    }
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  #soFar(): string {
    return `It said so far:\n${this.#stdout}${this.#stderr.slice(-4_000)}`;
  }
}
