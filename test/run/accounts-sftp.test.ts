/* What accounts of SFTP servers read before anything is connected: passwords, keys and what opens them, the agent. */
import { generateKeyPairSync } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SecretSource, SftpServer } from '../../src/job/job.js';
import { Accounts } from '../../src/run/accounts.js';
import { RunEnded } from '../../src/run/end.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
let accounts: Accounts;

/** As OpenSSH writes it; one round, for a test waits for each. */
function openSshKey(passphrase?: string): { readonly private: string; readonly public: string } {
  return passphrase === undefined
    ? ssh2.utils.generateKeyPairSync('ed25519')
    : ssh2.utils.generateKeyPairSync('ed25519', { passphrase, cipher: 'aes256-ctr', rounds: 1 });
}

beforeEach(async () => {
  directory = await temporaryDirectory('accounts');
  accounts = new Accounts(() => {}, { wire: 'silent', profiles: undefined });
  await write('key', openSshKey().private);
  await write('pass', 'hunter2\n');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await accounts.close();
  await directory[Symbol.asyncDispose]();
});

const at = (name: string): string => directory.join(name);
const write = (name: string, text: string): Promise<void> => writeFile(at(name), text, { mode: 0o600 });
const secret = (name: string): SecretSource => ({ kind: 'file', path: at(name) });

/** A server that is never connected to. */
function server(settings: Partial<SftpServer>): SftpServer {
  return {
    name: 'vault',
    protocol: 'sftp',
    host: '127.0.0.1',
    port: 1,
    user: 'ferry',
    password: undefined,
    privateKey: undefined,
    passphrase: undefined,
    agent: undefined,
    hostKeys: [],
    knownHosts: [at('known_hosts')],
    via: undefined,
    connections: 2,
    charset: 'utf-8',
    verify: 'auto',
    timeouts: { connectMs: 1_000, replyMs: 1_000, stallMs: 1_000, transferMs: 1_000 },
    ...settings,
  };
}

/** Why there is no account; no secret stands in it. */
async function refusal(settings: Partial<SftpServer>): Promise<{ code: string; message: string }> {
  const reason: unknown = await accounts.of(server(settings)).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(reason).toBeInstanceOf(RunEnded);
  const failure = reason instanceof RunEnded ? reason.failure : undefined;
  expect(failure?.kind).toBe('configuration');
  const { code = '', message = '' } = failure ?? {};
  expect(message).not.toContain('hunter2');
  expect(message).not.toMatch(/PRIVATE KEY-----\s|b3BlbnNzaC1rZXk/);
  return { code, message };
}

const CANNOT = 'The private key of the server vault cannot be used. ';

describe('what can be used', () => {
  it('is read, and whatever changes makes a new account', async () => {
    await write('password', 'first');
    await write('key', openSshKey('hunter2').private);
    await write('gate', openSshKey().private);
    const gate = server({ name: 'gate', port: 2, privateKey: secret('gate') });
    const vault = server({
      password: secret('password'),
      privateKey: secret('key'),
      passphrase: secret('pass'),
      agent: { kind: 'environment' },
      via: gate,
    });
    vi.stubEnv('SSH_AUTH_SOCK', at('agent.1'));
    let former = await accounts.of(vault);
    const changes: (() => unknown)[] = [
      () => write('password', 'second'),
      () => write('key', openSshKey('hunter2').private),
      async () => {
        await write('key', openSshKey('hunter3').private);
        await write('pass', 'hunter3');
      },
      () => write('gate', openSshKey().private),
      () => vi.stubEnv('SSH_AUTH_SOCK', at('agent.2')),
    ];
    for (const change of changes) {
      await change();
      const now = await accounts.of(vault);
      expect(now).not.toBe(former);
      expect(await accounts.of(vault)).toBe(now);
      former = now;
    }
  });

  it.each(['ed25519', 'rsa', 'ec'] as const)(
    'a key in PEM (%s), with the line breaks of Windows',
    async (kind) => {
      const { privateKey } =
        kind === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          : kind === 'ec'
            ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
            : generateKeyPairSync('ed25519');
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      await write('key', pem.replaceAll('\n', '\r\n'));
      await expect(accounts.of(server({ privateKey: secret('key') }))).resolves.toBeDefined();
    },
  );

  it('an agent by its path, of which nobody asks here whether it is there', async () => {
    vi.stubEnv('SSH_AUTH_SOCK', undefined);
    const agent = { kind: 'socket', path: at('nowhere') } as const;
    await expect(accounts.of(server({ agent }))).resolves.toBeDefined();
  });
});

