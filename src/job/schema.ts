/*
 * The JSON Schemas of a job file and of agent.yaml, and the TypeScript types of the written form, which are
 * derived from them. Source of truth for keys, limits and defaults; schema-server.ts has the server's part and
 * says which keywords besides draft 7 are used.
 */
import type { FromSchema } from 'json-schema-to-ts';
import {
  KEY_VALUE_LINES,
  serverKeysNotYet,
  serverProperties,
  type serverSchema,
  type serversSchema,
} from './schema-server.js';

const pathProperty = {
  type: 'string',
  format: 'path-text',
  description:
    'Directory on the server: relative to the login directory (`dumps/db`), or absolute (`/srv/dumps`).',
  default: '',
  alsoCalled: ['dir', 'directory', 'folder'],
} as const;

/** A server of servers.yaml and a directory on it. */
export const namedEndSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['server'],
  description: 'A server of servers.yaml and a directory on it.',
  whenMissing: {
    server:
      'say which server: server: NAME for one of servers.yaml, or url: ftpes://HOST/PATH to describe it here',
  },
  properties: {
    server: {
      type: 'string',
      format: 'server-entry-name',
      description: 'Name of a server in servers.yaml.',
    },
    path: pathProperty,
  },
} as const;

/** A server described in the job itself. */
export const inlineEndSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  description: 'A server described in the job itself, with the keys of a server.',
  notYetKeys: serverKeysNotYet,
  whenMissing: { url: '"url" is missing: write the server, such as url: ftpes://nas.example.net/dumps' },
  properties: {
    ...serverProperties,
    path: {
      ...pathProperty,
      description: `${pathProperty.description} Where the URL has no path of its own.`,
    },
  },
} as const;

const END_FORMS = [
  {
    type: 'string',
    minLength: 1,
    format: 'path-text',
    description: 'A local path, `SERVER:PATH`, or a URL.',
  },
  namedEndSchema,
  inlineEndSchema,
] as const;

export const fromSchema = {
  description:
    'What is copied: a local directory, `SERVER:PATH`, a URL, or an object. Exactly one of `from` and `to` is local.',
  alsoCalled: ['source', 'src', 'local', 'input'],
  anyOf: END_FORMS,
} as const;

export const toSchema = {
  description:
    'Where it goes: a local directory, `SERVER:PATH`, a URL, or an object. Exactly one of `from` and `to` is local.',
  alsoCalled: ['destination', 'dest', 'dst', 'target', 'remote', 'output'],
  anyOf: END_FORMS,
} as const;

export const cronTriggerSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['cron'],
  description: 'Runs the job on a schedule.',
  whenMissing: { cron: 'a trigger needs cron: "30 2 * * *" or watch: {}' },
  properties: {
    cron: {
      type: 'string',
      minLength: 1,
      maxLength: 1000,
      description:
        'When to run: minute, hour, day of the month, month, day of the week; with six fields the first is the second. In quotes.',
      alsoCalled: ['schedule', 'at', 'every'],
    },
    timezone: {
      type: 'string',
      format: 'timezone',
      description:
        "Time zone of the schedule, such as `Europe/Berlin` (none: the machine's). A change to summer time neither loses nor doubles a run.",
      default: null,
      alsoCalled: ['tz', 'zone'],
    },
    missed: {
      type: 'string',
      enum: ['run-once', 'skip'],
      description:
        'What becomes of schedules that passed while ferryd was not running: one run at the next start, or none.',
      default: 'run-once',
      alsoCalled: ['catchup', 'persistent'],
    },
  },
} as const;

export const watchTriggerSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['watch'],
  description: 'Runs the job when files of the local `from` change.',
  whenMissing: { watch: 'a trigger needs cron: "30 2 * * *" or watch: {}' },
  properties: {
    watch: {
      type: 'object',
      additionalProperties: false,
      description: 'Watches the local `from`. `{}` takes the defaults.',
      properties: {
        settle: {
          type: 'string',
          format: 'duration',
          atLeast: '10ms',
          atMost: '1h',
          description:
            'How long the directory has to be quiet before a run starts, so that a burst is one run.',
          default: '5s',
          alsoCalled: ['debounce', 'delay', 'wait', 'quiet'],
        },
        rescan: {
          type: 'string',
          format: 'duration',
          atLeast: '1s',
          atMost: '7d',
          description:
            'How often everything is looked at again, because an operating system may lose notices of changes.',
          default: '1h',
          alsoCalled: ['interval', 'poll'],
        },
      },
    },
  },
} as const;

