/*
 * A machine with systemd as its first process: the Debian tree of .ci/boot-tree, booted by systemd-nspawn with nothing
 * but a loopback (machine.sh). ferryd is in it as `npm install --global` would put it there: the packed tarball, and
 * beside it the packages that it names. Nothing of the machine outlives the tests, also where they are killed.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, readFile, rmdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { childrenOf, findProgram } from '../support/real-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const ROOT = resolve(import.meta.dirname, '../..');
const BOOT_WITHIN_MS = 60_000;
const HALT_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 50;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Where npm puts global packages on Debian. */
const INSTALLED = '/usr/local/lib/node_modules/ferryd';

const execute = promisify(execFile);

function tree(): string {
  return join(process.env.FERRYD_BOOT_TREES ?? '/var/cache/ferryd-boot', 'tree');
}

/** What is missing on this computer, and how to get it; undefined where a machine can be booted. */
export function missingForBoot(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can boot a machine: run the tests as root';
  const absent = ['systemd-nspawn', 'nsenter', 'setpriv', 'unshare'].filter(
    (name) => findProgram(name) === undefined,
  );
  if (absent.length > 0 || !existsSync(tree())) {
    return `there is no ${[...absent, ...(existsSync(tree()) ? [] : ['Debian tree to boot'])].join(', no ')}: run sudo .ci/boot-tree`;
  }
  return undefined;
}

