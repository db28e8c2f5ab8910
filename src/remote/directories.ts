/*
 * The directories of a remote that uploads need: which are known to be there, and the making of those that are
 * not, each once however many connections want it at the same time.
 */

/** Whoever can make directories and look at them; paths are the server's. */
export interface DirectoryMaker {
  isDirectory(path: string): Promise<boolean>;
  /** Also those above it. */
  makeDirectory(path: string): Promise<void>;
}

export class Directories {
  readonly #known = new Set<string>();
  readonly #making = new Map<string, Promise<void>>();
  /** What stands above the one that was missing last. */
  #aboveMissing: string | undefined;

  /** True where the directory of this file was made, or found, by an earlier upload. */
  knowsParentOf(file: string): boolean {
    const parent = parentOf(file);
    return parent === '' || this.#known.has(parent);
  }

  /**
   * The directory of this file, where it most likely is missing: it is not known, and it would lie in one that we have
   * made, or beside one that was missing. Whoever makes it before the file is sent is spared the refusal.
   */
  missingParentOf(file: string): string | undefined {
    const parent = parentOf(file);
    if (parent === '' || this.#known.has(parent)) return undefined;
    const above = parentOf(parent);
    return above === this.#aboveMissing || this.#known.has(above) ? parent : undefined;
  }

  /** This directory is there. */
  found(directory: string): void {
    this.#known.add(directory);
  }

  /**
   * Sees to the directory of a file that the server refused.
   *
   * @param knownBefore what `knowsParentOf` said before the file was sent; in the meantime another connection may
   *   have made the directory, and then it was missing all the same
   * @returns `was-there` where a missing directory was not the reason
   */
  async makeParentOf(
    file: string,
    knownBefore: ReturnType<Directories['knowsParentOf']>,
    tree: DirectoryMaker,
  ): Promise<'made' | 'was-there'> {
    const parent = parentOf(file);
    // Made by us before, but somebody may have removed it since.
    if (parent === '' || (knownBefore && (await tree.isDirectory(parent)))) return 'was-there';
    const making = this.#making.get(parent) ?? tree.makeDirectory(parent);
    this.#making.set(parent, making);
    try {
      await making;
      this.#known.add(parent);
      this.#aboveMissing = parentOf(parent);
      return 'made';
    } finally {
      this.#making.delete(parent);
    }
  }

  /** A directory was removed: an upload below it has to make it again. */
  forget(directory: string): void {
    this.#known.delete(directory);
  }
}

function parentOf(file: string): string {
  return file.slice(0, Math.max(0, file.lastIndexOf('/')));
}
