/* FEAT, PWD and the times of RFC 3659, as servers really write them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatTime, parseFeatures, parseTime, quotedPath } from '../../src/ftp/features.js';

describe('FEAT', () => {
  const features = (...lines: string[]): Record<string, string> =>
    Object.fromEntries(parseFeatures({ code: 211, lines }));

  test('names in capitals, parameters as they stand', () => {
    expect(
      features('211-Features:', ' mdtm', ' MLST type*;size*;', ' REST STREAM', ' UTF8 ', '211 End'),
    ).toEqual({
      MDTM: '',
      MLST: 'type*;size*;',
      REST: 'STREAM',
      UTF8: '',
    });
  });

  test('without the leading space, with the code repeated, and with tabs', () => {
    expect(features('211-Extensions supported', '211-MLST size*;', 'EPSV', '\tMFMT', '211 END')).toEqual({
      MLST: 'size*;',
      EPSV: '',
      MFMT: '',
    });
  });

  test('one line means none', () => {
    expect(features('211 No features')).toEqual({});
  });

  test('lines that are no names are passed over', () => {
    expect(features('211-', ' ', ' ***', ' SIZE', '211 End')).toEqual({ SIZE: '' });
  });

  test('never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (lines) => {
        expect(parseFeatures({ code: 211, lines }).size).toBeLessThanOrEqual(lines.length);
      }),
    );
  });
});

describe('PWD', () => {
  test.each<[string, string | undefined]>([
    ['257 "/" is the current directory', '/'],
    ['257 "/home/backup"', '/home/backup'],
    ['257 Current directory is "/a b"', '/a b'],
    ['257 "/a ""b"" c" is current', '/a "b" c'],
    ['257 "/a"""', '/a"'],
    ['257 """/a"""', '"/a"'],
    ['257 "/Füße"', '/Füße'],
    ['257 "/a is the current directory', undefined],
    ['257 /a is the current directory', undefined],
    ['257 "" is empty', undefined],
    ['257', undefined],
  ])('%s', (line, path) => {
    expect(quotedPath({ code: 257, lines: [line] })).toBe(path);
  });

  test('every path comes back', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (name) => {
        const path = `/${name.replace(/[\r\n\0]/g, '')}`;
        expect(quotedPath({ code: 257, lines: [`257 "${path.replaceAll('"', '""')}" is current`] })).toBe(
          path,
        );
      }),
    );
  });
});

describe('times', () => {
  test.each<[string, string | undefined]>([
    ['20200913122640', '2020-09-13T12:26:40.000Z'],
    ['20200913122640.250', '2020-09-13T12:26:40.250Z'],
    ['20200913122640.2', '2020-09-13T12:26:40.200Z'],
    ['20200913122640.123456', '2020-09-13T12:26:40.123Z'],
    [' 20200913122640\r', '2020-09-13T12:26:40.000Z'],
    ['191030102030405', '2003-01-02T03:04:05.000Z'],
    ['19700101000000', '1970-01-01T00:00:00.000Z'],
    ['20160229000000', '2016-02-29T00:00:00.000Z'],
    ['20161231235960', '2016-12-31T23:59:59.000Z'],
    ['20150229000000', undefined],
    ['20201301000000', undefined],
    ['20200100000000', undefined],
    ['20200132000000', undefined],
    ['20200101240000', undefined],
    ['20200101006000', undefined],
    ['20200101000061', undefined],
    ['202009131226', undefined],
    ['2020091312264', undefined],
    ['20200913122640.', undefined],
    ['2020-09-13 12:26:40', undefined],
    ['', undefined],
  ])('%j', (text, expected) => {
    const ms = parseTime(text);
    expect(ms === undefined ? undefined : new Date(ms).toISOString()).toBe(expected);
  });

  test('what is written for MFMT is read back to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (ms) => {
        // The year 19,103 of a famous server stands in the way of no real one: four digits, fourteen in all.
        const text = formatTime(ms);
        expect(text).toMatch(/^\d{14}$/);
        expect(parseTime(text)).toBe(Math.floor(ms / 1000) * 1000);
      }),
    );
  });

  test('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9]{10,18}(\.[0-9]{0,5})?$/)), (text) => {
        const ms = parseTime(text);
        if (ms !== undefined) expect(Number.isSafeInteger(ms)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
