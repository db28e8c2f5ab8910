/*
 * A local side that does not keep still, or holds what is no file: directories swapped for links while a run goes on,
 * files that change under its hands, what cannot be read, and names and kinds that cannot travel. Whatever the mode,
 * no byte outside the root is read or written, and what is unclear is never deleted.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { diskOf } from '../../src/local/mounts.js';
import { isTemporary } from '../../src/plan/temporary.js';
import { describeMounted, itWithDevices, mounted } from '../local/mounted.js';
import {
  expectOutsideUntouched,
  inPlace,
  inTrashOf,
  type Mode,
  once,
  openHostile,
  outside,
  sentences,
  settle,
  swapBack,
  swapForLink,
} from './support/hostile.js';
import { EARLIER, type World } from './support/voyage.js';

let world: World;
afterEach(async () => {
  vi.restoreAllMocks();
  await world[Symbol.asyncDispose]();
});

/** Does something when the run is about to do that to that local path, before it is done. */
function rightBefore(deed: 'readdir' | 'open' | 'lstat', path: string, nth: number, work: () => void): void {
  const disk = diskOf(path);
  let count = 0;
  for (const asked of deed === 'lstat' ? (['lstat', 'lstatAll'] as const) : [deed]) {
    const original = disk[asked] as (...words: unknown[]) => unknown;
    const stand = (...words: unknown[]): unknown => {
      if ([words[0]].flat().includes(path)) {
        count += 1;
        if (count === nth) work();
      }
      return original(...words);
    };
    vi.spyOn(disk, asked).mockImplementation(stand as never);
  }
}

describe.each(['copy', 'mirror', 'move', 'two-way'] as const)(
  'a directory swapped for a link, push %s',
  (mode) => {
    it('before the run: nothing behind it is sent, what was delivered stays', async () => {
      world = await openHostile(mode, 'push');
      await world.put('d/f');
      await world.put('other');
      await world.run();
      swapForLink(world, 'd');
      await world.put('other', 'changed');
      expect((await world.run()).tally).toMatchObject({ uploaded: 1, deleted: 0 });
      expect(inPlace(world.held())).toEqual({ 'd/f': 'd/f', other: 'changed' });
      expect(world.told('file.ignored').map(({ path }) => path)).toContain('d');
      await expectOutsideUntouched(world);
    });

    it('while the scan reads it: told, and what was delivered stays', async () => {
      world = await openHostile(mode, 'push');
      await world.put('d/f');
      await world.put('d/g');
      await world.put('other');
      await world.run();
      // A move has taken them along; they are there once more.
      for (const path of ['d/f', 'd/g', 'other']) await world.put(path, `${path} 2`, EARLIER + 5_000);
      rightBefore('readdir', `${world.local('d')}/`, 1, () => swapForLink(world, 'd'));
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, deleted: 0 } });
      expect(inPlace(world.held())).toEqual({ 'd/f': 'd/f', 'd/g': 'd/g', other: 'other 2' });
      expect(world.told('scan.problem')).toMatchObject([{ code: 'OUTSIDE' }]);
      expect(sentences(world)).toContain('was swapped for a link');
      await expectOutsideUntouched(world);
      swapBack(world, 'd');
      vi.restoreAllMocks();
      await settle(world);
      expect(inPlace(world.held())).toEqual({ 'd/f': 'd/f 2', 'd/g': 'd/g 2', other: 'other 2' });
    });

    it('between the scan and the reading: told, nothing from outside is sent', async () => {
      world = await openHostile(mode, 'push');
      await world.put('d/f');
      await world.put('other');
      rightBefore('open', world.local('d/f'), 1, () => swapForLink(world, 'd'));
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 1 } });
      expect(world.held()).toEqual({ other: 'other' });
      expect(world.told('file.skipped')).toMatchObject([{ path: 'd/f', remembered: false }]);
      await expectOutsideUntouched(world);
      expect(await readdir(world.directory.join('swapped', 'd'))).toEqual(['f']);
      expect(world.temporaries()).toEqual([]);
    });
  },
);

