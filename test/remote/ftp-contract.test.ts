/* The Remote contract against the scripted server in all its guises. */
import type { Feature } from '../support/ftp-server/settings.js';
import { serverLike } from '../support/ftp-server/settings.js';
import type { FtpServer } from '../support/ftp-server.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { remoteContract, type Traits } from './contract.js';

const without = (...features: Feature[]): FtpBerthOptions => ({
  server: { features: Object.fromEntries(features.map((feature) => [feature, false])) },
});

/** PWD is refused: nobody knows where the session is, and paths stay relative. */
function hidesDirectory(server: FtpServer): void {
  server.script({ on: 'PWD', nth: 'every', do: { kind: 'reply', text: '550 Not your business.' } });
}

const kinds: Readonly<Record<string, readonly [FtpBerthOptions, Traits?]>> = {
  plain: [{}],
  'explicit TLS': [{ server: { security: 'explicit', requireTls: true, requireSessionReuse: 'vsftpd' } }],
  'implicit TLS': [{ server: { security: 'implicit', requireTls: true, requireSessionReuse: 'proftpd' } }],
  'TLS 1.2': [
    { server: { security: 'explicit', tlsVersions: { max: 'TLSv1.2' }, requireSessionReuse: 'proftpd' } },
  ],
  IPv6: [{ server: { host: '::1' } }],
  'one connection': [{ account: { connections: 1 } }],
  'an absolute root': [{ root: { path: '/srv/dumps', absolute: true } }],
  'the root of the server': [{ root: { path: '/', absolute: true }, server: { home: '/' } }],
  'the login directory': [{ root: { path: '', absolute: false } }],
  'like vsftpd': [{ server: { ...serverLike('vsftpd'), security: 'explicit' } }],
  'like ProFTPD': [{ server: { ...serverLike('proftpd'), security: 'explicit' } }],
  'like Pure-FTPd': [{ server: serverLike('pure-ftpd') }, { names: 'altered' }],
  'like pyftpdlib': [{ server: serverLike('pyftpdlib') }],
  'like IIS': [{ server: serverLike('iis') }, { times: 'asked', links: 'unseen', permissions: 'none' }],
  'like FileZilla Server': [
    { server: { ...serverLike('filezilla'), security: 'explicit' } },
    { permissions: 'none' },
  ],
  'like Windows CE': [
    { server: serverLike('windows-ce') },
    { times: 'none', links: 'unseen', permissions: 'none' },
  ],
  'like a printer': [{ server: serverLike('printer') }, { times: 'none', permissions: 'none' }],
  'without MFMT': [without('MFMT')],
  'without MFMT and the setting MDTM': [without('MFMT', 'MDTM-SET')],
  'without any way to set times': [without('MFMT', 'MDTM-SET', 'SITE-UTIME'), { times: 'asked' }],
  'without SIZE': [without('SIZE')],
  'without SIZE and MLSD': [without('SIZE', 'MLSD', 'MLST')],
  'without MLSD': [without('MLSD', 'MLST')],
  'without EPSV': [without('EPSV')],
  'without FEAT': [without('FEAT')],
  'without FEAT, MFMT, MLSD and EPSV': [without('FEAT', 'MFMT', 'MLSD', 'MLST', 'EPSV')],
  'that does not rename onto a file': [{ server: { renameOverwrites: false } }],
  'that hides its directory': [{ prepare: hidesDirectory }],
  'that hides its directory, without SIZE and MLSD': [
    { ...without('SIZE', 'MLSD', 'MLST'), prepare: hidesDirectory },
  ],
  'that hides its directory, in the login directory, without SIZE and MLSD': [
    { ...without('SIZE', 'MLSD', 'MLST'), prepare: hidesDirectory, root: { path: '', absolute: false } },
  ],
};

for (const [name, [options, traits]] of Object.entries(kinds)) {
  remoteContract(name, () => FtpBerth.open(options), traits);
}
