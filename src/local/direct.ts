/*
 * A file system asked at once, for a disk of this machine: such a call takes some microseconds, a tenth of what it
 * takes to hand it to another thread and to hear back. What takes long on any disk (a flush, the pieces of a large
 * file) goes to the thread pool here too.
 */
import {
  accessSync,
  closeSync,
  type Dirent,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  statSync,
  unlinkSync,
  write,
  writeSync,
} from 'node:fs';
import type { Disk, Looked, OpenFile, Soon } from './disk.js';
import { codeOf } from './error.js';

export const DIRECT: Disk = {
  access(path, mode): void {
    accessSync(path, mode);
  },
  lstat(path): Stats {
    return lstatSync(path);
  },
  lstatAll(paths): readonly Looked[] {
    return paths.map((path) => {
      try {
        return lstatSync(path);
      } catch (error) {
        return { error };
      }
    });
  },
  stat(path): Stats {
    return statSync(path);
  },
  readdir(path): Dirent[] {
    return readdirSync(path, { withFileTypes: true });
  },
  readlink(path): string {
    return readlinkSync(path);
  },
  realpath(path): string {
    return realpathSync.native(path);
  },
  open(path, flags, mode): OpenFile {
    return new DirectFile(openSync(path, flags, mode));
  },
  mkdir(path, mode): void {
    mkdirSync(path, mode);
  },
  rmdir(path): void {
    rmdirSync(path);
  },
  rename(from, to): void {
    renameSync(from, to);
  },
  unlink(path): void {
    try {
      unlinkSync(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  },
};

class DirectFile implements OpenFile {
  readonly fd: number;
  /** A descriptor that is closed under a call in another thread may be another file's by the time it is used. */
  #underway = 0;
  #onIdle: (() => void) | undefined;
  #closed = false;

  constructor(fd: number) {
    this.fd = fd;
  }

  stat(): Stats {
    return fstatSync(this.#open());
  }

  read(buffer: Buffer, position: number): number {
    return readSync(this.#open(), buffer, 0, buffer.length, position);
  }

  readBeside(buffer: Buffer, position: number): Promise<number> {
    return this.#beside((fd, done) => read(fd, buffer, 0, buffer.length, position, done));
  }

  write(buffer: Buffer, position: number): number {
    return writeSync(this.#open(), buffer, 0, buffer.length, position);
  }

  writeBeside(buffer: Buffer, position: number): Promise<number> {
    return this.#beside((fd, done) => write(fd, buffer, 0, buffer.length, position, done));
  }

  utimes(accessedMs: number, modifiedMs: number): void {
    futimesSync(this.#open(), accessedMs / 1000, modifiedMs / 1000);
  }

  chmod(mode: number): void {
    fchmodSync(this.#open(), mode);
  }

  chown(uid: number, gid: number): void {
    fchownSync(this.#open(), uid, gid);
  }

  async sync(): Promise<void> {
    await this.#beside((fd, done) => fsync(fd, (error) => done(error, 0)));
  }

  close(): Soon<void> {
    if (this.#closed) return;
    const { fd } = this;
    this.#closed = true;
    if (this.#underway === 0) return closeSync(fd);
    return new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    }).then(() => closeSync(fd));
  }

  #open(): number {
    if (this.#closed) throw Object.assign(new Error('The file is closed.'), { code: 'EBADF' });
    return this.fd;
  }

  async #beside(
    call: (fd: number, done: (error: Error | null, count: number) => void) => void,
  ): Promise<number> {
    const fd = this.#open();
    this.#underway += 1;
    try {
      return await new Promise((resolve, reject) => {
        call(fd, (error, count) => (error === null ? resolve(count) : reject(error)));
      });
    } finally {
      this.#underway -= 1;
      if (this.#underway === 0) this.#onIdle?.();
    }
  }
}
