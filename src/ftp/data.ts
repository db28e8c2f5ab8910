/*
 * One data connection (RFC 959 section 5.2, RFC 4217 sections 7 and 9), made by us (passive mode) or by the server
 * (active mode): for one transfer, ended with it. Owns the transfer's clock: a transfer is alive while bytes move,
 * whatever the sockets say, and never longer than its deadline.
 *
 * The raw TCP socket is kept beside the TLS stream because only it can be reset, and a transfer that is
 * given up must end in a reset: after a FIN the server may keep the part as the whole file.
 */
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { ActiveListener } from './active.js';
import { FtpError, systemCode } from './errors.js';
import { fetchReset, HeldEnd } from './goodbye.js';
import { Intake, type Sink } from './intake.js';
import { resetConnection } from './reset.js';
import { handshake, refusedIdentity, type TlsTrust } from './tls.js';

/** Who makes the connection: we, to a port of the server's, or the server, to a listener of ours. */
export type Route =
  | { readonly kind: 'passive'; readonly address: string; readonly port: number }
  | { readonly kind: 'active'; readonly listener: ActiveListener };

/** What a transfer has brought. `cut`: TLS ended without the server's close_notify, so anybody may have ended it. */
export interface Received {
  readonly bytes: number;
  readonly ended: 'cleanly' | 'cut';
}

/** One data connection: its way, its limits, its TLS. */
export interface DataOptions {
  /** The server's name, for the certificate and for messages. */
  readonly host: string;
  readonly route: Route;
  /** Which way the file's bytes go. */
  readonly flow: 'in' | 'out';
  /** How long the connection may take to be made, and its TLS handshake after that. */
  readonly connectTimeoutMs: number;
  /** How long no byte may move before the transfer counts as stalled. */
  readonly stallTimeoutMs: number;
  /** How long the whole may take, from `open` to the last byte. */
  readonly deadlineMs: number;
  /**
   * `observed`: `receive` tells whether the server ended the data, at the price of speed. `ignored`: any end
   * counts as `cleanly`, for whatever is proven by its size.
   */
  readonly goodbye: 'observed' | 'ignored';
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

/** Node's timers know nothing longer, and take it for 1 ms. */
const LONGEST_TIMER_MS = 2_147_483_647;

/*
 * A write's callback is the only sign that bytes move, so a slice must be small enough to pass within the
 * stall limit on a slow link, and large enough not to cost time on a fast one.
 */
const FIRST_SLICE_BYTES = 64 * 1024;
const SMALLEST_SLICE_BYTES = 8 * 1024;
const LARGEST_SLICE_BYTES = 2 * 1024 * 1024;

function nextSlice(sliceBytes: number, tookMs: number, stallTimeoutMs: number): number {
  if (tookMs < stallTimeoutMs / 200) return Math.min(sliceBytes * 2, LARGEST_SLICE_BYTES);
  if (tookMs > stallTimeoutMs / 8) return Math.max(sliceBytes / 2, SMALLEST_SLICE_BYTES);
  return sliceBytes;
}

/** Opened, used for one `send` or one `receive`, and ended. */
export class DataConnection {
  readonly #options: DataOptions;
  /** `data connection to nas.example.net:50000`, for messages. */
  readonly #name: string;
  #raw: net.Socket | undefined;
  #stream: Duplex | undefined;
  #secure: TLSSocket | undefined;
  #heldEnd: HeldEnd | undefined;
  /** Where bytes are read into, without a detour; undefined where they come another way. */
  readonly #direct: Intake | undefined;
  #stallTimer: NodeJS.Timeout | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #wasMade = false;
  #broken: FtpError | undefined;
  #breakOff: (error: FtpError) => void = () => {};
  /** Rejects when the connection breaks; never resolves. */
  readonly broken: Promise<never>;
  readonly #onAbort = (): void => this.#fail('aborted', 'was ended by this side');

  /** Passive mode connects at once. */
  constructor(options: DataOptions) {
    const { host, route, flow, goodbye, tls, signal } = options;
    this.#options = options;
    this.#direct =
      route.kind === 'passive' && flow === 'in' && tls === undefined && goodbye === 'ignored'
        ? new Intake()
        : undefined;
    const name = host.includes(':') ? `[${host}]` : host;
    this.#name =
      route.kind === 'passive'
        ? `data connection to ${name}:${route.port}`
        : `data connection from ${name} to ${route.listener.told}`;
    this.broken = new Promise<never>((_, reject) => {
      this.#breakOff = reject;
    });
    this.broken.catch(() => {});
    if (route.kind === 'passive') this.#adopt(net.connect(this.#way(route)));
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
  }

