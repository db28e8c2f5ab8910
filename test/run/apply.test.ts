/*
 * A run that carries out a plan and nothing else: what came after the plan is left as it is and told, the plan's
 * deletions are released with it, and the guard looks at everything else as ever.
 */
import { rmSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import { Accounts } from '../../src/run/accounts.js';
import type { RunReport } from '../../src/run/context.js';
import { planJob } from '../../src/run/plan.js';
import { headerOf, PlanFile, PlanWriter } from '../../src/run/planfile.js';
import { runJob } from '../../src/run/run.js';
import { type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

/** No deletion without being asked. */
const NONE = { policy: 'delete', keepMs: 1_000, extraneous: false, limit: { percent: 0, files: 0 } } as const;

async function open(job: VoyageOptions['job']): Promise<void> {
  world = await World.open({ job: { deletes: NONE, ...job } });
  await mkdir(world.remote(''), { recursive: true });
}

/** Plans the job and reads the plan back from its file. */
async function planned(): Promise<PlanFile> {
  const file = world.directory.join('plan.json');
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: world.ledger });
  const writer = await PlanWriter.create(file, headerOf(world.job, Date.now()));
  try {
    const verdicts = planJob(world.job, { ledger: world.ledger, accounts, onFinding: () => {} });
    for await (const verdict of verdicts) await writer.add(verdict);
    await writer.end();
  } finally {
    await writer.abandon();
    await accounts.close();
  }
  return PlanFile.read(file);
}

async function apply(only: PlanFile): Promise<RunReport> {
  const { job, ledger, events } = world;
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: ledger });
  try {
    return await runJob(job, {
      ledger,
      accounts,
      listener: (event) => events.push(event),
      trigger: 'by hand, as planned',
      random: () => 0.5,
      only,
    });
  } finally {
    await accounts.close();
  }
}

/** The paths that were told to be not in the plan. */
function notPlanned(): string[] {
  return world.told('file.skipped').flatMap(({ code, path }) => (code === 'not-planned' ? [path] : []));
}

test('what was added or changed after the plan is left alone and told; the rest goes', async () => {
  await open({});
  await world.put('a.txt', 'a');
  await world.put('b.txt', 'b');
  const only = await planned();
  await world.put('b.txt', 'something else');
  await world.put('c.txt', 'c');
  const report = await apply(only);
  expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 2 } });
  expect(world.held()).toEqual({ 'a.txt': 'a' });
  expect(notPlanned()).toEqual(['b.txt', 'c.txt']);
  expect(world.told('file.skipped')[0]?.message).toBe(
    'b.txt is not in the plan that is carried out, or has changed since: it is left as it is. Make a new plan, or run the job.',
  );
  // Nothing is remembered against them: the next run sends them.
  expect((await world.run()).tally).toMatchObject({ uploaded: 2, skipped: 0 });
  world.expectConverged();
});

test('the deletions of the plan are released with it, and no others', async () => {
  await open({ mode: 'mirror' });
  for (const name of ['a', 'b', 'c', 'd']) await world.put(name, name);
  expect((await world.run()).outcome).toBe('ok');
  await rm(world.local('a'));
  await rm(world.local('b'));
  const only = await planned();
  await rm(world.local('c'));
  const report = await apply(only);
  expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 2, skipped: 1 } });
  expect(world.held()).toEqual({ c: 'c', d: 'd' });
  expect(notPlanned()).toEqual(['c']);
  // The guard has never let it go.
  expect((await world.run()).failure).toMatchObject({ kind: 'held', code: 'deletions' });
  expect(world.held()).toEqual({ c: 'c', d: 'd' });
});

test('all of a source that is empty on purpose goes where the plan says so', async () => {
  await open({ mode: 'mirror' });
  await world.put('a', 'a');
  await world.put('b', 'b');
  expect((await world.run()).outcome).toBe('ok');
  await rm(world.local('a'));
  await rm(world.local('b'));
  expect(await apply(await planned())).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
  expect(world.held()).toEqual({});
});

test('the guard holds what no plan can release: the source of a copy that is empty now', async () => {
  await open({});
  await world.put('a', 'a');
  expect((await world.run()).outcome).toBe('ok');
  await rm(world.local('a'));
  const only = await planned();
  expect(only.size).toBe(0);
  expect(await apply(only)).toMatchObject({ outcome: 'held', failure: { code: 'source-empty' } });
  expect(world.held()).toEqual({ a: 'a' });
});

test('a source that went away after the plan: nothing of it is deleted', async () => {
  await open({ mode: 'mirror' });
  for (const name of ['a', 'b', 'c']) await world.put(name, name);
  expect((await world.run()).outcome).toBe('ok');
  await rm(world.local('a'));
  const only = await planned();
  for (const name of ['b', 'c']) rmSync(world.local(name));
  // An empty source is not what its maker saw.
  expect(await apply(only)).toMatchObject({
    outcome: 'held',
    tally: { deleted: 0 },
    failure: { code: 'source-empty' },
  });
  expect(world.held()).toEqual({ a: 'a', b: 'b', c: 'c' });
});

test('a conflict is brought to its end: both versions, on both sides', async () => {
  await open({ mode: 'two-way' });
  await world.put('a.txt', 'first');
  expect((await world.run()).outcome).toBe('ok');
  await world.put('a.txt', 'changed here', Date.UTC(2023, 0, 1));
  await world.putRemote('a.txt', 'changed there', Date.UTC(2024, 0, 1));
  const only = await planned();
  const report = await apply(only);
  expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, downloaded: 1, skipped: 0 } });
  expect(notPlanned()).toEqual([]);
  expect(Object.values(world.here()).sort()).toEqual(['changed here', 'changed there']);
  world.expectConverged();
});

test('a file in place of a directory comes after what was in it has gone, in one run', async () => {
  await open({ mode: 'mirror' });
  await world.put('a/b', 'inner');
  await world.put('c', 'file');
  expect((await world.run()).outcome).toBe('ok');
  await rm(world.local('a'), { recursive: true });
  await rm(world.local('c'));
  await world.put('a', 'now a file');
  await world.put('c/d', 'now a directory');
  const report = await apply(await planned());
  expect(report).toMatchObject({ outcome: 'ok', tally: { deleted: 2, uploaded: 2, skipped: 0 } });
  world.expectConverged();
});

test('what a look into a file brings about belongs to the plan', async () => {
  await open({});
  await world.put('a.txt', 'first');
  expect((await world.run()).outcome).toBe('ok');
  // As many bytes and the same time: only its content tells.
  await world.put('a.txt', 'other');
  const only = await planned();
  expect(await apply(only)).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
  expect(world.held()).toEqual({ 'a.txt': 'other' });
});

test('a move takes the sources of what is in the plan along, and of nothing else', async () => {
  await open({ mode: 'move' });
  await world.put('a.txt', 'a');
  const only = await planned();
  await world.put('b.txt', 'b');
  expect(await apply(only)).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 1 } });
  expect(world.here()).toEqual({ 'b.txt': 'b' });
  expect(world.held()).toEqual({ 'a.txt': 'a' });
});
