/*
 * Trees come out the same for the same seed, and comparing them finds every difference.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { temporaryDirectory } from './temporary.js';
import { makeFile, makeTree, readTree, sameTree, treeDifferences } from './tree.js';

test('the same seed makes the same tree, another one another', async () => {
  await using directory = await temporaryDirectory('tree');
  const a = await makeTree(directory.join('a'), { seed: 7, files: 60, maxBytes: 20_000 });
  const b = await makeTree(directory.join('b'), { seed: 7, files: 60, maxBytes: 20_000 });
  const c = await makeTree(directory.join('c'), { seed: 8, files: 60, maxBytes: 20_000 });
  expect(a.size).toBe(60);
  expect(treeDifferences(a, b, { times: 'exact' })).toEqual([]);
  expect(sameTree(a, c)).toBe(false);
  expect(treeDifferences(a, await readTree(directory.join('a')), { times: 'exact' })).toEqual([]);
  const sizes = [...a.values()].map((file) => file.sizeBytes);
  expect(Math.min(...sizes)).toBe(0);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(20_000);
  expect(Math.max(...[...a.keys()].map((path) => path.split('/').length))).toBeGreaterThan(1);
});

test('plain names stay plain, depth 0 stays flat, large files come in blocks', async () => {
  await using directory = await temporaryDirectory('tree');
  const flat = await makeTree(directory.join('flat'), { files: 30, depth: 0, names: 'plain' });
  for (const path of flat.keys()) expect(path).toMatch(/^[a-z]+-\d+\.bin$/);
  const deep = await makeTree(directory.join('deep'), { files: 100, names: 'plain', maxBytes: 10 });
  for (const path of deep.keys()) expect(path).toMatch(/^(?:[a-z]+-\d+\/){0,3}[a-z]+-\d+\.bin$/);
  const large = await makeFile(directory.join('x/large'), { sizeBytes: 2_500_000 });
  const bytes = await readFile(directory.join('x/large'));
  expect(bytes).toHaveLength(2_500_000);
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(large.sha256);
});

test('every difference is found', async () => {
  await using directory = await temporaryDirectory('tree');
  await makeTree(directory.join('a'), { files: 5, depth: 0, names: 'plain' });
  const before = await readTree(directory.join('a'));
  const [first = '', second = '', third = '', fourth = ''] = [...before.keys()].filter(
    (path) => (before.get(path)?.sizeBytes ?? 0) > 0,
  );
  const bytes = await readFile(directory.join('a', first));
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await writeFile(directory.join('a', first), bytes);
  await writeFile(directory.join('a', second), 'longer'.repeat(100_000));
  await rename(directory.join('a', third), directory.join('a/.new'));
  await utimes(directory.join('a', fourth), 5, 5);
  const after = await readTree(directory.join('a'));
  expect(treeDifferences(before, after)).toHaveLength(4);
  expect(treeDifferences(before, after, { times: 'seconds' })).toHaveLength(5);
  expect(treeDifferences(before, after).join('\n')).toContain(`${first}: other content`);
});

test('what is no file is not passed over', async () => {
  await using directory = await temporaryDirectory('tree');
  await symlink('nowhere', directory.join('link'));
  await expect(readTree(directory.path)).rejects.toThrow('link is neither');
});

test('a temporary directory goes, also what was made read-only in it', async () => {
  const directory = await temporaryDirectory('gone');
  await mkdir(directory.join('a/b'), { recursive: true });
  await writeFile(directory.join('a/b/c'), '');
  await chmod(directory.join('a/b'), 0o500);
  await chmod(directory.join('a'), 0o000);
  await directory.remove();
  await directory.remove();
  await expect(stat(directory.path)).rejects.toThrow('ENOENT');
});
