/*
 * The sweep of one operation: an undisturbed run counts the points, then each point gets a scene of its own, in which
 * the run is killed there, one further run follows, and one more that must find nothing to do. Two scenes at a time.
 */
import { createHash } from 'node:crypto';
import type { Operation } from './operations.js';
import type { Point } from './points.js';
import type { Reader, Victims } from './processes.js';
import { type Berth, FIRST_MS, HOUR_MS, openBerth, type Reality, Scene, type ServerKind } from './scene.js';
import type { Told } from './victim.js';

const LANES = 2;

export interface Swept {
  /** How many points there are, in how many states of the world, and how many of them were killed at. */
  readonly points: number;
  readonly states: number;
  readonly kills: number;
  /** How many runs ended before they came to their point. */
  readonly missed: number;
  readonly byKind: Readonly<Record<string, number>>;
  /** How often the reader looked, and how many files it saw under a final name. */
  readonly looks: number;
  readonly files: number;
  /** What went wrong, a sentence for each point; none is what is wanted. */
  readonly wrong: readonly string[];
}

/** Which points are killed at: each of them, or one of those between which nothing changes that outlives the process. */
export type Thoroughness = 'each point' | 'each state';

export async function sweep(
  operation: Operation,
  kind: ServerKind,
  crew: { readonly victims: Victims; readonly reader: Reader; readonly thoroughness: Thoroughness },
): Promise<Swept> {
  const sweeper = new Sweeper(operation, crew.victims, crew.reader);
  const berths: Berth[] = [];
  try {
    for (let lane = 0; lane < LANES; lane += 1) berths.push(await openBerth(kind, operation.server));
    return await sweeper.sweep(berths, crew.thoroughness);
  } finally {
    for (const berth of berths) await berth[Symbol.asyncDispose]();
  }
}

/** What an undisturbed run gives. */
interface Undisturbed {
  readonly points: readonly Point[];
  readonly end: string;
  readonly reality: Reality;
}

class Sweeper {
  readonly #operation: Operation;
  readonly #victims: Victims;
  readonly #reader: Reader;
  readonly #whole: Record<string, string[]>;
  readonly #wrong: string[] = [];
  /** Scenes on whose remote side a session may still do something. */
  readonly #stragglers: { readonly scene: Scene; readonly when: string }[] = [];
  #looks = 0;
  #files = 0;
  #kills = 0;
  #missed = 0;

