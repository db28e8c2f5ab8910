/*
 * What the server says of the bytes that it holds, in one operation: its hash, where it has check-file, and else the
 * file read back. Whether that is what was sent or fetched, the caller decides.
 */
import { createHash } from 'node:crypto';
import type { Digest } from '../../plan/digest.js';
import type { CheckAlgorithm } from '../../sftp/client.js';
import { isAnswer } from '../refusal.js';
import type { Block, BlockAlgorithm } from './blocks.js';
import { isUnsupported } from './refusal.js';
import type { SftpSession } from './session.js';

/** A slow disk reads and writes so many bytes in a millisecond; and what is asked of it needs a moment to begin. */
const DISK_BYTES_PER_MS = 5_000;
const BEGINS_MS = 10_000;

/** The server that has check-file (mod_sftp) does nothing else while it hashes: more than this is asked for in pieces. */
export const HASHED_AT_ONCE_BYTES = 64 * 1024 * 1024;

const ASKED: readonly CheckAlgorithm[] = ['sha256', 'sha1', 'md5'];
const ALGORITHMS: Partial<Record<CheckAlgorithm, BlockAlgorithm>> = {
  sha256: 'SHA-256',
  sha1: 'SHA-1',
  md5: 'MD5',
};

export class Proofs {
  readonly #session: SftpSession;
  readonly #signal: AbortSignal | undefined;

  constructor(session: SftpSession, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#signal = signal;
  }

  /** In what the server will probably answer, so that it can be computed on the way; undefined where it is not asked. */
  get algorithm(): BlockAlgorithm | undefined {
    const { client, profile, verify } = this.#session;
    const { checkFile } = profile.facts;
    if (verify === 'size' || checkFile === 'none' || !client.has('check-file')) return undefined;
    return checkFile ?? 'SHA-256';
  }

  /** True where a person has said that a file's size is proof enough. */
  get trustsSize(): boolean {
    return this.#session.verify === 'size';
  }

  /** True where a file counts as delivered only when a hash proves it. */
  get wantsHash(): boolean {
    return this.#session.verify === 'hash';
  }

  /** The server's hash of a whole file, or undefined where it tells none, or is not asked for as much. */
  async hash(path: string, sizeBytes: number): Promise<Digest | undefined> {
    return sizeBytes > HASHED_AT_ONCE_BYTES ? undefined : this.#ask(path, { fromByte: 0, sizeBytes });
  }

  /** Whether the server tells just these hashes; `unsaid` where it does not tell one of them. */
  async agrees(path: string, blocks: readonly Block[]): Promise<'yes' | 'no' | 'unsaid'> {
    for (const { fromByte, sizeBytes, digest } of blocks) {
      const told = await this.#ask(path, { fromByte, sizeBytes });
      if (told?.algorithm !== digest.algorithm) return 'unsaid';
      if (told.hex !== digest.hex) return 'no';
    }
    return blocks.length > 0 ? 'yes' : 'unsaid';
  }

  /**
   * Reads a file back and hashes it: the proof that needs no extension.
   *
   * @returns how many bytes it has, and their digest; `refused` where the account may write and not read
   */
  async readBack(path: string): Promise<{ readonly bytes: number; readonly digest: Digest } | 'refused'> {
    const hash = createHash('sha256');
    const signal = this.#signal;
    try {
      const handle = await this.#session.client.open(path, { access: 'read', signal });
      try {
        const bytes = await handle.download(async (chunk) => void hash.update(chunk), { signal });
        return { bytes, digest: { algorithm: 'SHA-256', hex: hash.digest('hex') } };
      } finally {
        handle.close().catch(() => {});
      }
    } catch (error) {
      if (isAnswer(error)) return 'refused';
      throw error;
    }
  }

  /** The server's hashes do not fit its own files. */
  distrustHashes(): void {
    this.#session.profile.learn(
      'checkFile',
      'none',
      `${this.#session.where} tells wrong hashes of files that it holds rightly: they are not asked for any more.`,
    );
  }

  async #ask(
    path: string,
    range: { readonly fromByte: number; readonly sizeBytes: number },
  ): Promise<Digest | undefined> {
    // Servers refuse to hash nothing.
    if (this.algorithm === undefined || range.sizeBytes === 0) return undefined;
    const { client, profile, where } = this.#session;
    try {
      const { algorithm, hex } = await client.checkFile(path, {
        ...range,
        algorithms: ASKED,
        workingMs: workingMs(range.sizeBytes),
        signal: this.#signal,
      });
      const known = ALGORITHMS[algorithm];
      if (known === undefined) return undefined;
      profile.note('checkFile', known);
      return { algorithm: known, hex };
    } catch (error) {
      // Refused for this file only, it says nothing about the next one.
      if (isUnsupported(error))
        profile.learn(
          'checkFile',
          'none',
          `${where} has no check-file that works: files are proven by their size.`,
        );
      else if (!isAnswer(error)) throw error;
      return undefined;
    }
  }
}

/** How long a server may be busy with so many bytes on its disk, in milliseconds. */
export function workingMs(sizeBytes: number): number {
  return BEGINS_MS + Math.ceil(sizeBytes / DISK_BYTES_PER_MS);
}
