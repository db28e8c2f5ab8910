import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, promises as fs, lstatSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { diskOf } from '../../src/local/mounts.js';
import { discardFile, makeDirectory, moveFile, removeDirectory, removeFile } from '../../src/local/tree.js';
import { lookAt } from '../../src/local/walk.js';
import type { Fingerprint, LocalFile } from '../../src/plan/entry.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { describeMounted, mounted } from './mounted.js';
import { localError, openBelow, openPrototype, systemError } from './support.js';

const EARLIER = new Date('2024-01-02T03:04:05.678Z');

let root: TemporaryDirectory;
let outside: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('tree');
  outside = await temporaryDirectory('outside');
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(openBelow(root.path)).toEqual([]);
  expect(openBelow(outside.path)).toEqual([]);
  await root.remove();
  await outside.remove();
});

async function put(path: string, content: string | Buffer = path): Promise<LocalFile> {
  await fs.mkdir(root.join(path, '..'), { recursive: true });
  await fs.writeFile(root.join(path), content);
  await fs.utimes(root.join(path), EARLIER, EARLIER);
  const file = await lookAt(root.path, path);
  if (file === undefined) throw new Error(`${path} was not made`);
  return file;
}

/** A directory becomes a link to where it went: the very same files, reached another way. */
async function swap(directory: string): Promise<void> {
  await fs.rename(root.join(directory), outside.join('away'));
  await fs.symlink(outside.join('away'), root.join(directory));
}

/** What may have become of a file since it was seen, while something stands there. */
const CHANGES: readonly (readonly [string, (path: string) => Promise<unknown>])[] = [
  ['written over, same size', (path) => fs.writeFile(path, 'y', { flag: 'r+' })],
  ['longer', (path) => fs.appendFile(path, 'more')],
  ['touched', (path) => fs.utimes(path, new Date(), new Date())],
  [
    'written over, and its time set back',
    async (path) => {
      await fs.writeFile(path, 'y', { flag: 'r+' });
      await fs.utimes(path, EARLIER, EARLIER);
    },
  ],
  [
    'replaced by another of the same content',
    async (path) => {
      await fs.copyFile(path, `${path}-new`);
      await fs.utimes(`${path}-new`, EARLIER, EARLIER);
      await fs.rename(`${path}-new`, path);
    },
  ],
  [
    'replaced by a link to it',
    async (path) => {
      await fs.rename(path, `${path}-old`);
      await fs.symlink(`${path}-old`, path);
    },
  ],
  [
    'replaced by a directory',
    async (path) => {
      await fs.rm(path);
      await fs.mkdir(path);
    },
  ],
  [
    'replaced by a pipe',
    async (path) => {
      await fs.rm(path);
      execFileSync('mkfifo', [path]);
    },
  ],
];

describe('discardFile', () => {
  it('takes a file away whatever it has become, and one that is gone is no failure', async () => {
    const file = await put('d/f', 'one');
    await fs.writeFile(root.join('d/f'), 'another');
    expect(await lookAt(root.path, 'd/f')).not.toEqual(file);
    await discardFile(root.path, 'd/f');
    expect(readdirSync(root.join('d'))).toEqual([]);
    await discardFile(root.path, 'd/f');
    await discardFile(root.path, 'nowhere/f');
  });

  it('takes nothing else away, and nothing behind a link', async () => {
    await put('d/f');
    await fs.symlink('d/f', root.join('link'));
    await fs.mkdir(root.join('directory'));
    await discardFile(root.path, 'link');
    await discardFile(root.path, 'directory');
    expect(readdirSync(root.path).sort()).toEqual(['d', 'directory', 'link']);
    await swap('d');
    expect(await localError(discardFile(root.path, 'd/f'))).toMatchObject({ code: 'OUTSIDE' });
    expect(readdirSync(outside.join('away'))).toEqual(['f']);
  });
});

