/*
 * What is asked of ferryd without a peer beside it: how soon a watched file is on the server, how much memory it
 * takes, how long its shortest command lasts. Each is a row of one figure with a limit. Servers are those of the
 * other cases.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { type Case, MANY, type Protocol, type Sizes } from './cases.js';
import { DIRECTORY, type Task } from './contestant.js';
import { FERRYD, ferryd, writeJob } from './ferryd.js';
import { measure, usageBelow } from './measure.js';
import { type Scene, sceneOf } from './play.js';
import type { Stage } from './stage.js';
import { median } from './table.js';

const MIB_LIMIT = 120;
/** How much more a million may take than a hundred thousand. */
const FLAT = 1.3;
const SETTLE_S = 1;
/** Beside its settle, so long may a change take to be on the server. */
const NOTICE_S = 1;
const CHANGES = 3;
const STARTS = 9;
const START_LIMIT_S = 0.25;
const PATIENCE_MS = 120_000;
const TIMEOUT_S = 15 * 60;

/** What a row came to. */
export interface Outcome {
  readonly figure: number;
  /** Each of the rounds, protocols or sizes that the figure was taken of. */
  readonly values: readonly number[];
  /** More, for people. */
  readonly note: string;
}

export interface Feat {
  readonly name: string;
  readonly what: string;
  readonly unit: 's' | 'MiB';
  /** At most. */
  readonly limit: number;
  /** The case whose files and server it uses. */
  readonly scene: Case;
  /** @throws Error where something went wrong */
  readonly measure: (stage: Stage) => Promise<Outcome>;
}

export interface Achievement extends Outcome {
  readonly name: string;
  readonly what: string;
  readonly unit: Feat['unit'];
  readonly limit: number;
  readonly verdict: 'met' | 'behind';
}

/** All of them, in the order of the table. */
export function allFeats({ files, bytes }: Sizes): readonly Feat[] {
  const scene: Case = {
    name: 'alone',
    work: 'push-small',
    protocol: 'plain',
    files,
    bytes: 0,
    target: undefined,
    where: 'loopback',
    connections: undefined,
    first: 'run',
  };
  const still: Case = { ...scene, work: 'unchanged', first: 'prepared', content: 'empty' };
  const [many, million] = [files * MANY, files * MANY * MANY].map((count) => ({ ...still, files: count }));
  if (many === undefined || million === undefined) throw new Error('There are two of them');
  const memory = { unit: 'MiB', limit: MIB_LIMIT } as const;
  return [
    {
      name: 'watch-one',
      what: `one file changed of ${counted(many.files)} that a daemon watches: until it is on the server, settle (${SETTLE_S} s) included`,
      unit: 's',
      limit: SETTLE_S + NOTICE_S,
      scene: many,
      measure: (stage) => watchOne(stage, many),
    },
    {
      ...memory,
      name: 'memory-small',
      what: `peak, ${counted(files)} small files pushed, the worst of the protocols`,
      scene,
      measure: (stage) => worstPeak(stage, scene),
    },
    {
      ...memory,
      name: 'memory-one',
      what: `peak, one file of ${counted(bytes / 1024 ** 2)} MiB pushed, the worst of the protocols`,
      scene: { ...scene, work: 'push-one', files: 1, bytes },
      measure: (stage) => worstPeak(stage, { ...scene, work: 'push-one', files: 1, bytes }),
    },
    {
      ...memory,
      name: 'memory-unchanged',
      what: `peak, ${counted(many.files)} unchanged files`,
      scene: many,
      measure: async (stage) => peaks([await peakOf(stage, many)], ''),
    },
    {
      ...memory,
      name: 'memory-million',
      what: `peak, ${counted(million.files)} unchanged files`,
      scene: million,
      measure: (stage) => flatPeak(stage, many, million),
    },
    {
      name: 'status-start',
      what: 'start of `ferryd status`, whole process',
      unit: 's',
      limit: START_LIMIT_S,
      scene: { ...scene, files: 1 },
      measure: (stage) => statusStart(stage, { ...scene, files: 1 }),
    },
  ];
}

/** Measures it. */
export async function achieve(stage: Stage, feat: Feat): Promise<Achievement> {
  const { name, what, unit, limit } = feat;
  const outcome = await feat.measure(stage);
  return { name, what, unit, limit, ...outcome, verdict: outcome.figure <= limit ? 'met' : 'behind' };
}

/** One line of it. */
export function lineOf({ what, figure, unit, limit, verdict, note }: Achievement): string {
  return `${what}: ${shown(figure, unit)}, at most ${shown(limit, unit)}: ${verdict}.${note === '' ? '' : ` ${note}`}`;
}

export function shown(figure: number, unit: Feat['unit']): string {
  return unit === 's' ? `${figure.toFixed(2)} s` : `${figure.toFixed(0)} MiB`;
}

