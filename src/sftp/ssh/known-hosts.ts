/*
 * Files of known host keys, in the format of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): names, lists,
 * wildcards, negations, ports, hashed names, @revoked. Pure: text in, verdict or text out.
 * Certificates are not accepted: a line of @cert-authority is only named where it could have mattered. Neither are keys
 * on hardware, DSA and the form of SSH 1.
 */
import { createHash, createHmac } from 'node:crypto';

/** The file of known hosts as it was read. */
export interface KnownHostsFile {
  readonly path: string;
  readonly text: string;
}

/** The host that was asked for: a name or an address without brackets. */
export interface HostAddress {
  readonly host: string;
  readonly port: number;
}

/** A public key as it travels (RFC 4253 section 6.6). */
export type PublicKey = Buffer;

/** A line of a file. */
export interface KnownKey {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly key: PublicKey;
}

/**
 * - `trusted`: a file has this key for this host
 * - `unknown`: no file has any key for it
 * - `changed`: files have other keys for it, which `known` lists; never none
 * - `revoked`: a file says that this key must not be trusted
 *
 * `remarks` are sentences about lines that could have mattered and were not used.
 */
export type HostKeyVerdict =
  | { readonly kind: 'trusted'; readonly at: KnownKey }
  | { readonly kind: 'revoked'; readonly at: KnownKey }
  | {
      readonly kind: 'changed';
      readonly known: readonly [KnownKey, ...KnownKey[]];
      readonly remarks: readonly string[];
    }
  | { readonly kind: 'unknown'; readonly remarks: readonly string[] };

/** The types of host keys that are understood, the best first, and how people call them. */
const KEY_TYPES: ReadonlyMap<string, string> = new Map([
  ['ssh-ed25519', 'ED25519'],
  ['ecdsa-sha2-nistp256', 'ECDSA'],
  ['ecdsa-sha2-nistp384', 'ECDSA'],
  ['ecdsa-sha2-nistp521', 'ECDSA'],
  ['ssh-rsa', 'RSA'],
]);

/** The types of host keys that are understood, the best first. */
export const HOST_KEY_TYPES: readonly string[] = [...KEY_TYPES.keys()];

/** RSA and ECDSA keys have three, Ed25519 has two. */
const MOST_FIELDS = 3;

/** How many remarks a verdict has at most. */
const MOST_REMARKS = 3;

const DEFAULT_PORT = 22;

/** The type of a key (`ssh-ed25519`); undefined where it is no key that is understood, or not all of one. */
export function keyTypeOf(key: PublicKey): string | undefined {
  const fields: Buffer[] = [];
  for (let at = 0; at < key.length; ) {
    if (at + 4 > key.length || fields.length === MOST_FIELDS) return undefined;
    const end = at + 4 + key.readUInt32BE(at);
    if (end > key.length) return undefined;
    fields.push(key.subarray(at + 4, end));
    at = end;
  }
  const type = fields[0]?.toString('latin1') ?? '';
  if (!KEY_TYPES.has(type) || fields.some(({ length }) => length === 0)) return undefined;
  const isWhole =
    type === 'ssh-ed25519' ? fields.length === 2 && fields[1]?.length === 32 : fields.length === 3;
  return isWhole ? type : undefined;
}

/** How people call the key's type (`ED25519`), or `unknown`. */
export function keyLabel(key: PublicKey): string {
  return KEY_TYPES.get(keyTypeOf(key) ?? '') ?? 'unknown';
}

/** `SHA256:` and base64 without padding, as ssh and ssh-keygen show it. */
export function fingerprintOf(key: PublicKey): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/**
 * A fingerprint in the form of `fingerprintOf`, from one that a person wrote: padding or not.
 *
 * @returns undefined where it is none; those of MD5 prove nothing any more and are none
 */
export function readFingerprint(text: string): string | undefined {
  const hash = /^SHA256:([A-Za-z0-9+/]{43})=?$/.exec(text.trim())?.[1];
  if (hash === undefined) return undefined;
  // The last character has two bits that stand for nothing.
  return `SHA256:${Buffer.from(hash, 'base64').toString('base64').replace(/=+$/, '')}`;
}

