/*
 * Holds data against the schemas (ajv, strict) and turns ajv's errors into exactly one mistake for each thing that a
 * person did wrong: of an `anyOf` only the form that was meant counts, a misspelt key does not also count as a
 * missing one. Wording comes from the schemas' own keywords (`whenText`, `whenMissing`, `whenValue`, `alsoCalled`).
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { holdsSecret } from './document.js';
import { above, below, error, type Mistake, steps } from './mistake.js';
import { formats, isFormat } from './patterns.js';
import { quoted } from './problem.js';
import {
  agentSchema,
  ageSchema,
  jobSchema,
  retriesSchema,
  sizeSchema,
  toSchema,
  triggerSchema,
  type Written,
} from './schema.js';
import { afterSchema, beforeSchema, channelSchema, expectSchema, pingSchema } from './schema-notice.js';
import { serverSchema, serversSchema } from './schema-server.js';
import { closest, didYouMean, simplify } from './suggest.js';
import { parseDuration } from './units.js';

/** All forms that a person writes. */
export const SCHEMAS = {
  job: jobSchema,
  end: toSchema,
  trigger: triggerSchema,
  size: sizeSchema,
  age: ageSchema,
  retries: retriesSchema,
  server: serverSchema,
  servers: serversSchema,
  agent: agentSchema,
  channel: channelSchema,
  before: beforeSchema,
  after: afterSchema,
  ping: pingSchema,
  expect: expectSchema,
} as const satisfies Record<keyof Written, object>;

/** More than these in one file help nobody. */
const MAX_MISTAKES = 100;

/** What became of data that was held against a schema. */
export interface Shape {
  readonly mistakes: readonly Mistake[];
  /** The data without whatever is mistaken, so that the rest can be looked at further. Parts may be missing. */
  readonly rest: unknown;
  /** Pointers of keys that somebody meant to write, and of which nobody can tell what they say. */
  readonly unclear: ReadonlySet<string>;
}

/** All mistakes of shape, each once. */
export function checkShape(form: keyof Written, data: unknown): Shape {
  const validate = validator(form);
  if (validate(data)) return { mistakes: [], rest: data, unclear: new Set() };
  const settled = settle(validate.errors ?? []);
  const unknownMeant = new Set<string>();
  const told = new Set<string>();
  const mistaken: string[] = [];
  const mistakes: Mistake[] = [];
  const add = (mistake: Mistake, place = mistake.pointer): void => {
    mistaken.push(place);
    if (told.has(mistake.pointer)) return;
    told.add(mistake.pointer);
    mistakes.push(mistake);
  };
  for (const found of settled) {
    if (mistakes.length > MAX_MISTAKES) break;
    if (found.keyword !== 'additionalProperties') continue;
    const unknown = explainUnknownKey(found);
    if (unknown.meant !== undefined) unknownMeant.add(below(found.instancePath, unknown.meant));
    add(unknown.mistake, below(found.instancePath, parameter(found, 'additionalProperty')));
  }
  for (const found of settled) {
    if (mistakes.length > MAX_MISTAKES) break;
    if (found.keyword === 'additionalProperties' || found.keyword === 'propertyNames') continue;
    if (found.keyword === 'required') {
      const pointer = below(found.instancePath, parameter(found, 'missingProperty'));
      if (!unknownMeant.has(pointer)) add(explainMissing(found, pointer));
    } else if (found.propertyName !== undefined) {
      add(error(below(found.instancePath, found.propertyName), explain(found), 'key'));
    } else {
      add(error(found.instancePath, explain(found)));
    }
  }
  const rest = prune(data, mistaken);
  const unclear = new Set([...mistaken, ...unknownMeant]);
  if (mistakes.length <= MAX_MISTAKES) return { mistakes, rest, unclear };
  const cut = mistakes.slice(0, MAX_MISTAKES);
  cut.push(error('', `more than ${MAX_MISTAKES} mistakes; the others are not shown`));
  return { mistakes: cut, rest: undefined, unclear };
}

/** True where the data has the form, so that it can be used as its type. */
export function fits<Form extends keyof Written>(form: Form, data: unknown): data is Written[Form] {
  return validator(form)(data);
}

const compiled = new Map<keyof Written, ValidateFunction>();

/** Compiling takes some milliseconds, so it waits until somebody asks. */
function validator(form: keyof Written): ValidateFunction {
  const known = compiled.get(form);
  if (known !== undefined) return known;
  const made = newAjv().compile(SCHEMAS[form]);
  compiled.set(form, made);
  return made;
}

/**
 * An ajv that knows the schemas' formats and keywords and is strict about everything else.
 *
 * @param schemas `checked`: they are held against draft 7 first, which takes a tenth of a second; a test does that
 */
