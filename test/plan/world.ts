/*
 * A small world for the planner: two trees and a ledger in maps, and a run that carries out what the real planner says
 * as a perfect executor would, one atom (a change of a tree, or of the ledger) after the other. It can be ended between
 * any two atoms, as a kill would. No directories, no refusals: only what decides whose version survives.
 */
import type { Content, Verdict } from '../../src/plan/action.js';
import { type Baseline, comparePaths, type LocalFile, type RemoteFile } from '../../src/plan/entry.js';
import { judge, type Met, type Policy } from '../../src/plan/judge.js';
import type { Blindness } from '../../src/plan/march.js';
import { metOf, type Shown } from './sample.js';

/** What stands for the content of a file; its size follows from it. */
export type ContentId = number;

interface Here {
  readonly id: ContentId;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}

interface There {
  readonly id: ContentId;
  readonly modifiedMs: number;
}

export type SideName = 'local' | 'remote';

/**
 * `whole`: the server tells times in whole seconds, and two contents may have one size. `untold`: it tells none, and then
 * only sizes tell contents apart.
 */
export type Times = 'whole' | 'untold';

/** How a run looks at the world. */
export interface Look {
  /** `unasked`: the ledger is believed about the target. */
  readonly target: 'asked' | 'unasked';
  readonly blind: readonly {
    readonly side: SideName;
    readonly place: string;
    readonly why: Blindness;
    /** Whether an unproven sight does show what is there. */
    readonly shows: 'all' | 'nothing';
  }[];
}

export const PLAIN_LOOK: Look = { target: 'asked', blind: [] };

/** What came of one verdict. */
export interface Outcome {
  readonly verdict: Verdict;
  /** The verdict in the end, after what was to be read was read; undefined where both were found to agree. */
  readonly last: Verdict | undefined;
}

/** The run was killed. */
export class Killed extends Error {}

export const OTHER: Readonly<Record<SideName, SideName>> = { local: 'remote', remote: 'local' };

export class World {
  readonly times: Times;
  readonly local = new Map<string, Here>();
  readonly remote = new Map<string, There>();
  readonly ledger = new Map<string, Baseline>();
  /** How many atoms may still happen. */
  atomsLeft = Number.POSITIVE_INFINITY;
  atoms = 0;
  #secondMs = 1_000_000;
  #tick = 0;
  #asides = 0;

  constructor(times: Times) {
    this.times = times;
  }

  clone(): World {
    const copy = new World(this.times);
    for (const [path, one] of this.local) copy.local.set(path, one);
    for (const [path, one] of this.remote) copy.remote.set(path, one);
    for (const [path, one] of this.ledger) copy.ledger.set(path, one);
    copy.#secondMs = this.#secondMs;
    copy.#tick = this.#tick;
    copy.#asides = this.#asides;
    return copy;
  }

  /** The same in whole seconds, and as if nothing had ever been touched: what can be told of both sides. */
  levelled(): World {
    const level = this.clone();
    for (const [path, { id, mtimeMs }] of this.local) {
      level.local.set(path, { id, mtimeMs: wholeSeconds(mtimeMs), ctimeMs: 0 });
    }
    for (const [path, row] of this.ledger) {
      const mtimeMs = wholeSeconds(row.local.mtimeMs);
      level.ledger.set(path, { ...row, local: { ...row.local, mtimeMs, ctimeMs: 0 } });
    }
    return level;
  }

  /** What lies here lies there, and the other way round; of a levelled world. */
  mirrored(): World {
    const mirrored = this.clone();
    mirrored.local.clear();
    mirrored.remote.clear();
    for (const [path, { id, modifiedMs }] of this.remote) {
      mirrored.local.set(path, { id, mtimeMs: modifiedMs, ctimeMs: 0 });
    }
    for (const [path, { id, mtimeMs }] of this.local) mirrored.remote.set(path, { id, modifiedMs: mtimeMs });
    for (const [path, row] of this.ledger) {
      const mtimeMs = row.remoteModifiedMs ?? 0;
      const remoteModifiedMs = row.local.mtimeMs;
      mirrored.ledger.set(path, { ...row, local: { ...row.local, mtimeMs }, remoteModifiedMs });
    }
    return mirrored;
  }

  sizeOf(id: ContentId): number {
    return this.times === 'whole' ? 1 + (id % 2) : 1 + id;
  }

  baselineId(path: string): ContentId | undefined {
    const row = this.ledger.get(path);
    return row === undefined ? undefined : Number(row.sha256);
  }

  tree(side: SideName): ReadonlyMap<string, { readonly id: ContentId }> {
    return side === 'local' ? this.local : this.remote;
  }

  /** Path and content of everything on a side, in order. */
  contents(side: SideName): readonly (readonly [string, ContentId])[] {
    return [...this.tree(side)]
      .map(([path, { id }]) => [path, id] as const)
      .sort(([a], [b]) => comparePaths(a, b));
  }

  // What people do.

  /** A new second begins, so that what is written next has a time of its own. */
  later(): void {
    this.#secondMs += 1_000;
  }

