/*
 * The files that the benchmark moves: the same for the same seed on every machine. Small ones have sizes spread evenly
 * over the range, and lie a hundred to a directory; times are whole seconds, which every protocol can carry. Content is
 * pseudo-random, so that no program gains by packing it. What peers choke on, odd names and links, is not in here:
 * this measures, and the tests are about those.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, futimesSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers } from '../support/tree.js';

const BLOCK_BYTES = 1024 * 1024;
const FIRST_S = Date.UTC(2021, 0, 1) / 1000;
/** Every file of a directory has its place, as in most trees of many files. */
const IN_A_DIRECTORY = 100;

export const SMALL = { minBytes: 1024, maxBytes: 16 * 1024 };

export interface SmallFile {
  /** Path below the root. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedS: number;
  /** Where its content begins in the block of the seed. */
  readonly offset: number;
}

/** Which small files there are, in order; nothing is written. */
export function* smallFiles(count: number, seed: number): Generator<SmallFile> {
  const random = randomNumbers(seed);
  const span = SMALL.maxBytes - SMALL.minBytes + 1;
  for (let i = 0; i < count; i += 1) {
    const sizeBytes = SMALL.minBytes + Math.floor(random() * span);
    yield {
      path: `d${String(Math.floor(i / IN_A_DIRECTORY)).padStart(4, '0')}/file-${String(i).padStart(6, '0')}.bin`,
      sizeBytes,
      modifiedS: FIRST_S + i,
      offset: Math.floor(random() * (BLOCK_BYTES - sizeBytes)),
    };
  }
}

/** Writes the small files below a directory, which is made; all of them empty where that is asked for. */
export function makeSmallFiles(root: string, count: number, seed: number, content?: 'empty'): void {
  const block = blocks(seed).update(Buffer.alloc(BLOCK_BYTES));
  let directory = '';
  for (const file of smallFiles(count, seed)) {
    const at = file.path.slice(0, file.path.indexOf('/'));
    if (at !== directory) mkdirSync(join(root, at), { recursive: true });
    directory = at;
    const { offset, sizeBytes } = file;
    const part = content === 'empty' ? [] : [block.subarray(offset, offset + sizeBytes)];
    write(join(root, file.path), part, file.modifiedS);
  }
}

/** Writes one file; its directory is there. */
export function makeOneFile(path: string, sizeBytes: number, seed: number): void {
  write(path, contentOf(sizeBytes, seed), FIRST_S);
}

function* contentOf(sizeBytes: number, seed: number): Generator<Buffer> {
  const stream = blocks(seed);
  for (let done = 0; done < sizeBytes; done += BLOCK_BYTES)
    yield stream.update(Buffer.alloc(Math.min(BLOCK_BYTES, sizeBytes - done)));
}

function blocks(seed: number) {
  const key = createHash('sha256').update(`bench ${seed}`).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
}

function write(path: string, content: Iterable<Buffer>, modifiedS: number): void {
  const file = openSync(path, 'w', 0o644);
  try {
    for (const part of content) {
      let written = 0;
      while (written < part.length) written += writeSync(file, part, written);
    }
    futimesSync(file, modifiedS, modifiedS);
  } finally {
    closeSync(file);
  }
}
