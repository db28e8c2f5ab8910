/*
 * One logged-in FTP connection, with what is known of its server applied: each operation takes the form that
 * the profile names, and where failure.ts says `fallback` it takes the next form and remembers that.
 * Works on absolute server paths; directories on the way are found out, never assumed.
 */
import { createHash } from 'node:crypto';
import {
  type ClientOptions,
  type Convoy,
  type DataMode,
  type Features,
  FtpClient,
  type HashForm,
  type HashRefusal,
  type ListedEntry,
  type Login,
  type Proof,
  type ProveStep,
  type ReceivedListing,
  type SetTimeForm,
} from '../ftp/client.js';
import { FtpError } from '../ftp/errors.js';
import { hashForms } from '../ftp/hash.js';
import type { Digest } from '../plan/digest.js';
import { type DataModeSetting, DataModes, isAboutReuse, isLackOfData } from './data-mode.js';
import { judge } from './failure.js';
import type { Pooled } from './pool.js';
import type { Profile } from './profile.js';
import { TemporaryRefused, wholeSeconds } from './remote.js';

export interface SessionOptions {
  readonly client: ClientOptions;
  readonly login: Login;
  readonly profile: Profile;
  readonly dataModes: DataModeSetting;
  /** `size`: hashes are not asked for. */
  readonly verify: 'auto' | 'size' | 'hash';
}

/** What the server says of one file. */
export interface FileStatus {
  readonly sizeBytes: number;
  readonly modifiedMs: number | undefined;
}

/** What the server says of a file that was stored. */
export interface Held extends FileStatus {
  /** The server's own hash of it, where it told one. */
  readonly digest: Digest | undefined;
}

const SET_TIME_FORMS: readonly SetTimeForm[] = ['MFMT', 'MDTM', 'SITE UTIME'];

/** How many data connections in a row may fail to come about (425) before the control connection is given up with them. */
const PORTS_A_CONNECTION = 2;

/** How many transfers in a row may fail before the command behind them is suspected. */
const STUMBLES = 2;

/** How many times of a listing are asked for in one write. */
const TIMES_AT_ONCE = 100;

/** A slow disk reads so many bytes in a millisecond; and hashing needs a moment to begin. */
const HASHED_BYTES_PER_MS = 5_000;
const HASHING_BEGINS_MS = 10_000;

/** A clock that is off by less than this is nothing to talk about. */
const CLOCK_NOTICE_MS = 60_000;

export class FtpSession implements Pooled {
  readonly #client: FtpClient;
  readonly #profile: Profile;
  readonly #modes: DataModes;
  readonly #verify: SessionOptions['verify'];
  /** The TLS that this session was opened with. */
  readonly #tls: 'TLSv1.2' | 'TLSv1.3';
  readonly #telnetBytes: 'once' | 'doubled';
  #hasStumbled = false;
  /** The login directory, or undefined where the server does not tell: then paths stay relative to it. */
  readonly loginDirectory: string | undefined;

