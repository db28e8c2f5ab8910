/*
 * Links that stay links, by example: every mode, both directions, what becomes of files and directories in whose place
 * a link comes, and of links that lead out.
 */
import { mkdirSync, symlinkSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { FtpError } from '../../src/ftp/errors.js';
import type { Job } from '../../src/job/job.js';
import { LinkImpossible } from '../../src/remote/remote.js';
import { planJob } from '../../src/run/plan.js';
import { headerOf, PlanFile, PlanWriter } from '../../src/run/planfile.js';
import { restoreJob } from '../../src/run/restore.js';
import type { MemoryRemote } from '../support/memory-remote.js';
import { type Direction, Linked } from './support/linked.js';
import { loseLedger } from './support/model-ledger.js';

let linked: Linked;
afterEach(() => linked[Symbol.asyncDispose]());

async function open(job: Partial<Omit<Job, 'server'>> = {}): Promise<Linked> {
  linked = await Linked.open(job);
  return linked;
}

const DIRECTIONS = ['push', 'pull'] as const;

const limit = (files: number): Pick<Job, 'deletes'> => ({
  deletes: { policy: 'trash', keepMs: 1e9, extraneous: false, limit: { percent: 0, files } },
});

describe.each(DIRECTIONS)('a copy, %s', (direction) => {
  const sides = async (job: Partial<Omit<Job, 'server'>> = {}) =>
    (await open({ mode: 'copy', direction, ...job })).sides(direction);

  it('takes links along as they are: to files, to directories, to nothing', async () => {
    const { source, target } = await sides();
    source.put('d/a', 'a');
    source.link('to-a', 'd/a');
    source.link('d/up', '../d');
    source.link('d/e/nowhere', 'not there/at all');
    source.link('to-directory', 'd');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(target.shown()).toEqual(source.shown());
    expect(target.shown()).toEqual({
      'd/a': 'a',
      'to-a': '-> d/a',
      'd/up': '-> ../d',
      'd/e/nowhere': '-> not there/at all',
      'to-directory': '-> d',
    });
  });

  it('counts a link as a file without bytes, and leaves it alone when nothing has changed', async () => {
    const { source } = await sides();
    source.link('l', 'somewhere');
    const moved = direction === 'push' ? 'uploaded' : 'downloaded';
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { [moved]: 1, bytes: 0 } });
    expect(linked.world.told(`file.${moved}`)).toMatchObject([{ path: 'l', bytes: 0 }]);
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { [moved]: 0, unchanged: 1 } });
    if (direction === 'push') expect(linked.steps).toEqual([]);
    expect(linked.world.intents()).toEqual([]);
  });

  it('a link that leads elsewhere replaces the one before, which is kept', async () => {
    const { source, target } = await sides();
    source.link('l', 'one');
    await linked.run();
    source.link('l', 'two');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(target.shown()).toEqual({ l: '-> two' });
    expect(target.trash()).toEqual({ l: '-> one' });
  });

  it('a file in the place of a link, and a link in the place of a file', async () => {
    const { source, target } = await sides();
    source.link('a', 'b');
    source.put('b', 'file');
    await linked.run();
    source.drop('a');
    source.put('a', 'now a file');
    source.link('b', 'a');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(target.shown()).toEqual({ a: 'now a file', b: '-> a' });
    expect(target.trash()).toEqual({ a: '-> b', b: 'file' });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 2 } });
  });

  it('deletes nothing: a link that is gone stays at the target, a directory in its place does not come', async () => {
    const { source, target } = await sides();
    source.link('gone', 'x');
    source.link('d', 'x');
    await linked.run();
    source.drop('gone');
    source.drop('d');
    source.put('d/f', 'not to be written where d leads');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(target.shown()).toEqual({ gone: '-> x', d: '-> x' });
    if (direction === 'push') {
      expect(linked.world.told('file.skipped')).toMatchObject([{ path: 'd/f', code: 'link-in-the-way' }]);
      expect(linked.steps).toEqual([]);
    }
    source.drop('d');
    source.link('d', 'x');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
  });

  it('a directory in the place of which a link would come is left as it is', async () => {
    const { source, target } = await sides();
    source.put('d/f', 'f');
    await linked.run();
    source.drop('d');
    source.link('d', 'elsewhere');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(target.shown()).toEqual({ 'd/f': 'f' });
    expect(linked.world.intents()).toEqual([]);
  });

  it('include, exclude, hidden and .ferryignore hold for links; size and age do not', async () => {
    const { source, target } = await sides({
      exclude: ['**/*.no'],
      hidden: 'skip',
      size: { minBytes: 5, maxBytes: undefined },
      age: { minMs: undefined, maxMs: 1 },
    });
    source.link('l', 'x');
    source.link('l.no', 'x');
    source.link('.hidden', 'x');
    source.link('ignored', 'x');
    linked.local.put('.ferryignore', 'ignored\n');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    const { '.ferryignore': _rules, ...shown } = target.shown();
    expect(shown).toEqual({ l: '-> x' });
  });

  it('what the ledger has forgotten is taken up again, and nothing is sent twice', async () => {
    const { source, target } = await sides();
    source.link('l', 'x');
    source.put('f', 'f');
    await linked.run();
    const before = target.shown();
    loseLedger(linked.world);
    linked.world.events.length = 0;
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0, downloaded: 0 } });
    expect(target.shown()).toEqual(before);
    expect(linked.world.known()).toHaveLength(2);
    expect(linked.world.known()).toMatchObject([{ path: 'f' }, { path: 'l', baseline: { leadsTo: 'x' } }]);
  });

  it('a link that has come and was changed by hand at the target', async () => {
    const { source, target } = await sides({ compare: 'remote' });
    source.link('l', 'x');
    await linked.run();
    target.link('l', 'by-hand');
    const report = await linked.run();
    // A copy does not overwrite what a person has put here; on the server the source is right.
    expect(report).toMatchObject({ outcome: direction === 'push' ? 'ok' : 'partial' });
    expect(target.shown()).toEqual({ l: direction === 'push' ? '-> x' : '-> by-hand' });
  });

  it('goes back to skipping, and then to following, without losing anything', async () => {
    const { source, target } = await sides();
    source.put('f', 'f');
    source.link('l', 'f');
    await linked.run();
    linked.world.change({ job: { links: 'skip' } });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0 } });
    expect(target.shown()).toEqual({ f: 'f', l: '-> f' });
    if (direction === 'pull') return;
    linked.world.change({ job: { links: 'follow' } });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(target.shown()).toEqual({ f: 'f', l: 'f' });
    linked.world.change({ job: { links: 'preserve' } });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(target.shown()).toEqual({ f: 'f', l: '-> f' });
  });
});

