/*
 * Between the log and a stream that may be slow, stuck or gone: a bounded backlog, beyond which lines are dropped and
 * counted. Once reading goes on, the count is told. It never throws and never blocks.
 */

/** What may wait for a slow reader before lines are dropped. */
export const BACKLOG_BYTES = 1_048_576;

/** A reader that takes nothing for so long is not waited for when the log is closed. */
export const FLUSH_WITHIN_MS = 2_000;

/** Hands lines on to a stream that it does not end. */
export class Outlet {
  readonly #target: NodeJS.WritableStream;
  readonly #droppedLine: (lines: number) => string;
  #dropped = 0;
  #waitingBytes = 0;

  /** @param droppedLine says, without a line's end, how many lines were dropped */
  constructor(target: NodeJS.WritableStream, droppedLine: (lines: number) => string) {
    this.#target = target;
    this.#droppedLine = droppedLine;
  }

  /** @param line without its end */
  write(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    if (this.#waitingBytes + bytes.length > BACKLOG_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#tellDropped();
    this.#hand(bytes);
  }

  /** Waits until the stream has taken everything, for two seconds at most. Never rejects. */
  async close(): Promise<void> {
    this.#tellDropped();
    await new Promise<void>((resolve) => {
      const giveUp = setTimeout(finish, FLUSH_WITHIN_MS);
      function finish(): void {
        clearTimeout(giveUp);
        resolve();
      }
      if (this.#target.writable) this.#target.write('', finish);
      else finish();
    });
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    const line = Buffer.from(`${this.#droppedLine(this.#dropped)}\n`);
    this.#dropped = 0;
    this.#hand(line);
  }

  #hand(bytes: Buffer): void {
    if (!this.#target.writable) return;
    this.#waitingBytes += bytes.length;
    this.#target.write(bytes, () => {
      this.#waitingBytes -= bytes.length;
    });
  }
}
