/*
 * Where files are prepared before they come into their place as a whole, by one rename: on the same disk, and seen by
 * no job.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export class Workshop {
  readonly #directory: string;
  #count = 0;

  /** @param directory existing, and nobody else's */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Puts a file where it belongs, with the directories above it; what stood there is replaced. */
  async put(content: Buffer, path: string): Promise<void> {
    this.#count += 1;
    const prepared = join(this.#directory, String(this.#count));
    await writeFile(prepared, content);
    await mkdir(dirname(path), { recursive: true });
    await rename(prepared, path);
  }
}
