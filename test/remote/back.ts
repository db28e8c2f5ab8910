/*
 * What lies behind a remote, as the contract looks at it without the remote: a directory of the server's disk, or
 * whatever a transport keeps its files in. Paths are relative to the remote's root, joined by `/`.
 */
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Back {
  /** All that is no directory, at every depth, sorted. */
  files(): Promise<string[]>;
  /** What stands in the root, sorted. */
  names(): Promise<string[]>;
  read(path: string): Promise<Buffer>;
  modifiedMs(path: string): Promise<number>;
  /** All mode bits, setuid and its like too. */
  permissions(path: string): Promise<number>;
  /** Writes whole files, and the directories that they need; of now, where no time is said. */
  write(files: ReadonlyMap<string, Buffer | string>, modifiedMs?: number): Promise<void>;
  /** A file in the root whose name is any bytes. */
  writeNamed(name: Buffer, content: string): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  /** A link to another name in the root. */
  link(path: string, target: string): Promise<void>;
}

/** A directory on this machine's disk. */
export class DiskBack implements Back {
  readonly #root: string;
  readonly #adopt: () => Promise<void>;

  /** @param adopt called once something was put there: it belongs to the server then */
  constructor(root: string, adopt: () => Promise<void> = async () => {}) {
    this.#root = root;
    this.#adopt = adopt;
  }

  async files(): Promise<string[]> {
    const entries = await readdir(this.#root, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.#root.length + 1))
      .sort();
  }

  async names(): Promise<string[]> {
    return (await readdir(this.#root)).sort();
  }

  read(path: string): Promise<Buffer> {
    return readFile(join(this.#root, path));
  }

  async modifiedMs(path: string): Promise<number> {
    return (await stat(join(this.#root, path))).mtimeMs;
  }

  async permissions(path: string): Promise<number> {
    return (await stat(join(this.#root, path))).mode & 0o7777;
  }

  async write(files: ReadonlyMap<string, Buffer | string>, modifiedMs?: number): Promise<void> {
    await Promise.all(
      [...files].map(async ([path, content]) => {
        const full = join(this.#root, path);
        await mkdir(dirname(full), { recursive: true });
        await writeFile(full, content);
        if (modifiedMs !== undefined) await utimes(full, modifiedMs / 1000, modifiedMs / 1000);
      }),
    );
    await this.#adopt();
  }

  async writeNamed(name: Buffer, content: string): Promise<void> {
    await writeFile(Buffer.concat([Buffer.from(`${this.#root}/`), name]), content);
    await this.#adopt();
  }

  async makeDirectory(path: string): Promise<void> {
    await mkdir(join(this.#root, path), { recursive: true });
    await this.#adopt();
  }

  async link(path: string, target: string): Promise<void> {
    await symlink(target, join(this.#root, path));
    await this.#adopt();
  }
}
