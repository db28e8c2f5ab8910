/*
 * The scripted SFTP server is tested before anything is tested against it: with ssh2's own client, which is not the one
 * that it is made for, and with bytes written by hand where that client is too polite.
 */
import { once } from 'node:events';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ClientChannel, ConnectConfig, FileEntryWithStats, SFTPWrapper } from 'ssh2';
import ssh2 from 'ssh2';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sshKey } from './sftp-server/keys.js';
import { number, string } from './sftp-server/packet.js';
import { type SftpServerOptions, serverLike } from './sftp-server/settings.js';
import { type SftpServer, startSftpServer } from './sftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from './temporary.js';

let directory: TemporaryDirectory;
let server: SftpServer | undefined;
let clients: ssh2.Client[] = [];

beforeEach(async () => {
  directory = await temporaryDirectory('sftp-server');
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await server?.close();
  server = undefined;
  await directory.remove();
});

async function start(options: Omit<SftpServerOptions, 'root'> = {}): Promise<SftpServer> {
  server = await startSftpServer({ root: directory.path, ...options });
  return server;
}

function home(path: string): string {
  return directory.join(`home/ferry/${path}`);
}

/** A connection that is logged in. */
async function connect(of: SftpServer, options: ConnectConfig = {}): Promise<ssh2.Client> {
  const client = new ssh2.Client();
  clients.push(client);
  client.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error('closed')));
    client.connect({ host: of.address, port: of.port, username: 'ferry', password: 'secret', ...options });
  });
  return client;
}

/** Calls a function of ssh2's that takes a callback. */
function call<T>(work: (done: (error: Error | null | undefined, value: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    work((error, value) => (error === null || error === undefined ? resolve(value) : reject(error)));
  });
}

function sftpOf(client: ssh2.Client): Promise<SFTPWrapper> {
  return call((done) => client.sftp(done));
}

async function session(of: SftpServer): Promise<SFTPWrapper> {
  return sftpOf(await connect(of));
}

/** The bare channel, for bytes that ssh2 would not write, and answers that it would not show. */
class RawSession {
  readonly #channel: Duplex;
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #heard: () => void = () => undefined;

  private constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#heard();
    });
    for (const event of ['end', 'close'])
      channel.once(event, () => {
        this.#ended = true;
        this.#heard();
      });
  }

  static async open(client: ssh2.Client, init: 'greeted' | 'bare' = 'greeted'): Promise<RawSession> {
    const raw = new RawSession(await call<ClientChannel>((done) => client.subsys('sftp', done)));
    if (init === 'greeted') {
      raw.send(Buffer.concat([number(5), Buffer.from([1]), number(3)]));
      expect((await raw.packet())?.[0]).toBe(2);
    }
    return raw;
  }

  send(bytes: Buffer): void {
    this.#channel.write(bytes);
  }

  /** A request: type, id 7, and what follows. */
  request(type: number, ...parts: readonly Buffer[]): void {
    const body = Buffer.concat([Buffer.from([type]), number(7), ...parts]);
    this.send(Buffer.concat([number(body.length), body]));
  }

  /** The next packet without its length, or undefined where the channel ended before it was whole. */
  async packet(): Promise<Buffer | undefined> {
    for (;;) {
      const length = this.#bytes.length < 4 ? undefined : this.#bytes.readUInt32BE();
      if (length !== undefined && this.#bytes.length >= 4 + length) {
        const packet = this.#bytes.subarray(4, 4 + length);
        this.#bytes = this.#bytes.subarray(4 + length);
        return packet;
      }
      if (this.#ended) return undefined;
      await this.#more();
    }
  }

  /** Everything that came, once so many bytes did. */
  async raw(bytes: number): Promise<Buffer> {
    while (this.#bytes.length < bytes && !this.#ended) await this.#more();
    return this.#bytes;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#heard = resolve;
    });
  }
}

/** A request for a path, and the status or type that comes back. */
async function lstat(raw: RawSession, path: string): Promise<Buffer | undefined> {
  raw.request(7, string(path));
  return raw.packet();
}

