/*
 * Which side opens data connections: found out by trying, on the same session where the server refuses a mode, on a
 * new connection where a mode leads nowhere; remembered, and never configured, though it can be.
 */
import { mkdir } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { FtpError } from '../../src/ftp/errors.js';
import type { FtpServer as Settings } from '../../src/job/job.js';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import { FtpAccount } from '../../src/remote/ftp/account.js';
import { DataModes } from '../../src/remote/ftp/data-mode.js';
import { FtpProfile } from '../../src/remote/ftp/profile.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import { type VoyageOptions, World } from '../run/support/voyage.js';
import type { Feature, FtpServerOptions } from '../support/ftp-server/settings.js';
import { credentialsOf, FtpBerth, serverSettings } from './berth.js';
import { deliveryOf, fetched, filesBelow, sourceOf } from './contract.js';

type Mode = 'EPSV' | 'PASV' | 'EPRT' | 'PORT';
const MODES: readonly Mode[] = ['EPSV', 'PASV', 'EPRT', 'PORT'];

const without = (modes: readonly Feature[]): Partial<Record<Feature, boolean>> =>
  Object.fromEntries(modes.map((mode) => [mode, false]));

/** Waits that fit a server that lets connections fail at once. */
const SHORT = { connectMs: 2_000, replyMs: 5_000, stallMs: 2_000, transferMs: 60_000 };

function open(
  server: Omit<FtpServerOptions, 'root'> = {},
  account: Partial<Settings> = {},
): Promise<FtpBerth> {
  return FtpBerth.open({
    server: { dataTimeoutMs: 60, ...server },
    account: { connections: 1, timeouts: SHORT, ...account },
  });
}

/** The data set-ups that the server was asked for, in order, without those that travel behind a STOR. */
function modesOf({ journal }: FtpBerth['server']): string[] {
  const { commands } = journal;
  const behindStore = (packet: number, order: number): boolean =>
    commands.some((other) => other.packet === packet && other.verb === 'STOR' && other.order < order);
  return commands
    .filter(({ verb, packet, order }) => MODES.some((mode) => mode === verb) && !behindStore(packet, order))
    .map(({ verb }) => verb);
}

const deliver = (berth: FtpBerth, name: string) =>
  berth.remote.deliver(deliveryOf(name, sourceOf(`${name} content`)));

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

describe('a mode that the server refuses', () => {
  test.each<[readonly Mode[], Mode]>([
    [[], 'EPSV'],
    [['EPSV'], 'PASV'],
    [['EPSV', 'PASV'], 'EPRT'],
    [['EPSV', 'PASV', 'EPRT'], 'PORT'],
  ])(
    '%j: the next one is taken on the same session, and asked alone from then on',
    async (refused, taken) => {
      await using berth = await open({ features: without(refused) });
      await deliver(berth, 'one');
      expect(modesOf(berth.server)).toEqual([...refused, taken]);
      await deliver(berth, 'two');
      expect(await fetched(berth.remote, 'two')).toEqual(Buffer.from('two content'));
      expect((await berth.remote.list('')).files).toHaveLength(2);
      for (const mode of refused) expect(berth.server.journal.of(mode)).toHaveLength(1);
      expect(berth.server.journal.connections).toBe(1);
      expect(berth.learned).toEqual(
        refused.map((mode, place) => expect.stringContaining(`refuses ${mode}: ${MODES[place + 1]} is used`)),
      );
    },
  );

  test.each([
    '500 What?',
    '502 Not implemented.',
    '522 Use another.',
    '501 No.',
    '550 Forbidden.',
    '229 Nowhere',
  ])('EPSV answered with %s is refused', async (text) => {
    await using berth = await open();
    berth.server.script({ on: 'EPSV', nth: 'every', do: { kind: 'reply', text } });
    await deliver(berth, 'one');
    expect(modesOf(berth.server)).toEqual(['EPSV', 'PASV']);
    expect(berth.server.journal.connections).toBe(1);
  });

  test('"not now" is no refusal', async () => {
    await using berth = await open();
    berth.server.script({ on: 'EPSV', do: { kind: 'reply', text: '450 Not now.' } });
    expect((await failing(deliver(berth, 'one'))).decision).toBe('retry');
    await deliver(berth, 'one');
    expect(modesOf(berth.server)).toEqual(['EPSV', 'EPSV']);
    expect(berth.learned).toEqual([]);
  });

  test('all of them: one error that says so and ends the run, after one connection', async () => {
    await using berth = await open({ features: without(MODES) });
    const failure = await failing(deliver(berth, 'one'));
    expect(failure).toMatchObject({ decision: 'abort', kind: 'unreachable' });
    expect(failure.message).toContain('agrees to no data connection (EPSV, PASV, EPRT, PORT were refused');
    expect(failure.message).toMatch(/500 Unknown command.*settings for data connections/);
    expect(modesOf(berth.server)).toEqual(MODES);
    expect(await filesBelow(berth.disk)).toEqual([]);
    // A later listing meets the same wall, and is told so as well.
    expect(await failing(berth.remote.list(''))).toMatchObject({ decision: 'abort' });
  });
});

