/* The benchmark itself works, and what it counts has a bound: so an SD card lasts. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

test('a delivered file costs few bytes, and a share of a wait for the disk', () => {
  const program = resolve(import.meta.dirname, '../../build/test/bench/ledger-writes.js');
  const printed = execFileSync(process.execPath, [program, '500'], { encoding: 'utf8' });
  const row = (title: string): readonly number[] => {
    const line = printed.split('\n').find((one) => one.startsWith(title));
    return (line ?? '').slice(title.length).trim().split(/\s+/).map(Number);
  };
  const [manyBytes = 0, , manyWaits = 0] = row('500 files, as fast as they go');
  expect(manyBytes).toBeGreaterThan(100);
  expect(manyBytes).toBeLessThan(4_000);
  const [slowBytes = 0, , slowWaits = 0] = row('20 files, one every 120 ms');
  // 26,000 bytes and 1.55 waits before intents and deliveries shared their commits.
  expect(slowBytes).toBeGreaterThan(1_000);
  expect(slowBytes).toBeLessThan(16_000);
  if (printed.includes('strace is not there')) return;
  expect(manyWaits).toBeLessThan(0.2);
  expect(slowWaits).toBeLessThan(1.2);
});
