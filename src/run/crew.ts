/*
 * The crew: a bounded queue of work and the few workers that empty it. What has to wait before it is tried
 * again waits here, without keeping a worker. The first error that a worker throws ends the crew; the rest of
 * the queue is dropped, what is in the other workers' hands is brought to its end.
 *
 * An item is: queued -> in a worker's hands -> done, or -> waiting until its time -> queued again.
 */

/** What becomes of an item after a worker had it. */
export type Result<Item> = 'done' | { readonly again: Item; readonly inMs: number };

export interface CrewOptions<Item> {
  readonly workers: number;
  /** How many items may be queued or waiting; more have to wait outside. */
  readonly capacity: number;
  readonly work: (item: Item) => Promise<Result<Item>>;
  /** Where aborted, no further item is begun. */
  readonly stop: AbortSignal | undefined;
}

interface Later<Item> {
  readonly item: Item;
  readonly dueMs: number;
}

export class Crew<Item> {
  readonly #options: CrewOptions<Item>;
  readonly #queue: Item[] = [];
  readonly #later: Later<Item>[] = [];
  #working = 0;
  #state: 'open' | 'closing' | 'ended' = 'open';
  #failure: { readonly error: unknown } | undefined;
  #changed: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #workers: Promise<void>[];
  readonly #onStop = (): void => this.#end(undefined);

  constructor(options: CrewOptions<Item>) {
    this.#options = options;
    options.stop?.addEventListener('abort', this.#onStop, { once: true });
    if (options.stop?.aborted === true) this.#state = 'ended';
    this.#workers = Array.from({ length: options.workers }, () => this.#worker());
  }

  /** True once nothing that is added will be worked on. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** Queues items once there is room. After the crew's end they are dropped. */
  async add(items: readonly Item[]): Promise<void> {
    for (const item of items) {
      while (this.#state === 'open' && this.#queue.length + this.#later.length >= this.#options.capacity) {
        await this.#change();
      }
      if (this.#state !== 'open') return;
      this.#queue.push(item);
      this.#tell();
    }
  }

  /**
   * Nothing more will be added: waits until all is done, or the crew has ended.
   *
   * @throws the first error that a worker threw
   */
  async finish(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closing';
    this.#tell();
    await Promise.all(this.#workers);
    this.#end(undefined);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends the crew early; the work in hand is still waited for. */
  async abandon(): Promise<void> {
    this.#end(undefined);
    await Promise.all(this.#workers);
  }

  async #worker(): Promise<void> {
    for (;;) {
      const next = this.#next();
      if (next === 'nothing-left') return;
      if (next === 'wait') {
        await this.#change();
        continue;
      }
      this.#working += 1;
      try {
        const result = await this.#options.work(next.item);
        if (result !== 'done' && this.#state !== 'ended') this.#wait(result.again, result.inMs);
      } catch (error) {
        this.#end({ error });
      } finally {
        this.#working -= 1;
        this.#tell();
      }
    }
  }

  #next(): { readonly item: Item } | 'wait' | 'nothing-left' {
    if (this.#state === 'ended') return 'nothing-left';
    const due = this.#later[0];
    if (due !== undefined && due.dueMs <= performance.now()) {
      this.#later.shift();
      this.#tell();
      return { item: due.item };
    }
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.#tell();
      return { item: queued };
    }
    const over = this.#state === 'closing' && this.#later.length === 0 && this.#working === 0;
    return over ? 'nothing-left' : 'wait';
  }

  #wait(item: Item, inMs: number): void {
    const dueMs = performance.now() + inMs;
    const place = this.#later.findIndex((later) => later.dueMs > dueMs);
    this.#later.splice(place < 0 ? this.#later.length : place, 0, { item, dueMs });
    this.#alarm();
    this.#tell();
  }

  /** One timer, for the item that is due next. One that is due already waits for a worker, not for a timer. */
  #alarm(): void {
    clearTimeout(this.#timer);
    const now = performance.now();
    const next = this.#later.find(({ dueMs }) => dueMs > now);
    if (next === undefined || this.#state === 'ended') return;
    this.#timer = setTimeout(
      () => {
        this.#tell();
        this.#alarm();
      },
      Math.max(1, Math.ceil(next.dueMs - now)),
    );
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    this.#failure ??= failure;
    this.#state = 'ended';
    this.#options.stop?.removeEventListener('abort', this.#onStop);
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#later.length = 0;
    this.#tell();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  #tell(): void {
    const waiting = this.#changed;
    this.#changed = [];
    for (const resolve of waiting) resolve();
  }
}
