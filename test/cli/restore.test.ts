/* What a person types behind `ferryd restore`: moments and paths. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { parseMoment, relativeOf } from '../../src/cli/restore.js';

const NOW = Date.UTC(2026, 10, 23, 12, 0, 0);

describe('--at', () => {
  test.each([
    ['2026-11-20T14:30Z', '2026-11-20T14:30:00.000Z'],
    ['2026-11-20 14:30:15Z', '2026-11-20T14:30:15.000Z'],
    ['2026-11-20T14:30+01:00', '2026-11-20T13:30:00.000Z'],
    ['2026-11-20T14:30-0530', '2026-11-20T20:00:00.000Z'],
    ['2d', '2026-11-21T12:00:00.000Z'],
    ['36h', '2026-11-22T00:00:00.000Z'],
    ['1w2d', '2026-11-14T12:00:00.000Z'],
    ['2d ago', '2026-11-21T12:00:00.000Z'],
    ['0s', '2026-11-23T12:00:00.000Z'],
  ])('%s is %s', (text, moment) => {
    expect(new Date(parseMoment(text, NOW)).toISOString()).toBe(moment);
  });

  test('without a zone it is that of the machine, and a date is its first moment', () => {
    expect(parseMoment('2026-11-20', NOW)).toBe(new Date(2026, 10, 20).getTime());
    expect(parseMoment('2026-11-20T14:30', NOW)).toBe(new Date(2026, 10, 20, 14, 30).getTime());
    expect(parseMoment('2026-02-28 23:59:59', NOW)).toBe(new Date(2026, 1, 28, 23, 59, 59).getTime());
  });

  test.each([
    '',
    'yesterday',
    '2026',
    '2026-11',
    '2026-02-30',
    '2026-13-01',
    '2026-11-20T24:00',
    '2026-11-20T14',
    '5',
    '20.11.2026',
    '2026-11-20T14:30+25:00',
    '1e3',
  ])('%j is no moment', (text) => {
    expect(() => parseMoment(text, NOW)).toThrow(
      expect.objectContaining({
        exitCode: 2,
        message: expect.stringMatching(/^--at wants a date \(2026-11-20\), /),
      }),
    );
  });

  test('what lies ahead is refused', () => {
    expect(() => parseMoment('2026-11-25', NOW)).toThrow('--at 2026-11-25 lies in the future');
  });

  it('reads back any moment that is written as ISO', () => {
    const past = fc.date({ min: new Date('1980-01-01'), max: new Date(NOW), noInvalidDate: true });
    fc.assert(
      fc.property(past, (date) => {
        const text = `${date.toISOString().slice(0, 19)}Z`;
        expect(parseMoment(text, NOW)).toBe(Math.floor(date.getTime() / 1000) * 1000);
      }),
    );
  });
});

describe('PATH', () => {
  const local = '/srv/docs';

  test.each([
    ['a.txt', 'a.txt'],
    ['./a//b/', 'a/b'],
    ['/srv/docs/a/b', 'a/b'],
    ['/srv/docs', undefined],
    ['/srv/docs/', undefined],
    ['.', undefined],
    ['a/.ferryd-trash/b', 'a/.ferryd-trash/b'],
    [' a ', ' a '],
  ])('%j is %j', (text, path) => {
    expect(relativeOf(text, local)).toBe(path);
  });

  test('of a job that is the whole disk', () => {
    expect(relativeOf('/etc/hosts', '/')).toBe('etc/hosts');
    expect(relativeOf('/', '/')).toBeUndefined();
  });

  test.each([
    ['../a', 'A path to restore holds no ".."'],
    ['a/../../b', 'A path to restore holds no ".."'],
    ['/srv/docs/../x', 'A path to restore holds no ".."'],
    ['/srv/docs2/a', 'does not lie below /srv/docs.'],
    ['/etc/passwd', 'does not lie below /srv/docs.'],
    ['.ferryd-trash', 'without .ferryd-trash and the date'],
    ['.ferryd-trash/20261120T000000Z/a', 'without .ferryd-trash and the date'],
    ['/srv/docs/.ferryd-trash/20261120T000000Z/a', 'without .ferryd-trash and the date'],
  ])('%j is refused', (text, sentence) => {
    expect(() => relativeOf(text, local)).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(sentence) }),
    );
  });
});
