/*
 * The Remote contract as a suite of tests, run against every transport and every kind of server there is. It looks at
 * the remote through its contract, and at what it holds from behind, and knows nothing of what lies between.
 */
import { createHash, randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createHasher } from '../../src/local/hasher.js';
import type { Digest, HashAlgorithm } from '../../src/plan/digest.js';
import { temporaryName } from '../../src/plan/temporary.js';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { Delivery, Reading, Remote, Source } from '../../src/remote/remote.js';
import { type Back, DiskBack } from './back.js';

/** A remote to be tested, and what is behind it. */
export interface Berth extends AsyncDisposable {
  readonly remote: Remote;
  /** The directory on this machine's disk that is the remote's root. */
  readonly disk: string;
  /** Called once a test has put something on that disk itself: it belongs to the server then. */
  adopt?(): Promise<void>;
}

/** The same for a remote that keeps its files elsewhere than on a disk. */
export interface BackedBerth extends AsyncDisposable {
  readonly remote: Remote;
  /** What it holds, seen from behind. */
  readonly back: Back;
}

/** A berth with what is behind it. */
export function backed(berth: Berth | BackedBerth): BackedBerth {
  if ('back' in berth) return berth;
  return {
    remote: berth.remote,
    back: new DiskBack(berth.disk, async () => berth.adopt?.()),
    [Symbol.asyncDispose]: () => berth[Symbol.asyncDispose](),
  };
}

/** What a kind of server cannot do; everything that is not said it can. */
export interface Traits {
  /** `none`: modification times can neither be set nor asked for. `asked`: they can be asked for only. */
  readonly times?: 'none' | 'asked';
  /**
   * `altered`: it stores names that begin or end with a space under other names. `no-globs`: no directory may have
   * `*` or `?` in its name.
   */
  readonly names?: 'altered' | 'no-globs';
  /** `unseen`: its listings show links as if they were files. */
  readonly links?: 'unseen';
  /** `slow`: what only takes long there is left out. */
  readonly link?: 'slow';
  /** `none`: they cannot be set. `untold`: listings do not show them. */
  readonly permissions?: 'none' | 'untold';
  /** `made up`: a name that it cannot decode it lists under another one. */
  readonly unreadable?: 'made up';
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
  let also: Reading['also'];
  return {
    sizeBytes: bytes.length,
    modifiedMs: options.modifiedMs ?? someTimeMs,
    async *chunks({ fromByte = 0, also: wanted }: Reading = {}) {
      also = wanted;
      const end = fails === undefined ? bytes.length : Math.floor(bytes.length / 2);
      for (let from = fromByte; from < end; from += 1024 * 1024)
        yield bytes.subarray(from, Math.min(end, from + 1024 * 1024));
      if (fails !== undefined) throw fails;
    },
    async digestOf(sizeBytes, algorithm) {
      return digest(bytes.subarray(0, sizeBytes), algorithm);
    },
    async confirm() {
      if (changes !== undefined) throw changes;
      return { sha256: sha256(bytes), also: also === undefined ? undefined : digest(bytes, also) };
    },
  };
}

