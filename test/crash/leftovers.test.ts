/*
 * What a run leaves undone without being killed, and what a kill leaves on servers with ways of their own: the next run
 * makes it good by the intents, and an intent that nobody can carry out is not kept for ever.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { trialsOf } from '../../src/run/recover.js';
import { type VoyageOptions, World } from '../run/support/voyage.js';
import type { Fault } from '../support/ftp-server/fault.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

async function open(options: VoyageOptions): Promise<void> {
  world = await World.open(options);
  mkdirSync(world.remote(''), { recursive: true });
}

describe('a directory that deletions left empty', () => {
  const deliver = async (): Promise<void> => {
    await open({ job: { mode: 'mirror' } });
    await world.put('keep');
    await world.put('d/e/a');
    await world.run();
    await rm(world.local('d'), { recursive: true });
  };

  it.each<[string, Fault]>([
    ['the connection is lost', { kind: 'reset' }],
    ['the server has no time', { kind: 'reply', text: '450 Directory is busy.' }],
  ])('goes with the next run where %s', async (_why, fault) => {
    await deliver();
    world.server.script({ on: 'RMD', do: fault });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(existsSync(world.remote('d/e'))).toBe(true);
    expect(world.intents()).toMatchObject([{ path: 'd/e/' }]);
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(existsSync(world.remote('d'))).toBe(false);
    expect(world.intents()).toEqual([]);
    const { connections } = world.server.journal;
    await world.run();
    expect(world.server.journal.connections).toBe(connections);
  });

  it('stays where the server refuses for good to remove it, and nobody asks again', async () => {
    await deliver();
    world.server.script({ on: 'RMD', times: 10, do: { kind: 'reply', text: '550 Permission denied.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(world.intents()).toEqual([]);
    const { connections } = world.server.journal;
    await world.run();
    expect(world.server.journal.connections).toBe(connections);
  });

  it('stays where something else is in it', async () => {
    await deliver();
    await world.putRemote('d/other');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(existsSync(world.remote('d/e'))).toBe(false);
    expect(existsSync(world.remote('d/other'))).toBe(true);
    expect(world.intents()).toEqual([]);
  });
});

it('what a trial has left under another name than it was given goes too', async () => {
  await open({ server: { names: 'pure-ftpd' } });
  const { ledger } = world;
  await world.run();
  const [last] = ledger.lastRuns('nightly', 1);
  const directory = 'ferryd-0123456789abcdef.part';
  mkdirSync(world.remote(directory));
  writeFileSync(world.remote(`${directory}/_x`), '');
  const where = { binding: world.binding, run: last?.id ?? 0 };
  const context = { ledger, accounts: { of: () => Promise.reject() }, listener: () => {}, trigger: '' };
  trialsOf({ ...where, context }).begin(`${directory}/ x`);
  expect(await world.run()).toMatchObject({ outcome: 'ok' });
  expect(existsSync(world.remote(directory))).toBe(false);
  expect(world.intents()).toEqual([]);
});
