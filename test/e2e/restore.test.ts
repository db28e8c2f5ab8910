/*
 * `ferryd restore` as a person types it: files of a trash go back under their names, or into a local directory,
 * against the scripted FTPS server and a real vsftpd. The trashes are laid out by hand as a run leaves them.
 */
import { mkdir, readFile, rm, stat, symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { inTrash, stampOf, TRASH } from '../../src/plan/trash.js';
import { certificates } from '../support/certificates.js';
import { describeReal } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Ended } from './command.js';
import { pathsBelow, QUICK, Stage, type Written } from './stage.js';

const DAY_MS = 86_400_000;

/** A run so many days ago. */
const daysAgo = (days: number): string => stampOf(Date.now() - days * DAY_MS);

/** What the content and the time of a file at this path are, where nobody cares. */
const contentOf = (path: string): string => `content of ${path}`;
const TIME_S = 1_600_000_000;

/** Files below a directory of the stage; their content is told by their path. */
async function plant(stage: Stage, directory: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await stage.write(join(directory, path), contentOf(path));
    await utimes(stage.at(directory, path), TIME_S, TIME_S);
  }
}

/** Files below a directory of the stage, with what is in them. */
async function heldIn(stage: Stage, directory: string): Promise<Record<string, string>> {
  const held: Record<string, string> = {};
  for (const path of await pathsBelow(stage.at(directory))) {
    held[path] = await readFile(stage.at(directory, path), 'utf8');
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

/** Lines of standard output, `(...)` cut off. */
function deeds(ended: Ended): string[] {
  return ended.stdout
    .split('\n')
    .filter((line) => /^(restored|copied|left) /.test(line))
    .map((line) => line.replace(/ {2}\(.*$/, ''))
    .sort();
}

/** Where the trash has put aside what stood there: the one date that is not among these. */
async function putAside(stage: Stage, directory: string, dates: readonly string[]): Promise<string> {
  const paths = await pathsBelow(stage.at(directory, TRASH));
  const fresh = paths.filter((path) => !dates.some((date) => path.startsWith(`${date}/`)));
  expect(fresh.length).toBe(1);
  return fresh[0] ?? '';
}

async function pushStage(stage: Stage, more: Written = {}): Promise<void> {
  await stage.writePush('nightly', { mode: 'mirror', ...more });
}

test('the whole journey: a mirror deletes and overwrites, a person takes back, and the next run leaves it so', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await pushStage(stage);
  await plant(stage, 'source', ['kept', 'deleted', 'd/deleted too', 'overwritten']);
  expect((await stage.run('nightly')).code).toBe(0);
  await rm(stage.at('source/deleted'));
  await rm(stage.at('source/d'), { recursive: true });
  await stage.write('source/overwritten', 'other words');
  const second = await stage.run('nightly');
  expect({ code: second.code, deleted: second.result.deleted }).toEqual({ code: 0, deleted: 2 });
  expect(Object.keys(await heldIn(stage, 'remote/in')).filter((path) => !path.startsWith(TRASH))).toEqual([
    'kept',
    'overwritten',
  ]);

  const ended = await stage.ferryd('restore', 'nightly');
  expect(ended.code).toBe(0);
  expect(deeds(ended)).toEqual(['restored d/deleted too', 'restored deleted']);
  const named = await stage.ferryd('restore', 'nightly', 'overwritten');
  expect(named.code).toBe(0);
  const back = planted('kept', 'deleted', 'd/deleted too', 'overwritten');
  expect(await heldIn(stage, 'remote/in')).toMatchObject(back);
  expect((await stage.run('nightly')).code).toBe(0);
  const held = await heldIn(stage, 'remote/in');
  expect(held).toMatchObject(back);
  expect(Object.values(held).sort()).toEqual([...Object.values(back), 'other words'].sort());
});

describe('on the server', () => {
  test('what is missing comes back, the newest of each, and nothing that stands there is touched', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const [old, young] = [daysAgo(9), daysAgo(2)];
    await plant(stage, 'remote/in', ['here.txt', 'docs/also here.txt']);
    const trash = [
      inTrash('gone.txt', old),
      inTrash('gone.txt', young),
      inTrash('here.txt', young),
      inTrash('docs/also here.txt', old),
      inTrash('docs/deep/ümläut 日本.txt', young),
      inTrash('vanished/a.txt', old),
    ];
    await plant(stage, 'remote/in', trash);

    const ended = await stage.ferryd('restore', 'nightly');
    expect({ code: ended.code, stderr: ended.words }).toEqual({ code: 0, stderr: [] });
    expect(deeds(ended)).toEqual([
      'restored docs/deep/ümläut 日本.txt',
      'restored gone.txt',
      'restored vanished/a.txt',
    ]);
    expect(ended.stdout).toMatch(/^Restored 3 files \(.*\) of job nightly; 0 left\.$/m);
    expect(ended.stdout).toMatch(
      /^restored gone\.txt {2}\(current until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d+ B\)$/m,
    );
    expect(await heldIn(stage, 'remote/in')).toEqual(
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
    expect((await stat(stage.at('remote/in/gone.txt'))).mtimeMs).toBe(TIME_S * 1000);
    await expect(stat(stage.at('remote/in', inTrash('docs/deep', young)))).rejects.toThrow('ENOENT');

    const again = await stage.ferryd('restore', 'nightly');
    expect(again.code).toBe(1);
    expect(again.stdout).toBe('');
    expect(again.words).toEqual([
      expect.stringMatching(
        /^Nothing is missing that the trash of job nightly has\. Things were deleted or overwritten at nas:in on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d; --at TIME takes back /,
      ),
    ]);
  });

  test('one file by its name, also where it exists: what stands there goes into the trash', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const date = daysAgo(3);
    await plant(stage, 'remote/in', ['docs/a.txt', inTrash('docs/a.txt', date), inTrash('docs/b.txt', date)]);
    const ended = await stage.ferryd('restore', 'nightly', './docs//a.txt');
    expect(ended.code).toBe(0);
    expect(deeds(ended)).toEqual(['restored docs/a.txt']);
    expect(ended.stdout).toContain('; what stood there is in the trash now)');
    const aside = await putAside(stage, 'remote/in', [date]);
    expect(aside).toMatch(/^\d{8}T\d{6}Z\/docs\/a\.txt$/);
    expect(await heldIn(stage, 'remote/in')).toEqual(
      planted(
        ['docs/a.txt', inTrash('docs/a.txt', date)],
        [`${TRASH}/${aside}`, 'docs/a.txt'],
        inTrash('docs/b.txt', date),
      ),
    );
  });

  test('twice, at once, is there and back: nothing is lost to a second that two share', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    // As if a run had put it there in the second in which this is asked for, or a clock were a little ahead.
    const date = stampOf(Date.now() + 5_000);
    await plant(stage, 'remote/in', ['a', inTrash('a', date)]);
    const both = planted(['a', inTrash('a', date)], ['x', 'a']);
    expect((await stage.ferryd('restore', 'nightly', 'a')).code).toBe(0);
    const once = await heldIn(stage, 'remote/in');
    expect(once.a).toBe(contentOf(inTrash('a', date)));
    expect(Object.values(once).sort()).toEqual(Object.values(both).sort());
    expect((await stage.ferryd('restore', 'nightly', 'a')).code).toBe(0);
    const twice = await heldIn(stage, 'remote/in');
    expect(twice.a).toBe(contentOf('a'));
    expect(Object.values(twice).sort()).toEqual(Object.values(both).sort());
  });

  test('a directory by its name: only what is missing below it', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage, { names: 'encode' });
    const date = daysAgo(3);
    const paths = ['docs/a.txt', 'docs/b/c.txt', 'docs-old/x', 'other', 'q%3A/%3F'];
    const trash = paths.map((path) => inTrash(path, date));
    await plant(stage, 'remote/in', ['docs/a.txt', ...trash]);
    const ended = await stage.ferryd('restore', 'nightly', 'docs/');
    expect(ended.code).toBe(0);
    expect(deeds(ended)).toEqual(['restored docs/b/c.txt']);
    expect(await readFile(stage.at('remote/in/docs/a.txt'), 'utf8')).toBe(contentOf('docs/a.txt'));
    const left = ['docs-old/x', 'docs/a.txt', 'other', 'q%3A/%3F'];
    expect(await pathsBelow(stage.at('remote/in', TRASH, date))).toEqual(left);
    // A name that the server could not hold is asked for as it is here.
    expect(deeds(await stage.ferryd('restore', 'nightly', 'q:/?'))).toEqual(['restored q%3A/%3F']);
  });

  test('as it was at a moment: each path gets what was current then, the rest stays', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const [eight, five, one] = [daysAgo(8), daysAgo(5), daysAgo(1)];
    await plant(stage, 'remote/in', ['changed', 'same', 'twice']);
    const trash = [
      inTrash('before', eight),
      inTrash('twice', eight),
      inTrash('twice', five),
      inTrash('twice', one),
      inTrash('changed', one),
      inTrash('deleted', five),
    ];
    await plant(stage, 'remote/in', trash);
    const ended = await stage.ferryd('restore', 'nightly', '--at', '6d');
    expect(ended.code).toBe(0);
    expect(deeds(ended)).toEqual(['restored changed', 'restored deleted', 'restored twice']);
    const held = await heldIn(stage, 'remote/in');
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
    const again = await stage.ferryd('restore', 'nightly', '--at', '6d');
    expect({ code: again.code, stdout: again.stdout }).toEqual({ code: 1, stdout: '' });
    expect(await heldIn(stage, 'remote/in')).toEqual(held);

    const nothing = await stage.ferryd('restore', 'nightly', 'deleted', '--at', '2h');
    expect(nothing.code).toBe(1);
    expect(nothing.words[0]).toMatch(
      /^The trash of job nightly has nothing for deleted that was deleted or overwritten since \d{4}-/,
    );
  });

  test('a moment that the trash does not reach: nothing is put back that only may have been current', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage, { deletes: { keep: '7d' } });
    await plant(stage, 'remote/in', ['a', inTrash('a', daysAgo(2))]);
    const before = await heldIn(stage, 'remote/in');
    const ended = await stage.ferryd('restore', 'nightly', '--at', '10d');
    expect(ended.code).toBe(1);
    expect(ended.words[0]).toMatch(
      /^The trash of job nightly keeps things for 7 d, and has nothing older than .*: what was current then may have gone since\. Nothing was restored\. /,
    );
    expect(await heldIn(stage, 'remote/in')).toEqual(before);
  });

  test('a directory in the place of the file, or a file in that of its directory: told, and the others come back', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const date = daysAgo(1);
    await plant(stage, 'remote/in', [
      'was-file/x',
      'was-directory',
      inTrash('was-file', date),
      inTrash('was-directory/y', date),
      inTrash('z', date),
    ]);
    const ended = await stage.ferryd('restore', 'nightly', '--at', '3d');
    expect(ended.code).toBe(3);
    expect(deeds(ended)).toEqual(['left     was-directory/y', 'left     was-file', 'restored z']);
    expect(await heldIn(stage, 'remote/in')).toEqual(
      planted('was-file/x', 'was-directory', inTrash('was-file', date), inTrash('was-directory/y', date), [
        'z',
        inTrash('z', date),
      ]),
    );
  });

  test('the server refuses the way back: what was put aside for it stands in its place again', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    server.script({
      on: 'RNTO',
      path: '/in/a',
      times: 2,
      do: { kind: 'reply', text: '553 Not now, not ever.' },
    });
    await stage.writeNas(server);
    await pushStage(stage);
    const date = daysAgo(1);
    await plant(stage, 'remote/in', ['a', inTrash('a', date)]);
    const ended = await stage.ferryd('restore', 'nightly', 'a');
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain('Not now, not ever');
    expect(ended.stdout).toContain('With --to it can be copied into a local directory.');
    expect(await heldIn(stage, 'remote/in')).toEqual(planted('a', inTrash('a', date)));
  });
});

