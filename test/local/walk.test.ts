import { execFileSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { createServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lookAt, openRoot, type Sight, standsAt, walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { localError, systemError } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('walk');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await root.remove();
});

async function put(path: string, content = path): Promise<void> {
  const directory = path.split('/').slice(0, -1).join('/');
  await fs.mkdir(root.join(directory), { recursive: true });
  await fs.writeFile(root.join(path), content);
}

async function sights(wants: (path: string) => boolean = () => true, at = root.path): Promise<Sight[]> {
  const all: Sight[] = [];
  for await (const sight of walk(at, { wants })) all.push(sight);
  return all;
}

function pathOf(sight: Sight): string {
  return sight.kind === 'file' ? sight.file.path : sight.path;
}

describe('the order', () => {
  /** Neighbours of `/`, and characters that UTF-16 orders differently than UTF-8. */
  const name = fc
    .stringMatching(/^[ab.\-! 0\u{e000}\u{ffff}\u{1f600}]{1,3}$/u)
    .filter((text) => !/^\.{1,2}$/.test(text));
  interface Tree {
    readonly [name: string]: Tree | null;
  }
  const tree = fc.letrec<{ node: Tree | null; directory: Tree }>((tie) => ({
    node: fc.oneof({ depthSize: 'small', maxDepth: 3 }, fc.constant(null), tie('directory')),
    directory: fc.dictionary(name, tie('node'), { maxKeys: 4, noNullPrototype: true }),
  })).directory;

  async function build(at: string, node: Tree): Promise<string[]> {
    const files: string[] = [];
    for (const [key, below] of Object.entries(node)) {
      if (below === null) {
        await fs.writeFile(`${at}/${key}`, '');
        files.push(key);
      } else {
        await fs.mkdir(`${at}/${key}`);
        files.push(...(await build(`${at}/${key}`, below)).map((path) => `${key}/${path}`));
      }
    }
    return files;
  }

  it('is that of the bytes of whole paths, over the whole tree', async () => {
    let trees = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (node) => {
        trees += 1;
        const at = root.join(`tree-${trees}`);
        await fs.mkdir(at);
        const files = await build(at, node);
        files.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect((await sights(undefined, at)).map(pathOf)).toEqual(files);
      }),
      { numRuns: 60 },
    );
  });

  it('holds also beyond what is looked at at once', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `${i % 3 === 0 ? 'd' : 'f'}${i}`);
    for (const each of names) await put(each.startsWith('d') ? `${each}/x` : each);
    const seen = (await sights()).map(pathOf);
    expect(seen).toHaveLength(100);
    expect(seen).toEqual([...seen].sort());
  });
});