it('move: a directory swapped for a link behind the delivery: what lies outside is not taken away', async () => {
  world = await openHostile('move', 'push');
  await world.put('d/f');
  await world.put('other');
  const swap = once(() => swapForLink(world, 'd'));
  // The one file, for others are renamed meanwhile.
  world.server.on('reply', (text, verb) => {
    if (verb === 'RNTO' && text.startsWith('250') && existsSync(world.remote('d/f'))) swap();
  });
  const report = await world.run();
  expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 2 } });
  expect(sentences(world)).toContain('d/f was delivered, and cannot be taken away from its source');
  await expectOutsideUntouched(world);
  expect(await readdir(world.directory.join('swapped', 'd'))).toEqual(['f']);
  swapBack(world, 'd');
  await settle(world);
  expect(world.here()).toEqual({});
  expect(world.held()).toEqual({ 'd/f': 'd/f', other: 'other' });
});

describe.each<[Mode, 'push' | 'pull']>([
  ['mirror', 'pull'],
  ['two-way', 'push'],
  ['two-way', 'pull'],
])('deleting here, %s %s', (mode, direction) => {
  async function delivered(): Promise<void> {
    world = await openHostile(mode, direction);
    for (const path of ['d/f', 'd/g', 'other']) await world.putRemote(path);
    expect((await world.run()).tally).toMatchObject({ downloaded: 3 });
  }

  it('a directory swapped for a link right before: nothing outside is taken away', async () => {
    await delivered();
    await rm(world.remote('d/f'));
    rightBefore('open', world.local('d'), 1, () => swapForLink(world, 'd'));
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(sentences(world)).toMatch(/d.*is a link here, or is reached through one/);
    await expectOutsideUntouched(world);
    swapBack(world, 'd');
    vi.restoreAllMocks();
    await settle(world);
    expect(inPlace(world.here())).toEqual({ 'd/g': 'd/g', other: 'other' });
    expect(inTrashOf(world.here())).toEqual({ 'd/f': 'd/f' });
  });

  it('a trash that is a link: nothing goes there, what should go stays and is told', async () => {
    await delivered();
    await symlink(outside(world), world.local('.ferryd-trash'));
    await rm(world.remote('d/f'));
    await world.putRemote('other', 'newer', EARLIER + 60_000);
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0, downloaded: 0 } });
    const { '.ferryd-trash': link, ...rest } = world.here();
    expect(link).toBe('no regular file');
    expect(rest).toEqual({ 'd/f': 'd/f', 'd/g': 'd/g', other: 'other' });
    expect(world.temporaries()).toEqual([]);
    await expectOutsideUntouched(world);
    await rm(world.local('.ferryd-trash'));
    await settle(world);
    expect(inPlace(world.here())).toEqual({ 'd/g': 'd/g', other: 'newer' });
    expect(inTrashOf(world.here())).toEqual({ 'd/f': 'd/f', other: 'other' });
  });
});

describe.each<[Mode, 'push' | 'pull']>([
  ['copy', 'pull'],
  ['mirror', 'pull'],
  ['move', 'pull'],
  ['two-way', 'push'],
])('fetching, %s %s', (mode, direction) => {
  it('a directory swapped for a link while a file is fetched into it: nothing is written outside', async () => {
    world = await openHostile(mode, direction);
    await world.putRemote('d/f');
    await mkdir(world.local('d'));
    const swap = once(() => swapForLink(world, 'd'));
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) swap();
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 1 } });
    await expectOutsideUntouched(world);
    expect(world.held()).toEqual({ 'd/f': 'd/f' });
    swapBack(world, 'd');
    await settle(world);
    expect(inPlace(world.here())).toEqual({ 'd/f': 'd/f' });
    if (mode === 'move') expect(world.held()).toEqual({});
  });
});

