/*
 * The reference of the model test: what must hold after a run however it ended, and what both sides look like once
 * runs have nothing left to do. Written from what a person is promised, path by path, and not from the planner: it knows
 * contents (each is unique, and names the edit that made it), where they were current, and which of them both sides
 * may have agreed on. It knows no ledger, no sizes, no replies. Where a file stands in a directory's place it promises
 * only that nothing is lost.
 */
import { isConflictName } from '../../../src/plan/names.js';
import { isLinked, type Look, type SeenFile } from './model-ground.js';

export type Side = 'local' | 'remote';
export const SIDES = ['local', 'remote'] as const;

/** What a job asks for, as far as a person has to know it to foretell what happens. */
export interface Promised {
  readonly mode: 'copy' | 'mirror' | 'move' | 'two-way';
  readonly direction: 'push' | 'pull';
  readonly conflicts: 'newer' | 'from' | 'to' | 'keep-both';
  readonly policy: 'trash' | 'delete';
  readonly compare: 'ledger' | 'remote' | 'checksum';
  readonly extraneous: boolean;
  readonly emptyDirectories: 'keep' | 'skip';
  /** How many files a run may delete without being asked, but for those at a rest. */
  readonly limit: number;
}

export type Both = Readonly<Record<Side, Look>>;

/** How a run went, seen from outside. */
export interface Went {
  /** Nothing was in its way, and it said that it came to its end. */
  readonly undisturbed: boolean;
  /** How many files it was allowed to delete. */
  readonly limit: number;
  /**
   * How a new one takes the place of an old one on the remote where there is no trash. `in-two-steps`: the old one goes
   * first, and who is cut off then, or refused the second step, has nothing there. With a trash it is always so.
   */
  readonly replaces: 'at-once' | 'in-two-steps';
  /** Directories of the remote that it could not look at. */
  readonly blind: readonly string[];
  /** Paths that a person edited while it ran. */
  readonly edited: ReadonlySet<string>;
}

/** Undefined: both sides agreed on nothing. */
type Agreed = string | undefined;

/** What becomes of one path. `beside`: what must stand under a conflict name on both sides. */
interface Outcome {
  readonly source: string | undefined;
  readonly target: string | undefined;
  readonly beside?: string;
}

export class Rules {
  readonly promised: Promised;
  readonly source: Side;
  readonly target: Side;
  /** All that anybody ever wrote. */
  readonly #contents = new Set<string>();
  /** What both sides may have agreed on, for all that can be known from outside. */
  #agreed = new Map<string, ReadonlySet<Agreed>>();
  /** Paths that a person has edited on a side since both were surely the same. */
  #tampered: Record<Side, Set<string>> = { local: new Set(), remote: new Set() };
  /** Directories that a person has made. */
  readonly #made: Record<Side, Set<string>> = { local: new Set(), remote: new Set() };

  constructor(promised: Promised) {
    this.promised = promised;
    this.source = promised.direction === 'push' ? 'local' : 'remote';
    this.target = other(this.source);
  }

  /** A person wrote, took away or touched something. */
  edited(side: Side, path: string, content?: string): void {
    if (content !== undefined) this.#contents.add(content);
    this.#tampered[side].add(path);
  }

