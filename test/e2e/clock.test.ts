/*
 * Schedules once for real: the daemon as its own process, under a clock that is set while it runs. Both changes of
 * daylight saving time, steps forth and back, and a box that boots without the time. The schedules name seconds, so
 * that the daemon looks at the clock often and no test has to wait long; the rules are in test/daemon/coverage.test.ts.
 */
import { expect, test } from 'vitest';
import { describeFakeClock, FakeClock, forgetDeadClocks } from '../support/fake-clock.js';
import type { Command, LogLine } from './command.js';
import { Stage } from './stage.js';

const BEAT_MS = 2_000;
const DAY_MS = 86_400_000;

/** Each takes ten to twenty seconds, most of them waiting. */
const PATIENCE_MS = 90_000;

/** Every two seconds, from 02:29:00 to 02:31:58. */
const IN_THE_NIGHT = '*/2 29-31 2 * * *';

/** A stage with a job, a server and a clock; the source is empty, so a run is only its line in the log. */
async function open(trigger: { readonly cron: string; readonly timezone: string }, time: string) {
  const stage = await Stage.open();
  // Certificates would be judged by the clock as well.
  const server = await stage.server({ security: 'plain' });
  const clock = new FakeClock(stage.at('clock'));
  await clock.set(time);
  await stage.writeNas(server);
  await stage.writePush('nightly', { triggers: [trigger] });
  // That a trigger fired is a line of `debug`.
  await stage.write('jobs/agent.yaml', 'log: { level: debug }\n');
  const boot = async (): Promise<Command> => {
    const daemon = await stage.daemon({ env: clock.environment });
    await daemon.until('job.loaded');
    return daemon;
  };
  const close = async (): Promise<void> => {
    await stage[Symbol.asyncDispose]();
    await server.close();
    await forgetDeadClocks();
  };
  return { stage, clock, boot, [Symbol.asyncDispose]: close };
}

const fired = (daemon: Command): LogLine[] => daemon.lines('trigger.fired');

/** The beat that each of them belongs to; two of one beat are one run too many. */
function beats(lines: readonly LogLine[]): string[] {
  return lines.map(({ time }) => new Date(Math.floor(Date.parse(time) / BEAT_MS) * BEAT_MS).toISOString());
}

/** Waits until the trigger has fired so many times more; the new lines. */
async function more(daemon: Command, count: number): Promise<readonly LogLine[]> {
  const before = fired(daemon).length;
  await daemon.when(() => fired(daemon).length >= before + count, `${count} more runs`);
  return fired(daemon).slice(before);
}

/** Waits until the run that makes good what was missed has ended. */
async function madeGood(daemon: Command): Promise<void> {
  const { run } = await daemon.until(
    'run.started',
    ({ trigger }) => trigger === `missed cron ${IN_THE_NIGHT}`,
  );
  await daemon.until('run.ended', (line) => line.run === run);
}

