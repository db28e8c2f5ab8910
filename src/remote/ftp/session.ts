/*
 * One logged-in FTP connection, with what is known of its server applied: each operation takes the form that the
 * profile names, and where failure.ts says `fallback` it takes the next form and remembers that. Opens and ends the
 * session; the work is done by its parts.
 */
import { type ClientOptions, type Features, FtpClient, type Login } from '../../ftp/client.js';
import { hashForms } from '../../ftp/hash.js';
import { judge } from '../failure.js';
import type { Pooled } from '../pool.js';
import { isRefusal } from '../refusal.js';
import { Attributes } from './attributes.js';
import type { DataModeSetting } from './data-mode.js';
import { Downloads } from './downloads.js';
import { Line } from './line.js';
import type { FtpProfile } from './profile.js';
import { Proofs } from './proofs.js';
import { Tree } from './tree.js';
import { Uploads } from './uploads.js';

export interface SessionOptions {
  readonly client: ClientOptions;
  readonly login: Login;
  readonly profile: FtpProfile;
  readonly dataModes: DataModeSetting;
  /** `size`: hashes are not asked for. */
  readonly verify: 'auto' | 'size' | 'hash';
}

export class FtpSession implements Pooled {
  readonly uploads: Uploads;
  readonly downloads: Downloads;
  readonly proofs: Proofs;
  readonly attributes: Attributes;
  readonly tree: Tree;
  /** The login directory, or undefined where the server does not tell: then paths stay relative to it. */
  readonly loginDirectory: string | undefined;
  readonly #client: FtpClient;
  readonly #profile: FtpProfile;
  readonly #telnetBytes: 'once' | 'doubled';

  private constructor(client: FtpClient, options: SessionOptions, loginDirectory: string | undefined) {
    const { profile, dataModes, verify } = options;
    const { trust, telnetBytes = 'once' } = options.client;
    const line = new Line({ client, profile, dataModes, verify, tls: trust.maxVersion });
    this.uploads = new Uploads(line);
    this.attributes = new Attributes(line);
    this.tree = new Tree(line, loginDirectory);
    this.downloads = new Downloads(line, this.tree);
    this.proofs = new Proofs(line, { tree: this.tree, attributes: this.attributes });
    this.loginDirectory = loginDirectory;
    this.#client = client;
    this.#profile = profile;
    this.#telnetBytes = telnetBytes;
  }

  /** Connects, logs in and prepares the session. Throws FtpError; nothing stays open then. */
  static async open(options: SessionOptions): Promise<FtpSession> {
    const { profile } = options;
    const client = await FtpClient.connect(options.client);
    try {
      await client.login(options.login);
      const features = await optional(client.features());
      begin(profile, features);
      const directory = await prepare(client, features, options);
      const known = directory?.startsWith('/') === true ? directory : undefined;
      return new FtpSession(client, options, known);
    } catch (error) {
      client.reset('the session could not be prepared');
      throw error;
    }
  }

  get where(): string {
    return this.#client.where;
  }

  /** True where it was found out since this session began how names have to be sent, and this one cannot. */
  get outdated(): boolean {
    return this.#telnetBytes !== this.#profile.facts.telnetBytes;
  }

  /** True while the connection stands, be it outdated. */
  get stands(): boolean {
    return !this.#client.ended;
  }

  get usable(): boolean {
    return !this.#client.ended && !this.outdated;
  }

  async close(): Promise<void> {
    await this.#client.quit();
  }

  reset(): void {
    this.#client.reset('it is not needed any more');
  }

  /** Throws FtpError of kind `argument` where a path cannot travel in a command. */
  checkPath(path: string): void {
    this.#client.checkPath(path);
  }
}

/**
 * What a server wants to hear before names and files travel. All of it goes out at once, except to a server without
 * FEAT: a primitive one may read no more than one command from a packet.
 *
 * @returns the login directory, where the server tells it
 */
async function prepare(
  client: FtpClient,
  features: Features | undefined,
  { client: { charset }, profile, verify }: SessionOptions,
): Promise<string | undefined> {
  const asked: Promise<unknown>[] = [];
  if (features?.has('CLNT') === true) asked.push(optional(client.introduce('ferryd')));
  if (features?.has('UTF8') === true) {
    const utf8 = charset === undefined || charset.label === 'utf-8';
    asked.push(optional(client.option(utf8 ? 'UTF8 ON' : 'UTF8 OFF')));
  }
  const { hash } = profile.facts;
  if (verify !== 'size' && hash !== undefined && hash !== 'none' && hash.verb === 'HASH') {
    asked.push(optional(client.option(`HASH ${hash.algorithm}`)));
  }
  asked.push(client.useBinary());
  if (features === undefined) await asked[0];
  const directory = unlessRefused(client.workingDirectory());
  // In the order in which they were sent, so that the first that fails is the one that is told.
  for (const one of [...asked, directory]) one.catch(() => {});
  for (const one of asked) await one;
  return directory;
}

/** What a new session's features say, as far as nothing better is known. */
function begin(profile: FtpProfile, features: Features | undefined): void {
  profile.begin([...(features ?? [])].map(([name, words]) => `${name} ${words}`.trim()).sort());
  const { facts } = profile;
  if (facts.hash === undefined) {
    const [best] = features === undefined ? [] : hashForms(features);
    profile.note('hash', best ?? 'none');
  }
  if (features === undefined) return;
  if (!features.has('MFMT') && facts.setTime === 'MFMT') profile.note('setTime', 'MDTM');
  if (!features.has('MLST') && !features.has('MLSD')) profile.note('listing', 'LIST');
}

/** A feature that the server may lack. */
async function optional<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (judge(error).decision === 'fallback') return undefined;
    throw error;
  }
}

async function unlessRefused<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
