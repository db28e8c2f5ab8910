/*
 * Between winston, which does not look at back-pressure, and a stream that may be slow, stuck or gone: a bounded
 * backlog, beyond which lines are dropped and counted. Once reading goes on, the count is told. It never throws and
 * never blocks.
 */
import { Writable } from 'node:stream';

/** What may wait for a slow reader before lines are dropped. */
export const BACKLOG_BYTES = 1_048_576;

/** A reader that takes nothing for so long is not waited for when the log is closed. */
export const FLUSH_WITHIN_MS = 2_000;

/** Hands lines on to a stream that it does not end. */
export class Outlet extends Writable {
  readonly #target: NodeJS.WritableStream;
  readonly #droppedLine: (lines: number) => string;
  #dropped = 0;
  #waitingBytes = 0;

  /** @param droppedLine says, without a line's end, how many lines were dropped */
  constructor(target: NodeJS.WritableStream, droppedLine: (lines: number) => string) {
    super({ decodeStrings: true });
    this.#target = target;
    this.#droppedLine = droppedLine;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#waitingBytes + chunk.length > BACKLOG_BYTES) {
      this.#dropped += 1;
    } else {
      this.#tellDropped();
      this.#hand(chunk);
    }
    done();
  }

  override _final(done: () => void): void {
    this.#tellDropped();
    const giveUp = setTimeout(finish, FLUSH_WITHIN_MS);
    function finish(): void {
      clearTimeout(giveUp);
      done();
    }
    if (this.#target.writable) this.#target.write('', finish);
    else finish();
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    const line = Buffer.from(`${this.#droppedLine(this.#dropped)}\n`);
    this.#dropped = 0;
    this.#hand(line);
  }

  #hand(chunk: Buffer): void {
    if (!this.#target.writable) return;
    this.#waitingBytes += chunk.length;
    this.#target.write(chunk, () => {
      this.#waitingBytes -= chunk.length;
    });
  }
}
