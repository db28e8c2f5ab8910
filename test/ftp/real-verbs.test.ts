/*
 * Every verb of the client against the real servers: which of them does it, and with which code it refuses. What a verb
 * that works leaves on the disk is looked at, and that the session is in step afterwards. The tables are what was
 * measured; a newer server may say something else, and then they tell where.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { charsetOf } from '../../src/ftp/charset.js';
import {
  type ClientOptions,
  FtpClient,
  type HashForm,
  type Login,
  type TransferOptions,
} from '../../src/ftp/client.js';
import { ControlConnection } from '../../src/ftp/control.js';
import { FtpError } from '../../src/ftp/errors.js';
import { certificates } from '../support/certificates.js';
import {
  describeReal,
  type RealServer,
  type ServerName,
  type ServerOptions,
} from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startPyftpdlib } from '../support/servers/pyftpdlib.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { chunksOf, failure, held, nothingLeft } from './stage.js';

const passive = { mode: 'EPSV' } as const;
const timeMs = Date.UTC(2020, 8, 13, 12, 26, 40);
const content = '0123456789';

type Security = 'plain' | 'explicit';

function start(name: ServerName, options: Omit<ServerOptions, 'security'> & { security: Security }) {
  const starts = {
    vsftpd: startVsftpd,
    proftpd: startProftpd,
    'pure-ftpd': startPureFtpd,
    pyftpdlib: startPyftpdlib,
  };
  return starts[name](options);
}

const servers: readonly ServerName[] = ['vsftpd', 'proftpd', 'pure-ftpd', 'pyftpdlib'];

/** `works`, or the code that it is refused with. */
type Says = 'works' | number;

interface Row {
  readonly ask: (client: FtpClient, at: (name: string) => string) => Promise<unknown>;
  /** In the order of `servers`. */
  readonly says: readonly [vsftpd: Says, proftpd: Says, pureFtpd: Says, pyftpdlib: Says];
  /** What it gives where it works; not looked at where it is left out. */
  readonly gives?: unknown;
  /** Says it without TLS only: under TLS this server ends the data now with its goodbye, now without. */
  readonly unsteady?: ServerName;
  /** What is true on the disk where it works. */
  readonly leaves?: (root: string) => Promise<unknown>;
}

/** Where TLS is required: the code, and the verb that it answers. In the order of `servers`. */
const refusedInPlain = [
  [530, 'USER'],
  [550, 'USER'],
  [421, 'USER'],
  [550, 'USER'],
] as const;

const everywhere = ['works', 'works', 'works', 'works'] as const;

async function read(client: FtpClient, path: string, options: TransferOptions = passive): Promise<string> {
  const chunks: Buffer[] = [];
  await client.retrieve(path, async (chunk) => void chunks.push(Buffer.from(chunk)), options);
  return Buffer.concat(chunks).toString();
}

const there = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

const holds = (name: string, text: string) => async (root: string) =>
  expect(await readFile(join(root, name), 'utf8')).toBe(text);

const isSetTo = (ms: number) => async (root: string) =>
  expect((await stat(join(root, 'file'))).mtimeMs).toBe(ms);

const hashed = (
  verb: HashForm['verb'],
  algorithm: HashForm['algorithm'],
  gives: string,
  name = 'file',
): Row => ({
  ask: (client, at) => client.hash(at(name), { verb, algorithm }, 0),
  says: [500, 'works', 500, 500],
  gives,
});

const digest = (algorithm: string): string => createHash(algorithm).update(content).digest('hex');

