/*
 * The contract that every transport fulfils: a remote is a directory on a server, as the sync sees it.
 * Each operation borrows a connection of the server's pool and gives it back. All paths are relative to the
 * remote's root. Errors are thrown as they come (FtpError, SftpError and their kin); remote/failure.ts judges them.
 */
import type { Digest, HashAlgorithm } from '../plan/digest.js';
import type { LinkEntry, RelativePath, RemoteFile } from '../plan/entry.js';
import type { TemporaryForm } from '../plan/temporary.js';

/** The content of one file on its way out. */
export interface Source {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** The bytes, read once, in order. A chunk may be reused by the reader when the next one is asked for. */
  chunks(reading?: Reading): AsyncIterable<Buffer>;
  /** The digest of the first bytes alone, hex digits in lower case: what a part of this content must have. */
  digestOf(bytes: number, algorithm: HashAlgorithm): Promise<string>;
  /**
   * After the last chunk: the file is the same still.
   *
   * @returns the digests of all that was read
   * @throws where the file was changed, replaced or cut while it was read
   */
  confirm(): Promise<Digests>;
}

/** How a source is to be read. */
export interface Reading {
  /** The bytes before this one count for the digests and are not given; 0 unless told. */
  readonly fromByte?: number;
  /** Another digest to compute besides SHA-256. */
  readonly also?: HashAlgorithm | undefined;
}

/** Digests of a whole content, hex digits in lower case. */
export interface Digests {
  readonly sha256: string;
  /** Where another one was asked for. */
  readonly also: string | undefined;
}

/** One file to bring over: to a temporary name first, published by a rename. */
export interface Delivery {
  readonly path: RelativePath;
  /** In the same directory as `path`; in the form that the remote's `temporaryForm` names. */
  readonly temporary: RelativePath;
  readonly source: Source;
  /**
   * What may lie under the temporary name: `none`, or `possible` for a part of this very content, or all of it, from
   * an attempt that was cut off. It is gone on with only where it is proven.
   */
  readonly part: 'none' | 'possible';
  /**
   * Permissions, at most 0o777, that the file gets before it has its final name; undefined leaves them to the remote. A
   * remote that does not take them gets the file all the same.
   */
  readonly permissions?: number | undefined;
  /**
   * What stands under `path` by then is moved here first, and directories are made for it; where that is refused the
   * file is not published. Undefined: it is overwritten.
   */
  readonly aside?: RelativePath | undefined;
}

/** What is known once a file stands under its final name. */
export interface Delivered {
  /** The size of the file. */
  readonly bytes: number;
  /** What had arrived before: only the rest was sent this time. 0 where there was nothing of use. */
  readonly fromByte: number;
  readonly sha256: string;
  /** The modification time that the remote now holds, or undefined where it took none. */
  readonly modifiedMs: number | undefined;
  /** Something stood under the path and was moved to the delivery's `aside`. */
  readonly setAside: boolean;
}

/** One directory's content. */
export interface RemoteDirectory {
  readonly files: readonly RemoteFile[];
  /** Paths of the directories below, relative to the root. */
  readonly directories: readonly RelativePath[];
  /** Symbolic links, where they were asked for and their text can be told. */
  readonly links?: readonly LinkEntry[];
  /** Paths of other links, and of things that are no regular files. */
  readonly others: readonly RelativePath[];
  /** False where entries were left out, could not be read, or have impossible names. */
  readonly complete: boolean;
  /** False where nothing shows that the listing was not cut on its way: good to fetch by, never to delete by. */
  readonly proven: boolean;
}

export interface OperationOptions {
  /** Aborted: the operation is broken off. */
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends OperationOptions {
  /** `told`: what links lead to is asked for; unless told they are among the `others`. */
  readonly links?: 'told';
}

export interface DeliverOptions extends OperationOptions {
  /** Aborted: a delivery that was not begun is not begun any more; it rejects with the signal's reason. */
  readonly stop?: AbortSignal | undefined;
}

export interface FetchOptions extends OperationOptions {
  /** What the sink has already; 0 unless told. */
  readonly fromByte?: number;
  /** Whether all that the sink has by now has this digest; without it no hash is asked for. */
  readonly holds?: (digest: Digest) => Promise<boolean>;
  /** What a listing said of the file's size: counts where the server does not tell it when asked. */
  readonly listedBytes?: number | undefined;
}

export interface DigestOptions extends OperationOptions {
  /** What the file has, as it was listed: the server is given time to read as much. */
  readonly sizeBytes: number;
}

/** One symbolic link to make: under a temporary name first, published by a rename. */
export interface LinkMaking {
  readonly path: RelativePath;
  /** In the same directory as `path`; nothing stands there. */
  readonly temporary: RelativePath;
  /** The link's text, kept as it is: 1 to 4095 bytes, without NUL. */
  readonly leadsTo: string;
  /** As of a delivery. */
  readonly aside?: RelativePath | undefined;
}

/** What a remote does about symbolic links, none of which it ever follows. */
export interface RemoteLinks {
  /** The text of the link at a path; undefined where there is none, or none whose text can be told. */
  read(path: RelativePath, options?: OperationOptions): Promise<string | undefined>;

