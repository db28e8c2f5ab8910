/*
 * What tests of notices stand on: a clock that moves when it is told, an HTTP server that remembers what it was asked
 * and answers what it is told, channels, and the events of runs.
 */
import { once } from 'node:events';
import http, { type IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Channel } from '../../src/job/job.js';
import type { Clock } from '../../src/notice/clock.js';
import type { SendingContext } from '../../src/notice/sending.js';
import { emptyTally, type Outcome, type RunFailure, type Tally } from '../../src/plan/outcome.js';
import type { FerrydEvent } from '../../src/report/event.js';

/** Monday, 23 November 2026, noon in UTC. */
export const NOON = Date.UTC(2026, 10, 23, 12);

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const ALL = ['failure', 'recovery', 'overdue', 'held', 'partial', 'configuration'] as const;

/** Time stands still until it is moved. */
export class ManualClock implements Clock {
  #wallMs: number;
  #steadyMs = 0;
  readonly #timers = new Map<symbol, { readonly atMs: number; readonly work: () => void }>();

  constructor(wallMs: number = NOON) {
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  steadyMs(): number {
    return this.#steadyMs;
  }

  after(delayMs: number, work: () => void): () => void {
    const key = Symbol('timer');
    this.#timers.set(key, { atMs: this.#steadyMs + delayMs, work });
    return () => this.#timers.delete(key);
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Time passes, and timers ring in their order. */
  pass(ms: number): void {
    const untilMs = this.#steadyMs + ms;
    for (;;) {
      const [next] = [...this.#timers]
        .filter(([, { atMs }]) => atMs <= untilMs)
        .sort(([, one], [, other]) => one.atMs - other.atMs);
      if (next === undefined) break;
      const [key, { atMs, work }] = next;
      this.#timers.delete(key);
      this.#to(Math.max(atMs, this.#steadyMs));
      work();
    }
    this.#to(untilMs);
  }

  /** Somebody sets the wall clock; nothing rings. */
  set(wallMs: number): void {
    this.#wallMs = wallMs;
  }

  #to(steadyMs: number): void {
    this.#wallMs += steadyMs - this.#steadyMs;
    this.#steadyMs = steadyMs;
  }
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

type Answer =
  | number
  | { readonly status: number; readonly headers?: Record<string, string>; readonly text?: string }
  /** Takes the request and says nothing. */
  | 'silence'
  | 'cut';

/** A receiver on loopback; `answer` is asked for each request. */
export class Receiver implements AsyncDisposable {
  readonly asked: Asked[] = [];
  answer: (asked: Asked, number: number) => Answer = () => 200;
  readonly #server: http.Server;
  readonly #scheme: 'http' | 'https';

  private constructor(server: http.Server, scheme: 'http' | 'https') {
    this.#server = server;
    this.#scheme = scheme;
    server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('error', () => undefined);
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const asked = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
        this.asked.push(asked);
        const answer = this.answer(asked, this.asked.length);
        if (answer === 'silence') return;
        if (answer === 'cut') {
          request.socket.destroy();
          return;
        }
        const {
          status,
          headers: more = {},
          text = '',
        } = typeof answer === 'number' ? { status: answer } : answer;
        response.writeHead(status, more).end(text);
      });
    });
  }

  static async open(tls?: { readonly cert: string; readonly key: string }): Promise<Receiver> {
    const server = tls === undefined ? http.createServer() : https.createServer(tls);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Receiver(server, tls === undefined ? 'http' : 'https');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path = '/hook'): string {
    return `${this.#scheme}://127.0.0.1:${this.port}${path}`;
  }

  /** The bodies that were posted, as objects. */
  get notices(): Array<Record<string, unknown>> {
    return this.asked.map(({ body }) => JSON.parse(body));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** A port on which nothing listens. */
export async function deadPort(): Promise<number> {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export function webhook(url: string, more: Partial<Extract<Channel, { kind: 'webhook' }>> = {}): Channel {
  return {
    kind: 'webhook',
    url: { kind: 'text', url },
    key: undefined,
    timeLimitMs: 5_000,
    on: ALL,
    ...more,
  };
}

export function context(more: Partial<SendingContext> = {}): SendingContext {
  return {
    environment: { PATH: process.env.PATH },
    environmentOfCommands: () => ({ PATH: process.env.PATH }),
    signal: new AbortController().signal,
    wallMs: () => NOON,
    ...more,
  };
}

/** The end of a run, as the events have it. */
export function ended(
  job: string,
  run: number,
  outcome: Outcome,
  { failure, tally }: { readonly failure?: RunFailure; readonly tally?: Partial<Tally> } = {},
): FerrydEvent {
  return {
    event: 'run.ended',
    job,
    run,
    outcome,
    tally: { ...emptyTally(), ...tally },
    durationMs: 1_500,
    failure,
  };
}

export function began(job: string, run: number): FerrydEvent {
  return { event: 'run.started', job, run, trigger: 'by hand' };
}

export const UNREACHABLE: RunFailure = {
  kind: 'unreachable',
  code: 'ECONNREFUSED',
  message: 'nas refuses connections. Tried 5 times; the next run tries again.',
};

export const TRUST: RunFailure = { kind: 'trust', code: '530', message: 'nas refused the login (530).' };
