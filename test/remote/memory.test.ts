/* The in-memory remote fulfils the contract, and what is its own besides: turns, steps, copies. */
import { describe, expect, test } from 'vitest';
import { FtpError } from '../../src/ftp/errors.js';
import { temporaryName } from '../../src/plan/temporary.js';
import { judge } from '../../src/remote/failure.js';
import type { Source } from '../../src/remote/remote.js';
import { MemoryRemote, MemoryTree, refusal, type Step } from '../support/memory-remote.js';
import type { Back } from './back.js';
import { type BackedBerth, deliveryOf, remoteContract, sha256, someTimeMs, sourceOf } from './contract.js';
import { keptLinks } from './kept-links.js';

class MemoryBack implements Back {
  readonly #tree: MemoryTree;

  constructor(tree: MemoryTree) {
    this.#tree = tree;
  }

  async files(): Promise<string[]> {
    return this.#tree.files();
  }

  async names(): Promise<string[]> {
    return this.#tree.names();
  }

  async read(path: string): Promise<Buffer> {
    return this.#tree.read(path);
  }

  async modifiedMs(path: string): Promise<number> {
    return this.#tree.modifiedMs(path);
  }

  async permissions(path: string): Promise<number> {
    return this.#tree.permissions(path);
  }

  async write(files: ReadonlyMap<string, Buffer | string>, modifiedMs?: number): Promise<void> {
    for (const [path, content] of files) this.#tree.write(path, content, modifiedMs);
  }

  async writeNamed(name: Buffer, content: string): Promise<void> {
    this.#tree.writeNamed(name, content);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#tree.makeDirectory(path);
  }

  async link(path: string, target: string): Promise<void> {
    this.#tree.link(path, target);
  }
}

remoteContract('in memory', async (): Promise<BackedBerth> => {
  const remote = new MemoryRemote();
  return { remote, back: new MemoryBack(remote.tree), [Symbol.asyncDispose]: async () => {} };
});

remoteContract('in memory, one operation at a time', async (): Promise<BackedBerth> => {
  const remote = new MemoryRemote({ connections: 1 });
  return { remote, back: new MemoryBack(remote.tree), [Symbol.asyncDispose]: async () => {} };
});

keptLinks('in memory', async (): Promise<BackedBerth> => {
  const remote = new MemoryRemote();
  return { remote, back: new MemoryBack(remote.tree), [Symbol.asyncDispose]: async () => {} };
});

async function failureOf(work: Promise<unknown>): Promise<FtpError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof FtpError)) throw new Error('it did not fail as a server does', { cause: error });
  return error;
}

describe('steps', () => {
  test('those of a delivery, in their order, with the part in sight from the first byte on', async () => {
    const seen: [Step, string[]][] = [];
    const remote: MemoryRemote = new MemoryRemote({
      before: (step) => void seen.push([step, remote.tree.files()]),
    });
    const temporary = temporaryName('d/file', 'x', 'hidden');
    await remote.deliver({ path: 'd/file', temporary, source: sourceOf('content'), part: 'none' });
    expect(seen).toEqual([
      [{ step: 'store', path: temporary }, []],
      [{ step: 'prove', path: temporary }, [temporary]],
      [{ step: 'time', path: temporary }, [temporary]],
      [{ step: 'rename', path: 'd/file' }, [temporary]],
    ]);
    expect(remote.tree.files()).toEqual(['d/file']);
  });

  test.each(['store', 'prove', 'time', 'rename'] as const)(
    'a delivery that is refused at %s leaves the final name as it was',
    async (at) => {
      const remote = new MemoryRemote({
        before: ({ step }) => {
          if (step === at) throw refusal('STOR', 'transfer', 452, 'Disk full.', 'memory:');
        },
      });
      remote.tree.write('file', 'old', someTimeMs);
      const error = await failureOf(remote.deliver(deliveryOf('file', sourceOf('new'))));
      expect(judge(error)).toMatchObject({ decision: 'hold', code: '452' });
      expect(remote.tree.read('file').toString()).toBe('old');
      expect(remote.tree.files().length).toBe(at === 'store' ? 1 : 2);
    },
  );

  test('a delivery that moves aside what stood there does so right before its rename', async () => {
    const seen: Step[] = [];
    const remote = new MemoryRemote({ before: (step) => void seen.push(step) });
    remote.tree.write('file', 'old');
    const delivery = { ...deliveryOf('file', sourceOf('new')), aside: 'trash/file' };
    expect(await remote.deliver(delivery)).toMatchObject({ setAside: true });
    expect(seen.slice(-2)).toEqual([
      { step: 'move', path: 'file' },
      { step: 'rename', path: 'file' },
    ]);
    expect(remote.tree.files()).toEqual(['file', 'trash/file']);
  });

  test.each(['retrieve', 'stat', 'list', 'remove', 'move', 'make', 'clear', 'digest'] as const)(
    '%s that is refused',
    async (at) => {
      const reason = new Error('no');
      const remote = new MemoryRemote({
        before: ({ step }) => {
          if (step === at) throw reason;
        },
      });
      remote.tree.write('file', 'x');
      const work = {
        retrieve: () => remote.fetch('file', async () => {}),
        stat: () => remote.stat('file'),
        list: () => remote.list(''),
        remove: () => remote.remove('file'),
        move: () => remote.move('file', 'other'),
        make: () => remote.makeDirectory('sub'),
        clear: () => remote.removeDirectory('sub'),
        digest: () => remote.digest('file', { sizeBytes: 1 }),
      }[at];
      await expect(work()).rejects.toBe(reason);
      expect(remote.tree.files()).toEqual(['file']);
    },
  );
});

