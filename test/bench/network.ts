/*
 * A network that is the benchmark's alone: a loopback in a namespace of its own, with as many ports as there can be,
 * and few closed connections kept (TIME_WAIT). Ten thousand files over FTP are ten thousand data connections, each of
 * which would otherwise take up a port for a minute: the second program would run out of them. Where the machine does
 * not allow it (it takes root) everything is played on the machine's own loopback, and a run begins once the ports of
 * the one before are free again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { loopback, type Place } from '../support/place.js';
import { findProgram, unpackedEnvironment } from '../support/real-server.js';

const SETTINGS = {
  'ipv4/ip_local_port_range': '10000 65000',
  'ipv4/tcp_max_tw_buckets': '1000',
};
/** Of the machine's own ports, the part that closed connections and a run may have together. */
const SHARE = 0.8;
/** The kernel keeps them for 60 s. */
const PATIENCE_MS = 70_000;

export interface Network extends AsyncDisposable {
  readonly place: Place;
  /** Why it is the machine's own loopback; undefined where it is a network of its own. */
  readonly shared: string | undefined;
  /** Resolves when there are ports enough for a run with so many connections, or a minute is over. */
  calm(connections: number): Promise<void>;
}

/** A network of its own, or the machine's loopback where it cannot be had. */
export async function ownNetwork(): Promise<Network> {
  const set = Object.entries(SETTINGS).map(([name, value]) => `echo ${value} >/proc/sys/net/${name}`);
  const script = [`"$0" link set lo up`, ...set, 'echo ready', 'exec cat'].join(' && ');
  // It ends when its standard input does, so with this process, however this ends.
  const holder = spawn(
    findProgram('unshare') ?? 'unshare',
    ['--net', 'sh', '-c', script, findProgram('ip') ?? 'ip'],
    { env: unpackedEnvironment(), stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const over = new Promise<undefined>((done) => {
    holder.once('error', () => done(undefined));
    holder.once('exit', () => done(undefined));
  });
  holder.stdin.on('error', () => undefined);
  const complaint = text(holder.stderr);
  const lines = createInterface({ input: holder.stdout });
  const ready = await Promise.race([once(lines, 'line'), over]);
  if (ready === undefined) {
    const why = (await complaint.catch(() => '')).trim().split('\n').at(-1);
    return {
      place: loopback,
      shared: `no network of its own (${why === undefined || why === '' ? 'unshare is missing' : why})`,
      calm: portsAreFree,
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const enter = [findProgram('nsenter') ?? 'nsenter', `--net=/proc/${holder.pid}/ns/net`, '--'];
  return {
    place: { host: loopback.host, enter },
    shared: undefined,
    calm: async () => {},
    [Symbol.asyncDispose]: async () => {
      holder.stdin.end();
      await over;
    },
  };
}

async function portsAreFree(connections: number): Promise<void> {
  const [first = 0, last = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
    .split(/\s+/)
    .map(Number);
  const most = (last - first) * SHARE;
  const deadline = performance.now() + PATIENCE_MS;
  while (timeWaits() > 0 && timeWaits() + connections > most && performance.now() < deadline)
    await pause(1000);
}

function timeWaits(): number {
  return Number(/^TCP:.* tw (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))?.[1] ?? 0);
}
