/*
 * A server that cannot be trusted with a tree: listings that name what no file may be called, that leave things out
 * without a word, or that are another one the second time; files and directories where the other kind should be; a
 * trash that is in use already. By such a listing nothing is deleted, nothing leaves either root, and a person is told.
 */
import { renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { RemoteDirectory } from '../../src/remote/remote.js';
import type { Rule } from '../support/ftp-server/fault.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { serverLike } from '../support/ftp-server/settings.js';
import { MemoryRemote } from '../support/memory-remote.js';
import {
  expectOutsideUntouched,
  inPlace,
  inTrashOf,
  type Mode,
  once,
  openHostile,
  sentences,
  settle,
} from './support/hostile.js';
import { EARLIER, overwrite, type World } from './support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

/** All that pulls, and what it may delete here. */
const PULLING: readonly (readonly [Mode, 'push' | 'pull'])[] = [
  ['copy', 'pull'],
  ['mirror', 'pull'],
  ['move', 'pull'],
  ['two-way', 'push'],
  ['two-way', 'pull'],
];

/** All that deletes here what is gone there. */
const DELETING_HERE = PULLING.filter(([mode]) => mode === 'mirror' || mode === 'two-way');

const WHEN = '20220304050607';
const line = (name: string, type = 'file', sizeBytes = 4): string =>
  `type=${type};size=${sizeBytes};modify=${WHEN}; ${name}\r\n`;

const HOSTILE_NAMES = [
  '../evil',
  '../outside/f',
  '/etc/evil',
  '/',
  'd/../../evil',
  'd/evil',
  '..\\evil',
  'back\\slash',
  'line\u2028and\u0085break',
  'nul\0byte',
  'esc\u001b[2J',
  'del\u007f',
  'half\ufffd',
  '',
  ' ',
] as const;

describe.each(DELETING_HERE.slice(0, 2))(
  'a listing with a name that no file may have, %s %s',
  (mode, direction) => {
    it.each(HOSTILE_NAMES.filter((name) => name !== ' ' && !name.startsWith('line')))(
      '%j: nothing is deleted by it, nothing leaves the root, and it is told',
      async (name) => {
        world = await openHostile(mode, direction);
        for (const path of ['good', 'gone', 'd/f']) await world.putRemote(path, 'four');
        await world.run();
        const beside = (await readdir(world.directory.path)).sort();
        world.server.script({
          on: 'MLSD',
          path: '/dumps',
          nth: 'every',
          do: { kind: 'content', bytes: `${line(name)}${line(name, 'dir')}${line('good')}` },
        });
        const report = await world.run();
        expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0, downloaded: 0 } });
        expect(inPlace(world.here())).toEqual({ 'd/f': 'four', good: 'four', gone: 'four' });
        expect(inPlace(world.held())).toEqual({ 'd/f': 'four', good: 'four', gone: 'four' });
        expect(world.told('scan.problem')).toMatchObject([{ code: 'listing' }]);
        expect((await readdir(world.directory.path)).sort()).toEqual(beside);
        for (const event of world.events) expect(JSON.stringify(event)).not.toContain('\\u001b');
        await expectOutsideUntouched(world);
      },
    );

    it.each(['.', '..'])('%j as a file and as a directory is nobody else than itself', async (name) => {
      world = await openHostile(mode, direction);
      for (const path of ['good', 'd/f']) await world.putRemote(path, 'four');
      await world.run();
      const bytes = `${line(name)}${line(name, 'dir')}${line('good')}${line('d', 'dir')}`;
      world.server.script({ on: 'MLSD', path: '/dumps', nth: 'every', do: { kind: 'content', bytes } });
      expect(await world.run()).toMatchObject({
        tally: { deleted: 0, downloaded: 0, uploaded: 0, unchanged: 2 },
      });
      expect(world.of('MLSD').every((path) => !path.includes('..'))).toBe(true);
      await expectOutsideUntouched(world);
    });

    it.each<[string, string]>([
      ['a file and a directory', line('d') + line('d', 'dir')],
      ['a directory and a file', line('d', 'dir') + line('d')],
      ['two files', line('d', 'file', 4) + line('d', 'file', 9)],
      ['two directories', line('d', 'dir').repeat(2)],
    ])('one name for %s: told, and nothing is deleted', async (_what, twice) => {
      world = await openHostile(mode, direction);
      for (const path of ['good', 'gone', 'd/f']) await world.putRemote(path, 'four');
      await world.run();
      const bytes = twice + line('good');
      world.server.script({ on: 'MLSD', path: '/dumps', nth: 'every', do: { kind: 'content', bytes } });
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(inPlace(world.here())).toEqual({ 'd/f': 'four', good: 'four', gone: 'four' });
      expect(inTrashOf(world.here())).toEqual({});
      expect(world.told('scan.problem').map(({ code }) => code)).toContain('listing');
    });

    it('names that are no UTF-8 in it: told, and nothing is deleted', async () => {
      world = await openHostile(mode, direction);
      for (const path of ['good', 'gone']) await world.putRemote(path, 'four');
      await world.run();
      await rm(world.remote('gone'));
      await writeFile(
        Buffer.concat([Buffer.from(`${world.remote('')}/`), Buffer.from([0x63, 0xe9])]),
        'four',
      );
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(inPlace(world.here())).toEqual({ good: 'four', gone: 'four' });
      expect(world.told('scan.problem')).toMatchObject([{ code: 'listing' }]);
    });

    it.each<[string, Rule['do']]>([
      ['cut in the middle of a line', { kind: 'content', bytes: line('good') + line('gone').slice(0, -9) }],
      ['of which a part cannot be read', { kind: 'content', bytes: `${line('good')}what is this\r\n` }],
      [
        'that the server says is truncated',
        { kind: 'reply', at: 'final', text: '226 Output truncated to 1 match.' },
      ],
    ])('a listing %s: told, and nothing is deleted', async (_how, fault) => {
      world = await openHostile(mode, direction);
      for (const path of ['gone', 'good', 'more']) await world.putRemote(path, 'four');
      await world.run();
      await rm(world.remote('gone'));
      world.server.script({ on: 'MLSD', path: '/dumps', nth: 'every', do: fault });
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(Object.keys(inPlace(world.here())).sort()).toEqual(['gone', 'good', 'more']);
      world.server.behave();
      await settle(world);
      expect(Object.keys(inPlace(world.here())).sort()).toEqual(['good', 'more']);
    });
  },
);

