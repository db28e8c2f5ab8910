/*
 * What the planner's verdicts come to, when they are carried out: properties of random worlds (world.ts), random people
 * who write, delete and rewrite on both sides, and runs that are killed between any two steps.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Verdict } from '../../src/plan/action.js';
import type { Policy } from '../../src/plan/judge.js';
import type { Mode } from '../../src/plan/table.js';
import { policyOf } from './sample.js';
import {
  beforeAside,
  blindAt,
  type ContentId,
  Killed,
  type Look,
  PLAIN_LOOK,
  type SideName,
  type Times,
  World,
} from './world.js';

const PATHS = ['a', 'b', 'd/a', 'd/b', 'd-'] as const;
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
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('run') }) },
);
const deeds = fc.array(deed, { maxLength: 25 });
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

// Properties.

const NOTHING_TO_DO = ['unchanged', 'kept', 'left-out', 'spared'];

describe('a plan that was carried out', () => {
  it('leaves nothing to plan', () => {
    fc.assert(
      fc.property(deeds, times, anyPolicy, anyLook, (done, times, policy, any) => {
        const world = worldAfter(done, policy, times);
        const look = lookFor(policy, any);
        expect(world.settle(policy, look)).toBeLessThanOrEqual(4);
        for (const { verdict, last } of world.run(policy, look)) {
          const why = JSON.stringify({ verdict, last });
          // By content every run reads; and it finds that nothing has changed.
          if (policy.proof === 'times' && look.target === 'asked') expect(verdict, why).toBe(last);
          if (last?.kind === 'blocked') {
            const spares = policy.mode === 'copy' && policy.direction === 'pull' && last.why === 'differs';
            expect(spares || look.blind.length > 0, why).toBe(true);
          } else if (look.target === 'asked') expect(NOTHING_TO_DO, why).toContain(last?.kind);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
