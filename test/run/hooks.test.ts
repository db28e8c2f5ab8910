/*
 * The hooks of a job: what they are run with, what their end does to the run, what they are told, and how they end
 * in a stop. Real shells, the scripted server.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AfterHook, Hook, Job } from '../../src/job/job.js';
import { acquireLock, lockDirectory } from '../../src/ledger/lock.js';
import type { FerrydEvent } from '../../src/report/event.js';
import type { RunContext } from '../../src/run/context.js';
import { EARLIER, type VoyageOptions, World } from './support/voyage.js';

let world: World;
afterEach(async () => {
  await world[Symbol.asyncDispose]();
  vi.unstubAllEnvs();
});

async function open(options: VoyageOptions = {}): Promise<World> {
  world = await World.open(options);
  await mkdir(world.remote(''), { recursive: true });
  return world;
}

function withBefore(script: string, other: Partial<Hook> = {}): Partial<Job> {
  return { before: hook(script, other) };
}

function hook(script: string, other: Partial<Hook> = {}): Hook {
  return { argv: ['/bin/sh', '-c', script], timeLimitMs: 20_000, onFailure: 'fail', ...other };
}

function withAfter(script: string, other: Partial<AfterHook> = {}): Partial<Job> {
  return { after: { ...hook(script, other), when: other.when ?? 'always' } };
}

const at = (name: string): string => world.directory.join(name);
const read = (name: string): Promise<string> => readFile(at(name), 'utf8');

async function appears(name: string): Promise<string> {
  return vi.waitFor(
    async () => {
      const text = await read(name);
      expect(text).toMatch(/\n$/);
      return text;
    },
    { timeout: 10_000, interval: 10 },
  );
}

async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function variables(text: string): Record<string, string> {
  // What the suites are told by is not ferryd's.
  const told = (pair: string): boolean => !/^FERRYD_(REQUIRE_SERVERS|SERVERS|BOOT_TREES)=/.test(pair);
  const pairs = text.split('\0').filter((pair) => pair.startsWith('FERRYD_') && told(pair));
  return Object.fromEntries(pairs.map((pair) => [pair.split('=')[0], pair.slice(pair.indexOf('=') + 1)]));
}

/** Writes the environment as it is: a value may have line breaks. */
const environmentTo = (name: string): string => `cat /proc/$$/environ > ${at(name)}`;

