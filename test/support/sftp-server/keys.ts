/* SSH keys for tests, made once per process and name; nothing secret stands in the repository. */
import { createHash } from 'node:crypto';
import ssh2, { type utils } from 'ssh2';

export interface SshKey {
  /** In OpenSSH's form. */
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA...`, as a line of authorized_keys. */
  readonly publicKey: string;
  /** `SHA256:...` */
  readonly fingerprint: string;
}

export type KeyType = 'ed25519' | 'ecdsa' | 'rsa';

const made = new Map<string, SshKey>();

/** The key of that name; `passphrase` encrypts the private half. */
export function sshKey(
  name: string,
  options: { readonly type?: KeyType; readonly passphrase?: string } = {},
): SshKey {
  const { type = 'ed25519', passphrase } = options;
  const known = made.get(`${type} ${name} ${passphrase ?? ''}`);
  if (known !== undefined) return known;
  let pair = generate(type, passphrase);
  // One in some hundreds of ssh2's keys is a byte short, and then it cannot read it itself.
  while (ssh2.utils.parseKey(pair.private, passphrase) instanceof Error) pair = generate(type, passphrase);
  const publicKey = pair.public.trim();
  const key = { privateKey: pair.private, publicKey, fingerprint: fingerprintOf(publicKey) };
  made.set(`${type} ${name} ${passphrase ?? ''}`, key);
  return key;
}

/** `SHA256:...` of a line `TYPE BASE64 ...`, as ssh-keygen shows it. */
export function fingerprintOf(publicKey: string): string {
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

function generate(
  type: KeyType,
  passphrase: string | undefined,
): { readonly private: string; readonly public: string } {
  const lock: utils.KeyPairOptions =
    passphrase === undefined ? {} : { passphrase, cipher: 'aes256-ctr', rounds: 16 };
  if (type === 'ed25519') return ssh2.utils.generateKeyPairSync('ed25519', lock);
  if (type === 'ecdsa') return ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256, ...lock });
  return ssh2.utils.generateKeyPairSync('rsa', { bits: 2048, ...lock });
}
