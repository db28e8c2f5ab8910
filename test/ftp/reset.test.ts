import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resetConnection } from '../../src/ftp/reset.js';
import { certificates } from '../support/certificates.js';

let server: net.Server;
let accepted: net.Socket[];
beforeEach(async () => {
  accepted = [];
  server = net.createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket.on('error', () => {}));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  for (const socket of accepted) socket.destroy();
  server.close();
  await once(server, 'close');
});

async function connected(): Promise<{ raw: net.Socket; peer: net.Socket }> {
  const { port } = server.address() as net.AddressInfo;
  const raw = net.connect(port, '127.0.0.1');
  await Promise.all([once(raw, 'connect'), once(server, 'connection')]);
  const peer = accepted.at(-1);
  if (peer === undefined) throw new Error('nobody was connected');
  return { raw, peer };
}

describe('a reset', () => {
  it('is a reset for the other side', async () => {
    const { raw, peer } = await connected();
    const error = new Promise((resolve) => peer.once('close', () => resolve(peer.errored)));
    const closed = once(raw, 'close');
    resetConnection(raw, undefined);
    await closed;
    peer.resume();
    expect(await error).toMatchObject({ code: 'ECONNRESET' });
  });

  it('does not wait for bytes that are still to go, nor for an end behind them', async () => {
    for (const how of ['write', 'end'] as const) {
      const { raw } = await connected();
      const closed = once(raw, 'close');
      raw[how](Buffer.alloc(20_000_000));
      resetConnection(raw, undefined);
      await closed;
    }
  });

  it('closes a connection whose end is under way, which the system will not reset any more', async () => {
    const { raw, peer } = await connected();
    const closed = once(raw, 'close');
    raw.end();
    resetConnection(raw, undefined);
    await closed;
    peer.resume();
    await once(peer, 'end');
  });

  it('does so below TLS', async () => {
    const { good, ca } = await certificates();
    const { raw, peer } = await connected();
    const other = new tls.TLSSocket(peer, { isServer: true, cert: good.cert, key: good.key });
    other.on('error', () => {}).resume();
    const secure = tls.connect({ socket: raw, ca: ca.cert, host: '127.0.0.1' });
    await once(secure, 'secureConnect');
    const closed = once(raw, 'close');
    secure.end();
    resetConnection(raw, secure);
    resetConnection(raw, secure);
    await closed;
    expect(raw.destroyed && secure.destroyed).toBe(true);
  });

  it('of one that is not connected yet ends it', async () => {
    const { port } = server.address() as net.AddressInfo;
    const raw = net.connect(port, '127.0.0.1');
    const closed = once(raw, 'close');
    resetConnection(raw, undefined);
    await closed;
  });
});
