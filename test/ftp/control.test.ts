/*
 * Commands out, replies in: every verb against a server that falls silent, hangs up, tears its replies or delays them,
 * and what must never happen on the way: a second command in an argument, a reply that vouches for another command.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { charsetOf } from '../../src/ftp/charset.js';
import type { FtpClient } from '../../src/ftp/client.js';
import { ControlConnection, type ControlOptions } from '../../src/ftp/control.js';
import { chunksOf, failure, Stage } from './stage.js';

const passive = { mode: 'EPSV' } as const;
const timeMs = Date.UTC(2020, 8, 13, 12, 26, 40);
const account = undefined;

const stepOf = (path: string) =>
  ({ path, modifiedMs: timeMs, form: 'MFMT', hash: undefined, hashingMs: 0, clock: 'leave' }) as const;

/** Every verb of the client, by the command that it sends. */
const verbs: Readonly<Record<string, (client: FtpClient) => Promise<unknown>>> = {
  USER: (client) => client.login({ user: 'ferry', password: 'secret', account }),
  PASS: (client) => client.login({ user: 'ferry', password: 'secret', account }),
  FEAT: (client) => client.features(),
  OPTS: (client) => client.option('UTF8 ON'),
  TYPE: (client) => client.useBinary(),
  PWD: (client) => client.workingDirectory(),
  CWD: (client) => client.changeDirectory('/'),
  CDUP: (client) => client.changeToParent(),
  MODE: (client) => client.useStream(),
  STRU: (client) => client.useFileStructure(),
  NOOP: (client) => client.ping(),
  CLNT: (client) => client.introduce('a test'),
  HOST: (client) => client.host('nas.example.net'),
  MLST: (client) => client.machineEntry('/file'),
  ALLO: (client) => client.allocate(1),
  STAT: (client) => client.status(),
  HASH: (client) => client.hash('/file', { verb: 'HASH', algorithm: 'SHA-256' }, 0),
  XCRC: (client) => client.hash('/file', { verb: 'XCRC', algorithm: 'CRC32' }, 0),
  REST: (client) => client.retrieve('/file', async () => {}, { ...passive, fromByte: 3 }),
  ABOR: (client) => client.abort(),
  SIZE: (client) => client.size('/file'),
  MDTM: (client) => client.modified('/file'),
  MFMT: (client) => client.setModified('/file', timeMs, 'MFMT'),
  SITE: (client) => client.setModified('/file', timeMs, 'SITE UTIME'),
  MKD: (client) => client.makeDirectory('/new'),
  RMD: (client) => client.removeDirectory('/sub'),
  DELE: (client) => client.remove('/file'),
  RNFR: (client) => client.rename('/file', '/renamed'),
  RNTO: (client) => client.rename('/file', '/renamed'),
  EPSV: (client) => client.store('/stored', chunksOf('x'), passive),
  PASV: (client) => client.store('/stored', chunksOf('x'), { mode: 'PASV' }),
  EPRT: (client) => client.store('/stored', chunksOf('x'), { mode: 'EPRT' }),
  PORT: (client) => client.store('/stored', chunksOf('x'), { mode: 'PORT' }),
  STOR: (client) => client.store('/stored', chunksOf('x'), passive),
  APPE: (client) => client.append('/file', chunksOf('x'), passive),
  RETR: (client) => client.retrieve('/file', async () => {}, passive),
  MLSD: (client) => client.machineListing('/', passive),
  LIST: (client) => client.listing(passive),
  NLST: (client) => client.names(passive),
};
const names = Object.keys(verbs);
const transfers = ['STOR', 'APPE', 'RETR', 'MLSD', 'LIST', 'NLST'];

async function ask(client: FtpClient, verb: string): Promise<unknown> {
  const work = verbs[verb];
  if (work === undefined) throw new Error(`There is no ${verb}`);
  return work(client);
}

async function open(): Promise<Stage> {
  const stage = await Stage.open({ features: { HASH: true, HOST: true, XCRC: true } });
  await writeFile(stage.directory.join('file'), 'content');
  await mkdir(stage.directory.join('sub'));
  return stage;
}

