/* Which permissions leave this machine, and which come in. */
import { chmod, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { permissionsOf } from '../../src/local/permissions.js';
import { LocalSink } from '../../src/local/sink.js';
import { lookAt } from '../../src/local/walk.js';
import type { LocalFile } from '../../src/plan/entry.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory('permissions');
});
afterEach(() => directory.remove());

async function fileOf(path: string): Promise<LocalFile> {
  const file = await lookAt(directory.path, path);
  if (file === undefined) throw new Error(`there is no file ${path}`);
  return file;
}

test.each([
  [0o600, 0o600],
  [0o777, 0o777],
  [0o6755, 0o755],
  [0o1644, 0o644],
  [0o400, 0o400],
])('%o leaves as %o', async (mode, expected) => {
  await writeFile(directory.join('a'), 'a');
  await chmod(directory.join('a'), mode);
  expect(await permissionsOf(directory.path, await fileOf('a'))).toBe(expected);
});

test.each<[string, () => Promise<void>]>([
  ['its mode was changed', () => chmod(directory.join('a'), 0o777)],
  ['another file has its name', () => rename(directory.join('b'), directory.join('a'))],
  ['it was written anew', () => utimes(directory.join('a'), 1, 1)],
])('it is told of the very file that was seen: %s', async (_, change) => {
  await writeFile(directory.join('a'), 'a');
  await chmod(directory.join('a'), 0o600);
  await writeFile(directory.join('b'), 'b');
  const file = await fileOf('a');
  await change();
  await expect(permissionsOf(directory.path, file)).rejects.toMatchObject({ code: 'CHANGED' });
});

test('a file that is gone, and a link in its place, are told in a sentence', async () => {
  await writeFile(directory.join('a'), 'a');
  const file = await fileOf('a');
  await rename(directory.join('a'), directory.join('b'));
  await expect(permissionsOf(directory.path, file)).rejects.toMatchObject({ code: 'ENOENT' });
  await writeFile(directory.join('c'), 'a');
  await symlink('c', directory.join('a'));
  await expect(permissionsOf(directory.path, file)).rejects.toMatchObject({ code: 'CHANGED' });
});

test.each([
  [0o600, 0o600],
  [0o777, 0o777],
  [0o4755, 0o755],
  [0o7777, 0o777],
  [0o100644, 0o644],
  [undefined, 0o644 & ~process.umask()],
])('%s comes in as %s', async (permissions, expected) => {
  const sink = await LocalSink.open({ root: directory.path, path: 'a', temporary: '.ferryd-x.part' });
  await sink.write(Buffer.from('content'));
  // While it comes in nobody else may read it.
  expect((await stat(directory.join('.ferryd-x.part'))).mode & 0o7777).toBe(0o600);
  const { local } = await sink.publish(undefined, permissions);
  expect((await stat(directory.join('a'))).mode & 0o7777).toBe(expected);
  expect(local.ctimeMs).toBeGreaterThan(0);
});