describe.each(DIRECTIONS)('a mirror, %s', (direction) => {
  const sides = async (job: Partial<Omit<Job, 'server'>> = {}) =>
    (await open({ mode: 'mirror', direction, ...job })).sides(direction);

  it('deletes a link that is gone, into the trash, and never what it leads to', async () => {
    const { source, target } = await sides();
    source.put('d/f', 'f');
    source.link('l', 'd');
    await linked.run();
    source.drop('l');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1, unchanged: 1 } });
    expect(target.shown()).toEqual({ 'd/f': 'f' });
    expect(target.trash()).toEqual({ l: '-> d' });
  });

  it('a link that was changed at the target stays, and that is told', async () => {
    const { source, target } = await sides();
    source.link('l', 'x');
    source.put('f');
    await linked.run();
    source.drop('l');
    target.link('l', 'by-hand');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0, skipped: 1 } });
    expect(target.shown()).toMatchObject({ l: '-> by-hand' });
  });

  it('a link that was put there by others goes where extraneous things are to go', async () => {
    const { source, target } = await sides({
      deletes: { policy: 'delete', keepMs: 1e9, extraneous: true, limit: { percent: 100, files: 9 } },
    });
    source.put('f');
    await linked.run();
    target.link('theirs', '/outside');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.shown()).toEqual({ f: 'f' });
  });

  it('a directory that has become a link: its files are deletions, and then the link comes', async () => {
    const { source, target } = await sides();
    source.put('releases/1/f', 'f');
    source.put('current/f', 'f');
    source.put('current/deep/g', 'g');
    await linked.run();
    source.drop('current');
    source.link('current', 'releases/1');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expect(target.shown()).toEqual({ 'releases/1/f': 'f', current: '-> releases/1' });
    expect(target.trash()).toEqual({ 'current/f': 'f', 'current/deep/g': 'g' });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 2, deleted: 0 } });
  });

  it('the guard sees a tree that is replaced by a link, and releases it when a person says so', async () => {
    const { source, target } = await sides(limit(3));
    for (let n = 0; n < 10; n += 1) source.put(`d/${n}`);
    source.put('kept');
    await linked.run();
    const before = target.shown();
    source.drop('d');
    source.link('d', 'kept');
    expect(await linked.run()).toMatchObject({ outcome: 'held', tally: { deleted: 0 } });
    expect(target.shown()).toEqual(before);
    linked.world.ledger.approve('nightly', Date.now());
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 10 } });
    expect(target.shown()).toEqual({ kept: 'kept', d: '-> kept' });
  });

  it('what a person released does not cover a link that leads elsewhere by then', async () => {
    const { source, target } = await sides({ ...limit(0), compare: 'remote' });
    source.link('l', 'x');
    source.put('f');
    await linked.run();
    source.drop('l');
    expect(await linked.run()).toMatchObject({ outcome: 'held' });
    linked.world.ledger.approve('nightly', Date.now());
    target.link('l', 'y');
    linked.world.change({ job: { deletes: { ...linked.world.job.deletes, extraneous: true } } });
    expect(await linked.run()).toMatchObject({ outcome: 'held', tally: { deleted: 0 } });
    expect(target.shown()).toMatchObject({ l: '-> y' });
  });

  it('a link that has become a directory', async () => {
    const { source, target } = await sides();
    source.put('x/f', 'the old one');
    source.link('d', 'x');
    await linked.run();
    source.drop('d');
    source.put('d/f', 'f');
    source.put('d/deep/g', 'g');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.shown()).toEqual({ 'x/f': 'the old one', 'd/f': 'f', 'd/deep/g': 'g' });
    expect(target.trash()).toEqual({ d: '-> x' });
  });

  it('empty directories are kept beside links, and a link to one is none', async () => {
    const { source, target } = await sides({ emptyDirectories: 'keep' });
    source.put('empty/f');
    source.link('l', 'empty');
    await linked.run();
    source.drop('empty/f');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(target.shown()).toEqual({ l: '-> empty' });
    source.drop('empty');
    source.link('empty', 'l');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(target.shown()).toEqual({ l: '-> empty', empty: '-> l' });
  });

  it('is restored from the trash', async () => {
    const { source, target } = await sides();
    source.link('l', 'x');
    source.put('f');
    await linked.run();
    source.drop('l');
    await linked.run();
    const { job, ledgerFile, directory } = linked.world;
    linked.world.closeLedger();
    const common = {
      ledgerFile,
      listener: () => {},
      nowMs: Date.now(),
      onLeft: () => {},
      accounts: linked.accounts as never,
    };
    const paths: string[] = [];
    const onRestored = ({ path }: { path: string }): void => void paths.push(path);
    const to = directory.join('copied');
    const wish = { path: undefined, atMs: undefined };
    expect(await restoreJob(job, { ...wish, to }, { ...common, onRestored })).toMatchObject({
      end: 'done',
      restored: 1,
      bytes: 0,
      left: 0,
    });
    expect(await restoreJob(job, { ...wish, to: undefined }, { ...common, onRestored })).toMatchObject({
      end: 'done',
      restored: 1,
    });
    expect(paths).toEqual(['l', 'l']);
    expect(target.shown()).toEqual({ f: 'f', l: '-> x' });
  });
});

