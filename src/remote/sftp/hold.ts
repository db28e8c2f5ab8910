/*
 * A bound on what is in memory at the same time: whoever reads a file takes room for it first, and waits in line where
 * there is none. What is larger than all the room goes alone.
 */

interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
}

export class Hold {
  readonly #limitBytes: number;
  #usedBytes = 0;
  readonly #waiting: Waiting[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Waits for room.
   *
   * @returns gives the room back; a second call does nothing
   * @throws the signal's reason
   */
  async take(bytes: number, signal: AbortSignal | undefined): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#fits(bytes)) await this.#wait(bytes, signal);
    else this.#usedBytes += bytes;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#usedBytes -= bytes;
      this.#admit();
    };
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#limitBytes;
  }

  #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        const place = this.#waiting.indexOf(waiting);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(signal?.reason);
        // It may have been the one that the others waited behind.
        this.#admit();
      };
      const waiting: Waiting = {
        bytes,
        admit: () => {
          signal?.removeEventListener('abort', leave);
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  #admit(): void {
    for (
      let first = this.#waiting[0];
      first !== undefined && this.#fits(first.bytes);
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      this.#usedBytes += first.bytes;
      first.admit();
    }
  }
}
