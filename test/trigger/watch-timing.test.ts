/*
 * When the watch trigger fires: its clock is a fake one, and chokidar is a stand-in that says what the test wants.
 * What chokidar really says is in watch.test.ts. The root is a real directory.
 */
import { EventEmitter } from 'node:events';
import { mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Trigger } from '../../src/trigger/trigger.js';
import { explainWatchError, type WatchSpec, watchTrigger } from '../../src/trigger/watch.js';

class StandIn extends EventEmitter {
  closed = false;
  readonly ignored: (path: string, stats?: { isDirectory(): boolean }) => boolean;

  constructor(options: { ignored: StandIn['ignored'] }) {
    super();
    this.ignored = options.ignored;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.removeAllListeners();
  }
}

const opened = vi.hoisted(() => [] as unknown[]);

vi.mock('chokidar', () => ({
  watch: (_paths: string, options: { ignored: StandIn['ignored'] }) => {
    const watcher = new StandIn(options);
    opened.push(watcher);
    return watcher;
  },
}));

const realTimeout = globalThis.setTimeout;

/** Waits in real time for what real file system calls bring about. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i += 1) await new Promise((resolve) => realTimeout(resolve, 2));
  expect(condition()).toBe(true);
}

describe('watchTrigger', () => {
  const causes: string[] = [];
  const problems: string[] = [];
  let base = '';
  let root = '';
  let trigger: Trigger | undefined;

  beforeEach(async () => {
    causes.length = 0;
    problems.length = 0;
    opened.length = 0;
    base = await realpath(await mkdtemp(join(tmpdir(), 'ferryd-watch-')));
    root = join(base, 'outbox');
    await mkdir(root);
    vi.useFakeTimers();
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
  });
  afterEach(async () => {
    await trigger?.stop();
    expect(vi.getTimerCount()).toBe(0);
    expect(watchers().every((watcher) => watcher.closed)).toBe(true);
    vi.useRealTimers();
    vi.restoreAllMocks();
    await rm(base, { recursive: true, force: true });
  });

  function watchers(): StandIn[] {
    return opened.filter((one) => one instanceof StandIn);
  }

  function newest(): StandIn {
    const watcher = watchers().at(-1);
    if (watcher === undefined) throw new Error('nothing is watched');
    return watcher;
  }

  async function start(spec: Partial<WatchSpec> = {}): Promise<Trigger> {
    trigger = watchTrigger(
      { root, settleMs: 500, rescanMs: 3_600_000, ...spec },
      (cause) => void causes.push(cause.trigger),
      (message) => void problems.push(message),
    );
    await trigger.start();
    return trigger;
  }

  /** Started, ready, and the start-up scan asked for and forgotten. */
  async function watching(spec: Partial<WatchSpec> = {}): Promise<Trigger> {
    const started = await start(spec);
    newest().emit('ready');
    expect(causes.splice(0)).toEqual(['start-up scan']);
    return started;
  }

  function change(name = 'a.gz', directory = root): void {
    newest().emit('raw', 'change', name, { watchedPath: directory });
  }

  it('scans at the start when it is ready, once', async () => {
    await start();
    expect(causes).toEqual([]);
    newest().emit('ready');
    expect(causes).toEqual(['start-up scan']);
    vi.advanceTimersByTime(60_000);
    expect(causes).toEqual(['start-up scan']);
    expect(problems).toEqual([]);
  });

  it('scans at the start also where it does not get ready, and again when it does', async () => {
    await start();
    vi.advanceTimersByTime(29_999);
    expect(causes).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(causes).toEqual(['start-up scan']);
    newest().emit('ready');
    expect(causes).toEqual(['start-up scan', 'start-up scan']);
  });

  it('fires once for a burst, when it has been quiet for the settle time', async () => {
    await watching();
    for (let i = 0; i < 20; i += 1) {
      change(`${i}.gz`);
      vi.advanceTimersByTime(50);
    }
    vi.advanceTimersByTime(449);
    expect(causes).toEqual([]);
    vi.advanceTimersByTime(2);
    expect(causes).toEqual(['watch']);
    vi.advanceTimersByTime(60_000);
    expect(causes).toEqual(['watch']);
  });

  it('fires after ten settle times where it never gets quiet, again and again', async () => {
    await watching();
    for (let ms = 0; ms <= 10_200; ms += 100) {
      change();
      vi.advanceTimersByTime(100);
    }
    expect(causes).toEqual(['watch', 'watch']);
  });

  it('has at least a second of patience', async () => {
    await watching({ settleMs: 20 });
    for (let ms = 0; ms < 990; ms += 18) {
      change();
      vi.advanceTimersByTime(18);
    }
    expect(causes).toEqual([]);
    change();
    vi.advanceTimersByTime(10);
    expect(causes).toEqual(['watch']);
  });

  it('keeps one timer for hints, however many events come', async () => {
    await watching();
    const before = vi.getTimerCount();
    for (let i = 0; i < 63; i += 1) change(`${i}`);
    expect(vi.getTimerCount()).toBe(before + 1);
  });

  it('does not listen to what is ignored, and asks about paths below the root', async () => {
    const asked: string[] = [];
    await watching({
      ignored(path) {
        asked.push(path);
        return path.endsWith('.tmp');
      },
    });
    change('a.tmp', join(root, 'deep'));
    vi.advanceTimersByTime(10_000);
    expect(causes).toEqual([]);
    change('a.gz', join(root, 'deep'));
    vi.advanceTimersByTime(10_000);
    expect(causes).toEqual(['watch']);
    expect(asked).toEqual(['deep/a.tmp', 'deep/a.gz']);
    expect(newest().ignored(root)).toBe(false);
    expect(newest().ignored(base)).toBe(false);
    expect(newest().ignored(join(root, 'x.tmp'))).toBe(true);
  });

  it('watches directories only', async () => {
    await watching();
    expect(newest().ignored(join(root, 'file'), { isDirectory: () => false })).toBe(true);
    expect(newest().ignored(join(root, 'sub'), { isDirectory: () => true })).toBe(false);
  });

  it('takes an event without a name as a hint', async () => {
    await watching({ ignored: () => true });
    newest().emit('raw', 'change', null, {});
    vi.advanceTimersByTime(500);
    expect(causes).toEqual(['watch']);
  });

  it('rescans at the interval with jitter, over a watcher built anew', async () => {
    const started = await watching();
    const first = newest();
    expect(started.nextRun()?.getTime()).toBe(Date.now() + 3_600_000);
    vi.mocked(Math.random).mockReturnValue(0);
    vi.advanceTimersByTime(3_600_000);
    expect(first.closed).toBe(true);
    expect(newest()).not.toBe(first);
    expect(causes).toEqual([]);
    newest().emit('ready');
    expect(causes.splice(0)).toEqual(['rescan']);
    expect(started.nextRun()?.getTime()).toBe(Date.now() + 3_240_000);
    vi.mocked(Math.random).mockReturnValue(0.999_999);
    vi.advanceTimersByTime(3_240_000);
    newest().emit('ready');
    expect(causes).toEqual(['rescan']);
    expect(Math.round(((started.nextRun()?.getTime() ?? 0) - Date.now()) / 1000)).toBe(3960);
  });

  it('rescans also where the interval is longer than a timer can count', async () => {
    const day = 86_400_000;
    await watching({ rescanMs: 30 * day });
    // The look at the root every five seconds would make this slow; its stat calls never end within the fake time.
    vi.advanceTimersByTime(29 * day);
    expect(watchers()).toHaveLength(1);
    vi.advanceTimersByTime(1 * day);
    expect(watchers()).toHaveLength(2);
  });

  it('tells an error once a kind, and scans', async () => {
    await watching();
    const full = Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), {
      code: 'ENOSPC',
    });
    for (let i = 0; i < 1000; i += 1) newest().emit('error', full);
    expect(problems).toEqual([explainWatchError(full, root)]);
    expect(problems[0]).toContain('fs.inotify.max_user_watches');
    vi.advanceTimersByTime(500);
    expect(causes).toEqual(['watch']);
    newest().emit('error', Object.assign(new Error('EMFILE'), { code: 'EMFILE' }));
    expect(problems[1]).toContain('fs.inotify.max_user_instances');
  });

  it('survives an error that comes after it was stopped', async () => {
    const started = await watching();
    await started.stop();
    expect(() => newest().emit('error', new Error('late'))).not.toThrow();
    newest().emit('ready');
    expect(causes).toEqual([]);
    expect(problems).toEqual([]);
  });

  it('closes the watcher in a storm of events, and fires when it is quiet afterwards', async () => {
    await watching();
    const first = newest();
    for (let i = 0; i < 63; i += 1) change(`${i}`);
    expect(first.closed).toBe(false);
    change();
    expect(first.closed).toBe(true);
    vi.advanceTimersByTime(999);
    expect(watchers()).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(watchers()).toHaveLength(2);
    vi.advanceTimersByTime(600);
    newest().emit('ready');
    vi.advanceTimersByTime(499);
    expect(causes).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(causes).toEqual(['watch']);
    vi.advanceTimersByTime(60_000);
    expect(causes).toEqual(['watch']);
  });

  it('fires in a storm without end after ten settle times', async () => {
    await watching();
    let seen = newest();
    const end = Date.now() + 5000;
    while (Date.now() < end) {
      if (newest() !== seen) newest().emit('ready');
      seen = newest();
      for (let i = 0; i < 64; i += 1) change();
      vi.advanceTimersByTime(100);
    }
    expect(causes).toEqual(['watch']);
  });

  it('pauses ten times as long as the watcher takes to open', async () => {
    await start();
    vi.advanceTimersByTime(2000);
    newest().emit('ready');
    for (let i = 0; i < 64; i += 1) change();
    vi.advanceTimersByTime(19_999);
    expect(watchers()).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(watchers()).toHaveLength(2);
  });

  it('takes many events in a long time for no storm', async () => {
    await watching();
    for (let i = 0; i < 1000; i += 1) {
      change();
      vi.advanceTimersByTime(20);
    }
    expect(watchers()).toHaveLength(1);
  });

  it('rescans in a storm, and notices a root that goes in it', async () => {
    await watching({ rescanMs: 500 });
    for (let i = 0; i < 64; i += 1) change();
    vi.advanceTimersByTime(500);
    expect(causes).toContain('rescan');
    await rm(root, { recursive: true });
    vi.advanceTimersByTime(500);
    vi.advanceTimersByTime(5000);
    await until(() => newest().closed);
    vi.advanceTimersByTime(250);
    await until(() => problems.length === 1);
  });

  it('builds the watcher anew where a directory went and came back at once', async () => {
    await watching();
    await mkdir(join(root, 'out'));
    newest().emit('raw', 'rename', 'out', { watchedPath: join(root, 'out') });
    vi.advanceTimersByTime(500);
    await until(() => watchers().length === 2);
    newest().emit('ready');
    expect(causes).toEqual(['watch', 'rescan']);
    // Gone for good: nothing to build.
    newest().emit('raw', 'rename', 'gone', { watchedPath: join(root, 'gone') });
    vi.advanceTimersByTime(500);
    await new Promise((resolve) => realTimeout(resolve, 20));
    expect(watchers()).toHaveLength(2);
  });

  it('says that the root is missing, once, and picks it up when it appears', async () => {
    await rm(root, { recursive: true });
    await start();
    expect(problems).toEqual([
      `The directory ${root} does not exist, so it cannot be watched. It is looked for every 5 seconds and picked up as soon as it is there.`,
    ]);
    vi.advanceTimersByTime(5000);
    await until(() => vi.getTimerCount() === 2);
    expect(problems).toHaveLength(1);
    expect(watchers()).toHaveLength(0);
    await mkdir(root);
    vi.advanceTimersByTime(5000);
    await until(() => watchers().length === 1);
    newest().emit('ready');
    expect(causes).toEqual(['start-up scan']);
  });

  it('rescans also without a root, so that the failed run is seen', async () => {
    await rm(root, { recursive: true });
    await start({ rescanMs: 60_000 });
    vi.advanceTimersByTime(60_000);
    expect(causes).toEqual(['rescan']);
  });

  it('says where the root is no directory', async () => {
    await rm(root, { recursive: true });
    await writeFile(root, '');
    await start();
    expect(problems[0]).toMatch(/outbox is not a directory, so it cannot be watched\./);
  });

  it('notices that the root was deleted, and says it again each time', async () => {
    await watching();
    const first = newest();
    await rm(root, { recursive: true });
    first.emit('raw', 'rename', 'outbox', { watchedPath: root });
    await until(() => first.closed);
    expect(problems).toEqual([]);
    vi.advanceTimersByTime(250);
    await until(() => problems.length === 1);
    await mkdir(root);
    vi.advanceTimersByTime(5000);
    await until(() => watchers().length === 2);
    newest().emit('ready');
    await rm(root, { recursive: true });
    const second = newest();
    second.emit('raw', 'rename', 'outbox', { watchedPath: root });
    await until(() => second.closed);
    vi.advanceTimersByTime(250);
    await until(() => problems.length === 2);
  });

  it('notices by itself that another directory stands in the place of the root', async () => {
    await watching();
    const first = newest();
    await rename(root, join(base, 'old'));
    await mkdir(root);
    vi.advanceTimersByTime(5000);
    await until(() => watchers().length === 2);
    expect(first.closed).toBe(true);
    newest().emit('ready');
    expect(causes).toEqual(['start-up scan']);
    expect(problems).toEqual([]);
  });

  it('stays stopped, and may be started and stopped twice', async () => {
    const started = await watching();
    await started.start();
    expect(watchers()).toHaveLength(1);
    change();
    await started.stop();
    await started.stop();
    vi.advanceTimersByTime(7_200_000);
    await started.start();
    expect(causes).toEqual([]);
    expect(started.nextRun()).toBeUndefined();
  });

  it('opens nothing where it is stopped while it still looks', async () => {
    trigger = watchTrigger(
      { root, settleMs: 500, rescanMs: 60_000 },
      (cause) => void causes.push(cause.trigger),
      (message) => void problems.push(message),
    );
    const starting = trigger.start();
    await trigger.stop();
    await starting;
    expect(watchers()).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('goes on where the one who is asked throws', async () => {
    trigger = watchTrigger(
      { root, settleMs: 500, rescanMs: 60_000 },
      () => {
        throw new Error('the queue is closed');
      },
      (message) => void problems.push(message),
    );
    await trigger.start();
    newest().emit('ready');
    change();
    vi.advanceTimersByTime(500);
    expect(problems).toEqual(
      Array(2).fill(`The run that the watch on ${root} asked for could not be started: the queue is closed.`),
    );
  });
});
