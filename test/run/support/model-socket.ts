/*
 * The stage of the randomised model test (model.test.ts) over real sockets and with processes that are killed (SIGKILL)
 * at random moments: a scripted server has answers, faults and files of its own, and what a killed process leaves is
 * what the disk and the ledger have by then. The moments of the kills are drawn by lot as everything else, but a process
 * that is killed is never twice at the same point: a sequence that fails need not fail again.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job, Server } from '../../../src/job/job.js';
import type { RunReport } from '../../../src/run/context.js';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.js';
import { compileSource } from './child.js';
import { Runners } from './model-child.js';
import { diskSoil, Ground } from './model-ground.js';
import { loseLedger, restoreLedger, saveLedger } from './model-ledger.js';
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
} from './model-play.js';
import type { Promised, Side } from './model-rules.js';
import { World } from './voyage.js';

/** A scripted server whose files are `remote/` of the world's directory. */
export interface Harbour extends AsyncDisposable {
  /** As a job names it. */
  readonly server: Server;
  /** Whether a new version takes the place of the old one in one step. */
  readonly replaces: Stage['replaces'];
  /** Draws a fault and scripts it. @returns what it is, in words */
  script(lot: Lot): string;
  /** No faults any more. */
  behave(): void;
  /** Calls for each command or request, until the returned function is called. */
  onCommand(listener: () => void): () => void;
  /** Waits until no connection stands. */
  quiet(): Promise<void>;
}

/** @param seed by which servers may differ */
export type OpenHarbour = (world: World, seed: number) => Promise<Harbour>;

class SocketStage implements Stage, AsyncDisposable {
  readonly grounds: Readonly<Record<Side, Ground>>;
  readonly #world: World;
  readonly #harbour: Harbour;
  readonly #runners: Runners;
  #heard = 0;
  #nowMs = Date.now() - 86_400_000;
  kills = 0;

  private constructor(world: World, harbour: Harbour, runners: Runners) {
    this.#world = world;
    this.#harbour = harbour;
    this.#runners = runners;
    const elsewhere = world.directory.join('elsewhere');
    this.grounds = {
      local: new Ground(diskSoil(world.local(''), elsewhere)),
      remote: new Ground(diskSoil(world.remote(''), elsewhere)),
    };
  }

  static async open(
    promised: Promised,
    seed: number,
    how: { readonly open: OpenHarbour; readonly runners: Runners },
  ): Promise<SocketStage> {
    const { mode, direction, conflicts, compare, emptyDirectories } = promised;
    const retries = { attempts: 3, firstDelayMs: 1, maxDelayMs: 2 };
    const world = await World.open({
      job: { mode, direction, conflicts, compare, emptyDirectories, retries },
    });
    mkdirSync(world.directory.join('elsewhere'));
    mkdirSync(world.remote(''));
    const stage = new SocketStage(world, await how.open(world, seed), how.runners);
    stage.#allow(promised, promised.limit);
    return stage;
  }

  get replaces(): Stage['replaces'] {
    return this.#harbour.replaces;
  }

  get #job(): Job {
    return { ...this.#world.job, server: this.#harbour.server };
  }

  #allow({ policy, extraneous }: Pick<Promised, 'policy' | 'extraneous'>, files: number): void {
    const limit = { percent: 0, files };
    this.#world.change({ job: { deletes: { policy, keepMs: 30 * 86_400_000, extraneous, limit } } });
    this.#nowMs += 1000;
  }

  run(how: { readonly limit: number; readonly skipped?: 'again' }): Promise<RunReport> {
    const { limit, ...context } = how;
    this.#allow(this.#world.job.deletes, limit);
    const now = (): number => this.#nowMs;
    return this.#world.run({ now, job: this.#job, ...context });
  }

  async disturbedRun(lot: Lot, { limit, meanwhile }: DisturbedRun): Promise<Disturbance> {
    const rules = Array.from({ length: lot.pick([0, 0, 1, 1, 2]) }, () => this.#harbour.script(lot));
    const isKilled = lot.chance(0.6);
    const at = 5 + lot.below(40);
    const laterMs = lot.pick([0, 0, 1, 3, 10]);
    const editsAt = 8 + lot.below(30);
    this.#allow(this.#world.job.deletes, limit);
    const what = [
      ...rules,
      ...(isKilled ? [`a kill ${laterMs} ms after command ${at}`] : []),
      ...(meanwhile === undefined ? [] : [`an edit at command ${editsAt}`]),
    ].join(' ');
    let commands = 0;
    let kill = (): void => {};
    const quiet = this.#harbour.onCommand(() => {
      commands += 1;
      if (commands === editsAt) meanwhile?.();
      if (commands === at) kill();
    });
    try {
      const report = isKilled
        ? await this.#killed(laterMs, (killer) => {
            kill = killer;
          })
        : await this.#world.run({ now: () => this.#nowMs, job: this.#job });
      return { what: `${what} (${commands} commands)`, blind: [], report };
    } finally {
      quiet();
      this.#harbour.behave();
    }
  }

  /** Hands out what kills the run; where that is not called in time, the run comes to its end. */
  async #killed(laterMs: number, to: (killer: () => void) => void): Promise<RunReport | undefined> {
    const child = this.#runners.start(this.#world, this.#job, this.#nowMs);
    let killing: Promise<void> | undefined;
    to(() => {
      killing ??= pause(laterMs).then(() => child.end());
    });
    const line = await child.line().catch((error: unknown) => {
      if (killing === undefined) throw error;
    });
    await (killing ?? child.end());
    await this.#harbour.quiet();
    if (line === undefined) this.kills += 1;
    return line === undefined ? undefined : JSON.parse(line);
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#harbour[Symbol.asyncDispose]();
    await this.#world[Symbol.asyncDispose]();
  }
}

/** The random sequences as tests. */
export function playWithKills(open: OpenHarbour): void {
  const seeds = seedsOf(16);
  let compiled: TemporaryDirectory;
  let runners: Runners;
  let kills = 0;
  beforeAll(async () => {
    compiled = await temporaryDirectory('compiled');
    compileSource(compiled.path);
    runners = new Runners(compiled.path);
  });
  afterAll(async () => {
    await runners[Symbol.asyncDispose]();
    await compiled.remove();
  });

  describe('a random sequence with kills', () => {
    it.each(seeds.map((seed) => [seed, nameOf(seed)] as const))('of seed %i: %s', async (seed) => {
      await using stage = await SocketStage.open(jobOf(seed), seed, { open, runners });
      const played = await play(stage, { seed, rounds: 3, runs: 0.35, disturbed: 0.8 });
      kills += stage.kills;
      expectUnbroken(seed, played);
    });

    it.runIf(seeds.length > 1)('kills enough', () => {
      expect(kills).toBeGreaterThan(seeds.length / 3);
    });
  });
}
