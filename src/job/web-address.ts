/*
 * Addresses of services that are not a job's servers: mail servers, and URLs of the web, which may be secrets. Only
 * what stays on this machine is spoken to without TLS.
 */
import { isIPv6 } from 'node:net';
import { isLoopback, readHost, readIpv6, readPort } from './host.js';
import { type Reading, read, wrong } from './reading.js';

/** A mail server, and how it is spoken to. */
export interface MailServer {
  readonly host: string;
  readonly port: number;
  readonly security: 'plain' | 'starttls' | 'implicit';
}

/** Reads `smtp://HOST[:PORT]` or `smtps://HOST[:PORT]`. Only this machine's own is spoken to without TLS. */
export function readMailServer(text: string): Reading<MailServer> {
  const match = /^(smtps?):\/\/([^/?#\s]*)\/?$/i.exec(text);
  if (match === null) {
    return wrong(
      'a mail server is written smtps://mail.example.net or smtp://mail.example.net, without a path',
    );
  }
  const [, scheme = '', authority = ''] = match;
  if (authority.includes('@')) {
    return wrong('user and password do not stand in the URL; write user and password beside it');
  }
  if (isIPv6(authority))
    return wrong('an IPv6 address stands in brackets in a URL, such as smtps://[2001:db8::1]');
  const split = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/s.exec(authority);
  if (split === null) return wrong('the URL needs a host, such as smtps://mail.example.net');
  const [, bracketed, plainHost, rawPort] = split;
  const host = bracketed === undefined ? readHost(plainHost ?? '') : readIpv6(bracketed);
  if (!host.ok) return host;
  const implicit = scheme.toLowerCase() === 'smtps';
  const security = implicit ? 'implicit' : isLoopback(host.value) ? 'plain' : 'starttls';
  const port = rawPort === undefined ? read(MAIL_PORTS[security]) : readPort(rawPort);
  return port.ok ? read({ host: host.value, port: port.value, security }) : port;
}

/** RFC 8314, section 3; RFC 5321, section 4.5.4.2. */
const MAIL_PORTS = { plain: 25, starttls: 587, implicit: 465 } as const;

/**
 * Says what is wrong with the URL of a web service, without repeating it: it may be a secret. Without TLS only what
 * stays on this machine is asked.
 */
export function checkWebUrl(text: string): string | undefined {
  if (text.length > 2000 || !/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    return 'must be a URL, such as https://example.net/hook';
  }
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') {
    return 'must hold no user and no password; where the URL is a secret, write { credential: NAME } or { file: PATH } in its place';
  }
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
    return 'must begin with https://, for everybody on the way could read it otherwise; http:// is for this machine only';
  }
  return undefined;
}
