/*
 * The trash of either side: what goes when it is too old, what is left and told, and what can be restored. The same
 * cases over a remote in memory and over a local directory.
 */
import { mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { comparePaths } from '../../src/plan/entry.js';
import { fromTrash, inTrash, noteOf, stampMs, stampOf, TRASH } from '../../src/plan/trash.js';
import {
  localPlace,
  type Pruned,
  type PutBack,
  patientPlace,
  pruneTrash,
  type RestorePlace,
  reachesBack,
  restorable,
  stampsIn,
  type TrashPlace,
  type TrashProblem,
  type Version,
  versionAt,
} from '../../src/run/trash.js';
import { MemoryRemote, MemoryTree, refusal, type Step } from '../support/memory-remote.js';
import { temporaryDirectory } from '../support/temporary.js';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 23, 2, 30, 15);
const KEEP_MS = 30 * DAY_MS;

/** The stamp of a run so many days ago. */
const daysAgo = (days: number): string => stampOf(NOW - days * DAY_MS);

/** A side with a trash, and a look at what it really holds. */
interface Ground extends AsyncDisposable {
  readonly place: RestorePlace;
  write(path: string, content?: string, modifiedMs?: number): void;
  makeDirectory(path: string): void;
  link(path: string): void;
  /** Paths of all that is no directory, in order. */
  held(): string[];
  directories(path: string): string[];
}

async function memory(before: (step: Step) => void = () => {}): Promise<Ground> {
  const tree = new MemoryTree();
  return {
    place: new MemoryRemote({ tree, label: 'nas:dumps', before }),
    write: (path, content = path, modifiedMs = NOW) => tree.write(path, content, modifiedMs),
    makeDirectory: (path) => tree.makeDirectory(path),
    link: (path) => tree.link(path),
    held: () => tree.files(),
    directories: (path) => namesBelow(tree, path),
    [Symbol.asyncDispose]: async () => {},
  };
}

function namesBelow(tree: MemoryTree, path: string): string[] {
  const entries = tree.directory(path)?.entries ?? new Map<string, { kind: string }>();
  return [...entries].filter(([, node]) => node.kind === 'directory').map(([name]) => name);
}

