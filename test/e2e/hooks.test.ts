/*
 * Hooks as a person writes them and as the command line runs them: a dump is written and pushed, a plan runs nothing,
 * a stop ends what still runs when its time is up, and a ferryd that is killed leaves no hook behind.
 */
import { access, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import type { FtpServer } from '../support/ftp-server.js';
import { Stage, type Written } from './stage.js';

async function prepare(stage: Stage, server: FtpServer, more: Written): Promise<void> {
  await stage.writeNas(server);
  await stage.writePush('nightly', more);
}

async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<void> {
  await vi.waitFor(async () => expect(await isRunning(pid)).toBe(false), { timeout: 10_000, interval: 20 });
}

/** A hook that tells its process and waits for its end. */
const WAITS = 'echo "process $$"; while :; do sleep 0.05; done';

function processOf(message: string): number {
  return Number(/process (\d+)/.exec(message)?.[1]);
}

test('before writes what is pushed, after tidies up; a text is for the shell, a list is not', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await prepare(stage, server, {
    before: 'echo "dumping $FERRYD_JOB"; echo "one; two" > ../source/shop.sql',
    after: { command: ['rm', '-f', '../source/shop.sql'], when: 'success' },
  });
  const { code, result, log } = await stage.run('nightly');
  expect(code).toBe(0);
  expect(result).toMatchObject({ outcome: 'ok', uploaded: 1 });
  expect(await stage.differences('remote/in', { 'shop.sql': 'one; two\n' })).toEqual([]);
  await expect(access(stage.at('source/shop.sql'))).rejects.toThrow('ENOENT');
  expect(
    log.filter(({ event }) => event.startsWith('hook.')).map(({ event, hook }) => `${event} ${hook}`),
  ).toEqual([
    'hook.started before',
    'hook.output before',
    'hook.ended before',
    'hook.started after',
    'hook.ended after',
  ]);
  expect(log.find(({ event }) => event === 'hook.output')).toMatchObject({
    job: 'nightly',
    level: 'info',
    stream: 'output',
    message: 'before: dumping nightly',
  });
});

test('a before that fails: exit code 1, nothing goes across, and status says why', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.write('source/a.txt', 'a');
  await prepare(stage, server, { before: 'echo "cannot lock the database" >&2; exit 2' });
  const { code, result } = await stage.run('nightly');
  expect(code).toBe(1);
  expect(result.failure).toMatchObject({ kind: 'failed', code: 'before-failed' });
  expect(server.journal.connections).toBe(0);
  expect((await stage.ferryd('status')).stdout).toContain('cannot lock the database');
});

describe('a plan', () => {
  test('runs no hook, and says so', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.write('source/a.txt', 'a');
    await prepare(stage, server, { before: 'touch ../ran', after: 'touch ../ran' });
    const { code, stdout } = await stage.ferryd('plan', 'nightly');
    expect(code).toBe(0);
    expect(stdout).toContain(
      'A plan runs no hooks: a run begins with the before hook, and what that changes here does not show in the plan.\n',
    );
    const json = await stage.ferryd('--json', 'plan', 'nightly');
    expect(JSON.parse(json.stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      hooksNotRun: ['before', 'after'],
    });
    await stage.writePush('nightly', { after: 'touch ../ran' });
    expect((await stage.ferryd('plan', 'nightly')).stdout).toContain(
      'the after hook, which ends a run, is not run.',
    );
    await stage.writePush('nightly');
    expect((await stage.ferryd('plan', 'nightly')).stdout).not.toContain('hook');
    await expect(access(stage.at('ran'))).rejects.toThrow('ENOENT');
  });
});

describe('a stop', () => {
  test('waits for a before hook until its time is up, then ends it, and lets after tidy up', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.write('source/a.txt', 'a');
    await stage.write('jobs/agent.yaml', 'stop: { within: 1s }\n');
    await prepare(stage, server, {
      before: `trap 'echo unlocked; exit 1' TERM; ${WAITS}`,
      after: 'echo "$FERRYD_OUTCOME" > ../told',
    });
    const run = stage.start(['--json', 'run', 'nightly']);
    const { message } = await run.until('hook.output');
    const { code, log } = await run.end('SIGTERM');
    expect(code).toBe(130);
    const words = log.filter(({ event }) => event === 'hook.output').map((line) => line.message);
    expect(words).toContain('before: unlocked');
    expect(log.find(({ event }) => event === 'hook.ended')).toMatchObject({ code: 'stopped', level: 'warn' });
    expect(await isRunning(processOf(message))).toBe(false);
    expect(await readFile(stage.at('told'), 'utf8')).toBe('interrupted\n');
    expect(server.journal.connections).toBe(0);
  });

  test('of the daemon leaves a hook the time that it needs, where there is enough', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.write('source/a.txt', 'a');
    await prepare(stage, server, {
      before: 'echo waits; while [ ! -e ../go ]; do sleep 0.05; done; echo unlocked',
      triggers: [{ cron: '* * * * * *' }],
    });
    const daemon = await stage.daemon();
    await daemon.until('hook.output');
    daemon.signal('SIGTERM');
    await daemon.until('daemon.stopping');
    await writeFile(stage.at('go'), '');
    const { code, log } = await daemon.inTime();
    expect(code).toBe(0);
    expect(log.find(({ event }) => event === 'hook.ended')).toMatchObject({ code: 'ok' });
    expect(log.find(({ event }) => event === 'run.ended')).toMatchObject({ outcome: 'interrupted' });
  });
});

test('a ferryd that is killed leaves no hook behind, and the next run is as if nothing had been', async () => {
  await using stage = await Stage.open();
  await using server = await stage.server();
  await stage.write('source/a.txt', 'a');
  await prepare(stage, server, { before: WAITS });
  const run = stage.start(['run', 'nightly']);
  const { message } = await run.until('hook.output');
  await run.end('SIGKILL');
  await untilGone(processOf(message));
  await stage.writePush('nightly', { before: 'true' });
  expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'ok', uploaded: 1 });
});
