/* The guard's arithmetic: how many files a run may delete on nobody's word, over all of its passes. */
import { afterEach, describe, expect, it } from 'vitest';
import { judgeWhole, type Whole } from '../../src/run/guard.js';
import { deleting, openSides, type Sides } from './support/sides.js';

let sides: Sides;
afterEach(() => sides.world[Symbol.asyncDispose]());

describe('the limit', () => {
  it.each<[string, Partial<Whole['doomed']> & { readonly deleted?: number }, 'held' | 'released']>([
    ['as many as it may', { total: 5 }, 'released'],
    ['one more', { total: 6 }, 'held'],
    ['directories, which do not count', { total: 9, directories: 4 }, 'released'],
    ['what a person has released', { total: 9, approved: 4 }, 'released'],
    ['more than was released', { total: 9, approved: 3 }, 'held'],
    ['what went before, in the same run', { total: 3, deleted: 3 }, 'held'],
    ['as many in two passes as in one', { total: 2, deleted: 3 }, 'released'],
    ['nothing more, whatever went before', { total: 0, deleted: 9 }, 'released'],
  ])('%s: %j is %s', async (_, { deleted = 0, ...doomed }, fate) => {
    sides = await openSides({ mode: 'mirror', ...deleting({ limit: { percent: 10, files: 5 } }) });
    const refusal = judgeWhole(sides.world.job, {
      memory: 'settled',
      seen: { local: 20, remote: 20 },
      doomed: { total: 0, approved: 0, directories: 0, approvedDirectories: 0, foreign: 0, ...doomed },
      unplanned: 0,
      deleted,
      remembered: { here: 20, elsewhere: 0 },
    });
    expect(refusal?.code).toBe(fate === 'held' ? 'deletions' : undefined);
    if (deleted > 0 && refusal !== undefined) {
      expect(refusal.message).toContain('None of them was deleted; 3 went before.');
    }
  });
});
