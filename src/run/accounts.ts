/*
 * The accounts in use in this process: one for each server and user, shared by all jobs, with the secrets and
 * the authorities read when a run wants them. A changed secret or setting makes a new account.
 */
import { readFile } from 'node:fs/promises';
import type { SecretSource, Server } from '../job/job.js';
import { readSecret, SecretError } from '../job/secret.js';
import { Account, type Credentials } from '../remote/account.js';
import type { Listener } from '../report/event.js';
import { RunEnded } from './end.js';

interface Entry {
  readonly account: Account;
  /** The secrets that it was made with; kept in memory only. */
  readonly credentials: string;
}

export class Accounts {
  readonly #listener: Listener;
  readonly #traced: boolean;
  readonly #entries = new Map<string, Entry>();
  /** Accounts whose secrets have changed: runs under way go on with them, their idle connections close by themselves. */
  readonly #former: Account[] = [];

  /** @param options.wire `traced` sends every line of the control connections to the listener */
  constructor(listener: Listener, options: { readonly wire: 'traced' | 'silent' }) {
    this.#listener = listener;
    this.#traced = options.wire === 'traced';
  }

  /**
   * The account of a server.
   *
   * @throws {RunEnded} kind `configuration` where a secret or the authority's file cannot be read
   */
  async of(server: Server): Promise<Account> {
    const credentials = await readCredentials(server);
    const key = JSON.stringify(server);
    const secrets = JSON.stringify(credentials);
    const entry = this.#entries.get(key);
    if (entry?.credentials === secrets) return entry.account;
    if (entry !== undefined) this.#former.push(entry.account);
    const account = new Account(server, credentials, {
      onOpened: (message) => this.#listener({ event: 'connection.opened', server: server.name, message }),
      onLearned: (message) => this.#listener({ event: 'server.learned', server: server.name, message }),
      onWire: this.#traced
        ? (message) => this.#listener({ event: 'wire', server: server.name, message })
        : undefined,
    });
    this.#entries.set(key, { account, credentials: secrets });
    return account;
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    const accounts = [
      ...this.#former.splice(0),
      ...[...this.#entries.values()].map(({ account }) => account),
    ];
    this.#entries.clear();
    await Promise.all(accounts.map((account) => account.close()));
  }
}

async function readCredentials(server: Server): Promise<Credentials> {
  const secret = async (source: SecretSource | undefined, what: string): Promise<string | undefined> => {
    if (source === undefined) return undefined;
    try {
      return await readSecret(source, { what: `the ${what} of the server ${server.name}` });
    } catch (error) {
      if (error instanceof SecretError) throw new RunEnded('configuration', 'secret', error.message);
      throw error;
    }
  };
  return {
    password: await secret(server.password, 'password'),
    account: await secret(server.account, 'account'),
    ca: await readAuthorities(server),
  };
}

async function readAuthorities(server: Server): Promise<string | undefined> {
  const { caFile } = server.tls;
  if (caFile === undefined) return undefined;
  let text: string;
  try {
    text = await readFile(caFile, 'utf8');
  } catch {
    throw new RunEnded(
      'configuration',
      'ca',
      `The file ${caFile} that tls.ca of the server ${server.name} names cannot be read.`,
    );
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new RunEnded(
      'configuration',
      'ca',
      `The file ${caFile} that tls.ca of the server ${server.name} names holds no PEM certificate.`,
    );
  }
  return text;
}
