/*
 * A remote on a real server, opened as the daemon opens it: through an account with its pool. What the account said
 * and what the server logged are at hand. Nothing is left behind: no socket here, no process, no directory.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { FtpAccount, type FtpCredentials } from '../../src/remote/ftp/account.js';
import type { Remote } from '../../src/remote/remote.js';
import { held, nothingLeft } from '../ftp/stage.js';
import { certificates } from '../support/certificates.js';
import type { RealServer, ServerName, ServerOptions } from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startPyftpdlib } from '../support/servers/pyftpdlib.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { credentialsOf, serverSettings } from './berth.js';
import type { Berth, Traits } from './contract.js';

export type Security = Settings['security'];

/** A kind of real server, as the suites run it. */
export interface Kind {
  readonly name: ServerName;
  /** What it can do. */
  readonly securities: readonly Security[];
  readonly traits: Traits;
  /** As a public server would stand: where there is TLS, it is required, and its sessions have to be reused. */
  start(security: Security, options?: Omit<ServerOptions, 'security'>): Promise<RealServer>;
}

export const kinds: readonly Kind[] = [
  {
    name: 'vsftpd',
    securities: ['plain', 'explicit', 'implicit'],
    // Its users here are virtual ones, and those may not.
    traits: { permissions: 'none' },
    start: (security, options) =>
      startVsftpd({ ...options, security, requireTls: security !== 'plain', requireSessionReuse: true }),
  },
  {
    name: 'proftpd',
    securities: ['plain', 'explicit', 'implicit'],
    traits: { names: 'no-globs' },
    start: (security, options) =>
      startProftpd({ ...options, security, requireTls: security !== 'plain', requireSessionReuse: true }),
  },
  {
    name: 'pure-ftpd',
    securities: ['plain', 'explicit'],
    traits: { names: 'altered' },
    start: (security, options) =>
      startPureFtpd({
        ...options,
        ...(security === 'plain' ? {} : { security: 'explicit', requireTls: true }),
      }),
  },
  {
    name: 'pyftpdlib',
    securities: ['plain', 'explicit', 'implicit'],
    traits: { links: 'unseen', unreadable: 'made up', permissions: 'untold' },
    start: (security, options) => startPyftpdlib({ ...options, security, requireTls: security !== 'plain' }),
  },
];

/** What an account is told besides what fits the server. */
export type AccountChanges = Partial<Settings> & { readonly credentials?: Partial<FtpCredentials> };

let directories = 0;

export class RealBerth implements Berth {
  readonly disk: string;
  readonly remote: Remote;
  readonly server: RealServer;
  readonly account: FtpAccount;
  /** What the account said it has learned about the server, in order. */
  readonly learned: readonly string[];
  /** What it said about each session that it opened. */
  readonly opened: readonly string[];
  readonly #before: ReadonlyMap<string, number>;
  readonly #leave: () => Promise<void>;

  private constructor(parts: {
    server: RealServer;
    directory: string;
    account: FtpAccount;
    learned: readonly string[];
    opened: readonly string[];
    before: ReadonlyMap<string, number>;
    leave: () => Promise<void>;
  }) {
    this.disk = join(parts.server.root, parts.directory);
    this.remote = parts.account.remote({ path: parts.directory, absolute: false });
    this.server = parts.server;
    this.account = parts.account;
    this.learned = parts.learned;
    this.opened = parts.opened;
    this.#before = parts.before;
    this.#leave = parts.leave;
  }

  /**
   * With a server of its own, which ends with it.
   *
   * @param changes what the account is told besides, and `credentials` beside password and authority
   */
  static async open(
    start: () => Promise<RealServer>,
    security: Security,
    changes: AccountChanges = {},
  ): Promise<RealBerth> {
    const before = held();
    const server = await start();
    return RealBerth.#at(server, security, changes, { directory: 'dumps', before, leave: server.stop });
  }

  /** At a server that others use, too, one after the other: with a directory and an account's pool of its own. */
  static async beside(
    server: RealServer,
    security: Security,
    changes: AccountChanges = {},
  ): Promise<RealBerth> {
    const before = held();
    directories += 1;
    const directory = `dumps-${directories}`;
    const leave = (): Promise<void> => removeDirectory(join(server.root, directory));
    return RealBerth.#at(server, security, changes, { directory, before, leave });
  }

  static async #at(
    server: RealServer,
    security: Security,
    { credentials, ...changes }: AccountChanges,
    own: { directory: string; before: ReadonlyMap<string, number>; leave: () => Promise<void> },
  ): Promise<RealBerth> {
    const { ca } = await certificates();
    await mkdir(join(server.root, own.directory), { recursive: true });
    await server.adopt();
    const learned: string[] = [];
    const opened: string[] = [];
    const account = new FtpAccount(
      {
        ...serverSettings({ address: server.host, port: server.port }, security),
        user: server.user,
        ...changes,
      },
      credentialsOf({ password: server.password, ca: ca.cert, ...credentials }),
      {
        onOpened: (message) => opened.push(message),
        onLearned: (message) => learned.push(message),
        onWire: undefined,
      },
    );
    return new RealBerth({ server, account, learned, opened, ...own });
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

/** A session that is still on its way out may hold on to something for a moment. */
function removeDirectory(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
