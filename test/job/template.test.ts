/* Target paths with variables: what is known, what is refused, and what they become in a zone. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  type Expanded,
  expandRun,
  parseTemplate,
  prefixOf,
  type RunFacts,
  type Template,
} from '../../src/job/template.js';

const FACTS: RunFacts = {
  host: 'web1.example.net',
  job: 'nightly',
  nowMs: Date.UTC(2026, 10, 23, 2, 30, 15),
  timezone: 'UTC',
};

function template(text: string): Template {
  const parsed = parseTemplate(text);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed;
}

function expanded(text: string, facts: Partial<RunFacts> = {}): Expanded {
  return expandRun(template(text), { ...FACTS, ...facts });
}

function targetOf(text: string, modifiedMs: number, timezone: string | undefined): string {
  const { root, prefix } = expanded(text, { timezone });
  return prefix === undefined ? root : `${root}|${prefixOf(prefix, modifiedMs, timezone)}`;
}

describe('what a run knows is filled in', () => {
  test.each([
    ['dumps', 'dumps'],
    ['', ''],
    ['/', '/'],
    ['backups/{host}', 'backups/web1.example.net'],
    ['/srv/{job}-{host}/in', '/srv/nightly-web1.example.net/in'],
    ['{date}', '2026-11-23'],
    ['{date:yyyy-MM-dd}', '2026-11-23'],
    ['x/{date:yyyyMMdd_HHmmss}', 'x/20261123_023015'],
    ['x/{date:yyyy/MM/dd}/y', 'x/2026/11/23/y'],
    ['x/v{date:1.yyyy}', 'x/v1.2026'],
    ['a/../b/{job}', 'a/../b/nightly'],
    ['x/{job}/', 'x/nightly'],
  ])('%j becomes %j', (text, root) => {
    expect(expanded(text)).toEqual({ root, prefix: undefined });
  });

  test.each([
    ['web1', 'web1'],
    ['../../etc', 'etc'],
    ['..', 'host'],
    ['', 'host'],
    ['a/b\\c', 'a-b-c'],
    ['johns mac\n', 'johns-mac'],
    ['MÜNCHEN.local.', 'MÜNCHEN.local'],
    ['-rf', 'rf'],
    ['x'.repeat(300), 'x'.repeat(100)],
  ])('a machine called %j makes the directory %j', (host, component) => {
    expect(expanded('b/{host}', { host }).root).toBe(`b/${component}`);
  });

  it('a machine of any name is one component, and no step up', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (host) => {
        const component = expanded('b/.{host}', { host }).root.slice('b/.'.length);
        expect(component).toMatch(/^[\p{L}\p{N}_][\p{L}\p{N}._-]*$/u);
        expect(component).not.toMatch(/\.$/);
      }),
    );
  });
});

describe('what a file knows begins the part that differs from file to file', () => {
  const modifiedMs = Date.UTC(2025, 0, 2, 3, 4, 5);

  test.each([
    ['photos/{mtime}', 'photos|2025/01'],
    ['photos/{mtime:yyyy/MM}', 'photos|2025/01'],
    ['{mtime:yyyy}', '|2025'],
    ['/{mtime:yyyy}', '/|2025'],
    ['/srv/x-{mtime:yyyy}.d/{job}/{date:yyyy}/', '/srv|x-2025.d/nightly/2026'],
    ['a/{host}/{job}-{mtime:dd.HHmm}', 'a/web1.example.net|nightly-02.0304'],
    ['{date:yyyy/MM}-{mtime:yyyy}', '2026|11-2025'],
    ['{mtime:yyyy}//{mtime:MM}', '|2025/01'],
  ])('%j becomes %j', (text, target) => {
    expect(targetOf(text, modifiedMs, 'UTC')).toBe(target);
  });

  it('says what it uses', () => {
    expect([...template('a/{host}/{date}/{mtime}/{host}').uses]).toEqual(['host', 'date', 'mtime']);
    expect(template('a').uses.size).toBe(0);
  });
});

describe('time zones', () => {
  const pattern = '{mtime:yyyy-MM-dd_HH.mm.ss}';

  test.each([
    // Middle of the night, on both sides of a date line.
    ['Europe/Berlin', '2026-01-01T00:30:00Z', '2026-01-01_01.30.00'],
    ['America/New_York', '2026-01-01T00:30:00Z', '2025-12-31_19.30.00'],
    ['Pacific/Kiritimati', '2026-01-01T10:30:00Z', '2026-01-02_00.30.00'],
    ['Asia/Kathmandu', '2026-01-01T00:00:00Z', '2026-01-01_05.45.00'],
    // The clocks skip an hour, and then show one twice.
    ['Europe/Berlin', '2026-03-29T00:59:59Z', '2026-03-29_01.59.59'],
    ['Europe/Berlin', '2026-03-29T01:00:00Z', '2026-03-29_03.00.00'],
    ['Europe/Berlin', '2026-10-25T00:30:00Z', '2026-10-25_02.30.00'],
    ['Europe/Berlin', '2026-10-25T01:30:00Z', '2026-10-25_02.30.00'],
    // Midnight is 00, not 24; some zones skip it.
    ['UTC', '2026-11-23T00:00:00Z', '2026-11-23_00.00.00'],
    ['Africa/Cairo', '2026-04-23T22:00:00Z', '2026-04-24_01.00.00'],
    ['UTC', '1969-12-31T23:59:59.999Z', '1969-12-31_23.59.59'],
  ])('%s shows %s as %s', (timezone, at, shown) => {
    expect(targetOf(pattern, Date.parse(at), timezone)).toBe(`|${shown}`);
  });

  it('takes the zone of the machine where none is told', () => {
    const at = new Date(2026, 6, 1, 13, 5, 9);
    expect(targetOf(pattern, at.getTime(), undefined)).toBe('|2026-07-01_13.05.09');
  });

  it('asks another zone anew', () => {
    const { prefix } = expanded('{mtime:HH}');
    const hours = ['UTC', 'Asia/Tokyo', 'UTC', 'America/Lima'].map((zone) =>
      prefix === undefined ? undefined : prefixOf(prefix, 0, zone),
    );
    expect(hours).toEqual(['00', '09', '00', '19']);
  });

  it('shows any time as digits: no file has a date without a directory', () => {
    const time = fc.oneof(
      fc.double(),
      fc.integer({ min: -8.64e15, max: 8.64e15 }),
      fc.date({ noInvalidDate: true }).map(Number),
    );
    const zone = fc.constantFrom(undefined, 'UTC', 'Pacific/Apia', 'America/St_Johns');
    fc.assert(
      fc.property(time, zone, (atMs, timezone) => {
        expect(targetOf('{mtime:yyyy-MM-dd/HHmmss}', atMs, timezone)).toMatch(
          /^\|\d{4}-[01]\d-[0-3]\d\/[0-2]\d[0-5]\d[0-5]\d$/,
        );
      }),
    );
  });

  it('agrees with UTC whatever the time', () => {
    const time = fc.date({ min: new Date('1600-01-01'), max: new Date('9999-12-29'), noInvalidDate: true });
    fc.assert(
      fc.property(time, (at) => {
        const shown = targetOf('{mtime:yyyy-MM-dd/HH-mm-ss}', at.getTime(), 'UTC');
        expect(shown).toBe(`|${at.toISOString().slice(0, 19).replace('T', '/').replaceAll(':', '-')}`);
      }),
    );
  });
});

describe('what is wrong is told in one clause', () => {
  const KNOWN = '{host}, {job}, {date:yyyy-MM-dd} and {mtime:yyyy/MM}';
  const MADE_OF = 'a date is made of yyyy, MM, dd, HH, mm and ss, such as {date:yyyy-MM-dd}';
  const AROUND = 'around each / of a date there must be letters or digits, such as {mtime:yyyy/MM}';

  test.each([
    ['a/{foo}', `knows ${KNOWN}, and not {foo}`],
    ['a/{}', `knows ${KNOWN}, and not {}`],
    ['a/{Host}', `knows ${KNOWN}, and not {Host}; did you mean "{host}"?`],
    ['a/{hostname}', `knows ${KNOWN}, and not {hostname}; did you mean "{host}"?`],
    ['a/{today}', `knows ${KNOWN}, and not {today}; did you mean "{date}"?`],
    ['a/{dat:yyyy}', `knows ${KNOWN}, and not {dat:yyyy}; did you mean "{date}"?`],
    ['a/{ date}', `knows ${KNOWN}, and not { date}; did you mean "{date}"?`],
    ['a/{host:short}', 'knows {host} as it is, and not {host:short}'],
    ['a/{job', `holds a brace without its other half; braces stand around ${KNOWN} only`],
    ['a/job}', `holds a brace without its other half; braces stand around ${KNOWN} only`],
    ['a/{{job}}', `holds a brace without its other half; braces stand around ${KNOWN} only`],
    ['a/{date:YYYY}', `holds {date:YYYY}, and ${MADE_OF}, not of "YYYY"; did you mean "yyyy"?`],
    ['a/{date:yy}', `holds {date:yy}, and ${MADE_OF}, not of "yy"`],
    ['a/{mtime:hh}', `holds {mtime:hh}, and ${MADE_OF}, not of "hh"; did you mean "HH"?`],
    ['a/{date:}', `holds {date:}, and ${MADE_OF}, and has one of them at least`],
    ['a/{date:-}', `holds {date:-}, and ${MADE_OF}, and has one of them at least`],
    [
      'a/{date:HH:mm}',
      `holds {date:HH:mm}, and ${MADE_OF}, with - _ . / and digits between them and nothing else`,
    ],
    ['a/{mtime:/yyyy}', `holds {mtime:/yyyy}, and ${AROUND}`],
    ['a/{mtime:yyyy/../MM}', `holds {mtime:yyyy/../MM}, and ${AROUND}`],
    ['{date}/../x', 'must not hold "." or ".." as a directory beside a variable such as {date}'],
    ['{mtime}/./x', 'must not hold "." or ".." as a directory beside a variable such as {date}'],
    [`{${'x'.repeat(50)}}`, `knows ${KNOWN}, and not {${'x'.repeat(40)}...}`],
    ['{a\x1b[2J}', `knows ${KNOWN}, and not {a\\u{1b}[2J}`],
  ])('%j', (text, problem) => {
    expect(parseTemplate(text)).toEqual({ problem });
  });

  it('any text is read or refused, and what is read stays below where its words lead', () => {
    const piece = fc.constantFrom(
      ...['{', '}', '/', '.', '..', 'a', '{host}', '{job}', '{date}', '{mtime}', '{mtime:', 'yyyy', ':', '-'],
      ...['{date:yyyy/MM}', '{mtime:HH.mm}', '{mtime:./yyyy}', '{date:yyyy/}', '\0', '\n', 'é'],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const parsed = parseTemplate(pieces.join(''));
        if ('problem' in parsed) return;
        const { root, prefix } = expandRun(parsed, FACTS);
        if (parsed.uses.size === 0) expect(prefix).toBeUndefined();
        if (prefix === undefined) return;
        const components = prefixOf(prefix, 0, 'UTC').split('/');
        for (const component of components) expect(component).not.toMatch(/^\.{0,2}$/);
        expect(root).not.toMatch(/[^/]\/+$/);
      }),
      { numRuns: 1_000 },
    );
  });
});
