/*
 * What `restoreJob` takes out of a trash, and what it leaves: over the scripted server and on the local side. The
 * trashes are laid out by hand as a run leaves them. The words and the exit codes are test/e2e/restore.test.ts's.
 */
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { inTrash, stampOf, TRASH } from '../../src/plan/trash.js';
import { Accounts } from '../../src/run/accounts.js';
import { type Restored, type RestoreReport, restoreJob, type Wish } from '../../src/run/restore.js';
import type { TrashProblem } from '../../src/run/trash.js';
import { type VoyageOptions, World } from './support/voyage.js';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 23, 2, 30, 15);
const TIME_S = 1_600_000_000;

/** A run so many days ago. */
const daysAgo = (days: number): string => stampOf(NOW - days * DAY_MS);
const momentAgo = (days: number): number => NOW - days * DAY_MS;

/** What the content of a file at this path is, where nobody cares. */
const contentOf = (path: string): string => `content of ${path}`;

/** A push in mirror mode from `local` to the server's `in`, unless told. */
async function open({ job, ...more }: VoyageOptions = {}): Promise<World> {
  const remotePath = { path: 'in', absolute: false };
  const retries = { attempts: 2, firstDelayMs: 1, maxDelayMs: 2 };
  const deletes = {
    policy: 'trash',
    keepMs: 30 * DAY_MS,
    extraneous: false,
    limit: { percent: 10, files: 100 },
  } as const;
  return World.open({ ...more, job: { mode: 'mirror', remotePath, retries, deletes, ...job } });
}

/** Files below a directory of the world; their content is told by their path. */
async function plant(world: World, directory: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const file = world.directory.join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, contentOf(path));
    await utimes(file, TIME_S, TIME_S);
  }
}

/** Files below a directory of the world, with what is in them. */
async function heldIn(world: World, directory: string): Promise<Record<string, string>> {
  const root = world.directory.join(directory);
  const held: Record<string, string> = {};
  for (const path of (await readdir(root, { recursive: true })).sort()) {
    if ((await lstat(join(root, path))).isFile()) held[path] = await readFile(join(root, path), 'utf8');
  }
  return held;
}

/** Path to content, as `plant` makes it; a pair says that what stands there came from elsewhere. */
function planted(...paths: readonly (string | readonly [string, string])[]): Record<string, string> {
  const held: Record<string, string> = {};
  for (const path of paths) {
    if (typeof path === 'string') held[path] = contentOf(path);
    else held[path[0]] = contentOf(path[1]);
  }
  return held;
}

interface Ended {
  readonly end: RestoreReport['end'];
  readonly report: RestoreReport;
  /** What came back and what was left, in the order of paths. */
  readonly deeds: readonly string[];
  readonly restored: readonly Restored[];
  readonly left: readonly TrashProblem[];
}

/** Restores as `ferryd restore` does. */
async function restore(world: World, wish: Partial<Wish> = {}): Promise<Ended> {
  const hear = (event: (typeof world.events)[number]): void => void world.events.push(event);
  const accounts = new Accounts(hear, { wire: 'silent', profiles: world.ledger });
  const restored: Restored[] = [];
  const left: TrashProblem[] = [];
  try {
    const report = await restoreJob(
      world.job,
      { path: undefined, atMs: undefined, to: undefined, ...wish },
      {
        ledgerFile: world.ledgerFile,
        accounts,
        listener: hear,
        nowMs: NOW,
        onRestored: (each) => restored.push(each),
        onLeft: (each) => left.push(each),
        random: () => 0.5,
      },
    );
    expect({ restored: report.restored, left: report.left }).toEqual({
      restored: restored.length,
      left: left.length,
    });
    const verb = wish.to === undefined ? 'restored' : 'copied';
    const deeds = [
      ...restored.map(({ path }) => `${verb} ${path}`),
      ...left.map(({ path }) => `left ${path}`),
    ];
    return { end: report.end, report, deeds: deeds.sort(), restored, left };
  } finally {
    await accounts.close();
  }
}

/** Where the trash has put aside what stood there: the one date that is not among these. */
async function putAside(world: World, directory: string, dates: readonly string[]): Promise<string> {
  const paths = Object.keys(await heldIn(world, join(directory, TRASH)));
  const fresh = paths.filter((path) => !dates.some((date) => path.startsWith(`${date}/`)));
  expect(fresh).toHaveLength(1);
  return fresh[0] ?? '';
}

