/*
 * Where files and links are prepared before they come into their place as a whole, by one rename: on the same disk, and
 * seen by no job. What comes out of it, with the directories made for it, belongs to whom the side belongs to: a server
 * may work as another user than the soak.
 */
import { appendFile, lchown, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export class Workshop {
  readonly #directory: string;
  readonly #owner: Owner;
  #count = 0;

  /** @param directory existing, and nobody else's */
  constructor(directory: string, owner: Owner) {
    this.#directory = directory;
    this.#owner = owner;
  }

  /** Puts a file where it belongs, with the directories above it; what stood there is replaced. */
  async put(content: Buffer, path: string): Promise<void> {
    await this.#place((prepared) => writeFile(prepared, content), path);
  }

  /** Puts a link where it belongs, as `put` does a file. */
  async link(leadsTo: string, path: string): Promise<void> {
    await this.#place((prepared) => symlink(leadsTo, prepared), path);
  }

  /** Writes a new file in pieces where it lies. */
  async grow(pieces: readonly Buffer[], path: string): Promise<void> {
    await this.directory(dirname(path));
    for (const [at, piece] of pieces.entries()) {
      await appendFile(path, piece);
      if (at === 0) await this.#own(path);
    }
  }

  /** Makes a directory and those above it, where they are missing. */
  async directory(path: string): Promise<void> {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return;
    for (let made = path; made.length >= first.length; made = dirname(made)) await this.#own(made);
  }

  async #place(prepare: (prepared: string) => Promise<void>, path: string): Promise<void> {
    this.#count += 1;
    const prepared = join(this.#directory, String(this.#count));
    await prepare(prepared);
    await this.#own(prepared);
    await this.directory(dirname(path));
    await rename(prepared, path);
  }

  async #own(path: string): Promise<void> {
    await lchown(path, this.#owner.uid, this.#owner.gid);
  }
}
