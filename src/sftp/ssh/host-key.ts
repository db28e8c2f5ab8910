/*
 * Whether the key that a server shows is trusted: by the fingerprints that somebody wrote down, or else by files of
 * known hosts. Reads those files, and has the sentence for every refusal. Never trusts a key by itself, and writes
 * nothing.
 */
import { open } from 'node:fs/promises';
import { SftpError } from '../errors.js';
import {
  fingerprintOf,
  HOST_KEY_TYPES,
  type HostAddress,
  judgeHostKey,
  type KnownHostsFile,
  keyLabel,
  keyTypeOf,
  knownKeyTypes,
  type PublicKey,
  readFingerprint,
} from './known-hosts.js';

/** Which host keys are trusted. */
export interface SshTrust {
  /** `SHA256:` and base64; where there is one, known_hosts is not read. */
  readonly hostKeys: readonly string[];
  /** Paths of files, not all of which need to be there. */
  readonly knownHosts: readonly string[];
}

/** How much of a file of known hosts is read. */
const MOST_KNOWN_HOSTS_BYTES = 8 * 1024 * 1024;

/** What was read of the files: those that are there, and sentences about those that could not be read. */
export interface KnownHosts {
  readonly files: readonly KnownHostsFile[];
  readonly troubles: readonly string[];
}

/** Reads files of known hosts; one that is not there is none. Never throws. */
export async function readKnownHosts(paths: readonly string[]): Promise<KnownHosts> {
  const files: KnownHostsFile[] = [];
  const troubles: string[] = [];
  for (const path of paths) {
    try {
      const { bytes, whole } = await readBounded(path);
      files.push({ path, text: bytes.toString('utf8') });
      if (!whole) troubles.push(`${path} is larger than 8 MiB, and what lies behind was not read.`);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
      if (code !== 'ENOENT' && code !== 'ENOTDIR') troubles.push(`${path} could not be read (${code}).`);
    }
  }
  return { files, troubles };
}

async function readBounded(path: string): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> {
  const file = await open(path, 'r');
  try {
    if (!(await file.stat()).isFile()) throw Object.assign(new Error(path), { code: 'not a file' });
    const chunks: Buffer[] = [];
    let readBytes = 0;
    while (readBytes <= MOST_KNOWN_HOSTS_BYTES) {
      const { bytesRead, buffer } = await file.read({ buffer: Buffer.alloc(256 * 1024) });
      if (bytesRead === 0) return { bytes: Buffer.concat(chunks), whole: true };
      chunks.push(buffer.subarray(0, bytesRead));
      readBytes += bytesRead;
    }
    const bytes = Buffer.concat(chunks).subarray(0, MOST_KNOWN_HOSTS_BYTES);
    // Half a line at the end would be a damaged key.
    return { bytes: bytes.subarray(0, bytes.lastIndexOf('\n') + 1), whole: false };
  } finally {
    await file.close();
  }
}

/** Whose key it is about. */
export interface TrustQuestion extends HostAddress {
  /** Host and port, for messages. */
  readonly where: string;
  /** How people call the server: `ferryd trust NAME`. */
  readonly name: string;
  readonly trust: SshTrust;
}

/** What is trusted at one server, read once for one connection. */
export class HostKeyJudge {
  readonly #question: TrustQuestion;
  readonly #known: KnownHosts;

  private constructor(question: TrustQuestion, known: KnownHosts) {
    this.#question = question;
    this.#known = known;
  }

  /** Reads the files, where no fingerprint is written down. */
  static async of(question: TrustQuestion): Promise<HostKeyJudge> {
    const { hostKeys, knownHosts } = question.trust;
    const known = hostKeys.length > 0 ? { files: [], troubles: [] } : await readKnownHosts(knownHosts);
    return new HostKeyJudge(question, known);
  }