describe('what cannot be used ends the run before it connects', () => {
  it('a key that is not there, or that everybody may read', async () => {
    expect(await refusal({ privateKey: secret('missing') })).toEqual({
      code: 'secret',
      message: `Cannot read the private key of the server vault: there is no file "${at('missing')}". Write it, and close it with chmod 600.`,
    });
    await chmod(at('key'), 0o644);
    const open = await refusal({ privateKey: secret('key') });
    expect(open.message).toContain('is open to every user of this machine. Close it with chmod 600');
  });

  it('what is no private key, each with what to do', async () => {
    const cases: [string, string][] = [
      [
        openSshKey().public,
        'That is the public key. The private one is needed: mostly the file of the same name without .pub.',
      ],
      [
        'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: hunter2\n',
        'The private key is in the form of PuTTY (.ppk), which ferryd does not read. Convert it: puttygen KEY.ppk -O private-openssh -o KEY',
      ],
      ['hunter2', 'That is no private key: it has no line "-----BEGIN ... PRIVATE KEY-----".'],
      [
        '-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n',
        'That is a certificate, and not the private key.',
      ],
      [openSshKey().private.slice(0, 200), 'The private key is cut off: its last line is missing.'],
    ];
    for (const [text, message] of cases) {
      await write('key', text);
      expect(await refusal({ privateKey: secret('key') })).toEqual({
        code: 'key',
        message: CANNOT + message,
      });
    }
  });

  it('a key of a kind that SSH has not', async () => {
    const { privateKey } = generateKeyPairSync('x25519');
    await write('key', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    expect(await refusal({ privateKey: secret('key') })).toEqual({
      code: 'key',
      message: `${CANNOT}The private key is of the type x25519, which ferryd does not use. Make another one: ssh-keygen -t ed25519`,
    });
  });

  it.each(['OpenSSH', 'PEM'])('a passphrase that is missing, or another one (%s)', async (form) => {
    const pem = (): string =>
      generateKeyPairSync('ec', { namedCurve: 'P-256' })
        .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter3' })
        .toString();
    await write('key', form === 'PEM' ? pem() : openSshKey('hunter3').private);
    expect(await refusal({ privateKey: secret('key') })).toEqual({
      code: 'key',
      message: `${CANNOT}The private key is encrypted, and no passphrase is given. Write passphrase: beside it.`,
    });
    expect(await refusal({ privateKey: secret('key'), passphrase: secret('pass') })).toEqual({
      code: 'key',
      message: `${CANNOT}The passphrase does not open the private key, or the key is damaged.`,
    });
    expect(await refusal({ privateKey: secret('key'), passphrase: secret('missing') })).toMatchObject({
      code: 'secret',
      message: expect.stringContaining('Cannot read the passphrase of the server vault: there is no file '),
    });
  });

  it('the key of the server in between, by the name of that server', async () => {
    await write('gate', openSshKey('hunter2').private);
    const gate = server({ name: 'gate', privateKey: secret('gate') });
    const { message } = await refusal({ privateKey: secret('key'), via: server({ name: 'mid', via: gate }) });
    expect(message).toMatch(/^The private key of the server gate cannot be used\. .* encrypted/);
    const missing = server({ name: 'gate', password: secret('missing') });
    expect((await refusal({ privateKey: secret('key'), via: missing })).message).toContain(
      'Cannot read the password of the server gate: ',
    );
  });

  it.each([undefined, ''])('an agent without $SSH_AUTH_SOCK (%j)', async (value) => {
    vi.stubEnv('SSH_AUTH_SOCK', value);
    expect(await refusal({ agent: { kind: 'environment' }, privateKey: secret('key') })).toEqual({
      code: 'agent',
      message:
        "agent: true of the server vault means the SSH agent that $SSH_AUTH_SOCK names, and ferryd runs without that variable, as services do. Write agent: PATH with the path of the agent's socket, or privateKey: { file: PATH }.",
    });
  });
});
