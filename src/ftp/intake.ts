/*
 * What comes in over a data connection, on its way to a sink that takes its time: gathered into large pieces, for
 * network and TLS cut a file into small ones, and each would cost a turn of the disk. While a piece is taken the next
 * one fills; what is there when the sink is free is a piece, so nothing waits for more.
 * Bounded: a buffer with the sink, one that waits, and one that is being filled. They are shared memory, so that a
 * thread beside can look at them as they are. Knows no sockets.
 */

/** Most downloads are small. */
const FIRST_BUFFER_BYTES = 64 * 1024;
/** Each piece wakes other threads, to write and to hash it, and again this one: a tenth of a millisecond in all. */
const BUFFER_BYTES = 2 * 1024 * 1024;

/** A piece is the sink's own until its promise resolves, and is filled anew then. */
export type Sink = (piece: Buffer) => Promise<void>;

/** Buffers for one download: the socket's side is `room` and `took`, or `take`, and `end`; the sink's side is `drain`. */
export class Intake {
  /** Changes only in `took`, since a socket that reads into it asks for the next one there and nowhere else. */
  #filling: Buffer<ArrayBufferLike> = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  /** Of the buffer that fills: what the sink has had, and what has come. */
  #givenBytes = 0;
  #filledBytes = 0;
  /** The end of a buffer that is full, and not with the sink yet. */
  #waiting: Buffer | undefined;
  /** Free again; never dropped, for shared memory does not hurry the garbage collector. */
  readonly #spares: Buffer<ArrayBufferLike>[] = [];
  #bytes = 0;
  #end: { readonly error: unknown } | 'none' | 'clean' = 'none';
  #wake: (() => void) | undefined;
  #onRoom: () => void = () => {};

  /** How many bytes came in. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Where the next bytes belong; never empty as long as `took` is heeded. */
  get room(): Buffer {
    return this.#filling.subarray(this.#filledBytes);
  }

  /**
   * So many bytes have come into `room`.
   *
   * @returns `enough` where no more may come until there is room again
   */
  took(bytes: number): 'more' | 'enough' {
    this.#filledBytes += bytes;
    this.#bytes += bytes;
    if (this.#filledBytes < this.#filling.length) {
      // The rest of this turn's bytes shall belong to the same piece.
      if (this.#wake !== undefined) setImmediate(this.#wake);
      this.#wake = undefined;
      return 'more';
    }
    if (this.#waiting !== undefined) throw new Error('more came in than there is room for');
    this.#waiting = this.#filling.subarray(this.#givenBytes);
    this.#filling = this.#spares.pop() ?? Buffer.from(new SharedArrayBuffer(BUFFER_BYTES));
    this.#givenBytes = 0;
    this.#filledBytes = 0;
    this.#rouse();
    return 'enough';
  }

  /** Bytes that came elsewhere. */
  take(chunk: Buffer): 'more' | 'enough' {
    let answer: 'more' | 'enough' = 'more';
    for (let rest = chunk; rest.length > 0; ) {
      const length = rest.copy(this.room);
      rest = rest.subarray(length);
      if (this.took(length) === 'enough') answer = 'enough';
    }
    return answer;
  }

  /** No more bytes will come: all are there, or what is missing never will be. */
  end(how: { readonly error: unknown } | 'clean'): void {
    if (this.#end === 'none') this.#end = how;
    this.#rouse();
  }

  /**
   * Hands the pieces to the sink, in order, one at a time. Settles only when the sink has been left.
   *
   * @param onRoom called where more may come after an `enough`
   * @throws what the sink throws, or the error of the end: what lies here by then is not handed on
   */
  async drain(sink: Sink, onRoom: () => void): Promise<void> {
    this.#onRoom = onRoom;
    for (;;) {
      if (typeof this.#end === 'object') throw this.#end.error;
      const piece = this.#next();
      if (piece !== undefined) {
        await sink(piece);
        this.#reuse(piece);
      } else if (this.#end === 'clean') {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #next(): Buffer | undefined {
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      this.#onRoom();
      return waiting;
    }
    if (this.#givenBytes === this.#filledBytes) return undefined;
    const piece = this.#filling.subarray(this.#givenBytes, this.#filledBytes);
    this.#givenBytes = this.#filledBytes;
    return piece;
  }

  /** A buffer is free when the sink has had its end; the first one is too small for more. */
  #reuse({ buffer, byteOffset, length }: Buffer): void {
    const isEnd = byteOffset + length === buffer.byteLength;
    if (isEnd && buffer.byteLength === BUFFER_BYTES) this.#spares.push(Buffer.from(buffer, 0, BUFFER_BYTES));
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
