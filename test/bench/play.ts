/*
 * One case, played: every contestant in turn, round after round, each beginning with another one; after each run it is
 * looked whether every byte arrived, or, where there was nothing to do, that nothing was sent. A peer that loses
 * something is not tried again, and one that takes much longer than the fastest is stopped: neither can be the fastest
 * any more, and an evening is short.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Case } from './cases.js';
import { type Contestant, DIRECTORY, type Task } from './contestant.js';
import { FERRYD } from './ferryd.js';
import { measure } from './measure.js';
import type { Stage } from './stage.js';
import type { Entry, Round } from './table.js';
import { compareTrees, type Difference, snapshot, touched } from './verify.js';

const TIMEOUT_S = 15 * 60;
/** However fast the others are, so long may anybody take. */
const SHORTEST_PATIENCE_S = 10;

export interface Play {
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  /** So many times as long as the fastest peer so far may another one take. */
  readonly patience: number;
  /** Told of each run when it is over. */
  readonly onRound: (contestant: Contestant, round: number, result: Round) => void;
}

/** All rounds of a case. */
export async function play(
  stage: Stage,
  of: Case,
  { contestants, rounds, patience, onRound }: Play,
): Promise<readonly Entry[]> {
  const taking = contestants.filter((contestant) => contestant.can(of));
  const results = new Map<Contestant, Round[]>(taking.map((contestant) => [contestant, []]));
  const scene = await sceneOf(stage, of);
  let fastestS = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round += 1) {
    // Each round begins with another one, so that nobody always comes behind the same.
    const turn = [...taking.slice(round % taking.length), ...taking.slice(0, round % taking.length)];
    for (const contestant of turn) {
      const isPeer = contestant.role === 'peer';
      const so = results.get(contestant) ?? [];
      if (isPeer && so.some(({ trouble }) => trouble !== undefined)) continue;
      const patienceS = isPeer ? Math.max(SHORTEST_PATIENCE_S, patience * fastestS) : TIMEOUT_S;
      const result = await scene(contestant, Math.min(TIMEOUT_S, patienceS));
      so.push(result);
      if (isPeer && result.trouble === undefined) fastestS = Math.min(fastestS, result.measured.wallS);
      onRound(contestant, round, result);
    }
  }
  await stage.clear(of);
  return taking.map((contestant) => ({
    name: contestant.name,
    role: contestant.role,
    rounds: results.get(contestant) ?? [],
  }));
}

/** One run of one contestant, the place made ready before, and looked at behind it. */
export type Scene = (contestant: Contestant, timeoutS: number) => Promise<Round>;

/** @throws Error where the server does not start, or a first run that a second one follows goes wrong */
export async function sceneOf(stage: Stage, of: Case): Promise<Scene> {
  if (of.work === 'unchanged') return unchanged(stage, of);
  const source = stage.source(of);
  const isPull = of.work === 'pull-one';
  if (isPull) await stage.stock(of);
  return async (contestant, timeoutS) => {
    const remote = isPull ? await stage.remote(of) : await stage.emptyRemote(of);
    const local = isPull ? stage.emptyLocal() : source;
    const scratch = stage.scratch();
    const result = await run(stage, of, contestant, { local, scratch, timeoutS });
    const arrived = isPull ? join(local, DIRECTORY) : remote;
    const trouble = result.trouble ?? lossOf(compareTrees(join(source, DIRECTORY), arrived));
    rmSync(scratch, { recursive: true });
    return { ...result, trouble };
  };
}

/** Ferryd brings the tree there, or finds it remembered; then everybody looks at it, and has nothing to do. */
async function unchanged(stage: Stage, of: Case): Promise<Scene> {
  const local = stage.source(of);
  const remembering = stage.scratch();
  let remote: string;
  if (of.first === 'prepared') {
    remote = await stage.stock(of);
    await stage.remember(of, remembering);
  } else {
    remote = await stage.emptyRemote(of);
    const first = await run(stage, of, FERRYD, { local, scratch: remembering, timeoutS: TIMEOUT_S });
    const trouble = first.trouble ?? lossOf(compareTrees(join(local, DIRECTORY), remote));
    if (trouble !== undefined) throw new Error(`The first run went wrong: ${trouble}`);
  }
  let before = snapshot(remote);
  return async (contestant, timeoutS) => {
    const scratch = contestant.role === 'ferryd' ? remembering : stage.scratch();
    const result = await run(stage, of, contestant, { local, scratch, timeoutS });
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
  { local, scratch, timeoutS }: Pick<Task, 'local' | 'scratch'> & { readonly timeoutS: number },
): Promise<Round> {
  const { command, env, directory } = contestant.prepare(await stage.task(of, { local, scratch }));
  await stage.calm(of);
  const measured = await measure(
    { command: await stage.there(of, command), env, directory },
    { log: join(scratch, 'output.log'), timeoutMs: timeoutS * 1000, server: await stage.serverPid(of) },
  );
  return { measured, trouble: troubleOf(measured) };
}

function troubleOf({ ended, wallS, words }: Round['measured']): string | undefined {
  if (ended === '0') return undefined;
  return ended === 'timeout' ? `stopped after ${wallS.toFixed(0)} s` : `ended with ${ended}: ${words}`;
}

function lossOf({ missing, wrong, extra, example }: Difference): string | undefined {
  if (example === undefined) return undefined;
  const counts = Object.entries({ missing, wrong, extra }).filter(([, count]) => count > 0);
  return `${counts.map(([what, count]) => `${count} ${what}`).join(', ')} (${example})`;
}
