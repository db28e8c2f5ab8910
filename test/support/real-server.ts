/*
 * Real servers for tests: finding them, saying loudly where one is missing, and running one as a child process with
 * its own directory, on a free port, in the foreground, as whoever runs the tests. What is particular to a server
 * stands in servers/. Nothing of the system's own configuration is read or changed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readdirSync } from 'node:fs';
import { lchown, mkdir, open, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'vitest';
import type { KeyAndCertificate } from './ftp-server/settings.js';
import { type Command, loopback, type Place, runAt } from './place.js';
import { type TemporaryDirectory, temporaryDirectory } from './temporary.js';

const startMs = 10_000;
const attempts = 5;
const outputFile = 'output.log';
/** In /proc/net/tcp. */
const listening = '0A';

/** What a suite may ask for: the file that proves it is there, and the Debian packages it comes in. */
const known = {
  vsftpd: { proof: ['vsftpd'], debian: 'vsftpd', rootOnly: false },
  proftpd: { proof: ['proftpd'], debian: 'proftpd-core proftpd-mod-crypto', rootOnly: false },
  // Its sessions take on the account's user id in any case, and it has no account with the id 0.
  'pure-ftpd': { proof: ['pure-ftpd'], debian: 'pure-ftpd', rootOnly: true },
  pyftpdlib: {
    proof: ['python3', 'pyftpdlib/servers.py'],
    debian: 'python3-pyftpdlib python3-openssl',
    rootOnly: false,
  },
  openssh: {
    proof: ['ssh-keygen', 'sftp-server', 'sshd'],
    debian: 'openssh-server openssh-sftp-server openssh-client',
    rootOnly: false,
  },
  'mod-sftp': {
    proof: ['ssh-keygen', 'mod_sftp.so', 'proftpd'],
    debian: 'proftpd-core proftpd-mod-crypto openssh-client',
    rootOnly: false,
  },
} as const;

type AnyServer = keyof typeof known;
/** Those that speak SFTP. */
export type SshServerName = 'openssh' | 'mod-sftp';
/** Those that speak FTP. */
export type ServerName = Exclude<AnyServer, SshServerName>;

/** What every real server can be told. */
export interface ServerOptions {
  /** `loopback` unless told; `loopback6` is ::1, and a link's ends are places too. */
  readonly at?: Place;
  /** `plain` unless told. */
  readonly security?: 'plain' | 'explicit' | 'implicit';
  /** True: login and data are refused without TLS, which is how a public server would stand. */
  readonly requireTls?: boolean;
  /** The newest TLS version that it speaks; all that its OpenSSL knows unless told. */
  readonly maxTls?: 'TLSv1.2' | 'TLSv1.3';
  /** The process's `good` certificate unless told. */
  readonly certificate?: KeyAndCertificate;
  /** Existing directory that the login begins in; unset makes one that goes with the server. */
  readonly root?: string;
  /** `secret` unless told. No line ends. */
  readonly password?: string;
  /** Sessions at once; what one more hears stands in the server's own file. */
  readonly maxClients?: number;
}

/** A real server that runs. */
export interface RealServer extends AsyncDisposable {
  readonly name: AnyServer;
  readonly host: string;
  readonly port: number;
  /** Directory on disk that a login begins in. */
  readonly root: string;
  /** The same directory as PWD tells it. */
  readonly home: string;
  readonly user: string;
  readonly password: string;
  /** Process id of the server; its children share its process group. */
  readonly pid: number;
  /** What the server logged so far, its standard output and error included. */
  log(): Promise<string>;
  /**
   * Gives everything in `root` to the user that the server works as: to be called once the test has put files there
   * itself. Matters for Pure-FTPd only, the others work as whoever runs the tests.
   */
  adopt(): Promise<void>;
  /** Ends the server with all its sessions, and removes what was made for it. Safe to call twice. */
  stop(): Promise<void>;
}

/** Directory that `.ci/servers` unpacks into. */
export function unpackedTree(): string {
  return process.env.FERRYD_SERVERS ?? resolve(import.meta.dirname, '../../.servers');
}

/**
 * Path of what a server needs to run: its binary, or pyftpdlib's module. The unpacked tree first, then PATH, then the
 * system's own directories.
 *
 * @returns undefined where there is none
 */
export function findServer(name: AnyServer): string | undefined {
  let found: string | undefined;
  for (const proof of known[name].proof) {
    found = find(proof);
    if (found === undefined) return undefined;
  }
  return found;
}

