/*
 * A directory that the soak's driver writes to as a user would: files that are created, changed, renamed and deleted,
 * whole directories too, and links where the job keeps them. It remembers what should stand there, for whoever compares
 * later. Files come into their place whole, by a rename; only those called `grow-...` are written in pieces where they
 * lie. No link leads out of the tree: a job would not make such a link on this machine.
 */
import { lutimes, readdir, readFile, readlink, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isTemporary } from '../../src/plan/temporary.js';
import { isTrash } from '../../src/plan/trash.js';
import type { Chance } from './chance.js';
import { type Contents, digest, isWhole } from './content.js';
import type { Workshop } from './workshop.js';

/** The one file that is never touched: a source without any file would be taken for a disk that is not mounted. */
const ANCHOR = 'anchor.txt';
const MOST_FILES = 120;
const DIRECTORIES = ['', 'a', 'b', 'a/deep', 'a/deep/er', 'with space', 'Ünïcödé'] as const;
const WORDS = ['report', 'scan 1', 'naïve', 'data', "quote's", 'x', '#7', '日本'] as const;

export interface TreeOptions {
  /** Directory that the job copies from, or to. */
  readonly root: string;
  /** Directory below it that this tree keeps to; empty for all of it. */
  readonly below: string;
  /** What the job does with links; nobody makes any where it skips them. */
  readonly links: 'preserve' | 'skip';
  readonly workshop: Workshop;
  readonly contents: Contents;
  readonly chance: Chance;
}

/** Path below the root to what stands there: a file's SHA-256, or where a link leads. */
export type Manifest = ReadonlyMap<string, string>;

export class Tree {
  readonly #options: TreeOptions;
  readonly #files = new Map<string, string>();
  readonly #ever = new Set<string>();
  #names = 0;
  /** How many files were created, changed, renamed or deleted. */
  operations = 0;

  constructor(options: TreeOptions) {
    this.#options = options;
  }

  /** What should stand there, but for what the job itself has taken away. */
  get manifest(): Manifest {
    return this.#files;
  }

  /** Every path under which something stood at some time. */
  get ever(): ReadonlySet<string> {
    return this.#ever;
  }

  /** Writes what is there at the beginning. */
  async plant(): Promise<void> {
    await this.#put(this.#path(ANCHOR), this.#options.contents.next());
    for (let file = 0; file < 8; file += 1) await this.create();
  }

