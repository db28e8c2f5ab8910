/*
 * The same promises where things are odd, over FTPS and through the command line: servers that keep no times, let in one
 * connection or refuse what a trash needs; a ledger that is older than the world; a job that is pointed at another
 * server; a kill in the middle.
 */
import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { describeMounted, mounted } from '../local/mounted.js';
import { describeReal } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { RealStage, SERVERS, vsftpdWith } from './real-stage.js';
import { pathsBelow } from './stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;
/** What a run counts that had nothing to do. */
const NOTHING = [0, 0, 0, 0];

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `odd servers and worlds, ${name}`, () => {
    test('one connection is enough for a run that lists and sends at the same time', async () => {
      await using real = await RealStage.open((root) =>
        startVsftpd({
          security: 'explicit',
          requireTls: true,
          requireSessionReuse: true,
          root,
          maxClients: 1,
        }),
      );
      await real.job('both', 'from: ../source', 'to: nas:in', 'mode: two-way', 'emptyDirectories: keep');
      const here: Record<string, string> = {};
      const there: Record<string, string> = {};
      for (let number = 0; number < 30; number += 1) {
        here[`d${number % 6}/here ${number}`] = `here ${number}`;
        there[`d${number % 6}/there ${number}`] = `there ${number}`;
      }
      await real.put('source', here, THEN_S);
      await real.put('remote/in', there, THEN_S);
      await mkdir(real.stage.at('source/empty/here'), { recursive: true });
      await mkdir(real.stage.at('remote/in/empty/there'), { recursive: true });
      expect((await real.run('both')).counts).toEqual([30, 30, 0, 0]);
      for (const side of ['source', 'remote/in']) {
        expect(await real.held(side)).toEqual({ ...here, ...there });
        expect((await readdir(real.stage.at(side, 'empty'))).sort()).toEqual(['here', 'there']);
      }
      await rm(real.stage.at('source/empty/there'), { recursive: true });
      await rm(real.stage.at('remote/in/d0'), { recursive: true });
      expect((await real.run('both')).counts).toEqual([0, 0, 10, 0]);
      expect(await readdir(real.stage.at('remote/in/empty'))).toEqual(['here']);
      expect(await readdir(real.stage.at('source'))).not.toContain('d0');
      expect((await real.run('both')).counts).toEqual([0, 0, 0, 0]);
    });

    test('a ledger from an old backup: no conflicts, no deletions, nothing lost', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('both', 'from: ../source', 'to: nas:both', 'mode: two-way');
      await real.job('site', 'from: ../source', 'to: nas:site', 'mode: mirror');
      await real.put('source', { old: 'old', changed: 'one', gone: 'gone', 'sub/x': 'x' }, THEN_S);
      await real.runAll('both', 'site');
      await copyFile(real.stage.ledger, real.stage.at('backup.db'));

      await real.put('source', { changed: 'another', young: 'young' }, THEN_S + 60);
      await real.put('remote/both', { 'sub/x': 'changed there' }, THEN_S + 60);
      await real.drop('source', 'gone');
      await real.runAll('both', 'site');
      const all = { old: 'old', changed: 'another', young: 'young', 'sub/x': 'changed there' };
      expect(await real.held('remote/both')).toEqual(all);

      for (const suffix of ['-wal', '-shm']) await rm(`${real.stage.ledger}${suffix}`, { force: true });
      await copyFile(real.stage.at('backup.db'), real.stage.ledger);
      // Taken before this file was there: whether it is new or was left behind, nobody knows; so it stays.
      await real.drop('source', 'young');
      const both = await real.run('both');
      expect(both.result).toMatchObject({ deleted: 0, renamed: 0, skipped: 0, downloaded: 1 });
      expect([await real.held('source'), await real.held('remote/both')]).toEqual([all, all]);
      expect((await real.run('site')).result).toMatchObject({ deleted: 0, skipped: 0 });
      expect(await real.held('remote/site')).toEqual(all);
      expect(await real.runAll('both', 'site')).toEqual([NOTHING, NOTHING]);
    });

    test('a job that is pointed at another server begins anew there, and deletes nothing that it finds', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await using other = await RealStage.open(SERVERS[name]);
      await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror');
      await real.put('source', { a: 'a', b: 'b' }, THEN_S);
      await real.run('site');
      await other.put('remote/in', { theirs: 'theirs', a: 'their a' }, THEN_S - 60);
      await real.pointAt(other.server);
      await real.drop('source', 'b');
      await real.put('source', { c: 'c' });
      expect((await real.run('site')).counts).toEqual([2, 0, 0, 0]);
      expect(await other.held('remote/in')).toEqual({ a: 'a', c: 'c', theirs: 'theirs' });
      // What stood there of the same name was not ours: it is in the trash.
      expect(await other.trash('remote/in')).toEqual(['a = their a']);
      expect(await real.held('remote/in')).toEqual({ a: 'a', b: 'b' });
      // An unmounted disk is one for the new server, too.
      await real.drop('source', 'a', 'c');
      expect((await real.run('site', 6)).result.failure).toMatchObject({ code: 'source-empty' });
      await real.pointAt(real.server);
      expect((await real.run('site', 6)).result.failure).toMatchObject({ code: 'source-empty' });
      expect(await real.held('remote/in')).toEqual({ a: 'a', b: 'b' });
    });

    test('a daemon that watches a two-way job comes to rest, and carries deletions over', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job(
        'notes',
        'from: ../source',
        'to: nas:in',
        'mode: two-way',
        'triggers: [{ watch: { settle: 200ms, rescan: 1h } }]',
      );
      await real.put('source', { a: 'a', 'sub/b': 'b' });
      await real.put('remote/in', { c: 'c', 'sub/d': 'd' });
      const daemon = real.start(['daemon']);
      const idle = async (): Promise<void> => {
        // What a run writes here is a hint to look again; that look must be the last. Only time shows that it was.
        let runs = -1;
        while (runs !== daemon.lines('run.ended').length || daemon.lines('run.started').length !== runs) {
          runs = daemon.lines('run.ended').length;
          await new Promise((done) => setTimeout(done, 1_000));
        }
      };
      await daemon.until('file.downloaded', ({ path }) => path === 'sub/d');
      await idle();
      const all = { a: 'a', 'sub/b': 'b', c: 'c', 'sub/d': 'd' };
      expect([await real.held('source'), await real.held('remote/in')]).toEqual([all, all]);
      await real.drop('source', 'sub', 'a');
      for (const gone of ['a', 'sub/b', 'sub/d'])
        await daemon.until('file.deleted', ({ path }) => path === gone);
      await idle();
      expect(daemon.lines('run.ended').length).toBeLessThan(8);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
      expect([await real.held('source'), await real.held('remote/in')]).toEqual([{ c: 'c' }, { c: 'c' }]);
      expect(await real.trash('remote/in')).toEqual(['a = a', 'sub/b = b', 'sub/d = d']);
    });
  });
}

