/*
 * The whole journey against real servers: vsftpd, plain and with explicit TLS where every data connection must resume
 * the control connection's session, and OpenSSH. A thousand files, nothing for a second run to do, one changed file, a
 * wrong password, a server that is not the trusted one, and a kill in the middle.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { certificates } from '../support/certificates.js';
import { describeReal, type RealServer } from '../support/real-server.js';
import { type Sshd, startSshd } from '../support/servers/openssh.js';
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

/** A kind of server, with what its own log says. */
interface Kind {
  readonly title: string;
  readonly name: 'vsftpd' | 'openssh';
  start(): Promise<RealServer>;
  /** One that takes long enough to be caught in the middle of a large file, and the size that it has to have. */
  readonly slow: { start(): Promise<RealServer>; readonly bytes: number };
  /** One that shows itself as somebody who is not trusted. */
  readonly stranger: (() => Promise<RealServer>) | undefined;
  /** What stands in servers.yaml besides user and password. */
  entry(server: RealServer): Written;
  readonly log: {
    readonly session: RegExp;
    readonly refusedLogin: RegExp;
    readonly login: RegExp;
    /** Undefined where it tells nothing of transfers. */
    readonly transfers: { readonly each: RegExp; readonly listing: RegExp } | undefined;
  };
  /** As which a refused login is told. */
  readonly refusal: string;
  readonly connections: number;
}

function vsftpd(security: 'plain' | 'explicit'): Kind {
  const isTls = security === 'explicit';
  const options = { security, requireTls: isTls, requireSessionReuse: true } as const;
  return {
    title: `vsftpd, ${isTls ? 'explicit TLS' : 'plain'}`,
    name: 'vsftpd',
    start: () => startVsftpd(options),
    slow: {
      start: () => startVsftpd({ ...options, settings: { anon_max_rate: '400000' } }),
      bytes: 1_000_000,
    },
    stranger: isTls
      ? async () => startVsftpd({ ...options, certificate: (await certificates()).selfSigned })
      : undefined,
    entry: ({ host, port }) => ({
      url: `${isTls ? 'ftpes' : 'ftp'}://${host}:${port}`,
      ...(isTls ? { tls: { ca: 'ca.pem' } } : {}),
    }),
    log: {
      session: / CONNECT: /g,
      refusedLogin: /FAIL LOGIN/g,
      login: /FTP command: .*"USER/,
      transfers: {
        each: / FTP command: .*"(?:EPSV|PASV|STOR|RETR)/g,
        listing: / FTP command: .*"(?:LIST|NLST|MLSD)/g,
      },
    },
    refusal: '530',
    connections: 4,
  };
}

const openssh: Kind = {
  title: 'openssh',
  name: 'openssh',
  start: () => startSshd(),
  slow: { start: () => startSshd(), bytes: 200_000_000 },
  // The fingerprint is another server's.
  stranger: async () => {
    const server = await startSshd();
    return { ...server, hostKeyFingerprint: `SHA256:${randomBytes(32).toString('base64').replace('=', '')}` };
  },
  entry: (server) => ({
    url: `sftp://${server.host}:${server.port}`,
    hostKey: (server as Sshd).hostKeyFingerprint,
  }),
  log: {
    session: /^Connection from /gm,
    refusedLogin: /^Failed password/gm,
    login: /(Failed|Accepted) password/,
    transfers: undefined,
  },
  refusal: 'authentication',
  connections: 1,
};

async function point(stage: Stage, kind: Kind, server: RealServer, more: Written = {}): Promise<void> {
  await stage.write('jobs/ca.pem', (await certificates()).ca.cert);
  await stage.writeJob('servers', {
    nas: { ...kind.entry(server), user: server.user, password: { env: 'NAS_PASSWORD' }, ...more },
  });
  // As patient as a real job: what a busy machine does to one connection is not what is tested here.
  await stage.writePush('nightly', { retries: { attempts: 5, firstDelay: '20ms', maxDelay: '1s' } });
}

const environment = (server: RealServer): Record<string, string> => ({ NAS_PASSWORD: server.password });

/** How many sessions and data transfers the server's own log has. */
async function counted(
  server: RealServer,
  { session, transfers }: Kind['log'],
): Promise<{ sessions: number; transfers: number | undefined; listings: number | undefined }> {
  const log = await server.log();
  const count = (expression: RegExp): number => log.match(expression)?.length ?? 0;
  return {
    sessions: count(session),
    transfers: transfers && count(transfers.each),
    listings: transfers && count(transfers.listing),
  };
}

for (const kind of [vsftpd('plain'), vsftpd('explicit'), openssh]) {
  describeReal(kind.name, `real ${kind.title}`, () => {
    test(`${FILES} files byte for byte with their times; then nothing to do; then one that changed`, {
      timeout: 180_000,
    }, async () => {
      await using stage = await Stage.open();
      await using server = await kind.start();
      await point(stage, kind, server);
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

      const before = await counted(server, kind.log);
      expect(before.sessions).toBeGreaterThanOrEqual(kind.connections);
      if (kind.log.transfers !== undefined) {
        expect(before.transfers).toBeGreaterThanOrEqual(2 * FILES);
        // Whether names outside ASCII are kept is tried out once, with a listing of the trial's own directory.
        expect(before.listings).toBe(1);
      }
      const second = await stage.start(['--json', 'run', 'nightly'], { env }).inTime();
      expect(JSON.parse(second.stdout)).toMatchObject({
        outcome: 'ok',
        uploaded: 0,
        unchanged: FILES,
        bytes: 0,
      });
      expect(second.log.map(({ event }) => event)).toEqual(['run.started', 'run.ended']);
      expect(await counted(server, kind.log)).toEqual(before);

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
      await using server = await kind.start();
      await point(stage, kind, server);
      await stage.write('source/a.txt', 'x');
      const wrong = await stage
        .start(['--json', 'run', 'nightly'], { env: { NAS_PASSWORD: 'wrong' } })
        .inTime();
      expect(wrong.code).toBe(5);
      expect(JSON.parse(wrong.stdout)).toMatchObject({
        skipped: 0,
        failure: { kind: 'trust', code: kind.refusal },
      });
      expect((await server.log()).match(kind.log.refusedLogin)).toHaveLength(1);
      const right = await stage.start(['run', 'nightly'], { env: environment(server) }).inTime();
      expect(right.code).toBe(0);
    });

    test('killed in the middle of an upload: the next run converges, and leaves nothing behind', async () => {
      await using stage = await Stage.open();
      await using server = await kind.slow.start();
      await point(stage, kind, server, { connections: 2 });
      const planted: Record<string, Buffer> = {
        'big.bin': randomBytes(kind.slow.bytes),
        'second.bin': contentOf(2, 300_000),
        'small.txt': Buffer.from('small'),
      };
      for (const [path, content] of Object.entries(planted)) await stage.write(`source/${path}`, content);
      const env = environment(server);
      await link(stage, server);
      const killed = stage.start(['run', 'nightly'], { env });
      await expect
        .poll(async () => (await partsBelow(stage)).some((size) => size > 0 && size < kind.slow.bytes), {
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

    const { stranger } = kind;
    if (stranger !== undefined) {
      test('a server that is not the trusted one: exit code 5, and nobody logs in', async () => {
        await using stage = await Stage.open();
        await using server = await stranger();
        await point(stage, kind, server);
        await stage.write('source/a.txt', 'x');
        const { code } = await stage.start(['run', 'nightly'], { env: environment(server) }).inTime();
        expect(code).toBe(5);
        expect(await server.log()).not.toMatch(kind.log.login);
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
