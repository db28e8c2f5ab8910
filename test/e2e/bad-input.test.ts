/*
 * Bad input through the command line, over FTPS: what stands in a source and is no file, names that cannot travel, a
 * local disk that fills, names that are a file on one side and a directory on the other, and a server whose listings
 * lie. A person gets a sentence for each of them and an exit code that is not 0; nothing is deleted by what is unclear.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { describeMounted, mounted } from '../local/mounted.js';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS } from './real-stage.js';
import { pathsBelow, Stage } from './stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `bad input, ${name}`, () => {
    test('what is no file, and names that cannot travel: a sentence each, and their remote side stays', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const modes = ['mirror', 'two-way'] as const;
      for (const mode of modes) await real.job(mode, 'from: ../source', `to: nas:${mode}`, `mode: ${mode}`);
      const files = { pipe: 'p', link: 'l', 'd/loop': 'd', good: 'g' };
      await real.put('source', files, THEN_S);
      await real.runAll(...modes);
      const at = (path: string): string => real.stage.at('source', path);
      await real.drop('source', 'pipe', 'link', 'd/loop');
      execFileSync('mkfifo', [at('pipe')]);
      await symlink('/etc/hostname', at('link'));
      await symlink('../d', at('d/loop'));
      await writeFile(Buffer.concat([Buffer.from(at('caf')), Buffer.from([0xe9])]), 'latin-1');
      await writeFile(at('two\nlines'), 'a line break');
      for (const mode of modes) {
        const { counts, log } = await real.run(mode, 3);
        expect(counts).toEqual([0, 0, 0, 3]);
        const told = log.map(({ message }) => message).join('\n');
        expect(told).toContain('pipe is a named pipe, which has no content to send');
        expect(told).toContain('link is a link');
        expect(told).toContain('d/loop is a link');
        expect(told).toContain('not valid UTF-8');
        expect(told).toContain('has a line break in its name');
        expect(await real.held(`remote/${mode}`)).toEqual(files);
        expect(await real.trash(`remote/${mode}`)).toEqual([]);
      }
    });

    test('a file here and a directory of its name there, and the other way round: both stay until a person moves one', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const modes = ['copy', 'mirror', 'two-way'] as const;
      for (const mode of modes) {
        await real.job(mode, `from: ../${mode}`, `to: nas:${mode}`, `mode: ${mode}`);
        await real.put(mode, { both: 'a file here', 'other/g': 'g', good: 'good' }, THEN_S);
        await real.put(`remote/${mode}`, { 'both/f': 'f', other: 'a file there' }, THEN_S);
      }
      for (const mode of modes) {
        const { warnings } = await real.run(mode, 3);
        expect(warnings.join('\n')).toMatch(/both/);
        expect(warnings.join('\n')).toMatch(/other/);
        expect(await real.held(mode)).toMatchObject({ both: 'a file here', 'other/g': 'g' });
        expect(await real.held(`remote/${mode}`)).toEqual({
          'both/f': 'f',
          other: 'a file there',
          good: 'good',
        });
      }
      await real.drop('two-way', 'both', 'other');
      expect((await real.run('two-way')).counts).toEqual([0, 2, 0, 0]);
      expect(await real.held('two-way')).toEqual({ 'both/f': 'f', other: 'a file there', good: 'good' });
    });

    describeMounted('on a small disk', () => {
      test('it fills during a pull: the run ends with a sentence, nothing half is there, and with room it completes', async () => {
        await using real = await RealStage.open(SERVERS[name]);
        using _disk = mounted('tmpfs', real.stage.at('target'), 3 * 1024 * 1024);
        const modes = ['copy', 'mirror', 'two-way'] as const;
        const texts = { 'd/a': 'a'.repeat(600_000), 'd/b': 'b'.repeat(600_000), small: 'small' };
        for (const mode of modes) {
          await mkdir(real.stage.at('target', mode));
          await real.job(mode, `from: nas:${mode}`, `to: ../target/${mode}`, `mode: ${mode}`);
          await real.put(`remote/${mode}`, texts, THEN_S);
        }
        for (const mode of modes) {
          const ballast = real.stage.at('target/ballast');
          await writeFile(ballast, Buffer.alloc(2 * 1024 * 1024));
          const { result } = await real.run(mode, 1);
          expect(result).toMatchObject({ outcome: 'failed', deleted: 0, failure: { code: 'ENOSPC' } });
          expect(result.failure?.message).toMatch(/no room left on the disk for (d\/[ab]|small)\./);
          const whole = Object.entries(await real.held(`target/${mode}`));
          for (const [path, text] of whole) expect(new Map(Object.entries(texts)).get(path)).toBe(text);
          expect(whole.length).toBeLessThan(3);
          expect(await real.held(`remote/${mode}`)).toEqual(texts);
          await rm(ballast);
          await real.run(mode);
          expect(await real.held(`target/${mode}`)).toEqual(texts);
          expect(await real.held(`remote/${mode}`)).toEqual(texts);
          await rm(real.stage.at('target', mode), { recursive: true });
        }
      });
    });
  });
}

test('a server whose listing lies: nothing is deleted by it, and no terminal is written to by it', async () => {
  await using stage = await Stage.open();
  const server = await stage.server();
  await using _ending = server;
  await stage.writeNas(server);
  await mkdir(stage.at('target'));
  const modes = ['mirror', 'two-way'] as const;
  for (const mode of modes) {
    await mkdir(stage.at('target', mode));
    await stage.writeJob(mode, { from: `nas:${mode}`, to: `../target/${mode}`, mode });
    for (const path of ['good', 'gone', 'd/f']) {
      await stage.write(`remote/${mode}/${path}`, 'four');
      await utimes(stage.at('remote', mode, path), THEN_S, THEN_S);
    }
    expect((await stage.run(mode)).code).toBe(0);
  }
  // Reading the ledger leaves files of SQLite's beside it.
  const names = async (): Promise<string[]> =>
    (await readdir(stage.directory.path)).filter((name) => !name.startsWith('ledger.db-')).sort();
  const beside = await names();
  const lies = ['../evil', '/etc/evil', 'back\\slash', 'esc\u001b]0;owned\u0007\u001b[2J', 'good'];
  const bytes = lies
    .flatMap((name) =>
      ['file', 'dir'].map((type) => `type=${type};size=4;modify=20231114221320; ${name}\r\n`),
    )
    .join('');
  for (const mode of modes)
    server.script({ on: 'MLSD', path: `/${mode}`, nth: 'every', do: { kind: 'content', bytes } });
  for (const mode of modes) {
    for (const words of [
      ['--json', 'run', mode],
      ['--log-level', 'debug', 'run', mode],
      ['plan', mode],
    ]) {
      const { code, stdout, stderr } = await stage.ferryd(...words);
      if (words[0] !== 'plan') expect([words, code]).toEqual([words, 3]);
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
      expect(stdout + stderr).toContain('incomplete');
    }
    expect(await pathsBelow(stage.at('target', mode))).toEqual(['d/f', 'gone', 'good']);
    expect(await pathsBelow(stage.at('remote', mode))).toEqual(['d/f', 'gone', 'good']);
  }
  expect(await names()).toEqual(beside);
});
