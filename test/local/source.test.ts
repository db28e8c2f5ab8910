import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { diskOf } from '../../src/local/mounts.js';
import { LocalSource } from '../../src/local/source.js';
import { lookAt } from '../../src/local/walk.js';
import type { LocalFile } from '../../src/plan/entry.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { itWithDevices } from './mounted.js';
import { localError, openBelow, systemError } from './support.js';

const MIB = 1024 * 1024;
/** Before any test, so that each change of a file is one that its times show. */
const EARLIER = new Date('2024-01-02T03:04:05Z');

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('source');
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

async function put(path: string, content: Buffer | string): Promise<LocalFile> {
  await fs.writeFile(root.join(path), content);
  await fs.utimes(root.join(path), EARLIER, EARLIER);
  const file = await lookAt(root.path, path);
  if (file === undefined) throw new Error(`${path} was not made`);
  return file;
}

async function whole(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  // A copy, because a chunk may be used again for the next one.
  for await (const chunk of chunks) all.push(Buffer.from(chunk));
  return Buffer.concat(all);
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

async function opened<T>(file: LocalFile, work: (source: LocalSource) => Promise<T>): Promise<T> {
  const source = await LocalSource.open(root.path, file);
  try {
    return await work(source);
  } finally {
    await source.close();
  }
}

describe('a file that keeps still', () => {
  it.each([0, 1, 4096, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 4 * MIB, 9 * MIB])(
    'of %i bytes comes whole, in pieces of at most 1 MiB, with its hash',
    async (sizeBytes) => {
      const content = randomBytes(sizeBytes);
      const file = await put('f', content);
      await opened(file, async (source) => {
        expect(source.sizeBytes).toBe(sizeBytes);
        expect(source.modifiedMs).toBe(EARLIER.getTime());
        expect(Math.abs(source.seenAtMs - Date.now())).toBeLessThan(60_000);
        const pieces: number[] = [];
        const read: Buffer[] = [];
        for await (const chunk of source.chunks()) {
          pieces.push(chunk.length);
          read.push(Buffer.from(chunk));
        }
        expect(Math.max(0, ...pieces)).toBeLessThanOrEqual(2 * MIB);
        expect(pieces).not.toContain(0);
        expect(Buffer.concat(read).equals(content)).toBe(true);
        expect(await source.confirm()).toEqual({ sha256: sha256(content), also: undefined });
        expect(await source.confirm()).toEqual({ sha256: sha256(content), also: undefined });
      });
    },
  );

  it('may be asked for its bytes again', async () => {
    const content = randomBytes(2 * MIB + 3);
    const file = await put('f', content);
    await opened(file, async (source) => {
      for (let time = 0; time < 3; time += 1) {
        expect((await whole(source.chunks())).equals(content)).toBe(true);
        expect(await source.confirm()).toEqual({ sha256: sha256(content), also: undefined });
      }
    });
  });

  it('has the hash of the newest reading, also where an earlier one was left or goes on', async () => {
    const content = randomBytes(4 * MIB);
    const file = await put('f', content);
    await opened(file, async (source) => {
      for await (const _ of source.chunks()) break;
      const older = source.chunks();
      await older.next();
      const newer = source.chunks();
      await newer.next();
      await older.next();
      await whole(older);
      expect((await localError(source.confirm())).code).toBe('CHANGED');
      await whole(newer);
      expect(await source.confirm()).toEqual({ sha256: sha256(content), also: undefined });
    });
  });

  it('is not confirmed before its end', async () => {
    const file = await put('f', randomBytes(3 * MIB));
    await opened(file, async (source) => {
      expect((await localError(source.confirm())).code).toBe('CHANGED');
      for await (const _ of source.chunks()) break;
      expect((await localError(source.confirm())).code).toBe('CHANGED');
    });
  });

  it('is read ahead by no more than one piece', async () => {
    const file = await put('f', randomBytes(8 * MIB));
    await opened(file, async (source) => {
      const chunks = source.chunks();
      await chunks.next();
      await fs.truncate(root.join('f'), 2 * MIB);
      const rest = await localError(whole(chunks));
      expect(rest.code).toBe('CHANGED');
    });
  });
});

describe('a file that is changed while it is read', () => {
  const changes: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      'written over, same size',
      async () => {
        const handle = await fs.open(root.join('f'), 'r+');
        await handle.write('X', 2 * MIB + 5);
        await handle.close();
      },
    ],
    ['longer', () => fs.appendFile(root.join('f'), 'more')],
    ['shorter', () => fs.truncate(root.join('f'), 2 * MIB)],
    ['empty', () => fs.truncate(root.join('f'), 0)],
    [
      'replaced',
      async () => {
        await fs.writeFile(root.join('new'), randomBytes(3 * MIB));
        await fs.rename(root.join('new'), root.join('f'));
      },
    ],
    ['deleted', () => fs.rm(root.join('f'))],
    ['touched', () => fs.utimes(root.join('f'), new Date(), new Date())],
  ];

  it.each(changes)('(%s) is never taken for whole', async (_how, change) => {
    const file = await put('f', randomBytes(3 * MIB));
    const error = await opened(file, async (source) => {
      const chunks = source.chunks();
      await chunks.next();
      await change();
      return localError(whole(chunks));
    });
    expect(error.code).toBe('CHANGED');
    expect(error.message).toBe('f was changed while it was read.');
  });

  it.each(changes)('(%s, behind the last byte) is not confirmed', async (_how, change) => {
    const file = await put('f', randomBytes(3 * MIB));
    const error = await opened(file, async (source) => {
      await whole(source.chunks());
      await change();
      return localError(source.confirm());
    });
    expect(error.code).toBe('CHANGED');
  });

  it.each(changes)('(%s, before it is opened) is not the file that was seen', async (how, change) => {
    const file = await put('f', randomBytes(3 * MIB));
    await change();
    const error = await localError(LocalSource.open(root.path, file));
    expect(error.code).toBe(how === 'deleted' ? 'ENOENT' : 'CHANGED');
  });
});

