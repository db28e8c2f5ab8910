/*
 * Every mode in both directions, as a person runs it: YAML job files, the command line, and real servers over TLS. vsftpd
 * for all of them, ProFTPD and Pure-FTPd for those that delete or go both ways. Where the number of commands is part of
 * the promise, the server's own log is asked.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS, type Texts } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

/** Whole seconds, long before any test: what was written then has settled. */
const THEN_S = 1_700_000_000;

for (const [name, start] of Object.entries(SERVERS) as [keyof typeof SERVERS, typeof SERVERS.vsftpd][]) {
  describeReal(name, `modes, ${name}`, () => {
    test('mirror, push: what is gone goes into the trash, and what is not ours stays', async () => {
      await using real = await RealStage.open(start);
      await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror');
      await real.put('remote/in', { 'theirs.txt': 'theirs' });
      const first = {
        'a.txt': 'one',
        'docs/b.txt': 'b',
        'docs/deep/c.txt': 'c',
        'docs/Ümlaut 日本.txt': 'u',
        'gone/x': 'x',
        'gone/below/y': 'y',
      };
      await real.put('source', first, THEN_S);
      expect((await real.run('site')).counts).toEqual([6, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ ...first, 'theirs.txt': 'theirs' });
      expect(await real.times('remote/in', 'a.txt', 'docs/deep/c.txt')).toEqual([THEN_S, THEN_S]);

      const before = await real.heard();
      const second = await real.run('site');
      expect(second.result.unchanged).toBe(6);
      expect(second.log.map(({ event }) => event)).toEqual(['run.started', 'run.ended']);
      expect(await real.heard()).toEqual(before);

      await real.put('source', { 'a.txt': 'another' });
      await real.drop('source', 'docs/b.txt', 'docs/Ümlaut 日本.txt', 'gone');
      expect((await real.run('site')).counts).toEqual([1, 0, 4, 0]);
      expect(await real.held('remote/in')).toEqual({
        'a.txt': 'another',
        'docs/deep/c.txt': 'c',
        'theirs.txt': 'theirs',
      });
      expect(await real.trash('remote/in')).toEqual(
        [
          'a.txt = one',
          'docs/b.txt = b',
          'docs/Ümlaut 日本.txt = u',
          'gone/below/y = y',
          'gone/x = x',
        ].sort(),
      );
      // Directories that a run has emptied go, those that hold something stay.
      expect((await readdir(real.stage.at('remote/in'))).sort()).toEqual([
        '.ferryd-trash',
        'a.txt',
        'docs',
        'theirs.txt',
      ]);

      // What somebody has changed on the server since is not deleted: it may be the only copy.
      await real.put('remote/in', { 'docs/deep/c.txt': 'somebody worked on it' });
      await real.drop('source', 'docs');
      const spared = await real.run('site', 3);
      expect(spared.counts).toEqual([0, 0, 0, 1]);
      expect(spared.warnings).toContainEqual(expect.stringContaining('docs/deep/c.txt'));
      expect(await real.held('remote/in')).toMatchObject({ 'docs/deep/c.txt': 'somebody worked on it' });
    });

    test('mirror, pull: the same here, with a trash of its own', async () => {
      await using real = await RealStage.open(start);
      await real.job('fetch', 'from: nas:out', 'to: ../target', 'mode: mirror');
      await real.put('remote/out', { a: 'one', 'sub/b': 'b', 'sub/c': 'c' }, THEN_S);
      await real.put('target', { mine: 'mine' });
      expect((await real.run('fetch')).counts).toEqual([0, 3, 0, 0]);
      expect(await real.held('target')).toEqual({ a: 'one', 'sub/b': 'b', 'sub/c': 'c', mine: 'mine' });
      expect(await real.times('target', 'a', 'sub/b')).toEqual([THEN_S, THEN_S]);
      expect((await real.run('fetch')).counts).toEqual([0, 0, 0, 0]);

      await real.put('remote/out', { a: 'another', d: 'd' }, THEN_S + 60);
      await real.drop('remote/out', 'sub');
      await real.put('target', { 'sub/c': 'worked on here' });
      const third = await real.run('fetch', 3);
      expect(third.counts).toEqual([0, 2, 1, 1]);
      expect(third.warnings).toContainEqual(expect.stringContaining('sub/c'));
      expect(await real.held('target')).toEqual({
        a: 'another',
        d: 'd',
        mine: 'mine',
        'sub/c': 'worked on here',
      });
      expect(await real.trash('target')).toEqual(['a = one', 'sub/b = b']);
    });

    test('move, push: a source goes once it is delivered, and what is written over is kept', async () => {
      await using real = await RealStage.open(start);
      await real.job('outbox', 'from: ../source', 'to: nas:in', 'mode: move');
      await real.put('source', { 'a.csv': 'a', 'sub/b.csv': 'b' }, THEN_S);
      expect((await real.run('outbox')).counts).toEqual([2, 0, 0, 0]);
      expect(await real.held('source')).toEqual({});
      expect(await real.held('remote/in')).toEqual({ 'a.csv': 'a', 'sub/b.csv': 'b' });
      // An empty outbox is what a move wants: nothing to hold, nothing to delete.
      const before = await real.heard();
      expect((await real.run('outbox')).counts).toEqual([0, 0, 0, 0]);
      expect(await real.heard()).toEqual(before);

      await real.put('source', { 'a.csv': 'another a' });
      expect((await real.run('outbox')).counts).toEqual([1, 0, 0, 0]);
      expect(await real.held('source')).toEqual({});
      expect(await real.held('remote/in')).toEqual({ 'a.csv': 'another a', 'sub/b.csv': 'b' });
      expect(await real.trash('remote/in')).toEqual(['a.csv = a']);
    });

    test('move, pull: the server is emptied file by file, after each is here', async () => {
      await using real = await RealStage.open(start);
      await real.job('inbox', 'from: nas:out', 'to: ../target', 'mode: move');
      await real.put('remote/out', { a: 'a', 'sub/b': 'b' }, THEN_S);
      expect((await real.run('inbox')).counts).toEqual([0, 2, 0, 0]);
      expect(await real.held('remote/out')).toEqual({});
      expect(await real.held('target')).toEqual({ a: 'a', 'sub/b': 'b' });
      await real.put('remote/out', { a: 'another' });
      await real.put('target', { keep: 'mine' });
      expect((await real.run('inbox')).counts).toEqual([0, 1, 0, 0]);
      expect(await real.held('remote/out')).toEqual({});
      expect(await real.held('target')).toEqual({ a: 'another', 'sub/b': 'b', keep: 'mine' });
      expect(await real.trash('target')).toEqual(['a = a']);
    });

    test.each([
      ['from here', 'from: ../source', 'to: nas:in'] as const,
      // Which of them is `from` is nothing that the server sees.
      ...(name === 'vsftpd' ? [['from there', 'from: nas:in', 'to: ../source'] as const] : []),
    ])(
      'two-way, %s: changes and deletions both ways, and both versions of a conflict',
      async (_, from, to) => {
        await using real = await RealStage.open(start);
        await real.job('notes', from, to, 'mode: two-way');
        await real.put(
          'source',
          { mine: 'mine', 'sub/both': 'same', 'edit here': '1', 'gone here': 'x' },
          THEN_S,
        );
        await real.put(
          'remote/in',
          { theirs: 'theirs', 'sub/both': 'same', 'sub/gone there': 'y' },
          THEN_S + 5,
        );
        expect((await real.run('notes')).counts).toEqual([3, 2, 0, 0]);
        const agreed = {
          mine: 'mine',
          theirs: 'theirs',
          'sub/both': 'same',
          'edit here': '1',
          'gone here': 'x',
          'sub/gone there': 'y',
        };
        expect([await real.held('source'), await real.held('remote/in')]).toEqual([agreed, agreed]);
        expect((await real.run('notes')).counts).toEqual([0, 0, 0, 0]);

        // One conflict that this side loses, and one that the server loses.
        await real.put('source', { 'edit here': '2', 'sub/both': 'changed here' }, THEN_S + 100);
        await real.put('source', { mine: 'changed here, later' }, THEN_S + 300);
        const there = { theirs: 'theirs 2', 'sub/both': 'changed there too', mine: 'changed there' };
        await real.put('remote/in', there, THEN_S + 200);
        await real.drop('source', 'gone here');
        await real.drop('remote/in', 'sub/gone there');
        const third = await real.run('notes');
        expect(third.result).toMatchObject({ deleted: 2, renamed: 2, skipped: 0 });
        const merged = await real.held('source');
        const losers = Object.entries(merged).filter(([path]) => path.includes('.conflict-'));
        expect(losers.map(([path, text]) => [path.replace(/\d{8}-\d{6}$/, 'WHEN'), text])).toEqual([
          ['mine.conflict-WHEN', 'changed there'],
          ['sub/both.conflict-WHEN', 'changed here'],
        ]);
        expect(merged).toEqual({
          mine: 'changed here, later',
          theirs: 'theirs 2',
          'edit here': '2',
          'sub/both': 'changed there too',
          ...Object.fromEntries(losers),
        });
        expect(await real.held('remote/in')).toEqual(merged);
        expect(await real.trash('remote/in')).toEqual(['edit here = 1', 'gone here = x']);
        expect(await real.trash('source')).toEqual(['sub/gone there = y', 'theirs = theirs']);
        expect((await real.run('notes')).counts).toEqual([0, 0, 0, 0]);

        // Work is stronger than its deletion, whichever side it was done on.
        await real.put('source', { mine: 'worked on' }, THEN_S + 400);
        await real.drop('remote/in', 'mine');
        await real.put('remote/in', { theirs: 'worked on, too' }, THEN_S + 400);
        await real.drop('source', 'theirs');
        expect((await real.run('notes')).counts).toEqual([1, 1, 0, 0]);
        const back = { ...merged, mine: 'worked on', theirs: 'worked on, too' };
        expect([await real.held('source'), await real.held('remote/in')]).toEqual([back, back]);
      },
    );
  });
}

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `modes, further, ${name}`, () => {
    test('copy, both ways: nothing is ever deleted', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('there', 'from: ../source', 'to: nas:in');
      await real.job('back', 'from: nas:in', 'to: ../target');
      const all = { a: 'one', 'sub/b': 'b', 'sub/empty': '' };
      await real.put('source', all, THEN_S);
      expect(await real.runAll('there', 'back')).toEqual([
        [3, 0, 0, 0],
        [0, 3, 0, 0],
      ]);
      expect(await real.held('target')).toEqual(all);
      expect(await real.times('target', 'a', 'sub/b', 'sub/empty')).toEqual([THEN_S, THEN_S, THEN_S]);

      await real.put('source', { a: 'another' }, THEN_S + 1);
      await real.drop('source', 'sub/b');
      expect((await real.run('there')).counts).toEqual([1, 0, 0, 0]);
      await real.drop('remote/in', 'sub/empty');
      expect((await real.run('back')).counts).toEqual([0, 1, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ a: 'another', 'sub/b': 'b' });
      expect(await real.held('target')).toEqual({ ...all, a: 'another' });
      expect([await real.trash('remote/in'), await real.trash('target')]).toEqual([[], []]);
    });

    test('copy, pull: what a person put here in the place of a file is not overwritten', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('back', 'from: nas:in', 'to: ../target');
      await real.put('remote/in', { a: 'a', b: 'b' }, THEN_S);
      await real.put('target', { a: 'by hand' });
      expect((await real.run('back', 3)).counts).toEqual([0, 1, 0, 1]);
      expect(await real.held('target')).toEqual({ a: 'by hand', b: 'b' });
      expect((await real.ferryd(['status', 'back'])).stdout).toContain('it is not overwritten');
    });

    test('move, pull: what is here already is compared by content before the server loses it', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('kept', 'from: nas:kept', 'to: ../kept', 'mode: move');
      await real.job(
        'strict',
        'from: nas:strict',
        'to: ../strict',
        'mode: move',
        'deletes: { policy: delete }',
      );
      const there = { same: 'same', alike: 'there', longer: 'longer there' };
      for (const job of ['kept', 'strict']) {
        await real.put(`remote/${job}`, there, THEN_S);
        await real.put(job, { same: 'same', alike: 'here!', longer: 'here' }, THEN_S);
      }
      expect((await real.run('kept')).result).toMatchObject({ downloaded: 2, unchanged: 1, skipped: 0 });
      expect([await real.held('kept'), await real.held('remote/kept')]).toEqual([there, {}]);
      expect(await real.trash('kept')).toEqual(['alike = here!', 'longer = here']);
      // Without a trash nothing of a person's is written over, and what was not delivered stays there.
      expect((await real.run('strict', 3)).result).toMatchObject({ downloaded: 0, unchanged: 1, skipped: 2 });
      expect(await real.held('strict')).toEqual({ same: 'same', alike: 'here!', longer: 'here' });
      expect(await real.held('remote/strict')).toEqual({ alike: 'there', longer: 'longer there' });
    });

    test('two-way: who wins where both sides have changed; the other one is in the trash', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const policies = ['newer', 'from', 'to'];
      for (const policy of policies) {
        const ends = [`from: ../${policy}`, `to: nas:${policy}`];
        await real.job(policy, ...ends, 'mode: two-way', `conflicts: ${policy}`);
        await real.put(policy, { a: 'agreed', b: 'agreed' }, THEN_S);
      }
      await real.runAll(...policies);
      for (const policy of policies) {
        await real.put(policy, { a: 'here', b: 'here, later' }, THEN_S + 10);
        await real.put(`remote/${policy}`, { a: 'there, later' }, THEN_S + 20);
        await real.put(`remote/${policy}`, { b: 'there' }, THEN_S + 5);
      }
      await real.runAll(...policies);
      const won: Record<string, readonly [Texts, here: string[], there: string[]]> = {};
      for (const policy of policies) {
        const held = await real.held(policy);
        expect(await real.held(`remote/${policy}`)).toEqual(held);
        won[policy] = [held, await real.trash(policy), await real.trash(`remote/${policy}`)];
      }
      expect(won).toEqual({
        newer: [{ a: 'there, later', b: 'here, later' }, ['a = here'], ['b = there']],
        from: [{ a: 'here', b: 'here, later' }, [], ['a = there, later', 'b = there']],
        to: [{ a: 'there, later', b: 'there' }, ['a = here', 'b = here, later'], []],
      });
    });

    test('mirror: a file becomes a directory and the other way round; names that only differ in case', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror');
      await real.put('source', { 'was file': 'f', 'was directory/x': 'x', 'Name.txt': 'upper' }, THEN_S);
      await real.run('site');
      await real.drop('source', 'was file', 'was directory', 'Name.txt');
      await real.put('source', { 'was file/x': 'x', 'was directory': 'd', 'name.txt': 'lower' }, THEN_S);
      expect((await real.run('site')).counts).toEqual([3, 0, 3, 0]);
      expect(await real.held('remote/in')).toEqual(await real.held('source'));
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
    });

    test('mirror with extraneous: what was never ours goes too; empty directories come and go', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job(
        'site',
        'from: ../source',
        'to: nas:in',
        'mode: mirror',
        'deletes: { extraneous: true }',
        'emptyDirectories: keep',
      );
      await real.put('remote/in', { 'old/theirs': 'theirs', a: 'a' }, THEN_S);
      await real.put('source', { a: 'a', 'sub/b': 'b' }, THEN_S);
      await mkdir(real.stage.at('source/empty/below'), { recursive: true });
      // What is the same by size and time is taken for the same, and not sent; a first run deletes nothing unasked.
      const first = await real.run('site', 6);
      expect(first.counts).toEqual([1, 0, 0, 0]);
      expect(first.result.failure?.code).toBe('first-run');
      expect(await real.held('remote/in')).toEqual({ a: 'a', 'sub/b': 'b', 'old/theirs': 'theirs' });
      expect((await real.ferryd(['approve', 'site'])).code).toBe(0);
      expect((await real.run('site')).counts).toEqual([0, 0, 1, 0]);
      expect(await real.held('remote/in')).toEqual({ a: 'a', 'sub/b': 'b' });
      expect(await real.trash('remote/in')).toEqual(['old/theirs = theirs']);
      expect((await readdir(real.stage.at('remote/in'))).sort()).toEqual([
        '.ferryd-trash',
        'a',
        'empty',
        'sub',
      ]);
      expect(await readdir(real.stage.at('remote/in/empty'))).toEqual(['below']);
      await real.drop('source', 'empty/below', 'sub');
      expect((await real.run('site')).counts).toEqual([0, 0, 1, 0]);
      expect((await readdir(real.stage.at('remote/in'))).sort()).toEqual(['.ferryd-trash', 'a', 'empty']);
      expect(await readdir(real.stage.at('remote/in/empty'))).toEqual([]);
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
    });

    test('policy delete: gone for good, and no trash is made', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', 'from: ../source', 'to: nas:in', 'mode: mirror', 'deletes: { policy: delete }');
      await real.put('source', { a: 'one', b: 'b' }, THEN_S);
      await real.run('site');
      await real.put('source', { a: 'another' });
      await real.drop('source', 'b');
      expect((await real.run('site')).counts).toEqual([1, 0, 1, 0]);
      expect(await readdir(real.stage.at('remote/in'))).toEqual(['a']);
    });
  });
}
