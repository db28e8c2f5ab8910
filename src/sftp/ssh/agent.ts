/*
 * Keys that an SSH agent holds (draft-ietf-sshm-ssh-agent): which there are, and what it signs with them. One connection
 * to its socket for each question. The keys themselves never leave the agent; none is added, and none is forwarded.
 */
import net from 'node:net';
import { SftpError } from '../errors.js';
import { printable } from '../printable.js';

/** The public half of a key, and what its owner called it. */
export interface AgentKey {
  readonly key: Buffer;
  readonly comment: string;
}

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;

/** As many bytes an answer may have, and as many keys it may list (OpenSSH's own limits). */
const MOST_ANSWER_BYTES = 256 * 1024;
const MOST_KEYS = 2_048;

/**
 * The keys of the agent, in its own order.
 *
 * @throws {SftpError} kind `authentication`, code `AGENT`, where it does not answer; the signal's reason
 */
export async function agentKeys(socketPath: string, signal: AbortSignal): Promise<AgentKey[]> {
  const answer = await ask(socketPath, Buffer.from([REQUEST_IDENTITIES]), signal);
  if (answer[0] !== IDENTITIES_ANSWER) throw failure(socketPath, 'does not tell its keys');
  const fields = new Fields(answer, 1);
  const count = fields.number();
  if (count === undefined || count > MOST_KEYS) throw failure(socketPath, 'answers what cannot be read');
  const keys: AgentKey[] = [];
  for (let read = 0; read < count; read++) {
    const key = fields.bytes();
    const comment = fields.bytes();
    if (key === undefined || comment === undefined) throw failure(socketPath, 'answers what cannot be read');
    keys.push({ key, comment: printable(comment.toString('utf8')) });
  }
  return keys;
}

/**
 * Has the agent sign. RSA keys sign with the hash that is asked for; the others have their own.
 *
 * @returns the signature's bytes without the name of its form
 * @throws {SftpError} as `agentKeys`
 */
export async function agentSignature(
  socketPath: string,
  question: { readonly key: Buffer; readonly data: Buffer; readonly hash: 'sha256' | 'sha512' | undefined },
  signal: AbortSignal,
): Promise<Buffer> {
  const { key, data, hash } = question;
  // Flags: 2 is rsa-sha2-256, 4 is rsa-sha2-512.
  const flags = Buffer.from([0, 0, 0, hash === 'sha256' ? 2 : hash === 'sha512' ? 4 : 0]);
  const request = Buffer.concat([Buffer.from([SIGN_REQUEST]), framed(key), framed(data), flags]);
  const answer = await ask(socketPath, request, signal);
  if (answer[0] !== SIGN_RESPONSE) throw failure(socketPath, 'refuses to sign with its key');
  const signature = new Fields(answer, 1).bytes();
  const fields = signature && new Fields(signature, 0);
  const form = fields?.bytes();
  const bytes = fields?.bytes();
  if (form === undefined || bytes === undefined) throw failure(socketPath, 'answers what cannot be read');
  // An agent that does not know the flags signs with SHA-1, and no server of today takes that.
  if (hash !== undefined && form.toString('latin1') !== `rsa-sha2-${hash.slice(3)}`)
    throw failure(socketPath, `does not know rsa-sha2-${hash.slice(3)}`);
  return bytes;
}

/** One question, one answer, one connection. */
function ask(socketPath: string, request: Buffer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const socket = net.connect({ path: socketPath });
    let received = Buffer.alloc(0);
    const settle = (then: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.destroy();
      then();
    };
    const onAbort = (): void => settle(() => reject(signal.reason));
    const fail = (what: string): void => settle(() => reject(failure(socketPath, what)));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('connect', () => socket.write(framed(request)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4) return;
      const length = received.readUInt32BE(0);
      if (length === 0 || length > MOST_ANSWER_BYTES) fail('answers what cannot be read');
      else if (received.length >= 4 + length) settle(() => resolve(received.subarray(4, 4 + length)));
    });
    socket.on('end', () => fail('ended without an answer'));
    socket.on('error', (error) => fail(unreachable(error)));
  });
}

function unreachable(error: Error): string {
  const code = 'code' in error ? String(error.code) : error.message;
  if (code === 'ENOENT') return 'is not there (no such socket)';
  if (code === 'ECONNREFUSED') return 'has ended (nobody answers at its socket)';
  if (code === 'EACCES') return 'may not be asked by this user (EACCES)';
  return `cannot be reached (${code})`;
}

function failure(socketPath: string, what: string): SftpError {
  return new SftpError('authentication', `The SSH agent at ${socketPath} ${what}.`, {
    phase: 'login',
    code: 'AGENT',
  });
}

function framed(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

class Fields {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  number(): number | undefined {
    if (this.#at + 4 > this.#bytes.length) return undefined;
    const number = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return number;
  }

  bytes(): Buffer | undefined {
    const length = this.number();
    if (length === undefined || this.#at + length > this.#bytes.length) return undefined;
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }
}
