/*
 * The jobs of the soak: what each is told, what its users do on both sides meanwhile, and what both sides must hold in
 * the end. Every mode is there, in one direction at least, and the seed says which goes to which server. What a job must
 * not do is compared as well: a push leaves its source alone, and what a person put there and nobody took away has to be
 * there.
 */
import { join } from 'node:path';
import type { Chance } from './chance.js';
import { type Contents, digest } from './content.js';
import { differences, type Manifest, standing, Tree } from './tree.js';
import type { Workshop } from './workshop.js';

/** A directory in which jobs have theirs. */
export interface Shore {
  readonly directory: string;
  readonly workshop: Workshop;
}

/** Where a job takes place. */
export interface Site {
  readonly here: Shore;
  /** What `servers.yaml` calls the server. */
  readonly server: string;
  /** What a login begins in. */
  readonly there: Shore;
  readonly links: 'preserve' | 'skip';
  readonly contents: Contents;
  readonly chance: Chance;
}

/** One job with its users. */
export interface Ground {
  readonly name: string;
  /** The server that it goes to. */
  readonly server: string;
  /** Whether its runs come by the clock as well, whatever its users do. */
  readonly runs: 'when something changes' | 'by the clock';
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

/** All of them. Each site has one that pulls and one that pushes at least, where there are no more than two. */
export function grounds(sites: readonly Site[], chance: Chance): Ground[] {
  const pushes = chance.shuffled([mirrorUp, copyUp, moveUp]);
  const pulls = chance.shuffled([mirrorDown, bothWays]);
  const order = chance.shuffled(sites);
  return [...pushes, ...pulls].map((ground, at) => {
    const site = order[at % order.length];
    if (site === undefined) throw new Error('There is no site for a job');
    return ground(site);
  });
}

function every(seconds: number): { readonly cron: string; readonly timezone: string } {
  return { cron: `*/${seconds} * * * * *`, timezone: 'UTC' };
}

function tree({ contents, chance, links }: Site, { directory, workshop }: Shore, below = ''): Tree {
  return new Tree({ root: directory, below, links, workshop, contents, chance: chance.fork() });
}

/** The directory of a job on one side. */
function part({ directory, workshop }: Shore, name: string): Shore {
  return { directory: join(directory, name), workshop };
}

/** What all jobs of a site are told. FTP knows of no links to preserve. */
function told({ links }: Site): Readonly<Record<string, unknown>> {
  return { links, ...PATIENCE };
}

function mirrorUp(site: Site): Ground {
  const name = 'mirror-up';
  const shore = part(site.here, name);
  const [from, to] = [shore.directory, join(site.there.directory, name)];
  const source = tree(site, shore);
  return {
    name,
    server: site.server,
    runs: 'when something changes',
    job: {
      from,
      to: `${site.server}:${name}`,
      mode: 'mirror',
      deletes: DELETES,
      triggers: [WATCH],
      ...told(site),
    },
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
  const shore = part(site.here, name);
  const [from, to] = [shore.directory, join(site.there.directory, name)];
  const source = tree(site, shore);
  return {
    name,
    server: site.server,
    runs: 'by the clock',
    job: { from, to: `${site.server}:${name}`, triggers: [every(4)], ...told(site) },
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
  const shore = part(site.here, name);
  const [from, to] = [shore.directory, join(site.there.directory, name)];
  const source = tree(site, shore);
  return {
    name,
    server: site.server,
    runs: 'when something changes',
    job: { from, to: `${site.server}:${name}`, mode: 'move', triggers: [WATCH], ...told(site) },
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
  const shore = part(site.there, name);
  const [from, to] = [shore.directory, join(site.here.directory, name)];
  const source = tree(site, shore);
  return {
    name,
    server: site.server,
    runs: 'by the clock',
    job: {
      from: `${site.server}:${name}`,
      to,
      mode: 'mirror',
      deletes: { policy: 'delete', ...DELETES },
      triggers: [every(7)],
      ...told(site),
    },
    shown: [to],
    plant: async () => {
      await site.here.workshop.directory(to);
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
  readonly #sides: readonly [Shore, Shore];
  readonly #site: Site;
  readonly #chance: Chance;
  readonly #written = new Set<string>();

  constructor(site: Site, sides: readonly [Shore, Shore]) {
    this.#site = site;
    this.#sides = sides;
    this.#chance = site.chance.fork();
  }

  async write(): Promise<void> {
    const file = `shared/file-${this.#chance.between(1, 6)}.bin`;
    // Now and then on both sides at once: that is a conflict.
    const sides = this.#chance.percent(25) ? this.#sides : [this.#chance.pick(this.#sides)];
    for (const { directory, workshop } of sides) {
      const content = this.#site.contents.next();
      await workshop.put(content, join(directory, file));
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
  const sides = [part(site.here, name), part(site.there, name)] as const;
  const [{ directory: here }, { directory: there }] = sides;
  const mine = tree(site, sides[0], 'mine');
  const theirs = tree(site, sides[1], 'theirs');
  const shared = new Shared(site, sides);
  const below = (found: Manifest, directory: string): Manifest =>
    new Map([...found].filter(([path]) => path.startsWith(`${directory}/`)));
  return {
    name,
    server: site.server,
    runs: 'by the clock',
    job: {
      from: here,
      to: `${site.server}:${name}`,
      mode: 'two-way',
      deletes: DELETES,
      triggers: [WATCH, every(6)],
      ...told(site),
    },
    shown: [here, there],
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
        ...differences(`${name}, here`, below(found, 'mine'), mine.manifest),
        ...differences(`${name}, here`, below(found, 'theirs'), theirs.manifest),
        ...differences(`${name}, there`, over, found),
        ...shared.strangers(found),
      ];
    },
  };
}
