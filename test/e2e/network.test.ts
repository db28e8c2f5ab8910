/*
 * Links that go dead without a word: neither end hears of it, and nothing comes any more. Whatever was under way then,
 * ferryd finds out by itself, in the time that it was given, and goes on once the link is back. And networks that have
 * IPv6 only, or names that lead to a dead address first. The server is at the far end of a link of its own, and ferryd,
 * the compiled one in its own process, at the near end.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { certificates } from '../support/certificates.js';
import { describeLink, type Link, type LinkEnd, slowLink } from '../support/link.js';
import type { Place } from '../support/place.js';
import { describeReal, findProgram, type RealServer } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { type Command, FERRYD } from './command.js';
import { PASSWORD, pathsBelow, Stage } from './stage.js';

/** Silence is noticed within this. */
const NOTICED_MS = 1_000;
const NOTICED = `${NOTICED_MS}ms`;
const TIMEOUTS = { connect: NOTICED, reply: NOTICED, stall: NOTICED } as const;
const RETRIES = { attempts: 2, firstDelay: '20ms', maxDelay: '200ms' } as const;
const WATCH = [{ watch: { settle: '100ms' } }];

/** A stage at the near end of a link, with vsftpd over TLS at the far one, known as `nas`. */
class Shore implements AsyncDisposable {
  readonly stage: Stage;
  readonly link: Link;
  readonly #servers: RealServer[] = [];

  private constructor(stage: Stage, link: Link) {
    this.stage = stage;
    this.link = link;
  }

  static async open(at: (link: Link) => Place = ({ far }) => far): Promise<Shore> {
    const stage = await Stage.open();
    const shore = new Shore(stage, await slowLink({ roundTripMs: 10 }));
    await stage.write('jobs/ca.pem', (await certificates()).ca.cert);
    await shore.serve(at(shore.link), stage.at('remote'));
    await shore.writeServers({ nas: shore.entry(shore.nas) });
    return shore;
  }

  /** The server at the far end. */
  get nas(): RealServer {
    const [first] = this.#servers;
    if (first === undefined) throw new Error('There is no server yet');
    return first;
  }

  async serve(at: Place, root: string): Promise<RealServer> {
    const server = await startVsftpd({
      at,
      security: 'explicit',
      requireTls: true,
      root,
      password: PASSWORD,
    });
    this.#servers.push(server);
    return server;
  }

  /** What `servers.yaml` says of a server. */
  entry(server: RealServer, host = server.host): Readonly<Record<string, unknown>> {
    return {
      url: `ftpes://${host.includes(':') ? `[${host}]` : host}:${server.port}`,
      user: server.user,
      password: { env: 'NAS_PASSWORD' },
      tls: { ca: 'ca.pem', serverName: 'localhost' },
      timeouts: TIMEOUTS,
    };
  }

  async writeServers(entries: Readonly<Record<string, unknown>>): Promise<void> {
    await this.stage.write('jobs/servers.yaml', JSON.stringify(entries));
  }

