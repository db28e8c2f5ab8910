/*
 * The JSON Schemas of a job file and of agent.yaml, and the TypeScript types of the written form, which are
 * derived from them. Source of truth for keys, limits and defaults; schema-server.ts has the server's part and
 * says which keywords besides draft 7 are used.
 */
import type { FromSchema } from 'json-schema-to-ts';
import {
  afterSchema,
  beforeSchema,
  type channelSchema,
  expectSchema,
  notifySchema,
  pingSchema,
} from './schema-notice.js';
import { KEY_VALUE_LINES, serverProperties, type serverSchema, type serversSchema } from './schema-server.js';

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
      'say which server: server: NAME for one of servers.yaml, or url: sftp://HOST/PATH (or ftpes://) to describe it here',
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
  whenMissing: {
    url: '"url" is missing: write the server, such as url: sftp://nas.example.net/dumps or url: ftpes://nas.example.net/dumps',
  },
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
    'Where it goes: a local directory, `SERVER:PATH`, a URL, or an object. Exactly one of `from` and `to` is local. Its path may hold `{host}`, `{job}`, `{date}` and `{mtime}`.',
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
    jitter: {
      type: 'string',
      format: 'duration',
      atLeast: '1s',
      atMost: '1d',
      description:
        'Each run is put off by a part of this, another one on each machine and for each job, so that they do not all come at once; never beyond the next run.',
      default: null,
      alsoCalled: ['spread', 'randomdelay', 'splay', 'randomizeddelay'],
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
      description:
        'Watches the local `from`, in mode `two-way` the local one of the two. `{}` takes the defaults.',
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
          alsoCalled: ['interval'],
        },
        events: {
          type: 'string',
          enum: ['auto', 'never'],
          description:
            'Whether the file system is trusted to tell of changes. `auto`: a local one is; a network drive or one in user space is looked at every `poll`. `never`: it is looked at every `poll` in any case.',
          default: 'auto',
          valuesAlsoCalled: { never: ['poll', 'polling', 'off', 'no', 'false'], auto: ['on', 'yes', 'true'] },
          alsoCalled: ['usepolling', 'inotify', 'notify'],
        },
        poll: {
          type: 'string',
          format: 'duration',
          atLeast: '1s',
          atMost: '1d',
          description: 'How often a tree is looked at whose file system is not trusted to tell of changes.',
          default: '30s',
          alsoCalled: ['pollinterval', 'polling', 'pollevery'],
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

export const deletesSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'What becomes of files that a run deletes or overwrites, and how many it may delete.',
  default: {},
  whenText: 'deletes has keys: write deletes: { policy: trash }',
  alsoCalled: ['delete', 'deletion', 'deletions', 'remove', 'trash', 'purge', 'guard', 'maxdelete'],
  properties: {
    policy: {
      type: 'string',
      enum: ['trash', 'delete'],
      description:
        'What becomes of a file that is deleted or overwritten. `trash`: it is moved into a dated directory below `.ferryd-trash` on its side. `delete`: it is gone (none: `trash`; in mode `copy`, `delete`).',
      default: null,
      whenValue: {
        never: 'a job that deletes nothing is written mode: copy; here stands trash or delete',
        none: 'a job that deletes nothing is written mode: copy; here stands trash or delete',
      },
      valuesAlsoCalled: {
        trash: ['bin', 'recycle', 'recyclebin', 'backup', 'keep', 'archive'],
        delete: ['remove', 'permanent', 'unlink', 'purge', 'forever'],
      },
      alsoCalled: ['type', 'action', 'how'],
    },
    keep: {
      type: 'string',
      format: 'duration',
      atLeast: '1d',
      atMost: '3650d',
      description: 'How long the trash keeps a file.',
      default: '30d',
      alsoCalled: ['keepfor', 'retention', 'maxage', 'age', 'expire', 'days'],
    },
    extraneous: {
      type: 'boolean',
      description:
        'Whether files of the target that ferryd did not put there, and that are not in the source, are deleted as well. Mode `mirror` only.',
      default: false,
      alsoCalled: ['extra', 'unknown', 'foreign', 'others'],
    },
    limit: {
      type: 'object',
      additionalProperties: false,
      description:
        'How many files a run may delete without asking: the larger of the two counts. A run that would delete more is held until a person approves it.',
      default: {},
      whenText: 'limit has keys: write limit: { percent: 10, files: 100 }',
      alsoCalled: ['limits', 'max', 'maximum', 'maxdelete', 'threshold'],
      properties: {
        percent: {
          type: 'number',
          minimum: 0,
          maximum: 100,
          description: 'Of the files that the job knows, so many in a hundred.',
          default: 10,
          whenText: 'percent is a number without its sign and without quotes, such as 10',
          alsoCalled: ['percentage', 'share', 'ratio'],
        },
        files: {
          type: 'integer',
          minimum: 0,
          maximum: 1_000_000_000,
          description: 'So many files, however few the job knows.',
          default: 100,
          alsoCalled: ['count', 'number', 'absolute'],
        },
      },
    },
  },
} as const;

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
      enum: ['copy', 'mirror', 'move', 'two-way'],
      description:
        'How the two sides relate. `copy`: new and changed files go across, nothing is ever deleted. `mirror`: what is gone from `from` is deleted from `to` too. `move`: what was delivered is removed from `from`. `two-way`: changes and deletions go both ways.',
      default: 'copy',
      whenValue: {
        sync: 'sync is one way to some and both ways to others; write mirror for one way, two-way for both, or copy where nothing may be deleted',
      },
      valuesAlsoCalled: {
        copy: ['oneway', 'backup', 'upload', 'download', 'push', 'pull', 'add', 'update'],
        mirror: ['clone', 'replicate'],
        move: ['mv', 'cut', 'transfer'],
        'two-way': ['bisync', 'bidirectional', 'both', 'twowaysync', 'sync2way', '2way'],
      },
      alsoCalled: ['type', 'action', 'sync', 'strategy', 'operation'],
    },
    compare: {
      type: 'string',
      enum: ['ledger', 'remote', 'checksum'],
      description:
        'By what a file is known to be unchanged. `ledger`: by what ferryd remembers of it; the target is not looked at. `remote`: by the sizes and times of both sides, so that a file is found that is missing or changed in the target. `checksum`: by the content on both sides, which is read in every run.',
      default: 'ledger',
      valuesAlsoCalled: {
        ledger: ['database', 'state', 'cache', 'index', 'memory', 'local'],
        remote: ['listing', 'server', 'size', 'sizeonly', 'mtime', 'time', 'modtime', 'both'],
        checksum: ['hash', 'content', 'contents', 'sha256', 'md5', 'digest', 'bytes'],
      },
      alsoCalled: ['comparison', 'checksum', 'detect', 'detection', 'check', 'changes'],
    },
    conflicts: {
      type: 'string',
      enum: ['newer', 'from', 'to', 'keep-both'],
      description:
        'Which side wins where a file has changed on both since the last run: the one with the later time (`newer`), always `from`, always `to`, or neither: both stay, one of them under a dated name (`keep-both`). Mode `two-way` only.',
      default: 'keep-both',
      valuesAlsoCalled: {
        newer: ['newest', 'latest', 'later', 'recent', 'mtime'],
        from: ['source', 'src', 'first', 'path1'],
        to: ['target', 'destination', 'dest', 'dst', 'second', 'path2'],
        'keep-both': ['both', 'rename', 'copy', 'none', 'neither'],
      },
      alsoCalled: ['conflict', 'onconflict', 'conflictpolicy', 'conflictresolve', 'resolve', 'winner'],
    },
    deletes: deletesSchema,
    marker: {
      type: 'string',
      minLength: 1,
      format: 'marker-path',
      description:
        'A file that has to stand below `from`, in mode `two-way` below the local directory, such as `.mounted`: without it the run is held, for the disk may not be mounted.',
      default: null,
      alsoCalled: ['mounted', 'markerfile', 'mountmarker', 'checkfile', 'checkaccess', 'guardfile'],
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
        'Name of a marker, such as `"{name}.done"`: a file is sent only while its marker stands beside it. `{name}` is the file\'s name, `{stem}` the name without its last ending. Markers themselves are never sent. Push only, and not in mode `two-way`. In quotes.',
      default: null,
      alsoCalled: ['readymarker', 'done', 'donefile', 'flag', 'semaphore', 'sentinel'],
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
      enum: ['skip', 'follow', 'preserve'],
      description:
        'What becomes of symbolic links. `skip`: they stay behind. `follow`: what they lead to goes across under their names, as long as it lies below `from`; a local `from` and modes `copy` and `mirror` only. `preserve`: they are made on the other side as links with the same text; SFTP only.',
      default: 'skip',
      valuesAlsoCalled: {
        skip: ['ignore', 'no', 'false', 'off', 'exclude'],
        follow: ['dereference', 'resolve', 'copylinks', 'yes', 'true'],
        preserve: ['keep', 'links', 'aslinks', 'symlink', 'copy', 'portable'],
      },
      alsoCalled: ['symlinks', 'symboliclinks', 'followlinks', 'followsymlinks'],
    },
    emptyDirectories: {
      type: 'string',
      enum: ['keep', 'skip'],
      description:
        'What becomes of directories without a file that goes across: they are made on the other side as well, and go with those of the source (`keep`), or directories are made only where a file goes into them (`skip`).',
      default: 'skip',
      valuesAlsoCalled: {
        keep: ['true', 'yes', 'on', 'create', 'make', 'include', 'preserve'],
        skip: ['false', 'no', 'off', 'ignore', 'exclude', 'leave'],
      },
      alsoCalled: ['emptydirs', 'emptyfolders', 'empty', 'directories', 'createemptysrcdirs'],
    },
    names: {
      type: 'string',
      enum: ['skip', 'encode'],
      description:
        'What becomes of a name that the other side cannot hold, or that differs from another in upper and lower case or in Unicode form alone where the other side takes the two for one. `skip`: it is told, and stays behind. `encode`: it goes across with the trouble written as `%` and two digits.',
      default: 'skip',
      valuesAlsoCalled: {
        skip: ['ignore', 'leave', 'report'],
        encode: ['escape', 'percent', 'replace', 'rename', 'sanitize', 'translate'],
      },
      alsoCalled: ['naming', 'filenames', 'encode', 'escape', 'characters'],
    },
    timezone: {
      type: 'string',
      format: 'timezone',
      description:
        "Time zone of `{date}` and `{mtime}` in the target's path, such as `Europe/Berlin` (none: the machine's). A schedule has its own.",
      default: null,
      alsoCalled: ['tz', 'zone'],
    },
    retries: retriesSchema,
    before: beforeSchema,
    after: afterSchema,
    expect: expectSchema,
    ping: pingSchema,
    notify: {
      ...notifySchema,
      description:
        'Who is told of this job, in place of those in agent.yaml: a list of channels; `[]` for nobody (none: those in agent.yaml).',
      default: null,
    },
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
        files: {
          type: 'string',
          enum: ['show', 'hide'],
          description:
            'Whether each file that went across, or was deleted, has a line of its own at `info`. Trouble with a file is told in any case.',
          default: 'show',
          valuesAlsoCalled: { show: ['true', 'yes', 'on', 'each'], hide: ['false', 'no', 'off', 'none'] },
          alsoCalled: ['eachfile', 'perfile', 'transfers'],
        },
        file: {
          type: 'object',
          additionalProperties: false,
          required: ['path'],
          description: 'A file that the daemon logs to as well, in JSON lines (none: no file).',
          default: null,
          whenMissing: { path: 'say which file: path: /var/log/ferryd/ferryd.log' },
          whenText: 'the log file has keys: write file: { path: /var/log/ferryd/ferryd.log }',
          alsoCalled: ['logfile', 'to', 'output'],
          properties: {
            path: {
              type: 'string',
              format: 'path-text',
              minLength: 1,
              description: "Where it lies; relative to this file's directory.",
              alsoCalled: ['name', 'filename'],
            },
            size: {
              type: 'string',
              format: 'size',
              description: 'A new file is begun when this one is so large.',
              default: '10M',
              alsoCalled: ['maxsize', 'rotatesize'],
            },
            age: {
              type: 'string',
              format: 'duration',
              atLeast: '1m',
              atMost: '3650d',
              description: 'A new file is begun when this one is so old.',
              default: '7d',
              alsoCalled: ['maxage', 'rotate', 'interval', 'every'],
            },
            keep: {
              type: 'integer',
              minimum: 1,
              maximum: 1000,
              description: 'How many earlier files are kept.',
              default: 5,
              alsoCalled: ['maxfiles', 'count', 'backups'],
            },
          },
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
    history: {
      type: 'object',
      additionalProperties: false,
      description: 'What the ledger keeps of runs that are over.',
      default: {},
      alsoCalled: ['retention', 'ledger'],
      properties: {
        keep: {
          type: 'string',
          format: 'duration',
          atLeast: '1d',
          atMost: '3650d',
          description:
            "How long runs and their files are kept for `ferryd history`. Each job's last run, and its last good one, stay in any case.",
          default: '90d',
          alsoCalled: ['for', 'maxage', 'days'],
        },
      },
    },
    notify: notifySchema,
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
  channel: FromSchema<typeof channelSchema, Keep>;
  before: FromSchema<typeof beforeSchema, Keep>;
  after: FromSchema<typeof afterSchema, Keep>;
  ping: FromSchema<typeof pingSchema, Keep>;
  expect: FromSchema<typeof expectSchema, Keep>;
}
