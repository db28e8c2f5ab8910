/*
 * Packets on their way to the channel. All that is asked in one turn of the event loop leaves in one write, because
 * each write is encrypted and sent by itself; a channel that takes no more is waited for. The bytes of a WRITE are
 * copied here, once. Bounds nothing: that is the window's (window.ts), and of those who ask.
 */
import type { Writable } from 'node:stream';
import { type Field, packetBytes, writePacket } from './packet.js';

/** Room for the small packets of a turn. */
const SMALL_BYTES = 16 * 1024;
/** Room where data is among them: several packets of it still make one write. */
const LARGE_BYTES = 256 * 1024;

/** Gathers packets, and hands them to one channel. */
export class Outgoing {
  readonly #channel: Writable;
  readonly #onTaken: () => void;
  readonly #onDrain = (): void => {
    this.#state = 'idle';
    this.#flush();
  };
  #batch: Buffer | undefined;
  #filled = 0;
  readonly #full: Buffer[] = [];
  #queued = 0;
  /** `due`: a write comes at the end of this turn. `blocked`: the channel takes nothing for now. */
  #state: 'idle' | 'due' | 'blocked' | 'stopped' = 'idle';
  #immediate: NodeJS.Immediate | undefined;

  /** @param onTaken hears that the channel has taken bytes */
  constructor(channel: Writable, onTaken: () => void) {
    this.#channel = channel;
    this.#onTaken = onTaken;
    channel.on('drain', this.#onDrain);
  }

  /** True while bytes lie here, or in the channel's own queue, that nobody has taken. */
  get isWaiting(): boolean {
    return this.#queued > 0;
  }

  /** Adds a packet; buffers among its fields may be used anew on return. */
  add(packet: { readonly type: number; readonly id: number; readonly fields: readonly Field[] }): void {
    if (this.#state === 'stopped') return;
    const bytes = packetBytes(packet.fields);
    if (this.#batch === undefined || this.#batch.length - this.#filled < bytes) {
      this.#close();
      const room = bytes > SMALL_BYTES / 2 ? LARGE_BYTES : SMALL_BYTES;
      this.#batch = Buffer.allocUnsafe(Math.max(room, bytes));
      this.#filled = 0;
    }
    this.#filled = writePacket(this.#batch, this.#filled, packet);
    this.#queued += bytes;
    if (this.#state === 'idle') {
      this.#state = 'due';
      this.#immediate = setImmediate(() => {
        this.#state = 'idle';
        this.#flush();
      });
    }
  }

  /** Nothing is written any more. */
  stop(): void {
    this.#state = 'stopped';
    clearImmediate(this.#immediate);
    this.#channel.off('drain', this.#onDrain);
    this.#batch = undefined;
    this.#full.length = 0;
    this.#queued = 0;
  }

  #close(): void {
    if (this.#batch === undefined) return;
    this.#full.push(this.#batch.subarray(0, this.#filled));
    this.#batch = undefined;
  }

  #flush(): void {
    if (this.#state === 'stopped') return;
    this.#close();
    while (this.#state === 'idle') {
      const bytes = this.#full.shift();
      if (bytes === undefined) return;
      const takes = this.#channel.write(bytes, () => {
        this.#queued -= bytes.length;
        this.#onTaken();
      });
      if (!takes) this.#state = 'blocked';
    }
  }
}
