/*
 * Downloads over one session: a file, the rest of one, and the reading back of what was sent.
 */
import { createHash } from 'node:crypto';
import { FtpError } from '../../ftp/errors.js';
import type { Digest } from '../../plan/digest.js';
import { judge } from '../failure.js';
import { isRefusal } from '../refusal.js';
import type { Line } from './line.js';
import { isMissing, lacksResume, lacksSize } from './refusal.js';
import type { Tree } from './tree.js';

/** How much more may come of a file than the server says that it has: one that grows meanwhile is compared at its end. */
const GROWTH_BYTES = 16 * 1024 * 1024;

export class Downloads {
  readonly #line: Line;
  readonly #tree: Tree;

  constructor(line: Line, tree: Tree) {
    this.#line = line;
    this.#tree = tree;
  }

  /** Hands a file's bytes to the sink, from `fromByte` on. Returns the number of bytes given. */
  async retrieve(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    { signal, fromByte = 0 }: { readonly signal: AbortSignal | undefined; readonly fromByte?: number },
  ): Promise<number> {
    if (fromByte > 0 && this.#line.profile.facts.resumeDownload === 'REST') {
      try {
        return await this.#line.transfer((mode) =>
          this.#line.client.retrieve(path, sink, { mode, signal, fromByte }),
        );
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
    await this.#line.transfer((mode) => this.#line.client.retrieve(path, rest, { mode, signal }));
    return given;
  }

  /**
   * A file's bytes and its size, which is asked for in the same moment as the port for the data.
   *
   * @returns the number of bytes given, and what the server says the whole file has; undefined where it does not say
   * @throws {FtpError} `mismatch` where far more comes than that: it would fill the disk before anybody compared
   */
  async fetch(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    options: { readonly signal: AbortSignal | undefined; readonly fromByte: number },
  ): Promise<{ bytes: number; sizeBytes: number | undefined }> {
    const sizing =
      this.#line.profile.facts.size === 'SIZE'
        ? this.#line.client.size(path).then(
            (sizeBytes) => ({ sizeBytes }),
            (error: unknown) => ({ error }),
          )
        : undefined;
    let told = Number.POSITIVE_INFINITY;
    void sizing?.then((sized) => {
      if ('sizeBytes' in sized) told = sized.sizeBytes;
    });
    let position = options.fromByte;
    const bounded = async (chunk: Buffer): Promise<void> => {
      position += chunk.length;
      if (position > told + GROWTH_BYTES) {
        throw new FtpError(
          'mismatch',
          `${this.#line.where} sends more than ${position} bytes of ${path}, which has ${told}.`,
          { phase: 'transfer', verb: 'RETR' },
        );
      }
      await sink(chunk);
    };
    const bytes = await this.retrieve(path, bounded, options);
    const sized = await sizing;
    if (sized === undefined || ('error' in sized && lacksSize(sized.error))) {
      return { bytes, sizeBytes: await this.#tree.size(path) };
    }
    if ('sizeBytes' in sized) return { bytes, sizeBytes: sized.sizeBytes };
    if (isMissing(sized.error)) return { bytes, sizeBytes: undefined };
    throw sized.error;
  }

  /** The server did not begin where it was told to. */
  noDownloadResume(): void {
    this.#line.profile.learn(
      'resumeDownload',
      'none',
      `${this.#line.where} cannot begin in the middle of a file: a download that was cut off begins anew.`,
    );
  }

  /**
   * Reads a file back and hashes it: the proof that needs no command of its own.
   *
   * @returns `refused` where the account may write and not read
   */
  async readBack(path: string, signal: AbortSignal | undefined): Promise<Digest | 'refused'> {
    const hash = createHash('sha256');
    try {
      await this.retrieve(path, async (chunk) => void hash.update(chunk), { signal });
    } catch (error) {
      if (isRefusal(error) && judge(error).decision === 'skip') return 'refused';
      throw error;
    }
    return { algorithm: 'SHA-256', hex: hash.digest('hex') };
  }
}
