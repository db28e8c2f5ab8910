import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, promises as fs, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { diskOf } from '../../src/local/mounts.js';
import { LocalSink, type Part, type SinkOptions } from '../../src/local/sink.js';
import { lookAt } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { describeMounted, mounted } from './mounted.js';
import { localError, openBelow, openPrototype, systemError } from './support.js';

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
      setAside: false,
    });
    expect(Math.abs(done.seenAtMs - done.local.ctimeMs)).toBeLessThan(5_000);
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
    const { mkdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'mkdir').mockImplementation(async (path, mode) => {
      await mkdir(path, mode);
      await fs.rm(path, { recursive: true });
      await fs.symlink(outside.path, path);
    });
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
    const prototype = await openPrototype(root.join('.ferryd-1.part'));
    vi.spyOn(prototype, 'write').mockRejectedValue(systemError('ENOSPC'));
    expect(await localError(sink.write(Buffer.from('x')))).toMatchObject({
      code: 'ENOSPC',
      message: 'There is no room left on the disk for f. Make some there; the next run goes on.',
    });
    await sink.discard();
    expect(readdirSync(root.path)).toEqual([]);
  });
});

describe('where what it replaces is to be kept', () => {
  const aside = '.ferryd-trash/20261123T023015Z/d/f';

  async function ready(content = 'new'): Promise<LocalSink> {
    const sink = await open('d/f');
    await sink.write(Buffer.from(content));
    return sink;
  }

  it('the old one goes there as it is, and at every moment something whole stands under the name', async () => {
    await fs.mkdir(root.join('d'));
    await fs.writeFile(root.join('d/f'), 'old');
    const earlier = new Date('2024-01-02T03:04:05Z');
    await fs.utimes(root.join('d/f'), earlier, earlier);
    const sink = await ready();
    const done = await sink.publish(Date.parse('2025-01-02T03:04:05Z'), undefined, aside);
    expect(done).toMatchObject({ setAside: true, bytes: 3 });
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('new');
    expect(await fs.readFile(root.join(aside), 'utf8')).toBe('old');
    expect((await fs.stat(root.join(aside))).mtimeMs).toBe(earlier.getTime());
    for (const path of ['d/f', aside]) expect((await fs.stat(root.join(path))).nlink).toBe(1);
    expect(await lookAt(root.path, 'd/f')).toMatchObject(done.local);
    expect(readdirSync(root.join('d'))).toEqual(['f']);
    expect(await mode('.ferryd-trash')).toBe(0o755 & ~process.umask());
  });

  it('nothing is kept where nothing stood, and no directory is made for it', async () => {
    const sink = await ready();
    expect(await sink.publish(undefined, undefined, aside)).toMatchObject({ setAside: false });
    expect(readdirSync(root.path)).toEqual(['d']);
  });

  it('a link in its place is kept as a link, and what it leads to is not touched', async () => {
    await using outside = await temporaryDirectory('outside');
    await fs.writeFile(outside.join('f'), 'theirs');
    const sink = await ready();
    await fs.symlink(outside.join('f'), root.join('d/f'));
    expect((await sink.publish(undefined, undefined, aside)).setAside).toBe(true);
    expect(await fs.readlink(root.join(aside))).toBe(outside.join('f'));
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('new');
    expect(await fs.readFile(outside.join('f'), 'utf8')).toBe('theirs');
  });

  it('a version that is kept already is not replaced by another', async () => {
    const sink = await ready();
    await fs.writeFile(root.join('d/f'), 'old');
    await fs.mkdir(root.join('.ferryd-trash/20261123T023015Z/d'), { recursive: true });
    await fs.writeFile(root.join(aside), 'older');
    expect(await localError(sink.publish(undefined, undefined, aside))).toMatchObject({
      code: 'ASIDE',
      message: expect.stringContaining('d/f is not replaced'),
    });
    await sink.discard();
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('old');
    expect(await fs.readFile(root.join(aside), 'utf8')).toBe('older');
    expect(readdirSync(root.join('d'))).toEqual(['f']);
  });

  it('but it may be the very same, from an attempt that broke off there', async () => {
    const sink = await ready();
    await fs.writeFile(root.join('d/f'), 'old');
    await fs.mkdir(root.join('.ferryd-trash/20261123T023015Z/d'), { recursive: true });
    await fs.link(root.join('d/f'), root.join(aside));
    expect((await sink.publish(undefined, undefined, aside)).setAside).toBe(true);
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('new');
    expect(await fs.readFile(root.join(aside), 'utf8')).toBe('old');
  });

  it('a directory is not replaced, and nothing is kept of it', async () => {
    const sink = await ready();
    await fs.mkdir(root.join('d/f'));
    expect((await localError(sink.publish(undefined, undefined, aside))).code).toBe('EISDIR');
    await sink.discard();
    expect(readdirSync(root.path)).toEqual(['d']);
  });

  it('nor is anything put behind a link', async () => {
    await using outside = await temporaryDirectory('outside');
    const sink = await ready();
    await fs.writeFile(root.join('d/f'), 'old');
    await fs.symlink(outside.path, root.join('.ferryd-trash'));
    expect((await localError(sink.publish(undefined, undefined, aside))).code).toBe('OUTSIDE');
    await sink.discard();
    expect(readdirSync(outside.path)).toEqual([]);
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('old');
  });
});

