/*
 * Sweeps over SFTP: one fault at every request of every operation of a remote. The operation that meets it must end
 * within its deadline, in success or in an error that is judged as its fault says; the same operation once more, met by
 * no fault, must succeed on the same remote. At every request and answer in between: no half file under a final name,
 * and nothing lost that stood there. Afterwards: no file open on the server any more, no word from the server that
 * could harm a terminal, no password. Points share a few servers, and each has a directory and an account of its own
 * there, except where it left no trace on the one before.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ServerTimeouts } from '../../../src/job/job.js';
import { isTemporary } from '../../../src/plan/temporary.js';
import { type Account, openAccount } from '../../../src/remote/account.js';
import type { Failure } from '../../../src/remote/decision.js';
import { judge } from '../../../src/remote/failure.js';
import type { Remote } from '../../../src/remote/remote.js';
import { held, nothingLeft } from '../../ftp/stage.js';
import type { Rule } from '../../support/sftp-server/fault.js';
import type { SftpServerOptions } from '../../support/sftp-server/settings.js';
import { type SftpServer, startSftpServer } from '../../support/sftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.js';
import { sftpCredentials, sftpSettings } from '../sftp-berth.js';

/** What came of an operation. */
export type Outcome =
  | { readonly state: 'done'; readonly value: unknown }
  | { readonly state: 'failed'; readonly failure: Failure };

/** Where an operation works: its remote, and the directory on disk that this is. */
export interface Scene {
  readonly remote: Remote;
  readonly disk: string;
  /** That directory, below the login directory. */
  readonly path: string;
}

/** One thing that is asked of a remote. */
export interface Operation {
  readonly name: string;
  /** Puts in place what it needs. */
  readonly prepare: (disk: string) => void;
  readonly work: (scene: Scene) => Promise<unknown>;
  /** What must hold once it was done: a sentence for each thing that does not. */
  readonly goal: (scene: Scene, value: unknown) => readonly string[];
  /** What must hold at every moment. */
  readonly always: (disk: string) => readonly string[];
}

/** One place where something goes wrong. */
export interface Point {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** Holds against the verdict: `done`, or the decision and the code such as `skip FAILURE`. */
  readonly judged: RegExp;
  /** The server says that something is not there, or gives what is not: nobody can know better. */
  readonly believed?: 'rightly';
}

export interface SweepOptions {
  readonly server?: Omit<SftpServerOptions, 'root'>;
  /**
   * `impatient`: timeouts of a fraction of a second, for faults that are silence, in the first attempt; the second one
   * is patient in any case.
   */
  readonly patience?: 'impatient';
  readonly verify?: 'auto' | 'size' | 'hash';
  /** How long an operation may take; 5 000 unless told. */
  readonly deadlineMs?: number;
  /** How many points are under way at once; 6 unless told. */
  readonly lanes?: number;
}

/** One request that an operation makes. */
export interface Step {
  readonly on: string;
  /** The how-manieth of its kind. */
  readonly nth: number;
}

const DEADLINE_MS = 5_000;

const IMPATIENT: Partial<ServerTimeouts> = { replyMs: 250, stallMs: 250, transferMs: 2_000 };

/** The requests that an operation makes where nothing goes wrong, in their order; of reads and writes the first two. */
export async function stepsOf(operation: Operation, options: SweepOptions = {}): Promise<readonly Step[]> {
  await using lane = await Lane.open(options);
  const { scene } = await lane.scene(operation);
  const from = lane.server.journal.requests.length;
  const outcome = await attempt(operation, scene);
  expect(outcome.state, JSON.stringify(outcome)).toBe('done');
  expect(outcome.state === 'done' ? operation.goal(scene, outcome.value) : []).toEqual([]);
  const steps: Step[] = [];
  for (const { name: on } of lane.server.journal.requests.slice(from)) {
    const nth = steps.filter((step) => step.on === on).length + 1;
    // How many there are of these is not the same each time.
    if ((on !== 'READ' && on !== 'WRITE') || nth <= 2) steps.push({ on, nth });
  }
  return steps;
}

