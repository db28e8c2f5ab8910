/*
 * Slots: never more at once than there are, first come, first served, and given back whatever happens.
 */
import { expect, test } from 'vitest';
import { type Slot, Slots } from '../../src/daemon/slots.js';

/** Work that ends when it is told to. */
function work(): { readonly done: Promise<void>; end(): void; fail(): void } {
  let end = (): void => {};
  let fail = (): void => {};
  const done = new Promise<void>((resolve, reject) => {
    end = resolve;
    fail = () => reject(new Error('broken'));
  });
  return { done, end: () => end(), fail: () => fail() };
}

/** Lets everything happen that waits for nothing but a promise. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('no more at once than there are slots, and the order is the order of asking', async () => {
  const slots = new Slots(2);
  const works = Array.from({ length: 6 }, work);
  const began: number[] = [];
  const all = works.map((one, place) =>
    slots.use(() => {
      began.push(place);
      return one.done;
    }),
  );
  await settled();
  expect(began).toEqual([0, 1]);
  works[1]?.end();
  await settled();
  expect(began).toEqual([0, 1, 2]);
  works[0]?.end();
  works[2]?.end();
  await settled();
  expect(began).toEqual([0, 1, 2, 3, 4]);
  for (const one of works) one.end();
  await Promise.all(all);
  expect(began).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a job that asks again and again cannot keep the others out', async () => {
  const slots = new Slots(1);
  const began: string[] = [];
  const again = async (left: number): Promise<void> => {
    if (left === 0) return;
    await slots.use(async () => {
      began.push('greedy');
    });
    await again(left - 1);
  };
  const first = work();
  const busy = slots.use(() => first.done);
  const greedy = again(3);
  const modest = slots.use(async () => {
    began.push('modest');
  });
  first.end();
  await Promise.all([busy, greedy, modest]);
  expect(began).toEqual(['greedy', 'modest', 'greedy', 'greedy']);
});

test('a slot is given back where the work fails, and hands on what the work gives', async () => {
  const slots = new Slots(1);
  const broken = work();
  const first = slots.use(() => broken.done);
  const second = slots.use(async () => 'second');
  broken.fail();
  await expect(first).rejects.toThrow('broken');
  expect(await second).toBe('second');
  expect(await slots.use(async () => 'third')).toBe('third');
});

test('a slot that is handed on is not free besides', async () => {
  const slots = new Slots(1);
  const works = Array.from({ length: 3 }, work);
  const began: number[] = [];
  const ask = (place: number): Promise<void> =>
    slots.use(() => {
      began.push(place);
      return works[place]?.done ?? Promise.resolve();
    });
  const first = ask(0);
  const second = ask(1);
  works[0]?.end();
  await first;
  await settled();
  expect(began).toEqual([0, 1]);
  const third = ask(2);
  await settled();
  expect(began).toEqual([0, 1]);
  works[1]?.end();
  works[2]?.end();
  await Promise.all([second, third]);
  expect(began).toEqual([0, 1, 2]);
});

test('a slot that is lent lets another begin; reclaimed, it counts again', async () => {
  const slots = new Slots(1);
  const works = Array.from({ length: 3 }, work);
  const held: Slot[] = [];
  const all = works.map((one) =>
    slots.use((slot) => {
      held.push(slot);
      return one.done;
    }),
  );
  await settled();
  expect(held).toHaveLength(1);
  held[0]?.lend();
  held[0]?.lend();
  await settled();
  expect(held).toHaveLength(2);
  // Both go on now: the third has to wait until both have ended.
  held[0]?.reclaim();
  held[0]?.reclaim();
  works[1]?.end();
  await settled();
  expect(held).toHaveLength(2);
  works[0]?.end();
  await settled();
  expect(held).toHaveLength(3);
  works[2]?.end();
  await Promise.all(all);
});

test('a run that ends while its slot is lent gives nothing back twice', async () => {
  const slots = new Slots(1);
  const lender = work();
  const others = Array.from({ length: 2 }, work);
  const began: number[] = [];
  const first = slots.use((slot) => {
    slot.lend();
    return lender.done;
  });
  const rest = others.map((one, place) =>
    slots.use(() => {
      began.push(place);
      return one.done;
    }),
  );
  await settled();
  lender.end();
  await first;
  await settled();
  expect(began).toEqual([0]);
  for (const one of others) one.end();
  await Promise.all(rest);
});

test('more slots let those that wait begin, fewer end nothing', async () => {
  const slots = new Slots(1);
  const works = Array.from({ length: 4 }, work);
  const began: number[] = [];
  const all = works.map((one, place) =>
    slots.use(() => {
      began.push(place);
      return one.done;
    }),
  );
  slots.resize(3);
  await settled();
  expect(began).toEqual([0, 1, 2]);
  slots.resize(1);
  works[0]?.end();
  works[1]?.end();
  await settled();
  expect(began).toEqual([0, 1, 2]);
  works[2]?.end();
  await settled();
  expect(began).toEqual([0, 1, 2, 3]);
  works[3]?.end();
  await Promise.all(all);
});
