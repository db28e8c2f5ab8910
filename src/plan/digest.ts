/*
 * The names of the hashes by which content is compared with what a server says it holds. Only names; who computes
 * one does so on his side of the house.
 */

/** As RFC 5843 and the HASH draft of FTP name them. */
export type HashAlgorithm = 'SHA-256' | 'SHA-1' | 'MD5' | 'CRC32';

/** One digest: hex digits in lower case, 8 for CRC32. */
export interface Digest {
  readonly algorithm: HashAlgorithm;
  readonly hex: string;
}
