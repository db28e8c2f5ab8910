/* What the relay does to a connection that carries all, as SSH's does: it forgets one half, and it counts bytes. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Relay } from './relay.js';

const FIRST = (): number => 0;

let server: Server;
let relay: Relay;
let port: number;
let sessions: Socket[];
let clients: Socket[];

beforeEach(async () => {
  sessions = [];
  clients = [];
  server = createServer((session) => {
    sessions.push(session);
    session.on('error', () => undefined);
    session.pipe(session);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  port = await freePort();
  relay = await Relay.open({
    host: '127.0.0.2',
    controlPort: port,
    dataPorts: [],
    serverHost: '127.0.0.1',
  });
  relay.point((server.address() as AddressInfo).port);
});

afterEach(async () => {
  await relay.close();
  for (const socket of [...clients, ...sessions]) socket.destroy();
  await new Promise((done) => server.close(done));
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await once(probe.listen(0, '127.0.0.2'), 'listening');
  const { port: free } = probe.address() as AddressInfo;
  await new Promise((done) => probe.close(done));
  return free;
}

/** Also where that is an error, which would end a wait by `once`. */
function closed(socket: Socket): Promise<void> {
  return new Promise((done) => socket.once('close', () => done()));
}

/** A client whose words come back: so its session stands. */
async function talking(): Promise<Socket> {
  const client = connect(port, '127.0.0.2');
  clients.push(client);
  client.on('error', () => undefined);
  client.write('hello');
  await once(client, 'data');
  return client;
}

test('a client that is left behind hears nothing, and what it says is taken', async () => {
  const client = await talking();
  const [session] = sessions;
  if (session === undefined) throw new Error('There is no session');
  const over = closed(session);
  expect(relay.forsake(FIRST, 'client')).toBe(1);
  await over;
  let heard = 0;
  client.on('data', (bytes) => {
    heard += bytes.length;
  });
  await new Promise((done) => client.write(Buffer.alloc(1_000_000), done));
  // A connection that is in order shows that everything had time to come.
  await talking();
  expect({ heard, closed: client.closed, standing: relay.standing }).toEqual({
    heard: 0,
    closed: false,
    standing: 1,
  });
});

test('a session that is left behind is so until the next one is', async () => {
  const first = await talking();
  const [session] = sessions;
  if (session === undefined) throw new Error('There is no session');
  const gone = closed(first);
  relay.forsake(FIRST, 'server');
  await gone;
  const second = await talking();
  expect(session.closed).toBe(false);
  const letGo = closed(session);
  const secondGone = closed(second);
  expect(relay.forsake(FIRST, 'server')).toBe(1);
  await Promise.all([letGo, secondGone]);
  expect(relay.forsake(FIRST, 'server')).toBe(0);
});

test('a client that ends by itself is let go, though it is left behind', async () => {
  const client = await talking();
  relay.forsake(FIRST, 'client');
  const over = closed(client);
  client.end();
  await over;
});

test('a trap counts from the moment it was set', async () => {
  const client = await talking();
  // 5 there and 5 back have gone through already.
  relay.trap(20, 'reset');
  client.write('hello');
  await once(client, 'data');
  expect(client.closed).toBe(false);
  const over = closed(client);
  client.write('hello');
  await over;
});
