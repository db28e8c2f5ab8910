/*
 * Trials of names on a server of a few lines, which speaks no protocol: what it alters, refuses or folds together is
 * found out once, remembered, and leaves nothing behind. How FTP and SFTP carry the trials out is seen in their own tests.
 */
import { describe, expect, test } from 'vitest';
import { type Ground, Names } from '../../src/remote/names.js';
import { type Facts, FIRST_FACTS, Profile } from '../../src/remote/profile.js';
import { type Delivery, NameNotKept, TemporaryRefused } from '../../src/remote/remote.js';
import { SftpError } from '../../src/sftp/errors.js';
import { deliveryOf, sourceOf } from './contract.js';

interface Ways {
  /** What a name becomes there. */
  readonly keeps?: (name: string) => string;
  readonly refuses?: (name: string) => boolean;
  readonly makesDirectories?: boolean;
}

function no(code: number): SftpError {
  return new SftpError('status', `nas:22 said ${code}.`, { phase: 'request', status: { code, words: '' } });
}

const lost = new SftpError('lost', 'nas:22 is gone.', { phase: 'request' });

/** Directories and their files, by their paths. */
class Server {
  readonly directories = new Map<string, Set<string>>([['/root', new Set()]]);
  readonly asked: string[] = [];
  /** The connection breaks with the request after so many. */
  breaksAfter = Number.POSITIVE_INFINITY;
  readonly #ways: Ways;

  constructor(ways: Ways = {}) {
    this.#ways = ways;
  }

  connect(): Ground {
    let usable = true;
    const { keeps = (name: string) => name, refuses = () => false, makesDirectories = true } = this.#ways;
    const ask = async <T>(request: string, answer: () => T): Promise<T> => {
      if (usable && this.asked.length >= this.breaksAfter) {
        usable = false;
        this.breaksAfter = Number.POSITIVE_INFINITY;
      }
      if (!usable) throw lost;
      this.asked.push(request);
      return answer();
    };
    const split = (path: string): [Set<string> | undefined, string] => {
      const slash = path.lastIndexOf('/');
      return [this.directories.get(path.slice(0, slash)), keeps(path.slice(slash + 1))];
    };
    return {
      where: 'nas:22',
      get usable() {
        return usable;
      },
      below: (name) => `/root/${name}`,
      store: (path) =>
        ask(`store ${path}`, () => {
          const [directory, name] = split(path);
          if (directory === undefined) throw no(2);
          if (refuses(path.slice(path.lastIndexOf('/') + 1))) throw no(4);
          directory.add(name);
        }),
      list: (path) =>
        ask('list', () =>
          [...(this.directories.get(path) ?? [])].map((name) => ({
            name,
            bytes: Buffer.from(name),
            type: 'file',
          })),
        ),
      remove: (path) =>
        ask('remove', () => {
          const [directory, name] = split(path);
          directory?.delete(name);
        }),
      makeDirectory: (path) =>
        ask('mkdir', () => {
          if (!makesDirectories) throw no(3);
          this.directories.set(path, new Set());
        }),
      removeDirectory: (path) =>
        ask('rmdir', () => {
          if ((this.directories.get(path)?.size ?? 0) > 0) throw no(4);
          this.directories.delete(path);
        }),
      isDirectory: (path) => ask('stat', () => this.directories.has(path)),
    };
  }

  /** All that is there besides the root. */
  get left(): string[] {
    return [...this.directories].flatMap(([path, names]) => [
      ...(path === '/root' ? [] : [path]),
      ...[...names].map((name) => `${path}/${name}`),
    ]);
  }
}

function harness(ways?: Ways) {
  const told: string[] = [];
  const open = new Set<string>();
  const profile = new Profile<Facts>(FIRST_FACTS, {
    store: undefined,
    onLearned: (sentence) => told.push(sentence),
    now: () => 0,
  });
  const names = new Names({
    profile,
    charset: { encode: (text) => Buffer.from(text), decode: (bytes) => bytes.toString() },
    trials: { begin: (path) => void open.add(path), end: (path) => void open.delete(path) },
  });
  return { server: new Server(ways), names, profile, told, open };
}