const rows: Readonly<Record<string, Row>> = {
  FEAT: {
    ask: async (client) => {
      const features = await client.features();
      return ['SIZE', 'MDTM', 'REST'].every((name) => features.has(name));
    },
    says: everywhere,
    gives: true,
  },
  'OPTS UTF8 ON': { ask: (client) => client.option('UTF8 ON'), says: ['works', 'works', 504, 501] },
  'OPTS MLST': {
    ask: (client) => client.option('MLST type;size;modify;UNIX.mode;'),
    says: [501, 'works', 'works', 'works'],
  },
  'OPTS HASH': { ask: (client) => client.option('HASH SHA-256'), says: [501, 'works', 504, 501] },
  CLNT: { ask: (client) => client.introduce('ferryd'), says: [500, 'works', 500, 500] },
  'HOST behind the login': { ask: (client) => client.host('nas.test'), says: [500, 503, 500, 500] },
  TYPE: { ask: (client) => client.useBinary(), says: everywhere },
  MODE: { ask: (client) => client.useStream(), says: everywhere },
  STRU: { ask: (client) => client.useFileStructure(), says: everywhere },
  ALLO: { ask: (client) => client.allocate(4096), says: everywhere },
  'ALLO of more than there is': {
    ask: (client) => client.allocate(2 ** 52),
    says: ['works', 552, 552, 'works'],
  },
  NOOP: { ask: (client) => client.ping(), says: everywhere },
  ABOR: { ask: (client) => client.abort(), says: everywhere },

  'PWD, CWD and CDUP': {
    ask: async (client, at) => {
      const home = await client.workingDirectory();
      await client.changeDirectory(at('sub'));
      const inside = await client.workingDirectory();
      await client.changeToParent();
      return [inside === at('sub'), (await client.workingDirectory()) === home];
    },
    says: everywhere,
    gives: [true, true],
  },
  'CWD to what is missing': {
    ask: (client, at) => client.changeDirectory(at('no')),
    says: [550, 550, 550, 550],
  },
  'CWD to a file': { ask: (client, at) => client.changeDirectory(at('file')), says: [550, 550, 550, 550] },
  MKD: {
    ask: (client, at) => client.makeDirectory(at('new')),
    says: everywhere,
    leaves: async (root) => expect((await stat(join(root, 'new'))).isDirectory()).toBe(true),
  },
  'MKD of what is there': {
    ask: (client, at) => client.makeDirectory(at('sub')),
    says: [550, 550, 550, 550],
  },
  RMD: {
    ask: (client, at) => client.removeDirectory(at('sub')),
    says: everywhere,
    leaves: async (root) => expect(await there(join(root, 'sub'))).toBe(false),
  },
  'RMD of a full one': {
    ask: (client, at) => client.removeDirectory(at('full')),
    says: [550, 550, 550, 550],
  },
  'RMD of what is missing': {
    ask: (client, at) => client.removeDirectory(at('no')),
    says: [550, 550, 550, 550],
  },
  DELE: {
    ask: (client, at) => client.remove(at('file')),
    says: everywhere,
    leaves: async (root) => expect(await there(join(root, 'file'))).toBe(false),
  },
  'DELE of what is missing': { ask: (client, at) => client.remove(at('no')), says: [550, 550, 550, 550] },
  'DELE of a directory': { ask: (client, at) => client.remove(at('sub')), says: [550, 550, 550, 550] },
  'RNFR and RNTO': {
    ask: (client, at) => client.rename(at('file'), at('sub/renamed')),
    says: everywhere,
    leaves: holds('sub/renamed', content),
  },
  'RNTO onto a file': {
    ask: (client, at) => client.rename(at('file'), at('a b')),
    says: everywhere,
    leaves: holds('a b', content),
  },
  'RNFR of what is missing': {
    ask: (client, at) => client.rename(at('no'), at('renamed')),
    says: [550, 550, 550, 550],
  },

  SIZE: { ask: (client, at) => client.size(at('file')), says: everywhere, gives: 10 },
  'SIZE of what is missing': { ask: (client, at) => client.size(at('no')), says: [550, 550, 550, 550] },
  'SIZE of a directory': { ask: (client, at) => client.size(at('sub')), says: [550, 550, 550, 550] },
  MDTM: { ask: (client, at) => client.modified(at('file')), says: everywhere, gives: timeMs },
  'MDTM, many in one write': {
    ask: (client, at) => client.modifiedAll([at('file'), at('no'), at('file')]),
    says: everywhere,
    gives: [timeMs, undefined, timeMs],
  },
  'MDTM that sets': {
    ask: (client, at) => client.setModified(at('file'), timeMs - 1000, 'MDTM'),
    says: ['works', 550, 550, 550],
    leaves: isSetTo(timeMs - 1000),
  },
  MFMT: {
    ask: (client, at) => client.setModified(at('file'), timeMs - 2000, 'MFMT'),
    says: [500, 'works', 'works', 'works'],
    leaves: isSetTo(timeMs - 2000),
  },
  'SITE UTIME': {
    ask: (client, at) => client.setModified(at('file'), timeMs - 3000, 'SITE UTIME'),
    says: [550, 'works', 'works', 500],
    leaves: isSetTo(timeMs - 3000),
  },
  'SITE CHMOD': {
    ask: (client, at) => client.setPermissions(at('file'), 0o640),
    says: [550, 'works', 'works', 'works'],
    leaves: async (root) => expect((await stat(join(root, 'file'))).mode & 0o7777).toBe(0o640),
  },
  'SITE CHMOD of what is missing': {
    ask: (client, at) => client.setPermissions(at('no'), 0o640),
    says: [550, 550, 550, 550],
  },
  'SITE of no kind': { ask: (client) => client.site('NONSENSE'), says: [550, 500, 500, 500] },
  MLST: {
    ask: async (client, at) => {
      const entry = await client.machineEntry(at('file'));
      return [entry?.name === at('file'), entry?.type, entry?.sizeBytes, entry?.modifiedMs];
    },
    says: [500, 'works', 'works', 'works'],
    gives: [true, 'file', 10, timeMs],
  },
  'MLST of what is missing': {
    ask: (client, at) => client.machineEntry(at('no')),
    says: [500, 550, 550, 550],
  },

  HASH: {
    ask: async (client, at) => {
      await client.option('HASH MD5').catch(() => {});
      const first = await client.hash(at('file'), { verb: 'HASH', algorithm: 'MD5' }, 0);
      await client.option('HASH SHA-256');
      return [first, await client.hash(at('file'), { verb: 'HASH', algorithm: 'SHA-256' }, 0)];
    },
    says: [500, 'works', 500, 500],
    gives: [digest('md5'), digest('sha256')],
  },
  'HASH of a name with a space': hashed('HASH', 'SHA-256', digest('sha256'), 'a b'),
  XSHA256: hashed('XSHA256', 'SHA-256', digest('sha256')),
  'XSHA256 of a name with a space': hashed('XSHA256', 'SHA-256', digest('sha256'), 'a b'),
  XSHA1: hashed('XSHA1', 'SHA-1', digest('sha1')),
  XMD5: hashed('XMD5', 'MD5', digest('md5')),
  XCRC: hashed('XCRC', 'CRC32', crc32(content).toString(16).padStart(8, '0')),

  STAT: {
    ask: async (client) => /^211/.test((await client.status())[0] ?? ''),
    says: everywhere,
    gives: true,
  },
  'STAT of a directory': {
    ask: async (client, at) => (await client.status(at('full'))).some((line) => /(?:^| |\/)x$/.test(line)),
    says: everywhere,
    gives: true,
  },

  STOR: {
    ask: (client, at) => client.store(at('new'), chunksOf('abc', 'def'), passive),
    says: everywhere,
    gives: 6,
    leaves: holds('new', 'abcdef'),
  },
  'STOR over PASV': {
    ask: (client, at) => client.store(at('new'), chunksOf('abc'), { mode: 'PASV' }),
    says: everywhere,
    leaves: holds('new', 'abc'),
  },
  'STOR over PORT': {
    ask: (client, at) => client.store(at('new'), chunksOf('abc'), { mode: 'PORT' }),
    says: everywhere,
    leaves: holds('new', 'abc'),
  },
  'STOR over EPRT': {
    ask: (client, at) => client.store(at('new'), chunksOf('abc'), { mode: 'EPRT' }),
    says: everywhere,
    leaves: holds('new', 'abc'),
  },
  'STOR onto a directory': {
    ask: (client, at) => client.store(at('sub'), chunksOf('abc'), passive),
    says: [553, 550, 553, 550],
  },
  'STOR where no directory is': {
    ask: (client, at) => client.store(at('no/new'), chunksOf('abc'), passive),
    says: [553, 550, 553, 550],
  },
  'REST and STOR': {
    ask: (client, at) => client.store(at('file'), chunksOf('abcdef'), { ...passive, fromByte: 4 }),
    says: everywhere,
    leaves: holds('file', '0123abcdef'),
  },
  'REST and STOR, and then a whole file': {
    ask: async (client, at) => {
      await client.store(at('file'), chunksOf('abcdef'), { ...passive, fromByte: 4 });
      await client.store(at('new'), chunksOf('whole'), passive);
      return read(client, at('file'));
    },
    says: everywhere,
    gives: '0123abcdef',
    leaves: holds('new', 'whole'),
  },
  'REST behind the end, and STOR': {
    // vsftpd fills the gap with zeros, Pure-FTPd goes on at the end of what is there: the part must be known.
    ask: (client, at) => client.store(at('file'), chunksOf('ab'), { ...passive, fromByte: 20 }),
    says: ['works', 554, 'works', 554],
    leaves: async (root) =>
      expect(await readFile(join(root, 'file'), 'utf8')).toMatch(/^0123456789(?:\0{10})?ab$/),
  },
  APPE: {
    ask: (client, at) => client.append(at('file'), chunksOf('ab'), passive),
    says: everywhere,
    leaves: holds('file', `${content}ab`),
  },
  'APPE to what is missing': {
    ask: (client, at) => client.append(at('new'), chunksOf('ab'), passive),
    says: everywhere,
    leaves: holds('new', 'ab'),
  },
  RETR: { ask: (client, at) => read(client, at('file')), says: everywhere, gives: content },
  'RETR over EPRT': {
    ask: (client, at) => read(client, at('file'), { mode: 'EPRT' }),
    says: everywhere,
    gives: content,
  },
  'RETR of what is missing': { ask: (client, at) => read(client, at('no')), says: [550, 550, 550, 550] },
  'RETR of a directory': { ask: (client, at) => read(client, at('sub')), says: [550, 550, 550, 550] },
  'REST and RETR': {
    ask: (client, at) => read(client, at('file'), { ...passive, fromByte: 4 }),
    says: everywhere,
    gives: '456789',
  },
  'REST and RETR of nothing more': {
    ask: (client, at) => read(client, at('file'), { ...passive, fromByte: 10 }),
    says: everywhere,
    gives: '',
  },
  'REST behind the end, and RETR': {
    ask: (client, at) => read(client, at('file'), { ...passive, fromByte: 20 }),
    says: ['works', 554, 554, 554],
    gives: '',
  },
  MLSD: {
    ask: async (client, at) => {
      const { entries, ending } = await client.machineListing(at('full'), passive);
      return [ending, ...entries.map(({ name, sizeBytes, modifiedMs }) => [name, sizeBytes, modifiedMs])];
    },
    says: [500, 'works', 'works', 'works'],
    gives: ['whole', ['x', 1, timeMs]],
  },
  LIST: {
    ask: async (client, at) => {
      await client.changeDirectory(at('full'));
      const { entries, form, ending } = await client.listing(passive);
      return [form, ending, ...entries.map(({ name, sizeBytes }) => [name, sizeBytes])];
    },
    says: everywhere,
    gives: ['unix', 'whole', ['x', 1]],
  },
  'LIST of a path': {
    ask: async (client, at) => (await client.listing(passive, at('full'))).entries.map(({ name }) => name),
    says: everywhere,
    gives: ['x'],
  },
  NLST: {
    ask: async (client, at) => {
      await client.changeDirectory(at('full'));
      return (await client.names(passive)).filter((name) => name !== '.' && name !== '..');
    },
    says: everywhere,
    gives: ['x'],
  },
  'NLST of a path': {
    ask: async (client, at) =>
      (await client.names(passive, at('full'))).filter((name) => name !== '.' && name !== '..'),
    says: everywhere,
    gives: ['x'],
  },
  'NLST of an empty directory': {
    ask: async (client, at) => {
      await client.changeDirectory(at('sub'));
      return (await client.names(passive)).filter((name) => name !== '.' && name !== '..');
    },
    says: everywhere,
    gives: [],
    unsteady: 'pyftpdlib',
  },
  // vsftpd tells nothing, as of an empty one.
  'NLST of what is missing': {
    ask: (client, at) => client.names(passive, at('no')),
    says: ['works', 450, 550, 550],
    gives: [],
  },
};

