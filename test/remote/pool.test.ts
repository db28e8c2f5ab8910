/*
 * The pool with connections that are nothing but names: what is lent, shared, refused, dropped and closed, and when.
 * Time is faked where minutes have to pass.
 */
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Pool, type Pooled, type PoolOptions } from '../../src/remote/pool.js';

class Connection implements Pooled {
  usable = true;
  ended: 'closed' | 'reset' | undefined;
  readonly name: number;

  constructor(name: number) {
    this.name = name;
  }

  async close(): Promise<void> {
    this.usable = false;
    this.ended ??= 'closed';
  }

  reset(): void {
    this.usable = false;
    this.ended ??= 'reset';
  }
}

/** Something that a test lets happen when it wants. */
function gate<T = void>(): {
  promise: Promise<T>;
  open: (value: T) => void;
  fail: (reason: unknown) => void;
} {
  let open: (value: T) => void = () => {};
  let fail: (reason: unknown) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

const tooMany = new Error('421 too many');

function harness(options: Partial<PoolOptions<Connection>> = {}) {
  const made: Connection[] = [];
  const shrunk: number[] = [];
  const pool = new Pool<Connection>({
    limit: 3,
    open: async () => {
      const connection = new Connection(made.length + 1);
      made.push(connection);
      return connection;
    },
    isTooMany: (error) => error === tooMany,
    onCeiling: (connections) => shrunk.push(connections),
    ...options,
  });
  /** Borrows a connection until it is given back. */
  const borrow = (signal?: AbortSignal, places?: number) => {
    const lent = gate<Connection>();
    const hold = gate();
    const work = async (connection: Connection): Promise<number> => {
      lent.open(connection);
      await hold.promise;
      return connection.name;
    };
    const done = pool.use(signal, work, places);
    done.catch(lent.fail);
    lent.promise.catch(() => {});
    return { lent: lent.promise, giveBack: () => hold.open(), done };
  };
  return { pool, made, shrunk, borrow };
}

/** Lets everything that can go on do so. */
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('lending', () => {
  test('one after the other share one connection', async () => {
    const { pool, made } = harness();
    for (let round = 0; round < 10; round += 1)
      expect(await pool.use(undefined, async ({ name }) => name)).toBe(1);
    expect(made).toHaveLength(1);
    await pool.close();
  });

  test('at the same time there are as many as the limit allows, and never more', async () => {
    const { pool, made } = harness();
    let busy = 0;
    let peak = 0;
    const users = Array.from({ length: 20 }, () =>
      pool.use(undefined, async () => {
        busy += 1;
        peak = Math.max(peak, busy);
        await Promise.resolve();
        await Promise.resolve();
        busy -= 1;
      }),
    );
    await Promise.all(users);
    expect(peak).toBe(3);
    expect(made).toHaveLength(3);
    await pool.close();
  });

  test('nobody holds a connection that another one has', async () => {
    const { pool } = harness();
    const held = new Set<Connection>();
    await Promise.all(
      Array.from({ length: 50 }, () =>
        pool.use(undefined, async (connection) => {
          expect(held.has(connection)).toBe(false);
          held.add(connection);
          await settle();
          held.delete(connection);
        }),
      ),
    );
    await pool.close();
  });

  test('an error of the work passes through, and the connection is lent again', async () => {
    const { pool, made } = harness();
    const reason = new Error('550');
    await expect(pool.use(undefined, () => Promise.reject(reason))).rejects.toBe(reason);
    await pool.use(undefined, async () => {});
    expect(made).toHaveLength(1);
    await pool.close();
  });

  test('a broken connection is replaced', async () => {
    const { pool, made } = harness({ limit: 1 });
    await pool.use(undefined, async (connection) => {
      connection.usable = false;
    });
    expect(await pool.use(undefined, async ({ name }) => name)).toBe(2);
    expect(made[0]?.ended).toBe('reset');
    await pool.close();
  });

  test('one that broke while it was idle is replaced too', async () => {
    const { pool, made } = harness({ limit: 1 });
    await pool.use(undefined, async () => {});
    if (made[0] !== undefined) made[0].usable = false;
    expect(await pool.use(undefined, async ({ name }) => name)).toBe(2);
    await pool.close();
  });

  test('a broken one makes room for those who wait', async () => {
    const { pool, borrow } = harness({ limit: 1 });
    const first = borrow();
    const second = borrow();
    (await first.lent).usable = false;
    first.giveBack();
    expect((await second.lent).name).toBe(2);
    second.giveBack();
    await second.done;
    await pool.close();
  });

  test('an opening that fails is told to the one who asked, and the others go on', async () => {
    const refused = new Error('ECONNREFUSED');
    let count = 0;
    const { pool } = harness({
      limit: 1,
      open: async () => {
        count += 1;
        if (count === 1) throw refused;
        return new Connection(count);
      },
    });
    const first = pool.use(undefined, async ({ name }) => name);
    const second = pool.use(undefined, async ({ name }) => name);
    await expect(first).rejects.toBe(refused);
    expect(await second).toBe(2);
    await pool.close();
  });
});

describe('idle connections', () => {
  test('are closed in good order after 30 seconds, and not before', async () => {
    const { pool, made } = harness();
    await pool.use(undefined, async () => {});
    await vi.advanceTimersByTimeAsync(29_999);
    expect(made[0]?.ended).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(made[0]?.ended).toBe('closed');
    expect(await pool.use(undefined, async ({ name }) => name)).toBe(2);
    await pool.close();
  });

  test('one that is used again begins its 30 seconds anew', async () => {
    const { pool, made } = harness();
    for (let round = 0; round < 5; round += 1) {
      await pool.use(undefined, async () => {});
      await vi.advanceTimersByTimeAsync(20_000);
    }
    expect(made).toHaveLength(1);
    expect(made[0]?.ended).toBeUndefined();
    await pool.close();
  });

  test('one that is being closed counts until it is gone', async () => {
    const goodbye = gate();
    let open = 0;
    let peak = 0;
    const { pool } = harness({
      limit: 1,
      open: async () => {
        open += 1;
        peak = Math.max(peak, open);
        const connection = new Connection(open);
        connection.close = async () => {
          await goodbye.promise;
          open -= 1;
        };
        return connection;
      },
    });
    await pool.use(undefined, async () => {});
    await vi.advanceTimersByTimeAsync(30_000);
    const next = pool.use(undefined, async () => 'done');
    await settle();
    expect(open).toBe(1);
    goodbye.open();
    expect(await next).toBe('done');
    expect(peak).toBe(1);
    await pool.close();
  });
});

describe('a server with too many connections', () => {
  function limited(allowed: number) {
    const state = { allowed, open: 0, asked: 0 };
    const parts = harness({
      limit: 4,
      open: async () => {
        state.asked += 1;
        if (state.open >= state.allowed) throw tooMany;
        state.open += 1;
        const connection = new Connection(state.open);
        const { close, reset } = connection;
        const gone = () => {
          if (connection.ended === undefined) state.open -= 1;
        };
        connection.close = () => {
          gone();
          return close.call(connection);
        };
        connection.reset = () => {
          gone();
          reset.call(connection);
        };
        return connection;
      },
    });
    return { ...parts, state };
  }

  test('the pool shrinks to what there is, and the work is done all the same', async () => {
    const { pool, shrunk, state } = limited(2);
    const users = Array.from({ length: 12 }, (_, place) =>
      pool.use(undefined, async () => {
        await settle();
        return place;
      }),
    );
    expect(await Promise.all(users)).toHaveLength(12);
    expect(shrunk.at(-1)).toBe(2);
    expect(state.open).toBe(2);
    await pool.close();
  });

  test('all may ask at once: as long as one connection is being made, nobody fails', async () => {
    const login = gate();
    let count = 0;
    const { pool, shrunk } = harness({
      limit: 4,
      open: async () => {
        count += 1;
        const name = count;
        if (name > 1) throw tooMany;
        // The refusals come before the first one's login is through.
        await login.promise;
        return new Connection(name);
      },
    });
    const users = Array.from({ length: 4 }, () => pool.use(undefined, async ({ name }) => name));
    await settle();
    login.open();
    expect(await Promise.all(users)).toEqual([1, 1, 1, 1]);
    expect(shrunk.at(-1)).toBe(1);
    await pool.close();
  });

  test('with none of ours standing it is the caller’s failure', async () => {
    const { pool } = limited(0);
    await expect(pool.use(undefined, async () => {})).rejects.toBe(tooMany);
    await pool.close();
  });

  test('one of ours was reset a moment ago: the server is asked again until it has noticed', async () => {
    const { pool, state } = limited(1);
    await pool.use(undefined, async (connection) => {
      connection.usable = false;
    });
    // The server still counts the one that was reset.
    state.allowed = 0;
    const next = pool.use(undefined, async () => 'done');
    await vi.advanceTimersByTimeAsync(1_000);
    state.allowed = 1;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await next).toBe('done');
    expect(state.asked).toBeLessThan(8);
    await pool.close();
  });

  test('and where it never does, its word is taken after three seconds', async () => {
    const { pool, state } = limited(1);
    await pool.use(undefined, async (connection) => {
      connection.usable = false;
    });
    state.allowed = 0;
    const outcome = expect(pool.use(undefined, async () => {})).rejects.toBe(tooMany);
    await vi.advanceTimersByTimeAsync(4_000);
    await outcome;
    expect(state.asked).toBeLessThan(15);
    expect(vi.getTimerCount()).toBe(0);
    await pool.close();
  });

  test('an abort or a close ends that wait at once', async () => {
    const { pool, state } = limited(1);
    await pool.use(undefined, async (connection) => {
      connection.usable = false;
    });
    state.allowed = 0;
    const controller = new AbortController();
    const aborted = expect(pool.use(controller.signal, async () => {})).rejects.toThrow('stopped');
    const closed = expect(pool.use(undefined, async () => {})).rejects.toThrow();
    await settle();
    controller.abort(new Error('stopped'));
    await aborted;
    await pool.close();
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('it grows again by one a minute, up to its limit', async () => {
    const { pool, borrow, state } = limited(1);
    const most = async (): Promise<number> => {
      const users = Array.from({ length: 6 }, () => borrow());
      await settle();
      const { open } = state;
      for (const user of users) user.giveBack();
      await Promise.all(users.map((user) => user.done));
      return open;
    };
    expect(await most()).toBe(1);
    state.allowed = 10;
    expect(await most()).toBe(1);
    const seen: number[] = [];
    for (let minute = 0; minute < 5; minute += 1) {
      // The connections are kept from falling idle for too long.
      for (let part = 0; part < 3; part += 1) {
        await vi.advanceTimersByTimeAsync(20_001);
        if (part < 2) {
          const users = Array.from({ length: state.open }, () => borrow());
          await settle();
          for (const user of users) user.giveBack();
          await Promise.all(users.map((user) => user.done));
        }
      }
      seen.push(await most());
    }
    expect(seen).toEqual([2, 3, 4, 4, 4]);
    await pool.close();
  });
});

describe('aborts', () => {
  test('before: nothing is opened', async () => {
    const { pool, made } = harness();
    const reason = new Error('stopped');
    await expect(pool.use(AbortSignal.abort(reason), async () => {})).rejects.toBe(reason);
    expect(made).toEqual([]);
  });

  test('a waiter leaves at once, and the others keep their turn', async () => {
    const { pool, borrow } = harness({ limit: 1 });
    const controller = new AbortController();
    const first = borrow();
    await first.lent;
    const second = borrow(controller.signal);
    const third = borrow();
    await settle();
    controller.abort(new Error('stopped'));
    await expect(second.done).rejects.toThrow('stopped');
    first.giveBack();
    expect((await third.lent).name).toBe(1);
    third.giveBack();
    await third.done;
    await pool.close();
  });

  test('one that is called and gives up in the same moment passes the call on', async () => {
    const { pool, borrow } = harness({ limit: 1 });
    const controller = new AbortController();
    const first = borrow();
    await first.lent;
    const second = borrow(controller.signal);
    const third = borrow();
    await settle();
    // The call goes to the second, who is gone before it can hear it.
    const given = pool.use(undefined, async () => {}).catch(() => {});
    first.giveBack();
    await first.done;
    controller.abort(new Error('stopped'));
    await expect(second.done).rejects.toThrow('stopped');
    await third.lent;
    third.giveBack();
    await Promise.all([third.done, given]);
    await pool.close();
  });

  test('a caller who gives up while a connection is opened leaves it to the next', async () => {
    const opened = gate<Connection>();
    let count = 0;
    const { pool } = harness({
      open: () => {
        count += 1;
        return opened.promise;
      },
    });
    const controller = new AbortController();
    const first = pool.use(controller.signal, async () => {});
    await settle();
    controller.abort(new Error('stopped'));
    await expect(first).rejects.toThrow('stopped');
    opened.open(new Connection(1));
    await settle();
    expect(await pool.use(undefined, async ({ name }) => name)).toBe(1);
    expect(count).toBe(1);
    await pool.close();
  });

  test('and where that opening fails, there is room again', async () => {
    const opened = gate<Connection>();
    let count = 0;
    const { pool } = harness({
      limit: 1,
      open: async () => {
        count += 1;
        return count === 1 ? opened.promise : new Connection(count);
      },
    });
    const controller = new AbortController();
    const first = pool.use(controller.signal, async () => {});
    const second = pool.use(undefined, async ({ name }) => name);
    await settle();
    controller.abort(new Error('stopped'));
    await expect(first).rejects.toThrow('stopped');
    opened.fail(new Error('refused'));
    expect(await second).toBe(2);
    await pool.close();
  });

  test('no listener stays with the signal', async () => {
    const { pool, borrow } = harness({ limit: 1 });
    const { signal } = new AbortController();
    const users = Array.from({ length: 5 }, () => borrow(signal));
    for (const user of users) user.giveBack();
    await Promise.all(users.map((user) => user.done));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await pool.close();
  });
});

describe('close', () => {
  test('says goodbye to the idle and resets the busy', async () => {
    const { pool, made, borrow } = harness();
    const [busy, idle] = [borrow(), borrow()];
    await Promise.all([busy.lent, idle.lent]);
    idle.giveBack();
    await idle.done;
    await pool.close();
    expect(made.map(({ ended }) => ended)).toEqual(['reset', 'closed']);
    busy.giveBack();
    await busy.done;
    await expect(pool.use(undefined, async () => {})).rejects.toThrow('closed');
    expect(made).toHaveLength(2);
  });

  test('turns those away who wait', async () => {
    const { pool, borrow } = harness({ limit: 1 });
    const busy = borrow();
    await busy.lent;
    const waiting = [borrow(), borrow(), borrow()];
    await settle();
    await pool.close();
    for (const waiter of waiting) await expect(waiter.done).rejects.toThrow('closed');
    busy.giveBack();
    await busy.done;
  });

  test('leaves no timer behind', async () => {
    const { pool, made } = harness();
    await pool.use(undefined, async () => {});
    expect(vi.getTimerCount()).toBe(1);
    await pool.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(made[0]?.ended).toBe('closed');
  });

  test('ends what is being opened, and waits for that', async () => {
    let ended = false;
    const { pool } = harness({
      open: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            ended = true;
            reject(new Error('not wanted any more'));
          });
        }),
    });
    const user = pool.use(undefined, async () => {});
    const outcome = expect(user).rejects.toThrow('not wanted any more');
    await settle();
    await pool.close();
    expect(ended).toBe(true);
    await outcome;
  });

  test('resets a connection that comes all the same', async () => {
    const opened = gate<Connection>();
    const { pool } = harness({ open: () => opened.promise });
    const user = pool.use(undefined, async () => {});
    const outcome = expect(user).rejects.toThrow('closed');
    await settle();
    const closing = pool.close();
    const connection = new Connection(1);
    opened.open(connection);
    await closing;
    await outcome;
    expect(connection.ended).toBe('reset');
  });

  test('waits for goodbyes under way', async () => {
    const goodbye = gate();
    const { pool, made } = harness();
    await pool.use(undefined, async () => {});
    const [connection] = made;
    if (connection !== undefined) connection.close = () => goodbye.promise;
    await vi.advanceTimersByTimeAsync(30_000);
    let closed = false;
    const closing = pool.close().then(() => {
      closed = true;
    });
    await settle();
    expect(closed).toBe(false);
    goodbye.open();
    await closing;
  });
});

