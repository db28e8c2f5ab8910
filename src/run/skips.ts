/*
 * Skips in a row: when the server refuses file after file, it is not the files. So a skip is remembered only
 * when a delivery has shown that others fare better, or when the run has come to its end; a whole row of them
 * ends the run and marks nothing.
 */
import type { Change } from '../ledger/record.js';
import { SKIPS_IN_A_ROW } from '../remote/failure.js';
import { RunEnded } from './end.js';

type Skip = Extract<Change, { kind: 'skipped' }>;

export class Skips {
  readonly #record: (change: Skip) => void;
  readonly #row: Skip[] = [];

  constructor(record: (change: Skip) => void) {
    this.#record = record;
  }

  /** @throws {RunEnded} where it is one too many in a row */
  add(skip: Skip, message: string): void {
    this.#row.push(skip);
    if (this.#row.length < SKIPS_IN_A_ROW) return;
    this.abandon();
    throw new RunEnded(
      'failed',
      skip.code,
      `The server refused ${SKIPS_IN_A_ROW} files in a row, the last with: ${message} It is not the files: check the rights of the account on the server. None of them was marked.`,
    );
  }

  /** A delivery: the skips before it were about their files. */
  delivered(): void {
    for (const skip of this.#row.splice(0)) this.#record(skip);
  }

  /** The run has come to its end: what was skipped is remembered. */
  finish(): void {
    this.delivered();
  }

  /** The run ended before its time: what was skipped is history, and is asked again. */
  abandon(): void {
    for (const skip of this.#row.splice(0)) this.#record({ ...skip, remember: undefined });
  }
}
