/* The hash of a long content is that of the content, wherever it is computed, and leaves no thread behind. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
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

  test('one that is left is over', async () => {
    const hash = longHash(sizeBytes);
    const [one] = [hash.update(hash.room(10))];
    hash[Symbol.dispose]();
    await one.catch((error: unknown) => expect(String(error)).toContain('has ended'));
  });
});
