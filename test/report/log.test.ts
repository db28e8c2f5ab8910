import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { emptyTally } from '../../src/plan/outcome.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { openFileLog } from '../../src/report/file-log.js';
import { createLog, type LogOptions, levelOf, recordOf, sentenceOf } from '../../src/report/log.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const TIME = new Date('2026-05-06T00:30:00.123Z');

const EVENTS: readonly FerrydEvent[] = [
  { event: 'daemon.started', jobs: 1, ledger: '/var/lib/ferryd/ledger.db' },
  { event: 'daemon.stopping', signal: 'SIGTERM' },
  { event: 'daemon.stopped' },
  { event: 'job.loaded', job: 'a', nextRun: undefined },
  { event: 'job.loaded', job: 'a', nextRun: '2026-05-07 02:30' },
  { event: 'configuration.problem', level: 'error', message: 'jobs/a.yaml:1:1: error: no source' },
  { event: 'configuration.problem', level: 'warn', message: 'The password goes in plain text.' },
  { event: 'trigger.fired', job: 'a', trigger: 'cron 30 2 * * *' },
  { event: 'trigger.problem', job: 'a', message: 'The directory is not there' },
  { event: 'run.started', job: 'a', run: 7, trigger: 'watch' },
  { event: 'run.waiting', job: 'a', message: 'Another run holds the job.' },
  {
    event: 'run.ended',
    job: 'a',
    run: 7,
    outcome: 'ok',
    tally: emptyTally(),
    durationMs: 5,
    failure: undefined,
  },
  {
    event: 'run.ended',
    job: 'a',
    run: 7,
    outcome: 'partial',
    tally: emptyTally(),
    durationMs: 5,
    failure: undefined,
  },
  {
    event: 'run.ended',
    job: 'a',
    run: 8,
    outcome: 'failed',
    tally: { ...emptyTally(), uploaded: 2, bytes: 2048 },
    durationMs: 1500,
    failure: { kind: 'unreachable', code: 'ECONNREFUSED', message: 'nas does not answer.' },
  },
  { event: 'run.recovered', job: 'a', run: 7, path: 'x', message: 'A half upload was removed' },
  { event: 'file.uploaded', job: 'a', run: 7, path: 'x', bytes: 10, durationMs: 20, attempt: 1 },
  { event: 'file.downloaded', job: 'a', run: 7, path: 'x', bytes: 10, durationMs: 20, attempt: 3 },
  {
    event: 'file.retry',
    job: 'a',
    path: 'x',
    attempt: 1,
    delayMs: 1500,
    code: '451',
    message: '451 Try later',
  },
  { event: 'file.skipped', job: 'a', path: 'x', code: '553', message: '553 No', remembered: true },
  { event: 'file.skipped', job: 'a', path: 'x', code: '553', message: '553 No.', remembered: false },
  { event: 'file.ignored', job: 'a', path: 'x', message: 'It is a FIFO' },
  { event: 'file.waiting', job: 'a', path: 'x', message: 'x waits until its marker x.done stands beside it' },
  { event: 'scan.problem', job: 'a', path: 'x', code: 'EACCES', message: 'It may not be read' },
  {
    event: 'connection.opened',
    job: 'a',
    server: 'nas',
    account: 'ftp://b@nas:21',
    message: 'Logged in over TLS 1.3',
  },
  {
    event: 'connection.retry',
    server: 'nas',
    attempt: 2,
    delayMs: 60_000,
    code: '421',
    message: '421 Too many',
  },
  { event: 'server.learned', server: 'nas', message: 'It knows no EPSV' },
  {
    event: 'notice.sent',
    job: 'a',
    notice: 'failure',
    channel: 'mail 1',
    attempt: 1,
    message: 'It was taken',
  },
  {
    event: 'notice.failed',
    job: 'a',
    notice: 'failure',
    channel: 'webhook 1',
    attempt: 2,
    delayMs: 30_000,
    message: 'It answered 503',
  },
  { event: 'wire', server: 'nas', message: '> NOOP' },
  { event: 'hook.started', job: 'a', run: 7, hook: 'before', timeLimitMs: 3_600_000 },
  { event: 'hook.output', job: 'a', run: 7, hook: 'before', stream: 'error', message: 'dumping shop.' },
  hookEnded('info'),
  hookEnded('warn'),
  hookEnded('error'),
];

function hookEnded(level: 'info' | 'warn' | 'error'): FerrydEvent {
  const message = 'The after hook ended with exit code 1';
  return {
    event: 'hook.ended',
    job: 'a',
    run: 7,
    hook: 'after',
    level,
    code: 'exit-1',
    message,
    durationMs: 12,
  };
}