describe.each(DIRECTIONS)('a move, %s', (direction) => {
  it('takes the link from the source once the target has it', async () => {
    const { source, target } = (await open({ mode: 'move', direction })).sides(direction);
    source.link('l', 'x');
    source.put('f');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(source.shown()).toEqual({});
    expect(target.shown()).toEqual({ l: '-> x', f: 'f' });
    expect(linked.world.known()).toEqual([]);
    // Delivered before by a run that did not come to its end.
    source.link('l', 'x');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(source.shown()).toEqual({});
    expect(target.shown()).toMatchObject({ l: '-> x' });
  });

  it('leaves a link that leads elsewhere by then', async () => {
    const { source, target } = (await open({ mode: 'move', direction })).sides(direction);
    source.link('l', 'x');
    const done = direction === 'push' ? 'rename' : 'read-link';
    linked.before = ({ step }) => {
      if (step === done) source.link('l', 'y');
    };
    await linked.run();
    linked.before = () => {};
    expect(source.shown()).toEqual({ l: '-> y' });
    await linked.run();
    expect(source.shown()).toEqual({});
    expect(target.shown()).toEqual({ l: '-> y' });
  });
});

describe('two ways', () => {
  const both = (): { here: Record<string, string>; there: Record<string, string> } => ({
    here: linked.local.shown(),
    there: linked.remote.shown(),
  });

  it.each(DIRECTIONS)('new, changed and gone on either side, %s', async (direction) => {
    const { local, remote } = await open({ mode: 'two-way', direction });
    local.link('a', 'x');
    remote.link('d/b', '../x');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, downloaded: 1 } });
    expect(both().here).toEqual({ a: '-> x', 'd/b': '-> ../x' });
    expect(both().there).toEqual(both().here);
    local.link('d/b', '../y');
    remote.link('a', 'y');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(both().here).toEqual({ a: '-> y', 'd/b': '-> ../y' });
    expect(both().there).toEqual(both().here);
    local.drop('a');
    remote.drop('d/b');
    local.put('kept');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expect(both()).toEqual({ here: { kept: 'kept' }, there: { kept: 'kept' } });
  });

  it('the same link on both sides is agreed upon', async () => {
    const { local, remote } = await open({ mode: 'two-way' });
    local.link('l', '/absolute');
    remote.link('l', '/absolute');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1, uploaded: 0 } });
    expect(linked.world.known()).toMatchObject([{ path: 'l', baseline: { leadsTo: '/absolute' } }]);
    local.link('l', 'other');
    remote.link('l', 'other');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1, renamed: 0 } });
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
  });

  it.each(['keep-both', 'newer'] as const)(
    'both versions stay where both changed it: %s',
    async (conflicts) => {
      const { local, remote } = await open({ mode: 'two-way', conflicts });
      local.link('l', 'x');
      local.put('f', 'f');
      await linked.run();
      local.link('l', 'here');
      remote.link('l', 'there');
      local.link('f', 'now-a-link');
      remote.put('f', 'now another file');
      expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { renamed: 2 } });
      const { here, there } = both();
      expect(there).toEqual(here);
      expect(Object.values(here).sort()).toEqual([
        '-> here',
        '-> now-a-link',
        '-> there',
        'now another file',
      ]);
      expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 4, renamed: 0 } });
    },
  );

  it.each([
    ['from', 'push', '-> here'],
    ['to', 'push', '-> there'],
    ['from', 'pull', '-> there'],
  ] as const)('conflicts: %s, %s', async (conflicts, direction, winner) => {
    const { local, remote } = await open({ mode: 'two-way', direction, conflicts });
    local.link('l', 'here');
    remote.link('l', 'there');
    expect(await linked.run()).toMatchObject({ outcome: 'ok' });
    expect(both()).toEqual({ here: { l: winner }, there: { l: winner } });
  });

  it('a directory becomes a link on one side, and a link a directory', async () => {
    const { local, remote } = await open({ mode: 'two-way' });
    local.put('d/f', 'f');
    local.link('l', 'd');
    await linked.run();
    remote.drop('d');
    remote.link('d', 'e');
    local.drop('l');
    local.put('l/g', 'g');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expect(both().here).toEqual({ d: '-> e', 'l/g': 'g' });
    expect(both().there).toEqual(both().here);
  });

  it('a new link on the server is not written through by what is new below its name here', async () => {
    const { local, remote } = await open({ mode: 'two-way' });
    remote.link('d', 'somewhere');
    local.put('d/f', 'f');
    expect(await linked.run()).toMatchObject({ outcome: 'partial' });
    expect(both()).toEqual({ here: { 'd/f': 'f' }, there: { d: '-> somewhere' } });
    expect(linked.steps.filter(({ step }) => step === 'store')).toEqual([]);
  });

  it('a link of the server that leads out stays there, and its old self here', async () => {
    const { local, remote } = await open({ mode: 'two-way' });
    local.link('l', 'x');
    await linked.run();
    remote.link('l', '/outside/passwd');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(both()).toEqual({ here: { l: '-> x' }, there: { l: '-> /outside/passwd' } });
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
  });
});