  /** True where fingerprints decide: they do not tell the type of their key. */
  get pinned(): boolean {
    return this.#question.trust.hostKeys.length > 0;
  }

  /** All types of keys, those that are known of this host first: a server shows one key alone, by our order. */
  types(): string[] {
    const known = knownKeyTypes(this.#question, this.#known.files);
    return [
      ...HOST_KEY_TYPES.filter((type) => known.has(type)),
      ...HOST_KEY_TYPES.filter((type) => !known.has(type)),
    ];
  }

  /** Undefined where the key is trusted, else an error of kind `host-key` (code `KEY-UNKNOWN`, `KEY-CHANGED`, `KEY-REVOKED`). */
  refusal(key: PublicKey): SftpError | undefined {
    const seen = `${keyLabel(key)} key ${fingerprintOf(key)}`;
    if (this.pinned) return this.#refusalOfPins(key, seen);
    const { host, port, where } = this.#question;
    const verdict = judgeHostKey({ host, port, key }, this.#known.files);
    switch (verdict.kind) {
      case 'trusted':
        return undefined;
      case 'revoked':
        return refusal(
          'KEY-REVOKED',
          `${where} shows the ${seen}, which ${verdict.at.path}:${verdict.at.line} revokes: somebody else may have it. Nothing was sent there. The server needs a new key.`,
        );
      case 'changed': {
        const known = verdict.known[0];
        const old = `${known.path}:${known.line} has the ${keyLabel(known.key)} key ${fingerprintOf(known.key)}`;
        return refusal(
          'KEY-CHANGED',
          `The host key of ${where} has changed: it shows the ${seen}, but ${old}. Either the server was set up anew, or somebody is in between. Nothing was sent there. ${this.#remarks(verdict.remarks)}Compare the key with the server's own (there: ${keygenCommand(key)}), and only if it is the same, accept it with "ferryd trust ${this.#question.name}".`,
        );
      }
      case 'unknown':
        return refusal(
          'KEY-UNKNOWN',
          `The host key of ${where} is not known: it shows the ${seen}, and ${this.#lookedIn()}. Nothing was sent there. ${this.#remarks(verdict.remarks)}Compare the key with the server's own (there: ${keygenCommand(key)}), then accept it with "ferryd trust ${this.#question.name}", or write hostKey: "${fingerprintOf(key)}".`,
        );
    }
  }

  #refusalOfPins(key: PublicKey, seen: string): SftpError | undefined {
    const { trust, where } = this.#question;
    const shown = fingerprintOf(key);
    if (trust.hostKeys.some((pin) => readFingerprint(pin) === shown)) return undefined;
    return refusal(
      'KEY-CHANGED',
      `${where} shows the ${seen}, and hostKey names ${trust.hostKeys.slice(0, 3).join(', ')}. Either the server was set up anew, or somebody is in between. Nothing was sent there. Compare the key with the server's own (there: ${keygenCommand(key)}), and only if it is the same, write hostKey: "${shown}".`,
    );
  }

  #lookedIn(): string {
    const { knownHosts } = this.#question.trust;
    if (knownHosts.length === 0) return 'there is no known_hosts to look it up in';
    return knownHosts.length === 1
      ? `${knownHosts[0]} does not have it`
      : `none of ${knownHosts.join(', ')} has it`;
  }

  #remarks(remarks: readonly string[]): string {
    return [...this.#known.troubles, ...remarks].map((remark) => `${remark} `).join('');
  }
}

function refusal(code: string, message: string): SftpError {
  return new SftpError('host-key', message, { phase: 'handshake', code });
}

/** The command that shows the fingerprint on an OpenSSH server. */
export function keygenCommand(key: PublicKey): string {
  const file = /^(?:ssh-)?(ed25519|ecdsa|rsa)/.exec(keyTypeOf(key) ?? '')?.[1] ?? '*';
  return `ssh-keygen -lf /etc/ssh/ssh_host_${file}_key.pub`;
}