  /** True where both sides agree on a path for sure. */
  isSure(path: string): boolean {
    const may = this.#mayAgree(path);
    return may.size === 1 && !may.has(undefined) && !SIDES.some((side) => this.#tampered[side].has(path));
  }

  /** True where a person's edit on a side may be overwritten for good, by what the job says. */
  mayOverwrite(side: Side): boolean {
    const { mode, policy, conflicts } = this.promised;
    if (policy === 'trash') return false;
    return mode === 'two-way' ? conflicts !== 'keep-both' : side === this.target;
  }

  madeDirectory(side: Side, path: string): void {
    this.#made[side].add(path);
  }

  /** What to give to `restored` when the ledger of this moment comes back. */
  remembered(): ReadonlyMap<string, ReadonlySet<Agreed>> {
    return new Map(this.#agreed);
  }

  /** The ledger is an old one again. */
  restored(agreed: ReadonlyMap<string, ReadonlySet<Agreed>>, now: Both): void {
    this.#agreed = new Map(agreed);
    for (const side of SIDES) {
      // Whose they are is forgotten with it.
      for (const path of now[side].directories) this.#made[side].add(path);
      for (const path of [...agreed.keys(), ...now.local.files.keys(), ...now.remote.files.keys()]) {
        this.#tampered[side].add(path);
      }
    }
  }

  /** What a run has broken: a sentence each. Learns what both sides may have agreed on by it. */
  afterRun(before: Both, after: Both, went: Went): string[] {
    const broken: string[] = [];
    for (const side of SIDES) {
      broken.push(...this.#strange(side, before, after, went));
      broken.push(...this.#vanished(side, before, after, went));
      for (const path of before[side].others) {
        const isSeen = side === 'local' || (this.#looks() && went.blind.length === 0);
        if (!after[side].others.has(path) && isSeen && !went.edited.has(path))
          broken.push(`${side} ${path}: the link is gone`);
      }
      for (const [path, content] of before[side].trash) {
        if (after[side].trash.get(path) !== content) broken.push(`${side}: ${path} is gone from the trash`);
      }
    }
    broken.push(...this.#tooMany(before, after, went));
    if (went.undisturbed) {
      for (const side of SIDES) {
        for (const path of after[side].temporaries) broken.push(`${side} ${path}: a temporary name is left`);
      }
    }
    this.#learn(before, after, went.edited);
    return broken;
  }

  /** What can be read under final names was written by somebody, and there or on the other side. */
  *#strange(side: Side, before: Both, after: Both, { edited }: Went): Generator<string> {
    for (const [path, { content }] of after[side].files) {
      if (!this.#contents.has(content)) {
        yield `${side} ${path}: ${shown(content)} is nothing that anybody wrote`;
        continue;
      }
      if (SIDES.some((one) => before[one].files.get(path)?.content === content) || edited.has(path)) continue;
      const base = baseOf(path);
      const renamed =
        base !== undefined &&
        (edited.has(base) || SIDES.some((one) => before[one].files.get(base)?.content === content));
      if (!renamed) yield `${side} ${path}: ${shown(content)} stood under another name`;
    }
    for (const [path, content] of after[side].trash) {
      if (!this.#contents.has(content)) yield `${side}: ${path} in the trash is nothing that anybody wrote`;
    }
  }

  /** Nothing goes that may not go, and what goes is kept where that was promised. */
  *#vanished(side: Side, before: Both, after: Both, went: Went): Generator<string> {
    for (const [path, file] of before[side].files) {
      const now = after[side].files.get(path);
      const isTheirs = [...went.edited].some((edited) => edited === path || baseOf(edited) === path);
      if (now?.content === file.content || isTheirs) continue;
      const what = `${side} ${path}: ${shown(file.content)} ${now === undefined ? 'was deleted' : `was replaced by ${shown(now.content)}`}`;
      const why = this.#objection(side, path, { file, now, before, after, went });
      if (why !== undefined) yield `${what}, ${why}`;
    }
  }

  #objection(
    side: Side,
    path: string,
    {
      file,
      now,
      before,
      after,
      went,
    }: {
      readonly file: SeenFile;
      readonly now: SeenFile | undefined;
      readonly before: Both;
      readonly after: Both;
      readonly went: Went;
    },
  ): string | undefined {
    const { mode, policy, extraneous } = this.promised;
    const there = before[other(side)].files.get(path);
    const isLink = isAtOrBelow(path, before[other(side)].others);
    if (isLink && (this.#looks() || side === 'remote')) return 'and the other side has a link in its place';
    if (mode !== 'two-way' && side === this.source) {
      if (mode !== 'move') return 'and it is the source';
      return after[this.target].files.get(path)?.content === file.content
        ? undefined
        : 'and the target does not hold it';
    }
    const isBeside = this.#stoodAside(after[side], path, file.content);
    if (mode === 'two-way' && isBeside) return undefined;
    const isKept = [...after[side].trash].some(
      ([kept, content]) => content === file.content && kept.slice(kept.indexOf('/') + 1) === path,
    );
    if (policy === 'trash' && !isKept) return 'and is not in the trash';
    const ours = this.#mayAgree(path).has(file.content);
    if (now === undefined) {
      // Between the old one and the new one nothing stands there.
      const isAmid = isKept || went.replaces === 'in-two-steps';
      if (!went.undisturbed && there !== undefined && isAmid) return undefined;
      const unseen = this.source === 'remote' || mode === 'two-way' ? went.blind : [];
      if (side === 'local' && unseen.some((directory) => isBelow(path, directory))) {
        return 'although nobody could look at the other side';
      }
      if (mode === 'copy' || mode === 'move') return 'and nobody asked for that';
      if (there !== undefined) return 'and the other side has it';
      if (!ours && !(mode === 'mirror' && extraneous)) return 'and it was never agreed on';
      return undefined;
    }
    if (mode === 'two-way') {
      if (ours) return undefined;
      if (this.#keepsBoth(file.content, there?.content)) return 'and both should have been kept';
      return there !== undefined && this.#winner(before, path) === other(side)
        ? undefined
        : 'and it should have won';
    }
    const spares = mode === 'copy' || (mode === 'move' && !this.#looks() && policy === 'delete');
    return this.promised.direction === 'pull' && spares && !ours
      ? 'and it is nothing that was fetched'
      : undefined;
  }

  *#tooMany(before: Both, after: Both, { limit, edited }: Went): Generator<string> {
    if (this.promised.mode === 'move') return;
    let deleted = 0;
    for (const side of SIDES) {
      for (const [path, { content }] of before[side].files) {
        const isBeside = this.#stoodAside(after[side], path, content);
        if (!after[side].files.has(path) && !isBeside && !edited.has(path)) deleted += 1;
      }
    }
    if (deleted > limit) yield `${deleted} files were deleted in a run, and ${limit} may be`;
  }

  /**
   * What both sides look like when there is nothing left to do.
   *
   * @param start when everything was said and the first of the last runs began
   */
  atRest(start: Both, end: Both): string[] {
    const broken: string[] = [];
    const { mode } = this.promised;
    const paths = new Set([...start.local.files.keys(), ...start.remote.files.keys()]);
    const tangled = new Tangle(start);
    for (const path of paths) {
      const family = tangled.familyOf(path);
      const outcomes =
        family === undefined ? this.#outcomes(start, path) : this.#untangled(start, paths, family, path);
      if (outcomes === undefined) continue;
      const source = end[this.source].files.get(path)?.content;
      const target = end[this.target].files.get(path)?.content;
      const fits = outcomes.some(
        (outcome) =>
          outcome.source === source &&
          outcome.target === target &&
          (outcome.beside === undefined ||
            SIDES.every((side) => this.#stoodAside(end[side], path, outcome.beside ?? ''))),
      );
      if (fits) continue;
      const expected = outcomes.map((one) => `${shown(one.source)} and ${shown(one.target)}`).join(', or ');
      broken.push(
        `${path}: source and target hold ${shown(source)} and ${shown(target)} at rest, not ${expected}`,
      );
    }
    if (mode === 'two-way') broken.push(...this.#unequal(end, tangled));
    broken.push(...this.#directories(end, tangled));
    this.#settle(end);
    return broken;
  }

  *#unequal(end: Both, tangled: Tangle): Generator<string> {
    for (const path of new Set([...end.local.files.keys(), ...end.remote.files.keys()])) {
      const [here, there] = [end.local.files.get(path)?.content, end.remote.files.get(path)?.content];
      const isTangled = [path, baseOf(path) ?? path].some((one) => tangled.familyOf(one) !== undefined);
      if (here !== there && !isTangled)
        yield `${path}: ${shown(here)} here and ${shown(there)} there at rest`;
    }
  }

  *#directories(end: Both, tangled: Tangle): Generator<string> {
    const { mode, emptyDirectories, extraneous } = this.promised;
    if (emptyDirectories === 'skip') return;
    const [source, target] = [end[this.source].directories, end[this.target].directories];
    // What holds nothing but a link can neither go nor come.
    const links = SIDES.flatMap((side) => [...end[side].others]);
    for (const path of source) {
      // Where nobody looks, nobody knows that a person has taken it away.
      const isMissed = this.#looks() || !this.#tampered[this.target].has(path);
      if (mode === 'two-way' && links.some((one) => isBelow(one, path))) continue;
      if (!target.has(path) && isMissed && tangled.familyOf(path) === undefined) {
        yield `${path}: the directory did not come`;
      }
    }
    if (mode !== 'mirror' && mode !== 'two-way') return;
    for (const path of target) {
      if (source.has(path) || tangled.familyOf(path) !== undefined) continue;
      if (mode === 'two-way' && links.some((one) => isBelow(one, path))) continue;
      const isUsed = [...end[this.target].files.keys(), ...end[this.target].others].some((one) =>
        isBelow(one, path),
      );
      const isForeign = mode === 'mirror' && !extraneous && this.#made[this.target].has(path);
      if (mode === 'two-way' || !(isUsed || isForeign))
        yield `${path}: the directory stays although it is gone`;
    }
  }

  /** All that may become of a path, for all that both sides may have agreed on. */
  #outcomes(start: Both, path: string): Outcome[] {
    const s = start[this.source].files.get(path)?.content;
    const t = start[this.target].files.get(path)?.content;
    const outcomes: Outcome[] = [];
    for (const agreed of this.#mayAgree(path)) {
      for (const sChanged of this.#changes(this.source, path, { now: s, agreed })) {
        for (const tChanged of this.#changes(this.target, path, { now: t, agreed })) {
          outcomes.push(...this.#outcome(start, path, { s, t, agreed, sChanged, tChanged }));
        }
      }
    }
    return outcomes;
  }

  /** Whether a side may seem to have changed: what a person has touched can be taken for either. */
  #changes(side: Side, path: string, { now, agreed }: { now: Agreed; agreed: Agreed }): readonly boolean[] {
    if (now !== agreed) return [true];
    return this.#tampered[side].has(path) ? [false, true] : [false];
  }

  #outcome(start: Both, path: string, at: Met): Outcome[] {
    switch (this.promised.mode) {
      case 'copy':
        return [this.#copied(at)];
      case 'mirror':
        return this.#mirrored(at);
      case 'move':
        return this.#moved(path, at);
      case 'two-way':
        return this.#synced(start, path, at);
    }
  }

  #copied({ s, t, agreed, sChanged, tChanged }: Met): Outcome {
    const kept = { source: s, target: t };
    const sent = { source: s, target: s };
    if (s === undefined) return kept;
    if (!this.#looks() && agreed !== undefined && !sChanged) return kept;
    if (this.promised.direction === 'push' || t === undefined) return sent;
    // What a person has put here is not overwritten.
    return agreed !== undefined && !tChanged ? sent : kept;
  }

  #mirrored({ s, t, agreed, sChanged, tChanged }: Met): Outcome[] {
    const kept = { source: s, target: t };
    if (s === undefined) {
      const gone = { source: undefined, target: undefined };
      if (t === undefined || this.promised.extraneous) return [gone];
      return [agreed !== undefined && !tChanged ? gone : kept];
    }
    if (!this.#looks() && agreed !== undefined && !sChanged) return [kept];
    return [{ source: s, target: s }];
  }

  #moved(path: string, { s, t, agreed, sChanged, tChanged }: Met): Outcome[] {
    const kept = { source: s, target: t };
    if (s === undefined) return [kept];
    const gone = { source: undefined, target: s };
    if (this.promised.direction === 'push' || this.#looks() || t === undefined) return [gone];
    if (agreed !== undefined && !tChanged) return [gone];
    // It may be a person's. What goes into the trash is not lost; else it is left, and so is the source.
    if (this.promised.policy === 'trash') return [gone];
    const isSame = t === s || (agreed !== undefined && !sChanged && !this.#tampered[this.target].has(path));
    return isSame ? [gone, kept] : [kept];
  }

  #synced(start: Both, path: string, { s, t, agreed, sChanged, tChanged }: Met): Outcome[] {
    const both = (content: Agreed): Outcome => ({ source: content, target: content });
    if (s === t) return [both(s)];
    if (agreed === undefined) {
      if (s === undefined || t === undefined) return [both(s ?? t)];
    } else {
      if (s === undefined) return [tChanged ? both(t) : both(undefined)];
      if (t === undefined) return [sChanged ? both(s) : both(undefined)];
      if (!sChanged) return [both(t)];
      if (!tChanged) return [both(s)];
    }
    if (this.#keepsBoth(s, t)) {
      return [
        { ...both(s), beside: t },
        { ...both(t), beside: s },
      ];
    }
    return [both(this.#winner(start, path) === this.source ? s : t)];
  }

  /** Nobody knows which of two links is the newer one. */
  #keepsBoth(...contents: readonly Agreed[]): boolean {
    const { conflicts } = this.promised;
    return conflicts === 'keep-both' || (conflicts === 'newer' && contents.some(isLinked));
  }

  /** Which side wins where a policy says so. */
  #winner(start: Both, path: string): Side {
    const { conflicts } = this.promised;
    if (conflicts === 'from') return this.source;
    if (conflicts === 'to') return this.target;
    const [here, there] = SIDES.map((side) =>
      Math.floor((start[side].files.get(path)?.modifiedMs ?? 0) / 1000),
    );
    return (here ?? 0) >= (there ?? 0) ? 'local' : 'remote';
  }

  /**
   * A file where the other side has a directory: foretold only where nothing at all speaks against the one that has
   * changed. Undefined: not foretold.
   */
  #untangled(start: Both, paths: ReadonlySet<string>, family: string, path: string): Outcome[] | undefined {
    const { mode, extraneous } = this.promised;
    const members = [...paths].filter((one) => one === family || isBelow(one, family));
    const links = SIDES.flatMap((side) => [...start[side].others]);
    if (isAtOrBelow(family, new Set(links)) || links.some((one) => isBelow(one, family))) return undefined;
    const untouched = (side: Side): boolean =>
      ![...this.#made[side]].some((one) => one === family || isBelow(one, family)) &&
      members.every((one) => {
        const content = start[side].files.get(one)?.content;
        const may = this.#mayAgree(one);
        return may.size === 1 && may.has(content) && !this.#tampered[side].has(one);
      });
    const follows = (side: Side): Outcome[] => {
      const content = start[other(side)].files.get(path)?.content;
      return [{ source: content, target: content }];
    };
    if (mode === 'mirror') return !extraneous && untouched(this.target) ? follows(this.target) : undefined;
    if (mode !== 'two-way') return undefined;
    if (untouched(this.target)) return follows(this.target);
    return untouched(this.source) ? follows(this.source) : undefined;
  }

  /** Whether a run looks at what stands at the target. */
  #looks(): boolean {
    const { mode, direction, compare, extraneous } = this.promised;
    return (
      mode === 'two-way' || compare !== 'ledger' || (direction === 'push' ? extraneous : mode === 'mirror')
    );
  }

  #stoodAside({ files }: Look, path: string, content: string): boolean {
    return [...files].some(([one, file]) => baseOf(one) === path && file.content === content);
  }

  #mayAgree(path: string): ReadonlySet<Agreed> {
    return this.#agreed.get(path) ?? new Set([undefined]);
  }

  /** After any run: what stands on both sides may be agreed on, and what is gone may be forgotten. */
  #learn(before: Both, after: Both, edited: ReadonlySet<string>): void {
    for (const path of new Set([...pathsOf(before, after), ...edited])) {
      const [s, t] = [
        after[this.source].files.get(path)?.content,
        after[this.target].files.get(path)?.content,
      ];
      const was = before[this.source].files.get(path)?.content;
      const may = new Set(this.#mayAgree(path));
      if (s !== undefined && s === t) may.add(s);
      if (s === undefined) may.add(undefined);
      // Delivered, and its source went.
      if (this.promised.mode === 'move' && t !== undefined && t === was) may.add(t);
      // Whatever it was when it was delivered.
      if (edited.has(path)) for (const content of [s, t, was, undefined]) may.add(content);
      this.#agreed.set(path, may);
    }
  }

  /** At rest: what stands on both sides is agreed on for sure. */
  #settle(end: Both): void {
    const paths = new Set([...this.#agreed.keys(), ...end.local.files.keys(), ...end.remote.files.keys()]);
    for (const path of paths) {
      const [here, there] = [end.local.files.get(path)?.content, end.remote.files.get(path)?.content];
      const isGone = here === undefined && there === undefined;
      if (here !== there || (isGone && !this.#looks())) continue;
      // What a person has put there is taken for what it is only once it has been compared.
      const isForeign = this.promised.direction === 'pull' && this.#tampered[this.target].has(path);
      if (!isGone && isForeign && this.promised.mode !== 'two-way') {
        this.#agreed.set(path, new Set([here, undefined, ...this.#mayAgree(path)]));
        continue;
      }
      this.#agreed.set(path, new Set([here]));
      for (const side of SIDES) this.#tampered[side].delete(path);
    }
  }
}

interface Met {
  readonly s: string | undefined;
  readonly t: string | undefined;
  readonly agreed: Agreed;
  readonly sChanged: boolean;
  readonly tChanged: boolean;
}

/** Where a side has something else than a directory, and the other side has a directory there. */
class Tangle {
  readonly #roots = new Set<string>();

  constructor(start: Both) {
    for (const side of SIDES) {
      const across = start[other(side)];
      for (const path of start[side].others) this.#roots.add(path);
      for (const path of start[side].files.keys()) {
        if (across.directories.has(path)) this.#roots.add(path);
      }
    }
  }

  /** The outermost such path at or above this one. */
  familyOf(path: string): string | undefined {
    return pathsAbove(path).find((above) => this.#roots.has(above));
  }
}

export function other(side: Side): Side {
  return side === 'local' ? 'remote' : 'local';
}

/** The path that a conflict name was made from. */
function baseOf(path: string): string | undefined {
  return isConflictName(path) ? path.replace(/\.conflict-\d{8}-\d{6}(?=(\.[^./]{1,15})?$)/, '') : undefined;
}

function pathsOf(...looks: readonly Both[]): Set<string> {
  return new Set(looks.flatMap((both) => SIDES.flatMap((side) => [...both[side].files.keys()])));
}

/** The path itself and those above it, the outermost first. */
function pathsAbove(path: string): string[] {
  return path.split('/').map((_, depth, parts) => parts.slice(0, depth + 1).join('/'));
}

function isBelow(path: string, directory: string): boolean {
  return directory === '' || path.startsWith(`${directory}/`);
}

function isAtOrBelow(path: string, places: ReadonlySet<string>): boolean {
  return pathsAbove(path).some((above) => places.has(above));
}

/** Contents begin with the number of the edit that made them. */
function shown(content: string | undefined): string {
  return content === undefined ? 'nothing' : JSON.stringify(content.slice(0, 12));
}
