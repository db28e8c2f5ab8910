/*
 * A file on its way in: written to an exclusive temporary name beside its final one, flushed to the disk,
 * given its time, and renamed; what it replaces is kept where that is wanted (aside.ts). Nothing half written ever
 * stands under a final name. Directories on the way are made and proven to lie below the root (place.ts), so that a
 * link cannot lead the write elsewhere.
 */
import { constants } from 'node:fs';
import type { Digest } from '../plan/digest.js';
import type { Fingerprint, RelativePath } from '../plan/entry.js';
import { replaceAndKeep } from './aside.js';
import type { OpenFile } from './disk.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { createHasher } from './hasher.js';
import { type LongHash, longHash } from './long-hash.js';
import { diskOf } from './mounts.js';
import { PERMISSION_BITS } from './permissions.js';
import { makeDirectories, split, within } from './place.js';

export interface SinkOptions {
  /** Real path of the root. */
  readonly root: string;
  readonly path: RelativePath;
  /** In the same directory as `path`. */
  readonly temporary: RelativePath;
  /** How much is expected to come: 0 unless told. */
  readonly sizeBytes?: number;
}

/** A file that is in its place. */
export interface Published {
  /** What it looks like now. */
  readonly local: Fingerprint;
  /** When that was looked at, for `settledFingerprint`: milliseconds since 1970. */
  readonly seenAtMs: number;
  readonly sha256: string;
  readonly bytes: number;
  /** True where something stood in its place and is kept under `aside`. */
  readonly setAside: boolean;
}

/** What a transfer that broke off has left under the temporary name: proven by its hash before it is gone on with. */
export interface Part {
  readonly bytes: number;
  readonly sha256: string;
}

const READ_BYTES = 1024 * 1024;

/** What comes behind that keeps nobody waiting while it is written: a disk may be slower than the link. */
const SMALL_BYTES = 128 * 1024;

export class LocalSink {
  readonly #options: SinkOptions;
  readonly #open: OpenFile;
  readonly #hash: LongHash;
  #bytes = 0;

  private constructor(options: SinkOptions, open: OpenFile) {
    this.#options = options;
    this.#open = open;
    this.#hash = longHash(options.sizeBytes ?? 0);
  }

  /** @throws {LocalError} OUTSIDE where a directory on the way is a link, else the system's code */
  static async open(options: SinkOptions): Promise<LocalSink> {
    // Readable too, since a part is proven by reading it.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const disk = diskOf(options.root);
    return told(options.path, () =>
      inDirectory(
        options,
        async (temporary) => new LocalSink(options, await disk.open(temporary, flags, 0o600)),
      ),
    );
  }

  /**
   * Goes on with a part that `suspend` left.
   *
   * @returns undefined where what stands there is not that part any more; it is taken away then
   * @throws {LocalError} as `open`
   */
  static async resume(options: SinkOptions, part: Part): Promise<LocalSink | undefined> {
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const disk = diskOf(options.root);
    return told(options.path, () =>
      inDirectory(options, async (temporary) => {
        let open: OpenFile;
        try {
          open = await disk.open(temporary, flags);
        } catch (error) {
          await disk.unlink(temporary);
          if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return undefined;
          throw error;
        }
        const sink = new LocalSink(options, open);
        let isPart = false;
        try {
          isPart = await sink.#takesOver(part);
        } finally {
          if (!isPart) await sink.discard();
        }
        return isPart ? sink : undefined;
      }),
    );
  }

