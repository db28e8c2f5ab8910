/*
 * Every verb of the client against the scripted server: the line that goes out, what it does on the server's disk, what
 * each class of reply makes of it, and what cannot travel in it. control.test.ts has the faults of the connection,
 * transfer.test.ts those of the data, real-verbs.test.ts what real servers say.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
  await prepare(stage);
  return stage;
}

/** What every case starts from. */
async function prepare({ directory }: Stage): Promise<void> {
  await writeFile(directory.join('file'), content);
  await chmod(directory.join('file'), 0o644);
  await utimes(directory.join('file'), timeMs / 1000, timeMs / 1000);
  await mkdir(directory.join('sub'));
}

async function emptied(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true });
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
  readonly leaves?: (stage: Stage) => Promise<unknown>;
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
    leaves: async (stage) => expect((await stat(stage.directory.join('new'))).isDirectory()).toBe(true),
  },
  RMD: {
    ask: (client) => client.removeDirectory('/sub'),
    lines: ['RMD /sub'],
    leaves: async (stage) => expect(await there(stage, 'sub')).toBe(false),
  },
  DELE: {
    ask: (client) => client.remove('/file'),
    lines: ['DELE /file'],
    leaves: async (stage) => expect(await there(stage, 'file')).toBe(false),
  },
  RNFR: {
    ask: (client) => client.rename('/file', '/renamed'),
    lines: ['RNFR /file', 'RNTO /renamed'],
    leaves: async (stage) => {
      expect(await there(stage, 'file')).toBe(false);
      expect(await readFile(stage.directory.join('renamed'), 'utf8')).toBe(content);
    },
    wants: '3yz',
  },
  RNTO: {
    ask: (client) => client.rename('/file', '/sub/renamed'),
    lines: ['RNFR /file', 'RNTO /sub/renamed'],
    leaves: async (stage) => expect(await there(stage, 'sub/renamed')).toBe(true),
  },
  SIZE: { ask: (client) => client.size('/file'), lines: ['SIZE /file'], gives: 10 },
  MDTM: { ask: (client) => client.modified('/file'), lines: ['MDTM /file'], gives: timeMs },
  'MDTM to set': {
    ask: (client) => client.setModified('/file', timeMs - 1000, 'MDTM'),
    lines: ['MDTM 20200913122639 /file'],
    leaves: async (stage) => expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 1000),
  },
  MFMT: {
    ask: (client) => client.setModified('/file', timeMs - 2000, 'MFMT'),
    lines: ['MFMT 20200913122638 /file'],
    leaves: async (stage) => expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 2000),
  },
  'SITE UTIME': {
    ask: (client) => client.setModified('/file', timeMs - 3000, 'SITE UTIME'),
    lines: ['SITE UTIME 20200913122637 /file'],
    leaves: async (stage) => expect((await stat(stage.directory.join('file'))).mtimeMs).toBe(timeMs - 3000),
  },
  'SITE CHMOD': {
    ask: (client) => client.setPermissions('/file', 0o100600),
    lines: ['SITE CHMOD 600 /file'],
    leaves: async (stage) => expect((await stat(stage.directory.join('file'))).mode & 0o7777).toBe(0o600),
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
    leaves: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abcdef'),
    wants: 'a transfer',
  },
  'REST and STOR': {
    ask: (client) => client.store('/file', chunksOf('ab'), { ...passive, fromByte: 4 }),
    lines: ['EPSV', 'REST 4', 'STOR /file'],
    gives: 2,
    leaves: async (stage) => expect(await readFile(stage.directory.join('file'), 'utf8')).toBe('0123ab6789'),
    wants: '3yz',
  },
  APPE: {
    ask: (client) => client.append('/file', chunksOf('ab'), passive),
    lines: ['EPSV', 'APPE /file'],
    gives: 2,
    leaves: async (stage) =>
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
    leaves: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abc'),
    wants: 'a port',
  },
  EPRT: {
    ask: (client) => client.store('/new', chunksOf('abc'), { mode: 'EPRT' }),
    lines: ['EPRT', 'STOR /new'],
    leaves: async (stage) => expect(await readFile(stage.directory.join('new'), 'utf8')).toBe('abc'),
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

/** Where a rule for it strikes. */
function on(name: string): RegExp {
  return new RegExp(`^${verbOf(name)}(?: |$)`);
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
    const { ask, lines, gives, leaves } = caseOf(name);
    await using stage = await open();
    const client = await stage.login();
    const before = stage.server.journal.commands.length;
    const given = await ask(client);
    expect(sent(stage, before)).toEqual(lines);
    if (gives !== undefined) expect(given).toEqual(gives);
    await leaves?.(stage);
    // What a verb leaves behind must not be felt by the next one.
    expect(await client.store('/after', chunksOf('after'), passive)).toBe(5);
    expect(await readFile(stage.directory.join('after'), 'utf8')).toBe('after');
  });

  test.each(['explicit', 'implicit'] as const)('all of them in one session, %s TLS', async (security) => {
    await using stage = await open({ security, requireTls: true, requireSessionReuse: true });
    const client = await stage.login();
    for (const name of names) {
      await emptied(stage.directory.path);
      await prepare(stage);
      await client.changeDirectory('/');
      const { ask, gives, leaves } = caseOf(name);
      const given = await ask(client);
      if (gives !== undefined) expect(given, name).toEqual(gives);
      await leaves?.(stage);
    }
    const { journal } = stage.server;
    expect(journal.connections).toBe(1);
    expect(journal.dataConnections).toBeGreaterThan(15);
    expect(journal.resumedDataConnections).toBe(journal.dataConnections);
  });

  test('over IPv6: EPSV and EPRT', async () => {
    await using stage = await open({ host: '::1' });
    const client = await stage.login();
    for (const mode of ['EPSV', 'EPRT'] as const) {
      await client.store(`/${mode}`, chunksOf(mode), { mode });
      expect(await read(client, `/${mode}`, { mode })).toBe(mode);
    }
    expect(await failure(client.store('/x', chunksOf('x'), { mode: 'PORT' }))).toMatchObject({
      kind: 'data',
      phase: 'data-setup',
    });
    expect(client.ended).toBe(false);
  });
});