describe('into a local directory', () => {
  test('copies with their times, and nothing there is overwritten', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const date = daysAgo(3);
    const paths = ['a.txt', 'docs/b.txt', 'docs/c.txt'];
    const trash = paths.map((path) => inTrash(path, date));
    await plant(stage, 'remote/in', [...trash, 'docs/c.txt', inTrash('taken', date)]);
    await plant(stage, 'back', ['taken']);
    const before = await heldIn(stage, 'remote/in');
    const ended = await stage.ferryd('restore', 'nightly', '--to', 'back');
    expect(ended.code).toBe(3);
    expect(deeds(ended)).toEqual(['copied   a.txt', 'copied   docs/b.txt', 'left     taken']);
    expect(ended.stdout).toContain(`${stage.at('back/taken')} exists already, and is not overwritten.`);
    expect(await heldIn(stage, 'back')).toEqual(
      planted('taken', ['a.txt', inTrash('a.txt', date)], ['docs/b.txt', inTrash('docs/b.txt', date)]),
    );
    expect((await stat(stage.at('back/docs/b.txt'))).mtimeMs).toBe(TIME_S * 1000);
    expect(await heldIn(stage, 'remote/in')).toEqual(before);

    const named = await stage.ferryd('restore', 'nightly', 'docs/c.txt', '--to', 'not/there/yet');
    expect(named.code).toBe(0);
    expect(await heldIn(stage, 'not/there/yet')).toEqual(
      planted(['docs/c.txt', inTrash('docs/c.txt', date)]),
    );
  });

  test('a copy that is cut is tried again, and never stands there half', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    server.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 5 } });
    await stage.writeNas(server);
    await pushStage(stage);
    const trashed = inTrash('a', daysAgo(1));
    await plant(stage, 'remote/in', [trashed]);
    const ended = await stage.ferryd('restore', 'nightly', '--to', 'back');
    expect(ended.code).toBe(0);
    expect(await heldIn(stage, 'back')).toEqual(planted(['a', trashed]));
    expect(ended.log.map(({ event }) => event)).toContain('file.retry');
  });

  test('a copy that comes short each time: exit code 8, and nothing stands there', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    server.script({ on: 'RETR', path: '**/a', nth: 'every', do: { kind: 'dataClose', atByte: 5 } });
    await stage.writeNas(server);
    await pushStage(stage);
    await plant(stage, 'remote/in', [inTrash('a', daysAgo(1)), inTrash('b', daysAgo(1))]);
    const ended = await stage.ferryd('restore', 'nightly', '--to', 'back');
    expect(ended.code).toBe(8);
    expect(deeds(ended)).toEqual(['copied   b', 'left     a']);
    expect(await pathsBelow(stage.at('back'))).toEqual(['b']);
  });
});

