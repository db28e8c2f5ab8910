/*
 * The JSON Schema of a server as a person writes it: an entry of servers.yaml, or inline in a job.
 * Source of truth for its keys, limits and defaults; the job reference (jobs/README.md) is held against it.
 * Besides draft 7 it uses `atLeast`/`atMost` (durations), and words for the messages: `alsoCalled`,
 * `valuesAlsoCalled`, `whenText`, `whenMissing`, `whenValue` (shape.ts). `default: null` means that there is none.
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

export const privateKeySchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description:
    "Where the private key for SFTP comes from, in OpenSSH's form or PEM; written like `password`. Its public half stands in `authorized_keys` on the server.",
  default: null,
  whenText:
    'a private key does not stand in this file: write where it comes from, { file: PATH }, { credential: NAME }, { env: NAME } or { command: [PROGRAM, ...] }',
  alsoCalled: ['identityFile', 'identity', 'sshKey', 'key', 'keyFile', 'idRsa', 'pem', 'secretKey'],
  properties: secretProperties,
} as const;

export const keyPassphraseSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description: 'Where the passphrase of an encrypted `privateKey` comes from; written like `password`.',
  default: null,
  whenText: SECRET_WHEN_TEXT,
  alsoCalled: ['keyPassword', 'keyPassphrase', 'privateKeyPassphrase'],
  properties: secretProperties,
} as const;

export const accountSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description:
    'Where the answer comes from to an FTP server that asks for an account besides the password (ACCT); written like `password`.',
  default: null,
  whenText: SECRET_WHEN_TEXT,
  alsoCalled: ['acct'],
  properties: secretProperties,
} as const;

export const keySchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description: 'Where the private key of `certificate` comes from, in PEM; written like `password`.',
  default: null,
  whenText:
    'a private key is a secret: write where it comes from, { file: PATH }, { credential: NAME }, { env: NAME } or { command: [PROGRAM, ...] }',
  alsoCalled: ['privatekey', 'keyfile', 'clientkey'],
  properties: secretProperties,
} as const;

export const passphraseSchema = {
  type: 'object',
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  description: 'Where the passphrase of an encrypted `key` comes from; written like `password`.',
  default: null,
  whenText: SECRET_WHEN_TEXT,
  alsoCalled: ['keypassword', 'keypassphrase', 'password'],
  properties: secretProperties,
} as const;

export const tlsSchema = {
  type: 'object',
  additionalProperties: false,
  description:
    'How the server proves that it is itself, and this machine to the server (`ftpes://` and `ftps://` only).',
  default: {},
  alsoCalled: ['ssl'],
  properties: {
    ca: {
      type: 'string',
      format: 'path-text',
      description:
        "PEM file with the certificate authorities to trust in place of the system's, relative to this file's directory.",
      default: null,
      alsoCalled: ['cafile', 'cacert', 'cabundle', 'authority'],
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
    certificate: {
      type: 'string',
      format: 'path-text',
      description:
        "PEM file with the certificate that this machine shows to a server that asks for one, and behind it those that lead to its authority; relative to this file's directory. Together with `key`.",
      default: null,
      alsoCalled: ['cert', 'certfile', 'clientcertificate', 'clientcert'],
    },
    key: keySchema,
    passphrase: passphraseSchema,
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
      description:
        'For a connection to open, its TLS handshake, or the handshake and login of SSH, included.',
      default: '20s',
    },
    reply: {
      type: 'string',
      format: 'duration',
      atLeast: '100ms',
      atMost: '1h',
      description: 'For the answer to a command or request.',
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
      alsoCalled: ['data', 'idle'],
    },
    transfer: {
      type: 'string',
      format: 'duration',
      atLeast: '1s',
      atMost: '30d',
      description: 'For one file or one listing as a whole, however steadily its bytes move.',
      default: '24h',
      alsoCalled: ['total', 'deadline', 'overall', 'max'],
    },
  },
} as const;

export const activeSchema = {
  type: 'object',
  additionalProperties: false,
  description:
    'Where an FTP server reaches this machine in active mode; needed behind NAT or a firewall only.',
  default: {},
  alsoCalled: ['activemode', 'nat', 'external'],
  properties: {
    address: {
      type: 'string',
      format: 'address',
      description:
        "IPv4 or IPv6 address that the server is told, such as the router's outer one (none: the one that the control connection comes from).",
      default: null,
      alsoCalled: ['ip', 'host', 'externaladdress', 'externalip', 'publicaddress'],
    },
    ports: {
      anyOf: [
        { type: 'string', format: 'port-range' },
        { type: 'integer', minimum: 1024, maximum: 65_535 },
      ],
      description:
        'Ports to listen on, from 1024 to 65535: a range such as `50000-50100`, or one port (none: any that is free). A data connection needs one of its own.',
      default: null,
      alsoCalled: ['port', 'portrange', 'range'],
    },
  },
} as const;

export const serverProperties = {
  url: {
    type: 'string',
    maxLength: 4096,
    description:
      'Protocol, host and port: `sftp://` (SFTP, over SSH, port 22), `ftpes://` (FTP with TLS, port 21), `ftps://` (FTP with TLS from the first byte, port 990) or `ftp://` (no TLS, port 21).',
    alsoCalled: ['host', 'hostname', 'address', 'port', 'uri'],
  },
  user: {
    type: 'string',
    minLength: 1,
    maxLength: 1000,
    format: 'one-line',
    description:
      'Who logs in. May stand in the URL instead: `sftp://backup@nas.example.net` (none: `anonymous` on an FTP server; SFTP needs one).',
    default: null,
    alsoCalled: ['username', 'login'],
  },
  password: passwordSchema,
  privateKey: privateKeySchema,
  passphrase: keyPassphraseSchema,
  agent: {
    anyOf: [{ type: 'boolean' }, { type: 'string', minLength: 1, format: 'agent-socket' }],
    description:
      'Whether the SSH agent is asked for keys: the one that `$SSH_AUTH_SOCK` names (`true`), or the one at this socket (its path). SFTP only.',
    default: false,
    alsoCalled: ['sshAgent', 'useAgent', 'authSock', 'sshAuthSock', 'identityAgent'],
  },
  hostKey: {
    anyOf: [
      { type: 'string', format: 'host-key' },
      { type: 'array', minItems: 1, maxItems: 20, items: { type: 'string', format: 'host-key' } },
    ],
    description:
      'Trust exactly this host key, or one of these, in place of `knownHosts`: `SHA256:` and the base64 that `ssh-keygen -lf` shows. SFTP only.',
    default: null,
    alsoCalled: [
      'hostKeys',
      'fingerprint',
      'fingerprints',
      'hostFingerprint',
      'hostKeyFingerprint',
      'sshFingerprint',
      'serverKey',
    ],
  },
  knownHosts: {
    type: 'string',
    minLength: 1,
    format: 'path-text',
    description:
      "File of trusted host keys, in the form of ssh's `known_hosts`, relative to this file's directory; no other is read then (none: `known_hosts` in this file's directory, `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`). SFTP only.",
    default: null,
    alsoCalled: ['knownHostsFile', 'userKnownHostsFile', 'globalKnownHostsFile', 'hostKeyFile'],
  },
  via: {
    type: 'string',
    format: 'server-entry-name',
    description:
      'Name of another `sftp://` server of servers.yaml, through which the connection goes because this one is not reached directly. SFTP only.',
    default: null,
    alsoCalled: [
      'jump',
      'jumpHost',
      'jumpServer',
      'proxyJump',
      'proxy',
      'bastion',
      'gateway',
      'through',
      'tunnel',
    ],
  },
  account: accountSchema,
  tls: tlsSchema,
  connections: {
    type: 'integer',
    minimum: 1,
    maximum: 32,
    description:
      'How many connections to open at once, at most; all jobs that use this account share them (none: 4, and 2 with SFTP, where many files go over one connection at the same time).',
    default: null,
    alsoCalled: ['maxconnections', 'parallel', 'concurrency'],
  },
  dataConnection: {
    type: 'string',
    enum: ['auto', 'passive', 'active'],
    description:
      'Who opens the data connections of FTP: ferryd (`passive`) or the server (`active`). `auto` finds out what works and remembers it; the others force one.',
    default: 'auto',
    alsoCalled: ['mode', 'passive', 'datamode', 'transfermode'],
  },
  active: activeSchema,
  charset: {
    type: 'string',
    format: 'charset',
    description:
      'In which charset the server writes names, such as `windows-1252`. Nearly all servers of today have `utf-8`.',
    default: 'utf-8',
    alsoCalled: ['encoding', 'codepage', 'characterset'],
  },
  verify: {
    type: 'string',
    enum: ['auto', 'size', 'hash'],
    description:
      'What proves that a file arrived. `auto`: its size, and its hash where the server has a command for one that works. `size`: its size alone, which spares a slow server the reading. `hash`: nothing but a hash; where the server has no such command, as most SFTP servers have not, the file is read back.',
    default: 'auto',
    alsoCalled: ['verification', 'checksum', 'hash', 'check', 'integrity'],
  },
  timeouts: timeoutsSchema,
} as const;

/** One server; `url` has no path here, that belongs to the job. */
export const serverSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['url'],
  description: 'A server with its account, trust and limits; the key is the name that jobs call it by.',
  whenMissing: {
    url: '"url" is missing: write the server, such as url: sftp://nas.example.net or url: ftpes://nas.example.net',
  },
  whenText:
    'a server is written with keys: { url: sftp://HOST, user: NAME, password: { credential: NAME } }, or with ftpes:// for FTP',
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
