/*
 * What ends a run before its time, as one error, and the sentence that is kept of it.
 */
import type { FailureKind, RunFailure } from '../plan/outcome.js';

/** Thrown anywhere in a run to end it: the reason is already fit for a person. */
export class RunEnded extends Error {
  override readonly name = 'RunEnded';
  readonly failure: RunFailure;

  constructor(kind: FailureKind, code: string, message: string) {
    super(message);
    this.failure = { kind, code, message };
  }
}

/** Turns whatever ended a run into its failure. */
export function failureOf(error: unknown): RunFailure {
  if (error instanceof RunEnded) return error.failure;
  const code =
    typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
      ? error.code
      : 'unexpected';
  return { kind: 'failed', code, message: error instanceof Error ? error.message : String(error) };
}
