/*
 * `npm run demo`: the whole journey on one machine, explained as it goes. An FTPS server (the tests' own, real
 * sockets and real files, never part of the daemon), a job of a few lines of YAML, the real command line as its
 * own process. Everything lies in one temporary directory and is gone afterwards; all traffic stays on loopback.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { certificates } from '../support/certificates.js';
import { startFtpServer } from '../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const FERRYD = fileURLToPath(new URL('../../ferryd/bin/main.js', import.meta.url));

/** Made up for this demo and known to nobody else; the server below asks for it. */
const PASSWORD = 'only-for-the-demo';

/** Nothing here takes longer, unless something is wrong. */
const PATIENCE_MS = 60_000;

const colours = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '';
const bold = colours ? '\u001b[1m' : '';
const normal = colours ? '\u001b[0m' : '';

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const step = (title: string): void => say(`\n${bold}${title}${normal}`);
const quote = (text: string): void => say(text.trimEnd().replace(/^/gm, '    '));

/** What a log line of the daemon has for the demo. */
interface Line {
  readonly event: string;
  readonly message: string;
  readonly path?: string;
}

/** The daemon in its own process; its log lines are shown as they come, and can be waited for. */
class RunningDaemon {
  readonly #child: ChildProcess;
  readonly #seen: Line[] = [];
  #wake: () => void = () => {};

  constructor(directory: TemporaryDirectory) {
    this.#child = spawn(process.execPath, [FERRYD, 'daemon'], {
      cwd: directory.path,
      env: environment(directory),
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    if (this.#child.stderr === null) throw new Error('The daemon has no log to read.');
    createInterface({ input: this.#child.stderr }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      quote(line.message);
      this.#seen.push(line);
      this.#wake();
    });
    this.#child.on('exit', () => this.#wake());
  }

  /** Resolves with the first line that fits. */
  async until(fits: (line: Line) => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!this.#seen.some(fits)) {
      if (this.#child.exitCode !== null)
        throw new Error('The daemon ended early; its last words stand above.');
      if (Date.now() > deadline) throw new Error('The daemon did not get there in time.');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Asks it to stop, as systemd would. Returns its exit code. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await exited;
    }
    return this.#child.exitCode;
  }
}

function environment(directory: TemporaryDirectory): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    TZ: process.env.TZ,
    HOME: directory.path,
    NAS_PASSWORD: PASSWORD,
    FERRYD_LEDGER: directory.join('ledger.db'),
  };
}

/** Runs a ferryd command to its end and shows what it prints. */
async function ferryd(directory: TemporaryDirectory, ...words: string[]): Promise<void> {
  say(`  $ ferryd ${words.join(' ')}`);
  const child = spawn(process.execPath, [FERRYD, ...words], {
    cwd: directory.path,
    env: environment(directory),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr.on('data', (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  quote(text);
  if (code !== 0) throw new Error(`ferryd ${words.join(' ')} ended with exit code ${code}.`);
}

async function demo(directory: TemporaryDirectory): Promise<void> {
  step('1. A server');
  await mkdir(directory.join('server'));
  const { ca, good } = await certificates();
  await using server = await startFtpServer({
    root: directory.join('server'),
    home: '/home/backup',
    users: { backup: PASSWORD },
    security: 'explicit',
    requireTls: true,
    requireSessionReuse: true,
    certificate: good,
  });
  const arrived = (name: string): string => directory.join('server/home/backup/dumps', name);
  say(
    `  A small FTPS server listens on localhost:${server.port}. In real life this is your NAS or your web host.`,
  );
  say(`  It stores its files below ${directory.join('server')}.`);

  step('2. Some files, and a job that says where they go');
  await mkdir(directory.join('files/db'), { recursive: true });
  await writeFile(directory.join('files/notes.txt'), 'Files get to a server by themselves.\n');
  await writeFile(directory.join('files/Ünïcode – 日本.txt'), 'Names are kept as they are.\n');
  await writeFile(directory.join('files/db/dump.sql.gz'), Buffer.alloc(3_000_000, 'ferryd'));
  await mkdir(directory.join('jobs'));
  await writeFile(directory.join('jobs/nas-ca.pem'), ca.cert);
  const servers = `nas:
  url: ftpes://localhost:${server.port}     # explicit TLS; the certificate is verified
  user: backup
  password: { env: NAS_PASSWORD }  # never in the file itself
  tls: { ca: nas-ca.pem }
`;
  const job = `description: Everything in files/, as soon as it is written
from: ../files
to: nas:dumps
triggers:
  - watch: { settle: 1s }
  - cron: "30 2 * * *"
`;
  await writeFile(directory.join('jobs/servers.yaml'), servers);
  await writeFile(directory.join('jobs/files-to-nas.yaml'), job);
  say('  jobs/servers.yaml');
  quote(servers);
  say('  jobs/files-to-nas.yaml');
  quote(job);

  step('3. Is it right? What would it do?');
  await ferryd(directory, 'check');
  await ferryd(directory, 'plan', 'files-to-nas');

  step('4. The daemon starts, and brings over what is there');
  say('  $ ferryd daemon');
  const daemon = new RunningDaemon(directory);
  try {
    await daemon.until((line) => line.event === 'run.ended');
    const same = await sameContent(directory.join('files/db/dump.sql.gz'), arrived('db/dump.sql.gz'));
    if (!same) throw new Error('The dump on the server is not the one that was sent.');
    say('  The dump on the server is the same, byte for byte.');

    step('5. A file is dropped, and nobody types anything');
    say('  $ echo "hello" > files/hello.txt');
    await writeFile(directory.join('files/hello.txt'), 'hello\n');
    await daemon.until((line) => line.event === 'file.uploaded' && line.path === 'hello.txt');
    await access(arrived('hello.txt'));
    say(`  It arrived: ${arrived('hello.txt')}`);

    step('6. What happened? Ask while the daemon runs');
    await daemon.until((line) => line.event === 'run.ended' && line.message.includes('1 uploaded'));
    await ferryd(directory, 'status');
    await ferryd(directory, 'history');

    step('7. Stop');
    say('  $ kill -TERM <the daemon>');
    const code = await daemon.stop();
    if (code !== 0) throw new Error(`The daemon ended with exit code ${code}.`);
  } finally {
    await daemon.stop();
  }
}

async function sameContent(one: string, other: string): Promise<boolean> {
  return (await readFile(one)).equals(await readFile(other));
}

say('This is ferryd, on its own machine-sized playground. Nothing outside a temporary directory is touched.');
try {
  await using directory = await temporaryDirectory('demo');
  await demo(directory);
  say('\nEverything was cleaned up. README.md has your own first job, in five minutes.');
} catch (error) {
  process.stderr.write(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
