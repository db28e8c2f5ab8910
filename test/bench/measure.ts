/*
 * Runs a program and measures it whole: time by the clock, CPU seconds and the peak of its memory, with all processes
 * that it starts. The shell's `time` counts the CPU of what is waited for; for what is not, such as an ssh that lftp
 * leaves to end by itself, /proc is looked at meanwhile, and the larger count is taken. Memory is the largest sum of
 * resident pages (their high-water marks) of the processes that ran side by side; pages that they share count twice.
 * What a server did meanwhile is the difference of what its processes, those it has waited for included, have used.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from '../support/place.js';

/** At first more often: a program that is over in no time has a peak, too. */
const FIRST_LOOK_MS = 2;
const LOOK_EVERY_MS = 20;
const MICROSECONDS = 1e6;
/** Of /proc/PID/stat: what the kernel tells user space in, on every architecture of Linux. */
const TICKS_PER_S = 100;
const WORDS_KEPT = 400;
/** A server's sessions end a little later than their client; longer than this nobody waits for them. */
const SESSIONS_END_MS = 500;

export interface Invocation {
  readonly command: Command;
  readonly env: NodeJS.ProcessEnv;
  /** Directory that it is started in. */
  readonly directory: string;
}

export interface Measured {
  /** `0`, another exit code, the name of a signal, or `timeout`. */
  readonly ended: string;
  readonly wallS: number;
  readonly cpuS: number;
  /** Of the server's processes meanwhile; 0 where there was none to look at. */
  readonly serverCpuS: number;
  readonly peakMiB: number;
  /** The end of what it said, on one line. */
  readonly words: string;
}

export interface Circumstances {
  /** File that the output goes to; `LOG.time` is made beside it. */
  readonly log: string;
  readonly timeoutMs: number;
  /** Process id of the server that it talks to. */
  readonly server?: number;
}

/** Runs a program to its end, and no longer than the timeout; then its whole process group is killed. */
export async function measure(
  { command, env, directory }: Invocation,
  { log, timeoutMs, server }: Circumstances,
): Promise<Measured> {
  const before = server === undefined ? undefined : usageBelow(server);
  const output = openSync(log, 'w');
  const times = `${log}.time`;
  const start = performance.now();
  const shell = spawn(
    'bash',
    [
      '-c',
      'exec 3>"$1"; shift; TIMEFORMAT="%U %S"; { time "$@" 2>&4; } 4>&2 2>&3',
      'bash',
      times,
      ...command,
    ],
    { cwd: directory, env: { ...env, LC_ALL: 'C.UTF-8' }, detached: true, stdio: ['ignore', output, output] },
  );
  closeSync(output);
  const { pid } = shell;
  if (pid === undefined) throw new Error('bash is not there: it measures');
  const watch = new Watch(pid);
  let waitMs = FIRST_LOOK_MS;
  const look = (): NodeJS.Timeout => {
    watch.look();
    waitMs = Math.min(LOOK_EVERY_MS, waitMs + 1);
    return setTimeout(() => {
      next = look();
    }, waitMs);
  };
  let next: NodeJS.Timeout = look();
  let isLate = false;
  const deadline = setTimeout(() => {
    isLate = true;
    killGroup(pid);
  }, timeoutMs);
  const atExit = (): void => killGroup(pid);
  process.once('exit', atExit);
  try {
    const ended = await new Promise<string>((done, failed) => {
      shell.once('error', failed);
      shell.once('exit', (code, signal) => done(signal ?? String(code)));
    });
    const wallS = (performance.now() - start) / 1000;
    killGroup(pid);
    return {
      ended: isLate ? 'timeout' : ended,
      wallS,
      cpuS: Math.max(watch.cpuS, cpuOf(readFileSync(times, 'utf8'))),
      serverCpuS: server === undefined || before === undefined ? 0 : await usedSince(server, before),
      peakMiB: watch.peakMiB,
      words: lastWords(readFileSync(log, 'utf8')),
    };
  } finally {
    clearTimeout(next);
    clearTimeout(deadline);
    process.off('exit', atExit);
    killGroup(pid);
  }
}

/** The processes below one, as they come and go; itself, a shell, is not counted. */
class Watch {
  readonly #shell: number;
  readonly #cpuTicks = new Map<number, number>();
  #peakKiB = 0;

  constructor(shell: number) {
    this.#shell = shell;
  }

  get cpuS(): number {
    return [...this.#cpuTicks.values()].reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_S;
  }

  get peakMiB(): number {
    return this.#peakKiB / 1024;
  }

  look(): void {
    let sumKiB = 0;
    for (const pid of descendants(this.#shell)) {
      sumKiB += Number(/^VmHWM:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
      const [user, system] = ticksOf(pid);
      if (system !== undefined) this.#cpuTicks.set(pid, Number(user) + Number(system));
    }
    this.#peakKiB = Math.max(this.#peakKiB, sumKiB);
  }
}

export interface Usage {
  readonly cpuS: number;
  readonly processes: number;
}

/** What a process and all below it have used, with those that have ended and were waited for. */
export function usageBelow(pid: number): Usage {
  const pids = [pid, ...descendants(pid)];
  const ticks = pids.flatMap(ticksOf).reduce((sum, some) => sum + some, 0);
  return { cpuS: ticks / TICKS_PER_S, processes: pids.length };
}

async function usedSince(pid: number, before: Usage): Promise<number> {
  const deadline = performance.now() + SESSIONS_END_MS;
  let now = usageBelow(pid);
  while (now.processes > before.processes && performance.now() < deadline) {
    await pause(LOOK_EVERY_MS);
    now = usageBelow(pid);
  }
  return now.cpuS - before.cpuS;
}

/** The process's own time in user space and in the kernel, then that of the children it has waited for. */
function ticksOf(pid: number): number[] {
  const stat = read(`/proc/${pid}/stat`);
  // Behind the name, which may hold anything.
  const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return words.slice(11, 15).map(Number);
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Empty where the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function cpuOf(text: string): number {
  const [user = 0, system = 0] = text.trim().split(/\s+/).map(Number);
  return Math.round((user + system) * MICROSECONDS) / MICROSECONDS || 0;
}

/** The last lines that say something, on one. */
export function lastWords(text: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  // No bars, which end a cell of a table.
  const words = [...new Set(lines)].slice(-3).join(' / ').replaceAll('|', '/');
  return words.length > WORDS_KEPT ? `...${words.slice(-WORDS_KEPT)}` : words;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is empty: that is what was wanted.
  }
}
