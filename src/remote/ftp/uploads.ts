/*
 * Uploads over one session: a file, the rest of one, or one in a convoy with the last steps of those before it. Finds
 * out whether the server stumbles over a packet, and whether it can go on with a part.
 */
import type { Convoy } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { isRefusal } from '../refusal.js';
import type { Line } from './line.js';
import { lacksResume } from './refusal.js';

/** How many transfers in a row may fail before the command behind them is suspected. */
const STUMBLES = 2;

export class Uploads {
  readonly #line: Line;
  #hasStumbled = false;

  constructor(line: Line) {
    this.#line = line;
  }

  /** Sends the chunks to a file. */
  async store(path: string, source: AsyncIterable<Buffer>, signal: AbortSignal | undefined): Promise<void> {
    await this.#line.transfer((mode) => this.#line.client.store(path, source, { mode, signal }));
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
    const { facts } = this.#line.profile;
    if (facts.resumeUpload === 'REST') {
      try {
        await this.#line.transfer((mode) =>
          this.#line.client.store(path, source(), { mode, signal, fromByte }),
        );
        return 'sent';
      } catch (error) {
        if (!lacksResume(error)) throw error;
        this.#line.profile.learn(
          'resumeUpload',
          'APPE',
          `${this.#line.where} takes no REST before STOR: APPE is used.`,
        );
      }
    }
    if (this.#line.profile.facts.resumeUpload === 'APPE') {
      try {
        await this.#line.transfer((mode) => this.#line.client.append(path, source(), { mode, signal }));
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
    this.#line.profile.learn(
      'resumeUpload',
      'none',
      `${this.#line.where} cannot go on with an upload that was cut off: such files are sent from the beginning.`,
    );
  }

  /** True where a part that was left could be gone on with. */
  get resumesUploads(): boolean {
    return this.#line.profile.facts.resumeUpload !== 'none';
  }

  /** True where the last steps of an upload can travel with a later one. */
  get convoys(): boolean {
    const { size, setTime, rename } = this.#line.profile.facts;
    return size === 'SIZE' && setTime !== 'none' && rename === 'overwrites' && this.#line.isPassive;
  }

  /** True where this session was lost because the server stumbled over a packet; the next one takes another form. */
  get stumbled(): boolean {
    return this.#hasStumbled && this.#line.client.ended;
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
    const mode = this.#line.mode;
    if (mode !== 'EPSV' && mode !== 'PASV') {
      await this.store(path, source(), options.signal);
      return { nextPort: undefined };
    }
    const asks = mode === 'EPSV' && this.#line.profile.facts.roundTrips === 'two';
    try {
      const stored = await this.#line.client.storeInConvoy(path, source(), {
        ...options,
        mode,
        nextPort: asks ? 'ask' : 'leave',
      });
      if (asks) this.#line.profile.streaks.stumbles = 0;
      this.#line.worked(mode);
      return stored;
    } catch (error) {
      // The convoy went with the question; only the file is left to send.
      if (this.#line.goesOnAfter(error, mode)) {
        await this.store(path, source(), options.signal);
        return { nextPort: undefined };
      }
      if (asks && this.#stumblesWith(error)) {
        this.#hasStumbled = true;
        this.#line.profile.learn(
          'roundTrips',
          'three',
          `${this.#line.where} stumbles over a command behind STOR: the port for each file is asked for by itself.`,
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
    this.#line.profile.streaks.stumbles += 1;
    return error.kind === 'malformed' || this.#line.profile.streaks.stumbles >= STUMBLES;
  }

  settle(convoy: Convoy): void {
    this.#line.client.settle(convoy);
  }
}