export const triggerSchema = {
  description: 'What starts a run: `cron` or `watch`.',
  whenText: 'a trigger has a key: write - cron: "30 2 * * *" or - watch: {}',
  anyOf: [cronTriggerSchema, watchTriggerSchema],
} as const;

export const retriesSchema = {
  type: 'object',
  additionalProperties: false,
  description:
    'How often, and how patiently, one file or one connection is tried again when the trouble may pass.',
  default: {},
  alsoCalled: ['retry'],
  properties: {
    attempts: {
      type: 'integer',
      minimum: 1,
      maximum: 100,
      description: 'Tries in all; the first one counts.',
      default: 5,
      alsoCalled: ['count', 'max', 'tries', 'limit'],
    },
    firstDelay: {
      type: 'string',
      format: 'duration',
      atLeast: '1ms',
      atMost: '1h',
      description: 'Wait before the second try; it doubles with each further one, with some chance in it.',
      default: '1s',
      alsoCalled: ['delay', 'mindelay', 'initialdelay'],
    },
    maxDelay: {
      type: 'string',
      format: 'duration',
      atLeast: '1ms',
      atMost: '1d',
      description: 'The longest wait between two tries.',
      default: '5m',
      alsoCalled: ['lastdelay'],
    },
  },
} as const;

export const sizeSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'Only files of such a size. The others stay behind, and are not told.',
  default: {},
  alsoCalled: ['sizes', 'filesize', 'sizelimit'],
  properties: {
    min: {
      type: 'string',
      format: 'size',
      description: 'The smallest size that goes across, such as `1B` for all that is not empty.',
      default: null,
      alsoCalled: ['minimum', 'atleast', 'least'],
    },
    max: {
      type: 'string',
      format: 'size',
      description: 'The largest size that goes across.',
      default: null,
      alsoCalled: ['maximum', 'atmost', 'most', 'limit'],
    },
  },
} as const;

export const ageSchema = {
  type: 'object',
  additionalProperties: false,
  description:
    "Only files of such an age: the time from their last modification to the run's start. The others stay behind, and are not told.",
  default: {},
  alsoCalled: ['ages', 'modified', 'mtime'],
  properties: {
    min: {
      type: 'string',
      format: 'duration',
      atLeast: '1s',
      atMost: '3650d',
      description: 'What is younger stays behind until it is as old as this.',
      default: null,
      alsoCalled: ['minimum', 'atleast', 'olderthan', 'least'],
    },
    max: {
      type: 'string',
      format: 'duration',
      atLeast: '1s',
      atMost: '3650d',
      description: 'What is older stays behind.',
      default: null,
      alsoCalled: ['maximum', 'atmost', 'youngerthan', 'most', 'limit'],
    },
  },
} as const;

const LATER_MODE = 'this version knows only copy, which never deletes; write mode: copy or take the key away';

