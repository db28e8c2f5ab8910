/*
 * An account on an SFTP server: opens sessions as the server's settings say, through another server where there is
 * one. A remote is a view on it with a root of its own. The engine, and ssh2 below it, are loaded with the first
 * session: a run that finds nothing to do goes without.
 */
import { charsetOf } from '../../ftp/charset.js';
import type { RemotePath, SftpServer } from '../../job/job.js';
import type { ClientOptions } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import { type AccountListener, accountPool, type Opening } from '../account-pool.js';
import type { Pool } from '../pool.js';
import type { ProfileStore } from '../profile.js';
import type { Remote, Trials } from '../remote.js';
import { SftpProfile } from './profile.js';
import { PLACES, SftpRemote } from './remote.js';
import type { SftpSession } from './session.js';

/** The secrets of an account, read when a run needs them. Never stored, never shown. */
export interface SftpCredentials {
  readonly password: string | undefined;
  /** The private key's text, in OpenSSH's own form or PEM. */
  readonly privateKey: string | undefined;
  /** Opens the private key where it is encrypted. */
  readonly passphrase: string | undefined;
  /** Path of the agent's socket; undefined where no agent is asked. */
  readonly agentSocket: string | undefined;
  /** Of the server that the connection goes through; there exactly where the server has one. */
  readonly via: SftpCredentials | undefined;
}

export class SftpAccount {
  readonly #server: SftpServer;
  readonly #place: SshPlace;
  readonly #listener: AccountListener;
  readonly #profile: SftpProfile;
  readonly #pool: Pool<SftpSession>;

  /** @param store where what is found out about the server is kept */
  constructor(
    server: SftpServer,
    credentials: SftpCredentials,
    listener: AccountListener,
    store: ProfileStore | undefined = undefined,
  ) {
    this.#server = server;
    this.#place = placeOf(server, credentials);
    this.#listener = listener;
    this.#profile = new SftpProfile({ store, onLearned: listener.onLearned, now: Date.now });
    this.#pool = accountPool({
      server,
      profile: this.#profile,
      listener,
      share: PLACES,
      open: (opening) => this.#open(opening),
    });
  }

  /** A directory of this account. @param trials left out: what is tried out there is not written down before */
  remote(root: RemotePath, trials?: Trials): Remote {
    const path = root.absolute ? `/${root.path.replace(/^\/+/, '')}` : root.path;
    return new SftpRemote({
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

  async #open({ workedBefore, signal }: Opening): Promise<SftpSession> {
    const { SftpSession: session } = await import('./session.js');
    const open = (): Promise<SftpSession> =>
      session.open({
        client: this.#options(signal),
        profile: this.#profile,
        verify: this.#server.verify,
      });
    try {
      return await open();
    } catch (error) {
      // A login that worked a moment ago and is refused now is worth one more try, and no more.
      const odd = workedBefore && error instanceof SftpError && error.kind === 'authentication';
      if (!odd) throw ofOpening(error);
      return open().catch((again: unknown) => {
        throw ofOpening(again);
      });
    }
  }

  #options(signal: AbortSignal): ClientOptions {
    const { charset, timeouts } = this.#server;
    return {
      ...this.#place,
      names: charsetOf(charset),
      connectTimeoutMs: timeouts.connectMs,
      replyTimeoutMs: timeouts.replyMs,
      stallTimeoutMs: timeouts.stallMs,
      transferTimeoutMs: timeouts.transferMs,
      onWire: this.#listener.onWire,
      signal,
    };
  }
}

/** What breaks while a session is prepared is no file's fault, whatever was asked just then. */
function ofOpening(error: unknown): unknown {
  if (!(error instanceof SftpError)) return error;
  const { kind, message, phase, request, status, code } = error;
  if (phase !== 'request' && phase !== 'transfer') return error;
  return new SftpError(kind, message, { phase: 'session', request, status, code, cause: error });
}

/** Where a server is, with what to log in there, and whom to trust; the same of each server on the way. */
export type SshPlace = Pick<ClientOptions, 'name' | 'host' | 'port' | 'user' | 'login' | 'trust' | 'via'>;

/** What a connection to the server is made with; made once for an account, since some of it is costly to find out. */
export function placeOf(server: SftpServer, credentials: SftpCredentials): SshPlace {
  const { name, host, port, user, hostKeys, knownHosts, via, timeouts } = server;
  const { password, privateKey, passphrase, agentSocket } = credentials;
  // Without the one it would go past the server that it should go through.
  if ((via === undefined) !== (credentials.via === undefined))
    throw new Error(`the credentials of ${name} do not fit the way to it`);
  return {
    name,
    host,
    port,
    user,
    login: { password, privateKey, passphrase, agentSocket },
    trust: { hostKeys, knownHosts },
    via:
      via === undefined || credentials.via === undefined
        ? undefined
        : {
            ...placeOf(via, credentials.via),
            connectTimeoutMs: timeouts.connectMs,
            replyTimeoutMs: timeouts.replyMs,
          },
  };
}
