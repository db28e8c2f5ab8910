/*
 * The ledger's states and outbox, and what stands in for them while the ledger cannot be written: a disk that is full
 * makes runs fail, and that is exactly what somebody has to be told. What the ledger does not take is kept here, in
 * bounds, and sent from here; it is lost with the process, while states go into the ledger as soon as it takes them.
 * No method throws.
 */
import type { Aspect, Change, NoticeTable, StoredState, WaitingNotice } from './store.js';

/** How many notices are kept here, at most; the oldest go first. */
const MOST_KEPT = 100;

export class NoticeMemory {
  readonly #table: NoticeTable;
  readonly #onTrouble: (error: unknown) => void;
  /** States that the ledger did not take, by `keyOf`. */
  readonly #states = new Map<string, StoredState>();
  /** Notices that it did not take; their ids are negative. */
  #kept: WaitingNotice[] = [];
  #lastId = 0;
  /** Notices in the ledger that are done with, although it could not be told. */
  readonly #done = new Set<number>();
  #ledger: 'well' | 'in-trouble' = 'well';

  /** @param onTrouble hears of the first failure of each time of trouble */
  constructor(table: NoticeTable, onTrouble: (error: unknown) => void) {
    this.#table = table;
    this.#onTrouble = onTrouble;
  }

  /** As `NoticeTable.changeNotice`. `decide` may be asked several times; its last answer counts. */
  change(
    job: string,
    topic: Aspect,
    decide: (known: StoredState | undefined) => Change | undefined,
    atMs: number,
  ): void {
    const key = `${topic} ${job}`;
    const mine = this.#states.get(key);
    const written = this.#write(() => {
      this.#table.changeNotice(
        job,
        topic,
        (known) => decide(mine ?? known) ?? (mine === undefined ? undefined : { state: mine, outbox: [] }),
        atMs,
      );
      return 'written';
    });
    if (written !== undefined) {
      this.#states.delete(key);
      return;
    }
    const known = mine ?? this.#read(() => this.#table.noticeState(job, topic));
    const change = decide(known);
    if (change === undefined) return;
    this.#states.set(key, { ...change.state, job, topic });
    for (const notice of change.outbox) {
      this.#lastId -= 1;
      this.#kept.push({ ...notice, id: this.#lastId, job, atMs, attempts: 0, nextMs: atMs });
    }
    this.#kept = this.#kept.slice(-MOST_KEPT);
  }

  /** The state of one aspect of a job. */
  state(job: string, topic: Aspect): StoredState | undefined {
    return this.#states.get(`${topic} ${job}`) ?? this.#read(() => this.#table.noticeState(job, topic));
  }

  /** Jobs that have a state in an aspect. */
  jobsWith(topic: Aspect): readonly string[] {
    const stored = this.#read(() => this.#table.noticeStates(topic)) ?? [];
    const mine = [...this.#states.values()].filter((state) => state.topic === topic);
    return [...new Set([...stored, ...mine].map(({ job }) => job))];
  }

  /** The oldest notices, in the order in which they were written. */
  waiting(limit: number): readonly WaitingNotice[] {
    for (const id of this.#done) this.drop(id);
    const stored = this.#read(() => this.#table.waitingNotices(limit)) ?? [];
    return [...stored.filter(({ id }) => !this.#done.has(id)), ...this.#kept].slice(0, limit);
  }

  /** True where the notice is the caller's to send until `untilMs`. */
  claim(notice: WaitingNotice, untilMs: number): boolean {
    if (notice.id < 0) return this.#alter(notice.id, (kept) => ({ ...kept, nextMs: untilMs }));
    return this.#write(() => this.#table.claimNotice(notice, untilMs)) ?? false;
  }

  /** It was claimed, and not tried: it is due again as before. */
  release(notice: WaitingNotice, claimedUntilMs: number): void {
    this.claim({ ...notice, nextMs: claimedUntilMs }, notice.nextMs);
  }

  failed(id: number, nextMs: number): void {
    if (id < 0) this.#alter(id, (kept) => ({ ...kept, attempts: kept.attempts + 1, nextMs }));
    // Where that cannot be written it stays claimed for a while.
    else this.#write(() => this.#table.noticeFailed(id, nextMs));
  }

  /** It was taken, or is given up. */
  drop(id: number): void {
    if (id < 0) {
      this.#kept = this.#kept.filter((kept) => kept.id !== id);
      return;
    }
    const written = this.#write(() => {
      this.#table.dropNotice(id);
      return 'written';
    });
    if (written === undefined) this.#done.add(id);
    else this.#done.delete(id);
  }

  #alter(id: number, change: (kept: WaitingNotice) => WaitingNotice): boolean {
    const found = this.#kept.some((kept) => kept.id === id);
    this.#kept = this.#kept.map((kept) => (kept.id === id ? change(kept) : kept));
    return found;
  }

  /** Undefined where the ledger cannot do it now. Trouble is over once something is written again. */
  #write<Result>(work: () => Result): Result | undefined {
    return this.#read(() => {
      const result = work();
      this.#ledger = 'well';
      return result;
    });
  }

  #read<Result>(work: () => Result): Result | undefined {
    try {
      return work();
    } catch (error) {
      if (this.#ledger === 'well') this.#onTrouble(error);
      this.#ledger = 'in-trouble';
      return undefined;
    }
  }
}
