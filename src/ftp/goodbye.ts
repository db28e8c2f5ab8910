/*
 * Tells a TLS close_notify from a bare FIN (RFC 5246 section 7.2.1, RFC 4217 section 12): Node ends a TLS stream the
 * same way for both. So this stands between the socket and TLS and holds the socket's end back until TLS has had
 * every byte before it. A TLS stream that ends by then has been told goodbye; one that waits for more was cut.
 *
 * Costs a copy through JavaScript for every chunk, so it is for listings, not for large files.
 */
import type net from 'node:net';
import { Duplex } from 'node:stream';

export class HeldEnd extends Duplex {
  readonly #raw: net.Socket;
  #rawEnded = false;
  #tellHeld: () => void = () => {};
  /** Resolves when the socket has ended and TLS has had all of it. */
  readonly held: Promise<void>;

  /** @param raw connected, and nobody else's to read or write from now on; resetting it is left to others */
  constructor(raw: net.Socket) {
    // TLS has a word to say after the other side's end, here and below.
    super({ allowHalfOpen: true });
    raw.allowHalfOpen = true;
    this.#raw = raw;
    this.held = new Promise((resolve) => {
      this.#tellHeld = resolve;
    });
    raw.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) raw.pause();
    });
    raw.once('end', () => {
      fetchReset(raw, () => {
        this.#rawEnded = true;
        this.#look();
      });
    });
    raw.once('close', () => this.destroy());
    raw.pause();
    // TLS decides when bytes flow; this only hears that they do.
    this.pause();
    this.on('data', () => this.#look());
  }

  /** Lets TLS have the end. */
  release(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }

  override _read(): void {
    if (!this.#rawEnded) this.#raw.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#raw.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#raw.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#raw.destroy();
    done(error);
  }

  /** The chunk that has just left is with TLS when this turn of the event loop is over. */
  #look(): void {
    if (this.#rawEnded && this.readableLength === 0) setImmediate(this.#tellHeld);
  }
}

/**
 * After an 'end': a reset that comes together with data is told as a plain end (libuv), and a write of nothing
 * fetches it. It then is an 'error' of the socket, as it should have been.
 *
 * @param isEnd called where it is an end indeed; the socket must still be writable (`allowHalfOpen`)
 */
export function fetchReset(raw: net.Socket, isEnd: () => void): void {
  raw.write(new Uint8Array(0), (error) => {
    if (!(error instanceof Error)) isEnd();
  });
}
