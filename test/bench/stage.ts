/*
 * Where it is played: a directory in memory where there is room, the trees in it, and a server for each protocol, on
 * loopback or behind a link of 40 ms, which may lose packets. vsftpd wants its TLS sessions reused, as it does unless it is told otherwise;
 * none of them logs more than it has to. Everything is gone afterwards.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificates } from '../support/certificates.js';
import { type Link, slowLink } from '../support/link.js';
import { type Command, type Place, runAt } from '../support/place.js';
import type { RealServer } from '../support/real-server.js';
import { type RealSshServer, startSshd } from '../support/servers/openssh.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Case, Protocol } from './cases.js';
import { DIRECTORY, type Harbour, ONE_FILE, type Task } from './contestant.js';
import { ledgerOf, writeJob } from './ferryd.js';
import { type Network, ownNetwork } from './network.js';
import { jobIn, rememberTree } from './remembered.js';
import { makeOneFile, makeSmallFiles, smallFiles } from './trees.js';

const SEED = 7;
const ROUND_TRIP_MS = 40;
/** In each direction. */
const LOSS_PERCENT = 1;
const ROOMY = '/dev/shm';
/** A small file takes so much, with all that belongs to it. */
const SMALL_BYTES = 20 * 1024;
const EMPTY_BYTES = 2 * 1024;
/** Beside the sources, on the server and here. */
const COPIES = 2;

interface Berth {
  readonly server: RealServer;
  readonly harbour: Harbour;
}

export class Stage implements AsyncDisposable {
  readonly #base: string;
  readonly #servers = new Map<string, Promise<Berth>>();
  readonly #trees = new Map<string, string>();
  readonly #atExit = () => rmSync(this.#base, { recursive: true, force: true });
  readonly #network: Network;
  readonly #links = new Map<Case['where'], Promise<Link>>();
  #scratches = 0;

