/*
 * What notices need of the ledger, as an interface that it fulfils: the states that jobs were last found in, and what
 * is still to be told of them. A state and its notices are written in one transaction, so that a kill loses neither
 * and doubles neither.
 * Types alone.
 */
import type { Outcome, RunFailure } from '../plan/outcome.js';

/** What a job can be well or ill in, each by itself. */
export type Aspect = 'run' | 'freshness' | 'configuration';

/** In which state a job was last found. */
export interface StoredState {
  /** Empty for the agent itself. */
  readonly job: string;
  readonly topic: Aspect;
  /** As `writeStanding` of states.ts has it. */
  readonly state: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly message: string;
}

/** What is to be told through one channel. */
export interface NewNotice {
  /** `keyOf` the channel: no secrets. */
  readonly channel: string;
  /** A NoticeBody as JSON. */
  readonly body: string;
}

/** A notice that nobody has taken yet. */
export interface WaitingNotice extends NewNotice {
  readonly id: number;
  readonly job: string;
  /** When it was written down, in milliseconds since 1970. */
  readonly atMs: number;
  /** How often sending it has failed. */
  readonly attempts: number;
  /** Not sent before this moment, in milliseconds since 1970: it waits after a failure, or somebody is sending it. */
  readonly nextMs: number;
}

/** A state to write down, with what is to be told of it. */
export interface Change {
  readonly state: Omit<StoredState, 'job' | 'topic'>;
  readonly outbox: readonly NewNotice[];
}

/** The part of a run's record that is told. */
export type PastRun =
  | { readonly id: number; readonly state: 'running'; readonly startedAtMs: number }
  | {
      readonly id: number;
      readonly state: 'ended';
      readonly startedAtMs: number;
      readonly endedAtMs: number;
      readonly outcome: Outcome;
      readonly failure: RunFailure | undefined;
    };

/** States and outbox. Every method throws where the ledger cannot be read or written; writes are durable. */
export interface NoticeTable {
  noticeState(job: string, topic: Aspect): StoredState | undefined;
  /** Of all jobs that have one. */
  noticeStates(topic: Aspect): readonly StoredState[];
  /**
   * Looks at a state and changes it, with no other process in between.
   *
   * @param decide is given what is known; undefined from it changes nothing
   * @param atMs when it was found; the notices are due from then on
   */
  changeNotice(
    job: string,
    topic: Aspect,
    decide: (known: StoredState | undefined) => Change | undefined,
    atMs: number,
  ): void;
  /** The oldest notices in the order in which they were written, due or not. */
  waitingNotices(limit: number): readonly WaitingNotice[];
  /** Nobody else sends it before `untilMs`. False where it is gone, or has been claimed since it was read. */
  claimNotice(notice: Pick<WaitingNotice, 'id' | 'nextMs'>, untilMs: number): boolean;
  /** It was not taken; it is due again at `nextMs`. */
  noticeFailed(id: number, nextMs: number): void;
  /** It was taken, or is given up. */
  dropNotice(id: number): void;
}

/** The ledger, as far as notices know it. */
export interface NoticeStore {
  readonly notices: NoticeTable;
  /** When a run of the job last ended ok, in milliseconds since 1970. */
  provenAtMs(job: string): number | undefined;
  /** When the ledger first heard of the job, in milliseconds since 1970. */
  knownSinceMs(job: string): number | undefined;
  /** Newest first. */
  lastRuns(job: string, limit: number): readonly PastRun[];
}
