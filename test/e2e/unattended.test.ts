/*
 * A daemon that nobody looks at, as its own process: jobs are edited under it, rightly and wrongly; runs fail, and
 * somebody is told once; hooks run around files; the log goes into a file; the ledger is copied while it is in use.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { Stage } from './stage.js';

const WATCH = [{ watch: { settle: '50ms' } }];
const NEVER = [{ cron: '0 0 1 1 *' }];

/** What was posted or asked for, in order. */
async function listener(): Promise<{
  readonly url: string;
  readonly bodies: Record<string, unknown>[];
  readonly asked: string[];
  [Symbol.asyncDispose](): Promise<void>;
}> {
  const bodies: Record<string, unknown>[] = [];
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      asked.push(request.url ?? '');
      if (request.method === 'POST') bodies.push(JSON.parse(text));
      response.end('ok');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    bodies,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('a job that is edited, added, removed: the daemon takes it by itself, or by SIGHUP', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.write('source/a.txt', 'content');
  await stage.writePush('first', { triggers: NEVER });
  const daemon = await stage.daemon();
  await daemon.until('job.loaded', ({ job }) => job === 'first');
  await stage.writePush('second', { triggers: WATCH, to: 'nas:second' });
  daemon.signal('SIGHUP');
  await daemon.until('file.uploaded', ({ job }) => job === 'second');
  // Without a signal: the directory itself is watched.
  await stage.writePush('third', { triggers: WATCH, to: 'nas:third' });
  await daemon.until('file.uploaded', ({ job }) => job === 'third');
  expect(await stage.differences('remote/third', { 'a.txt': 'content' })).toEqual([]);
  expect(daemon.lines('job.loaded').filter(({ job }) => job === 'first')).toHaveLength(1);
  expect((await daemon.end('SIGTERM')).code).toBe(0);
});

test('a broken edit keeps the last good version, and log, status and notices say so', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await using heard = await listener();
  await stage.writeNas(server);
  await stage.writePush('outbox', { triggers: WATCH });
  await stage.write('jobs/agent.yaml', `notify: [{ webhook: "${heard.url}/hook" }]\n`);
  const daemon = await stage.daemon();
  await daemon.until('run.ended');
  await stage.write('jobs/outbox.yaml', 'from: ../source\nto: nas:in\nmdoe: mirror\n');
  daemon.signal('SIGHUP');
  const told = await daemon.until('configuration.problem');
  expect(told).toMatchObject({ level: 'error', job: 'outbox' });
  expect(told.message).toMatch(/unknown key "mdoe".*goes on as it was before this edit/);
  await expect
    .poll(async () => (await stage.ferryd('status')).stdout)
    .toMatch(/MISTAKE .*outbox goes on as it was before:\n +\S*outbox\.yaml:3:1: error: \/mdoe/);
  await stage.write('source/a.txt', 'content');
  await daemon.until('file.uploaded');
  await stage.writePush('outbox', { triggers: WATCH });
  daemon.signal('SIGHUP');
  await expect
    .poll(() => heard.bodies.map(({ notice, job }) => `${notice} ${job}`))
    .toEqual(['configuration outbox', 'recovery outbox']);
  await expect.poll(async () => (await stage.ferryd('status')).stdout).not.toContain('MISTAKE');
  expect((await daemon.end('SIGTERM')).code).toBe(0);
});

test('a job that fails again and again is told once, and once more when it is well', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await using heard = await listener();
  await stage.writeNas(server);
  await stage.write('source/a.txt', 'content');
  await stage.writePush('nightly', {
    notify: [{ webhook: `${heard.url}/hook` }],
    ping: `${heard.url}/ping`,
    retries: { attempts: 1 },
  });
  server.script({ on: 'PASS', nth: 'every', do: { kind: 'reply', text: '530 No.' } });
  for (let i = 0; i < 3; i += 1) expect((await stage.ferryd('run', 'nightly')).code).toBe(5);
  server.script({ on: 'PASS', nth: 'every', do: { kind: 'reply', text: '230 Welcome.' } });
  expect(heard.bodies).toMatchObject([{ notice: 'failure', job: 'nightly' }]);
  expect(heard.asked.filter((url) => url.startsWith('/ping'))).toEqual(
    Array.from({ length: 3 }, () => ['/ping/start', '/ping/fail']).flat(),
  );
});

