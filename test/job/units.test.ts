/* Sizes and durations: what is read, and what is said about the rest. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDuration, parseSize } from '../../src/job/units.js';

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['500ms', 500],
    ['5s', 5_000],
    ['10m', 600_000],
    ['26h', 93_600_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['2w1d', 1_296_000_000],
    ['1m0.5s', 60_500],
    ['30d', 2_592_000_000],
    ['3650d', 315_360_000_000],
    [' 5s ', 5_000],
    ['0.1s', 100],
  ])('%s', (text, value) => {
    expect(parseDuration(text)).toEqual({ ok: true, value });
  });

  test.each([
    ['5', 'a duration needs a unit: write 5s, 5m or 5h'],
    ['', 'a duration is a number with a unit (w, d, h, m, s, ms), such as 500ms, 5s, 10m, 26h, 1h30m or 30d'],
    [
      '-5s',
      'a duration is a number with a unit (w, d, h, m, s, ms), such as 500ms, 5s, 10m, 26h, 1h30m or 30d',
    ],
    [
      '5 s',
      'a duration is a number with a unit (w, d, h, m, s, ms), such as 500ms, 5s, 10m, 26h, 1h30m or 30d',
    ],
    [
      '5M',
      'a duration is a number with a unit (w, d, h, m, s, ms), such as 500ms, 5s, 10m, 26h, 1h30m or 30d',
    ],
    ['5sec', '"sec" is no unit of time; use w, d, h, m, s or ms, as in 500ms, 5s, 10m, 26h, 1h30m or 30d'],
    ['30m1h', 'a duration names its largest unit first and each unit once, such as 1h30m'],
    ['1h1h', 'a duration names its largest unit first and each unit once, such as 1h30m'],
    ['3651d', 'a duration is at most 3650d'],
    ['0.5ms', 'a duration is at least a millisecond fine, not finer'],
  ])('%s is refused', (text, wrong) => {
    expect(parseDuration(text)).toEqual({ ok: false, wrong });
  });

  test('a text of any length and content is read or refused at once', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        const reading = parseDuration(text);
        return reading.ok ? Number.isSafeInteger(reading.value) && reading.value >= 0 : reading.wrong !== '';
      }),
    );
    expect(parseDuration(`${'1h'.repeat(100_000)}!`).ok).toBe(false);
  });
});

describe('sizes', () => {
  test.each([
    ['0B', 0],
    ['500B', 500],
    ['64K', 65_536],
    ['10M', 10_485_760],
    ['10MiB', 10_485_760],
    ['1.5G', 1_610_612_736],
    ['2T', 2_199_023_255_552],
  ])('%s', (text, value) => {
    expect(parseSize(text)).toEqual({ ok: true, value });
  });

  test.each([
    ['10', 'a size needs a unit: write 10B for bytes, or 10K, 10M, 10G'],
    ['10MB', 'MB means 1000 to some and 1024 to others; write 10M, which counts in 1024'],
    ['10kb', 'kb means 1000 to some and 1024 to others; write 10K, which counts in 1024'],
    ['10m', '"m" is no unit of size; use B, K, M, G or T in capitals, as in 500B, 64K, 10M or 2G'],
    ['M', 'a size is a number with a unit (B, K, M, G, T), such as 500B, 64K, 10M or 2G'],
    ['9999999T', 'a size is at most 8191T'],
    ['0.5B', 'a size is a whole number of bytes'],
  ])('%s is refused', (text, wrong) => {
    expect(parseSize(text)).toEqual({ ok: false, wrong });
  });
});