async function disk(): Promise<Ground> {
  const directory = await temporaryDirectory('trash');
  const made = (path: string): string => {
    mkdirSync(dirname(directory.join(path)), { recursive: true });
    return directory.join(path);
  };
  return {
    place: localPlace(directory.path),
    write: (path, content = path, modifiedMs = NOW) => {
      writeFileSync(made(path), content);
      utimesSync(made(path), modifiedMs / 1000, modifiedMs / 1000);
    },
    makeDirectory: (path) => mkdirSync(directory.join(path), { recursive: true }),
    link: (path) => symlinkSync('/etc/hostname', made(path)),
    held: () =>
      readdirSync(directory.path, { recursive: true, encoding: 'utf8', withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => `${entry.parentPath}/${entry.name}`.slice(directory.path.length + 1))
        .sort(),
    directories: (path) => readdirSync(directory.join(path)),
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

const prune = (place: TrashPlace, more: { signal?: AbortSignal } = {}): Promise<Pruned> =>
  pruneTrash(place, { keepMs: KEEP_MS, nowMs: NOW, ...more });

async function versionsOf(
  places: readonly TrashPlace[],
  wants?: (path: string) => boolean,
): Promise<{ versions: Version[][]; notes: PutBack[]; problems: TrashProblem[] }> {
  const problems: TrashProblem[] = [];
  const versions: Version[][] = [];
  const notes: PutBack[] = [];
  const options = { onProblem: (problem: TrashProblem) => problems.push(problem), ...(wants && { wants }) };
  for await (const some of restorable(places, options)) {
    notes.push(...some.filter((one) => one.kind === 'put-back'));
    versions.push(some.filter((one) => one.kind === 'version'));
  }
  return { versions, notes, problems };
}

describe.each([
  ['a remote', memory],
  ['the local side', disk],
] as const)('the trash of %s', (_, open) => {
  test('of one that was never used is nothing', async () => {
    await using ground = await open();
    ground.write('a');
    expect(await stampsIn(ground.place)).toEqual([]);
    expect(await versionsOf([ground.place])).toEqual({ versions: [], notes: [], problems: [] });
    expect(await prune(ground.place)).toEqual({
      files: 0,
      bytes: 0,
      dates: 0,
      problems: [],
      problemsInAll: 0,
      ended: 'whole',
    });
    expect(ground.held()).toEqual(['a']);
  });

  test('is rid of dates that are too old, and of nothing else', async () => {
    await using ground = await open();
    const old = [inTrash('a', daysAgo(30)), inTrash('x/y/z.txt', daysAgo(30)), inTrash('a', daysAgo(400))];
    const young = [inTrash('a', daysAgo(29.99)), inTrash('b/c', daysAgo(0)), inTrash('d', daysAgo(-5))];
    for (const path of [...old, ...young, 'a', 'x/y/z.txt']) ground.write(path, '12345');
    ground.makeDirectory(inTrash('empty/one', daysAgo(31)));
    const pruned = await prune(ground.place);
    expect(pruned).toMatchObject({ files: 3, bytes: 15, dates: 3, problems: [], ended: 'whole' });
    expect(ground.held()).toEqual([...young, 'a', 'x/y/z.txt'].sort());
    expect(ground.directories(TRASH).sort()).toEqual([daysAgo(29.99), daysAgo(0), daysAgo(-5)].sort());
  });

  test('leaves what no run put there, and tells it', async () => {
    await using ground = await open();
    const foreign = [
      `${TRASH}/notes.txt`,
      `${TRASH}/20200101/a`,
      `${TRASH}/20200230T000000Z/a`,
      `${TRASH}/old/20200101T000000Z/a`,
    ];
    for (const path of foreign) ground.write(path);
    ground.write(inTrash('a', daysAgo(40)));
    const { problems, files } = await prune(ground.place);
    expect(files).toBe(1);
    expect(ground.held()).toEqual([...foreign].sort());
    const { label } = ground.place;
    expect(problems.map(({ message }) => message).sort()).toEqual(
      ['20200101', '20200230T000000Z', 'notes.txt', 'old'].map(
        (name) => `${TRASH}/${name} of ${label} was not put there by ferryd, and is left alone.`,
      ),
    );
  });

  test('a link goes like a file', async () => {
    await using ground = await open();
    ground.write(inTrash('d/a', daysAgo(40)));
    ground.write(inTrash('e', daysAgo(40)));
    ground.link(inTrash('d/link', daysAgo(40)));
    const pruned = await prune(ground.place);
    expect(pruned).toMatchObject({ files: 3, dates: 1, problemsInAll: 0, ended: 'whole' });
    expect(ground.held()).toEqual([]);
  });

  test('stops where it is not wanted any more', async () => {
    await using ground = await open();
    for (let i = 0; i < 200; i += 1) ground.write(inTrash(`f${i}`, daysAgo(40)));
    const stop = new AbortController();
    let removed = 0;
    const place: TrashPlace = {
      ...bound(ground.place),
      remove: async (path, options) => {
        await ground.place.remove(path, options);
        removed += 1;
        if (removed === 10) stop.abort();
      },
    };
    const pruned = await prune(place, { signal: stop.signal });
    expect(pruned).toMatchObject({ dates: 0, ended: 'early', problems: [] });
    expect(ground.held().length).toBeGreaterThan(100);
    expect(await prune(ground.place)).toMatchObject({ dates: 1, ended: 'whole' });
    expect(ground.held()).toEqual([]);
  });

  test('shows the versions of each path, oldest first, paths in their order', async () => {
    await using ground = await open();
    const [first, second, third] = [daysAgo(20), daysAgo(10), daysAgo(1)];
    ground.write(inTrash('a/x', second), 'second', NOW - 11 * DAY_MS);
    ground.write(inTrash('a/x', first), 'first', NOW - 25 * DAY_MS);
    ground.write(inTrash('a', third), 'was a directory');
    ground.write(inTrash('a-b', second));
    ground.write(inTrash('a.txt', first));
    ground.write(inTrash('ä/ö', third));
    ground.write('a/x', 'current');
    const { versions, problems } = await versionsOf([ground.place]);
    expect(problems).toEqual([]);
    const shown = versions.map((some) => [some[0]?.path, ...some.map(({ stamp }) => stamp)]);
    expect(shown).toEqual([
      ['a', third],
      ['a-b', second],
      ['a.txt', first],
      ['a/x', first, second],
      ['ä/ö', third],
    ]);
    const [old] = versions[3] ?? [];
    expect(old).toMatchObject({
      place: ground.place,
      untilMs: stampMs(first),
      file: { path: inTrash('a/x', first), sizeBytes: 5, modifiedMs: NOW - 25 * DAY_MS },
    });
    expect(await stampsIn(ground.place)).toEqual([first, second, third]);
  });

  test('shows what was put back, in the place of its path; a note is not believed while the file is there', async () => {
    await using ground = await open();
    const [first, second, third] = [daysAgo(20), daysAgo(10), daysAgo(1)];
    ground.makeDirectory(noteOf(inTrash('d/a', first), second));
    ground.makeDirectory(noteOf(inTrash('d/a', first), third));
    ground.write(inTrash('d/a', second));
    ground.write(inTrash('d/a-b', first));
    ground.write(inTrash('d/a.b', first));
    ground.makeDirectory(noteOf(inTrash('d/a.b', first), third));
    ground.write(inTrash('d/b', second));
    const shown: string[] = [];
    for await (const some of restorable([ground.place], {
      onProblem: ({ message }) => shown.push(message),
    })) {
      for (const one of some) {
        const back = one.kind === 'put-back' ? ` ${stampOf(one.backMs)}` : '';
        shown.push(`${one.path} ${one.kind} ${one.stamp}${back}`);
      }
    }
    expect(shown).toEqual([
      `d/a put-back ${first} ${third}`,
      `d/a version ${second}`,
      `d/a-b version ${first}`,
      `d/a.b version ${first}`,
      `d/b version ${second}`,
    ]);
    expect(await pruneTrash(ground.place, { keepMs: 0, nowMs: NOW })).toMatchObject({ files: 4, dates: 2 });
    expect(ground.directories(TRASH)).toEqual([]);
  });

  test('looks only where what is wanted may be', async () => {
    await using ground = await open();
    for (const path of ['a/b/c', 'a/b/d/e', 'a/x', 'ab', 'b/b']) ground.write(inTrash(path, daysAgo(3)));
    const listed: string[] = [];
    const place: TrashPlace = {
      ...bound(ground.place),
      list: (directory, options) => {
        listed.push(directory);
        return ground.place.list(directory, options);
      },
    };
    const wants = (path: string): boolean => 'a/b/'.startsWith(path) || path.startsWith('a/b/');
    const { versions } = await versionsOf([place], wants);
    expect(versions.map(([one]) => one?.path)).toEqual(['a/b/c', 'a/b/d/e']);
    expect(listed).toEqual([
      TRASH,
      `${TRASH}/${daysAgo(3)}`,
      inTrash('a', daysAgo(3)),
      inTrash('a/b', daysAgo(3)),
      inTrash('a/b/d', daysAgo(3)),
    ]);
  });

  it('finds exactly what is in it, each path once, in order', async () => {
    const name = fc.constantFrom('a', 'b', 'a-', 'a.', 'é', '\u{1f600}', '\uffee');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
    const days = fc.integer({ min: 0, max: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(path, days), { maxLength: 40 }), async (wanted) => {
        await using ground = await open();
        const put = new Set<string>();
        for (const [path, day] of wanted) {
          const at = inTrash(path, daysAgo(day));
          // A file and a directory cannot have one name on one day.
          if ([...put].some((other) => other.startsWith(`${at}/`) || at.startsWith(`${other}/`))) continue;
          ground.write(at);
          put.add(at);
        }
        const { versions, problems } = await versionsOf([ground.place]);
        expect(problems).toEqual([]);
        const found = versions.flatMap((some) => some.map(({ file }) => file.path));
        expect(found.length).toBe(put.size);
        expect(new Set(found)).toEqual(put);
        const paths = versions.map(([one]) => one?.path ?? '');
        expect(paths).toEqual([...new Set(paths)].sort(comparePaths));
        for (const some of versions) {
          const stamps = some.map(({ stamp }) => stamp);
          expect(stamps).toEqual([...stamps].sort());
          for (const { path, stamp, file } of some) expect(fromTrash(file.path)).toEqual({ path, stamp });
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('on the local side', () => {
  test('a trash that is a link is neither emptied nor looked into', async () => {
    await using outside = await temporaryDirectory('outside');
    await using ground = await temporaryDirectory('trash');
    mkdirSync(outside.join(daysAgo(40)));
    writeFileSync(outside.join(daysAgo(40), 'precious'), 'x');
    symlinkSync(outside.path, ground.join(TRASH));
    const pruned = await prune(localPlace(ground.path));
    expect(pruned).toMatchObject({ files: 0, problemsInAll: 1 });
    expect(pruned.problems[0]).toMatchObject({ path: TRASH, code: 'OUTSIDE' });
    await expect(stampsIn(localPlace(ground.path))).rejects.toMatchObject({ code: 'OUTSIDE' });
    expect(statSync(outside.join(daysAgo(40), 'precious')).size).toBe(1);
  });

  test('a date that is a link is left, and told; in a date a link goes, and what it leads to stays', async () => {
    await using outside = await temporaryDirectory('outside');
    await using ground = await temporaryDirectory('trash');
    writeFileSync(outside.join('precious'), 'x');
    mkdirSync(ground.join(TRASH, daysAgo(50)), { recursive: true });
    symlinkSync(outside.path, ground.join(TRASH, daysAgo(40)));
    symlinkSync(outside.path, ground.join(TRASH, daysAgo(50), 'd'));
    expect((await versionsOf([localPlace(ground.path)])).versions).toHaveLength(1);
    const { problems, files } = await prune(localPlace(ground.path));
    expect(files).toBe(1);
    expect(problems.map(({ path }) => path)).toEqual([`${TRASH}/${daysAgo(40)}`]);
    expect((await versionsOf([localPlace(ground.path)])).versions).toEqual([]);
    expect(statSync(outside.join('precious')).size).toBe(1);
  });
});

describe('a remote that refuses', () => {
  test('one file: it is told, the others go, and the next time it is tried again', async () => {
    let refuses = true;
    await using ground = await memory(({ step, path }) => {
      if (refuses && step === 'remove' && path.endsWith('/b'))
        throw refusal('DELE', 'command', 550, 'Permission denied.', 'nas:dumps');
    });
    for (const path of ['a', 'd/b', 'd/c', 'e']) ground.write(inTrash(path, daysAgo(40)));
    const pruned = await prune(ground.place);
    expect(pruned).toMatchObject({ files: 3, dates: 0, problemsInAll: 1, ended: 'whole' });
    expect(pruned.problems[0]).toMatchObject({ path: inTrash('d/b', daysAgo(40)), code: '550' });
    expect(ground.held()).toEqual([inTrash('d/b', daysAgo(40))]);
    refuses = false;
    expect(await prune(ground.place)).toMatchObject({ files: 1, dates: 1, problems: [] });
  });

  test('to list a trash that is there: told, and no proof that there is none', async () => {
    await using ground = await memory(({ step, path }) => {
      if (step === 'list' && path === TRASH)
        throw refusal('MLSD', 'transfer', 550, 'Permission denied.', 'nas:dumps');
    });
    ground.write(inTrash('a', daysAgo(40)));
    const pruned = await prune(ground.place);
    expect(pruned).toMatchObject({ files: 0, problemsInAll: 1 });
    expect(pruned.problems[0]).toMatchObject({ path: TRASH, code: '550' });
    await expect(stampsIn(ground.place)).rejects.toThrow('Permission denied');
    expect(ground.held()).toEqual([inTrash('a', daysAgo(40))]);
  });

  test('to list one directory: told, and the rest is restored from', async () => {
    await using ground = await memory(({ step, path }) => {
      if (step === 'list' && path.endsWith('/secret'))
        throw refusal('MLSD', 'transfer', 550, 'Permission denied.', 'nas:dumps');
    });
    for (const path of ['a', 'secret/b', 'z']) ground.write(inTrash(path, daysAgo(4)));
    const { versions, problems } = await versionsOf([ground.place]);
    expect(versions.map(([one]) => one?.path)).toEqual(['a', 'z']);
    expect(problems.map(({ path }) => path)).toEqual([inTrash('secret', daysAgo(4))]);
  });

  test('everything because it is full: the first refusal ends it', async () => {
    let asked = 0;
    await using ground = await memory(({ step }) => {
      if (step !== 'remove') return;
      asked += 1;
      throw refusal('DELE', 'command', 452, 'Disk quota exceeded.', 'nas:dumps');
    });
    for (let i = 0; i < 100; i += 1) ground.write(inTrash(`f${i}`, daysAgo(40)));
    const pruned = await prune(ground.place);
    expect(pruned).toMatchObject({ files: 0, ended: 'early' });
    expect(asked).toBeLessThanOrEqual(4);
    expect(pruned.problems[0]?.message).toContain('quota');
  });

  test('for now: patience helps', async () => {
    let failures = 0;
    await using ground = await memory(({ step }) => {
      if (step !== 'remove' || failures >= 2) return;
      failures += 1;
      throw refusal('DELE', 'command', 450, 'Busy.', 'nas:dumps');
    });
    ground.write(inTrash('a', daysAgo(40)));
    const delays: number[] = [];
    const patient = patientPlace(ground.place, {
      retries: { attempts: 3, firstDelayMs: 2, maxDelayMs: 8 },
      signal: undefined,
      random: () => 1,
      onRetry: (_, __, delayMs) => delays.push(delayMs),
    });
    expect(await prune(patient)).toMatchObject({ files: 1, dates: 1, problems: [] });
    expect(delays).toEqual([2, 4]);
  });

  test('no more problems are kept than a person reads', async () => {
    await using ground = await memory();
    for (let i = 0; i < 120; i += 1) ground.write(`${TRASH}/note${i}`);
    const { problems, problemsInAll } = await prune(ground.place);
    expect(problems.length).toBe(50);
    expect(problemsInAll).toBe(120);
  });
});

test('a listing that names what is not in its directory leads nowhere', async () => {
  await using ground = await memory();
  ground.write('precious');
  ground.write('other/precious');
  ground.write(inTrash('a', daysAgo(40)));
  const lies = [
    'precious',
    `${TRASH}/../precious`,
    `${TRASH}/${daysAgo(40)}/../../precious`,
    `${TRASH}/${daysAgo(40)}/x/y`,
  ];
  const touched: string[] = [];
  const place: TrashPlace = {
    ...bound(ground.place),
    list: async (directory, options) => {
      const listing = await ground.place.list(directory, options);
      if (directory === TRASH) return listing;
      const files = lies.map((path) => ({ path, sizeBytes: 1, modifiedMs: NOW }));
      return { ...listing, files: [...listing.files, ...files], directories: ['other', `${directory}/..`] };
    },
    remove: (path, options) => {
      touched.push(path);
      return ground.place.remove(path, options);
    },
  };
  const { versions } = await versionsOf([place]);
  expect(versions.map(([one]) => one?.file.path)).toEqual([inTrash('a', daysAgo(40))]);
  const pruned = await prune(place);
  expect(touched).toEqual([inTrash('a', daysAgo(40))]);
  expect(pruned.problemsInAll).toBe(6);
  expect(ground.held()).toEqual(['other/precious', 'precious']);
});

describe('two places', () => {
  test('their versions come together; of one date, the first place comes first', async () => {
    await using remote = await memory();
    await using local = await disk();
    remote.write(inTrash('a', daysAgo(5)));
    remote.write(inTrash('a', daysAgo(2)));
    remote.write(inTrash('b', daysAgo(2)));
    local.write(inTrash('a', daysAgo(3)));
    local.write(inTrash('a', daysAgo(2)));
    local.write(inTrash('c', daysAgo(2)));
    const { versions } = await versionsOf([remote.place, local.place]);
    const who = (one: Version): string => (one.place === remote.place ? 'remote' : 'local');
    expect(versions.map((some) => some.map((one) => `${one.path} ${who(one)} ${one.stamp}`))).toEqual([
      [`a remote ${daysAgo(5)}`, `a local ${daysAgo(3)}`, `a remote ${daysAgo(2)}`, `a local ${daysAgo(2)}`],
      [`b remote ${daysAgo(2)}`],
      [`c local ${daysAgo(2)}`],
    ]);
    expect(versionAt(versions[0] ?? [], undefined)?.place).toBe(remote.place);
  });
});

describe('the version of a moment', () => {
  const place = localPlace('/nowhere');
  const version = (stamp: string): Version => ({
    kind: 'version',
    place,
    path: 'a',
    stamp,
    untilMs: stampMs(stamp) ?? 0,
    file: { path: inTrash('a', stamp), sizeBytes: 1, modifiedMs: undefined },
  });
  const versions = ['20261101T000000Z', '20261110T120000Z', '20261120T000000Z'].map(version);
  const at = (text: string): string | undefined => versionAt(versions, Date.parse(text))?.stamp;

  test.each([
    ['2026-10-01T00:00:00Z', '20261101T000000Z'],
    ['2026-10-31T23:59:59.999Z', '20261101T000000Z'],
    ['2026-11-01T00:00:00Z', '20261110T120000Z'],
    ['2026-11-10T11:59:59Z', '20261110T120000Z'],
    ['2026-11-10T12:00:00Z', '20261120T000000Z'],
    ['2026-11-20T00:00:00Z', undefined],
  ])('%s is that of %s', (moment, stamp) => {
    expect(at(moment)).toBe(stamp);
  });

  test('that was put back is what was current from then on', () => {
    const elsewhere = localPlace('/elsewhere');
    const back = (stamp: string, again: string, where = place): PutBack => ({
      kind: 'put-back',
      place: where,
      path: 'a',
      stamp,
      untilMs: stampMs(stamp) ?? 0,
      backMs: stampMs(again) ?? 0,
    });
    const [one, two, three] = ['20261101T000000Z', '20261110T000000Z', '20261120T000000Z'] as const;
    const atMs = Date.UTC(2026, 9, 1);
    const chosen = (...entries: (Version | PutBack)[]): string | undefined => versionAt(entries, atMs)?.stamp;
    expect(chosen(back(one, two), version(two))).toBeUndefined();
    expect(chosen(back(one, two), version(two), version(three))).toBe(three);
    expect(chosen(back(one, two), version(two), back(three, '20261122T000000Z'))).toBeUndefined();
    expect(chosen(back(one, two, elsewhere), version(two), version(three))).toBeUndefined();
    expect(chosen(version(one), back(two, three))).toBe(one);
    // The clock was set back in between.
    expect(chosen(back(two, one), version(three))).toBe(three);
    expect(chosen(back(two, one), back(three, one))).toBeUndefined();
    expect(versionAt([version(one), version(two), back(three, three)], undefined)?.stamp).toBe(two);
  });

  test('is the newest where no moment is told', () => {
    expect(versionAt(versions, undefined)?.stamp).toBe('20261120T000000Z');
    expect(versionAt([], undefined)).toBeUndefined();
  });

  test.each([
    ['within what is kept', [], 29, true],
    ['right at its end', [], 30, true],
    ['before it, with nothing older left', [20, 10], 31, false],
    ['before it, with nothing at all', [], 31, false],
    ['before it, and something older is there still', [40, 10], 31, true],
    ['before it, and something of that very moment is there', [31, 10], 31, true],
  ])('can be known %s: %j, %i days ago: %s', (_, stamps, days, known) => {
    const dates = stamps.map((day) => daysAgo(day)).sort();
    expect(reachesBack(dates, NOW - days * DAY_MS, { keepMs: KEEP_MS, nowMs: NOW })).toBe(known);
  });
});

/** A place whose operations can be replaced one by one. */
function bound(place: TrashPlace): TrashPlace {
  return {
    label: place.label,
    list: (directory, options) => place.list(directory, options),
    move: (from, to, options) => place.move(from, to, options),
    remove: (path, options) => place.remove(path, options),
    removeDirectory: (path, options) => place.removeDirectory(path, options),
  };
}