const timeOf = async (world: World, path: string): Promise<number> =>
  (await stat(world.directory.join(path))).mtimeMs;

describe('on the server', () => {
  const IN = 'remote/in';

  test('what is missing comes back, the newest of each, and nothing that stands there is touched', async () => {
    await using world = await open();
    const [old, young] = [daysAgo(9), daysAgo(2)];
    await plant(world, IN, ['here.txt', 'docs/also here.txt']);
    await plant(world, IN, [
      inTrash('gone.txt', old),
      inTrash('gone.txt', young),
      inTrash('here.txt', young),
      inTrash('docs/also here.txt', old),
      inTrash('docs/deep/ümläut 日本.txt', young),
      inTrash('vanished/a.txt', old),
    ]);
    const ended = await restore(world);
    expect(ended).toMatchObject({
      end: 'done',
      deeds: ['restored docs/deep/ümläut 日本.txt', 'restored gone.txt', 'restored vanished/a.txt'],
    });
    expect(await heldIn(world, IN)).toEqual(
      planted(
        'here.txt',
        'docs/also here.txt',
        ['gone.txt', inTrash('gone.txt', young)],
        ['docs/deep/ümläut 日本.txt', inTrash('docs/deep/ümläut 日本.txt', young)],
        ['vanished/a.txt', inTrash('vanished/a.txt', old)],
        inTrash('gone.txt', old),
        inTrash('here.txt', young),
        inTrash('docs/also here.txt', old),
      ),
    );
    expect(await timeOf(world, `${IN}/gone.txt`)).toBe(TIME_S * 1000);
    await expect(stat(world.directory.join(IN, inTrash('docs/deep', young)))).rejects.toThrow('ENOENT');
    expect(await restore(world)).toMatchObject({
      end: 'nothing',
      deeds: [],
      report: { trashes: [{ label: 'nas:in', stamps: [old, young] }] },
    });
  });

  test('one file by its name, also where it exists: what stands there goes into the trash', async () => {
    await using world = await open();
    const date = daysAgo(3);
    await plant(world, IN, ['docs/a.txt', inTrash('docs/a.txt', date), inTrash('docs/b.txt', date)]);
    const ended = await restore(world, { path: 'docs/a.txt' });
    expect(ended).toMatchObject({
      end: 'done',
      deeds: ['restored docs/a.txt'],
      restored: [{ setAside: true }],
    });
    const aside = await putAside(world, IN, [date]);
    expect(aside).toMatch(/^\d{8}T\d{6}Z\/docs\/a\.txt$/);
    expect(await heldIn(world, IN)).toEqual(
      planted(
        ['docs/a.txt', inTrash('docs/a.txt', date)],
        [`${TRASH}/${aside}`, 'docs/a.txt'],
        inTrash('docs/b.txt', date),
      ),
    );
  });

  test('twice, at once, is there and back: nothing is lost to a second that two share', async () => {
    await using world = await open();
    // As if a run had put it there in the second in which this is asked for, or a clock were a little ahead.
    const date = stampOf(NOW + 5_000);
    await plant(world, IN, ['a', inTrash('a', date)]);
    const both = planted(['a', inTrash('a', date)], ['x', 'a']);
    for (const expected of [inTrash('a', date), 'a']) {
      expect(await restore(world, { path: 'a' })).toMatchObject({ end: 'done', left: [] });
      const held = await heldIn(world, IN);
      expect(held.a).toBe(contentOf(expected));
      expect(Object.values(held).sort()).toEqual(Object.values(both).sort());
    }
  });

  test('a directory by its name: only what is missing below it', async () => {
    await using world = await open({ job: { names: 'encode' } });
    const date = daysAgo(3);
    const paths = ['docs/a.txt', 'docs/b/c.txt', 'docs-old/x', 'other', 'q%3A/%3F'];
    await plant(world, IN, ['docs/a.txt', ...paths.map((path) => inTrash(path, date))]);
    expect(await restore(world, { path: 'docs' })).toMatchObject({
      end: 'done',
      deeds: ['restored docs/b/c.txt'],
    });
    expect((await heldIn(world, IN))['docs/a.txt']).toBe(contentOf('docs/a.txt'));
    const left = ['docs-old/x', 'docs/a.txt', 'other', 'q%3A/%3F'];
    expect(Object.keys(await heldIn(world, join(IN, TRASH, date)))).toEqual(left);
    // A name that the server could not hold is asked for as it is here, and stays as it is there.
    expect(await restore(world, { path: 'q:/?' })).toMatchObject({ deeds: ['restored q%3A/%3F'] });
  });

  test('as it was at a moment: each path gets what was current then, the rest stays', async () => {
    await using world = await open();
    const [eight, five, one] = [daysAgo(8), daysAgo(5), daysAgo(1)];
    await plant(world, IN, ['changed', 'same', 'twice']);
    const trash = [
      inTrash('before', eight),
      inTrash('twice', eight),
      inTrash('twice', five),
      inTrash('twice', one),
      inTrash('changed', one),
      inTrash('deleted', five),
    ];
    await plant(world, IN, trash);
    expect(await restore(world, { atMs: momentAgo(6) })).toMatchObject({
      end: 'done',
      deeds: ['restored changed', 'restored deleted', 'restored twice'],
    });
    const held = await heldIn(world, IN);
    expect(held).toMatchObject(
      planted(
        'same',
        ['changed', inTrash('changed', one)],
        ['deleted', inTrash('deleted', five)],
        ['twice', inTrash('twice', five)],
        inTrash('before', eight),
        inTrash('twice', eight),
        inTrash('twice', one),
      ),
    );
    // Nothing was lost: the two that stood there are in the trash.
    expect(Object.values(held).sort()).toEqual([...trash, 'changed', 'same', 'twice'].map(contentOf).sort());
    // Once more is the same: nothing is taken for what was current then because it comes next.
    expect(await restore(world, { atMs: momentAgo(6) })).toMatchObject({ end: 'nothing', deeds: [] });
    expect(await heldIn(world, IN)).toEqual(held);
    expect(await restore(world, { path: 'deleted', atMs: NOW - 7_200_000 })).toMatchObject({
      end: 'nothing',
    });
  });

  test('a moment that the trash does not reach: nothing is put back that only may have been current', async () => {
    await using world = await open();
    world.change({ job: { deletes: { ...world.job.deletes, keepMs: 7 * DAY_MS } } });
    await plant(world, IN, ['a', inTrash('a', daysAgo(2))]);
    const before = await heldIn(world, IN);
    expect(await restore(world, { atMs: momentAgo(10) })).toMatchObject({ end: 'out-of-reach', deeds: [] });
    expect(await heldIn(world, IN)).toEqual(before);
  });

  test('a directory in the place of the file, or a file in that of its directory: told, and the others come back', async () => {
    await using world = await open();
    const date = daysAgo(1);
    await plant(world, IN, ['was-file/x', 'was-directory']);
    await plant(
      world,
      IN,
      ['was-file', 'was-directory/y', 'z'].map((path) => inTrash(path, date)),
    );
    expect(await restore(world, { atMs: momentAgo(3) })).toMatchObject({
      end: 'done',
      deeds: ['left was-directory/y', 'left was-file', 'restored z'],
    });
    expect(await heldIn(world, IN)).toEqual(
      planted('was-file/x', 'was-directory', inTrash('was-file', date), inTrash('was-directory/y', date), [
        'z',
        inTrash('z', date),
      ]),
    );
  });

  test('the server refuses the way back: what was put aside for it stands in its place again', async () => {
    await using world = await open();
    world.server.script({
      on: 'RNTO',
      path: '/in/a',
      times: 2,
      do: { kind: 'reply', text: '553 Not now, not ever.' },
    });
    const date = daysAgo(1);
    await plant(world, IN, ['a', inTrash('a', date)]);
    const ended = await restore(world, { path: 'a' });
    expect(ended).toMatchObject({ end: 'done', deeds: ['left a'] });
    expect(ended.left[0]?.message).toMatch(/Not now, not ever.*With --to it can be copied/);
    expect(await heldIn(world, IN)).toEqual(planted('a', inTrash('a', date)));
  });

  test('there is no trash, and no directory either', async () => {
    await using world = await open();
    for (const prepare of [async () => {}, () => mkdir(world.directory.join(IN))]) {
      await prepare();
      expect(await restore(world)).toMatchObject({
        end: 'nothing',
        report: { trashes: [{ label: 'nas:in', stamps: [] }] },
      });
    }
  });

  test('a run of the job is under way: nobody is asked, and afterwards it goes', async () => {
    await using world = await open();
    await plant(world, IN, [inTrash('a', daysAgo(1))]);
    const lock = acquireLock(lockDirectory(world.ledgerFile), 'job-nightly', 'run of job nightly');
    if (lock.kind === 'held') throw new Error(lock.message);
    try {
      const held = await restore(world);
      expect(held).toMatchObject({ end: 'failed', report: { failure: { kind: 'locked' } } });
      expect(world.server.journal.connections).toBe(0);
    } finally {
      lock.release();
    }
    expect(await restore(world)).toMatchObject({ end: 'done', deeds: ['restored a'] });
  });
});

