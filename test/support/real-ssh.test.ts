/*
 * The harnesses around the real SFTP servers do what the suites build on: each way to log in, the host keys they say,
 * SFTP that works in the directory it is said to, what sshd can be told besides, and nothing left behind.
 * ssh2's own SFTP client looks at them: ferryd's is not part of this.
 */
import { existsSync } from 'node:fs';
import { readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client, type ConnectConfig, type SFTPWrapper } from 'ssh2';
import { expect, test } from 'vitest';
import { loopback6, type Place } from './place.js';
import { childrenOf, describeReal, describeWhere, type SshServerName } from './real-server.js';
import { startModSftp } from './servers/mod-sftp.js';
import { noAccounts, type RealSshServer, startSshd } from './servers/openssh.js';
import { fingerprintOf, newSshKey, type SshKey, sshKey } from './ssh-keys.js';

/** A login of ssh2. */
class Login implements AsyncDisposable {
  readonly sftp: SFTPWrapper;
  readonly fingerprint: string;
  readonly #client: Client;
  readonly #closed: Promise<void>;

  private constructor(client: Client, closed: Promise<void>, sftp: SFTPWrapper, fingerprint: string) {
    this.#client = client;
    this.#closed = closed;
    this.sftp = sftp;
    this.fingerprint = fingerprint;
  }

  static async open(server: RealSshServer, how: ConnectConfig): Promise<Login> {
    const client = new Client();
    const closed = new Promise<void>((done) => client.once('close', done));
    let fingerprint = '';
    client.on('keyboard-interactive', (_name, _words, _language, _prompts, finish) =>
      finish([server.password]),
    );
    try {
      await new Promise<void>((ready, reject) => {
        client.once('ready', ready).once('error', reject);
        const hostVerifier = (key: Buffer): boolean => {
          fingerprint = fingerprintOf(`any ${key.toString('base64')}`);
          return true;
        };
        client.connect({
          host: server.host,
          port: server.port,
          username: server.user,
          hostVerifier,
          ...how,
        });
      });
      // What an ended session says later matters to nobody here.
      client.on('error', () => undefined);
      const sftp = await called<SFTPWrapper>((back) => client.sftp(back));
      return new Login(client, closed, sftp, fingerprint);
    } catch (error) {
      client.destroy();
      await closed;
      throw error;
    }
  }

  where(): Promise<string> {
    return called((back) => this.sftp.realpath('.', back));
  }

  write(path: string, content: Buffer): Promise<void> {
    return called((back) => this.sftp.writeFile(path, content, back));
  }

  /** Resolves once the connection is gone, whoever ended it. */
  closed(): Promise<void> {
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
    await this.#closed;
  }
}

/** What a function with a callback at its end comes to. */
function called<Value>(
  call: (back: (error: Error | null | undefined, value: Value) => void) => unknown,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(error);
    });
  });
}

const harnesses: readonly {
  readonly name: SshServerName;
  start(options?: {
    readonly at?: Place;
    readonly clientKeys?: readonly SshKey[];
    readonly settings?: readonly string[];
  }): Promise<RealSshServer>;
}[] = [
  { name: 'openssh', start: startSshd },
  { name: 'mod-sftp', start: startModSftp },
];

for (const { name, start } of harnesses) {
  describeReal(name, `${name}: what both harnesses do`, () => {
    test('a login by key, files where they are said to be, and nothing left behind', async () => {
      const server = await start();
      const { pid, root } = server;
      const [first] = await childrenOf(pid);
      try {
        await using login = await Login.open(server, { privateKey: server.privateKey });
        expect(server.hostKeys).toContain(login.fingerprint);
        expect(await login.where()).toBe(server.home);
        await login.write('new', Buffer.from('content'));
        expect(await readFile(join(root, 'new'), 'utf8')).toBe('content');
        await writeFile(join(root, 'other'), 'another');
        await server.adopt();
        expect(String(await called<Buffer>((back) => login.sftp.readFile('other', back)))).toBe('another');
        await called<void>((back) => login.sftp.rename('other', 'moved', back));
        expect(existsSync(join(root, 'moved'))).toBe(true);
        expect(await server.log()).toContain(server.user);
        // With a session that is still there.
        await server.stop();
        await login.closed();
      } finally {
        await server.stop();
      }
      expect(existsSync(dirname(root))).toBe(false);
      for (const process of [pid, first ?? pid]) expect(existsSync(`/proc/${process}/fd/0`)).toBe(false);
    });

    test('the line for known_hosts is that of the first key, by its own address', async () => {
      await using server = await start();
      const [address, type, key] = server.knownHostsLine.split(' ');
      expect(address).toBe(`[${server.host}]:${server.port}`);
      expect(fingerprintOf(`${type} ${key}`)).toBe(server.hostKeyFingerprint);
      expect(server.hostKeys[0]).toBe(server.hostKeyFingerprint);
      await using login = await Login.open(server, {
        privateKey: server.privateKey,
        algorithms: { serverHostKey: ['ssh-ed25519'] },
      });
      expect(login.fingerprint).toBe(server.hostKeyFingerprint);
    });

    test('keys of each type are let in, also encrypted ones; another one is not', async () => {
      const keys = await Promise.all([
        sshKey('ecdsa'),
        sshKey('rsa'),
        newSshKey('ed25519', { passphrase: 'open sesame' }),
      ]);
      await using server = await start({ clientKeys: keys });
      for (const key of keys) {
        await using login = await Login.open(server, {
          privateKey: key.privateKey,
          passphrase: 'open sesame',
        });
        expect(await login.where()).toBe(server.home);
      }
      const { privateKey } = await sshKey('ed25519');
      await expect(Login.open(server, { privateKey })).rejects.toThrow(/authentication/);
    });

    test('it listens on ::1, too', async () => {
      await using server = await start({ at: loopback6 });
      expect(server.host).toBe('::1');
      await using login = await Login.open(server, { privateKey: server.privateKey });
      expect(await login.where()).toBe(server.home);
    });

    test('where it does not start, its own words stand in the error', async () => {
      await expect(start({ settings: ['NoSuchWord yes'] })).rejects.toThrow(/does not start.*NoSuchWord/s);
    });

    describeWhere('passwords', name === 'openssh' ? noAccounts : undefined, 'passwords', () => {
      test('the right one is let in, a wrong one is not', async () => {
        await using server = await start();
        await using login = await Login.open(server, { password: server.password });
        expect(await login.where()).toBe(server.home);
        await expect(Login.open(server, { password: 'wrong' })).rejects.toThrow(/authentication/);
      });
    });
  });
}

