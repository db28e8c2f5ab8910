/*
 * A local file on its way out: opened without following links, proven to be the file that the scan saw and to
 * lie below the root, hashed as it is read, and looked at again at its end. Reads in large pieces, the next
 * one while the last one is sent.
 */
import { createHash } from 'node:crypto';
import { constants, promises as fs } from 'node:fs';
import { type Fingerprint, type LocalFile, sameFingerprint } from '../plan/entry.js';
import { codeOf, LocalError, localSentence } from './error.js';
import { fingerprintOf } from './walk.js';

const READ_BYTES = 1024 * 1024;

/** Non-blocking, so that a file replaced by a pipe does not hang the open. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class LocalSource {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly #file: LocalFile;
  readonly #handle: fs.FileHandle;
  /** Counts the readings: only what the newest one read is confirmed. */
  #reading = 0;
  #digest: string | undefined;

  private constructor(file: LocalFile, handle: fs.FileHandle) {
    this.#file = file;
    this.#handle = handle;
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
    const path = `${root}/${file.path}`;
    let handle: fs.FileHandle;
    try {
      handle = await fs.open(path, OPEN_FLAGS);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ELOOP')
        throw new LocalError('ELOOP', `${file.path} was replaced by a link: links are not followed.`);
      // A socket or a device without a driver stands there now.
      if (code === 'ENXIO' || code === 'ENODEV') throw changed(file);
      throw new LocalError(code, localSentence(code, file.path), error);
    }
    try {
      const stats = await handle.stat();
      if (!stats.isFile() || stats.dev !== file.device || !sameFingerprint(fingerprintOf(stats), file)) {
        throw changed(file);
      }
      const place = await placeOf(handle, path);
      if (place === 'nowhere') throw changed(file);
      if (place === 'elsewhere') {
        throw new LocalError(
          'OUTSIDE',
          `${file.path} is reached through a link that was put in the place of a directory: it is not read.`,
        );
      }
      return new LocalSource(file, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * The file's bytes, read once from the beginning. Ends with an error where the file is not what it was when
   * it was opened, so that a mixed content is never taken for a whole one. May be asked for again: then it
   * starts anew.
   */
  async *chunks(): AsyncGenerator<Buffer> {
    // Its own hash: an earlier reading that was left may still have a piece under way.
    const hash = createHash('sha256');
    this.#reading += 1;
    const reading = this.#reading;
    this.#digest = undefined;
    const sizeBytes = Math.max(1, Math.min(READ_BYTES, this.sizeBytes + 1));
    // Two buffers in turn: one is being sent while the other is filled.
    let filling = Buffer.allocUnsafe(sizeBytes);
    let sending = this.sizeBytes >= READ_BYTES ? Buffer.allocUnsafe(sizeBytes) : filling;
    let position = 0;
    let next = this.#read(filling, position);
    for (;;) {
      const bytesRead = await next;
      if (bytesRead === 0) break;
      position += bytesRead;
      if (position > this.sizeBytes) throw changed(this.#file);
      const chunk = filling.subarray(0, bytesRead);
      hash.update(chunk);
      if (sending === filling) {
        yield chunk;
        next = this.#read(filling, position);
      } else {
        [filling, sending] = [sending, filling];
        next = this.#read(filling, position);
        // Where the consumer leaves early, nobody awaits this read; its failure is then of no interest.
        next.catch(() => {});
        yield chunk;
      }
    }
    if (position !== this.sizeBytes || !sameFingerprint(await this.#look(), this.#file))
      throw changed(this.#file);
    if (reading === this.#reading) this.#digest = hash.digest('hex');
  }

  /** @returns SHA-256 of what `chunks` gave; throws CHANGED where it did not come to its end or the file moved on since. */
  async confirm(): Promise<string> {
    if (this.#digest === undefined || !sameFingerprint(await this.#look(), this.#file))
      throw changed(this.#file);
    return this.#digest;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #look(): Promise<Fingerprint> {
    return fingerprintOf(await this.#handle.stat());
  }

  async #read(buffer: Buffer, position: number): Promise<number> {
    try {
      return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead;
    } catch (error) {
      const code = codeOf(error);
      throw new LocalError(code, localSentence(code, this.#file.path), error);
    }
  }
}

/** Whether the open file really stands at this path, no link in between; `nowhere` where it was deleted since. */
async function placeOf(handle: fs.FileHandle, path: string): Promise<'here' | 'elsewhere' | 'nowhere'> {
  let real: string;
  try {
    real = await fs.readlink(`/proc/self/fd/${handle.fd}`);
  } catch {
    // No /proc here: ask for the path's real form.
    real = await fs.realpath(path);
  }
  if (real === path) return 'here';
  return (await handle.stat()).nlink === 0 ? 'nowhere' : 'elsewhere';
}

function changed(file: LocalFile): LocalError {
  return new LocalError('CHANGED', `${file.path} was changed while it was read.`);
}
