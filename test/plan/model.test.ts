/*
 * What the planner's verdicts come to, when they are carried out: properties of random worlds (world.ts), random people
 * who write, delete and rewrite on both sides, and runs that are killed between any two steps.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Verdict } from '../../src/plan/action.js';
import { comparePaths } from '../../src/plan/entry.js';
import type { Policy } from '../../src/plan/judge.js';
import type { Mode } from '../../src/plan/table.js';
import { policyOf } from './sample.js';
import {
  beforeAside,
  blindAt,
  type ContentId,
  Killed,
  type Look,
  OTHER,
  type Outcome,
  PLAIN_LOOK,
  type SideName,
  type Times,
  World,
  wholeSeconds,
} from './world.js';

const PATHS = ['a', 'd/a', 'd/b', 'd-'] as const;
const SIDES = ['local', 'remote'] as const;

// What people do, and in what order.

type Deed =
  | { readonly kind: 'write'; readonly side: SideName; readonly path: string; readonly id: ContentId }
  /** The same file on both sides, put there by somebody else: with one time, or with two. */
  | { readonly kind: 'twins'; readonly path: string; readonly id: ContentId; readonly apart: 'yes' | 'no' }
  /** Two files of one second and two sizes. */
  | { readonly kind: 'tie'; readonly path: string; readonly id: ContentId }
  | { readonly kind: 'delete'; readonly side: SideName; readonly path: string }
  | { readonly kind: 'rewrite'; readonly path: string; readonly id: ContentId }
  | { readonly kind: 'touch'; readonly path: string }
  | { readonly kind: 'stamp'; readonly side: SideName; readonly path: string }
  | { readonly kind: 'run' };

const path = fc.constantFrom(...PATHS);
const side = fc.constantFrom(...SIDES);
const id = fc.nat(5);

const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write'), side, path, id }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete'), side, path }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('twins'), path, id, apart: fc.constantFrom('yes', 'no') }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('tie'), path, id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rewrite'), path, id }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('touch'), path }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stamp'), side, path }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('run') }) },
);
/** Most of what can go wrong needs something that was agreed on. */
const deeds = fc
  .tuple(fc.array(deed, { maxLength: 8 }), fc.array(deed, { maxLength: 8 }))
  .map(([before, after]): readonly Deed[] => [...before, { kind: 'run' }, ...after]);
const times = fc.constantFrom<Times[]>('whole', 'whole', 'untold');

function policies(modes: readonly Mode[]): fc.Arbitrary<Policy> {
  return fc
    .record({
      mode: fc.constantFrom(...modes),
      direction: fc.constantFrom('push', 'pull'),
      conflicts: fc.constantFrom('newer', 'from', 'to', 'keep-both'),
      extraneous: fc.constantFrom('kept', 'kept', 'deleted'),
      proof: fc.constantFrom('times', 'times', 'content'),
    })
    .map(policyOf);
}

const EVERY_MODE = ['copy', 'mirror', 'move', 'two-way'] as const;
const anyPolicy = policies(EVERY_MODE);

const blindness = fc.record({
  side,
  place: fc.constantFrom('', 'd', 'a', 'd/a'),
  why: fc.constantFrom('unreadable', 'unproven', 'foreign', 'left-out'),
  shows: fc.constantFrom('all', 'nothing'),
});
const anyLook: fc.Arbitrary<Look> = fc.record({
  target: fc.constantFrom('asked', 'asked', 'unasked'),
  blind: fc.array(blindness, { maxLength: 2 }),
});

/** Two-way looks at both sides always. */
function lookFor(policy: Policy, look: Look): Look {
  return policy.mode === 'two-way' ? { ...look, target: 'asked' } : look;
}

function hides(place: Look['blind'][number] | undefined): boolean {
  return place !== undefined && (place.why !== 'unproven' || place.shows === 'nothing');
}

