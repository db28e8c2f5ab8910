import fc from 'fast-check';
import { expect, it } from 'vitest';
import { comparePaths, type Known } from '../../src/plan/entry.js';
import { march, type Pair } from '../../src/plan/march.js';

interface Item {
  readonly path: string;
}

const known = (path: string): Known => ({ path, baseline: undefined, skip: undefined });

async function* scanOf(paths: readonly string[]): AsyncGenerator<Item> {
  for (const path of paths) yield { path };
}

async function pairsOf(scan: readonly string[], ledger: readonly string[]): Promise<Pair<Item>[]> {
  const pairs: Pair<Item>[] = [];
  for await (const pair of march(scanOf(scan), ledger.map(known).values())) pairs.push(pair);
  return pairs;
}

const paths = fc
  .uniqueArray(fc.stringMatching(/^[ab\u{e000}\u{1f600}/.]{1,4}$/u), { maxLength: 30 })
  .map((all) => all.sort(comparePaths));

it('pairs what a naive join pairs, in order, each path once', async () => {
  await fc.assert(
    fc.asyncProperty(paths, paths, async (scan, ledger) => {
      const naive = [...new Set([...scan, ...ledger])].sort(comparePaths).map((path) => ({
        path,
        item: scan.includes(path) ? { path } : undefined,
        known: ledger.includes(path) ? known(path) : undefined,
      }));
      expect(await pairsOf(scan, ledger)).toEqual(naive);
    }),
  );
});

it('reads no further ahead than it has to', async () => {
  let scanned = 0;
  let read = 0;
  async function* scan(): AsyncGenerator<Item> {
    for (const path of ['a', 'c', 'e']) {
      scanned += 1;
      yield { path };
    }
  }
  function* ledger(): Generator<Known> {
    for (const path of ['b', 'c', 'd']) {
      read += 1;
      yield known(path);
    }
  }
  const pairs = march(scan(), ledger());
  expect((await pairs.next()).value).toMatchObject({ path: 'a', known: undefined });
  expect({ scanned, read }).toEqual({ scanned: 1, read: 1 });
  expect((await pairs.next()).value).toMatchObject({ path: 'b', item: undefined });
  await pairs.return(undefined);
  expect({ scanned, read }).toEqual({ scanned: 2, read: 1 });
});

it('passes on what the scan throws', async () => {
  async function* broken(): AsyncGenerator<Item> {
    yield { path: 'a' };
    throw new Error('the listing broke');
  }
  const pairs = march(broken(), [known('b')].values());
  expect((await pairs.next()).value).toMatchObject({ path: 'a' });
  await expect(pairs.next()).rejects.toThrow('the listing broke');
});
