/*
 * A disk that fills under the ledger: the run ends with a sentence and sends nothing more, and once there is room the
 * next run goes on from there, in the same process as in a new one.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { tendWhenDue } from '../../src/run/tend.js';
import { describeMounted, mounted } from '../local/mounted.js';
import { World } from './support/voyage.js';

const MIB = 1024 * 1024;

let world: World;
let disk: Disposable | undefined;
afterEach(async () => {
  world.closeLedger();
  disk?.[Symbol.dispose]();
  disk = undefined;
  await world[Symbol.asyncDispose]();
});

async function openSmall(): Promise<{ readonly ballast: string }> {
  world = await World.open();
  mkdirSync(world.directory.join('ledger'));
  disk = mounted('tmpfs', world.directory.join('ledger'), 16 * MIB);
  // Opened while there is room.
  expect(world.ledger.lastRuns(undefined, 1)).toEqual([]);
  return { ballast: join(world.directory.join('ledger'), 'ballast') };
}

describeMounted('a disk that fills under the ledger', () => {
  it.each(['the same process', 'a new one'] as const)(
    'ends the run in good order; with room %s goes on',
    async (who) => {
      const { ballast } = await openSmall();
      const long = 'n'.repeat(180);
      for (let i = 0; i < 300; i += 1) await world.put(`${long}/${long}/f${i}`, `${i}`);
      world.server.on('command', (verb) => {
        if (verb === 'STOR' && world.stores === 40) fill(ballast);
      });
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed' });
      expect(report.failure?.message).toMatch(/The disk under the ledger .* is full/);
      expect(world.told('file.deleted')).toEqual([]);
      const sent = world.stores;
      expect(sent).toBeLessThan(300);
      // Without room it fares no better, and does no harm.
      expect(await world.run()).toMatchObject({ outcome: 'failed' });
      expect(world.stores).toBe(sent);

      rmSync(ballast);
      if (who === 'a new one') world.closeLedger();
      const next = await world.run();
      expect(next).toMatchObject({ outcome: 'ok', failure: undefined });
      world.expectConverged();
      expect(world.known()).toHaveLength(300);
      // What had arrived and was not written down was found out again.
      expect(world.stores).toBeLessThan(300 + 64);
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, unchanged: 300 } });
    },
  );

  it('is no reason for its care to fail the daemon', async () => {
    const { ballast } = await openSmall();
    await world.put('f');
    await world.run();
    const told: string[] = [];
    const tend = () =>
      tendWhenDue({
        ledger: world.ledger,
        listener: (event) => told.push(`${event.event}: ${'message' in event ? event.message : ''}`),
        keepMs: -1_000_000,
        maxMs: 10_000,
        nowMs: Date.now(),
      });
    for (let i = 0; i < 5; i += 1) await world.run();
    fill(ballast);
    expect(await tend()).toBe('failed');
    expect(told).toEqual([expect.stringMatching(/^ledger\.problem: The disk under the ledger .* is full/)]);
    rmSync(ballast);
    expect(await tend()).toBe('tended');
    expect(told.at(-1)).toMatch(/^ledger\.tended: 5 old runs left the history\.$/);
    expect(await tend()).toBe('not-due');
  });
});

/** All that is left. */
function fill(ballast: string): void {
  for (let bytes = 16 * MIB; bytes >= 512; bytes /= 2) {
    try {
      writeFileSync(ballast, Buffer.alloc(bytes), { flag: 'a' });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
}
