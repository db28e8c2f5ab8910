/*
 * The daemon as its own process, against the scripted FTPS server: files that appear, are half written or come in
 * bursts; schedules; signals; a kill in the middle; servers that are away.
 */
import { appendFileSync } from 'node:fs';
import { appendFile, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { FtpServer } from '../support/ftp-server.js';
import type { Command, LogLine } from './command.js';
import { atFirst, pathsBelow, Stage } from './stage.js';

const WATCH = [{ watch: { settle: '100ms' } }];
const NEVER = [{ cron: '0 0 1 1 *' }];
const EVERY_SECOND = [{ cron: '*/1 * * * * *', timezone: 'UTC' }];

/** A daemon with one watch job that has looked around once. */
async function watching(stage: Stage, server: FtpServer, settle = '100ms'): Promise<Command> {
  await stage.writeNas(server);
  await stage.writePush('outbox', { triggers: [{ watch: { settle } }] });
  const daemon = await stage.daemon();
  await daemon.until('run.ended');
  return daemon;
}

async function bytesBelow(directory: string): Promise<number> {
  const sizes = (await pathsBelow(directory)).map(async (path) => (await stat(join(directory, path))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

const ofRuns = (daemon: Command): LogLine[] => daemon.lines('run.ended');

describe('watch', () => {
  test('a file that is dropped arrives, also in a directory that is new', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    const daemon = await watching(stage, server);
    await stage.write('source/first.txt', 'one');
    await daemon.until('file.uploaded', ({ path }) => path === 'first.txt');
    await stage.write('source/new/er/second.txt', 'two');
    await daemon.until('file.uploaded', ({ path }) => path === 'new/er/second.txt');
    expect(await stage.differences('remote/in', { 'first.txt': 'one', 'new/er/second.txt': 'two' })).toEqual(
      [],
    );
    const { code, words } = await daemon.end('SIGTERM');
    expect({ code, words }).toEqual({ code: 0, words: [] });
  });

  test('a file that is written slowly arrives when it is whole, and once', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    // Two seconds of quiet are asked for, and a tenth of it lies between two pieces.
    const daemon = await watching(stage, server, '2s');
    let content = '';
    for (let piece = 0; piece < 5; piece += 1) {
      const text = `piece ${piece} of a file that takes its time\n`;
      content += text;
      await appendFile(stage.at('source/slow.txt'), text);
      await new Promise((done) => setTimeout(done, 200));
    }
    expect(server.journal.stored).toBe(0);
    await daemon.until('file.uploaded');
    expect(await stage.differences('remote/in', { 'slow.txt': content })).toEqual([]);
    expect(server.journal.stored).toBe(1);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('a file that goes on growing while it is sent never stands there in part', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    const daemon = await watching(stage, server, '50ms');
    const off = server.on('command', (verb) => {
      if (verb !== 'STOR') return;
      off();
      appendFileSync(stage.at('source/log.txt'), 'and the second half.');
    });
    const seen: string[] = [];
    server.on('command', (verb, argument) => {
      if (verb === 'RNTO') seen.push(argument);
    });
    await writeFile(stage.at('source/log.txt'), 'the first half of it, ');
    await daemon.until('file.uploaded');
    expect(daemon.lines('file.retry')[0]).toMatchObject({ path: 'log.txt', code: 'CHANGED' });
    expect(seen).toHaveLength(1);
    expect(
      await stage.differences('remote/in', { 'log.txt': 'the first half of it, and the second half.' }),
    ).toEqual([]);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('a burst of 200 files is a few runs, and all of them arrive', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    const daemon = await watching(stage, server);
    const expected: Record<string, string> = {};
    for (let i = 0; i < 200; i += 1) expected[`burst/${i % 7}/${i}.txt`] = `content ${i}`;
    for (const [path, content] of Object.entries(expected)) await stage.write(`source/${path}`, content);
    await daemon.when(() => daemon.lines('file.uploaded').length === 200, '200 files');
    await daemon.when(
      () => ofRuns(daemon).reduce((sum, run) => sum + Number(run.uploaded), 0) === 200,
      'the end of the last run',
    );
    expect(await stage.differences('remote/in', expected)).toEqual([]);
    expect(ofRuns(daemon).length).toBeLessThanOrEqual(6);
    expect(server.journal.stored).toBe(200);
    expect(server.journal.peakOpen).toBeLessThanOrEqual(4);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('what is excluded wakes nobody, and what is renamed into place is sent', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('outbox', { triggers: WATCH, exclude: ['**/*.part'] });
    const daemon = await stage.daemon();
    await daemon.until('run.ended');
    await stage.write('source/data.bin.part', 'still being written');
    await rename(stage.at('source/data.bin.part'), stage.at('source/data.bin'));
    await daemon.until('file.uploaded', ({ path }) => path === 'data.bin');
    expect(await pathsBelow(stage.at('remote/in'))).toEqual(['data.bin']);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });
});

describe('cron', () => {
  test('a schedule with a field of seconds fires again and again, and not in between', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { triggers: EVERY_SECOND });
    await stage.write('source/a.txt', 'x');
    const daemon = await stage.daemon();
    await daemon.when(() => ofRuns(daemon).length >= 3, 'three runs');
    const started = daemon.lines('run.started');
    expect(started.every(({ trigger }) => trigger === 'cron */1 * * * * *')).toBe(true);
    const seconds = started.map(({ time }) => Math.floor(new Date(time).getTime() / 1000));
    expect(new Set(seconds).size).toBe(seconds.length);
    expect(daemon.lines('job.loaded')[0]?.nextRun).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
    expect(server.journal.stored).toBe(1);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('a run that takes longer than its interval is one run at a time', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    await stage.writeNas(server);
    await stage.writePush('nightly', { triggers: EVERY_SECOND });
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 2, ms: 2_500 } });
    const daemon = await stage.daemon();
    await daemon.when(() => ofRuns(daemon).length >= 2, 'two runs');
    const order = daemon.log
      .filter(({ event }) => event === 'run.started' || event === 'run.ended')
      .map(({ event, run }) => `${event} ${run}`)
      .slice(0, 4);
    expect(order).toEqual(['run.started 1', 'run.ended 1', 'run.started 2', 'run.ended 2']);
    expect(server.journal.stored).toBe(1);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('a schedule that passed while the daemon was away is made good at the next start', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.write('source/a.txt', 'content');
    // Once a day, half an hour ago; the ledger is told that nothing has run since before then.
    const moment = new Date(Date.now() - 30 * 60_000);
    const cron = `${moment.getUTCMinutes()} ${moment.getUTCHours()} * * *`;
    await stage.writePush('nightly', { triggers: [{ cron, timezone: 'UTC' }] });
    const first = await stage.daemon();
    await first.until('job.loaded');
    await first.end('SIGKILL');
    await coverOnlyUntil(stage, cron, Date.now() - 3_600_000);
    const second = await stage.daemon();
    const run = await second.until('run.started');
    expect(run.trigger).toBe(`missed cron ${cron}`);
    await second.until('run.ended');
    expect((await second.end('SIGTERM')).code).toBe(0);
  });
});

/** Turns the ledger's clock back, as if the daemon had been away since then. */
async function coverOnlyUntil(stage: Stage, cron: string, untilMs: number): Promise<void> {
  const { openLedger } = await import('../../src/ledger/ledger.js');
  const ledger = openLedger(stage.ledger);
  ledger.setCoveredUntil('nightly', `cron ${cron} UTC`, untilMs);
  ledger.close();
}

describe('status and history while the daemon runs', () => {
  test('last run, next run, counts, and skipped files with the words of the server', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await mkdir(stage.at('remote/in'));
    await stage.writePush('outbox', {
      description: 'Invoices',
      triggers: [...WATCH, { cron: '30 2 * * *', timezone: 'UTC' }],
    });
    await stage.write('source/good.txt', '12345');
    await stage.write('source/bad.txt', 'x');
    server.script({
      on: 'STOR',
      path: '/in/.ferryd-*',
      nth: 'every',
      do: { kind: 'delay', ms: 1 },
    });
    server.script({
      on: 'RNTO',
      path: '/in/bad.txt',
      nth: 'every',
      do: { kind: 'reply', text: '553 Words of the server.' },
    });
    const daemon = await stage.daemon();
    await daemon.until('run.ended');

    const { code, stdout } = await stage.ferryd('status');
    expect(code).toBe(0);
    expect(stdout).toContain(`The daemon is running (process ${daemon.pid}, started `);
    expect(stdout).toContain('outbox: Invoices\n');
    expect(stdout).toMatch(
      / {2}last run {7}\d{4}-.* ago\), start-up scan\n {17}partial, 1 uploaded, 1 skipped, 5 B, in /,
    );
    expect(stdout).toMatch(/ {2}next run {7}\d{4}-\d\d-\d\d 02:30:00, and when files change\n/);
    expect(stdout).toMatch(/ {4}bad\.txt: .*553.*Words of the server/);

    const told = JSON.parse((await stage.ferryd('--json', 'status', 'outbox')).stdout);
    expect(told).toMatchObject({
      job: 'outbox',
      loaded: true,
      daemon: daemon.pid,
      lastRun: { run: 1, outcome: 'partial', uploaded: 1, skipped: 1, bytes: 5, failure: null },
      watched: true,
      skippedFiles: 1,
      skips: [{ path: 'bad.txt', code: '553', text: expect.stringContaining('Words of the server') }],
    });
    expect(told.nextRun).toMatch(/T02:30:00\.000Z$/);
    const history = await stage.ferryd('history');
    expect(history.stdout).toMatch(/^run 1 .*outbox {2}start-up scan {2}partial, 1 uploaded, 1 skipped/);
    const files = await stage.ferryd('history', '--run', '1');
    expect(files.stdout).toMatch(/ {2}skipped {3}bad\.txt {3}.*Words of the server/);
    expect((await daemon.end('SIGTERM')).code).toBe(0);
    expect((await stage.ferryd('status')).stdout).toContain('No daemon is running');
  });

  test('a run under way is shown as such', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    await stage.writeNas(server);
    await stage.writePush('outbox', { triggers: WATCH });
    await stage.write('jobs/agent.yaml', 'stop: { within: 1s }\n');
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    const daemon = await stage.daemon();
    await server.waitFor('STOR');
    expect((await stage.ferryd('status')).stdout).toContain('under way');
    expect(JSON.parse((await stage.ferryd('--json', 'history')).stdout)).toMatchObject({
      outcome: 'running',
    });
    expect((await daemon.end('SIGTERM')).code).toBe(0);
    expect(JSON.parse((await stage.ferryd('--json', 'history')).stdout)).toMatchObject({
      outcome: 'interrupted',
    });
  });
});

