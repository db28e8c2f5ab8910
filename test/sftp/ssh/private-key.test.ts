/*
 * Private keys in the forms that people have, and what is said of everything else. Keys in OpenSSH's form, in PEM and
 * in PKCS#8 are made by Node and ssh2; those of ssh-keygen itself where there is one.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPrivateKey } from '../../../src/sftp/ssh/credentials.js';
import { describeWhere, findProgram } from '../../support/real-server.js';
import { sshKey } from '../../support/sftp-server/keys.js';
import { newSshKey, type SshKeyType } from '../../support/ssh-keys.js';

function typeOf(text: string, passphrase?: string): string {
  const reading = readPrivateKey(text, passphrase);
  return reading.kind === 'key' ? reading.key.type : reading.message;
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
const ed25519 = generateKeyPairSync('ed25519');

function pem(key: KeyObject, type: 'pkcs1' | 'sec1' | 'pkcs8', passphrase?: string): string {
  const lock = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  return key.export({ type, format: 'pem', ...lock }).toString();
}

describe('forms', () => {
  test.each([
    ['OpenSSH, Ed25519', sshKey('mine').privateKey, 'ssh-ed25519'],
    ['OpenSSH, ECDSA', sshKey('mine', { type: 'ecdsa' }).privateKey, 'ecdsa-sha2-nistp256'],
    ['OpenSSH, RSA', sshKey('mine', { type: 'rsa' }).privateKey, 'ssh-rsa'],
    ['PKCS#1', pem(rsa.privateKey, 'pkcs1'), 'ssh-rsa'],
    ['SEC 1', pem(ec.privateKey, 'sec1'), 'ecdsa-sha2-nistp384'],
    ['PKCS#8, RSA', pem(rsa.privateKey, 'pkcs8'), 'ssh-rsa'],
    ['PKCS#8, ECDSA', pem(ec.privateKey, 'pkcs8'), 'ecdsa-sha2-nistp384'],
    ['PKCS#8, Ed25519', pem(ed25519.privateKey, 'pkcs8'), 'ssh-ed25519'],
  ])('%s', (_, text, type) => {
    expect(typeOf(text)).toBe(type);
    expect(typeOf(text.replaceAll('\n', '\r\n'))).toBe(type);
    expect(typeOf(`\uFEFF\n${text.trim()}`)).toBe(type);
    // As keys come out of environments.
    expect(typeOf(text.trim().replaceAll('\n', ' '))).toBe(type);
    expect(typeOf(text.trim().replaceAll('\n', '\\n'))).toBe(type);
  });

  test.each([
    ['OpenSSH', sshKey('mine', { passphrase: 'open' }).privateKey, 'ssh-ed25519'],
    ['PKCS#1', pem(rsa.privateKey, 'pkcs1', 'open'), 'ssh-rsa'],
    ['SEC 1', pem(ec.privateKey, 'sec1', 'open'), 'ecdsa-sha2-nistp384'],
    ['PKCS#8', pem(ed25519.privateKey, 'pkcs8', 'open'), 'ssh-ed25519'],
  ])('encrypted: %s', (_, text, type) => {
    expect(typeOf(text, 'open')).toBe(type);
    expect(typeOf(text)).toContain('encrypted, and no passphrase is given');
    expect(typeOf(text, '')).toContain('encrypted, and no passphrase is given');
    expect(typeOf(text, 'wrong')).toContain('The passphrase does not open the private key');
  });

  test('a passphrase that is not needed does no harm', () => {
    expect(typeOf(sshKey('mine').privateKey, 'not needed')).toBe('ssh-ed25519');
    expect(typeOf(pem(rsa.privateKey, 'pkcs8'), 'not needed')).toBe('ssh-ed25519'.replace('ed25519', 'rsa'));
  });

  test('what PKCS#8 holds is the same key', () => {
    const reading = readPrivateKey(pem(ed25519.privateKey, 'pkcs8'), undefined);
    if (reading.kind !== 'key') throw new Error(reading.message);
    const raw = ed25519.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
    expect(reading.key.getPublicSSH().subarray(-32)).toEqual(raw);
  });
});

describe('what is none', () => {
  const openssh = sshKey('mine').privateKey;
  test.each([
    ['nothing', ' \n', 'is empty'],
    ['a public key', sshKey('mine').publicKey, 'That is the public key'],
    [
      'a public key in PEM',
      ed25519.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      'public key',
    ],
    [
      'a public key of RFC 4716',
      '---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----',
      'public key',
    ],
    [
      'PuTTY’s form',
      'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n',
      'puttygen KEY.ppk -O private-openssh',
    ],
    [
      'a certificate',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
      'That is a certificate',
    ],
    ['a password', 'hunter2', 'That is no private key'],
    ['half a key', openssh.slice(0, 200), 'cut off'],
    ['a key with a hole', openssh.replace(/\n.{40}/, '\n'), 'damaged'],
    ['PEM with a hole', pem(rsa.privateKey, 'pkcs8').replace(/\n.{40}/, '\n'), 'damaged'],
    ['another type', pem(generateKeyPairSync('x25519').privateKey, 'pkcs8'), 'of the type x25519'],
    [
      'another curve',
      pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, 'sec1'),
      'private key',
    ],
    ['too much', `-----BEGIN OPENSSH PRIVATE KEY-----${'A'.repeat(70_000)}`, 'longer than 64 KiB'],
  ])('%s', (_, text, sentence) => {
    const reading = readPrivateKey(text, undefined);
    expect(reading.kind).toBe('mistake');
    expect(typeOf(text)).toContain(sentence);
    expect(typeOf(text)).not.toContain('hunter2');
  });

  test('a key that takes too long to open', () => {
    const lines = sshKey('mine', { passphrase: 'open' }).privateKey.split('\n');
    const bytes = Buffer.from(lines.slice(1, -2).join(''), 'base64');
    // Magic, "aes256-ctr", "bcrypt", and the options: length, a salt of 16 bytes, rounds.
    const at = 15 + 14 + 10 + 4 + 20;
    expect(bytes.readUInt32BE(at)).toBe(16);
    bytes.writeUInt32BE(4_000_000_000, at);
    const text = `${lines[0]}\n${bytes.toString('base64')}\n${lines.at(-2)}\n`;
    expect(typeOf(text, 'open')).toContain('hashed 4000000000 times');
  });

  test('damage anywhere is a mistake or the same type, and never an exception', () => {
    const sources = [openssh, pem(ec.privateKey, 'sec1'), sshKey('mine', { passphrase: 'open' }).privateKey];
    fc.assert(
      fc.property(
        fc.constantFrom(...sources),
        fc.nat(2_000),
        fc.string({ maxLength: 3 }),
        (text, at, bad) => {
          const place = at % text.length;
          const reading = readPrivateKey(text.slice(0, place) + bad + text.slice(place + 2), undefined);
          expect(['key', 'mistake']).toContain(reading.kind);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describeWhere(
  'ssh-keygen',
  findProgram('ssh-keygen') === undefined ? 'ssh-keygen is not installed: run .ci/servers' : undefined,
  'keys of ssh-keygen',
  () => {
    const forms = ['OpenSSH', 'PEM', 'PKCS8'] as const;
    const types: readonly SshKeyType[] = ['ed25519', 'ecdsa', 'rsa'];
    test.each(forms.flatMap((form) => types.map((type) => [form, type] as const)))(
      '%s, %s',
      async (form, type) => {
        // OpenSSH has its own form for Ed25519, whatever is asked for.
        const shape = form === 'OpenSSH' ? {} : { form };
        const expected =
          type === 'rsa' ? 'ssh-rsa' : type === 'ecdsa' ? 'ecdsa-sha2-nistp256' : 'ssh-ed25519';
        expect(typeOf((await newSshKey(type, shape)).privateKey)).toBe(expected);
        const locked = await newSshKey(type, { ...shape, passphrase: 'open it' });
        expect(typeOf(locked.privateKey, 'open it')).toBe(expected);
        expect(typeOf(locked.privateKey, 'wrong')).toContain('does not open');
        expect(typeOf(locked.privateKey)).toContain('no passphrase is given');
      },
    );
  },
);
