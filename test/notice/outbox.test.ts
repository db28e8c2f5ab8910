import { describe, expect, it, vi } from 'vitest';
import type { Channel } from '../../src/job/job.js';
import type { Ledger } from '../../src/ledger/ledger.js';
import { KEEP_MS, LEAST_ATTEMPTS, MOST_WAITING } from '../../src/notice/outbox.js';
import { Desk } from './desk.js';
import { DAY, HOUR, MINUTE, NOON, Receiver, UNREACHABLE, webhook } from './stage.js';

const SETTLE_MS = 10_000;

/** Puts notices into the outbox as an earlier process may have left them: numbered, due now. */
function leave(ledger: Ledger, jobs: readonly string[], { channel = 'webhook 1', atMs = NOON } = {}): void {
  jobs.forEach((job, index) => {
    const body = JSON.stringify({
      version: 1,
      id: String(index),
      notice: 'failure',
      job,
      host: 'box',
      at: '',
      message: '',
      about: 'run',
      state: '',
      since: '',
      was: null,
      run: null,
      freshness: null,
    });
    ledger.notices.changeNotice(
      job,
      'run',
      () => ({ state: { state: `s${index}`, sinceMs: atMs, message: '' }, outbox: [{ channel, body }] }),
      atMs,
    );
  });
}

const waiting = (desk: Desk) => desk.ledger.notices.waitingNotices(9_999);
const ids = (receiver: Receiver): unknown[] => receiver.notices.map(({ id }) => id);

async function desk(url: string, more: Partial<Parameters<typeof Desk.open>[0]> = {}): Promise<Desk> {
  return Desk.open({ channels: [webhook(url)], ...more });
}

