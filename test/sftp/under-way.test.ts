import { describe, expect, it } from 'vitest';
import { UnderWay } from '../../src/sftp/under-way.js';

interface One {
  readonly id: number;
}

function begun(some: UnderWay<One>): One {
  const one = { id: some.freeId() };
  some.add(one);
  return one;
}

describe('requests that are under way', () => {
  it('are found by their ids, which are never given twice', () => {
    const some = new UnderWay<One>();
    const all = Array.from({ length: 1_000 }, () => begun(some));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1_000);
    expect(all.every((one) => some.get(one.id) === one)).toBe(true);
    expect(some.size).toBe(1_000);
    for (const one of all) some.delete(one);
    expect(some.size).toBe(0);
    expect(some.get(all[5]?.id ?? 0)).toBeUndefined();
    expect(begun(some).id).toBe(1_001);
  });

  it('are known by age, whoever else comes and goes', () => {
    const some = new UnderWay<One>();
    const first = begun(some);
    const second = begun(some);
    for (let count = 0; count < 10_000; count += 1) some.delete(begun(some));
    const last = begun(some);
    expect(some.oldest()).toBe(first);
    expect(some.all()).toEqual([first, second, last]);
    some.delete(first);
    expect(some.oldest()).toBe(second);
    some.delete(second);
    expect(some.oldest()).toBe(last);
    some.delete(last);
    expect(some.oldest()).toBeUndefined();
  });

  it('do not hear what is said to another one in their place', () => {
    const some = new UnderWay<One>();
    const lost = begun(some);
    for (let count = 0; count < 300; count += 1) {
      const other = begun(some);
      expect(other.id % 64).not.toBe(lost.id);
      some.delete(other);
    }
    expect(some.get(lost.id + 64)).toBeUndefined();
    expect(some.get(lost.id)).toBe(lost);
  });
});
