import { execFileSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Links } from '../../src/local/links.js';
import { diskOf } from '../../src/local/mounts.js';
import { LocalSource } from '../../src/local/source.js';
import { lookAt, openRoot, type Sight, walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { localError, openBelow, pathOf, sightsOf, systemError } from './support.js';

let place: TemporaryDirectory;
let root: string;
beforeEach(async () => {
  place = await temporaryDirectory('links');
  await fs.mkdir(place.join('root'));
  root = await openRoot(place.join('root'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(openBelow(place.path)).toEqual([]);
  await place.remove();
});

async function put(path: string, content = path): Promise<void> {
  await fs.mkdir(`${root}/${path.split('/').slice(0, -1).join('/')}`, { recursive: true });
  await fs.writeFile(`${root}/${path}`, content);
}

const link = (target: string, path: string): Promise<void> => fs.symlink(target, `${root}/${path}`);

async function sights(wants: (path: string) => boolean = () => true): Promise<Sight[]> {
  return sightsOf(walk(root, { wants, links: 'follow' }));
}

/** One line a sight: a file and where it lies, or what is told of it. */
async function lines(wants?: (path: string) => boolean): Promise<string[]> {
  return (await sights(wants)).map((sight) => {
    if (sight.kind !== 'file')
      return `${sight.kind} ${pathOf(sight)}${'code' in sight ? ` ${sight.code}` : ''}`;
    return sight.file.at === undefined ? sight.file.path : `${sight.file.path} -> ${sight.file.at}`;
  });
}

describe('links that are followed', () => {
  it('to a file, to a directory, to another link, absolute or relative', async () => {
    await put('real/file');
    await put('real/below/deep');
    await link('real/file', 'to-file');
    await link(`${root}/real`, 'to-directory');
    await link('to-file', 'to-link');
    await link('../real/file', 'real/sibling');
    expect(await lines()).toEqual([
      'real/below/deep',
      'real/file',
      'real/sibling -> real/file',
      'to-directory/below/deep -> real/below/deep',
      'to-directory/file -> real/file',
      'to-directory/sibling -> real/file',
      'to-file -> real/file',
      'to-link -> real/file',
    ]);
  });

  it('come in the order of whole paths: a link to a directory is one', async () => {
    await put('real/x');
    await put('a-b');
    await put('a.b');
    await link('real', 'a');
    const paths = (await lines()).map((line) => line.split(' ')[0] ?? '');
    expect(paths).toEqual(['a-b', 'a.b', 'a/x', 'real/x']);
    expect(paths).toEqual([...paths].sort());
  });

  it('carry the measures of what they lead to, and can be opened', async () => {
    await put('real/file', 'content');
    await link('real', 'way');
    const found = (await sights()).find((sight) => sight.kind === 'file' && sight.file.at !== undefined);
    if (found?.kind !== 'file') throw new Error('no file was found behind the link');
    expect(found.file).toMatchObject({ path: 'way/file', at: 'real/file', sizeBytes: 7 });
    const source = await LocalSource.open(root, found.file);
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of source.chunks()) chunks.push(Buffer.from(chunk));
      expect(Buffer.concat(chunks).toString()).toBe('content');
      await source.confirm();
    } finally {
      await source.close();
    }
  });

  it('are judged by their own names: a link into what is left out goes along', async () => {
    await put('releases/5/app');
    await put('releases/4/app');
    await link('releases/5', 'current');
    await link('releases/4/app', 'unwanted');
    expect(await lines((path) => path !== 'releases/' && path !== 'unwanted')).toEqual([
      'current/app -> releases/5/app',
    ]);
  });

  it('a .ferryignore counts below a link too', async () => {
    await put('.ferryignore', '/real/\n');
    await put('real/.ferryignore', '*.tmp\n/only\n');
    for (const name of ['a', 'a.tmp', 'only', 'x/only']) await put(`real/${name}`);
    await link('real', 'way');
    const wants = (path: string): boolean => !path.endsWith('.ferryignore');
    expect(await lines(wants)).toEqual(['way/a -> real/a', 'way/x/only -> real/x/only']);
  });
});

describe('links that are not', () => {
  it('out of the root, in whatever disguise', async () => {
    await fs.mkdir(place.join('root-too'));
    await fs.writeFile(place.join('root-too/secret'), 'secret');
    await put('inside/file');
    await link('../root-too/secret', 'a-file');
    await link('../root-too', 'b-directory');
    await link('/', 'c-all');
    await link('inside/../../root-too', 'd-roundabout');
    await link('b-directory', 'e-second-hand');
    await link('..', 'f-above');
    const seen = await sights();
    expect(seen.map(pathOf)).toEqual([
      'a-file',
      'b-directory/',
      'c-all/',
      'd-roundabout/',
      'e-second-hand/',
      'f-above/',
      'inside/file',
    ]);
    for (const sight of seen.slice(0, 6)) {
      expect(sight).toMatchObject({ kind: 'unfit', code: 'link-outside' });
      expect('message' in sight && sight.message).toContain('leads out of the source');
    }
  });

  it('round in a circle: to itself, to a directory above, to each other', async () => {
    await put('d/file');
    await link('.', 'd/here');
    await link('..', 'd/up');
    await link('self', 'self');
    await put('p/x');
    await put('q/y');
    await link('../q', 'p/to-q');
    await link('../p', 'q/to-p');
    expect(await lines()).toEqual([
      'd/file',
      'ignored d/here/',
      'ignored d/up/',
      'ignored p/to-q/to-p/',
      'p/to-q/y -> q/y',
      'p/x',
      'ignored q/to-p/to-q/',
      'q/to-p/x -> p/x',
      'q/y',
      'unfit self link-broken',
    ]);
  });

  it('to nowhere, and to what has no content', async () => {
    execFileSync('mkfifo', [`${root}/pipe`]);
    await link('missing', 'broken');
    await link('pipe', 'to-pipe');
    expect(await lines()).toEqual([
      'unfit broken link-broken',
      'unfit pipe special-file',
      'unfit to-pipe special-file',
    ]);
  });

  it('that the job leaves out are not told', async () => {
    await link('missing', 'broken');
    await link('/etc', 'outside');
    await link('.', 'circle');
    expect(await lines((path) => !/^(broken|outside|circle)/.test(path))).toEqual([]);
  });

  it('that cannot be looked at: what lies there is unknown, not gone', async () => {
    await put('real');
    await link('real', 'way');
    const { realpath } = diskOf(root);
    vi.spyOn(diskOf(root), 'realpath').mockImplementation((path) => {
      if (path.endsWith('/way')) throw systemError('EACCES');
      return realpath(path);
    });
    expect(await lines()).toEqual(['real', 'unreadable way EACCES']);
  });

  it('that vanish before they are looked at are as if they had never been', async () => {
    await put('real');
    expect(await new Links(root).follow({ path: 'way', at: 'way', above: [] })).toEqual({ kind: 'gone' });
  });

  it('more of them than can be walked in a life: bounded, and told', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names) await put(`${name}/file`);
    for (const from of names)
      for (const to of names) if (from !== to) await link(`../${to}`, `${from}/${to}`);
    const links = new Links(root, 3);
    for (let i = 0; i < 2; i += 1) links.entered();
    const asked = { path: 'a/b', at: 'a/b', above: [] };
    expect(await links.follow(asked)).toMatchObject({ kind: 'target', at: 'b' });
    links.entered();
    expect(await links.follow(asked)).toMatchObject({ kind: 'refused', as: 'unreadable', code: 'links' });
    await link('a/file', 'to-file');
    expect(await links.follow({ path: 'to-file', at: 'to-file', above: [] })).toMatchObject({
      kind: 'target',
    });
    const entered = vi.spyOn(Links.prototype, 'entered');
    // Six directories that all lead to each other: every way through them once, and then it ends.
    const files = (await sights()).filter(({ kind }) => kind === 'file');
    expect(files.length).toBe(1 + 6 * (1 + 5 * (1 + 4 * (1 + 3 * (1 + 2 * (1 + 1))))));
    expect(entered).toHaveBeenCalledTimes(6 * 5 * (1 + 4 * (1 + 3 * (1 + 2 * (1 + 1)))));
  });
});