describe('the outbox', () => {
  it('sends in its order, one at a time to a channel', async () => {
    await using receiver = await Receiver.open();
    await using one = await desk(receiver.url());
    leave(one.ledger, ['b', 'a', 'b', 'c', 'a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect(ids(receiver)).toEqual(['0', '1', '2', '3', '4']);
    expect(waiting(one)).toEqual([]);
  });

  it('tries again after growing pauses, and says so in the log now and then', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 500;
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a']);
    one.board.start();
    const pauses: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt += 1) {
      await one.board.settle(SETTLE_MS);
      expect(receiver.asked).toHaveLength(attempt);
      const pauseMs = (waiting(one)[0]?.nextMs ?? 0) - one.clock.wallMs();
      pauses.push(pauseMs / 1000);
      one.clock.pass(pauseMs - 1);
      await one.board.settle(SETTLE_MS);
      expect(receiver.asked).toHaveLength(attempt);
      one.clock.pass(1);
    }
    expect(pauses).toEqual([10, 30, 60, 120, 300, 600, 900, 900, 900]);
    const failed = one.events.flatMap((event) => (event.event === 'notice.failed' ? [event] : []));
    expect(failed.map(({ attempt, delayMs }) => [attempt, delayMs])).toEqual([
      [1, 10_000],
      [2, 30_000],
      [4, 120_000],
      [8, 900_000],
    ]);
  });

  it('leaves a channel alone for as long as that asks for, an hour at most', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = (_asked, number) => ({
      status: 429,
      headers: { 'retry-after': number === 1 ? '77' : '99999' },
    });
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect(waiting(one)[0]?.nextMs).toBe(NOON + 77_000);
    one.clock.pass(77_000);
    await one.board.settle(SETTLE_MS);
    expect(waiting(one)[0]?.nextMs).toBe(NOON + 77_000 + HOUR);
  });

  it('gives up what is refused, and goes on with the next', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = (_asked, number) => (number === 1 ? 400 : 200);
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a', 'a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect([ids(receiver), waiting(one)]).toEqual([['0', '1'], []]);
    expect(one.events).toMatchObject([
      { event: 'notice.failed', job: 'a', attempt: 1, message: expect.stringContaining('answered 400') },
      { event: 'notice.sent' },
    ]);
    expect(one.events[0]).not.toHaveProperty('delayMs');
  });

  it('lets a notice that is never taken hold back its own job for good, and others for a while', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = ({ body }) => (JSON.parse(body).id === '0' ? 500 : 200);
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a', 'a', 'b']);
    one.board.start();
    const heard = (): unknown[] => ids(receiver).filter((id) => id !== '0');
    await one.board.settle(SETTLE_MS);
    one.clock.pass(HOUR);
    await one.board.settle(SETTLE_MS);
    expect(heard()).toEqual([]);
    for (let quarter = 0; quarter < 12; quarter += 1) {
      one.clock.pass(15 * MINUTE);
      await one.board.settle(SETTLE_MS);
    }
    expect(heard()).toEqual(['2']);
    expect(waiting(one).map(({ job }) => job)).toEqual(['a', 'a']);
  });

  it('gives up after a week, however not before the notice had its chances', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 500;
    await using one = await desk(receiver.url());
    // Written down by a clock of 1970, then the time came.
    leave(one.ledger, ['a'], { atMs: 0 });
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect(waiting(one)).toHaveLength(1);
    for (let attempt = 1; attempt < LEAST_ATTEMPTS; attempt += 1) {
      one.clock.pass(15 * MINUTE);
      await one.board.settle(SETTLE_MS);
    }
    expect(receiver.asked).toHaveLength(LEAST_ATTEMPTS);
    one.clock.pass(MINUTE);
    expect(waiting(one)).toEqual([]);
    expect(one.events.at(-1)).toMatchObject({
      event: 'notice.failed',
      message: `Nobody took it for ${KEEP_MS / DAY} days.`,
    });
  });

  it('is bounded: of too many the oldest are dropped, and told', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 'silence';
    await using one = await desk(receiver.url());
    leave(
      one.ledger,
      Array.from({ length: MOST_WAITING + 3 }, (_each, index) => `j${index}`),
    );
    one.board.start();
    expect(waiting(one)).toHaveLength(MOST_WAITING);
    expect(one.events.map((event) => event.job)).toEqual(['j0', 'j1', 'j2']);
  });

  it('sends to a mended channel what the wrong one did not take', async () => {
    await using receiver = await Receiver.open();
    await using other = await Receiver.open();
    receiver.answer = () => 500;
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    one.channels = [webhook(other.url())];
    one.clock.pass(10_000);
    await one.board.settle(SETTLE_MS);
    expect([ids(other), waiting(one)]).toEqual([['0'], []]);
  });

  it('keeps what is for a channel that is gone for a week, and holds nothing back for it', async () => {
    await using receiver = await Receiver.open();
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a', 'a'], { channel: 'webhook 2' });
    leave(one.ledger, ['a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect([receiver.asked.length, waiting(one).length]).toEqual([1, 2]);
    one.channels = [webhook(receiver.url()), webhook(receiver.url('/second'))];
    one.clock.pass(6 * DAY);
    await one.board.settle(SETTLE_MS);
    expect(receiver.asked.map(({ path }) => path)).toEqual(['/hook', '/second', '/second']);
    one.channels = [];
    leave(one.ledger, ['a'], { atMs: one.clock.wallMs() });
    one.clock.pass(7 * DAY);
    expect(waiting(one)).toHaveLength(1);
    one.clock.pass(MINUTE);
    expect(waiting(one)).toEqual([]);
    expect(one.events.at(-1)).toMatchObject({
      event: 'notice.failed',
      job: 'a',
      message: 'The configuration has had no such channel for long.',
    });
  });

  it('sends nothing that another process is sending, and takes over from one that was killed', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = () => 'silence';
    await using one = await desk(receiver.url());
    await using two = one.beside();
    leave(one.ledger, ['a', 'a']);
    one.board.start();
    two.board.start();
    await vi.waitFor(() => expect(receiver.asked).toHaveLength(1));
    await two.board.settle(SETTLE_MS);
    expect(receiver.asked).toHaveLength(1);
    receiver.answer = () => 200;
    // The claim of the first outlives the attempt by a minute; this process hears nothing of its end.
    one.clock.pass(65_000 + MINUTE);
    await two.board.settle(SETTLE_MS);
    expect(ids(receiver)).toEqual(['0', '0', '1']);
    expect(waiting(two)).toEqual([]);
  });

  it('is shared by two processes that both find something to say', async () => {
    await using receiver = await Receiver.open();
    await using one = await desk(receiver.url(), { jobs: ['a', 'b'] });
    await using two = one.beside();
    one.board.start();
    two.board.start();
    for (let round = 0; round < 5; round += 1) {
      one.run('failed', UNREACHABLE);
      two.run('failed', UNREACHABLE, { job: 'b' });
      one.run('ok');
      two.run('ok', undefined, { job: 'b' });
    }
    await Promise.all([one.board.settle(SETTLE_MS), two.board.settle(SETTLE_MS)]);
    one.clock.pass(MINUTE);
    await Promise.all([one.board.settle(SETTLE_MS), two.board.settle(SETTLE_MS)]);
    expect(new Set(ids(receiver)).size).toBe(20);
    for (const job of ['a', 'b']) {
      const story = receiver.notices.filter((notice) => notice.job === job).map(({ notice }) => notice);
      expect(story).toEqual(Array.from({ length: 5 }, () => ['failure', 'recovery']).flat());
    }
    expect(receiver.asked).toHaveLength(20);
  });

  it('is not held up by a clock that was set back', async () => {
    await using receiver = await Receiver.open();
    receiver.answer = (_asked, number) => (number === 1 ? 500 : 200);
    await using one = await desk(receiver.url());
    leave(one.ledger, ['a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    one.clock.set(NOON - 9 * DAY);
    one.clock.pass(MINUTE);
    await one.board.settle(SETTLE_MS);
    expect(ids(receiver)).toEqual(['0', '0']);
  });

  it('does not understand every notice that another version has left', async () => {
    await using receiver = await Receiver.open();
    await using one = await desk(receiver.url());
    const outbox = [{ channel: 'webhook 1', body: '{"version":2}' }];
    one.ledger.notices.changeNotice(
      'a',
      'run',
      () => ({ state: { state: 's', sinceMs: 1, message: '' }, outbox }),
      NOON,
    );
    leave(one.ledger, ['a']);
    one.board.start();
    await one.board.settle(SETTLE_MS);
    expect(ids(receiver)).toEqual(['0']);
    expect(one.log).toEqual(['notice.failed unknown webhook 1', 'notice.sent failure webhook 1']);
  });

  it('speaks to several channels at once, and one that hangs does not hold up the others', async () => {
    await using silent = await Receiver.open();
    await using receiver = await Receiver.open();
    silent.answer = () => 'silence';
    const channels: Channel[] = [webhook(silent.url()), webhook(receiver.url())];
    await using one = await Desk.open({ channels });
    leave(one.ledger, ['a', 'a']);
    leave(one.ledger, ['a', 'a', 'b'], { channel: 'webhook 2' });
    one.board.start();
    await vi.waitFor(() => expect(ids(receiver)).toEqual(['0', '1', '2']));
    expect(ids(silent)).toEqual(['0']);
  });
});