describe('a plan that is kept', () => {
  it('is carried out as long as links lead where they did', async () => {
    const { local, remote, world } = await open({ mode: 'mirror' });
    for (const name of ['changed', 'gone', 'kept']) local.link(name, 'x');
    await linked.run();
    local.link('changed', 'y');
    local.drop('gone');
    local.link('new', 'y');
    const file = world.directory.join('plan.json');
    const writer = await PlanWriter.create(file, headerOf(world.job, Date.now()));
    const verdicts = planJob(world.job, {
      ledger: world.ledger,
      accounts: linked.accounts,
      onFinding: () => {},
    });
    for await (const verdict of verdicts) await writer.add(verdict);
    expect(await writer.end()).toBe(3);
    local.link('new', 'z');
    const only = await PlanFile.read(file);
    expect(await linked.run({ only })).toMatchObject({
      outcome: 'partial',
      tally: { uploaded: 1, deleted: 1, skipped: 1 },
    });
    expect(remote.shown()).toEqual({ changed: '-> y', kept: '-> x' });
    expect(world.told('file.skipped')).toMatchObject([{ path: 'new', code: 'not-planned' }]);
  });
});

describe('a server that', () => {
  const failing = (remote: MemoryRemote, error: Error) => {
    remote.links.make = () => Promise.reject(error);
    return { of: async () => ({ remote: () => remote }) };
  };

  it('makes no links takes the files, however many links there are, and is not asked again', async () => {
    const { local, remote, world } = await open();
    for (let n = 0; n < 30; n += 1) local.link(`l${n}`, 'x');
    local.put('z');
    const accounts = failing(linked.ask(), new LinkImpossible('The server knows no links.'));
    const report = { outcome: 'partial', tally: { uploaded: 1, skipped: 30 } };
    expect(await linked.run({ accounts })).toMatchObject(report);
    expect(remote.shown()).toEqual({ z: 'z' });
    expect(world.skips()).toHaveLength(30);
    expect(world.intents()).toEqual([]);
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 0, skipped: 30 } });
    expect(linked.steps).toEqual([]);
  });

  it('has no word for links ends the run before anything is sent', async () => {
    const { local, remote } = await open();
    local.link('l', 'x');
    const without = linked.ask();
    Object.defineProperty(without, 'links', { value: undefined });
    const accounts = { of: async () => ({ remote: () => without }) };
    expect(await linked.run({ accounts })).toMatchObject({
      outcome: 'failed',
      failure: { kind: 'configuration', code: 'links' },
    });
    expect(remote.shown()).toEqual({});
  });

  it('loses the connection while a link is made gets it with the next attempt', async () => {
    const { local, remote, world } = await open({ mode: 'mirror' });
    local.link('l', 'x');
    await linked.run();
    local.link('l', 'y');
    for (const step of ['link', 'move', 'rename'] as const) {
      let failed = 0;
      linked.before = (asked) => {
        if (asked.step !== step || failed > 0) return;
        failed += 1;
        throw new FtpError('lost', 'The connection ended without a word.', { phase: 'command', verb: step });
      };
      local.link('l', `for ${step}`);
      expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(failed).toBe(1);
      expect(remote.shown()).toEqual({ l: `-> for ${step}` });
      expect(world.intents()).toEqual([]);
    }
    expect(remote.keeps('l', '-> x')).toBe(true);
    expect(remote.keeps('l', '-> for move')).toBe(true);
  });
});

