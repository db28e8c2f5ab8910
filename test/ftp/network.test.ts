/*
 * Names and addresses of servers: more than one address, one that is dead, a resolver that fails, an address that has
 * changed. The resolver is a table of the test; links that go dead in the middle are test/e2e/network.test.ts.
 */
import dns from 'node:dns';
import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import { startFtpServer } from '../support/ftp-server.js';
import { failure, Stage } from './stage.js';

const NAS = { host: 'nas.test' } as const;

/** What the resolver says of `nas.test`: its addresses in order, or an error's code. */
function resolve(answer: () => readonly string[] | string): void {
  const real = dns.lookup;
  const lookup = (host: string, options: dns.LookupOptions, done: (...heard: unknown[]) => void): void => {
    // The scripted server asks for its own address, which is none of a name.
    if (host !== NAS.host) {
      real(host, options, done);
      return;
    }
    const said = answer();
    if (typeof said === 'string') done(Object.assign(new Error(said), { code: said }));
    else {
      const family = (address: string): number => (address.includes(':') ? 6 : 4);
      done(
        null,
        said.map((address) => ({ address, family: family(address) })),
      );
    }
  };
  vi.spyOn(dns, 'lookup').mockImplementation(lookup as typeof dns.lookup);
}

async function* chunks(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a name with several addresses', () => {
  test.each([
    { host: '127.0.0.1', addresses: ['::1', '127.0.0.1'] },
    { host: '127.0.0.1', addresses: ['127.0.0.9', '127.0.0.1'] },
    { host: '::1', addresses: ['127.0.0.1', '::1'] },
    { host: '::1', addresses: ['::1', '127.0.0.1'] },
  ] as const)('the server is at $host only, of $addresses', async ({ host, addresses }) => {
    await using stage = await Stage.open({ host });
    resolve(() => addresses);
    const client = await stage.login(NAS);
    expect(client.isIpv6).toBe(host === '::1');
    // The data connection goes to the address that answered, and not to the name.
    await client.store('a.txt', chunks('content'), { mode: 'EPSV' });
    expect(stage.server.journal.stored).toBe(1);
  });

  test('where all of them refuse, that is what is said', async () => {
    await using stage = await Stage.open();
    resolve(() => ['::1', '127.0.0.9']);
    const error = await failure(stage.connect(NAS));
    expect(error).toMatchObject({ kind: 'network', phase: 'connect', code: 'ECONNREFUSED' });
    expect(error.message).toBe(
      `nas.test:${stage.server.port} refuses connections. Is the FTP service running, and is this its port?`,
    );
  });
});

describe('a resolver that fails', () => {
  test.each([
    ['EAI_AGAIN', 'reconnect', /^The name in nas\.test:\d+ cannot be looked up for now \(EAI_AGAIN\)\. /],
    ['ENOTFOUND', 'hold', /^There is no server of the name in nas\.test:\d+\. Is it spelt right\?$/],
  ] as const)('%s: %s', async (code, decision, message) => {
    await using stage = await Stage.open();
    resolve(() => code);
    const error = await failure(stage.connect(NAS));
    expect(error).toMatchObject({ kind: 'network', phase: 'connect', code });
    expect(error.message).toMatch(message);
    expect(judge(error)).toMatchObject({ decision, kind: 'unreachable', beforeSession: true });
    expect(stage.server.journal.connections).toBe(0);
  });

  test('is asked again for every connection: nothing is kept, neither an error nor an address', async () => {
    await using stage = await Stage.open();
    const { root, port } = stage.server;
    await using moved = await startFtpServer({ root, host: '::1', port });
    const answers: (readonly string[] | string)[] = [
      'EAI_AGAIN',
      ['127.0.0.1'],
      ['::1'],
      'ENOTFOUND',
      ['127.0.0.1'],
    ];
    resolve(() => answers.shift() ?? 'ENOTFOUND');
    expect(await failure(stage.login(NAS))).toMatchObject({ code: 'EAI_AGAIN' });
    expect((await stage.login(NAS)).isIpv6).toBe(false);
    expect((await stage.login(NAS)).isIpv6).toBe(true);
    expect(await failure(stage.login(NAS))).toMatchObject({ code: 'ENOTFOUND' });
    expect((await stage.login(NAS)).isIpv6).toBe(false);
    expect([stage.server.journal.connections, moved.journal.connections]).toEqual([2, 1]);
  });
});

test.each(['127.0.0.1', '::1'] as const)(
  'the system probes an idle control connection at %s',
  async (host) => {
    await using stage = await Stage.open({ host });
    await stage.login();
    const table = await readFile(host === '::1' ? '/proc/self/net/tcp6' : '/proc/self/net/tcp', 'latin1');
    const remotePort = `:${stage.server.port.toString(16).toUpperCase().padStart(4, '0')}`;
    const timers = table
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , remote, state]) => remote?.endsWith(remotePort) === true && state === '01')
      .map(([, , , , , timer = '']) => timer.split(':'));
    expect(timers).toHaveLength(1);
    const [kind, ticks = ''] = timers[0] ?? [];
    // proc(5): 2 is the keep-alive timer, and its time is in hundredths of a second.
    expect(kind).toBe('02');
    expect(Number.parseInt(ticks, 16)).toBeLessThanOrEqual(30 * 100);
  },
);
