/*
 * The requests of SFTP version 3 (draft-ietf-secsh-filexfer-02 section 6) and of the extensions that OpenSSH and
 * mod_sftp have, over one channel: what a session can be asked to do. Any number of them may be under way at once. A
 * STATUS that refuses is thrown as SftpError with the status in it. Nothing is retried, and no extension is assumed.
 *
 * Paths are sent as given; the server takes relative ones from the directory that the login begins in.
 */
import type { Duplex } from 'node:stream';
import type { Attributes, NewAttributes } from './attributes.js';
import { checkFile } from './check.js';
import { SftpError } from './errors.js';
import { Handle } from './handle.js';
import { list } from './listing.js';
import { type Field, PACKET } from './packet.js';
import { quietly } from './quietly.js';
import { type Answer, type Carrier, DONE, Requests } from './requests.js';
import { ATTRIBUTES, HANDLE, Session, shownPath } from './session.js';
import { SPACE } from './space.js';
import { SshConnection, type SshOptions } from './ssh/connection.js';
import { secretsOf } from './ssh/credentials.js';
import type {
  Access,
  Checked,
  CheckOptions,
  CopyRange,
  Entry,
  Extension,
  Limits,
  Name,
  Names,
  OpenOptions,
  Path,
  RequestOptions,
  Space,
} from './types.js';

export type { Attributes, EntryType, NewAttributes } from './attributes.js';
export type { Handle } from './handle.js';
export type { SshLogin, SshOptions, SshTrust } from './ssh/connection.js';
export type {
  Access,
  CheckAlgorithm,
  Checked,
  CheckOptions,
  CopyRange,
  DownloadOptions,
  Entry,
  Extension,
  Limits,
  Name,
  Names,
  OpenOptions,
  Path,
  RequestOptions,
  Space,
  UploadOptions,
} from './types.js';

/** What a session needs to know besides how it gets there. */
export interface SessionOptions {
  readonly names: Names;
  /** A server that owes answers, and for so long neither sends a byte nor takes one, is given up. */
  readonly replyTimeoutMs: number;
  /** How long a transfer may move no byte while it waits for the server. */
  readonly stallTimeoutMs: number;
  /** How long one upload, download or listing may take in all. */
  readonly transferTimeoutMs: number;
  /** Hears every request and answer, in one line each. */
  readonly onWire?: ((line: string) => void) | undefined;
  /** What is shown nowhere, also where the server repeats it. */
  readonly secrets?: readonly string[] | undefined;
  /** Gives up while the session is being opened. */
  readonly signal?: AbortSignal | undefined;
  /** What is asked here travels with the question for the server's limits. Must not throw. */
  readonly onBegun?: ((client: SftpClient) => void) | undefined;
}

export interface ClientOptions extends SshOptions, SessionOptions {}

/** For a channel that is there already. */
export interface ChannelOptions extends SessionOptions {
  /** How messages call the server. */
  readonly where: string;
  /** What its SSH side says that it is, `OpenSSH_9.2p1`; some things depend on it. */
  readonly software: string;
}

/** SSH_FXF_READ, WRITE, CREAT, TRUNC, EXCL. */
const READ = 0x01;
const WRITE = 0x02;
const CREATE = 0x08;
const TRUNCATE = 0x10;
const EXCLUSIVE = 0x20;

const ACCESS: Readonly<Record<Access, number>> = {
  read: READ,
  write: WRITE,
  create: WRITE | CREATE,
  truncate: WRITE | CREATE | TRUNCATE,
  exclusive: WRITE | CREATE | EXCLUSIVE,
};

/** One session with one server. Its methods may be called at any time, also side by side. */
export class SftpClient {
  /** Host and port, for messages. */
  readonly where: string;
  /** What the server's SSH side says that it is, cleaned. */
  readonly software: string;
  /** As told in VERSION: the name, and what stands with it, which is a version mostly. Cleaned. */
  readonly extensions: ReadonlyMap<string, string>;
  /** Why the session ended; never rejects. */
  readonly ended: Promise<SftpError>;
  readonly #session: Session;
  readonly #requests: Requests;

