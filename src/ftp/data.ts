/*
 * One data connection, passive mode (RFC 959 section 5.2, RFC 4217 section 9): made for one transfer, ended
 * with it. Owns the transfer's clock: a transfer is alive while bytes move, whatever the sockets say.
 *
 * The raw TCP socket is kept beside the TLS stream because only it can be reset, and a transfer that is
 * given up must end in a reset: after a FIN the server may keep the part as the whole file.
 */
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { FtpError, systemCode } from './errors.js';
import { resetConnection } from './reset.js';
import { handshake, type TlsTrust } from './tls.js';

export interface DataOptions {
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly connectTimeoutMs: number;
  /** How long no byte may move before the transfer counts as stalled. */
  readonly stallTimeoutMs: number;
  readonly tls:
    | {
        readonly trust: TlsTrust;
        readonly session: Buffer | undefined;
        readonly onSession: (s: Buffer) => void;
      }
    | undefined;
  readonly signal: AbortSignal | undefined;
}

/** How long a server may take to close its side after we have closed ours. */
const CLOSE_WAIT_MS = 5_000;

/*
 * A write's callback is the only sign that bytes move, so a slice must be small enough to pass within the
 * stall limit on a slow link, and large enough not to cost time on a fast one.
 */
const FIRST_SLICE_BYTES = 64 * 1024;
const SMALLEST_SLICE_BYTES = 8 * 1024;
const LARGEST_SLICE_BYTES = 1024 * 1024;

function nextSlice(sliceBytes: number, tookMs: number, stallTimeoutMs: number): number {
  if (tookMs < stallTimeoutMs / 200) return Math.min(sliceBytes * 2, LARGEST_SLICE_BYTES);
  if (tookMs > stallTimeoutMs / 8) return Math.max(sliceBytes / 2, SMALLEST_SLICE_BYTES);
  return sliceBytes;
}

export class DataConnection {
  readonly #options: DataOptions;
  readonly #raw: net.Socket;
  readonly #where: string;
  #stream: Duplex | undefined;
  #secure: TLSSocket | undefined;
  #stallTimer: NodeJS.Timeout | undefined;
  #broken: FtpError | undefined;
  #breakOff: (error: FtpError) => void = () => {};
  /** Rejects when the connection breaks; never resolves. */
  readonly broken: Promise<never>;
  readonly #onAbort = (): void => this.#fail('aborted', 'was ended by this side');

