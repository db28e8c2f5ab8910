/*
 * Listings as a whole: MLSD, names that nobody can use, cut ends, and the laws that hold for any bytes. The lines of
 * LIST stand in listing-forms.test.ts.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { charsetOf, UTF_8 } from '../../src/ftp/charset.js';
import {
  type ListedEntry,
  parseListing,
  parseMachineEntry,
  parseMachineListing,
  showsItself,
} from '../../src/ftp/listing.js';
import { at, bodyOf, entry, expectLawful, list, mlsd, NOW_MS } from './listing-stage.js';

const modified = (time: string): { modifiedMs: number } => ({ modifiedMs: Date.parse(time) });
const unix = (name: string): string => `-rw-r--r--    1 0        0               7 Jan 01  2020 ${name}`;

describe('MLSD', () => {
  test.each<[string, ListedEntry]>([
    [
      'type=file;size=5;modify=20200913122640;perm=adfrw; a.txt',
      entry('a.txt', 'file', 5, modified('2020-09-13T12:26:40Z')),
    ],
    [
      'Type=File;SIZE=5;Modify=20200913122640.250; a.txt',
      entry('a.txt', 'file', 5, modified('2020-09-13T12:26:40.250Z')),
    ],
    [
      'modify=20200913122640;perm=adfrw;size=1;type=file;unique=FE00U20CEBC;UNIX.group=0;UNIX.groupname=0;UNIX.mode=0644;UNIX.owner=0;UNIX.ownername=ferry; ProFTPD',
      entry('ProFTPD', 'file', 1, { ...modified('2020-09-13T12:26:40Z'), permissions: 0o644 }),
    ],
    [
      'type=dir;sizd=4096;modify=20200913122640;UNIX.mode=0755;UNIX.uid=65534;UNIX.gid=65534;unique=fe00g20cec7; Pure-FTPd',
      entry('Pure-FTPd', 'directory', undefined, { ...modified('2020-09-13T12:26:40Z'), permissions: 0o755 }),
    ],
    ['type=file;UNIX.mode=01777;size=1; sticky', entry('sticky', 'file', 1, { permissions: 0o1777 })],
    ['type=file;UNIX.mode=99; odd', entry('odd', 'file', undefined)],
    ['type=OS.unix=symlink;size=1; link', entry('link', 'link', 1)],
    ['type=OS.unix=slink:;size=5; link', entry('link', 'link', 5)],
    ['type=OS.unix=slink:/Target; link', entry('link', 'link', undefined, { linkTarget: '/Target' })],
    // The rest of a target that was not escaped: a fact that came before is not changed by it.
    ['type=OS.unix=slink:x;type=file;size=5; link', entry('link', 'link', 5, { linkTarget: 'x' })],
    ['type=OS.unix=special; pipe', entry('pipe', 'other', undefined)],
    ['type=file;size=5;  two spaces ', entry(' two spaces ', 'file', 5)],
    ['type=file;size=5; a;b=c; d', entry('a;b=c; d', 'file', 5)],
    ['type=file;size=5; Füße 日本', entry('Füße 日本', 'file', 5)],
    ['type=file;size=9007199254740991; big', entry('big', 'file', Number.MAX_SAFE_INTEGER)],
    ['type=file;size=9007199254740993; huge', entry('huge', 'file', undefined)],
    ['type=file;size=-1; odd', entry('odd', 'file', undefined)],
    ['type=file;size=1e3; odd', entry('odd', 'file', undefined)],
    ['type=file;size=; odd', entry('odd', 'file', undefined)],
    ['type=file;size=5;modify=yesterday; odd', entry('odd', 'file', 5)],
    ['type=file;size=5;modify=00010101000000; odd', entry('odd', 'file', 5)],
    ['type=file odd', entry('odd', 'file', undefined)],
  ])('%s', (line, expected) => {
    expect(mlsd(line)).toEqual({ entries: [expected], unusable: [], unreadable: 0, form: 'MLSD' });
  });

  test('the directory itself and its parent are left out', () => {
    const listing = mlsd('type=cdir; .', 'type=pdir; ..', 'Type=cdir; /home/backup', 'type=file;size=1; a');
    expect(listing).toEqual({ entries: [entry('a', 'file', 1)], unusable: [], unreadable: 0, form: 'MLSD' });
    expect(mlsd('type=cdir; .')).toEqual({ entries: [], unusable: [], unreadable: 0, form: 'MLSD' });
  });

  test.each([
    'size=5; a',
    'a.txt',
    'type=file;size=5;',
    'type=file;size=5; ',
    'total nonsense',
    // Where does the target end, and where does the name begin?
    'type=OS.unix=slink:/my target;size=1; link',
    'type=OS.unix=slink:/my; target;size=1; link',
    'type=OS.unix=slink:/target link',
  ])('%j is counted as unreadable', (line) => {
    const listing = mlsd(line, 'type=file;size=1; ok');
    expect(listing).toEqual({ entries: [entry('ok', 'file', 1)], unusable: [], unreadable: 1, form: 'MLSD' });
  });

  test.each<[string[], string, number]>([
    [[], 'empty', 0],
    [['total 0', 'x'], 'unknown', 2],
  ])('%j is %s', (lines, form, unreadable) => {
    expect(mlsd(...lines)).toEqual({ entries: [], unusable: [], unreadable, form });
  });
});

describe('MLST', () => {
  test.each<[string, ReturnType<typeof parseMachineEntry>]>([
    [
      ' modify=20200913122640;perm=adfrw;size=1;type=file;UNIX.mode=0644; /home/ferry/plain file ',
      {
        name: '/home/ferry/plain file ',
        type: 'file',
        sizeBytes: 1,
        modifiedMs: Date.parse('2020-09-13T12:26:40Z'),
        permissions: 0o644,
      },
    ],
    [
      'type=cdir; /',
      { name: '/', type: 'directory', sizeBytes: undefined, modifiedMs: undefined, permissions: undefined },
    ],
    [
      ' Type=pdir;Size=4096; ..\r',
      { name: '..', type: 'directory', sizeBytes: 4096, modifiedMs: undefined, permissions: undefined },
    ],
    [' /no/facts', undefined],
    ['', undefined],
    ['End.', undefined],
  ])('%j', (line, expected) => {
    expect(parseMachineEntry(line)).toEqual(expected);
  });
});

describe('names', () => {
  const forms = [
    ['MLSD', (name: Buffer) => parseMachineListing(around('type=file;size=5; ', name))],
    ['Unix', (name: Buffer) => parseListing(around(unix(''), name))],
    ['DOS', (name: Buffer) => parseListing(around('09-13-20  12:26PM                    5 ', name))],
    ['EPLF', (name: Buffer) => parseListing(around('+r,s5,\t', name))],
  ] as const;

  function around(start: string, name: Buffer): Buffer {
    const good = Buffer.from(`${start}ok\r\n`);
    return Buffer.concat([good, Buffer.from(start), name, Buffer.from('\r\n')]);
  }

  const impossible = [
    'a/b',
    '../etc/passwd',
    '/',
    'a\\b',
    'a\x07b',
    'a\x00b',
    'a\x7fb',
    'a\x1b[31m',
    'a\rb',
    'a\r',
    'a\nb',
    'a\n+r,\tb',
    'a\xc2\x85b',
    'a\xef\xbf\xbdb',
    'a\xff',
    '\xc0\xaf',
  ];

  test.each(forms.flatMap(([form, read]) => impossible.map((name) => [form, name, read] as const)))(
    '%s: %j is told apart, and not made into another',
    (_form, name, read) => {
      const bytes = Buffer.from(name, 'latin1');
      expect(read(bytes)).toMatchObject({
        entries: [{ name: 'ok' }],
        unusable: [{ bytes, type: 'file' }],
        unreadable: 0,
      });
    },
  );

  test('a name that was listed before is counted, and the first stays', () => {
    const listing = mlsd('type=file;size=1; a', 'type=file;size=2; a', 'type=dir; A');
    expect(listing).toMatchObject({
      entries: [{ name: 'a', sizeBytes: 1 }, { name: 'A' }],
      unreadable: 1,
    });
  });

  test('in another charset', () => {
    const line = Buffer.concat([Buffer.from(unix('')), Buffer.from([0x95, 0x5c, 0x20, 0x83, 0x7c])]);
    const body = Buffer.concat([
      line,
      Buffer.from('\r\n'),
      line,
      Buffer.from([0xed, 0x40]),
      Buffer.from('\r\n'),
    ]);
    const listing = parseListing(body, charsetOf('shift_jis'));
    expect(listing.entries).toMatchObject([{ name: '表 ポ', bytes: line.subarray(-5) }]);
    expect(listing.unusable).toHaveLength(1);
    expect(parseListing(body).unusable).toHaveLength(2);
  });

  test('a link target that cannot be decoded leaves the link as it is', () => {
    const body = Buffer.from('lrwxrwxrwx    1 0        0       7 Jan 01  2020 link -> a\xff\r\n', 'latin1');
    expect(parseListing(body).entries).toMatchObject([{ name: 'link', type: 'link', linkTarget: undefined }]);
  });
});

describe('ends', () => {
  test('LF alone will do', () => {
    const body = bodyOf(['type=file;size=1; a', 'type=file;size=2; b'], '\n');
    expect(parseMachineListing(body)).toMatchObject({
      entries: [{ name: 'a' }, { name: 'b' }],
      unreadable: 0,
    });
  });

  test('a carriage return that ends a name is not taken for a line end where lines end with LF', () => {
    const body = bodyOf([unix('a'), unix('Icon\r'), unix('b')], '\n');
    expect(parseListing(body)).toMatchObject({
      entries: [{ name: 'a' }, { name: 'b' }],
      unusable: [{ bytes: Buffer.from('Icon\r') }],
      unreadable: 0,
    });
  });

  test('a line feed in a name starts no line where lines end with CR LF', () => {
    const body = bodyOf([unix('a'), unix(`x\n${unix('passwd')}`), unix('b')]);
    expect(parseListing(body)).toMatchObject({
      entries: [{ name: 'a' }, { name: 'b' }],
      unusable: [{ bytes: Buffer.from(`x\n${unix('passwd')}`) }],
      unreadable: 0,
    });
  });

  test.each([
    ['MLSD', parseMachineListing, 'type=file;size=1; a', 'type=file;size=2; backup.tar'],
    ['LIST', parseListing, unix('a'), unix('backup.tar')],
  ] as const)('%s: a last line without an end is no entry, and counts', (_verb, parse, first, last) => {
    const body = Buffer.from(`${first}\r\n${last}`);
    expect(parse(body)).toMatchObject({ entries: [{ name: 'a' }], unreadable: 1 });
    expect(parse(Buffer.from(last))).toEqual({ entries: [], unusable: [], unreadable: 1, form: 'unknown' });
    expect(parse(Buffer.from(`${last}\r`)).entries).toEqual([]);
  });
});

describe('whether `-a` was understood', () => {
  test.each([
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 .\r\n', true],
    ['total 4\ndrwxr-xr-x    2 0        0            4096 Jan 01 00:00 .\n', true],
    [`${unix(' lead')}\r\ndrwxr-xr-x    2 0        0            4096 Jan 01 00:00 .\r\n`, true],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 ..\r\n', false],
    ['-rw-r--r--    1 0        0            4096 Jan 01 00:00 .\r\n', false],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 a.\r\n', false],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 a .\r\n', false],
    ['drwxr-xr-x    2 0        0            4096 Jan 01 00:00 .', false],
    ['', false],
  ])('%j', (body, expected) => {
    expect(showsItself(Buffer.from(body))).toBe(expected);
  });
});

const component = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  .filter((text) => !/[/\\\p{Cc}\p{Cs}\ufffd]/u.test(text) && text !== '.' && text !== '..');
const sizeBytes = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const second = fc.integer({ min: -(2 ** 31), max: 2 ** 33 }).map((seconds) => seconds * 1000);
const type = fc.constantFrom('file' as const, 'directory' as const);

interface Wanted {
  readonly line: string;
  readonly expected: ListedEntry;
}

const digits = (ms: number): string => new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14);
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A line of each form, as a server of that form writes it, and the entry that it stands for. */
const written: Record<string, fc.Arbitrary<Wanted>> = {
  MLSD: fc.tuple(component, type, sizeBytes, second).map(([name, kind, size, ms]) => ({
    line: `Type=${kind === 'file' ? 'file' : 'dir'};Size=${size};Modify=${digits(ms)};Perm=r; ${name}`,
    expected: entry(name, kind, size, { modifiedMs: ms }),
  })),
  unix: fc
    .tuple(
      component,
      type,
      sizeBytes,
      second,
      fc.integer({ min: 0, max: 0o777 }),
      fc.constantFrom('ftp', '1000', 'Domain Users', 'jürgen à'),
      fc.constantFrom('year', 'iso', 'turned'),
    )
    .map(([name, kind, size, ms, permissions, owner, style]) => {
      const date = new Date(ms);
      const [day, time] = [date.toISOString().slice(0, 10), date.toISOString().slice(11, 16)];
      const month = MONTHS[date.getUTCMonth()];
      const shown = {
        year: `${month} ${String(date.getUTCDate()).padStart(2)}  ${date.getUTCFullYear()}`,
        iso: `${day} ${time}`,
        turned: `${date.getUTCDate()} ${month} ${date.getUTCFullYear()}`,
      }[style];
      const letters = [...permissions.toString(2).padStart(9, '0')]
        .map((bit, place) => (bit === '1' ? 'rwx'[place % 3] : '-'))
        .join('');
      return {
        line: `${kind === 'file' ? '-' : 'd'}${letters}   1 ${owner} group ${size} ${shown} ${name}`,
        expected: entry(name, kind, size, {
          permissions,
          listed: at(style === 'iso' ? `${day}T${time}` : day),
        }),
      };
    }),
  dos: fc
    .tuple(component, type, sizeBytes, second, fc.constantFrom('short', 'long'))
    .map(([name, kind, size, ms, years]) => {
      const date = new Date(ms);
      const [year, month, day] = date.toISOString().slice(0, 10).split('-');
      const fits = date.getUTCFullYear() >= 1969 && date.getUTCFullYear() <= 2068;
      const hour = date.getUTCHours();
      const minute = String(date.getUTCMinutes()).padStart(2, '0');
      const half = `${String(hour % 12 || 12).padStart(2, '0')}:${minute}${hour < 12 ? 'AM' : 'PM'}`;
      const column = kind === 'file' ? String(size).padStart(20) : '      <DIR>         ';
      return {
        line: `${month}-${day}-${years === 'short' && fits ? year?.slice(2) : year}  ${half} ${column} ${name}`,
        expected: entry(name, kind, kind === 'file' ? size : undefined, {
          listed: at(date.toISOString().slice(0, 16)),
        }),
      };
    }),
  eplf: fc.tuple(component, type, sizeBytes, second).map(([name, kind, size, ms]) => ({
    line: `+i8388621.48594,m${Math.max(0, ms / 1000)},${kind === 'file' ? 'r' : '/'},s${size},\t${name}`,
    expected: entry(name, kind, size, { modifiedMs: Math.max(0, ms) }),
  })),
  vms: fc
    .tuple(
      fc.stringMatching(/^[A-Z0-9$_-]{1,39}\.[A-Z0-9$_-]{0,20}$/).filter((name) => !name.endsWith('.DIR')),
      type,
      second,
      fc.constantFrom(' ', '\r\n                  '),
    )
    .map(([name, kind, ms, wrap]) => {
      const date = new Date(ms);
      const month = MONTHS[date.getUTCMonth()]?.toUpperCase();
      const day = `${date.getUTCDate()}-${month}-${date.getUTCFullYear()}`;
      const shown = kind === 'file' ? name : `${name.replace('.', '')}.DIR`;
      return {
        line: `${shown};1${wrap}213/216  ${day} ${date.toISOString().slice(11, 19)}  [A,B]   (RWED,RWED,,)`,
        expected: entry(kind === 'file' ? name : name.replace('.', ''), kind, undefined, {
          listed: at(date.toISOString().slice(0, 19)),
        }),
      };
    }),
};