describe('removeFile', () => {
  it('takes away the file that was seen, and nothing beside it', async () => {
    const file = await put('d/f', 'x');
    await put('d/g');
    expect(await removeFile(root.path, 'd/f', file)).toBe('removed');
    expect(readdirSync(root.join('d'))).toEqual(['g']);
    expect(await removeFile(root.path, 'd/f', file)).toBe('missing');
  });

  it.each([
    ['nothing is there', async () => {}],
    ['its directory is gone', () => fs.rm(root.join('d'), { recursive: true })],
    [
      'its directory is a file now',
      async () => {
        await fs.rm(root.join('d'), { recursive: true });
        await fs.writeFile(root.join('d'), '');
      },
    ],
  ])('%s: missing', async (_what, change) => {
    const file = await put('d/f', 'x');
    await fs.rm(root.join('d/f'));
    await change();
    expect(await removeFile(root.path, 'd/f', file)).toBe('missing');
  });

  it.each(CHANGES)('%s: changed, and it stays', async (_what, change) => {
    const file = await put('f', 'x');
    await change(root.join('f'));
    const before = lstatSync(root.join('f'));
    expect(await removeFile(root.path, 'f', file)).toBe('changed');
    expect(lstatSync(root.join('f'))).toEqual(before);
  });

  it('a ctime that was not known is not compared; all else is', async () => {
    const file = await put('f', 'x');
    const unsettled: Fingerprint = { ...file, ctimeMs: 0 };
    for (const other of [{ sizeBytes: 2 }, { mtimeMs: 1 }, { inode: 1 }]) {
      expect(await removeFile(root.path, 'f', { ...unsettled, ...other })).toBe('changed');
    }
    expect(await removeFile(root.path, 'f', unsettled)).toBe('removed');
  });

  it.each(['d', 'd/e'])('is not led out of the root where %s was swapped for a link', async (directory) => {
    const file = await put('d/e/f', 'x');
    await swap(directory);
    expect(readFileSync(root.join('d/e/f'), 'utf8')).toBe('x');
    const error = await localError(removeFile(root.path, 'd/e/f', file));
    expect(error).toMatchObject({ code: 'OUTSIDE', message: expect.stringContaining('is a link here') });
    expect(readFileSync(root.join('d/e/f'), 'utf8')).toBe('x');
  });

  it('nor around inside it', async () => {
    const file = await put('real/f', 'x');
    await fs.symlink('real', root.join('link'));
    expect((await localError(removeFile(root.path, 'link/f', file))).code).toBe('OUTSIDE');
    expect(readdirSync(root.join('real'))).toEqual(['f']);
  });

  it('nor by a directory that is swapped when it was opened already', async () => {
    const file = await put('d/f', 'x');
    await fs.mkdir(outside.join('d'));
    await fs.link(root.join('d/f'), outside.join('d/f'));
    const now = await lookAt(root.path, 'd/f');
    if (now === undefined) throw new Error('d/f is gone');
    const { readlink } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readlink').mockImplementation(async (path) => {
      const real = await readlink(path);
      // Proven, and only then swapped: what follows must work in the directory that was proven.
      await fs.rename(root.join('d'), root.join('moved'));
      await fs.symlink(outside.join('d'), root.join('d'));
      return real;
    });
    expect(await removeFile(root.path, 'd/f', now)).toBe('removed');
    expect(readdirSync(root.join('moved'))).toEqual([]);
    expect(readdirSync(outside.join('d'))).toEqual(['f']);
    expect(file.inode).toBe(now.inode);
  });

  it.each(['', '..', '.', 'd/..', 'd/.', '../f'])('%j is no file below the root', async (path) => {
    const file = await put('d/f');
    expect((await localError(removeFile(root.path, path, file))).code).toBe('OUTSIDE');
  });

  it('says why it may not', async () => {
    const file = await put('d/f');
    vi.spyOn(diskOf(root.path), 'open').mockRejectedValue(systemError('EACCES'));
    expect(await localError(removeFile(root.path, 'd/f', file))).toMatchObject({
      code: 'EACCES',
      message:
        'd/f may not be taken away by the account that runs ferryd: give it the right to write to the directory.',
    });
  });
});

