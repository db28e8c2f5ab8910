/* The jobs directory is loaded anew when it changes or when somebody asks: one load at a time, none lost. */
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Refresh } from '../../src/daemon/refresh.js';
import { type Configuration, loadConfiguration } from '../../src/job/load.js';
import { temporaryDirectory } from '../support/temporary.js';

const EMPTY = await loadConfiguration('/nonexistent', { cron: () => undefined });

/** Loads that end when the test says so. */
function slowLoads() {
  const under: ((configuration: Configuration) => void)[] = [];
  return {
    load: () => new Promise<Configuration>((resolve) => under.push(resolve)),
    end: () => under.shift()?.(EMPTY),
    get underWay() {
      return under.length;
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a saved file is noticed, and several saves in a row are one load', async () => {
  await using directory = await temporaryDirectory('refresh');
  const taken: number[] = [];
  const refresh = new Refresh({
    directory: directory.path,
    load: () => loadConfiguration(directory.path, { cron: () => undefined }),
    take: async ({ jobs }) => void taken.push(jobs.length),
    onProblem: (message) => expect.fail(message),
  });
  await refresh.start();
  // The first look, which may find what came between the daemon's load and now.
  await expect.poll(() => taken).toEqual([0]);
  for (const name of ['a', 'b', 'c']) {
    await writeFile(directory.join(`${name}.yaml`), 'from: /a\nto: ftpes://nas.example.net/x\n');
  }
  await expect.poll(() => taken).toEqual([0, 3]);
  await refresh.stop();
});

test('what is asked for during a load is loaded after it, once', async () => {
  await using directory = await temporaryDirectory('refresh');
  const loads = slowLoads();
  const taken: Configuration[] = [];
  const refresh = new Refresh({
    directory: directory.path,
    load: loads.load,
    take: async (configuration) => void taken.push(configuration),
    onProblem: (message) => expect.fail(message),
  });
  const asked = [refresh.ask(), refresh.ask(), refresh.ask()];
  await settled();
  expect(loads.underWay).toBe(1);
  loads.end();
  await settled();
  expect(loads.underWay).toBe(1);
  loads.end();
  await Promise.all(asked);
  expect(taken).toHaveLength(2);
  await refresh.stop();
  await refresh.ask();
  expect(loads.underWay).toBe(0);
});

test('a load that fails is told, and the next one is taken', async () => {
  await using directory = await temporaryDirectory('refresh');
  const told: string[] = [];
  let broken = true;
  let taken = 0;
  const refresh = new Refresh({
    directory: directory.path,
    load: async () => EMPTY,
    take: async () => {
      if (broken) throw new Error('The ledger is locked.');
      taken += 1;
    },
    onProblem: (message) => told.push(message),
  });
  await refresh.ask();
  expect(told).toEqual([expect.stringMatching(/not all of it could be taken: The ledger is locked\./)]);
  broken = false;
  await refresh.ask();
  expect(taken).toBe(1);
  await refresh.stop();
});

test('stopped in the middle of a load it takes nothing any more', async () => {
  await using directory = await temporaryDirectory('refresh');
  const loads = slowLoads();
  const refresh = new Refresh({
    directory: directory.path,
    load: loads.load,
    take: () => expect.fail('it was stopped'),
    onProblem: (message) => expect.fail(message),
  });
  void refresh.ask();
  await settled();
  const stopped = refresh.stop();
  loads.end();
  await stopped;
});
