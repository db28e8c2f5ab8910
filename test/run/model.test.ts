/*
 * The randomised model test: a tree on each side, random edits, faults and interruptions, and in the end both sides are
 * as a simple model (support/model-rules.ts) says, for every mode and both directions. Runs go over a remote in memory
 * that fails on demand; killed processes and real sockets are model-kill.test.ts's.
 *
 * A sequence that fails prints its seed and all its steps. FERRYD_SEED=<seed>[,<seed>] plays those alone,
 * FERRYD_SEQUENCES=<n> plays more of them.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { RunReport } from '../../src/run/context.js';
import { MemoryTree, type Step } from '../support/memory-remote.js';
import { diskSoil, Ground, memorySoil } from './support/model-ground.js';
import { loseLedger, restoreLedger, saveLedger } from './support/model-ledger.js';
import {
  type Disturbance,
  type DisturbedRun,
  expectUnbroken,
  jobOf,
  type Lot,
  nameOf,
  play,
  type Stage,
  seedsOf,
} from './support/model-play.js';
import { type Trouble, Weather, WeatherRemote } from './support/model-remote.js';
import type { Promised, Side } from './support/model-rules.js';
import { World } from './support/voyage.js';

const SEEDS = seedsOf(48);

/** A world whose remote is in memory. */
class MemoryStage implements Stage, AsyncDisposable {
  readonly grounds: Readonly<Record<Side, Ground>>;
  readonly replaces = 'at-once';
  readonly links: 'preserve' | 'skip';
  readonly #world: World;
  readonly #tree: MemoryTree;
  #heard = 0;
  /** No two runs begin in one second: so they have a date of their own in the trash. */
  #nowMs = Date.now() - 86_400_000;