describe('every verb', () => {
  test.each(names)('%s: works, also byte by byte and late', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({
      on: verb,
      nth: 'every',
      do: [
        { kind: 'split', offsets: 'every-byte', pauseMs: 0 },
        { kind: 'delay', ms: 20, at: 'final' },
      ],
    });
    await ask(client, verb);
    stage.server.behave();
    expect(await client.workingDirectory()).toBe('/');
  });

  test.each(names)('%s: with LF alone and in one packet with the next', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, nth: 'every', do: { kind: 'lineEnding', ending: '\n' } });
    await ask(client, verb);
    expect(await client.workingDirectory()).toBe('/');
  });

  test.each(names)('%s: silence is a timeout, and the end', async (verb) => {
    await using stage = await open();
    const client = await stage.login({ replyTimeoutMs: 120, stallTimeoutMs: 120 });
    stage.server.script({ on: verb, do: { kind: 'hang' }, nth: 'every' });
    const error = await failure(ask(client, verb));
    // Where data was under way, the data connection says it first, or all went out and nobody confirmed it.
    const kinds = transfers.includes(verb) ? ['data', 'stalled', 'unconfirmed', 'timeout'] : ['timeout'];
    expect(kinds).toContain(error.kind);
    expect(client.ended).toBe(true);
  });

  test.each(names.flatMap((verb) => [[verb, 'reset'] as const, [verb, 'close'] as const]))(
    '%s: a %s is a lost connection',
    async (verb, kind) => {
      await using stage = await open();
      const client = await stage.login();
      stage.server.script({ on: verb, do: { kind }, nth: 'every' });
      const error = await failure(ask(client, verb));
      expect(transfers.includes(verb) ? ['lost', 'data', 'unconfirmed'] : ['lost']).toContain(error.kind);
      expect(client.ended).toBe(true);
      expect(await failure(client.workingDirectory())).toHaveProperty('kind');
    },
  );

  test.each(names)('%s: a reply that is cut off is no reply', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'cut', atByte: 6, ending: 'close' }, nth: 'every' });
    expect(['lost', 'unconfirmed']).toContain((await failure(ask(client, verb))).kind);
    expect(client.ended).toBe(true);
  });

  test.each(names)('%s: what is no reply ends the connection', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'bytes', pieces: 'What?\r\n' }, nth: 'every' });
    expect(transfers.includes(verb) ? ['malformed', 'unconfirmed', 'data'] : ['malformed']).toContain(
      (await failure(ask(client, verb))).kind,
    );
    expect(client.ended).toBe(true);
  });

  test.each(names)('%s: 421 is told as it is, and the connection is over', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'reply', text: '421 Going down.' }, nth: 'every' });
    const error = await failure(ask(client, verb));
    expect(error.reply?.code).toBe(421);
    // Where another command travels in the same write, its loss is told.
    expect(verb === 'RNFR' ? ['reply', 'lost'] : ['reply']).toContain(error.kind);
    expect(client.ended).toBe(true);
  });

  test.each(names)('%s: a refusal leaves the connection in step', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'reply', text: '551 Not today.' }, nth: 'every' });
    const error = await failure(ask(client, verb));
    expect(error).toMatchObject({ kind: 'reply', reply: { code: 551, lines: ['551 Not today.'] } });
    expect(error.message).toContain('551 Not today.');
    stage.server.behave();
    await client.login({ user: 'ferry', password: 'secret', account });
    if (verb !== 'PWD') expect(await client.workingDirectory()).toBe('/');
  });
});

