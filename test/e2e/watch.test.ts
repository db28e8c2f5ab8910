/*
 * The watch trigger against the kernel's own limits and mounts: in a user namespace the limits below /proc/sys/user
 * (those below /proc/sys/fs/inotify are the whole machine's), and in a mount namespace the mounts, are ours alone, and
 * nothing of the machine is touched. The program is watcher.ts.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { describeWhere } from '../support/real-server.js';
import { temporaryDirectory } from '../support/temporary.js';
import { Command, type LogLine } from './command.js';

const WATCHER = resolve(import.meta.dirname, '../../build/test/e2e/watcher.js');

const run = promisify(execFile);

/** A limit of inotify in the user namespace that it is written in: `watches`, `instances`. */
function limitFile(name: string): string {
  return `/proc/sys/user/max_inotify_${name}`;
}

/** A watcher in namespaces of its own. */
class Namespaced implements AsyncDisposable {
  readonly command: Command;

  /** @param limits by their names, to be written in its namespace first */
  constructor(root: string, limits: Readonly<Record<string, number>>, args: readonly string[]) {
    const writes = Object.entries(limits).map(([name, value]) => `echo ${value} > ${limitFile(name)} && `);
    this.command = new Command([root, ...args], {
      cwd: '/',
      env: {},
      program: [
        'unshare',
        '-Urm',
        'sh',
        '-c',
        `${writes.join('')}exec "$@"`,
        'sh',
        process.execPath,
        WATCHER,
      ],
    });
  }

  async enter(command: string): Promise<void> {
    const into = ['-t', `${this.command.pid}`, '-U', '-m', '--preserve-credentials'];
    await run('nsenter', [...into, 'sh', '-c', command]);
  }

  /** Waits for one more line of this kind that fits than there were when `since` was taken. */
  async next(event: string, since: number, fits: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    const find = (): LogLine | undefined =>
      this.command.log.slice(since).find((line) => line.event === event && fits(line));
    await this.command.when(() => find() !== undefined, `another ${event}`);
    return find() as LogLine;
  }

  get mark(): number {
    return this.command.log.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.command.end('SIGTERM').catch(() => undefined);
    expect(await this.command.sweep()).toBeUndefined();
    expect(this.command.words).toEqual([]);
  }
}

function obstacle(): string | undefined {
  const probe = spawnSync('unshare', ['-Urm', 'sh', '-c', `echo 20 > ${limitFile('watches')}`]);
  return probe.status === 0
    ? undefined
    : 'they need user namespaces: util-linux, and a kernel that lets us make them';
}

describeWhere(
  'limits and mounts',
  obstacle(),
  "the watch trigger under the kernel's limits and mounts",
  () => {
    test.concurrent('too few watches: told once, looked at instead, watched again when there are enough', async () => {
      await using directory = await temporaryDirectory('watch');
      for (let i = 0; i < 30; i += 1) await mkdir(directory.join(`${i}`));
      await using watcher = new Namespaced(directory.path, { watches: 10 }, ['200', '2000']);
      await watcher.next('fire', 0, ({ trigger }) => trigger === 'start-up scan');
      expect(watcher.command.lines('coverage').map(({ how }) => how)).toEqual(['starting', 'polling']);
      let mark = watcher.mark;
      await writeFile(directory.join('29', 'new'), '');
      await watcher.next('fire', mark, ({ trigger }) => trigger === 'watch');
      // A rescan tries once more, and fails once more.
      await watcher.next('fire', watcher.mark, ({ trigger }) => trigger === 'rescan');
      expect(watcher.command.lines('problem')).toHaveLength(1);
      expect(watcher.command.lines('problem')[0]?.message).toContain('fs.inotify.max_user_watches');
      await watcher.enter(`echo 1000 > ${limitFile('watches')}`);
      await watcher.next('coverage', watcher.mark, ({ how }) => how === 'events');
      mark = watcher.mark;
      await writeFile(directory.join('28', 'new'), '');
      await watcher.next('fire', mark, ({ trigger }) => trigger === 'watch');
      expect(watcher.command.lines('problem')).toHaveLength(1);
    });

    test.concurrent('watches that run out later: what is made then is seen as well', async () => {
      await using directory = await temporaryDirectory('watch');
      await using watcher = new Namespaced(directory.path, { watches: 5 }, ['200']);
      await watcher.next('coverage', 0, ({ how }) => how === 'events');
      for (let i = 0; i < 10; i += 1) await mkdir(directory.join(`${i}`));
      await watcher.next('coverage', 0, ({ how }) => how === 'polling');
      await watcher.next('fire', 0, ({ trigger }) => trigger === 'rescan');
      const mark = watcher.mark;
      await writeFile(directory.join('9', 'new'), '');
      await watcher.next('fire', mark, ({ trigger }) => trigger === 'watch');
      expect(watcher.command.lines('problem')).toHaveLength(1);
    });

    test.concurrent('no watcher at all', async () => {
      await using directory = await temporaryDirectory('watch');
      await using watcher = new Namespaced(directory.path, { instances: 0 }, ['200']);
      await watcher.next('fire', 0, ({ trigger }) => trigger === 'start-up scan');
      expect(watcher.command.lines('coverage').map(({ how }) => how)).toEqual(['starting', 'polling']);
      expect(watcher.command.lines('problem')[0]?.message).toContain('fs.inotify.max_user_instances');
      const mark = watcher.mark;
      await writeFile(directory.join('new'), '');
      await watcher.next('fire', mark, ({ trigger }) => trigger === 'watch');
    });

    test.concurrent('mounted over, unmounted, mounted again: each is scanned, and watched from then on', async () => {
      await using directory = await temporaryDirectory('watch');
      await mkdir(directory.join('disk', 'sub'), { recursive: true });
      const disk = directory.join('disk');
      await using watcher = new Namespaced(disk, {}, ['200']);
      await watcher.next('fire', 0, ({ trigger }) => trigger === 'start-up scan');
      expect(watcher.command.lines('coverage').map(({ how }) => how)).toEqual(['starting', 'events']);
      for (const [command, cause, inside] of [
        [`mount -t tmpfs none ${disk}`, 'start-up scan', disk],
        [`mkdir ${disk}/sub && mount -t tmpfs none ${disk}/sub`, 'rescan', `${disk}/sub`],
        [`umount ${disk}/sub ${disk}`, 'start-up scan', `${disk}/sub`],
      ] as const) {
        let mark = watcher.mark;
        await watcher.enter(command);
        await watcher.next('fire', mark, ({ trigger }) => trigger === cause);
        mark = watcher.mark;
        await watcher.enter(`echo new > ${inside}/new`);
        await watcher.next('fire', mark, ({ trigger }) => trigger === 'watch');
      }
      expect(watcher.command.lines('problem')).toEqual([]);
    });
  },
);
