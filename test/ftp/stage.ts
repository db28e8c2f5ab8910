/*
 * What the engine's tests stand on: a scripted server in a directory of its own, clients of it, and at the end the
 * proof that no socket and no listener is left, and no timer that src/ has set. Meant for `await using`.
 */
import { createHook } from 'node:async_hooks';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'vitest';
import { type ClientOptions, FtpClient } from '../../src/ftp/client.js';
import { FtpError } from '../../src/ftp/errors.js';
import { type Certificate, certificates } from '../support/certificates.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

export interface StageOptions extends Omit<FtpServerOptions, 'root' | 'certificate'> {
  /** The server's; the good one unless told. */
  readonly certificate?: Certificate;
}

export class Stage implements AsyncDisposable {
  readonly server: FtpServer;
  readonly directory: TemporaryDirectory;
  /** Every line that onWire heard, of all clients. */
  readonly wire: string[] = [];
  readonly #security: ClientOptions['security'];
  readonly #ca: string;
  readonly #before: ReadonlyMap<string, number>;
  readonly #clients: FtpClient[] = [];

  private constructor(
    server: FtpServer,
    directory: TemporaryDirectory,
    own: { security: ClientOptions['security']; ca: string; before: ReadonlyMap<string, number> },
  ) {
    this.server = server;
    this.directory = directory;
    this.#security = own.security;
    this.#ca = own.ca;
    this.#before = own.before;
  }

  static async open(options: StageOptions = {}): Promise<Stage> {
    const before = held();
    const all = await certificates();
    const directory = await temporaryDirectory('ftp');
    const server = await startFtpServer({ certificate: all.good, ...options, root: directory.path });
    return new Stage(server, directory, { security: options.security ?? 'plain', ca: all.ca.cert, before });
  }

  /** Options that fit the server. */
  options(changes: Partial<ClientOptions> = {}): ClientOptions {
    return {
      host: this.server.address,
      port: this.server.port,
      security: this.#security,
      trust: {
        ca: this.#ca,
        pin: undefined,
        verify: true,
        serverName: undefined,
        identity: undefined,
        maxVersion: 'TLSv1.3',
      },
      active: { address: undefined, ports: undefined },
      connectTimeoutMs: 5_000,
      replyTimeoutMs: 5_000,
      stallTimeoutMs: 5_000,
      transferTimeoutMs: 60_000,
      onWire: (line) => this.wire.push(line),
      ...changes,
    };
  }

  /** A client that is connected and secured, and not logged in. */
  async connect(changes: Partial<ClientOptions> = {}): Promise<FtpClient> {
    const client = await FtpClient.connect(this.options(changes));
    this.#clients.push(client);
    return client;
  }

  /** A client that is logged in, in binary mode. */
  async login(changes: Partial<ClientOptions> = {}): Promise<FtpClient> {
    const client = await this.connect(changes);
    await client.login({ user: 'ferry', password: 'secret', account: undefined });
    await client.useBinary();
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.reset('the test is over');
    await this.server.until((journal) => journal.open === 0);
    await this.server.close();
    await this.directory.remove();
    await nothingLeft(this.#before);
  }
}

/** The error that a promise rejects with, which must be the engine's own. */
export async function failure(work: Promise<unknown>): Promise<FtpError> {
  const error = await work.then(
    (value) => new Error(`It did not fail, and gave ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!(error instanceof FtpError)) throw error;
  return error;
}

/**
 * Timers that run, and some that are over, with the error that knows where they were set. Only for those that still run
 * when somebody looks is that written out: for every one it would take longer than most tests do. Nor does this hook
 * hear of the end of a timer: where any hook listens for that, Node keeps track of each promise, too.
 */
const timers = new Map<object, Error>();
const FEW = 500;
let enough = FEW;

createHook({
  init(_id, type, _trigger, timer: object) {
    if (type !== 'Timeout') return;
    timers.set(timer, new Error());
    if (timers.size < enough) return;
    for (const each of timers.keys()) if (isOver(each)) timers.delete(each);
    enough = Math.max(FEW, 2 * timers.size);
  },
}).enable();

/** It has fired or was cleared: Node marks it so in that moment. */
function isOver(timer: object): boolean {
  return '_destroyed' in timer && timer._destroyed === true;
}

/** Where src/ has set the timers that still run: the test runner has its own, which are nobody's business here. */
function running(): string[] {
  const setters: string[] = [];
  for (const [timer, setAt] of timers) {
    const setter = isOver(timer)
      ? undefined
      : setAt.stack?.split('\n').find((line) => line.includes('/src/'));
    if (setter === undefined) timers.delete(timer);
    else setters.push(`timer ${setter.trim()}`);
  }
  return setters;
}

/** Sockets, listeners and timers that keep this process alive, by kind. */
export function held(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const sockets = process.getActiveResourcesInfo().filter((name) => /^(TCP|TLS)/.test(name));
  for (const name of [...sockets, ...running()]) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** Fails where more is held than before; what is closing gets its turns of the event loop to do so. */
export async function nothingLeft(before: ReadonlyMap<string, number>): Promise<void> {
  const more = (): [string, number][] =>
    [...held()].filter(([name, count]) => count > (before.get(name) ?? 0));
  for (let turn = 0; turn < 1_000 && more().length > 0; turn += 1) await setImmediate();
  expect(more(), 'left behind').toEqual([]);
}

/** A source that hands out these chunks. */
export async function* chunksOf(...chunks: readonly (Buffer | string)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}
