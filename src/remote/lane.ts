/*
 * A lane: uploads on one connection, one behind the other, the last steps of each in the packet of a later one.
 * While file n is sent, the size of n-1 is asked and n-2 is renamed, so a small file costs two round trips and is
 * proven all the same: a rename follows only a final reply and the right size.
 *
 * | stage | what is known | the next step travels |
 * | --- | --- | --- |
 * | sent | the data ended and the final reply came | SIZE and time: with the next STOR |
 * | proven | the server's size is the number of bytes sent | RNFR, RNTO: with the STOR after that |
 * | published | it stands under its final name | - |
 *
 * What a packet cannot settle (a time form or a rename that the server refuses) is settled by single commands
 * before the next packet. When the connection is lost, every file in the lane is told so, and whoever sent it
 * finds out from the remote what became of it.
 */
import type { Convoy, SetTimeForm, Settled } from '../ftp/client.js';
import { FtpError } from '../ftp/errors.js';
import type { Directories } from './directories.js';
import { judge } from './failure.js';
import { type FileStatus, type FtpSession, isRefusal } from './ftp-session.js';
import { type Delivered, type Delivery, wholeSeconds } from './remote.js';

/** One file on its way through a lane. */
export interface Passage {
  readonly delivery: Delivery;
  /** Server paths. */
  readonly temporary: string;
  readonly final: string;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (delivered: Delivered) => void;
  readonly reject: (error: unknown) => void;
}

interface Sent {
  readonly passage: Passage;
  readonly bytes: number;
  readonly sha256: string;
}

interface Proven extends Sent {
  readonly modifiedMs: number | undefined;
}

/** A file that takes its time must not keep those before it from their final names. */
const LARGE_BYTES = 1024 * 1024;

export class Lane {
  readonly #session: FtpSession;
  readonly #directories: Directories;
  #sent: Sent | undefined;
  #proven: Proven | undefined;
  /** For the next data connection, told behind the last STOR. */
  #port: number | undefined;
  /** What has to be done by single commands before the next packet. */
  #repairs: (() => Promise<void>)[] = [];

  constructor(session: FtpSession, directories: Directories) {
    this.#session = session;
    this.#directories = directories;
  }