export const jobSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'A job file',
  type: 'object',
  description: "What goes from where to where, when and how. The job's name is the file's name.",
  whenText: KEY_VALUE_LINES,
  additionalProperties: false,
  required: ['from', 'to'],
  whenMissing: {
    from: '"from" is missing: say what is copied, a local directory, SERVER:PATH or a URL',
    to: '"to" is missing: say where it goes, SERVER:PATH, a URL or a local directory',
  },
  properties: {
    description: {
      type: 'string',
      maxLength: 1000,
      description: 'A line for people; status shows it.',
      default: '',
      alsoCalled: ['comment', 'title', 'name'],
    },
    from: fromSchema,
    to: toSchema,
    mode: {
      type: 'string',
      enum: ['copy'],
      description:
        'How the two sides relate. `copy`: new and changed files go across, nothing is ever deleted.',
      default: 'copy',
      notYet: { mirror: LATER_MODE, move: LATER_MODE, 'two-way': LATER_MODE },
      alsoCalled: ['type', 'action'],
    },
    triggers: {
      type: 'array',
      maxItems: 100,
      items: triggerSchema,
      description:
        'What starts a run, a list. Without one the job runs only when somebody types `ferryd run`.',
      default: [],
      whenText: 'must be a list: write - cron: "30 2 * * *" or - watch: {} below it',
      alsoCalled: ['trigger', 'cron', 'watch', 'schedule', 'when', 'on', 'interval'],
    },
    include: {
      type: 'array',
      minItems: 1,
      maxItems: 1000,
      items: { type: 'string', format: 'file-pattern' },
      description:
        'Which files: glob patterns relative to `from`. A file that matches none of them stays behind. In quotes.',
      default: ['**'],
      alsoCalled: ['includes', 'only', 'files', 'filter', 'pattern', 'patterns'],
    },
    exclude: {
      type: 'array',
      maxItems: 1000,
      items: { type: 'string', format: 'file-pattern' },
      description:
        'Which files not: glob patterns relative to `from`. Stronger than `include`. A directory is left out by `name/**`.',
      default: [],
      alsoCalled: ['excludes', 'ignore', 'ignored', 'skip', 'except'],
    },
    ready: {
      type: 'string',
      minLength: 1,
      maxLength: 200,
      description:
        'Name of a marker, such as `"{name}.done"`: a file is sent only while its marker stands beside it. `{name}` is the file\'s name, `{stem}` the name without its last ending. Markers themselves are never sent. Push only. In quotes.',
      default: null,
      alsoCalled: ['marker', 'done', 'donefile', 'flag', 'semaphore', 'sentinel'],
    },
    permissions: {
      type: 'string',
      enum: ['keep', 'leave'],
      description:
        'Whether a file gets the permissions of its source (`keep`: read, write and execute for owner, group and others, nothing more), or those that the other side gives it (`leave`).',
      default: 'leave',
      alsoCalled: ['permission', 'chmod', 'perms', 'rights', 'attributes'],
    },
    hidden: {
      type: 'string',
      enum: ['include', 'skip'],
      description:
        'What becomes of names that begin with a dot, of files and of directories: they go along like others, or stay behind with all that is in them.',
      default: 'include',
      alsoCalled: ['dotfiles', 'dot'],
    },
    size: sizeSchema,
    age: ageSchema,
    links: {
      type: 'string',
      enum: ['skip', 'follow'],
      description:
        'What becomes of symbolic links in a local `from`. `skip`: they stay behind. `follow`: what they lead to goes across under their names, as long as it lies below `from`.',
      default: 'skip',
      notYet: {
        preserve:
          'FTP has no command that makes a link, so links cannot be preserved; write follow to send what they lead to, or skip',
      },
      alsoCalled: ['symlinks', 'symboliclinks', 'followlinks', 'followsymlinks'],
    },
    emptyDirectories: {
      type: 'string',
      enum: ['skip'],
      description: 'What becomes of directories without a file that goes across: they are not made.',
      default: 'skip',
      notYet: {
        keep: 'this version makes a directory only where a file goes into it; write skip or take the key away',
      },
      alsoCalled: ['emptydirs', 'empty'],
    },
    retries: retriesSchema,
  },
} as const;

export const agentSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'agent.yaml',
  type: 'object',
  description: 'Settings of the daemon.',
  whenText: KEY_VALUE_LINES,
  additionalProperties: false,
  properties: {
    log: {
      type: 'object',
      additionalProperties: false,
      description: 'What is logged.',
      default: {},
      alsoCalled: ['logging'],
      properties: {
        level: {
          type: 'string',
          enum: ['error', 'warn', 'info', 'debug'],
          description: 'The least important level that is still logged.',
          default: 'info',
          alsoCalled: ['loglevel'],
        },
      },
    },
    stop: {
      type: 'object',
      additionalProperties: false,
      description: 'What a stop is like.',
      default: {},
      alsoCalled: ['shutdown'],
      properties: {
        within: {
          type: 'string',
          format: 'duration',
          atLeast: '1s',
          atMost: '10m',
          description:
            'How long a stop waits for what is in flight before it cuts it off; the next run finishes it.',
          default: '25s',
          alsoCalled: ['timeout', 'after'],
        },
      },
    },
    runsAtOnce: {
      type: 'integer',
      minimum: 1,
      maximum: 64,
      description: 'How many jobs run at the same time; the others wait for their turn.',
      default: 4,
      alsoCalled: ['maxruns', 'concurrency', 'parallel', 'jobs', 'workers'],
    },
  },
} as const;

interface Keep {
  keepDefaultedPropertiesOptional: true;
}

/** The written forms, as they are once they fit their schema. */
export interface Written {
  job: FromSchema<typeof jobSchema, Keep>;
  /** `from` or `to`. */
  end: FromSchema<typeof toSchema, Keep>;
  trigger: FromSchema<typeof triggerSchema, Keep>;
  size: FromSchema<typeof sizeSchema, Keep>;
  age: FromSchema<typeof ageSchema, Keep>;
  retries: FromSchema<typeof retriesSchema, Keep>;
  server: FromSchema<typeof serverSchema, Keep>;
  servers: FromSchema<typeof serversSchema, Keep>;
  agent: FromSchema<typeof agentSchema, Keep>;
}
