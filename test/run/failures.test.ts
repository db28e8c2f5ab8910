import { mkdir, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { diskOf } from '../../src/local/mounts.js';
import { Accounts } from '../../src/run/accounts.js';
import { certificates } from '../support/certificates.js';
import type { Fault, Rule } from '../support/ftp-server/fault.js';
import { PASSWORD, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(async () => {
  vi.restoreAllMocks();
  await world[Symbol.asyncDispose]();
});

/** A world whose target directory is there already, so that one STOR is one attempt. */
async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  await mkdir(world.remote('bad'), { recursive: true });
  return world;
}

/** Temporary names do not tell whose they are; a directory does. */
const BAD = '/dumps/bad/**';

describe('tried again', () => {
  it.each<[string, Fault]>([
    ['450', { kind: 'reply', text: '450 Busy just now.' }],
    ['451', { kind: 'reply', text: '451 Local error in processing.' }],
    ['426', { kind: 'dataReset', atByte: 3 }],
    ['425', { kind: 'reply', text: '425 Cannot open data connection.' }],
    ['550', { kind: 'reply', text: '550 The file is in use by another process.' }],
    ['421', { kind: 'reply', text: '421 Going down for a moment.' }],
    ['mismatch', { kind: 'dataClose', atByte: 3 }],
    ['mismatch', { kind: 'storeShort', sizeBytes: 3 }],
  ])('%s, with a pause, and delivered then (%j)', async (code, fault) => {
    await open();
    await world.put('bad/f', 'content of f');
    await world.put('good', 'content of good');
    world.server.script({ on: 'STOR', path: BAD, do: fault });
    const watch = world.watchFinals({ 'bad/f': ['content of f'], good: ['content of good'] });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', failure: undefined, tally: { uploaded: 2, bytes: 27 } });
    expect(world.told('file.retry')).toMatchObject([{ path: 'bad/f', attempt: 1, code, delayMs: 3 }]);
    expect(world.told('file.uploaded').find(({ path }) => path === 'bad/f')).toMatchObject({ attempt: 2 });
    expect(world.stores).toBe(3);
    expect(world.skips()).toEqual([]);
    world.expectConverged();
    watch.expectWhole();
  });

  it('each time after a longer pause', async () => {
    await open({ job: { retries: { attempts: 5, firstDelayMs: 20, maxDelayMs: 60 } } });
    await world.put('bad/f');
    world.server.script({ on: 'STOR', times: 4, do: { kind: 'reply', text: '451 Not yet.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.told('file.retry').map(({ attempt, delayMs }) => [attempt, delayMs])).toEqual([
      [1, 15],
      [2, 30],
      [3, 45],
      [4, 45],
    ]);
    const times = world.server.journal.of('STOR').map(({ atMs }) => atMs);
    const pauses = times.slice(1).map((atMs, place) => atMs - (times[place] ?? 0));
    expect(pauses.map((pause, place) => pause >= ([15, 30, 45, 45][place] ?? 0) - 1)).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it('the others do not wait for it', async () => {
    await open({
      settings: { connections: 1 },
      job: { retries: { attempts: 2, firstDelayMs: 3_600_000, maxDelayMs: 3_600_000 } },
    });
    await world.put('bad/f');
    for (let i = 0; i < 5; i += 1) await world.put(`good${i}`);
    world.server.script({ on: 'STOR', path: BAD, do: { kind: 'reply', text: '451 Not yet.' } });
    const stop = new AbortController();
    const report = await world.run({
      stop: stop.signal,
      listener: (event) => {
        if (event.event === 'file.uploaded' && event.path === 'good4') stop.abort();
      },
    });
    expect(report).toMatchObject({ outcome: 'interrupted', tally: { uploaded: 5 } });
    expect(world.told('file.retry')).toMatchObject([{ path: 'bad/f', delayMs: 2_700_000 }]);
  });

  it('for ever in vain: given up for this run, not remembered, and tried by the next', async () => {
    await open();
    await world.put('bad/f');
    await world.put('good');
    world.server.script({ on: 'STOR', path: BAD, nth: 'every', do: { kind: 'reply', text: '451 Never.' } });
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'partial',
      failure: undefined,
      tally: { uploaded: 1, skipped: 1 },
    });
    expect(world.told('file.skipped')).toMatchObject([{ path: 'bad/f', code: '451', remembered: false }]);
    expect(world.told('file.skipped')[0]?.message).toMatch(/451 Never.*Tried 4 times/);
    expect(world.stores).toBe(1 + 4);
    expect(world.skips()).toEqual([]);
    expect(world.intents()).toEqual([]);
    expect(world.ledger.transfers({ runId: report.run ?? 0 }, 10)).toMatchObject([
      { path: 'bad/f', result: 'skipped', code: '451', attempt: 4 },
      { path: 'good', result: 'uploaded' },
    ]);

    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1, unchanged: 1 } });
    world.expectConverged();
  });

  it('a server that confirms what it does not hold is a verification failure', async () => {
    await open();
    await world.put('bad/f');
    await world.put('good');
    world.server.script({ on: 'STOR', path: BAD, nth: 'every', do: { kind: 'storeShort', sizeBytes: 2 } });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', failure: { kind: 'verification', code: 'mismatch' } });
    expect(world.held()).toEqual({ good: 'good' });
  });
});

