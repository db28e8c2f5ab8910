import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Crew, type Result } from '../../src/run/crew.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  // Whatever a test did, no timer is left to keep a process alive.
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** Lets everything happen that waits for nothing but promises. */
async function settled(): Promise<void> {
  for (let i = 0; i < 100; i += 1) await Promise.resolve();
}

/** Work that a test ends by hand. */
class Bench {
  readonly begun: string[] = [];
  readonly #open = new Map<
    string,
    { resolve: (result: Result<string>) => void; reject: (e: Error) => void }
  >();

  readonly work = (item: string): Promise<Result<string>> => {
    this.begun.push(item);
    return new Promise((resolve, reject) => this.#open.set(item, { resolve, reject }));
  };

  get inHand(): string[] {
    return [...this.#open.keys()];
  }

  async end(item: string, how: Result<string> | Error = 'done'): Promise<void> {
    const open = this.#open.get(item);
    if (open === undefined) throw new Error(`nobody works on ${item}`);
    this.#open.delete(item);
    if (how instanceof Error) open.reject(how);
    else open.resolve(how);
    await settled();
  }
}

function crewOf(bench: Bench, options: { workers?: number; capacity?: number; stop?: AbortSignal } = {}) {
  const { workers = 1, capacity = 100, stop } = options;
  return new Crew<string>({ workers, capacity, work: bench.work, stop });
}

describe('the queue', () => {
  it('is bounded: more have to wait outside', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { workers: 2, capacity: 3 });
    let added = 0;
    const adding = (async () => {
      for (const item of 'abcdefgh') {
        await crew.add([item]);
        added += 1;
      }
    })();
    await settled();
    expect(bench.begun).toEqual(['a', 'b']);
    expect(added).toBe(5);
    await bench.end('a');
    expect(added).toBe(6);
    for (const item of 'bcdefgh') await bench.end(item);
    await adding;
    await crew.finish();
    expect(bench.begun.join('')).toBe('abcdefgh');
  });

  it('counts what waits for its next attempt', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { workers: 1, capacity: 2 });
    await crew.add(['a', 'b']);
    await settled();
    await bench.end('a', { again: 'a2', inMs: 1_000 });
    await bench.end('b', { again: 'b2', inMs: 1_000 });
    let added = false;
    const adding = crew.add(['c']).then(() => {
      added = true;
    });
    await settled();
    expect(added).toBe(false);
    await vi.advanceTimersByTimeAsync(1_000);
    await adding;
    for (const item of ['a2', 'b2', 'c']) await bench.end(item);
    await crew.finish();
  });
});

describe('what is tried again', () => {
  it('keeps no worker while it waits', async () => {
    const bench = new Bench();
    const crew = crewOf(bench);
    await crew.add(['a', 'b', 'c']);
    await settled();
    await bench.end('a', { again: 'a2', inMs: 1_000 });
    expect(bench.inHand).toEqual(['b']);
    await vi.advanceTimersByTimeAsync(999);
    await bench.end('b');
    expect(bench.inHand).toEqual(['c']);
    await vi.advanceTimersByTimeAsync(1);
    await bench.end('c');
    expect(bench.inHand).toEqual(['a2']);
    await bench.end('a2');
    await crew.finish();
    expect(bench.begun).toEqual(['a', 'b', 'c', 'a2']);
  });

  it('comes in the order of its time, before what was never tried', async () => {
    const bench = new Bench();
    const crew = crewOf(bench);
    await crew.add(['a', 'b', 'c', 'd']);
    await settled();
    await bench.end('a', { again: 'late', inMs: 2_000 });
    await bench.end('b', { again: 'early', inMs: 1_000 });
    await vi.advanceTimersByTimeAsync(3_000);
    await bench.end('c');
    await bench.end('early');
    await bench.end('late');
    await bench.end('d');
    await crew.finish();
    expect(bench.begun).toEqual(['a', 'b', 'c', 'early', 'late', 'd']);
  });

  it('needs no timer once it is due and only waits for a worker', async () => {
    const bench = new Bench();
    const crew = crewOf(bench);
    await crew.add(['a', 'long']);
    await settled();
    await bench.end('a', { again: 'a2', inMs: 10 });
    await vi.advanceTimersByTimeAsync(10);
    expect(bench.inHand).toEqual(['long']);
    expect(vi.getTimerCount()).toBe(0);
    await bench.end('long');
    expect(bench.inHand).toEqual(['a2']);
    await bench.end('a2');
    await crew.finish();
  });

  it('is waited for at the end', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { workers: 3 });
    await crew.add(['a']);
    let finished = false;
    const finishing = crew.finish().then(() => {
      finished = true;
    });
    await settled();
    await bench.end('a', { again: 'a2', inMs: 60_000 });
    await vi.advanceTimersByTimeAsync(59_999);
    expect(finished).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await bench.end('a2');
    await finishing;
  });
});

