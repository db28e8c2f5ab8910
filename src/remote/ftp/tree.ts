/*
 * The server's tree over one session: files asked for, renamed and removed, directories made, removed and listed. On
 * absolute server paths; directories on the way are found out, never assumed.
 */
import type { ListedEntry, ReceivedListing } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { judge } from '../failure.js';
import { isAnswer, isRefusal } from '../refusal.js';
import { TemporaryRefused } from '../remote.js';
import type { Line } from './line.js';
import { forbidsRename, isMissing, lacksRename, lacksSize, saysEmpty } from './refusal.js';

/** What the server says of one file. */
export interface FileStatus {
  readonly sizeBytes: number;
  readonly modifiedMs: number | undefined;
}

/** What stands at a path. `other`: a link or the like. */
export type Standing = 'file' | 'directory' | 'other' | 'nothing';

/** How many times of a listing are asked for in one write. */
const TIMES_AT_ONCE = 100;

export class Tree {
  readonly #line: Line;
  /** Undefined where the server does not tell it: then paths stay relative to it. */
  readonly #loginDirectory: string | undefined;
  /** Since this session has seen a rename go through, one that is refused is about its file. */
  #hasRenamed = false;

  constructor(line: Line, loginDirectory: string | undefined) {
    this.#line = line;
    this.#loginDirectory = loginDirectory;
  }