  private constructor(world: World, links: 'preserve' | 'skip') {
    this.#world = world;
    this.#tree = new MemoryTree();
    this.links = links;
    this.grounds = {
      local: new Ground(diskSoil(world.local(''), world.directory.join('elsewhere')), links),
      remote: new Ground(memorySoil(this.#tree), links),
    };
  }

  static async open(promised: Promised, links: 'preserve' | 'skip'): Promise<MemoryStage> {
    const { mode, direction, conflicts, compare, emptyDirectories } = promised;
    const world = await World.open({
      job: {
        mode,
        direction,
        conflicts,
        compare,
        emptyDirectories,
        links,
        retries: { attempts: 3, firstDelayMs: 1, maxDelayMs: 2 },
      },
    });
    mkdirSync(world.directory.join('elsewhere'));
    const stage = new MemoryStage(world, links);
    stage.#allow(promised, promised.limit);
    return stage;
  }

  #allow({ policy, extraneous }: Pick<Promised, 'policy' | 'extraneous'>, files: number): void {
    const limit = { percent: 0, files };
    this.#world.change({ job: { deletes: { policy, keepMs: 30 * 86_400_000, extraneous, limit } } });
  }

  run(how: { readonly limit: number; readonly skipped?: 'again' }): Promise<RunReport> {
    return this.#sail(how, new Weather([]));
  }

  async disturbedRun(lot: Lot, { limit, directories, meanwhile }: DisturbedRun): Promise<Disturbance> {
    const troubles = Array.from({ length: lot.pick([0, 1, 1, 1, 2, 3]) }, () => trouble(lot, directories));
    const stop = new AbortController();
    const cut = new AbortController();
    const end = lot.pick(['goes on', 'goes on', 'goes on', 'stop', 'cut'] as const);
    const endsAt = 1 + lot.below(30);
    const editsAt = 1 + lot.below(20);
    const weather = new Weather(troubles, (step) => {
      if (step === editsAt) meanwhile?.();
      if (step !== endsAt) return;
      if (end === 'stop') stop.abort();
      if (end === 'cut') cut.abort();
    });
    const report = await this.#sail({ limit }, weather, { stop: stop.signal, cut: cut.signal });
    const blind = troubles.flatMap((one) => (one.kind === 'listing' ? [one.directory] : []));
    const what = [
      ...troubles.map((one) => JSON.stringify(one)),
      ...(end === 'goes on' ? [] : [`${end} at step ${endsAt}`]),
      ...(meanwhile === undefined ? [] : [`an edit at step ${editsAt}`]),
    ];
    return { what: `${what.join(' ')} (${weather.steps} steps)`, blind, report };
  }

  #sail(
    { limit, skipped }: { readonly limit: number; readonly skipped?: 'again' },
    weather: Weather,
    signals: { readonly stop?: AbortSignal; readonly cut?: AbortSignal } = {},
  ): Promise<RunReport> {
    const { deletes } = this.#world.job;
    this.#allow(deletes, limit);
    const remote = new WeatherRemote(this.#tree, weather);
    const accounts = { of: async () => ({ remote: () => remote }) };
    this.#nowMs += 1000;
    const now = (): number => this.#nowMs;
    return this.#world.run({ accounts, now, ...signals, ...(skipped === undefined ? {} : { skipped }) });
  }

  skips(): string[] {
    const heard = this.#world.events.slice(this.#heard);
    this.#heard = this.#world.events.length;
    return heard.flatMap((event) => {
      const isSkip = event.event === 'file.skipped' || event.event === 'scan.problem';
      return isSkip ? [`${event.path}: ${event.code}: ${event.message}`] : [];
    });
  }

  strayed(): string[] {
    return readdirSync(this.#world.directory.join('elsewhere'));
  }

  saveLedger(): void {
    saveLedger(this.#world);
  }

  restoreLedger(): void {
    restoreLedger(this.#world);
  }

  loseLedger(): void {
    loseLedger(this.#world);
  }

  approve(): void {
    this.#world.ledger.approve(this.#world.job.name, Date.now());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#world[Symbol.asyncDispose]();
  }
}

const STEPS: readonly [Step['step'], ...Step['step'][]] = [
  'store',
  'prove',
  'time',
  'rename',
  'retrieve',
  'stat',
  'list',
  'remove',
  'move',
  'make',
  'clear',
  'digest',
  'link',
  'read-link',
];

function trouble(lot: Lot, directories: readonly string[]): Trouble {
  const nth = 1 + lot.below(4);
  const times = lot.pick([1, 1, 2, 3, 100]);
  switch (lot.pick(['step', 'step', 'step', 'unheard', 'unheard', 'cut', 'listing', 'listing'] as const)) {
    case 'step': {
      const what = lot.pick(['later', 'lost', 'lost', 'never', 'full'] as const);
      return { kind: 'step', what, step: lot.pick(STEPS), nth, times };
    }
    case 'unheard': {
      const operation = lot.pick([
        'deliver',
        'remove',
        'move',
        'makeDirectory',
        'removeDirectory',
        'makeLink',
      ] as const);
      return { kind: 'unheard', operation, nth, times };
    }
    case 'cut':
      return {
        kind: 'cut',
        way: lot.pick(['up', 'down']),
        nth,
        times,
        atByte: lot.pick([0, 5, 11, 200, 1_200_000]),
      };
    case 'listing':
      return {
        kind: 'listing',
        directory: lot.pick(directories) ?? '',
        what: lot.pick(['refused', 'unproven', 'incomplete']),
      };
  }
}

/** So that each mode has them in both directions. */
function linksOf(seed: number): 'preserve' | 'skip' {
  return Math.floor(seed / 16) % 3 === 1 ? 'preserve' : 'skip';
}

let steps = 0;

describe('a random sequence', () => {
  it.each(SEEDS.map((seed) => [seed, nameOf(seed)] as const))('of seed %i: %s', async (seed) => {
    await using stage = await MemoryStage.open(jobOf(seed), linksOf(seed));
    const played = await play(stage, { seed, rounds: 6, runs: 0.3, disturbed: 0.7 });
    steps += played.steps;
    expectUnbroken(seed, played);
  });

  it.runIf(SEEDS.length >= 48)('there were at least 2,000 steps', () => {
    expect(steps).toBeGreaterThanOrEqual(2_000);
  });
});
