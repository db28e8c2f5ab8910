/*
 * Contents that prove themselves: a line with number, size and hash, and then bytes. Whoever finds one can tell whether
 * it is whole, whatever was meant to stand there. Every content has a size of its own, so that a server that tells
 * sizes and coarse times, as vsftpd does, shows every change.
 */
import { createHash, randomFillSync } from 'node:crypto';
import type { Chance } from './chance.js';

const KIB = 1024;
const POOL_BYTES = 8 * KIB * KIB;
const LARGEST_BODY_BYTES = 4 * KIB * KIB;

export class Contents {
  readonly #chance: Chance;
  /** Bodies are cut out of it: making them anew would cost more than sending them. */
  readonly #pool = randomFillSync(Buffer.allocUnsafe(POOL_BYTES));
  readonly #sizes = new Set<number>();
  #count = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  /** A content that there was not before. Most are small, few have megabytes. */
  next(): Buffer {
    this.#count += 1;
    const start = this.#chance.between(0, POOL_BYTES - 2 * LARGEST_BODY_BYTES);
    let bodyBytes = this.#bodyBytes();
    for (;;) {
      const body = this.#pool.subarray(start, start + bodyBytes);
      const content = Buffer.concat([head(this.#count, body), body]);
      if (!this.#sizes.has(content.length)) {
        this.#sizes.add(content.length);
        return content;
      }
      bodyBytes += 1;
    }
  }

  #bodyBytes(): number {
    const kind = this.#chance.next();
    if (kind < 0.6) return this.#chance.between(0, 4 * KIB);
    if (kind < 0.93) return this.#chance.between(4 * KIB, 64 * KIB);
    if (kind < 0.99) return this.#chance.between(64 * KIB, 512 * KIB);
    return this.#chance.between(512 * KIB, LARGEST_BODY_BYTES);
  }
}

function head(count: number, body: Buffer): Buffer {
  return Buffer.from(`soak ${count} ${body.length} ${digest(body)}\n`);
}

/** SHA-256, in hexadecimal digits. */
export function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** True where the bytes are one whole content, from its first byte to its last. */
export function isWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf('\n');
  const [, size, hash] = /^soak \d+ (\d+) ([0-9a-f]{64})$/.exec(bytes.toString('latin1', 0, end)) ?? [];
  const body = bytes.subarray(end + 1);
  return size !== undefined && Number(size) === body.length && digest(body) === hash;
}
