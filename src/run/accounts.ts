/*
 * The accounts in use in this process: one for each server and user, shared by all jobs, with the secrets,
 * the authorities and the certificate read when a run wants them. A changed secret or setting makes a new account.
 */
import { readBoundedFile } from '../job/bounded-file.js';
import type { FtpServer, SecretSource, Server, SftpServer } from '../job/job.js';
import { readSecret, SecretError } from '../job/secret.js';
import type { Ledger } from '../ledger/ledger.js';
import type { LedgerReader } from '../ledger/reader.js';
import {
  type Access,
  type Account,
  openAccount,
  profileIdentity,
  serverIdentity,
} from '../remote/account.js';
import type { FtpCredentials } from '../remote/ftp/account.js';
import type { ProfileStore } from '../remote/profile.js';
import type { SftpCredentials } from '../remote/sftp/account.js';
import { mistakeInKey } from '../remote/sftp/key.js';
import type { Listener } from '../report/event.js';
import type { Harbour } from './context.js';
import { RunEnded } from './end.js';

/** All authorities of a system are a few hundred kilobytes. */
const MAX_PEM_BYTES = 4 * 1024 * 1024;

interface Entry {
  readonly account: Account;
  /** The secrets that it was made with; kept in memory only. */
  readonly credentials: string;
}

/** Where what was found out about servers is kept: the ledger, or one that is only read. */
export type Profiles = Pick<LedgerReader, 'profile'> & Partial<Pick<Ledger, 'saveProfile'>>;

export interface AccountsOptions {
  /** `traced` sends every line of the control connections to the listener. */
  readonly wire: 'traced' | 'silent';
  /** Undefined: nothing is remembered of servers. */
  readonly profiles: Profiles | undefined;
}

export class Accounts implements Harbour {
  readonly #listener: Listener;
  readonly #options: AccountsOptions;
  readonly #entries = new Map<string, Entry>();
  /** Accounts whose secrets have changed: runs under way go on with them, their idle connections close by themselves. */
  #former: readonly Account[] = [];

  constructor(listener: Listener, options: AccountsOptions) {
    this.#listener = listener;
    this.#options = options;
  }

  /**
   * The account of a server.
   *
   * @throws {RunEnded} kind `configuration` where a secret or a file of certificates cannot be read, is no key, or
   *   where there is no SSH agent to ask
   */
  async of(server: Server): Promise<Account> {
    const access = await accessTo(server);
    const key = JSON.stringify(server);
    const secrets = JSON.stringify(access.credentials);
    if (access.protocol === 'sftp' && this.#entries.get(key)?.credentials !== secrets)
      await checkKeys(access.server, access.credentials);
    // From here on nothing is waited for, so that two runs get one account.
    const entry = this.#entries.get(key);
    if (entry?.credentials === secrets) return entry.account;
    if (entry !== undefined) this.#former = [...this.#former.filter(isInUse), entry.account];
    const account = openAccount(
      access,
      {
        onOpened: (message) =>
          this.#listener({
            event: 'connection.opened',
            server: server.name,
            account: serverIdentity(server),
            message,
          }),
        onLearned: (message) => this.#listener({ event: 'server.learned', server: server.name, message }),
        onWire:
          this.#options.wire === 'traced'
            ? (message) => this.#listener({ event: 'wire', server: server.name, message })
            : undefined,
      },
      this.#storeOf(server),
    );
    this.#entries.set(key, { account, credentials: secrets });
    return account;
  }

  #storeOf(server: Server): ProfileStore | undefined {
    const { profiles } = this.#options;
    if (profiles === undefined) return undefined;
    const identity = profileIdentity(server);
    return {
      load: () => profiles.profile(identity),
      save: (json) => {
        try {
          profiles.saveProfile?.(identity, json);
        } catch {
          // It is found out again. A ledger that cannot be written ends the run where it matters.
        }
      },
    };
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    const accounts = [...this.#former, ...[...this.#entries.values()].map(({ account }) => account)];
    this.#former = [];
    this.#entries.clear();
    await Promise.all(accounts.map((account) => account.close()));
  }
}

/** A password that a program makes anew for each run must not leave an account behind each time. */
function isInUse({ connections }: Account): boolean {
  return connections > 0;
}

async function accessTo(server: Server): Promise<Access> {
  return server.protocol === 'ftp'
    ? { protocol: 'ftp', server, credentials: await ftpCredentials(server) }
    : { protocol: 'sftp', server, credentials: await sftpCredentials(server) };
}

/**
 * The secrets of an SFTP server, and of those on the way to it.
 *
 * @throws {RunEnded} as `Accounts.of`
 */
