/*
 * A scene: both sides of one job and its ledger, made afresh for each point of the sweep, with nothing in it but what
 * the operation under test needs. Several scenes share a berth, which is a server and the directory that it serves.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FtpServer, Job, SecretSource, Server, SftpServer } from '../../src/job/job.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { fingerprintOf } from '../../src/local/fingerprint.js';
import { isTemporary } from '../../src/plan/temporary.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { Accounts } from '../../src/run/accounts.js';
import { bindingKey, type RunReport } from '../../src/run/context.js';
import { type RestoreReport, restoreJob } from '../../src/run/restore.js';
import { runJob } from '../../src/run/run.js';
import { World } from '../run/support/voyage.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { childrenOf, type RealServer } from '../support/real-server.js';
import { startSshd } from '../support/servers/openssh.js';
import { startVsftpd } from '../support/servers/vsftpd.js';

/** Modification times of what is there at first, and of what a person changed later. */
export const EARLIER = Date.UTC(2022, 2, 4, 5, 6, 7);
export const LATER = EARLIER + 86_400_000;

/** When the run begins that is killed. The next one comes an hour later. */
export const FIRST_MS = Date.UTC(2026, 5, 1, 3);
export const HOUR_MS = 3_600_000;

export type Side = 'local' | 'remote';
export type ServerKind = 'scripted' | 'vsftpd' | 'openssh';

/** A server that scenes share. */
export interface Berth extends AsyncDisposable {
  readonly kind: ServerKind;
  /** The directory that a login begins in. */
  readonly root: string;
  /** Where scenes have their local sides and their ledgers. */
  readonly directory: string;
  /** A job with this server. */
  readonly job: Job;
  /**
   * Waits until the server has noticed that its client is gone.
   *
   * @returns `straggling` where a session waits on for a data connection that will never come: the next run need not
   *   wait for that
   */
  quiet(): Promise<'quiet' | 'straggling'>;
  /** Waits until no session is left at all. */
  settled(): Promise<void>;
  /** Gives the server what was put on its disk. */
  adopt(): Promise<void>;
}

