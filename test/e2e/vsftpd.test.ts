/*
 * The whole journey against real vsftpd, plain and with explicit TLS where every data connection must resume the
 * control connection's session: a thousand files, nothing for a second run to do, one changed file, a wrong password,
 * and a kill in the middle.
 */
import { createHash } from 'node:crypto';
import { mkdir, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { certificates } from '../support/certificates.js';
import { describeReal, type RealServer } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Ended } from './command.js';
import { pathsBelow, Stage, type Written } from './stage.js';

const FILES = 1_000;
const OLDEST_S = 1_500_000_000;

/** Bytes that no other file of the test has, and that do not compress into a pattern. */
function contentOf(number: number, sizeBytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let length = 0; length < sizeBytes; length += 32) {
    parts.push(createHash('sha256').update(`${number} ${length}`).digest());
  }
  return Buffer.concat(parts).subarray(0, sizeBytes);
}

/** Mixed sizes: empty ones, many small ones, some of a few hundred kilobytes, two over a megabyte. */
function sizeOf(number: number): number {
  if (number % 100 === 0) return 0;
  if (number % 500 === 1) return 1_200_000 + number;
  if (number % 40 === 2) return 65_536 * (1 + (number % 5));
  return (number * 7919) % 6_000;
}

/** Directories of different depth, and names that are not only ASCII. */
function pathOf(number: number): string {
  const name = number % 10 === 3 ? `Datei ${number} – größer 日本.bin` : `file-${number}.bin`;
  return ['', 'a/', 'a/b c/', 'ü/x/y/z/'][number % 4] + name;
}

async function plant(stage: Stage): Promise<Record<string, Buffer>> {
  const planted: Record<string, Buffer> = {};
  for (let number = 0; number < FILES; number += 1) {
    const path = pathOf(number);
    const content = contentOf(number, sizeOf(number));
    planted[path] = content;
    await mkdir(dirname(stage.at('source', path)), { recursive: true });
    await writeFile(stage.at('source', path), content);
    await utimes(stage.at('source', path), OLDEST_S + number, OLDEST_S + number);
  }
  return planted;
}

async function point(stage: Stage, server: RealServer, security: string, more: Written = {}): Promise<void> {
  const { ca } = await certificates();
  const explicit = security === 'explicit';
  await stage.write('jobs/ca.pem', ca.cert);
  await stage.writeJob('servers', {
    nas: {
      url: `${explicit ? 'ftpes' : 'ftp'}://${server.host}:${server.port}`,
      user: server.user,
      password: { env: 'NAS_PASSWORD' },
      ...(explicit ? { tls: { ca: 'ca.pem' } } : {}),
      ...more,
    },
  });
  // As patient as a real job: what a busy machine does to one connection is not what is tested here.
  await stage.writePush('nightly', { retries: { attempts: 5, firstDelay: '20ms', maxDelay: '1s' } });
}

const environment = (server: RealServer): Record<string, string> => ({ NAS_PASSWORD: server.password });