describe('replies that belong to another command', () => {
  test.each(
    Object.entries({
      FEAT: '350 Go on.',
      TYPE: '350 Go on.',
      PWD: '331 Password.',
      CWD: '350 Go on.',
      SIZE: '226 Transfer complete.',
      MDTM: '250 Done.',
      MKD: '350 Go on.',
      DELE: '350 Go on.',
      RNFR: '250 Done.',
      RNTO: '350 Go on.',
      EPSV: '226 Transfer complete.',
      PASV: '250 Done.',
      STOR: '213 7',
      RETR: '229 Entering Extended Passive Mode (|||7777|)',
      MLSD: '350 Go on.',
      LIST: '257 "/"',
    }),
  )('%s with %j ends the connection', async (verb, text) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'prepend', bytes: `${text}\r\n` }, nth: 'every' });
    const error = await failure(ask(client, verb));
    expect(error).toMatchObject({ kind: 'malformed' });
    expect(error.message).toContain('out of step');
    expect(client.ended).toBe(true);
  });

  test('a size is never read from the 226 of the file before', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: 'SIZE', do: { kind: 'prepend', bytes: '226 Transfer complete.\r\n' } });
    await failure(client.prove(stepOf('/file')));
    expect(client.ended).toBe(true);
  });

  test('a transfer is confirmed by 250 too', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: 'STOR', do: { kind: 'reply', text: '250 Done.', at: 'final' } });
    expect(await client.store('/stored', chunksOf('abc'), passive)).toBe(3);
  });
});

describe('replies that nobody waits for', () => {
  const heard = (stage: Stage, line: string) => vi.waitFor(() => expect(stage.wire).toContain(`< ${line}`));

  test.each(['226 Once more.', '250-And\n250 again.', '150 Here it comes.'])(
    '%j is passed over',
    async (text) => {
      await using stage = await open();
      const client = await stage.login();
      await stage.server.push(text);
      await vi.waitFor(() => expect(stage.wire.at(-1)).toMatch(/^< [12]50|^< 226/));
      expect(client.ended).toBe(false);
      expect(await client.size('/file')).toBe(7);
    },
  );

  test('the second of a double final reply is passed over', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: 'CWD', do: { kind: 'doubleFinal' } });
    await client.changeDirectory('/sub');
    expect(await client.workingDirectory()).toBe('/sub');
  });

  test.each(['350 Go on.', '550 No.', '450 Later.', '331 Password?'])(
    '%j ends the connection',
    async (text) => {
      await using stage = await open();
      const client = await stage.login();
      await stage.server.push(text);
      await heard(stage, text);
      expect(client.ended).toBe(true);
      expect(await failure(client.size('/file'))).toMatchObject({ kind: 'malformed' });
      expect(stage.server.journal.verbs()).not.toContain('SIZE');
    },
  );

  test('421 to an idle client is the end of the session, in the server’s words', async () => {
    await using stage = await Stage.open({ idleMs: 30 });
    const client = await stage.login();
    await heard(stage, '421 Timeout.');
    expect(client.ended).toBe(true);
    const error = await failure(client.size('/file'));
    expect(error).toMatchObject({ kind: 'lost', reply: { code: 421 } });
    expect(error.message).toContain('421 Timeout.');
  });

  test('an idle client notices that the server went', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.drop('close');
    await vi.waitFor(() => expect(client.ended).toBe(true));
    expect(await failure(client.size('/file'))).toMatchObject({ kind: 'lost' });
  });
});

