/*
 * A server account: its identity, what has been learned about it, and the one pool of connections that all
 * jobs share. Opens sessions as the job's server settings say; a remote is a view on it with a root of its own.
 */
import { createHash } from 'node:crypto';
import { charsetOf } from '../ftp/charset.js';
import { FtpError } from '../ftp/errors.js';
import type { RemotePath, Server } from '../job/job.js';
import { isTooMany, isTurnedAway, judge } from './failure.js';
import { FtpRemote } from './ftp/remote.js';
import { FtpSession, type SessionOptions } from './ftp/session.js';
import { Pool } from './pool.js';
import { Profile, type ProfileStore } from './profile.js';
import type { Remote, Trials } from './remote.js';

/** The secrets of an account, read when a run needs them. Never stored, never shown. */
export interface Credentials {
  readonly password: string | undefined;
  readonly account: string | undefined;
  /** PEM of the authorities to trust. */
  readonly ca: string | undefined;
  /** PEM of the certificate that this side shows, its chain behind it; there is a key exactly where it is. */
  readonly certificate: string | undefined;
  /** PEM of the certificate's private key. */
  readonly key: string | undefined;
  /** Opens the key where it is encrypted. */
  readonly passphrase: string | undefined;
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
  readonly #credentials: Credentials;
  readonly #listener: AccountListener;
  readonly #profile: Profile;
  readonly #pool: Pool<FtpSession>;
  readonly #standing = new Set<FtpSession>();
  #scout: Promise<FtpSession> | undefined;

  /** @param store where what is found out about the server is kept */
  constructor(
    server: Server,
    credentials: Credentials,
    listener: AccountListener,
    store: ProfileStore | undefined = undefined,
  ) {
    this.#server = server;
    this.#credentials = credentials;
    this.#listener = listener;
    this.#profile = new Profile({ store, onLearned: listener.onLearned, now: Date.now });
    let sessions = 0;
    this.#pool = new Pool<FtpSession>({
      limit: server.connections,
      ceiling: this.#rememberedCeiling(),
      isTooMany: (error) => isTooMany(judge(error)),
      isTurnedAway,
      onCeiling: (connections) => this.#letIn(connections),
      open: async (signal) => {
        const session = await this.#openAlone(() => this.#open({ workedBefore: sessions > 0, signal }));
        sessions += 1;
        listener.onOpened(`connected to ${session.where} as ${server.user}`);
        return session;
      },
    });
  }

  /** A directory of this account. @param trials left out: what is tried out there is not written down before */
  remote(root: RemotePath, trials?: Trials): Remote {
    const path = root.absolute ? `/${root.path.replace(/^\/+/, '')}` : root.path;
    return new FtpRemote({
      pool: this.#pool,
      profile: this.#profile,
      charset: charsetOf(this.#server.charset),
      label: `${this.#server.name}:${path}`,
      root,
      trials,
    });
  }

  /** How many connections stand, are being opened, or are being ended. */
  get connections(): number {
    return this.#pool.connections;
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

  /** What is known from an earlier process; the pool would have tried one more each minute since. */
  #rememberedCeiling(): number {
    const { connections } = this.#server;
    const known = this.#profile.facts.connections;
    if (known === undefined) return connections;
    const minutes = Math.max(0, Math.floor((Date.now() - known.atMs) / 60_000));
    return Math.min(connections, known.count + minutes);
  }

  /** How many connections the server lets in, as the pool has found out. */
  #letIn(count: number): void {
    const before = this.#profile.facts.connections?.count ?? this.#server.connections;
    const known = { count, atMs: Date.now() };
    if (count >= this.#server.connections) this.#profile.note('connections', undefined);
    else if (count > before) this.#profile.note('connections', known);
    else
      this.#profile.learn(
        'connections',
        known,
        `${this.#server.name} takes no more connections: ${count} ${count === 1 ? 'is' : 'are'} used.`,
      );
  }

  async #open({
    workedBefore,
    signal,
  }: {
    readonly workedBefore: boolean;
    readonly signal: AbortSignal;
  }): Promise<FtpSession> {
    const open = (): Promise<FtpSession> => FtpSession.open(this.#options(signal));
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof FtpError)) throw error;
      // A server without TLS 1.2 was asked for it because of its data connections: it had better not be.
      if (error.kind === 'handshake' && error.phase === 'tls' && this.#profile.facts.tls === 'TLSv1.2') {
        this.#profile.tls12 = 'refused';
        this.#profile.note('tls', 'TLSv1.3');
        return open();
      }
      // A login that worked a moment ago and is refused now is worth one more try, and no more.
      const odd = workedBefore && error.phase === 'login' && error.reply?.code === 530;
      if (!odd || isTooMany(judge(error))) throw error;
      return open();
    }
  }

  #options(signal: AbortSignal): SessionOptions {
    const server = this.#server;
    const { password, account, ca, certificate, key, passphrase } = this.#credentials;
    return {
      profile: this.#profile,
      dataModes: server.dataConnection,
      verify: server.verify,
      client: {
        host: server.host,
        port: server.port,
        security: server.security,
        trust: {
          ca,
          pin: server.tls.pin,
          verify: server.tls.verify,
          serverName: server.tls.serverName,
          identity:
            certificate === undefined || key === undefined ? undefined : { certificate, key, passphrase },
          maxVersion: this.#profile.facts.tls,
        },
        charset: charsetOf(server.charset),
        telnetBytes: this.#profile.facts.telnetBytes,
        active: server.active,
        connectTimeoutMs: server.timeouts.connectMs,
        replyTimeoutMs: server.timeouts.replyMs,
        stallTimeoutMs: server.timeouts.stallMs,
        transferTimeoutMs: server.timeouts.transferMs,
        onWire: this.#listener.onWire,
        signal,
      },
      login: { user: server.user, password: password ?? ANONYMOUS_PASSWORD, account },
    };
  }
}

/** Names the account, without secrets: what the ledger's rows are bound to. */
export function serverIdentity(server: Server): string {
  return `${server.protocol}://${server.user}@${server.host.toLowerCase()}:${server.port}`;
}

/** Under which what is found out about a server is kept: it speaks with and without TLS of different features. */
export function profileIdentity(server: Server): string {
  return `${serverIdentity(server)} ${server.security}`;
}

/** Changes whenever a person changes something about the server: then remembered skips are tried again. */
export function settingsIdentity(server: Server): string {
  return createHash('sha256').update(JSON.stringify(server)).digest('hex').slice(0, 16);
}
