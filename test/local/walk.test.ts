import { execFileSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { createServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IgnoreMap } from '../../src/local/ignore.js';
import { diskOf } from '../../src/local/mounts.js';
import { POOLED } from '../../src/local/pooled.js';
import { lookAt, openRoot, type Sight, standsAt, type WalkOptions, walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { itWithDevices } from './mounted.js';
import { localError, pathOf, sightsOf, systemError } from './support.js';

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

async function sights(
  wants: (path: string) => boolean = () => true,
  at = root.path,
  options: Omit<WalkOptions, 'wants'> = {},
): Promise<Sight[]> {
  return sightsOf(walk(at, { wants, ...options }));
}

/** One line a sight: what kind, where, and the twin. */
async function lines(
  options: Omit<WalkOptions, 'wants'>,
  wants?: (path: string) => boolean,
): Promise<string[]> {
  return (await sights(wants, root.path, options)).map((sight) => {
    const twin = 'twin' in sight && sight.twin !== undefined ? ` ${sight.twin}` : '';
    return `${sight.kind} ${pathOf(sight)}${twin}`;
  });
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

  it('is one order for all that is told, whatever it is and whatever is asked for', async () => {
    const odd = fc.constantFrom(
      'link',
      'to-nowhere',
      'up',
      'out',
      'line\nbreak',
      'unreadable',
      'broken-rules',
    );
    const kinds = fc.array(fc.tuple(fc.nat(7), odd), { maxLength: 6 });
    const options = fc.record({
      links: fc.constantFrom('skip' as const, 'follow' as const),
      directories: fc.constantFrom('told' as const, 'silent' as const),
      twins: fc.constantFrom('told' as const, 'silent' as const),
      lineBreaks: fc.constantFrom('fit' as const, 'unfit' as const),
    });
    const rules = fc.array(fc.constantFrom('a*', 'b/', '!ab', '-', '/a', '*.a'), { maxLength: 2 });
    const { readdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readdir').mockImplementation((path) => {
      if (path.endsWith('unreadable/')) throw systemError('EACCES');
      return readdir(path);
    });

    async function addOdd(
      at: string,
      directories: readonly string[],
      place: number,
      what: string,
    ): Promise<void> {
      const directory = directories[place % directories.length] ?? '';
      const path = `${at}/${directory}`;
      if (what === 'unreadable') await fs.mkdir(`${path}unreadable`, { recursive: true });
      else if (what === 'broken-rules') {
        await fs.mkdir(`${path}b-r/.ferryignore`, { recursive: true });
      } else if (what === 'line\nbreak') await fs.writeFile(`${path}line\nbreak`, '');
      else {
        const aim = { link: directories[0] ?? '.', 'to-nowhere': 'missing', up: '..', out: '/' }[what] ?? '.';
        await fs.symlink(what === 'link' ? `${at}/${aim}` : aim, `${path}${what}`).catch(() => {});
      }
    }

    let trees = 0;
    let told = 0;
    await fc.assert(
      fc.asyncProperty(tree, kinds, rules, options, async (node, oddities, patterns, asked) => {
        trees += 1;
        const at = root.join(`all-${trees}`);
        await fs.mkdir(at);
        const files = await build(at, node);
        const directories = ['', ...new Set(files.filter((path) => path.includes('/')))].map((path) =>
          path.slice(0, path.lastIndexOf('/') + 1),
        );
        for (const [place, what] of oddities) await addOdd(at, directories, place, what);
        if (patterns.length > 0) await fs.writeFile(`${at}/.ferryignore`, patterns.join('\n'));
        const seen = (await sights((path) => path !== '.ferryignore', at, asked)).map(pathOf);
        const sorted = [...new Set(seen)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(seen).toEqual(sorted);
        told += seen.length;
      }),
      { numRuns: 150 },
    );
    expect(told).toBeGreaterThan(trees);
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
    await fs.symlink('plain', root.join('link\n'));
    await put('plain');
    const seen = await sights();
    expect(seen.map((sight) => [sight.kind, pathOf(sight)])).toEqual([
      ['unfit', 'a\nb'],
      ['unfit', 'c\rd'],
      ['unfit', 'e\r\nf'],
      ['unfit', 'g\nh/'],
      ['unfit', 'link\n'],
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

itWithDevices('a device has no content, and is not opened', async () => {
  execFileSync('mknod', [root.join('device'), 'c', '1', '3']);
  expect(await sights()).toEqual([
    {
      kind: 'unfit',
      path: 'device',
      code: 'special-file',
      message: expect.stringMatching(/^device is a device, .*Exclude it/),
    },
  ]);
});

it('a path that is longer than the system takes is told', async () => {
  const name = 'n'.repeat(250);
  // Only from directory to directory does one get there.
  const dig = `for (let i = 0; i < 20; i += 1) {
    require('node:fs').mkdirSync('${name}');
    process.chdir('${name}');
  }`;
  execFileSync(process.execPath, ['-e', dig], { cwd: root.path });
  try {
    const [only, ...more] = await sights();
    expect(more).toEqual([]);
    expect(only).toMatchObject({
      kind: 'unreadable',
      code: 'ENAMETOOLONG',
      path: expect.stringMatching(/n\/$/),
    });
  } finally {
    execFileSync('rm', ['-rf', root.join(name)]);
  }
});

describe('directories', () => {
  it('are told where that is asked for: each before what lies in it, empty ones too', async () => {
    for (const path of ['a/b/f', 'a-b', 'a.b/f', 'z']) await put(path);
    await fs.mkdir(root.join('a/empty'));
    expect(await lines({ directories: 'told' })).toEqual([
      'file a-b',
      'directory a.b/',
      'file a.b/f',
      'directory a/',
      'directory a/b/',
      'file a/b/f',
      'directory a/empty/',
      'file z',
    ]);
  });

  it('behind links are, as far as links are followed', async () => {
    await put('real/f');
    await fs.symlink('real', root.join('link'));
    expect(await lines({ directories: 'told', links: 'follow' })).toEqual([
      'directory link/',
      'file link/f',
      'directory real/',
      'file real/f',
    ]);
    expect(await lines({ directories: 'told' })).toEqual(['ignored link', 'directory real/', 'file real/f']);
  });

  it('that are not wanted, or cannot be looked into, are not', async () => {
    for (const path of ['a/f', 'b/f', 'c/.ferryignore/f']) await put(path);
    vi.spyOn(diskOf(root.path), 'realpath').mockImplementation((path) => {
      if (path.endsWith('/b/')) throw systemError('EIO');
      return path.replace(/\/$/, '');
    });
    expect(await lines({ directories: 'told' }, (path) => path !== 'a/')).toEqual([
      'unreadable b/',
      'unreadable c/',
    ]);
  });
});

describe('the trash', () => {
  it('at the root takes no part in a walk, whatever is asked for; its name means nothing further down', async () => {
    for (const path of ['.ferryd-trash/s/f', 'a/.ferryd-trash/f', '.ferryd-trash.txt']) await put(path);
    expect(await lines({ directories: 'told', twins: 'told', links: 'follow' })).toEqual([
      'file .ferryd-trash.txt',
      'directory a/',
      'directory a/.ferryd-trash/',
      'file a/.ferryd-trash/f',
    ]);
  });

  it('is not reached through links either', async () => {
    await put('.ferryd-trash/s/f');
    await fs.symlink('.ferryd-trash', root.join('all'));
    await fs.symlink('.ferryd-trash/s/f', root.join('one'));
    expect(await lines({ links: 'follow' })).toEqual(['ignored all/', 'ignored one']);
  });

  it.each(['a file', 'a link'])('may be %s, and is nothing to be told of', async (what) => {
    if (what === 'a file') await put('.ferryd-trash');
    else await fs.symlink('/', root.join('.ferryd-trash'));
    expect(await lines({ directories: 'told', links: 'follow' })).toEqual([]);
  });
});

describe('what a .ferryignore leaves out', () => {
  it('is no sight: not a directory nor what is in it, not a file, not a link', async () => {
    for (const path of ['a/deep/f', 'b', 'c/f', 'c/g', 'd', 'e/f']) await put(path);
    await put('.ferryignore', 'a/\nb\ne/\n');
    await put('c/.ferryignore', 'f\nlink\n');
    await fs.symlink('nowhere', root.join('c/link'));
    const wants = (path: string): boolean => !path.endsWith('.ferryignore') && path !== 'e/';
    expect(await lines({}, wants)).toEqual(['file c/g', 'file d']);
  });

  it('of links that are followed, by what they lead to', async () => {
    await put('real/f');
    for (const name of ['x', 'y']) await fs.symlink('real', root.join(name));
    for (const name of ['broken', 'z']) await fs.symlink('nowhere', root.join(name));
    await put('.ferryignore', 'x/\ny\nbroken\n');
    const wants = (path: string): boolean => path !== '.ferryignore';
    expect(await lines({ links: 'follow' }, wants)).toEqual(['file real/f', 'unfit z']);
  });

  it('a name that cannot travel is left out like any other', async () => {
    await put('a\nb');
    await put('.ferryignore', 'a*\n.ferryignore\n');
    expect(await lines({})).toEqual([]);
  });

  it('is noted for whoever asks about paths that are not there', async () => {
    for (const path of ['a/f', 'a/b/c/g', 'd/f']) await put(path);
    await put('.ferryignore', '*.tmp\ngone/\n');
    await put('a/.ferryignore', '/b/old\n!keep.tmp\n');
    const map = new IgnoreMap();
    const noted: string[] = [];
    await lines({
      onRules: (directory, rules) => {
        noted.push(directory);
        map.note(directory, rules);
      },
    });
    expect(noted).toEqual(['', 'a/']);
    for (const path of [
      'x.tmp',
      'no/such/x.tmp',
      'gone/',
      'gone/f',
      'd/gone/x/y',
      'a/b/old',
      'a/b/old/f',
      'a/x.tmp',
    ])
      expect(map.ignores(path), path).toBe(true);
    for (const path of ['x', 'gone', 'a/keep.tmp', 'a/b/c/keep.tmp', 'b/old', 'd/b/old', 'a/b/', 'a/'])
      expect(map.ignores(path), path).toBe(false);
  });
});

describe('twins', () => {
  const told = { twins: 'told', directories: 'told' } as const;

  it('in case, in form, in both; files, directories, and one of each', async () => {
    for (const path of ['A', 'a', 'B/f', 'b', 'plain', 'e\u0301', '\u00e9', 'I\u0301', '\u00ed'])
      await put(path);
    expect(await lines(told)).toEqual([
      'file A case',
      'directory B/ case',
      'file B/f case',
      'file I\u0301 both',
      'file a case',
      'file b case',
      'file e\u0301 form',
      'file plain',
      'file \u00e9 form',
      'file \u00ed both',
    ]);
  });

  it('three of one kind, and of two', async () => {
    for (const path of ['ab', 'Ab', 'AB', 'e\u0301', '\u00e9', '\u00c9']) await put(path);
    expect(await lines(told)).toEqual([
      'file AB case',
      'file Ab case',
      'file ab case',
      'file e\u0301 both',
      'file \u00c9 both',
      'file \u00e9 both',
    ]);
  });

  it('all that lies in one, with its own difference on top', async () => {
    for (const path of ['D/sub/f', 'd/x', 'd/e\u0301', 'd/\u00e9', 'd/y', 'd/Y', 'other/D']) await put(path);
    expect(await lines(told)).toEqual([
      'directory D/ case',
      'directory D/sub/ case',
      'file D/sub/f case',
      'directory d/ case',
      'file d/Y case',
      'file d/e\u0301 both',
      'file d/x case',
      'file d/y case',
      'file d/\u00e9 both',
      'directory other/',
      'file other/D',
    ]);
  });

  it('are only what is wanted and can go across, and only where that is asked for', async () => {
    for (const path of ['A', 'a', 'B', 'b', 'C', 'D', 'd']) await put(path);
    await put('.ferryignore', 'b\n.ferryignore\n');
    await fs.symlink('A', root.join('c'));
    expect(await lines({ twins: 'told' }, (path) => path !== 'a')).toEqual([
      'file A',
      'file B',
      'file C',
      'file D case',
      'ignored c',
      'file d case',
    ]);
    expect((await lines({ links: 'follow' })).join()).not.toContain('case');
    expect(await lines({ links: 'follow', twins: 'told' }, (path) => 'cC'.includes(path))).toEqual([
      'file C case',
      'file c case',
    ]);
  });
});

it('line breaks in names are fit where the other side can be told them', async () => {
  await put('a\nb/c\rd');
  expect(await lines({ lineBreaks: 'fit', directories: 'told' })).toEqual([
    'directory a\nb/',
    'file a\nb/c\rd',
  ]);
});

describe('what a job leaves out', () => {
  it('is not told, and a directory that is left out is not read', async () => {
    await put('keep/a');
    await put('drop/b');
    await fs.symlink('keep', root.join('drop/link'));
    execFileSync('mkfifo', [root.join('pipe')]);
    const readdir = vi.spyOn(diskOf(root.path), 'readdir');
    const seen = await sights((path) => path !== 'drop/' && path !== 'pipe');
    expect(seen.map(pathOf)).toEqual(['keep/a']);
    expect(readdir.mock.calls.map(([path]) => path)).toEqual([`${root.path}/`, `${root.path}/keep/`]);
  });
});

describe('a tree that does not keep still', () => {
  /** Does something when the walk is in a directory, before it is in the next one. */
  function whenRead(directory: string, work: () => Promise<void>): void {
    const { readdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readdir').mockImplementation(async (path) => {
      const entries = await readdir(path);
      if (path === root.join(`${directory}/`)) await work();
      return entries;
    });
  }

  it('files that vanish behind the first look are as if they had never been', async () => {
    for (let i = 0; i < 80; i += 1) await put(`f${String(i).padStart(2, '0')}`);
    const { lstatAll } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'lstatAll').mockImplementation(async (paths) => {
      for (let i = 40; i < 80; i += 1) await fs.rm(root.join(`f${i}`));
      return lstatAll(paths);
    });
    expect(await lines({})).toEqual(
      Array.from({ length: 40 }, (_, i) => `file f${String(i).padStart(2, '0')}`),
    );
  });

  it('so are directories, also one that became a file', async () => {
    for (const path of ['a/1', 'b/2', 'c/3', 'd/4']) await put(path);
    whenRead('a', async () => {
      await fs.rm(root.join('b'), { recursive: true });
      await fs.rm(root.join('c'), { recursive: true });
      await put('c', 'a file now');
    });
    expect(await lines({})).toEqual(['file a/1', 'file d/4']);
  });

  it.each(['skip', 'follow'] as const)(
    'a directory that is swapped for a link is not looked behind, be it followed or not (%s)',
    async (links) => {
      await using outside = await temporaryDirectory('outside');
      await fs.mkdir(outside.join('below'));
      await fs.writeFile(outside.join('secret'), '');
      for (const path of ['a/1', 'b/2', 'c/3']) await put(path);
      whenRead('a', async () => {
        await fs.rm(root.join('b'), { recursive: true });
        await fs.symlink(outside.path, root.join('b'));
      });
      expect(await lines({ links, directories: 'told' })).toEqual([
        'directory a/',
        'file a/1',
        'unreadable b/',
        'directory c/',
        'file c/3',
      ]);
    },
  );

  it('also one that is swapped while it is read, and the sentence says so', async () => {
    await using outside = await temporaryDirectory('outside');
    await put('d/e/f');
    const { readdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readdir').mockImplementation(async (path) => {
      const entries = await readdir(path);
      if (path.endsWith('/d/e/')) {
        await fs.rename(root.join('d'), outside.join('d'));
        await fs.symlink(outside.join('d'), root.join('d'));
      }
      return entries;
    });
    expect(await sights()).toEqual([
      {
        kind: 'unreadable',
        path: 'd/e/',
        code: 'OUTSIDE',
        message: 'd/e was swapped for a link while it was looked at: what lies behind it is left alone.',
      },
    ]);
  });

  it('a file that is swapped for something else between two looks is none', async () => {
    for (const path of ['a', 'b', 'c']) await put(path);
    const { lstatAll } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'lstatAll').mockImplementation(async (paths) => {
      await fs.rm(root.join('b'));
      await fs.symlink('/etc/passwd', root.join('b'));
      return lstatAll(paths);
    });
    expect(await lines({})).toEqual(['file a', 'file c']);
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
    const { readdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readdir').mockImplementation((path) => {
      if (path.includes('locked')) throw systemError(code);
      return readdir(path);
    });
    expect((await sights()).map((sight) => [sight.kind, pathOf(sight)])).toEqual([
      ['file', 'a/1'],
      ['unreadable', 'locked/'],
      ['file', 'z/3'],
    ]);
  });

  it('a file is told with the code', async () => {
    for (const path of ['a', 'b', 'c']) await put(path);
    const { lstatAll } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'lstatAll').mockImplementation(async (paths) => {
      const looked = [...(await lstatAll(paths))];
      looked[paths.findIndex((path) => path.endsWith('/b'))] = { error: systemError('EIO') };
      return looked;
    });
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
    vi.spyOn(POOLED, 'access').mockRejectedValue(systemError('EACCES'));
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
    vi.spyOn(diskOf(root.path), 'lstat').mockRejectedValue(systemError('EIO'));
    expect((await localError(lookAt(root.path, 'a'))).code).toBe('EIO');
  });
});