test('however many wait on one signal, it is no leak, and none is left behind', async () => {
  const warnings: string[] = [];
  const hear = (warning: Error): void => void warnings.push(warning.name);
  process.on('warning', hear);
  try {
    const { pool, borrow } = harness();
    const { signal } = new AbortController();
    const borrowed = Array.from({ length: 30 }, () => borrow(signal));
    for (const { lent, giveBack, done } of borrowed) {
      await lent;
      giveBack();
      await done;
    }
    // A warning is told in a turn of its own.
    vi.useRealTimers();
    await new Promise((turn) => setImmediate(turn));
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await pool.close();
  } finally {
    process.off('warning', hear);
  }
});

describe('a connection that several share', () => {
  test('has as many users as it can, and only then another one is opened', async () => {
    const { pool, made, borrow } = harness({ share: 3 });
    const users = Array.from({ length: 7 }, () => borrow());
    const lent = await Promise.all(users.map((user) => user.lent));
    expect(lent.map(({ name }) => name)).toEqual([1, 1, 1, 2, 2, 2, 3]);
    expect(made).toHaveLength(3);
    for (const user of users) user.giveBack();
    await Promise.all(users.map((user) => user.done));
    await pool.close();
  });

  test('is full sooner with users who take several places, and one may take all of it', async () => {
    const { pool, made, borrow } = harness({ share: 4, limit: 2 });
    const first = [3, 2, 1].map((places) => borrow(undefined, places));
    const names = await Promise.all(first.map(async ({ lent }) => (await lent).name));
    expect(names).toEqual([1, 2, 1]);
    const whole = borrow(undefined, 9);
    const behind = borrow(undefined, 1);
    await settle();
    expect(pool.wanted).toBe(true);
    // What waits behind somebody who needs more waits as well: else he might wait for ever.
    first[1]?.giveBack();
    expect((await whole.lent).name).toBe(2);
    first[0]?.giveBack();
    expect((await behind.lent).name).toBe(1);
    for (const user of [...first, whole, behind]) user.giveBack();
    await Promise.all([...first, whole, behind].map((user) => user.done));
    expect(made).toHaveLength(2);
    await pool.close();
  });

  test('the one with the fewest users is lent first', async () => {
    const { pool, borrow } = harness({ share: 2 });
    const [a, b, c, d] = [borrow(), borrow(), borrow(), borrow()];
    await Promise.all([a, b, c, d].map((user) => user.lent));
    b.giveBack();
    c.giveBack();
    d.giveBack();
    await Promise.all([b.done, c.done, d.done]);
    // The first has one user left, the second none.
    const next = [borrow(), borrow(), borrow()];
    const names = await Promise.all(next.map(async ({ lent }) => (await lent).name));
    expect(names[0]).toBe(2);
    expect(names.toSorted()).toEqual([1, 2, 2]);
    for (const user of [a, ...next]) user.giveBack();
    await Promise.all([a, ...next].map((user) => user.done));
    await pool.close();
  });

  test('those who wait for one opening hear together that it failed, and it is not tried for each of them', async () => {
    const refused = new Error('wrong password');
    let asked = 0;
    const { pool } = harness({
      share: 8,
      open: async () => {
        asked += 1;
        throw refused;
      },
    });
    const users = Array.from({ length: 8 }, () => pool.use(undefined, async () => {}));
    const ends = await Promise.allSettled(users);
    expect(ends.every((end) => end.status === 'rejected' && end.reason === refused)).toBe(true);
    expect(asked).toBe(1);
    expect(pool.connections).toBe(0);
    await pool.close();
  });

  test('the abort of one user ends only its own work', async () => {
    const { pool, made, borrow } = harness({ share: 2, limit: 1 });
    const controller = new AbortController();
    const other = borrow();
    const own = pool.use(
      controller.signal,
      () =>
        new Promise<void>((_, reject) => {
          controller.signal.addEventListener('abort', () => reject(controller.signal.reason));
        }),
    );
    await other.lent;
    await settle();
    const waiting = borrow();
    await settle();
    expect(pool.wanted).toBe(true);
    controller.abort(new Error('stopped'));
    await expect(own).rejects.toThrow('stopped');
    expect((await waiting.lent).name).toBe(1);
    expect(made[0]?.ended).toBeUndefined();
    for (const user of [other, waiting]) user.giveBack();
    expect(await other.done).toBe(1);
    await waiting.done;
    await pool.close();
  });

  test('one that broke is lent to nobody while its users end, and is gone with the last of them', async () => {
    const { pool, made, borrow } = harness({ share: 3, limit: 1 });
    const [first, second] = [borrow(), borrow()];
    (await first.lent).usable = false;
    const next = borrow();
    await settle();
    expect([made.length, pool.wanted]).toEqual([1, true]);
    first.giveBack();
    await first.done;
    expect(made[0]?.ended).toBeUndefined();
    second.giveBack();
    await second.done;
    expect(made[0]?.ended).toBe('reset');
    expect((await next.lent).name).toBe(2);
    next.giveBack();
    await next.done;
    await pool.close();
  });

  test('is idle only when the last of its users is done', async () => {
    const { pool, made, borrow } = harness({ share: 2 });
    const [first, second] = [borrow(), borrow()];
    await Promise.all([first.lent, second.lent]);
    first.giveBack();
    await first.done;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(made[0]?.ended).toBeUndefined();
    second.giveBack();
    await second.done;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(made.map(({ ended }) => ended)).toEqual(['closed']);
    await pool.close();
  });

  test('refused another one, they all go on with what stands', async () => {
    let asked = 0;
    const { pool, shrunk, borrow } = harness({
      share: 2,
      open: async () => {
        asked += 1;
        if (asked > 1) throw tooMany;
        return new Connection(asked);
      },
    });
    const users = Array.from({ length: 5 }, () => borrow());
    for (const user of users) {
      expect((await user.lent).name).toBe(1);
      user.giveBack();
      await user.done;
    }
    // Two more were asked for, because nobody knew: side by side, and never again.
    expect([asked, shrunk]).toEqual([3, [2, 1]]);
    await pool.close();
  });
});

