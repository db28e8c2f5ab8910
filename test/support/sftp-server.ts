/*
 * An SFTP server for tests: real sockets on loopback, SSH by ssh2, SFTP version 3 of its own on the bare channel so
 * that it can misbehave at any byte, real files below one directory, and faults as data (sftp-server/fault.ts).
 *
 *   await using server = await startSftpServer({ root });
 *   server.script({ on: 'WRITE', path: '*.gz', nth: 2, do: { kind: 'status', code: 4 } });
 *   await server.waitFor('posix-rename@openssh.com');  server.journal.logins  // 1
 */
import { mkdir } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import ssh2 from 'ssh2';
import { Disk, toBytes } from './ftp-server/disk.js';
import { Connection } from './sftp-server/connection.js';
import { type Ending, type Rule, Script, type ScriptedRule } from './sftp-server/fault.js';
import { type Journal, JournalBook, type JournalRequest } from './sftp-server/journal.js';
import { fingerprintOf, sshKey } from './sftp-server/keys.js';
import type { Shared } from './sftp-server/session.js';
import { type Settings, type SftpServerOptions, settle } from './sftp-server/settings.js';

const defaultWaitMs = 10_000;
/** ssh2 insists on asking whether a client is there still; a test does not want it to. */
const neverMs = 2 ** 31 - 1;

/** Called synchronously right before a request is executed (or a fault strikes in its place). */
export type RequestListener = (request: JournalRequest) => void;
/** Called synchronously right before an answer is sent: `STATUS 0`, `NAME 3`. */
export type AnswerListener = (answer: string, request: JournalRequest) => void;

export interface Wait {
  /** 10 000 unless told. */
  readonly timeoutMs?: number;
}

export interface WaitForRequest extends Wait {
  /** The how-manieth such request, counted from 1 over the server's whole life. */
  readonly nth?: number;
  /** Holds against the path. */
  readonly path?: RegExp;
}

/**
 * Starts a server; it accepts connections when the promise resolves.
 *
 * @throws Error where the options contradict each other, or the port is taken
 */
export async function startSftpServer(options: SftpServerOptions): Promise<SftpServer> {
  const settings = settle(options);
  const names = settings.names === 'unicode' ? 'pyftpdlib' : settings.names;
  const disk = new Disk(settings.root, names);
  let made = '';
  for (const component of disk.resolve('/', toBytes(settings.home)).split('/')) {
    if (component === '') continue;
    made += `/${component}`;
    await mkdir(await disk.real(made, { lastLink: 'followed' }), { recursive: true });
  }
  const listener = createServer();
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ host: settings.host, port: settings.port }, () => {
      listener.off('error', reject);
      resolve();
    });
  });
  return new SftpServer(settings, disk, listener);
}

/** A running server. */
export class SftpServer implements AsyncDisposable {
  readonly address: '127.0.0.1' | '::1';
  readonly port: number;
  readonly root: string;
  readonly journal: Journal;
  /** The public halves of the host keys, as lines `TYPE BASE64`. */
  readonly hostKeys: readonly string[];
  /** `SHA256:...` of each of them. */
  readonly fingerprints: readonly string[];
  readonly #listener: Server;
  readonly #book = new JournalBook();
  readonly #script = new Script();
  readonly #connections = new Map<number, Connection>();
  readonly #requestListeners = new Set<RequestListener>();
  readonly #answerListeners = new Set<AnswerListener>();
  readonly #problems: unknown[] = [];
  readonly #shared: Shared;
  readonly #ssh: ssh2.Server;
  readonly #byPort = new Map<string, Connection>();
  #count = 0;
  #closing: Promise<void> | undefined;

