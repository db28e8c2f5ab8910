/*
 * The JSON Schemas of what a job does besides carrying files: its hooks, what is expected of it, the dead-man service
 * that it pings, and the channels by which somebody is told (those also in agent.yaml).
 * Source of truth for these keys, their limits and defaults; schema-server.ts says which keywords are used.
 */
import { passwordSchema } from './schema-server.js';

const HOOK_COMMAND_FORMS = [
  { type: 'string', minLength: 1, maxLength: 10_000, description: 'A line for /bin/sh.' },
  {
    type: 'array',
    items: { type: 'string', maxLength: 4096 },
    minItems: 1,
    maxItems: 100,
    description: 'Program and arguments, run without a shell.',
  },
] as const;

const hookProperties = {
  command: {
    description:
      'What is run: a text is a line for `/bin/sh`; a list is a program and its arguments, run without a shell.',
    alsoCalled: ['run', 'exec', 'cmd', 'script', 'argv'],
    anyOf: HOOK_COMMAND_FORMS,
  },
  timeout: {
    type: 'string',
    format: 'duration',
    atLeast: '1s',
    atMost: '7d',
    description: 'How long it may take. Then it is ended with everything that it has started.',
    default: '1h',
    alsoCalled: ['timelimit', 'limit', 'within'],
  },
  onFailure: {
    type: 'string',
    enum: ['fail', 'ignore'],
    description:
      'What a failure of it means. `fail`: the run fails, and behind a `before` that failed nothing is moved or deleted. `ignore`: it is told, and the run goes on.',
    default: 'fail',
    valuesAlsoCalled: {
      fail: ['stop', 'abort', 'error'],
      ignore: ['continue', 'warn', 'goon'],
    },
    alsoCalled: ['onerror', 'failure', 'policy'],
  },
} as const;

const HOOK_MISSING = { command: 'say what is run: command: "pg_dump shop > dump.sql"' } as const;

/** A hook with keys. */
export const hookSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['command'],
  description: 'A command, and how it is run.',
  whenMissing: HOOK_MISSING,
  properties: hookProperties,
} as const;

export const afterHookSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['command'],
  description: 'A command, and how and when it is run.',
  whenMissing: HOOK_MISSING,
  properties: {
    ...hookProperties,
    when: {
      type: 'string',
      enum: ['always', 'success', 'failure'],
      description:
        'Behind which runs: all of them, those in which everything went well, or those in which something did not.',
      default: 'always',
      valuesAlsoCalled: { success: ['ok'], failure: ['failed', 'error'] },
      alsoCalled: ['on', 'condition'],
    },
  },
} as const;

export const beforeSchema = {
  description:
    'A command that is run ahead of everything else in a run: it may dump a database or mount a disk. A line for `/bin/sh`, a list of program and arguments, or keys.',
  default: null,
  alsoCalled: ['pre', 'prehook', 'beforerun', 'prerun', 'precommand'],
  anyOf: [...HOOK_COMMAND_FORMS, hookSchema],
} as const;

export const afterSchema = {
  description:
    'A command that is run behind everything else in a run, however it ended; written like `before`, and it may have `when`.',
  default: null,
  alsoCalled: ['post', 'posthook', 'afterrun', 'postrun', 'postcommand'],
  anyOf: [...HOOK_COMMAND_FORMS, afterHookSchema],
} as const;

export const expectSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'What has to hold of the job; somebody is told where it does not.',
  default: {},
  alsoCalled: ['expects', 'expectation', 'alert', 'monitor'],
  properties: {
    freshness: {
      type: 'string',
      format: 'duration',
      atLeast: '1m',
      atMost: '3650d',
      description:
        'A run in which all went well has to end at least so often, such as `26h` for a nightly job. Where none does, for whatever reason, the job is overdue.',
      default: null,
      alsoCalled: ['within', 'every', 'maxage', 'fresh', 'deadline'],
    },
  },
} as const;

const URL_TEXT = {
  type: 'string',
  format: 'http-url',
  description: 'An `https://` URL.',
} as const;

/** A URL, or where it comes from: whoever knows such a URL can often use it. */
const URL_FORMS = [URL_TEXT, passwordSchema] as const;

const pingProperties = {
  success: {
    description: 'What is asked behind a run in which all went well.',
    default: null,
    alsoCalled: ['ok', 'complete', 'end', 'url'],
    anyOf: URL_FORMS,
  },
  start: {
    description: 'What is asked when a run begins.',
    default: null,
    alsoCalled: ['begin', 'run'],
    anyOf: URL_FORMS,
  },
  failure: {
    description: 'What is asked behind a run in which something did not go well.',
    default: null,
    alsoCalled: ['fail', 'error'],
    anyOf: URL_FORMS,
  },
} as const;

