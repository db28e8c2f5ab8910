/*
 * A world in which links stay links: a local tree, and a remote in memory that knows them. Both sides are written and
 * read in the same words, so that a test can be played in either direction. A link is shown as `-> ` and its text.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Job } from '../../../src/job/job.js';
import { TRASH } from '../../../src/plan/trash.js';
import type { RunReport } from '../../../src/run/context.js';
import { MemoryRemote, MemoryTree, type Step } from '../../support/memory-remote.js';
import { EARLIER, overwrite, type VoyageOptions, World } from './voyage.js';

export type Direction = 'push' | 'pull';

/** Path to content; a link's is `-> ` and its text. */
export type Shown = Record<string, string>;

export interface LinkedSide {
  put(path: string, content?: string): void;
  link(path: string, leadsTo: string): void;
  /** Whatever stands there, with all that is below it. */
  drop(path: string): void;
  /** All but directories, temporary names too; not the trash. */
  shown(): Shown;
  /** What lies in the trash, without its dates; of several versions the last. */
  trash(): Shown;
  /** Whether the trash has this version of a path, of whatever date. */
  keeps(path: string, content: string): boolean;
}

export class Linked implements AsyncDisposable {
  readonly world: World;
  readonly local: LinkedSide;
  readonly remote: LinkedSide;
  /** Every step that the remote was asked for, in order. */
  readonly steps: Step[] = [];
  /** Called before each step. */
  before: (step: Step) => void | Promise<void> = () => {};
  tree = new MemoryTree();
  /** No two runs begin in one second: so they have a date of their own in the trash. */
  #nowMs = Date.UTC(2026, 10, 20);

  private constructor(world: World) {
    this.world = world;
    this.local = localSide((path) => world.local(path));
    this.remote = remoteSide(() => this.tree);
  }

  static async open(job: Partial<Omit<Job, 'server'>> = {}): Promise<Linked> {
    const deletes = {
      policy: 'trash',
      keepMs: 30 * 86_400_000,
      extraneous: false,
      limit: { percent: 10, files: 100 },
    } as const;
    const retries = { attempts: 3, firstDelayMs: 1, maxDelayMs: 2 };
    const options: VoyageOptions = { job: { links: 'preserve', deletes, retries, ...job } };
    return new Linked(await World.open(options));
  }

  /** The accounts of a run: all lead to the tree. */
  readonly accounts = {
    of: async () => ({ remote: () => this.ask() }),
  };

  /** The remote as a run has it. */
  ask(): MemoryRemote {
    return new MemoryRemote({
      tree: this.tree,
      before: (step) => {
        this.steps.push(step);
        return this.before(step);
      },
    });
  }

  run(options: Parameters<World['run']>[0] = {}): Promise<RunReport> {
    this.steps.length = 0;
    this.#nowMs += 1000;
    const nowMs = this.#nowMs;
    return this.world.run({ accounts: this.accounts, now: () => nowMs, ...options });
  }

  /** Source and target of a direction. */
  sides(direction: Direction): { readonly source: LinkedSide; readonly target: LinkedSide } {
    return direction === 'push'
      ? { source: this.local, target: this.remote }
      : { source: this.remote, target: this.local };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.world[Symbol.asyncDispose]();
  }
}

function localSide(at: (path: string) => string): LinkedSide {
  const shown = (directory: string): Shown => {
    const found: Shown = {};
    for (const entry of readdirSync(at(directory), { withFileTypes: true })) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isSymbolicLink()) found[path] = `-> ${readlinkSync(at(path))}`;
      else if (entry.isDirectory()) Object.assign(found, shown(path));
      else found[path] = readFileSync(at(path), 'utf8');
    }
    return found;
  };
  return {
    put: (path, content = path) => overwrite(at(path), content),
    link: (path, leadsTo) => {
      mkdirSync(dirname(at(path)), { recursive: true });
      if (lstatSync(at(path), { throwIfNoEntry: false }) !== undefined) rmSync(at(path));
      symlinkSync(leadsTo, at(path));
    },
    drop: (path) => rmSync(at(path), { recursive: true }),
    shown: () => outsideTrash(shown('')),
    trash: () => Object.fromEntries(inTrash(shown(''))),
    keeps: (path, content) => inTrash(shown('')).some(([at, held]) => at === path && held === content),
  };
}

function remoteSide(tree: () => MemoryTree): LinkedSide {
  const shown = (): Shown => {
    const found: Shown = {};
    for (const path of tree().files()) {
      const isLink = tree().at(path)?.kind === 'link';
      found[path] = isLink ? `-> ${tree().leadsTo(path)}` : tree().read(path).toString();
    }
    return found;
  };
  return {
    put: (path, content = path) => tree().write(path, content, EARLIER),
    link: (path, leadsTo) => tree().link(path, leadsTo),
    drop: (path) => tree().drop(path),
    shown: () => outsideTrash(shown()),
    trash: () => Object.fromEntries(inTrash(shown())),
    keeps: (path, content) => inTrash(shown()).some(([at, held]) => at === path && held === content),
  };
}

function outsideTrash(all: Shown): Shown {
  return Object.fromEntries(Object.entries(all).filter(([path]) => !path.startsWith(`${TRASH}/`)));
}

function inTrash(all: Shown): (readonly [string, string])[] {
  return Object.entries(all).flatMap(([path, content]) => {
    const [first, , ...rest] = path.split('/');
    return first === TRASH ? [[rest.join('/'), content] as const] : [];
  });
}
