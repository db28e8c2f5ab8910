/*
 * The table of a job's states in the daemon, row by row, with runs that end when the test says so and a clock that
 * moves when the test says so.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { JobQueue } from '../../src/daemon/queue.js';
import { Reach } from '../../src/daemon/reach.js';
import { emptyTally, type FailureKind } from '../../src/plan/outcome.js';
import type { RunReport } from '../../src/run/context.js';
import type { Cause } from '../../src/trigger/trigger.js';

const FIRST_WAIT_MS = 60_000;
const HOUR_MS = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 23, 2, 30) });
});

afterEach(() => {
  vi.useRealTimers();
});

function reportOf(kind: FailureKind | undefined): RunReport {
  return {
    job: 'nightly',
    run: 1,
    outcome: kind === undefined ? 'ok' : 'failed',
    tally: emptyTally(),
    durationMs: 1,
    failure: kind === undefined ? undefined : { kind, code: 'code', message: 'message' },
  };
}

/** A queue whose runs are ended by hand. */
class Bench {
  readonly causes: Cause[] = [];
  readonly waits: string[] = [];
  readonly queue: JobQueue;
  readonly reach: Reach;
  began: () => void = () => undefined;
  /** The scan of the run under way begins; returns where it has to look. */
  scan: (least?: 'everything' | 'places') => ReadonlySet<string> | undefined = () => undefined;
  #end: ((report: RunReport) => void) | undefined;
  atOnce = 0;

  constructor(firstWaitMs = FIRST_WAIT_MS, reach = new Reach()) {
    this.reach = reach;
    this.queue = new JobQueue({
      run: (cause, onScan) => {
        this.causes.push(cause);
        this.scan = (least = 'places') => onScan(least);
        this.began();
        this.atOnce += 1;
        expect(this.atOnce).toBe(1);
        return new Promise((done) => {
          this.#end = (report) => {
            this.atOnce -= 1;
            done(report);
          };
        });
      },
      onWaiting: (message) => this.waits.push(message),
      onChange: () => undefined,
      reach: () => this.reach,
      firstWaitMs: () => firstWaitMs,
    });
  }

  /** Ends the run under way. */
  async end(kind?: FailureKind): Promise<void> {
    const end = this.#end;
    if (end === undefined) throw new Error('no run is under way');
    this.#end = undefined;
    end(reportOf(kind));
    await vi.advanceTimersByTimeAsync(0);
  }

  get triggers(): string[] {
    return this.causes.map(({ trigger }) => trigger);
  }
}

const watch = (trigger = 'watch'): Cause => ({ trigger });
const cron = (scheduledAtMs: number): Cause => ({ trigger: `cron ${scheduledAtMs}`, scheduledAtMs });