/**
 * What servers answer about a directory that they may enter and not read (mode 0311), or read and not enter (0444), as
 * it was measured: vsftpd 3.0.3, Pure-FTPd 1.0.50, ProFTPD 1.3.8, pyftpdlib 1.5.7. Each of them looks like an empty
 * directory somewhere.
 */
const UNLISTABLE: readonly (readonly [string, Partial<FtpServerOptions>, readonly Rule[]])[] = [
  [
    'vsftpd: an empty list, and a 226 that says that it failed',
    serverLike('vsftpd'),
    [
      {
        on: 'LIST',
        nth: 'every',
        do: [
          { kind: 'content', bytes: '' },
          { kind: 'reply', at: 'final', text: '226 Transfer done (but failed to open directory).' },
        ],
      },
    ],
  ],
  [
    'Pure-FTPd: refused, and refused once more for the names',
    {},
    [
      { on: 'MLSD', nth: 'every', do: { kind: 'reply', text: "550 Can't check for file existence" } },
      { on: 'NLST', nth: 'every', do: { kind: 'reply', text: "550 Can't check for file existence" } },
    ],
  ],
  [
    'Pure-FTPd by LIST: an empty list, and a 226 that says why in its first line',
    { features: { MLSD: false } },
    [
      {
        on: 'LIST',
        nth: 'every',
        do: [
          { kind: 'content', bytes: '' },
          {
            kind: 'reply',
            at: 'final',
            text: '226-Sorry, we were unable to read [.]\n226-Options: -l \n226 0 matches total',
          },
        ],
      },
    ],
  ],
  [
    'ProFTPD: refused, and an empty list of the names',
    {},
    [
      { on: 'MLSD', nth: 'every', do: { kind: 'reply', text: '550 /dumps/closed: Permission denied' } },
      { on: 'NLST', nth: 'every', do: { kind: 'content', bytes: '' } },
    ],
  ],
  [
    'pyftpdlib: an empty list of what it may not enter',
    {},
    [
      { on: 'MLSD', nth: 'every', do: { kind: 'content', bytes: '' } },
      { on: 'CWD', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } },
    ],
  ],
];

