/*
 * What one hop logs in with, made ready before anything is connected: its private key is read, its agent asked for the
 * keys that it holds. Nothing is ever signed with SHA-1, whatever a server would like.
 */
import { SftpError } from '../errors.js';
import { type AgentKey, agentKeys, agentSignature } from './agent.js';
import type { Hop } from './hop.js';
import { fingerprintOf, keyLabel, keyTypeOf } from './known-hosts.js';
import { BaseAgent, type ParsedKey, parseKey } from './library.js';
import type { LoginKey } from './login.js';
import { type KeyReading, readKey } from './private-key.js';

export type { KeyReading } from './private-key.js';

/** With what somebody logs in. Everything that is there is tried, once each. */
export interface SshLogin {
  readonly password: string | undefined;
  /** The text of the key's file, not its path. */
  readonly privateKey: string | undefined;
  readonly passphrase: string | undefined;
  /** Path of the agent's socket; empty where an agent is wanted and nobody says which. */
  readonly agentSocket: string | undefined;
}

/** What a server gets to know of it, and must not bring into a log by repeating it. */
export function secretsOf({ password }: SshLogin): readonly string[] {
  return password === undefined ? [] : [password];
}

/** Keys that were read: opening an encrypted one takes long on purpose. */
const READ_KEYS = new WeakMap<SshLogin, KeyReading<ParsedKey>>();

/** Reads a private key from the text of its file; says what is wrong with it in sentences that show nothing of it. */
export function readPrivateKey(text: string, passphrase: string | undefined): KeyReading<ParsedKey> {
  return readKey(text, passphrase, (plain, phrase) => parseKey(plain, phrase));
}

/** Who logs in where: one hop. */
export interface Account {
  readonly name: string;
  /** Host and port, for messages. */
  readonly where: string;
  readonly login: SshLogin;
}

/** What one hop logs in with, ready to use. */
export interface Credentials {
  readonly password: string | undefined;
  readonly keys: readonly ReadyKey[];
  readonly agentSocket: string | undefined;
  readonly troubles: readonly string[];
}

export interface ReadyKey extends LoginKey {
  readonly parsed?: ParsedKey;
  readonly agents?: AgentKey;
}

/** The key of a hop, read once. @throws {SftpError} kind `authentication`, code `KEY` */
export function keyOf({ login, name }: Pick<Account, 'login' | 'name'>): ParsedKey | undefined {
  if (login.privateKey === undefined) return undefined;
  const reading = READ_KEYS.get(login) ?? readPrivateKey(login.privateKey, login.passphrase);
  READ_KEYS.set(login, reading);
  if (reading.kind === 'key') return reading.key;
  const message = `The private key for ${name} cannot be used. ${reading.message}`;
  throw new SftpError('authentication', message, { phase: 'login', code: 'KEY' });
}

/**
 * Makes everything ready.
 *
 * @throws {SftpError} kind `authentication`, code `KEY` or `AGENT`: there is nothing to log in with
 */
export async function credentialsOf(account: Account, hop: Hop): Promise<Credentials> {
  const { password, agentSocket } = account.login;
  const own = keyOf(account);
  const keys: ReadyKey[] = [];
  if (own !== undefined) {
    const key = own.getPublicSSH();
    keys.push({
      label: `the private key (${keyLabel(key)} ${fingerprintOf(key)})`,
      from: 'file',
      parsed: own,
    });
  }
  if (agentSocket === undefined) return { password, keys, agentSocket, troubles: [] };
  const trouble = await agentTrouble(agentSocket, hop, (held) => {
    for (const agents of held) {
      const { key, comment } = agents;
      // Certificates, and keys on hardware that need a finger.
      if (keyTypeOf(key) === undefined || own?.getPublicSSH().equals(key) === true) continue;
      const label = `the agent's key ${comment === '' ? '' : `"${comment}" `}(${keyLabel(key)} ${fingerprintOf(key)})`;
      keys.push({ label, from: 'agent', agents });
    }
    return keys.some(({ from }) => from === 'agent')
      ? undefined
      : `The SSH agent at ${agentSocket} has no key${own === undefined ? '' : ' besides'}: add one with ssh-add.`;
  });
  if (trouble !== undefined && keys.length === 0 && password === undefined) {
    const message = `There is nothing to log in with at ${account.where}. ${trouble}`;
    throw new SftpError('authentication', message, { phase: 'login', code: 'AGENT' });
  }
  return { password, keys, agentSocket, troubles: trouble === undefined ? [] : [trouble] };
}

/** Asks the agent; what it lacks is only the end where there is nothing else. */
async function agentTrouble(
  socketPath: string,
  hop: Hop,
  take: (keys: readonly AgentKey[]) => string | undefined,
): Promise<string | undefined> {
  if (socketPath === '')
    return 'No SSH agent is known: SSH_AUTH_SOCK is not set. Start ferryd with it, or write the path of the socket as agent.';
  hop.enter('agent');
  try {
    return take(await agentKeys(socketPath, hop.signal));
  } catch (error) {
    if (error instanceof SftpError && error.code === 'AGENT') return error.message;
    throw error;
  }
}

/** An agent with a single key: each is a way of its own to log in, and is counted. */
export class OneKeyAgent extends BaseAgent<Buffer> {
  readonly #key: AgentKey;
  readonly #socketPath: string;
  readonly #signal: AbortSignal;

  constructor(key: AgentKey, socketPath: string, signal: AbortSignal) {
    super();
    this.#key = key;
    this.#socketPath = socketPath;
    this.#signal = signal;
  }

  override getIdentities(done: (error: Error | undefined, keys?: Buffer[]) => void): void {
    done(undefined, [this.#key.key]);
  }

  override sign(_key: unknown, data: Buffer, options: unknown, done?: unknown): void {
    const answer = isSignCallback(done) ? done : isSignCallback(options) ? options : () => {};
    const wanted =
      typeof options === 'object' && options !== null && 'hash' in options ? options.hash : undefined;
    const hash = wanted === 'sha256' || wanted === 'sha512' ? wanted : undefined;
    const { key } = this.#key;
    if (keyTypeOf(key) === 'ssh-rsa' && hash === undefined) {
      answer(new Error(SHA1_ONLY));
      return;
    }
    agentSignature(this.#socketPath, { key, data, hash }, this.#signal).then(
      (signature) => answer(null, signature),
      (error: unknown) => answer(error instanceof Error ? error : new Error(String(error))),
    );
  }
}

type SignAnswer = (error?: Error | null, signature?: Buffer) => void;

function isSignCallback(value: unknown): value is SignAnswer {
  return typeof value === 'function';
}

const SHA1_ONLY =
  'The server takes signatures of RSA keys with SHA-1 alone, which are not safe any more: use an Ed25519 key.';

/** The same key; only that nothing is signed with SHA-1, whatever the server would like. */
export function withoutSha1(key: ParsedKey): ParsedKey {
  if (key.type !== 'ssh-rsa') return key;
  const safe: ParsedKey = Object.create(key);
  // What ssh2 hands on where it fails is an error that is returned; its type does not say so.
  const sign = (data: Buffer, hash: unknown): Buffer | Error =>
    hash === 'sha256' || hash === 'sha512' ? key.sign(data, hash) : new Error(SHA1_ONLY);
  Object.defineProperty(safe, 'sign', { value: sign });
  return safe;
}