it('a file that grows as fast as it is read is left, and not read for ever', async () => {
  const file = await put('f', randomBytes(2 * MIB));
  let pieces = 0;
  const error = await opened(file, (source) =>
    localError(
      (async () => {
        for await (const _ of source.chunks()) {
          pieces += 1;
          await fs.appendFile(root.join('f'), Buffer.alloc(MIB));
          if (pieces > 20) throw new Error('it is read for ever');
        }
      })(),
    ),
  );
  expect(error.code).toBe('CHANGED');
  expect(pieces).toBeLessThanOrEqual(3);
});

describe('something else in the place of the file', () => {
  it('a link is not followed', async () => {
    const file = await put('f', 'inside');
    await put('other', 'inside');
    await fs.rm(root.join('f'));
    await fs.symlink('other', root.join('f'));
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('ELOOP');
  });

  it('a pipe without a writer does not hang', async () => {
    const file = await put('f', 'x');
    await fs.rm(root.join('f'));
    execFileSync('mkfifo', [root.join('f')]);
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('CHANGED');
  });

  it('a socket and a directory are no file', async () => {
    const file = await put('f', 'x');
    await fs.rm(root.join('f'));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(root.join('f'), resolve));
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('CHANGED');
    await new Promise((resolve) => server.close(resolve));
    await fs.mkdir(root.join('f'));
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('CHANGED');
  });

  itWithDevices('a device is no file', async () => {
    const file = await put('f', 'x');
    await fs.rm(root.join('f'));
    execFileSync('mknod', [root.join('f'), 'c', '1', '5']);
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('CHANGED');
  });

  it('a directory that was swapped for a link inside the root leads nowhere either', async () => {
    await fs.mkdir(root.join('d'));
    const file = await put('d/f', 'x');
    await fs.rename(root.join('d'), root.join('real'));
    await fs.symlink('real', root.join('d'));
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('OUTSIDE');
  });

  it('a file that may not be read is told', async () => {
    const file = await put('f', 'x');
    vi.spyOn(diskOf(root.path), 'open').mockRejectedValue(systemError('EACCES'));
    expect(await localError(LocalSource.open(root.path, file))).toMatchObject({
      code: 'EACCES',
      message: expect.stringContaining('may not be read by the account'),
    });
  });

  it('a directory that was swapped for a link leads nowhere, though it is the very same file', async () => {
    await using outside = await temporaryDirectory('outside');
    await fs.mkdir(root.join('d/e'), { recursive: true });
    const file = await put('d/e/f', 'secret');
    await fs.rename(root.join('d'), outside.join('d'));
    await fs.symlink(outside.join('d'), root.join('d'));
    const error = await localError(LocalSource.open(root.path, file));
    expect(error).toMatchObject({ code: 'OUTSIDE', message: expect.stringContaining('it is not read') });
  });

  it('nothing any more, between opening and asking where it stands: deleted, not led astray', async () => {
    const file = await put('f', 'x');
    const { readlink } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readlink').mockImplementation(async (path) => {
      await fs.rm(root.join('f'), { force: true });
      return readlink(path);
    });
    expect((await localError(LocalSource.open(root.path, file))).code).toBe('CHANGED');
  });

  it('a name with characters of its own is found where it stands', async () => {
    const content = Buffer.from('x');
    const file = await put("ä \\ '\u{1f600} (deleted)", content);
    await opened(file, async (source) => {
      expect((await whole(source.chunks())).equals(content)).toBe(true);
    });
  });
});

