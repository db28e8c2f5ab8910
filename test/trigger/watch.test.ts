/*
 * The watch trigger on real directories with the real chokidar. Each step waits for the fire it expects, so that
 * nothing here counts on a speed. What is (not) watched is read from the kernel's own list.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Trigger } from '../../src/trigger/trigger.js';
import { type WatchSpec, watchTrigger } from '../../src/trigger/watch.js';

const SETTLE_MS = 40;

describe('watchTrigger on real directories', () => {
  const problems: string[] = [];
  const triggers: Trigger[] = [];
  const causes: string[] = [];
  /** Of the last fire. */
  let places: ReadonlySet<string> | undefined;
  let woken: () => void = () => undefined;
  let base = '';
  let root = '';

  beforeEach(async () => {
    problems.length = 0;
    causes.length = 0;
    base = await realpath(await mkdtemp(join(tmpdir(), 'ferryd-watch-')));
    root = join(base, 'outbox');
    await mkdir(join(root, 'sub'), { recursive: true });
    await writeFile(join(root, 'sub', 'old.gz'), 'old');
  });
  afterEach(async () => {
    await Promise.all(triggers.splice(0).map((trigger) => trigger.stop()));
    await rm(base, { recursive: true, force: true });
  });

  async function start(spec: Partial<WatchSpec> = {}): Promise<Trigger> {
    const trigger = watchTrigger(
      { root, settleMs: SETTLE_MS, rescanMs: 3_600_000, ...spec },
      (cause) => {
        causes.push(cause.trigger);
        places = cause.places;
        woken();
      },
      (message) => void problems.push(message),
    );
    triggers.push(trigger);
    await trigger.start();
    return trigger;
  }

  /** Waits for a fire of this cause and forgets all up to it. */
  async function fired(cause: string): Promise<void> {
    for (;;) {
      const index = causes.indexOf(cause);
      if (index >= 0) {
        causes.splice(0, index + 1);
        return;
      }
      await new Promise<void>((resolve) => {
        woken = resolve;
      });
    }
  }

  async function started(spec: Partial<WatchSpec> = {}): Promise<Trigger> {
    const trigger = await start(spec);
    await fired('start-up scan');
    return trigger;
  }

  /** The inodes that this process has inotify watches on. */
  async function watchedInodes(): Promise<Set<number>> {
    const inodes = new Set<number>();
    for (const fd of await readdir('/proc/self/fdinfo')) {
      const info = await readFile(join('/proc/self/fdinfo', fd), 'utf8').catch(() => '');
      for (const match of info.matchAll(/^inotify wd:\S+ ino:([0-9a-f]+)/gm))
        inodes.add(Number.parseInt(match[1] ?? '', 16));
    }
    return inodes;
  }

  /** Waits until no fire has come for some settle times, and forgets those before. */
  async function quiet(): Promise<void> {
    do {
      causes.length = 0;
      await new Promise((resolve) => setTimeout(resolve, 5 * SETTLE_MS));
    } while (causes.length > 0);
  }

  async function isWatched(path: string): Promise<boolean> {
    return (await watchedInodes()).has((await stat(path)).ino);
  }

  it('fires for a new file, a changed one, a deleted one and a renamed one, also below', async () => {
    await started();
    await writeFile(join(root, 'new.gz'), 'new');
    await fired('watch');
    await appendFile(join(root, 'sub', 'old.gz'), 'more');
    await fired('watch');
    await rename(join(root, 'sub', 'old.gz'), join(root, 'sub', 'other.gz'));
    await fired('watch');
    await rm(join(root, 'sub', 'other.gz'));
    await fired('watch');
    expect(problems).toEqual([]);
  });

  it('fires for a file that is written into a directory made after the start', async () => {
    await started();
    await mkdir(join(root, 'a', 'b'), { recursive: true });
    await fired('watch');
    while (!(await isWatched(join(root, 'a', 'b')))) await new Promise((resolve) => setImmediate(resolve));
    causes.length = 0;
    await writeFile(join(root, 'a', 'b', 'c.gz'), 'c');
    await fired('watch');
  });

  it('says where something has changed, and that it cannot tell where a directory has gone', async () => {
    await started();
    const within = async (): Promise<string[]> => {
      await fired('watch');
      return [...(places ?? ['everything'])].sort();
    };
    await writeFile(join(root, 'sub', 'new.gz'), 'new');
    expect(await within()).toEqual(['sub/new.gz']);
    await rename(join(root, 'sub', 'new.gz'), join(root, 'sub', 'other.gz'));
    expect(await within()).toEqual(['sub/new.gz', 'sub/other.gz']);
    await mkdir(join(root, 'a', 'b'), { recursive: true });
    const made = await within();
    expect(made).toContain('a');
    expect(['a', 'a/b']).toEqual(expect.arrayContaining(made));
    while (!(await isWatched(join(root, 'a', 'b')))) await new Promise((resolve) => setImmediate(resolve));
    await quiet();
    await writeFile(join(root, 'a', 'b', 'c.gz'), 'c');
    expect(await within()).toEqual(['a/b/c.gz']);
    await rename(join(root, 'a'), join(root, 'z'));
    expect(await within()).toEqual(['everything']);
  });

  it.runIf(process.platform === 'linux')('watches directories, no files, and follows no link', async () => {
    const outside = join(base, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'x'), '');
    await symlink(outside, join(root, 'link'));
    await symlink(join(base, 'nowhere'), join(root, 'dangling'));
    const trigger = await started();
    expect(await isWatched(root)).toBe(true);
    expect(await isWatched(join(root, 'sub'))).toBe(true);
    expect(await isWatched(join(root, 'sub', 'old.gz'))).toBe(false);
    expect(await isWatched(outside)).toBe(false);
    expect(await isWatched(base)).toBe(false);
    await trigger.stop();
    expect(await isWatched(root)).toBe(false);
    expect(await isWatched(join(root, 'sub'))).toBe(false);
  });

  it('watches a root that is a link itself', async () => {
    await symlink(root, join(base, 'alias'));
    await started({ root: join(base, 'alias') });
    await writeFile(join(root, 'new.gz'), '');
    await fired('watch');
  });

  it('watches a root with odd characters in its name', async () => {
    const odd = join(base, 'a\\b [c] *é {x,y} !');
    await mkdir(join(odd, 'in\\ner'), { recursive: true });
    await started({ root: odd, ignored: (path) => path.endsWith('.tmp') });
    await writeFile(join(odd, 'in\\ner', 'new.gz'), '');
    await fired('watch');
  });

  it.runIf(process.platform === 'linux')('does not watch below an ignored directory', async () => {
    await mkdir(join(root, 'cache', 'deep'), { recursive: true });
    await started({ ignored: (path) => path === 'cache' });
    expect(await isWatched(join(root, 'sub'))).toBe(true);
    expect(await isWatched(join(root, 'cache'))).toBe(false);
    expect(await isWatched(join(root, 'cache', 'deep'))).toBe(false);
  });

  it('goes on after a directory was deleted and made again at once', async () => {
    await started();
    await rm(join(root, 'sub'), { recursive: true });
    await mkdir(join(root, 'sub'));
    await fired('watch');
    causes.length = 0;
    await writeFile(join(root, 'sub', 'after.gz'), '');
    await fired('watch');
    expect(problems).toEqual([]);
  });

  it('sees what editors do when they save', async () => {
    await started();
    const file = join(root, 'sub', 'notes.txt');
    await writeFile(file, 'one');
    await fired('watch');
    // A temporary file renamed over the old one.
    await writeFile(join(root, 'sub', 'notes.txt.tmp1'), 'two');
    await rename(join(root, 'sub', 'notes.txt.tmp1'), file);
    await fired('watch');
    // vim: the old file becomes the backup, a new one is written, the backup goes.
    causes.length = 0;
    await rename(file, `${file}~`);
    await writeFile(file, 'three');
    await rm(`${file}~`);
    await fired('watch');
    causes.length = 0;
    await appendFile(file, ', and in place');
    await fired('watch');
    expect(problems).toEqual([]);
  });

  it('sees what happens in a directory that was renamed, or came from elsewhere', async () => {
    await mkdir(join(root, 'sub', 'deep'));
    await mkdir(join(base, 'elsewhere', 'deep'), { recursive: true });
    await started();
    await rename(join(root, 'sub'), join(root, 'renamed'));
    await rename(join(base, 'elsewhere'), join(root, 'moved-in'));
    await fired('watch');
    for (const directory of [join('renamed', 'deep'), join('moved-in', 'deep')]) {
      while (!(await isWatched(join(root, directory)))) await new Promise((resolve) => setImmediate(resolve));
      // The opening of their watches is the last thing that the renames brought about.
      await quiet();
      await writeFile(join(root, directory, 'new.gz'), 'new');
      await fired('watch');
    }
    await quiet();
    await rm(join(root, 'renamed'), { recursive: true });
    await fired('watch');
    expect(problems).toEqual([]);
  });

  it('makes good what the kernel drops when more happens than it keeps', async () => {
    await started({ settleMs: 100 });
    // Two events each, and nothing of ours can run meanwhile: the queue holds 16,384, and the rest is gone.
    for (let i = 0; i < 9000; i += 1) {
      writeFileSync(join(root, `${i % 2}`), '');
      rmSync(join(root, `${i % 2}`));
    }
    mkdirSync(join(root, 'late', 'r'), { recursive: true });
    writeFileSync(join(root, 'late', 'r', 'unseen.gz'), '');
    const droppedBefore = causes.length;
    await fired('watch');
    expect(droppedBefore).toBe(0);
    while (!(await isWatched(join(root, 'late', 'r')))) await new Promise((resolve) => setImmediate(resolve));
    await quiet();
    await writeFile(join(root, 'late', 'r', 'new.gz'), '');
    await fired('watch');
    expect(problems).toEqual([]);
  });

  it.runIf(process.platform === 'linux')('leaves nothing behind, whenever it is stopped', async () => {
    for (let i = 0; i < 40; i += 1) await mkdir(join(root, `${i % 8}`, `${i}`), { recursive: true });
    const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
    const cycle = async (round: number): Promise<void> => {
      const events = round % 3 === 2 ? 'never' : 'auto';
      const trigger = watchTrigger(
        { root, settleMs: 1, rescanMs: 3_600_000, pollMs: 1, events },
        (cause) => {
          causes.push(cause.trigger);
          woken();
        },
        (message) => void problems.push(message),
      );
      const starting = trigger.start();
      // Stopped at once, after some turns of the loop (while it opens), or when it is open.
      if (round % 4 === 0) await trigger.stop();
      await starting;
      for (let turns = 0; turns < round % 23; turns += 1)
        await new Promise((resolve) => setImmediate(resolve));
      if (round % 5 === 0 && round % 4 !== 0) {
        await fired('start-up scan');
        await writeFile(join(root, '1', `new-${round}`), '');
        await fired('watch');
      }
      await trigger.stop();
      causes.length = 0;
    };
    // Through to the end, so that what this process opens once for all is open.
    await cycle(145);
    const before = await openFiles();
    for (let round = 0; round < 120; round += 1) await cycle(round);
    expect(await openFiles()).toBe(before);
    expect(await watchedInodes()).toEqual(new Set());
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(causes).toEqual([]);
    expect(problems).toEqual([]);
  });

  it('goes on after the root was deleted and made again', async () => {
    await started();
    await rm(root, { recursive: true });
    await fired('watch');
    await mkdir(root);
    await fired('start-up scan');
    causes.length = 0;
    await writeFile(join(root, 'after.gz'), '');
    await fired('watch');
  });

  it('goes on after the root was replaced by another directory', async () => {
    await started();
    await mkdir(join(base, 'next'));
    await rename(root, join(base, 'last'));
    await rename(join(base, 'next'), root);
    await fired('start-up scan');
    causes.length = 0;
    await writeFile(join(root, 'after.gz'), '');
    await fired('watch');
  });

  it('picks up a root that was missing at the start', async () => {
    await rm(root, { recursive: true });
    await start();
    expect(problems).toHaveLength(1);
    await mkdir(root);
    await fired('start-up scan');
    await writeFile(join(root, 'first.gz'), '');
    await fired('watch');
    expect(problems).toHaveLength(1);
  });

  it('rescans over a new watcher that sees as well', async () => {
    await started({ rescanMs: 200, settleMs: 10 });
    await fired('rescan');
    await fired('rescan');
    await writeFile(join(root, 'sub', 'new.gz'), '');
    await fired('watch');
  });

  it('sees changes in place also where the environment makes chokidar poll', async () => {
    vi.stubEnv('CHOKIDAR_USEPOLLING', '1');
    try {
      const trigger = await started({ pollMs: 200 });
      expect(trigger.coverage()).toMatchObject({ how: 'partly', everyMs: 200 });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toContain('CHOKIDAR_USEPOLLING is set');
      await writeFile(join(root, 'sub', 'old.gz'), 'new');
      await fired('watch');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('lets two triggers watch the same root', async () => {
    const first = await started();
    await started();
    await first.stop();
    causes.length = 0;
    await writeFile(join(root, 'sub', 'new.gz'), '');
    await fired('watch');
  });

  it('takes a burst of thousands of files as few fires, and sees what comes after it', async () => {
    await started({ settleMs: 300 });
    for (let i = 0; i < 3000; i += 1) await writeFile(join(root, `${i}.gz`), '');
    await mkdir(join(root, 'made', 'in', 'storm'), { recursive: true });
    await fired('watch');
    expect(causes.length).toBeLessThan(5);
    while (!(await isWatched(join(root, 'made', 'in', 'storm')))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    // What the storm left pending may account for one or two of these fires, not for all.
    for (let i = 0; i < 4; i += 1) {
      causes.length = 0;
      await writeFile(join(root, 'made', 'in', 'storm', `${i}.gz`), '');
      await fired('watch');
    }
    expect(problems).toEqual([]);
  });
});
