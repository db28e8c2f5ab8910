/*
 * A link with a round trip of its own, for tests: two network namespaces that see nothing but each other, joined by a
 * small program (link/delay.py) that hands packets from one TUN device to the other a little later. Kernels without
 * netem can do it, too. Only root may; nothing of the machine's own network is touched, and namespaces and devices
 * live exactly as long as that program, which ends with this process, however this ends.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type Command, type Place, runAt } from './place.js';
import { describeWhere, findProgram, unpackedEnvironment } from './real-server.js';

/** They stand beside the sources, also where this was compiled. */
const PROGRAMS = join(import.meta.dirname.replace('/build/test/', '/test/'), 'link');

const startMs = 10_000;

/** One end of a link: a place to run a server at (`startVsftpd({ at: link.far })`), or a client. */
export interface LinkEnd extends Place {
  /** The same end by its IPv6 address. */
  readonly v6: Place;
  /**
   * Starts a program there, in a process group of its own. What still runs when the link is removed is killed, the
   * group with it.
   */
  spawn(command: Command, options?: SpawnOptions): ChildProcess;
}

export interface Link extends AsyncDisposable {
  readonly near: LinkEnd;
  readonly far: LinkEnd;
  /** What was asked for. */
  readonly roundTripMs: number;
  /** Measures a round trip with a tiny TCP echo in `far`: the shortest of ten. */
  measure(by?: 'IPv4' | 'IPv6'): Promise<number>;
  /** From now on every packet is lost, and neither end is told. Resolves when it is so. */
  cut(): Promise<void>;
  /** Packets go through again. Resolves when it is so. */
  mend(): Promise<void>;
  /** Ends what runs at its ends, and takes everything away. Safe to call twice. */
  remove(): Promise<void>;
}

export interface LinkOptions {
  /** 40 unless told. */
  readonly roundTripMs?: number;
  /** So many of a hundred packets are lost in each direction; none unless told. */
  readonly lossPercent?: number;
  /** Which ones: the same seed, the same places in the row of all packets. */
  readonly seed?: number;
}

/**
 * A `describe` that needs a link. Where the machine has none the suite is skipped, which is said on standard error
 * once per test file, or fails where `FERRYD_REQUIRE_SERVERS=1` forbids skipping.
 */
export function describeLink(title: string, suite: () => void): void {
  describeWhere('a slow link', obstacle(), title, suite);
}

function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'a slow link is made of network namespaces: run the tests as root';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'a slow link needs /dev/net/tun, which is not there';
  }
  for (const name of ['python3', 'ip', 'nsenter'])
    if (findProgram(name) === undefined)
      return `a slow link needs ${name}, which is missing: run .ci/servers`;
  return undefined;
}

/**
 * Makes a link. Takes about 0.1 s. The loopback interface is up at both ends, too.
 *
 * @throws Error where the machine refuses; what it said stands in the message
 */
