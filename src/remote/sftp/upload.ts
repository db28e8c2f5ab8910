/*
 * One file on its way to the server:
 *
 * | step | round trips |
 * | --- | --- |
 * | OPEN of the temporary name, exclusive | 1 |
 * | WRITE of all bytes, pipelined, each acknowledged | 1, for a file that fits the window |
 * | permissions and time, fsync, FSTAT, CLOSE, and the server's hash where it tells one, in one flight | 1 |
 * | rename onto the final name | 1 |
 *
 * The rename follows only when all bytes were taken, the file was closed without complaint, and size and hash agree.
 * A small file's second and third flight are one where the server does one thing after the other. Many uploads share a
 * session; none waits for another.
 */

import type { Digest, HashAlgorithm } from '../../plan/digest.js';
import type { RelativePath } from '../../plan/entry.js';
import type { Attributes, Handle } from '../../sftp/client.js';
import { SftpError } from '../../sftp/errors.js';
import type { Directories } from '../directories.js';
import type { Ground, Names } from '../names.js';
import { isAnswer } from '../refusal.js';
import {
  type Delivered,
  type Delivery,
  type Digests,
  PartHeld,
  TemporaryRefused,
  type Trials,
} from '../remote.js';
import { type Block, BlockHasher } from './blocks.js';
import type { Errand } from './errand.js';
import { cannotMove, type Moves } from './moves.js';
import type { SftpFacts } from './profile.js';
import { HASHED_AT_ONCE_BYTES, workingMs } from './proofs.js';
import { Publisher } from './publishing.js';
import { isDenied, isMissing, isUnsupported, mayBeTaken } from './refusal.js';
import { directoryAt } from './renames.js';
import { refusedFor, spaceOf, tooLarge } from './space.js';
import { parentOf, type Standing, Tree } from './tree.js';

/** What the uploads of a remote share. */
export interface UploadShared {
  readonly directories: Directories;
  readonly moves: Moves;
  readonly names: Names;
  readonly ground: (errand: Errand) => Ground;
  readonly trials: Trials | undefined;
}

/**
 * A short part is sent again sooner than it is proven, so that it does no harm to settle it ahead of the answers; and
 * room is asked for before more than this is sent.
 */
const LARGE_BYTES = 1024 * 1024;

/** Times on the wire are 32 bits without a sign. */
const LAST_SECOND = 0xffffffff;

/** FAT keeps times to two seconds. */
const COARSE_S = 2;

/** What was sent, with what is known of it on this side. */
interface Sent {
  readonly handle: Handle;
  readonly digests: Digests;
  /** What the second of the digests was computed with. */
  readonly also: HashAlgorithm | undefined;
  /** Of what was sent this time, where the server is asked for hashes piece by piece. */
  readonly blocks: readonly Block[];
  /** Where it was asked behind the last bytes already. */
  readonly asked: Asked | undefined;
}

/** All that is left to be done to the open file and asked of it, on its way in one flight. */
interface Asked {
  /** What was known of the server when it was asked. */
  readonly facts: Readonly<SftpFacts>;
  readonly mode: number | undefined;
  readonly times: Times | undefined;
  /** Whether it was asked what stands under the final name. */
  readonly final: 'asked' | 'not-asked';
  readonly answers: Promise<Answers>;
}

interface Answers {
  readonly chmod: PromiseSettledResult<void>;
  readonly setTime: PromiseSettledResult<void>;
  readonly fsync: PromiseSettledResult<void>;
  readonly stat: PromiseSettledResult<Attributes>;
  readonly close: PromiseSettledResult<void>;
  readonly digest: PromiseSettledResult<Digest | undefined>;
  readonly final: PromiseSettledResult<Attributes | undefined>;
}

interface Times {
  readonly accessedS: number;
  readonly modifiedS: number;
}

/** What the server says of what was sent. */
interface Held {
  readonly modifiedMs: number | undefined;
  readonly digest: Digest | undefined;
  /** What stands under the final name, where that was asked. */
  readonly standing: Standing | undefined;
}

export class Upload {
  readonly #errand: Errand;
  readonly #delivery: Delivery;
  readonly #shared: UploadShared;
  readonly #publisher: Publisher;
  /** Server paths. */
  readonly #temporary: string;
  readonly #final: string;