/** What stands in the directory before each row. */
async function prepare(server: RealServer): Promise<void> {
  const { root } = server;
  for (const name of await readdir(root)) await rm(join(root, name), { recursive: true });
  await mkdir(join(root, 'sub'));
  await mkdir(join(root, 'full'));
  for (const [name, text] of [
    ['file', content],
    ['a b', content],
    ['full/x', 'x'],
  ] as const) {
    await writeFile(join(root, name), text);
    await chmod(join(root, name), 0o644);
    await utimes(join(root, name), timeMs / 1000, timeMs / 1000);
  }
  await server.adopt();
}

async function options(server: RealServer, security: Security): Promise<ClientOptions> {
  const { ca } = await certificates();
  return {
    host: server.host,
    port: server.port,
    security,
    trust: {
      ca: ca.cert,
      pin: undefined,
      verify: true,
      serverName: undefined,
      identity: undefined,
      maxVersion: 'TLSv1.3',
    },
    active: { address: undefined, ports: undefined },
    connectTimeoutMs: 5_000,
    replyTimeoutMs: 10_000,
    stallTimeoutMs: 10_000,
    transferTimeoutMs: 20_000,
  };
}

/** A session that is logged in. */
async function logIn(server: RealServer, security: Security, changes: Partial<ClientOptions> = {}) {
  const client = await FtpClient.connect({ ...(await options(server, security)), ...changes });
  await client.login({ user: server.user, password: server.password, account: undefined });
  await client.useBinary();
  return client;
}