describe('what is found', () => {
  it('a file, with size, times, inode and device', async () => {
    await put('a/b.txt', 'hello');
    const stats = await fs.lstat(root.join('a/b.txt'));
    expect(await sights()).toEqual([
      {
        kind: 'file',
        file: {
          path: 'a/b.txt',
          sizeBytes: 5,
          mtimeMs: stats.mtimeMs,
          ctimeMs: stats.ctimeMs,
          inode: stats.ino,
          device: stats.dev,
        },
      },
    ]);
  });

  it('links are left out and told: to a file, to a directory, in a circle, to nowhere', async () => {
    await put('real/file');
    await fs.symlink('real/file', root.join('to-file'));
    await fs.symlink('real', root.join('to-directory'));
    await fs.symlink('.', root.join('real/circle'));
    await fs.symlink('missing', root.join('to-nowhere'));
    const seen = await sights();
    expect(seen.filter(({ kind }) => kind === 'ignored').map(pathOf)).toEqual([
      'real/circle',
      'to-directory',
      'to-file',
      'to-nowhere',
    ]);
    expect(seen.filter(({ kind }) => kind === 'file').map(pathOf)).toEqual(['real/file']);
    expect(seen).toHaveLength(5);
  });

  it('a pipe and a socket cannot be sent, and nobody waits on them', async () => {
    execFileSync('mkfifo', [root.join('pipe')]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(root.join('socket'), resolve));
    try {
      expect(await sights()).toEqual([
        {
          kind: 'unfit',
          path: 'pipe',
          code: 'special-file',
          message: expect.stringMatching(/^pipe is a named pipe, .*Exclude it/),
        },
        {
          kind: 'unfit',
          path: 'socket',
          code: 'special-file',
          message: expect.stringMatching(/^socket is a socket, .*Exclude it/),
        },
      ]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('a line break in a name cannot travel, also in the name of a directory; the others can', async () => {
    for (const name of ['a\nb', 'c\rd', 'e\r\nf']) await put(name);
    await put('g\nh/inside');
    await put('plain');
    const seen = await sights();
    expect(seen.map((sight) => [sight.kind, pathOf(sight)])).toEqual([
      ['unfit', 'a\nb'],
      ['unfit', 'c\rd'],
      ['unfit', 'e\r\nf'],
      ['unfit', 'g\nh/'],
      ['file', 'plain'],
    ]);
    for (const sight of seen.filter((each) => each.kind === 'unfit')) {
      expect(sight).toMatchObject({ code: 'name' });
      expect(sight.message).not.toMatch(/[\r\n]/);
      expect(sight.message).toContain('line break');
    }
  });

  it('a name that is not UTF-8 is told and never taken for another file', async () => {
    const bytes = (text: string): Buffer => Buffer.from(`${root.path}/${text}`, 'latin1');
    await fs.writeFile(bytes('caf\xe9'), 'latin');
    await fs.mkdir(bytes('d\xff'));
    await fs.writeFile(bytes('d\xff/x'), 'below');
    await put('z');
    const seen = await sights();
    expect(seen.map((sight) => sight.kind)).toEqual(['unfit', 'unfit', 'file']);
    expect(seen[0]).toMatchObject({ code: 'name', message: expect.stringContaining('not valid UTF-8') });
  });
});

describe('what a job leaves out', () => {
  it('is not told, and a directory that is left out is not read', async () => {
    await put('keep/a');
    await put('drop/b');
    await fs.symlink('keep', root.join('drop/link'));
    execFileSync('mkfifo', [root.join('pipe')]);
    const readdir = vi.spyOn(fs, 'readdir');
    const seen = await sights((path) => path !== 'drop/' && path !== 'pipe');
    expect(seen.map(pathOf)).toEqual(['keep/a']);
    expect(readdir.mock.calls.map(([path]) => String(path))).toEqual([`${root.path}/`, `${root.path}/keep/`]);
  });
});

describe('a tree that does not keep still', () => {
  it('files that vanish behind the first look are as if they had never been', async () => {
    for (let i = 0; i < 80; i += 1) await put(`f${String(i).padStart(2, '0')}`);
    const walking = walk(root.path, { wants: () => true });
    const first = await walking.next();
    expect(first.value).toMatchObject({ kind: 'file', file: { path: 'f00' } });
    for (let i = 40; i < 80; i += 1) await fs.rm(root.join(`f${i}`));
    const rest: Sight[] = [];
    for await (const sight of walking) rest.push(sight);
    expect(rest.map(pathOf)).toEqual(
      Array.from({ length: 39 }, (_, i) => `f${String(i + 1).padStart(2, '0')}`),
    );
    expect(rest.every(({ kind }) => kind === 'file')).toBe(true);
  });

  it('so are directories, also one that became a file', async () => {
    for (const path of ['a/1', 'b/2', 'c/3', 'd/4']) await put(path);
    const walking = walk(root.path, { wants: () => true });
    await walking.next();
    await fs.rm(root.join('b'), { recursive: true });
    await fs.rm(root.join('c'), { recursive: true });
    await put('c', 'a file now');
    const rest: string[] = [];
    for await (const sight of walking) rest.push(`${sight.kind} ${pathOf(sight)}`);
    expect(rest).toEqual(['file d/4']);
  });

  it('a root that vanishes is told', async () => {
    await fs.rm(root.path, { recursive: true });
    expect(await sights()).toEqual([
      { kind: 'unreadable', path: '', code: 'ENOENT', message: 'the directory does not exist.' },
    ]);
  });
});

describe('what cannot be read', () => {
  it.each(['EACCES', 'EIO'])('a directory (%s) is told, and its neighbours are walked', async (code) => {
    for (const path of ['a/1', 'locked/2', 'z/3']) await put(path);
    const readdir = fs.readdir.bind(fs) as (...args: unknown[]) => Promise<unknown>;
    vi.spyOn(fs, 'readdir').mockImplementation((async (path: string, ...more: unknown[]) => {
      if (path.includes('locked')) throw systemError(code);
      return readdir(path, ...more);
    }) as unknown as typeof fs.readdir);
    expect((await sights()).map((sight) => [sight.kind, pathOf(sight)])).toEqual([
      ['file', 'a/1'],
      ['unreadable', 'locked'],
      ['file', 'z/3'],
    ]);
  });

  it('a file is told with the code', async () => {
    for (const path of ['a', 'b', 'c']) await put(path);
    const lstat = fs.lstat.bind(fs) as (...args: unknown[]) => Promise<unknown>;
    vi.spyOn(fs, 'lstat').mockImplementation((async (path: string, ...more: unknown[]) => {
      if (path.endsWith('/b')) throw systemError('EIO');
      return lstat(path, ...more);
    }) as unknown as typeof fs.lstat);
    const seen = await sights();
    expect(seen.map(pathOf)).toEqual(['a', 'b', 'c']);
    expect(seen[1]).toMatchObject({
      kind: 'unreadable',
      code: 'EIO',
      message: expect.stringContaining('Check the disk'),
    });
  });
});

describe('openRoot', () => {
  it('gives the real path', async () => {
    await put('real/x');
    await fs.symlink('real', root.join('link'));
    expect(await openRoot(root.join('link'))).toBe(root.join('real'));
    expect(await openRoot('/')).toBe('');
  });

  it('says what is wrong', async () => {
    await put('file');
    expect(await localError(openRoot(root.join('missing')))).toMatchObject({
      code: 'ENOENT',
      message: `${root.join('missing')} does not exist.`,
    });
    expect(await localError(openRoot(root.join('file')))).toMatchObject({
      code: 'ENOTDIR',
      message: `${root.join('file')} is not a directory.`,
    });
    vi.spyOn(fs, 'access').mockRejectedValue(systemError('EACCES'));
    expect((await localError(openRoot(root.path))).message).toContain('may not be read by the account');
  });
});

describe('a second look', () => {
  it('tells files, nothing and other things apart', async () => {
    await put('d/file', 'x');
    await fs.symlink('d/file', root.join('link'));
    expect(await standsAt(root.path, 'd/file')).toMatchObject({ path: 'd/file', sizeBytes: 1 });
    expect(await standsAt(root.path, 'missing')).toBe('nothing');
    expect(await standsAt(root.path, 'd/file/below')).toBe('nothing');
    expect(await standsAt(root.path, 'd')).toBe('other');
    expect(await standsAt(root.path, 'link')).toBe('other');
    expect(await lookAt(root.path, 'd/file')).toMatchObject({ sizeBytes: 1 });
    for (const path of ['missing', 'd', 'link']) expect(await lookAt(root.path, path)).toBeUndefined();
  });

  it('does not take a failing disk for a deleted file', async () => {
    vi.spyOn(fs, 'lstat').mockRejectedValue(systemError('EIO'));
    expect((await localError(lookAt(root.path, 'a'))).code).toBe('EIO');
  });
});
