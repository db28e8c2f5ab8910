/* What the build compiles says yes and no where what is compiled here does. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explaining, functionsOf, precompile, SCHEMAS } from '../../src/job/validator.js';

const FORMS = Object.keys(SCHEMAS) as (keyof typeof SCHEMAS)[];
const functions = functionsOf(precompile().code);

/** Right for some form or other, before parts of it are replaced. */
const WRITTEN: readonly unknown[] = [
  { from: '/srv/in', to: 'nas:in', schedule: '30 2 * * *', mode: 'mirror', retries: { attempts: 3 } },
  {
    from: '/srv/in',
    to: { url: 'ftpes://u@nas.example.net/in', password: { env: 'PASSWORD' } },
    size: { max: '1G' },
  },
  { nas: { url: 'sftp://u@nas.example.net', privateKey: { file: 'key' }, timeouts: { connect: '10s' } } },
  { url: 'ftp://nas.example.net', user: 'u', password: { file: 'secret' }, timeouts: { connect: '0s' } },
  { cron: '0 4 * * *', timezone: 'UTC' },
  { min: '1k', max: '10M' },
  { min: '1h', max: '7d' },
  { freshness: '26h' },
  { command: ['/bin/true'], timeout: '10s' },
];

const anything = fc.constantFrom<unknown>(
  ...[
    null,
    true,
    -1,
    2.5,
    'abc',
    '',
    '5s',
    '0s',
    'x'.repeat(5_000),
    [],
    ['x', 2],
    {},
    { a: 1 },
    { env: 'X' },
  ],
);

/** The data with a part of it replaced. */
function replaced(data: unknown): fc.Arbitrary<unknown> {
  if (typeof data !== 'object' || data === null) return fc.oneof(fc.constant(data), anything);
  const parts = Object.entries(data).map(([key, part]) => [key, replaced(part)] as const);
  const whole = fc.record(Object.fromEntries(parts));
  return fc.oneof(
    { weight: 1, arbitrary: anything },
    { weight: 5, arbitrary: whole },
    { weight: 1, arbitrary: whole.map((some) => ({ ...some, pasword: 1 })) },
  );
}

describe.each(FORMS)('a %s', (form) => {
  test('fits for both, or for neither', () => {
    const asBuilt = functions[form];
    fc.assert(
      fc.property(fc.oneof(...WRITTEN.map((data) => fc.oneof(fc.constant(data), replaced(data)))), (data) => {
        expect(asBuilt?.(data)).toBe(explaining(form)(data));
      }),
      { numRuns: 300 },
    );
  });
});

test('among the data is some that fits, and some that does not', () => {
  const said = WRITTEN.flatMap((data) => FORMS.map((form) => functions[form]?.(data)));
  expect(new Set(said)).toEqual(new Set([true, false]));
});

test('the build has no large function: Node compiles all of one when it is called', () => {
  const lengths = precompile()
    .code.split('function validate')
    .map(({ length }) => length);
  expect(lengths.length).toBeGreaterThan(50);
  expect(Math.max(...lengths)).toBeLessThan(20_000);
});
