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

export function createHasher(algorithm: HashAlgorithm): Hasher {
  switch (algorithm) {
    case 'SHA-256':
      return new CryptoHasher(createHash('sha256'));
    case 'SHA-1':
      return new CryptoHasher(createHash('sha1'));
    case 'MD5':
      return new CryptoHasher(createHash('md5'));
    case 'CRC32':
      return new CrcHasher();
  }
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
    return (this.#value >>> 0).toString(16).padStart(8, '0');
  }
}