describe('a connection that is lost at the worst moment', () => {
  const CONTENT = 'x'.repeat(200_000);

  // What the server may hold whole is asked for, and never sent again.
  it.each<[string, Rule, number]>([
    ['at STOR', { on: 'STOR', do: { kind: 'reset' } }, 2],
    ['in place of the 150', { on: 'STOR', do: { kind: 'reset', at: 'mark' } }, 2],
    ['before the first byte', { on: 'STOR', do: { kind: 'dataReset', atByte: 0 } }, 2],
    ['in the middle of the data', { on: 'STOR', do: { kind: 'dataReset', atByte: 100_000 } }, 2],
    ['before the last byte', { on: 'STOR', do: { kind: 'dataReset', atByte: 199_999 } }, 2],
    ['in place of the 226', { on: 'STOR', do: { kind: 'reset', at: 'final' } }, 1],
    ['by a close in place of the 226', { on: 'STOR', do: { kind: 'close', at: 'final' } }, 1],
    ['in the middle of the 226', { on: 'STOR', do: { kind: 'cut', atByte: 3, ending: 'close' } }, 1],
    ['behind the 226', { on: 'STOR', do: { kind: 'reset', at: 'after' } }, 1],
    ['at SIZE', { on: 'SIZE', do: { kind: 'reset' } }, 1],
    ['in place of the 213', { on: 'SIZE', do: { kind: 'close', at: 'final' } }, 1],
    ['at MFMT', { on: 'MFMT', do: { kind: 'reset' } }, 1],
    ['at RNFR', { on: 'RNFR', do: { kind: 'reset' } }, 1],
    ['in place of the 350', { on: 'RNFR', do: { kind: 'reset', at: 'final' } }, 1],
    ['at RNTO', { on: 'RNTO', do: { kind: 'close' } }, 1],
    ['in place of the 250', { on: 'RNTO', do: { kind: 'reset', at: 'final' } }, 1],
    ['by silence in place of the 226', { on: 'STOR', do: { kind: 'hang', at: 'final' } }, 1],
    ['by silence at RNTO', { on: 'RNTO', do: { kind: 'hang' } }, 1],
    ['by silence in place of the 250', { on: 'RNTO', do: { kind: 'hang', at: 'final' } }, 1],
    ['by silence on the data connection', { on: 'STOR', do: { kind: 'dataStall', atByte: 1_000 } }, 2],
  ])('%s', async (_when, rule, stores) => {
    await open({
      settings: { timeouts: { connectMs: 5_000, replyMs: 300, stallMs: 300, transferMs: 60_000 } },
    });
    await world.put('f', CONTENT);
    const scripted = world.server.script(rule);
    const watch = world.watchFinals({ f: [CONTENT] });
    const report = await world.run();
    expect(scripted.fired).toBe(1);
    expect(report).toMatchObject({
      outcome: 'ok',
      tally: { uploaded: 1, bytes: CONTENT.length, unchanged: 0 },
    });
    expect(world.told('file.uploaded')).toMatchObject([{ path: 'f', attempt: 2 }]);
    expect(world.stores).toBe(stores);
    world.expectConverged();
    watch.expectWhole();
    expect((await world.run()).tally).toMatchObject({ uploaded: 0, unchanged: 1 });
  });

  it('an old version of the same size and time does not pass for the new one', async () => {
    await open();
    await world.put('f', 'one content');
    await world.run();
    // Same size, same second; only the content and the fraction differ.
    await world.put('f', 'two content', Date.UTC(2022, 2, 4, 5, 6, 7) + 500);
    world.server.script({ on: 'STOR', do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.held()).toEqual({ f: 'two content' });
  });

  it('the rest goes on, on new connections', async () => {
    await open();
    for (let i = 0; i < 40; i += 1) await world.put(`f${i}`);
    for (const nth of [3, 11, 12, 30]) {
      world.server.script({ on: 'STOR', nth, do: { kind: 'reply', text: '421 Timeout.' } });
    }
    world.server.script({ on: 'RNTO', nth: 20, do: { kind: 'close' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 40 } });
    world.expectConverged();
  });
});

describe('refused for good', () => {
  const REFUSAL: Rule = {
    on: 'STOR',
    path: BAD,
    nth: 'every',
    do: { kind: 'reply', text: '553 Could not create file: no such luck.' },
  };

  async function refused(): Promise<void> {
    await open();
    await world.put('bad/f');
    await world.put('good');
    world.server.script(REFUSAL);
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'partial',
      failure: undefined,
      tally: { uploaded: 1, skipped: 1 },
    });
  }

  it('one file is skipped and remembered with the words of the server', async () => {
    await refused();
    expect(world.skips()).toMatchObject([{ path: 'bad/f', code: '553' }]);
    expect(world.skips()[0]?.text).toContain('Could not create file: no such luck.');
    expect(world.told('file.skipped')).toMatchObject([{ path: 'bad/f', code: '553', remembered: true }]);
    expect(world.held()).toEqual({ good: 'good' });
    expect(world.intents()).toEqual([]);
  });

  it('and not asked for again, run after run', async () => {
    await refused();
    const { connections } = world.server.journal;
    for (let i = 0; i < 3; i += 1) {
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { skipped: 1, unchanged: 1 } });
    }
    expect(world.server.journal.connections).toBe(connections);
    expect(world.skips()).toHaveLength(1);
  });

  it.each<[string, () => unknown, 'again' | undefined]>([
    ['the file changes', () => world.put('bad/f', 'shorter'), undefined],
    [
      "the server's settings change",
      () =>
        world.change({
          settings: { timeouts: { connectMs: 5_001, replyMs: 5_000, stallMs: 5_000, transferMs: 60_000 } },
        }),
      undefined,
    ],
    ['a person says so', () => undefined, 'again'],
  ])(
    'until %s: then it is asked for again, and the skip is lifted when it arrives',
    async (_why, change, skipped) => {
      await refused();
      await change();
      const before = world.stores;
      expect(await world.run({ skipped })).toMatchObject({ outcome: 'partial', tally: { skipped: 1 } });
      expect(world.stores).toBeGreaterThan(before);
      expect(world.skips()).toHaveLength(1);

      world.server.behave();
      expect(await world.run({ skipped: 'again' })).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
      expect(world.skips()).toEqual([]);
      world.expectConverged();
    },
  );

  it('twenty in a row are not about the files: the run fails, and none of them is remembered', async () => {
    await open();
    for (let i = 0; i < 60; i += 1) await world.put(`bad/f${i}`);
    world.server.script(REFUSAL);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'failed', code: '553' } });
    expect(report.failure?.message).toMatch(/refused 20 files in a row.*no such luck/);
    expect(world.skips()).toEqual([]);
    // No more than those that were in the four workers' hands; each is tried twice, since its directory might miss.
    expect(world.stores).toBeLessThanOrEqual(2 * 24);

    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 60 } });
    world.expectConverged();
  });

  it('nineteen and a delivery are', async () => {
    await open({ settings: { connections: 1 } });
    for (let i = 0; i < 19; i += 1) await world.put(`bad/f${i}`);
    await world.put('good');
    world.server.script(REFUSAL);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, skipped: 19 } });
    expect(world.skips()).toHaveLength(19);
  });

  it('those before an early end are in the history, and are asked for again', async () => {
    await open({ settings: { connections: 1 } });
    for (let i = 0; i < 5; i += 1) await world.put(`bad/f${i}`);
    await world.put('full/f');
    await mkdir(world.remote('full'));
    world.server.script(REFUSAL);
    world.server.script({
      on: 'STOR',
      path: '/dumps/full/**',
      do: { kind: 'reply', text: '552 Quota exceeded.' },
    });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { code: '552' } });
    expect(report.failure?.message).toContain('make room');
    const history = world.ledger.transfers({ runId: report.run ?? 0 }, 10);
    expect(history.map(({ path, result }) => [path, result])).toHaveLength(5);
    expect(world.skips()).toEqual([]);
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 6 } });
  });
});

