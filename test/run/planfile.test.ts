/*
 * A plan as a file: whatever is written is read back as the same plan, and whatever was changed in it is noticed.
 */
import { mkdir, readdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/plan/action.js';
import { type Baseline, comparePaths, type LocalFile, type RemoteFile } from '../../src/plan/entry.js';
import {
  checkPlace,
  type Difference,
  PlanFile,
  PlanFileError,
  type PlanHeader,
  PlanWriter,
  plannedAction,
} from '../../src/run/planfile.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const HEADER: PlanHeader = {
  ferryd: 'plan',
  version: 1,
  job: 'nightly "quoted"\n',
  madeAt: '2026-11-23T02:30:15.000Z',
  binding: { job: 'nightly', direction: 'push', server: 'ftp://u@h:21', remoteRoot: 'in', localRoot: '/srv' },
  settings: { mode: 'mirror', 'deletes.policy': 'trash' },
};

let directory: TemporaryDirectory;
let file: string;
beforeEach(async () => {
  directory = await temporaryDirectory('planfile');
  file = directory.join('plan.json');
});
afterEach(() => directory.remove());

async function write(verdicts: readonly Verdict[]): Promise<number> {
  const writer = await PlanWriter.create(file, HEADER);
  for (const verdict of verdicts) await writer.add(verdict);
  const actions = await writer.end();
  await writer.abandon();
  return actions;
}

async function differences(plan: PlanFile, verdicts: readonly Verdict[]): Promise<Difference[]> {
  const found: Difference[] = [];
  const all = async function* (): AsyncGenerator<Verdict> {
    yield* verdicts;
  };
  for await (const difference of plan.compare(all())) found.push(difference);
  return found;
}

function localFile(path: string, more: Partial<LocalFile> = {}): LocalFile {
  return {
    path,
    sizeBytes: 3,
    mtimeMs: 1_650_000_000_000.25,
    ctimeMs: 1_650_000_000_001,
    inode: 7,
    device: 1,
    ...more,
  };
}

function upload(path: string, more: Partial<LocalFile> = {}): Verdict {
  const at = { path, here: path, there: path, baseline: undefined };
  return { kind: 'upload', ...at, file: localFile(path, more), reason: 'new' };
}

const anyPath = fc
  .array(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }).map((name) => name.replace(/[/\0]/g, '\n')),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((names) => names.join('/'));
const anyMs = fc.double({ min: 0, max: 4e12, noNaN: true });
const anySize = fc.nat();
const anySide = fc.constantFrom('local', 'remote');
const anyBaseline = (path: string): fc.Arbitrary<Baseline | undefined> =>
  fc.option(
    fc.record({
      path: fc.constant(path),
      local: fc.record({ sizeBytes: anySize, mtimeMs: anyMs, ctimeMs: anyMs, inode: fc.nat() }),
      sha256: fc.constant('0'.repeat(64)),
      remoteModifiedMs: fc.option(anyMs, { nil: undefined }),
      target: fc.option(anyPath, { nil: undefined }),
    }),
    { nil: undefined },
  );
const anyLocal = (path: string): fc.Arbitrary<LocalFile> =>
  fc.record({
    path: fc.constant(path),
    sizeBytes: anySize,
    mtimeMs: anyMs,
    ctimeMs: anyMs,
    inode: fc.nat(),
    device: fc.nat(),
  });
const anyRemote = (path: string): fc.Arbitrary<RemoteFile> =>
  fc.record({
    path: fc.constant(path),
    sizeBytes: anySize,
    modifiedMs: fc.option(anyMs, { nil: undefined }),
  });

/** Any verdict on a path, those included that are no action. */
function anyVerdict(path: string): fc.Arbitrary<Verdict> {
  const at = { path: fc.constant(path), here: anyPath, there: anyPath, baseline: anyBaseline(path) };
  return fc.oneof(
    fc.record({
      kind: fc.constant('upload'),
      ...at,
      file: anyLocal(path),
      reason: fc.constantFrom('new', 'changed', 'conflict'),
    }),
    fc.record({
      kind: fc.constant('download'),
      ...at,
      file: anyRemote(path),
      reason: fc.constantFrom('new', 'missing'),
      over: fc.constantFrom('ours', 'seen'),
      seen: fc.option(anyLocal(path), { nil: undefined }),
    }),
    fc.record({
      kind: fc.constant('remove'),
      path: fc.constant(path),
      side: anySide,
      at: anyPath,
      known: fc.constantFrom('ours', 'extraneous'),
      sizeBytes: anySize,
      modifiedMs: fc.option(anyMs, { nil: undefined }),
      baseline: anyBaseline(path),
    }),
    fc.record({
      kind: fc.constant('set-aside'),
      path: fc.constant(path),
      here: anyPath,
      there: anyPath,
      side: anySide,
      local: anyLocal(path),
      remote: anyRemote(path),
    }),
    fc.record({ kind: fc.constantFrom('forget', 'kept', 'unchanged', 'left-out'), path: fc.constant(path) }),
  ) as fc.Arbitrary<Verdict>;
}

/** A plan's verdicts, in the order of the paths. */
const anyPlan = fc
  .uniqueArray(anyPath, { maxLength: 12 })
  .map((paths) => paths.sort(comparePaths))
  .chain((paths) => fc.tuple(...paths.map(anyVerdict)));

