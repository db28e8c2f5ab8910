/*
 * The guard over FTPS, through the command line: an empty source, a missing marker, more deletions than the job may do,
 * and what a person releases. And one failure: what is refused, or cannot be read, stops nothing else and deletes nothing.
 */
import { existsSync } from 'node:fs';
import { chmod, rename, rm, stat } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { describeReal, describeWhere } from '../support/real-server.js';
import { FERRYD } from './command.js';
import { RealStage, SERVERS, type Texts, vsftpdWith } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;
const MIRROR = ['from: ../source', 'to: nas:in', 'mode: mirror'];

/** As many files as that, the first called `f00`. */
function many(count: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, number) => {
      const path = `f${String(number).padStart(2, '0')}`;
      return [path, `of ${path}`];
    }),
  );
}

function without(texts: Texts, ...paths: string[]): Texts {
  return Object.fromEntries(Object.entries(texts).filter(([path]) => !paths.includes(path)));
}

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `the guard, ${name}`, () => {
    test('more deletions than the limit: held, kept, released, and then exactly those', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', ...MIRROR, 'deletes: { limit: { percent: 10, files: 2 } }');
      const all = many(20);
      await real.put('source', all, THEN_S);
      await real.run('site');
      // Two are let through: 10 % of twenty, and two.
      await real.drop('source', 'f00', 'f01');
      expect((await real.run('site')).counts).toEqual([0, 0, 2, 0]);

      const first = ['f02', 'f03', 'f04'];
      await real.drop('source', ...first);
      await real.put('source', { new: 'new' });
      const held = await real.run('site', 6);
      // What is new goes across all the same.
      expect(held.result).toMatchObject({
        outcome: 'held',
        uploaded: 1,
        deleted: 0,
        failure: { kind: 'held', code: 'deletions' },
      });
      expect(held.result.failure?.message).toMatch(
        /would delete 3 files .* may delete 2 .*ferryd approve site/,
      );
      const kept = { ...without(all, 'f00', 'f01'), new: 'new' };
      expect(await real.held('remote/in')).toEqual(kept);
      const planned = await real.ferryd(['plan', 'site']);
      expect(planned.code).toBe(6);
      for (const path of first) expect(planned.stdout).toContain(path);
      const status = await real.ferryd(['status', 'site']);
      expect(status.stdout).toMatch(/held/);
      expect(status.stdout).toContain('ferryd approve site');

      const approved = await real.ferryd(['approve', 'site']);
      expect(approved.code).toBe(0);
      for (const path of first) expect(approved.stdout).toContain(path);
      // Gone only after the release: nobody has released these, and they are more than the limit, too.
      const later = ['f05', 'f06', 'f07'];
      await real.drop('source', ...later);
      // One of the released is back: it was never meant to go.
      await real.put('source', { f02: 'of f02' }, THEN_S);
      const second = await real.run('site', 6);
      expect(second.result.deleted).toBe(2);
      expect(second.result.failure?.message).toMatch(/would delete 3 files/);
      expect(await real.held('remote/in')).toEqual(without(kept, 'f03', 'f04'));

      expect((await real.ferryd(['approve', 'site'])).code).toBe(0);
      expect((await real.run('site')).counts).toEqual([0, 0, 3, 0]);
      expect(await real.held('remote/in')).toEqual(without(kept, 'f03', 'f04', ...later));
      expect(await real.held('remote/in')).toEqual(await real.held('source'));
      expect(await real.trash('remote/in')).toEqual(
        ['f00', 'f01', 'f03', 'f04', ...later].map((path) => `${path} = of ${path}`),
      );
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
      const nothing = await real.ferryd(['approve', 'site']);
      expect(nothing.code).not.toBe(0);
      expect(nothing.words).toHaveLength(1);
    });

    test.each([
      ['mirror', 'push', 'source', 'remote/in'],
      ['mirror', 'pull', 'remote/in', 'source'],
      ['two-way', 'push', 'source', 'remote/in'],
      ['two-way', 'pull', 'remote/in', 'source'],
    ])(
      '%s, %s: a side that was full and is empty is not taken for "delete everything"',
      async (mode, direction, side, other) => {
        await using real = await RealStage.open(SERVERS[name]);
        const [from, to] = direction === 'push' ? ['../source', 'nas:in'] : ['nas:in', '../source'];
        await real.job('site', `from: ${from}`, `to: ${to}`, `mode: ${mode}`);
        const all = { a: 'a', 'sub/b': 'b' };
        await real.put(side, all, THEN_S);
        await real.run('site');
        await rm(real.stage.at(side, 'a'));
        await rm(real.stage.at(side, 'sub'), { recursive: true });
        const held = await real.run('site', 6);
        expect(held.result.failure?.message).toMatch(/has no file for this job, and 2 were delivered/);
        expect(await real.held(other)).toEqual(all);
        // Emptied on purpose: a person says so.
        expect((await real.ferryd(['approve', 'site'])).code).toBe(0);
        expect((await real.run('site')).counts).toEqual([0, 0, 2, 0]);
        expect([await real.held(side), await real.held(other)]).toEqual([{}, {}]);
      },
    );

    test('two-way, and the directory on the server is gone altogether: held, and all is here', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('notes', 'from: ../source', 'to: nas:disk/in', 'mode: two-way');
      await real.put('source', { a: 'a', 'sub/b': 'b' }, THEN_S);
      await real.run('notes');
      await rename(real.stage.at('remote/disk'), real.stage.at('elsewhere'));
      const held = await real.run('notes', 6);
      expect(held.result.failure).toMatchObject({ kind: 'held', code: 'remote-empty' });
      expect(await real.held('source')).toEqual({ a: 'a', 'sub/b': 'b' });
      // Mounted again: as if nothing had been.
      await rm(real.stage.at('remote/disk'), { recursive: true, force: true });
      await rename(real.stage.at('elsewhere'), real.stage.at('remote/disk'));
      expect((await real.run('notes')).counts).toEqual([0, 0, 0, 0]);
    });

    test('a disk that is not mounted: the source is missing, or its marker is; nothing is touched', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', ...MIRROR, 'marker: .mounted');
      await real.job('fetch', 'from: nas:in', 'to: ../target', 'mode: mirror', 'marker: .mounted');
      await real.put('source', { '.mounted': '', a: 'a', b: 'b' }, THEN_S);
      await real.runAll('site', 'fetch');
      const all = { '.mounted': '', a: 'a', b: 'b' };

      // Another disk, or none, in its place: files are there, the marker is not.
      await real.drop('source', '.mounted', 'a');
      await real.put('source', { c: 'c' });
      const before = await real.heard();
      const held = await real.run('site', 6);
      expect(held.result.failure).toMatchObject({ kind: 'held', code: 'marker-missing' });
      expect(held.result.failure?.message).toMatch(/\.mounted .* Is its disk mounted\?/);
      expect(await real.heard()).toEqual(before);
      expect(await real.held('remote/in')).toEqual(all);
      const nothing = await real.ferryd(['approve', 'site']);
      expect(nothing.code).not.toBe(0);

      await real.drop('remote/in', '.mounted', 'a', 'b');
      expect((await real.run('fetch', 6)).result.failure).toMatchObject({ code: 'marker-missing' });
      expect(await real.held('target')).toEqual(all);

      await rename(real.stage.at('source'), real.stage.at('elsewhere'));
      const gone = await real.run('site', 1);
      expect(gone.result.failure?.message).toMatch(/Is its disk mounted\?/);
    });
  });
}