function collected(options: Partial<LogOptions> = {}, isTTY = false) {
  const chunks: Buffer[] = [];
  const stream = Object.assign(new PassThrough(), { isTTY });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const log = createLog({
    level: 'debug',
    format: 'json',
    openFile: openFileLog,
    environment: {},
    ...options,
    stream,
  });
  return {
    log,
    async lines(): Promise<string[]> {
      await log.close();
      return Buffer.concat(chunks).toString().split('\n').slice(0, -1);
    },
  };
}

describe('events', () => {
  it.each(EVENTS)('$event has a sentence, a level and a record of plain values', (event) => {
    expect(sentenceOf(event)).toMatch(/\S/);
    if (event.event !== 'wire') expect(sentenceOf(event)).toMatch(/[^.]\.$/);
    const record = recordOf(event, TIME);
    expect(record).toMatchObject({
      time: '2026-05-06T00:30:00.123Z',
      level: levelOf(event),
      event: event.event,
    });
    for (const value of Object.values(record))
      expect(['string', 'number', 'boolean', 'undefined']).toContain(typeof value);
  });

  it('has the levels that people filter by', () => {
    const levels = EVENTS.map((event) => `${event.event} ${levelOf(event)}`);
    expect([...new Set(levels)]).toEqual([
      'daemon.started info',
      'daemon.stopping info',
      'daemon.stopped info',
      'job.loaded info',
      'configuration.problem error',
      'configuration.problem warn',
      'trigger.fired debug',
      'trigger.problem warn',
      'run.started info',
      'run.waiting info',
      'run.ended info',
      'run.ended warn',
      'run.ended error',
      'run.recovered info',
      'file.uploaded info',
      'file.downloaded info',
      'file.retry warn',
      'file.skipped warn',
      'file.ignored info',
      'file.waiting debug',
      'scan.problem warn',
      'connection.opened debug',
      'connection.retry warn',
      'server.learned info',
      'notice.sent info',
      'notice.failed warn',
      'wire debug',
      'hook.started info',
      'hook.output info',
      'hook.ended info',
      'hook.ended warn',
      'hook.ended error',
    ]);
  });

  it('has its keys in a stable order', () => {
    const ended = recordOf(EVENTS[13] ?? { event: 'daemon.stopped' }, TIME);
    expect(JSON.stringify(ended)).toBe(
      '{"time":"2026-05-06T00:30:00.123Z","level":"error","event":"run.ended","job":"a","run":8,"bytes":2048,"code":"ECONNREFUSED","message":"Run 8: failed, 2 uploaded, 2.0 KiB, in 1.5 s. nas does not answer.","outcome":"failed","durationMs":1500,"uploaded":2,"downloaded":0,"deleted":0,"renamed":0,"skipped":0,"unchanged":0,"failure":"unreachable"}',
    );
    const retry = recordOf(
      {
        event: 'file.retry',
        delayMs: 1500,
        message: '451 Later',
        code: '451',
        attempt: 2,
        path: 'x',
        run: 7,
        job: 'a',
      },
      TIME,
    );
    expect(Object.keys(JSON.parse(JSON.stringify(retry)))).toEqual([
      'time',
      'level',
      'event',
      'job',
      'run',
      'path',
      'attempt',
      'code',
      'message',
      'delayMs',
    ]);
    expect(retry.message).toBe('x: attempt 2 failed, the next one follows in 1.5 s. 451 Later.');
  });

  it('says where a file that was cut off before went on', () => {
    const event = { event: 'file.uploaded', job: 'a', run: 7, path: 'x', bytes: 4096, attempt: 2 } as const;
    const { message } = recordOf({ ...event, fromByte: 1024, durationMs: 1500 }, TIME);
    expect(message).toBe('x: uploaded, 4.0 KiB in 1.5 s, on from 1.0 KiB, at attempt 2.');
  });

  it('cleans every text that a stranger may have written', () => {
    const evil = 'a\x1b[31m\u202e\r\nb';
    const clean = 'a\\x1b[31m\\u202e\\r\\nb';
    const record = recordOf(
      { event: 'file.skipped', job: evil, path: evil, code: evil, message: `No: ${evil}`, remembered: true },
      TIME,
    );
    expect(record).toMatchObject({ job: clean, path: clean, code: clean });
    expect(record.message).toBe(`${clean}: skipped. No: ${clean}. It is tried again when the file changes.`);
  });

  it('does not name a path twice', () => {
    const message = 'pipe is a named pipe.';
    const skipped = {
      event: 'file.skipped',
      job: 'a',
      path: 'pipe',
      code: 'x',
      message,
      remembered: false,
    } as const;
    expect(sentenceOf(skipped)).toBe('Skipped: pipe is a named pipe.');
    expect(sentenceOf({ event: 'scan.problem', job: 'a', path: '', code: 'x', message: 'No root' })).toBe(
      'Not read: No root.',
    );
  });
});

