/*
 * What the Remote contract says of symbolic links, as a suite of tests for every remote that knows them. A link is put
 * there from behind, or made through the contract and looked at from behind: nobody ever follows one.
 */
import { describe, expect, test } from 'vitest';
import { temporaryName } from '../../src/plan/temporary.js';
import { AsideTaken, LinkImpossible, MoveRefused, type RemoteLinks } from '../../src/remote/remote.js';
import { type BackedBerth, type Berth, backed, deliveryOf, sourceOf } from './contract.js';

const TEXTS = [
  'one',
  './one',
  '../../../far/above',
  '/absolute/path',
  'not there',
  'with a space and ümläut',
  'a -> b',
  'slashes//and/./dots/',
  '.',
  'x'.repeat(200),
] as const;

/** What a kind of server cannot do. */
export interface LinkTraits {
  /** `none`: it makes none. `absolute`: it tells of each link where it leads from the root, and so none can be kept. */
  readonly links?: 'none' | 'absolute';
}

/** @param openBerth remotes that know links */
export function keptLinks(
  name: string,
  openBerth: () => Promise<Berth | BackedBerth>,
  traits: LinkTraits = {},
): void {
  const keeps = traits.links === undefined;
  const tellsTexts = traits.links !== 'absolute';
  const open = async (): Promise<BackedBerth & { readonly links: RemoteLinks }> => {
    const berth = backed(await openBerth());
    const { links } = berth.remote;
    if (links === undefined) throw new Error(`${name} has no links`);
    return {
      remote: berth.remote,
      back: berth.back,
      links,
      [Symbol.asyncDispose]: () => berth[Symbol.asyncDispose](),
    };
  };
  let tokens = 0;
  const temporary = (path: string): string => {
    tokens += 1;
    return temporaryName(path, `link${tokens}`, 'hidden');
  };

  describe(`${name}: links`, () => {
    if (tellsTexts)
      test('are read as they are, and all else is none', async () => {
        await using berth = await open();
        await berth.back.write(new Map([['file', 'x']]));
        await berth.back.makeDirectory('directory');
        await berth.back.link('link', '../some where/else');
        const { read } = berth.links;
        expect(await read('link')).toBe('../some where/else');
        for (const path of ['file', 'directory', 'nothing', 'nowhere/link'])
          expect(await read(path)).toBeUndefined();
        expect(await berth.remote.stat('link')).toBeUndefined();
      });

    if (tellsTexts)
      test('are listed with what they lead to where that is asked for, and are never followed', async () => {
        await using berth = await open();
        await berth.back.write(new Map([['d/file', 'x']]));
        await berth.back.link('to-directory', 'd');
        await berth.back.link('to-nothing', 'nothing');
        const { files, directories, links, others } = await berth.remote.list('', { links: 'told' });
        expect({ files, directories, others }).toEqual({ files: [], directories: ['d'], others: [] });
        expect([...(links ?? [])].sort((a, b) => a.path.localeCompare(b.path))).toEqual([
          { path: 'to-directory', leadsTo: 'd' },
          { path: 'to-nothing', leadsTo: 'nothing' },
        ]);
        const unasked = await berth.remote.list('');
        expect(unasked.links ?? []).toEqual([]);
        expect([...unasked.others].sort()).toEqual(['to-directory', 'to-nothing']);
      });

    if (keeps)
      test('are made with their text kept, in directories that are not there yet', async () => {
        await using berth = await open();
        for (const [n, leadsTo] of TEXTS.entries()) {
          const path = `new/${n}/link`;
          const made = await berth.links.make({ path, temporary: temporary(path), leadsTo });
          expect(made).toEqual({ setAside: false });
          expect(await berth.links.read(path)).toBe(leadsTo);
        }
        expect(await berth.back.files()).toEqual(TEXTS.map((_, n) => `new/${n}/link`).sort());
      });

    if (keeps)
      test('take the place of a file or of another link, which is kept where that is wanted', async () => {
        await using berth = await open();
        await berth.back.write(
          new Map([
            ['file', 'x'],
            ['kept-file', 'y'],
            ['led-to', 'z'],
          ]),
        );
        await berth.back.link('link', 'led-to');
        await berth.back.link('kept-link', 'led-to');
        for (const path of ['file', 'link']) {
          expect(await berth.links.make({ path, temporary: temporary(path), leadsTo: 'new' })).toEqual({
            setAside: false,
          });
        }
        for (const path of ['kept-file', 'kept-link']) {
          const aside = `trash/d/${path}`;
          expect(await berth.links.make({ path, temporary: temporary(path), leadsTo: 'new', aside })).toEqual(
            {
              setAside: true,
            },
          );
        }
        for (const path of ['file', 'link', 'kept-file', 'kept-link'])
          expect(await berth.links.read(path)).toBe('new');
        expect((await berth.back.read('trash/d/kept-file')).toString()).toBe('y');
        expect(await berth.links.read('trash/d/kept-link')).toBe('led-to');
        expect((await berth.back.read('led-to')).toString()).toBe('z');
        expect((await berth.back.files()).filter((path) => path.includes('.part'))).toEqual([]);
      });

    if (keeps)
      test('do not take the place of a directory, nor of what is to be kept where something stands', async () => {
        await using berth = await open();
        await berth.back.write(
          new Map([
            ['d/file', 'x'],
            ['old', 'y'],
            ['taken', 'z'],
          ]),
        );
        const { make } = berth.links;
        await expect(make({ path: 'd', temporary: temporary('d'), leadsTo: 'new' })).rejects.toThrow();
        const aside = { path: 'old', temporary: temporary('old'), leadsTo: 'new', aside: 'taken' };
        await expect(make(aside)).rejects.toBeInstanceOf(AsideTaken);
        expect((await berth.back.read('d/file')).toString()).toBe('x');
        expect((await berth.back.read('old')).toString()).toBe('y');
        expect((await berth.back.read('taken')).toString()).toBe('z');
      });

    if (!keeps)
      test('are not made, which is told, and nothing is left', async () => {
        await using berth = await open();
        const path = 'd/link';
        const making = { path, temporary: temporary(path), leadsTo: '/ferryd-no-such-place' };
        await expect(berth.links.make(making)).rejects.toBeInstanceOf(LinkImpossible);
        await berth.remote.remove(making.temporary);
        expect(await berth.back.files()).toEqual([]);
      });

    if (!tellsTexts)
      test('are not moved, and what they lead to stays', async () => {
        await using berth = await open();
        await berth.back.write(new Map([['target', 'x']]));
        await berth.back.link('link', 'target');
        await expect(berth.remote.move('link', 'moved')).rejects.toBeInstanceOf(MoveRefused);
        await expect(
          berth.remote.deliver({ ...deliveryOf('link', sourceOf('new')), aside: 'trash/link' }),
        ).rejects.toBeInstanceOf(MoveRefused);
        expect((await berth.back.read('target')).toString()).toBe('x');
        await berth.remote.remove('link');
        expect((await berth.back.files()).filter((path) => !path.includes('.part'))).toEqual(['target']);
      });

    if (tellsTexts)
      test('are replaced, moved and removed themselves, and what they lead to stays', async () => {
        await using berth = await open();
        await berth.back.write(new Map([['target', 'x']]));
        for (const path of ['a', 'b', 'c', 'd']) await berth.back.link(path, 'target');
        await berth.remote.deliver(deliveryOf('a', sourceOf('now a file')));
        await berth.remote.deliver({ ...deliveryOf('b', sourceOf('now a file')), aside: 'trash/b' });
        expect(await berth.remote.move('c', 'moved/c')).toBe('moved');
        await berth.remote.remove('d');
        expect((await berth.back.read('a')).toString()).toBe('now a file');
        expect((await berth.back.read('b')).toString()).toBe('now a file');
        for (const path of ['trash/b', 'moved/c']) expect(await berth.links.read(path)).toBe('target');
        expect((await berth.back.read('target')).toString()).toBe('x');
        expect(await berth.back.files()).toEqual(['a', 'b', 'moved/c', 'target', 'trash/b']);
      });
  });
}
