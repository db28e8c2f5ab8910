/*
 * More connections than a server lets in, in every way the real ones count them: the pool takes as many as it gets,
 * and every file arrives. Where others have taken all of them, that is said once, and is over when they have gone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { isTooMany, judge } from '../../src/remote/failure.js';
import { certificates } from '../support/certificates.js';
import { RawClient } from '../support/raw-client.js';
import { describeReal, type RealServer, type ServerName } from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startPyftpdlib } from '../support/servers/pyftpdlib.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { deliveryOf, fetched, filesBelow, sourceOf } from './contract.js';
import { RealBerth, type Security } from './real-berth.js';

const wanted = 6;
const allowed = 2;
const limit = String(allowed);

interface Limit {
  readonly name: ServerName;
  /** The server's own word for it. */
  readonly setting: string;
  readonly securities: readonly Security[];
  start(security: Security): Promise<RealServer>;
}

const limits: readonly Limit[] = [
  {
    name: 'vsftpd',
    setting: 'max_per_ip',
    securities: ['plain', 'explicit'],
    start: (security) => startVsftpd({ security, settings: { max_per_ip: limit } }),
  },
  {
    name: 'vsftpd',
    setting: 'max_clients',
    securities: ['plain'],
    start: (security) => startVsftpd({ security, maxClients: allowed }),
  },
  ...['MaxClients', 'MaxClientsPerUser', 'MaxClientsPerHost', 'MaxConnectionsPerHost'].map(
    (setting): Limit => ({
      name: 'proftpd',
      setting,
      securities: setting === 'MaxClients' ? ['plain', 'explicit', 'implicit'] : ['plain'],
      start: (security) => startProftpd({ security, settings: [`${setting} ${limit}`] }),
    }),
  ),
  {
    name: 'pure-ftpd',
    setting: '-c',
    securities: ['plain', 'explicit'],
    start: (security) =>
      startPureFtpd({ maxClients: allowed, ...(security === 'explicit' ? { security } : {}) }),
  },
  {
    name: 'pure-ftpd',
    setting: '-C',
    securities: ['plain'],
    start: () => startPureFtpd({ settings: ['-C', limit] }),
  },
  {
    name: 'pyftpdlib',
    setting: 'max_cons_per_ip',
    securities: ['plain', 'explicit', 'implicit'],
    start: (security) => startPyftpdlib({ security, maxClients: allowed }),
  },
];

function files(label: string): ReadonlyMap<string, string> {
  return new Map(
    Array.from({ length: 60 }, (_, place) => {
      const path = `${label}/file-${String(place).padStart(2, '0')}`;
      return [path, `${path} `.repeat(place === 30 ? 100_000 : 1 + place * 10)] as const;
    }),
  );
}

async function deliverAll(berth: RealBerth, contents: ReadonlyMap<string, string>): Promise<void> {
  await Promise.all(
    [...contents].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
  );
  for (const [path, content] of contents)
    expect(await readFile(join(berth.disk, path), 'utf8'), path).toBe(content);
}

const complaint = /takes no more connections: (\d+) (?:is|are) used\.$/;

/** How many connections were left each time the server had too many. */
function shrunkTo(berth: RealBerth): number[] {
  return berth.learned.flatMap((said) => complaint.exec(said)?.[1] ?? []).map(Number);
}

