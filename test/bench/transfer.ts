/*
 * Ferryd against its peers: the same files to the same servers, each program as a whole process, in turn and
 * interleaved, round after round; after each run it is looked whether every byte arrived. Prints tables as Markdown,
 * and JSON where a file is named. Only figures of one run of this can be compared: it says how programs stand to each
 * other on this machine, and nothing about others.
 *
 *   node build/test/bench/transfer.js [--cases WORD,WORD] [--files N] [--bytes N[MG]] [--rounds N]
 *     [--only NAME,NAME] [--connections N] [--json FILE]
 */
import { rmSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { allCases, type Case, chosenCases } from './cases.js';
import { type Contestant, DIRECTORY, type Task } from './contestant.js';
import { FERRYD, YARDSTICK } from './ferryd.js';
import { measure } from './measure.js';
import { findPeers, versionsOfPeers } from './peers.js';
import { Stage } from './stage.js';
import { type Round, type Standing, sentenceOf, standing, tableOf } from './table.js';
import { compareTrees, type Difference, snapshot, touched } from './verify.js';

const TIMEOUT_MS = 15 * 60 * 1000;
const GIB = 1024 ** 3;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: GIB };
/** Compiled, the servers' directory is not where their own file looks for it. */
const UNPACKED_SERVERS = resolve(import.meta.dirname, '../../../.servers');
/** Without `--cases`; the others take an evening. */
const USUAL = ['push-small', 'push-one', 'pull-one', 'unchanged'];

interface Options {
  readonly cases: readonly Case[];
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  readonly json: string | undefined;
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
  for (const sentence of missing) print(`${sentence}.`);
  const machine = machineOf();
  print(`${machine.join('; ')}\n`);
  await using stage = await Stage.open(options.cases);
  const standings: Standing[] = [];
  for (const one of options.cases) {
    const entry = await play(stage, one, options);
    standings.push(entry);
    print(tableOf(entry));
  }
  for (const one of standings) print(`${one.case.name.padEnd(24)} ${sentenceOf(one)}`);
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify({ machine, standings }, undefined, 2)}\n`);
  return standings.some(({ verdict }) => verdict === 'failed') ? 1 : 0;
}

/** @throws Error that says what is wrong with the words */
function optionsOf(argv: readonly string[], everybody: readonly Contestant[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      cases: { type: 'string', default: USUAL.join(',') },
      files: { type: 'string', default: '10000' },
      bytes: { type: 'string', default: '2G' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      connections: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const sizes = { files: whole('files', values.files), bytes: whole('bytes', values.bytes) };
  const only = wordsOf(values.only);
  const contestants = everybody.filter(({ name }) => only.length === 0 || only.includes(name));
  if (contestants.length === 0)
    throw new Error(`--only: there are ${everybody.map(({ name }) => name).join(', ')}`);
  const connections = values.connections === undefined ? undefined : whole('connections', values.connections);
  const cases = chosenCases(allCases(sizes), wordsOf(values.cases));
  return {
    cases: cases.map((one) => ({ ...one, connections: one.connections ?? connections })),
    contestants,
    rounds: whole('rounds', values.rounds),
    json: values.json,
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

/** All rounds of a case. */
async function play(stage: Stage, of: Case, { contestants, rounds }: Options): Promise<Standing> {
  const taking = contestants.filter((contestant) => contestant.can(of.work, of.protocol));
  const results = new Map<string, Round[]>(taking.map(({ name }) => [name, []]));
  const scene = await sceneOf(stage, of);
  for (let round = 0; round < rounds; round += 1) {
    // Each round begins with another one, so that nobody always comes behind the same.
    const turn = [...taking.slice(round % taking.length), ...taking.slice(0, round % taking.length)];
    for (const contestant of turn) {
      const result = await scene(contestant);
      results.get(contestant.name)?.push(result);
      const { wallS, cpuS } = result.measured;
      const words = `${of.name} ${round + 1}/${rounds} ${contestant.name}`;
      process.stderr.write(
        `${words}: ${wallS.toFixed(2)} s, CPU ${cpuS.toFixed(2)} s ${result.trouble ?? ''}\n`,
      );
    }
  }
  await stage.clear(of);
  return standing(
    of,
    taking.map(({ name, role }) => ({ name, role, rounds: results.get(name) ?? [] })),
  );
}

type Scene = (contestant: Contestant) => Promise<Round>;

async function sceneOf(stage: Stage, of: Case): Promise<Scene> {
  if (of.work === 'unchanged') return unchanged(stage, of);
  const source = stage.source(of);
  const isPull = of.work === 'pull-one';
  if (isPull) await stage.stock(of);
  return async (contestant) => {
    const remote = isPull ? await stage.remote(of) : await stage.emptyRemote(of);
    const local = isPull ? stage.emptyLocal() : source;
    const scratch = stage.scratch();
    const result = await run(stage, of, contestant, { local, scratch });
    const arrived = isPull ? join(local, DIRECTORY) : remote;
    const trouble = result.trouble ?? lossOf(compareTrees(join(source, DIRECTORY), arrived));
    rmSync(scratch, { recursive: true });
    return { ...result, trouble };
  };
}

/** Ferryd brings the tree there; then everybody looks at it, and has nothing to do. */
async function unchanged(stage: Stage, of: Case): Promise<Scene> {
  const local = stage.source(of);
  const remote = await stage.emptyRemote(of);
  const remembering = stage.scratch();
  const first = await run(stage, of, FERRYD, { local, scratch: remembering });
  const trouble = first.trouble ?? lossOf(compareTrees(join(local, DIRECTORY), remote));
  if (trouble !== undefined) throw new Error(`${of.name}: the first run went wrong: ${trouble}`);
  let before = snapshot(remote);
  return async (contestant) => {
    const scratch = contestant.role === 'ferryd' ? remembering : stage.scratch();
    const result = await run(stage, of, contestant, { local, scratch });
    const after = snapshot(remote);
    const again = touched(before, after);
    before = after;
    const sent = again === 0 ? undefined : `${again} files were sent again`;
    return { ...result, trouble: result.trouble ?? sent };
  };
}

async function run(
  stage: Stage,
  of: Case,
  contestant: Contestant,
  { local, scratch }: Pick<Task, 'local' | 'scratch'>,
): Promise<Round> {
  const { work, connections } = of;
  const harbour = await stage.harbour(of);
  const task = { work, harbour, local, paths: stage.paths(of), connections, scratch };
  const { command, env, directory } = contestant.prepare(task);
  await stage.calm();
  const measured = await measure(
    { command: await stage.there(of, command), env, directory },
    { log: join(scratch, 'output.log'), timeoutMs: TIMEOUT_MS, server: await stage.serverPid(of) },
  );
  const trouble = measured.ended === '0' ? undefined : `ended with ${measured.ended}: ${measured.words}`;
  return { measured, trouble };
}

function lossOf({ missing, wrong, extra, example }: Difference): string | undefined {
  if (example === undefined) return undefined;
  const counts = Object.entries({ missing, wrong, extra }).filter(([, count]) => count > 0);
  return `${counts.map(([what, count]) => `${count} ${what}`).join(', ')} (${example})`;
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
