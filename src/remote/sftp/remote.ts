/*
 * The Remote contract over SFTP: a directory on a server, reached through the account's pool. Each operation is an
 * errand on a session that it shares with others. Links are told and made, never followed.
 */
import { createHash } from 'node:crypto';
import type { RemotePath } from '../../job/job.js';
import type { Digest } from '../../plan/digest.js';
import type { LinkEntry, RelativePath, RemoteFile } from '../../plan/entry.js';
import type { TemporaryForm } from '../../plan/temporary.js';
import type { Attributes } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import { Directories } from '../directories.js';
import { judge } from '../failure.js';
import { type Ground, Names, type NamesOptions } from '../names.js';
import type { Pool } from '../pool.js';
import { isAnswer } from '../refusal.js';
import {
  type Delivered,
  type DeliverOptions,
  type Delivery,
  type Difference,
  type DigestOptions,
  type FetchOptions,
  Gone,
  type LinkMaking,
  type ListOptions,
  type OperationOptions,
  type Remote,
  type RemoteDirectory,
  type RemoteLinks,
  type Trials,
} from '../remote.js';
import { fetchFile } from './download.js';
import { Errand } from './errand.js';
import { linkAt } from './link-trial.js';
import { makeLink } from './links.js';
import { type Moved, Moves } from './moves.js';
import type { SftpProfile } from './profile.js';
import { isSilence } from './refusal.js';
import type { SftpSession } from './session.js';
import { Upload } from './upload.js';

export interface SftpRemoteOptions {
  readonly pool: Pool<SftpSession>;
  readonly profile: SftpProfile;
  /** How names are written there. */
  readonly charset: NamesOptions['charset'];
  /** How messages name it. */
  readonly label: string;
  /** The root: below the login directory, or absolute. */
  readonly root: RemotePath;
  /** Hears of what is tried out, before it is. */
  readonly trials: Trials | undefined;
}

/**
 * So many small files at once keep a session busy, each waiting for an answer most of its time, before another session is
 * opened; a large file takes the places of several.
 */
export const PLACES = 64;
const PLACE_BYTES = 128 * 1024;
const MOST_PLACES = 16;

/** More at once only cost memory and open files. */
const MOST_FILES = 512;

/** How many links of a listing are read at the same time. */
const LINKS_AT_ONCE = 64;

export class SftpRemote implements Remote {
  readonly label: string;
  readonly links: RemoteLinks = {
    read: (path, options) => this.#readLink(path, options),
    make: (making, options) => this.#makeLink(making, options),
  };
  readonly #pool: Pool<SftpSession>;
  readonly #root: RemotePath;
  readonly #profile: SftpProfile;
  readonly #trials: Trials | undefined;
  readonly #directories = new Directories();
  readonly #moves = new Moves(this.#directories);
  readonly #names: Names;
  /** Deliveries that have a session. */
  #underWay = 0;
  /** Why no session is to be had, for good. */
  #refusal: { readonly error: unknown } | undefined;

  constructor(options: SftpRemoteOptions) {
    this.label = options.label;
    this.#pool = options.pool;
    this.#root = options.root;
    this.#profile = options.profile;
    this.#trials = options.trials;
    this.#names = new Names(options);
  }

  get temporaryForm(): TemporaryForm {
    return this.#profile.facts.temporary;
  }

  get appetite(): number {
    return Math.min(MOST_FILES, this.#pool.limit * PLACES);
  }

  get fetches(): number {
    return this.appetite;
  }

  async deliver(delivery: Delivery, options: DeliverOptions = {}): Promise<Delivered> {
    return this.#publish(
      options,
      (errand) =>
        new Upload(errand, delivery, {
          directories: this.#directories,
          moves: this.#moves,
          names: this.#names,
          ground: groundOn,
          trials: this.#trials,
        }).run(),
      placesOf(delivery.source.sizeBytes),
    );
  }