describe.each(DELETING_HERE)('a directory that the server cannot look into, %s %s', (mode, direction) => {
  it.each(UNLISTABLE)('%s: it is not taken for an empty one', async (_words, server, rules) => {
    world = await openHostile(mode, direction, { server });
    for (const path of ['closed/f', 'closed/deep/g', 'good']) await world.putRemote(path);
    await world.run();
    expect(Object.keys(world.here())).toHaveLength(3);
    // From within, a session asks for the directory that it is in.
    const path = /^\/dumps\/closed$/;
    for (const rule of rules) world.server.script({ ...rule, path });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0, downloaded: 0, uploaded: 0 } });
    expect(Object.keys(inPlace(world.here())).sort()).toEqual(['closed/deep/g', 'closed/f', 'good']);
    expect(world.told('scan.problem')).toMatchObject([{ path: 'closed' }]);
    world.server.behave();
    await settle(world);
    expect(Object.keys(inPlace(world.here())).sort()).toEqual(['closed/deep/g', 'closed/f', 'good']);
  });

  it.each([
    ['550 No files found.', '550'],
    ['450 No such file or directory', '450'],
    ['550 The directory is empty.', '550'],
  ])('one that is refused because it is empty is empty: %s', async (text) => {
    world = await openHostile(mode, direction);
    for (const path of ['d/f', 'good']) await world.putRemote(path);
    await world.run();
    await rm(world.remote('d/f'));
    for (const on of ['MLSD', 'NLST'])
      world.server.script({ on, path: '/dumps/d', nth: 'every', do: { kind: 'reply', text } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 1 } });
    expect(Object.keys(inPlace(world.here())).sort()).toEqual(['good']);
    expect(inTrashOf(world.here())).toEqual({ 'd/f': 'd/f' });
  });
});

