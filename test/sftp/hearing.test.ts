import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { hear } from '../../src/sftp/hearing.js';

describe('many who hear of one signal', () => {
  it('have one listener on it, and the last who leaves takes it away', () => {
    const { signal } = new AbortController();
    const leave = Array.from({ length: 300 }, () => hear(signal, () => {}));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const one of leave) one();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    hear(signal, () => {})();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('are told, but for those who have left, also during the telling', () => {
    const controller = new AbortController();
    const told: string[] = [];
    const leaveFirst = hear(controller.signal, () => told.push('first'));
    const leaveSecond = hear(controller.signal, () => {
      told.push('second');
      leaveSecond();
      leaveFourth();
    });
    const leaveThird = hear(controller.signal, () => told.push('third'));
    const leaveFourth = hear(controller.signal, () => told.push('fourth'));
    leaveFirst();
    controller.abort();
    expect(told).toEqual(['second', 'third']);
    leaveThird();
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  it('keep the places of each other', () => {
    const controller = new AbortController();
    const told: number[] = [];
    const leaves = [1, 2, 3].map((one) => hear(controller.signal, () => told.push(one)));
    leaves[1]?.();
    hear(controller.signal, () => told.push(4));
    hear(controller.signal, () => told.push(5));
    controller.abort();
    expect(told.sort()).toEqual([1, 3, 4, 5]);
  });
});
