/*
 * The march against a naive one that has everything in maps: order, sights, blindness; that it reads no further than it
 * has to, and lets go of what it reads however it ends.
 */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { comparePaths, type Known } from '../../src/plan/entry.js';
import {
  type Blindness,
  type Meeting,
  march,
  type Sides,
  type Sight,
  type Told,
} from '../../src/plan/march.js';

type Item = string;
type Met = Meeting<Item, Item>;

const known = (path: string): Known => ({ path, baseline: undefined, skip: undefined });
const there = (path: string): Told<Item> => ({ kind: 'there', path, item: `item of ${path}` });
const blind = (path: string, why: Blindness = 'unreadable'): Told<Item> => ({ kind: 'blind', path, why });

/** As sides tell: one at a time, a few at a time, nothing now and then. */
async function* tell(told: readonly Told<Item>[]): AsyncGenerator<readonly Told<Item>[]> {
  for (let next = 0, some = 1; next < told.length; next += some, some = (some + 1) % 5) {
    yield told.slice(next, next + some);
  }
}

async function allOf(
  sides: { readonly [Side in keyof Sides<Item, Item>]: readonly Told<Item>[] | undefined },
  ledger: readonly string[],
): Promise<Met[]> {
  const met: Met[] = [];
  const told = { local: sides.local && tell(sides.local), remote: sides.remote && tell(sides.remote) };
  for await (const meetings of march(told, ledger.map(known).values())) met.push(...meetings);
  return met;
}

/** The paths with what the local side shows of them: `there`, `absent`, or why it is blind. */
async function sightsOf(
  told: readonly Told<Item>[],
  ledger: readonly string[],
): Promise<Record<string, string>> {
  const met = await allOf({ local: told }, [...ledger].sort(comparePaths));
  return Object.fromEntries(
    met.map(({ path, local }) => [path, local.kind === 'unseen' ? local.why : local.kind]),
  );
}

describe('three sides', () => {
  it('meet path by path, each once, in order', async () => {
    const met = await allOf(
      { local: [there('a'), there('b'), there('d')], remote: [there('b'), there('c')] },
      ['b', 'd', 'e'],
    );
    const absent = { kind: 'absent' };
    expect(met).toEqual([
      { path: 'a', local: there('a'), remote: absent, known: undefined },
      { path: 'b', local: there('b'), remote: there('b'), known: known('b') },
      { path: 'c', local: absent, remote: there('c'), known: undefined },
      { path: 'd', local: there('d'), remote: absent, known: known('d') },
      { path: 'e', local: absent, remote: absent, known: known('e') },
    ]);
  });

  it('have nothing to say where there is nothing', async () => {
    expect(await allOf({ local: [], remote: [] }, [])).toEqual([]);
    expect(await allOf({}, [])).toEqual([]);
  });

  test.each(['local', 'remote'] as const)('tell which of them is not looked at: %s', async (asked) => {
    const unasked = asked === 'local' ? 'remote' : 'local';
    const met = await allOf({ [asked]: [there('a')] }, ['a', 'b']);
    expect(met.map((meeting) => [meeting[asked].kind, meeting[unasked].kind])).toEqual([
      ['there', 'unasked'],
      ['absent', 'unasked'],
    ]);
  });

  it('are a mere ledger where no side is looked at', async () => {
    expect(await allOf({}, ['a'])).toEqual([
      { path: 'a', local: { kind: 'unasked' }, remote: { kind: 'unasked' }, known: known('a') },
    ]);
  });
});