describe('whatever happens', () => {
  type Step =
    | { readonly do: 'borrow'; readonly signal: boolean }
    | { readonly do: 'end' | 'abort' | 'break'; readonly which: number }
    | { readonly do: 'opened' | 'refused' | 'tooMany' }
    | { readonly do: 'pass'; readonly ms: number };
  const which = fc.nat(20);
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('borrow' as const), signal: fc.boolean() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('end' as const), which }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('abort' as const, 'break' as const), which }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('opened' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('refused' as const, 'tooMany' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('pass' as const),
        ms: fc.constantFrom(400, 4_000, 31_000, 61_000),
      }),
    },
  );

  interface User {
    state: 'waiting' | 'working' | 'over';
    connection: Connection | undefined;
    readonly controller: AbortController | undefined;
    readonly end: () => void;
    readonly done: Promise<unknown>;
  }

  /** Carries the steps out on a pool whose every opening a step has to answer, and looks at it after each of them. */
  async function carryOut(steps: readonly Step[], { share, limit }: { share: number; limit: number }) {
    const openings: { readonly answer: ReturnType<typeof gate<Connection>> }[] = [];
    const connections: Connection[] = [];
    const users: User[] = [];
    let begun = 0;
    const loadOf = (connection: Connection): number =>
      users.filter((user) => user.state === 'working' && user.connection === connection).length;
    const standing = (): Connection[] => connections.filter(({ ended }) => ended === undefined);
    const pool = new Pool<Connection>({
      limit,
      share,
      isTooMany: (error) => error === tooMany,
      open: (signal) => {
        begun += 1;
        const opening = { answer: gate<Connection>() };
        openings.push(opening);
        signal.addEventListener('abort', () => opening.answer.fail(new Error('closed')));
        return opening.answer.promise;
      },
    });

    const borrow = (signal: boolean): void => {
      const hold = gate();
      const controller = signal ? new AbortController() : undefined;
      controller?.signal.addEventListener('abort', () => hold.open());
      const work = pool.use(controller?.signal, async (connection) => {
        expect(connection.usable).toBe(true);
        user.connection = connection;
        user.state = 'working';
        expect(loadOf(connection)).toBeLessThanOrEqual(share);
        await hold.promise;
        user.state = 'over';
      });
      const done = work
        .catch((error: unknown) => expect([...reasons, tooMany]).toContain(error))
        .then(() => {
          user.state = 'over';
        });
      const user: User = {
        state: 'waiting',
        connection: undefined,
        controller,
        end: () => hold.open(),
        done,
      };
      users.push(user);
    };
    const stopped = new Error('stopped');
    const refused = new Error('refused');
    const reasons = [stopped, refused];

    const carry = async (now: Step): Promise<void> => {
      const pick = <T>(all: readonly T[], at: number): T | undefined => all[at % Math.max(1, all.length)];
      switch (now.do) {
        case 'borrow':
          return borrow(now.signal);
        case 'end':
          return pick(
            users.filter(({ state }) => state === 'working'),
            now.which,
          )?.end();
        case 'abort':
          return pick(
            users.filter(({ state }) => state !== 'over'),
            now.which,
          )?.controller?.abort(stopped);
        case 'break': {
          const connection = pick(standing(), now.which);
          if (connection !== undefined) connection.usable = false;
          return;
        }
        case 'opened': {
          const opening = openings.shift();
          if (opening === undefined) return;
          const connection = new Connection(connections.length + 1);
          connections.push(connection);
          return opening.answer.open(connection);
        }
        case 'refused':
          return openings.shift()?.answer.fail(refused);
        case 'tooMany':
          return openings.shift()?.answer.fail(tooMany);
        case 'pass':
          await vi.advanceTimersByTimeAsync(now.ms);
      }
    };

    for (const now of steps) {
      const before = begun;
      await carry(now);
      await settle();
      // Another one is opened only where all that stand are full.
      if (begun > before)
        for (const connection of standing()) if (connection.usable) expect(loadOf(connection)).toBe(share);
      expect(pool.connections).toBe(standing().length + openings.length);
      expect(pool.connections).toBeLessThanOrEqual(limit);
      const waiting = users.filter(({ state }) => state === 'waiting').length;
      if (waiting > openings.length * share) expect(pool.wanted).toBe(true);
      // Nobody stands in the queue while there is room, or would be with a broken one out of the way.
      const hasRoom = (connection: Connection): boolean =>
        loadOf(connection) < (connection.usable ? share : 1);
      if (pool.wanted) expect(standing().filter(hasRoom)).toEqual([]);
    }

    // Whatever came before, the pool brings everybody to an end.
    const rest = (): readonly User[] => users.filter(({ state }) => state !== 'over');
    for (let round = 0; rest().length > 0; round += 1) {
      expect(round).toBeLessThan(200);
      await carry({ do: 'opened' });
      await settle();
      for (const user of rest()) if (user.state === 'working') user.end();
      await vi.advanceTimersByTimeAsync(400);
    }
    await Promise.all(users.map(({ done }) => done));
    const closing = pool.close();
    await settle();
    await closing;
    expect(vi.getTimerCount()).toBe(0);
    expect(pool.connections).toBe(0);
    expect(standing()).toEqual([]);
  }

  test('nobody gets a broken or full connection, nobody waits while there is room, and all come to an end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom(1, 1, 2, 3),
        fc.integer({ min: 1, max: 3 }),
        async (steps, share, limit) => carryOut(steps, { share, limit }),
      ),
      { numRuns: 300 },
    );
  });
});