it('where there is no /proc, the real path tells', async () => {
  await using outside = await temporaryDirectory('outside');
  await fs.mkdir(root.join('d'));
  const file = await put('d/f', 'x');
  vi.spyOn(diskOf(root.path), 'readlink').mockRejectedValue(new Error('no /proc'));
  await opened(file, async (source) => whole(source.chunks()));
  await fs.rename(root.join('d'), outside.join('d'));
  await fs.symlink(outside.join('d'), root.join('d'));
  expect((await localError(LocalSource.open(root.path, file))).code).toBe('OUTSIDE');
});

describe('a file of which a part is there already', () => {
  const digests = (content: Buffer, algorithm: string): string =>
    createHash(algorithm).update(content).digest('hex');

  it.each([
    [3 * MIB + 5, 0],
    [3 * MIB + 5, 1],
    [3 * MIB + 5, MIB - 1],
    [3 * MIB + 5, MIB],
    [3 * MIB + 5, MIB + 1],
    [3 * MIB + 5, 2 * MIB + 77],
    [3 * MIB + 5, 3 * MIB + 4],
    [3 * MIB + 5, 3 * MIB + 5],
    [1_000, 999],
    [1_000, 1_000],
    [MIB, MIB],
    [0, 0],
  ])('of %i bytes, from byte %i: gives the rest, and has the digests of all', async (sizeBytes, fromByte) => {
    const content = randomBytes(sizeBytes);
    const file = await put('f', content);
    await opened(file, async (source) => {
      const pieces: Buffer[] = [];
      for await (const chunk of source.chunks({ fromByte, also: 'MD5' })) {
        expect(chunk.length).toBeGreaterThan(0);
        pieces.push(Buffer.from(chunk));
      }
      expect(Buffer.concat(pieces).equals(content.subarray(fromByte))).toBe(true);
      expect(await source.confirm()).toEqual({ sha256: sha256(content), also: digests(content, 'md5') });
    });
  });

  it.each([
    ['SHA-256', 'sha256'],
    ['SHA-1', 'sha1'],
    ['MD5', 'md5'],
  ] as const)('tells %s of the whole besides, and of its beginning alone', async (algorithm, name) => {
    const content = randomBytes(2 * MIB + 9);
    const file = await put('f', content);
    await opened(file, async (source) => {
      await whole(source.chunks({ also: algorithm }));
      expect(await source.confirm()).toEqual({ sha256: sha256(content), also: digests(content, name) });
      for (const bytes of [0, 1, MIB, MIB + 1, content.length])
        expect(await source.digestOf(bytes, algorithm)).toBe(digests(content.subarray(0, bytes), name));
      // Asking for a beginning takes nothing back.
      expect(await source.confirm()).toEqual({ sha256: sha256(content), also: digests(content, name) });
      await whole(source.chunks());
      expect((await source.confirm()).also).toBeUndefined();
    });
  });

  it('and a beginning longer than the file there is none', async () => {
    const file = await put('f', 'content');
    await opened(file, async (source) => {
      expect((await localError(source.digestOf(8, 'SHA-256'))).code).toBe('CHANGED');
    });
  });

  it('and that was changed since is noticed, though the change is before the byte', async () => {
    const file = await put('f', randomBytes(2 * MIB));
    await opened(file, async (source) => {
      await fs.writeFile(root.join('f'), Buffer.alloc(1), { flag: 'r+' });
      expect((await localError(source.digestOf(MIB, 'SHA-256'))).code).toBe('CHANGED');
      expect((await localError(whole(source.chunks({ fromByte: MIB })))).code).toBe('CHANGED');
      expect((await localError(source.confirm())).code).toBe('CHANGED');
    });
  });

  it('and that is cut while its beginning is read is noticed', async () => {
    const file = await put('f', randomBytes(2 * MIB));
    await opened(file, async (source) => {
      await fs.truncate(root.join('f'), 1_000);
      expect((await localError(source.digestOf(MIB, 'CRC32'))).code).toBe('CHANGED');
    });
  });
});
