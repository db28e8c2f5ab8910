/*
 * What a real SSH server refuses, as a person meets it: with which exit code the run ends, what is told, what is left
 * on the server, and that the next run goes on as soon as the trouble is over.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeReal, describeWhere } from '../support/real-server.js';
import { noAccounts, type Sshd, type SshdOptions, startSshd } from '../support/servers/openssh.js';
import { type Did, RealStage } from './real-stage.js';

const few = { a: 'one', 'b/c': 'two', d: 'three' };

/** A stage with a job that pushes, and sshd told these things. */
async function open(options: SshdOptions): Promise<{ readonly real: RealStage; readonly sshd: () => Sshd }> {
  let server: Sshd | undefined;
  const real = await RealStage.open(async (root) => {
    server = await startSshd({ root, ...options });
    return server;
  });
  await real.job('push', 'from: ../source', 'to: nas:in');
  await real.put('source', few);
  const sshd = (): Sshd => {
    if (server === undefined) throw new Error('No sshd runs');
    return server;
  };
  return { real, sshd };
}

describeReal('openssh', 'what a real SSH server refuses', () => {
  describeWhere('sshd with passwords', noAccounts, 'and the exit code', () => {
    test('3: read-only. Each file is told with the word of the server, and can be fetched', async () => {
      const { real } = await open({ sftpArguments: ['-R'] });
      await using _stage = real;
      await real.put('remote/there', { file: 'content' });
      await real.job('pull', 'from: nas:there', 'to: ../target');
      const pushed = await real.run('push', 3);
      expect(pushed.counts).toEqual([0, 0, 0, 3]);
      expect(await real.held('remote')).toEqual({ 'there/file': 'content' });
      const status = await real.ferryd(['status', 'push']);
      expect(status.stdout).toMatch(/permission denied/i);
      expect((await real.run('pull')).counts).toEqual([0, 1, 0, 0]);
      expect(await real.held('target')).toEqual({ file: 'content' });
    });

    test('1: the disk is full. Nothing half has a final name, and the next run brings the rest', async () => {
      const { real, sshd } = await open({ roomBytes: 1_500_000 });
      await using _stage = real;
      const there = await sshd().inside('/run/jail/files');
      const ballast = join(there, 'ballast');
      await writeFile(ballast, randomBytes(1_000_000));
      const large = randomBytes(900_000);
      await real.stage.write('source/large', large);
      const first = await real.run('push', 1);
      expect(first.result.failure?.message).toMatch(/room/);
      const names = await readdir(join(there, 'in'));
      expect(names).not.toContain('large');
      await rm(ballast);
      expect((await real.run('push')).result.outcome).toBe('ok');
      expect((await readFile(join(there, 'in/large'))).equals(large)).toBe(true);
      expect(await readFile(join(there, 'in/b/c'), 'utf8')).toBe('two');
      expect((await readdir(join(there, 'in'))).sort()).toEqual(['a', 'b', 'd', 'large']);
    });

    describe('4: there is no session', () => {
      test.each<[string, SshdOptions, RegExp]>([
        ['a login shell prints something', { noise: 'Welcome to nas!\n' }, /Welcome to nas!/],
        ['no SFTP', { settings: ['Subsystem other /bin/false'] }, /SFTP/],
        ['MaxSessions 0', { settings: ['MaxSessions 0'] }, /session/],
      ])('%s', async (_, options, says) => {
        const { real } = await open(options);
        await using _stage = real;
        const { result } = await real.run('push', 4);
        expect(result).toMatchObject({ outcome: 'failed', uploaded: 0, skipped: 0 });
        expect(result.failure?.message).toMatch(says);
        expect(await real.held('remote')).toEqual({});
      });

      test('nobody listens', async () => {
        const { real, sshd } = await open({});
        await using _stage = real;
        await sshd().stop();
        await real.run('push', 4);
      });
    });

    test('5: a wrong password, and right again with the right one', async () => {
      const { real, sshd } = await open({});
      await using _stage = real;
      const refused: Did = await real.run('push', 5, { env: { NAS_PASSWORD: 'not-the-one' } });
      expect(refused.result.failure).toMatchObject({ kind: 'trust' });
      expect(JSON.stringify([refused.log, refused.result])).not.toContain('not-the-one');
      expect([...(await sshd().log()).matchAll(/Failed password/g)]).toHaveLength(1);
      expect((await real.run('push')).counts).toEqual([3, 0, 0, 0]);
      expect(await real.held('remote/in')).toEqual(few);
    });

    test('5: another host key than before', async () => {
      const { real, sshd } = await open({ hostKeys: ['ed25519'] });
      await using _stage = real;
      expect((await real.run('push')).counts).toEqual([3, 0, 0, 0]);
      await using other = await startSshd({ hostKeys: ['ecdsa'], root: real.stage.at('remote') });
      await real.pointAt(other);
      await real.put('source', { new: 'content' });
      const { result } = await real.run('push', 5);
      expect(result.failure?.message).toContain(other.hostKeyFingerprint);
      expect(result.failure?.message).toContain(sshd().hostKeyFingerprint);
      expect(await other.log()).not.toContain('Accepted');
    });
  });
});