  write(side: SideName, path: string, id: ContentId): void {
    if (side === 'local') this.#put(path, id, this.#secondMs + 0.25);
    else this.remote.set(path, { id, modifiedMs: this.#secondMs });
  }

  delete(side: SideName, path: string): void {
    if (side === 'local') this.local.delete(path);
    else this.remote.delete(path);
  }

  /** Another content of the same size within one tick of the clock: only ctime tells. Nothing without a baseline. */
  rewrite(path: string, id: ContentId): void {
    const file = this.local.get(path);
    const isAgreed = file !== undefined && this.ledger.get(path)?.local.mtimeMs === file.mtimeMs;
    if (isAgreed && this.sizeOf(id) === this.sizeOf(file.id)) this.#put(path, id, file.mtimeMs);
  }

  /** The same content with another ctime. */
  touch(path: string): void {
    const file = this.local.get(path);
    if (file !== undefined) this.#put(path, file.id, file.mtimeMs);
  }

  /** The same content with another time. */
  stamp(side: SideName, path: string): void {
    const file = this.tree(side).get(path);
    if (file !== undefined) this.write(side, path, file.id);
  }

  #put(path: string, id: ContentId, mtimeMs: number): void {
    this.#tick += 1;
    this.local.set(path, { id, mtimeMs, ctimeMs: this.#tick });
  }

  // What the planner is shown.

  localFile(path: string): LocalFile | undefined {
    const file = this.local.get(path);
    if (file === undefined) return undefined;
    const { id, mtimeMs, ctimeMs } = file;
    return { path, sizeBytes: this.sizeOf(id), mtimeMs, ctimeMs, inode: 1, device: 1 };
  }

  remoteFile(path: string): RemoteFile | undefined {
    const file = this.remote.get(path);
    if (file === undefined) return undefined;
    const modifiedMs = this.times === 'untold' ? undefined : file.modifiedMs;
    return { path, sizeBytes: this.sizeOf(file.id), modifiedMs };
  }

  met(path: string, policy: Policy, look: Look): Met {
    const targetSide = policy.direction === 'push' ? 'remote' : 'local';
    const shown = <Entry>(side: SideName, file: Entry | undefined): Shown<Entry> => {
      if (side === targetSide && look.target === 'unasked') return 'unasked';
      const place = blindAt(path, side, look);
      const hidden = place !== undefined && (place.why !== 'unproven' || place.shows === 'nothing');
      if (file !== undefined && !hidden) return file;
      return place?.why ?? 'absent';
    };
    const local = shown('local', this.localFile(path));
    const remote = shown('remote', this.remoteFile(path));
    return metOf(path, { local, remote, baseline: this.ledger.get(path) });
  }

  plan(policy: Policy, look: Look = PLAIN_LOOK): Verdict[] {
    const verdicts: Verdict[] = [];
    for (const path of this.#paths()) {
      const met = this.met(path, policy, look);
      // The march comes by only where somebody knows the path.
      const isKnown = met.known !== undefined || met.local.kind === 'there' || met.remote.kind === 'there';
      if (isKnown) verdicts.push(judge(met, policy));
    }
    return verdicts;
  }

  #paths(): string[] {
    return [...new Set([...this.local.keys(), ...this.remote.keys(), ...this.ledger.keys()])].sort(
      comparePaths,
    );
  }

  // What a run does.

  /**
   * One run: plans, and carries out; deletions last.
   *
   * @throws {Killed}
   */
  run(policy: Policy, look: Look = PLAIN_LOOK): Outcome[] {
    const outcomes = this.plan(policy, look).map((verdict) => ({ verdict, last: this.#read(verdict) }));
    const isDeletion = ({ last }: Outcome): boolean => last?.kind === 'remove' || last?.kind === 'finish';
    for (const outcome of outcomes.filter((outcome) => !isDeletion(outcome))) this.#carryOut(outcome);
    for (const outcome of outcomes.filter(isDeletion)) this.#carryOut(outcome);
    return outcomes;
  }

  /** Runs until a run changes nothing. @returns how many runs changed something */
  settle(policy: Policy, look: Look = PLAIN_LOOK): number {
    for (let runs = 0; ; runs += 1) {
      const before = this.atoms;
      this.run(policy, look);
      if (this.atoms === before) return runs;
      if (runs > 10) throw new Error('It never comes to rest.');
    }
  }

  /** Reads what a verdict wants read. @returns undefined where both sides were found to agree */
  #read(verdict: Verdict): Verdict | undefined {
    const { path } = verdict;
    const was = this.baselineId(path);
    const local = this.local.get(path)?.id;
    const remote = this.remote.get(path)?.id;
    const against = (id: ContentId | undefined): Content['local'] => (id === was ? 'same' : 'changed');
    if (verdict.kind === 'examine') {
      // What is not read is told wrongly, so that nobody comes to rely on it.
      const told = verdict.remote === undefined ? 'changed' : local === was ? against(remote) : 'same';
      return this.#read(verdict.decide({ local: against(local), remote: told }));
    }
    if (verdict.kind !== 'meet') return verdict;
    if (verdict.proof === 'trusted' && local !== remote)
      throw new Error(`${path} was trusted, and is not the same.`);
    if (local === remote) return undefined;
    const never = { local: 'changed', remote: 'changed' } as const;
    return this.#read(
      verdict.decide(was === undefined ? never : { local: against(local), remote: against(remote) }),
    );
  }

  #carryOut({ verdict, last }: Outcome): void {
    const { path } = verdict;
    if (last === undefined) {
      this.#agree(path);
      return;
    }
    switch (last.kind) {
      case 'upload': {
        const file = this.local.get(path);
        if (file === undefined) throw new Error(`${path} is not there to be sent.`);
        const modifiedMs = wholeSeconds(file.mtimeMs);
        this.#atom(() => this.remote.set(path, { id: file.id, modifiedMs }));
        this.#agree(path);
        return;
      }
      case 'download': {
        const file = this.remote.get(path);
        if (file === undefined) throw new Error(`${path} is not there to be fetched.`);
        const standing = this.local.get(path);
        const isOurs = standing === undefined || [this.baselineId(path), file.id].includes(standing.id);
        if (last.over === 'ours' && !isOurs) return;
        const mtimeMs = this.times === 'untold' ? this.#secondMs + 0.25 : file.modifiedMs;
        this.#atom(() => this.#put(path, file.id, mtimeMs));
        this.#agree(path);
        return;
      }
      case 'unchanged':
        // Read, and found to be the same; or the remote's time is known by now.
        if (verdict.kind === 'examine') this.#refresh(path);
        else if (last.learnt !== undefined) this.#write(path, last.learnt);
        return;
      case 'left-out':
      case 'kept':
        if (verdict.kind === 'examine' && this.local.get(path)?.id === this.baselineId(path))
          this.#refresh(path);
        return;
      case 'finish': {
        const source = this.tree(last.side).get(path)?.id;
        const target = this.tree(OTHER[last.side]).get(path)?.id;
        // Believed, and now looked at: the target has lost it. It is to be sent again.
        if (source === target) this.#atom(() => this.delete(last.side, path));
        this.#write(path, undefined);
        return;
      }
      case 'remove': {
        const file = last.side === 'local' ? this.localFile(path) : this.remoteFile(path);
        if (file !== undefined) {
          const { sizeBytes } = file;
          const modifiedMs = 'mtimeMs' in file ? file.mtimeMs : file.modifiedMs;
          const isThat = sizeBytes === last.sizeBytes && modifiedMs === last.modifiedMs;
          // Where the planner has seen nothing, whoever deletes has to look twice.
          const isOurs =
            last.known === 'extraneous' || this.tree(last.side).get(path)?.id === this.baselineId(path);
          if (!isThat || !isOurs) return;
          this.#atom(() => this.delete(last.side, path));
        }
        this.#write(path, undefined);
        return;
      }
      case 'set-aside': {
        this.#asides += 1;
        const to = `${path}${ASIDE}${this.#asides}`;
        const here = this.local.get(path);
        const there = this.remote.get(path);
        this.#atom(() => {
          this.delete(last.side, path);
          if (last.side === 'local' && here !== undefined) this.#put(to, here.id, here.mtimeMs);
          if (last.side === 'remote' && there !== undefined) this.remote.set(to, there);
        });
        return;
      }
      case 'forget':
        this.#write(path, undefined);
        return;
      default:
    }
  }

