/*
 * Plays one random sequence of the model test: a job, edits on either side, runs in fair and in foul weather, and now
 * and then a rest, in which runs have to bring both sides to what the rules foretell. Everything is drawn from one seed,
 * and every step is written down, so that a sequence that failed can be read and played again.
 */
import { expect } from 'vitest';
import type { RunReport } from '../../../src/run/context.js';
import { randomNumbers } from '../../support/tree.js';
import { contentOfLink, type Ground, isLinked, type Look } from './model-ground.js';
import { type Both, other, type Promised, Rules, SIDES, type Side, type Went } from './model-rules.js';

/** Draws from a seed. */
export class Lot {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
  }

  /** A whole number below `count`. */
  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  /** True so often, 0 to 1. */
  chance(often: number): boolean {
    return this.#random() < often;
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  pick<Item>(items: readonly Item[]): Item | undefined;
  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.below(items.length)];
  }
}

/** What a run that something happens to looks like from outside. */
export interface Disturbance {
  /** For the record. */
  readonly what: string;
  /** Directories of the remote that it cannot look at. */
  readonly blind: readonly string[];
  /** Undefined: it was killed. */
  readonly report: RunReport | undefined;
}

export interface DisturbedRun {
  readonly limit: number;
  /** Those of the remote, `''` for its root. */
  readonly directories: readonly string[];
  /** To be called at some moment of the run, or not at all. */
  readonly meanwhile: (() => void) | undefined;
}

/** Where a sequence is played. */
export interface Stage {
  readonly grounds: Readonly<Record<Side, Ground>>;
  readonly replaces: Went['replaces'];
  /** Whether links stay links there; left out: they stay behind. */
  readonly links?: 'preserve' | 'skip';
  run(how: { readonly limit: number; readonly skipped?: 'again' }): Promise<RunReport>;
  /** Draws something that goes wrong, and runs. */
  disturbedRun(lot: Lot, how: DisturbedRun): Promise<Disturbance>;
  /** What was skipped since this was asked last, and why. */
  skips(): readonly string[];
  /** What has come to the place outside that links lead to. */
  strayed(): readonly string[];
  saveLedger(): void;
  restoreLedger(): void;
  loseLedger(): void;
  /** A person releases what is held. */
  approve(): void;
}

/** Modes and directions take turns, so that a few seeds in a row have them all; the rest is drawn. */
export function jobOf(seed: number): Promised {
  const lot = new Lot(seed);
  const [mode, conflicts] = MODES[seed % MODES.length] ?? (['copy', 'keep-both'] as const);
  const isMirror = mode === 'mirror';
  return {
    mode,
    direction: Math.floor(seed / MODES.length) % 2 === 0 ? 'push' : 'pull',
    conflicts,
    policy: lot.pick(['trash', 'trash', 'delete']),
    compare: lot.pick(['ledger', 'ledger', 'remote', 'checksum']),
    extraneous: isMirror && lot.chance(0.3),
    emptyDirectories: lot.pick(['keep', 'skip']),
    limit: lot.chance(0.2) ? 2 : NO_LIMIT,
  };
}

const MODES = [
  ['copy', 'keep-both'],
  ['mirror', 'keep-both'],
  ['move', 'keep-both'],
  ['two-way', 'keep-both'],
  ['mirror', 'keep-both'],
  ['two-way', 'newer'],
  ['two-way', 'from'],
  ['two-way', 'to'],
] as const;

/** For the name of a test. */
export function nameOf(seed: number): string {
  const { mode, direction, conflicts } = jobOf(seed);
  return `${mode}${mode === 'two-way' ? ` (${conflicts})` : ''}, ${direction}`;
}

/** The first so many, unless the environment asks for others. */
export function seedsOf(count: number): number[] {
  const { FERRYD_SEED: seeds, FERRYD_SEQUENCES: sequences = count } = process.env;
  if (seeds !== undefined) return seeds.split(',').map(Number);
  return Array.from({ length: Number(sequences) }, (_, i) => i);
}

