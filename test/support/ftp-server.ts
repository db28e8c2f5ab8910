/*
 * An FTP/FTPS server for tests and for the demo: real sockets on loopback, real files below one directory, and faults
 * as data (ftp-server/fault.ts). It is never part of the daemon and trusts its clients with memory and time.
 *
 *   await using server = await startFtpServer({ root, security: 'explicit', certificate: (await certificates()).good });
 *   server.script({ on: 'STOR', path: '*.gz', nth: 2, do: { kind: 'dataReset', atByte: 1000 } });
 *   await server.waitFor('RNTO');  server.journal.dataConnections  // 0
 */
import { mkdir } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Disk, toBytes } from './ftp-server/disk.js';
import { type Ending, type Rule, Script, type ScriptedRule } from './ftp-server/fault.js';
import { type Journal, JournalBook } from './ftp-server/journal.js';
import { encode, Session, type Shared } from './ftp-server/session.js';
import { type FtpServerOptions, type Settings, settle } from './ftp-server/settings.js';

const defaultWaitMs = 10_000;

/** Called synchronously right before a command is executed (or a fault strikes in its place). */
export type CommandListener = (verb: string, argument: string, connection: number) => void;
/** Called synchronously right before a reply is sent; `verb` is `greeting` for the first. */
export type ReplyListener = (text: string, verb: string, connection: number) => void;

export interface Wait {
  /** 10 000 unless told. */
  readonly timeoutMs?: number;
}

export interface WaitForCommand extends Wait {
  /** The how-manieth such command, counted from 1 over the server's whole life. */
  readonly nth?: number;
  /** Holds against the argument. */
  readonly argument?: RegExp;
}

/**
 * Starts a server; it accepts connections when the promise resolves.
 *
 * @throws Error where the options contradict each other, or the port is taken
 */
export async function startFtpServer(options: FtpServerOptions): Promise<FtpServer> {
  const settings = settle(options);
  const disk = new Disk(settings.root, settings.names);
  await makeHome(disk, settings.home);
  const listener = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ host: settings.host, port: settings.port }, () => {
      listener.off('error', reject);
      resolve();
    });
  });
  return new FtpServer(settings, disk, listener);
}

async function makeHome(disk: Disk, home: string): Promise<void> {
  let made = '';
  for (const component of disk.resolve('/', toBytes(home)).split('/')) {
    if (component === '') continue;
    made += `/${component}`;
    await mkdir(await disk.real(made, { lastLink: 'followed' }), { recursive: true });
  }
}

/** A running server. */
export class FtpServer implements AsyncDisposable {
  readonly address: '127.0.0.1' | '::1';
  readonly port: number;
  readonly root: string;
  readonly journal: Journal;
  readonly #listener: Server;
  readonly #book = new JournalBook();
  readonly #script = new Script();
  readonly #sessions = new Map<number, Session>();
  readonly #commandListeners = new Set<CommandListener>();
  readonly #replyListeners = new Set<ReplyListener>();
  readonly #problems: unknown[] = [];
  readonly #shared: Shared;
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
      commandHeard: (verb, argument, connection) => {
        const shown = verb === 'PASS' || verb === 'ACCT' ? '' : argument;
        for (const hear of this.#commandListeners) hear(verb, shown, connection);
      },
      replyHeard: (text, verb, connection) => {
        for (const hear of this.#replyListeners) hear(text, verb, connection);
      },
      problem: (error) => this.#problems.push(error),
      open: () => this.#sessions.size,
    };
    listener.on('connection', (socket) => this.#connected(socket));
  }

  /** `ftp://127.0.0.1:2121`, `ftpes://...` or `ftps://...`, as a job file has it. */
  get url(): string {
    const scheme = { plain: 'ftp', explicit: 'ftpes', implicit: 'ftps' }[this.#shared.settings.security];
    return `${scheme}://${this.address === '::1' ? '[::1]' : this.address}:${this.port}`;
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

  /** Resolves once such a command was received, also where that was before the call. */
  waitFor(verb: string, options: WaitForCommand = {}): Promise<void> {
    const { argument, nth = 1 } = options;
    return this.until((journal) => {
      const found = journal
        .of(verb)
        .filter((command) => argument === undefined || argument.test(command.argument));
      return found.length >= nth;
    }, options);
  }

  /** Hears commands or replies as they happen; the returned function stops it. */
  on(event: 'command', listener: CommandListener): () => void;
  on(event: 'reply', listener: ReplyListener): () => void;
  on(event: 'command' | 'reply', listener: CommandListener & ReplyListener): () => void {
    const listeners: Set<CommandListener> =
      event === 'command' ? this.#commandListeners : this.#replyListeners;
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Sends words nobody asked for (`421 Going down.`) on every control connection, or on one. */
  async push(text: string, connection?: number): Promise<void> {
    await Promise.all(this.#some(connection).map((session) => session.push(encode(text))));
  }

  /** Ends every control connection, or one, with its data connection; new ones are accepted. */
  drop(how: Ending, connection?: number): void {
    for (const session of this.#some(connection)) session.finish(how);
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

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#listener.close(() => resolve());
    });
    const sessions = [...this.#sessions.values()];
    for (const session of sessions) session.destroy();
    await Promise.all(sessions.map((session) => session.done));
    await closed;
    this.#book.end();
    if (this.#problems.length > 0)
      throw new AggregateError(this.#problems, 'The scripted server itself broke');
  }

  #connected(socket: Socket): void {
    this.#count += 1;
    const session = new Session(this.#shared, socket, this.#count);
    this.#sessions.set(session.id, session);
    void session.done.then(() => this.#sessions.delete(session.id));
    session.background(session.start());
  }

  #some(connection: number | undefined): Session[] {
    const all = [...this.#sessions.values()];
    return connection === undefined ? all : all.filter((session) => session.id === connection);
  }
}
