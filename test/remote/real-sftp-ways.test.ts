/*
 * Ways in which real SFTP servers are set up, and with all of which files arrive: a banner, words on standard error, a
 * umask, signs of life, sessions that end when they are idle, extensions that are missing, and a chroot.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { temporaryName } from '../../src/plan/temporary.js';
import { TemporaryRefused } from '../../src/remote/remote.js';
import { describeReal, describeWhere } from '../support/real-server.js';
import { type ModSftpOptions, startModSftp } from '../support/servers/mod-sftp.js';
import { noAccounts, type Sshd, type SshdOptions, startSshd } from '../support/servers/openssh.js';
import { deliveryOf, fetched, sha256, sourceOf } from './contract.js';
import { RealSftpBerth, type SftpAccountChanges } from './real-sftp-berth.js';

async function sshd(options: SshdOptions, changes: SftpAccountChanges = {}): Promise<RealSftpBerth<Sshd>> {
  return RealSftpBerth.open(() => startSshd(options), changes);
}

async function proftpd(options: ModSftpOptions, changes: SftpAccountChanges = {}): Promise<RealSftpBerth> {
  return RealSftpBerth.open(() => startModSftp(options), changes);
}

const content = randomBytes(600_000);

/** There, over what is there, and back. */
async function proves(berth: RealSftpBerth): Promise<void> {
  await berth.remote.deliver(deliveryOf('sub/file', sourceOf('old')));
  await berth.remote.deliver(deliveryOf('sub/file', sourceOf(content)));
  expect(sha256(await readFile(join(berth.disk, 'sub/file')))).toBe(sha256(content));
  expect(sha256(await fetched(berth.remote, 'sub/file'))).toBe(sha256(content));
  expect(await berth.remote.digest('sub/file', { sizeBytes: content.length })).toMatchObject({
    hex: sha256(content),
  });
  expect(await readdir(join(berth.disk, 'sub'))).toEqual(['file']);
}

/** As a run does it: where a temporary name is of no use, the next attempt has one of the form that is. */
async function deliver(berth: RealSftpBerth, path: string, bytes: Buffer | string): Promise<void> {
  const delivery = deliveryOf(path, sourceOf(bytes));
  try {
    await berth.remote.deliver(delivery);
  } catch (error) {
    if (!(error instanceof TemporaryRefused)) throw error;
    const temporary = temporaryName(path, 'again', berth.remote.temporaryForm);
    await berth.remote.deliver({ ...delivery, temporary });
  }
}

describeReal('openssh', 'sshd', () => {
  test('words ahead of the login', async () => {
    await using berth = await sshd({ settings: ['Banner /etc/passwd'] });
    await proves(berth);
  });

  test.each([
    ['a line', 'Welcome to nas.\n'],
    ['more than a window takes', 'Welcome! '.repeat(400_000)],
  ])('words on standard error: %s', async (_, onStderr) => {
    await using berth = await sshd({ noise: { onStderr } });
    await proves(berth);
  });

  test('internal-sftp without a chroot', async () => {
    await using berth = await sshd({ sftp: 'internal' });
    await proves(berth);
  });

  test('signs of life are given: an idle connection stays', async () => {
    const settings = ['ClientAliveInterval 1', 'ClientAliveCountMax 1'];
    await using berth = await sshd({ settings });
    await proves(berth);
    // Nobody tells that nothing happened; without a sign it would be over after two seconds.
    await sleep(2_800);
    await proves(berth);
    expect(berth.opened).toHaveLength(1);
    expect(await berth.server.log()).not.toContain('not responding');
  });

  test('a umask holds where no permissions are asked for; those that are asked for are set all the same', async () => {
    await using berth = await sshd({ sftpArguments: ['-u', '027'] });
    await berth.remote.deliver(deliveryOf('left/to-the-server', sourceOf('content')));
    await berth.remote.deliver({ ...deliveryOf('asked', sourceOf('content')), permissions: 0o664 });
    await berth.remote.deliver({ ...deliveryOf('closed', sourceOf('content')), permissions: 0o600 });
    const modeOf = async (path: string): Promise<number> => (await stat(join(berth.disk, path))).mode & 0o777;
    expect(await modeOf('left/to-the-server')).toBe(0o640);
    expect(await modeOf('left')).toBe(0o750);
    expect(await modeOf('asked')).toBe(0o664);
    expect(await modeOf('closed')).toBe(0o600);
  });

  test.each([
    ['posix-rename', ['-P', 'posix-rename']],
    ['fsync', ['-P', 'fsync']],
    ['statvfs', ['-P', 'statvfs']],
    ['limits', ['-P', 'limits']],
    ['fsetstat', ['-P', 'fsetstat']],
    ['setstat of any kind', ['-P', 'fsetstat,setstat']],
    ['fstat', ['-P', 'fstat']],
    ['realpath', ['-P', 'realpath']],
  ])('without %s', async (_, sftpArguments) => {
    await using berth = await sshd({ sftpArguments });
    await proves(berth);
  });

  test.each([
    ['removed', 'remove,rmdir'],
    ['read', 'read'],
    ['listed', 'opendir,readdir'],
    ['renamed over another', 'posix-rename'],
    ['renamed', 'posix-rename,rename'],
  ])('an account for which nothing may be %s can still deliver', async (_, denied) => {
    await using berth = await sshd({ sftpArguments: ['-P', denied] });
    await deliver(berth, 'sub/new', content);
    expect(sha256(await readFile(join(berth.disk, 'sub/new')))).toBe(sha256(content));
    await deliver(berth, 'sub/new', 'newer');
    expect(await readFile(join(berth.disk, 'sub/new'), 'utf8')).toBe('newer');
    expect(await readdir(join(berth.disk, 'sub'))).toEqual(['new']);
  });

  describeWhere('a chroot', noAccounts, 'in a chroot', () => {
    test('paths from the root are those that the account sees', async () => {
      await using berth = await sshd(
        { sftp: 'internal', chroot: 'chroot' },
        { at: { path: '/files/dumps', absolute: true } },
      );
      await proves(berth);
    });

    test('its top may be looked at, and is not written to', async () => {
      await using berth = await sshd(
        { sftp: 'internal', chroot: 'chroot' },
        { at: { path: '/', absolute: true } },
      );
      expect(await berth.remote.list('')).toMatchObject({
        files: [],
        directories: ['files'],
        complete: true,
      });
      await expect(berth.remote.deliver(deliveryOf('file', sourceOf('content')))).rejects.toThrow(
        /permission denied/i,
      );
    });
  });
});

describeReal('mod-sftp', 'mod_sftp', () => {
  test('a session that was idle for too long is replaced, and no file has to be tried twice', async () => {
    // No sign of life is asked for meanwhile: to newer releases that is not idle.
    const timeouts = { connectMs: 5_000, replyMs: 60_000, stallMs: 5_000, transferMs: 60_000 };
    await using berth = await proftpd({ settings: ['TimeoutIdle 2'] }, { timeouts });
    await proves(berth);
    await expect
      .poll(() => berth.wire.some((line) => line.includes('ended:')), { timeout: 10_000 })
      .toBe(true);
    await proves(berth);
    expect(berth.opened).toHaveLength(2);
  });

  test.each(['posixRename', 'fsync', 'statvfs', 'hardlink'])('without %s', async (extension) => {
    await using berth = await proftpd({ settings: [`SFTPExtensions -${extension}`] });
    await proves(berth);
  });

  test('compression', async () => {
    await using berth = await proftpd({ settings: ['SFTPCompression on'] });
    await proves(berth);
  });
});