describe('into a local directory', () => {
  const IN = 'remote/in';

  test('copies with their times, and nothing there is overwritten', async () => {
    await using world = await open();
    const date = daysAgo(3);
    const trash = ['a.txt', 'docs/b.txt', 'docs/c.txt'].map((path) => inTrash(path, date));
    await plant(world, IN, [...trash, 'docs/c.txt', inTrash('taken', date)]);
    await plant(world, 'back', ['taken']);
    const before = await heldIn(world, IN);
    const ended = await restore(world, { to: world.directory.join('back') });
    expect(ended).toMatchObject({
      end: 'done',
      deeds: ['copied a.txt', 'copied docs/b.txt', 'left taken'],
    });
    expect(ended.left[0]?.message).toContain(
      `${world.directory.join('back/taken')} exists already, and is not overwritten.`,
    );
    expect(await heldIn(world, 'back')).toEqual(
      planted('taken', ['a.txt', inTrash('a.txt', date)], ['docs/b.txt', inTrash('docs/b.txt', date)]),
    );
    expect(await timeOf(world, 'back/docs/b.txt')).toBe(TIME_S * 1000);
    expect(await heldIn(world, IN)).toEqual(before);
    const to = world.directory.join('not/there/yet');
    expect(await restore(world, { path: 'docs/c.txt', to })).toMatchObject({ deeds: ['copied docs/c.txt'] });
    expect(await heldIn(world, 'not/there/yet')).toEqual(
      planted(['docs/c.txt', inTrash('docs/c.txt', date)]),
    );
  });

  test('names that the server could not hold are written as they are here', async () => {
    await using world = await open({ job: { names: 'encode' } });
    const date = daysAgo(3);
    // Made by nobody's encoding: it stays.
    const encoded = ['at 12%3A30.txt', 'q%3A/%3F', 'line%0Abreak', '50% off', '..%2Fup'];
    await plant(
      world,
      IN,
      encoded.map((path) => inTrash(path, date)),
    );
    const ended = await restore(world, { to: world.directory.join('back') });
    const pairs = [
      ['at 12:30.txt', encoded[0]],
      ['q:/?', encoded[1]],
      ['line\nbreak', encoded[2]],
      ['50% off', encoded[3]],
      ['..%2Fup', encoded[4]],
    ] as const;
    expect(ended).toMatchObject({ end: 'done', deeds: pairs.map(([path]) => `copied ${path}`).sort() });
    expect(await heldIn(world, 'back')).toEqual(
      planted(...pairs.map(([path, from]) => [path, inTrash(from ?? '', date)] as const)),
    );
    expect(await readdir(world.directory.path)).not.toContain('up');
    const again = await restore(world, { path: 'q:/?', to: world.directory.join('back') });
    expect(again.deeds).toEqual(['left q:/?']);
  });

  test('without names: encode they are what they are', async () => {
    await using world = await open();
    const date = daysAgo(3);
    await plant(world, IN, [inTrash('12%3A30', date)]);
    expect(await restore(world, { to: world.directory.join('back') })).toMatchObject({
      deeds: ['copied 12%3A30'],
    });
  });

  test('two paths of the server that are one here: the first has the name, the other one is told', async () => {
    await using world = await open({ job: { names: 'encode' } });
    const date = daysAgo(3);
    await plant(
      world,
      IN,
      ['12%3A30', '12:30'].map((path) => inTrash(path, date)),
    );
    const ended = await restore(world, { to: world.directory.join('back') });
    expect(ended.deeds).toEqual(['copied 12:30', 'left 12:30']);
    expect(ended.left).toMatchObject([{ code: 'exists' }]);
    expect(await heldIn(world, 'back')).toEqual(planted(['12:30', inTrash('12%3A30', date)]));
  });

  test('a copy that is cut is tried again, and never stands there half', async () => {
    await using world = await open();
    world.server.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 5 } });
    const trashed = inTrash('a', daysAgo(1));
    await plant(world, IN, [trashed]);
    expect(await restore(world, { to: world.directory.join('back') })).toMatchObject({ deeds: ['copied a'] });
    expect(await heldIn(world, 'back')).toEqual(planted(['a', trashed]));
    expect(world.told('file.retry')).toHaveLength(1);
  });

  test('a copy that comes short each time: told as such, and nothing stands there', async () => {
    await using world = await open();
    world.server.script({ on: 'RETR', path: '**/a', nth: 'every', do: { kind: 'dataClose', atByte: 5 } });
    await plant(world, IN, [inTrash('a', daysAgo(1)), inTrash('b', daysAgo(1))]);
    expect(await restore(world, { to: world.directory.join('back') })).toMatchObject({
      end: 'done',
      deeds: ['copied b', 'left a'],
      report: { mismatched: 1 },
    });
    expect(Object.keys(await heldIn(world, 'back'))).toEqual(['b']);
  });
});

