/*
 * A file on its way in: written to an exclusive temporary name beside its final one, flushed to the disk,
 * given its time, and renamed. Nothing half written ever stands under a final name. Directories on the way
 * are made and proven to lie below the root, so that a link cannot lead the write elsewhere.
 */
import { constants, promises as fs } from 'node:fs';
import type { Digest } from '../plan/digest.js';
import type { Fingerprint, RelativePath } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { createHasher } from './hasher.js';
import { PERMISSION_BITS } from './permissions.js';
import { fingerprintOf } from './walk.js';

export interface SinkOptions {
  /** Real path of the root. */
  readonly root: string;
  readonly path: RelativePath;
  readonly temporary: RelativePath;
}

/** What a transfer that broke off has left under the temporary name: proven by its hash before it is gone on with. */
export interface Part {
  readonly bytes: number;
  readonly sha256: string;
}

const READ_BYTES = 1024 * 1024;

export class LocalSink {
  readonly #options: SinkOptions;
  readonly #handle: fs.FileHandle;
  readonly #hash = createHasher('SHA-256');
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
      // Readable too, since a part is proven by reading it.
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      return new LocalSink(options, await fs.open(`${root}/${temporary}`, flags, 0o600));
    } catch (error) {
      if (error instanceof LocalError) throw error;
      throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
    }
  }

  /**
   * Goes on with a part that `suspend` left.
   *
   * @returns undefined where what stands there is not that part any more; it is taken away then
   * @throws {LocalError} as `open`
   */
  static async resume(options: SinkOptions, part: Part): Promise<LocalSink | undefined> {
    const { root, path, temporary } = options;
    const name = `${root}/${temporary}`;
    try {
      await makeParents(root, path);
      const handle = await fs.open(name, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const sink = new LocalSink(options, handle);
      if (await sink.#takesOver(part)) return sink;
      await sink.discard();
      return undefined;
    } catch (error) {
      if (error instanceof LocalError) throw error;
      await fs.rm(name, { force: true });
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return undefined;
      throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
    }
  }

  /** How many bytes stand under the temporary name. */
  get bytes(): number {
    return this.#bytes;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    try {
      for (let rest = chunk; rest.length > 0; ) {
        const { bytesWritten } = await this.#handle.write(rest, 0, rest.length, this.#bytes);
        rest = rest.subarray(bytesWritten);
        this.#bytes += bytesWritten;
      }
    } catch (error) {
      throw new LocalError(codeOf(error), localSentence(codeOf(error), this.#options.path), error);
    }
  }

  /** Whether what was written has this digest; reads it back where it is another one than SHA-256. */
  async holds({ algorithm, hex }: Digest): Promise<boolean> {
    if (algorithm === 'SHA-256') return this.#hash.digest() === hex;
    const hash = createHasher(algorithm);
    for await (const chunk of this.#written()) hash.update(chunk);
    return hash.digest() === hex;
  }

  /** Leaves off and keeps the part, for `resume`. */
  async suspend(): Promise<Part> {
    await this.#handle.close();
    return { bytes: this.#bytes, sha256: this.#hash.digest() };
  }

  /**
   * Flushes, sets the time where one is known, and renames onto the final name.
   *
   * @param permissions of the file, at most 0o777 of them; those of a new file where they are not told
   * @returns what the file looks like now, and its SHA-256
   */
  async publish(
    modifiedMs: number | undefined,
    permissions?: number,
  ): Promise<{ local: Fingerprint; sha256: string; bytes: number }> {
    const { root, path, temporary } = this.#options;
    try {
      if (modifiedMs !== undefined) await this.#handle.utimes(modifiedMs / 1000, modifiedMs / 1000);
      await this.#handle.chmod(
        permissions === undefined ? 0o644 & ~process.umask() : permissions & PERMISSION_BITS,
      );
      await this.#handle.sync();
      await fs.rename(`${root}/${temporary}`, `${root}/${path}`);
      const local = fingerprintOf(await this.#handle.stat());
      await syncDirectory(`${root}/${path.slice(0, path.lastIndexOf('/') + 1)}`);
      return { local, sha256: this.#hash.digest(), bytes: this.#bytes };
    } catch (error) {
      throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
    } finally {
      await this.#handle.close();
    }
  }

  /** Reads a file that may be a part, and takes it over where it is. */
  async #takesOver(part: Part): Promise<boolean> {
    const stats = await this.#handle.stat();
    if (!stats.isFile() || stats.nlink !== 1 || stats.size !== part.bytes) return false;
    this.#bytes = part.bytes;
    for await (const chunk of this.#written()) this.#hash.update(chunk);
    return this.#hash.digest() === part.sha256;
  }

  async *#written(): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(READ_BYTES, this.#bytes)));
    for (let position = 0; position < this.#bytes; ) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
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