  constructor(errand: Errand, delivery: Delivery, shared: UploadShared) {
    this.#errand = errand;
    this.#delivery = delivery;
    this.#shared = shared;
    this.#publisher = new Publisher(errand, shared);
    this.#temporary = errand.on(delivery.temporary);
    this.#final = errand.on(delivery.path);
  }

  /** Delivers the file. What is thrown is the contract's `deliver`'s. */
  async run(): Promise<Delivered> {
    const { source, path, aside, part } = this.#delivery;
    const { names, ground } = this.#shared;
    this.#unlessInVain();
    if (names.areOdd(path)) await names.prove(path, ground(this.#errand));
    if (aside !== undefined && this.#isInPlace) await this.#unlessOverwritten();
    const room = await this.#errand.session.room(source.sizeBytes, this.#errand.signal);
    const { fromByte, sent } = await this.#sendRest().finally(room);
    const held = await this.#settle(sent, fromByte);
    if (!this.#isProven(fromByte)) await this.#proveContent(sent, held.digest, fromByte);
    const { digests } = sent;
    const before = await this.#publisher.publish({
      ...this.#delivery,
      aside,
      part,
      standing: held.standing,
      isAt: (place) => this.#isAt(place, digests),
    });
    const { modifiedMs } = held;
    const setAside = before === 'set-aside';
    return { bytes: source.sizeBytes, fromByte, sha256: digests.sha256, modifiedMs, setAside };
  }

  /** Sends what is not there yet. */
  async #sendRest(): Promise<{ readonly fromByte: number; readonly sent: Sent }> {
    const fromByte = await this.#provenPart();
    return { fromByte, sent: await this.#send(fromByte) };
  }

  /** True where all of it lay there before, and was proven then. */
  #isProven(fromByte: number): boolean {
    return fromByte > 0 && fromByte === this.#delivery.source.sizeBytes && !this.#errand.proofs.trustsSize;
  }

  /** True where the server cannot rename, so that the file is written under its final name. */
  get #isInPlace(): boolean {
    return this.#temporary === this.#final;
  }

  /** A delivery that was named before it was known that the server does not rename would only leave a part there. */
  #unlessInVain(): void {
    if (this.#isInPlace || this.#publisher.possible) return;
    throw new TemporaryRefused(
      `${this.#errand.where} cannot rename: ${this.#delivery.path} is written under its final name.`,
    );
  }

