/* The hash of a long content is that of the content, wherever it is computed, and leaves no thread behind. */
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { describe, expect, test, vi } from 'vitest';
import { longHash } from '../../src/local/long-hash.js';

describe.each([
  ['here', 1024],
  ['in a thread', 1024 * 1024 * 1024],
] as const)('%s', (_, sizeBytes) => {
  test('buffers that are filled again as soon as they may be', async () => {
    using hash = longHash(sizeBytes);
    const room = hash.room(64 * 1024);
    const expected = createHash('sha256');
    for (let i = 0; i < 50; i += 1) {
      const chunk = room.subarray(0, 1000 * (i + 1)).fill(i);
      expected.update(chunk);
      await hash.update(chunk);
    }
    expect(await hash.digest()).toBe(expected.digest('hex'));
  });

  test('memory that is not shared, and a digest on the way', async () => {
    using hash = longHash(sizeBytes);
    const chunk = Buffer.from('some');
    await hash.update(chunk);
    // It is still the caller's, and the digest does not end the hash.
    expect(chunk.toString()).toBe('some');
    expect(await hash.digest()).toBe(createHash('sha256').update('some').digest('hex'));
    await hash.update(Buffer.from('thing else').subarray(0, 5));
    expect(await hash.digest()).toBe(createHash('sha256').update('something').digest('hex'));
  });

  test('one that is left is over', async () => {
    const hash = longHash(sizeBytes);
    const [one] = [hash.update(hash.room(10))];
    hash[Symbol.dispose]();
    await one.catch((error: unknown) => expect(String(error)).toContain('was left'));
  });
});

describe.each([
  [
    'cannot be started',
    (): Worker => {
      throw new Error('no more threads');
    },
  ],
  [
    'ends before it has begun',
    () => new Worker('throw new Error("no memory")', { eval: true, stderr: true }),
  ],
] as const)('where a thread %s', (_, start) => {
  test('it is hashed all the same', async () => {
    using hash = longHash(1024 * 1024 * 1024, start);
    const chunk = hash.room(100).fill(7);
    await Promise.all([hash.update(chunk), hash.update(chunk.subarray(1))]);
    await hash.update(chunk);
    const expected = createHash('sha256').update(Buffer.alloc(299, 7)).digest('hex');
    expect(await hash.digest()).toBe(expected);
  });
});

test('a thread that ends in between takes the hash with it', async () => {
  const thread = new Worker(
    `require('node:worker_threads').parentPort.once('message', () => {
       require('node:worker_threads').parentPort.postMessage(undefined);
     });`,
    { eval: true },
  );
  using hash = longHash(1024 * 1024 * 1024, () => thread);
  await hash.update(hash.room(10));
  await thread.terminate();
  await expect(hash.digest()).rejects.toMatchObject({
    code: 'HASH',
    message: expect.stringContaining('has ended') as string,
  });
});

test('a process lasts until it has its hash, and no longer', async () => {
  const ref = vi.spyOn(Worker.prototype, 'ref');
  const unref = vi.spyOn(Worker.prototype, 'unref');
  using hash = longHash(1024 * 1024 * 1024);
  expect(unref).toHaveBeenCalledTimes(1);
  const digest = hash.digest();
  expect(ref).toHaveBeenCalledTimes(1);
  await digest;
  expect(unref).toHaveBeenCalledTimes(2);
  vi.restoreAllMocks();
});
