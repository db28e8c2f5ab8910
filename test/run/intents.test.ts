import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Intents } from '../../src/run/intents.js';
import type { Transfer } from '../../src/run/task.js';

function transfer(path: string): Transfer {
  const file = { path, sizeBytes: 1, mtimeMs: 1, ctimeMs: 1, inode: 1, device: 1 };
  const action = {
    kind: 'upload',
    path,
    here: path,
    there: path,
    file,
    baseline: undefined,
    reason: 'new',
  } as const;
  return { kind: 'upload', path, action, file, attempt: 1, temporary: `.${path}`, sent: 'nothing' };
}

function written(atOnce: number) {
  const groups: string[][] = [];
  const intents = new Intents({
    atOnce,
    write: (transfers) => {
      groups.push(transfers.map(({ path }) => path));
    },
  });
  return { groups, intents };
}

describe('intents', () => {
  it('are written many at once where nobody waits for them', async () => {
    const { groups, intents } = written(2);
    const [a, b, c] = ['a', 'b', 'c'].map(transfer) as [Transfer, Transfer, Transfer];
    intents.add(a);
    expect(groups).toEqual([]);
    intents.add(b);
    intents.add(c);
    expect(groups).toEqual([['a', 'b']]);
    await intents.written(a);
    expect(groups).toEqual([['a', 'b']]);
  });

  it('are written before anything begins, with all that has come up in the same turn', async () => {
    const { groups, intents } = written(10);
    const [a, b, c] = ['a', 'b', 'c'].map(transfer) as [Transfer, Transfer, Transfer];
    intents.add(a);
    const first = intents.written(a);
    intents.add(b);
    const second = intents.written(b);
    intents.add(c);
    expect(groups).toEqual([]);
    await Promise.all([first, second]);
    expect(groups).toEqual([['a', 'b', 'c']]);
    await intents.written(c);
    expect(groups).toHaveLength(1);
  });

  it('write nothing where nothing waits any more', async () => {
    const { groups, intents } = written(2);
    const [a, b] = ['a', 'b'].map(transfer) as [Transfer, Transfer];
    intents.add(a);
    const first = intents.written(a);
    intents.add(b);
    await first;
    await turn();
    expect(groups).toEqual([['a', 'b']]);
  });

  it('that cannot be written keep their transfers from beginning, whoever asks and however often', async () => {
    let isFull = true;
    const groups: string[][] = [];
    const intents = new Intents({
      atOnce: 2,
      write: (transfers) => {
        if (isFull) throw new Error('the disk is full');
        groups.push(transfers.map(({ path }) => path));
      },
    });
    const [a, b] = ['a', 'b'].map(transfer) as [Transfer, Transfer];
    intents.add(a);
    await expect(Promise.all([intents.written(a), intents.written(a)])).rejects.toThrow('the disk is full');
    await expect(intents.written(a)).rejects.toThrow('the disk is full');
    expect(() => intents.add(b)).toThrow('the disk is full');
    isFull = false;
    await intents.written(b);
    expect(groups).toEqual([['a', 'b']]);
    await intents.written(a);
  });
});