describe('classes of replies', () => {
  const quiet = names.filter((name) => caseOf(name).wants !== 'a transfer');

  test.each(quiet)('%s: a preliminary reply is passed over, but is no answer', async (name) => {
    await using stage = await open();
    const client = await stage.login({ replyTimeoutMs: 250 });
    stage.server.script({ on: on(name), do: { kind: 'prepend', bytes: '150 Wait.\r\n' } });
    await caseOf(name).ask(client);
    await emptied(stage.directory.path);
    await prepare(stage);
    await client.changeDirectory('/');
    stage.server.behave();
    stage.server.script({ on: on(name), do: { kind: 'reply', text: '150 Wait.' } });
    // The 503 to RNTO counts as the answer to the RNFR in the same packet that has none.
    const verb = verbOf(name) === 'RNFR' ? 'RNTO' : verbOf(name);
    expect(await failure(caseOf(name).ask(client))).toMatchObject({ kind: 'timeout', verb });
    expect(client.ended).toBe(true);
  });

  test.each(names)('%s: a consent of another class ends the session', async (name) => {
    const { ask, wants = 'a 2yz' } = caseOf(name);
    for (const text of wants === '3yz' ? ['200 Done.', '226 Done.'] : ['350 Go on.', '331 Password.']) {
      await using stage = await open();
      const client = await stage.login();
      stage.server.script({ on: on(name), do: { kind: 'reply', text } });
      const error = await failure(ask(client));
      // For a transfer the server never opens its side, so the data connection may be what fails.
      expect(wants === 'a transfer' ? ['malformed', 'data', 'stalled'] : ['malformed']).toContain(error.kind);
      expect(client.ended).toBe(true);
    }
  });

  test.each(names)('%s: the second 226 of a transfer is no answer to it', async (name) => {
    const { ask, wants = 'a 2yz' } = caseOf(name);
    if (wants === 'a transfer') return;
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: on(name), do: { kind: 'prepend', bytes: '226 Transfer complete.\r\n' } });
    if (wants === 'any 2yz') {
      // ABOR is answered with it; STAT and SITE are the server's own.
      await ask(client);
      expect(client.ended).toBe(false);
      return;
    }
    const error = await failure(ask(client));
    expect(error).toMatchObject({ kind: 'malformed', reply: { code: 226 } });
    expect(error.message).toContain('out of step');
    expect(client.ended).toBe(true);
  });

  test.each(names)('%s: 4yz and 5yz are told as they are, and all stays in step', async (name) => {
    await using stage = await open();
    const client = await stage.login();
    for (const code of [425, 450, 452, 500, 502, 504, 530, 532, 550, 553]) {
      const rule = stage.server.script({
        on: on(name),
        nth: 'every',
        do: { kind: 'reply', text: `${code}-No,\n${code} not today.` },
      });
      const error = await failure(caseOf(name).ask(client));
      expect(error, String(code)).toMatchObject({
        kind: 'reply',
        verb: verbOf(name),
        reply: { code, lines: [`${code}-No,`, `${code} not today.`] },
      });
      expect(error.message).toContain('No, / not today.');
      rule.remove();
      await client.changeDirectory('/');
    }
    expect(await client.store('/after', chunksOf('after'), passive)).toBe(5);
    expect(await readFile(stage.directory.join('after'), 'utf8')).toBe('after');
  });
});

