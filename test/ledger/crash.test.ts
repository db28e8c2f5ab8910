import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLedger } from '../../src/ledger/ledger.js';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { compileLedger, startChild } from './child.js';
import { BINDING, LOCAL, sha256, temporaryDirectory } from './sample.js';

let directory: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  directory = temporaryDirectory();
  compileLedger(directory.path);
});
afterEach(() => directory.remove());

/** Writes as fast as it can and says after each flush what must survive. */
const WRITER = `
  import { openLedger } from './src/ledger/ledger.js';
  import { acquireLock, lockDirectory } from './src/ledger/lock.js';
  const [, , file] = process.argv;
  const lock = acquireLock(lockDirectory(file), 'job-nightly', 'run of job nightly');
  const ledger = openLedger(file);
  const bindingId = ledger.bind(${JSON.stringify(BINDING)});
  const runId = ledger.startRun({ job: 'nightly', bindingId, trigger: 'test', pid: process.pid, startedAtMs: 1 });
  const local = ${JSON.stringify(LOCAL)};
  const name = (i) => 'file-' + String(i).padStart(7, '0');
  for (let i = 0; ; i += 20) {
    const batch = Array.from({ length: 20 }, (_, k) => name(i + k));
    ledger.intend(bindingId, runId, batch.map((path) => ({ path, temporary: '.tmp-' + path, local })));
    for (const path of batch) {
      ledger.record({
        kind: 'delivered', bindingId, runId, attempt: 1, durationMs: 1, atMs: 1, temporary: '.tmp-' + path, bytes: 1,
        baseline: { path, local, sha256: ${JSON.stringify(sha256('x'))}, remoteModifiedMs: undefined },
      });
    }
    ledger.flush();
    process.stdout.write((i + 20) + '\\n');
    await new Promise((done) => setImmediate(done));
  }`;

describe('a process that is killed while it writes', () => {
  it.each([1, 2, 7, 30])(
    'leaves a whole ledger with all that was committed (killed after %i groups)',
    async (groups) => {
      const file = join(directory.path, 'ledger.db');
      const child = startChild(directory.path, WRITER, [file]);
      let promised = 0;
      for (let i = 0; i < groups; i += 1) promised = Number(await child.line());
      expect(acquireLock(lockDirectory(file), 'job-nightly', 'x').kind).toBe('held');
      await child.end('SIGKILL');

      const lock = acquireLock(lockDirectory(file), 'job-nightly', 'next run');
      expect(lock.kind).toBe('lock');
      const ledger = openLedger(file);
      const bindingId = ledger.bind(BINDING);
      const known = [...ledger.known(bindingId)];
      expect(known.length).toBeGreaterThanOrEqual(promised);
      expect(known.length % 20).toBe(0);
      const open = [...ledger.openIntents(bindingId)].map((intent) => intent.path);
      // A group is delivered as a whole or still intended as a whole.
      expect([0, 20]).toContain(open.length);
      expect(open.filter((path) => known.some((k) => k.path === path))).toEqual([]);

      expect(ledger.closeAbandonedRuns('nightly', 5)).toMatchObject([
        { outcome: 'interrupted', tally: { uploaded: known.length, bytes: known.length } },
      ]);
      expect(ledger.transfers({ job: 'nightly' }, 1_000_000)).toHaveLength(known.length);
      ledger.close();
      if (lock.kind === 'lock') lock.release();
    },
  );
});