  private constructor(session: Session, carrier: Carrier) {
    this.where = carrier.where;
    this.software = carrier.software;
    this.extensions = session.extensions;
    this.ended = session.requests.ended;
    this.#session = session;
    this.#requests = session.requests;
  }

  /**
   * Connects, logs in, opens the channel, agrees on the version and asks for the server's limits.
   *
   * @throws {SftpError} with the phase in which it failed; nothing is left open then
   */
  static async open(options: ClientOptions): Promise<SftpClient> {
    const connection = await SshConnection.open(options);
    try {
      const secrets = secretsOf(options.login);
      return await SftpClient.#begin(await connection.openSftp(), connection, { ...options, secrets });
    } catch (error) {
      connection.reset();
      throw error;
    }
  }

  /**
   * The same over a channel that is there already. The channel is the session's from then on.
   *
   * @throws {SftpError} phase `session`
   */
  static async over(channel: Duplex, options: ChannelOptions): Promise<SftpClient> {
    const carrier: Carrier = {
      where: options.where,
      software: options.software,
      usable: true,
      ended: new Promise(() => {}),
      close: async () => {},
      reset: () => {},
    };
    return SftpClient.#begin(channel, carrier, options);
  }

  static async #begin(channel: Duplex, carrier: Carrier, options: SessionOptions): Promise<SftpClient> {
    const { replyTimeoutMs, stallTimeoutMs, transferTimeoutMs, names, onWire, secrets, signal } = options;
    const { requests, version } = await Requests.open(channel, carrier, {
      where: carrier.where,
      replyTimeoutMs,
      onWire,
      secrets,
      signal,
    });
    const session = new Session({
      requests,
      names,
      extensions: version.extensions,
      software: carrier.software,
      transferLimits: { stallTimeoutMs, transferTimeoutMs },
    });
    const onAbort = (): void => requests.reset();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const limits = session.learnLimits();
      const client = new SftpClient(session, carrier);
      options.onBegun?.(client);
      await limits;
      return client;
    } catch (error) {
      requests.reset();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * True where the server is known to do one thing after the other. Of others nobody knows, though the draft wants it of
   * all requests about one file.
   */
  get isSerial(): boolean {
    return this.#session.isSerial;
  }

  /** What the server takes at once. */
  get limits(): Limits {
    return this.#session.limits;
  }

  /** False once nothing can be asked any more. */
  get usable(): boolean {
    return this.#requests.usable;
  }

  /** True where the server has the extension in the version that is spoken here. */
  has(extension: Extension): boolean {
    return this.#session.has(extension);
  }

  /** Waits for what is under way, and ends session and connection in good order. Bounded; never throws. */
  async close(): Promise<void> {
    await this.#requests.close();
  }

  /** Ends session and connection at once; whatever is under way rejects with `aborted`. */
  reset(): void {
    this.#requests.reset();
  }

  // Paths.

  /** REALPATH: the absolute form of a path; `.` is where the login begins. Some servers need no file to be there. */
  realpath(path: Path, options: RequestOptions = {}): Promise<Name> {
    return quietly(async () => {
      const asked = 'tell the absolute form of a path';
      return this.#ofPath(PACKET.REALPATH, 'REALPATH', asked, path, this.#session.oneName, options);
    });
  }

  /** expand-path@openssh.com: as `realpath`, and `~` is understood. @throws {SftpError} `unsupported`, `status` */
  expandPath(path: Path, options: RequestOptions = {}): Promise<Name> {
    return quietly(async () => {
      return this.#extended(
        'expand-path@openssh.com',
        'tell the absolute form of a path',
        [this.#session.path(path, 'expand-path@openssh.com')],
        this.#session.oneName,
        options,
      );
    });
  }

  /** home-directory: a user's; of the account that is logged in where none is told. @throws {SftpError} as above */
  homeDirectory(options: RequestOptions & { readonly user?: string } = {}): Promise<Name> {
    return quietly(async () => {
      const user =
        options.user === undefined ? Buffer.alloc(0) : this.#session.path(options.user, 'home-directory');
      return this.#extended(
        'home-directory',
        'tell a home directory',
        [user],
        this.#session.oneName,
        options,
      );
    });
  }

  // Attributes.

  /** STAT: of what a path leads to, through links. @throws {SftpError} `status`: 2 where there is nothing */
  stat(path: Path, options: RequestOptions = {}): Promise<Attributes> {
    return quietly(async () => {
      return this.#ofPath(PACKET.STAT, 'STAT', 'tell the attributes of a file', path, ATTRIBUTES, options);
    });
  }

  /** LSTAT: as `stat`, of a link itself. */
  lstat(path: Path, options: RequestOptions = {}): Promise<Attributes> {
    return quietly(async () => {
      return this.#ofPath(PACKET.LSTAT, 'LSTAT', 'tell the attributes of a file', path, ATTRIBUTES, options);
    });
  }

  /** SETSTAT: follows links. @throws {SftpError} `status`; `argument` for numbers that cannot travel */
  setstat(path: Path, attributes: NewAttributes, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const fields = this.#session.attributes(attributes, 'SETSTAT');
      await this.#ofPath(
        PACKET.SETSTAT,
        'SETSTAT',
        'set the attributes of a file',
        path,
        DONE,
        options,
        fields,
      );
    });
  }

  /** lsetstat@openssh.com: as `setstat`, of a link itself. */
  lsetstat(path: Path, attributes: NewAttributes, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const request = 'lsetstat@openssh.com';
      const fields = [this.#session.path(path, request), ...this.#session.attributes(attributes, request)];
      await this.#extended(request, 'set the attributes of a link', fields, DONE, options);
    });
  }

  // Links.

  /** READLINK: what a symbolic link holds, which may lead nowhere. */
  readlink(path: Path, options: RequestOptions = {}): Promise<Name> {
    return quietly(async () => {
      const asked = 'tell where a link leads';
      return this.#ofPath(PACKET.READLINK, 'READLINK', asked, path, this.#session.oneName, options);
    });
  }

  /**
   * SYMLINK: makes a link at `at` that holds `target`. The target is sent first, as OpenSSH has it, and with it every
   * server that is in use; the draft has it the other way round.
   */
  symlink(
    { at, target }: { readonly at: Path; readonly target: Path },
    options: RequestOptions = {},
  ): Promise<void> {
    return quietly(async () => {
      const fields = [this.#session.path(at, 'SYMLINK')];
      await this.#ofPath(PACKET.SYMLINK, 'SYMLINK', 'make a link', target, DONE, options, fields);
    });
  }

  /** hardlink@openssh.com: another name for a file. @throws {SftpError} `unsupported`, `status` */
  hardlink(from: Path, to: Path, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const request = 'hardlink@openssh.com';
      const fields = [this.#session.path(from, request), this.#session.path(to, request)];
      await this.#extended(request, 'make a hard link', fields, DONE, options);
    });
  }

  // Directories.

  /** See listing.ts. Leaving the loop early closes the directory. */
  list(path: Path, options: RequestOptions = {}): AsyncGenerator<readonly Entry[], void, undefined> {
    return list(this.#session, path, options);
  }

  /** MKDIR: one directory; what is above it must be there. One that exists is refused, with 4 mostly. */
  makeDirectory(
    path: Path,
    options: RequestOptions & { readonly mode?: number | undefined } = {},
  ): Promise<void> {
    return quietly(async () => {
      const fields = this.#session.mode(options.mode, 'MKDIR');
      await this.#ofPath(PACKET.MKDIR, 'MKDIR', 'make a directory', path, DONE, options, fields);
    });
  }

  /** RMDIR: one empty directory. */
  removeDirectory(path: Path, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      await this.#ofPath(PACKET.RMDIR, 'RMDIR', 'remove a directory', path, DONE, options);
    });
  }

  // Files.

  /**
   * OPEN. A handle that comes for a request that was given up is closed.
   *
   * @throws {SftpError} `status`: 2 where there is no such file or directory, 3, and 4 for nearly everything else
   */
  open(path: Path, options: OpenOptions): Promise<Handle> {
    return quietly(async () => {
      const { access, mode } = options;
      const fields = [
        this.#session.path(path, 'OPEN'),
        ACCESS[access],
        ...this.#session.mode(access === 'read' ? undefined : mode, 'OPEN'),
      ];
      const bytes = await this.#requests.ask({
        type: PACKET.OPEN,
        request: 'OPEN',
        asked: access === 'read' ? 'open a file to read it' : 'open a file to write to it',
        fields,
        answer: HANDLE,
        signal: options.signal,
        workingMs: options.workingMs,
        late: (late) => void new Handle(this.#session, late, path).close(),
        shown: () => `${shownPath(path)} ${access}`,
      });
      return new Handle(this.#session, bytes, path);
    });
  }

  /** REMOVE: one file, or a link; not a directory. */
  remove(path: Path, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      await this.#ofPath(PACKET.REMOVE, 'REMOVE', 'remove a file', path, DONE, options);
    });
  }

  /** RENAME: servers refuse it where something has the new name, mostly; ProFTPD and some others replace that. */
  rename(from: Path, to: Path, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const fields = [this.#session.path(to, 'RENAME')];
      await this.#ofPath(PACKET.RENAME, 'RENAME', 'rename a file', from, DONE, options, fields);
    });
  }

  /** posix-rename@openssh.com: replaces what has the new name, at one stroke. @throws {SftpError} `unsupported`, `status` */
  posixRename(from: Path, to: Path, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const request = 'posix-rename@openssh.com';
      const fields = [this.#session.path(from, request), this.#session.path(to, request)];
      await this.#extended(request, 'rename a file', fields, DONE, options);
    });
  }

  /**
   * copy-data: the server copies from one open file to another; `workingMs` should leave it the time for that.
   *
   * @throws {SftpError} `unsupported`; `status`; `argument`
   */
  copyData(from: Handle, to: Handle, range: CopyRange, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const { fromByte, sizeBytes, toByte } = range;
      for (const value of [fromByte, sizeBytes, toByte]) {
        if (Number.isSafeInteger(value) && value >= 0) continue;
        throw new SftpError('argument', `${this.where} cannot copy from or to byte ${value}.`, {
          phase: 'request',
          request: 'copy-data',
        });
      }
      const fields = [from.bytes, BigInt(fromByte), BigInt(sizeBytes), to.bytes, BigInt(toByte)];
      await this.#extended('copy-data', 'copy a file', fields, DONE, options);
    });
  }

  /**
   * check-file-name: the server's own digest of a file, or of a part; `workingMs` should leave it the time for that.
   *
   * @throws {SftpError} `unsupported`; `status` where it is refused, or has none of the algorithms; `argument`
   */
  checkFile(path: Path, options: CheckOptions): Promise<Checked> {
    return quietly(async () => {
      const bytes = this.#session.path(path, 'check-file-name');
      return checkFile(this.#session, 'check-file-name', { bytes, path }, options);
    });
  }

  /** statvfs@openssh.com: the space of the file system that a path is on. @throws {SftpError} `unsupported`, `status` */
  statvfs(path: Path, options: RequestOptions = {}): Promise<Space> {
    return quietly(async () => {
      const request = 'statvfs@openssh.com';
      const fields = [this.#session.path(path, request)];
      return this.#extended(request, 'tell how much space there is', fields, SPACE, options);
    });
  }

  #ofPath<T>(
    type: number,
    request: string,
    asked: string,
    path: Path,
    answer: Answer<T>,
    { signal, workingMs }: RequestOptions,
    more: readonly Field[] = [],
  ): Promise<T> {
    const fields = [this.#session.path(path, request), ...more];
    const shown = (): string => shownPath(path);
    return this.#requests.ask({ type, request, asked, fields, answer, signal, workingMs, shown });
  }

  #extended<T>(
    request: Extension,
    asked: string,
    fields: readonly Field[],
    answer: Answer<T>,
    { signal, workingMs }: RequestOptions,
  ): Promise<T> {
    this.#session.needs(request);
    return this.#requests.ask({
      type: PACKET.EXTENDED,
      request,
      asked,
      fields: [Buffer.from(request), ...fields],
      answer,
      signal,
      workingMs,
    });
  }
}