describe('a file that changes under the hands of a move', () => {
  it.each<[string, (path: string) => void]>([
    ['grown', (path) => writeFileSync(path, 'much longer than it was before')],
    ['cut', (path) => writeFileSync(path, 'x')],
    ['written over with as many bytes', (path) => writeFileSync(path, 'F')],
    [
      'replaced',
      (path) => {
        writeFileSync(`${path}.new`, 'F');
        renameSync(`${path}.new`, path);
      },
    ],
  ])('%s behind the delivery: it stays, and is sent again', async (_how, change) => {
    world = await openHostile('move', 'push');
    await world.put('f', 'f');
    const strike = once(() => change(world.local('f')));
    world.server.on('reply', (text, verb) => {
      if (verb === 'RNTO' && text.startsWith('250')) strike();
    });
    expect((await world.run()).tally).toMatchObject({ uploaded: 1 });
    const changed = world.here().f;
    expect(changed).not.toBe('f');
    expect(inPlace(world.held())).toEqual({ f: 'f' });
    await settle(world);
    expect(world.here()).toEqual({});
    expect(inPlace(world.held())).toEqual({ f: changed });
  });

  it.each<[string, (path: string) => void, string | undefined]>([
    ['grown', (path) => writeFileSync(path, 'y'.repeat(500_000)), 'y'.repeat(500_000)],
    ['cut', (path) => writeFileSync(path, 'short'), 'short'],
    ['deleted', (path) => rmSync(path), undefined],
  ])('%s while it is read: whole or not at all', async (_how, change, content) => {
    world = await openHostile('move', 'push');
    await world.put('f', 'x'.repeat(400_000));
    const strike = once(() => change(world.local('f')));
    world.server.on('reply', (text, verb) => {
      if (verb === 'STOR' && text.startsWith('150')) strike();
    });
    await settle(world);
    expect(inPlace(world.held())).toEqual(content === undefined ? {} : { f: content });
    expect(world.here()).toEqual({});
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });

  it('pull: one that is written over on the server while it is fetched stays there, and comes again', async () => {
    world = await openHostile('move', 'pull');
    await world.putRemote('f', 'first');
    const strike = once(() => writeFileSync(world.remote('f'), 'second'));
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) strike();
    });
    expect((await world.run()).tally).toMatchObject({ downloaded: 1 });
    expect(world.held()).toEqual({ f: 'second' });
    await settle(world);
    expect(world.held()).toEqual({});
    expect(inPlace(world.here())).toEqual({ f: 'second' });
  });
});

describe('two-way: a file here that changes while the run goes on', () => {
  it('and is being sent: the newest arrives whole', async () => {
    world = await openHostile('two-way', 'push');
    await world.put('f', 'x'.repeat(400_000));
    const strike = once(() => writeFileSync(world.local('f'), 'changed meanwhile'));
    world.server.on('reply', (text, verb) => {
      if (verb === 'STOR' && text.startsWith('150')) strike();
    });
    await settle(world);
    expect(inPlace(world.held())).toEqual({ f: 'changed meanwhile' });
    expect(inPlace(world.here())).toEqual({ f: 'changed meanwhile' });
  });

  it('and would be overwritten by what is fetched: both are kept', async () => {
    world = await openHostile('two-way', 'push');
    await world.put('f', 'agreed');
    await world.run();
    await world.putRemote('f', 'from there', EARLIER + 60_000);
    const strike = once(() => writeFileSync(world.local('f'), 'from a person here'));
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) strike();
    });
    expect(await world.run()).toMatchObject({ tally: { downloaded: 0, skipped: 1 } });
    expect(world.here()).toEqual({ f: 'from a person here' });
    expect(sentences(world)).toContain('f was changed here since the scan');
    await settle(world);
    expect(Object.values(inPlace(world.here())).sort()).toEqual(['from a person here', 'from there']);
    expect(inPlace(world.held())).toEqual(inPlace(world.here()));
  });

  it('and would be deleted: it stays, and goes to the other side', async () => {
    world = await openHostile('two-way', 'push');
    await world.put('f', 'agreed');
    await world.put('g');
    await world.run();
    await rm(world.remote('f'));
    rightBefore('lstat', world.local('f'), 2, () => writeFileSync(world.local('f'), 'worked on just now'));
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(sentences(world)).toContain('f is gone at the source, and was changed here');
    vi.restoreAllMocks();
    await settle(world);
    expect(inPlace(world.held())).toEqual({ f: 'worked on just now', g: 'g' });
  });
});