describe('trust', () => {
  async function manyFiles(options: VoyageOptions = {}): Promise<void> {
    await open(options);
    for (let i = 0; i < 12; i += 1) await world.put(`f${i}`);
  }

  it('a wrong password ends the run after one login, and marks no file', async () => {
    await manyFiles({ server: { users: { ferry: 'another' } } });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'trust', code: '530' } });
    expect(report.failure?.message).toContain('Login incorrect');
    expect(report.failure?.message).not.toContain(PASSWORD);
    expect(report.tally).toMatchObject({ uploaded: 0, skipped: 0 });
    expect(world.count('PASS')).toBe(1);
    expect(world.server.journal.connections).toBe(1);
    expect(world.skips()).toEqual([]);
    expect(world.ledger.transfers({ runId: report.run ?? 0 }, 10)).toEqual([]);
    expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([
      { outcome: 'failed', failure: { kind: 'trust', code: '530' } },
    ]);
    expect(JSON.stringify(world.events)).not.toContain(PASSWORD);
  });

  it('nor does a worker try it again that was still busy with its disk', async () => {
    await manyFiles({ server: { users: { ferry: 'another' } } });
    world.settle();
    // The workers' files open one after the other, each once the login of the one before was refused.
    const disk = diskOf(world.local(''));
    const { open } = disk;
    let opens = 0;
    vi.spyOn(disk, 'open').mockImplementation(async (path, flags, mode) => {
      const opened = await open(path, flags, mode);
      if (path.startsWith(world.local('')) && opens++ > 0) {
        await world.server.until((journal) => journal.connections > 0 && journal.open === 0);
      }
      return opened;
    });
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { kind: 'trust', code: '530' } });
    expect(opens).toBeGreaterThan(1);
    expect(world.count('PASS')).toBe(1);
  });

  it('a login that worked before is tried once more, and no more', async () => {
    await manyFiles();
    const accounts = new Accounts((event) => world.events.push(event), {
      wire: 'silent',
      profiles: undefined,
    });
    expect(await world.run({ accounts })).toMatchObject({ outcome: 'ok' });
    world.server.drop('reset');
    await world.server.until((journal) => journal.open === 0);
    const before = world.count('PASS');
    world.server.script({ on: 'PASS', nth: 'every', do: { kind: 'reply', text: '530 Login incorrect.' } });
    for (let i = 0; i < 12; i += 1) await world.put(`g${i}`);
    const report = await world.run({ accounts });
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'trust', code: '530' } });
    expect(world.count('PASS')).toBe(before + 2);
    world.server.behave();
    expect(await world.run({ accounts })).toMatchObject({ outcome: 'ok', tally: { uploaded: 12 } });
    await accounts.close();
  });

  it.each(['expired', 'wrongHost', 'selfSigned'] as const)(
    'a certificate that is %s ends the run before a name is told',
    async (which) => {
      const certificate = (await certificates())[which];
      await manyFiles({ server: { security: 'explicit', certificate } });
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'trust' } });
      expect(world.count('USER')).toBe(0);
      expect(world.server.journal.connections).toBe(1);
      expect(world.skips()).toEqual([]);
    },
  );

  it('a server without TLS is never spoken to in the clear', async () => {
    await manyFiles({ server: { security: 'plain' }, settings: { security: 'explicit' } });
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { kind: 'trust' } });
    expect(world.server.journal.verbs()).toEqual(['AUTH']);
  });

  it('a password or an authority that cannot be read is a mistake of the configuration', async () => {
    await manyFiles();
    world.change({ settings: { password: { kind: 'file', path: world.directory.join('missing') } } });
    expect(await world.run()).toMatchObject({
      outcome: 'failed',
      failure: { kind: 'configuration', code: 'secret' },
    });
    await writeFile(world.directory.join('ca.pem'), 'not a certificate');
    world.change({
      settings: {
        password: { kind: 'file', path: world.directory.join('password') },
        security: 'explicit',
        tls: { ...world.job.server.tls, caFile: world.directory.join('ca.pem') },
      },
    });
    expect(await world.run()).toMatchObject({
      outcome: 'failed',
      failure: { kind: 'configuration', code: 'ca' },
    });
    expect(world.server.journal.connections).toBe(0);
  });
});