test('hooks: the dump that before writes goes across; one that fails moves nothing', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('dump', {
    before: `echo "dump of $FERRYD_JOB" > ${stage.at('source')}/dump.sql`,
    after: { command: `echo "$FERRYD_HOOK $FERRYD_OUTCOME" >> ${stage.at('after')}` },
  });
  const good = await stage.ferryd('run', 'dump');
  expect(good.code).toBe(0);
  expect(await stage.differences('remote/in', { 'dump.sql': 'dump of dump\n' })).toEqual([]);

  await stage.writePush('dump', { before: `echo "no such table"; exit 3`, after: ['rm', '-f', 'nothing'] });
  await stage.write('source/b.txt', 'must not go');
  const bad = await stage.ferryd('run', 'dump');
  expect(bad.code).toBe(1);
  expect(bad.stdout).toMatch(/before.*no such table/s);
  expect(await stage.differences('remote/in', { 'dump.sql': 'dump of dump\n' })).toEqual([]);
  expect(await readFile(stage.at('after'), 'utf8')).toBe('after ok\n');
});

test('the log goes into a file as well, without a line for each file where that is hidden', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.write('source/a.txt', 'content');
  await stage.writePush('outbox', { triggers: WATCH });
  await stage.write('jobs/agent.yaml', 'log: { files: hide, file: { path: ../log/ferryd.log } }\n');
  const daemon = await stage.daemon();
  await daemon.until('run.ended');
  expect((await daemon.end('SIGTERM')).code).toBe(0);
  expect(daemon.lines('file.uploaded')).toEqual([]);
  const lines = (await readFile(stage.at('log/ferryd.log'), 'utf8'))
    .trim()
    .split('\n')
    .map((line): { event: string } => JSON.parse(line));
  expect(lines.map(({ event }) => event)).toEqual(expect.arrayContaining(['run.ended', 'daemon.stopped']));
  expect((await stat(stage.at('log/ferryd.log'))).mode & 0o777).toBe(0o600);
});

test('the ledger is copied while the daemon uses it, and the copy is a ledger', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  await stage.write('source/a.txt', 'content');
  await stage.writePush('outbox', { triggers: WATCH });
  const daemon = await stage.daemon();
  await daemon.until('run.ended');
  const copy = stage.at('copy.db');
  const ended = await stage.ferryd('backup', copy);
  expect(ended.code).toBe(0);
  expect((await stat(copy)).mode & 0o777).toBe(0o600);
  const history = await stage.ferryd('--ledger', copy, 'history');
  expect(history.stdout).toMatch(/outbox .*ok, 1 uploaded/);
  expect((await daemon.end('SIGTERM')).code).toBe(0);
});

test('a ledger that is damaged is put aside; what is on the server is taken up again, and nothing is sent', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.writeNas(server);
  for (const name of ['a.txt', 'b.txt', 'c.txt']) await stage.write(`source/${name}`, name);
  await stage.writePush('mirror', { mode: 'mirror', deletes: { extraneous: true } });
  expect((await stage.ferryd('run', 'mirror')).code).toBe(0);
  const stored = server.journal.stored;
  execFileSync(
    'dd',
    ['if=/dev/urandom', `of=${stage.ledger}`, 'bs=4096', 'seek=1', 'count=20', 'conv=notrunc'],
    {
      stdio: 'ignore',
    },
  );
  await stage.write('remote/in/stranger.txt', 'was there before');
  await chmod(stage.at('remote/in/stranger.txt'), 0o644);
  const again = await stage.ferryd('run', 'mirror');
  expect(again.stderr).toContain('ledger.replaced');
  expect(server.journal.stored).toBe(stored);
  // What such a run would delete waits for a person.
  expect(again.code).toBe(6);
  expect(await readFile(stage.at('remote/in/stranger.txt'), 'utf8')).toBe('was there before');
  expect((await readdir(stage.at())).some((name) => /\.damaged-/.test(name))).toBe(true);
  expect((await stage.ferryd('approve', 'mirror')).code).toBe(0);
  expect((await stage.ferryd('run', 'mirror')).code).toBe(0);
  expect((await stage.ferryd('run', 'mirror')).code).toBe(0);
  expect(server.journal.stored).toBe(stored);
});
