/* One file on its way through a lane, and what is known of it at each stage. lane.ts says what the stages mean. */
import type { Delivered, Delivery, Digests } from '../remote.js';

export interface Passage {
  readonly delivery: Delivery;
  /** Server paths. */
  readonly temporary: string;
  readonly final: string;
  readonly aside: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (delivered: Delivered) => void;
  readonly reject: (error: unknown) => void;
}

export interface Sent {
  readonly passage: Passage;
  readonly digests: Digests;
  /** Where the sending began: behind a part that was proven, or at the end, where all of it was there; else 0. */
  readonly fromByte: number;
}

export interface Proven extends Sent {
  readonly modifiedMs: number | undefined;
}
