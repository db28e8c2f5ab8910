/* Digests piece by piece: whatever the chunks, the pieces are those of the content. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockHasher } from '../../src/remote/sftp/blocks.js';

test('the pieces cover the content, each with its own digest', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.integer({ min: 1, max: 30 }),
      fc.nat(1_000),
      (chunks, blockBytes, fromByte) => {
        const hasher = new BlockHasher('SHA-256', { fromByte, blockBytes });
        for (const chunk of chunks) hasher.update(Buffer.from(chunk));
        const content = Buffer.concat(chunks);
        const expected = Array.from({ length: Math.ceil(content.length / blockBytes) }, (_, place) => {
          const piece = content.subarray(place * blockBytes, (place + 1) * blockBytes);
          const hex = createHash('sha256').update(piece).digest('hex');
          return {
            fromByte: fromByte + place * blockBytes,
            sizeBytes: piece.length,
            digest: { algorithm: 'SHA-256', hex },
          };
        });
        expect(hasher.end()).toEqual(expected);
      },
    ),
  );
});
