/* Names that a side cannot hold or cannot tell apart: folded, encoded, dated. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  apartName,
  conflictName,
  decodeName,
  decodePath,
  encodeName,
  encodePath,
  fitsAName,
  foldOf,
  isConflictName,
} from '../../src/plan/names.js';

const E_ACUTE = '\u00e9';
const E_AND_ACUTE = 'e\u0301';

/** Characters that matter, thickly sown. */
const character = fc.oneof(
  fc.constantFrom(...'%%:*?"<>|\\. .aAeEéÉßſςσΣİıKJǰ\u0301\u030c\u0323\u0085\r\n\t\x7f\u1100\u1161가ﬁ😀'),
  fc.constantFrom(
    'con',
    'NUL',
    'com1',
    'LPT²',
    '%41',
    '%2F',
    '%C3%A9',
    '.txt',
    E_AND_ACUTE,
    E_ACUTE,
    '\u212b',
  ),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
);
const name = fc
  .array(character, { minLength: 1, maxLength: 8 })
  .map((characters) => characters.join('').replace(/[/\0]/g, '_'))
  .filter((text) => text !== '.' && text !== '..');

describe('a folded path', () => {
  test.each([
    ['Readme', 'README'],
    [`caf${E_ACUTE}`, `caf${E_AND_ACUTE}`],
    [`CAF${E_ACUTE.toUpperCase()}`, `caf${E_AND_ACUTE}`],
    ['ΟΔΟΣ', 'οδος'],
    ['ΟΔΟΣ', 'οδοσ'],
    ['J\u030c', '\u01f0'],
    ['\u212b', 'a\u030a'],
    ['a/B', 'A/b'],
  ])('is one for the twins %j and %j', (a, b) => {
    expect(foldOf(a)).toBe(foldOf(b));
  });

  test.each([
    ['a', 'b'],
    ['a', 'á'],
    ['ss', 'ß'],
    ['fi', 'ﬁ'],
    ['i', 'ı'],
    ['a/b', 'ab'],
    ['a', 'a '],
  ])('is another one for %j and %j', (a, b) => {
    expect(foldOf(a)).not.toBe(foldOf(b));
  });

  it('is its own fold, and composed', () => {
    fc.assert(
      fc.property(name, (text) => {
        const fold = foldOf(text);
        expect(foldOf(fold)).toBe(fold);
        expect(fold.normalize('NFC')).toBe(fold);
        expect(foldOf(text.normalize('NFD'))).toBe(fold);
      }),
    );
  });
});