  /** What would be written over cannot be moved; the first bytes of this very content are no loss. */
  async #unlessOverwritten(): Promise<void> {
    const { part, source, path } = this.#delivery;
    const { tree, proofs, where } = this.#errand;
    const standing = await tree.look(this.#final);
    if (standing === undefined) return;
    const bytes = standing.type === 'file' ? standing.sizeBytes : undefined;
    if (part === 'possible' && bytes !== undefined && bytes <= source.sizeBytes) {
      const back = await proofs.readBack(this.#final);
      if (back !== 'refused' && back.bytes === bytes) {
        const { algorithm, hex } = back.digest;
        if ((await this.#digestOf(bytes, algorithm)) === hex) return;
      }
    }
    throw cannotMove(path, where);
  }

  /**
   * How many bytes of the file lie under its temporary name already, proven: by the server's hash, or by reading them
   * back. What cannot be proven counts for nothing.
   */
  async #provenPart(): Promise<number> {
    const { part, source } = this.#delivery;
    // Under a final name an older file of the same size may stand.
    if (part === 'none' || this.#isInPlace) return 0;
    const there = await this.#errand.tree.file(this.#temporary);
    const bytes = there?.sizeBytes ?? 0;
    if (bytes === 0 || bytes > source.sizeBytes) return 0;
    if (bytes < source.sizeBytes) {
      if (bytes < LARGE_BYTES || this.#errand.session.profile.facts.resumeUpload === 'none') return 0;
    } else if (this.#errand.proofs.trustsSize) {
      return bytes;
    }
    return (await this.#isPart(bytes)) ? bytes : 0;
  }

  async #isPart(bytes: number): Promise<boolean> {
    const { proofs } = this.#errand;
    const told = await proofs.hash(this.#temporary, bytes);
    if (told !== undefined) return (await this.#digestOf(bytes, told.algorithm)) === told.hex;
    if (bytes > HASHED_AT_ONCE_BYTES && proofs.algorithm !== undefined) {
      const agreement = await proofs.agrees(this.#temporary, await this.#blocksOf(bytes));
      if (agreement !== 'unsaid') return agreement === 'yes';
    }
    const back = await proofs.readBack(this.#temporary);
    if (back === 'refused' || back.bytes !== bytes) return false;
    return (await this.#digestOf(bytes, back.digest.algorithm)) === back.digest.hex;
  }

  /** What the first bytes have to have. */
  #digestOf(bytes: number, algorithm: HashAlgorithm): Promise<string> {
    return this.#errand.heed(this.#delivery.source.digestOf(bytes, algorithm));
  }

  /** The digests of the first bytes, piece by piece. */
  async #blocksOf(bytes: number): Promise<readonly Block[]> {
    const hasher = this.#hasher(0);
    let left = bytes;
    for await (const chunk of this.#delivery.source.chunks()) {
      this.#errand.signal?.throwIfAborted();
      const piece = chunk.subarray(0, left);
      hasher?.update(piece);
      left -= piece.length;
      if (left === 0) break;
    }
    return hasher?.end() ?? [];
  }

  #hasher(fromByte: number): BlockHasher | undefined {
    const { algorithm } = this.#errand.proofs;
    const place = { fromByte, blockBytes: HASHED_AT_ONCE_BYTES };
    return algorithm === undefined ? undefined : new BlockHasher(algorithm, place);
  }

  /** Sends the bytes from there on; the file stays open. */
  async #send(fromByte: number): Promise<Sent> {
    const { source, path } = this.#delivery;
    const { proofs, signal } = this.#errand;
    const rest = source.sizeBytes - fromByte;
    const room = rest > LARGE_BYTES ? this.#room() : undefined;
    const handle = fromByte > 0 ? await this.#reopen(rest === 0 ? 'all' : 'part') : await this.#create();
    const hasher = source.sizeBytes > HASHED_AT_ONCE_BYTES ? this.#hasher(fromByte) : undefined;
    const reading = { fromByte, also: proofs.algorithm };
    try {
      const lack = tooLarge(await room, { path, bytes: rest }, this.#errand.where);
      if (lack !== undefined) {
        // Nothing is in it yet.
        if (fromByte === 0) await this.#errand.tree.remove(this.#temporary).catch(() => {});
        throw lack;
      }
      // Where all had arrived before, it is only read, for its digests.
      let asked: Asked | undefined;
      const onSent = (): void => {
        if (this.#errand.session.client.isSerial && source.sizeBytes <= LARGE_BYTES)
          asked = this.#ask(handle, 'hash');
      };
      if (rest === 0 && fromByte > 0) for await (const _ of source.chunks(reading)) signal?.throwIfAborted();
      else await handle.upload(watched(source.chunks(reading), hasher), { fromByte, signal, onSent });
      const digests = await source.confirm();
      return { handle, digests, also: reading.also, blocks: hasher?.end() ?? [], asked };
    } catch (error) {
      await this.#errand.closeAfter(handle);
      throw await this.#notTaken(error, fromByte);
    }
  }

  #room(): ReturnType<typeof spaceOf> {
    const asked = spaceOf(this.#errand, parentOf(this.#temporary) ?? '.');
    // The file may be refused before anybody waits for this.
    asked.catch(() => {});
    return asked;
  }

  /** A part that lies there, and was proven. All of it may have the permissions already that nobody may write with. */
  async #reopen(part: 'part' | 'all'): Promise<Handle> {
    const { client } = this.#errand.session;
    const { signal, where } = this.#errand;
    const open = (access: 'read' | 'write'): Promise<Handle> =>
      client.open(this.#temporary, { access, signal });
    try {
      return await open('write');
    } catch (error) {
      if (!isAnswer(error)) throw error;
      if (part === 'all') {
        const handle = await open('read').catch((refusal: unknown) => {
          if (!isAnswer(refusal)) throw refusal;
        });
        if (handle !== undefined) return handle;
      }
      throw new PartHeld(
        `${where} does not open what an earlier attempt has left of ${this.#delivery.path}: the file is sent anew. ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  /**
   * A new file under the temporary name. The directory is nearly always there: only when the server refuses is it
   * looked after.
   */
  async #create(): Promise<Handle> {
    const { directories, names, ground } = this.#shared;
    const { session } = this.#errand;
    const known = directories.knowsParentOf(this.#temporary);
    try {
      const handle = await this.#open();
      names.temporaryTaken();
      return handle;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      let refusal: unknown = error;
      if (isMissing(error) || mayBeTaken(error)) {
        // For all who wait for it: no signal of one of them ends that.
        const made = await this.#errand
          .heed(directories.makeParentOf(this.#temporary, known, new Tree(session, undefined)))
          .catch(async (cause: unknown) => {
            const parent = parentOfRelative(this.#delivery.temporary);
            if (isAnswer(cause) && parent !== '') await this.#errand.unlessFile(parent, cause);
            throw cause;
          });
        if (made === 'made') {
          try {
            const handle = await this.#open();
            names.temporaryTaken();
            return handle;
          } catch (again) {
            if (!isAnswer(again)) throw again;
            refusal = again;
          }
        }
      }
      await names.temporaryRefused(this.#delivery, ground(this.#errand), this.#temporary);
      throw await this.#refusedFor(refusal);
    }
  }

  /**
   * Opens a file that was not there before, so that no link that was put under its name is ever followed. A leftover
   * is removed first: a session that was cut off and has not noticed may still write into it.
   */
  async #open(): Promise<Handle> {
    const { client } = this.#errand.session;
    const { signal, tree } = this.#errand;
    const options = { mode: this.#mode, signal };
    try {
      return await client.open(this.#temporary, { ...options, access: 'exclusive' });
    } catch (error) {
      // mod_sftp says of a link that leads nowhere that it may not be opened.
      if (!mayBeTaken(error) && !isDenied(error)) throw error;
      const there = await tree.look(this.#temporary);
      if (there === undefined) throw error;
      const type = there.type;
      if (type === 'directory' || type === 'other') throw this.#inTheWay(error);
      if (this.#isInPlace && type !== 'link')
        return client.open(this.#temporary, { ...options, access: 'truncate' });
      try {
        await tree.remove(this.#temporary);
      } catch (refusal) {
        // An account that may write and not delete writes over the leftover.
        if (!isAnswer(refusal) || type === 'link') throw refusal;
        return client.open(this.#temporary, { ...options, access: 'truncate' });
      }
      return client.open(this.#temporary, { ...options, access: 'exclusive' });
    }
  }

  /** Never wider than what it will have in the end; and its owner can go on with it. */
  get #mode(): number | undefined {
    const { permissions } = this.#delivery;
    return permissions === undefined ? undefined : (permissions & 0o777) | 0o600;
  }

  /** Asks all that is left, in one flight; does not wait for it. */
  #ask(handle: Handle, proof: 'hash' | 'no-hash'): Asked {
    const { source, permissions, aside } = this.#delivery;
    const { session, signal, tree, proofs } = this.#errand;
    const facts = { ...session.profile.facts };
    const options = { signal };
    const seconds = Math.floor(source.modifiedMs / 1000);
    const times =
      seconds < 0 || seconds > LAST_SECOND
        ? undefined
        : { accessedS: Math.min(LAST_SECOND, Math.floor(Date.now() / 1000)), modifiedS: seconds };
    const mode = permissions === undefined ? undefined : permissions & 0o777;
    const final = aside !== undefined || !(session.replacesLinks || this.#isInPlace) ? 'asked' : 'not-asked';
    const syncs = session.client.has('fsync@openssh.com') && facts.fsync === 'works';
    const answers = Promise.allSettled([
      mode !== undefined && facts.chmod === 'handle' ? handle.setstat({ mode }, options) : undefined,
      times !== undefined && facts.setTime === 'handle' ? handle.setstat({ times }, options) : undefined,
      syncs ? handle.fsync({ signal, workingMs: workingMs(source.sizeBytes) }) : undefined,
      handle.stat(options),
      this.#errand.heed(handle.close()),
      proof === 'hash' ? proofs.hash(this.#temporary, source.sizeBytes) : undefined,
      final === 'asked' ? tree.look(this.#final) : undefined,
    ] as const).then(([chmod, setTime, fsync, stat, close, digest, there]) => ({
      chmod,
      setTime,
      fsync,
      stat,
      close,
      digest,
      final: there,
    }));
    return { facts, mode, times, final, answers };
  }

  /** All that is left to be done to the open file and asked of it, and what comes of it. */
  async #settle({ handle, blocks, asked }: Sent, fromByte: number): Promise<Held> {
    const { tree } = this.#errand;
    const proof = blocks.length > 0 || this.#isProven(fromByte) ? 'no-hash' : 'hash';
    const { facts, mode, times, final: asksFinal, answers } = asked ?? this.#ask(handle, proof);
    const { chmod, setTime, fsync, stat, close, digest, final } = await answers;
    for (const end of [close, stat, chmod, setTime, fsync, digest, final])
      if (end.status === 'rejected' && !isAnswer(end.reason) && !isUnsupported(end.reason)) throw end.reason;
    if (fsync.status === 'rejected') await this.#notSynced(fsync.reason);
    if (close.status === 'rejected') throw await this.#refusedFor(close.reason);
    await this.#proveSize(stat.status === 'fulfilled' ? stat.value : undefined, fromByte);
    if (mode !== undefined && (chmod.status === 'rejected' || facts.chmod !== 'handle'))
      await this.#setMode(mode);
    const told = stat.status === 'fulfilled' ? stat.value.modifiedS : undefined;
    const held = setTime.status === 'fulfilled' && facts.setTime === 'handle' ? told : 'unset';
    return {
      modifiedMs: times === undefined ? undefined : await this.#timeHeld(times, held),
      digest: digest.status === 'fulfilled' ? digest.value : undefined,
      standing:
        asksFinal === 'not-asked' || final.status === 'rejected'
          ? undefined
          : await tree.standingOf(this.#final, final.value),
    };
  }

  /** Some file systems have no fsync; a disk that fails it has lost what was sent. */
  async #notSynced(error: unknown): Promise<void> {
    if (!isUnsupported(error) && !isInvalid(error)) throw await this.#refusedFor(error);
    this.#errand.session.profile.learn(
      'fsync',
      'none',
      `${this.#errand.where} cannot make sure that files are on its disk (fsync): they are when its system writes them.`,
    );
  }

  /**
   * By the handle; and where that does not agree, as with servers that store a file when it is closed, by the path.
   *
   * @throws {SftpError} `mismatch`
   */
  async #proveSize(told: Attributes | undefined, fromByte: number): Promise<void> {
    const { source, path } = this.#delivery;
    // What was gone on with was opened by its name.
    if (fromByte === 0 && told?.sizeBytes === source.sizeBytes) return;
    const found = await this.#errand.tree.file(this.#temporary);
    if (found?.sizeBytes === source.sizeBytes) return;
    this.#doubtPart(fromByte);
    throw this.#mismatch(
      found === undefined
        ? `${this.#errand.where} confirmed ${path} and does not have it.`
        : `${this.#errand.where} confirmed ${path} with ${found.sizeBytes ?? 'an unknown number of'} bytes, and it has ${source.sizeBytes}.`,
    );
  }

  async #setMode(mode: number): Promise<void> {
    const { client, profile } = this.#errand.session;
    if (profile.facts.chmod === 'none') return;
    try {
      await client.setstat(this.#temporary, { mode }, { signal: this.#errand.signal });
      profile.note('chmod', 'path');
    } catch (error) {
      if (!isAnswer(error)) throw error;
      profile.learn(
        'chmod',
        'none',
        `${this.#errand.where} does not set permissions: files have those that it gives them.`,
      );
    }
  }

  /**
   * @param told the time that the file had when it was closed; `unset` where the setting was refused, or is done by the
   *   path
   * @returns the time that the file has, or undefined where the server does not take one over
   */
  async #timeHeld(times: Times, told: number | undefined | 'unset'): Promise<number | undefined> {
    const { client, profile } = this.#errand.session;
    const { tree, where, signal } = this.#errand;
    const isIt = (seconds: number): boolean => Math.abs(seconds - times.modifiedS) <= COARSE_S;
    if (profile.facts.setTime === 'none') return undefined;
    if (told === undefined) return times.modifiedS * 1000;
    if (told !== 'unset') {
      if (isIt(told)) return told * 1000;
      // Closing it may have changed that.
      const after = (await tree.file(this.#temporary))?.modifiedS;
      if (after !== undefined && isIt(after)) return after * 1000;
    }
    try {
      await client.setstat(this.#temporary, { times }, { signal });
      const after = (await tree.file(this.#temporary))?.modifiedS;
      if (after === undefined || isIt(after)) {
        profile.note('setTime', 'path');
        return (after ?? times.modifiedS) * 1000;
      }
    } catch (error) {
      if (!isAnswer(error)) throw error;
    }
    profile.learn('setTime', 'none', `${where} cannot set modification times: the ledger remembers them.`);
    return undefined;
  }

  /**
   * Proves the bytes: by the server's hash, and where that does not agree, or is not to be had and has to be, by reading
   * them back. Some servers' hashes are wrong, and then the file is not to blame.
   *
   * @throws {SftpError} `mismatch` where the server holds other bytes, or does not let anybody see which
   */
  async #proveContent(sent: Sent, told: Digest | undefined, fromByte: number): Promise<void> {
    const { path, source } = this.#delivery;
    const { proofs, where } = this.#errand;
    if (source.sizeBytes === 0) return;
    const agreement =
      sent.blocks.length > 0
        ? await proofs.agrees(this.#temporary, sent.blocks)
        : await this.#agrees(sent, told);
    if (agreement === 'yes' || (agreement === 'unsaid' && !proofs.wantsHash)) return;
    const back = await proofs.readBack(this.#temporary);
    if (back === 'refused') {
      const why =
        agreement === 'no'
          ? 'tells another hash of it than that of what was sent'
          : 'tells no hashes (verify: hash asks for one; verify: auto does without)';
      throw this.#mismatch(`${where} lets nobody read ${path} back, and ${why}.`);
    }
    if (back.digest.hex !== sent.digests.sha256) {
      this.#doubtPart(fromByte);
      throw this.#mismatch(`${where} confirmed ${path} and holds other bytes than were sent.`);
    }
    if (agreement === 'no') proofs.distrustHashes();
  }

  async #agrees({ digests, also }: Sent, told: Digest | undefined): Promise<'yes' | 'no' | 'unsaid'> {
    if (told === undefined) return 'unsaid';
    const { source } = this.#delivery;
    const known =
      told.algorithm === 'SHA-256' ? digests.sha256 : told.algorithm === also ? digests.also : undefined;
    const ours = known ?? (await this.#digestOf(source.sizeBytes, told.algorithm));
    return told.hex === ours ? 'yes' : 'no';
  }

  /** Whether a file of just these bytes stands there. */
  async #isAt(place: string, digests: Digests): Promise<boolean> {
    const { tree, proofs } = this.#errand;
    const { source } = this.#delivery;
    if ((await tree.file(place))?.sizeBytes !== source.sizeBytes) return false;
    const back = await proofs.readBack(place);
    return back !== 'refused' && back.digest.hex === digests.sha256;
  }

  /** What becomes of an error while the bytes were on their way. */
  async #notTaken(error: unknown, fromByte: number): Promise<unknown> {
    if (!isAnswer(error)) return error;
    const refusal = await this.#refusedFor(error);
    if (refusal === error) this.#doubtPart(fromByte);
    return refusal;
  }

  #refusedFor(error: unknown): Promise<unknown> {
    const { path } = this.#delivery;
    return refusedFor(error, { path, directory: parentOf(this.#temporary) ?? '.' }, this.#errand);
  }

  /** A part that was proven and gone on with, and did not become the file. */
  #doubtPart(fromByte: number): void {
    if (fromByte === 0 || fromByte === this.#delivery.source.sizeBytes) return;
    this.#errand.session.profile.learn(
      'resumeUpload',
      'none',
      `${this.#errand.where} cannot go on with an upload that was cut off: such files are sent from the beginning.`,
    );
  }

  #inTheWay(cause: unknown): SftpError {
    const { temporary, path } = this.#delivery;
    if (this.#isInPlace) return directoryAt(path, this.#errand.where, cause);
    return new SftpError(
      'argument',
      `${this.#errand.where} has something at ${temporary} that is no file, so ${path} cannot be written there. Have it removed.`,
      { phase: 'request', request: 'OPEN', cause },
    );
  }

  #mismatch(message: string): SftpError {
    return new SftpError('mismatch', message, { phase: 'transfer', request: 'WRITE' });
  }
}

/** The chunks as they come, hashed on their way. */
async function* watched(
  chunks: AsyncIterable<Buffer>,
  hasher: BlockHasher | undefined,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    hasher?.update(chunk);
    yield chunk;
  }
}

/** OpenSSH's word for what a file system does not do (EINVAL). */
function isInvalid(error: unknown): boolean {
  return error instanceof SftpError && error.status?.code === 5;
}

function parentOfRelative(path: RelativePath): RelativePath | '' {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
