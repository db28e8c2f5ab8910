/*
 * The checks of single texts that JSON Schema cannot say: each `format` of the schemas, with the words for
 * what is wrong. Pure; whether a file or variable exists is only asked when a run needs it.
 */
import { isIP } from 'node:net';
import { checkCharset } from './charset.js';
import { isHostName } from './host.js';
import { type Reading, read, wrong } from './reading.js';
import { closest, didYouMean } from './suggest.js';
import { parseDuration, parseSize } from './units.js';
import { checkWebUrl, readMailServer } from './web-address.js';

/** Says what is wrong with a text, or undefined where it is right. Never repeats a text that may be secret. */
export type Check = (text: string) => string | undefined;

export const SERVER_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

export const formats = {
  duration: (text) => {
    const reading = parseDuration(text);
    return reading.ok ? undefined : reading.wrong;
  },
  size: (text) => {
    const reading = parseSize(text);
    return reading.ok ? undefined : reading.wrong;
  },
  'path-text': checkPathText,
  'one-line': (text) => (/[\r\n\0]/.test(text) ? 'must not hold a line break or a NUL' : undefined),
  'credential-name': (text) =>
    /^[A-Za-z0-9_.@:-]{1,255}$/.test(text) && text !== '.' && text !== '..'
      ? undefined
      : 'a credential name is made of letters, digits and . _ - @ : (it is a file name in $CREDENTIALS_DIRECTORY)',
  'environment-name': (text) =>
    /^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(text)
      ? undefined
      : 'an environment variable has a name of letters, digits and _, without $, such as NAS_PASSWORD',
  'server-entry-name': (text) =>
    SERVER_NAME.test(text) && text.length <= 100
      ? undefined
      : 'a server name begins with a letter and goes on with letters, digits, - and _ (at most 100), such as nas',
  pin: (text) =>
    /^sha256\/[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)
      ? undefined
      : 'a pin is sha256/ and 44 characters of base64, the SHA-256 of the public key',
  'host-key': (text) => {
    const reading = readHostKey(text);
    return reading.ok ? undefined : reading.wrong;
  },
  'agent-socket': checkAgentSocket,
  'server-name': (text) => {
    if (isIP(text) !== 0) return 'must be a host name, not an IP address: TLS asks for names only';
    return isHostName(text) ? undefined : 'must be a host name, such as nas.example.net';
  },
  address: checkAddress,
  'port-range': (text) => {
    const reading = readPortRange(text);
    return reading.ok ? undefined : reading.wrong;
  },
  charset: checkCharset,
  timezone: checkTimezone,
  'http-url': checkWebUrl,
  'smtp-url': (text) => {
    const reading = readMailServer(text);
    return reading.ok ? undefined : reading.wrong;
  },
  'mail-address': (text) =>
    /^[^\s@<>()[\]\\,;:"\p{Cc}]{1,64}@[^\s@<>()\\,;:"\p{Cc}]{1,189}$/u.test(text)
      ? undefined
      : 'must be a mail address alone, such as ops@example.net',
  'file-pattern': checkFilePattern,
  'marker-path': checkMarkerPath,
} as const satisfies Record<string, Check>;

export type Format = keyof typeof formats;

export function isFormat(name: string): name is Format {
  return Object.hasOwn(formats, name);
}

/** Reads `FIRST-LAST` or a single port, each from 1024 to 65535. */
export function readPortRange(text: string): Reading<{ readonly first: number; readonly last: number }> {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return wrong('ports are written FIRST-LAST, such as 50000-50100, or as one port');
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (Math.min(first, last) < 1024 || Math.max(first, last) > 65_535) {
    return wrong('ports lie between 1024 and 65535; those below belong to the system');
  }
  if (first > last) return wrong(`the range of ports ends before it begins; write ${last}-${first}`);
  return read({ first, last });
}

/** How somebody gets a fingerprint that can be compared; on the server itself nobody stands in between. */
const HOW_TO_FINGERPRINT = 'on the server, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it';

/**
 * Reads the fingerprint of a host key in OpenSSH's form, `SHA256:` and base64; the `=` that some programs put at its
 * end goes.
 */
