/*
 * Where a session's next data connection comes from: a passive port (one listener, one connection, closed by the next
 * PASV or EPSV) or an address of PORT/EPRT. Accepted sockets stay paused, so that what a client sends before the 150
 * waits in the kernel. TLS is not done here.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Why there is no data connection; the text goes behind the 425. */
export class NoDataConnection extends Error {
  override readonly name = 'NoDataConnection';
}

type Setup =
  | { readonly kind: 'none' }
  | { readonly kind: 'listening'; readonly listener: Server }
  | { readonly kind: 'accepted'; readonly socket: Socket }
  | { readonly kind: 'active'; readonly host: string; readonly port: number };

export class DataSetup {
  readonly #host: string;
  /** Says whether an accepted connection is to be kept; it has dealt with it otherwise. */
  readonly #accepted: (socket: Socket) => boolean;
  readonly #sockets = new Set<Socket>();
  #setup: Setup = { kind: 'none' };
  #ended = false;
  #taker: ((socket: Socket) => void) | undefined;

  constructor(host: string, accepted: (socket: Socket) => boolean) {
    this.#host = host;
    this.#accepted = accepted;
  }

  get ready(): boolean {
    return this.#setup.kind !== 'none';
  }

  /** Opens a port and closes the one before. */
  async passive(): Promise<number> {
    this.discard();
    const listener = await this.#listen();
    const { port } = listener.address() as AddressInfo;
    if (this.#ended) {
      // The session went while the port was being opened.
      listener.close();
      return port;
    }
    this.#setup = { kind: 'listening', listener };
    listener.on('connection', (socket) => {
      this.#track(socket);
      listener.close();
      if (!this.#accepted(socket)) {
        this.#setup = { kind: 'none' };
        return;
      }
      if (this.#taker === undefined) this.#setup = { kind: 'accepted', socket };
      else {
        this.#setup = { kind: 'none' };
        this.#taker(socket);
      }
    });
    return port;
  }

  /** A port where nobody listens. */
  async deadPort(): Promise<number> {
    this.discard();
    const listener = await this.#listen();
    const { port } = listener.address() as AddressInfo;
    await new Promise((resolve) => listener.close(resolve));
    return port;
  }

  active(host: string, port: number): void {
    this.discard();
    this.#setup = { kind: 'active', host, port };
  }

  /**
   * The connection for a transfer; waits for it, and uses the set-up up.
   *
   * @throws NoDataConnection where none came within `timeoutMs`, none was announced, or `gone` aborted
   */
  take(timeoutMs: number, gone: AbortSignal): Promise<Socket> {
    const setup = this.#setup;
    if (setup.kind === 'none') return Promise.reject(new NoDataConnection('Use PASV or EPSV first.'));
    if (setup.kind === 'accepted') {
      this.#setup = { kind: 'none' };
      return Promise.resolve(setup.socket);
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        gone.removeEventListener('abort', fail);
        this.#taker = undefined;
      };
      const fail = (): void => {
        settle();
        this.discard();
        reject(new NoDataConnection('Failed to establish connection.'));
      };
      const timer = setTimeout(fail, timeoutMs);
      if (gone.aborted) {
        fail();
        return;
      }
      gone.addEventListener('abort', fail);
      this.#taker = (socket) => {
        settle();
        resolve(socket);
      };
      if (setup.kind !== 'active') return;
      this.#setup = { kind: 'none' };
      const socket = connect({ host: setup.host, port: setup.port, allowHalfOpen: true });
      this.#track(socket);
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        socket.pause();
        if (this.#accepted(socket)) this.#taker?.(socket);
      });
    });
  }

  /** Drops the set-up: the port closes, a connection that no transfer took is reset. */
  discard(): void {
    const setup = this.#setup;
    this.#setup = { kind: 'none' };
    if (setup.kind === 'listening') setup.listener.close();
    if (setup.kind === 'accepted') setup.socket.resetAndDestroy();
  }

  /** Drops the set-up and every data connection there still is, also those in a transfer. */
  end(how: 'reset' | 'close'): void {
    this.#ended = true;
    this.discard();
    for (const socket of this.#sockets) {
      if (how === 'reset') socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    // What breaks here shows where the socket is read or written; an error must only not be unheard.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  async #listen(): Promise<Server> {
    const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen({ host: this.#host, port: 0, backlog: 1 }, resolve);
    });
    return listener;
  }
}