  private constructor(client: FtpClient, options: SessionOptions, loginDirectory: string | undefined) {
    const { profile } = options;
    this.#client = client;
    this.#profile = profile;
    this.#verify = options.verify;
    this.#tls = options.client.trust.maxVersion;
    this.#telnetBytes = options.client.telnetBytes ?? 'once';
    this.#modes = new DataModes({
      setting: options.dataModes,
      family: client.isIpv6 ? 'IPv6' : 'IPv4',
      where: client.where,
      profile,
    });
    this.loginDirectory = loginDirectory;
  }

  /** Connects, logs in and prepares the session. Throws FtpError; nothing stays open then. */
  static async open(options: SessionOptions): Promise<FtpSession> {
    const { profile } = options;
    const client = await FtpClient.connect(options.client);
    try {
      await client.login(options.login);
      const features = await optional(client.features());
      begin(profile, features);
      const directory = await prepare(client, features, options);
      const known = directory?.startsWith('/') === true ? directory : undefined;
      return new FtpSession(client, options, known);
    } catch (error) {
      client.reset('the session could not be prepared');
      throw error;
    }
  }

  get where(): string {
    return this.#client.where;
  }

  /** True where it was found out since this session began how names have to be sent, and this one cannot. */
  get outdated(): boolean {
    return this.#telnetBytes !== this.#profile.facts.telnetBytes;
  }

  /** True while the connection stands, be it outdated. */
  get stands(): boolean {
    return !this.#client.ended;
  }

  get usable(): boolean {
    return !this.#client.ended && !this.outdated;
  }

  async close(): Promise<void> {
    await this.#client.quit();
  }

  reset(): void {
    this.#client.reset('it is not needed any more');
  }

  /** True where this session was lost because the server stumbled over a packet; the next one takes another form. */
  get stumbled(): boolean {
    return this.#hasStumbled && this.#client.ended;
  }

  /** Throws FtpError of kind `argument` where a path cannot travel in a command. */
  checkPath(path: string): void {
    this.#client.checkPath(path);
  }

  // Uploads.

  /** Sends the chunks to a file. */
  async store(path: string, source: AsyncIterable<Buffer>, signal: AbortSignal | undefined): Promise<void> {
    await this.#transfer((mode) => this.#client.store(path, source, { mode, signal }));
  }

  /**
   * Sends the rest of a file behind the part that is there. The part must be proven.
   *
   * @returns `restart` where the server cannot go on with a part
   */
  async storeRest(
    path: string,
    source: () => AsyncIterable<Buffer>,
    fromByte: number,
    signal: AbortSignal | undefined,
  ): Promise<'sent' | 'restart'> {
    const { facts } = this.#profile;
    if (facts.resumeUpload === 'REST') {
      try {
        await this.#transfer((mode) => this.#client.store(path, source(), { mode, signal, fromByte }));
        return 'sent';
      } catch (error) {
        if (!lacksResume(error)) throw error;
        this.#profile.learn('resumeUpload', 'APPE', `${this.where} takes no REST before STOR: APPE is used.`);
      }
    }
    if (this.#profile.facts.resumeUpload === 'APPE') {
      try {
        await this.#transfer((mode) => this.#client.append(path, source(), { mode, signal }));
        return 'sent';
      } catch (error) {
        if (!lacksResume(error)) throw error;
        this.noResume();
      }
    }
    return 'restart';
  }

  /** Going on with a part did not give the file: it is not tried again with this server. */
  noResume(): void {
    this.#profile.learn(
      'resumeUpload',
      'none',
      `${this.where} cannot go on with an upload that was cut off: such files are sent from the beginning.`,
    );
  }

  /** True where a part that was left could be gone on with. */
  get resumesUploads(): boolean {
    return this.#profile.facts.resumeUpload !== 'none';
  }

  /** True where the last steps of an upload can travel with a later one. */
  get convoys(): boolean {
    const { size, setTime, rename } = this.#profile.facts;
    return size === 'SIZE' && setTime !== 'none' && rename === 'overwrites' && this.#isPassive;
  }

  /** The step by which a file that was sent is proven. */
  proofOf(path: string, modifiedMs: number, sizeBytes: number): ProveStep {
    const { setTime } = this.#profile.facts;
    return {
      path,
      modifiedMs,
      form: setTime === 'none' ? 'MFMT' : setTime,
      hash: this.#hashForm,
      hashingMs: hashingMs(sizeBytes),
      clock: this.#asksClock() ? 'ask' : 'leave',
    };
  }

  /** As `store`, with the last steps of earlier uploads; the port is the one that the transfer before told. */
  async storeInConvoy(
    path: string,
    source: () => AsyncIterable<Buffer>,
    options: {
      readonly convoy: Convoy;
      readonly port: number | undefined;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<{ nextPort: number | undefined }> {
    const mode = this.#modes.current;
    if (mode !== 'EPSV' && mode !== 'PASV') {
      await this.store(path, source(), options.signal);
      return { nextPort: undefined };
    }
    const asks = mode === 'EPSV' && this.#profile.facts.roundTrips === 'two';
    try {
      const stored = await this.#client.storeInConvoy(path, source(), {
        ...options,
        mode,
        nextPort: asks ? 'ask' : 'leave',
      });
      if (asks) this.#profile.streaks.stumbles = 0;
      this.#worked(mode);
      return stored;
    } catch (error) {
      // The convoy went with the question; only the file is left to send.
      if (this.#goesOnAfter(error, mode)) {
        await this.store(path, source(), options.signal);
        return { nextPort: undefined };
      }
      if (asks && this.#stumblesWith(error)) {
        this.#hasStumbled = true;
        this.#profile.learn(
          'roundTrips',
          'three',
          `${this.where} stumbles over a command behind STOR: the port for each file is asked for by itself.`,
        );
      }
      throw error;
    }
  }

  /** A reply out of step says it at once; another trouble only when it comes twice and no transfer between. */
  #stumblesWith(error: unknown): boolean {
    // A link that breaks says nothing about the server.
    const suspect = ['malformed', 'data', 'unconfirmed'] as const;
    if (!(error instanceof FtpError) || isRefusal(error) || !suspect.some((kind) => kind === error.kind))
      return false;
    this.#profile.streaks.stumbles += 1;
    return error.kind === 'malformed' || this.#profile.streaks.stumbles >= STUMBLES;
  }

  settle(convoy: Convoy): void {
    this.#client.settle(convoy);
  }

  /**
   * Asks what became of a file that was just stored, and sets its time.
   *
   * @returns its size, the time that the server took over, in whole seconds, and the server's hash of it
   */
  async prove(path: string, modifiedMs: number, sentBytes: number): Promise<Held> {
    const { facts } = this.#profile;
    if (facts.size === 'SIZE' && facts.setTime !== 'none') {
      const step = this.proofOf(path, modifiedMs, sentBytes);
      try {
        const proof = await this.#client.prove(step);
        return {
          sizeBytes: proof.sizeBytes,
          digest: this.hear(step, proof),
          modifiedMs: await this.timeAfter(proof.timeReply, step.form, path, modifiedMs),
        };
      } catch (error) {
        this.sizeRefused(error, path);
      }
    }
    const sizeBytes = await this.size(path);
    if (sizeBytes === undefined) throw this.#vanished(path);
    const digest = await this.hash(path, sizeBytes);
    return { sizeBytes, digest, modifiedMs: await this.setTime(path, modifiedMs) };
  }

  /** Takes down what a proof says besides the size; returns the server's hash, where it told one. */
  hear(step: ProveStep, proof: Proof): Digest | undefined {
    if (proof.storedMs !== undefined) this.#learnClock(proof.storedMs);
    if (step.hash === undefined || proof.digest === undefined) return undefined;
    if (typeof proof.digest === 'string') return { algorithm: step.hash.algorithm, hex: proof.digest };
    this.#hashRefused(step.hash, proof.digest);
    return undefined;
  }

  /**
   * What became of the time, after the server's reply to the setting; where it does not know the form, the others
   * are tried.
   *
   * @returns the time that the server took over, in whole seconds; undefined where it takes none
   */
  async timeAfter(
    reply: { readonly code: number },
    form: SetTimeForm,
    path: string,
    modifiedMs: number,
  ): Promise<number | undefined> {
    const { code } = reply;
    // 202 says that the command is superfluous here, so nothing was set.
    if (code >= 200 && code < 300 && code !== 202) return wholeSeconds(modifiedMs);
    // "Not now" is no reason to give the form up: it is asked again, and fails as it must.
    if (code >= 400 && code < 500) return this.setTime(path, modifiedMs);
    return this.#setTimeAfter(form, path, modifiedMs);
  }

  /** Returns where SIZE was refused because the server does not have it; throws what it means else. */
  sizeRefused(error: unknown, path: string): void {
    if (isMissingSize(error)) throw this.#vanished(path);
    if (!lacksSize(error)) throw error;
    this.#profile.learn('size', 'listing', `${this.where} has no SIZE: sizes are read from listings.`);
  }

  /** Sets a modification time in the first form that the server takes; undefined where it takes none. */
  async setTime(path: string, modifiedMs: number): Promise<number | undefined> {
    const form = this.#profile.facts.setTime;
    if (form === 'none') return undefined;
    try {
      await this.#client.setModified(path, modifiedMs, form);
      return wholeSeconds(modifiedMs);
    } catch (error) {
      if (judge(error).decision !== 'fallback') throw error;
      return this.#setTimeAfter(form, path, modifiedMs);
    }
  }

  /**
   * Asks for the permissions of a file, at once: what is sent behind it need not wait for the reply.
   *
   * @returns `set`; `refused` where the server said no for good, or was not asked since it said so before; `not now`
   * @throws {FtpError} what is no word about permissions, such as a lost connection
   */
  async setPermissions(path: string, permissions: number): Promise<'set' | 'refused' | 'not now'> {
    if (this.#profile.facts.chmod === 'none') return 'refused';
    try {
      await this.#client.setPermissions(path, permissions & 0o777);
      return 'set';
    } catch (error) {
      if (!(error instanceof FtpError) || error.kind !== 'reply' || error.reply === undefined) throw error;
      const { code } = error.reply;
      if (code === 421) throw error;
      return code >= 400 && code < 500 ? 'not now' : 'refused';
    }
  }

  /** Permissions were refused for a file that is there: they are not asked for any more. */
  noPermissions(): void {
    this.#profile.learn(
      'chmod',
      'none',
      `${this.where} does not set permissions (SITE CHMOD): files have those that it gives them.`,
    );
  }

  // Downloads and proofs.

  /** Hands a file's bytes to the sink, from `fromByte` on. Returns the number of bytes given. */
  async retrieve(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte = 0 }: { readonly signal: AbortSignal | undefined; readonly fromByte?: number },
  ): Promise<number> {
    if (fromByte > 0 && this.#profile.facts.resumeDownload === 'REST') {
      try {
        return await this.#transfer((mode) => this.#client.retrieve(path, sink, { mode, signal, fromByte }));
      } catch (error) {
        if (!lacksResume(error)) throw error;
        this.noDownloadResume();
      }
    }
    // Without REST all of it comes again; what is there already is passed over.
    let given = 0;
    let position = 0;
    const rest = async (chunk: Buffer): Promise<void> => {
      const known = Math.min(chunk.length, Math.max(0, fromByte - position));
      position += chunk.length;
      given += chunk.length - known;
      if (known < chunk.length) await sink(chunk.subarray(known));
    };
    await this.#transfer((mode) => this.#client.retrieve(path, rest, { mode, signal }));
    return given;
  }

  /**
   * A file's bytes and its size, which is asked for in the same moment as the port for the data.
   *
   * @returns the number of bytes given, and what the server says the whole file has; undefined where it does not say
   */
  async fetch(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    options: { readonly signal: AbortSignal | undefined; readonly fromByte: number },
  ): Promise<{ bytes: number; sizeBytes: number | undefined }> {
    const sizing =
      this.#profile.facts.size === 'SIZE'
        ? this.#client.size(path).then(
            (sizeBytes) => ({ sizeBytes }),
            (error: unknown) => ({ error }),
          )
        : undefined;
    const bytes = await this.retrieve(path, sink, options);
    const sized = await sizing;
    if (sized === undefined || ('error' in sized && lacksSize(sized.error))) {
      return { bytes, sizeBytes: await this.size(path) };
    }
    if ('sizeBytes' in sized) return { bytes, sizeBytes: sized.sizeBytes };
    if (isMissing(sized.error)) return { bytes, sizeBytes: undefined };
    throw sized.error;
  }

  /** The server did not begin where it was told to. */
  noDownloadResume(): void {
    this.#profile.learn(
      'resumeDownload',
      'none',
      `${this.where} cannot begin in the middle of a file: a download that was cut off begins anew.`,
    );
  }

  /** The algorithm in which the server will be asked for a hash, so that it can be computed on the way. */
  get hashAlgorithm(): HashForm['algorithm'] | undefined {
    return this.#hashForm?.algorithm;
  }

  /** True where a file counts as delivered only when a hash proves it. */
  get wantsHash(): boolean {
    return this.#verify === 'hash';
  }

  /** The server's hash of a file, or undefined where it tells none. */
  async hash(path: string, sizeBytes: number): Promise<Digest | undefined> {
    for (let form = this.#hashForm; form !== undefined; form = this.#hashForm) {
      try {
        const hex = await this.#client.hash(path, form, hashingMs(sizeBytes));
        return { algorithm: form.algorithm, hex };
      } catch (error) {
        if (!(error instanceof FtpError) || error.kind !== 'reply' || error.reply === undefined) throw error;
        if (!this.#hashRefused(form, { refused: error.reply })) return undefined;
      }
    }
    return undefined;
  }

  /** The server's hashes do not fit its own files. */
  distrustHashes(): void {
    this.#profile.learn(
      'hash',
      'none',
      `${this.where} tells wrong hashes of files that it holds rightly: they are not asked for any more.`,
    );
  }

  /** Reads a file back and hashes it: the proof that needs nothing of the server. SHA-256, hex digits. */
  async readBack(path: string, signal: AbortSignal | undefined): Promise<string> {
    const hash = createHash('sha256');
    await this.retrieve(path, async (chunk) => void hash.update(chunk), { signal });
    return hash.digest('hex');
  }

  /** A file's size, or undefined where there is no such file. */
  async size(path: string): Promise<number | undefined> {
    if (this.#profile.facts.size === 'SIZE') {
      try {
        return await this.#client.size(path);
      } catch (error) {
        if (isMissing(error)) return undefined;
        if (!lacksSize(error)) throw error;
        this.#profile.learn('size', 'listing', `${this.where} has no SIZE: sizes are read from listings.`);
      }
    }
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1);
    const listing = await this.list(slash < 0 ? '.' : path.slice(0, slash) || '/');
    return listing.entries.find((entry) => entry.name === name && entry.type === 'file')?.sizeBytes;
  }

  /** Size and time of a file, or undefined where there is none. */
  async status(path: string): Promise<FileStatus | undefined> {
    const sizeBytes = await this.size(path);
    if (sizeBytes === undefined) return undefined;
    const [modifiedMs] = await this.#client.modifiedAll([path]);
    return { sizeBytes, modifiedMs };
  }

  // Names and directories.

  /**
   * Renames, replacing what stands at the target.
   *
   * @throws {TemporaryRefused} where the server cannot rename at all
   */
  async replace(from: string, to: string): Promise<void> {
    if (this.#profile.facts.rename === 'none') this.#cannotRename();
    if (this.#profile.facts.rename === 'overwrites') {
      try {
        await this.#client.rename(from, to);
        return;
      } catch (error) {
        await this.replaceAfter(error, from, to);
        return;
      }
    }
    await this.#removeAndRename(from, to);
  }

  /** After a rename that was refused: because the target exists? Only then is there another way. */
  async replaceAfter(error: unknown, from: string, to: string): Promise<void> {
    if (lacksRename(error)) this.#cannotRename();
    if (judge(error).decision !== 'fallback' || (await this.size(to)) === undefined) throw error;
    // Refused in words and done all the same: the new file stands there, and must not be removed for itself.
    if ((await this.size(from)) === undefined) {
      throw new FtpError(
        'unconfirmed',
        `${this.where} refused to rename a file, and has it no more under its former name: ${error instanceof Error ? error.message : String(error)}`,
        { phase: 'command', verb: 'RNTO', cause: error },
      );
    }
    this.#profile.learn(
      'rename',
      'refuses',
      `${this.where} does not rename onto a file that exists: the old file is removed first.`,
    );
    await this.#removeAndRename(from, to);
  }

  #cannotRename(): never {
    const sentence = `${this.where} cannot rename: files are written under their final names, where a part can be seen until all of it is there.`;
    this.#profile.learn('rename', 'none', sentence);
    this.#profile.note('temporary', 'none');
    throw new TemporaryRefused(sentence);
  }

  async #removeAndRename(from: string, to: string): Promise<void> {
    // The new file is whole and lies beside it, so a cut between these two loses nothing.
    if ((await this.size(to)) !== undefined) await this.#client.remove(to);
    await this.#client.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    try {
      await this.#client.remove(path);
    } catch (error) {
      if (isMissing(error) && (await this.size(path)) === undefined) return;
      throw error;
    }
  }

  /** Makes a directory and those above it. One that is there already is no failure, whoever made it. */
  async makeDirectory(path: string): Promise<void> {
    if (this.loginDirectory === undefined && !path.startsWith('/')) return this.#makeEach(path);
    if (await this.#madeOrThere(path)) return;
    const parent = path.slice(0, path.lastIndexOf('/'));
    if (parent !== '' && !(await this.isDirectory(parent))) await this.makeDirectory(parent);
    // Another connection may have made the parent, or this very directory, in the meantime.
    if (await this.#madeOrThere(path)) return;
    await this.#client.makeDirectory(path);
  }

  async #madeOrThere(path: string): Promise<boolean> {
    try {
      await this.#client.makeDirectory(path);
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
        await this.#client.makeDirectory(parts.slice(0, depth).join('/'));
      } catch (error) {
        if (judge(error).decision !== 'skip') throw error;
      }
    }
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

  /** Removes an empty directory. */
  async removeDirectory(path: string): Promise<void> {
    await this.#client.removeDirectory(path);
  }

  /** Whether an absolute path is a directory; true for a relative one, which cannot be looked at. */
  async isDirectory(path: string): Promise<boolean> {
    // CWD would move the ground under relative paths.
    if (!path.startsWith('/')) return true;
    try {
      await this.#client.changeDirectory(path);
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  /** One directory. Where the server's listings have no exact times, each file is asked for its own. */
  async list(path: string): Promise<ReceivedListing> {
    if (this.#profile.facts.listing === 'MLSD') {
      try {
        return await this.#transfer((mode) => this.#client.machineListing(path, { mode }));
      } catch (error) {
        if (!(error instanceof FtpError && [500, 501, 502, 504].includes(error.reply?.code ?? 0)))
          return this.#emptyAfter(error, path);
        this.#profile.learn('listing', 'LIST', `${this.where} has no MLSD: directories are read with LIST.`);
      }
    }
    const absolute = path.startsWith('/');
    // CWD spares the odd meanings of a path in LIST, but nobody knows the way back from a relative one.
    if (absolute) await this.#client.changeDirectory(path);
    let listing: ReceivedListing;
    try {
      listing = await this.#transfer((mode) =>
        this.#client.listing({ mode }, absolute || path === '.' ? undefined : path),
      );
    } catch (error) {
      return this.#emptyAfter(error, path);
    }
    return { ...listing, entries: await this.#sized(await this.#timed(listing.entries, path), path) };
  }

  /** Some listings have sizes in blocks, or none: each such file is asked for its own. */
  async #sized(entries: ReceivedListing['entries'], path: string): Promise<ReceivedListing['entries']> {
    const sized: ListedEntry[] = [];
    for (const entry of entries) {
      const asks = entry.type === 'file' && entry.sizeBytes === undefined;
      if (!asks || this.#profile.facts.size !== 'SIZE') sized.push(entry);
      else sized.push({ ...entry, sizeBytes: await this.size(joined(path, entry.name)) });
    }
    return sized;
  }

  /**
   * Some servers refuse to list a directory that is empty. It counts as empty only where it can be entered and a
   * listing of the names agrees: an empty guess would be mirrored as a deletion.
   */
  async #emptyAfter(error: unknown, path: string): Promise<ReceivedListing> {
    const code = error instanceof FtpError && error.phase === 'transfer' ? error.reply?.code : undefined;
    if ((code !== 450 && code !== 550) || !path.startsWith('/')) throw error;
    if (!(await this.isDirectory(path)) || !(await this.#hasNoNames())) throw error;
    return { entries: [], unusable: [], unreadable: 0, form: 'empty', ending: 'whole' };
  }

  /** NLST of the directory that the session is in: nothing, or refused as LIST was. */
  async #hasNoNames(): Promise<boolean> {
    try {
      const names = await this.#transfer((mode) => this.#client.names({ mode }));
      return names.every((name) => name === '.' || name === '..');
    } catch (error) {
      if (isMissing(error)) return true;
      throw error;
    }
  }

  async #timed(entries: ReceivedListing['entries'], path: string): Promise<ReceivedListing['entries']> {
    const files = entries.filter((entry) => entry.type === 'file');
    const times = new Map<string, number | undefined>();
    for (let from = 0; from < files.length; from += TIMES_AT_ONCE) {
      const names = files.slice(from, from + TIMES_AT_ONCE).map((entry) => entry.name);
      const asked = await this.#client.modifiedAll(names.map((name) => joined(path, name)));
      names.forEach((name, place) => {
        times.set(name, asked[place]);
      });
    }
    return entries.map((entry) => ({ ...entry, modifiedMs: times.get(entry.name) ?? entry.modifiedMs }));
  }

  get #isPassive(): boolean {
    return this.#modes.current === 'EPSV' || this.#modes.current === 'PASV';
  }

  get #hashForm(): HashForm | undefined {
    const { hash } = this.#profile.facts;
    return this.#verify === 'size' || hash === 'none' ? undefined : hash;
  }

  /** Runs a transfer in the mode that works, or in the next one where the server refuses it. */
  async #transfer<T>(transfer: (mode: DataMode) => Promise<T>): Promise<T> {
    for (;;) {
      const mode = this.#modes.current;
      try {
        const done = await transfer(mode);
        this.#worked(mode);
        return done;
      } catch (error) {
        if (!this.#goesOnAfter(error, mode)) throw error;
      }
    }
  }

  #worked(mode: DataMode): void {
    this.#profile.streaks.reuseRefusals = 0;
    this.#profile.tls12 = 'untried';
    this.#modes.worked(mode);
  }

  #goesOnAfter(error: unknown, mode: DataMode): boolean {
    if (isAboutReuse(error)) this.#reuseRefused(error);
    const goesOn = this.#modes.goesOnAfter(error, mode);
    // New ports did not help; a new connection may.
    const often = this.#profile.streaks.dataSetups >= PORTS_A_CONNECTION;
    if (often && isLackOfData(error)) this.#client.breakOff('no data connection comes about on it');
    return goesOn;
  }

  /**
   * The server did not take the data connection's TLS session. A new control connection may have a better one; then
   * TLS 1.2, whose sessions are simpler; then nothing will help.
   */
  #reuseRefused(error: unknown): void {
    const { streaks, facts } = this.#profile;
    // The server's doing: other files that wait on it are lost with it, and not called off.
    this.#client.breakOff('it does not take the TLS session of a data connection');
    // Others that were opened with the former TLS say nothing new.
    if (this.#tls !== facts.tls) return;
    streaks.reuseRefusals += 1;
    if (streaks.reuseRefusals < 2) return;
    streaks.reuseRefusals = 0;
    if (facts.tls === 'TLSv1.3' && this.#profile.tls12 === 'untried') {
      this.#profile.learn(
        'tls',
        'TLSv1.2',
        `${this.where} does not take the TLS sessions of data connections: TLS 1.2 is tried.`,
      );
      return;
    }
    if (!(error instanceof FtpError)) return;
    const versions =
      facts.tls === 'TLSv1.2' ? 'neither under TLS 1.3 nor 1.2' : 'and lets nobody in with TLS 1.2';
    // The next run may find it mended, and tries both once more.
    this.#profile.tls12 = 'untried';
    this.#profile.note('tls', 'TLSv1.3');
    throw new FtpError(
      'unwilling',
      `${this.where} takes no data connection, because it does not recognise its own TLS sessions, ${versions}: ${error.message.replace(/[.]$/, '')}. See to its TLS settings (session reuse, session cache).`,
      { phase: 'data-setup', verb: error.verb, reply: error.reply, cause: error },
    );
  }

  /** @returns true where another form is left to ask in */
  #hashRefused(form: HashForm, { refused }: HashRefusal): boolean {
    // Refused for now, or for this file, says nothing about the next one.
    if (refused.code >= 400 && ![500, 501, 502, 503, 504].includes(refused.code)) return false;
    const known = this.#profile.facts.hash;
    if (known === undefined || known === 'none' || known.verb !== form.verb) return true;
    const forms = hashForms(featureMap(this.#profile.facts.features ?? []));
    // A verb that was refused is not asked in another algorithm: else two of them would take turns for ever.
    const verbs = [...new Set(forms.map(({ verb }) => verb))];
    const nextVerb = verbs[verbs.indexOf(form.verb) + 1];
    const next = forms.find(({ verb }) => verb === nextVerb);
    this.#profile.learn(
      'hash',
      next ?? 'none',
      next === undefined
        ? `${this.where} has no command for hashes that works: files are proven by their size.`
        : `${this.where} does not do ${form.verb}: ${next.verb} is used.`,
    );
    return next !== undefined;
  }

  #asksClock(): boolean {
    if (this.#profile.facts.clockOffsetMs !== undefined || this.#profile.clock === 'asked') return false;
    this.#profile.clock = 'asked';
    return true;
  }

  #learnClock(storedMs: number): void {
    const offsetMs = wholeSeconds(storedMs - Date.now());
    const seconds = Math.round(Math.abs(offsetMs) / 1000);
    if (Math.abs(offsetMs) < CLOCK_NOTICE_MS) this.#profile.note('clockOffsetMs', offsetMs);
    else
      this.#profile.learn(
        'clockOffsetMs',
        offsetMs,
        `the clock of ${this.where} is about ${seconds} s ${offsetMs > 0 ? 'ahead of' : 'behind'} this machine's.`,
      );
  }

  async #setTimeAfter(failed: SetTimeForm, path: string, modifiedMs: number): Promise<number | undefined> {
    for (const form of SET_TIME_FORMS.slice(SET_TIME_FORMS.indexOf(failed) + 1)) {
      try {
        await this.#client.setModified(path, modifiedMs, form);
        this.#profile.learn('setTime', form, `${this.where} sets modification times with ${form}.`);
        return wholeSeconds(modifiedMs);
      } catch (error) {
        if (judge(error).decision !== 'fallback') throw error;
      }
    }
    this.#profile.learn(
      'setTime',
      'none',
      `${this.where} cannot set modification times: the ledger remembers them.`,
    );
    return undefined;
  }

  #vanished(path: string): FtpError {
    return new FtpError('mismatch', `${this.where} confirmed ${path} and does not have it.`, {
      phase: 'transfer',
    });
  }
}