describe('a directory that is swapped for a link while the bytes come', () => {
  it('is not written to', async () => {
    await using outside = await temporaryDirectory('outside');
    const sink = await open('d/f');
    await sink.write(Buffer.from('x'));
    await fs.rename(root.join('d'), outside.join('d'));
    await fs.symlink(outside.join('d'), root.join('d'));
    expect((await localError(sink.publish(undefined))).code).toBe('OUTSIDE');
    await sink.discard();
    expect(readdirSync(outside.join('d'))).toEqual(['.ferryd-1.part']);
  });
});

describeMounted('a disk of its own', () => {
  const CHUNK = Buffer.alloc(64 * 1024, 7);

  it('that runs full keeps nothing half written under the final name', async () => {
    using _ = mounted('tmpfs', root.path, 512 * 1024);
    await fs.mkdir(root.join('d'));
    await fs.writeFile(root.join('d/f'), 'old');
    const sink = await open('d/f');
    const filling = async (): Promise<never> => {
      for (;;) await sink.write(CHUNK);
    };
    expect(await localError(filling())).toMatchObject({
      code: 'ENOSPC',
      message: 'There is no room left on the disk for d/f. Make some there; the next run goes on.',
    });
    expect(readdirSync(root.join('d')).sort()).toEqual(['.ferryd-1.part', 'f']);
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('old');
    await sink.discard();
    expect(readdirSync(root.join('d'))).toEqual(['f']);
    // What it took is free again.
    await fs.writeFile(root.join('all'), Buffer.alloc(400 * 1024));
  });

  it('where the old one is to be kept is used too, by a copy', async () => {
    await fs.mkdir(root.join('d'));
    using _ = mounted('tmpfs', root.join('d'));
    await fs.writeFile(root.join('d/f'), 'old');
    const sink = await open('d/f');
    await sink.write(Buffer.from('new'));
    expect((await sink.publish(undefined, undefined, '.ferryd-trash/s/d/f')).setAside).toBe(true);
    expect(await fs.readFile(root.join('.ferryd-trash/s/d/f'), 'utf8')).toBe('old');
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('new');
    expect(readdirSync(root.join('.ferryd-trash/s/d'))).toEqual(['f']);
  });

  it('and what a person writes while the copy is made is not lost', async () => {
    await fs.mkdir(root.join('d'));
    using _ = mounted('tmpfs', root.join('d'));
    await fs.writeFile(root.join('d/f'), 'old');
    // Else the making of these is flushed too.
    await fs.mkdir(root.join('.ferryd-trash/s/d'), { recursive: true });
    const sink = await open('d/f');
    await sink.write(Buffer.from('new'));
    const prototype = await openPrototype(root.join('d/f'));
    const sync = prototype.sync;
    let times = 0;
    vi.spyOn(prototype, 'sync').mockImplementation(async function (this: unknown) {
      times += 1;
      // The new file, its copy, and the directory that the copy is in: by then the copy is whole.
      if (times === 3) await fs.writeFile(root.join('d/f'), 'mine');
      await Reflect.apply(sync, this, []);
    });
    expect((await localError(sink.publish(undefined, undefined, '.ferryd-trash/s/d/f'))).code).toBe(
      'CHANGED',
    );
    await sink.discard();
    expect(await fs.readFile(root.join('d/f'), 'utf8')).toBe('mine');
    expect(readdirSync(root.join('.ferryd-trash/s/d'))).toEqual([]);
  });

  it('where it has no room for the old one, the old one stays where it is', async () => {
    await fs.mkdir(root.join('.ferryd-trash'));
    using _ = mounted('tmpfs', root.join('.ferryd-trash'), 256 * 1024);
    const old = randomBytes(1024 * 1024);
    await fs.writeFile(root.join('f'), old);
    const sink = await open('f');
    await sink.write(Buffer.from('new'));
    expect((await localError(sink.publish(undefined, undefined, '.ferryd-trash/s/f'))).code).toBe('ENOSPC');
    await sink.discard();
    expect((await fs.readFile(root.join('f'))).equals(old)).toBe(true);
    expect(readdirSync(root.path).sort()).toEqual(['.ferryd-trash', 'f']);
    expect(readdirSync(root.join('.ferryd-trash/s'))).toEqual([]);
  });
});