/** Fails with all that is needed to see why, and to play it again. */
export function expectUnbroken(seed: number, { broken, record }: Played): void {
  if (broken.length === 0) return;
  const lines = (some: readonly string[]): string => some.map((line) => `  ${line}`).join('\n');
  expect.fail(`FERRYD_SEED=${seed} plays this again:\n${lines(record)}\nBroken:\n${lines(broken)}`);
}

/** Few names, so that they meet; some sort around the slash, some are files here and directories there. */
const NAMES = [
  'a',
  'b.txt',
  'd',
  'd-1',
  'd.x',
  'd/a',
  'd/b',
  'd/e',
  'd/e/a',
  'd/e/b',
  'g/a',
  'g/h/a',
  'g/h/b',
];

const SIZES_BYTES = [12, 12, 12, 40, 300] as const;
/** Worth going on with where it was cut off. */
const BIG_BYTES = 1_400_000;

const NO_LIMIT = 1000;

/** Stays where it is, so that no side is ever taken for a disk that is not mounted. */
const ANCHOR = 'anchor';

/** So often may a run change something until both sides are at rest. */
const RUNS_TO_REST = 3;

/** What a sequence has found. */
export interface Played {
  readonly steps: number;
  readonly broken: readonly string[];
  /** All that was done, a line for each step. */
  readonly record: readonly string[];
}

export interface PlayOptions {
  readonly seed: number;
  readonly rounds: number;
  /** How often a step is a run, and how often a run is disturbed. */
  readonly runs: number;
  readonly disturbed: number;
}

/** Plays a sequence; ends at the first round in which something was broken. */
export async function play(stage: Stage, options: PlayOptions): Promise<Played> {
  return new Play(stage, options).play();
}

class Play {
  readonly #stage: Stage;
  readonly #options: PlayOptions;
  readonly #lot: Lot;
  readonly #promised: Promised;
  readonly #rules: Rules;
  /** Either files are rewritten so that only their ctime tells, or old ledgers come back: not even both can be told. */
  readonly #trick: 'unseen-rewrites' | 'old-ledgers';
  readonly #record: string[] = [];
  readonly #broken: string[] = [];
  #steps = 0;
  #contents = 0;
  #links = 0;
  #moments = 0;
  #saved: ReturnType<Rules['remembered']> | undefined;

  constructor(stage: Stage, options: PlayOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#promised = jobOf(options.seed);
    this.#lot = new Lot(options.seed + 1_000_003);
    this.#rules = new Rules(this.#promised);
    this.#trick = this.#lot.pick(['unseen-rewrites', 'old-ledgers']);
    this.#record.push(`job: ${JSON.stringify(this.#promised)}`);
  }

