import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Ping } from '../../src/job/job.js';
import { machineClock } from '../../src/notice/clock.js';
import { Pings } from '../../src/notice/pings.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { deadPort, Receiver } from './stage.js';

const stops: Array<() => Promise<void>> = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function pings(ping: Ping | undefined | ((job: string) => Ping), environment: Record<string, string> = {}) {
  const events: FerrydEvent[] = [];
  const made = new Pings({
    pingOf: typeof ping === 'function' ? ping : () => ping,
    listener: (event) => events.push(event),
    environment,
    // A second is long for a test: the retry comes at once.
    clock: { ...machineClock, after: (_delayMs, work) => machineClock.after(0, work) },
  });
  stops.push(() => made.stop());
  return { pings: made, events };
}

function one(url: string): Ping {
  const source = { kind: 'text', url } as const;
  return { start: source, success: source, failure: source, suffixed: 'yes' };
}

describe('pings', () => {
  it('with one URL ask for it, with /start and /fail behind it', async () => {
    await using receiver = await Receiver.open();
    const { pings: made, events } = pings(one(receiver.url('/uuid/?a=b')));
    for (const kind of ['start', 'success', 'start', 'failure'] as const) {
      made.send('a', kind);
      await made.settle();
    }
    expect(receiver.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /uuid/start?a=b',
      'GET /uuid/?a=b',
      'GET /uuid/start?a=b',
      'GET /uuid/fail?a=b',
    ]);
    expect(events).toEqual([]);
  });

  it('with three URLs ask for those that there are', async () => {
    await using receiver = await Receiver.open();
    const success = { kind: 'env', name: 'PING' } as const;
    const ping: Ping = { start: undefined, success, failure: undefined, suffixed: 'no' };
    const { pings: made, events } = pings(ping, { PING: receiver.url('/alive') });
    for (const kind of ['start', 'failure', 'success'] as const) made.send('a', kind);
    await made.settle();
    expect(receiver.asked.map(({ path }) => path)).toEqual(['/alive']);
    expect(events).toEqual([]);
    const { pings: none } = pings(undefined);
    none.send('a', 'start');
    await none.settle();
    expect(receiver.asked).toHaveLength(1);
  });

  it('are tried twice, then told in the log, by the host alone', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = (_asked, number) => (number === 1 ? 503 : 200);
    const { pings: made, events } = pings(one(receiver.url('/T0P-SECRET')));
    made.send('a', 'success');
    await made.settle();
    expect([receiver.asked.length, events]).toEqual([2, []]);
    receiver.answer = () => 404;
    made.send('a', 'failure');
    await made.settle();
    expect(receiver.asked).toHaveLength(4);
    expect(events).toEqual([
      {
        event: 'notice.failed',
        job: 'a',
        notice: 'ping',
        channel: 'ping failure',
        attempt: 2,
        message: `The ping that a run has not ended ok did not get through: 127.0.0.1:${receiver.port} answered 404.`,
      },
    ]);
    const { pings: dead, events: told } = pings(one(`http://127.0.0.1:${await deadPort()}/T0P-SECRET`));
    dead.send('a', 'start');
    await dead.settle();
    expect(told).toMatchObject([{ message: expect.stringContaining('refuses connections') }]);
    expect(JSON.stringify([...events, ...told])).not.toContain('T0P-SECRET');
  });

  it('come one behind the other, and one that is overtaken is left out', async () => {
    await using receiver = await Receiver.open();
    const { pings: made } = pings((job) => one(receiver.url(`/${job}`)));
    // The first is under way, and what comes meanwhile is sorted out.
    for (const kind of ['start', 'success', 'start', 'failure', 'start', 'success', 'start'] as const) {
      made.send('a', kind);
    }
    made.send('b', 'success');
    await made.settle();
    const paths = receiver.asked.map(({ path }) => path);
    expect(paths.filter((path) => path !== '/b')).toEqual(['/a/start', '/a', '/a/start']);
    expect(paths).toContain('/b');
  });

  it('are called off at a stop, and none is sent after it', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 'silence';
    const { pings: made, events } = pings(one(receiver.url()));
    made.send('a', 'start');
    await vi.waitFor(() => expect(receiver.asked).toHaveLength(1));
    await made.stop();
    made.send('a', 'success');
    await made.settle();
    expect([receiver.asked.length, events]).toEqual([1, []]);
  });
});
