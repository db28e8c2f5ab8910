/*
 * Key pairs for tests of SSH, made by ssh-keygen, so that they are what people have. Those that nothing is asked of
 * are made once per process. Nothing is left on disk.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { findProgram, unpackedEnvironment } from './real-server.js';
import { temporaryDirectory } from './temporary.js';

export type SshKeyType = 'ed25519' | 'ecdsa' | 'rsa';

export interface SshKey {
  /** The text of the private key's file. */
  readonly privateKey: string;
  /** One line, as authorized_keys has it and known_hosts behind its names. */
  readonly publicLine: string;
  /** `SHA256:` and base64. */
  readonly fingerprint: string;
  /** The public key as RFC 4716 writes it. */
  readonly rfc4716: string;
}

export interface SshKeyOptions {
  /** None unless told. */
  readonly passphrase?: string;
  /** How the private key is written: OpenSSH's own form unless told. */
  readonly form?: 'PEM' | 'PKCS8';
}

const ofClients = new Map<SshKeyType, Promise<SshKey>>();
const ofHosts = new Map<SshKeyType, Promise<SshKey>>();

/** A client's key; it stays the same as long as this process lives. */
export function sshKey(type: SshKeyType): Promise<SshKey> {
  return kept(ofClients, type);
}

/** A server's key; all servers of this process have it. */
export function hostKeyOf(type: SshKeyType): Promise<SshKey> {
  return kept(ofHosts, type);
}

function kept(keys: Map<SshKeyType, Promise<SshKey>>, type: SshKeyType): Promise<SshKey> {
  const key = keys.get(type) ?? newSshKey(type);
  keys.set(type, key);
  return key;
}

/**
 * A new key. RSA has 2048 bits: that is what takes least time and everybody still accepts.
 *
 * @throws Error where ssh-keygen is missing or refuses
 */
export async function newSshKey(type: SshKeyType, options: SshKeyOptions = {}): Promise<SshKey> {
  const program = findProgram('ssh-keygen');
  if (program === undefined) throw new Error('ssh-keygen is not installed: run .ci/servers');
  await using directory = await temporaryDirectory('ssh-key');
  const file = directory.join('key');
  const run = promisify(execFile);
  const env = unpackedEnvironment();
  const words = [
    ...['-q', '-t', type, '-f', file, '-C', 'ferryd test', '-N', options.passphrase ?? ''],
    ...(type === 'rsa' ? ['-b', '2048'] : []),
    ...(options.form === undefined ? [] : ['-m', options.form]),
    // As few rounds as there may be: a test waits for them each time it opens the key.
    ...(options.passphrase === undefined || options.form !== undefined ? [] : ['-a', '1']),
  ];
  await run(program, words, { env });
  const publicLine = (await readFile(`${file}.pub`, 'utf8')).trim();
  const { stdout } = await run(program, ['-e', '-f', `${file}.pub`], { env });
  return {
    privateKey: await readFile(file, 'utf8'),
    publicLine,
    fingerprint: fingerprintOf(publicLine),
    rfc4716: stdout,
  };
}

/** `SHA256:` and base64 of a public key's line. */
export function fingerprintOf(publicLine: string): string {
  const blob = Buffer.from(publicLine.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}
