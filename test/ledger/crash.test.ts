import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLedger } from '../../src/ledger/ledger.js';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { compileLedger, startChild } from './child.js';
import { BINDING, deletion, LOCAL, sha256, temporaryDirectory } from './sample.js';

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
        kind: 'delivered', way: 'up', bindingId, runId, attempt: 1, durationMs: 1, atMs: 1, temporary: '.tmp-' + path, bytes: 1,
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

/**
 * Goes from plan to plan: each is made of 60 deletions of one size, which tells the plan; every third run deletes
 * what was released and ends, the others are held and released. Says each step that must survive, and waits for
 * leave to take the next: who kills it knows that it is in that one at most.
 */
const PLANNER = `
  import { createInterface } from 'node:readline';
  import { openLedger } from './src/ledger/ledger.js';
  const leave = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const ledger = openLedger(process.argv[2]);
  const bindingId = ledger.bind(${JSON.stringify(BINDING)});
  const runId = ledger.startRun({ job: 'nightly', bindingId, trigger: 'test', pid: process.pid, startedAtMs: 1 });
  const say = async (what, round) => {
    process.stdout.write(what + ' ' + round + '\\n');
    await leave.next();
  };
  for (let round = 1; ; round += 1) {
    ledger.beginPlan(bindingId);
    for (let i = 0; i < 60; i += 20) {
      ledger.doom(bindingId, Array.from({ length: 20 }, (_, k) => ({
        ...${JSON.stringify(deletion('x'))}, path: 'file-' + String(i + k).padStart(2, '0'), sizeBytes: round,
      })));
    }
    ledger.flush();
    await say('planned', round);
    ledger.hold(bindingId, { runId, code: 'deletions', message: 'round ' + round, atMs: round });
    await say('held', round);
    if (ledger.approve('nightly', round).kind !== 'approved') throw new Error('not approved');
    await say('released', round);
    if (round % 3 !== 0) continue;
    ledger.endPlan(bindingId);
    await say('ended', round);
  }`;

describe('a process that is killed while it plans, holds and releases', () => {
  it.each([1, 2, 3, 4, 9, 10, 11, 40])(
    'leaves each plan whole in one stage (killed after %i steps)',
    async (steps) => {
      const file = join(directory.path, 'ledger.db');
      const child = startChild(directory.path, PLANNER, [file]);
      let said = '';
      for (let i = 0; i < steps; i += 1) {
        said = await child.line();
        child.write('go on');
      }
      await child.end('SIGKILL');
      const [step = '', round = ''] = said.split(' ');

      const ledger = openLedger(file);
      const bindingId = ledger.bind(BINDING);
      const plan = ledger.heldPlan('nightly');
      const deletions = [...ledger.heldDeletions(bindingId)];
      if (plan === undefined) {
        // None yet, or the run that was not held has ended it.
        expect(deletions).toEqual([]);
        expect(
          step === 'planned' || step === 'ended' || (step === 'released' && Number(round) % 3 === 0),
        ).toBe(true);
      } else {
        expect(plan.message).toBe(`round ${plan.atMs}`);
        expect([plan.files, plan.directories]).toEqual([60, 0]);
        expect([undefined, plan.atMs]).toContain(plan.approvedAtMs);
        expect(deletions).toHaveLength(60);
        expect(new Set(deletions.map(({ sizeBytes }) => sizeBytes))).toEqual(new Set([plan.atMs]));
        // The child may have taken the next step, never one back.
        const promised = step === 'planned' ? Number(round) - 1 : Number(round);
        expect(plan.atMs).toBeGreaterThanOrEqual(promised);
        if (step === 'released' && plan.atMs === promised) expect(plan.approvedAtMs).toBe(promised);
      }
      // A plan that was under way is no obstacle for the next run.
      expect([0, 20, 40, 60]).toContain(ledger.doomed(bindingId).total);
      ledger.beginPlan(bindingId);
      ledger.doom(bindingId, deletions);
      expect(ledger.doomed(bindingId)).toMatchObject({
        total: deletions.length,
        approved: plan?.approvedAtMs === undefined ? 0 : 60,
      });
      ledger.close();
    },
  );
});