export async function sftpCredentials(server: SftpServer): Promise<SftpCredentials> {
  return {
    password: await secretOf(server, 'password', server.password),
    privateKey: await secretOf(server, 'private key', server.privateKey, 'many'),
    passphrase: await secretOf(server, 'passphrase', server.passphrase),
    agentSocket: agentOf(server),
    via: server.via === undefined ? undefined : await sftpCredentials(server.via),
  };
}

function agentOf({ agent, name }: SftpServer): string | undefined {
  if (agent === undefined) return undefined;
  if (agent.kind === 'socket') return agent.path;
  const socket = process.env.SSH_AUTH_SOCK;
  if (socket !== undefined && socket !== '') return socket;
  throw new RunEnded(
    'configuration',
    'agent',
    `agent: true of the server ${name} means the SSH agent that $SSH_AUTH_SOCK names, and ferryd runs without that variable, as services do. Write agent: PATH with the path of the agent's socket, or privateKey: { file: PATH }.`,
  );
}

/** Opening an encrypted key takes long on purpose, so this is done once for each set of secrets. */
async function checkKeys(
  server: SftpServer,
  { privateKey, passphrase, via }: SftpCredentials,
): Promise<void> {
  const mistake = privateKey === undefined ? undefined : await mistakeInKey(privateKey, passphrase);
  if (mistake !== undefined) {
    throw new RunEnded(
      'configuration',
      'key',
      `The private key of the server ${server.name} cannot be used. ${mistake}`,
    );
  }
  if (server.via !== undefined && via !== undefined) await checkKeys(server.via, via);
}

async function ftpCredentials(server: FtpServer): Promise<FtpCredentials> {
  const { tls } = server;
  return {
    password: await secretOf(server, 'password', server.password),
    account: await secretOf(server, 'account', server.account),
    ca: await certificatesOf(server, 'ca', tls.caFile),
    certificate: await certificatesOf(server, 'certificate', tls.certificateFile),
    ...(await keyOf(server)),
  };
}

async function secretOf(
  server: Server,
  what: string,
  source: SecretSource | undefined,
  lines: 'one' | 'many' = 'one',
): Promise<string | undefined> {
  if (source === undefined) return undefined;
  try {
    return await readSecret(source, { what: `the ${what} of the server ${server.name}`, lines });
  } catch (error) {
    if (error instanceof SecretError) throw new RunEnded('configuration', 'secret', error.message);
    throw error;
  }
}

/** The private key and what opens it. Whether they fit each other, and the certificate, shows when TLS uses them. */
async function keyOf(server: FtpServer): Promise<Pick<FtpCredentials, 'key' | 'passphrase'>> {
  const { tls, name } = server;
  const key = await secretOf(server, 'private key', tls.key, 'many');
  const passphrase = await secretOf(server, 'passphrase', tls.passphrase);
  const refuse = (message: string): RunEnded =>
    new RunEnded('configuration', 'key', `What tls.key of the server ${name} names ${message}`);
  if (key !== undefined && !/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(key)) {
    throw refuse('holds no PEM private key. It begins with -----BEGIN PRIVATE KEY-----.');
  }
  if (key?.includes('-----BEGIN OPENSSH PRIVATE KEY-----')) {
    throw refuse(
      'is a key for SSH, which TLS cannot use. Give it the private key that the certificate was made with.',
    );
  }
  const encrypted = key !== undefined && /-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(key);
  if (encrypted && passphrase === undefined) {
    throw refuse('is an encrypted private key. Say where its passphrase comes from with tls.passphrase.');
  }
  return { key, passphrase };
}

/** The certificates of a PEM file. */
async function certificatesOf(
  server: Server,
  key: 'ca' | 'certificate',
  file: string | undefined,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const refuse = (words: string): RunEnded =>
    new RunEnded(
      'configuration',
      key,
      `The file ${file} that tls.${key} of the server ${server.name} names ${words}`,
    );
  const found = await readBoundedFile(file, MAX_PEM_BYTES);
  switch (found.kind) {
    case 'failed':
      throw refuse(
        `cannot be read (${found.code}). See that it is there, and that the user of ferryd may read it.`,
      );
    case 'irregular':
      throw refuse('is not a regular file. Name the PEM file itself.');
    case 'too-long':
      throw refuse('is larger than 4 MiB, which no file of certificates is. Name the PEM file itself.');
    case 'content': {
      const text = found.bytes.toString('utf8');
      if (!text.includes('-----BEGIN CERTIFICATE-----')) {
        throw refuse('holds no PEM certificate. One begins with -----BEGIN CERTIFICATE-----.');
      }
      return text;
    }
  }
}
