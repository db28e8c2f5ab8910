/*
 * The peers: what people use today for the same work, as found on the machine or unpacked by test/bench/unpack-peers.
 * BEST says how many connections each of them gets where `--connections` does not say it: the fastest of 1, 2, 4, 8 and
 * 16. Whatever makes a peer faster without losing files is on: no listing of what is known to be empty, requests without
 * waiting for answers, the cheapest cipher, no times set where they are not asked for. They check neither certificates
 * nor what arrived; where nothing has changed they do compare sizes and times.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import type { Protocol, Work } from './cases.js';
import { type Contestant, DIRECTORY, type Harbour, ONE_FILE, type Task } from './contestant.js';
import type { Invocation } from './measure.js';

type Best = Readonly<Partial<Record<Work, Readonly<Partial<Record<Protocol, number>>>>>>;

/** Connections; what is absent a peer cannot do. The README says what was measured. */
const BEST: Readonly<Record<'lftp' | 'rclone' | 'curl' | 'ncftp' | 'sftp', Best>> = {
  lftp: {
    'push-small': { plain: 4, tls: 8, sftp: 2 },
    'push-one': { plain: 1, tls: 1, sftp: 1 },
    'pull-one': { plain: 1, tls: 1, sftp: 1 },
    unchanged: { plain: 2, tls: 16, sftp: 1 },
  },
  rclone: {
    'push-small': { plain: 8, tls: 8, sftp: 2 },
    'push-one': { plain: 1, tls: 1, sftp: 1 },
    // Over FTP it fails with more.
    'pull-one': { plain: 1, tls: 1, sftp: 1 },
    unchanged: { plain: 1, tls: 1, sftp: 1 },
  },
  curl: {
    // Over TLS it loses files with any number above 1, and passes any limit of time with 1.
    'push-small': { plain: 4, tls: 8, sftp: 4 },
    'push-one': { plain: 1, tls: 1, sftp: 1 },
    'pull-one': { plain: 1, tls: 1, sftp: 1 },
  },
  // One connection is all that these have.
  ncftp: { 'push-small': { plain: 1 }, 'push-one': { plain: 1 }, 'pull-one': { plain: 1 } },
  sftp: { 'push-small': { sftp: 1 }, 'push-one': { sftp: 1 }, 'pull-one': { sftp: 1 } },
};

const SINGLE = ['ncftp', 'sftp'];

/** OpenSSH prefers another one, which takes more time where the processor knows AES. */
const CIPHER = 'aes128-gcm@openssh.com';
const TIMEOUT_S = 30;
/** How lftp would set a file's time. */
const UNTIMED = ['use-site-utime', 'use-site-utime2', 'use-mdtm-overloaded'];

/** Directory that unpack-peers unpacks into. */
export function peersTree(): string {
  return process.env.FERRYD_PEERS ?? resolve(import.meta.dirname, '../../../.peers');
}

export interface Peers {
  readonly found: readonly Contestant[];
  /** A sentence for each that is not there. */
  readonly missing: readonly string[];
}

/** Looks for all of them. */
export function findPeers(): Peers {
  const found: Contestant[] = [];
  const missing: string[] = [];
  for (const { program, debian, make } of PROGRAMS) {
    const path = findPeer(program);
    if (path === undefined)
      missing.push(`${program} is missing: run test/bench/unpack-peers, or sudo apt-get install ${debian}`);
    else found.push(make(path));
  }
  return { found, missing };
}

/** Names and versions of those that are there. */
export function versionsOfPeers(): string[] {
  return PROGRAMS.flatMap(({ program, version }) => {
    const path = findPeer(program);
    if (path === undefined) return [];
    const [asked, word] = version;
    const { stdout, stderr } = spawnSync(asked === 'itself' ? path : asked, [word], { encoding: 'utf8' });
    return [`${program} ${/\d+\.\d+[\w.]*/.exec(`${stdout}${stderr}`)?.[0] ?? ''}`.trim()];
  });
}

const PROGRAMS: readonly {
  readonly program: string;
  readonly debian: string;
  /** What tells its version: a program and a word. */
  readonly version: readonly [string, string];
  readonly make: (path: string) => Contestant;
}[] = [
  {
    program: 'lftp',
    debian: 'lftp',
    version: ['itself', '--version'],
    make: (path) => peer('lftp', BEST.lftp, (task) => lftp(path, task)),
  },
  {
    program: 'rclone',
    debian: 'rclone',
    version: ['itself', 'version'],
    make: (path) => peer('rclone', BEST.rclone, (task) => rclone(path, task)),
  },
  {
    program: 'curl',
    debian: 'curl',
    version: ['itself', '--version'],
    make: (path) => peer('curl', BEST.curl, (task) => curl(path, task)),
  },
  {
    program: 'ncftpput',
    debian: 'ncftp',
    version: ['itself', '-v'],
    make: (path) => peer('ncftp', BEST.ncftp, (task) => ncftp(path, task)),
  },
  {
    program: 'sftp',
    debian: 'openssh-client',
    version: ['ssh', '-V'],
    make: (path) => peer('sftp', BEST.sftp, (task) => sftp(path, task)),
  },
];

