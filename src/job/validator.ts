/*
 * The functions that hold data against the schemas: ajv's, strict. ajv takes longer to compile them than ferryd to
 * start, so the build leaves those that say yes or no beside this file (precompile.ts); what is wrong, which is rare, is
 * told by others that are compiled then. So are all where the build's are missing or of other schemas, as in a tree
 * that is being worked on.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';
import type { Ajv, Options, ValidateFunction } from 'ajv';
import { takenApart } from './apart.js';
import { formats as checks } from './patterns.js';
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

/** Where the build puts the compiled functions. */
export const PRECOMPILED = new URL('./validators.json', import.meta.url);

type Form = keyof Written;

/** What the build leaves. */
export interface Precompiled {
  /** Digest of the schemas that it was compiled from. */
  readonly of: string;
  /** Text of a module of CommonJS that sees `formats` and `bounds` besides; it exports a function for each form. */
  readonly code: string;
}

type Knows = (data: unknown) => boolean;

const fromPackage = createRequire(import.meta.url);

const FORMATS = Object.fromEntries(
  Object.entries(checks).map(([name, check]) => [
    name,
    { type: 'string', validate: (text: string) => check(text) === undefined } as const,
  ]),
);

/** Our own keywords. What is no duration at all is the format's business. */
const BOUNDS = {
  atLeast: (limit: string, text: string) => holds(limit, text, (bound, value) => value >= bound),
  atMost: (limit: string, text: string) => holds(limit, text, (bound, value) => value <= bound),
};

function holds(limit: string, text: string, inside: (bound: number, value: number) => boolean): boolean {
  const bound = parseDuration(limit);
  const value = parseDuration(text);
  return !bound.ok || !value.ok || inside(bound.value, value.value);
}

const telling = new Map<Form, ValidateFunction>();
let built: Readonly<Partial<Record<Form, Knows>>> | undefined;

/** True where the data has the form. */
export function isOfForm(form: Form, data: unknown): boolean {
  built ??= readBuilt();
  return (built[form] ?? explaining(form))(data);
}

/** The function that finds all that is wrong and what is said of it; `errors` are those of its last call. */
export function explaining(form: Form): ValidateFunction {
  const found = telling.get(form) ?? newAjv().compile(SCHEMAS[form]);
  telling.set(form, found);
  return found;
}

/** For each form a function that says yes or no, of a text as `precompile` makes it. */
export function functionsOf(code: string): Readonly<Partial<Record<Form, Knows>>> {
  const exports: Partial<Record<Form, Knows>> = {};
  compileFunction(code, ['exports', 'require', 'formats', 'bounds'])(exports, fromPackage, FORMATS, BOUNDS);
  return exports;
}

function readBuilt(): Readonly<Partial<Record<Form, Knows>>> {
  try {
    const { of, code } = JSON.parse(readFileSync(PRECOMPILED, 'utf8')) as Precompiled;
    return of === digestOfSchemas() ? functionsOf(code) : {};
  } catch {
    return {};
  }
}

/** What the build leaves: for each form a function that says yes or no. */
export function precompile(): Precompiled {
  const standalone = fromPackage(
    'ajv/dist/standalone/index.js',
  ) as typeof import('ajv/dist/standalone/index.js');
  const ajv = newAjv({ allErrors: false, verbose: false, messages: false, inlineRefs: false });
  ajv.addSchema(takenApart('forms', SCHEMAS));
  const names = Object.keys(SCHEMAS).map((form) => [form, `forms#/definitions/${form}`]);
  return { of: digestOfSchemas(), code: standalone.default(ajv, Object.fromEntries(names)) };
}

function digestOfSchemas(): string {
  return createHash('sha256').update(JSON.stringify(SCHEMAS)).digest('hex');
}

/**
 * An ajv that knows the schemas' formats and keywords and is strict about everything else.
 * Schemas are trusted unless `options` has `validateSchema`, which takes a tenth of a second more; a test does that.
 */
export function newAjv(options: Options = {}): Ajv {
  const { Ajv, _ } = fromPackage('ajv') as typeof import('ajv');
  const ajv = new Ajv({
    meta: options.validateSchema === true,
    validateSchema: false,
    strict: true,
    strictTypes: true,
    strictTuples: true,
    strictRequired: true,
    allErrors: true,
    verbose: true,
    code: { source: true, formats: _`formats` },
    formats: FORMATS,
    ...options,
  });
  for (const keyword of Object.keys(BOUNDS)) {
    ajv.addKeyword({
      keyword,
      type: 'string',
      schemaType: 'string',
      code: (context) => {
        const bounds = context.gen.scopeValue('keyword', { ref: BOUNDS, code: _`bounds` });
        context.pass(_`${bounds}[${keyword}](${context.schemaValue}, ${context.data})`);
      },
    });
  }
  ajv.addVocabulary(['alsoCalled', 'valuesAlsoCalled', 'whenText', 'whenMissing', 'whenValue']);
  return ajv;
}