describe('a server that is not there', () => {
  it('is tried as often as the job says, and no file is blamed', async () => {
    await open();
    for (let i = 0; i < 12; i += 1) await world.put(`f${i}`);
    await world.server.close();
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'failed',
      failure: { kind: 'unreachable', code: 'ECONNREFUSED' },
      tally: { uploaded: 0, skipped: 0 },
    });
    expect(report.failure?.message).toContain('Tried 4 times');
    expect(world.told('connection.retry').map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(world.told('file.skipped')).toEqual([]);
    expect(world.told('file.retry')).toEqual([]);
    expect(world.skips()).toEqual([]);
  });

  it('is knocked at by the workers, not by the whole queue', async () => {
    await open();
    for (let i = 0; i < 100; i += 1) await world.put(`f${i}`);
    world.server.script({ on: 'connect', nth: 'every', do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { kind: 'unreachable' } });
    const { attempts } = world.job.retries;
    expect(world.server.journal.connections).toBeGreaterThanOrEqual(attempts);
    expect(world.server.journal.connections).toBeLessThanOrEqual(attempts * world.job.server.connections);
  });

  it('and comes back in time', async () => {
    await open({ settings: { connections: 1 } });
    for (let i = 0; i < 12; i += 1) await world.put(`f${i}`);
    world.server.script({ on: 'connect', times: 3, do: { kind: 'reset' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 12 } });
    expect(world.told('connection.retry')).toHaveLength(3);
  });

  it('and is away again and again, but each time files get through', async () => {
    await open({ settings: { connections: 1 } });
    for (let i = 0; i < 12; i += 1) await world.put(`f${String(i).padStart(2, '0')}`);
    // Every second file loses its connection, and two new ones in a row are refused then.
    for (let i = 0; i < 5; i += 1) {
      world.server.script({ on: 'STOR', nth: 2 + 3 * i, do: { kind: 'reset' } });
      world.server.script({ on: 'connect', nth: 2 + 3 * i, times: 2, do: { kind: 'reset' } });
    }
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'ok', tally: { uploaded: 12 } });
    expect(world.told('connection.retry').length).toBeGreaterThan(world.job.retries.attempts);
  });

  it('because its name does not exist: no use in trying again', async () => {
    await open({ settings: { host: 'no-such-host.invalid' } });
    await world.put('f');
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'unreachable' } });
    expect(world.skips()).toEqual([]);
  });

  it('because it is full: the run ends, the next one goes', async () => {
    await open();
    await world.put('f');
    const rule = world.server.script({
      on: 'greeting',
      nth: 'every',
      do: { kind: 'reply', text: '421 Too many connections.' },
    });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'unreachable', code: '421' } });
    expect(world.count('USER')).toBe(0);
    rule.remove();
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
  });
});
