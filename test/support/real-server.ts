/*
 * Real servers for tests: finding them, saying loudly where one is missing, and running one as a child process with
 * its own directory, on a free loopback port, in the foreground, as whoever runs the tests. What is particular to a
 * server stands in servers/. Nothing of the system's own configuration is read or changed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { describe, test } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory } from './temporary.js';

const startMs = 10_000;
const attempts = 5;
const outputFile = 'output.log';

/** Servers that a suite may ask for, with the Debian package they come in. */
const packages = {
  vsftpd: { binary: 'vsftpd', debian: 'vsftpd' },
} as const;

export type ServerName = keyof typeof packages;

/** A real server that runs. */
export interface RealServer extends AsyncDisposable {
  readonly name: ServerName;
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Directory on disk that a login begins in. */
  readonly root: string;
  readonly user: string;
  readonly password: string;
  /** Process id of the server; its children share its process group. */
  readonly pid: number;
  /** What the server logged so far, its standard output and error included. */
  log(): Promise<string>;
  /** Ends the server with all its sessions, and removes what was made for it. Safe to call twice. */
  stop(): Promise<void>;
}

/** Directory that `.ci/servers` unpacks into. */
function unpackedTree(): string {
  return process.env.FERRYD_SERVERS ?? resolve(import.meta.dirname, '../../.servers');
}

/** Path of a server's binary: the unpacked tree first, then PATH, then /usr/sbin; undefined where there is none. */
export function findServer(name: ServerName): string | undefined {
  const { binary } = packages[name];
  const directories = [
    join(unpackedTree(), 'usr/sbin'),
    ...(process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== ''),
    '/usr/sbin',
    '/usr/local/sbin',
  ];
  return directories.map((directory) => join(directory, binary)).find(executable);
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Environment for a server of the unpacked tree: its libraries lie beside it. */
function environment(): NodeJS.ProcessEnv {
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
  return { ...process.env, ...(path === '' ? {} : { LD_LIBRARY_PATH: path }) };
}

const announced = new Set<ServerName>();

/**
 * A `describe` that needs a real server. Where it is missing the suite is skipped, which is said on standard error
 * once per test file, or fails where `FERRYD_REQUIRE_SERVERS=1` forbids skipping.
 */
export function describeReal(name: ServerName, title: string, suite: () => void): void {
  if (findServer(name) !== undefined) {
    describe(title, suite);
    return;
  }
  const advice = `${name} is not installed: run .ci/servers, or sudo apt-get install ${packages[name].debian}`;
  if (process.env.FERRYD_REQUIRE_SERVERS === '1') {
    test(title, () => {
      throw new Error(`${advice}. FERRYD_REQUIRE_SERVERS=1 forbids skipping.`);
    });
    return;
  }
  if (!announced.has(name)) {
    announced.add(name);
    process.stderr.write(`\n*** SKIPPED: the tests against a real ${name}. ${advice}\n\n`);
  }
  describe.skip(`${title} (${advice})`, suite);
}

/** What a server's own file says about how it is run. */
export interface Launch {
  readonly name: ServerName;
  /** Writes the configuration for that port into the directory and tells the arguments. */
  readonly prepare: (directory: TemporaryDirectory, port: number) => Promise<readonly string[]>;
  /** In the first line the server says; proves that it is this one that holds the port. */
  readonly banner: string;
  readonly tls: 'implicit' | 'none at first';
  readonly user: string;
  readonly password: string;
  /** Directory the login begins in; unset makes one that goes with the server. */
  readonly root?: string | undefined;
  /** Log file in the server's directory. */
  readonly logFile: string;
}

/**
 * Runs a server until it greets.
 *
 * @throws Error where the binary is missing, or the server does not greet; its own words stand in the message
 */
export async function launch(options: Launch): Promise<RealServer> {
  const binary = findServer(options.name);
  if (binary === undefined) throw new Error(`${options.name} is not installed: run .ci/servers`);
  const directory = await temporaryDirectory(options.name);
  try {
    for (let attempt = 1; ; attempt += 1) {
      // The port is free now, and may be taken when the server binds it: then another one is tried.
      const port = await freePort();
      const child = new Child(binary, await options.prepare(directory, port), directory.join(outputFile));
      if (await greets(child, port, options)) {
        await child.alone();
        return running(options, directory, child, port);
      }
      await child.stop();
      if (attempt === attempts)
        throw new Error(`${options.name} does not start: ${await words(directory, options)}`);
    }
  } catch (error) {
    await directory.remove();
    throw error;
  }
}

async function running(
  options: Launch,
  directory: TemporaryDirectory,
  child: Child,
  port: number,
): Promise<RealServer> {
  const stop = async (): Promise<void> => {
    await child.stop();
    await directory.remove();
  };
  return {
    name: options.name,
    host: '127.0.0.1',
    port,
    root: options.root ?? directory.join('root'),
    user: options.user,
    password: options.password,
    pid: child.pid,
    log: () => words(directory, options),
    stop,
    [Symbol.asyncDispose]: stop,
  };
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
  over = false;

  constructor(binary: string, args: readonly string[], output: string) {
    // Its own group: a session's process outlives the listener, and is ended together with it. All three descriptors
    // go to the file, for vsftpd says on the first of them why it does not start.
    const file = openSync(output, 'a+');
    this.#process = spawn(binary, args, { detached: true, env: environment(), stdio: [file, file, file] });
    closeSync(file);
    this.#exited = new Promise((done) => {
      const ended = (): void => {
        this.over = true;
        done();
      };
      this.#process.once('error', ended);
      this.#process.once('exit', ended);
    });
    this.#atExit = () => this.#signal('SIGKILL');
    process.once('exit', this.#atExit);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Waits until the session that asked for the banner is gone, so that it does not count as a client. */
  async alone(): Promise<void> {
    const deadline = performance.now() + 2000;
    while (performance.now() < deadline) {
      // Where the kernel does not tell children there is nothing to wait for.
      const children = await readFile(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').catch(() => '');
      if (children.trim() === '') return;
      await sleep(5);
    }
  }

  async stop(): Promise<void> {
    process.off('exit', this.#atExit);
    this.#signal('SIGTERM');
    // Sessions have nothing to lose: what a test wants of them it has asked for before.
    const killed = sleep(500, undefined, { ref: false }).then(() => this.#signal('SIGKILL'));
    await Promise.race([this.#exited, killed]);
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

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', done);
  });
  const address = probe.address();
  await new Promise((done) => probe.close(done));
  if (address === null || typeof address === 'string') throw new Error('The system gave no port');
  return address.port;
}

/** True once the server said its banner; false where it ended, or 10 s went by. */
async function greets(child: Child, port: number, options: Launch): Promise<boolean> {
  const deadline = performance.now() + startMs;
  while (!child.over && performance.now() < deadline) {
    if ((await firstWords(port, options.tls)).includes(options.banner)) return true;
    await sleep(20);
  }
  return false;
}

function firstWords(port: number, tls: Launch['tls']): Promise<string> {
  return new Promise((done) => {
    const where = { host: '127.0.0.1', port };
    // Trust is not the question here, only whether it is our server that speaks.
    const socket: Socket =
      tls === 'implicit' ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where);
    let text = '';
    const finish = (): void => {
      socket.destroy();
      done(text);
    };
    socket.setTimeout(2000, finish);
    socket.on('error', finish);
    socket.on('close', finish);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.includes('\n')) finish();
    });
  });
}