  /**
   * Sends one file; those before it move on by one stage. Never rejects: each file hears its own end.
   *
   * @returns `again` where the file has heard nothing yet, because the server stumbled over the packet and not over
   *   the file: another session has to send it
   */
  async carry(passage: Passage): Promise<'moved' | 'again'> {
    if (passage.delivery.source.sizeBytes > LARGE_BYTES) await this.settle();
    try {
      this.#session.checkPath(passage.final);
      this.#session.checkPath(passage.temporary);
      this.#sent = await this.#sendWithParent(passage);
    } catch (error) {
      if (this.#session.stumbled) return 'again';
      passage.reject(error);
    }
    return 'moved';
  }

  /** Brings every file in the lane to its end. */
  async settle(): Promise<void> {
    while (this.#sent !== undefined || this.#proven !== undefined) {
      await new Promise<void>((resolve) => {
        let open = 0;
        const convoy = this.#convoy(() => {
          open -= 1;
          if (open === 0) resolve();
        });
        open = (convoy.publish === undefined ? 0 : 1) + (convoy.prove === undefined ? 0 : 1);
        if (open === 0) resolve();
        else this.#session.settle(convoy);
      });
      await this.#repair();
    }
  }

  /**
   * STOR first: the directory is nearly always there. Only when the server refuses is the parent looked after,
   * and the file sent once more.
   */
  async #sendWithParent(passage: Passage): Promise<Sent> {
    const { temporary } = passage;
    const known = this.#directories.knowsParentOf(temporary);
    try {
      return await this.#send(passage);
    } catch (error) {
      if (!isRefusal(error) || judge(error).decision !== 'skip') throw error;
      const parent = await this.#directories.makeParentOf(temporary, known, this.#session);
      if (parent === 'was-there') throw error;
      return this.#send(passage);
    }
  }

  async #send(passage: Passage): Promise<Sent> {
    const { source } = passage.delivery;
    const port = this.#port;
    this.#port = undefined;
    try {
      const { bytes, nextPort } = await this.#session.storeInConvoy(passage.temporary, source.chunks(), {
        convoy: this.#convoy(() => {}),
        port,
        signal: passage.signal,
      });
      this.#port = nextPort;
      return { passage, bytes, sha256: await source.confirm() };
    } finally {
      await this.#repair();
    }
  }

  /**
   * Takes the files in the lane one stage on. Where the server lacks something that the packet needs, single
   * commands do it.
   *
   * @param heard called when a step has heard its end
   */
  #convoy(heard: () => void): Convoy {
    const sent = this.#sent;
    const proven = this.#proven;
    this.#sent = undefined;
    this.#proven = undefined;
    if (!this.#session.convoys) {
      if (proven !== undefined) this.#repairs.push(() => this.#publishAlone(proven));
      if (sent !== undefined) this.#repairs.push(() => this.#proveAlone(sent));
      return {};
    }
    const form = this.#session.timeForm;
    return {
      publish: proven && {
        from: proven.passage.temporary,
        to: proven.passage.final,
        settled: (end) => {
          this.#published(proven, end);
          heard();
        },
      },
      prove: sent && {
        path: sent.passage.temporary,
        modifiedMs: sent.passage.delivery.source.modifiedMs,
        form,
        settled: (end) => {
          this.#sized(sent, form, end);
          heard();
        },
      },
    };
  }

  #published(proven: Proven, end: Settled<void>): void {
    if (end.ok) done(proven);
    else
      this.#mend(proven.passage, end.error, (session, { temporary, final }) =>
        session.replaceAfter(end.error, temporary, final).then(() => done(proven)),
      );
  }

  #sized(
    sent: Sent,
    form: SetTimeForm,
    end: Settled<{ sizeBytes: number; timeReply: { readonly code: number } }>,
  ): void {
    const { passage } = sent;
    if (!end.ok) {
      this.#mend(passage, end.error, async (session) => {
        session.sizeRefused(end.error, passage.temporary);
        await this.#proveAlone(sent);
      });
      return;
    }
    const { sizeBytes, timeReply } = end.value;
    const { modifiedMs } = passage.delivery.source;
    if (sizeBytes !== sent.bytes) {
      passage.reject(this.#mismatch(sent, sizeBytes));
    } else if (timeReply.code >= 200 && timeReply.code < 300 && timeReply.code !== 202) {
      this.#proven = { ...sent, modifiedMs: wholeSeconds(modifiedMs) };
    } else {
      this.#mend(passage, undefined, async (session) => {
        const held = await session.timeAfter(timeReply, form, passage.temporary, modifiedMs);
        await this.#publishAlone({ ...sent, modifiedMs: held });
      });
    }
  }

  /** Where the server answered, single commands may still do it; where the connection failed, nothing can. */
  #mend(
    passage: Passage,
    error: unknown,
    how: (session: FtpSession, passage: Passage) => Promise<void>,
  ): void {
    if (
      error !== undefined &&
      !(error instanceof FtpError && error.reply !== undefined && this.#session.usable)
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
      await this.#session.replace(passage.temporary, passage.final);
      done(proven);
    } catch (error) {
      passage.reject(error);
    }
  }

  async #proveAlone(sent: Sent): Promise<void> {
    const { passage } = sent;
    try {
      const { modifiedMs } = passage.delivery.source;
      const held: FileStatus = await this.#session.sizeAndSetTime(passage.temporary, modifiedMs);
      if (held.sizeBytes !== sent.bytes) throw this.#mismatch(sent, held.sizeBytes);
      await this.#publishAlone({ ...sent, modifiedMs: held.modifiedMs });
    } catch (error) {
      passage.reject(error);
    }
  }

  #mismatch(sent: Sent, sizeBytes: number): FtpError {
    const { path } = sent.passage.delivery;
    return new FtpError(
      'mismatch',
      `${this.#session.where} confirmed ${path} with ${sizeBytes} bytes, and ${sent.bytes} were sent.`,
      { phase: 'transfer', verb: 'STOR' },
    );
  }
}

function done({ passage, bytes, sha256, modifiedMs }: Proven): void {
  passage.resolve({ bytes, sha256, modifiedMs });
}
