/*
 * Change detection over FTPS, through the command line: what is sent again and what is not, by the ledger, by listings
 * and by content; a rewrite of the same size and time; times in the future, and servers that tell theirs in a zone of
 * their own.
 */
import { stat } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS, vsftpdWith } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;
/** What a run counts that had nothing to do. */
const NOTHING = [0, 0, 0, 0];

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `change detection, ${name}`, () => {
    test('by the ledger: another time, another size, or neither; the target is not looked at', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('nightly', 'from: ../source', 'to: nas:in');
      await real.put(
        'source',
        { sized: 'one', timed: 'one', sly: 'one', touched: 'one', same: 'one' },
        THEN_S,
      );
      expect((await real.run('nightly')).counts).toEqual([5, 0, 0, 0]);

      await real.put('source', { sized: 'longer' }, THEN_S);
      await real.put('source', { timed: 'two' }, THEN_S + 60);
      // Same size, same time: only inode and ctime tell that something was there.
      await real.put('source', { sly: 'two', touched: 'one' }, THEN_S);
      await real.drop('remote/in', 'same');
      const second = await real.run('nightly');
      expect(second.counts).toEqual([3, 0, 0, 0]);
      const sent = second.log.filter(({ event }) => event === 'file.uploaded').map(({ path }) => path);
      expect(sent.sort()).toEqual(['sized', 'sly', 'timed']);
      expect(await real.held('remote/in')).toEqual({
        sized: 'longer',
        timed: 'two',
        sly: 'two',
        touched: 'one',
      });
      expect((await real.run('nightly')).result).toMatchObject({ uploaded: 0, unchanged: 5 });
    });

    test('a rewrite of the same size right after a file was sent is noticed, also within one tick of the clock', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('nightly', 'from: ../source', 'to: nas:in');
      await real.put('source', { a: '0' });
      const { mtimeMs } = await stat(real.stage.at('source/a'));
      await real.run('nightly');
      for (const text of ['1', '2']) {
        await real.put('source', { a: text }, mtimeMs / 1000);
        expect((await real.run('nightly')).counts).toEqual([1, 0, 0, 0]);
        expect(await real.held('remote/in')).toEqual({ a: text });
      }
    });

    test('times in the future and of long ago: sent once, and theirs over there', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('nightly', 'from: ../source', 'to: nas:in');
      await real.job('back', 'from: nas:in', 'to: ../target');
      const futureS = Math.floor(Date.now() / 1000) + 400 * 86_400;
      await real.put('source', { future: 'f' }, futureS);
      await real.put('source', { old: 'o' }, 86_400);
      expect(await real.runAll('nightly', 'back')).toEqual([
        [2, 0, 0, 0],
        [0, 2, 0, 0],
      ]);
      for (const side of ['remote/in', 'target'])
        expect([side, await real.times(side, 'future', 'old')]).toEqual([side, [futureS, 86_400]]);
      expect(await real.runAll('nightly', 'back')).toEqual([NOTHING, NOTHING]);
    });
  });
}

