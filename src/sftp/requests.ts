/*
 * Requests and answers on one channel (draft-ietf-secsh-filexfer-02 sections 3 and 6): any number under way at once,
 * matched by their ids, in whatever order the answers come. An answer of another kind than its request can have, or
 * to none, ends the session: from there on nobody knows what vouches for what.
 *
 * A peer is silent where for the time of an answer not one byte came, though answers are owed, and none of ours was
 * taken: with hundreds of requests under way on a slow link, the last ones wait for long. One request that others
 * overtake for that time is lost. Retries nothing.
 */
import type { Duplex } from 'node:stream';
import { SftpError, type SftpErrorKind, type SftpPhase, type SftpStatus } from './errors.js';
import { hear } from './hearing.js';
import { Outgoing } from './outgoing.js';
import {
  answerName,
  type Field,
  FieldReader,
  MalformedPacket,
  PACKET,
  type Packet,
  PacketParser,
} from './packet.js';
import { printable } from './printable.js';
import { readStatus, STATUS, statusSentence } from './status.js';
import { duration, type Transfer } from './transfer.js';
import { UnderWay } from './under-way.js';
import { type Version, VersionReader } from './version.js';

/** The connection that a channel belongs to: SshConnection, or what stands for it. */
export interface Carrier {
  readonly where: string;
  readonly software: string;
  readonly usable: boolean;
  /** Why it ended; never rejects. */
  readonly ended: Promise<SftpError>;
  close(): Promise<void>;
  reset(): void;
}

/** What answers a request, besides a STATUS that refuses it. */
export interface Answer<T> {
  readonly type: number;
  readonly read: (body: FieldReader) => T;
  /** The value that STATUS EOF stands for; without it that is an error like any other. */
  readonly end?: { readonly value: T };
}

/** STATUS OK. */
export const DONE: Answer<void> = { type: PACKET.STATUS, read: () => undefined };

/** One request. */
export interface Question<T> {
  readonly type: number;
  /** `OPEN`, `fsync@openssh.com`: for errors and the wire log. */
  readonly request: string;
  /** Ends the sentence "nas:22 did not ...". */
  readonly asked: string;
  readonly fields: readonly Field[];
  readonly answer: Answer<T>;
  readonly phase?: SftpPhase;
  readonly signal?: AbortSignal | undefined;
  /** How long the server may work on it, besides the time for any answer. */
  readonly workingMs?: number | undefined;
  /** Whose bytes move with it. */
  readonly transfer?: Transfer | undefined;
  /** Hears the answer where nobody waits for it any more. */
  readonly late?: (value: T) => void;
  /** Once it is answered, or the session has ended; also where it was given up. */
  readonly settled?: () => void;
  /** What the wire log shows behind the request's name. */
  readonly shown?: () => string;
}

export interface RequestsOptions {
  readonly where: string;
  readonly replyTimeoutMs: number;
  readonly onWire?: ((line: string) => void) | undefined;
  /** What is shown nowhere, also where the server repeats it. */
  readonly secrets?: readonly string[] | undefined;
}

interface Waiting {
  readonly id: number;
  readonly question: Question<unknown>;
  readonly sequence: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Hears of the signal no more. */
  readonly unhear: (() => void) | undefined;
  state: 'wanted' | 'given-up';
}

type State =
  | { readonly kind: 'opening'; readonly reader: VersionReader; readonly begun: (version: Version) => void }
  | { readonly kind: 'open' }
  /** Nothing new is asked. */
  | { readonly kind: 'closing' }
  | { readonly kind: 'ended'; readonly error: SftpError };

/** How long the rest of a banner's first line is waited for. */
const BANNER_WAIT_MS = 500;
/** How long the reason is waited for, for which a connection has ended. */
const REASON_WAIT_MS = 1_000;
/** How long a good end may take. */
const CLOSE_WAIT_MS = 5_000;

const ignore = (): void => {};

