/*
 * The daemon in this process, with jobs made by hand, a real ledger and the scripted server: schedules that were
 * missed, who may work on a ledger, and a stop that keeps its word and leaves nothing behind.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Daemon, DaemonLocked } from '../../src/daemon/daemon.js';
import type { AgentSettings, Job, TriggerSpec } from '../../src/job/job.js';
import type { Configuration } from '../../src/job/load.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { type FtpServer, startFtpServer } from '../support/ftp-server.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

type Named<Name extends FerrydEvent['event']> = Extract<FerrydEvent, { event: Name }>;

const DAY_MS = 86_400_000;
const NIGHTLY = {
  kind: 'cron',
  expression: '30 2 * * *',
  timezone: 'UTC',
  missed: 'run-once',
  jitterMs: 0,
} as const satisfies TriggerSpec;
const WATCH: TriggerSpec = {
  kind: 'watch',
  settleMs: 10,
  rescanMs: 3_600_000,
  events: 'auto',
  pollMs: 30_000,
};
const AGENT: AgentSettings = {
  log: { level: 'info', files: 'show', file: undefined },
  stop: { withinMs: 10_000 },
  runsAtOnce: 4,
  history: { keepMs: 90 * DAY_MS },
  notify: [],
};

let directory: TemporaryDirectory;
let server: FtpServer;
let ledger: Ledger;
let running: Daemon[] = [];
let events: FerrydEvent[] = [];
let onEvent: (() => void)[] = [];

beforeEach(async () => {
  directory = await temporaryDirectory('daemon');
  // With the directory there, the first STOR is the one that is carried out.
  await mkdir(directory.join('remote/in'), { recursive: true });
  await mkdir(directory.join('source'));
  await writeFile(directory.join('source/a.txt'), 'content');
  server = await startFtpServer({ root: directory.join('remote') });
  process.env.DAEMON_TEST_PASSWORD = 'secret';
  ledger = openLedger(directory.join('ledger.db'));
  running = [];
  events = [];
  onEvent = [];
});

afterEach(async () => {
  await Promise.all(running.map((daemon) => daemon.stop('the end of the test')));
  vi.useRealTimers();
  ledger.close();
  await server.close();
  await directory.remove();
  delete process.env.DAEMON_TEST_PASSWORD;
});

function jobOf(triggers: readonly TriggerSpec[], more: Partial<Job> & { readonly port?: number } = {}): Job {
  const { port = server.port, ...rest } = more;
  return {
    name: 'nightly',
    file: directory.join('nightly.yaml'),
    description: '',
    mode: 'copy',
    direction: 'push',
    local: directory.join('source'),
    server: {
      name: 'nas',
      protocol: 'ftp',
      security: 'plain',
      host: '127.0.0.1',
      port,
      user: 'ferry',
      password: { kind: 'env', name: 'DAEMON_TEST_PASSWORD' },
      account: undefined,
      tls: {
        caFile: undefined,
        pin: undefined,
        verify: true,
        serverName: undefined,
        certificateFile: undefined,
        key: undefined,
        passphrase: undefined,
      },
      connections: 2,
      dataConnection: 'auto',
      active: { address: undefined, ports: undefined },
      charset: 'utf-8',
      verify: 'auto',
      timeouts: { connectMs: 10_000, replyMs: 10_000, stallMs: 60_000, transferMs: 60_000 },
    },
    remotePath: { path: 'in', absolute: false },
    triggers,
    include: ['**'],
    exclude: [],
    hidden: 'include',
    size: { minBytes: undefined, maxBytes: undefined },
    age: { minMs: undefined, maxMs: undefined },
    links: 'skip',
    ready: undefined,
    permissions: 'leave',
    compare: 'ledger',
    conflicts: 'keep-both',
    deletes: {
      policy: 'delete',
      keepMs: 30 * 86_400_000,
      extraneous: false,
      limit: { percent: 10, files: 100 },
    },
    marker: undefined,
    emptyDirectories: 'skip',
    names: 'skip',
    timezone: undefined,
    retries: { attempts: 1, firstDelayMs: 1, maxDelayMs: 1 },
    before: undefined,
    after: undefined,
    expect: { freshnessMs: undefined },
    ping: undefined,
    notify: undefined,
    ...rest,
  };
}

/** What a jobs directory with these jobs says. */
function configured(jobs: readonly Job[], agent: Partial<AgentSettings> = {}): Configuration {
  return { jobs, agent: { ...AGENT, ...agent }, problems: [], directory: directory.join('jobs') };
}

