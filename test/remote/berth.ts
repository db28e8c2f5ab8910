/* A remote on a scripted server, opened as the daemon opens it: through an account with its pool. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { RemotePath, ServerTls, FtpServer as Settings } from '../../src/job/job.js';
import { FtpAccount, type FtpCredentials } from '../../src/remote/ftp/account.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import type { Remote } from '../../src/remote/remote.js';
import { held, nothingLeft } from '../ftp/stage.js';
import { certificates } from '../support/certificates.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import type { Berth } from './contract.js';

export interface FtpBerthOptions {
  readonly server?: Omit<FtpServerOptions, 'root'>;
  /** Below the login directory `/home/ferry` unless absolute. */
  readonly root?: RemotePath;
  /** What the account is told. */
  readonly account?: Partial<Settings>;
  readonly password?: string;
  readonly credentials?: Partial<FtpCredentials>;
  /** Where what is found out about the server is kept. */
  readonly profile?: ProfileStore;
  /** Called before anything is connected. */
  readonly prepare?: (server: FtpServer) => void;
}

export class FtpBerth implements Berth {
  readonly remote: Remote;
  readonly disk: string;
  readonly server: FtpServer;
  readonly account: FtpAccount;
  /** What the account said it has learned about the server, in order. */
  readonly learned: string[];
  readonly wire: string[];
  readonly #directory: TemporaryDirectory;
  readonly #before: ReadonlyMap<string, number>;

  private constructor(parts: {
    server: FtpServer;
    account: FtpAccount;
    root: RemotePath;
    disk: string;
    learned: string[];
    wire: string[];
    directory: TemporaryDirectory;
    before: ReadonlyMap<string, number>;
  }) {
    this.server = parts.server;
    this.account = parts.account;
    this.remote = parts.account.remote(parts.root);
    this.disk = parts.disk;
    this.learned = parts.learned;
    this.wire = parts.wire;
    this.#directory = parts.directory;
    this.#before = parts.before;
  }

  static async open(options: FtpBerthOptions = {}): Promise<FtpBerth> {
    const before = held();
    const all = await certificates();
    const directory = await temporaryDirectory('remote');
    const home = '/home/ferry';
    const root = options.root ?? { path: 'dumps', absolute: false };
    const server = await startFtpServer({
      certificate: all.good,
      home,
      ...options.server,
      root: directory.path,
    });
    options.prepare?.(server);
    const disk = resolve(join(directory.path, root.absolute ? '' : home, root.path));
    await mkdir(disk, { recursive: true });
    const learned: string[] = [];
    const wire: string[] = [];
    const account = new FtpAccount(
      { ...serverSettings(server, options.server?.security ?? 'plain'), ...options.account },
      credentialsOf({ password: options.password ?? 'secret', ca: all.ca.cert, ...options.credentials }),
      {
        onOpened: () => {},
        onLearned: (message) => learned.push(message),
        onWire: (line) => wire.push(line),
      },
      options.profile,
    );
    return new FtpBerth({ server, account, root, disk, learned, wire, directory, before });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.account.close();
    await this.server.until((journal) => journal.open === 0);
    await this.server.close();
    await this.#directory.remove();
    await nothingLeft(this.#before);
  }
}

/** Nothing about TLS but what holds by itself. */
export const noTlsSettings: ServerTls = {
  caFile: undefined,
  pin: undefined,
  verify: true,
  serverName: undefined,
  certificateFile: undefined,
  key: undefined,
  passphrase: undefined,
};

/** Credentials with nothing but what is said. */
export function credentialsOf(known: Partial<FtpCredentials>): FtpCredentials {
  return {
    password: undefined,
    account: undefined,
    ca: undefined,
    certificate: undefined,
    key: undefined,
    passphrase: undefined,
    ...known,
  };
}

/** Settings that fit a scripted server. */
export function serverSettings(
  server: { readonly address: string; readonly port: number },
  security: Settings['security'],
): Settings {
  return {
    name: 'nas',
    protocol: 'ftp',
    security,
    host: server.address,
    port: server.port,
    user: 'ferry',
    password: { kind: 'env', name: 'UNUSED' },
    account: undefined,
    tls: noTlsSettings,
    connections: 4,
    dataConnection: 'auto',
    active: { address: undefined, ports: undefined },
    charset: 'utf-8',
    verify: 'auto',
    timeouts: { connectMs: 5_000, replyMs: 5_000, stallMs: 5_000, transferMs: 60_000 },
  };
}