describe('stop', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s at rest ends with 0', async (signal) => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { triggers: NEVER });
    const daemon = await stage.daemon();
    await daemon.until('job.loaded');
    const { code, log } = await daemon.end(signal);
    expect(code).toBe(0);
    expect(log.slice(-2)).toEqual([
      expect.objectContaining({ event: 'daemon.stopping', signal }),
      expect.objectContaining({ event: 'daemon.stopped' }),
    ]);
  });

  test('SIGTERM during an upload finishes that file, begins no other, and commits the ledger', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    await stage.writeNas(server, { connections: 1 });
    await stage.writePush('outbox', { triggers: WATCH });
    for (const name of ['a.txt', 'b.txt', 'c.txt']) await stage.write(`source/${name}`, `content of ${name}`);
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3, ms: 500 } });
    const daemon = await stage.daemon();
    await atFirst(server, 'STOR', () => daemon.signal('SIGTERM'));
    const { code } = await daemon.inTime();
    expect(code).toBe(0);
    expect(await pathsBelow(stage.at('remote/in'))).toHaveLength(1);
    const { result } = await stage.run('outbox');
    expect(result).toMatchObject({ uploaded: 2, unchanged: 1 });
    expect(server.journal.stored).toBe(3);
  });

  test('a transfer that hangs does not hold the stop beyond its time, and nothing of it stays', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    await stage.writeNas(server);
    await stage.writePush('outbox', { triggers: WATCH });
    await stage.write('jobs/agent.yaml', 'stop: { within: 1s }\n');
    await stage.write('source/a.txt', 'content');
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    const daemon = await stage.daemon();
    await server.waitFor('STOR');
    const beganMs = performance.now();
    expect((await daemon.end('SIGTERM')).code).toBe(0);
    expect(performance.now() - beganMs).toBeLessThan(5_000);
    expect((await stage.run('outbox')).result).toMatchObject({ outcome: 'ok', uploaded: 1 });
    expect(await stage.differences('remote/in', { 'a.txt': 'content' })).toEqual([]);
  });
});

