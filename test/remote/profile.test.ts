/*
 * What has been found out about a server: kept when it was learned, believed by the next account, and found out anew
 * where it is too old, cannot be read, or is of a server that has changed.
 */
import { describe, expect, test, vi } from 'vitest';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { profileIdentity, serverIdentity } from '../../src/remote/account.js';
import { FtpAccount } from '../../src/remote/ftp/account.js';
import { type FtpFacts, FtpProfile } from '../../src/remote/ftp/profile.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import { SftpProfile } from '../../src/remote/sftp/profile.js';
import { World } from '../run/support/voyage.js';
import { type FtpServerOptions, serverLike } from '../support/ftp-server/settings.js';
import { credentialsOf, FtpBerth, serverSettings } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const DAY_MS = 24 * 3_600_000;

/** A store that a test can look into. */
class Shelf implements ProfileStore {
  json: string | undefined;
  saves = 0;

  constructor(json?: string) {
    this.json = json;
  }

  load(): string | undefined {
    return this.json;
  }

  save(json: string): void {
    this.json = json;
    this.saves += 1;
  }

  get facts(): Partial<FtpFacts> {
    return (JSON.parse(this.json ?? '{}') as { facts: Partial<FtpFacts> }).facts;
  }
}

function profile(shelf: Shelf | undefined, nowMs = 1_000_000) {
  const learned: string[] = [];
  const made = new FtpProfile({
    store: shelf,
    onLearned: (sentence) => learned.push(sentence),
    now: () => nowMs,
  });
  return { profile: made, learned };
}

describe('what is kept', () => {
  test('is stored with the first fact, and read by the next', () => {
    const shelf = new Shelf();
    const first = profile(shelf);
    expect(shelf.json).toBeUndefined();
    first.profile.begin(['EPSV', 'MFMT']);
    first.profile.learn('dataMode', 'PASV', 'PASV is used.');
    first.profile.note('names', { 'a backslash': 'altered' });
    first.profile.note('hash', { verb: 'HASH', algorithm: 'SHA-256' });
    const second = profile(shelf);
    expect(second.profile.facts).toEqual(first.profile.facts);
    expect(second.profile.facts).toMatchObject({
      dataMode: 'PASV',
      names: { 'a backslash': 'altered' },
      hash: { verb: 'HASH', algorithm: 'SHA-256' },
      features: ['EPSV', 'MFMT'],
    });
    expect(first.learned).toEqual(['PASV is used.']);
    expect(second.learned).toEqual([]);
  });

  test('is written and told only where it changes', () => {
    const shelf = new Shelf();
    const { profile: made, learned } = profile(shelf);
    for (let time = 0; time < 3; time += 1) {
      made.learn('rename', 'refuses', 'It refuses.');
      made.note('size', 'SIZE');
    }
    expect([shelf.saves, learned]).toEqual([1, ['It refuses.']]);
  });

  test('holds without a store too, as long as the process', () => {
    const { profile: made } = profile(undefined);
    made.note('size', 'listing');
    expect(made.facts.size).toBe('listing');
  });

  test('holds where the server lists the same features', () => {
    const shelf = new Shelf();
    profile(shelf).profile.begin(['A', 'B']);
    const { profile: made, learned } = profile(shelf);
    made.note('size', 'listing');
    made.begin(['A', 'B']);
    expect(made.facts.size).toBe('listing');
    expect(learned).toEqual([]);
  });

  test('and is all found out anew where it lists others', () => {
    const shelf = new Shelf();
    const first = profile(shelf).profile;
    first.begin(['A', 'B']);
    first.note('size', 'listing');
    first.note('tls', 'TLSv1.2');
    first.note('names', { 'a backslash': 'altered' });
    first.note('connections', { count: 1, atMs: 0 });
    const { profile: made, learned } = profile(shelf, 2_000_000);
    made.begin(['A', 'B', 'C']);
    expect(made.facts).toEqual({ ...profile(undefined).profile.facts, features: ['A', 'B', 'C'] });
    expect(learned).toEqual([expect.stringContaining('other features than before')]);
    // Its month begins now.
    expect(profile(shelf, 2_000_000 + 29 * DAY_MS).profile.facts.features).toEqual(['A', 'B', 'C']);
  });
});

