/*
 * Uploads: WRITEs side by side, as many as the window of the connection allows. An upload is done when the server has
 * acknowledged every one of them. After one that failed nothing more is sent; what was under way by then may still
 * arrive, so that a file may have holes where a write failed: only its digest proves a part.
 */
import { SftpError } from './errors.js';
import { PACKET } from './packet.js';
import { DONE } from './requests.js';
import type { Session } from './session.js';
import type { UploadOptions } from './types.js';

/**
 * Writes all chunks to an open file, one behind the other.
 *
 * @returns the number of bytes that the server has acknowledged, which is all of them
 * @throws {SftpError} `status` for the first write that was refused; `stalled`, `aborted`; why the session ended. Errors
 *   of the source pass through. Settles only when the source has been left.
 */
export async function upload(
  session: Session,
  handle: Buffer,
  chunks: AsyncIterable<Buffer>,
  { signal, fromByte = 0, onSent }: UploadOptions,
): Promise<number> {
  if (!Number.isSafeInteger(fromByte) || fromByte < 0) {
    throw new SftpError('argument', `No upload to ${session.where} can begin at byte ${fromByte}.`, {
      phase: 'transfer',
      request: 'WRITE',
    });
  }
  const { requests, uploads } = session;
  const transfer = session.transfer('upload to', 'WRITE', signal, () => requests.takenMs);
  let position = fromByte;
  let unanswered = 0;
  let allAnswered: (() => void) | undefined;

  const fail = (error: unknown): void => transfer.fail(error);
  const write = (piece: Buffer): void => {
    const { length } = piece;
    const sentMs = performance.now();
    unanswered += 1;
    transfer.asked();
    requests
      .ask({
        type: PACKET.WRITE,
        request: 'WRITE',
        asked: 'write to a file',
        fields: [handle, BigInt(position), piece],
        answer: DONE,
        phase: 'transfer',
        transfer,
        settled: () => {
          uploads.heard(length, performance.now() - sentMs);
          uploads.release(length);
          transfer.answered();
        },
        shown: () => `${length} bytes`,
      })
      .then(() => {
        unanswered -= 1;
        if (unanswered === 0) allAnswered?.();
      }, fail);
    position += length;
  };

  try {
    transfer.check();
    for await (const chunk of chunks) {
      transfer.check();
      const most = uploads.pieceBytes(session.limits.maxWriteBytes);
      // In equal parts, for a last one of a few bytes costs as much as any.
      const pieceBytes = Math.ceil(chunk.length / Math.ceil(chunk.length / most));
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        const piece = chunk.subarray(at, at + pieceBytes);
        const claim = uploads.claim(piece.length);
        if (claim.granted !== undefined) {
          try {
            await transfer.until(claim.granted);
          } catch (error) {
            claim.withdraw();
            throw error;
          }
        }
        write(piece);
      }
    }
    onSent?.();
    if (unanswered > 0) {
      await transfer.until(
        new Promise<void>((resolve) => {
          allAnswered = resolve;
        }),
      );
    }
    transfer.check();
    return position - fromByte;
  } finally {
    transfer.end();
  }
}