  /**
   * Makes a link under its temporary name, reads it back, and renames it onto its final name, over a file or a link.
   * Missing directories are made. After an error nothing stands under the final name that was not there before; the
   * link may stand under the temporary name.
   *
   * @returns whether something stood under the path and was moved to `aside`
   */
  make(making: LinkMaking, options?: DeliverOptions): Promise<{ readonly setAside: boolean }>;
}

/** In what two names differ that may be one file to a server. */
export type Difference = 'case' | 'form';

/** Keeps account of what is tried out on a remote, so that nothing of it stays there after a crash. */
export interface Trials {
  /** A file that is nobody's is about to be stored, in a directory of its own or alone. Durable on return. */
  begin(path: RelativePath): void;
  /** It is surely gone, or may not be removed. */
  end(path: RelativePath): void;
}

/** Thrown by `deliver` where the server refuses the temporary name, and takes one of another form. */
export class TemporaryRefused extends Error {
  override readonly name = 'TemporaryRefused';
  readonly code = 'TEMPORARY';
}

/**
 * Thrown by `deliver` where the server does not open the part that an earlier attempt has left: it holds that for a
 * session that it does not know to be gone yet. The file has to be sent anew, under another temporary name.
 */
export class PartHeld extends Error {
  override readonly name = 'PartHeld';
  readonly code = 'HELD';
}

/**
 * Thrown by `move`, and by `deliver` and `make` for their `aside`, where the server refuses for good to rename from the one place to
 * the other. Nothing was changed.
 */
export class MoveRefused extends Error {
  override readonly name = 'MoveRefused';
  readonly code = 'MOVE';
}

/** Thrown by `deliver` and `make` where something stands at `aside` already: neither that nor the old file is overwritten. */
export class AsideTaken extends Error {
  override readonly name = 'AsideTaken';
  readonly code = 'ASIDE';
}

/** Thrown where the server would keep a file or directory under another name than it was given. */
export class NameNotKept extends Error {
  override readonly name = 'NameNotKept';
  readonly code = 'argument';
}

/**
 * Thrown by `make` where the server has no links, or gives them another text than it is told: it would do so again.
 * Nothing was changed.
 */
export class LinkImpossible extends Error {
  override readonly name = 'LinkImpossible';
  readonly code = 'LINK';
}

/** Thrown by `fetch` where the file is not there any more. */
export class Gone extends Error {
  override readonly name = 'Gone';
  readonly code = 'ENOENT';
}

export interface Remote {
  /** How messages name it: `nas:dumps`. */
  readonly label: string;

  /** How many deliveries should be under way at the same time to keep all connections busy. */
  readonly appetite: number;

  /** How many fetches likewise; left out where one keeps a connection busy. */
  readonly fetches?: number;

  /** Left out where the protocol has no links. */
  readonly links?: RemoteLinks;

  /** What temporary names must look like there. */
  readonly temporaryForm: TemporaryForm;

  /**
   * Sends a file under its temporary name, proves its size and, where the server can, its
   * hash, sets its time and renames it onto its final name. Missing directories are made. After an error nothing stands under the final name that was not
   * there before; a part may stand under the temporary name.
   */
  deliver(delivery: Delivery, options?: DeliverOptions): Promise<Delivered>;

  /**
   * Reads a file from `fromByte` on. Resolves when the data ended, the server confirmed, as many bytes came as
   * the server said that the file has, and its hash, where it tells one, is that of what the sink holds.
   *
   * @returns the number of bytes that the sink was given
   */
  fetch(path: RelativePath, sink: (chunk: Buffer) => Promise<void>, options?: FetchOptions): Promise<number>;

  /** Size and time of one file, or undefined where there is none; a link, where the protocol tells it, is none. */
  stat(path: RelativePath, options?: OperationOptions): Promise<RemoteFile | undefined>;

  /** One directory; `''` is the root. Throws where it cannot be listed; never an empty guess. */
  list(directory: RelativePath | '', options?: ListOptions): Promise<RemoteDirectory>;

  /** Removes a file, or a link itself. One that is not there is removed already. */
  remove(path: RelativePath, options?: OperationOptions): Promise<void>;

  /**
   * Renames a file, or a link itself; missing directories of `to` are made. Never replaces what stands at `to`.
   *
   * @returns `missing` where there is no file at `from`, whatever stands at `to`; `occupied` where something does
   */
  move(
    from: RelativePath,
    to: RelativePath,
    options?: OperationOptions,
  ): Promise<'moved' | 'missing' | 'occupied'>;

  /** Makes a directory and those above it; `''` is the root. One that is there is no failure; a file in its place is. */
  makeDirectory(path: RelativePath | '', options?: OperationOptions): Promise<void>;

  /** Removes a directory that is empty. One that is not there is removed already. */
  removeDirectory(path: RelativePath, options?: OperationOptions): Promise<'removed' | 'not-empty'>;

  /**
   * The digest of what the remote holds: what it says of itself, or where it says nothing, of the file read back.
   *
   * @returns undefined where there is no such file
   */
  digest(path: RelativePath, options: DigestOptions): Promise<Digest | undefined>;

  /**
   * Whether two names that differ only in case, or only in their Unicode normal form, are two files there. Found out by
   * a trial, and remembered. False where no trial can be made: what is not known to be kept apart may meet in one file.
   */
  keepsApart(difference: Difference): Promise<boolean>;
}

/** A modification time as servers hold it: whole seconds, in milliseconds. */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