test('each protocol has facts of its own, besides those of every server', () => {
  const shelf = new Shelf();
  const made = (): SftpProfile =>
    new SftpProfile({ store: shelf, onLearned: () => {}, now: () => 1_000_000 });
  made().note('posixRename', 'none');
  made().note('temporary', 'plain');
  expect(made().facts).toMatchObject({ posixRename: 'none', temporary: 'plain', names: {} });
  expect(made().facts).not.toHaveProperty('telnetBytes');
  made().begin(['fsync@openssh.com 1']);
  const other = made();
  other.begin([]);
  expect(other.facts).toMatchObject({ posixRename: 'works', temporary: 'hidden', features: [] });
});

describe('what is not believed', () => {
  const good = (sinceMs: number, form: unknown = 1): string => {
    const shelf = new Shelf();
    profile(shelf, sinceMs).profile.note('size', 'listing');
    const stored = JSON.parse(shelf.json ?? '') as Record<string, unknown>;
    return JSON.stringify({ ...stored, form });
  };
  const NOW = 100 * DAY_MS;

  test.each([
    ['a day old', good(NOW - DAY_MS), 'listing'],
    ['nearly thirty days old', good(NOW - 30 * DAY_MS + 1), 'listing'],
    ['older than thirty days', good(NOW - 30 * DAY_MS - 1), 'SIZE'],
    ['from the future', good(NOW + 1), 'SIZE'],
    ['of an older form', good(NOW, 0), 'SIZE'],
    ['of a newer form', good(NOW, 2), 'SIZE'],
    ['of no form', good(NOW, null), 'SIZE'],
    ['empty', '', 'SIZE'],
    ['no JSON', '{"form":1,', 'SIZE'],
    ['null', 'null', 'SIZE'],
    ['a number', '17', 'SIZE'],
    ['a list', '[1]', 'SIZE'],
    ['without facts', `{"form":1,"sinceMs":${NOW}}`, 'SIZE'],
    ['with facts that are null', `{"form":1,"sinceMs":${NOW},"facts":null}`, 'SIZE'],
    ['with an age that is text', `{"form":1,"sinceMs":"now","facts":{"size":"listing"}}`, 'SIZE'],
  ])('a profile %s', (_what, json, size) => {
    expect(profile(new Shelf(json), NOW).profile.facts.size).toBe(size);
  });

  test('a fact that is missing in it is guessed as for a new server', () => {
    const json = JSON.stringify({ form: 1, sinceMs: NOW, facts: { size: 'listing' } });
    expect(profile(new Shelf(json), NOW).profile.facts).toEqual({
      ...profile(undefined).profile.facts,
      size: 'listing',
    });
  });
});

/** An account on the berth's server with a store of its own. */
async function use(
  berth: FtpBerth,
  shelf: Shelf,
  names: readonly string[],
  settings: Partial<Settings> = {},
): Promise<string[]> {
  const learned: string[] = [];
  const account = new FtpAccount(
    { ...serverSettings(berth.server, 'plain'), connections: 1, ...settings },
    credentialsOf({ password: 'secret' }),
    { onOpened: () => {}, onLearned: (message) => learned.push(message), onWire: undefined },
    shelf,
  );
  const remote = account.remote({ path: 'dumps', absolute: false });
  try {
    await Promise.all(names.map((name) => remote.deliver(deliveryOf(name, sourceOf(name)))));
  } finally {
    await account.close();
  }
  return learned;
}

const poor: Omit<FtpServerOptions, 'root'> = {
  features: { EPSV: false, MFMT: false, 'MDTM-SET': false, HASH: true },
  renameOverwrites: false,
};