describeReal('vsftpd', 'one failure, vsftpd', () => {
  test('what the server refuses is skipped, told in its words, and not asked for again; the others arrive', async () => {
    await using real = await RealStage.open(vsftpdWith({ deny_file: '{*.exe}' }));
    await real.job('site', ...MIRROR);
    await real.put('source', { 'a.txt': 'a', 'b.exe': 'b', 'c/d.exe': 'd', 'c/e.txt': 'e' }, THEN_S);
    const first = await real.run('site', 3);
    expect(first.counts).toEqual([2, 0, 0, 2]);
    expect(await real.held('remote/in')).toEqual({ 'a.txt': 'a', 'c/e.txt': 'e' });
    const { stdout } = await real.ferryd(['status', 'site']);
    expect(stdout).toContain('b.exe');
    expect(stdout).toContain('550');
    await real.drop('source', 'a.txt');
    const second = await real.run('site', 3);
    expect(second.counts).toEqual([0, 0, 1, 2]);
    expect(await real.held('remote/in')).toEqual({ 'c/e.txt': 'e' });
  });
});

/** Where the tests run as root, the command runs without root's right to read everything. */
const SETPRIV = '/usr/bin/setpriv';
const ordinary = process.getuid?.() !== 0 || existsSync(SETPRIV);
const AS_ORDINARY_USER =
  process.getuid?.() === 0
    ? { program: [SETPRIV, '--bounding-set=-dac_override,-dac_read_search', process.execPath, FERRYD] }
    : {};

