/*
 * Room for a file on its way in: large buffers that several READs fill side by side, each its own stretch, so that the
 * sink gets a few large pieces where the server sends many small ones. A buffer is made when its first byte comes, and
 * is filled anew once the sink has had its last one. The large ones are shared memory, so that a thread beside can look
 * at them as they are. Bounds nothing: that is the window's (window.ts).
 */

/** A multiple of the largest READ. */
const SHELF_BYTES = 4 * 255 * 1024;

/** One buffer, which may not be there yet. */
export class Shelf {
  readonly #sizeBytes: number;
  readonly #make: (sizeBytes: number) => Buffer;
  #buffer: Buffer | undefined;
  #takenBytes = 0;

  constructor(sizeBytes: number, make: (sizeBytes: number) => Buffer) {
    this.#sizeBytes = sizeBytes;
    this.#make = make;
  }

  /** How many of its bytes nobody has yet. */
  get leftBytes(): number {
    return this.#sizeBytes - this.#takenBytes;
  }

  /** @returns where the next bytes begin, which are the caller's from now on */
  take(bytes: number): number {
    const at = this.#takenBytes;
    this.#takenBytes += bytes;
    return at;
  }

  get buffer(): Buffer {
    this.#buffer ??= this.#make(this.#sizeBytes);
    return this.#buffer;
  }
}

/** Where a stretch of the file belongs. */
export interface Place {
  readonly shelf: Shelf;
  readonly at: number;
}

/** The shelves of one download. */
export class Shelves {
  readonly #spare: Buffer[] = [];
  #filling: Shelf | undefined;

  /** How much fits behind what was placed last, where so much more is known to come. */
  leftBytes(aheadBytes: number): number {
    return this.#filling?.leftBytes || Math.min(SHELF_BYTES, aheadBytes);
  }

  /**
   * A place for the next bytes.
   *
   * @param aheadBytes how much is known to come, from these on
   */
  place(bytes: number, aheadBytes: number): Place {
    if (this.#filling === undefined || this.#filling.leftBytes < bytes) {
      const sizeBytes = Math.max(bytes, Math.min(SHELF_BYTES, aheadBytes));
      this.#filling = new Shelf(sizeBytes, (wanted) => this.#make(wanted));
    }
    return { shelf: this.#filling, at: this.#filling.take(bytes) };
  }

  /** What is placed next does not lie behind what was placed last. */
  leave(): void {
    this.#filling = undefined;
  }

  /** All its bytes were used: every READ of it is answered, and the sink has had them. */
  giveBack({ buffer }: Shelf): void {
    if (buffer.length === SHELF_BYTES) this.#spare.push(buffer);
  }

  #make(sizeBytes: number): Buffer {
    if (sizeBytes !== SHELF_BYTES) return Buffer.allocUnsafe(sizeBytes);
    return this.#spare.pop() ?? Buffer.from(new SharedArrayBuffer(sizeBytes));
  }
}