  /** Does one thing. */
  async disturb(): Promise<void> {
    const { chance } = this.#options;
    const deeds = [
      ...Array<() => Promise<void>>(this.#files.size > MOST_FILES ? 0 : 6).fill(() => this.create()),
      ...Array<() => Promise<void>>(4).fill(() => this.#change()),
      ...Array<() => Promise<void>>(this.#files.size > MOST_FILES ? 8 : 3).fill(() => this.#remove()),
      () => this.#rename(),
      () => this.#rename(),
      () => this.#touch(),
      () => this.#grow(),
      () => this.#renameDirectory(),
      () => this.#removeDirectory(),
      () => this.#burst(),
      ...Array<() => Promise<void>>(this.#options.links === 'preserve' ? 3 : 0).fill(() => this.#link()),
    ];
    await chance.pick(deeds)();
  }

  /** A new file, also in a directory that is not there yet. */
  async create(): Promise<void> {
    await this.#put(this.#newPath('file'), this.#options.contents.next());
  }

  /** A new link, or one in place of a file or of another link. Most lead nowhere. */
  async #link(): Promise<void> {
    const { chance, workshop } = this.#options;
    const path = (chance.percent(50) ? this.#some() : undefined) ?? this.#newPath('link');
    this.#names += 1;
    // No more than one up, and that only below a directory: so deep lies whatever is there, also once it was moved.
    const up = path.includes('/') && chance.percent(30) ? '../' : '';
    const leadsTo = `${up}${chance.pick([ANCHOR, `${chance.pick(WORDS)}-${this.#names}`, chance.pick(WORDS)])}`;
    await workshop.link(leadsTo, this.#at(path));
    this.#hold(path, told(leadsTo));
  }

  async #burst(): Promise<void> {
    for (let file = this.#options.chance.between(5, 20); file > 0; file -= 1) await this.create();
  }

  async #change(): Promise<void> {
    const path = this.#some();
    if (path !== undefined) await this.#put(path, this.#options.contents.next());
  }

  /** Another time, and nothing else. */
  async #touch(): Promise<void> {
    const path = this.#some();
    if (path === undefined) return;
    const time = new Date();
    await lutimes(this.#at(path), time, time);
    this.operations += 1;
  }

  /** In pieces where it lies, as a log grows. */
  async #grow(): Promise<void> {
    const path = this.#newPath('grow');
    const pieces = [this.#options.contents.next(), this.#options.contents.next()];
    await this.#options.workshop.grow(pieces, this.#at(path));
    this.#hold(path, digest(Buffer.concat(pieces)));
  }

  async #remove(): Promise<void> {
    const path = this.#some();
    if (path === undefined) return;
    await rm(this.#at(path), { force: true });
    this.#files.delete(path);
    this.operations += 1;
  }

  async #rename(): Promise<void> {
    const path = this.#some();
    if (path === undefined) return;
    // A link stays in its directory: it may lead one up, and would lead out of the tree from further up.
    const to = isLink(this.#files.get(path))
      ? this.#newPath('link', dirname(path))
      : this.#newPath(path.includes('grow-') ? 'grow' : 'file');
    await this.#options.workshop.directory(dirname(this.#at(to)));
    await rename(this.#at(path), this.#at(to));
    this.#moved(path, to);
    this.operations += 1;
  }

  async #renameDirectory(): Promise<void> {
    const directory = this.#path(this.#options.chance.pick(DIRECTORIES.slice(1)));
    const inIt = this.#in(directory);
    if (inIt.length === 0) return;
    this.#names += 1;
    const to = this.#path(`moved-${this.#names}`);
    await rename(this.#at(directory), this.#at(to));
    for (const path of inIt) this.#moved(path, `${to}${path.slice(directory.length)}`);
    this.operations += 1;
  }

  async #removeDirectory(): Promise<void> {
    const moved = [...this.#files.keys()].map((path) => /^(?:.*\/)?moved-\d+/.exec(path)?.[0]);
    const directories = moved.filter((directory) => directory !== undefined);
    const directory =
      directories.length === 0
        ? this.#path(this.#options.chance.pick(DIRECTORIES.slice(1)))
        : this.#options.chance.pick(directories);
    await rm(this.#at(directory), { recursive: true, force: true });
    for (const path of this.#in(directory)) this.#files.delete(path);
    this.operations += 1;
  }

  async #put(path: string, content: Buffer): Promise<void> {
    await this.#options.workshop.put(content, this.#at(path));
    this.#hold(path, digest(content));
  }

  #hold(path: string, hash: string): void {
    this.#files.set(path, hash);
    this.#ever.add(path);
    this.operations += 1;
  }

  #moved(from: string, to: string): void {
    const hash = this.#files.get(from);
    this.#files.delete(from);
    if (hash === undefined) return;
    this.#files.set(to, hash);
    this.#ever.add(to);
  }

  #some(): string | undefined {
    const anchor = this.#path(ANCHOR);
    const others = [...this.#files.keys()].filter((path) => path !== anchor);
    return others.length === 0 ? undefined : this.#options.chance.pick(others);
  }

  #in(directory: string): string[] {
    return [...this.#files.keys()].filter((path) => path.startsWith(`${directory}/`));
  }

  /** @param within path of the directory; one of the usual ones unless told */
  #newPath(kind: 'file' | 'grow' | 'link', within?: string): string {
    const { chance } = this.#options;
    this.#names += 1;
    const directory = within ?? this.#path(chance.pick(DIRECTORIES));
    return join(directory, `${kind}-${chance.pick(WORDS)}-${this.#names}.bin`);
  }

  #path(path: string): string {
    return join(this.#options.below, path);
  }

  #at(path: string): string {
    return join(this.#options.root, path);
  }
}

/** What stands below a directory, trash apart: temporary files are told under their own names. */
export async function standing(root: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { path, kind } of await standings(root)) {
    const at = join(root, path);
    const what = await (kind === 'link' ? readlink(at).then(told) : readFile(at).then(digest)).catch(
      () => undefined,
    );
    if (what !== undefined) found.set(path, what);
  }
  return found;
}

/** Which of these paths differ from what they should be, a line each. */
export function differences(where: string, found: Manifest, wanted: Manifest): string[] {
  const lines: string[] = [];
  for (const [path, hash] of wanted) {
    const there = found.get(path);
    if (there === undefined) lines.push(`${where}: ${path} is missing`);
    else if (there !== hash) lines.push(`${where}: ${path} is not what it should be`);
  }
  for (const path of found.keys()) if (!wanted.has(path)) lines.push(`${where}: ${path} is too many`);
  return lines;
}

/**
 * Looks into some files below a directory, as any program would that reads there while jobs run.
 *
 * @returns a line for each that is not whole under its final name
 */
export async function halves(root: string, chance: Chance, looks: number): Promise<string[]> {
  const lines: string[] = [];
  const candidates = (await standings(root))
    .filter(({ path, kind }) => kind === 'file' && !isTemporary(path) && !path.includes('grow-'))
    .map(({ path }) => path);
  for (let look = 0; look < looks && candidates.length > 0; look += 1) {
    const path = chance.pick(candidates);
    const content = await readFile(join(root, path)).catch(() => undefined);
    if (content !== undefined && !isWhole(content))
      lines.push(`${root}: ${path} stood there with ${content.length} bytes that are no whole file`);
  }
  return lines;
}

/** A link in a manifest. */
function told(leadsTo: string): string {
  return `leads to ${leadsTo}`;
}

function isLink(held: string | undefined): boolean {
  return held?.startsWith('leads to ') === true;
}

interface Standing {
  readonly path: string;
  readonly kind: 'file' | 'link';
}

async function standings(root: string): Promise<Standing[]> {
  const found: Standing[] = [];
  const visit = async (directory: string): Promise<void> => {
    const entries = await readdir(join(root, directory), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (isTrash(path)) continue;
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile()) found.push({ path, kind: 'file' });
      else if (entry.isSymbolicLink()) found.push({ path, kind: 'link' });
    }
  };
  await visit('');
  return found;
}
