/*
 * What goes across and when, over FTPS and through the command line: filters (with a mirror: what is left out stays on
 * both sides), settle, ready markers, files that change while they are read, times and permissions.
 */
import { appendFile, chmod, mkdir, stat, symlink } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS, vsftpdWith } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `filters, settle and ready, ${name}`, () => {
    test('a mirror deletes nothing for being left out, whichever key does it, on neither side', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const mirror = ['from: ../source', 'to: nas:in', 'mode: mirror'];
      await real.job('site', ...mirror);
      const all = {
        kept: 'kept',
        'a.tmp': 'excluded',
        'logs/one.log': 'excluded as a whole',
        '.env': 'hidden',
        '.git/config': 'hidden',
        'ignored.bak': 'by .ferryignore',
        large: 'x'.repeat(2000),
        empty: '',
        'sub/gone': 'gone',
      };
      await real.put('source', all, THEN_S);
      await real.put('source', { old: 'old' }, THEN_S - 100 * 86_400);
      expect((await real.run('site')).counts).toEqual([10, 0, 0, 0]);

      // From now on hardly anything belongs to the job; then most of it is deleted here.
      await real.job(
        'site',
        ...mirror,
        'exclude: ["**/*.tmp", "logs/**"]',
        'hidden: skip',
        'size: { min: 1B, max: 1K }',
        `age: { max: ${Math.floor(Date.now() / 86_400_000 - THEN_S / 86_400) + 10}d }`,
      );
      await real.put('source', { '.ferryignore': '*.bak\n' });
      await real.drop('source', 'a.tmp', 'logs', '.env', '.git', 'ignored.bak', 'sub/gone');
      const planned = await real.ferryd(['plan', 'site']);
      expect(planned.code).toBe(0);
      expect(planned.stdout).toContain('sub/gone');
      expect(planned.stdout).not.toMatch(/a\.tmp|one\.log|\.env|\.bak|large|empty|old/);
      expect((await real.run('site')).counts).toEqual([0, 0, 1, 0]);
      const { 'sub/gone': _, ...left } = all;
      expect(await real.held('remote/in')).toEqual({ ...left, old: 'old' });
      expect(await real.trash('remote/in')).toEqual(['sub/gone = gone']);

      // And the other way: what is left out there is not fetched, what is left out here is not deleted.
      await real.job(
        'fetch',
        'from: nas:in',
        'to: ../target',
        'mode: mirror',
        'exclude: ["**/*.tmp", logs/**]',
      );
      await real.put('target', { '.ferryignore': '*.bak\n', 'mine.tmp': 'mine' });
      expect((await real.run('fetch')).counts).toEqual([0, 6, 0, 0]);
      await real.drop('remote/in', 'ignored.bak', 'a.tmp', 'large');
      expect((await real.run('fetch')).counts).toEqual([0, 0, 1, 0]);
      expect(Object.keys(await real.held('target')).sort()).toEqual(
        ['.ferryignore', 'mine.tmp', '.env', '.git/config', 'empty', 'kept', 'old'].sort(),
      );
    });

    test('links and special files: left behind, or followed inside the source only', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('skip', 'from: ../source', 'to: nas:skip', 'mode: mirror', 'emptyDirectories: keep');
      await real.job('follow', 'from: ../source', 'to: nas:follow', 'mode: mirror', 'links: follow');
      await real.put('source', { 'releases/5/app': 'app', plain: 'plain' }, THEN_S);
      await mkdir(real.stage.at('source/empty'));
      await real.stage.write('outside', 'secret');
      await symlink('releases/5', real.stage.at('source/current'));
      await symlink('../outside', real.stage.at('source/leak'));
      await symlink('..', real.stage.at('source/releases/loop'));
      expect((await real.run('skip')).counts).toEqual([2, 0, 0, 0]);
      const follow = await real.run('follow', 3);
      expect(follow.counts.slice(0, 3)).toEqual([3, 0, 0]);
      expect(follow.warnings).toContainEqual(expect.stringContaining('leak'));
      expect(await real.held('remote/skip')).toEqual({ 'releases/5/app': 'app', plain: 'plain' });
      expect((await stat(real.stage.at('remote/skip/empty'))).isDirectory()).toBe(true);
      expect(await real.held('remote/follow')).toEqual({
        'releases/5/app': 'app',
        'current/app': 'app',
        plain: 'plain',
      });
    });

    test('ready: a file waits for its marker, and its marker never goes across; a mirror keeps what waits', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('orders', 'from: ../source', 'to: nas:in', 'mode: mirror', 'ready: "{name}.done"');
      await real.put('source', { 'a.csv': 'a', 'a.csv.done': '', 'b.csv': 'b' }, THEN_S);
      expect((await real.run('orders')).counts).toEqual([1, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ 'a.csv': 'a' });
      expect((await real.ferryd(['plan', 'orders'])).stdout).toMatch(/^wait +b\.csv/m);
      await real.drop('source', 'a.csv.done');
      await real.put('source', { 'b.csv.done': '' });
      await real.put('source', { 'a.csv': 'half of the next' });
      expect((await real.run('orders')).counts).toEqual([1, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ 'a.csv': 'a', 'b.csv': 'b' });
      await real.put('source', { 'a.csv': 'all of the next', 'a.csv.done': '' });
      expect((await real.run('orders')).counts).toEqual([1, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual({ 'a.csv': 'all of the next', 'b.csv': 'b' });
    });

    test('settle: what is still written is sent once, when it has been left alone', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('drop', 'from: ../source', 'to: nas:in', 'triggers: [{ watch: { settle: 2500ms } }]');
      await real.put('source', { log: 'first\n' });
      const running = real.start(['--json', 'run', 'drop']);
      await running.until('run.started');
      let text = 'first\n';
      for (let line = 0; line < 10; line += 1) {
        await appendFile(real.stage.at('source/log'), `${line}\n`);
        text += `${line}\n`;
        await new Promise((done) => setTimeout(done, 50));
      }
      const settledMs = (await stat(real.stage.at('source/log'))).ctimeMs + 2500;
      expect(real.read(await running.inTime()).counts).toEqual([1, 0, 0, 0]);
      expect(Date.now()).toBeGreaterThanOrEqual(Math.floor(settledMs));
      expect(await real.held('remote/in')).toEqual({ log: text });
      // sshd does not tell of files.
      if (name === 'vsftpd') expect((await real.server.log()).match(/ OK UPLOAD: /g)).toHaveLength(1);
    });
  });
}

