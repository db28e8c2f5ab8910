/*
 * What goes into the requests of SFTP and what comes out of them, as far as several files need it.
 */
import type { Attributes } from './attributes.js';

/** How names are written in bytes on one server. */
export interface Names {
  /** The bytes of a text, or undefined where the charset lacks one of its characters. */
  encode(name: string): Buffer | undefined;
  /** The text, or undefined where it does not encode back to exactly these bytes. */
  decode(bytes: Buffer): string | undefined;
}

/** A path as text, or as its very bytes where they are no text. */
export type Path = string | Buffer;

/** A name as it came; `name` is undefined where its bytes are no text in the server's charset. */
export interface Name {
  readonly name: string | undefined;
  readonly bytes: Buffer;
}

/**
 * One entry of a listing; `.` and `..` are left out. `name` is undefined as well where it can be no name in a
 * directory: it is empty, or has a slash, a NUL or more than 4096 bytes.
 */
export interface Entry extends Name {
  readonly attributes: Attributes;
}

export interface RequestOptions {
  /** Gives the request up: it rejects at once, and its late answer is dropped. */
  readonly signal?: AbortSignal | undefined;
  /** How long the server may work on it, besides the time for any answer; 0 unless told. */
  readonly workingMs?: number | undefined;
}

/**
 * `read`: the file must be there. `write`: it must be there, and keeps its content. `create`: it is made where it is
 * not there. `truncate`: made or emptied. `exclusive`: it must not be there.
 */
export type Access = 'read' | 'write' | 'create' | 'truncate' | 'exclusive';

export interface OpenOptions extends RequestOptions {
  readonly access: Access;
  /** Permissions of a file that is made, less what the server's umask takes away; its default unless told. */
  readonly mode?: number | undefined;
}

/** What a server takes at once. */
export interface Limits {
  readonly maxPacketBytes: number;
  readonly maxReadBytes: number;
  readonly maxWriteBytes: number;
  /** Undefined where the server does not tell. */
  readonly maxHandles: number | undefined;
}

/** What statvfs@openssh.com tells of a file system. */
export interface Space {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Free for those who are not root. */
  readonly availableBytes: number;
  readonly totalFiles: number;
  readonly availableFiles: number;
  readonly isReadOnly: boolean;
  readonly maxNameBytes: number;
}

/** As check-file names them. */
export type CheckAlgorithm = 'sha512' | 'sha384' | 'sha256' | 'sha224' | 'sha1' | 'md5' | 'crc32';

export interface CheckOptions extends RequestOptions {
  /** The server takes the first one that it has. */
  readonly algorithms: readonly CheckAlgorithm[];
  /** 0 unless told. */
  readonly fromByte?: number | undefined;
  /**
   * How much is hashed from there: 1 to 2^32-1. Servers refuse an empty range, and mod_sftp hashes only a part of a
   * longer one, and says nothing.
   */
  readonly sizeBytes: number;
}

export interface Checked {
  readonly algorithm: CheckAlgorithm;
  /** Hex digits in lower case. */
  readonly hex: string;
}

export interface UploadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where in the file the first chunk goes; 0 unless told. */
  readonly fromByte?: number | undefined;
  /** Called once all chunks are on their way; what is asked then travels behind them. Must not throw. */
  readonly onSent?: (() => void) | undefined;
}

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where reading begins; 0 unless told. */
  readonly fromByte?: number | undefined;
  /**
   * What the whole file is said to have: it tells how far to read ahead, and far more than that is `mismatch`. The
   * end is where the server says that it is, be it before or behind.
   */
  readonly sizeBytes?: number | undefined;
}

/** A copy within the server (copy-data). */
export interface CopyRange {
  readonly fromByte: number;
  /** 0 for all to the end. */
  readonly sizeBytes: number;
  readonly toByte: number;
}

/** Extensions that are spoken here, each in one version. */
export type Extension =
  | 'posix-rename@openssh.com'
  | 'statvfs@openssh.com'
  | 'fstatvfs@openssh.com'
  | 'hardlink@openssh.com'
  | 'fsync@openssh.com'
  | 'lsetstat@openssh.com'
  | 'limits@openssh.com'
  | 'expand-path@openssh.com'
  | 'copy-data'
  | 'home-directory'
  | 'check-file';
