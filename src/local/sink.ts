/*
 * A file on its way in: written to an exclusive temporary name beside its final one, flushed to the disk,
 * given its time, and renamed. Nothing half written ever stands under a final name. Directories on the way
 * are made and proven to lie below the root, so that a link cannot lead the write elsewhere.
 */
import { createHash } from 'node:crypto';
import { constants, promises as fs } from 'node:fs';
import type { Fingerprint, RelativePath } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './walk.js';

export interface SinkOptions {
  /** Real path of the root. */
  readonly root: string;
  readonly path: RelativePath;
  readonly temporary: RelativePath;
}

export class LocalSink {
  readonly #options: SinkOptions;
  readonly #handle: fs.FileHandle;
  #hash = createHash('sha256');
  #bytes = 0;

  private constructor(options: SinkOptions, handle: fs.FileHandle) {
    this.#options = options;
    this.#handle = handle;
  }

  /** @throws {LocalError} OUTSIDE where a directory on the way is a link, else the system's code */
  static async open(options: SinkOptions): Promise<LocalSink> {
    const { root, path, temporary } = options;
    try {
      await makeParents(root, path);
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      return new LocalSink(options, await fs.open(`${root}/${temporary}`, flags, 0o600));
    } catch (error) {
      if (error instanceof LocalError) throw error;
      throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
    }
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    try {
      for (let rest = chunk; rest.length > 0; ) {
        const { bytesWritten } = await this.#handle.write(rest);
        rest = rest.subarray(bytesWritten);
      }
    } catch (error) {
      throw new LocalError(codeOf(error), localSentence(codeOf(error), this.#options.path), error);
    }
  }

  /**
   * Flushes, sets the time where one is known, and renames onto the final name.
   *
   * @returns what the file looks like now, and its SHA-256
   */
  async publish(
    modifiedMs: number | undefined,
  ): Promise<{ local: Fingerprint; sha256: string; bytes: number }> {
    const { root, path, temporary } = this.#options;
    try {
      if (modifiedMs !== undefined) await this.#handle.utimes(modifiedMs / 1000, modifiedMs / 1000);
      await this.#handle.chmod(0o644 & ~process.umask());
      await this.#handle.sync();
      await fs.rename(`${root}/${temporary}`, `${root}/${path}`);
      const local = fingerprintOf(await this.#handle.stat());
      await syncDirectory(`${root}/${path.slice(0, path.lastIndexOf('/') + 1)}`);
      return { local, sha256: this.#hash.digest('hex'), bytes: this.#bytes };
    } catch (error) {
      throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
    } finally {
      await this.#handle.close();
    }
  }

  /** Throws the part away. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await fs.rm(`${this.#options.root}/${this.#options.temporary}`, {
      force: true,
    });
  }
}

/** One directory after the other, because a recursive mkdir would make them behind a link too. */
async function makeParents(root: string, path: RelativePath): Promise<void> {
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
    const parent = path.slice(0, end);
    const directory = `${root}/${parent}`;
    const there = await fs.lstat(directory).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (there === undefined) {
      await fs.mkdir(directory).catch((error: unknown) => {
        // Another download made it in the meantime.
        if (codeOf(error) !== 'EEXIST') throw error;
      });
    } else if (there.isSymbolicLink()) {
      throw new LocalError('OUTSIDE', `${parent} is a link here: nothing is written behind it.`);
    } else if (!there.isDirectory()) {
      throw new LocalError('EISDIR', `${parent} is a file here, and a directory on the server.`);
    }
  }
  const deepest = `${root}/${path.slice(0, path.lastIndexOf('/') + 1)}`;
  if (path.includes('/') && `${await fs.realpath(deepest)}/` !== deepest) {
    throw new LocalError('OUTSIDE', `${path} is reached through a link: nothing is written there.`);
  }
}

/** Without this the rename may be forgotten by a power cut. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