function digest(content: Buffer, algorithm: HashAlgorithm): string {
  const hasher = createHasher(algorithm);
  hasher.update(content);
  return hasher.digest();
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Whole seconds: just after the epoch, a leap day, hours that clocks skip or have twice, and after 2038. */
const someTimesMs = [
  1_000,
  Date.UTC(2000, 1, 29, 23, 59, 59),
  Date.UTC(2026, 2, 29, 1, 30),
  Date.UTC(2026, 9, 25, 1, 30),
  Date.UTC(2020, 11, 31, 23, 59, 59),
  Date.UTC(2040, 6, 1, 12),
];

/** Ten in each directory, every size up to some kB, each content its own, in the order of their names; some are larger. */
export function hundredFiles(): ReadonlyMap<string, Buffer> {
  return new Map(
    Array.from({ length: 100 }, (_, place) => {
      const sizeBytes = place % 25 === 24 ? 1_200_000 + place : place ** 2;
      return [`d${Math.floor(place / 10)}/file-${place % 10}`, randomBytes(sizeBytes)] as const;
    }),
  );
}

/** All bytes of a file on a remote. */
export async function fetched(remote: Remote, path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const sizeBytes = await remote.fetch(path, async (chunk) => void chunks.push(Buffer.from(chunk)));
  const content = Buffer.concat(chunks);
  expect(sizeBytes).toBe(content.length);
  return content;
}

let tokens = 0;

/** A delivery with a temporary name of its own. */
export function deliveryOf(path: string, source: Source): Delivery {
  tokens += 1;
  return { path, temporary: temporaryName(path, `test${tokens}`, 'hidden'), source, part: 'none' };
}

/** All files below a directory, relative to it, sorted. */
export async function filesBelow(directory: string): Promise<string[]> {
  return new DiskBack(directory).files();
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
export function remoteContract(
  name: string,
  openBerth: () => Promise<Berth | BackedBerth>,
  traits: Traits = {},
): void {
  const open = async (): Promise<BackedBerth> => backed(await openBerth());
  const setsTimes = traits.times === undefined;
  const tellsTimes = traits.times !== 'none';
  const names = traits.names === 'altered' ? oddNames.filter((odd) => odd.trim() === odd) : oddNames;
  const directoryNames = traits.names === 'no-globs' ? names.filter((odd) => !/[*?]/.test(odd)) : names;
  const timeOf = (ms: number): number | undefined => (tellsTimes ? ms : undefined);

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
        fromByte: 0,
        sha256: sha256(content),
        modifiedMs: setsTimes ? someTimeMs : undefined,
        setAside: false,
      });
      expect(await berth.back.files()).toEqual(['file.bin']);
      expect(sha256(await berth.back.read('file.bin'))).toBe(sha256(content));
      if (setsTimes) expect(await berth.back.modifiedMs('file.bin')).toBe(someTimeMs);
    });

    test('with permissions: they are set and listed, or the file comes without them', async () => {
      await using berth = await open();
      const permissions = [0o600, 0o751, 0o444, 0o4755] as const;
      const deliver = async (mode: number): Promise<void> => {
        const path = mode.toString(8);
        await berth.remote.deliver({ ...deliveryOf(path, sourceOf(path)), permissions: mode });
      };
      await Promise.all(permissions.map(deliver));
      // Over one that nobody may write any more.
      await deliver(0o444);
      const { files } = await berth.remote.list('');
      for (const mode of permissions) {
        const path = mode.toString(8);
        expect(await textOf(berth, path)).toBe(path);
        if (traits.permissions === 'none') continue;
        expect(await berth.back.permissions(path)).toBe(mode & 0o777);
        const listed = files.find((file) => file.path === path);
        expect(listed?.permissions).toBe(traits.permissions === 'untold' ? undefined : mode & 0o777);
      }
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
      await write(berth, 'file', 'the old content, which is longer');
      await berth.remote.deliver(deliveryOf('file', sourceOf('new')));
      expect(await textOf(berth, 'file')).toBe('new');
      await berth.remote.deliver(deliveryOf('file', sourceOf('newer still')));
      expect(await textOf(berth, 'file')).toBe('newer still');
      expect(await berth.back.files()).toEqual(['file']);
    });

    test('over what an earlier attempt left under the same temporary name', async () => {
      await using berth = await open();
      const delivery = deliveryOf('file', sourceOf('short'));
      await write(berth, delivery.temporary, 'a part that is longer than the file');
      await berth.remote.deliver(delivery);
      expect(await textOf(berth, 'file')).toBe('short');
      expect(await berth.back.files()).toEqual(['file']);
    });

    const large = randomBytes(3_000_000);

    test.each<[string, Buffer]>([
      ['a part that is right', large.subarray(0, 2_000_000)],
      ['all of it', large],
      ['nothing', Buffer.alloc(0)],
      ['a part with another byte', Buffer.concat([large.subarray(0, 1_999_999), Buffer.from([0x55])])],
      ['more than there is', Buffer.concat([large, Buffer.from('x')])],
      ['another content of the same size', Buffer.alloc(large.length)],
    ])('where an attempt that was cut off left %s, the file comes whole', async (_what, there) => {
      await using berth = await open();
      const delivery: Delivery = { ...deliveryOf('file', sourceOf(large)), part: 'possible' };
      await write(berth, delivery.temporary, there);
      const delivered = await berth.remote.deliver(delivery);
      expect(delivered).toMatchObject({ bytes: large.length, sha256: sha256(large) });
      expect(await berth.back.files()).toEqual(['file']);
      expect(sha256(await berth.back.read('file'))).toBe(sha256(large));
    });

    test('into directories that are missing', async () => {
      await using berth = await open();
      await berth.remote.deliver(deliveryOf('a/b c/d/e/file', sourceOf('deep')));
      await berth.remote.deliver(deliveryOf('a/b c/other/file', sourceOf('beside')));
      expect(await textOf(berth, 'a/b c/d/e/file')).toBe('deep');
      expect(await berth.back.files()).toEqual(['a/b c/d/e/file', 'a/b c/other/file']);
    });

    test('many at once into one new directory', async () => {
      await using berth = await open();
      const paths = Array.from(
        { length: 12 },
        (_, place) => `new/sub/file-${String(place).padStart(2, '0')}`,
      );
      await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path)))));
      expect(await berth.back.files()).toEqual(paths);
      for (const path of paths) expect(await textOf(berth, path)).toBe(path);
    });

    test('odd names, as files and as directories', async () => {
      await using berth = await open();
      const deliver = async (path: string): Promise<void> => {
        await berth.remote.deliver(deliveryOf(path, sourceOf(path)));
        const found = await berth.remote.stat(path);
        expect(found, path).toMatchObject({ path, sizeBytes: Buffer.byteLength(path) });
      };
      const directories = directoryNames.map((odd) => `d${odd.slice(0, 100)}`);
      const below = directoryNames.map((odd, place) => `${directories[place]}/${odd}`);
      await Promise.all([...names, ...below].map(deliver));
      expect(await berth.back.files()).toEqual([...names, ...below].sort());
      const root = await berth.remote.list('');
      expect(root.files.map(({ path }) => path).sort()).toEqual([...names].sort());
      expect([...root.directories].sort()).toEqual([...directories].sort());
      expect(root.complete).toBe(true);
      await Promise.all(below.map((path) => berth.remote.remove(path)));
      expect(await berth.back.files()).toEqual([...names].sort());
    });

    if (traits.names === 'altered')
      test('a name that the server alters is refused, and harms no other file', async () => {
        await using berth = await open();
        const alike = [
          [' both ', ' both_'],
          ['both ', 'both_'],
          ['sub/a\tb', 'sub/a_b'],
        ] as const;
        for (const [, other] of alike) await write(berth, other, 'other');
        for (const [altered, other] of alike) {
          await expect(berth.remote.deliver(deliveryOf(altered, sourceOf('mine')))).rejects.toThrow(/name/);
          expect(String(await berth.back.read(other))).toBe('other');
        }
        await berth.remote.deliver(deliveryOf('sub/plain', sourceOf('plain')));
        // Nothing stays behind of what found that out.
        expect(await berth.back.files()).toEqual([...alike.map(([, other]) => other), 'sub/plain'].sort());
        expect(await berth.back.names()).toEqual([' both_', 'both_', 'sub']);
      });

    test('times of all kinds, over a file that is there, too', async () => {
      await using berth = await open();
      for (const modifiedMs of someTimesMs) {
        const delivered = await berth.remote.deliver(deliveryOf('file', sourceOf('x', { modifiedMs })));
        expect(delivered.modifiedMs, String(modifiedMs)).toBe(setsTimes ? modifiedMs : undefined);
        if (!setsTimes) continue;
        expect(await berth.back.modifiedMs('file')).toBe(modifiedMs);
        expect((await berth.remote.stat('file'))?.modifiedMs).toBe(modifiedMs);
        expect((await berth.remote.list('')).files[0]?.modifiedMs).toBe(modifiedMs);
      }
    });

    if (traits.link !== 'slow')
      test('a hundred files there and back', async () => {
        await using berth = await open();
        const files = hundredFiles();
        await Promise.all(
          [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
        );
        expect(await berth.back.files()).toEqual([...files.keys()]);
        for (const [path, content] of files)
          expect(sha256(await berth.back.read(path)), path).toBe(sha256(content));
        await Promise.all(
          [...files].map(async ([path, content]) =>
            expect(sha256(await fetched(berth.remote, path)), path).toBe(sha256(content)),
          ),
        );
      });

    test('while other files are fetched, listed, looked at and removed', async () => {
      await using berth = await open();
      const old = Array.from({ length: 8 }, (_, place) => `old/file-${place}`);
      const fresh = Array.from({ length: 8 }, (_, place) => `new/file-${place}`);
      await putAll(berth, new Map(old.map((path) => [path, path.repeat(1000)])));
      await put(berth, 'kept', 'kept');
      await Promise.all([
        ...fresh.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path.repeat(2000))))),
        ...old.map(async (path) => {
          expect((await fetched(berth.remote, path)).toString()).toBe(path.repeat(1000));
          await berth.remote.remove(path);
        }),
        ...old.map(async () => {
          expect((await berth.remote.list('')).files.map(({ path }) => path)).toEqual(['kept']);
          expect((await berth.remote.stat('kept'))?.sizeBytes).toBe(4);
        }),
      ]);
      expect(await berth.back.files()).toEqual(['kept', ...fresh]);
      for (const path of fresh) expect(await textOf(berth, path)).toBe(path.repeat(2000));
    });
  });

  describe(`${name}: a delivery that fails`, () => {
    const reason = new Error('the disk is gone');

    test.each([
      ['in the middle of the source', { fails: reason }],
      ['when the source has changed', { changes: reason }],
    ])('%s: the final name is as it was', async (_when, trouble) => {
      await using berth = await open();
      await write(berth, 'old', 'as it was');
      for (const path of ['old', 'new', 'sub/new']) {
        const source = sourceOf(randomBytes(3_000_000), { trouble });
        await expect(berth.remote.deliver(deliveryOf(path, source))).rejects.toBe(reason);
      }
      expect(await textOf(berth, 'old')).toBe('as it was');
      const left = (await berth.back.files()).filter((path) => path !== 'old');
      // A part may stand under the temporary name, and only there.
      for (const path of left) expect(path).toMatch(/(^|\/)\.ferryd-test\d+\.part$/);
    });

    test('aborted: before, and in the middle', async () => {
      await using berth = await open();
      const early = AbortSignal.abort(reason);
      await expect(berth.remote.deliver(deliveryOf('a', sourceOf('x')), { signal: early })).rejects.toThrow();
      expect(await berth.back.files()).toEqual([]);

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
      expect((await berth.back.files()).filter((path) => path !== delivery.temporary)).toEqual([]);
      // And the remote goes on working.
      await berth.remote.deliver(deliveryOf('b', sourceOf('whole')));
      expect(await textOf(berth, 'b')).toBe('whole');
    });

    test('what stood where a directory is needed is not harmed', async () => {
      await using berth = await open();
      await write(berth, 'file', 'a file');
      await expect(berth.remote.deliver(deliveryOf('file/below', sourceOf('x')))).rejects.toThrow();
      expect(await textOf(berth, 'file')).toBe('a file');
    });

    test('a directory that stands where the file should go is not harmed', async () => {
      await using berth = await open();
      await put(berth, 'taken/below', 'below');
      await expect(berth.remote.deliver(deliveryOf('taken', sourceOf('x')))).rejects.toThrow();
      expect(await textOf(berth, 'taken/below')).toBe('below');
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

    test.each([0, 1, 1_999_999, 3_000_000])('from byte %i on', async (fromByte) => {
      await using berth = await open();
      const content = randomBytes(3_000_000);
      await put(berth, 'file', content);
      const chunks: Buffer[] = [content.subarray(0, fromByte)];
      const bytes = await berth.remote.fetch('file', async (chunk) => void chunks.push(Buffer.from(chunk)), {
        fromByte,
      });
      expect(bytes).toBe(content.length - fromByte);
      expect(sha256(Buffer.concat(chunks))).toBe(sha256(content));
    });

    test('what came over is compared with the hash that the server tells', async () => {
      await using berth = await open();
      await put(berth, 'file', Buffer.from('content'));
      const asked: Digest[] = [];
      const holds = async (digest: Digest): Promise<boolean> => {
        asked.push(digest);
        return true;
      };
      await berth.remote.fetch('file', async () => {}, { holds });
      for (const { algorithm, hex } of asked) expect(hex).toBe(digest(Buffer.from('content'), algorithm));
      if (asked.length > 0) {
        const differs = async (): Promise<boolean> => false;
        await expect(berth.remote.fetch('file', async () => {}, { holds: differs })).rejects.toThrow(
          'other bytes',
        );
      }
    });

    test('what is not there', async () => {
      await using berth = await open();
      await expect(berth.remote.fetch('missing', async () => {})).rejects.toThrow(/550|450|No such/);
      await expect(berth.remote.fetch('no/such/directory', async () => {})).rejects.toThrow(
        /550|450|No such/,
      );
    });

    test('a directory', async () => {
      await using berth = await open();
      await put(berth, 'sub/file', 'x');
      await expect(berth.remote.fetch('sub', async () => {})).rejects.toThrow();
      expect((await fetched(berth.remote, 'sub/file')).toString()).toBe('x');
    });

    test('odd names', async () => {
      await using berth = await open();
      const paths = [...names, ...directoryNames.map((odd) => `d${odd.slice(0, 100)}/${odd}`)];
      await putAll(berth, new Map(paths.map((path) => [path, path])));
      const contents = await Promise.all(paths.map((path) => fetched(berth.remote, path)));
      expect(contents.map(String)).toEqual(paths);
    });

    test('aborted in the middle, and then another that is not', async () => {
      await using berth = await open();
      const content = randomBytes(3_000_000);
      await put(berth, 'file', content);
      const controller = new AbortController();
      const reason = new Error('enough');
      const sink = async (): Promise<void> => controller.abort(reason);
      await expect(berth.remote.fetch('file', sink, { signal: controller.signal })).rejects.toThrow();
      expect(sha256(await fetched(berth.remote, 'file'))).toBe(sha256(content));
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
        modifiedMs: timeOf(someTimeMs),
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
      if (traits.links === undefined) await berth.back.link('link', 'one');
      const root = await berth.remote.list('');
      const time = timeOf(someTimeMs);
      expect([...root.files].sort((a, b) => a.sizeBytes - b.sizeBytes)).toMatchObject([
        { path: 'one', sizeBytes: 1, modifiedMs: time },
        { path: '.two', sizeBytes: 2, modifiedMs: time },
      ]);
      expect(root.directories).toEqual(['a dir']);
      expect(root.others).toEqual(traits.links === undefined ? ['link'] : []);
      expect(root.complete).toBe(true);
      const below = await berth.remote.list('a dir');
      expect(below.files).toMatchObject([{ path: 'a dir/three', sizeBytes: 3, modifiedMs: time }]);
      expect(below.directories).toEqual(['a dir/below']);
      expect(below.complete).toBe(true);
      // After listings the paths still mean what they meant.
      expect((await berth.remote.stat('a dir/below/four'))?.sizeBytes).toBe(4);
      await berth.remote.deliver(deliveryOf('five', sourceOf('55555')));
      expect(await textOf(berth, 'five')).toBe('55555');
    });

    test('an empty directory is empty, and a missing one is an error', async () => {
      await using berth = await open();
      await berth.back.makeDirectory('empty');
      expect(await berth.remote.list('empty')).toEqual({
        files: [],
        directories: [],
        others: [],
        complete: true,
        proven: true,
      });
      await expect(berth.remote.list('missing')).rejects.toThrow();
    });

    test('many files', async () => {
      await using berth = await open();
      const paths = Array.from({ length: 250 }, (_, place) => `many/file-${String(place).padStart(3, '0')}`);
      await putAll(berth, new Map(paths.map((path) => [path, path])));
      const { files, complete } = await berth.remote.list('many');
      expect(files.map(({ path }) => path).sort()).toEqual(paths);
      expect(files.every(({ modifiedMs }) => modifiedMs === timeOf(someTimeMs))).toBe(true);
      expect(complete).toBe(true);
    });

    test('directories with odd names', async () => {
      await using berth = await open();
      const paths = directoryNames.map((odd) => `d${odd.slice(0, 100)}/file`);
      await putAll(berth, new Map(paths.map((path) => [path, path])));
      await Promise.all(
        paths.map(async (path) => {
          const { files, complete } = await berth.remote.list(dirname(path));
          const sizeBytes = Buffer.byteLength(path);
          expect(files).toMatchObject([{ path, sizeBytes, modifiedMs: timeOf(someTimeMs) }]);
          expect(complete, path).toBe(true);
        }),
      );
    });

    test('a name that nobody can read is no file under another name', async () => {
      await using berth = await open();
      await put(berth, 'good', 'good');
      await berth.back.writeNamed(Buffer.from('b\xe4d', 'latin1'), 'bad');
      const { files, complete } = await berth.remote.list('');
      if (traits.unreadable === 'made up') return;
      expect(files.map(({ path }) => path)).toEqual(['good']);
      expect(complete).toBe(false);
    });
  });

  describe(`${name}: remove`, () => {
    test('once, twice, and what never was', async () => {
      await using berth = await open();
      await put(berth, 'sub/file', 'x');
      await berth.remote.remove('sub/file');
      expect(await berth.back.files()).toEqual([]);
      await berth.remote.remove('sub/file');
      await berth.remote.remove('never');
    });

    test('a directory is no file: it stays, with what is in it', async () => {
      await using berth = await open();
      await put(berth, 'sub/file', 'x');
      await berth.back.makeDirectory('empty');
      for (const path of ['sub', 'empty']) await berth.remote.remove(path).catch(() => undefined);
      expect(await berth.back.names()).toEqual(['empty', 'sub']);
      expect(await berth.back.files()).toEqual(['sub/file']);
    });
  });

  describe(`${name}: deliver, with a place for what is replaced`, () => {
    const aside = (path: string): string => `.ferryd-trash/20210304T050607Z/${path}`;
    const replacing = (path: string, content: string): Delivery => ({
      ...deliveryOf(path, sourceOf(content)),
      aside: aside(path),
    });

    test('what stands there is moved aside, whole and of its time; where nothing stands, nothing is', async () => {
      await using berth = await open();
      const old = ['a', '-c', 'd/e f/b', 'd/é'];
      await putAll(berth, new Map(old.map((path) => [path, `old ${path}`])));
      const fresh = ['new', 'd/new', 'other/new'];
      const delivered = await Promise.all(
        [...old, ...fresh].map((path) => berth.remote.deliver(replacing(path, `new ${path}`))),
      );
      expect(delivered.map(({ setAside }) => setAside)).toEqual([
        ...old.map(() => true),
        ...fresh.map(() => false),
      ]);
      expect(await berth.back.files()).toEqual([...old, ...old.map(aside), ...fresh].sort());
      for (const path of [...old, ...fresh]) expect(await textOf(berth, path)).toBe(`new ${path}`);
      for (const path of old) {
        expect(await textOf(berth, aside(path))).toBe(`old ${path}`);
        expect(await berth.back.modifiedMs(aside(path))).toBe(someTimeMs);
      }
    });

    test('what stands aside already is not overwritten, nor is the file that has no place then', async () => {
      await using berth = await open();
      await put(berth, 'file', 'standing');
      await put(berth, aside('file'), 'aside');
      const failure = await failureOf(berth.remote.deliver(replacing('file', 'new')));
      expect(failure).toMatchObject({ decision: 'pass', code: 'ASIDE' });
      expect(failure.message).toContain(aside('file'));
      expect(await textOf(berth, 'file')).toBe('standing');
      expect(await textOf(berth, aside('file'))).toBe('aside');
      // Unless it is this very content, from an attempt whose end nobody heard.
      await berth.remote.deliver(replacing('file', 'standing'));
      expect(await textOf(berth, 'file')).toBe('standing');
      expect(await textOf(berth, aside('file'))).toBe('aside');
    });

    test('an attempt that was cut off between the two renames is brought to its end', async () => {
      await using berth = await open();
      const delivery = replacing('sub/file', 'whole');
      await write(berth, delivery.temporary, 'whole');
      await write(berth, aside('sub/file'), 'old');
      const delivered = await berth.remote.deliver({ ...delivery, part: 'possible' });
      expect(delivered).toMatchObject({ setAside: true, sha256: sha256('whole') });
      expect(await berth.back.files()).toEqual([aside('sub/file'), 'sub/file']);
      expect(await textOf(berth, aside('sub/file'))).toBe('old');
      expect(await textOf(berth, 'sub/file')).toBe('whole');
    });

    test('a directory that stands there is not harmed, and a place that cannot be made harms nothing', async () => {
      await using berth = await open();
      await put(berth, 'taken/below', 'below');
      await expect(berth.remote.deliver(replacing('taken', 'x'))).rejects.toThrow();
      await put(berth, 'no-directory', 'a file');
      await put(berth, 'file', 'old');
      const nowhere = { ...replacing('file', 'new'), aside: 'no-directory/file' };
      await expect(berth.remote.deliver(nowhere)).rejects.toThrow();
      expect(await textOf(berth, 'taken/below')).toBe('below');
      expect(await textOf(berth, 'no-directory')).toBe('a file');
      expect(await textOf(berth, 'file')).toBe('old');
    });
  });

  describe(`${name}: move`, () => {
    test('files of odd names, many at once, into directories that are missing', async () => {
      await using berth = await open();
      const places = new Map<string, string>([
        ['plain', 'new/deep/plain'],
        ...names.map((odd, place) => [odd, `moved/${place % 3}/${odd}`] as const),
        ...directoryNames.map((odd, place) => [`from/${place}`, `d${odd.slice(0, 100)}/${odd}`] as const),
      ]);
      await putAll(berth, new Map([...places.keys()].map((from) => [from, from])));
      const moves = [...places].map(([from, to]) => berth.remote.move(from, to));
      expect(new Set(await Promise.all(moves))).toEqual(new Set(['moved']));
      expect(await berth.back.files()).toEqual([...places.values()].sort());
      for (const [from, to] of places) {
        expect(await textOf(berth, to)).toBe(from);
        expect(await berth.back.modifiedMs(to)).toBe(someTimeMs);
      }
    });

    test('never over what stands there, nor what is no file', async () => {
      await using berth = await open();
      await put(berth, 'file', 'file');
      await put(berth, 'taken', 'taken');
      await put(berth, 'sub/below', 'below');
      await berth.back.makeDirectory('empty');
      const before = await berth.back.files();
      expect(await berth.remote.move('file', 'taken')).toBe('occupied');
      expect(await berth.remote.move('file', 'file')).toBe('occupied');
      expect(await berth.remote.move('file', 'sub')).toBe('occupied');
      expect(await berth.remote.move('file', 'empty')).toBe('occupied');
      expect(await berth.remote.move('sub', 'elsewhere')).toBe('missing');
      expect(await berth.remote.move('never', 'elsewhere')).toBe('missing');
      // A move that is asked for again because its end was not heard.
      expect(await berth.remote.move('never', 'taken')).toBe('missing');
      expect(await berth.remote.move('no/such/directory', 'no/such/place')).toBe('missing');
      await expect(berth.remote.move('file', 'taken/below')).rejects.toThrow();
      expect(await berth.back.files()).toEqual(before);
      expect(await textOf(berth, 'file')).toBe('file');
      expect(await textOf(berth, 'taken')).toBe('taken');
      // And the remote goes on working.
      expect(await berth.remote.move('file', 'empty/file')).toBe('moved');
      expect(await textOf(berth, 'empty/file')).toBe('file');
    });
  });

  describe(`${name}: directories`, () => {
    test('made with those above, found made, and not in the place of a file', async () => {
      await using berth = await open();
      // The root itself.
      await berth.remote.makeDirectory('');
      await put(berth, 'file', 'a file');
      await berth.remote.makeDirectory('');
      await berth.remote.makeDirectory('a/b c/d');
      await berth.remote.makeDirectory('a/b c/d');
      await berth.remote.makeDirectory('a/b c');
      await Promise.all(directoryNames.map((odd) => berth.remote.makeDirectory(`d/${odd.slice(0, 100)}`)));
      expect((await berth.remote.list('a/b c')).directories).toEqual(['a/b c/d']);
      const odd = directoryNames.map((each) => `d/${each.slice(0, 100)}`);
      expect([...(await berth.remote.list('d')).directories].sort()).toEqual(odd.sort());
      for (const path of ['file', 'file/below']) {
        const failure = await failureOf(berth.remote.makeDirectory(path));
        expect(failure.decision, failure.message).toBe('skip');
        expect(failure.message).toContain('a file called file');
      }
      expect(await textOf(berth, 'file')).toBe('a file');
    });

    test('removed where they are empty, and left where they are not', async () => {
      await using berth = await open();
      await put(berth, 'full/file', 'x');
      await put(berth, 'hides/.hidden', 'x');
      await berth.remote.makeDirectory('empty/below');
      expect(await berth.remote.removeDirectory('full')).toBe('not-empty');
      expect(await berth.remote.removeDirectory('hides')).toBe('not-empty');
      expect(await berth.remote.removeDirectory('empty')).toBe('not-empty');
      expect(await berth.remote.removeDirectory('empty/below')).toBe('removed');
      expect(await berth.remote.removeDirectory('empty/below')).toBe('removed');
      expect(await berth.remote.removeDirectory('empty')).toBe('removed');
      expect(await berth.remote.removeDirectory('never/was')).toBe('removed');
      await expect(berth.remote.removeDirectory('full/file')).rejects.toThrow();
      expect(await berth.back.names()).toEqual(['full', 'hides']);
      // A directory that uploads know is made again after it was removed.
      await berth.remote.deliver(deliveryOf('gone/file', sourceOf('first')));
      await berth.remote.remove('gone/file');
      expect(await berth.remote.removeDirectory('gone')).toBe('removed');
      await berth.remote.deliver(deliveryOf('gone/file', sourceOf('second')));
      expect(await textOf(berth, 'gone/file')).toBe('second');
    });
  });

  describe(`${name}: digest, twins and signals`, () => {
    test('the digest is that of what the remote holds; of what is no file there is none', async () => {
      await using berth = await open();
      for (const [path, content] of [
        ['sub/file', randomBytes(300_000)],
        ['empty', Buffer.alloc(0)],
      ] as const) {
        await put(berth, path, content);
        const told = await berth.remote.digest(path, { sizeBytes: content.length });
        expect(told?.hex).toBe(digest(content, told?.algorithm ?? 'SHA-256'));
      }
      expect(await berth.remote.digest('missing', { sizeBytes: 7 })).toBeUndefined();
      expect(await berth.remote.digest('sub', { sizeBytes: 7 })).toBeUndefined();
    });

    test('names that differ in case or form are kept apart, and nothing is left of what found that out', async () => {
      await using berth = await open();
      await put(berth, 'file', 'x');
      const asked = (['case', 'form', 'case', 'form'] as const).map((difference) =>
        berth.remote.keepsApart(difference),
      );
      expect(await Promise.all(asked)).toEqual([true, true, true, true]);
      expect(await berth.back.names()).toEqual(['file']);
    });

    test('a signal that was given already breaks each of them off, and then they work', async () => {
      await using berth = await open();
      await put(berth, 'file', 'x');
      const signal = AbortSignal.abort(new Error('enough'));
      const { remote } = berth;
      for (const work of [
        () => remote.stat('file', { signal }),
        () => remote.list('', { signal }),
        () => remote.remove('file', { signal }),
        () => remote.move('file', 'other', { signal }),
        () => remote.makeDirectory('sub', { signal }),
        () => remote.removeDirectory('sub', { signal }),
        () => remote.digest('file', { sizeBytes: 1, signal }),
      ])
        await expect(work()).rejects.toThrow();
      expect(await berth.back.names()).toEqual(['file']);
      expect(await remote.move('file', 'other')).toBe('moved');
    });
  });
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

/** A file behind the remote, as old as it is. */
async function write(berth: BackedBerth, path: string, content: Buffer | string): Promise<void> {
  await berth.back.write(new Map([[path, content]]));
}

/** A file behind the remote with `someTimeMs`. */
async function put(berth: BackedBerth, path: string, content: Buffer | string): Promise<void> {
  await putAll(berth, new Map([[path, content]]));
}

async function putAll(berth: BackedBerth, files: ReadonlyMap<string, Buffer | string>): Promise<void> {
  await berth.back.write(files, someTimeMs);
}

async function textOf(berth: BackedBerth, path: string): Promise<string> {
  return (await berth.back.read(path)).toString();
}