  async play(): Promise<Played> {
    const content = this.#content();
    this.#write(this.#rules.source, ANCHOR, content);
    if (this.#promised.mode === 'two-way') this.#write(this.#rules.target, ANCHOR, content);
    for (let round = 1; round <= this.#options.rounds && this.#broken.length === 0; round += 1) {
      await this.#round();
    }
    return { steps: this.#steps, broken: this.#broken, record: this.#record };
  }

  async #round(): Promise<void> {
    const steps = 4 + this.#lot.below(8);
    for (let i = 0; i < steps && this.#broken.length === 0; i += 1) {
      if (!this.#lot.chance(this.#options.runs)) this.#edit();
      else if (this.#lot.chance(this.#options.disturbed)) await this.#disturbedRun();
      else await this.#run({ limit: this.#promised.limit });
    }
    if (this.#broken.length === 0) await this.#rest();
    if (this.#broken.length === 0 && this.#trick === 'old-ledgers') this.#keepOrRestore();
  }

  /** Runs until nothing happens any more; then both sides are as the rules say. */
  async #rest(): Promise<void> {
    const start = this.#look();
    let before = start;
    for (let run = 1; run <= RUNS_TO_REST + 1; run += 1) {
      await this.#run({ limit: NO_LIMIT, ...(run === 1 ? { skipped: 'again' as const } : {}) });
      const after = this.#look();
      if (this.#broken.length > 0) return;
      if (isSame(before, after)) {
        this.#broken.push(...this.#rules.atRest(start, after));
        return;
      }
      before = after;
    }
    this.#broken.push(`after ${RUNS_TO_REST} runs there is something left to do`);
  }

  async #run(how: { readonly limit: number; readonly skipped?: 'again' }): Promise<void> {
    const before = this.#look();
    const report = await this.#stage.run(how);
    const { outcome, failure } = report;
    this.#did(`run${how.skipped === undefined ? '' : ' --retry-skipped'}: ${endOf(report)}`);
    this.#tellSkips();
    // What a run without a memory finds extraneous waits for a person, who says yes here.
    const isFirst = this.#promised.extraneous && failure?.code === 'first-run';
    const mayHold = (how.limit < NO_LIMIT && outcome === 'held') || isFirst;
    if (outcome !== 'ok' && outcome !== 'partial' && !mayHold) {
      this.#broken.push(`a run that nothing was in the way of ended ${outcome}: ${failure?.message}`);
    }
    const { replaces } = this.#stage;
    const limit = isFirst ? 0 : how.limit;
    const went = { undisturbed: true, replaces, limit, blind: [], edited: new Set<string>() };
    this.#broken.push(...this.#rules.afterRun(before, this.#look(), went));
    if (!isFirst || this.#broken.length > 0) return;
    this.#stage.approve();
    this.#did('approve');
    await this.#run({ limit: how.limit });
  }

  async #disturbedRun(): Promise<void> {
    const before = this.#look();
    const { limit } = this.#promised;
    const directories = ['', ...before.remote.directories];
    const edited = new Map<string, string | undefined>();
    const meanwhile = (): void => {
      for (const [path, content] of this.#edit('local')) edited.set(path, content);
    };
    const happens = this.#lot.chance(0.3) ? meanwhile : undefined;
    const { what, blind, report } = await this.#stage.disturbedRun(this.#lot, {
      limit,
      directories,
      meanwhile: happens,
    });
    this.#did(`run with ${what}: ${report === undefined ? 'killed' : endOf(report)}`);
    this.#tellSkips();
    if (report?.failure?.code === 'unexpected') this.#broken.push(`unexpected: ${report.failure.message}`);
    const after = this.#look();
    const { replaces } = this.#stage;
    const went = { undisturbed: false, replaces, limit, blind, edited: new Set(edited.keys()) };
    this.#broken.push(...this.#rules.afterRun(before, after, went));
    for (const [path, content] of edited) {
      if (content === undefined || isStillThere(after, content) || this.#rules.mayOverwrite('local'))
        continue;
      this.#broken.push(`local ${path}: what was written while a run was under way is lost`);
    }
  }

  /** The ledger is lost now and then, and an old copy takes its place, or none. */
  #keepOrRestore(): void {
    if (this.#lot.chance(0.25)) {
      this.#stage.loseLedger();
      this.#rules.restored(new Map(), this.#look());
      this.#did('the ledger is lost');
      return;
    }
    if (this.#saved !== undefined && this.#lot.chance(0.2)) {
      this.#stage.restoreLedger();
      this.#rules.restored(this.#saved, this.#look());
      this.#did('an old ledger is put back');
    } else if (this.#lot.chance(0.4)) {
      this.#stage.saveLedger();
      this.#saved = this.#rules.remembered();
      this.#did('the ledger is kept for later');
    }
  }

  /**
   * One thing that a person does.
   *
   * @returns the paths on that side, and what was written there
   */
  #edit(only?: Side): ReadonlyMap<string, string | undefined> {
    const lot = this.#lot;
    const { source, target } = this.#rules;
    const often = this.#promised.mode === 'two-way' ? 0.5 : 0.7;
    const side = only ?? (lot.chance(often) ? source : target);
    const { files, directories } = this.#stage.grounds[side].look();
    const file = lot.pick([...files.keys()].filter((path) => path !== ANCHOR));
    const directory = lot.pick([...directories]);
    const path = lot.pick(NAMES) ?? 'a';
    const edit = lot.pick(EDITS);
    switch (edit) {
      case 'make-directory':
        return this.#makeDirectory(side, lot.pick(['e', 'd/e', 'd/f/g', 'g']));
      case 'link':
        return lot.chance(0.5) ? this.#link(side, path) : this.#write(side, path);
      case 'both': {
        const content = this.#content();
        if (only === undefined) this.#write(other(side), path, content);
        return this.#write(side, path, content);
      }
      case 'clash':
        if (only === undefined) this.#write(other(side), path);
        return this.#write(side, path);
      case 'remove-directory':
        return directory === undefined ? this.#write(side, path) : this.#remove(side, directory);
      case 'write':
        return this.#write(side, path);
      default:
        if (file === undefined) return this.#write(side, path);
        if (edit === 'rewrite') return this.#rewrite(side, file);
        if (edit === 'touch') return this.#touch(side, file);
        if (edit === 'remove') return this.#remove(side, file);
        return this.#rename(side, file, path);
    }
  }

  #write(side: Side, path: string, content = this.#content(), modifiedMs = this.#moment()): Edited {
    const gone = this.#forget(side, path);
    this.#stage.grounds[side].write(path, content, modifiedMs);
    this.#rules.edited(side, path, content);
    this.#did(`${side}: ${path} = ${content.slice(0, 12)} (${content.length} bytes, ${modifiedMs})`);
    return new Map([...gone, [path, content]]);
  }

  /** Of the same size; now and then of the same time as well, so that only its ctime tells. */
  #rewrite(side: Side, path: string): Edited {
    const file = this.#stage.grounds[side].look().files.get(path);
    const { length = 12 } = file?.content ?? {};
    const unseen = this.#trick === 'unseen-rewrites' && side === 'local' && this.#rules.isSure(path);
    const isSameTime = unseen && this.#lot.chance(0.5) && !isLinked(file?.content);
    const modifiedMs = isSameTime ? file?.modifiedMs : undefined;
    return this.#write(side, path, this.#content(length), modifiedMs);
  }