describe('moveFile', () => {
  it('keeps content, time and identity, and makes the directories', async () => {
    const file = await put('a/f', 'content');
    expect(await moveFile(root.path, 'a/f', 'b/c/g', file)).toBe('moved');
    expect(readdirSync(root.join('a'))).toEqual([]);
    expect(readFileSync(root.join('b/c/g'), 'utf8')).toBe('content');
    expect(await lookAt(root.path, 'b/c/g')).toMatchObject({
      mtimeMs: file.mtimeMs,
      inode: file.inode,
      sizeBytes: 7,
    });
    for (const made of ['b', 'b/c'])
      expect(lstatSync(root.join(made)).mode & 0o777).toBe(0o755 & ~process.umask());
  });

  it('into the trash and out of it again', async () => {
    await put('a/f', 'content');
    const trash = '.ferryd-trash/20261123T023015Z/a/f';
    expect(await moveFile(root.path, 'a/f', trash, undefined)).toBe('moved');
    expect(await moveFile(root.path, trash, 'a/f', undefined)).toBe('moved');
    expect(readFileSync(root.join('a/f'), 'utf8')).toBe('content');
    expect(lstatSync(root.join('a/f')).nlink).toBe(1);
  });

  it.each(CHANGES)('%s: changed, and it stays, and no directory is made', async (_what, change) => {
    const file = await put('f', 'x');
    await change(root.join('f'));
    const before = lstatSync(root.join('f'));
    expect(await moveFile(root.path, 'f', 'd/f', file)).toBe('changed');
    expect(lstatSync(root.join('f'))).toEqual(before);
    expect(existsSync(root.join('d'))).toBe(false);
  });

  it('what is missing leaves no directories behind', async () => {
    const file = await put('f', 'x');
    await fs.rm(root.join('f'));
    for (const from of ['f', 'no/such/f']) {
      expect(await moveFile(root.path, from, 'd/f', file)).toBe('missing');
    }
    expect(readdirSync(root.path)).toEqual([]);
  });

  it('a link, a directory or a pipe is not moved, whatever was expected', async () => {
    await fs.symlink('nowhere', root.join('link'));
    await fs.mkdir(root.join('directory'));
    execFileSync('mkfifo', [root.join('pipe')]);
    for (const path of ['link', 'directory', 'pipe'])
      expect(await moveFile(root.path, path, 'to', undefined)).toBe('changed');
    expect(readdirSync(root.path).sort()).toEqual(['directory', 'link', 'pipe']);
  });

  it('is not led out of the root, from neither end', async () => {
    const file = await put('d/f', 'x');
    await put('g', 'y');
    await fs.mkdir(outside.join('e'));
    await fs.symlink(outside.join('e'), root.join('e'));
    expect((await localError(moveFile(root.path, 'g', 'e/g', undefined))).code).toBe('OUTSIDE');
    expect((await localError(moveFile(root.path, 'g', 'e/new/g', undefined))).code).toBe('OUTSIDE');
    expect(readdirSync(outside.join('e'))).toEqual([]);
    await swap('d');
    expect((await localError(moveFile(root.path, 'd/f', 'h', file))).code).toBe('OUTSIDE');
    expect(readdirSync(outside.join('away'))).toEqual(['f']);
    expect(readdirSync(root.path).sort()).toEqual(['d', 'e', 'g']);
    for (const to of ['..', 'd/..', '../x', ''])
      expect((await localError(moveFile(root.path, 'g', to, undefined))).code).toBe('OUTSIDE');
  });

  it('a file where a directory should be is told, and nothing is moved', async () => {
    await put('f', 'x');
    await put('g', 'y');
    expect(await localError(moveFile(root.path, 'f', 'g/f', undefined))).toMatchObject({
      code: 'EISDIR',
      message: expect.stringContaining('g is a file here'),
    });
    expect(readdirSync(root.path).sort()).toEqual(['f', 'g']);
  });

  it('that its directory vanishes under the work is no missing file', async () => {
    await put('f', 'x');
    const { open } = diskOf(root.path);
    let opens = 0;
    vi.spyOn(diskOf(root.path), 'open').mockImplementation((path, flags, mode) => {
      opens += path === root.join('d') ? 1 : 0;
      if (path === root.join('d') && opens > 1) throw systemError('ENOENT');
      return open(path, flags, mode);
    });
    expect(await localError(moveFile(root.path, 'f', 'd/f', undefined))).toMatchObject({ code: 'ENOENT' });
    expect(readFileSync(root.join('f'), 'utf8')).toBe('x');
  });

  describe('whatever stands at both ends', () => {
    const standing = fc.constantFrom(
      'nothing',
      'file',
      'link',
      'dangling link',
      'directory',
      'full directory',
    );
    type Standing = 'nothing' | 'file' | 'link' | 'dangling link' | 'directory' | 'full directory';

    async function make(path: string, what: Standing, content: string): Promise<void> {
      if (what === 'file') await fs.writeFile(path, content);
      if (what === 'link') await fs.symlink('aim', path);
      if (what === 'dangling link') await fs.symlink('nowhere', path);
      if (what === 'directory' || what === 'full directory') await fs.mkdir(path);
      if (what === 'full directory') await fs.writeFile(`${path}/inside`, content);
    }

    /** Every content below a directory, sorted; links by what they say. */
    function contents(directory: string): string[] {
      return readdirSync(directory, { withFileTypes: true })
        .flatMap((entry) => {
          const path = `${directory}/${entry.name}`;
          if (entry.isDirectory()) return contents(path);
          return entry.isFile() ? [readFileSync(path, 'utf8')] : ['a link'];
        })
        .sort();
    }

    it('nothing is lost and nothing is replaced', async () => {
      let trials = 0;
      await fc.assert(
        fc.asyncProperty(
          standing,
          standing,
          fc.constantFrom('none', 'the file', 'another'),
          fc.constantFrom('', '.ferryd-trash/'),
          fc.constantFrom('', '.ferryd-trash/'),
          async (from, to, expected, fromWhere, toWhere) => {
            trials += 1;
            const at = root.join(`trial-${trials}`);
            const source = `${fromWhere}from`;
            const target = `${toWhere}to`;
            await fs.mkdir(`${at}/.ferryd-trash`, { recursive: true });
            await fs.writeFile(`${at}/aim`, 'aim');
            await make(`${at}/${source}`, from, 'from');
            await make(`${at}/${target}`, to, 'to');
            const before = contents(at);
            const file = await lookAt(at, source);
            const seen = expected === 'none' ? undefined : (file ?? (await lookAt(at, 'aim')));
            const changed = seen !== undefined && expected === 'another' ? { ...seen, inode: 1 } : seen;
            const result = await moveFile(at, source, target, changed);
            const whole = from === 'file' && expected !== 'another';
            const wanted = whole ? (to === 'nothing' ? 'moved' : 'occupied') : 'changed';
            expect(result).toBe(from === 'nothing' ? 'missing' : wanted);
            expect(contents(at)).toEqual(before);
            if (result === 'moved') {
              expect(readFileSync(`${at}/${target}`, 'utf8')).toBe('from');
              expect(existsSync(`${at}/${source}`)).toBe(false);
            }
          },
        ),
        { numRuns: 300 },
      );
    });
  });
});