describe('idle and running', () => {
  test('what is asked while idle starts at once, and ends idle', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    expect(bench.triggers).toEqual(['watch']);
    await bench.end();
    expect(vi.getTimerCount()).toBe(0);
    bench.queue.ask(watch('rescan'));
    expect(bench.triggers).toEqual(['watch', 'rescan']);
  });

  test('a hundred asks during a run are one more run, and never two at once', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    for (let i = 0; i < 100; i += 1) bench.queue.ask(watch());
    expect(bench.causes).toHaveLength(1);
    await bench.end();
    expect(bench.causes).toHaveLength(2);
    await bench.end();
    expect(bench.causes).toHaveLength(2);
  });

  test('of what is asked meanwhile the newest schedule is kept: that is what has to be covered', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    for (const cause of [watch(), cron(1000), watch(), cron(2000), watch()]) bench.queue.ask(cause);
    await bench.end();
    expect(bench.causes[1]).toEqual(cron(2000));
  });

  test('what is asked before the scan begins is in it, and what is asked afterwards is one more run', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    for (const cause of [watch(), watch('rescan')]) bench.queue.ask(cause);
    bench.scan();
    expect(bench.queue.doing).toMatchObject({ kind: 'running', more: false });
    await bench.end();
    expect(bench.triggers).toEqual(['watch']);
    bench.queue.ask(watch());
    bench.scan();
    bench.queue.ask(watch('late'));
    await bench.end();
    expect(bench.triggers).toEqual(['watch', 'watch', 'late']);
  });

  test('a change counts from when it was noticed, not from when it was asked for', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    const before = { trigger: 'before', noticedMs: performance.now() };
    vi.advanceTimersByTime(10);
    bench.scan();
    const during = { trigger: 'during', noticedMs: performance.now() };
    vi.advanceTimersByTime(10);
    // A run over both sides in several passes begins its scan once.
    bench.scan();
    bench.queue.ask(before);
    expect(bench.queue.doing).toMatchObject({ kind: 'running', more: false });
    bench.queue.ask(during);
    await bench.end();
    expect(bench.triggers).toEqual(['watch', 'during']);
    // What one run has seen is not held against the next.
    await bench.end();
    bench.queue.ask(before);
    expect(bench.triggers).toEqual(['watch', 'during', 'before']);
  });

  test('a schedule that is asked for before the scan begins has its own run all the same', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    for (const cause of [cron(1000), watch()]) bench.queue.ask(cause);
    bench.scan();
    await bench.end();
    expect(bench.causes[1]).toEqual(cron(1000));
    bench.scan();
    await bench.end();
    expect(bench.causes).toHaveLength(2);
  });

  test('a run that did not reach its server has covered nothing', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    bench.scan();
    bench.queue.ask({ trigger: 'watch', noticedMs: performance.now() - 1 });
    await bench.end('unreachable');
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(bench.causes).toHaveLength(2);
  });

  test.each(['failed', 'configuration', 'trust', 'held', 'verification'] as const)(
    'a run that ends %s is not tried again by itself',
    async (kind) => {
      const bench = new Bench();
      bench.queue.ask(watch());
      await bench.end(kind);
      await vi.advanceTimersByTimeAsync(24 * HOUR_MS);
      expect(bench.causes).toHaveLength(1);
      expect(bench.waits).toEqual([]);
    },
  );
});

describe('what a run looks at', () => {
  const at = (...places: string[]): Cause => ({ trigger: 'watch', places: new Set(places) });

  test('is where something has changed, gathered until its scan begins', async () => {
    const bench = new Bench();
    bench.queue.ask(at('a'));
    bench.queue.ask(at('b/c'));
    expect(bench.scan()).toEqual(new Set(['a', 'b/c']));
    bench.queue.ask(at('d'));
    expect(bench.queue.doing).toMatchObject({ more: true });
    await bench.end();
    expect(bench.scan()).toEqual(new Set(['d']));
  });

  test.each([
    ['a cause that cannot tell', watch('rescan')],
    ['a schedule', cron(1000)],
  ])('is everything as soon as %s comes along', async (_, other) => {
    const bench = new Bench();
    for (const cause of [at('a'), other, at('b')]) bench.queue.ask(cause);
    expect(bench.scan()).toBeUndefined();
    bench.queue.ask(at('c'));
    await bench.end();
    // A schedule counts runs, and has one of its own.
    expect(bench.scan()).toEqual(new Set(['c']));
  });

  test('a schedule that was in the scan of the run before looks at everything in its own', async () => {
    const bench = new Bench();
    for (const cause of [at('a'), cron(1000)]) bench.queue.ask(cause);
    bench.scan();
    await bench.end();
    expect(bench.causes).toHaveLength(2);
    expect(bench.scan()).toBeUndefined();
  });

  test.each(['failed', 'held', 'verification'] as const)(
    'is everything after a run that ends %s',
    async (kind) => {
      const bench = new Bench();
      bench.queue.ask(at('a'));
      bench.scan();
      await bench.end(kind);
      bench.queue.ask(at('b'));
      expect(bench.scan()).toBeUndefined();
      await bench.end();
      bench.queue.ask(at('c'));
      expect(bench.scan()).toEqual(new Set(['c']));
    },
  );

  test.each(['locked', 'unreachable'] as const)('is everything once it has waited, %s', async (kind) => {
    const bench = new Bench();
    bench.queue.ask(at('a'));
    await bench.end(kind);
    bench.queue.ask(at('b'));
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(bench.causes).toHaveLength(2);
    expect(bench.scan()).toBeUndefined();
  });

  test('is all that was hinted while it waited for a server that another job could not reach', async () => {
    const bench = new Bench();
    bench.reach.failed(performance.now(), FIRST_WAIT_MS);
    bench.queue.ask(at('a'));
    bench.queue.ask(at('b'));
    expect(bench.causes).toEqual([]);
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(bench.scan()).toEqual(new Set(['a', 'b']));
  });

  test('covers what was noticed before only where it is everything', async () => {
    const bench = new Bench();
    const noticed = { ...at('b'), noticedMs: performance.now() };
    vi.advanceTimersByTime(10);
    bench.queue.ask(at('a'));
    bench.scan();
    bench.queue.ask(noticed);
    await bench.end();
    expect(bench.scan()).toEqual(new Set(['b']));
    await bench.end();
    bench.queue.ask(at('a'));
    // The run itself wants to see everything, whatever it was asked for by.
    expect(bench.scan('everything')).toBeUndefined();
    bench.queue.ask(noticed);
    await bench.end();
    expect(bench.causes).toHaveLength(3);
  });
});