/** How many sessions and data transfers the server's own log has. */
async function counted(
  server: RealServer,
): Promise<{ sessions: number; transfers: number; listings: number }> {
  const log = await server.log();
  const count = (expression: RegExp): number => log.match(expression)?.length ?? 0;
  return {
    sessions: count(/ CONNECT: /g),
    transfers: count(/ FTP command: .*"(?:EPSV|PASV|STOR|RETR)/g),
    listings: count(/ FTP command: .*"(?:LIST|NLST|MLSD)/g),
  };
}

for (const security of ['plain', 'explicit'] as const) {
  describeReal('vsftpd', `real vsftpd, ${security === 'plain' ? 'plain' : 'explicit TLS'}`, () => {
    const options = { security, requireTls: security === 'explicit', requireSessionReuse: true } as const;

    test(`${FILES} files byte for byte with their times; then nothing to do; then one that changed`, {
      timeout: 180_000,
    }, async () => {
      await using stage = await Stage.open();
      await using server = await startVsftpd(options);
      await point(stage, server, security);
      const planted = await plant(stage);
      const env = environment(server);
      const first = await stage.start(['--json', 'run', 'nightly'], { env }).inTime(150_000);
      expect({ code: first.code, said: said(first) }).toEqual({ code: 0, said: [] });
      const sizes = Object.values(planted).reduce((sum, { length }) => sum + length, 0);
      expect(JSON.parse(first.stdout)).toMatchObject({
        outcome: 'ok',
        uploaded: FILES,
        skipped: 0,
        bytes: sizes,
        failure: null,
      });
      await link(stage, server);
      expect(await stage.differences('remote/there/in', planted)).toEqual([]);
      for (let number = 0; number < FILES; number += 1) {
        const { mtimeMs } = await stat(stage.at('remote/there/in', pathOf(number)));
        expect([pathOf(number), mtimeMs]).toEqual([pathOf(number), (OLDEST_S + number) * 1000]);
      }

      const before = await counted(server);
      expect(before.sessions).toBeGreaterThanOrEqual(4);
      expect(before.transfers).toBeGreaterThanOrEqual(2 * FILES);
      // Whether names outside ASCII are kept is tried out once, with a listing of the trial's own directory.
      expect(before.listings).toBe(1);
      const second = await stage.start(['--json', 'run', 'nightly'], { env }).inTime();
      expect(JSON.parse(second.stdout)).toMatchObject({
        outcome: 'ok',
        uploaded: 0,
        unchanged: FILES,
        bytes: 0,
      });
      expect(second.log.map(({ event }) => event)).toEqual(['run.started', 'run.ended']);
      expect(await counted(server)).toEqual(before);

      const changed = pathOf(123);
      planted[changed] = Buffer.from('something else entirely');
      await writeFile(stage.at('source', changed), planted[changed]);
      const third = await stage.start(['--json', 'run', 'nightly'], { env }).inTime();
      expect(JSON.parse(third.stdout)).toMatchObject({
        outcome: 'ok',
        uploaded: 1,
        unchanged: FILES - 1,
        bytes: 23,
      });
      expect(await stage.differences('remote/there/in', planted)).toEqual([]);
    });

    test('a wrong password: exit code 5, one login, nothing marked', async () => {
      await using stage = await Stage.open();
      await using server = await startVsftpd(options);
      await point(stage, server, security);
      await stage.write('source/a.txt', 'x');
      const wrong = await stage
        .start(['--json', 'run', 'nightly'], { env: { NAS_PASSWORD: 'wrong' } })
        .inTime();
      expect(wrong.code).toBe(5);
      expect(JSON.parse(wrong.stdout)).toMatchObject({ skipped: 0, failure: { kind: 'trust', code: '530' } });
      expect((await server.log()).match(/FAIL LOGIN/g)).toHaveLength(1);
      const right = await stage.start(['run', 'nightly'], { env: environment(server) }).inTime();
      expect(right.code).toBe(0);
    });

    test('killed in the middle of an upload: the next run converges, and leaves nothing behind', async () => {
      await using stage = await Stage.open();
      // Slow enough to be caught in the middle.
      await using server = await startVsftpd({ ...options, settings: { anon_max_rate: '400000' } });
      await point(stage, server, security, { connections: 2 });
      const planted: Record<string, Buffer> = {
        'big.bin': contentOf(1, 1_000_000),
        'second.bin': contentOf(2, 300_000),
        'small.txt': Buffer.from('small'),
      };
      for (const [path, content] of Object.entries(planted)) await stage.write(`source/${path}`, content);
      const env = environment(server);
      await link(stage, server);
      const killed = stage.start(['run', 'nightly'], { env });
      await expect
        .poll(async () => (await partsBelow(stage)).some((size) => size > 0 && size < 1_000_000), {
          timeout: 10_000,
          interval: 10,
        })
        .toBe(true);
      await killed.end('SIGKILL');
      const next = await stage.start(['--json', 'run', 'nightly'], { env }).inTime();
      expect(next.code).toBe(0);
      expect(await stage.differences('remote/there/in', planted)).toEqual([]);
      const last = await stage.start(['--json', 'run', 'nightly'], { env }).inTime();
      expect(JSON.parse(last.stdout)).toMatchObject({ uploaded: 0, unchanged: 3 });
    });

    if (security === 'explicit') {
      test('a certificate of another authority: exit code 5, and nobody logs in', async () => {
        await using stage = await Stage.open();
        const { selfSigned } = await certificates();
        await using server = await startVsftpd({ ...options, certificate: selfSigned });
        await point(stage, server, security);
        await stage.write('source/a.txt', 'x');
        const { code } = await stage.start(['run', 'nightly'], { env: environment(server) }).inTime();
        expect(code).toBe(5);
        expect(await server.log()).not.toMatch(/FTP command: .*"USER/);
      });
    }
  });
}

/** What a run that should have gone well complained about: the answer to "why" when it did not. */
function said(ended: Ended): string[] {
  return ended.code === 0
    ? []
    : [...ended.words, ...ended.log.filter(({ level }) => level !== 'info').map(({ message }) => message)];
}

/** Makes the server's files visible on the stage. */
async function link(stage: Stage, server: RealServer): Promise<void> {
  const { symlink } = await import('node:fs/promises');
  await symlink(server.root, stage.at('remote/there'));
}

/** Sizes of the temporary files that the server holds now. */
async function partsBelow(stage: Stage): Promise<number[]> {
  const paths = await pathsBelow(stage.at('remote/there/in')).catch(() => []);
  const parts = paths.filter((path) => path.includes('.ferryd-'));
  return Promise.all(
    parts.map(async (path) => {
      const found = await stat(stage.at('remote/there/in', path)).catch(() => undefined);
      return found?.size ?? 0;
    }),
  );
}
