/*
 * Real ProFTPD, as root or as an ordinary user; its only account stands in a file of its own and has the id of
 * whoever runs the tests. No PAM, no chroot: PWD tells the real path. mod_facts (MLSD, MFMT) is in its core, HASH and
 * the X sums come with mod_digest, SITE UTIME with mod_site_misc, TLS with mod_tls.
 * A client too many hears 530 at its login. Not for anything but tests.
 */
import { createPrivateKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { certificates } from '../certificates.js';
import type { KeyAndCertificate } from '../ftp-server/settings.js';
import { type Berth, launch, type RealServer, type ServerOptions } from '../real-server.js';
import { cryptHash } from './crypt-hash.js';

export interface ProftpdOptions extends ServerOptions {
  /** `ferry` unless told. No colons. */
  readonly user?: string;
  /** True (ProFTPD's own default): a data connection must resume the control connection's TLS session. */
  readonly requireSessionReuse?: boolean;
  /**
   * Lines of proftpd.conf, each in place of those of ours that set the same directive: `['AllowStoreRestart off']`
   * is ProFTPD's own default, where REST before STOR is refused.
   */
  readonly settings?: readonly string[];
}

/**
 * Starts a ProFTPD of its own.
 *
 * @throws Error where ProFTPD is missing or does not start; its own words stand in the message
 */
export async function startProftpd(options: ProftpdOptions = {}): Promise<RealServer> {
  const password = options.password ?? 'secret';
  const user = options.user ?? 'ferry';
  const security = options.security ?? 'plain';
  const certificate = options.certificate ?? (await certificates()).good;
  const hash = await cryptHash(password);
  return launch({
    name: 'proftpd',
    at: options.at,
    maxTls: options.maxTls,
    user,
    password,
    root: options.root,
    home: 'real path',
    logFile: 'proftpd.log',
    prepare: async (berth) => {
      const { directory, found } = berth;
      const { uid, gid } = userInfo();
      await writeFile(
        directory.join('passwords'),
        `${user}:${hash}:${uid}:${gid}::${berth.root}:/bin/false\n`,
        {
          mode: 0o600,
        },
      );
      await writeFile(directory.join('certificate.pem'), certificate.cert);
      await writeFile(directory.join('key.pem'), certificate.key, { mode: 0o600 });
      const lines = [
        ...core(berth, options, await identity()),
        ...(security === 'plain' ? [] : tlsLines(options, certificate, directory.path)),
      ];
      const file = directory.join('proftpd.conf');
      await writeFile(file, configurationOf(lines, options.settings ?? []));
      return [found, '--nodaemon', '--config', file];
    },
  });
}

/** The lines as a file; `more` in place of those that set the same directive. */
export function configurationOf(lines: readonly string[], more: readonly string[]): string {
  const set = new Set(more.map(directive));
  const kept = lines.filter((line) => line.startsWith('LoadModule') || !set.has(directive(line)));
  return [...kept, ...more, ''].join('\n');
}

function directive(line: string): string {
  return line.trim().split(/\s/)[0] ?? '';
}

/** What every ProFTPD here is told, whatever it speaks. */
export function core(berth: Berth, options: ProftpdOptions, identity: readonly string[]): string[] {
  const { directory, host, port, found } = berth;
  // Beside the binary, whether it is the system's or unpacked.
  const modules = join(dirname(found), '../lib/proftpd');
  // Newer releases have parts of their core as modules.
  const parts = ['mod_xfer', 'mod_ls', 'mod_delay'].filter((part) => existsSync(join(modules, `${part}.so`)));
  return [
    `ModulePath ${modules}`,
    ...parts.map((part) => `LoadModule ${part}.c`),
    'LoadModule mod_digest.c',
    'LoadModule mod_site_misc.c',
    ...(options.security === undefined || options.security === 'plain' ? [] : ['LoadModule mod_tls.c']),
    'ServerType standalone',
    'ServerName ferryd',
    `DefaultAddress ${host}`,
    'SocketBindTight on',
    `UseIPv6 ${host.includes(':') ? 'on' : 'off'}`,
    `Port ${port}`,
    'UseReverseDNS off',
    ...identity,
    'RootLogin on',
    `PidFile ${directory.join('proftpd.pid')}`,
    `ScoreboardFile ${directory.join('scoreboard')}`,
    'ControlsEngine off',
    'DelayEngine off',
    'WtmpLog off',
    'TransferLog none',
    'LogFormat ferryd "%P \\"%r\\" %s"',
    `ExtendedLog ${directory.join('proftpd.log')} ALL ferryd`,
    'AuthPAM off',
    'AuthOrder mod_auth_file.c',
    `AuthUserFile ${directory.join('passwords')}`,
    'RequireValidShell off',
    'UseFtpUsers off',
    'Umask 022',
    'AllowOverwrite on',
    'AllowStoreRestart on',
    'AllowRetrieveRestart on',
    ...(options.maxClients === undefined ? [] : [`MaxClients ${options.maxClients}`]),
  ];
}

/** Root stays root; anybody else has to be named, or ProFTPD tries to become root and fails. */
export async function identity(): Promise<string[]> {
  const { uid, gid, username } = userInfo();
  if (uid === 0) return [];
  const groups = (await readFile('/etc/group', 'utf8')).split('\n').map((line) => line.split(':'));
  const group = groups.find(([, , id]) => id === String(gid))?.[0];
  if (group === undefined) throw new Error(`The group ${gid} has no name, and ProFTPD needs one`);
  return [`User ${username}`, `Group ${group}`];
}

function tlsLines(options: ProftpdOptions, certificate: KeyAndCertificate, directory: string): string[] {
  const kind = createPrivateKey(certificate.key).asymmetricKeyType === 'ec' ? 'EC' : 'RSA';
  const tlsOptions = [
    ...(options.security === 'implicit' ? ['UseImplicitSSL'] : []),
    ...(options.requireSessionReuse === false ? ['NoSessionReuseRequired'] : []),
  ];
  return [
    'TLSEngine on',
    'TLSProtocol TLSv1.2 TLSv1.3',
    `TLSRequired ${options.requireTls === true ? 'on' : 'off'}`,
    `TLS${kind}CertificateFile ${directory}/certificate.pem`,
    `TLS${kind}CertificateKeyFile ${directory}/key.pem`,
    'TLSVerifyClient off',
    `TLSLog ${directory}/proftpd.log`,
    ...(tlsOptions.length === 0 ? [] : [`TLSOptions ${tlsOptions.join(' ')}`]),
  ];
}
