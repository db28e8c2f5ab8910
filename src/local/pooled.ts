/*
 * A file system asked in Node's thread pool, so that a server that is away or a program behind a mount keeps one thread
 * waiting and not the process. Several looks are under way at the same time.
 */
import { type Dirent, promises as fs, type Stats } from 'node:fs';
import type { Disk, Looked, OpenFile } from './disk.js';
import { codeOf } from './error.js';

/** How many files are looked at at the same time. */
const LOOKS_AT_ONCE = 32;

export const POOLED: Disk = {
  access(path, mode): Promise<void> {
    return fs.access(path, mode);
  },
  lstat(path): Promise<Stats> {
    return fs.lstat(path);
  },
  async lstatAll(paths): Promise<readonly Looked[]> {
    const looked: Looked[] = [];
    for (let first = 0; first < paths.length; first += LOOKS_AT_ONCE) {
      const some = paths.slice(first, first + LOOKS_AT_ONCE);
      looked.push(...(await Promise.all(some.map((path) => fs.lstat(path).catch((error) => ({ error }))))));
    }
    return looked;
  },
  stat(path): Promise<Stats> {
    return fs.stat(path);
  },
  readdir(path): Promise<Dirent[]> {
    return fs.readdir(path, { withFileTypes: true });
  },
  readlink(path): Promise<string> {
    return fs.readlink(path);
  },
  realpath(path): Promise<string> {
    return fs.realpath(path);
  },
  async open(path, flags, mode): Promise<OpenFile> {
    return new PooledFile(await fs.open(path, flags, mode));
  },
  async mkdir(path, mode): Promise<void> {
    await fs.mkdir(path, mode);
  },
  rmdir(path): Promise<void> {
    return fs.rmdir(path);
  },
  rename(from, to): Promise<void> {
    return fs.rename(from, to);
  },
  async unlink(path): Promise<void> {
    try {
      await fs.unlink(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  },
};

class PooledFile implements OpenFile {
  readonly #handle: fs.FileHandle;

  constructor(handle: fs.FileHandle) {
    this.#handle = handle;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  stat(): Promise<Stats> {
    return this.#handle.stat();
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead;
  }

  readBeside(buffer: Buffer, position: number): Promise<number> {
    return this.read(buffer, position);
  }

  async write(buffer: Buffer, position: number): Promise<number> {
    return (await this.#handle.write(buffer, 0, buffer.length, position)).bytesWritten;
  }

  writeBeside(buffer: Buffer, position: number): Promise<number> {
    return this.write(buffer, position);
  }

  utimes(accessedMs: number, modifiedMs: number): Promise<void> {
    return this.#handle.utimes(accessedMs / 1000, modifiedMs / 1000);
  }

  chmod(mode: number): Promise<void> {
    return this.#handle.chmod(mode);
  }

  chown(uid: number, gid: number): Promise<void> {
    return this.#handle.chown(uid, gid);
  }

  sync(): Promise<void> {
    return this.#handle.sync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
