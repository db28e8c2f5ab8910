/*
 * An SSH server for the tests of the connection itself: how it lets in, how it opens channels and how it ends is the
 * test's to say. Whatever comes on a session's channel goes back; channels to elsewhere are real TCP. ssh2 on both
 * sides, so real servers have suites of their own. Not for SFTP: sftp-server.ts is.
 */
import net from 'node:net';
import ssh2, {
  type AuthContext,
  type Connection,
  type PublicKeyAuthContext,
  type ServerChannel,
  type ServerConfig,
} from 'ssh2';

/** Asked for every way of logging in that a client tries; `attempt` counts from 1 within the connection. */
export type Doorkeeper = (context: AuthContext, attempt: number) => void;

export interface SshHostOptions {
  readonly hostKeys: readonly { readonly privateKey: string }[];
  readonly login?: Doorkeeper | undefined;
  readonly algorithms?: ServerConfig['algorithms'];
  readonly host?: '127.0.0.1' | '::1';
  readonly software?: string;
  readonly banner?: string;
  /**
   * `echo` unless told. `refuse`: no subsystem. `full`: no session channel. `die`: a word on stderr, and the end.
   * `flood`: far more than the window. `no room`: packets may have no bytes.
   */
  readonly sftp?: 'echo' | 'refuse' | 'full' | 'die' | 'silent' | 'flood' | 'no room';
  /** `told` unless told otherwise. `untold`: as a server of before RFC 8308, which takes RSA with SHA-1 alone. */
  readonly signatures?: 'told' | 'untold';
  /** `pass` unless told. */
  readonly forwards?: 'pass' | 'refuse';
}

export interface SshHost extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** What clients tried, in order: `none`, `password`, `publickey`, `publickey+signature`. */
  readonly attempts: readonly string[];
  /** How many connections were made so far, and how many stand. */
  readonly connections: { readonly made: number; readonly open: number };
  /** Agrees on new keys with every client. */
  rekey(): void;
  /** Nothing that comes is read any more, and nothing is sent. */
  freeze(): void;
  /** Cuts every connection. */
  drop(): void;
  /** Resolves once no connection stands. */
  empty(): Promise<void>;
}

/** ssh2's server tells its extensions (RFC 8308) whenever it is asked, and has no setting for that. */
function forgetExtensions(clients: ReadonlySet<Connection>): void {
  for (const client of clients) {
    const exchange: unknown = Reflect.get(Reflect.get(client, '_protocol') ?? {}, '_kex');
    if (typeof exchange === 'object' && exchange !== null)
      Reflect.set(exchange, 'remoteExtInfoEnabled', false);
  }
}

const letIn: Doorkeeper = (context) => context.accept();

/** Starts one on loopback. */
export async function startSshHost(options: SshHostOptions): Promise<SshHost> {
  const attempts: string[] = [];
  const clients = new Set<Connection>();
  const sockets = new Set<net.Socket>();
  const waiting = new Set<() => void>();
  let made = 0;
  const server = new ssh2.Server(
    {
      hostKeys: options.hostKeys.map(({ privateKey }) => privateKey),
      ident: options.software ?? 'TestHost_1.0',
      ...(options.algorithms === undefined ? {} : { algorithms: options.algorithms }),
      ...(options.banner === undefined ? {} : { banner: options.banner }),
      ...(options.signatures === 'untold' ? { debug: () => forgetExtensions(clients) } : {}),
    },
    (client) => {
      clients.add(client);
      let attempt = 0;
      client
        .on('authentication', (context) => {
          attempt += 1;
          const signed = isPublicKey(context) && context.signature !== undefined;
          attempts.push(signed ? 'publickey+signature' : context.method);
          (options.login ?? letIn)(context, attempt);
        })
        .on('ready', () => serve(client, options))
        .on('error', () => {})
        .on('close', () => clients.delete(client));
    },
  );
  const listener = net.createServer({ noDelay: true }, (socket) => {
    made += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) for (const resolve of waiting) resolve();
    });
    server.injectSocket(socket);
  });
  const host = options.host ?? '127.0.0.1';
  const port = await listening(listener, host);
  const empty = (): Promise<void> =>
    sockets.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.add(resolve));
  return {
    host,
    port,
    attempts,
    get connections() {
      return { made, open: sockets.size };
    },
    rekey: () => {
      for (const client of clients) client.rekey();
    },
    freeze: () => {
      for (const socket of sockets) socket.pause();
    },
    drop: () => {
      for (const socket of sockets) socket.destroy();
    },
    empty,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function isPublicKey(context: AuthContext): context is PublicKeyAuthContext {
  return context.method === 'publickey';
}

function serve(client: Connection, options: SshHostOptions): void {
  const kind = options.sftp ?? 'echo';
  client.on('session', (accept, reject) => {
    if (kind === 'full') {
      reject();
      return;
    }
    if (kind === 'no room') allowNothing(client);
    accept().on('subsystem', (open, refuse) => {
      if (kind === 'silent') return;
      if (kind === 'flood') {
        flood(open());
        return;
      }
      if (kind === 'refuse') refuse?.();
      else if (kind === 'echo') echo(open());
      else die(open());
    });
  });
  // Without a listener it is prohibited.
  if (options.forwards === 'refuse') return;
  client.on('tcpip', (accept, reject, { destIP, destPort }) => {
    const socket = net.connect({ port: destPort, host: destIP, noDelay: true });
    socket.on('error', () => reject());
    client.on('close', () => socket.destroy());
    socket.on('connect', () => {
      const channel: ServerChannel = accept();
      channel.pipe(socket).pipe(channel);
      channel.on('error', () => {});
      channel.on('close', () => socket.destroy());
    });
  });
}

function echo(channel: ServerChannel): void {
  channel.on('error', () => {});
  channel.pipe(channel);
}

/** As if the client had given a window without end. */
function flood(channel: ServerChannel): void {
  channel.on('error', () => {});
  const outgoing: unknown = Reflect.get(channel, 'outgoing');
  if (typeof outgoing === 'object' && outgoing !== null) Reflect.set(outgoing, 'window', 1e12);
  // Of a size that steps over the window's end: where it is met exactly, ssh2 drops what follows.
  for (let piece = 0; piece < 160; piece++) channel.write(Buffer.alloc(100_001));
}

/** Channels are confirmed with the largest packet of no bytes (RFC 4254 section 5.1). */
function allowNothing(client: Connection): void {
  const protocol: unknown = Reflect.get(client, '_protocol');
  if (typeof protocol !== 'object' || protocol === null) throw new Error('ssh2 has changed');
  const confirm: unknown = Reflect.get(protocol, 'channelOpenConfirm');
  if (typeof confirm !== 'function') throw new Error('ssh2 has changed');
  Reflect.set(protocol, 'channelOpenConfirm', (theirs: number, ours: number, window: number) =>
    Reflect.apply(confirm, protocol, [theirs, ours, window, 0]),
  );
}

function die(channel: ServerChannel): void {
  channel.on('error', () => {});
  channel.stderr.write('/usr/lib/sftp-server: not found\n');
  channel.exit(127);
  channel.end();
}

/** A listener on a free port. */
async function listening(server: net.Server, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: 0 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('A listener without a port');
  return address.port;
}

/** A peer that is no SSH server: sends what it is given at once, and does as told. */
export async function startTalker(
  talk: (socket: net.Socket) => void,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    talk(socket);
  });
  const port = await listening(listener, '127.0.0.1');
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
