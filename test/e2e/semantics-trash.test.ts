/*
 * Trash, restore, plan and apply over FTPS, through the command line: what a run deletes or overwrites comes back, the
 * trash takes part in nothing and is emptied by its dates, and a plan that was looked at is carried out as it was, or not
 * at all.
 */
import { readdir, readFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { openLedger } from '../../src/ledger/ledger.js';
import { inTrash, stampOf, TRASH } from '../../src/plan/trash.js';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;
const DAY_MS = 86_400_000;
const MIRROR = ['from: ../source', 'to: nas:in', 'mode: mirror'];

for (const name of ['vsftpd', 'proftpd', 'pure-ftpd', 'openssh'] as const) {
  describeReal(name, `trash and restore, ${name}`, () => {
    test('what a mirror deleted and wrote over comes back, there or into a directory here', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', ...MIRROR);
      const all = { 'a.txt': 'one', 'docs/b.txt': 'b', 'docs/Ü c.txt': 'c', stays: 's' };
      await real.put('source', all, THEN_S);
      await real.run('site');
      await real.put('source', { 'a.txt': 'another' });
      await real.drop('source', 'docs');
      await real.run('site');
      expect(await real.held('remote/in')).toEqual({ 'a.txt': 'another', stays: 's' });

      // As it was before that run, into a directory here: the server is left as it is.
      const [stamp = ''] = await readdir(real.stage.at('remote/in', TRASH));
      expect(stamp).toMatch(/^\d{8}T\d{6}Z$/);
      const copied = await real.ferryd(['restore', 'site', '--to', 'back', '--at', '1h']);
      expect({ code: copied.code, words: copied.words }).toEqual({ code: 0, words: [] });
      expect(await real.held('back')).toEqual({ 'a.txt': 'one', 'docs/b.txt': 'b', 'docs/Ü c.txt': 'c' });
      expect(await real.times('back', 'a.txt', 'docs/b.txt')).toEqual([THEN_S, THEN_S]);
      expect(await real.trash('remote/in')).toHaveLength(3);

      // What is missing, under its name on the server; what stands there is not touched.
      const restored = await real.ferryd(['restore', 'site']);
      expect(restored.code).toBe(0);
      expect(await real.held('remote/in')).toEqual({ ...all, 'a.txt': 'another' });
      expect(await real.trash('remote/in')).toEqual(['a.txt = one']);
      // The mirror does not take away again what a person has put back.
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ ...all, 'a.txt': 'another' });

      const old = await real.ferryd(['restore', 'site', 'a.txt']);
      expect(old.code).toBe(0);
      expect(await real.held('remote/in')).toEqual(all);
      expect(await real.trash('remote/in')).toEqual(['a.txt = another']);
    });
  });
}

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `trash and plans, ${name}`, () => {
    test('a pull has its trash here, and comes back from it', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('fetch', 'from: nas:out', 'to: ../target', 'mode: mirror');
      await real.put('remote/out', { a: 'one', 'sub/b': 'b' }, THEN_S);
      await real.run('fetch');
      await real.put('remote/out', { a: 'another' });
      await real.drop('remote/out', 'sub');
      await real.run('fetch');
      expect(await real.trash('target')).toEqual(['a = one', 'sub/b = b']);
      expect((await real.ferryd(['restore', 'fetch'])).code).toBe(0);
      expect(await real.held('target')).toEqual({ a: 'another', 'sub/b': 'b' });
      expect(await real.trash('target')).toEqual(['a = one']);
    });

    test('a trash takes part in nothing: it is neither sent nor fetched, nor deleted as extraneous', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const stamp = stampOf(Date.now() - 2 * DAY_MS);
      const trash = { [inTrash('x', stamp)]: 'x' };
      await real.put('source', { a: 'a', ...trash }, THEN_S);
      await real.put('remote/in', { b: 'b', [inTrash('y', stamp)]: 'y' }, THEN_S);
      await real.job('both', 'from: ../source', 'to: nas:in', 'mode: two-way', 'emptyDirectories: keep');
      expect((await real.run('both')).counts).toEqual([1, 1, 0, 0]);
      await real.job('fetch', 'from: nas:in', 'to: ../target', 'mode: mirror');
      expect((await real.run('fetch')).counts).toEqual([0, 2, 0, 0]);
      expect(await real.trash('target')).toEqual([]);
      await real.job('site', ...MIRROR, 'deletes: { extraneous: true }', 'emptyDirectories: keep');
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
      await real.put('remote/in', { c: 'c' });
      expect((await real.run('site')).counts).toEqual([0, 0, 1, 0]);
      expect([await real.trash('source'), await real.trash('remote/in')]).toEqual([
        ['x = x'],
        ['c = c', 'y = y'],
      ]);
    });

    test('a copy that asks for it keeps what it writes over', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('nightly', 'from: ../source', 'to: nas:in', 'deletes: { policy: trash }');
      for (const text of ['one', 'two', 'three']) {
        await real.put('source', { a: text });
        expect((await real.run('nightly')).counts).toEqual([1, 0, 0, 0]);
      }
      expect(await real.held('remote/in')).toEqual({ a: 'three' });
      expect(await real.trash('remote/in')).toEqual(['a = one', 'a = two']);
    });

    test('keep: once a day what is older goes, by its date, and nothing else in there', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const [old, young] = [stampOf(Date.now() - 8 * DAY_MS), stampOf(Date.now() - 6 * DAY_MS)];
      await real.job('site', ...MIRROR, 'deletes: { keep: 7d }');
      await real.put('remote/in', {
        [inTrash('deep/er/old', old)]: 'old',
        [inTrash('young', young)]: 'young',
        [`${TRASH}/a person's notes`]: 'notes',
      });
      const held = await datesOf(real);
      for (const text of ['one', 'two']) {
        await real.put('source', { a: text });
        expect((await real.run('site')).counts).toEqual([1, 0, 0, 0]);
      }
      // The first day of its trash is not over yet.
      const after = await datesOf(real);
      expect(after).toEqual(expect.arrayContaining(held));
      expect(after).toHaveLength(4);

      const ledger = openLedger(real.stage.ledger);
      ledger.setCoveredUntil('site', 'trash', Date.now() - 1);
      ledger.close();
      const did = await real.run('site');
      expect(did.log.filter(({ event }) => event === 'trash.pruned')).toHaveLength(1);
      expect(await datesOf(real)).toEqual(after.filter((name) => name !== old));
      expect(await readdir(real.stage.at('remote/in', TRASH, young))).toEqual(['young']);
      const before = await real.heard();
      expect((await real.run('site')).counts).toEqual([0, 0, 0, 0]);
      expect(await real.heard()).toEqual(before);
    });

    test('a plan says what a run would do, and does nothing; apply does exactly that, or refuses', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('site', ...MIRROR, 'compare: remote');
      await real.put('source', { a: 'one', b: 'b', c: 'c' }, THEN_S);
      await real.run('site');
      await real.put('source', { a: 'another', new: 'n' });
      await real.drop('source', 'b');
      const before = await real.held('remote/in');

      const planned = await real.ferryd(['plan', 'site', '-o', 'plan.json']);
      expect({ code: planned.code, words: planned.words }).toEqual({ code: 0, words: [] });
      for (const path of ['a', 'b', 'new'])
        expect(planned.stdout).toMatch(new RegExp(`^\\S+ +${path} `, 'm'));
      expect(planned.stdout).not.toMatch(/^(upload|trash|delete) +c /m);
      // For machines: one object a line.
      const lines = (await real.ferryd(['--json', 'plan', 'site'])).stdout.trim().split('\n');
      const actions = lines.map((line) => JSON.parse(line) as { action?: string; path?: string });
      // What was written only just before it was looked at last is looked into.
      expect(actions.filter(({ path }) => path !== undefined && path !== 'c')).toMatchObject([
        { action: 'upload', path: 'a' },
        { action: 'trash', path: 'b' },
        { action: 'upload', path: 'new' },
      ]);
      expect(await real.held('remote/in')).toEqual(before);
      expect(JSON.parse(await readFile(real.stage.at('plan.json'), 'utf8'))).toMatchObject({ job: 'site' });

      // Somebody was at the target meanwhile: what the plan would write over is another file now.
      await real.put('remote/in', { a: 'worked on there' });
      const refused = await real.ferryd(['apply', 'plan.json']);
      expect(refused.code).toBe(6);
      expect(refused.words.join('\n')).toMatch(/\ba\b/);
      expect(await real.held('remote/in')).toEqual({ ...before, a: 'worked on there' });

      await real.put('remote/in', { a: 'one' }, THEN_S);
      const applied = await real.ferryd(['apply', 'plan.json']);
      expect({ code: applied.code, words: applied.words }).toEqual({ code: 0, words: [] });
      expect(await real.held('remote/in')).toEqual({ a: 'another', c: 'c', new: 'n' });
      expect(await real.trash('remote/in')).toEqual(['a = one', 'b = b']);
      // Done is done: the world has moved by that alone.
      expect((await real.ferryd(['apply', 'plan.json'])).code).toBe(6);
    });
  });
}

/** What lies directly in the trash of `remote/in`. */
async function datesOf(real: RealStage): Promise<string[]> {
  return (await readdir(real.stage.at('remote/in', TRASH))).sort();
}
