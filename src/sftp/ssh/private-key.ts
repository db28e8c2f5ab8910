/*
 * What a text that should be a private key is: OpenSSH's own form, PEM (PKCS#1, SEC 1) or PKCS#8, encrypted or not;
 * or something else, each with its sentence. Pure; the reader of OpenSSH's form is handed in (ssh.ts has it).
 * Does not use DSA keys, keys on hardware and PuTTY's form.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** A private key that can sign. */
export interface SigningKey {
  /** `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`. */
  readonly type: string;
  /** The signature, or an error: nothing is thrown. */
  sign(data: Buffer, hash?: string): Buffer | Error;
  getPublicSSH(): Buffer;
}

/** The key, or what is wrong with the text, in sentences that show nothing of it. */
export type KeyReading<K> =
  | { readonly kind: 'key'; readonly key: K }
  | { readonly kind: 'mistake'; readonly message: string };

/** Reads OpenSSH's form and plain PEM; an error where it cannot, and undefined where there is no key in it. */
export type KeyParser<K> = (text: string, passphrase: string | undefined) => K | Error | undefined;

/** No private key is as long. */
const MOST_KEY_CHARACTERS = 64 * 1024;

/** Each takes 35 ms of which nothing else in this process gets any; ssh-keygen makes 16 or 24. */
const MOST_ROUNDS = 300;

const OPENSSH = 'OPENSSH PRIVATE KEY';

/** Reads a private key from the text of its file. */
export function readKey<K extends SigningKey>(
  text: string,
  passphrase: string | undefined,
  parse: KeyParser<K>,
): KeyReading<K> {
  const block = keyBlock(text);
  if (block.kind === 'mistake') return block;
  const phrase = passphrase === '' ? undefined : passphrase;
  if (block.encrypted && phrase === undefined)
    return mistake('The private key is encrypted, and no passphrase is given. Write passphrase: beside it.');
  let plain = block.text;
  if (block.label !== OPENSSH) {
    const converted = fromPem(block, phrase);
    if (converted.kind === 'mistake') return converted;
    plain = converted.key;
  }
  let key: K | Error | undefined;
  try {
    key = parse(plain, block.label === OPENSSH ? phrase : undefined);
  } catch (error) {
    key = error instanceof Error ? error : new Error(String(error));
  }
  if (key === undefined || key instanceof Error) return mistake(whyNot(key, block));
  if (!SIGNS.test(key.type)) return mistake(unusable(key.type));
  if (key.sign(Buffer.from('ferryd'), key.type === 'ssh-rsa' ? 'sha512' : undefined) instanceof Error)
    return mistake('The private key is damaged: nothing can be signed with it.');
  return { kind: 'key', key };
}

const SIGNS = /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521))$/;

function mistake(message: string): { readonly kind: 'mistake'; readonly message: string } {
  return { kind: 'mistake', message };
}

interface KeyBlock {
  readonly kind: 'block';
  /** `OPENSSH PRIVATE KEY`, `RSA PRIVATE KEY`, `PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`. */
  readonly label: string;
  readonly text: string;
  readonly encrypted: boolean;
}

/** Finds the key in the text, or says what the text is instead. */
function keyBlock(text: string): KeyBlock | { readonly kind: 'mistake'; readonly message: string } {
  if (text.length > MOST_KEY_CHARACTERS)
    return mistake('The private key is longer than 64 KiB, so it is something else.');
  const trimmed = text.replace(/^\uFEFF/, '').trim();
  if (trimmed === '') return mistake('The private key is empty.');
  if (trimmed.startsWith('PuTTY-User-Key-File-'))
    return mistake(
      'The private key is in the form of PuTTY (.ppk), which ferryd does not read. Convert it: puttygen KEY.ppk -O private-openssh -o KEY',
    );
  const [, label] = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----/.exec(trimmed) ?? [];
  if (label === undefined) return mistake(whatElse(trimmed));
  const start = trimmed.indexOf(`-----BEGIN ${label}-----`);
  const end = trimmed.indexOf(`-----END ${label}-----`, start);
  if (end === -1) return mistake('The private key is cut off: its last line is missing.');
  const head = `-----BEGIN ${label}-----`;
  const body = trimmed.slice(start + head.length, end);
  // Where keys are kept in environments, line breaks get lost.
  const pem = /:/.test(body)
    ? `${head}${body.replace(/\r\n/g, '\n')}-----END ${label}-----\n`
    : `${head}\n${wrapped(body.replace(/\\n|\s/g, ''))}\n-----END ${label}-----\n`;
  const rounds = label === OPENSSH ? roundsOf(body) : undefined;
  if (rounds !== undefined && rounds > MOST_ROUNDS)
    return mistake(
      `The private key's passphrase is hashed ${rounds} times, which takes too long to open it. Fewer will do: ssh-keygen -p -a 24 -f KEY`,
    );
  const encrypted =
    label === OPENSSH
      ? rounds !== undefined
      : label.startsWith('ENCRYPTED') || /Proc-Type:\s*4,\s*ENCRYPTED/.test(body);
  return { kind: 'block', label, text: pem, encrypted };
}

