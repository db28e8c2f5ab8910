/*
 * The Remote contract as a suite of tests, run against every transport and every kind of server there is. It looks at
 * the remote through its contract, and at the server's disk from behind, and knows nothing of what lies between.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryName } from '../../src/plan/temporary.js';
import type { Delivery, Remote, Source } from '../../src/remote/remote.js';

/** A remote to be tested, and what is behind it. */
export interface Berth extends AsyncDisposable {
  readonly remote: Remote;
  /** The directory on this machine's disk that is the remote's root. */
  readonly disk: string;
}

/** What a kind of server cannot do; everything that is not said it can. */
export interface Traits {
  /** `none`: modification times can neither be set nor asked for. `asked`: they can be asked for only. */
  readonly times?: 'none' | 'asked';
  /** `altered`: it stores some odd names under other names. `no-globs`: no directory may have `*` or `?` in its name. */
  readonly names?: 'altered' | 'no-globs';
  /** `unseen`: its listings show links as if they were files. */
  readonly links?: 'unseen';
}

export const someTimeMs = Date.UTC(2021, 2, 4, 5, 6, 7);

/** A source from memory; `fails` throws after half of the bytes, `changes` when it is asked to confirm. */
export function sourceOf(
  content: Buffer | string,
  options: {
    readonly modifiedMs?: number;
    readonly trouble?: { readonly fails?: Error; readonly changes?: Error };
  } = {},
): Source {
  const bytes = Buffer.from(content);
  const { fails, changes } = options.trouble ?? {};
  return {
    sizeBytes: bytes.length,
    modifiedMs: options.modifiedMs ?? someTimeMs,
    async *chunks() {
      const end = fails === undefined ? bytes.length : Math.floor(bytes.length / 2);
      for (let from = 0; from < end; from += 1024 * 1024)
        yield bytes.subarray(from, Math.min(end, from + 1024 * 1024));
      if (fails !== undefined) throw fails;
    },
    async confirm() {
      if (changes !== undefined) throw changes;
      return sha256(bytes);
    },
  };
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

let tokens = 0;

/** A delivery with a temporary name of its own. */
export function deliveryOf(path: string, source: Source): Delivery {
  tokens += 1;
  return { path, temporary: temporaryName(path, `test${tokens}`), source };
}

/** All files below a directory, relative to it, sorted. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

const oddNames = [
  'a b.txt',
  ' leading and trailing ',
  '-rf',
  '--help',
  '~',
  '~root',
  '[brackets]{braces}',
  '"double" and \'single\'',
  '%20 %n %',
  '#hash',
  '*?',
  '$HOME `id` ;|&',
  'a -> b',
  'Füße Übung.txt',
  'e\u0301 decomposed',
  '日本語.txt',
  '🚢.tar.gz',
  '...',
  '.hidden',
  'x'.repeat(255),
  'ü'.repeat(127),
];

/** Runs the contract's tests. Each opens a berth of its own, empty, and leaves nothing behind. */
export function remoteContract(name: string, open: () => Promise<Berth>, traits: Traits = {}): void {
  const setsTimes = traits.times === undefined;
  const tellsTimes = traits.times !== 'none';
  const exactNames = traits.names !== 'altered';

  describe(`${name}: deliver`, () => {
    const contents: Readonly<Record<string, Buffer>> = {
      'a few bytes': Buffer.from('hello\r\nworld\n\0\xff', 'latin1'),
      nothing: Buffer.alloc(0),
      '5 MB': randomBytes(5_000_000),
    };

    test.each(Object.keys(contents))('a new file: %s', async (what) => {
      const content = contents[what] ?? Buffer.alloc(0);
      await using berth = await open();
      const delivered = await berth.remote.deliver(deliveryOf('file.bin', sourceOf(content)));
      expect(delivered).toEqual({
        bytes: content.length,
        sha256: sha256(content),
        modifiedMs: setsTimes ? someTimeMs : undefined,
      });
      expect(await filesBelow(berth.disk)).toEqual(['file.bin']);
      expect(sha256(await readFile(join(berth.disk, 'file.bin')))).toBe(sha256(content));
      if (setsTimes) expect((await stat(join(berth.disk, 'file.bin'))).mtimeMs).toBe(someTimeMs);
    });

    test('the size is proven and the time is set: both are read back by stat', async () => {
      await using berth = await open();
      await berth.remote.deliver(deliveryOf('file', sourceOf('12345', { modifiedMs: someTimeMs + 999.5 })));
      const found = await berth.remote.stat('file');
      expect(found).toMatchObject({ path: 'file', sizeBytes: 5 });
      if (setsTimes) expect(found?.modifiedMs).toBe(someTimeMs);
    });

    test('over a file that is there', async () => {
      await using berth = await open();
      await writeFile(join(berth.disk, 'file'), 'the old content, which is longer');
      await berth.remote.deliver(deliveryOf('file', sourceOf('new')));
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('new');
      await berth.remote.deliver(deliveryOf('file', sourceOf('newer still')));
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('newer still');
      expect(await filesBelow(berth.disk)).toEqual(['file']);
    });

    test('over what an earlier attempt left under the same temporary name', async () => {
      await using berth = await open();
      const delivery = deliveryOf('file', sourceOf('short'));
      await writeFile(join(berth.disk, delivery.temporary), 'a part that is longer than the file');
      await berth.remote.deliver(delivery);
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('short');
      expect(await filesBelow(berth.disk)).toEqual(['file']);
    });

    test('into directories that are missing', async () => {
      await using berth = await open();
      await berth.remote.deliver(deliveryOf('a/b c/d/e/file', sourceOf('deep')));
      await berth.remote.deliver(deliveryOf('a/b c/other/file', sourceOf('beside')));
      expect(await readFile(join(berth.disk, 'a/b c/d/e/file'), 'utf8')).toBe('deep');
      expect(await filesBelow(berth.disk)).toEqual(['a/b c/d/e/file', 'a/b c/other/file']);
    });

    test('many at once into one new directory', async () => {
      await using berth = await open();
      const paths = Array.from(
        { length: 12 },
        (_, place) => `new/sub/file-${String(place).padStart(2, '0')}`,
      );
      await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path)))));
      expect(await filesBelow(berth.disk)).toEqual(paths);
      for (const path of paths) expect(await readFile(join(berth.disk, path), 'utf8')).toBe(path);
    });

    test('odd names, as files and as directories', async () => {
      await using berth = await open();
      for (const odd of oddNames) {
        await berth.remote.deliver(deliveryOf(odd, sourceOf(odd)));
        const found = await berth.remote.stat(odd);
        expect(found, odd).toMatchObject({ path: odd, sizeBytes: Buffer.byteLength(odd) });
      }
      const directories =
        traits.names === 'no-globs' ? oddNames.filter((odd) => !/[*?]/.test(odd)) : oddNames;
      const below = directories.map((odd) => `d${odd.slice(0, 100)}/${odd}`);
      for (const path of below) {
        await berth.remote.deliver(deliveryOf(path, sourceOf('below')));
        expect((await berth.remote.stat(path))?.sizeBytes, path).toBe(5);
      }
      if (!exactNames) return;
      expect(await filesBelow(berth.disk)).toEqual([...oddNames, ...below].sort());
      const { files, complete } = await berth.remote.list('');
      expect(files.map(({ path }) => path).sort()).toEqual([...oddNames].sort());
      expect(complete).toBe(true);
      for (const path of below) await berth.remote.remove(path);
      expect(await filesBelow(berth.disk)).toEqual([...oddNames].sort());
    });
  });

  describe(`${name}: a delivery that fails`, () => {
    const reason = new Error('the disk is gone');

    test.each([
      ['in the middle of the source', { fails: reason }],
      ['when the source has changed', { changes: reason }],
    ])('%s: the final name is as it was', async (_when, trouble) => {
      await using berth = await open();
      await writeFile(join(berth.disk, 'old'), 'as it was');
      for (const path of ['old', 'new', 'sub/new']) {
        const source = sourceOf(randomBytes(3_000_000), { trouble });
        await expect(berth.remote.deliver(deliveryOf(path, source))).rejects.toBe(reason);
      }
      expect(await readFile(join(berth.disk, 'old'), 'utf8')).toBe('as it was');
      const left = (await filesBelow(berth.disk)).filter((path) => path !== 'old');
      // A part may stand under the temporary name, and only there.
      for (const path of left) expect(path).toMatch(/(^|\/)\.ferryd-test\d+\.part$/);
    });

    test('aborted: before, and in the middle', async () => {
      await using berth = await open();
      const early = AbortSignal.abort(reason);
      await expect(berth.remote.deliver(deliveryOf('a', sourceOf('x')), { signal: early })).rejects.toThrow();
      expect(await filesBelow(berth.disk)).toEqual([]);

      const controller = new AbortController();
      const source = sourceOf(randomBytes(5_000_000));
      async function* chunks(): AsyncGenerator<Buffer> {
        for await (const chunk of source.chunks()) {
          yield chunk;
          controller.abort(reason);
        }
      }
      const delivery = deliveryOf('a', { ...source, chunks });
      await expect(berth.remote.deliver(delivery, { signal: controller.signal })).rejects.toThrow();
      expect((await filesBelow(berth.disk)).filter((path) => path !== delivery.temporary)).toEqual([]);
      // And the remote goes on working.
      await berth.remote.deliver(deliveryOf('b', sourceOf('whole')));
      expect(await readFile(join(berth.disk, 'b'), 'utf8')).toBe('whole');
    });

    test('what stood where a directory is needed is not harmed', async () => {
      await using berth = await open();
      await writeFile(join(berth.disk, 'file'), 'a file');
      await expect(berth.remote.deliver(deliveryOf('file/below', sourceOf('x')))).rejects.toThrow();
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('a file');
    });
  });

  describe(`${name}: publish`, () => {
    test.each(['new', 'over a file that is there'])('%s', async (what) => {
      await using berth = await open();
      await writeFile(join(berth.disk, '.ferryd-1.part'), 'whole');
      if (what !== 'new') await writeFile(join(berth.disk, 'file'), 'old');
      const modifiedMs = await berth.remote.publish({
        path: 'file',
        temporary: '.ferryd-1.part',
        modifiedMs: someTimeMs + 0.25,
      });
      expect(modifiedMs).toBe(setsTimes ? someTimeMs : undefined);
      expect(await filesBelow(berth.disk)).toEqual(['file']);
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('whole');
      if (setsTimes) expect((await stat(join(berth.disk, 'file'))).mtimeMs).toBe(someTimeMs);
    });

    test('a temporary name that is not there is an error, and harms nothing', async () => {
      await using berth = await open();
      await writeFile(join(berth.disk, 'file'), 'old');
      const file = { path: 'file', temporary: '.ferryd-1.part', modifiedMs: someTimeMs };
      await expect(berth.remote.publish(file)).rejects.toThrow();
      expect(await filesBelow(berth.disk)).toEqual(['file']);
      expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('old');
    });
  });

  describe(`${name}: fetch`, () => {
    test.each([0, 1, 5_000_000])('%i bytes', async (sizeBytes) => {
      await using berth = await open();
      const content = randomBytes(sizeBytes);
      await put(berth, 'sub/a file', content);
      const chunks: Buffer[] = [];
      expect(
        await berth.remote.fetch('sub/a file', async (chunk) => void chunks.push(Buffer.from(chunk))),
      ).toBe(sizeBytes);
      expect(sha256(Buffer.concat(chunks))).toBe(sha256(content));
    });

    test('what is not there', async () => {
      await using berth = await open();
      await expect(berth.remote.fetch('missing', async () => {})).rejects.toThrow(/550|450|No such/);
    });

    test('a sink that fails, and then another that does not', async () => {
      await using berth = await open();
      await put(berth, 'file', randomBytes(3_000_000));
      const reason = new Error('no space here');
      await expect(berth.remote.fetch('file', () => Promise.reject(reason))).rejects.toBe(reason);
      expect(await berth.remote.fetch('file', async () => {})).toBe(3_000_000);
    });
  });

  describe(`${name}: stat`, () => {
    test('a file, and what is none', async () => {
      await using berth = await open();
      await put(berth, 'sub/file', 'content');
      const found = await berth.remote.stat('sub/file');
      expect(found).toEqual({
        path: 'sub/file',
        sizeBytes: 7,
        modifiedMs: tellsTimes ? someTimeMs : undefined,
      });
      expect(await berth.remote.stat('sub/missing')).toBeUndefined();
      expect(await berth.remote.stat('sub')).toBeUndefined();
    });

    test('a file in a directory that is not there', async () => {
      await using berth = await open();
      // It may also be refused; it must not be made up.
      const found = await berth.remote.stat('nowhere/file').catch(() => undefined);
      expect(found).toBeUndefined();
    });
  });

  describe(`${name}: list`, () => {
    test('files, directories and the rest, of one directory only', async () => {
      await using berth = await open();
      await put(berth, 'one', '1');
      await put(berth, '.two', '22');
      await put(berth, 'a dir/three', '333');
      await put(berth, 'a dir/below/four', '4444');
      if (traits.links === undefined) await symlink('one', join(berth.disk, 'link'));
      const root = await berth.remote.list('');
      const time = tellsTimes ? someTimeMs : undefined;
      expect([...root.files].sort((a, b) => a.sizeBytes - b.sizeBytes)).toEqual([
        { path: 'one', sizeBytes: 1, modifiedMs: time },
        { path: '.two', sizeBytes: 2, modifiedMs: time },
      ]);
      expect(root.directories).toEqual(['a dir']);
      expect(root.others).toEqual(traits.links === undefined ? ['link'] : []);
      expect(root.complete).toBe(true);
      const below = await berth.remote.list('a dir');
      expect(below.files).toEqual([{ path: 'a dir/three', sizeBytes: 3, modifiedMs: time }]);
      expect(below.directories).toEqual(['a dir/below']);
      expect(below.complete).toBe(true);
      // After listings the paths still mean what they meant.
      expect((await berth.remote.stat('a dir/below/four'))?.sizeBytes).toBe(4);
      await berth.remote.deliver(deliveryOf('five', sourceOf('55555')));
      expect(await readFile(join(berth.disk, 'five'), 'utf8')).toBe('55555');
    });

    test('an empty directory is empty, and a missing one is an error', async () => {
      await using berth = await open();
      await mkdir(join(berth.disk, 'empty'));
      expect(await berth.remote.list('empty')).toEqual({
        files: [],
        directories: [],
        others: [],
        complete: true,
      });
      await expect(berth.remote.list('missing')).rejects.toThrow();
    });

    test('many files', async () => {
      await using berth = await open();
      const paths = Array.from({ length: 250 }, (_, place) => `many/file-${String(place).padStart(3, '0')}`);
      await Promise.all(paths.map((path) => put(berth, path, path)));
      const { files, complete } = await berth.remote.list('many');
      expect(files.map(({ path }) => path).sort()).toEqual(paths);
      expect(files.every(({ modifiedMs }) => modifiedMs === (tellsTimes ? someTimeMs : undefined))).toBe(
        true,
      );
      expect(complete).toBe(true);
    });
  });

  describe(`${name}: remove`, () => {
    test('once, twice, and what never was', async () => {
      await using berth = await open();
      await put(berth, 'sub/file', 'x');
      await berth.remote.remove('sub/file');
      expect(await filesBelow(berth.disk)).toEqual([]);
      await berth.remote.remove('sub/file');
      await berth.remote.remove('never');
    });
  });
}

async function put(berth: Berth, path: string, content: Buffer | string): Promise<void> {
  const full = join(berth.disk, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, content);
  await utimes(full, someTimeMs / 1000, someTimeMs / 1000);
}
