/*
 * What a scripted SFTP server may be told about itself: accounts, keys, extensions, limits, and the ways of known
 * servers (`serverLike`). Behaviour that lasts is a setting here; what goes wrong at one moment is a rule in fault.ts.
 */

/** Extensions as VERSION tells them. `check-file` is asked for as `check-file-name` and `check-file-handle`. */
export type Extension =
  | 'posix-rename@openssh.com'
  | 'statvfs@openssh.com'
  | 'fstatvfs@openssh.com'
  | 'hardlink@openssh.com'
  | 'fsync@openssh.com'
  | 'lsetstat@openssh.com'
  | 'limits@openssh.com'
  | 'copy-data'
  | 'check-file';

export type AuthMethod = 'none' | 'password' | 'publickey' | 'keyboard-interactive';

/** One account. A bare string is a password. */
export type Account =
  | string
  | {
      readonly password?: string;
      /** Public keys, each a line as in authorized_keys. */
      readonly keys?: readonly string[];
      /** What keyboard-interactive asks, and what it wants to hear; `Password: ` unless told. */
      readonly questions?: readonly {
        readonly prompt: string;
        readonly answer: string;
        readonly echo?: 'shown' | 'hidden';
      }[];
    };

export interface Limits {
  readonly maxPacketBytes: number;
  readonly maxReadBytes: number;
  readonly maxWriteBytes: number;
  /** 0: without limit, as OpenSSH says it. */
  readonly maxHandles: number;
}

export interface SftpServerOptions {
  /** Directory that is the server's `/`; nothing outside it is ever touched. Must exist. */
  readonly root: string;
  /** Loopback address to listen on; `127.0.0.1` unless told. */
  readonly host?: '127.0.0.1' | '::1';
  /** 0 (a free one) unless told. */
  readonly port?: number;
  /** Accounts by name; `{ ferry: 'secret' }` unless told. */
  readonly users?: Readonly<Record<string, Account>>;
  /**
   * Ways to log in, each a row of methods that must all succeed in that order, as OpenSSH's AuthenticationMethods;
   * `[['publickey'], ['password']]` unless told.
   */
  readonly authentication?: readonly (readonly AuthMethod[])[];
  /** Failed attempts of one connection before it is closed; 6 unless told. */
  readonly maxAttempts?: number;
  /** Private keys in PEM or OpenSSH's form; an ed25519 key that this process made unless told. */
  readonly hostKeys?: readonly string[];
  /** Directory after the login, absolute on the server; made where it is missing. `/home/ferry` unless told. */
  readonly home?: string;
  /** The server's identification behind `SSH-2.0-`; `Scripted_1.0` unless told. */
  readonly software?: string;
  /** What SSH_MSG_USERAUTH_BANNER says before the login. */
  readonly banner?: string;
  /** The version that VERSION tells; 3 unless told. */
  readonly version?: number;
  /** What stands on the channel before VERSION, as from a login script that prints. */
  readonly noise?: string | Uint8Array;
  /** Switches extensions on or off; all are on but `copy-data` and `check-file`. */
  readonly extensions?: Readonly<Partial<Record<Extension, boolean>>>;
  /** Other pairs that VERSION tells. */
  readonly otherExtensions?: Readonly<Record<string, string>>;
  readonly limits?: Partial<Limits>;
  /** Digests that check-file knows, as VERSION tells them; `md5,sha1,sha224,sha256,sha384,sha512,crc32` unless told. */
  readonly digests?: string;
  /** SFTP sessions at once on one connection; one more channel is refused. */
  readonly maxSessions?: number;
  /** TCP connections at once. */
  readonly maxConnections?: number;
  /** What becomes of one more: closed before a word (`connect`, as OpenSSH's MaxStartups), or after the login. */
  readonly tooManyAt?: 'connect' | 'login';
  /** Whatever changes something is refused with PERMISSION_DENIED. */
  readonly readOnly?: boolean;
  /** As ftp-server's: `bytes`, or a name is taken for one that differs in case or Unicode form, or made Unicode. */
  readonly names?: 'bytes' | 'caseless' | 'formless' | 'unicode';
  /** What RENAME does with a target that stands: v3 refuses (the default); some servers replace it. */
  readonly rename?: 'refuses' | 'overwrites' | 'unsupported';
  /** In which order SYMLINK has its paths: `openssh` (target first) unless told, or as the `draft` has it. */
  readonly symlink?: 'openssh' | 'draft' | 'unsupported';
  /** What becomes of times and permissions that are set: `set` unless told; `ignored` confirms and does nothing. */
  readonly times?: 'set' | 'refused' | 'unsupported' | 'ignored';
  readonly modes?: 'set' | 'refused' | 'unsupported' | 'ignored';
  /** What a listing tells of its entries: all, no types (`longname` alone has them), or names alone. */
  readonly listing?: 'attributes' | 'longname' | 'names';
  /** Whether a listing has `.` and `..`; `shown` unless told. */
  readonly dots?: 'shown' | 'hidden';
  /** Entries of one NAME answer; 100 unless told. */
  readonly entriesPerAnswer?: number;
  /**
   * `strict`: one request after the other. `go`: reads and writes are overtaken by everything else but CLOSE, and
   * answers keep the order of the requests. `shuffled`: what arrived together is answered in reverse.
   */
  readonly order?: 'strict' | 'go' | 'shuffled';
  /** Content that fits onto the disk; without limit unless told. */
  readonly capacityBytes?: number;
  /** The status of a WRITE that does not fit: 4 (as OpenSSH), 14 or 15. */
  readonly fullStatus?: 4 | 14 | 15;
  /** Every request waits so long before it is executed; 0 unless told. */
  readonly delayMs?: number;
  /** Connections to others through this server (direct-tcpip); refused unless `allowed`. */
  readonly forwarding?: 'allowed' | 'refused';
  /** Whether the SFTP subsystem is there; `sftp` unless told. */
  readonly subsystem?: 'sftp' | 'none';
}