describe('a blind place', () => {
  it('hides itself and all below it, and none of its neighbours', async () => {
    const ledger = [
      'a',
      'a/',
      'a/a',
      'a/b',
      'a/b-',
      'a/b.txt',
      'a/b/',
      'a/b/c',
      'a/b/c/d',
      'a/b0',
      'a/bb',
      'ab',
    ];
    expect(await sightsOf([blind('a/b')], ledger)).toEqual({
      a: 'absent',
      'a/': 'absent',
      'a/a': 'absent',
      'a/b': 'unreadable',
      'a/b-': 'absent',
      'a/b.txt': 'absent',
      'a/b/': 'unreadable',
      'a/b/c': 'unreadable',
      'a/b/c/d': 'unreadable',
      'a/b0': 'absent',
      'a/bb': 'absent',
      ab: 'absent',
    });
  });

  it('may be told with the slash of a directory, and in a directory’s turn', async () => {
    const told = [there('a/b.txt'), blind('a/b/'), there('a/c')];
    expect(await sightsOf(told, ['a/b-', 'a/b.txt', 'a/b/', 'a/b/c', 'a/c', 'a/d'])).toEqual({
      'a/b-': 'absent',
      'a/b.txt': 'there',
      'a/b/': 'unreadable',
      'a/b/c': 'unreadable',
      'a/c': 'there',
      'a/d': 'absent',
    });
  });

  it('may be the whole side', async () => {
    expect(await sightsOf([blind('', 'unproven'), there('b')], ['a', 'a/b', 'b', 'z/'])).toEqual({
      a: 'unproven',
      'a/b': 'unproven',
      b: 'there',
      'z/': 'unproven',
    });
  });

  it('hides nothing that is there all the same', async () => {
    expect(await sightsOf([blind('a'), there('a'), there('a/b')], ['a/a', 'a/b', 'a/c'])).toEqual({
      a: 'there',
      'a/a': 'unreadable',
      'a/b': 'there',
      'a/c': 'unreadable',
    });
  });

  it('may be told long before the march comes to it', async () => {
    const told = [blind('x/y', 'foreign'), blind('m', 'left-out'), there('b')];
    expect(await sightsOf(told, ['a', 'b', 'c', 'm', 'm/n', 'm0', 'x/y', 'x/y/z', 'z'])).toEqual({
      a: 'absent',
      b: 'there',
      c: 'absent',
      m: 'left-out',
      'm/n': 'left-out',
      m0: 'absent',
      'x/y': 'foreign',
      'x/y/z': 'foreign',
      z: 'absent',
    });
  });

  it('is seen as what the outermost one is', async () => {
    const told = [blind('a', 'left-out'), blind('a/b', 'foreign'), blind('a/b/c', 'unreadable')];
    expect(await sightsOf(told, ['a/b', 'a/b/c', 'a/b/c/d'])).toEqual({
      'a/b': 'left-out',
      'a/b/c': 'left-out',
      'a/b/c/d': 'left-out',
    });
  });

  it('is one side’s only', async () => {
    const met = await allOf({ local: [blind('a')], remote: [blind('b', 'foreign')] }, ['a', 'b']);
    expect(met.map(({ local, remote }) => [local, remote])).toEqual([
      [{ kind: 'unseen', why: 'unreadable' }, { kind: 'absent' }],
      [{ kind: 'absent' }, { kind: 'unseen', why: 'foreign' }],
    ]);
  });

  // Each path against each place would be ten thousand million looks: that does not end in time.
  it('is found among a hundred thousand', { timeout: 15_000 }, async () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `d/${String(i).padStart(6, '0')}`);
    const told = [...names.map((name) => blind(name)), there('e')];
    const absent: string[] = [];
    let unseen = 0;
    const ledger = names.flatMap((name) => [name, `${name}.gone`, `${name}/below`]).map(known);
    for await (const meetings of march({ local: tell(told) }, ledger.values())) {
      for (const { path, local } of meetings) {
        if (local.kind === 'absent') absent.push(path);
        if (local.kind === 'unseen') unseen += 1;
      }
    }
    expect(unseen).toBe(2 * names.length);
    expect(absent).toEqual(names.map((name) => `${name}.gone`));
  });
});

/** Few names around the slash, so that paths lie in each other and beside each other. */
const anyPath = fc
  .array(fc.constantFrom('a', 'b', 'a-', 'a.b', 'a0', '\u{e000}', '\u{1f600}'), {
    minLength: 1,
    maxLength: 4,
  })
  .chain((parts) => fc.constantFrom('', '', '/').map((end) => parts.join('/') + end));
const paths = fc
  .uniqueArray(anyPath, { maxLength: 25 })
  .map((all): readonly string[] => all.sort(comparePaths));