describe('turns', () => {
  test.each([1, 3])('never more than %i operations at once, and all in the end', async (connections) => {
    let under = 0;
    let most = 0;
    const remote = new MemoryRemote({ connections });
    const sources = Array.from({ length: 12 }, (_, place): [string, Source] => {
      const source = sourceOf(`content ${place}`);
      async function* chunks(): AsyncGenerator<Buffer> {
        under += 1;
        most = Math.max(most, under);
        yield* source.chunks();
        under -= 1;
      }
      return [`file-${place}`, { ...source, chunks }];
    });
    // Twice: a turn that was not given back, or twice, would show then.
    for (let round = 0; round < 2; round += 1) {
      await Promise.all(sources.map(([path, source]) => remote.deliver(deliveryOf(path, source))));
      await expect(remote.fetch('missing', async () => {})).rejects.toThrow('550');
    }
    expect(most).toBe(connections);
    expect(remote.appetite).toBe(connections);
    expect(remote.tree.files()).toHaveLength(12);
  });

  test('stopped while it waits: a delivery is not begun, and rejects with the reason', async () => {
    const stop = new AbortController();
    const reason = new Error('enough for today');
    let goOn = (): void => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const remote = new MemoryRemote({
      connections: 1,
      before: async ({ step }) => (step === 'prove' ? held : undefined),
    });
    const first = remote.deliver(deliveryOf('first', sourceOf('x')), { stop: stop.signal });
    // Its turn has come when the temporary file is there.
    await expect.poll(() => remote.tree.files().length).toBe(1);
    const second = remote.deliver(deliveryOf('second', sourceOf('x')), { stop: stop.signal });
    stop.abort(reason);
    goOn();
    await expect(second).rejects.toBe(reason);
    await first;
    expect(remote.tree.files()).toEqual(['first']);
  });

  test('an abort is heard between two parts of a file', async () => {
    const cut = new AbortController();
    const remote = new MemoryRemote();
    remote.tree.write('file', Buffer.alloc(1_000_000));
    let parts = 0;
    const sink = async (): Promise<void> => {
      parts += 1;
      cut.abort();
    };
    expect((await failureOf(remote.fetch('file', sink, { signal: cut.signal }))).kind).toBe('aborted');
    expect(parts).toBe(1);
  });

  test('an abort is heard while a source keeps silent', async () => {
    const cut = new AbortController();
    const silent: Source = {
      ...sourceOf('never'),
      async *chunks() {
        await new Promise<void>(() => {});
      },
    };
    const remote = new MemoryRemote({ connections: 1 });
    const work = remote.deliver(deliveryOf('file', silent), { signal: cut.signal });
    await expect.poll(() => remote.tree.files().length).toBe(1);
    cut.abort();
    expect((await failureOf(work)).kind).toBe('aborted');
    // Its turn is over.
    await remote.deliver(deliveryOf('other', sourceOf('x')));
    expect(remote.tree.files()).toContain('other');
  });
});

