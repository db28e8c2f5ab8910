/*
 * Hours without a link, with a clock that moves when the test says so: queues, the reach of servers and the slots as the
 * daemon puts them together, and runs that are nothing but their ends. Links that really go dead are in
 * test/e2e/network.test.ts.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { JobQueue } from '../../src/daemon/queue.js';
import { Reaches } from '../../src/daemon/reach.js';
import { Slots } from '../../src/daemon/slots.js';
import { emptyTally } from '../../src/plan/outcome.js';
import type { RunReport } from '../../src/run/context.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** What a run needs to give up, and to do its work. */
const GIVE_UP_MS = 2 * MINUTE_MS;
const WORK_MS = 5_000;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 23, 2, 30) });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Servers that can be away, and jobs that deliver what was changed, as a daemon has them. */
class Harbour {
  readonly away = new Set<string>();
  readonly reaches = new Reaches();
  readonly slots: Slots;
  /** Job and number of changes, in the order in which they were delivered. */
  readonly delivered: string[] = [];
  tries = 0;
  readonly #changes = new Map<string, number>();
  readonly #queues = new Map<string, JobQueue>();

  constructor(slots: number) {
    this.slots = new Slots(slots);
  }

  job(name: string, server: string): void {
    const queue = new JobQueue({
      run: () => this.slots.use((slot) => this.#run(name, server, () => slot.lend())),
      onWaiting: () => undefined,
      onChange: () => undefined,
      reach: () => this.reaches.of(server),
      firstWaitMs: () => 5 * MINUTE_MS,
    });
    this.#queues.set(name, queue);
  }

  /** Files change, and the watch says so. */
  change(name: string): void {
    this.#changes.set(name, (this.#changes.get(name) ?? 0) + 1);
    this.#queues.get(name)?.ask({ trigger: 'watch' });
  }

  doing(name: string): string | undefined {
    return this.#queues.get(name)?.doing.kind;
  }

  async #run(job: string, server: string, wait: () => void): Promise<RunReport> {
    this.tries += 1;
    if (this.away.has(server)) {
      wait();
      await new Promise((done) => setTimeout(done, GIVE_UP_MS));
      return report(job, 'unreachable');
    }
    this.reaches.hear({ event: 'connection.opened', server, account: server, message: 'connected' });
    await new Promise((done) => setTimeout(done, WORK_MS));
    const changes = this.#changes.get(job) ?? 0;
    this.#changes.delete(job);
    this.delivered.push(`${job} ${changes}`);
    return report(job, undefined);
  }
}

function report(job: string, kind: 'unreachable' | undefined): RunReport {
  return {
    job,
    run: 1,
    outcome: kind === undefined ? 'ok' : 'failed',
    tally: emptyTally(),
    durationMs: 1,
    failure: kind && { kind, code: 'ETIMEDOUT', message: 'It did not answer.' },
  };
}

describe('a link that is gone for a night', () => {
  test('is asked for less and less, keeps what changes, and is caught up with at once', async () => {
    const harbour = new Harbour(4);
    for (const name of ['first', 'second', 'third']) harbour.job(name, 'nas');
    harbour.away.add('nas');
    for (let minutes = 0; minutes < 8 * 60; minutes += 10) {
      // One after the other, again and again.
      harbour.change(['first', 'second', 'third'][(minutes / 10) % 3] ?? 'first');
      await vi.advanceTimersByTimeAsync(10 * MINUTE_MS);
    }
    expect(harbour.delivered).toEqual([]);
    // 5, 10, 20, 40 and then 60 minutes between rounds, and in each round every job once.
    expect(harbour.tries).toBeLessThanOrEqual(3 * 12);
    expect(harbour.tries).toBeGreaterThanOrEqual(3 * 9);

    harbour.away.delete('nas');
    await vi.advanceTimersByTimeAsync(HOUR_MS + GIVE_UP_MS + WORK_MS);
    // Each once, with all that came together; who has waited longest comes first, as queue.test.ts shows.
    expect([...harbour.delivered].sort()).toEqual(['first 16', 'second 16', 'third 16']);
    expect(['first', 'second', 'third'].map((name) => harbour.doing(name))).toEqual(['idle', 'idle', 'idle']);
    expect(vi.getTimerCount()).toBe(0);

    // And waits are short again.
    harbour.away.add('nas');
    harbour.change('second');
    await vi.advanceTimersByTimeAsync(GIVE_UP_MS);
    harbour.away.delete('nas');
    await vi.advanceTimersByTimeAsync(5 * MINUTE_MS + WORK_MS);
    expect(harbour.delivered.slice(3)).toEqual(['second 1']);
  });

  test('holds up no job for another server, though there is one slot', async () => {
    const harbour = new Harbour(1);
    harbour.job('dead 1', 'nas');
    harbour.job('dead 2', 'nas');
    harbour.job('alive', 'web');
    harbour.away.add('nas');
    for (let hour = 0; hour < 6; hour += 1) {
      for (const name of ['dead 1', 'dead 2', 'alive']) harbour.change(name);
      await vi.advanceTimersByTimeAsync(WORK_MS);
      expect(harbour.delivered).toHaveLength(hour + 1);
      await vi.advanceTimersByTimeAsync(HOUR_MS - WORK_MS);
    }
    expect(new Set(harbour.delivered)).toEqual(new Set(['alive 1']));
    harbour.away.delete('nas');
    await vi.advanceTimersByTimeAsync(HOUR_MS + GIVE_UP_MS + 2 * WORK_MS);
    expect(harbour.delivered.slice(6)).toEqual(['dead 1 6', 'dead 2 6']);
    expect(vi.getTimerCount()).toBe(0);
  });
});
