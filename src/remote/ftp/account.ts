/*
 * An account on an FTP server: opens sessions as the server's settings say. A remote is a view on it with a root of
 * its own. The engine is loaded with the first session: a run that finds nothing to do goes without.
 */
import { charsetOf } from '../../ftp/charset.js';
import type { TlsTrust } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import type { FtpServer, RemotePath } from '../../job/job.js';
import { type AccountListener, accountPool, type Opening } from '../account-pool.js';
import { isTooMany, judge } from '../failure.js';
import type { Pool } from '../pool.js';
import type { ProfileStore } from '../profile.js';
import type { Remote, Trials } from '../remote.js';
import { FtpProfile } from './profile.js';
import { FtpRemote } from './remote.js';
import type { FtpSession, SessionOptions } from './session.js';

/** The secrets of an account, read when a run needs them. Never stored, never shown. */
export interface FtpCredentials {
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

/** RFC 1635 asks anonymous users for an address; this one belongs to nobody. */
const ANONYMOUS_PASSWORD = 'anonymous@ferryd.invalid';

export class FtpAccount {
  readonly #server: FtpServer;
  readonly #credentials: FtpCredentials;
  readonly #listener: AccountListener;
  readonly #profile: FtpProfile;
  readonly #pool: Pool<FtpSession>;
  /** The same for all sessions, as long as the same TLS is spoken. */
  #trust: TlsTrust | undefined;

  /** @param store where what is found out about the server is kept */
  constructor(
    server: FtpServer,
    credentials: FtpCredentials,
    listener: AccountListener,
    store: ProfileStore | undefined = undefined,
  ) {
    this.#server = server;
    this.#credentials = credentials;
    this.#listener = listener;
    this.#profile = new FtpProfile({ store, onLearned: listener.onLearned, now: Date.now });
    this.#pool = accountPool({
      server,
      profile: this.#profile,
      listener,
      open: (opening) => this.#open(opening),
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

  async #open({ workedBefore, signal }: Opening): Promise<FtpSession> {
    const { FtpSession: session } = await import('./session.js');
    const open = (): Promise<FtpSession> => session.open(this.#options(signal));
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
    const { password, account } = this.#credentials;
    return {
      profile: this.#profile,
      dataModes: server.dataConnection,
      verify: server.verify,
      client: {
        host: server.host,
        port: server.port,
        security: server.security,
        trust: this.#trusted(),
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

  #trusted(): TlsTrust {
    const maxVersion = this.#profile.facts.tls;
    if (this.#trust?.maxVersion === maxVersion) return this.#trust;
    const { pin, verify, serverName } = this.#server.tls;
    const { ca, certificate, key, passphrase } = this.#credentials;
    const identity =
      certificate === undefined || key === undefined ? undefined : { certificate, key, passphrase };
    this.#trust = { ca, pin, verify, serverName, identity, maxVersion };
    return this.#trust;
  }
}