function find(proof: string): string | undefined {
  if (proof.endsWith('.py')) return findModule(proof);
  // Which lies where the server's package puts it.
  if (proof.endsWith('.so'))
    return [unpackedTree(), '/']
      .map((tree) => join(tree, 'usr/lib/proftpd', proof))
      .find((path) => allows(path, constants.R_OK));
  return findProgram(proof);
}

/**
 * Path of a program: of the unpacked tree, of PATH, or of the system's directories.
 *
 * @returns undefined where there is none
 */
export function findProgram(name: string): string | undefined {
  const system = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/lib/openssh'];
  const directories = [
    ...['usr/sbin', 'usr/bin', 'usr/lib/openssh'].map((part) => join(unpackedTree(), part)),
    // Debian's own Python is the only one that sees Debian's modules; another one may stand before it on PATH.
    ...(name === 'python3' ? system : []),
    ...(process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== ''),
    ...system,
  ];
  return directories.map((directory) => join(directory, name)).find((path) => allows(path, constants.X_OK));
}

function findModule(file: string): string | undefined {
  const directories = [pythonModules(), '/usr/lib/python3/dist-packages'];
  return directories.map((directory) => join(directory, file)).find((path) => allows(path, constants.R_OK));
}

function pythonModules(): string {
  return join(unpackedTree(), 'usr/lib/python3/dist-packages');
}

