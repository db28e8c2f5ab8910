/*
 * Real vsftpd, run by whoever runs the tests (root or not) with `run_as_launching_user`. Its only account is
 * `anonymous`, whose password is checked by vsftpd's list of e-mail addresses: so there is a login, a wrong password
 * (530), and all of STOR, RNTO, MKD, DELE, SIZE and MDTM (both ways), without PAM and without a chroot: PWD tells the
 * real path. vsftpd.conf(5) explains every setting. Not for anything but loopback.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { certificates } from '../certificates.js';
import { type Berth, launch, type RealServer, type ServerOptions } from '../real-server.js';

/** The password is compared with lines of a file: no spaces around. One session too many is 421. */
export interface VsftpdOptions extends ServerOptions {
  /** True (vsftpd's own default): a data connection must resume the control connection's TLS session. */
  readonly requireSessionReuse?: boolean;
  /** Settings of vsftpd.conf that go before ours: `{ idle_session_timeout: '2' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a vsftpd of its own. The user is `anonymous`.
 *
 * @throws Error where vsftpd is missing or does not start; its own words stand in the message
 */
export async function startVsftpd(options: VsftpdOptions = {}): Promise<RealServer> {
  const password = options.password ?? 'secret';
  const security = options.security ?? 'plain';
  const certificate = options.certificate ?? (await certificates()).good;
  return launch({
    name: 'vsftpd',
    at: options.at,
    maxTls: options.maxTls,
    user: 'anonymous',
    password,
    root: options.root,
    home: 'real path',
    logFile: 'vsftpd.log',
    prepare: async ({ directory, root, host, port, found }) => {
      await mkdir(directory.join('empty'), { recursive: true });
      await writeFile(directory.join('passwords'), `${password}\n`, { mode: 0o600 });
      await writeFile(directory.join('certificate.pem'), certificate.cert);
      await writeFile(directory.join('key.pem'), certificate.key, { mode: 0o600 });
      const me = userInfo().username;
      const settings: Record<string, string> = {
        ...address(host),
        listen_port: String(port),
        background: 'NO',
        run_as_launching_user: 'YES',
        seccomp_sandbox: 'NO',
        ftp_username: me,
        nopriv_user: me,
        secure_chroot_dir: directory.join('empty'),
        anonymous_enable: 'YES',
        local_enable: 'NO',
        secure_email_list_enable: 'YES',
        email_password_file: directory.join('passwords'),
        delay_failed_login: '0',
        anon_root: root,
        allow_writeable_chroot: 'YES',
        write_enable: 'YES',
        anon_upload_enable: 'YES',
        anon_mkdir_write_enable: 'YES',
        anon_other_write_enable: 'YES',
        anon_world_readable_only: 'NO',
        anon_umask: '022',
        mdtm_write: 'YES',
        max_clients: String(options.maxClients ?? 0),
        xferlog_enable: 'YES',
        log_ftp_protocol: 'YES',
        vsftpd_log_file: directory.join('vsftpd.log'),
        ...(security === 'plain' ? {} : tlsSettings(options, directory.path)),
        ...options.settings,
      };
      const file = directory.join('vsftpd.conf');
      await writeFile(
        file,
        Object.entries(settings)
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      );
      return [found, file];
    },
  });
}

function address(host: Berth['host']): Record<string, string> {
  // All addresses of both families are what it takes without one; it cannot bind to `::` itself.
  if (host === '::') return { listen: 'NO', listen_ipv6: 'YES' };
  return host.includes(':')
    ? { listen: 'NO', listen_ipv6: 'YES', listen_address6: host }
    : { listen: 'YES', listen_address: host };
}

function tlsSettings(options: VsftpdOptions, directory: string): Record<string, string> {
  const required = options.requireTls === true ? 'YES' : 'NO';
  return {
    ssl_enable: 'YES',
    implicit_ssl: options.security === 'implicit' ? 'YES' : 'NO',
    allow_anon_ssl: 'YES',
    force_anon_logins_ssl: required,
    force_anon_data_ssl: required,
    require_ssl_reuse: options.requireSessionReuse === false ? 'NO' : 'YES',
    ssl_ciphers: 'HIGH',
    rsa_cert_file: `${directory}/certificate.pem`,
    rsa_private_key_file: `${directory}/key.pem`,
    debug_ssl: 'YES',
  };
}
