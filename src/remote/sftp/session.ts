/*
 * One SFTP session with what is known of its server: the client, the login directory, and what the operations that
 * share it have to agree on. Opens and ends it; the work is done by the parts, each for one operation at a time, so
 * that any number of them go on side by side.
 */
import { type ClientOptions, SftpClient } from '../../sftp/client.js';
import type { Pooled } from '../pool.js';
import { isAnswer } from '../refusal.js';
import { Hold } from './hold.js';
import type { SftpProfile } from './profile.js';

export interface SftpSessionOptions {
  readonly client: ClientOptions;
  readonly profile: SftpProfile;
  /** `size`: hashes are not asked for. `hash`: nothing else is proof. */
  readonly verify: 'auto' | 'size' | 'hash';
}

/** How many bytes of local files may be in memory for one session, besides what the client has on its way. */
const HOLD_BYTES = 8 * 1024 * 1024;

/** What one large file counts for: as much as its reader has of it, and so few are under way at the same time. */
const LARGE_BYTES = 2 * 1024 * 1024;

/** Of the files that a server lets be open: for listings, and for what is read back. */
const SPARE_HANDLES = 8;

export class SftpSession implements Pooled {
  readonly client: SftpClient;
  readonly profile: SftpProfile;
  readonly verify: SftpSessionOptions['verify'];
  /** The login directory, or undefined where the server does not tell: then paths stay relative to it. */
  readonly loginDirectory: string | undefined;
  readonly #bytes = new Hold(HOLD_BYTES);
  readonly #handles: Hold;
  /** Since this session has seen a rename go through, one that is refused is about its file. */
  hasRenamed = false;

  private constructor(
    client: SftpClient,
    options: Omit<SftpSessionOptions, 'client'>,
    loginDirectory: string | undefined,
  ) {
    this.client = client;
    this.profile = options.profile;
    this.verify = options.verify;
    this.loginDirectory = loginDirectory;
    this.#handles = new Hold((client.limits.maxHandles ?? Number.POSITIVE_INFINITY) - SPARE_HANDLES);
  }

  /** Connects, logs in and prepares the session. Throws SftpError; nothing stays open then. */
  static async open(options: SftpSessionOptions): Promise<SftpSession> {
    let directory: Promise<string | undefined> | undefined;
    const onBegun = (begun: SftpClient): void => {
      directory = loginDirectoryOf(begun);
      // Where the session ends meanwhile, that is told by whoever waits for it.
      directory.catch(() => {});
    };
    const client = await SftpClient.open({ ...options.client, onBegun });
    try {
      options.profile.begin([...client.extensions].map(([name, words]) => `${name} ${words}`.trim()).sort());
      return new SftpSession(client, options, await directory);
    } catch (error) {
      client.reset();
      throw error;
    }
  }

  /**
   * Waits for room for a file of this size among those that are being transferred: many small ones, or a few large
   * ones.
   *
   * @returns gives the room back
   * @throws the signal's reason
   */
  async room(sizeBytes: number, signal: AbortSignal | undefined): Promise<() => void> {
    const close = await this.#handles.take(1, signal);
    try {
      const forget = await this.#bytes.take(Math.min(sizeBytes, LARGE_BYTES), signal);
      return () => {
        close();
        forget();
      };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** True where LSTAT tells of what a link leads to, where that is there (measured, ProFTPD 1.3.8). */
  get followsLinks(): boolean {
    return /^mod_sftp\b/.test(this.client.software);
  }

  /**
   * True where a file that is renamed onto a link surely takes the link's place. On mod_sftp it takes that of what the
   * link leads to (measured); of others nobody knows.
   */
  get replacesLinks(): boolean {
    return this.client.software.startsWith('OpenSSH_');
  }

  /** Host and port, for messages. */
  get where(): string {
    return this.client.where;
  }

  get usable(): boolean {
    return this.client.usable;
  }

  async close(): Promise<void> {
    await this.client.close();
  }

  reset(): void {
    this.client.reset();
  }
}

/** Where the server does not tell it, or in bytes that are no text, it resolves relative paths itself. */
async function loginDirectoryOf(client: SftpClient): Promise<string | undefined> {
  try {
    const { name } = await client.realpath('.');
    return name?.startsWith('/') === true ? name : undefined;
  } catch (error) {
    if (isAnswer(error)) return undefined;
    throw error;
  }
}