describe('what is stored is what was sent', () => {
  test('a reader that uses the same memory for each chunk', async () => {
    const memory = Buffer.alloc(4);
    const source: Source = {
      sizeBytes: 8,
      modifiedMs: someTimeMs,
      async *chunks() {
        yield memory.fill('a');
        yield memory.fill('b');
      },
      digestOf: async () => 'nothing that would be asked for',
      confirm: async () => ({ sha256: sha256('aaaabbbb'), also: undefined }),
    };
    const remote = new MemoryRemote();
    await remote.deliver(deliveryOf('file', source));
    expect(remote.tree.read('file').toString()).toBe('aaaabbbb');
    await remote.fetch('file', async (chunk) => void chunk.fill('c'));
    expect(remote.tree.read('file').toString()).toBe('aaaabbbb');
  });

  test.each([
    ['another content in its place', (tree: MemoryTree, path: string) => tree.write(path, 'other')],
    ['nothing there any more', (tree: MemoryTree, path: string) => tree.makeDirectory(`${path}-`)],
  ])('a part that is not what was sent is not published: %s', async (what, spoil) => {
    const remote: MemoryRemote = new MemoryRemote({
      before: async ({ step, path }) => {
        if (step !== 'prove') return;
        if (what.startsWith('nothing')) await new MemoryRemote({ tree: remote.tree }).remove(path);
        spoil(remote.tree, path);
      },
    });
    const error = await failureOf(remote.deliver(deliveryOf('file', sourceOf('sent'))));
    expect(judge(error)).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(remote.tree.files()).not.toContain('file');
  });

  test.each([
    ['a part that is right is gone on with', 'cont', 4],
    ['all of it is not sent again', 'content', 7],
    ['a part that is wrong is not', 'cant', 0],
    ['nor one that is longer', 'contents', 0],
  ])('%s', async (_what, there, fromByte) => {
    const remote = new MemoryRemote();
    const delivery = deliveryOf('file', sourceOf('content'));
    remote.tree.write(delivery.temporary, there);
    const readings: unknown[] = [];
    const source: Source = {
      ...delivery.source,
      chunks: (reading) => {
        readings.push(reading);
        return delivery.source.chunks(reading);
      },
    };
    await remote.deliver({ ...delivery, source, part: 'possible' });
    expect(readings).toEqual([{ fromByte }]);
    expect(remote.tree.files()).toEqual(['file']);
    expect(remote.tree.read('file').toString()).toBe('content');
  });

  test('who reads a file reads it to its end, whatever comes in its place meanwhile', async () => {
    const remote = new MemoryRemote();
    const content = 'x'.repeat(300_000);
    remote.tree.write('file', content);
    const parts: string[] = [];
    await remote.fetch('file', async (chunk) => {
      if (parts.length === 0) await remote.deliver(deliveryOf('file', sourceOf('new')));
      parts.push(chunk.toString());
    });
    expect(parts.join('')).toBe(content);
    expect(remote.tree.read('file').toString()).toBe('new');
  });
});

describe('names that meet', () => {
  test.each([
    ['case', 'Sub/File', 'sub/fILE'],
    ['form', 'd\u00e9/\u00fc', 'de\u0301/u\u0308'],
  ] as const)('%s: the second is the first, and keeps its name', async (difference, first, second) => {
    const remote = new MemoryRemote({ tree: new MemoryTree({ meet: [difference] }) });
    const other = difference === 'case' ? 'form' : 'case';
    expect([await remote.keepsApart(difference), await remote.keepsApart(other)]).toEqual([false, true]);
    await remote.deliver(deliveryOf(first, sourceOf('first')));
    await remote.deliver(deliveryOf(second, sourceOf('second')));
    expect(remote.tree.files()).toEqual([first]);
    expect(remote.tree.read(first).toString()).toBe('second');
    expect(await remote.move(first, second)).toBe('occupied');
    await remote.remove(second);
    expect(remote.tree.files()).toEqual([]);
  });
});

describe('refusals', () => {
  test.each<[string, string, string]>([
    ['x'.repeat(256), 'skip', '553'],
    ['a\r\nDELE b', 'skip', 'argument'],
    ['a/../b', 'skip', 'argument'],
    ['a//b', 'skip', 'argument'],
    ['\ud800', 'skip', 'argument'],
  ])('a name that cannot be: %j', async (path, decision, code) => {
    const remote = new MemoryRemote();
    const works: (() => Promise<unknown>)[] = [
      () => remote.deliver({ ...deliveryOf('f', sourceOf('x')), path }),
      () => remote.deliver({ ...deliveryOf('f', sourceOf('x')), temporary: path }),
      () => remote.fetch(path, async () => {}),
      () => remote.stat(path),
      () => remote.list(path),
      () => remote.remove(path),
    ];
    for (const work of works) expect(judge(await failureOf(work()))).toMatchObject({ decision, code });
    expect(remote.tree.files()).toEqual([]);
  });

  test('what is missing, and what is something else, is answered as servers do', async () => {
    const { tree } = new MemoryRemote();
    tree.write('file', 'x');
    tree.makeDirectory('sub');
    tree.link('link');
    const remote = new MemoryRemote({ tree });
    const works: (() => Promise<unknown>)[] = [
      () => remote.fetch('missing', async () => {}),
      () => remote.fetch('sub', async () => {}),
      () => remote.fetch('link', async () => {}),
      () => remote.fetch('file/below', async () => {}),
      () => remote.list('missing'),
      () => remote.list('file'),
      () => remote.remove('sub'),
      () => remote.deliver(deliveryOf('sub', sourceOf('x'))),
      () => remote.deliver(deliveryOf('file/below', sourceOf('x'))),
    ];
    for (const work of works) {
      const error = await failureOf(work());
      expect(error.message).toMatch(/^memory: answered [A-Z]{4} with: 55[03] /);
      expect(error.reply?.code).toBeOneOf([550, 553]);
    }
    expect(await remote.stat('link')).toBeUndefined();
    expect(tree.read('file').toString()).toBe('x');
  });
});