/** The number of the status that something fails with. */
async function code(work: Promise<unknown>): Promise<unknown> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof Error && 'code' in error ? error.code : error;
}

describe('files and directories', () => {
  test('stores, reads, renames, lists and removes real files', async () => {
    const sftp = await start();
    const client = await session(sftp);
    expect(await call<string>((done) => client.realpath('.', done))).toBe('/home/ferry');
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
    await call<void>((done) => client.writeFile('a.bin', bytes, done));
    expect((await readFile(home('a.bin'))).equals(bytes)).toBe(true);
    expect((await call<Buffer>((done) => client.readFile('a.bin', done))).equals(bytes)).toBe(true);
    await call<void>((done) => client.utimes('a.bin', 1_600_000_000, 1_600_000_000, done));
    await call<void>((done) => client.chmod('a.bin', 0o640, done));
    expect(await stat(home('a.bin'))).toMatchObject({ mtimeMs: 1_600_000_000_000, mode: 0o100640 });
    await call<void>((done) => client.mkdir('sub', done));
    expect(await code(call<void>((done) => client.mkdir('sub', done)))).toBe(4);
    await call<void>((done) => client.rename('a.bin', 'sub/b.bin', done));
    expect(await code(call((done) => client.stat('a.bin', done)))).toBe(2);
    await call<void>((done) => client.writeFile('c', 'c', done));
    expect(await code(call<void>((done) => client.rename('c', 'sub/b.bin', done)))).toBe(4);
    await call<void>((done) => client.ext_openssh_rename('c', 'sub/b.bin', done));
    const entries = await call<FileEntryWithStats[]>((done) => client.readdir('sub', done));
    expect(entries.map(({ filename }) => filename)).toEqual(['b.bin']);
    expect(entries[0]?.attrs.size).toBe(1);
    expect(entries[0]?.longname).toMatch(/^-rw-r--r-- .* b\.bin$/);
    expect(await code(call<void>((done) => client.rmdir('sub', done)))).toBe(4);
    await call<void>((done) => client.unlink('sub/b.bin', done));
    await call<void>((done) => client.rmdir('sub', done));
    expect(await code(call((done) => client.opendir('sub', done)))).toBe(2);
    await sftp.until((journal) => journal.openHandles === 0);
    expect(sftp.journal).toMatchObject({
      logins: 1,
      connections: 1,
      open: 1,
      sessions: 1,
      receivedBytes: 300_001,
    });
    expect(sftp.journal.of('OPEN').map(({ path, answers }) => [path, ...answers])).toContainEqual([
      '/home/ferry/a.bin',
      'HANDLE',
    ]);
    client.end();
    await sftp.until((journal) => journal.openSessions === 0 && journal.open === 1);
  });
});

