/*
 * A remote on a real SFTP server, opened as the daemon opens it: through an account with its pool. What the account
 * said and what the server logged are at hand. Nothing is left behind: no socket here, no process, no directory.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RemotePath, SftpServer } from '../../src/job/job.js';
import { type Account, openAccount } from '../../src/remote/account.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import type { Remote } from '../../src/remote/remote.js';
import type { SftpCredentials } from '../../src/remote/sftp/account.js';
import { held, nothingLeft } from '../ftp/stage.js';
import type { SshServerName } from '../support/real-server.js';
import { startModSftp } from '../support/servers/mod-sftp.js';
import { noAccounts, type RealSshServer, startSshd } from '../support/servers/openssh.js';
import type { Berth, Traits } from './contract.js';

/** A kind of real server, and how one logs in there, as the suites run it. */
export interface SftpKind {
  readonly server: SshServerName;
  readonly title: string;
  readonly login: 'password' | 'key';
  readonly traits: Traits;
  /** What is missing for it; undefined where nothing is. */
  readonly advice: string | undefined;
  /** How many of them take turns in a suite: ProFTPD's listener sleeps 0.4 s whenever a session has ended. */
  readonly turns: number;
  start(): Promise<RealSshServer>;
}

export const sftpKinds: readonly SftpKind[] = [
  {
    server: 'openssh',
    title: 'a password',
    login: 'password',
    traits: {},
    advice: noAccounts,
    turns: 1,
    start: () => startSshd({ logins: ['password'] }),
  },
  {
    server: 'openssh',
    title: 'a key, internal-sftp in a chroot',
    login: 'key',
    traits: {},
    advice: noAccounts,
    turns: 1,
    start: () => startSshd({ logins: ['key'], sftp: 'internal', chroot: 'chroot' }),
  },
  // What whoever is not root can have.
  ...(noAccounts === undefined
    ? []
    : [
        {
          server: 'openssh',
          title: 'a key',
          login: 'key',
          traits: {},
          advice: undefined,
          turns: 1,
          start: () => startSshd(),
        } satisfies SftpKind,
      ]),
  {
    server: 'mod-sftp',
    title: 'a password',
    login: 'password',
    traits: {},
    advice: undefined,
    turns: 4,
    start: () => startModSftp(),
  },
];

/** What an account is told besides what fits the server. */
export type SftpAccountChanges = Partial<SftpServer> & {
  /** With what it logs in; a key unless told. Left out where `credentials` say all of it. */
  readonly login?: 'password' | 'key' | 'nothing';
  readonly credentials?: Partial<SftpCredentials>;
  readonly profile?: ProfileStore;
  /** Directory of the remote, below the login directory unless absolute. */
  readonly at?: RemotePath;
};

/** Settings that fit a real server. */
export function sftpSettings(server: RealSshServer, changes: Partial<SftpServer> = {}): SftpServer {
  return {
    name: 'nas',
    protocol: 'sftp',
    host: server.host,
    port: server.port,
    user: server.user,
    password: { kind: 'env', name: 'UNUSED' },
    privateKey: undefined,
    passphrase: undefined,
    agent: undefined,
    hostKeys: server.hostKeys,
    knownHosts: ['/nonexistent/known_hosts'],
    via: undefined,
    connections: 4,
    charset: 'utf-8',
    verify: 'auto',
    timeouts: { connectMs: 5_000, replyMs: 5_000, stallMs: 5_000, transferMs: 60_000 },
    ...changes,
  };
}

/** Credentials with nothing but what is said. */
export function sftpCredentials(known: Partial<SftpCredentials>): SftpCredentials {
  return {
    password: undefined,
    privateKey: undefined,
    passphrase: undefined,
    agentSocket: undefined,
    via: undefined,
    ...known,
  };
}

/** What one logs in to a server with. */
export function loginAt(
  server: RealSshServer,
  login: 'password' | 'key' | 'nothing' = 'key',
): Partial<SftpCredentials> {
  if (login === 'nothing') return {};
  return login === 'password' ? { password: server.password } : { privateKey: server.privateKey };
}

let directories = 0;

export class RealSftpBerth<Real extends RealSshServer = RealSshServer> implements Berth {
  readonly disk: string;
  readonly remote: Remote;
  readonly server: Real;
  readonly account: Account;
  /** What the account said it has learned about the server, in order. */
  readonly learned: readonly string[];
  /** What it said about each session that it opened. */
  readonly opened: readonly string[];
  readonly wire: readonly string[];
  readonly #before: ReadonlyMap<string, number>;
  readonly #leave: () => Promise<void>;

  private constructor(parts: {
    server: Real;
    disk: string;
    at: RemotePath;
    account: Account;
    learned: readonly string[];
    opened: readonly string[];
    wire: readonly string[];
    before: ReadonlyMap<string, number>;
    leave: () => Promise<void>;
  }) {
    this.disk = parts.disk;
    this.remote = parts.account.remote(parts.at);
    this.server = parts.server;
    this.account = parts.account;
    this.learned = parts.learned;
    this.opened = parts.opened;
    this.wire = parts.wire;
    this.#before = parts.before;
    this.#leave = parts.leave;
  }

  /** With a server of its own, which ends with it. */
  static async open<Real extends RealSshServer>(
    start: () => Promise<Real>,
    changes: SftpAccountChanges = {},
  ): Promise<RealSftpBerth<Real>> {
    const before = held();
    const server = await start();
    return RealSftpBerth.#at(server, changes, { directory: 'dumps', before, leave: server.stop });
  }

  /** At a server that others use, too, one after the other: with a directory and an account's pool of its own. */
  static async beside<Real extends RealSshServer>(
    server: Real,
    changes: SftpAccountChanges = {},
  ): Promise<RealSftpBerth<Real>> {
    const before = held();
    directories += 1;
    const directory = `dumps-${directories}`;
    // A session that is still on its way out may hold on to something for a moment.
    const leave = (): Promise<void> =>
      rm(join(server.root, directory), { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    return RealSftpBerth.#at(server, changes, { directory, before, leave });
  }

  static async #at<Real extends RealSshServer>(
    server: Real,
    { credentials, login, profile, at, ...changes }: SftpAccountChanges,
    own: { directory: string; before: ReadonlyMap<string, number>; leave: () => Promise<void> },
  ): Promise<RealSftpBerth<Real>> {
    const disk = join(server.root, own.directory);
    await mkdir(disk, { recursive: true });
    await server.adopt();
    const learned: string[] = [];
    const opened: string[] = [];
    const wire: string[] = [];
    const account = openAccount(
      {
        protocol: 'sftp',
        server: sftpSettings(server, changes),
        credentials: sftpCredentials({ ...loginAt(server, login), ...credentials }),
      },
      {
        onOpened: (message) => opened.push(message),
        onLearned: (message) => learned.push(message),
        onWire: (line) => wire.push(line),
      },
      profile,
    );
    return new RealSftpBerth<Real>({
      server,
      disk,
      at: at ?? { path: own.directory, absolute: false },
      account,
      learned,
      opened,
      wire,
      before: own.before,
      leave: own.leave,
    });
  }

  async adopt(): Promise<void> {
    await this.server.adopt();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.account.close();
    await this.#leave();
    await nothingLeft(this.#before);
  }
}
