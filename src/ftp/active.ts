/*
 * The waiting side of one data connection in active mode: PORT (RFC 959 section 4.1.2) and EPRT (RFC 2428
 * section 2). It listens on the control connection's own address, takes one connection, from the server and from
 * nobody else (RFC 2577 section 3), and is gone after it. An address for the outside (NAT) changes what the server
 * is told, never where we listen.
 *
 * Sends no command, knows no TLS, and does not decide when active mode is used.
 */
import { randomInt } from 'node:crypto';
import net from 'node:net';
import { FtpError, type FtpErrorKind, systemCode } from './errors.js';
import { resetConnection } from './reset.js';

/** Where one listener stands, what the server is told of it, and who may connect. */
export interface ListenOptions {
  /** The control connection's own address; the listener stands there. */
  readonly localAddress: string;
  /** The control connection's peer: the only one that may connect. */
  readonly peerAddress: string;
  /** The server's host and port, for messages: `nas.example.net:21`. */
  readonly where: string;
  /** IP address that the server is told in place of our own, where this machine is behind NAT. */
  readonly address?: string | undefined;
  /** The ports to choose from, both ends with it; undefined means any free one. */
  readonly ports?: { readonly first: number; readonly last: number } | undefined;
  /** Closes the listener. A connection that was taken is not its business any more. */
  readonly signal?: AbortSignal | undefined;
}

/** Connections of others that are turned away before the wait is given up: somebody is scanning this port. */
const STRANGERS_LIMIT = 100;

/** Connections that the system may hold for us; strangers must not keep the server out. */
const BACKLOG = 16;

interface Taker {
  readonly resolve: (socket: net.Socket) => void;
  readonly reject: (error: FtpError) => void;
}

/*
 * listening -> arrived -> taken, or from either of the first two to closed. `#become` is the only place where it
 * changes; whatever is left behind is closed there.
 */
type State =
  | { readonly kind: 'listening'; readonly taker: Taker | undefined }
  | { readonly kind: 'arrived'; readonly socket: net.Socket }
  | { readonly kind: 'taken' }
  | { readonly kind: 'closed'; readonly why: FtpError };

/** Takes one connection, from the server, and is gone after it. */
export class ActiveListener {
  /** The argument of EPRT: `|1|192.0.2.1|50000|`, or `|2|2001:db8::1|50000|`. */
  readonly eprt: string;
  /** The argument of PORT: `192,0,2,1,195,80`; undefined for IPv6, which PORT cannot tell. */
  readonly port: string | undefined;
  /** Address and port that the server is told, for messages. */
  readonly told: string;
  readonly #server: net.Server;
  readonly #options: ListenOptions;
  #state: State = { kind: 'listening', taker: undefined };
  #strangers = 0;
  readonly #onAbort = (): void => this.close();