  constructor(options: DataOptions) {
    this.#options = options;
    this.#where = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
    this.broken = new Promise<never>((_, reject) => {
      this.#breakOff = reject;
    });
    this.broken.catch(() => {});
    this.#raw = net.connect({
      host: options.address,
      port: options.port,
      noDelay: true,
    });
    this.#raw.on('error', (error) =>
      this.#fail('data', `broke (${systemCode(error) ?? error.message})`, error),
    );
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted === true) this.#onAbort();
  }

  /**
   * Resolves when the connection stands and, where asked for, TLS is up.
   *
   * @throws {FtpError} kind `data` (phase `data-setup`), `timeout`, `certificate`, `handshake`, `aborted`
   */
  async open(): Promise<void> {
    const { connectTimeoutMs } = this.#options;
    const timer = setTimeout(
      () => this.#fail('timeout', `could not be made in ${connectTimeoutMs} ms`),
      connectTimeoutMs,
    );
    try {
      await Promise.race([once(this.#raw, 'connect'), this.broken]);
      const { tls } = this.#options;
      if (tls === undefined) {
        this.#stream = this.#raw;
      } else {
        clearTimeout(timer);
        this.#secure = await Promise.race([
          handshake({
            socket: this.#raw,
            host: this.#options.host,
            trust: tls.trust,
            session: tls.session,
            timeoutMs: connectTimeoutMs,
            phase: 'data-setup',
            where: `the data connection to ${this.#where}`,
            onSession: tls.onSession,
          }),
          this.broken,
        ]);
        this.#secure.on('error', (error) =>
          this.#fail('data', `broke (${systemCode(error) ?? error.message})`, error),
        );
        this.#stream = this.#secure;
      }
    } catch (error) {
      const why = this.#broken ?? error;
      this.reset();
      throw why;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Sends all chunks and then the end of the file. Resolves when the last byte is handed to the system.
   *
   * @returns the number of bytes sent
   * @throws {FtpError} kind `data`, `stalled`, `aborted`; errors of the source pass through, after a reset
   */
  async send(source: AsyncIterable<Buffer>): Promise<number> {
    const stream = this.#opened();
    let bytes = 0;
    let sliceBytes = FIRST_SLICE_BYTES;
    // The server sends nothing, but TLS tickets and the close have to be read.
    stream.resume();
    try {
      for await (const chunk of source) {
        for (let rest = chunk; rest.length > 0; ) {
          const slice = rest.subarray(0, sliceBytes);
          rest = rest.subarray(slice.length);
          sliceBytes = nextSlice(sliceBytes, await this.#write(stream, slice), this.#options.stallTimeoutMs);
        }
        bytes += chunk.length;
      }
      this.#watch();
      await Promise.race([new Promise<void>((resolve) => stream.end(resolve)), this.broken]);
      return bytes;
    } catch (error) {
      const why = this.#broken ?? error;
      this.reset();
      throw why;
    } finally {
      this.#unwatch();
    }
  }

  /** After `send`: waits a bounded time for the server's close. A server that waits for ours instead is no error. */
  async closed(): Promise<void> {
    if (this.#raw.closed || this.#raw.destroyed) {
      this.close();
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_WAIT_MS);
    });
    await Promise.race([once(this.#raw, 'close').then(() => {}), late]).catch(() => {});
    clearTimeout(timer);
    this.close();
  }

  /**
   * Hands every chunk to the sink, in order, waiting for it. Resolves when the server has ended the data;
   * whether that is all of them only the final reply and the size can tell.
   *
   * @returns the number of bytes received
   * @throws {FtpError} kind `data`, `stalled`, `aborted`; errors of the sink pass through, after a reset
   */
  async receive(sink: (chunk: Buffer) => Promise<void>): Promise<number> {
    const stream = this.#opened();
    let bytes = 0;
    try {
      this.#watch();
      for await (const chunk of stream) {
        this.#unwatch();
        bytes += chunk.length;
        await sink(chunk);
        this.#watch();
      }
      return bytes;
    } catch (error) {
      const why =
        this.#broken ??
        (systemCode(error) === 'ERR_STREAM_PREMATURE_CLOSE'
          ? this.#failure('data', 'ended in the middle', error)
          : error);
      this.reset();
      throw why;
    } finally {
      this.#unwatch();
      this.close();
    }
  }

  /** Ends the connection in good order. */
  close(): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#unwatch();
    this.#stream?.destroy();
    this.#raw.destroy();
  }

  /**
   * Gives the transfer up: a TCP reset, so that no server takes the part for the whole. Whatever waits on this
   * connection is rejected.
   *
   * @param why what is thrown there in place of `aborted`
   */
  reset(why?: FtpError): void {
    if (this.#broken === undefined) {
      this.#broken = why ?? this.#failure('aborted', 'was given up');
      this.#breakOff(this.#broken);
    }
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#unwatch();
    resetConnection(this.#raw, this.#options.tls === undefined ? undefined : (this.#secure ?? 'unknown'));
  }

  /** @returns how long the system took to take the slice, in milliseconds */
  async #write(stream: Duplex, slice: Buffer): Promise<number> {
    const beganMs = performance.now();
    this.#watch();
    await Promise.race([
      new Promise<void>((resolve, reject) => {
        stream.write(slice, (error) => (error ? reject(error) : resolve()));
      }),
      this.broken,
    ]);
    this.#unwatch();
    return performance.now() - beganMs;
  }

  #opened(): Duplex {
    if (this.#stream === undefined) throw this.#failure('data', 'is not open');
    return this.#stream;
  }

  #watch(): void {
    const { stallTimeoutMs } = this.#options;
    this.#stallTimer = setTimeout(
      () => this.#fail('stalled', `moved no byte for ${stallTimeoutMs} ms`),
      stallTimeoutMs,
    );
  }

  #unwatch(): void {
    clearTimeout(this.#stallTimer);
  }

  #fail(kind: 'data' | 'stalled' | 'aborted' | 'timeout', what: string, cause?: unknown): void {
    if (this.#broken === undefined) this.reset(this.#failure(kind, what, cause));
  }

  #failure(kind: 'data' | 'stalled' | 'aborted' | 'timeout', what: string, cause?: unknown): FtpError {
    return new FtpError(kind, `The data connection to ${this.#where} ${what}.`, {
      phase: this.#stream === undefined ? 'data-setup' : 'transfer',
      code: systemCode(cause),
      cause,
    });
  }
}
