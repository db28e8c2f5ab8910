/*
 * File systems of one's own, mounted over a directory for the time of a test: small ones that run full, ones that are
 * another disk, ones with coarse clocks. Only root may mount; where that cannot be had, tests say so and are skipped.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';

/** `tmpfs` has a size. `ramfs` has none, and its times are those of the kernel's ticks. */
export type Kind = 'tmpfs' | 'ramfs';

/** Mounts over a directory that exists; disposing of it takes the mount away. */
export function mounted(kind: Kind, directory: string, sizeBytes?: number): Disposable {
  const options = kind === 'tmpfs' && sizeBytes !== undefined ? ['-o', `size=${sizeBytes}`] : [];
  execFileSync('mount', ['-t', kind, ...options, kind, directory]);
  // Lazily: a test that fails may hold something open in it.
  return { [Symbol.dispose]: () => void execFileSync('umount', ['-l', directory]) };
}

/** `describe` where file systems can be mounted. */
export function describeMounted(title: string, suite: () => void): void {
  if (mayMount()) {
    describe(title, suite);
    return;
  }
  // Said and not counted: a machine that checks the rest need not let anybody mount.
  process.stderr.write(`\n*** SKIPPED: ${title}. It needs root, to mount file systems.\n\n`);
}

let may: boolean | undefined;
function mayMount(): boolean {
  may ??= process.getuid?.() === 0 && mounts();
  return may;
}

function mounts(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'ferryd-mount-'));
  const done = spawnSync('mount', ['-t', 'ramfs', 'ramfs', directory]).status === 0;
  if (done) execFileSync('umount', [directory]);
  rmdirSync(directory);
  return done;
}

/** `it` where devices can be made. */
export function itWithDevices(title: string, test: () => Promise<void>): void {
  if (process.getuid?.() === 0) it(title, test);
  else process.stderr.write(`\n*** SKIPPED: ${title}. It needs root, to make a device.\n\n`);
}
