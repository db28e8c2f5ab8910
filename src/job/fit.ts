/*
 * Whether data has the form that a schema says: yes or no, in a moment, for data is nearly always right, and ajv takes
 * longer to compile the schemas than ferryd to start. Reads the keywords of draft 7 that the schemas use, and the two of
 * their own, and throws at any other. It says nothing of what is wrong: ajv does (shape.ts), and a test holds the two
 * together.
 */
import { formats, isFormat } from './patterns.js';
import { parseDuration } from './units.js';

/** What a schema may say of data. */
export interface Rules {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Rules[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly format?: string;
  readonly atLeast?: string;
  readonly atMost?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly items?: Rules;
  readonly required?: readonly string[];
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly properties?: Readonly<Record<string, Rules>>;
  readonly additionalProperties?: boolean | Rules;
  readonly propertyNames?: Rules;
}

type Rule = (rules: Rules, data: unknown) => boolean;

/** What mistakes are worded with. */
export const WORDINGS = ['alsoCalled', 'valuesAlsoCalled', 'whenText', 'whenMissing', 'whenValue'] as const;

/** Keywords that say nothing of data. */
const SILENT: ReadonlySet<string> = new Set(['$schema', 'title', 'description', 'default', ...WORDINGS]);

/** Durations that are no durations are the format's business. */
export const durationBounds = {
  atLeast: (limit: string, text: string): boolean => compare(text, limit, (value, bound) => value >= bound),
  atMost: (limit: string, text: string): boolean => compare(text, limit, (value, bound) => value <= bound),
} as const;

const numbers =
  (holds: (data: number, rules: Rules) => boolean): Rule =>
  (rules, data) =>
    typeof data !== 'number' || holds(data, rules);

const texts =
  (holds: (data: string, rules: Rules) => boolean): Rule =>
  (rules, data) =>
    typeof data !== 'string' || holds(data, rules);

const lists =
  (holds: (data: readonly unknown[], rules: Rules) => boolean): Rule =>
  (rules, data) =>
    !Array.isArray(data) || holds(data, rules);

const groups =
  (holds: (data: Readonly<Record<string, unknown>>, rules: Rules) => boolean): Rule =>
  (rules, data) =>
    !isGroup(data) || holds(data, rules);

/** Each asks only of data that its keyword is about. */
const RULES: Readonly<Record<keyof Rules, Rule>> = {
  type: ({ type }, data) => isOfType(type, data),
  enum: (rules, data) => rules.enum?.includes(data) ?? true,
  anyOf: ({ anyOf = [] }, data) => anyOf.some((form) => fitsRules(form, data)),
  minimum: numbers((value, { minimum = -Infinity }) => value >= minimum),
  maximum: numbers((value, { maximum = Infinity }) => value <= maximum),
  minLength: texts((text, { minLength = 0 }) => lengthOf(text) >= minLength),
  maxLength: texts((text, { maxLength = Infinity }) => lengthOf(text) <= maxLength),
  format: texts((text, { format = '' }) => isFormat(format) && formats[format](text) === undefined),
  atLeast: texts((text, { atLeast = '' }) => durationBounds.atLeast(atLeast, text)),
  atMost: texts((text, { atMost = '' }) => durationBounds.atMost(atMost, text)),
  minItems: lists((list, { minItems = 0 }) => list.length >= minItems),
  maxItems: lists((list, { maxItems = Infinity }) => list.length <= maxItems),
  items: lists((list, { items = {} }) => list.every((item) => fitsRules(items, item))),
  required: groups((group, { required = [] }) => required.every((key) => group[key] !== undefined)),
  minProperties: groups((group, { minProperties = 0 }) => Object.keys(group).length >= minProperties),
  maxProperties: groups((group, { maxProperties = Infinity }) => Object.keys(group).length <= maxProperties),
  properties: groups((group, { properties = {} }) =>
    Object.keys(properties).every((key) => {
      const value = group[key];
      return value === undefined || fitsRules(properties[key] ?? {}, value);
    }),
  ),
  additionalProperties: groups((group, { properties = {}, additionalProperties = true }) =>
    Object.entries(group).every(
      ([key, value]) => Object.hasOwn(properties, key) || fitsMore(additionalProperties, value),
    ),
  ),
  propertyNames: groups((group, { propertyNames = {} }) =>
    Object.keys(group).every((key) => fitsRules(propertyNames, key)),
  ),
};

/** @throws {Error} at a keyword that is not read here */
export function fitsRules(rules: Rules, data: unknown): boolean {
  return Object.keys(rules).every((keyword) => {
    if (isRule(keyword)) return RULES[keyword](rules, data);
    if (SILENT.has(keyword)) return true;
    throw new Error(`the keyword ${keyword} of a schema is not read`);
  });
}

function isRule(keyword: string): keyword is keyof Rules {
  return Object.hasOwn(RULES, keyword);
}

function fitsMore(rules: boolean | Rules, value: unknown): boolean {
  return typeof rules === 'boolean' ? rules : fitsRules(rules, value);
}

function isOfType(type: string | undefined, data: unknown): boolean {
  switch (type) {
    case 'object':
      return isGroup(data);
    case 'array':
      return Array.isArray(data);
    case 'integer':
      return Number.isInteger(data);
    case 'number':
      return Number.isFinite(data);
    case 'null':
      return data === null;
    default:
      return typeof data === type;
  }
}

function isGroup(data: unknown): data is Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}

/** In characters, as JSON Schema counts: one outside of the Basic Multilingual Plane is one. */
function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

function compare(text: string, limit: string, holds: (value: number, bound: number) => boolean): boolean {
  const value = parseDuration(text);
  const bound = parseDuration(limit);
  return !value.ok || !bound.ok || holds(value.value, bound.value);
}
