/*
 * The randomised model test (model.test.ts) over real sockets and with processes that are killed (SIGKILL) at random
 * moments: the scripted FTP server has replies, faults and files of its own, and what a killed process leaves is what
 * the disk and the ledger have by then. The moments of the kills are drawn by lot as everything else, but a process
 * that is killed is never twice at the same point: a sequence that fails need not fail again.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunReport } from '../../src/run/context.js';
import type { Fault, Rule } from '../support/ftp-server/fault.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { compileSource } from './support/child.js';
import { Runners } from './support/model-child.js';
import { diskSoil, Ground } from './support/model-ground.js';
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
import type { Promised, Side } from './support/model-rules.js';
import { World } from './support/voyage.js';

const SEEDS = seedsOf(16);

let compiled: TemporaryDirectory;
let runners: Runners;
beforeAll(async () => {
  compiled = await temporaryDirectory('compiled');
  compileSource(compiled.path);
  runners = new Runners(compiled.path);
});
afterAll(async () => {
  await runners[Symbol.asyncDispose]();
  await compiled.remove();
});

/** A world with the scripted FTP server. */
class FtpStage implements Stage, AsyncDisposable {
  readonly grounds: Readonly<Record<Side, Ground>>;
  readonly replaces = 'in-two-steps';
  readonly #world: World;
  #heard = 0;
  #nowMs = Date.now() - 86_400_000;
  kills = 0;

  private constructor(world: World) {
    this.#world = world;
    const elsewhere = world.directory.join('elsewhere');
    this.grounds = {
      local: new Ground(diskSoil(world.local(''), elsewhere)),
      remote: new Ground(diskSoil(world.remote(''), elsewhere)),
    };
  }

  static async open(promised: Promised, seed: number): Promise<FtpStage> {
    const server = SERVERS[Math.floor(seed / 3) % SERVERS.length] ?? {};
    const { mode, direction, conflicts, compare, emptyDirectories } = promised;
    const retries = { attempts: 3, firstDelayMs: 1, maxDelayMs: 2 };
    const world = await World.open({
      server,
      job: { mode, direction, conflicts, compare, emptyDirectories, retries },
      settings: { connections: 2 },
    });
    mkdirSync(world.directory.join('elsewhere'));
    mkdirSync(world.remote(''));
    const stage = new FtpStage(world);
    stage.#allow(promised, promised.limit);
    return stage;
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
    return this.#world.run({ now, ...context });
  }

  async disturbedRun(lot: Lot, { limit, meanwhile }: DisturbedRun): Promise<Disturbance> {
    const rules = Array.from({ length: lot.pick([0, 0, 1, 1, 2]) }, () => ruleOf(lot));
    const isKilled = lot.chance(0.6);
    const at = 5 + lot.below(40);
    const laterMs = lot.pick([0, 0, 1, 3, 10]);
    const editsAt = 8 + lot.below(30);
    for (const rule of rules) this.#world.server.script(rule);
    this.#allow(this.#world.job.deletes, limit);
    const what = [
      ...rules.map((rule) => JSON.stringify(rule)),
      ...(isKilled ? [`a kill ${laterMs} ms after command ${at}`] : []),
      ...(meanwhile === undefined ? [] : [`an edit at command ${editsAt}`]),
    ].join(' ');
    let commands = 0;
    let kill = (): void => {};
    const quiet = this.#world.server.on('command', () => {
      commands += 1;
      if (commands === editsAt) meanwhile?.();
      if (commands === at) kill();
    });
    try {
      const report = isKilled
        ? await this.#killed(laterMs, (killer) => {
            kill = killer;
          })
        : await this.#world.run({ now: () => this.#nowMs });
      return { what: `${what} (${commands} commands)`, blind: [], report };
    } finally {
      quiet();
      this.#world.server.behave();
    }
  }

  /** Hands out what kills the run; where that is not called in time, the run comes to its end. */
  async #killed(laterMs: number, to: (killer: () => void) => void): Promise<RunReport | undefined> {
    const child = runners.start(this.#world, this.#nowMs);
    let killing: Promise<void> | undefined;
    to(() => {
      killing ??= pause(laterMs).then(() => child.end());
    });
    const line = await child.line().catch((error: unknown) => {
      if (killing === undefined) throw error;
    });
    await (killing ?? child.end());
    await this.#world.server.until((journal) => journal.open === 0);
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.#world[Symbol.asyncDispose]();
  }
}

/** They tell times to the second, or else an edit of the same size in the same minute would be none. */
const SERVERS: readonly Partial<FtpServerOptions>[] = [
  {},
  { renameOverwrites: false },
  { fractionalTimes: true, missingListing: 'empty' },
  { maxConnections: 1, features: { 'REST-STOR': false, XSHA256: true } },
];

const VERBS = ['STOR', 'RNFR', 'RNTO', 'SIZE', 'MFMT', 'MLSD', 'RETR', 'DELE', 'MKD', 'RMD'] as const;

function ruleOf(lot: Lot): Rule {
  const on = lot.pick(VERBS);
  const isTransfer = on === 'STOR' || on === 'RETR' || on === 'MLSD';
  const transfer: readonly Fault[] = isTransfer
    ? [
        { kind: 'dataReset', atByte: lot.below(20) },
        { kind: 'controlEnd', atByte: lot.below(20), how: 'reset' },
      ]
    : [];
  const fault = lot.pick<Fault>([
    { kind: 'reply', text: '451 Local error in processing.' },
    { kind: 'reply', text: '550 Permission denied.' },
    { kind: 'reset' },
    // Done, and the reply is lost.
    { kind: 'reset', at: 'after' },
    { kind: 'close', at: 'final' },
    ...transfer,
  ]);
  return { on, nth: 1 + lot.below(5), times: lot.pick([1, 1, 2, 50]), do: fault ?? { kind: 'reset' } };
}

let kills = 0;

describe('a random sequence with kills', () => {
  it.each(SEEDS.map((seed) => [seed, nameOf(seed)] as const))('of seed %i: %s', async (seed) => {
    await using stage = await FtpStage.open(jobOf(seed), seed);
    const played = await play(stage, { seed, rounds: 3, runs: 0.35, disturbed: 0.8 });
    kills += stage.kills;
    expectUnbroken(seed, played);
  });

  it.runIf(SEEDS.length > 1)('kills enough', () => {
    expect(kills).toBeGreaterThan(SEEDS.length / 3);
  });
});
