/*
 * When the watch trigger fires, and what it says of its coverage: its clock is a fake one, chokidar is a stand-in that
 * says what the test wants, and so is the mount table where a test gives one. What chokidar really says is in
 * watch.test.ts. The root is a real directory.
 */
import { EventEmitter } from 'node:events';
import { appendFileSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, realpath, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Cause, Coverage, Trigger } from '../../src/trigger/trigger.js';
import { explainWatchError } from '../../src/trigger/watch/explain.js';
import { type WatchSpec, watchTrigger } from '../../src/trigger/watch.js';

class StandIn extends EventEmitter {
  closed = false;
  readonly options = { usePolling: false };
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

/**
 * Lets the fake time pass, in steps. Between two of them the file system answers what it was asked: Node's queue for
 * it is a fair one, and no look here takes as many calls one behind the other.
 */
async function pass(stepMs: number, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i += 1) {
    vi.advanceTimersByTime(stepMs);
    for (let calls = 0; calls < 16; calls += 1) await lstat(tmpdir());
  }
  expect(condition()).toBe(true);
}

describe('watchTrigger', () => {
  const causes: string[] = [];
  const problems: string[] = [];
  const covered: Coverage[] = [];
  let base = '';
  let root = '';
  let trigger: Trigger | undefined;

  beforeEach(async () => {
    causes.length = 0;
    problems.length = 0;
    covered.length = 0;
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
      (coverage) => void covered.push(coverage),
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

  /** What was said of the coverage since it was last asked, without the times. */
  function shown(): string[] {
    return covered
      .splice(0)
      .map(({ how, everyMs }) => (everyMs === undefined ? how : `${how} every ${everyMs}`));
  }

  function fail(code: string): Error {
    const error = Object.assign(new Error(`${code}: as the test wants`), { code });
    newest().emit('error', error);
    return error;
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
    const started = await watching({ rescanMs: 4_000 });
    const first = newest();
    expect(started.nextRun()?.getTime()).toBe(Date.now() + 4_000);
    vi.mocked(Math.random).mockReturnValue(0);
    vi.advanceTimersByTime(4_000);
    expect(first.closed).toBe(true);
    expect(newest()).not.toBe(first);
    expect(causes).toEqual([]);
    newest().emit('ready');
    expect(causes).toEqual(['rescan']);
    expect(started.nextRun()?.getTime()).toBe(Date.now() + 3_600);
  });

  it('gives all watches back where the system has too few, looks at the tree instead, and tells it once', async () => {
    await start({ pollMs: 7_000 });
    expect(shown()).toEqual(['starting']);
    const full = fail('ENOSPC');
    expect(newest().closed).toBe(true);
    expect(problems.splice(0)).toEqual([explainWatchError(full, root)]);
    await until(() => causes.length === 1);
    expect(causes.splice(0)).toEqual(['start-up scan']);
    expect(shown()).toEqual(['polling every 7000']);
    expect(trigger?.coverage()?.message).toContain('fs.inotify.max_user_watches');

    await writeFile(join(root, 'a.gz'), 'a');
    const changedMs = Date.now();
    await pass(100, () => causes.length > 0);
    expect(causes).toEqual(['watch']);
    expect(Date.now() - changedMs).toBeGreaterThanOrEqual(7_500);
    causes.length = 0;
    vi.advanceTimersByTime(20_000);
    expect(causes).toEqual([]);
    expect(problems).toEqual([]);
    expect(shown()).toEqual([]);
  });

  it('tries to watch again with each rescan, and tells the same trouble again only after it was over', async () => {
    await start({ rescanMs: 40_000 });
    fail('ENOSPC');
    await until(() => causes.length === 1);
    expect(shown()).toEqual(['starting', 'polling every 30000']);
    const since = trigger?.coverage()?.sinceMs;
    for (let tries = 2; tries <= 4; tries += 1) {
      await pass(1_000, () => watchers().length === tries);
      causes.length = 0;
      if (tries < 4) fail('ENOSPC');
      else newest().emit('ready');
      await until(() => causes.length === 1);
      expect(causes).toEqual(['rescan']);
      if (tries < 4) expect(trigger?.coverage()?.sinceMs).toBe(since);
    }
    expect(problems).toHaveLength(1);
    expect(shown()).toEqual(['events']);
    expect(trigger?.coverage()?.message).toBeUndefined();
    fail('ENOSPC');
    expect(problems).toHaveLength(2);
  });

  it('scans at once and once more where the watches run out later', async () => {
    await watching();
    fail('EMFILE');
    fail('EMFILE');
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('fs.inotify.max_user_instances');
    await until(() => causes.length === 1);
    expect(causes).toEqual(['rescan']);
    vi.advanceTimersByTime(10_000);
    expect(causes).toEqual(['rescan']);
    expect(shown()).toEqual(['starting', 'events', 'polling every 30000']);
  });

  it('goes on with events and looks at the tree besides where the watcher met something else', async () => {
    await watching();
    for (let i = 0; i < 1000; i += 1) fail('EIO');
    await until(() => causes.length === 1);
    expect(problems).toHaveLength(1);
    expect(shown()).toEqual(['starting', 'events', 'partly every 30000']);
    causes.length = 0;
    change();
    vi.advanceTimersByTime(500);
    expect(causes).toEqual(['watch']);
  });

  it('does not look at what it may not read', async () => {
    await watching();
    fail('EACCES');
    expect(shown()).toEqual(['starting', 'events', 'partly']);
    expect(problems).toHaveLength(1);
    expect(trigger?.coverage()?.message).toBe(problems[0]);
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

  it('looks at the tree instead where only what is ignored storms, and asks for no run because of it', async () => {
    await watching({ rescanMs: 40_000, pollMs: 5_000, ignored: (path) => path.endsWith('.log') });
    for (let i = 0; i < 63; i += 1) change('noise.log');
    expect(newest().closed).toBe(false);
    change('noise.log');
    expect(newest().closed).toBe(true);
    await until(() => causes.length === 1);
    expect(causes.splice(0)).toEqual(['rescan']);
    expect(shown()).toEqual(['starting', 'events', 'polling every 5000']);
    expect(trigger?.coverage()?.message).toContain('what the job leaves out');
    const log = join(root, 'noise.log');
    const startMs = Date.now();
    await pass(500, () => {
      appendFileSync(log, 'x');
      return Date.now() - startMs > 30_000;
    });
    expect(causes).toEqual([]);
    expect(problems).toEqual([]);
    await pass(500, () => watchers().length === 2);
    newest().emit('ready');
    expect(causes).toEqual(['rescan']);
    expect(shown()).toEqual(['events']);
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
    expect(causes).toEqual(['watch']);
    // Gone for good: nothing to build.
    newest().emit('raw', 'rename', 'gone', { watchedPath: join(root, 'gone') });
    vi.advanceTimersByTime(500);
    await new Promise((resolve) => realTimeout(resolve, 20));
    expect(watchers()).toHaveLength(2);
  });

  it('takes a scan that is asked for as an answer to all hints before it', async () => {
    await watching({ rescanMs: 4_000 });
    vi.advanceTimersByTime(3_900);
    change();
    vi.advanceTimersByTime(100);
    change();
    newest().emit('ready');
    expect(causes).toEqual(['rescan']);
    vi.advanceTimersByTime(3_000);
    expect(causes).toEqual(['rescan']);
    change();
    vi.advanceTimersByTime(500);
    expect(causes).toEqual(['rescan', 'watch']);
  });

  it('says how the tree is covered, from the start to the stop', async () => {
    const started = await start();
    expect(started.coverage()).toEqual({ root, how: 'starting', sinceMs: Date.now(), everyMs: undefined });
    vi.advanceTimersByTime(300);
    newest().emit('ready');
    expect(started.coverage()).toEqual({ root, how: 'events', sinceMs: Date.now(), everyMs: undefined });
    for (let i = 0; i < 64; i += 1) change();
    expect(started.coverage()).toMatchObject({ how: 'pausing', sinceMs: Date.now() });
    expect(started.coverage()?.message).toBe(
      'So many changes came at once that nothing is watched for 3 s; a scan follows.',
    );
    vi.advanceTimersByTime(3_000);
    newest().emit('ready');
    await rm(root, { recursive: true });
    vi.advanceTimersByTime(5_000);
    await until(() => newest().closed);
    vi.advanceTimersByTime(250);
    await until(() => problems.length === 1);
    expect(started.coverage()).toMatchObject({ how: 'absent', message: problems[0] });
    expect(shown()).toEqual(['starting', 'events', 'pausing', 'events', 'absent']);
    await started.stop();
    expect(started.coverage()).toBeUndefined();
    expect(shown()).toEqual([]);
  });

  it('goes on where the one who hears of the coverage throws', async () => {
    trigger = watchTrigger(
      { root, settleMs: 500, rescanMs: 60_000 },
      (cause) => void causes.push(cause.trigger),
      (message) => void problems.push(message),
      () => {
        throw new Error('the disk is full');
      },
    );
    await trigger.start();
    newest().emit('ready');
    expect(causes).toEqual(['start-up scan']);
    expect(problems[0]).toBe(`How ${root} is watched could not be shown: the disk is full.`);
  });

  it('opens no watcher on a network file system, and sees what changes there', async () => {
    await writeFile(join(root, 'a.gz'), 'a');
    await start({ pollMs: 5_000, readMounts: async () => `36 1 0:50 / ${root} rw - nfs4 nas:/x rw` });
    await until(() => causes.length === 1);
    expect(causes.splice(0)).toEqual(['start-up scan']);
    expect(shown()).toEqual(['starting', 'polling every 5000']);
    expect(trigger?.coverage()?.message).toBe(
      `${root} lies on nfs4, where changes made elsewhere are not reported.`,
    );
    await utimes(join(root, 'a.gz'), 1, 1);
    await pass(100, () => causes.length > 0);
    expect(causes).toEqual(['watch']);
    expect(watchers()).toHaveLength(0);
    expect(problems).toEqual([]);
  });

  it('waits until two looks agree, and no longer than ten settle times', async () => {
    await start({ pollMs: 5_000, events: 'never' });
    await until(() => causes.length === 1);
    expect(trigger?.coverage()?.message).toBe('The job says "events: never".');
    causes.length = 0;
    const growing = join(root, 'growing');
    // It grows for three seconds after the first look that sees it, and the settle time is half a second.
    const startMs = Date.now();
    await pass(100, () => {
      if (Date.now() - startMs <= 8_000) appendFileSync(growing, 'x');
      return causes.length > 0;
    });
    expect(causes).toEqual(['watch']);
    expect(Date.now() - startMs).toBeGreaterThan(8_000);
    expect(Date.now() - startMs).toBeLessThan(10_000);
    causes.length = 0;
    const againMs = Date.now();
    await pass(100, () => {
      appendFileSync(growing, 'x');
      return causes.length > 0;
    });
    expect(Date.now() - againMs).toBeGreaterThan(5_000);
    expect(Date.now() - againMs).toBeLessThan(11_000);
  });

  it('looks only at the part of a tree that cannot be trusted', async () => {
    await mkdir(join(root, 'nas', 'deep'), { recursive: true });
    await mkdir(join(root, 'cache'));
    await start({
      pollMs: 5_000,
      ignored: (path) => path === 'cache' || path.startsWith('cache/'),
      readMounts: async () =>
        [
          '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
          `2 1 0:50 / ${root}/nas rw - fuse.sshfs me@host: rw`,
          `3 1 0:51 / ${root}/cache/x rw - nfs nas:/x rw`,
          '',
        ].join('\n'),
    });
    newest().emit('ready');
    expect(newest().ignored(join(root, 'nas'))).toBe(true);
    await until(() => causes.length === 1);
    expect(causes.splice(0)).toEqual(['start-up scan']);
    expect(shown()).toEqual(['starting', 'partly every 5000']);
    expect(trigger?.coverage()?.message).toBe(
      'Changes made elsewhere are not reported for what is mounted at nas (fuse.sshfs).',
    );
    await writeFile(join(root, 'nas', 'deep', 'new'), '');
    await pass(100, () => causes.length > 0);
    expect(causes).toEqual(['watch']);
  });

  it('builds the watcher anew where something is mounted or unmounted in the tree', async () => {
    const own = '1 0 8:1 / / rw - ext4 /dev/sda1 rw\n';
    const stick = `7 1 8:17 / ${root}/stick rw - vfat /dev/sdb1 rw\n`;
    let table = own;
    let reads = 0;
    await watching({
      readMounts: async () => {
        reads += 1;
        return table;
      },
    });
    for (const next of [own + stick, own, own + stick.replace('7 ', '8 ')]) {
      const last = newest();
      table = next;
      await pass(500, () => newest() !== last);
      expect(last.closed).toBe(true);
      newest().emit('ready');
      expect(causes.splice(0)).toEqual(['rescan']);
    }
    // What is mounted elsewhere is none of its business.
    const last = newest();
    table += `9 1 0:60 / ${base}/other rw - tmpfs tmpfs rw\n`;
    const readBefore = reads;
    await pass(500, () => reads > readBefore + 1);
    expect(newest()).toBe(last);
    expect(shown()).toEqual(['starting', 'events']);
  });

  it('asks for no run on a file system that does not answer, and for one when it does', async () => {
    let answer: ((table: string) => void) | undefined;
    let away = false;
    await watching({
      rescanMs: 100_000,
      readMounts: () =>
        away
          ? new Promise((resolve) => {
              answer = resolve;
            })
          : Promise.resolve(''),
    });
    away = true;
    vi.advanceTimersByTime(5_000);
    await until(() => answer !== undefined);
    vi.advanceTimersByTime(59_999);
    expect(problems).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('has not answered for 60 seconds');
    expect(newest().closed).toBe(true);
    expect(trigger?.coverage()).toMatchObject({ how: 'absent', message: problems[0] });
    vi.advanceTimersByTime(200_000);
    expect(causes).toEqual([]);
    away = false;
    answer?.('');
    await until(() => watchers().length === 2);
    newest().emit('ready');
    // The rescans that were due meanwhile are a part of it.
    vi.advanceTimersByTime(1_000);
    expect(causes).toEqual(['start-up scan']);
    expect(problems).toHaveLength(1);
    expect(shown()).toEqual(['starting', 'events', 'absent', 'starting', 'events']);
  });

  it('puts a rescan off until the root answers', async () => {
    let answer: ((table: string) => void) | undefined;
    let slow = false;
    await watching({
      rescanMs: 8_000,
      readMounts: () =>
        slow
          ? new Promise((resolve) => {
              answer = resolve;
            })
          : Promise.resolve(''),
    });
    slow = true;
    vi.advanceTimersByTime(8_000);
    await until(() => answer !== undefined);
    expect(causes).toEqual([]);
    expect(watchers()).toHaveLength(1);
    answer?.('');
    await until(() => watchers().length === 2);
    newest().emit('ready');
    expect(causes).toEqual(['rescan']);
  });

  it('says when it noticed what it asks a run for', async () => {
    const asked: Cause[] = [];
    trigger = watchTrigger(
      { root, settleMs: 500, rescanMs: 60_000 },
      (cause) => void asked.push(cause),
      () => undefined,
    );
    await trigger.start();
    newest().emit('ready');
    change();
    vi.advanceTimersByTime(300);
    change();
    const noticedMs = performance.now();
    vi.advanceTimersByTime(1_000);
    const places = new Set(['a.gz']);
    expect(asked).toEqual([{ trigger: 'start-up scan' }, { trigger: 'watch', noticedMs, places }]);
  });

  describe('says where something has changed', () => {
    const asked: Cause[] = [];

    /** Ready, and the start-up scan forgotten. */
    async function telling(spec: Partial<WatchSpec> = {}): Promise<void> {
      trigger = watchTrigger(
        { root, settleMs: 500, rescanMs: 3_600_000, ...spec },
        (cause) => void asked.push(cause),
        (message) => void problems.push(message),
      );
      await trigger.start();
      newest().emit('ready');
      expect(asked.splice(0).map(({ places }) => places)).toEqual([undefined]);
    }

    /** The places of all that was asked for since this was last called. */
    async function places(): Promise<(readonly string[] | undefined)[]> {
      vi.advanceTimersByTime(1_000);
      await until(() => asked.length > 0);
      return asked.splice(0).map((cause) => cause.places && [...cause.places]);
    }

    it('by the names that the events have, each once', async () => {
      await telling({ ignored: (path) => path.endsWith('.tmp') });
      for (const name of ['a', 'a', 'b', 'c.tmp']) change(name, join(root, 'd\\e'));
      newest().emit('raw', 'rename', 'new', { watchedPath: root });
      newest().emit('all', 'addDir', 'new');
      newest().emit('all', 'addDir', 'new/deep');
      expect(await places()).toEqual([['d\\e/a', 'd\\e/b', 'new', 'new/deep']]);
      change('c');
      expect(await places()).toEqual([['c']]);
    });

    it.each<[string, () => void]>([
      ['an event without a name', () => newest().emit('raw', 'change', null, {})],
      ['a name that is no UTF-8', () => change('\ufffd')],
      [
        'a directory that went away',
        () => newest().emit('raw', 'rename', 'd', { watchedPath: join(root, 'd') }),
      ],
      ['whatever else the watcher says', () => newest().emit('all', 'unlinkDir', 'd')],
      ['the root itself', () => newest().emit('all', 'addDir', '')],
    ])('and not with %s among them', async (_, happen) => {
      await telling();
      change('a');
      happen();
      change('b');
      expect(await places()).toEqual([undefined]);
      change('c');
      expect(await places()).toEqual([['c']]);
    });

    it('and not where the watcher has met something that it could not watch', async () => {
      await telling();
      fail('EACCES');
      expect(await places()).toEqual([undefined]);
      change('a');
      expect(await places()).toEqual([undefined]);
    });

    it('and not for what came while the watcher was opened, nor for a rescan', async () => {
      await telling({ rescanMs: 4_000 });
      vi.advanceTimersByTime(3_900);
      change('a');
      vi.advanceTimersByTime(100);
      change('b');
      // Not ready: the patience is over first.
      vi.advanceTimersByTime(6_000);
      expect(await places()).toEqual([undefined]);
      newest().emit('ready');
      expect(await places()).toEqual([undefined]);
      change('c');
      expect(await places()).toEqual([['c']]);
    });

    it('and not in a storm', async () => {
      await telling();
      for (let i = 0; i < 64; i += 1) change(`${i}`);
      vi.advanceTimersByTime(1_000);
      newest().emit('ready');
      expect(await places()).toEqual([undefined]);
      change('c');
      expect(await places()).toEqual([['c']]);
    });
  });

  it('has started after five seconds, also where the root does not answer', async () => {
    let table: ((text: string) => void) | undefined;
    trigger = watchTrigger(
      {
        root,
        settleMs: 500,
        rescanMs: 60_000,
        readMounts: () =>
          new Promise((resolve) => {
            table = resolve;
          }),
      },
      (cause) => void causes.push(cause.trigger),
      (message) => void problems.push(message),
    );
    let started = false;
    const starting = Promise.resolve(trigger.start()).then(() => {
      started = true;
    });
    await until(() => table !== undefined);
    vi.advanceTimersByTime(4_999);
    await new Promise((resolve) => realTimeout(resolve, 5));
    expect(started).toBe(false);
    vi.advanceTimersByTime(1);
    await starting;
    expect(trigger.coverage()?.how).toBe('starting');
    expect(watchers()).toHaveLength(0);
    table?.('');
    await until(() => watchers().length === 1);
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
    await pass(1_000, () => causes.length > 0);
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
