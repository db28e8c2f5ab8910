/* Ports of PASV and EPSV: the odd forms of real servers, and what must not be taken for a port. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { extendedPassivePort, passivePort } from '../../src/ftp/passive.js';

describe('PASV', () => {
  test.each<[string, number | undefined]>([
    ['227 Entering Passive Mode (127,0,0,1,4,1)', 1025],
    ['227 Entering Passive Mode (127,0,0,1,4,1).', 1025],
    ['227 Entering Passive Mode 127,0,0,1,4,1', 1025],
    ['227 Entering Passive Mode =127,0,0,1,4,1', 1025],
    ['227 127,0,0,1,255,255', 65_535],
    ['227 Entering Passive Mode (127, 0, 0, 1, 4, 1).', 1025],
    ['227 Entering Passive Mode (127, 0, 0, 1, 4, 1, 7)', undefined],
    ['227 Entering Passive Mode (7, 127, 0, 0, 1, 4, 1)', undefined],
    ['227 Entering Passive Mode (127,  0,  0,  1,  4,  1)', undefined],
    ['227 Passivmodus (10,0,0,1,0,21)', 21],
    ['227 Entering Passive Mode (0,0,0,0,4,1)', 1025],
    ['227 Entering Passive Mode (127,0,0,1,0,0)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,256,1)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,4,999)', undefined],
    ['227 Entering Passive Mode (999,0,0,1,4,1)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,4)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,4,1,7)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,4,1234)', undefined],
    ['227 Entering Passive Mode (127,0,0,1,-4,1)', undefined],
    ['227 Entering Passive Mode', undefined],
    ['227', undefined],
  ])('%s', (line, port) => {
    expect(passivePort({ code: 227, lines: [line] })).toBe(port);
  });

  test('the code is not taken for the first octet', () => {
    expect(passivePort({ code: 227, lines: ['227,0,0,1,4,1'] })).toBeUndefined();
  });

  test('reads the last line of several', () => {
    expect(passivePort({ code: 227, lines: ['227-1,2,3,4,5,6', '227 Now (127,0,0,1,4,1)'] })).toBe(1025);
  });

  test('every port comes back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 65_535 }), (port) => {
        const line = `227 Entering Passive Mode (127,0,0,1,${port >> 8},${port & 255}).`;
        expect(passivePort({ code: 227, lines: [line] })).toBe(port);
      }),
    );
  });
});

describe('EPSV', () => {
  test.each<[string, number | undefined]>([
    ['229 Entering Extended Passive Mode (|||6446|)', 6446],
    ['229 Entering Extended Passive Mode (!!!6446!)', 6446],
    ['229 Entering Extended Passive Mode ($$$6446$)', 6446],
    ['229 |||6446|', 6446],
    ['229 Erweiterter Passivmodus (|||1|)', 1],
    ['229 ok (|||65535|)', 65_535],
    ['229 ok (|||65536|)', undefined],
    ['229 ok (|||0|)', undefined],
    ['229 ok (|||-1|)', undefined],
    ['229 ok (|||6446)', undefined],
    ['229 ok (||6446|)', undefined],
    ['229 ok (|||6446!)', undefined],
    ['229 ok (|||123456|)', undefined],
    ['229 ok (||||)', undefined],
    ['229 ok', undefined],
    ['229', undefined],
  ])('%s', (line, port) => {
    expect(extendedPassivePort({ code: 229, lines: [line] })).toBe(port);
  });

  test('every printable delimiter but a digit or a space works', () => {
    for (let code = 0x21; code < 0x7f; code += 1) {
      const d = String.fromCharCode(code);
      if (/\d/.test(d)) continue;
      expect(extendedPassivePort({ code: 229, lines: [`229 ok (${d}${d}${d}6446${d})`] }), d).toBe(6446);
    }
  });
});

test('nothing makes either of them throw, or gives a port out of range', () => {
  const pieces = fc.constantFrom(
    '(',
    ')',
    '|||',
    '|',
    '!',
    ',',
    '0',
    '255',
    '65535',
    '99999',
    ' ',
    '-',
    '\u202e',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces, { maxLength: 14 }).map((list) => list.join('')),
      ),
      (text) => {
        for (const read of [passivePort, extendedPassivePort]) {
          const port = read({ code: 229, lines: [`229 ${text}`] });
          if (port !== undefined) expect(Number.isInteger(port) && port >= 1 && port <= 65_535).toBe(true);
          expect(read({ code: 229, lines: [] })).toBeUndefined();
        }
      },
    ),
    { numRuns: 1000 },
  );
});

describe('fuzz: good answers, spoilt', () => {
  const spoilt = (seeds: readonly string[]) =>
    fc
      .record({
        seed: fc.constantFrom(...seeds),
        at: fc.nat(60),
        cut: fc.nat(4),
        put: fc.oneof(
          fc.string({ unit: 'binary', maxLength: 4 }),
          fc.constantFrom(',', '|', '0', '9', '256', '65536', ', ', '-', '(', ')', '\u0661', '１'),
        ),
      })
      .map(({ seed, at, cut, put }) => `${seed.slice(0, 4 + at)}${put}${seed.slice(4 + at + cut)}`);

  test('PASV: a port only where six octets stand, and then the one they say', () => {
    let ports = 0;
    fc.assert(
      fc.property(
        spoilt([
          '227 Entering Passive Mode (127,0,0,1,200,13).',
          '227 =10, 0, 0, 1, 4, 1',
          '227 9,8,7,6,5,4',
        ]),
        (line) => {
          const port = passivePort({ code: 227, lines: [line] });
          if (port === undefined) return;
          ports += 1;
          const numbers = [...line.slice(4).matchAll(/[0-9]+/g)].map(([digits]) => Number(digits));
          const said = numbers.some(
            (high, place) => place >= 4 && port === high * 256 + (numbers[place + 1] ?? Number.NaN),
          );
          expect(said, line).toBe(true);
          expect(port >= 1 && port <= 65_535).toBe(true);
        },
      ),
      { numRuns: 3_000, seed: 227 },
    );
    expect(ports).toBeGreaterThan(300);
  });

  test('EPSV: a port only where it stands between delimiters', () => {
    let ports = 0;
    fc.assert(
      fc.property(
        spoilt(['229 Entering Extended Passive Mode (|||50123|)', '229 (!!!1!)', '229 |||65535|']),
        (line) => {
          const port = extendedPassivePort({ code: 229, lines: [line] });
          if (port === undefined) return;
          ports += 1;
          expect(line).toMatch(new RegExp(`[^0-9]0*${port}[^0-9]`));
          expect(port >= 1 && port <= 65_535).toBe(true);
        },
      ),
      { numRuns: 3_000, seed: 229 },
    );
    expect(ports).toBeGreaterThan(300);
  });

  test('what takes a regular expression long: a line at its limit is read at once', () => {
    const longest = 8 * 1024;
    const lines = [
      '1,'.repeat(longest / 2),
      '1, '.repeat(longest / 3),
      '|'.repeat(longest),
      '|||1'.repeat(longest / 4),
    ];
    const beganMs = performance.now();
    for (const text of lines) {
      passivePort({ code: 227, lines: [`227 ${text}`] });
      extendedPassivePort({ code: 229, lines: [`229 ${text}`] });
    }
    expect(performance.now() - beganMs).toBeLessThan(500);
  });
});
