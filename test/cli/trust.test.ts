/*
 * `ferryd trust`: what it shows, asks and writes, and what it refuses.
 */
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CommandFailed } from '../../src/cli/exit.js';
import { type Ask, type TrustOptions, trust } from '../../src/cli/trust.js';
import { sshKey } from '../support/sftp-server/keys.js';
import { type SshHost, startSshHost } from '../support/ssh-host.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const ed25519 = sshKey('host');
const rsa = sshKey('host', { type: 'rsa' });
const old = sshKey('old');
const oldRsa = sshKey('old', { type: 'rsa' });

let directory: TemporaryDirectory;
let server: SshHost;
let printed = '';

beforeEach(async () => {
  directory = await temporaryDirectory('trust');
  server = await startSshHost({ hostKeys: [ed25519, rsa] });
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  await servers(`nas:\n  url: sftp://backup@127.0.0.1:${server.port}\n  password: { env: NAS }\n`);
});

afterEach(async () => {
  vi.restoreAllMocks();
  await server[Symbol.asyncDispose]();
  await directory.remove();
});

async function servers(text: string): Promise<void> {
  // Nobody's own files are looked at.
  const kept = text.replace(/^( +)url: sftp:.*$/gm, `$&\n$1knownHosts: ${directory.join('known_hosts')}`);
  await writeFile(directory.join('servers.yaml'), kept);
}

function name(): string {
  return `[127.0.0.1]:${server.port}`;
}

const nobody = undefined;
const yes: Ask = async () => 'yes';

async function code(call: Promise<unknown>): Promise<{ code: number; message: string }> {
  const error = await call.then(
    () => new Error('It was to fail, and did not'),
    (failed: unknown) => failed,
  );
  if (error instanceof CommandFailed) return { code: error.exitCode, message: error.message };
  throw error;
}

function run(more: Partial<TrustOptions> = {}, ask: Ask | undefined = nobody, server = 'nas') {
  return trust(server, { jobs: directory.path, ...more }, ask);
}

async function known(): Promise<string> {
  return readFile(directory.join('known_hosts'), 'latin1');
}

describe('a server that nobody knows', () => {
  test('its keys are shown and asked for, and written at a yes', async () => {
    const asked: string[] = [];
    const ask: Ask = async (question) => {
      asked.push(question);
      return ' Yes\n';
    };
    expect(await run({}, ask)).toBe(0);
    expect(asked).toEqual(['Trust these keys? Type yes: ']);
    expect(printed).toContain(`127.0.0.1:${server.port} (TestHost_1.0) shows 2 host keys:`);
    expect(printed).toMatch(
      new RegExp(`ED25519 +${ed25519.fingerprint.replace(/[+/]/g, '\\$&')} +not known yet`),
    );
    expect(printed).toContain('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
    expect(printed).toContain('ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub');
    expect(printed).toContain(`Written to ${directory.join('known_hosts')}: ED25519 ${ed25519.fingerprint}`);
    expect(await known()).toBe(`${name()} ${ed25519.publicKey}\n${name()} ${rsa.publicKey}\n`);
    expect((await stat(directory.join('known_hosts'))).mode & 0o777).toBe(0o644);
    expect(server.attempts).toEqual([]);
    printed = '';
    expect(await run()).toBe(0);
    expect(printed).toContain('there is nothing to do');
    expect(printed).toContain(`trusted already: ${directory.join('known_hosts')}:1`);
  });

  test.each(['no', '', 'y', 'yess'])('an answer that is no yes: %j', async (answer) => {
    expect(await code(run({}, async () => answer))).toMatchObject({ code: 5 });
    await expect(known()).rejects.toThrow('ENOENT');
  });

  test('where nobody can be asked, nothing is written without the fingerprint', async () => {
    const { code: exit, message } = await code(run());
    expect(exit).toBe(2);
    expect(message).toContain(`ferryd trust nas --fingerprint ${ed25519.fingerprint}`);
    await expect(known()).rejects.toThrow('ENOENT');
  });

  test('a fingerprint has its key written, and none else', async () => {
    expect(await run({ fingerprint: `${rsa.fingerprint}=` })).toBe(0);
    expect(await known()).toBe(`${name()} ${rsa.publicKey}\n`);
    printed = '';
    expect(await run({ fingerprint: rsa.fingerprint })).toBe(0);
    expect(printed).toContain('there is nothing to do');
    expect(await run({ fingerprint: ed25519.fingerprint })).toBe(0);
    expect(await known()).toBe(`${name()} ${rsa.publicKey}\n${name()} ${ed25519.publicKey}\n`);
  });

  test('a fingerprint that none of its keys has', async () => {
    expect(await code(run({ fingerprint: old.fingerprint }))).toMatchObject({ code: 5 });
    expect(await code(run({ fingerprint: 'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48' }))).toEqual({
      code: 2,
      message: expect.stringContaining('MD5'),
    });
    expect(await code(run({ fingerprint: 'hunter2' }))).toMatchObject({ code: 2 });
    await expect(known()).rejects.toThrow('ENOENT');
  });

  test('for machines', async () => {
    expect(await run({ json: true, fingerprint: ed25519.fingerprint })).toBe(0);
    expect(JSON.parse(printed)).toEqual({
      server: 'nas',
      host: '127.0.0.1',
      port: server.port,
      keys: [
        { type: 'ssh-ed25519', fingerprint: ed25519.fingerprint, state: 'new' },
        { type: 'ssh-rsa', fingerprint: rsa.fingerprint, state: 'new' },
      ],
      written: {
        file: directory.join('known_hosts'),
        fingerprints: [ed25519.fingerprint],
        replacedLines: [],
      },
    });
  });
});

describe('a server that is known otherwise', () => {
  test('a changed key is told loudly, and replaced where it stood; all else stays', async () => {
    const file = directory.join('known_hosts');
    const others = ['# mine \xe9', `other ${old.publicKey}`, `other,x ${oldRsa.publicKey} shared`];
    const lines = [
      others[0],
      `${name()} ${old.publicKey}`,
      ...others.slice(1),
      `x,${name()} ${oldRsa.publicKey}`,
    ];
    await writeFile(file, lines.join('\r\n'), 'latin1');
    await chmod(file, 0o600);
    expect(await run({}, yes)).toBe(0);
    expect(printed).toContain(`CHANGED: ${file}:2 has ED25519 ${old.fingerprint}`);
    expect(printed).toContain('somebody is in between');
    expect(printed).toContain('in place of what stood in lines 2, 5');
    expect(await known()).toBe(
      [
        ...others,
        `x ${oldRsa.publicKey}`,
        `${name()} ${ed25519.publicKey}`,
        `${name()} ${rsa.publicKey}`,
        '',
      ].join('\r\n'),
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readdir(directory.path)).sort()).toEqual(['known_hosts', 'servers.yaml']);
  });

  test('one more key of a server that is known is no change', async () => {
    await writeFile(directory.join('known_hosts'), `${name()} ${ed25519.publicKey}\n`);
    expect(await run({}, yes)).toBe(0);
    expect(printed).not.toContain('CHANGED');
    expect(await known()).toBe(`${name()} ${ed25519.publicKey}\n${name()} ${rsa.publicKey}\n`);
  });

  test('a revoked key is never written', async () => {
    const revoked = `@revoked * ${ed25519.publicKey}\n`;
    await writeFile(directory.join('known_hosts'), revoked);
    const { code: exit, message } = await code(run({ fingerprint: ed25519.fingerprint }));
    expect([exit, message]).toEqual([5, expect.stringContaining('revoked')]);
    expect(printed).toContain('REVOKED');
    expect(await run({}, yes)).toBe(0);
    expect(await known()).toBe(`${revoked}${name()} ${rsa.publicKey}\n`);
  });

  test('a file that is a link stays one', async () => {
    await writeFile(directory.join('real'), '');
    await symlink('real', directory.join('known_hosts'));
    expect(await run({}, yes)).toBe(0);
    expect(await readFile(directory.join('real'), 'utf8')).toContain(ed25519.publicKey);
  });

  test('a file that cannot be written is told, and stays', async () => {
    await mkdir(directory.join('known_hosts'));
    const { code: exit, message } = await code(run({}, yes));
    expect(exit).toBe(1);
    expect(message).toContain('No key was trusted');
  });

  test('hostKey: what to write there instead', async () => {
    const pinned = (fingerprint: string): Promise<void> =>
      writeFile(
        directory.join('servers.yaml'),
        `nas:\n  url: sftp://backup@127.0.0.1:${server.port}\n  password: { env: NAS }\n  hostKey: "${fingerprint}"\n`,
      );
    await pinned(rsa.fingerprint);
    expect(await run({}, yes)).toBe(0);
    expect(printed).toContain('trusted: hostKey names it');
    await pinned(old.fingerprint);
    printed = '';
    expect(await run({}, yes)).toBe(5);
    expect(printed).toContain(`hostKey: "${ed25519.fingerprint}"`);
    await expect(known()).rejects.toThrow('ENOENT');
  });
});