describeReal('openssh', 'sshd: what it can be told besides', () => {
  test('what is read-only is not written to', async () => {
    await using server = await startSshd({ sftpArguments: ['-R'] });
    await using login = await Login.open(server, { privateKey: server.privateKey });
    await expect(login.write('new', Buffer.from('content'))).rejects.toThrow(/Permission denied/);
  });

  test('noise comes ahead of SFTP', async () => {
    await using server = await startSshd({ noise: 'Welcome, and good luck!\n' });
    // The first four bytes are taken for a length.
    await expect(Login.open(server, { privateKey: server.privateKey })).rejects.toThrow(
      String(Buffer.from('Welc').readUInt32BE()),
    );
  });

  test('sessions that are frozen answer nothing until they thaw, and end with the server', async () => {
    await using server = await startSshd();
    await using login = await Login.open(server, { privateKey: server.privateKey });
    expect(await server.connections()).toBe(1);
    await server.freeze();
    let answered = false;
    const answer = login.where().finally(() => {
      answered = true;
    });
    await using other = await Login.open(server, { privateKey: server.privateKey });
    expect(await other.where()).toBe(server.home);
    expect(answered).toBe(false);
    await server.thaw();
    expect(await answer).toBe(server.home);
    await server.freeze();
    await server.stop();
    await login.closed();
  });

  test('a cut ends its sessions, not the server', async () => {
    await using server = await startSshd();
    await using login = await Login.open(server, { privateKey: server.privateKey });
    await server.cut();
    await login.closed();
    await using next = await Login.open(server, { privateKey: server.privateKey });
    expect(await next.where()).toBe(server.home);
  });

  describeWhere('sshd with accounts of its own', noAccounts, 'with accounts of its own', () => {
    test('a chroot shows nothing but itself, and is not written to at its top', async () => {
      await using server = await startSshd({ sftp: 'internal', chroot: 'chroot' });
      await using login = await Login.open(server, { privateKey: server.privateKey });
      expect(await login.where()).toBe('/files');
      const names = await called<{ readonly filename: string }[]>((back) => login.sftp.readdir('/', back));
      expect(names.map(({ filename }) => filename)).toEqual(['files']);
      await expect(login.write('/new', Buffer.from('content'))).rejects.toThrow(/Permission denied/);
      await login.write('new', Buffer.from('content'));
      expect((await stat(join(server.root, 'new'))).uid).toBe(65_534);
    });

    test('a password can be asked for by keyboard-interactive alone', async () => {
      await using server = await startSshd({ logins: ['keyboard-interactive'] });
      const { password } = server;
      await expect(Login.open(server, { password })).rejects.toThrow(/authentication/);
      await using login = await Login.open(server, { tryKeyboard: true });
      expect(await login.where()).toBe(server.home);
    });

    test('its room ends, and shows from outside', async () => {
      await using server = await startSshd({ roomBytes: 256 * 1024 });
      await using login = await Login.open(server, { privateKey: server.privateKey });
      await login.write('fits', Buffer.alloc(100_000));
      await expect(login.write('too-large', Buffer.alloc(300_000))).rejects.toThrow(/Failure/);
      const inside = await server.inside(server.home);
      expect((await stat(join(inside, 'fits'))).size).toBe(100_000);
      expect((await statfs(inside)).bavail).toBe(0);
    });
  });
});