  async fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, ...options }: FetchOptions = {},
  ): Promise<number> {
    return this.#use(
      signal,
      (errand) => fetchFile(errand, path, sink, options),
      placesOf(options.listedBytes ?? 0),
    );
  }

  async stat(path: RelativePath, { signal }: OperationOptions = {}): Promise<RemoteFile | undefined> {
    return this.#use(signal, async (errand) => {
      const file = await errand.tree.file(errand.on(path));
      if (file === undefined) return undefined;
      if (file.sizeBytes === undefined) throw unsized(path, errand.where);
      return { path, sizeBytes: file.sizeBytes, modifiedMs: modifiedMsOf(file) };
    });
  }

  async list(
    directory: RelativePath | '',
    { signal, links: asked }: ListOptions = {},
  ): Promise<RemoteDirectory> {
    return this.#use(signal, async (errand) => {
      const { entries, complete } = await errand.tree.list(errand.on(directory));
      const below = (name: string): RelativePath => (directory === '' ? name : `${directory}/${name}`);
      const files: RemoteFile[] = [];
      const directories: RelativePath[] = [];
      const others: RelativePath[] = [];
      for (const { name, type, attributes } of entries) {
        const path = below(name);
        if (type === 'directory') directories.push(path);
        else if (type === 'other' || attributes.sizeBytes === undefined) others.push(path);
        else
          files.push({
            path,
            sizeBytes: attributes.sizeBytes,
            modifiedMs: modifiedMsOf(attributes),
            permissions: attributes.mode === undefined ? undefined : attributes.mode & 0o777,
          });
      }
      const rest = { files, directories, complete, proven: complete };
      if (asked !== 'told') return { ...rest, others };
      const told = await linksAmong(errand, others);
      return { ...rest, ...told };
    });
  }

  async remove(path: RelativePath, { signal }: OperationOptions = {}): Promise<void> {
    await this.#use(signal, (errand) => errand.tree.remove(errand.on(path)));
  }

  async move(from: RelativePath, to: RelativePath, { signal }: OperationOptions = {}): Promise<Moved> {
    let begun = false;
    const onBegin = (): void => {
      begun = true;
    };
    try {
      return await this.#use(signal, async (errand) => {
        if (this.#names.areOdd(to)) await this.#names.prove(to, groundOn(errand));
        return this.#moves.move(errand, { from, to, onBegin });
      });
    } catch (error) {
      // The answer was lost: nobody but the server knows whether it renamed, and nothing stood there before.
      if (begun && signal?.aborted !== true && isSilence(error) && (await this.#moved(from, to, signal)))
        return 'moved';
      throw error;
    }
  }

  /** Whether a file stands at `to`, and none at `from` any more; no where nobody can be asked. */
  async #moved(from: RelativePath, to: RelativePath, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      return await this.#use(
        signal,
        async (errand) =>
          (await errand.tree.standing(errand.on(from))) === 'nothing' &&
          (await errand.tree.standing(errand.on(to))) !== 'nothing',
      );
    } catch {
      return false;
    }
  }

  async makeDirectory(path: RelativePath | '', { signal }: OperationOptions = {}): Promise<void> {
    await this.#use(signal, async (errand) => {
      if (this.#names.areOdd(path)) await this.#names.prove(path, groundOn(errand));
      const directory = errand.on(path);
      // The login directory, wherever that is.
      if (directory === '.') return;
      try {
        await errand.tree.makeDirectory(directory);
      } catch (error) {
        if (isAnswer(error) && path !== '') await errand.unlessFile(path, error);
        throw error;
      }
    });
  }

  async removeDirectory(
    path: RelativePath,
    { signal }: OperationOptions = {},
  ): Promise<'removed' | 'not-empty'> {
    return this.#use(signal, async (errand) => {
      const directory = errand.on(path);
      const end = await errand.tree.removeDirectory(directory);
      this.#directories.forget(directory);
      return end;
    });
  }

  async digest(path: RelativePath, { signal }: DigestOptions): Promise<Digest | undefined> {
    return this.#use(signal, async (errand) => {
      const place = errand.on(path);
      const file = await errand.tree.file(place);
      if (file === undefined) return undefined;
      const told = await errand.proofs.hash(place, file.sizeBytes ?? 0);
      if (told !== undefined) return told;
      const hash = createHash('sha256');
      try {
        await fetchFile(errand, path, async (chunk) => void hash.update(chunk), {});
      } catch (error) {
        if (error instanceof Gone) return undefined;
        throw error;
      }
      return { algorithm: 'SHA-256', hex: hash.digest('hex') };
    });
  }

  async keepsApart(difference: Difference): Promise<boolean> {
    return this.#names.keepsApart(difference, (trial) =>
      this.#use(undefined, (errand) => trial(groundOn(errand))),
    );
  }

  async #readLink(path: RelativePath, { signal }: OperationOptions = {}): Promise<string | undefined> {
    return this.#use(signal, (errand) => linkAt(errand, errand.on(path)));
  }

  async #makeLink(making: LinkMaking, options: DeliverOptions = {}): Promise<{ readonly setAside: boolean }> {
    return this.#publish(options, async (errand) => {
      if (this.#names.areOdd(making.path)) await this.#names.prove(making.path, groundOn(errand));
      return makeLink(errand, making, {
        directories: this.#directories,
        moves: this.#moves,
        trials: this.#trials,
      });
    });
  }

  /** As `#use`, for what is one of many: where no session can be had, none of them asks for one again. */
  async #publish<T>(
    { signal, stop }: DeliverOptions,
    work: (errand: Errand) => Promise<T>,
    places = 1,
  ): Promise<T> {
    if (this.#refusal !== undefined) throw this.#refusal.error;
    let begun = false;
    try {
      const begin = (errand: Errand): Promise<T> => {
        begun = true;
        this.#underWay += 1;
        stop?.throwIfAborted();
        return work(errand);
      };
      return await this.#use(signal, begin, places);
    } catch (error) {
      if (!begun && this.#underWay === 0 && signal?.aborted !== true) {
        // Asking anew could lock the account.
        const { decision } = judge(error);
        if (decision === 'abort' || decision === 'hold') this.#refusal = { error };
      }
      throw error;
    } finally {
      if (begun) this.#underWay -= 1;
    }
  }

  #use<T>(signal: AbortSignal | undefined, work: (errand: Errand) => Promise<T>, places = 1): Promise<T> {
    return this.#pool.use(signal, async (session) => work(new Errand(session, this.#root, signal)), places);
  }
}

