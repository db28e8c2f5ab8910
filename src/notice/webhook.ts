/*
 * Tells a notice to a webhook: the body as JSON by POST, signed with HMAC-SHA-256 (RFC 2104) where there is a key.
 * `X-Ferryd-Id` is the same at each attempt, so that a receiver can drop a double; the time is signed together with
 * the body, so that an old request cannot be played again.
 * A 4yz is final, except those that mean "later"; whatever else is no 2yz is tried again.
 */
import { createHmac } from 'node:crypto';
import type { Channel } from '../job/job.js';
import { readSecret, SecretError } from '../job/secret.js';
import { ask, retryAfterMs } from './http.js';
import type { Sending, SendingContext } from './sending.js';
import { readUrl } from './url.js';

type Webhook = Extract<Channel, { kind: 'webhook' }>;

/** Request Timeout, Too Early, Too Many Requests: the server says itself that it may take it later. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429]);

/** @param json the body; @param id the notice's */
export async function tellWebhook(
  channel: Webhook,
  { id, json }: { readonly id: string; readonly json: string },
  { environment, signal, wallMs, authorities }: SendingContext,
): Promise<Sending> {
  const reading = await readUrl(channel.url, 'the URL of the webhook', environment);
  if (reading.kind === 'none') return { kind: 'not-now', message: reading.message };
  const { url } = reading;
  const timestamp = String(Math.floor(wallMs() / 1000));
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'user-agent': 'ferryd',
    'x-ferryd-id': id,
    'x-ferryd-timestamp': timestamp,
  };
  if (channel.key !== undefined) {
    try {
      const key = await readSecret(channel.key, { what: 'the key of the webhook', environment });
      headers['x-ferryd-signature'] = signatureOf({ key, timestamp, json });
    } catch (error) {
      if (error instanceof SecretError) return { kind: 'not-now', message: error.message };
      throw error;
    }
  }
  const end = await ask({
    url,
    method: 'POST',
    headers,
    body: json,
    timeLimitMs: channel.timeLimitMs,
    signal,
    authorities,
  });
  switch (end.kind) {
    case 'stopped':
      return end;
    case 'failed':
      return { kind: 'not-now', message: `The webhook at ${url.host} ${end.message}.` };
    case 'answered':
      return judge(end.status, url.host, retryAfterMs(end.retryAfter, wallMs()));
  }
}

/** `sha256=` and the HMAC of `TIMESTAMP.BODY` in hexadecimal. */
export function signatureOf(of: {
  readonly key: string;
  readonly timestamp: string;
  readonly json: string;
}): string {
  return `sha256=${createHmac('sha256', of.key).update(`${of.timestamp}.${of.json}`).digest('hex')}`;
}

function judge(status: number, host: string, afterMs: number | undefined): Sending {
  if (status >= 200 && status < 300) {
    return { kind: 'taken', message: `The webhook at ${host} took it (${status}).` };
  }
  const answered = `The webhook at ${host} answered ${status}`;
  if (status >= 300 && status < 400) {
    return {
      kind: 'not-now',
      message: `${answered}, a redirect, which is not followed. Write the address to which it leads.`,
    };
  }
  if (status >= 400 && status < 500 && !LATER.has(status)) {
    return { kind: 'refused', message: `${answered}. Look at its address and at what it expects.` };
  }
  return { kind: 'not-now', message: `${answered}.`, afterMs };
}
