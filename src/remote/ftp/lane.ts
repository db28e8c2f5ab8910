/*
 * A lane: uploads on one connection, one behind the other, the last steps of each in the packet of a later one.
 * While file n is sent, n-1 is proven and n-2 is renamed, so a small file costs the round trips of its data connection
 * (two; three at vsftpd, which lingers at its end) and is proven all the same: a rename follows only a final reply, the
 * right size and, where the server tells one, the right hash.
 *
 * | stage | what is known | the next step travels |
 * | --- | --- | --- |
 * | sent | the data ended and the final reply came | permissions, SIZE, hash and time: with the next STOR |
 * | proven | what the server holds is what was sent | RNFR, RNTO: with the STOR after that |
 * | published | it stands under its final name | - |
 *
 * Where what stands under the final name is to be moved aside, the SIZE of that name is asked with the proof, and only
 * a file that finds the name free is renamed in a packet.
 *
 * What a packet cannot settle (a time form or a rename that the server refuses, a hash that does not agree) is settled
 * by single commands before the next packet. When the connection is lost, every file in the lane is told so, and
 * whoever sent it finds out from the remote what became of it.
 */
import type { Convoy, Proof, ProveStep, Settled } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import type { Digest } from '../../plan/digest.js';
import type { Directories } from '../directories.js';
import { judge } from '../failure.js';
import { isRefusal } from '../refusal.js';
import { PartHeld, TemporaryRefused, wholeSeconds } from '../remote.js';
import { Asides, type Before, isFree } from './aside.js';
import type { Moves } from './moves.js';
import type { FtpNames } from './names.js';
import type { Passage, Proven, Sent } from './passage.js';
import type { Held } from './proofs.js';
import type { FtpSession } from './session.js';

/** What became of permissions; `open` where they were refused for now. */
type Permissions = 'set' | 'refused' | 'open';

/** A file that takes its time must not keep those before it from their final names, nor wait for those behind it. */
const LARGE_BYTES = 1024 * 1024;

export class Lane {
  readonly #session: FtpSession;
  readonly #directories: Directories;
  readonly #names: FtpNames;
  readonly #asides: Asides;
  #sent: Sent | undefined;
  #proven: Proven | undefined;
  /** For the next data connection, told behind the last STOR. */
  #port: number | undefined;
  /** What has to be done by single commands before the next packet. */
  #repairs: (() => Promise<void>)[] = [];

  constructor(
    session: FtpSession,
    shared: { readonly directories: Directories; readonly names: FtpNames; readonly moves: Moves },
  ) {
    this.#session = session;
    this.#directories = shared.directories;
    this.#names = shared.names;
    this.#asides = new Asides(session, shared.moves);
  }

  /**
   * Sends one file; those before it move on by one stage. Never rejects: each file hears its own end.
   *
   * @returns `again` where the file has heard nothing yet, because the server stumbled over the packet and not over
   *   the file: another session has to send it
   */
  async carry(passage: Passage): Promise<'moved' | 'again'> {
    const { delivery } = passage;
    const large = delivery.source.sizeBytes > LARGE_BYTES;
    const odd = this.#names.areOdd(delivery.path);
    if (large || odd || delivery.part === 'possible') await this.settle();
    try {
      this.#session.checkPath(passage.final);
      this.#session.checkPath(passage.temporary);
      this.#unlessInVain(passage);
      if (odd) {
        // Looking takes a listing, which uses the port up that was told.
        this.#port = undefined;
        await this.#names.prove(delivery.path, this.#session);
      }
      if (passage.aside !== undefined && passage.temporary === passage.final) {
        this.#port = undefined;
        await this.#asides.unlessOverwritten(passage);
      }
      this.#sent = await this.#sendFrom(passage, await this.#provenPart(passage));
    } catch (error) {
      if (this.#session.uploads.stumbled) return 'again';
      passage.reject(this.#isHeld(passage, error) ? this.#held(passage, error) : error);
    }
    if (large) await this.settle();
    return 'moved';
  }

  /** A session that was cut off without a word keeps its file locked for minutes on some servers (vsftpd). */
  #isHeld({ delivery }: Passage, error: unknown): boolean {
    const part = delivery.part === 'possible' && delivery.temporary !== delivery.path;
    return part && error instanceof FtpError && error.unanswered;
  }

  #held({ delivery }: Passage, cause: unknown): PartHeld {
    return new PartHeld(
      `${this.#session.where} does not open what an earlier attempt has left of ${delivery.path}, as if that were still under way: the file is sent anew.`,
      { cause },
    );
  }