describe('the place of the work', () => {
  it('is proven by the real path where there is no /proc', async () => {
    vi.spyOn(diskOf(root.path), 'readlink').mockRejectedValue(systemError('ENOENT'));
    const file = await put('d/f', 'x');
    expect(await moveFile(root.path, 'd/f', 'e/f', file)).toBe('moved');
    await fs.symlink('e', root.join('link'));
    await fs.mkdir(root.join('e/below'));
    for (const path of ['link/f', 'link/below/f'])
      expect((await localError(removeFile(root.path, path, file))).code).toBe('OUTSIDE');
    expect(await removeFile(root.path, 'e/f', { ...file, ctimeMs: 0 })).toBe('removed');
  });

  it('may be deleted under the work: then nothing is there', async () => {
    const file = await put('d/f', 'x');
    const { readlink } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'readlink').mockImplementation(async (path) => {
      await fs.rm(root.join('d'), { recursive: true, force: true });
      return readlink(path);
    });
    expect(await removeFile(root.path, 'd/f', file)).toBe('missing');
  });

  it('is named rightly on a disk that does not tell case apart', async () => {
    const file = await put('Docs/f', 'x');
    vi.spyOn(diskOf(root.path), 'readlink').mockReturnValue(root.join('docs'));
    const error = await localError(removeFile(root.path, 'Docs/f', file));
    expect(error).toMatchObject({
      code: 'OUTSIDE',
      message: expect.stringContaining('Docs is spelt otherwise on this disk'),
    });
  });
});

