/*
 * Real Pure-FTPd. It runs as root only: every session takes on the ids of its account, which may not be 0, so `root`
 * and what is in it belong to nobody (65534), and files that a test puts there need `adopt()`. The account is
 * confined to `root`, as is usual with it: PWD says `/`. TLS is plain or explicit, there is no implicit one, and it
 * never asks for session reuse. A client too many hears 421; a wrong password hears its 530 after seconds, on purpose.
 * It logs to syslog only: `log()` has the transfers (CLF), no commands. Not for anything but tests.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { certificates } from '../certificates.js';
import {
  findProgram,
  launch,
  type RealServer,
  type ServerOptions,
  unpackedEnvironment,
} from '../real-server.js';
import { cryptHash } from './crypt-hash.js';

export interface PureFtpdOptions extends ServerOptions {
  /** `ferry` unless told. No colons. */
  readonly user?: string;
  readonly security?: 'plain' | 'explicit';
  /** Further arguments: `['--notruncate', '--maxidletime', '1']`. */
  readonly settings?: readonly string[];
}

const nobody = 65_534;
/** Compiled into it. */
const scoreboard = '/run/pure-ftpd';
const sweepMs = 2000;

/**
 * Starts a Pure-FTPd of its own.
 *
 * @throws Error where Pure-FTPd is missing, the tests do not run as root, or it does not start; its own words stand
 *   in the message
 */
export async function startPureFtpd(options: PureFtpdOptions = {}): Promise<RealServer> {
  const password = options.password ?? 'secret';
  const user = options.user ?? 'ferry';
  const certificate = options.certificate ?? (await certificates()).good;
  const hash = await cryptHash(password);
  return launch({
    name: 'pure-ftpd',
    at: options.at,
    maxTls: options.maxTls,
    user,
    password,
    root: options.root,
    home: '/',
    account: { uid: nobody, gid: nobody },
    logFile: 'transfers.log',
    sweep,
    prepare: async ({ directory, root, host, port, found }) => {
      // pure-pw would make a hash that takes seconds to check; the one we write is as good to the server.
      await writeFile(
        directory.join('passwords'),
        `${user}:${hash}:${nobody}:${nobody}::${root}/./${':'.repeat(12)}\n`,
        { mode: 0o600 },
      );
      await makeDatabase(directory.join('passwords'), directory.join('passwords.pdb'));
      await writeFile(directory.join('certificate.pem'), certificate.cert);
      await writeFile(directory.join('key.pem'), certificate.key, { mode: 0o600 });
      return [
        found,
        ...['--bind', `${host},${port}`],
        host.includes(':') ? '--ipv6only' : '--ipv4only',
        ...['--login', `puredb:${directory.join('passwords.pdb')}`],
        '--noanonymous',
        '--dontresolve',
        ...['--pidfile', directory.join('pure-ftpd.pid')],
        ...['--syslogfacility', 'none'],
        ...['--altlog', `clf:${directory.join('transfers.log')}`],
        ...['--maxclientsnumber', String(options.maxClients ?? 1000)],
        ...(options.security === 'explicit'
          ? [
              ...['--tls', options.requireTls === true ? '3' : '1'],
              ...['--certfile', `${directory.join('certificate.pem')},${directory.join('key.pem')}`],
            ]
          : []),
        ...(options.settings ?? []),
      ];
    },
  });
}

async function makeDatabase(passwords: string, database: string): Promise<void> {
  const program = findProgram('pure-pw');
  if (program === undefined) throw new Error('pure-pw is not installed: run .ci/servers');
  await promisify(execFile)(program, ['mkdb', database, '-f', passwords], { env: unpackedEnvironment() });
}

/** A killed session leaves its file behind, named after its process. */
async function sweep(group: number): Promise<void> {
  const deadline = performance.now() + sweepMs;
  for (;;) {
    let dying = false;
    for (const name of await readdir(scoreboard).catch(() => [])) {
      const pid = Number(/^client-(\d+)$/.exec(name)?.[1]);
      if (Number.isNaN(pid)) continue;
      const life = await lifeOf(pid);
      if (life === 'over') await rm(join(scoreboard, name), { force: true });
      else dying ||= life.group === group;
    }
    if (!dying || performance.now() >= deadline) break;
    await sleep(5);
  }
  // Another server may be using it: then it is not empty, and that one removes it.
  await rmdir(scoreboard).catch(() => undefined);
}

/** A process that is dead, but still waits to be forgotten, is over, too. */
async function lifeOf(pid: number): Promise<'over' | { readonly group: number }> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // The name stands in brackets, and may have some of its own.
  const [state, , group] = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return line === '' || state === 'Z' || state === 'X' ? 'over' : { group: Number(group) };
}