/** Options with every gap filled. */
export interface Settings
  extends Required<
    Omit<SftpServerOptions, 'extensions' | 'limits' | 'banner' | 'noise' | 'hostKeys' | 'capacityBytes'>
  > {
  readonly extensions: Readonly<Record<Extension, boolean>>;
  readonly limits: Limits;
  readonly banner: string | undefined;
  readonly noise: string | Uint8Array | undefined;
  readonly hostKeys: readonly string[] | undefined;
  readonly capacityBytes: number;
}

const allExtensions: Readonly<Record<Extension, boolean>> = {
  'posix-rename@openssh.com': true,
  'statvfs@openssh.com': true,
  'fstatvfs@openssh.com': true,
  'hardlink@openssh.com': true,
  'fsync@openssh.com': true,
  'lsetstat@openssh.com': true,
  'limits@openssh.com': true,
  'copy-data': false,
  'check-file': false,
};

const noExtensions = Object.fromEntries(Object.keys(allExtensions).map((name) => [name, false]));

/** What VERSION tells of each. */
export const EXTENSION_DATA: Readonly<Record<Extension, string>> = {
  'posix-rename@openssh.com': '1',
  'statvfs@openssh.com': '2',
  'fstatvfs@openssh.com': '2',
  'hardlink@openssh.com': '1',
  'fsync@openssh.com': '1',
  'lsetstat@openssh.com': '1',
  'limits@openssh.com': '1',
  'copy-data': '1',
  'check-file': '',
};

/**
 * Fills the gaps.
 *
 * @throws Error where `home` is not absolute
 */
