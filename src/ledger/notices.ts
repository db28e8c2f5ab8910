/*
 * What the ledger remembers of notices: in which state each job was last told to be, and what is still to be told of
 * it. A state and its notices are written in one transaction, so that a kill loses neither and doubles neither; who is
 * about to send a notice claims it, so that two processes do not send one twice.
 * Knows neither channels nor what a state means.
 */
import type Database from 'better-sqlite3';

export type NoticeTopic = 'run' | 'freshness' | 'configuration';

/** In which state a job was last found to be. */
export interface NoticeState {
  readonly job: string;
  readonly topic: NoticeTopic;
  /** A word of whoever writes it; compared, never read. */
  readonly state: string;
  /** Since when it has been so, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** For a person; empty where there is nothing to say. */
  readonly message: string;
}

/** A job's new state, and what is to be told of it. */
export interface NoticeChange {
  readonly state: Omit<NoticeState, 'job' | 'topic'>;
  readonly outbox: readonly NewNotice[];
}

/** What is to be told, and where. */
export interface NewNotice {
  /** Identity of the channel, without secrets. */
  readonly channel: string;
  /** JSON text. */
  readonly body: string;
}

/** A notice that has not been taken yet. */
export interface Notice extends NewNotice {
  /** Never used again. */
  readonly id: number;
  readonly job: string;
  /** When it was written down, in milliseconds since 1970. */
  readonly atMs: number;
  /** How often sending it has failed. */
  readonly attempts: number;
  /** Not sent before this moment, in milliseconds since 1970. */
  readonly nextMs: number;
}

/** What could be read of another ledger. */
export interface TakenOver {
  readonly states: readonly NoticeState[];
  readonly notices: readonly Omit<Notice, 'id'>[];
}

interface StateRow {
  readonly state: string;
  readonly since_ms: number;
  readonly message: string;
}

interface NoticeRow {
  readonly id: number;
  readonly job: string;
  readonly channel: string;
  readonly body: string;
  readonly at_ms: number;
  readonly attempts: number;
  readonly next_ms: number;
}

/** Runs one piece of database work and gives its errors the ledger's words; for writing, as one transaction. */
type Work = <Result>(work: () => Result) => Result;

/** Statements that are prepared once; a test holds that none of them sorts or walks a whole table. */
export const NOTICE_READING = {
  noticeState: 'SELECT state, since_ms, message FROM notice_state WHERE job = ? AND topic = ?',
} as const;

/** Statements that walk a table: the one has three rows a job, the other is bounded by whoever sends. */
const WALKING = {
  noticeStates: 'SELECT job, state, since_ms, message FROM notice_state WHERE topic = ?',
  waitingNotices: 'SELECT * FROM notice_outbox ORDER BY id LIMIT ?',
} as const;

const WRITING = {
  putState: `
    INSERT INTO notice_state (job, topic, state, since_ms, message)
    VALUES (@job, @topic, @state, @sinceMs, @message)
    ON CONFLICT (job, topic) DO UPDATE SET state = excluded.state, since_ms = excluded.since_ms,
      message = excluded.message`,
  addNotice: `
    INSERT INTO notice_outbox (job, channel, body, at_ms, next_ms) VALUES (@job, @channel, @body, @atMs, @atMs)`,
  restore: `
    INSERT INTO notice_outbox (job, channel, body, at_ms, attempts, next_ms)
    VALUES (@job, @channel, @body, @atMs, @attempts, @nextMs)`,
  claim: 'UPDATE notice_outbox SET next_ms = @untilMs WHERE id = @id AND next_ms = @nextMs',
  fail: 'UPDATE notice_outbox SET attempts = attempts + 1, next_ms = @nextMs WHERE id = @id',
  drop: 'DELETE FROM notice_outbox WHERE id = ?',
  count: 'SELECT count(*) FROM notice_outbox',
} as const;

/** The reading half; may be open while another process writes. Every method throws LedgerError. */
export class NoticeReader {
  readonly #attempt: Work;
  readonly #state: Database.Statement<[string, string], StateRow>;
  readonly #states: Database.Statement<[string], StateRow & { readonly job: string }>;
  readonly #waiting: Database.Statement<[number], NoticeRow>;
  readonly #count: Database.Statement<[], number>;

  /** For the ledger. @param attempt gives SQLite's errors the ledger's words */
  constructor(database: Database.Database, attempt: Work) {
    this.#attempt = attempt;
    this.#state = database.prepare<[string, string], StateRow>(NOTICE_READING.noticeState);
    this.#states = database.prepare<[string], StateRow & { readonly job: string }>(WALKING.noticeStates);
    this.#waiting = database.prepare<[number], NoticeRow>(WALKING.waitingNotices);
    this.#count = database.prepare<[], number>(WRITING.count).pluck();
  }