const forms = Object.keys(written);
const parse = (form: string, body: Buffer) =>
  form === 'MLSD' ? parseMachineListing(body) : parseListing(body, UTF_8, { nowMs: NOW_MS });
const several = (form: string, maxLength: number): fc.Arbitrary<readonly Wanted[]> =>
  fc.uniqueArray(written[form] ?? fc.constant({ line: '', expected: entry('', 'file', 0) }), {
    selector: ({ expected }) => expected.name,
    minLength: 1,
    maxLength,
  });

describe.each(forms)('any listing in the form %s', (form) => {
  test.each(['\r\n', '\n'] as const)('is read back as it was (line end %j)', (lineEnd) => {
    fc.assert(
      fc.property(several(form, 8), (wanted) => {
        const lines = wanted.map(({ line }) => line.replaceAll('\r\n', lineEnd));
        expect(parse(form, bodyOf(lines, lineEnd))).toEqual({
          entries: wanted.map(({ expected }) => expected),
          unusable: [],
          unreadable: 0,
          form,
        });
      }),
      { numRuns: 200 },
    );
  });

  test('cut at any byte, shows no name that was not there, and says so', () => {
    fc.assert(
      fc.property(several(form, 4), (wanted) => {
        const body = bodyOf(wanted.map(({ line }) => line));
        const entries = wanted.map(({ expected }) => expected);
        const ends = wanted.map(
          (_, place) => bodyOf(wanted.slice(0, place + 1).map(({ line }) => line)).length,
        );
        for (let length = 0; length < body.length; length += 1) {
          const listing = parse(form, body.subarray(0, length));
          const whole = ends.filter((end) => end <= length).length;
          expect(listing.entries).toEqual(entries.slice(0, whole));
          expect(listing.unusable).toEqual([]);
          expect(listing.unreadable > 0).toBe(length > 0 && !ends.includes(length));
        }
      }),
      { numRuns: 15 },
    );
  });

  /** Bounded by its number of runs; the seed stands fast so that a failure is one for everybody. */
  test('mutilated in any way, obeys the laws', () => {
    const bytes = fc.oneof(
      fc.constantFrom(0x00, 0x09, 0x0a, 0x0d, 0x20, 0x2b, 0x2d, 0x2f, 0x3b, 0x3d, 0x5c, 0xa0, 0xff),
      fc.nat({ max: 0xff }),
    );
    const wound = fc.record({
      where: fc.double({ min: 0, max: 1, noNaN: true }),
      removed: fc.nat({ max: 12 }),
      put: fc.array(bytes, { maxLength: 4 }),
      again: fc.nat({ max: 60 }),
    });
    fc.assert(
      fc.property(several(form, 4), fc.array(wound, { minLength: 1, maxLength: 6 }), (wanted, wounds) => {
        let body = bodyOf(wanted.map(({ line }) => line));
        for (const { where, removed, put, again } of wounds) {
          const place = Math.floor(where * body.length);
          body = Buffer.concat([
            body.subarray(0, place),
            Buffer.from(put),
            body.subarray(place, place + again),
            body.subarray(place + removed),
          ]);
        }
        for (const charset of [UTF_8, charsetOf('windows-1252')]) {
          expectLawful(parseListing(body, charset, { nowMs: NOW_MS }), body, charset);
          expectLawful(parseMachineListing(body, charset), body, charset);
        }
      }),
      { numRuns: 600, seed: 3 },
    );
  });
});

