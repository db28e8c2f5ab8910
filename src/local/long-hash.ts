/*
 * SHA-256 of a long content while it is being sent: beside the main thread, which has enough to do with sockets. A thread
 * costs as much as some ten megabytes are hashed in, so it is for long contents, and ends with its own. Where there is
 * one processor only it would gain nothing, and the main thread does it.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { createHasher } from './hasher.js';

export interface LongHash extends Disposable {
  /** A buffer to read into, whose content `update` takes. */
  room(bytes: number): Buffer;
  /** Takes a chunk of such a buffer; resolves when that may be filled anew. */
  update(chunk: Buffer): Promise<void>;
  /** Hex digits in lower case, of all that was given. To be asked once. */
  digest(): Promise<string>;
}

/** From here on a thread of its own pays. */
const LONG_BYTES = 64 * 1024 * 1024;

/** @param sizeBytes how much is going to be hashed */
export function longHash(sizeBytes: number): LongHash {
  return sizeBytes >= LONG_BYTES && availableParallelism() > 1 ? new ThreadedHash() : hashHere();
}

function hashHere(): LongHash {
  const hash = createHasher('SHA-256');
  return {
    room: (bytes) => Buffer.allocUnsafe(bytes),
    update: async (chunk) => hash.update(chunk),
    digest: async () => hash.digest(),
    [Symbol.dispose]: () => {},
  };
}

/** A text and no module, for a thread starts from what is compiled, and tests run from what is not. */
const PROGRAM = `
const { parentPort } = require('node:worker_threads');
const hash = require('node:crypto').createHash('sha256');
parentPort.on('message', (chunk) => {
  if (chunk === 'end') parentPort.postMessage(hash.digest('hex'));
  else parentPort.postMessage(void hash.update(chunk));
});`;

class ThreadedHash implements LongHash {
  readonly #thread = new Worker(PROGRAM, { eval: true });
  /** In the order in which they asked. */
  readonly #asking: {
    readonly resolve: (answer: unknown) => void;
    readonly reject: (why: unknown) => void;
  }[] = [];
  #ended: { readonly error: unknown } | undefined;

  constructor() {
    this.#thread
      .on('message', (answer: unknown) => this.#asking.shift()?.resolve(answer))
      .on('error', (error) => this.#end(error))
      .on('exit', () => this.#end(new Error('the thread that hashes has ended')));
    this.#thread.unref();
  }

  room(bytes: number): Buffer {
    return Buffer.from(new SharedArrayBuffer(bytes));
  }

  async update(chunk: Buffer): Promise<void> {
    await this.#ask(chunk);
  }

  async digest(): Promise<string> {
    return String(await this.#ask('end'));
  }

  [Symbol.dispose](): void {
    void this.#thread.terminate();
  }

  #ask(what: Buffer | 'end'): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended.error);
        return;
      }
      this.#asking.push({ resolve, reject });
      this.#thread.postMessage(what);
    });
  }

  #end(error: unknown): void {
    this.#ended ??= { error };
    for (const { reject } of this.#asking.splice(0)) reject(error);
  }
}
