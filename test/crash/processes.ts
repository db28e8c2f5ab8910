/*
 * The processes of a sweep: victims, which are started ahead and have everything loaded when they are wanted, and the
 * one reader.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { bundle } from './bundle.js';
import type { Request, Seen } from './reader.js';
import type { Order, Told } from './victim.js';

/** What became of a victim. */
export type Fate =
  /** Killed at the point that it names. */
  | { readonly kind: 'killed'; readonly at: string }
  /** It came to its end without meeting the point. */
  | { readonly kind: 'ended'; readonly told: Told };

/** Where the programs are that can be run. */
export async function compile(): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory('compiled');
  // For the packages.
  symlinkSync(resolve('node_modules'), directory.join('node_modules'), 'dir');
  for (const name of ['victim', 'reader']) {
    writeFileSync(directory.join(`${name}.cjs`), bundle(`${import.meta.dirname}/${name}.ts`));
  }
  return directory;
}

/** Processes that wait for their order. */
export class Victims implements AsyncDisposable {
  readonly #program: string;
  readonly #ready: Victim[] = [];

  /** @param ahead how many wait at any time */
  constructor(compiled: TemporaryDirectory, ahead: number) {
    this.#program = compiled.join('victim.cjs');
    for (let i = 0; i < ahead; i += 1) this.#ready.push(new Victim(this.#program));
  }

  /** Gives the order to one of them, and waits for its end. */
  async send(order: Order): Promise<Fate> {
    const victim = this.#ready.shift() ?? new Victim(this.#program);
    this.#ready.push(new Victim(this.#program));
    return victim.carryOut(order);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ready.map((victim) => victim.dismiss()));
  }
}

class Victim {
  readonly #process: ChildProcess;
  readonly #gone: Promise<NodeJS.Signals | null>;
  #said = '';
  #complained = '';

  constructor(program: string) {
    this.#process = start(program);
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complained += text;
    });
    this.#gone = new Promise((resolve) => this.#process.once('close', (_, signal) => resolve(signal)));
  }

  async carryOut(order: Order): Promise<Fate> {
    this.#process.stdin?.write(`${JSON.stringify(order)}\n`);
    const signal = await this.#gone;
    if (signal === 'SIGKILL') return { kind: 'killed', at: this.#said.trim() };
    if (this.#said === '') throw new Error(`a process ended by itself: ${this.#complained}`);
    return { kind: 'ended', told: JSON.parse(this.#said) as Told };
  }

  async dismiss(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#gone;
  }
}

/** The process that looks at both sides all the time. */
export class Reader implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting = new Map<string, { resolve: (seen: Seen) => void; reject: (error: Error) => void }>();
  #complained = '';

  constructor(compiled: TemporaryDirectory) {
    this.#process = start(compiled.join('reader.cjs'));
    if (this.#process.stdout === null) throw new Error('no pipes');
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complained += text;
    });
    this.#lines = createInterface({ input: this.#process.stdout }).on('line', (line) => {
      const seen = JSON.parse(line) as Seen;
      this.#waiting.get(seen.id)?.resolve(seen);
      this.#waiting.delete(seen.id);
    });
    this.#process.once('close', () => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`the reader ended: ${this.#complained}`));
    });
  }

  watch(request: Omit<Extract<Request, { kind: 'watch' }>, 'kind'>): void {
    this.#tell({ kind: 'watch', ...request });
  }

  /** Looks once more, and no further. */
  leave(id: string): Promise<Seen> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#tell({ kind: 'leave', id });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.kill('SIGKILL');
    await closed;
    this.#lines.close();
  }

  #tell(request: Request): void {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
  }
}

function start(program: string): ChildProcess {
  return spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] });
}
