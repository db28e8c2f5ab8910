/*
 * Cuts what a program writes into lines: bounded a line and as a whole, UTF-8 with a replacement character for what
 * is none. What is beyond the bounds is counted and forgotten. Of a line that overwrites itself with carriage
 * returns (a progress bar) the last state is the line.
 */

/** Longer lines are cut; the rest of them counts as dropped. */
const LONGEST_LINE_BYTES = 8_192;

const NEWLINE = 0x0a;

type Stream = 'output' | 'error';

interface Open {
  readonly pieces: Uint8Array[];
  length: number;
  cut: 'cut' | 'whole';
}

/** Takes both outputs of one program and hands on their lines, each stream's in order. */
export class LineSplitter {
  readonly #onLine: (line: string, stream: Stream) => void;
  readonly #open: Readonly<Record<Stream, Open>> = { output: fresh(), error: fresh() };
  #leftBytes: number;
  #droppedBytes = 0;

  constructor(maxBytes: number, onLine: (line: string, stream: Stream) => void) {
    this.#leftBytes = maxBytes;
    this.#onLine = onLine;
  }

  take(bytes: Uint8Array, stream: Stream): void {
    const taken = bytes.subarray(0, this.#leftBytes);
    this.#leftBytes -= taken.length;
    this.#droppedBytes += bytes.length - taken.length;
    let from = 0;
    for (;;) {
      const end = taken.indexOf(NEWLINE, from);
      if (end < 0) break;
      this.#add(taken.subarray(from, end), stream);
      this.#close(stream);
      from = end + 1;
    }
    this.#add(taken.subarray(from), stream);
  }

  /** Hands on what has no line's end yet. @returns the bytes that were dropped */
  end(): number {
    for (const stream of ['output', 'error'] as const) {
      if (this.#open[stream].length > 0) this.#close(stream);
    }
    return this.#droppedBytes;
  }

  #add(bytes: Uint8Array, stream: Stream): void {
    const open = this.#open[stream];
    const room = LONGEST_LINE_BYTES - open.length;
    const kept = bytes.subarray(0, room);
    if (kept.length < bytes.length) {
      open.cut = 'cut';
      this.#droppedBytes += bytes.length - kept.length;
    }
    if (kept.length === 0) return;
    // A copy: what the stream hands out may be a view of a much larger buffer.
    open.pieces.push(Uint8Array.from(kept));
    open.length += kept.length;
  }

  #close(stream: Stream): void {
    const open = this.#open[stream];
    const bytes = Buffer.concat(open.pieces);
    // Cut within a character, its half is left out rather than replaced.
    const text = new TextDecoder('utf-8').decode(bytes, { stream: open.cut === 'cut' });
    open.pieces.length = 0;
    open.length = 0;
    open.cut = 'whole';
    const line = text.replace(/\r+$/, '');
    this.#onLine(line.slice(line.lastIndexOf('\r') + 1), stream);
  }
}

function fresh(): Open {
  return { pieces: [], length: 0, cut: 'whole' };
}