describe('the look before a deletion on the server', () => {
  async function doomed(mode: 'mirror' | 'two-way'): Promise<void> {
    world = await openHostile(mode, 'push');
    for (const path of ['d/f', 'd/g', 'd/h', 'other']) await world.put(path, 'four');
    await world.run();
    for (const path of ['d/f', 'd/g']) await rm(world.local(path));
  }

  it.each<[string, string]>([
    ['another size', line('f', 'file', 5) + line('g', 'file', 5) + line('h')],
    [
      'another time',
      `type=file;size=4;modify=20230101000000; f\r\ntype=file;size=4;modify=20230101000000; g\r\n${line('h')}`,
    ],
    ['a link', `type=OS.unix=symlink;size=4; f\r\ntype=OS.unix=symlink;size=4; g\r\n${line('h')}`],
  ])('shows %s: they stay, and a person is told', async (_what, bytes) => {
    await doomed('mirror');
    world.server.script({ on: 'MLSD', path: '/dumps/d', do: { kind: 'content', bytes } });
    await expectSpared();
    await world[Symbol.asyncDispose]();
    await doomed('two-way');
    // The first is the scan's.
    world.server.script({ on: 'MLSD', path: '/dumps/d', nth: 2, do: { kind: 'content', bytes } });
    await expectSpared();
  });

  async function expectSpared(): Promise<void> {
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(Object.keys(inPlace(world.held())).sort()).toEqual(['d/f', 'd/g', 'd/h', 'other']);
    expect(sentences(world)).toContain('d/f is gone at the source, and was changed on the server');
  }

  it.each([...HOSTILE_NAMES])(
    'names %j beside them: only what was doomed goes, nothing else',
    async (name) => {
      await doomed('mirror');
      const bytes = `${line(name)}${line(name, 'dir')}${line('f')}${line('g')}${line('h')}`;
      world.server.script({ on: 'MLSD', path: '/dumps/d', do: { kind: 'content', bytes } });
      await world.run();
      expect(inPlace(world.held())).toEqual({ 'd/h': 'four', other: 'four' });
      expect(inTrashOf(world.held())).toEqual({ 'd/f': 'four', 'd/g': 'four' });
      for (const path of [...world.of('RNFR'), ...world.of('RNTO')])
        expect(path).toMatch(/^\/dumps\/(d|other|\.ferryd)/);
      await expectOutsideUntouched(world);
    },
  );

  it('is cut, and shows nothing: the server is asked for each of them', async () => {
    await doomed('mirror');
    world.server.script({ on: 'MLSD', path: '/dumps/d', do: { kind: 'content', bytes: 'garbage\r\n' } });
    await world.run();
    expect(inPlace(world.held())).toEqual({ 'd/h': 'four', other: 'four' });
    expect(inTrashOf(world.held())).toEqual({ 'd/f': 'four', 'd/g': 'four' });
  });

  it('is refused for now: tried again; refused for good: asked one by one', async () => {
    await doomed('mirror');
    world.server.script({ on: 'MLSD', path: '/dumps/d', do: { kind: 'reply', text: '450 Busy.' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    await world[Symbol.asyncDispose]();
    await doomed('mirror');
    world.server.script({
      on: 'MLSD',
      path: '/dumps/d',
      nth: 'every',
      do: { kind: 'reply', text: '550 No.' },
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
  });
});

describe('two-way: changed on the server between the scan and its deletion there', () => {
  it('stays, and comes back', async () => {
    world = await openHostile('two-way', 'push');
    for (const path of ['f', 'g']) await world.put(path);
    await world.run();
    await rm(world.local('f'));
    const strike = once(() => overwrite(world.remote('f'), 'worked on there'));
    world.server.on('reply', (text, verb) => {
      if (verb === 'MLSD' && text.startsWith('226')) strike();
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(sentences(world)).toContain('f is gone at the source, and was changed on the server');
    await settle(world);
    expect(inPlace(world.here())).toEqual({ f: 'worked on there', g: 'g' });
  });

  it('deleted there as well: nobody is blamed', async () => {
    world = await openHostile('two-way', 'push');
    for (const path of ['f', 'g']) await world.put(path);
    await world.run();
    await rm(world.local('f'));
    const strike = once(() => rmSync(world.remote('f')));
    world.server.on('reply', (text, verb) => {
      if (verb === 'MLSD' && text.startsWith('226')) strike();
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 0, skipped: 0 } });
    expect(world.known().map(({ path }) => path)).toEqual(['g']);
  });
});

describe.each(DELETING_HERE)('missing in one listing and there in the next, %s %s', (mode, direction) => {
  it('a file that the server replaces just then is not deleted here', async () => {
    world = await openHostile(mode, direction);
    for (const path of ['d/f', 'g']) await world.putRemote(path);
    await world.run();
    renameSync(world.remote('d/f'), world.remote('d/f.old'));
    const strike = once(() => renameSync(world.remote('d/f.old'), world.remote('d/f')));
    world.server.on('reply', (text, verb) => {
      if (verb === 'RETR' && text.startsWith('226')) strike();
    });
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(sentences(world)).toContain('d/f was gone when the scan came by, and is there again');
    expect(inPlace(world.here())).toMatchObject({ 'd/f': 'd/f', g: 'g' });
    expect(inTrashOf(world.here())).toEqual({});
    await settle(world);
    expect(inPlace(world.here())).toEqual({ 'd/f': 'd/f', g: 'g' });
  });
});

describe.each(PULLING)('what changes between its listing and its fetch, %s %s', (mode, direction) => {
  const whenListed = (path: string, work: () => void): void => {
    const strike = once(work);
    world.server.on('reply', (text, verb) => {
      if (verb === 'MLSD' && text.startsWith('226') && world.of('MLSD').includes(path)) strike();
    });
  };

  it('deleted: as if it had never been there', async () => {
    world = await openHostile(mode, direction);
    for (const path of ['f', 'g']) await world.putRemote(path);
    whenListed('/dumps', () => rmSync(world.remote('f')));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { downloaded: 1, skipped: 0 } });
    expect(inPlace(world.here())).toEqual({ g: 'g' });
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });

  it.each(['much longer than it was', 'x', 'F'])(
    'written over with %j: the newest is here in the end, whole',
    async (content) => {
      world = await openHostile(mode, direction);
      for (const path of ['f', 'g']) await world.putRemote(path);
      whenListed('/dumps', () => writeFileSync(world.remote('f'), content));
      await world.run();
      for (const found of Object.values(inPlace(world.here()))) expect(['f', 'g', content]).toContain(found);
      await settle(world);
      expect(inPlace(world.here())).toEqual({ f: content, g: 'g' });
      expect(inPlace(world.held())).toEqual(mode === 'move' ? {} : { f: content, g: 'g' });
    },
  );

  it('a directory that vanishes before it is listed: told, and nothing here goes for it in this run', async () => {
    world = await openHostile(mode, direction);
    for (const path of ['d/f', 'd/deep/g', 'other']) await world.putRemote(path);
    if (mode !== 'move') await world.run();
    const here = world.here();
    whenListed('/dumps', () => rmSync(world.remote('d'), { recursive: true }));
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0, skipped: 1 } });
    expect(world.told('scan.problem')).toMatchObject([{ path: 'd', code: '550' }]);
    if (mode !== 'move') expect(world.here()).toEqual(here);
    await settle(world);
    const expected = mode === 'copy' ? ['d/deep/g', 'd/f', 'other'] : ['other'];
    expect(Object.keys(inPlace(world.here())).sort()).toEqual(expected);
  });

  it('a directory that becomes a file', async () => {
    world = await openHostile(mode, direction);
    for (const path of ['d/f', 'other']) await world.putRemote(path);
    whenListed('/dumps', () => {
      rmSync(world.remote('d'), { recursive: true });
      writeFileSync(world.remote('d'), 'a file now');
      utimesSync(world.remote('d'), EARLIER / 1000, EARLIER / 1000);
    });
    expect(await world.run()).toMatchObject({ outcome: 'partial' });
    await settle(world);
    expect(inPlace(world.here())).toEqual({ d: 'a file now', other: 'other' });
  });
});

it.each(['copy', 'mirror', 'move'] as const)(
  '%s: a server that sends without end does not fill the disk',
  async (mode) => {
    world = await openHostile(mode, 'pull', {
      job: { retries: { attempts: 2, firstDelayMs: 1, maxDelayMs: 2 } },
    });
    for (const path of ['f', 'g']) await world.putRemote(path);
    const bytes = Buffer.alloc(48 * 1024 * 1024, 'endless ');
    world.server.script({ on: 'RETR', path: '/dumps/f', nth: 'every', do: { kind: 'content', bytes } });
    const report = await world.run();
    expect(report).toMatchObject({ tally: { downloaded: 1, skipped: 1 }, failure: { kind: 'verification' } });
    const [, came] =
      /sends more than (\d+) bytes of \/dumps\/f, which has 1\./.exec(report.failure?.message ?? '') ?? [];
    expect(Number(came)).toBeLessThan(17 * 1024 * 1024);
    expect(world.here()).toEqual({ g: 'g' });
    expect(world.held().f).toBe('f');
  },
);

describe('a file here and a directory of its name there', () => {
  it.each<[Mode, 'push' | 'pull']>([
    ['copy', 'push'],
    ['mirror', 'push'],
    ['move', 'push'],
    ['copy', 'pull'],
    ['mirror', 'pull'],
    ['move', 'pull'],
    ['two-way', 'push'],
    ['two-way', 'pull'],
  ])('%s %s: told on every run, and both stay', async (mode, direction) => {
    world = await openHostile(mode, direction);
    await world.put('both', 'a file here');
    await world.putRemote('both/f', 'below a directory there');
    await world.put('other/g', 'below a directory here');
    await world.putRemote('other', 'a file there');
    await world.put('fine-here');
    await world.putRemote('fine-there');
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    const stays = { both: 'a file here', 'other/g': 'below a directory here' };
    const staysThere = { 'both/f': 'below a directory there', other: 'a file there' };
    expect(inPlace(world.here())).toMatchObject(stays);
    expect(inPlace(world.held())).toMatchObject(staysThere);
    const told = world.told('file.skipped').map(({ path }) => path);
    for (const path of direction === 'push' ? ['both', 'other/g'] : ['both/f', 'other'])
      expect(told).toContain(path);
    for (const { message } of world.told('file.skipped')) expect(message.length).toBeGreaterThan(20);
    await world.run();
    expect(inPlace(world.here())).toMatchObject(stays);
    expect(inPlace(world.held())).toMatchObject(staysThere);
    expect(world.temporaries()).toEqual([]);
    expect(world.intents()).toEqual([]);
  });
});

describe('the trash', () => {
  it.each<['push' | 'pull', string]>([
    ['push', 'the server'],
    ['pull', 'this side'],
  ])(
    '%s: a file called like it on %s: nothing is deleted or overwritten, and it is told',
    async (direction) => {
      world = await openHostile('mirror', direction);
      const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
      const target = (): Record<string, string> => (direction === 'push' ? world.held() : world.here());
      for (const path of ['f', 'g', 'd/h']) await put(path);
      await world.run();
      const at = direction === 'push' ? world.remote('.ferryd-trash') : world.local('.ferryd-trash');
      await writeFile(at, 'a file of a person');
      const source = direction === 'push' ? world.local('f') : world.remote('f');
      await rm(source);
      await put('g', 'newer', EARLIER + 60_000);
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(target()).toEqual({ '.ferryd-trash': 'a file of a person', 'd/h': 'd/h', f: 'f', g: 'g' });
      expect(sentences(world)).toContain('.ferryd-trash');
      expect(world.temporaries()).toEqual([]);
      await rm(at);
      // What the server refused is remembered, until a person asks.
      await world.run({ skipped: 'again' });
      await settle(world);
      expect(inPlace(target())).toEqual({ 'd/h': 'd/h', g: 'newer' });
      expect(inTrashOf(target())).toEqual({ f: 'f', g: 'g' });
    },
  );

  it.each(['push', 'pull'] as const)(
    '%s: every place of this run is taken: what should go stays',
    async (direction) => {
      world = await openHostile('mirror', direction);
      const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
      for (const path of ['f', 'g']) await put(path);
      await world.run();
      await rm(direction === 'push' ? world.local('f') : world.remote('f'));
      const root = direction === 'push' ? world.remote('') : world.local('');
      const nowMs = Date.now();
      const taken = Array.from({ length: 40 }, (_, second) =>
        new Date(nowMs + second * 1000).toISOString().replace(/[-:]|\.\d+/g, ''),
      );
      for (const stamp of taken) overwrite(`${root}/.ferryd-trash/${stamp}/f`, 'of another run');
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(sentences(world)).toContain('f cannot be moved into the trash');
      expect(inPlace(direction === 'push' ? world.held() : world.here())).toEqual({ f: 'f', g: 'g' });
      expect(new Set(Object.values(inTrashOf(direction === 'push' ? world.held() : world.here())))).toEqual(
        new Set(['of another run']),
      );
    },
  );

  it.each(['push', 'pull'] as const)('%s: takes names of 255 bytes', async (direction) => {
    world = await openHostile('mirror', direction);
    const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
    const long = 'n'.repeat(255);
    const letters = 'ä'.repeat(127);
    for (const path of [long, `${long}/${letters}`.slice(128), `d/${letters}`, 'other']) await put(path);
    await world.run();
    const target = (): Record<string, string> => (direction === 'push' ? world.held() : world.here());
    const doomed = [long, `d/${letters}`];
    for (const path of doomed) await rm(direction === 'push' ? world.local(path) : world.remote(path));
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { deleted: 2 } });
    expect(Object.keys(inTrashOf(target())).sort()).toEqual([...doomed].sort());
  });

  it.each(['push', 'pull'] as const)(
    '%s: a path that is too long there: told, and the file stays',
    async (direction) => {
      world = await openHostile('mirror', direction);
      const put = direction === 'push' ? world.put.bind(world) : world.putRemote.bind(world);
      // It fits where it is, its temporary name beside it too, and not 31 bytes further down; 4,096 is the system's limit,
      // with the NUL at its end. Here names are looked up from their directory, so that one has to be too long by itself.
      const root = direction === 'push' ? world.remote('') : world.local('');
      const room = (direction === 'push' ? 4_066 : 4_083) - root.length - '/'.length - '/q'.length;
      const directories = Array.from({ length: Math.floor(room / 200) }, () => 'p'.repeat(199));
      const path = `${directories.join('/')}/${'p'.repeat(room % 200)}/q`;
      await put(path, 'far below');
      await put('other');
      await world.run();
      const target = (): Record<string, string> => (direction === 'push' ? world.held() : world.here());
      expect(target()[path]).toBe('far below');
      await rm(direction === 'push' ? world.local(path) : world.remote(path));
      expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(inPlace(target())[path]).toBe('far below');
      expect(sentences(world)).toContain(path.slice(0, 40));
    },
  );

  it('on the server is a link: nothing goes through it', async () => {
    world = await openHostile('mirror', 'push');
    for (const path of ['f', 'g']) await world.put(path);
    await world.run();
    // The scripted server follows no link out of its root; it refuses, as a real one in its chroot does.
    await symlink(world.directory.join('outside'), world.remote('.ferryd-trash'));
    await rm(world.local('f'));
    expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
    expect(world.held().f).toBe('f');
    await expectOutsideUntouched(world);
  });
});