  /** A delivery that was named before it was known that the server does not rename would only leave a part there. */
  #unlessInVain({ temporary, final, delivery }: Passage): void {
    if (temporary === final || this.#session.tree.renames) return;
    throw new TemporaryRefused(
      `${this.#session.where} cannot rename: ${delivery.path} is written under its final name.`,
    );
  }

  /** Brings every file in the lane to its end. */
  async settle(): Promise<void> {
    while (this.#sent !== undefined || this.#proven !== undefined) {
      const { convoy, heard } = this.#convoy();
      if (convoy.publish !== undefined || convoy.prove !== undefined) this.#session.uploads.settle(convoy);
      await heard;
      await this.#repair();
    }
  }

  /**
   * How many bytes of the file lie under its temporary name already, proven: by the server's hash, or by reading them
   * back. What cannot be proven, as where uploads may not be read, counts for nothing: it is removed, and sent again.
   */
  async #provenPart(passage: Passage): Promise<number> {
    const { delivery, temporary } = passage;
    // Under a final name an older file of the same size may stand.
    if (delivery.part === 'none' || delivery.temporary === delivery.path) return 0;
    const there = await this.#session.tree.size(temporary);
    if (there === undefined) return 0;
    const fromByte = await this.#provenBytes(passage, there);
    if (fromByte === 0) await this.#removePart(temporary);
    return fromByte;
  }

  async #provenBytes({ delivery, temporary, signal }: Passage, there: number): Promise<number> {
    const { source } = delivery;
    const session = this.#session;
    if (source.sizeBytes === 0 || there > source.sizeBytes) return 0;
    if (there < source.sizeBytes) {
      // A short part is sent again sooner than it is proven.
      if (there < LARGE_BYTES || !session.uploads.resumesUploads) return 0;
    } else if (session.proofs.trustsSize) {
      return there;
    }
    const claim =
      (await session.proofs.hash(temporary, there)) ?? (await session.downloads.readBack(temporary, signal));
    if (claim === 'refused') return 0;
    return (await source.digestOf(there, claim.algorithm)) === claim.hex ? there : 0;
  }

  /**
   * A file that is sent again must not go onto the one that is there. A session that was cut off and has not noticed
   * may hold it locked; vsftpd empties a file only once it has the lock, so of two who wait for it the one that was
   * given up long ago would empty what the other has delivered. Under a name made anew nobody waits.
   */
  async #removePart(temporary: string): Promise<void> {
    try {
      await this.#session.tree.remove(temporary);
    } catch (error) {
      // An account that may write and not delete sends it onto the part.
      if (!isRefusal(error)) throw error;
    }
  }

  async #sendFrom(passage: Passage, fromByte: number): Promise<Sent> {
    if (fromByte === 0) return this.#sendWithParent(passage);
    const { delivery, temporary, signal } = passage;
    const { source } = delivery;
    const reading = { fromByte, also: this.#session.proofs.hashAlgorithm };
    if (fromByte === source.sizeBytes) {
      // All had arrived before the connection was lost: it is only read, for its digests.
      for await (const _ of source.chunks(reading));
      return { passage, digests: await source.confirm(), fromByte };
    }
    this.#port = undefined;
    const end = await this.#session.uploads.storeRest(
      temporary,
      () => source.chunks(reading),
      fromByte,
      signal,
    );
    if (end === 'restart') return this.#sendWithParent(passage);
    return { passage, digests: await source.confirm(), fromByte };
  }

  /**
   * STOR first: the directory is nearly always there, and one that most likely is not is made in the same packet. Only
   * when the server refuses is the parent looked after, and the file sent once more.
   */
  async #sendWithParent(passage: Passage): Promise<Sent> {
    const { temporary } = passage;
    const known = this.#directories.knowsParentOf(temporary);
    try {
      return await this.#send(passage);
    } catch (error) {
      if (!isAboutFile(error)) throw error;
      const parent = await this.#directories.makeParentOf(temporary, known, this.#session.tree);
      let refusal = error;
      if (parent === 'made') {
        try {
          return await this.#send(passage);
        } catch (again) {
          if (!isAboutFile(again)) throw again;
          refusal = again;
        }
      }
      await this.#names.temporaryRefused(passage.delivery, this.#session, temporary);
      throw refusal;
    }
  }

  async #send(passage: Passage): Promise<Sent> {
    const { source } = passage.delivery;
    const port = this.#port;
    this.#port = undefined;
    const reading = { also: this.#session.proofs.hashAlgorithm };
    const missing = this.#missingDirectory(passage);
    const { convoy, heard } = this.#convoy();
    try {
      const { nextPort } = await this.#session.uploads.storeInConvoy(
        passage.temporary,
        () => source.chunks(reading),
        { convoy: { ...convoy, make: this.#making(missing) }, port, signal: passage.signal },
      );
      this.#port = nextPort;
      if (missing !== undefined) this.#directories.found(missing);
      this.#names.temporaryTaken();
      return { passage, digests: await source.confirm(), fromByte: 0 };
    } finally {
      // Where a 421 ends both, this file may hear of it before those whose last steps went with it; and nobody would
      // come back for what they leave to mend.
      await heard;
      await this.#repair();
    }
  }

  #missingDirectory({ delivery, temporary }: Passage): string | undefined {
    if (!this.#session.uploads.convoys || this.#names.areOdd(delivery.path)) return undefined;
    return this.#directories.missingParentOf(temporary);
  }

  /** Where it is refused the directory may be there, and STOR tells. */
  #making(directory: string | undefined): Convoy['make'] {
    if (directory === undefined) return undefined;
    const settled = ({ ok }: Settled<void>): void => {
      if (ok) this.#directories.found(directory);
    };
    return { directory, settled };
  }

  /**
   * Takes the files in the lane one stage on. Where the server lacks something that the packet needs, single
   * commands do it.
   *
   * @returns what travels, and a promise that resolves when each step has heard its end; it never rejects
   */
  #convoy(): { readonly convoy: Convoy; readonly heard: Promise<void> } {
    const sent = this.#sent;
    const proven = this.#proven;
    this.#sent = undefined;
    this.#proven = undefined;
    if (!this.#session.uploads.convoys) {
      if (proven !== undefined) this.#repairs.push(() => this.#publishAlone(proven));
      if (sent !== undefined) this.#repairs.push(() => this.#proveAlone(sent));
      return { convoy: {}, heard: Promise.resolve() };
    }
    let open = (proven === undefined ? 0 : 1) + (sent === undefined ? 0 : 1);
    let over: () => void = () => {};
    const heard = new Promise<void>((resolve) => {
      over = resolve;
    });
    const hear = (): void => {
      open -= 1;
      if (open === 0) over();
    };
    if (open === 0) over();
    const publish = proven && {
      from: proven.passage.temporary,
      to: proven.passage.final,
      settled: (end: Settled<void>) => {
        this.#published(proven, end);
        hear();
      },
    };
    return { convoy: { publish, prove: sent && this.#proof(sent, hear) }, heard };
  }

  #proof(sent: Sent, heard: () => void): Convoy['prove'] {
    const { temporary, final, aside, delivery } = sent.passage;
    const { modifiedMs, sizeBytes } = delivery.source;
    const step = {
      ...this.#session.proofs.proofOf(temporary, modifiedMs, sizeBytes, delivery.permissions),
      other: aside === undefined ? undefined : final,
    };
    return {
      ...step,
      settled: (end) => {
        this.#proved(sent, step, end);
        heard();
      },
    };
  }

  #published(proven: Proven, end: Settled<void>): void {
    if (end.ok) {
      this.#session.tree.renamed();
      done(proven, 'overwritten');
    } else
      this.#mend(proven.passage, end.error, async ({ tree }, { temporary, final, aside }) => {
        if (aside === undefined) {
          await tree.replaceAfter(end.error, temporary, final);
          done(proven, 'overwritten');
        } else {
          // Something came to stand there since it was looked.
          await tree.occupiedAfter(end.error, temporary, final);
          done(proven, await this.#asides.publish(proven, aside));
        }
      });
  }

  #proved(sent: Sent, step: ProveStep, end: Settled<Proof>): void {
    const { passage } = sent;
    if (!end.ok) {
      this.#mend(passage, end.error, async (session) => {
        session.proofs.sizeRefused(end.error, passage.temporary);
        await this.#proveAlone(sent);
      });
      return;
    }
    const { sizeBytes, timeReply } = end.value;
    const { modifiedMs } = passage.delivery.source;
    const digest = this.#session.proofs.hear(step, end.value);
    const timeSet = timeReply.code >= 200 && timeReply.code < 300 && timeReply.code !== 202;
    if (sizeBytes !== passage.delivery.source.sizeBytes) {
      passage.reject(this.#sizeDiffers(sent, sizeBytes));
      return;
    }
    const permissions = becameOf(end.value.permissionsReply);
    if (permissions === 'refused') this.#session.attributes.noPermissions();
    // An attempt before may have moved aside what stood there: single commands find that out.
    const { part, aside } = passage.delivery;
    const free = isFree(end.value.otherReply) && (aside === undefined || part === 'none');
    if (timeSet && free && permissions !== 'open' && this.#agrees(sent, digest) === 'yes') {
      this.#proven = { ...sent, modifiedMs: wholeSeconds(modifiedMs) };
    } else {
      this.#mend(passage, undefined, async (session) => {
        await this.#proveContent(sent, digest);
        const held = timeSet
          ? wholeSeconds(modifiedMs)
          : await session.attributes.timeAfter(timeReply, step.form, passage.temporary, modifiedMs);
        if (permissions === 'open') await this.#setPermissions(passage);
        await this.#publishAlone({ ...sent, modifiedMs: held });
      });
    }
  }

  /** Whether the server's hash is that of what was sent; `unsaid` where only the size speaks and that is not enough. */
  #agrees({ digests }: Sent, claim: Digest | undefined): 'yes' | 'no' | 'unsaid' {
    const ours = claim?.algorithm === 'SHA-256' ? digests.sha256 : digests.also;
    if (claim === undefined || ours === undefined) return this.#session.proofs.wantsHash ? 'unsaid' : 'yes';
    return claim.hex === ours ? 'yes' : 'no';
  }

  /**
   * Proves the bytes where the server's hash does not, or is not to be had: by reading them back. Some servers' hashes
   * are wrong, and then the file is not to blame.
   *
   * @throws {FtpError} `mismatch` where the server holds other bytes, or does not let anybody see which
   */
  async #proveContent(sent: Sent, claim: Digest | undefined): Promise<void> {
    const agreement = this.#agrees(sent, claim);
    if (agreement === 'yes') return;
    const { temporary, signal } = sent.passage;
    const held = await this.#session.downloads.readBack(temporary, signal);
    if (held === 'refused') throw this.#unprovable(sent, agreement);
    if (held.hex !== sent.digests.sha256) throw this.#bytesDiffer(sent);
    if (agreement === 'no') this.#session.proofs.distrustHashes();
  }

  /** Where the server answered, single commands may still do it; where the connection failed, nothing can. */
  #mend(
    passage: Passage,
    error: unknown,
    how: (session: FtpSession, passage: Passage) => Promise<void>,
  ): void {
    if (
      error !== undefined &&
      !(error instanceof FtpError && error.reply !== undefined && this.#session.stands)
    ) {
      passage.reject(error);
      return;
    }
    this.#repairs.push(() => how(this.#session, passage).catch(passage.reject));
  }

  /** What could not be settled in a packet, now that the control connection is free. */
  async #repair(): Promise<void> {
    // A repair may read a listing, and then the port that was told is used up.
    if (this.#repairs.length > 0) this.#port = undefined;
    for (let next = this.#repairs.shift(); next !== undefined; next = this.#repairs.shift()) await next();
  }

  async #publishAlone(proven: Proven): Promise<void> {
    const { passage } = proven;
    try {
      if (passage.temporary === passage.final) done(proven, 'overwritten');
      else if (passage.aside !== undefined) done(proven, await this.#asides.publish(proven, passage.aside));
      else {
        await this.#session.tree.replace(passage.temporary, passage.final);
        done(proven, 'overwritten');
      }
    } catch (error) {
      passage.reject(error);
    }
  }

  async #proveAlone(sent: Sent): Promise<void> {
    const { passage } = sent;
    try {
      const { modifiedMs, sizeBytes } = passage.delivery.source;
      const held: Held = await this.#session.proofs.prove(passage.temporary, modifiedMs, sizeBytes);
      if (held.sizeBytes !== sizeBytes) throw this.#sizeDiffers(sent, held.sizeBytes);
      await this.#proveContent(sent, held.digest);
      await this.#setPermissions(passage);
      await this.#publishAlone({ ...sent, modifiedMs: held.modifiedMs });
    } catch (error) {
      passage.reject(error);
    }
  }

  /** By themselves, for a file that is proven to be there. A server that has no permissions gets the file without. */
  async #setPermissions({ delivery, temporary }: Passage): Promise<void> {
    if (delivery.permissions === undefined) return;
    if ((await this.#session.attributes.setPermissions(temporary, delivery.permissions)) === 'refused')
      this.#session.attributes.noPermissions();
  }

  #sizeDiffers(sent: Sent, sizeBytes: number): FtpError {
    const { path, source } = sent.passage.delivery;
    this.#doubtPart(sent);
    return this.#mismatch(
      `${this.#session.where} confirmed ${path} with ${sizeBytes} bytes, and it has ${source.sizeBytes}.`,
    );
  }

  #bytesDiffer(sent: Sent): FtpError {
    this.#doubtPart(sent);
    return this.#mismatch(
      `${this.#session.where} confirmed ${sent.passage.delivery.path} and holds other bytes than were sent.`,
    );
  }

  #unprovable({ passage }: Sent, agreement: 'no' | 'unsaid'): FtpError {
    const { path } = passage.delivery;
    const why =
      agreement === 'no'
        ? 'tells another hash of it than that of what was sent'
        : 'has no command for hashes that works (verify: hash asks for one; verify: auto does without)';
    return this.#mismatch(`${this.#session.where} lets nobody read ${path} back, and ${why}.`);
  }

  /** A part that was proven and gone on with, and did not become the file: REST or APPE does not do what it says. */
  #doubtPart({ fromByte, passage }: Sent): void {
    if (fromByte > 0 && fromByte < passage.delivery.source.sizeBytes) this.#session.uploads.noResume();
  }

  #mismatch(message: string): FtpError {
    return new FtpError('mismatch', message, { phase: 'transfer', verb: 'STOR' });
  }
}

/** The server refused this file, or its name, or its directory; not the session. */
function isAboutFile(error: unknown): boolean {
  return isRefusal(error) && judge(error).decision === 'skip';
}

/** None where they were not asked for. */
function becameOf(reply: Proof['permissionsReply']): Permissions {
  const { code } = reply ?? { code: 200 };
  // 202 says that the command is superfluous here, so nothing was set.
  if (code >= 500 || code === 202) return 'refused';
  return code >= 400 ? 'open' : 'set';
}

/** @param before what became of a file that stood under the final name */
function done({ passage, digests, fromByte, modifiedMs }: Proven, before: Before): void {
  const bytes = passage.delivery.source.sizeBytes;
  const setAside = before === 'set-aside';
  passage.resolve({ bytes, fromByte, sha256: digests.sha256, modifiedMs, setAside });
}
