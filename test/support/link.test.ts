/*
 * The slow link is as slow as it says, carries whole files between a real server and a client, sees nothing of the
 * machine's own network, and is gone afterwards, whatever ran on it and however the tests ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readlink, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { describeLink, type Link, slowLink } from './link.js';
import type { Place } from './place.js';
import { describeReal, findProgram, type RealServer, type ServerName } from './real-server.js';
import { startProftpd } from './servers/proftpd.js';
import { startPureFtpd } from './servers/pure-ftpd.js';
import { startPyftpdlib } from './servers/pyftpdlib.js';
import { startVsftpd } from './servers/vsftpd.js';

const python = findProgram('python3') ?? 'python3';

/** Says how many milliseconds a NOOP takes, and whether 3 MB that were stored come back whole. */
const client = `
import ftplib, hashlib, io, sys, time
host, port, user, password = sys.argv[1:]
ftp = ftplib.FTP(timeout=20)
ftp.connect(host, int(port))
ftp.login(user, password)
before = time.monotonic()
ftp.voidcmd('NOOP')
print((time.monotonic() - before) * 1000)
content = hashlib.sha512(b'x').digest() * 48000
back = io.BytesIO()
ftp.storbinary('STOR a', io.BytesIO(content))
ftp.retrbinary('RETR a', back.write)
print('whole' if back.getvalue() == content else 'torn')
ftp.quit()
`;

const DATAGRAMS = 500;

/** Says its port, then how many datagrams came before the one that ends it, which is sent until it comes. */
const receive = `
import socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.settimeout(20)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
receiver.bind((sys.argv[1], 0))
print(receiver.getsockname()[1], flush=True)
count = 0
while receiver.recv(100) != b'over':
    count += 1
print(count, flush=True)
`;

/** Not all at once, for a receiver's buffer has an end. */
const send = `
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], int(sys.argv[2])))
for _ in range(${DATAGRAMS / 50}):
    for _ in range(50):
        sender.send(b'.')
    time.sleep(0.002)
for _ in range(200):
    time.sleep(0.01)
    try:
        sender.send(b'over')
    except ConnectionRefusedError:
        break
`;

const servers: Readonly<Record<ServerName, (options: { readonly at: Place }) => Promise<RealServer>>> = {
  vsftpd: startVsftpd,
  proftpd: startProftpd,
  'pure-ftpd': startPureFtpd,
  pyftpdlib: startPyftpdlib,
};

/** What a program at the near end says. */
async function output(child: ChildProcess): Promise<string> {
  return child.stdout === null ? '' : text(child.stdout);
}

/** Inode of the network that a process is in. */
async function networkOf(pid: number | undefined): Promise<string> {
  return readlink(`/proc/${pid}/ns/net`);
}

