/*
 * Group commit: changes wait in memory for a short time so that many of them share one transaction and its fsync.
 * One state, changed in `#become` only:
 *   idle     nothing waits                                   -> waiting (add)
 *   waiting  changes wait for the timer or for the limit     -> idle (committed), failed (commit threw)
 *   failed   a commit threw; its changes are still here      -> idle (a later flush succeeded)
 * Knows nothing of SQL. Does not keep a process alive: who ends one calls `flush` before.
 */

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface GroupCommitOptions<Change> {
  /** Writes all of them and does that besides, in one transaction; or throws and has done none of it. */
  readonly commit: (changes: readonly Change[], besides: (() => void) | undefined) => void;
  /** Changes that are committed at once, without waiting. */
  readonly limit: number;
  /** Longest time that a change waits, in milliseconds. */
  readonly delayMs: number;
  /** Hears of a commit that failed where no caller was there to be told. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

export class GroupCommit<Change> {
  readonly #options: GroupCommitOptions<Change>;
  #pending: Change[] = [];
  #state: State = { kind: 'idle' };

  constructor(options: GroupCommitOptions<Change>) {
    this.#options = options;
  }

  /** Changes that are not committed yet; never more than `limit`. */
  get pending(): number {
    return this.#pending.length;
  }

  /** True where a change that is not committed yet is of the kind asked for. */
  some(asked: (change: Change) => boolean): boolean {
    return this.#pending.some(asked);
  }

  /**
   * Queues one change. After a failed commit the change is refused, while those accepted before stay queued.
   *
   * @throws the error of the failed commit, until a `flush` succeeds
   */
  add(change: Change): void {
    if (this.#state.kind === 'failed') throw this.#state.error;
    this.#pending.push(change);
    if (this.#pending.length >= this.#options.limit) this.#commitUnseen();
    else if (this.#state.kind === 'idle') {
      const timer = setTimeout(() => this.#commitUnseen(), this.#options.delayMs);
      timer.unref();
      this.#become({ kind: 'waiting', timer });
    }
  }

  /**
   * Commits what waits, also what an earlier commit failed to write.
   *
   * @param besides what is to be done in the same transaction, behind them
   * @throws the error of the commit; the changes stay queued
   */
  flush(besides?: () => void): void {
    if (this.#pending.length === 0 && besides === undefined) return;
    try {
      this.#options.commit(this.#pending, besides);
    } catch (error) {
      this.#become({ kind: 'failed', error });
      throw error;
    }
    this.#pending = [];
    this.#become({ kind: 'idle' });
  }

  /** Forgets what waits and stops the timer; for the end, after a `flush` that failed. */
  discard(): void {
    this.#pending = [];
    this.#become({ kind: 'idle' });
  }

  #commitUnseen(): void {
    try {
      this.flush();
    } catch (error) {
      this.#options.onFailure?.(error);
    }
  }

  #become(state: State): void {
    if (this.#state.kind === 'waiting') clearTimeout(this.#state.timer);
    this.#state = state;
  }
}
