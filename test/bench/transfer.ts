/*
 * Ferryd against its peers: the same files to the same servers, each program as a whole process, in turn and
 * interleaved, round after round; then what is asked of ferryd alone. Prints tables as Markdown as they come, and keeps
 * the same as JSON where a file is named. Only figures of one run of this can be compared: it says how programs stand
 * to each other on this machine, and nothing about others.
 *
 *   node build/test/bench/transfer.js [--cases WORD,WORD] [--files N] [--bytes N[KMG]] [--rounds N] [--patience N]
 *     [--only NAME,NAME] [--connections N] [--quick] [--json FILE]
 *   node build/test/bench/transfer.js --table FILE
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Achievement, achieve, allFeats, type Feat, lineOf } from './alone.js';
import { allCases, type Case, chosen, PATIENCE, ROUNDS } from './cases.js';
import type { Contestant } from './contestant.js';
import { expectedS } from './expected.js';
import { FERRYD, YARDSTICK } from './ferryd.js';
import { findPeers, versionsOfPeers } from './peers.js';
import { play } from './play.js';
import { Stage } from './stage.js';
import { type Results, summaryOf } from './summary.js';
import { type Standing, sentenceOf, standing, tableOf } from './table.js';

const GIB = 1024 ** 3;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: GIB };
const FULL = { files: '10000', bytes: '2G' };
const QUICK = { files: '300', bytes: '32M' };
/** Compiled, the servers' directory is not where their own file looks for it. */
const UNPACKED_SERVERS = resolve(import.meta.dirname, '../../../.servers');

interface Options {
  readonly cases: readonly Case[];
  readonly feats: readonly Feat[];
  readonly contestants: readonly Contestant[];
  /** Undefined: as many as a case takes. */
  readonly rounds: number | undefined;
  /** Undefined: as much as a case has. */
  readonly patience: number | undefined;
  readonly json: string | undefined;
  /** A file to be shown; nothing is measured then. */
  readonly table: string | undefined;
}

