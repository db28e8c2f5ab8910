/*
 * A local file on its way out: opened without following links, proven to be the file that the scan saw and to
 * lie below the root, hashed as it is read, and looked at again at its end. A small one is read in one go, a large one
 * in large pieces, the next one while the last one is sent.
 */
import { constants } from 'node:fs';
import type { HashAlgorithm } from '../plan/digest.js';
import { type Fingerprint, type LocalFile, sameFingerprint } from '../plan/entry.js';
import type { Disk, OpenFile } from './disk.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './fingerprint.js';
import { createHasher, digestOf } from './hasher.js';
import { longHash } from './long-hash.js';
import { diskOf } from './mounts.js';

/** Each piece wakes other threads, to read and to hash it, and again this one: a tenth of a millisecond in all. */
const READ_BYTES = 2 * 1024 * 1024;

/** A file up to here is read in one go: on a disk of this machine that keeps nobody waiting. */
const SMALL_BYTES = 128 * 1024;

/** Where small files are read to, several of them; it is let go of when the last of them is. */
const ROOM_BYTES = 512 * 1024;

/** Non-blocking, so that a file replaced by a pipe does not hang the open. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** How the bytes are to be read. */
export interface Reading {
  /** The bytes before this one are read and hashed, and not given; 0 unless told. */
  readonly fromByte?: number;
  /** Another digest to compute besides SHA-256. */
  readonly also?: HashAlgorithm | undefined;
}

/** Digests of a whole content, hex digits in lower case. */
export interface Digests {
  readonly sha256: string;
  /** Where another one was asked for. */
  readonly also: string | undefined;
}

export class LocalSource {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** When the file was looked at, before anything was read; for `settledFingerprint`. Milliseconds since 1970. */
  readonly seenAtMs: number;
  readonly #file: LocalFile;
  readonly #open: OpenFile;
  /** Counts the readings: only what the newest one read is confirmed. */
  #reading = 0;
  #digests: Digests | undefined;

  private constructor(file: LocalFile, open: OpenFile, seenAtMs: number) {
    this.#file = file;
    this.#open = open;
    this.seenAtMs = seenAtMs;
    this.sizeBytes = file.sizeBytes;
    this.modifiedMs = file.mtimeMs;
  }

  /**
   * Opens a file that the walk saw.
   *
   * @param root the real path of the root
   * @throws {LocalError} CHANGED where it is another file by now, OUTSIDE where a directory above it was
   *   swapped for a link that leads out of the root, else the system's code
   */
  static async open(root: string, file: LocalFile): Promise<LocalSource> {
    const disk = diskOf(root);
    const path = `${root}/${file.at ?? file.path}`;
    let open: OpenFile;
    try {
      open = await disk.open(path, OPEN_FLAGS);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ELOOP')
        throw new LocalError('ELOOP', `${file.path} was replaced by a link: links are not followed.`);
      // A socket or a device without a driver stands there now.
      if (code === 'ENXIO' || code === 'ENODEV') throw changed(file);
      throw new LocalError(code, localSentence(code, file.path), error);
    }
    try {
      const seenAtMs = Date.now();
      const stats = await open.stat();
      if (!stats.isFile() || stats.dev !== file.device || !sameFingerprint(fingerprintOf(stats), file)) {
        throw changed(file);
      }
      const place = await placeOf(disk, open, path);
      if (place === 'nowhere') throw changed(file);
      if (place === 'elsewhere') {
        throw new LocalError(
          'OUTSIDE',
          `${file.path} is reached through a link that was put in the place of a directory: it is not read.`,
        );
      }
      return new LocalSource(file, open, seenAtMs);
    } catch (error) {
      await open.close();
      throw error;
    }
  }