  private constructor(server: net.Server, options: ListenOptions, port: number) {
    this.#server = server;
    this.#options = options;
    const address = plain(options.address ?? options.localAddress);
    this.eprt = net.isIPv6(address) ? `|2|${address}|${port}|` : `|1|${address}|${port}|`;
    this.port = net.isIPv4(address)
      ? `${address.replaceAll('.', ',')},${port >> 8},${port & 0xff}`
      : undefined;
    this.told = net.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
    server.on('connection', (socket) => this.#connected(socket));
    // What goes wrong with one connection to come (no descriptors left) shows as nobody coming.
    server.on('error', () => {});
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /**
   * Listens: on a port of the range, from a random one on until one is free, or on any free port.
   *
   * @throws {FtpError} kind `data` (phase `data-setup`) where no port can be had, `aborted`
   */
  static async open(options: ListenOptions): Promise<ActiveListener> {
    const { address, where, signal } = options;
    if (address !== undefined && net.isIP(address) === 0) {
      throw setupError(
        'data',
        `Active mode for ${where}: ${JSON.stringify(address)} is no IP address. Check active.address.`,
      );
    }
    for (const port of candidates(options.ports)) {
      if (isOver(signal)) throw notWanted(where);
      const server = await listen(unmapped(options.localAddress), port, where);
      if (server === undefined) continue;
      const bound = server.address();
      if (isOver(signal) || bound === null || typeof bound === 'string') {
        server.close();
        throw notWanted(where);
      }
      return new ActiveListener(server, options, bound.port);
    }
    throw setupError('data', usedUp(options), 'EADDRINUSE');
  }

  /**
   * Waits for the server's connection, which may have come before. To be called once; the socket is paused, and
   * the caller's from then on.
   *
   * @throws {FtpError} phase `data-setup`: kind `timeout` where nobody came in time, `aborted` where the listener
   *   was closed, `data` where only others came
   */
  async accept(timeoutMs: number): Promise<net.Socket> {
    const state = this.#state;
    if (state.kind === 'arrived') {
      this.#become({ kind: 'taken' });
      return state.socket;
    }
    if (state.kind === 'closed') throw state.why;
    if (state.kind === 'taken' || state.taker !== undefined) {
      throw setupError('data', `The data connection of ${this.#options.where} has been taken already.`);
    }
    const timer = setTimeout(() => {
      const message = `${this.#options.where} did not connect to ${this.told} in ${timeoutMs} ms. In active mode the server makes the data connection: a firewall or NAT on the way must let it in (active.address, active.ports), or take dataConnection: passive.`;
      this.#become({ kind: 'closed', why: setupError('timeout', message, 'ETIMEDOUT') });
    }, timeoutMs);
    try {
      return await new Promise<net.Socket>((resolve, reject) => {
        this.#become({ kind: 'listening', taker: { resolve, reject } });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Stops listening, rejects who waits, and resets a connection that nobody has taken. Safe to call twice. */
  close(): void {
    this.#become({ kind: 'closed', why: notWanted(this.#options.where) });
  }

  #connected(socket: net.Socket): void {
    const state = this.#state;
    const from = socket.remoteAddress;
    if (state.kind !== 'listening' || from === undefined || !same(from, this.#options.peerAddress)) {
      resetConnection(socket, undefined);
      this.#strangers += 1;
      if (this.#strangers < STRANGERS_LIMIT) return;
      const message = `${STRANGERS_LIMIT} connections to ${this.told} came from others, and none from ${this.#options.where}.`;
      this.#become({ kind: 'closed', why: setupError('data', message) });
      return;
    }
    socket.setNoDelay(true);
    // Whoever takes it finds out at the first byte.
    socket.on('error', () => {});
    if (state.taker === undefined) {
      this.#become({ kind: 'arrived', socket });
      return;
    }
    this.#become({ kind: 'taken' });
    state.taker.resolve(socket);
  }

  #become(next: State): void {
    const last = this.#state;
    if (last.kind === 'taken' || last.kind === 'closed') return;
    this.#state = next;
    if (next.kind === 'listening') return;
    if (last.kind === 'listening') this.#server.close();
    if (next.kind === 'arrived') return;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    if (next.kind !== 'closed') return;
    if (last.kind === 'arrived') resetConnection(last.socket, undefined);
    else last.taker?.reject(next.why);
  }
}

/** Every port of the range once, from a random one on; 0 lets the system choose. */
function* candidates(ports: ListenOptions['ports']): Generator<number> {
  if (ports === undefined) {
    yield 0;
    return;
  }
  const count = ports.last - ports.first + 1;
  if (count < 1) return;
  const start = randomInt(count);
  for (let step = 0; step < count; step += 1) yield ports.first + ((start + step) % count);
}

/** @returns undefined where that port cannot be had, and another one may */
async function listen(host: string, port: number, where: string): Promise<net.Server | undefined> {
  // Paused, so that what a server sends at once waits in the kernel for whoever takes the connection.
  const server = net.createServer({ pauseOnConnect: true });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: BACKLOG, exclusive: true }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    return server;
  } catch (error) {
    const code = systemCode(error);
    if (port !== 0 && (code === 'EADDRINUSE' || code === 'EACCES')) return undefined;
    throw setupError(
      'data',
      `Active mode for ${where}: this machine cannot listen on ${host} (${code ?? String(error)}).`,
      code,
      error,
    );
  }
}

function isOver(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function usedUp({ ports, where }: ListenOptions): string {
  const range = ports === undefined ? 'any' : `${ports.first}-${ports.last}`;
  return `Active mode for ${where}: no port of the range ${range} is free. Make active.ports wider: each connection to the server needs one.`;
}

function notWanted(where: string): FtpError {
  return setupError('aborted', `The data connection of ${where} was not wanted any more.`);
}

function setupError(kind: FtpErrorKind, message: string, code?: string, cause?: unknown): FtpError {
  return new FtpError(kind, message, { phase: 'data-setup', code, cause });
}

/** IPv4 in the clothes of IPv6 is IPv4. */
function unmapped(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/** As a server is told it: the zone of a link-local address means something on this machine only. */
function plain(address: string): string {
  return unmapped(address).replace(/%.*$/, '');
}

function same(one: string, other: string): boolean {
  const [a, b] = [plain(one), plain(other)];
  if (net.isIP(a) !== net.isIP(b) || net.isIP(a) === 0) return false;
  const family = net.isIPv6(a) ? 'ipv6' : 'ipv4';
  const list = new net.BlockList();
  list.addAddress(a, family);
  return list.check(b, family);
}
