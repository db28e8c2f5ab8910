/*
 * What the tests of the local side share: errors as values, and descriptors that were left open.
 */
import { constants, readdirSync, readlinkSync } from 'node:fs';
import type { OpenFile } from '../../src/local/disk.js';
import { LocalError } from '../../src/local/error.js';
import { diskOf } from '../../src/local/mounts.js';
import type { Sight } from '../../src/local/sight.js';

/** Where a sight lies. */
export function pathOf(sight: Sight): string {
  if (sight.kind === 'file') return sight.file.path;
  return sight.kind === 'link' ? sight.link.path : sight.path;
}

/** What a walk tells, one after the other. */
export async function sightsOf(walking: AsyncIterable<readonly Sight[]>): Promise<Sight[]> {
  const all: Sight[] = [];
  for await (const sights of walking) all.push(...sights);
  return all;
}

/** The LocalError that the work ends with; anything else fails the test. */
export async function localError(work: Promise<unknown>): Promise<LocalError> {
  const error = await work.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof LocalError) return error;
  throw error;
}

/** An error as the system throws it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

/** What this process holds open below a directory. */
export function openBelow(directory: string): string[] {
  const open: string[] = [];
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`);
      if (target.startsWith(directory)) open.push(target);
    } catch {
      // The descriptor that read the directory itself is gone by now.
    }
  }
  return open;
}

/** What all files share that are open the way this one would be: there a test stands between ferryd and the disk. */
export async function openPrototype(path: string): Promise<OpenFile> {
  const open = await diskOf(path).open(path, constants.O_RDONLY);
  await open.close();
  return Object.getPrototypeOf(open) as OpenFile;
}
