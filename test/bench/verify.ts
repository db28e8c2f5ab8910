/*
 * Whether every byte arrived: two directories compared, file by file and byte by byte. And whether a run that had
 * nothing to do left everything alone: a file that was sent again has another inode or another time of change.
 * Times of modification are not compared, for not every peer carries them.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK_BYTES = 1024 * 1024;

export interface Difference {
  /** Files of the source that are not there, or not as long. */
  readonly missing: number;
  /** Files with other bytes. */
  readonly wrong: number;
  /** Files that nobody sent under that name: what was left lying about. */
  readonly extra: number;
  /** One of these, for people; undefined where all is well. */
  readonly example: string | undefined;
}

/** Compares what was sent with what arrived; a directory that is not there is an empty one. */
export function compareTrees(source: string, arrived: string): Difference {
  const there = new Set(filesBelow(arrived));
  const counts = { missing: 0, wrong: 0 };
  let example: string | undefined;
  const left = Buffer.allocUnsafe(BLOCK_BYTES);
  const right = Buffer.allocUnsafe(BLOCK_BYTES);
  for (const path of filesBelow(source)) {
    const found = there.delete(path) ? compareFiles(join(source, path), join(arrived, path)) : 'missing';
    if (found === 'same') continue;
    counts[found] += 1;
    example ??= `${path}: ${found}`;
  }
  const [extra] = there;
  return {
    ...counts,
    extra: there.size,
    example: example ?? (extra === undefined ? undefined : `${extra}: extra`),
  };

  function compareFiles(one: string, other: string): 'same' | 'missing' | 'wrong' {
    const files = [openSync(one, 'r'), openSync(other, 'r')] as const;
    try {
      if (fstatSync(files[0]).size !== fstatSync(files[1]).size) return 'missing';
      for (;;) {
        const bytes = readSync(files[0], left);
        if (bytes === 0) return 'same';
        let done = 0;
        while (done < bytes) {
          const more = readSync(files[1], right, done, bytes - done, null);
          if (more === 0) return 'missing';
          done += more;
        }
        if (left.compare(right, 0, bytes, 0, bytes) !== 0) return 'wrong';
      }
    } finally {
      for (const file of files) closeSync(file);
    }
  }
}

/** What each file below a directory is to the file system; another one once it was written anew. */
export type Snapshot = ReadonlyMap<string, string>;

export function snapshot(root: string): Snapshot {
  const found = new Map<string, string>();
  for (const path of filesBelow(root)) {
    const { ino, size, ctimeNs } = statSync(join(root, path), { bigint: true });
    found.set(path, `${ino} ${size} ${ctimeNs}`);
  }
  return found;
}

/** How many files are new, gone or written anew. */
export function touched(before: Snapshot, after: Snapshot): number {
  let count = [...before.keys()].filter((path) => !after.has(path)).length;
  for (const [path, what] of after) if (before.get(path) !== what) count += 1;
  return count;
}

function filesBelow(root: string): string[] {
  const found: string[] = [];
  const walk = (directory: string): void => {
    for (const entry of entriesOf(join(root, directory))) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      else found.push(path);
    }
  };
  walk('');
  return found;
}

function entriesOf(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