  /** A file's size, or undefined where there is no such file. */
  async size(path: string): Promise<number | undefined> {
    if (this.#line.profile.facts.size === 'SIZE') {
      try {
        return await this.#line.client.size(path);
      } catch (error) {
        if (isMissing(error)) return undefined;
        if (!lacksSize(error)) throw error;
        this.noSize();
      }
    }
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1);
    const parent = slash < 0 ? '.' : path.slice(0, slash) || '/';
    try {
      const { entries } = await this.list(parent);
      return entries.find((entry) => entry.name === name && entry.type === 'file')?.sizeBytes;
    } catch (error) {
      if (!isRefusal(error) || parent === '.' || parent === '/') throw error;
      // Below what is no directory there is no file.
      if (['nothing', 'file'].includes(await this.standing(parent))) return undefined;
      throw error;
    }
  }

  /** What stands at a path. */
  async standing(path: string): Promise<Standing> {
    const [standing] = await this.standings([path]);
    if (standing === undefined) throw new Error('a place without an answer');
    return standing;
  }

  /** What stands at each of these paths, in one round trip where the server tells it by single commands. */
  async standings(paths: readonly string[]): Promise<Standing[]> {
    // A server without FEAT may read no more than one command from a packet.
    const pipelines = (this.#line.profile.facts.features?.length ?? 0) > 0;
    const told = pipelines ? await Promise.all(paths.map((path) => this.#standingTold(path))) : [];
    const standings: Standing[] = [];
    for (const [place, path] of paths.entries())
      standings.push(told[place] ?? (await this.#standingFound(path)));
    return standings;
  }

  /** By MLST, or by SIZE of files and CWD of directories; undefined where these do not tell. */
  async #standingTold(path: string): Promise<Standing | undefined> {
    const { client, profile } = this.#line;
    if (profile.facts.features?.some((feature) => /^MLST\b/.test(feature)) === true) {
      const entry = await unlessMissing(client.machineEntry(path));
      if (entry === 'missing') return 'nothing';
      if (entry === 'refused' || entry === undefined) return undefined;
      return standingOf(entry);
    }
    if (profile.facts.size !== 'SIZE' || !path.startsWith('/')) return undefined;
    const [size, isDirectory] = await Promise.all([unlessMissing(client.size(path)), this.isDirectory(path)]);
    if (typeof size === 'number') return 'file';
    return isDirectory ? 'directory' : size === 'missing' ? 'nothing' : undefined;
  }

  /** One command after the other, and by a listing where nothing else is to be had. */
  async #standingFound(path: string): Promise<Standing> {
    if (this.#line.profile.facts.size === 'SIZE') {
      const size = await unlessMissing(this.#line.client.size(path));
      if (typeof size === 'number') return 'file';
      const looks = path.startsWith('/');
      if (looks && (await this.isDirectory(path))) return 'directory';
      if (looks && size === 'missing') return 'nothing';
    }
    return this.#standingListed(path);
  }

  /** SIZE was refused because the server does not have it. */
  noSize(): void {
    const sentence = `${this.#line.where} has no SIZE: sizes are read from listings.`;
    this.#line.profile.learn('size', 'listing', sentence);
  }

  /** Size and time of a file, or undefined where there is none. */
  async status(path: string): Promise<FileStatus | undefined> {
    const sizeBytes = await this.size(path);
    if (sizeBytes === undefined) return undefined;
    const [modifiedMs] = await this.#line.client.modifiedAll([path]);
    return { sizeBytes, modifiedMs };
  }

  /** False where the server is known not to rename: then a temporary file never gets its final name. */
  get renames(): boolean {
    return this.#line.profile.facts.rename !== 'none';
  }

  /** A rename has gone through in a packet. */
  renamed(): void {
    this.#hasRenamed = true;
  }

  /**
   * Renames a temporary file of ours, replacing what stands at the target.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all
   */
  async replace(temporary: string, to: string): Promise<void> {
    if (!this.renames) throw await this.#cannotRename(temporary);
    if (this.#line.profile.facts.rename === 'refuses') return this.#removeAndRename(temporary, to);
    try {
      await this.#line.client.rename(temporary, to);
      this.renamed();
    } catch (error) {
      await this.replaceAfter(error, temporary, to);
    }
  }

  /** After such a rename was refused: because the target exists? Only then is there another way. */
  async replaceAfter(error: unknown, temporary: string, to: string): Promise<void> {
    await this.occupiedAfter(error, temporary, to);
    this.#line.profile.learn(
      'rename',
      'refuses',
      `${this.#line.where} does not rename onto a file that exists: the old file is removed first.`,
    );
    await this.#removeAndRename(temporary, to);
  }

  /**
   * Renames whatever file onto a name that is free, and removes nothing.
   *
   * @throws {TemporaryRefused} where the server has no command for it; {FtpError} `reply` with its refusal
   */
  async rename(from: string, to: string): Promise<void> {
    try {
      await this.#line.client.rename(from, to);
      this.renamed();
    } catch (error) {
      if (lacksRename(error)) throw await this.#cannotRename(undefined);
      throw error;
    }
  }

  /**
   * As `rename`, for a temporary file of ours.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all; {FtpError} `reply` with its refusal
   */
  async renameTemporary(temporary: string, to: string): Promise<void> {
    try {
      await this.#line.client.rename(temporary, to);
      this.renamed();
    } catch (error) {
      await this.#unlessCannotRename(error, temporary);
      throw error;
    }
  }

  /**
   * A file may not be renamed: is that so for each? A temporary file of ours is renamed to its own name.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all
   */
  async tryRename(temporary: string): Promise<void> {
    if (this.#hasRenamed) return;
    try {
      await this.#line.client.rename(temporary, temporary);
    } catch (error) {
      if (lacksRename(error) || forbidsRename(error)) throw await this.#cannotRename(temporary);
      if (!isAnswer(error)) throw error;
      // Only in its own way, as on IIS, it would have been renamed to any other name.
      if (!(error instanceof FtpError && error.verb === 'RNTO')) return;
    }
    this.renamed();
  }

  /**
   * Returns where the rename of a temporary file of ours was refused and a file stands at the target, which may be the
   * reason.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all; {FtpError} `unconfirmed` where the temporary file
   *   is gone: it may have renamed all the same; else the refusal
   */
  async occupiedAfter(error: unknown, temporary: string, to: string): Promise<void> {
    await this.#unlessCannotRename(error, temporary);
    if (judge(error).decision !== 'fallback' || (await this.size(to)) === undefined) throw error;
    // Refused in words and done all the same: the new file stands there, and must not be removed for itself.
    if ((await this.size(temporary)) === undefined) throw this.#unconfirmedRename(error);
  }

  async remove(path: string): Promise<void> {
    try {
      await this.#line.client.remove(path);
    } catch (error) {
      if (isMissing(error) && (await this.size(path)) === undefined) return;
      throw error;
    }
  }

  /** Makes a directory and those above it. One that is there already is no failure, whoever made it. */
  async makeDirectory(path: string): Promise<void> {
    if (this.#loginDirectory === undefined && !path.startsWith('/')) return this.#makeEach(path);
    if (await this.#madeOrThere(path)) return;
    const parent = path.slice(0, path.lastIndexOf('/'));
    if (parent !== '' && !(await this.isDirectory(parent))) await this.makeDirectory(parent);
    // Another connection may have made the parent, or this very directory, in the meantime.
    if (await this.#madeOrThere(path)) return;
    await this.#line.client.makeDirectory(path);
  }

  /** Removes an empty directory; one that is not there is removed already. */
  async removeDirectory(path: string): Promise<'removed' | 'not-empty'> {
    try {
      await this.#line.client.removeDirectory(path);
      return 'removed';
    } catch (error) {
      if (!isAnswer(error)) throw error;
      const contents = await this.#contents(path);
      if (contents === 'none') return 'removed';
      if (contents === 'some') return 'not-empty';
      throw error;
    }
  }

  /** Whether an absolute path is a directory; true for a relative one, which cannot be looked at. */
  async isDirectory(path: string): Promise<boolean> {
    // CWD would move the ground under relative paths.
    if (!path.startsWith('/')) return true;
    try {
      await this.#line.client.changeDirectory(path);
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  /** One directory. Where the server's listings have no exact times, each file is asked for its own. */
  async list(path: string): Promise<ReceivedListing> {
    if (this.#line.profile.facts.listing === 'MLSD') {
      try {
        const found = await this.#line.transfer((mode) => this.#line.client.machineListing(path, { mode }));
        return await this.#provenEmpty(found, path);
      } catch (error) {
        if (!(error instanceof FtpError && [500, 501, 502, 504].includes(error.reply?.code ?? 0)))
          return this.#emptyAfter(error, path);
        this.#line.profile.learn(
          'listing',
          'LIST',
          `${this.#line.where} has no MLSD: directories are read with LIST.`,
        );
      }
    }
    const absolute = path.startsWith('/');
    // CWD spares the odd meanings of a path in LIST, but nobody knows the way back from a relative one.
    if (absolute) await this.#line.client.changeDirectory(path);
    let listing: ReceivedListing;
    try {
      listing = await this.#line.transfer((mode) =>
        this.#line.client.listing({ mode }, absolute || path === '.' ? undefined : path),
      );
    } catch (error) {
      return this.#emptyAfter(error, path);
    }
    return { ...listing, entries: await this.#sized(await this.#timed(listing.entries, path), path) };
  }

  /** Whether a listing of its directory shows a file, or something else of its name; no doubt where none is to be had. */
  async lists(path: string): Promise<boolean> {
    const slash = path.lastIndexOf('/');
    try {
      const listing = await this.list(slash < 0 ? '.' : path.slice(0, slash) || '/');
      const whole = listing.unreadable === 0 && listing.ending === 'whole';
      return !whole || listing.entries.some((entry) => entry.name === path.slice(slash + 1));
    } catch (error) {
      // Its directory is gone too, or cannot be read: only the first is known to be so.
      if (isRefusal(error)) return this.isDirectory(slash < 0 ? '.' : path.slice(0, slash) || '/');
      throw error;
    }
  }

  async #standingListed(path: string, attempt: 'first' | 'second' = 'first'): Promise<Standing> {
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? '.' : path.slice(0, slash) || '/';
    let listing: ReceivedListing;
    try {
      listing = await this.list(parent);
    } catch (error) {
      if (!isRefusal(error) || parent === '.' || parent === '/') throw error;
      // Below what is no directory there is nothing.
      const there = parent.startsWith('/')
        ? await this.isDirectory(parent)
        : (await this.#standingListed(parent)) === 'directory';
      if (!there) return 'nothing';
      // Another connection may have made it in the meantime.
      if (attempt === 'second') throw error;
      return this.#standingListed(path, 'second');
    }
    const found = listing.entries.find((entry) => entry.name === path.slice(slash + 1));
    if (found !== undefined) return standingOf(found);
    if (listing.unreadable === 0 && listing.ending === 'whole') return 'nothing';
    throw new FtpError(
      'data',
      `The listing of ${parent} from ${this.#line.where} is not whole: nobody knows whether ${path} is there.`,
      { phase: 'transfer' },
    );
  }

  /** `none`: there is no such directory. `some`: it has entries. `unknown`: neither can be seen. */
  async #contents(path: string): Promise<'none' | 'some' | 'unknown'> {
    const standing = await this.standing(path);
    if (standing !== 'directory') return standing === 'nothing' ? 'none' : 'unknown';
    const { entries, unusable, unreadable } = await this.list(path);
    return entries.length + unusable.length + unreadable > 0 ? 'some' : 'unknown';
  }

  /**
   * After the rename of a temporary file of ours was refused: because the server renames nothing? Pure-FTPd can be told
   * so, and vsftpd by default lets anonymous users store and not rename; both say 550 to a file that is there.
   *
   * @throws {TemporaryRefused} where that is so; {FtpError} `unconfirmed` where the file is not there
   */
  async #unlessCannotRename(error: unknown, temporary: string): Promise<void> {
    if (lacksRename(error)) throw await this.#cannotRename(temporary);
    if (!forbidsRename(error)) return;
    if ((await this.size(temporary)) === undefined) throw this.#unconfirmedRename(error);
    // Once may be an accident: a virus scanner that looks into what has just been stored.
    await this.tryRename(temporary);
  }

  /**
   * Takes down that the server cannot rename, and says so.
   *
   * @param temporary file of ours that is of no use then, and goes
   */
  async #cannotRename(temporary: string | undefined): Promise<TemporaryRefused> {
    const { profile } = this.#line;
    const cannot = `${this.#line.where} cannot rename: files are written under their final names, where a part can be seen until all of it is there.`;
    const left = temporary !== undefined && (await this.#keeps(temporary));
    const sentence = left
      ? `${cannot} Nor does it delete: ${temporary} is left there, as is every other part (.ferryd-*.part) and what breaks off. Have that removed on the server.`
      : cannot;
    profile.learn('rename', 'none', sentence);
    profile.note('temporary', 'none');
    return new TemporaryRefused(sentence);
  }

  /** Removes a file. @returns true where that is refused for good */
  async #keeps(path: string): Promise<boolean> {
    try {
      await this.remove(path);
      return false;
    } catch (error) {
      // For another reason, it is left to whoever sends the file to clear it away.
      return isRefusal(error);
    }
  }

  #unconfirmedRename(error: unknown): FtpError {
    return new FtpError(
      'unconfirmed',
      `${this.#line.where} refused to rename a file, and has it no more under its former name: ${error instanceof Error ? error.message : String(error)}`,
      { phase: 'command', verb: 'RNTO', cause: error },
    );
  }

  async #removeAndRename(temporary: string, to: string): Promise<void> {
    // The new file is whole and lies beside it, so a cut between these two loses nothing.
    if ((await this.size(to)) !== undefined) await this.#line.client.remove(to);
    await this.renameTemporary(temporary, to);
  }

  async #madeOrThere(path: string): Promise<boolean> {
    try {
      await this.#line.client.makeDirectory(path);
      return true;
    } catch (error) {
      if (judge(error).decision !== 'skip') throw error;
      return this.isDirectory(path);
    }
  }

  /** Relative paths cannot be looked at, so each step is tried, refused or not; the next STOR tells. */
  async #makeEach(path: string): Promise<void> {
    const parts = path.split('/');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      try {
        await this.#line.client.makeDirectory(parts.slice(0, depth).join('/'));
      } catch (error) {
        if (judge(error).decision !== 'skip') throw error;
      }
    }
  }

  /** Some listings have sizes in blocks, or none: each such file is asked for its own. */
  async #sized(entries: ReceivedListing['entries'], path: string): Promise<ReceivedListing['entries']> {
    const sized: ListedEntry[] = [];
    for (const entry of entries) {
      const asks = entry.type === 'file' && entry.sizeBytes === undefined;
      if (!asks || this.#line.profile.facts.size !== 'SIZE') sized.push(entry);
      else sized.push({ ...entry, sizeBytes: await this.size(joined(path, entry.name)) });
    }
    return sized;
  }

  async #timed(entries: ReceivedListing['entries'], path: string): Promise<ReceivedListing['entries']> {
    const files = entries.filter((entry) => entry.type === 'file');
    const times = new Map<string, number | undefined>();
    for (let from = 0; from < files.length; from += TIMES_AT_ONCE) {
      const names = files.slice(from, from + TIMES_AT_ONCE).map((entry) => entry.name);
      const asked = await this.#line.client.modifiedAll(names.map((name) => joined(path, name)));
      names.forEach((name, place) => {
        times.set(name, asked[place]);
      });
    }
    return entries.map((entry) => ({ ...entry, modifiedMs: times.get(entry.name) ?? entry.modifiedMs }));
  }

  /**
   * ProFTPD and pyftpdlib show a directory that may be read and not entered as an empty one: what is in it cannot be
   * looked at.
   */
  async #provenEmpty(listing: ReceivedListing, path: string): Promise<ReceivedListing> {
    const { entries, unusable, unreadable } = listing;
    if (entries.length + unusable.length + unreadable > 0 || (await this.isDirectory(path))) return listing;
    return { ...listing, ending: 'truncated' };
  }

  /**
   * Some servers refuse to list a directory that is empty. It counts as empty only where the refusal says so, it can be
   * entered and a listing of the names agrees: an empty guess would be mirrored as a deletion. The last two alone prove
   * nothing: ProFTPD lists no names of a directory that it may not read, and says that all went well.
   */
  async #emptyAfter(error: unknown, path: string): Promise<ReceivedListing> {
    const code = error instanceof FtpError && error.phase === 'transfer' ? error.reply?.code : undefined;
    if ((code !== 450 && code !== 550) || !path.startsWith('/') || !saysEmpty(error)) throw error;
    if (!(await this.isDirectory(path)) || !(await this.#hasNoNames())) throw error;
    return { entries: [], unusable: [], unreadable: 0, form: 'empty', ending: 'whole' };
  }

  /** NLST of the directory that the session is in: nothing, or refused as LIST was. */
  async #hasNoNames(): Promise<boolean> {
    try {
      const names = await this.#line.transfer((mode) => this.#line.client.names({ mode }));
      return names.every((name) => name === '.' || name === '..');
    } catch (error) {
      if (isMissing(error)) return true;
      throw error;
    }
  }
}

function standingOf({ type }: Pick<ListedEntry, 'type'>): Standing {
  return type === 'file' || type === 'directory' ? type : 'other';
}

/** What is asked of a path that may not be there. What is refused for now is not missing: it could be replaced then. */
async function unlessMissing<T>(asked: Promise<T>): Promise<T | 'missing' | 'refused'> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof FtpError && error.reply?.code === 550) return 'missing';
    if (isRefusal(error) || isMissing(error)) return 'refused';
    throw error;
  }
}

/** The path of a name in a directory. */
function joined(directory: string, name: string): string {
  return directory === '.' ? name : `${directory === '/' ? '' : directory}/${name}`;
}