describe('arguments', () => {
  const paths: Readonly<Record<string, (client: FtpClient, path: string) => Promise<unknown>>> = {
    CWD: (client, path) => client.changeDirectory(path),
    SIZE: (client, path) => client.size(path),
    MDTM: (client, path) => client.modified(path),
    'MDTM, many': (client, path) => client.modifiedAll(['/fine', path]),
    MFMT: (client, path) => client.setModified(path, timeMs, 'MFMT'),
    'SIZE and MFMT': (client, path) => client.prove(stepOf(path)),
    MKD: (client, path) => client.makeDirectory(path),
    RMD: (client, path) => client.removeDirectory(path),
    DELE: (client, path) => client.remove(path),
    RNFR: (client, path) => client.rename(path, '/fine'),
    RNTO: (client, path) => client.rename('/fine', path),
    STOR: (client, path) => client.store(path, chunksOf('x'), passive),
    RETR: (client, path) => client.retrieve(path, async () => {}, passive),
    MLSD: (client, path) => client.machineListing(path, passive),
    LIST: (client, path) => client.listing(passive, path),
    USER: (client, user) => client.login({ user, password: 'x', account }),
  };

  test.each(Object.keys(paths))('%s: CR, LF and NUL are refused, and nothing is sent', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    const sent = stage.server.journal.commands.length;
    for (const path of ['/a\r\nDELE /file', '/a\nb', '/a\rb', '/a\0b', '\r', '\n']) {
      const error = await failure(Promise.resolve().then(() => paths[verb]?.(client, path)));
      expect(error).toMatchObject({ kind: 'argument' });
      expect(error.message).not.toContain('DELE');
    }
    expect(client.ended).toBe(false);
    expect(await client.size('/file')).toBe(7);
    expect(stage.server.journal.verbs().slice(sent)).toEqual(['SIZE']);
    expect(stage.server.journal.dataConnections).toBe(0);
  });

  test('a password with a line end goes nowhere, and is not shown', async () => {
    await using stage = await open();
    const client = await stage.connect();
    const error = await failure(client.login({ user: 'ferry', password: 'geheim\r\nDELE /file', account }));
    expect(error).toMatchObject({ kind: 'argument', verb: 'PASS' });
    expect(stage.server.journal.verbs()).toEqual(['USER']);
    expect([error.message, ...stage.wire].join()).not.toContain('geheim');
  });

  test('odd names travel as they are', async () => {
    await using stage = await open();
    const client = await stage.login();
    for (const name of [
      ' a ',
      '-rf',
      '~',
      '[a]',
      '"q"',
      '%20',
      '#',
      'ü日本',
      'a;b',
      '\x1b[31m',
      'x'.repeat(255),
    ]) {
      await client.store(`/${name}`, chunksOf('abc'), passive);
      expect(await client.size(`/${name}`), name).toBe(3);
    }
    // On the trace they are harmless.
    expect(stage.wire.join('')).not.toContain('\x1b');
  });
});

describe('pipelining', () => {
  test('SIZE and MFMT, RNFR and RNTO, and all MDTM travel in one packet each', async () => {
    await using stage = await open();
    const client = await stage.login();
    expect(await client.prove(stepOf('/file'))).toMatchObject({
      sizeBytes: 7,
      timeReply: { code: 213 },
    });
    await client.rename('/file', '/renamed');
    expect(await client.modifiedAll(['/renamed', '/missing', '/sub'])).toEqual([
      timeMs,
      undefined,
      undefined,
    ]);
    const packets = (...of: string[]) =>
      new Set(
        stage.server.journal.commands.filter(({ verb }) => of.includes(verb)).map(({ packet }) => packet),
      );
    expect(packets('SIZE', 'MFMT').size).toBe(1);
    expect(packets('RNFR', 'RNTO').size).toBe(1);
    expect(packets('MDTM').size).toBe(1);
  });

  test('a refused RNFR is the error, and the 503 of RNTO leaves all in step', async () => {
    await using stage = await open();
    const client = await stage.login();
    expect(await failure(client.rename('/missing', '/renamed'))).toMatchObject({
      verb: 'RNFR',
      reply: { code: 550 },
    });
    expect(stage.server.journal.of('RNTO')[0]?.replies[0]).toMatch(/^503 /);
    expect(await client.size('/file')).toBe(7);
  });

  test('one silent reply in a pipeline fails all that follow', async () => {
    await using stage = await open();
    const client = await stage.login({ replyTimeoutMs: 120 });
    stage.server.script({ on: 'MDTM', nth: 2, do: { kind: 'hang' } });
    expect(await failure(client.modifiedAll(['/file', '/file', '/file']))).toMatchObject({ kind: 'timeout' });
    expect(client.ended).toBe(true);
  });

  test('times that cannot be read are unknown, and do not spoil the others', async () => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: 'MDTM', nth: 2, do: { kind: 'reply', text: '213 20209999000000' } });
    const times = await client.modifiedAll(['/file', '/file', '/file']);
    expect(times.map((time) => time === undefined)).toEqual([false, true, false]);
  });
});