describeFakeClock('a daemon under a clock that is set', () => {
  test.concurrent(
    'the time that the spring change jumps over comes at the change, once',
    async () => {
      await using box = await open(
        { cron: '30 2 * * *', timezone: 'Europe/Berlin' },
        '2026-03-29T00:50:00.000Z',
      );
      const { stage, clock } = box;
      const first = await box.boot();
      expect(first.lines('job.loaded')[0]?.nextRun).toBe('2026-03-29T01:00:00.000Z');
      await first.end('SIGTERM');
      expect(fired(first)).toEqual([]);

      await clock.set('2026-03-29T00:59:56.000Z');
      const second = await box.boot();
      const run = await second.until('run.started');
      expect(run.trigger).toBe('cron 30 2 * * *');
      expect(run.time).toMatch(/^2026-03-29T01:00:/);
      await second.until('run.ended', ({ outcome }) => outcome === 'ok');
      const status = stage.start(['--json', 'status', 'nightly'], { env: clock.environment });
      expect(JSON.parse((await status.inTime()).stdout)).toMatchObject({
        nextRun: '2026-03-30T00:30:00.000Z',
      });
      expect((await second.end('SIGTERM')).code).toBe(0);
      expect(fired(second)).toHaveLength(1);

      await clock.set('2026-03-29T01:30:00.000Z');
      const third = await box.boot();
      await third.end('SIGTERM');
      expect(fired(third)).toEqual([]);
    },
    PATIENCE_MS,
  );

  test.concurrent(
    'forward by a day, back by seconds, into the doubled hour: each moment once',
    async () => {
      await using box = await open(
        { cron: IN_THE_NIGHT, timezone: 'Europe/Berlin' },
        '2026-10-24T00:29:30.000Z',
      );
      const { clock } = box;
      const daemon = await box.boot();
      await more(daemon, 2);
      // The first half past two of the day that has two.
      await clock.step(DAY_MS);
      const [jumped] = await more(daemon, 2);
      expect(jumped?.time).toMatch(/^2026-10-25T00:(29|30):/);
      await clock.step(-2 * BEAT_MS);
      const again = await more(daemon, 1);
      const all = beats(fired(daemon));
      expect(new Set(all).size).toBe(all.length);
      expect(again.every(({ trigger }) => trigger === `cron ${IN_THE_NIGHT}`)).toBe(true);

      // The second one: what was left of the first 02:30 is one run, and then there is silence until tomorrow.
      await clock.step(DAY_MS / 24);
      await madeGood(daemon);
      const status = box.stage.start(['--json', 'status', 'nightly'], { env: clock.environment });
      expect(JSON.parse((await status.inTime()).stdout)).toMatchObject({
        nextRun: '2026-10-26T01:29:00.000Z',
      });
      const count = fired(daemon).length;
      expect((await daemon.end('SIGTERM')).code).toBe(0);
      expect(fired(daemon)).toHaveLength(count);
      expect(daemon.lines('trigger.problem')).toEqual([]);
    },
    PATIENCE_MS,
  );

  test.concurrent(
    'back by a day: nothing is silent, and it is told',
    async () => {
      await using box = await open({ cron: IN_THE_NIGHT, timezone: 'UTC' }, '2026-11-21T02:29:30.000Z');
      const { clock } = box;
      const daemon = await box.boot();
      await more(daemon, 1);
      await daemon.until('run.ended');
      await clock.step(-DAY_MS);
      const [dayBefore] = await more(daemon, 1);
      expect(dayBefore).toMatchObject({
        trigger: `cron ${IN_THE_NIGHT}`,
        time: expect.stringMatching(/^2026-11-20T02:(29|30):/),
      });
      expect(daemon.lines('trigger.problem').map(({ message }) => message)).toEqual([
        expect.stringContaining('is dealt with until 2026-11-21T02:'),
      ]);
      expect((await daemon.end('SIGTERM')).code).toBe(0);
    },
    PATIENCE_MS,
  );

  test.concurrent(
    'a box that boots in 2020: what was covered does not run again, what was missed does, once',
    async () => {
      await using box = await open({ cron: IN_THE_NIGHT, timezone: 'UTC' }, '2026-11-21T02:29:30.000Z');
      const { clock } = box;
      const night = await box.boot();
      await more(night, 1);
      // The last of that night: the run behind the jump covers all of it.
      await clock.set('2026-11-21T02:40:00.000Z');
      await madeGood(night);
      await night.end('SIGTERM');

      await clock.set('2020-02-02T02:29:30.000Z');
      const lost = await box.boot();
      const [byItsClock] = await more(lost, 1);
      expect(byItsClock?.time).toMatch(/^2020-02-02T02:29:/);
      // The time comes, a day later than the last run.
      await clock.set('2026-11-22T02:40:00.000Z');
      await madeGood(lost);
      expect(fired(lost).filter(({ trigger }) => trigger === `missed cron ${IN_THE_NIGHT}`)).toHaveLength(1);
      await lost.end('SIGTERM');

      await clock.set('2020-02-02T03:00:00.000Z');
      const again = await box.boot();
      await again.end('SIGTERM');
      await clock.set('2026-11-22T03:00:00.000Z');
      const last = await box.boot();
      await last.end('SIGTERM');
      expect([...fired(again), ...fired(last)]).toEqual([]);
    },
    PATIENCE_MS,
  );
});
