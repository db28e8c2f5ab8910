/*
 * Mode mirror by example, in both directions: what is gone at the source goes at the target, into the trash, as long as
 * it is what ferryd put there and somebody has really looked. Everything else stays.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { deleting, LATER, openSides, type Sides, skipped } from './support/sides.js';
import { EARLIER } from './support/voyage.js';

let sides: Sides;
afterEach(() => sides.world[Symbol.asyncDispose]());

describe.each(['push', 'pull'] as const)('a mirror, %s', (direction) => {
  const open = async (job: Partial<Omit<Job, 'server'>> = {}): Promise<Sides> => {
    sides = await openSides({ mode: 'mirror', direction, ...job });
    return sides;
  };

  it('deletes at the target what is gone at the source, into the trash', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a', 'd/b': 'b', 'd/c': 'c' });
    await world.run();
    await source.drop('d');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2, unchanged: 1 } });
    expect(target.files()).toEqual({ a: 'a' });
    expect(target.trash()).toEqual({ 'd/b': 'b', 'd/c': 'c' });
    expect(target.directories()).toEqual([]);
    for (const { path, why, to } of world.told('file.deleted')) {
      expect(why).toBe('gone');
      expect(to).toMatch(/^\.ferryd-trash\/\d{8}T\d{6}Z\/d\/[bc]$/);
      expect(to?.endsWith(path)).toBe(true);
    }
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0, unchanged: 1 } });
  });

  it('keeps what it replaces in the trash as well', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'one' });
    await world.run();
    await source.put({ a: 'another' }, LATER);
    await world.run();
    expect(target.files()).toEqual({ a: 'another' });
    expect(target.trash()).toEqual({ a: 'one' });
  });

  it('without a trash what is deleted is gone', async () => {
    const { world, source, target } = await open(deleting({ policy: 'delete' }));
    await source.put({ a: 'a', b: 'b', c: 'c' });
    await world.run();
    await source.drop('a');
    await source.put({ b: 'B' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.files()).toEqual({ b: 'B', c: 'c' });
    expect(target.trash()).toEqual({});
  });

  it('spares what somebody has changed at the target since, and says so', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a', b: 'b' });
    await world.run();
    await target.put({ a: 'a person wrote this' }, LATER);
    await source.drop('a');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0, skipped: 1 } });
    expect(target.files()).toEqual({ a: 'a person wrote this', b: 'b' });
    expect(skipped(world)).toEqual({ a: 'changed-there' });
  });

  it('leaves what it never put there', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a' });
    await target.put({ theirs: 'theirs', 'd/theirs': 'too' });
    await world.run();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expect(target.files()).toEqual({ a: 'a', theirs: 'theirs', 'd/theirs': 'too' });
  });

  it('with deletes.extraneous takes that away as well', async () => {
    const { world, source, target } = await open(deleting({ extraneous: true }));
    await source.put({ a: 'a', b: 'b' });
    world.settle();
    await target.put({ theirs: 'theirs', 'd/theirs': 'too' });
    await world.run();
    await target.put({ b: 'changed by a person' }, LATER);
    await source.drop('b');
    await world.run();
    expect(target.files()).toEqual({ a: 'a' });
    expect(target.trash()).toEqual({ theirs: 'theirs', 'd/theirs': 'too', b: 'changed by a person' });
    expect(world.told('file.deleted').map(({ why }) => why)).toEqual([
      'extraneous',
      'extraneous',
      'extraneous',
    ]);
  });

  it('is held where more would go than the job allows, and deletes none of it', async () => {
    const { world, source, target } = await open(deleting({ limit: { percent: 10, files: 2 } }));
    const all = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((name) => [name, name]));
    await source.put(all);
    await world.run();
    await source.drop('a', 'b', 'c');
    await source.put({ new: 'new' });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'held', failure: { kind: 'held', code: 'deletions' } });
    // What is new went across all the same.
    expect(target.files()).toEqual({ ...all, new: 'new' });
    world.ledger.approve('nightly', Date.now());
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 3 } });
    expect(target.files()).toEqual({ d: 'd', e: 'e', new: 'new' });
  });

  it('is held where the source is empty that was full', async () => {
    const { world, source, target } = await open();
    await source.put({ a: 'a', b: 'b' });
    await world.run();
    await source.drop('a', 'b');
    expect(await world.run()).toMatchObject({ outcome: 'held', tally: { deleted: 0 } });
    expect(target.files()).toEqual({ a: 'a', b: 'b' });
  });

  it('is held where the marker is missing', async () => {
    const { world, source, target } = await open({ marker: '.mounted' });
    await source.put({ '.mounted': '', a: 'a', b: 'b' });
    await world.run();
    await source.drop('.mounted', 'a');
    expect(await world.run()).toMatchObject({ outcome: 'held', failure: { code: 'marker-missing' } });
    expect(target.files()).toMatchObject({ a: 'a', b: 'b' });
    await source.put({ '.mounted': '' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.files()).toEqual({ '.mounted': '', b: 'b' });
  });

  it('puts a directory where a file was, and a file where a directory was, in one run', async () => {
    const { world, source, target } = await open();
    await source.put({ x: 'a file', 'y/a': 'in a directory', 'y/b': 'too', z: 'z' });
    await world.run();
    await source.drop('x', 'y');
    await source.put({ 'x/a': 'in a directory now', y: 'a file now' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 3, skipped: 0 } });
    expect(target.files()).toEqual({ 'x/a': 'in a directory now', y: 'a file now', z: 'z' });
    expect(target.trash()).toEqual({ x: 'a file', 'y/a': 'in a directory', 'y/b': 'too' });
  });

  it('does so in one run where the old one is gone at the target as well', async () => {
    const { world, source, target } = await open();
    await source.put({ 'x/a': 'in a directory', y: 'a file', z: 'z' });
    await world.run();
    await source.drop('x', 'y');
    await target.drop('x', 'y');
    await target.makeDirectory('y');
    await source.put({ x: 'a file now', 'y/a': 'in a directory now' }, LATER);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0, skipped: 0 } });
    expect(target.files()).toEqual({ x: 'a file now', 'y/a': 'in a directory now', z: 'z' });
  });

  it('puts a file where an empty directory was, also where somebody did so before', async () => {
    const { world, source, target } = await open({ emptyDirectories: 'keep' });
    await source.put({ z: 'z' });
    await source.makeDirectory('x');
    await world.run();
    await source.drop('x');
    await source.put({ x: 'a file now' }, LATER);
    await target.drop('x');
    await target.put({ x: 'theirs' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    expect(target.files()).toEqual({ x: 'a file now', z: 'z' });
    expect(target.trash()).toEqual({ x: 'theirs' });
  });

  it('keeps every version that it replaces, be it twice in one second', async () => {
    const { world, source, target } = await open();
    const startedAtMs = Date.now();
    const now = (): number => startedAtMs;
    for (const [i, content] of ['one', 'two', 'three', 'four'].entries()) {
      await source.put({ a: content }, EARLIER + i * 60_000);
      expect(await world.run({ now })).toMatchObject({ outcome: 'ok', tally: { skipped: 0 } });
    }
    expect(target.files()).toEqual({ a: 'four' });
    const kept = Object.values(direction === 'push' ? world.held() : world.here());
    expect(kept.sort()).toEqual(['four', 'one', 'three', 'two']);
  });

  it('with emptyDirectories brings and takes away directories that hold nothing', async () => {
    const { world, source, target } = await open({ emptyDirectories: 'keep' });
    await source.put({ a: 'a' });
    await source.makeDirectory('empty/inner');
    await target.makeDirectory('theirs');
    await world.run();
    expect(target.directories()).toEqual(['empty', 'empty/inner', 'theirs']);
    await source.drop('empty/inner');
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(target.directories()).toEqual(['empty', 'theirs']);
  });
});

describe('a mirror of a server', () => {
  it('keeps what lies below a directory that the server does not list', async () => {
    sides = await openSides({ mode: 'mirror', direction: 'pull' });
    const { world, source, target } = sides;
    await source.put({ a: 'a', 'd/b': 'b', 'e/c': 'c' });
    await world.run();
    world.server.script({
      on: 'MLSD',
      path: '**/d',
      nth: 'every',
      do: { kind: 'reply', text: '550 Permission denied.' },
    });
    await source.drop('e');
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 1, skipped: 1 } });
    expect(target.files()).toEqual({ a: 'a', 'd/b': 'b' });
    expect(skipped(world)).toEqual({ d: '550' });
  });

  it('deletes nothing by a listing that was cut', async () => {
    sides = await openSides(
      { mode: 'mirror', direction: 'pull' },
      { server: { security: 'explicit', requireSessionReuse: false } },
    );
    const { world, source, target } = sides;
    await source.put({ a: 'a', b: 'b' });
    await world.run();
    await source.drop('a');
    world.server.script({ on: 'MLSD', nth: 'every', do: { kind: 'noCloseNotify' } });
    expect(await world.run()).toMatchObject({ tally: { deleted: 0 } });
    expect(target.files()).toEqual({ a: 'a', b: 'b' });
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.files()).toEqual({ b: 'b' });
  });
});

