/*
 * The listener of active mode by itself, and then with the scripted server on the other side of it: who gets in, on
 * which port, and that nothing listens any more, however it ended.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ActiveListener, type ListenOptions } from '../../src/ftp/active.js';
import { Line } from './line.js';
import { chunksOf, failure, held, nothingLeft, Stage, type StageOptions } from './stage.js';

const loopback: ListenOptions = {
  localAddress: '127.0.0.1',
  peerAddress: '127.0.0.1',
  where: 'nas.example.net:21',
};

let before: ReadonlyMap<string, number>;
beforeEach(() => {
  before = held();
});
afterEach(() => nothingLeft(before));

function portOf(listener: ActiveListener): number {
  return Number(listener.eprt.split('|')[3]);
}

/** A connection, and how it ended: `end`, or the code of its error. */
function visit(port: number, from = '127.0.0.1', to = '127.0.0.1') {
  const socket = net.connect({ port, host: to, localAddress: from });
  let code = 'end';
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? error.message;
  });
  socket.resume();
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(code)));
  return { socket, ended };
}

/** So many ports in a row where nobody listens, below those that the system gives away by itself. */
async function freeRange(count: number): Promise<{ first: number; last: number }> {
  for (let first = 21_000; ; first += count) {
    const servers: net.Server[] = [];
    try {
      for (let port = first; port < first + count; port += 1) {
        const server = net.createServer().listen(port, '127.0.0.1');
        servers.push(server);
        await once(server, 'listening');
      }
      return { first, last: first + count - 1 };
    } catch {
      // One of them is taken: the next ones.
    } finally {
      for (const server of servers) if (server.listening) await new Promise((done) => server.close(done));
    }
  }
}

describe('what the server is told', () => {
  test.each([
    ['IPv4', {}, /^\|1\|127\.0\.0\.1\|\d+\|$/, '127,0,0,1'],
    ['IPv6', { localAddress: '::1', peerAddress: '::1' }, /^\|2\|::1\|\d+\|$/, undefined],
    [
      'IPv4 in the clothes of IPv6',
      { localAddress: '::ffff:127.0.0.1', peerAddress: '::ffff:127.0.0.1' },
      /^\|1\|127\.0\.0\.1\|\d+\|$/,
      '127,0,0,1',
    ],
    ['an address for the outside', { address: '203.0.113.9' }, /^\|1\|203\.0\.113\.9\|\d+\|$/, '203,0,113,9'],
    [
      'an IPv4 address for the outside of IPv6',
      { localAddress: '::1', peerAddress: '::1', address: '203.0.113.9' },
      /^\|1\|203\.0\.113\.9\|\d+\|$/,
      '203,0,113,9',
    ],
    ['an IPv6 address for the outside', { address: '2001:db8::9' }, /^\|2\|2001:db8::9\|\d+\|$/, undefined],
  ] as const)('%s', async (_name, changes, eprt, octets) => {
    const options = { ...loopback, ...changes };
    const listener = await ActiveListener.open(options);
    expect(listener.eprt).toMatch(eprt);
    const port = portOf(listener);
    expect(listener.port).toBe(
      octets === undefined ? undefined : `${octets},${Math.floor(port / 256)},${port % 256}`,
    );
    // Whatever is told, we listen on the control connection's own address.
    const local = options.localAddress === '::1' ? '::1' : '127.0.0.1';
    const { socket, ended } = visit(port, local, local);
    const taken = await listener.accept(5_000);
    expect(taken.localPort).toBe(port);
    taken.destroy();
    socket.end();
    await ended;
  });

  test('what is no address is refused before anything listens', async () => {
    const error = await failure(ActiveListener.open({ ...loopback, address: 'nas.example.net\r\nDELE a' }));
    expect(error).toMatchObject({ kind: 'data', phase: 'data-setup' });
    expect(error.message).toContain('active.address');
  });

  test('an address that is not ours', async () => {
    const error = await failure(ActiveListener.open({ ...loopback, localAddress: '203.0.113.9' }));
    expect(error).toMatchObject({ kind: 'data', phase: 'data-setup', code: 'EADDRNOTAVAIL' });
  });
});

