/*
 * How the file systems of this machine are asked. One contract, two ways: at once (direct.ts), where the disk is this
 * machine's and a call costs less than handing it to another thread; in the thread pool (pooled.ts), where a call may
 * hang for as long as somebody else likes. Who calls awaits every answer and need not know which way it came; which way
 * a directory gets is mounts.ts's.
 */
import type { Dirent, Stats } from 'node:fs';

/** An answer, there already or on its way. */
export type Soon<T> = T | Promise<T>;

/** What a look at one of several paths gave. */
export type Looked = Stats | { readonly error: unknown };

/** Every method throws, or rejects with, the system's error. */
export interface Disk {
  access(path: string, mode: number): Soon<void>;
  lstat(path: string): Soon<Stats>;
  /** Each path's own, in their order. */
  lstatAll(paths: readonly string[]): Soon<readonly Looked[]>;
  stat(path: string): Soon<Stats>;
  readdir(path: string): Soon<Dirent[]>;
  readlink(path: string): Soon<string>;
  realpath(path: string): Soon<string>;
  open(path: string, flags: number, mode?: number): Soon<OpenFile>;
  mkdir(path: string, mode: number): Soon<void>;
  rmdir(path: string): Soon<void>;
  rename(from: string, to: string): Soon<void>;
  /** One that is not there is no failure. */
  unlink(path: string): Soon<void>;
}

/** A file or a directory that is held open. What is `beside` never keeps others waiting, whatever the disk. */
export interface OpenFile {
  readonly fd: number;
  stat(): Soon<Stats>;
  /** Fills the buffer from that byte of the file on. @returns how many bytes; 0 at the end */
  read(buffer: Buffer, position: number): Soon<number>;
  readBeside(buffer: Buffer, position: number): Promise<number>;
  /** @returns how many bytes were written */
  write(buffer: Buffer, position: number): Soon<number>;
  writeBeside(buffer: Buffer, position: number): Promise<number>;
  /** Sets the time of modification, in milliseconds since 1970. */
  utimes(accessedMs: number, modifiedMs: number): Soon<void>;
  chmod(mode: number): Soon<void>;
  chown(uid: number, gid: number): Soon<void>;
  /** Flushes to the disk. */
  sync(): Promise<void>;
  /** Waits for what is under way beside. */
  close(): Soon<void>;
}
