/* Listings as servers write them; what cannot be read is counted, and no name leads anywhere else. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ListedEntry, parseListing, parseMachineListing, showsItself } from '../../src/ftp/listing.js';

const mlsd = (...lines: string[]) =>
  parseMachineListing(Buffer.from(lines.map((line) => `${line}\r\n`).join('')));
const list = (...lines: string[]) => parseListing(Buffer.from(lines.map((line) => `${line}\r\n`).join('')));

function entry(
  name: string,
  type: ListedEntry['type'],
  sizeBytes: number | undefined,
  modified?: string,
): ListedEntry {
  return { name, type, sizeBytes, modifiedMs: modified === undefined ? undefined : Date.parse(modified) };
}

describe('MLSD', () => {
  test.each<[string, ListedEntry]>([
    [
      'type=file;size=5;modify=20200913122640;perm=adfrw; a.txt',
      entry('a.txt', 'file', 5, '2020-09-13T12:26:40Z'),
    ],
    [
      'Type=File;SIZE=5;Modify=20200913122640.250; a.txt',
      entry('a.txt', 'file', 5, '2020-09-13T12:26:40.250Z'),
    ],
    ['type=dir;modify=20200913122640; sub', entry('sub', 'directory', undefined, '2020-09-13T12:26:40Z')],
    ['type=OS.unix=symlink;size=1; link', entry('link', 'link', 1)],
    ['type=OS.unix=slink:/target; link', entry('link', 'link', undefined)],
    ['type=OS.unix=special; pipe', entry('pipe', 'other', undefined)],
    ['type=file;size=5;  two spaces ', entry(' two spaces ', 'file', 5)],
    ['type=file;size=5; a;b=c', entry('a;b=c', 'file', 5)],
    ['type=file;size=5; Füße 日本', entry('Füße 日本', 'file', 5)],
    ['type=file;size=9007199254740991; big', entry('big', 'file', Number.MAX_SAFE_INTEGER)],
    ['type=file;size=9007199254740993; huge', entry('huge', 'file', undefined)],
    ['type=file;size=-1; odd', entry('odd', 'file', undefined)],
    ['type=file;size=1e3; odd', entry('odd', 'file', undefined)],
    ['type=file;size=; odd', entry('odd', 'file', undefined)],
    ['type=file;size=5;modify=yesterday; odd', entry('odd', 'file', 5)],
    ['type=file odd', entry('odd', 'file', undefined)],
  ])('%s', (line, expected) => {
    expect(mlsd(line)).toEqual({ entries: [expected], unreadable: 0 });
  });

  test('the directory itself and its parent are left out', () => {
    const listing = mlsd('type=cdir; .', 'type=pdir; ..', 'Type=cdir; /home/backup', 'type=file;size=1; a');
    expect(listing).toEqual({ entries: [entry('a', 'file', 1)], unreadable: 0 });
  });

  test.each([
    'size=5; a',
    'a.txt',
    'type=file;size=5;',
    'type=file;size=5; ',
    'type=file;size=5; a/b',
    'type=file;size=5; ../etc/passwd',
    'type=file;size=5; a\\b',
    'type=file;size=5; a\x07b',
    'type=file;size=5; a\x00b',
    'type=file;size=5; a\x7fb',
    'type=file;size=5; a\x85b',
    'type=file;size=5; a\rb',
    'type=file;size=5; a\ufffdb',
    'total nonsense',
  ])('%j is counted as unreadable', (line) => {
    expect(mlsd(line, 'type=file;size=1; ok')).toEqual({ entries: [entry('ok', 'file', 1)], unreadable: 1 });
  });

  test('a name that is no UTF-8 is not turned into another one', () => {
    const line = Buffer.concat([
      Buffer.from('type=file;size=5; a'),
      Buffer.from([0xff]),
      Buffer.from('\r\n'),
    ]);
    expect(parseMachineListing(line)).toEqual({ entries: [], unreadable: 1 });
  });

  test('LF alone and a missing last line end will do', () => {
    const body = Buffer.from('type=file;size=1; a\ntype=file;size=2; b');
    expect(parseMachineListing(body).entries.map(({ name }) => name)).toEqual(['a', 'b']);
  });
});

describe('LIST, Unix form', () => {
  test.each<[string, ListedEntry]>([
    ['-rw-r--r--    1 1000     1000            5 Sep 13  2020 a.txt', entry('a.txt', 'file', 5)],
    ['-rw-r--r--   1 ftp      ftp             5 Sep 13 12:26 a.txt', entry('a.txt', 'file', 5)],
    ['-rw-r--r--   1 ftp ftp 5 Sep  3 12:26  leading and  inner ', entry(' leading and  inner ', 'file', 5)],
    ['-rw-r--r--+  1 user     group           5 Sep 13 12:26 acl', entry('acl', 'file', 5)],
    ['-rw-r--r--.  1 user     group           5 Sep 13 12:26 selinux', entry('selinux', 'file', 5)],
    ['-rwsr-Sr-t   1 user     group           5 Sep 13 12:26 bits', entry('bits', 'file', 5)],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 sub dir', entry('sub dir', 'directory', 4096)],
    ['lrwxrwxrwx    1 0        0               7 Jan 01 00:00 link -> target', entry('link', 'link', 7)],
    ['lrwxrwxrwx    1 0        0               7 Jan 01 00:00 bare', entry('bare', 'link', 7)],
    ['-rw-r--r--    1 0        0               7 Jan 01 00:00 a -> b', entry('a -> b', 'file', 7)],
    ['prw-r--r--    1 0        0               0 Jan 01 00:00 pipe', entry('pipe', 'other', 0)],
    ['-rw-r--r--    1 0        0      5000000000 Jan 01  2020 big', entry('big', 'file', 5_000_000_000)],
    ['-rw-r--r--    1 user     group           5 13 Sep 12:26 day-first', entry('day-first', 'file', 5)],
    ['-rw-r--r--    1 user     group           5 2020-09-13 12:26 iso', entry('iso', 'file', 5)],
    ['-rw-r--r--    1 user                     5 Sep 13 12:26 no-group', entry('no-group', 'file', 5)],
    ['-rw-r--r--    1 user     group           5 Sep 13 12:26 2020', entry('2020', 'file', 5)],
    ['-rw-r--r--    1 user     group           5 Sep 13 12:26 Füße 日本', entry('Füße 日本', 'file', 5)],
    ['-rw-r--r--    1 user     group           5 Sep 13 12:26 a\u2028b', entry('a\u2028b', 'file', 5)],
  ])('%s', (line, expected) => {
    expect(list(line)).toEqual({ entries: [expected], unreadable: 0 });
  });

  test('the total, the directory itself and its parent are left out', () => {
    const listing = list(
      'total 12',
      'drwxr-xr-x    2 0        0            4096 Jan 01 00:00 .',
      'drwxr-xr-x    2 0        0            4096 Jan 01 00:00 ..',
      '-rw-r--r--    1 0        0               1 Jan 01 00:00 .hidden',
    );
    expect(listing).toEqual({ entries: [entry('.hidden', 'file', 1)], unreadable: 0 });
  });

  test.each([
    '-rw-r--r--    1 0        0               7 Jan 01 00:00 a/b',
    '-rw-r--r--    1 0        0               7 Jan 01 00:00 ../b',
    '-rw-r--r--    1 0        0               7 Jan 01 00:00 a\\b',
    '-rw-r--r--    1 0        0               7 Jan 01 00:00 a\x1b[31m',
    '-rw-r--r--    1 0        0               7 Jan 01 00:00',
    'ls: cannot open directory',
    '226 Directory send OK.',
  ])('%j is counted as unreadable', (line) => {
    expect(list(line)).toEqual({ entries: [], unreadable: 1 });
  });
});

describe('LIST, DOS form', () => {
  test.each<[string, ListedEntry]>([
    ['09-13-20  12:26PM                    5 a.txt', entry('a.txt', 'file', 5)],
    ['09-13-2020  12:26PM                    5 a b.txt', entry('a b.txt', 'file', 5)],
    ['09-13-20  12:26PM       <DIR>          sub', entry('sub', 'directory', undefined)],
    ['09-13-2020  00:26       <DIR>          Füße', entry('Füße', 'directory', undefined)],
    ['09-13-20  12:26AM           5000000000 big', entry('big', 'file', 5_000_000_000)],
    ['09-13-20  12:26AM                    5 a\u2028b', entry('a\u2028b', 'file', 5)],
  ])('%s', (line, expected) => {
    expect(list(line)).toEqual({ entries: [expected], unreadable: 0 });
  });

  test.each([
    '09-13-20  12:26PM                    5 a\\b',
    '09-13-20  12:26PM                    x a',
    '09-13-20  12:26PM',
  ])('%j is counted as unreadable', (line) => {
    expect(list(line)).toEqual({ entries: [], unreadable: 1 });
  });

  test('leading spaces belong to the name of a file', () => {
    // IIS keeps them; the size stands right-aligned, with exactly one space behind it.
    expect(list('09-13-20  12:26PM                    5   a').entries).toEqual([entry('  a', 'file', 5)]);
    expect(list('09-13-20  12:26PM       <DIR>            a').entries).toEqual([
      entry('  a', 'directory', undefined),
    ]);
  });
});

describe('whether `-a` was understood', () => {
  test.each([
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 .\r\n', true],
    ['total 4\ndrwxr-xr-x    2 0        0            4096 Jan 01 00:00 .\n', true],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 ..\r\n', false],
    ['-rw-r--r--    1 0        0            4096 Jan 01 00:00 .\r\n', false],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 a.\r\n', false],
    ['', false],
  ])('%j', (body, expected) => {
    expect(showsItself(Buffer.from(body))).toBe(expected);
  });
});

describe('properties', () => {
  const line = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .tuple(
        fc.constantFrom('type=file;size=5; ', 'type=dir; ', 'type=file;modify=20200913122640; ', 'x=y; '),
        fc.string({ unit: 'binary' }),
      )
      .map((parts) => parts.join('')),
    fc
      .tuple(
        fc.constantFrom(
          '-rw-r--r-- 1 0 0 7 Jan 01 00:00 ',
          'lrwxrwxrwx 1 0 0 7 Jan 01 00:00 ',
          '09-13-20  12:26PM  5 ',
          '09-13-20  12:26PM  <DIR> ',
        ),
        fc.string({ unit: 'binary' }),
      )
      .map((parts) => parts.join('')),
  );
  const body = fc.oneof(
    fc.array(line, { maxLength: 10 }).map((lines) => Buffer.from(lines.join('\r\n'))),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  );

  test.each([
    ['MLSD', parseMachineListing],
    ['LIST', parseListing],
  ])('%s never throws, and no name is more than one component', (_name, parse) => {
    fc.assert(
      fc.property(body, (bytes) => {
        const { entries, unreadable } = parse(bytes);
        expect(unreadable).toBeGreaterThanOrEqual(0);
        for (const { name, sizeBytes } of entries) {
          expect(name).not.toMatch(/[/\\\p{Cc}]/u);
          expect(['', '.', '..']).not.toContain(name);
          if (sizeBytes !== undefined) expect(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('every name that may stand in a path is read back from MLSD and from LIST', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .filter((text) => !/[/\\\p{Cc}\ufffd]/u.test(text) && text !== '.' && text !== '..');
    fc.assert(
      fc.property(name, (text) => {
        expect(mlsd(`type=file;size=5; ${text}`).entries.map((found) => found.name)).toEqual([text]);
        expect(list(`-rw-r--r-- 1 0 0 5 Jan 01 00:00 ${text}`).entries.map((found) => found.name)).toEqual([
          text,
        ]);
      }),
      { numRuns: 500 },
    );
  });

  test('a hostile line does not hold the parser up', () => {
    const began = performance.now();
    list(
      `-rw-r--r-- ${'1 '.repeat(20_000)}`,
      `09-13-20 ${' '.repeat(50_000)}`,
      `-rw-r--r-- 1 ${'a '.repeat(20_000)}`,
    );
    showsItself(Buffer.from(`d${'x '.repeat(20_000)}`));
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