describe('REST', () => {
  test('an offset that was told and not used is taken back', async () => {
    await using stage = await open();
    const client = await stage.login();
    const controller = new AbortController();
    const stop = stage.server.on('command', (verb) => {
      if (verb === 'REST') controller.abort();
    });
    const options = { ...passive, fromByte: 4, signal: controller.signal };
    expect(await failure(client.store('/file', chunksOf('ab'), options))).toMatchObject({ kind: 'aborted' });
    stop();
    expect(client.ended).toBe(false);
    const before = stage.server.journal.commands.length;
    await client.store('/whole', chunksOf('whole'), passive);
    await client.store('/next', chunksOf('next'), passive);
    expect(sent(stage, before)).toEqual(['EPSV', 'REST 0', 'STOR /whole', 'EPSV', 'STOR /next']);
    expect(await readFile(stage.directory.join('whole'), 'utf8')).toBe('whole');
    expect(await readFile(stage.directory.join('file'), 'utf8')).toBe(content);
  });

  test('also where its transfer was refused, and where it was not', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: 'STOR', do: { kind: 'reply', text: '553 Not this one.' } });
    const before = stage.server.journal.commands.length;
    await failure(client.store('/file', chunksOf('ab'), { ...passive, fromByte: 4 }));
    await client.store('/file', chunksOf('ab'), { ...passive, fromByte: 5 });
    expect(await read(client, '/file')).toBe('01234ab789');
    expect(sent(stage, before).filter((line) => line !== 'EPSV')).toEqual([
      'REST 4',
      'STOR /file',
      'REST 5',
      'STOR /file',
      'REST 0',
      'RETR /file',
    ]);
  });

  test('a server that will not take it back is left', async () => {
    await using stage = await open();
    const client = await stage.login();
    await client.store('/file', chunksOf('ab'), { ...passive, fromByte: 4 });
    stage.server.script({ on: 'REST', do: { kind: 'reply', text: '501 Not zero.' } });
    expect(await failure(client.store('/whole', chunksOf('x'), passive))).toMatchObject({
      kind: 'reply',
      verb: 'REST',
    });
    expect(client.ended).toBe(true);
    expect(await there(stage, 'whole')).toBe(false);
  });

  test('one that is refused leaves nothing behind', async () => {
    await using stage = await open({ features: { ...everything.features, REST: false } });
    const client = await stage.login();
    const error = await failure(client.store('/file', chunksOf('ab'), { ...passive, fromByte: 4 }));
    expect(error).toMatchObject({ kind: 'reply', phase: 'features', verb: 'REST' });
    const before = stage.server.journal.commands.length;
    await client.store('/file', chunksOf('ab'), passive);
    expect(sent(stage, before)).toEqual(['EPSV', 'STOR /file']);
  });

  test('no transfer begins at a place that is none', async () => {
    await using stage = await open();
    const client = await stage.login();
    const before = stage.server.journal.commands.length;
    for (const fromByte of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      const error = await failure(client.store('/file', chunksOf('ab'), { ...passive, fromByte }));
      expect(error).toMatchObject({ kind: 'argument', verb: 'STOR' });
    }
    for (const sizeBytes of [-1, 1.5, Number.NaN, 2 ** 53]) {
      expect(await failure(client.allocate(sizeBytes))).toMatchObject({ kind: 'argument', verb: 'ALLO' });
    }
    expect(sent(stage, before)).toEqual([]);
    await client.allocate(Number.MAX_SAFE_INTEGER);
    expect(sent(stage, before)).toEqual(['ALLO 9007199254740991']);
  });
});

