/*
 * The contract that every transport fulfils: a remote is a directory on a server, as the sync sees it.
 * Each operation borrows a connection of the server's pool and gives it back. All paths are relative to the
 * remote's root. Errors are thrown as they come (FtpError and its kin); remote/failure.ts judges them.
 */
import type { RelativePath, RemoteFile } from '../plan/entry.js';

/** The content of one file on its way out. */
export interface Source {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** The bytes, read once, in order. A chunk may be reused by the reader when the next one is asked for. */
  chunks(): AsyncIterable<Buffer>;
  /**
   * After the last chunk: the file is the same still.
   *
   * @returns SHA-256 of what was read, 64 hex digits
   * @throws where the file was changed, replaced or cut while it was read
   */
  confirm(): Promise<string>;
}

/** One file to bring over: to a temporary name first, published by a rename. */
export interface Delivery {
  readonly path: RelativePath;
  /** In the same directory as `path`. */
  readonly temporary: RelativePath;
  readonly source: Source;
}

/** What is known once a file stands under its final name. */
export interface Delivered {
  readonly bytes: number;
  readonly sha256: string;
  /** The modification time that the remote now holds, or undefined where it took none. */
  readonly modifiedMs: number | undefined;
}

/** One directory's content. */
export interface RemoteDirectory {
  readonly files: readonly RemoteFile[];
  /** Paths of the directories below, relative to the root. */
  readonly directories: readonly RelativePath[];
  /** Paths of links and other things that are no regular files. */
  readonly others: readonly RelativePath[];
  /** False where the listing was cut, could not be read in full, or held impossible names. */
  readonly complete: boolean;
}

export interface OperationOptions {
  /** Aborted: the operation is broken off. */
  readonly signal?: AbortSignal | undefined;
}

export interface DeliverOptions extends OperationOptions {
  /** Aborted: a delivery that was not begun is not begun any more; it rejects with the signal's reason. */
  readonly stop?: AbortSignal | undefined;
}

export interface Remote {
  /** How messages name it: `nas:dumps`. */
  readonly label: string;

  /** How many deliveries should be under way at the same time to keep all connections busy. */
  readonly appetite: number;

  /**
   * Sends a file under its temporary name, proves its size, sets its time and renames it onto its final
   * name. Missing directories are made. After an error nothing stands under the final name that was not
   * there before; a part may stand under the temporary name.
   */
  deliver(delivery: Delivery, options?: DeliverOptions): Promise<Delivered>;

  /**
   * The last steps of `deliver` alone, for a temporary file that is whole: time, rename.
   *
   * @returns the modification time that the remote now holds
   */
  publish(
    file: {
      readonly path: RelativePath;
      readonly temporary: RelativePath;
      readonly modifiedMs: number;
    },
    options?: OperationOptions,
  ): Promise<number | undefined>;

  /**
   * Reads a file from the beginning. Resolves when the data ended, the server confirmed, and as many bytes
   * came as the server said that the file has.
   *
   * @returns the number of bytes
   */
  fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    options?: OperationOptions,
  ): Promise<number>;

  /** Size and time of one file, or undefined where there is none. */
  stat(path: RelativePath): Promise<RemoteFile | undefined>;

  /** One directory; `''` is the root. Throws where it cannot be listed; never an empty guess. */
  list(directory: RelativePath | ''): Promise<RemoteDirectory>;

  /** Removes a file. One that is not there is removed already. */
  remove(path: RelativePath): Promise<void>;
}

/** A modification time as servers hold it: whole seconds, in milliseconds. */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