  /**
   * Resolves when the connection stands and, where asked for, TLS is up. In active mode it is to be called when
   * the command has been sent that makes the server connect.
   *
   * @throws {FtpError} kind `data` (phase `data-setup`), `timeout`, `stalled`, `certificate`, `handshake`, `aborted`
   */
  async open(): Promise<void> {
    this.#armDeadline(performance.now() + this.#options.deadlineMs);
    try {
      const raw = await this.#connected();
      this.#wasMade = true;
      this.#stream = await this.#secured(raw);
    } catch (error) {
      const why = this.#broken ?? error;
      this.reset();
      throw why;
    }
  }

  /** True once the TCP connection was made, whatever became of it. */
  get wasMade(): boolean {
    return this.#wasMade;
  }

  #way({ address, port }: Extract<Route, { kind: 'passive' }>): net.TcpNetConnectOpts {
    // The end of a plain file sends its last bytes off by itself; a handshake has several ends.
    const way = { host: address, port, noDelay: this.#options.tls !== undefined };
    const direct = this.#direct;
    if (direct === undefined) return way;
    const callback = (bytes: number): boolean => this.#came(direct.took(bytes));
    return { ...way, onread: { buffer: () => direct.room, callback } };
  }

  async #connected(): Promise<net.Socket> {
    const { route, connectTimeoutMs } = this.#options;
    if (route.kind === 'active') {
      const coming = route.listener.accept(connectTimeoutMs).then((socket) => this.#adopt(socket));
      coming.catch(() => {});
      return Promise.race([coming, this.broken]);
    }
    const raw = this.#raw;
    if (raw === undefined) throw this.#failure('data', 'is not there');
    const timer = setTimeout(
      () => this.#fail('timeout', `could not be made in ${connectTimeoutMs} ms`),
      connectTimeoutMs,
    );
    try {
      await Promise.race([once(raw, 'connect'), this.broken]);
      return raw;
    } finally {
      clearTimeout(timer);
    }
  }

  async #secured(raw: net.Socket): Promise<Duplex> {
    const { tls, goodbye, host, connectTimeoutMs } = this.#options;
    if (tls === undefined) {
      // The end may hide a reset, and only a socket that can still be written to tells.
      if (goodbye === 'observed') raw.allowHalfOpen = true;
      return raw;
    }
    this.#heldEnd = goodbye === 'observed' ? new HeldEnd(raw) : undefined;
    const where = `the ${this.#name}`;
    const secure = await Promise.race([
      handshake({
        socket: raw,
        through: this.#heldEnd,
        host,
        trust: tls.trust,
        session: tls.session,
        timeoutMs: connectTimeoutMs,
        phase: 'data-setup',
        where,
        onSession: tls.onSession,
      }),
      this.broken,
    ]);
    this.#secure = secure;
    secure.on('error', (error) => {
      const refused = refusedIdentity(error, where, 'transfer', tls.trust);
      if (refused !== undefined && this.#broken === undefined) this.reset(refused);
      this.#fail('data', `broke (${systemCode(error) ?? error.message})`, error);
    });
    return secure;
  }

  /** Takes a socket for this connection's own. One that comes too late is reset. */
  #adopt(raw: net.Socket): net.Socket {
    this.#raw = raw;
    raw.on('error', (error) => this.#fail('data', `broke (${systemCode(error) ?? error.message})`, error));
    if (this.#broken !== undefined) resetConnection(raw, undefined);
    else if (raw.destroyed) this.#fail('data', 'broke before it was used');
    return raw;
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
      clearTimeout(this.#deadlineTimer);
    }
  }

  /** After `send`: waits a bounded time for the server's close. A server that waits for ours instead is no error. */
  async closed(): Promise<void> {
    const raw = this.#raw;
    if (raw === undefined || raw.closed || raw.destroyed) {
      this.close();
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_WAIT_MS);
    });
    await Promise.race([once(raw, 'close').then(() => {}), late]).catch(() => {});
    clearTimeout(timer);
    this.close();
  }