describe('arguments', () => {
  const uses: Readonly<Record<string, (client: FtpClient, text: string) => Promise<unknown>>> = {
    HOST: (client, text) => client.host(text),
    CLNT: (client, text) => client.introduce(text),
    OPTS: (client, text) => client.option(text),
    CWD: (client, text) => client.changeDirectory(text),
    MKD: (client, text) => client.makeDirectory(text),
    RMD: (client, text) => client.removeDirectory(text),
    DELE: (client, text) => client.remove(text),
    RNFR: (client, text) => client.rename(text, '/fine'),
    RNTO: (client, text) => client.rename('/fine', text),
    SIZE: (client, text) => client.size(text),
    MDTM: (client, text) => client.modified(text),
    MLST: (client, text) => client.machineEntry(text),
    HASH: (client, text) => client.hash(text, { verb: 'HASH', algorithm: 'SHA-256' }, 0),
    STAT: (client, text) => client.status(text),
    SITE: (client, text) => client.site(text),
    STOR: (client, text) => client.store(text, chunksOf('x'), passive),
    APPE: (client, text) => client.append(text, chunksOf('x'), passive),
    RETR: (client, text) => read(client, text),
    MLSD: (client, text) => client.machineListing(text, passive),
    NLST: (client, text) => client.names(passive, text),
    USER: (client, user) => client.login({ user, password: 'x', account: undefined }),
  };
  /** Behind other words the argument is never empty. */
  const behindWords: Readonly<Record<string, (client: FtpClient, text: string) => Promise<unknown>>> = {
    MFMT: (client, text) => client.setModified(text, timeMs, 'MFMT'),
    'SITE UTIME': (client, text) => client.setModified(text, timeMs, 'SITE UTIME'),
    'SITE CHMOD': (client, text) => client.setPermissions(text, 0o644),
    LIST: (client, text) => client.listing(passive, text),
    XMD5: (client, text) => client.hash(`a ${text}`, { verb: 'XMD5', algorithm: 'MD5' }, 0),
    'MDTM, many': (client, text) => client.modifiedAll(['/fine', text]),
  };
  const hostile = ['/a\r\nDELE /file', '/a\nDELE /file', '/a\rb', '/a\0b', '\r', '\n', '\0', 'a\r\n'];

  test.each(Object.entries({ ...uses, ...behindWords }))(
    '%s: no second command, nothing is sent',
    async (_name, use) => {
      await using stage = await open();
      const client = await stage.login();
      const before = stage.server.journal.commands.length;
      for (const text of hostile) {
        const error = await failure(Promise.resolve().then(() => use(client, text)));
        expect(error).toMatchObject({ kind: 'argument' });
        expect(error.message).not.toContain('DELE /file');
      }
      expect(client.ended).toBe(false);
      expect(await client.size('/file')).toBe(10);
      expect(sent(stage, before)).toEqual(['SIZE /file']);
    },
  );

  test.each(Object.entries(uses))('%s: no empty name is sent', async (_name, use) => {
    await using stage = await open();
    const client = await stage.login();
    const before = stage.server.journal.commands.length;
    const error = await failure(Promise.resolve().then(() => use(client, '')));
    expect(error).toMatchObject({ kind: 'argument' });
    expect(error.message).toBe(`An empty name cannot be sent to ${client.where}.`);
    expect(sent(stage, before)).toEqual([]);
    expect(client.ended).toBe(false);
  });

  test('what a charset lacks is refused, and what it makes of a name is looked at for line ends', async () => {
    await using stage = await open();
    const client = await stage.login({ charset: charsetOf('windows-1252') });
    const before = stage.server.journal.commands.length;
    for (const path of ['/Файл', '/a\r\nDELE /file']) {
      expect(await failure(client.remove(path))).toMatchObject({ kind: 'argument', verb: 'DELE' });
    }
    expect(sent(stage, before)).toEqual([]);
    await client.makeDirectory('/Füße €');
    expect(await readdir(stage.directory.path, { encoding: 'buffer' })).toContainEqual(
      Buffer.from('F\xfc\xdfe \x80', 'latin1'),
    );
    const raw = Buffer.from('257 "/F\xfc\xdfe \x80"\r\n', 'latin1');
    stage.server.script({ on: 'PWD', do: { kind: 'bytes', pieces: raw } });
    expect(await client.workingDirectory()).toBe('/Füße €');
  });
});