describe('links that lead out', () => {
  const OUT: readonly (readonly [string, string])[] = [
    ['absolute', '/outside/passwd'],
    ['above', '..'],
    ['far', '../../../../../../outside'],
    ['d/above', '../..'],
    ['d/sneaks', './../../x'],
    ['behind', 'd/../../x'],
    ['through', 'd/../f'],
    ['slashes', '//outside'],
  ];

  it('are sent as they are, and a person is told once a run', async () => {
    const { local, remote } = await open({ mode: 'mirror' });
    for (const [path, leadsTo] of OUT) local.link(path, leadsTo);
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: OUT.length } });
    expect(remote.shown()).toEqual(local.shown());
    expect(linked.world.told('link.outside')).toHaveLength(1);
    expect(linked.world.told('link.outside')[0]?.message).toMatch(/and 6 more, lead out of the source/);
    await linked.run();
    expect(linked.world.told('link.outside')).toHaveLength(1);
  });

  it('are never made here, are remembered, and keep nothing else from coming', async () => {
    const { local, remote } = await open({ direction: 'pull' });
    for (const [path, leadsTo] of OUT) remote.link(path, leadsTo);
    for (let n = 0; n < 30; n += 1) remote.link(`many/${n}`, '/outside/null');
    remote.link('good', 'd');
    remote.put('z', 'z');
    const skipped = OUT.length + 30;
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 2, skipped } });
    expect(local.shown()).toEqual({ good: '-> d', z: 'z' });
    expect(linked.world.skips()).toHaveLength(skipped);
    for (const { code, leadsTo } of linked.world.skips()) {
      expect(code).toBe('link-outside');
      expect(leadsTo).not.toBe(undefined);
    }
    linked.world.events.length = 0;
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped } });
    expect(linked.world.told('file.skipped')).toEqual([]);
    remote.link('absolute', 'd');
    expect(await linked.run()).toMatchObject({ tally: { downloaded: 1, skipped: skipped - 1 } });
    expect(local.shown()).toMatchObject({ absolute: '-> d' });
  });

  it('nothing is fetched through a link that stands here', async () => {
    const { local, remote, world } = await open({ direction: 'pull' });
    mkdirSync(world.directory.join('outside'));
    symlinkSync(world.directory.join('outside'), world.local('d'));
    remote.put('d/f', 'f');
    remote.link('d/l', 'x');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 2 } });
    expect(local.shown()).toEqual({ d: `-> ${world.directory.join('outside')}` });
    expect(world.told('file.skipped')).toMatchObject([{ code: 'OUTSIDE' }, { code: 'OUTSIDE' }]);
  });

  it('what a person has put here is not replaced by a link', async () => {
    const { local, remote } = await open({ direction: 'pull' });
    local.put('l', "a person's");
    local.link('m', 'theirs');
    remote.link('l', 'x');
    remote.link('m', 'x');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 0, skipped: 2 } });
    expect(local.shown()).toEqual({ l: "a person's", m: '-> theirs' });
  });

  it('nor is a link that was fetched and that a person has made to lead elsewhere', async () => {
    const { local, remote } = await open({ direction: 'pull' });
    for (const path of ['mine', 'theirs']) remote.link(path, 'x');
    await linked.run();
    local.link('mine', 'by-hand');
    for (const path of ['mine', 'theirs']) remote.link(path, 'y');
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { downloaded: 1, skipped: 1 } });
    expect(local.shown()).toEqual({ mine: '-> by-hand', theirs: '-> y' });
    expect(local.trash()).toEqual({ theirs: '-> x' });
  });
});

describe('markers and names', () => {
  it('a link waits for its marker', async () => {
    const { local, remote } = await open({ ready: { before: '', part: 'name', behind: '.ok' } });
    local.link('l', 'x');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 0 } });
    local.put('l.ok');
    expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(remote.shown()).toEqual({ l: '-> x' });
  });

  it.each(DIRECTIONS satisfies readonly Direction[])(
    'encoded names, %s: the text stays',
    async (direction) => {
      const { source, target } = (await open({ direction, names: 'encode' })).sides(direction);
      source.link(direction === 'push' ? 'a:b' : 'a%3Ab', 'c:d');
      expect(await linked.run()).toMatchObject({ outcome: 'ok' });
      expect(target.shown()).toEqual({ [direction === 'push' ? 'a%3Ab' : 'a:b']: '-> c:d' });
      expect(await linked.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
    },
  );

  it('a link whose text is no UTF-8 is told and not sent', async () => {
    const { world, remote } = await open();
    symlinkSync(Buffer.from([0x61, 0xff]), world.local('l'));
    expect(await linked.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
    expect(world.told('file.skipped')).toMatchObject([{ path: 'l', code: 'link-text' }]);
    expect(remote.shown()).toEqual({});
  });
});
