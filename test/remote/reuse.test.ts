/*
 * Servers that refuse data connections because of TLS sessions: a new control connection, then TLS 1.2, then an end
 * with a sentence. Never a row of retries that leads nowhere.
 */
import tls from 'node:tls';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import { FtpAccount } from '../../src/remote/ftp/account.js';
import type { ProfileStore } from '../../src/remote/profile.js';
import { type VoyageOptions, World } from '../run/support/voyage.js';
import { certificates } from '../support/certificates.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { credentialsOf, FtpBerth, serverSettings } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const REFUSALS = [
  '425 Unable to build data connection: TLS session of data connection not reused',
  '522 SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page',
  '450 TLS session of data connection has not resumed or the session does not match the control connection',
] as const;

const secure = (server: Omit<FtpServerOptions, 'root'> = {}): Promise<FtpBerth> =>
  FtpBerth.open({ server: { security: 'explicit', ...server }, account: { connections: 1 } });

const deliver = (berth: FtpBerth, name: string) =>
  berth.remote.deliver(deliveryOf(name, sourceOf(`${name} content`)));

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

async function openWorld(options: VoyageOptions = {}): Promise<World> {
  return World.open({
    ...options,
    server: { security: 'explicit', requireSessionReuse: false, ...options.server },
    settings: { connections: 2, ...options.settings },
  });
}

/**
 * Refuses the data connections of all control connections that speak TLS 1.3, which this server would always take. One
 * connection at a time, so that each handshake is known.
 *
 * @returns the TLS that each control connection was opened with
 */
function refuseUnderTls13(server: FtpBerth['server'], text: string): string[] {
  const versions: string[] = [];
  const connect = vi.spyOn(tls, 'connect');
  server.on('command', (verb, _argument, connection) => {
    if (verb !== 'USER') return;
    const spoken = connect.mock.results.at(-1)?.value.getProtocol() ?? 'none';
    versions.push(spoken);
    if (spoken !== 'TLSv1.2') {
      for (const on of ['STOR', 'MLSD', 'RETR'])
        server.script({ on, connection, nth: 'every', do: { kind: 'reply', text } });
    }
  });
  return versions;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a data connection that is refused because of its TLS session', () => {
  test.each(REFUSALS)('once, with %s: a new control connection, and all goes on', async (text) => {
    await using berth = await secure();
    await deliver(berth, 'before');
    berth.server.script({ on: 'STOR', do: { kind: 'reply', text } });
    expect(await failing(deliver(berth, 'one'))).toMatchObject({ decision: 'reconnect', kind: 'trust' });
    for (const name of ['one', 'two']) await deliver(berth, name);
    expect(berth.server.journal.connections).toBe(2);
    expect(await filesBelow(berth.disk)).toEqual(['before', 'one', 'two']);
    expect(berth.learned).toEqual([]);
  });

  test('now and then: never enough to turn to another TLS', async () => {
    await using berth = await secure();
    for (const name of ['a', 'b', 'c', 'd']) {
      berth.server.script({ on: 'STOR', do: { kind: 'reply', text: REFUSALS[0] } });
      await failing(deliver(berth, name));
      await deliver(berth, name);
    }
    expect(berth.learned).toEqual([]);
  });

  test('a 425 about something else is not about TLS', async () => {
    await using berth = await secure();
    berth.server.script({ on: 'STOR', times: 2, do: { kind: 'reply', text: '425 Nobody came.' } });
    for (let time = 0; time < 2; time += 1) await failing(deliver(berth, 'a'));
    await deliver(berth, 'a');
    expect(berth.learned.join()).not.toContain('TLS');
  });

  test.each(['proftpd', 'vsftpd'] as const)(
    'by a server that insists on it (%s), and whose sessions get lost once: the run goes on',
    async (requireSessionReuse) => {
      await using world = await openWorld({ server: { requireSessionReuse } });
      for (let i = 0; i < 12; i += 1) await world.put(`f${i}`);
      world.server.script({ on: 'STOR', nth: 4, do: { kind: 'noResumption' } });
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 12, skipped: 0 } });
      world.expectConverged();
      expect(world.told('server.learned')).toEqual([]);
    },
  );
});