describe('what it may be told about itself', () => {
  test('links: followed, read, made in either order, and never out of the root', async () => {
    for (const order of ['openssh', 'draft'] as const) {
      const sftp = await start({ symlink: order });
      await writeFile(home(`target-${order}`), 'x');
      await symlink('/etc', home(`out-${order}`));
      await symlink('nowhere', home(`dangling-${order}`));
      const client = await session(sftp);
      const [first, second] = [`target-${order}`, `link-${order}`];
      // ssh2 writes the link first where the server does not say that it is OpenSSH.
      await call<void>((done) =>
        order === 'draft' ? client.symlink(first, second, done) : client.symlink(second, first, done),
      );
      expect(await call<string>((done) => client.readlink(`link-${order}`, done))).toBe(`target-${order}`);
      expect((await call<{ size: number }>((done) => client.stat(`link-${order}`, done))).size).toBe(1);
      expect(await code(call((done) => client.stat(`out-${order}`, done)))).toBe(3);
      expect(await code(call((done) => client.readdir(`out-${order}`, done)))).toBe(3);
      expect(await code(call((done) => client.stat(`dangling-${order}`, done)))).toBe(2);
      await server?.close();
    }
  });

  test('extensions are told and answered, or unknown', async () => {
    const with_ = await start({ extensions: { 'copy-data': true, 'check-file': true } });
    await writeFile(home('a'), 'hello');
    const client = await session(with_);
    const space = await call<unknown>((done) => client.ext_openssh_statvfs('.', done as never));
    expect(space).toMatchObject({ f_namemax: 255 });
    await call<void>((done) => client.ext_openssh_hardlink('a', 'b', done));
    expect((await stat(home('b'))).nlink).toBe(2);
    const handle = await call<Buffer>((done) => client.open('a', 'r+', done));
    await call<void>((done) => client.ext_openssh_fsync(handle, done));
    const raw = await RawSession.open(await connect(with_));
    raw.request(200, string('limits@openssh.com'));
    expect((await raw.packet())?.readBigUInt64BE(5)).toBe(262_144n);
    const zero = Buffer.alloc(8);
    raw.request(200, string('check-file-name'), string('a'), string('sha9,md5'), zero, zero, number(0));
    const told = await raw.packet();
    expect(told?.subarray(5, 12).toString('latin1')).toBe('\0\0\0\u0003md5');
    expect(told?.subarray(12).toString('hex')).toBe('5d41402abc4b2a76b9719d911017c592');
    raw.request(200, string('never@heard.of'));
    expect((await raw.packet())?.readUInt32BE(5)).toBe(8);
    await server?.close();

    const without = await start(serverLike('plain'));
    const plain = await RawSession.open(await connect(without));
    plain.request(200, string('posix-rename@openssh.com'), string('a'), string('c'));
    expect((await plain.packet())?.readUInt32BE(5)).toBe(8);
  });

  test('a server that only reads refuses whatever changes something, and nothing else', async () => {
    const sftp = await start({ readOnly: true });
    await writeFile(home('a'), 'hello');
    const client = await session(sftp);
    expect((await call<Buffer>((done) => client.readFile('a', done))).toString()).toBe('hello');
    for (const work of [
      call<void>((done) => client.writeFile('b', 'x', done)),
      call<void>((done) => client.unlink('a', done)),
      call<void>((done) => client.mkdir('d', done)),
      call<void>((done) => client.rename('a', 'b', done)),
      call<void>((done) => client.ext_openssh_rename('a', 'b', done)),
      call<void>((done) => client.utimes('a', 1, 1, done)),
    ])
      expect(await code(work)).toBe(3);
  });

  test.each([4, 14, 15] as const)(
    'a full disk, in status %i; space comes back by removing',
    async (fullStatus) => {
      const sftp = await start({ capacityBytes: 10_000, fullStatus });
      const client = await session(sftp);
      await call<void>((done) => client.writeFile('a', Buffer.alloc(8_000), done));
      expect(await code(call<void>((done) => client.writeFile('b', Buffer.alloc(8_000), done)))).toBe(
        fullStatus,
      );
      await call<void>((done) => client.unlink('a', done));
      await call<void>((done) => client.writeFile('b', Buffer.alloc(8_000), done));
    },
  );

  test('times and permissions that are refused, or only confirmed', async () => {
    const sftp = await start({ times: 'ignored', modes: 'unsupported' });
    await writeFile(home('a'), 'x');
    const before = await stat(home('a'));
    const client = await session(sftp);
    await call<void>((done) => client.utimes('a', 1, 1, done));
    expect(await code(call<void>((done) => client.chmod('a', 0o600, done)))).toBe(8);
    expect(await stat(home('a'))).toMatchObject({ mtimeMs: before.mtimeMs, mode: before.mode });
  });

  test('renames of every kind', async () => {
    for (const [rename, wanted] of [
      ['refuses', 4],
      ['overwrites', undefined],
      ['unsupported', 8],
    ] as const) {
      const sftp = await start({ rename });
      await writeFile(home('a'), 'a');
      await writeFile(home('b'), 'b');
      const client = await session(sftp);
      expect(await code(call<void>((done) => client.rename('a', 'b', done)))).toBe(wanted);
      expect(await readFile(home('b'), 'utf8')).toBe(rename === 'overwrites' ? 'a' : 'b');
      await server?.close();
    }
  });

  test('listings without types, or without anything, and in small portions', async () => {
    for (const [listing, keys] of [
      ['attributes', ['mode', 'uid', 'gid', 'size', 'atime', 'mtime']],
      ['longname', ['uid', 'gid', 'size', 'atime', 'mtime']],
      ['names', []],
    ] as const) {
      const sftp = await start({ listing, entriesPerAnswer: 2 });
      await mkdir(home('d'), { recursive: true });
      for (const name of ['a', 'b', 'c']) await writeFile(home(name), 'x');
      const entries = await call<FileEntryWithStats[]>(async (done) =>
        (await session(sftp)).readdir('.', done),
      );
      expect(entries.map(({ filename }) => filename).sort()).toEqual(['a', 'b', 'c', 'd']);
      const told = Object.entries(entries[0]?.attrs ?? {}).filter(([, value]) => value !== undefined);
      expect(told.map(([key]) => key).sort()).toEqual([...keys].sort());
      expect(entries.find(({ filename }) => filename === 'd')?.longname.startsWith('d')).toBe(true);
      await server?.close();
    }
  });

  test('names: bytes that are no UTF-8 are kept, or one name is taken for another', async () => {
    const sftp = await start();
    const raw = await RawSession.open(await connect(sftp));
    raw.request(14, string(Buffer.from('caf\xe9', 'latin1')), number(0));
    expect((await raw.packet())?.readUInt32BE(5)).toBe(0);
    expect((await lstat(raw, 'caf\u00e9'))?.readUInt32BE(5)).toBe(2);
    expect(sftp.journal.of('MKDIR')[0]?.path).toBe('/home/ferry/caf\u00e9');
    await server?.close();
    const caseless = await start({ names: 'caseless' });
    await writeFile(home('Readme'), 'x');
    expect((await lstat(await RawSession.open(await connect(caseless)), 'README'))?.[0]).toBe(105);
  });

  test('noise before VERSION, another version, another name', async () => {
    const sftp = await start({
      noise: 'Welcome!\r\n',
      version: 6,
      software: 'Noisy_2 of old',
      banner: 'Beware',
    });
    const client = new ssh2.Client();
    clients.push(client);
    const heard = new Promise((resolve) => void client.once('banner', resolve));
    client.connect({ host: sftp.address, port: sftp.port, username: 'ferry', password: 'secret' });
    expect(await heard).toBe('Beware\r\n');
    await once(client, 'ready');
    const raw = await RawSession.open(client, 'bare');
    raw.send(Buffer.concat([number(5), Buffer.from([1]), number(3)]));
    const bytes = await raw.raw(20);
    expect(bytes.subarray(0, 10).toString()).toBe('Welcome!\r\n');
    expect(bytes.subarray(14, 19)).toEqual(Buffer.from([2, 0, 0, 0, 6]));
    const socket = connectTcp({ host: sftp.address, port: sftp.port });
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    expect(greeting.toString()).toBe('SSH-2.0-Noisy_2 of old\r\n');
    socket.destroy();
  });

  test('sessions and connections up to their numbers, and again once one is closed', async () => {
    const sftp = await start({ maxSessions: 1, maxConnections: 2 });
    const first = await connect(sftp);
    const one = await sftpOf(first);
    await expect(sftpOf(first)).rejects.toThrow('open failure');
    one.end();
    await sftp.until((journal) => journal.openSessions === 0);
    await sftpOf(first);
    await connect(sftp);
    await expect(connect(sftp)).rejects.toThrow();
    expect(sftp.journal).toMatchObject({ logins: 2, peakOpen: 3, peakSessions: 1, sessions: 2 });
    await server?.close();
    const later = await start({ maxConnections: 1, tooManyAt: 'login' });
    await connect(later);
    const second = await connect(later);
    await once(second, 'close');
  });

  test('no subsystem', async () => {
    const sftp = await start({ subsystem: 'none' });
    await expect(session(sftp)).rejects.toThrow('Unable to start subsystem: sftp');
  });

  test('a connection through it to another', async () => {
    const gate = await start({ forwarding: 'allowed' });
    await using inner = await startSftpServer({ root: directory.path, home: '/inner' });
    const through = await connect(gate);
    const sock = await call<ClientChannel>((done) =>
      through.forwardOut('127.0.0.1', 0, inner.address, inner.port, done),
    );
    const client = await sftpOf(await connect(inner, { sock }));
    expect(await call<string>((done) => client.realpath('.', done))).toBe('/inner');
    expect(gate.journal.forwards).toBe(1);
    for (const each of clients) each.destroy();
    await inner.until((journal) => journal.open === 0);
    const closed = await start();
    const refused = await connect(closed);
    const asked = call<ClientChannel>((done) => refused.forwardOut('127.0.0.1', 0, '127.0.0.1', 9, done));
    await expect(asked).rejects.toThrow('open failure');
    await gate.close();
  });
});

