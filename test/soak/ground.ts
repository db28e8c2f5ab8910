/*
 * The jobs of the soak: what each is told, what its users do on both sides meanwhile, and what both sides must hold in
 * the end. Every mode is there, in one direction at least. What a job must not do is compared as well: a push leaves
 * its source alone, and what a person put there and nobody took away has to be there.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Chance } from './chance.js';
import { type Contents, digest } from './content.js';
import { differences, type Manifest, standing, Tree } from './tree.js';
import type { Workshop } from './workshop.js';

/** Where the soak takes place. */
export interface Site {
  /** Directory of this machine for the jobs' own directories. */
  readonly here: string;
  /** Directory that the server's login begins in. */
  readonly there: string;
  readonly workshop: Workshop;
  readonly contents: Contents;
  readonly chance: Chance;
}

/** One job with its users. */
export interface Ground {
  readonly name: string;
  /** The job file's content; JSON is YAML. */
  readonly job: Readonly<Record<string, unknown>>;
  /** Directories in which every file is whole at any time. */
  readonly shown: readonly string[];
  /** Makes the directories and the first files. */
  plant(): Promise<void>;
  /** What a user does next. */
  disturb(): Promise<void>;
  /** What is not as it should be when all is quiet, a line each. */
  differences(): Promise<string[]>;
}

/** Quick, so that an outage of a few seconds is over soon; a real job would take its time. */
const PATIENCE = { retries: { attempts: 3, firstDelay: '100ms', maxDelay: '1s' } } as const;
/** Nobody is there to approve. */
const DELETES = { limit: { percent: 100, files: 1_000_000 } } as const;
const WATCH = { watch: { settle: '300ms', rescan: '20s' } } as const;

/** All of them. */
export function grounds(site: Site): Ground[] {
  return [mirrorUp(site), copyUp(site), moveUp(site), mirrorDown(site), bothWays(site)];
}

function every(seconds: number): { readonly cron: string; readonly timezone: string } {
  return { cron: `*/${seconds} * * * * *`, timezone: 'UTC' };
}

function tree(site: Site, root: string, below = ''): Tree {
  const { workshop, contents, chance } = site;
  return new Tree({ root, below, workshop, contents, chance: chance.fork() });
}

function mirrorUp(site: Site): Ground {
  const name = 'mirror-up';
  const [from, to] = [join(site.here, name), join(site.there, name)];
  const source = tree(site, from);
  return {
    name,
    job: { from, to: `nas:${name}`, mode: 'mirror', deletes: DELETES, triggers: [WATCH], ...PATIENCE },
    shown: [to],
    plant: () => source.plant(),
    disturb: () => source.disturb(),
    differences: async () => [
      ...differences(`${name}, here`, await standing(from), source.manifest),
      ...differences(`${name}, there`, await standing(to), source.manifest),
    ],
  };
}

/** A copy deletes nothing, so what is gone here stays there in some version. */
function copyUp(site: Site): Ground {
  const name = 'copy-up';
  const [from, to] = [join(site.here, name), join(site.there, name)];
  const source = tree(site, from);
  return {
    name,
    job: { from, to: `nas:${name}`, triggers: [every(4)], ...PATIENCE },
    shown: [to],
    plant: () => source.plant(),
    disturb: () => source.disturb(),
    differences: async () => {
      const there = await standing(to);
      const wanted = new Map(source.manifest);
      for (const path of source.ever) {
        const left = there.get(path);
        if (left !== undefined && !wanted.has(path)) wanted.set(path, left);
      }
      return [
        ...differences(`${name}, here`, await standing(from), source.manifest),
        ...differences(`${name}, there`, there, wanted),
      ];
    },
  };
}

/** An outbox: whatever was put into it is there, once, and here no more. */
function moveUp(site: Site): Ground {
  const name = 'move-up';
  const [from, to] = [join(site.here, name), join(site.there, name)];
  const source = tree(site, from);
  return {
    name,
    job: { from, to: `nas:${name}`, mode: 'move', triggers: [WATCH], ...PATIENCE },
    shown: [to],
    plant: () => source.create(),
    disturb: () => source.create(),
    differences: async () => [
      ...differences(`${name}, here`, await standing(from), new Map()),
      ...differences(`${name}, there`, await standing(to), source.manifest),
    ],
  };
}

function mirrorDown(site: Site): Ground {
  const name = 'mirror-down';
  const [from, to] = [join(site.there, name), join(site.here, name)];
  const source = tree(site, from);
  return {
    name,
    job: {
      from: `nas:${name}`,
      to,
      mode: 'mirror',
      deletes: { policy: 'delete', ...DELETES },
      triggers: [every(7)],
      ...PATIENCE,
    },
    shown: [to],
    plant: async () => {
      await mkdir(to, { recursive: true });
      await source.plant();
    },
    disturb: () => source.disturb(),
    differences: async () => [
      ...differences(`${name}, there`, await standing(from), source.manifest),
      ...differences(`${name}, here`, await standing(to), source.manifest),
    ],
  };
}

/** Files that both sides write: nothing is said of who wins, but both sides agree, and what stands there was written. */
class Shared {
  readonly #sides: readonly [string, string];
  readonly #site: Site;
  readonly #chance: Chance;
  readonly #written = new Set<string>();

  constructor(site: Site, sides: readonly [string, string]) {
    this.#site = site;
    this.#sides = sides;
    this.#chance = site.chance.fork();
  }

  async write(): Promise<void> {
    const file = `shared/file-${this.#chance.between(1, 6)}.bin`;
    // Now and then on both sides at once: that is a conflict.
    const sides = this.#chance.percent(25) ? this.#sides : [this.#chance.pick(this.#sides)];
    for (const side of sides) {
      const content = this.#site.contents.next();
      await this.#site.workshop.put(content, join(side, file));
      this.#written.add(digest(content));
    }
  }

  /** What stands below `shared/` and nobody wrote. */
  strangers(found: Manifest): string[] {
    return [...found]
      .filter(([path, hash]) => path.startsWith('shared/') && !this.#written.has(hash))
      .map(([path]) => `both-ways: ${path} holds what nobody wrote`);
  }
}

/** Each side has a directory that only its own users write to, and one that all of them do. */
function bothWays(site: Site): Ground {
  const name = 'both-ways';
  const sides = [join(site.here, name), join(site.there, name)] as const;
  const [here, there] = sides;
  const mine = tree(site, here, 'mine');
  const theirs = tree(site, there, 'theirs');
  const shared = new Shared(site, sides);
  const part = (found: Manifest, directory: string): Manifest =>
    new Map([...found].filter(([path]) => path.startsWith(`${directory}/`)));
  return {
    name,
    job: {
      from: here,
      to: `nas:${name}`,
      mode: 'two-way',
      deletes: DELETES,
      triggers: [WATCH, every(6)],
      ...PATIENCE,
    },
    shown: sides,
    plant: async () => {
      await mine.plant();
      await theirs.plant();
      await shared.write();
    },
    disturb: async () => {
      const deeds = [() => mine.disturb(), () => theirs.disturb(), () => shared.write()];
      await site.chance.pick(deeds)();
    },
    differences: async () => {
      const [found, over] = [await standing(here), await standing(there)];
      return [
        ...differences(`${name}, here`, part(found, 'mine'), mine.manifest),
        ...differences(`${name}, here`, part(found, 'theirs'), theirs.manifest),
        ...differences(`${name}, there`, over, found),
        ...shared.strangers(found),
      ];
    },
  };
}