describe('on the local side', () => {
  test('a pull restores here, and the server is not even asked', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writeJob('fetch', { from: 'nas:in', to: '../mine', mode: 'mirror', retries: QUICK });
    const date = daysAgo(4);
    await plant(stage, 'mine', ['kept', 'twice', inTrash('twice', date), inTrash('a\u001b[2Jb/c', date)]);
    const ended = await stage.ferryd('restore', 'fetch', stage.at('mine/twice'));
    expect(ended.code).toBe(0);
    const aside = await putAside(stage, 'mine', [date]);
    const all = await stage.ferryd('restore', 'fetch');
    expect(all.code).toBe(0);
    expect(deeds(all)).toEqual(['restored a\\x1b[2Jb/c']);
    expect(all.stdout).not.toContain('\u001b');
    expect(await heldIn(stage, 'mine')).toEqual(
      planted(
        'kept',
        ['twice', inTrash('twice', date)],
        [`${TRASH}/${aside}`, 'twice'],
        ['a\u001b[2Jb/c', inTrash('a\u001b[2Jb/c', date)],
      ),
    );
    expect((await stat(stage.at('mine/twice'))).mtimeMs).toBe(TIME_S * 1000);
    expect(server.journal.connections).toBe(0);
  });

  test('or copies, and leaves what is a link alone', async () => {
    await using stage = await Stage.open();
    await stage.writeNas({ url: 'ftpes://127.0.0.1' });
    await stage.writeJob('fetch', { from: 'nas:in', to: '../mine', mode: 'mirror', retries: QUICK });
    const date = daysAgo(4);
    await plant(stage, 'mine', [inTrash('d/a', date)]);
    await plant(stage, 'outside', ['secret']);
    await symlink(stage.at('outside'), stage.at('mine', inTrash('link', date)));
    const ended = await stage.ferryd('restore', 'fetch', '--to', 'back');
    expect(ended.code).toBe(0);
    expect(await heldIn(stage, 'back')).toEqual(planted(['d/a', inTrash('d/a', date)]));
    expect((await stat(stage.at('back/d/a'))).mtimeMs).toBe(TIME_S * 1000);
    expect(await pathsBelow(stage.at('mine', TRASH, date))).toEqual(['d/a', 'link/secret']);
    expect(await heldIn(stage, 'outside')).toEqual(planted('secret'));
  });

  test('two-way: both trashes, the newest of both wins, on the side where it was', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writeJob('notes', { from: '../source', to: 'nas:in', mode: 'two-way', retries: QUICK });
    const [older, newer] = [daysAgo(6), daysAgo(2)];
    await plant(stage, 'remote/in', [inTrash('a', older), inTrash('b', newer), inTrash('same', older)]);
    await plant(stage, 'source', [inTrash('a', newer), inTrash('c', older), inTrash('same', older)]);
    const ended = await stage.ferryd('--json', 'restore', 'notes');
    expect(ended.code).toBe(0);
    const lines = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const bytes = (path: string): number => contentOf(path).length;
    expect(lines.sort((x, y) => (String(x.path) < String(y.path) ? -1 : 1))).toEqual(
      [
        { path: 'a', side: 'local', until: newer },
        { path: 'b', side: 'remote', until: newer },
        { path: 'c', side: 'local', until: older },
        { path: 'same', side: 'remote', until: older },
      ].map(({ path, side, until }) => ({
        job: 'notes',
        action: 'restored',
        path,
        side,
        until: `${until.replace(/^(....)(..)(..T..)(..)(..)Z$/, '$1-$2-$3:$4:$5')}.000Z`,
        bytes: bytes(inTrash(path, until)),
        setAside: false,
      })),
    );
    expect(Object.keys(await heldIn(stage, 'remote/in'))).toEqual([inTrash('a', older), 'b', 'same']);
    expect(Object.keys(await heldIn(stage, 'source'))).toEqual([inTrash('same', older), 'a', 'c']);

    await rm(stage.at('source/c'));
    await plant(stage, 'source', [inTrash('c', older)]);
    const words = await stage.ferryd('restore', 'notes', 'c');
    expect(words.stdout).toContain(
      `Job notes is two-way: what is in the trash of the server is looked at first, then that of ${stage.at('source')}.`,
    );
    expect(words.stdout).toMatch(/^restored c {2}\(.*, local\)$/m);
    expect(words.stdout).toContain('The next run takes what is back to the other side.');
  });
});