describe('the end', () => {
  it('of a crew without work comes at once', async () => {
    await crewOf(new Bench(), { workers: 4 }).finish();
  });

  it('comes with the first error; the queue is dropped, what is in hand is waited for', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { workers: 2 });
    await crew.add(['a', 'b', 'c']);
    const finishing = crew.finish();
    const outcome = finishing.then(
      () => 'fine',
      (error: Error) => error.message,
    );
    await settled();
    await bench.end('a', new Error('first'));
    expect(crew.ended).toBe(true);
    expect(await Promise.race([outcome, settled().then(() => 'still at work')])).toBe('still at work');
    await bench.end('b', new Error('second'));
    expect(await outcome).toBe('first');
    expect(bench.begun).toEqual(['a', 'b']);
    await crew.add(['d']);
    await settled();
    expect(bench.begun).toEqual(['a', 'b']);
  });

  it('drops what was to be tried again', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { workers: 2 });
    await crew.add(['a', 'b']);
    await settled();
    await bench.end('a', { again: 'a2', inMs: 60_000 });
    expect(vi.getTimerCount()).toBe(1);
    await bench.end('b', new Error('over'));
    await expect(crew.finish()).rejects.toThrow('over');
    expect(bench.begun).toEqual(['a', 'b']);
  });

  it('lets go of those that wait for room', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { capacity: 1 });
    const adding = crew.add(['a', 'b', 'c', 'd']);
    await settled();
    await bench.end('a', new Error('over'));
    await adding;
    await expect(crew.finish()).rejects.toThrow('over');
  });

  it('can be called for: what is in hand is brought to its end and not tried again', async () => {
    const bench = new Bench();
    const crew = crewOf(bench);
    await crew.add(['a', 'b']);
    await settled();
    const abandoning = crew.abandon();
    await bench.end('a', { again: 'a2', inMs: 1 });
    await abandoning;
    expect(bench.begun).toEqual(['a']);
  });
});

describe('a stop', () => {
  it('begins nothing more, and lets what is in hand end', async () => {
    const bench = new Bench();
    const stop = new AbortController();
    const crew = crewOf(bench, { workers: 2, stop: stop.signal });
    await crew.add(['a', 'b', 'c']);
    await settled();
    stop.abort();
    expect(crew.ended).toBe(true);
    const finishing = crew.finish();
    await bench.end('a');
    await bench.end('b', { again: 'b2', inMs: 1 });
    await finishing;
    expect(bench.begun).toEqual(['a', 'b']);
  });

  it('before the beginning begins nothing', async () => {
    const bench = new Bench();
    const crew = crewOf(bench, { stop: AbortSignal.abort() });
    await crew.add(['a']);
    await crew.finish();
    expect(bench.begun).toEqual([]);
  });

  it('leaves no listener behind', async () => {
    const stop = new AbortController();
    const remove = vi.spyOn(stop.signal, 'removeEventListener');
    const add = vi.spyOn(stop.signal, 'addEventListener');
    await crewOf(new Bench(), { stop: stop.signal }).finish();
    expect(remove.mock.calls.length).toBeGreaterThanOrEqual(add.mock.calls.length);
  });
});

it('works on everything as often as asked, never on more at once than it has workers', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 3 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 8 }),
      async (plans, workers, capacity) => {
        let atOnce = 0;
        let most = 0;
        const times = plans.map(() => 0);
        const crew = new Crew<{ place: number; delays: readonly number[] }>({
          workers,
          capacity,
          stop: undefined,
          work: async ({ place, delays }) => {
            atOnce += 1;
            most = Math.max(most, atOnce);
            times[place] = (times[place] ?? 0) + 1;
            await new Promise((resolve) => setTimeout(resolve, place % 7));
            atOnce -= 1;
            const [inMs, ...rest] = delays;
            return inMs === undefined ? 'done' : { again: { place, delays: rest }, inMs };
          },
        });
        const all = crew.add(plans.map((delays, place) => ({ place, delays }))).then(() => crew.finish());
        let over = false;
        void all.then(() => {
          over = true;
        });
        for (let i = 0; i < 10_000 && !over; i += 1) await vi.advanceTimersByTimeAsync(1);
        await all;
        expect(times).toEqual(plans.map((delays) => delays.length + 1));
        expect(most).toBeLessThanOrEqual(workers);
      },
    ),
    { numRuns: 40 },
  );
});
