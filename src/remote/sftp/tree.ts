/*
 * The server's tree for one operation: what stands where, files removed, directories made, removed and listed. On
 * server paths. Where a server says FAILURE, which in version 3 means anything, it is looked whether the wanted state
 * holds all the same.
 */
import type { Attributes, EntryType, RequestOptions } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import type { Sighting } from '../names.js';
import { isAnswer } from '../refusal.js';
import { isFailure, isMissing, isUnsupported } from './refusal.js';
import type { SftpSession } from './session.js';

/** What stands at a path. `other`: a link or the like. */
export type Standing = 'file' | 'directory' | 'other' | 'nothing';

/** One name in a directory. */
export interface TreeEntry {
  readonly name: string;
  readonly type: Exclude<Standing, 'nothing'>;
  readonly attributes: Attributes;
}

export interface Listing {
  readonly entries: readonly TreeEntry[];
  /** All names as they came, also those that are no text. */
  readonly seen: readonly Sighting[];
  /** False where entries were left out, because of their names or because nobody knows what they are. */
  readonly complete: boolean;
}

/** How many entries of a listing that says too little are asked for at the same time. */
const LOOKS_AT_ONCE = 64;

export class Tree {
  readonly #session: SftpSession;
  readonly #options: RequestOptions;

  constructor(session: SftpSession, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#options = { signal };
  }