function whatElse(text: string): string {
  const isPublic =
    /^(ssh-(rsa|dss|ed25519)|ecdsa-sha2-|sk-)\S* +AAAA/m.test(text) ||
    /-{4,5} ?BEGIN (SSH2 |RSA )?PUBLIC KEY ?-{4,5}/.test(text);
  if (isPublic)
    return 'That is the public key. The private one is needed: mostly the file of the same name without .pub.';
  if (text.includes('-----BEGIN CERTIFICATE')) return 'That is a certificate, and not the private key.';
  return 'That is no private key: it has no line "-----BEGIN ... PRIVATE KEY-----".';
}

function wrapped(base64: string): string {
  return base64.replace(/.{70}(?=.)/g, '$&\n');
}

/**
 * How often the passphrase is hashed (OpenSSH's PROTOCOL.key: `openssh-key-v1`, a NUL, cipher, kind of hashing, and its
 * options with salt and rounds); undefined where the key is not encrypted, or no key.
 */
function roundsOf(body: string): number | undefined {
  const bytes = Buffer.from(body.replace(/\\n|\s/g, ''), 'base64');
  if (bytes.toString('latin1', 0, 15) !== 'openssh-key-v1\0') return undefined;
  let at = 15;
  const next = (): Buffer => {
    const end = at + 4 + (at + 4 <= bytes.length ? bytes.readUInt32BE(at) : 0);
    const field = bytes.subarray(at + 4, end);
    at = Math.min(end, bytes.length);
    return field;
  };
  const cipher = next().toString('latin1');
  if (cipher === 'none') return undefined;
  next();
  const options = next();
  return options.length >= 8 ? options.readUInt32BE(options.length - 4) : 0;
}

/** Any PEM in the forms that the parser has: PKCS#1, SEC 1, OpenSSH's. */
function fromPem(block: KeyBlock, passphrase: string | undefined): KeyReading<string> {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: block.text, format: 'pem', passphrase });
  } catch {
    return mistake(
      block.encrypted
        ? 'The passphrase does not open the private key, or the key is damaged.'
        : 'The private key is damaged: it cannot be read.',
    );
  }
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return { kind: 'key', key: key.export({ type: 'pkcs1', format: 'pem' }).toString() };
    case 'ec':
      return { kind: 'key', key: key.export({ type: 'sec1', format: 'pem' }).toString() };
    case 'ed25519':
      return { kind: 'key', key: openSshForm(key) };
    default:
      return mistake(unusable(key.asymmetricKeyType ?? 'unknown'));
  }
}

/** An Ed25519 key in OpenSSH's form: PKCS#8 keeps the seed in its last 32 bytes, SPKI the public half. */
function openSshForm(key: KeyObject): string {
  const seed = key.export({ type: 'pkcs8', format: 'der' }).subarray(-32);
  const half = createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32);
  const type = field('ssh-ed25519');
  const check = Buffer.alloc(8);
  const secret = [check, type, field(half), field(Buffer.concat([seed, half])), field('')];
  const bytes = Buffer.concat(secret);
  const padding = Buffer.from(Array.from({ length: (8 - (bytes.length % 8)) % 8 }, (_, index) => index + 1));
  const one = Buffer.from([0, 0, 0, 1]);
  const parts = [Buffer.from('openssh-key-v1\0'), field('none'), field('none'), field(''), one];
  const whole = [...parts, field(Buffer.concat([type, field(half)])), field(Buffer.concat([bytes, padding]))];
  return `-----BEGIN ${OPENSSH}-----\n${wrapped(Buffer.concat(whole).toString('base64'))}\n-----END ${OPENSSH}-----\n`;
}

function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** The parser's words are about bytes; only what they say of types and ciphers helps. */
function whyNot(error: Error | undefined, block: KeyBlock): string {
  const words = error?.message ?? '';
  const [, type] = /Unsupported OpenSSH private key type: (\S+)/.exec(words) ?? [];
  if (type !== undefined) return unusable(type);
  const [, cipher] = /Unsupported cipher for OpenSSH key: (\S+)/.exec(words) ?? [];
  if (cipher !== undefined)
    return `The private key is encrypted with ${cipher.slice(0, 40)}, which ferryd does not know. Change it: ssh-keygen -p -Z aes256-ctr -f KEY`;
  return block.encrypted
    ? 'The passphrase does not open the private key, or the key is damaged.'
    : 'The private key is damaged: it cannot be read.';
}

function unusable(type: string): string {
  const what = type.replace(/[^\w@.-]/g, '?').slice(0, 60);
  return `The private key is of the type ${what}, which ferryd does not use. Make another one: ssh-keygen -t ed25519`;
}
