/*
 * The JSON Schema of a server as a person writes it: an entry of servers.yaml, or inline in a job.
 * Source of truth for its keys, limits and defaults; the job reference (jobs/README.md) is held against it.
 * Besides draft 7 it uses `atLeast`/`atMost` (durations), and words for the messages: `alsoCalled`,
 * `notYet`, `whenText`, `whenMissing` (shape.ts). `default: null` means that there is none.
 */

/** Where a secret comes from; the secret itself never stands in a file of ours. */
const secretProperties = {
  credential: {
    type: 'string',
    format: 'credential-name',
    description: 'Name of a systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`.',
    default: null,
  },
  env: {
    type: 'string',
    format: 'environment-name',
    description: 'Name of an environment variable.',
    default: null,
  },
  file: {
    type: 'string',
    format: 'path-text',
    description:
      "Path of a file that only its owner may read (`chmod 600`), relative to this file's directory. One newline at its end is dropped.",
    default: null,
  },
  command: {
    type: 'array',
    items: { type: 'string', maxLength: 4096 },
    minItems: 1,
    maxItems: 100,
    description:
      'Program and arguments, run without a shell for at most 10 seconds; what it prints is the secret. One newline at its end is dropped.',
    default: null,
  },
} as const;

const SECRET_WHEN_TEXT =
  'a secret does not stand in this file: write { credential: NAME }, { env: NAME }, { file: PATH } or { command: [PROGRAM, ...] }';

export const passwordSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description: 'Where the password comes from: exactly one of `credential`, `env`, `file`, `command`.',
  default: null,
  whenText: SECRET_WHEN_TEXT,
  alsoCalled: ['pass', 'passwd', 'pwd', 'secret'],
  properties: secretProperties,
} as const;

export const accountSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description:
    'Where the answer comes from to a server that asks for an account besides the password (ACCT); written like `password`.',
  default: null,
  whenText: SECRET_WHEN_TEXT,
  alsoCalled: ['acct'],
  properties: secretProperties,
} as const;

export const tlsSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'How the server proves that it is itself (`ftpes://` and `ftps://` only).',
  default: {},
  alsoCalled: ['ssl'],
  properties: {
    ca: {
      type: 'string',
      format: 'path-text',
      description:
        "PEM file with the certificate authorities to trust in place of the system's, relative to this file's directory.",
      default: null,
      alsoCalled: ['cafile', 'cacert', 'certificate', 'cert'],
    },
    pin: {
      type: 'string',
      format: 'pin',
      description:
        'Trust exactly this public key, whoever signed its certificate: `sha256/` and the base64 of the SHA-256 of its SubjectPublicKeyInfo. In place of `ca`.',
      default: null,
      alsoCalled: ['fingerprint', 'pinnedpubkey'],
    },
    verify: {
      type: 'boolean',
      description:
        'Whether the certificate is checked. `false` lets anybody on the way play the server; it is warned about at every load.',
      default: true,
      alsoCalled: ['verifycertificate', 'rejectunauthorized'],
    },
    serverName: {
      type: 'string',
      format: 'server-name',
      description:
        'Host name to ask for and to find in the certificate, where it is not the host of the URL (none: the host of the URL).',
      default: null,
      alsoCalled: ['sni', 'hostname'],
    },
  },
} as const;

export const timeoutsSchema = {
  type: 'object',
  additionalProperties: false,
  description: 'How long to wait for the server.',
  default: {},
  alsoCalled: ['timeout'],
  properties: {
    connect: {
      type: 'string',
      format: 'duration',
      atLeast: '100ms',
      atMost: '10m',
      description: 'For a connection to open, its TLS handshake included.',
      default: '20s',
    },
    reply: {
      type: 'string',
      format: 'duration',
      atLeast: '100ms',
      atMost: '1h',
      description: 'For the answer to a command.',
      default: '60s',
      alsoCalled: ['command', 'response', 'control'],
    },
    stall: {
      type: 'string',
      format: 'duration',
      atLeast: '100ms',
      atMost: '1h',
      description: 'For a transfer in which no byte moves.',
      default: '60s',
      alsoCalled: ['data', 'idle', 'transfer'],
    },
  },
} as const;

export const serverProperties = {
  url: {
    type: 'string',
    maxLength: 4096,
    description:
      'Protocol, host and port: `ftpes://` (FTP with TLS, port 21), `ftps://` (TLS from the first byte, port 990) or `ftp://` (no TLS, port 21).',
    alsoCalled: ['host', 'hostname', 'address', 'port', 'uri'],
  },
  user: {
    type: 'string',
    minLength: 1,
    maxLength: 1000,
    format: 'one-line',
    description: 'Who logs in. May stand in the URL instead: `ftpes://backup@nas.example.net`.',
    default: 'anonymous',
    alsoCalled: ['username', 'login'],
  },
  password: passwordSchema,
  account: accountSchema,
  tls: tlsSchema,
  connections: {
    type: 'integer',
    minimum: 1,
    maximum: 32,
    description: 'How many connections to open at once, at most; all jobs that use this account share them.',
    default: 4,
    alsoCalled: ['maxconnections', 'parallel', 'concurrency'],
  },
  dataConnection: {
    type: 'string',
    enum: ['auto', 'passive'],
    description:
      'Who opens the data connections. Both values mean that ferryd does (passive mode: EPSV, else PASV); `auto` leaves the choice to later versions.',
    default: 'auto',
    notYet: {
      active:
        'active mode is not in this version, which has only passive mode; take the key away, or write auto or passive',
    },
    alsoCalled: ['mode', 'passive', 'active'],
  },
  timeouts: timeoutsSchema,
} as const;

const SFTP_KEY = 'belongs to SFTP, which is not in this version; use an ftpes://, ftps:// or ftp:// server';

/** Keys of a later version, with what to say about them today. */
export const serverKeysNotYet = {
  privateKey: SFTP_KEY,
  knownHosts: SFTP_KEY,
  hostKey: SFTP_KEY,
} as const;

/** One server; `url` has no path here, that belongs to the job. */
export const serverSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  description: 'A server with its account, trust and limits; the key is the name that jobs call it by.',
  whenMissing: { url: '"url" is missing: write the server, such as url: ftpes://nas.example.net' },
  notYetKeys: serverKeysNotYet,
  whenText:
    'a server is written with keys: { url: ftpes://HOST, user: NAME, password: { credential: NAME } }',
  properties: serverProperties,
} as const;

/** What to say where a file's content is one text. */
export const KEY_VALUE_LINES =
  'the file must hold lines of the form "key: value", with a space behind the colon';

/** servers.yaml: names and servers. */
export const serversSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'servers.yaml',
  type: 'object',
  description: 'The servers that jobs share, by name.',
  whenText: KEY_VALUE_LINES,
  propertyNames: { type: 'string', format: 'server-entry-name' },
  additionalProperties: serverSchema,
} as const;