/** A task with its number of connections. */
type Tuned = Task & { readonly connections: number };

function peer(name: string, best: Best, prepare: (task: Tuned) => Invocation): Contestant {
  return {
    name,
    role: 'peer',
    can: ({ work, protocol, connections = 1 }) =>
      best[work]?.[protocol] !== undefined && (connections === 1 || !SINGLE.includes(name)),
    prepare: (task) => {
      const connections = task.connections ?? best[task.work]?.[task.harbour.protocol] ?? 1;
      return prepare({ ...task, connections });
    },
  };
}

function findPeer(name: string): string | undefined {
  const directories = [
    join(peersTree(), 'usr/bin'),
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/bin',
  ];
  return directories
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Nothing of the user's own configuration counts. */
function invocation(task: Task, command: Invocation['command']): Invocation {
  return {
    command,
    env: { PATH: process.env.PATH, HOME: task.scratch, TERM: 'dumb' },
    directory: task.local,
  };
}

function lftp(path: string, task: Tuned): Invocation {
  const { harbour, work, local, connections } = task;
  const { protocol, user, password, host, port } = harbour;
  const side = join(local, DIRECTORY);
  const move: Readonly<Record<Work, string>> = {
    'push-small': `mirror -R --no-perms --only-newer --parallel=${connections} ${side} ${DIRECTORY}`,
    'push-one': `put -O ${DIRECTORY} ${join(side, ONE_FILE)}`,
    'pull-one': `${connections === 1 ? 'get' : `pget -n ${connections}`} -O ${side} ${DIRECTORY}/${ONE_FILE}`,
    unchanged: `mirror -R --no-perms --only-newer --parallel=${connections} ${side} ${DIRECTORY}`,
  };
  const script = [
    'set cmd:fail-exit yes',
    `set net:timeout ${TIMEOUT_S}`,
    'set net:max-retries 3',
    'set net:reconnect-interval-base 1',
    'set ftp:sync-mode no',
    'set xfer:clobber yes',
    `set ftp:ssl-allow ${protocol === 'tls' ? 'yes' : 'no'}`,
    `set ftp:ssl-force ${protocol === 'tls' ? 'yes' : 'no'}`,
    'set ftp:ssl-protect-data yes',
    'set ssl:verify-certificate no',
    // The system's own list of authorities it reads anew for each data connection, which takes 4 ms.
    'set ssl:ca-file /dev/null',
    'set sftp:max-packets-in-flight 64',
    'set sftp:size-read 0x10000',
    'set sftp:size-write 0x10000',
    // Fewer and larger writes to the disk; where it sends they are of no use.
    ...(work === 'pull-one' && protocol !== 'sftp'
      ? ['set xfer:buffer-size 0x100000', 'set net:socket-buffer 0x100000']
      : []),
    // A command less for each file. What was sent is compared by its time later on only where times were set.
    ...(work === 'push-small' ? UNTIMED.map((setting) => `set ftp:${setting} no`) : []),
    `set sftp:connect-program "ssh -a -x ${sshOptions(task).join(' ')}"`,
    `open -u ${user},${password} -p ${port} ${protocol === 'sftp' ? 'sftp' : 'ftp'}://${host}`,
    move[work],
    '',
  ];
  const file = join(task.scratch, 'lftp.script');
  writeFileSync(file, script.join('\n'));
  return invocation(task, [path, '-f', file]);
}

/** Where rclone finds its setting, and what it calls the server. */
function rclone(path: string, task: Tuned): Invocation {
  const { harbour, work, local, connections } = task;
  const config = join(task.scratch, 'rclone.conf');
  writeFileSync(config, `[server]\n${rcloneServer(path, task, harbour).join('\n')}\n`);
  const [here, there] = [join(local, DIRECTORY), `server:${DIRECTORY}`];
  const known = { 'push-small': true, 'push-one': true, 'pull-one': true, unchanged: false };
  return invocation(task, [
    path,
    ...['--config', config, '--stats', '0', '--log-level', 'NOTICE'],
    ...['--transfers', String(connections), '--checkers', String(connections)],
    // Small files are not worth a buffer for each.
    ...(work === 'push-small' && harbour.protocol !== 'sftp' ? ['--buffer-size', '0'] : []),
    ...['--multi-thread-streams', String(connections), '--ignore-checksum'],
    // Nothing is there, or it is found out by listing.
    ...(known[work] ? ['--no-check-dest'] : []),
    'copy',
    ...(work === 'pull-one' ? [there, here] : [here, there]),
  ]);
}

function rcloneServer(path: string, task: Task, harbour: Harbour): string[] {
  const { protocol, host, port, user, password } = harbour;
  const common = [`host = ${host}`, `port = ${port}`, `user = ${user}`];
  if (protocol === 'sftp')
    return [
      'type = sftp',
      ...common,
      `key_file = ${keyFile(task)}`,
      `known_hosts_file = ${knownHostsFile(task)}`,
      'disable_hashcheck = true',
      'shell_type = unix',
      'chunk_size = 255k',
      'concurrency = 64',
    ];
  const secret = execFileSync(path, ['obscure', password], { encoding: 'utf8' }).trim();
  return [
    'type = ftp',
    ...common,
    `pass = ${secret}`,
    // Without it only sizes are compared, for vsftpd lists no times that could be.
    ...(task.work === 'unchanged' ? ['writing_mdtm = true'] : []),
    // With TLS 1.3 it does not resume sessions, which vsftpd wants.
    ...(protocol === 'tls'
      ? ['explicit_tls = true', 'no_check_certificate = true', 'disable_tls13 = true']
      : []),
  ];
}

function curl(path: string, task: Tuned): Invocation {
  const { harbour, work, local, connections, paths } = task;
  const { protocol, host, port, user, password, home } = harbour;
  const base =
    protocol === 'sftp' ? `sftp://${host}:${port}${home}/${DIRECTORY}` : `ftp://${host}:${port}/${DIRECTORY}`;
  const lines = [
    ...(connections > 1 ? ['parallel', `parallel-max = ${connections}`] : []),
    ...[
      'silent',
      'show-error',
      'no-progress-meter',
      'ftp-create-dirs',
      'retry = 2',
      `connect-timeout = ${TIMEOUT_S}`,
    ],
    `user = "${user}:${password}"`,
    ...(protocol === 'plain' ? [] : ['insecure']),
    ...(protocol === 'tls' ? ['ssl-reqd', 'tls-max = 1.2'] : []),
    ...(protocol === 'sftp' ? [`key = "${keyFile(task)}"`] : []),
    ...paths.flatMap((file) => [
      `${work === 'pull-one' ? 'output' : 'upload-file'} = "${join(local, DIRECTORY, file)}"`,
      `url = "${base}/${file}"`,
    ]),
    '',
  ];
  const file = join(task.scratch, 'curl.conf');
  writeFileSync(file, lines.join('\n'));
  return invocation(task, [path, '-q', '-K', file]);
}

function ncftp(path: string, task: Tuned): Invocation {
  const { host, port, user, password } = task.harbour;
  const login = ['-V', '-u', user, '-p', password, '-P', String(port), '-t', String(TIMEOUT_S)];
  if (task.work === 'pull-one')
    return invocation(task, [
      join(dirname(path), basename(path).replace('put', 'get')),
      ...login,
      ...[host, join(task.local, DIRECTORY), `${DIRECTORY}/${ONE_FILE}`],
    ]);
  return invocation(task, [path, '-R', ...login, host, '.', DIRECTORY]);
}

function sftp(path: string, task: Tuned): Invocation {
  const { host, port, user } = task.harbour;
  const batch = join(task.scratch, 'batch');
  const moves: Readonly<Partial<Record<Work, string>>> = {
    'push-small': `put -r ${DIRECTORY}`,
    'push-one': `put ${DIRECTORY}/${ONE_FILE} ${DIRECTORY}/${ONE_FILE}`,
    'pull-one': `get ${DIRECTORY}/${ONE_FILE} ${DIRECTORY}/${ONE_FILE}`,
  };
  writeFileSync(batch, `${moves[task.work] ?? ''}\n`);
  const options = [...sshOptions(task), '-R', '64', '-B', '261120', '-P', String(port)];
  return invocation(task, [path, '-q', '-b', batch, ...options, `${user}@${host}`]);
}

function sshOptions(task: Task): string[] {
  const said = ['StrictHostKeyChecking=yes', `UserKnownHostsFile=${knownHostsFile(task)}`, 'BatchMode=yes'];
  const settings = [...said, 'IdentitiesOnly=yes', `Ciphers=${CIPHER}`, 'Compression=no'];
  return ['-F', 'none', '-i', keyFile(task), ...settings.flatMap((setting) => ['-o', setting])];
}

function keyFile(task: Task): string {
  return written(join(task.scratch, 'key'), task.harbour.privateKey);
}

function knownHostsFile(task: Task): string {
  return written(join(task.scratch, 'known_hosts'), `${task.harbour.knownHosts}\n`);
}

function written(file: string, text: string): string {
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}