describeMounted('moveFile to another disk', () => {
  const content = randomBytes(2_500_000);

  it.each([
    ['into a mount', 'f', 'disk/d/g'],
    ['out of one', 'disk/f', 'd/g'],
    ['out of one into the trash', 'disk/f', '.ferryd-trash/20261123T023015Z/disk/f'],
  ])(
    '%s: the copy is whole, has the time and the permissions, and the original goes',
    async (_what, from, to) => {
      await fs.mkdir(root.join('disk'));
      using _ = mounted('tmpfs', root.join('disk'));
      await put(from, content);
      await fs.chmod(root.join(from), 0o640);
      const file = await lookAt(root.path, from);
      expect(await moveFile(root.path, from, to, file)).toBe('moved');
      expect(existsSync(root.join(from))).toBe(false);
      expect(readFileSync(root.join(to)).equals(content)).toBe(true);
      const stats = lstatSync(root.join(to));
      expect(stats.mode & 0o777).toBe(0o640);
      expect(Math.abs(stats.mtimeMs - EARLIER.getTime())).toBeLessThan(1);
      expect(readdirSync(root.join(to, '..'))).toEqual([to.slice(to.lastIndexOf('/') + 1)]);
    },
  );

  it('nothing is replaced there', async () => {
    await fs.mkdir(root.join('disk'));
    using _ = mounted('tmpfs', root.join('disk'));
    await put('f', 'x');
    await put('disk/f', 'y');
    expect(await moveFile(root.path, 'f', 'disk/f', undefined)).toBe('occupied');
    expect(readFileSync(root.join('f'), 'utf8')).toBe('x');
    expect(readFileSync(root.join('disk/f'), 'utf8')).toBe('y');
  });

  it('where it is full, the original stays and nothing half written', async () => {
    await fs.mkdir(root.join('disk'));
    using _ = mounted('tmpfs', root.join('disk'), 1_000_000);
    const file = await put('f', content);
    expect(await localError(moveFile(root.path, 'f', 'disk/f', file))).toMatchObject({ code: 'ENOSPC' });
    expect(readdirSync(root.join('disk'))).toEqual([]);
    expect(readFileSync(root.join('f')).equals(content)).toBe(true);
  });

  it.each([
    ['while it is copied', 'writeBeside', 'changed'],
    ['behind the last byte', 'sync', 'changed'],
  ] as const)('a file that is written %s stays, and its copy goes', async (_when, moment, result) => {
    await fs.mkdir(root.join('disk'));
    using _ = mounted('tmpfs', root.join('disk'));
    const file = await put('f', content);
    const prototype = await openPrototype(root.join('f'));
    const real = prototype[moment];
    let times = 0;
    vi.spyOn(prototype, moment).mockImplementation(async function (this: unknown, ...args: never[]) {
      times += 1;
      if (times === 1) await fs.appendFile(root.join('f'), 'more');
      return Reflect.apply(real, this, args) as Promise<never>;
    });
    expect(await moveFile(root.path, 'f', 'disk/f', file)).toBe(result);
    expect(readdirSync(root.join('disk'))).toEqual([]);
    expect(readFileSync(root.join('f'))).toHaveLength(content.length + 4);
  });
});