export async function openBerth(kind: ServerKind, options: Partial<FtpServerOptions> = {}): Promise<Berth> {
  const world = await World.open({ server: options });
  const directory = world.directory.path;
  if (kind === 'scripted') {
    return {
      kind,
      root: world.directory.join('remote'),
      directory,
      job: world.job,
      quiet: async () => {
        await world.server.until((journal) => journal.open === 0);
        return 'quiet';
      },
      settled: () => world.server.until((journal) => journal.open === 0),
      adopt: async () => {},
      [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
    };
  }
  return kind === 'vsftpd' ? vsftpdBerth(world) : opensshBerth(world);
}

async function vsftpdBerth(world: World): Promise<Berth> {
  // How long a session waits for the data connection of a client that is gone; a minute unless told.
  const server = await startVsftpd({ settings: { accept_timeout: '3' } });
  const account: Partial<FtpServer> = addressOf(world, server);
  // It has one process for each session.
  const sessions = async (): Promise<readonly number[]> => childrenOf(server.pid);
  return realBerth('vsftpd', world, server, { ...world.job.server, ...account }, sessions);
}

async function opensshBerth(world: World): Promise<Berth> {
  const server = await startSshd();
  const { name, connections, charset, verify, timeouts } = world.job.server;
  const account: SftpServer = {
    name,
    protocol: 'sftp',
    connections,
    charset,
    verify,
    timeouts,
    ...addressOf(world, server),
    privateKey: undefined,
    passphrase: undefined,
    agent: undefined,
    hostKeys: server.hostKeys,
    knownHosts: [world.directory.join('known_hosts')],
    via: undefined,
  };
  return realBerth('openssh', world, server, account, server.sessions);
}

/** Where a server is, and how to log in there; the password lies in a file of the world. */
function addressOf(
  world: World,
  { host, port, user, password }: RealServer,
): Pick<Server, 'host' | 'port' | 'user'> & { readonly password: SecretSource } {
  const file = world.directory.join('account-password');
  writeFileSync(file, password, { mode: 0o600 });
  return { host, port, user, password: { kind: 'file', path: file } };
}

function realBerth(
  kind: ServerKind,
  world: World,
  server: RealServer,
  account: Server,
  sessions: () => Promise<readonly number[]>,
): Berth {
  return {
    kind,
    root: server.root,
    directory: world.directory.path,
    job: { ...world.job, server: account },
    ...sessionsOf(kind, sessions),
    adopt: () => server.adopt(),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** A session that hears of its client's end is gone by then. */
const NOTICED_MS = 500;

/** @param sessions the processes that the server has for its sessions by now */
function sessionsOf(
  kind: ServerKind,
  sessions: () => Promise<readonly number[]>,
): Pick<Berth, 'quiet' | 'settled'> {
  const stragglers = new Set<number>();
  const until = async (over: (open: readonly number[]) => boolean, withinMs: number) => {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const open = await sessions();
      if (over(open) || performance.now() > deadline) return open;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return {
    quiet: async () => {
      const open = await until((some) => some.every((one) => stragglers.has(one)), NOTICED_MS);
      const before = stragglers.size;
      for (const one of open) stragglers.add(one);
      return stragglers.size > before ? 'straggling' : 'quiet';
    },
    settled: async () => {
      const left = await until((some) => some.length === 0, 20_000);
      if (left.length > 0) throw new Error(`${kind} does not notice that its client is gone`);
    },
  };
}

/** What is to be found on both sides and in the ledger, without what differs from one undisturbed run to the next. */
export interface Reality {
  readonly local: readonly string[];
  readonly remote: readonly string[];
  readonly ledger: readonly string[];
}

export class Scene {
  readonly job: Job;
  readonly ledgerFile: string;
  readonly #berth: Berth;
  readonly #name: string;
  readonly #home: string;

  /** @param name a name in the berth's directories that no other scene has */
  constructor(berth: Berth, name: string, job: Partial<Omit<Job, 'server'>>) {
    this.#berth = berth;
    this.#name = name;
    this.#home = join(berth.directory, `scene-${name}`);
    this.ledgerFile = join(this.#home, 'ledger', 'ledger.db');
    this.job = {
      ...berth.job,
      ...job,
      local: join(this.#home, 'local'),
      remotePath: { path: name, absolute: false },
      // One connection and one file after the other: the points come in one order.
      server: { ...berth.job.server, connections: 1 },
    };
    mkdirSync(this.job.local, { recursive: true });
  }

  /** Absolute path of something on a side. */
  at(side: Side, path = ''): string {
    return join(side === 'local' ? this.job.local : join(this.#berth.root, this.#name), path);
  }

  put(side: Side, path: string, content: string, modifiedMs = EARLIER): void {
    const file = this.at(side, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    utimesSync(file, modifiedMs / 1000, modifiedMs / 1000);
  }

  /** What was put on the remote side is the server's from now on. */
  adopt(): Promise<void> {
    return this.#berth.adopt();
  }

  /** Makes the root of a side. */
  make(side: Side): void {
    mkdirSync(this.at(side), { recursive: true });
  }

  drop(side: Side, path: string): void {
    rmSync(this.at(side, path), { recursive: true });
  }

  /**
   * What a run that was killed in the middle of an upload has left: the intent, and the first bytes of the file.
   *
   * @param path a file that is there
   */
  cutOff(path: string, temporary: string, bytes: number): void {
    const ledger = openLedger(this.ledgerFile);
    try {
      const bindingId = ledger.bind(bindingKey(this.job));
      const { name } = this.job;
      const start = { job: name, bindingId, trigger: 'by hand', pid: process.pid, startedAtMs: FIRST_MS };
      const run = ledger.startRun(start);
      const local = fingerprintOf(lstatSync(this.at('local', path)));
      ledger.intend(bindingId, run, [{ path, temporary, local }]);
    } finally {
      ledger.close();
    }
    this.put('remote', temporary, readFileSync(this.at('local', path), 'latin1').slice(0, bytes));
  }

  /** One run, not disturbed by anybody. @param wire hears what is said on the control connections */
  async run(nowMs: number, wire?: (line: string) => void): Promise<RunReport> {
    return this.#with(wire, (ledger, accounts, listener) =>
      runJob(this.job, {
        ledger,
        accounts,
        listener,
        trigger: 'by hand',
        random: () => 0.5,
        now: () => nowMs,
      }),
    );
  }

  /** All that is missing comes back from the trash. */
  async restore(nowMs: number): Promise<RestoreReport> {
    const wish = { path: undefined, atMs: undefined, to: undefined };
    const { ledgerFile } = this;
    return this.#with(undefined, (_, accounts, listener) =>
      restoreJob(this.job, wish, {
        ledgerFile,
        accounts,
        listener,
        nowMs,
        onRestored: () => {},
        onLeft: () => {},
      }),
    );
  }

  async #with<T>(
    wire: ((line: string) => void) | undefined,
    work: (ledger: Ledger, accounts: Accounts, listener: (event: FerrydEvent) => void) => Promise<T>,
  ): Promise<T> {
    const listener = (event: FerrydEvent): void => {
      if (event.event === 'wire') wire?.(event.message);
    };
    const ledger = openLedger(this.ledgerFile);
    const accounts = new Accounts(listener, { wire: 'traced', profiles: ledger });
    try {
      return await work(ledger, accounts, listener);
    } finally {
      await accounts.close();
      ledger.close();
    }
  }

  /** Both sides and the ledger as they are. The ledger has to agree with the disk. */
  reality(): Reality {
    return { local: treeOf(this.at('local')), remote: treeOf(this.at('remote')), ledger: this.#ledger() };
  }

  #ledger(): string[] {
    const ledger = openLedger(this.ledgerFile);
    const lines: string[] = [];
    try {
      const { name } = this.job;
      for (const { id } of ledger.bindingsOf(name)) {
        for (const { baseline } of ledger.known(id)) {
          if (baseline === undefined) continue;
          const { path, sha256, local, remoteModifiedMs } = baseline;
          const { sizeBytes, mtimeMs, inode } = local;
          const stats = lstatSync(this.at('local', path), { throwIfNoEntry: false });
          const agrees =
            path.endsWith('/') || stats === undefined || stats.ino === inode ? '' : ', of another inode';
          const times = path.endsWith('/') ? '' : `, ${mtimeMs}, ${remoteModifiedMs}`;
          lines.push(`${withoutTimes(path)}: ${sizeBytes} bytes${times}, ${sha256}${agrees}`);
        }
        for (const { path, temporary } of ledger.openIntents(id))
          lines.push(`intent: ${path} as ${temporary}`);
        for (const { path } of ledger.planned(id)) lines.push(`planned: ${path}`);
        for (const { path } of ledger.heldDeletions(id)) lines.push(`held: ${path}`);
      }
      for (const { path, code } of ledger.skips(name, 100)) lines.push(`skip: ${path}, ${code}`);
      const isFull = [...treeOf(this.at('local')), ...treeOf(this.at('remote'))].some(isInTrash);
      const isForgotten = (ledger.coveredUntil(name, 'trash') ?? 0) === 0;
      if (isFull && isForgotten) lines.push('nobody will ever look into the trash');
    } finally {
      ledger.close();
    }
    return lines.sort();
  }

  /** Takes all of it away. */
  remove(): void {
    rmSync(this.#home, { recursive: true, force: true });
    rmSync(this.at('remote'), { recursive: true, force: true });
  }
}

/** Files with their contents and times, and directories; one line each. Directories of the trash are its own affair. */
function treeOf(root: string): string[] {
  if (lstatSync(root, { throwIfNoEntry: false }) === undefined) return ['nothing'];
  const lines: string[] = [];
  const walk = (directory: string): void => {
    for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      const shown = withoutTimes(path);
      if (entry.isDirectory()) {
        if (!path.startsWith('.ferryd-trash')) lines.push(`${shown}/`);
        walk(path);
        continue;
      }
      const { mtimeMs } = lstatSync(join(root, path));
      const content = readFileSync(join(root, path), 'latin1');
      const text = content.length > 100 ? `${content.length} bytes` : content;
      lines.push(`${isTemporary(path) ? 'TEMPORARY ' : ''}${shown}: ${text}, ${Math.round(mtimeMs / 1000)}`);
    }
  };
  walk('');
  return lines.sort();
}

function isInTrash(line: string): boolean {
  return line.startsWith('.ferryd-trash/');
}

/** The killed run and the next one have another date in what they name. */
function withoutTimes(path: string): string {
  return path.replace(/\d{8}T\d{6}Z/g, 'DATE').replace(/conflict-\d{8}-\d{6}/g, 'conflict-DATE');
}
