/*
 * One HTTP request (RFC 9110) over a connection of its own, for webhooks and pings. There is one time limit for all
 * of it, certificates are checked, redirects are not followed, and of the answer only its status is told: servers
 * like to repeat the address in its text, and that may be a secret.
 * No proxy, no cookies, no cache.
 */
import http from 'node:http';
import https from 'node:https';

export interface HttpRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly timeLimitMs: number;
  readonly signal: AbortSignal;
  /** As in SendingContext. */
  readonly authorities?: string | undefined;
}

export type HttpEnd =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** As the server wrote it (RFC 9110, section 10.2.3). */
      readonly retryAfter: string | undefined;
    }
  /** `message` follows the host's name: `refuses connections`. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'stopped' };

/** What is read of an answer before the connection is cut, so that a decent server sees it taken. */
const MAX_ANSWER_BYTES = 65_536;

/** How long an answer's text may take once its status is known. */
const DRAIN_MS = 1_000;

/** Asks once. Never rejects. */
export function ask(request: HttpRequest): Promise<HttpEnd> {
  const { url, method, headers, body, timeLimitMs, signal, authorities } = request;
  if (signal.aborted) return Promise.resolve({ kind: 'stopped' });
  return new Promise((resolve) => {
    const { request: send } = url.protocol === 'https:' ? https : http;
    let end: HttpEnd | undefined;
    let drain: NodeJS.Timeout | undefined;
    const settle = (found: HttpEnd): void => {
      end ??= found;
      clearTimeout(timer);
      clearTimeout(drain);
      signal.removeEventListener('abort', stop);
      outgoing.destroy();
      resolve(end);
    };
    const stop = (): void => settle({ kind: 'stopped' });
    const outgoing = send(url, {
      method,
      headers: body === undefined ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
      agent: false,
      ...(authorities === undefined ? {} : { ca: authorities }),
    });
    const timer = setTimeout(
      () => settle({ kind: 'failed', message: `did not answer within ${timeLimitMs / 1000} s` }),
      timeLimitMs,
    );
    signal.addEventListener('abort', stop, { once: true });
    outgoing.on('error', (error) => settle({ kind: 'failed', message: wordsOf(error) }));
    outgoing.on('response', (response) => {
      const answered: HttpEnd = {
        kind: 'answered',
        status: response.statusCode ?? 0,
        retryAfter: response.headers['retry-after'],
      };
      end = answered;
      drain = setTimeout(() => settle(answered), DRAIN_MS);
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) settle(answered);
      });
      for (const event of ['end', 'close', 'error']) response.on(event, () => settle(answered));
    });
    outgoing.end(body);
  });
}

/** How long a server wants to be left alone, in milliseconds; undefined where it does not say. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const dateMs = Date.parse(value);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}

/** Why there was no answer, as words that follow the host's name. Codes are told, texts of others are not. */
export function wordsOf(error: unknown): string {
  const code =
    error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
  const known = WORDS[code];
  return known === undefined ? `cannot be reached (${code})` : `${known} (${code})`;
}

const UNTRUSTED = 'shows a certificate that this machine does not trust';

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'cut the connection',
  EPIPE: 'cut the connection',
  ETIMEDOUT: 'does not answer',
  EHOSTUNREACH: 'cannot be reached from here',
  ENETUNREACH: 'cannot be reached from here',
  ENOTFOUND: 'is a name that the resolver does not know',
  EAI_AGAIN: 'cannot be looked up, the resolver does not answer',
  CERT_HAS_EXPIRED: 'shows a certificate that has expired, or the clock of this machine is wrong',
  CERT_NOT_YET_VALID: 'shows a certificate that is not valid yet, or the clock of this machine is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'shows a certificate for another name',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
};
