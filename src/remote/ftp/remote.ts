/*
 * The Remote contract over FTP and FTPS: a directory on a server, reached through the account's pool.
 * Turns relative paths into server paths, and sends uploads through lanes, as many as there are connections.
 */

import { createHash } from 'node:crypto';
import type { Charset } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import type { Digest } from '../../plan/digest.js';
import type { RelativePath, RemoteFile } from '../../plan/entry.js';
import type { TemporaryForm } from '../../plan/temporary.js';
import { Directories } from '../directories.js';
import { judge } from '../failure.js';
import type { Pool } from '../pool.js';
import { isRefusal } from '../refusal.js';
import {
  type Delivered,
  type DeliverOptions,
  type Delivery,
  type Difference,
  type DigestOptions,
  type FetchOptions,
  Gone,
  type OperationOptions,
  type Remote,
  type RemoteDirectory,
  type Trials,
  wholeSeconds,
} from '../remote.js';
import { Lane } from './lane.js';
import { type Moved, Moves } from './moves.js';
import { FtpNames } from './names.js';
import type { Passage } from './passage.js';
import type { FtpProfile } from './profile.js';
import type { FtpSession } from './session.js';

export interface FtpRemoteOptions {
  readonly pool: Pool<FtpSession>;
  readonly profile: FtpProfile;
  /** How names are written there. */
  readonly charset: Charset;
  /** How messages name it. */
  readonly label: string;
  /** The root: below the login directory, or absolute. */
  readonly root: { readonly path: string; readonly absolute: boolean };
  /** Hears of what is tried out, before it is. */
  readonly trials: Trials | undefined;
}

/** One is sent while one is proven and one published; without the third the lane would run dry. */
const DELIVERIES_PER_LANE = 3;

type Waiting = Pick<Passage, 'delivery' | 'signal' | 'resolve' | 'reject'> & Pick<DeliverOptions, 'stop'>;

export class FtpRemote implements Remote {
  readonly label: string;
  readonly #pool: Pool<FtpSession>;
  readonly #root: FtpRemoteOptions['root'];
  readonly #profile: FtpProfile;
  readonly #directories = new Directories();
  readonly #names: FtpNames;
  readonly #moves = new Moves(this.#directories);
  /** Uploads that wait for a lane. */
  readonly #waiting: Waiting[] = [];
  /** Lanes that are open or wait for a connection, and those that have one. */
  #lanes = 0;
  #sailing = 0;
  /** Why no session is to be had, for good. */
  #refusal: { readonly error: unknown } | undefined;