describe.each(['mirror', 'two-way'] as const)('gone at the scan and there again, push %s', (mode) => {
  it('a file that is saved by way of another name is not deleted on the server', async () => {
    world = await openHostile(mode, 'push');
    await world.put('d/f');
    await world.put('d/g');
    await world.run();
    await rename(world.local('d/f'), world.local('d/f~'));
    // Between the scan and the deletion; the first listing of a mirror is the one before it.
    const strike = once(() => renameSync(world.local('d/f~'), world.local('d/f')));
    world.server.on('reply', (_text, verb) => {
      if (verb === 'RNTO') strike();
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(sentences(world)).toContain('d/f was gone when the scan came by, and is there again');
    expect(inPlace(world.held())).toMatchObject({ 'd/f': 'd/f', 'd/g': 'd/g' });
    await settle(world);
    expect(inPlace(world.held())).toEqual({ 'd/f': 'd/f', 'd/g': 'd/g' });
  });
});

describeMounted('a disk that is unmounted while it is looked at', () => {
  it.each<[Mode, 'push' | 'pull']>([
    ['mirror', 'push'],
    ['two-way', 'push'],
    ['two-way', 'pull'],
  ])('%s %s: what could not be seen any more is not taken for deleted', async (mode, direction) => {
    world = await openHostile(mode, direction);
    const disk = mounted('tmpfs', world.local(''), 1024 * 1024);
    const pull = once(() => disk[Symbol.dispose]());
    try {
      for (const path of ['a/f', 'b/f', 'c/f', 'd']) await world.put(path);
      await settle(world);
      const held = world.held();
      rightBefore('readdir', `${world.local('b')}/`, 1, pull);
      const report = await world.run();
      expect(report).toMatchObject({
        outcome: 'failed',
        tally: { deleted: 0 },
        failure: { code: 'root-replaced' },
      });
      expect(report.failure?.message).toContain('Is its disk mounted?');
      expect(world.held()).toEqual(held);
      expect(world.known()).toHaveLength(4);
    } finally {
      pull();
    }
  });
});

/** The run is carried out by a user to whom permissions mean something. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  const own = async (path: string): Promise<void> => {
    await chown(path, 65_534, 65_534);
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const below = `${path}/${entry.name}`;
      if (entry.isDirectory()) await own(below);
      else if (entry.isFile()) await chown(below, 65_534, 65_534);
    }
  };
  await own(world.directory.path);
  world.closeLedger();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    world.closeLedger();
    process.seteuid?.(0);
  }
}

describe.each(['copy', 'mirror', 'move', 'two-way'] as const)('what cannot be read, push %s', (mode) => {
  it('a directory and a file: told, their remote side stays, the others go on', async () => {
    world = await openHostile(mode, 'push');
    for (const path of ['closed/deep/f', 'f', 'g', 'gone']) await world.put(path);
    await world.run();
    for (const path of ['closed/deep/f', 'f', 'g']) await world.put(path, `${path} 2`, EARLIER + 5_000);
    await rm(world.local('gone'), { force: true });
    await chmod(world.local('f'), 0);
    await chmod(world.local('closed'), 0);
    const report = await asNobody(() => world.run());
    await chmod(world.local('closed'), 0o755);
    await chmod(world.local('f'), 0o644);
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 2 } });
    const gone = mode === 'mirror' || mode === 'two-way' ? {} : { gone: 'gone' };
    expect(inPlace(world.held())).toEqual({ 'closed/deep/f': 'closed/deep/f', f: 'f', g: 'g 2', ...gone });
    expect(world.told('scan.problem')).toMatchObject([{ path: 'closed', code: 'EACCES' }]);
    await settle(world);
    expect(inPlace(world.held())).toMatchObject({ 'closed/deep/f': 'closed/deep/f 2', f: 'f 2', g: 'g 2' });
  });

  it('a directory that may be read and not entered: as if closed', async () => {
    world = await openHostile(mode, 'push');
    for (const path of ['closed/f', 'g']) await world.put(path);
    await world.run();
    for (const path of ['closed/f', 'g']) await world.put(path, `${path} 2`, EARLIER + 5_000);
    await chmod(world.local('closed'), 0o444);
    const report = await asNobody(() => world.run());
    await chmod(world.local('closed'), 0o755);
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, deleted: 0 } });
    expect(inPlace(world.held())).toEqual({ 'closed/f': 'closed/f', g: 'g 2' });
  });
});

describe.each(['copy', 'mirror', 'two-way'] as const)('what is no file, push %s', (mode) => {
  async function delivered(...paths: readonly string[]): Promise<void> {
    world = await openHostile(mode, 'push');
    for (const path of [...paths, 'good']) await world.put(path);
    await world.run();
    for (const path of paths) await rm(world.local(path));
  }

  async function expectKept(...paths: readonly string[]): Promise<void> {
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0, skipped: paths.length } });
    expect(world.told('file.skipped').map(({ path, code }) => [path, code])).toEqual(
      paths.map((path) => [path, 'special-file']),
    );
    expect(Object.keys(inPlace(world.held())).sort()).toEqual(['good', ...paths].sort());
    for (const path of paths) expect(sentences(world)).toContain(`${path} is a `);
  }

  it('a named pipe in the place of a file: nobody waits on it, and what was delivered stays', async () => {
    await delivered('pipe');
    execFileSync('mkfifo', [world.local('pipe')]);
    await expectKept('pipe');
  });

  it('a socket', async () => {
    await delivered('socket');
    const socket = createServer();
    await new Promise<void>((resolve) => void socket.listen(world.local('socket'), resolve));
    try {
      await expectKept('socket');
    } finally {
      await new Promise((resolve) => socket.close(resolve));
    }
  });

  itWithDevices('a device: never opened', async () => {
    await delivered('zero');
    execFileSync('mknod', [world.local('zero'), 'c', '1', '5']);
    await expectKept('zero');
  });

  it('a link in the place of a file', async () => {
    await delivered('link');
    await symlink(`${outside(world)}/f`, world.local('link'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expect(Object.keys(inPlace(world.held())).sort()).toEqual(['good', 'link']);
    expect(world.told('file.ignored').map(({ path }) => path)).toContain('link');
    await expectOutsideUntouched(world);
  });

  it('names that are no UTF-8: told, and their neighbours are as they are', async () => {
    await delivered();
    const name = (text: string): Buffer =>
      Buffer.concat([Buffer.from(`${world.local('')}/`), Buffer.from(text, 'latin1')]);
    await writeFile(name('caf\xe9'), 'latin-1');
    await mkdir(name('dir\xff'));
    await writeFile(name('dir\xff/f'), 'below');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 2, deleted: 0 } });
    expect(sentences(world).match(/not valid UTF-8/g)).toHaveLength(2);
    expect(inPlace(world.held())).toEqual({ good: 'good' });
  });

  it('links that lead round in a circle, and are followed: told, and what was delivered stays', async () => {
    world = await openHostile(mode, 'push', { job: { links: 'follow' } });
    await world.put('d/f');
    await world.put('good');
    await world.run();
    await rename(world.local('d/f'), world.local('f'));
    await symlink('../d', world.local('d/again'));
    await symlink('loop', world.local('loop'));
    const report = await world.run();
    expect(report.outcome).toBe('partial');
    expect(sentences(world)).toMatch(/d\/again/);
    expect(sentences(world)).toMatch(/loop/);
    expect(Object.keys(inPlace(world.held())).some((path) => path.includes('again'))).toBe(false);
    const kept = mode === 'copy' ? ['d/f', 'f', 'good'] : ['f', 'good'];
    expect(Object.keys(inPlace(world.held())).sort()).toEqual(kept);
  });
});

describe('names that a listing must not show', () => {
  const NAMES = ['back\\slash', 'esc\u001b[2J', 'tab\there', 'del\u007f', 'c1\u0085x', 'dir\\x/f'];

  it.each(NAMES)(
    '%j: a job that needs the listings does not send it, and is not blinded by it',
    async (name) => {
      world = await openHostile('two-way', 'push');
      for (const path of [name, 'good', 'gone']) await world.put(path);
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 2, skipped: 1 } });
      expect(sentences(world)).toContain('Rename it, or set names: encode');
      // What is deleted there is noticed beside it.
      await rm(world.remote('gone'));
      expect((await world.run()).tally).toMatchObject({ uploaded: 0, deleted: 1, skipped: 1 });
      expect(Object.keys(inPlace(world.here())).sort()).toEqual([name, 'good'].sort());
      world.change({ job: { names: 'encode' } });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, skipped: 0 } });
      expect(await settle(world)).toMatchObject({ outcome: 'ok', tally: { unchanged: 2 } });
    },
  );

  it.each(NAMES)('%j: one that does not sends it as it is, and deletes beside it', async (name) => {
    world = await openHostile('mirror', 'push');
    for (const path of [name, 'good', 'gone']) await world.put(path);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 3 } });
    await rm(world.local('gone'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(Object.keys(inPlace(world.held())).sort()).toEqual([name, 'good'].sort());
  });
});

describe('two-way: what is no file here', () => {
  it.each<[string, (path: string) => unknown]>([
    ['a named pipe', (path) => execFileSync('mkfifo', [path])],
    ['a link', (path) => symlink('/nowhere', path)],
  ])('%s: what came there under its name does not replace it', async (_what, make) => {
    world = await openHostile('two-way', 'push');
    await world.put('good');
    await world.run();
    await make(world.local('odd'));
    await world.putRemote('odd', 'from there');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, deleted: 0 } });
    expect(world.here()).toEqual({ good: 'good', odd: 'no regular file' });
    expect(inPlace(world.held())).toEqual({ good: 'good', odd: 'from there' });
    expect(sentences(world)).toContain('odd');
    await rm(world.local('odd'));
    await settle(world);
    expect(world.here()).toEqual({ good: 'good', odd: 'from there' });
  });
});

it('a file that grows without end is given up for this run, nothing half stays, and it comes when it is quiet', async () => {
  const retries = { attempts: 2, firstDelayMs: 1, maxDelayMs: 2 };
  world = await openHostile('mirror', 'push', { job: { retries } });
  // More than is read at once, so that it is seen to grow.
  await world.put('log', 'line\n'.repeat(500_000));
  await world.put('other');
  const stop = world.server.on('reply', (text, verb) => {
    if (verb === 'STOR' && text.startsWith('150'))
      writeFileSync(world.local('log'), 'another line\n', { flag: 'a' });
  });
  expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 1 } });
  expect(world.told('file.skipped')).toMatchObject([{ path: 'log', code: 'CHANGED', remembered: false }]);
  expect(Object.keys(inPlace(world.held())).filter((path) => !isTemporary(path))).toEqual(['other']);
  // What could not be cleared away at once is written down, and goes with the next run.
  expect(world.intents().map(({ temporary }) => temporary)).toEqual(world.temporaries());
  stop();
  await settle(world);
  expect(world.temporaries()).toEqual([]);
  expect(inPlace(world.held())).toEqual(world.here());
});
