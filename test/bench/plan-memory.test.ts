/* The benchmark itself works, on a tree that is small; how much memory a million takes is for whoever runs it. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

test('every row plans what it has to', () => {
  const program = resolve(import.meta.dirname, '../../build/test/bench/plan-memory.js');
  const printed = execFileSync(process.execPath, [program, '5', '200'], { encoding: 'utf8' });
  expect(printed).toContain('1,050 entries in 5 directories');
  expect(printed.match(/ entries\/s {2}ok$/gm)).toHaveLength(5);
});
