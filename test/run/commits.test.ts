/*
 * What a run costs the ledger, counted: transactions, each of which waits for the disk once, and statements. Both are
 * the same on every machine; what they cost in bytes is measured by test/bench/ledger-writes.ts.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadConfiguration } from '../../src/job/load.js';
import { Ledger, openLedger } from '../../src/ledger/ledger.js';
import type { Tally } from '../../src/plan/outcome.js';
import { runJob } from '../../src/run/run.js';
import { MemoryRemote } from '../support/memory-remote.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory('commits');
  for (const name of ['jobs', 'source']) mkdirSync(directory.join(name));
  writeFileSync(directory.join('jobs/p'), 'secret', { mode: 0o600 });
  const server = '{ url: "ftpes://127.0.0.1", user: a, password: { file: p } }';
  writeFileSync(directory.join('jobs/push.yaml'), `from: ${directory.join('source')}\nto: ${server}\n`);
});
afterEach(async () => {
  vi.useRealTimers();
  await directory[Symbol.asyncDispose]();
});

function makeFiles(count: number, from = 0): void {
  for (let i = from; i < count; i += 1) {
    const folder = `source/d${Math.floor(i / 100)}`;
    mkdirSync(directory.join(folder), { recursive: true });
    writeFileSync(directory.join(`${folder}/${i}`), String(i));
  }
}

/** One run, and what it had the ledger do. */
async function counted(remote: MemoryRemote): Promise<{ tally: Tally; commits: number; statements: number }> {
  const { jobs } = await loadConfiguration(directory.join('jobs'), { cron: () => undefined });
  const [job] = jobs;
  if (job === undefined) throw new Error('The job cannot be loaded.');
  openLedger(directory.join('ledger.db')).close();
  const said: string[] = [];
  const verbose = (sql: unknown): void => void said.push(String(sql));
  const ledger = new Ledger(new Database(directory.join('ledger.db'), { verbose }));
  said.length = 0;
  try {
    const accounts = { of: async () => ({ remote: () => remote }) };
    const { outcome, tally } = await runJob(job, {
      ledger,
      accounts,
      listener: () => {},
      trigger: 'by hand',
    });
    expect(outcome).toBe('ok');
    return { tally, commits: said.filter((sql) => sql === 'COMMIT').length, statements: said.length };
  } finally {
    ledger.close();
  }
}

it('a thousand delivered files share a few commits, and take a few statements each', async () => {
  makeFiles(1_000);
  const { tally, commits, statements } = await counted(new MemoryRemote());
  expect(tally.uploaded).toBe(1_000);
  // An intent, a baseline, a row of the history, and what these replace; and what the scan asks about a new file.
  expect(statements / 1_000).toBeLessThan(8);
  expect(commits).toBeLessThan(16);
});

it('a run without news costs the same, however many files there are', async () => {
  const remote = new MemoryRemote();
  // What was written a moment ago would be read once more.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
  makeFiles(10);
  await counted(remote);
  const few = await counted(remote);
  makeFiles(900, 10);
  await counted(remote);
  const many = await counted(remote);
  expect([few.tally.unchanged, many.tally.unchanged]).toEqual([10, 900]);
  expect(many).toMatchObject({ commits: few.commits, statements: few.statements });
  expect(few.commits).toBeLessThan(8);
});
