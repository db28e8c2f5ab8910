/*
 * The Remote contract over FTP and FTPS: a directory on a server, reached through the account's pool.
 * Turns relative paths into server paths, makes directories when a STOR misses them, and carries the upload
 * through: temporary name, size, time, rename.
 */
import { FtpError } from '../ftp/errors.js';
import type { RelativePath, RemoteFile } from '../plan/entry.js';
import { judge } from './failure.js';
import type { FtpSession } from './ftp-session.js';
import type { Pool } from './pool.js';
import {
  type Delivered,
  type Delivery,
  type OperationOptions,
  type Remote,
  type RemoteDirectory,
  wholeSeconds,
} from './remote.js';

export interface FtpRemoteOptions {
  readonly pool: Pool<FtpSession>;
  /** How messages name it. */
  readonly label: string;
  /** The root: below the login directory, or absolute. */
  readonly root: { readonly path: string; readonly absolute: boolean };
}

export class FtpRemote implements Remote {
  readonly label: string;
  readonly #pool: Pool<FtpSession>;
  readonly #root: FtpRemoteOptions['root'];
  /** Directories that are known to be there, and those being made: each once, however many workers want it. */
  readonly #made = new Set<string>();
  readonly #making = new Map<string, Promise<void>>();

  constructor(options: FtpRemoteOptions) {
    this.label = options.label;
    this.#pool = options.pool;
    this.#root = options.root;
  }

  async deliver(delivery: Delivery, options: OperationOptions = {}): Promise<Delivered> {
    return this.#pool.use(options.signal, async (session) => {
      const temporary = this.#on(session, delivery.temporary);
      const bytes = await this.#storeWithParent(session, temporary, delivery, options.signal);
      const sha256 = await delivery.source.confirm();
      const held = await session.sizeAndSetTime(temporary, delivery.source.modifiedMs);
      if (held.sizeBytes !== bytes) {
        throw new FtpError(
          'mismatch',
          `${session.where} confirmed ${delivery.path} with ${held.sizeBytes} bytes, and ${bytes} were sent.`,
          { phase: 'transfer', verb: 'STOR' },
        );
      }
      await session.replace(temporary, this.#on(session, delivery.path));
      return { bytes, sha256, modifiedMs: held.modifiedMs };
    });
  }

  async publish(
    file: {
      readonly path: RelativePath;
      readonly temporary: RelativePath;
      readonly modifiedMs: number;
    },
    options: OperationOptions = {},
  ): Promise<number | undefined> {
    return this.#pool.use(options.signal, async (session) => {
      const temporary = this.#on(session, file.temporary);
      const modifiedMs = await session.setTime(temporary, file.modifiedMs);
      await session.replace(temporary, this.#on(session, file.path));
      return modifiedMs;
    });
  }

  async fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    options: OperationOptions = {},
  ): Promise<number> {
    return this.#pool.use(options.signal, async (session) => {
      const file = this.#on(session, path);
      const expected = await session.size(file);
      const bytes = await session.retrieve(file, sink, options.signal);
      // A cut connection looks like the end of the file; only the number of bytes tells them apart.
      if (expected !== undefined && expected !== bytes) {
        throw new FtpError(
          'mismatch',
          `${session.where} sent ${bytes} bytes of ${path}, which has ${expected}.`,
          {
            phase: 'transfer',
            verb: 'RETR',
          },
        );
      }
      return bytes;
    });
  }

  async stat(path: RelativePath): Promise<RemoteFile | undefined> {
    return this.#pool.use(undefined, async (session) => {
      const status = await session.status(this.#on(session, path));
      return status === undefined
        ? undefined
        : {
            path,
            sizeBytes: status.sizeBytes,
            modifiedMs: status.modifiedMs === undefined ? undefined : wholeSeconds(status.modifiedMs),
          };
    });
  }

  async list(directory: RelativePath | ''): Promise<RemoteDirectory> {
    return this.#pool.use(undefined, async (session) => {
      const listing = await session.list(this.#on(session, directory));
      const below = (name: string): RelativePath => (directory === '' ? name : `${directory}/${name}`);
      const files: RemoteFile[] = [];
      const directories: RelativePath[] = [];
      const others: RelativePath[] = [];
      let complete = listing.unreadable === 0;
      for (const entry of listing.entries) {
        const path = below(entry.name);
        if (entry.type === 'directory') directories.push(path);
        else if (entry.type !== 'file') others.push(path);
        else if (entry.sizeBytes === undefined) complete = false;
        else
          files.push({
            path,
            sizeBytes: entry.sizeBytes,
            modifiedMs: entry.modifiedMs,
          });
      }
      return { files, directories, others, complete };
    });
  }

  async remove(path: RelativePath): Promise<void> {
    await this.#pool.use(undefined, (session) => session.remove(this.#on(session, path)));
  }

  /**
   * STOR first: where the directory is there, and it nearly always is, nothing else has to be asked. Only
   * when the server refuses is the parent looked after, once.
   */
  async #storeWithParent(
    session: FtpSession,
    temporary: string,
    delivery: Delivery,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const parent = temporary.slice(0, temporary.lastIndexOf('/'));
    try {
      return await session.store(temporary, delivery.source.chunks(), signal);
    } catch (error) {
      if (parent === '' || judge(error).decision !== 'skip') throw error;
      // Made by us before: somebody may have removed it since.
      if (this.#made.has(parent) && (await session.isDirectory(parent))) throw error;
      await this.#makeOnce(session, parent);
      return session.store(temporary, delivery.source.chunks(), signal);
    }
  }

  async #makeOnce(session: FtpSession, directory: string): Promise<void> {
    const making = this.#making.get(directory) ?? session.makeDirectory(directory);
    this.#making.set(directory, making);
    try {
      await making;
      this.#made.add(directory);
    } finally {
      this.#making.delete(directory);
    }
  }

  /** The server's path of a relative one. */
  #on(session: FtpSession, path: RelativePath | ''): string {
    const base = this.#root.absolute ? '/' : (session.loginDirectory ?? '');
    const joined = [base, this.#root.path, path]
      .map((part) => part.replace(/^\/+|\/+$/g, ''))
      .filter((part) => part !== '')
      .join('/');
    if (this.#root.absolute || session.loginDirectory !== undefined) return `/${joined}`;
    if (joined === '') return '.';
    // Servers read a dash as an option of LIST, `~` as the home directory, and drop leading spaces.
    return /^[-~ ]/.test(joined) ? `./${joined}` : joined;
  }
}
