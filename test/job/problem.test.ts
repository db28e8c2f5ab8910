/* How a problem is shown, and which word is meant. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { formatProblem, printable, quoted } from '../../src/job/problem.js';
import { closest } from '../../src/job/suggest.js';

const problem = {
  severity: 'error',
  file: path.join(process.cwd(), 'jobs', 'a.yaml'),
  line: 3,
  column: 7,
  key: '/mode',
  message: 'must be copy',
  job: 'a',
} as const;

test('a problem is one line that begins with file, line and column', () => {
  expect(formatProblem(problem)).toBe('jobs/a.yaml:3:7: error: /mode: must be copy');
  expect(formatProblem({ ...problem, severity: 'warning', key: '' })).toBe(
    'jobs/a.yaml:3:7: warning: must be copy',
  );
  expect(formatProblem({ ...problem, file: process.cwd() })).toBe('.:3:7: error: /mode: must be copy');
  expect(formatProblem({ ...problem, file: '/x' })).toBe('/x:3:7: error: /mode: must be copy');
  expect(formatProblem({ ...problem, key: '/a\nb', message: '\x1b[2J' })).toBe(
    'jobs/a.yaml:3:7: error: /a\\u{a}b: \\u{1b}[2J',
  );
});

test('controls, marks of direction and half characters are made visible; letters stay', () => {
  expect(printable('Grüße 日本 😀')).toBe('Grüße 日本 😀');
  expect(printable('a\0\r\n\x7f\x9b\u2028\u202e\u2066\ufeff\ud800b')).toBe(
    'a\\u{0}\\u{d}\\u{a}\\u{7f}\\u{9b}\\u{2028}\\u{202e}\\u{2066}\\u{feff}\\u{d800}b',
  );
  expect(quoted('x'.repeat(70))).toBe(`"${'x'.repeat(60)}..."`);
});

test.each([
  ['form', 'from'],
  ['inclde', 'include'],
  ['first-delay', 'firstDelay'],
  ['MODE', 'mode'],
  ['source', 'from'],
  ['xyz', undefined],
  ['', undefined],
  ['x'.repeat(1_000), undefined],
])('%s means %s', (word, meant) => {
  const known = ['from', 'to', 'include', 'mode', 'firstDelay'];
  expect(closest(word, known, new Map([['source', 'from']]))).toBe(meant);
});