async function start(jobs: readonly Job[], agent: Partial<AgentSettings> = {}): Promise<Daemon> {
  const daemon = await Daemon.start({
    configuration: configured(jobs, agent),
    ledger,
    wire: 'silent',
    listener: (event) => {
      events.push(event);
      for (const look of [...onEvent]) look();
    },
  });
  running.push(daemon);
  return daemon;
}

const named = <Name extends FerrydEvent['event']>(name: Name): Named<Name>[] =>
  events.filter((event): event is Named<Name> => event.event === name);

/** Resolves when this many events of that name were heard. */
async function heard(name: FerrydEvent['event'], count = 1): Promise<void> {
  await new Promise<void>((done, failed) => {
    const timer = setTimeout(
      () => failed(new Error(`${name} did not come ${count} times; ${JSON.stringify(events)}`)),
      10_000,
    );
    const look = (): void => {
      if (named(name).length < count) return;
      clearTimeout(timer);
      onEvent = onEvent.filter((other) => other !== look);
      done();
    };
    onEvent.push(look);
    look();
  });
}

const arrived = (name: string): Promise<string> => readFile(directory.join('remote/in', name), 'utf8');

describe('missed schedules', () => {
  const monday = Date.UTC(2026, 10, 23, 12);

  beforeEach(() => {
    // The calendar only: sockets and timers go on.
    vi.useFakeTimers({ toFake: ['Date'], now: monday });
  });

  /** A daemon's life: started, brought to rest, stopped. */
  async function live(job: Job, runs: number): Promise<string[]> {
    events = [];
    const daemon = await start([job]);
    await heard('run.ended', runs);
    await daemon.stop('SIGTERM');
    return named('run.started').map(({ trigger }) => trigger);
  }

  test('what passed while it was away is made good once, however much it was', async () => {
    const job = jobOf([NIGHTLY]);
    // The first time it is seen, nothing was missed.
    expect(await live(job, 0)).toEqual([]);
    vi.setSystemTime(monday + DAY_MS * 3.5);
    expect(await live(job, 1)).toEqual(['missed cron 30 2 * * *']);
    expect(await arrived('a.txt')).toBe('content');
    expect(await live(job, 0)).toEqual([]);
    vi.setSystemTime(monday + DAY_MS * 3.6);
    expect(await live(job, 0)).toEqual([]);
    vi.setSystemTime(monday + DAY_MS * 4.7);
    expect(await live(job, 1)).toEqual(['missed cron 30 2 * * *']);
  });

  test('missed: skip makes nothing good, also not later', async () => {
    const job = jobOf([{ ...NIGHTLY, missed: 'skip' }]);
    await live(job, 0);
    vi.setSystemTime(monday + DAY_MS * 3);
    expect(await live(job, 0)).toEqual([]);
    expect(await live(jobOf([NIGHTLY]), 0)).toEqual([]);
  });

  test('two schedules of a job that passed are one run', async () => {
    const noon: TriggerSpec = { ...NIGHTLY, expression: '0 11 * * *' };
    const job = jobOf([NIGHTLY, noon]);
    await live(job, 0);
    vi.setSystemTime(monday + DAY_MS);
    expect(await live(job, 1)).toEqual(['missed cron 0 11 * * *']);
    expect(named('trigger.fired')).toHaveLength(1);
    expect(await live(job, 0)).toEqual([]);
  });

  test('a run that did not reach its server leaves its schedule open for the next start', async () => {
    await live(jobOf([NIGHTLY]), 0);
    vi.setSystemTime(monday + DAY_MS);
    const { port } = server;
    await server.close();
    expect(await live(jobOf([NIGHTLY]), 1)).toEqual(['missed cron 30 2 * * *']);
    expect(named('run.ended')[0]?.failure?.kind).toBe('unreachable');

    server = await startFtpServer({ root: directory.join('remote'), port });
    expect(await live(jobOf([NIGHTLY]), 1)).toEqual(['missed cron 30 2 * * *']);
    expect(named('run.ended')[0]?.outcome).toBe('ok');
    expect(await live(jobOf([NIGHTLY]), 0)).toEqual([]);
  });

  test('a run that was interrupted leaves its schedule open as well', async () => {
    await live(jobOf([NIGHTLY]), 0);
    vi.setSystemTime(monday + DAY_MS);
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    events = [];
    const daemon = await start([jobOf([NIGHTLY])], { stop: { withinMs: 50 } });
    await server.waitFor('STOR');
    await daemon.stop('SIGTERM');
    expect(named('run.ended')[0]?.outcome).toBe('interrupted');
    expect(await live(jobOf([NIGHTLY]), 1)).toEqual(['missed cron 30 2 * * *']);
    expect(await arrived('a.txt')).toBe('content');
  });

  test('a wrong password is an answer: the schedule is dealt with, and not tried at every start', async () => {
    process.env.DAEMON_TEST_PASSWORD = 'wrong';
    await live(jobOf([NIGHTLY]), 0);
    vi.setSystemTime(monday + DAY_MS);
    expect(await live(jobOf([NIGHTLY]), 1)).toHaveLength(1);
    expect(await live(jobOf([NIGHTLY]), 0)).toEqual([]);
    expect(server.journal.of('PASS')).toHaveLength(1);
  });
});

