/*
 * One logged-in FTP connection, with what is known of its server applied: each operation takes the form that
 * the profile names, and where failure.ts says `fallback` it takes the next form and remembers that.
 * Works on absolute server paths; directories on the way are found out, never assumed.
 */
import {
  type ClientOptions,
  type Convoy,
  FtpClient,
  type Listing,
  type Login,
  type PassiveForm,
  type SetTimeForm,
} from '../ftp/client.js';
import { FtpError } from '../ftp/errors.js';
import { judge } from './failure.js';
import type { Pooled } from './pool.js';
import type { Profile } from './profile.js';
import { wholeSeconds } from './remote.js';

export interface SessionOptions {
  readonly client: ClientOptions;
  readonly login: Login;
  readonly profile: Profile;
}

/** What the server says of one file. */
export interface FileStatus {
  readonly sizeBytes: number;
  readonly modifiedMs: number | undefined;
}

const SET_TIME_FORMS: readonly SetTimeForm[] = ['MFMT', 'MDTM', 'SITE UTIME'];

/** How many transfers in a row may fail before the command behind them is suspected. */
const STUMBLES = 2;

/** How many times of a listing are asked for in one write. */
const TIMES_AT_ONCE = 100;

export class FtpSession implements Pooled {
  readonly #client: FtpClient;
  readonly #profile: Profile;
  #hasStumbled = false;
  /** The login directory, or undefined where the server does not tell: then paths stay relative to it. */
  readonly loginDirectory: string | undefined;

  private constructor(client: FtpClient, profile: Profile, loginDirectory: string | undefined) {
    this.#client = client;
    this.#profile = profile;
    this.loginDirectory = loginDirectory;
  }

  /** Connects, logs in and prepares the session. Throws FtpError; nothing stays open then. */
  static async open(options: SessionOptions): Promise<FtpSession> {
    const { profile } = options;
    const client = await FtpClient.connect(options.client);
    try {
      await client.login(options.login);
      const features = await optional(client.features());
      if (features?.has('UTF8') === true) await optional(client.useUtf8());
      if (features !== undefined && !features.has('MFMT') && profile.facts.setTime === 'MFMT') {
        profile.facts.setTime = 'MDTM';
      }
      if (features !== undefined && !features.has('MLST') && !features.has('MLSD'))
        profile.facts.listing = 'LIST';
      await client.useBinary();
      const directory = await unlessRefused(client.workingDirectory());
      return new FtpSession(client, profile, directory?.startsWith('/') === true ? directory : undefined);
    } catch (error) {
      client.reset('the session could not be prepared');
      throw error;
    }
  }

  get where(): string {
    return this.#client.where;
  }

  get usable(): boolean {
    return !this.#client.ended;
  }

  async close(): Promise<void> {
    await this.#client.quit();
  }

  reset(): void {
    this.#client.reset('it is not needed any more');
  }

  /** Sends the chunks to a file. Returns the number of bytes sent. */
  async store(path: string, source: AsyncIterable<Buffer>, signal: AbortSignal | undefined): Promise<number> {
    return this.#withPort((passive) => this.#client.store(path, source, { passive, signal }));
  }

  /** True where this session was lost because the server stumbled over a packet; the next one takes another form. */
  get stumbled(): boolean {
    return this.#hasStumbled && !this.usable;
  }

  /** Throws FtpError of kind `argument` where a path cannot travel in a command. */
  checkPath(path: string): void {
    this.#client.checkPath(path);
  }

  /** True where the last steps of an upload can travel with a later one. */
  get convoys(): boolean {
    const { size, setTime, rename } = this.#profile.facts;
    return size === 'SIZE' && setTime !== 'none' && rename === 'overwrites';
  }

  /** The form in which `prove` sets the time, where `convoys`. */
  get timeForm(): SetTimeForm {
    const { setTime } = this.#profile.facts;
    return setTime === 'none' ? 'MFMT' : setTime;
  }