export function newAjv(schemas: 'trusted' | 'checked' = 'trusted'): Ajv {
  const ajv = new Ajv({
    meta: schemas === 'checked',
    validateSchema: schemas === 'checked',
    strict: true,
    strictTypes: true,
    strictTuples: true,
    strictRequired: true,
    allErrors: true,
    verbose: true,
  });
  for (const [name, check] of Object.entries(formats)) {
    ajv.addFormat(name, { type: 'string', validate: (text: string) => check(text) === undefined });
  }
  for (const [keyword, inside] of [
    ['atLeast', (limit: number, value: number) => value >= limit],
    ['atMost', (limit: number, value: number) => value <= limit],
  ] as const) {
    ajv.addKeyword({
      keyword,
      type: 'string',
      schemaType: 'string',
      validate: (limit: string, text: string) => {
        const bound = parseDuration(limit);
        const value = parseDuration(text);
        // What is no duration at all is the format's business.
        return !bound.ok || !value.ok || inside(bound.value, value.value);
      },
    });
  }
  ajv.addVocabulary(['alsoCalled', 'valuesAlsoCalled', 'whenText', 'whenMissing', 'whenValue']);
  return ajv;
}

/**
 * Of each failed `anyOf`, keeps the errors of the form that was meant: the one of the data's type, and among
 * objects the one whose keys are like those written. ajv reports the forms' errors right before the `anyOf`.
 */
function settle(errors: readonly ErrorObject[]): ErrorObject[] {
  const settled: ErrorObject[] = [];
  for (const found of errors) {
    if (found.keyword !== 'anyOf') {
      settled.push(found);
      continue;
    }
    const prefix = `${found.schemaPath}/`;
    let from = settled.length;
    while (from > 0 && settled[from - 1]?.schemaPath.startsWith(prefix)) {
      const path = settled[from - 1]?.instancePath ?? '';
      if (path !== found.instancePath && !path.startsWith(`${found.instancePath}/`)) break;
      from -= 1;
    }
    const inside = settled.splice(from);
    const meant = meantForm(found);
    const ofMeant = inside.filter(({ schemaPath }) => schemaPath.startsWith(`${prefix}${meant}/`));
    settled.push(...(ofMeant.length > 0 ? ofMeant : [found]));
  }
  return settled;
}

function meantForm(found: ErrorObject): number {
  const data: unknown = found.data;
  let best = -1;
  let bestScore = -1;
  list(found.schema).forEach((form, index) => {
    const schema = record(form);
    if (schema.type !== typeName(data)) return;
    const known = Object.keys(record(schema.properties));
    const aliases = aliasesOf(schema);
    let score = 0;
    for (const key of Object.keys(record(data)).slice(0, MAX_MISTAKES)) {
      if (known.includes(key)) score += 3;
      else if (closest(key, known, aliases) !== undefined) score += 1;
    }
    for (const key of list(schema.required)) if (Object.hasOwn(record(data), String(key))) score += 1;
    if (score > bestScore) {
      best = index;
      bestScore = score;
    }
  });
  return best;
}

function explainUnknownKey(found: ErrorObject): { mistake: Mistake; meant: string | undefined } {
  const schema = record(found.parentSchema);
  const key = parameter(found, 'additionalProperty');
  const known = Object.keys(record(schema.properties));
  const pointer = below(found.instancePath, key);
  const meant = closest(key, known, aliasesOf(schema));
  const hint = meant === undefined ? `; known here: ${known.join(', ')}` : didYouMean(meant);
  // Somebody may have written the secret where a key belongs.
  if (holdsSecret(found.instancePath) && meant === undefined) {
    return { mistake: { ...error(found.instancePath, `unknown key${hint}`) }, meant };
  }
  return { mistake: error(pointer, `unknown key ${quoted(key)}${hint}`, 'key'), meant };
}

function explainMissing(found: ErrorObject, pointer: string): Mistake {
  const key = parameter(found, 'missingProperty');
  const words = record(record(found.parentSchema).whenMissing)[key];
  return error(pointer, typeof words === 'string' ? words : `"${key}" is missing`, 'parent');
}