/** The requests of one session. */
export class Requests {
  readonly #channel: Duplex;
  readonly #carrier: Carrier;
  readonly #options: RequestsOptions;
  readonly #parser = new PacketParser();
  readonly #outgoing: Outgoing;
  readonly #waiting = new UnderWay<Waiting>();
  readonly #onData = (chunk: Buffer): void => this.#receive(chunk);
  readonly #onGone = (): void => this.#gone();
  readonly #onError = (error: Error): void => this.#gone(error);
  #state: State;
  #sequence = 0;
  /** The highest sequence that was answered. */
  #answered = 0;
  #overtaken: { readonly sequence: number; readonly sinceMs: number } | undefined;
  #progressMs = 0;
  #takenMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #openingTimer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;
  #tellEnd: (error: SftpError) => void = ignore;
  /** Why the session ended; never rejects. */
  readonly ended: Promise<SftpError>;

  private constructor(
    channel: Duplex,
    carrier: Carrier,
    options: RequestsOptions,
    begun: (version: Version) => void,
  ) {
    this.#channel = channel;
    this.#carrier = carrier;
    this.#options = options;
    this.#state = { kind: 'opening', reader: new VersionReader(), begun };
    this.ended = new Promise((resolve) => {
      this.#tellEnd = resolve;
    });
    this.#outgoing = new Outgoing(channel, () => {
      this.#takenMs = performance.now();
      this.#progressMs = this.#takenMs;
    });
    channel
      .on('data', this.#onData)
      .on('error', this.#onError)
      .on('end', this.#onGone)
      .on('close', this.#onGone);
    void carrier.ended.then((error) => this.#end(error));
  }

  /**
   * Says INIT and waits for VERSION.
   *
   * @param signal ends the session while it is being opened
   * @throws {SftpError} phase `session`: `timeout`, `lost`, `aborted`; `malformed` for noise, or a version below 3
   */
  static async open(
    channel: Duplex,
    carrier: Carrier,
    options: RequestsOptions & { readonly signal?: AbortSignal | undefined },
  ): Promise<{ requests: Requests; version: Version }> {
    const { where, replyTimeoutMs, signal } = options;
    let begun: (version: Version) => void = ignore;
    const opened = new Promise<Version>((resolve) => {
      begun = resolve;
    });
    const requests = new Requests(channel, carrier, options, begun);
    const onAbort = (): void => {
      requests.#fail('aborted', `The SFTP session with ${where} was not wanted any more.`, {
        phase: 'session',
      });
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    requests.#openingTimer = setTimeout(() => {
      const message = `${where} did not begin to speak SFTP in ${duration(replyTimeoutMs)}.`;
      requests.#fail('timeout', message, { phase: 'session', request: 'INIT' });
    }, replyTimeoutMs);
    options.onWire?.('> INIT 3');
    requests.#outgoing.add({ type: PACKET.INIT, id: 3, fields: [] });
    try {
      const version = await Promise.race([
        opened,
        requests.ended.then((error) => {
          throw error;
        }),
      ]);
      return { requests, version };
    } finally {
      clearTimeout(requests.#openingTimer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  get where(): string {
    return this.#options.where;
  }

  /** False once nothing can be asked any more. */
  get usable(): boolean {
    return this.#state.kind === 'open';
  }

  /** When the channel took bytes of ours last; 0 where nothing lies before it any more. */
  get takenMs(): number {
    return this.#outgoing.isWaiting ? this.#takenMs : 0;
  }

  /**
   * Asks. What is asked in one turn of the event loop leaves in one write; buffers among the fields may be used anew
   * on return.
   *
   * @throws {SftpError} (as a rejection) `status` where it is refused; `aborted` by its signal; else why the session ended
   */
  ask<T>(question: Question<T>): Promise<T> {
    const state = this.#state;
    if (state.kind === 'ended' || state.kind === 'closing') {
      question.settled?.();
      return refused(state.kind === 'ended' ? state.error : this.#closed());
    }
    const { signal } = question;
    if (signal?.aborted === true) {
      question.settled?.();
      return refused(this.#unwanted(question));
    }
    const id = this.#waiting.freeId();
    const promise = new Promise<T>((resolve, reject) => {
      if (this.#waiting.size === 0) this.#progressMs = performance.now();
      this.#sequence += 1;
      this.#waiting.add({
        id,
        // An answer is only ever read by the question that it belongs to.
        question: question as Question<unknown>,
        sequence: this.#sequence,
        resolve: resolve as (value: unknown) => void,
        reject,
        unhear: signal === undefined ? undefined : hear(signal, () => this.#giveUp(id)),
        state: 'wanted',
      });
    });
    // It may be one of several in a flight: see quietly.ts.
    promise.catch(ignore);
    const { onWire } = this.#options;
    if (onWire !== undefined) {
      const shown = question.shown?.() ?? '';
      onWire(`> ${question.request} ${id}${shown === '' ? '' : ` ${shown}`}`);
    }
    this.#outgoing.add({ type: question.type, id, fields: question.fields });
    if (this.#timer === undefined) this.#arm(this.#options.replyTimeoutMs / 4);
    return promise;
  }

  /** Ends the session: what came is not what can come. Returns the error for whoever found it out. */
  outOfStep(what: string, request: string): SftpError {
    return this.#fail('malformed', `${this.where} does not answer as SFTP wants it: ${what}.`, {
      phase: 'request',
      request,
    });
  }

  /**
   * Ends in good order: waits for what is under way, then closes channel and connection. Bounded; never throws.
   */
  async close(): Promise<void> {
    if (this.#state.kind === 'open') {
      this.#state = { kind: 'closing' };
      if (this.#waiting.size > 0) {
        await within(CLOSE_WAIT_MS, (done) => {
          this.#idle = done;
        });
      }
    }
    if (this.#state.kind !== 'ended') {
      const channel = this.#channel;
      this.#end(this.#closed(), 'gently');
      if (!channel.destroyed) {
        await within(CLOSE_WAIT_MS, (done) => {
          channel.once('close', done);
          channel.end();
          channel.resume();
        });
        channel.destroy();
      }
    }
    await this.#carrier.close();
  }

  /** Ends at once. */
  reset(): void {
    this.#end(
      new SftpError('aborted', `The SFTP session with ${this.where} was given up.`, { phase: 'request' }),
    );
  }

  #closed(): SftpError {
    return new SftpError('aborted', `The SFTP session with ${this.where} was closed.`, { phase: 'request' });
  }

  #unwanted({
    request,
    phase = 'request',
    signal,
  }: {
    readonly request: string;
    readonly phase?: SftpPhase;
    readonly signal?: AbortSignal | undefined;
  }): SftpError {
    return new SftpError('aborted', `The ${request} to ${this.where} was not wanted any more.`, {
      phase,
      request,
      cause: signal?.reason,
    });
  }

  #giveUp(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    waiting.state = 'given-up';
    waiting.reject(this.#unwanted(waiting.question));
  }

  #receive(chunk: Buffer): void {
    this.#progressMs = performance.now();
    try {
      let bytes = chunk;
      if (this.#state.kind === 'opening') {
        const rest = this.#greet(this.#state, chunk);
        if (rest === undefined) return;
        bytes = rest;
      }
      for (const packet of this.#parser.push(bytes)) {
        this.#dispatch(packet);
        if (this.#state.kind === 'ended') return;
      }
      const arriving = this.#parser.arrivingId;
      if (arriving !== undefined) this.#waiting.get(arriving)?.question.transfer?.moved();
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      const phase = this.#state.kind === 'opening' ? 'session' : 'request';
      this.#fail('malformed', `${this.where} does not speak SFTP as it should: it sent ${error.message}.`, {
        phase,
        request: this.#waiting.oldest()?.question.request,
      });
    }
  }

  /** Returns what lies behind VERSION, once that has come. */
  #greet(state: State & { kind: 'opening' }, chunk: Buffer): Buffer | undefined {
    const { reader, begun } = state;
    const greeting = reader.push(chunk);
    if (greeting === undefined) {
      if (reader.isNoise) {
        clearTimeout(this.#openingTimer);
        this.#openingTimer = setTimeout(() => this.#noise(reader.printed() ?? ''), BANNER_WAIT_MS);
      }
      return undefined;
    }
    if (greeting.kind === 'noise') {
      this.#noise(greeting.line);
      return undefined;
    }
    const { version } = greeting.version;
    this.#options.onWire?.(`< VERSION ${version} ${[...greeting.version.extensions.keys()].join(' ')}`);
    if (version < 3) {
      this.#fail(
        'malformed',
        `${this.where} speaks version ${version} of SFTP, and version 3 is the oldest that is understood here. Its SFTP server needs an update.`,
        { phase: 'session', request: 'INIT' },
      );
      return undefined;
    }
    this.#state = { kind: 'open' };
    begun(greeting.version);
    return greeting.rest;
  }

  #noise(line: string): void {
    const shown = line === '' ? 'text' : `"${line}"`;
    this.#fail(
      'malformed',
      `${this.where} printed ${shown} where SFTP should begin. The shell of that account prints text: its start-up files (such as .bashrc) must print nothing where there is no terminal; or the server's own internal-sftp, which runs no shell, is set up for the account.`,
      { phase: 'session', request: 'INIT', code: 'NOISE' },
    );
  }

  #dispatch(packet: Packet): void {
    const waiting = this.#waiting.get(packet.id);
    if (waiting === undefined) {
      this.#fail(
        'malformed',
        `${this.where} sent ${answerName(packet.type)} for a request that was not made.`,
        {
          phase: 'request',
        },
      );
      return;
    }
    const { question } = waiting;
    this.#waiting.delete(waiting);
    if (waiting.sequence > this.#answered) this.#answered = waiting.sequence;
    waiting.unhear?.();
    question.settled?.();
    try {
      this.#conclude(waiting, packet);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      const what = `${answerName(packet.type)} to ${question.request} is ${error.message}`;
      waiting.reject(this.outOfStep(what, question.request));
    }
    if (this.#waiting.size === 0) this.#idle?.();
  }

  #conclude(waiting: Waiting, packet: Packet): void {
    const { question } = waiting;
    const { answer } = question;
    const { onWire, secrets } = this.#options;
    if (packet.type === PACKET.STATUS) {
      const status = readStatus(packet.body, secrets);
      onWire?.(`< STATUS ${packet.id} ${status.code} ${status.words}`);
      if (status.code === STATUS.EOF && answer.end !== undefined) {
        waiting.resolve(answer.end.value);
      } else if (status.code !== STATUS.OK) {
        waiting.reject(this.#refusal(question, status));
      } else if (answer.type === PACKET.STATUS) {
        waiting.resolve(undefined);
      } else {
        waiting.reject(
          this.outOfStep(
            `STATUS says that ${question.request} was done, and holds no answer`,
            question.request,
          ),
        );
      }
      return;
    }
    onWire?.(`< ${answerName(packet.type)} ${packet.id} ${packet.body.length} bytes`);
    if (packet.type !== answer.type) {
      const what = `${answerName(packet.type)} came for ${question.request}`;
      waiting.reject(this.outOfStep(what, question.request));
      return;
    }
    const value = answer.read(new FieldReader(packet.body));
    if (waiting.state === 'given-up') question.late?.(value);
    else waiting.resolve(value);
  }

  #refusal({ request, asked, phase = 'request' }: Question<unknown>, status: SftpStatus): SftpError {
    return new SftpError('status', statusSentence(this.where, { request, asked }, status), {
      phase,
      request,
      status,
    });
  }

  #arm(inMs: number): void {
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#look();
      },
      Math.max(inMs, 1),
    );
  }

  /** Looks whether the peer is silent, or has lost a request. One timer, however many requests there are. */
  #look(): void {
    const oldest = this.#waiting.oldest();
    if (oldest === undefined) return;
    const nowMs = performance.now();
    const allowedMs = this.#options.replyTimeoutMs + this.#workingMs();
    const quietMs = nowMs - this.#progressMs;
    if (oldest.sequence > this.#answered) this.#overtaken = undefined;
    else if (this.#overtaken?.sequence !== oldest.sequence)
      this.#overtaken = { sequence: oldest.sequence, sinceMs: nowMs };
    const overtakenMs = this.#overtaken === undefined ? 0 : nowMs - this.#overtaken.sinceMs;
    if (quietMs >= allowedMs || overtakenMs >= allowedMs) {
      const { request, phase = 'request' } = oldest.question;
      this.#fail('timeout', `${this.where} did not answer ${request} in ${duration(allowedMs)}.`, {
        phase,
        request,
      });
      return;
    }
    this.#arm(Math.min(allowedMs - Math.max(quietMs, overtakenMs), allowedMs / 4));
  }

  #workingMs(): number {
    let workingMs = 0;
    for (const { question } of this.#waiting.all())
      if (question.workingMs !== undefined) workingMs = Math.max(workingMs, question.workingMs);
    return workingMs;
  }

  /** The channel has ended. Where the connection has, too, that knows the better reason, and may tell it in a moment. */
  #gone(error?: Error): void {
    if (this.#state.kind === 'ended') return;
    const printed = this.#state.kind === 'opening' ? this.#state.reader.printed() : undefined;
    if (printed !== undefined) {
      this.#noise(printed);
      return;
    }
    const tell = (): void => {
      if (this.#state.kind === 'ended') return;
      // The channel knows why it ended.
      if (error instanceof SftpError) {
        this.#end(error);
        return;
      }
      const opening = this.#state.kind === 'opening';
      const code = error === undefined ? undefined : codeOf(error);
      const what = opening
        ? `${this.where} closed the SFTP channel before it said a word. Its SFTP server does not start for this account: the server's log says why.`
        : `${this.where} closed the SFTP channel${code === undefined ? '' : ` (${code})`}.`;
      this.#fail('lost', what, {
        phase: opening ? 'session' : 'request',
        request: opening ? 'INIT' : this.#waiting.oldest()?.question.request,
        code,
        cause: error,
      });
    };
    setImmediate(() => {
      if (this.#state.kind === 'ended') return;
      if (this.#carrier.usable) tell();
      else this.#openingTimer = setTimeout(tell, REASON_WAIT_MS);
    });
  }

  #fail(
    kind: SftpErrorKind,
    message: string,
    details: { phase: SftpPhase; request?: string | undefined; code?: string | undefined; cause?: unknown },
  ): SftpError {
    const error = new SftpError(kind, message, details);
    this.#end(error);
    return this.#state.kind === 'ended' ? this.#state.error : error;
  }

  /** The only place where the session ends. */
  #end(reason: SftpError, how: 'at once' | 'gently' = 'at once'): void {
    if (this.#state.kind === 'ended') return;
    const error = this.#state.kind === 'opening' ? reason : amidRequests(reason);
    this.#state = { kind: 'ended', error };
    clearTimeout(this.#timer);
    clearTimeout(this.#openingTimer);
    const channel = this.#channel;
    this.#outgoing.stop();
    channel
      .off('data', this.#onData)
      .off('error', this.#onError)
      .off('end', this.#onGone)
      .off('close', this.#onGone);
    channel.on('error', ignore);
    if (how === 'at once') {
      channel.destroy();
      this.#carrier.reset();
    }
    for (const waiting of this.#waiting.all()) {
      this.#waiting.delete(waiting);
      waiting.unhear?.();
      waiting.question.settled?.();
      waiting.reject(error);
    }
    this.#idle?.();
    this.#tellEnd(error);
  }
}

/** A rejection that nobody has to wait for. */
function refused(error: SftpError): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}

/** What ends a session that was open takes with it what was asked, whatever the connection was about just then. */
function amidRequests(error: SftpError): SftpError {
  const { kind, message, phase, request, status, code } = error;
  if (phase === 'request' || phase === 'transfer') return error;
  return new SftpError(kind, message, { phase: 'request', request, status, code, cause: error });
}

function codeOf(error: Error): string {
  return printable('code' in error && typeof error.code === 'string' ? error.code : error.message);
}

/** Waits for `done` to be called, but not longer than that. */
async function within(ms: number, begin: (done: () => void) => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
    begin(resolve);
  });
  clearTimeout(timer);
}