describe('an account', () => {
  test('leaves what it has learned to the next one, which asks for nothing in vain', async () => {
    await using berth = await FtpBerth.open({ server: poor });
    const shelf = new Shelf();
    await use(berth, shelf, ['a']);
    const learned = await use(berth, shelf, ['a']);
    expect(learned.filter((sentence) => sentence.includes('removed first'))).toHaveLength(1);
    const refused = (): number =>
      berth.server.journal.commands.filter(({ replies }) => /^5/.test(replies[0] ?? '')).length;
    const before = refused();
    expect(await use(berth, shelf, ['a', 'b', 'c'])).toEqual([]);
    expect(refused() - before).toBeLessThanOrEqual(2); // SIZE of b and c, which are not there.
    expect(shelf.facts).toMatchObject({ dataMode: 'PASV', setTime: 'SITE UTIME', rename: 'refuses' });
    expect(await filesBelow(berth.disk)).toEqual(['a', 'b', 'c']);
  });

  test('finds everything out anew where the server has changed', async () => {
    const shelf = new Shelf();
    await using old = await FtpBerth.open({ server: poor });
    await use(old, shelf, ['a']);
    expect(shelf.facts).toMatchObject({ dataMode: 'PASV', setTime: 'SITE UTIME' });
    await using now = await FtpBerth.open();
    expect(await use(now, shelf, ['a'])).toEqual([expect.stringContaining('other features than before')]);
    expect(now.server.journal.verbs()).toContain('EPSV');
    expect(now.server.journal.verbs()).toContain('MFMT');
    expect(shelf.facts).toMatchObject({ dataMode: 'EPSV', setTime: 'MFMT', hash: 'none' });
  });

  test('works with a store that holds nonsense', async () => {
    await using berth = await FtpBerth.open();
    const shelf = new Shelf('{"form":1,"sinceMs":1e999,"facts":[]}');
    expect(await use(berth, shelf, ['a'])).toEqual([]);
    expect(await filesBelow(berth.disk)).toEqual(['a']);
    expect(shelf.facts).toMatchObject({ dataMode: 'EPSV', dataModeWorks: true });
  });

  test('its identity has no secrets in it', () => {
    const server = serverSettings({ address: '127.0.0.1', port: 21 }, 'explicit');
    expect(serverIdentity(server)).toBe('ftp://ferry@127.0.0.1:21');
    expect(profileIdentity(server)).toBe('ftp://ferry@127.0.0.1:21 explicit');
  });
});

describe("the server's clock", () => {
  const stamp = (ms: number): string => new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14);

  test.each([
    [3_600_000, 'ahead of'],
    [-7_200_000, 'behind'],
    [61_500, 'ahead of'],
  ])('is off by %i ms: told once, and kept', async (offsetMs, direction) => {
    await using berth = await FtpBerth.open();
    const shelf = new Shelf();
    berth.server.on('command', (verb) => {
      if (verb === 'STOR')
        berth.server.script({
          on: 'MDTM',
          do: { kind: 'reply', text: `213 ${stamp(Date.now() + offsetMs)}` },
        });
    });
    const learned = await use(berth, shelf, ['a', 'b']);
    expect(learned).toHaveLength(1);
    const seconds = Number(/is about (\d+) s (ahead of|behind)/.exec(learned[0] ?? '')?.[1]);
    expect(learned[0]).toContain(direction);
    expect(Math.abs(seconds - Math.abs(offsetMs) / 1000)).toBeLessThanOrEqual(5);
    const asked = berth.server.journal.of('MDTM').length;
    expect(asked).toBe(1);
    expect(await use(berth, shelf, ['c'])).toEqual([]);
    expect(berth.server.journal.of('MDTM')).toHaveLength(asked);
    // The time of the file is the source's, whatever the server's clock says.
    berth.server.behave();
    expect(shelf.facts.clockOffsetMs).toBeTypeOf('number');
  });

  test('that is right is nothing to tell, and is asked once, in the packet of the proof', async () => {
    await using berth = await FtpBerth.open();
    const shelf = new Shelf();
    expect(await use(berth, shelf, ['a', 'b', 'c'])).toEqual([]);
    const [asked, ...more] = berth.server.journal.of('MDTM');
    expect(more).toEqual([]);
    const size = berth.server.journal.of('SIZE').find(({ argument }) => argument === asked?.argument);
    expect(size?.packet).toBe(asked?.packet);
    expect(Math.abs(Number(shelf.facts.clockOffsetMs))).toBeLessThan(60_000);
  });

  test('that cannot be asked costs nothing', async () => {
    await using berth = await FtpBerth.open({ server: { features: { MDTM: false } } });
    const shelf = new Shelf();
    expect(await use(berth, shelf, ['a', 'b'])).toEqual([]);
    await use(berth, shelf, ['c']);
    expect(shelf.facts.clockOffsetMs).toBeUndefined();
    expect(berth.server.journal.of('MDTM').length).toBeLessThanOrEqual(2);
  });
});

