/*
 * What every program that takes part is told, and what it answers: how to start it for this piece of work. Ferryd,
 * its peers, and the yardstick (node's own sockets) are contestants alike.
 */
import type { Protocol, Work } from './cases.js';
import type { Invocation } from './measure.js';

/** Name of the directory that is moved, on both sides. */
export const DIRECTORY = 'in';
/** The one file in it, where it is one. */
export const ONE_FILE = 'large.bin';

export interface Harbour {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** What a login begins in, as the server calls it. */
  readonly home: string;
  /** `sha256/...` of the server's certificate, over TLS. */
  readonly pin: string;
  /** Over SFTP: private key, and a line of known_hosts. */
  readonly privateKey: string;
  readonly knownHosts: string;
  readonly hostKey: string;
}

export interface Task {
  readonly work: Work;
  readonly harbour: Harbour;
  /**
   * Directory whose `in` is sent to `in` of the login directory, or the other way. Both are there, and the one that is
   * sent to is empty.
   */
  readonly local: string;
  /** Paths of what is sent, relative to `in`; of a pull, the one file. */
  readonly paths: readonly string[];
  /** Undefined: what is best here. */
  readonly connections: number | undefined;
  /** An empty directory of this run's own: for configuration, and what the program remembers. */
  readonly scratch: string;
}

export interface Contestant {
  readonly name: string;
  /** Only peers count for the ratio; the yardstick is shown beside them. */
  readonly role: 'ferryd' | 'peer' | 'yardstick';
  /** True where this program can do such work at all, with as many connections where a number is told. */
  can(of: Pick<Task, 'work' | 'connections'> & { readonly protocol: Protocol }): boolean;
  /** Writes what it needs into `scratch`, which is not measured, and tells how it is started. */
  prepare(task: Task): Invocation;
}
