/*
 * What a server has that speaks FTP, from its written form: TLS, the account, the data connections. Says what the
 * schema cannot: keys that contradict each other, and dangers. Reads no secret and no certificate.
 */
import { isLoopback } from './host.js';
import type { FtpServer, ServerActive, ServerTls } from './job.js';
import { below, error, type Mistake, warning } from './mistake.js';
import { readPortRange } from './patterns.js';
import { serverProperties, tlsSchema } from './schema-server.js';
import type { ServerPlace, WrittenServer } from './server-place.js';
import { readSource, resolvePath } from './source.js';

/** The keys that FTP alone has. */
export type FtpKeys = Pick<FtpServer, 'account' | 'tls' | 'dataConnection' | 'active'>;

/** Who logs in where nobody is named (RFC 1635). */
export const ANONYMOUS = 'anonymous';

/** Each transfer takes a connection of its own. */
export const FTP_CONNECTIONS = 4;

export function readFtpKeys(written: WrittenServer, where: ServerPlace, mistakes: Mistake[]): FtpKeys {
  const at = (key: string): string => below(where.pointer, key);
  return {
    account: readSource(written.account, at('account'), where.directory, mistakes),
    tls: readTls(written.tls, { ...where, pointer: at('tls') }, mistakes),
    dataConnection: written.dataConnection ?? serverProperties.dataConnection.default,
    active: readActive(written, { ...where, pointer: at('active') }, mistakes),
  };
}

/** What a server's TLS does not protect against, and who logs in. */
export function checkFtp(
  written: WrittenServer,
  where: ServerPlace & { readonly urlPointer: string },
  server: Pick<FtpServer, 'security' | 'host' | 'tls'> & { readonly user: string | undefined },
): Mistake[] {
  const mistakes: Mistake[] = [];
  const at = (key: string): string => below(where.pointer, key);
  const { security, host, tls, user } = server;
  if (security === 'plain') {
    if (written.tls !== undefined) {
      const message = 'an ftp:// server has no TLS; write ftpes:// or ftps:// in its URL, or take tls away';
      mistakes.push(error(at('tls'), message, 'key'));
    } else if (written.password !== undefined && !isLoopback(host)) {
      mistakes.push(
        warning(
          where.urlPointer,
          `the password and the files go to ${host} unencrypted, for everybody on the way to read; write sftp:// or ftpes:// if the server speaks SSH or TLS`,
        ),
      );
    }
  } else if (!tls.verify && tls.caFile === undefined && tls.pin === undefined) {
    mistakes.push(
      warning(
        below(at('tls'), 'verify'),
        `the certificate of ${host} is not checked, so anybody on the way can play the server and read the password and the files; write ca or pin in place of verify: false`,
      ),
    );
  }
  if (where.keys === 'pruned') return mistakes;
  if (user === undefined && written.password !== undefined) {
    mistakes.push(error(at('password'), 'a password needs a user; write user: NAME beside it', 'key'));
  }
  if (user !== undefined && written.password === undefined && !/^(anonymous|ftp)$/i.test(user)) {
    const message =
      'the user has no password, and most servers will refuse that; write password: { credential: NAME } (or env, file, command) beside it';
    mistakes.push(warning(written.user === undefined ? where.urlPointer : at('user'), message));
  }
  return mistakes;
}

function readTls(written: WrittenServer['tls'], where: ServerPlace, mistakes: Mistake[]): ServerTls {
  const { pointer, directory } = where;
  const tls = written ?? {};
  const verify = tls.verify ?? tlsSchema.properties.verify.default;
  if (tls.ca !== undefined && tls.pin !== undefined) {
    mistakes.push(
      error(below(pointer, 'pin'), 'ca and pin are two ways to trust; take one of them away', 'key'),
    );
  }
  if (!verify && (tls.ca !== undefined || tls.pin !== undefined)) {
    const key = tls.ca === undefined ? 'pin' : 'ca';
    mistakes.push(
      error(below(pointer, 'verify'), `verify: false would switch ${key} off; take one of them away`),
    );
  }
  if (where.keys === 'whole') mistakes.push(...checkIdentity(tls, pointer));
  const file = (key: 'ca' | 'certificate'): string | undefined => {
    const text = tls[key];
    return text === undefined ? undefined : resolvePath(text, below(pointer, key), directory, mistakes);
  };
  return {
    caFile: file('ca'),
    pin: tls.pin,
    verify,
    serverName: tls.serverName?.toLowerCase(),
    certificateFile: file('certificate'),
    key: readSource(tls.key, below(pointer, 'key'), directory, mistakes),
    passphrase: readSource(tls.passphrase, below(pointer, 'passphrase'), directory, mistakes),
  };
}

/** A certificate, its key and the key's passphrase: none is of use without the one before it. */
function checkIdentity(tls: NonNullable<WrittenServer['tls']>, pointer: string): Mistake[] {
  const mistakes: Mistake[] = [];
  const miss = (key: string, message: string): void => {
    mistakes.push(error(below(pointer, key), message, 'key'));
  };
  if (tls.certificate !== undefined && tls.key === undefined) {
    miss(
      'certificate',
      'the certificate that this machine shows needs its private key; write key: { file: PATH } beside it, or ca in place of certificate if it is what the server is trusted by',
    );
  }
  if (tls.key !== undefined && tls.certificate === undefined) {
    miss('key', 'a private key needs its certificate; write certificate: PATH beside it');
  }
  if (tls.passphrase !== undefined && tls.key === undefined) {
    miss(
      'passphrase',
      'a passphrase needs the private key that it opens; write key: { file: PATH } beside it',
    );
  }
  return mistakes;
}

function readActive(written: WrittenServer, where: ServerPlace, mistakes: Mistake[]): ServerActive {
  const { active, dataConnection } = written;
  if (active !== undefined && dataConnection === 'passive') {
    const message =
      'active says how the server connects to this machine, and dataConnection: passive that it never does; take one of them away';
    mistakes.push(error(where.pointer, message, 'key'));
  }
  // A single port may be written as a number.
  const range = active?.ports === undefined ? undefined : readPortRange(String(active.ports));
  const ports = range?.ok === true ? range.value : undefined;
  const connections = written.connections ?? FTP_CONNECTIONS;
  const count = ports === undefined ? connections : ports.last - ports.first + 1;
  if (count < connections && where.keys === 'whole') {
    const message = `${count === 1 ? 'one port is' : `${count} ports are`} too few for ${connections} connections at once, which need one each; write a longer range, or connections: ${count}`;
    mistakes.push(warning(below(where.pointer, 'ports'), message));
  }
  return { address: active?.address, ports };
}
