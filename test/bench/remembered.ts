/*
 * A ledger as it is after a run that brought a whole tree to the server, made without the run: of a million files
 * there is no other way to have one in a minute. What it holds is read from the files themselves.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Job } from '../../src/job/job.js';
import { loadConfiguration } from '../../src/job/load.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { walk } from '../../src/local/walk.js';
import { emptyTally } from '../../src/plan/outcome.js';
import { bindingKey } from '../../src/run/context.js';

const OF_NOTHING = createHash('sha256').digest('hex');

/** The one job of a directory. @throws Error with what is wrong with it */
export async function jobIn(jobs: string): Promise<Job> {
  const configuration = await loadConfiguration(jobs, { cron: () => undefined });
  const [job] = configuration.jobs;
  if (job === undefined) throw new Error(configuration.problems.map(({ message }) => message).join('\n'));
  return job;
}

/** Makes the job's ledger: everything below its local side was sent, and nothing has changed since. */
export async function rememberTree(job: Job, file: string): Promise<void> {
  const ledger = openLedger(file);
  try {
    const bindingId = ledger.bind(bindingKey(job));
    const times = { startedAtMs: Date.now(), endedAtMs: Date.now() };
    const run = ledger.startRun({ job: job.name, bindingId, trigger: 'bench', pid: process.pid, ...times });
    const unchanged = await adoptAll(ledger, bindingId, job.local);
    ledger.endRun(run, {
      outcome: 'ok',
      tally: { ...emptyTally(), unchanged },
      failure: undefined,
      ...times,
    });
  } finally {
    ledger.close();
  }
}

async function adoptAll(ledger: Ledger, bindingId: number, root: string): Promise<number> {
  let count = 0;
  for await (const sights of walk(root, { wants: () => true })) {
    for (const sight of sights) {
      if (sight.kind !== 'file') continue;
      const { path, sizeBytes, mtimeMs, ctimeMs, inode } = sight.file;
      const content = sizeBytes === 0 ? undefined : readFileSync(join(root, path));
      const sha256 = content === undefined ? OF_NOTHING : createHash('sha256').update(content).digest('hex');
      const local = { sizeBytes, mtimeMs, ctimeMs, inode };
      const baseline = { path, local, sha256, remoteModifiedMs: Math.floor(mtimeMs / 1000) * 1000 };
      ledger.record({ kind: 'adopted', bindingId, baseline, temporary: undefined });
      count += 1;
    }
  }
  return count;
}