  /** What the server says of a path, links not followed; undefined where nothing is there. */
  async look(path: string): Promise<Attributes | undefined> {
    if (!this.#session.followsLinks) return this.#look(path);
    const [attributes, isLink] = await Promise.all([this.#look(path), this.#isLink(path)]);
    return attributes === undefined || !isLink ? attributes : { ...attributes, type: 'link' };
  }

  async #look(path: string): Promise<Attributes | undefined> {
    try {
      return await this.#session.client.lstat(path, this.#options);
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (!isFailure(error)) throw error;
      return this.#listed(path, error);
    }
  }

  async #isLink(path: string): Promise<boolean> {
    try {
      await this.#session.client.readlink(path, this.#options);
      return true;
    } catch (error) {
      if (isAnswer(error)) return false;
      throw error;
    }
  }

  /** What stands at a path; a link is not followed. */
  async standing(path: string): Promise<Standing> {
    return this.standingOf(path, await this.look(path));
  }

  /** What the attributes of a path say that it is; where they do not say it, it is tried. */
  async standingOf(path: string, attributes: Attributes | undefined): Promise<Standing> {
    if (attributes === undefined) return 'nothing';
    const type = attributes.type;
    if (type === 'unknown') return (await this.#opensAsDirectory(path)) ? 'directory' : 'file';
    return standingOfType(type);
  }

  /** Size and time of a file, or undefined where there is none. */
  async file(path: string): Promise<Attributes | undefined> {
    const attributes = await this.look(path);
    return (await this.standingOf(path, attributes)) === 'file' ? attributes : undefined;
  }

  /** Whether a path is a directory, or a link to one. */
  async isDirectory(path: string): Promise<boolean> {
    try {
      const type = (await this.#session.client.stat(path, this.#options)).type;
      return type === 'directory' || (type === 'unknown' && (await this.#opensAsDirectory(path)));
    } catch (error) {
      if (isAnswer(error)) return false;
      throw error;
    }
  }

  /** Makes a directory and those above it. One that is there already is no failure, whoever made it. */
  async makeDirectory(path: string): Promise<void> {
    if ((await this.#madeOrThere(path)) === undefined) return;
    const parent = parentOf(path);
    if (parent !== undefined && !(await this.isDirectory(parent))) await this.makeDirectory(parent);
    // Somebody else may have made the parent, or this very directory, in the meantime.
    const refusal = await this.#madeOrThere(path);
    if (refusal !== undefined) throw refusal;
  }

  /** Removes a file. One that is not there is removed already. */
  async remove(path: string): Promise<void> {
    try {
      await this.#session.client.remove(path, this.#options);
    } catch (error) {
      if (isMissing(error)) return;
      if (!isAnswer(error) || (await this.standing(path)) !== 'nothing') throw error;
    }
  }

  /** Removes an empty directory; one that is not there is removed already. */
  async removeDirectory(path: string): Promise<'removed' | 'not-empty'> {
    try {
      await this.#session.client.removeDirectory(path, this.#options);
      return 'removed';
    } catch (error) {
      if (!isAnswer(error)) throw error;
      // OpenSSH says of a file, too, that there is no such file.
      const standing = await this.standing(path);
      if (standing === 'nothing') return 'removed';
      if (standing === 'directory' && (await this.#hasEntries(path))) return 'not-empty';
      throw isMissing(error) ? this.#noDirectory(path, error) : error;
    }
  }

  /**
   * One directory; `.` and `..` are left out. Ends with an error where the server does not say that this was all.
   */
  async list(path: string): Promise<Listing> {
    const entries: TreeEntry[] = [];
    const seen: Sighting[] = [];
    const known = new Set<string>();
    const unclear: { readonly name: string; readonly path: string }[] = [];
    let complete = true;
    for await (const batch of this.#session.client.list(path, this.#options)) {
      for (const { name, bytes, attributes } of batch) {
        const { type } = attributes;
        seen.push({ name, bytes, type: type === 'file' ? 'file' : 'other' });
        // A name that comes twice is one file, and a directory that changes while it is read.
        if (name === undefined || known.has(name)) {
          complete = false;
          continue;
        }
        known.add(name);
        if (type === 'unknown' || (type === 'file' && attributes.sizeBytes === undefined))
          unclear.push({ name, path: joined(path, name) });
        else entries.push({ name, type: standingOfType(type), attributes });
      }
    }
    for (let from = 0; from < unclear.length; from += LOOKS_AT_ONCE) {
      const asked = unclear.slice(from, from + LOOKS_AT_ONCE);
      for (const found of await Promise.all(asked.map((one) => this.#found(one)))) {
        if (found === 'refused') complete = false;
        else if (found !== 'gone') entries.push(found);
      }
    }
    if (seen.length === 0) complete = await this.#isEnterable(path);
    return { entries, seen, complete };
  }

  /**
   * OpenSSH leaves out of a listing what it may not look at, so that a directory that may be read and not entered seems
   * to be empty.
   */
  async #isEnterable(path: string): Promise<boolean> {
    try {
      await this.#session.client.lstat(path === '/' ? '/.' : `${path}/.`, this.#options);
      return true;
    } catch (error) {
      // Where directories are only thought, none of them may have a dot.
      if (isMissing(error) || isUnsupported(error)) return true;
      if (isAnswer(error)) return false;
      throw error;
    }
  }

  /** Whether a listing of its directory shows something of this name; no doubt where none is to be had. */
  async lists(path: string): Promise<boolean> {
    const parent = parentOf(path) ?? (path.startsWith('/') ? '/' : '.');
    try {
      const { entries, complete } = await this.list(parent);
      return !complete || entries.some(({ name }) => name === nameOf(path));
    } catch (error) {
      // Its directory is gone too, or cannot be read: only the first is known to be so.
      if (isAnswer(error)) return this.isDirectory(parent);
      throw error;
    }
  }

  /** What a listing of its directory says of a path that the server does not speak of when it is asked. */
  async #listed(path: string, refusal: unknown): Promise<Attributes | undefined> {
    const parent = parentOf(path);
    if (parent === undefined) throw refusal;
    try {
      for await (const batch of this.#session.client.list(parent, this.#options)) {
        const found = batch.find(({ name }) => name === nameOf(path));
        if (found !== undefined) return found.attributes;
      }
      return undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw isAnswer(error) ? refusal : error;
    }
  }

  async #found(one: {
    readonly name: string;
    readonly path: string;
  }): Promise<TreeEntry | 'gone' | 'refused'> {
    try {
      const attributes = await this.look(one.path);
      if (attributes === undefined) return 'gone';
      const type = await this.standingOf(one.path, attributes);
      if (type === 'nothing' || (type === 'file' && attributes.sizeBytes === undefined)) return 'refused';
      return { name: one.name, type, attributes };
    } catch (error) {
      if (isAnswer(error)) return 'refused';
      throw error;
    }
  }

  /** @returns the refusal, where it neither was made nor is there */
  async #madeOrThere(path: string): Promise<unknown> {
    try {
      await this.#session.client.makeDirectory(path, this.#options);
      return undefined;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      // Where one above it is missing, so is it.
      return !isMissing(error) && (await this.isDirectory(path)) ? undefined : error;
    }
  }

  async #hasEntries(path: string): Promise<boolean> {
    for await (const batch of this.#session.client.list(path, this.#options))
      if (batch.length > 0) return true;
    return false;
  }

  async #opensAsDirectory(path: string): Promise<boolean> {
    try {
      for await (const _ of this.#session.client.list(path, this.#options)) break;
      return true;
    } catch (error) {
      if (isAnswer(error)) return false;
      throw error;
    }
  }

  #noDirectory(path: string, cause: unknown): SftpError {
    return new SftpError(
      'argument',
      `${path} on ${this.#session.where} is no directory, and is left as it is.`,
      {
        phase: 'request',
        request: 'RMDIR',
        cause,
      },
    );
  }
}

function standingOfType(type: EntryType): Exclude<Standing, 'nothing'> {
  return type === 'file' || type === 'directory' ? type : 'other';
}

/** The directory of a path; undefined where that is the root, or the login directory. */
export function parentOf(path: string): string | undefined {
  const slash = path.lastIndexOf('/');
  return slash > 0 ? path.slice(0, slash) : undefined;
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function joined(directory: string, name: string): string {
  if (directory === '.') return name;
  return `${directory === '/' ? '' : directory}/${name}`;
}