describeLink('a slow link', () => {
  for (const roundTripMs of [40, 0]) {
    test(`a round trip takes ${roundTripMs} ms, by IPv4 and by IPv6`, async () => {
      await using link = await slowLink({ roundTripMs });
      for (const by of ['IPv4', 'IPv6'] as const) {
        const measuredMs = await link.measure(by);
        // Node's clock and the wire's are read at different moments.
        expect(measuredMs).toBeGreaterThan(roundTripMs - 1);
        expect(measuredMs).toBeLessThan(roundTripMs + 20);
      }
    });
  }

  test('40 ms unless told', async () => {
    await using link = await slowLink();
    expect(link.roundTripMs).toBe(40);
  });

  test('so many of a hundred packets are lost in each direction, and none unless told', async () => {
    const arrived = async (lossPercent?: number): Promise<readonly number[]> => {
      await using link = await slowLink(lossPercent === undefined ? {} : { roundTripMs: 0, lossPercent });
      const numbers: number[] = [];
      for (const [from, to] of [
        [link.near, link.far],
        [link.far, link.near],
      ] as const) {
        const receiver = to.spawn([python, '-c', receive, to.host], { stdio: ['ignore', 'pipe', 'inherit'] });
        if (receiver.stdout === null) throw new Error('a pipe was asked for');
        const lines = createInterface({ input: receiver.stdout });
        const [port] = await once(lines, 'line');
        const counted = once(lines, 'line');
        from.spawn([python, '-c', send, to.host, String(port)], { stdio: 'inherit' });
        numbers.push(Number((await counted)[0]));
      }
      return numbers;
    };
    expect(await arrived()).toEqual([DATAGRAMS, DATAGRAMS]);
    for (const number of await arrived(20)) {
      expect(number).toBeGreaterThan(0.7 * DATAGRAMS);
      expect(number).toBeLessThan(0.9 * DATAGRAMS);
    }
  });

  for (const [name, start] of Object.entries(servers)) {
    describeReal(name as ServerName, `with ${name} at the far end`, () => {
      test('a client at the near end stores and fetches, by IPv4 and by IPv6', async () => {
        await using link = await slowLink();
        for (const at of [link.far, link.far.v6]) {
          await using server = await start({ at });
          expect(server.host).toBe(at.host);
          const where = [server.host, String(server.port), server.user, server.password];
          const child = link.near.spawn([python, '-c', client, ...where], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          const [noopMs, verdict] = (await output(child)).trim().split('\n');
          expect(Number(noopMs)).toBeGreaterThan(39);
          expect(verdict).toBe('whole');
          expect((await stat(join(server.root, 'a'))).size).toBe(64 * 48_000);
        }
      });
    });
  }

  test('each end has its loopback, and nothing else of the machine', async () => {
    await using link = await slowLink();
    const ours = createServer((socket) => socket.end());
    ours.listen(0, '127.0.0.1');
    await once(ours, 'listening');
    const address = ours.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    for (const end of [link.near, link.far]) {
      const own = `require('net').createServer(s => s.end()).listen(0, '127.0.0.1', function () {
        require('net').connect(this.address().port, '127.0.0.1')
          .on('connect', () => { console.log('own'); this.close(); }).on('error', e => console.log(e.code));
      })`;
      const foreign = `require('net').connect(${port}, '127.0.0.1')
        .on('connect', () => console.log('open')).on('error', e => console.log(e.code))`;
      const said = await Promise.all(
        [own, foreign].map((program) =>
          output(end.spawn([process.execPath, '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })),
        ),
      );
      expect(said.map((line) => line.trim())).toEqual(['own', 'ECONNREFUSED']);
    }
    ours.close();
  });

  test('what still runs at its ends goes with it', async () => {
    const link = await slowLink();
    const children = [link.near, link.far].map((end) =>
      end.spawn([process.execPath, '-e', 'console.log(1); setInterval(() => 0, 1000)'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    for (const child of children) if (child.stdout !== null) await once(child.stdout, 'data');
    const networks = await Promise.all(children.map((child) => networkOf(child.pid)));
    expect(new Set([...networks, await networkOf(process.pid)]).size).toBe(3);
    const exits = children.map((child) => once(child, 'exit'));
    await link.remove();
    await link.remove();
    for (const exit of exits) expect((await exit)[1]).toBe('SIGKILL');
    expect(existsSync(holderOf(link))).toBe(false);
  });

  test('and what that has started there, in groups of its own', async () => {
    const link = await slowLink();
    // As a vitest at the near end starts a server at the far one.
    const starter = `
      const [program, ...words] = ${JSON.stringify([...link.far.enter, process.execPath, '-e', 'setInterval(() => 0, 1000)'])};
      const child = require('child_process').spawn(program, words, { detached: true, stdio: 'ignore' });
      console.log(child.pid); setInterval(() => 0, 1000);`;
    const child = link.near.spawn([process.execPath, '-e', starter], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.stdout === null) throw new Error('a pipe was asked for');
    const [pid] = await once(createInterface({ input: child.stdout }), 'line');
    const far = await readlink(`${holderOf(link)}/fd/${/fd\/(\d+)/.exec(link.far.enter.join(' '))?.[1]}`);
    await expect.poll(() => networkOf(Number(pid)), { timeout: 5000 }).toBe(far);
    await link.remove();
    await expect.poll(() => networkOf(Number(pid)).catch(() => 'none'), { timeout: 5000 }).toBe('none');
  });

  test('the wire ends with the one who holds it, however that ends', async () => {
    // What slowLink starts, started by a process that is then killed.
    const wire = JSON.stringify([
      join(import.meta.dirname, 'link/delay.py'),
      ...['20', '0', '1'],
      ...['10.40.0.1', 'fd40::1', '10.40.0.2', 'fd40::2'],
    ]);
    const holder = spawn(
      process.execPath,
      [
        '-e',
        `const wire = require('child_process').spawn(${JSON.stringify(python)}, ${wire}, { stdio: ['pipe', 'pipe', 2] });
         wire.stdout.once('data', () => console.log(wire.pid));`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const over = once(holder, 'exit');
    const [pid] = await once(createInterface({ input: holder.stdout }), 'line');
    expect(await networkOf(Number(pid))).not.toBe(await networkOf(process.pid));
    holder.kill('SIGKILL');
    await over;
    // A process that is no more, or is only waiting to be forgotten, has no network.
    await expect.poll(() => networkOf(Number(pid)).catch(() => 'none'), { timeout: 5000 }).toBe('none');
  });
});

/** The process that a link lives in, as its words to enter tell it. */
function holderOf(link: Link): string {
  return /\/proc\/\d+/.exec(link.near.enter.join(' '))?.[0] ?? '';
}

if (process.getuid?.() !== 0) {
  test('an ordinary user is told that it takes root', async () => {
    await expect(slowLink()).rejects.toThrow(/root/);
  });
}
