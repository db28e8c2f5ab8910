import { createHash, randomBytes } from 'node:crypto';
import { existsSync, promises as fs, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LocalSink } from '../../src/local/sink.js';
import { lookAt } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { localError, openBelow, systemError } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('sink');
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

function open(path: string, temporary = `${path.slice(0, path.lastIndexOf('/') + 1)}.ferryd-1.part`) {
  return LocalSink.open({ root: root.path, path, temporary });
}

async function mode(path: string): Promise<number> {
  return (await fs.stat(root.join(path))).mode & 0o777;
}

describe('a file on its way in', () => {
  it('is private and under its temporary name until it is whole', async () => {
    const content = randomBytes(300_000);
    const sink = await open('a/b/file');
    expect(await mode('a/b/.ferryd-1.part')).toBe(0o600);
    await sink.write(content.subarray(0, 100_000));
    await sink.write(Buffer.alloc(0));
    expect(readdirSync(root.join('a/b'))).toEqual(['.ferryd-1.part']);
    expect(await mode('a/b/.ferryd-1.part')).toBe(0o600);
    await sink.write(content.subarray(100_000));
    const modifiedMs = Date.parse('2023-04-05T06:07:08Z');
    const done = await sink.publish(modifiedMs);
    expect(readdirSync(root.join('a/b'))).toEqual(['file']);
    expect((await fs.readFile(root.join('a/b/file'))).equals(content)).toBe(true);
    expect(await mode('a/b/file')).toBe(0o644 & ~process.umask());
    expect(done).toMatchObject({
      bytes: 300_000,
      sha256: createHash('sha256').update(content).digest('hex'),
      local: { sizeBytes: 300_000, mtimeMs: modifiedMs },
    });
    // The ledger must know the file as the next scan sees it.
    expect(await lookAt(root.path, 'a/b/file')).toMatchObject(done.local);
  });

  it('may be empty and without a time', async () => {
    const sink = await open('empty');
    const done = await sink.publish(undefined);
    expect(done).toMatchObject({ bytes: 0, sha256: createHash('sha256').digest('hex') });
    expect(await fs.readFile(root.join('empty'))).toHaveLength(0);
  });

  it('takes the place of the old one in one step, which keeps its content until then', async () => {
    await fs.writeFile(root.join('f'), 'old');
    const reader = await fs.open(root.join('f'));
    const sink = await open('f');
    await sink.write(Buffer.from('newer'));
    expect(await fs.readFile(root.join('f'), 'utf8')).toBe('old');
    await sink.publish(undefined);
    expect(await fs.readFile(root.join('f'), 'utf8')).toBe('newer');
    expect(await reader.readFile('utf8')).toBe('old');
    await reader.close();
  });

  it('leaves nothing behind where it is thrown away, and the old one untouched', async () => {
    await fs.writeFile(root.join('f'), 'old');
    const sink = await open('f');
    await sink.write(Buffer.from('new'));
    await sink.discard();
    await sink.discard();
    expect(readdirSync(root.path)).toEqual(['f']);
    expect(await fs.readFile(root.join('f'), 'utf8')).toBe('old');
  });

  it('makes a new directory together with others that want it', async () => {
    const sinks = await Promise.all(
      Array.from({ length: 8 }, (_, i) => open(`x/y/z/${i}`, `x/y/z/.ferryd-${i}.part`)),
    );
    for (const sink of sinks) await sink.publish(undefined);
    expect(readdirSync(root.join('x/y/z'))).toHaveLength(8);
  });
});

describe('what is refused', () => {
  it('a link on the way, and nothing is made behind it', async () => {
    await using outside = await temporaryDirectory('outside');
    await fs.symlink(outside.path, root.join('link'));
    await fs.mkdir(root.join('d'));
    await fs.symlink('..', root.join('d/up'));
    for (const path of ['link/f', 'link/new/deep/f', 'd/up/f']) {
      const error = await localError(open(path));
      expect(error).toMatchObject({
        code: 'OUTSIDE',
        message: expect.stringContaining('nothing is written'),
      });
    }
    expect(readdirSync(outside.path)).toEqual([]);
    expect(readdirSync(root.path).sort()).toEqual(['d', 'link']);
  });

  it('a link that comes in between', async () => {
    await using outside = await temporaryDirectory('outside');
    const mkdir = fs.mkdir.bind(fs);
    vi.spyOn(fs, 'mkdir').mockImplementation((async (path: string) => {
      await mkdir(path);
      await fs.rm(path, { recursive: true });
      await fs.symlink(outside.path, path);
    }) as typeof fs.mkdir);
    expect((await localError(open('d/f'))).code).toBe('OUTSIDE');
    expect(readdirSync(outside.path)).toEqual([]);
  });

  it('a file where a directory should be', async () => {
    await fs.writeFile(root.join('f'), 'x');
    expect(await localError(open('f/g'))).toMatchObject({
      code: 'EISDIR',
      message: expect.stringContaining('f is a file here'),
    });
  });

  it('a temporary name that is taken, be it by a link', async () => {
    await fs.writeFile(root.join('.ferryd-1.part'), 'somebody');
    expect((await localError(open('f'))).code).toBe('EEXIST');
    await fs.rm(root.join('.ferryd-1.part'));
    await fs.symlink('target', root.join('.ferryd-1.part'));
    expect((await localError(open('f'))).code).toBe('EEXIST');
    expect(existsSync(root.join('target'))).toBe(false);
  });

  it('a directory under the final name', async () => {
    await fs.mkdir(root.join('f'));
    const sink = await open('f');
    expect((await localError(sink.publish(undefined))).code).toBe('EISDIR');
    await sink.discard();
    expect(readdirSync(root.path)).toEqual(['f']);
  });

  it('a disk that is full is named as such', async () => {
    const sink = await open('f');
    const handle = await fs.open(root.join('.ferryd-1.part'));
    const prototype = Object.getPrototypeOf(handle) as { write: unknown };
    await handle.close();
    vi.spyOn(prototype as { write(): Promise<never> }, 'write').mockRejectedValue(systemError('ENOSPC'));
    expect(await localError(sink.write(Buffer.from('x')))).toMatchObject({
      code: 'ENOSPC',
      message: 'There is no room left on the disk for f.',
    });
    await sink.discard();
    expect(readdirSync(root.path)).toEqual([]);
  });
});