  /**
   * The file's bytes, read once from the beginning. Ends with an error where the file is not what it was when
   * it was opened, so that a mixed content is never taken for a whole one. May be asked for again: then it
   * starts anew.
   */
  async *chunks({ fromByte = 0, also }: Reading = {}): AsyncGenerator<Buffer> {
    // Its own digests: an earlier reading that was left may still have a piece under way.
    this.#reading += 1;
    const reading = this.#reading;
    this.#digests = undefined;
    const other = also === 'SHA-256' ? undefined : also;
    const isSmall = this.sizeBytes <= SMALL_BYTES;
    const digests = yield* isSmall ? this.#inOneGo(fromByte, other) : this.#inPieces(fromByte, other);
    if (!sameFingerprint(await this.#look(), this.#file)) throw changed(this.#file);
    if (reading === this.#reading)
      this.#digests = also === 'SHA-256' ? { ...digests, also: digests.sha256 } : digests;
  }

  async *#inOneGo(fromByte: number, also: HashAlgorithm | undefined): AsyncGenerator<Buffer, Digests> {
    // One byte more than there should be: a read that does not fill it has come to the end.
    const buffer = roomFor(this.sizeBytes + 1);
    let length = 0;
    for (let bytesRead = -1; bytesRead !== 0 && length < Math.max(1, this.sizeBytes); length += bytesRead) {
      bytesRead = await this.#read(buffer.subarray(length), length);
    }
    if (length !== this.sizeBytes) throw changed(this.#file);
    const content = buffer.subarray(0, length);
    const sha256 = digestOf('SHA-256', content);
    const other = also === undefined ? undefined : digestOf(also, content);
    if (fromByte < length) yield content.subarray(fromByte);
    return { sha256, also: other };
  }

  async *#inPieces(fromByte: number, also: HashAlgorithm | undefined): AsyncGenerator<Buffer, Digests> {
    using hash = longHash(this.sizeBytes);
    const other = also === undefined ? undefined : createHasher(also);
    const sizeBytes = Math.min(READ_BYTES, this.sizeBytes + 1);
    // Two buffers in turn: one is being sent and hashed while the other is filled.
    let filling = hash.room(sizeBytes);
    let sending = hash.room(sizeBytes);
    let hashed: Promise<void> = Promise.resolve();
    let position = 0;
    let next = this.#readBeside(filling, position);
    for (;;) {
      const bytesRead = await next;
      if (bytesRead === 0) break;
      const skipped = Math.min(bytesRead, Math.max(0, fromByte - position));
      position += bytesRead;
      if (position > this.sizeBytes) throw changed(this.#file);
      const chunk = filling.subarray(0, bytesRead);
      [filling, sending] = [sending, filling];
      // It was sent when this chunk was asked for.
      await hashed;
      next = this.#readBeside(filling, position);
      // Where the consumer leaves early, nobody awaits these; their failure is then of no interest.
      next.catch(() => {});
      hashed = hash.update(chunk);
      hashed.catch(() => {});
      other?.update(chunk);
      if (skipped < bytesRead) yield chunk.subarray(skipped);
    }
    if (position !== this.sizeBytes) throw changed(this.#file);
    return { sha256: await hash.digest(), also: other?.digest() };
  }

  /**
   * The digest of the first bytes alone: what a part of this file must have.
   *
   * @throws {LocalError} CHANGED where the file is shorter, or not what it was when it was opened
   */
  async digestOf(bytes: number, algorithm: HashAlgorithm): Promise<string> {
    const hash = createHasher(algorithm);
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(READ_BYTES, bytes)));
    for (let position = 0; position < bytes; ) {
      const bytesRead = await this.#readBeside(buffer.subarray(0, bytes - position), position);
      if (bytesRead === 0) throw changed(this.#file);
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
    if (!sameFingerprint(await this.#look(), this.#file)) throw changed(this.#file);
    return hash.digest();
  }

  /** @returns the digests of what `chunks` read; throws CHANGED where it did not come to its end or the file moved on since. */
  async confirm(): Promise<Digests> {
    if (this.#digests === undefined || !sameFingerprint(await this.#look(), this.#file))
      throw changed(this.#file);
    return this.#digests;
  }

  async close(): Promise<void> {
    await this.#open.close();
  }

  async #look(): Promise<Fingerprint> {
    return fingerprintOf(await this.#open.stat());
  }

  async #read(buffer: Buffer, position: number): Promise<number> {
    try {
      return await this.#open.read(buffer, position);
    } catch (error) {
      throw unreadable(this.#file, error);
    }
  }

  async #readBeside(buffer: Buffer, position: number): Promise<number> {
    try {
      return await this.#open.readBeside(buffer, position);
    } catch (error) {
      throw unreadable(this.#file, error);
    }
  }
}

/** Whether the open file really stands at this path, no link in between; `nowhere` where it was deleted since. */
async function placeOf(disk: Disk, open: OpenFile, path: string): Promise<'here' | 'elsewhere' | 'nowhere'> {
  let real: string;
  try {
    real = await disk.readlink(`/proc/self/fd/${open.fd}`);
  } catch {
    // No /proc here: ask for the path's real form.
    real = await disk.realpath(path);
  }
  if (real === path) return 'here';
  return (await open.stat()).nlink === 0 ? 'nowhere' : 'elsewhere';
}

let room = Buffer.alloc(0);

/** Many small buffers of their own would keep the garbage collector busy. */
function roomFor(bytes: number): Buffer {
  if (room.length < bytes) room = Buffer.allocUnsafeSlow(Math.max(ROOM_BYTES, bytes));
  const taken = room.subarray(0, bytes);
  room = room.subarray(bytes);
  return taken;
}

function unreadable(file: LocalFile, error: unknown): LocalError {
  const code = codeOf(error);
  return new LocalError(code, localSentence(code, file.path), error);
}

function changed(file: LocalFile): LocalError {
  return new LocalError('CHANGED', `${file.path} was changed while it was read.`);
}