describe('exit codes and sentences', () => {
  test('1: there is no trash', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    for (const prepare of [async () => {}, () => mkdir(stage.at('remote/in'))]) {
      await prepare();
      const ended = await stage.ferryd('restore', 'nightly');
      expect(ended.code).toBe(1);
      expect(ended.words).toEqual([
        'Nothing is missing that the trash of job nightly has. There is no trash at nas:in.',
      ]);
    }
  });

  test('2: what cannot be meant', async () => {
    await using stage = await Stage.open();
    await stage.writeNas({ url: 'ftpes://127.0.0.1' });
    await pushStage(stage);
    const wrong: readonly (readonly [string[], RegExp])[] = [
      [['nightli'], /^There is no job nightli in /],
      [['nightly', '/etc/passwd'], /does not lie below .*source\./],
      [['nightly', '--at', 'yesterday'], /^--at wants a date \(2026-11-20\)/],
    ];
    for (const [args, sentence] of wrong) {
      const ended = await stage.ferryd('restore', ...args);
      expect(ended.code).toBe(2);
      expect(ended.words.join('\n')).toMatch(sentence);
    }
  });

  test('4: nobody answers, and 5: the password is wrong', async () => {
    await using stage = await Stage.open();
    const server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const env = { NAS_PASSWORD: 'wrong' };
    const refused = await stage.start(['restore', 'nightly'], { env }).inTime();
    expect(refused.code).toBe(5);
    expect(server.journal.of('PASS').length).toBe(1);
    await server.close();
    const away = await stage.ferryd('restore', 'nightly');
    expect(away.code).toBe(4);
    expect(away.words[0]).toMatch(/nas|127\.0\.0\.1/);
  });

  test('7: a run of the job is under way', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    await plant(stage, 'remote/in', [inTrash('a', daysAgo(1))]);
    const lock = acquireLock(lockDirectory(stage.ledger), 'job-nightly', 'run of job nightly');
    if (lock.kind === 'held') throw new Error(lock.message);
    const held = await stage.ferryd('restore', 'nightly');
    expect(held.code).toBe(7);
    expect(held.words).toEqual([
      expect.stringMatching(/^Process \d+ holds it since .*Nothing is restored while job nightly is run\.$/),
    ]);
    expect(server.journal.connections).toBe(0);
    lock.release();
    expect((await stage.ferryd('restore', 'nightly')).code).toBe(0);
  });

  test('130: interrupted; what is back is back, the rest is where it was', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    server.script({ on: 'RNTO', nth: 'every', do: { kind: 'delay', ms: 100 } });
    await stage.writeNas(server, { connections: 1 });
    await pushStage(stage);
    const date = daysAgo(1);
    const names = Array.from({ length: 30 }, (_, i) => `f${i}`);
    await plant(
      stage,
      'remote/in',
      names.map((name) => inTrash(name, date)),
    );
    const command = stage.start(['restore', 'nightly']);
    await command.when(() => command.stdout.includes('restored f'), 'the first file');
    const ended = await command.end('SIGTERM');
    expect(ended.code).toBe(130);
    const held = await heldIn(stage, 'remote/in');
    expect(Object.values(held).sort()).toEqual(names.map((name) => contentOf(inTrash(name, date))).sort());
    const back = Object.keys(held).filter((path) => !path.startsWith(TRASH));
    expect(deeds(ended)).toEqual(back.map((path) => `restored ${path}`).sort());
    expect(back.length).toBeLessThan(30);
  });
});