describe('names that a server takes for one', () => {
  const twins = { 'Report.txt': 'upper', 'report.txt': 'lower' };

  it('are not merged: they stay behind and are told', async () => {
    sides = await openSides({ mode: 'mirror' }, { server: { names: 'caseless' } });
    const { world, source, target } = sides;
    await source.put({ ...twins, other: 'other' });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 2 } });
    expect(target.files()).toEqual({ other: 'other' });
    expect(skipped(world)).toEqual({ 'Report.txt': 'twin', 'report.txt': 'twin' });
    await source.drop('Report.txt');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(target.files()).toEqual({ other: 'other', 'report.txt': 'lower' });
  });

  it('both come where names are encoded, and go again', async () => {
    sides = await openSides({ mode: 'mirror', names: 'encode' }, { server: { names: 'caseless' } });
    const { world, source, target } = sides;
    await source.put({ ...twins, other: 'other' });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 3 } });
    expect(Object.values(target.files()).sort()).toEqual(['lower', 'other', 'upper']);
    await source.drop('Report.txt');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(Object.values(target.files()).sort()).toEqual(['lower', 'other']);
  });

  it('a name that some systems forbid is encoded on the server and decoded by who fetches it', async () => {
    sides = await openSides({ mode: 'mirror', names: 'encode' });
    const { world, source, target } = sides;
    await source.put({ '12:30?.txt': 'when' });
    await world.run();
    expect(target.files()).toEqual({ '12%3A30%3F.txt': 'when' });
    expect(await world.run()).toMatchObject({ tally: { uploaded: 0, deleted: 0, unchanged: 1 } });
  });
});

describe('a dated target', () => {
  it('is a new directory each day, and the days before stay', async () => {
    sides = await openSides({
      mode: 'mirror',
      remotePath: { path: 'dumps/{date:yyyy-MM-dd}', absolute: false },
      timezone: 'UTC',
    });
    const { world, source } = sides;
    await source.put({ a: 'monday', b: 'monday' }, EARLIER);
    await world.run({ now: () => Date.UTC(2026, 10, 23, 2, 30) });
    await source.put({ a: 'tuesday' }, LATER);
    await source.drop('b');
    await world.run({ now: () => Date.UTC(2026, 10, 24, 2, 30) });
    world.change({ job: { remotePath: { path: 'dumps', absolute: false } } });
    expect(world.held()).toEqual({
      '2026-11-23/a': 'monday',
      '2026-11-23/b': 'monday',
      '2026-11-24/a': 'tuesday',
    });
  });
});