describeReal('vsftpd', 'odd servers and worlds, vsftpd alone', () => {
  test('a server that keeps no times: nothing is sent twice, and conflicts are found all the same', async () => {
    await using real = await RealStage.open(vsftpdWith({ mdtm_write: 'NO' }));
    await real.job('both', 'from: ../source', 'to: nas:both', 'mode: two-way');
    await real.job('site', 'from: ../source', 'to: nas:site', 'mode: mirror', 'compare: remote');
    await real.put('source', { a: 'a', 'sub/b': 'b', c: 'c' }, THEN_S);
    await real.put('remote/both', { there: 't' }, THEN_S);
    expect(await real.runAll('both', 'site')).toEqual([
      [3, 1, 0, 0],
      [4, 0, 0, 0],
    ]);
    expect(await real.runAll('both', 'site')).toEqual([NOTHING, NOTHING]);
    await real.put('source', { a: 'here' });
    await real.put('remote/both', { a: 'there, later' }, Math.floor(Date.now() / 1000) + 60);
    await real.drop('remote/both', 'sub/b');
    const did = await real.run('both');
    expect(did.result).toMatchObject({ deleted: 1, renamed: 1, skipped: 0 });
    expect(await real.held('source')).toEqual(await real.held('remote/both'));
    expect(await real.held('source')).toMatchObject({ a: 'there, later', c: 'c', there: 't' });
    expect((await real.run('both')).counts).toEqual([0, 0, 0, 0]);
  });

  test('a server that does not delete: told, with its words, and the rest goes on', async () => {
    await using real = await RealStage.open(vsftpdWith({ cmds_denied: 'DELE' }));
    await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror', 'deletes: { policy: delete }');
    await real.put('source', { a: 'a', b: 'b' }, THEN_S);
    await real.run('site');
    await real.drop('source', 'a');
    await real.put('source', { c: 'c' });
    const did = await real.run('site', 3);
    expect(did.counts).toEqual([1, 0, 0, 1]);
    expect(did.warnings).toContainEqual(expect.stringContaining('550'));
    expect(await real.held('remote/in')).toEqual({ a: 'a', b: 'b', c: 'c' });
  });

  test('a server that refuses the trash: nothing is deleted, nothing written over, and that is said', async () => {
    await using real = await RealStage.open(vsftpdWith({ deny_file: '{.ferryd-trash*}' }));
    await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror');
    await real.put('source', { a: 'a', b: 'b' }, THEN_S);
    await real.run('site');
    await real.drop('source', 'a');
    await real.put('source', { b: 'another', c: 'c' });
    const did = await real.run('site', 3);
    expect(did.counts).toEqual([1, 0, 0, 2]);
    expect(did.warnings).toContainEqual(expect.stringMatching(/^Skipped: a|^a: skipped/));
    expect(did.warnings).toContainEqual(expect.stringMatching(/^Skipped: b|^b: skipped/));
    expect(await pathsBelow(real.stage.at('remote/in'))).toEqual(['a', 'b', 'c']);
    expect(await real.held('remote/in')).toEqual({ a: 'a', b: 'b', c: 'c' });
    // The way out that is told, taken.
    await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror', 'deletes: { policy: delete }');
    expect((await real.run('site')).counts).toEqual([1, 0, 1, 0]);
    expect(await real.held('remote/in')).toEqual({ b: 'another', c: 'c' });
  });

  test('killed in the middle of a move: whatever is left of it, each file is on one side at least, and whole', async () => {
    // Slow enough to be caught in the middle.
    await using real = await RealStage.open(vsftpdWith({ anon_max_rate: '500000' }));
    await real.job('outbox', 'from: ../source', 'to: nas:in', 'mode: move');
    const big = 'b'.repeat(600_000);
    const all = { 'a small': 'small', big, 'c small': 'small too' };
    await real.put('source', all, THEN_S);
    const killed = real.start(['run', 'outbox']);
    await killed.until('file.uploaded');
    await killed.end('SIGKILL');
    const source = await real.held('source');
    const there = await real.held('remote/in');
    for (const [path, text] of Object.entries(all))
      expect([path, source[path] ?? there[path]]).toEqual([path, text]);
    await real.run('outbox');
    expect(await real.held('source')).toEqual({});
    expect(await real.held('remote/in')).toEqual(all);
    expect(await real.trash('remote/in')).toEqual([]);
  });
});

