/*
 * A server account: its identity, what has been learned about it, and the one pool of connections that all
 * jobs share. Opens sessions as the job's server settings say; a remote is a view on it with a root of its own.
 */
import { createHash } from 'node:crypto';
import { FtpError } from '../ftp/errors.js';
import type { RemotePath, Server } from '../job/job.js';
import { isTooMany, judge } from './failure.js';
import { FtpRemote } from './ftp-remote.js';
import { FtpSession } from './ftp-session.js';
import { Pool } from './pool.js';
import { Profile } from './profile.js';
import type { Remote } from './remote.js';

/** The secrets of an account, read when a run needs them. Never stored, never shown. */
export interface Credentials {
  readonly password: string | undefined;
  readonly account: string | undefined;
  /** PEM of the authorities to trust. */
  readonly ca: string | undefined;
}

/** What an account tells while it works. All sentences are safe to print. */
export interface AccountListener {
  readonly onOpened: (message: string) => void;
  readonly onLearned: (message: string) => void;
  readonly onWire: ((line: string) => void) | undefined;
}

/** RFC 1635 asks anonymous users for an address; this one belongs to nobody. */
const ANONYMOUS_PASSWORD = 'anonymous@ferryd.invalid';

export class Account {
  readonly #server: Server;
  readonly #pool: Pool<FtpSession>;
  readonly #standing = new Set<FtpSession>();
  #scout: Promise<FtpSession> | undefined;

  constructor(server: Server, credentials: Credentials, listener: AccountListener) {
    this.#server = server;
    const profile = new Profile(listener.onLearned);
    let sessions = 0;
    this.#pool = new Pool<FtpSession>({
      limit: server.connections,
      isTooMany: (error) => isTooMany(judge(error)),
      onShrink: (connections) =>
        listener.onLearned(
          `${server.name} takes no more connections: ${connections} ${connections === 1 ? 'is' : 'are'} used.`,
        ),
      open: async (signal) => {
        const session = await this.#openAlone(() =>
          this.#open(credentials, profile, listener, { workedBefore: sessions > 0, signal }),
        );
        sessions += 1;
        listener.onOpened(`connected to ${session.where} as ${server.user}`);
        return session;
      },
    });
  }

  /** A directory of this account. */
  remote(root: RemotePath): Remote {
    const path = root.absolute ? `/${root.path.replace(/^\/+/, '')}` : root.path;
    return new FtpRemote({ pool: this.#pool, label: `${this.#server.name}:${path}`, root });
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  /**
   * While no session stands, one is opened alone, and the others wait for what it meets: a wrong password is then
   * tried once, and not once by every worker until the account is locked.
   */
  async #openAlone(open: () => Promise<FtpSession>): Promise<FtpSession> {
    for (const session of this.#standing) if (!session.usable) this.#standing.delete(session);
    let opening: Promise<FtpSession>;
    if (this.#standing.size > 0) {
      opening = open();
    } else if (this.#scout !== undefined) {
      await this.#scout;
      opening = open();
    } else {
      opening = open();
      this.#scout = opening;
      const done = (): void => {
        this.#scout = undefined;
      };
      opening.then(done, done);
    }
    const session = await opening;
    this.#standing.add(session);
    return session;
  }

  async #open(
    credentials: Credentials,
    profile: Profile,
    listener: AccountListener,
    { workedBefore, signal }: { readonly workedBefore: boolean; readonly signal: AbortSignal },
  ): Promise<FtpSession> {
    const server = this.#server;
    const open = (): Promise<FtpSession> =>
      FtpSession.open({
        profile,
        client: {
          host: server.host,
          port: server.port,
          security: server.security,
          trust: {
            ca: credentials.ca,
            pin: server.tls.pin,
            verify: server.tls.verify,
            serverName: server.tls.serverName,
          },
          connectTimeoutMs: server.timeouts.connectMs,
          replyTimeoutMs: server.timeouts.replyMs,
          stallTimeoutMs: server.timeouts.stallMs,
          onWire: listener.onWire,
          signal,
        },
        login: {
          user: server.user,
          password: credentials.password ?? ANONYMOUS_PASSWORD,
          account: credentials.account,
        },
      });
    try {
      return await open();
    } catch (error) {
      // A login that worked a moment ago and is refused now is worth one more try, and no more.
      const odd =
        workedBefore && error instanceof FtpError && error.phase === 'login' && error.reply?.code === 530;
      if (!odd || isTooMany(judge(error))) throw error;
      return open();
    }
  }
}

/** Names the account, without secrets: what the ledger's rows are bound to. */
export function serverIdentity(server: Server): string {
  return `${server.protocol}://${server.user}@${server.host.toLowerCase()}:${server.port}`;
}

/** Changes whenever a person changes something about the server: then remembered skips are tried again. */
export function settingsIdentity(server: Server): string {
  return createHash('sha256').update(JSON.stringify(server)).digest('hex').slice(0, 16);
}