  constructor(operation: Operation, victims: Victims, reader: Reader) {
    this.#operation = operation;
    this.#victims = victims;
    this.#reader = reader;
    this.#whole = Object.fromEntries(
      Object.entries(operation.whole).map(([path, contents]) => [path, contents.map(sha256Of)]),
    );
  }

  async sweep(berths: readonly Berth[], thoroughness: Thoroughness): Promise<Swept> {
    const [first] = berths;
    if (first === undefined) throw new Error('there is no berth');
    const undisturbed = await this.#undisturbed(first);
    const { points } = undisturbed;
    const queue = points
      .map((point, place) => ({ point, place }))
      .filter(({ point, place }) => thoroughness === 'each point' || points[place - 1]?.state !== point.state)
      .map(({ place }) => place);
    await Promise.all(
      berths.map(async (berth) => {
        for (let place = queue.shift(); place !== undefined; place = queue.shift()) {
          await this.#killAt(place, berth, undisturbed);
        }
      }),
    );
    await this.#settle(berths, undisturbed);
    const byKind: Record<string, number> = {};
    for (const { kind } of points) byKind[kind] = (byKind[kind] ?? 0) + 1;
    return {
      points: points.length,
      states: new Set(points.map(({ state }) => state)).size,
      kills: this.#kills,
      missed: this.#missed,
      byKind,
      looks: this.#looks,
      files: this.#files,
      wrong: this.#wrong,
    };
  }

  async #undisturbed(berth: Berth): Promise<Undisturbed> {
    const scene = await this.#scene(berth, 'undisturbed');
    try {
      const fate = await this.#send(scene, undefined);
      if (fate.kind === 'killed') throw new Error('nobody was to be killed');
      await berth.quiet();
      const { end, points } = fate.told;
      if (!['ok', 'done'].includes(end)) throw new Error(`undisturbed, it ends with ${end}`);
      const undisturbed = { points, end, reality: scene.reality() };
      await this.#rest(scene, 'undisturbed', undisturbed);
      return undisturbed;
    } finally {
      scene.remove();
    }
  }

  async #killAt(place: number, berth: Berth, undisturbed: Undisturbed): Promise<void> {
    const id = `p${place}`;
    const scene = await this.#scene(berth, id);
    this.#reader.watch({ id, roots: [scene.at('local'), scene.at('remote')], whole: this.#whole });
    let straggles = false;
    try {
      const fate = await this.#send(scene, place);
      straggles = (await berth.quiet()) === 'straggling';
      const when = fate.kind === 'killed' ? `killed ${fate.at} (${place})` : `not killed (${place})`;
      if (fate.kind === 'killed') this.#kills += 1;
      else this.#unmet(fate.told, place, when, undisturbed);
      const end = await this.#again(scene);
      if (end !== undisturbed.end) this.#tell(when, [`the next one ends with ${end}`]);
      await berth.quiet();
      this.#tell(when, differences(scene.reality(), undisturbed.reality));
      await this.#rest(scene, when, undisturbed);
      const seen = await this.#reader.leave(id);
      this.#looks += seen.looks;
      this.#files += seen.files;
      this.#tell(when, seen.wrong);
      if (straggles) this.#stragglers.push({ scene, when });
    } catch (error) {
      straggles = false;
      throw error;
    } finally {
      if (!straggles) scene.remove();
    }
  }

  /** What sessions have done that heard of the end of their clients long after the next runs. */
  async #settle(berths: readonly Berth[], { reality }: Undisturbed): Promise<void> {
    await Promise.all(berths.map((berth) => berth.settled()));
    for (const { scene, when } of this.#stragglers.splice(0)) {
      this.#tell(when, differences(scene.reality(), reality, 'long after the third run '));
      scene.remove();
    }
  }

  /** A commit more or less is a matter of milliseconds, so a point at the very end may not come. */
  #unmet({ end, points }: Told, place: number, when: string, undisturbed: Undisturbed): void {
    this.#missed += 1;
    if (points.length > place || end !== undisturbed.end) {
      this.#tell(when, [`it ended with ${end} after ${points.length} points`]);
    }
  }

  async #scene(berth: Berth, id: string): Promise<Scene> {
    const scene = new Scene(berth, id, this.#operation.job);
    await this.#operation.prepare(scene);
    await scene.adopt();
    return scene;
  }

  #send(scene: Scene, killAt: number | undefined): ReturnType<Victims['send']> {
    const { job, ledgerFile } = scene;
    return this.#victims.send({ work: this.#operation.work, job, ledgerFile, nowMs: FIRST_MS, killAt });
  }

  /** One further run, or one further restoration. */
  async #again(scene: Scene): Promise<string> {
    const nowMs = FIRST_MS + HOUR_MS;
    if (this.#operation.work === 'run') return (await scene.run(nowMs)).outcome;
    const { end } = await scene.restore(nowMs);
    // What was put back before the kill is not missing any more.
    return end === 'nothing' ? 'done' : end;
  }

  /** A run that finds nothing to do: neither on the wire nor on the disk. */
  async #rest(scene: Scene, when: string, { reality }: Undisturbed): Promise<void> {
    const said: string[] = [];
    const report = await scene.run(FIRST_MS + 2 * HOUR_MS, (line) => {
      if (line.startsWith('> ')) said.push(line.slice(2).split(' ')[0] ?? '');
    });
    if (report.outcome !== 'ok') this.#tell(when, [`the third run ends with ${report.outcome}`]);
    const moved = said.filter((verb) => this.#operation.atRest === 'silent' || !AT_REST.includes(verb));
    if (moved.length > 0) this.#tell(when, [`the third run still says ${moved.join(', ')}`]);
    this.#tell(when, differences(scene.reality(), reality, 'after the third run '));
  }

  #tell(when: string, problems: readonly string[]): void {
    for (const problem of problems) this.#wrong.push(`${when}: ${problem}`);
  }
}

/** What a run says that only looks. */
const AT_REST = [
  ...'USER PASS FEAT OPTS CLNT TYPE PWD SYST QUIT CWD EPSV MLSD LIST SIZE MDTM MLST NOOP'.split(' '),
  ...'INIT REALPATH STAT LSTAT FSTAT OPENDIR READDIR READLINK CLOSE limits@openssh.com'.split(' '),
];

function differences(found: Reality, wanted: Reality, prefix = ''): string[] {
  return (['local', 'remote', 'ledger'] as const).flatMap((where) => {
    const more = found[where].filter((line) => !wanted[where].includes(line));
    const less = wanted[where].filter((line) => !found[where].includes(line));
    const doubled = more.length + less.length === 0 && found[where].length !== wanted[where].length;
    return [
      ...more.map((line) => `${prefix}${where} has ${line}`),
      ...less.map((line) => `${prefix}${where} lacks ${line}`),
      ...(doubled ? [`${prefix}${where} has something twice`] : []),
    ];
  });
}

function sha256Of(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}
