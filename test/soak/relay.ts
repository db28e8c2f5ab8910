/*
 * The bad link of the soak: a TCP relay between daemon and server, for control and data connections alike. It cuts,
 * stalls, refuses, and leaves one half of a connection behind, when it is told to. It listens on a loopback address of
 * its own, under the ports that the server names for its data connections, so nothing of what goes through has to be
 * rewritten, and TLS stays as it is. SSH has no data connections: there the one for control carries all.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { resetConnection } from '../../src/ftp/reset.js';

/** How a connection ends: with a TCP reset, or with a FIN as if all had been said. */
export type Ending = 'reset' | 'close';

/** An end of a connection, as seen from the relay. */
export type End = 'client' | 'server';

export interface RelayOptions {
  /** Loopback address to listen on. */
  readonly host: string;
  readonly controlPort: number;
  /** None: what the control port leads to carries the data as well. */
  readonly dataPorts: readonly number[];
  /** Address that the server listens on. */
  readonly serverHost: string;
}

interface Pair {
  readonly kind: 'control' | 'data';
  readonly sockets: readonly [client: Socket, server: Socket];
  readonly forget: () => void;
}

/** A connection that carries data shall end once so many bytes went through. */
interface Trap {
  readonly bytes: number;
  readonly how: Ending;
  /** What had gone through those that stood when it was set. */
  readonly before: ReadonlyMap<Pair, number>;
}

export class Relay implements AsyncDisposable {
  readonly #options: RelayOptions;
  /** All that are open, whether they are still part of a pair or not. */
  readonly #sockets = new Set<Socket>();
  readonly #listeners: Server[] = [];
  readonly #pairs = new Set<Pair>();
  /** Port of the server's control connection; undefined while it is down. */
  #serverPort: number | undefined;
  /** Where the server listens for data, where that is another port than the one that it names. */
  readonly #dataTargets = new Map<number, number>();
  readonly #traps: Trap[] = [];
  /** Halves of which the other half is gone, and nobody has told them. */
  readonly #forsaken = new Set<Socket>();
  #state: 'open' | 'stalled' | 'refusing' = 'open';

  private constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** @throws Error where a port is taken */
  static async open(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    try {
      await relay.#listen(options.controlPort, 'control');
      for (const port of options.dataPorts) await relay.#listen(port, 'data');
      return relay;
    } catch (error) {
      await relay.close();
      throw error;
    }
  }

  /** Where control connections are led to from now on; undefined: nowhere. */
  point(serverPort: number | undefined): void {
    this.#serverPort = serverPort;
  }

  /** Data connections to this port are led to another one of the server's. */
  pointData(port: number, serverPort: number): void {
    this.#dataTargets.set(port, serverPort);
  }

  /** Connections that stand now. */
  get standing(): number {
    return this.#pairs.size;
  }

