/*
 * Where something is, as people write it: a local path, `SERVER:PATH`, or a URL (RFC 1738 section 3.2.2: the path
 * counts from the login directory, `/%2F` begins an absolute one; RFC 3986 for the rest). SFTP has it like FTP.
 * The URL is taken apart by hand: a URL parser resolves `..` silently and its errors repeat the text, password and all.
 */
import { isIPv6 } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import { decode, readHost, readIpv6, readPort } from './host.js';
import type { FtpServer, RemotePath } from './job.js';
import { type Reading, read, wrong } from './reading.js';
import { closest, didYouMean } from './suggest.js';

/** `from` or `to` where it is one text. */
export type Address =
  | { readonly kind: 'local'; readonly text: string }
  | { readonly kind: 'named'; readonly server: string; readonly path: string }
  | { readonly kind: 'url'; readonly url: string };

/** What a scheme stands for. */
export type Scheme =
  | { readonly protocol: 'ftp'; readonly security: FtpServer['security'] }
  | { readonly protocol: 'sftp' };

/** What a server's URL says. */
export interface ServerUrl {
  readonly scheme: Scheme;
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  /** Undefined where the URL ends behind the host. */
  readonly remotePath: RemotePath | undefined;
}

const SCHEMES: ReadonlyMap<string, { readonly scheme: Scheme; readonly port: number }> = new Map<
  string,
  { readonly scheme: Scheme; readonly port: number }
>([
  ['sftp', { scheme: { protocol: 'sftp' }, port: 22 }],
  ['ftpes', { scheme: { protocol: 'ftp', security: 'explicit' }, port: 21 }],
  ['ftps', { scheme: { protocol: 'ftp', security: 'implicit' }, port: 990 }],
  ['ftp', { scheme: { protocol: 'ftp', security: 'plain' }, port: 21 }],
]);

function passwordInUrl(scheme: string): string {
  return `a password must not stand in a URL, where logs and other people see it; write { url: ${scheme}://HOST/PATH, user: NAME, password: { credential: NAME } }, or env, file or command in place of credential`;
}

/** Tells the three forms apart. A local name with a colon is written `./a:b`. */
export function readAddress(text: string): Address {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) return { kind: 'url', url: text };
  const named = /^([A-Za-z][A-Za-z0-9_-]*):(.*)$/s.exec(text);
  if (named !== null) return { kind: 'named', server: named[1] ?? '', path: named[2] ?? '' };
  return { kind: 'local', text };
}

