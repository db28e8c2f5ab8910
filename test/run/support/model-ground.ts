/*
 * One side of the model test: what a person can do to a tree, and what can be seen of it. The same over a directory of
 * this machine and over the memory behind MemoryRemote. Whatever is in a person's way is taken away first, so that a
 * file can become a directory and a directory a file. Never used by ferryd itself.
 */
import {
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isTemporary } from '../../../src/plan/temporary.js';
import { TRASH } from '../../../src/plan/trash.js';
import type { MemoryTree } from '../../support/memory-remote.js';

export interface SeenFile {
  readonly content: string;
  readonly modifiedMs: number;
}

/** All that stands on one side at one moment. */
export interface Look {
  /** By their paths; neither the trash nor temporary names are among them. */
  readonly files: ReadonlyMap<string, SeenFile>;
  readonly directories: ReadonlySet<string>;
  /** Links, where they are not kept as links; else each is a file that has its text as its content. */
  readonly others: ReadonlySet<string>;
  /** Path below the trash (`<stamp>/<path>`) to content. */
  readonly trash: ReadonlyMap<string, string>;
  readonly temporaries: readonly string[];
}

type Thing =
  | { readonly kind: 'file'; readonly content: string; readonly modifiedMs: number }
  | { readonly kind: 'link'; readonly leadsTo: string }
  | { readonly kind: 'directory' | 'other' };

/** A link as a content. */
export function contentOfLink(leadsTo: string): string {
  return `-> ${leadsTo}`;
}

/** True for the content of a link. */
export function isLinked(content: string | undefined): boolean {
  return content?.startsWith('-> ') === true;
}

/** What the two kinds of tree can do; Ground builds on it. */
export interface Soil {
  /** Names in a directory; `''` is the root. */
  names(directory: string): readonly string[];
  /** Undefined where there is nothing. */
  at(path: string): Thing | undefined;
  writeFile(path: string, content: string, modifiedMs: number): void;
  touch(path: string, modifiedMs: number): void;
  makeDirectory(path: string): void;
  /** Undefined: out of both sides. */
  link(path: string, leadsTo?: string): void;
  /** A file, a link or an empty directory. */
  takeAway(path: string): void;
  /** A file or a link; nothing stands at `to`, and its directory does. */
  rename(from: string, to: string): void;
}

/** A side as a person uses it. */
export class Ground {
  readonly #soil: Soil;
  readonly #links: 'skip' | 'preserve';

  /** @param links `preserve`: they are looked at as what they are */
  constructor(soil: Soil, links: 'skip' | 'preserve' = 'skip') {
    this.#soil = soil;
    this.#links = links;
  }

  look(): Look {
    const files = new Map<string, SeenFile>();
    const directories = new Set<string>();
    const others = new Set<string>();
    const trash = new Map<string, string>();
    const temporaries: string[] = [];
    for (const [path, seen] of this.#below('')) {
      const thing =
        seen.kind === 'link' && this.#links === 'preserve'
          ? { kind: 'file' as const, content: contentOfLink(seen.leadsTo), modifiedMs: 0 }
          : seen;
      const kept = path.startsWith(`${TRASH}/`) ? path.slice(TRASH.length + 1) : undefined;
      if (isTemporary(path)) temporaries.push(path);
      else if (path === TRASH) continue;
      else if (kept !== undefined) {
        if (thing.kind === 'file') trash.set(kept, thing.content);
      } else if (thing.kind === 'file') files.set(path, thing);
      else if (thing.kind === 'directory') directories.add(path);
      else others.add(path);
    }
    return { files, directories, others, trash, temporaries };
  }