test('what is written is what is read, whatever the names, and a new plan that is the same shows no difference', async () => {
  await fc.assert(
    fc.asyncProperty(anyPlan, async (verdicts) => {
      const actions = verdicts.filter((verdict) => plannedAction(verdict) !== undefined);
      expect(await write(verdicts)).toBe(actions.length);
      const text = await readFile(file, 'utf8');
      expect(JSON.parse(text)).toMatchObject({ ...HEADER, count: actions.length });
      expect(text.trimEnd().split('\n')).toHaveLength(actions.length + 2);
      const plan = await PlanFile.read(file);
      expect(plan.header).toEqual(HEADER);
      expect(plan.size).toBe(actions.length);
      expect(await differences(plan, verdicts)).toEqual([]);
      expect(verdicts.filter((verdict) => !plan.takes(verdict))).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test('of two plans, the differences are those of their actions', async () => {
  const same = (a: Verdict, b: Verdict): boolean =>
    JSON.stringify(plannedAction(a)) === JSON.stringify(plannedAction(b));
  await fc.assert(
    fc.asyncProperty(anyPlan, anyPlan, async (before, after) => {
      await write(before);
      const expected = [...before, ...after]
        .filter((verdict) => plannedAction(verdict) !== undefined)
        .filter((verdict, _, all) => !all.some((other) => other !== verdict && same(verdict, other)))
        .map(({ path }) => path);
      const found = await differences(await PlanFile.read(file), after);
      expect(found.map((one) => ('planned' in one ? one.planned : one.found).path)).toEqual(
        [...new Set(expected)].sort(comparePaths),
      );
    }),
    { numRuns: 60 },
  );
});

test('any byte that is changed, added or taken away is noticed', async () => {
  await write([upload('a.txt'), upload('b.txt'), { kind: 'forget', path: 'ü' }]);
  const bytes = await readFile(file);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(bytes.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.constantFrom('changed', 'added', 'cut'),
      async (place, by, how) => {
        const other = Buffer.from(bytes);
        other[place] = (other[place] ?? 0) ^ by;
        const rest = how === 'cut' ? [] : [other.subarray(place, place + 1)];
        const behind = bytes.subarray(how === 'added' ? place : place + 1);
        await writeFile(file, Buffer.concat([bytes.subarray(0, place), ...rest, behind]));
        await expect(PlanFile.read(file)).rejects.toThrow(PlanFileError);
      },
    ),
    { numRuns: 300 },
  );
});

test('many actions are written in pieces and read as one', async () => {
  const verdicts = Array.from({ length: 30_000 }, (_, i) => upload(`dir/${String(i).padStart(6, '0')}.txt`));
  await write(verdicts);
  expect((await stat(file)).size).toBeGreaterThan(3 * 1024 * 1024);
  const plan = await PlanFile.read(file);
  expect(plan.size).toBe(30_000);
  expect(await differences(plan, verdicts)).toEqual([]);
});

describe('takes', () => {
  test('exactly what is in the plan, what follows from it, and what is nothing to carry out', async () => {
    await write([upload('a.txt'), upload('b.txt')]);
    const plan = await PlanFile.read(file);
    expect(plan.takes(upload('a.txt'))).toBe(true);
    // Devices have other numbers after a restart.
    expect(plan.takes(upload('a.txt', { device: 9 }))).toBe(true);
    expect(plan.takes(upload('a.txt', { inode: 9 }))).toBe(false);
    expect(plan.takes(upload('c.txt'))).toBe(false);
    expect(plan.takes({ kind: 'kept', path: 'c.txt' })).toBe(true);
    expect(plan.takes({ kind: 'forget', path: 'a.txt' })).toBe(false);
    plan.follow('c.txt');
    expect(plan.takes(upload('c.txt'))).toBe(true);
    expect(plan.takes({ kind: 'forget', path: 'c.txt' })).toBe(false);
  });

  test('what had to wait for a deletion is the same without having to', async () => {
    const waiting = upload('a/b');
    if (waiting.kind !== 'upload') throw new Error('no upload');
    await write([{ ...waiting, after: 'deletions' }]);
    expect((await PlanFile.read(file)).takes(waiting)).toBe(true);
  });
});

describe('where it stands', () => {
  test('it is its owner’s alone, replaces an older plan as a whole, and leaves nothing when it is abandoned', async () => {
    await write([upload('a.txt')]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const before = await readFile(file);
    const writer = await PlanWriter.create(file, HEADER);
    await writer.add(upload('b.txt'));
    expect(await readFile(file)).toEqual(before);
    await writer.abandon();
    expect(await readFile(file)).toEqual(before);
    expect(await readdir(directory.path)).toEqual(['plan.json']);
    await write([upload('b.txt')]);
    expect((await PlanFile.read(file)).takes(upload('b.txt'))).toBe(true);
  });

  test('what came to stand there meanwhile and is no plan stays', async () => {
    const writer = await PlanWriter.create(file, HEADER);
    await writeFile(file, 'mine');
    await expect(writer.end()).rejects.toThrow('is not a plan of ferryd: it is not overwritten');
    await writer.abandon();
    expect(await readFile(file, 'utf8')).toBe('mine');
    expect(await readdir(directory.path)).toEqual(['plan.json']);
  });

  test('links, directories and foreign files are in the way', async () => {
    await write([]);
    await symlink('plan.json', directory.join('way'));
    await mkdir(directory.join('sub'));
    await writeFile(directory.join('short'), '{"ferryd"');
    for (const name of ['way', 'sub', 'short']) {
      await expect(checkPlace(directory.join(name))).rejects.toThrow('it is not overwritten');
    }
    await expect(checkPlace(file)).resolves.toBeUndefined();
    await expect(checkPlace(directory.join('free'))).resolves.toBeUndefined();
  });

  test('one that is too large is not read', async () => {
    await write([]);
    await truncate(file, 256 * 1024 * 1024 + 1);
    await expect(PlanFile.read(file)).rejects.toThrow('is larger than 256 MiB');
  });
});
