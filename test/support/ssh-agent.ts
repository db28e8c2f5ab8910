/*
 * A real ssh-agent of a test's own, at a socket in its own directory, with keys that the test gives it. It ends with
 * the test, and with this process, however that ends.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findProgram, unpackedEnvironment } from './real-server.js';
import type { SshKey } from './ssh-keys.js';
import { temporaryDirectory } from './temporary.js';

const startMs = 5_000;

export interface SshAgent extends AsyncDisposable {
  /** Path of its socket. */
  readonly socket: string;
  /** From now on nobody answers. Safe to call twice. */
  stop(): Promise<void>;
}

/**
 * Starts an agent that holds these keys, in this order.
 *
 * @throws Error where ssh-agent is missing, does not start, or refuses a key
 */
export async function startSshAgent(keys: readonly SshKey[]): Promise<SshAgent> {
  const program = findProgram('ssh-agent');
  const add = findProgram('ssh-add');
  if (program === undefined || add === undefined)
    throw new Error('ssh-agent is not installed: run .ci/servers');
  const directory = await temporaryDirectory('agent');
  const socket = directory.join('socket');
  const env = { ...unpackedEnvironment(), SSH_AUTH_SOCK: socket };
  const agent = spawn(program, ['-D', '-a', socket], { env, stdio: 'ignore' });
  const exited = once(agent, 'exit');
  const kill = (): void => void agent.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async (): Promise<void> => {
    process.off('exit', kill);
    agent.kill('SIGKILL');
    await exited;
  };
  const dispose = async (): Promise<void> => {
    await stop();
    await directory.remove();
  };
  try {
    const deadline = performance.now() + startMs;
    while (!(await answers(socket))) {
      if (agent.exitCode !== null || performance.now() > deadline)
        throw new Error('ssh-agent does not start');
      await sleep(5);
    }
    for (const { privateKey } of keys) {
      // From standard input: the key is in no file of its own.
      const adding = promisify(execFile)(add, ['-q', '-'], { env });
      adding.child.stdin?.end(privateKey);
      await adding;
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return { socket, stop, [Symbol.asyncDispose]: dispose };
}

/** The socket is there before somebody listens at it. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('error', () => resolve(false));
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
  });
}