describe('which server', () => {
  test('one that is unknown, one that is mistaken, one that speaks FTP', async () => {
    await servers('cam:\n  url: ftp://10.0.0.9\nbad:\n  url: sftp://nowhere\n');
    expect(await code(run({}, yes, 'nas'))).toEqual({ code: 2, message: expect.stringContaining('nas') });
    expect(await code(run({}, yes, 'bad'))).toEqual({ code: 2, message: expect.stringContaining('bad') });
    expect(await code(run({}, yes, 'cam'))).toEqual({ code: 2, message: expect.stringContaining('tls:') });
  });

  test('one that a job describes, by its host', async () => {
    await servers('cam:\n  url: ftp://10.0.0.9\n');
    const to = `{ url: "sftp://backup@127.0.0.1:${server.port}/dir", password: { env: NAS }, knownHosts: ${directory.join('known_hosts')} }`;
    await writeFile(directory.join('job.yaml'), `from: ${directory.path}\nto: ${to}\n`);
    expect(await run({}, yes, '127.0.0.1')).toBe(0);
    expect(await known()).toContain(ed25519.publicKey);
  });

  test('one that is out of reach', async () => {
    const port = server.port;
    await server[Symbol.asyncDispose]();
    expect(await code(run({}, yes))).toEqual({
      code: 4,
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
  });

  test('one behind another, which has to be trusted before', async () => {
    vi.stubEnv('GATE', 'secret');
    await using gate = await startSshHost({ hostKeys: [old] });
    const both = `gate:\n  url: sftp://guard@127.0.0.1:${gate.port}\n  password: { env: GATE }\nnas:\n  url: sftp://backup@127.0.0.1:${server.port}\n  password: { env: NAS }\n  via: gate\n`;
    await servers(both);
    const { code: exit, message } = await code(run({}, yes));
    expect([exit, message]).toEqual([5, expect.stringContaining('ferryd trust gate')]);
    expect(await run({}, yes, 'gate')).toBe(0);
    expect(await run({}, yes)).toBe(0);
    expect(await known()).toBe(
      `[127.0.0.1]:${gate.port} ${old.publicKey}\n${name()} ${ed25519.publicKey}\n${name()} ${rsa.publicKey}\n`,
    );
    await Promise.all([gate.empty(), server.empty()]);
    vi.unstubAllEnvs();
  });
});
