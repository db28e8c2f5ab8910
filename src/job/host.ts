/*
 * The host part of whatever names a server: a name (IDN in ASCII), an IP address, a port. What is wrong is said without
 * repeating the text.
 */
import { isIP, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import { type Reading, read, wrong } from './reading.js';

/** True for a name of letters, digits, `-`, `_` and `.` that DNS could hold. */
export function isHostName(text: string): boolean {
  return (
    text.length <= 253 &&
    text
      .replace(/\.$/, '')
      .split('.')
      .every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label))
  );
}

export function readHost(raw: string): Reading<string> {
  const decoded = decode(raw);
  if (!decoded.ok) return decoded;
  if (decoded.value === '')
    return wrong('the URL has no host; write one behind the //, such as sftp://nas.example.net');
  const ascii = isHostName(decoded.value) ? decoded.value.toLowerCase() : domainToASCII(decoded.value);
  if (!isHostName(ascii) || (/^[\d.]+$/.test(ascii) && isIP(ascii) === 0)) {
    return wrong('the host is neither a name such as nas.example.net nor an IP address');
  }
  return read(ascii);
}

export function readIpv6(raw: string): Reading<string> {
  const address = raw.replace(/%25/, '%');
  if (!isIPv6(address)) return wrong('the brackets do not hold an IPv6 address, such as [2001:db8::1]');
  return read(address.toLowerCase());
}

export function readPort(raw: string): Reading<number> {
  const port = /^\d{1,5}$/.test(raw) ? Number(raw) : 0;
  return port >= 1 && port <= 65_535 ? read(port) : wrong('the port must be a number from 1 to 65535');
}

export function decode(text: string): Reading<string> {
  try {
    return read(decodeURIComponent(text));
  } catch {
    return wrong('a % in a URL begins two hexadecimal digits of UTF-8; write %25 for the sign itself');
  }
}

/** True where what is sent stays on this machine. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  if (isIP(host) === 4) return host.startsWith('127.');
  return /^(::ffff:127\.|(0{0,4}:){2,7}0{0,3}1$)/.test(host);
}
