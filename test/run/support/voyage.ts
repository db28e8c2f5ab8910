/*
 * A whole run in one process: a local tree, the scripted server on loopback, a ledger, and the job that ties them
 * together, made directly and not from YAML. Each run gets accounts of its own, as the command line does it, so that
 * a connection counts as one. Waits are milliseconds long; nothing is mocked.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import type { Job, FtpServer as Settings } from '../../../src/job/job.js';
import { type Ledger, openLedger } from '../../../src/ledger/ledger.js';
import type { Intent } from '../../../src/ledger/record.js';
import type { Known, RememberedSkip } from '../../../src/plan/entry.js';
import { emptyTally } from '../../../src/plan/outcome.js';
import { isTemporary } from '../../../src/plan/temporary.js';
import type { FerrydEvent } from '../../../src/report/event.js';
import { Accounts } from '../../../src/run/accounts.js';
import { bindingKey, type RunContext, type RunReport } from '../../../src/run/context.js';
import { runJob } from '../../../src/run/run.js';
import { certificates } from '../../support/certificates.js';
import type { FtpServerOptions } from '../../support/ftp-server/settings.js';
import { type FtpServer, startFtpServer } from '../../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.js';

export const PASSWORD = 'correct-horse-battery-staple';

/** Modification time of files that `put` makes: far from now, so that a later change always shows. */
export const EARLIER = Date.UTC(2022, 2, 4, 5, 6, 7);

/** A job whose server is the scripted one. */
export type Voyage = Job & { readonly server: Settings };

export interface VoyageOptions {
  /** The scripted server; plain FTP unless told. */
  readonly server?: Partial<FtpServerOptions>;
  readonly job?: Partial<Omit<Job, 'server'>>;
  /** What a person wrote about the server. */
  readonly settings?: Partial<Settings>;
}

type RunOptions = Partial<
  Pick<RunContext, 'stop' | 'cut' | 'onScan' | 'skipped' | 'accounts' | 'listener' | 'now' | 'only'>
> & {
  readonly job?: Job;
};