/** One clause for one error of ajv; says what is expected, never what is there. */
function explain(found: ErrorObject): string {
  const schema = record(found.parentSchema);
  const data: unknown = found.data;
  const limit = String(found.schema);
  switch (found.keyword) {
    case 'anyOf':
    case 'type':
      return explainType(found, schema, data);
    case 'enum':
      return explainEnum(list(found.schema).map(String), schema, data);
    case 'format':
      return (isFormat(limit) && typeof data === 'string' && formats[limit](data)) || `must be a ${limit}`;
    case 'atLeast':
      return `must be at least ${limit}`;
    case 'atMost':
      return `must be at most ${limit}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'minLength':
      return 'must not be empty; write a text, or take the key away';
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'minItems':
      return 'must not be an empty list; write an entry, or take the key away';
    case 'maxItems':
      return `must have at most ${limit} entries`;
    case 'minProperties':
    case 'maxProperties':
      return `must have ${schema.maxProperties === undefined ? 'at least' : 'exactly'} one of the keys ${Object.keys(record(schema.properties)).join(', ')}`;
    default:
      return `is not right (${found.keyword})`;
  }
}

function explainType(found: ErrorObject, schema: Record<string, unknown>, data: unknown): string {
  const types =
    found.keyword === 'anyOf' ? list(found.schema).map((form) => record(form).type) : [schema.type];
  if (data === null) {
    if (schema.type === 'object' && schema.required === undefined && schema.minProperties === undefined) {
      return 'has no value; write {} for the defaults, or take the key away';
    }
    return 'has no value; write one, or take the key away';
  }
  if (typeof data === 'string' && typeof schema.whenText === 'string') return schema.whenText;
  // In YAML, true and 10 are no texts; what is missing are not the quotes but the right word.
  if (Array.isArray(schema.enum) && typeof data !== 'object') {
    return explainEnum(schema.enum.map(String), schema, String(data));
  }
  const expected = [...new Set(types)].map((type) => TYPE_WORDS[String(type)] ?? String(type)).join(' or ');
  const fraction = typeof data === 'number' && types.includes('integer');
  const here = fraction ? 'a fraction' : (TYPE_WORDS[typeName(data)] ?? typeName(data));
  if (schema.type === 'object' && schema.properties !== undefined) {
    return `must be ${expected} (${Object.keys(record(schema.properties)).join(', ')}), but this is ${here}`;
  }
  if (schema.format === 'duration' && typeof data === 'number') {
    return data > 0
      ? `a duration needs a unit: write ${data}s, ${data}m or ${data}h`
      : 'must be a duration such as 5s';
  }
  if (schema.format === 'size' && typeof data === 'number') {
    return data >= 0
      ? `a size needs a unit: write ${data}B for bytes, or ${data}K, ${data}M, ${data}G`
      : 'must be a size such as 10M';
  }
  if (types.includes('string') && (typeof data === 'number' || typeof data === 'boolean')) {
    return `must be ${expected}, but this is ${here}; put it in quotes`;
  }
  if (types.includes('array') && typeof data === 'string')
    return 'must be a list; put it in brackets: ["..."]';
  if (typeof data === 'number' && !Number.isFinite(data)) return `must be ${expected} that can be counted to`;
  if ((types.includes('integer') || types.includes('boolean')) && typeof data === 'string') {
    return `must be ${expected} without quotes, but this is ${here}`;
  }
  return `must be ${expected}, but this is ${here}`;
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'a text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a group of keys',
};

function explainEnum(allowed: readonly string[], schema: Record<string, unknown>, data: unknown): string {
  const words = record(schema.whenValue);
  if (typeof data === 'string' && Object.hasOwn(words, data)) return String(words[data]);
  const aliases = new Map<string, string>();
  for (const [value, others] of Object.entries(record(schema.valuesAlsoCalled))) {
    for (const word of list(others)) aliases.set(simplify(String(word)), value);
  }
  const suggestion = typeof data === 'string' ? closest(data, allowed, aliases) : undefined;
  const choice = allowed.length === 1 ? `must be ${allowed[0]}` : `must be one of ${allowed.join(', ')}`;
  return `${choice}${didYouMean(suggestion)}`;
}

/** Words that other programs use, in the form that `closest` compares. */
function aliasesOf(schema: Record<string, unknown>): Map<string, string> {
  const aliases = new Map<string, string>();
  for (const [key, property] of Object.entries(record(schema.properties))) {
    for (const word of list(record(property).alsoCalled)) aliases.set(simplify(String(word)), key);
  }
  return aliases;
}

/** A copy without what stands at the pointers; list entries leave a hole, so that the others keep their index. */
function prune(data: unknown, pointers: readonly string[]): unknown {
  if (pointers.includes('')) return undefined;
  const copy: unknown = structuredClone(data);
  for (const pointer of pointers) {
    let owner: unknown = copy;
    for (const step of steps(above(pointer))) owner = record(owner)[step] ?? list(owner)[Number(step)];
    const last = steps(pointer).at(-1) ?? '';
    if (Array.isArray(owner)) owner[Number(last)] = undefined;
    else if (typeof owner === 'object' && owner !== null) Reflect.deleteProperty(owner, last);
  }
  return copy;
}

function parameter(found: ErrorObject, name: string): string {
  return String(record(found.params)[name]);
}

function typeName(data: unknown): string {
  if (data === null) return 'null';
  return Array.isArray(data) ? 'array' : typeof data;
}

/** The data as an object; an empty one where it is none. */
export function record(data: unknown): Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? { ...data } : {};
}

/** The data as a list; an empty one where it is none. */
export function list(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data : [];
}
