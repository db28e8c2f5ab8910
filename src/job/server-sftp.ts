/*
 * What a server has that speaks SFTP, from its written form: key, agent, host keys. Says what the schema cannot: keys
 * that contradict each other, that SFTP or FTP does not have, and a login with nothing in hand.
 * Reads no key and no secret; which server it is reached through (`via`) is looked up by others (lookup.ts).
 */
import path from 'node:path';
import { homeDirectory } from './address.js';
import type { SftpServer, SshAgent } from './job.js';
import { below, error, type Mistake } from './mistake.js';
import { readHostKey } from './patterns.js';
import type { ServerPlace, WrittenServer } from './server-place.js';
import { readSource, resolvePath } from './source.js';

/** The keys that SFTP alone has; `via` is not known yet. */
export type SftpKeys = Pick<SftpServer, 'privateKey' | 'passphrase' | 'agent' | 'hostKeys' | 'knownHosts'>;

/**
 * Many operations share one connection, and a second one helps where the first is held up by a long link or a busy
 * core. More of them ask for trouble: sshd turns away by chance whoever comes with ten logins at once (MaxStartups).
 */
export const SFTP_CONNECTIONS = 2;

export function readSftpKeys(written: WrittenServer, where: ServerPlace, mistakes: Mistake[]): SftpKeys {
  const at = (key: string): string => below(where.pointer, key);
  const { directory } = where;
  if (written.hostKey !== undefined && written.knownHosts !== undefined) {
    mistakes.push(
      error(at('hostKey'), 'hostKey and knownHosts are two ways to trust; take one of them away', 'key'),
    );
  }
  if (where.keys === 'whole' && written.passphrase !== undefined && written.privateKey === undefined) {
    mistakes.push(
      error(
        at('passphrase'),
        'a passphrase opens a private key, and there is none; write privateKey: { file: PATH } beside it, or password in place of passphrase',
        'key',
      ),
    );
  }
  return {
    privateKey: readSource(written.privateKey, at('privateKey'), directory, mistakes),
    passphrase: readSource(written.passphrase, at('passphrase'), directory, mistakes),
    agent: readAgent(written.agent, at('agent'), directory, mistakes),
    hostKeys: readHostKeys(written.hostKey),
    knownHosts: readKnownHosts(written.knownHosts, at('knownHosts'), directory, mistakes),
  };
}

/** Who logs in, and with what. */
export function checkLogin(
  written: WrittenServer,
  where: ServerPlace & { readonly urlPointer: string },
  user: string | undefined,
): Mistake[] {
  if (where.keys === 'pruned') return [];
  const mistakes: Mistake[] = [];
  if (user === undefined) {
    mistakes.push(
      error(
        where.urlPointer,
        'SFTP needs a user, for there is no anonymous login; write sftp://NAME@HOST, or user: NAME beside the URL',
      ),
    );
  }
  const { password, privateKey, agent } = written;
  if (password === undefined && privateKey === undefined && (agent ?? false) === false) {
    mistakes.push(
      error(
        where.urlPointer,
        'there is nothing to log in with; write privateKey: { file: PATH }, agent: true or password: { credential: NAME } beside the URL',
      ),
    );
  }
  return mistakes;
}

/** Keys that were written for the other protocol. */
export function checkForeign(
  protocol: 'ftp' | 'sftp',
  written: WrittenServer,
  { pointer }: ServerPlace,
): Mistake[] {
  const words: Readonly<Partial<Record<keyof WrittenServer, string>>> = protocol === 'ftp' ? OF_SFTP : OF_FTP;
  return Object.entries(words)
    .filter(([key]) => Object.hasOwn(written, key))
    .map(([key, message]) => error(below(pointer, key), message, 'key'));
}

const TO_SFTP = 'write sftp:// in the URL if the server speaks SFTP, or take it away';
const HAS_CERTIFICATE =
  'an FTP server has no host key but a certificate, which is trusted by ca or pin under tls';

const OF_SFTP = {
  privateKey: `FTP logs in without a private key; ${TO_SFTP}. The key of a TLS certificate is written under tls, as key`,
  passphrase: `opens a private key, and FTP logs in without one; ${TO_SFTP}. That of a TLS certificate's key is written under tls`,
  agent: `an SSH agent is for SFTP; ${TO_SFTP}`,
  hostKey: `${HAS_CERTIFICATE}; ${TO_SFTP}`,
  knownHosts: `${HAS_CERTIFICATE}; ${TO_SFTP}`,
  via: `only SFTP goes through another server; ${TO_SFTP}`,
} as const satisfies Partial<Record<keyof WrittenServer, string>>;

const OF_FTP = {
  account: 'the account (ACCT) is a thing of FTP, which SFTP has not; take it away',
  tls: 'SFTP has no TLS and no certificates: an SFTP server is known by its host key, which ferryd trust writes down, or hostKey says; take tls away',
  dataConnection: 'SFTP has one connection for everything, and no data connections; take it away',
  active: 'SFTP has one connection for everything, and the server opens none; take it away',
} as const satisfies Partial<Record<keyof WrittenServer, string>>;

function readAgent(
  written: WrittenServer['agent'],
  pointer: string,
  directory: string,
  mistakes: Mistake[],
): SshAgent | undefined {
  if (written === undefined || written === false) return undefined;
  if (written === true) return { kind: 'environment' };
  return { kind: 'socket', path: resolvePath(written, pointer, directory, mistakes) };
}

function readHostKeys(written: WrittenServer['hostKey']): string[] {
  const texts = written === undefined ? [] : typeof written === 'string' ? [written] : written;
  const keys: string[] = [];
  for (const text of texts) {
    const reading = readHostKey(text);
    if (reading.ok) keys.push(reading.value);
  }
  return keys;
}

/** The first is the one that `ferryd trust` writes, in the jobs directory: it belongs to these jobs, whoever runs them. */
function readKnownHosts(
  written: string | undefined,
  pointer: string,
  directory: string,
  mistakes: Mistake[],
): SftpServer['knownHosts'] {
  if (written !== undefined) return [resolvePath(written, pointer, directory, mistakes)];
  const home = homeDirectory();
  return [
    path.join(directory, 'known_hosts'),
    ...(home === undefined ? [] : [path.join(home, '.ssh', 'known_hosts')]),
    '/etc/ssh/ssh_known_hosts',
  ];
}
