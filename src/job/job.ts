/*
 * The resolved form of what a person writes: every default filled in, every unit turned into a number, every
 * path absolute, every server looked up. The rest of the house knows jobs only in this form.
 * Types alone; schema.ts has the written form, load.ts turns the one into the other.
 */

/** One job file, ready to run. */
export interface Job {
  /** The file's name without `.yaml`. */
  readonly name: string;
  /** Absolute path of the job file. */
  readonly file: string;
  readonly description: string;
  /**
   * `copy`: new and changed files go across, nothing is deleted. `mirror`: what is gone in the source goes from the
   * target too. `move`: what was delivered is removed from the source. `two-way`: each side gets what is new on the
   * other; which of them is `from` matters to `conflicts` alone.
   */
  readonly mode: 'copy' | 'mirror' | 'move' | 'two-way';
  /** `push`: from this machine to the server. `pull`: from the server to this machine. By the place of `from`. */
  readonly direction: 'push' | 'pull';
  /**
   * Absolute path of the local directory. Of a pull, and in mode two-way, a template (template.ts) that can be
   * parsed; of any other push it is taken as it stands, braces and all.
   */
  readonly local: string;
  readonly server: Server;
  /** Its path is a template in a push, and in mode two-way; as `local` is in a pull. */
  readonly remotePath: RemotePath;
  /** Empty where a person starts the job by hand. */
  readonly triggers: readonly TriggerSpec[];
  /** Glob patterns relative to the source directory; a file must match one of them. */
  readonly include: readonly string[];
  /** Glob patterns relative to the source directory; a file that matches one stays behind. */
  readonly exclude: readonly string[];
  /** What has to stand beside a file before it is sent; undefined where nothing has to. Of a push only. */
  readonly ready: ReadyMarker | undefined;
  /** `keep`: a file has the permissions of its source on the other side, where that can be. */
  readonly permissions: 'keep' | 'leave';
  /** What becomes of names that begin with a dot, be it a file's or a directory's above it. */
  readonly hidden: 'include' | 'skip';
  /** Sizes of the files that go across, both ends included; undefined means no limit. */
  readonly size: { readonly minBytes: number | undefined; readonly maxBytes: number | undefined };
  /** Their ages at the run's start, by modification time, both ends included; undefined means no limit. */
  readonly age: { readonly minMs: number | undefined; readonly maxMs: number | undefined };
  /** What becomes of symbolic links. `follow`: of those in a local source; `preserve`: they stay links, over SFTP. */
  readonly links: 'skip' | 'follow' | 'preserve';
  /** By what a file is known to be unchanged. */
  readonly compare: Compare;
  /** Who wins where both sides have changed; of mode two-way only, and `keep-both` in all others. */
  readonly conflicts: Conflicts;
  readonly deletes: Deletes;
  /**
   * Path of a file below the source (in mode two-way: below the local side), components joined by `/`, that has to
   * stand there, else the run is held; undefined where nothing has to.
   */
  readonly marker: string | undefined;
  /** Whether a directory without a file in it goes across as well. */
  readonly emptyDirectories: 'keep' | 'skip';
  /** What becomes of a name that the target cannot hold: reported and skipped, or written another way. */
  readonly names: 'skip' | 'encode';
  /** IANA name, for {date} and {mtime} in the target's path; undefined means the time zone of the machine. */
  readonly timezone: string | undefined;
  readonly retries: Retries;
  /** Run ahead of everything that looks at the source; undefined where there is none. */
  readonly before: Hook | undefined;
  /** Run behind everything; undefined where there is none. */
  readonly after: AfterHook | undefined;
  readonly expect: Expectation;
  /** What is asked at the start and the end of each run; undefined where nothing is. */
  readonly ping: Ping | undefined;
  /** Who is told of the job, in place of the agent's channels; undefined means those. */
  readonly notify: readonly Channel[] | undefined;
}

/** A command of a job. */
export interface Hook {
  /** Program and arguments. What was written as one text is handed to a shell. */
  readonly argv: readonly string[];
  readonly timeLimitMs: number;
  /** `fail`: a hook that fails makes the run fail. `ignore`: it is told, and the run goes on. */
  readonly onFailure: 'fail' | 'ignore';
}

export interface AfterHook extends Hook {
  /** Behind which runs; a partial run is no success. */
  readonly when: 'always' | 'success' | 'failure';
}

/** What has to hold of a job, or somebody is told. */
export interface Expectation {
  /** A run has to end well at least so often; undefined where nothing is expected. */
  readonly freshnessMs: number | undefined;
}

