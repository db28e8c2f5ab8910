/*
 * A run that carries links and is killed at any step that it asks of the remote: what was on both disks and in the
 * ledger at that moment is what the next run finds. It ends like a run that was never disturbed, leaves nothing behind,
 * and loses nothing that stood there before.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { NO_CONTENT } from '../../src/plan/entry.js';
import { MemoryTree } from '../support/memory-remote.js';
import { Linked, type LinkedSide, type Shown } from './support/linked.js';

let linked: Linked | undefined;
afterEach(async () => {
  await linked?.[Symbol.asyncDispose]();
  linked = undefined;
});

type Case = readonly [mode: Job['mode'], direction: Job['direction'], policy: 'trash' | 'delete'];

const CASES: readonly Case[] = [
  ['copy', 'push', 'trash'],
  ['mirror', 'push', 'delete'],
  ['mirror', 'pull', 'trash'],
  ['move', 'pull', 'delete'],
  ['two-way', 'push', 'trash'],
];

/** What the first run has brought over, and what a person made of it since. */
async function open([mode, direction, policy]: Case): Promise<Linked> {
  const limit = { percent: 100, files: 100 };
  const deletes = { policy, keepMs: 1e9, extraneous: false, limit } as const;
  const stage = await Linked.open({ mode, direction, deletes });
  // One after the other, so that a step is the same one in every try.
  stage.world.change({ settings: { connections: 1 } });
  const { source } = stage.sides(direction);
  source.link('turned', 'one');
  source.link('gone', 'x');
  source.link('to-file', 'x');
  source.put('to-link', 'a file');
  source.put('tree/f', 'f');
  source.link('to-tree', 'x');
  if (mode !== 'move') await stage.run();
  edit(source);
  return stage;
}

function edit(source: LinkedSide): void {
  source.link('turned', 'two');
  source.drop('gone');
  source.drop('to-file');
  source.put('to-file', 'a file now');
  source.drop('to-link');
  source.link('to-link', 'turned');
  source.drop('tree');
  source.link('tree', 'new');
  source.drop('to-tree');
  source.put('to-tree/g', 'g');
  source.link('new/l', '../turned');
}

/** Both disks and the ledger at one moment. */
class Moment {
  readonly #linked: Linked;
  readonly #tree: MemoryTree;
  readonly #copy: string;