describe('how many connections the server lets in', () => {
  const names = Array.from({ length: 20 }, (_, place) => `f${place}`);

  test('is remembered: the next account does not knock in vain', async () => {
    await using berth = await FtpBerth.open({ server: { maxConnections: 2 } });
    const shelf = new Shelf();
    const learned = await use(berth, shelf, names, { connections: 4 });
    expect(learned.at(-1)).toContain('2 are used');
    expect(shelf.facts.connections).toMatchObject({ count: 2 });
    await berth.server.until((journal) => journal.open === 0);
    const before = berth.server.journal.connections;
    expect(await use(berth, shelf, names, { connections: 4 })).toEqual([]);
    expect(berth.server.journal.connections - before).toBe(2);
    expect(berth.server.journal.peakOpen).toBeLessThanOrEqual(4);
  });

  test('grows again, one a minute, and is forgotten once it is what a person allows', async () => {
    await using berth = await FtpBerth.open();
    const shelf = new Shelf();
    const tooMany = berth.server.script({
      on: 'greeting',
      nth: 3,
      times: 100,
      do: [
        { kind: 'reply', text: '421 Too many connections.' },
        { kind: 'close', at: 'after' },
      ],
    });
    await use(berth, shelf, names, { connections: 4 });
    expect(shelf.facts.connections).toMatchObject({ count: 2 });
    tooMany.remove();
    let aheadMs = 0;
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs);
    const learned: string[] = [];
    const account = new FtpAccount(
      { ...serverSettings(berth.server, 'plain'), connections: 4 },
      credentialsOf({ password: 'secret' }),
      { onOpened: () => {}, onLearned: (message) => learned.push(message), onWire: undefined },
      shelf,
    );
    try {
      const remote = account.remote({ path: 'dumps', absolute: false });
      const known: unknown[] = [];
      const open: number[] = [];
      for (let minute = 0; minute < 4; minute += 1) {
        await Promise.all(names.map((name) => remote.deliver(deliveryOf(name, sourceOf(name)))));
        known.push(shelf.facts.connections?.count);
        open.push(berth.server.journal.open);
        aheadMs += 61_000;
      }
      expect(known).toEqual([2, 3, undefined, undefined]);
      for (const [minute, connections] of open.entries()) expect(connections).toBeLessThanOrEqual(minute + 2);
      expect(learned).toEqual([]);
    } finally {
      clock.mockRestore();
      await account.close();
    }
  });

  test('is forgotten while nobody is there, one a minute', async () => {
    await using berth = await FtpBerth.open({ server: { maxConnections: 2 } });
    const shelf = new Shelf();
    await use(berth, shelf, names, { connections: 4 });
    await berth.server.until((journal) => journal.open === 0);
    const now = Date.now();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now + 61_000);
    try {
      const learned = await use(berth, shelf, names, { connections: 4 });
      // The third is tried again, in vain.
      expect(learned).toEqual([expect.stringContaining('2 are used')]);
    } finally {
      clock.mockRestore();
    }
  });

  test('is no more than a person allows', async () => {
    await using berth = await FtpBerth.open({ server: { maxConnections: 2 } });
    const shelf = new Shelf();
    await use(berth, shelf, names, { connections: 4 });
    await berth.server.until((journal) => journal.open === 0);
    const before = berth.server.journal.connections;
    await use(berth, shelf, names, { connections: 1 });
    expect(berth.server.journal.connections - before).toBe(1);
  });
});

describe('a whole run', () => {
  test('writes into the ledger what it stumbled over, and the next process does not stumble again', async () => {
    await using world = await World.open({ server: serverLike('pyftpdlib'), settings: { connections: 1 } });
    for (let i = 0; i < 10; i += 1) await world.put(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 10 } });
    const stumbled = () => world.told('server.learned').filter(({ message }) => message.includes('stumbles'));
    expect(stumbled()).toHaveLength(1);
    const stored = world.ledger.profile(profileIdentity(world.job.server));
    expect(JSON.parse(stored ?? '')).toMatchObject({ facts: { roundTrips: 'three' } });
    expect(stored).not.toContain('correct-horse');
    const before = world.server.journal.connections;
    world.closeLedger();
    for (let i = 10; i < 20; i += 1) await world.put(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 10, unchanged: 10 } });
    expect(stumbled()).toHaveLength(1);
    expect(world.told('file.retry')).toEqual([]);
    expect(world.server.journal.connections - before).toBe(1);
    world.expectConverged();
  });

  test('two accounts of one server do not share what they know', async () => {
    await using world = await World.open({
      server: {
        features: { EPSV: false },
        users: { ferry: 'correct-horse-battery-staple', other: 'correct-horse-battery-staple' },
      },
    });
    await world.put('a');
    await world.run();
    world.change({
      settings: { user: 'other' },
      job: { name: 'second', remotePath: { path: 'second', absolute: false } },
    });
    await world.run();
    expect(world.count('EPSV')).toBe(2);
  });
});