async function outcome(work: Promise<unknown>): Promise<{ says: Says | string; gives: unknown }> {
  try {
    return { gives: await work, says: 'works' };
  } catch (error) {
    if (!(error instanceof FtpError)) throw error;
    return { says: error.reply?.code ?? error.message, gives: undefined };
  }
}

servers.forEach((name, place) => {
  for (const security of ['plain', 'explicit'] as const) {
    describeReal(name, `${name}, ${security}`, () => {
      let server: RealServer;
      let client: FtpClient;
      let before: ReadonlyMap<string, number>;

      beforeAll(async () => {
        before = held();
        server = await start(name, { security, requireTls: security !== 'plain' });
        client = await logIn(server, security);
      });

      afterAll(async () => {
        await client.quit();
        await server.stop();
        await nothingLeft(before);
      });

      const at = (path: string): string => `${server.home === '/' ? '' : server.home}/${path}`;

      // One session for all of them: each has to leave it in step for the next.
      const steady = Object.entries(rows).filter(([, row]) => security === 'plain' || row.unsteady !== name);
      test.each(steady)('%s', async (_row, { ask, says, gives, leaves }) => {
        await prepare(server);
        if (client.ended) client = await logIn(server, security);
        const found = await outcome(ask(client, at));
        expect(found.says).toBe(says[place]);
        if (found.says === 'works') {
          if (gives !== undefined) expect(found.gives).toEqual(gives);
          await leaves?.(server.root);
        }
        expect(client.ended).toBe(false);
        expect(await client.store(at('after'), chunksOf('after'), passive)).toBe(5);
        expect(await readFile(join(server.root, 'after'), 'utf8')).toBe('after');
        await client.changeDirectory(server.home);
      });
    });
  }

  describeReal(name, `${name}, before and around the login`, () => {
    const login = (server: RealServer, changes: Partial<Login> = {}): Login => ({
      user: server.user,
      password: server.password,
      account: undefined,
      ...changes,
    });

    test('HOST and CLNT before it, a wrong password, and none of TLS', async () => {
      await using server = await start(name, { security: 'plain' });
      const client = await FtpClient.connect(await options(server, 'plain'));
      expect((await outcome(client.host('nas.test'))).says).toBe([530, 504, 530, 500][place]);
      expect((await outcome(client.introduce('ferryd'))).says).toBe([530, 'works', 530, 500][place]);
      // FEAT is open to everybody, so that TLS can be found before a name goes out.
      expect((await client.features()).has('SIZE')).toBe(true);
      const wrong = await failure(client.login(login(server, { password: 'wrong' })));
      expect(wrong).toMatchObject({ kind: 'reply', phase: 'login', verb: 'PASS', reply: { code: 530 } });
      client.reset('the test is over');

      const secured = await failure(FtpClient.connect(await options(server, 'explicit')));
      expect(secured).toMatchObject({ kind: 'reply', phase: 'tls', verb: 'AUTH' });
      expect(secured.reply?.code).toBe([530, 500, 500, 500][place]);
    });

    test('where TLS is required, plain text is refused before the password', async () => {
      await using server = await start(name, { security: 'explicit', requireTls: true });
      const client = await FtpClient.connect(await options(server, 'plain'));
      const error = await failure(client.login(login(server)));
      expect(error).toMatchObject({ kind: 'reply', phase: 'login' });
      expect([error.reply?.code, error.verb]).toEqual(refusedInPlain[place]);
      client.reset('the test is over');
    });

    test('ACCT, which none of them asks for', async () => {
      await using server = await start(name, { security: 'plain' });
      const line = await ControlConnection.connect(await options(server, 'plain'));
      await line.greeting();
      await line.send({ verb: 'USER', argument: server.user });
      await line.send({ verb: 'PASS', argument: server.password, secrecy: 'secret' });
      const reply = await line.send({ verb: 'ACCT', argument: 'books', secrecy: 'secret' });
      expect(reply.code).toBe([502, 502, 202, 500][place]);
      line.reset('the test is over');
    });

    test('QUIT ends the session at once, on both sides', async () => {
      await using server = await start(name, { security: 'explicit' });
      const took: number[] = [];
      for (let time = 0; time < 3; time += 1) {
        const client = await logIn(server, 'explicit');
        const beganMs = performance.now();
        await client.quit();
        took.push(performance.now() - beganMs);
        expect(client.ended).toBe(true);
        await client.quit();
      }
      // A server that does not close is left after a second.
      expect(Math.min(...took)).toBeLessThan(900);
    });

    test('names in windows-1252, the byte 0xFF among them', async () => {
      await using server = await start(name, { security: 'plain' });
      const telnetBytes = name === 'proftpd' ? 'doubled' : 'once';
      const charset = charsetOf('windows-1252');
      const client = await logIn(server, 'plain', { charset, telnetBytes });
      // ProFTPD takes names for UTF-8 until it is told otherwise.
      await client.option('UTF8 OFF').catch(() => {});
      for (const odd of ['Füße €', 'ÿ', 'aÿÿb']) {
        await client.store(odd, chunksOf('abc'), passive);
        expect(await client.size(odd), odd).toBe(3);
      }
      const raw = ['F\xfc\xdfe \x80', '\xff', 'a\xff\xffb'];
      const onDisk = await readdir(server.root, { encoding: 'latin1' });
      if (name === 'pyftpdlib') {
        // What is no UTF-8 it turns into U+FFFD, and says 226: only a look at the names tells.
        expect(onDisk).not.toEqual(expect.arrayContaining(raw));
      } else {
        expect(onDisk.sort()).toEqual(raw.sort());
        const names = (await client.names(passive)).filter((each) => each !== '.' && each !== '..');
        expect(names.sort()).toEqual(['Füße €', 'ÿ', 'aÿÿb'].sort());
      }
      await client.quit();
    });
  });
});