/**
 * Sweeps over all points and fails with every one that went wrong.
 *
 * @returns how many there were
 */
export async function sweep(
  operation: Operation,
  points: readonly Point[],
  options: SweepOptions = {},
): Promise<number> {
  const before = held();
  const problems = await problemsOf(operation, points, options);
  await nothingLeft(before);
  expect(problems).toEqual([]);
  return points.length;
}

/** Sweeps over all points: what went wrong. */
export async function problemsOf(
  operation: Operation,
  points: readonly Point[],
  options: SweepOptions = {},
): Promise<readonly string[]> {
  const problems: string[] = [];
  const waiting = points.values();
  const run = async (): Promise<void> => {
    await using lane = await Lane.open(options);
    for (const point of waiting) {
      for (const problem of await lane.point(operation, point))
        problems.push(`${operation.name}, ${point.name}: ${problem}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.lanes ?? 6, points.length) }, run));
  return problems;
}

/** A server of its own, and what stands on it. */
class Lane implements AsyncDisposable {
  readonly server: SftpServer;
  readonly #directory: TemporaryDirectory;
  readonly #options: SweepOptions;
  #account: Account | undefined;
  #learned: string[] = [];
  #stored: string | undefined;
  #places = 0;

  private constructor(server: SftpServer, directory: TemporaryDirectory, options: SweepOptions) {
    this.server = server;
    this.#directory = directory;
    this.#options = options;
  }

  static async open(options: SweepOptions): Promise<Lane> {
    const directory = await temporaryDirectory('sftp-sweep');
    const server = await startSftpServer({ ...options.server, root: directory.path });
    return new Lane(server, directory, options);
  }

  /** A place of its own, prepared, with a session that stands. */
  async scene(operation: Operation): Promise<{ readonly scene: Scene; readonly stored: string | undefined }> {
    this.#places += 1;
    const path = `place-${this.#places}`;
    const disk = this.#directory.join(`home/ferry/${path}`);
    mkdirSync(disk);
    operation.prepare(disk);
    const { patience } = this.#options;
    if (patience === 'impatient') await this.#closeAccount();
    this.#account ??= this.#openAccount(patience);
    const remote = this.#account.remote({ path, absolute: false });
    // A busy machine may be taken for a silent server, here and there.
    for (let left = 5; left > 0; left -= 1) {
      const found = await remote.stat('is the session there').catch((error: unknown) => error);
      if (found === undefined) left = 0;
      else if (left === 1) throw found;
    }
    return { scene: { remote, disk, path }, stored: this.#stored };
  }

  /** What was wrong at one point. */
  async point(operation: Operation, point: Point): Promise<readonly string[]> {
    const { server } = this;
    const { scene, stored } = await this.scene(operation);
    const problems = new Set<string>();
    const look = (when: string): void => {
      // Where a server says that it cannot rename, a part can be seen: that is told to whoever runs it.
      if (scene.remote.temporaryForm === 'none') return;
      for (const problem of operation.always(scene.disk)) problems.add(`${problem}, at ${when}`);
    };
    const unhear = [
      server.on('request', ({ name }) => look(name)),
      server.on('answer', (answer, { name }) => look(`${answer} to ${name}`)),
    ];
    const { connections } = server.journal;
    const rules = point.rules.map((rule) => server.script(rule));
    const beganMs = performance.now();
    const first = await attempt(operation, scene);
    const tookMs = performance.now() - beganMs;
    if (rules.every((rule) => rule.fired === 0)) problems.add('the fault never struck');
    server.behave();
    look('the end of the first attempt');
    if (tookMs > (this.#options.deadlineMs ?? DEADLINE_MS)) problems.add(`it took ${Math.round(tookMs)} ms`);
    if (!point.judged.test(verdictOf(first))) problems.add(`it was judged ${shown(first)}`);
    if (first.state === 'failed') for (const each of unfitToPrint(first.failure.message)) problems.add(each);
    else if (point.believed === undefined)
      for (const each of operation.goal(scene, first.value)) problems.add(`done, but ${each}`);

    const patient = await this.#patiently(scene);
    const second = await attempt(operation, patient);
    for (const stop of unhear) stop();
    look('the end of the second attempt');
    if (second.state === 'failed') problems.add(`the second attempt was judged ${shown(second)}`);
    else
      for (const each of operation.goal(scene, second.value))
        problems.add(`the second attempt is done, but ${each}`);
    for (const sentence of this.#learned) for (const each of unfitToPrint(sentence)) problems.add(each);
    // Of a handle that was not told the client cannot know, nor of one that was not closed.
    const leaks = point.rules.some(({ on }) => on === 'OPEN' || on === 'OPENDIR' || on === 'CLOSE');
    if (!leaks)
      await server
        .until((journal) => journal.openHandles === 0, { timeoutMs: 2_000 })
        .catch(() => problems.add('something is open on the server still'));
    // What was learned, or a connection more, would make the next point another one.
    const marked =
      leaks || problems.size > 0 || stored !== this.#stored || server.journal.connections !== connections;
    if (marked) await this.#closeAccount();
    return [...problems];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeAccount();
    await this.server.close();
    await this.#directory.remove();
  }

  async #patiently(scene: Scene): Promise<Scene> {
    if (this.#options.patience === undefined) return scene;
    await this.#closeAccount();
    this.#account = this.#openAccount(undefined);
    return { ...scene, remote: this.#account.remote({ path: scene.path, absolute: false }) };
  }

  #openAccount(patience: SweepOptions['patience']): Account {
    const settings = sftpSettings(this.server);
    this.#learned = [];
    this.#stored = undefined;
    return openAccount(
      {
        protocol: 'sftp',
        server: {
          ...settings,
          connections: 1,
          verify: this.#options.verify ?? 'auto',
          timeouts: { ...settings.timeouts, ...(patience === undefined ? {} : IMPATIENT) },
        },
        credentials: sftpCredentials(),
      },
      { onOpened: () => {}, onLearned: (sentence) => this.#learned.push(sentence), onWire: undefined },
      {
        load: () => this.#stored,
        save: (json) => {
          this.#stored = json;
        },
      },
    );
  }

  async #closeAccount(): Promise<void> {
    await this.#account?.close();
    this.#account = undefined;
    await this.server.until((journal) => journal.open === 0);
  }
}

async function attempt(operation: Operation, scene: Scene): Promise<Outcome> {
  try {
    return { state: 'done', value: await operation.work(scene) };
  } catch (error) {
    return { state: 'failed', failure: judge(error) };
  }
}

function verdictOf(outcome: Outcome): string {
  return outcome.state === 'done' ? 'done' : `${outcome.failure.decision} ${outcome.failure.code}`;
}

function shown(outcome: Outcome): string {
  const words = outcome.state === 'done' ? '' : `: ${outcome.failure.message}`;
  return `${verdictOf(outcome)}${words}`;
}

function unfitToPrint(message: string): readonly string[] {
  const unfit = /[\p{Cc}\p{Cf}]/u.test(message) || message.includes('secret') || message.length > 2_000;
  return unfit ? [`unfit to print: ${JSON.stringify(message.slice(0, 200))}`] : [];
}

const known = new Map<string, { readonly state: string; readonly content: string }>();

/** A file's content, or undefined where there is none; read again only where it was written to. */
export function contentOf(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats?.isFile() !== true) return undefined;
  const state = `${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
  const before = known.get(path);
  if (before?.state === state) return before.content;
  const content = readFileSync(path, 'latin1');
  known.set(path, { state, content });
  return content;
}

/** All files below a directory but temporary ones, with their contents. */
export function filesBelow(root: string): Readonly<Record<string, string>> {
  const paths = (readdirSync(root, { recursive: true }) as string[]).filter(
    (path) => !isTemporary(path) && statSync(join(root, path)).isFile(),
  );
  return Object.fromEntries(paths.sort().map((path) => [path, readFileSync(join(root, path), 'latin1')]));
}

/** Whether a content stands anywhere below a directory, also under a temporary name. */
export function standsAnywhere(root: string, content: string): boolean {
  return (readdirSync(root, { recursive: true }) as string[]).some(
    (path) => contentOf(join(root, path)) === content,
  );
}
