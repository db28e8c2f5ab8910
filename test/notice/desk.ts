/*
 * A notice board on a real ledger, with a clock that is moved by hand and one webhook: what a process is to notices.
 * Several may be opened on one ledger, at once or one after the other.
 */
import { writeFileSync } from 'node:fs';
import type { Channel, Ping } from '../../src/job/job.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { NoticeBoard } from '../../src/notice/board.js';
import type { NoticeStore } from '../../src/notice/store.js';
import { emptyTally, type Outcome, type RunFailure } from '../../src/plan/outcome.js';
import type { FerrydEvent } from '../../src/report/event.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { began, ended, ManualClock } from './stage.js';

export interface DeskOptions {
  readonly channels: readonly Channel[];
  readonly clock?: ManualClock;
  /** Expected of every job; nothing unless told. */
  readonly freshnessMs?: number;
  readonly jobs?: readonly string[];
  readonly ping?: Ping;
  /** What the board is given in place of the ledger. */
  readonly store?: (ledger: Ledger) => NoticeStore;
}

export class Desk implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly clock: ManualClock;
  readonly ledger: Ledger;
  readonly board: NoticeBoard;
  readonly events: FerrydEvent[] = [];
  /** May be changed while the board is in use, as by a reload. */
  channels: readonly Channel[];
  freshnessMs: number | undefined;
  readonly #owned: 'directory' | 'nothing';

  private constructor(directory: TemporaryDirectory, options: DeskOptions, owned: 'directory' | 'nothing') {
    this.directory = directory;
    this.clock = options.clock ?? new ManualClock();
    this.channels = options.channels;
    this.freshnessMs = options.freshnessMs;
    this.#owned = owned;
    this.ledger = openLedger(directory.join('ledger.db'));
    this.board = new NoticeBoard({
      store: options.store?.(this.ledger) ?? this.ledger,
      listener: (event) => this.events.push(event),
      channelsOf: () => this.channels,
      pingOf: () => options.ping,
      jobs: () =>
        (options.jobs ?? ['a']).map((name) => ({ name, expect: { freshnessMs: this.freshnessMs } })),
      host: 'box',
      environment: { PATH: process.env.PATH },
      clock: this.clock,
      random: () => 0.5,
    });
  }

  static async open(options: DeskOptions): Promise<Desk> {
    return new Desk(await temporaryDirectory('notice'), options, 'directory');
  }

  /** Another process on the same ledger. */
  beside(options: Partial<DeskOptions> = {}): Desk {
    return new Desk(this.directory, { clock: this.clock, channels: this.channels, ...options }, 'nothing');
  }

  /** A run that begins and ends now. @returns its number */
  run(outcome: Outcome, failure?: RunFailure, { job = 'a' }: { readonly job?: string } = {}): number {
    const id = this.begin(job);
    this.end(id, outcome, failure, { job });
    return id;
  }

  begin(job = 'a'): number {
    const startedAtMs = this.clock.wallMs();
    const bindingId = this.ledger.bind(
      { job, direction: 'push', server: 'nas', remoteRoot: '', localRoot: `/srv/${job}` },
      startedAtMs,
    );
    const id = this.ledger.startRun({ job, bindingId, trigger: 'by hand', pid: process.pid, startedAtMs });
    this.board.listener(began(job, id));
    return id;
  }

  end(
    id: number,
    outcome: Outcome,
    failure?: RunFailure,
    { job = 'a' }: { readonly job?: string } = {},
  ): void {
    this.ledger.endRun(id, { outcome, tally: emptyTally(), failure, endedAtMs: this.clock.wallMs() });
    this.board.listener(ended(job, id, outcome, failure === undefined ? {} : { failure }));
  }

  /** Names of the log's events, with what they are about. */
  get log(): string[] {
    return this.events.map((event) =>
      event.event === 'notice.sent' || event.event === 'notice.failed'
        ? `${event.event} ${event.notice} ${event.channel}`
        : event.event,
    );
  }

  file(name: string, text: string): string {
    const path = this.directory.join(name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.board.stop();
    this.ledger.close();
    if (this.#owned === 'directory') await this.directory.remove();
  }
}