describe('waiting', () => {
  test('while another process runs the job it is looked at again every ten seconds', async () => {
    const bench = new Bench();
    bench.queue.ask(cron(1000));
    for (let run = 1; run <= 5; run += 1) {
      expect(bench.causes).toHaveLength(run);
      await bench.end('locked');
      await vi.advanceTimersByTimeAsync(9_999);
      expect(bench.causes).toHaveLength(run);
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(bench.causes.every((cause) => cause.scheduledAtMs === 1000)).toBe(true);
    expect(bench.waits).toHaveLength(5);
    expect(bench.waits[0]).toBe(
      'Another process runs this job: the next try is at 2026-11-23T02:30:10.000Z.',
    );
  });

  test('a server that is out of reach is waited for twice as long each time, at most an hour', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60, 60]) {
      const before = bench.causes.length;
      await bench.end('unreachable');
      await vi.advanceTimersByTimeAsync(minutes * 60_000 - 1);
      expect(bench.causes).toHaveLength(before);
      await vi.advanceTimersByTimeAsync(1);
      expect(bench.causes).toHaveLength(before + 1);
    }
    expect(bench.waits[0]).toBe('The server is out of reach: the next try is at 2026-11-23T02:31:00.000Z.');
  });

  test('an outage of years neither overflows nor stops trying', async () => {
    const bench = new Bench(1);
    bench.queue.ask(watch());
    for (let run = 0; run < 60; run += 1) {
      await bench.end('unreachable');
      await vi.advanceTimersByTimeAsync(HOUR_MS);
      expect(bench.causes).toHaveLength(run + 2);
    }
  });

  test('a pause of retries beyond an hour is cut to an hour', async () => {
    const bench = new Bench(24 * HOUR_MS);
    bench.queue.ask(watch());
    await bench.end('unreachable');
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(bench.causes).toHaveLength(2);
  });

  test('a run that reached its server makes the waits short again', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    await bench.end('unreachable');
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    await bench.end('unreachable');
    await vi.advanceTimersByTimeAsync(2 * FIRST_WAIT_MS);
    bench.reach.over();
    await bench.end();
    bench.queue.ask(watch());
    await bench.end('unreachable');
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(bench.causes).toHaveLength(5);
  });

  test('a schedule breaks the wait, and the wait does not fire again behind it', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    await bench.end('unreachable');
    bench.queue.ask(cron(5000));
    expect(bench.causes[1]).toEqual(cron(5000));
    await bench.end();
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
    expect(bench.causes).toHaveLength(2);
  });

  test('a hint that files changed does not: the run that is waited for will see them', async () => {
    const bench = new Bench();
    bench.queue.ask(cron(1000));
    await bench.end('unreachable');
    for (let i = 0; i < 10; i += 1) bench.queue.ask(watch());
    expect(bench.causes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    // What is tried again is the schedule that was not served.
    expect(bench.causes[1]).toEqual(cron(1000));
    await bench.end();
    expect(bench.causes).toHaveLength(2);
  });

  test('what was asked during the failed run goes into the wait, a schedule included', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    bench.queue.ask(cron(7000));
    bench.queue.ask(watch());
    await bench.end('unreachable');
    expect(bench.causes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(bench.causes[1]).toEqual(cron(7000));
  });
});

