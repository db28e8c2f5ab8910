/*
 * Every verb of the client against the scripted server: the line that goes out, what it does on the server's disk, what
 * each class of reply makes of it, and what cannot travel in it. control.test.ts has the faults of the connection,
 * transfer.test.ts those of the data, real-verbs.test.ts what real servers say.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { charsetOf } from '../../src/ftp/charset.js';
import type { DataMode, FtpClient, HashForm, TransferOptions } from '../../src/ftp/client.js';
import { chunksOf, failure, Stage, type StageOptions } from './stage.js';

const passive = { mode: 'EPSV' } as const;
const timeMs = Date.UTC(2020, 8, 13, 12, 26, 40);
const content = '0123456789';

const everything: StageOptions = {
  features: { HASH: true, HOST: true, XCRC: true, XMD5: true, XSHA1: true, XSHA256: true },
};

async function open(options: StageOptions = {}): Promise<Stage> {
  const stage = await Stage.open({ ...everything, ...options });
  await writeFile(stage.directory.join('file'), content);
  await chmod(stage.directory.join('file'), 0o644);
  await utimes(stage.directory.join('file'), timeMs / 1000, timeMs / 1000);
  await mkdir(stage.directory.join('sub'));
  return stage;
}

const digest = (algorithm: string): string => createHash(algorithm).update(content).digest('hex');

async function read(client: FtpClient, path: string, options: TransferOptions = passive): Promise<string> {
  const chunks: Buffer[] = [];
  await client.retrieve(path, async (chunk) => void chunks.push(Buffer.from(chunk)), options);
  return Buffer.concat(chunks).toString();
}

async function there(stage: Stage, name: string): Promise<boolean> {
  return lstat(stage.directory.join(name)).then(
    () => true,
    () => false,
  );
}

interface Case {
  readonly ask: (client: FtpClient) => Promise<unknown>;
  /** The lines that go out, in order. */
  readonly lines: readonly string[];
  /** What it gives; not looked at where it is left out. */
  readonly gives?: unknown;
  /** What is true on the server afterwards. */
  readonly then?: (stage: Stage) => Promise<unknown>;
  /** Its only good answer is a 2yz that belongs to no transfer; `any 2yz` where 226 is one, too. */
  readonly wants?: 'a 2yz' | 'any 2yz' | '3yz' | 'a transfer' | 'a port';
}

const hashed = (verb: HashForm['verb'], algorithm: HashForm['algorithm'], hex: string): Case => ({
  ask: (client) => client.hash('/file', { verb, algorithm }, 0),
  lines: [`${verb} /file`],
  gives: hex,
});

