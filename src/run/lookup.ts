/*
 * What stands on the server, for a run whose places the ledger does not know: they are new, or a ledger was lost. Only
 * the directories into which something is to be sent are listed, each once, and none of which the one above shows
 * that it is not there; so a first push into an empty place costs one listing. A hint and no proof: what a listing
 * does not show, or what cannot be listed, is sent as if nobody had asked, and nothing is ever deleted by it.
 */
import type { Job } from '../job/job.js';
import type { RelativePath, RemotePiece } from '../plan/entry.js';
import { AtHand } from './at-hand.js';
import { asksFor, endsScan, type Lists } from './sights.js';

interface Listing {
  readonly pieces: ReadonlyMap<RelativePath, RemotePiece>;
  /** Directories, and what may be links to some. */
  readonly below: ReadonlySet<RelativePath>;
}

const NOTHING: Listing = { pieces: new Map(), below: new Set() };

export class Lookup {
  readonly #remote: () => Promise<Lists>;
  readonly #job: Pick<Job, 'links'>;
  readonly #listings = new AtHand<Listing>();

  constructor(remote: () => Promise<Lists>, job: Pick<Job, 'links'>) {
    this.#remote = remote;
    this.#job = job;
  }

  /**
   * The file, or the link, at a path of the remote, as its directory lists it.
   *
   * @throws what ends a scan: the server is away, the login refused, the run interrupted
   */
  async at(there: RelativePath): Promise<RemotePiece | undefined> {
    return (await this.#list(parentOf(there))).pieces.get(there);
  }

  async #list(directory: RelativePath | ''): Promise<Listing> {
    if (directory !== '') {
      const above = await this.#list(parentOf(directory));
      if (!above.below.has(directory)) return NOTHING;
    }
    return this.#listings.get(directory, async () => {
      try {
        const listing = await (await this.#remote()).list(directory, asksFor(this.#job));
        const { files, directories, links = [], others } = listing;
        const linked = links.map(({ path }) => path);
        const value = {
          pieces: new Map<RelativePath, RemotePiece>(
            [...files, ...links].map((piece) => [piece.path, piece]),
          ),
          below: new Set([...directories, ...linked, ...others]),
        };
        return { value, size: value.pieces.size + value.below.size + 1 };
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
