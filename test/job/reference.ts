/*
 * The job reference as the schemas tell it: for each table of jobs/README.md the rows that it must have.
 * reference.test.ts holds the page against this, in both directions.
 */
import {
  agentSchema,
  cronTriggerSchema,
  inlineEndSchema,
  jobSchema,
  namedEndSchema,
  watchTriggerSchema,
} from '../../src/job/schema.js';
import {
  afterHookSchema,
  commandChannelSchema,
  mailSchema,
  pingsSchema,
  webhookSchema,
} from '../../src/job/schema-notice.js';
import { serverSchema } from '../../src/job/schema-server.js';

/** What the walk looks at in a schema; everything else is wording. */
export interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly items?: Node;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Node[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly atLeast?: string;
  readonly atMost?: string;
  readonly alsoCalled?: readonly string[];
  readonly valuesAlsoCalled?: Readonly<Record<string, readonly string[]>>;
  readonly whenValue?: Readonly<Record<string, string>>;
}

/** Heading of a table, and its rows. */
export type Reference = Readonly<Record<string, readonly string[]>>;

/** The keys of `from` and `to` as an inline server that a server of servers.yaml does not have. */
const inlineOnly: Node = {
  type: 'object',
  properties: Object.fromEntries(
    Object.entries(inlineEndSchema.properties).filter(
      ([key]) => !Object.hasOwn(serverSchema.properties, key),
    ),
  ),
};

export function reference(): Reference {
  return {
    'Keys of a job': rows(jobSchema, ''),
    'Keys of a cron trigger': rows(cronTriggerSchema, ''),
    'Keys of a watch trigger': rows(watchTriggerSchema, ''),
    'Keys of `from` and `to` with a server of servers.yaml': rows(namedEndSchema, ''),
    'Keys of `from` and `to` with a server described in the job': rows(inlineOnly, ''),
    'Keys of a server': rows(serverSchema, ''),
    'Keys of `before` and `after`': rows(afterHookSchema, ''),
    'Keys of `ping`': rows(pingsSchema, ''),
    'Keys of a webhook': rows(webhookSchema, ''),
    'Keys of a command': rows(commandChannelSchema, ''),
    'Keys of mail': rows(mailSchema, ''),
    'Keys of agent.yaml': rows(agentSchema, ''),
  };
}

/** Written like `password`; its keys are told once. */
const LIKE_PASSWORD: readonly string[] = [
  'privateKey',
  'passphrase',
  'account',
  'tls.key',
  'tls.passphrase',
  'key',
];

/** One row for each key, those inside groups right below their group. */
function rows(schema: Node, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const name = `${prefix}${key}`;
    const required = schema.required?.includes(key) === true;
    const row = `| \`${name}\` | ${typeOf(property)} | ${required ? 'required' : defaultOf(property)} | ${property.description} |`;
    return LIKE_PASSWORD.includes(name) ? [row] : [row, ...rows(property, `${name}.`)];
  });
}

function typeOf(node: Node): string {
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(typeOf))].join(' or ');
  if (node.enum !== undefined) return node.enum.map((word) => `\`${word}\``).join(', ');
  if (node.type === 'array') return node.items?.type === 'string' ? 'list of texts' : 'list of keys';
  if (node.type === 'number') return `number, ${node.minimum} to ${node.maximum}`;
  if (node.type === 'integer') return `whole number, ${node.minimum} to ${node.maximum}`;
  if (node.type === 'boolean') return '`true`, `false`';
  if (node.type === 'object') return 'keys';
  if (node.format === 'size') return 'size';
  if (node.format === 'duration') return `duration, ${node.atLeast} to ${node.atMost}`;
  return 'text';
}

function defaultOf(node: Node): string {
  if (node.default === undefined) throw new Error('an optional key has no default');
  if (node.default === null || node.default === '') return 'none';
  if (node.type === 'object') return 'those below';
  if (Array.isArray(node.default)) {
    return node.default.length === 0
      ? 'none'
      : `\`[${node.default.map((entry) => `"${entry}"`).join(', ')}]\``;
  }
  return `\`${String(node.default)}\``;
}