  constructor(options: FtpRemoteOptions) {
    this.label = options.label;
    this.#pool = options.pool;
    this.#root = options.root;
    this.#profile = options.profile;
    this.#names = new FtpNames({
      profile: options.profile,
      charset: options.charset,
      trials: options.trials,
      below: (session, name) => this.#on(session, name),
    });
  }

  get temporaryForm(): TemporaryForm {
    return this.#profile.facts.temporary;
  }

  get appetite(): number {
    return this.#pool.limit * DELIVERIES_PER_LANE;
  }

  async deliver(delivery: Delivery, options: DeliverOptions = {}): Promise<Delivered> {
    if (this.#refusal !== undefined) throw this.#refusal.error;
    return new Promise<Delivered>((resolve, reject) => {
      this.#waiting.push({ delivery, signal: options.signal, stop: options.stop, resolve, reject });
      // A lane that is just coming free takes it; only else another connection is wanted.
      setImmediate(() => this.#openLane());
    });
  }

  /** A lane for the upload that waits longest, unless there are as many as connections to be had. */
  #openLane(): void {
    if (this.#lanes >= this.#pool.ceiling) return;
    const first = this.#waiting.shift();
    if (first === undefined) return;
    this.#lanes += 1;
    this.#pool
      .use(first.signal, async (session) => {
        this.#sailing += 1;
        await this.#sail(session, first).finally(() => {
          this.#sailing -= 1;
        });
      })
      .catch((error: unknown) => {
        first.reject(error);
        // Where no session can be had, nobody who waits would fare better, and asking anew could lock the account.
        if (this.#sailing > 0 || first.signal?.aborted === true) return;
        const { decision } = judge(error);
        if (decision === 'abort' || decision === 'hold') this.#refusal = { error };
        for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
      })
      .finally(() => {
        this.#lanes -= 1;
        this.#openLane();
      });
  }

  /** Carries what waits over one connection, until nothing does, it breaks, or somebody else wants it. */
  async #sail(session: FtpSession, first: Waiting): Promise<void> {
    const lane = new Lane(session, {
      directories: this.#directories,
      names: this.#names,
      moves: this.#moves,
    });
    for (let next: Waiting | undefined = first; next !== undefined; ) {
      if (next.stop?.aborted === true) {
        next.reject(next.stop.reason);
      } else if (session.outdated) {
        this.#waiting.unshift(next);
      } else {
        const { aside } = next.delivery;
        const end = await lane.carry({
          ...next,
          aside: aside === undefined ? undefined : this.#on(session, aside),
          temporary: this.#on(session, next.delivery.temporary),
          final: this.#on(session, next.delivery.path),
        });
        if (end === 'again') this.#waiting.unshift(next);
      }
      const goesOn = session.usable && !this.#pool.wanted;
      next = goesOn ? this.#waiting.shift() : undefined;
      if (next === undefined) {
        await lane.settle();
        // Those who heard of their delivery may have brought the next one.
        next = goesOn && session.usable ? this.#waiting.shift() : undefined;
      }
    }
  }

  async fetch(
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte = 0, holds, listedBytes }: FetchOptions = {},
  ): Promise<number> {
    return this.#pool.use(signal, async (session) => {
      const file = this.#on(session, path);
      const bytes = await this.#read(session, path, sink, { signal, fromByte, listedBytes });
      if (holds !== undefined)
        await proveFetched(session, { file, sizeBytes: fromByte + bytes, signal, holds });
      return bytes;
    });
  }

  /** Gives a file's bytes from `fromByte` on to the sink, as many as it has. */
  async #read(
    session: FtpSession,
    path: RelativePath,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte, listedBytes }: Omit<FetchOptions, 'holds'> & { readonly fromByte: number },
  ): Promise<number> {
    const file = this.#on(session, path);
    const { bytes, sizeBytes } = await session.downloads
      .fetch(file, sink, { signal, fromByte })
      .catch((error: unknown) => this.#refused(error, file, session));
    this.#names.readRightly(file, session);
    const expected = sizeBytes ?? listedBytes;
    // A cut connection looks like the end of the file; only the number of bytes tells them apart.
    if (expected !== undefined && expected !== fromByte + bytes) {
      if (fromByte > 0) session.downloads.noDownloadResume();
      throw new FtpError(
        'mismatch',
        `${session.where} sent ${fromByte + bytes} bytes of ${path}, which has ${expected}.`,
        { phase: 'transfer', verb: 'RETR' },
      );
    }
    return bytes;
  }

  /** A refused download may mean that the file was deleted since it was listed; only another listing can tell. */
  async #refused(error: unknown, file: string, session: FtpSession): Promise<never> {
    const refused = error instanceof FtpError && error.kind === 'reply' && error.reply?.code === 550;
    if (!refused || !session.usable) throw error;
    if (!(await session.tree.lists(file))) {
      throw new Gone(`${file} was deleted on the server since it was listed. ${error.message}`, {
        cause: error,
      });
    }
    // What is listed and yet not there when asked for was asked for by another name.
    if ((await session.tree.size(file)) === undefined) this.#names.misread(file, session);
    throw error;
  }

  async stat(path: RelativePath, { signal }: OperationOptions = {}): Promise<RemoteFile | undefined> {
    return this.#pool.use(signal, async (session) => {
      const status = await session.tree.status(this.#on(session, path));
      return status === undefined
        ? undefined
        : {
            path,
            sizeBytes: status.sizeBytes,
            modifiedMs: status.modifiedMs === undefined ? undefined : wholeSeconds(status.modifiedMs),
          };
    });
  }

  async list(directory: RelativePath | '', { signal }: OperationOptions = {}): Promise<RemoteDirectory> {
    return this.#pool.use(signal, async (session) => {
      const listing = await session.tree.list(this.#on(session, directory));
      const below = (name: string): RelativePath => (directory === '' ? name : `${directory}/${name}`);
      const files: RemoteFile[] = [];
      const directories: RelativePath[] = [];
      const others: RelativePath[] = [];
      let complete =
        listing.unreadable === 0 && listing.unusable.length === 0 && listing.ending !== 'truncated';
      for (const entry of listing.entries) {
        const path = below(entry.name);
        if (entry.type === 'directory') directories.push(path);
        else if (entry.type !== 'file') others.push(path);
        else if (entry.sizeBytes === undefined) complete = false;
        else
          files.push({
            path,
            sizeBytes: entry.sizeBytes,
            modifiedMs: entry.modifiedMs,
            permissions: entry.permissions,
          });
      }
      return { files, directories, others, complete, proven: complete && listing.ending === 'whole' };
    });
  }

  async remove(path: RelativePath, { signal }: OperationOptions = {}): Promise<void> {
    await this.#pool.use(signal, (session) => session.tree.remove(this.#on(session, path)));
  }

  async move(from: RelativePath, to: RelativePath, { signal }: OperationOptions = {}): Promise<Moved> {
    let begun = false;
    const onBegin = (): void => {
      begun = true;
    };
    try {
      return await this.#pool.use(signal, async (session) => {
        if (this.#names.areOdd(to)) await this.#names.prove(to, session);
        const move = { from: this.#on(session, from), to: this.#on(session, to), onBegin };
        return this.#moves.move(session, move);
      });
    } catch (error) {
      // The reply was lost: nobody but the server knows whether it renamed, and nothing stood there before.
      if (begun && signal?.aborted !== true && isSilence(error) && (await this.#moved(from, to, signal)))
        return 'moved';
      throw error;
    }
  }

  /** Whether a file stands at `to`, and none at `from` any more; no where nobody can be asked. */
  async #moved(from: RelativePath, to: RelativePath, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      return await this.#pool.use(
        signal,
        async (session) =>
          (await session.tree.standing(this.#on(session, from))) === 'nothing' &&
          (await session.tree.standing(this.#on(session, to))) !== 'nothing',
      );
    } catch {
      return false;
    }
  }

  async makeDirectory(path: RelativePath | '', { signal }: OperationOptions = {}): Promise<void> {
    await this.#pool.use(signal, async (session) => {
      if (this.#names.areOdd(path)) await this.#names.prove(path, session);
      const directory = this.#on(session, path);
      // The login directory, wherever that is.
      if (directory === '.') return;
      let refusal: unknown;
      try {
        await session.tree.makeDirectory(directory);
        // Of a relative path it is not known yet whether it was made.
        if (directory.startsWith('/') || (await session.tree.standing(directory)) === 'directory') return;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refusal = error;
      }
      await this.#unlessFile(path, session, refusal);
      throw (
        refusal ??
        new FtpError('argument', `${session.where} did not make the directory ${path}.`, {
          phase: 'command',
          verb: 'MKD',
        })
      );
    });
  }

  /** Throws where a file stands where a directory, or one above it, should be made. */
  async #unlessFile(path: RelativePath, session: FtpSession, cause: unknown): Promise<void> {
    const parts = path.split('/');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const here = parts.slice(0, depth).join('/');
      if ((await session.tree.standing(this.#on(session, here))) !== 'file') continue;
      throw new FtpError(
        'argument',
        `${session.where} has a file called ${here}, so that no directory of that name can be made. Move or rename one of the two.`,
        { phase: 'command', verb: 'MKD', cause },
      );
    }
  }

  async removeDirectory(
    path: RelativePath,
    { signal }: OperationOptions = {},
  ): Promise<'removed' | 'not-empty'> {
    return this.#pool.use(signal, async (session) => {
      const directory = this.#on(session, path);
      const end = await session.tree.removeDirectory(directory);
      this.#directories.forget(directory);
      return end;
    });
  }

  async digest(path: RelativePath, { sizeBytes, signal }: DigestOptions): Promise<Digest | undefined> {
    return this.#pool.use(signal, async (session) => {
      const file = this.#on(session, path);
      const told = await session.proofs.hash(file, sizeBytes);
      if (told !== undefined) return told;
      if ((await session.tree.standing(file)) !== 'file') return undefined;
      const hash = createHash('sha256');
      const sink = async (chunk: Buffer): Promise<void> => void hash.update(chunk);
      try {
        await this.#read(session, path, sink, { signal, fromByte: 0 });
      } catch (error) {
        if (error instanceof Gone) return undefined;
        throw error;
      }
      return { algorithm: 'SHA-256', hex: hash.digest('hex') };
    });
  }

  async keepsApart(difference: Difference): Promise<boolean> {
    return this.#names.keepsApart(difference, (trial) => this.#pool.use(undefined, trial));
  }

  /** The server's path of a relative one. */
  #on(session: FtpSession, path: RelativePath | ''): string {
    const base = this.#root.absolute ? '/' : (session.loginDirectory ?? '');
    const joined = [base, this.#root.path, path]
      .map((part) => part.replace(/^\/+|\/+$/g, ''))
      .filter((part) => part !== '')
      .join('/');
    if (this.#root.absolute || session.loginDirectory !== undefined) return `/${joined}`;
    if (joined === '') return '.';
    // Servers read a dash as an option of LIST, `~` as the home directory, and drop leading spaces.
    return /^[-~ ]/.test(joined) ? `./${joined}` : joined;
  }
}

/** No word came from the server: what it did is not known. */
function isSilence(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.kind !== 'argument' &&
    (error.reply === undefined || error.reply.code === 421)
  );
}

/**
 * Compares what came over with what the server holds: by its hash, and where that does not agree or is not to be had
 * and has to be, by reading the file once more.
 */
async function proveFetched(
  session: FtpSession,
  fetched: Pick<FetchOptions, 'signal'> &
    Required<Pick<FetchOptions, 'holds'>> & { readonly file: string; readonly sizeBytes: number },
): Promise<void> {
  const { file, sizeBytes, signal, holds } = fetched;
  const told = await session.proofs.hash(file, sizeBytes);
  if (told === undefined ? !session.proofs.wantsHash : await holds(told)) return;
  const again = await session.downloads.readBack(file, signal);
  if (again === 'refused' || !(await holds(again))) {
    throw new FtpError('mismatch', `${session.where} holds other bytes of ${file} than it sent.`, {
      phase: 'transfer',
      verb: 'RETR',
    });
  }
  if (told !== undefined) session.proofs.distrustHashes();
}