/** A URL that may be a secret by itself. */
export type UrlSource = { readonly kind: 'text'; readonly url: string } | SecretSource;

/** A dead-man service: it is told that runs start and end, and raises the alarm itself where it is not. */
export interface Ping {
  readonly start: UrlSource | undefined;
  readonly success: UrlSource | undefined;
  readonly failure: UrlSource | undefined;
  /** `yes`: `/start` and `/fail` are put behind the URLs of start and failure. */
  readonly suffixed: 'yes' | 'no';
}

/** What somebody can be told of. */
export type Topic = 'failure' | 'recovery' | 'overdue' | 'held' | 'partial' | 'configuration';

/** Who is told, and of what. */
export type Channel = { readonly on: readonly Topic[]; readonly timeLimitMs: number } & (
  | {
      readonly kind: 'webhook';
      readonly url: UrlSource;
      /** What the message is signed with. */
      readonly key: SecretSource | undefined;
    }
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | {
      readonly kind: 'mail';
      /** Addresses, never none. */
      readonly to: readonly string[];
      readonly from: string;
      readonly host: string;
      readonly port: number;
      /** `starttls`: TLS is asked for and has to come. `implicit`: TLS from the first byte. */
      readonly security: 'plain' | 'starttls' | 'implicit';
      readonly user: string | undefined;
      readonly password: SecretSource | undefined;
    }
);

/**
 * `ledger`: by the ledger alone, the target is not looked at. `remote`: by the sizes and times that both sides show.
 * `checksum`: by the content of both.
 */
export type Compare = 'ledger' | 'remote' | 'checksum';

/** `newer`: the later modification time. `from`, `to`: always that side. `keep-both`: both stay, one of them renamed. */
export type Conflicts = 'newer' | 'from' | 'to' | 'keep-both';

/** What becomes of files that are deleted or overwritten, and how many may be. */
export interface Deletes {
  /** `trash`: they are moved into a dated directory. `delete`: they are gone. */
  readonly policy: 'trash' | 'delete';
  /** How long they stay in the trash. */
  readonly keepMs: number;
  /** True where files go that ferryd never put there; of mode mirror only. */
  readonly extraneous: boolean;
  /** A run that would delete more than the larger of the two is held. */
  readonly limit: { readonly percent: number; readonly files: number };
}

/** The name of a ready marker: `before`, then the file's name or what its `part` says, then `behind`. */
export interface ReadyMarker {
  readonly before: string;
  /** `name`: the file's whole name. `stem`: the name without its last ending. */
  readonly part: 'name' | 'stem';
  /** Together with `before` never empty, so that no file is its own marker for want of words. */
  readonly behind: string;
}