async function worstPeak(stage: Stage, of: Case): Promise<Outcome> {
  const protocols: readonly Protocol[] = ['plain', 'tls', 'sftp'];
  const each: number[] = [];
  for (const protocol of protocols) each.push(await peakOf(stage, { ...of, protocol }));
  const words = protocols.map((protocol, place) => `${protocol} ${each[place]?.toFixed(0)}`);
  return peaks(each, `${words.join(', ')} MiB.`);
}

async function flatPeak(stage: Stage, many: Case, million: Case): Promise<Outcome> {
  const lesser = await peakOf(stage, many);
  const figure = await peakOf(stage, million);
  const growth = figure / lesser;
  const verdict = growth <= FLAT ? 'flat' : 'NOT flat';
  const note = `${growth.toFixed(2)} times as much as ${counted(many.files)} (at most ${FLAT}: ${verdict}).`;
  return { figure, values: [lesser, figure], note };
}

function peaks(values: readonly number[], note: string): Outcome {
  return { figure: Math.max(...values), values, note };
}

async function peakOf(stage: Stage, of: Case): Promise<number> {
  const scene: Scene = await sceneOf(stage, of);
  const { measured, trouble } = await scene(FERRYD, TIMEOUT_S);
  await stage.clear(of);
  if (trouble !== undefined) throw new Error(trouble);
  return measured.peakMiB;
}

/** Beside the bare start of node, in turn. */
async function statusStart(stage: Stage, of: Case): Promise<Outcome> {
  const scratch = stage.scratch();
  const task = await stage.task(of, { local: stage.source(of), scratch });
  await stage.remember(of, scratch);
  const status = ferryd(task, ['status']);
  const bare = { ...status, command: [process.execPath, '-e', '0'] as const };
  const values: number[] = [];
  const bareS: number[] = [];
  for (let start = 0; start <= STARTS; start += 1) {
    for (const [invocation, into] of [
      [status, values],
      [bare, bareS],
    ] as const) {
      const log = join(scratch, 'output.log');
      const { ended, words, wallS } = await measure(invocation, { log, timeoutMs: PATIENCE_MS });
      if (ended !== '0') throw new Error(`ended with ${ended}: ${words}`);
      // The first one reads the program from the disk.
      if (start > 0) into.push(wallS);
    }
  }
  return { figure: median(values), values, note: `Bare node starts in ${median(bareS).toFixed(2)} s.` };
}

/** A daemon that has looked at everything; then one file after the other. */
async function watchOne(stage: Stage, of: Case): Promise<Outcome> {
  const scratch = stage.scratch();
  const local = stage.source(of);
  const remote = await stage.stock(of);
  await stage.remember(of, scratch);
  const task = await stage.task(of, { local, scratch });
  writeJob(task, { triggers: [{ watch: { settle: `${SETTLE_S}s` } }] });
  await using daemon = await Daemon.start(stage, of, task);
  await daemon.ranAgain();
  const values: number[] = [];
  const cpuS: number[] = [];
  const paths = task.paths.filter((_, place) => place % Math.ceil(task.paths.length / CHANGES) === 0);
  for (const [change, path] of paths.entries()) {
    const text = `change ${change}\n`;
    const before = daemon.cpuS();
    const ended = daemon.ranAgain();
    const start = performance.now();
    const file = join(local, DIRECTORY, path);
    writeFileSync(file, text);
    while (content(join(remote, path)) !== text) {
      if (performance.now() - start > PATIENCE_MS) throw new Error(`${path} is not on the server`);
      await pause(2);
    }
    values.push((performance.now() - start) / 1000);
    await ended;
    cpuS.push(daemon.cpuS() - before);
  }
  stage.forget(of);
  return {
    figure: median(values),
    values,
    note: `A change costs the daemon ${median(cpuS).toFixed(2)} s of CPU.`,
  };
}

class Daemon implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #over: Promise<void>;
  readonly #atExit = () => void this.#child.kill('SIGKILL');
  #onRun: () => void = () => {};
  #last = '';

  private constructor(child: ReturnType<typeof spawn>) {
    this.#child = child;
    this.#over = new Promise((done) => {
      child.once('exit', () => done());
      child.once('error', () => done());
    });
    process.once('exit', this.#atExit);
    if (child.stderr === null) throw new Error('A pipe was asked for');
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#last = line;
      if (line.includes('"event":"run.ended"')) this.#onRun();
    });
  }

  static async start(stage: Stage, of: Case, task: Task): Promise<Daemon> {
    const { command, env, directory } = ferryd(task, ['daemon']);
    const [program, ...words] = await stage.there(of, command);
    return new Daemon(spawn(program, words, { env, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] }));
  }

  /** Resolves when the next run has ended. */
  async ranAgain(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((done, failed) => {
        this.#onRun = done;
        const fail = () => failed(new Error(`The daemon makes no run: ${this.#last}`));
        timer = setTimeout(fail, PATIENCE_MS);
        void this.#over.then(fail);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  cpuS(): number {
    return this.#child.pid === undefined ? 0 : usageBelow(this.#child.pid).cpuS;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#atExit);
    this.#child.kill('SIGTERM');
    await this.#over;
  }
}

function content(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function counted(value: number): string {
  return value.toLocaleString('en');
}