describe('logins', () => {
  test('by password, key, questions, or several of them', async () => {
    const key = sshKey('user');
    const users = {
      ferry: { password: 'secret', keys: [key.publicKey] },
      asked: { questions: [{ prompt: 'Name? ', answer: 'Arthur', echo: 'shown' as const }] },
    };
    const sftp = await start({
      users,
      authentication: [['publickey', 'password'], ['keyboard-interactive']],
    });
    await expect(connect(sftp)).rejects.toThrow('authentication methods failed');
    await expect(connect(sftp, { privateKey: sshKey('other').privateKey })).rejects.toThrow('methods failed');
    await connect(sftp, { privateKey: key.privateKey, authHandler: ['publickey', 'password'] });
    const asked = new ssh2.Client();
    clients.push(asked);
    asked.on('keyboard-interactive', (_name, _instructions, _language, prompts, answer) => {
      expect(prompts).toEqual([{ prompt: 'Name? ', echo: true }]);
      answer(['Arthur']);
    });
    asked.connect({ host: sftp.address, port: sftp.port, username: 'asked', tryKeyboard: true });
    await once(asked, 'ready');
    const outcomes = sftp.journal.attempts.map(({ method, outcome }) => `${method} ${outcome}`);
    expect(outcomes).toContain('publickey partial');
    expect(outcomes.filter((each) => each.endsWith('accepted'))).toEqual([
      'password accepted',
      'keyboard-interactive accepted',
    ]);
    expect(JSON.stringify(sftp.journal)).not.toContain('secret');
  });

  test('with nothing at all, and never with what is not offered', async () => {
    const open = await start({ authentication: [['none']] });
    await connect(open);
    expect(open.journal.attempts).toEqual([
      { connection: 1, method: 'none', user: 'ferry', outcome: 'accepted' },
    ]);
    await server?.close();
    const keys = await start({ authentication: [['publickey']] });
    await expect(connect(keys)).rejects.toThrow('methods failed');
    await expect(connect(keys, { username: 'toString' })).rejects.toThrow('methods failed');
  });

  test('too many attempts end the connection', async () => {
    const sftp = await start({ maxAttempts: 1 });
    await expect(connect(sftp, { password: 'wrong' })).rejects.toThrow();
    await sftp.until((journal) => journal.open === 0);
  });

  test('host keys are told as they are', async () => {
    const keys = [sshKey('host', { type: 'ecdsa' }), sshKey('host')];
    const sftp = await start({ hostKeys: keys.map(({ privateKey }) => privateKey) });
    expect(sftp.fingerprints).toEqual(keys.map(({ fingerprint }) => fingerprint));
    expect(sftp.knownHosts).toBe(
      keys.map(({ publicKey }) => `[127.0.0.1]:${sftp.port} ${publicKey}\n`).join(''),
    );
    const seen: string[] = [];
    await connect(sftp, {
      hostHash: 'sha256',
      hostVerifier: (hash: string) => {
        seen.push(`SHA256:${Buffer.from(hash, 'hex').toString('base64').replace(/=+$/, '')}`);
        return true;
      },
    });
    expect(sftp.fingerprints).toContain(seen[0]);
  });
});