describe('names, as NLST tells them', () => {
  interface List {
    readonly body: string | Buffer;
    readonly path?: string;
    /** Undefined where the list is not whole. */
    readonly names: readonly string[] | undefined;
  }
  const lists: Readonly<Record<string, List>> = {
    'lines that end with CR LF': { body: 'a\r\nb c\r\n', names: ['a', 'b c'] },
    'lines that end with LF': { body: 'a\nb c\n', names: ['a', 'b c'] },
    'empty lines': { body: '\r\na\r\n\r\n', names: ['a'] },
    nothing: { body: '', names: [] },
    'a last line without its end': { body: 'a\r\nb', names: undefined },
    'one line without its end': { body: 'a', names: undefined },
    'a last line with half of its end': { body: 'a\r\nb\r', names: undefined },
    'a carriage return that belongs to a name': { body: 'a\nb\r\nc\n', names: ['a', 'b\r', 'c'] },
    'spaces that belong to names': { body: ' a\r\nb \r\n', names: [' a', 'b '] },
    'the directory in front': { body: '/sub/a\r\n/sub/b\r\n', path: '/sub', names: ['a', 'b'] },
    'the directory in front, asked for with a slash': { body: '/sub/a\r\n', path: '/sub/', names: ['a'] },
    'the root in front': { body: '/a\r\n/b\r\n', path: '/', names: ['a', 'b'] },
    'a dot in front': { body: './a\r\n./b\r\n', names: ['a', 'b'] },
    'the directory in front of some': { body: 'sub/a\r\nb\r\n', path: 'sub', names: ['a', 'b'] },
    'another directory in front': { body: '/sub/deep/a\r\n', path: '/elsewhere', names: ['/sub/deep/a'] },
    'a directory below': { body: '/sub/deep/a\r\n', path: '/sub', names: ['deep/a'] },
    'the directory alone': { body: '/sub/\r\n/sub\r\n', path: '/sub', names: ['/sub/', '/sub'] },
    'dots for the directory itself': { body: '.\r\n..\r\na\r\n', names: ['.', '..', 'a'] },
    'a name that is no UTF-8': { body: Buffer.from('a\xff\r\n', 'latin1'), names: ['a\\xff'] },
  };

  test.each(Object.entries(lists))('%s', async (_name, { body, path, names: expected }) => {
    await using stage = await open();
    const client = await stage.login();
    await mkdir(stage.directory.join('elsewhere'));
    stage.server.script({ on: 'NLST', do: { kind: 'content', bytes: body } });
    const asked = client.names(passive, path);
    if (expected !== undefined) {
      expect(await asked).toEqual(expected);
      return;
    }
    const error = await failure(asked);
    expect(error).toMatchObject({ kind: 'data', phase: 'transfer', verb: 'NLST' });
    expect(error.message).toContain('is not whole');
    expect(client.ended).toBe(false);
    expect(await client.names(passive)).toEqual(['elsewhere', 'file', 'sub']);
  });

  test('a list that says that it was truncated is not whole', async () => {
    await using stage = await open({ listingLimit: 1 });
    const client = await stage.login();
    const error = await failure(client.names(passive));
    expect(error).toMatchObject({ kind: 'data', verb: 'NLST' });
    expect(error.message).toContain('left some out');
  });

  test('nor is one that ended without the goodbye of TLS', async () => {
    await using stage = await open({ security: 'explicit' });
    const client = await stage.login();
    expect(await client.names(passive)).toEqual(['file', 'sub']);
    stage.server.script({ on: 'NLST', do: { kind: 'noCloseNotify' } });
    expect(await failure(client.names(passive))).toMatchObject({ kind: 'data', verb: 'NLST' });
    expect(client.ended).toBe(false);
  });

  test('names in the charset of the server', async () => {
    await using stage = await open();
    await writeFile(Buffer.from(`${stage.directory.path}/F\xfc\xdfe`, 'latin1'), '');
    const client = await stage.login({ charset: charsetOf('windows-1252') });
    expect(await client.names(passive)).toEqual(['Füße', 'file', 'sub']);
  });
});

