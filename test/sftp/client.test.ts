import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type ChannelOptions, SftpClient } from '../../src/sftp/client.js';
import { SftpError } from '../../src/sftp/errors.js';
import {
  type Asked,
  attributes,
  attrs,
  connected,
  data,
  fields,
  handle,
  names,
  options,
  Peer,
  packet,
  status,
  text,
  turns,
  u32,
  u64,
  utf8,
  version,
} from './peer.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Only what deadlines are made of; the event loop's own turns stay real. */
function stopClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
}

async function failure(promise: Promise<unknown>): Promise<SftpError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof SftpError) return error;
  throw new Error(`no SftpError, but ${String(error)}`);
}

function opening(own: Partial<ChannelOptions> = {}): { peer: Peer; client: Promise<SftpClient> } {
  const peer = new Peer();
  const client = SftpClient.over(peer.channel, { ...options, ...own });
  client.catch(() => {});
  return { peer, client };
}

describe('a session begins', () => {
  test('with INIT 3, and tells what VERSION said', async () => {
    const { peer, client } = opening();
    expect(await peer.next()).toEqual({ type: 1, id: 3, body: Buffer.alloc(0) });
    peer.drip(version(3, { 'posix-rename@openssh.com': '1', 'vendor-id': '\0\x1b[31mvendor' }));
    const { extensions, limits, usable } = await client;
    expect([...extensions]).toEqual([
      ['posix-rename@openssh.com', '1'],
      ['vendor-id', '?[31mvendor'.replace('?', '??')],
    ]);
    expect(limits).toEqual({
      maxPacketBytes: 34_000,
      maxReadBytes: 32_768,
      maxWriteBytes: 32_768,
      maxHandles: undefined,
    });
    expect(usable).toBe(true);
  });

  test('in version 3 where the server says more', async () => {
    const { peer, client } = opening();
    peer.send(version(6));
    expect((await client).usable).toBe(true);
  });

  test('not where it says less', async () => {
    const { peer, client } = opening();
    peer.send(version(2));
    const error = await failure(client);
    expect(error).toMatchObject({ kind: 'malformed', phase: 'session' });
    expect(error.message).toContain('speaks version 2 of SFTP');
    expect(peer.channel.destroyed).toBe(true);
  });

  test('with the limits that the server has', async () => {
    const { client } = await connected({ limits: [262_144, 261_120, 100_000, 50] });
    expect(client.limits).toEqual({
      maxPacketBytes: 262_144,
      maxReadBytes: 261_120,
      maxWriteBytes: 100_000,
      maxHandles: 50,
    });
  });

  test('with bounded limits where they have none, or absurd ones', async () => {
    const { client } = await connected({ limits: [0, 0, 0, 0] });
    const bounded = {
      maxPacketBytes: 262_144,
      maxReadBytes: 261_120,
      maxWriteBytes: 261_120,
      maxHandles: undefined,
    };
    expect(client.limits).toEqual(bounded);
    const { client: other } = await connected({ limits: [2 ** 40, 2 ** 40, 1, 0] });
    expect(other.limits).toEqual({ ...bounded, maxWriteBytes: 1_024 });
  });

  test('also where the server refuses to tell its limits', async () => {
    const { peer, client } = opening();
    peer.send(version(3, { 'limits@openssh.com': '1' }));
    await peer.next();
    const { id } = await peer.next();
    peer.send(status(id, 8));
    expect((await client).limits.maxReadBytes).toBe(32_768);
  });

  test.each([
    'Welcome to the NAS!\r\nHave fun.\r\n',
    '\r\n\x1b[31mWelcome to the NAS!\x1b[0m\n',
    'Welcome to the NAS!',
  ])('not where the shell prints %j, wherever that is cut', async (banner) => {
    stopClock();
    for (let cut = 1; cut < banner.length; cut += 1) {
      const { peer, client } = opening();
      peer.send(Buffer.from(banner.slice(0, cut)));
      await turns();
      peer.send(Buffer.from(banner.slice(cut)));
      await turns();
      await vi.advanceTimersByTimeAsync(500);
      const error = await failure(client);
      expect(error).toMatchObject({ kind: 'malformed', phase: 'session', code: 'NOISE' });
      expect(error.message).toMatch(/printed "[^"]*Welcome to the NAS![^"]*" where SFTP should begin/);
      expect(error.message).toContain('.bashrc');
      expect(error.message).not.toMatch(/\p{Cc}/u);
    }
  });

  test('not where VERSION comes in one piece with what was printed', async () => {
    const { peer, client } = opening();
    const version = Buffer.from([0, 0, 0, 5, 2, 0, 0, 0, 3]);
    peer.send(Buffer.concat([Buffer.from('Welcome to the NAS!\n'), version]));
    expect((await failure(client)).message).toContain('printed "Welcome to the NAS!" where SFTP');
  });

  test('not where it prints something short and goes', async () => {
    const { peer, client } = opening();
    peer.send(Buffer.from('no'));
    await turns();
    peer.end();
    expect((await failure(client)).message).toContain('printed "no" where SFTP should begin');
  });

  test('not with garbage, and quotes nothing of it', async () => {
    const { peer, client } = opening();
    peer.send(Buffer.from([0xff, 0, 1, 2, 3, 4, 5, 6]));
    const error = await failure(client);
    expect(error).toMatchObject({ kind: 'malformed', phase: 'session' });
    expect(error.message).toContain('a packet of 4278190338 bytes');
  });

  test('not with another first packet', async () => {
    const { peer, client } = opening();
    peer.send(status(1, 0));
    expect(await failure(client)).toMatchObject({ kind: 'malformed', phase: 'session' });
  });

  test('not where the channel ends without a word', async () => {
    const { peer, client } = opening();
    peer.end();
    const error = await failure(client);
    expect(error).toMatchObject({ kind: 'lost', phase: 'session', request: 'INIT' });
    expect(error.message).toContain('before it said a word');
  });

  test('with the reason that the channel has for its end', async () => {
    const { peer, client } = opening();
    const reason = new SftpError('channel', 'There is no SFTP.', { phase: 'session', code: 'SUBSYSTEM' });
    peer.channel.destroy(reason);
    expect(await failure(client)).toBe(reason);
  });

  test('not later than answers are waited for', async () => {
    stopClock();
    const { client } = opening();
    await vi.advanceTimersByTimeAsync(9_999);
    await vi.advanceTimersByTimeAsync(1);
    expect(await failure(client)).toMatchObject({ kind: 'timeout', phase: 'session', request: 'INIT' });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('not where it is not wanted any more', async () => {
    const wanted = new AbortController();
    const { client, peer } = opening({ signal: wanted.signal });
    await peer.next();
    wanted.abort();
    expect(await failure(client)).toMatchObject({ kind: 'aborted', phase: 'session' });
    expect(peer.channel.destroyed).toBe(true);
    const { client: other } = opening({ signal: wanted.signal });
    expect(await failure(other)).toMatchObject({ kind: 'aborted' });
  });
});

describe('requests', () => {
  const everything = {
    'posix-rename@openssh.com': '1',
    'statvfs@openssh.com': '2',
    'fstatvfs@openssh.com': '2',
    'hardlink@openssh.com': '1',
    'fsync@openssh.com': '1',
    'lsetstat@openssh.com': '1',
    'expand-path@openssh.com': '1',
    'copy-data': '1',
    'home-directory': '1',
    'check-file': '1',
  };
  const times = { times: { accessedS: 7, modifiedS: 8 } };
  const timeFields = [u32(8), u32(7), u32(8)];
  const path = Buffer.from([0x2f, 0xff, 0x61]);

  test.each<[string, (client: SftpClient) => Promise<unknown>, number, Buffer[]]>([
    ['REALPATH', (client) => client.realpath('.'), 16, [text('.')]],
    ['STAT', (client) => client.stat('/ä'), 17, [text('/ä')]],
    ['STAT of bytes', (client) => client.stat(path), 17, [text(path)]],
    ['LSTAT', (client) => client.lstat('/a'), 7, [text('/a')]],
    ['SETSTAT', (client) => client.setstat('/a', times), 9, [text('/a'), ...timeFields]],
    ['READLINK', (client) => client.readlink('/l'), 19, [text('/l')]],
    [
      'SYMLINK, its target first',
      (client) => client.symlink({ at: '/l', target: 't' }),
      20,
      [text('t'), text('/l')],
    ],
    ['MKDIR', (client) => client.makeDirectory('/d'), 14, [text('/d'), u32(0)]],
    [
      'MKDIR with a mode',
      (client) => client.makeDirectory('/d', { mode: 0o750 }),
      14,
      [text('/d'), u32(4), u32(0o750)],
    ],
    ['RMDIR', (client) => client.removeDirectory('/d'), 15, [text('/d')]],
    ['REMOVE', (client) => client.remove('/a'), 13, [text('/a')]],
    ['RENAME', (client) => client.rename('/a', '/b'), 18, [text('/a'), text('/b')]],
    [
      'OPEN to read',
      (client) => client.open('/a', { access: 'read', mode: 1 }),
      3,
      [text('/a'), u32(0x01), u32(0)],
    ],
    ['OPEN to write', (client) => client.open('/a', { access: 'write' }), 3, [text('/a'), u32(0x02), u32(0)]],
    [
      'OPEN to create',
      (client) => client.open('/a', { access: 'create' }),
      3,
      [text('/a'), u32(0x0a), u32(0)],
    ],
    [
      'OPEN to truncate',
      (client) => client.open('/a', { access: 'truncate' }),
      3,
      [text('/a'), u32(0x1a), u32(0)],
    ],
    [
      'OPEN of what is not there',
      (client) => client.open('/a', { access: 'exclusive', mode: 0o600 }),
      3,
      [text('/a'), u32(0x2a), u32(4), u32(0o600)],
    ],
    [
      'posix-rename',
      (client) => client.posixRename('/a', '/b'),
      200,
      [text('posix-rename@openssh.com'), text('/a'), text('/b')],
    ],
    [
      'hardlink',
      (client) => client.hardlink('/a', '/b'),
      200,
      [text('hardlink@openssh.com'), text('/a'), text('/b')],
    ],
    [
      'lsetstat',
      (client) => client.lsetstat('/l', times),
      200,
      [text('lsetstat@openssh.com'), text('/l'), ...timeFields],
    ],
    ['statvfs', (client) => client.statvfs('/'), 200, [text('statvfs@openssh.com'), text('/')]],
    ['expand-path', (client) => client.expandPath('~'), 200, [text('expand-path@openssh.com'), text('~')]],
    ['home-directory', (client) => client.homeDirectory(), 200, [text('home-directory'), text('')]],
    [
      'home-directory of one',
      (client) => client.homeDirectory({ user: 'me' }),
      200,
      [text('home-directory'), text('me')],
    ],
    [
      'check-file',
      (client) => client.checkFile('/a', { algorithms: ['sha256', 'md5'], fromByte: 3, sizeBytes: 9 }),
      200,
      [text('check-file-name'), text('/a'), text('sha256,md5'), u64(3), u64(9), u32(0)],
    ],
  ])('have their form: %s', async (_name, ask, type, body) => {
    const { client, peer } = await connected({ extensions: everything });
    const answer = ask(client);
    const asked = await peer.next();
    expect(asked.type).toBe(type);
    expect(asked.body).toEqual(Buffer.concat(body));
    peer.send(status(asked.id, 4));
    expect(await failure(answer)).toMatchObject({ kind: 'status', status: { code: 4, words: '' } });
  });

  test.each<[string, (file: Awaited<ReturnType<SftpClient['open']>>) => Promise<unknown>, number, Buffer[]]>([
    ['WRITE', (file) => file.write(2 ** 33, Buffer.from('abc')), 6, [text('h'), u64(2 ** 33), text('abc')]],
    ['READ', (file) => file.read(2 ** 33, 100), 5, [text('h'), u64(2 ** 33), u32(100)]],
    ['FSTAT', (file) => file.stat(), 8, [text('h')]],
    ['FSETSTAT', (file) => file.setstat({ sizeBytes: 5 }), 10, [text('h'), u32(1), u64(5)]],
    ['fsync', (file) => file.fsync(), 200, [text('fsync@openssh.com'), text('h')]],
    ['fstatvfs', (file) => file.statvfs(), 200, [text('fstatvfs@openssh.com'), text('h')]],
    [
      'check-file',
      (file) => file.checkFile({ algorithms: ['sha1'], sizeBytes: 9 }),
      200,
      [text('check-file-handle'), text('h'), text('sha1'), u64(0), u64(9), u32(0)],
    ],
    ['CLOSE', (file) => file.close(), 4, [text('h')]],
  ])('on a handle have their form: %s', async (_name, ask, type, body) => {
    const { client, peer } = await connected({ extensions: everything });
    const opened = client.open('/a', { access: 'read' });
    peer.send(handle((await peer.next()).id, 'h'));
    const answer = ask(await opened);
    const asked = await peer.next();
    expect([asked.type, asked.body]).toEqual([type, Buffer.concat(body)]);
    peer.send(status(asked.id, 3, 'No'));
    expect(await failure(answer)).toMatchObject({ kind: 'status', status: { code: 3, words: 'No' } });
  });

  test('copy from one file to another', async () => {
    const { client, peer } = await connected({ extensions: everything });
    const open = async (name: string) => {
      const opened = client.open(name, { access: 'read' });
      peer.send(handle((await peer.next()).id, name));
      return opened;
    };
    const [from, to] = [await open('f'), await open('t')];
    const copied = client.copyData(from, to, { fromByte: 1, sizeBytes: 2, toByte: 3 });
    const { id, body } = await peer.next();
    expect(body).toEqual(Buffer.concat([text('copy-data'), text('f'), u64(1), u64(2), text('t'), u64(3)]));
    peer.send(status(id, 0));
    await copied;
  });

  test('are answered with what they ask for', async () => {
    const { client, peer } = await connected({ extensions: everything });
    const { signal } = new AbortController();
    peer.serve(({ type, id, body }) => {
      const request = type === 200 ? fields(body).text().toString() : type;
      const answers = new Map<number | string, Buffer>([
        [16, names(id, [{ name: '/home/me' }])],
        [17, attrs(id, attributes({ size: 5, mode: 0o40755, modified: 9 }))],
        [19, names(id, [{ name: Buffer.from([0xff]) }])],
        ['home-directory', names(id, [{ name: '/home/me' }])],
        [
          'statvfs@openssh.com',
          packet(201, u32(id), ...[4096, 512, 1000, 500, 400, 30, 20, 10, 1, 1, 255].map(u64)),
        ],
        ['check-file-name', packet(201, u32(id), text('md5'), Buffer.alloc(16, 0xab))],
      ]);
      peer.send(answers.get(request) ?? status(id, 0));
    });
    expect(await client.realpath('.', { signal })).toEqual({
      name: '/home/me',
      bytes: Buffer.from('/home/me'),
    });
    expect(await client.stat('/')).toMatchObject({
      type: 'directory',
      sizeBytes: 5,
      modifiedS: 9,
      uid: undefined,
    });
    expect(await client.readlink('/l')).toEqual({ name: undefined, bytes: Buffer.from([0xff]) });
    expect(await client.homeDirectory()).toMatchObject({ name: '/home/me' });
    expect(await client.remove('/a', { signal })).toBeUndefined();
    expect(await client.statvfs('/')).toEqual({
      totalBytes: 512_000,
      freeBytes: 256_000,
      availableBytes: 204_800,
      totalFiles: 30,
      availableFiles: 10,
      isReadOnly: true,
      maxNameBytes: 255,
    });
    expect(await client.checkFile('/a', { algorithms: ['sha1', 'md5'], sizeBytes: 1 })).toEqual({
      algorithm: 'md5',
      hex: 'ab'.repeat(16),
    });
  });

  test('of one turn leave in one write', async () => {
    const { client, peer } = await connected();
    peer.serve(({ id }) => peer.send(status(id, 0)));
    const before = peer.writes.length;
    await Promise.all(Array.from({ length: 100 }, (_, place) => client.remove(`/${place}`)));
    expect(peer.writes.length).toBe(before + 1);
  });

  test('get their own answers, in whatever order these come and however they are cut', async () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(order, fc.integer({ min: 1, max: 60 }), async (places, cut) => {
        const { client, peer } = await connected();
        const answers = places.map((_, place) => client.stat(`/${place}`));
        const asked: Asked[] = [];
        for (const _ of places) asked.push(await peer.next());
        const stream = Buffer.concat(
          places.map((place) => attrs(asked[place]?.id ?? 0, attributes({ size: place }))),
        );
        for (let at = 0; at < stream.length; at += cut) peer.send(stream.subarray(at, at + cut));
        const sizes = (await Promise.all(answers)).map(({ sizeBytes }) => sizeBytes);
        expect(sizes).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
        client.reset();
      }),
      { numRuns: 30 },
    );
  });

  test('with names that cannot travel are refused before they are sent', async () => {
    const { client, peer } = await connected({ names: { ...utf8, encode: () => undefined } });
    expect(await failure(client.stat('/ä'))).toMatchObject({ kind: 'argument', request: 'STAT' });
    for (const bytes of [Buffer.alloc(0), Buffer.from('a\0b'), Buffer.alloc(15_001, 'a')])
      expect(await failure(client.rename(Buffer.from('/a'), bytes))).toMatchObject({ kind: 'argument' });
    expect(await failure(client.setstat(Buffer.from('/a'), { mode: -1 }))).toMatchObject({
      kind: 'argument',
    });
    await turns();
    expect(peer.asked).toEqual([]);
    expect(client.usable).toBe(true);
  });

  test('of extensions that the server lacks are not sent', async () => {
    const { client, peer } = await connected({
      extensions: { 'statvfs@openssh.com': '1', 'copy-data': '2,1' },
    });
    expect(client.has('statvfs@openssh.com')).toBe(false);
    expect(client.has('copy-data')).toBe(true);
    const check = client.checkFile('/a', { algorithms: ['md5'], sizeBytes: 1 });
    for (const refused of [client.posixRename('/a', '/b'), client.statvfs('/'), check])
      expect(await failure(refused)).toMatchObject({ kind: 'unsupported' });
    await turns();
    expect(peer.asked).toEqual([]);
  });

  test('for digests that mod_sftp would compute wrong are not sent', async () => {
    const { client } = await connected({ extensions: everything });
    for (const sizeBytes of [0, -1, 2 ** 32]) {
      const check = client.checkFile('/a', { algorithms: ['md5'], sizeBytes });
      expect(await failure(check)).toMatchObject({ kind: 'argument' });
    }
  });

  test('that are refused say by whom, what and why, in clean words', async () => {
    const { client, peer } = await connected();
    const stat = client.stat('/secret');
    peer.send(status((await peer.next()).id, 3, `No\x1b[31m\u202e${'x'.repeat(5_000)}`));
    const error = await failure(stat);
    expect(error.message).toMatch(
      /^nas\.example\.net:22 did not tell the attributes of a file: permission denied \(it answered STAT with 3 No\?\[31m\?x+\.\.\.\)\.$/,
    );
    expect(error.message.length).toBeLessThan(500);
    expect(error.message).not.toContain('secret');
    expect(error).toMatchObject({ kind: 'status', phase: 'request', request: 'STAT' });
  });

  test('are refused in words of ours whatever the code', async () => {
    const { client, peer } = await connected();
    const told = new Set<string>();
    for (let code = 1; code <= 32; code += 1) {
      const removed = client.remove('/a');
      peer.send(packet(101, u32((await peer.next()).id), u32(code)));
      const { message, status: said } = await failure(removed);
      expect(said).toEqual({ code, words: '' });
      told.add(message.replace(/ \(.*/, ''));
    }
    expect(told.size).toBe(32);
  });

  test.each([
    ['', 'it failed, and the server does not say why (it answered REMOVE with 4).'],
    ['Failure', 'it failed, and the server does not say why (it answered REMOVE with 4 Failure).'],
    ['Disk on fire', 'it failed (it answered REMOVE with 4 Disk on fire).'],
  ])('that fail with the words %j are told so', async (words, said) => {
    const { client, peer } = await connected();
    const removed = client.remove('/a');
    peer.send(status((await peer.next()).id, 4, words));
    expect((await failure(removed)).message).toBe(`nas.example.net:22 did not remove a file: ${said}`);
  });

  test('tell the wire log what was asked and answered', async () => {
    const wire: string[] = [];
    const { client, peer } = await connected({ onWire: (line) => void wire.push(line) });
    const removed = client.remove('/a\x1bb');
    peer.send(status((await peer.next()).id, 0, 'Success'));
    await removed;
    expect(wire).toEqual(['> INIT 3', '< VERSION 3 ', '> REMOVE 1 /a?b', '< STATUS 1 0 Success']);
  });
});

describe('a session ends', () => {
  const broken: [string, (id: number) => Buffer, RegExp][] = [
    ['an answer to a request that was not made', (id) => status(id + 100, 0), /a request that was not made/],
    ['an answer of another kind', (id) => handle(id, 'h'), /HANDLE came for STAT/],
    [
      'a consent in place of an answer',
      (id) => status(id, 0),
      /says that STAT was done, and holds no answer/,
    ],
    ['an answer that is cut', (id) => packet(105, u32(id), u32(1), u32(0)), /ends within a field/],
    ['a type that no version has', (id) => packet(77, u32(id)), /a packet of the type 77/],
    ['a packet over the limit', () => u32(1024 * 1024), /a packet of 1048576 bytes/],
    ['VERSION again', () => version(3), /VERSION came for REALPATH/],
  ];

  test.each(broken)('with %s, and all that is under way hears it once', async (_what, answer, words) => {
    const { client, peer } = await connected();
    const waiting = [client.stat('/a'), client.remove('/b'), client.realpath('.')];
    const { id } = await peer.next();
    await turns();
    peer.send(answer(id));
    const errors = await Promise.all(waiting.map(failure));
    for (const error of errors) expect(error).toBe(errors[0]);
    expect(errors[0]).toMatchObject({ kind: 'malformed' });
    expect(errors[0]?.message).toMatch(words);
    expect(client.usable).toBe(false);
    expect(await client.ended).toBe(errors[0]);
    expect(peer.channel.destroyed).toBe(true);
    expect(await failure(client.stat('/c'))).toBe(errors[0]);
  });

  test('with a digest of another kind, or another length', async () => {
    for (const answer of [[text('sha1'), Buffer.alloc(20)], [text('md5'), Buffer.alloc(15)], [text('md5')]]) {
      const { client, peer } = await connected({ extensions: { 'check-file': '1' } });
      const check = client.checkFile('/a', { algorithms: ['md5'], sizeBytes: 1 });
      peer.send(packet(201, u32((await peer.next()).id), ...answer));
      expect(await failure(check)).toMatchObject({ kind: 'malformed' });
    }
  });

  test('where the channel does', async () => {
    const { client, peer } = await connected();
    const stat = client.stat('/a');
    await peer.next();
    peer.end();
    const error = await failure(stat);
    expect(error).toMatchObject({ kind: 'lost', phase: 'request', request: 'STAT' });
    expect(error.message).toBe('nas.example.net:22 closed the SFTP channel.');
  });

  test('where the channel breaks', async () => {
    const { client, peer } = await connected();
    const stat = client.stat('/a');
    peer.channel.destroy(Object.assign(new Error('gone'), { code: 'ECONNRESET' }));
    expect(await failure(stat)).toMatchObject({ kind: 'lost', code: 'ECONNRESET' });
  });

  test('at once where it is reset', async () => {
    const { client, peer } = await connected();
    const waiting = [client.stat('/a'), client.stat('/b')];
    await peer.next();
    client.reset();
    for (const one of waiting) expect(await failure(one)).toMatchObject({ kind: 'aborted' });
    expect(peer.channel.destroyed).toBe(true);
    client.reset();
    await client.close();
  });

  test('in good order where it is closed', async () => {
    const { client, peer } = await connected();
    const stat = client.stat('/a');
    const { id } = await peer.next();
    const closed = client.close();
    expect(client.usable).toBe(false);
    expect(await failure(client.stat('/b'))).toMatchObject({ kind: 'aborted' });
    peer.send(attrs(id, attributes({ size: 4 })));
    expect(await stat).toMatchObject({ sizeBytes: 4 });
    await closed;
    expect(peer.channel.destroyed).toBe(true);
    await client.close();
  });

  test('where it is closed, and the server says nothing, all the same', async () => {
    const { client } = await connected();
    stopClock();
    const stat = client.stat('/a');
    const closed = client.close();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await failure(stat)).toMatchObject({ kind: 'aborted' });
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a silent server', () => {
  test('is given up when nothing comes for the time of an answer', async () => {
    const { client } = await connected();
    stopClock();
    const waiting = [client.stat('/a'), client.remove('/b')];
    await vi.advanceTimersByTimeAsync(9_990);
    expect(client.usable).toBe(true);
    await vi.advanceTimersByTimeAsync(20);
    for (const one of waiting) expect(await failure(one)).toMatchObject({ kind: 'timeout', request: 'STAT' });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is not one that answers other requests first, one after the other', async () => {
    const { client, peer } = await connected();
    stopClock();
    const waiting = Array.from({ length: 20 }, (_, place) => client.remove(`/${place}`));
    await turns();
    for (const _ of waiting) {
      await vi.advanceTimersByTimeAsync(9_000);
      peer.send(status((await peer.next()).id, 0));
      await turns();
    }
    await Promise.all(waiting);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.usable).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is not one that sends a long answer slowly', async () => {
    const { client, peer } = await connected();
    stopClock();
    const stat = client.stat('/a');
    await turns();
    for (const byte of attrs((await peer.next()).id, attributes())) {
      await vi.advanceTimersByTimeAsync(9_000);
      peer.send(Buffer.from([byte]));
      await turns();
    }
    await stat;
  });

  test('is not one that takes what we send slowly', async () => {
    const { client, peer } = await connected();
    stopClock();
    peer.hold();
    const waiting = Array.from({ length: 4 }, (_, place) => client.remove(`/${place}`));
    await turns();
    for (const _ of [1, 2, 3]) {
      await vi.advanceTimersByTimeAsync(9_000);
      peer.release();
      peer.hold();
      waiting.push(client.remove('/more'));
      await turns();
    }
    expect(client.usable).toBe(true);
    await vi.advanceTimersByTimeAsync(12_600);
    expect(await failure(waiting[0] as Promise<void>)).toMatchObject({ kind: 'timeout' });
  });

  test('has longer for what takes it longer', async () => {
    const { client, peer } = await connected({ extensions: { 'check-file': '1' } });
    stopClock();
    const check = client.checkFile('/a', { algorithms: ['md5'], sizeBytes: 1, workingMs: 100_000 });
    await vi.advanceTimersByTimeAsync(109_000);
    peer.send(packet(201, u32((await peer.next()).id), text('md5'), Buffer.alloc(16)));
    expect((await check).hex).toBe('0'.repeat(32));
  });

  test('is one that forgets a request while it answers all others', async () => {
    const { client, peer } = await connected();
    stopClock();
    const forgotten = client.stat('/a');
    await turns();
    await peer.next();
    let elapsedMs = 0;
    while (client.usable && elapsedMs < 100_000) {
      const removed = client.remove('/b');
      await turns();
      peer.send(status((await peer.next()).id, 0));
      await removed;
      await vi.advanceTimersByTimeAsync(1_000);
      elapsedMs += 1_000;
    }
    expect(await failure(forgotten)).toMatchObject({ kind: 'timeout', request: 'STAT' });
    expect(elapsedMs).toBeLessThanOrEqual(15_000);
  });
});

describe('a request that is given up', () => {
  test('rejects at once, and its late answer is dropped', async () => {
    const { client, peer } = await connected();
    const wanted = new AbortController();
    const stat = client.stat('/a', { signal: wanted.signal });
    const { id } = await peer.next();
    wanted.abort(new Error('enough'));
    const error = await failure(stat);
    expect(error).toMatchObject({ kind: 'aborted', request: 'STAT' });
    expect(error.cause).toBe(wanted.signal.reason);
    peer.send(attrs(id, attributes()));
    const removed = client.remove('/b');
    peer.send(status((await peer.next()).id, 0));
    await removed;
  });

  test('is not sent where its signal was aborted before', async () => {
    const { client, peer } = await connected();
    expect(await failure(client.stat('/a', { signal: AbortSignal.abort() }))).toMatchObject({
      kind: 'aborted',
    });
    await turns();
    expect(peer.asked).toEqual([]);
  });

  test('has its late handle closed', async () => {
    const { client, peer } = await connected();
    const wanted = new AbortController();
    const opened = client.open('/a', { access: 'read', signal: wanted.signal });
    const { id } = await peer.next();
    wanted.abort();
    expect(await failure(opened)).toMatchObject({ kind: 'aborted' });
    peer.send(handle(id, 'late'));
    const close = await peer.next();
    expect([close.type, close.body]).toEqual([4, text('late')]);
    peer.send(status(close.id, 0));
    await turns();
    expect(client.usable).toBe(true);
  });

  test('leaves nothing on its signal', async () => {
    const { client, peer } = await connected();
    peer.serve(({ id }) => peer.send(status(id, 0)));
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    await client.remove('/a', { signal });
    expect(added).toHaveBeenCalledTimes(1);
    expect(removed).toHaveBeenCalledTimes(1);
  });
});

describe('a handle', () => {
  test('is closed once', async () => {
    const { client, peer } = await connected();
    const opened = client.open('/a', { access: 'read' });
    peer.send(handle((await peer.next()).id, 'h'));
    const file = await opened;
    expect(file.close()).toBe(file.close());
    peer.send(status((await peer.next()).id, 0));
    await file.close();
    await turns();
    expect(peer.asked).toEqual([]);
  });

  test('reads what there is, and undefined at the end', async () => {
    const { client, peer } = await connected();
    const opened = client.open('/a', { access: 'read' });
    peer.send(handle((await peer.next()).id, 'h'));
    const file = await opened;
    const [some, end] = [file.read(0, 10), file.read(10, 10)];
    peer.send(data((await peer.next()).id, Buffer.from('abc')), status((await peer.next()).id, 1));
    expect(await some).toEqual(Buffer.from('abc'));
    expect(await end).toBeUndefined();
    expect(await failure(file.read(0, 32_769))).toMatchObject({ kind: 'argument' });
    expect(await failure(file.write(-1, Buffer.alloc(1)))).toMatchObject({ kind: 'argument' });
  });

  test('does not take more than was asked for', async () => {
    const { client, peer } = await connected();
    const opened = client.open('/a', { access: 'read' });
    peer.send(handle((await peer.next()).id, 'h'));
    const read = (await opened).read(0, 10);
    peer.send(data((await peer.next()).id, Buffer.alloc(11)));
    expect(await failure(read)).toMatchObject({ kind: 'malformed' });
  });

  test('with a name of 257 bytes is none', async () => {
    const { client, peer } = await connected();
    const opened = client.open('/a', { access: 'read' });
    peer.send(handle((await peer.next()).id, 'h'.repeat(257)));
    expect(await failure(opened)).toMatchObject({ kind: 'malformed' });
  });
});
