/*
 * What a power cut asks for beyond a kill: that each step is on the disk before the next one relies on it. The order of
 * the flushes is read from the points that an undisturbed run meets. That the ledger flushes each commit (synchronous =
 * FULL) is a test of the ledger's.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TemporaryDirectory } from '../support/temporary.js';
import { OPERATIONS } from './operations.js';
import { compile, Victims } from './processes.js';
import { type Berth, FIRST_MS, openBerth, Scene } from './scene.js';

let compiled: TemporaryDirectory;
let victims: Victims;
let berth: Berth;
let scenes = 0;
beforeAll(async () => {
  compiled = await compile();
  victims = new Victims(compiled, 1);
  berth = await openBerth('scripted');
});
afterAll(async () => {
  await victims[Symbol.asyncDispose]();
  await berth[Symbol.asyncDispose]();
  await compiled.remove();
});

/** What an undisturbed run of an operation does, step by step, each when it is done. */
async function stepsOf(name: string): Promise<string[]> {
  const operation = OPERATIONS.find((one) => one.name === name);
  if (operation === undefined) throw new Error(`there is no operation ${name}`);
  scenes += 1;
  const scene = new Scene(berth, `s${scenes}`, operation.job);
  await operation.prepare(scene);
  const { job, ledgerFile } = scene;
  const fate = await victims.send({ work: 'run', job, ledgerFile, nowMs: FIRST_MS, killAt: undefined });
  if (fate.kind === 'killed') throw new Error('nobody was to be killed');
  expect(fate.told.end).toBe('ok');
  const done = fate.told.points.filter(({ when }) => when === 'after');
  return done.map(({ kind, what }) => (kind === 'reply' ? `reply ${what}` : what));
}

/** Each of these steps is there, in this order; other steps may come in between. */
function expectInOrder(steps: readonly string[], wanted: readonly (string | RegExp)[]): void {
  let from = 0;
  for (const one of wanted) {
    const place = steps.findIndex(
      (step, index) => index >= from && (typeof one === 'string' ? step === one : one.test(step)),
    );
    expect(place, `${one} behind step ${from} of ${JSON.stringify(steps, null, 1)}`).toBeGreaterThanOrEqual(
      0,
    );
    from = place + 1;
  }
}

const PART = String.raw`\.ferryd-[0-9a-f]{16}\.part`;

it('a download: intent, directory, bytes, name, ledger', async () => {
  const steps = await stepsOf('download: two new files in a new directory');
  for (const name of ['a', 'b']) {
    expectInOrder(steps, [
      'COMMIT',
      'mkdir d',
      // The directory's own name, in the root.
      'sync local',
      new RegExp(`^create ${PART}$`),
      new RegExp(`^write ${PART}$`),
      new RegExp(`^sync ${PART}$`),
      new RegExp(`^rename ${PART} ${name}$`),
      'sync d',
      'COMMIT',
    ]);
  }
  const first = steps.findIndex((step) => new RegExp(`^create ${PART}$`).test(step));
  const written = steps.slice(0, first);
  // Whatever was committed last before the first byte, it was the intent: nothing else comes behind the listing.
  expect(written.slice(written.findIndex((step) => /^MLSD/.test(step)))).toContain('COMMIT');
});

it('a download over an older file: that is kept on the disk before its name is taken', async () => {
  const steps = await stepsOf('download: a changed file, the old one into the trash');
  expectInOrder(steps, [
    new RegExp(`^sync ${PART}$`),
    'mkdir .ferryd-trash',
    'sync local',
    'mkdir 20260601T030000Z',
    'sync .ferryd-trash',
    'mkdir d',
    'sync 20260601T030000Z',
    'link a a',
    'sync d',
    new RegExp(`^rename ${PART} a$`),
    'sync d',
    'COMMIT',
  ]);
});

it('an upload: intent before the first byte, ledger after the last reply', async () => {
  const steps = await stepsOf('upload: a changed file, the old one into the trash');
  const begun = steps.findIndex((step) => /^STOR/.test(step));
  expect(steps.slice(0, begun)).toContain('COMMIT');
  expectInOrder(steps, [
    /^STOR/,
    'reply 226 Transfer complete.',
    new RegExp(String.raw`^RNFR \S+/d/${PART} \+ RNTO \S+/d/a$`),
    /^reply 250/,
    'COMMIT',
  ]);
});

it('a move: the source goes when its delivery is in the ledger', async () => {
  const there = await stepsOf('move: to the server');
  expectInOrder(there, [/^RNFR/, /^reply 250/, 'COMMIT', 'unlink a', 'COMMIT']);
  const here = await stepsOf('move: from the server');
  expectInOrder(here, [new RegExp(`^rename ${PART} a$`), /^sync /, 'COMMIT', /^DELE \S+\/a$/, 'COMMIT']);
});