/** Shows a directory below itself, and so without end: a link that the server follows in secret. */
class Looping extends MemoryRemote {
  override async list(directory: string): Promise<RemoteDirectory> {
    const [files, below] =
      directory === '' ? [(await super.list('')).files, 'again'] : [[], `${directory}/again`];
    return { files, directories: [below], others: [], complete: true, proven: true };
  }
}

it.each(['mirror', 'two-way'] as const)(
  '%s: a server that shows a directory below itself without end',
  async (mode) => {
    world = await openHostile(mode, 'pull');
    const remote = new Looping();
    const accounts = { of: async () => ({ remote: () => remote }) };
    remote.tree.write('good', 'good', EARLIER);
    expect(await world.run({ accounts })).toMatchObject({
      outcome: 'partial',
      tally: { downloaded: 1, skipped: 1 },
    });
    expect(sentences(world)).toContain('is deeper than any path can be');
    expect(world.here()).toEqual({ good: 'good' });
  },
);

it('a directory on the server that may not be written to: told, and the others go on', async () => {
  world = await openHostile('mirror', 'push');
  for (const path of ['closed/f', 'open/g']) await world.put(path);
  await world.run();
  await mkdir(world.remote('closed'), { recursive: true });
  await chmod(world.remote('closed'), 0o555);
  world.server.script({
    on: /^(STOR|RNFR|MKD) .*closed/,
    nth: 'every',
    do: { kind: 'reply', text: '550 Permission denied.' },
  });
  await rm(world.local('closed/f'));
  await world.put('open/g', 'newer', EARLIER + 60_000);
  expect(await world.run()).toMatchObject({ outcome: 'partial', tally: { uploaded: 1, deleted: 0 } });
  expect(inPlace(world.held())).toEqual({ 'closed/f': 'closed/f', 'open/g': 'newer' });
  await chmod(world.remote('closed'), 0o755);
});

describe.each(DELETING_HERE)(
  'two names on the server for which there is one here, %s %s',
  (mode, direction) => {
    it('files that only the second of two directories has are not deleted here', async () => {
      world = await openHostile(mode, direction);
      for (const path of ['x:/a', 'x:/c', 'x:/e', 'good']) await world.putRemote(path);
      await settle(world);
      // A job that begins to encode names, and a directory that somebody has made as it would.
      world.change({ job: { names: 'encode' } });
      for (const path of ['x%3A/b', 'x%3A/d']) await world.putRemote(path);
      const bytes = line('x%3A', 'dir') + line('x:', 'dir') + line('good');
      world.server.script({ on: 'MLSD', path: '/dumps', nth: 'every', do: { kind: 'content', bytes } });
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'partial', tally: { deleted: 0 } });
      expect(inPlace(world.here())).toMatchObject({
        'x:/a': 'x:/a',
        'x:/c': 'x:/c',
        'x:/e': 'x:/e',
        good: 'good',
      });
      expect(inTrashOf(world.here())).toEqual({});
      expect(sentences(world)).toContain('x:/ twice, or two names for which this is one');
    });
  },
);