describe('an encoded name', () => {
  test.each([
    ['report.pdf', 'report.pdf'],
    ['é ü 漢字.txt', 'é ü 漢字.txt'],
    ['.hidden', '.hidden'],
    ['100%', '100%25'],
    ['a:b', 'a%3Ab'],
    ['a\\b', 'a%5Cb'],
    ['*?"<>|', '%2A%3F%22%3C%3E%7C'],
    ['two\r\nlines', 'two%0D%0Alines'],
    ['bell\x07', 'bell%07'],
    ['next\u0085line', 'next%C2%85line'],
    [' both ', '%20both%20'],
    [' ', '%20'],
    ['dot.', 'dot%2E'],
    ['dots..', 'dots.%2E'],
    ['a b.c', 'a b.c'],
    ['CON', '%43ON'],
    ['nul.txt', '%6Eul.txt'],
    ['Com1.tar.gz', '%43om1.tar.gz'],
    ['lpt³', '%6Cpt³'],
    ['aux .c', '%61ux .c'],
    ['CONOUT$', '%43ONOUT$'],
    ['contents', 'contents'],
    ['com10', 'com10'],
    ['a.con', 'a.con'],
  ])('of %j is %j', (plain, encoded) => {
    expect(encodeName(plain)).toBe(encoded);
    expect(decodeName(encoded)).toBe(plain);
  });

  it('can be decoded, and holds nothing that any system refuses', () => {
    fc.assert(
      fc.property(name, (text) => {
        const encoded = encodeName(text);
        expect(decodeName(encoded)).toBe(text);
        expect(encoded).not.toMatch(/[\p{Cc}\\:*?"<>|]|^ |[ .]$/u);
        expect(encoded).not.toMatch(/^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)/i);
        expect(encoded).not.toMatch(/%(?![0-9A-F]{2})/);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    '50%',
    '%',
    'a%2',
    'a%zz',
    '%C3',
    'a%2Fb',
    '%2E%2E',
    '.%2E',
    '%2E',
    'a%00b',
    '%2Eferryd-trash',
    '%e9',
    'a%3ab',
    'a%20b',
  ])('is not taken for %j, which none of ours can be', (foreign) => {
    expect(decodeName(foreign)).toBe(foreign);
  });

  it('never decodes to anything but one name', () => {
    const foreign = fc.array(
      fc.constantFrom('%2F', '%2E', '%00', '%5C', '%25', '%', '2', 'E', '.', 'a', '%61', '%C3%A9'),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(foreign, (parts) => {
        const text = parts.join('');
        const decoded = decodeName(text);
        expect(decoded).not.toMatch(/[/\0]/);
        if (decoded !== text) expect(fitsAName(decoded)).toBe(true);
        if (decoded !== text) expect([encodeName(decoded), apartName(decoded)]).toContain(text);
      }),
    );
  });

  it('is made for each component of a path, that of a directory too', () => {
    expect(encodePath('a:b/ c/d.')).toBe('a%3Ab/%20c/d%2E');
    expect(decodePath('a%3Ab/%20c/d%2E')).toBe('a:b/ c/d.');
    expect(encodePath('nul/')).toBe('%6Eul/');
    expect(decodePath('%6Eul/')).toBe('nul/');
  });
});

describe('a name that is kept apart from its twins', () => {
  test.each([
    ['readme', 'readme'],
    ['Readme', '%52eadme'],
    ['README', '%52%45%41%44%4D%45'],
    [`caf${E_ACUTE}`, `caf${E_ACUTE}`],
    [`caf${E_AND_ACUTE}`, 'cafe%CC%81'],
    ['É', '%C3%89'],
    ['%41', '%2541'],
    ['nul', '%6Eul'],
    // Nor may a digit of ours be composed with what follows it.
    ['?\u0307', '%3F%CC%87'],
    ['J\u0301', '%4A%CC%81'],
    ['D\u0301', '%44\u0301'],
  ])('of %j is %j', (plain, apart) => {
    expect(apartName(plain)).toBe(apart);
    expect(decodeName(apart)).toBe(plain);
  });

  it('is another one than that of any other name, however it is folded', () => {
    const twins = fc.oneof(
      fc.tuple(name, name),
      name.map((text): [string, string] => [text, text.toUpperCase()]),
      name.map((text): [string, string] => [text, text.toLowerCase()]),
      name.map((text): [string, string] => [text, text.normalize('NFD')]),
      name.map((text): [string, string] => [text.normalize('NFC'), text.normalize('NFD')]),
      name.map((text): [string, string] => [text, encodeName(text)]),
      name.map((text): [string, string] => [text, apartName(text)]),
      name.map((text): [string, string] => [text, foldOf(text)]),
    );
    fc.assert(
      fc.property(twins, ([a, b]) => {
        expect(foldOf(apartName(a)) === foldOf(apartName(b))).toBe(a === b);
      }),
      { numRuns: 5_000 },
    );
  });

  it('can be decoded, and holds nothing that any system refuses', () => {
    fc.assert(
      fc.property(name, (text) => {
        const apart = apartName(text);
        expect(decodeName(apart)).toBe(text);
        expect(encodeName(apart).replaceAll('%25', '%')).toBe(apart);
      }),
      { numRuns: 2_000 },
    );
  });
});

test.each([
  ['a', true],
  ['.a', true],
  ['...', true],
  ['a'.repeat(255), true],
  ['a'.repeat(256), false],
  ['é'.repeat(127), true],
  ['é'.repeat(128), false],
  ['', false],
  ['.', false],
  ['..', false],
  ['a/b', false],
  ['a\0b', false],
])('%j can be a name: %s', (text, fits) => {
  expect(fitsAName(text)).toBe(fits);
});

describe('a conflict', () => {
  const atMs = Date.UTC(2026, 10, 23, 2, 30, 15, 900);

  test.each([
    ['report.pdf', 'report.conflict-20261123-023015.pdf'],
    ['a.b/c', 'a.b/c.conflict-20261123-023015'],
    ['a/.profile', 'a/.profile.conflict-20261123-023015'],
    ['dump.tar.gz', 'dump.tar.conflict-20261123-023015.gz'],
    ['end.', 'end..conflict-20261123-023015'],
    [`x.${'y'.repeat(20)}`, `x.${'y'.repeat(20)}.conflict-20261123-023015`],
    [`${'x'.repeat(251)}.pdf`, `${'x'.repeat(226)}.conflict-20261123-023015.pdf`],
    [`${'é'.repeat(127)}`, `${'é'.repeat(115)}.conflict-20261123-023015`],
  ])('of %j is kept as %j', (path, kept) => {
    expect(conflictName(path, atMs)).toBe(kept);
  });

  it('has a name that fits, in the same directory, with the same ending, and is known', () => {
    const long = fc.tuple(name, fc.integer({ min: 0, max: 260 })).map(([text, n]) => text + 'ö'.repeat(n));
    fc.assert(
      fc.property(name, long, fc.constantFrom('', '.txt', '.漢字'), (directory, base, ending) => {
        fc.pre(!/^\.{0,2}$/.test(base));
        const path = `${directory}/${base}${ending}`;
        const kept = conflictName(path, atMs);
        expect(kept.startsWith(`${directory}/`)).toBe(true);
        expect(fitsAName(kept.slice(directory.length + 1))).toBe(true);
        expect(kept.endsWith(ending)).toBe(true);
        expect(isConflictName(kept)).toBe(true);
        expect(isConflictName(path)).toBe(false);
        expect(isConflictName(`${kept}/a`)).toBe(false);
      }),
    );
  });

  test.each([
    'a.conflict-2026112-023015',
    'a.conflict-20261123-023015.tar.gz',
    'conflict-20261123-023015',
    'a.conflict-20261123-023015/b',
  ])('%j is none', (path) => {
    expect(isConflictName(path)).toBe(false);
  });
});