describeReal('vsftpd', 'filters, settle and ready, vsftpd alone', () => {
  test('changed while it is read: begun anew, and never a mixed file', async () => {
    // Slow enough to be caught in the middle.
    await using real = await RealStage.open(vsftpdWith({ anon_max_rate: '400000' }));
    await real.job('drop', 'from: ../source', 'to: nas:in', 'mode: move');
    await real.put('source', { big: 'a'.repeat(900_000) });
    const running = real.start(['--json', 'run', 'drop']);
    await expect
      .poll(async () => (await real.heard()).STOR, { timeout: 15_000, interval: 20 })
      .toBeGreaterThanOrEqual(1);
    await real.put('source', { big: 'b'.repeat(300_000) });
    expect(real.read(await running.inTime()).counts).toEqual([1, 0, 0, 0]);
    expect(running.lines('file.retry').length).toBeGreaterThan(0);
    expect(await real.held('remote/in')).toEqual({ big: 'b'.repeat(300_000) });
    expect(await real.held('source')).toEqual({});
  });
});

for (const name of ['proftpd', 'openssh'] as const) {
  describeReal(name, `attributes, ${name}`, () => {
    test('times and permissions go both ways, where the job asks', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('there', 'from: ../source', 'to: nas:in', 'mode: mirror', 'permissions: keep');
      await real.job('back', 'from: nas:in', 'to: ../target', 'permissions: keep');
      await real.job('plain', 'from: ../source', 'to: nas:plain');
      const modes = { 'run.sh': 0o755, 'secret.key': 0o600, 'sub/read-only': 0o444 };
      for (const [path, mode] of Object.entries(modes)) {
        await real.put('source', { [path]: path }, THEN_S);
        await chmod(real.stage.at('source', path), mode);
      }
      await real.runAll('there', 'back', 'plain');
      const modeOf = async (path: string) => (await stat(real.stage.at(path))).mode & 0o7777;
      for (const [path, mode] of Object.entries(modes)) {
        expect([path, await modeOf(`remote/in/${path}`)]).toEqual([path, mode]);
        expect([path, await modeOf(`target/${path}`)]).toEqual([path, mode]);
        expect([path, await modeOf(`remote/plain/${path}`)]).toEqual([path, 0o644]);
        for (const side of ['remote/in', 'target', 'remote/plain'])
          expect([side, path, await real.times(side, path)]).toEqual([side, path, [THEN_S]]);
      }
      // With their permissions they go into the trash, and come out of it.
      await real.drop('source', 'secret.key');
      expect((await real.run('there')).counts).toEqual([0, 0, 1, 0]);
      expect(await real.trash('remote/in')).toEqual(['secret.key = secret.key']);
    });
  });
}
