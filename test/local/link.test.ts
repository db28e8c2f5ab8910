/* Links as what they are: told by the walk, put in their place in one step, moved, kept and taken away themselves. */
import { promises as fs, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { discardLink, type LinkPlacing, placeLink } from '../../src/local/link.js';
import { moveFile, removeFile } from '../../src/local/tree.js';
import { liesAt, type Sight, standsAt, walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { describeMounted, mounted } from './mounted.js';
import { localError, openBelow, sightsOf } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('link');
});
afterEach(async () => {
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

const TEMPORARY = '.ferryd-0123456789abcdef.part';

function place(path: string, leadsTo: string, other: Partial<LinkPlacing> = {}): Promise<boolean> {
  const directory = path.slice(0, path.lastIndexOf('/') + 1);
  return placeLink({
    root: root.path,
    path,
    temporary: `${directory}${TEMPORARY}`,
    leadsTo,
    aside: undefined,
    ...other,
  });
}

async function sights(wants: (path: string) => boolean = () => true): Promise<Sight[]> {
  return sightsOf(walk(root.path, { wants, links: 'preserve', twins: 'told' }));
}

describe('the walk', () => {
  it('tells links with their text, in their order, and does not go behind them', async () => {
    await fs.mkdir(root.join('d'));
    await fs.writeFile(root.join('d/f'), 'x');
    await fs.symlink('d', root.join('d-'));
    await fs.symlink('/nowhere/at all', root.join('d/l'));
    await fs.symlink('e', root.join('e'));
    expect(await sights()).toMatchObject([
      { kind: 'link', link: { path: 'd-', leadsTo: 'd' } },
      { kind: 'file', file: { path: 'd/f' } },
      { kind: 'link', link: { path: 'd/l', leadsTo: '/nowhere/at all' } },
      { kind: 'link', link: { path: 'e', leadsTo: 'e' } },
    ]);
  });

  it('leaves out what is not wanted, tells twins, and what no name can be of', async () => {
    await fs.symlink('x', root.join('no'));
    await fs.symlink('x', root.join('Twin'));
    await fs.writeFile(root.join('twin'), '');
    await fs.symlink('x', root.join('a\nb'));
    await fs.symlink(Buffer.from([0xff]), root.join('z'));
    expect(await sights((path) => path !== 'no')).toMatchObject([
      { kind: 'link', link: { path: 'Twin' }, twin: 'case' },
      { kind: 'unfit', path: 'a\nb', code: 'name' },
      { kind: 'file', twin: 'case' },
      { kind: 'unfit', path: 'z', code: 'link-text' },
    ]);
  });
});

describe('liesAt', () => {
  it('tells a link; to standsAt it is something else', async () => {
    await fs.symlink('x', root.join('l'));
    expect(await liesAt(root.path, 'l')).toEqual({ path: 'l', leadsTo: 'x' });
    expect(await standsAt(root.path, 'l')).toBe('other');
    expect(await liesAt(root.path, 'no/l')).toBe('nothing');
  });
});

describe('placeLink', () => {
  it('makes directories, and puts the link there in one step', async () => {
    expect(await place('a/b/l', '../../x')).toBe(false);
    expect(readlinkSync(root.join('a/b/l'))).toBe('../../x');
    expect(readdirSync(root.join('a/b'))).toEqual(['l']);
  });

  it('replaces a file or a link, and keeps it where that is wanted', async () => {
    await fs.writeFile(root.join('f'), 'file');
    await place('f', 'x');
    expect(readlinkSync(root.join('f'))).toBe('x');
    expect(await place('f', 'y', { aside: 'trash/d/f' })).toBe(true);
    expect(readlinkSync(root.join('f'))).toBe('y');
    expect(readlinkSync(root.join('trash/d/f'))).toBe('x');
    await fs.writeFile(root.join('g'), 'file');
    expect(await place('g', 'y', { aside: 'trash/g' })).toBe(true);
    expect(await fs.readFile(root.join('trash/g'), 'utf8')).toBe('file');
    expect(await place('new', 'y', { aside: 'trash/new' })).toBe(false);
    expect(readdirSync(root.path).sort()).toEqual(['f', 'g', 'new', 'trash']);
  });

  it('leaves a directory, and what stands where the old one should be kept', async () => {
    await fs.mkdir(root.join('d'));
    expect(await localError(place('d', 'x'))).toMatchObject({ code: 'EISDIR' });
    await fs.writeFile(root.join('f'), 'file');
    await fs.writeFile(root.join('taken'), 'x');
    expect(await localError(place('f', 'x', { aside: 'taken' }))).toMatchObject({ code: 'ASIDE' });
    expect(await fs.readFile(root.join('f'), 'utf8')).toBe('file');
    expect(readdirSync(root.path).sort()).toEqual(['d', 'f', 'taken']);
  });

  it('puts nothing behind a link', async () => {
    await fs.mkdir(root.join('d'));
    await fs.symlink('d', root.join('l'));
    expect(await localError(place('l/x', 'y'))).toMatchObject({ code: 'OUTSIDE' });
    expect(readdirSync(root.join('d'))).toEqual([]);
  });
});

describe('a link that was seen', () => {
  it('is moved and removed as long as it has the same text, and what it leads to stays', async () => {
    await fs.writeFile(root.join('f'), 'x');
    await fs.symlink('f', root.join('l'));
    expect(await moveFile(root.path, 'l', 'd/m', { leadsTo: 'other' })).toBe('changed');
    expect(await moveFile(root.path, 'f', 'd/m', { leadsTo: 'f' })).toBe('changed');
    expect(await moveFile(root.path, 'l', 'd/m', { leadsTo: 'f' })).toBe('moved');
    expect(await removeFile(root.path, 'd/m', { leadsTo: 'other' })).toBe('changed');
    expect(await removeFile(root.path, 'd/m', { leadsTo: 'f' })).toBe('removed');
    expect(await removeFile(root.path, 'd/m', { leadsTo: 'f' })).toBe('missing');
    expect(await fs.readFile(root.join('f'), 'utf8')).toBe('x');
  });

  it('discardLink takes away a link and nothing else', async () => {
    await fs.writeFile(root.join('f'), 'x');
    await fs.symlink('f', root.join('l'));
    for (const path of ['f', 'l', 'none', 'no/l', 'l/x']) await discardLink(root.path, path);
    expect(readdirSync(root.path)).toEqual(['f']);
  });
});

describeMounted('where another disk is mounted', () => {
  it('a link is moved there, and kept there when it is replaced', async () => {
    await fs.mkdir(root.join('disk'));
    using _disk = mounted('tmpfs', root.join('disk'));
    await fs.symlink('x', root.join('l'));
    await fs.symlink('y', root.join('m'));
    expect(lstatSync(root.join('disk')).dev).not.toBe(lstatSync(root.path).dev);
    expect(await moveFile(root.path, 'l', 'disk/l', { leadsTo: 'x' })).toBe('moved');
    expect(readlinkSync(root.join('disk/l'))).toBe('x');
    expect(await place('m', 'z', { aside: 'disk/m' })).toBe(true);
    expect(readlinkSync(root.join('disk/m'))).toBe('y');
    expect(readlinkSync(root.join('m'))).toBe('z');
    expect(readdirSync(root.path).sort()).toEqual(['disk', 'm']);
  });
});
