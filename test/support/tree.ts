/*
 * Trees of files for tests: made from a seed, the same on every machine, and read back as what can be compared.
 * Names are UTF-8 here; links, sockets and names that are no UTF-8 are for the tests that are about them.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const blockBytes = 1024 * 1024;

export interface TreeOptions {
  /** Same seed and options, same tree; 1 unless told. */
  readonly seed?: number;
  /** How many files; 20 unless told. */
  readonly files?: number;
  /** Largest size; sizes spread evenly over the orders of magnitude below it, empty ones among them. 100 000 unless told. */
  readonly maxBytes?: number;
  /** How deep directories go below the root; 3 unless told. */
  readonly depth?: number;
  /** `mixed` (unless told) has spaces, quotes, brackets and other scripts in it. */
  readonly names?: 'plain' | 'mixed';
}

export interface TreeFile {
  readonly sizeBytes: number;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
  /** Milliseconds since 1970, with the fraction of `fs.Stats`. */
  readonly mtimeMs: number;
}

/** Path below the root (`a/b.txt`) to what the file is; in the order of a sorted walk. */
export type Tree = ReadonlyMap<string, TreeFile>;

const mixed = [
  'with space',
  'Ünïcödé',
  '日本語',
  "quote's",
  'brackets [1] {2}',
  '#hash%20',
  'ελληνικά',
  '-dash',
  '~tilde',
];
const plain = ['alpha', 'beta', 'gamma', 'delta', 'epsilon'];

/**
 * Writes a tree into a directory (made where it is missing) and tells what it wrote. Modification times are whole
 * seconds of 2021.
 */
export async function makeTree(root: string, options: TreeOptions = {}): Promise<Tree> {
  const { seed = 1, files = 20, maxBytes = 100_000, depth = 3, names = 'mixed' } = options;
  const random = randomNumbers(seed);
  const words = names === 'plain' ? plain : [...plain, ...mixed];
  const word = (): string => words[Math.floor(random() * words.length)] ?? 'word';
  const directories = ['', ...Array.from({ length: Math.min(depth, 1) * Math.ceil(files / 10) }, () => '')];
  for (let i = 1; i < directories.length; i += 1) {
    const parent = directories[Math.floor(random() * i)] ?? '';
    const nested = parent === '' ? 1 : parent.split('/').length + 1;
    directories[i] = `${nested > depth || parent === '' ? '' : `${parent}/`}${word()} ${i}`.replaceAll(
      ' ',
      names === 'plain' ? '-' : ' ',
    );
  }
  await mkdir(root, { recursive: true });
  const made: [string, TreeFile][] = [];
  for (let i = 0; i < files; i += 1) {
    const directory = directories[Math.floor(random() * directories.length)] ?? '';
    const path = `${directory === '' ? '' : `${directory}/`}${word()}-${i}.bin`;
    const sizeBytes = i % 17 === 16 ? 0 : Math.floor(maxBytes ** random());
    const mtimeMs = Date.UTC(2021, 0, 1) + i * 1000;
    made.push([path, await makeFile(join(root, path), { seed: seed * 100_003 + i, sizeBytes, mtimeMs })]);
  }
  return new Map(made.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
}

/** Writes one file of pseudo-random content, and its directory; same seed and size, same content. */
export async function makeFile(
  path: string,
  options: { readonly seed?: number; readonly sizeBytes: number; readonly mtimeMs?: number },
): Promise<TreeFile> {
  const { seed = 1, sizeBytes, mtimeMs } = options;
  await mkdir(dirname(path), { recursive: true });
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    for (let done = 0; done < sizeBytes; done += blockBytes) {
      const block = stream.update(Buffer.alloc(Math.min(blockBytes, sizeBytes - done)));
      hash.update(block);
      await file.writeFile(block);
    }
  } finally {
    await file.close();
  }
  if (mtimeMs !== undefined) await utimes(path, mtimeMs / 1000, mtimeMs / 1000);
  return { sizeBytes, sha256: hash.digest('hex'), mtimeMs: (await stat(path)).mtimeMs };
}

/**
 * Reads all files below a directory; temporary names of ours are files like any other.
 *
 * @throws Error where something is neither a file nor a directory
 */
export async function readTree(root: string): Promise<Tree> {
  const found: [string, TreeFile][] = [];
  const walk = async (directory: string): Promise<void> => {
    for (const entry of await readdir(join(root, directory), { withFileTypes: true })) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile()) found.push([path, await readOne(join(root, path))]);
      else throw new Error(`${path} is neither a file nor a directory`);
    }
  };
  await walk('');
  return new Map(found.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
}

async function readOne(path: string): Promise<TreeFile> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const { size, mtimeMs } = await stat(path);
  return { sizeBytes: size, sha256: hash.digest('hex'), mtimeMs };
}

/** How times are compared: not at all, in whole seconds (what FTP can carry), or exactly. */
export interface Comparison {
  /** `ignored` unless told. */
  readonly times?: 'ignored' | 'seconds' | 'exact';
}

/** A sentence for each path that is not the same on both sides; none where the trees are the same. */
export function treeDifferences(a: Tree, b: Tree, options: Comparison = {}): string[] {
  const { times = 'ignored' } = options;
  const unit = times === 'seconds' ? 1000 : 1;
  const differences: string[] = [];
  for (const path of new Set([...a.keys(), ...b.keys()])) {
    const left = a.get(path);
    const right = b.get(path);
    if (left === undefined) differences.push(`${path}: only on the second side`);
    else if (right === undefined) differences.push(`${path}: only on the first side`);
    else if (left.sizeBytes !== right.sizeBytes) {
      differences.push(`${path}: ${left.sizeBytes} bytes, and ${right.sizeBytes}`);
    } else if (left.sha256 !== right.sha256) differences.push(`${path}: other content`);
    else if (times !== 'ignored' && Math.floor(left.mtimeMs / unit) !== Math.floor(right.mtimeMs / unit)) {
      differences.push(
        `${path}: ${new Date(left.mtimeMs).toISOString()}, and ${new Date(right.mtimeMs).toISOString()}`,
      );
    }
  }
  return differences;
}

/** True where both trees have the same paths with the same content. `treeDifferences` tells what is not. */
export function sameTree(a: Tree, b: Tree, options: Comparison = {}): boolean {
  return treeDifferences(a, b, options).length === 0;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixing = Math.imul(state ^ (state >>> 15), state | 1);
    mixing ^= mixing + Math.imul(mixing ^ (mixing >>> 7), mixing | 61);
    return ((mixing ^ (mixing >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