  /** How many bytes stand under the temporary name. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when the chunk is written and hashed, and may be filled anew; rejects when nobody is at it any more. */
  async write(chunk: Buffer): Promise<void> {
    const both = await Promise.allSettled([this.#put(chunk), this.#hash.update(chunk)]);
    for (const done of both) if (done.status === 'rejected') throw done.reason;
  }

  async #put(chunk: Buffer): Promise<void> {
    try {
      for (let rest = chunk; rest.length > 0; ) {
        const bytesWritten =
          this.#bytes + rest.length <= SMALL_BYTES
            ? await this.#open.write(rest, this.#bytes)
            : await this.#open.writeBeside(rest, this.#bytes);
        rest = rest.subarray(bytesWritten);
        this.#bytes += bytesWritten;
      }
    } catch (error) {
      throw new LocalError(codeOf(error), localSentence(codeOf(error), this.#options.path), error);
    }
  }

  /** Whether what was written has this digest; reads it back where it is another one than SHA-256. */
  async holds({ algorithm, hex }: Digest): Promise<boolean> {
    if (algorithm === 'SHA-256') return (await this.#hash.digest()) === hex;
    const hash = createHasher(algorithm);
    for await (const chunk of this.#written()) hash.update(chunk);
    return hash.digest() === hex;
  }

  /** Leaves off and keeps the part, for `resume`; undefined where it could not be proven then, and is taken away. */
  async suspend(): Promise<Part | undefined> {
    using hash = this.#hash;
    const sha256 = await hash.digest().catch(() => undefined);
    if (sha256 === undefined) {
      await this.discard();
      return undefined;
    }
    await this.#open.close();
    return { bytes: this.#bytes, sha256 };
  }

  /**
   * Flushes, sets the time where one is known, and renames onto the final name.
   *
   * @param permissions of the file, at most 0o777 of them; those of a new file where they are not told
   * @param aside what stands under the final name goes there first, directories made; undefined: it is overwritten
   * @throws {LocalError} HASH where the digest of what was written was lost, ASIDE where something else stands there
   *   already, OUTSIDE where a directory has become a link, else the system's code; what stood under the final name
   *   stands there still
   */
  async publish(
    modifiedMs: number | undefined,
    permissions?: number,
    aside?: RelativePath,
  ): Promise<Published> {
    const { root, path, temporary } = this.#options;
    const { above, name } = split(path);
    try {
      return await told(path, async () => {
        if (modifiedMs !== undefined) await this.#open.utimes(modifiedMs, modifiedMs);
        await this.#open.chmod(
          permissions === undefined ? 0o644 & ~process.umask() : permissions & PERMISSION_BITS,
        );
        await this.#open.sync();
        const sha256 = await this.#hash.digest();
        return within(root, above, async (here) => {
          const fresh = split(temporary).name;
          let setAside = false;
          if (aside === undefined) await diskOf(root).rename(`${here.at}/${fresh}`, `${here.at}/${name}`);
          else setAside = await replaceAndKeep({ root, path, aside, here, temporary: fresh });
          const seenAtMs = Date.now();
          const local = fingerprintOf(await this.#open.stat());
          await here.sync();
          return { local, seenAtMs, sha256, bytes: this.#bytes, setAside };
        });
      });
    } finally {
      this.#hash[Symbol.dispose]();
      await this.#open.close();
    }
  }

  /** Reads a file that may be a part, and takes it over where it is. */
  async #takesOver(part: Part): Promise<boolean> {
    const stats = await this.#open.stat();
    if (!stats.isFile() || stats.nlink !== 1 || stats.size !== part.bytes) return false;
    this.#bytes = part.bytes;
    for await (const chunk of this.#written()) await this.#hash.update(chunk);
    return (await this.#hash.digest()) === part.sha256;
  }

  async *#written(): AsyncGenerator<Buffer> {
    const buffer = this.#hash.room(Math.max(1, Math.min(READ_BYTES, this.#bytes)));
    for (let position = 0; position < this.#bytes; ) {
      const bytesRead = await this.#open.readBeside(buffer, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Throws the part away. */
  async discard(): Promise<void> {
    const { root, path, temporary } = this.#options;
    this.#hash[Symbol.dispose]();
    try {
      await this.#open.close();
    } catch {
      // What could not be flushed is thrown away.
    }
    try {
      await within(root, split(path).above, ({ at }) =>
        diskOf(root).unlink(`${at}/${split(temporary).name}`),
      );
    } catch (error) {
      // Its directory is gone, or something else stands in its place: there is nothing of ours any more.
      if (!['ENOENT', 'ENOTDIR', 'OUTSIDE'].includes(codeOf(error))) throw error;
    }
  }
}

/** Makes the directory of a file, and works on the temporary name in it. */
async function inDirectory<T>(
  { root, path, temporary }: SinkOptions,
  work: (temporary: string) => Promise<T>,
): Promise<T> {
  const { above } = split(path);
  await makeDirectories(root, above);
  return within(root, above, ({ at }) => work(`${at}/${split(temporary).name}`));
}

/** Turns the system's errors into sentences. */
async function told<T>(path: RelativePath, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LocalError) throw error;
    throw new LocalError(codeOf(error), localSentence(codeOf(error), path), error);
  }
}
