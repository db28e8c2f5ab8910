/*
 * Files and links moved from one place of the server to another, which never replaces what stands there: the place is
 * looked at first, and a refusal is looked into. Moves files into the trash among others, so what it cannot do it
 * refuses in a sentence. Not for publishing.
 */
import type { RelativePath } from '../../plan/entry.js';
import { SftpError } from '../../sftp/errors.js';
import type { Directories } from '../directories.js';
import { isAnswer } from '../refusal.js';
import { MoveRefused } from '../remote.js';
import type { Errand } from './errand.js';
import { linkAt, mayRenameLink } from './link-trial.js';
import { isDenied, isFailure, isMissing, isUnsupported } from './refusal.js';
import { Renames } from './renames.js';
import { Tree } from './tree.js';

export interface Move {
  readonly from: RelativePath;
  readonly to: RelativePath;
  /** Called right before the server is told to rename: what is lost from then on may have been done. */
  readonly onBegin?: () => void;
}

export type Moved = 'moved' | 'missing' | 'occupied';

export class Moves {
  readonly #directories: Directories;

  constructor(directories: Directories) {
    this.#directories = directories;
  }

  /**
   * Renames a file or a link; missing directories of `to` are made.
   *
   * @returns `missing` where there is none at `from`, `occupied` where something stands at `to`
   * @throws {MoveRefused} where the server refuses for good
   */
  async move(errand: Errand, move: Move): Promise<Moved> {
    const { tree, where } = errand;
    const [from, to] = [errand.on(move.from), errand.on(move.to)];
    // mod_sftp tells links when it is asked for their text, and else says of what they lead to what it is.
    const [source, target, text] = await Promise.all([
      tree.standing(from),
      tree.standing(to),
      linkAt(errand, from),
    ]);
    if (source === 'nothing' || source === 'directory') return 'missing';
    if (target !== 'nothing') return 'occupied';
    if (text !== undefined && !(await mayRenameLink(errand, move.from)))
      throw cannotMoveLink(move.from, where);
    const known = this.#directories.knowsParentOf(to);
    move.onBegin?.();
    const refusal = await this.#renamed(errand, from, to);
    if (refusal === undefined) return 'moved';
    // Somebody was quicker; or it was refused in words and done all the same.
    const [here, there] = await Promise.all([tree.standing(from), tree.standing(to)]);
    if (here === 'nothing') return there === 'nothing' ? 'missing' : 'moved';
    if (there !== 'nothing') return 'occupied';
    if (isUnsupported(refusal)) throw refusedFor(refusal, move, where);
    const maker = new Tree(errand.session, undefined);
    const made = await errand
      .heed(this.#directories.makeParentOf(to, known, maker))
      .catch((error: unknown) => {
        throw refusedFor(error, move, where);
      });
    const last = made === 'made' ? await this.#renamed(errand, from, to) : refusal;
    if (last !== undefined) throw refusedFor(last, move, where);
    return 'moved';
  }

  /** @returns the refusal, where the server refused */
  async #renamed(errand: Errand, from: string, to: string): Promise<unknown> {
    try {
      await new Renames(errand, undefined).move(from, to);
      return undefined;
    } catch (error) {
      if (isAnswer(error) || isUnsupported(error)) return error;
      throw error;
    }
  }
}

/** An answer is a matter of these two places; anything else stays what it is. */
function refusedFor(error: unknown, { from, to }: Move, where: string): unknown {
  const final = isFailure(error) || isDenied(error) || isMissing(error) || isUnsupported(error);
  if (!(error instanceof SftpError) || !final) return error;
  return new MoveRefused(
    `${where} does not move ${from} to ${to}: ${error.message.replace(/[.]$/, '')}. No server renames from one file system to another, or without the right to write in both places: see that the trash can lie beside the files, or set \`deletes: { policy: delete }\`.`,
    { cause: error },
  );
}

function cannotMoveLink(path: RelativePath, where: string): MoveRefused {
  return new MoveRefused(
    `${path} is a link, and ${where} would move what it leads to in its place: it is left as it is. Take it away by hand, or exclude it.`,
  );
}

/** Why a file on a server that cannot rename cannot be moved. */
export function cannotMove(path: RelativePath, where: string, cause?: unknown): MoveRefused {
  return new MoveRefused(
    `${where} cannot rename, so ${path} cannot be moved into the trash, and is left as it is. Set \`deletes: { policy: delete }\` for the job to do without one.`,
    { cause },
  );
}
