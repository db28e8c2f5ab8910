/*
 * What must not grow back: how often the file system is asked for an unchanged tree, and for a small file that is sent.
 */
import { promises as fs } from 'node:fs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Disk, OpenFile } from '../../src/local/disk.js';
import { diskOf } from '../../src/local/mounts.js';
import { LocalSource } from '../../src/local/source.js';
import { lookAt, walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { openPrototype, sightsOf } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('calls');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await root.remove();
});

const ASKED = [
  'access',
  'lstat',
  'lstatAll',
  'stat',
  'readdir',
  'readlink',
  'realpath',
  'open',
] as const satisfies (keyof Disk)[];
const OF_OPEN = ['stat', 'read', 'readBeside', 'close'] as const satisfies (keyof OpenFile)[];

/** How often each was called meanwhile; looks at several paths count as many. */
async function callsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const prototype = await openPrototype(root.path);
  const disk = diskOf(root.path);
  const spies = [
    ...ASKED.map((name) => [name, vi.spyOn(disk, name)] as const),
    ...OF_OPEN.map((name) => [`open.${name}`, vi.spyOn(prototype, name)] as const),
  ];
  await work();
  const calls: Record<string, number> = {};
  for (const [name, { mock }] of spies) {
    const count = mock.calls.reduce((sum, [what]) => sum + (Array.isArray(what) ? what.length : 1), 0);
    if (count > 0) calls[name] = count;
  }
  return calls;
}

it('a thousand files in ten directories: one look at each, and two at each directory', async () => {
  for (let i = 0; i < 10; i += 1) {
    await fs.mkdir(root.join(`d${i}`));
    for (let j = 0; j < 100; j += 1) await fs.writeFile(root.join(`d${i}/${j}`), '');
  }
  const calls = await callsOf(async () => {
    expect(await sightsOf(walk(root.path, { wants: () => true, twins: 'told' }))).toHaveLength(1_000);
  });
  expect(calls).toEqual({ readdir: 11, realpath: 11, lstatAll: 1_000 });
});

it.each([0, 1, 16 * 1024, 128 * 1024])(
  'a small file (%i bytes): read once, looked at three times',
  async (sizeBytes) => {
    await fs.writeFile(root.join('f'), Buffer.alloc(sizeBytes));
    const file = await lookAt(root.path, 'f');
    if (file === undefined) throw new Error('f was not made');
    const calls = await callsOf(async () => {
      const source = await LocalSource.open(root.path, file);
      for await (const _ of source.chunks());
      await source.confirm();
      await source.close();
    });
    expect(calls).toEqual({ open: 1, readlink: 1, 'open.stat': 3, 'open.read': 1, 'open.close': 1 });
  },
);
