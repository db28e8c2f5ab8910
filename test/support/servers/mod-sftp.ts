/*
 * Real ProFTPD with mod_sftp, as root or as an ordinary user: SFTP of another make than OpenSSH's, without its
 * extensions of names one expects. Its only account stands in a file of its own, has the id of whoever runs the
 * tests, a password, and keys in the form of RFC 4716. No chroot: `root` is where it is on disk.
 * Not for anything but tests.
 */
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { Place } from '../place.js';
import { type Berth, launch } from '../real-server.js';
import { hostKeyOf, type SshKey, type SshKeyType, sshKey } from '../ssh-keys.js';
import { cryptHash } from './crypt-hash.js';
import type { RealSshServer } from './openssh.js';
import { configurationOf, core, identity } from './proftpd.js';

export interface ModSftpOptions {
  /** `loopback` unless told. */
  readonly at?: Place;
  /** Existing directory that the login begins in; unset makes one that goes with the server. */
  readonly root?: string;
  /** `ferry` unless told. No colons. */
  readonly user?: string;
  /** `secret` unless told. No line ends. */
  readonly password?: string;
  /** Whose key is let in: `sshKey('ed25519')` unless told. */
  readonly clientKeys?: readonly SshKey[];
  /** What it shows itself with: all three unless told. */
  readonly hostKeys?: readonly SshKeyType[];
  /** Connections at once. */
  readonly maxClients?: number;
  /** Lines of proftpd.conf, each in place of those of ours that set the same directive. */
  readonly settings?: readonly string[];
}

/**
 * Starts a ProFTPD of its own that speaks SFTP.
 *
 * @throws Error where ProFTPD or mod_sftp is missing, or it does not start; its own words stand in the message
 */
export async function startModSftp(options: ModSftpOptions = {}): Promise<RealSshServer> {
  const password = options.password ?? 'secret';
  const user = options.user ?? 'ferry';
  const hash = await cryptHash(password);
  const clientKeys = options.clientKeys ?? [await sshKey('ed25519')];
  const hostKeys = await Promise.all((options.hostKeys ?? ['ed25519', 'ecdsa', 'rsa']).map(hostKeyOf));
  const [first] = hostKeys;
  const [client] = clientKeys;
  if (first === undefined || client === undefined)
    throw new Error('A server needs a key, and so does its client');
  const server = await launch({
    name: 'mod-sftp',
    at: options.at,
    maxTls: undefined,
    user,
    password,
    root: options.root,
    home: 'real path',
    logFile: 'sftp.log',
    prepare: async (berth) => {
      const { directory, found } = berth;
      const { uid, gid } = userInfo();
      const account = `${user}:${hash}:${uid}:${gid}::${berth.root}:/bin/false\n`;
      await writeFile(directory.join('passwords'), account, { mode: 0o600 });
      await writeFile(directory.join('authorized'), clientKeys.map((key) => key.rfc4716).join(''));
      for (const [place, key] of hostKeys.entries())
        await writeFile(directory.join(`host-key-${place}`), key.privateKey, { mode: 0o600 });
      const limit = options.maxClients === undefined ? {} : { maxClients: options.maxClients };
      const common = core(berth, limit, await identity());
      // mod_digest, which nobody has unless they want it, ends the session where uploads overlap (1.3.8: it writes to
      // what it has freed).
      const lines = common.filter((line) => !line.includes('mod_digest'));
      const file = directory.join('proftpd.conf');
      await writeFile(
        file,
        configurationOf([...lines, ...sftpLines(berth, hostKeys.length)], options.settings ?? []),
      );
      return [found, '--nodaemon', '--config', file];
    },
  });
  return {
    ...server,
    privateKey: client.privateKey,
    hostKeys: hostKeys.map((key) => key.fingerprint),
    hostKeyFingerprint: first.fingerprint,
    knownHostsLine: `[${server.host}]:${server.port} ${first.publicLine}`,
  };
}

function sftpLines({ directory }: Berth, hostKeys: number): string[] {
  return [
    'LoadModule mod_sftp.c',
    'SFTPEngine on',
    ...Array.from({ length: hostKeys }, (_, place) => `SFTPHostKey ${directory.join(`host-key-${place}`)}`),
    'SFTPAuthMethods publickey password',
    'SFTPKeyBlacklist none',
    `SFTPAuthorizedUserKeys file:${directory.join('authorized')}`,
    `SFTPLog ${directory.join('sftp.log')}`,
  ];
}