describe('a part that is kept', () => {
  const content = randomBytes(3_000_000);
  const digest = (bytes: Buffer, algorithm = 'sha256'): string =>
    createHash(algorithm).update(bytes).digest('hex');
  const options = (): SinkOptions => ({ root: root.path, path: 'd/f', temporary: 'd/.ferryd-1.part' });
  const partPath = (): string => root.join('d/.ferryd-1.part');

  async function suspended(bytes: number): Promise<Part> {
    const sink = await LocalSink.open(options());
    await sink.write(content.subarray(0, bytes));
    expect(sink.bytes).toBe(bytes);
    return kept(await sink.suspend());
  }

  function kept(part: Part | undefined): Part {
    if (part === undefined) throw new Error('it was not kept');
    return part;
  }

  it('says its size and its hash, and lies there private', async () => {
    expect(await suspended(2_000_000)).toEqual({
      bytes: 2_000_000,
      sha256: digest(content.subarray(0, 2_000_000)),
    });
    expect(await mode('d/.ferryd-1.part')).toBe(0o600);
    expect(openBelow(root.path)).toEqual([]);
  });

  it('is gone on with, several times, and is the whole file in the end', async () => {
    let part = await suspended(1_000_000);
    for (const end of [1_000_001, 2_500_000]) {
      const sink = await LocalSink.resume(options(), part);
      if (sink === undefined) throw new Error('it was not taken over');
      expect(sink.bytes).toBe(part.bytes);
      await sink.write(content.subarray(part.bytes, end));
      part = kept(await sink.suspend());
      expect(part).toEqual({ bytes: end, sha256: digest(content.subarray(0, end)) });
    }
    const last = await LocalSink.resume(options(), part);
    await last?.write(content.subarray(2_500_000));
    const modifiedMs = Date.parse('2023-04-05T06:07:08Z');
    expect(await last?.publish(modifiedMs)).toMatchObject({
      bytes: content.length,
      sha256: digest(content),
      local: { sizeBytes: content.length, mtimeMs: modifiedMs },
    });
    expect(readdirSync(root.join('d'))).toEqual(['f']);
    expect((await fs.readFile(root.join('d/f'))).equals(content)).toBe(true);
    expect(await mode('d/f')).toBe(0o644 & ~process.umask());
  });

  it('of no bytes is one too', async () => {
    const sink = await LocalSink.resume(options(), await suspended(0));
    await sink?.write(content);
    expect((await sink?.publish(undefined))?.sha256).toBe(digest(content));
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      'has another byte at its end',
      async () => {
        const spoiled = Buffer.from(content.subarray(0, 2_000_000));
        spoiled[1_999_999] = (spoiled[1_999_999] ?? 0) ^ 1;
        await fs.writeFile(partPath(), spoiled);
      },
    ],
    ['has another byte at its beginning', () => fs.writeFile(partPath(), Buffer.alloc(1), { flag: 'r+' })],
    ['grew', () => fs.appendFile(partPath(), 'x')],
    ['shrank', () => fs.truncate(partPath(), 1_999_999)],
    ['is gone', () => fs.rm(partPath())],
    [
      'was replaced by a link to the same bytes',
      async () => {
        await fs.rename(partPath(), root.join('elsewhere'));
        await fs.symlink(root.join('elsewhere'), partPath());
      },
    ],
    ['has another name as well', () => fs.link(partPath(), root.join('elsewhere'))],
    [
      'was replaced by a pipe',
      async () => {
        await fs.rm(partPath());
        execFileSync('mkfifo', [partPath()]);
      },
    ],
  ])('and %s is taken away, not gone on with', async (what, spoil) => {
    // A first byte of zero would make the second case none.
    content[0] = 7;
    const part = await suspended(2_000_000);
    await spoil();
    expect(await LocalSink.resume(options(), part)).toBeUndefined();
    expect(readdirSync(root.join('d'))).toEqual([]);
    if (existsSync(root.join('elsewhere'))) {
      // What it led to, or was linked to, is not ours to touch.
      expect((await fs.readFile(root.join('elsewhere'))).equals(content.subarray(0, 2_000_000)), what).toBe(
        true,
      );
    }
    const sink = await LocalSink.open(options());
    await sink.write(content);
    expect((await sink.publish(undefined)).sha256).toBe(digest(content));
  });

  it('whose directory was replaced by a link is refused, and nothing is touched behind it', async () => {
    await using outside = await temporaryDirectory('outside');
    const part = await suspended(2_000_000);
    await fs.rename(root.join('d'), root.join('old'));
    await fs.copyFile(root.join('old/.ferryd-1.part'), outside.join('.ferryd-1.part'));
    await fs.symlink(outside.path, root.join('d'));
    expect((await localError(LocalSink.resume(options(), part))).code).toBe('OUTSIDE');
    expect(readdirSync(outside.path)).toEqual(['.ferryd-1.part']);
  });

  it('can be thrown away', async () => {
    const sink = await LocalSink.resume(options(), await suspended(1_000));
    await sink?.discard();
    expect(readdirSync(root.join('d'))).toEqual([]);
  });

  it('is compared with any digest, on the way and when it was taken over', async () => {
    const sink = await LocalSink.open(options());
    await sink.write(content.subarray(0, 1_500_000));
    const before = content.subarray(0, 1_500_000);
    const algorithms = { 'SHA-256': 'sha256', 'SHA-1': 'sha1', MD5: 'md5' } as const;
    for (const algorithm of ['SHA-256', 'SHA-1', 'MD5'] as const) {
      const hex = digest(before, algorithms[algorithm]);
      expect(await sink.holds({ algorithm, hex })).toBe(true);
      expect(
        await sink.holds({ algorithm, hex: hex.replace(/^./, (first) => (first === '0' ? '1' : '0')) }),
      ).toBe(false);
    }
    expect(await sink.holds({ algorithm: 'CRC32', hex: crc32(before).toString(16).padStart(8, '0') })).toBe(
      true,
    );
    const again = await LocalSink.resume(options(), kept(await sink.suspend()));
    if (again === undefined) throw new Error('it was not taken over');
    await again.write(content.subarray(1_500_000));
    expect(await again.holds({ algorithm: 'SHA-256', hex: digest(content) })).toBe(true);
    expect(await again.holds({ algorithm: 'MD5', hex: digest(content, 'md5') })).toBe(true);
    expect(await again.holds({ algorithm: 'MD5', hex: digest(before, 'md5') })).toBe(false);
    await again.discard();
  });
});