export function settle(options: SftpServerOptions): Settings {
  const home = options.home ?? '/home/ferry';
  if (!home.startsWith('/')) throw new Error(`home is absolute on the server, not ${JSON.stringify(home)}`);
  return {
    root: options.root,
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    users: options.users ?? { ferry: 'secret' },
    authentication: options.authentication ?? [['publickey'], ['password']],
    maxAttempts: options.maxAttempts ?? 6,
    hostKeys: options.hostKeys,
    home,
    software: options.software ?? 'Scripted_1.0',
    banner: options.banner,
    version: options.version ?? 3,
    noise: options.noise,
    extensions: { ...allExtensions, ...options.extensions },
    otherExtensions: options.otherExtensions ?? {},
    // As OpenSSH 9 tells them.
    limits: {
      maxPacketBytes: 262_144,
      maxReadBytes: 261_120,
      maxWriteBytes: 261_120,
      maxHandles: 1019,
      ...options.limits,
    },
    digests: options.digests ?? 'md5,sha1,sha224,sha256,sha384,sha512,crc32',
    maxSessions: options.maxSessions ?? Number.POSITIVE_INFINITY,
    maxConnections: options.maxConnections ?? Number.POSITIVE_INFINITY,
    tooManyAt: options.tooManyAt ?? 'connect',
    readOnly: options.readOnly ?? false,
    names: options.names ?? 'bytes',
    rename: options.rename ?? 'refuses',
    symlink: options.symlink ?? 'openssh',
    times: options.times ?? 'set',
    modes: options.modes ?? 'set',
    listing: options.listing ?? 'attributes',
    dots: options.dots ?? 'shown',
    entriesPerAnswer: options.entriesPerAnswer ?? 100,
    order: options.order ?? 'strict',
    capacityBytes: options.capacityBytes ?? Number.POSITIVE_INFINITY,
    fullStatus: options.fullStatus ?? 4,
    delayMs: options.delayMs ?? 0,
    forwarding: options.forwarding ?? 'refused',
    subsystem: options.subsystem ?? 'sftp',
  };
}

type Like = 'openssh' | 'old-openssh' | 'proftpd' | 'go' | 'plain' | 'windows';

/** The ways of known servers, to be spread into the options: `{ root, ...serverLike('proftpd') }`. */
export function serverLike(name: Like): Omit<SftpServerOptions, 'root'> {
  return likes[name];
}

const likes: Readonly<Record<Like, Omit<SftpServerOptions, 'root'>>> = {
  openssh: {
    software: 'OpenSSH_9.2p1 Debian-2',
    extensions: { 'copy-data': true },
    otherExtensions: { 'expand-path@openssh.com': '1' },
  },
  'old-openssh': {
    software: 'OpenSSH_5.3',
    extensions: {
      ...noExtensions,
      'posix-rename@openssh.com': true,
      'statvfs@openssh.com': true,
      'fstatvfs@openssh.com': true,
    },
    limits: { maxPacketBytes: 262_144, maxReadBytes: 65_536 },
  },
  proftpd: {
    software: 'mod_sftp',
    extensions: { 'limits@openssh.com': false, 'lsetstat@openssh.com': false, 'check-file': true },
    rename: 'overwrites',
  },
  go: {
    software: 'Go',
    order: 'go',
    extensions: {
      ...noExtensions,
      'posix-rename@openssh.com': true,
      'statvfs@openssh.com': true,
      'hardlink@openssh.com': true,
    },
    limits: { maxReadBytes: 32_768 },
    dots: 'hidden',
  },
  /** The draft of version 3 and nothing else, with the 34 000 bytes that it promises, and its order of names. */
  plain: {
    software: 'Plain',
    extensions: noExtensions,
    limits: { maxPacketBytes: 34_000, maxReadBytes: 32_768 },
    symlink: 'draft',
  },
  windows: {
    software: '8.43 FlowSsh: Bitvise SSH Server (WinSSHD)',
    extensions: { ...noExtensions, 'posix-rename@openssh.com': true },
    names: 'caseless',
    modes: 'ignored',
    symlink: 'unsupported',
  },
};
