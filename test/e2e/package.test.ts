/*
 * What `npm pack` would publish works by itself: unpacked somewhere else, beside nothing but its dependencies.
 * They are linked, not installed, so that this needs no registry and no minute.
 */
import { execFile } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Stage } from './stage.js';

const ROOT = resolve(import.meta.dirname, '../..');
const execute = promisify(execFile);

test('the packed tarball runs a job, and has what a person needs', { timeout: 120_000 }, async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  // Without scripts: `prepack` compiles, which would take build/ away from the tests beside this one.
  const { stdout } = await execute(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', stage.directory.path],
    {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH ?? '',
        HOME: stage.at('home'),
        npm_config_cache: stage.at('home/.npm'),
        npm_config_update_notifier: 'false',
      },
    },
  );
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string; mode: number }[] }[];
  if (packed === undefined) throw new Error(`npm pack made nothing: ${stdout}`);
  const paths = packed.files.map(({ path }) => path);
  for (const path of [
    'package.json',
    'README.md',
    'LICENSE',
    'jobs/README.md',
    'systemd/README.md',
    'systemd/ferryd.service',
    'build/ferryd/bin/main.js',
    'build/ferryd/bin/validators.json',
  ]) {
    expect(paths).toContain(path);
  }
  expect(paths.filter((path) => /(^|\/)(test|node_modules)\/|\.test\.|\.db$/.test(path))).toEqual([]);

  await mkdir(stage.at('installed'));
  await execute('tar', ['-xzf', stage.at(packed.filename), '-C', stage.at('installed')]);
  const home = stage.at('installed/package');
  const manifest = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
  // Only what it names itself: a dependency that is needed and not named would be missed here.
  await mkdir(join(home, 'node_modules'));
  for (const name of Object.keys(manifest.dependencies)) {
    await symlink(join(ROOT, 'node_modules', name), join(home, 'node_modules', name));
  }
  // As npm links the bin: by a name on PATH, without an ending.
  await mkdir(stage.at('bin'));
  await symlink(join(home, manifest.bin.ferryd), stage.at('bin/ferryd'));
  expect((await readFile(join(home, manifest.bin.ferryd), 'utf8')).split('\n')[0]).toBe(
    '#!/usr/bin/env node',
  );

  const program = [process.execPath, stage.at('bin/ferryd')];
  const version = await stage.start(['--version'], { program }).inTime();
  expect(version).toMatchObject({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });

  await stage.writeNas(server);
  await stage.writePush('nightly');
  await stage.write('source/a.txt', 'packed');
  const ran = await stage.start(['run', 'nightly'], { program }).inTime();
  expect(ran.code).toBe(0);
  expect(await stage.differences('remote/in', { 'a.txt': 'packed' })).toEqual([]);
  const check = await stage.start(['--jobs', join(home, 'jobs'), 'check'], { program }).inTime();
  expect(check.code).toBe(0);
  expect((await lstat(join(home, 'jobs'))).isDirectory()).toBe(true);
  expect(await readdir(join(home, 'jobs'))).toContain('README.md');
});