  #touch(side: Side, path: string): Edited {
    const modifiedMs = this.#moment();
    this.#stage.grounds[side].touch(path, modifiedMs);
    this.#rules.edited(side, path);
    this.#did(`${side}: touch ${path} (${modifiedMs})`);
    return new Map([[path, undefined]]);
  }

  #remove(side: Side, path: string): Edited {
    const gone = this.#forget(side, path);
    this.#stage.grounds[side].remove(path);
    this.#did(`${side}: rm -r ${path}`);
    return gone;
  }

  #rename(side: Side, from: string, to: string): Edited {
    if (from === to || from.startsWith(`${to}/`) || to.startsWith(`${from}/`)) return this.#write(side, to);
    const content = this.#stage.grounds[side].look().files.get(from)?.content;
    // Higher up the same text would lead out.
    if (isLinked(content) && depthOf(to) < depthOf(from)) return this.#write(side, to);
    const gone = [...this.#forget(side, from), ...this.#forget(side, to)];
    this.#stage.grounds[side].rename(from, to);
    this.#rules.edited(side, to, content);
    this.#did(`${side}: mv ${from} ${to}`);
    return new Map([...gone, [to, content]]);
  }

  #makeDirectory(side: Side, path: string): Edited {
    const gone = this.#forget(side, path);
    this.#stage.grounds[side].makeDirectory(path);
    this.#rules.madeDirectory(side, path);
    this.#did(`${side}: mkdir -p ${path}`);
    return gone;
  }

  #link(side: Side, path: string): Edited {
    const gone = this.#forget(side, path);
    if (this.#stage.links === 'preserve') {
      const leadsTo = this.#leadsTo(path);
      this.#stage.grounds[side].link(path, leadsTo);
      this.#rules.edited(side, path, contentOfLink(leadsTo));
      this.#did(`${side}: ln -s ${leadsTo} ${path}`);
      return new Map([...gone, [path, contentOfLink(leadsTo)]]);
    }
    this.#stage.grounds[side].link(path);
    this.#rules.edited(side, path);
    this.#did(`${side}: ln -s outside ${path}`);
    return gone;
  }

  /** Nobody ever wrote it before, and it stays inside: to a directory that may be there, or to nothing. */
  #leadsTo(path: string): string {
    this.#links += 1;
    const up = '../'.repeat(path.split('/').length - 1);
    return this.#lot.chance(0.5) ? `${up}d${'/.'.repeat(this.#links)}` : `#${this.#links}`;
  }

  /** Whatever has to go for something to come to a path: all below it, and a file or a link above it. */
  #forget(side: Side, path: string): Edited {
    const { files, others, directories } = this.#stage.grounds[side].look();
    const isBelow = (one: string): boolean => one === path || one.startsWith(`${path}/`);
    for (const one of directories) if (isBelow(one)) this.#rules.edited(side, one);
    const gone = [...files.keys(), ...others].filter((one) => isBelow(one) || path.startsWith(`${one}/`));
    for (const one of [path, ...gone]) this.#rules.edited(side, one);
    for (const one of pathsAbove(path)) this.#rules.madeDirectory(side, one);
    return new Map([path, ...gone].map((one) => [one, undefined]));
  }

  /** Nobody ever wrote it before. */
  #content(sizeBytes?: number): string {
    this.#contents += 1;
    const size = sizeBytes ?? (this.#lot.chance(0.01) ? BIG_BYTES : this.#lot.pick(SIZES_BYTES));
    return `#${this.#contents} `.padEnd(size, 'x');
  }

  /** No two are in the same second, and they do not come in order. */
  #moment(): number {
    this.#moments += 1;
    const seconds = (this.#moments * 7919) % 100_003;
    return Date.UTC(2022, 0, 1) + seconds * 2000 + (this.#lot.chance(0.5) ? 250 : 0);
  }

  #look(): Both {
    const { local, remote } = this.#stage.grounds;
    return { local: local.look(), remote: remote.look() };
  }

  #tellSkips(): void {
    for (const name of this.#stage.strayed())
      this.#broken.push(`${name} was written outside, through a link`);
    for (const skip of this.#stage.skips()) this.#record.push(`   ${skip}`);
  }

  #did(what: string): void {
    this.#steps += 1;
    this.#record.push(`${this.#steps}. ${what}`);
  }
}