describe('createLog', () => {
  it('writes one JSON object a line, in order, and all of them before close resolves', async () => {
    const { log, lines } = collected();
    for (let run = 0; run < 5000; run += 1)
      log.listener({ event: 'run.started', job: 'a', run, trigger: 'watch' });
    const runs = (await lines()).map((line) => JSON.parse(line).run);
    expect(runs).toEqual(Array.from({ length: 5000 }, (_, run) => run));
  });

  it('leaves out what is below the level, and what comes after the close', async () => {
    const { log, lines } = collected({ level: 'warn' });
    for (const event of EVENTS) log.listener(event);
    await log.close();
    log.listener({ event: 'trigger.problem', job: 'a', message: 'too late' });
    const levels = (await lines()).map((line) => JSON.parse(line).level);
    expect(levels).toEqual(EVENTS.map(levelOf).filter((level) => level === 'warn' || level === 'error'));
    await log.close();
  });

  it('writes readable lines without colours where nobody looks at a terminal', async () => {
    const { log, lines } = collected({ format: 'readable' });
    log.listener({ event: 'run.started', job: 'nightly', run: 7, trigger: 'watch' });
    log.listener({ event: 'daemon.stopped' });
    const [first, second] = await lines();
    expect(first).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info {2}nightly: Run 7 started \(watch\)\.$/);
    expect(second).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info {2}ferryd stopped\.$/);
  });

  it.each([
    [true, {}, true],
    [true, { NO_COLOR: '' }, true],
    [true, { NO_COLOR: '1' }, false],
    [false, {}, false],
  ])('on a terminal: %s, in %j: colours %s', async (isTTY, environment, colours) => {
    const { log, lines } = collected({ format: 'readable', environment }, isTTY);
    log.listener({ event: 'trigger.problem', job: 'nightly', message: 'a \x1b[5m b.' });
    const line = (await lines()).join('');
    expect(line.includes('\x1b[33mwarn \x1b[0m')).toBe(colours);
    expect(line).toContain('nightly: a \\x1b[5m b.');
  });

  it('keeps one line an event, whatever is in it', async () => {
    const { log, lines } = collected({ format: 'readable' });
    for (const event of EVENTS) log.listener(event);
    log.listener({ event: 'wire', server: 'nas', message: '220-a\r\n220 b\u2028c' });
    expect(await lines()).toHaveLength(EVENTS.length + 1);
  });

  it('lives on where the reader has gone (EPIPE)', async () => {
    const server = createServer((peer) => peer.resetAndDestroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const socket: Socket = connect(address.port, '127.0.0.1');
    const gone = new Promise((resolve) => socket.once('close', resolve));
    const log = createLog({ level: 'debug', format: 'json', stream: socket, environment: {} });
    await gone;
    for (let i = 0; i < 100; i += 1) log.listener({ event: 'daemon.stopped' });
    await log.close();
    server.close();
    await once(server, 'close');
  });

  it('lives on where each write fails', async () => {
    let writes = 0;
    const stream = new Writable({
      autoDestroy: false,
      write(_chunk, _encoding, done) {
        writes += 1;
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      },
    });
    const log = createLog({ level: 'debug', format: 'json', stream, environment: {} });
    log.listener({ event: 'daemon.stopped' });
    await new Promise((resolve) => setImmediate(resolve));
    log.listener({ event: 'daemon.stopped' });
    await log.close();
    expect(writes).toBeGreaterThan(0);
  });

  it('drops lines and says how many where nobody reads, and never grows', async () => {
    const chunks: Buffer[] = [];
    let stuck: (() => void) | undefined;
    let flowing = false;
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(chunk);
        if (flowing) done();
        else stuck = done;
      },
    });
    const log = createLog({ level: 'info', format: 'json', stream, environment: {} });
    const message = 'x'.repeat(4000);
    for (let i = 0; i < 1000; i += 1) {
      log.listener({ event: 'run.waiting', job: 'a', message });
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.writableLength).toBeLessThan(1_100_000);
    flowing = true;
    stuck?.();
    await log.close();
    const records = Buffer.concat(chunks)
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    const dropped = records.at(-1);
    expect(dropped).toMatchObject({ level: 'warn', event: 'log.dropped' });
    expect(records.length - 1 + dropped.lines).toBe(1000);
    expect(dropped.lines).toBeGreaterThan(500);
  });
});

const UPLOADED = {
  event: 'file.uploaded',
  job: 'a',
  run: 7,
  path: 'x',
  bytes: 1,
  durationMs: 1,
  attempt: 1,
} as const;

