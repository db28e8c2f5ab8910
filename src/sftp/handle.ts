/*
 * An open file on the server: what can be asked of it (draft-ietf-secsh-filexfer-02 sections 6.3 to 6.9, and the
 * extensions that take a handle). Requests leave in the order in which they are made, so that several may be under way
 * at once: FSETSTAT, fsync, FSTAT and CLOSE behind the last WRITE cost one round trip together.
 */
import type { Attributes, NewAttributes } from './attributes.js';
import { checkFile } from './check.js';
import { dataOf, download } from './download.js';
import { SftpError } from './errors.js';
import { type Field, PACKET } from './packet.js';
import { quietly } from './quietly.js';
import { type Answer, DONE } from './requests.js';
import { ATTRIBUTES, type Session } from './session.js';
import { SPACE } from './space.js';
import type {
  Checked,
  CheckOptions,
  DownloadOptions,
  Path,
  RequestOptions,
  Space,
  UploadOptions,
} from './types.js';
import { upload } from './upload.js';

/** An open file. It has to be closed, also after an error. */
export class Handle {
  /** As it was opened, for messages of the caller. */
  readonly path: Path;
  /** The server's name for it, which means nothing to anybody else. */
  readonly bytes: Buffer;
  readonly #session: Session;
  #closing: Promise<void> | undefined;

  constructor(session: Session, bytes: Buffer, path: Path) {
    this.#session = session;
    this.bytes = bytes;
    this.path = path;
  }

  /**
   * One WRITE.
   *
   * @param data at most `limits.maxWriteBytes`; copied before this returns
   * @throws {SftpError} `status` where it is refused, `argument` for what one WRITE cannot hold
   */
  write(offset: number, data: Buffer, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      this.#check(offset, data.length, this.#session.limits.maxWriteBytes, 'WRITE');
      const fields = [this.bytes, BigInt(offset), data];
      await this.#ask(PACKET.WRITE, 'WRITE', 'write to a file', fields, DONE, options);
    });
  }

  /**
   * One READ. Fewer bytes may come than were asked for.
   *
   * @param bytes at most `limits.maxReadBytes`
   * @returns undefined at the end of the file
   * @throws {SftpError} as `write`
   */
  read(offset: number, bytes: number, options: RequestOptions = {}): Promise<Buffer | undefined> {
    return quietly(async () => {
      this.#check(offset, bytes, this.#session.limits.maxReadBytes, 'READ');
      const fields = [this.bytes, BigInt(offset), bytes];
      return this.#ask(
        PACKET.READ,
        'READ',
        'read a file',
        fields,
        dataOf(bytes, (data) => Buffer.from(data)),
        options,
      );
    });
  }

  /** FSTAT. @throws {SftpError} `status` where it is refused */
  stat(options: RequestOptions = {}): Promise<Attributes> {
    return quietly(async () => {
      return this.#ask(
        PACKET.FSTAT,
        'FSTAT',
        'tell the attributes of a file',
        [this.bytes],
        ATTRIBUTES,
        options,
      );
    });
  }

  /** FSETSTAT. @throws {SftpError} `status` where it is refused, `argument` for numbers that cannot travel */
  setstat(attributes: NewAttributes, options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const fields = [this.bytes, ...this.#session.attributes(attributes, 'FSETSTAT')];
      await this.#ask(PACKET.FSETSTAT, 'FSETSTAT', 'set the attributes of a file', fields, DONE, options);
    });
  }

  /** fsync@openssh.com: all that was written is on the disk. @throws {SftpError} `unsupported`, `status` */
  fsync(options: RequestOptions = {}): Promise<void> {
    return quietly(async () => {
      const request = 'fsync@openssh.com';
      this.#session.needs(request);
      const fields = [Buffer.from(request), this.bytes];
      await this.#ask(PACKET.EXTENDED, request, 'bring a file to its disk', fields, DONE, options);
    });
  }

  /** fstatvfs@openssh.com. @throws {SftpError} `unsupported`, `status` */
  statvfs(options: RequestOptions = {}): Promise<Space> {
    return quietly(async () => {
      const request = 'fstatvfs@openssh.com';
      this.#session.needs(request);
      const fields = [Buffer.from(request), this.bytes];
      return this.#ask(PACKET.EXTENDED, request, 'tell how much space there is', fields, SPACE, options);
    });
  }

  /**
   * check-file-handle: the server's own digest. mod_sftp refuses it where the file was opened for writing alone.
   *
   * @throws {SftpError} `unsupported`; `status` where it is refused, or has none of the algorithms; `argument`
   */
  checkFile(options: CheckOptions): Promise<Checked> {
    return quietly(async () => {
      return checkFile(this.#session, 'check-file-handle', { bytes: this.bytes, path: this.path }, options);
    });
  }

  /** See upload.ts: all chunks, from `fromByte` on. Returns the number of bytes that the server has acknowledged. */
  upload(chunks: AsyncIterable<Buffer>, options: UploadOptions = {}): Promise<number> {
    return quietly(async () => {
      return upload(this.#session, this.bytes, chunks, options);
    });
  }

  /** See download.ts: from `fromByte` to the end of the file. Returns the number of bytes that the sink was given. */
  download(sink: (chunk: Buffer) => Promise<void>, options: DownloadOptions = {}): Promise<number> {
    return quietly(async () => {
      return download(this.#session, this.bytes, sink, options);
    });
  }

  /**
   * CLOSE. A second call gives what the first gave: a handle's name may be another file's by then.
   *
   * @throws {SftpError} `status`: some servers tell only here that what was written could not be kept
   */
  close(): Promise<void> {
    this.#closing ??= this.#ask(PACKET.CLOSE, 'CLOSE', 'close a file', [this.bytes], DONE, {});
    return this.#closing;
  }

  #ask<T>(
    type: number,
    request: string,
    asked: string,
    fields: readonly Field[],
    answer: Answer<T>,
    { signal, workingMs }: RequestOptions,
  ): Promise<T> {
    return this.#session.requests.ask({ type, request, asked, fields, answer, signal, workingMs });
  }

  #check(offset: number, bytes: number, most: number, request: string): void {
    if (Number.isSafeInteger(offset) && offset >= 0 && Number.isInteger(bytes) && bytes >= 0 && bytes <= most)
      return;
    throw new SftpError(
      'argument',
      `${this.#session.where} cannot be asked for a ${request} of ${bytes} bytes at byte ${offset}.`,
      { phase: 'request', request },
    );
  }
}