describe('any bytes', () => {
  test('obey the laws, in whichever charset', () => {
    const starts = [
      'type=file;size=5; ',
      'type=dir; ',
      unix(''),
      '09-13-20  12:26PM  5 ',
      '+r,s5,\t',
      'A.B;1 ',
    ];
    const line = fc
      .tuple(fc.constantFrom(...starts, ''), fc.string({ unit: 'binary', maxLength: 30 }))
      .map((parts) => parts.join(''));
    const body = fc.oneof(
      fc
        .tuple(fc.array(line, { maxLength: 10 }), fc.constantFrom('\r\n', '\n'))
        .map(([lines, lineEnd]) => Buffer.from(lines.join(lineEnd))),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(body, fc.constantFrom('utf-8', 'windows-1251', 'shift_jis', 'gb18030'), (bytes, label) => {
        const charset = charsetOf(label);
        expectLawful(parseListing(bytes, charset, { nowMs: NOW_MS }), bytes, charset);
        expectLawful(parseMachineListing(bytes, charset), bytes, charset);
        showsItself(bytes);
        parseMachineEntry(bytes.toString('latin1'));
      }),
      { numRuns: 800 },
    );
  });

  test('a hostile line does not hold the parser up', () => {
    const long = 50_000;
    const began = performance.now();
    list(
      `-rw-r--r-- ${'1 '.repeat(long)}`,
      `-rw-r--r-- 1 ${'a '.repeat(long)}`,
      `-rw-r--r-- 1 a b 5${' '.repeat(long)}Sep${' '.repeat(long)}`,
      `lrwxrwxrwx 1 a b 5 Sep 13 2020 ${'a -> '.repeat(long)}`,
      `total ${'1'.repeat(long)}`,
      `09-13-20 ${' '.repeat(long)}`,
      `09-13-20 12:26${' '.repeat(long)}<DIR>`,
      `09-13-20 12:26 ${'1,234'.repeat(long)}`,
      `+${'r,'.repeat(long)}`,
      `A;1${' '.repeat(long)}`,
      `A;1${' 1'.repeat(long)}`,
      `${';1'.repeat(long)}`,
      `Directory ${'A:]'.repeat(long)}x`,
    );
    mlsd(`type=OS.unix=slink:${'a'.repeat(long)}`, 'a=b;'.repeat(long), `type=file; ${'; '.repeat(long)}`);
    showsItself(bodyOf([`d${'x '.repeat(long)}.`, `drwxr-xr-x ${'1 '.repeat(long)}.`]));
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  test('a hundred thousand entries are read within seconds', () => {
    const lines = Array.from({ length: 100_000 }, (_, place) => unix(`file number ${place} ü`));
    const began = performance.now();
    expect(list(...lines).entries).toHaveLength(100_000);
    expect(performance.now() - began).toBeLessThan(15_000);
  });
});