/** How many places of a session a file of this size takes. */
function placesOf(sizeBytes: number): number {
  return Math.min(MOST_PLACES, Math.max(1, Math.ceil(sizeBytes / PLACE_BYTES)));
}

/** What trials of names ask, on a session. */
function groundOn(errand: Errand): Ground {
  const { session, tree, where, signal } = errand;
  return {
    where,
    get usable() {
      return session.usable;
    },
    below: (name) => errand.on(name),
    store: async (path) => {
      const handle = await session.client.open(path, { access: 'truncate', signal });
      await handle.close();
    },
    list: async (directory) => {
      const { seen } = await tree.list(directory);
      return seen;
    },
    remove: (path) => tree.remove(path),
    makeDirectory: (path) => tree.makeDirectory(path),
    removeDirectory: (path) => tree.removeDirectory(path),
    isDirectory: (path) => tree.isDirectory(path),
  };
}

/** The links among what is neither file nor directory, with their texts; what tells none stays with the others. */
async function linksAmong(
  errand: Errand,
  paths: readonly RelativePath[],
): Promise<{ readonly links: readonly LinkEntry[]; readonly others: readonly RelativePath[] }> {
  const links: LinkEntry[] = [];
  const others: RelativePath[] = [];
  for (let from = 0; from < paths.length; from += LINKS_AT_ONCE) {
    const asked = paths.slice(from, from + LINKS_AT_ONCE);
    const texts = await Promise.all(asked.map((path) => linkAt(errand, errand.on(path))));
    for (const [place, path] of asked.entries()) {
      const leadsTo = texts[place];
      if (leadsTo === undefined) others.push(path);
      else links.push({ path, leadsTo });
    }
  }
  return { links, others };
}

function modifiedMsOf({ modifiedS }: Attributes): number | undefined {
  return modifiedS === undefined ? undefined : modifiedS * 1000;
}

function unsized(path: RelativePath, where: string): SftpError {
  return new SftpError('malformed', `${where} does not tell the size of ${path}.`, {
    phase: 'request',
    request: 'LSTAT',
  });
}