export class World implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly server: FtpServer;
  /** What the runs told, in order. */
  readonly events: FerrydEvent[] = [];
  #job: Voyage;
  #ledger: Ledger | undefined;

  private constructor(directory: TemporaryDirectory, server: FtpServer, job: Voyage) {
    this.directory = directory;
    this.server = server;
    this.#job = job;
  }

  static async open(options: VoyageOptions = {}): Promise<World> {
    const directory = await temporaryDirectory('run');
    const { good, ca } = await certificates();
    for (const name of ['local', 'remote']) await mkdir(directory.join(name));
    await writeFile(directory.join('password'), PASSWORD, { mode: 0o600 });
    await writeFile(directory.join('ca.pem'), ca.cert);
    const security = options.server?.security ?? 'plain';
    const server = await startFtpServer({
      root: directory.join('remote'),
      users: { ferry: PASSWORD },
      ...(security === 'plain' ? {} : { certificate: good, requireTls: true, requireSessionReuse: true }),
      ...options.server,
    });
    const job: Voyage = {
      name: 'nightly',
      file: directory.join('nightly.yaml'),
      description: '',
      mode: 'copy',
      direction: 'push',
      local: directory.join('local'),
      remotePath: { path: 'dumps', absolute: false },
      triggers: [],
      include: ['**'],
      exclude: [],
      hidden: 'include',
      size: { minBytes: undefined, maxBytes: undefined },
      age: { minMs: undefined, maxMs: undefined },
      links: 'skip',
      ready: undefined,
      permissions: 'leave',
      compare: 'ledger',
      conflicts: 'keep-both',
      deletes: {
        policy: 'delete',
        keepMs: 30 * 86_400_000,
        extraneous: false,
        limit: { percent: 10, files: 100 },
      },
      marker: undefined,
      emptyDirectories: 'skip',
      names: 'skip',
      timezone: undefined,
      retries: { attempts: 4, firstDelayMs: 4, maxDelayMs: 16 },
      before: undefined,
      after: undefined,
      expect: { freshnessMs: undefined },
      ping: undefined,
      notify: undefined,
      ...options.job,
      server: {
        name: 'nas',
        protocol: 'ftp',
        security,
        host: server.address,
        port: server.port,
        user: 'ferry',
        password: { kind: 'file', path: directory.join('password') },
        account: undefined,
        tls: {
          caFile: security === 'plain' ? undefined : directory.join('ca.pem'),
          pin: undefined,
          verify: true,
          serverName: undefined,
          certificateFile: undefined,
          key: undefined,
          passphrase: undefined,
        },
        connections: 4,
        dataConnection: 'auto',
        active: { address: undefined, ports: undefined },
        charset: 'utf-8',
        verify: 'auto',
        timeouts: { connectMs: 5_000, replyMs: 5_000, stallMs: 5_000, transferMs: 60_000 },
        ...options.settings,
      },
    };
    return new World(directory, server, job);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ledger?.close();
    try {
      await this.server.close();
    } finally {
      await this.directory.remove();
    }
  }

  get job(): Voyage {
    return this.#job;
  }

  get ledgerFile(): string {
    return this.directory.join('ledger', 'ledger.db');
  }

  get ledger(): Ledger {
    this.#ledger ??= openLedger(this.ledgerFile);
    return this.#ledger;
  }

  /** Closes the ledger; the next use opens it again. */
  closeLedger(): void {
    this.#ledger?.close();
    this.#ledger = undefined;
  }

  /** The ledger as a test prepared it. */
  useLedger(ledger: Ledger): void {
    this.closeLedger();
    this.#ledger = ledger;
  }

  /** What a person changes in the job file. */
  change(other: {
    readonly job?: Partial<Omit<Job, 'server'>>;
    readonly settings?: Partial<Settings>;
  }): void {
    this.#job = { ...this.#job, ...other.job, server: { ...this.#job.server, ...other.settings } };
  }

  /** One run, as `ferryd run` does it: ends only when nothing of it is left. */
  async run(options: RunOptions = {}): Promise<RunReport> {
    const { job = this.#job, listener, ...context } = options;
    const hear = (event: FerrydEvent): void => {
      this.events.push(event);
      listener?.(event);
    };
    const own = new Accounts(hear, { wire: 'silent', profiles: this.ledger });
    try {
      return await runJob(job, {
        ledger: this.ledger,
        trigger: 'by hand',
        random: () => 0.5,
        ...context,
        accounts: options.accounts ?? own,
        listener: hear,
      });
    } finally {
      await own.close();
    }
  }

  /** As if a run had gone through to its end between these places: what the ledger does not know is not there. */
  settle(job: Job = this.job): void {
    const startedAtMs = Date.now();
    const bindingId = this.ledger.bind(bindingKey(job));
    const run = this.ledger.startRun({
      job: job.name,
      bindingId,
      trigger: 'earlier',
      pid: process.pid,
      startedAtMs,
    });
    const end = { outcome: 'ok', tally: emptyTally(), failure: undefined, endedAtMs: startedAtMs } as const;
    this.ledger.endRun(run, end);
  }

  /** Path on the local side. */
  local(path: string): string {
    return this.directory.join('local', path);
  }

  /** Path on the server's disk, below the job's directory there. */
  remote(path: string): string {
    return this.directory.join('remote', this.#job.remotePath.path, path);
  }

  /** Writes a local file as it was long ago. */
  async put(path: string, content: string | Uint8Array = path, mtimeMs = EARLIER): Promise<void> {
    await place(this.local(path), content, mtimeMs);
  }

  /** Writes a file on the server as it was long ago. */
  async putRemote(path: string, content: string | Uint8Array = path, mtimeMs = EARLIER): Promise<void> {
    await place(this.remote(path), content, mtimeMs);
  }

  /** Files on the server: path below the job's directory to content. Temporary ones are named as they are. */
  held(): Record<string, string> {
    return filesBelow(this.remote(''));
  }

  /** Files on the local side. */
  here(): Record<string, string> {
    return filesBelow(this.local(''));
  }

  /** Temporary names of ours, on both sides. */
  temporaries(): string[] {
    return [...Object.keys(this.held()), ...Object.keys(this.here())].filter(isTemporary);
  }

  /** How often the server was sent a verb. */
  count(verb: string): number {
    return this.server.journal.of(verb).length;
  }

  /** The arguments of a verb, in order. */
  of(verb: string): string[] {
    return this.server.journal.of(verb).map(({ argument }) => argument);
  }

  /** How often the bytes of a file were to be sent. */
  get stores(): number {
    return this.count('STOR');
  }

  get binding(): number {
    const binding = this.ledger.bindingsOf(this.#job.name).at(-1);
    if (binding === undefined) throw new Error('the ledger has never seen the job');
    return binding.id;
  }

  known(): Known[] {
    return [...this.ledger.known(this.binding)];
  }

  skips(): RememberedSkip[] {
    return this.ledger.skips(this.#job.name, 1_000);
  }

  intents(): Intent[] {
    return [...this.ledger.openIntents(this.binding)];
  }

  /** The events of one kind. */
  told<Name extends FerrydEvent['event']>(name: Name): Extract<FerrydEvent, { event: Name }>[] {
    return this.events.filter((event) => event.event === name) as Extract<FerrydEvent, { event: Name }>[];
  }

  /** Both sides hold the same files with the same content, and nothing temporary is left anywhere. */
  expectConverged(): void {
    expect(this.temporaries()).toEqual([]);
    expect(this.held()).toEqual(this.here());
    expect(this.intents()).toEqual([]);
  }

  /**
   * From now on looks at the server's disk before each command and before each reply: under a final name there is
   * nothing, or one of the contents that are whole.
   */
  watchFinals(whole: Readonly<Record<string, readonly (string | Buffer)[]>>): Watch {
    const wrong: string[] = [];
    let looks = 0;
    const look = (when: string): void => {
      looks += 1;
      for (const [path, contents] of Object.entries(whole)) {
        const found = readMaybe(this.remote(path));
        if (found === undefined) continue;
        if (!contents.some((content) => found.equals(Buffer.from(content)))) {
          wrong.push(`${path} holds ${found.length} bytes that are no whole file, at ${when}`);
        }
      }
    };
    this.server.on('command', (verb) => look(`command ${verb}`));
    this.server.on('reply', (text) => look(`reply ${text}`));
    return {
      expectWhole: () => {
        expect(wrong).toEqual([]);
        expect(looks).toBeGreaterThan(5);
      },
    };
  }
}

export interface Watch {
  expectWhole(): void;
}

/** Writes a file and its directories. */
async function place(path: string, content: string | Uint8Array, mtimeMs: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await utimes(path, mtimeMs / 1000, mtimeMs / 1000);
}

/** As `put`, at once: for hooks of the server, which do not wait. */
export function overwrite(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function filesBelow(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (directory: string): void => {
    for (const name of readdirSync(join(root, directory))) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const stats = lstatSync(join(root, path));
      if (stats.isDirectory()) walk(path);
      else if (stats.isFile()) found[path] = readFileSync(join(root, path), 'latin1');
      else found[path] = 'no regular file';
    }
  };
  if (lstatSync(root, { throwIfNoEntry: false }) !== undefined) walk('');
  return found;
}

function readMaybe(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
