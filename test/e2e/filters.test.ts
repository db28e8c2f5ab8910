/* What stays behind, through the command line: .ferryignore, limits and links, and what is wrong with their keys. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { pathsBelow, Stage } from './stage.js';

test('check tells what is wrong with the keys, each at its place', async () => {
  await using stage = await Stage.open();
  await stage.write(
    'jobs/a.yaml',
    'from: ../source\nto: ftp://127.0.0.1/in\nsize: { min: 10MB }\nage: { min: 2d, max: 1d }\nlinks: preserve\n',
  );
  const { code, stdout, stderr } = await stage.ferryd('check');
  expect(code).toBe(2);
  for (const mistake of [
    'a.yaml:3:14: error: /size/min: MB means 1000 to some and 1024 to others; write 10M, which counts in 1024',
    'a.yaml:4:22: error: /age/max: max is shorter than min, so no file would go across; exchange the two',
    'a.yaml:5:8: error: /links: FTP has no command that makes a link, so links cannot be preserved; write links: skip, links: follow to send what they lead to, or sftp:// in the URL if the server speaks SFTP',
  ]) {
    expect(`${stdout}${stderr}`).toContain(mistake);
  }
});

test('a tree with all that can be left behind, over FTPS; plan shows the same', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly', { hidden: 'skip', size: { min: '1B', max: '1K' }, links: 'follow' });
  await stage.write('source/.ferryignore', '*.tmp\nbuild/\n');
  await stage.write('source/sub/.ferryignore', '!wanted.tmp\n');
  for (const path of ['a', 'b.tmp', 'build/x', 'sub/wanted.tmp', 'sub/other.tmp', '.env', '.git/config']) {
    await stage.write(`source/${path}`, path);
  }
  await stage.write('source/empty', '');
  await stage.write('source/large', 'x'.repeat(1_025));
  await symlink('sub', stage.at('source/way'));
  const expected = { a: 'a', 'sub/wanted.tmp': 'sub/wanted.tmp', 'way/wanted.tmp': 'sub/wanted.tmp' };

  const planned = await stage.ferryd('plan', 'nightly');
  expect(planned.code).toBe(0);
  expect(planned.stdout.match(/^upload +\S+/gm)?.map((line) => line.split(/ +/)[1])).toEqual(
    Object.keys(expected),
  );
  const { code, result } = await stage.run('nightly');
  expect([code, result.outcome, result.uploaded, result.skipped]).toEqual([0, 'ok', 3, 0]);
  expect(await stage.differences('remote/in', expected)).toEqual([]);
});

test('a .ferryignore that cannot be used: nothing leaves, the run is no success, and status says why', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly');
  await stage.write('source/a', 'a');
  expect((await stage.run('nightly')).code).toBe(0);
  await stage.write('source/secret', 'secret');
  await mkdir(stage.at('source/.ferryignore'));

  const planned = await stage.ferryd('plan', 'nightly');
  expect(planned.code).toBe(0);
  expect(planned.stdout).toContain('.ferryignore is not a regular file');
  const { code, result } = await stage.run('nightly');
  expect([code, result.outcome, result.uploaded, result.skipped]).toEqual([3, 'partial', 0, 1]);
  expect(await pathsBelow(stage.at('remote/in'))).toEqual(['a']);
  expect((await stage.ferryd('status', 'nightly')).stdout).toContain('.ferryignore is not a regular file');
});

test('a watch notices a .ferryignore, also where hidden names stay behind', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  const triggers = [{ watch: { settle: '10ms', rescan: '1h' } }];
  await stage.write('source/.ferryignore', 'late\n');
  await stage.write('source/late', 'late');
  await stage.write('source/early', 'early');
  await stage.writePush('outbox', { hidden: 'skip', triggers });
  const daemon = await stage.daemon();
  await daemon.until('run.ended');
  expect(await pathsBelow(stage.at('remote/in'))).toEqual(['early']);
  await writeFile(stage.at('source/.ferryignore'), '');
  await daemon.until('file.uploaded', ({ path }) => path === 'late');
  expect((await daemon.end('SIGTERM')).code).toBe(0);
  expect(await pathsBelow(stage.at('remote/in'))).toEqual(['early', 'late']);
});
