/*
 * The process that is killed: it has everything loaded, waits for its order, and carries it out as the command line
 * does. Where it is not killed, it says how that ended and which points it met, and goes.
 */
import { createInterface } from 'node:readline';
import type { Job } from '../../src/job/job.js';
import { openLedger } from '../../src/ledger/ledger.js';
import { Accounts } from '../../src/run/accounts.js';
import { restoreJob } from '../../src/run/restore.js';
import { runJob } from '../../src/run/run.js';
import { install, met, type Point, watch } from './points.js';

export interface Order {
  readonly work: 'run' | 'restore';
  readonly job: Job;
  readonly ledgerFile: string;
  readonly nowMs: number;
  readonly killAt: number | undefined;
}

export interface Told {
  /** The run's outcome, or how the restoration ended. */
  readonly end: string;
  readonly points: readonly Point[];
}

void main();

async function main(): Promise<void> {
  await install();
  const lines = createInterface({ input: process.stdin });
  const line = await new Promise<string>((resolve) => lines.once('line', resolve));
  lines.close();
  process.stdin.destroy();
  const order = JSON.parse(line) as Order;
  const end = await carryOut(order);
  const told: Told = { end, points: met() };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

async function carryOut({ work, job, ledgerFile, nowMs, killAt }: Order): Promise<string> {
  watch({ protocol: job.server.protocol, port: job.server.port, killAt });
  const ledger = openLedger(ledgerFile);
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: ledger });
  try {
    const shared = { accounts, listener: () => {}, random: () => 0.5 };
    if (work === 'run') {
      const report = await runJob(job, { ...shared, ledger, trigger: 'by hand', now: () => nowMs });
      return report.outcome;
    }
    const wish = { path: undefined, atMs: undefined, to: undefined };
    const restoring = { ...shared, ledgerFile, nowMs, onRestored: () => {}, onLeft: () => {} };
    return (await restoreJob(job, wish, restoring)).end;
  } finally {
    await accounts.close();
    ledger.close();
  }
}