describe('one daemon a ledger', () => {
  test('a second one is refused, by its own name too, until the first has stopped', async () => {
    const first = await start([jobOf([NIGHTLY])]);
    const second = start([jobOf([NIGHTLY], { name: 'other' })]);
    await expect(second).rejects.toThrow(DaemonLocked);
    await expect(second).rejects.toThrow(
      new RegExp(
        `${directory.join('ledger.db')} already\\. Process ${process.pid} holds it since .*--ledger`,
      ),
    );
    await first.stop('SIGTERM');
    await (await start([jobOf([NIGHTLY])])).stop('SIGTERM');
  });

  test('a start that fails half way leaves no trigger and no lock behind', async () => {
    const before = resources();
    const good = jobOf([WATCH, NIGHTLY], { name: 'good' });
    const bad = jobOf([{ ...NIGHTLY, expression: 'never' }], { name: 'bad' });
    await expect(start([good, bad])).rejects.toThrow(RangeError);
    expect(named('daemon.stopped')).toHaveLength(1);
    await server.until((journal) => journal.open === 0);
    await expect.poll(resources).toEqual(before);
    await (await start([good])).stop('SIGTERM');
  });
});

/** What keeps this process alive, counted by kind; the scripted server's own sockets included. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    if (/^(FSEvent|Timeout|TCP|TLS)/.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

describe('runs', () => {
  test('the start-up scan of a watch runs the job, a new file runs it again', async () => {
    await start([jobOf([WATCH])]);
    await heard('run.ended');
    expect(await arrived('a.txt')).toBe('content');
    await writeFile(directory.join('source/b.txt'), 'more');
    await heard('file.uploaded', 2);
    expect(await arrived('b.txt')).toBe('more');
  });

  test('a file that changes is sent by a run that looks there and nowhere else', async () => {
    for (let i = 0; i < 40; i += 1) {
      await mkdir(directory.join(`source/${i}`));
      await writeFile(directory.join(`source/${i}/file`), `${i}`);
    }
    await start([jobOf([{ ...WATCH, settleMs: 100 }], { mode: 'mirror' })]);
    await heard('run.ended');
    expect(named('run.ended')[0]).toMatchObject({ places: undefined, tally: { uploaded: 41 } });

    await writeFile(directory.join('source/7/file'), 'changed');
    await heard('run.ended', 2);
    expect(await arrived('7/file')).toBe('changed');
    const alone = { uploaded: 1, unchanged: 0, deleted: 0, skipped: 0 };
    expect(named('run.ended')[1]).toMatchObject({ places: 1, tally: alone });

    // A mirror deletes by a look at everything.
    await rm(directory.join('source/8/file'));
    await heard('run.ended', 3);
    const all = { uploaded: 0, unchanged: 40, deleted: 1 };
    expect(named('run.ended')[2]).toMatchObject({ places: undefined, outcome: 'ok', tally: all });

    await writeFile(directory.join('source/9/.ferryignore'), 'nothing');
    await heard('run.ended', 4);
    expect(named('run.ended')[3]).toMatchObject({ places: undefined, tally: { unchanged: 40 } });
    expect(ledger.lastRuns('nightly', 4).map(({ trigger }) => trigger)).toEqual([
      'watch',
      'watch',
      'watch',
      'start-up scan',
    ]);
  });

  test('a hook that writes into the tree that is watched does not run its job for ever', async () => {
    const dump = `date +%s%N > ${directory.join('source/dump.sql')}`;
    await start([
      jobOf([WATCH], {
        before: { argv: ['/bin/sh', '-c', dump], timeLimitMs: 10_000, onFailure: 'fail' },
      }),
    ]);
    await heard('run.ended');
    expect(await arrived('dump.sql')).toMatch(/^\d+\n$/);
    // A hundred settle times. Each run would take some of them, had it been followed by another.
    await new Promise((done) => setTimeout(done, 1_000));
    expect(named('run.started').length).toBeLessThanOrEqual(2);
    const before = await arrived('dump.sql');
    await writeFile(directory.join('source/b.txt'), 'more');
    await heard('file.uploaded', named('file.uploaded').length + 2);
    expect(await arrived('b.txt')).toBe('more');
    expect(await arrived('dump.sql')).not.toBe(before);
  });

  test('no more runs at once than the agent allows, and no job is left out', async () => {
    server.script({ on: 'STOR', nth: 'every', do: { kind: 'delay', ms: 20, at: 'final' } });
    const names = ['one', 'two', 'three', 'four'];
    await start(
      names.map((name) => jobOf([WATCH], { name, remotePath: { path: name, absolute: false } })),
      { runsAtOnce: 1 },
    );
    await heard('run.ended', 4);
    const order = events
      .filter(({ event }) => event === 'run.started' || event === 'run.ended')
      .map(({ event, job }) => `${event} ${job}`);
    for (let i = 0; i < 8; i += 2) {
      expect(order[i]?.startsWith('run.started')).toBe(true);
      expect(order[i + 1]).toBe(order[i]?.replace('started', 'ended'));
    }
    expect(
      named('run.ended')
        .map(({ job }) => job)
        .sort(),
    ).toEqual([...names].sort());
  });

  test('a job that cannot reach its server does not keep another from running', async () => {
    const dead = await startFtpServer({ root: directory.join('remote') });
    await dead.close();
    await start([
      jobOf([WATCH], {
        name: 'dead',
        port: dead.port,
        retries: { attempts: 1, firstDelayMs: 1, maxDelayMs: 3_600_000 },
      }),
      jobOf([WATCH], { name: 'alive' }),
    ]);
    await heard('run.ended', 2);
    await heard('run.waiting');
    expect(named('run.waiting')[0]?.job).toBe('dead');
    expect(named('run.ended').find(({ job }) => job === 'alive')?.outcome).toBe('ok');
  });

  test('a server that comes up later gets what was waiting for it', async () => {
    const { port } = server;
    await server.close();
    await start([jobOf([WATCH], { retries: { attempts: 1, firstDelayMs: 1, maxDelayMs: 20 } })]);
    await heard('run.waiting');
    server = await startFtpServer({ root: directory.join('remote'), port });
    await heard('file.uploaded');
    expect(await arrived('a.txt')).toBe('content');
  });
});

describe('stop', () => {
  test('a file in hand is finished', async () => {
    server.script({ on: 'STOR', do: { kind: 'delay', ms: 100, at: 'final' } });
    await writeFile(directory.join('source/b.txt'), 'second');
    const job = jobOf([WATCH], { server: { ...jobOf([]).server, connections: 1 } });
    const daemon = await start([job]);
    await server.waitFor('STOR');
    await daemon.stop('SIGTERM');
    expect(await arrived('a.txt')).toBe('content');
    expect(named('file.uploaded').map(({ path }) => path)).toEqual(['a.txt']);
    expect(server.journal.of('STOR')).toHaveLength(1);
    expect(named('run.ended')[0]?.outcome).toBe('interrupted');
    expect(events.at(-1)?.event).toBe('daemon.stopped');
  });

  test('a transfer that hangs is cut when the time is over, and the next run sends it whole', async () => {
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    const daemon = await start([jobOf([WATCH])], { stop: { withinMs: 300 } });
    await server.waitFor('STOR');
    const beganMs = performance.now();
    await daemon.stop('SIGTERM');
    const tookMs = performance.now() - beganMs;
    expect(tookMs).toBeGreaterThan(250);
    expect(tookMs).toBeLessThan(3_000);
    expect(named('run.ended')[0]?.outcome).toBe('interrupted');
    await expect(arrived('a.txt')).rejects.toThrow('ENOENT');
    await server.until((journal) => journal.open === 0);

    await (await startAgain()).stop('SIGTERM');
    expect(await arrived('a.txt')).toBe('content');
  });

  async function startAgain(): Promise<Daemon> {
    events = [];
    const daemon = await start([jobOf([WATCH])]);
    await heard('run.ended');
    return daemon;
  }

  test('a server that says nothing at all does not hold it up either', async () => {
    server.script({ on: 'STOR', do: { kind: 'hang' } });
    const daemon = await start([jobOf([WATCH])], { stop: { withinMs: 100 } });
    await server.waitFor('STOR');
    const beganMs = performance.now();
    await daemon.stop('SIGTERM');
    expect(performance.now() - beganMs).toBeLessThan(3_000);
    expect(named('run.ended')[0]?.outcome).toBe('interrupted');
  });

  test('a job that waits for its slot is not begun', async () => {
    server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 3 } });
    const daemon = await start(
      ['one', 'two'].map((name) => jobOf([WATCH], { name })),
      { runsAtOnce: 1, stop: { withinMs: 50 } },
    );
    await server.waitFor('STOR');
    await heard('trigger.fired', 2);
    await daemon.stop('SIGTERM');
    expect(named('run.started')).toHaveLength(1);
  });

  test('nothing is left: no watcher, no timer, no socket, and the ledger is committed', async () => {
    const before = resources();
    const daemon = await start([jobOf([WATCH, NIGHTLY])]);
    await heard('run.ended');
    expect(resources()).not.toEqual(before);
    await daemon.stop('SIGTERM');
    await server.until((journal) => journal.open === 0);
    await expect.poll(resources).toEqual(before);
    const reader = openLedger(directory.join('ledger.db'), { access: 'read-only' });
    try {
      expect(reader.lastRuns('nightly', 10).map((run) => run.state === 'ended' && run.outcome)).toEqual([
        'ok',
      ]);
    } finally {
      reader.close();
    }
  });
});
