/*
 * A clock for a process of its own, which a test sets while that process runs: libfaketime is loaded into it and reads
 * from a file by how much its calendar is off. Its timers go on as they are: the monotonic clock is left alone.
 */
import { existsSync, readdirSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeWhere, unpackedTree } from './real-server.js';

/** The threaded one; Node has threads. */
const LIBRARY = 'faketime/libfaketimeMT.so.1';

/** Path of the library, of the unpacked tree or of the system; undefined where it is missing. */
function findLibrary(): string | undefined {
  for (const lib of [join(unpackedTree(), 'usr/lib'), '/usr/lib']) {
    const found = namesBelow(lib).find((name) => name.endsWith('-linux-gnu') && hasLibrary(join(lib, name)));
    if (found !== undefined) return join(lib, found, LIBRARY);
  }
  return undefined;
}

function hasLibrary(directory: string): boolean {
  return namesBelow(join(directory, 'faketime')).some((name) => LIBRARY.endsWith(`/${name}`));
}

function namesBelow(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A `describe` that needs libfaketime: skips loudly where it is missing, or fails where nothing may be skipped. */
export function describeFakeClock(title: string, suite: () => void): void {
  const advice =
    findLibrary() === undefined
      ? 'libfaketime is not installed: run .ci/servers, or sudo apt-get install libfaketime'
      : undefined;
  describeWhere('a clock that can be set (libfaketime)', advice, title, suite);
}

export class FakeClock {
  readonly #file: string;
  #offMs = 0;

  /** @param file where the clock is kept, in a directory that exists */
  constructor(file: string) {
    this.#file = file;
  }

  /** What a process has to find in its environment. Set the clock first. */
  get environment(): Record<string, string> {
    return {
      LD_PRELOAD: findLibrary() ?? '',
      FAKETIME_TIMESTAMP_FILE: this.#file,
      // Looked into at each call, so that a clock that is set is set at once.
      FAKETIME_NO_CACHE: '1',
      DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  /** From now on it shows this time, and goes on from there. */
  async set(time: string): Promise<void> {
    await this.#keep(Date.parse(time) - Date.now());
  }

  /** Sets it forward by so much, or back: what was to come on a whole second still does. */
  async step(ms: number): Promise<void> {
    await this.#keep(this.#offMs + ms);
  }

  async #keep(offMs: number): Promise<void> {
    this.#offMs = offMs;
    // Renamed into place: a process may read it at any moment.
    await writeFile(`${this.#file}.new`, `${offMs < 0 ? '' : '+'}${(offMs / 1000).toFixed(3)}\n`);
    await rename(`${this.#file}.new`, this.#file);
  }
}

/** Takes away what libfaketime leaves in shared memory of processes that have ended; it never does so itself. */
export async function forgetDeadClocks(): Promise<void> {
  for (const name of namesBelow('/dev/shm')) {
    const pid = /^(?:sem\.)?faketime_(?:shm|sem)_(\d+)$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await rm(join('/dev/shm', name), { force: true });
  }
}