describe('an odd name', () => {
  test('is tried once, and leaves nothing behind', async () => {
    const { server, names, profile, open } = harness();
    expect([names.areOdd('a/b.gz'), names.areOdd('a/b:c')]).toEqual([false, true]);
    await Promise.all([names.prove('a/b:c', server.connect()), names.prove('x?', server.connect())]);
    expect(profile.facts.names).toEqual({ 'one of : * ? " < > |': 'kept' });
    expect(server.asked.filter((request) => request === 'mkdir')).toHaveLength(1);
    expect(names.areOdd('a/b:c')).toBe(false);
    expect([server.left, [...open]]).toEqual([[], []]);
  });

  test.each<[string, Ways]>([
    ['that is stored under another name', { keeps: (name) => name.replace(/\.$/, '') }],
    ['that is refused', { refuses: (name) => name.endsWith('.') }],
  ])('%s is not used', async (_what, ways) => {
    const { server, names, profile } = harness(ways);
    await expect(names.prove('report.', server.connect())).rejects.toThrow(NameNotKept);
    await expect(names.prove('other.', server.connect())).rejects.toThrow('does not keep a trailing dot');
    expect(profile.facts.names).toEqual({ 'a trailing dot': 'altered' });
    expect(server.asked.filter((request) => request === 'mkdir')).toHaveLength(1);
    expect(server.left).toEqual([]);
  });

  test('is taken as it is where no directory can be made for a trial', async () => {
    const { server, names, profile, open } = harness({ makesDirectories: false });
    await names.prove('a:b', server.connect());
    expect(names.areOdd('c:d')).toBe(false);
    expect([profile.facts.names, [...open]]).toEqual([{}, []]);
  });

  test.each([1, 2, 3, 4])(
    'a connection that breaks after %i requests: the next one tidies up',
    async (after) => {
      const { server, names, profile, open } = harness();
      server.breaksAfter = after;
      await expect(names.prove('a:b', server.connect())).rejects.toBe(lost);
      // What may be left is written down for the run after a crash.
      expect(open.size).toBe(1);
      await names.prove('a:b', server.connect());
      await names.prove('a\\b', server.connect());
      expect(profile.facts.names).toMatchObject({ 'one of : * ? " < > |': 'kept', 'a backslash': 'kept' });
      expect([server.left, [...open]]).toEqual([[], []]);
    },
  );
});

describe('names that look alike', () => {
  const ask = ({ names, server }: ReturnType<typeof harness>, difference: 'case' | 'form') =>
    names.keepsApart(difference, (trial) => trial(server.connect()));

  test('are told apart, and that is remembered', async () => {
    const all = harness();
    expect([await ask(all, 'case'), await ask(all, 'form'), await ask(all, 'case')]).toEqual([
      true,
      true,
      true,
    ]);
    expect(all.profile.facts.apart).toEqual({ case: 'kept', form: 'kept' });
    expect(all.server.asked.filter((request) => request === 'mkdir')).toHaveLength(2);
    expect(all.server.left).toEqual([]);
  });

  test.each<[string, 'case' | 'form', (name: string) => string]>([
    ['case', 'case', (name) => name.toLowerCase()],
    ['normal form', 'form', (name) => name.normalize('NFC')],
  ])('meet in one file where the server folds their %s', async (_what, difference, keeps) => {
    const all = harness({ keeps });
    expect(await ask(all, difference)).toBe(false);
    expect(all.profile.facts.apart).toEqual({ [difference]: 'met' });
    expect(all.server.left).toEqual([]);
  });

  test('may meet where nothing can be tried', async () => {
    expect(await ask(harness({ makesDirectories: false }), 'case')).toBe(false);
    expect(await ask(harness({ refuses: () => true }), 'case')).toBe(false);
  });
});

describe('a temporary name that is refused', () => {
  const delivery = (): Delivery => ({ ...deliveryOf('a', sourceOf('x')), temporary: '.ferryd-x.a.part' });

  test('for its dot: the others get another form', async () => {
    const { server, names, profile, told, open } = harness({ refuses: (name) => name.startsWith('.') });
    const refused = names.temporaryRefused(delivery(), server.connect(), '/root/.ferryd-x.a.part');
    await expect(refused).rejects.toThrow(TemporaryRefused);
    expect(profile.facts.temporary).toBe('plain');
    expect(told).toHaveLength(1);
    expect([server.left, [...open]]).toEqual([[], []]);
  });

  test('for another reason: it stays what it is, and is not tried again', async () => {
    const { server, names, profile } = harness({ refuses: () => true });
    for (let time = 0; time < 2; time += 1)
      await names.temporaryRefused(delivery(), server.connect(), '/root/.ferryd-x.a.part');
    expect(profile.facts.temporary).toBe('hidden');
    expect(server.asked).toHaveLength(1);
  });

  test('after one was taken it is not the name', async () => {
    const { server, names } = harness({ refuses: (name) => name.startsWith('.') });
    names.temporaryTaken();
    await names.temporaryRefused(delivery(), server.connect(), '/root/.ferryd-x.a.part');
    expect(server.asked).toEqual([]);
  });
});