export function readHostKey(text: string): Reading<string> {
  const digest = /^SHA256:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048])=?$/.exec(text)?.[1];
  if (digest !== undefined) return read(`SHA256:${digest}`);
  if (/^(MD5:)?([0-9a-f]{2}:){15}[0-9a-f]{2}$/i.test(text)) {
    return wrong(
      `is a fingerprint by MD5, which can be forged; write the one by SHA256: ${HOW_TO_FINGERPRINT}`,
    );
  }
  if (/^(ssh-|ecdsa-|sk-|AAAA)/.test(text)) {
    return wrong(
      'is the key itself; write its fingerprint, which ssh-keygen -lf FILE shows, or put the key into a known_hosts file and name that with knownHosts',
    );
  }
  return wrong(
    `a host key is SHA256: and 43 characters of base64, in quotes, such as "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"; ${HOW_TO_FINGERPRINT}`,
  );
}

function checkAgentSocket(text: string): string | undefined {
  // In YAML 1.2 yes and on are texts; and nothing here replaces variables.
  if (text.startsWith('$') || !text.includes('/')) {
    return 'must be true for the agent that $SSH_AUTH_SOCK names, false, or the path of its socket, such as /run/user/1000/ssh-agent.socket';
  }
  return checkPathText(text);
}

function checkAddress(text: string): string | undefined {
  const bare = /^\[(.*)\]$/s.exec(text)?.[1];
  if (bare !== undefined && isIP(bare) === 6) return 'an IPv6 address stands here without brackets';
  if (isIP(text) === 0)
    return 'must be an IP address, such as 192.0.2.7 or 2001:db8::7; a name has no meaning here';
  // Its zone is a name of this machine's, and says nothing to another one.
  if (text.includes('%')) return 'must be an address without % and a zone, which no server knows';
  if (/^[0.:]+$/.test(text))
    return 'is the address that means every address; write the one that the server can reach';
  return undefined;
}

function checkPathText(text: string): string | undefined {
  if (/[\r\n\0]/.test(text)) return 'a path must not hold a line break or a NUL';
  return text.length > 4096 ? 'a path has at most 4096 characters' : undefined;
}

function checkTimezone(text: string): string | undefined {
  // Offsets such as +02:00 are legal for Intl, but know no summer time: nearly always a mistake.
  if (/^[A-Za-z]/.test(text)) {
    try {
      new Intl.DateTimeFormat('en', { timeZone: text });
      return undefined;
    } catch {
      // Not a time zone: said below.
    }
  }
  const zones = Intl.supportedValuesOf('timeZone');
  const cities = new Map(zones.map((zone) => [zone.slice(zone.lastIndexOf('/') + 1), zone]));
  const city = closest(text.slice(text.lastIndexOf('/') + 1), [...cities.keys()]);
  const suggestion = closest(text, zones) ?? (city === undefined ? undefined : cities.get(city));
  return `is no time zone that this machine knows; write an IANA name such as Europe/Berlin${didYouMean(suggestion)}`;
}

function checkFilePattern(text: string): string | undefined {
  if (text === '') return 'an empty pattern matches no file; write one such as "**/*.gz", or take it away';
  if (text.length > 1000) return 'a pattern has at most 1000 characters';
  if (/[\r\n\0]/.test(text)) return 'a pattern must not hold a line break or a NUL';
  if (text.startsWith('!')) return 'a pattern does not begin with !; what is left out belongs under exclude';
  if (text.startsWith('/')) return 'patterns are relative to from; take the slash at the beginning away';
  if (text.split('/').includes('..')) return 'patterns stay below from; ".." matches nothing';
  if (text.startsWith('./')) return 'patterns are relative to from; take the ./ at the beginning away';
  if (text.endsWith('/')) return 'a pattern matches files; for all that is in a directory write name/**';
  return undefined;
}

function checkMarkerPath(text: string): string | undefined {
  if (/[\r\n\0]/.test(text)) return 'a path must not hold a line break or a NUL';
  if (text.length > 1000) return 'the path of a marker has at most 1000 characters';
  if (/\{(name|stem)\}/.test(text)) {
    return 'is one file for the whole job; a marker beside each file is written ready: "{name}.done"';
  }
  if (text.startsWith('/') || text.startsWith('~/')) {
    return 'the marker is a file of the directory itself; write its path from there on, such as .mounted';
  }
  const components = text.split('/');
  if (components.includes('..')) return 'the marker lies below its directory; ".." leads out of it';
  if (components.includes('.') || components.includes('')) {
    return 'the marker is a file; write names with one / between them, such as .mounted or disk/.mounted';
  }
  if (components[0] === '.ferryd-trash') {
    return 'what lies in the trash is not looked at; name a file outside of .ferryd-trash';
  }
  return undefined;
}
