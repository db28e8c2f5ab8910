/*
 * What stands on the server, for a run whose places the ledger does not know: they are new, or a ledger was lost. Only
 * the directories into which something is to be sent are listed, each once, and none of which the one above shows
 * that it is not there; so a first push into an empty place costs one listing. A hint and no proof: what a listing
 * does not show, or what cannot be listed, is sent as if nobody had asked, and nothing is ever deleted by it.
 */
import type { RelativePath, RemoteFile } from '../plan/entry.js';
import { AtHand } from './at-hand.js';
import { endsScan, type Lists } from './sights.js';

interface Listing {
  readonly files: ReadonlyMap<RelativePath, RemoteFile>;
  /** Directories, and what may be links to some. */
  readonly below: ReadonlySet<RelativePath>;
}

const NOTHING: Listing = { files: new Map(), below: new Set() };

export class Lookup {
  readonly #remote: () => Promise<Lists>;
  readonly #listings = new AtHand<Listing>();

  constructor(remote: () => Promise<Lists>) {
    this.#remote = remote;
  }

  /**
   * The file at a path of the remote, as its directory lists it.
   *
   * @throws what ends a scan: the server is away, the login refused, the run interrupted
   */
  async file(there: RelativePath): Promise<RemoteFile | undefined> {
    return (await this.#list(parentOf(there))).files.get(there);
  }

  async #list(directory: RelativePath | ''): Promise<Listing> {
    if (directory !== '') {
      const above = await this.#list(parentOf(directory));
      if (!above.below.has(directory)) return NOTHING;
    }
    return this.#listings.get(directory, async () => {
      try {
        const { files, directories, others } = await (await this.#remote()).list(directory);
        const value = {
          files: new Map(files.map((file) => [file.path, file])),
          below: new Set([...directories, ...others]),
        };
        return { value, size: value.files.size + value.below.size + 1 };
      } catch (error) {
        if (endsScan(error)) throw error;
        return { value: NOTHING, size: 1 };
      }
    });
  }
}

function parentOf(path: RelativePath): RelativePath | '' {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
