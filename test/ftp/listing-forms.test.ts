/* The forms of LIST, line by line, as servers and other clients' archives of odd servers have them. */
import { describe, expect, test } from 'vitest';
import { UTF_8 } from '../../src/ftp/charset.js';
import { type ListedEntry, parseListing } from '../../src/ftp/listing.js';
import { at, bodyOf, entry, list } from './listing-stage.js';

describe('Unix form', () => {
  test.each<[string, ListedEntry]>([
    [
      '-rw-r--r--    1 1000     1000            5 Sep 13  2020 a.txt',
      entry('a.txt', 'file', 5, { listed: at('2020-09-13'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--   1 ftp ftp 5 Sep  3 12:26  leading and  inner ',
      entry(' leading and  inner ', 'file', 5, { listed: at('2026-09-03T12:26'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--+  1 user     group           5 Sep 13 12:26 acl',
      entry('acl', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--.  1 user     group           5 Sep 13 12:26 selinux',
      entry('selinux', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
    [
      'drwxr-xr-x@  7 user     staff         224 Sep 13 12:26 Mac',
      entry('Mac', 'directory', 224, { listed: at('2026-09-13T12:26'), permissions: 0o755 }),
    ],
    [
      '-rwsr-Sr-t   1 user     group           5 Sep 13 12:26 bits',
      entry('bits', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o7745 }),
    ],
    [
      '-rwSr-lr-T   1 user     group           5 Sep 13 12:26 bits',
      entry('bits', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o7644 }),
    ],
    [
      'drwxrws--T    2 0        0            4096 Jan 01 00:00 sub dir',
      entry('sub dir', 'directory', 4096, { listed: at('2026-01-01T00:00'), permissions: 0o3770 }),
    ],
    [
      'lrwxrwxrwx    1 0        0               7 Jan 01 00:00 link -> tar/get',
      entry('link', 'link', 7, { listed: at('2026-01-01T00:00'), permissions: 0o777, linkTarget: 'tar/get' }),
    ],
    [
      // Windows servers give links no size; there is only one way to read it.
      'lrwxrwxrwx    1 0        0               0 Jan 01 00:00 a link -> over there',
      entry('a link', 'link', 0, {
        listed: at('2026-01-01T00:00'),
        permissions: 0o777,
        linkTarget: 'over there',
      }),
    ],
    [
      'lrwxrwxrwx    1 0        0               6 Jan 01 00:00 a -> b -> c -> d',
      entry('a -> b', 'link', 6, {
        listed: at('2026-01-01T00:00'),
        permissions: 0o777,
        linkTarget: 'c -> d',
      }),
    ],
    [
      'lrwxrwxrwx    1 0        0               7 Jan 01 00:00 bare',
      entry('bare', 'link', 7, { listed: at('2026-01-01T00:00'), permissions: 0o777 }),
    ],
    [
      '-rw-r--r--    1 0        0               7 Jan 01 00:00 a -> b',
      entry('a -> b', 'file', 7, { listed: at('2026-01-01T00:00'), permissions: 0o644 }),
    ],
    [
      'prw-r--r--    1 0        0               0 Jan 01 00:00 pipe',
      entry('pipe', 'other', 0, { listed: at('2026-01-01T00:00'), permissions: 0o644 }),
    ],
    [
      'crw-rw-rw-    1 root     root       1,   3 Jan 01 00:00 null',
      entry('null', 'other', undefined, { listed: at('2026-01-01T00:00'), permissions: 0o666 }),
    ],
    [
      'brw-rw----    1 root     disk          8,0 Jan 01 00:00 sda',
      entry('sda', 'other', undefined, { listed: at('2026-01-01T00:00'), permissions: 0o660 }),
    ],
    [
      '-rw-r--r--    1 0        0      5000000000 Jan 01  2020 big',
      entry('big', 'file', 5_000_000_000, { listed: at('2020-01-01'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 0        0      99999999999999999999 Jan 01  2020 huge',
      entry('huge', 'file', undefined, { listed: at('2020-01-01'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 user     group           5 Sep 13 12:26 2020',
      entry('2020', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 user     group           5 Sep 13 12:26 7 Sep 13 12:26 x',
      entry('7 Sep 13 12:26 x', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 user     group           5 Sep 13  2020 Sep 13 12:26 x',
      entry('Sep 13 12:26 x', 'file', 5, { listed: at('2020-09-13'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 user     group           5 Sep 13 12:26 Füße 日本',
      entry('Füße 日本', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
    [
      '-rw-r--r--    1 user     group           5 Sep 13 12:26 a\u2028b\u00a0c',
      entry('a\u2028b\u00a0c', 'file', 5, { listed: at('2026-09-13T12:26'), permissions: 0o644 }),
    ],
  ])('%s', (line, expected) => {
    expect(list(line)).toEqual({ entries: [expected], unusable: [], unreadable: 0, form: 'unix' });
  });

  test.each<[string, number | undefined]>([
    // Columns that are missing, or more than there should be.
    ['-rw-r--r--    1 user                     5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   ftp      ftp                5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   ftp                         5 Sep 13 12:26 x', 5],
    ['-rw-r--r--                               5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   0 user     group     65222236 Sep 13 12:26 x', 65_222_236],
    ['-rw-r--r--   1 1000     1000             5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   1 DOM\\user Domain Users     5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   1 group domain user       531 Sep 13 12:26 x', 531],
    ['-rw-r--r--   1 J\u00e0n M\u00fcller Gruppe 1     5 Sep 13 12:26 x', 5],
    ['-rw-r--r--   1 S-1-5-21-111-222 S-1-5-32-544 5 Sep 13 12:26 x', 5],
    // NetPresenz: resource fork, data fork, both together.
    ['-------r--         326  1391972  1392298 Sep 13 12:26 x', 1_392_298],
    // The size has grown into the group, or is in units: it is not known.
    ['-r-xr-xr-x longowner longgroup123456 Sep 13 12:26 x', undefined],
    ['-rw-r--r--   1 root     other  34.5k Sep 13 12:26 x', undefined],
    ['drwxr-xr-x   2 root     other        Sep 13 12:26 x', undefined],
    ['drwxr-xr-x   Sep 13 12:26 x', undefined],
  ])('columns: %s', (line, sizeBytes) => {
    const listing = list(line);
    expect(listing.unreadable).toBe(0);
    expect(listing.entries.map(({ name, sizeBytes: size, listed }) => [name, size, listed])).toEqual([
      ['x', sizeBytes, at('2026-09-13T12:26')],
    ]);
  });

  test.each([
    '1 user     group         5',
    '1 user                   5',
    'user       group         5',
    '1 user     group 34.5k',
    'longowner  longgroup123456',
    '1 user     group',
  ])('behind %j, a name that looks like a size and a date is a name', (columns) => {
    for (const date of ['Sep 13 12:26', 'Sep 13  2020', '13 Sep 2020', '2020-09-13 12:26', '09-26 2000']) {
      const listing = list(`-rw-r--r--   ${columns} ${date} 5 ${date} x`);
      expect(listing).toMatchObject({ entries: [{ name: `5 ${date} x` }], unreadable: 0 });
    }
  });

  test.each<[string, string | undefined]>([
    ['Sep 13 12:26', '2026-09-13T12:26'],
    ['Sep  3  2:05', '2026-09-03T02:05'],
    ['SEP 13 12:26', '2026-09-13T12:26'],
    ['Sep 13  2020', '2020-09-13'],
    ['Sep 13 2020', '2020-09-13'],
    ['Sep 3 1969', '1969-09-03'],
    ['13 Sep 12:26', '2026-09-13T12:26'],
    [' 3 Sep  2020', '2020-09-03'],
    ['Sep 13 12:26:40 2020', '2020-09-13T12:26:40'],
    ['Oct 08, 2002 09:47', '2002-10-08T09:47'],
    ['2020-09-13 12:26', '2020-09-13T12:26'],
    ['2020/09/13 12:26', '2020-09-13T12:26'],
    ['2020-09-13 12:26:40', '2020-09-13T12:26:40'],
    ['2020-09-13 12:26:40.123456789 +0200', '2020-09-13T12:26:40'],
    ['2020-09-13 12:26:40.000000000 -0930', '2020-09-13T12:26:40'],
    ['09-26 2000', '2000-09-26'],
    ['09-26 13:45', '2026-09-26T13:45'],
    ['24-04-2003 17:12', undefined],
    // No such time, but the name is as good as any.
    ['Jan 00  1980', undefined],
    ['Feb 30 12:26', undefined],
    ['Sep 13 24:00', undefined],
    ['Sep 13 12:60', undefined],
    ['2019-02-29 00:00', undefined],
  ])('date: %s', (date, expected) => {
    const listing = list(`-rw-r--r--   1 user     group           5 ${date}  x y`);
    expect(listing.unreadable).toBe(0);
    expect(listing.entries.map(({ name, sizeBytes, listed }) => [name, sizeBytes, listed])).toEqual([
      [' x y', 5, expected === undefined ? undefined : at(expected)],
    ]);
  });

  test.each<[string, string, string | undefined]>([
    ['2026-11-23T12:00', 'Nov 23 12:00', '2026-11-23T12:00'],
    // Up to a day ahead is a zone or a wrong clock; more is last year.
    ['2026-11-23T12:00', 'Nov 24 12:00', '2026-11-24T12:00'],
    ['2026-11-23T12:00', 'Nov 24 12:01', '2025-11-24T12:01'],
    ['2026-12-31T23:30', 'Jan  1 09:00', '2027-01-01T09:00'],
    ['2027-01-01T00:30', 'Dec 31 23:59', '2026-12-31T23:59'],
    ['2026-11-23T12:00', 'Feb 29 12:00', '2024-02-29T12:00'],
    ['2103-11-23T12:00', 'Feb 29 12:00', '2096-02-29T12:00'],
    ['2024-02-28T12:00', 'Feb 29 12:00', '2024-02-29T12:00'],
  ])('at %s, %s is %s', (now, date, expected) => {
    const body = bodyOf([`-rw-r--r--   1 user     group           5 ${date} x`]);
    const [found] = parseListing(body, UTF_8, { nowMs: Date.parse(`${now}Z`) }).entries;
    expect(found?.listed).toEqual(expected === undefined ? undefined : at(expected));
  });

  test('without a clock, a date without a year is no time, and one with a year is', () => {
    const body = bodyOf([
      '-rw-r--r--   1 user     group           5 Sep 13 12:26 a',
      '-rw-r--r--   1 user     group           5 Sep 13  2020 b',
    ]);
    expect(parseListing(body).entries.map(({ listed }) => listed)).toEqual([undefined, at('2020-09-13')]);
  });

  test.each<[string, ListedEntry]>([
    [
      'd [R----F--] supervisor            512       Jan 16 18:53    login',
      entry('login', 'directory', 512, { listed: at('2026-01-16T18:53') }),
    ],
    [
      '- [R----F--] rhesus             214059       Oct 20 15:27    cx.exe',
      entry('cx.exe', 'file', 214_059, { listed: at('2026-10-20T15:27') }),
    ],
    [
      'd [RWCEAFMS] ftpadmin 512 Jan 29  2004 pub',
      entry('pub', 'directory', 512, { listed: at('2004-01-29') }),
    ],
    [
      '-[R----F-]  1 raj           857 Feb 23  2000 !info!',
      entry('!info!', 'file', 857, { listed: at('2000-02-23') }),
    ],
  ])('NetWare: %s', (line, expected) => {
    expect(list(line)).toEqual({ entries: [expected], unusable: [], unreadable: 0, form: 'unix' });
  });

  test.each(['total 12', 'total 0', 'total: 5', 'Total 1,234', 'total 4.0K'])(
    '%j, the directory itself and its parent are left out',
    (total) => {
      const listing = list(
        total,
        'drwxr-xr-x    2 0        0            4096 Jan 01 00:00 .',
        'drwxr-xr-x    2 0        0            4096 Jan 01 00:00 ..',
        '-rw-r--r--    1 0        0               1 Jan 01 00:00 .hidden',
      );
      expect(listing).toMatchObject({ entries: [{ name: '.hidden' }], unusable: [], unreadable: 0 });
    },
  );

  test.each([
    '-rw-r--r--    1 0        0               7 Jan 01 00:00',
    '-rw-r--r--    1 0        0               7 Jan 01 00:00 ',
    '-rw-r--r--    1 0        0               7 Mai 01 00:00 x',
    '-rw-r--r--    1 0        0               7 x',
    '-rw-r--r--',
    'Zrwxrwxrwx    1 root     other           7 Jan 25 00:17 bin',
    'drwxr-xr-x    3 110      1002            3 Dec 02  209 pub',
    'lrwxrwxrwx    1 0        0               7 Jan 01 00:00  -> target',
    // Several arrows, and the size fits none of them.
    'lrwxrwxrwx    1 0        0               0 Jan 01 00:00 a -> b -> c',
    // Links, owner, group and size, or a size, a date and a name that begins with a date?
    '-rw-r--r--    1 jan 12 2020 Sep 13 12:26 x',
    '-rw-r--r--    1 jan 2020 5 Sep 13 12:26 x',
    'ls: cannot open directory',
    '226 Directory send OK.',
    '000000000x ',
  ])('%j is counted as unreadable', (line) => {
    const good = '-rw-r--r--    1 0        0               1 Jan 01 00:00 ok';
    expect(list(line, good)).toMatchObject({ entries: [{ name: 'ok' }], unusable: [], unreadable: 1 });
  });
});

describe('DOS form', () => {
  test.each<[string, ListedEntry]>([
    [
      '09-13-20  12:26PM                    5 a.txt',
      entry('a.txt', 'file', 5, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-2020  01:26PM                    5 a b.txt',
      entry('a b.txt', 'file', 5, { listed: at('2020-09-13T13:26') }),
    ],
    [
      '09-13-99  12:26AM           5000000000 big',
      entry('big', 'file', 5_000_000_000, { listed: at('1999-09-13T00:26') }),
    ],
    [
      '09-13-20  12:26PM       <DIR>          sub',
      entry('sub', 'directory', undefined, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-2020  00:26       <DIR>          Füße',
      entry('Füße', 'directory', undefined, { listed: at('2020-09-13T00:26') }),
    ],
    [
      '2002-09-02  18:48       <DIR>          DOS dir 2',
      entry('DOS dir 2', 'directory', undefined, { listed: at('2002-09-02T18:48') }),
    ],
    [
      '2002-09-02  19:06                9,730 DOS file 2',
      entry('DOS file 2', 'file', 9_730, { listed: at('2002-09-02T19:06') }),
    ],
    [
      '09-13-20  12:26PM        1.234.567.890 dots',
      entry('dots', 'file', 1_234_567_890, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-20  12:26PM        1\u00a0234 gap',
      entry('gap', 'file', 1_234, { listed: at('2020-09-13T12:26') }),
    ],
    ['09-13-20 2:26 PM 5 a', entry('a', 'file', 5, { listed: at('2020-09-13T14:26') })],
    // Day first or month first, thirteen o'clock twice: no time, but a name.
    ['13.09.2020  12:26                    5 a', entry('a', 'file', 5)],
    ['09-13-20  13:26PM                    5 a', entry('a', 'file', 5)],
    [
      '09-13-20  12:26PM                    5 09-13-20  12:26PM       <DIR>          sub',
      entry('09-13-20  12:26PM       <DIR>          sub', 'file', 5, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-20  12:26PM                    5 a\u2028b',
      entry('a\u2028b', 'file', 5, { listed: at('2020-09-13T12:26') }),
    ],
    // IIS keeps the spaces that a name begins with; the column before it has a fixed width.
    [
      '09-13-20  12:26PM                    5   a',
      entry('  a', 'file', 5, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-20  12:26PM       <DIR>            a',
      entry('  a', 'directory', undefined, { listed: at('2020-09-13T12:26') }),
    ],
    [
      '09-13-20  12:26PM    <DIR>   other padding',
      entry('other padding', 'directory', undefined, { listed: at('2020-09-13T12:26') }),
    ],
  ])('%s', (line, expected) => {
    expect(list(line)).toEqual({ entries: [expected], unusable: [], unreadable: 0, form: 'dos' });
  });

  test.each([
    '09-13-20  12:26PM                    x a',
    '09-13-20  12:26PM                    5,73 a',
    '09-13-20  12:26PM                    5',
    '09-13-20  12:26PM                    5 ',
    '09-13-20  12:26PM       <DIR>          ',
    '09-13-20  12:26PM       <JUNCTION>     a [C:\\b]',
    '09-13-20  12:26PM',
    '               1 File(s)          5,000 bytes',
  ])('%j is counted as unreadable', (line) => {
    const good = '09-13-20  12:26PM                    5 ok';
    expect(list(line, good)).toMatchObject({ entries: [{ name: 'ok' }], unusable: [], unreadable: 1 });
  });
});

describe('EPLF', () => {
  test.each<[string, ListedEntry]>([
    [
      '+i8388621.48594,m825718503,r,s280,\tdjb.html',
      entry('djb.html', 'file', 280, { modifiedMs: 825_718_503_000 }),
    ],
    [
      '+i8388621.50690,m824255907,/,\t514',
      entry('514', 'directory', undefined, { modifiedMs: 824_255_907_000 }),
    ],
    ['+r,s5,up644,x,\t a,b  ', entry(' a,b  ', 'file', 5, { permissions: 0o644 })],
    ['+/,r,\tboth', entry('both', 'directory', undefined)],
    ['+s5,\tneither', entry('neither', 'other', 5)],
    ['+\tnothing', entry('nothing', 'other', undefined)],
    ['+r,s-1,m1e9,up999,\todd', entry('odd', 'file', undefined)],
    ['+r,m99999999999999,\tfar', entry('far', 'file', undefined)],
  ])('%j', (line, expected) => {
    expect(list(line)).toEqual({
      entries: [expected],
      unusable: [],
      unreadable: 0,
      form: 'eplf',
    });
  });

  test.each(['+r,s5, no-tab', '+r,s5,\t', 'r,s5,\tno-plus'])('%j is counted as unreadable', (line) => {
    expect(list('+r,s1,\tok', line)).toMatchObject({ entries: [{ name: 'ok' }], unreadable: 1 });
  });
});

describe('VMS form', () => {
  test('heading, wrapped names, older versions, directories and the total', () => {
    const listing = list(
      '',
      'Directory DISK$USER:[ANONYMOUS.PUB]',
      '',
      '00README.TXT;2      2 30-DEC-1996 17:44 [SYSTEM] (RWED,RWED,RE,RE)',
      '00README.TXT;1      2 29-DEC-1996 17:44 [SYSTEM] (RWED,RWED,RE,RE)',
      'CORE.DIR;1          1  8-SEP-1996 16:09 [SYSTEM] (RWE,RWE,RE,RE)',
      'CII-MANUAL.TEX;1  213/216  29-JAN-1996 03:33:12  [ANONYMOUS,ANONYMOUS]   (RWED,RWED,,)',
      'A_NAME_THAT_IS_TOO_LONG_FOR_ITS_COLUMN.TXT;1',
      '                  170774/170775     24-APR-2003 08:16:15  [FTP_CLIENT,SCOT]      (RWED,RWED,RE,)',
      'NOT_INDENTED.TXT;1',
      '10\t\t\t     2-JUL-2003 10:30:08.59  [FTP_CLIENT,SCOT]      (RWED,RWED,RE,)',
      'SHORT.;1       155   2-JUL-2003 10:30:13.64',
      'NO_TIME.DAT;1    2/8    15-JAN-2000    [IV2_XXX]   (RWED,RWED,RE,)',
      '',
      'Total of 8 files, 170999/171010 blocks.',
    );
    expect(listing).toEqual({
      entries: [
        entry('00README.TXT', 'file', undefined, { listed: at('1996-12-30T17:44') }),
        entry('CORE', 'directory', undefined, { listed: at('1996-09-08T16:09') }),
        entry('CII-MANUAL.TEX', 'file', undefined, { listed: at('1996-01-29T03:33:12') }),
        entry('A_NAME_THAT_IS_TOO_LONG_FOR_ITS_COLUMN.TXT', 'file', undefined, {
          listed: at('2003-04-24T08:16:15'),
        }),
        entry('NOT_INDENTED.TXT', 'file', undefined, { listed: at('2003-07-02T10:30:08') }),
        entry('SHORT.', 'file', undefined, { listed: at('2003-07-02T10:30:13') }),
        entry('NO_TIME.DAT', 'file', undefined, { listed: at('2000-01-15') }),
      ],
      unusable: [],
      unreadable: 0,
      form: 'vms',
    });
  });

  test('an empty directory', () => {
    expect(list('%DIRECT-W-NOFILES, no files found')).toEqual({
      entries: [],
      unusable: [],
      unreadable: 0,
      form: 'vms',
    });
  });

  test.each([
    'SECRET.TXT;1  %RMS-E-PRV, insufficient privilege or object protection violation',
    'A_NAME_WITHOUT_ITS_REST.TXT;1',
    'NO_VERSION.TXT  2 30-DEC-1996 17:44 [SYSTEM] (RWED,RWED,RE,RE)',
    'NO_DATE.TXT;1  2 [SYSTEM] (RWED,RWED,RE,RE)',
  ])('%j is counted as unreadable', (line) => {
    expect(list(line, 'OK.TXT;1 2 30-DEC-1996 17:44 [SYSTEM]')).toMatchObject({
      entries: [{ name: 'OK.TXT' }],
      unreadable: 1,
    });
  });
});

describe('telling the forms apart', () => {
  const lines = {
    unix: (name: string) => `-rw-r--r--    1 0        0               7 Jan 01  2020 ${name}`,
    dos: (name: string) => `09-13-20  12:26PM                    7 ${name}`,
    eplf: (name: string) => `+r,s7,\t${name}`,
  };
  const forms = Object.keys(lines) as (keyof typeof lines)[];

  test.each(forms.flatMap((form) => forms.map((other) => [form, other] as const)))(
    'in a %s listing, a name that looks like a line of %s is a name',
    (form, other) => {
      const names = ['a', lines[other]('inner').replace('\t', ' '), 'b'];
      const listing = list(...names.map(lines[form]));
      expect(listing.form).toBe(form);
      expect(listing.entries.map(({ name }) => name)).toEqual(names);
    },
  );

  test.each(forms.flatMap((form) => forms.filter((other) => other !== form).map((other) => [form, other])))(
    'in a %s listing, a line of %s is not read',
    (form, other) => {
      const line = (which: string | undefined) => lines[which as keyof typeof lines];
      expect(list(line(form)('a'), line(other)('b'))).toMatchObject({
        form,
        entries: [{ name: 'a' }],
        unreadable: 1,
      });
    },
  );

  test('what comes before the first line that can be read does not matter, but counts', () => {
    expect(list('Welcome!', 'total 7', lines.unix('a'))).toMatchObject({ form: 'unix', unreadable: 1 });
  });

  test.each<[string[], string, number]>([
    [[], 'empty', 0],
    [['total 0'], 'empty', 0],
    [['', ' '], 'empty', 0],
    [['a.txt', 'b.txt'], 'unknown', 2],
    [['total 0', 'ls: cannot open directory'], 'unknown', 2],
    [['type=file;size=5; a'], 'unknown', 1],
  ])('%j is %s', (body, form, unreadable) => {
    expect(list(...body)).toEqual({ entries: [], unusable: [], unreadable, form });
  });
});
