import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GroupCommit } from '../../src/ledger/commit.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function make(limit = 3) {
  const committed: number[][] = [];
  const heard: unknown[] = [];
  const fault: { error: Error | undefined } = { error: undefined };
  const group = new GroupCommit<number>({
    commit: (changes) => {
      if (fault.error !== undefined) throw fault.error;
      committed.push([...changes]);
    },
    limit,
    delayMs: 50,
    onFailure: (error) => heard.push(error),
  });
  return { group, committed, heard, fault };
}

describe('group commit', () => {
  it('commits what came together once, 50 ms after the first', () => {
    const { group, committed } = make();
    group.add(1);
    vi.advanceTimersByTime(30);
    group.add(2);
    vi.advanceTimersByTime(19);
    expect(committed).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(committed).toEqual([[1, 2]]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('commits at the limit without waiting, and leaves no timer', () => {
    const { group, committed } = make(3);
    for (const change of [1, 2, 3, 4]) group.add(change);
    expect(committed).toEqual([[1, 2, 3]]);
    expect(group.pending).toBe(1);
    expect(vi.getTimerCount()).toBe(1);
    group.flush();
    expect(committed).toEqual([[1, 2, 3], [4]]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not commit nothing', () => {
    const { group, committed } = make();
    group.flush();
    expect(committed).toEqual([]);
  });

  it('keeps a failure of the timer, tells it once, throws it at the next change and loses nothing', () => {
    const { group, committed, heard, fault } = make();
    group.add(1);
    fault.error = new Error('full');
    vi.advanceTimersByTime(50);
    expect(heard).toEqual([fault.error]);
    expect(() => group.add(2)).toThrow('full');
    expect(() => group.flush()).toThrow('full');
    expect(heard).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);

    fault.error = undefined;
    expect(() => group.add(2)).toThrow('full');
    group.flush();
    expect(committed).toEqual([[1]]);
    group.add(3);
    vi.advanceTimersByTime(50);
    expect(committed).toEqual([[1], [3]]);
  });

  it('stays bounded while commits fail', () => {
    const { group, heard, fault } = make(3);
    fault.error = new Error('full');
    for (const change of [1, 2, 3]) group.add(change);
    expect(heard).toHaveLength(1);
    expect(() => group.add(4)).toThrow('full');
    expect(group.pending).toBe(3);
  });
});