/** A URL for each of the three. */
export const pingsSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'A URL for each of the three.',
  minProperties: 1,
  properties: pingProperties,
} as const;

const PING_SOURCE = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description: 'Where the URL comes from, written like `password`.',
  properties: passwordSchema.properties,
} as const;

export const pingSchema = {
  description:
    'A dead-man service that is told of each run, and raises the alarm itself where it hears nothing. A URL (or where it comes from, written like `password`): it is asked for at success, with `/start` behind it when a run begins, and with `/fail` at failure. Or a URL for each of the three.',
  default: null,
  alsoCalled: ['heartbeat', 'deadman', 'healthcheck', 'healthchecks', 'pings'],
  anyOf: [URL_TEXT, PING_SOURCE, pingsSchema],
} as const;

const TOPICS = ['failure', 'recovery', 'overdue', 'held', 'partial', 'configuration'] as const;

const on = {
  type: 'array',
  items: { type: 'string', enum: TOPICS },
  minItems: 1,
  maxItems: 6,
  description:
    'Of what: a run that failed (`failure`), that things are well again (`recovery`), no good run in time (`overdue`), deletions that wait for a person (`held`), files that were skipped (`partial`), a broken job file (`configuration`).',
  default: TOPICS,
  alsoCalled: ['topics', 'events', 'when', 'kinds'],
} as const;

function timeout<Default extends string>(duration: Default) {
  return {
    type: 'string',
    format: 'duration',
    atLeast: '1s',
    atMost: '10m',
    description: 'How long one try may take.',
    default: duration,
    alsoCalled: ['timelimit', 'within'],
  } as const;
}

export const webhookSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['webhook'],
  description: 'Posts JSON to a URL.',
  properties: {
    webhook: {
      description: 'The URL, or where it comes from, written like `password`.',
      alsoCalled: ['url', 'http', 'hook', 'post'],
      anyOf: URL_FORMS,
    },
    key: {
      ...passwordSchema,
      description:
        'Where the key comes from that the message is signed with (HMAC-SHA-256); written like `password`.',
      alsoCalled: ['secret', 'hmac', 'signature', 'token'],
    },
    timeout: timeout('10s'),
    on,
  },
} as const;

export const commandChannelSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['command'],
  description: 'Runs a program.',
  properties: {
    command: {
      type: 'array',
      items: { type: 'string', maxLength: 4096 },
      minItems: 1,
      maxItems: 100,
      description:
        'Program and arguments, run without a shell. The notice comes on standard input as JSON, and in variables of the environment.',
      alsoCalled: ['run', 'exec', 'cmd', 'script', 'argv'],
    },
    timeout: timeout('30s'),
    on,
  },
} as const;

export const mailSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['mail', 'from', 'server'],
  description: 'Sends mail.',
  whenMissing: {
    from: 'say who the mail is from: from: ferryd@example.net',
    server: 'say which mail server: server: smtps://mail.example.net',
  },
  properties: {
    mail: {
      description: 'Who gets it: an address, or a list of them.',
      alsoCalled: ['to', 'email', 'recipient', 'recipients', 'mailto'],
      anyOf: [
        { type: 'string', format: 'mail-address', description: 'An address.' },
        {
          type: 'array',
          items: { type: 'string', format: 'mail-address' },
          minItems: 1,
          maxItems: 20,
          description: 'Addresses.',
        },
      ],
    },
    from: {
      type: 'string',
      format: 'mail-address',
      description: 'The address that it comes from.',
      alsoCalled: ['sender'],
    },
    server: {
      type: 'string',
      format: 'smtp-url',
      description:
        'The mail server: `smtps://HOST` (TLS from the first byte, port 465) or `smtp://HOST` (TLS by STARTTLS, which has to come; port 587). Only `smtp://localhost` does without TLS (port 25).',
      alsoCalled: ['smtp', 'host', 'relay', 'mailserver'],
    },
    user: {
      type: 'string',
      format: 'one-line',
      minLength: 1,
      description: 'The user to log in as (none: without a login).',
      default: null,
      alsoCalled: ['username', 'login'],
    },
    password: {
      ...passwordSchema,
      description: 'Where the password comes from; written like that of a server.',
    },
    timeout: timeout('60s'),
    on,
  },
} as const;

export const notifySchema = {
  type: 'array',
  items: {
    description: 'A channel: `webhook`, `command` or `mail`.',
    whenText:
      'a channel has keys: write - webhook: https://..., - command: [PROGRAM, ...] or - mail: ADDRESS',
    anyOf: [webhookSchema, commandChannelSchema, mailSchema],
  },
  maxItems: 20,
  description: 'Who is told when something is wrong, and when it is well again: a list of channels.',
  default: [],
  alsoCalled: ['notices', 'notifications', 'alerts', 'notification', 'alerting'],
} as const;

/** One of the list. */
export const channelSchema = notifySchema.items;
