/* A remote on a scripted SFTP server, opened as the daemon opens it: through an account with its pool. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { RemotePath, SftpServer as Settings } from '../../src/job/job.js';
import { type Account, openAccount } from '../../src/remote/account.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import type { Remote } from '../../src/remote/remote.js';
import type { SftpCredentials } from '../../src/remote/sftp/account.js';
import { held, nothingLeft } from '../ftp/stage.js';
import type { SftpServerOptions } from '../support/sftp-server/settings.js';
import { type SftpServer, startSftpServer } from '../support/sftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import type { Berth } from './contract.js';

export interface SftpBerthOptions {
  readonly server?: Omit<SftpServerOptions, 'root'>;
  /** Below the login directory `/home/ferry` unless absolute. */
  readonly root?: RemotePath;
  /** What the account is told. */
  readonly account?: Partial<Settings>;
  readonly credentials?: Partial<SftpCredentials>;
  /** The way leads through a scripted server of this kind, which is asked for connections. */
  readonly gate?: Omit<SftpServerOptions, 'root'>;
  /** Where what is found out about the server is kept. */
  readonly profile?: ProfileStore;
  /** Called before anything is connected. */
  readonly prepare?: (server: SftpServer) => void;
}

interface Parts {
  readonly server: SftpServer;
  readonly gate: SftpServer | undefined;
  readonly account: Account;
  readonly root: RemotePath;
  readonly disk: string;
  readonly learned: string[];
  readonly wire: string[];
  readonly directory: TemporaryDirectory;
  readonly before: ReadonlyMap<string, number>;
}

export class SftpBerth implements Berth {
  readonly remote: Remote;
  readonly disk: string;
  readonly server: SftpServer;
  /** The server that the way leads through. */
  readonly gate: SftpServer | undefined;
  readonly account: Account;
  /** What the account said it has learned about the server, in order. */
  readonly learned: string[];
  readonly wire: string[];
  readonly #directory: TemporaryDirectory;
  readonly #before: ReadonlyMap<string, number>;

  private constructor(parts: Parts) {
    this.server = parts.server;
    this.gate = parts.gate;
    this.account = parts.account;
    this.remote = parts.account.remote(parts.root);
    this.disk = parts.disk;
    this.learned = parts.learned;
    this.wire = parts.wire;
    this.#directory = parts.directory;
    this.#before = parts.before;
  }

  static async open(options: SftpBerthOptions = {}): Promise<SftpBerth> {
    const before = held();
    const directory = await temporaryDirectory('remote');
    const root = options.root ?? { path: 'dumps', absolute: false };
    const server = await startSftpServer({ ...options.server, root: directory.path });
    const gate =
      options.gate === undefined
        ? undefined
        : await startSftpServer({ forwarding: 'allowed', ...options.gate, root: directory.path });
    options.prepare?.(server);
    const home = options.server?.home ?? '/home/ferry';
    const disk = resolve(join(directory.path, root.absolute ? '' : home, root.path));
    await mkdir(disk, { recursive: true });
    const learned: string[] = [];
    const wire: string[] = [];
    const settings = { ...sftpSettings(server), ...options.account };
    const credentials = sftpCredentials(options.credentials);
    const account = openAccount(
      {
        protocol: 'sftp',
        server: gate === undefined ? settings : { ...settings, via: { ...sftpSettings(gate), name: 'gate' } },
        credentials: gate === undefined ? credentials : { ...credentials, via: sftpCredentials() },
      },
      {
        onOpened: () => {},
        onLearned: (message) => learned.push(message),
        onWire: (line) => wire.push(line),
      },
      options.profile,
    );
    return new SftpBerth({ server, gate, account, root, disk, learned, wire, directory, before });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.account.close();
    for (const server of [this.server, this.gate]) {
      await server?.until((journal) => journal.open === 0 && journal.openHandles === 0);
      await server?.close();
    }
    await this.#directory.remove();
    await nothingLeft(this.#before);
  }
}

/** Credentials with the password of a scripted server and nothing else but what is said. */
export function sftpCredentials(known: Partial<SftpCredentials> = {}): SftpCredentials {
  return {
    password: 'secret',
    privateKey: undefined,
    passphrase: undefined,
    agentSocket: undefined,
    via: undefined,
    ...known,
  };
}

/** Settings that fit a scripted server, and trust its host keys. */
export function sftpSettings(server: SftpServer): Settings {
  return {
    name: 'nas',
    protocol: 'sftp',
    host: server.address,
    port: server.port,
    user: 'ferry',
    password: { kind: 'env', name: 'UNUSED' },
    privateKey: undefined,
    passphrase: undefined,
    agent: undefined,
    hostKeys: server.fingerprints,
    knownHosts: [join(server.root, 'known_hosts')],
    via: undefined,
    connections: 4,
    charset: 'utf-8',
    verify: 'auto',
    timeouts: { connectMs: 5_000, replyMs: 5_000, stallMs: 5_000, transferMs: 60_000 },
  };
}
