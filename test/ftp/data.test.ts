/*
 * One data connection: its clocks, its ends, and a reset in each of its states. The scripted server is on the other
 * side where commands matter; where only bytes do, a bare socket is, which can stop at any of them.
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ActiveListener } from '../../src/ftp/active.js';
import { DataConnection, type DataOptions } from '../../src/ftp/data.js';
import { FtpError } from '../../src/ftp/errors.js';
import type { TlsTrust } from '../../src/ftp/tls.js';
import { type Certificates, certificates } from '../support/certificates.js';
import { wasReset } from '../support/ftp-server/wire.js';
import { Line } from './line.js';
import { chunksOf, failure, held, nothingLeft, Stage, type StageOptions } from './stage.js';

type Version = 'TLSv1.2' | 'TLSv1.3';
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

let before: ReadonlyMap<string, number>;
let all: Certificates;
let closing: (() => Promise<void>)[];
beforeEach(async () => {
  all = await certificates();
  before = held();
  closing = [];
});
afterEach(async () => {
  for (const close of closing) await close();
  await nothingLeft(before);
});

/** Listens until the test is over; every connection is handed over, and is gone with the test. */
async function listening(connected: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}));
    connected(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

function trust(changes: Partial<TlsTrust> = {}): TlsTrust {
  return {
    ca: all.ca.cert,
    pin: undefined,
    verify: true,
    serverName: undefined,
    identity: undefined,
    maxVersion: 'TLSv1.3',
    ...changes,
  };
}

function dataTo(
  port: number,
  changes: Partial<Omit<DataOptions, 'tls'>> & { tls?: TlsTrust } = {},
): DataConnection {
  return new DataConnection({
    host: '127.0.0.1',
    route: { kind: 'passive', address: '127.0.0.1', port },
    flow: 'in',
    connectTimeoutMs: 5_000,
    stallTimeoutMs: 5_000,
    deadlineMs: 60_000,
    goodbye: 'observed',
    signal: undefined,
    ...changes,
    tls:
      changes.tls === undefined ? undefined : { trust: changes.tls, session: undefined, onSession: () => {} },
  });
}

/** A TLS server on that socket, as a data connection's other side. */
function secured(socket: net.Socket, version: Version, more: tls.TLSSocketOptions = {}): tls.TLSSocket {
  const secureContext = tls.createSecureContext({
    cert: all.good.cert,
    key: all.good.key,
    minVersion: version,
    maxVersion: version,
    ...(more.ca === undefined ? {} : { ca: more.ca }),
  });
  return new tls.TLSSocket(socket, { isServer: true, secureContext, ...more }).on('error', () => {});
}

/** How the other side saw a connection end; `stream` is TLS over the raw socket, or the same. */
function endOf(stream: net.Socket, raw = stream): Promise<'reset' | 'end'> {
  return new Promise((resolve) => {
    stream.once('close', () => resolve(stream.errored === null ? 'end' : 'reset'));
    // A reset right behind data looks like an end (libuv).
    stream.once('end', async () => resolve((await wasReset(raw)) ? 'reset' : 'end'));
  });
}

async function* drops(everyMs: number): AsyncGenerator<Buffer> {
  for (;;) {
    await sleep(everyMs);
    yield Buffer.from('.');
  }
}

describe('the deadline', () => {
  test('strikes while bytes trickle in', async () => {
    const port = await listening((socket) => {
      const timer = setInterval(() => socket.write('.'), 5);
      socket.on('close', () => clearInterval(timer));
    });
    const data = dataTo(port, { deadlineMs: 150, stallTimeoutMs: 1_000 });
    await data.open();
    let bytes = 0;
    const error = await failure(
      data.receive(async (chunk) => {
        bytes += chunk.length;
      }),
    );
    expect(error).toMatchObject({ kind: 'stalled', phase: 'transfer' });
    expect(error.message).toContain('longer than 150 ms');
    expect(error.message).toContain('timeouts.transfer');
    expect(bytes).toBeGreaterThan(1);
  });

  test.each(['plain', 'TLS'] as const)('strikes while bytes trickle out: %s', async (how) => {
    let ended: Promise<'reset' | 'end'> | undefined;
    const port = await listening((socket) => {
      const other = how === 'TLS' ? secured(socket, 'TLSv1.3') : socket;
      ended = endOf(other, socket);
      other.resume();
    });
    const data = dataTo(port, {
      deadlineMs: 1_000,
      stallTimeoutMs: 5_000,
      goodbye: 'ignored',
      ...(how === 'TLS' ? { tls: trust() } : {}),
    });
    await data.open();
    const error = await failure(data.send(drops(20)));
    expect(error).toMatchObject({ kind: 'stalled', phase: 'transfer' });
    expect(error.message).toContain('longer than 1 s');
    // The part must not pass for a whole file there.
    expect(await ended).toBe('reset');
  });

  test('strikes while the connection is being made, and nobody comes', async () => {
    const listener = await ActiveListener.open({
      localAddress: '127.0.0.1',
      peerAddress: '127.0.0.1',
      where: 'nas.example.net:21',
    });
    const data = dataTo(0, { route: { kind: 'active', listener }, deadlineMs: 30 });
    expect(await failure(data.open())).toMatchObject({ kind: 'stalled', phase: 'data-setup' });
  });

  test('of a month does not strike at once', async () => {
    const port = await listening((socket) => socket.end('hello'));
    const data = dataTo(port, { deadlineMs: 30 * 24 * 3_600_000 });
    await data.open();
    expect(await data.receive(async () => sleep(20))).toEqual({ bytes: 5, ended: 'cleanly' });
  });

  test('is over with the last byte sent, whenever the server closes', async () => {
    const port = await listening((socket) => {
      socket.resume().once('end', () => setTimeout(() => socket.end(), 150));
    });
    const data = dataTo(port, { deadlineMs: 100 });
    await data.open();
    expect(await data.send(chunksOf('hello'))).toBe(5);
    await data.closed();
    const never = sleep(20, 'whole');
    expect(await Promise.race([data.broken, never])).toBe('whole');
  });

  test('leaves the judgement of silence to the stall limit', async () => {
    const port = await listening((socket) => socket.write('hello'));
    const data = dataTo(port, { stallTimeoutMs: 60 });
    await data.open();
    const error = await failure(data.receive(async () => {}));
    expect(error).toMatchObject({ kind: 'stalled' });
    expect(error.message).toContain('no byte for 60 ms');
  });
});

describe('goodbye, from the scripted server', () => {
  const bodies: Readonly<Record<string, Buffer>> = {
    'an empty listing': Buffer.alloc(0),
    'a small listing': Buffer.from('type=file;size=1; a\r\n'),
    'a listing of 3 MB': Buffer.alloc(3_000_000, 'type=file;size=1; a\r\n'),
  };
  const cases = versions.flatMap((version) =>
    Object.keys(bodies).flatMap((body) =>
      (['spoken', 'missing'] as const).map((goodbye) => ({ version, body, goodbye })),
    ),
  );

  test.each(cases)('$version, $body: close_notify is $goodbye', async ({ version, body, goodbye }) => {
    const options: StageOptions = {
      security: 'explicit',
      tlsVersions: { min: version, max: version },
      requireSessionReuse: 'proftpd',
    };
    const content = bodies[body] ?? Buffer.alloc(0);
    await using stage = await Stage.open(options);
    stage.server.script({ on: 'MLSD', nth: 'every', do: { kind: 'content', bytes: content } });
    if (goodbye === 'missing')
      stage.server.script({ on: 'MLSD', nth: 'every', do: { kind: 'noCloseNotify' } });
    await using line = await Line.open(stage);
    for (const pace of ['quick', 'slow'] as const) {
      const data = line.data(await line.passive(), { goodbye: 'observed' });
      const reply = line.say('MLSD');
      await data.open();
      const chunks: Buffer[] = [];
      const received = await data.receive(async (chunk) => {
        chunks.push(Buffer.from(chunk));
        if (pace === 'slow') await sleep(2);
      });
      expect((await reply).code).toBe(226);
      expect(received).toEqual({
        bytes: content.length,
        ended: goodbye === 'spoken' ? 'cleanly' : 'cut',
      });
      expect(Buffer.concat(chunks).equals(content)).toBe(true);
    }
    expect(stage.server.journal.resumedDataConnections).toBe(2);
  });

  test.each(versions)('%s: where nobody asked, any end counts', async (version) => {
    await using stage = await Stage.open({
      security: 'explicit',
      tlsVersions: { min: version, max: version },
    });
    await writeFile(stage.directory.join('a'), 'abc');
    stage.server.script({ on: 'RETR', do: { kind: 'noCloseNotify' } });
    await using line = await Line.open(stage);
    const data = line.data(await line.passive(), { goodbye: 'ignored' });
    const reply = line.say('RETR a');
    await data.open();
    expect(await data.receive(async () => {})).toEqual({ bytes: 3, ended: 'cleanly' });
    expect((await reply).code).toBe(226);
  });
});

describe('goodbye, byte by byte', () => {
  /**
   * Between a TLS server and us: from `cut(k)` on, the server's bytes are kept until its end, and then all but
   * the last k are passed on, with a FIN behind them.
   */
  async function relayed(version: Version, content: string, missing: number) {
    const inner = await listening((socket) => {
      const secure = secured(socket, version);
      secure.resume().once('secure', () => {
        // A turn later: before, what belongs to the handshake has not left, and Node leaves close_notify out.
        setImmediate(() => {
          relay.kept = [];
          secure.end(content);
        });
      });
    });
    const relay: { kept: Buffer[] | undefined } = { kept: undefined };
    const outer = await listening((near) => {
      const far = net.connect(inner, '127.0.0.1').on('error', () => {});
      closing.push(async () => void far.destroy());
      near.pipe(far);
      far.on('data', (chunk) => {
        if (relay.kept === undefined) near.write(chunk);
        else relay.kept.push(chunk);
      });
      far.on('end', () => {
        const bytes = Buffer.concat(relay.kept ?? []);
        near.end(bytes.subarray(0, bytes.length - missing));
      });
    });
    const data = dataTo(outer, { tls: trust() });
    await data.open();
    return data.receive(async () => {});
  }

  test.each(versions)('%s: whole only where the last byte of close_notify came', async (version) => {
    const content = 'type=file;size=1; a\r\n';
    expect(await relayed(version, content, 0)).toEqual({ bytes: content.length, ended: 'cleanly' });
    let points = 0;
    for (let missing = 1; missing <= 70; missing += 1) {
      const { bytes, ended } = await relayed(version, content, missing);
      expect(ended, `${missing} bytes missing`).toBe('cut');
      expect([0, content.length]).toContain(bytes);
      points += 1;
    }
    expect(points).toBe(70);
  });

  test.each([
    ['observed', 'FIN'],
    ['observed', 'silence'],
    ['ignored', 'FIN'],
  ] as const)(
    'TLS 1.2: all in one packet with the end of the handshake: %s, then %s',
    async (goodbye, then) => {
      const content = Buffer.alloc(10_000, 'type=file;size=1; a\r\n');
      const inner = await listening((socket) => {
        const secure = secured(socket, 'TLSv1.2');
        secure.resume().once('secure', () => setImmediate(() => secure.end(content)));
      });
      const outer = await listening((near) => {
        const far = net.connect(inner, '127.0.0.1').on('error', () => {});
        closing.push(async () => void far.destroy());
        near.pipe(far);
        let kept: Buffer[] | undefined;
        far.on('data', (chunk) => {
          // ChangeCipherSpec: the server's last flight.
          if (chunk.includes(Buffer.from([20, 3, 3, 0, 1, 1]))) kept = [];
          if (kept === undefined) near.write(chunk);
          else kept.push(chunk);
        });
        far.on('end', () => {
          near.write(Buffer.concat(kept ?? []));
          if (then === 'FIN') near.end();
        });
      });
      for (let round = 0; round < 10; round += 1) {
        const data = dataTo(outer, { goodbye, tls: trust(), stallTimeoutMs: 1_000 });
        await data.open();
        expect(await data.receive(async () => {})).toEqual({ bytes: content.length, ended: 'cleanly' });
      }
    },
  );

  test('plain: a FIN is an end', async () => {
    const port = await listening((socket) => socket.end('hello'));
    for (const goodbye of ['observed', 'ignored'] as const) {
      const data = dataTo(port, { goodbye });
      await data.open();
      expect(await data.receive(async () => {})).toEqual({ bytes: 5, ended: 'cleanly' });
    }
  });

  test('plain: a reset is none, also in one packet with the data', async () => {
    const port = await listening((socket) => {
      socket.write('hello');
      socket.resetAndDestroy();
    });
    for (let round = 0; round < 50; round += 1) {
      const data = dataTo(port);
      await data.open().catch(() => {});
      expect(await failure(data.receive(async () => {}))).toMatchObject({ kind: 'data' });
    }
  });

  test.each(versions)('%s: a reset is none', async (version) => {
    const port = await listening((socket) => {
      const secure = secured(socket, version);
      secure.resume().once('secure', () => secure.write('hello', () => socket.resetAndDestroy()));
    });
    for (let round = 0; round < 20; round += 1) {
      const data = dataTo(port, { tls: trust() });
      const end = await data
        .open()
        .then(() => data.receive(async () => {}))
        .catch((error: unknown) => error);
      // The reset may overtake the data, and the end of the handshake.
      expect(end).toBeInstanceOf(FtpError);
      expect(end).toMatchObject({ kind: expect.stringMatching(/^(data|handshake)$/) });
    }
  });

  test.each(versions)('%s: rubbish in place of a record is no end either', async (version) => {
    const port = await listening((socket) => {
      const secure = secured(socket, version);
      secure.resume().once('secure', () => setImmediate(() => socket.end('this is no TLS record at all')));
    });
    for (let round = 0; round < 20; round += 1) {
      const data = dataTo(port, { tls: trust() });
      // In one packet with the end of the handshake it may be met before anybody listens.
      const end = await data
        .open()
        .then(() => data.receive(async () => {}))
        .catch((error: unknown) => error);
      if (end instanceof FtpError) expect(end.kind).toMatch(/^(data|handshake)$/);
      else expect(end).toEqual({ bytes: 0, ended: 'cut' });
    }
  });
});

describe.each(['observed', 'ignored'] as const)('given up, goodbye %s', (goodbye) => {
  const why = new FtpError('aborted', 'Because the test says so.', { phase: 'transfer' });
  const ways = [['plain'], ['TLSv1.2'], ['TLSv1.3']] as const;

  interface Met {
    readonly data: DataConnection;
    /** How the other side saw the connection end. */
    readonly ended: Promise<'reset' | 'end'>;
    readonly other: net.Socket;
  }

  async function met(way: 'plain' | Version, signal?: AbortSignal): Promise<Met> {
    let hear: (met: Omit<Met, 'data'>) => void = () => {};
    const heard = new Promise<Omit<Met, 'data'>>((resolve) => {
      hear = resolve;
    });
    const port = await listening((socket) => {
      const other = way === 'plain' ? socket : secured(socket, way);
      hear({ other, ended: endOf(other, socket) });
    });
    const data = dataTo(port, { goodbye, signal, ...(way === 'plain' ? {} : { tls: trust() }) });
    const opening = data.open();
    const other = await heard;
    // A socket that nobody reads never notices a reset.
    const finished = way === 'plain' ? undefined : once(other.other.resume(), 'secure');
    await opening;
    await finished;
    return { data, ...other };
  }

  test('before it is connected', async () => {
    const port = await listening(() => {});
    const data = dataTo(port, { goodbye });
    const opening = failure(data.open());
    data.reset(why);
    expect(await opening).toBe(why);
  });

  test('in the TLS handshake', async () => {
    let ended: Promise<'reset' | 'end'> | undefined;
    let hello: () => void = () => {};
    const heard = new Promise<void>((resolve) => {
      hello = resolve;
    });
    const port = await listening((socket) => {
      ended = endOf(socket);
      socket.on('data', () => hello());
    });
    const data = dataTo(port, { goodbye, tls: trust() });
    const opening = failure(data.open());
    await heard;
    data.reset(why);
    expect(await opening).toBe(why);
    expect(await ended).toBe('reset');
  });

  test.each(ways)('open, and nothing moves: %s', async (way) => {
    const { data, ended, other } = await met(way);
    data.reset(why);
    data.reset();
    data.close();
    other.resume();
    expect(await ended).toBe('reset');
    expect(await failure(data.broken)).toBe(why);
  });

  test.each(ways)('while it waits for bytes: %s', async (way) => {
    const { data, ended, other } = await met(way);
    other.resume();
    const receiving = failure(data.receive(async () => {}));
    await new Promise((resolve) => setImmediate(resolve));
    data.reset(why);
    expect(await receiving).toBe(why);
    expect(await ended).toBe('reset');
  });

  test.each(ways)('while bytes come, by a signal: %s', async (way) => {
    const abort = new AbortController();
    const { data, ended, other } = await met(way, abort.signal);
    other.resume();
    other.write(Buffer.alloc(4_000_000));
    let bytes = 0;
    const error = await failure(
      data.receive(async (chunk) => {
        bytes += chunk.length;
        if (bytes > 100_000) abort.abort();
      }),
    );
    expect(error).toMatchObject({ kind: 'aborted', phase: 'transfer' });
    await ended;
  });

  test.each(ways)('while bytes go: %s', async (way) => {
    const { data, ended, other } = await met(way);
    if (way === 'plain') other.resume();
    let sent = 0;
    const source = async function* (): AsyncGenerator<Buffer> {
      for (;;) {
        yield Buffer.alloc(100_000);
        sent += 1;
        if (sent === 20) data.reset(why);
      }
    };
    expect(await failure(data.send(source()))).toBe(why);
    expect(await ended).toBe('reset');
  });

  test.each(ways)('after the end: %s', async (way) => {
    const { data, ended, other } = await met(way);
    // Node's own TLS server leaves close_notify out where it ends in the turn of its handshake.
    await new Promise((resolve) => setImmediate(resolve));
    other.end('hello');
    expect(await data.receive(async () => {})).toEqual({ bytes: 5, ended: 'cleanly' });
    data.reset(why);
    other.resume();
    await ended;
  });

  test.each([
    ['nobody has come', 'waiting'],
    ['the TLS handshake waits', 'handshake'],
  ] as const)('in active mode, when %s', async (_name, state) => {
    const listener = await ActiveListener.open({
      localAddress: '127.0.0.1',
      peerAddress: '127.0.0.1',
      where: 'nas.example.net:21',
    });
    const port = Number(listener.eprt.split('|')[3]);
    const data = dataTo(0, {
      route: { kind: 'active', listener },
      goodbye,
      ...(state === 'handshake' ? { tls: trust() } : {}),
    });
    const opening = failure(data.open());
    let visitor: net.Socket | undefined;
    let ended: Promise<'reset' | 'end'> | undefined;
    if (state === 'handshake') {
      visitor = net.connect(port, '127.0.0.1').on('error', () => {});
      const socket = visitor;
      ended = endOf(socket);
      await once(visitor, 'data');
    }
    data.reset(why);
    expect(await opening).toBe(why);
    if (ended !== undefined) expect(await ended).toBe('reset');
    const late = net.connect(port, '127.0.0.1');
    const [refused] = await once(late, 'error');
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('in active mode, at the moment when the server comes', async () => {
    const listener = await ActiveListener.open({
      localAddress: '127.0.0.1',
      peerAddress: '127.0.0.1',
      where: 'nas.example.net:21',
    });
    const visitor = net.connect(Number(listener.eprt.split('|')[3]), '127.0.0.1').on('error', () => {});
    const ended = endOf(visitor);
    await once(visitor, 'connect');
    await sleep(20);
    const data = dataTo(0, { route: { kind: 'active', listener }, goodbye });
    // It has arrived, is taken in `open`, and given up before anybody could look at it.
    const opening = failure(data.open());
    data.reset(why);
    expect(await opening).toBe(why);
    visitor.resume();
    expect(await ended).toBe('reset');
  });
});

describe('active mode', () => {
  test('a server that does not come is told in a sentence', async () => {
    await using stage = await Stage.open();
    await using line = await Line.open(stage);
    const listener = await ActiveListener.open({
      localAddress: '127.0.0.1',
      peerAddress: '127.0.0.1',
      where: line.control.where,
    });
    await line.say(`EPRT ${listener.eprt}`);
    const data = line.data({ kind: 'active', listener }, { connectTimeoutMs: 60 });
    const error = await failure(data.open());
    expect(error).toMatchObject({ kind: 'timeout', phase: 'data-setup' });
    expect(error.message).toMatch(/did not connect to 127\.0\.0\.1:\d+ in 60 ms/);
    expect(error.message).toContain('dataConnection: passive');
  });

  test('a stranger neither gets the file nor keeps the server out', async () => {
    await using stage = await Stage.open();
    await writeFile(stage.directory.join('a'), 'abc');
    await using line = await Line.open(stage);
    const listener = await ActiveListener.open({
      localAddress: '127.0.0.1',
      peerAddress: '127.0.0.1',
      where: line.control.where,
    });
    await line.say(`EPRT ${listener.eprt}`);
    const stranger = net.connect({
      port: Number(listener.eprt.split('|')[3]),
      host: '127.0.0.1',
      localAddress: '127.0.0.3',
    });
    const [error] = await once(stranger.resume(), 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    const data = line.data({ kind: 'active', listener });
    const reply = line.say('RETR a');
    await data.open();
    expect((await data.receive(async () => {})).bytes).toBe(3);
    expect((await reply).code).toBe(226);
  });
});

describe('a client certificate on the data connection', () => {
  const identity = (from: { cert: string; key: string }) => ({
    certificate: from.cert,
    key: from.key,
    passphrase: undefined,
  });

  test.each(versions)('%s: accepted', async (version) => {
    await using stage = await Stage.open({
      security: 'explicit',
      tlsVersions: { min: version, max: version },
      clientCa: all.ca.cert,
      requireSessionReuse: 'vsftpd',
    });
    await using line = await Line.open(stage, { identity: identity(all.client) });
    for (let round = 0; round < 3; round += 1) {
      const data = line.data(await line.passive(), { goodbye: 'observed' });
      const reply = line.say('MLSD');
      await data.open();
      expect((await data.receive(async () => {})).ended).toBe('cleanly');
      expect((await reply).code).toBe(226);
    }
    expect(stage.server.journal.resumedDataConnections).toBe(3);
  });

  test.each(versions)('%s: missing', async (version) => {
    const port = await listening((socket) => {
      secured(socket, version, { requestCert: true, rejectUnauthorized: true, ca: all.ca.cert }).resume();
    });
    for (const goodbye of ['observed', 'ignored'] as const) {
      const data = dataTo(port, { goodbye, tls: trust() });
      const error = await failure(data.open().then(() => data.receive(async () => {})));
      expect(error.message).toContain('client certificate');
      expect(error.message).toContain('tls.certificate and tls.key');
      // Under TLS 1.2 the server has no word for it but that the handshake failed.
      expect(error.kind).toBe(version === 'TLSv1.3' ? 'certificate' : 'handshake');
    }
  });
});