test.each([3, 6, 7, 8])('killed at rename %i, and typed again: as if nothing had happened', async (nth) => {
  await using stage = await Stage.open();
  const first = await stage.server();
  first.script({ on: 'RNTO', nth: 'every', do: { kind: 'delay', ms: 20 } });
  await stage.writeNas(first, { connections: 2 });
  await pushStage(stage);
  const [wanted, later] = [daysAgo(3), daysAgo(1)];
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const current = names.slice(0, 4);
  const trash = [
    ...names.map((name) => inTrash(name, wanted)),
    ...names.slice(2).map((name) => inTrash(name, later)),
  ];
  await plant(stage, 'remote/in', [...current, ...trash]);
  const command = stage.start(['restore', 'nightly', '--at', '4d']);
  let renames = 0;
  first.on('command', (verb) => {
    if (verb !== 'RNTO') return;
    renames += 1;
    if (renames === nth) command.signal('SIGKILL');
  });
  await command.inTime();
  // Only then has the server done what it was told before.
  await first.close();
  await using server = await stage.server();
  await stage.writeNas(server);
  expect(renames).toBeGreaterThanOrEqual(nth);
  const all = [...current, ...trash].map(contentOf).sort();
  expect(Object.values(await heldIn(stage, 'remote/in')).sort()).toEqual(all);

  expect((await stage.ferryd('restore', 'nightly', '--at', '4d')).code).toBe(0);
  const held = await heldIn(stage, 'remote/in');
  expect(held).toMatchObject(planted(...names.map((name) => [name, inTrash(name, wanted)] as const)));
  expect(Object.values(held).sort()).toEqual(all);
  expect((await stage.ferryd('restore', 'nightly', '--at', '4d')).code).toBe(1);
  expect(await heldIn(stage, 'remote/in')).toEqual(held);
});

