/*
 * A part of the tree against the plain words: which paths are in it, which directories lead to it, and that what the
 * ledger knows of it is what a filter over all of it leaves, in order.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparePaths, type Known } from '../../src/plan/entry.js';
import { Scope } from '../../src/run/scope.js';

/** A ledger of these paths, which counts the rows that it was asked for. */
function ledgerOf(paths: readonly string[]) {
  const rows = [...new Set(paths)].sort(comparePaths);
  const read: string[] = [];
  return {
    read,
    *knownBetween(_: number, { from, to }: { readonly from: string; readonly to: string }): Generator<Known> {
      for (const path of rows) {
        if (comparePaths(path, from) < 0 || comparePaths(path, to) >= 0) continue;
        read.push(path);
        yield { path, baseline: undefined, skip: undefined };
      }
    },
  };
}

describe('a scope', () => {
  const scope = new Scope(new Set(['a/b', 'c', 'a/b/d', 'c/d/e']));

  it('has its places and what lies below, and no place twice', () => {
    for (const path of ['a/b', 'a/b/', 'a/b/x', 'a/b/d/', 'c', 'c/d/e']) expect(scope.has(path)).toBe(true);
    for (const path of ['a', 'a/', 'a/bc', 'a/b.x', 'b', 'cc', 'd']) expect(scope.has(path)).toBe(false);
    expect(scope.size).toBe(2);
  });

  it('knows the directories that lead to it, and takes no file for one', () => {
    expect(scope.leadsTo('a/')).toBe(true);
    expect(scope.leadsTo('a')).toBe(false);
    expect(scope.leadsTo('a/c/')).toBe(false);
    expect(scope.leadsTo('a/b/x/')).toBe(true);
  });
});

const name = fc.constantFrom('a', 'b', 'a-', 'a.b', 'a0', 'A', 'é', '\u{1f600}', '\uffee');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const row = fc.tuple(path, fc.constantFrom('', '', '/')).map(([file, end]) => `${file}${end}`);

describe('what the ledger knows of a scope', () => {
  it('is all of it and nothing else, in order', () => {
    fc.assert(
      fc.property(fc.array(row), fc.array(path, { minLength: 1 }), (rows, places) => {
        const scope = new Scope(new Set(places));
        const ledger = ledgerOf(rows);
        const known = [...scope.known(ledger, 1)].map((one) => one.path);
        const wanted = [...new Set(rows)].filter((one) => scope.has(one)).sort(comparePaths);
        expect(known).toEqual(wanted);
        expect(ledger.read).toEqual(wanted);
      }),
    );
  });
});
