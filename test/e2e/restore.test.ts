/*
 * `ferryd restore` as a person types it, against the scripted FTPS server and a real vsftpd: its words and exit codes,
 * and that it may be killed. What it puts back and what it leaves is test/run/restore.test.ts's. The trashes are laid
 * out by hand as a run leaves them.
 */
import { readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfiguration } from '../../src/job/load.js';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import { inTrash, stampOf, TRASH } from '../../src/plan/trash.js';
import { Accounts } from '../../src/run/accounts.js';
import { type RestoreReport, restoreJob } from '../../src/run/restore.js';
import { certificates } from '../support/certificates.js';
import { describeReal } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Ended } from './command.js';
import { PASSWORD, pathsBelow, QUICK, Stage, type Written } from './stage.js';

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
  expect({ code: ended.code, words: ended.words }).toEqual({ code: 0, words: [] });
  expect(deeds(ended)).toEqual(['restored d/deleted too', 'restored deleted']);
  expect(ended.stdout).toMatch(/^Restored 2 files \(.*\) of job nightly; 0 left\.$/m);
  expect(ended.stdout).toMatch(
    /^restored deleted {2}\(current until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, \d+ B\)$/m,
  );
  const named = await stage.ferryd('restore', 'nightly', './/overwritten');
  expect(named.code).toBe(0);
  expect(named.stdout).toContain('; what stood there is in the trash now)');
  const back = planted('kept', 'deleted', 'd/deleted too', 'overwritten');
  expect(await heldIn(stage, 'remote/in')).toMatchObject(back);
  expect((await stage.run('nightly')).code).toBe(0);
  const held = await heldIn(stage, 'remote/in');
  expect(held).toMatchObject(back);
  expect(Object.values(held).sort()).toEqual([...Object.values(back), 'other words'].sort());

  const again = await stage.ferryd('restore', 'nightly');
  expect({ code: again.code, stdout: again.stdout }).toEqual({ code: 1, stdout: '' });
  expect(again.words).toEqual([
    expect.stringMatching(
      /^Nothing is missing that the trash of job nightly has\. Things were deleted or overwritten at nas:in on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*; --at TIME takes back /,
    ),
  ]);
});

test('as it was at a moment: what came back, what could not, what there is not, and what is out of reach', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await pushStage(stage, { deletes: { keep: '7d' } });
  const [old, date] = [daysAgo(5), daysAgo(1)];
  await plant(stage, 'remote/in', ['was-file/x', 'changed', inTrash('changed', old)]);
  await plant(stage, 'remote/in', [inTrash('was-file', date), inTrash('changed', date)]);
  const ended = await stage.ferryd('restore', 'nightly', '--at', '3d');
  expect(ended.code).toBe(3);
  expect(deeds(ended)).toEqual(['left     was-file', 'restored changed']);
  const held = await heldIn(stage, 'remote/in');
  expect(held.changed).toBe(contentOf(inTrash('changed', date)));

  const nothing = await stage.ferryd('restore', 'nightly', 'nowhere', '--at', '2h');
  expect(nothing.code).toBe(1);
  expect(nothing.words[0]).toMatch(
    /^The trash of job nightly has nothing for nowhere that was deleted or overwritten since \d{4}-/,
  );
  const tooFar = await stage.ferryd('restore', 'nightly', '--at', '10d');
  expect(tooFar.code).toBe(1);
  expect(tooFar.words[0]).toMatch(
    /^The trash of job nightly keeps things for 7 d, and has nothing older than .*: what was current then may have gone since\. Nothing was restored\. /,
  );
  expect(await heldIn(stage, 'remote/in')).toEqual(held);
});