for (const { name, setting, securities, start } of limits) {
  for (const security of securities) {
    describeReal(name, `${name}, ${setting} ${limit}, ${security}`, () => {
      const open = (): Promise<RealBerth> =>
        RealBerth.open(() => start(security), security, { connections: wanted });

      test(`${wanted} are wanted: every file arrives, and what was found out is not asked again`, async () => {
        await using berth = await open();
        const first = files('first');
        await deliverAll(berth, first);
        const shrunk = shrunkTo(berth);
        expect(shrunk.length).toBeGreaterThan(0);
        expect(shrunk.at(-1)).toBeLessThanOrEqual(allowed);
        const second = files('second');
        await deliverAll(berth, second);
        await Promise.all(
          [...first].map(async ([path, content]) =>
            expect((await fetched(berth.remote, path)).toString()).toBe(content),
          ),
        );
        expect(shrunkTo(berth)).toEqual(shrunk);
        expect(await filesBelow(berth.disk)).toEqual([...first.keys(), ...second.keys()].sort());
      });

      test('others have taken all of them: a hold, and over when one has gone', async () => {
        await using berth = await open();
        const others: RawClient[] = [];
        try {
          while (others.length < allowed) others.push(await stranger(berth.server, security));
          const refused = await berth.remote.deliver(deliveryOf('file', sourceOf('content'))).then(
            () => undefined,
            (error: unknown) => error,
          );
          expect(isTooMany(judge(refused)), String(refused)).toBe(true);
          expect(await filesBelow(berth.disk)).toEqual([]);
          await others.pop()?.[Symbol.asyncDispose]();
          const again = berth.account.remote({ path: 'dumps', absolute: false });
          // The server needs a moment to notice.
          await expect
            .poll(() => again.stat('file').catch((error: unknown) => String(error)), { timeout: 5_000 })
            .toBeUndefined();
          await again.deliver(deliveryOf('file', sourceOf('content')));
          expect(await readFile(join(berth.disk, 'file'), 'utf8')).toBe('content');
        } finally {
          for (const other of others) await other[Symbol.asyncDispose]();
        }
      });
    });
  }
}

/* Who is one too many here hears nothing that the protocol knows. */
const silent: readonly Limit[] = [
  {
    name: 'vsftpd',
    setting: 'max_clients',
    securities: ['implicit'],
    start: (security) => startVsftpd({ security, maxClients: allowed }),
  },
  {
    name: 'proftpd',
    setting: 'MaxInstances',
    securities: ['plain'],
    start: () => startProftpd({ settings: [`MaxInstances ${limit}`] }),
  },
];

for (const { name, setting, securities, start } of silent) {
  for (const security of securities) {
    describeReal(name, `${name}, ${setting} ${limit}, ${security}`, () => {
      test(`${wanted} are wanted, and who is one too many is not told why: every file arrives`, async () => {
        await using berth = await RealBerth.open(() => start(security), security, { connections: wanted });
        for (const label of ['first', 'second']) await deliverAll(berth, files(label));
        const shrunk = shrunkTo(berth);
        expect(shrunk.length).toBeGreaterThan(0);
        expect(shrunk.at(-1)).toBeLessThanOrEqual(allowed);
      });
    });
  }
}

describeReal('pyftpdlib', 'pyftpdlib, max_cons 7, which counts data connections, too', () => {
  /** As a run does it: what is not about the file is tried again, a little later. */
  async function persist(berth: RealBerth, path: string, content: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await berth.remote.deliver(deliveryOf(path, sourceOf(content)));
        return;
      } catch (error) {
        const { decision } = judge(error);
        expect(['retry', 'reconnect'], String(error)).toContain(decision);
        if (attempt === 20) throw error;
        await sleep(10 * attempt);
      }
    }
  }

  test(`${wanted} are wanted: no port for a file is no reason to give it up`, async () => {
    const start = (): Promise<RealServer> => startPyftpdlib({ maxSockets: 7 });
    await using berth = await RealBerth.open(start, 'plain', { connections: wanted });
    const contents = files('sub');
    await Promise.all([...contents].map(([path, content]) => persist(berth, path, content)));
    for (const [path, content] of contents)
      expect(await readFile(join(berth.disk, path), 'utf8'), path).toBe(content);
    expect((await filesBelow(berth.disk)).filter((path) => contents.has(path))).toEqual([...contents.keys()]);
    expect(await berth.server.log()).toMatch(/421 Too many connections|425 Too many connections/);
  });
});

async function stranger(server: RealServer, security: Security): Promise<RawClient> {
  const { ca } = await certificates();
  const client = await RawClient.open(server.port, {
    host: server.host,
    ...(security === 'plain' ? {} : { tls: { ca: ca.cert } }),
    implicit: security === 'implicit',
  });
  const reply = await client.login(server.user, server.password, { auth: security === 'explicit' });
  expect(reply).toMatch(/^230[ -]/);
  return client;
}