  /** Ends every connection. @returns how many */
  cutAll(how: Ending): number {
    const pairs = [...this.#pairs];
    for (const pair of pairs) end(pair, how);
    return pairs.length;
  }

  /** Ends one connection. @returns how many: 0 where none stands */
  cutOne(choose: (from: readonly number[]) => number, how: Ending): number {
    const pair = this.#one(choose);
    if (pair === undefined) return 0;
    end(pair, how);
    return 1;
  }

  /**
   * Forgets one connection, as a router does that was switched off and on: the one end hears that it is over, and the
   * other, `left`, hears nothing any more; what it says is taken, and comes nowhere. Whom that befell before is let go.
   *
   * @returns how many: 0 where none stands
   */
  forsake(choose: (from: readonly number[]) => number, left: End): number {
    for (const socket of this.#forsaken) resetConnection(socket, undefined);
    const pair = this.#one(choose);
    if (pair === undefined) return 0;
    const [client, server] = pair.sockets;
    const [kept, gone] = left === 'client' ? [client, server] : [server, client];
    pair.forget();
    unjoin(pair.sockets);
    this.#forsaken.add(kept);
    kept.once('close', () => this.#forsaken.delete(kept));
    kept.once('end', () => kept.destroy());
    kept.resume();
    resetConnection(gone, undefined);
    return 1;
  }

  /** The next connection that carries data and through which so many bytes went from now on ends there. */
  trap(bytes: number, how: Ending): void {
    this.#traps.push({ bytes, how, before: new Map([...this.#pairs].map((pair) => [pair, carried(pair)])) });
  }

  /** Nothing moves any more, and nothing ends either. */
  stall(): void {
    this.#state = 'stalled';
    for (const { sockets } of this.#pairs) unjoin(sockets);
  }

  /** New connections are reset at once; those that stand go on. */
  refuse(): void {
    this.#state = 'refusing';
  }

  /** All is well again, for those that stand and for new ones. Traps are gone. */
  behave(): void {
    const before = this.#state;
    this.#state = 'open';
    this.#traps.length = 0;
    if (before === 'stalled') for (const { sockets } of this.#pairs) join(sockets);
  }

  /** Ends all. Safe to call twice. */
  async close(): Promise<void> {
    const closed = this.#listeners.splice(0).map((listener) => new Promise((done) => listener.close(done)));
    this.cutAll('reset');
    // Also one whose other half has gone while it was stalled: paused, it would never hear that it is over.
    for (const socket of this.#sockets) resetConnection(socket, undefined);
    await Promise.all(closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #one(choose: (from: readonly number[]) => number): Pair | undefined {
    const pairs = [...this.#pairs];
    return pairs.length === 0 ? undefined : pairs[choose(pairs.map((_, at) => at))];
  }

  async #listen(port: number, kind: Pair['kind']): Promise<void> {
    const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      const target = kind === 'control' ? this.#serverPort : (this.#dataTargets.get(port) ?? port);
      this.#accepted(client, kind, target);
    });
    await new Promise<void>((done, failed) => {
      listener.once('error', failed);
      listener.listen(port, this.#options.host, () => {
        listener.off('error', failed);
        done();
      });
    });
    this.#listeners.push(listener);
  }

  #accepted(client: Socket, kind: Pair['kind'], target: number | undefined): void {
    client.on('error', () => undefined);
    if (this.#state === 'refusing' || target === undefined) {
      resetConnection(client, undefined);
      return;
    }
    const server = connect({
      host: this.#options.serverHost,
      port: target,
      allowHalfOpen: true,
      noDelay: true,
    });
    client.setNoDelay(true);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    }
    const sockets = [client, server] as const;
    const pair: Pair = { kind, sockets, forget: () => void this.#pairs.delete(pair) };
    this.#pairs.add(pair);
    for (const [socket, other] of [sockets, [server, client] as const]) {
      // What breaks on one side breaks on the other, and in the same way.
      socket.on('error', () => {
        if (!this.#forsaken.has(other)) resetConnection(other, undefined);
      });
      socket.once('close', () => {
        pair.forget();
        if (
          !other.destroyed &&
          !this.#forsaken.has(other) &&
          !(socket.readableEnded && socket.writableFinished)
        )
          resetConnection(other, undefined);
      });
    }
    if (kind === 'data' || this.#options.dataPorts.length === 0) this.#watch(pair);
    if (this.#state === 'open') join(sockets);
  }

  #watch(pair: Pair): void {
    const look = (): void => {
      if (!this.#pairs.has(pair)) return;
      const bytes = carried(pair);
      const due = this.#traps.findIndex((trap) => bytes - (trap.before.get(pair) ?? 0) >= trap.bytes);
      const [trap] = due < 0 ? [] : this.#traps.splice(due, 1);
      if (trap !== undefined) end(pair, trap.how);
    };
    for (const socket of pair.sockets) socket.on('data', look);
    // A listener for data alone would let them flow.
    unjoin(pair.sockets);
  }
}

function carried({ sockets: [client, server] }: Pair): number {
  return client.bytesRead + server.bytesRead;
}

function join([client, server]: Pair['sockets']): void {
  if (!client.destroyed && !server.destroyed) {
    client.pipe(server);
    server.pipe(client);
  }
}

function unjoin([client, server]: Pair['sockets']): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    from.unpipe(to);
    from.pause();
  }
}

function end({ sockets, forget }: Pair, how: Ending): void {
  forget();
  for (const socket of sockets) {
    if (how === 'reset') resetConnection(socket, undefined);
    else socket.destroy();
  }
}
