/*
 * SHA-256 of a long content while it is being sent: beside the main thread, which has enough to do with sockets. A thread
 * costs as much as some ten megabytes are hashed in, so it is for long contents, and ends with its own. Where there is
 * one processor only it would gain nothing, and where none can be started (the system's limit of threads, or memory) it
 * need not be: the main thread does it then.
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

/**
 * @param sizeBytes how much is going to be hashed
 * @param start begins a thread of PROGRAM
 */
export function longHash(sizeBytes: number, start: () => Worker = startThread): LongHash {
  if (sizeBytes < LONG_BYTES || availableParallelism() === 1) return hashHere();
  let thread: Worker;
  try {
    thread = start();
  } catch {
    return hashHere();
  }
  return new ThreadedHash(thread);
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

function startThread(): Worker {
  return new Worker(PROGRAM, { eval: true });
}

/** A chunk to be hashed, or the digest. */
type Errand = Buffer | 'end';

interface Asking {
  readonly what: Errand;
  readonly resolve: (answer: string | undefined) => void;
  readonly reject: (why: unknown) => void;
}

class ThreadedHash implements LongHash {
  readonly #thread: Worker;
  /** In the order in which they asked. */
  readonly #asking: Asking[] = [];
  /** `here`: the thread ended before it had done anything, and the main thread has begun in its place. */
  #state: 'starting' | 'at-work' | { readonly here: LongHash } | { readonly error: unknown } = 'starting';

  constructor(thread: Worker) {
    this.#thread = thread
      .on('message', (answer: string | undefined) => {
        if (this.#state === 'starting') this.#state = 'at-work';
        this.#asking.shift()?.resolve(answer);
        if (this.#asking.length === 0) this.#thread.unref();
      })
      .on('error', (error) => this.#lost(error))
      .on('exit', () => this.#lost(new Error('the thread that hashes has ended')));
    thread.unref();
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
    this.#end(new Error('the hash was left'));
    void this.#thread.terminate();
  }

  #ask(what: Errand): Promise<string | undefined> {
    if (typeof this.#state === 'object')
      return 'here' in this.#state ? done(this.#state.here, what) : Promise.reject(this.#state.error);
    return new Promise((resolve, reject) => {
      this.#asking.push({ what, resolve, reject });
      // Where nothing else is under way the process would end here, without a word.
      this.#thread.ref();
      this.#thread.postMessage(what);
    });
  }

  #lost(error: unknown): void {
    if (this.#state !== 'starting') {
      this.#end(error);
      return;
    }
    // Nobody has filled anew what is not hashed.
    const here = hashHere();
    this.#state = { here };
    for (const { what, resolve, reject } of this.#asking.splice(0)) done(here, what).then(resolve, reject);
  }

  #end(error: unknown): void {
    if (typeof this.#state === 'object') return;
    this.#state = { error };
    for (const { reject } of this.#asking.splice(0)) reject(error);
  }
}

async function done(hash: LongHash, what: Errand): Promise<string | undefined> {
  if (what === 'end') return hash.digest();
  await hash.update(what);
  return undefined;
}
