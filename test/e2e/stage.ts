/*
 * A stage for an end-to-end test: a directory with jobs, a source, a home and a ledger, the scripted server beside
 * it, and the commands that were started on it. Everything is gone afterwards; a command that still runs then makes
 * the test fail.
 */
import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { certificates } from '../support/certificates.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { Command, type CommandOptions, type Ended } from './command.js';

/** The scripted server's password; long enough to be looked for in every byte that ferryd writes. */
export const PASSWORD = 'correct-horse-battery-staple';

/** Short waits, so that a test of retries takes no longer than it must. */
export const QUICK = { attempts: 2, firstDelay: '1ms', maxDelay: '2ms' } as const;

/** A value as a YAML file has it; JSON is YAML. */
export type Written = Readonly<Record<string, unknown>>;

export class Stage implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly #commands: Command[] = [];

  private constructor(directory: TemporaryDirectory) {
    this.directory = directory;
  }

  /** An empty stage: `jobs/`, `source/`, `home/`, and `remote/` for a server's files. */
  static async open(): Promise<Stage> {
    const directory = await temporaryDirectory('e2e');
    for (const name of ['jobs', 'source', 'home', 'remote']) await mkdir(directory.join(name));
    return new Stage(directory);
  }

  /** A path on the stage. */
  at(...parts: string[]): string {
    return this.directory.join(...parts);
  }

  get ledger(): string {
    return this.at('ledger.db');
  }

  get environment(): Record<string, string> {
    return {
      HOME: this.at('home'),
      TZ: 'UTC',
      FERRYD_JOBS: this.at('jobs'),
      FERRYD_LEDGER: this.ledger,
      NAS_PASSWORD: PASSWORD,
    };
  }

  /** The scripted server with its files below `remote/`; FTP over explicit TLS unless told otherwise. */
  async server(options: Partial<FtpServerOptions> = {}): Promise<FtpServer> {
    const { good } = await certificates();
    return startFtpServer({
      root: this.at('remote'),
      users: { ferry: PASSWORD },
      security: 'explicit',
      requireTls: options.security !== 'plain',
      requireSessionReuse: options.security !== 'plain',
      certificate: good,
      ...options,
    });
  }

  /**
   * Waits until what stands below `source/` has not been changed for so long that its times are believed: until then a
   * file is looked into by a later run, because it may have been written twice within one tick of the clock.
   */
  async settled(): Promise<void> {
    for (const path of await pathsBelow(this.at('source'))) {
      const { ctimeMs } = await lstat(this.at('source', path));
      await pause(Math.max(0, ctimeMs + 2_100 - Date.now()));
    }
  }

  /** Writes a file below the stage, with the directories above it. */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dirname(this.at(path)), { recursive: true });
    await writeFile(this.at(path), content);
  }

  /** Writes `jobs/NAME.yaml`. */
  async writeJob(name: string, job: Written): Promise<void> {
    await this.write(`jobs/${name}.yaml`, JSON.stringify(job, undefined, 2));
  }

  /** Writes `jobs/servers.yaml` with the server `nas` at this address, and the CA that its certificate comes from. */
  async writeNas(server: { readonly url: string }, more: Written = {}): Promise<void> {
    const { ca } = await certificates();
    await this.write('jobs/ca.pem', ca.cert);
    const tls = server.url.startsWith('ftp://') ? {} : { tls: { ca: 'ca.pem' } };
    const nas = { url: server.url, user: 'ferry', password: { env: 'NAS_PASSWORD' }, ...tls, ...more };
    await this.write('jobs/servers.yaml', JSON.stringify({ nas }, undefined, 2));
  }

  /** A push of `source/` to `nas:in`, with quick retries; triggers only where they are given. */
  async writePush(name: string, more: Written = {}): Promise<void> {
    await this.writeJob(name, { from: '../source', to: 'nas:in', retries: QUICK, ...more });
  }

  /** Starts `ferryd ARGS`. */
  start(args: readonly string[], options: Partial<CommandOptions> = {}): Command {
    const command = new Command(args, {
      cwd: this.directory.path,
      ...options,
      env: { ...this.environment, ...options.env },
    });
    this.#commands.push(command);
    return command;
  }

  /** Runs `ferryd ARGS` to its end. */
  async ferryd(...args: string[]): Promise<Ended> {
    return this.start(args).inTime();
  }

  /** Runs `ferryd run JOB --json` and reads the line of its result. */
  async run(job: string, ...more: string[]): Promise<Ended & { readonly result: RunResult }> {
    const ended = await this.ferryd('--json', 'run', job, ...more);
    return { ...ended, result: resultOf(ended) };
  }

  /** Starts the daemon and waits until its jobs are loaded. */
  async daemon(options: Partial<CommandOptions> = {}): Promise<Command> {
    const daemon = this.start(['daemon'], options);
    await daemon.until('daemon.started');
    return daemon;
  }

  /**
   * Compares what lies below a directory of the stage with what should, byte for byte. @returns a line for each file
   * that is missing, other, or too many; nothing where all is as it should be
   */
  async differences(
    directory: string,
    expected: Readonly<Record<string, string | Uint8Array>>,
  ): Promise<string[]> {
    const there = new Set(await pathsBelow(this.at(directory)));
    const lines: string[] = [];
    for (const [path, content] of Object.entries(expected)) {
      if (!there.delete(path)) lines.push(`${path} is missing`);
      else if (!(await readFile(this.at(directory, path))).equals(Buffer.from(content)))
        lines.push(`${path} is not what it should be`);
    }
    return [...lines, ...[...there].map((path) => `${path} is too many`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = await Promise.all(this.#commands.map((command) => command.sweep()));
    await this.directory.remove();
    const forgotten = left.filter((text) => text !== undefined);
    if (forgotten.length > 0) throw new Error(forgotten.join('\n'));
  }
}

/** The one line that `run --json` prints for a job. */
export interface RunResult {
  readonly job: string;
  readonly run: number | null;
  readonly outcome: string;
  readonly uploaded: number;
  readonly downloaded: number;
  readonly deleted: number;
  readonly renamed: number;
  readonly skipped: number;
  readonly unchanged: number;
  readonly bytes: number;
  readonly durationMs: number;
  readonly failure: { readonly kind: string; readonly code: string; readonly message: string } | null;
}

/** Reads the line of a single run. @throws Error where there is not exactly one */
export function resultOf(ended: Ended): RunResult {
  const lines = ended.stdout.split('\n').filter((line) => line !== '');
  if (lines.length !== 1)
    throw new Error(`One line was due on standard output:\n${ended.stdout}\n${ended.stderr}`);
  return JSON.parse(lines[0] ?? '') as RunResult;
}

/** Paths of the regular files below a directory, in order. */
export async function pathsBelow(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true });
  const files: string[] = [];
  for (const name of names) if ((await lstat(join(directory, name))).isFile()) files.push(name);
  return files.sort();
}

/** Does something at the very moment at which the server hears such a command for the first time. */
export async function atFirst(server: FtpServer, wanted: string, act: () => void): Promise<void> {
  const off = server.on('command', (verb) => {
    if (verb !== wanted) return;
    off();
    act();
  });
  await server.waitFor(wanted);
}