/** By verb, and by a word behind it where a verb has several uses. */
const cases: Readonly<Record<string, Case>> = {
  HOST: { ask: (client) => client.host('nas.example.net'), lines: ['HOST nas.example.net'] },
  CLNT: { ask: (client) => client.introduce('ferryd'), lines: ['CLNT ferryd'] },
  FEAT: {
    ask: async (client) => [...(await client.features()).keys()].includes('MLST'),
    lines: ['FEAT'],
    gives: true,
  },
  OPTS: { ask: (client) => client.option('UTF8 ON'), lines: ['OPTS UTF8 ON'] },
  TYPE: { ask: (client) => client.useBinary(), lines: ['TYPE I'] },
  MODE: { ask: (client) => client.useStream(), lines: ['MODE S'] },
  STRU: { ask: (client) => client.useFileStructure(), lines: ['STRU F'] },
  NOOP: { ask: (client) => client.ping(), lines: ['NOOP'] },
  PWD: { ask: (client) => client.workingDirectory(), lines: ['PWD'], gives: '/' },
  CWD: {
    ask: async (client) => {
      await client.changeDirectory('/sub');
      return client.workingDirectory();
    },
    lines: ['CWD /sub', 'PWD'],
    gives: '/sub',
  },
  CDUP: {
    ask: async (client) => {
      await client.changeDirectory('/sub');
      await client.changeToParent();
      return client.workingDirectory();
    },
    lines: ['CWD /sub', 'CDUP', 'PWD'],
    gives: '/',
  },
  MKD: {
    ask: (client) => client.makeDirectory('/new'),
    lines: ['MKD /new'],
    then: async (stage) => expect((await stat(stage.directory.join('new'))).isDirectory()).toBe(true),
  },
  RMD: {
    ask: (client) => client.removeDirectory('/sub'),
    lines: ['RMD /sub'],
    then: async (stage) => expect(await there(stage, 'sub')).toBe(false),
  },
  DELE: {
    ask: (client) => client.remove('/file'),
    lines: ['DELE /file'],
    then: async (stage) => expect(await there(stage, 'file')).toBe(false),
  },
  RNFR: {
    ask: (client) => client.rename('/file', '/renamed'),
    lines: ['RNFR /file', 'RNTO /renamed'],
    then: async (stage) => {
      expect(await there(stage, 'file')).toBe(false);
      expect(await readFile(stage.directory.join('renamed'), 'utf8')).toBe(content);
    },
    wants: '3yz',
  },
  RNTO: {
    ask: (client) => client.rename('/file', '/sub/renamed'),
    lines: ['RNFR /file', 'RNTO /sub/renamed'],
    then: async (stage) => expect(await there(stage, 'sub/renamed')).toBe(true),
  },
  SIZE: { ask: (client) => client.size('/file'), lines: ['SIZE /file'], gives: 10 },
  MDTM: { ask: (client) => client.modified('/file'), lines: ['MDTM /file'], gives: timeMs },
  'MDTM to set': {
    ask: (client) => client.setModified('/file', timeMs - 1000, 'MDTM'),
    lines: ['MDTM 20200913122639 /file'],
    then: async (stage) =>
      expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 1000),
  },
  MFMT: {
    ask: (client) => client.setModified('/file', timeMs - 2000, 'MFMT'),
    lines: ['MFMT 20200913122638 /file'],
    then: async (stage) =>
      expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 2000),
  },
  'SITE UTIME': {
    ask: (client) => client.setModified('/file', timeMs - 3000, 'SITE UTIME'),
    lines: ['SITE UTIME 20200913122637 /file'],
    then: async (stage) =>
      expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 3000),
  },
  'SITE CHMOD': {
    ask: (client) => client.setPermissions('/file', 0o100600),
    lines: ['SITE CHMOD 600 /file'],
    then: async (stage) => expect((await stat(stage.directory.join('file'))).mode & 0o7777).toBe(0o600),
  },
  'SITE of any kind': {
    ask: async (client) => (await client.site('CHMOD 640 /file'))[0],
    lines: ['SITE CHMOD 640 /file'],
    gives: '200 SITE CHMOD command ok.',
    wants: 'any 2yz',
  },
  MLST: {
    ask: (client) => client.machineEntry('/file'),
    lines: ['MLST /file'],
    gives: { name: '/file', type: 'file', sizeBytes: 10, modifiedMs: timeMs, permissions: 0o644 },
  },
  HASH: hashed('HASH', 'SHA-256', digest('sha256')),
  XSHA256: hashed('XSHA256', 'SHA-256', digest('sha256')),
  XSHA1: hashed('XSHA1', 'SHA-1', digest('sha1')),
  XMD5: hashed('XMD5', 'MD5', digest('md5')),
  XCRC: hashed('XCRC', 'CRC32', crc32(content).toString(16).padStart(8, '0')),
  ALLO: { ask: (client) => client.allocate(4096), lines: ['ALLO 4096'] },
  STAT: {
    ask: async (client) => (await client.status()).length,
    lines: ['STAT'],
    gives: 3,
    wants: 'any 2yz',
  },
  'STAT of a path': {
    ask: async (client) => (await client.status('/')).filter((line) => / (file|sub)$/.test(line)).length,
    lines: ['STAT /'],
    gives: 2,
    wants: 'any 2yz',
  },
  ABOR: { ask: (client) => client.abort(), lines: ['ABOR'], wants: 'any 2yz' },
  STOR: {
    ask: (client) => client.store('/new', chunksOf('abc', 'def'), passive),
    lines: ['EPSV', 'STOR /new'],
    gives: 6,
    then: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abcdef'),
    wants: 'a transfer',
  },
  'REST and STOR': {
    ask: (client) => client.store('/file', chunksOf('ab'), { ...passive, fromByte: 4 }),
    lines: ['EPSV', 'REST 4', 'STOR /file'],
    gives: 2,
    then: async (stage) =>
      expect(await readFile(stage.directory.join('file'), 'utf8')).toBe('0123ab6789'),
    wants: '3yz',
  },
  APPE: {
    ask: (client) => client.append('/file', chunksOf('ab'), passive),
    lines: ['EPSV', 'APPE /file'],
    gives: 2,
    then: async (stage) =>
      expect(await readFile(stage.directory.join('file'), 'utf8')).toBe('0123456789ab'),
    wants: 'a transfer',
  },
  RETR: {
    ask: (client) => read(client, '/file'),
    lines: ['EPSV', 'RETR /file'],
    gives: content,
    wants: 'a transfer',
  },
  'REST and RETR': {
    ask: (client) => read(client, '/file', { ...passive, fromByte: 4 }),
    lines: ['EPSV', 'REST 4', 'RETR /file'],
    gives: '456789',
    wants: '3yz',
  },
  MLSD: {
    ask: async (client) => (await client.machineListing('/', passive)).entries.map(({ name }) => name),
    lines: ['EPSV', 'MLSD /'],
    gives: ['file', 'sub'],
    wants: 'a transfer',
  },
  LIST: {
    ask: async (client) => (await client.listing(passive)).entries.map(({ name }) => name),
    // The scripted server takes `-a` and shows no `.`, so it is asked again.
    lines: ['EPSV', 'LIST -a', 'EPSV', 'LIST'],
    gives: ['file', 'sub'],
    wants: 'a transfer',
  },
  'LIST of a path': {
    ask: async (client) => (await client.listing(passive, '/sub')).entries,
    lines: ['EPSV', 'LIST -a /sub', 'EPSV', 'LIST /sub'],
    gives: [],
    wants: 'a transfer',
  },
  NLST: {
    ask: (client) => client.names(passive),
    lines: ['EPSV', 'NLST'],
    gives: ['file', 'sub'],
    wants: 'a transfer',
  },
  'NLST of a path': {
    ask: (client) => client.names(passive, '/sub'),
    lines: ['EPSV', 'NLST /sub'],
    gives: [],
    wants: 'a transfer',
  },
  EPSV: {
    ask: (client) => client.store('/new', chunksOf('abc'), passive),
    lines: ['EPSV', 'STOR /new'],
    wants: 'a port',
  },
  PASV: {
    ask: (client) => client.store('/new', chunksOf('abc'), { mode: 'PASV' }),
    lines: ['PASV', 'STOR /new'],
    then: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abc'),
    wants: 'a port',
  },
  EPRT: {
    ask: (client) => client.store('/new', chunksOf('abc'), { mode: 'EPRT' }),
    lines: ['EPRT', 'STOR /new'],
    then: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abc'),
  },
  PORT: {
    ask: (client) => read(client, '/file', { mode: 'PORT' }),
    lines: ['PORT', 'RETR /file'],
    gives: content,
  },
};
const names = Object.keys(cases);