/**
 * What a server wants to hear before names and files travel. All of it goes out at once, except to a server without
 * FEAT: a primitive one may read no more than one command from a packet.
 *
 * @returns the login directory, where the server tells it
 */
async function prepare(
  client: FtpClient,
  features: Features | undefined,
  { client: { charset }, profile, verify }: SessionOptions,
): Promise<string | undefined> {
  const asked: Promise<unknown>[] = [];
  if (features?.has('CLNT') === true) asked.push(optional(client.introduce('ferryd')));
  if (features?.has('UTF8') === true) {
    const utf8 = charset === undefined || charset.label === 'utf-8';
    asked.push(optional(client.option(utf8 ? 'UTF8 ON' : 'UTF8 OFF')));
  }
  const { hash } = profile.facts;
  if (verify !== 'size' && hash !== undefined && hash !== 'none' && hash.verb === 'HASH') {
    asked.push(optional(client.option(`HASH ${hash.algorithm}`)));
  }
  asked.push(client.useBinary());
  if (features === undefined) await asked[0];
  const directory = unlessRefused(client.workingDirectory());
  // In the order in which they were sent, so that the first that fails is the one that is told.
  for (const one of [...asked, directory]) one.catch(() => {});
  for (const one of asked) await one;
  return directory;
}

/** What a new session's features say, as far as nothing better is known. */
function begin(profile: Profile, features: Features | undefined): void {
  profile.begin([...(features ?? [])].map(([name, words]) => `${name} ${words}`.trim()).sort());
  const { facts } = profile;
  if (facts.hash === undefined) {
    const [best] = features === undefined ? [] : hashForms(features);
    profile.note('hash', best ?? 'none');
  }
  if (features === undefined) return;
  if (!features.has('MFMT') && facts.setTime === 'MFMT') profile.note('setTime', 'MDTM');
  if (!features.has('MLST') && !features.has('MLSD')) profile.note('listing', 'LIST');
}