describe('SIGKILL', () => {
  test.each([
    ['in the middle of the data', { on: 'STOR', do: { kind: 'dataStall', atByte: 300_000 } }, 2],
    ['behind the data, before the reply', { on: 'STOR', do: { kind: 'noFinalReply' } }, 1],
    ['before the rename', { on: 'RNFR', do: { kind: 'hang' } }, 1],
    ['behind the rename, before its reply', { on: 'RNTO', do: { kind: 'hang', at: 'final' } }, 1],
  ] as const)('%s: the next run converges, and sends nothing twice', async (where, rule, stored) => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await mkdir(stage.at('remote/in'));
    await stage.writeNas(server, { connections: 1 });
    await stage.writePush('outbox', { triggers: WATCH });
    const content = Buffer.alloc(1_000_000, 'a whole file, or none ');
    await stage.write('source/big.bin', content);
    await stage.write('source/small.txt', 'small');
    server.script(rule);
    const daemon = await stage.daemon();
    if (where.endsWith('data')) await expect.poll(() => bytesBelow(stage.at('remote/in'))).toBeGreaterThan(0);
    else if (where.startsWith('behind the data')) await server.until((journal) => journal.stored >= 1);
    else if (where.startsWith('before')) await server.waitFor('RNFR');
    else await expect.poll(() => pathsBelow(stage.at('remote/in'))).toContain('big.bin');
    const killed = await daemon.end('SIGKILL');
    expect(killed.signal).toBe('SIGKILL');
    server.behave();
    server.drop('reset');
    await server.until((journal) => journal.open === 0);

    const { code, result } = await stage.run('outbox');
    expect(code).toBe(0);
    expect(result.outcome).toBe('ok');
    expect(await stage.differences('remote/in', { 'big.bin': content, 'small.txt': 'small' })).toEqual([]);
    const big = server.journal.of('STOR').length - 1;
    expect(big).toBe(stored);
    expect((await stage.run('outbox')).result).toMatchObject({ uploaded: 0, unchanged: 2 });

    const runs = (await stage.ferryd('--json', 'history')).stdout.trimEnd().split('\n');
    expect(JSON.parse(runs.at(-1) ?? '')).toMatchObject({
      run: 1,
      outcome: 'interrupted',
      failure: { code: 'process-ended' },
    });
  });
});