const why = fc.constantFrom<Blindness[]>('unreadable', 'unproven', 'foreign', 'left-out');
const place = fc.record({
  path: fc.oneof({ arbitrary: anyPath, weight: 20 }, { arbitrary: fc.constant(''), weight: 1 }),
  why,
  /** By how many items it is told before its turn. */
  earlierBy: fc.oneof(fc.constant(0), fc.nat(30)),
});
const side = fc.option(
  fc.record({
    items: paths,
    places: fc.uniqueArray(place, { maxLength: 6, selector: ({ path }) => bare(path) }),
  }),
  { nil: undefined, freq: 6 },
);
type Side = typeof side extends fc.Arbitrary<infer Made> ? Made : never;

function bare(path: string): string {
  return path.replace(/\/$/, '');
}

function toldBy(made: NonNullable<Side>): Told<Item>[] {
  const told: Told<Item>[] = made.items.map(there);
  const inTurn = made.places.toSorted((a, b) => comparePaths(bare(a.path), bare(b.path)));
  for (const { path, why, earlierBy } of inTurn) {
    const turn = told.findIndex(
      (other) => other.kind === 'there' && comparePaths(other.path, bare(path)) >= 0,
    );
    told.splice(Math.max(0, (turn === -1 ? told.length : turn) - earlierBy), 0, { kind: 'blind', path, why });
  }
  return told;
}

function naiveSight(made: Side, path: string): Sight<Item> {
  if (made === undefined) return { kind: 'unasked' };
  // What a side told of it is its sight.
  const shown = { kind: 'there', path, item: `item of ${path}` } as const;
  if (made.items.includes(path)) return shown;
  const around = made.places
    .map(({ path: place, why }) => ({ place: bare(place), why }))
    .filter(({ place }) => place === '' || `${path}/`.startsWith(`${place}/`))
    .sort((a, b) => a.place.length - b.place.length)[0];
  return around === undefined ? { kind: 'absent' } : { kind: 'unseen', why: around.why };
}

it('shows what a naive march shows', async () => {
  await fc.assert(
    fc.asyncProperty(side, side, paths, async (local, remote, ledger) => {
      const all = new Set([...(local?.items ?? []), ...(remote?.items ?? []), ...ledger]);
      const naive = [...all].sort(comparePaths).map((path) => ({
        path,
        local: naiveSight(local, path),
        remote: naiveSight(remote, path),
        known: ledger.includes(path) ? known(path) : undefined,
      }));
      const told = { local: local && toldBy(local), remote: remote && toldBy(remote) };
      expect(await allOf(told, ledger)).toEqual(naive);
    }),
    { numRuns: 1_000 },
  );
});

it('stays blind at places that are not behind it, when it has forgotten many that are', async () => {
  // More than it keeps without going through them, told in three goes, with one around the last of them.
  const goes = ['a', 'b', 'c'].map((head) => Array.from({ length: 300 }, (_, i) => `${head}/${1_000 + i}`));
  const told = goes.flatMap((names, go) => [
    ...(go === 0 ? [blind('c', 'foreign')] : []),
    ...names.map((name) => blind(name)),
    there(`${'abc'[go]}0`),
  ]);
  const ledger = goes.flat().flatMap((name) => [name, `${name}/x`, `${name}.x`]);
  const sights = new Map(Object.entries(await sightsOf(told, ledger)));
  for (const name of goes.flat()) {
    const around = name.startsWith('c') ? 'foreign' : undefined;
    expect([sights.get(name), sights.get(`${name}/x`), sights.get(`${name}.x`)]).toEqual([
      around ?? 'unreadable',
      around ?? 'unreadable',
      around ?? 'absent',
    ]);
  }
  const everywhere = await sightsOf([blind('', 'unproven'), ...told], [...ledger, 'z']);
  expect(new Set(Object.values(everywhere))).toEqual(new Set(['unproven', 'there']));
});