  /** Starts ferryd at the near end; with `names`, that file is what it knows of hosts. */
  start(args: readonly string[], names?: string): Command {
    const mount = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
    const known = names === undefined ? [] : ['unshare', '--mount', '/bin/sh', '-c', mount, 'sh', names];
    return this.stage.start(args, {
      program: [...this.link.near.enter, ...known, process.execPath, FERRYD],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
    for (const server of this.#servers) await server.stop();
    await this.link.remove();
  }
}

describeLink('a link that is dead and does not say so', () => {
  describeReal('vsftpd', 'vsftpd', () => {
    test('in the middle of an upload: what its server still holds is not waited for', async () => {
      await using shore = await Shore.open();
      const { stage, link } = shore;
      const content = randomBytes(24 * 1024 * 1024);
      await stage.write('source/large.bin', content);
      await stage.writePush('outbox', { triggers: WATCH, retries: RETRIES });
      const daemon = shore.start(['daemon']);
      await partOf(stage.at('remote/in'), 4 * 1024 * 1024);
      await link.cut();
      const stalled = await daemon.until('file.retry');
      expect(stalled.message).toContain(`moved no byte for ${NOTICED_MS} ms`);
      const failed = await daemon.until('run.ended');
      expect(failed).toMatchObject({ outcome: 'failed', failure: 'unreachable', code: 'ETIMEDOUT' });
      await daemon.until('run.waiting');
      await link.mend();
      // vsftpd has its session of before still, and keeps what that was writing locked for five minutes.
      await daemon.until('run.ended', ({ outcome }) => outcome === 'ok');
      expect(await stage.differences('remote/in', { 'large.bin': content })).toEqual([]);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    });

    test('in the middle of a download, which goes on where it was', async () => {
      await using shore = await Shore.open();
      const { stage, link } = shore;
      const content = randomBytes(24 * 1024 * 1024);
      await stage.write('remote/out/large.bin', content);
      await mkdir(stage.at('target'));
      await stage.writeJob('inbox', {
        from: 'nas:out',
        to: '../target',
        triggers: [{ cron: '*/1 * * * * *', timezone: 'UTC' }],
        retries: { ...RETRIES, attempts: 20 },
      });
      const daemon = shore.start(['daemon']);
      await partOf(stage.at('target'), 4 * 1024 * 1024);
      await link.cut();
      const stalled = await daemon.until('file.retry');
      expect(stalled.message).toContain(`moved no byte for ${NOTICED_MS} ms`);
      await daemon.until('connection.retry');
      await link.mend();
      const fetched = await daemon.until('file.downloaded');
      expect(fetched.fromByte).toBeGreaterThan(4 * 1024 * 1024 - 1);
      expect(await stage.differences('target', { 'large.bin': content })).toEqual([]);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    });

    test('between two runs, and for long: what changes meanwhile is kept, and delivered once', async () => {
      await using shore = await Shore.open();
      const { stage, link } = shore;
      await stage.write('source/first.txt', 'one');
      await stage.writePush('outbox', { triggers: WATCH, retries: RETRIES });
      const daemon = shore.start(['daemon']);
      await daemon.until('run.ended', ({ outcome }) => outcome === 'ok');
      // Its connections stand idle now, and know nothing.
      await link.cut();
      await stage.write('source/second.txt', 'two');
      await daemon.until('run.ended', ({ failure }) => failure === 'unreachable');
      expect(daemon.lines('file.retry')[0]?.message).toMatch(/did not answer [A-Z]+ in 1000 ms/);
      await stage.write('source/third.txt', 'three, in a version that nobody will see');
      await daemon.when(() => daemon.lines('run.waiting').length >= 3, 'the third wait');
      await stage.write('source/third.txt', 'three');
      await link.mend();
      await daemon.until('run.ended', ({ outcome, uploaded }) => outcome === 'ok' && uploaded === 2);
      const sent = daemon.lines('file.uploaded').map(({ path }) => path);
      expect(sent.sort()).toEqual(['first.txt', 'second.txt', 'third.txt']);
      expect(
        await stage.differences('remote/in', {
          'first.txt': 'one',
          'second.txt': 'two',
          'third.txt': 'three',
        }),
      ).toEqual([]);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    });

    test('does not hold up jobs for other servers, also where one run at a time is allowed', async () => {
      await using shore = await Shore.open();
      const { stage, link } = shore;
      const nearby = await shore.serve({ host: '127.0.0.1', enter: link.near.enter }, stage.at('source'));
      await link.cut();
      await shore.writeServers({ nas: shore.entry(shore.nas), nearby: shore.entry(nearby) });
      await stage.write('jobs/agent.yaml', 'runsAtOnce: 1\n');
      // The first takes the only slot, and is at it for an hour.
      const patient = { attempts: 60, firstDelay: '1m', maxDelay: '1m' };
      await stage.write('source/a.txt', 'content');
      await stage.writePush('far', { triggers: WATCH, retries: patient });
      await stage.writeJob('near', {
        from: '../home',
        to: 'nearby:arrived',
        triggers: [{ cron: '*/1 * * * * *', timezone: 'UTC' }],
      });
      await stage.write('home/b.txt', 'content');
      const daemon = shore.start(['daemon']);
      await daemon.until('connection.retry', ({ job }) => job === 'far');
      await daemon.until('run.ended', ({ job, outcome }) => job === 'near' && outcome === 'ok');
      expect(daemon.lines('run.ended').filter(({ job }) => job === 'far')).toEqual([]);
      expect(await readFile(stage.at('source/arrived/b.txt'), 'utf8')).toBe('content');
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    });
  });
});

describeLink('a network of its own kind', () => {
  describeReal('vsftpd', 'vsftpd', () => {
    test.each(['passive', 'active'])('IPv6 and nothing else, %s mode', async (dataConnection) => {
      await using shore = await Shore.open(({ far }) => far.v6);
      const { stage, link } = shore;
      for (const end of [link.near, link.far]) await withoutIpv4(end);
      await shore.writeServers({ nas: { ...shore.entry(shore.nas), dataConnection } });
      await stage.writePush('outbox', { mode: 'two-way', retries: RETRIES });
      await stage.write('source/a.txt', 'content');
      await stage.write('remote/in/b.txt', 'more');
      const ended = await shore.start(['--json', '--log-level', 'debug', 'run', 'outbox']).inTime();
      expect(ended.code, ended.stderr).toBe(0);
      const both = { 'a.txt': 'content', 'b.txt': 'more' };
      expect(await stage.differences('remote/in', both)).toEqual([]);
      expect(await stage.differences('source', both)).toEqual([]);
      const said = ended.log.filter(({ event }) => event === 'wire').map(({ message }) => message);
      const asked = dataConnection === 'passive' ? /> EPSV$/ : /> EPRT \|2\|fd40::1\|\d+\|$/;
      expect(said.some((line) => asked.test(line))).toBe(true);
      expect(said.some((line) => /> (PASV|PORT)\b/.test(line))).toBe(false);
    });

    // Nobody has 10.40.0.9 and fd40::9: what is sent there is lost.
    test.each([
      ['IPv4', ({ far }: Link) => far, ['fd40::9', '10.40.0.2']],
      ['IPv6', ({ far }: Link) => far.v6, ['10.40.0.9', 'fd40::2']],
    ] as const)('a name with two addresses, of which only that of %s lives', async (_, at, addresses) => {
      await using shore = await Shore.open(at);
      const { stage } = shore;
      await shore.writeServers({ nas: shore.entry(shore.nas, 'nas.test') });
      const names = stage.at('names');
      await writeFile(names, addresses.map((address) => `${address} nas.test\n`).join(''));
      await stage.writePush('outbox', { retries: RETRIES });
      await stage.write('source/a.txt', 'content');
      const ended = await shore.start(['run', 'outbox'], names).inTime();
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.log.filter(({ event }) => event === 'connection.retry')).toEqual([]);
      expect(await pathsBelow(stage.at('remote/in'))).toEqual(['a.txt']);
    });

    test('a resolver that knows nothing for a while, and then another address', async () => {
      // Both families of addresses, at one port.
      await using shore = await Shore.open(({ far }) => ({ host: '::', enter: far.enter }));
      const { stage, link } = shore;
      await shore.writeServers({ nas: shore.entry(shore.nas, 'nas.test') });
      // Nothing in it, and nobody else to ask in this network.
      const names = stage.at('names');
      await writeFile(names, '\n');
      await stage.writePush('outbox', { triggers: WATCH, retries: RETRIES });
      await stage.write('source/a.txt', 'content');
      const daemon = shore.start(['daemon'], names);
      const failed = await daemon.until('run.ended');
      expect(failed).toMatchObject({ outcome: 'failed', failure: 'unreachable' });
      expect(['EAI_AGAIN', 'ENOTFOUND']).toContain(failed.code);
      await daemon.until('run.waiting');
      await writeFile(names, '10.40.0.2 nas.test\n');
      await daemon.until('file.uploaded', ({ path }) => path === 'a.txt');
      // The server moves, and its old address is nobody's any more. An idle connection leads there still.
      await writeFile(names, 'fd40::2 nas.test\n');
      await withoutIpv4(link.far);
      await stage.write('source/b.txt', 'more');
      await daemon.until('file.uploaded', ({ path }) => path === 'b.txt');
      expect(await stage.differences('remote/in', { 'a.txt': 'content', 'b.txt': 'more' })).toEqual([]);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    });
  });
});

/** Takes all IPv4 addresses away from an end, its loopback ones too. */
async function withoutIpv4(end: LinkEnd): Promise<void> {
  for (const device of ['lo', 'wire']) {
    const child = end.spawn([findProgram('ip') ?? 'ip', '-4', 'address', 'flush', 'dev', device]);
    await new Promise((done) => child.once('exit', done));
  }
}

/** Waits until a temporary file below a directory has so many bytes. */
async function partOf(directory: string, bytes: number): Promise<void> {
  for (;;) {
    for (const name of await readdir(directory).catch(() => [])) {
      const size = name.endsWith('.part') ? (await stat(`${directory}/${name}`)).size : 0;
      if (size >= bytes) return;
    }
    await pause(5);
  }
}