function allows(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** Environment for what comes out of the unpacked tree: its libraries and modules lie beside it. */
export function unpackedEnvironment(): NodeJS.ProcessEnv {
  const own = ['lib', 'usr/lib'].flatMap((part) => {
    const directory = join(unpackedTree(), part);
    try {
      return readdirSync(directory)
        .filter((name) => name.endsWith('-linux-gnu'))
        .map((name) => join(directory, name));
    } catch {
      // No such tree: the server is the system's, and so are its libraries.
      return [];
    }
  });
  const path = [...own, process.env.LD_LIBRARY_PATH ?? ''].filter((part) => part !== '').join(delimiter);
  return {
    ...process.env,
    ...(path === '' ? {} : { LD_LIBRARY_PATH: path }),
    PYTHONPATH: pythonModules(),
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
  };
}

const announced = new Set<string>();

/**
 * A `describe` that needs a real server. Where it is missing, or needs root, the suite is skipped, which is said on
 * standard error once per test file, or fails where `FERRYD_REQUIRE_SERVERS=1` forbids skipping.
 */
export function describeReal(name: AnyServer, title: string, suite: () => void): void {
  describeWhere(`a real ${name}`, missing(name), title, suite);
}

function missing(name: AnyServer): string | undefined {
  const { debian, rootOnly } = known[name];
  if (findServer(name) === undefined)
    return `${name} is not installed: run .ci/servers, or sudo apt-get install ${debian}`;
  if (rootOnly && process.getuid?.() !== 0) return `${name} runs as root only: run the tests as root`;
  return undefined;
}

/**
 * A `describe` that needs something of the machine; `advice` says what is missing and how to get it, and is undefined
 * where nothing is. Skips loudly, or fails under `FERRYD_REQUIRE_SERVERS=1`.
 */
export function describeWhere(
  what: string,
  advice: string | undefined,
  title: string,
  suite: () => void,
): void {
  if (advice === undefined) {
    describe(title, suite);
    return;
  }
  if (process.env.FERRYD_REQUIRE_SERVERS === '1') {
    test(title, () => {
      throw new Error(`${advice}. FERRYD_REQUIRE_SERVERS=1 forbids skipping.`);
    });
    return;
  }
  if (!announced.has(what)) {
    announced.add(what);
    process.stderr.write(`\n*** SKIPPED: the tests against ${what}. ${advice}\n\n`);
  }
  describe.skip(`${title} (${advice})`, suite);
}

/** Where a server is about to run. */
export interface Berth {
  readonly directory: TemporaryDirectory;
  /** Directory that the login begins in; exists. */
  readonly root: string;
  readonly host: string;
  readonly port: number;
  /** What `findServer` found. */
  readonly found: string;
}

/** What a server's own file says about how it is run. */
export interface Launch {
  readonly name: AnyServer;
  readonly at: Place | undefined;
  readonly maxTls: ServerOptions['maxTls'];
  /** Writes the configuration into the directory and tells the command. */
  readonly prepare: (berth: Berth) => Promise<Command>;
  readonly user: string;
  readonly password: string;
  /** Directory the login begins in; unset makes one that goes with the server. */
  readonly root: string | undefined;
  /** What PWD says after the login: the root's real path, or a path of the server's own. */
  readonly home: 'real path' | `/${string}`;
  /** User and group id that sessions work as, where it is not who runs the tests. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** Log file in the server's directory. */
  readonly logFile: string;
  /** Ends what would outlive the server and its process group; called before they are ended. */
  readonly beforeEnd?: (pid: number) => Promise<void>;
  /** Removes what the server, or a session of its process group, leaves outside its directory. */
  readonly sweep?: (group: number) => Promise<void>;
}

/**
 * Runs a server until it listens.
 *
 * @throws Error where the server is missing, or does not listen; its own words stand in the message
 */
export async function launch(options: Launch): Promise<RealServer> {
  const advice = missing(options.name);
  const found = findServer(options.name);
  if (advice !== undefined || found === undefined) throw new Error(advice);
  const at = options.at ?? loopback;
  const directory = await temporaryDirectory(options.name);
  try {
    const root = options.root ?? directory.join('root');
    if (options.root === undefined) await mkdir(root);
    const environment = { ...unpackedEnvironment(), ...(await tlsCap(options, directory)) };
    for (let attempt = 1; ; attempt += 1) {
      // The port is free now, and may be taken when the server binds it: then another one is tried.
      const port = await freePort(at);
      const command = await options.prepare({ directory, root, host: at.host, port, found });
      await adopt(root, options);
      const child = new Child(runAt(at, command), directory.join(outputFile), environment);
      if (await child.listens(port))
        return running(options, { directory, root, host: at.host, port, found }, child);
      await child.stop();
      const said = await words(directory, options);
      if (attempt === attempts || !/\bbind|in use/i.test(said))
        throw new Error(`${options.name} does not start: ${said}`);
    }
  } catch (error) {
    await directory.remove();
    throw error;
  }
}

/** Not every server has a setting for it, but all of them ask OpenSSL, and OpenSSL reads a file. */
async function tlsCap({ maxTls }: Launch, directory: TemporaryDirectory): Promise<NodeJS.ProcessEnv> {
  if (maxTls === undefined) return {};
  const file = directory.join('openssl.cnf');
  const lines = ['openssl_conf = all', '[all]', 'ssl_conf = ssl', '[ssl]', 'system_default = cap', '[cap]'];
  await writeFile(file, [...lines, `MaxProtocol = ${maxTls}`, ''].join('\n'));
  return { OPENSSL_CONF: file };
}

async function running(options: Launch, berth: Berth, child: Child): Promise<RealServer> {
  const stop = async (): Promise<void> => {
    await options.beforeEnd?.(child.pid);
    await child.stop();
    await options.sweep?.(child.pid);
    await berth.directory.remove();
  };
  return {
    name: options.name,
    host: berth.host,
    port: berth.port,
    root: berth.root,
    home: options.home === 'real path' ? berth.root : options.home,
    user: options.user,
    password: options.password,
    pid: child.pid,
    log: () => words(berth.directory, options),
    adopt: () => adopt(berth.root, options),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function adopt(root: string, { account }: Launch): Promise<void> {
  if (account === undefined) return;
  // What somebody takes away meanwhile needs no owner.
  const gone = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'ENOENT') throw error;
  };
  const own = async (path: Buffer, directory: 'directory' | 'other'): Promise<void> => {
    await lchown(path, account.uid, account.gid);
    if (directory === 'other') return;
    // Names as bytes: a test may have put one there that is no text.
    for (const entry of await readdir(path, { encoding: 'buffer', withFileTypes: true }))
      await own(
        Buffer.concat([path, Buffer.from('/'), entry.name]),
        entry.isDirectory() ? 'directory' : 'other',
      ).catch(gone);
  };
  await own(Buffer.from(root), 'directory');
}

async function words(directory: TemporaryDirectory, options: Launch): Promise<string> {
  const read = (name: string) => readFile(directory.join(name), 'utf8').catch(() => '');
  return (await read(outputFile)) + (await read(options.logFile));
}

/** A server process and its process group. */
class Child {
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #atExit: () => void;
  readonly #atTermination: () => void;
  #over = false;

  constructor([program, ...args]: Command, output: string, env: NodeJS.ProcessEnv) {
    // Its own group: a session's process outlives the listener, and is ended together with it. All three descriptors
    // go to the file, for vsftpd says on the first of them why it does not start.
    const file = openSync(output, 'a+');
    this.#process = spawn(program, args, {
      detached: true,
      env,
      stdio: [file, file, file],
    });
    closeSync(file);
    this.#exited = new Promise((done) => {
      const ended = (): void => {
        this.#over = true;
        done();
      };
      this.#process.once('error', ended);
      this.#process.once('exit', ended);
    });
    this.#atExit = () => this.#signal('SIGKILL');
    // So ends a process whose test took too long: nobody is asked then, and no exit is told.
    this.#atTermination = () => {
      this.#signal('SIGKILL');
      process.kill(process.pid, 'SIGTERM');
    };
    process.once('exit', this.#atExit).once('SIGTERM', this.#atTermination);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /**
   * True once the process listens on that port; false where it ended, or 10 s went by. The kernel is asked, not the
   * port: so it is surely this server, no session of ours counts as a client, and it works in any namespace.
   */
  async listens(port: number): Promise<boolean> {
    const deadline = performance.now() + startMs;
    while (!this.#over && performance.now() < deadline) {
      const wanted = await listeners(this.pid, port);
      const mine = await descriptorsBelow(this.pid);
      if (mine !== undefined && wanted.some((inode) => mine.has(`socket:[${inode}]`))) return true;
      if (mine === undefined && wanted.length > 0) {
        // ProFTPD hides its descriptors from an ordinary user. Were the listener another one's, it would end now.
        await sleep(100);
        return !this.#over;
      }
      await sleep(5);
    }
    return false;
  }

  async stop(): Promise<void> {
    process.off('exit', this.#atExit).off('SIGTERM', this.#atTermination);
    // Nothing has anything to lose, and ProFTPD takes half a second to go of its own accord.
    this.#signal('SIGKILL');
    await this.#exited;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#process.pid === undefined) return;
    try {
      process.kill(-this.#process.pid, signal);
    } catch {
      // The group is empty: that is what was wanted.
    }
  }
}

let nextPort = 2121;

async function freePort(at: Place): Promise<number> {
  if (at.enter.length > 0) {
    // A namespace is ours alone: no port is taken but those we gave away.
    nextPort += 1;
    return nextPort;
  }
  const probe = createServer();
  await new Promise<void>((done, reject) => {
    probe.once('error', reject);
    probe.listen(0, at.host, done);
  });
  const address = probe.address();
  await new Promise((done) => probe.close(done));
  if (address === null || typeof address === 'string') throw new Error('The system gave no port');
  return address.port;
}

/**
 * Inodes of the sockets that listen on a port, in the network of a process. The kernel tells them before all others,
 * of which there are thousands after some tests: those are not asked for.
 */
async function listeners(pid: number, port: number): Promise<string[]> {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const found: string[] = [];
  for (const table of ['tcp', 'tcp6']) {
    for (const words of await listeningRows(`/proc/${pid}/net/${table}`)) {
      const [, local] = words;
      const inode = words[9];
      if (local?.endsWith(wanted) === true && inode !== undefined) found.push(inode);
    }
  }
  return found;
}

/** The rows of such a table up to the first that does not listen; none where the process has ended. */
async function listeningRows(path: string): Promise<string[][]> {
  const rows: string[][] = [];
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return rows;
  try {
    const buffer = Buffer.alloc(4096);
    let text = '';
    let heading = true;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      text += buffer.toString('latin1', 0, bytesRead);
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const words = line.trim().split(/\s+/);
        if (!heading && words[3] !== listening) return rows;
        if (!heading) rows.push(words);
        heading = false;
      }
      if (bytesRead === 0) return rows;
    }
  } catch {
    return rows;
  } finally {
    await file.close();
  }
}

/** What the descriptors of a process and of its children are; undefined where it hides them. */
async function descriptorsBelow(pid: number): Promise<Set<string> | undefined> {
  const mine = await descriptors(pid);
  // What runs in a namespace of its own was forked by who made that namespace.
  for (const child of await childrenOf(pid))
    for (const name of (await descriptors(child)) ?? []) mine?.add(name);
  return mine;
}

/** The processes that one has started and that still are; none where it has ended. */
export async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '');
  return children.split(' ').filter(Boolean).map(Number);
}

/** What the descriptors of a process are; undefined where it hides them. */
async function descriptors(pid: number): Promise<Set<string> | undefined> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => undefined);
  if (names === undefined) return undefined;
  return new Set(await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => ''))));
}