describe('the before hook', () => {
  it('may write what is then sent', async () => {
    await open();
    world.change({
      job: withBefore('echo dumping; echo dump > "$FERRYD_LOCAL/shop.sql"; echo "100 rows" >&2'),
    });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    expect(world.held()).toEqual({ 'shop.sql': 'dump\n' });
    expect(world.told('hook.output').map(({ hook, stream, message }) => [hook, stream, message])).toEqual(
      expect.arrayContaining([
        ['before', 'output', 'dumping'],
        ['before', 'error', '100 rows'],
      ]),
    );
    expect(world.told('hook.ended')).toMatchObject([
      { hook: 'before', level: 'info', code: 'ok', job: 'nightly', run: 1 },
    ]);
  });

  it('runs ahead of whatever looks at the source: it may make it', async () => {
    await open();
    await rm(world.local(''), { recursive: true });
    world.change({ job: withBefore('mkdir "$FERRYD_LOCAL" && echo x > "$FERRYD_LOCAL/.mounted"') });
    world.change({ job: { marker: '.mounted' } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
  });

  it('may write a file that is younger than the run: ages count from its end', async () => {
    await open({ job: { age: { minMs: 10_000, maxMs: undefined } } });
    const script = `echo x > "$FERRYD_LOCAL/f"; touch -d @${EARLIER / 1000 + 30} "$FERRYD_LOCAL/f"`;
    world.change({ job: withBefore(script) });
    const times = [EARLIER];
    const now = (): number => times.shift() ?? EARLIER + 60_000;
    expect(await world.run({ now })).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
  });

  it.each([
    [
      'fails',
      'echo "no such database: shop" >&2; exit 3',
      'ended with exit code 3. It said: no such database: shop.',
    ],
    ['is killed', 'kill -KILL $$', 'was ended by SIGKILL.'],
  ])(
    'that %s: nothing is moved, nothing is deleted, and the reason is told',
    async (_what, script, words) => {
      await open({ job: { mode: 'mirror' } });
      await world.put('old');
      await world.put('stays');
      await world.run();
      const connections = world.server.journal.connections;
      await rm(world.local('old'));
      await world.put('new');
      world.change({ job: withBefore(script) });
      const report = await world.run();
      expect(report).toMatchObject({ outcome: 'failed', failure: { kind: 'failed', code: 'before-failed' } });
      expect(report.failure?.message).toBe(
        `The before hook ${words} Nothing was transferred or deleted. Run it by hand, as the user of ferryd and in ${world.directory.path}, to see why.`,
      );
      expect(world.server.journal.connections).toBe(connections);
      expect(Object.keys(world.held())).toEqual(['old', 'stays']);
      expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([
        { outcome: 'failed', failure: { code: 'before-failed' } },
      ]);
      expect(world.told('hook.ended')).toMatchObject([{ level: 'error' }]);

      world.change({ job: { before: undefined } });
      await world.run();
      expect(Object.keys(world.held())).toEqual(['new', 'stays']);
    },
  );

  it('that takes too long is ended with all that it has started', async () => {
    await open();
    await world.put('f');
    world.change({ job: withBefore(`sleep 60 & echo $! > ${at('pid')}; wait`, { timeLimitMs: 300 }) });
    const report = await world.run();
    expect(report.failure?.message).toMatch(
      /^The before hook did not finish within 0\.3 s and was ended\. .* give it more time\.$/,
    );
    expect(world.told('hook.ended')).toMatchObject([{ code: 'timed-out', level: 'error' }]);
    expect(await isRunning(Number(await read('pid')))).toBe(false);
    expect(world.held()).toEqual({});
  });

  it('that cannot be started says so', async () => {
    await open();
    world.change({ job: { before: { ...hook(''), argv: ['/nowhere/dump'] } } });
    const { failure } = await world.run();
    expect(failure).toMatchObject({
      code: 'before-failed',
      message:
        'The before hook was not found. Nothing was transferred or deleted. Write its absolute path, and see that the user of ferryd may run it.',
    });
    expect(world.told('hook.ended')).toMatchObject([{ code: 'ENOENT' }]);
  });

  it('that may fail does not keep the run, and is told', async () => {
    await open();
    await world.put('f');
    world.change({ job: withBefore('exit 1', { onFailure: 'ignore' }) });
    expect(await world.run()).toMatchObject({ outcome: 'ok', failure: undefined, tally: { uploaded: 1 } });
    expect(world.told('hook.ended')).toMatchObject([
      { level: 'warn', message: 'The before hook ended with exit code 1. The job says to ignore that.' },
    ]);
  });

  it('that writes without end is heard for a while', async () => {
    await open();
    world.change({ job: withBefore('head -c 3000000 /dev/zero | tr "\\0" "x" | fold -w 1000') });
    expect(await world.run()).toMatchObject({ outcome: 'ok' });
    expect(world.told('hook.output').length).toBeLessThan(300);
    expect(world.told('hook.ended')[0]?.message).toMatch(
      /^The before hook ended well, .* 2\.6 MiB of what it wrote/,
    );
  });

  it('is not run where another run has the job, nor is after', async () => {
    await open({ job: withAfter('exit 1') });
    world.change({ job: withBefore('exit 1') });
    const lock = acquireLock(lockDirectory(world.ledger.file), 'job-nightly', 'a test');
    if (lock.kind === 'held') throw new Error('held');
    expect(await world.run()).toMatchObject({ outcome: 'failed', failure: { kind: 'locked' } });
    lock.release();
    expect(world.told('hook.started')).toEqual([]);
  });
});

describe('the after hook', () => {
  it('is told how the run has ended and what it did', async () => {
    await open();
    await world.put('a', 'four');
    await world.put('b', 'fives');
    world.server.script({ on: /^RNTO .*b$/, nth: 'every', do: { kind: 'reply', text: '553 No' } });
    world.change({ job: withAfter(environmentTo('seen')) });
    const report = await world.run();
    const seen = variables(await read('seen'));
    expect(seen).toEqual({
      FERRYD_HOOK: 'after',
      FERRYD_JOB: 'nightly',
      FERRYD_RUN: '1',
      FERRYD_TRIGGER: 'by hand',
      FERRYD_LOCAL: world.local('').replace(/\/$/, ''),
      FERRYD_OUTCOME: 'partial',
      FERRYD_FAILURE: '',
      FERRYD_MESSAGE: '',
      FERRYD_UPLOADED: '1',
      FERRYD_DOWNLOADED: '0',
      FERRYD_DELETED: '0',
      FERRYD_SKIPPED: '1',
      FERRYD_BYTES: String(report.tally.bytes),
    });
  });

  it('hears of a failure, its words made harmless', async () => {
    await open();
    await world.put('a');
    world.server.script({ on: 'PASS', do: { kind: 'reply', text: '530 Not \u001b[31mwelcome' } });
    world.change({ job: withAfter(environmentTo('seen')) });
    await world.run();
    const seen = variables(await read('seen'));
    expect(seen).toMatchObject({ FERRYD_OUTCOME: 'failed', FERRYD_FAILURE: '530' });
    expect(seen.FERRYD_MESSAGE).toContain('530 Not');
    expect(seen.FERRYD_MESSAGE).not.toContain('\u001b');
  });

  it('runs where the before hook has failed too, to tidy up behind it', async () => {
    await open({ job: withAfter(`echo "$FERRYD_OUTCOME $FERRYD_FAILURE" > ${'$FERRYD_LOCAL'}/../seen`) });
    world.change({ job: withBefore('exit 1') });
    await world.run();
    expect(await read('seen')).toBe('failed before-failed\n');
  });

  const ENDS: readonly [string, string, (ready: World) => Promise<void>][] = [
    ['ok', 'always success', async (ready) => ready.put('a')],
    [
      'partial',
      'always failure',
      async (ready) => {
        await ready.put('a');
        ready.server.script({ on: /^RNTO .*a$/, nth: 'every', do: { kind: 'reply', text: '553 No' } });
      },
    ],
    ['failed', 'always failure', async (ready) => rm(ready.local(''), { recursive: true })],
    ['held', 'always failure', async (ready) => ready.change({ job: { marker: '.mounted' } })],
  ];

  it.each(ENDS)('after a run that ends %s is for: %s', async (outcome, whens, prepare) => {
    await open();
    await prepare(world);
    const ran: string[] = [];
    for (const when of ['always', 'success', 'failure'] as const) {
      world.change({ job: withAfter('true', { when }) });
      world.events.length = 0;
      const report = await world.run(outcome === 'partial' ? { skipped: 'again' } : {});
      if (when === 'always') expect(report.outcome).toBe(outcome);
      if (world.told('hook.started').length > 0) ran.push(when);
    }
    expect(ran.join(' ')).toBe(whens);
  });

  it('that fails makes a good run fail, and says so where everybody looks', async () => {
    await open();
    await world.put('a');
    world.change({ job: withAfter('echo "cannot start the database" >&2; exit 1') });
    const report = await world.run();
    expect(report).toMatchObject({
      outcome: 'failed',
      failure: { kind: 'failed', code: 'after-failed' },
      tally: { uploaded: 1 },
    });
    expect(report.failure?.message).toMatch(
      /^The after hook ended with exit code 1\. It said: cannot start the database\. Run it/,
    );
    expect(world.told('run.ended')).toMatchObject([{ outcome: 'failed', failure: { code: 'after-failed' } }]);
    expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([{ failure: { code: 'after-failed' } }]);
    expect(world.held()).toEqual({ a: 'a' });
  });

  it('that fails does not hide why the run had failed', async () => {
    await open({ job: withAfter('exit 1') });
    await rm(world.local(''), { recursive: true });
    const report = await world.run();
    expect(report.failure?.code).toBe('ENOENT');
    expect(world.told('hook.ended')).toMatchObject([{ level: 'error', code: 'exit-1' }]);
  });

  it('that may fail is told, and changes nothing', async () => {
    await open({ job: withAfter('exit 1', { onFailure: 'ignore' }) });
    await world.put('a');
    expect(await world.run()).toMatchObject({ outcome: 'ok', failure: undefined });
    expect(world.told('hook.ended')).toMatchObject([{ level: 'warn' }]);
  });
});

describe('the environment of a hook', () => {
  it('is ferryd’s own, without the secrets of the job and without what systemd gave to ferryd alone', async () => {
    await open({
      settings: { password: { kind: 'env', name: 'NAS_PASSWORD' } },
      job: {
        ping: {
          start: undefined,
          success: { kind: 'env', name: 'PING_URL' },
          failure: undefined,
          suffixed: 'no',
        },
      },
    });
    await world.put('a');
    vi.stubEnv('NAS_PASSWORD', 'correct-horse-battery-staple');
    vi.stubEnv('PING_URL', 'https://ping.example/uuid');
    vi.stubEnv('DATABASE_PASSWORD', 'for the dump');
    vi.stubEnv('NOTIFY_SOCKET', '/run/systemd/notify');
    vi.stubEnv('CREDENTIALS_DIRECTORY', '/run/credentials/ferryd.service');
    world.change({ job: { ...withBefore(environmentTo('before')), ...withAfter(environmentTo('after')) } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
    for (const name of ['before', 'after']) {
      const all = (await read(name)).split('\0');
      expect(all).toContain('DATABASE_PASSWORD=for the dump');
      expect(all).toContain('CREDENTIALS_DIRECTORY=/run/credentials/ferryd.service');
      expect(all).toContain(`FERRYD_HOOK=${name}`);
      expect(all.filter((one) => /^(NAS_PASSWORD|PING_URL|NOTIFY_SOCKET)=/.test(one))).toEqual([]);
      expect(all.join(' ')).not.toContain('correct-horse');
    }
    expect(variables(await read('before'))).not.toHaveProperty('FERRYD_OUTCOME');
  });

  it('has the jobs directory as its working directory, and nothing to read', async () => {
    await open();
    world.change({ job: withBefore(`pwd -P > ${at('pwd')}; cat > ${at('input')}`) });
    await world.run();
    expect(await read('pwd')).toBe(`${world.directory.path}\n`);
    expect(await read('input')).toBe('');
  });

  it('has the local path of this run', async () => {
    await open({ job: { direction: 'pull' } });
    await world.putRemote('f');
    world.change({ job: { local: world.local('{date}') } });
    world.change({ job: withBefore(`printf '%s\\n' "$FERRYD_LOCAL" > ${at('path')}`) });
    await world.run({ now: () => Date.UTC(2026, 10, 23, 12) });
    expect(await read('path')).toMatch(/\/local\/2026-?11-?23\n$/);
  });
});

describe('a stop', () => {
  const signals = () => {
    const stop = new AbortController();
    const cut = new AbortController();
    return { stop, cut, context: { stop: stop.signal, cut: cut.signal } satisfies Partial<RunContext> };
  };

  it('lets the before hook come to its end, and nothing follows but after', async () => {
    await open();
    await world.put('f');
    const { stop, context } = signals();
    world.change({
      job: withBefore(`echo up > ${at('up')}; while [ ! -e ${at('go')} ]; do sleep 0.02; done`),
    });
    world.change({ job: withAfter(`echo "$FERRYD_OUTCOME/$FERRYD_FAILURE" > ${at('after')}`) });
    const run = world.run(context);
    await appears('up');
    stop.abort();
    await writeFile(at('go'), '');
    expect(await run).toMatchObject({ outcome: 'interrupted', failure: undefined });
    expect(await read('after')).toBe('interrupted/\n');
    expect(world.told('hook.ended')).toMatchObject([{ hook: 'before', code: 'ok' }, { hook: 'after' }]);
    expect(world.held()).toEqual({});
  });

  it('cut off ends the before hook, and what it has started', async () => {
    await open();
    await world.put('f');
    const { stop, cut, context } = signals();
    world.change({ job: withBefore(`sleep 60 & echo $! > ${at('pid')}; wait`) });
    const run = world.run(context);
    const pid = Number(await appears('pid'));
    stop.abort();
    cut.abort();
    expect(await run).toMatchObject({ outcome: 'interrupted', failure: undefined });
    expect(world.told('hook.ended')).toMatchObject([{ code: 'stopped', level: 'warn' }]);
    expect(await isRunning(pid)).toBe(false);
    expect(world.ledger.lastRuns('nightly', 1)).toMatchObject([{ outcome: 'interrupted' }]);
  });

  it('cut off leaves the after hook a last moment', async () => {
    await open();
    await world.put('f');
    const { stop, cut, context } = signals();
    world.change({ job: withAfter(`echo up > ${at('up')}; sleep 0.3; echo done > ${at('done')}`) });
    const run = world.run(context);
    await appears('up');
    stop.abort();
    cut.abort();
    expect(await run).toMatchObject({ outcome: 'ok' });
    expect(await read('done')).toBe('done\n');
  });

  it('that comes before the run has begun lets no hook run', async () => {
    await open({ job: withAfter('true') });
    expect(await world.run({ stop: AbortSignal.abort() })).toMatchObject({ outcome: 'interrupted' });
    world.change({ job: withBefore('true') });
    expect(await world.run({ stop: AbortSignal.abort() })).toMatchObject({ outcome: 'interrupted' });
    expect(world.told('hook.started')).toEqual([]);
  });

  it('is no failure, and no success either', async () => {
    await open();
    for (const when of ['success', 'failure'] as const) {
      const stop = new AbortController();
      world.change({ job: { ...withBefore('echo'), ...withAfter('true', { when }) } });
      const listener = (event: FerrydEvent): void => {
        if (event.event === 'hook.started') stop.abort();
      };
      expect(await world.run({ stop: stop.signal, listener })).toMatchObject({ outcome: 'interrupted' });
    }
    expect(world.told('hook.started').map(({ hook: name }) => name)).toEqual(['before', 'before']);
  });
});
