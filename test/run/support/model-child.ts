/*
 * Runs that are killed: a process that has everything loaded and waits for its word, so that a kill costs no start-up.
 * It is sent the job and the ledger's place, runs the job once, and prints the report.
 */
import { writeFileSync } from 'node:fs';
import type { Job } from '../../../src/job/job.js';
import { type Child, startChild } from '../../ledger/child.js';
import type { World } from './voyage.js';

const RUNNER = `
  import { readFileSync } from 'node:fs';
  import { createInterface } from 'node:readline';
  import { openLedger } from './src/ledger/ledger.js';
  import { Accounts } from './src/run/accounts.js';
  import { runJob } from './src/run/run.js';
  for await (const file of createInterface({ input: process.stdin })) {
    const { job, ledgerFile, nowMs } = JSON.parse(readFileSync(file, 'utf8'));
    const ledger = openLedger(ledgerFile);
    const accounts = new Accounts(() => {}, { wire: 'silent', profiles: ledger });
    const now = () => nowMs;
    const report = await runJob(job, { ledger, accounts, now, listener: () => {}, trigger: 'by hand' });
    await accounts.close();
    ledger.close();
    process.stdout.write(JSON.stringify(report) + '\\n');
  }`;

/** Always has one process ready. */
export class Runners implements AsyncDisposable {
  readonly #compiled: string;
  #next: Child;

  /** @param compiled where `compileSource` wrote to */
  constructor(compiled: string) {
    this.#compiled = compiled;
    this.#next = startChild(compiled, RUNNER);
  }

  /** Starts a run of a job by the world's ledger; the world lets go of that for it. */
  start(world: World, job: Job, nowMs: number): Child {
    world.closeLedger();
    const input = world.directory.join('run.json');
    writeFileSync(input, JSON.stringify({ job, ledgerFile: world.ledgerFile, nowMs }));
    const child = this.#next;
    this.#next = startChild(this.#compiled, RUNNER);
    child.write(input);
    return child;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#next.end();
  }
}
