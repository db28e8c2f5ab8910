/*
 * The last step of whatever was put under a temporary name and proven: it gets its final name. What stands there is
 * overwritten, or moved aside where the delivery says so, and only when that is confirmed the new one is renamed. A cut
 * between the two leaves the old file aside and the new one whole under its temporary name, from where the next attempt
 * goes on.
 */
import type { RelativePath } from '../../plan/entry.js';
import { isAnswer } from '../refusal.js';
import { AsideTaken, MoveRefused, type Trials } from '../remote.js';
import type { Errand } from './errand.js';
import type { Moves } from './moves.js';
import { isDenied } from './refusal.js';
import { type Newcomer, Renames } from './renames.js';
import type { Standing } from './tree.js';

/** What became of a file that stood under the final name, if one did. */
export type Before = 'overwritten' | 'set-aside';

export interface Publication extends Newcomer {
  readonly aside: RelativePath | undefined;
  /** Where it is known what stands under the final name. */
  readonly standing: Standing | undefined;
  /** `possible`: an attempt before may have moved aside what stood there. */
  readonly part: 'none' | 'possible';
}

export class Publisher {
  readonly #errand: Errand;
  readonly #moves: Moves;
  readonly #renames: Renames;

  constructor(errand: Errand, shared: { readonly moves: Moves; readonly trials: Trials | undefined }) {
    this.#errand = errand;
    this.#moves = shared.moves;
    this.#renames = new Renames(errand, shared.trials);
  }

  /** False where the server is known not to rename. */
  get possible(): boolean {
    return this.#renames.possible;
  }

  /**
   * Publishes what is proven.
   *
   * @throws {AsideTaken} where something stands at `aside` already, {MoveRefused} where the server does not move the old
   *   file, {TemporaryRefused} where it moves none; then the final name is as it was. Whatever the rename is refused
   *   with; then the old file is back
   */
  async publish(publication: Publication): Promise<Before> {
    const { aside, temporary, path } = publication;
    if (temporary === path) return 'overwritten';
    if (aside === undefined) {
      // The link itself goes: what it leads to must not be written over in its place.
      if (publication.standing === 'other' && !this.#errand.session.replacesLinks)
        await this.#errand.tree.remove(this.#errand.on(path));
      await this.#renames.replace(publication);
      return 'overwritten';
    }
    if (publication.standing === 'nothing' && publication.part === 'none') {
      try {
        await this.#renames.publish(publication);
        return 'overwritten';
      } catch (error) {
        // Something may have come to stand there since it was looked.
        if (!isAnswer(error) || (await this.#errand.tree.standing(this.#errand.on(path))) === 'nothing')
          throw error;
      }
    }
    return this.#setAside(publication, aside);
  }

  async #setAside(publication: Publication, aside: RelativePath): Promise<Before> {
    const { path, temporary, part } = publication;
    const { tree, where } = this.#errand;
    const moved = await this.#moves
      .move(this.#errand, { from: path, to: aside })
      .catch(async (error: unknown) => {
        // Where no file may be renamed, this one is not to be stored under another name the next time.
        if (error instanceof MoveRefused && isDenied(error.cause)) await this.#renames.tryRename(temporary);
        throw error;
      });
    if (moved === 'occupied') {
      // An attempt whose end nobody heard may have published this very content.
      if (!(await publication.isAt(this.#errand.on(path)))) throw asideTaken(path, aside, where);
      await this.#renames.replace(publication);
      return 'set-aside';
    }
    try {
      await this.#renames.publish(publication);
    } catch (error) {
      // Answered, so that it is known where both files are: the old one goes back.
      if (moved === 'moved' && isAnswer(error))
        await this.#moves.move(this.#errand, { from: aside, to: path });
      throw error;
    }
    const before = part === 'possible' ? await tree.standing(this.#errand.on(aside)) : 'nothing';
    // By an attempt that was cut off between the two renames.
    return moved === 'moved' || (before !== 'nothing' && before !== 'directory')
      ? 'set-aside'
      : 'overwritten';
  }
}

function asideTaken(path: RelativePath, aside: RelativePath, where: string): AsideTaken {
  return new AsideTaken(
    `${where} has a file at ${aside} already, so ${path} cannot be moved there and is left as it is; the next run has another place for it.`,
  );
}