  constructor(stage: Linked, name: string) {
    this.#linked = stage;
    const { directory, ledgerFile } = stage.world;
    this.#copy = directory.join(name);
    rmSync(this.#copy, { recursive: true, force: true });
    mkdirSync(this.#copy);
    copyLocal(directory.join('local'), `${this.#copy}/local`);
    // As a power cut leaves it: the write-ahead log beside it.
    for (const end of ['', '-wal']) {
      if (existsSync(`${ledgerFile}${end}`)) cpSync(`${ledgerFile}${end}`, `${this.#copy}/ledger.db${end}`);
    }
    this.#tree = copyOf(stage.tree);
  }

  comeBack(): void {
    const { world } = this.#linked;
    const { directory, ledgerFile } = world;
    world.closeLedger();
    rmSync(directory.join('local'), { recursive: true });
    copyLocal(`${this.#copy}/local`, directory.join('local'));
    for (const end of ['', '-wal', '-shm']) rmSync(`${ledgerFile}${end}`, { force: true });
    for (const end of ['', '-wal']) {
      if (existsSync(`${this.#copy}/ledger.db${end}`))
        cpSync(`${this.#copy}/ledger.db${end}`, `${ledgerFile}${end}`);
    }
    this.#linked.tree = copyOf(this.#tree);
  }
}

/** With second names: what is the same file stays the same file. */
function copyLocal(from: string, to: string): void {
  execFileSync('cp', ['-al', from, to]);
}

function copyOf(tree: MemoryTree): MemoryTree {
  const copy = new MemoryTree();
  for (const path of tree.files()) {
    if (tree.at(path)?.kind === 'link') copy.link(path, tree.leadsTo(path));
    else copy.write(path, tree.read(path), tree.modifiedMs(path));
  }
  return copy;
}

interface Ended {
  readonly source: Shown;
  readonly target: Shown;
}

function endOf(stage: Linked, direction: Job['direction']): Ended {
  const { source, target } = stage.sides(direction);
  return { source: source.shown(), target: target.shown() };
}

describe('killed at each step', () => {
  it.each(CASES)('%s %s, %s', async (...one) => {
    const [mode, direction, policy] = one;
    const stage = await open(one);
    linked = stage;
    const { target } = stage.sides(direction);
    const beginning = new Moment(stage, 'beginning');
    const before = target.shown();
    expect(await stage.run()).toMatchObject({ outcome: mode === 'copy' ? 'partial' : 'ok' });
    const steps = stage.steps.length;
    expect(steps).toBeGreaterThan(3);
    const end = endOf(stage, direction);
    for (let at = 1; at <= steps; at += 1) {
      beginning.comeBack();
      let moment: Moment | undefined;
      const cut = new AbortController();
      stage.before = () => {
        if (stage.steps.length !== at) return;
        moment = new Moment(stage, 'moment');
        cut.abort();
      };
      await stage.run({ cut: cut.signal });
      stage.before = () => {};
      expect(moment).toBeDefined();
      moment?.comeBack();
      for (let n = 0; n < 2; n += 1) await stage.run();
      expect(endOf(stage, direction), `killed at step ${at}`).toEqual(end);
      expect(stage.world.intents(), `killed at step ${at}`).toEqual([]);
      if (policy === 'delete') continue;
      // Whatever stood at the target and does not stand there any more is in the trash.
      for (const [path, content] of Object.entries(before)) {
        if (target.shown()[path] === content) continue;
        expect(target.keeps(path, content), `${path}, killed at step ${at}`).toBe(true);
      }
    }
  });
});

describe('what an earlier run has left', () => {
  it.each(['pull', 'two-way'] as const)('%s: a link under its temporary name here goes', async (how) => {
    linked = await Linked.open({ mode: how === 'pull' ? 'copy' : how, direction: 'pull' });
    const { world, remote, local } = linked;
    remote.link('l', 'x');
    const binding = bind();
    const temporary = '.ferryd-0123456789abcdef.part';
    world.ledger.intend(binding.id, binding.run, [{ path: 'l', temporary, local: NO_CONTENT, leadsTo: 'x' }]);
    symlinkSync('x', world.local(temporary));
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1 } });
    expect(local.shown()).toEqual({ l: '-> x' });
    expect(world.intents()).toEqual([]);
  });

  it.each(['copy', 'two-way'] as const)(
    '%s: a link that had not come to the server is sent',
    async (mode) => {
      linked = await Linked.open({ mode });
      const { world, remote, local } = linked;
      local.link('l', 'x');
      const binding = bind();
      const temporary = '.ferryd-0123456789abcdef.part';
      world.ledger.intend(binding.id, binding.run, [
        { path: 'l', temporary, local: NO_CONTENT, leadsTo: 'x' },
      ]);
      remote.link(temporary, 'x');
      expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(remote.shown()).toEqual({ l: '-> x' });
      expect(world.intents()).toEqual([]);
    },
  );

  it('a link that had come is not counted as fetched again', async () => {
    linked = await Linked.open({ direction: 'pull' });
    const { world, remote, local } = linked;
    remote.link('l', 'x');
    local.link('l', 'x');
    const binding = bind();
    const intent = { path: 'l', temporary: '.ferryd-0123456789abcdef.part', local: NO_CONTENT, leadsTo: 'x' };
    world.ledger.intend(binding.id, binding.run, [intent]);
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, unchanged: 1 } });
    expect(world.known()).toMatchObject([{ path: 'l', baseline: { leadsTo: 'x' } }]);
    expect(world.told('run.recovered')).toMatchObject([{ path: 'l' }]);
  });

  function bind(): { readonly id: number; readonly run: number } {
    if (linked === undefined) throw new Error('no world');
    linked.world.settle();
    const { ledger, binding } = linked.world;
    const run = ledger.lastRuns('nightly', 1)[0]?.id ?? 0;
    return { id: binding, run };
  }
});
