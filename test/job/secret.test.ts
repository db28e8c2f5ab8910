/* Secrets from each source, and each way in which they cannot be had. No message repeats one. */
import { execFile } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import type { SecretSource } from '../../src/job/job.js';
import { readSecret, SecretError, type SecretOptions } from '../../src/job/secret.js';
import { temporaryDirectory } from './directory.js';

const WHAT = 'the password of nas';

async function refusal(source: SecretSource, options: Partial<SecretOptions> = {}): Promise<string> {
  try {
    await readSecret(source, { what: WHAT, ...options });
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SecretError);
    const message = thrown instanceof Error ? thrown.message : '';
    expect(message).not.toContain('hunter2');
    expect(message).toMatch(/^Cannot read the password of nas: .*\.$/);
    return message;
  }
  throw new Error('the secret was read');
}

async function file(content: string | Uint8Array, mode = 0o600): Promise<string> {
  const name = path.join(await temporaryDirectory(), 'pw');
  await writeFile(name, content);
  await chmod(name, mode);
  return name;
}

const node = (script: string): SecretSource => ({ kind: 'command', argv: [process.execPath, '-e', script] });

describe('a secret is read', () => {
  test.each([
    ['hunter2', 'hunter2'],
    ['hunter2\n', 'hunter2'],
    ['hunter2\r\n', 'hunter2'],
    [' hünter2 ', ' hünter2 '],
    ['x'.repeat(65_536), 'x'.repeat(65_536)],
  ])('from a file', async (content, secret) => {
    expect(await readSecret({ kind: 'file', path: await file(content) }, { what: WHAT })).toBe(secret);
  });

  test('from a file that its group may read', async () => {
    expect(await readSecret({ kind: 'file', path: await file('hunter2', 0o640) }, { what: WHAT })).toBe(
      'hunter2',
    );
  });

  test('from a credential, whatever its rights', async () => {
    const name = await file('hunter2\n', 0o444);
    const environment = { CREDENTIALS_DIRECTORY: path.dirname(name) };
    expect(await readSecret({ kind: 'credential', name: 'pw' }, { what: WHAT, environment })).toBe('hunter2');
  });

  test('from the environment, as it is', async () => {
    vi.stubEnv('FERRYD_TEST_SECRET', ' hunter2 ');
    expect(await readSecret({ kind: 'env', name: 'FERRYD_TEST_SECRET' }, { what: WHAT })).toBe(' hunter2 ');
    vi.unstubAllEnvs();
  });

  test('from a program, which sees its arguments untouched and no standard input', async () => {
    const script = 'process.stdin.on("end", () => console.log(process.argv[1])).resume()';
    const argv = [process.execPath, '-e', script, '$HOME; *'];
    expect(await readSecret({ kind: 'command', argv }, { what: WHAT })).toBe('$HOME; *');
  });
});

describe('a secret of many lines', () => {
  const PEM = '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----';

  test('keeps them, but for the newline at its end', async () => {
    const source: SecretSource = { kind: 'file', path: await file(`${PEM}\n`) };
    expect(await readSecret(source, { what: WHAT, lines: 'many' })).toBe(PEM);
    expect(await refusal(source)).toMatch(/it holds a line break/);
  });

  test('is text all the same', async () => {
    const source: SecretSource = { kind: 'file', path: await file(`${PEM}\0`) };
    expect(await refusal(source, { lines: 'many' })).toMatch(/it holds a NUL, so it is no text/);
  });
});

describe('a secret cannot be had', () => {
  test.each<[string, SecretSource, RegExp]>([
    [
      'no variable',
      { kind: 'env', name: 'NAS' },
      /environment variable NAS is not set\. Set it where ferryd is started/,
    ],
    ['no systemd', { kind: 'credential', name: 'nas' }, /LoadCredential=nas:PATH, or write \{ env: NAME \}/],
    [
      'no file',
      { kind: 'file', path: '/nowhere/pw' },
      /there is no file "\/nowhere\/pw"\. Write it, and close it with chmod 600/,
    ],
    ['a directory', { kind: 'file', path: '/' }, /"\/" is not a regular file/],
    ['no program', { kind: 'command', argv: ['/nowhere/get'] }, /the program "\/nowhere\/get" was not found/],
    ['a program that may not run', { kind: 'command', argv: ['/dev/null'] }, /may not be run/],
    ['an empty program', { kind: 'command', argv: [''] }, /cannot be started/],
    ['a NUL in the arguments', { kind: 'command', argv: ['true', 'a\0b'] }, /cannot be started/],
    [
      'a program that fails',
      node('console.error("hunter2"); console.log("hunter2"); process.exit(3)'),
      /ended with exit code 3\. Run it by hand/,
    ],
    ['a program that is killed', node('process.kill(process.pid, "SIGKILL")'), /was ended by SIGKILL/],
    ['a program that says nothing', node(''), /what was found is empty/],
    ['a program that says two lines', node('console.log("hunter2\\nx")'), /it holds a line break or a NUL/],
    [
      'a program that never stops talking',
      node('setInterval(() => process.stdout.write("x".repeat(10000)), 1)'),
      /longer than 64 KiB/,
    ],
  ])('%s', async (_, source, message) => {
    expect(await refusal(source, { environment: {} })).toMatch(message);
  });

  test('a credential that is not there', async () => {
    const environment = { CREDENTIALS_DIRECTORY: await temporaryDirectory() };
    expect(await refusal({ kind: 'credential', name: 'nas' }, { environment })).toMatch(
      /Add LoadCredential=nas:PATH to the systemd unit/,
    );
    expect(await refusal({ kind: 'credential', name: '../nas' }, { environment })).toMatch(
      /no name of a credential/,
    );
  });

  test.each([0o604, 0o644, 0o602, 0o601])('a file open to all (mode %i)', async (mode) => {
    expect(await refusal({ kind: 'file', path: await file('hunter2', mode) })).toMatch(
      /is open to every user of this machine\. Close it with chmod 600, and change what is in it/,
    );
  });

  test.each<[string, string | Uint8Array, RegExp]>([
    ['empty', '', /what was found is empty/],
    ['one newline', '\n', /what was found is empty/],
    ['two lines', 'hunter2\nx\n', /it holds a line break/],
    ['CR', 'hun\rter2', /it holds a line break/],
    ['NUL', 'hunter2\0', /it holds a line break or a NUL/],
    ['no UTF-8', Buffer.from([0xff, 0xfe]), /it is not UTF-8 text/],
    ['too long', 'x'.repeat(65_537), /it is longer than 64 KiB/],
  ])('a file that is %s', async (_, content, message) => {
    expect(await refusal({ kind: 'file', path: await file(content) })).toMatch(message);
  });

  test('a FIFO does not make it wait', async () => {
    const name = path.join(await temporaryDirectory(), 'fifo');
    await promisify(execFile)('mkfifo', [name]);
    expect(await refusal({ kind: 'file', path: name })).toMatch(/is not a regular file/);
  });

  test('a program that hangs is ended, and what it started with it', async () => {
    const pidFile = path.join(await temporaryDirectory(), 'pid');
    const script = `
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
      setInterval(() => {}, 1000);`;
    const message = await refusal(node(script), { commandTimeoutMs: 1_500 });
    expect(message).toMatch(/did not finish within 1\.5 s and was ended\. Run it by hand/);
    const pid = Number(await readFile(pidFile, 'utf8'));
    await vi.waitFor(async () => expect(await isRunning(pid)).toBe(false), { timeout: 5_000 });
  });
});

/** False where the process is gone, or a zombie that waits for its parent. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