/** What the files say of a key that a server showed. */
export function judgeHostKey(
  { host, port, key }: HostAddress & { readonly key: PublicKey },
  files: readonly KnownHostsFile[],
): HostKeyVerdict {
  const remarks: string[] = [];
  const known: KnownKey[] = [];
  let trusted: KnownKey | undefined;
  for (const { path, line, entry } of entriesOf(files)) {
    const fit = fitOf(entry, { host, port });
    if (fit === 'none') continue;
    const at = { path, line, key: entry.key };
    if (entry.marker === '@revoked') {
      // Revoked for one port is revoked: the key is in other hands.
      if (entry.key.equals(key)) return { kind: 'revoked', at };
      if (entry.trouble !== undefined) remarks.push(`${path}:${line} revokes a key, but ${entry.trouble}.`);
    } else if (entry.marker === '@cert-authority') {
      remarks.push(
        `${path}:${line} trusts certificates of an authority, which ferryd does not do: it needs the key itself.`,
      );
    } else if (entry.trouble !== undefined) {
      remarks.push(`${path}:${line} was not used: ${entry.trouble}.`);
    } else if (entry.key.equals(key)) {
      trusted ??= at;
    } else if (fit === 'exact') {
      known.push(at);
    }
  }
  if (trusted !== undefined) return { kind: 'trusted', at: trusted };
  const [first, ...rest] = known;
  const told = remarks.slice(0, MOST_REMARKS);
  return first === undefined
    ? { kind: 'unknown', remarks: told }
    : { kind: 'changed', known: [first, ...rest], remarks: told };
}

/** The types of the keys that the files have for a host: a server should be asked for these first. */
export function knownKeyTypes(address: HostAddress, files: readonly KnownHostsFile[]): Set<string> {
  const types = new Set<string>();
  for (const { entry } of entriesOf(files)) {
    if (entry.marker !== undefined || entry.trouble !== undefined) continue;
    const type = keyTypeOf(entry.key);
    if (type !== undefined && fitOf(entry, address) !== 'none') types.add(type);
  }
  return types;
}

/** The keys that one file has for a host under its own name and port, those by wildcard too. */
export function keysOf(address: HostAddress, file: KnownHostsFile): KnownKey[] {
  const keys: KnownKey[] = [];
  for (const { path, line, entry } of entriesOf([file])) {
    if (entry.marker !== undefined || entry.trouble !== undefined) continue;
    if (fitOf(entry, address) === 'exact') keys.push({ path, line, key: entry.key });
  }
  return keys;
}

/** A file's text with keys of one host taken out and put in. */
export interface Rewritten {
  readonly text: string;
  /** The lines of the old text (from 1) that lost the host's name, or went altogether. */
  readonly changedLines: readonly number[];
}

/**
 * Puts keys of a host into a file's text. Every other line stays byte for byte; a line that names other hosts too only
 * loses this one. Names by wildcard stay: they are meant for more than this host.
 *
 * @param stale keys that the host does not have any more
 * @param added keys that the text does not have for it yet
 */
export function rewriteKnownHosts(
  text: string,
  {
    address,
    stale,
    added,
  }: {
    readonly address: HostAddress;
    readonly stale: readonly PublicKey[];
    readonly added: readonly PublicKey[];
  },
): Rewritten {
  const changedLines: number[] = [];
  const lines: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const kept = withoutHost(raw, address, stale);
    if (kept !== raw) changedLines.push(index + 1);
    if (kept !== undefined) lines.push(kept);
  }
  const ending = text.includes('\r\n') ? '\r\n' : '\n';
  let rewritten = lines.join('\n');
  if (added.length > 0 && rewritten !== '' && !rewritten.endsWith('\n')) rewritten += ending;
  const name = namesOf(address)[0];
  for (const key of added) rewritten += `${name} ${keyTypeOf(key) ?? ''} ${key.toString('base64')}${ending}`;
  return { text: rewritten, changedLines };
}

/** The line as it stays; undefined where nothing of it does. */
function withoutHost(raw: string, address: HostAddress, stale: readonly PublicKey[]): string | undefined {
  const entry = parseLine(raw);
  if (entry === undefined || entry.marker !== undefined || entry.trouble !== undefined) return raw;
  if (!stale.some((key) => key.equals(entry.key)) || fitOf(entry, address) !== 'exact') return raw;
  const names = entry.hosts.split(',');
  const left = names.filter((name) => !isNameOf(name, address));
  if (left.length === names.length) return raw;
  if (left.every((name) => name.startsWith('!'))) return undefined;
  return raw.replace(entry.hosts, () => left.join(','));
}

