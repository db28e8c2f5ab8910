/*
 * The intake by itself: every byte in order however it comes in and however slow the sink is, and no more than there
 * is room for.
 */
import { describe, expect, test } from 'vitest';
import { Intake } from '../../src/ftp/intake.js';

const MIB = 1024 * 1024;

/** Bytes that tell where they belong. */
const content = Buffer.from(Uint32Array.from({ length: 2 * MIB }, (_, i) => i * 2_654_435_761).buffer);

/** Gives `content` to the intake in chunks of this size, as a socket would: it stops at an `enough`. */
function pour(intake: Intake, chunkBytes: number, by: 'copy' | 'room'): () => void {
  let position = 0;
  return () => {
    for (let answer = 'more'; answer === 'more' && position < content.length; ) {
      if (by === 'copy') {
        const chunk = content.subarray(position, position + chunkBytes);
        position += chunk.length;
        answer = intake.take(chunk);
      } else {
        const bytes = content.copy(intake.room, 0, position, position + chunkBytes);
        position += bytes;
        answer = intake.took(bytes);
      }
    }
    if (position === content.length) intake.end('clean');
  };
}

describe('all bytes, in order', () => {
  const cases = [16_384, 65_536, 100_003, 700_001].flatMap((bytes) =>
    (['copy', 'room'] as const).map((by) => [bytes, by] as const),
  );
  test.each(cases)('chunks of %d bytes, by %s, a sink that takes its time', async (chunkBytes, by) => {
    const intake = new Intake();
    const more = pour(intake, chunkBytes, by);
    const pieces: Buffer[] = [];
    const buffers = new Set<ArrayBufferLike>();
    more();
    await intake.drain(async (piece) => {
      buffers.add(piece.buffer);
      await new Promise((resolve) => setImmediate(resolve));
      // Only now, for a piece is the sink's until it is done with it.
      pieces.push(Buffer.from(piece));
    }, more);
    expect(Buffer.concat(pieces).equals(content)).toBe(true);
    expect(intake.bytes).toBe(content.length);
    expect(buffers.size).toBeLessThanOrEqual(4);
  });
});

test('what is there is handed on, and waits for no more', async () => {
  const intake = new Intake();
  const pieces: string[] = [];
  const drained = intake.drain(
    async (piece) => {
      pieces.push(piece.toString());
      if (pieces.length === 1) intake.take(Buffer.from('second'));
      else intake.end('clean');
    },
    () => {},
  );
  intake.take(Buffer.from('fi'));
  intake.take(Buffer.from('rst'));
  await drained;
  expect(pieces).toEqual(['first', 'second']);
});

test('a sink that is slow, fast and slow again has the same buffers', async () => {
  const intake = new Intake();
  const buffers = new Set<ArrayBufferLike>();
  const chunk = Buffer.alloc(2 * MIB);
  let pieces = 0;
  intake.take(chunk.subarray(0, 64 * 1024));
  await intake.drain(
    async (piece) => {
      buffers.add(piece.buffer);
      pieces += 1;
      // Every third time nothing has come meanwhile.
      if (pieces < 30 && pieces % 3 !== 0) intake.take(chunk);
    },
    () => {
      if (pieces % 3 === 0 && pieces < 30) setImmediate(() => intake.take(chunk));
      if (pieces >= 30) intake.end('clean');
    },
  );
  // The small one at first, and three.
  expect(buffers.size).toBeLessThanOrEqual(4);
});

test('a socket that does not stop is a mistake that loses nothing silently', () => {
  const intake = new Intake();
  expect(intake.take(Buffer.alloc(64 * 1024))).toBe('enough');
  expect(() => intake.take(Buffer.alloc(2 * MIB))).toThrow('more came in than there is room for');
});

test('an error waits for the sink, and nothing is handed on behind it', async () => {
  const intake = new Intake();
  let left = false;
  const drained = intake.drain(
    async () => {
      intake.take(Buffer.from('more'));
      intake.end({ error: new Error('the connection broke') });
      await new Promise((resolve) => setImmediate(resolve));
      expect(left).toBe(false);
      left = true;
    },
    () => {},
  );
  intake.take(Buffer.from('some'));
  await expect(drained).rejects.toThrow('the connection broke');
  expect(left).toBe(true);
});