  write(path: string, content: string, modifiedMs: number): void {
    this.#makeWay(path);
    if (this.#soil.at(path)?.kind !== 'file') this.remove(path);
    this.#soil.writeFile(path, content, modifiedMs);
  }

  touch(path: string, modifiedMs: number): void {
    this.#soil.touch(path, modifiedMs);
  }

  makeDirectory(path: string): void {
    this.#makeWay(`${path}/x`);
  }

  link(path: string, leadsTo?: string): void {
    this.#makeWay(path);
    this.remove(path);
    this.#soil.link(path, leadsTo);
  }

  /** Whatever stands there, with all that is in it. */
  remove(path: string): void {
    const thing = this.#soil.at(path);
    if (thing === undefined) return;
    if (thing.kind === 'directory') {
      for (const name of this.#soil.names(path)) this.remove(`${path}/${name}`);
    }
    this.#soil.takeAway(path);
  }

  /** A file; what stands at `to` is replaced. */
  rename(from: string, to: string): void {
    this.#makeWay(to);
    this.remove(to);
    this.#soil.rename(from, to);
  }

  /** The directories of a path are there afterwards. */
  #makeWay(path: string): void {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join('/');
      if (this.#soil.at(above)?.kind === 'directory') continue;
      this.remove(above);
      this.#soil.makeDirectory(above);
    }
  }

  *#below(directory: string): Generator<readonly [string, Thing]> {
    for (const name of this.#soil.names(directory)) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const thing = this.#soil.at(path);
      if (thing === undefined) continue;
      yield [path, thing];
      if (thing.kind === 'directory') yield* this.#below(path);
    }
  }
}

/**
 * A directory of this machine.
 *
 * @param elsewhere what its links lead to: a directory outside
 */
export function diskSoil(root: string, elsewhere: string): Soil {
  const real = (path: string): string => join(root, path);
  return {
    names: (directory) => {
      const stats = lstatSync(real(directory), { throwIfNoEntry: false });
      return stats?.isDirectory() === true ? readdirSync(real(directory)).sort() : [];
    },
    at: (path) => {
      const stats = lstatSync(real(path), { throwIfNoEntry: false });
      if (stats === undefined) return undefined;
      if (stats.isSymbolicLink()) return { kind: 'link', leadsTo: readlinkSync(real(path)) };
      if (!stats.isFile()) return { kind: stats.isDirectory() ? 'directory' : 'other' };
      return { kind: 'file', content: readFileSync(real(path), 'latin1'), modifiedMs: stats.mtimeMs };
    },
    writeFile: (path, content, modifiedMs) => {
      writeFileSync(real(path), content);
      utimesSync(real(path), modifiedMs / 1000, modifiedMs / 1000);
    },
    touch: (path, modifiedMs) => lutimesSync(real(path), modifiedMs / 1000, modifiedMs / 1000),
    makeDirectory: (path) => mkdirSync(real(path), { recursive: true }),
    link: (path, leadsTo = elsewhere) => {
      mkdirSync(dirname(real(path)), { recursive: true });
      symlinkSync(leadsTo, real(path));
    },
    takeAway: (path) => {
      if (lstatSync(real(path)).isDirectory()) rmdirSync(real(path));
      else rmSync(real(path));
    },
    rename: (from, to) => renameSync(real(from), real(to)),
  };
}

/** A tree in memory. */
export function memorySoil(tree: MemoryTree): Soil {
  return {
    names: (directory) =>
      [...(tree.directory(directory)?.entries.keys() ?? [])]
        .map((key) => Buffer.from(key, 'latin1').toString())
        .sort(),
    at: (path) => {
      const node = tree.at(path);
      if (node === undefined || node.kind === 'link') return node;
      if (node.kind === 'directory') return { kind: 'directory' };
      const content = Buffer.concat(node.chunks).toString('latin1');
      return { kind: 'file', content, modifiedMs: node.modifiedMs };
    },
    writeFile: (path, content, modifiedMs) => tree.write(path, content, modifiedMs),
    touch: (path, modifiedMs) => {
      const node = tree.at(path);
      if (node?.kind === 'file') node.modifiedMs = modifiedMs;
    },
    makeDirectory: (path) => tree.makeDirectory(path),
    link: (path, leadsTo) => tree.link(path, leadsTo),
    takeAway: (path) => tree.drop(path),
    rename: (from, to) => {
      if (tree.at(from)?.kind === 'link') tree.link(to, tree.leadsTo(from));
      else tree.write(to, tree.read(from), tree.modifiedMs(from));
      tree.drop(from);
    },
  };
}