describe('time', () => {
  const large = Buffer.alloc(12 * 1024 * 1024, 'x');
  const ways: Readonly<Record<string, StageOptions>> = { plain: {}, TLS: { security: 'explicit' } };
  const modes: readonly DataMode[] = ['EPSV', 'EPRT'];
  const each = Object.entries(ways).flatMap(([way, options]) =>
    modes.map((mode) => ({ way, options, mode })),
  );

  async function* trickle(): AsyncGenerator<Buffer> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      yield Buffer.from('x');
    }
  }

  async function* huge(): AsyncGenerator<Buffer> {
    for (;;) yield large;
  }

  type Ask = (client: FtpClient, options: TransferOptions) => Promise<unknown>;
  /** What moves for ever, a byte at a time or as fast as it can. */
  const endless: Readonly<Record<string, Ask>> = {
    STOR: (client, options) => client.store('/new', trickle(), options),
    APPE: (client, options) => client.append('/file', trickle(), options),
    // The sink takes up to a MiB at a time: slow enough that twelve of them outlast any deadline here.
    RETR: (client, options) =>
      client.retrieve('/large', () => new Promise((resolve) => setTimeout(resolve, 100)), options),
  };
  /** What stands still at its fourth byte. */
  const stuck: Readonly<Record<string, Ask>> = {
    STOR: (client, options) => client.store('/new', huge(), options),
    APPE: (client, options) => client.append('/file', huge(), options),
    RETR: (client, options) => client.retrieve('/file', async () => {}, options),
    MLSD: (client, options) => client.machineListing('/', options),
    LIST: (client, options) => client.listing(options),
    NLST: (client, options) => client.names(options),
  };

  async function stall(options: StageOptions): Promise<Stage> {
    const stage = await open(options);
    for (const on of Object.keys(stuck)) stage.server.script({ on, do: { kind: 'dataStall', atByte: 4 } });
    return stage;
  }

  /** No transfer was taken for whole, and nothing waits any more. */
  async function over(stage: Stage, client: FtpClient): Promise<void> {
    expect(client.ended).toBe(true);
    await stage.server.until((journal) => journal.open === 0);
    expect(stage.server.journal.stored).toBe(0);
  }

  async function begun(stage: Stage, verb: string): Promise<void> {
    await stage.server.until((journal) =>
      journal.of(verb).some(({ replies }) => replies.some((reply) => reply.startsWith('150'))),
    );
  }

  describe.each(each)('$way, $mode', ({ options, mode }) => {
    test.each(Object.entries(endless))('%s: the deadline ends what only moves', async (_verb, ask) => {
      await using stage = await open(options);
      await writeFile(stage.directory.join('large'), large);
      const client = await stage.login({ transferTimeoutMs: 150 });
      const error = await failure(ask(client, { mode }));
      expect(error).toHaveProperty('kind', 'stalled');
      expect(error.message).toContain('took longer than 150 ms for one transfer');
      await over(stage, client);
    });

    test.each(Object.entries(stuck))('%s: the deadline ends what stands still', async (_verb, ask) => {
      await using stage = await stall(options);
      const client = await stage.login({ transferTimeoutMs: 150 });
      const error = await failure(ask(client, { mode }));
      expect(error).toHaveProperty('kind', 'stalled');
      expect(error.message).toContain('took longer than 150 ms');
      await over(stage, client);
    });

    test.each(Object.entries(stuck))('%s: so does the stall limit', async (_verb, ask) => {
      await using stage = await stall(options);
      const client = await stage.login({ stallTimeoutMs: 120 });
      const error = await failure(ask(client, { mode }));
      expect(error).toMatchObject({ kind: 'stalled', phase: 'transfer' });
      expect(error.message).toContain('moved no byte for 120 ms');
      await over(stage, client);
    });

    test.each(Object.entries(endless))('%s: an abort ends what moves', async (verb, ask) => {
      await using stage = await open(options);
      await writeFile(stage.directory.join('large'), large);
      const client = await stage.login();
      const controller = new AbortController();
      const asked = failure(ask(client, { mode, signal: controller.signal }));
      await begun(stage, verb);
      controller.abort();
      // Whatever the server says of it by the time the source or sink is left.
      expect((await asked).kind).toBe('aborted');
      await over(stage, client);
    });

    test.each(Object.entries(stuck))('%s: and so does whoever wants it no more', async (verb, ask) => {
      await using stage = await stall(options);
      const client = await stage.login();
      const controller = new AbortController();
      const asked = failure(ask(client, { mode, signal: controller.signal }));
      await begun(stage, verb);
      controller.abort();
      expect((await asked).kind).toBe('aborted');
      await over(stage, client);
    });
  });
});
