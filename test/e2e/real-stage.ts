/*
 * A stage with a real server on it, over SFTP, or over explicit TLS that is required, with session reuse where the server
 * can demand it: its files are `remote/` of the stage. Jobs are written as a person writes them, in YAML, and what both sides hold
 * afterwards is read from the disk.
 */
import { mkdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { fromTrash, isTrash } from '../../src/plan/trash.js';
import { certificates } from '../support/certificates.js';
import type { RealServer } from '../support/real-server.js';
import { startSshd } from '../support/servers/openssh.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startVsftpd, type VsftpdOptions } from '../support/servers/vsftpd.js';
import type { CommandOptions, Ended } from './command.js';
import { pathsBelow, type RunResult, resultOf, Stage } from './stage.js';

/** The servers that can be had over SSH, or over TLS with session reuse, or as near to it as they come. */
export const SERVERS = {
  vsftpd: (root: string) => startVsftpd({ ...SECURE, requireSessionReuse: true, root }),
  proftpd: (root: string) => startProftpd({ ...SECURE, requireSessionReuse: true, root }),
  'pure-ftpd': (root: string) => startPureFtpd({ ...SECURE, root }),
  openssh: (root: string) => startSshd({ root }),
} as const;

export type RealName = keyof typeof SERVERS;

const SECURE = { security: 'explicit', requireTls: true } as const;

/** The start of a vsftpd with further settings of vsftpd.conf. */
export function vsftpdWith(settings: Exclude<VsftpdOptions['settings'], undefined>) {
  return (root: string) => startVsftpd({ ...SECURE, requireSessionReuse: true, root, settings });
}

/** As patient as a real job: what a busy machine does to one connection is not what is tested here. */
const PATIENT = 'retries: { attempts: 5, firstDelay: 20ms, maxDelay: 1s }';

/** Path to content of small files of text. */
export type Texts = Readonly<Record<string, string>>;

/** What one run did, and how it ended. */
export type Did = Pick<Ended, 'code' | 'log' | 'words'> & {
  readonly result: RunResult;
  /** How many files it uploaded, downloaded and deleted, and how many it skipped. */
  readonly counts: readonly [up: number, down: number, deleted: number, skipped: number];
  /** What it warned of, a sentence each. */
  readonly warnings: readonly string[];
};

/** One that speaks SFTP has a host key. */
type AnyServer = RealServer & { readonly hostKeyFingerprint?: string };

export class RealStage implements AsyncDisposable {
  readonly stage: Stage;
  readonly server: AnyServer;

  private constructor(stage: Stage, server: AnyServer) {
    this.stage = stage;
    this.server = server;
  }

  /** An empty stage with `target/` for pulls, the server on it, and `servers.yaml` with the server's name `nas`. */
  static async open(start: (root: string) => Promise<AnyServer>): Promise<RealStage> {
    const stage = await Stage.open();
    try {
      const server = await start(stage.at('remote'));
      await mkdir(stage.at('target'));
      await stage.write('jobs/ca.pem', (await certificates()).ca.cert);
      const real = new RealStage(stage, server);
      await real.pointAt(server);
      return real;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes `servers.yaml`: `nas` is at this address. */
  async pointAt({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const { user, hostKeyFingerprint } = this.server;
    const [scheme, trust] =
      hostKeyFingerprint === undefined
        ? ['ftpes', 'tls: { ca: ca.pem }']
        : ['sftp', `hostKey: "${hostKeyFingerprint}"`];
    const lines = [
      `url: ${scheme}://${host}:${port}`,
      `user: ${user}`,
      'password: { env: NAS_PASSWORD }',
      trust,
    ];
    await this.stage.write('jobs/servers.yaml', `nas:\n${lines.map((line) => `  ${line}\n`).join('')}`);
  }

  /** Writes `jobs/NAME.yaml`, with quick retries. */
  async job(name: string, ...lines: string[]): Promise<void> {
    await this.stage.write(`jobs/${name}.yaml`, [...lines, PATIENT, ''].join('\n'));
  }

  /**
   * Writes files below a directory of the stage, with one modification time; what stands below `remote/` belongs to the
   * server.
   */
  async put(directory: string, texts: Texts, modifiedS?: number): Promise<void> {
    for (const [path, text] of Object.entries(texts)) {
      await this.stage.write(`${directory}/${path}`, text);
      if (modifiedS !== undefined) await utimes(this.stage.at(directory, path), modifiedS, modifiedS);
    }
    await this.server.adopt();
  }

  /** Takes files or whole directories away. */
  async drop(directory: string, ...paths: string[]): Promise<void> {
    for (const path of paths) await rm(this.stage.at(directory, path), { recursive: true });
  }

  /** Runs `ferryd ARGS` to its end. */
  async ferryd(args: readonly string[], options: Partial<CommandOptions> = {}): Promise<Ended> {
    return this.start(args, options).inTime();
  }

  /** Starts `ferryd ARGS`. */
  start(args: readonly string[], options: Partial<CommandOptions> = {}) {
    const env = { NAS_PASSWORD: this.server.password, ...options.env };
    return this.stage.start(args, { ...options, env });
  }

  /**
   * `ferryd run JOB` to its end.
   *
   * @throws Error where it ends with another exit code than was due, with what it said
   */
  async run(job: string, code = 0, options: Partial<CommandOptions> = {}): Promise<Did> {
    return this.read(await this.ferryd(['--json', 'run', job], options), code);
  }

  /**
   * `ferryd run JOB...`: several jobs, one after the other, all of which have to end well.
   *
   * @returns what each of them counted
   */
  async runAll(...jobs: string[]): Promise<Did['counts'][]> {
    const { code, stdout, stderr } = await this.ferryd(['--json', 'run', ...jobs]);
    if (code !== 0) throw new Error(`Exit code ${code}, and 0 was due.\n${stdout}\n${stderr}`);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => countsOf(JSON.parse(line) as RunResult));
  }

  /** What a `--json run` that has ended did. @throws Error where its exit code is another one than was due */
  read(ended: Ended, code = 0): Did {
    if (ended.code !== code)
      throw new Error(`Exit code ${ended.code}, and ${code} was due.\n${ended.stdout}\n${ended.stderr}`);
    const result = resultOf(ended);
    const warnings = ended.log.filter(({ level }) => level !== 'info').map(({ message }) => message);
    const { log, words } = ended;
    return { code, log, words, result, counts: countsOf(result), warnings };
  }

  /** The files below a directory of the stage, with what is in them; without the trash. */
  async held(directory: string): Promise<Record<string, string>> {
    const texts: Record<string, string> = {};
    for (const path of await this.#paths(directory)) {
      if (!isTrash(path)) texts[path] = await readFile(this.stage.at(directory, path), 'utf8');
    }
    return texts;
  }

  /** What lies in the trash of a directory of the stage: `PATH = CONTENT`, in order, whenever it came there. */
  async trash(directory: string): Promise<string[]> {
    const lines: string[] = [];
    for (const path of await this.#paths(directory)) {
      if (!isTrash(path)) continue;
      const from = fromTrash(path);
      if (from === undefined) throw new Error(`${path} is nothing that a run puts into the trash`);
      lines.push(`${from.path} = ${await readFile(this.stage.at(directory, path), 'utf8')}`);
    }
    return lines.sort();
  }

  /** Modification times of files below a directory, in whole seconds. */
  async times(directory: string, ...paths: string[]): Promise<number[]> {
    return Promise.all(
      paths.map(async (path) => Math.floor((await stat(this.stage.at(directory, path))).mtimeMs / 1000)),
    );
  }

  /**
   * How often the server heard each command, by its own log; CONNECT are its sessions. vsftpd tells all of them, sshd
   * its sessions alone.
   */
  async heard(): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    const line = / CONNECT: | FTP command: Client "[^"]*", "([A-Z]+)|^Connection from /gm;
    for (const [, verb = 'CONNECT'] of (await this.server.log()).matchAll(line)) {
      counts[verb] = (counts[verb] ?? 0) + 1;
    }
    return counts;
  }

  async #paths(directory: string): Promise<string[]> {
    return pathsBelow(this.stage.at(directory)).catch(() => []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    await this.stage[Symbol.asyncDispose]();
  }
}

function countsOf({ uploaded, downloaded, deleted, skipped }: RunResult): Did['counts'] {
  return [uploaded, downloaded, deleted, skipped];
}
