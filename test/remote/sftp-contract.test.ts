/* The Remote contract against the scripted SFTP server in all its guises. */
import { sshKey } from '../support/sftp-server/keys.js';
import { type Extension, serverLike } from '../support/sftp-server/settings.js';
import type { SftpServer } from '../support/sftp-server.js';
import { remoteContract, type Traits } from './contract.js';
import { keptLinks, type LinkTraits } from './kept-links.js';
import { SftpBerth, type SftpBerthOptions } from './sftp-berth.js';

const key = sshKey('ferry');

const without = (...extensions: Extension[]): SftpBerthOptions => ({
  server: { extensions: Object.fromEntries(extensions.map((extension) => [extension, false])) },
});

/** Ways that have nothing to do with each other go together: each guise is a run of the whole contract. */
const kinds: Readonly<Record<string, readonly [SftpBerthOptions, Traits?]>> = {
  'like OpenSSH': [{ server: serverLike('openssh') }],
  'IPv6, with a key, one connection with one session': [
    {
      server: {
        host: '::1',
        users: { ferry: { keys: [key.publicKey] } },
        authentication: [['publickey']],
        maxSessions: 1,
        maxConnections: 1,
      },
      account: { connections: 1 },
      credentials: { password: undefined, privateKey: key.privateKey },
    },
  ],
  'through another server, at an absolute root': [{ gate: {}, root: { path: '/srv/dumps', absolute: true } }],
  'like an old OpenSSH, at the root of the server': [
    { root: { path: '/', absolute: true }, server: { ...serverLike('old-openssh'), home: '/' } },
  ],
  'like ProFTPD, in the login directory': [
    { root: { path: '', absolute: false }, server: serverLike('proftpd') },
  ],
  'like a Go server': [{ server: serverLike('go') }],
  'version 3 and nothing else, and it hides its directory': [
    { server: serverLike('plain'), prepare: hidesDirectory },
  ],
  'like a Windows server': [
    { server: { ...serverLike('windows'), names: 'bytes' } },
    { permissions: 'none' },
  ],
  'without posix-rename, where RENAME replaces': [
    { server: { ...without('posix-rename@openssh.com', 'fsync@openssh.com').server, rename: 'overwrites' } },
  ],
  'without times and permissions': [
    { server: { times: 'refused', modes: 'unsupported' } },
    { times: 'asked', permissions: 'none' },
  ],
  'that ignores times and permissions': [
    { server: { times: 'ignored', modes: 'ignored' } },
    { times: 'asked', permissions: 'none' },
  ],
  'types in words alone, small packets, answers in no order': [
    {
      server: {
        listing: 'longname',
        order: 'shuffled',
        limits: { maxPacketBytes: 34_000, maxReadBytes: 4_000, maxWriteBytes: 9_000 },
      },
    },
    { permissions: 'untold' },
  ],
  'listings of names alone': [{ server: { listing: 'names', entriesPerAnswer: 3, dots: 'hidden' } }],
  'that gives less than it is asked for, and new keys all the time': [{ prepare: stingy }],
};

/** Who has no links, or has the names of SYMLINK the other way round. */
const linkTraits: Readonly<Record<string, LinkTraits>> = {
  'version 3 and nothing else, and it hides its directory': { links: 'none' },
  'like a Windows server': { links: 'none' },
};

/** REALPATH is refused: nobody knows where the session is, and paths stay relative. */
function hidesDirectory(server: SftpServer): void {
  server.script({ on: 'REALPATH', nth: 'every', do: { kind: 'status', code: 3 } });
}

function stingy(server: SftpServer): void {
  server.script({ on: 'READ', nth: 'every', do: { kind: 'shortRead', bytes: 10_000 } });
  server.script({ on: 'CLOSE', nth: 'every', do: { kind: 'rekey' } });
  server.script({ on: /^(?:OPEN|LSTAT|READDIR) /, nth: 'every', do: { kind: 'split', everyBytes: 5 } });
}

for (const [name, [options, traits]] of Object.entries(kinds)) {
  remoteContract(name, () => SftpBerth.open(options), traits);
  keptLinks(name, () => SftpBerth.open(options), linkTraits[name]);
}
