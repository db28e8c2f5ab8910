/*
 * Real OpenSSH. As root it runs in mount and process namespaces of its own, with its own /etc/passwd and /etc/shadow,
 * so that there is an account `ferry` (65534, as Pure-FTPd's; files that a test puts there need `adopt()`) that can
 * log in with a password, and nothing of the machine's is touched. Run by anybody else it lets that user in, with a
 * key alone. Login begins in `root`, which shows there as /run/jail/files, or as /files in a chroot.
 * Not for anything but tests.
 */
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Place } from '../place.js';
import { type Berth, childrenOf, findProgram, launch, type RealServer } from '../real-server.js';
import { hostKeyOf, type SshKey, type SshKeyType, sshKey } from '../ssh-keys.js';
import { cryptHash } from './crypt-hash.js';

/** How somebody may log in. All but `key` need root; `keyboard-interactive` asks PAM for the password. */
export type SshdLogin = 'password' | 'key' | 'keyboard-interactive';

export interface SshdOptions {
  /** `loopback` unless told; `loopback6` is ::1, and a link's ends are places too. */
  readonly at?: Place;
  /** Existing directory that the login begins in; unset makes one that goes with the server. */
  readonly root?: string;
  /** `secret` unless told. No line ends. */
  readonly password?: string;
  /** Password and key as root, a key otherwise, unless told. */
  readonly logins?: readonly SshdLogin[];
  /** Whose key is let in: `sshKey('ed25519')` unless told. */
  readonly clientKeys?: readonly SshKey[];
  /** What it shows itself with: all three unless told. */
  readonly hostKeys?: readonly SshKeyType[];
  /** `external`: Debian's subsystem, a program. `internal`: what is forced upon an account that may do nothing else. */
  readonly sftp?: 'external' | 'internal';
  /** Confined to the directory above `root`, where it may not write. `internal` alone can do that, and root alone. */
  readonly chroot?: 'chroot' | 'none';
  /** Arguments of the SFTP server: `['-R']` is read-only, `['-u', '077']` a umask. */
  readonly sftpArguments?: readonly string[];
  /** What is printed ahead of all that SFTP says, as a restricted or talkative shell does. With `external` only. */
  readonly noise?: string | { readonly onStderr: string };
  /** The room that there is, on a file system of its own: the disk behind it shows in `inside` alone. Root only. */
  readonly roomBytes?: number;
  /** Lines of sshd_config, each in place of those of ours that set the same. No `Match`. */
  readonly settings?: readonly string[];
}

/** What every SSH server here is, besides. */
export interface RealSshServer extends RealServer {
  /** A key that may log in, as its file has it. */
  readonly privateKey: string;
  /** `SHA256:...` of each key that the server shows itself with. */
  readonly hostKeys: readonly string[];
  /** The first of them. */
  readonly hostKeyFingerprint: string;
  /** A line of known_hosts for that one. */
  readonly knownHostsLine: string;
}

/** A real sshd. */
export interface Sshd extends RealSshServer {
  /** A path of the server's own as this process reaches it, mounts included. Root only. */
  inside(path: string): Promise<string>;
  /** Stops every process of its sessions, not the server: nothing they are sent is read any more. */
  freeze(): Promise<void>;
  /** Lets them go on. */
  thaw(): Promise<void>;
  /** Kills them: connections are cut without a word. */
  cut(): Promise<void>;
  /** How many connections it has, logged in or not. */
  connections(): Promise<number>;
  /** The processes of its sessions, and what a session that has ended left running. */
  sessions(): Promise<readonly number[]>;
}

/** Why sshd cannot have accounts, passwords and a chroot of its own here; undefined where it can. */
export const noAccounts =
  process.getuid?.() === 0 ? undefined : 'Only root can start an sshd that knows accounts of its own';

const nobody = 65_534;
const jail = '/run/jail';
/** Where `root` shows. */
const files = `${jail}/files`;
/** What sshd and its sessions need, where an ordinary user can read it. */
const settingsThere = '/run/ferryd';

/** Makes the place where sshd runs, and becomes sshd. Whatever the machine has below /run it does not see. */
const enter = `
set -eu
there=$1 root=$2 room=$3
shift 3
mount -t tmpfs -o mode=755 ferryd /run
mkdir -p /run/sshd ${files} ${settingsThere}
cp -r "$there/." ${settingsThere}
if [ "$room" = 0 ]; then mount --bind "$root" ${files}
else
  mount -t tmpfs -o "size=$room,mode=755" ferryd ${files}
  chown ${nobody}:${nobody} ${files}
fi
for name in passwd group shadow nsswitch.conf pam.d; do
  [ ! -e "/etc/$name" ] || mount --bind "${settingsThere}/$name" "/etc/$name"
done
exec "$@"
`;