export interface Retries {
  /** How often one thing is tried in all, the first time included. */
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

/** A directory on a server. */
export interface RemotePath {
  /**
   * Components joined by `/`, without a trailing slash, `.`, `..` or empty components. A relative path (`dumps/db`)
   * counts from the login directory and is `''` for that directory itself; an absolute one begins with `/`
   * and is `/` for the server's root.
   */
  readonly path: string;
  readonly absolute: boolean;
}

/** What starts a job. */
export type TriggerSpec =
  | {
      readonly kind: 'cron';
      /** Five fields, or six with seconds first. */
      readonly expression: string;
      /** IANA name; undefined means the time zone of the machine. */
      readonly timezone: string | undefined;
      /** What becomes of a schedule that passed while nobody was there to run it. */
      readonly missed: 'run-once' | 'skip';
      /** Each run is put off by a part of this; 0 for none. */
      readonly jitterMs: number;
    }
  | {
      readonly kind: 'watch';
      /** How long the directory has to be quiet before a run. */
      readonly settleMs: number;
      /** How often everything is looked at again, whatever the watcher said. */
      readonly rescanMs: number;
      /** `auto`: by the type of the file system. `never`: its events are not trusted, and it is polled. */
      readonly events: 'auto' | 'never';
      /** How often a tree is looked at whose events are not trusted. */
      readonly pollMs: number;
    };

/** What every server has, whatever protocol it speaks. */
interface ServerBase {
  /** Its name in servers.yaml, or its host where a job describes it inline. */
  readonly name: string;
  /** Host name in ASCII, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: SecretSource | undefined;
  /** Connections at once, shared by all jobs that use this account. */
  readonly connections: number;
  /** In which names travel: a label of charset.ts, in lower case. */
  readonly charset: string;
  /**
   * What proves that a file arrived. `size`: its size alone. `hash`: nothing less than a hash, and where the server
   * has no command for one, the file is read back. `auto`: its size, and a hash where the server can tell one.
   */
  readonly verify: 'auto' | 'size' | 'hash';
  readonly timeouts: ServerTimeouts;
}

export interface FtpServer extends ServerBase {
  readonly protocol: 'ftp';
  /** `plain`: no TLS. `explicit`: TLS asked for by AUTH TLS. `implicit`: TLS from the first byte. */
  readonly security: 'plain' | 'explicit' | 'implicit';
  /** The answer to a server that asks for an account (332). */
  readonly account: SecretSource | undefined;
  readonly tls: ServerTls;
  /** Who opens the data connections; `auto`: what works is found out. */
  readonly dataConnection: 'auto' | 'passive' | 'active';
  readonly active: ServerActive;
}

export interface SftpServer extends ServerBase {
  readonly protocol: 'sftp';
  /** Where the private key is read from, in OpenSSH's own form or PEM. */
  readonly privateKey: SecretSource | undefined;
  /** What an encrypted private key is opened with. */
  readonly passphrase: SecretSource | undefined;
  /** The agent that is asked for keys; undefined: none. */
  readonly agent: SshAgent | undefined;
  /** `SHA256:` and base64: the host keys to trust. Where there is one, known_hosts is not read. */
  readonly hostKeys: readonly string[];
  /** Absolute paths of known_hosts files, not all of which need to be there. `ferryd trust` writes the first. */
  readonly knownHosts: readonly [string, ...string[]];
  /** The server that the connection goes through; undefined: none. */
  readonly via: SftpServer | undefined;
}

/** `environment`: the socket that $SSH_AUTH_SOCK names. */
export type SshAgent = { readonly kind: 'environment' } | { readonly kind: 'socket'; readonly path: string };

/** A server with its account, trust and limits. */
export type Server = FtpServer | SftpServer;

/** Where the server reaches this machine in active mode. */
export interface ServerActive {
  /** IPv4 or IPv6 address to tell the server; undefined means the control connection's own. */
  readonly address: string | undefined;
  /** Ports to listen on, both ends included; undefined means any free one. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
}

export interface ServerTls {
  /** Absolute path of a PEM file with the authorities to trust in place of the system's. */
  readonly caFile: string | undefined;
  /** `sha256/` and the base64 of the SHA-256 of the certificate's public key (SubjectPublicKeyInfo). */
  readonly pin: string | undefined;
  /** False only where a person switched the check of the certificate off. */
  readonly verify: boolean;
  /** Name to ask for and to find in the certificate; undefined means the host. */
  readonly serverName: string | undefined;
  /** Absolute path of a PEM file with the certificate that this machine shows; there is a key exactly where it is. */
  readonly certificateFile: string | undefined;
  /** Where the certificate's private key is read from, PEM. */
  readonly key: SecretSource | undefined;
  /** What an encrypted key is opened with. */
  readonly passphrase: SecretSource | undefined;
}

export interface ServerTimeouts {
  /** For the TCP connection and the TLS handshake. */
  readonly connectMs: number;
  /** For one reply. */
  readonly replyMs: number;
  /** For a data connection on which no byte moves. */
  readonly stallMs: number;
  /** For one file or listing as a whole. */
  readonly transferMs: number;
}

/** Where a secret is read from when a run needs it; secret.ts reads it. */
export type SecretSource =
  | { readonly kind: 'credential'; readonly name: string }
  | { readonly kind: 'env'; readonly name: string }
  /** `path` is absolute. */
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'command'; readonly argv: readonly string[] };

/** Settings of the daemon (agent.yaml). */
export interface AgentSettings {
  readonly log: {
    readonly level: 'error' | 'warn' | 'info' | 'debug';
    /** Whether each file that went across has a line of its own at `info`. */
    readonly files: 'show' | 'hide';
    /** Undefined where there is no log file. */
    readonly file: LogFile | undefined;
  };
  /** How long a stop may take before what is in flight is cut off. */
  readonly stop: { readonly withinMs: number };
  /** How many jobs run at the same time. */
  readonly runsAtOnce: number;
  /** How long runs and their files stay in the ledger. */
  readonly history: { readonly keepMs: number };
  /** Who is told of jobs that say nothing about it themselves. */
  readonly notify: readonly Channel[];
}

/** A log file, and when it is put aside for a new one. */
export interface LogFile {
  /** Absolute. */
  readonly path: string;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  /** How many that were put aside are kept. */
  readonly keep: number;
}