describe('a server whose TLS 1.3 sessions are never recognised', () => {
  test.each(REFUSALS)('%s: TLS 1.2 is learned, and the run goes on', async (text) => {
    await using world = await openWorld({ settings: { connections: 1 } });
    const versions = refuseUnderTls13(world.server, text);
    for (let i = 0; i < 8; i += 1) await world.put(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 8, skipped: 0 } });
    world.expectConverged();
    expect(versions).toEqual(['TLSv1.3', 'TLSv1.3', 'TLSv1.2']);
    expect(world.told('server.learned').map(({ message }) => message)).toEqual([
      expect.stringContaining('TLS 1.2 is tried'),
    ]);
    await world.put('later');
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(versions.slice(3)).toEqual(['TLSv1.2']);
    expect(world.told('server.learned')).toHaveLength(1);
  });

  test('many connections that meet it at once count as one, and TLS 1.2 gets its chance', async () => {
    await using berth = await FtpBerth.open({
      server: { security: 'explicit' },
      account: { connections: 4 },
    });
    const slow = berth.server.script({ on: 'STOR', nth: 'every', do: { kind: 'delay', ms: 60 } });
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    await Promise.all(names.map((name) => deliver(berth, name)));
    expect(berth.server.journal.open).toBe(4);
    slow.remove();
    for (const connection of [1, 2, 3, 4]) {
      const refusal = { kind: 'reply', text: REFUSALS[0] } as const;
      berth.server.script({
        on: 'STOR',
        connection,
        nth: 'every',
        do: [{ kind: 'delay', ms: 60 }, refusal],
      });
    }
    const failures = await Promise.all(['i', 'j', 'k', 'l'].map((name) => failing(deliver(berth, name))));
    expect(failures.map(({ decision }) => decision)).toEqual(Array.from({ length: 4 }, () => 'reconnect'));
    expect(berth.learned).toEqual([expect.stringContaining('TLS 1.2 is tried')]);
    await Promise.all(['i', 'j', 'k', 'l'].map((name) => deliver(berth, name)));
    expect(await filesBelow(berth.disk)).toEqual([...names, 'i', 'j', 'k', 'l']);
  });

  test('a pull goes on as well, although its first data connection is a listing', async () => {
    await using world = await openWorld({ settings: { connections: 1 }, job: { direction: 'pull' } });
    const versions = refuseUnderTls13(world.server, REFUSALS[0]);
    for (let i = 0; i < 4; i += 1) await world.putRemote(`f${i}`);
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 4 } });
    world.expectConverged();
    expect(versions.at(-1)).toBe('TLSv1.2');
  });

  test('and that has no TLS 1.2: turns back to 1.3, and ends with a sentence before long', async () => {
    await using world = await openWorld({
      server: { tlsVersions: { min: 'TLSv1.3' } },
      settings: { connections: 1 },
    });
    for (let i = 0; i < 30; i += 1) await world.put(`f${i}`);
    world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'reply', text: REFUSALS[0] } });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', tally: { uploaded: 0 } });
    expect(report.failure?.message).toContain(
      'does not recognise its own TLS sessions, and lets nobody in with TLS 1.2',
    );
    expect(world.server.journal.connections).toBeLessThan(12);
    world.server.behave();
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 30 } });
    world.expectConverged();
  });

  test('and that has no TLS 1.2, but is well again by then: the account works on with 1.3', async () => {
    await using berth = await secure({ tlsVersions: { min: 'TLSv1.3' } });
    berth.server.script({ on: 'STOR', times: 2, do: { kind: 'reply', text: REFUSALS[0] } });
    for (let time = 0; time < 2; time += 1) await failing(deliver(berth, 'a'));
    expect(berth.learned).toEqual([expect.stringContaining('TLS 1.2 is tried')]);
    await deliver(berth, 'a');
    await deliver(berth, 'b');
    expect(await filesBelow(berth.disk)).toEqual(['a', 'b']);
  });
});

describe('a server that never recognises its sessions', () => {
  test.each([
    ['proftpd', 1],
    ['proftpd', 4],
    ['vsftpd', 1],
    ['vsftpd', 4],
  ] as const)(
    'like %s, %i connections: ends with a sentence, and no row of retries',
    async (requireSessionReuse, connections) => {
      await using world = await openWorld({ server: { requireSessionReuse }, settings: { connections } });
      for (let i = 0; i < 40; i += 1) await world.put(`f${i}`);
      world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'noResumption' } });
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', tally: { uploaded: 0, skipped: 0 } });
      expect(report.failure?.kind).toMatch(/unreachable|trust/);
      expect(report.failure?.message).toContain('neither under TLS 1.3 nor 1.2');
      expect(report.failure?.message).toContain('See to its TLS settings');
      expect(world.stores).toBeLessThan(8 * connections);
      expect(world.server.journal.connections).toBeLessThan(8 * connections);
      expect(Object.keys(world.held()).filter((path) => !path.startsWith('.'))).toEqual([]);
      // Nothing is held against the files: once the server is well, all of them go.
      expect(world.skips()).toEqual([]);
      world.server.behave();
      expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 40, skipped: 0 } });
      world.expectConverged();
    },
  );

  test('what was learned is kept for the next account', async () => {
    await using berth = await secure();
    let kept: string | undefined;
    const store: ProfileStore = { load: () => kept, save: (json) => (kept = json) };
    const { ca } = await certificates();
    const versions = refuseUnderTls13(berth.server, REFUSALS[0]);
    const use = async (name: string): Promise<void> => {
      const account = new FtpAccount(
        { ...serverSettings(berth.server, 'explicit'), connections: 1 },
        credentialsOf({ password: 'secret', ca: ca.cert }),
        { onOpened: () => {}, onLearned: () => {}, onWire: undefined },
        store,
      );
      const remote = account.remote({ path: 'dumps', absolute: false });
      let sent = 'no';
      for (let time = 0; time < 4 && sent === 'no'; time += 1) {
        await remote.deliver(deliveryOf(name, sourceOf(name))).then(
          () => {
            sent = 'yes';
          },
          () => {},
        );
      }
      await account.close();
    };
    await use('one');
    await use('two');
    expect(versions).toEqual(['TLSv1.3', 'TLSv1.3', 'TLSv1.2', 'TLSv1.2']);
    expect(await filesBelow(berth.disk)).toEqual(['one', 'two']);
  });
});

test('all connections of an account share what OpenSSL makes of its trust', async () => {
  const made = vi.spyOn(tls, 'createSecureContext');
  await using berth = await FtpBerth.open({
    server: { security: 'explicit' },
    account: { connections: 2 },
  });
  await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => deliver(berth, name)));
  // The server's have a certificate.
  expect(made.mock.calls.filter(([options]) => options?.cert === undefined)).toHaveLength(1);
  expect(berth.server.journal.dataConnections).toBe(6);
});