describe('what it reads', () => {
  interface Log {
    readonly read: string[];
    readonly ended: string[];
  }

  async function* logged(
    log: Log,
    name: string,
    told: readonly (Told<Item> | Error)[],
  ): AsyncGenerator<readonly Told<Item>[]> {
    try {
      for (const one of told) {
        if (one instanceof Error) throw one;
        log.read.push(`${name} ${one.path}`);
        yield [one];
      }
    } finally {
      log.ended.push(name);
    }
  }

  function* rows(log: Log, of: readonly (string | Error)[]): Generator<Known> {
    try {
      for (const path of of) {
        if (path instanceof Error) throw path;
        log.read.push(`ledger ${path}`);
        yield known(path);
      }
    } finally {
      log.ended.push('ledger');
    }
  }

  const logOf = (): Log => ({ read: [], ended: [] });

  it('is no further ahead than it has to be', async () => {
    const log = logOf();
    const sides = {
      local: logged(log, 'local', [there('a'), there('c'), there('e')]),
      remote: logged(log, 'remote', [there('d')]),
    };
    const met = march(sides, rows(log, ['b', 'c', 'd']));
    expect(log.read).toEqual([]);
    expect((await met.next()).value).toMatchObject([{ path: 'a', known: undefined }]);
    expect(log.read).toEqual(['local a', 'remote d', 'ledger b']);
    expect((await met.next()).value).toMatchObject([{ path: 'b', local: { kind: 'absent' } }, { path: 'c' }]);
    // What the run does about c may still change the ledger behind it.
    expect(log.read.slice(3)).toEqual(['local c', 'ledger c']);
    await met.next();
    expect(log.read.slice(5)).toEqual(['local e', 'ledger d']);
    await met.return(undefined);
  });

  it('is let go of when nobody wants more', async () => {
    const log = logOf();
    const sides = {
      local: logged(log, 'local', [there('a'), there('b'), there('c')]),
      remote: logged(log, 'remote', [there('x'), there('y')]),
    };
    for await (const meetings of march(sides, rows(log, ['a', 'b', 'c']))) {
      if (meetings.some(({ path }) => path === 'a')) break;
    }
    expect(log.ended.sort()).toEqual(['ledger', 'local', 'remote']);
    expect(log.read).not.toContain('local c');
  });

  test.each(['local', 'remote', 'ledger'] as const)('is let go of when it breaks: %s', async (broken) => {
    const log = logOf();
    const told = (name: string) =>
      logged(log, name, [there('a'), name === broken ? new Error(`${name} broke`) : there('b'), there('c')]);
    const ledger = rows(log, ['a', broken === 'ledger' ? new Error('ledger broke') : 'b', 'c']);
    const paths: string[] = [];
    const marched = (async () => {
      for await (const meetings of march({ local: told('local'), remote: told('remote') }, ledger))
        paths.push(...meetings.map(({ path }) => path));
    })();
    await expect(marched).rejects.toThrow(`${broken} broke`);
    expect(log.ended.sort()).toEqual(['ledger', 'local', 'remote']);
    expect(paths).toEqual(['a']);
  });

  it('is let go of where one of them cannot even be ended', async () => {
    const log = logOf();
    const items = [[there('a')], [there('b')]][Symbol.iterator]();
    const stubborn: AsyncIterable<readonly Told<Item>[]> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => items.next(),
        return: async () => {
          throw new Error('stays');
        },
      }),
    };
    const sides = { local: stubborn, remote: logged(log, 'remote', [there('x'), there('y')]) };
    const met = march(sides, rows(log, ['a']));
    await met.next();
    await expect(met.return(undefined)).rejects.toThrow('stays');
    expect(log.ended.sort()).toEqual(['ledger', 'remote']);
  });

  it.each([
    ['comes out of order', ['b', 'a']],
    ['comes twice', ['a', 'a']],
  ])('is refused where a path %s', async (_what, paths) => {
    const log = logOf();
    const met = march({ local: logged(log, 'local', paths.map(there)) }, rows(log, []));
    const all = (async () => {
      for await (const _ of met);
    })();
    await expect(all).rejects.toThrow(/nothing can be planned by that/);
    expect(log.ended.sort()).toEqual(['ledger', 'local']);
  });
});
