/*
 * The random part of temporary names: 16 hex digits that no other file and no other run will have. Randomness is
 * drawn for many names at once, because each draw costs far more than the bytes that it gives.
 */
import { randomFillSync } from 'node:crypto';

const TOKEN_BYTES = 8;
const TOKENS_AT_ONCE = 256;

export class Tokens {
  readonly #bytes = Buffer.alloc(TOKEN_BYTES * TOKENS_AT_ONCE);
  #used = this.#bytes.length;

  /** The next token; none is given twice. */
  next(): string {
    if (this.#used === this.#bytes.length) {
      randomFillSync(this.#bytes);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += TOKEN_BYTES;
    return this.#bytes.toString('hex', from, this.#used);
  }
}
