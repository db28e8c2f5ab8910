/*
 * Notices and pings as a person gets them: `ferryd run` and the daemon as processes of their own, a webhook and a
 * dead-man service on loopback.
 */
import { readFile } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { deadPort, Receiver } from '../notice/stage.js';
import { Stage } from './stage.js';

const WITHIN = { timeout: 20_000 };

const stories = (receiver: Receiver): string[] =>
  receiver.notices.map(({ notice, job, state }) => `${notice} ${job} ${state}`);

describe('run', () => {
  test('a failure is told once over several processes, a recovery once, and each run is pinged', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await using hook = await Receiver.open();
    await using ping = await Receiver.open();
    await stage.write('source/a.txt', 'one');
    await stage.writeNas({ url: `ftpes://localhost:${await deadPort()}` });
    await stage.write('jobs/agent.yaml', JSON.stringify({ notify: [{ webhook: { env: 'HOOK' } }] }));
    await stage.writePush('out', { ping: ping.url('/uuid') });
    const run = () => stage.start(['run', 'out'], { env: { HOOK: hook.url('/T0P-SECRET') } }).inTime();

    const ended = await run();
    expect(ended.code).toBe(4);
    expect(stories(hook)).toEqual(['failure out failed:unreachable']);
    expect(hook.notices[0]).toMatchObject({
      run: { number: 1, failure: { code: 'ECONNREFUSED' } },
      was: null,
    });
    expect(hook.asked[0]?.path).toBe('/T0P-SECRET');
    expect((await run()).code).toBe(4);
    expect(hook.asked).toHaveLength(1);

    await stage.writeNas(server);
    const well = await run();
    expect(well.code).toBe(0);
    expect(stories(hook)).toEqual(['failure out failed:unreachable', 'recovery out ok']);
    expect((await run()).code).toBe(0);
    expect(hook.asked).toHaveLength(2);

    expect(ping.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /uuid/start',
      'GET /uuid/fail',
      'GET /uuid/start',
      'GET /uuid/fail',
      'GET /uuid/start',
      'GET /uuid',
      'GET /uuid/start',
      'GET /uuid',
    ]);
    expect(`${ended.stdout}${ended.stderr}${well.stderr}`).not.toContain('T0P-SECRET');
  });

  test('a command is told too, without the secrets of the configuration', async () => {
    await using stage = await Stage.open();
    await stage.write('source/a.txt', 'one');
    await stage.writeNas({ url: `ftpes://localhost:${await deadPort()}` });
    const script = 'cat > "$1"; env > "$1.env"';
    const notify = [{ command: ['/bin/sh', '-c', script, 'sh', stage.at('told')], on: ['failure'] }];
    await stage.writePush('out', { notify });
    expect((await stage.ferryd('run', 'out')).code).toBe(4);
    expect(JSON.parse(await readFile(stage.at('told'), 'utf8'))).toMatchObject({
      notice: 'failure',
      job: 'out',
    });
    const environment = await readFile(stage.at('told.env'), 'utf8');
    expect(environment).toContain('FERRYD_NOTICE=failure\n');
    expect(environment).not.toContain('NAS_PASSWORD');
  });
});

describe('the daemon', () => {
  test('tells that a job file is broken, once, and that it is mended', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await using hook = await Receiver.open();
    await stage.writeNas(server);
    await stage.write('jobs/agent.yaml', JSON.stringify({ notify: [{ webhook: hook.url() }] }));
    const never = { triggers: [{ cron: '0 0 1 1 *' }] };
    await stage.writePush('out', never);
    const daemon = await stage.daemon();
    await stage.writePush('out', { ...never, exclde: ['*.tmp'] });
    await vi.waitFor(() => expect(stories(hook)).toEqual(['configuration out broken']), WITHIN);
    expect(hook.notices[0]?.message).toContain('exclde');
    await stage.writePush('out', { ...never, exclude: ['*.tmp'] });
    await vi.waitFor(() => expect(hook.asked).toHaveLength(2), WITHIN);
    expect(stories(hook)[1]).toBe('recovery out good');
    const { code } = await daemon.end('SIGTERM');
    expect(code).toBe(0);
  });
});