describe('the range of ports', () => {
  test('every port of it is used, and then it is used up', async () => {
    const ports = await freeRange(5);
    const all: ActiveListener[] = [];
    for (let count = 0; count < 5; count += 1) all.push(await ActiveListener.open({ ...loopback, ports }));
    expect(all.map(portOf).sort()).toEqual([0, 1, 2, 3, 4].map((step) => ports.first + step));
    const error = await failure(ActiveListener.open({ ...loopback, ports }));
    expect(error).toMatchObject({ kind: 'data', phase: 'data-setup' });
    expect(error.message).toContain(`${ports.first}-${ports.last}`);
    expect(error.message).toContain('active.ports');
    const [, , third] = all;
    if (third === undefined) throw new Error('no third');
    third.close();
    const again = await ActiveListener.open({ ...loopback, ports });
    expect(portOf(again)).toBe(portOf(third));
    for (const listener of [...all, again]) listener.close();
  });

  test('it does not always begin with the same port', async () => {
    const ports = await freeRange(40);
    const seen = new Set<number>();
    for (let count = 0; count < 30; count += 1) {
      const listener = await ActiveListener.open({ ...loopback, ports });
      seen.add(portOf(listener));
      listener.close();
    }
    expect(seen.size).toBeGreaterThan(3);
  });
});

describe('who gets in', () => {
  test('the server, also where it came before anybody waited, and nobody after it', async () => {
    const listener = await ActiveListener.open(loopback);
    const port = portOf(listener);
    const first = visit(port);
    await once(first.socket, 'connect');
    const taken = await listener.accept(5_000);
    expect(taken.remotePort).toBe(first.socket.localPort);
    expect(await visit(port).ended).toMatch(/ECONNREFUSED|ECONNRESET/);
    expect(await failure(listener.accept(5_000))).toMatchObject({ kind: 'data', phase: 'data-setup' });
    // What was taken is not the listener's any more.
    listener.close();
    const text = new Promise((resolve) => first.socket.once('data', resolve));
    taken.write('hello');
    expect(String(await text)).toBe('hello');
    taken.destroy();
    await first.ended;
  });

  test('others are reset, and the wait goes on', async () => {
    const listener = await ActiveListener.open({ ...loopback, peerAddress: '127.0.0.2' });
    const port = portOf(listener);
    const coming = listener.accept(5_000);
    for (let count = 0; count < 3; count += 1) expect(await visit(port).ended).toBe('ECONNRESET');
    const server = visit(port, '127.0.0.2');
    const taken = await coming;
    expect(taken.remoteAddress).toBe('127.0.0.2');
    taken.destroy();
    await server.ended;
  });

  test('too many others end the wait', async () => {
    const listener = await ActiveListener.open({ ...loopback, peerAddress: '127.0.0.2' });
    const port = portOf(listener);
    const coming = failure(listener.accept(20_000));
    for (let count = 0; count < 100; count += 1) expect(await visit(port).ended).toBe('ECONNRESET');
    const error = await coming;
    expect(error).toMatchObject({ kind: 'data', phase: 'data-setup' });
    expect(error.message).toContain('100 connections');
    expect(await visit(port, '127.0.0.2').ended).toBe('ECONNREFUSED');
  });

  test('nobody comes', async () => {
    const listener = await ActiveListener.open(loopback);
    const error = await failure(listener.accept(50));
    expect(error).toMatchObject({ kind: 'timeout', phase: 'data-setup' });
    expect(error.message).toContain('50 ms');
    expect(error.message).toContain(`127.0.0.1:${portOf(listener)}`);
    expect(await visit(portOf(listener)).ended).toBe('ECONNREFUSED');
  });
});

