/*
 * Sends what waits in the outbox until it is taken. In order: a channel is given one notice at a time, the oldest
 * first, and one that fails holds the later ones back, those of other jobs for a while, those of its own job for
 * good. A notice is claimed in the ledger before it is sent, so that two processes do not send it twice; one that was
 * killed in between leaves a claim that ends by itself, and then a notice may come twice, with the same id.
 *
 *   waiting -> (due) claimed -> taken: gone
 *                            -> refused: gone, and told in the log
 *                            -> not now: waiting, longer each time; after a week gone, and told
 */
import type { Channel } from '../job/job.js';
import type { Listener } from '../report/event.js';
import { keyed } from './channel.js';
import type { Clock } from './clock.js';
import type { NoticeMemory } from './memory.js';
import type { Sending } from './sending.js';
import type { WaitingNotice } from './store.js';

export interface OutboxOptions {
  readonly memory: NoticeMemory;
  readonly channelsOf: (job: string) => readonly Channel[];
  readonly send: (channel: Channel, notice: WaitingNotice, signal: AbortSignal) => Promise<Sending>;
  readonly listener: Listener;
  readonly clock: Clock;
  readonly random: () => number;
}

/** How many notices wait at most; of more, the oldest are dropped. */
export const MOST_WAITING = 500;

/** How long a notice is tried; whoever reads it after that learns nothing new. */
export const KEEP_MS = 7 * 86_400_000;

/** A clock that was wrong when the notice was written says nothing of its age: it has its chances all the same. */
export const LEAST_ATTEMPTS = 50;

/** How many channels are spoken to at the same time. */
const AT_ONCE = 4;

/** Pauses after the first, second and later failures. */
const PAUSES_MS = [10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000];

/** A channel that asks to be left alone is, for so long at most. */
const LONGEST_PAUSE_MS = 3_600_000;

/** A claim outlives the attempt by this. */
const CLAIM_MS = 60_000;

/** From so many failures on a notice no longer holds back those of other jobs. */
const STUCK_ATTEMPTS = 12;

/** Another process may have written something, and the clock may have been set. */
const LOOK_EVERY_MS = 60_000;

