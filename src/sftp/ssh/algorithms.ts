/*
 * What is offered in a handshake (RFC 4253 section 7.1), and what to say where a server has none of it. Nothing of
 * yesterday: no signatures with SHA-1, no CBC, no group of 1,024 bits, no compression.
 */

import { printable } from '../printable.js';
import { HOST_KEY_TYPES } from './known-hosts.js';
import type { Offer } from './wire.js';

/** AES-GCM first: the fastest by far in Node, with ssh2's native part and without it. */
export const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group-exchange-sha256',
    'diffie-hellman-group14-sha256',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group18-sha512',
  ],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
  ],
  hmac: [
    'hmac-sha2-256-etm@openssh.com',
    'hmac-sha2-512-etm@openssh.com',
    'hmac-sha2-256',
    'hmac-sha2-512',
    'hmac-sha1-etm@openssh.com',
    'hmac-sha1',
  ],
  compress: ['none'],
} as const;

const RSA_ALGORITHMS = ['rsa-sha2-512', 'rsa-sha2-256'] as const;

/** The algorithms with which a host key of this type is shown. */
export function algorithmsOf(type: string): ServerHostKeyAlgorithm[] {
  if (type === 'ssh-rsa') return [...RSA_ALGORITHMS];
  return isHostKeyAlgorithm(type) ? [type] : [];
}

type ServerHostKeyAlgorithm =
  | 'ssh-ed25519'
  | 'ecdsa-sha2-nistp256'
  | 'ecdsa-sha2-nistp384'
  | 'ecdsa-sha2-nistp521'
  | 'rsa-sha2-512'
  | 'rsa-sha2-256';

function isHostKeyAlgorithm(
  type: string,
): type is Exclude<ServerHostKeyAlgorithm, 'rsa-sha2-512' | 'rsa-sha2-256'> {
  return HOST_KEY_TYPES.includes(type) && type !== 'ssh-rsa';
}

/** The types of host keys that a server offers and that are understood, the best first. */
export function offeredTypes(offer: Offer | undefined): string[] {
  const offered = offer?.get('host key') ?? [];
  return HOST_KEY_TYPES.filter((type) => algorithmsOf(type).some((algorithm) => offered.includes(algorithm)));
}

/** Which lists of an offer ssh2's words are about. */
const LISTS: ReadonlyMap<
  string,
  'key exchange' | 'host key' | 'cipher' | 'cipher back' | 'MAC' | 'MAC back'
> = new Map([
  ['key exchange', 'key exchange'],
  ['host key', 'host key'],
  ['C->S cipher', 'cipher'],
  ['S->C cipher', 'cipher back'],
  ['C->S MAC', 'MAC'],
  ['S->C MAC', 'MAC back'],
]);

/** The sentence for ssh2's `no matching ...`. */
export function noCommon(where: string, what: string, offer: Offer | undefined): string {
  const list = LISTS.get(what);
  const kind = list?.replace(' back', '') ?? what;
  const offered = (list === undefined ? undefined : offer?.get(list)) ?? [];
  const names = printable(offered.slice(0, 8).join(', '));
  const has =
    names === '' ? '' : ` It has only ${names}, which ferryd does not use any more or does not know.`;
  return `${where} and ferryd share no ${kind} algorithm.${has} The SSH server there needs an update, or other settings.`;
}