describe('a server that is away, or says no', () => {
  test('the daemon keeps trying, and delivers when it comes up', async () => {
    await using stage = await Stage.open();
    const down = await stage.server();
    const { port } = down;
    await down.close();
    await stage.writeNas(down);
    await stage.writePush('outbox', {
      triggers: WATCH,
      retries: { attempts: 2, firstDelay: '5ms', maxDelay: '50ms' },
    });
    await stage.write('source/a.txt', 'patience');
    const daemon = await stage.daemon();
    await daemon.until('run.waiting');
    expect(ofRuns(daemon)[0]).toMatchObject({ outcome: 'failed', failure: 'unreachable' });
    await using _up = await stage.server({ port });
    await daemon.until('file.uploaded');
    await daemon.until('run.ended', ({ outcome }) => outcome === 'ok');
    expect(await readFile(stage.at('remote/in/a.txt'), 'utf8')).toBe('patience');
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });

  test('a wrong password is one login a run, marks no file, and is not tried by itself', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('outbox', { triggers: WATCH });
    for (let i = 0; i < 25; i += 1) await stage.write(`source/${i}.txt`, 'x');
    const daemon = await stage.daemon({ env: { NAS_PASSWORD: 'wrong' } });
    const ended = await daemon.until('run.ended');
    expect(ended).toMatchObject({ outcome: 'failed', failure: 'trust', code: '530', skipped: 0 });
    expect(server.journal.of('PASS')).toHaveLength(1);
    expect(daemon.lines('run.waiting')).toEqual([]);
    expect(JSON.parse((await stage.ferryd('--json', 'status', 'outbox')).stdout)).toMatchObject({
      skippedFiles: 0,
      lastRun: { failure: { kind: 'trust' } },
    });
    expect((await daemon.end('SIGTERM')).code).toBe(0);
    expect(server.journal.of('PASS')).toHaveLength(1);
  });

  test('a broken job file is told, and the other jobs run', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('good', { triggers: WATCH });
    await stage.write('jobs/bad.yaml', 'from: ../source\nto: nas:in\nmod: copy\n');
    await stage.write('source/a.txt', 'x');
    const daemon = await stage.daemon();
    expect(daemon.lines('configuration.problem')).toEqual([
      expect.objectContaining({
        level: 'error',
        job: 'bad',
        message: expect.stringMatching(/bad\.yaml:3:1: error: .*did you mean "mode"/),
      }),
    ]);
    await daemon.until('file.uploaded');
    expect((await daemon.end('SIGTERM')).code).toBe(0);
  });
});
