/*
 * Digests of content that passes by: SHA-256 for the ledger, and the others because some servers know no better one.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { HashAlgorithm } from '../plan/digest.js';

/** Computes one digest over pieces. */
export interface Hasher {
  update(chunk: Buffer): void;
  /** Hex digits in lower case, of all that was given so far; more may follow. */
  digest(): string;
}

const NODE_NAMES = { 'SHA-256': 'sha256', 'SHA-1': 'sha1', MD5: 'md5' } as const;

export function createHasher(algorithm: HashAlgorithm): Hasher {
  return algorithm === 'CRC32' ? new CrcHasher() : new CryptoHasher(createHash(NODE_NAMES[algorithm]));
}

/** The digest of a whole content, hex digits in lower case. */
export function digestOf(algorithm: HashAlgorithm, content: Buffer): string {
  if (algorithm === 'CRC32') return hexOf(crc32(content));
  return createHash(NODE_NAMES[algorithm]).update(content).digest('hex');
}

class CryptoHasher implements Hasher {
  readonly #hash: Hash;

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  update(chunk: Buffer): void {
    this.#hash.update(chunk);
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

class CrcHasher implements Hasher {
  #value = 0;

  update(chunk: Buffer): void {
    this.#value = crc32(chunk, this.#value);
  }

  digest(): string {
    return hexOf(this.#value);
  }
}

function hexOf(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
