/*
 * Digests of a content piece by piece, as it passes by: a server that is asked for the hash of a large file answers
 * nothing else until it has read all of it, so it is asked for one piece after the other.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Digest } from '../../plan/digest.js';

/** The algorithms that are asked for. */
export type BlockAlgorithm = 'SHA-256' | 'SHA-1' | 'MD5';

/** One piece. */
export interface Block {
  readonly fromByte: number;
  readonly sizeBytes: number;
  readonly digest: Digest;
}

const NODE_NAMES: Readonly<Record<BlockAlgorithm, string>> = {
  'SHA-256': 'sha256',
  'SHA-1': 'sha1',
  MD5: 'md5',
};

export class BlockHasher {
  readonly #algorithm: BlockAlgorithm;
  readonly #blockBytes: number;
  readonly #blocks: Block[] = [];
  #fromByte: number;
  #sizeBytes = 0;
  #hash: Hash;

  constructor(algorithm: BlockAlgorithm, place: { readonly fromByte: number; readonly blockBytes: number }) {
    this.#algorithm = algorithm;
    this.#blockBytes = place.blockBytes;
    this.#fromByte = place.fromByte;
    this.#hash = createHash(NODE_NAMES[algorithm]);
  }

  update(chunk: Buffer): void {
    for (let taken = 0; taken < chunk.length; ) {
      const piece = chunk.subarray(taken, taken + this.#blockBytes - this.#sizeBytes);
      this.#hash.update(piece);
      this.#sizeBytes += piece.length;
      taken += piece.length;
      if (this.#sizeBytes === this.#blockBytes) this.#cut();
    }
  }

  /** All pieces, the last one as short as it is. */
  end(): readonly Block[] {
    if (this.#sizeBytes > 0) this.#cut();
    return this.#blocks;
  }

  #cut(): void {
    const digest = { algorithm: this.#algorithm, hex: this.#hash.digest('hex') };
    this.#blocks.push({ fromByte: this.#fromByte, sizeBytes: this.#sizeBytes, digest });
    this.#fromByte += this.#sizeBytes;
    this.#sizeBytes = 0;
    this.#hash = createHash(NODE_NAMES[this.#algorithm]);
  }
}
