/*
 * Exit codes: the README's table and the code's are the same, in both directions, and each failure has its code.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import {
  EXIT_CODES,
  type ExitCode,
  exitCodeOf,
  exitCodeOfFailure,
  exitCodeOfLedger,
  gravest,
} from '../../src/cli/exit.js';
import { LedgerError, type LedgerProblem } from '../../src/ledger/error.js';
import type { FailureKind, Outcome } from '../../src/plan/outcome.js';

const codes = Object.keys(EXIT_CODES).map(Number) as ExitCode[];

/** Rows of the README's table under `| code | meaning |`, code to meaning. */
function tableOf(markdown: string): Record<string, string> {
  const lines = markdown.split('\n').map((line) => line.trim());
  const head = lines.findIndex((line) => /^\|\s*code\s*\|\s*meaning\s*\|$/i.test(line));
  if (head < 0) throw new Error('README.md has no table that begins with | code | meaning |');
  const rows: Record<string, string> = {};
  for (const line of lines.slice(head + 2)) {
    const [, code, meaning] = /^\|([^|]*)\|([^|]*)\|$/.exec(line) ?? [];
    if (code === undefined || meaning === undefined) break;
    rows[code.replaceAll('`', '').trim()] = meaning.trim();
  }
  return rows;
}

test('the README has exactly the codes of the command line, with the same meanings', () => {
  const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8');
  expect(tableOf(readme)).toEqual({ ...EXIT_CODES });
});

test('each code is given by some end of a run, and no end gives another', () => {
  const failures: FailureKind[] = [
    'failed',
    'configuration',
    'unreachable',
    'trust',
    'held',
    'locked',
    'verification',
  ];
  const given = [
    ...failures.map(exitCodeOfFailure),
    ...(['ok', 'partial', 'failed', 'interrupted'] as const).map((outcome) =>
      exitCodeOf({ outcome, failure: undefined }),
    ),
  ];
  expect(new Set(given)).toEqual(new Set(codes));
});

test.each([
  ['ok', undefined, 0],
  ['partial', undefined, 3],
  ['failed', 'failed', 1],
  ['failed', 'configuration', 2],
  ['failed', 'unreachable', 4],
  ['failed', 'trust', 5],
  ['held', 'held', 6],
  ['failed', 'locked', 7],
  ['partial', 'verification', 8],
  ['interrupted', undefined, 130],
  // A failure that comes with an interruption is the interruption's.
  ['interrupted', 'failed', 130],
  ['failed', undefined, 1],
  ['held', undefined, 1],
] as const)('a run that ends %s with %s gives %i', (outcome: Outcome, kind, code) => {
  const failure = kind === undefined ? undefined : { kind, code: 'x', message: 'x' };
  expect(exitCodeOf({ outcome, failure })).toBe(code);
});

test('of several runs the gravest counts, whatever their order', () => {
  expect(gravest([])).toBe(0);
  expect(gravest([0, 0])).toBe(0);
  expect(gravest([0, 3, 0])).toBe(3);
  expect(gravest([3, 4])).toBe(4);
  expect(gravest([4, 5, 3])).toBe(5);
  expect(gravest([1, 8])).toBe(8);
  for (const one of codes) {
    expect(gravest([one])).toBe(one);
    expect(gravest([one, 0])).toBe(one);
    for (const other of codes) expect(gravest([one, other])).toBe(gravest([other, one]));
  }
});

test('a ledger that is the wrong file is the configuration, one that breaks is a failure', () => {
  const expected: Record<LedgerProblem, ExitCode> = {
    missing: 2,
    'not-a-ledger': 2,
    'older-schema': 2,
    'newer-schema': 2,
    unreadable: 2,
    corrupt: 1,
    disk: 1,
    busy: 1,
  };
  for (const [kind, code] of Object.entries(expected)) {
    expect(exitCodeOfLedger(new LedgerError(kind as LedgerProblem, 'x'))).toBe(code);
  }
});
