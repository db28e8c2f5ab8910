/*
 * A daemon whose jobs are edited, removed and added while it works: only what was edited changes, and only behind the
 * run under way. And a server that is down: it holds up its own jobs and no others.
 */
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Daemon } from '../../src/daemon/daemon.js';
import type { AgentSettings, Job } from '../../src/job/job.js';
import type { Configuration } from '../../src/job/load.js';
import type { Problem } from '../../src/job/problem.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { World } from '../run/support/voyage.js';

let world: World;
let daemon: Daemon | undefined;
let events: FerrydEvent[] = [];

beforeEach(async () => {
  world = await World.open();
  events = [];
});

afterEach(async () => {
  await daemon?.stop('the end of the test');
  daemon = undefined;
  await world[Symbol.asyncDispose]();
});

const AGENT: AgentSettings = {
  log: { level: 'info', files: 'show', file: undefined },
  stop: { withinMs: 10_000 },
  runsAtOnce: 4,
  history: { keepMs: 86_400_000 },
  notify: [],
};

/** A watched job of its own directories on both sides. */
async function watched(name: string, more: Partial<Job> = {}): Promise<Job> {
  const local = `${world.job.local}-${name}`;
  await mkdir(local, { recursive: true });
  return {
    ...world.job,
    name,
    local,
    remotePath: { path: `in-${name}`, absolute: false },
    triggers: [{ kind: 'watch', settleMs: 10, rescanMs: 3_600_000, events: 'auto', pollMs: 30_000 }],
    ...more,
  };
}

function configuration(
  jobs: readonly Job[],
  more: { readonly agent?: Partial<AgentSettings>; readonly problems?: readonly Problem[] } = {},
): Configuration {
  return {
    jobs,
    agent: { ...AGENT, ...more.agent },
    problems: more.problems ?? [],
    directory: '/jobs',
  };
}

async function start(jobs: readonly Job[], agent: Partial<AgentSettings> = {}): Promise<Daemon> {
  daemon = await Daemon.start({
    configuration: configuration(jobs, { agent }),
    ledger: world.ledger,
    wire: 'silent',
    listener: (event) => void events.push(event),
  });
  return daemon;
}

/** Resolves when an event of a job was heard so often. */
async function heard(name: FerrydEvent['event'], job: string, count = 1): Promise<void> {
  await expect
    .poll(() => events.filter((event) => event.event === name && event.job === job).length, {
      timeout: 10_000,
    })
    .toBeGreaterThanOrEqual(count);
}

const told = (name: FerrydEvent['event'], job: string): FerrydEvent[] =>
  events.filter((event) => event.event === name && event.job === job);

const put = (job: Job, name: string, content = name): Promise<void> =>
  writeFile(`${job.local}/${name}`, content);

/** What stands on the server under a name. */
function stands(job: Job, name: string): string | undefined {
  try {
    return readFileSync(world.directory.join('remote', job.remotePath.path, name), 'utf8');
  } catch {
    return undefined;
  }
}