describeReal('vsftpd', 'real vsftpd', () => {
  test('back under their names, put aside, and copied', { timeout: 60_000 }, async () => {
    await using stage = await Stage.open();
    await using server = await startVsftpd({
      security: 'explicit',
      requireTls: true,
      requireSessionReuse: true,
    });
    const { ca } = await certificates();
    await stage.write('jobs/ca.pem', ca.cert);
    await stage.writeJob('servers', {
      nas: {
        url: `ftpes://${server.host}:${server.port}`,
        user: server.user,
        password: { env: 'NAS_PASSWORD' },
        tls: { ca: 'ca.pem' },
      },
    });
    await pushStage(stage, { retries: { attempts: 5, firstDelay: '20ms', maxDelay: '1s' } });
    await symlink(server.root, stage.at('remote/there'));
    const there = 'remote/there/in';
    const env = { NAS_PASSWORD: server.password };
    const none = await stage.start(['restore', 'nightly'], { env }).inTime();
    expect(none.words).toEqual([
      'Nothing is missing that the trash of job nightly has. There is no trash at nas:in.',
    ]);

    const [old, young] = [daysAgo(9), daysAgo(2)];
    const gone = ['gone.txt', '.hidden', ' leading space', 'docs/-dash', 'docs/ü/日本.txt'];
    await plant(stage, there, ['here.txt', 'docs/here.txt']);
    await plant(stage, there, [
      ...gone.map((path) => inTrash(path, young)),
      inTrash('gone.txt', old),
      inTrash('here.txt', old),
      inTrash('docs/here.txt', young),
    ]);
    const copied = await stage.start(['restore', 'nightly', '--to', 'back'], { env }).inTime();
    expect({ code: copied.code, deeds: deeds(copied) }).toEqual({
      code: 0,
      deeds: gone.map((path) => `copied   ${path}`).sort(),
    });
    const back = gone.map((path) => [path, inTrash(path, young)] as const);
    expect(await heldIn(stage, 'back')).toEqual(planted(...back));
    expect((await stat(stage.at('back/gone.txt'))).mtimeMs).toBe(TIME_S * 1000);

    const ended = await stage.start(['restore', 'nightly'], { env }).inTime();
    expect({ code: ended.code, deeds: deeds(ended) }).toEqual({
      code: 0,
      deeds: gone.map((path) => `restored ${path}`).sort(),
    });
    const named = await stage.start(['restore', 'nightly', 'here.txt'], { env }).inTime();
    expect(named.code).toBe(0);
    const aside = await putAside(stage, there, [old, young]);
    expect(await heldIn(stage, there)).toEqual(
      planted(
        ...back,
        ['here.txt', inTrash('here.txt', old)],
        [`${TRASH}/${aside}`, 'here.txt'],
        'docs/here.txt',
        inTrash('gone.txt', old),
        inTrash('docs/here.txt', young),
      ),
    );
    expect((await stat(stage.at(there, 'gone.txt'))).mtimeMs).toBe(TIME_S * 1000);
  });
});
