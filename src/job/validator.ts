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

/** Text of modules of CommonJS, by form, that see `formats` and `bounds` besides. */
export interface Precompiled {
  /** Digest of the schemas that they were compiled from. */
  readonly of: string;
  readonly code: Readonly<Partial<Record<Form, string>>>;
}

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
const knowing = new Map<Form, (data: unknown) => boolean>();
let built: Precompiled | undefined;

/** True where the data has the form. */
export function isOfForm(form: Form, data: unknown): boolean {
  const found = knowing.get(form) ?? precompiled(form) ?? explaining(form);
  knowing.set(form, found);
  return found(data);
}

/** The function that finds all that is wrong and what is said of it; `errors` are those of its last call. */
export function explaining(form: Form): ValidateFunction {
  const found = telling.get(form) ?? newAjv().compile(SCHEMAS[form]);
  telling.set(form, found);
  return found;
}

/** What the build leaves: for each form the text of a function that says yes or no. */
export function precompile(): Precompiled {
  const standalone = fromPackage(
    'ajv/dist/standalone/index.js',
  ) as typeof import('ajv/dist/standalone/index.js');
  const ajv = newAjv({ allErrors: false, verbose: false, messages: false });
  const code = Object.entries(SCHEMAS).map(([form, schema]) => [
    form,
    standalone.default(ajv, ajv.compile(schema)),
  ]);
  return { of: digestOfSchemas(), code: Object.fromEntries(code) };
}

function precompiled(form: Form): ((data: unknown) => boolean) | undefined {
  built ??= readPrecompiled();
  const code = built.code[form];
  return code === undefined ? undefined : functionOf(code);
}

/** The function that such a text makes. */
export function functionOf(code: string): ((data: unknown) => boolean) | undefined {
  const module: { exports?: (data: unknown) => boolean } = {};
  compileFunction(code, ['module', 'require', 'formats', 'bounds'])(module, fromPackage, FORMATS, BOUNDS);
  return module.exports;
}

function readPrecompiled(): Precompiled {
  const none = { of: '', code: {} };
  try {
    const read = JSON.parse(readFileSync(PRECOMPILED, 'utf8')) as Precompiled;
    return read.of === digestOfSchemas() ? read : none;
  } catch {
    return none;
  }
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