  /**
   * Hands all bytes to the sink, in order and in pieces, each of which is the sink's until its promise resolves.
   * Resolves when the server has ended the data; whether that is all of them only the final reply and the size can tell.
   *
   * @returns the number of bytes received, and how they ended; see `DataOptions.goodbye`
   * @throws {FtpError} kind `data`, `stalled`, `aborted`; errors of the sink pass through, after a reset
   */
  async receive(sink: Sink): Promise<Received> {
    const stream = this.#opened();
    const intake = this.#direct ?? new Intake();
    this.broken.catch((error: unknown) => intake.end({ error }));
    try {
      const cut = this.#cutSign(stream);
      this.#watch();
      stream
        .on('data', (chunk: Buffer) => {
          if (!this.#came(intake.take(chunk))) stream.pause();
          cut.look();
        })
        .once('end', () => {
          this.#unwatch();
          intake.end('clean');
        })
        .once('close', () => intake.end({ error: this.#failure('data', 'ended in the middle') }))
        .resume();
      await intake.drain(sink, () => {
        this.#watch();
        stream.resume();
      });
      if (this.#broken !== undefined) throw this.#broken;
      await this.#unlessReset();
      return { bytes: intake.bytes, ended: cut.seen ? 'cut' : 'cleanly' };
    } catch (error) {
      const why = this.#broken ?? error;
      this.reset();
      throw why;
    } finally {
      this.#unwatch();
      this.close();
    }
  }

  /** @returns false where no more may come for now: then it is this side that the time is waiting for */
  #came(answer: 'more' | 'enough'): boolean {
    if (answer === 'more') this.#stallTimer?.refresh();
    else this.#unwatch();
    return answer === 'more';
  }

  /**
   * Watches for an end without goodbye: the socket has ended, TLS has had all of it, the reader has had all of
   * TLS, and still TLS has not ended by itself. Only then does it get the socket's end.
   */
  #cutSign(stream: Duplex): { look: () => void; readonly seen: boolean } {
    const heldEnd = this.#heldEnd;
    let held = false;
    let seen = false;
    const look = (): void => {
      if (heldEnd === undefined || !held || stream.readableLength > 0) return;
      // An end that has come is told at the next read, and this is one.
      stream.read(0);
      setImmediate(() => {
        if (stream.readableEnded || stream.destroyed || stream.readableLength > 0) return;
        seen = true;
        heldEnd.release();
      });
    };
    heldEnd?.held.then(() => {
      held = true;
      look();
    });
    return {
      look,
      get seen() {
        return seen;
      },
    };
  }

  /** Rejects where the end of a plain connection was a reset in truth. */
  async #unlessReset(): Promise<void> {
    const raw = this.#raw;
    // Below TLS it has been asked for already.
    if (this.#options.goodbye === 'ignored' || this.#secure !== undefined || raw === undefined) return;
    if (raw.destroyed || raw.writableEnded) return;
    await Promise.race([new Promise<void>((resolve) => fetchReset(raw, resolve)), this.broken]);
  }

  /** Ends the connection in good order; one that was given up stays so. */
  close(): void {
    this.#stop();
    // The reset may still be under way, and a FIN must not overtake it.
    if (this.#broken !== undefined) return;
    this.#stream?.destroy();
    this.#raw?.destroy();
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
    this.#stop();
    if (this.#raw === undefined) return;
    const secure = this.#secure;
    if (this.#heldEnd === undefined) {
      resetConnection(this.#raw, this.#options.tls === undefined ? undefined : (secure ?? 'unknown'));
    } else {
      // TLS does not hold the socket itself.
      resetConnection(this.#raw, 'unknown');
      setImmediate(() => secure?.destroy());
    }
  }

  /** What every end has in common. */
  #stop(): void {
    const { route, signal } = this.#options;
    signal?.removeEventListener('abort', this.#onAbort);
    this.#unwatch();
    clearTimeout(this.#deadlineTimer);
    if (route.kind === 'active') route.listener.close();
  }

  /** @returns how long the system took to take the slice, in milliseconds */
  async #write(stream: Duplex, slice: Buffer): Promise<number> {
    const beganMs = performance.now();
    this.#watch();
    await Promise.race([
      new Promise<void>((resolve, reject) => {
        // A broken pipe may be told here before it is told as an event; it is the connection's error, not the source's.
        stream.write(slice, (error) =>
          error
            ? reject(this.#failure('data', `broke (${systemCode(error) ?? error.message})`, error))
            : resolve(),
        );
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
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(
      () => this.#fail('stalled', `moved no byte for ${stallTimeoutMs} ms`),
      stallTimeoutMs,
    );
  }

  #unwatch(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
  }

  #armDeadline(endMs: number): void {
    const leftMs = endMs - performance.now();
    this.#deadlineTimer = setTimeout(
      () => {
        if (leftMs > LONGEST_TIMER_MS) this.#armDeadline(endMs);
        else this.#fail('stalled', overdue(this.#options.deadlineMs));
      },
      Math.min(Math.max(leftMs, 0), LONGEST_TIMER_MS),
    );
  }

  #fail(kind: 'data' | 'stalled' | 'aborted' | 'timeout', what: string, cause?: unknown): void {
    if (this.#broken === undefined) this.reset(this.#failure(kind, what, cause));
  }

  #failure(kind: 'data' | 'stalled' | 'aborted' | 'timeout', what: string, cause?: unknown): FtpError {
    return new FtpError(kind, `The ${this.#name} ${what}.`, {
      phase: this.#stream === undefined ? 'data-setup' : 'transfer',
      code: systemCode(cause),
      cause,
    });
  }
}

/** A predicate for the failure's sentence. */
function overdue(deadlineMs: number): string {
  const units: readonly (readonly [number, string])[] = [
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1_000, 's'],
  ];
  const [ms, unit] = units.find(([length]) => deadlineMs % length === 0) ?? [1, 'ms'];
  return `took longer than ${deadlineMs / ms} ${unit} for one transfer, which is what timeouts.transfer allows`;
}