/** The path of a name in a directory. */
function joined(directory: string, name: string): string {
  return directory === '.' ? name : `${directory === '/' ? '' : directory}/${name}`;
}

function featureMap(features: readonly string[]): Features {
  return new Map(
    features.map((line) => {
      const space = line.indexOf(' ');
      return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    }),
  );
}

function hashingMs(sizeBytes: number): number {
  return HASHING_BEGINS_MS + Math.ceil(sizeBytes / HASHED_BYTES_PER_MS);
}

/** A feature that the server may lack. */
async function optional<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (judge(error).decision === 'fallback') return undefined;
    throw error;
  }
}

async function unlessRefused<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** The server answered and said no, for good. */
export function isRefusal(error: unknown): boolean {
  return error instanceof FtpError && error.reply !== undefined && error.reply.code >= 500;
}

/** The server's way to say that there is no such file (550; 450 on some). */
function isMissing(error: unknown): boolean {
  return error instanceof FtpError && (error.reply?.code === 550 || error.reply?.code === 450);
}

/** The file that was just stored is not there. */
function isMissingSize(error: unknown): boolean {
  return error instanceof FtpError && error.verb === 'SIZE' && isMissing(error);
}

function lacksRename(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    ['RNFR', 'RNTO'].includes(error.verb ?? '') &&
    [500, 502, 504].includes(error.reply?.code ?? 0)
  );
}

function lacksSize(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.verb === 'SIZE' &&
    error.reply?.code !== 550 &&
    judge(error).decision === 'fallback'
  );
}

/** The server has no REST, not for this command, or not at this place (451 and 501; 554 and 555). */
function lacksResume(error: unknown): boolean {
  if (!(error instanceof FtpError) || error.kind !== 'reply') return false;
  if (error.verb === 'REST') return judge(error).decision === 'fallback' || error.reply?.code === 554;
  return [451, 500, 501, 502, 504, 554, 555].includes(error.reply?.code ?? 0);
}