/** How a script in the machine ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Machine implements AsyncDisposable {
  readonly #stage: TemporaryDirectory;
  readonly #process: ChildProcess;
  readonly #said: Buffer[];
  #leader = 0;

  private constructor(stage: TemporaryDirectory, child: ChildProcess, said: Buffer[]) {
    this.#stage = stage;
    this.#process = child;
    this.#said = said;
  }

  /** Packs ferryd and boots; resolves when systemd says that all is up. */
  static async boot(): Promise<Machine> {
    const stage = await temporaryDirectory('boot');
    try {
      const program = await pack(stage);
      const name = `ferryd-boot-${process.pid}`;
      const binds = [`--bind-ro=${stage.join('ferryd')}:${INSTALLED}`, ...(await nodeThatFits())];
      const child = spawn(join(import.meta.dirname, 'machine.sh'), [tree(), name, ...binds], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const said: Buffer[] = [];
      child.stdout.on('data', (bytes: Buffer) => said.push(bytes));
      child.stderr.on('data', (bytes: Buffer) => said.push(bytes));
      const machine = new Machine(stage, child, said);
      try {
        await machine.#booted();
        await machine.run(`ln -s '${join(INSTALLED, program)}' /usr/local/bin/ferryd`);
      } catch (error) {
        await machine[Symbol.asyncDispose]();
        throw error;
      }
      return machine;
    } catch (error) {
      await stage.remove();
      throw error;
    }
  }

  /** Runs a script as root in the machine. @returns how it ended, whatever its code */
  async try(script: string, options: { readonly input?: string } = {}): Promise<Ended> {
    const words = ['-t', String(this.#leader), '-a', '--', '/usr/bin/env', '-i', ...ENVIRONMENT, '/bin/sh'];
    const running = execute('nsenter', [...words, '-euc', `${MOVE_IN}${script}`], {
      maxBuffer: MAX_OUTPUT_BYTES,
    });
    running.child.stdin?.on('error', () => undefined);
    running.child.stdin?.end(options.input ?? '');
    try {
      return { code: 0, ...(await running) };
    } catch (error) {
      const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (typeof code !== 'number') throw error;
      return { code, stdout: stdout ?? '', stderr: stderr ?? '' };
    }
  }

  /** Runs a script that has to work. @returns what it printed, without the last newline */
  async run(script: string, options: { readonly input?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.try(script, options);
    if (code !== 0) throw new Error(`In the machine, ${script}\nended with ${code}:\n${stdout}${stderr}`);
    return stdout.replace(/\n$/, '');
  }

  /** Writes a file in the machine, with the directories above it. */
  async write(path: string, content: string): Promise<void> {
    await this.run(`mkdir -p "$(dirname '${path}')"; cat >'${path}'`, { input: content });
  }

  /** Runs a script again and again until what it prints fits. @returns what it printed then */
  async until(script: string, fits: (text: string) => boolean, withinMs = 40_000): Promise<string> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const { stdout } = await this.try(script);
      const text = stdout.replace(/\n$/, '');
      if (fits(text)) return text;
      if (performance.now() > deadline) {
        const journal = await this.try('journalctl --no-pager --lines=40 --output=short-precise');
        throw new Error(
          `In the machine, ${script}\nprinted nothing that fits within ${withinMs} ms, last:\n${text}\n${journal.stdout}`,
        );
      }
      await pause(LOOK_EVERY_MS);
    }
  }

  /** Properties of a unit, as `systemctl show` has them. */
  async show(unit: string, ...names: readonly string[]): Promise<Record<string, string>> {
    const text = await this.run(`systemctl show ${unit} --property=${names.join(',')}`);
    return Object.fromEntries(
      text.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Halts the machine, and kills what does not halt. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((done) => child.once('close', () => done()));
      if (this.#leader > 0) await this.try('systemctl --no-block --force poweroff').catch(() => undefined);
      const timer = setTimeout(() => child.kill('SIGKILL'), this.#leader > 0 ? HALT_WITHIN_MS : 0);
      await ended;
      clearTimeout(timer);
    }
    await removeControlGroups(`ferryd-boot-${child.pid}`);
    await this.#stage.remove();
  }

  async #booted(): Promise<void> {
    const deadline = performance.now() + BOOT_WITHIN_MS;
    for (;;) {
      if (this.#process.exitCode !== null || performance.now() > deadline) {
        throw new Error(`The machine does not boot: ${Buffer.concat(this.#said).toString()}`);
      }
      this.#leader = await firstProcess(this.#process.pid ?? 0);
      if (this.#leader > 0) {
        const { stdout } = await this.try('systemctl is-system-running --wait || true');
        if (stdout.trim() === 'running') return;
        if (stdout.trim() === 'degraded') {
          throw new Error(
            `Units failed at boot: ${await this.run('systemctl --failed --no-pager; journalctl --no-pager --priority=warning')}`,
          );
        }
      }
      await pause(LOOK_EVERY_MS);
    }
  }
}

/** Its control group is still one of the host's, and systemd speaks with nobody whose group it cannot see. */
const MOVE_IN = 'mkdir -p /sys/fs/cgroup/guests; echo $$ >/sys/fs/cgroup/guests/cgroup.procs\n';

const ENVIRONMENT = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'LANG=C.UTF-8',
  'SYSTEMD_COLORS=0',
];

/** The machine's systemd: child of nspawn, which is the child of unshare. @returns 0 where it is not there yet */
async function firstProcess(unshare: number): Promise<number> {
  const [nspawn] = await childrenOf(unshare);
  const [leader] = nspawn === undefined ? [] : await childrenOf(nspawn);
  if (leader === undefined) return 0;
  // Until then it is nspawn itself, busy with the mounts.
  const name = await readFile(`/proc/${leader}/comm`, 'utf8').catch(() => '');
  return name.trim() === 'systemd' ? leader : 0;
}

/** Makes the directory of the installed package below the stage. @returns where its program lies in it */
async function pack(stage: TemporaryDirectory): Promise<string> {
  const npm = { ...process.env, HOME: stage.path, npm_config_cache: stage.join('.npm') };
  const options = { cwd: ROOT, env: npm, maxBuffer: MAX_OUTPUT_BYTES };
  // Without scripts: `prepack` compiles, which would take build/ away from the tests beside this one.
  const words = ['pack', '--json', '--ignore-scripts', '--pack-destination', stage.path];
  const { stdout } = await execute('npm', words, options);
  const [packed] = JSON.parse(stdout) as { readonly filename: string }[];
  if (packed === undefined) throw new Error(`npm pack made nothing: ${stdout}`);
  await mkdir(stage.join('ferryd'));
  await execute('tar', [
    '--extract',
    '--file',
    stage.join(packed.filename),
    '--directory',
    stage.join('ferryd'),
    '--strip-components=1',
  ]);
  const listed = await execute('npm', ['ls', '--omit=dev', '--all', '--parseable'], options);
  for (const path of listed.stdout.split('\n').filter(Boolean)) {
    const place = relative(ROOT, path);
    if (place.startsWith('node_modules')) {
      await cp(path, stage.join('ferryd', place), {
        recursive: true,
        filter: (source) => !relative(path, source).split('/').includes('node_modules'),
      });
    }
  }
  const manifest = JSON.parse(await readFile(stage.join('ferryd/package.json'), 'utf8')) as {
    readonly bin: { readonly ferryd: string };
  };
  // As npm does for what stands in `bin`.
  await chmod(stage.join('ferryd', manifest.bin.ferryd), 0o755);
  return manifest.bin.ferryd;
}

/** The native package was built for the Node that runs the tests; where the tree's own is another one, that one goes along. */
async function nodeThatFits(): Promise<string[]> {
  const { stdout } = await execute('chroot', [tree(), 'node', '--print', 'process.versions.modules']);
  return stdout.trim() === process.versions.modules
    ? []
    : [`--bind-ro=${process.execPath}:/usr/local/bin/node`];
}

async function removeControlGroups(name: string): Promise<void> {
  for (const hierarchy of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd']) {
    await removeBelow(join(hierarchy, name));
  }
}

/** A control group goes when it has no groups below it; its files go with it. */
async function removeBelow(group: string): Promise<void> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeBelow(join(group, entry.name));
  await rmdir(group).catch(() => undefined);
}