describe('faults', () => {
  test('a status in place of the request, of its answer, and behind it', async () => {
    const sftp = await start();
    const raw = await RawSession.open(await connect(sftp));
    const rule = sftp.script({ on: 'MKDIR', do: { kind: 'status', code: 99, words: 'Odd' } });
    sftp.script({ on: 'MKDIR', nth: 2, do: { kind: 'status', code: 4, at: 'final' } });
    sftp.script({ on: 'MKDIR', nth: 3, do: { kind: 'status', code: 5, at: 'after' } });
    const codes: (number | undefined)[] = [];
    for (const name of ['a', 'b', 'c']) {
      raw.request(14, string(name), number(0));
      codes.push((await raw.packet())?.readUInt32BE(5));
    }
    codes.push((await raw.packet())?.readUInt32BE(5));
    expect(codes).toEqual([99, 4, 0, 5]);
    await expect(stat(home('a'))).rejects.toThrow();
    await stat(home('b'));
    expect(rule).toMatchObject({ matched: 3, fired: 1 });
    expect(sftp.journal.of('MKDIR').map(({ answers }) => answers)).toEqual([
      ['STATUS 99'],
      ['STATUS 4'],
      ['STATUS 0', 'STATUS 5'],
    ]);
  });

  test('packets that are no answer: torn, short, long, doubled, of another type or number', async () => {
    const sftp = await start();
    await writeFile(home('a'), 'x');
    const raw = await RawSession.open(await connect(sftp));
    const whole = await lstat(raw, 'a');
    expect(whole?.length).toBe(37);
    sftp.script({ on: 'LSTAT', do: { kind: 'shorten', bytes: 4 } });
    expect(await lstat(raw, 'a')).toEqual(whole?.subarray(0, 33));
    sftp.script({ on: 'LSTAT', do: { kind: 'wrongId', add: 5 } });
    expect((await lstat(raw, 'a'))?.readUInt32BE(1)).toBe(12);
    sftp.script({ on: 'LSTAT', do: { kind: 'packet', type: 103, body: string('data') } });
    expect(await lstat(raw, 'a')).toEqual(Buffer.concat([Buffer.from([103]), number(7), string('data')]));
    sftp.script({ on: 'LSTAT', do: { kind: 'double' } });
    expect(await lstat(raw, 'a')).toEqual(whole);
    expect(await raw.packet()).toEqual(whole);
    sftp.script({ on: 'LSTAT', do: { kind: 'split', everyBytes: 1 } });
    expect(await lstat(raw, 'a')).toEqual(whole);
    sftp.script({ on: 'LSTAT', do: { kind: 'noAnswer' } });
    raw.request(7, string('a'));
    sftp.script({ on: 'STAT', do: { kind: 'length', bytes: 0xffff_ffff } });
    raw.request(17, string('a'));
    expect((await raw.raw(4)).readUInt32BE()).toBe(0xffff_ffff);
  });

  test('attributes that lie, in answers and in listings', async () => {
    const sftp = await start();
    await writeFile(home('a'), 'x');
    await writeFile(home('b'), 'x');
    const client = await session(sftp);
    sftp.script({
      on: 'STAT',
      do: { kind: 'attributes', changes: { sizeBytes: 2n ** 63n, modifiedS: 'none' } },
    });
    sftp.script({
      on: 'READDIR',
      do: { kind: 'attributes', name: 'b', changes: { mode: 0o040755, sizeBytes: 9 } },
    });
    expect(await call<unknown>((done) => client.stat('a', done))).toMatchObject({ size: 2 ** 63 });
    const entries = await call<FileEntryWithStats[]>((done) => client.readdir('.', done));
    const told = entries.map(({ filename, attrs }) => [filename, attrs.size, attrs.isDirectory()]);
    expect(told.sort()).toEqual([
      ['a', 1, false],
      ['b', 9, true],
    ]);
  });

  test('listings: names nobody has, an early end, no end', async () => {
    const sftp = await start();
    for (const name of ['a', 'b', 'c']) await writeFile(home(name), 'x');
    const client = await session(sftp);
    const names = async (): Promise<string[]> =>
      (await call<FileEntryWithStats[]>((done) => client.readdir('.', done))).map(({ filename }) => filename);
    sftp.script({ on: 'READDIR', do: { kind: 'names', entries: [{ name: '../up' }, { name: 'a' }] } });
    expect(await names()).toEqual(['a', 'b', 'c', '../up', 'a']);
    sftp.script({ on: 'OPENDIR', do: { kind: 'cutListing', entries: 3 } });
    expect(await names()).toEqual(['a']);
    sftp.script({ on: 'OPENDIR', do: { kind: 'endlessListing', entries: 3 } });
    const handle = await call<Buffer>((done) => client.opendir('.', done));
    const seen = new Set<string>();
    for (let time = 0; time < 5; time += 1) {
      const more = await call<FileEntryWithStats[]>((done) => client.readdir(handle, done));
      for (const { filename } of more) seen.add(filename);
    }
    expect(seen.size).toBe(15);
  });

  test('contents: kept in part, inverted, read short, long and without end', async () => {
    const sftp = await start();
    const client = await session(sftp);
    sftp.script({ on: 'WRITE', path: 'a', do: { kind: 'shortWrite', bytes: 3 } });
    sftp.script({ on: 'WRITE', path: '/home/ferry/b', do: { kind: 'corrupt', atByte: 1 } });
    await call<void>((done) => client.writeFile('a', 'hello', done));
    await call<void>((done) => client.writeFile('b', 'hello', done));
    expect(await readFile(home('a'), 'utf8')).toBe('hel');
    expect(await readFile(home('b'))).toEqual(Buffer.from('h\x9allo', 'latin1'));
    await writeFile(home('c'), 'hello');
    const handle = await call<Buffer>((done) => client.open('c', 'r', done));
    const raw = await RawSession.open(await connect(sftp));
    raw.request(3, string('c'), number(1), number(0));
    const opened = await raw.packet();
    const own = string(opened?.subarray(9) ?? '');
    const read = async (): Promise<string | undefined> => {
      raw.request(5, own, Buffer.alloc(8), number(5));
      return (await raw.packet())?.subarray(9).toString('latin1');
    };
    sftp.script({ on: 'READ', do: { kind: 'shortRead', bytes: 2 } });
    expect(await read()).toBe('he');
    sftp.script({ on: 'READ', do: { kind: 'longRead', addBytes: 2 } });
    expect(await read()).toBe('hello\0\0');
    sftp.script({ on: 'READ', do: { kind: 'corrupt', atByte: 4 } });
    expect(await read()).toBe('hell\x90');
    sftp.script({ on: 'READ', do: { kind: 'shortRead', bytes: 0 } });
    expect(await read()).toBe('');
    sftp.script({ on: 'READ', do: { kind: 'endlessRead' } });
    raw.request(5, own, Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]), number(5));
    expect((await raw.packet())?.length).toBe(14);
    await call<void>((done) => client.close(handle, done));
  });

  test.each(['reset', 'close', 'channel', 'hang', 'mute'] as const)('the end: %s', async (how) => {
    const sftp = await start();
    const client = await connect(sftp);
    const raw = await RawSession.open(client);
    sftp.script({ on: 'LSTAT', do: { kind: 'cut', atByte: 5, how } });
    const closed = once(client, 'close');
    raw.request(7, string('.'));
    if (how === 'hang' || how === 'mute') {
      expect((await raw.raw(5)).length).toBe(5);
      raw.request(7, string('.'));
      if (how === 'hang') await sftp.until((journal) => journal.of('LSTAT').length === 2);
      // Behind the silence of the one channel another one opens.
      const other = RawSession.open(client);
      if (how === 'hang') await other;
      else other.catch(() => undefined);
      expect(sftp.journal.of('LSTAT')).toHaveLength(how === 'hang' ? 2 : 1);
      expect((await raw.raw(5)).length).toBe(5);
      client.destroy();
    } else {
      expect(await raw.packet()).toBeUndefined();
      if (how === 'channel') {
        expect((await lstat(await RawSession.open(client), '.'))?.[0]).toBe(105);
        client.end();
      }
    }
    await closed;
    await sftp.until((journal) => journal.open === 0 && journal.openSessions === 0);
  });

  test('before SSH, at the login, at the channel and at the subsystem', async () => {
    const sftp = await start();
    sftp.script({ on: 'connect', do: { kind: 'end', how: 'close' } });
    await expect(connect(sftp)).rejects.toThrow();
    sftp.script({ on: 'connect', do: { kind: 'bytes', bytes: '220 FTP here\r\n' } });
    const socket = connectTcp({ host: sftp.address, port: sftp.port });
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    expect(greeting.toString()).toBe('220 FTP here\r\n');
    socket.destroy();
    sftp.script({ on: 'auth', path: /password/, do: { kind: 'refuse' } });
    await expect(connect(sftp)).rejects.toThrow('methods failed');
    sftp.script({ on: 'session', do: { kind: 'refuse' } });
    await expect(session(sftp)).rejects.toThrow('open failure');
    sftp.script({ on: 'subsystem', do: { kind: 'refuse' } });
    await expect(session(sftp)).rejects.toThrow('subsystem');
    sftp.script({ on: 'connect', do: { kind: 'dropAfter', receivedBytes: 1_000 } });
    await expect(connect(sftp)).rejects.toThrow();
    sftp.script({ on: 'connect', do: { kind: 'dropAfter', sentBytes: 10 } });
    const cut = connectTcp({ host: sftp.address, port: sftp.port });
    cut.on('error', () => undefined);
    const [part] = (await once(cut, 'data')) as [Buffer];
    expect(part.toString()).toBe('SSH-2.0-Sc');
    await once(cut, 'close');
  });

  test('new keys in the middle of everything', async () => {
    const sftp = await start();
    const client = await session(sftp);
    sftp.script({ on: 'WRITE', nth: 2, do: { kind: 'rekey' } });
    const bytes = Buffer.alloc(400_000, 'x');
    await call<void>((done) => client.writeFile('a', bytes, done));
    expect((await readFile(home('a'))).equals(bytes)).toBe(true);
    await sftp.until((journal) => journal.rekeys === 1);
  });
});