  /** As `store`, with the last steps of earlier uploads; the port is the one that the transfer before told. */
  async storeInConvoy(
    path: string,
    source: AsyncIterable<Buffer>,
    options: {
      readonly convoy: Convoy;
      readonly port: number | undefined;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<{ bytes: number; nextPort: number | undefined }> {
    const { passive, roundTrips } = this.#profile.facts;
    const asks = passive === 'EPSV' && roundTrips === 'two';
    try {
      const stored = await this.#client.storeInConvoy(path, source, {
        ...options,
        passive,
        nextPort: asks ? 'ask' : 'leave',
      });
      if (asks) this.#profile.stumbles = 0;
      return stored;
    } catch (error) {
      if (this.#turnsToPasv(error)) {
        // The convoy went with the question; only the file is left to send.
        return { bytes: await this.store(path, source, options.signal), nextPort: undefined };
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
    this.#profile.stumbles += 1;
    return error.kind === 'malformed' || this.#profile.stumbles >= STUMBLES;
  }

  settle(convoy: Convoy): void {
    this.#client.settle(convoy);
  }

  async retrieve(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    return this.#withPort((passive) => this.#client.retrieve(path, sink, { passive, signal }));
  }

  /**
   * Asks the size of a file that was just stored, and sets its time.
   *
   * @returns the size, and the time that the server took over, in whole seconds
   */
  async sizeAndSetTime(path: string, modifiedMs: number): Promise<FileStatus> {
    const { facts } = this.#profile;
    if (facts.size === 'SIZE' && facts.setTime !== 'none') {
      try {
        const form = facts.setTime;
        const { sizeBytes, timeReply } = await this.#client.sizeAndSetModified(path, modifiedMs, form);
        return { sizeBytes, modifiedMs: await this.timeAfter(timeReply, form, path, modifiedMs) };
      } catch (error) {
        this.sizeRefused(error, path);
      }
    }
    const sizeBytes = await this.size(path);
    if (sizeBytes === undefined) throw this.#vanished(path);
    return { sizeBytes, modifiedMs: await this.setTime(path, modifiedMs) };
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

  /** Renames, replacing what stands at the target. */
  async replace(from: string, to: string): Promise<void> {
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
    if (judge(error).decision !== 'fallback' || (await this.size(to)) === undefined) throw error;
    this.#profile.learn(
      'rename',
      'refuses',
      `${this.where} does not rename onto a file that exists: the old file is removed first.`,
    );
    await this.#removeAndRename(from, to);
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
  async list(path: string): Promise<Listing> {
    if (this.#profile.facts.listing === 'MLSD') {
      try {
        return await this.#withPort((passive) => this.#client.machineListing(path, { passive }));
      } catch (error) {
        if (!(error instanceof FtpError && [500, 501, 502, 504].includes(error.reply?.code ?? 0)))
          throw error;
        this.#profile.learn('listing', 'LIST', `${this.where} has no MLSD: directories are read with LIST.`);
      }
    }
    const absolute = path.startsWith('/');
    // CWD spares the odd meanings of a path in LIST, but nobody knows the way back from a relative one.
    if (absolute) await this.#client.changeDirectory(path);
    const listing = await this.#withPort((passive) =>
      this.#client.listing({ passive }, absolute || path === '.' ? undefined : path),
    );
    const files = listing.entries.filter((entry) => entry.type === 'file');
    const times = new Map<string, number | undefined>();
    for (let from = 0; from < files.length; from += TIMES_AT_ONCE) {
      const names = files.slice(from, from + TIMES_AT_ONCE).map((entry) => entry.name);
      const asked = await this.#client.modifiedAll(
        names.map((name) => (path === '.' ? name : `${path === '/' ? '' : path}/${name}`)),
      );
      names.forEach((name, place) => {
        times.set(name, asked[place]);
      });
    }
    return {
      ...listing,
      entries: listing.entries.map((entry) => ({
        ...entry,
        modifiedMs: times.get(entry.name),
      })),
    };
  }

  /** Runs a transfer in the passive form that works; EPSV is simply tried, PASV is IPv4's second choice. */
  async #withPort<T>(transfer: (passive: PassiveForm) => Promise<T>): Promise<T> {
    try {
      return await transfer(this.#profile.facts.passive);
    } catch (error) {
      if (!this.#turnsToPasv(error)) throw error;
      return transfer('PASV');
    }
  }

  /**
   * What a transfer that found no data connection says about the passive form.
   *
   * @returns true where EPSV was refused and the same session can go on with PASV
   */
  #turnsToPasv(error: unknown): boolean {
    if (!(error instanceof FtpError) || error.phase !== 'data-setup' || this.#client.isIpv6) return false;
    const form = this.#profile.facts.passive;
    if (form === 'EPSV' && judge(error).decision === 'fallback') {
      this.#profile.learn('passive', 'PASV', `${this.where} refuses EPSV: PASV is used.`);
      return true;
    }
    // The port was told, and nobody answers there: the other form may lead elsewhere (NAT), on a new connection.
    if (error.kind === 'data' || error.kind === 'timeout' || error.kind === 'malformed') {
      const other = form === 'EPSV' ? 'PASV' : 'EPSV';
      const sentence = `${this.where} was asked for a port with ${form}, and there is no way to it: ${other} is tried next.`;
      this.#profile.learn('passive', other, sentence);
    }
    return false;
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

function lacksSize(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.verb === 'SIZE' &&
    error.reply?.code !== 550 &&
    judge(error).decision === 'fallback'
  );
}