describeReal('vsftpd', 'change detection, vsftpd alone', () => {
  test('a server that tells all times in a zone of its own: nothing is sent twice, whatever looks at it', async () => {
    await using real = await RealStage.open((root) =>
      inZone('America/New_York', () => vsftpdWith({ use_localtime: 'YES' })(root)),
    );
    await real.job('push', 'from: ../source', 'to: nas:pushed', 'mode: mirror', 'compare: remote');
    await real.job('both', 'from: ../source', 'to: nas:both', 'mode: two-way');
    await real.job('pull', 'from: nas:out', 'to: ../target', 'mode: mirror');
    await real.put('source', { a: 'a', 'sub/b': 'b' });
    await real.put('source', { summer: 's' }, Date.UTC(2026, 6, 1) / 1000);
    await real.put('remote/out', { c: 'c', 'sub/d': 'd' });
    expect(await real.runAll('push', 'both', 'pull')).toEqual([
      [3, 0, 0, 0],
      [3, 0, 0, 0],
      [0, 2, 0, 0],
    ]);
    expect(await real.runAll('push', 'both', 'pull')).toEqual([NOTHING, NOTHING, NOTHING]);
    // So odd it is: it takes the time that it is told for its own, and forgets that it is summer.
    expect(await real.times('remote/pushed', 'summer')).not.toEqual(await real.times('source', 'summer'));
  });
});

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `compare: remote, ${name}`, () => {
    test('what is missing or changed in the target is put right, and what only looks so is not', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('there', 'from: ../source', 'to: nas:in', 'mode: mirror', 'compare: remote');
      await real.put('remote/in', { known: 'known' }, THEN_S);
      await real.put('source', { known: 'known', lost: 'lost', longer: 'one', later: 'one' }, THEN_S);
      // Both have it, of the same size and time: that is taken for the same file.
      expect((await real.run('there')).counts).toEqual([3, 0, 0, 0]);
      await real.drop('remote/in', 'lost');
      await real.put('remote/in', { longer: 'somebody was here' }, THEN_S);
      await real.put('remote/in', { later: 'two' }, THEN_S + 120);
      expect((await real.run('there')).counts).toEqual([3, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual(await real.held('source'));
      expect(await real.trash('remote/in')).toEqual(['later = two', 'longer = somebody was here']);
      expect((await real.run('there')).counts).toEqual([0, 0, 0, 0]);

      await real.job('back', 'from: nas:in', 'to: ../target', 'mode: mirror', 'compare: remote');
      await real.put('target', { known: 'known' }, THEN_S);
      expect((await real.run('back')).counts).toEqual([0, 3, 0, 0]);
      await real.drop('target', 'lost');
      await real.put('target', { longer: 'worked on here' }, THEN_S);
      expect((await real.run('back')).counts).toEqual([0, 2, 0, 0]);
      expect(await real.held('target')).toEqual(await real.held('source'));
      expect(await real.trash('target')).toEqual(['longer = worked on here']);
      expect((await real.run('back')).counts).toEqual([0, 0, 0, 0]);
    });
  });
}

for (const name of ['vsftpd', 'proftpd', 'openssh'] as const) {
  // Of the two only ProFTPD tells hashes; with vsftpd the file is read back.
  describeReal(name, `compare: checksum, ${name}`, () => {
    test('other bytes of the same size and time are found on either side', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('there', 'from: ../source', 'to: nas:in', 'compare: checksum');
      await real.job('back', 'from: nas:out', 'to: ../target', 'mode: mirror', 'compare: checksum');
      await real.put('source', { rotten: 'right', fine: 'fine' }, THEN_S);
      await real.put('remote/out', { rotten: 'right', fine: 'fine' }, THEN_S);
      expect(await real.runAll('there', 'back')).toEqual([
        [2, 0, 0, 0],
        [0, 2, 0, 0],
      ]);
      await real.put('remote/in', { rotten: 'wrong' }, THEN_S);
      await real.put('target', { rotten: 'wrong' }, THEN_S);
      expect(await real.runAll('there', 'back')).toEqual([
        [1, 0, 0, 0],
        [0, 1, 0, 0],
      ]);
      for (const side of ['remote/in', 'target'])
        expect(await real.held(side)).toEqual({ rotten: 'right', fine: 'fine' });
      expect(await real.trash('target')).toEqual(['rotten = wrong']);
      // The source is rotten now: that is a change like any other.
      await real.put('remote/out', { rotten: 'other' }, THEN_S);
      expect((await real.run('back')).counts).toEqual([0, 1, 0, 0]);
      expect(await real.held('target')).toEqual({ rotten: 'other', fine: 'fine' });
      expect(await real.runAll('there', 'back')).toEqual([NOTHING, NOTHING]);
    });
  });
}

/** Starts something whose processes believe to be in that time zone. */
async function inZone<T>(zone: string, start: () => Promise<T>): Promise<T> {
  const { TZ } = process.env;
  process.env.TZ = zone;
  try {
    return await start();
  } finally {
    if (TZ === undefined) delete process.env.TZ;
    else process.env.TZ = TZ;
  }
}
