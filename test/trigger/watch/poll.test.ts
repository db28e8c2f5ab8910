/*
 * The look at a tree, on real directories: it is the same for the same tree, and another after every change that
 * matters. That is put to the proof with random changes, too. When the looks come is in watch-timing.test.ts.
 */
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Poll, signatureOf } from '../../../src/trigger/watch/poll.js';

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ferryd-poll-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const at = (path: string): string => join(root, path);

function look(ignores: (path: string) => boolean = () => false, scopes = ['']): Promise<string> {
  return signatureOf({ root, scopes, ignores });
}

describe('signatureOf', () => {
  const changes: Record<string, () => Promise<unknown>> = {
    'a new file': () => writeFile(at('a/new'), ''),
    'a new, empty directory': () => mkdir(at('a/b/empty')),
    'a file that is gone': () => rm(at('a/b/deep')),
    'a directory that is gone': () => rm(at('a'), { recursive: true }),
    'a file renamed': () => rename(at('a/b/deep'), at('a/b/deeper')),
    'a directory renamed': () => rename(at('a/b'), at('a/c')),
    'a file moved to another directory': () => rename(at('a/b/deep'), at('a/deep')),
    'a file written in place, same size': () => writeFile(at('a/b/deep'), 'DEEP'),
    'a file that shrank': () => truncate(at('a/b/deep'), 1),
    'a file replaced by one as large and as old': async () => {
      const { atime, mtime } = await lstat(at('a/b/deep'));
      await writeFile(at('temporary'), 'DEEP');
      await utimes(at('temporary'), atime, mtime);
      await rename(at('temporary'), at('a/b/deep'));
    },
    'a modification time set back': () => utimes(at('a/b/deep'), 1, 1),
    'a mode': () => chmod(at('a/b/deep'), 0o640),
    'a file that became a directory': async () => {
      await rm(at('a/b/deep'));
      await mkdir(at('a/b/deep'));
    },
    'a link that leads elsewhere': async () => {
      await rm(at('link'));
      await symlink('nowhere-else', at('link'));
    },
  };

  /** Waits until the file system's clock shows another time than the file does; it counts in ticks. */
  async function tick(path: string): Promise<void> {
    const { ctimeMs } = await lstat(path);
    const clock = await mkdtemp(join(tmpdir(), 'ferryd-poll-'));
    try {
      do await utimes(clock, 1, 1);
      while ((await lstat(clock)).ctimeMs <= ctimeMs);
    } finally {
      await rm(clock, { recursive: true });
    }
  }

  it.each(Object.entries(changes))('sees %s', async (_, change) => {
    await mkdir(at('a/b'), { recursive: true });
    await symlink('nowhere', at('link'));
    await writeFile(at('a/b/deep'), 'deep');
    await tick(at('a/b/deep'));
    const before = await look();
    expect(await look()).toBe(before);
    await change();
    const after = await look();
    expect(after).not.toBe(before);
    expect(await look()).toBe(after);
  });

  it('tells names that share their letters apart', async () => {
    await mkdir(at('ab'));
    const one = await look();
    await rename(at('ab'), at('a'));
    await mkdir(at('a/b'));
    const other = await look();
    expect(other).not.toBe(one);
  });

  it('does not see what is ignored, and does not look below it', async () => {
    await mkdir(at('cache/deep'), { recursive: true });
    await writeFile(at('kept'), '');
    const asked: string[] = [];
    const ignores = (path: string): boolean => {
      asked.push(path);
      return path === 'cache' || path.endsWith('.tmp');
    };
    const before = await look(ignores);
    await writeFile(at('cache/deep/new'), '');
    await writeFile(at('x.tmp'), '');
    expect(await look(ignores)).toBe(before);
    expect(new Set(asked)).toEqual(new Set(['cache', 'kept', 'x.tmp']));
  });

  it('looks at its scopes only', async () => {
    await mkdir(at('one'));
    await mkdir(at('two/deep'), { recursive: true });
    const before = await look(undefined, ['one', 'two/deep']);
    await writeFile(at('two/new'), '');
    await writeFile(at('new'), '');
    expect(await look(undefined, ['one', 'two/deep'])).toBe(before);
    await writeFile(at('two/deep/new'), '');
    expect(await look(undefined, ['one', 'two/deep'])).not.toBe(before);
  });

  it('does not follow a link', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'ferryd-poll-'));
    try {
      await symlink(outside, at('link'));
      const before = await look();
      await writeFile(join(outside, 'new'), '');
      expect(await look()).toBe(before);
    } finally {
      await rm(outside, { recursive: true, force: true });
    }
  });

  it('is the same exactly where nothing was done', async () => {
    const name = fc.constantFrom('a', 'b', 'a/x', 'a/y', 'b/x', 'b/x/z');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), name, content: fc.string({ maxLength: 3 }) }),
      fc.record({ kind: fc.constant('mkdir' as const), name, content: fc.constant('') }),
      fc.record({ kind: fc.constant('remove' as const), name, content: fc.constant('') }),
      fc.record({ kind: fc.constant('nothing' as const), name, content: fc.constant('') }),
    );
    /** What a person would compare: names, kinds, sizes, times in full. */
    async function shown(): Promise<string> {
      const names = (await readdir(root, { recursive: true })).sort();
      const lines = names.map(async (one) => {
        const stats = await lstat(at(one), { bigint: true });
        return stats.isDirectory() ? `${one}/` : `${one} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}`;
      });
      return (await Promise.all(lines)).join('\n');
    }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        for (const one of await readdir(root)) await rm(at(one), { recursive: true });
        for (const { kind, name: path, content } of steps) {
          const before = { signature: await look(), tree: await shown() };
          const done =
            kind === 'write'
              ? writeFile(at(path), content)
              : kind === 'mkdir'
                ? mkdir(at(path))
                : kind === 'remove'
                  ? rm(at(path), { recursive: true })
                  : Promise.resolve();
          // What cannot be done (no parent, a directory in the way) changes nothing.
          await done.catch(() => undefined);
          const after = { signature: await look(), tree: await shown() };
          expect(after.signature === before.signature).toBe(after.tree === before.tree);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('Poll', () => {
  it('can be stopped in the middle of a look, and calls nobody afterwards', async () => {
    for (let i = 0; i < 50; i += 1) await writeFile(at(`${i}`), '');
    const heard: string[] = [];
    const poll = new Poll({
      root,
      scopes: [''],
      ignores: () => false,
      everyMs: 1,
      settleMs: 1,
      onBaseline: () => void heard.push('baseline'),
      onChange: () => void heard.push('change'),
      onQuiet: () => void heard.push('quiet'),
      onRest: () => void heard.push('rest'),
    });
    poll.start();
    expect(poll.silentMs).toBeGreaterThanOrEqual(0);
    await poll.stop();
    await poll.stop();
    poll.start();
    expect(heard).toEqual([]);
    expect(poll.silentMs).toBe(0);
  });

  it('says baseline, change and quiet, each in its turn', async () => {
    const heard: string[] = [];
    let woken: () => void = () => undefined;
    const say = (what: string): void => {
      heard.push(what);
      woken();
    };
    const poll = new Poll({
      root,
      scopes: [''],
      ignores: () => false,
      everyMs: 20,
      settleMs: 10,
      onBaseline: () => say('baseline'),
      onChange: () => say('change'),
      onQuiet: () => say('quiet'),
      onRest: () => undefined,
    });
    const next = async (): Promise<string> => {
      while (heard.length === 0) {
        await new Promise<void>((resolve) => {
          woken = resolve;
        });
      }
      return heard.shift() ?? '';
    };
    try {
      poll.start();
      expect(await next()).toBe('baseline');
      await writeFile(at('new'), '');
      expect(await next()).toBe('change');
      expect(poll.unsettled).toBe(true);
      expect(await next()).toBe('quiet');
      expect(poll.unsettled).toBe(false);
      await rm(at('new'));
      expect(await next()).toBe('change');
    } finally {
      await poll.stop();
    }
  });
});