describe('on the local side', () => {
  test('a pull restores here, and the server is not even asked', async () => {
    await using world = await open({ job: { direction: 'pull' } });
    const date = daysAgo(4);
    await plant(world, 'local', ['kept', 'twice', inTrash('twice', date), inTrash('b/c', date)]);
    expect(await restore(world, { path: 'twice' })).toMatchObject({ deeds: ['restored twice'] });
    const aside = await putAside(world, 'local', [date]);
    expect(await restore(world)).toMatchObject({ deeds: ['restored b/c'] });
    expect(await heldIn(world, 'local')).toEqual(
      planted(
        'kept',
        ['twice', inTrash('twice', date)],
        [`${TRASH}/${aside}`, 'twice'],
        ['b/c', inTrash('b/c', date)],
      ),
    );
    expect(await timeOf(world, 'local/twice')).toBe(TIME_S * 1000);
    expect(world.server.journal.connections).toBe(0);
  });

  test('or copies, a link as the link that it is, and decodes no name that is one of here', async () => {
    await using world = await open({ job: { direction: 'pull', names: 'encode' } });
    const date = daysAgo(4);
    await plant(world, 'local', [inTrash('d/a', date), inTrash('12%3A30', date)]);
    await plant(world, 'outside', ['secret']);
    await symlink(world.directory.join('outside'), world.directory.join('local', inTrash('link', date)));
    expect(await restore(world, { to: world.directory.join('back') })).toMatchObject({ end: 'done' });
    expect(await heldIn(world, 'back')).toEqual({
      ...planted(['d/a', inTrash('d/a', date)], ['12%3A30', inTrash('12%3A30', date)]),
      'link/secret': 'content of secret',
    });
    expect(await readlink(world.directory.join('back/link'))).toBe(world.directory.join('outside'));
    expect(await timeOf(world, 'back/d/a')).toBe(TIME_S * 1000);
    expect(Object.keys(await heldIn(world, `local/${TRASH}/${date}`))).toEqual([
      '12%3A30',
      'd/a',
      'link/secret',
    ]);
    expect(await heldIn(world, 'outside')).toEqual(planted('secret'));
  });

  test('two-way: both trashes, the newest of both wins, on the side where it was', async () => {
    await using world = await open({ job: { mode: 'two-way' } });
    const [older, newer] = [daysAgo(6), daysAgo(2)];
    await plant(world, 'remote/in', [inTrash('a', older), inTrash('b', newer), inTrash('same', older)]);
    await plant(world, 'local', [inTrash('a', newer), inTrash('c', older), inTrash('same', older)]);
    const ended = await restore(world);
    expect([...ended.restored].sort((x, y) => (x.path < y.path ? -1 : 1))).toMatchObject([
      { path: 'a', side: 'local' },
      { path: 'b', side: 'remote' },
      { path: 'c', side: 'local' },
      { path: 'same', side: 'remote' },
    ]);
    expect(Object.keys(await heldIn(world, 'remote/in'))).toEqual([inTrash('a', older), 'b', 'same']);
    expect(Object.keys(await heldIn(world, 'local'))).toEqual([inTrash('same', older), 'a', 'c']);
  });
});
