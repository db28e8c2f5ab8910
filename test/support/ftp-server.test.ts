/*
 * The scripted server is tested before anything is tested against it: with the plainest client there is, and with curl
 * where curl is installed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { certificates } from './certificates.js';
import type { Fault, Rule } from './ftp-server/fault.js';
import { type FtpServerOptions, serverLike } from './ftp-server/settings.js';
import { type FtpServer, startFtpServer } from './ftp-server.js';
import { RawClient, type RawOptions } from './raw-client.js';
import { type TemporaryDirectory, temporaryDirectory } from './temporary.js';

let directory: TemporaryDirectory;
let server: FtpServer | undefined;
let clients: RawClient[] = [];

beforeEach(async () => {
  directory = await temporaryDirectory('ftp-server');
});

afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await server?.close();
  server = undefined;
  await directory.remove();
});

async function start(options: Omit<FtpServerOptions, 'root'> = {}): Promise<FtpServer> {
  server = await startFtpServer({ root: directory.path, ...options });
  return server;
}

async function secured(options: Omit<FtpServerOptions, 'root'> = {}): Promise<FtpServer> {
  return start({ security: 'explicit', certificate: (await certificates()).good, ...options });
}

async function client(of: FtpServer, options: RawOptions = {}): Promise<RawClient> {
  const made = await RawClient.open(of.port, { host: of.address, ...options });
  clients.push(made);
  return made;
}

async function loggedIn(of: FtpServer, options: RawOptions = {}): Promise<RawClient> {
  const made = await client(of, options);
  expect(await made.login('ferry', 'secret', { auth: options.implicit !== true })).toMatch(/^230 /);
  return made;
}

describe('plain', () => {
  test('logs in with the right password only, and keeps passwords out of the journal', async () => {
    const ftp = await start({ users: { backup: 'hunter2' } });
    const c = await client(ftp);
    expect(await c.reply()).toBe('220 Scripted server ready.');
    expect(await c.command('PWD')).toMatch(/^530 /);
    await c.command('USER backup');
    expect(await c.command('PASS wrong')).toMatch(/^530 /);
    await c.command('USER backup');
    expect(await c.command('PASS hunter2')).toMatch(/^230 /);
    expect(ftp.journal.logins).toBe(1);
    expect(JSON.stringify(ftp.journal.commands)).not.toContain('hunter2');
    expect(ftp.journal.verbs()).toEqual(['PWD', 'USER', 'PASS', 'USER', 'PASS']);
    expect(ftp.journal.of('PASS')[1]?.replies).toEqual(['230 Login successful.']);
  });

  test('stores, appends, restarts, sends, renames and deletes real files', async () => {
    const ftp = await start({ home: '/home/backup' });
    const c = await loggedIn(ftp);
    expect(await c.command('PWD')).toBe('257 "/home/backup" is the current directory');
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
    expect(await c.upload('a.bin', bytes)).toEqual(['150 Ok to go.', '226 Transfer complete.']);
    expect((await readFile(directory.join('home/backup/a.bin'))).equals(bytes)).toBe(true);
    expect(await c.command('SIZE a.bin')).toBe('213 300000');
    await c.upload('a.bin', 'tail', { verb: 'APPE' });
    await c.command('REST 299998');
    await c.upload('a.bin', 'XY');
    expect((await c.download('RETR a.bin')).content.subarray(299_996).toString('latin1')).toMatch(
      /..XYtail$/s,
    );
    await c.command('REST 300000');
    expect((await c.download('RETR a.bin')).content.toString()).toBe('tail');
    expect(await c.command('RNFR a.bin')).toMatch(/^350 /);
    expect(await c.command('RNTO b "c".bin')).toMatch(/^250 /);
    expect(await c.command('RNTO x')).toMatch(/^503 /);
    expect(await c.command('DELE b "c".bin')).toMatch(/^250 /);
    expect(await c.command('DELE b "c".bin')).toMatch(/^550 /);
    expect(await c.command('MKD odd "dir"')).toBe('257 "/home/backup/odd ""dir""" created');
    expect(await c.command('CWD odd "dir"')).toMatch(/^250 /);
    expect(await c.command('PWD')).toBe('257 "/home/backup/odd ""dir""" is the current directory');
    expect(await c.command('CDUP')).toMatch(/^250 /);
    expect(await c.command('RMD odd "dir"')).toMatch(/^250 /);
    expect(ftp.journal.receivedBytes).toBe(300_006);
    expect(ftp.journal.stored).toBe(3);
  });

  test('a REST holds for the next transfer only', async () => {
    const ftp = await start();
    await writeFile(directory.join('a'), '0123456789');
    const c = await loggedIn(ftp);
    await c.command('REST 4');
    expect((await c.download('RETR a')).content.toString()).toBe('456789');
    expect((await c.download('RETR a')).content.toString()).toBe('0123456789');
  });

  test('lists in every style', async () => {
    const ftp = await start();
    await writeFile(directory.join('a b.txt'), 'hello');
    await utimes(directory.join('a b.txt'), 1_600_000_000, 1_600_000_000.25);
    await mkdir(directory.join('sub'));
    const c = await loggedIn(ftp);
    const mlsd = (await c.download('MLSD')).content.toString().split('\r\n');
    expect(mlsd).toHaveLength(5);
    expect(mlsd[0]).toMatch(/^type=cdir;.* \.$/);
    expect(mlsd[2]).toMatch(/^type=file;size=5;modify=20200913122640;perm=\w+;UNIX\.mode=0\d{3}; a b\.txt$/);
    expect(mlsd[3]).toMatch(/^type=dir;modify=.* sub$/);
    const list = (await c.download('LIST -a')).content.toString();
    expect(list).toMatch(/^-rw.{7} +1 1000 +1000 +5 Sep 13 {2}2020 a b\.txt\r\nd.* sub\r\n$/);
    expect((await c.download('NLST')).content.toString()).toBe('a b.txt\r\nsub\r\n');
    expect(await c.command('MLST a b.txt')).toMatch(
      /^250-Listing\r\n type=file;size=5;.* \/a b\.txt\r\n250 End$/,
    );
    expect(await c.command('OPTS MLST size;type;')).toBe('200 MLST OPTS type;size;');
    expect(await c.command('MLST a b.txt')).toContain('\r\n type=file;size=5; /a b.txt\r\n');
    expect(await c.command('STAT sub')).toMatch(/^213-/);
    expect((await c.download('LIST nowhere')).replies).toEqual(['550 No such file or directory. (ENOENT)']);
    expect(ftp.journal.listings).toBe(4);
  });

  test('lists as DOS does, truncates as Pure-FTPd does, and can call the missing empty', async () => {
    const ftp = await start({
      listing: 'dos',
      listingLimit: 1,
      missingListing: 'empty',
      fractionalTimes: true,
    });
    await writeFile(directory.join('a'), 'hello');
    await writeFile(directory.join('b'), 'hello');
    await utimes(directory.join('a'), 1_600_000_000, 1_600_000_000.25);
    const c = await loggedIn(ftp);
    const { replies, content } = await c.download('LIST');
    expect(content.toString()).toBe('09-13-20  12:26PM                    5 a\r\n');
    expect(replies[1]).toBe('226-Options: -l\r\n226 Output truncated to 1 matches');
    expect((await c.download('LIST nowhere')).replies[1]).toMatch(/^226 /);
    expect(await c.command('MDTM a')).toBe('213 20200913122640.250');
  });

  test('sets times in four ways', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    await c.upload('a b', 'x');
    const times = async (line: string) => {
      expect(await c.command(line)).toMatch(/^2/);
      return (await stat(directory.join('a b'))).mtimeMs / 1000;
    };
    expect(await times('MFMT 20200913122640 a b')).toBe(1_600_000_000);
    expect(await times('MDTM 20200913122641 a b')).toBe(1_600_000_001);
    expect(await times('SITE UTIME 20200913122642 a b')).toBe(1_600_000_002);
    expect(await times('SITE UTIME a b 20200913122643 20200913122643 20200913122643 UTC')).toBe(
      1_600_000_003,
    );
    expect(await c.command('MDTM a b')).toBe('213 20200913122643');
    expect(await c.command('SITE CHMOD 600 a b')).toMatch(/^200 /);
    expect((await stat(directory.join('a b'))).mode & 0o777).toBe(0o600);
  });

  test('hashes, once switched on', async () => {
    const ftp = await start({ features: { HASH: true, XCRC: true, XMD5: true, XSHA1: true, XSHA256: true } });
    await writeFile(directory.join('a'), 'abc');
    const c = await loggedIn(ftp);
    expect(await c.command('HASH a')).toBe(
      '213 SHA-256 0-3 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a',
    );
    expect(await c.command('OPTS HASH MD5')).toBe('200 MD5');
    expect(await c.command('HASH a')).toBe('213 MD5 0-3 900150983cd24fb0d6963f7d28e17f72 a');
    expect(await c.command('XCRC a')).toBe('250 352441C2');
    expect(await c.command('XCRC "a" 0 3')).toBe('250 352441C2');
    expect(await c.command('XMD5 a')).toBe('250 900150983CD24FB0D6963F7D28E17F72');
    expect(await c.command('XSHA1 a')).toBe('250 A9993E364706816ABA3E25717850C26C9CD0D89D');
    expect(await c.command('FEAT')).toContain('\r\n HASH SHA-256;SHA-512;SHA-1;MD5*;CRC32\r\n');
  });

  test('a feature that is off is an unknown command', async () => {
    const ftp = await start(serverLike('printer'));
    const c = await loggedIn(ftp);
    for (const line of ['FEAT', 'SIZE a', 'MLSD', 'EPSV', 'MDTM a']) {
      expect(await c.command(line)).toBe('502 Command not implemented.');
    }
    expect(await c.command('PASV')).toMatch(/^227 /);
    const second = await client(ftp);
    expect(await second.reply()).toMatch(/^421 /);
    expect(await second.over()).toBe('end');
  });

  test('nothing outside the root is read or written', async () => {
    const outside = await temporaryDirectory('outside');
    try {
      await writeFile(outside.join('secret'), 'secret');
      await mkdir(directory.join('root'));
      await symlink(outside.path, directory.join('root/link'));
      await symlink(outside.join('secret'), directory.join('root/file'));
      await symlink(outside.join('new'), directory.join('root/dangling'));
      server = await startFtpServer({ root: directory.join('root') });
      const c = await loggedIn(server);
      expect((await c.download('RETR ../../etc/passwd')).replies[0]).toMatch(/^550 /);
      expect((await c.download('RETR link/secret')).replies[0]).toMatch(/^550 /);
      expect((await c.download('RETR file')).replies[0]).toMatch(/^550 /);
      expect((await c.upload('link/new', 'x'))[0]).toMatch(/^553 /);
      expect((await c.upload('dangling', 'x'))[0]).toMatch(/^553 /);
      expect(await c.command('CWD link')).toMatch(/^550 /);
      expect(await c.command('MKD link/d')).toMatch(/^550 /);
      expect(await c.command('DELE file')).toMatch(/^250 /);
      expect(await readFile(outside.join('secret'), 'utf8')).toBe('secret');
      await expect(stat(outside.join('new'))).rejects.toThrow('ENOENT');
    } finally {
      await outside.remove();
    }
  });

  test('names are bytes', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    for (const name of ['\xff\xfe odd', '\xe2\x82\xac', ' leading', 'trailing ']) {
      expect((await c.upload(name, name))[1]).toMatch(/^226 /);
    }
    const { content } = await c.download('NLST');
    expect(content.toString('latin1')).toBe(' leading\r\ntrailing \r\n\xe2\x82\xac\r\n\xff\xfe odd\r\n');
    expect(ftp.journal.of('STOR')[1]?.argument).toBe('€');
  });

  test('names go wrong the way other servers do it', async () => {
    const pure = await start({ ...serverLike('pure-ftpd') });
    const c = await loggedIn(pure);
    await c.upload(' a\x01 ', 'x');
    expect((await c.download('NLST')).content.toString()).toBe('_a__\r\n');
    await pure.close();
    const py = await start({ ...serverLike('pyftpdlib') });
    const d = await loggedIn(py);
    await d.upload('\xff', 'x');
    expect((await d.download('NLST')).content.toString()).toContain('\ufffd\r\n');
    await py.close();
    const pro = await start({ ...serverLike('proftpd') });
    const e = await loggedIn(pro);
    await e.upload('\xff\xff!', 'x');
    expect((await e.download('NLST')).content.toString('latin1')).toContain('\xff!\r\n');
  });

  test('ASCII mode changes line ends, also across packets', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    await c.command('TYPE A');
    await c.upload('a', 'one\r\ntwo\rthree\r');
    expect(await readFile(directory.join('a'), 'utf8')).toBe('one\ntwo\rthree\r');
    expect((await c.download('RETR a')).content.toString()).toBe('one\r\ntwo\rthree\r');
    expect(await c.command('SIZE a')).toMatch(/^550 /);
  });

  test('IPv6: EPSV works, PASV does not', async () => {
    const ftp = await start({ host: '::1' });
    const c = await loggedIn(ftp);
    expect(await c.command('PASV')).toMatch(/^522 /);
    expect((await c.upload('a', 'x'))[1]).toMatch(/^226 /);
    expect(ftp.url).toBe(`ftp://[::1]:${ftp.port}`);
  });

  test('IIS does not rename onto a file', async () => {
    const ftp = await start(serverLike('iis'));
    const c = await loggedIn(ftp);
    await c.upload('a', 'x');
    await c.upload('b', 'y');
    await c.command('RNFR a');
    expect(await c.command('RNTO b')).toMatch(/^550 .*already exists/);
    expect(await readFile(directory.join('b'), 'utf8')).toBe('y');
  });

  test('active mode reaches the client, and nobody else', async () => {
    const ftp = await start();
    await writeFile(directory.join('a'), 'abc');
    const c = await loggedIn(ftp);
    const listener = createServer();
    const received = new Promise<string>((resolve) => {
      listener.on('connection', (socket) => {
        let text = '';
        socket.on('data', (chunk) => {
          text += chunk.toString();
        });
        socket.on('end', () => resolve(text));
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const address = listener.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    expect(await c.command(`EPRT |1|127.0.0.1|${port}|`)).toMatch(/^200 /);
    expect(await c.command('RETR a')).toMatch(/^150 /);
    expect(await c.reply()).toMatch(/^226 /);
    expect(await received).toBe('abc');
    expect(await c.command('PORT 10,0,0,1,200,1')).toMatch(/^500 /);
    expect(await c.command('PORT 127,0,0,1,0,80')).toMatch(/^500 /);
    await new Promise((resolve) => listener.close(resolve));
  });
});

describe('TLS', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`explicit ${version}: data connections resume, again and again, and only then are they taken`, async () => {
      const ftp = await secured({ requireSessionReuse: true });
      const { ca } = await certificates();
      const c = await loggedIn(ftp, { tls: { ca: ca.cert, minVersion: version, maxVersion: version } });
      for (let i = 0; i < 10; i += 1) {
        const bytes = Buffer.alloc(100_000, i);
        expect((await c.upload('a', bytes))[1]).toMatch(/^226 /);
        expect((await c.download('RETR a')).content.equals(bytes)).toBe(true);
      }
      expect(ftp.journal.dataConnections).toBe(20);
      expect(ftp.journal.resumedDataConnections).toBe(20);
      expect((await c.upload('a', 'x', { session: 'fresh' }))[1]).toMatch(/^522 .*reuse/);
      expect(await c.over()).toBe('end');
    });
  }

  test('the session of another control connection is not taken; ProFTPD answers 425 and goes on', async () => {
    const ftp = await secured({ requireSessionReuse: 'proftpd' });
    const { ca } = await certificates();
    const c = await loggedIn(ftp, { tls: { ca: ca.cert } });
    ftp.script({ on: 'STOR', do: { kind: 'noResumption' } });
    expect((await c.upload('a', 'x'))[1]).toMatch(/^425 /);
    expect((await c.upload('a', 'x'))[1]).toMatch(/^226 /);
  });

  test('implicit', async () => {
    const ftp = await start({
      security: 'implicit',
      certificate: (await certificates()).good,
      requireSessionReuse: true,
    });
    const { ca } = await certificates();
    const c = await loggedIn(ftp, { tls: { ca: ca.cert }, implicit: true });
    expect((await c.upload('a', 'x'))[1]).toMatch(/^226 /);
    expect(await c.command('AUTH TLS')).toMatch(/^500 /);
    expect(ftp.url).toMatch(/^ftps:/);
  });

  test('required TLS refuses USER before AUTH, and data without PROT P', async () => {
    const ftp = await secured({ requireTls: true });
    const { ca } = await certificates();
    const c = await client(ftp, { tls: { ca: ca.cert } });
    await c.reply();
    expect(await c.command('USER ferry')).toMatch(/^530 /);
    expect(await c.command('PBSZ 0')).toMatch(/^503 /);
    expect(await c.command('AUTH TLS')).toMatch(/^234 /);
    await c.secure();
    expect(await c.command('PROT P')).toMatch(/^503 /);
    await c.command('USER ferry');
    expect(await c.command('PASS secret')).toMatch(/^230 /);
    expect((await c.upload('a', 'x'))[0]).toMatch(/^522 /);
  });

  test('every certificate is what its name says', async () => {
    const all = await certificates();
    const attempt = async (certificate: 'good' | 'expired' | 'wrongHost' | 'selfSigned') => {
      await using ftp = await startFtpServer({
        root: directory.path,
        security: 'implicit',
        certificate: all[certificate],
      });
      const made = await RawClient.open(ftp.port, { tls: { ca: all.ca.cert }, implicit: true }).catch(
        (error) => error.code,
      );
      if (!(made instanceof RawClient)) return made;
      clients.push(made);
      return await made.reply();
    };
    expect(await attempt('good')).toMatch(/^220 /);
    expect(await attempt('expired')).toBe('CERT_HAS_EXPIRED');
    expect(await attempt('wrongHost')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(await attempt('selfSigned')).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(new Set(Object.values(all).map((each) => each.pin)).size).toBe(6);
    expect(all.good.pin).toMatch(/^sha256\/[A-Za-z0-9+/]{43}=$/);
  });

  test('client certificates are asked for, and only those of the CA do', async () => {
    const { ca, client: mine, selfSigned } = await certificates();
    const ftp = await secured({ clientCa: ca.cert });
    const tls = { ca: ca.cert, cert: mine.cert, key: mine.key };
    const c = await loggedIn(ftp, { tls });
    expect((await c.upload('a', 'x'))[1]).toMatch(/^226 /);
    const d = await client(ftp, { tls: { ...tls, cert: selfSigned.cert, key: selfSigned.key } });
    await d.reply();
    await d.command('AUTH TLS');
    await d.secure().catch(() => undefined);
    d.send('NOOP\r\n');
    await expect(d.reply()).rejects.toThrow('Connection over');
  });

  test('plaintext behind AUTH in the same packet is never executed', async () => {
    const ftp = await secured();
    const { ca } = await certificates();
    const c = await client(ftp, { tls: { ca: ca.cert } });
    await c.reply();
    c.send('AUTH TLS\r\nMKD injected\r\n');
    expect(await c.reply()).toMatch(/^234 /);
    await c.secure();
    expect(await c.command('NOOP')).toMatch(/^200 /);
    expect(c.rest).toBe('');
  });
});

describe('the wire', () => {
  test('many commands in one packet, and one command in many', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    await c.upload('a', 'x');
    const before = ftp.journal.commands.length;
    c.send('RNFR a\r\nRNTO b\r\nRNTO c\r\nSIZE b\nNOOP\r\nEP');
    const replies = [await c.reply(), await c.reply(), await c.reply(), await c.reply(), await c.reply()];
    expect(replies.map((reply) => reply.slice(0, 3)).join(' ')).toBe('350 250 503 213 200');
    expect(new Set(ftp.journal.commands.slice(before).map((command) => command.packet)).size).toBe(1);
    for (const byte of 'SV\r\n') {
      c.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await c.reply()).toMatch(/^229 /);
  });

  test('two round trips a file: publish, size, STOR and the next EPSV travel together, data before the 150', async () => {
    const ftp = await secured({ requireSessionReuse: true });
    const { ca } = await certificates();
    const c = await loggedIn(ftp, { tls: { ca: ca.cert } });
    let port = await c.passive();
    for (let i = 0; i < 20; i += 1) {
      const socket = await c.connectData(port);
      const publish = i > 0 ? `SIZE ${i - 1}.tmp\r\nRNFR ${i - 1}.tmp\r\nRNTO ${i - 1}\r\n` : '';
      c.send(`${publish}STOR ${i}.tmp\r\nEPSV\r\n`);
      const stream = await c.secureData(socket);
      stream.resume();
      stream.end(`content ${i}`);
      if (i > 0) for (const code of ['213', '350', '250']) expect((await c.reply()).slice(0, 3)).toBe(code);
      for (const code of ['150', '226']) expect((await c.reply()).slice(0, 3)).toBe(code);
      port = Number(/\|\|\|(\d+)\|/.exec(await c.reply())?.[1]);
    }
    expect(await readFile(directory.join('18'), 'utf8')).toBe('content 18');
    expect(ftp.journal.stored).toBe(20);
  });

  test('STOR that never gets its data connection is 425', async () => {
    const ftp = await start({ dataTimeoutMs: 50 });
    const c = await loggedIn(ftp);
    expect(await c.command('STOR a')).toMatch(/^425 Use PASV/);
    await c.passive();
    expect(await c.command('STOR a')).toMatch(/^425 Failed/);
    expect(await c.command('NOOP')).toMatch(/^200 /);
  });

  test('a second EPSV closes the first port', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    const first = await c.passive();
    await c.passive();
    await expect(c.connectData(first)).rejects.toThrow('ECONNREFUSED');
  });

  test('ABOR stops a transfer', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    const port = await c.passive();
    c.send('STOR a\r\n');
    const socket = await c.connectData(port);
    expect(await c.reply()).toMatch(/^150 /);
    socket.write('half');
    await ftp.until((journal) => journal.receivedBytes === 4);
    c.send('\xff\xf4\xff\xf2ABOR\r\n');
    expect(await c.reply()).toMatch(/^426 /);
    expect(await c.reply()).toMatch(/^226 /);
    expect(await readFile(directory.join('a'), 'utf8')).toBe('half');
  });

  test('a client that dies in mid-upload leaves a short file, and what it had pipelined is still executed', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    const socket = await c.connectData(await c.passive());
    c.send('STOR a.tmp\r\nRNFR a.tmp\r\nRNTO a\r\n');
    await c.reply();
    socket.write('half');
    await ftp.until((journal) => journal.receivedBytes === 4);
    socket.resetAndDestroy();
    c.end();
    expect(await c.reply()).toMatch(/^426 /);
    expect(await c.over()).toBe('end');
    expect(await readFile(directory.join('a'), 'utf8')).toBe('half');
    await ftp.until((journal) => journal.open === 0);
  });

  test('during a transfer ProFTPD answers 450 at once, Pure-FTPd 500, pyftpdlib kills it', async () => {
    const replies = async (like: 'proftpd' | 'pure-ftpd' | 'pyftpdlib', line: string) => {
      await using ftp = await startFtpServer({ root: directory.path, ...serverLike(like) });
      const c = await loggedIn(ftp);
      const socket = await c.connectData(await c.passive());
      c.send('STOR a\r\n');
      const found = [await c.reply()];
      socket.write('x');
      await ftp.until((journal) => journal.receivedBytes === 1);
      c.send(`${line}\r\nPWD\r\n`);
      found.push(await c.reply());
      if (like === 'pyftpdlib') found.push(await c.reply());
      socket.end();
      if (like === 'proftpd') found.push(await c.reply());
      if (like !== 'pyftpdlib') found.push(await c.reply());
      return found.map((reply) => reply.slice(0, 3)).join(' ');
    };
    expect(await replies('proftpd', 'NOOP')).toBe('150 450 450 226');
    expect(await replies('pure-ftpd', 'NOOP')).toBe('150 500 226');
    expect(await replies('pyftpdlib', 'EPSV')).toBe('150 229 257');
  });

  test('idle clients are told and dropped', async () => {
    const ftp = await start({ idleMs: 50 });
    const c = await client(ftp);
    await c.reply();
    expect(await c.reply()).toBe('421 Timeout.');
    expect(await c.over()).toBe('end');
  });

  test('one connection too many, at the greeting and at the login', async () => {
    const ftp = await start({ maxConnections: 1, tooManyAt: 'login' });
    await loggedIn(ftp);
    const c = await client(ftp);
    expect(await c.login()).toMatch(/^530 .*too many/);
    expect(ftp.journal.peakOpen).toBe(2);
    await c.over();
    await ftp.until((journal) => journal.open === 1);
  });

  test('a batch of commands gets the same replies however it is torn', async () => {
    const ftp = await start();
    const batch = 'USER ferry\r\nPASS secret\r\nMKD d\r\nRMD d\r\nRNFR x\r\nRNTO y\r\nFEAT\r\nQUIT\r\n';
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: batch.length - 1 }), { maxLength: 6 }),
        async (cuts) => {
          await using c = await RawClient.open(ftp.port);
          let from = 0;
          for (const cut of [...cuts.sort((a, b) => a - b), batch.length]) {
            c.send(batch.slice(from, cut));
            from = cut;
            await new Promise((resolve) => setImmediate(resolve));
          }
          await c.over();
          expect((c.rest.match(/^\d{3} /gm) ?? []).join('')).toBe('220 331 230 257 250 550 503 211 221 ');
        },
      ),
      { numRuns: 30 },
    );
  });

  for (const scheme of ['plain', 'explicit'] as const) {
    test(`${scheme}: an upload that the client resets is never taken for a whole one`, async () => {
      const ftp = scheme === 'plain' ? await start() : await secured();
      const { ca } = await certificates();
      const c = await loggedIn(ftp, scheme === 'plain' ? {} : { tls: { ca: ca.cert } });
      for (let i = 0; i < 20; i += 1) {
        const socket = await c.connectData(await c.passive());
        c.send('STOR a\r\n');
        await c.reply();
        const stream = await c.secureData(socket);
        await new Promise((resolve) => stream.write(Buffer.alloc(5000 * i), resolve));
        socket.resetAndDestroy();
        expect(await c.reply()).toMatch(/^426 /);
      }
      expect(ftp.journal.stored).toBe(0);
    });
  }

  test('words nobody asked for', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    await ftp.push('421 Going down.');
    expect(await c.reply()).toBe('421 Going down.');
    ftp.drop('reset');
    expect(await c.over()).toBe('error');
    expect(c.errorCode).toBe('ECONNRESET');
  });
});

describe('faults', () => {
  async function scripted(rule: Rule, options: Omit<FtpServerOptions, 'root'> = {}) {
    const ftp = await start(options);
    const set = ftp.script(rule);
    const c = await loggedIn(ftp);
    return { ftp, c, set };
  }

  test('nth, times, every, path and connection decide when a rule fires', async () => {
    const { ftp, c, set } = await scripted({
      on: 'MKD',
      nth: 2,
      times: 2,
      do: { kind: 'reply', text: '550 No.' },
    });
    const answers = [];
    for (const name of ['a', 'b', 'c', 'd']) answers.push((await c.command(`MKD ${name}`)).slice(0, 3));
    expect(answers.join(' ')).toBe('257 550 550 257');
    expect([set.matched, set.fired]).toEqual([4, 2]);
    set.remove();
    ftp.script({ on: /^SIZE .*z$/, nth: 'every', times: 1, do: { kind: 'reply', text: '550 z' } });
    ftp.script({ on: 'SIZE', path: '/a/*.gz', nth: 'every', do: { kind: 'reply', text: '550 glob' } });
    ftp.script({ on: 'SIZE', path: /^\/d\//, nth: 'every', do: { kind: 'reply', text: '550 expression' } });
    ftp.script({ on: 'NOOP', connection: 2, do: { kind: 'reply', text: '500 not you' } });
    expect(await c.command('SIZE xz')).toBe('550 z');
    expect(await c.command('SIZE xz')).toMatch(/^550 Could/);
    await c.command('CWD a');
    expect(await c.command('SIZE x.gz')).toBe('550 glob');
    expect(await c.command('SIZE ../d/x.gz')).toBe('550 expression');
    expect(await c.command('SIZE ../x.gz')).toMatch(/^550 Could/);
    expect(await c.command('NOOP')).toMatch(/^200 /);
    const d = await loggedIn(ftp);
    expect(await d.command('NOOP')).toBe('500 not you');
    ftp.behave();
    expect(await c.command('SIZE x.gz')).toMatch(/^550 Could/);
    expect(() => ftp.script({ on: 'Stor', do: [] })).toThrow('VERB');
  });

  test('a reply in place of a command, of its mark, of its final reply, and behind it', async () => {
    const { ftp, c } = await scripted({ on: 'STOR', do: { kind: 'reply', text: '452 Full.' } });
    expect(await c.upload('a', 'x')).toEqual(['452 Full.']);
    await expect(stat(directory.join('a'))).rejects.toThrow('ENOENT');
    ftp.script({ on: 'STOR', do: { kind: 'reply', text: '125 Now.', at: 'mark' } });
    expect(await c.upload('a', 'x')).toEqual(['125 Now.', '226 Transfer complete.']);
    ftp.script({ on: 'STOR', do: { kind: 'reply', text: '451-Oh\nno\n451 dear', at: 'final' } });
    expect((await c.upload('b', 'x'))[1]).toBe('451-Oh\r\nno\r\n451 dear');
    expect(await readFile(directory.join('b'), 'utf8')).toBe('x');
    ftp.script({ on: 'NOOP', do: { kind: 'reply', text: '226 Again.', at: 'after' } });
    expect(await c.command('NOOP')).toMatch(/^200 /);
    expect(await c.reply()).toBe('226 Again.');
  });

  test('exact bytes, torn replies, other line ends, replies held back, more replies than asked for', async () => {
    const { ftp, c } = await scripted({
      on: 'NOOP',
      do: { kind: 'bytes', pieces: ['200 ', { pauseMs: 5 }, 'slow\r', '\n'] },
    });
    expect(await c.command('NOOP')).toBe('200 slow');
    ftp.script({ on: 'NOOP', do: { kind: 'split', offsets: 'every-byte', pauseMs: 1 } });
    const reads: number[] = [];
    c.raw.on('data', (chunk) => reads.push(chunk.length));
    expect(await c.command('NOOP')).toBe('200 NOOP ok.');
    expect(reads.length).toBeGreaterThan(3);
    ftp.script({ on: 'FEAT', do: { kind: 'lineEnding', ending: '\n' } });
    expect(await c.command('FEAT')).not.toContain('\r');
    ftp.script({ on: 'NOOP', do: { kind: 'holdBack' } });
    reads.length = 0;
    c.send('NOOP\r\nNOOP\r\n');
    expect([await c.reply(), await c.reply()]).toEqual(['200 NOOP ok.', '200 NOOP ok.']);
    expect(reads).toHaveLength(1);
    ftp.script({
      on: 'NOOP',
      do: [{ kind: 'doubleFinal' }, { kind: 'prepend', bytes: '220-x\r\n220 y\r\n' }],
    });
    expect([await c.command('NOOP'), await c.reply(), await c.reply()]).toEqual([
      '220-x\r\n220 y',
      '200 NOOP ok.',
      '200 NOOP ok.',
    ]);
    ftp.script({ on: 'NOOP', do: { kind: 'noFinalReply' } });
    c.send('NOOP\r\n');
    expect(await c.command('PWD')).toMatch(/^257 /);
  });

  test('the greeting and the connection itself', async () => {
    const ftp = await start();
    ftp.script({ on: 'connect', do: { kind: 'reset' } });
    ftp.script({ on: 'connect', nth: 2, do: { kind: 'hang' } });
    ftp.script({ on: 'greeting', nth: 1, do: { kind: 'reply', text: '120 Later.', at: 'start' } });
    ftp.script({ on: 'greeting', nth: 2, do: { kind: 'cut', atByte: 2, ending: 'close' } });
    const a = await RawClient.open(ftp.port).catch(() => undefined);
    if (a !== undefined) expect(await a.over()).toBe('error');
    const b = await client(ftp);
    b.send('USER ferry\r\n');
    await ftp.waitFor('USER');
    expect(b.rest).toBe('');
    b.end();
    await b.over();
    expect(await (await client(ftp)).reply()).toBe('120 Later.');
    const d = await client(ftp);
    expect(await d.over()).toBe('end');
    expect(d.rest).toBe('22');
    await ftp.until((journal) => journal.open === 1);
  });

  test('the control connection ends at any byte, either way', async () => {
    const ftp = await start();
    for (let bytes = 1; bytes <= 60; bytes += 7) {
      for (const how of ['reset', 'close'] as const) {
        const rule = ftp.script({ on: 'connect', do: { kind: 'dropAfter', sentBytes: bytes, how } });
        const c = await client(ftp).catch(() => undefined);
        c?.send('USER ferry\r\nPASS secret\r\nPWD\r\n');
        expect(c === undefined ? 'error' : await c.over()).toBe(how === 'close' ? 'end' : 'error');
        if (how === 'close') expect(c?.rest).toHaveLength(bytes);
        rule.remove();
      }
    }
    ftp.script({ on: 'connect', do: { kind: 'dropAfter', commands: 2, how: 'close' } });
    const c = await client(ftp);
    c.send('NOOP\r\nNOOP\r\nNOOP\r\n');
    expect(await c.over()).toBe('end');
    expect(c.rest.match(/200/g)).toHaveLength(2);
    ftp.script({ on: 'connect', do: { kind: 'dropAfter', receivedBytes: 6 + 4 } });
    const d = await client(ftp);
    d.send('NOOP\r\nNOOP\r\n');
    expect(await d.over()).toBe('error');
  });

  test('a reply in several lines; all that is said torn at a byte', async () => {
    const { c, ftp } = await scripted({
      on: 'PWD',
      nth: 'every',
      do: { kind: 'multiline', lines: ['250 x', '', ' y'] },
    });
    expect(await c.command('PWD')).toBe('257-\r\n250 x\r\n\r\n y\r\n257 "/" is the current directory');
    for (const sentBytes of [1, 28, 30, 40]) {
      ftp.script({ on: 'connect', do: { kind: 'tearAfter', sentBytes, pauseMs: 20 } });
      const began = performance.now();
      const d = await client(ftp);
      expect(await d.reply()).toBe('220 Scripted server ready.');
      expect(await d.command('NOOP')).toMatch(/^200 /);
      expect(performance.now() - began).toBeGreaterThan(15);
    }
  });

  test('the control connection ends in the middle of the data, and the data with it', async () => {
    const { ftp, c } = await scripted({ on: 'STOR', do: { kind: 'controlEnd', atByte: 1000, how: 'close' } });
    await expect(c.upload('a', Buffer.alloc(200_000))).rejects.toThrow();
    expect((await stat(directory.join('a'))).size).toBe(1000);
    const d = await loggedIn(ftp);
    ftp.script({ on: 'STOR', do: { kind: 'controlEnd', atByte: 1000, how: 'hang' } });
    void d.upload('b', Buffer.alloc(200_000)).catch(() => undefined);
    await ftp.until((journal) => journal.stored === 1);
    expect((await stat(directory.join('b'))).size).toBe(200_000);
    expect(d.rest).toBe('');
  });

  test('uploads: reset, closed short with a 226, cut silently, corrupted, stalled', async () => {
    const { ftp, c } = await scripted({ on: 'STOR', do: { kind: 'dataReset', atByte: 100_000 } });
    const bytes = Buffer.alloc(200_000, 'a');
    const size = async () => (await stat(directory.join('a'))).size;
    expect((await c.upload('a', bytes))[1]).toMatch(/^426 /);
    expect(await size()).toBe(100_000);
    ftp.script({ on: 'STOR', do: { kind: 'dataClose', atByte: 7 } });
    expect((await c.upload('a', bytes))[1]).toMatch(/^226 /);
    expect(await size()).toBe(7);
    ftp.script({ on: 'STOR', do: { kind: 'dataClose', atByte: 0, reply: '452 Full.' } });
    expect((await c.upload('a', bytes))[1]).toBe('452 Full.');
    expect(await size()).toBe(0);
    ftp.script({ on: 'STOR', do: { kind: 'storeShort', sizeBytes: 65_537 } });
    expect((await c.upload('a', bytes))[1]).toMatch(/^226 /);
    expect(await size()).toBe(65_537);
    ftp.script({ on: 'STOR', do: { kind: 'corrupt', atByte: 150_000 } });
    expect((await c.upload('a', bytes))[1]).toMatch(/^226 /);
    const corrupted = await readFile(directory.join('a'));
    expect(corrupted).toHaveLength(200_000);
    expect([...corrupted].findIndex((byte) => byte !== 97)).toBe(150_000);
    ftp.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 1000, ms: 60 } });
    const began = performance.now();
    expect((await c.upload('a', bytes))[1]).toMatch(/^226 /);
    expect(performance.now() - began).toBeGreaterThan(55);
    expect(await size()).toBe(200_000);
    ftp.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 1000 } });
    const before = ftp.journal.receivedBytes;
    void c.upload('a', bytes).catch(() => undefined);
    await ftp.until((journal) => journal.receivedBytes === before + 1000);
    expect(await size()).toBe(1000);
  });

  test('uploads: no final reply, the final reply first, two of them, silence at the mark', async () => {
    const { ftp, c } = await scripted({ on: 'STOR', do: { kind: 'finalReplyFirst', before: 'mark' } });
    const port = await c.passive();
    c.send('STOR a\r\n');
    const socket = await c.connectData(port);
    expect([await c.reply(), await c.reply()]).toEqual(['226 Transfer complete.', '150 Ok to go.']);
    socket.end('late');
    await ftp.until((journal) => journal.stored === 1);
    expect(await c.command('NOOP')).toMatch(/^200 /);
    ftp.script({ on: 'STOR', do: { kind: 'doubleFinal' } });
    expect((await c.upload('b', 'x'))[1]).toMatch(/^226 /);
    expect(await c.reply()).toMatch(/^226 /);
    ftp.script({ on: 'STOR', do: { kind: 'noFinalReply' } });
    const next = await c.passive();
    c.send('STOR c\r\n');
    (await c.connectData(next)).end('kept');
    expect(await c.reply()).toMatch(/^150 /);
    await ftp.until((journal) => journal.stored === 3);
    expect(await c.command('SIZE c')).toBe('213 4');
    ftp.script({ on: 'STOR', do: { kind: 'hang', at: 'mark' } });
    const last = await c.passive();
    c.send('STOR d\r\nNOOP\r\n');
    (await c.connectData(last)).end('never read');
    await ftp.until((journal) => journal.dataConnections === 4);
    c.end();
    await c.over();
    expect(c.rest).toBe('');
    expect(ftp.journal.stored).toBe(3);
  });

  test('downloads: reset, short, replaced, refused', async () => {
    await writeFile(directory.join('a'), Buffer.alloc(200_000, 'a'));
    const { ftp, c } = await scripted({ on: 'RETR', do: { kind: 'dataReset', atByte: 1000 } });
    const reset = await c.download('RETR a');
    expect([reset.ended, reset.replies[1]?.slice(0, 3)]).toEqual(['error', '426']);
    ftp.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 1000 } });
    const short = await c.download('RETR a');
    expect([short.ended, short.content.length, short.replies[1]?.slice(0, 3)]).toEqual(['end', 1000, '226']);
    ftp.script({ on: 'LIST', do: { kind: 'content', bytes: 'nonsense\r\n' } });
    expect((await c.download('LIST')).content.toString()).toBe('nonsense\r\n');
    ftp.script({ on: 'SIZE', do: { kind: 'wrongSize', addBytes: -1 } });
    expect(await c.command('SIZE a')).toBe('213 199999');
    ftp.script({ on: 'EPSV', do: { kind: 'refuseData' } });
    await expect(c.connectData(await c.passive())).rejects.toThrow('ECONNREFUSED');
    ftp.script({ on: 'data', do: { kind: 'reset' } });
    await expect(c.download('RETR a')).resolves.toMatchObject({ replies: [expect.stringMatching(/^425 /)] });
  });

  test('TLS: bytes behind the 234, a handshake that is none, no close_notify', async () => {
    await writeFile(directory.join('a'), 'abc');
    const ftp = await secured();
    const { ca } = await certificates();
    ftp.script({ on: 'AUTH', do: { kind: 'inject', bytes: '230 You are in.\r\n' } });
    const c = await client(ftp, { tls: { ca: ca.cert } });
    await c.reply();
    expect(await c.command('AUTH TLS')).toMatch(/^234 /);
    expect(c.rest).toBe('230 You are in.\r\n');
    await c.secure();
    ftp.script({ on: 'tls', do: { kind: 'bytes', pieces: 'HTTP/1.1 400 Bad Request\r\n' } });
    const d = await client(ftp, { tls: { ca: ca.cert } });
    await d.reply();
    await d.command('AUTH TLS');
    await expect(d.secure()).rejects.toThrow();
    const e = await loggedIn(ftp, { tls: { ca: ca.cert } });
    const lastRecord = async (fault: readonly Fault[]) => {
      ftp.script({ on: 'RETR', do: fault });
      const port = await e.passive();
      e.send('RETR a\r\n');
      const socket = await e.connectData(port);
      await e.reply();
      let received = 0;
      const stream = await e.secureData(socket);
      stream.resume();
      await new Promise((resolve) => stream.once('close', resolve).once('end', resolve));
      received = socket.bytesRead;
      await e.reply();
      socket.destroy();
      return received;
    };
    const bare = await lastRecord([{ kind: 'noCloseNotify' }]);
    const proper = await lastRecord([]);
    expect(proper).toBeGreaterThan(bare);
  });

  test('TLS on the data connection: reset, closed, answered with nonsense, never answered', async () => {
    const ftp = await secured();
    const { ca } = await certificates();
    const c = await loggedIn(ftp, { tls: { ca: ca.cert } });
    for (const kind of ['reset', 'close'] as const) {
      ftp.script({ on: 'data-tls', do: { kind } });
      expect((await c.upload('a', 'x'))[1]).toMatch(/^425 /);
    }
    ftp.script({ on: 'data-tls', do: { kind: 'bytes', pieces: '500 nonsense\r\n' } });
    expect((await c.upload('a', 'x'))[1]).toMatch(/^425 /);
    expect((await c.upload('a', 'x'))[1]).toMatch(/^226 /);
    ftp.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 10 } });
    expect((await c.upload('a', Buffer.alloc(1000)))[1]).toMatch(/^426 /);
    expect((await stat(directory.join('a'))).size).toBe(10);
    ftp.script({ on: 'STOR', do: { kind: 'cut', atByte: 5, ending: 'reset', of: 'mark' } });
    await expect(c.upload('a', 'x')).rejects.toThrow('Connection over');
    ftp.script({ on: 'tls', do: { kind: 'hang' } });
    const d = await client(ftp, { tls: { ca: ca.cert } });
    await d.reply();
    await d.command('AUTH TLS');
    const never = d.secure().catch(() => undefined);
    d.raw.destroy();
    await never;
    await ftp.until((journal) => journal.open === 0);
    ftp.script({ on: 'data-tls', do: { kind: 'hang' } });
    const e = await loggedIn(ftp, { tls: { ca: ca.cert } });
    void e.upload('a', 'x').catch(() => undefined);
    await ftp.waitFor('STOR', { nth: 7 });
    await ftp.close();
  });

  test('the hook runs before the command does, and the reply hook before the reply', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    const seen: string[] = [];
    const off = ftp.on('command', (verb, argument) =>
      seen.push(`${verb} ${argument} ${existsSync(directory.join('d'))}`),
    );
    ftp.on('reply', (text, verb) =>
      seen.push(`${verb} ${text.slice(0, 3)} ${existsSync(directory.join('d'))}`),
    );
    await c.command('MKD d');
    off();
    await c.command('NOOP');
    expect(seen).toEqual(['MKD d false', 'MKD 257 true', 'NOOP 200 true']);
  });

  test('waiting ends with the condition, with the time, and with the server', async () => {
    const ftp = await start();
    const c = await loggedIn(ftp);
    const waiting = ftp.waitFor('MKD', { argument: /^b$/ });
    await c.command('MKD a');
    await c.command('MKD b');
    await waiting;
    await expect(ftp.waitFor('RMD', { timeoutMs: 20 })).rejects.toThrow(/in vain[\s\S]*MKD b -> 257/);
    const never = expect(ftp.waitFor('RMD')).rejects.toThrow('closed');
    await ftp.close();
    await never;
  });
});

test('closing leaves nothing open, whatever was going on', async () => {
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
  const before = sockets();
  const ftp = await secured();
  const { ca } = await certificates();
  ftp.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 0 } });
  ftp.script({ on: 'connect', nth: 2, do: { kind: 'hang' } });
  ftp.script({ on: 'NOOP', do: { kind: 'delay', ms: 100_000 } });
  const a = await loggedIn(ftp, { tls: { ca: ca.cert } });
  void a.upload('a', 'x').catch(() => undefined);
  await client(ftp);
  const b = await loggedIn(ftp);
  b.send('NOOP\r\n');
  const e = await loggedIn(ftp);
  await e.passive();
  await ftp.until((journal) => journal.of('STOR').length === 1 && journal.of('NOOP').length === 1);
  await ftp.close();
  expect(ftp.journal.open).toBe(0);
  await expect(RawClient.open(ftp.port)).rejects.toThrow('ECONNREFUSED');
  for (const each of clients) each.close();
  await expect.poll(sockets).toBeLessThanOrEqual(before);
});

const curl = ['/usr/bin/curl', '/usr/local/bin/curl'].find((path) => existsSync(path));

describe.skipIf(curl === undefined)('curl', () => {
  const run = async (...args: string[]) =>
    (await promisify(execFile)(curl ?? 'curl', ['--silent', '--show-error', '--max-time', '20', ...args]))
      .stdout;

  for (const scheme of ['ftp', 'ftpes', 'ftps'] as const) {
    test(`${scheme}: uploads, lists and downloads`, async () => {
      const { good, ca } = await certificates();
      const security = scheme === 'ftp' ? 'plain' : scheme === 'ftpes' ? 'explicit' : 'implicit';
      const ftp = await start({ security, certificate: good, requireTls: security === 'explicit' });
      const files = await temporaryDirectory('curl');
      try {
        const bytes = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 7) % 256));
        await writeFile(files.join('up'), bytes);
        await writeFile(files.join('ca.pem'), ca.cert);
        const url = `${scheme === 'ftps' ? 'ftps' : 'ftp'}://localhost:${ftp.port}`;
        const common = ['--user', 'ferry:secret', '--cacert', files.join('ca.pem'), '-4'];
        if (scheme === 'ftpes') common.push('--ssl-reqd');
        await run(...common, '--ftp-create-dirs', '-T', files.join('up'), `${url}/a/b/file`);
        await run(...common, '-o', files.join('down'), `${url}/a/b/file`);
        expect((await readFile(files.join('down'))).equals(bytes)).toBe(true);
        expect(await run(...common, '--list-only', `${url}/a/`)).toBe('b\n');
        expect(await run(...common, `${url}/a/b/`)).toMatch(/1000000 .* file/);
      } finally {
        await files.remove();
      }
    });
  }
});
