/*
 * Publishing where nothing may be overwritten: what stands under the final name is moved aside, and only when that is
 * confirmed the new file is renamed. In round trips of its own, both renames right behind each other, so that the name
 * is missing for a moment only. A cut between the two leaves the old file aside and the new one whole under its
 * temporary name, from where the next attempt goes on. Does not look whether there is anything to move: for most files
 * the lane knows from its packets that there is not.
 */
import type { Reply } from '../../ftp/client.js';
import { AsideTaken, MoveRefused } from '../remote.js';
import { cannotMove, type Moves } from './moves.js';
import type { Passage, Proven } from './passage.js';
import { forbidsRename } from './refusal.js';
import type { FtpSession } from './session.js';

/** What became of a file that stood under the final name, if one did. */
export type Before = 'overwritten' | 'set-aside';

export class Asides {
  readonly #session: FtpSession;
  readonly #moves: Moves;

  constructor(session: FtpSession, moves: Moves) {
    this.#session = session;
    this.#moves = moves;
  }

  /**
   * For a server that cannot rename, which would write over what stands there, and cannot move it. The first bytes of
   * this very content are no loss.
   *
   * @throws {MoveRefused} where anything else stands there
   */
  async unlessOverwritten({ delivery, final, signal }: Passage): Promise<void> {
    const { part, source } = delivery;
    const { tree, proofs, downloads, where } = this.#session;
    const standing = await tree.standing(final);
    if (standing === 'nothing') return;
    const there = standing === 'file' ? await tree.size(final) : undefined;
    if (part === 'possible' && there !== undefined && there <= source.sizeBytes) {
      const held = (await proofs.hash(final, there)) ?? (await downloads.readBack(final, signal));
      if (held !== 'refused' && (await source.digestOf(there, held.algorithm)) === held.hex) return;
    }
    throw cannotMove(delivery.path, where);
  }

  /**
   * Publishes a file that is proven.
   *
   * @throws {AsideTaken} where something stands at `aside` already, {MoveRefused} where the server does not move the old
   *   file, {TemporaryRefused} where it moves none; then the final name is as it was. Whatever the second rename is
   *   refused with; then the old file is back
   */
  async publish(proven: Proven, aside: string): Promise<Before> {
    const { temporary, final, delivery } = proven.passage;
    const session = this.#session;
    const moved = await this.#moves
      .move(session, { from: final, to: aside })
      .catch(async (error: unknown) => {
        // Where no file may be renamed, this one is not to be stored under another name the next time.
        if (error instanceof MoveRefused && forbidsRename(error.cause))
          await session.tree.tryRename(temporary);
        throw error;
      });
    if (moved === 'occupied') {
      // An attempt whose end nobody heard may have published this very content.
      if (!(await this.#holds(final, proven))) throw asideTaken(delivery.path, aside, session.where);
      await session.tree.replace(temporary, final);
      return 'set-aside';
    }
    try {
      await session.tree.renameTemporary(temporary, final);
    } catch (error) {
      // Answered, so that it is known where both files are: the old one goes back.
      if (moved === 'moved' && session.usable) await this.#moves.move(session, { from: aside, to: final });
      throw error;
    }
    return moved === 'moved' || (await this.#wasMoved(proven, aside)) ? 'set-aside' : 'overwritten';
  }

  /** By an attempt that was cut off between the two renames. */
  async #wasMoved({ passage }: Proven, aside: string): Promise<boolean> {
    return passage.delivery.part === 'possible' && (await this.#session.tree.standing(aside)) === 'file';
  }

  /** Whether a file of just these bytes stands there. */
  async #holds(path: string, { passage, digests }: Proven): Promise<boolean> {
    const { tree, downloads } = this.#session;
    if ((await tree.size(path)) !== passage.delivery.source.sizeBytes) return false;
    const held = await downloads.readBack(path, passage.signal);
    return held !== 'refused' && held.hex === digests.sha256;
  }
}

/** The server says that no file stands there; also where it was not asked. */
export function isFree(reply: Reply | undefined): boolean {
  return reply === undefined || reply.code === 550;
}

function asideTaken(path: string, aside: string, where: string): AsideTaken {
  return new AsideTaken(
    `${where} has a file at ${aside} already, so ${path} cannot be moved there and is left as it is; the next run has another place for it.`,
  );
}