describeWhere(
  'a way to give up rights',
  ordinary ? undefined : 'setpriv is not there: sudo apt-get install util-linux',
  'what cannot be read',
  () => {
    describeReal('vsftpd', 'vsftpd', () => {
      test('a directory here that cannot be read keeps its remote side, and the rest of the mirror goes on', async () => {
        await using real = await RealStage.open(SERVERS.vsftpd);
        await real.job('site', ...MIRROR);
        await real.put(
          'source',
          { a: 'a', gone: 'g', 'closed/b': 'b', 'closed/c/d': 'd', 'z/e': 'e' },
          THEN_S,
        );
        await real.put('source', { 'one file': 'f' }, THEN_S);
        await real.run('site');
        await real.drop('source', 'gone', 'closed/b');
        await real.put('source', { 'z/new': 'n', 'one file': 'changed' });
        await chmod(real.stage.at('source/closed'), 0o000);
        await chmod(real.stage.at('source/one file'), 0o000);
        const did = await real.run('site', 3, AS_ORDINARY_USER);
        expect(did.counts.slice(0, 3)).toEqual([1, 0, 1]);
        expect(did.warnings).toContainEqual(expect.stringContaining('closed'));
        expect(await real.held('remote/in')).toEqual({
          a: 'a',
          'closed/b': 'b',
          'closed/c/d': 'd',
          'z/e': 'e',
          'z/new': 'n',
          'one file': 'f',
        });
        await chmod(real.stage.at('source/closed'), 0o755);
        await chmod(real.stage.at('source/one file'), 0o644);
        expect((await real.run('site', 0, AS_ORDINARY_USER)).counts).toEqual([1, 0, 1, 0]);
        expect(await real.trash('remote/in')).toEqual(['closed/b = b', 'gone = g', 'one file = f']);
      });
    });

    describeReal('pure-ftpd', 'pure-ftpd', () => {
      describe.each([
        ['mirror', ['from: nas:in', 'to: ../source', 'mode: mirror']],
        ['two-way', ['from: ../source', 'to: nas:in', 'mode: two-way']],
      ])('%s', (_, lines) => {
        test('a directory there that cannot be listed keeps its local side', async () => {
          await using real = await RealStage.open(SERVERS['pure-ftpd']);
          await real.job('site', ...lines);
          await real.put('remote/in', { a: 'a', gone: 'g', 'closed/b': 'b', 'closed/c/d': 'd' }, THEN_S);
          expect((await real.run('site')).counts).toEqual([0, 4, 0, 0]);
          await real.drop('remote/in', 'gone', 'closed/b');
          // Its sessions work as nobody, who owns all of this.
          await chmod(real.stage.at('remote/in/closed'), 0o000);
          const did = await real.run('site', 3);
          expect(did.counts.slice(0, 3)).toEqual([0, 0, 1]);
          expect(did.warnings).toContainEqual(expect.stringContaining('closed'));
          expect(await real.held('source')).toEqual({ a: 'a', 'closed/b': 'b', 'closed/c/d': 'd' });
          expect((await stat(real.stage.at('remote/in/closed/c/d'))).size).toBe(1);
          await chmod(real.stage.at('remote/in/closed'), 0o755);
          expect((await real.run('site')).counts).toEqual([0, 0, 1, 0]);
        });
      });
    });
  },
);