/**
 * Starts an sshd of its own.
 *
 * @throws Error where OpenSSH is missing, does not start, or cannot do what is asked as who runs the tests
 */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const root = process.getuid?.() === 0;
  const logins = options.logins ?? (root ? ['password', 'key'] : ['key']);
  const confined = options.chroot === 'chroot';
  if (!root && (confined || options.roomBytes !== undefined || logins.some((login) => login !== 'key')))
    throw new Error(noAccounts);
  if (confined && options.sftp !== 'internal')
    throw new Error('In a chroot there is nothing but internal-sftp');
  const password = options.password ?? 'secret';
  const clientKeys = options.clientKeys ?? [await sshKey('ed25519')];
  const hostKeys = await Promise.all((options.hostKeys ?? ['ed25519', 'ecdsa', 'rsa']).map(hostKeyOf));
  const [first] = hostKeys;
  const [client] = clientKeys;
  if (first === undefined || client === undefined)
    throw new Error('An sshd needs a key, and so does its client');
  const server = await launch({
    name: 'openssh',
    at: options.at,
    maxTls: undefined,
    user: root ? 'ferry' : userInfo().username,
    password,
    root: options.root,
    home: !root ? 'real path' : confined ? '/files' : files,
    ...(root ? { account: { uid: nobody, gid: nobody } } : {}),
    logFile: 'sshd.log',
    // Each session has a process group of its own; in a namespace they end with the first process in it.
    beforeEnd: async (pid) => (root ? undefined : signal(await sessions(pid), 'SIGKILL')),
    prepare: async (berth) => {
      const { directory, found } = berth;
      const there = directory.join('there');
      await mkdir(join(there, 'pam.d'), { recursive: true });
      await writeFile(
        join(there, 'authorized_keys'),
        clientKeys.map((key) => `${key.publicLine}\n`).join(''),
      );
      for (const [place, key] of hostKeys.entries())
        await writeFile(directory.join(`host-key-${place}`), key.privateKey, { mode: 0o600 });
      const home = confined ? '/files' : files;
      if (root) await writeAccount(there, password, home);
      const program = await sftpProgram(berth, options, root);
      const config = directory.join('sshd_config');
      const lines = configuration(berth, options, { logins, program, hostKeys: hostKeys.length, root });
      await writeFile(config, `${lines.join('\n')}\n`);
      const sshd = [found, '-D', '-f', config, '-E', directory.join('sshd.log')] as const;
      if (!root) return sshd;
      const room = String(options.roomBytes ?? 0);
      return [
        ...(['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '/bin/sh', '-c', enter] as const),
        ...['sh', there, berth.root, room],
        ...sshd,
      ];
    },
  });
  const each = async (word: NodeJS.Signals): Promise<void> => signal(await sessions(server.pid), word);
  return {
    ...server,
    privateKey: client.privateKey,
    hostKeys: hostKeys.map((key) => key.fingerprint),
    hostKeyFingerprint: first.fingerprint,
    knownHostsLine: `[${server.host}]:${server.port} ${first.publicLine}`,
    inside: async (path) => `/proc/${await listener(server.pid)}/root${path}`,
    freeze: () => each('SIGSTOP'),
    thaw: () => each('SIGCONT'),
    cut: () => each('SIGKILL'),
    connections: async () => (await childrenOf(await listener(server.pid))).length,
    sessions: () => sessions(server.pid),
  };
}

async function writeAccount(there: string, password: string, home: string): Promise<void> {
  const account = `ferry:x:${nobody}:${nobody}::${home}:/bin/sh`;
  const own: Readonly<Record<string, string>> = {
    passwd: `root:x:0:0::/:/bin/sh\nsshd:x:74:74::/run/sshd:/usr/sbin/nologin\n${account}\n`,
    group: `root:x:0:\nsshd:x:74:\nferry:x:${nobody}:\n`,
    shadow: `root:*:19000::::::\nsshd:*:19000::::::\nferry:${await cryptHash(password)}:19000::::::\n`,
    'nsswitch.conf': 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n',
    'pam.d/sshd':
      'auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n',
    'pam.d/other': 'auth required pam_deny.so\n',
  };
  for (const [name, text] of Object.entries(own)) await writeFile(join(there, name), text);
  await chmod(join(there, 'shadow'), 0o600);
}

/** The subsystem's command line, which a shell of the account runs unless it is internal. */
async function sftpProgram({ directory, root: start }: Berth, options: SshdOptions, root: boolean) {
  const args = [...(options.sftpArguments ?? []), ...(root ? [] : ['-d', start])].join(' ');
  if (options.sftp === 'internal') return `internal-sftp ${args}`;
  const found = findProgram('sftp-server');
  if (found === undefined) throw new Error('sftp-server is not installed: run .ci/servers');
  const there = directory.join('there');
  await copyFile(found, join(there, 'sftp-server'));
  const place = root ? settingsThere : there;
  const { noise } = options;
  if (noise === undefined) return `${place}/sftp-server ${args}`;
  const [words, to] = typeof noise === 'string' ? [noise, ''] : [noise.onStderr, ' >&2'];
  await writeFile(join(there, 'noise'), words);
  await writeFile(
    join(there, 'noisy'),
    `#!/bin/sh\ncat "$(dirname "$0")/noise"${to}\nexec "$(dirname "$0")/sftp-server" "$@"\n`,
    { mode: 0o755 },
  );
  return `${place}/noisy ${args}`;
}

function configuration(
  { directory, host, port }: Berth,
  options: SshdOptions,
  facts: {
    readonly logins: readonly SshdLogin[];
    readonly program: string;
    readonly hostKeys: number;
    readonly root: boolean;
  },
): string[] {
  const { logins, program, root } = facts;
  const there = root ? settingsThere : directory.join('there');
  const allows = (login: SshdLogin): string => (logins.includes(login) ? 'yes' : 'no');
  const more = options.settings ?? [];
  const set = new Set(more.map(keyword));
  const lines = [
    ...newer(),
    `ListenAddress ${host.includes(':') ? `[${host}]` : host}:${port}`,
    ...Array.from({ length: facts.hostKeys }, (_, place) => `HostKey ${directory.join(`host-key-${place}`)}`),
    'PidFile none',
    'LogLevel VERBOSE',
    `UsePAM ${root ? allows('keyboard-interactive') : 'no'}`,
    `PasswordAuthentication ${allows('password')}`,
    `PubkeyAuthentication ${allows('key')}`,
    `KbdInteractiveAuthentication ${allows('keyboard-interactive')}`,
    `AuthorizedKeysFile ${there}/authorized_keys`,
    'StrictModes no',
    'UseDNS no',
    'PrintMotd no',
    'PrintLastLog no',
    'X11Forwarding no',
    // Its own default turns connections away at random once ten are not logged in yet.
    'MaxStartups 100',
    `Subsystem sftp ${program}`,
    ...(options.sftp === 'internal' ? [`ForceCommand ${program}`] : []),
    ...(options.chroot === 'chroot' ? [`ChrootDirectory ${jail}`] : []),
  ];
  return [...more, ...lines.filter((line) => !set.has(keyword(line)))];
}

function keyword(line: string): string {
  return (line.trim().split(/[\s=]/)[0] ?? '').toLowerCase();
}

/** What older releases do not know: since 9.8 sshd is in parts, which lie beside SFTP's server. */
function newer(): string[] {
  const session = findProgram('sshd-session');
  const login = findProgram('sshd-auth');
  return [
    // It would refuse whoever has failed too often, and some tests fail on purpose.
    ...(session === undefined ? [] : ['PerSourcePenalties no', `SshdSessionPath ${session}`]),
    ...(login === undefined ? [] : [`SshdAuthPath ${login}`]),
  ];
}

/** The process that listens; who made its namespaces stands before it. */
async function listener(pid: number): Promise<number> {
  if (process.getuid?.() !== 0) return pid;
  const [first] = await childrenOf(pid);
  if (first === undefined) throw new Error('This sshd has ended');
  return first;
}

/** Every process that is for a session. */
async function sessions(pid: number): Promise<number[]> {
  const found: number[] = [];
  let parents = [await listener(pid)];
  while (parents.length > 0) {
    parents = (await Promise.all(parents.map(childrenOf))).flat();
    found.push(...parents);
  }
  return found;
}

function signal(pids: readonly number[], word: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, word);
    } catch {
      // It has ended in the meantime.
    }
  }
}