describe('makeDirectory', () => {
  it('makes those above too, and is content with what is there', async () => {
    for (const path of ['a/b/c', 'a/b/c', 'a/b/', 'a']) await makeDirectory(root.path, path);
    expect(lstatSync(root.join('a/b/c')).isDirectory()).toBe(true);
    expect(lstatSync(root.join('a/b/c')).mode & 0o777).toBe(0o755 & ~process.umask());
  });

  it('together with others that make the same', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, i) => makeDirectory(root.path, `x/y/z/${i}`)));
    expect(readdirSync(root.join('x/y/z'))).toHaveLength(8);
  });

  it('does not go through links, be it to nowhere', async () => {
    await fs.symlink(outside.path, root.join('link'));
    await fs.symlink(outside.join('new'), root.join('dangling'));
    for (const path of ['link', 'link/a', 'link/a/b', 'dangling', 'dangling/a']) {
      expect((await localError(makeDirectory(root.path, path))).code, path).toBe('OUTSIDE');
    }
    expect(readdirSync(outside.path)).toEqual([]);
  });

  it('nor through one that comes in between', async () => {
    const { mkdir } = diskOf(root.path);
    vi.spyOn(diskOf(root.path), 'mkdir').mockImplementation(async (path, mode) => {
      await mkdir(path, mode);
      if (!path.endsWith('/a')) return;
      await fs.rmdir(root.join('a'));
      await fs.symlink(outside.path, root.join('a'));
    });
    expect((await localError(makeDirectory(root.path, 'a/b/c'))).code).toBe('OUTSIDE');
    expect(readdirSync(outside.path)).toEqual([]);
  });

  it('a file in its place is told', async () => {
    await put('f');
    for (const path of ['f', 'f/d', 'f/d/e']) {
      expect(await localError(makeDirectory(root.path, path))).toMatchObject({
        code: 'EISDIR',
        message: 'f is a file here, where a directory has to be.',
      });
    }
  });

  it.each(['', '.', '..', 'a/..', '../a'])('%j is none below the root', async (path) => {
    await put('a/f');
    const made = makeDirectory(root.path, path);
    // The root itself is there.
    if (path === '') await made;
    else expect((await localError(made)).code).toBe('OUTSIDE');
    expect(readdirSync(root.path)).toEqual(['a']);
  });
});

describe('removeDirectory', () => {
  it('takes an empty one away, whether or not its path ends with a slash', async () => {
    await makeDirectory(root.path, 'a/b/c');
    expect(await removeDirectory(root.path, 'a/b/c/')).toBe('removed');
    expect(await removeDirectory(root.path, 'a/b')).toBe('removed');
    expect(readdirSync(root.path)).toEqual(['a']);
  });

  it('one that is gone counts as removed, also with those above it', async () => {
    for (const path of ['a', 'a/b/c/']) expect(await removeDirectory(root.path, path)).toBe('removed');
  });

  it.each(['file', 'directory', 'link'])('one that holds a %s stays', async (what) => {
    await makeDirectory(root.path, 'd');
    if (what === 'file') await put('d/f');
    if (what === 'directory') await makeDirectory(root.path, 'd/e');
    if (what === 'link') await fs.symlink('nowhere', root.join('d/link'));
    expect(await removeDirectory(root.path, 'd/')).toBe('not-empty');
    expect(readdirSync(root.join('d'))).toHaveLength(1);
  });

  it('is no way to be rid of links and files, nor of the root', async () => {
    await put('f');
    await fs.mkdir(outside.join('empty'));
    await fs.symlink(outside.join('empty'), root.join('link'));
    await fs.symlink(outside.path, root.join('way'));
    expect((await localError(removeDirectory(root.path, 'link'))).code).toBe('OUTSIDE');
    expect((await localError(removeDirectory(root.path, 'way/empty'))).code).toBe('OUTSIDE');
    expect((await localError(removeDirectory(root.path, 'f'))).code).toBe('ENOTDIR');
    for (const path of ['', '.', '..', '/'])
      expect((await localError(removeDirectory(root.path, path))).code, path).toBe('OUTSIDE');
    expect(readdirSync(root.path).sort()).toEqual(['f', 'link', 'way']);
    expect(readdirSync(outside.path)).toEqual(['empty']);
  });
});
