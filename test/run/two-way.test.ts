/*
 * Mode two-way by example: each side gets what is new on the other, deletions of what was agreed on go across, work is
 * stronger than deletion, and conflicts end as the job says. Nothing here depends on which side is `from`, but for the
 * policies that name it.
 */
import { rename } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { deleting, LATER, openSides, type Sides, skipped } from './support/sides.js';
import { EARLIER } from './support/voyage.js';

let sides: Sides;
afterEach(() => sides.world[Symbol.asyncDispose]());

describe.each(['push', 'pull'] as const)('two-way, %s', (direction) => {
  const open = async (job: Partial<Omit<Job, 'server'>> = {}): Promise<Sides> => {
    sides = await openSides({ mode: 'two-way', direction, ...job });
    return sides;
  };
  /** Both sides with the same files, which they agree on. */
  const agreed = async (job: Partial<Omit<Job, 'server'>> = {}): Promise<Sides> => {
    const { world, local } = await open(job);
    await local.put({ a: 'a', b: 'b', 'd/c': 'c' });
    await world.run();
    return sides;
  };
  const expectBoth = (files: Record<string, string>): void => {
    expect(sides.local.files()).toEqual(files);
    expect(sides.remote.files()).toEqual(files);
  };

  it('brings each side what only the other has', async () => {
    const { world, local, remote } = await open();
    await local.put({ a: 'a', 'd/b': 'b' });
    await remote.put({ c: 'c', 'd/e': 'e' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2, downloaded: 2 } });
    expectBoth({ a: 'a', c: 'c', 'd/b': 'b', 'd/e': 'e' });
    expect(await world.run()).toMatchObject({ tally: { uploaded: 0, downloaded: 0, unchanged: 4 } });
  });

  it('brings changes both ways, with what they replace in the trash', async () => {
    const { world, local, remote } = await agreed();
    await local.put({ a: 'A' }, LATER);
    await remote.put({ b: 'B' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, downloaded: 1 } });
    expectBoth({ a: 'A', b: 'B', 'd/c': 'c' });
    expect(remote.trash()).toEqual({ a: 'a' });
    expect(local.trash()).toEqual({ b: 'b' });
  });

  it('deletes on one side what was deleted on the other', async () => {
    const { world, local, remote } = await agreed();
    await local.drop('a');
    await remote.drop('d');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expectBoth({ b: 'b' });
    expect(remote.trash()).toEqual({ a: 'a' });
    expect(local.trash()).toEqual({ 'd/c': 'c' });
    expect(local.directories()).toEqual([]);
  });

  it('brings back what was deleted on one side and worked on at the other', async () => {
    const { world, local, remote } = await agreed();
    await local.drop('a');
    await remote.put({ a: 'worked on' }, LATER);
    await remote.drop('b');
    await local.put({ b: 'worked on too' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expectBoth({ a: 'worked on', b: 'worked on too', 'd/c': 'c' });
  });

  it('takes the same change on both sides for no conflict', async () => {
    const { world, local, remote } = await agreed();
    await local.put({ a: 'the same' }, LATER);
    await remote.put({ a: 'the same' }, LATER + 60_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { renamed: 0, unchanged: 3 } });
    expectBoth({ a: 'the same', b: 'b', 'd/c': 'c' });
  });

  it('with compare: checksum takes a file that was only touched there for the same, and goes on from that', async () => {
    const { world, local, remote } = await agreed({ compare: 'checksum' });
    await remote.put({ a: 'a' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, unchanged: 3 } });
    await local.drop('a');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 0, deleted: 1 } });
    expectBoth({ b: 'b', 'd/c': 'c' });
  });

  it('keeps both of a conflict: the newer one has the name, the other one a dated name, on both sides', async () => {
    const { world, local, remote } = await agreed();
    await local.put({ 'd/c': 'mine' }, LATER);
    await remote.put({ 'd/c': 'theirs' }, LATER + 60_000);
    const now = (): number => Date.UTC(2026, 10, 23, 2, 30, 15);
    expect(await world.run({ now })).toMatchObject({ outcome: 'ok', tally: { renamed: 1 } });
    expectBoth({ a: 'a', b: 'b', 'd/c': 'theirs', 'd/c.conflict-20261123-023015': 'mine' });
    expect(await world.run()).toMatchObject({ tally: { uploaded: 0, downloaded: 0, renamed: 0 } });
  });

  it.each([
    ['newer', 'theirs'],
    ['from', direction === 'push' ? 'mine' : 'theirs'],
    ['to', direction === 'push' ? 'theirs' : 'mine'],
  ] as const)('lets %s win, with the loser in the trash of its side', async (conflicts, winner) => {
    const { world, local, remote } = await agreed({ conflicts });
    await local.put({ a: 'mine' }, LATER);
    await remote.put({ a: 'theirs' }, LATER + 60_000);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { renamed: 0 } });
    expectBoth({ a: winner, b: 'b', 'd/c': 'c' });
    expect({ ...local.trash(), ...remote.trash() }).toEqual({ a: winner === 'mine' ? 'theirs' : 'mine' });
  });

  it('in a first run takes what is the same for the same, and the rest for conflicts', async () => {
    const { world, local, remote } = await open();
    await local.put({ same: 'same', other: 'mine' }, LATER);
    await remote.put({ same: 'same', other: 'theirs' }, EARLIER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { renamed: 1, deleted: 0 } });
    expect(Object.values(local.files()).sort()).toEqual(['mine', 'same', 'theirs']);
    expect(local.files()).toMatchObject({ same: 'same', other: 'mine' });
    expect(remote.files()).toEqual(local.files());
  });

  it('follows a file that has become a directory, and one that was renamed', async () => {
    const { world, local } = await agreed();
    await local.drop('a');
    await local.put({ 'a/inner': 'inner' }, LATER);
    await rename(world.local('b'), world.local('renamed'));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    expectBoth({ 'a/inner': 'inner', renamed: 'b', 'd/c': 'c' });
  });

  it('keeps empty directories alike where the job asks for that', async () => {
    const { world, local, remote } = await agreed({ emptyDirectories: 'keep' });
    await local.makeDirectory('empty');
    await remote.makeDirectory('theirs/inner');
    await world.run();
    expect(local.directories()).toEqual(['d', 'empty', 'theirs', 'theirs/inner']);
    expect(remote.directories()).toEqual(local.directories());
    await remote.drop('empty');
    await local.drop('theirs/inner');
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(local.directories()).toEqual(['d', 'theirs']);
    expect(remote.directories()).toEqual(local.directories());
  });

  it.each(['local', 'remote'] as const)('is held where the %s side is empty that was full', async (side) => {
    const { world, local, remote } = await agreed();
    const [emptied, full] = side === 'local' ? [local, remote] : [remote, local];
    await emptied.drop('a', 'b', 'd');
    expect(await world.run()).toMatchObject({ outcome: 'held', tally: { deleted: 0 } });
    expect(full.files()).toEqual({ a: 'a', b: 'b', 'd/c': 'c' });
  });

  it('is held where more would go than the job allows', async () => {
    const { world, local, remote } = await agreed(deleting({ limit: { percent: 0, files: 1 } }));
    await local.drop('a');
    await remote.drop('b');
    expect(await world.run()).toMatchObject({ outcome: 'held', failure: { code: 'deletions' } });
    expect(local.files()).toEqual({ b: 'b', 'd/c': 'c' });
    expect(remote.files()).toEqual({ a: 'a', 'd/c': 'c' });
  });

  it('is held where the marker is missing on the local side', async () => {
    const { world, local, remote } = await agreed({ marker: 'a' });
    await local.drop('a', 'b');
    expect(await world.run()).toMatchObject({ outcome: 'held', failure: { code: 'marker-missing' } });
    expect(remote.files()).toEqual({ a: 'a', b: 'b', 'd/c': 'c' });
  });

  it('takes nothing for gone that lies where the server lets nobody look', async () => {
    const { world, local, remote } = await agreed();
    world.server.script({
      on: 'MLSD',
      path: '**/d',
      nth: 'every',
      do: { kind: 'reply', text: '550 Permission denied.' },
    });
    await local.put({ 'd/new': 'new' });
    await remote.drop('a');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 1, uploaded: 0 } });
    expect(local.files()).toEqual({ b: 'b', 'd/c': 'c', 'd/new': 'new' });
    expect(skipped(world)).toEqual({ d: '550' });
    world.server.behave();
    await world.run();
    expectBoth({ b: 'b', 'd/c': 'c', 'd/new': 'new' });
  });

  it('asks before it puts something where a listing that was cut may not show all', async () => {
    const { world, local, remote } = await agreed();
    await local.put({ new: 'mine' }, LATER);
    await remote.put({ new: 'theirs' }, EARLIER);
    // Cut after the first lines, and nothing shows it.
    world.server.script({
      on: 'MLSD',
      path: '**/dumps',
      nth: 1,
      do: { kind: 'dataClose', atByte: 60, reply: '226 Directory send OK.' },
    });
    await world.run();
    await world.run();
    expect(Object.values(local.files()).sort()).toEqual(['a', 'b', 'c', 'mine', 'theirs']);
    expect(remote.files()).toEqual(local.files());
  });
});
