/*
 * What happened on a scripted SFTP server, in order: every request received, every answer sent, and counters, so that
 * a test can assert "nothing was written twice" or wait for a moment instead of sleeping. Passwords and contents are
 * not kept.
 */
import type { AuthMethod } from './settings.js';

/** One SFTP request as it was received. */
export interface JournalRequest {
  /** Order of receipt over all connections, from 0. */
  readonly order: number;
  /** TCP connection, counted from 1. */
  readonly connection: number;
  /** SFTP session of that connection, counted from 1. */
  readonly session: number;
  /** Which read of that session its end came in, from 1: requests of one write share it. */
  readonly packet: number;
  /** `OPEN`, `WRITE` ...; an extended request by its own name. */
  readonly name: string;
  readonly id: number;
  /** Absolute virtual path; of a request on a handle the one that was opened. As UTF-8, or Latin-1 where it is none. */
  readonly path: string | undefined;
  /** The second path of a RENAME or of a link (for SYMLINK: the target as it was sent). */
  readonly toPath: string | undefined;
  /** Of READ and WRITE. */
  readonly offset: number | undefined;
  /** Bytes that READ asks for, or that WRITE brings. */
  readonly bytes: number | undefined;
  /** Of OPEN. */
  readonly flags: number | undefined;
  /** Milliseconds since the server started, by the monotonic clock. */
  readonly atMs: number;
  /** Every answer that was sent for it: `STATUS 0`, `HANDLE`, `NAME 3`. */
  readonly answers: string[];
}

export interface LoginAttempt {
  readonly connection: number;
  readonly method: AuthMethod;
  readonly user: string;
  readonly outcome: 'accepted' | 'partial' | 'refused';
}

/** The record of one server; counters only ever grow, except `open`, `openSessions`, `openHandles` and `waiting`. */
export interface Journal {
  readonly requests: readonly JournalRequest[];
  readonly attempts: readonly LoginAttempt[];
  /** TCP connections accepted, those open now, and the most there ever were at once. */
  readonly connections: number;
  readonly open: number;
  readonly peakOpen: number;
  /** SFTP sessions (channels) likewise. */
  readonly sessions: number;
  readonly openSessions: number;
  readonly peakSessions: number;
  /** Files and directories that are open now, and the most there ever were at once. */
  readonly openHandles: number;
  readonly peakHandles: number;
  /** Requests that are not answered yet, and the most there ever were at once on one session. */
  readonly waiting: number;
  readonly peakWaiting: number;
  /** Logins that succeeded. */
  readonly logins: number;
  /** Connections made through this server to others. */
  readonly forwards: number;
  /** Key exchanges beyond the first of a connection. */
  readonly rekeys: number;
  /** File content received by WRITE and kept, and sent by READ. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** The names of the requests in order, of one connection or of all. */
  names(connection?: number): string[];
  /** The requests with this name, in order. */
  of(name: string): readonly JournalRequest[];
}

type Counter = 'logins' | 'forwards' | 'rekeys' | 'receivedBytes' | 'sentBytes';

interface Waiter {
  readonly test: () => void;
  readonly fail: (reason: Error) => void;
}

/** The writing side of a journal, with the conditions that wait on it. */
export class JournalBook implements Journal {
  readonly requests: JournalRequest[] = [];
  readonly attempts: LoginAttempt[] = [];
  connections = 0;
  open = 0;
  peakOpen = 0;
  sessions = 0;
  openSessions = 0;
  peakSessions = 0;
  openHandles = 0;
  peakHandles = 0;
  waiting = 0;
  peakWaiting = 0;
  logins = 0;
  forwards = 0;
  rekeys = 0;
  receivedBytes = 0;
  sentBytes = 0;
  readonly #startMs = performance.now();
  readonly #waiters = new Set<Waiter>();

  names(connection?: number): string[] {
    return this.requests
      .filter((request) => connection === undefined || request.connection === connection)
      .map((request) => request.name);
  }

  of(name: string): readonly JournalRequest[] {
    return this.requests.filter((request) => request.name === name);
  }

  received(request: Omit<JournalRequest, 'order' | 'atMs' | 'answers'>): JournalRequest {
    const entry: JournalRequest = {
      ...request,
      order: this.requests.length,
      atMs: performance.now() - this.#startMs,
      answers: [],
    };
    this.requests.push(entry);
    this.#changed();
    return entry;
  }

  answered(entry: JournalRequest, text: string): void {
    entry.answers.push(text);
    this.#changed();
  }

  attempted(attempt: LoginAttempt): void {
    this.attempts.push(attempt);
    if (attempt.outcome === 'accepted') this.logins += 1;
    this.#changed();
  }

  count(counter: Counter, by = 1): void {
    this[counter] += by;
    this.#changed();
  }

  connected(): void {
    this.connections += 1;
    this.open += 1;
    this.peakOpen = Math.max(this.peakOpen, this.open);
    this.#changed();
  }

  disconnected(): void {
    this.open -= 1;
    this.#changed();
  }

  sessionOpened(): void {
    this.sessions += 1;
    this.openSessions += 1;
    this.peakSessions = Math.max(this.peakSessions, this.openSessions);
    this.#changed();
  }

  sessionClosed(): void {
    this.openSessions -= 1;
    this.#changed();
  }

  handles(change: 1 | -1): void {
    this.openHandles += change;
    this.peakHandles = Math.max(this.peakHandles, this.openHandles);
    this.#changed();
  }

  /** @param ofSession how many of one session wait now */
  waits(change: number, ofSession: number): void {
    this.waiting += change;
    this.peakWaiting = Math.max(this.peakWaiting, ofSession);
    this.#changed();
  }

  /** Resolves as soon as the condition holds; rejects after `timeoutMs` with what the journal held by then. */
  until(condition: (journal: Journal) => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiter.fail(new Error(`The scripted server waited ${timeoutMs} ms in vain; ${this.#summary()}`));
      }, timeoutMs);
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        test: () => {
          try {
            if (!condition(this)) return;
          } catch (error) {
            waiter.fail(error instanceof Error ? error : new Error(String(error)));
            return;
          }
          finish();
          resolve();
        },
        fail: (reason) => {
          finish();
          reject(reason);
        },
      };
      this.#waiters.add(waiter);
      waiter.test();
    });
  }

  /** Fails everything that still waits: the server is closing. */
  end(): void {
    for (const waiter of [...this.#waiters])
      waiter.fail(new Error(`The scripted server closed; ${this.#summary()}`));
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) waiter.test();
  }

  #summary(): string {
    const last = this.requests
      .slice(-12)
      .map((one) => `#${one.connection} ${one.name} ${one.path ?? ''} -> ${one.answers.join(' | ')}`);
    return `${this.open} of ${this.connections} connections open, ${this.openSessions} sessions, last requests:\n${last.join('\n')}`;
  }
}