describe('a mode that leads nowhere', () => {
  const nowhere: Readonly<Record<string, Omit<FtpServerOptions, 'root'>>> = {
    'EPSV tells a port where nobody listens': { replies: { epsv: () => '229 Ok (|||1|)' } },
    'EPSV and PASV do': {
      replies: { epsv: () => '229 Ok (|||1|)', pasv: () => '227 Ok (127,0,0,1,0,1)' },
    },
  };

  const servers = Object.entries(nowhere).flatMap(([name, server]) => [
    [name, 'says 425, and the session goes on', { ...server, dataTimeoutMs: 60 }, SHORT] as const,
    [name, 'says nothing, and a new connection is made', server, { ...SHORT, replyMs: 150 }] as const,
  ]);

  test.each(servers)(
    '%s, and the server %s: the next mode is tried',
    async (name, says, server, timeouts) => {
      await using berth = await FtpBerth.open({ server, account: { connections: 1, timeouts } });
      const wanted: readonly Mode[] = name.includes('and') ? ['EPSV', 'PASV', 'EPRT'] : ['EPSV', 'PASV'];
      for (const _ of wanted.slice(1))
        expect((await failing(deliver(berth, 'one'))).decision).toMatch(/retry|reconnect/);
      await deliver(berth, 'one');
      await deliver(berth, 'two');
      expect(modesOf(berth.server).slice(0, wanted.length)).toEqual(wanted);
      expect(new Set(modesOf(berth.server).slice(wanted.length - 1))).toEqual(new Set([wanted.at(-1)]));
      expect(berth.server.journal.connections).toBe(says.startsWith('says 425') ? 1 : wanted.length);
      expect(berth.learned).toHaveLength(wanted.length - 1);
      for (const sentence of berth.learned) expect(sentence).toContain('No data connection with');
    },
  );

  test('that has worked is given two more chances, each time', async () => {
    await using berth = await open();
    await deliver(berth, 'before');
    const refuse = (times: number): void =>
      void berth.server.script({ on: 'STOR', times, do: { kind: 'reply', text: '425 Nobody came.' } });
    for (const round of ['one', 'two']) {
      refuse(2);
      for (let time = 0; time < 2; time += 1) await failing(deliver(berth, round));
      await deliver(berth, round);
      expect(berth.learned).toEqual([]);
    }
    refuse(3);
    for (let time = 0; time < 3; time += 1) await failing(deliver(berth, 'three'));
    expect(berth.learned).toEqual([expect.stringContaining('with EPSV: PASV is tried next')]);
    await deliver(berth, 'three');
    expect(modesOf(berth.server).at(-1)).toBe('PASV');
  });

  test('that has worked is not left because several sessions met one stall', () => {
    const learned: string[] = [];
    const profile = new FtpProfile({
      store: undefined,
      onLearned: (sentence) => learned.push(sentence),
      now: () => 0,
    });
    const session = (): DataModes =>
      new DataModes({ setting: 'auto', family: 'IPv4', where: 'nas.example.net:21', profile });
    const silence = new FtpError('timeout', 'It did not answer EPSV in 4000 ms', {
      phase: 'data-setup',
      verb: 'EPSV',
    });
    const old = session();
    old.worked('EPSV');
    for (let stall = 1; stall <= 3; stall += 1) {
      const together = Array.from({ length: 4 }, session);
      for (const modes of together) modes.goesOnAfter(silence, 'EPSV');
      expect(learned).toHaveLength(stall === 3 ? 1 : 0);
      // It has stood since before all that, and fails for its first time.
      if (stall === 2) old.goesOnAfter(silence, 'EPSV');
    }
    expect(learned).toEqual([expect.stringContaining('with EPSV: PASV is tried next')]);
  });

  test('425 in active mode turns to the other active one, and back to the passive ones', async () => {
    await using berth = await open();
    for (const on of ['EPSV', 'PASV']) berth.server.script({ on, do: { kind: 'refuseData' } });
    const refusal = "425 Can't build data connection: Connection refused.";
    berth.server.script({ on: 'STOR', nth: 3, times: 2, do: { kind: 'reply', text: refusal } });
    for (let time = 0; time < 4; time += 1)
      expect((await failing(deliver(berth, 'one'))).decision).toBe('retry');
    await deliver(berth, 'one');
    await deliver(berth, 'two');
    expect(modesOf(berth.server).slice(0, 5)).toEqual([...MODES, 'EPSV']);
    expect(new Set(modesOf(berth.server).slice(4))).toEqual(new Set(['EPSV']));
    expect(
      berth.learned.map((sentence) => /with (\w+): (\w+) is tried next/.exec(sentence)?.slice(1)),
    ).toEqual([
      ['EPSV', 'PASV'],
      ['PASV', 'EPRT'],
      ['EPRT', 'PORT'],
      ['PORT', 'EPSV'],
    ]);
  });

  test('what was refused on a session is not turned back to on it', async () => {
    await using berth = await open({ features: without(['EPSV', 'PASV']) });
    const refusal = '425 Nobody came.';
    berth.server.script({ on: 'STOR', times: 3, do: { kind: 'reply', text: refusal } });
    for (let time = 0; time < 3; time += 1) await failing(deliver(berth, 'one'));
    await deliver(berth, 'one');
    expect(modesOf(berth.server)).toEqual(['EPSV', 'PASV', 'EPRT', 'PORT', 'EPRT', 'PORT']);
  });

  test('a run meets all of that, and converges', async () => {
    await using world = await World.open({
      server: {
        dataTimeoutMs: 60,
        replies: { epsv: () => '229 Ok (|||1|)', pasv: () => '227 Ok (127,0,0,1,0,1)' },
      },
      settings: { connections: 3, timeouts: SHORT },
      job: { retries: { attempts: 8, firstDelayMs: 2, maxDelayMs: 8 } },
    });
    for (let i = 0; i < 30; i += 1) await world.put(`d/${i}`, `content ${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 30, skipped: 0 } });
    world.expectConverged();
    expect(world.count('EPRT')).toBeGreaterThan(29);
    const learned = world.told('server.learned').filter(({ message }) => message.includes('data connection'));
    expect(learned).toHaveLength(2);
  });
});

describe('what was found out', () => {
  test('holds for the next session', async () => {
    await using berth = await open({ features: without(['EPSV', 'PASV']) });
    await deliver(berth, 'one');
    berth.server.drop('reset');
    await berth.server.until((journal) => journal.open === 0);
    await deliver(berth, 'two').catch(() => deliver(berth, 'two'));
    expect(modesOf(berth.server).slice(3)).not.toContain('EPSV');
    expect(modesOf(berth.server)).toEqual(['EPSV', 'PASV', 'EPRT', ...modesOf(berth.server).slice(3)]);
    expect(berth.learned).toHaveLength(2);
  });

  test('holds for the next account, and yields to what a person wrote', async () => {
    await using berth = await open({ features: without(['EPSV']) });
    let kept: string | undefined;
    const store: ProfileStore = {
      load: () => kept,
      save: (json) => {
        kept = json;
      },
    };
    const learned: string[] = [];
    const use = async (name: string, settings: Partial<Settings> = {}): Promise<string[]> => {
      const account = new FtpAccount(
        { ...serverSettings(berth.server, 'plain'), connections: 1, ...settings },
        credentialsOf({ password: 'secret' }),
        { onOpened: () => {}, onLearned: (message) => learned.push(message), onWire: undefined },
        store,
      );
      const before = modesOf(berth.server).length;
      await account.remote({ path: 'dumps', absolute: false }).deliver(deliveryOf(name, sourceOf(name)));
      await account.close();
      return modesOf(berth.server).slice(before);
    };
    expect(await use('one')).toEqual(['EPSV', 'PASV']);
    expect(await use('two')).toEqual(['PASV']);
    expect(await use('three', { dataConnection: 'active' })).toEqual(['EPRT']);
    expect(learned).toHaveLength(1);
  });
});

describe('a mode that a person forces', () => {
  test.each<[Settings['dataConnection'], readonly Mode[], Mode]>([
    ['active', [], 'EPRT'],
    ['active', ['EPRT'], 'PORT'],
    ['passive', [], 'EPSV'],
    ['passive', ['EPSV'], 'PASV'],
  ])('%s, %j refused: only modes of that kind are asked', async (dataConnection, refused, taken) => {
    await using berth = await open({ features: without(refused) }, { dataConnection });
    await deliver(berth, 'one');
    await deliver(berth, 'two');
    expect(
      new Set(berth.server.journal.verbs().filter((verb) => MODES.some((mode) => mode === verb))),
    ).toEqual(new Set([...refused, taken]));
  });

  test.each<[Settings['dataConnection'], readonly Mode[]]>([
    ['active', ['EPRT', 'PORT']],
    ['passive', ['EPSV', 'PASV']],
  ])('%s, and all refused: says what to change', async (dataConnection, refused) => {
    await using berth = await open({ features: without(refused) }, { dataConnection });
    const failure = await failing(deliver(berth, 'one'));
    expect(failure.decision).toBe('abort');
    expect(failure.message).toContain(`(${refused.join(' and ')} were refused`);
    expect(failure.message).toContain(`Take dataConnection: ${dataConnection} away`);
    expect(modesOf(berth.server)).toEqual(refused);
  });

  test('passive, and no port can be reached: active is not tried', async () => {
    await using berth = await open(
      { replies: { epsv: () => '229 Ok (|||1|)', pasv: () => '227 Ok (127,0,0,1,0,1)' } },
      { dataConnection: 'passive' },
    );
    for (let time = 0; time < 5; time += 1) await failing(deliver(berth, 'one'));
    expect(new Set(modesOf(berth.server))).toEqual(new Set(['EPSV', 'PASV']));
  });
});

describe('IPv6', () => {
  test('has EPSV and EPRT only', async () => {
    await using berth = await open({ host: '::1', features: without(['EPSV']) });
    await deliver(berth, 'one');
    expect(await fetched(berth.remote, 'one')).toEqual(Buffer.from('one content'));
    expect(new Set(modesOf(berth.server))).toEqual(new Set(['EPSV', 'EPRT']));
    for (const { argument } of berth.server.journal.of('EPRT')) expect(argument).toMatch(/^\|2\|::1\|\d+\|$/);
  });

  test('both refused: the error names those two', async () => {
    await using berth = await open({ host: '::1', features: without(['EPSV', 'EPRT']) });
    const failure = await failing(deliver(berth, 'one'));
    expect(failure.message).toContain('(EPSV and EPRT were refused');
    expect(berth.server.journal.verbs()).not.toContain('PASV');
    expect(berth.server.journal.verbs()).not.toContain('PORT');
  });

  test('a profile that was learned over IPv4 does not ask for PASV', async () => {
    await using four = await open({ features: without(['EPSV']) });
    await using six = await open({ host: '::1' });
    let kept: string | undefined;
    const store: ProfileStore = { load: () => kept, save: (json) => (kept = json) };
    for (const { server } of [four, six]) {
      const account = new FtpAccount(
        { ...serverSettings(server, 'plain'), connections: 1 },
        credentialsOf({ password: 'secret' }),
        { onOpened: () => {}, onLearned: () => {}, onWire: undefined },
        store,
      );
      await account.remote({ path: 'dumps', absolute: false }).deliver(deliveryOf('f', sourceOf('f')));
      await account.close();
    }
    expect(modesOf(four.server)).toEqual(['EPSV', 'PASV']);
    expect(modesOf(six.server)).toEqual(['EPSV']);
  });
});

describe('active mode', () => {
  /** A few ports in a row that are free now. */
  async function freePorts(): Promise<{ first: number; last: number }> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const first = Math.min((probe.address() as AddressInfo).port, 65_500);
    await new Promise((resolve) => probe.close(resolve));
    return { first, last: first + 30 };
  }

  test('listens within the ports that a person named', async () => {
    const ports = await freePorts();
    await using berth = await open({}, { dataConnection: 'active', active: { address: undefined, ports } });
    for (const name of ['one', 'two', 'three']) await deliver(berth, name);
    const told = berth.server.journal.of('EPRT').map(({ argument }) => Number(argument.split('|')[3]));
    expect(told).toHaveLength(3);
    for (const port of told) {
      expect(port).toBeGreaterThanOrEqual(ports.first);
      expect(port).toBeLessThanOrEqual(ports.last);
    }
  });

  test('tells the address that a person named', async () => {
    await using berth = await open(
      {},
      { dataConnection: 'active', active: { address: '192.0.2.7', ports: undefined } },
    );
    const failure = await failing(deliver(berth, 'one'));
    expect(failure.decision).toBe('abort');
    expect(berth.server.journal.of('EPRT')[0]?.argument).toMatch(/^\|1\|192\.0\.2\.7\|/);
    expect(berth.server.journal.of('PORT')[0]?.argument).toMatch(/^192,0,2,7,/);
  });

  let world: World | undefined;
  afterEach(async () => {
    await world?.[Symbol.asyncDispose]();
    world = undefined;
  });

  async function openWorld(options: VoyageOptions): Promise<World> {
    world = await World.open(options);
    await mkdir(world.remote(''), { recursive: true });
    return world;
  }

  const kinds = ['plain', 'explicit', 'implicit'] as const;
  const ways: readonly (readonly [string, VoyageOptions])[] = [
    ['forced', { settings: { dataConnection: 'active' } }],
    ['found out', { server: { features: without(['EPSV', 'PASV']) } }],
    ['found out, PORT only', { server: { features: without(['EPSV', 'PASV', 'EPRT']) } }],
  ];

  test.each(kinds.flatMap((security) => ways.map(([name, way]) => [security, name, way] as const)))(
    '%s, %s: a whole push, and a whole pull back',
    async (security, _name, way) => {
      const opened = await openWorld({ ...way, server: { security, ...way.server } });
      for (let i = 0; i < 12; i += 1)
        await opened.put(`d${i % 3}/f${i}`, Buffer.alloc(i * 40_000, `content ${i} `));
      expect(await opened.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 12, skipped: 0 } });
      opened.expectConverged();
      opened.change({ job: { name: 'back', direction: 'pull', local: opened.directory.join('back') } });
      await mkdir(opened.directory.join('back'));
      expect(await opened.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 12, skipped: 0 } });
      expect(await filesBelow(opened.directory.join('back'))).toEqual(await filesBelow(opened.local('')));
      const { journal } = opened.server;
      expect(journal.of('EPSV').length + journal.of('PASV').length).toBeLessThan(10);
      if (security !== 'plain') expect(journal.resumedDataConnections).toBeGreaterThan(24);
    },
  );
});

test('a 425 twice in a row takes the control connection with it: a new port was not enough', async () => {
  await using berth = await open();
  await deliver(berth, 'first');
  berth.server.script({
    on: 'STOR',
    times: 2,
    do: { kind: 'reply', text: '425 Cannot open data connection.' },
  });
  for (const connections of [1, 1]) {
    expect(await failing(deliver(berth, 'second'))).toMatchObject({ decision: 'retry', code: '425' });
    expect(berth.server.journal.connections).toBe(connections);
  }
  await deliver(berth, 'second');
  expect(berth.server.journal.connections).toBe(2);
});