/** Then it is not blind either. */
function isUnasked(side: SideName, policy: Policy, look: Look): boolean {
  const target = policy.direction === 'push' ? 'remote' : 'local';
  return side === target && look.target === 'unasked';
}

function worldAfter(done: readonly Deed[], policy: Policy, times: Times): World {
  const world = new World(times);
  for (const one of done) {
    world.later();
    act(world, one, policy);
  }
  world.later();
  return world;
}

function act(world: World, one: Deed, policy: Policy): void {
  switch (one.kind) {
    case 'write':
      world.write(one.side, one.path, one.id);
      return;
    case 'twins':
      world.write('local', one.path, one.id);
      if (one.apart === 'yes') world.later();
      world.write('remote', one.path, one.id);
      return;
    case 'tie':
      world.write('local', one.path, one.id);
      world.write('remote', one.path, one.id ^ 1);
      return;
    case 'delete':
      world.delete(one.side, one.path);
      return;
    case 'rewrite':
      world.rewrite(one.path, one.id);
      return;
    case 'touch':
      world.touch(one.path);
      return;
    case 'stamp':
      world.stamp(one.side, one.path);
      return;
    case 'run':
      world.settle(policy);
  }
}

/** Runs until nothing changes; killed after so many atoms, each time anew, before. */
function settleThroughKills(world: World, policy: Policy, look: Look, kills: readonly number[]): void {
  for (const atoms of kills) {
    world.atomsLeft = atoms;
    try {
      world.settle(policy, look);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
  }
  world.atomsLeft = Number.POSITIVE_INFINITY;
  world.settle(policy, look);
}

/** What lies on a side, without the names that losers of conflicts got. */
function heaps(world: World, side: SideName): string[] {
  return world
    .contents(side)
    .map(([path, id]) => `${beforeAside(path)} ${id}`)
    .sort();
}

// What a person would expect, path by path, said without the table.

interface End {
  readonly local: ContentId | undefined;
  readonly remote: ContentId | undefined;
  /** What a conflict leaves beside it, on both sides. */
  readonly aside?: ContentId;
}

function expectedEnd(world: World, path: string, policy: Policy): End {
  const local = world.localFile(path);
  const remote = world.remoteFile(path);
  const l = world.local.get(path)?.id;
  const r = world.remote.get(path)?.id;
  const b = world.baselineId(path);
  const row = world.ledger.get(path);
  const localChanged = local !== undefined && (l !== b || local.mtimeMs !== row?.local.mtimeMs);
  const remoteChanged = remote !== undefined && (r !== b || remote.modifiedMs !== row?.remoteModifiedMs);
  const sameSize = local?.sizeBytes === remote?.sizeBytes;
  const isPush = policy.direction === 'push';
  const [source, target] = isPush ? [l, r] : [r, l];
  const targetChanged = isPush ? remoteChanged : localChanged;
  const oneWay = (source: ContentId | undefined, target: ContentId | undefined): End =>
    isPush ? { local: source, remote: target } : { local: target, remote: source };

  if (policy.mode === 'two-way') return expectedTwoWay();
  if (source === undefined) {
    const isOurs = b !== undefined && !targetChanged;
    const goes = policy.mode === 'mirror' && (isOurs || policy.extraneous === 'deleted');
    return oneWay(undefined, goes ? undefined : target);
  }
  if (policy.mode === 'move') return oneWay(undefined, source);
  if (policy.mode === 'copy' && !isPush && target !== undefined && localChanged && l !== r) {
    // A person's; except for one that is the old version after all, and could be told from the new one by reading only.
    const alike = remote?.modifiedMs === undefined || remote.modifiedMs === wholeSeconds(local?.mtimeMs ?? 0);
    return oneWay(source, l === b && remoteChanged && sameSize && alike ? source : target);
  }
  return oneWay(source, source);

  function expectedTwoWay(): End {
    const both = (id: ContentId | undefined): End => ({ local: id, remote: id });
    if (l === r) return both(l);
    if (l === undefined) return both(b === undefined || remoteChanged ? r : undefined);
    if (r === undefined) return both(b === undefined || localChanged ? l : undefined);
    if (b !== undefined && (!localChanged || (sameSize && l === b))) return both(r);
    if (b !== undefined && (!remoteChanged || (sameSize && r === b))) return both(l);
    if (policy.conflicts === 'from') return both(source);
    if (policy.conflicts === 'to') return both(target);
    const [winner, loser] = localIsNewer() ? [l, r] : [r, l];
    return policy.conflicts === 'newer' ? both(winner) : { ...both(winner), aside: loser };
  }

  function localIsNewer(): boolean {
    const localMs = wholeSeconds(local?.mtimeMs ?? 0);
    const remoteMs = remote?.modifiedMs ?? 0;
    if (localMs !== remoteMs) return localMs > remoteMs;
    return sameSize ? isPush : (local?.sizeBytes ?? 0) > (remote?.sizeBytes ?? 0);
  }
}

// Properties.

const NOTHING_TO_DO = ['unchanged', 'kept', 'left-out', 'spared'];

describe('a plan that was carried out', () => {
  it('leaves nothing to plan', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, anyLook, (done, times, policy, any) => {
        const world = worldAfter(done, policy, times);
        const look = lookFor(policy, any);
        expect(world.settle(policy, look)).toBeLessThanOrEqual(3);
        for (const { verdict, last } of world.run(policy, look)) {
          const why = JSON.stringify({ verdict, last });
          // By content every run reads; where no times are told, or to say what is in the way, it may have to.
          const says = ['blocked', 'spared', 'left-out'].includes(last?.kind ?? '');
          const mayRead = policy.proof === 'content' || times === 'untold' || says;
          if (!mayRead) expect(verdict, why).toBe(last);
          // Believed to be there, and looked at when it is to go: somebody has changed it since.
          if (look.target === 'unasked' && last?.kind === 'remove') continue;
          if (look.target === 'unasked' && last?.kind === 'download' && last.over === 'ours') continue;
          if (last?.kind === 'blocked') {
            const spares = policy.mode === 'copy' && policy.direction === 'pull' && last.why === 'differs';
            expect(spares || look.blind.length > 0, why).toBe(true);
          } else expect(NOTHING_TO_DO, why).toContain(last?.kind);
        }
      }),
      { numRuns: 1_200 },
    );
  });

  it('leaves what a person would expect', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, (done, times, policy) => {
        const world = worldAfter(done, policy, times);
        const paths = new Set([...world.local.keys(), ...world.remote.keys(), ...world.ledger.keys()]);
        const expected = [...paths].map((path) => ({ path, end: expectedEnd(world, path, policy) }));
        world.settle(policy);
        const left = expected.map(({ path }) => [
          path,
          world.local.get(path)?.id,
          world.remote.get(path)?.id,
        ]);
        expect(left).toEqual(expected.map(({ path, end }) => [path, end.local, end.remote]));
        for (const side of SIDES) {
          const all = expected.flatMap(({ path, end }) =>
            [end[side], end.aside].filter((id) => id !== undefined).map((id) => `${beforeAside(path)} ${id}`),
          );
          expect(heaps(world, side)).toEqual(all.sort());
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('leaves the same whether the target was looked at or the ledger believed, where nobody else was there', () => {
    fc.assert(
      fc.property(deeds, times, policies(['copy', 'mirror', 'move']), (done, times, policy) => {
        // After a move nothing is remembered: who does not look cannot know that what stands here was fetched before.
        fc.pre(policy.mode !== 'move' || policy.direction === 'push');
        const source = policy.direction === 'push' ? 'local' : 'remote';
        const atSource = done.flatMap((one): Deed[] => {
          if (one.kind === 'twins' || one.kind === 'tie') return [];
          if (policy.direction === 'pull' && one.kind === 'rewrite') return [];
          return 'side' in one ? [{ ...one, side: source }] : [one];
        });
        const world = worldAfter(atSource, policy, times);
        const believing = world.clone();
        world.settle(policy);
        believing.settle(policy, { ...PLAIN_LOOK, target: 'unasked' });
        for (const side of SIDES) expect(believing.contents(side)).toEqual(world.contents(side));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('no run', () => {
  it('deletes what it has not seen gone, or did not put there', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, anyLook, (done, times, policy, any) => {
        const world = worldAfter(done, policy, times);
        const look = lookFor(policy, any);
        const before = world.clone();
        const outcomes = world.run(policy, look);
        for (const side of SIDES) {
          const other = side === 'local' ? 'remote' : 'local';
          const asides = outcomes.filter(({ last }) => last?.kind === 'set-aside' && last.side === side);
          for (const [path, id] of before.contents(side)) {
            if (world.tree(side).has(path) || asides.some(({ last }) => last?.path === path)) continue;
            const why = `${side} ${path}`;
            expect(hides(blindAt(path, side, look)) && !isUnasked(side, policy, look), why).toBe(false);
            const isOurs = before.baselineId(path) === id;
            if (policy.mode === 'move') {
              expect(side, why).toBe(policy.direction === 'push' ? 'local' : 'remote');
              expect(world.tree(other).get(path)?.id, why).toBe(id);
              continue;
            }
            expect(before.tree(other).has(path), why).toBe(false);
            expect(blindAt(path, other, look), why).toBeUndefined();
            if (policy.mode === 'mirror') {
              expect(side, why).toBe(policy.direction === 'push' ? 'remote' : 'local');
              expect(isOurs || policy.extraneous === 'deleted', why).toBe(true);
            } else expect([policy.mode, isOurs], why).toEqual(['two-way', true]);
          }
        }
      }),
      { numRuns: 1_200 },
    );
  });

  it('changes anything at the source, but for what a move has delivered', () => {
    fc.assert(
      fc.property(
        deeds,
        times,
        policies(['copy', 'mirror', 'move']),
        anyLook,
        (done, times, policy, look) => {
          const world = worldAfter(done, policy, times);
          const source = policy.direction === 'push' ? 'local' : 'remote';
          const before = world.contents(source);
          world.run(policy, look);
          const after = world.contents(source);
          if (policy.mode === 'move') expect(before).toEqual(expect.arrayContaining([...after]));
          else expect(after).toEqual(before);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('writes to a place that it cannot see', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, anyLook, (done, times, policy, any) => {
        const world = worldAfter(done, policy, times);
        const look = lookFor(policy, any);
        const before = world.clone();
        world.run(policy, look);
        for (const side of SIDES) {
          for (const path of PATHS) {
            const place = blindAt(path, side, look);
            // A listing that may be cut is good enough to send to, and who is not asked is not blind.
            if (place === undefined || place.why === 'unproven') continue;
            if (isUnasked(side, policy, look)) continue;
            expect(world.tree(side).get(path)).toEqual(before.tree(side).get(path));
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('two-way', () => {
  const twoWay = policies(['two-way']);
  const honest = anyLook.map(
    ({ blind }): Look => ({ target: 'asked', blind: blind.map((place) => ({ ...place, shows: 'all' })) }),
  );

  it('ends with both sides equal', () => {
    fc.assert(
      fc.property(deeds, times, twoWay, (done, times, policy) => {
        const world = worldAfter(done, policy, times);
        world.settle(policy);
        expect(world.contents('local')).toEqual(world.contents('remote'));
        expect(world.contents('local').map(([path]) => path)).toEqual(
          [...world.ledger.keys()].sort(comparePaths),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  it('loses no version that somebody has made, where it keeps both', () => {
    fc.assert(
      fc.property(deeds, times, twoWay, honest, (done, times, any, look) => {
        const policy = { ...any, conflicts: 'keep-both' } as const;
        const world = worldAfter(done, policy, times);
        const before = world.clone();
        world.settle(policy, look);
        const left = new Set(SIDES.flatMap((side) => heaps(world, side)));
        for (const side of SIDES) {
          for (const [path, id] of before.contents(side)) {
            const other = before.tree(side === 'local' ? 'remote' : 'local').get(path)?.id;
            const isAgreed = before.baselineId(path) === id && other !== id;
            if (!isAgreed) expect(left).toContain(`${beforeAside(path)} ${id}`);
          }
        }
      }),
      { numRuns: 1_200 },
    );
  });

  it('is the same seen from the other side', () => {
    fc.assert(
      fc.property(deeds, twoWay, anyLook, (done, policy, any) => {
        const untouched = done.filter(({ kind }) => kind !== 'touch' && kind !== 'rewrite');
        const world = worldAfter(untouched, policy, 'whole').levelled();
        const mirrored = world.mirrored();
        const look: Look = { ...any, target: 'asked' };
        const mirroredLook: Look = {
          ...look,
          blind: look.blind.map((place) => ({ ...place, side: OTHER[place.side] })),
        };
        const mirroredPolicy = {
          ...policy,
          direction: policy.direction === 'push' ? 'pull' : 'push',
        } as const;
        const outcomes = world.run(policy, look);
        expect(mirrored.run(mirroredPolicy, mirroredLook).map((each) => essence(each, 'mirrored'))).toEqual(
          outcomes.map((each) => essence(each, 'as it is')),
        );
        world.settle(policy, look);
        mirrored.settle(mirroredPolicy, mirroredLook);
        for (const side of SIDES) expect(heaps(mirrored, OTHER[side])).toEqual(heaps(world, side));
      }),
      { numRuns: 1_200 },
    );
  });
});

/** What can be told of a verdict on either side. */
function essence({ verdict, last }: Outcome, how: 'as it is' | 'mirrored'): unknown {
  const sideOf = (side: SideName): SideName => (how === 'mirrored' ? OTHER[side] : side);
  const each = (one: Verdict | undefined): unknown => {
    switch (one?.kind) {
      case undefined:
        return 'agreed';
      case 'upload':
      case 'download':
        return ['deliver', sideOf(one.kind === 'upload' ? 'remote' : 'local'), one.path, one.reason];
      case 'remove':
        return [one.kind, sideOf(one.side), one.at, one.known, one.sizeBytes, one.modifiedMs];
      case 'set-aside':
      case 'blocked':
        return [one.kind, sideOf(one.side), one.path];
      case 'meet':
        return [one.kind, one.path, one.proof];
      default:
        return [one?.kind, one?.path];
    }
  };
  return [each(verdict), each(last)];
}

describe('a run that is killed', () => {
  it('comes to the same end, wherever it is killed', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, anyLook, (done, times, policy, any) => {
        const world = worldAfter(done, policy, times);
        const look = lookFor(policy, any);
        const undisturbed = world.clone();
        undisturbed.settle(policy, look);
        for (let atoms = 0; atoms <= undisturbed.atoms; atoms += 1) {
          const killed = world.clone();
          settleThroughKills(killed, policy, look, [atoms]);
          for (const side of SIDES) expect(heaps(killed, side)).toEqual(heaps(undisturbed, side));
        }
      }),
      { numRuns: 600 },
    );
  });

  it('comes to the same end, however often it is killed', () => {
    fc.assert(
      fc.property(
        deeds,
        times,
        anyPolicy,
        fc.array(fc.nat(6), { maxLength: 6 }),
        (done, times, policy, kills) => {
          const world = worldAfter(done, policy, times);
          const undisturbed = world.clone();
          undisturbed.settle(policy);
          settleThroughKills(world, policy, PLAIN_LOOK, kills);
          for (const side of SIDES) expect(heaps(world, side)).toEqual(heaps(undisturbed, side));
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