async function main(argv: readonly string[]): Promise<number> {
  process.env.FERRYD_SERVERS ??= UNPACKED_SERVERS;
  const { found, missing } = findPeers();
  let options: Options;
  try {
    options = optionsOf(argv, [FERRYD, ...found, YARDSTICK]);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  if (options.table !== undefined) {
    print(summaryOf(JSON.parse(readFileSync(options.table, 'utf8')) as Results));
    return 0;
  }
  for (const sentence of missing) print(`${sentence}.`);
  const { cases, feats } = options;
  await using stage = await Stage.open([...cases, ...feats.map(({ scene }) => scene)]);
  if (stage.shared !== undefined)
    print(`There is ${stage.shared}: runs wait up to a minute for ports to be free.`);
  const results = new Kept(options.json);
  const slow = new TooSlow();
  print(`${results.machine.join('; ')}\n`);
  print(`${cases.length + feats.length} cases, about ${minutes(options)}.\n`);
  for (const one of cases) {
    await results.attempt(one.name, async () => {
      const contestants = slow.others(one, options.contestants);
      const it = standing(one, await play(stage, one, playOf(one, { ...options, contestants })));
      slow.remember(it);
      results.standings.push(it);
      print(tableOf(it));
    });
  }
  for (const feat of feats) {
    await results.attempt(feat.name, async () => {
      const achievement = await achieve(stage, feat);
      results.alone.push(achievement);
      print(`${feat.name}: ${lineOf(achievement)}\n`);
    });
  }
  for (const line of results.lines()) print(line);
  if (options.json !== undefined) print(`\nThe figures of each round: ${options.json}`);
  return results.isWhole() ? 0 : 1;
}

/** What has come out so far; the file is written after each case, so that whoever stops it has what there is. */
class Kept implements Results {
  readonly machine = machineOf();
  readonly standings: Standing[] = [];
  readonly alone: Achievement[] = [];
  readonly failures: { readonly name: string; readonly sentence: string }[] = [];
  readonly #file: string | undefined;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** A case that cannot be played is a sentence, and the next one has its turn. */
  async attempt(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const sentence = `${name} could not be played: ${error instanceof Error ? error.message : String(error)}`;
      this.failures.push({ name, sentence });
      print(`${sentence}\n`);
    }
    const { machine, standings, alone, failures } = this;
    if (this.#file !== undefined)
      writeFileSync(this.#file, `${JSON.stringify({ machine, standings, alone, failures }, undefined, 2)}\n`);
  }

  lines(): string[] {
    const row = (name: string, words: string) => `${name.padEnd(24)} ${words}`;
    return [
      ...this.standings.map((it) => row(it.case.name, sentenceOf(it))),
      ...this.alone.map((it) => row(it.name, lineOf(it))),
      ...this.failures.map(({ sentence }) => sentence),
    ];
  }

  isWhole(): boolean {
    return this.failures.length === 0 && this.standings.every(({ verdict }) => verdict !== 'failed');
  }
}

/** On a link every run takes minutes: who was far too slow there over a protocol is left out of its other cases. */
class TooSlow {
  readonly #slow = new Map<string, string>();

  others(of: Case, contestants: readonly Contestant[]): readonly Contestant[] {
    return contestants.filter(({ name }) => {
      const before = this.#slow.get(TooSlow.#key(of, name));
      if (before !== undefined) print(`${of.name}: without ${name}, which was too slow in ${before}.`);
      return before === undefined;
    });
  }

  remember({ case: of, figures }: Standing): void {
    if (of.where === 'loopback') return;
    for (const { name, each } of figures)
      if (each.some(({ measured }) => measured.ended === 'timeout'))
        this.#slow.set(TooSlow.#key(of, name), of.name);
  }

  static #key({ work, protocol }: Case, name: string): string {
    return `${work} ${protocol} ${name}`;
  }
}

function playOf(of: Case, { contestants, rounds, patience }: Options): Parameters<typeof play>[2] {
  const count = rounds ?? ROUNDS[of.where];
  return {
    contestants,
    rounds: count,
    patience: patience ?? PATIENCE[of.where],
    onRound: ({ name }, round, { measured, trouble }) => {
      const figures = `${measured.wallS.toFixed(2)} s, CPU ${measured.cpuS.toFixed(2)} s, server ${measured.serverCpuS.toFixed(2)} s`;
      process.stderr.write(`${of.name} ${round + 1}/${count} ${name}: ${figures} ${trouble ?? ''}\n`);
    },
  };
}

/** @throws Error that says what is wrong with the words */
function optionsOf(argv: readonly string[], everybody: readonly Contestant[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      cases: { type: 'string', default: '' },
      files: { type: 'string' },
      bytes: { type: 'string' },
      rounds: { type: 'string' },
      patience: { type: 'string' },
      only: { type: 'string', default: '' },
      connections: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      table: { type: 'string' },
    },
  });
  const usual = values.quick ? QUICK : FULL;
  const sizes = {
    files: whole('files', values.files ?? usual.files),
    bytes: whole('bytes', values.bytes ?? usual.bytes),
  };
  const only = wordsOf(values.only);
  const contestants = everybody.filter(({ name }) => only.length === 0 || only.includes(name));
  if (contestants.length === 0)
    throw new Error(`--only: there are ${everybody.map(({ name }) => name).join(', ')}`);
  const connections = values.connections === undefined ? undefined : whole('connections', values.connections);
  const words = wordsOf(values.cases);
  const everything = [...allCases(sizes), ...allFeats(sizes)].map(({ name }) => name);
  const lost = words.find((word) => !everything.some((name) => name.includes(word)));
  if (lost !== undefined) throw new Error(`No case is called "${lost}"; there are ${everything.join(', ')}`);
  const told = values.rounds ?? (values.quick ? '1' : undefined);
  return {
    cases: chosen(allCases(sizes), words).map((one) => ({
      ...one,
      connections: one.connections ?? connections,
    })),
    feats: contestants.includes(FERRYD) ? chosen(allFeats(sizes), words) : [],
    contestants,
    rounds: told === undefined ? undefined : whole('rounds', told),
    patience: values.patience === undefined ? undefined : whole('patience', values.patience),
    json: values.json,
    table: values.table,
  };
}

function wordsOf(text: string): string[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

function whole(name: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+)([KMG]?)$/.exec(text) ?? [];
  const value = Number(digits) * (UNITS[unit] ?? 1);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes a number, not "${text}"`);
  return value;
}

function minutes({ cases, feats, rounds }: Options): string {
  const all = [
    ...cases.map((one) => expectedS(one.name, one, rounds ?? ROUNDS[one.where])),
    ...feats.map(({ name, scene }) => expectedS(name, scene, 1)),
  ];
  const seconds = all.reduce((sum, each) => sum + each, 0);
  return seconds < 90 ? `${Math.ceil(seconds)} seconds` : `${Math.round(seconds / 60)} minutes`;
}

function machineOf(): string[] {
  const [first] = cpus();
  const day = new Date().toISOString().slice(0, 10);
  return [
    day,
    `${cpus().length} x ${first?.model ?? 'CPU'}`,
    `Linux ${release()}`,
    `Node ${process.version}`,
    ...versionsOfPeers(),
  ];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

// Whoever stops it leaves nothing behind: what is to go goes at exit.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main(process.argv.slice(2));