describe('stopped', () => {
  test('stop waits for the run under way, and forgets what was asked meanwhile', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    bench.queue.ask(watch());
    let stopped = false;
    const stopping = bench.queue.stop().then(() => {
      stopped = true;
    });
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(stopped).toBe(false);
    await bench.end();
    await stopping;
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(bench.causes).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stop ends a wait, and leaves no timer', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    await bench.end('unreachable');
    expect(vi.getTimerCount()).toBe(1);
    await bench.queue.stop();
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
    expect(bench.causes).toHaveLength(1);
  });

  test('a run that fails while it is stopped starts no wait', async () => {
    const bench = new Bench();
    bench.queue.ask(watch());
    const stopping = bench.queue.stop();
    await bench.end('unreachable');
    await stopping;
    expect(vi.getTimerCount()).toBe(0);
    expect(bench.waits).toEqual([]);
  });

  test('what is asked afterwards is not heard, and stop may be called twice', async () => {
    const bench = new Bench();
    await bench.queue.stop();
    bench.queue.ask(cron(1));
    await bench.queue.stop();
    expect(bench.causes).toEqual([]);
  });
});

describe('a server that several jobs use', () => {
  /** Queues of jobs that share one server. */
  function benches(count: number): Bench[] {
    const reach = new Reach();
    return Array.from({ length: count }, () => new Bench(FIRST_WAIT_MS, reach));
  }

  test('one job that does not reach it speaks for the others: they wait too', async () => {
    const [first, second] = benches(2) as [Bench, Bench];
    first.queue.ask(watch());
    await first.end('unreachable');
    second.queue.ask(watch());
    expect(second.causes).toEqual([]);
    expect(second.queue.doing).toMatchObject({ kind: 'waiting' });
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect([first.causes.length, second.causes.length]).toEqual([2, 1]);
  });

  test('runs that failed side by side are one round: the wait does not grow with their number', async () => {
    const jobs = benches(5);
    for (const job of jobs) job.queue.ask(watch());
    for (const job of jobs) await job.end('unreachable');
    await vi.advanceTimersByTimeAsync(FIRST_WAIT_MS);
    expect(jobs.map(({ causes }) => causes.length)).toEqual([2, 2, 2, 2, 2]);
    for (const job of jobs) await job.end('unreachable');
    await vi.advanceTimersByTimeAsync(2 * FIRST_WAIT_MS - 1);
    expect(jobs.map(({ causes }) => causes.length)).toEqual([2, 2, 2, 2, 2]);
    await vi.advanceTimersByTimeAsync(1);
    expect(jobs.map(({ causes }) => causes.length)).toEqual([3, 3, 3, 3, 3]);
  });

  test('the first that gets through wakes the others, in the order in which they began to wait', async () => {
    const [first, second, third] = benches(3) as [Bench, Bench, Bench];
    first.queue.ask(watch());
    await first.end('unreachable');
    third.queue.ask(watch());
    second.queue.ask(watch());
    const order: string[] = [];
    second.began = () => order.push('second');
    third.began = () => order.push('third');
    // A schedule tries at once.
    first.queue.ask(cron(1));
    expect(first.causes).toHaveLength(2);
    expect(order).toEqual([]);
    first.reach.over();
    expect(order).toEqual(['third', 'second']);
    expect(second.queue.doing.kind).toBe('running');
  });

  test('a job that was stopped while it waited is not woken', async () => {
    const [first, second] = benches(2) as [Bench, Bench];
    first.queue.ask(watch());
    await first.end('unreachable');
    second.queue.ask(watch());
    await second.queue.stop();
    first.reach.over();
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(second.causes).toEqual([]);
  });
});