describe('what moves meanwhile', () => {
  it('a place that was swapped for a link out of the root is not read', async () => {
    await put('real/file', 'content');
    await fs.mkdir(place.join('elsewhere'));
    await fs.writeFile(place.join('elsewhere/file'), 'content');
    await link('real', 'way');
    const file = await lookAt(root, 'way/file', 'follow');
    if (file === undefined) throw new Error('nothing was found behind the link');
    await fs.rename(`${root}/real`, place.join('moved'));
    await fs.symlink(place.join('moved'), `${root}/real`);
    expect((await localError(LocalSource.open(root, file))).code).toBe('OUTSIDE');
  });

  it('a second look finds the same file through the same link, and nothing outside', async () => {
    await put('real/file');
    await link('real', 'way');
    await link('/etc', 'outside');
    expect(await lookAt(root, 'way/file', 'follow')).toMatchObject({ path: 'way/file', at: 'real/file' });
    expect(await lookAt(root, 'real/file', 'follow')).toEqual(await lookAt(root, 'real/file'));
    for (const path of ['way', 'outside/hostname', 'missing', 'way/missing']) {
      expect(await lookAt(root, path, 'follow')).toBeUndefined();
    }
    expect(await lookAt(root, 'way', 'skip')).toBeUndefined();
    vi.spyOn(diskOf(root), 'realpath').mockRejectedValue(systemError('EIO'));
    expect((await localError(lookAt(root, 'way/file', 'follow'))).code).toBe('EIO');
  });
});