describe('a long file, hashed beside', () => {
  const content = randomBytes(3_000_000);
  const options = (): SinkOptions => ({
    root: root.path,
    path: 'f',
    temporary: '.ferryd-1.part',
    sizeBytes: 1024 ** 3,
  });

  it('is what was written, on with a part too', async () => {
    const sink = await LocalSink.open(options());
    const room = Buffer.from(new SharedArrayBuffer(1_000_000));
    for (const from of [0, 1_000_000]) {
      content.copy(room, 0, from);
      // Filled anew as soon as it may be.
      await sink.write(room);
    }
    const part = await sink.suspend();
    if (part === undefined) throw new Error('it was not kept');
    const rest = await LocalSink.resume(options(), part);
    await rest?.write(content.subarray(2_000_000));
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect(await rest?.holds({ algorithm: 'SHA-256', hex: sha256 })).toBe(true);
    expect((await rest?.publish(undefined))?.sha256).toBe(sha256);
    expect((await fs.readFile(root.join('f'))).equals(content)).toBe(true);
  });

  it.each([
    ['published', (sink: LocalSink) => sink.publish(undefined)],
    ['suspended', (sink: LocalSink) => sink.suspend()],
    ['thrown away', (sink: LocalSink) => sink.discard()],
  ])('leaves no thread behind when it is %s', async (_, end) => {
    const terminate = vi.spyOn(Worker.prototype, 'terminate');
    const sink = await LocalSink.open(options());
    await sink.write(content);
    expect(terminate).not.toHaveBeenCalled();
    await end(sink);
    expect(terminate).toHaveBeenCalled();
  });

  it('whose thread was lost is neither kept nor put in its place', async () => {
    const threads = vi.spyOn(Worker.prototype, 'postMessage');
    for (const end of ['publish', 'suspend'] as const) {
      const sink = await LocalSink.open(options());
      await sink.write(content);
      await (threads.mock.contexts.at(-1) as Worker).terminate();
      expect((await localError(sink.write(content))).code).toBe('HASH');
      if (end === 'publish') {
        expect((await localError(sink.publish(undefined))).code).toBe('HASH');
        await sink.discard();
      } else expect(await sink.suspend()).toBeUndefined();
      expect(readdirSync(root.path)).toEqual([]);
    }
  });
});