  /** What both sides have becomes the baseline, where the ledger has another one. */
  #agree(path: string): void {
    const file = this.localFile(path);
    const id = this.local.get(path)?.id;
    if (file === undefined || id === undefined) throw new Error(`${path} is not there to be agreed on.`);
    const { sizeBytes, mtimeMs, ctimeMs, inode } = file;
    const remoteModifiedMs = this.remoteFile(path)?.modifiedMs;
    const sha256 = String(id).padStart(64, '0');
    this.#write(path, { path, local: { sizeBytes, mtimeMs, ctimeMs, inode }, sha256, remoteModifiedMs });
  }

  #refresh(path: string): void {
    const row = this.ledger.get(path);
    const file = this.localFile(path);
    if (row === undefined || file === undefined) throw new Error(`${path} is not there to be refreshed.`);
    const { sizeBytes, mtimeMs, ctimeMs, inode } = file;
    this.#write(path, { ...row, local: { sizeBytes, mtimeMs, ctimeMs, inode } });
  }

  #write(path: string, row: Baseline | undefined): void {
    if (JSON.stringify(this.ledger.get(path)) === JSON.stringify(row)) return;
    this.#atom(() => (row === undefined ? this.ledger.delete(path) : this.ledger.set(path, row)));
  }

  #atom(happen: () => void): void {
    if (this.atomsLeft === 0) throw new Killed();
    this.atomsLeft -= 1;
    this.atoms += 1;
    happen();
  }
}

const ASIDE = '~';

export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** The path under which the loser of a conflict stood. */
export function beforeAside(path: string): string {
  return path.split(ASIDE, 1).join('');
}

export function blindAt(path: string, side: SideName, look: Look): Look['blind'][number] | undefined {
  return look.blind.find(
    (blind) => blind.side === side && (blind.place === '' || `${path}/`.startsWith(`${blind.place}/`)),
  );
}