test('the server refuses the way back: exit code 1, and what to do instead', async () => {
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

describe('into a local directory', () => {
  test('copies under the names of here, and what is there is not overwritten: exit code 3', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage, { names: 'encode' });
    const date = daysAgo(3);
    const paths = ['docs/b.txt', 'taken', 'at 12%3A30.txt'];
    await plant(
      stage,
      'remote/in',
      paths.map((path) => inTrash(path, date)),
    );
    await plant(stage, 'back', ['taken']);
    const before = await heldIn(stage, 'remote/in');
    const ended = await stage.ferryd('restore', 'nightly', '--to', 'back');
    expect(ended.code).toBe(3);
    expect(deeds(ended)).toEqual(['copied   at 12:30.txt', 'copied   docs/b.txt', 'left     taken']);
    expect(ended.stdout).toContain(`${stage.at('back/taken')} exists already, and is not overwritten.`);
    expect(await heldIn(stage, 'back')).toEqual(
      planted(
        'taken',
        ['docs/b.txt', inTrash('docs/b.txt', date)],
        ['at 12:30.txt', inTrash('at 12%3A30.txt', date)],
      ),
    );
    expect((await stat(stage.at('back/docs/b.txt'))).mtimeMs).toBe(TIME_S * 1000);
    expect(await heldIn(stage, 'remote/in')).toEqual(before);
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
    expect(ended.log.map(({ event }) => event)).toContain('file.retry');
  });
});

describe('on the local side', () => {
  test('a pull: a path in full, nothing printed that moves the cursor, and the server is not even asked', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writeJob('fetch', { from: 'nas:in', to: '../mine', mode: 'mirror', retries: QUICK });
    const [path, date] = ['a\u001b[2Jb/c', daysAgo(4)];
    await plant(stage, 'mine', ['kept', inTrash(path, date)]);
    const ended = await stage.ferryd('restore', 'fetch', stage.at('mine', path));
    expect(ended.code).toBe(0);
    expect(deeds(ended)).toEqual(['restored a\\x1b[2Jb/c']);
    expect(ended.stdout).not.toContain('\u001b');
    expect(await heldIn(stage, 'mine')).toEqual(planted('kept', [path, inTrash(path, date)]));
    expect(server.journal.connections).toBe(0);
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

describe.concurrent('exit codes and sentences', () => {
  test('1: there is no trash', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await pushStage(stage);
    const ended = await stage.ferryd('restore', 'nightly');
    expect(ended.code).toBe(1);
    expect(ended.words).toEqual([
      'Nothing is missing that the trash of job nightly has. There is no trash at nas:in.',
    ]);
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
    await Promise.all(
      wrong.map(async ([args, sentence]) => {
        const ended = await stage.ferryd('restore', ...args);
        expect(ended.code).toBe(2);
        expect(ended.words.join('\n')).toMatch(sentence);
      }),
    );
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
    lock.release();
    expect(held.code).toBe(7);
    expect(held.words).toEqual([
      expect.stringMatching(/^Process \d+ holds it since .*Nothing is restored while job nightly is run\.$/),
    ]);
    expect(server.journal.connections).toBe(0);
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

/** What the command would do, in this process: a program takes its time to start. */
async function restoreAgain(stage: Stage, days: number): Promise<RestoreReport> {
  const { jobs } = await loadConfiguration(stage.at('jobs'), { cron: () => undefined });
  const [job] = jobs;
  if (job === undefined) throw new Error('The job was not loaded');
  const accounts = new Accounts(() => {}, { wire: 'silent', profiles: undefined });
  try {
    const nowMs = Date.now();
    return await restoreJob(
      job,
      { path: undefined, atMs: nowMs - days * DAY_MS, to: undefined },
      {
        ledgerFile: stage.ledger,
        accounts,
        listener: () => {},
        nowMs,
        onRestored: () => {},
        onLeft: () => {},
      },
    );
  } finally {
    await accounts.close();
  }
}

test.concurrent.each([3, 6, 7, 8])(
  'killed at rename %i, and typed again: as if nothing had happened',
  async (nth) => {
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
    await stage.writeNas(server, { password: { file: 'nas.password' } });
    await writeFile(stage.at('jobs/nas.password'), PASSWORD, { mode: 0o600 });
    expect(renames).toBeGreaterThanOrEqual(nth);
    const all = [...current, ...trash].map(contentOf).sort();
    expect(Object.values(await heldIn(stage, 'remote/in')).sort()).toEqual(all);

    expect(await restoreAgain(stage, 4)).toMatchObject({ end: 'done', left: 0 });
    const held = await heldIn(stage, 'remote/in');
    expect(held).toMatchObject(planted(...names.map((name) => [name, inTrash(name, wanted)] as const)));
    expect(Object.values(held).sort()).toEqual(all);
    expect(await restoreAgain(stage, 4)).toMatchObject({ end: 'nothing' });
    expect(await heldIn(stage, 'remote/in')).toEqual(held);
  },
);

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