describe('for the journal', () => {
  it('each line begins with its priority, and has no time, which the journal knows', async () => {
    const { log, lines } = collected({ format: 'journal' });
    for (const event of EVENTS) log.listener(event);
    const written = await lines();
    expect(written).toHaveLength(EVENTS.length);
    const priorities = { error: '<3>', warn: '<4>', info: '<6>', debug: '<7>' };
    for (const [at, event] of EVENTS.entries()) {
      const { job, message } = recordOf(event, TIME);
      const who = job === undefined ? '' : `${job}: `;
      expect(written[at]).toBe(`${priorities[levelOf(event)]}${who}${message}`);
    }
  });

  it('no text of a stranger can set a priority of its own', async () => {
    const { log, lines } = collected({ format: 'journal' });
    log.listener({
      event: 'hook.output',
      job: 'a',
      run: 1,
      hook: 'before',
      stream: 'output',
      message: 'x\n<0>y',
    });
    expect(await lines()).toEqual(['<6>a: before: x\\n<0>y']);
  });
});

describe('files: hide', () => {
  it('leaves out what went well with a single file, and nothing else', async () => {
    const all: readonly FerrydEvent[] = [
      ...EVENTS,
      UPLOADED,
      { event: 'file.deleted', job: 'a', run: 7, path: 'x', side: 'remote', why: 'gone' },
      { event: 'file.conflict', job: 'a', run: 7, path: 'x', side: 'local', to: 'y' },
    ];
    const { log, lines } = collected({ files: 'hide' });
    for (const event of all) log.listener(event);
    const written = (await lines()).map((line) => JSON.parse(line).event);
    const kept = all
      .map(({ event }) => event)
      .filter((name) => !/^file\.(up|down|deleted|ignored)/.test(name));
    expect(written).toEqual(kept);
    expect(written).toEqual(expect.arrayContaining(['file.retry', 'file.skipped', 'file.conflict']));
  });
});

describe('a log file beside it', () => {
  let directory: TemporaryDirectory;
  beforeEach(async () => {
    directory = await temporaryDirectory('log');
  });
  afterEach(() => directory.remove());

  const file = (name: string) => ({
    path: directory.join(name),
    maxBytes: 1_000_000,
    maxAgeMs: 86_400_000,
    keep: 3,
  });
  const recordsIn = (name: string): { run: number }[] =>
    readFileSync(directory.join(name), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const runsIn = (name: string): number[] => recordsIn(name).map(({ run }) => run);
  const started = (run: number): FerrydEvent => ({ event: 'run.started', job: 'a', run, trigger: 'watch' });

  it.each(['readable', 'json', 'journal'] as const)(
    'has JSON lines, whatever the stream has: %s',
    async (format) => {
      const { log, lines } = collected({ format, file: file('a.log') });
      for (const event of EVENTS) log.listener(event);
      expect(await lines()).toHaveLength(EVENTS.length);
      const records = recordsIn('a.log');
      expect(records).toHaveLength(EVENTS.length);
      for (const [at, event] of EVENTS.entries()) {
        expect(records[at]).toEqual({ ...recordOf(event, TIME), time: expect.any(String) });
      }
    },
  );

  it('has what the level lets through, and hides what is hidden there', async () => {
    const { log, lines } = collected({ level: 'info', files: 'hide', file: file('a.log') });
    for (const event of [...EVENTS, UPLOADED]) log.listener(event);
    expect((await lines()).map((line) => JSON.parse(line))).toEqual(recordsIn('a.log'));
  });

  it('is changed by a reload, and no line is lost over it', async () => {
    const { log, lines } = collected({ level: 'info', file: file('a.log') });
    for (const run of [1, 2, 3]) log.listener(started(run));
    log.configure({ level: 'info', file: file('b.log') });
    for (const run of [4, 5]) log.listener(started(run));
    log.configure({ level: 'info' });
    log.listener(started(6));
    log.configure({ level: 'error', file: file('a.log') });
    log.listener(started(7));
    log.configure({ level: 'debug', files: 'hide', file: file('a.log') });
    log.listener(UPLOADED);
    log.listener(started(8));
    expect((await lines()).map((line) => JSON.parse(line).run)).toEqual([1, 2, 3, 4, 5, 6, 8]);
    expect(runsIn('a.log')).toEqual([1, 2, 3, 8]);
    expect(runsIn('b.log')).toEqual([4, 5]);
  });

  it('that cannot be written is told on the stream, and everything goes on there', async () => {
    mkdirSync(directory.join('a.log'));
    const { log, lines } = collected({ file: file('a.log') });
    for (const run of [1, 2, 3]) {
      log.listener(started(run));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const records = (await lines()).map((line) => JSON.parse(line));
    expect(records.filter(({ event }) => event === 'run.started')).toHaveLength(3);
    expect(records.filter(({ event }) => event === 'log.file')).toEqual([
      {
        time: expect.any(String),
        level: 'warn',
        event: 'log.file',
        message: expect.stringContaining('cannot be written'),
      },
    ]);
  });
});