  private constructor(base: string, network: Network) {
    this.#base = base;
    this.#network = network;
    process.once('exit', this.#atExit);
  }

  /** A stage for these cases: in memory if what they take at once fits into half of it. */
  static async open(cases: readonly Case[]): Promise<Stage> {
    const sizes = [...new Set(cases.map(bytesOf))];
    const wanted = sizes.reduce((sum, bytes) => sum + bytes, 0) + Math.max(...sizes) * COPIES;
    const base = realpathSync(mkdtempSync(join(roomFor(wanted), 'ferryd-bench-')));
    return new Stage(base, await ownNetwork());
  }

  /** Why the programs meet on the machine's own loopback; undefined where they have a network of their own. */
  get shared(): string | undefined {
    return this.#network.shared;
  }

  /** Resolves when a run of the case finds ports enough. */
  async calm({ files, protocol }: Case): Promise<void> {
    await this.#network.calm(protocol === 'sftp' ? 0 : files);
  }

  /** The server for a case; started where it does not run yet. */
  async harbour(of: Case): Promise<Harbour> {
    return (await this.#berth(of)).harbour;
  }

  /** Process id of that server. */
  async serverPid(of: Case): Promise<number> {
    return (await this.#berth(of)).server.pid;
  }

  /** Directory whose `in` holds what the case moves; made once. */
  source(of: Case): string {
    const { files, bytes, content } = of;
    const key = treeKey(of);
    const known = this.#trees.get(key);
    if (known !== undefined) return known;
    const local = join(this.#base, key);
    const tree = join(local, DIRECTORY);
    mkdirSync(tree, { recursive: true });
    if (bytes > 0) makeOneFile(join(tree, ONE_FILE), bytes, SEED);
    else makeSmallFiles(tree, files, SEED, content);
    this.#trees.set(key, local);
    return local;
  }

  /** The tree of a case that has changed it: the next one that wants it has it made anew. */
  forget(of: Case): void {
    rmSync(join(this.#base, treeKey(of)), { recursive: true, force: true });
    this.#trees.delete(treeKey(of));
  }

  /** What is moved, in order. */
  paths({ files, bytes }: Case): string[] {
    return bytes > 0 ? [ONE_FILE] : Array.from(smallFiles(files, SEED), ({ path }) => path);
  }

  /** The directory behind the server's `in`, empty. */
  async emptyRemote(of: Case): Promise<string> {
    const { server } = await this.#berth(of);
    const directory = await this.remote(of);
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory);
    const { uid, gid } = statSync(server.root);
    chownSync(directory, uid, gid);
    return directory;
  }

  /** The directory behind the server's `in`. */
  async remote(of: Case): Promise<string> {
    return join((await this.#berth(of)).server.root, DIRECTORY);
  }

  /** Puts what the case moves on the server, with its times. @returns the directory behind the server's `in` */
  async stock(of: Case): Promise<string> {
    const remote = await this.emptyRemote(of);
    execFileSync('cp', ['-a', '--no-preserve=ownership', `${join(this.source(of), DIRECTORY)}/.`, remote]);
    await (await this.#berth(of)).server.adopt();
    return remote;
  }

  /** What a contestant is told of a case. */
  async task(of: Case, { local, scratch }: Pick<Task, 'local' | 'scratch'>): Promise<Task> {
    const { work, connections } = of;
    return {
      work,
      harbour: await this.harbour(of),
      local,
      paths: this.paths(of),
      connections,
      scratch,
    };
  }

  /** Makes ferryd's ledger as if it had brought there what the case moves. */
  async remember(of: Case, scratch: string): Promise<void> {
    const task = await this.task(of, { local: this.source(of), scratch });
    await rememberTree(await jobIn(writeJob(task)), ledgerOf(task));
  }

  /** A local directory whose `in` is empty, for pulls. */
  emptyLocal(): string {
    const local = join(this.#base, 'pulled');
    rmSync(local, { recursive: true, force: true });
    mkdirSync(join(local, DIRECTORY), { recursive: true });
    return local;
  }

  /** Takes away what a case has moved. */
  async clear(of: Case): Promise<void> {
    await this.emptyRemote(of);
    this.emptyLocal();
  }

  /** A new directory; one that nobody else uses. */
  scratch(): string {
    this.#scratches += 1;
    const path = join(this.#base, `scratch-${this.#scratches}`);
    mkdirSync(path);
    return path;
  }

  /** The command as it has to be started where the case's client is. */
  async there(of: Case, command: Command): Promise<Command> {
    return runAt((await this.#placesOf(of)).client, command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const berth of this.#servers.values())
      await berth.then(({ server }) => server.stop()).catch(() => {});
    for (const link of this.#links.values()) await link.then((it) => it.remove()).catch(() => {});
    await this.#network[Symbol.asyncDispose]();
    process.off('exit', this.#atExit);
    this.#atExit();
  }

  async #placesOf({ where }: Case): Promise<{ readonly client: Place; readonly server: Place }> {
    if (where === 'loopback') return { client: this.#network.place, server: this.#network.place };
    const options = { roundTripMs: ROUND_TRIP_MS, lossPercent: where === 'lossy' ? LOSS_PERCENT : 0 };
    const link = this.#links.get(where) ?? slowLink(options);
    this.#links.set(where, link);
    const { near, far } = await link;
    return { client: near, server: far };
  }

  #berth(of: Case): Promise<Berth> {
    const key = `${of.where}-${of.protocol}`;
    const known = this.#servers.get(key);
    if (known !== undefined) return known;
    const berth = this.#start(of, join(this.#base, key));
    this.#servers.set(key, berth);
    // The next case may have more luck.
    berth.catch(() => this.#servers.delete(key));
    return berth;
  }

  async #start(of: Case, root: string): Promise<Berth> {
    const { protocol } = of;
    const at = (await this.#placesOf(of)).server;
    mkdirSync(join(root, DIRECTORY), { recursive: true });
    const { pin } = (await certificates()).good;
    if (protocol === 'sftp') {
      const server = await startSshd({
        at,
        root,
        hostKeys: ['ed25519'],
        logins: ['key'],
        settings: ['LogLevel ERROR'],
      });
      return { server, harbour: harbourOf(protocol, server, { pin, ssh: server }) };
    }
    const server = await startVsftpd({
      at,
      root,
      security: protocol === 'tls' ? 'explicit' : 'plain',
      requireTls: protocol === 'tls',
      requireSessionReuse: true,
      settings: { log_ftp_protocol: 'NO', debug_ssl: 'NO' },
    });
    return { server, harbour: harbourOf(protocol, server, { pin, ssh: undefined }) };
  }
}

function treeKey({ files, bytes, content }: Case): string {
  return bytes > 0 ? `one-${bytes}` : `${content ?? 'small'}-${files}`;
}

function bytesOf({ files, bytes, content }: Case): number {
  return bytes || files * (content === 'empty' ? EMPTY_BYTES : SMALL_BYTES);
}

function harbourOf(
  protocol: Protocol,
  { host, port, user, password, home }: RealServer,
  { pin, ssh }: { readonly pin: string; readonly ssh: RealSshServer | undefined },
): Harbour {
  return {
    ...{ protocol, host, port, user, password, home, pin },
    privateKey: ssh?.privateKey ?? '',
    knownHosts: ssh?.knownHostsLine ?? '',
    hostKey: ssh?.hostKeyFingerprint ?? '',
  };
}

function roomFor(bytes: number): string {
  try {
    const { bavail, bsize } = statfsSync(ROOMY);
    return bavail * bsize > 2 * bytes ? ROOMY : tmpdir();
  } catch {
    return tmpdir();
  }
}
