/*
 * Notices that the jobs directory has changed, or hears that somebody asks (SIGHUP), and has it loaded anew: one load
 * at a time, and once more where something changed meanwhile. What the change means is in reload.ts.
 */
import type { Configuration } from '../job/load.js';
import { watchTrigger } from '../trigger/watch.js';

export interface RefreshOptions {
  /** Absolute path of the jobs directory. */
  readonly directory: string;
  readonly load: () => Promise<Configuration>;
  /** Takes what was loaded. */
  readonly take: (configuration: Configuration) => Promise<void>;
  /** Hears why something went wrong, in a sentence. */
  readonly onProblem: (message: string) => void;
}

/** An editor saves in several steps; a load in the middle of them would tell of mistakes that nobody made. */
const SETTLE_MS = 500;

/** Where no event comes, the directory is looked at all the same. */
const RESCAN_MS = 5 * 60_000;
const POLL_MS = 30_000;

export class Refresh {
  readonly #options: RefreshOptions;
  readonly #watch;
  #stage: 'idle' | 'loading' | 'stopped' = 'idle';
  #askedAgain = false;
  #loading: Promise<void> = Promise.resolve();

  constructor(options: RefreshOptions) {
    this.#options = options;
    this.#watch = watchTrigger(
      { root: options.directory, settleMs: SETTLE_MS, rescanMs: RESCAN_MS, pollMs: POLL_MS, events: 'auto' },
      () => void this.ask(),
      options.onProblem,
    );
  }

  /** Starts to watch the directory. */
  async start(): Promise<void> {
    await this.#watch.start();
  }

  /** Loads the directory anew; resolves when what it says now holds. */
  async ask(): Promise<void> {
    if (this.#stage === 'stopped') return;
    if (this.#stage === 'idle') {
      this.#stage = 'loading';
      this.#loading = this.#load();
    } else {
      this.#askedAgain = true;
    }
    await this.#loading;
  }

  /** Ends the watch; resolves when nothing is being loaded any more. */
  async stop(): Promise<void> {
    this.#stage = 'stopped';
    await Promise.all([this.#watch.stop(), this.#loading]);
  }

  async #load(): Promise<void> {
    const { load, take, onProblem } = this.#options;
    do {
      this.#askedAgain = false;
      try {
        const configuration = await load();
        if (this.#isStopped()) return;
        await take(configuration);
      } catch (error) {
        onProblem(
          `The jobs directory was loaded anew, and not all of it could be taken: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    } while (this.#askedAgain && !this.#isStopped());
    if (!this.#isStopped()) this.#stage = 'idle';
  }

  #isStopped(): boolean {
    return this.#stage === 'stopped';
  }
}