describe('reload', () => {
  test('a job that is new starts, one that is gone does not run again, a third is not touched', async () => {
    const [stays, goes, comes] = await Promise.all([watched('stays'), watched('goes'), watched('comes')]);
    await put(comes, 'c');
    const running = await start([stays, goes]);
    await heard('run.ended', 'stays');
    await heard('run.ended', 'goes');
    await running.reload(configuration([stays, comes]));
    await heard('file.uploaded', 'comes');
    expect(told('job.removed', 'goes')).toHaveLength(1);
    await put(goes, 'late');
    await put(stays, 'more');
    await heard('file.uploaded', 'stays');
    expect(told('job.loaded', 'stays')).toHaveLength(1);
    expect(told('run.started', 'goes')).toHaveLength(1);
  });

  test('an edit takes effect behind the run under way, which goes on as it began', async () => {
    const job = await watched('edited');
    await put(job, 'a');
    world.server.script({ on: 'STOR', do: { kind: 'delay', ms: 200, at: 'final' } });
    const running = await start([job]);
    await world.server.waitFor('STOR');
    const moved: Job = { ...job, remotePath: { path: 'elsewhere', absolute: false } };
    await running.reload(configuration([moved]));
    expect(told('run.ended', 'edited')).toEqual([]);
    await heard('run.ended', 'edited', 2);
    expect(stands(job, 'a')).toBe('a');
    expect(stands(moved, 'a')).toBe('a');
  });

  test('a job that is removed in the middle of a run ends at the next file', async () => {
    const job = await watched('removed', { server: { ...world.job.server, connections: 1 } });
    for (const name of ['a', 'b', 'c', 'd']) await put(job, name);
    world.server.script({ on: 'STOR', do: { kind: 'delay', ms: 100, at: 'final' } });
    const other = await watched('other');
    const running = await start([job, other]);
    await world.server.waitFor('STOR');
    await running.reload(configuration([other]));
    await heard('run.ended', 'removed');
    expect(told('run.ended', 'removed')).toMatchObject([{ outcome: 'interrupted' }]);
    expect(stands(job, 'a')).toBe('a');
    expect(stands(job, 'd')).toBeUndefined();
  });

  test('what waits for a server that is out of reach is tried at once behind an edit', async () => {
    const job = await watched('wrong', {
      server: { ...world.job.server, port: 1, host: '127.0.0.1' },
      retries: { attempts: 1, firstDelayMs: 1, maxDelayMs: 3_600_000 },
    });
    await put(job, 'a');
    const running = await start([job]);
    await heard('run.waiting', 'wrong');
    await running.reload(configuration([{ ...job, server: world.job.server }]));
    await heard('file.uploaded', 'wrong');
    expect(stands(job, 'a')).toBe('a');
  });

  test('a mistake is told once for as long as it stands, and the job goes on', async () => {
    const job = await watched('kept');
    const running = await start([job]);
    await heard('run.ended', 'kept');
    const problem: Problem = {
      severity: 'error',
      file: '/jobs/kept.yaml',
      line: 3,
      column: 1,
      key: '/mdoe',
      message: 'unknown key "mdoe"',
      job: 'kept',
    };
    for (let i = 0; i < 3; i += 1) await running.reload(configuration([], { problems: [problem] }));
    expect(told('configuration.problem', 'kept')).toMatchObject([
      { level: 'error', message: expect.stringMatching(/mdoe.*goes on as it was before this edit\.$/) },
    ]);
    await put(job, 'a');
    await heard('file.uploaded', 'kept');
    await running.reload(configuration([job]));
    await running.reload(configuration([], { problems: [problem] }));
    expect(told('configuration.problem', 'kept')).toHaveLength(2);
  });

  test('more runs at once from the next one on', async () => {
    const jobs = await Promise.all(['one', 'two', 'three'].map((name) => watched(name)));
    for (const job of jobs) await put(job, 'a');
    world.server.script({ on: 'STOR', nth: 'every', do: { kind: 'delay', ms: 300, at: 'final' } });
    const running = await start(jobs, { runsAtOnce: 1 });
    await world.server.waitFor('STOR');
    expect(events.filter(({ event }) => event === 'run.started')).toHaveLength(1);
    await running.reload(configuration(jobs, { agent: { runsAtOnce: 3 } }));
    await expect.poll(() => events.filter(({ event }) => event === 'run.started').length).toBe(3);
    expect(events.filter(({ event }) => event === 'run.ended').length).toBeLessThan(3);
  });
});

describe('a server that is down', () => {
  test('does not hold up jobs for other servers while its own are tried again and again', async () => {
    const patient = { attempts: 100, firstDelayMs: 60_000, maxDelayMs: 60_000 };
    const nowhere = { ...world.job.server, host: '127.0.0.1', port: 1 };
    const stuck = await Promise.all(
      ['stuck-1', 'stuck-2', 'stuck-3'].map((name) => watched(name, { server: nowhere, retries: patient })),
    );
    const alive = await watched('alive');
    for (const job of [...stuck, alive]) await put(job, 'a');
    await start([...stuck, alive], { runsAtOnce: 1, stop: { withinMs: 100 } });
    await heard('connection.retry', 'stuck-1');
    await heard('file.uploaded', 'alive');
    expect(stands(alive, 'a')).toBe('a');
  });

  test('the daemon says in one line how things stand', async () => {
    const nowhere = { ...world.job.server, host: '127.0.0.1', port: 1 };
    const dead = await watched('dead', {
      server: nowhere,
      retries: { attempts: 1, firstDelayMs: 1, maxDelayMs: 3_600_000 },
    });
    await put(dead, 'a');
    const running = await start([dead, await watched('alive')]);
    await heard('run.waiting', 'dead');
    await heard('run.ended', 'alive');
    await expect.poll(() => running.describe()).toBe('2 jobs, 0 running, 1 waiting for a server');
    expect(running.progress()).toBeUndefined();
    const file = `${world.ledger.file}.locks/daemon.json`;
    await expect
      .poll(async () => JSON.parse(await readFile(file, 'utf8').catch(() => '{}')))
      .toMatchObject({
        pid: process.pid,
        problems: [],
        jobs: {
          dead: { doing: { kind: 'waiting' }, coverage: { how: 'events' } },
          alive: { doing: { kind: 'idle' }, coverage: { how: 'events' } },
        },
      });
    await running.stop('SIGTERM');
    daemon = undefined;
    await expect(readFile(file)).rejects.toThrow('ENOENT');
  });
});
