/*
 * A server account, whatever it speaks: what a run gets its remotes from, and by what the ledger knows it. The accounts
 * themselves are in ftp/ and sftp/.
 */
import { createHash } from 'node:crypto';
import type { FtpServer, RemotePath, Server, SftpServer } from '../job/job.js';
import type { AccountListener } from './account-pool.js';
import { FtpAccount, type FtpCredentials } from './ftp/account.js';
import type { ProfileStore } from './profile.js';
import type { Remote, Trials } from './remote.js';
import { SftpAccount, type SftpCredentials } from './sftp/account.js';

/** A server with the secrets that it takes. */
export type Access =
  | { readonly protocol: 'ftp'; readonly server: FtpServer; readonly credentials: FtpCredentials }
  | { readonly protocol: 'sftp'; readonly server: SftpServer; readonly credentials: SftpCredentials };

/** The connections of one user to one server, shared by all jobs. */
export interface Account {
  /** A directory of this account. @param trials left out: what is tried out there is not written down before */
  remote(root: RemotePath, trials?: Trials): Remote;
  /** How many connections stand, are being opened, or are being ended. */
  readonly connections: number;
  /** Ends all connections. */
  close(): Promise<void>;
}

/**
 * An account. It connects as soon as something is asked of one of its remotes, and not before.
 *
 * @param store where what is found out about the server is kept
 */
export function openAccount(access: Access, listener: AccountListener, store?: ProfileStore): Account {
  switch (access.protocol) {
    case 'ftp':
      return new FtpAccount(access.server, access.credentials, listener, store);
    case 'sftp':
      return new SftpAccount(access.server, access.credentials, listener, store);
  }
}

/**
 * Names the account, without secrets: what the ledger's rows are bound to. The way belongs to it, for behind two gates
 * two servers may be called 192.168.1.10.
 */
export function serverIdentity(server: Server): string {
  const own = `${server.protocol}://${server.user}@${server.host.toLowerCase()}:${server.port}`;
  const via = server.protocol === 'sftp' ? server.via : undefined;
  return via === undefined ? own : `${own} through ${serverIdentity(via)}`;
}

/** Under which what is found out about a server is kept: it speaks with and without TLS of different features. */
export function profileIdentity(server: Server): string {
  return server.protocol === 'ftp' ? `${serverIdentity(server)} ${server.security}` : serverIdentity(server);
}

/**
 * Changes whenever a person changes something about the server: then remembered skips are tried again. Which host keys
 * are trusted does not count: where they are looked up depends on whose home it is.
 */
export function settingsIdentity(server: Server): string {
  const settings = JSON.stringify(server, (key, value: unknown) =>
    key === 'knownHosts' ? undefined : value,
  );
  return createHash('sha256').update(settings).digest('hex').slice(0, 16);
}