export async function slowLink(options: LinkOptions = {}): Promise<Link> {
  const { roundTripMs = 40, lossPercent = 0, seed = 1 } = options;
  const why = obstacle();
  if (why !== undefined) throw new Error(why);
  const addresses = ['10.40.0.1', 'fd40::1', '10.40.0.2', 'fd40::2'] as const;
  const wire = spawn(
    findProgram('python3') ?? 'python3',
    [join(PROGRAMS, 'delay.py'), ...[roundTripMs / 2, lossPercent, seed].map(String), ...addresses],
    { env: environment(), stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const gone = new Promise<void>((done) => {
    wire.once('error', () => done());
    wire.once('exit', () => done());
  });
  wire.stdin.on('error', () => undefined);
  const complaint = text(wire.stderr);
  const children = new Set<ChildProcess>();
  const networks: string[] = [];
  const atExit = (): void => {
    for (const child of children) killGroup(child);
    endAll(networks);
  };
  // So ends a process whose test took too long: nobody is asked then, and no exit is told.
  const atTermination = (): void => {
    atExit();
    process.kill(process.pid, 'SIGTERM');
  };
  process.once('exit', atExit).once('SIGTERM', atTermination);

  const remove = async (): Promise<void> => {
    process.off('exit', atExit).off('SIGTERM', atTermination);
    await Promise.all(
      [...children].map(async (child) => {
        const over = new Promise((done) => child.once('exit', done));
        killGroup(child);
        await over;
      }),
    );
    endAll(networks);
    wire.stdin.end();
    await gone;
  };

  const tell = async (word: 'cut' | 'mend'): Promise<void> => {
    const answer = firstLine(wire.stdout, gone);
    wire.stdin.write(`${word}\n`);
    if ((await answer) !== word) throw new Error(`The slow link does not answer to "${word}"`);
  };

  const ready = await firstLine(wire.stdout, gone);
  const [, near, far] = /^ready (\d+) (\d+)$/.exec(ready ?? '') ?? [];
  if (wire.pid === undefined || near === undefined || far === undefined) {
    wire.kill('SIGKILL');
    await remove();
    throw new Error(`The slow link could not be made: ${(await complaint).trim() || 'it does not start'}`);
  }
  const pid = wire.pid;
  networks.push(...[near, far].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)));

  const end = (namespace: string, host: string, host6: string): LinkEnd => {
    const enter = [findProgram('nsenter') ?? 'nsenter', `--net=/proc/${pid}/fd/${namespace}`, '--'];
    return {
      host,
      enter,
      v6: { host: host6, enter },
      spawn: (command, spawnOptions = {}) => {
        const [program, ...args] = runAt({ host, enter }, command);
        const child = spawn(program, args, { ...spawnOptions, detached: true });
        children.add(child);
        const forget = (): void => void children.delete(child);
        child.once('exit', forget);
        if (child.pid === undefined) forget();
        return child;
      },
    };
  };
  const link = {
    near: end(near, addresses[0], addresses[1]),
    far: end(far, addresses[2], addresses[3]),
  };
  return {
    ...link,
    roundTripMs,
    measure: (by = 'IPv4') => measure(link, by === 'IPv4' ? link.far.host : link.far.v6.host),
    cut: () => tell('cut'),
    mend: () => tell('mend'),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

/**
 * Kills what is still in these networks, whoever started it there: only what belongs to a test gets in. A server that
 * a killed program at the near end has started at the far one would otherwise outlive them, and its network with it.
 */
function endAll(networks: readonly string[]): void {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (networks.includes(readlinkSync(`/proc/${name}/ns/net`))) process.kill(Number(name), 'SIGKILL');
    } catch {
      // It has ended in this very moment.
    }
  }
}

async function measure(link: Pick<Link, 'near' | 'far'>, host: string): Promise<number> {
  const program = join(PROGRAMS, 'echo.mjs');
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const server = link.far.spawn([process.execPath, program, 'serve', host], { stdio: [...stdio] });
  const over = new Promise<void>((done) => server.once('exit', () => done()));
  try {
    const port = server.stdout === null ? undefined : await firstLine(server.stdout, over);
    if (port === undefined) throw new Error('The echo at the far end does not start');
    const client = link.near.spawn([process.execPath, program, 'measure', host, port], {
      stdio: [...stdio],
    });
    const shortestMs = Number(client.stdout === null ? '' : await text(client.stdout));
    if (!(shortestMs > 0)) throw new Error('The far end does not answer');
    return shortestMs;
  } finally {
    killGroup(server);
    await over;
  }
}

/** The first line, or undefined where it is over, or 10 s went by, before there is one. */
async function firstLine(stream: Readable, over: Promise<void>): Promise<string | undefined> {
  const lines = createInterface({ input: stream });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      new Promise<string>((done) => lines.once('line', done)),
      over.then(() => undefined),
      new Promise<undefined>((done) => {
        timer = setTimeout(done, startMs, undefined);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    lines.close();
    stream.resume();
  }
}

/** `ip` may be the unpacked one, or stand where PATH of a test run does not lead. */
function environment(): NodeJS.ProcessEnv {
  const ip = findProgram('ip') ?? 'ip';
  return { ...unpackedEnvironment(), FERRYD_IP: ip };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is empty: that is what was wanted.
  }
}