type Edited = ReadonlyMap<string, string | undefined>;

const EDITS = [
  'write',
  'write',
  'rewrite',
  'rewrite',
  'touch',
  'remove',
  'remove',
  'remove-directory',
  'make-directory',
  'rename',
  'rename',
  'both',
  'clash',
  'link',
] as const;

function depthOf(path: string): number {
  return path.split('/').length;
}

function pathsAbove(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, depth) => parts.slice(0, depth + 1).join('/'));
}

function endOf({ outcome, tally, failure }: RunReport): string {
  const counts = Object.entries(tally).filter(([name, count]) => count > 0 && name !== 'bytes');
  const why = failure === undefined ? '' : ` (${failure.code}: ${failure.message})`;
  return [outcome, ...counts.map(([name, count]) => `${name} ${count}`)].join(', ') + why;
}

function isSame(a: Both, b: Both): boolean {
  return SIDES.every((side) => flat(a[side]) === flat(b[side]));
}

function flat({ files, directories, others, trash, temporaries }: Look): string {
  const contents = [...files].map(([path, { content }]) => [path, content]);
  return JSON.stringify([contents, [...directories], [...others], [...trash.keys()], temporaries]);
}

function isStillThere(after: Both, content: string): boolean {
  return SIDES.some(
    (side) =>
      [...after[side].files.values()].some((file) => file.content === content) ||
      [...after[side].trash.values()].includes(content),
  );
}
