/*
 * Temporary directories that are gone afterwards, also where a test left something unreadable in them.
 * Meant for `await using`.
 */
import { chmod, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of one's own; disposed of with everything in it. */
export interface TemporaryDirectory extends AsyncDisposable {
  /** Real path: no link on the way. */
  readonly path: string;
  /** A path below it. */
  join(...parts: string[]): string;
  /** Removes it. Safe to call twice. */
  remove(): Promise<void>;
}

/** Makes an empty directory below the system's temporary one; its name begins with `ferryd-`. */
export async function temporaryDirectory(name = 'test'): Promise<TemporaryDirectory> {
  const path = await realpath(await mkdtemp(join(tmpdir(), `ferryd-${name}-`)));
  const remove = async (): Promise<void> => {
    await openUp(path);
    await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  };
  return { path, join: (...parts) => join(path, ...parts), remove, [Symbol.asyncDispose]: remove };
}

/** Directories that a test made read-only cannot be emptied by an ordinary user otherwise. */
async function openUp(directory: string): Promise<void> {
  await chmod(directory, 0o700).catch(() => undefined);
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await openUp(join(directory, entry.name));
}