function caseOf(name: string): Case {
  const found = cases[name];
  if (found === undefined) throw new Error(`There is no ${name}`);
  return found;
}

/** The verb that the scripted replies are for. */
function verbOf(name: string): string {
  const [first = '', second] = name.split(' ');
  return second === 'and' ? 'REST' : first;
}

function sent(stage: Stage, from: number): string[] {
  return stage.server.journal.commands
    .slice(from)
    .map(({ verb, argument }) => (verb === 'EPRT' || verb === 'PORT' ? verb : `${verb} ${argument}`.trim()));
}

test('the list is complete', () => {
  const wanted =
    'CWD CDUP PWD TYPE MODE STRU ALLO STOR APPE RETR RNFR RNTO DELE MKD RMD MLSD MLST LIST NLST SIZE MDTM MFMT FEAT OPTS STAT NOOP HASH XCRC XMD5 XSHA1 XSHA256 CLNT HOST ABOR PORT EPRT PASV EPSV';
  expect(names).toEqual(expect.arrayContaining(wanted.split(' ')));
});

describe('what is sent, and what comes of it', () => {
  test.each(names)('%s', async (name) => {
    const { ask, lines, gives, then } = caseOf(name);
    await using stage = await open();
    const client = await stage.login();
    const before = stage.server.journal.commands.length;
    const given = await ask(client);
    expect(sent(stage, before)).toEqual(lines);
    if (gives !== undefined) expect(given).toEqual(gives);
    await then?.(stage);
    // What a verb leaves behind must not be felt by the next one.
    expect(await client.store('/after', chunksOf('after'), passive)).toBe(5);
    expect(await readFile(stage.directory.join('after'), 'utf8').catch(() => 'elsewhere')).toMatch(
      name === 'CWD' ? /^after$/ : 'after',
    );
  });

  test.each(['explicit', 'implicit'] as const)('all of them in one session, %s TLS', async (security) => {
    await using stage = await open({ security, requireTls: true, requireSessionReuse: true });
    for (const name of names) {
      await writeFile(stage.directory.join('file'), content);
      await utimes(stage.directory.join('file'), timeMs / 1000, timeMs / 1000);
      await chmod(stage.directory.join('file'), 0o644);
      await mkdir(stage.directory.join('sub'), { recursive: true });
      const client = name === 'HOST' || stage.server.journal.logins === 0 ? await stage.login() : undefined;
      if (client !== undefined) session = client;
      if (session === undefined) throw new Error('There is no session');
      await session.changeDirectory('/');
      for (const left of ['new', 'renamed', 'sub/renamed']) await removeAll(stage, left);
      if (name.includes('of a path')) continue;
      const { ask, then } = caseOf(name);
      await ask(session);
      await then?.(stage);
    }
    session = undefined;
    expect(stage.server.journal.connections).toBe(1);
    expect(stage.server.journal.resumedDataConnections).toBe(stage.server.journal.dataConnections);
  });
});
