/*
 * Files moved from one place of the server to another, which never replaces what stands there: the place is looked at
 * first, and a refusal is looked into. Moves files into the trash among others, so what it cannot do it refuses in a
 * sentence. Not for publishing: there the target is known, and lane.ts does it.
 */
import { FtpError } from '../../ftp/errors.js';
import type { Directories } from '../directories.js';
import { judge } from '../failure.js';
import { isAnswer } from '../refusal.js';
import { MoveRefused, TemporaryRefused } from '../remote.js';
import { isAcrossDevices } from './refusal.js';
import type { FtpSession } from './session.js';

/** Server paths. */
export interface Move {
  readonly from: string;
  readonly to: string;
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
   * Renames a file; missing directories of `to` are made.
   *
   * @returns `missing` where there is no file at `from`, `occupied` where something stands at `to`
   * @throws {MoveRefused} where the server refuses for good
   */
  async move(session: FtpSession, move: Move): Promise<Moved> {
    const { from, to } = move;
    const { tree } = session;
    for (const path of [from, to]) session.checkPath(path);
    const [source, target] = await tree.standings([from, to]);
    if (source === 'nothing' || source === 'directory') return 'missing';
    if (target !== 'nothing') return 'occupied';
    const known = this.#directories.knowsParentOf(to);
    const refusal = await this.#renamed(session, move);
    if (refusal === undefined) return 'moved';
    // Somebody was quicker; or it was refused in words and done all the same.
    const [here, there] = await tree.standings([from, to]);
    if (here === 'nothing') return there === 'nothing' ? 'missing' : 'moved';
    if (there !== 'nothing') return 'occupied';
    const made = await this.#directories.makeParentOf(to, known, session.tree).catch((error: unknown) => {
      throw refusedFor(error, move, session.where);
    });
    const last = made === 'made' ? await this.#renamed(session, move) : refusal;
    if (last !== undefined) throw refusedFor(last, move, session.where);
    return 'moved';
  }

  /** @returns the refusal, where the server refused */
  async #renamed(session: FtpSession, { from, to, onBegin }: Move): Promise<unknown> {
    onBegin?.();
    try {
      await session.tree.rename(from, to);
      return undefined;
    } catch (error) {
      if (error instanceof TemporaryRefused) throw cannotMove(from, session.where, error);
      if (isAnswer(error)) return error;
      throw error;
    }
  }
}

/** Refused for good it is a matter of these two places; refused for now, or for another reason, it stays what it is. */
function refusedFor(error: unknown, { from, to }: Move, where: string): unknown {
  if (!(error instanceof FtpError)) return error;
  if (!isAcrossDevices(error) && !['skip', 'fallback'].includes(judge(error).decision)) return error;
  return new MoveRefused(
    `${where} does not move ${from} to ${to}: ${error.message.replace(/[.]$/, '')}. No server renames from one file system to another, or without the right to write in both places: see that the trash can lie beside the files, or set \`deletes: { policy: delete }\`.`,
    { cause: error },
  );
}

/** Why a file on a server that cannot rename cannot be moved. */
export function cannotMove(path: string, where: string, cause?: unknown): MoveRefused {
  return new MoveRefused(
    `${where} cannot rename, so ${path} cannot be moved into the trash, and is left as it is. Set \`deletes: { policy: delete }\` for the job to do without one.`,
    { cause },
  );
}