describeMounted('disks of their own', () => {
  describeReal('vsftpd', 'vsftpd', () => {
    test('a disk here that fills during a pull: nothing half stands there, nothing is deleted, and it goes on', async () => {
      await using real = await RealStage.open(SERVERS.vsftpd);
      const big = 'b'.repeat(1_500_000);
      await real.job('fetch', 'from: nas:out', 'to: ../target', 'mode: mirror');
      await real.put('remote/out', { 'a small': 'a', old: 'old' }, THEN_S);
      {
        using _ = mounted('tmpfs', real.stage.at('target'), 1024 * 1024);
        expect((await real.run('fetch')).counts).toEqual([0, 2, 0, 0]);
        await real.put('remote/out', { big, 'a small': 'changed' }, THEN_S + 10);
        await real.drop('remote/out', 'old');
        const full = await real.run('fetch', 1);
        expect(full.result.failure?.message).toMatch(/no room left on the disk for big/);
        const held = await real.held('target');
        expect(['a', 'changed']).toContain(held['a small']);
        expect(held).toEqual({ 'a small': held['a small'], old: 'old' });
        // Room enough for all but the big one, as soon as that is there no more.
        await real.drop('remote/out', 'big');
        expect((await real.run('fetch')).result).toMatchObject({ outcome: 'ok', deleted: 1, skipped: 0 });
        expect(await real.held('target')).toEqual({ 'a small': 'changed' });
      }
      // The disk is away: what is below it is another directory, and an empty one.
      const away = await real.run('fetch');
      expect(away.result).toMatchObject({ deleted: 0 });
      expect(await real.held('remote/out')).toEqual({ 'a small': 'changed' });
    });

    test('a source whose disk is away: held, until it is back', async () => {
      await using real = await RealStage.open(SERVERS.vsftpd);
      await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror');
      await real.job('notes', 'from: ../source', 'to: nas:both', 'mode: two-way');
      {
        using _ = mounted('tmpfs', real.stage.at('source'));
        await real.put('source', { a: 'a', 'sub/b': 'b' }, THEN_S);
        await real.runAll('site', 'notes');
      }
      for (const job of ['site', 'notes'])
        expect((await real.run(job, 6)).result.failure).toMatchObject({ code: 'source-empty' });
      for (const side of ['remote/in', 'remote/both'])
        expect(await real.held(side)).toEqual({ a: 'a', 'sub/b': 'b' });
      expect(await real.held('source')).toEqual({});
    });
  });
});
