/*
 * The ledger of a world as a backup has it: kept at one moment, put back at a later one. Or lost, with no backup.
 */
import { cpSync, rmSync } from 'node:fs';
import type { World } from './voyage.js';

/** Keeps a copy of the ledger; one that was kept before is forgotten. */
export function saveLedger(world: World): void {
  world.closeLedger();
  rmSync(world.directory.join('saved'), { recursive: true, force: true });
  cpSync(world.directory.join('ledger'), world.directory.join('saved'), { recursive: true });
}

/** Puts the copy in the ledger's place. */
export function restoreLedger(world: World): void {
  world.closeLedger();
  rmSync(world.directory.join('ledger'), { recursive: true, force: true });
  cpSync(world.directory.join('saved'), world.directory.join('ledger'), { recursive: true });
}

/** The disk has lost it. */
export function loseLedger(world: World): void {
  world.closeLedger();
  rmSync(world.directory.join('ledger'), { recursive: true, force: true });
}