  /** The state of a job that was last told; undefined where nothing ever was. */
  noticeState(job: string, topic: NoticeTopic): NoticeState | undefined {
    const row = this.#attempt(() => this.#state.get(job, topic));
    if (row === undefined) return undefined;
    return { job, topic, state: row.state, sinceMs: row.since_ms, message: row.message };
  }

  /** The states of all jobs of which this was ever told. */
  noticeStates(topic: NoticeTopic): NoticeState[] {
    return this.#attempt(() => this.#states.all(topic)).map((row) => ({
      job: row.job,
      topic,
      state: row.state,
      sinceMs: row.since_ms,
      message: row.message,
    }));
  }

  /** The oldest notices in the order in which they were written, due or not. */
  waitingNotices(limit: number): Notice[] {
    return this.#attempt(() => this.#waiting.all(limit)).map(noticeFrom);
  }

  /** How many notices have not been taken yet. */
  countNotices(): number {
    return this.#attempt(() => this.#count.get()) ?? 0;
  }
}

/** The writing half. Every method is durable when it returns. */
export class Notices extends NoticeReader {
  readonly #write: Work;
  readonly #putState: Database.Statement<[NoticeState]>;
  readonly #add: Database.Statement<[NewNotice & { job: string; atMs: number }]>;
  readonly #restore: Database.Statement<[Omit<Notice, 'id'>]>;
  readonly #claim: Database.Statement<[{ id: number; nextMs: number; untilMs: number }]>;
  readonly #fail: Database.Statement<[{ id: number; nextMs: number }]>;
  readonly #drop: Database.Statement<[number]>;

  /** For the ledger. @param work.write does it as one transaction that holds the write lock from its beginning */
  constructor(database: Database.Database, work: { readonly attempt: Work; readonly write: Work }) {
    super(database, work.attempt);
    this.#write = work.write;
    this.#putState = database.prepare<[NoticeState]>(WRITING.putState);
    this.#add = database.prepare<[NewNotice & { job: string; atMs: number }]>(WRITING.addNotice);
    this.#restore = database.prepare<[Omit<Notice, 'id'>]>(WRITING.restore);
    this.#claim = database.prepare<[{ id: number; nextMs: number; untilMs: number }]>(WRITING.claim);
    this.#fail = database.prepare<[{ id: number; nextMs: number }]>(WRITING.fail);
    this.#drop = database.prepare<[number]>(WRITING.drop);
  }

  /**
   * Looks at a job's state and writes down a new one, together with all that is to be told of it, with no other
   * process in between.
   *
   * @param decide is given what is known; where it returns undefined nothing is changed
   * @param atMs when it was found, in milliseconds since 1970; the notices are due from then on
   */
  changeNotice(
    job: string,
    topic: NoticeTopic,
    decide: (known: NoticeState | undefined) => NoticeChange | undefined,
    atMs: number,
  ): void {
    // Nearly always nothing changes, and then nothing is written.
    if (decide(this.noticeState(job, topic)) === undefined) return;
    this.#write(() => {
      const change = decide(this.noticeState(job, topic));
      if (change === undefined) return;
      this.#putState.run({ ...change.state, job, topic });
      for (const { channel, body } of change.outbox) this.#add.run({ job, channel, body, atMs });
    });
  }

  /**
   * One notice for the caller alone, until `untilMs` (milliseconds since 1970). False where it is gone, or where
   * somebody has claimed it or tried it since it was read.
   */
  claimNotice({ id, nextMs }: Pick<Notice, 'id' | 'nextMs'>, untilMs: number): boolean {
    return this.#write(() => this.#claim.run({ id, nextMs, untilMs }).changes === 1);
  }

  /** Of a damaged ledger; within the transaction of the caller. */
  takeOver({ states, notices }: TakenOver): void {
    for (const state of states) this.#putState.run(state);
    for (const { job, channel, body, atMs, attempts, nextMs } of notices) {
      this.#restore.run({ job, channel, body, atMs, attempts, nextMs });
    }
  }

  /** It was not taken; it is due again at `nextMs` (milliseconds since 1970). */
  noticeFailed(id: number, nextMs: number): void {
    this.#write(() => this.#fail.run({ id, nextMs }));
  }

  /** It was taken, or is given up. */
  dropNotice(id: number): void {
    this.#write(() => this.#drop.run(id));
  }
}

function noticeFrom(row: NoticeRow): Notice {
  return {
    id: row.id,
    job: row.job,
    channel: row.channel,
    body: row.body,
    atMs: row.at_ms,
    attempts: row.attempts,
    nextMs: row.next_ms,
  };
}