describe('given up', () => {
  test('before it listens', async () => {
    const error = await failure(ActiveListener.open({ ...loopback, signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ kind: 'aborted', phase: 'data-setup' });
  });

  test('while it begins to listen', async () => {
    const abort = new AbortController();
    const opening = failure(ActiveListener.open({ ...loopback, signal: abort.signal }));
    abort.abort();
    expect(await opening).toMatchObject({ kind: 'aborted' });
  });

  test.each(['abort', 'close'] as const)('while somebody waits: %s', async (how) => {
    const abort = new AbortController();
    const listener = await ActiveListener.open({ ...loopback, signal: abort.signal });
    const coming = failure(listener.accept(20_000));
    if (how === 'abort') abort.abort();
    else listener.close();
    listener.close();
    expect(await coming).toMatchObject({ kind: 'aborted', phase: 'data-setup' });
    expect(await visit(portOf(listener)).ended).toBe('ECONNREFUSED');
    expect(await failure(listener.accept(20_000))).toMatchObject({ kind: 'aborted' });
  });

  test('with a connection that nobody took', async () => {
    const listener = await ActiveListener.open(loopback);
    const { socket, ended } = visit(portOf(listener));
    await once(socket, 'connect');
    // Until the listener has heard of it, closing would be seen by the system alone.
    await new Promise((resolve) => setImmediate(resolve));
    listener.close();
    expect(await ended).toBe('ECONNRESET');
  });
});

const ways: readonly (readonly [string, StageOptions])[] = [
  ['plain', {}],
  [
    'TLS 1.2',
    {
      security: 'explicit',
      tlsVersions: { max: 'TLSv1.2' },
      requireSessionReuse: 'vsftpd',
      requireTls: true,
    },
  ],
  [
    'TLS 1.3',
    {
      security: 'explicit',
      tlsVersions: { min: 'TLSv1.3' },
      requireSessionReuse: 'proftpd',
      requireTls: true,
    },
  ],
];
const forms = [
  ['EPRT over IPv4', '127.0.0.1', 'EPRT'],
  ['PORT', '127.0.0.1', 'PORT'],
  ['EPRT over IPv6', '::1', 'EPRT'],
] as const;

describe.each(ways)('with a server, %s', (_name, options) => {
  test.each(forms)('%s: up, down, a listing, ten times', async (_form, host, verb) => {
    await using stage = await Stage.open({ ...options, host });
    await using line = await Line.open(stage);
    const content = Buffer.alloc(300_000, 'ferry');
    const bring = async (command: string) => {
      const listener = await ActiveListener.open({
        localAddress: host,
        peerAddress: line.control.peerAddress,
        where: line.control.where,
      });
      await line.say(`${verb} ${verb === 'EPRT' ? listener.eprt : listener.port}`);
      const data = line.data({ kind: 'active', listener }, { goodbye: 'observed' });
      const reply = line.say(command);
      await data.open();
      return { data, reply };
    };
    for (let round = 0; round < 10; round += 1) {
      const up = await bring('STOR file');
      expect(await up.data.send(chunksOf(content))).toBe(content.length);
      expect((await up.reply).code).toBe(226);
      await up.data.closed();
      const chunks: Buffer[] = [];
      const down = await bring('RETR file');
      const received = await down.data.receive(async (chunk) => void chunks.push(Buffer.from(chunk)));
      expect(received).toEqual({ bytes: content.length, ended: 'cleanly' });
      expect(Buffer.concat(chunks).equals(content)).toBe(true);
      expect((await down.reply).code).toBe(226);
      const list = await bring('MLSD');
      expect((await list.data.receive(async () => {})).ended).toBe('cleanly');
      expect((await list.reply).code).toBe(226);
    }
    expect((await readFile(stage.directory.join('file'))).equals(content)).toBe(true);
    if (options.security !== undefined) expect(stage.server.journal.resumedDataConnections).toBe(30);
  });
});