/** Takes a server's URL apart. What is wrong is said without repeating the URL. */
export function readServerUrl(text: string): Reading<ServerUrl> {
  const match = /^([^:/?#\s]*):\/\/([^/?#]*)(.*)$/s.exec(text);
  if (match === null) {
    return wrong('must be a URL, such as sftp://nas.example.net or ftpes://nas.example.net');
  }
  const [, rawScheme = '', authority = '', rest = ''] = match;
  const known = SCHEMES.get(rawScheme.toLowerCase());
  if (known === undefined) return wrong(explainScheme(rawScheme.toLowerCase()));
  if (/[\s\0-\x1f\x7f]/.test(text))
    return wrong('a URL holds no spaces or control characters; write %20 for a space');

  const at = authority.lastIndexOf('@');
  const userinfo = at < 0 ? undefined : authority.slice(0, at);
  const hostAndPort = authority.slice(at + 1);
  // A slash in a password ends the host early: "john:pass/word@host".
  if (
    userinfo?.includes(':') ||
    (authority.includes(':') && !isHostAndPort(hostAndPort) && rest.includes('@'))
  ) {
    return wrong(passwordInUrl(rawScheme.toLowerCase()));
  }
  if (userinfo === undefined && /:\d*$/.test(authority) && rest.includes('@')) {
    return wrong(
      'an @ in the path of a URL with a port is written %40; if it ends a password, take the password out',
    );
  }
  const user = userinfo === undefined ? read(undefined) : readUser(userinfo);
  if (!user.ok) return user;
  if (isIPv6(hostAndPort)) {
    return wrong('an IPv6 address stands in brackets in a URL, such as sftp://[2001:db8::1]/dumps');
  }
  const split = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/s.exec(hostAndPort);
  if (split === null) return wrong('the URL needs a host, such as sftp://nas.example.net:2222');
  const [, bracketed, plainHost, rawPort] = split;
  const host = bracketed === undefined ? readHost(plainHost ?? '') : readIpv6(bracketed);
  if (!host.ok) return host;
  const port = rawPort === undefined ? read(known.port) : readPort(rawPort);
  if (!port.ok) return port;
  const remotePath = readUrlPath(rest);
  if (!remotePath.ok) return remotePath;
  return read({
    scheme: known.scheme,
    host: host.value,
    port: port.value,
    user: user.value,
    remotePath: remotePath.value,
  });
}

function isHostAndPort(text: string): boolean {
  return /^(\[[^\]]*\]|[^:]*)(:\d*)?$/.test(text);
}

function explainScheme(scheme: string): string {
  if (scheme === 'ssh' || scheme === 'scp') {
    return `files go over SSH by SFTP: write sftp:// in place of ${scheme}://`;
  }
  if (scheme === 'file') return 'a local directory is written as a path, without file://';
  return `a server is written with sftp://, ftpes://, ftps:// or ftp://${didYouMean(closest(scheme, [...SCHEMES.keys()]))}`;
}

function readUser(raw: string): Reading<string | undefined> {
  const user = decode(raw);
  if (!user.ok) return user;
  if (user.value === '')
    return wrong('the user in front of the @ is empty; write a name, or take the @ away');
  if (/[\r\n\0]/.test(user.value)) return wrong('the user must not hold a line break or a NUL');
  return user;
}

/** `rest` is what stands behind host and port: nothing, or from the first `/`, `?` or `#` on. */
function readUrlPath(rest: string): Reading<RemotePath | undefined> {
  if (/[?#]/.test(rest)) return wrong('a ? or # in a path is written %3F or %23 in a URL');
  if (rest === '' || rest === '/') return read(undefined);
  if (rest.startsWith('//')) {
    return wrong(
      'a path from the root of the server is written with %2F in a URL, such as sftp://HOST/%2Fsrv/dumps',
    );
  }
  const decoded = decode(rest.slice(1));
  return decoded.ok ? readRemotePath(decoded.value) : decoded;
}

/** Reads a directory on a server; empty components and `.` go, `..` is refused. */
export function readRemotePath(text: string): Reading<RemotePath> {
  if (/[\r\n\0]/.test(text)) return wrong('a path on a server must not hold a line break or a NUL');
  const absolute = text.startsWith('/');
  const components = text.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..')) {
    return wrong('a path on a server must not hold ".."; write the directory itself, from / if need be');
  }
  return read({ path: `${absolute ? '/' : ''}${components.join('/')}`, absolute });
}

/** Makes a local path absolute: `~/` is the home directory, the rest counts from `directory`. */
export function readLocalPath(text: string, directory: string): Reading<string> {
  if (text === '~' || text.startsWith('~/')) {
    const home = homeDirectory();
    return home === undefined
      ? wrong('~/ is the home directory, and the user that ferryd runs as has none; write the path from / on')
      : read(path.join(home, text.slice(1)));
  }
  if (/^~[^/]*(\/|$)/.test(text)) {
    return wrong("the home directory of another user is written out, such as /home/john; ~/ is one's own");
  }
  return read(path.resolve(directory, text));
}

/** Absolute path of the home directory of the user that ferryd runs as; services may have none. */
export function homeDirectory(): string | undefined {
  try {
    const home = homedir();
    return path.isAbsolute(home) ? home : undefined;
  } catch {
    // A user without a name (systemd's DynamicUser in a container) is in no list of users.
    return undefined;
  }
}