  constructor(settings: Settings, disk: Disk, listener: Server) {
    this.address = settings.host;
    this.port = (listener.address() as AddressInfo).port;
    this.root = settings.root;
    this.journal = this.#book;
    this.#listener = listener;
    this.#shared = {
      settings,
      disk,
      script: this.#script,
      journal: this.#book,
      usedBytes: 0,
      requestHeard: (request) => {
        for (const hear of this.#requestListeners) hear(request);
      },
      answerHeard: (answer, request) => {
        for (const hear of this.#answerListeners) hear(answer, request);
      },
      problem: (error) => this.#problems.push(error),
      open: () => this.#connections.size,
    };
    const keys = settings.hostKeys ?? [sshKey('host').privateKey];
    this.hostKeys = keys.map(publicHalf);
    this.fingerprints = this.hostKeys.map(fingerprintOf);
    this.#ssh = new ssh2.Server(
      {
        hostKeys: [...keys],
        ident: settings.software,
        keepaliveInterval: neverMs,
        ...(settings.banner === undefined ? {} : { banner: settings.banner }),
      },
      (connection, { port, ip }) => this.#byPort.get(`${ip} ${port}`)?.take(connection),
    );
    listener.on('connection', (socket) => {
      this.#count += 1;
      const connection = new Connection(this.#shared, socket, this.#count);
      const key = `${socket.remoteAddress} ${socket.remotePort}`;
      this.#connections.set(connection.id, connection);
      this.#byPort.set(key, connection);
      void connection.done.then(() => {
        this.#connections.delete(connection.id);
        this.#byPort.delete(key);
      });
      void connection
        .begin()
        .then((begun) => {
          if (begun) this.#ssh.injectSocket(socket);
          else socket.resume();
        })
        .catch(this.#shared.problem);
    });
  }

  /** `sftp://127.0.0.1:2222`, as a job file has it, but for the user. */
  get url(): string {
    return `sftp://${this.#host}:${this.port}`;
  }

  /** Lines of a known_hosts file that trusts this server. */
  get knownHosts(): string {
    const bare = this.address;
    return this.hostKeys.map((key) => `[${bare}]:${this.port} ${key}\n`).join('');
  }

  /** Sets a rule; the order of rules is the order in which they are asked. */
  script(rule: Rule): ScriptedRule {
    return this.#script.add(rule);
  }

  /** Forgets all rules; what already struck stays struck. */
  behave(): void {
    this.#script.clear();
  }

  /** Resolves as soon as the journal fulfils the condition; asked at every change. */
  until(condition: (journal: Journal) => boolean, options: Wait = {}): Promise<void> {
    return this.#book.until(condition, options.timeoutMs ?? defaultWaitMs);
  }

  /** Resolves once such a request was received, also where that was before the call. */
  waitFor(name: string, options: WaitForRequest = {}): Promise<void> {
    const { path, nth = 1 } = options;
    return this.until((journal) => {
      const found = journal.of(name).filter((one) => path === undefined || path.test(one.path ?? ''));
      return found.length >= nth;
    }, options);
  }

  /** Hears requests or answers as they happen; the returned function stops it. */
  on(event: 'request', listener: RequestListener): () => void;
  on(event: 'answer', listener: AnswerListener): () => void;
  on(...heard: ['request', RequestListener] | ['answer', AnswerListener]): () => void {
    if (heard[0] === 'request') {
      const [, listener] = heard;
      this.#requestListeners.add(listener);
      return () => void this.#requestListeners.delete(listener);
    }
    const [, listener] = heard;
    this.#answerListeners.add(listener);
    return () => void this.#answerListeners.delete(listener);
  }

  /** Sends bytes nobody asked for on every SFTP session, or on those of one connection. */
  async push(bytes: Uint8Array, connection?: number): Promise<void> {
    const sessions = this.#some(connection).flatMap((each) => each.sessions);
    await Promise.all(sessions.map((session) => session.push(bytes)));
  }

  /** Ends every connection (or its SFTP sessions), or one; new ones are accepted. */
  drop(how: Ending, connection?: number): void {
    for (const each of this.#some(connection)) each.finish(how);
  }

  /** Agrees on new keys with everybody, or on one connection. */
  rekey(connection?: number): void {
    for (const each of this.#some(connection)) each.rekey();
  }

  /**
   * Closes everything and resolves when no socket, timer or file is left open. Safe to call twice.
   *
   * @throws AggregateError where the server itself broke on the way, so that no test passes over that
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #host(): string {
    return this.address === '::1' ? '[::1]' : this.address;
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#listener.close(() => resolve());
    });
    const connections = [...this.#connections.values()];
    for (const connection of connections) connection.destroy();
    await Promise.all(connections.map((connection) => connection.done));
    await closed;
    this.#book.end();
    if (this.#problems.length > 0)
      throw new AggregateError(this.#problems, 'The scripted server itself broke');
  }

  #some(connection: number | undefined): Connection[] {
    const all = [...this.#connections.values()];
    return connection === undefined ? all : all.filter((each) => each.id === connection);
  }
}

function publicHalf(privateKey: string): string {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  const [key] = Array.isArray(parsed) ? parsed : [parsed];
  if (key === undefined) throw new Error('A host key has no key in it');
  return `${key.type} ${key.getPublicSSH().toString('base64')}`;
}
