/*
 * SHA-256 of a long content while it is being moved: beside the main thread, which has enough to do with sockets. A
 * thread costs as much as some ten megabytes are hashed in, so it is for long contents, and ends with its own. Where
 * there is one processor only it would gain nothing, and where none can be started (the system's limit of threads, or
 * memory) it need not be: the main thread does it then. Memory that is shared reaches the thread as it is, and any
 * other as a copy.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { LocalError } from './error.js';
import { createHasher } from './hasher.js';

export interface LongHash extends Disposable {
  /** A buffer to read into, whose content `update` takes without a copy. */
  room(bytes: number): Buffer;
  /**
   * Takes a chunk; resolves when that may be filled anew.
   *
   * @throws {LocalError} HASH where the thread was lost, and what it knew with it; so does `digest`
   */
  update(chunk: Buffer): Promise<void>;
  /** Hex digits in lower case, of all that was given so far; more may follow. */
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
  if (chunk === 'digest') parentPort.postMessage(hash.copy().digest('hex'));
  else parentPort.postMessage(void hash.update(chunk));
});`;

function startThread(): Worker {
  return new Worker(PROGRAM, { eval: true });
}

/** A chunk to be hashed, or the digest. */
type Errand = Buffer | 'digest';

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
      .on('exit', () => this.#lost(undefined));
    thread.unref();
  }

  room(bytes: number): Buffer {
    return Buffer.from(new SharedArrayBuffer(bytes));
  }

  async update(chunk: Buffer): Promise<void> {
    await this.#ask(chunk);
  }

  async digest(): Promise<string> {
    return String(await this.#ask('digest'));
  }

  [Symbol.dispose](): void {
    this.#end(new LocalError('HASH', 'The hash was left before it was done.'));
    void this.#thread.terminate();
  }

  #ask(what: Errand): Promise<string | undefined> {
    if (typeof this.#state === 'object')
      return 'here' in this.#state ? done(this.#state.here, what) : Promise.reject(this.#state.error);
    return new Promise((resolve, reject) => {
      this.#asking.push({ what, resolve, reject });
      // Where nothing else is under way the process would end here, without a word.
      this.#thread.ref();
      this.#hand(what);
    });
  }

  #hand(what: Errand): void {
    if (what === 'digest' || what.buffer instanceof SharedArrayBuffer) {
      this.#thread.postMessage(what);
      return;
    }
    const copy = new Uint8Array(what);
    this.#thread.postMessage(copy, [copy.buffer]);
  }

  #lost(cause: unknown): void {
    if (this.#state !== 'starting') {
      const why = cause instanceof Error ? ` (${cause.message})` : '';
      const message = `The thread that computes the SHA-256 has ended${why}: the file begins anew. If that goes on, look whether memory runs out here.`;
      this.#end(new LocalError('HASH', message, cause));
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
  if (what === 'digest') return hash.digest();
  await hash.update(what);
  return undefined;
}
