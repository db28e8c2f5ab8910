/*
 * Reads a whole file that a person keeps for us: regular, of bounded size, and without ever waiting for somebody to
 * write to it. Says what it met; the words for it are the caller's.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

export type FileReading =
  | { readonly kind: 'content'; readonly bytes: Buffer /** Permission bits. */; readonly mode: number }
  /** A directory, FIFO, socket or device. */
  | { readonly kind: 'irregular' }
  | { readonly kind: 'too-long' }
  /** `code` is the system's: `ENOENT`, `EACCES`. */
  | { readonly kind: 'failed'; readonly code: string };

/** Follows links. Never throws. */
export async function readBoundedFile(file: string, maxBytes: number): Promise<FileReading> {
  let handle: FileHandle | undefined;
  try {
    // Opening a FIFO would wait for a writer.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) return { kind: 'irregular' };
    const buffer = Buffer.alloc(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > maxBytes) return { kind: 'too-long' };
    return { kind: 'content', bytes: buffer.subarray(0, length), mode: stats.mode & 0o7777 };
  } catch (thrown) {
    return { kind: 'failed', code: codeOf(thrown) };
  } finally {
    await handle?.close().catch(() => undefined);
  }
}

/** The system's code of an error, or `unknown error`. */
export function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : 'unknown error';
}