describe('features', () => {
  test.each(['FEAT', 'OPTS', 'MFMT'])('202 on %s says that the server does not know it', async (verb) => {
    await using stage = await open();
    const client = await stage.login();
    stage.server.script({ on: verb, do: { kind: 'reply', text: '202 Superfluous at this site.' } });
    expect(await failure(ask(client, verb))).toMatchObject({
      kind: 'reply',
      phase: 'features',
      reply: { code: 202 },
    });
    expect(client.ended).toBe(false);
  });

  test.each(['213 many', '213', '213 -1', '213 99999999999999999999'])(
    'SIZE with %j is no size',
    async (text) => {
      await using stage = await open();
      const client = await stage.login();
      stage.server.script({ on: 'SIZE', do: { kind: 'reply', text } });
      expect(await failure(client.size('/file'))).toMatchObject({ kind: 'reply', phase: 'features' });
      expect(client.ended).toBe(false);
    },
  );
});

describe('names as bytes', () => {
  /** A control connection without a client, to a server that takes Telnet's commands or does not. */
  async function control(stage: Stage, changes: Partial<ControlOptions>): Promise<ControlConnection> {
    const line = await ControlConnection.connect({ ...stage.options(), ...changes });
    await line.greeting();
    await line.send({ verb: 'USER', argument: 'ferry' });
    await line.send({ verb: 'PASS', argument: 'secret', secrecy: 'secret' });
    return line;
  }

  const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

  /** One connection that is over when the work is. */
  async function speaking<T>(
    stage: Stage,
    changes: Partial<ControlOptions>,
    work: (line: ControlConnection) => Promise<T>,
  ): Promise<T> {
    const line = await control(stage, changes);
    try {
      return await work(line);
    } finally {
      line.reset('the test is over');
    }
  }

  test.each<[label: string, name: string, bytes: Buffer]>([
    ['utf-8', 'Füße', Buffer.from('Füße')],
    ['windows-1252', 'Füße €', latin1('F\xfc\xdfe \x80')],
    ['iso-8859-15', '5 €', latin1('5 \xa4')],
    ['koi8-r', 'Файл', latin1('\xe6\xc1\xca\xcc')],
    ['shift_jis', '表示', latin1('\x95\x5c\x8e\xa6')],
    ['gbk', '文件', latin1('\xce\xc4\xbc\xfe')],
    ['big5', '功', latin1('\xa5\x5c')],
  ])('%s: %s', async (label, name, bytes) => {
    await using stage = await open();
    await speaking(stage, { charset: charsetOf(label) }, async (line) => {
      expect((await line.send({ verb: 'MKD', argument: `/${name}` })).code).toBe(257);
      expect(await readdir(stage.directory.path, { encoding: 'buffer' })).toContainEqual(bytes);
      // The reply names it in the same bytes.
      const reply = await line.send({ verb: 'RMD', argument: `/${name}` });
      expect(reply.code).toBe(250);
    });
  });

  test('a reply is read in the charset, and what that cannot read does no harm', async () => {
    await using stage = await open();
    stage.server.script({
      on: 'NOOP',
      nth: 'every',
      do: { kind: 'bytes', pieces: latin1('200 F\xfc\xdfe\r\n') },
    });
    await speaking(stage, { charset: charsetOf('windows-1252') }, async (line) => {
      expect((await line.send({ verb: 'NOOP' })).lines).toEqual(['200 Füße']);
    });
    await speaking(stage, {}, async (line) => {
      const reply = await line.send({ verb: 'NOOP' });
      expect(reply.code).toBe(200);
      expect(line.words(reply)).toBe('F\ufffd\ufffde');
    });
  });

  const ways = [
    { telnet: 'ignored', telnetBytes: 'once' },
    { telnet: 'interpreted', telnetBytes: 'doubled' },
  ] as const;

  test.each(ways)('the byte 0xFF where Telnet is $telnet goes out $telnetBytes', async (way) => {
    await using stage = await Stage.open({ telnet: way.telnet });
    const changes = { charset: charsetOf('windows-1252'), telnetBytes: way.telnetBytes };
    await speaking(stage, changes, async (line) => {
      for (const name of ['ÿ', 'ÿÿ', 'aÿ', 'ÿb', 'Füÿße'])
        expect((await line.send({ verb: 'MKD', argument: `/${name}` })).code, name).toBe(257);
    });
    const made = await readdir(stage.directory.path, { encoding: 'latin1' });
    expect(made.sort()).toEqual(['F\xfc\xff\xdfe', 'a\xff', '\xff', '\xffb', '\xff\xff'].sort());
  });

  test('sent once to one that interprets it, and doubled to one that does not, it is another name', async () => {
    await using interpreting = await Stage.open({ telnet: 'interpreted' });
    await using ignoring = await Stage.open({ telnet: 'ignored' });
    const charset = charsetOf('windows-1252');
    await speaking(interpreting, { charset, telnetBytes: 'once' }, (line) =>
      line.send({ verb: 'MKD', argument: '/ÿÿ' }),
    );
    await speaking(ignoring, { charset, telnetBytes: 'doubled' }, (line) =>
      line.send({ verb: 'MKD', argument: '/ÿ' }),
    );
    expect(await readdir(interpreting.directory.path, { encoding: 'latin1' })).toEqual(['\xff']);
    expect(await readdir(ignoring.directory.path, { encoding: 'latin1' })).toEqual(['\xff\xff']);
  });

  test('doubling leaves UTF-8 as it is, which has no such byte', async () => {
    await using stage = await Stage.open({ telnet: 'interpreted' });
    await speaking(stage, { telnetBytes: 'doubled' }, async (line) => {
      expect((await line.send({ verb: 'MKD', argument: '/ÿ ü 日本 😀' })).code).toBe(257);
    });
    expect(await readdir(stage.directory.path)).toEqual(['ÿ ü 日本 😀']);
  });

  const hostile = ['/a\r\nDELE /file', '/a\nDELE /file', '/a\r', '\0', '/a\0\r\n'];

  test.each(['utf-8', 'windows-1252', 'gbk', 'shift_jis'])('%s: no line end passes', async (label) => {
    for (const telnetBytes of ['once', 'doubled'] as const) {
      await using stage = await open();
      await speaking(stage, { charset: charsetOf(label), telnetBytes }, async (line) => {
        const before = stage.server.journal.commands.length;
        for (const argument of hostile) {
          expect(() => line.check({ verb: 'DELE', argument })).toThrow(/line break or NUL/);
          const batch = [{ verb: 'NOOP' }, { verb: 'DELE', argument }];
          // All or nothing: the command before it in the packet is not sent either.
          expect(() => line.exchanges(batch)).toThrow(/line break or NUL/);
        }
        expect((await line.send({ verb: 'NOOP' })).code).toBe(200);
        expect(stage.server.journal.verbs().slice(before)).toEqual(['NOOP']);
      });
    }
  });

  test('no character of any charset has a line end among its bytes', () => {
    for (const label of [
      'utf-8',
      'windows-1252',
      'koi8-r',
      'gbk',
      'gb18030',
      'big5',
      'shift_jis',
      'euc-kr',
    ]) {
      const charset = charsetOf(label);
      for (let point = 0x80; point < 0x11000; point += 1) {
        const bytes = charset.encode(String.fromCodePoint(point));
        if (bytes?.some((byte) => byte === 0x0d || byte === 0x0a || byte === 0) === true)
          expect.fail(`${label}: U+${point.toString(16)}`);
      }
    }
  });

  test('halves of a surrogate pair and letters that a charset lacks are refused in words', async () => {
    await using stage = await open();
    for (const [label, name] of [
      ['utf-8', '/a\ud800'],
      ['windows-1252', '/Файл'],
      ['shift_jis', '/😀'],
    ] as const) {
      await speaking(stage, { charset: charsetOf(label) }, async (line) => {
        const refused = (): void => line.check({ verb: 'MKD', argument: name });
        expect(refused).toThrow(`its charset (${label}) does not have cannot be sent to`);
      });
    }
    expect(stage.server.journal.of('MKD')).toEqual([]);
  });

  test('an ended connection sends and traces nothing', async () => {
    await using stage = await open();
    await speaking(stage, {}, async (line) => {
      line.reset('the test wants it');
      const traced = stage.wire.length;
      expect(await failure(line.send({ verb: 'NOOP' }))).toMatchObject({ kind: 'aborted' });
      expect(stage.wire.slice(traced)).toEqual([]);
    });
  });
});
