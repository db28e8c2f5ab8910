/* The short reading of the schemas says of any data what ajv says. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitsRules, type Rules } from '../../src/job/fit.js';
import { fits, newAjv, SCHEMAS } from '../../src/job/shape.js';

const FORMS = Object.keys(SCHEMAS) as (keyof typeof SCHEMAS)[];

/** Texts that some format takes, and some that none does. */
const TEXTS = [
  '5s',
  '10M',
  'UTC',
  'abc',
  'a\nb',
  '/x/y',
  '*.gz',
  '192.0.2.7',
  '2000-3000',
  'nas.example.net',
  'a@example.net',
  'https://example.net/x',
  'smtps://example.net',
  'sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU',
  '',
  '\u{1F4BE}'.repeat(1_001),
  'x'.repeat(5_000),
];

const anything = fc.constantFrom<unknown>(
  ...[null, true, 0, -1, 2.5, 1e9, Number.NaN, Number.POSITIVE_INFINITY, undefined],
  ...[[], [[]], ['x', 2], Array(300).fill('x'), {}, { a: 1 }, { env: 'X' }, ...TEXTS],
);

/** Data as the schema wants it, nearly everywhere. */
function dataOf(rules: Rules): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 30, arbitrary: goodOf(rules) }, { weight: 1, arbitrary: anything });
}

function goodOf(rules: Rules): fc.Arbitrary<unknown> {
  if (rules.anyOf !== undefined) return fc.oneof(...rules.anyOf.map(dataOf));
  if (rules.enum !== undefined) return fc.constantFrom(...rules.enum);
  switch (rules.type) {
    case 'object':
      return groupOf(rules);
    case 'array':
      return fc.array(dataOf(rules.items ?? {}), { maxLength: 3 });
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.constantFrom(1, 2, 21, 100, 70_000);
    case 'number':
      return fc.constantFrom(0, 0.5, 1, 50, 100);
    default:
      return fc.constantFrom(...TEXTS);
  }
}

function groupOf({ properties = {}, required = [], maxProperties, additionalProperties }: Rules) {
  const known = fc.record(
    Object.fromEntries(Object.entries(properties).map(([key, rules]) => [key, dataOf(rules)])),
    { requiredKeys: [...required] },
  );
  const few = known.map((group) => Object.fromEntries(Object.entries(group).slice(0, maxProperties)));
  const more = fc.dictionary(
    fc.constantFrom('nas', 'a b', 'pasword', '__proto__', 'constructor'),
    typeof additionalProperties === 'object' ? dataOf(additionalProperties) : anything,
    { maxKeys: 2 },
  );
  const odd = typeof additionalProperties === 'object' ? 1 : 20;
  return fc.oneof(
    { weight: odd, arbitrary: few },
    { weight: 1, arbitrary: fc.tuple(few, more).map(([one, other]) => ({ ...one, ...other })) },
  );
}

describe.each(FORMS)('a %s', (form) => {
  const rules: Rules = SCHEMAS[form];
  const validate = newAjv().compile(rules);

  test('fits where ajv finds nothing wrong, and nowhere else', () => {
    fc.assert(
      fc.property(dataOf(rules), (data) => {
        expect(fits(form, data)).toBe(validate(data));
      }),
      { numRuns: 400 },
    );
  });
});

test('a keyword that is not read is not passed over', () => {
  expect(() => fitsRules({ type: 'string', ...{ pattern: '^a' } }, 'b')).toThrow('pattern');
});

test.each(FORMS)('all keywords of the schema of a %s are read', (form) => {
  const seen: Rules[] = [SCHEMAS[form]];
  for (const rules of seen) {
    for (const [keyword, value] of Object.entries(rules)) {
      expect(() => fitsRules({ [keyword]: value }, undefined)).not.toThrow();
    }
    const { anyOf = [], items, properties = {}, propertyNames, additionalProperties } = rules;
    const more = typeof additionalProperties === 'object' ? additionalProperties : undefined;
    for (const below of [...anyOf, ...Object.values(properties), items, propertyNames, more]) {
      if (below !== undefined) seen.push(below);
    }
  }
});