interface Letter {
  readonly notice: WaitingNotice;
  readonly channel: Channel;
  /** What is spoken to one at a time. */
  readonly lane: string;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stop = new AbortController();
  /** Lanes that are in use, with what is under way there. */
  readonly #underWay = new Map<string, Promise<void>>();
  #takeBackTimer: (() => void) | undefined;
  #onIdle: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Sends what is due, and comes back by itself when more is. */
  look(): void {
    if (this.#stop.signal.aborted) return;
    const nowMs = this.#options.clock.wallMs();
    let nextMs = nowMs + LOOK_EVERY_MS;
    for (const letter of this.#candidates(nowMs)) {
      const dueMs = dueMsOf(letter, nowMs);
      if (this.#underWay.has(letter.lane)) continue;
      if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
      else if (this.#underWay.size < AT_ONCE) this.#begin(letter, nowMs);
    }
    this.#takeBackTimer?.();
    this.#takeBackTimer = this.#options.clock.after(Math.max(1, nextMs - nowMs), () => this.look(), 'free');
    if (this.#underWay.size > 0) return;
    for (const tell of this.#onIdle.splice(0)) tell();
  }

  /** Resolves once nothing is due and nothing under way. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stop.signal.aborted) {
        resolve();
        return;
      }
      this.#onIdle.push(resolve);
      this.look();
    });
  }

  /** Calls off what is under way; it stays due. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#takeBackTimer?.();
    await Promise.all(this.#underWay.values());
    for (const tell of this.#onIdle.splice(0)) tell();
  }

  /** What may be sent next, due or not; what will not be sent any more is dropped on the way. */
  #candidates(nowMs: number): Letter[] {
    const { memory } = this.#options;
    let waiting = memory.waiting(2 * MOST_WAITING);
    if (waiting.length > MOST_WAITING) {
      const tooMany = waiting.slice(0, waiting.length - MOST_WAITING);
      for (const notice of tooMany) {
        this.#giveUp(notice, `More than ${MOST_WAITING} notices wait, and it was the oldest.`);
      }
      waiting = waiting.slice(tooMany.length);
    }
    const lanes = new Map<string, { readonly jobs: Set<string>; blocked: 'yes' | 'no' }>();
    const candidates: Letter[] = [];
    for (const notice of waiting) {
      const channel = keyed(this.#options.channelsOf(notice.job)).find(
        ({ key }) => key === notice.channel,
      )?.channel;
      const isOld = nowMs - notice.atMs > KEEP_MS;
      if (channel === undefined) {
        // A file that is broken just now takes its channels along; they may come back.
        if (isOld) this.#giveUp(notice, 'The configuration has had no such channel for long.');
        continue;
      }
      if (isOld && notice.attempts >= LEAST_ATTEMPTS) {
        this.#giveUp(notice, `Nobody took it for ${KEEP_MS / 86_400_000} days.`);
        continue;
      }
      const lane = JSON.stringify(channel);
      const ahead = lanes.get(lane) ?? { jobs: new Set<string>(), blocked: 'no' };
      lanes.set(lane, ahead);
      if (ahead.blocked === 'yes' || ahead.jobs.has(notice.job)) continue;
      ahead.jobs.add(notice.job);
      if (notice.attempts < STUCK_ATTEMPTS) ahead.blocked = 'yes';
      candidates.push({ notice, channel, lane });
    }
    return candidates;
  }

  #begin(letter: Letter, nowMs: number): void {
    const claimedMs = nowMs + letter.channel.timeLimitMs + CLAIM_MS;
    if (!this.#options.memory.claim(letter.notice, claimedMs)) return;
    const done = this.#send(letter, claimedMs).finally(() => {
      this.#underWay.delete(letter.lane);
      this.look();
    });
    this.#underWay.set(letter.lane, done);
  }

  async #send({ notice, channel }: Letter, claimedMs: number): Promise<void> {
    const { memory, send } = this.#options;
    let sending: Sending;
    try {
      sending = await send(channel, notice, this.#stop.signal);
    } catch (error) {
      sending = { kind: 'not-now', message: error instanceof Error ? error.message : String(error) };
    }
    switch (sending.kind) {
      case 'taken':
        memory.drop(notice.id);
        this.#tellSent(notice, sending.message);
        return;
      case 'refused':
        this.#giveUp(notice, sending.message);
        return;
      case 'stopped':
        memory.release(notice, claimedMs);
        return;
      case 'not-now':
        this.#failed(notice, sending);
    }
  }

  #failed(notice: WaitingNotice, { message, afterMs }: Extract<Sending, { kind: 'not-now' }>): void {
    const { memory, clock, random } = this.#options;
    const attempt = notice.attempts + 1;
    const pauseMs = PAUSES_MS[Math.min(attempt, PAUSES_MS.length) - 1] ?? LONGEST_PAUSE_MS;
    const delayMs = Math.max(
      Math.round(pauseMs * (0.8 + 0.4 * random())),
      Math.min(afterMs ?? 0, LONGEST_PAUSE_MS),
    );
    memory.failed(notice.id, clock.wallMs() + delayMs);
    // A channel that is down for a week is told of a few times, and not at each attempt.
    if (Number.isInteger(Math.log2(attempt))) this.#tellFailed(notice, message, delayMs);
  }

  #giveUp(notice: WaitingNotice, message: string): void {
    this.#options.memory.drop(notice.id);
    this.#tellFailed(notice, message, undefined);
  }

  #tellSent(notice: WaitingNotice, message: string): void {
    this.#options.listener({ event: 'notice.sent', ...whereOf(notice), message });
  }

  #tellFailed(notice: WaitingNotice, message: string, delayMs: number | undefined): void {
    this.#options.listener({
      event: 'notice.failed',
      ...whereOf(notice),
      ...(delayMs === undefined ? {} : { delayMs }),
      message,
    });
  }
}

function whereOf({ job, channel, attempts, body }: WaitingNotice) {
  return { ...(job === '' ? {} : { job }), notice: noticeOf(body), channel, attempt: attempts + 1 };
}

/** What kind of notice it is, for the log. */
function noticeOf(body: string): string {
  const found: unknown = JSON.parse(body);
  const named = typeof found === 'object' && found !== null && 'notice' in found ? found.notice : undefined;
  return typeof named === 'string' ? named : 'unknown';
}

/** A moment further off than any pause was written by a clock that has been set back since. */
function dueMsOf({ notice, channel }: Letter, nowMs: number): number {
  const furthestMs = nowMs + Math.max(LONGEST_PAUSE_MS, 1.2 * 900_000, channel.timeLimitMs + CLAIM_MS);
  return notice.nextMs > furthestMs ? nowMs : notice.nextMs;
}
