/*
 * Whether something that is measured again and again stays where it was: the median of the first third of the samples
 * against that of the last third. A median does not mind a peak; a leak moves it.
 */

/** How much the last third may be above the first. */
export interface Bound {
  readonly factor: number;
  readonly plus: number;
}

export interface Flatness {
  readonly samples: number;
  readonly first: number;
  readonly last: number;
  /** The most that `last` may be. */
  readonly limit: number;
  /** `unjudged`: there are too few samples to say anything. */
  readonly verdict: 'flat' | 'grew' | 'unjudged';
}

/** Fewer say nothing about a trend. */
const LEAST_SAMPLES = 30;

/** Judges samples in the order in which they were taken. */
export function flatness(samples: readonly number[], { factor, plus }: Bound): Flatness {
  const third = Math.floor(samples.length / 3);
  const first = median(samples.slice(0, third));
  const last = median(samples.slice(samples.length - third));
  const limit = first * factor + plus;
  const verdict = samples.length < LEAST_SAMPLES ? 'unjudged' : last > limit ? 'grew' : 'flat';
  return { samples: samples.length, first, last, limit, verdict };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