interface Entry {
  readonly marker: '@revoked' | '@cert-authority' | undefined;
  /** As written. */
  readonly hosts: string;
  /** Empty where `trouble` says why there is none. */
  readonly key: PublicKey;
  /** Why the line cannot be used, to go on a sentence with. */
  readonly trouble: string | undefined;
}

function* entriesOf(
  files: readonly KnownHostsFile[],
): Generator<{ readonly path: string; readonly line: number; readonly entry: Entry }> {
  for (const { path, text } of files) {
    let line = 0;
    for (let start = 0; start < text.length; ) {
      const end = text.indexOf('\n', start);
      const raw = text.slice(start, end === -1 ? text.length : end);
      start += raw.length + 1;
      line += 1;
      const entry = parseLine(raw);
      if (entry !== undefined) yield { path, line, entry };
    }
  }
}

/** One line; undefined where it is empty, a comment, or names no host. */
function parseLine(raw: string): Entry | undefined {
  const fields = raw.split(/[ \t\r]+/).filter((field) => field !== '');
  if (fields[0] === undefined || fields[0].startsWith('#')) return undefined;
  const marked = fields[0].startsWith('@') ? fields.shift() : undefined;
  const [hosts, type, base64] = fields;
  if (hosts === undefined) return undefined;
  const bad = (trouble: string): Entry => ({
    marker: marked === '@revoked' || marked === '@cert-authority' ? marked : undefined,
    hosts,
    key: Buffer.alloc(0),
    trouble,
  });
  if (marked !== undefined && marked !== '@revoked' && marked !== '@cert-authority')
    return bad(`nobody knows what its first word means`);
  if (type === undefined || base64 === undefined) return bad('it has no key');
  if (/^[0-9]+$/.test(type)) return bad('its key is one of SSH 1');
  if (!KEY_TYPES.has(type)) return bad('ferryd does not use keys of its type');
  const key = Buffer.from(base64, 'base64');
  if (key.toString('base64').replace(/=+$/, '') !== base64.replace(/=+$/, ''))
    return bad('its key is damaged');
  if (keyTypeOf(key) !== type) return bad('its key is damaged, or is not of the type that it says');
  return { marker: marked, hosts, key, trouble: undefined };
}

/**
 * `exact`: the line speaks of this host at this port. `portless`: of the host without a port, which ssh lets vouch for
 * all its ports, but never contradict.
 */
function fitOf(entry: Entry, address: HostAddress): 'exact' | 'portless' | 'none' {
  if (matches(entry.hosts, namesOf(address))) return 'exact';
  const other = address.port !== DEFAULT_PORT && matches(entry.hosts, [address.host.toLowerCase()]);
  return other ? 'portless' : 'none';
}

/** How the host is written in a file; the first is how OpenSSH writes it. */
function namesOf({ host, port }: HostAddress): readonly [string, ...string[]] {
  const name = host.toLowerCase();
  return port === DEFAULT_PORT ? [name, `[${name}]:${port}`] : [`[${name}]:${port}`];
}

function matches(hosts: string, names: readonly string[]): boolean {
  if (hosts.startsWith('|')) return names.some((name) => isHashOf(hosts, name));
  let found = false;
  for (const written of hosts.split(',')) {
    const negated = written.startsWith('!');
    const pattern = (negated ? written.slice(1) : written).toLowerCase();
    if (!names.some((name) => fits(pattern, name))) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** Whether a name in a list is this host's alone: no wildcard, no negation. */
function isNameOf(written: string, address: HostAddress): boolean {
  const names = namesOf(address);
  if (written.startsWith('|')) return names.some((name) => isHashOf(written, name));
  return names.includes(written.toLowerCase());
}

/** `|1|` salt `|` HMAC-SHA1 of the name, both in base64. */
function isHashOf(hashed: string, name: string): boolean {
  const [, salt, hash] = /^\|1\|([A-Za-z0-9+/=]+)\|([A-Za-z0-9+/=]+)$/.exec(hashed) ?? [];
  if (salt === undefined || hash === undefined) return false;
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
}

/** A pattern with `*` and `?`. Goes back to the last `*` alone, so that no pattern takes long. */
function fits(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = n;
    } else if (pattern[p] === '?' || (p < pattern.length && pattern[p] === name[n])) {
      p += 1;
      n += 1;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