describe('the order of answers', () => {
  /** OPEN for a WRITE and an FSTAT in one write, and a CLOSE. */
  async function pipeline(sftp: SftpServer): Promise<{ ids: number[]; sizes: bigint[] }> {
    const raw = await RawSession.open(await connect(sftp));
    raw.request(3, string('f'), number(2 | 8), number(0));
    const handle = string((await raw.packet())?.subarray(9) ?? '');
    const requests = [
      [6, handle, Buffer.alloc(8), string('hello')],
      [8, handle],
      [4, handle],
    ] as const;
    const packets = requests.map(([type, ...parts], id) => {
      const body = Buffer.concat([Buffer.from([type]), number(id), ...parts]);
      return Buffer.concat([number(body.length), body]);
    });
    raw.send(Buffer.concat(packets));
    const ids: number[] = [];
    const sizes: bigint[] = [];
    for (const _each of requests) {
      const answer = await raw.packet();
      ids.push(answer?.readUInt32BE(1) ?? -1);
      if (answer?.[0] === 105) sizes.push(answer.readBigUInt64BE(9));
    }
    return { ids, sizes };
  }

  test.each([
    ['strict', [0, 1, 2], 5n],
    ['go', [0, 1, 2], 0n],
    ['shuffled', [2, 1, 0], 5n],
  ] as const)('%s', async (order, ids, size) => {
    const sftp = await start({ order });
    expect(await pipeline(sftp)).toEqual({ ids, sizes: [size] });
    expect(await readFile(home('f'), 'utf8')).toBe('hello');
    expect(new Set(sftp.journal.requests.slice(-3).map(({ packet }) => packet)).size).toBe(1);
    expect(sftp.journal).toMatchObject({ waiting: 0, peakWaiting: 3, openHandles: 0, peakHandles: 1 });
  });
});
